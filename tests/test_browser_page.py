"""The page that needs no Python, in a Chromium without a window and without a network.

Run by `make test-browser`."""

import shutil
import subprocess
import sys

import nbformat
import pytest
import torch
from waiting import wait_until

from mnist_basics.data import mnist_full
from mnist_basics.playground import Neighbours, prepare_strokes, vote
from mnist_basics.workshop import page as pages
from mnist_basics.workshop.hand import generated_hand
from mnist_basics.workshop.rungs import trained_digit_net

BROWSERS = map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))
CHROMIUM = next(filter(None, BROWSERS), None)
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
PHONE = {"width": 390, "height": 844}
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium; Debian: apt install it"),
]


@pytest.fixture(scope="module")
def digit_net():
    return trained_digit_net()


@pytest.fixture(scope="module")
def folder(tmp_path_factory, rungs, digit_net, digits):
    """Two pages in a folder: with the small rungs, and with all of them."""
    folder = tmp_path_factory.mktemp("page")
    for name, chosen in (("draw", rungs[:4]), ("draw18", rungs)):
        html = pages.page_html(chosen, digit_net, digits)
        (folder / f"{name}.html").write_text(html, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        options = {"executable_path": CHROMIUM, "args": FLAGS}
        browser = playwright.chromium.launch(**options)
        yield browser
        browser.close()


@pytest.fixture
def show(browser):
    """Opens a file; `requests` are those that the page made, `errors` its mistakes."""
    contexts = []

    def show(file, **options):
        options = {"viewport": PHONE, "offline": True} | options
        contexts.append(browser.new_context(**options))
        page = contexts[-1].new_page()
        page.requests, page.errors = [], []
        page.on("request", lambda request: page.requests.append(request.url))
        page.on("pageerror", lambda error: page.errors.append(str(error)))
        page.goto(file.as_uri())
        return page

    yield show
    for context in contexts:
        context.close()


@pytest.fixture
def page(show, folder):
    """The page with the small rungs, on a sheet as wide as a phone."""
    page = show(folder / "draw.html")
    yield page
    assert page.errors == []
    assert page.requests == [(folder / "draw.html").as_uri()]


@pytest.fixture(scope="module")
def drawings():
    """Fifty: 3s and 7s of five styles, as strokes of (x, y, pressure)."""
    drawn = [d for digit in (3, 7) for d in generated_hand(digit, styles=5, wobbles=5)]
    return [[[[x, y, 1.0] for x, y, *_ in line] for line in d] for d in drawn]


@pytest.fixture(scope="module")
def images(digits, drawings):
    """200 validation images, and the fifty drawings as Python prepares them."""
    ready = torch.stack([prepare_strokes(drawing) for drawing in drawings])
    return torch.cat([digits.valid_x[::10][:200] / 255, ready])


def asked(page, images, drawings, function):
    """What a function of the page says to images of Python and drawings of its own."""
    program = f"""([images, drawings]) => {{
        const prepared = drawings.map((strokes) => mnistBasics.prepare(strokes));
        return [...images, ...prepared].map((pixels) => mnistBasics.{function}(pixels));
    }}"""
    return page.evaluate(program, [images[:200].flatten(1).tolist(), drawings])


def assert_same_votes(said, rungs, images, atol):
    for rung in rungs:
        ours = torch.tensor([odds[rung.name] for odds in said])
        expected = rung.log_odds(images)
        torch.testing.assert_close(ours, expected, atol=atol, rtol=0)
        assert ((ours > 0) == (expected > 0)).all(), rung.name


# The same numbers as Python's


def test_every_small_rung_says_in_the_browser_what_it_says_in_python(
    page, rungs, images, drawings
):
    said = asked(page, images, drawings, "logOdds")
    assert [*said[0]] == [rung.name for rung in rungs[:4]] and len(said) == 250
    assert_same_votes(said, rungs[:4], images, atol=1e-3)


def test_the_resnet18_in_16_bits_gives_the_same_votes(
    show, folder, rungs, images, drawings
):
    page = show(folder / "draw18.html")
    said = asked(page, images, drawings, "logOdds")
    assert_same_votes(said, rungs[:4], images, atol=1e-3)
    assert_same_votes(said, rungs[4:], images, atol=0.05)
    resnet = torch.tensor([odds["ResNet18"] for odds in said])
    largest = (resnet - rungs[4].log_odds(images)).abs().max()
    print(f"ResNet18 in 16 bits: largest difference of log-odds {largest:.4f}")


def test_the_probabilities_of_ten_digits_are_those_of_python(
    page, digit_net, images, drawings
):
    said = torch.tensor(asked(page, images, drawings, "digits"))
    expected = digit_net(images[:, None]).softmax(1)
    torch.testing.assert_close(said, expected, atol=1e-5, rtol=0)


def test_what_is_like_no_training_image_is_found_as_in_python(page, digits):
    """Among 50 images of each of the ten digits."""
    full, neighbours = mnist_full(), Neighbours(digits)
    x = torch.cat([full.valid_x[full.valid_y == y][:50] for y in range(10)]) / 255
    nearest, _ = neighbours.nearest(x)
    ask = "images => images.map((pixels) => likeness(neighbours, pixels))"
    said = torch.tensor(page.evaluate(ask, x.flatten(1).tolist()))
    torch.testing.assert_close(said, nearest, atol=1e-3, rtol=0)
    least = page.evaluate("neighbours.least")
    assert least == pytest.approx(neighbours.least, abs=1e-6)
    unlike = nearest < neighbours.least
    assert 100 < unlike.sum() < 400
    assert ((said < least) != unlike).sum() <= 1


# Drawing


def spots(page, points):
    """Points of the sheet in pixels of the page."""
    box = page.locator(".digit-pad-sheet canvas").bounding_box()
    left, top, side = box["x"], box["y"], box["width"]
    return [(left + x / 28 * side, top + y / 28 * side) for x, y in points]


def draw(page, points):
    first, *others = spots(page, points)
    page.mouse.move(*first)
    page.mouse.down()
    for spot in others:
        page.mouse.move(*spot, steps=8)
    page.mouse.up()


def wait_for_answer(page, verdict):
    """Until this is the large answer; one to half of a digit may come before."""
    page.locator(f"[data-verdict='{verdict}']").wait_for()


def said_votes(page):
    rows = page.locator("[data-rung]")
    return rows.evaluate_all(
        "rows => Object.fromEntries(rows.map(r => [r.dataset.rung, +r.dataset.p3]))"
    )


SEVEN = [(8, 6), (20, 6), (12, 23)]
THREE = [(8, 6), (18, 6), (13, 13), (17, 17), (14, 23), (8, 22)]


@pytest.mark.parametrize("points, digit", [(SEVEN, "7"), (THREE, "3")])
def test_a_digit_drawn_with_the_mouse_gets_the_votes_of_python(
    page, rungs, points, digit
):
    draw(page, points)
    wait_for_answer(page, digit)
    strokes = page.evaluate("sheet.strokes")
    expected = vote(rungs[:4], prepare_strokes(strokes)).tolist()
    expected = {rung.name: p for rung, p in zip(rungs, expected)}
    wait_until(page, lambda: said_votes(page) == pytest.approx(expected, abs=1e-4))


def test_a_finger_draws_on_a_phone_and_the_page_stays_where_it_is(show, folder):
    phone = {"has_touch": True, "is_mobile": True, "device_scale_factor": 3}
    page = show(folder / "draw.html", **phone)
    protocol = page.context.new_cdp_session(page)
    first, *others = [{"x": x, "y": y} for x, y in spots(page, SEVEN)]
    steps = [("touchStart", [first]), *(("touchMove", [spot]) for spot in others)]
    for kind, points in [*steps, ("touchEnd", [])]:
        event = {"type": kind, "touchPoints": points}
        protocol.send("Input.dispatchTouchEvent", event)
    wait_for_answer(page, "7")
    assert page.evaluate("scrollY") == 0
    assert page.evaluate("innerWidth") == PHONE["width"], "the viewport is not said"


def test_one_button_shows_all_ten_digits(page, digit_net):
    draw(page, THREE)
    wait_for_answer(page, "3")
    bars, button = page.locator("[data-digit]"), page.get_by_role("button", name="ten")
    assert not bars.first.is_visible()
    button.click()
    assert [bar.is_visible() for bar in bars.all()] == [True] * 10
    assert button.get_attribute("aria-pressed") == "true"
    strokes = page.evaluate("sheet.strokes")
    expected = digit_net(prepare_strokes(strokes)[None, None]).softmax(1)[0].tolist()
    shown = "bars => bars.map((bar) => +bar.dataset.p)"
    expected = pytest.approx(expected, abs=1e-4)
    wait_until(page, lambda: bars.evaluate_all(shown) == expected)


@pytest.mark.parametrize(
    "points, why",
    [
        ([(14, 14), (14.5, 14)], "too little ink"),
        ([(4, 4), (24, 24), (4, 24), (24, 4)], "No training image"),
    ],
)
def test_what_is_no_digit_is_neither(page, points, why):
    draw(page, points)
    wait_for_answer(page, "neither")
    assert why in page.locator("[data-verdict]").inner_text()


def test_an_emptied_sheet_has_no_votes(page):
    draw(page, SEVEN)
    wait_for_answer(page, "7")
    page.get_by_role("button", name="Clear").click()
    page.locator("[data-verdict=empty]").wait_for()
    assert page.locator("[data-p3]").count() == 0


# A page for everyone, that keeps what one draws to itself


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 390, 1200])
def test_nothing_is_wider_than_the_screen_and_all_can_be_read(
    show, folder, scheme, width
):
    size = {"width": width, "height": 844}
    page = show(folder / "draw.html", viewport=size, color_scheme=scheme)
    draw(page, THREE)
    wait_for_answer(page, "3")
    page.get_by_role("button", name="ten").click()
    wide = "node => node.scrollWidth - node.clientWidth"
    assert page.locator("html").evaluate(wide) <= 0
    assert page.locator("#pad, #says, .digit-votes").evaluate_all(
        f"nodes => nodes.map({wide}).every((more) => more <= 0)"
    )
    colours = """() => ["color", "backgroundColor"].map((what) => {
        const probe = document.createElement("canvas").getContext("2d");
        probe.fillStyle = getComputedStyle(document.body)[what];
        return probe.fillStyle;
    })"""
    text, _ = page.evaluate(colours)
    assert text == {"light": "#000000", "dark": "#ffffff"}[scheme]
    assert page.errors == [] and len(page.requests) == 1


