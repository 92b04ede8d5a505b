"""Lays out what Sphinx reads: the notebooks, and the pages that are made from them.

The notebooks themselves are left as they are; they lie in `extra` for download. `make
site` calls it."""

import ast
import re
import shutil
from functools import cache
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell

ROOT = Path(__file__).parents[1]
NBS, OUT = ROOT / "nbs", ROOT / "build/site-src"
LESSONS = sorted(NBS.glob("[0-9]*.ipynb"))
EXERCISES = sorted(NBS.glob("exercises/*.ipynb"))
WORKSHOP = sorted(NBS.glob("workshop/*.ipynb"))
DRAW = """<strong><a href="draw.html" target="_blank">Draw a digit now</a></strong>, in
your browser, and see what four of the five programs make of it. (The fifth, ResNet18,
would make that page ten times as large.) Or [begin to read](00_data.ipynb): nothing
needs to be installed, since what each cell prints is here."""
STILL = """<p>Draw <a href="draw.html" target="_blank">on a page of its own</a>, or
further down in this one.</p>"""
MOVES = "a picture that moves; what it shows is said below"
ON_PAPER = """*On this page nothing runs: write down your attempt, then unfold [the
solution]({}).*"""
SPOILERS = """Here stand the solutions, folded away. First try *Your turn* at the end
of the lesson."""
INSIDE = """What carries the lessons and is none: figures, checks of arguments, saving,
the table while training, the drawing pad. For those who want to know."""
API = """What the notebooks leave behind: the library `mnist_basics`. Beside each name,
*[source]* leads to the cell that defines it."""
TERMS = """Every term of the course in one sentence, with a link to where it is
explained. [Looking back](18_review.ipynb) asks about them."""


def anchor(heading):
    "The anchor of a heading, as JupyterLab and GitHub make it."
    return heading.replace("`", "").replace(" ", "-")


@cache
def read(path):
    return nbformat.read(path, 4)


def title(path):
    "The first line of a notebook; a lesson's with its number."
    text = read(path).cells[0].source.splitlines()[0].removeprefix("# ")
    return f"{path.stem[:2]} {text}" if path in LESSONS else text


def module(path):
    "The module that nbdev makes of a notebook."
    return f"mnist_basics.{read(path).metadata.nbdev.default_exp}"


def public_names(path):
    return [name for cell in read(path).cells for name in defined(cell.source)]


# Terms


def plain(term):
    "One name for a term, whatever its number and its capitals (as in test_review)."
    return term.strip("`").lower().removesuffix("s")


def listed_terms():
    "Of each entry in 18's list: its names and its sentence."
    [review] = NBS.glob("*_review.ipynb")
    text = "\n".join(cell.source for cell in read(review).cells)
    text = text[text.index("## The terms") : text.index("## The questions")]
    for head, sentence in re.findall(r"^- (\*\*.*?): (.*)$", text, re.M):
        yield re.findall(r"\*\*`?(.+?)`?\*\*", head), sentence


def glossary():
    entries = ("\n".join([*names, f"  {text}"]) for names, text in listed_terms())
    return "```{glossary}\n" + "\n\n".join(entries) + "\n```\n"


def link_terms(text, terms, seen):
    "The first bold use of each term leads to its entry."

    def link(found):
        name = terms.get(plain(found[1] or ""))
        if name is None or name in seen:
            return found[0]
        seen.add(name)
        return f"{{term}}`{found[1].strip('`')} <{name}>`"

    return re.sub(r"\*\*(.+?)\*\*|`[^`\n]*`|^#.*$", link, text, flags=re.M)


# Notebooks


def link_pages(text, folder):
    "Links to folders lead to their page; those that leave the site are none."

    def link(found):
        words, target = found.groups()
        place = (folder / target).resolve()
        if place.is_dir() and place.is_relative_to(NBS):
            return f"[{words}]({target}/index.md)"
        outside = place.exists() and not place.is_relative_to(NBS)
        return words if outside else found[0]

    return re.sub(r"\[([^]]*)\]\(([^)#]+)\)", link, text)


def defined(text):
    "The public names that an exported cell defines."
    if not text.startswith("#| export"):
        return []
    kinds = ast.FunctionDef, ast.ClassDef
    names = [node.name for node in ast.parse(text).body if isinstance(node, kinds)]
    return [name for name in names if not name.startswith("_")]


