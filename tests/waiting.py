"""What the tests in a browser share."""

import shutil

BROWSERS = map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))
CHROMIUM = next(filter(None, BROWSERS), None)
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
FLAGS += ["--no-first-run"]


def wait_until(page, condition):
    """Ask again and again, for ten seconds."""
    for _ in range(100):
        if condition():
            return
        page.wait_for_timeout(100)
    assert condition()
