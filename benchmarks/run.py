"""Ours beside its peers: `make bench`, or `python benchmarks/run.py [row …] [--check]`.

Prints each row when it is measured, and writes all of them to results-cpu.md or, where
there is CUDA, to results-cuda.md. What stands behind the rows is told in README.md.
"""

import contextlib
import datetime
import functools
import importlib.metadata
import itertools
import statistics
import struct
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
from mnist_basics.data import Digits, mnist_full, mnist_sample, sample_folder
from mnist_basics.learner import DataLoaders, Learner
from mnist_basics.linear_model import (
    Batches,
    as_rows,
    batch_accuracy,
    calc_grad,
    init_params,
    linear,
    mnist_loss,
    train_epoch,
    validate_epoch,
)
from mnist_basics.resnet18 import resnet18
from mnist_basics.speed import Timing, compare, skip_padding
from mnist_basics.ten_digits import digit_cnn
from mnist_basics.two_layer_net import simple_net
from mnist_basics.workshop.devices import default_device
from mnist_basics.workshop.machine import describe_machine

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import fastai.vision.all as fastai

HERE = Path(__file__).parent
KNOWN_TO_FALL_SHORT = ("resnet18",)  # README.md says why; what is asked stays


class Asked(NamedTuple):
    "What a row is asked for."

    ratio: float | None = None  # the peer's time divided by ours, at least
    seconds: float | None = None  # our time, at most
    accuracy: float | None = None  # ours, at least

    def __str__(self):
        parts = [f"≥ {self.ratio:g}"] if self.ratio else []
        parts += [f"ours ≤ {shown(self.seconds)}"] if self.seconds else []
        parts += [f"ours at {self.accuracy:g}"] if self.accuracy else []
        return ", ".join(parts)


class Side(NamedTuple):
    "What was measured of the peer, or of ours."

    time: Timing
    accuracy: float | None = None  # the median; None: the work has none


class Row(NamedTuple):
    "One line of the table."

    work: str
    peer: str
    theirs: Side | None  # None: there is no peer
    ours: Side
    asked: Asked

    def ratio(self):
        theirs, ours = self.theirs, self.ours
        return theirs.time.median / ours.time.median if theirs else None

    def holds(self):
        "Is it as was asked?"
        ratio, seconds, accuracy = self.asked
        return (
            (ratio is None or self.ratio() >= ratio)
            and (seconds is None or self.ours.time.median <= seconds)
            and (accuracy is None or self.ours.accuracy >= accuracy)
        )


class Bench(NamedTuple):
    "What the rows are measured on."

    sample: Digits
    device: torch.device
    folder: Path | None = None  # of PNGs; default: `sample_folder()`
    repeat: int = 5
    share: float = 1.0  # of the usual number of epochs and images; the tests take less

    def part_of(self, usual):
        return max(1, round(self.share * usual))

    def pngs(self):
        return self.folder or sample_folder()


def side_by_side(bench, theirs, ours, **settings):
    "Two sides; a work is a function that returns its accuracy or None, or it is None."
    works = {"theirs": theirs, "ours": ours}
    found = {name: [] for name, work in works.items() if work}
    noting = {n: lambda n=n: found[n].append(works[n]()) for n in found}
    settings = {"repeat": bench.repeat, "device": bench.device} | settings
    timings = compare(noting, **settings)

    def side(name):
        if name not in found:
            return None
        figures = [figure for figure in found[name] if figure is not None]
        return Side(timings[name], statistics.median(figures) if figures else None)

    return side("theirs"), side("ours")


# Reading the digits

PIL = "PIL in a list comprehension"
TORCHVISION = "torchvision's `MNIST` over the IDX files"


def decode(folder):
    "Every PNG in the folder, in one tensor."
    files = sorted(Path(folder).glob("*/*/*.png"))
    return torch.stack([torch.tensor(np.array(Image.open(file))) for file in files])


def read_all():
    "All ten digits, read indeed: each page of the two large files is touched."
    digits = mnist_full()
    for x in (digits.train_x, digits.valid_x):
        x.view(-1)[::4096].sum()


