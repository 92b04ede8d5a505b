"""Every exercise, in the ways in which a reader meets it: solved, untouched, wrong in the usual ways, wrong in others."""
import ast
import inspect
import json
import linecache
import pkgutil
import re
import textwrap
from importlib import import_module
from pathlib import Path

import pytest
import torch

import mnist_basics.exercises
from mnist_basics.exercises.checking import SAYS, Check, Exercise, Prediction, Solution, same, short

ROOT = Path(__file__).parents[1]
MODULES = [module.name for module in pkgutil.iter_modules(mnist_basics.exercises.__path__) if module.name != "checking"]
CHECKS = [(f"{module}-{check.name}", module, check) for module in MODULES
          for check in vars(import_module(f"mnist_basics.exercises.{module}")).values() if isinstance(check, Check)]
MISTAKES = [(f"{name}-{i}", check, i) for name, _, check in CHECKS for i in range(len(check.mistakes))]
each_check = pytest.mark.parametrize("module, check", [c[1:] for c in CHECKS], ids=[c[0] for c in CHECKS])
each_mistake = pytest.mark.parametrize("check, i", [m[1:] for m in MISTAKES], ids=[m[0] for m in MISTAKES])
each_exercise = pytest.mark.parametrize("check", [c[2] for c in CHECKS if isinstance(c[2], Exercise)],
                                        ids=[c[0] for c in CHECKS if isinstance(c[2], Exercise)])
pytestmark = pytest.mark.filterwarnings("error")


def code_cells(module):
    [notebook] = (ROOT / "nbs").glob(f"[0-9][0-9]_{module}.ipynb")
    return ["".join(cell["source"]) for cell in json.loads(notebook.read_text())["cells"] if cell["cell_type"] == "code"]


def as_a_cell(code, namespace):
    """Run code as a notebook does: in `__main__`, its source known by line."""
    name = f"<cell {len(linecache.cache)}>"
    linecache.cache[name] = (len(code), None, code.splitlines(True), name)
    exec(compile(code, name, "exec"), namespace)


def reader(module):
    """The reader's names after running the cells of a notebook that its exercises need: imports, and the stubs."""
    namespace = {"__name__": "__main__"}
    for code in code_cells(module):
        if code.startswith(("#| export", "#| default_exp")) and "exercises" in code:
            continue
        if "mnist_basics.exercises." in code:
            as_a_cell(code, namespace)
        else:
            imports = [n for n in ast.parse(code).body if isinstance(n, (ast.Import, ast.ImportFrom))]
            as_a_cell("\n".join(map(ast.unparse, imports)), namespace)
            for name in re.findall(r"^(?:def|class) (\w+)", code if code.startswith("#| export") else "", re.M):
                namespace[name] = getattr(import_module(f"mnist_basics.{module}"), name)
    return namespace


def say(check, key, **details):
    return SAYS[key].format(name=check.name, **details)


def flat(text):
    return " ".join(text.split())


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


def test_every_lesson_that_has_exercises_has_two_or_three_and_a_prediction():
    assert MODULES
    for module in MODULES:
        kinds = [type(check) for _, home, check in CHECKS if home == module]
        assert 2 <= len(kinds) <= 3 and Prediction in kinds, module


@each_check
def test_the_solution_passes(module, check):
    verdict = check.verdict(check.solve() if isinstance(check, Prediction) else check.solve)
    assert verdict in (SAYS["right guess"], say(check, "right", count=len(check.cases())) if isinstance(check, Exercise) else "")


@each_check
def test_the_stub_in_the_notebook_is_not_attempted(module, check, capsys):
    names = reader(module)
    capsys.readouterr()
    assert names[f"check_{check.name}"] is check
    check(names[check.name])
    said = capsys.readouterr().out
    assert said in (say(check, "not attempted") + "\n", say(check, "no guess") + "\n") and said.count("\n") == 1


@each_check
def test_the_notebook_calls_the_check_and_offers_hints(module, check):
    cells = [code for code in code_cells(module) if not code.startswith("#| export")]
    [call] = [code for code in cells if f"\ncheck_{check.name}({check.name})\n" in f"\n{code}\n"]
    assert call.endswith(f"# check_{check.name}.hint()")
    [stub] = [code for code in cells if re.search(rf"^from mnist_basics.exercises.{module} import check_{check.name}$", code, re.M)]
    if isinstance(check, Exercise):
        solution = inspect.getsource(check.solve).replace(f"solve_{check.name}", check.name)
        head = solution[:solution.index(inspect.getdoc(check.solve)) + len(inspect.getdoc(check.solve)) + 1]
        assert head in stub, "the stub has the parameters, comments and docstring of the solution"
    else:
        assert f"\n{check.name} = ...\n" in stub


