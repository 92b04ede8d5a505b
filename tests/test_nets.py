"""Modules 07 to 09: what their notebooks do not check; bad input, other sizes, other seeds, and the peers beside them."""
import time
import warnings
from functools import partial

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import nn

from mnist_basics.convolutions import apply_kernel, as_images, class_accuracy, convolve, edge_kernels, simple_cnn
from mnist_basics.learner import DataLoaders, Learner
from mnist_basics.linear_model import Batches, as_rows, batch_accuracy
from mnist_basics.resnet18 import Conv3x3, RandomShift, ResBlock, predict_shifted, resnet18
from mnist_basics.two_layer_net import simple_net

ADAM = partial(torch.optim.AdamW, fused=True)


def image_learner(digits, model, batch_size, seed, **options):
    """A Learner as the ladder makes it."""
    torch.manual_seed(seed)
    train = Batches(*as_images(digits, "train"), batch_size, True, "cpu", torch.Generator().manual_seed(seed))
    dls = DataLoaders(train, Batches(*as_images(digits, "valid"), 512, device="cpu"))
    return Learner(dls, model(), F.cross_entropy, ADAM, metrics=class_accuracy, progress=False, **options)


# 07


def test_the_net_is_two_linear_layers_with_a_bend():
    net = simple_net(5, 7, 3)
    x = torch.randn(11, 5)
    w1, b1, w2, b2 = net.parameters()
    torch.testing.assert_close(net(x), (x @ w1.T + b1).clamp_min(0) @ w2.T + b2)
    assert not torch.allclose(net(2 * x), 2 * net(x) - net(0 * x)), "without the bend it would be a straight line"
    assert sum(parameter.numel() for parameter in simple_net().parameters()) == 23_581


@pytest.mark.parametrize("sizes", [(0, 30, 1), (784, 0, 1), (784, 30, -1)])
def test_a_net_without_numbers_is_refused(sizes):
    with pytest.raises(ValueError, match="1 or more"):
        simple_net(*sizes)


@pytest.mark.figures
def test_07_forty_epochs_with_another_seed(digits):
    seed = 1
    torch.manual_seed(seed)
    train = Batches(*as_rows(digits, "train"), 256, True, "cpu", torch.Generator().manual_seed(seed))
    dls = DataLoaders(train, Batches(*as_rows(digits, "valid"), 256, device="cpu"))
    learn = Learner(dls, simple_net(), metrics=batch_accuracy, progress=False)
    learn.fit(40, 0.1)
    assert learn.recorder.values[-1][2] >= 0.975


# 08


@pytest.mark.parametrize("size, kernel, stride, padding", [
    ((28, 28), 3, 1, 0), ((28, 28), 3, 2, 1), ((9, 14), 5, 3, 2), ((3, 3), 3, 1, 0), ((1, 1), 3, 1, 1), ((8, 5), 1, 2, 0),
])
def test_convolve_is_conv2d(size, kernel, stride, padding):
    torch.manual_seed(0)
    image, weights = torch.randn(size), torch.randn(kernel, kernel)
    expected = F.conv2d(image[None, None], weights[None, None], stride=stride, padding=padding)[0, 0]
    torch.testing.assert_close(convolve(image, weights, stride, padding), expected, rtol=1e-4, atol=1e-5)


def test_a_kernel_lies_with_its_centre_on_the_place():
    torch.manual_seed(0)
    image, weights = torch.randn(9, 12), torch.randn(5, 5)
    whole = convolve(image, weights, padding=2)
    for row, col in ((2, 2), (6, 9), (4, 7)):
        torch.testing.assert_close(apply_kernel(image, row, col, weights), whole[row, col], rtol=1e-4, atol=1e-5)
    assert apply_kernel(torch.arange(9).view(3, 3), 1, 1, torch.ones(3, 3, dtype=torch.long)) == 36


@pytest.mark.parametrize("row, col", [(0, 5), (5, 0), (8, 5), (5, 11), (-3, 5), (5, -3)])
def test_a_window_that_leaves_the_image_is_refused(row, col):
    with pytest.raises(ValueError, match="leaves the image of 9×12"):
        apply_kernel(torch.zeros(9, 12), row, col, torch.zeros(3, 3))


@pytest.mark.parametrize("image, kernel, arguments, says", [
    ((1, 28, 28), (3, 3), {}, "\\[rows, columns\\], not \\[1, 28, 28\\]"),
    ((28, 28), (2, 2), {}, "odd side"),
    ((28, 28), (3, 5), {}, "square"),
    ((28, 28), (1, 3, 3), {}, "square"),
    ((28, 28), (3, 3), {"stride": 0}, "stride"),
    ((28, 28), (3, 3), {"padding": -1}, "padding"),
    ((4, 28), (5, 5), {}, "larger than the padded image of 4×28"),
])
def test_convolve_refuses_what_fits_nowhere(image, kernel, arguments, says):
    with pytest.raises(ValueError, match=says):
        convolve(torch.zeros(image), torch.zeros(kernel), **arguments)


