"""Ours beside its peers: `make bench`, or `python benchmarks/run.py [row …]`.

Prints each row when it is measured, and writes them to results-cpu.md or, where there is CUDA, to results-cuda.md.
What stands behind the rows is explained in README.md.
"""
import contextlib
import datetime
import functools
import gzip
import importlib.metadata
import statistics
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Annotated, Callable, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
import torchvision
import typer
from PIL import Image
from torch import nn

from mnist_basics.convolutions import as_images, class_accuracy
from mnist_basics.data import IDX, DataError, Digits, find_local, mnist_full, mnist_sample, sample_folder
from mnist_basics.learner import DataLoaders, Learner
from mnist_basics.linear_model import (
    Batches,
    as_rows,
    batch_accuracy,
    calc_grad,
    default_device,
    init_params,
    linear,
    mnist_loss,
    train_epoch,
    validate_epoch,
)
from mnist_basics.resnet18 import resnet18
from mnist_basics.speed import Timing, compare, describe_machine
from mnist_basics.ten_digits import digit_cnn
from mnist_basics.two_layer_net import simple_net

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import fastai.vision.all as fastai

HERE = Path(__file__).parent


class Row(NamedTuple):
    "One line of the table."

    work: str
    peer: str
    theirs: Timing
    ours: Timing
    asked: str  # what the ratio should be
    accuracies: tuple[float, float] | None = None  # theirs, ours; medians


class Bench(NamedTuple):
    "What the rows are measured on."

    sample: Digits
    device: torch.device
    repeat: int = 5
    share: float = 1.0  # of the usual number of epochs; the tests take less

    def epochs(self, usual):
        return max(1, round(self.share * usual))


def side_by_side(bench, theirs, ours, **settings):
    "Two timings and, as each function returns its accuracy or None, the medians of these."
    found = {"theirs": [], "ours": []}
    works = {name: lambda name=name, work=work: found[name].append(work())
             for name, work in (("theirs", theirs), ("ours", ours)) if work}
    timings = compare(works, **{"repeat": bench.repeat, "device": bench.device} | settings)
    return *timings.values(), tuple(statistics.median(found[name]) if found[name][0] else None for name in works)


def decoding(bench):
    files = sorted(sample_folder(bench.sample.source).glob("*/*/*.png"))

    def theirs():
        torch.stack([torch.tensor(np.array(Image.open(file))) for file in files])

    their_time, our_time, _ = side_by_side(bench, theirs, lambda: mnist_sample(bench.sample.source) and None)
    return Row(f"the {len(files):,} images as tensors, warm", "PIL in a list comprehension", their_time, our_time, "≥ 30")


def pairs_of(bench, split):
    "fastai's `DataLoader` over a list of pairs, as in the chapter."
    x, y = as_rows(bench.sample, split)
    return fastai.DataLoader(list(zip(x, y)), batch_size=256, device=bench.device)


def batches_of(bench, split):
    return Batches(*as_rows(bench.sample, split), 256, device=bench.device)


def linear_model(bench):
    epochs = bench.epochs(20)
    their_train, their_valid = pairs_of(bench, "train"), pairs_of(bench, "valid")
    our_train, our_valid = batches_of(bench, "train"), batches_of(bench, "valid")

    def params():
        torch.manual_seed(42)
        return init_params((784, 1), device=bench.device), init_params(1, device=bench.device)

    def theirs():  # gradient, step, clear; then the mean of the batches' accuracies
        weights, bias = params()
        for _ in range(epochs):
            for xb, yb in their_train:
                calc_grad(xb, yb, lambda x: linear(x, weights, bias))
                for param in (weights, bias):
                    param.data -= param.grad * 1.0
                    param.grad.zero_()
            means = [batch_accuracy(linear(xb, weights, bias), yb) for xb, yb in their_valid]
            result = torch.stack(means).mean().item()
        return result

    def ours():
        weights, bias = params()
        for _ in range(epochs):
            train_epoch(lambda x: linear(x, weights, bias), our_train, 1.0, (weights, bias))
            result = validate_epoch(lambda x: linear(x, weights, bias), our_valid)
        return result

    their_time, our_time, accuracies = side_by_side(bench, theirs, ours)
    peer = "the chapter's loop over fastai's `DataLoader(list(zip(x, y)))`"
    return Row(f"linear model, {epochs} epochs", peer, their_time, our_time, "≥ 3", accuracies)