def write_idx(folder, digits):
    "The four files of MNIST, from our tensors."
    parts = ("train", "t10k"), (digits.train_x, digits.valid_x)
    for name, x, y in zip(*parts, (digits.train_y, digits.valid_y)):
        images = struct.pack(">4i", 2051, *x.shape) + x.numpy().tobytes()
        labels = struct.pack(">2i", 2049, len(y)) + y.to(torch.uint8).numpy().tobytes()
        (folder / f"{name}-images-idx3-ubyte").write_bytes(images)
        (folder / f"{name}-labels-idx1-ubyte").write_bytes(labels)


@contextlib.contextmanager
def idx_files():
    "A folder as torchvision wants it, with MNIST's four files."
    with tempfile.TemporaryDirectory() as root:
        raw = Path(root, "MNIST", "raw")
        raw.mkdir(parents=True)
        write_idx(raw, mnist_full())
        yield root


def torchvision_sets(root, **settings):
    "torchvision's MNIST, training and test."
    mnist = torchvision.datasets.MNIST
    return [mnist(root, train=train, **settings) for train in (True, False)]


FIRST_CALL = """
import sys, time
from pathlib import Path
{imports}
start = time.perf_counter()
{work}
print(time.perf_counter() - start)
"""


def first_call(imports, work, *arguments):
    "Seconds that `work` takes in a fresh Python, after its imports."
    code = FIRST_CALL.format(imports=imports, work=work)
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, check=True, capture_output=True, encoding="utf-8")
    return float(done.stdout.splitlines()[-1])


def first_calls(bench, **works):
    "A side for the first call of each, in turns; a work is what `first_call` takes."
    seconds = {name: [] for name in works}
    for turn in range(1 + bench.repeat):
        for name, work in works.items():
            seconds[name].append(first_call(*work))
    counted = [s[1:] for s in seconds.values()]  # the first one warms the files up
    return [Side(Timing(statistics.median(s), min(s), max(s))) for s in counted]


def images(bench):
    def theirs():
        decode(bench.pngs())

    def ours():
        mnist_sample()

    sides = side_by_side(bench, theirs, ours)
    return Row("the 14,434 images as tensors", PIL, *sides, Asked(50))


def images_first(bench):
    theirs = (
        "import numpy as np, torch; from PIL import Image",
        "files = sorted(Path(sys.argv[1]).glob('*/*/*.png'));"
        "torch.stack([torch.tensor(np.array(Image.open(file))) for file in files])",
        bench.pngs(),
    )
    ours = "from mnist_basics.data import mnist_sample", "mnist_sample()"
    sides = first_calls(bench, theirs=theirs, ours=ours)
    return Row(
        "the 14,434 images, first call in a fresh Python", PIL, *sides, Asked(50)
    )


def all_digits(bench):
    with idx_files() as root:

        def theirs():
            torchvision_sets(root)

        sides = side_by_side(bench, theirs, read_all)
    asked = Asked(seconds=0.015)
    return Row("all 70,000 digits as tensors", TORCHVISION, *sides, asked)


def all_digits_first(bench):
    ours = (
        "from mnist_basics.data import mnist_full",
        "digits = mnist_full();"
        "[x.view(-1)[::4096].sum() for x in (digits.train_x, digits.valid_x)]",
    )
    with idx_files() as root:
        theirs = (
            "from torchvision.datasets import MNIST",
            "[MNIST(sys.argv[1], train=train) for train in (True, False)]",
            root,
        )
        sides = first_calls(bench, theirs=theirs, ours=ours)
    work = "all 70,000 digits, first call in a fresh Python"
    return Row(work, TORCHVISION, *sides, Asked(seconds=0.015))


# Training


def pairs_of(bench, split):
    "fastai's `DataLoader` over a list of pairs, as in the chapter."
    x, y = as_rows(bench.sample, split)
    return fastai.DataLoader(list(zip(x, y)), batch_size=256, device=bench.device)


def batches_of(bench, split):
    return Batches(*as_rows(bench.sample, split), 256, device=bench.device)