def test_each_edge_kernel_finds_its_own_side():
    square = torch.zeros(9, 9)
    square[3:6, 3:6] = 1
    places = {"top": (3, 4), "bottom": (5, 4), "left": (4, 3), "right": (4, 5)}
    for side, kernel in edge_kernels().items():
        answers = {place: apply_kernel(square, *at, kernel).item() for place, at in places.items()}
        assert max(answers, key=answers.get) == side and answers[side] == 3


def test_the_cnn_halves_the_image_five_times():
    net, x, sizes = simple_cnn(10), torch.rand(2, 1, 28, 28), []
    for layer in net:
        x = layer(x)
        if isinstance(layer, nn.Conv2d):
            sizes.append((x.shape[1], x.shape[2], x.shape[3]))
    assert sizes == [(8, 14, 14), (16, 7, 7), (32, 4, 4), (64, 2, 2), (10, 1, 1)] and x.shape == (2, 10)
    with pytest.raises(ValueError, match="n_out"):
        simple_cnn(0)


def test_images_and_their_targets_belong_together(digits):
    for split in ("train", "valid"):
        x, y = as_images(digits, split)
        assert x.shape == (len(y), 1, 28, 28) and x.dtype == torch.float32 and y.dtype == torch.int64
        torch.testing.assert_close(x[y == 0, 0], digits.images(split, 3))
        torch.testing.assert_close(x[y == 1, 0], digits.images(split, 7))
    with pytest.raises(ValueError, match="split"):
        as_images(digits, "test")


def test_class_accuracy_takes_the_largest():
    logits, targets = torch.tensor([[0.1, 0.2], [-1, -2], [3, 3.5]]), torch.tensor([1, 0, 0])
    torch.testing.assert_close(class_accuracy(logits, targets), torch.tensor(2 / 3))
    for wrong in (targets[:, None], targets[:2]):
        with pytest.raises(ValueError, match=r"targets \[N\]"):
            class_accuracy(logits, wrong)


@pytest.mark.figures
def test_08_two_epochs_with_another_seed(digits):
    learn = image_learner(digits, simple_cnn, 64, seed=1)
    learn.fit_one_cycle(2, 0.01)
    assert learn.recorder.values[-1][2] >= 0.985


# 09


