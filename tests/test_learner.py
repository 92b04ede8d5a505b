"""The Learner: equal to a bare loop, interrupted, listened to, misused, swapped."""

import json
import subprocess
import sys

import pytest
import torch
from small_nets import OPTIMIZERS, assert_same_model, quiet, small
from torch import nn

from mnist_basics import learner as learner_module
from mnist_basics.learner import (
    SGD,
    BasicOptim,
    Callback,
    DataLoaders,
    Learner,
    OneCycle,
    get_lr,
    one_cycle,
    set_lr,
)
from mnist_basics.linear_model import Batches, as_rows, calc_grad, validate_epoch


def test_the_learner_and_a_bare_loop_end_with_the_same_parameters():
    dls, model = small()
    quiet(dls, model).fit(3, lr=0.3)
    dls, other = small()
    for _ in range(3):
        for xb, yb in dls.train:
            calc_grad(xb, yb, other)
            with torch.no_grad():
                for param in other.parameters():
                    param -= 0.3 * param.grad
                    param.grad = None
    assert_same_model(model, other)


def test_our_sgd_walks_beside_pytorchs():
    dls, ours = small()
    theirs = small()[1]
    opts = BasicOptim(ours.parameters(), 0.3), torch.optim.SGD(theirs.parameters(), 0.3)
    for xb, yb in dls.train:
        for model, opt in zip((ours, theirs), opts):
            calc_grad(xb, yb, model)
            opt.step()
            opt.zero_grad()
        torch.testing.assert_close(ours.state_dict(), theirs.state_dict())


class Stop(Callback):
    def __init__(self, event, error=KeyboardInterrupt):
        self.event, self.error = event, error

    def __getattr__(self, name):
        if name != self.__dict__.get("event"):
            raise AttributeError(name)

        def listener(learn):
            if learn.epoch == 2:
                raise self.error

        return listener


@pytest.mark.parametrize(
    "event",
    [
        "before_epoch",
        "before_batch",
        "after_loss",
        "after_backward",
        "after_batch",
        "after_train",
        "after_epoch",
    ],
)
def test_ctrl_c_leaves_a_usable_learner(event):
    dls, model = small()
    learn = quiet(dls, model)
    with pytest.raises(KeyboardInterrupt):
        learn.fit(50, lr=0.3, cbs=[Stop(event)])
    assert len(learn.recorder.values) == (3 if event == "after_epoch" else 2)
    assert all(param.grad is None for param in model.parameters())
    assert learn.validate()[1] > 0.5 and learn.predict(dls.train.x[:3]).shape == (3, 1)
    learn.fit(1, lr=0.3)
    assert len(learn.recorder.values) >= 3


def test_a_loss_that_is_no_number_stops_the_fit_and_says_where():
    dls, model = small(shuffle=False, n=64 * 8)

    class Poison(Callback):
        def before_batch(self, learn):
            if (learn.epoch, learn.batch) == (1, 5):
                learn.xb = learn.xb * float("nan")

    learn = quiet(dls, model)
    with pytest.raises(
        FloatingPointError, match="nan in epoch 1, batch 5, at a learning rate of 0.25"
    ):
        learn.fit(3, lr=0.25, cbs=[Poison()])
    assert len(learn.recorder.values) == 1


def test_it_stops_within_fifty_batches():
    dls, model = small(n=64 * 500)
    seen = []

    class Count(Callback):
        def after_batch(self, learn):
            seen.append(learn.batch)

        def before_batch(self, learn):
            learn.xb = learn.xb * float("nan")

    with pytest.raises(FloatingPointError, match="epoch 0, batch 0"):
        quiet(dls, model).fit(1, lr=0.1, cbs=[Count()])
    assert len(seen) <= 50


@pytest.mark.parametrize(
    "arguments",
    [
        (0, 0.1),
        (True, 0.1),
        (2.5, 0.1),
        (1, "0.1"),
        (1, 0.0),
        (1, -1.0),
        (1, float("nan")),
    ],
)
def test_a_fit_that_makes_no_sense_is_refused(arguments):
    dls, model = small()
    with pytest.raises(ValueError):
        quiet(dls, model).fit(*arguments)


