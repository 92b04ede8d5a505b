"""The pad as a reader meets it: JupyterLab, a browser, a mouse and a keyboard.

Run by `make test-browser`."""

import base64
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import nbformat
import numpy as np
import pytest
from waiting import wait_until

from mnist_basics.playground import prepare_drawing, prepare_strokes, vote
from mnist_basics.workshop.rungs import trained_digit_net

ROOT = Path(__file__).parents[1]
OUT = ROOT / "build" / "browser"
LESSON, PAD, STILL = "16_playground.ipynb", "pad.ipynb", "still.ipynb"
CELLS = [
    """from pathlib import Path
from mnist_basics.workshop.pad import Playground
playground = Playground(folder="hand")
playground""",
    "playground",
    """import json, os
says = {"drawing": playground.drawing, "answer": playground.answer}
Path("says").write_text(json.dumps(says))
os.replace("says", "says.json")""",
    "import os; Path('kernel').write_text(str(os.getpid()));",
]
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
    new = nbformat.v4
    notebook = new.new_notebook(cells=[new.new_code_cell(cell) for cell in CELLS])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "python3"}
    for name in (PAD, STILL):
        nbformat.write(notebook, home / "nbs" / name)
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
        server.wait(60)


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


def opened(browser, lab, notebook):
    """A new page with a notebook in JupyterLab."""
    page = browser.new_page(viewport={"width": 1300, "height": 1000})
    page.set_default_timeout(60_000)
    page.goto(f"{lab}/lab/tree/nbs/{notebook}?reset")
    page.locator(".jp-NotebookPanel").wait_for()
    page.get_by_text("| Idle").wait_for()
    return page


def choose(page, menu, entry):
    page.get_by_role("menuitem", name=menu, exact=True).click()
    page.get_by_text(entry, exact=True).click()


@pytest.fixture(scope="module")
def page(browser, lab, rungs, digit_net):
    """A notebook with a pad in two cells, run as far as that."""
    page = opened(browser, lab, PAD)
    for number in range(2):
        run(page, number)
    page.locator(".digit-pad-sheet canvas").nth(1).wait_for()
    return page


@pytest.fixture(scope="module")
def digit_net():
    """The net for all ten digits, trained unless it is kept."""
    return trained_digit_net()


@pytest.fixture
def pad(page):
    """An empty pad in view."""
    canvas = page.locator(".digit-pad-sheet canvas").first
    canvas.scroll_into_view_if_needed()
    button(page, "Clear").click()
    wait_for_verdict(page, "empty")
    return canvas


def run(page, number):
    """Run a cell, without waiting for its end."""
    page.locator(".jp-CodeCell .jp-InputArea").nth(number).click()
    page.keyboard.press("Control+Enter")


def button(page, name, view=0):
    views = page.locator(".digit-playground-pad")
    return views.nth(view).get_by_role("button", name=name, exact=True)


def verdict(page):
    return page.locator("[data-verdict]").first.get_attribute("data-verdict")


def wait_for_verdict(page, word):
    wait_until(page, lambda: verdict(page) == word)


def votes(page):
    """For each rung, how probable it thinks a 3 is, as the page says it."""
    rows = page.locator(".digit-playground").first.locator("[data-p3]").all()
    values = [
        [row.get_attribute(f"data-{kind}") for row in rows] for kind in ("rung", "p3")
    ]
    return dict(zip(values[0], map(float, values[1])))


def what_they_say(rungs, image):
    """For each rung, how probable it thinks a 3 is, calculated here."""
    return dict(zip([rung.name for rung in rungs], vote(rungs, image).tolist()))


def what_python_has(page, home, strokes=1):
    """Drawing and answer of the kernel, once the last of so many strokes is there."""
    file = home / "nbs" / "says.json"

    def arrived():
        run(page, 2)
        says = json.loads(file.read_text(encoding="utf-8")) if file.exists() else None
        return says and is_whole(says["drawing"]) and says

    def is_whole(drawing):
        return len(drawing["strokes"]) == strokes and not drawing["down"]

    file.unlink(missing_ok=True)
    wait_until(page, arrived)
    return arrived()