@each_mistake
def test_a_usual_mistake_is_recognised(check, i):
    mistake = check.mistakes[i]
    verdict = check.verdict(mistake.wrong() if isinstance(check, Prediction) else mistake.wrong)
    assert flat(mistake.says) in flat(verdict) and say(check, "hint?") in verdict
    if isinstance(check, Exercise):
        assert "Case " in verdict and ("expected: " in verdict or say(check, "error") in verdict)


@each_check
def test_a_mistake_that_nobody_foresaw_fails_too(module, check):
    if isinstance(check, Prediction):
        verdict = check.verdict(spoiled(check.solve()))
        assert verdict.startswith(say(check, "wrong guess"))
    else:
        assert check.verdict(lambda *case: spoiled(check.solve(*case))).startswith(say(check, "wrong"))
        verdict = check.verdict(lambda *case: "a word")
        assert verdict.startswith(say(check, "wrong")) and "expected: " in verdict and "came:     " in verdict
        assert SAYS["nothing came"] in check.verdict(lambda *case: [check.solve(*case)].clear())
        assert not [m.says for m in check.mistakes if flat(m.says) in flat(verdict)]


@each_check
def test_hints_come_one_at_a_time_and_end(module, check, capsys, monkeypatch):
    monkeypatch.setattr(check, "hints_given", 0)
    for _ in range(len(check.hints) + 2):
        check.hint()
    said = capsys.readouterr().out
    assert [flat(said).count(flat(hint)) for hint in check.hints] == [1] * len(check.hints)
    assert said.endswith(f"{say(check, 'no more hints')}\n" * 2) and len(check.hints) >= 2


@each_check
def test_nothing_gives_the_answer_away(module, check):
    said = flat(" ".join([*check.hints, *(mistake.says for mistake in check.mistakes)]))
    body = ast.parse(textwrap.dedent(inspect.getsource(check.solve))).body[0].body[1:]
    for node in ast.walk(ast.Module(body, [])):
        if isinstance(node, (ast.Assign, ast.AugAssign, ast.Return)):
            assert ast.unparse(node) not in said and (len(ast.unparse(node.value)) < 25 or ast.unparse(node.value) not in said)
    if isinstance(check, Prediction):
        told = " ".join(check.verdict(mistake.wrong()) for mistake in check.mistakes) + " ".join(check.hints)
        assert not re.search(rf"(?<![\w.−-]){re.escape(short(check.solve()))}(?![\w.])", told)


@each_check
def test_the_solution_is_shown_under_the_readers_name(module, check):
    solution = check.solution()
    assert isinstance(solution, Solution) and f"def {check.name}(" in solution.code and check.why
    assert "solve_" not in solution.code and solution._repr_html_().startswith("<details><summary>")
    if isinstance(check, Prediction):
        assert short(check.solve()) in repr(solution)


@each_check
def test_whatever_comes_a_check_does_not_raise(module, check):
    for attempt in (None, 3, "three", [], [None], ..., [..., 3], torch.zeros(2), float("nan"), object(), print, torch.add,
                    lambda: 3, lambda *case: object(), lambda *case: [None], lambda *case: {}, lambda *case: torch.zeros(0)):
        assert check(attempt) is None


@each_exercise
def test_cases_are_the_same_each_time_and_the_solution_leaves_them_alone(check):
    assert repr(check.cases()) == repr(check.cases()) and len(check.cases()) >= 3
    assert not [right for right in (check._outcome(check.oracle, case) for case in check.cases()) if isinstance(right, BaseException)]
    state = torch.get_rng_state()
    check.verdict(check.solve)
    assert torch.equal(state, torch.get_rng_state())


@each_exercise
def test_an_error_points_at_the_readers_line(check):
    names = {"__name__": "__main__"}
    as_a_cell("import torch\ndef helper():\n    return torch.zeros(2) @ torch.zeros(3)\n"
              "def attempt(*case):\n    # a remark\n    return helper()", names)
    verdict = check.verdict(names["attempt"])
    assert "line 6, in attempt:  return helper()\n  line 3, in helper:  return torch.zeros(2) @ torch.zeros(3)\nRuntimeError:" in verdict
    assert verdict.startswith(say(check, "error")) and ".py" not in verdict and verdict.count("line ") == 2


