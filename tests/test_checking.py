"""What an exercise's check is made of, without any exercise of the lessons."""

import re
import signal
import sys
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
    TooLong,
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
    settings = {"mistakes": {}, **settings}
    return Exercise(
        solve_total, lambda: cases, hints=["?", "!"], why="It is.", **settings
    )


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


SWALLOWS = {
    "all": "while True:\n    try: pass\n    except: pass",
    "torch": "while True:\n    try: torch.ones(9).sum()\n    except: pass",
    "sleep": "while True:\n    try: time.sleep(12)\n    except BaseException: pass",
    "twice": (
        "while True:\n    try:\n        try: time.sleep(12)\n        except: pass\n"
        "    except BaseException: pass"
    ),
    "finally": "while True:\n    try: time.sleep(12)\n    finally: continue",
    "function": (
        "def calm():\n    try: time.sleep(12)\n    except: pass\n"
        "while True:\n    try: calm()\n    except: pass"
    ),
}


def indented(code):
    return code.replace("\n", "\n    ")


@pytest.mark.parametrize("code", SWALLOWS.values(), ids=SWALLOWS)
def test_an_attempt_is_stopped_whatever_it_swallows(alarm, code):
    head = f"import time, torch\ndef attempt(table):\n    {SAY_SO}\n    "
    hook = sys.unraisablehook
    verdict = total_check().verdict(defined(head + indented(code)))
    assert "never ends" in flat(verdict) and sys.unraisablehook is hook
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)


def test_in_another_thread_too(alarm):
    said, check = [], total_check()
    once = f"try:\n    {SAY_SO}\n    while True: pass\nexcept: pass\nwhile True: pass"
    attempt = defined("def attempt(table):\n    " + indented(once))
    thread = threading.Thread(target=lambda: said.append(check.verdict(attempt)))
    thread.start()
    thread.join(600)
    assert "never ends" in flat(said[0])


def test_a_sleep_is_interrupted(alarm):
    attempt = defined(
        f"import time\ndef attempt(table):\n    {SAY_SO}\n    time.sleep(600)"
    )
    assert "never ends" in flat(total_check().verdict(attempt))


class Late(threading.Timer):
    """A clock that goes off when the call has just come back, and not before."""

    def start(self):
        pass

    def join(self):
        pass

    def cancel(self):
        ringing = threading.Thread(target=self.function)
        ringing.start()
        while self.function.__self__.rings < 3:
            len("whatever is on its way arrives here")
        self.finished.set()
        ringing.join()


def rounds(came):
    for n in range(400):  # the time is up just as the call ends
        try:
            call_within(1e-6, sum, range(n * 40))
            came.append("back")
        except TooLong:
            came.append("stopped")


def late(came):
    came.append(call_within(600, max, 3, 7))


@pytest.mark.parametrize("in_main", [True, False])
@pytest.mark.parametrize("clock, calls", [(threading.Timer, rounds), (Late, late)])
def test_nothing_is_raised_once_a_call_is_back(monkeypatch, in_main, clock, calls):
    monkeypatch.setattr("threading.Timer", clock)
    came = []
    if in_main:
        calls(came)
    else:
        thread = threading.Thread(target=calls, args=(came,))
        thread.start()
        thread.join(600)
    assert came == [7] or len(came) == 400


def test_the_readers_own_signals_are_left_alone():
    def own(number, frame):
        raise KeyError("mine")

    before = signal.signal(signal.SIGALRM, own)
    try:
        call_within(5, max, 3, 7)
        assert signal.getsignal(signal.SIGALRM) is own
        with pytest.raises(KeyError, match="mine"):
            signal.raise_signal(signal.SIGALRM)
    finally:
        signal.signal(signal.SIGALRM, before)
    with pytest.raises(KeyboardInterrupt):
        call_within(5, signal.raise_signal, signal.SIGINT)
    assert signal.getsignal(signal.SIGALRM) is before


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
        ({"a": 1, "b": 0.5}, {"a": 1, "b": 1}, "“b” is wrong. The result"),
        ((1, 2, 3), [1, 3, 3], "The second of three is wrong."),
        ([0.0] * 12, [0.0] * 11 + [1.0], "Number 12 of 12 is wrong."),
        ((1, 2), [1, 2, 3], "should be 3 of them, and there are 2"),
        ((ONES, [4, 5]), (ONES, [4, 6]), "of two is wrong. The second of two is"),
        (
            0.5,
            torch.tensor(0.5),
            "The value is right. The result should be of the kind",
        ),
        (
            torch.tensor(0.5),
            0.5,
            "The value is right. The result should be of the kind",
        ),
        (torch.ones(2, 1), ONES, "The values are right. The shape should be"),
        (torch.ones(2).double(), ONES, "The values are right. The type"),
        (0.4, torch.tensor(0.5), "The result should be of the kind Tensor"),
        (torch.zeros(2, 1), ONES, "The shape should be"),
        (ONES.to("meta"), ONES, "on the device cpu, and it is on meta"),
        (ONES.to_sparse(), ONES, "The values are right. An ordinary tensor"),
        (torch.arange(20.0), torch.zeros(20), "At [1] it is 1 instead of 0."),
        (ONES + 1j, ONES, "torch.float32, and it is torch.complex64"),
        (torch.zeros(20) + 1j, torch.zeros(20) + 2j, "20 of 20"),
        (3, 4, ""),
        (torch.tensor(3.0), torch.tensor(4.0), ""),
    ],
)
def test_a_difference_is_told_in_a_sentence_if_one_can_say_it(came, expected, says):
    said = difference(came, expected)
    assert says in said and bool(says) is bool(said)


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


