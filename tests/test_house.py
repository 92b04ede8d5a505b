"""The rules of the house: what holds for every notebook and every module."""

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
NBS, PACKAGE, README = ROOT / "nbs", ROOT / "mnist_basics", ROOT / "README.md"
NOTEBOOKS = sorted(p for p in NBS.rglob("*.ipynb") if "checkpoint" not in str(p))
LESSONS = [n for n in NOTEBOOKS if n.parent == NBS and n.stem != "index"]
EXERCISES = [n for n in NOTEBOOKS if n.parent.name == "exercises"]
NUMBER = {n.stem[3:]: int(n.stem[:2]) for n in LESSONS}
MODULES = {
    ".".join(file.relative_to(PACKAGE).with_suffix("").parts): file
    for file in sorted(PACKAGE.rglob("[a-z]*.py"))
    if file.parent.name != "digits"
}


def cells(notebook, kind):
    content = json.loads(notebook.read_text(encoding="utf-8"))
    return [cell for cell in content["cells"] if cell["cell_type"] == kind]


def source(cell):
    return "".join(cell["source"])


def prose(notebook):
    return [source(cell) for cell in cells(notebook, "markdown")]


def code(notebook):
    return [source(cell) for cell in cells(notebook, "code")]


def exports_to(notebook):
    """The module that nbdev makes of it: said in its metadata, not in a cell."""
    metadata = json.loads(notebook.read_text(encoding="utf-8"))["metadata"]
    return metadata["nbdev"]["default_exp"]


def exported(text):
    return text.startswith("#| export")


def each(notebooks):
    names = [str(n.relative_to(NBS).with_suffix("")) for n in notebooks]
    return pytest.mark.parametrize("notebook", notebooks, ids=names)


# Who imports whom


def imported(text, package=""):
    """The modules of ours that Python code imports, without the package's name."""
    found = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: -node.level + 1 or None] if node.level else []
            base = ".".join([*above, node.module] if node.module else above)
            found |= {base, *(f"{base}.{alias.name}" for alias in node.names)}
    names = {name.removeprefix("mnist_basics.") for name in found}
    return names & MODULES.keys()


GRAPH = {}
for name, file in MODULES.items():
    package = ".".join(["mnist_basics", *name.split(".")[:-1]])
    GRAPH[name] = imported(file.read_text(encoding="utf-8"), package)


def reaches(name, seen=frozenset()):
    """The module, and all that it imports, directly or not."""
    return {name}.union(*(reaches(n, seen | {name}) for n in GRAPH[name] - seen))


@each(LESSONS + EXERCISES)
def test_the_import_graph_is_the_table_of_contents(notebook):
    number, own = int(notebook.stem[:2]), notebook.stem[3:]
    for text in code(notebook):
        allowed = {name for name, n in NUMBER.items() if n < number}
        if not exported(text) or notebook.parent.name == "exercises":
            allowed |= {own}
        for direct in imported(text):
            for name in reaches(direct):
                if name.startswith("exercises."):
                    assert name == f"exercises.{own}", f"{notebook.stem}: {name}"
                    assert not exported(text), "the library imports no exercise"
                elif "." not in name:
                    assert name in allowed, f"{notebook.stem}: {name} through {direct}"


NOT_WITH_THE_COMMAND = "fastai matplotlib pandas torch numpy"
NOT_WITH_THE_REST = "fastai matplotlib pandas torchvision IPython"
BRINGS = {  # in this order, so that what comes with one is not there before
    "mnist_basics": NOT_WITH_THE_COMMAND,
    "mnist_basics.workshop.command": NOT_WITH_THE_COMMAND,
    "mnist_basics.data": NOT_WITH_THE_REST,
    "mnist_basics.learner": NOT_WITH_THE_REST,
    "mnist_basics.ten_digits": NOT_WITH_THE_REST,
    "mnist_basics.workshop.checking": NOT_WITH_THE_REST,
}


def test_an_import_brings_only_what_it_needs():
    program = f"""
import importlib, sys
for module, unwanted in {BRINGS}.items():
    importlib.import_module(module)
    print(module, *(name for name in unwanted.split() if name in sys.modules))
"""
    command = [sys.executable, "-c", program]
    result = subprocess.run(command, check=True, capture_output=True, encoding="utf-8")
    assert result.stdout.splitlines() == list(BRINGS)


# Notebooks as readers should find them


@each(NOTEBOOKS)
def test_a_notebook_is_saved_clean_and_with_outputs(notebook):
    content = json.loads(notebook.read_text(encoding="utf-8"))
    assert "widgets" not in content["metadata"], "GitHub refuses to show it"
    assert notebook.stat().st_size < 1_000_000
    assert all(cell["execution_count"] is None for cell in cells(notebook, "code"))
    outputs = [o for cell in cells(notebook, "code") for o in cell["outputs"]]
    assert outputs or not cells(notebook, "code"), "run make outputs"
    assert not [o for o in outputs if o["output_type"] == "error"]
    assert not [o for o in outputs if o.get("name") == "stderr"]
    text = json.dumps(outputs)
    for widget in ("interactive(", "jupyter.widget-view"):
        assert widget not in text, "an error without a kernel: run tests/tidy.py"
    for place in (f"{Path.home()}/", f"{ROOT.parent}/", "/tmp/"):
        assert place not in text, f"a path of this machine: {place}"
    assert "%|" not in text, "a progress bar that stands still"


