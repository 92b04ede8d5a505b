"""The ResNet18 and its parts beside torchvision, bad input, and the same net twice."""

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
from mnist_basics.resnet18 import ResBlock, resnet18

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


def test_the_same_seed_gives_the_same_numbers_on_the_cpu(digits):
    x, y = as_images(digits, "train")

    def parameters(seed):
        torch.manual_seed(seed)
        generator = torch.Generator().manual_seed(seed)
        batches = list(islice(Batches(x, y, 32, True, "cpu", generator), 3))
        model = resnet18()
        adam = partial(torch.optim.AdamW, fused=True)
        options = {"metrics": class_accuracy, "device": "cpu", "progress": False}
        dls = DataLoaders(batches, batches[:1])
        learn = Learner(dls, model, F.cross_entropy, adam, **options)
        learn.fit(1, 0.003, [OneCycle(0.003)])
        return torch.cat([p.detach().flatten() for p in model.parameters()])

    once = parameters(7)
    assert torch.equal(once, parameters(7)) and not torch.equal(once, parameters(8))


def test_a_block_whose_last_gamma_is_zero_passes_its_input_on():
    torch.manual_seed(0)
    block, x = ResBlock(8, 8), torch.rand(3, 8, 5, 5)
    assert (block(x) - x).abs().max() > 0.1
    nn.init.zeros_(block.bn2.weight)
    assert torch.equal(block(x), x)
