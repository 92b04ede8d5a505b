"""How a time is taken, what makes a net fast, and the benchmarks (14_speed)."""

import copy
import importlib.util
import re
from functools import partial
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn
from typer.testing import CliRunner

from mnist_basics import speed
from mnist_basics.convolutions import class_accuracy
from mnist_basics.data import Digits, read_folder, read_idx
from mnist_basics.learner import Callback, DataLoaders, Learner
from mnist_basics.linear_model import Batches
from mnist_basics.resnet18 import resnet18
from mnist_basics.speed import Conv3x3, Timing, compare, skip_padding, synchronize
from mnist_basics.ten_digits import digit_cnn
from mnist_basics.workshop import listening

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def bench():
    "benchmarks/run.py, as a module."
    file = ROOT / "benchmarks" / "run.py"
    spec = importlib.util.spec_from_file_location("bench", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def few(digits):
    "A few 3s and 7s, as many of the one as of the other."

    def part(x, y, n):
        chosen = torch.cat([(y == digit).nonzero()[:n, 0] for digit in (3, 7)])
        return x[chosen], y[chosen]

    train = part(digits.train_x, digits.train_y, 100)
    return Digits(*train, *part(digits.valid_x, digits.valid_y, 40))


class Clock:
    "A clock that goes on only while somebody sleeps."

    def __init__(self):
        self.now = 0.0

    def perf_counter(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    for module in (speed, listening):
        monkeypatch.setattr(module, "time", clock)
    return clock


# How a time is taken


def test_compare_warms_up_takes_turns_and_counts_right(clock):
    calls = []

    def work(name, seconds):
        calls.append(name)
        clock.sleep(seconds)

    works = {"a": partial(work, "a", 0.5), "b": partial(work, "b", 2)}
    timings = compare(works, repeat=3, warmup=2, device="cpu")
    assert calls == ["a", "b"] * 5
    assert timings == {"a": Timing(0.5, 0.5, 0.5), "b": Timing(2, 2, 2)}
    assert list(timings) == ["a", "b"]


def test_a_slow_warm_up_is_not_counted(clock):
    naps = iter([200, 1, 2, 3])
    nap = {"nap": lambda: clock.sleep(next(naps))}
    assert compare(nap, repeat=3, warmup=1)["nap"] == Timing(2, 1, 3)


def test_one_bad_moment_does_not_move_the_median(clock):
    naps = iter([1, 1, 50])
    nap = {"nap": lambda: clock.sleep(next(naps))}
    assert compare(nap, repeat=3, warmup=0)["nap"] == Timing(1, 1, 50)


def test_the_device_is_waited_for_before_and_after(clock, monkeypatch):
    seen = []
    monkeypatch.setattr(speed, "synchronize", seen.append)
    compare({"a": lambda: seen.append("work")}, repeat=1, warmup=0, device="cpu")
    assert seen == ["cpu", "work", "cpu"]


@pytest.mark.parametrize(
    "works, repeat, says",
    [({}, 5, "compare needs"), ({"a": int}, 0, "repeat"), ({"a": int}, 1.5, "repeat")],
)
def test_nothing_to_compare_is_refused(works, repeat, says):
    with pytest.raises(ValueError, match=says):
        compare(works, repeat)


def test_what_cannot_be_timed_is_refused():
    for works in ([int], {"a": int()}, int):
        with pytest.raises(ValueError, match="compare needs functions by name"):
            compare(works)
    for warmup in (-1, "1"):
        with pytest.raises(ValueError, match="warmup must be a whole number, 0 or"):
            compare({"a": int}, warmup=warmup)


def test_the_cpu_needs_no_waiting():
    synchronize("cpu")
    synchronize(torch.device("cpu"))


def test_the_recorder_times_the_training_of_each_epoch(few, clock, tmp_path):
    class Slow(Callback):
        def after_batch(self, learn):
            clock.sleep(1)

        def after_epoch(self, learn):
            clock.sleep(100)

    learn = small_learner(few, cbs=[Slow()])
    learn.fit(2, 0.001)
    batches = len(learn.dls.train)
    assert learn.recorder.seconds == [batches, batches], "without what comes after"
    learn.save(tmp_path / "state.pt")
    again = small_learner(few)
    again.load(tmp_path / "state.pt")
    assert again.recorder.seconds == learn.recorder.seconds


# What makes a net fast: lines of PyTorch, with the Learner as it is


def small_learner(few, *changes, device="cpu", **options):
    "A Learner whose model went through `changes`."
    torch.manual_seed(1)
    x, y = few.train_x[:, None].float() / 255, (few.train_y == 7).long()
    batches = Batches(x, y, 64, device=device)
    model = digit_cnn(n_out=2)
    for change in changes:
        model = change(model)
    adam = partial(torch.optim.AdamW, fused=True)
    about = {"metrics": class_accuracy, "progress": False} | options
    dls = DataLoaders(batches, batches)
    return Learner(dls, model, F.cross_entropy, adam, **about)


def channels_last(model):
    return model.to(memory_format=torch.channels_last)


def compiled(model):
    model.compile(dynamic=False)
    return model


def test_channels_last_changes_the_memory_and_not_the_result(few):
    plain, last = small_learner(few), small_learner(few, channels_last)
    weight = last.model[3].weight
    assert weight.is_contiguous(memory_format=torch.channels_last)
    assert not weight.is_contiguous()
    plain.fit(1, 0.001)
    last.fit(1, 0.001)
    losses = last.recorder.losses, plain.recorder.losses
    torch.testing.assert_close(*losses, rtol=1e-3, atol=1e-3)


def test_bfloat16_is_for_the_calculation_only(bench, few):
    seen = []
    learn = small_learner(few, partial(bench.in_bfloat16, device=torch.device("cpu")))
    first = learn.model[0]
    first.register_forward_hook(lambda module, x, output: seen.append(output.dtype))
    learn.fit(1, 0.001)
    learn.validate()
    assert set(seen) == {torch.bfloat16}, "in training and in validation"
    assert learn.preds.dtype == learn.predict(learn.dls.valid.x[:3]).dtype
    assert learn.preds.dtype == torch.float32
    assert {p.dtype for p in learn.model.parameters()} == {torch.float32}
    plain = small_learner(few)
    plain.fit(1, 0.001)
    losses = learn.recorder.losses, plain.recorder.losses
    assert losses[0] != losses[1]
    torch.testing.assert_close(*losses, rtol=0.05, atol=0.05)


def test_what_is_arranged_is_saved_under_the_same_names(bench, few, tmp_path):
    in_bfloat16 = partial(bench.in_bfloat16, device=torch.device("cpu"))
    learn = small_learner(few, channels_last, in_bfloat16, compiled)
    plain = small_learner(few)
    torch.nn.init.ones_(learn.model[0].weight)
    learn.save(tmp_path / "arranged.pt")  # compiling itself waits for the first call
    plain.load(tmp_path / "arranged.pt")
    assert list(learn.model.state_dict()) == list(plain.model.state_dict())
    assert (plain.model[0].weight == 1).all()


# Convolutions without the weights that can only meet padding

SIZES = [(1, 1), (1, 2), (2, 1), (2, 2), (2, 3), (3, 3), (7, 4)]


@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("stride", [1, 2, 3, (1, 2)])
@pytest.mark.parametrize("size", SIZES)
def test_a_convolution_that_leaves_padding_out_equals_pytorchs(
    size, stride, bias, memory
):
    theirs = nn.Conv2d(4, 6, 3, stride, padding=1, bias=bias).to(memory_format=memory)
    ours = skip_padding(copy.deepcopy(theirs))
    assert type(ours) is Conv3x3
    x, results = torch.randn(5, 4, *size).to(memory_format=memory), []
    for conv in (ours, theirs):
        inputs = x.clone().requires_grad_(), *conv.parameters()
        output = conv(inputs[0])
        gradients = torch.autograd.grad(output.square().sum(), inputs)
        results.append([output, *gradients])
    torch.testing.assert_close(*results, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("side, used", [(1, 1), (2, 4)])
def test_only_weights_that_meet_a_pixel_are_used(side, used, monkeypatch):
    def refuse(*_):
        raise AssertionError("a whole convolution, for so few pixels")

    conv = skip_padding(nn.Conv2d(4, 6, 3, stride=2, padding=1))
    monkeypatch.setattr(nn.Conv2d, "forward", refuse)
    conv(torch.randn(5, 4, side, side)).sum().backward()
    assert conv.weight.grad.count_nonzero() == 24 * used
    seen = conv.weight.grad[:, :, 1 : 1 + side, 1 : 1 + side]
    assert seen.count_nonzero() == 24 * used


def test_a_single_image_without_a_batch_is_taken_as_pytorch_takes_it():
    conv, x = nn.Conv2d(4, 6, 3, padding=1), torch.randn(4, 2, 2)
    torch.testing.assert_close(skip_padding(copy.deepcopy(conv))(x), conv(x))


OTHERS = [
    nn.Conv2d(4, 4, 5, padding=2),
    nn.Conv2d(4, 4, 3),
    nn.Conv2d(4, 4, 3, padding=1, groups=2),
    nn.Conv2d(4, 4, 3, padding=1, dilation=2),
    nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect"),
    nn.ConvTranspose2d(4, 4, 3, padding=1),
]


@pytest.mark.parametrize("conv", OTHERS, ids=str)
def test_other_convolutions_stay_as_they_are(conv):
    kind = type(conv)
    assert type(skip_padding(nn.Sequential(conv))[0]) is kind is not Conv3x3


def test_a_net_that_skips_padding_is_the_same_net():
    """Outputs, gradients, running means; and a state_dict goes either way."""
    plain = resnet18()
    ours = skip_padding(copy.deepcopy(plain))
    x, y = torch.rand(8, 1, 28, 28), torch.arange(8) % 2
    for model in (plain, ours):
        F.cross_entropy(model(x), y).backward()
    close = partial(torch.testing.assert_close, rtol=1e-3, atol=1e-4)
    for our, their in zip(ours.parameters(), plain.parameters()):
        close(our.grad, their.grad)
    close(ours.state_dict(), plain.state_dict())  # the same names, too
    torch.nn.init.ones_(plain.fc.weight)
    ours.load_state_dict(plain.state_dict())
    close(ours.eval()(x), plain.eval()(x))
    plain.load_state_dict(ours.state_dict())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_all_of_it_together_trains_on_cuda(bench, few):
    arranged = partial(bench.arranged, device=torch.device("cuda"))
    learn = small_learner(few, arranged, device="cuda")  # the last batch is smaller
    learn.fit(4, 0.003)
    learn.fit(4, 0.003)
    assert learn.recorder.values[-1][2] > 0.9
    assert learn.predict(few.train_x[:5, None].float() / 255).shape == (5, 2)


# The benchmarks


@pytest.fixture(scope="module")
def small_bench(bench, few, tmp_path_factory):
    "What the rows are measured on, with very little work."
    folder = tmp_path_factory.mktemp("pngs")
    for split in ("train", "valid"):
        images, labels = getattr(few, f"{split}_x"), getattr(few, f"{split}_y")
        for i, (image, label) in enumerate(zip(images, labels.tolist())):
            file = folder / split / str(label) / f"{i}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image.numpy()).save(file)
    return bench.Bench(few, torch.device("cpu"), folder, repeat=1, share=0.05)


SAME_TRAINING = ["linear-model", "two-layer-net", "overhead"]
QUICK = ["images", "all-digits", "resnet18", "resnet18-usual", *SAME_TRAINING]


@pytest.mark.parametrize("name", QUICK)
def test_a_row_is_measured_with_equal_work(bench, small_bench, name, monkeypatch):
    class Ticking(Clock):
        def perf_counter(self):
            self.now += 1
            return self.now

    monkeypatch.setattr(speed, "time", Ticking())
    row = bench.ROWS[name](small_bench)
    assert row.theirs.time == row.ours.time == Timing(1, 1, 1), "from look to look"
    if name in SAME_TRAINING:  # a single batch to validate with
        assert row.ours.accuracy == pytest.approx(row.theirs.accuracy, abs=1e-4)
    assert bench.line(row).count("|") == 8


def test_the_first_call_is_timed_without_its_imports(bench):
    imports = (
        "import time as real\nclass time: now = 0; perf_counter = lambda: time.now"
    )
    work = "time.now = float(sys.argv[1])"
    assert bench.first_call(imports, work, 12.5) == 12.5


def test_the_peer_reads_the_files_that_we_write_for_it(bench, few, tmp_path):
    bench.write_idx(tmp_path, few)
    again = read_idx(tmp_path)
    assert torch.equal(again.train_x, few.train_x)
    assert torch.equal(again.valid_y, few.valid_y)


def test_the_peers_pixels_are_ours(bench, small_bench):
    digits = read_folder(small_bench.folder)
    decoded = bench.decode(small_bench.folder)
    assert torch.equal(decoded, torch.cat([digits.train_x, digits.valid_x]))


def row_of(bench, theirs=3.0, ours=0.5, right=0.99, **asked):
    their_side = theirs and bench.Side(Timing(theirs, 2.0, 4.0), 0.98)
    our_side = bench.Side(Timing(ours, 0.4, 0.6), right)
    return bench.Row("work", "peer", their_side, our_side, bench.Asked(**asked))


def test_the_ratio_stands_last_and_is_the_peers_time_by_ours(bench):
    assert bench.line(row_of(bench, ratio=3)) == (
        "| work | peer | 3 s (2 s to 4 s) | 500 ms (400 ms to 600 ms) "
        "| 0.9800 / 0.9900 | ≥ 3 | **6** |"
    )


def test_a_row_without_a_peer_has_no_ratio(bench):
    row = row_of(bench, theirs=None, right=None, seconds=0.015)
    our_time = "500 ms (400 ms to 600 ms)"
    expected = f"| work | peer | – | {our_time} | – | ours ≤ 15 ms | – |"
    assert bench.line(row) == expected


@pytest.mark.parametrize(
    "asked, holds",
    [
        ({"ratio": 6}, True),
        ({"ratio": 6.01}, False),
        ({"seconds": 0.5}, True),
        ({"seconds": 0.49}, False),
        ({"accuracy": 0.99}, True),
        ({"accuracy": 0.991}, False),
        ({"ratio": 5, "seconds": 0.6, "accuracy": 0.98}, True),
        ({"ratio": 5, "seconds": 0.4, "accuracy": 0.98}, False),
    ],
)
def test_a_row_holds_if_all_holds_that_is_asked(bench, asked, holds):
    assert row_of(bench, **asked).holds() == holds


@pytest.fixture
def command(bench, monkeypatch, tmp_path):
    "The benchmarks' command with three rows that take no time, in its own folder."
    rows = {
        "good": lambda _: row_of(bench, ratio=3),
        "slow": lambda _: row_of(bench, ratio=7),
        "resnet18": lambda _: row_of(bench, ratio=8),
    }
    monkeypatch.setattr(bench, "ROWS", rows)
    monkeypatch.setattr(bench, "HERE", tmp_path)
    app = bench.typer.Typer()
    app.command()(bench.main)
    return lambda *arguments: CliRunner().invoke(app, arguments)


def test_check_names_the_rows_that_miss_what_is_asked(command):
    result = command("--check")
    assert result.exit_code == 1
    missing = [s for s in result.output.splitlines() if s.startswith("misses")]
    assert missing == [
        "misses what is asked: slow",
        "misses what is asked: resnet18 (known: README.md says why)",
    ]
    assert command("good", "--check").exit_code == 0
    assert command("resnet18", "--check").exit_code == 1, "what is known is not lowered"


def test_without_check_nothing_is_judged(command):
    result = command("slow")
    assert result.exit_code == 0 and "misses" not in result.output


def test_all_rows_are_written_and_single_ones_are_not(command, tmp_path):
    command("good")
    assert not list(tmp_path.iterdir())
    command()
    [file] = tmp_path.iterdir()
    assert re.fullmatch(r"results-(cpu|cuda|mps)\.md", file.name)
    assert file.read_text(encoding="utf-8").count("\n| work ") == 4  # and the head


def test_a_row_that_does_not_exist_is_named(command):
    result = command("fast")
    assert result.exit_code == 2 and "'fast'" in result.output


def test_all_that_is_promised_has_a_row(bench):
    promised = """images images-first all-digits all-digits-first import import-learner
    linear-model two-layer-net overhead resnet18 resnet18-usual ten-digits ladder
    kept-rungs votes"""
    assert list(bench.ROWS) == promised.split()
    readme = (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8")
    for name in bench.ROWS:
        assert f"`{name}`" in readme, f"README.md does not explain the row {name}"


def test_the_committed_results_are_whole(bench):
    text = (ROOT / "benchmarks" / "results-cpu.md").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    rows = [line for line in lines if not line.startswith("| work")]
    missing = re.findall(r"^Not measured: (.*)\.$", text, re.M)
    names = missing[0].split(", ") if missing else []
    assert len(rows) + len(names) == len(bench.ROWS) and set(names) <= set(bench.ROWS)
    assert re.search(r"on \d{4}-\d\d-\d\d at commit `[0-9a-f]{7,}(-dirty)?`", text)
    assert "fastai" in text and "threads" in text
    assert all(re.search(r"\| (\*\*[\d.,e+]+\*\*|–) \|$", line) for line in rows)