def draw(page, canvas, points):
    """Move the mouse along `points`, in pixels of the pad, with the button down."""
    canvas.scroll_into_view_if_needed()
    spots = [at(canvas, x, y) for x, y in points]
    page.mouse.move(**spots[0])
    page.mouse.down()
    for spot in spots[1:]:
        page.mouse.move(**spot, steps=8)
    page.mouse.up()


def at(canvas, x, y):
    """A place on the pad, in pixels of the page."""
    box = canvas.bounding_box()
    left, top, wide, tall = (box[key] for key in ("x", "y", "width", "height"))
    return {"x": left + x / 28 * wide, "y": top + y / 28 * tall}


def grey(canvas):
    """What is on a canvas, as ink: uint8 `[rows,columns]`, 255 the darkest."""
    red = """async canvas => {
        await new Promise(requestAnimationFrame);  // what has happened is painted then
        const { width, height } = canvas;
        const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
        return [height, width, Array.from(data.filter((_, i) => i % 4 == 0))];
    }"""
    rows, columns, values = canvas.evaluate(red)
    return 255 - np.array(values, np.uint8).reshape(rows, columns)


def seen(page):
    """What the computer sees, as the browser shows it: uint8 `[28,28]`."""
    return grey(page.locator(".digit-pad-sees canvas").first)


def note(page):
    return page.locator(".digit-pad-note").first.inner_text()


SEVEN = [(8, 6), (20, 6), (12, 23)]
HASTY_THREE = [(8, 6), (18, 6), (13, 13), (16, 17), (14, 22), (8, 23)]


# -- drawing


def test_a_7_drawn_with_the_mouse_gets_five_votes_for_7(page, pad):
    draw(page, pad, SEVEN)
    wait_for_verdict(page, "7")
    wait_until(page, lambda: len(votes(page)) == 5)
    assert all(p < 0.5 for p in votes(page).values())


@pytest.mark.parametrize("size", [1, 0.4])
def test_ink_and_votes_of_the_browser_are_those_of_python(page, pad, rungs, home, size):
    points = [(14 + size * (x - 14), 14 + size * (y - 14)) for x, y in HASTY_THREE]
    draw(page, pad, points)
    drawing = what_python_has(page, home)["drawing"]
    [stroke] = drawing["strokes"]
    assert len(stroke) > 20 and not drawing["down"] and drawing["width"] == 2.7
    assert (
        np.abs(np.array(stroke[-1]) - [*points[-1], 1]).max() < 0.06
    )  # a mouse's step
    image = prepare_strokes(drawing["strokes"])
    ink = (255 * image).round().numpy()
    wait_until(page, lambda: np.abs(seen(page) - ink).max() <= 1)
    expected = pytest.approx(what_they_say(rungs, image), abs=1e-6)
    wait_until(page, lambda: votes(page) == expected)
    assert verdict(page) == "3"


def test_the_line_is_as_fine_as_the_screen(page, pad):
    draw(page, pad, SEVEN)
    side = pad.evaluate("canvas => canvas.clientWidth * devicePixelRatio")
    ink = grey(pad)
    assert side > 250 and ink.shape == (round(side),) * 2
    middle = ink[: round(side / 2), round(side / 2)]  # across the top of the 7
    assert (middle == 255).sum() == pytest.approx(2.7 / 28 * side, abs=2.5)
    assert ((0 < middle) & (middle < 255)).sum() <= 4  # no blocks, no veil


def test_a_wider_pen_changes_line_and_ink(page, pad, home):
    draw(page, pad, SEVEN)
    wait_until(page, lambda: seen(page).any())
    thin, narrow = grey(pad).sum(), seen(page).sum()
    slider = page.get_by_label("pen width").first
    slider.fill("4.5")
    wait_until(page, lambda: seen(page).sum() > 1.2 * narrow)
    assert grey(pad).sum() > 1.4 * thin
    wait_until(page, lambda: what_python_has(page, home)["drawing"]["width"] == 4.5)
    slider.fill("2.7")


def hold(page, modifier, strokes):
    page.keyboard.down(modifier)
    for key, times in strokes:
        for _ in range(times):
            page.keyboard.press(f"Arrow{key}")
    page.keyboard.up(modifier)


