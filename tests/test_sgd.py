"""04_sgd: what its notebook does not check; the path to the last digit, bad input."""

import pytest
import torch

from mnist_basics.sgd import gradient_descent, mse
from mnist_basics.workshop import checks

WEIGHT = torch.ones((), requires_grad=True)


def test_the_path_of_a_descent_is_complete_and_leaves_the_start_alone():
    start = torch.tensor([3.0, -2.0], dtype=torch.float64)
    path = gradient_descent(lambda x: (x**2).sum(), start, lr=0.1, steps=7)
    assert path.x.shape == (8, 2) and path.f.shape == (8,)
    assert path.x.dtype == torch.float64 and not path.diverged
    torch.testing.assert_close(path.x, torch.stack([start * 0.8**n for n in range(8)]))
    torch.testing.assert_close(path.f, (path.x**2).sum(1))
    assert start.tolist() == [3.0, -2.0]
    assert not path.x.requires_grad and not start.requires_grad


@pytest.mark.parametrize(
    "f", [lambda x: x**3 + x, lambda x: x.sin() * x.exp(), lambda x: 1 / (1 + x**2)]
)
def test_each_step_is_minus_rate_times_the_slope(f):
    path = gradient_descent(f, torch.tensor(0.7, dtype=torch.float64), lr=0.01, steps=3)
    for before, after in zip(path.x, path.x[1:]):
        slope = (f(before + 1e-6) - f(before - 1e-6)) / 2e-6
        torch.testing.assert_close(after, before - 0.01 * slope, rtol=1e-7, atol=1e-9)


def test_a_path_that_diverges_ends_with_finite_numbers_and_says_so(capsys):
    path = gradient_descent(lambda x: x**4, torch.tensor(10.0), lr=1.0, steps=50)
    assert path.diverged and 1 <= len(path.x) < 51
    assert path.x.isfinite().all() and path.f.isfinite().all()
    said = capsys.readouterr().out
    assert said.startswith("Diverged in step") and "f(x) is inf" in said


NO_FUNCTION = [
    (lambda x: x, torch.ones(2), "not \\[2\\]"),
    (lambda x: 3.0, torch.tensor(1.0), "not 3.0"),
    (lambda x: torch.tensor(3.0), torch.tensor(1.0), "computed from x"),
    (lambda x: 1 / x, torch.tensor(0.0), "f is inf at the start"),
    (lambda x: x.detach() ** 2, torch.tensor(1.0), "computed from x"),
    (lambda x: WEIGHT * 2, torch.tensor(1.0), "computed from x"),
    (lambda x: 1 / x, torch.tensor(float("inf")), "start must be a finite"),
    (torch.sin, torch.tensor(1), "floating-point"),
    (torch.sin, 1.0, "floating-point"),
]


@pytest.mark.parametrize("f, start, says", NO_FUNCTION)
def test_no_descent_where_there_is_no_slope(f, start, says):
    with pytest.raises(ValueError, match=says):
        checks.descent_function(f, start)
    with pytest.raises(ValueError, match=says):
        gradient_descent(f, start, lr=0.1, steps=3)


def test_the_check_of_a_function_leaves_no_trace():
    start = torch.tensor([1.0, 2.0], requires_grad=True)
    checks.descent_function(lambda x: (x * WEIGHT).sum(), start)
    assert start.grad is None and WEIGHT.grad is None and start.tolist() == [1.0, 2.0]


@pytest.mark.parametrize(
    "lr, steps, says",
    [
        (0, 3, "lr"),
        (-1, 3, "lr"),
        (float("nan"), 3, "lr"),
        (float("inf"), 3, "lr"),
        ("0.1", 3, "lr"),
        (0.1, 0, "steps"),
        (0.1, 2.5, "steps"),
        (0.1, True, "steps"),
    ],
)
def test_gradient_descent_refuses_what_makes_no_sense(lr, steps, says):
    with pytest.raises(ValueError, match=says):
        gradient_descent(torch.sin, torch.tensor(1.0), lr, steps)


def test_mse_refuses_what_broadcasting_would_hide():
    with pytest.raises(ValueError, match="preds and targets need the same shape"):
        mse(torch.zeros(3, 1), torch.zeros(3))
