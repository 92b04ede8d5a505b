"""Learning from few examples: features, freezing, the nearest mean (13_transfer)."""

import copy

import pytest
import torch
from torch import nn

from mnist_basics.transfer import (
    class_means,
    feature_cnn,
    fit_few,
    freeze,
    nearest_mean,
    outputs,
    unfreeze,
)


@pytest.fixture
def few():
    "Twelve images of noise, six with ink at the top and six with ink at the bottom."
    x = torch.rand(12, 1, 28, 28, generator=torch.Generator().manual_seed(1)) / 10
    x[:6, :, 3:10] += 0.9
    x[6:, :, 18:25] += 0.9
    return x, torch.tensor([0] * 6 + [1] * 6)


def net(width=2):
    torch.manual_seed(3)
    return nn.Sequential(feature_cnn(width), nn.Linear(64 * width, 2))


def changed(model, before):
    "The names of what is not as it was: parameters and running figures."
    state = model.state_dict().items()
    return {name for name, now in state if not torch.equal(now, before[name])}


@pytest.mark.parametrize("width", [1, 16])
def test_features_are_pictures_of_4_by_4_laid_flat(width, few):
    found = feature_cnn(width)(few[0])
    assert found.shape == (12, 64 * width) and found.min() == 0


def test_a_net_without_kernels_is_refused():
    with pytest.raises(ValueError, match="width must be a whole number, 1 or more"):
        feature_cnn(0)


def test_outputs_are_of_evaluation_mode_and_leave_the_model_as_it_was(few):
    model = net().train()
    before = copy.deepcopy(model.state_dict())
    many = few[0].repeat(100, 1, 1, 1)  # more than go through at once
    found = outputs(model, many)
    assert not changed(model, before) and model[0][1].training
    assert not found.requires_grad
    torch.testing.assert_close(found, model.eval()(many).detach())


def test_class_means_and_the_nearest_of_them():
    x = torch.tensor([[0.0, 0], [2, 0], [0, 5], [0, 7]])
    means = class_means(x, torch.tensor([0, 0, 1, 1]))
    assert means.tolist() == [[1, 0], [0, 6]]
    asked = torch.tensor([[0.0, 2], [9, 6], [1, 4]])
    assert nearest_mean(asked, means).tolist() == [0, 1, 1]


def test_the_nearest_mean_takes_images_and_the_straight_distance(few):
    x, y = few
    means = class_means(x, y)
    assert means.shape == (2, 1, 28, 28)
    assert torch.equal(nearest_mean(x, means), y)
    far, near = torch.tensor([[3.0, 3]]), torch.tensor([[0.0, 5]])  # 6 and 5 by L1
    zero = torch.zeros(1, 2)  # 4.2 and 5 in a straight line
    assert nearest_mean(zero, torch.cat([far, near])).tolist() == [0]


@pytest.mark.parametrize("x, y, says", [
    (torch.rand(3, 4), torch.tensor([0, 1]), "x and y must be equally many"),
    (torch.ones(2, 4, dtype=torch.uint8), torch.tensor([0, 1]), "floating-point"),
    (torch.rand(2, 4), torch.tensor([0, 2]), "some of each kind"),
])  # fmt: skip
def test_examples_that_give_no_means_are_refused(x, y, says):
    with pytest.raises(ValueError, match=says):
        class_means(x, y)


def test_what_is_frozen_does_not_change_and_the_rest_does(few):
    model = net()
    assert freeze(model[0]) is model[0]
    before = copy.deepcopy(model.state_dict())
    fit_few(model, *few, steps=3, lr=0.01)
    assert changed(model, before) == {"1.weight", "1.bias"}


def test_without_evaluation_mode_the_running_figures_change(few):
    model = net()
    freeze(model[0]).train()
    before = copy.deepcopy(model.state_dict())
    fit_few(model, *few, steps=3, lr=0.01)
    body = {name for name in changed(model, before) if name.startswith("0.")}
    assert {name.rpartition(".")[2] for name in body} == {
        "running_mean",
        "running_var",
        "num_batches_tracked",
    }


def test_unfrozen_everything_learns_again(few):
    model = net()
    assert unfreeze(freeze(model[0])) is model[0]
    before = copy.deepcopy(model.state_dict())
    fit_few(model, *few, steps=3, lr=0.01)
    assert changed(model, before) == set(before)
    assert all(param.grad is None for param in model.parameters())


def test_a_few_steps_learn_and_follow_their_seed(few):
    x, y = few
    trained = []
    for seed in (0, 0, 1):
        model = net()
        fit_few(model, x, y, steps=20, lr=0.01, batch_size=4, seed=seed)
        trained.append(outputs(model, x))
    first, again, other = trained
    assert torch.equal(first.argmax(1), y)
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_a_step_takes_at_most_a_batch(few):
    model, sizes = net(), []
    model.register_forward_pre_hook(lambda _, args: sizes.append(len(args[0])))
    fit_few(model, *few, steps=2, lr=0.01, batch_size=5)
    fit_few(model, *few, steps=1, lr=0.01, batch_size=20)
    assert sizes == [5, 5, 12]


def test_each_part_has_its_rate(few):
    """A first step of Adam is as long as the rate; 1cycle starts at a 25th of it."""
    model = net()
    before = copy.deepcopy(model.state_dict())
    fit_few(model, *few, steps=1, lr=[0.025, 0.25])
    for name, step in (("0.0.weight", 0.001), ("1.weight", 0.01)):
        longest = (model.state_dict()[name] - before[name]).abs().max().item()
        assert longest == pytest.approx(step, rel=0.05)


def test_one_rate_is_for_all_parts(few):
    one, each = net(), net()
    fit_few(one, *few, steps=3, lr=0.01)
    fit_few(each, *few, steps=3, lr=[0.01, 0.01])
    torch.testing.assert_close(one.state_dict(), each.state_dict())


@pytest.mark.parametrize("wrong, says", [
    ({"lr": [0.1, 0.1, 0.1]}, "must be equally many"),
    ({"lr": 0.0}, "lr must be a finite number above 0"),
    ({"steps": 0}, "steps must be a whole number"),
    ({"batch_size": 0}, "batch_size must be a whole number"),
])  # fmt: skip
def test_settings_that_make_no_sense_are_refused(few, wrong, says):
    with pytest.raises(ValueError, match=says):
        fit_few(net(), *few, **({"steps": 1, "lr": 0.1} | wrong))


def test_a_model_all_frozen_and_unequal_numbers_are_refused(few):
    x, y = few
    with pytest.raises(ValueError, match="none asks for a gradient"):
        fit_few(freeze(net()), x, y, steps=1, lr=0.1)
    with pytest.raises(ValueError, match="x and y must be equally many"):
        fit_few(net(), x, y[:-1], steps=1, lr=0.1)


def test_a_part_must_be_a_module():
    for change in (freeze, unfreeze):
        with pytest.raises(ValueError, match="part must be a PyTorch Module"):
            change([nn.Linear(2, 2)])