THREE_BY_KEYS = [("Right", 9), ("Down", 9), ("Left", 6), ("Right", 6), ("Down", 9)]
THREE_BY_KEYS += [("Left", 9)]


def test_a_3_drawn_with_the_keyboard_is_a_3_and_one_step_of_undo(page, pad, home):
    pad.focus()
    for key, times in (("ArrowUp", 9), ("ArrowLeft", 5)):
        for _ in range(times):
            page.keyboard.press(key)
    hold(page, "Shift", THREE_BY_KEYS)
    wait_for_verdict(page, "3")
    wait_until(page, lambda: [p > 0.5 for p in votes(page).values()] == 5 * [True])
    page.keyboard.press("Control+z")
    assert verdict(page) == "empty"
    page.keyboard.press("Control+Shift+z")
    wait_for_verdict(page, "3")
    [stroke] = what_python_has(page, home)["drawing"]["strokes"]
    assert len(stroke) == 49


def test_undo_redo_and_clear_work_by_strokes_and_in_every_view(page, pad):
    draw(page, pad, SEVEN)
    once = grey(pad)
    draw(page, pad, [(10, 14), (19, 14)])
    twice = grey(pad)
    assert (twice != once).any()
    button(page, "Undo", view=1).click()
    assert (grey(pad) == once).all()
    pad.press("Control+y")
    assert (grey(pad) == twice).all()
    button(page, "Clear", view=1).click()
    assert not grey(pad).any() and not seen(page).any()
    other = page.locator(".digit-pad-sheet canvas").nth(1)
    other.press("Control+z")
    assert (grey(pad) == twice).all() and (grey(other) == twice).all()
    for _ in range(2):
        button(page, "Undo").click()
    assert not grey(pad).any()
    assert button(page, "Redo").get_attribute("aria-disabled") == "false"


@pytest.fixture
def protocol(page):
    """Chromium's own protocol, for what playwright's mouse cannot do."""
    session = page.context.new_cdp_session(page)
    yield session
    session.detach()


def test_a_pen_draws_wider_the_harder_it_is_pressed(page, pad, protocol, home):
    for x, force in ((5, 0.05), (15, 0.3), (25, 0.5)):
        pen = {"button": "left", "pointerType": "pen", "force": force, "clickCount": 1}
        for kind in ("mousePressed", "mouseReleased"):
            event = {"type": kind, **at(pad, x, 14.5), **pen}
            protocol.send("Input.dispatchMouseEvent", event)
    strokes = what_python_has(page, home, 3)["drawing"]["strokes"]
    pressed = [point[2] for [point] in strokes]
    assert pressed == pytest.approx([0.3, 0.6, 1], abs=1e-3)
    ink, side = grey(pad), grey(pad).shape[0] / 28
    wide = [(ink[:, round(x * side)] > 128).sum() / side for x in (5, 15, 25)]
    assert wide == pytest.approx([2.7 * p for p in pressed], abs=0.2)


def test_one_finger_draws_and_a_second_one_does_not_interfere(
    page, pad, protocol, home
):
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
    [stroke] = what_python_has(page, home)["drawing"]["strokes"]
    x, y, _ = np.array(stroke).T
    assert x[0] < 5.1 and x[-1] > 21.9 and np.abs(y - 5).max() < 0.1


def test_a_right_click_in_the_middle_of_a_stroke_does_no_harm(page, pad):
    page.mouse.move(**at(pad, 8, 8))
    page.mouse.down()
    page.mouse.down(button="right")
    page.mouse.up(button="right")
    page.mouse.up()
    page.keyboard.press("Escape")
    before = grey(pad)
    draw(page, pad, [(8, 20), (20, 20)])
    wait_until(page, lambda: (grey(pad) != before).any())


# -- keys


def test_keys_that_the_pad_does_not_use_are_the_notebooks(page, pad, home):
    draw(page, pad, SEVEN)
    pad.focus()
    saved = lambda response: response.request.method == "PUT"  # noqa: E731
    with page.expect_response(saved):
        page.keyboard.press("Control+s")
    assert json.loads((home / "nbs" / PAD).read_text(encoding="utf-8"))["cells"]


