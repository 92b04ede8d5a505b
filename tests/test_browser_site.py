"""The site, read from disk in a Chromium without a window and without a network.

Run by `make test-browser`, which builds it before."""

import re
from collections import defaultdict
from pathlib import Path
from urllib.parse import unquote, urldefrag

import pytest
from bs4 import BeautifulSoup
from waiting import CHROMIUM, wait_until

ROOT = Path(__file__).parents[1]
SITE, NBS = ROOT / "build/site", ROOT / "nbs"
LESSONS = [path.stem for path in sorted(NBS.glob("[0-9]*.ipynb"))]
[PLAYGROUND] = [name for name in LESSONS if "playground" in name]
[BACKWARD] = [name for name in LESSONS if "backward" in name]
READ = ["index", *(name for name in LESSONS if name[:2] in ("00", "05", "11", "16"))]
READ += ["api/mnist_basics.linear_model"]
WIDTHS, SCHEMES = (390, 800, 1300), ("light", "dark")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium; Debian: apt install it"),
    pytest.mark.skipif(not SITE.exists(), reason="no site; make site builds it"),
]


@pytest.fixture
def show(browser):
    """Opens a page of the site; whatever it asks another host for is a mistake."""
    contexts, mistakes = [], []

    def show(name, width=1300, scheme="light"):
        size = {"width": width, "height": 900}
        context = browser.new_context(viewport=size, color_scheme=scheme, offline=True)
        contexts.append(context)
        page = context.new_page()
        page.on("request", asked)
        page.on("pageerror", lambda error: mistakes.append(str(error)))
        page.goto((SITE / f"{name}.html").as_uri())
        return page

    def asked(request):
        if not request.url.startswith((SITE.as_uri(), "data:", "blob:")):
            mistakes.append(request.url)

    yield show
    for context in contexts:
        context.close()
    assert mistakes == []


def heading(page):
    return page.locator("article h1").inner_text().removesuffix("#").strip()


# What every page has to keep


@pytest.fixture(scope="module")
def pages():
    """All that is written, without what lies there for download."""
    files = [f for f in SITE.rglob("*.html") if "_static" not in f.parts]
    return {
        file: BeautifulSoup(file.read_text("utf-8"), "html.parser") for file in files
    }


def test_every_link_leads_somewhere(pages):
    places = {}
    for file, page in pages.items():
        names = [node["id"] for node in page.find_all(id=True)]
        places[file] = set(names)
        assert len(names) == len(places[file]), f"{file}: one name for two places"
    dead = defaultdict(list)
    for file, page in pages.items():
        for node in page.find_all(href=True) + page.find_all(
            ["img", "script", "object"]
        ):
            link = node.get("href") or node.get("src") or node.get("data") or ""
            if re.match("https?:|data:|javascript:", link):
                assert node.name == "a" or link.startswith("data:"), f"{file}: {link}"
                continue
            path, place = map(unquote, urldefrag(link.split("?")[0]))
            target = (file.parent / path).resolve() if path else file
            if not target.exists() or place and place not in places[target] | {"top"}:
                dead[link].append(file.stem)
    assert not dead and len(pages) > 50


def test_every_picture_is_described_and_no_directive_is_shown(pages):
    for file, page in pages.items():
        if file.name == "draw.html":
            continue
        silent = [str(i)[:80] for i in page.select("article img") if not i.get("alt")]
        assert not silent, file.stem
        code = "\n".join(cell.get_text() for cell in page.select(".cell_input"))
        assert "#|" not in code, file.stem


def test_a_notebook_is_downloaded_as_it_is(pages):
    for path in NBS.rglob("*.ipynb"):
        name = path.relative_to(NBS)
        [link, *_] = pages[SITE / name.with_suffix(".html")].select("a[href$=ipynb]")
        place = (SITE / name).parent / link["href"]
        assert place.resolve().read_bytes() == path.read_bytes(), name


# On a phone, on a tablet, on a screen; by day and by night


WIDER = "document.documentElement.scrollWidth - innerWidth"


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_is_wider_than_the_page(show, width, scheme):
    page = show("index", width, scheme)
    for name in READ:
        page.goto((SITE / f"{name}.html").as_uri())
        assert page.evaluate(WIDER) <= 0, name
        assert page.locator("html").get_attribute("data-theme") == scheme
    assert page.locator("article").is_visible()


def test_no_page_at_all_is_wider_than_a_phone(show, pages):
    page, wide = show("index", 390), {}
    for file in pages:
        page.goto(file.as_uri(), wait_until="domcontentloaded")
        wide[file.stem] = page.evaluate(WIDER)
    assert {name: more for name, more in wide.items() if more > 0} == {}


def test_it_prints_light_and_is_as_before_thereafter(show):
    page = show("index", scheme="dark")
    themes = """() => ["beforeprint", "afterprint"].map(event => {
        dispatchEvent(new Event(event));
        return document.documentElement.dataset.theme; })"""
    assert page.evaluate(themes) == ["light", "dark"]
    page.evaluate("document.documentElement.dataset.theme = 'light'")  # by the button
    assert page.evaluate(themes) == ["light", "light"]


