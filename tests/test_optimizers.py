"""09: steps equal to PyTorch's, a cycle and a finder equal to fastai's, misuse."""

import copy
import math
from functools import partial

import pytest
import torch
from small_nets import assert_same_model, quiet, small
from torch import nn

from mnist_basics import optimizers
from mnist_basics.learner import BasicOptim, Callback, DataLoaders, get_lr, set_lr
from mnist_basics.linear_model import Batches, as_rows
from mnist_basics.optimizers import (
    Adam,
    Momentum,
    OneCycle,
    get_momentum,
    lr_find,
    one_cycle,
    set_momentum,
)
from mnist_basics.two_layer_net import simple_net

PAIRS = {
    "momentum": (Momentum, torch.optim.SGD, {"lr": 0.05, "momentum": 0.9}),
    "no momentum": (Momentum, torch.optim.SGD, {"lr": 0.1, "momentum": 0.0}),
    "Adam": (Adam, torch.optim.Adam, {"lr": 0.01}),
    "Adam, other settings": (
        Adam,
        torch.optim.Adam,
        {"lr": 0.1, "betas": (0.5, 0.7), "eps": 0.01},
    ),
    "AdamW": (Adam, torch.optim.AdamW, {"lr": 0.02, "weight_decay": 0.3}),
}
OURS = {"Momentum": Momentum, "Adam": Adam, "decay": partial(Adam, weight_decay=0.1)}


def some_parameters(dtype):
    torch.manual_seed(3)
    shapes = (4, 3), (3,), (), (2, 1, 2), (5,)
    params = [torch.randn(shape, dtype=dtype).requires_grad_() for shape in shapes]
    params[-1].requires_grad_(False)  # frozen
    return params


def gradients_of(params, step):
    """Of many sizes; one parameter has none in every third step."""
    torch.manual_seed(step)
    for i, param in enumerate(params[:-1]):
        param.grad = 0.01**i * torch.randn_like(param)
    if step % 3 == 0:
        params[1].grad = None


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", PAIRS)
def test_fifty_steps_are_pytorchs_step_for_step(name, dtype):
    ours, theirs, settings = PAIRS[name]
    mine, yours = some_parameters(dtype), some_parameters(dtype)
    frozen = mine[-1].clone()
    opt, peer = ours(mine, **settings), theirs(yours, **settings)
    for step in range(50):
        gradients_of(mine, step)
        gradients_of(yours, step)
        opt.step()
        peer.step()
        torch.testing.assert_close(mine, yours, rtol=1e-6, atol=1e-6)
    assert torch.equal(mine[-1], frozen)
    opt.zero_grad()
    assert all(param.grad is None for param in mine)


def test_what_pytorch_calls_adams_weight_decay_is_another_thing():
    mine, yours = some_parameters(torch.float64), some_parameters(torch.float64)
    settings = {"lr": 0.02, "weight_decay": 0.3}
    opt, peer = Adam(mine, **settings), torch.optim.Adam(yours, **settings)
    for step in range(5):
        gradients_of(mine, step)
        gradients_of(yours, step)
        opt.step()
        peer.step()
    assert not torch.allclose(mine[0], yours[0], atol=1e-3)


def test_without_a_gradient_nothing_is_changed_and_nothing_remembered():
    for kind in OURS.values():
        params = some_parameters(torch.float32)
        before = [param.detach().clone() for param in params]
        opt = kind(params, lr=0.1)
        opt.step()
        torch.testing.assert_close(params, before, rtol=0, atol=0)
        assert not opt.state


WEIGHT = torch.zeros(2, requires_grad=True)


