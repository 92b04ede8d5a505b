"""10: what the notebook does not check; bad input, other sizes, another seed."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mnist_basics.convolutions import (
    apply_kernel,
    as_images,
    class_accuracy,
    convolve,
    edge_kernels,
    simple_cnn,
)
from mnist_basics.data import mnist_full
from mnist_basics.learner import DataLoaders, Learner
from mnist_basics.linear_model import Batches
from mnist_basics.optimizers import OneCycle


@pytest.mark.parametrize(
    "row, col, published", [(1, 1, "0"), (5, 7, "762"), (8, 18, "-29")]
)
def test_three_windows_as_published(row, col, published):
    image = mnist_full().train_x[12].float()  # 12.png
    answer = apply_kernel(image, row, col, edge_kernels()["top"])
    assert f"{answer:.0f}" == published


@pytest.mark.parametrize(
    "size, k, stride, padding",
    [
        ((28, 28), 3, 1, 0),
        ((28, 28), 3, 2, 1),
        ((9, 14), 5, 3, 2),
        ((3, 3), 3, 1, 0),
        ((1, 1), 3, 1, 1),
        ((8, 5), 1, 2, 0),
    ],
)
def test_convolve_is_conv2d(size, k, stride, padding):
    torch.manual_seed(0)
    image, kernel = torch.randn(size), torch.randn(k, k)
    expected = F.conv2d(image[None, None], kernel[None, None], None, stride, padding)
    ours = convolve(image, kernel, stride, padding)
    torch.testing.assert_close(ours, expected[0, 0], rtol=1e-4, atol=1e-5)


def test_a_kernel_lies_with_its_centre_on_the_place():
    torch.manual_seed(0)
    image, kernel = torch.randn(9, 12), torch.randn(5, 5)
    whole = convolve(image, kernel, padding=2)
    for row, col in ((2, 2), (6, 9), (4, 7)):
        answer = apply_kernel(image, row, col, kernel)
        torch.testing.assert_close(answer, whole[row, col], rtol=1e-4, atol=1e-5)
    whole_numbers = torch.arange(9).view(3, 3)
    assert apply_kernel(whole_numbers, 1, 1, torch.ones(3, 3, dtype=torch.long)) == 36


@pytest.mark.parametrize(
    "row, col", [(0, 5), (5, 0), (8, 5), (5, 11), (-3, 5), (5, -3)]
)
def test_a_window_that_leaves_the_image_is_refused(row, col):
    with pytest.raises(ValueError, match="leaves the image of 9×12. Stay 1 away"):
        apply_kernel(torch.zeros(9, 12), row, col, torch.zeros(3, 3))


NO_PLANES = [
    ((1, 28, 28), (3, 3), r"image .* \[rows, columns\], not \[1, 28, 28\]"),
    ((28, 28), (1, 3, 3), r"kernel .* \[rows, columns\], not \[1, 3, 3\]"),
    ((28, 28), (2, 2), "odd side, not 2×2"),
    ((28, 28), (3, 5), "square, with an odd side, not 3×5"),
]


@pytest.mark.parametrize("image, kernel, says", NO_PLANES)
def test_what_is_no_image_or_no_kernel_is_refused(image, kernel, says):
    image, kernel = torch.zeros(image), torch.zeros(kernel)
    with pytest.raises(ValueError, match=says):
        convolve(image, kernel)
    with pytest.raises(ValueError, match=says):
        apply_kernel(image, 5, 5, kernel)


@pytest.mark.parametrize(
    "options, says",
    [
        ({"stride": 0}, "stride must be a whole number, 1 or more"),
        ({"stride": 1.5}, "stride must be a whole number, 1 or more"),
        ({"padding": -1}, "padding must be a whole number, 0 or more"),
        ({}, "5×5 is larger than the padded image of 4×28"),
    ],
)
def test_convolve_refuses_what_fits_nowhere(options, says):
    with pytest.raises(ValueError, match=says):
        convolve(torch.zeros(4, 28), torch.zeros(5, 5), **options)


def test_each_edge_kernel_finds_its_own_side():
    square = torch.zeros(9, 9)
    square[3:6, 3:6] = 1
    places = {"top": (3, 4), "bottom": (5, 4), "left": (4, 3), "right": (4, 5)}
    kernels = edge_kernels()
    assert set(kernels) == set(places)
    for side, kernel in kernels.items():
        answers = {at: apply_kernel(square, *places[at], kernel) for at in places}
        assert max(answers, key=answers.get) == side and answers[side] == 3


def test_the_cnn_halves_the_image_five_times():
    net, x, sizes = simple_cnn(10), torch.rand(2, 1, 28, 28), []
    for layer in net:
        x = layer(x)
        if isinstance(layer, nn.Conv2d):
            sizes.append(tuple(x.shape[1:]))
    halved = [(8, 14, 14), (16, 7, 7), (32, 4, 4), (64, 2, 2), (10, 1, 1)]
    assert sizes == halved and x.shape == (2, 10)
    assert [type(layer) for layer in net[1::2]] == [nn.ReLU] * 4 + [nn.Flatten]
    with pytest.raises(ValueError, match="n_out"):
        simple_cnn(0)


@pytest.mark.parametrize("split", ["train", "valid"])
def test_images_and_their_targets_belong_together(digits, split):
    x, y = as_images(digits, split)
    assert x.shape == (len(y), 1, 28, 28)
    assert x.dtype == torch.float32 and y.dtype == torch.int64
    torch.testing.assert_close(x[y == 0, 0], digits.images(split, 3))
    torch.testing.assert_close(x[y == 1, 0], digits.images(split, 7))


def test_images_of_an_unknown_split_are_refused(digits):
    with pytest.raises(ValueError, match="split"):
        as_images(digits, "test")


def test_class_accuracy_takes_the_largest():
    logits = torch.tensor([[0.1, 0.2], [-1, -2], [3, 3.5]])
    targets = torch.tensor([1, 0, 0])
    torch.testing.assert_close(class_accuracy(logits, targets), torch.tensor(2 / 3))
    for wrong in (targets[:, None], targets[:2]):
        with pytest.raises(ValueError, match="targets need the same shape"):
            class_accuracy(logits, wrong)
    with pytest.raises(ValueError, match=r"\[N, n_out\], not \[3\]"):
        class_accuracy(logits[:, 0], targets)
    with pytest.raises(ValueError, match="n_out must be a whole number, 2 or more"):
        class_accuracy(logits[:, :1], targets)


def test_two_epochs_with_another_seed(digits):
    torch.manual_seed(1)
    generator = torch.Generator().manual_seed(1)
    train = Batches(*as_images(digits, "train"), 64, True, "cpu", generator)
    dls = DataLoaders(train, Batches(*as_images(digits, "valid"), 512, device="cpu"))
    adam, options = torch.optim.AdamW, {"metrics": class_accuracy, "progress": False}
    learn = Learner(dls, simple_cnn(), F.cross_entropy, adam, **options)
    learn.fit(2, 0.01, [OneCycle(0.01)])
    assert learn.recorder.values[-1][2] >= 0.985