@each_exercise
def test_an_endless_loop_is_stopped(check, monkeypatch):
    monkeypatch.setattr(check, "seconds", 0.05)
    names = {"__name__": "__main__"}
    as_a_cell("def attempt(*case):\n    while True:\n        try:\n            pass\n        except Exception:\n            pass", names)
    verdict = check.verdict(names["attempt"])
    assert flat(say(check, "too long", seconds=0.05)) in flat(verdict) and "in attempt:" in verdict


def test_an_endless_loop_is_stopped_in_a_thread_too():
    from threading import Thread
    check = next(c[2] for c in CHECKS if isinstance(c[2], Exercise))
    said, patience = [], check.seconds
    try:
        check.seconds = 0.05
        names = {"__name__": "__main__"}
        as_a_cell("def attempt(*case):\n    while True: pass", names)
        thread = Thread(target=lambda: said.append(check.verdict(names["attempt"])))
        thread.start()
        thread.join(10)
    finally:
        check.seconds = patience
    assert "never ends" in flat(said[0])


def test_what_is_interrupted_leaves_nothing_switched_off():
    def solve_total(table):
        return table.sum()

    check = Exercise(solve_total, lambda: [(torch.zeros(2, 2),)], [], [], "", seconds=0.02)
    names = {"__name__": "__main__"}
    as_a_cell("import torch\ndef attempt(table):\n    while True:\n        with torch.no_grad():\n            table.sum()", names)
    for _ in range(10):
        assert "never ends" in flat(check.verdict(names["attempt"]))
        assert torch.is_grad_enabled()


def test_a_changed_input_is_noticed():
    def solve_total(table):
        return table.sum()

    def attempt(table):
        return table.add_(1).sum() - table.numel()

    check = Exercise(solve_total, lambda: [(torch.zeros(2, 2),)], [], [], "")
    assert flat(say(check, "changed", argument="table")) in flat(check.verdict(attempt))


def test_a_function_that_was_called_is_told_apart_from_one_that_was_passed():
    check = next(c[2] for c in CHECKS if isinstance(c[2], Exercise))
    assert check.verdict(torch.zeros(3)) == say(check, "no function")


@pytest.mark.parametrize("body, is_one", [
    ("...", True), ("pass", True), ("'only a docstring'\n    ...", True), ("raise NotImplementedError", True),
    ("return ...", True), ("raise NotImplementedError('later')", True), ("# a remark\n    return None", True),
    ("return x", False), ("x + 1", False), ("raise ValueError", False), ("print(x)", False)])
def test_what_is_a_stub(body, is_one):
    from mnist_basics.exercises.checking import is_stub
    names = {"__name__": "__main__"}
    as_a_cell(f"def f(x):\n    {body}\n", names)
    assert is_stub(names["f"]) is is_one


@pytest.mark.parametrize("a, b, equal", [
    (torch.ones(2), torch.ones(2), True), (torch.ones(2, 1), torch.ones(2), False),
    (torch.ones(2, dtype=torch.int64), torch.ones(2), False), (torch.tensor(0.5), 0.5, False), (1, 1.0, False),
    ([1, 2.0], [1, 2.0], True), (torch.tensor([1.0, 1 + 1e-7]), torch.ones(2), True), (None, torch.ones(1), False),
    (torch.tensor(float("nan")), torch.tensor(float("nan")), True), ({"a": 1}, {"a": 2}, False), ("a", torch.ones(1), False)])
def test_what_is_the_same(a, b, equal):
    assert same(a, b) is equal


def test_an_error_inside_a_library_shows_none_of_its_lines():
    def solve_total(table):
        return table.sum()

    names = {"__name__": "__main__"}
    as_a_cell("import torch.nn.functional as F\ndef attempt(table):\n    return F.cross_entropy(table, 'three')", names)
    verdict = Exercise(solve_total, lambda: [(torch.zeros(2, 2),)], [], [], "").verdict(names["attempt"])
    assert "line 3, in attempt:" in verdict and verdict.count("  line ") == 1


def test_an_attempt_that_draws_random_numbers_leaves_the_readers_alone():
    def solve_total(table):
        return table.sum()

    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    Exercise(solve_total, lambda: [(torch.zeros(2, 2),)], [], [], "").verdict(lambda table: torch.rand(3).sum())
    assert torch.rand(3).equal(expected)