@pytest.mark.parametrize(
    "kind, params, settings, says",
    [
        (Momentum, [WEIGHT], {"lr": 0.0}, "lr must be a finite number above 0, not 0"),
        (Adam, [WEIGHT], {"lr": 0}, "lr must be a finite number above 0, not 0"),
        (Adam, [WEIGHT], {"lr": math.nan}, "lr must be a finite number above 0"),
        (Adam, [WEIGHT], {"lr": "0.1"}, "lr must be a finite number above 0"),
        (Momentum, [WEIGHT], {"momentum": 1.0}, "momentum must be 0 or more and below"),
        (Momentum, [WEIGHT], {"momentum": -0.1}, "momentum must be 0 or more and bel"),
        (Adam, [WEIGHT], {"betas": (0.9, 1.0)}, r"betas\[1\] must be 0 or more and be"),
        (Adam, [WEIGHT], {"betas": (-1, 0.9)}, r"betas\[0\] must be 0 or more and bel"),
        (Adam, [WEIGHT], {"betas": 0.9}, "betas must be two numbers"),
        (Adam, [WEIGHT], {"betas": (0.9,)}, "betas must be two numbers"),
        (Adam, [WEIGHT], {"eps": -1e-8}, "eps must be a finite number above 0"),
        (Adam, [WEIGHT], {"weight_decay": -1}, "weight_decay must be a finite number"),
        (Adam, [], {}, "must have something to train; of its 0 tensors none asks"),
        (Adam, [torch.zeros(2)], {}, "must have something to train; of its 1 tensors"),
        (Adam, WEIGHT, {}, "params must be a list of parameters"),
        (Adam, [2 * WEIGHT], {}, "params must be a list of parameters"),
        (Adam, [{"params": [WEIGHT]}], {}, "params must be a list of parameters"),
        (Adam, ["weight"], {}, "params must be a list of parameters"),
    ],
)
def test_bad_input_gets_one_clear_sentence(kind, params, settings, says):
    with pytest.raises(ValueError, match=says) as error:
        kind(params, **settings)
    assert "\n" not in str(error.value)


def test_parameters_may_come_as_a_generator():
    model = small()[1]
    opt = Adam(model.parameters(), lr=0.1)
    assert len(opt.param_groups[0]["params"]) == 4


# With the Learner


@pytest.mark.parametrize("name", OURS)
def test_a_learner_is_saved_and_loaded_with_all_that_the_optimizer_remembers(
    name, tmp_path, recwarn
):
    straight = quiet(*small(), opt_func=OURS[name])
    straight.fit(2, lr=0.01)
    straight.fit_one_cycle(2, 0.02)
    first = quiet(*small(), opt_func=OURS[name])
    first.fit(2, lr=0.01)
    first.save(tmp_path / "half.pt")
    dls, model = small()
    with torch.no_grad():
        for param in model.parameters():
            param.normal_()
    second = quiet(dls, model, opt_func=OURS[name])
    second.fit(1, lr=0.5)  # a memory of its own, to be replaced
    second.load(tmp_path / "half.pt")
    second.fit_one_cycle(2, 0.02)
    assert_same_model(second.model, straight.model)
    assert second.recorder.values == straight.recorder.values
    assert not recwarn.list
    torch.testing.assert_close(
        [second.opt.state[param] for param in second.model.parameters()],
        [straight.opt.state[param] for param in straight.model.parameters()],
        rtol=0,
        atol=0,
    )


def test_the_settings_come_back_too_and_another_optimizer_is_refused(tmp_path):
    learn = quiet(*small(), opt_func=partial(Adam, betas=(0.7, 0.8)))
    learn.fit(1, lr=0.01)
    learn.save(tmp_path / "adam.pt")
    other = quiet(*small(), opt_func=Adam)
    other.load(tmp_path / "adam.pt")
    assert other.opt.param_groups[0]["betas"] == (0.7, 0.8)
    with pytest.raises(ValueError, match="saved with the optimizer mnist_basics.opt"):
        quiet(*small(), opt_func=Momentum).load(tmp_path / "adam.pt")

    def half(params, lr):
        return Adam(params[:2], lr)

    fewer = quiet(*small(seed=8), opt_func=half)
    before = copy.deepcopy(fewer.model.state_dict())
    with pytest.raises(ValueError, match="optimizer in .*adam.pt does not fit"):
        fewer.load(tmp_path / "adam.pt")
    torch.testing.assert_close(fewer.model.state_dict(), before, rtol=0, atol=0)


def test_twenty_epochs_of_adam_reach_what_the_table_says(digits):
    torch.manual_seed(1)
    generator = torch.Generator().manual_seed(1)
    train = Batches(*as_rows(digits, "train"), 256, True, "cpu", generator)
    valid = Batches(*as_rows(digits, "valid"), 256, device="cpu")
    learn = quiet(DataLoaders(train, valid), simple_net(), opt_func=Adam)
    learn.fit(20, 0.03)
    assert learn.recorder.values[-1][2] >= 0.985


# One cycle


def fastais(opt_name, **settings):
    from fastai import optimizer

    return partial(getattr(optimizer, opt_name), **settings)


KINDS = {
    "Momentum": Momentum,
    "Adam": Adam,
    "torch SGD": partial(torch.optim.SGD, momentum=0.9),
    "torch AdamW": torch.optim.AdamW,
    "fastai SGD": lambda params, lr: fastais("SGD", mom=0.9)(params, lr=lr),
    "fastai Adam": lambda params, lr: fastais("Adam")(params, lr=lr),
}