@pytest.fixture(scope="module")
def pages():
    """Makes a page of a notebook; without the code, whose colours take time."""
    from nbconvert import HTMLExporter

    return HTMLExporter(template_name="basic", exclude_input=True)


@each(NOTEBOOKS)
def test_every_picture_has_a_line_below_it_that_everybody_sees(notebook, pages):
    page, _ = pages.from_filename(str(notebook))
    pictures = re.split(r'<img[^>]*src="data:image/png', page)[1:]
    for picture in pictures:
        shown = re.sub(r"<[^>]+>", " ", picture.split(">", 1)[1])[:2000]
        caption = re.search(r"^\s*What you see: ([^\n]{15,})", shown)
        assert caption, f"no line below a picture, but: {shown.strip()[:100]}"
        assert not re.search(r"[*_`$]", caption[1]), (
            f"not as it should look: {caption[1]}"
        )


@each(NOTEBOOKS)
def test_every_cell_that_draws_has_its_picture(notebook):
    for cell in cells(notebook, "code"):
        if "show_figure(" in source(cell) and "def " not in source(cell):
            data = [output.get("data", {}) for output in cell["outputs"]]
            assert any("image/png" in d for d in data), source(cell)[:100]


def what_runs(statements):
    """The statements of a cell that run at once, or once an expected error came."""
    for node in statements:
        if isinstance(node, (ast.For, ast.While, ast.With)):
            yield from what_runs(node.body)
        elif isinstance(node, ast.Try):
            for handler in node.handlers:
                yield from what_runs(handler.body)
        else:
            yield node


def displays(text):
    """Does a cell show something? Its last value, or what it prints, draws or asks."""
    statements = ast.parse(text).body
    last = statements[-1] if statements else None
    plain = (ast.Name, ast.Attribute, ast.Subscript, ast.Tuple, ast.BinOp)
    if isinstance(last, ast.Expr) and isinstance(last.value, plain):
        return True
    values = [getattr(node, "value", None) for node in what_runs(statements)]
    calls = [ast.unparse(value.func) for value in values if isinstance(value, ast.Call)]
    asks = r"print|display|show_figure|check_(?!published|rungs)\w+"
    return any(re.fullmatch(asks, name) for name in calls)


@each(NOTEBOOKS)
def test_every_cell_that_displays_something_has_its_output(notebook):
    for cell in cells(notebook, "code"):
        if displays(source(cell)):
            assert cell["outputs"], f"run make outputs: {source(cell)[-100:]}"


@each(LESSONS)
def test_a_lesson_is_built_as_the_style_says(notebook):
    text, cells_of_code = prose(notebook), code(notebook)
    assert text[0].startswith("# ") and text[1].startswith("> ")
    assert exports_to(notebook) == notebook.stem[3:]
    assert "You will be able to" in text[1]
    assert re.search(r"Allow .* minutes", text[1])
    whole = "\n".join(text)
    assert "## What you have built" in whole and "**What still bothers us.**" in whole
    [asks] = [cell for cell in text if "## Questions" in cell]
    questions = asks.count("<details>")
    assert 3 <= questions <= 6 and asks.count("</details>") == questions
    assert len(text) >= 0.6 * len(cells_of_code)


@each([n for n in NOTEBOOKS if n.parent != NBS])
def test_workshop_and_exercises_say_what_they_are_and_what_they_export(notebook):
    text = prose(notebook)
    assert text[0].startswith("# ") and text[1].startswith("> ")
    stem = notebook.stem.lstrip("0123456789_")
    assert exports_to(notebook) == f"{notebook.parent.name}.{stem}"


@each(LESSONS)
def test_a_lesson_is_nine_tenths_lesson(notebook):
    """No more than a tenth of its lines of code are exported private helpers."""
    whole, helpers = 0, 0
    for text in code(notebook):
        whole += len(text.splitlines())
        if not exported(text):
            continue
        for node in ast.parse(text).body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("_"):
                helpers += node.end_lineno - node.lineno + 1
    assert helpers <= whole / 10, f"{helpers} of {whole} lines"


@each(LESSONS)
def test_a_lesson_checks_nothing_by_hand_and_gives_nothing_away(notebook):
    for text in code(notebook):
        assert not re.search(r"^(def|class) _?(check|solve)_", text, re.M) or (
            "def check_rungs" in text
        )
    turns = [cell for cell in prose(notebook) if "## Your turn" in cell]
    if (NBS / "exercises" / notebook.name).exists():
        assert f"(exercises/{notebook.name})" in turns[0]