def test_a_tensor_without_numbers_to_read_is_told_by_its_kind():
    assert short(ONES.to("meta")) == "a tensor (float32, shape [2], on meta)"
    assert short(torch.eye(30).to_sparse()) == "a tensor (float32, shape [30, 30])"


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

    check = Prediction(solve_digits, [], ["?", "!"], "So it is.")
    assert check.verdict(guess).startswith(say(check, says))
    assert "a list of 2; what came is a number" in check.verdict(3)


@pytest.mark.parametrize(
    "truth, guess, says",
    [
        (22, 24, "too large, by less than a tenth"),
        (22, 40, "too large, by less than a factor of two"),
        (22, 150, "too large, by more than a factor of two"),
        (22, 10**400, "too large, by more than a factor of ten"),
        (22, float("inf"), "too large, by more than a factor of ten"),
        (22, 21, "too small, by less than a tenth"),
        (22, 12, "too small, by less than a factor of two"),
        (22, 8, "too small, by more than a factor of two"),
        (22, 0, "too small, by more than a factor of ten"),
        (22, -(10**400), "Your guess is too small."),
        (22, -22, "has the wrong sign"),
        (-22, 22, "has the wrong sign"),
        (0, 5, "Your guess is too large."),
        (-5, -7, "Your guess is too small."),
        (22, float("nan"), "a number; what came is not a number"),
        (22, 1j, "a number; what came is a complex"),
        (22, [0] * 10**6, "what came is a list of 1000000"),
        (22, torch.zeros(3, device="meta"), "what came is a Tensor"),
        ([13, 6, 2], [26, 13, 6], "The first of three is too large, by less"),
        ([13, 6, 2], (13, 6, 3), "The third of three is too large, by less"),
        ([13, 6, 2], [13, [6], 2], "The answer is a number; what came is a list of 1"),
        ([[1, 2], 3], [[1, 1], 3], "The second of two is too small"),
        ([1, 2], [1, 10**400], "The second of two is too large"),
        (True, False, SAYS["another truth"]),
        ("left", "right", SAYS["another word"]),
    ],
)
def test_a_guess_that_nobody_foresaw_is_told_how_far_off_it_is(truth, guess, says):
    def solve_it():
        return truth

    verdict = Prediction(solve_it, {}, ["?"], "So it is.").verdict(guess)
    assert says in verdict and not re.search(r"\b(22|13|6|left)\b", verdict)


def test_a_list_that_holds_itself_is_a_wrong_guess():
    guess = [3]
    guess.append(guess)
    verdict = Prediction(lambda: [3, 7], {}, ["?"], "So.").verdict(guess)
    assert "The answer is a number" in verdict


def test_the_guesses_that_were_foreseen_are_keys():
    def solve_digits():
        return [3, 7]

    mistakes = {(7, 3): "Turned round.", (3.0, 3.0): "Twice the same."}
    check = Prediction(solve_digits, mistakes, ["?"], "So it is.")
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


def image_check(rows, columns, *front, dtype=torch.float32):
    """A check whose cases and results are images, the second half of each dark."""

    def solve_same(image):
        return image.clone()

    image = torch.zeros(rows, columns, dtype=dtype)
    image[:, columns // 2 :] = 200 if dtype == torch.uint8 else 0.5
    return Exercise(solve_same, lambda: [(image.repeat(*front, 1, 1),)], {}, [], "")


@pytest.mark.parametrize(
    "size, dtype",
    [
        ((6, 8), torch.float32),
        ((6, 8, 1, 1), torch.float64),
        ((6, 8, 1), torch.uint8),
        ((28, 28), torch.float32),
    ],
)
def test_small_images_are_drawn(size, dtype):
    check = image_check(*size, dtype=dtype)
    lines = check.verdict(lambda image: 0 * image).splitlines()
    rows, columns = size[:2]
    width = max(columns, 8)
    half = "." * (columns // 2) + "@" * (columns // 2)
    names = [name.ljust(width) for name in ("image", "expected", "came")]
    assert lines[-rows - 1] == "  ".join(names).rstrip()
    drawn = [half.ljust(width), half.ljust(width), "." * columns]
    assert lines[-rows:] == ["  ".join(drawn)] * rows and max(map(len, lines)) <= 88
    assert "0 to 0.5" not in "".join(lines) and "0 to 200" not in "".join(lines)


@pytest.mark.parametrize("size", [(4, 8), (8, 29), (6, 6, 2)])
def test_what_is_no_small_image_is_not_drawn(size):
    verdict = image_check(*size).verdict(lambda image: 0 * image)
    assert "0 to 0.5" in verdict and "@" not in verdict


def test_numbers_that_are_none_are_question_marks_and_too_much_ink_stops():
    check = image_check(6, 8)
    verdict = check.verdict(lambda image: (image - 0.5) / image * 1e9)
    assert verdict.splitlines()[-1].endswith("  ........")
    verdict = check.verdict(lambda image: (image - 0.5) / (image - 0.5) * 1e9)
    assert verdict.splitlines()[-1].endswith("  @@@@????")


def test_in_a_notebook_they_are_pictures(monkeypatch, capsys):
    shown = []
    monkeypatch.setattr("mnist_basics.workshop.checking._in_jupyter", lambda: True)
    monkeypatch.setattr(
        "mnist_basics.workshop.figures.show_figure", lambda *what: shown.append(what)
    )
    image_check(6, 8)(lambda image: 0 * image)
    image_check(6, 8)(lambda image: image)
    [(figure, description)] = shown
    titles = [ax.get_title() for ax in figure.axes]
    assert titles == ["image", "expected", "came"]
    assert description.endswith("image, expected, came.")
    assert all(ax.images[0].get_clim() == (0, 0.5) for ax in figure.axes)
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