class Watch(Callback):
    """Notes rate and momentum of each batch."""

    def before_fit(self, learn):
        self.lrs, self.moms = [], []

    def after_loss(self, learn):
        self.lrs.append(get_lr(learn.opt))
        self.moms.append(get_momentum(learn.opt))


def test_the_curve_is_fastais():
    from fastai.callback.schedule import combined_cos

    theirs = combined_cos(0.25, 1 / 25, 1.0, 1e-5)
    for i in range(101):
        ours = one_cycle(i / 100, 1 / 25, 1.0, 1e-5)
        assert ours == pytest.approx(float(theirs(i / 100)), abs=1e-6)


@pytest.mark.parametrize("name", KINDS)
def test_a_whole_fit_has_fastais_rate_and_momentum_in_every_batch(name):
    from fastai import basics as fastai
    from fastai.callback import progress, schedule  # noqa: F401

    class TheirWatch(fastai.Callback):
        lrs, moms = [], []

        def after_pred(self):
            if self.training:
                self.lrs.append(self.opt.hypers[0]["lr"])
                self.moms.append(self.opt.hypers[0]["mom"])

    watch, theirs = Watch(), TheirWatch()
    quiet(*small(), opt_func=KINDS[name]).fit_one_cycle(3, 0.07, cbs=[watch])
    dls, model = small()
    peer = fastai.Learner(
        fastai.DataLoaders(*dls), model, nn.functional.mse_loss, fastais("SGD", mom=0.9)
    )
    with peer.no_bar(), peer.no_logging():
        peer.fit_one_cycle(3, 0.07, cbs=[theirs])
    assert len(watch.lrs) == 3 * len(dls.train)
    assert watch.lrs == pytest.approx([float(lr) for lr in theirs.lrs], abs=1e-7)
    assert watch.moms == pytest.approx([float(mom) for mom in theirs.moms], abs=1e-6)


class Impatient(Callback):
    def after_batch(self, learn):
        if (learn.epoch, learn.batch) == (1, 3):
            raise KeyboardInterrupt


@pytest.mark.parametrize("impatient", [False, True])
@pytest.mark.parametrize("name", KINDS)
def test_one_cycle_puts_back_what_it_changed(name, impatient):
    learn = quiet(*small(), opt_func=KINDS[name])
    learn.fit(1, lr=0.01)
    before = [{**group, "params": None} for group in learn.opt.param_groups]
    if impatient:
        with pytest.raises(KeyboardInterrupt):
            learn.fit(2, 0.01, cbs=[OneCycle(0.5), Impatient()])
    else:
        learn.fit(2, 0.01, cbs=[OneCycle(0.5)])
    after = [{**group, "params": None} for group in learn.opt.param_groups]
    assert after == before and get_momentum(learn.opt) == 0.9


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.Adam])
@pytest.mark.parametrize("event", [None, "before_fit", "before_batch", "after_epoch"])
def test_one_cycle_puts_back_what_each_group_had(kind, event):
    name, own = ("momentum", 0.5) if kind is torch.optim.SGD else ("betas", (0.5, 0.8))

    def two_groups(params, lr):
        return kind([{"params": params[:2], name: own}, {"params": params[2:]}], lr)

    class Interrupts(Callback):
        pass

    def interrupt(learn):
        raise KeyboardInterrupt

    learn = quiet(*small(n=128), opt_func=two_groups)
    if event:
        learn.cbs.append(stop := Interrupts())
        setattr(stop, event, interrupt)
        with pytest.raises(KeyboardInterrupt):
            learn.fit_one_cycle(2, 0.1)
        learn.cbs.remove(stop)
    else:
        learn.fit_one_cycle(2, 0.1)
    usual = 0 if kind is torch.optim.SGD else (0.9, 0.999)
    assert [group[name] for group in learn.opt.param_groups] == [own, usual]
    assert [group["lr"] for group in learn.opt.param_groups] == [0.1, 0.1]


def test_where_there_is_no_momentum_none_is_set():
    plain = torch.optim.SGD([WEIGHT], 0.1)
    ours, still = BasicOptim([WEIGHT], 0.1), Momentum([WEIGHT], 0.1, momentum=0)
    for opt in (plain, ours, still):
        set_momentum(opt, 0.8)
        assert not get_momentum(opt)
    assert get_momentum(ours) is None
    adam = Adam([WEIGHT])
    set_momentum(adam, 0.8)
    assert adam.param_groups[0]["betas"] == (0.8, 0.999) and get_momentum(adam) == 0.8
    without = Adam([torch.ones(1, requires_grad=True)], betas=(0.0, 0.999))
    set_momentum(without, 0.8)
    assert get_momentum(without) == 0


