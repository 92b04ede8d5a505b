"""What came, in words: is it right, how does it differ, how far off is a guess."""

import re

import pytest
import torch
from cells import defined

from mnist_basics.workshop.telling import (
    agrees,
    difference,
    drawn,
    how_far_off,
    own_lines,
    pictures,
    plain,
    same,
    short,
    show_pictures,
)

pytestmark = pytest.mark.filterwarnings("error")
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
        (None, ONES, "Nothing came back. Does the function end with a return?"),
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
    with pytest.raises(TypeError) as stopped:
        attempt(ONES)
    said = "  line 3, in attempt:  return F.cross_entropy(table, 'three')"
    assert own_lines(stopped.value, attempt) == [said]
    assert own_lines(stopped.value, print) == []


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
        (22, -(10**400), "Your guess is too low."),
        (22, -22, "has the wrong sign"),
        (-22, 22, "has the wrong sign"),
        (0, 5, "Your guess is too large."),
        (-5, -7, "Your guess is too low."),
        (22, float("nan"), "a number; what came is not a number"),
        (22, 1j, "a number; what came is a complex"),
        (22, [0] * 10**6, "what came is a list of 1000000"),
        (22, torch.zeros(3, device="meta"), "what came is a Tensor"),
        ([13, 6, 2], [26, 13, 6], "The first of three is too large, by less"),
        ([13, 6, 2], (13, 6, 3), "The third of three is too large, by less"),
        ([13, 6, 2], [13, [6], 2], "The answer is a number; what came is a list of 1"),
        ([[1, 2], 3], [[1, 1], 3], "The second of two is too small"),
        ([1, 2], [1, 10**400], "The second of two is too large"),
        (True, False, "It is the other way round. What did you take for granted?"),
        (
            "left",
            "right",
            "It is another word. Try your reason on the smallest example.",
        ),
    ],
)
def test_a_wrong_guess_is_told_how_far_off_it_is(truth, guess, says):
    guess, truth = plain(guess), plain(truth)
    assert not agrees(guess, truth, 0.005)
    said = how_far_off(guess, truth, 0.005)
    assert says in said and not re.search(r"\b(22|13|6|left)\b", said)


def test_a_list_that_holds_itself_is_a_wrong_guess():
    guess = [3]
    guess.append(guess)
    assert "The answer is a number" in how_far_off(plain(guess), [3, 7], 0.005)


@pytest.mark.parametrize(
    "guess, right",
    [
        ([3, 7], True),
        ((3.0, 7.001), True),
        (torch.tensor([3, 7]), True),
        ([7, 3], False),
        ([3, 7.1], False),
        ([3], False),
        (["3", 7], False),
        ([3, [7]], False),
    ],
)
def test_what_agrees(guess, right):
    assert agrees(plain(guess), [3, 7], 0.005) is right
    assert agrees(plain(" Left "), "left", 0)


def half_dark(rows, columns, *front, dtype=torch.float32):
    """An image whose second half is dark."""
    image = torch.zeros(rows, columns, dtype=dtype)
    image[:, columns // 2 :] = 200 if dtype == torch.uint8 else 0.5
    return image.repeat(*front, 1, 1)


def shown(image, came):
    return pictures({"image": image, "n": 3, "expected": image, "came": came})


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
    image = half_dark(*size, dtype=dtype)
    head, *lines = drawn(shown(image, 0 * image))
    rows, columns = size[:2]
    width = max(columns, 8)
    half = "." * (columns // 2) + "@" * (columns // 2)
    names = [name.ljust(width) for name in ("image", "expected", "came")]
    assert head == "  ".join(names).rstrip()
    row = [half.ljust(width), half.ljust(width), "." * columns]
    assert lines == ["  ".join(row)] * rows and max(map(len, lines)) <= 88
    assert short(image).startswith("a tensor (")


@pytest.mark.parametrize("size", [(4, 8), (8, 29), (6, 6, 2)])
def test_what_is_no_small_image_is_not_drawn(size):
    image = half_dark(*size)
    assert short(image).startswith("0 to 0.5 ") and shown(image, image) == []


def test_pictures_that_have_no_room_beside_the_others_come_below():
    wide, wider, low = torch.ones(6, 27), torch.ones(6, 28), torch.ones(5, 28)
    lines = drawn(pictures(dict(a=wider, b=wider, c=wider, d=low, e=wide)))
    assert lines[0].split() == ["a", "b", "c"] and lines[7].split() == ["d", "e"]
    assert lines[1] == "  ".join(["@" * 28] * 3) and len(lines[1]) == 88
    assert lines[-2:] == ["@" * 28 + "  " + "@" * 27, " " * 30 + "@" * 27]
    narrow = dict(a=wider, b=wider, c=torch.ones(6, 22), d=torch.ones(6, 5))
    assert drawn(pictures(narrow))[7] == "d"  # it would end in column 89


def test_numbers_that_are_none_are_question_marks_and_too_much_ink_stops():
    image = half_dark(6, 8)
    *_, last = drawn(shown(image, (image - 0.5) / image * 1e9))
    assert last.endswith("  ........")
    *_, last = drawn(shown(image, (image - 0.5) / (image - 0.5) * 1e9))
    assert last.endswith("  @@@@????")


def test_in_a_notebook_they_are_a_figure(monkeypatch):
    called, image = [], half_dark(6, 8)
    monkeypatch.setattr(
        "mnist_basics.workshop.figures.show_figure", lambda *what: called.append(what)
    )
    show_pictures(shown(image, 0 * image))
    [(figure, description)] = called
    titles = [ax.get_title() for ax in figure.axes]
    assert titles == ["image", "expected", "came"]
    assert description.endswith("image, expected, came.")
    assert all(ax.images[0].get_clim() == (0, 0.5) for ax in figure.axes)
