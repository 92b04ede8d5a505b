"""Workshop room listening: who may listen, and that all hear of the end."""

import pytest
import torch
from small_nets import quiet, small

from mnist_basics import learner
from mnist_basics.learner import Callback
from mnist_basics.optimizers import OneCycle
from mnist_basics.workshop.listening import as_list, listeners

EVENTS = ("before_epoch", "after_epoch")


@pytest.mark.parametrize(
    "things, expected",
    [(None, []), ((), []), (3, [3]), ([3, 7], [3, 7]), ((i for i in (3, 7)), [3, 7])],
)
def test_things_become_a_list(things, expected):
    assert as_list(things) == expected


class Hears(Callback):
    heard = 0

    def after_epoch(self, learn):
        pass

    def after_fit(self, learn):
        self.heard += 1


class Misspelt(Callback):
    def after_epochs(self, learn):
        pass


def test_a_class_and_a_misspelt_method_are_named():
    callback = Hears()
    assert (
        listeners((*EVENTS, "after_fit"), [callback], None, callback) == [callback] * 2
    )
    with pytest.raises(ValueError, match=r"object, not a class: try Hears\(\)"):
        listeners(EVENTS, Hears)
    with pytest.raises(ValueError, match="Misspelt listens to after_epochs; there are"):
        listeners(EVENTS, [], Misspelt())
    with pytest.raises(ValueError, match="listens to after_epochs; .* after_epoch, "):
        quiet(*small()).fit(1, cbs=[Misspelt()])


class Fails(Callback):
    """Raises an error of its own at one event."""

    def __init__(self, event, error):
        def fail(learn):
            raise error

        setattr(self, event, fail)


@pytest.mark.parametrize("event", ["before_fit", "after_batch", "after_fit"])
@pytest.mark.parametrize("error", [KeyboardInterrupt(), ZeroDivisionError("1 / 0")])
def test_all_hear_of_the_end_and_the_first_error_is_raised(event, error):
    early, late = Hears(), Hears()
    learn = quiet(*small(n=128), cbs=early)
    drops = Fails("after_fit", ValueError("too late"))
    error.__notes__ = []
    with pytest.raises(type(error)) as raised:
        learn.fit(1, cbs=[Fails(event, error), drops, late])
    assert raised.value is error and early.heard == late.heard == 1
    assert error.__notes__ == ["Then, in an after_fit: ValueError('too late')"]
    assert all(param.grad is None for param in learn.model.parameters())
    learn.fit(1)
    assert early.heard == 2 and late.heard == 1


def test_where_pytorch_complains_the_batch_is_described():
    dls, _ = small()
    learn = quiet(dls, torch.nn.Linear(3, 1))
    with pytest.raises(RuntimeError, match="cannot be multiplied") as raised:
        learn.fit(1)
    [note] = raised.value.__notes__
    assert "xb is torch.float32 [64, 20] and yb torch.float32 [64, 1]" in note


def two_groups(params, lr):
    groups = [{"params": params[:2], "momentum": 0.5}, {"params": params[2:]}]
    return torch.optim.SGD(groups, lr, momentum=0.9)


def ctrl_c(*arguments):
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    "place", [*learner.EVENTS[:-1], "forward", "loss_func", "step"]
)
def test_ctrl_c_anywhere_is_heard_and_everything_put_back(place, monkeypatch):
    learn, callback, stop = (
        quiet(*small(n=128), opt_func=two_groups),
        Hears(),
        Callback(),
    )
    learn.fit(1, 0.1)
    homes = {"forward": learn.model, "loss_func": learn, "step": learn.opt}
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(homes.get(place, stop), place, ctrl_c, raising=False)
        learn.fit(2, 0.1, [OneCycle(0.1), callback, stop])
    groups = learn.opt.param_groups
    assert callback.heard == 1 and [g["momentum"] for g in groups] == [0.5, 0.9]
    assert {g["lr"] for g in groups} == {0.1}
    learn.fit(1, 0.1)
    assert callback.heard == 1