@each(NOTEBOOKS)
def test_no_cell_is_long(notebook):
    for text in code(notebook):
        lines = text.splitlines()
        if notebook.parent == NBS and not exported(text):
            assert len(lines) <= 20, f"{len(lines)} lines: {lines[0]}"
        assert max(map(len, lines), default=0) <= 88, "cut off on the page"


@each(NOTEBOOKS)
def test_links_lead_somewhere(notebook):
    for text in prose(notebook):
        for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", text):
            if not target.startswith(("https://", "http://")):
                assert (notebook.parent / target).exists(), target


FILES = [ROOT / "setup.py", *(ROOT / "benchmarks").glob("*.py")]
FILES += [
    *MODULES.values(),
    *(ROOT / "tests").glob("*.py"),
    *PACKAGE.glob("digits/*.py"),
]


@pytest.mark.parametrize("file", FILES + NOTEBOOKS, ids=lambda file: file.stem)
def test_files_are_read_and_written_as_utf_8(file):
    """Said at the call; another locale would read and write something else."""
    is_notebook = file.suffix == ".ipynb"
    texts = code(file) if is_notebook else [file.read_text(encoding="utf-8")]
    for node in (node for text in texts for node in ast.walk(ast.parse(text))):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func).split(".")
            mode = "".join(map(ast.unparse, node.args[1:]))
            as_text = called == ["open"] and "b" not in mode
            if as_text or called[-1] in ("read_text", "write_text"):
                assert "utf-8" in ast.unparse(node).lower(), ast.unparse(node)


@pytest.mark.parametrize("name", ["README", "CONTRIBUTING", "CHANGELOG"])
def test_links_in_the_readme_and_its_neighbours_lead_somewhere(name):
    text = (ROOT / f"{name}.md").read_text(encoding="utf-8")
    targets = re.findall(r"\]\(([^)#]+)\)", text)
    assert targets or name == "CHANGELOG"
    for target in targets:
        assert target.startswith("https://") or (ROOT / target).exists(), target


def test_the_five_lines_of_the_readme_give_what_they_say():
    [code] = re.findall(
        r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.S
    )
    *lines, last = ast.parse(code).body
    namespace = {}
    exec(compile(ast.Module(lines, []), README, "exec"), namespace)
    [said] = re.findall(r"# (0\.\d+) of the 3s are recognised", code)
    assert len(lines) == 4
    assert f"{eval(ast.unparse(last.value), namespace):.4f}" == said


def test_the_readme_and_the_index_list_every_lesson():
    index = "\n".join(prose(NBS / "index.ipynb"))
    readme = README.read_text(encoding="utf-8")
    for lesson in LESSONS:
        assert f"({lesson.name})" in index and f"(nbs/{lesson.name})" in readme


def test_a_notebook_runs_under_a_real_kernel(tmp_path):
    """And gives the pictures and words that are saved, each picture described."""
    command = [sys.executable, "-m", "nbconvert", "--to", "notebook", "--execute"]
    command += ["--ExecutePreprocessor.startup_timeout=600", "--output-dir", tmp_path]
    notebook = NBS / "01_pixels.ipynb"
    subprocess.run([*command, notebook], check=True, capture_output=True)
    assert displayed(tmp_path / notebook.name) == displayed(notebook) != []


def displayed(notebook):
    """In each cell, the descriptions of pictures, and the Markdown, in their order."""
    outputs = [o for cell in cells(notebook, "code") for o in cell["outputs"]]
    kinds = {"image/png": "metadata", "text/markdown": "data"}
    return [
        (kind, o[where].get(kind))
        for o in outputs
        for kind, where in kinds.items()
        if kind in o.get("data", ())
    ]


# Modules as programmers should find them


def public(module):
    things = [(name, getattr(module, name)) for name in module.__all__]
    return [(n, t) for n, t in things if inspect.isclass(t) or inspect.isroutine(t)]


def own_methods(thing):
    if inspect.isfunction(thing):
        return [thing]
    methods = [m for n, m in vars(thing).items() if not n.startswith("_")]
    return [m for m in methods if inspect.isfunction(m) and m.__name__ not in EVENTS]


@pytest.mark.parametrize("stem", MODULES)
def test_every_public_name_is_explained(stem):
    module = import_module(f"mnist_basics.{stem}")
    for name, thing in public(module):
        for explained in {thing, *own_methods(thing)}:
            text = inspect.getdoc(explained)
            assert text, f"{stem}.{name}: {explained.__name__} has no docstring"
            assert len(text.splitlines()[0]) <= 88, f"{stem}.{name}"
            assert text[-1] in ".?)", f"the docstring of {stem}.{name} is cut off"


@pytest.mark.parametrize("stem", MODULES)
def test_functions_are_short(stem):
    for node in ast.walk(ast.parse(MODULES[stem].read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef):
            body = node.end_lineno - node.body[0].lineno
            assert body <= 25, f"{stem}.{node.name} has {body} lines"


def test_every_module_has_a_test_file_of_its_name():
    for name in MODULES:
        if not name.startswith("exercises."):  # those have one together
            assert (ROOT / "tests" / f"test_{name.split('.')[-1]}.py").exists(), name