def test_keys_of_the_pad_are_kept_from_the_notebook(page, pad):
    number = page.locator(".jp-Cell").count()
    selected = page.locator(".jp-Cell.jp-mod-selected")
    pad.focus()
    before = selected.first.evaluate("cell => cell.textContent.length > 0")
    for key in "d d a b x ArrowDown ArrowDown ArrowUp Space Enter 0 0".split():
        page.keyboard.press(key)
    assert page.locator(".jp-Cell").count() == number and before
    assert pad.evaluate("canvas => canvas === document.activeElement")
    page.get_by_label("pen width").first.press("ArrowRight")
    slider = page.get_by_label("pen width").first
    assert slider.input_value() == "2.8"
    slider.fill("2.7")
    assert page.locator(".jp-Dialog").count() == 0


# -- beside the pad


def test_enter_starts_from_a_validation_image(page, pad, digits, rungs):
    number = page.get_by_label("validation image").first
    number.fill("5")
    number.press("Enter")
    image = prepare_drawing(digits.valid_x[5])
    expected = pytest.approx(what_they_say(rungs, image), abs=1e-6)
    wait_until(page, lambda: votes(page) == expected)
    ink = (255 * image).round().numpy()
    wait_until(page, lambda: (seen(page) == ink).all())
    number.fill("9999")
    number.press("Enter")
    page.get_by_text("There are images 0 to 2,037, not 9999.").first.wait_for()
    draw(page, pad, [(4, 24), (24, 24)])  # the image becomes a part of the drawing
    wait_until(page, lambda: votes(page) and votes(page) != expected)
    for _ in range(2):
        pad.press("Control+z")
    assert verdict(page) == "empty"


def test_the_next_mistake_of_the_best_rung(page, pad, digits, rungs):
    best = rungs[-1]
    wrong = (best.log_odds(digits.valid_x / 255) > 0) != (digits.valid_y == 3)
    numbers, before = wrong.nonzero().flatten().tolist(), ""
    for _ in range(2):
        button(page, "next mistake of the ResNet18").click()
        said = re.compile(r"Validation image (\d+), a (\d)\.")
        wait_until(page, lambda: said.match(text := note(page)) and text != before)
        before = note(page)
        number, label = said.match(before).groups()
        assert int(number) in numbers and digits.valid_y[int(number)] == int(label)
        image = prepare_drawing(digits.valid_x[int(number)])
        expected = pytest.approx(what_they_say(rungs, image), abs=1e-6)
        wait_until(page, lambda: votes(page) == expected)


def test_all_ten_digits_are_a_button_away(page, pad, digit_net, home):
    assert not page.locator("[data-digit]").first.is_visible()
    button(page, "all ten digits").click()
    draw(page, pad, SEVEN)
    bars = page.locator(".digit-playground").first.locator("[data-digit]")
    wait_until(page, lambda: bars.nth(9).get_attribute("data-p"))
    image = prepare_strokes(what_python_has(page, home)["drawing"]["strokes"])
    expected = digit_net(image[None, None]).softmax(1)[0].tolist()
    shown = [float(bar.get_attribute("data-p")) for bar in bars.all()]
    assert shown == pytest.approx(expected, abs=1e-6) and shown[7] > 0.5
    page.locator(".digit-votes-most[data-digit='7']").first.wait_for()


def test_a_drawing_can_be_kept(page, pad, home):
    button(page, "3").click()
    page.get_by_text("The pad is empty, there is nothing to keep.").first.wait_for()
    draw(page, pad, HASTY_THREE)
    button(page, "3").click()
    page.get_by_text("There are now 1 of 3 and 0 of 7.").first.wait_for()
    [file] = (home / "nbs" / "hand").rglob("*.png")
    assert file.parent.name == "3"
    assert file.name in note(page)


# -- when Python is busy