def linear_model(bench):
    epochs = bench.part_of(20)
    their_train, their_valid = pairs_of(bench, "train"), pairs_of(bench, "valid")
    our_train, our_valid = batches_of(bench, "train"), batches_of(bench, "valid")

    def params():
        torch.manual_seed(42)
        return [init_params(size, device=bench.device) for size in ((784, 1), 1)]

    def theirs():  # gradient, step, clear; then the mean of the batches' accuracies
        weights, bias = params()
        for _ in range(epochs):
            for xb, yb in their_train:
                calc_grad(xb, yb, lambda x: linear(x, weights, bias))
                for param in (weights, bias):
                    param.data -= param.grad * 1.0
                    param.grad.zero_()
            preds = ((linear(xb, weights, bias), yb) for xb, yb in their_valid)
            result = torch.stack([batch_accuracy(p, yb) for p, yb in preds]).mean()
        return result.item()

    def ours():
        weights, bias = params()

        def model(xb):
            return linear(xb, weights, bias)

        for _ in range(epochs):
            train_epoch(model, our_train, 1.0, (weights, bias))
            result = validate_epoch(model, our_valid)
        return result

    sides = side_by_side(bench, theirs, ours)
    peer = "the chapter's loop over fastai's `DataLoader(list(zip(x, y)))`"
    return Row(f"linear model, {epochs} epochs", peer, *sides, Asked(3))


def net_of(device):
    torch.manual_seed(42)
    return simple_net().to(device)


def our_net(dls, device, epochs):
    about = {"metrics": batch_accuracy, "device": device, "progress": False}
    learn = Learner(dls, net_of(device), **about)
    learn.fit(epochs, 0.1)
    return learn.recorder.values[-1][2]


def two_layer_net(bench):
    epochs = bench.part_of(40)
    pairs = [pairs_of(bench, split) for split in ("train", "valid")]
    their_dls = fastai.DataLoaders(*pairs, device=bench.device)
    our_dls = DataLoaders(batches_of(bench, "train"), batches_of(bench, "valid"))

    def theirs():
        about = {"opt_func": fastai.SGD, "metrics": batch_accuracy}
        learn = fastai.Learner(their_dls, net_of(bench.device), mnist_loss, **about)
        with quiet(learn):
            learn.fit(epochs, 0.1)
        return learn.recorder.values[-1][2]

    ours = functools.partial(our_net, our_dls, bench.device, epochs)
    sides = side_by_side(bench, theirs, ours)
    asked = Asked(8 if bench.device.type == "cuda" else 3)
    work, peer = f"two-layer net, {epochs} epochs", "fastai's `Learner` over the same"
    return Row(work, peer, *sides, asked)


def slices(batches):
    "The same batches, by nothing but slicing."
    for start in range(0, len(batches.x), 256):
        yield batches.x[start : start + 256], batches.y[start : start + 256]


def overhead(bench):
    epochs = bench.part_of(40)
    train, valid = batches_of(bench, "train"), batches_of(bench, "valid")

    def theirs():
        model = net_of(bench.device)
        params = list(model.parameters())
        for _ in range(epochs):
            for xb, yb in slices(train):
                mnist_loss(model(xb), yb).backward()
                with torch.no_grad():
                    for param in params:
                        param -= 0.1 * param.grad
                        param.grad = None
            right = 0
            with torch.no_grad():
                for xb, yb in slices(valid):
                    preds = model(xb)
                    mnist_loss(preds, yb)
                    right = right + batch_accuracy(preds, yb) * len(yb)
        return (right / len(valid.x)).item()

    ours = functools.partial(our_net, DataLoaders(train, valid), bench.device, epochs)
    sides = side_by_side(bench, theirs, ours)
    work = f"two-layer net, {epochs} epochs"
    peer = "a bare loop over tensor slices, nothing else"
    return Row(work, peer, *sides, Asked(0.87))


def in_bfloat16(model, device):
    "`model`, changed: it calculates in bfloat16 and gives out float32 (notebook 14)."
    forward = torch.autocast(device.type, torch.bfloat16)(model.forward)
    model.forward = lambda images: forward(images).float()
    return model


def arranged(model, device, channels_last=False):
    "`model` on its device, with what makes it fast there (notebook 14)."
    on_cuda = device.type == "cuda"
    if channels_last or on_cuda:
        model = model.to(memory_format=torch.channels_last)
    if on_cuda and torch.cuda.is_bf16_supported(including_emulation=False):
        model = in_bfloat16(model, device)
    if on_cuda:  # for each shape of batch anew
        model.compile(mode="reduce-overhead", dynamic=False)
    return model.to(device)


