"""Every exercise, as a reader meets it: untouched, solved, wrong in any way."""

import ast
import inspect
import json
import pkgutil
import re
import textwrap
from importlib import import_module
from pathlib import Path

import pytest
import torch
from cells import SAY_SO, as_a_cell, defined, flat, say

from mnist_basics import exercises
from mnist_basics.workshop.checking import SAYS, Check, Exercise, Prediction, Solution
from mnist_basics.workshop.telling import difference, same, short

ROOT = Path(__file__).parents[1]
MODULES = [module.name for module in pkgutil.iter_modules(exercises.__path__)]
CHECKS = [
    (module, check)
    for module in MODULES
    for check in vars(import_module(f"mnist_basics.exercises.{module}")).values()
    if isinstance(check, Check)
]
MISTAKES = [(check, i) for _, check in CHECKS for i in range(len(check.mistakes))]
FUNCTIONS = [check for _, check in CHECKS if isinstance(check, Exercise)]
for check in FUNCTIONS:
    check.seconds = 600  # a test is not in a hurry, however busy the machine
GUESSES = [check for _, check in CHECKS if isinstance(check, Prediction)]


def named(value):
    return getattr(value, "name", str(value))


SOURCES = {
    module: (ROOT / f"mnist_basics/exercises/{module}.py").read_text(encoding="utf-8")
    for module in MODULES
}

each_check = pytest.mark.parametrize("module, check", CHECKS, ids=named)
each_mistake = pytest.mark.parametrize("check, i", MISTAKES, ids=named)
each_exercise = pytest.mark.parametrize("check", FUNCTIONS, ids=named)
each_prediction = pytest.mark.parametrize("check", GUESSES, ids=named)
pytestmark = pytest.mark.filterwarnings("error")


def cells(notebook, kind):
    found = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in found if cell["cell_type"] == kind]


def lesson(module):
    [notebook] = (ROOT / "nbs").glob(f"[0-9][0-9]_{module}.ipynb")
    return notebook


def reader(module):
    """The names that a reader has after the cells that the exercises need.

    These are the imports, what the lesson exports, and the stubs."""
    namespace = {"__name__": "__main__"}
    for code in cells(lesson(module), "code"):
        if "mnist_basics.exercises." in code:
            as_a_cell(code, namespace)
            continue
        statements = ast.parse(code).body
        imports = [s for s in statements if isinstance(s, (ast.Import, ast.ImportFrom))]
        as_a_cell("\n".join(map(ast.unparse, imports)), namespace)
        if code.startswith("#| export"):
            library = import_module(f"mnist_basics.{module}")
            for name in re.findall(r"^(?:def|class) (\w+)", code, re.M):
                namespace[name] = getattr(library, name)
    return namespace