def test_the_browser_itself_lets_nothing_out(show, folder):
    page, reached = show(folder / "draw.html", offline=False), []

    def fulfil(route):  # as a host that answers everybody
        reached.append(route.request.url)
        route.fulfill(body="", headers={"Access-Control-Allow-Origin": "*"})

    page.context.route("https://**", fulfil)
    tries = """async () => {
        const image = new Image();
        const heard = new Promise((done) => { image.onload = image.onerror = done; });
        image.src = "https://example.org/x.png";
        const sent = await fetch("https://example.org/").then(() => "yes", () => "no");
        return [sent, (await heard).type];
    }"""
    assert page.evaluate(tries) == ["no", "error"] and reached == []


# The pad in an exported notebook

OBJECT = """<object data="draw.html" type="text/html" width="100%" height="900">

No pad, but **these words**.

</object>"""


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """The HTML that nbconvert makes of a notebook with the pad in it."""
    place = tmp_path_factory.mktemp("exported")
    cells = [nbformat.v4.new_markdown_cell(OBJECT)]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), place / "n.ipynb")
    command = [sys.executable, "-m", "nbconvert", "--to", "html", place / "n.ipynb"]
    subprocess.run(command, check=True, capture_output=True)
    return place / "n.html"


def test_the_pad_is_live_in_an_exported_notebook_beside_the_page(
    show, exported, folder, tmp_path
):
    for file in (exported, folder / "draw.html"):
        shutil.copy(file, tmp_path)
    page = show(tmp_path / "n.html", viewport={"width": 1200, "height": 1000})
    wait_until(page, lambda: len(page.frames) == 2)
    frame = page.frames[1]
    frame.locator(".digit-pad-sheet canvas").wait_for()
    assert frame.evaluate("typeof mnistBasics.logOdds") == "function"
    assert not page.get_by_text("these words").is_visible()


def test_without_the_page_beside_it_what_stands_in_its_place_is_shown(show, exported):
    page = show(exported)
    page.locator("strong", has_text="these words").wait_for()
