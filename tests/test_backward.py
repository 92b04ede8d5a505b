"""08_backward: what its notebook does not check; PyTorch as the oracle, bad input."""

import inspect
import math
import random
from collections import Counter

import numpy as np
import pytest
import torch

from mnist_basics.backward import Value, logistic, two_layer_gradients
from mnist_basics.linear_model import linear, mnist_loss


def tensor(data):
    return torch.tensor(float(data), dtype=torch.float64).requires_grad_()


# Single operations

OPERATIONS = {
    "number +": lambda x: 2.5 + x,
    "+ number": lambda x: x + 2,
    "number -": lambda x: 2 - x,
    "- number": lambda x: x - 2.5,
    "number *": lambda x: -3 * x,
    "* number": lambda x: x * 0.5,
    "number /": lambda x: 2 / x,
    "/ number": lambda x: x / -4,
    "number **": lambda x: 1.7**x,
    "** 3": lambda x: x**3,
    "** 0": lambda x: x**0,
    "** -2": lambda x: x**-2,
    "-": lambda x: -x,
    "exp": lambda x: x.exp(),
    "relu": lambda x: x.relu(),
    "sigmoid": lambda x: x.sigmoid(),
    "x + x": lambda x: x + x,
    "x - x": lambda x: x - x,
    "x * x": lambda x: x * x,
    "x / x": lambda x: x / x,
}