def test_a_loss_that_overflows_in_the_last_step_is_noticed():
    dls, model = small(n=64)
    with pytest.raises(
        FloatingPointError, match="validation loss became (inf|nan) in epoch 0"
    ):
        quiet(dls, model, loss_func=nn.functional.mse_loss).fit(1, lr=1e30)


def test_looking_in_between_does_not_change_the_mode():
    modes = []

    class Look(Callback):
        def after_batch(self, learn):
            learn.validate()
            learn.predict(learn.xb)
            modes.append(learn.model.training)

    dls, model = small()
    quiet(dls, model).fit(1, lr=0.1, cbs=[Look()])
    assert all(modes)


def test_what_an_interrupted_epoch_measured_is_kept():
    class InTheMiddle(Callback):
        def after_batch(self, learn):
            if (learn.epoch, learn.batch) == (1, 2):
                raise KeyboardInterrupt

    dls, model = small()
    learn = quiet(dls, model)
    with pytest.raises(KeyboardInterrupt):
        learn.fit(3, lr=0.1, cbs=[InTheMiddle()])
    assert len(learn.recorder.losses) == len(learn.recorder.lrs) == len(dls.train) + 3


def test_gradients_can_be_clipped_and_losses_scaled_by_callbacks():
    class Scale(Callback):
        def after_loss(self, learn):
            learn.loss = learn.loss * 1024

        def after_backward(self, learn):
            for param in learn.model.parameters():
                param.grad /= 1024

    dls, model = small()
    plain = quiet(dls, model)
    plain.fit(2, lr=0.3)
    dls, model = small()
    scaled = quiet(dls, model)
    scaled.fit(2, lr=0.3, cbs=[Scale()])
    torch.testing.assert_close(scaled.model.state_dict(), plain.model.state_dict())
    assert scaled.recorder.losses == pytest.approx(plain.recorder.losses), (
        "the loss is recorded as it was"
    )


def test_events_come_in_order():
    dls, model = small(n=128)
    events = []

    class Listen(Callback):
        def __getattr__(self, name):
            if name not in learner_module.EVENTS:
                raise AttributeError(name)
            return lambda learn: events.append(name)

    quiet(dls, model, cbs=[Listen()]).fit(1, lr=0.1)
    batch = ["before_batch", "after_loss", "after_backward", "after_batch"]
    assert events == [
        "before_fit",
        "before_epoch",
        *batch,
        *batch,
        "after_train",
        "after_epoch",
        "after_fit",
    ]


def test_mixed_precision_can_be_added_as_a_callback():
    class MixedPrecision(Callback):
        def before_batch(self, learn):
            self.context = torch.autocast(learn.device.type, torch.bfloat16)
            self.context.__enter__()

        def after_loss(self, learn):
            assert learn.preds.dtype == torch.bfloat16
            self.context.__exit__(None, None, None)

    dls, model = small()
    learn = quiet(dls, model)
    learn.fit(3, lr=0.3, cbs=[MixedPrecision()])
    assert learn.recorder.values[-1][1] < learn.recorder.values[0][0]


def test_one_cycle_is_that_of_fastai():
    from fastai.callback.schedule import combined_cos

    theirs = combined_cos(0.25, 1 / 25, 1.0, 1e-5)
    for i in range(101):
        assert one_cycle(i / 100, 1 / 25, 1.0, 1e-5) == pytest.approx(
            float(theirs(i / 100)), abs=1e-6
        )


def test_fit_one_cycle_moves_rate_and_momentum():
    dls, model = small()
    learn = quiet(dls, model, opt_func=OPTIMIZERS["Adam"])
    betas = []

    class Betas(Callback):
        def before_batch(self, learn):
            betas.append(learn.opt.param_groups[0]["betas"][0])

    learn.fit_one_cycle(4, lr_max=0.02, cbs=[Betas()])
    rates = learn.recorder.lrs
    assert (
        rates[0] == pytest.approx(0.02 / 25)
        and max(rates) == pytest.approx(0.02, rel=1e-2)
        and rates[-1] < 0.02 / 100
    )
    assert rates.index(max(rates)) == pytest.approx(len(rates) / 4, abs=1) and min(
        betas
    ) == pytest.approx(0.85, abs=2e-3)