def our_learner(train, valid, model):
    "A Learner for images, on the device where the model is."
    adam = functools.partial(torch.optim.AdamW, fused=True)
    about = {"metrics": class_accuracy, "progress": False}
    about["device"] = next(model.parameters()).device
    return Learner(DataLoaders(train, valid), model, F.cross_entropy, adam, **about)


def their_learner(bench, batch_size):
    "fastai's `vision_learner` on the folder of PNGs."
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        about = {"valid": "valid", "bs": batch_size, "device": bench.device}
        dls = fastai.ImageDataLoaders.from_folder(bench.pngs(), **about)
    torch.manual_seed(42)
    about = {"pretrained": False, "metrics": fastai.accuracy}
    about["loss_func"] = F.cross_entropy
    return fastai.vision_learner(dls, torchvision.models.resnet18, **about)


def from_the_start(learn, fit):
    "A function that trains `learn` from its first weights again, compiled as it is."
    states = learn.model.state_dict().items()
    first = {name: tensor.clone() for name, tensor in states}

    def train():
        learn.model.load_state_dict(first)
        learn.opt = None
        fit(learn)
        return learn.recorder.values[-1][2]

    return train


def warm_ups(device):
    "On a graphics processor the first epochs compile the model and record it."
    return 3 if device.type == "cuda" else 1


VISION_LEARNER = "fastai's `vision_learner` on the folder"


def resnet_epoch(bench, their_size=128):
    "One epoch and a validation: fastai in batches of `their_size`, ours in 128."
    most = len(bench.sample.train_y) // 2
    their_size, our_size = min(their_size, most), min(128, most)

    def their_fit(learn):
        with quiet(learn):
            learn.fit_one_cycle(1, 0.003)

    train = Batches(*as_images(bench.sample, "train"), our_size, True, bench.device)
    valid = Batches(*as_images(bench.sample, "valid"), our_size, device=bench.device)
    model = arranged(skip_padding(resnet18()), bench.device, channels_last=True)
    learn = our_learner(train, valid, model)
    theirs = from_the_start(their_learner(bench, their_size), their_fit)
    ours = from_the_start(learn, lambda learn: learn.fit_one_cycle(1, 0.003))
    warmup = warm_ups(bench.device)
    sides = side_by_side(bench, theirs, ours, warmup=warmup)
    asked = Asked(5, 0.5, 0.995) if bench.device.type == "cuda" else Asked(2)
    work = f"ResNet18, one epoch, batches of {their_size} / {our_size}"
    return Row(work, VISION_LEARNER, *sides, asked)


class ExampleNet(nn.Module):
    "The usual PyTorch example's: two convolutions, two linear layers, dropout."

    def __init__(self):
        super().__init__()
        convolutions = [nn.Conv2d(1, 32, 3), nn.ReLU(), nn.Conv2d(32, 64, 3), nn.ReLU()]
        hidden = [nn.Dropout(0.25), nn.Flatten(), nn.Linear(9216, 128), nn.ReLU()]
        last = [nn.Dropout(0.5), nn.Linear(128, 10), nn.LogSoftmax(1)]
        self.layers = nn.Sequential(*convolutions, nn.MaxPool2d(2), *hidden, *last)

    def forward(self, x):
        return self.layers(x)


def right_answers(model, loader, device):
    model.eval()
    with torch.no_grad():
        preds = ((model(xb.to(device)).argmax(1), yb.to(device)) for xb, yb in loader)
        return sum((p == yb).sum().item() for p, yb in preds)


def example_to_99(sets, device, most=5):
    "Train as the usual PyTorch example does, to 0.99; that accuracy, and the epochs."
    torch.manual_seed(42)
    settings = {"num_workers": 1, "persistent_workers": True, "pin_memory": True}
    settings = settings if device.type == "cuda" else {}
    DataLoader = torch.utils.data.DataLoader
    train = DataLoader(sets[0], batch_size=64, shuffle=True, **settings)
    valid = DataLoader(sets[1], batch_size=1000, **settings)
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
        right = right_answers(model, valid, device)
        if right >= 0.99 * len(sets[1]):
            break
    return right / len(sets[1]), epoch


