"""05_linear_model: what its notebook does not check: order, bad input, PyTorch."""

from functools import partial

import pytest
import torch
from torch import nn

from mnist_basics.learner import DataLoaders, Learner
from mnist_basics.linear_model import (
    Batches,
    as_rows,
    batch_accuracy,
    init_params,
    linear,
    mnist_loss,
    train_epoch,
    validate_epoch,
)


@pytest.mark.parametrize("function", [mnist_loss, batch_accuracy])
def test_targets_of_another_shape_are_an_error(function):
    with pytest.raises(ValueError, match="predictions and targets need the same shape"):
        function(torch.zeros(5, 1), torch.zeros(5))


def test_the_loss_is_the_mean_distance_after_the_sigmoid():
    logits, targets = torch.randn(100, 1), torch.randint(0, 2, (100, 1))
    distance = (logits.sigmoid() - targets).abs().mean()
    torch.testing.assert_close(mnist_loss(logits, targets), distance)


def test_the_threshold_is_0_and_not_one_half():
    logits, targets = torch.tensor([[0.4], [-0.4]]), torch.tensor([[1], [0]])
    assert batch_accuracy(logits, targets) == 1


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def all_x(batches):
    return torch.cat([xb for xb, _ in batches]).tolist()


def test_batches_cover_everything_once_in_any_order():
    x = torch.arange(103)
    plain = Batches(x, -x, 10, device="cpu")
    assert len(plain) == len(list(plain)) == 11 and len(list(plain)[-1][0]) == 3
    assert all_x(plain) == x.tolist()
    shuffled = Batches(x, -x, 10, True, "cpu", seeded(1))
    first, second = all_x(shuffled), all_x(shuffled)
    assert sorted(first) == sorted(second) == x.tolist()
    assert first != second != x.tolist() != first
    assert all((xb == -yb).all() for xb, yb in shuffled)
    assert all_x(Batches(x, -x, 10, True, "cpu", seeded(1))) == first


def test_the_default_order_follows_the_global_seed():
    orders, x = [], torch.arange(50)
    for seed in (5, 5, 6):
        torch.manual_seed(seed)
        orders.append(all_x(Batches(x, x, 7, shuffle=True, device="cpu")))
    assert orders[0] == orders[1] != orders[2]


@pytest.mark.parametrize(
    "x, y, size, says",
    [
        (5, 4, 2, "x and y must be equally many"),
        (0, 0, 2, "at least one of each"),
        (5, 5, 0, "batch_size must be a whole number"),
        (5, 5, 2.5, "batch_size must be a whole number"),
        ((), (), 2, "at least one of each"),
    ],
)
def test_batches_refuse_what_makes_no_sense(x, y, size, says):
    with pytest.raises(ValueError, match=says):
        Batches(torch.zeros(x), torch.zeros(y), size)


def test_batches_are_made_of_tensors_on_a_device_that_is_there():
    x = torch.zeros(5, 3)
    for wrong in (x.numpy(), x.tolist(), None):
        with pytest.raises(ValueError, match="y must be a PyTorch Tensor, not"):
            Batches(x, wrong, 2)
    for call in (
        lambda device: Batches(x, x, 2, device=device),
        partial(init_params, 3),
    ):
        with pytest.raises(ValueError, match="device 'abacus' cannot be used"):
            call(device="abacus")


def test_an_epoch_trains_with_every_batch_and_names_what_it_cannot_use():
    x, y = torch.randn(20, 3), torch.ones(20, 1)
    batches = Batches(x, y, 5, device="cpu")
    torch.manual_seed(0)
    model, other = nn.Linear(3, 1), nn.Linear(3, 1)
    other.load_state_dict(model.state_dict())
    train_epoch(model, batches, 0.1, list(model.parameters()))
    train_epoch(other, batches, 0.1, other.parameters())  # a generator
    torch.testing.assert_close(model.state_dict(), other.state_dict(), rtol=0, atol=0)
    for lr in (0, -1.0, float("nan"), "0.1"):
        with pytest.raises(ValueError, match="lr must be a finite number above 0"):
            train_epoch(model, batches, lr, model.parameters())
    with pytest.raises(ValueError, match="Expected tensors to train.*not Parameter"):
        train_epoch(model, batches, 0.1, model.weight)
    with pytest.raises(ValueError, match="nothing to validate with: no batches"):
        validate_epoch(model, iter([]))


def test_validation_is_a_mean_over_images():
    x = torch.tensor([[1.0], [1.0], [1.0], [-1.0]])
    batches = Batches(x, torch.ones(4, 1), 3, device="cpu")
    assert validate_epoch(lambda xb: xb, batches) == 0.75, "and not the mean of 1 and 0"
    dls = DataLoaders(batches, batches)
    learn = Learner(dls, nn.Identity(), metrics=batch_accuracy, progress=False)
    loss, accuracy = learn.validate()
    assert accuracy == 0.75
    assert loss == pytest.approx(mnist_loss(x, torch.ones(4, 1)).item())


def test_the_hand_written_epoch_equals_pytorch_step_by_step(digits):
    x, y = as_rows(digits, "train")
    torch.manual_seed(0)
    weights, bias = init_params((784, 1), device="cpu"), init_params(1, device="cpu")
    layer = nn.Linear(784, 1)
    with torch.no_grad():
        layer.weight.copy_(weights.T)
        layer.bias.copy_(bias)
    batches = Batches(x, y, 64, device="cpu")
    train_epoch(lambda xb: linear(xb, weights, bias), batches, 0.5, [weights, bias])
    opt = torch.optim.SGD(layer.parameters(), 0.5)
    for xb, yb in batches:
        opt.zero_grad()
        (layer(xb).sigmoid() - yb).abs().mean().backward()
        opt.step()
    torch.testing.assert_close(weights, layer.weight.T, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_twenty_epochs_reach_what_is_promised(digits, seed):
    torch.manual_seed(seed)
    params = [init_params((784, 1), device="cpu"), init_params(1, device="cpu")]
    train = Batches(*as_rows(digits, "train"), 256, shuffle=True, device="cpu")
    valid = Batches(*as_rows(digits, "valid"), 256, device="cpu")
    for _ in range(20):
        train_epoch(lambda xb: linear(xb, *params), train, 1.0, params)
    assert validate_epoch(lambda xb: linear(xb, *params), valid) >= 0.96