def assert_as_pytorch(f, *numbers):
    ours, theirs = [Value(n) for n in numbers], [tensor(n) for n in numbers]
    result, expected = f(*ours), f(*theirs)
    result.backward()
    expected.backward()
    found = [result.data, *(value.grad for value in ours)]
    zero = torch.zeros(())  # what is not used has no gradient in PyTorch
    wanted = [expected, *(zero if t.grad is None else t.grad for t in theirs)]
    wanted = [number.item() for number in wanted]
    torch.testing.assert_close(found, wanted, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("number", [-30.0, -1.5, 0.25, 1.0, 30.0])
def test_each_operation_is_pytorchs(name, number):
    assert_as_pytorch(OPERATIONS[name], number)


@pytest.mark.parametrize("name", ["** 3", "** 0.5", "** -2.5"])
def test_a_power_of_a_positive_number(name):
    power = float(name.removeprefix("** "))
    assert_as_pytorch(lambda x: x**power, 1.3)


def test_the_slope_of_relu_is_exactly_0_at_0_and_below():
    for number in (-2.0, -1e-300, -0.0, 0.0):
        x = Value(number)
        y = x.relu()
        (y * y + 5 * y).backward()
        assert y.data == 0 and x.grad == 0
        assert_as_pytorch(lambda x: x.relu(), number)
        assert_as_pytorch(lambda x: (x * 3).relu() * x, number)


@pytest.mark.parametrize("number", [-1000.0, -745.0, -40.0, 40.0, 1000.0])
def test_the_sigmoid_does_not_overflow(number):
    assert_as_pytorch(lambda x: x.sigmoid(), number)
    expected = torch.sigmoid(tensor(number)).item()
    assert math.isclose(logistic(number), expected, abs_tol=1e-300)


# Two hundred expressions, put together at random

ONE = [
    lambda x: -x,
    lambda x: x.relu(),
    lambda x: x.sigmoid(),
    lambda x: (x / 4).exp(),
    lambda x: 1.5**x,
    lambda x: x**2,
    lambda x: (x * x + 1) ** -0.5,
    lambda x: x - 0.7,
    lambda x: 0.7 - x,
    lambda x: 2 / (x * x + 1),
    lambda x: x / 3,
]
TWO = [
    lambda x, y: x + y,
    lambda x, y: x - y,
    lambda x, y: x * y,
    lambda x, y: x / (y * y + 0.5),
]


def plan(seed):
    """Thirty operations, each with the numbers of its two inputs among those before."""
    choose = random.Random(seed)
    pairs = [(choose.randrange(n), choose.randrange(n)) for n in range(3, 33)]
    return [(choose.choice(ONE + TWO * 3), x, y) for x, y in pairs]


def calculate(steps, *numbers):
    """A number out of three, Values or tensors; what grows too large is squashed."""
    made = list(numbers)
    for operation, x, y in steps:
        inputs = (made[x], made[y]) if operation in TWO else (made[x],)
        result = operation(*inputs)
        data = result.data if isinstance(result, Value) else result.item()
        made.append(result.sigmoid() if abs(data) > 10 else result)
    return sum(made[-5:], made[0])


def three_numbers(seed):
    choose = random.Random(1000 + seed)
    return [choose.uniform(-2, 2) for _ in range(3)]


@pytest.mark.parametrize("seed", range(200))
def test_a_random_expression_has_pytorchs_value_and_gradients(seed):
    steps = plan(seed)
    assert_as_pytorch(lambda *x: calculate(steps, *x), *three_numbers(seed))


def test_the_random_expressions_have_all_operations_reuse_values_and_meet_kinks():
    assert {step[0] for seed in range(200) for step in plan(seed)} == {*ONE, *TWO}
    without_slope = 0
    for seed in range(200):
        result = calculate(plan(seed), *map(Value, three_numbers(seed)))
        found, uses = [result], Counter()
        for value in found:  # it grows on the way
            for source, slope in zip(value.inputs, value.slopes):
                without_slope += slope == 0
                uses[source] += 1
                if uses[source] == 1:
                    found.append(source)
        assert max(uses.values()) > 1 and len(found) > 10
    assert without_slope > 100


# The way back


def test_a_value_used_many_times_collects_all():
    x = Value(2.0)
    sum((x * i for i in range(1, 101)), Value(0.0)).backward()
    assert x.grad == 5050


def test_many_ways_are_walked_together():
    start = Value(1.0)
    x = start
    for _ in range(200):  # 2 to the power of 200 ways
        x = x + x
    x.backward()
    assert start.grad == 2.0**200


@pytest.mark.parametrize("n", [3_000, 100_000])
def test_a_long_chain_does_not_break(n):
    x = Value(1.0)
    y = x
    for i in range(n):
        y = y * 0.5 + 1 if i % 2 else (y - 1) / 0.5
    y.backward()
    assert math.isclose(x.grad, 1.0)


def test_a_wide_graph_is_no_trouble():
    values = [Value(float(i)) for i in range(20_000)]
    products = [value * value for value in values]
    sum(products[1:], products[0]).backward()
    assert [value.grad for value in values] == [2.0 * i for i in range(20_000)]


def test_the_last_one_made_goes_first_wherever_it_stands():
    a = Value(2.0)
    late = a * 3
    for _ in range(5):
        late = late + a  # used early and late
    (late * a + late).backward()
    assert a.grad == 8 + 2 * 8 * 2  # of 8a² + 8a, at 2


def test_gradients_of_different_results_add_up_and_those_between_are_kept():
    x = Value(3.0)
    square = x * x
    square.backward()
    assert (square.grad, x.grad) == (1, 6)
    (x * 4).backward()
    assert x.grad == 10
    x.grad = 0.0
    (x * x).backward()
    assert x.grad == 6


def test_a_value_that_was_not_used_gets_nothing():
    x, y = Value(3.0), Value(4.0)
    later = x * y
    (x + 1).backward()
    assert (x.grad, y.grad, later.grad) == (1, 0, 0)


def test_a_leaf_may_be_the_result():
    x = Value(3.0)
    x.backward()
    x.backward()  # as in PyTorch, it adds up: there is no way that could be gone twice
    assert x.grad == 2


# Bad input


def test_a_second_way_back_is_refused_and_changes_nothing():
    x = Value(3.0)
    square = x * x
    square.backward()
    for again in (square, square + 1, x * square):
        with pytest.raises(RuntimeError, match="Compute the result anew") as error:
            again.backward()
        assert str(error.value).startswith("backward has gone through")
        assert x.grad == 6 and square.grad == 1


@pytest.mark.parametrize(
    "data", ["3", None, True, 1j, [1.0], torch.tensor(1.0), np.ones(2), Value(1.0)]
)
def test_what_is_no_number_is_named(data):
    with pytest.raises(ValueError, match="data must be a plain number") as error:
        Value(data)
    assert repr(data) in str(error.value)


@pytest.mark.parametrize("data", [2, 2.0, np.float32(2), np.int64(2), np.float64(2)])
def test_any_plain_number_will_do(data):
    x = Value(data)
    assert type(x.data) is float and x.data == 2 and x.grad == 0
    assert (x * data).data == (data * x).data == 4


@pytest.mark.parametrize("other", ["1", None, torch.tensor(1.0), [1.0]])
@pytest.mark.parametrize(
    "calculate",
    [
        lambda x, other: x + other,
        lambda x, other: x * other,
        lambda x, other: x - other,
        lambda x, other: x / other,
        lambda x, other: other - x,
        lambda x, other: other / x,
        lambda x, other: x**other,
        lambda x, other: other**x,
    ],
)
def test_calculating_with_what_is_no_number_is_refused(calculate, other):
    with pytest.raises(ValueError, match="must be a (plain|finite) number"):
        calculate(Value(2.0), other)


@pytest.mark.parametrize("other", [1.0, torch.tensor(1.0), "1"])
def test_values_have_no_order_ask_their_data(other):
    with pytest.raises(TypeError, match="not supported"):
        assert Value(2.0) > other


def test_a_value_to_the_power_of_a_value_is_refused():
    with pytest.raises(ValueError, match=r"not Value\(3, grad=0\). A Value may stand"):
        Value(2.0) ** Value(3.0)


@pytest.mark.parametrize(
    "base, power", [(-2.0, 0.5), (0.0, 0.5), (0.0, -1), (0.0, 0), (-1.0, -1.5)]
)
def test_a_power_without_a_slope_is_refused(base, power):
    with pytest.raises(ValueError, match="is not a real number with a slope"):
        Value(base) ** power


@pytest.mark.parametrize("base", [0, -2.0, float("inf"), float("nan")])
def test_a_base_without_a_logarithm_is_refused(base):
    with pytest.raises(ValueError, match="base must be a finite number above 0"):
        base ** Value(2.0)


def test_a_division_by_zero_is_pythons():
    for divide in (lambda x: 1 / x, lambda x: x / 0):
        with pytest.raises(ZeroDivisionError):
            divide(Value(0.0))


# On the page


def test_the_class_fits_on_fifty_lines():
    assert len(inspect.getsource(Value).splitlines()) <= 50
    body = inspect.getsource(two_layer_gradients).splitlines()
    assert len(body) - 1 <= 15


def test_a_value_shows_its_number_and_its_gradient():
    x = Value(3)
    (x * 0.5).backward()
    assert repr(x) == "Value(3, grad=0.5)"


# Matrices


@pytest.mark.parametrize("n, pixels, units", [(1, 5, 3), (64, 20, 7), (256, 784, 30)])
def test_the_two_layer_net_by_hand_has_pytorchs_gradients(n, pixels, units):
    generator = torch.Generator().manual_seed(n)

    def randn(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    xb, yb = randn(n, pixels), (randn(n, 1) > 0).double()
    shapes = (pixels, units), (units,), (units, 1), (1,)
    params = [randn(*shape).mul(0.3).requires_grad_() for shape in shapes]
    w1, b1, w2, b2 = params
    mnist_loss(linear(linear(xb, w1, b1).relu(), w2, b2), yb).backward()
    found = two_layer_gradients(xb, yb, *(param.detach() for param in params))
    for grad, param in zip(found, params, strict=True):
        torch.testing.assert_close(grad, param.grad, rtol=1e-6, atol=1e-12)


def test_the_net_by_hand_lets_nothing_back_where_the_relu_was_at_0():
    xb, yb = torch.ones(2, 3), torch.tensor([[1.0], [0.0]])
    w1 = torch.tensor([[1.0, -1.0]] * 3)
    found = two_layer_gradients(
        xb, yb, w1, torch.tensor([-3.0, 0.0]), torch.ones(2, 1), torch.zeros(1)
    )
    grad_w1, grad_b1, grad_w2, _ = found  # one unit gets exactly 0, the other −3
    assert not grad_w1.any() and not grad_b1.any() and not grad_w2.any()


def test_the_net_by_hand_refuses_targets_that_broadcasting_would_hide():
    params = torch.zeros(5, 2), torch.zeros(2), torch.zeros(2, 1), torch.zeros(1)
    with pytest.raises(ValueError, match="predictions and targets need the same shape"):
        two_layer_gradients(torch.zeros(3, 5), torch.zeros(3), *params)
