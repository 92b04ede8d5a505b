"""What the tests in a browser share."""


def wait_until(page, condition):
    """Ask again and again, for ten seconds."""
    for _ in range(100):
        if condition():
            return
        page.wait_for_timeout(100)
    assert condition()
