"""What site/prepare.py lays out for Sphinx, which is not needed here."""

import importlib.util
import re
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parents[1]
spec = importlib.util.spec_from_file_location("prepare", ROOT / "site/prepare.py")
prepare = importlib.util.module_from_spec(spec)
spec.loader.exec_module(prepare)
NOTEBOOKS = sorted((ROOT / "nbs").rglob("*.ipynb"))


@pytest.fixture(scope="module")
def laid_out(tmp_path_factory):
    prepare.OUT = tmp_path_factory.mktemp("site")
    prepare.main()
    return prepare.OUT


def pages(laid_out):
    for file in (laid_out / "pages").rglob("*.ipynb"):
        yield file, nbformat.read(file, 4).cells


def test_each_notebook_is_a_page_and_can_be_downloaded_as_it_is(laid_out):
    inside = [path.relative_to(ROOT / "nbs") for path in NOTEBOOKS]
    found = [file.relative_to(laid_out / "pages") for file, _ in pages(laid_out)]
    assert sorted(found) == inside
    for path, name in zip(NOTEBOOKS, inside):
        original = laid_out / "extra/_sources" / name
        assert original.read_bytes() == path.read_bytes()


def test_no_directive_is_shown_and_every_picture_keeps_its_description(laid_out):
    pictures = 0
    for file, cells in pages(laid_out):
        for cell in (cell for cell in cells if cell.cell_type == "code"):
            assert not re.search(r"^#\|", cell.source, re.M), file.stem
            shown = [o for o in cell.outputs if "image/png" in o.get("data", {})]
            for output in shown:
                pictures += 1
                alt = cell.metadata.mystnb.image.alt
                assert alt == output.metadata["image/png"].alt
    assert pictures > 100


def test_every_solution_is_folded_and_nothing_in_a_lesson(laid_out):
    for file, cells in pages(laid_out):
        for cell in (cell for cell in cells if cell.cell_type == "code"):
            solution = file.parent.name == "exercises" and "def solve_" in cell.source
            folded = "hide-input" in cell.metadata.tags
            assert folded or not solution, f"{file.stem}: {cell.source[:60]}"
            assert file.parent.name == "exercises" or not folded


def test_every_term_is_in_the_glossary_and_linked_from_a_lesson(laid_out):
    listed = {names[0] for names, _ in prepare.listed_terms()}
    linked = set()
    for file, cells in pages(laid_out):
        links = re.findall(r"\{term\}`[^<`]+ <([^>]+)>`", str(cells))
        assert len(links) == len(set(links)), f"{file.stem} links a term twice"
        linked |= set(links)
    assert len(listed) > 100 and linked == listed
    glossary = (laid_out / "pages/glossary.md").read_text(encoding="utf-8")
    assert listed <= set(glossary.splitlines())


def test_a_term_is_linked_once_and_never_in_code_or_in_a_heading():
    text = "## A **bias**\n`**bias**`, a **Bias**, **biases** and a **bias**, **no**."
    linked = prepare.link_terms(text, {"bia": "bias", "biase": "bias"}, set())
    assert linked == text.replace("a **Bias**", "a {term}`Bias <bias>`")


def test_links_to_folders_lead_to_pages_and_none_leaves_the_site():
    folder = ROOT / "nbs/workshop"
    text = "[a](../exercises) [b](../../mnist_basics/web) [c](pad.ipynb) [d](#e)"
    expected = "[a](../exercises/index.md) b [c](pad.ipynb) [d](#e)"
    assert prepare.link_pages(text, folder) == expected
