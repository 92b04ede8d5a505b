"""What an exercise's check is made of, without any exercise of the lessons."""

import re

import pytest
import torch
from cells import SAY_SO, defined, flat, say

from mnist_basics.workshop.checking import (
    Exercise,
    Mistake,
    Prediction,
    Solution,
    is_stub,
)

pytestmark = pytest.mark.filterwarnings("error")


def solve_total(table):
    "The sum of all."
    return table.sum()


def total_check(**settings):
    """A check of one function, `total`."""
    cases = [(torch.zeros(2, 2),), (torch.ones(3, 1),)]
    settings = {"mistakes": {}, **settings}
    return Exercise(
        solve_total, lambda: cases, nudge="?", hint="!", why="It is.", **settings
    )


def test_what_is_interrupted_leaves_nothing_switched_off(alarm):
    check = total_check()
    attempt = defined(
        "import torch\n"
        "def attempt(table):\n"
        f"    {SAY_SO}\n"
        "    while True:\n"
        "        with torch.no_grad():\n"
        "            table.sum()"
    )
    for _ in range(10):
        assert "never ends" in flat(check.verdict(attempt))
        assert torch.is_grad_enabled()


def test_a_changed_input_is_noticed():
    check = total_check()

    def attempt(table):
        return table.add_(1).sum() - table.numel()

    said = flat(check.verdict(attempt))
    assert flat(say(check, "changed", argument="table")) in said


def test_a_function_that_was_called_is_told_apart_from_one_that_was_passed():
    check = total_check()
    assert check.verdict(torch.zeros(3)) == say(check, "no function")
    assert check.verdict(...) == say(check, "not attempted")


@pytest.mark.parametrize(
    "body, is_one",
    [
        ("...", True),
        ("pass", True),
        ("'only a docstring'\n    ...", True),
        ("raise NotImplementedError", True),
        ("raise NotImplementedError('later')", True),
        ("return", True),
        ("return ...", True),
        ("# a remark\n    return None", True),
        ("return x", False),
        ("return 0", False),
        ("x + 1", False),
        ("raise ValueError", False),
        ("print(x)", False),
    ],
)
def test_what_is_a_stub(body, is_one):
    assert is_stub(defined(f"def f(x):\n    {body}\n", "f")) is is_one


ONES = torch.ones(2)


@pytest.mark.parametrize(
    "value",
    [
        ONES.to("meta"),
        torch.zeros(30, 30, device="meta"),
        torch.zeros(8, 8, device="meta"),
        torch.eye(8).to_sparse(),
        torch.zeros(20) + 1j,
        torch.zeros(8, 8) + 1j,
        torch.zeros(3, 0),
        torch.zeros(8, 8, dtype=torch.bool),
        torch.full((8, 8), float("nan")),
        torch.full((8, 8), float("inf")),
        10**5000,
        float("nan"),
        1j,
        [0] * 10**6,
        torch.nn.Linear(2, 2),
    ],
    ids=lambda value: type(value).__name__,
)
def test_whatever_comes_is_told_in_words(value):
    verdict = total_check().verdict(lambda table: value)
    assert verdict.startswith("total is not right yet.") and "expected:" in verdict


def test_an_error_is_told_with_the_readers_lines_and_a_copy_of_the_case():
    attempt = defined("def attempt(table):\n    return table + 'three'")
    lines = total_check().verdict(attempt).splitlines()
    assert lines[1] == "  line 2, in attempt:  return table + 'three'"
    assert lines[2].startswith("TypeError: ") and lines[3].startswith("Case 1 of 2: ")


def test_an_attempt_that_draws_random_numbers_leaves_the_readers_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    total_check().verdict(lambda table: torch.rand(3).sum())
    assert torch.rand(3).equal(expected)


def test_the_first_mistake_that_it_is_decides_what_is_said():
    check = total_check(
        mistakes={
            ("table.sum", "table.mean"): "A mean.",
            Mistake(torch.max, lambda *pair: True): """Something
                else.""",
        }
    )
    assert "A mean." in check.verdict(lambda table: table.mean())
    assert "Something else." in check.verdict(lambda table: table.sum() + 1)