def test_it_says_when_nobody_answers(page, pad, home):
    draw(page, pad, SEVEN)
    wait_for_verdict(page, "7")
    run(page, 3)
    file = home / "nbs" / "kernel"
    wait_until(page, lambda: file.exists() and file.read_text(encoding="utf-8"))
    os.kill(int(file.read_text(encoding="utf-8")), signal.SIGSTOP)
    greyed = page.locator(".digit-votes-silent").first
    try:
        draw(page, pad, [(10, 14), (19, 14)])
        greyed.get_by_text("Python does not answer: run the cell again").wait_for()
        button(page, "Clear").click()
        assert verdict(page) == "empty" and not votes(page)  # at once
        assert page.locator(".digit-votes-silent").count() == 0
        draw(page, pad, HASTY_THREE)
        greyed.get_by_text("Python does not answer").wait_for()
    finally:
        os.kill(int(file.read_text(encoding="utf-8")), signal.SIGCONT)
    greyed.wait_for(state="detached")
    wait_for_verdict(page, "3")
    assert page.get_by_text("Python does not answer").count() == 0


# -- for everyone


def test_the_answer_is_read_aloud(page, pad):
    heard = page.locator("[data-verdict]").first
    assert heard.get_attribute("role") == "status"
    heard.evaluate("node => { node.remembered = true; }")
    draw(page, pad, SEVEN)
    wait_until(page, lambda: heard.inner_text().startswith("7"))
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
    assert status.inner_text().endswith(": 100 % ink")


def test_evidence_is_described_and_keeps_its_place(page, pad):
    evidence = page.locator(".digit-votes-why").first
    tall = evidence.bounding_box()["height"]
    draw(page, pad, SEVEN)
    images = evidence.locator("img:visible")
    wait_until(page, lambda: images.count() == 8)
    assert evidence.bounding_box()["height"] == tall > 120
    for image in images.all():
        caption = image.locator("xpath=../..").locator("figcaption").inner_text()
        alt = image.get_attribute("alt")
        assert caption and alt.startswith(caption) and "pixels" in alt[len(caption) :]
        assert min(image.bounding_box()[side] for side in ("width", "height")) >= 120


TOO_WIDE = """() => {
    const box = document.querySelector(".digit-playground");
    const edge = box.getBoundingClientRect().right + 1;
    const wide = (e) => e.clientWidth > 0 && e.scrollWidth > e.clientWidth + 1;
    return [box, ...box.querySelectorAll("*")]
        .filter((e) => wide(e) || e.getBoundingClientRect().right > edge)
        .map((e) => e.outerHTML.slice(0, 100));
}"""


@pytest.mark.parametrize("width, zoom", [(390, 1), (867, 1.5), (1300, 1)])
def test_nothing_is_clipped_where_it_is_narrow_or_zoomed(
    page, pad, protocol, width, zoom
):
    metrics = {"width": width, "height": 900, "deviceScaleFactor": zoom}
    protocol.send("Emulation.setDeviceMetricsOverride", {**metrics, "mobile": False})
    if width < 400:
        page.keyboard.press("Control+b")  # JupyterLab's own side bar
    try:
        pad.scroll_into_view_if_needed()
        draw(page, pad, SEVEN)
        wait_for_verdict(page, "7")
        wait_until(page, lambda: len(votes(page)) == 5)
        assert page.evaluate(TOO_WIDE) == []
        taken = protocol.send("Page.captureScreenshot")  # playwright's undoes the zoom
        (OUT / f"{width}.png").write_bytes(base64.b64decode(taken["data"]))
        side = pad.evaluate("canvas => canvas.clientWidth")
        wait_until(page, lambda: grey(pad).shape[0] == round(side * zoom))
    finally:
        protocol.send("Emulation.clearDeviceMetricsOverride")
        if width < 400:
            page.keyboard.press("Control+b")


CONTRAST = """() => {
    const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
    const light = (colour) => numbers(colour).slice(0, 3).map((c) => c / 255)
        .map((c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
        .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
    const behind = (e) => {
        const colour = getComputedStyle(e).backgroundColor;
        return (numbers(colour)[3] ?? 1) > 0.5 ? colour : behind(e.parentElement);
    };
    const leaves = [...document.querySelectorAll(".digit-playground *")].filter(
        (e) => e.offsetParent && !e.children.length && e.textContent.trim());
    return leaves.map((e) => {
        const two = [light(getComputedStyle(e).color), light(behind(e))].sort();
        return [(Math.max(...two) + 0.05) / (Math.min(...two) + 0.05), e.textContent];
    }).filter(([ratio, text]) => ratio < 3);
}"""


