"""The Learner: equal to a bare loop, interrupted, listened to, misused, swapped."""

import copy
import json
import math
import pickle
import re
from pathlib import Path

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
)
from mnist_basics.linear_model import (
    Batches,
    as_rows,
    batch_accuracy,
    calc_grad,
    validate_epoch,
)

LESSON = Path(__file__).parents[1] / "nbs" / "06_learner.ipynb"


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
    with pytest.raises(ValueError, match="epochs must be|lr must be"):
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
    elsewhere = DataLoaders(Elsewhere(dls.train), Elsewhere(dls.valid))
    learn = quiet(elsewhere, model, device=torch.device("meta"))
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
import warnings
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
"""


def test_swapping_the_import_line_changes_nothing_else(digits):
    values = []
    for line in (
        "from mnist_basics.learner import DataLoaders, Learner, SGD",
        "from fastai.vision.all import DataLoaders, Learner, SGD",
        "from mnist_basics.learner import DataLoaders, Learner\n"
        "from fastai.optimizer import SGD",
    ):
        namespace = {}
        exec(SWAP.format(line=line), namespace)
        values.append(namespace["learn"].recorder.values)
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


def test_sgd_has_its_usual_name():
    assert SGD is BasicOptim


@pytest.mark.parametrize("name", [*OPTIMIZERS, "fastai"])
def test_a_rate_given_to_one_fit_does_not_change_the_next(name):
    opt_func = OPTIMIZERS.get(name)
    if name == "fastai":
        from fastai.optimizer import Adam as opt_func
    learn = quiet(*small(), opt_func=opt_func, lr=0.01)
    learn.fit(1, lr=0.5)
    learn.fit(1)
    learn.fit(1, lr=0.3)
    learn.fit(1)
    batches = len(learn.dls.train)
    rates = learn.recorder.lrs
    assert learn.lr == 0.01 and set(rates[:batches]) == {0.5}
    assert set(rates[batches : 2 * batches]) == set(rates[3 * batches :]) == {0.01}


def test_the_class_fits_on_a_screen_and_a_half():
    import inspect

    assert len(inspect.getsource(Learner).splitlines()) <= 90


def test_what_is_read_in_parts_stands_in_the_class():
    import inspect

    cells = json.loads(LESSON.read_text(encoding="utf-8"))["cells"]
    text = "\n".join("".join(cell["source"]) for cell in cells)
    parts = re.findall(r"```python\n(.*?)\n```", text, re.S)
    lines = [line.strip() for line in inspect.getsource(Learner).splitlines()]
    assert len(parts) == 4
    for part in parts:
        read = [line.strip() for line in part.splitlines()]
        n = len(read)
        assert read in [lines[i : i + n] for i in range(len(lines))], read[0]


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


# What is said when a loss is lost


def mse(dls, model, **kwargs):
    return quiet(dls, model, loss_func=nn.functional.mse_loss, **kwargs)


def test_after_a_divergence_the_model_is_said_to_be_ruined():
    learn = mse(*small())
    with pytest.raises(FloatingPointError, match="rate of 1e[+]30. .* a smaller rate"):
        learn.fit(3, lr=1e30)
    for _ in range(2):
        with pytest.raises(FloatingPointError, match="ruined before this fit"):
            learn.fit(1, lr=0.01)
    learn = mse(small()[0], small()[1])
    learn.fit(1, lr=0.01)
    assert len(learn.recorder.values) == 1


@pytest.mark.parametrize("part", ["train", "valid"])
@pytest.mark.parametrize("axis", ["x", "y"])
@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_what_is_not_finite_in_the_data_is_told_from_the_rate(part, axis, number):
    dls, model = small()
    tensor = getattr(getattr(dls, part), axis).clone()
    tensor[-1] = number
    setattr(getattr(dls, part), axis, tensor)
    which = "validation loss" if part == "valid" else "loss"
    pairs = [zip(each.x.split(64), each.y.split(64)) for each in dls]
    for loaders in (dls, DataLoaders(*map(list, pairs))):
        learn = mse(loaders, copy.deepcopy(model))
        with pytest.raises(FloatingPointError, match=f"{which} became .* in the data"):
            learn.fit(1, lr=0.01)


def test_the_search_for_the_reason_draws_no_random_numbers():
    dls, model = small()
    learn = mse(dls, model)
    with pytest.raises(FloatingPointError):
        learn.fit(1, lr=1e30)
    other = small()[0].train
    list(other)
    for ours, fresh in zip(dls.train, other):
        assert ours[0].equal(fresh[0])


def test_a_loss_that_is_lost_before_the_first_step_is_not_laid_on_the_rate():
    def broken(preds, targets):
        return preds.sum() / 0

    dls, model = small()
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(FloatingPointError, match="not the rate. Is it loss_func"):
        quiet(dls, model, loss_func=broken).fit(1, lr=0.01)
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)


# Copies


@pytest.mark.parametrize(
    "again", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))]
)
@pytest.mark.parametrize("name", ["ours", "momentum", "AdamW"])
def test_a_learner_can_be_copied_after_a_fit(again, name, capsys):
    learn = Learner(*small(), opt_func=OPTIMIZERS[name])
    if name == "momentum" and again is not copy.deepcopy:
        learn.opt_func = torch.optim.SGD  # a lambda cannot be pickled
    learn.fit(1, lr=0.01)
    other = again(learn)
    before = copy.deepcopy(learn.model.state_dict())
    other.fit(2, lr=0.01)
    torch.testing.assert_close(learn.model.state_dict(), before, rtol=0, atol=0)
    learn.fit(2, lr=0.01)
    assert_same_model(other.model, learn.model)
    assert other.recorder.values == learn.recorder.values


def test_an_interrupted_learner_can_be_copied():
    learn = quiet(*small(), cbs=[Stop("after_loss")])
    with pytest.raises(KeyboardInterrupt):
        learn.fit(3, lr=0.1)
    assert_same_model(copy.deepcopy(learn).model, learn.model)


# Sources of batches


@pytest.mark.parametrize("progress", [False, True])
def test_batches_that_do_not_come_are_said_to_be_missing(progress, capsys):
    dls, model = small()
    once = ((xb, yb) for xb, yb in dls.train)
    dataset = torch.utils.data.TensorDataset(dls.train.x, dls.train.y)
    dropped = torch.utils.data.DataLoader(dataset, 5000, drop_last=True)
    for train in (once, [], dropped):
        learn = Learner(DataLoaders(train, dls.valid), model, progress=progress)
        with pytest.raises(ValueError, match="nothing to train with: no batches"):
            learn.fit(2, lr=0.1)
        assert len(learn.recorder.values) == (train is once)
    once = ((xb, yb) for xb, yb in dls.valid)
    for valid in (once, []):
        learn = Learner(DataLoaders(dls.train, valid), model, progress=progress)
        with pytest.raises(ValueError, match="nothing to validate with: no batches"):
            learn.fit(2, lr=0.1)


# What a Learner is made of


@pytest.mark.parametrize(
    "wrong, says",
    [
        ({"device": "abacus"}, "device 'abacus' cannot be used here"),
        ({"dls": None}, r"dls must be DataLoaders\(train, valid\), not NoneType"),
        ({"dls": ([1], [2])}, "not tuple"),
        ({"dls": DataLoaders(torch.zeros(5), [])}, "Expected batches.*not Tensor"),
        ({"dls": DataLoaders([], Batches)}, "Expected batches.*not the class Batches"),
        ({"dls": DataLoaders([], 3)}, "Expected batches.*not int"),
        ({"model": nn.Linear}, r"model must be .* not the class Linear; try Linear\("),
        ({"model": abs}, "model must be a PyTorch Module, not builtin_function"),
        ({"loss_func": nn.MSELoss}, r"not the class MSELoss; try MSELoss\(\)"),
        ({"loss_func": None}, "must be a function, not NoneType"),
        ({"metrics": "accuracy"}, "must be a function, not str"),
        ({"metrics": [mse, nn.L1Loss]}, "must be a function, not the class L1Loss"),
    ],
)
def test_a_learner_cannot_be_made_of_anything(wrong, says):
    dls, model = small()
    with pytest.raises(ValueError, match=says):
        Learner(**{"dls": dls, "model": model, "progress": False, **wrong})


def test_no_metrics_and_no_callbacks_may_be_none_as_with_fastai():
    learn = Learner(*small(), metrics=None, cbs=None, progress=False)
    learn.fit(1, cbs=None)
    assert len(learn.recorder.values[0]) == 2


@pytest.mark.parametrize("loss", [lambda p, t: (p - t).abs(), lambda p, t: 0.5])
def test_a_loss_that_is_not_one_number_is_named(loss):
    with pytest.raises(ValueError, match="loss_func must return one number"):
        quiet(*small(), loss_func=loss).fit(1)


def test_a_model_that_cannot_learn_is_named():
    says = "The loss hangs on no parameter that can be trained"
    dls, model = small()
    with torch.no_grad(), pytest.raises(ValueError, match=says):
        quiet(dls, model).fit(1)
    with pytest.raises(ValueError, match=says):
        quiet(dls, model.requires_grad_(False)).fit(1)
    with pytest.raises(ValueError, match="to train"):
        quiet(dls, nn.ReLU()).fit(1)


@pytest.mark.parametrize("value", [torch.zeros(3), torch.zeros(1), None, "good"])
def test_a_metric_that_is_not_one_number_is_named(value):
    def strange(preds, targets):
        return value

    learn = Learner(*small(), metrics=[batch_accuracy, strange], progress=False)
    with pytest.raises(ValueError, match="strange must return one number"):
        learn.validate()


@pytest.mark.parametrize(
    "value", [3, 0.25, torch.tensor(2), torch.tensor(0.5).double()]
)
def test_a_metric_may_be_any_one_number(value):
    learn = Learner(*small(), metrics=lambda preds, targets: value, progress=False)
    assert learn.validate()[1] == value


def test_a_model_that_was_exchanged_is_not_trained_without_a_word():
    learn = quiet(*small())
    learn.fit(1)
    learn.model = small()[1]
    with pytest.raises(ValueError, match="Make a new Learner"):
        learn.fit(1)


@pytest.mark.parametrize("params", [[], torch.zeros(3), nn.Linear(2, 1), [3.0]])
def test_an_optimizer_without_tensors_is_refused(params):
    with pytest.raises(ValueError, match="Expected tensors to train"):
        BasicOptim(params, 0.1)


def test_predictions_have_the_dtype_of_the_model():
    dls, model = small()
    x = dls.train.x[:3]
    expected = model(x)
    for kind, images in (("double", x), ("float", x.double())):
        learn = quiet(dls, getattr(model, kind)())
        assert learn.predict(images).dtype == next(model.parameters()).dtype
        torch.testing.assert_close(learn.predict(images).float(), expected.detach())
    for images in (x.numpy(), x.tolist()):
        with pytest.raises(ValueError, match="images must be a PyTorch Tensor, not"):
            learn.predict(images)
    with pytest.raises(ValueError, match="Expected batches"):
        learn.validate((dls.valid.x, dls.valid.y))