def net_of(device):
    torch.manual_seed(42)
    return simple_net().to(device)


def our_net(dls, device, epochs):
    learn = Learner(dls, net_of(device), metrics=batch_accuracy, device=device, progress=False)
    learn.fit(epochs, 0.1)
    return learn.recorder.values[-1][2]


def two_layer_net(bench):
    epochs = bench.epochs(40)
    their_dls = fastai.DataLoaders(pairs_of(bench, "train"), pairs_of(bench, "valid"), device=bench.device)
    our_dls = DataLoaders(batches_of(bench, "train"), batches_of(bench, "valid"))

    def theirs():
        learn = fastai.Learner(their_dls, net_of(bench.device), mnist_loss, fastai.SGD, metrics=batch_accuracy)
        with quiet(learn):
            learn.fit(epochs, 0.1)
        return learn.recorder.values[-1][2]

    their_time, our_time, accuracies = side_by_side(bench, theirs, lambda: our_net(our_dls, bench.device, epochs))
    asked = "≥ 8" if bench.device.type == "cuda" else "≥ 3"
    return Row(f"two-layer net, {epochs} epochs", "fastai's `Learner` over the same", their_time, our_time, asked, accuracies)


def overhead(bench):
    epochs = bench.epochs(40)
    train, valid = batches_of(bench, "train"), batches_of(bench, "valid")

    def theirs():
        model = net_of(bench.device)
        params = list(model.parameters())
        for _ in range(epochs):
            for start in range(0, len(train.x), 256):
                mnist_loss(model(train.x[start:start + 256]), train.y[start:start + 256]).backward()
                with torch.no_grad():
                    for param in params:
                        param -= 0.1 * param.grad
                        param.grad = None
            right = 0
            with torch.no_grad():
                for start in range(0, len(valid.x), 256):
                    preds, targets = model(valid.x[start:start + 256]), valid.y[start:start + 256]
                    mnist_loss(preds, targets)
                    right = right + batch_accuracy(preds, targets) * len(targets)
        return (right / len(valid.x)).item()

    ours = functools.partial(our_net, DataLoaders(train, valid), bench.device, epochs)
    their_time, our_time, accuracies = side_by_side(bench, theirs, ours)
    work = f"two-layer net, {epochs} epochs"
    return Row(work, "a bare loop over tensor slices, nothing else", their_time, our_time, "≥ 0.85", accuracies)


def from_the_start(learn, epochs, lr, fit):
    "A function that trains `learn` from its first weights again; a compiled model stays compiled."
    first = {name: tensor.clone() for name, tensor in learn.model.state_dict().items()}

    def train():
        learn.model.load_state_dict(first)
        learn.opt = None
        fit(learn, epochs, lr)
        return learn.recorder.values[-1][2]

    return train


def our_learner(train, valid, model, **options):
    "A Learner for images, with what makes it fast on a graphics processor where there is one (notebook 11)."
    if train.device.type == "cuda":
        bfloat16 = torch.cuda.is_bf16_supported(including_emulation=False)
        options |= {"amp": bfloat16, "channels_last": True, "compile": "reduce-overhead"}
    adam = functools.partial(torch.optim.AdamW, fused=True)
    dls = DataLoaders(train, valid)
    return Learner(dls, model, F.cross_entropy, adam, metrics=class_accuracy, progress=False, **options)


def warm_ups(device):
    "On a graphics processor the first epochs compile the model and record what is compiled."
    return 3 if device.type == "cuda" else 1