def test_momentum_is_left_alone_where_there_is_none():
    plain = torch.optim.SGD([torch.zeros(1, requires_grad=True)], 0.1)
    set_lr(plain, 0.2, 0.9)
    assert get_lr(plain) == 0.2 and plain.param_groups[0]["momentum"] == 0
    ours = BasicOptim([torch.zeros(1, requires_grad=True)], 0.1)
    set_lr(ours, 0.3, 0.9)
    assert get_lr(ours) == 0.3


def test_one_cycle_leaves_the_momentum_as_it_was():
    dls, model = small()
    for name, key in (("momentum", "momentum"), ("Adam", "betas")):
        learn = quiet(dls, model, opt_func=OPTIMIZERS[name])
        learn.fit_one_cycle(1, lr_max=0.01)
        value = learn.opt.param_groups[0][key]
        assert value == (0.9 if key == "momentum" else (0.9, 0.999))


def test_validate_epoch_walks_through_the_batches_once():
    dls, model = small(shuffle=False)
    expected = validate_epoch(model, dls.valid)
    assert validate_epoch(model, ((xb, yb) for xb, yb in dls.valid)) == expected


def test_batches_on_another_device_are_moved():
    class Elsewhere:
        """Batches that claim another device than the model's."""

        device = torch.device("cpu")

        def __init__(self, batches):
            self.batches = batches

        def __len__(self):
            return len(self.batches)

        def __iter__(self):
            return ((xb.to("meta"), yb.to("meta")) for xb, yb in self.batches)

    dls, model = small()
    learn = quiet(
        DataLoaders(Elsewhere(dls.train), Elsewhere(dls.valid)), model, device="meta"
    )
    assert next(learn.model.parameters()).device.type == "meta"
    learn = quiet(
        DataLoaders(dls.train, dls.valid), model.to_empty(device="cpu"), device="cpu"
    )
    assert learn.device.type == "cpu"
    moved = []
    original = torch.Tensor.to

    def spy(tensor, target, *args, **kwargs):
        moved.append(str(target))
        return original(tensor, target, *args, **kwargs)

    torch.Tensor.to = spy
    try:
        learn.validate()
    finally:
        torch.Tensor.to = original
    assert moved and set(moved) == {"cpu"}


def test_predict_names_what_does_not_fit(digits):
    dls = DataLoaders(
        Batches(*as_rows(digits, "train"), 256), Batches(*as_rows(digits, "valid"), 256)
    )
    learn = quiet(dls, nn.Linear(784, 1))
    images = digits.images("valid", 3)
    torch.testing.assert_close(learn.predict(images), learn.predict(images.flatten(1)))
    assert not learn.predict(images[:2]).requires_grad
    with pytest.raises(ValueError, match="images must be floating-point"):
        learn.predict(digits.valid_x)
    with pytest.raises(ValueError, match="image\\[None\\]"):
        learn.predict(images[0])


def test_pytorch_loaders_are_welcome():
    dls, model = small()
    dataset = torch.utils.data.TensorDataset(dls.train.x, dls.train.y)
    loader = torch.utils.data.DataLoader(dataset, batch_size=64)
    learn = quiet(DataLoaders(loader, loader), model)
    learn.fit(2, lr=0.3)
    assert len(learn.recorder.values) == 2 and learn.predict(dls.train.x).shape == (
        1000,
        1,
    )


SWAP = """
import sys, json, warnings
warnings.simplefilter("ignore")
import torch
from torch import nn
from mnist_basics.data import mnist_sample
from mnist_basics.linear_model import Batches, as_rows, batch_accuracy, mnist_loss
{line}
digits = mnist_sample()
order = torch.Generator().manual_seed(1)
train = Batches(*as_rows(digits, "train"), 256, shuffle=True, generator=order)
valid = Batches(*as_rows(digits, "valid"), 256)
torch.manual_seed(1)
dls = DataLoaders(train, valid)
parts = dict(opt_func=SGD, loss_func=mnist_loss, metrics=batch_accuracy)
learn = Learner(dls, nn.Linear(28*28, 1), **parts)
learn.fit(10, lr=1.)
print(json.dumps([list(row) for row in learn.recorder.values]))
"""


