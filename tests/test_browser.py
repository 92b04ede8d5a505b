"""Lesson 16 as a reader meets it: JupyterLab, a browser, a mouse and a keyboard.

Run by `make test-browser`."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest

from mnist_basics.playground import draw_strokes, prepare_drawing, vote

ROOT = Path(__file__).parents[1]
OUT = ROOT / "build" / "browser"
NOTEBOOK = "16_playground.ipynb"
BROWSERS = map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))
CHROMIUM = next(filter(None, BROWSERS), None)
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
FLAGS += ["--no-first-run"]
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium; Debian: apt install it"),
]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder for JupyterLab, with a copy of the notebooks."""
    home = tmp_path_factory.mktemp("lab")
    ignore = shutil.ignore_patterns(".ipynb_checkpoints")
    shutil.copytree(ROOT / "nbs", home / "nbs", ignore=ignore)
    settings = home / "config" / "labconfig" / "default_setting_overrides.json"
    settings.parent.mkdir(parents=True)
    quiet = {"fetchNews": "false", "checkForUpdates": False}
    extension = "@jupyterlab/apputils-extension:notification"
    settings.write_text(json.dumps({extension: quiet}), encoding="utf-8")
    return home


@pytest.fixture(scope="module")
def lab(site, home):
    """The address of a JupyterLab on loopback; its kernels import what is installed."""
    port = free_port()
    environment = {
        **os.environ,
        "PYTHONPATH": str(site),
        "PYTHONDONTWRITEBYTECODE": "",
        "JUPYTER_CONFIG_DIR": str(home / "config"),
        "JUPYTER_DATA_DIR": str(home / "data"),
        "JUPYTER_RUNTIME_DIR": str(home / "runtime"),
        "IPYTHONDIR": str(home / "ipython"),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"]
    command += ["--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}"]
    command += ["--IdentityProvider.token=", f"--ServerApp.root_dir={home}"]
    log = OUT / "lab.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "wb") as stream:
        streams = {"stdout": stream, "stderr": subprocess.STDOUT}
        server = subprocess.Popen(command, env=environment, cwd=home, **streams)
    try:
        address = f"http://127.0.0.1:{port}"
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        for _ in range(120):
            assert server.poll() is None, log.read_text(encoding="utf-8")
            try:
                opener.open(f"{address}/api/status", timeout=5).close()
                break
            except OSError:
                time.sleep(0.5)
        yield address
    finally:
        server.terminate()
        server.wait(30)


@pytest.fixture(scope="module")
def page(lab, rungs):
    """The lesson, opened, and told to run from top to bottom."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport={"width": 1300, "height": 1000})
        page.set_default_timeout(60_000)
        page.goto(f"{lab}/lab/tree/nbs/{NOTEBOOK}?reset")
        page.locator(".jp-NotebookPanel").wait_for()
        page.get_by_text("| Idle").wait_for()
        page.get_by_role("menuitem", name="Run", exact=True).click()
        page.get_by_text("Run All Cells", exact=True).click()
        page.locator(".digit-pad canvas").wait_for()
        yield page
        browser.close()


@pytest.fixture
def pad(page):
    """An empty pad in view."""
    canvas = page.locator(".digit-pad canvas").first
    canvas.scroll_into_view_if_needed()
    clear = page.locator(".digit-pad").first.get_by_role("button", name="Clear")
    clear.click()
    wait_for_words(page, "The pad is empty")
    return canvas


def wait_for_words(page, words):
    """Until the playground says so; a cell of the notebook may hold the same words."""
    output = page.locator(".jp-OutputArea-output:has(.digit-pad)").first
    output.get_by_text(words).first.wait_for()


def wait_until(page, condition):
    """Ask again and again, for ten seconds."""
    for _ in range(100):
        if condition():
            return
        page.wait_for_timeout(100)
    assert condition()


def what_they_say(rungs, drawing):
    """For each rung, how probable it thinks a 3 is, in percent, calculated here."""
    votes = 100 * vote(rungs, prepare_drawing(drawing))
    return {rung.name: percent for rung, percent in zip(rungs, votes.tolist())}


def draw(page, canvas, points):
    """Move the mouse along `points`, in pixels of the pad, with the button down."""
    box = canvas.bounding_box()
    left, top, wide, tall = (box[key] for key in ("x", "y", "width", "height"))
    spots = [(left + x / 28 * wide, top + y / 28 * tall) for x, y in points]
    page.mouse.move(*spots[0])
    page.mouse.down()
    for spot in spots[1:]:
        page.mouse.move(*spot, steps=8)
    page.mouse.up()


def pixels(canvas):
    """The ink on the pad, uint8 `[28,28]`."""
    red = """canvas => {
        const { data } = canvas.getContext("2d").getImageData(0, 0, 28, 28);
        return Array.from(data.filter((_, i) => i % 4 == 0));
    }"""
    return 255 - np.array(canvas.evaluate(red), np.uint8).reshape(28, 28)


def votes(page):
    """For each rung, how probable it thinks a 3 is, in percent, as the page says it."""
    tables = page.locator("table:has(th:text-is('accuracy'))")
    percents = {}
    for row in tables.first.locator("tr:has(td)").all():
        cells = row.locator("td")
        says = cells.nth(2).inner_text().rstrip("%")
        percents[cells.nth(0).inner_text()] = float(says)
    return percents


SEVEN = [(8, 6), (20, 6), (12, 23)]
HASTY_THREE = [(8, 6), (18, 6), (13, 13), (16, 17), (14, 22), (8, 23)]


def test_a_7_drawn_with_the_mouse_gets_five_votes_for_7(page, pad):
    draw(page, pad, SEVEN)
    wait_for_words(page, "All 5 say 7.")
    assert len(votes(page)) == 5
    assert all(percent < 50 for percent in votes(page).values())


def test_the_votes_on_the_page_are_those_of_the_rungs(page, pad, rungs):
    draw(page, pad, HASTY_THREE)
    expected = pytest.approx(what_they_say(rungs, pixels(pad)), abs=0.051)
    wait_until(page, lambda: votes(page) == expected)
    page.mouse.move(5, 5)
    output = page.locator(".jp-OutputArea-output:has(.digit-pad)").first
    output.screenshot(path=OUT / "playground.png")


def test_a_3_drawn_with_the_keyboard_gets_five_votes_for_3(page, pad):
    pad.focus()
    for key, times in (("ArrowUp", 9), ("ArrowLeft", 5)):
        for _ in range(times):
            page.keyboard.press(key)
    strokes = [("Right", 9), ("Down", 9), ("Left", 6), ("Right", 6), ("Down", 9)]
    for key, times in [*strokes, ("Left", 9)]:
        for _ in range(times):
            page.keyboard.press(f"Shift+Arrow{key}")
    wait_for_words(page, "All 5 say 3.")
    assert all(percent > 50 for percent in votes(page).values())
    page.screenshot(path=OUT / "keyboard.png")


def test_the_brush_of_the_browser_is_that_of_python(page, pad):
    draw(page, pad, SEVEN)
    wait_for_words(page, "All 5 say 7.")
    ours = draw_strokes([SEVEN]).numpy().astype(int)
    difference = np.abs(pixels(pad).astype(int) - ours)
    assert difference.max() <= 12  # the mouse stands on whole pixels of the screen


def test_undo_takes_back_one_stroke_at_a_time_and_clear_as_well(page, pad):
    undo = page.locator(".digit-pad").first.get_by_role("button", name="Undo")
    draw(page, pad, SEVEN)
    once = pixels(pad)
    draw(page, pad, [(10, 14), (19, 14)])
    assert (pixels(pad) != once).any()
    undo.click()
    assert (pixels(pad) == once).all()
    page.locator(".digit-pad").first.get_by_role("button", name="Clear").click()
    assert not pixels(pad).any()
    wait_for_words(page, "The pad is empty")
    pad.press("Control+z")
    assert (pixels(pad) == once).all()
    wait_for_words(page, "All 5 say 7.")


def test_one_can_start_from_a_validation_image(page, pad, digits, rungs):
    number = page.get_by_label("Validation image").first
    number.fill("5")
    number.press("Tab")
    page.get_by_role("button", name="Start from it").first.click()
    image = digits.valid_x[5].numpy()
    expected = pytest.approx(what_they_say(rungs, image), abs=0.051)
    wait_until(page, lambda: votes(page) == expected)
    assert (pixels(pad) == image).all()


@pytest.fixture
def protocol(page):
    """Chromium's own protocol, for what playwright's mouse cannot do."""
    session = page.context.new_cdp_session(page)
    yield session
    session.detach()


def at(canvas, x, y):
    """A place on the pad, in pixels of the page."""
    box = canvas.bounding_box()
    left, top, wide, tall = (box[key] for key in ("x", "y", "width", "height"))
    return {"x": left + x / 28 * wide, "y": top + y / 28 * tall}


def test_a_pen_leaves_more_ink_the_harder_it_is_pressed(page, pad, protocol):
    darkest = []
    for x, force in ((5, 0.1), (15, 0.3), (25, 0.5)):
        pen = {"button": "left", "pointerType": "pen", "force": force, "clickCount": 1}
        for kind in ("mousePressed", "mouseReleased"):
            event = {"type": kind, **at(pad, x, 14.5), **pen}
            protocol.send("Input.dispatchMouseEvent", event)
        darkest.append(pixels(pad)[:, x - 3 : x + 3].max())
    assert 0 < darkest[0] < darkest[1] < darkest[2] == 255


def test_one_finger_draws_and_a_second_one_does_not_interfere(page, pad, protocol):
    def touch(kind, *points):
        fingers = [{**at(pad, x, y), "id": i} for i, x, y in points]
        event = {"type": kind, "touchPoints": fingers}
        protocol.send("Input.dispatchTouchEvent", event)

    touch("touchStart", (0, 5, 5))
    touch("touchMove", (0, 10, 5))
    touch("touchStart", (0, 10, 5), (1, 10, 24))
    touch("touchMove", (0, 15, 5), (1, 20, 24))
    touch("touchMove", (0, 22, 5), (1, 24, 24))
    touch("touchEnd")
    ink = pixels(pad)
    assert (ink[4:6, 6:22] == 255).all() and not ink[8:].any()


def test_a_right_click_in_the_middle_of_a_stroke_does_no_harm(page, pad):
    place = at(pad, 8, 8)
    page.mouse.move(place["x"], place["y"])
    page.mouse.down()
    page.mouse.down(button="right")
    page.mouse.up(button="right")
    page.mouse.up()
    page.keyboard.press("Escape")
    before = pixels(pad)
    draw(page, pad, [(8, 20), (20, 20)])
    assert (pixels(pad) != before).any()


def test_the_votes_are_read_aloud(page, pad):
    heard = page.locator(".digit-pad").first.locator(".digit-pad-heard")
    assert heard.get_attribute("role") == "status"
    heard.evaluate("node => { node.remembered = true; }")
    draw(page, pad, SEVEN)
    wait_until(page, lambda: heard.text_content() == "All 5 say 7.")
    # the same node: a screen reader follows it
    assert heard.evaluate("node => node.remembered")


def test_the_pad_is_known_to_a_screen_reader(page, pad):
    assert "Arrow keys move" in pad.get_attribute("aria-label")
    assert pad.get_attribute("role") == "application"
    status, rows = page.locator(".digit-pad-status").first, []
    for _ in range(2):
        pad.press("ArrowUp")
        said = re.match(r"Row (\d+), column \d+: 0 % ink", status.inner_text())
        rows.append(int(said[1]))
    assert rows[1] == rows[0] - 1
    pad.press("Space")
    assert status.inner_text().endswith(": 100 % ink") and pixels(pad).max() == 255


def test_the_kernel_runs_what_is_installed(home, page, site):
    """pip compiled nothing there; so the kernel has, when it imported the modules."""
    workshop = site / "mnist_basics" / "workshop"
    assert list((workshop / "__pycache__").glob("pad.*"))


def test_the_notebook_ran_to_its_end_without_an_error(page, home):
    page.get_by_text("[*]:").wait_for(state="detached")
    page.get_by_role("menuitem", name="File", exact=True).click()
    with page.expect_response(lambda response: response.request.method == "PUT"):
        page.get_by_text("Save Notebook", exact=True).click()
    cells = json.loads((home / "nbs" / NOTEBOOK).read_text(encoding="utf-8"))["cells"]
    cells = [cell for cell in cells if cell["cell_type"] == "code"]
    assert all(cell["execution_count"] for cell in cells[1:]), "a cell was not run"
    outputs = [output for cell in cells for output in cell["outputs"]]
    assert not [one for one in outputs if one["output_type"] == "error"]
    assert not [one for one in outputs if one.get("name") == "stderr"]