def resnet_epoch(bench):
    batch_size = min(128, len(bench.sample.train_y) // 2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        folder = sample_folder(bench.sample.source)
        their_dls = fastai.ImageDataLoaders.from_folder(folder, valid="valid", bs=batch_size, device=bench.device)
    settings = {"pretrained": False, "loss_func": F.cross_entropy, "metrics": fastai.accuracy}
    torch.manual_seed(42)
    their_learner = fastai.vision_learner(their_dls, torchvision.models.resnet18, **settings)

    def their_fit(learn, epochs, lr):
        with quiet(learn):
            learn.fit_one_cycle(epochs, lr)

    train = Batches(*as_images(bench.sample, "train"), batch_size, True, bench.device)
    valid = Batches(*as_images(bench.sample, "valid"), batch_size, device=bench.device)
    theirs = from_the_start(their_learner, 1, 0.1, their_fit)
    ours = from_the_start(our_learner(train, valid, resnet18(), channels_last=True), 1, 0.003, Learner.fit_one_cycle)
    their_time, our_time, accuracies = side_by_side(bench, theirs, ours, warmup=warm_ups(bench.device))
    asked = "≥ 5; ours ≤ 0.5 s at 0.995" if bench.device.type == "cuda" else "≥ 2"
    peer = "fastai's `vision_learner` on the folder"
    return Row(f"ResNet18, one epoch, batches of {batch_size}", peer, their_time, our_time, asked, accuracies)


class ExampleNet(nn.Module):
    "The net of the usual PyTorch example: two convolutions, two linear layers, dropout."

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(1, 32, 3), nn.ReLU(), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2))
        self.classify = nn.Sequential(nn.Dropout(0.25), nn.Flatten(), nn.Linear(9216, 128), nn.ReLU(),
                                      nn.Dropout(0.5), nn.Linear(128, 10), nn.LogSoftmax(1))

    def forward(self, x):
        return self.classify(self.features(x))


def torchvision_sets(root):
    "torchvision's MNIST, training and test, on a copy of the four files in the folder it wants."
    raw = Path(root) / "MNIST" / "raw"
    raw.mkdir(parents=True)
    folder = find_local("full").path
    for name in IDX:
        plain = folder / name
        content = plain.read_bytes() if plain.is_file() else gzip.decompress((folder / f"{name}.gz").read_bytes())
        (raw / name).write_bytes(content)
    steps = [torchvision.transforms.ToTensor(), torchvision.transforms.Normalize((0.1307,), (0.3081,))]
    return [torchvision.datasets.MNIST(root, train, torchvision.transforms.Compose(steps)) for train in (True, False)]


def example_to_99(sets, device, most=5):
    "Train as the usual PyTorch example does, until 0.99 of the test images are right; that accuracy, and the epochs."
    torch.manual_seed(42)
    settings = {"num_workers": 1, "persistent_workers": True, "pin_memory": True} if device.type == "cuda" else {}
    train = torch.utils.data.DataLoader(sets[0], batch_size=64, shuffle=True, **settings)
    valid = torch.utils.data.DataLoader(sets[1], batch_size=1000, **settings)
    model = ExampleNet().to(device)
    optimizer = torch.optim.Adadelta(model.parameters(), lr=1.0)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.7)
    for epoch in range(1, most + 1):
        model.train()
        for xb, yb in train:
            optimizer.zero_grad()
            F.nll_loss(model(xb.to(device)), yb.to(device)).backward()
            optimizer.step()
        schedule.step()
        model.eval()
        with torch.no_grad():
            right = sum((model(xb.to(device)).argmax(1) == yb.to(device)).sum().item() for xb, yb in valid)
        if right >= 0.99 * len(sets[1]):
            break
    return right / len(sets[1]), epoch


def all_ten_digits(bench):
    "The whole of MNIST; it is fetched if need be."
    if bench.sample.source != "mnist":
        raise LookupError("the digits of scikit-learn are too few for it")
    try:
        return mnist_full("mnist")
    except DataError as error:
        raise LookupError(str(error)) from error


def ten_digits(bench):
    digits, on_cuda, epochs = all_ten_digits(bench), bench.device.type == "cuda", []
    train = Batches(*as_images(digits, "train"), 512 if on_cuda else 256, True, bench.device)
    valid = Batches(*as_images(digits, "valid"), 1000, device=bench.device)
    torch.manual_seed(42)
    ours = from_the_start(our_learner(train, valid, digit_cnn()), 3, 0.02, Learner.fit_one_cycle)
    our_time, our_accuracy = side_by_side(bench, None, ours, warmup=warm_ups(bench.device))
    with tempfile.TemporaryDirectory() as root:
        sets = torchvision_sets(root)

        def theirs():
            accuracy, needed = example_to_99(sets, bench.device)
            epochs.append(needed)
            return accuracy

        once = {} if on_cuda else {"repeat": 1, "warmup": 0}  # it takes minutes
        their_time, their_accuracy = side_by_side(bench, theirs, None, **once)
    peer = f"the usual PyTorch example over torchvision's dataset and `DataLoader`, {epochs[-1]} epochs"
    asked = "≥ 20; ours ≤ 0.5 s" if on_cuda else "≥ 20"
    return Row("ten digits to 0.99; ours in 3 epochs", peer, their_time, our_time, asked, their_accuracy + our_accuracy)


