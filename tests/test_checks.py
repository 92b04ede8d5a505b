"""Workshop room checks: what each one lets pass, and what it says of the rest."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from mnist_basics.workshop import checks


def says(check, *args, **values):
    with pytest.raises(ValueError) as error:
        check(*args, **values)
    return str(error.value)


@pytest.mark.parametrize("value", [1, 256, np.int64(3)])
def test_whole_numbers_pass(value):
    checks.whole_number(epochs=value)


@pytest.mark.parametrize("value", [0, -1, 2.0, 2.5, True, "3", None, float("nan")])
def test_what_is_no_whole_number_is_named(value):
    expected = f"epochs must be a whole number, 1 or more, not {value!r}."
    assert says(checks.whole_number, size=1, epochs=value) == expected


def test_the_least_whole_number_can_be_chosen():
    checks.whole_number(0, padding=0)
    assert "0 or more, not -1" in says(checks.whole_number, 0, padding=-1)


@pytest.mark.parametrize("value", [1, 1e-9, np.float32(0.1)])
def test_positive_numbers_pass(value):
    checks.positive(lr=value)


@pytest.mark.parametrize(
    "value", [0, -1.0, float("inf"), float("nan"), True, "0.1", None]
)
def test_what_is_not_positive_is_named(value):
    expected = f"lr must be a finite number above 0, not {value!r}."
    assert says(checks.positive, std=1.0, lr=value) == expected


@pytest.mark.parametrize("value", [0, -3, 2.5, float("inf"), np.float32(0.1)])
def test_plain_numbers_pass(value):
    checks.number(data=value)


@pytest.mark.parametrize("value", ["3", None, True, 1j, [1], torch.tensor(1.0)])
def test_what_is_no_plain_number_is_named(value):
    said = says(checks.number, data=value)
    assert said.startswith(f"data must be a plain number, not {value!r}.")


@pytest.mark.parametrize(
    "base, power",
    [(2.0, 0.5), (2.0, -3), (-2.0, 3), (-2.0, -1.0), (0.0, 1), (0.0, 1.5)],
)
def test_powers_with_a_slope_pass(base, power):
    checks.power(base, power)


@pytest.mark.parametrize("base, power", [(-2.0, 0.5), (0.0, 0.5), (0.0, 0), (0.0, -1)])
def test_powers_without_a_slope_are_named(base, power):
    said = says(checks.power, base, power)
    assert said.startswith(f"{base} ** {power} is not a real number with a slope.")


@pytest.mark.parametrize("power", ["2", None, True, torch.tensor(2.0)])
def test_a_power_that_is_no_plain_number_is_named(power):
    said = says(checks.power, 2.0, power)
    assert said.startswith(f"The power must be a plain number, not {power!r}.")


def test_a_way_back_that_was_gone_is_refused():
    fresh, gone = SimpleNamespace(passed_on=False), SimpleNamespace(passed_on=True)
    checks.first_time_back([fresh, fresh])
    with pytest.raises(RuntimeError, match="before. Compute the result anew"):
        checks.first_time_back([fresh, gone])


@pytest.mark.parametrize("shape", [(), (5,), (0,), (2, 3)])
def test_equal_shapes_pass(shape):
    checks.same_shape(a=torch.zeros(shape), b=torch.zeros(shape, dtype=torch.int64))


def test_unequal_shapes_are_named_with_what_would_happen():
    said = says(checks.same_shape, a=torch.zeros(5, 1), b=torch.zeros(5))
    assert said.startswith("a and b need the same shape, not [5, 1] and [5]:")
    three = {"a": torch.zeros(5), "b": torch.zeros(5), "c": torch.zeros(4)}
    assert says(checks.same_shape, **three).startswith("a, b and c need the same shape")


def test_one_of_each_passes():
    checks.one_each(images=torch.zeros(2, 28, 28), labels=[3, 7], names=("a", "b"))


@pytest.mark.parametrize("images, labels", [(0, 0), (5, 0), (0, 5), (5, 4)])
def test_too_many_or_none_are_counted(images, labels):
    said = says(checks.one_each, images=torch.zeros(images, 2), labels=[3] * labels)
    expected = "images and labels must be equally many, at least one of each, "
    assert said == f"{expected}not {images} and {labels}."


def test_axes_pass_in_tensors_and_arrays():
    checks.has_axes("N, rows, columns", a=torch.zeros(1, 2, 3), b=np.zeros((4, 5, 6)))
    checks.has_axes("N", labels=torch.zeros(7))


@pytest.mark.parametrize(
    "shape", [(), (28, 28), (0, 28, 28), (5, 28, 0), (5, 1, 28, 28)]
)
def test_other_axes_are_named(shape):
    said = says(checks.has_axes, "N, rows, columns", images=torch.zeros(shape))
    assert said == f"images must have the shape [N, rows, columns], not {list(shape)}."


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_floating_point_passes(dtype):
    checks.floating_point(images=torch.zeros(2, dtype=dtype))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64, torch.bool])
def test_other_numbers_are_named_with_what_to_do(dtype):
    images = torch.zeros(2, dtype=dtype)
    said = says(checks.floating_point, a=torch.zeros(2), images=images)
    assert said.startswith(f"images must be floating-point numbers, not {dtype};")
    assert "try images.float(), and divide pixels by 255" in said


# Kinds


@pytest.mark.parametrize("wrong", [[1.0], np.zeros(2), None, 0.5, "a", torch.Tensor])
@pytest.mark.parametrize("check", [checks.same_shape, checks.floating_point])
def test_what_is_no_tensor_is_named_with_what_to_do(check, wrong):
    said = says(check, a=torch.zeros(2), b=wrong)
    kind = "the class Tensor" if wrong is torch.Tensor else type(wrong).__name__
    assert said.startswith(f"b must be a PyTorch Tensor, not {kind}; ")
    assert said.endswith("try torch.as_tensor(b).")


def test_axes_of_a_list_cannot_be_looked_at():
    assert says(checks.has_axes, "N", a=[1, 2]).startswith("a must be a PyTorch Tensor")


def test_things_without_a_length_count_as_none():
    assert "not 0 and 1." in says(checks.one_each, x=torch.tensor(1.0), y=[3])


@pytest.mark.parametrize("params", [[torch.zeros(3)], (p for p in [torch.zeros(3)])])
def test_parameters_become_a_list(params):
    [param] = checks.parameters(params)
    assert param.equal(torch.zeros(3))


@pytest.mark.parametrize("params", [torch.zeros(3), [], [3.0], None, nn.Linear(2, 1)])
def test_parameters_that_are_none_are_named(params):
    said = says(checks.parameters, params)
    assert said.endswith(f"model.parameters(), not {type(params).__name__}.")


@pytest.mark.parametrize("choice", [4, (4, 10), np.int64(4)])
def test_a_choice_of_rows_is_more_than_a_number(choice):
    checks.several(rows=slice(4, 10), cols=[1, 2])
    assert "slice(4, 15), not " in says(checks.several, rows=choice)


@pytest.mark.parametrize("wrong", [None, "three.png", [["a"]]])
def test_what_is_no_image_is_named(wrong):
    assert "a tensor or an array, not" in says(checks.pixels, wrong)
    assert checks.pixels([[1, 2]]).tolist() == [[1, 2]]


def test_answers_are_two_rows_of_the_same_length():
    for shape in ((0,), (), (2, 1)):
        same = torch.zeros(shape)
        assert says(checks.answers, a=same, b=same)
    checks.answers(a=torch.zeros(2), b=torch.zeros(2))


# A loss that is lost


class Lost:
    """What remains of a Learner."""

    def __init__(self, weight=0.0, x=0.0):
        self.model = nn.Linear(2, 1)
        self.model.weight.data[0, 0] = weight
        self.xb, self.yb = torch.tensor([x]), torch.tensor([1])


FINITE = [(torch.zeros(3, 2), torch.zeros(3, dtype=torch.int64))]
BAD = [*FINITE, (torch.zeros(3, 2), torch.tensor([0.0, float("inf"), 0.0]))]


@pytest.mark.parametrize(
    "learn, source, stepped, why",
    [
        (Lost(), FINITE, True, "Start again with a new model and a smaller rate."),
        (Lost(), BAD, True, "nan or inf in the data. Mend it, and start with a new"),
        (Lost(x=float("nan")), FINITE, True, "nan or inf in the data."),
        (Lost(float("nan")), FINITE, True, "a smaller rate."),
        (Lost(float("nan")), FINITE, False, "ruined before this fit. Start with a new"),
        (Lost(), FINITE, False, "so it is not the rate. Is it loss_func?"),
    ],
)
def test_why_a_loss_was_lost_is_told_as_far_as_it_can_be(learn, source, stepped, why):
    with pytest.raises(FloatingPointError) as raised:
        checks.give_up(learn, "loss became nan in epoch 3", 0.5, source, stepped)
    said = str(raised.value)
    assert said.startswith(
        "The loss became nan in epoch 3, at a learning rate of 0.5. "
    )
    assert why in said


def test_batches_without_an_end_are_looked_at_for_a_while_only():
    def endless():
        while True:
            yield FINITE[0]

    with pytest.raises(FloatingPointError, match="a smaller rate"):
        checks.give_up(Lost(), "loss became nan", 0.5, endless())