def test_a_wide_table_scrolls_by_itself(show):
    page = show("16_playground", 390)
    wide = """nodes => nodes.filter(n => n.scrollWidth > n.clientWidth).map(n => {
        n.scrollLeft = 1000; return n.scrollLeft; })"""
    scrolled = page.locator(".cell_output > .output").evaluate_all(wide)
    assert scrolled and all(scrolled) and page.evaluate("scrollX") == 0


@pytest.mark.parametrize(
    "width, scheme", [(390, "light"), (1300, "light"), (1300, "dark")]
)
def test_axe_finds_nothing_serious(show, width, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    page, serious = show("index", width, scheme), {}
    more = ["06_learner", "08_backward"] if scheme == "dark" else []
    for name in READ + more:
        page.goto((SITE / f"{name}.html").as_uri())
        for found in axe.Axe().run(page).response["violations"]:
            if found["impact"] in ("serious", "critical"):
                where = [node["html"][:80] for node in found["nodes"]]
                serious[name, found["id"]] = where
    assert serious == {}


# A reader goes through it


def test_from_the_first_page_to_the_last_lesson(show):
    page = show("index")
    page.get_by_role("link", name="begin to read").click()
    for name in LESSONS:
        assert page.url == (SITE / f"{name}.html").as_uri()
        assert heading(page).startswith(name[:2])
        page.locator("a.right-next").click()
    assert heading(page) == "The terms"


def test_a_word_is_found(show):
    page = show("index")
    page.locator(".search-button-field").first.click()
    page.keyboard.type("broadcasting")
    page.keyboard.press("Enter")
    found = page.locator("#search-results li a")
    found.first.wait_for()
    wait_until(page, lambda: any("03" in t for t in found.all_inner_texts()))
    found.filter(has_text="03").first.click()
    assert heading(page).startswith("03")
    mark = page.locator("article .highlighted").first
    mark.wait_for()
    wait_until(page, lambda: 0 < mark.bounding_box()["y"] < 900)


def test_an_answer_is_folded_until_it_is_asked_for(show):
    page = show("05_linear_model")
    answers = page.locator("article details")
    assert answers.count() >= 5 and page.locator("article details[open]").count() == 0
    answer = answers.first.locator("p").first
    assert not answer.is_visible()
    answers.first.locator("summary").click()
    assert answer.is_visible() and len(answer.inner_text()) > 40


def test_a_solution_is_folded_until_it_is_asked_for(show):
    page = show("exercises/05_linear_model")
    solution = page.get_by_text("def solve_from_zero")
    assert not solution.is_visible()
    page.locator("summary", has_text="Show the solution").first.click()
    assert solution.is_visible()


def test_a_term_leads_to_its_sentence_and_back(show):
    page = show("05_linear_model")
    page.locator("article a", has_text=re.compile("^bias$")).first.click()
    assert page.url.endswith("glossary.html#term-bias")
    page.locator("dt#term-bias + dd a").first.click()
    assert heading(page).startswith("05") and "#" in page.url


def test_a_name_leads_to_its_docstring_and_back_to_its_cell(show):
    page = show("05_linear_model")
    page.get_by_role("link", name="Batches", exact=True).click()
    assert page.url.endswith("linear_model.html#mnist_basics.linear_model.Batches")
    entry = page.locator("dl:has(> dt[id='mnist_basics.linear_model.Batches'])")
    assert "Mini-batches" in entry.inner_text()
    entry.locator("a", has_text="[source]").first.click()
    assert page.url.endswith("05_linear_model.html#cell-Batches")
    cell = page.locator("#cell-Batches").locator("xpath=following::pre[1]")
    assert cell.inner_text().startswith("class Batches")


def test_an_animation_scrubs(show):
    page = show(BACKWARD)
    picture = page.locator(".animation img").first
    first = picture.get_attribute("src")
    page.locator(".animation input[type=range]").first.focus()
    page.keyboard.press("ArrowRight")
    wait_until(page, lambda: picture.get_attribute("src") != first)


def draw_a_7(page, frame):
    """With the mouse; the sheet is 28 wide."""
    sheet = frame.locator(".digit-pad-sheet canvas")
    sheet.evaluate("sheet => sheet.scrollIntoView({block: 'center'})")
    box = sheet.bounding_box()
    for number, (x, y) in enumerate([(8, 6), (20, 6), (12, 23)]):
        spot = box["x"] + x / 28 * box["width"], box["y"] + y / 28 * box["width"]
        page.mouse.move(*spot, steps=8)
        if number == 0:
            page.mouse.down()
    page.mouse.up()
    frame.locator("[data-verdict='7']").wait_for()
    votes = frame.locator("[data-rung]")
    assert votes.count() == 4
    for vote in votes.all():
        assert float(vote.get_attribute("data-p3")) < 0.5


def test_a_7_is_drawn_inside_of_the_lesson(show):
    page = show(PLAYGROUND)
    page.locator("object").scroll_into_view_if_needed()
    wait_until(page, lambda: len(page.frames) == 2)
    draw_a_7(page, page.frames[1])


def test_a_7_is_drawn_from_the_first_page(show):
    page = show("index")
    with page.expect_popup() as opened:
        page.get_by_role("link", name="Draw a digit now").click()
    draw_a_7(opened.value, opened.value.locator("body"))