@pytest.mark.parametrize(
    "guess, says",
    [
        ([3, 7], "right guess"),
        ((3.0, 7.001), "right guess"),
        (torch.tensor([3, 7]), "right guess"),
        ([7, 3], "wrong guess"),
        ([3, ...], "no guess"),
        (..., "no guess"),
    ],
)
def test_a_guess(guess, says):
    def solve_digits():
        return [3, 7]

    check = Prediction(solve_digits, {}, "?", "!", "So it is.")
    assert check.verdict(guess).startswith(say(check, says))
    assert "a list of 2; what came is a number" in check.verdict(3)


@pytest.mark.parametrize(
    "guess, says",
    [
        (24, "Your guess is too large, by less than a tenth."),
        (10**400, "too large, by more than a factor of ten"),
        (float("nan"), "a number; what came is not a number"),
        (1j, "a number; what came is a complex"),
        ([0] * 10**6, "what came is a list of 1000000"),
        (torch.zeros(3, device="meta"), "what came is a Tensor"),
    ],
)
def test_a_guess_that_nobody_foresaw_is_told_how_far_off_it_is(guess, says):
    def solve_it():
        return 22

    verdict = Prediction(solve_it, {}, "?", "!", "So it is.").verdict(guess)
    assert says in verdict and not re.search(r"\b22\b", verdict)


def test_the_guesses_that_were_foreseen_are_keys():
    def solve_digits():
        return [3, 7]

    mistakes = {(7, 3): "Turned round.", (3.0, 3.0): "Twice the same."}
    check = Prediction(solve_digits, mistakes, "?", "!", "So it is.")
    assert "Turned round." in check.verdict([7, 3])
    assert "Twice the same." in check.verdict(torch.tensor([3, 3]))


def test_an_edit_must_name_a_text_that_stands_in_the_solution_once():
    for old, times in (("mean", 0), ("table", 2)):
        with pytest.raises(
            ValueError, match=f"solve_total: '{old}' stands .* {times} "
        ):
            total_check(mistakes={(old, "x"): "Never said."})
    with pytest.raises(ValueError):
        total_check(mistakes={("table.sum()", "1", "table"): "A text too few."})
    twice = {("sum()", "sum() + more", "return", "more = 3\n    return"): "Three more."}
    assert "Three more." in total_check(mistakes=twice).verdict(lambda t: t.sum() + 3)


LOOPS = ["for row in table: pass", "while False: pass", "[row for row in table]"]


@pytest.mark.parametrize("line, says", [(line, "A loop.") for line in LOOPS])
@pytest.mark.parametrize("name", ["F.relu", "torch.nn.functional.relu", "relu"])
def test_what_is_right_may_deserve_a_remark(line, says, name):
    check = total_check(remarks={"loop": says, "relu": "PyTorch's own."})
    head = "import torch\nimport torch.nn.functional as F\nfrom torch import relu\n"
    head += "def attempt(table):\n    'for relu in F.relu'\n"
    plain, looped = "    return table.sum()", f"    {line}\n    return table.sum()"
    right = say(check, "right", count=2)
    assert check.verdict(defined(head + plain)) == right
    assert check.verdict(defined(head + looped)) == f"{right}\nA loop."
    borrowed = f"    return {name}(table).sum()"
    assert check.verdict(defined(head + borrowed)) == f"{right}\nPyTorch's own."
    wrong = check.verdict(defined(f"{head}    {line}\n    return 0"))
    assert "A loop." not in wrong


def test_one_case_is_drawn_anew_each_time():
    seeds = []

    def draw(seed):
        seeds.append(seed)
        return (torch.full((2, 2), seed % 1000 + 5.0),)

    check = total_check(draw=draw)
    assert check.verdict(solve_total) == say(check, "right", count=3)
    table = {0.0: 0, 1.0: 3}
    said = check.verdict(lambda t: torch.tensor(float(table.get(t.max().item(), 0))))
    assert "Case 3 of 3:" in said and seeds[0] != seeds[1]