def ten_digits(bench):
    digits, on_cuda, epochs = mnist_full(), bench.device.type == "cuda", []
    batch_size = 512 if on_cuda else 256
    train = Batches(*as_images(digits, "train"), batch_size, True, bench.device)
    valid = Batches(*as_images(digits, "valid"), 1000, device=bench.device)
    torch.manual_seed(42)
    learn = our_learner(train, valid, arranged(digit_cnn(), bench.device))
    ours = from_the_start(learn, lambda learn: learn.fit_one_cycle(3, 0.02))
    warmup = warm_ups(bench.device)
    _, our_side = side_by_side(bench, None, ours, warmup=warmup)
    normalize = torchvision.transforms.Normalize((0.1307,), (0.3081,))
    steps = torchvision.transforms.Compose(
        [torchvision.transforms.ToTensor(), normalize]
    )
    with idx_files() as root:
        sets = torchvision_sets(root, transform=steps)

        def theirs():
            accuracy, needed = example_to_99(sets, bench.device)
            epochs.append(needed)
            return accuracy

        once = {} if on_cuda else {"repeat": 1, "warmup": 0}  # it takes minutes
        their_side, _ = side_by_side(bench, theirs, None, **once)
    example = "the usual PyTorch example over torchvision's dataset and `DataLoader`"
    peer = f"{example}, {epochs[-1]} epochs"
    work = "ten digits to 0.99; ours in 3 epochs"
    asked = Asked(20, 0.5, 0.99) if on_cuda else Asked(20, accuracy=0.99)
    return Row(work, peer, their_side, our_side, asked)


# The library as a whole


def importing(bench, module, ratio):
    def of(name):
        subprocess.run([sys.executable, "-c", f"import {name}"], check=True)

    works = functools.partial(of, "torch"), functools.partial(of, module)
    sides = side_by_side(bench, *works)
    return Row(f"`import {module}`", "`import torch`", *sides, Asked(ratio))


def whole_ladder(bench):
    command = [Path(sys.executable).with_name("mnist-basics"), "ladder", "--json"]

    def ours():
        subprocess.run(command, check=True, capture_output=True)

    sides = side_by_side(bench, None, ours, repeat=1, warmup=0)
    return Row("`mnist-basics ladder`: all rungs", "–", *sides, Asked(seconds=90))


def kept_rungs(bench):
    "The warm-up trains and keeps what is not kept yet."
    imports = (
        "from mnist_basics.data import mnist_sample;"
        "from mnist_basics.ladder import RUNGS, trained_rung;"
        "digits = mnist_sample()"
    )
    ours = imports, "[trained_rung(name, digits, 42) for name in RUNGS]"
    [our_side] = first_calls(bench, ours=ours)
    work = "all rungs from the cache, in a fresh Python"
    return Row(work, "–", None, our_side, Asked(seconds=1))


def votes(bench):
    from mnist_basics.ladder import RUNGS, trained_rung
    from mnist_basics.workshop.pad import Playground

    rungs = [trained_rung(name, bench.sample, 42) for name in RUNGS]
    playground, numbers = Playground(rungs, bench.sample), itertools.count()

    def ours():
        playground.start_from(next(numbers))

    sides = side_by_side(bench, None, ours, repeat=15, device="cpu")
    work = "the votes of all rungs on a drawing, with their evidence"
    return Row(work, "–", *sides, Asked(seconds=0.1))


