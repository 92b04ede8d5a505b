"""All ten digits: images held out, the net, its training, and the shifts."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mnist_basics.data import Digits, mnist_full
from mnist_basics.learner import Callback, DataLoaders, Learner
from mnist_basics.linear_model import Batches
from mnist_basics.ten_digits import (
    RandomShift,
    digit_cnn,
    hold_out,
    predict_shifted,
    train_ten_digits,
)


@pytest.fixture(scope="module")
def few():
    "A few of all ten digits."
    full = mnist_full()
    train, valid = (full.train_x[:1500], full.train_y[:1500]), slice(500)
    return Digits(*train, full.valid_x[valid], full.valid_y[valid])


@pytest.fixture(autouse=True)
def on_the_cpu(monkeypatch):
    monkeypatch.setenv("MNIST_BASICS_DEVICE", "cpu")


quick = partial(train_ten_digits, epochs=1, progress=False)


def test_the_published_counts_of_all_ten_digits():
    full = mnist_full()
    assert len(full.train_x) == 60_000 and len(full.valid_x) == 10_000
    counts = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert full.train_y.bincount().tolist() == counts


def test_the_images_held_out_are_training_images_and_none_is_lost(few):
    kept = hold_out(few, 400)
    assert len(kept.train_x) == len(kept.train_y) == 1100 and len(kept.valid_x) == 400
    both = torch.cat([kept.train_x, kept.valid_x]).flatten(1)
    labels = torch.cat([kept.train_y, kept.valid_y])
    pairs = {(x.numpy().tobytes(), y.item()) for x, y in zip(both, labels)}
    trained = {
        (x.numpy().tobytes(), y.item()) for x, y in zip(few.train_x, few.train_y)
    }
    assert pairs == trained and len(pairs) == 1500


def test_the_seed_draws_the_images_held_out(few):
    first, again, other = (hold_out(few, 400, seed).valid_x for seed in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)
    counts = hold_out(few, 400, 1).valid_y.bincount(minlength=10)
    assert counts.min() > 20, "a random draw, of all digits"


@pytest.mark.parametrize("n", [0, 1500, 0.5])
def test_all_or_none_cannot_be_held_out(few, n):
    with pytest.raises(ValueError, match="^n must be"):
        hold_out(few, n)


def test_without_digits_it_learns_from_50_000_and_never_sees_the_test_images(
    few, monkeypatch
):
    monkeypatch.setattr("mnist_basics.ten_digits.mnist_full", lambda: few)
    small = partial(hold_out, n=500)
    monkeypatch.setattr("mnist_basics.ten_digits.hold_out", small)
    learn = quick()
    held = small(few)
    assert len(learn.dls.train.x) == len(held.train_x) == 1000
    expected = held.valid_x[held.valid_y.argsort(stable=True)][:, None].float() / 255
    assert torch.equal(learn.dls.valid.x, expected)


@pytest.mark.parametrize("width, n_out", [(8, 10), (3, 2)])
def test_the_cnn_for_digits_has_five_convolutions(width, n_out):
    net = digit_cnn(width, n_out)
    assert net(torch.rand(7, 1, 28, 28)).shape == (7, n_out)
    convolutions = [layer for layer in net if isinstance(layer, nn.Conv2d)]
    assert [layer.kernel_size[0] for layer in convolutions] == [5, 5, 3, 3, 3]
    channels = [width, 2 * width, 4 * width, 8 * width, n_out]
    assert [layer.out_channels for layer in convolutions] == channels
    assert sum(isinstance(layer, nn.BatchNorm2d) for layer in net) == 4


@pytest.mark.parametrize("sizes", [(0, 10), (8, 0)])
def test_a_cnn_without_kernels_or_outputs_is_refused(sizes):
    with pytest.raises(ValueError, match="a whole number, 1 or more"):
        digit_cnn(*sizes)


def test_training_ten_digits_follows_its_seed(few):
    nets = [quick(few, seed=seed).model for seed in (1, 1, 2)]
    first, again, other = [
        torch.cat([p.flatten() for p in net.parameters()]) for net in nets
    ]
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_the_seed_draws_the_first_weights_too(few):
    class First(Callback):
        def before_fit(self, learn):
            self.weight = learn.model[0].weight.detach().clone()

    first, other = First(), First()
    quick(few, seed=1, cbs=(first,))
    quick(few, seed=2, cbs=(other,))
    assert not torch.equal(first.weight, other.weight)


def test_shifts_move_the_images_that_are_trained_on(few):
    class Looks(Callback):
        def after_loss(self, learn):
            self.xb = learn.xb

    plain, shifted, again = Looks(), Looks(), Looks()
    quick(few, cbs=(plain,))
    quick(few, cbs=(RandomShift(2), shifted))
    quick(few, cbs=(RandomShift(2), again))
    assert not torch.equal(plain.xb, shifted.xb)
    assert torch.equal(shifted.xb, again.xb)


def test_training_ten_digits_learns_and_takes_its_settings(few):
    shift = RandomShift(1)
    learn = quick(few, epochs=12, width=4, cbs=[shift], smoothing=0.1)
    assert learn.recorder.values[-1][2] > 0.8
    assert learn.model[0].out_channels == 4 and len(learn.recorder.seconds) == 12
    assert learn.loss_func.keywords == {"label_smoothing": 0.1}


def test_there_is_an_output_for_each_kind_of_digit(few):
    here = [y < 4 for y in (few.train_y, few.valid_y)]
    train, valid = (few.train_x, few.train_y), (few.valid_x, few.valid_y)
    four = Digits(*(t[here[0]] for t in train), *(t[here[1]] for t in valid))
    assert quick(four).model[-2].out_channels == 4


def learner_of(x, model):
    batches = Batches(x, torch.zeros(len(x)), len(x), device="cpu")
    return Learner(DataLoaders(batches, batches), model, progress=False)


def test_a_random_shift_moves_each_image_and_loses_no_ink():
    x = torch.zeros(200, 2, 9, 9)
    x[:, :, 4, 3] = torch.arange(1.0, 201)[:, None]
    learn = learner_of(x, nn.Flatten())
    learn.xb = x
    torch.manual_seed(0)
    RandomShift(2).before_batch(learn)
    assert learn.xb.shape == x.shape
    torch.testing.assert_close(learn.xb.sum((2, 3)), x.sum((2, 3)))
    places = {(row - 4, col - 3) for _, _, row, col in learn.xb.nonzero().tolist()}
    two = range(-2, 3)
    assert places == {(down, right) for down in two for right in two}


def test_predict_shifted_is_the_mean_over_all_places():
    torch.manual_seed(0)
    x, expected = torch.rand(5, 1, 9, 9), 0
    learn = learner_of(x, nn.Sequential(nn.Flatten(), nn.Linear(81, 3)))
    padded = F.pad(x, [1] * 4)
    for down in range(3):
        for right in range(3):
            part = padded[:, :, down : down + 9, right : right + 9]
            expected = expected + learn.predict(part).softmax(1) / 9
    torch.testing.assert_close(predict_shifted(learn, x, by=1), expected)
    unmoved = learn.predict(x).softmax(1)
    torch.testing.assert_close(predict_shifted(learn, x, by=0), unmoved)
    single = learner_of(x, nn.Sequential(nn.Flatten(), nn.Linear(81, 1)))
    with pytest.raises(ValueError, match="n_out must be a whole number, 2 or more"):
        predict_shifted(single, x)


@pytest.mark.parametrize("by", [-1, 1.5])
def test_a_shift_by_no_whole_number_of_pixels_is_refused(by):
    x = torch.rand(5, 1, 9, 9)
    learn = learner_of(x, nn.Sequential(nn.Flatten(), nn.Linear(81, 3)))
    for shift in (RandomShift, partial(predict_shifted, learn, x)):
        with pytest.raises(ValueError, match="by must be a whole number, 0 or more"):
            shift(by)


def test_rows_of_pixels_cannot_be_shifted():
    x = torch.rand(5, 81)
    learn = learner_of(x, nn.Linear(81, 3))
    with pytest.raises(ValueError, match=r"\[N,C,rows,columns\], not \[5, 81\]"):
        predict_shifted(learn, x)
    with pytest.raises(ValueError, match=r"\[N,C,rows,columns\], not \[5, 81\]"):
        learn.fit(1, 0.1, cbs=[RandomShift(1)])