def test_swapping_the_import_line_changes_nothing_else(digits):
    values = []
    for line in (
        "from mnist_basics.learner import DataLoaders, Learner, SGD",
        "from fastai.vision.all import DataLoaders, Learner, SGD",
        "from mnist_basics.learner import DataLoaders, Learner\n"
        "from fastai.optimizer import SGD",
    ):
        result = subprocess.run(
            [sys.executable, "-c", SWAP.format(line=line)],
            capture_output=True,
            encoding="utf-8",
        )
        assert result.returncode == 0, result.stderr
        values.append(json.loads(result.stdout.splitlines()[-1]))
    ours, theirs, ours_with_their_optimizer = values
    assert len(ours) == len(theirs) == 10
    assert (
        abs(ours[-1][2] - theirs[-1][2]) < 0.005
        and abs(ours_with_their_optimizer[-1][2] - theirs[-1][2]) < 0.005
    )
    assert ours[-1][1] == pytest.approx(theirs[-1][1], abs=1e-3)
    assert ours[-1][2] >= 0.96


def test_06_ten_and_twenty_epochs_reach_what_is_promised(digits):
    for seed in range(3):
        torch.manual_seed(seed)
        dls = DataLoaders(
            Batches(*as_rows(digits, "train"), 256, shuffle=True),
            Batches(*as_rows(digits, "valid"), 256),
        )
        learn = quiet(dls, nn.Linear(784, 1))
        learn.fit(10, lr=1.0)
        assert learn.recorder.values[-1][2] >= 0.96
        learn.fit(10, lr=1.0)
        assert learn.recorder.values[-1][2] >= 0.97


def test_sgd_and_one_cycle_have_their_usual_names():
    assert SGD is BasicOptim and OneCycle(1.0).rates == (1 / 25, 1.0, 1e-5)


@pytest.mark.parametrize("name", [*OPTIMIZERS, "fastai"])
def test_a_rate_given_to_one_fit_does_not_change_the_next(name):
    opt_func = OPTIMIZERS.get(name)
    if name == "fastai":
        from fastai.optimizer import Adam as opt_func
    learn = quiet(*small(), opt_func=opt_func, lr=0.01)
    learn.fit(1, lr=0.5)
    learn.fit(1)
    learn.fit_one_cycle(1, lr_max=0.3)
    learn.fit(1)
    batches = len(learn.dls.train)
    rates = learn.recorder.lrs
    assert learn.lr == 0.01 and set(rates[:batches]) == {0.5}
    assert set(rates[batches : 2 * batches]) == set(rates[3 * batches :]) == {0.01}


@pytest.mark.parametrize("opt_name", ["SGD", "Adam"])
def test_one_cycle_moves_fastais_optimizers_too(opt_name):
    from fastai import optimizer

    kind = getattr(optimizer, opt_name)
    momentum = {"mom": 0.9} if opt_name == "SGD" else {}
    learn = quiet(*small(), opt_func=lambda params, lr: kind(params, lr=lr, **momentum))
    seen = []

    class Watch(Callback):
        def after_loss(self, learn):
            seen.append(learn.opt.hypers[0]["mom"])

    learn.fit_one_cycle(2, lr_max=0.1, cbs=[Watch()])
    assert max(learn.recorder.lrs) == pytest.approx(0.1, rel=0.02)
    assert min(seen) == pytest.approx(0.85, abs=0.01) and max(seen) <= 0.95
    assert learn.opt.hypers[0]["mom"] == 0.9


def test_the_class_fits_on_a_screen_and_a_half():
    import inspect

    assert len(inspect.getsource(Learner).splitlines()) <= 110


def test_a_frozen_part_stays_frozen_after_an_exam():
    dls, model = small()
    model[1].eval()
    quiet(dls, model).validate()
    assert model.training and not model[1].training


def test_seconds_and_values_stay_in_step_after_ctrl_c_in_an_exam():
    learn = quiet(*small(), cbs=[stop := Stop("after_train")])
    with pytest.raises(KeyboardInterrupt):
        learn.fit(4, lr=0.1)
    learn.cbs.remove(stop)
    learn.fit(1, lr=0.1)
    assert len(learn.recorder.seconds) == len(learn.recorder.values) == 3