def test_words_can_be_read_on_a_dark_theme(page, pad):
    page.get_by_role("menuitem", name="Settings", exact=True).click()
    page.get_by_text("Theme", exact=True).hover()
    page.get_by_text("JupyterLab Dark", exact=True).click()
    page.locator("body[data-jp-theme-light='false']").wait_for(state="attached")
    try:
        draw(page, pad, SEVEN)
        wait_for_verdict(page, "7")
        page.screenshot(path=OUT / "dark.png")
        assert page.evaluate(CONTRAST) == []
    finally:
        page.get_by_role("menuitem", name="Settings", exact=True).click()
        page.get_by_text("Theme", exact=True).hover()
        page.get_by_text("JupyterLab Light", exact=True).click()


# -- the still


def stills(page):
    return page.locator(".jp-OutputArea-child:has(+ * .playground-still) img")


def test_the_still_is_hidden_while_the_pad_lives(page, pad):
    assert stills(page).count() == 2 and not stills(page).first.is_visible()
    assert not page.locator(".playground-still").first.is_visible()


def test_without_its_kernel_a_notebook_shows_the_last_drawing(browser, lab, rungs):
    page = opened(browser, lab, STILL)
    run(page, 0)
    pad = page.locator(".digit-pad-sheet canvas")
    pad.wait_for()
    words = page.locator(".playground-still")
    wait_until(page, lambda: "is “3”" in words.text_content())  # an example of ours
    draw(page, pad, SEVEN)
    wait_until(page, lambda: "is “7”" in words.text_content())
    with page.expect_response(lambda response: response.request.method == "PUT"):
        pad.press("Control+s")
    choose(page, "Kernel", "Shut Down Kernel")
    page.get_by_text("No Kernel").first.wait_for()
    page.reload()  # a kernel is started; it knows nothing of the pad
    error = page.get_by_text("Error displaying widget")
    error.wait_for(state="attached")
    stills(page).wait_for()
    assert not error.is_visible() and page.locator(".digit-playground").count() == 0
    assert "is “7”" in words.inner_text()
    page.screenshot(path=OUT / "still.png")
    page.close()


# -- the lesson


@pytest.fixture(scope="module")
def lesson(browser, lab, rungs, digit_net):
    """The lesson, opened, and run from top to bottom."""
    page = opened(browser, lab, LESSON)
    choose(page, "Run", "Run All Cells")
    page.locator(".digit-pad-sheet canvas").first.wait_for()
    running = "() => document.body.innerText.includes('[*]:')"
    page.wait_for_function(f"() => !({running})()", timeout=600_000)
    return page


def test_one_can_draw_in_the_lesson(lesson):
    pad = lesson.locator(".digit-pad-sheet canvas").first
    pad.scroll_into_view_if_needed()
    draw(lesson, pad, HASTY_THREE)
    wait_for_verdict(lesson, "3")
    lesson.mouse.move(5, 5)
    output = lesson.locator(".digit-playground").first
    lesson.wait_for_timeout(300)
    output.screenshot(path=OUT / "playground.png")


def test_the_kernel_runs_what_is_installed(home, page, site):
    """pip compiled nothing there; so the kernel has, when it imported the modules."""
    workshop = site / "mnist_basics" / "workshop"
    assert list((workshop / "__pycache__").glob("pad.*"))


def test_the_lesson_ran_to_its_end_without_an_error(lesson, home):
    with lesson.expect_response(lambda response: response.request.method == "PUT"):
        choose(lesson, "File", "Save Notebook")
    cells = json.loads((home / "nbs" / LESSON).read_text(encoding="utf-8"))["cells"]
    cells = [cell for cell in cells if cell["cell_type"] == "code"]
    assert all(cell["execution_count"] for cell in cells[1:]), "a cell was not run"
    outputs = [output for cell in cells for output in cell["outputs"]]
    assert not [one for one in outputs if one["output_type"] == "error"]
    assert not [one for one in outputs if one.get("name") == "stderr"]
