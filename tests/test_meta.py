"""One epoch of every net on PyTorch's `meta` device, which has shapes and no numbers.

What on a GPU would fail, or wait, is an error there: a tensor made on another device
than the model's, and a look at a number within the training loop."""

import pytest
import torch
from torch import nn

from mnist_basics.convolutions import as_images
from mnist_basics.data import Digits
from mnist_basics.ladder import RUNGS, ask_images, train_on_images
from mnist_basics.learner import Learner
from mnist_basics.ten_digits import RandomShift, digit_cnn, train_ten_digits
from mnist_basics.transfer import feature_cnn, fit_few, freeze
from mnist_basics.workshop import devices
from mnist_basics.workshop.listening import Recorder

META = torch.device("meta")


@pytest.fixture
def meta(monkeypatch):
    """`meta` as a device to train on; a look at numbers only where one is meant to be.

    That is: by the Recorder, seldom, and at the end of a validation."""

    def validate(learn, batches=None):
        with monkeypatch.context() as patch:
            patch.setattr(torch.Tensor, "tolist", lambda sums: [0.0] * len(sums))
            return true_validate(learn, batches)

    def losses(recorder, learn):
        return torch.zeros(len(recorder._losses))

    def adam(params, fused=None, **about):  # in one go it is not to be had there
        return true_adam(params, **about)

    true_validate, true_adam = Learner.validate, torch.optim.AdamW
    monkeypatch.setattr(torch.optim, "AdamW", adam)
    monkeypatch.setattr(devices, "usable_device", torch.device)
    monkeypatch.setenv("MNIST_BASICS_DEVICE", "meta")
    monkeypatch.setattr(Learner, "validate", validate)
    monkeypatch.setattr(Recorder, "_checked_losses", losses)
    monkeypatch.setattr(Recorder, "_put_down", lambda recorder: None)


@pytest.fixture(scope="module")
def few(digits):
    "A few 3s and 7s: three batches of 64, or one of 256."
    part = slice(None, None, 90)
    train = digits.train_x[part], digits.train_y[part]
    return Digits(*train, digits.valid_x[part], digits.valid_y[part])


def ten_digits(digits):
    about = {"epochs": 1, "cbs": [RandomShift(1)], "progress": False}
    return train_ten_digits(digits, **about).model


def transfer(digits):
    model = nn.Sequential(freeze(feature_cnn()), nn.Linear(1024, 2)).to(META)
    x, y = (part.to(META) for part in as_images(digits, "train"))
    fit_few(model, x, y, steps=2, lr=[0.001, 0.01])
    return model


def of_rung(rung, train):
    return lambda digits: train(rung.build(), digits, META, 42)


# what is trained: name → a function from digits to the trained model, and how to ask it
TRAININGS = {"ten digits": (ten_digits, ask_images), "transfer": (transfer, ask_images)}
for rung in RUNGS.values():
    for recipe, train in {"ours": rung.train, **rung.as_published}.items():
        TRAININGS[f"{rung.name}, {recipe}"] = of_rung(rung, train), rung.ask


@pytest.mark.parametrize("name", TRAININGS)
def test_a_net_trains_and_answers_without_a_look_at_a_number(name, few, meta):
    train, ask = TRAININGS[name]
    model = train(few).eval()
    assert {tensor.device for tensor in model.state_dict().values()} == {META}
    images = torch.empty(5, 28, 28, device=META)
    with torch.no_grad():
        answers = ask(model, images)
    assert answers.shape == (5,) and answers.device == META


class Asks(nn.Module):
    "Looks at a number on the way."

    def forward(self, x):
        return x / x.max().item()


class Elsewhere(nn.Module):
    "Adds a tensor that is made on the CPU."

    def forward(self, x):
        return x + torch.zeros(28)


@pytest.mark.parametrize(
    "mistake, says",
    [(Asks, r"item\(\) cannot be called on meta"), (Elsewhere, "device cpu is not on")],
)
def test_both_mistakes_are_found(mistake, says, few, meta):
    model = nn.Sequential(mistake(), digit_cnn(n_out=2))
    with pytest.raises(RuntimeError, match=says):
        train_on_images(model, few, META, 42, epochs=1, lr=0.01, batch_size=64)
