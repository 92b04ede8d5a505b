"""The rules of the house: notebooks as readers should find them, and modules that stand on the floors below."""
import ast
import inspect
import json
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from mnist_basics.learner import EVENTS

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "nbs").glob("*.ipynb"))
MODULES = sorted(".".join(file.relative_to(ROOT / "mnist_basics").with_suffix("").parts)
                 for file in (ROOT / "mnist_basics").rglob("[a-z]*.py"))
FLOOR = {notebook.stem.split("_", 1)[1]: int(notebook.stem[:2]) for notebook in NOTEBOOKS if notebook.stem[:2].isdigit()}


def cells(notebook, kind):
    return [cell for cell in json.loads(notebook.read_text())["cells"] if cell["cell_type"] == kind]


def source(cell):
    return "".join(cell["source"])


each_notebook = pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda notebook: notebook.stem)


@each_notebook
def test_a_notebook_stands_on_lower_floors_only(notebook):
    floor = int(notebook.stem[:2]) if notebook.stem[:2].isdigit() else 99
    for cell in cells(notebook, "code"):
        for node in ast.walk(ast.parse(source(cell))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module == "mnist_basics":
                names += [f"mnist_basics.{alias.name}" for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names.append(node.module)
            for name in names:
                if name.startswith("mnist_basics.exercises."):
                    assert name.split(".")[2] in ("checking", notebook.stem.split("_", 1)[-1]), f"{notebook.stem} imports {name}"
                    assert not source(cell).startswith("#| export\n"), "the library proper imports nothing from the exercises"
                elif name.startswith("mnist_basics."):
                    other = FLOOR[name.split(".")[1]]
                    own_library = other == floor and not source(cell).startswith("#| export\n")
                    assert other < floor or own_library, f"{notebook.stem} imports {name}"


@each_notebook
def test_a_notebook_is_saved_clean_and_with_outputs(notebook):
    content = json.loads(notebook.read_text())
    assert "widgets" not in content["metadata"], "GitHub refuses to show it"
    assert notebook.stat().st_size < 1_000_000
    outputs = [output for cell in cells(notebook, "code") for output in cell["outputs"]]
    assert outputs, "run make outputs"
    assert all(cell["execution_count"] is None for cell in cells(notebook, "code"))
    assert not [o for o in outputs if o["output_type"] == "error" or o.get("name") == "stderr"]
    text = json.dumps(outputs)
    for place in (str(Path.home()), str(ROOT.parent), "/tmp/"):
        assert place + ("" if place.endswith("/") else "/") not in text, f"a path of this machine: {place}"
    assert "as published" in text or notebook.stem[:2] not in ("00", "01", "02", "03", "12"), "not from the genuine sample"
    assert "could not be downloaded" not in text
    assert "%|" not in text, "a progress bar that stands still"


@each_notebook
def test_every_picture_is_described_in_words(notebook):
    for cell in cells(notebook, "code"):
        for output in cell["outputs"]:
            if "image/png" in output.get("data", {}):
                alt = output["metadata"].get("image/png", {}).get("alt", "")
                assert len(alt) > 20, f"no alt text in the cell: {source(cell)[:80]}"
            if "image/png" in output.get("metadata", {}):
                assert "image/png" in output["data"], f"a description without a picture: {source(cell)[:80]}"


@each_notebook
def test_a_notebook_is_built_as_the_style_says(notebook):
    prose, code = [source(cell) for cell in cells(notebook, "markdown")], [source(cell) for cell in cells(notebook, "code")]
    assert prose[0].startswith("# ") and prose[1].startswith("> ")
    if notebook.stem in ("index", "checking"):
        return
    assert code[0] == f"#| default_exp {notebook.stem.split('_', 1)[1]}"
    assert "You will be able to" in prose[1] and re.search(r"Allow .* minutes", prose[1])
    assert "## What you have built" in "\n".join(prose) and "**What still bothers us.**" in "\n".join(prose)
    [asks] = [cell for cell in prose if "## Questions" in cell]
    questions = asks.count("<details>")
    assert 3 <= questions <= 6 and asks.count("</details>") == questions
    lesson = [cell for cell in code if not cell.startswith("#| export exercises.")]
    assert len(prose) >= 0.6 * len(lesson)


@each_notebook
def test_the_exercises_stand_at_the_end_with_their_solutions_folded_in(notebook):
    if not any(source(cell).startswith("#| export exercises.") for cell in cells(notebook, "code")):
        return
    all_cells = json.loads(notebook.read_text())["cells"]
    heads = [source(cell).splitlines()[0] for cell in all_cells]
    questions, turn, behind = (max(i for i, cell in enumerate(all_cells) if f"## {title}" in source(cell))
                               for title in ("Questions", "Your turn", "Behind the exercises"))
    assert questions < turn < behind and "Spoilers" in source(all_cells[behind])
    for cell, head in zip(all_cells[behind + 1:], heads[behind + 1:], strict=True):
        assert head == f"#| export exercises.{notebook.stem.split('_', 1)[1]}"
        assert cell["metadata"] == {"jupyter": {"source_hidden": True}}
    assert not [head for head in heads[:behind] if head.startswith("#| export exercises.")]


@each_notebook
def test_no_cell_of_a_lesson_is_long(notebook):
    for cell in cells(notebook, "code"):
        lines = source(cell).splitlines()
        assert "#| export" in lines[0] or len(lines) <= 20, f"{len(lines)} lines: {lines[0]}"
        assert max(map(len, lines)) <= 104, "a line that is cut off on the page"


def public(module):
    things = [(name, getattr(module, name)) for name in module.__all__]
    return [(name, thing) for name, thing in things if inspect.isclass(thing) or inspect.isroutine(thing)]


@pytest.mark.parametrize("stem", MODULES)
def test_every_public_name_is_explained(stem):
    from fastcore.docments import docments
    module = import_module(f"mnist_basics.{stem}")
    for name, thing in public(module):
        assert inspect.getdoc(thing), f"{stem}.{name} has no docstring"
        functions = [thing] if inspect.isfunction(thing) else [
            method for key, method in vars(thing).items() if inspect.isfunction(method) and not key.startswith("_")]
        functions = [function for function in functions if function.__name__ not in EVENTS]
        for function in functions:
            assert inspect.getdoc(function), f"{stem}.{name}.{function.__name__} has no docstring"
            assert len(inspect.getdoc(function).splitlines()[0]) <= 100
            assert inspect.getdoc(function)[-1] in ".?)", f"the docstring of {stem}.{function.__name__} is cut off"
            for parameter, comment in docments(function).items():
                if parameter not in ("return", "self", "cls"):
                    assert comment, f"{stem}.{name}: the parameter {parameter} of {function.__name__} is not explained"


@pytest.mark.parametrize("stem", MODULES)
def test_functions_are_short(stem):
    for node in ast.walk(ast.parse((ROOT / "mnist_basics" / f"{stem.replace('.', '/')}.py").read_text())):
        if isinstance(node, ast.FunctionDef):
            body = node.end_lineno - node.body[0].lineno
            assert body <= 25, f"{stem}.{node.name} has {body} lines"


@pytest.mark.parametrize("module, unwanted", [
    ("mnist_basics", ("fastai", "matplotlib", "pandas", "torch")),
    ("mnist_basics.data", ("fastai", "matplotlib", "pandas", "sklearn", "torchvision", "IPython")),
    ("mnist_basics.learner", ("fastai", "matplotlib", "pandas", "sklearn", "torchvision", "IPython")),
    ("mnist_basics.ten_digits", ("fastai", "matplotlib", "pandas", "sklearn", "torchvision", "IPython")),
    ("mnist_basics.ladder", ("fastai", "matplotlib", "pandas", "torch")),
    ("mnist_basics.exercises.checking", ("fastai", "matplotlib", "pandas", "sklearn", "torchvision", "IPython")),
])
def test_an_import_brings_only_what_it_needs(module, unwanted):
    code = f"import sys, {module}; print([name for name in {unwanted!r} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert result.stdout.strip() == "[]"


def test_a_notebook_runs_under_a_real_kernel(tmp_path):
    command = [sys.executable, "-m", "nbconvert", "--to", "notebook", "--execute", "--output-dir", tmp_path, ROOT / "nbs" / "01_pixels.ipynb"]
    subprocess.run(command, check=True, capture_output=True)


def test_links_in_the_readme_and_the_index_lead_somewhere():
    for file, text in ((ROOT / "README.md", (ROOT / "README.md").read_text()),
                       (ROOT / "nbs" / "index.ipynb", "".join(source(c) for c in cells(ROOT / "nbs" / "index.ipynb", "markdown")))):
        targets = re.findall(r"\]\(([^)#]+)\)", text)
        assert targets, f"{file.name} links to nothing"
        for target in targets:
            assert target.startswith("https://") or (file.parent / target).exists(), f"{file.name}: {target}"


def test_the_review_asks_37_questions_and_folds_each_answer():
    all_cells = json.loads((ROOT / "nbs" / "14_review.ipynb").read_text())["cells"]
    asked = []
    for i, cell in enumerate(all_cells):
        for number, answer in re.findall(r"<details><summary><b>(\d+)\. .+?</summary>(.+?)</details>", source(cell), re.S):
            asked.append(int(number))
            assert len(answer.strip()) > 100 and all_cells[i + 1]["cell_type"] == "code", f"question {number} has no proof"
    assert asked == list(range(1, 38))