def test_a_cycle_has_the_learners_own_rate_unless_told():
    learn, watch = quiet(*small(), opt_func=Adam, lr=0.04), Watch()
    learn.fit_one_cycle(4, cbs=[watch])
    assert max(watch.lrs) == pytest.approx(0.04, rel=0.01)
    assert watch.lrs[0] == pytest.approx(0.04 / 25) and watch.lrs[-1] < 0.0004
    assert watch.moms[0] == 0.95 and min(watch.moms) == pytest.approx(0.85, abs=2e-3)
    learn.fit(1)
    assert learn.recorder.lrs[-1] == 0.04


@pytest.mark.parametrize("wrong", [{"lr_max": "0.1"}, {"div": 0}, {"div_final": None}])
def test_a_cycle_that_makes_no_sense_is_refused(wrong):
    [name] = wrong
    with pytest.raises(ValueError, match=f"{name} must be a finite number above 0"):
        OneCycle(**{"lr_max": 0.1, **wrong})


@pytest.mark.parametrize("arguments", [(0, 0.1), (2.5, 0.1), (1, "0.1"), (1, -1.0)])
def test_a_fit_of_one_cycle_that_makes_no_sense_is_refused(arguments):
    with pytest.raises(ValueError, match="epochs must be|lr_max must be"):
        quiet(*small()).fit_one_cycle(*arguments)


# The finder


def with_everything_random(opt_func, **settings):
    """Batch normalisation, dropout, both sets shuffled: a Learner with many states."""
    dls, _ = small()
    dls.valid.shuffle, dls.valid.generator = True, torch.Generator().manual_seed(5)
    torch.manual_seed(9)
    layers = nn.Linear(20, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3)
    model = nn.Sequential(*layers, nn.Linear(8, 1))
    return quiet(dls, model, opt_func=opt_func, **settings)


def states(learn):
    """All that must stay as it was."""
    opt = learn.opt
    memory = opt and [dict(opt.state[param]) for param in learn.model.parameters()]
    return copy.deepcopy(
        {
            "model": dict(learn.model.state_dict()),
            "modes": [module.training for module in learn.model.modules()],
            "settings": opt and [{**g, "params": 0} for g in opt.param_groups],
            "memory": memory,
            "records": {**vars(learn.recorder)},
            "random": torch.get_rng_state(),
            "order": learn.dls.train.generator.get_state(),
            "valid": learn.dls.valid.generator.get_state(),
            "lr": learn.lr,
        }
    )


def assert_equal(came, expected):
    assert came.keys() == expected.keys()
    for key in expected:
        torch.testing.assert_close(came[key], expected[key], rtol=0, atol=0, msg=key)


class Counter(Callback):
    def __init__(self):
        self.batches = 0

    def after_batch(self, learn):
        self.batches += 1


@pytest.mark.parametrize("fitted", [False, True])
@pytest.mark.parametrize("name", [n for n in KINDS if n != "fastai SGD"])
def test_the_finder_leaves_everything_as_it_was(name, fitted):
    counter = Counter()
    learn = with_everything_random(KINDS[name], cbs=[counter], lr=0.25)
    if fitted:
        learn.fit(1, lr=0.01)
    before, counted, cbs = states(learn), counter.batches, list(learn.cbs)
    opt, model = learn.opt, learn.model
    finding = learn.lr_find(num_it=60)
    assert len(finding.losses) > 20
    assert learn.opt is opt and learn.model is model and learn.cbs == cbs
    assert_equal(states(learn), before)
    assert counter.batches == counted
    learn.fit(1, lr=0.01)
    twin = with_everything_random(KINDS[name], lr=0.25)
    twin.fit(1 + fitted, lr=0.01) if not fitted else [
        twin.fit(1, lr=0.01) for _ in "ab"
    ]
    assert_same_model(learn.model, twin.model)


def test_after_an_error_everything_is_as_it_was_too():
    calls = []

    def loss_func(preds, targets):
        calls.append(len(preds))
        if len(calls) > 80:
            raise RuntimeError("out of memory")
        return nn.functional.mse_loss(preds, targets)

    learn = with_everything_random(Adam, loss_func=loss_func)
    learn.fit(1, lr=0.01)
    before = states(learn)
    with pytest.raises(RuntimeError, match="out of memory"):
        learn.lr_find()
    assert_equal(states(learn), before)