@pytest.mark.parametrize("in_channels, n_out, size", [(1, 2, 28), (3, 1000, 64)])
def test_the_resnet_equals_torchvisions(in_channels, n_out, size):
    torch.manual_seed(0)
    theirs = torchvision.models.resnet18(num_classes=n_out)
    if in_channels != 3:
        theirs.conv1 = nn.Conv2d(in_channels, 64, 7, 2, 3, bias=False)
    ours = resnet18(n_out, in_channels)
    ours.load_state_dict(theirs.state_dict())
    assert [(name, p.shape) for name, p in ours.named_parameters()] == [(name, p.shape) for name, p in theirs.named_parameters()]
    x, y = torch.rand(6, in_channels, size, size), torch.arange(6) % n_out
    losses = []
    for model in (ours, theirs):
        output = model(x)
        loss = F.cross_entropy(output, y)
        loss.backward()
        losses.append((output, loss))
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-5, atol=1e-5)
    for our, their in zip(ours.parameters(), theirs.parameters()):
        torch.testing.assert_close(our.grad, their.grad, rtol=1e-5, atol=1e-5)
    for our, their in zip(ours.buffers(), theirs.buffers()):  # the running means and variances
        torch.testing.assert_close(our, their, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(ours.eval()(x), theirs.eval()(x), rtol=1e-5, atol=1e-5)
    theirs.load_state_dict(ours.state_dict())


def test_the_weights_start_as_torchvisions_do():
    torch.manual_seed(0)
    ours, theirs = resnet18(2, 3), torchvision.models.resnet18(num_classes=2)
    for (name, our), their in zip(ours.named_parameters(), theirs.parameters()):
        if our.ndim == 4:
            torch.testing.assert_close(our.std(), their.std(), rtol=0.05, atol=0, msg=name)
        elif "bn" in name:
            assert torch.equal(our, their), name


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("size", [(1, 1), (1, 2), (2, 1), (2, 2), (2, 3), (3, 3), (7, 4)])
def test_a_convolution_that_leaves_padding_out_equals_pytorchs(size, stride):
    torch.manual_seed(0)
    conv, x = Conv3x3(4, 6, stride), torch.randn(5, 4, *size, requires_grad=True)
    results = []
    for output in (conv(x), F.conv2d(x, conv.weight, stride=stride, padding=1)):
        results.append([output, *torch.autograd.grad(output.square().sum(), (x, conv.weight))])
    torch.testing.assert_close(*results, rtol=1e-4, atol=1e-5)


def test_a_single_pixel_meets_the_middle_weights_only(monkeypatch):
    def refuse(*_):
        raise AssertionError("a whole convolution, for one pixel")
    monkeypatch.setattr(nn.Conv2d, "forward", refuse)
    conv = Conv3x3(4, 6)
    conv(torch.randn(5, 4, 1, 1)).sum().backward()
    assert conv.weight.grad[:, :, 1, 1].count_nonzero() == 24 == conv.weight.grad.count_nonzero()


@pytest.mark.parametrize("n_in, n_out, stride", [(8, 8, 1), (8, 8, 2), (8, 12, 1), (8, 12, 2)])
def test_a_block_equals_torchvisions(n_in, n_out, stride):
    torch.manual_seed(0)
    ours = ResBlock(n_in, n_out, stride)
    shortcut = nn.Sequential(nn.Conv2d(n_in, n_out, 1, stride, bias=False), nn.BatchNorm2d(n_out))
    theirs = torchvision.models.resnet.BasicBlock(n_in, n_out, stride, None if (n_in, stride) == (n_out, 1) else shortcut)
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(3, n_in, 10, 10)
    torch.testing.assert_close(ours(x), theirs(x))


def test_a_resnet_without_channels_is_refused():
    for sizes in ((0, 1), (2, 0)):
        with pytest.raises(ValueError, match="1 or more"):
            resnet18(*sizes)


def test_a_random_shift_moves_each_image_and_loses_no_ink():
    x = torch.zeros(200, 2, 9, 9)
    x[:, :, 4, 3] = torch.arange(1.0, 201)[:, None]
    batches = Batches(x, torch.zeros(200), 200, device="cpu")
    learn = Learner(DataLoaders(batches, batches), nn.Flatten(), progress=False)
    learn.xb = x
    torch.manual_seed(0)
    RandomShift(2).before_batch(learn)
    assert learn.xb.shape == x.shape
    torch.testing.assert_close(learn.xb.sum((2, 3)), x.sum((2, 3)))
    places = {(row - 4, col - 3) for _, _, row, col in learn.xb.nonzero().tolist()}
    assert places == {(down, right) for down in range(-2, 3) for right in range(-2, 3)}


def test_predict_shifted_is_the_mean_over_all_places():
    torch.manual_seed(0)
    x = torch.rand(5, 1, 9, 9)
    batches = Batches(x, torch.zeros(5), 5, device="cpu")
    learn = Learner(DataLoaders(batches, batches), nn.Sequential(nn.Flatten(), nn.Linear(81, 3)), progress=False)
    padded, expected = F.pad(x, [1] * 4), 0
    for down in range(3):
        for right in range(3):
            expected = expected + learn.predict(padded[:, :, down:down + 9, right:right + 9]).softmax(1) / 9
    torch.testing.assert_close(predict_shifted(learn, x, by=1), expected)
    torch.testing.assert_close(predict_shifted(learn, x, by=0), learn.predict(x).softmax(1))
    with pytest.raises(ValueError, match="by"):
        predict_shifted(learn, x, by=-1)
    for by in (-1, 1.5):
        with pytest.raises(ValueError, match="by"):
            RandomShift(by)
    with pytest.raises(ValueError, match=r"\[N,channels,rows,columns\], not \[5, 81\]"):
        predict_shifted(learn, x.flatten(1))


def test_the_same_seed_gives_the_same_numbers_on_the_cpu(digits):
    def parameters(seed):
        learn = image_learner(digits, resnet18, 32, seed, channels_last=True)
        learn.dls = DataLoaders([batch for _, batch in zip(range(3), learn.dls.train)], learn.dls.valid)
        learn.fit_one_cycle(1, 0.003, [RandomShift(1)])
        return torch.cat([parameter.detach().flatten() for parameter in learn.model.parameters()])
    assert torch.equal(parameters(7), parameters(7)) and not torch.equal(parameters(7), parameters(8))


@pytest.mark.figures
def test_09_one_epoch_takes_half_the_time_of_fastais(digits):
    """In turns, on equally many images, each with its own batches: fastai reads PNGs, as its users do."""
    import fastai.callback.progress  # noqa: F401
    from fastai.vision.all import ImageDataLoaders, vision_learner

    from mnist_basics.data import sample_folder
    images, ours, theirs = 2560, [], []
    learn = image_learner(digits, resnet18, 128, 0, channels_last=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dls = ImageDataLoaders.from_folder(sample_folder(digits.source), valid="valid")
        peer = vision_learner(dls, torchvision.models.resnet18, pretrained=False, loss_func=F.cross_entropy)
        for turn in range(2):
            for learner, times in ((learn, ours), (peer, theirs)):
                start = time.perf_counter()
                _first_images(learner, images)
                times.append(time.perf_counter() - start)
    ratio = min(theirs) / min(ours)
    print(f"fastai's vision_learner takes {ratio:.2f} times as long as ours")
    assert ratio >= 2, f"fastai {theirs}, ours {ours}"


def _first_images(learn, images):
    """Train on so many images, in the way of each Learner, without validation."""
    if isinstance(learn, Learner):
        train, whole = learn.dls.train, learn.dls
        batches = [batch for _, batch in zip(range(images // train.batch_size), train)]
        learn.dls = DataLoaders(batches, [batches[0]])
        learn.fit_one_cycle(1, 0.003)
        learn.dls = whole
    else:
        from fastai.callback.training import ShortEpochCallback
        part = images / (len(learn.dls.train) * learn.dls.bs)
        with learn.no_bar(), learn.no_logging():
            learn.fit_one_cycle(1, 0.1, cbs=ShortEpochCallback(part, short_valid=True))
