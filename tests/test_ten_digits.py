"""All ten digits: the net, its training, and the average of its weights."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mnist_basics.convolutions import class_accuracy
from mnist_basics.data import Digits, mnist_full
from mnist_basics.learner import Callback, DataLoaders, Learner
from mnist_basics.linear_model import Batches
from mnist_basics.ten_digits import WeightAverage, digit_cnn, train_ten_digits


@pytest.fixture(scope="module")
def few():
    "A few of all ten digits."
    full = mnist_full()
    train, valid = (full.train_x[:1500], full.train_y[:1500]), slice(500)
    return Digits(*train, full.valid_x[valid], full.valid_y[valid])


quick = partial(train_ten_digits, epochs=1, device="cpu", progress=False)


def test_the_published_counts_of_all_ten_digits():
    full = mnist_full()
    assert len(full.train_x) == 60_000 and len(full.valid_x) == 10_000
    counts = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert full.train_y.bincount().tolist() == counts


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
    quick(few, shift=2, cbs=(shifted,))
    quick(few, shift=2, cbs=(again,))
    assert not torch.equal(plain.xb, shifted.xb)
    assert torch.equal(shifted.xb, again.xb)


def test_training_ten_digits_learns_and_takes_its_settings(few):
    learn = quick(few, epochs=12, width=4, shift=1, smoothing=0.1)
    assert learn.recorder.values[-1][2] > 0.8
    assert learn.model[0].out_channels == 4 and len(learn.recorder.seconds) == 12
    assert learn.loss_func.keywords == {"label_smoothing": 0.1}


def test_there_is_an_output_for_each_kind_of_digit(few):
    here = [y < 4 for y in (few.train_y, few.valid_y)]
    train, valid = (few.train_x, few.train_y), (few.valid_x, few.valid_y)
    four = Digits(*(t[here[0]] for t in train), *(t[here[1]] for t in valid))
    assert quick(four).model[-2].out_channels == 4


class Last(Callback):
    "Keeps the weights after each batch."

    def before_fit(self, learn):
        self.weights = []

    def after_batch(self, learn):
        self.weights.append([p.detach().clone() for p in learn.model.parameters()])


def assert_equal(these, those):
    exactly = {"rtol": 0, "atol": 0, "check_stride": False}
    torch.testing.assert_close(these, those, **exactly)


def test_a_weight_average_does_not_disturb_the_training(few):
    plain, averaged, average = Last(), Last(), WeightAverage(0.9)
    quick(few, epochs=3, cbs=(plain,))
    learn = quick(few, epochs=3, cbs=(averaged, average))
    assert_equal(averaged.weights, plain.weights)
    last = plain.weights[-1]
    assert not torch.equal(learn.model[0].weight, last[0]), "it ends with the average"
    average.swap()
    assert_equal(list(learn.model.parameters()), last)


def test_validation_is_taken_with_the_average(few):
    class Looks(Callback):
        def after_epoch(self, learn):
            self.weight = learn.model[0].weight.detach().clone()

    looks, last = Looks(), Last()
    learn = quick(few, cbs=(last, WeightAverage(0.9), looks))
    assert torch.equal(looks.weight, learn.model[0].weight)
    assert not torch.equal(looks.weight, last.weights[-1][0])
    again = pytest.approx(learn.validate(), abs=1e-6)
    assert learn.recorder.values[-1][1:] == again


def test_an_interrupted_fit_ends_with_the_average_too(few):
    class Stop(Callback):
        def after_batch(self, learn):
            if learn.epoch == 1 and learn.batch == 2:
                raise KeyboardInterrupt

    torch.manual_seed(1)
    average, last = WeightAverage(0.9), Last()
    x = few.train_x[:, None].float() / 255
    batches = Batches(x, few.train_y, 128, device="cpu")
    options = {"metrics": class_accuracy, "progress": False}
    learn = Learner(
        DataLoaders(batches, batches), digit_cnn(), F.cross_entropy, **options
    )
    with pytest.raises(KeyboardInterrupt):
        learn.fit(3, 0.001, cbs=[last, average, Stop()])
    assert not torch.equal(learn.model[0].weight, last.weights[-1][0])
    average.swap()
    assert torch.equal(learn.model[0].weight, last.weights[-1][0])


def test_an_average_without_memory_is_the_weights_themselves(few):
    last = Last()
    learn = quick(few, cbs=(last, WeightAverage(0)))
    torch.testing.assert_close(list(learn.model.parameters()), last.weights[-1])


@pytest.mark.parametrize("decay", [1, -0.1, float("nan")])
def test_a_decay_that_makes_no_sense_is_refused(decay):
    with pytest.raises(ValueError, match="decay"):
        WeightAverage(decay)
