"""The ResNet18 and its parts beside torchvision's, bad input, and the shifts."""

from functools import partial
from itertools import islice

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import nn

from mnist_basics.convolutions import as_images, class_accuracy
from mnist_basics.learner import DataLoaders, Learner
from mnist_basics.linear_model import Batches
from mnist_basics.optimizers import OneCycle
from mnist_basics.resnet18 import (
    Conv3x3,
    RandomShift,
    ResBlock,
    predict_shifted,
    resnet18,
)

close = partial(torch.testing.assert_close, rtol=1e-5, atol=1e-5)


def names_and_shapes(net):
    return [(name, parameter.shape) for name, parameter in net.named_parameters()]


@pytest.mark.parametrize("in_channels, n_out, size", [(1, 2, 28), (3, 1000, 64)])
def test_the_resnet_equals_torchvisions(in_channels, n_out, size):
    torch.manual_seed(0)
    theirs = torchvision.models.resnet18(num_classes=n_out)
    if in_channels != 3:
        theirs.conv1 = nn.Conv2d(in_channels, 64, 7, 2, 3, bias=False)
    ours = resnet18(n_out, in_channels)
    ours.load_state_dict(theirs.state_dict())
    assert names_and_shapes(ours) == names_and_shapes(theirs)
    x, y = torch.rand(6, in_channels, size, size), torch.arange(6) % n_out
    losses = []
    for model in (ours, theirs):
        output = model(x)
        loss = F.cross_entropy(output, y)
        loss.backward()
        losses.append((output, loss))
    close(losses[0], losses[1])
    for our, their in zip(ours.parameters(), theirs.parameters()):
        close(our.grad, their.grad)
    for our, their in zip(ours.buffers(), theirs.buffers()):
        close(our, their)  # the running means and variances
    close(ours.eval()(x), theirs.eval()(x))
    theirs.load_state_dict(ours.state_dict())


def test_the_weights_start_as_torchvisions_do():
    torch.manual_seed(0)
    ours, theirs = resnet18(2, 3), torchvision.models.resnet18(num_classes=2)
    for (name, our), their in zip(ours.named_parameters(), theirs.parameters()):
        if our.ndim == 4:
            wide = {"rtol": 0.05, "atol": 0, "msg": name}
            torch.testing.assert_close(our.std(), their.std(), **wide)
        elif "bn" in name:
            assert torch.equal(our, their), name


SIZES = [(1, 1), (1, 2), (2, 1), (2, 2), (2, 3), (3, 3), (7, 4)]


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("size", SIZES)
def test_a_convolution_that_leaves_padding_out_equals_pytorchs(size, stride):
    torch.manual_seed(0)
    conv, x = Conv3x3(4, 6, stride), torch.randn(5, 4, *size, requires_grad=True)
    results = []
    for output in (conv(x), F.conv2d(x, conv.weight, stride=stride, padding=1)):
        gradients = torch.autograd.grad(output.square().sum(), (x, conv.weight))
        results.append([output, *gradients])
    torch.testing.assert_close(*results, rtol=1e-4, atol=1e-5)


def test_a_single_pixel_meets_the_middle_weights_only(monkeypatch):
    def refuse(*_):
        raise AssertionError("a whole convolution, for one pixel")

    monkeypatch.setattr(nn.Conv2d, "forward", refuse)
    conv = Conv3x3(4, 6)
    conv(torch.randn(5, 4, 1, 1)).sum().backward()
    middle = conv.weight.grad[:, :, 1, 1]
    assert middle.count_nonzero() == 24 == conv.weight.grad.count_nonzero()


BLOCKS = [(8, 8, 1), (8, 8, 2), (8, 12, 1), (8, 12, 2)]


@pytest.mark.parametrize("n_in, n_out, stride", BLOCKS)
def test_a_block_equals_torchvisions(n_in, n_out, stride):
    torch.manual_seed(0)
    ours, shortcut = ResBlock(n_in, n_out, stride), None
    if (n_in, stride) != (n_out, 1):
        convolution = nn.Conv2d(n_in, n_out, 1, stride, bias=False)
        shortcut = nn.Sequential(convolution, nn.BatchNorm2d(n_out))
    theirs = torchvision.models.resnet.BasicBlock(n_in, n_out, stride, shortcut)
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(3, n_in, 10, 10)
    torch.testing.assert_close(ours(x), theirs(x))


@pytest.mark.parametrize("sizes", [(0, 1), (2, 0), (2.5, 1)])
def test_a_resnet_without_channels_is_refused(sizes):
    with pytest.raises(ValueError, match="a whole number, 1 or more"):
        resnet18(*sizes)


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


def test_the_same_seed_gives_the_same_numbers_on_the_cpu(digits):
    x, y = as_images(digits, "train")

    def parameters(seed):
        torch.manual_seed(seed)
        generator = torch.Generator().manual_seed(seed)
        batches = list(islice(Batches(x, y, 32, True, "cpu", generator), 3))
        model = resnet18().to(memory_format=torch.channels_last)
        adam = partial(torch.optim.AdamW, fused=True)
        options = {"metrics": class_accuracy, "device": "cpu", "progress": False}
        dls = DataLoaders(batches, batches[:1])
        learn = Learner(dls, model, F.cross_entropy, adam, **options)
        learn.fit(1, 0.003, [OneCycle(0.003), RandomShift(1)])
        return torch.cat([p.detach().flatten() for p in model.parameters()])

    once = parameters(7)
    assert torch.equal(once, parameters(7)) and not torch.equal(once, parameters(8))