@contextlib.contextmanager
def quiet(learn):
    "fastai without its bar, its table and its warnings."
    with learn.no_bar(), learn.no_logging(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def importing_of(module, ratio):
    return functools.partial(importing, module=f"mnist_basics.{module}", ratio=ratio)


ROWS: dict[str, Callable] = {
    "images": images,
    "images-first": images_first,
    "all-digits": all_digits,
    "all-digits-first": all_digits_first,
    "import": importing_of("data", 0.909),  # at most 1.1 times as long
    "import-learner": importing_of("learner", 0.87),
    "linear-model": linear_model,
    "two-layer-net": two_layer_net,
    "overhead": overhead,
    "resnet18": resnet_epoch,
    "resnet18-usual": functools.partial(resnet_epoch, their_size=64),
    "ten-digits": ten_digits,
    "ladder": whole_ladder,
    "kept-rungs": kept_rungs,
    "votes": votes,
}


# The table


def shown(seconds):
    return f"{seconds:.3g} s" if seconds >= 1 else f"{1000 * seconds:.3g} ms"


def cell(side):
    "Median, smallest and largest."
    if side is None:
        return "–"
    median, least, most = map(shown, side.time)
    return f"{median} ({least} to {most})"


def line(row):
    "One row as Markdown; the ratio stands last."
    sides, ratio = (row.theirs, row.ours), row.ratio()
    found = [side.accuracy for side in sides if side and side.accuracy is not None]
    figures = " / ".join(f"{accuracy:.4f}" for accuracy in found) or "–"
    if ratio is not None:
        ratio = f"**{ratio:,.0f}**" if ratio >= 100 else f"**{ratio:.3g}**"
    cells = row.work, row.peer, *map(cell, sides), figures, str(row.asked), ratio or "–"
    return f"| {' | '.join(cells)} |"


def commit():
    "The commit that is measured, as far as git tells."
    command = ["git", "-C", str(HERE), "describe", "--always", "--dirty"]
    try:
        git = subprocess.run(command, capture_output=True, encoding="utf-8")
        return git.stdout.strip() or "unknown"
    except OSError:  # there is no git
        return "unknown"


COLUMNS = ["work", "peer", "peer's time", "our time", "accuracy, peer / ours"]
COLUMNS += ["asked", "ratio"]


def header(bench):
    "When, where and with what."
    names = ("torchvision", "fastai", "numpy", "pillow")
    versions = [f"{name} {importlib.metadata.version(name)}" for name in names]
    return [
        f"# Ours beside its peers, on {bench.device.type}",
        "",
        f"Measured on {datetime.date.today()} at commit `{commit()}` by `make bench`.",
        f"{describe_machine(bench.device)}; {', '.join(versions)}.",
        "",
        f"Times and accuracies are medians of {bench.repeat} runs (with the smallest",
        "and the largest time) after a warm-up, in turns; what takes minutes ran once.",
        "The ratio is the peer's time divided by ours: above 1, ours is faster. What",
        "is equal on both sides and what is not, and why a row falls short where it",
        "does, is told in [README.md](README.md).",
        "",
        f"| {' | '.join(COLUMNS)} |",
        f"|{'---|' * len(COLUMNS)}",
    ]


def judge(measured):
    "Name the rows that miss what they are asked for; exit code 1 if there is one."
    missing = [name for name, row in measured.items() if not row.holds()]
    for name in missing:
        known = " (known: README.md says why)" if name in KNOWN_TO_FALL_SHORT else ""
        typer.echo(f"misses what is asked: {name}{known}")
    raise typer.Exit(int(bool(missing)))


ROW_HELP = f"Out of {', '.join(ROWS)}; default: all, and write the file."
CHECK_HELP = "Exit with 1, and name the rows, if any misses what is asked."


def main(
    rows: Annotated[list[str] | None, typer.Argument(help=ROW_HELP)] = None,
    check: Annotated[bool, typer.Option("--check", help=CHECK_HELP)] = False,
):
    "Measure ours beside its peers."
    if unknown := set(rows or ()) - set(ROWS):
        message = f"There is no row {min(unknown)!r}; there are {', '.join(ROWS)}."
        raise typer.BadParameter(message)
    bench = Bench(mnist_sample(), default_device())
    lines, measured = header(bench), {}
    typer.echo("\n".join(lines))
    file = HERE / f"results-{bench.device.type}.md"
    for name in rows or ROWS:
        torch.compiler.reset()  # each row compiles for itself
        measured[name] = ROWS[name](bench)
        lines.append(line(measured[name]))
        typer.echo(lines[-1])
        if not rows:  # after each row, so that nothing is lost
            rest = [name for name in ROWS if name not in measured]
            note = ["", f"Not measured: {', '.join(rest)}."] if rest else []
            file.write_text("\n".join([*lines, *note, ""]), encoding="utf-8")
    if not rows:
        typer.echo(f"Written to {file.name}.")
    if check:
        judge(measured)


if __name__ == "__main__":
    typer.run(main)
