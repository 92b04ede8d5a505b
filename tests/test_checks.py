"""Workshop room checks: what each one lets pass, and what it says of the rest."""

import numpy as np
import pytest
import torch

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


@pytest.mark.parametrize("shape", [(), (5,), (0,), (2, 3)])
def test_equal_shapes_pass(shape):
    checks.same_shape(a=torch.zeros(shape), b=np.zeros(shape))


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
    assert said.startswith(f"images must be floating-point numbers, not {dtype}.")
    assert "Divide pixels by 255" in said