def importing(bench, module="mnist_basics", asked="≥ 0.87, that is at most 1.15 × its time"):
    def of(name):
        subprocess.run([sys.executable, "-c", f"import {name}"], check=True)

    their_time, our_time, _ = side_by_side(bench, lambda: of("torch"), lambda: of(module))
    return Row(f"`import {module}`", "`import torch`", their_time, our_time, asked)


@contextlib.contextmanager
def quiet(learn):
    "fastai without its bar, its table and its warnings."
    with learn.no_bar(), learn.no_logging(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


ROWS: dict[str, Callable] = {
    "decoding": decoding,
    "linear-model": linear_model,
    "two-layer-net": two_layer_net,
    "overhead": overhead,
    "resnet18": resnet_epoch,
    "ten-digits": ten_digits,
    "import": importing,
    "import-learner": functools.partial(importing, module="mnist_basics.learner", asked="≥ 0.87"),
}


def shown(seconds):
    return f"{seconds:.3g} s" if seconds >= 1 else f"{1000 * seconds:.3g} ms"


def cell(timing):
    "Median, smallest and largest."
    return f"{shown(timing.median)} ({shown(timing.min)} to {shown(timing.max)})"


def line(row):
    "One row as Markdown; the ratio stands last."
    accuracies = "–" if row.accuracies in (None, (None, None)) else " / ".join(f"{a:.4f}" for a in row.accuracies)
    ratio = row.theirs.median / row.ours.median
    shown_ratio = f"**{ratio:,.0f}**" if ratio >= 100 else f"**{ratio:.3g}**"
    return f"| {' | '.join([row.work, row.peer, cell(row.theirs), cell(row.ours), accuracies, row.asked, shown_ratio])} |"


def commit():
    "The commit that is measured, as far as git tells."
    try:
        git = subprocess.run(["git", "-C", str(HERE), "describe", "--always", "--dirty"], capture_output=True, text=True)
        return git.stdout.strip() or "unknown"
    except OSError:  # there is no git
        return "unknown"


def header(bench):
    "When, where and with what."
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("torchvision", "fastai", "numpy", "pillow"))
    return [
        f"# Ours beside its peers, on {bench.device.type}",
        "",
        f"Measured on {datetime.date.today()} at commit `{commit()}` by `make bench`, with the {bench.sample.source} digits.",
        f"{describe_machine(bench.device)}; {versions}.",
        "",
        f"Times and accuracies are medians of {bench.repeat} runs (with the smallest and the largest time) after a warm-up, in turns; "
        "a peer that takes minutes ran once. The ratio is the peer's time divided by ours: above 1, ours is faster. What is equal on "
        "both sides and what is not, and why a row falls short where it does, is told in [README.md](README.md).",
        "",
        "| work | peer | peer's time | our time | accuracy, peer / ours | asked | ratio |",
        "|---|---|---|---|---|---|---|",
    ]


def main(
    rows: Annotated[list[str] | None, typer.Argument(help=f"Out of {', '.join(ROWS)}; default: all, and write the file.")] = None,
):
    "Measure ours beside its peers."
    if unknown := set(rows or ()) - set(ROWS):
        raise typer.BadParameter(f"There is no row {min(unknown)!r}; there are {', '.join(ROWS)}.")
    bench = Bench(mnist_sample(), default_device())
    lines = header(bench)
    typer.echo("\n".join(lines))
    file = HERE / f"results-{bench.device.type}.md"
    for name in rows or ROWS:
        torch.compiler.reset()  # each row compiles for itself
        try:
            lines.append(line(ROWS[name](bench)))
        except LookupError as reason:
            lines.append(f"| {name} | not measured: {reason} | – | – | – | – | – |")
        typer.echo(lines[-1])
        if not rows:  # after each row, so that nothing is lost
            file.write_text("\n".join(lines) + "\n")
    if not rows:
        typer.echo(f"Written to {file.name}.")


if __name__ == "__main__":
    typer.run(main)