def page_cells(path, terms):
    "The cells of a notebook as the page shows them."
    seen = set()
    for number, cell in enumerate(read(path).cells):
        text = cell.source
        if number == 0:
            yield new_markdown_cell(f"# {title(path)}")
        elif cell.cell_type == "markdown":
            text = link_pages(text, path.parent)
            if text.startswith("## Your turn"):
                hint = ON_PAPER.format(f"exercises/{path.name}")
                text = text.replace("\n\n", f"\n\n{hint}\n\n", 1)
            yield new_markdown_cell(
                link_terms(text, terms if path in LESSONS else {}, seen)
            )
        else:
            if path not in EXERCISES and (names := defined(text)):
                yield new_markdown_cell(
                    "".join(f'<a id="cell-{name}"></a>' for name in names)
                )
            yield shown_code(cell, text, path)


def shown_page(page, path):
    "An output in HTML: an animation has a description, and a pad's still a link."
    if "playground-still" in page and path in LESSONS:
        return STILL
    return page.replace('<img id="_anim', f'<img alt="{MOVES}" id="_anim')


def shown_code(cell, text, path):
    "A cell of code without directives; its picture keeps the description."
    metadata = {"tags": [], "mystnb": {}}
    kept = "#| export" in text and re.search("^(def|class|check_)", text, re.M)
    if path in EXERCISES and kept:
        what = "solution" if "def solve_" in text else "check"
        metadata["tags"] = ["hide-input"]
        metadata["mystnb"] = {"code_prompt_show": f"Show the {what}"}
    for output in cell.outputs:
        if page := output.get("data", {}).get("text/html"):
            output.data["text/html"] = shown_page(page, path)
        if alt := output.get("metadata", {}).get("image/png", {}).get("alt"):
            metadata["mystnb"]["image"] = {"alt": alt}
    text = re.sub(r"^#\|.*\n?", "", text, flags=re.M)
    return new_code_cell(text, metadata=metadata, outputs=cell.outputs)


def write_notebook(path, place, terms):
    cells = list(page_cells(path, terms))
    if path.stem == "index":
        cells.insert(1, new_markdown_cell(DRAW))
        cells.append(new_markdown_cell(contents()))
    elif path not in EXERCISES and (names := public_names(path)):
        links = ", ".join(f"{{py:obj}}`~{module(path)}.{name}`" for name in names)
        cells.append(new_markdown_cell(f"*In the library:* {links}"))
    place.parent.mkdir(parents=True, exist_ok=True)
    metadata = read(path).metadata
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=metadata), place)


# Pages


def tree(pages, *options):
    lines = ["```{toctree}", *options, "", *pages, "```"]
    return "\n".join(lines) + "\n"


def contents():
    more = ["glossary", "exercises/index", "workshop/index", "api/index"]
    lessons = tree([p.stem for p in LESSONS], ":hidden:", ":caption: Lessons")
    return lessons + "\n" + tree(more, ":hidden:", ":caption: More")


def write_page(place, heading, text, rest):
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(f"# {heading}\n\n{text}\n\n{rest}", encoding="utf-8")


def write_api(out):
    "One page for each module."
    pages = []
    for path in filter(public_names, LESSONS + WORKSHOP):
        whole, names = module(path), public_names(path)
        link = f"From [{title(path)}](../{path.relative_to(NBS)})."
        options = ["   :nosignatures:", "", *(f"   {name}" for name in names), ""]
        table = [f".. currentmodule:: {whole}", "", ".. autosummary::", *options]
        full = [f".. automodule:: {whole}", "   :members:"]
        rest = "\n".join(["```{eval-rst}", *table, *full, "```\n"])
        write_page(out / f"api/{whole}.md", f"`{whole}`", link, rest)
        pages.append(f"{whole.removeprefix('mnist_basics.')} <{whole}>")
    write_page(out / "api/index.md", "The library", API, tree(pages))


def main():
    shutil.rmtree(OUT, ignore_errors=True)
    terms = {plain(n): names[0] for names, _ in listed_terms() for n in names}
    for path in [NBS / "index.ipynb", *LESSONS, *EXERCISES, *WORKSHOP]:
        inside = path.relative_to(NBS)
        write_notebook(path, OUT / "pages" / inside, terms)
        original = OUT / "extra/_sources" / inside
        original.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, original)
    pages = OUT / "pages"
    for picture in NBS.glob("*.png"):
        shutil.copy(picture, pages)
    exercises = [f"{title(p).split(':')[0]} <{p.stem}>" for p in EXERCISES]
    workshop = [p.stem for p in WORKSHOP]
    write_page(pages / "exercises/index.md", "Exercises", SPOILERS, tree(exercises))
    write_page(pages / "workshop/index.md", "Inside", INSIDE, tree(workshop))
    write_page(pages / "glossary.md", "The terms", TERMS, glossary())
    write_api(pages)


if __name__ == "__main__":
    main()