def spoiled(value):
    """A wrong result of the right kind."""
    if isinstance(value, torch.Tensor):
        if value.dtype == torch.bool:
            return ~value
        return (value * 3 + 1) if value.dtype == torch.uint8 else value * -1.37 - 0.113
    if isinstance(value, torch.nn.Module):
        return torch.nn.Sequential(value, torch.nn.Tanh())
    if isinstance(value, dict):
        return {key: spoiled(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [spoiled(item) for item in value]
    return not value if isinstance(value, bool) else value * -1.37 - 0.113


def test_every_lesson_that_has_exercises_has_two_to_five_and_a_prediction():
    assert MODULES
    for module in MODULES:
        kinds = [type(check) for home, check in CHECKS if home == module]
        assert 2 <= len(kinds) <= 5 and Prediction in kinds, module


@pytest.mark.parametrize("module", MODULES)
def test_the_exercises_stand_in_a_notebook_named_as_their_lesson(module):
    notebook = lesson(module)
    prose = cells(notebook.parent / "exercises" / notebook.name, "markdown")
    assert f"](../{notebook.name})" in prose[1] and "Spoilers" in prose[1]
    heads = re.findall(r"^## (\d)\. (.+)$", "\n".join(prose), re.M)
    tasks = re.findall(r"^\*\*(\d)\. (.+?)\.?\*\*", "\n".join(task_prose(module)), re.M)
    asked = [(number, title.rstrip("?")) for number, title in tasks]
    assert [(number, title.rstrip("?")) for number, title in heads] == asked
    assert not [code for code in cells(notebook, "code") if "solve_" in code]


def task_prose(module):
    prose = cells(lesson(module), "markdown")
    [start] = [i for i, text in enumerate(prose) if text.startswith("## Your turn")]
    return prose[start:]


@each_check
def test_the_solution_passes(module, check):
    if isinstance(check, Prediction):
        assert check.verdict(check.solve()) == SAYS["right guess"]
    else:
        count = len(check.cases()) + bool(check.draw)
        right = say(check, "right", count=count)
        assert check.verdict(check.solve) == right


@each_check
def test_the_stub_in_the_lesson_is_not_attempted(module, check, capsys):
    names = reader(module)
    capsys.readouterr()
    assert names[f"check_{check.name}"] is check
    check(names[check.name])
    key = "no guess" if isinstance(check, Prediction) else "not attempted"
    assert capsys.readouterr().out == say(check, key) + "\n"
    assert "\n" not in say(check, key)


@each_check
def test_the_lesson_calls_the_check_and_offers_hints(module, check):
    code = [c for c in cells(lesson(module), "code") if not c.startswith("#| export")]
    name = check.name
    [call] = [c for c in code if f"check_{name}({name})" in c.splitlines()]
    assert call.endswith(f"# check_{name}.hint()")
    brings = f"from mnist_basics.exercises.{module} import check_{name}"
    [stub] = [c for c in code if brings in c.splitlines()]
    if isinstance(check, Prediction):
        assert f"\n{name} = ...\n" in stub
        return
    solution = inspect.getsource(check.solve).replace(f"solve_{name}", name)
    says = inspect.getdoc(check.solve)
    head = solution[: solution.index(says) + len(says) + 1]
    assert head in stub, "the stub has the solution's parameters, comments, docstring"


@each_mistake
def test_a_usual_mistake_is_recognised(check, i):
    mistake = check.mistakes[i]
    function = isinstance(check, Exercise)
    verdict = check.verdict(mistake.wrong if function else mistake.wrong())
    assert flat(mistake.says) in flat(verdict) and say(check, "hint?") in verdict
    assert ", edited>" not in verdict, "an edit that Python cannot read"
    if function:
        assert "expected: " in verdict or say(check, "error") in verdict
        assert "Case " in verdict


@each_check
def test_an_exercise_is_short_and_knows_ten_mistakes_at_most(module, check):
    assert len(check.mistakes) <= 10
    body = ast.parse(SOURCES[module]).body
    heads = [
        node for node in body if getattr(node, "name", "") == f"solve_{check.name}"
    ]
    ends = [
        node
        for node in body
        if isinstance(node, ast.Assign)
        and ast.unparse(node.targets[0]) == f"check_{check.name}"
    ]
    assert ends[0].end_lineno - heads[0].lineno < 110


def test_all_exercises_together_are_short():
    assert sum(len(source.splitlines()) for source in SOURCES.values()) <= 2600


@pytest.mark.parametrize("check", [c for c in FUNCTIONS if c.draw], ids=named)
def test_a_case_drawn_anew_is_a_fair_one_and_no_table_of_answers_passes(
    check, monkeypatch
):
    assert repr(check.draw(1)) == repr(check.draw(1))
    for seed in range(20):
        case = check.draw(seed)
        outcomes = [check._outcome(f, case) for f in (check.solve, check.oracle)]
        assert same(*outcomes) and not isinstance(outcomes[0], BaseException)
    told, count = [], len(check.cases()) + 1

    def watched(*case):
        told.append(check.solve(*case))
        return told[-1]

    for case in check.cases():
        check._outcome(watched, case)
    replay = iter(told)

    def table(*case):
        check.solve(*case)  # in case that somebody watches what it does
        return next(replay, told[0])

    # one seed: of all there are, some give a share that is in the table by chance
    monkeypatch.setattr("secrets.randbelow", lambda most: 1234)
    verdict = check.verdict(table)
    assert f"Case {count} of {count}:" in verdict


REMARKS = [
    (module, c, key) for module, c in CHECKS for key in getattr(c, "remarks", ())
]


@pytest.mark.parametrize("module, check, key", REMARKS, ids=named)
def test_a_right_attempt_gets_the_remark_that_it_deserves(module, check, key):
    tree = ast.parse(textwrap.dedent(inspect.getsource(check.solve)))
    added = "for _ in (): pass" if key == "loop" else f"if 0: {key}"
    tree.body[0].body.insert(0, ast.parse(added).body[0])
    namespace = {**vars(import_module(f"mnist_basics.exercises.{module}"))}
    as_a_cell(ast.unparse(tree), namespace)
    verdict = check.verdict(namespace[check.solve.__name__])
    assert "Well done!" in verdict and flat(check.remarks[key]) in flat(verdict)


@each_prediction
def test_a_guess_that_nobody_foresaw_is_wrong_too(check):
    verdict = check.verdict(spoiled(check.solve()))
    assert verdict.startswith(say(check, "wrong guess"))


@each_exercise
def test_a_mistake_that_nobody_foresaw_fails_too(check):
    wrong = say(check, "wrong")
    assert check.verdict(lambda *case: spoiled(check.solve(*case))).startswith(wrong)
    nothing = check.verdict(lambda *case: [check.solve(*case)].clear())
    assert difference(None, ...) in nothing
    verdict = check.verdict(lambda *case: "a word")
    assert verdict.startswith(wrong)
    assert "expected: " in verdict and "came:     " in verdict
    assert not [m.says for m in check.mistakes if flat(m.says) in flat(verdict)]


@each_check
def test_hints_come_one_at_a_time_and_end(module, check, capsys, monkeypatch):
    monkeypatch.setattr(check, "hints_given", 0)
    for _ in range(len(check.hints) + 2):
        check.hint()
    said, once = capsys.readouterr().out, [1] * len(check.hints)
    assert [flat(said).count(flat(hint)) for hint in check.hints] == once
    assert said.endswith(f"{say(check, 'no more hints')}\n" * 2)
    assert len(check.hints) == 2


@each_check
def test_nothing_gives_the_answer_away(module, check):
    said = flat(" ".join([*check.hints, *(mistake.says for mistake in check.mistakes)]))
    body = ast.parse(textwrap.dedent(inspect.getsource(check.solve))).body[0].body[1:]
    for node in ast.walk(ast.Module(body, [])):
        if isinstance(node, (ast.Assign, ast.AugAssign, ast.Return)):
            line, value = ast.unparse(node), ast.unparse(node.value)
            assert line not in said and (len(value) < 25 or value not in said)


@each_prediction
def test_nothing_tells_the_right_guess(check):
    verdicts = [check.verdict(mistake.wrong()) for mistake in check.mistakes]
    answer = re.escape(short(check.solve()))
    told = " ".join([*verdicts, *check.hints])
    assert not re.search(rf"(?<![\w.−-]){answer}(?![\w.])", told)


@each_check
def test_the_solution_is_shown_under_the_readers_name(module, check):
    solution = check.solution()
    assert isinstance(solution, Solution) and check.why
    assert f"def {check.name}(" in solution.code and "solve_" not in solution.code
    assert solution._repr_html_().startswith("<details><summary>")
    if isinstance(check, Prediction):
        assert short(check.solve()) in repr(solution)


NO_NUMBERS = [None, "three", [], [None], ..., [..., 3], object()]
NO_ANSWERS = [3, float("nan"), torch.zeros(2), print, torch.add]
USELESS = [
    lambda: 3,
    lambda *case: object(),
    lambda *case: [None],
    lambda *case: {},
    lambda *case: torch.zeros(0),
]


@each_check
def test_whatever_comes_a_check_does_not_raise(module, check):
    for attempt in NO_NUMBERS + NO_ANSWERS + USELESS:
        assert check(attempt) is None


@each_exercise
def test_cases_are_the_same_each_time_and_the_solution_leaves_them_alone(check):
    cases = check.cases()
    assert repr(check.cases()) == repr(cases) and len(cases) >= 3
    right = [check._outcome(check.oracle, case) for case in cases]
    assert not [outcome for outcome in right if isinstance(outcome, BaseException)]
    state = torch.get_rng_state()
    check.verdict(check.solve)
    assert torch.equal(state, torch.get_rng_state())


BROKEN = """
import torch
def helper():
    return torch.zeros(2) @ torch.zeros(3)
def attempt(*case):
    # a remark
    return helper()
"""
ENDLESS = f"""
def attempt(*case):
    {SAY_SO}
    while True:
        try:
            pass
        except Exception:
            pass
"""


@each_exercise
def test_an_error_points_at_the_readers_line(check):
    verdict = check.verdict(defined(BROKEN))
    outer = "  line 7, in attempt:  return helper()\n"
    inner = "  line 4, in helper:  return torch.zeros(2) @ torch.zeros(3)\n"
    assert f"{outer}{inner}RuntimeError:" in verdict
    assert verdict.startswith(say(check, "error"))
    assert ".py" not in verdict and verdict.count("line ") == 2


@each_exercise
def test_an_endless_loop_is_stopped(check, alarm):
    verdict = check.verdict(defined(ENDLESS))
    assert flat(say(check, "too long", seconds=check.seconds)) in flat(verdict)
    assert "in attempt:" in verdict