def image_check(rows, columns):
    """A check whose cases and results are images, the second half of each dark."""

    def solve_same(image):
        return image.clone()

    image = torch.zeros(rows, columns)
    image[:, columns // 2 :] = 0.5
    return Exercise(solve_same, lambda: [(image,)], {}, "", "", "")


def test_small_images_are_drawn_below_what_is_said():
    lines = image_check(6, 8).verdict(lambda image: 0 * image).splitlines()
    assert lines[-7].split() == ["image", "expected", "came"]
    assert lines[-6:] == ["  ".join(["....@@@@", "....@@@@", "........"])] * 6
    assert lines[-8].startswith("For a hint") and "0 to 0.5" not in "".join(lines)


def test_in_a_notebook_they_are_pictures(monkeypatch, capsys):
    shown = []
    monkeypatch.setattr("mnist_basics.workshop.checking._in_jupyter", lambda: True)
    monkeypatch.setattr(
        "mnist_basics.workshop.figures.show_figure", lambda *what: shown.append(what)
    )
    image_check(6, 8)(lambda image: 0 * image)
    image_check(6, 8)(lambda image: image)
    [(_, description)] = shown
    assert description.endswith("image, expected, came.")
    assert "@" not in capsys.readouterr().out


def test_hints_end_with_how_to_see_the_solution(capsys):
    check = total_check()
    for _ in range(3):
        check.hint()
    said = capsys.readouterr().out.splitlines()
    assert said[:2] == ["Hint 1 of 2: ?", "Hint 2 of 2: !"]
    told = said[2].split("The solution: ")[1]
    solution = eval(told, {"check_total": check})
    assert isinstance(solution, Solution) and "def total(table):" in solution.code
    assert solution._repr_html_().startswith("<details><summary>The solution of total")
    assert repr(solution).endswith("It is.")


def test_a_result_of_another_kind_is_told_what_the_head_says():
    def solve_ends(
        row,
    ) -> list[int]:  # the first and the last
        return row[0], row[-1]

    def look(ends, row):
        came = ends(row)
        return {"their sum": sum(came)} if isinstance(came, list) else came

    case = [([1, 2, 3],)]
    check = Exercise(
        solve_ends, lambda: case, {}, "?", "!", "", lambda row: [1, 3], look
    )
    asked = "What should come back: list[int], the first and the last. What came is "
    for wrong, kind in ((3, "a number"), (torch.ones(2), "a Tensor"), ({}, "a dict")):
        assert f"{asked}{kind}." in flat(check.verdict(lambda row: wrong))
    assert "“their sum” is wrong." in check.verdict(lambda row: [1, 2])


def test_of_trues_that_have_no_mean_it_is_said_what_helps():
    check = Exercise(lambda row: row, lambda: [(torch.ones(2),)], {}, "?", "!", "")
    for mean in (lambda row: (row > 0).mean(), lambda row: row.long().mean()):
        assert "have no mean here" in check.verdict(mean)
    assert "have no mean" not in check.verdict(lambda row: row.nothing)


def test_a_tuple_is_judged_by_its_parts_the_weightiest_first():
    def solve_ends(row):
        return row[0], row[-1]

    row, parts = torch.arange(3.0), {"the last": 1, "the first": 0}
    check = Exercise(solve_ends, lambda: [(row,)], {}, "?", "!", "", parts=parts)
    assert "“the last” is wrong" in check.verdict(lambda row: [row[1], row[1]])
    asked = "2 things are asked for, with commas between: the first, the last."
    named = {"the last": row[2], "the first": row[0]}  # as the check has them inside
    for wrong in (row, [row[0]], (*row,), 3, named):
        assert asked in check.verdict(lambda row: wrong)
    swapped = check.verdict(lambda row: (row[2], row[0]))
    assert "but in another order than this: the first, the last." in swapped
    assert "expected: the first: 0 (float32, shape []); the last: 2" in swapped
    assert "Nothing came back." in check.verdict(lambda row: None)
    assert "Well done!" in check.verdict(lambda row: (row[0], row[2]))