def test_listeners_take_part_in_the_trial_but_only_as_copies():
    class Zero(Callback):
        seen = 0

        def after_loss(self, learn):
            learn.loss = learn.loss * 0
            self.seen += 1

    zero = Zero()
    finding = quiet(*small(), cbs=[zero]).lr_find()
    assert set(finding.losses) == {0.0} and zero.seen == 0


@pytest.mark.parametrize("name", ["SGD", "Adam"])
def test_the_finder_is_fastais(name):
    from fastai import basics as fastai
    from fastai.callback import schedule

    for seed in range(3):
        about = {"SGD": {}, "Adam": {"sqr_mom": 0.999, "eps": 1e-8, "wd": 0.0}}[name]
        ours = {"SGD": BasicOptim, "Adam": Adam}[name]
        dls, model = small(seed=seed)
        finding = quiet(dls, model, opt_func=ours, loss_func=nn.MSELoss()).lr_find()
        peer = fastai.Learner(
            fastai.DataLoaders(*dls), model, nn.MSELoss(), fastais(name, **about)
        )
        with peer.no_bar(), peer.no_logging():
            both = (schedule.valley, schedule.steep)
            theirs = peer.lr_find(suggest_funcs=both, show_plot=False)
        n = len(peer.recorder.losses)
        assert len(finding.losses) == n > 40
        their_losses = [float(loss) for loss in peer.recorder.losses]
        assert finding.losses == pytest.approx(their_losses, rel=1e-3)
        assert finding.lrs == pytest.approx([float(lr) for lr in peer.recorder.lrs])
        assert finding.valley == pytest.approx(theirs.valley, rel=1e-5)
        assert finding.steep == pytest.approx(theirs.steep, rel=1e-5)


@pytest.mark.parametrize("seed", range(20))
def test_both_suggestions_are_fastais_on_any_curve(seed):
    from fastai.callback import schedule

    torch.manual_seed(seed)
    n = 20 + 5 * seed
    losses = (torch.randn(n) + torch.linspace(2, -seed / 4, n).abs()).tolist()
    rates = torch.logspace(-6, 1, n).tolist()
    their_rates, their_losses = torch.tensor(rates), torch.tensor(losses)
    valley = float(schedule.valley(their_rates, their_losses, n)[0])
    steep = float(schedule.steep(their_rates, their_losses, n)[0])
    assert rates[optimizers._valley(losses)] == pytest.approx(valley)
    assert rates[optimizers._steep(rates, losses)] == pytest.approx(steep)


def test_it_stops_when_the_loss_runs_away_or_is_no_number():
    learn = quiet(*small(), loss_func=nn.MSELoss())
    finding = learn.lr_find(end_lr=1000)
    assert len(finding.losses) < 100
    assert finding.losses[-1] > 4 * min(finding.losses) > max(finding.losses[:-1])

    def nan_later(preds, targets):
        nan_later.calls += preds.requires_grad  # not in the exam after each epoch
        return preds.mean() * (math.nan if nan_later.calls > 30 else 1) + 1

    nan_later.calls = 0
    finding = quiet(*small(), loss_func=nan_later).lr_find()
    assert len(finding.losses) == 31 and math.isnan(finding.losses[-1])
    assert math.isfinite(finding.valley) and math.isfinite(finding.steep)


@pytest.mark.parametrize(
    "settings, says",
    [
        ({"start_lr": 0}, "start_lr must be a finite number above 0"),
        ({"end_lr": -1}, "end_lr must be a finite number above 0"),
        ({"start_lr": 1, "end_lr": 1}, "end_lr must be above start_lr, 1, not 1"),
        ({"num_it": 10}, "num_it must be a whole number, 20 or more, not 10"),
        ({"start_lr": 1e6, "end_lr": 1e9}, "ran away .* a start_lr below 1000000.0"),
    ],
)
def test_a_search_that_makes_no_sense_is_refused(settings, says):
    learn = quiet(*small(), loss_func=nn.MSELoss())
    with pytest.raises(ValueError, match=says):
        lr_find(learn, **settings)


def test_a_rate_is_set_whatever_the_optimizer():
    for name, kind in KINDS.items():
        opt = kind([WEIGHT], lr=0.1)
        set_lr(opt, 0.2)
        assert get_lr(opt) == 0.2, name
