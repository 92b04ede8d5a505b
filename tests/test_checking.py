"""What an exercise's check is made of, without any exercise of the lessons."""

import threading

import pytest
import torch
from cells import SAY_SO, defined, flat, say

from mnist_basics.workshop.checking import (
    SAYS,
    Exercise,
    Mistake,
    Prediction,
    Solution,
    call_within,
    difference,
    is_stub,
    same,
    short,
)

pytestmark = pytest.mark.filterwarnings("error")
FOR_EVER = f"def attempt(table):\n    {SAY_SO}\n    while True: pass"


def solve_total(table):
    "The sum of all."
    return table.sum()


def total_check(**settings):
    """A check of one function, `total`."""
    cases = [(torch.zeros(2, 2),), (torch.ones(3, 1),)]
    return Exercise(solve_total, lambda: cases, [], ["?", "!"], "It is.", **settings)


def test_an_endless_loop_is_stopped_in_a_thread_too(alarm):
    check, said = total_check(), []
    attempt = defined(FOR_EVER)
    thread = threading.Thread(
        target=lambda: said.append(check.verdict(attempt)), daemon=True
    )
    thread.start()
    thread.join(600)
    assert "never ends" in flat(said[0])


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


def test_a_call_that_ends_in_time_is_left_alone():
    assert call_within(5, max, 3, 7) == 7
    with pytest.raises(ZeroDivisionError):
        call_within(5, lambda: 1 / 0)
    left = [t for t in threading.enumerate() if isinstance(t, threading.Timer)]
    assert not left, "no alarm clock is left ticking"


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
    "a, b, equal",
    [
        (ONES, torch.ones(2), True),
        (torch.tensor([1.0, 1 + 1e-7]), ONES, True),
        (torch.tensor([1.0, 1 + 1e-3]), ONES, False),
        (torch.ones(2, 1), ONES, False),
        (torch.ones(2, dtype=torch.int64), ONES, False),
        (torch.tensor(0.5), 0.5, False),
        (torch.tensor(float("nan")), torch.tensor(float("nan")), True),
        (1, 1.0, False),
        ([1, 2.0], [1, 2.0], True),
        ({"a": 1}, {"a": 2}, False),
        (None, torch.ones(1), False),
        ("a", torch.ones(1), False),
        (ValueError("no"), ValueError("no"), True),
        (ValueError("no"), ValueError("yes"), False),
        (ValueError("no"), KeyError("no"), False),
    ],
)
def test_what_is_the_same(a, b, equal):
    assert same(a, b) is equal


@pytest.mark.parametrize(
    "came, expected, says",
    [
        (None, ONES, SAYS["nothing came"]),
        (0.5, torch.tensor(0.5), "kind Tensor, and it is of the kind float"),
        (torch.ones(2, 1), ONES, "shape should be [2], and it is [2, 1]"),
        (torch.ones(2).double(), ONES, "torch.float32, and it is torch.float64"),
        (torch.tensor([1.0, 2.0]), ONES, "1 of 2"),
        ({"a": 1, "b": 0.5}, {"a": 1, "b": 1}, "kind int, and it is of the kind float"),
        (3, 4, ""),
        (torch.tensor(3.0), torch.tensor(4.0), ""),
    ],
)
def test_a_difference_is_told_in_a_sentence_if_one_can_say_it(came, expected, says):
    said = difference(came, expected)
    assert says in said and bool(says) is bool(said)


def test_values_are_shown_in_a_few_words():
    assert short(torch.tensor([1.0, 2.5])) == "[1, 2.5] (float32, shape [2])"
    assert short(torch.arange(28)) == "0 to 27 (int64, shape [28])"
    assert short([3, 0.1 + 0.2, torch.relu]) == "[3, 0.3, relu]"
    assert short({"a": list(range(20))}).endswith("15, …]")
    assert len(short("long " * 100)) <= 80


def test_an_error_inside_a_library_shows_none_of_its_lines():
    attempt = defined(
        "import torch.nn.functional as F\n"
        "def attempt(table):\n"
        "    return F.cross_entropy(table, 'three')"
    )
    verdict = total_check().verdict(attempt)
    assert "line 3, in attempt:" in verdict and verdict.count("  line ") == 1


def test_an_attempt_that_draws_random_numbers_leaves_the_readers_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    total_check().verdict(lambda table: torch.rand(3).sum())
    assert torch.rand(3).equal(expected)


def test_the_first_mistake_that_it_is_decides_what_is_said():
    check = total_check()
    check.mistakes = [
        Mistake(lambda table: table.mean(), "A mean."),
        Mistake(lambda table: table.max(), "Something else.", lambda *pair: True),
    ]
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

    check = Prediction(solve_digits, [], ["?", "!"], "So it is.")
    assert check.verdict(guess).startswith(say(check, says))
    assert "a list of 2; what came is a number" in check.verdict(3)


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
