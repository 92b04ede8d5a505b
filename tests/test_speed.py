"""Modules 10 and 11, the Learner's options for speed, and the benchmarks: that they measure what they say."""
import importlib.util
import re
import time
from functools import partial
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mnist_basics.convolutions import class_accuracy
from mnist_basics.data import mnist_full, mnist_sample
from mnist_basics.learner import Callback, DataLoaders, Learner
from mnist_basics.linear_model import Batches
from mnist_basics.speed import Timing, compare, describe_machine, synchronize
from mnist_basics.ten_digits import WeightAverage, digit_cnn, train_ten_digits

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def few():
    """scikit-learn's ten digits."""
    return mnist_full("bundled")


@pytest.fixture(scope="module")
def bench():
    spec = importlib.util.spec_from_file_location("bench", ROOT / "benchmarks" / "run.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


quick = partial(train_ten_digits, epochs=1, device="cpu", progress=False)


# 10


@pytest.mark.parametrize("width, n_out", [(8, 10), (3, 2)])
def test_the_cnn_for_digits_has_five_convolutions(width, n_out):
    net = digit_cnn(width, n_out)
    assert net(torch.rand(7, 1, 28, 28)).shape == (7, n_out)
    convolutions = [layer for layer in net if isinstance(layer, nn.Conv2d)]
    assert [layer.kernel_size[0] for layer in convolutions] == [5, 5, 3, 3, 3]
    assert [layer.out_channels for layer in convolutions] == [width, 2 * width, 4 * width, 8 * width, n_out]
    assert sum(isinstance(layer, nn.BatchNorm2d) for layer in net) == 4


@pytest.mark.parametrize("sizes", [(0, 10), (8, 0)])
def test_a_cnn_without_kernels_or_outputs_is_refused(sizes):
    with pytest.raises(ValueError, match="1 or more"):
        digit_cnn(*sizes)


@pytest.mark.figures
def test_three_epochs_reach_99_percent_with_another_seed():
    learn = train_ten_digits(mnist_full("mnist"), seed=1, device="cpu", progress=False)
    assert learn.recorder.values[-1][2] >= 0.99


def test_training_ten_digits_follows_its_seed(few):
    first, again, other = [torch.cat([p.flatten() for p in quick(few, seed=seed).model.parameters()]) for seed in (1, 1, 2)]
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
    assert not torch.equal(plain.xb, shifted.xb) and torch.equal(shifted.xb, again.xb)


def test_training_ten_digits_learns_and_takes_its_settings(few):
    learn = train_ten_digits(few, epochs=12, width=4, shift=1, smoothing=0.1, device="cpu", progress=False)
    assert learn.recorder.values[-1][2] > 0.8
    assert learn.model[0].out_channels == 4 and len(learn.recorder.seconds) == 12
    assert learn.loss_func.keywords == {"label_smoothing": 0.1}
    assert quick(mnist_sample("bundled")).model[-2].out_channels == 2, "an output for each kind of digit"


class Last(Callback):
    "Keeps the weights after each batch."

    def before_fit(self, learn):
        self.weights = []

    def after_batch(self, learn):
        self.weights.append([p.detach().clone() for p in learn.model.parameters()])


def test_a_weight_average_does_not_disturb_the_training(few):
    plain, averaged, average = Last(), Last(), WeightAverage(0.9)
    quick(few, epochs=3, cbs=(plain,))
    learn = quick(few, epochs=3, cbs=(averaged, average))
    torch.testing.assert_close(averaged.weights, plain.weights, rtol=0, atol=0)
    assert not torch.equal(learn.model[0].weight, plain.weights[-1][0]), "it ends with the average"
    average.swap()
    torch.testing.assert_close(list(learn.model.parameters()), plain.weights[-1], rtol=0, atol=0, check_stride=False)


def test_validation_is_taken_with_the_average(few):
    class Looks(Callback):
        def after_epoch(self, learn):
            self.weight = learn.model[0].weight.detach().clone()

    looks, last = Looks(), Last()
    learn = quick(few, cbs=(last, WeightAverage(0.9), looks))
    assert torch.equal(looks.weight, learn.model[0].weight) and not torch.equal(looks.weight, last.weights[-1][0])
    assert learn.recorder.values[-1][1:] == pytest.approx(learn.validate(), abs=1e-6)


def test_an_interrupted_fit_ends_with_the_average_too(few):
    class Stop(Callback):
        def after_batch(self, learn):
            if learn.epoch == 1 and learn.batch == 2:
                raise KeyboardInterrupt

    average, last = WeightAverage(0.9), Last()
    learn = small_learner(few)
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


# the Learner's options


def small_learner(few, **options):
    torch.manual_seed(1)
    x, y = few.train_x[:, None].float() / 255, few.train_y
    batches = Batches(x, y, 128, device="cpu")
    adam = partial(torch.optim.AdamW, fused=True)
    return Learner(DataLoaders(batches, batches), digit_cnn(), F.cross_entropy, adam, metrics=class_accuracy, progress=False, **options)


def test_channels_last_changes_the_memory_and_not_the_result(few):
    plain, last = small_learner(few), small_learner(few, channels_last=True)
    weight = last.model[3].weight
    assert weight.is_contiguous(memory_format=torch.channels_last) and not weight.is_contiguous()
    plain.fit(1, 0.001)
    last.fit(1, 0.001)
    torch.testing.assert_close(last.recorder.losses, plain.recorder.losses, rtol=1e-3, atol=1e-3)


def test_amp_calculates_in_bfloat16_and_keeps_float32(few):
    seen = []
    learn = small_learner(few, amp=True)
    learn.model[0].register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    learn.fit(1, 0.001)
    assert set(seen) == {torch.bfloat16}, "in training and in validation"
    assert learn.predict(learn.dls.valid.x[:3]).dtype == torch.float32
    assert {p.dtype for p in learn.model.parameters()} == {torch.float32}
    plain = small_learner(few)
    plain.fit(1, 0.001)
    assert learn.recorder.losses != plain.recorder.losses
    torch.testing.assert_close(learn.recorder.losses, plain.recorder.losses, rtol=0.05, atol=0.05)


@pytest.mark.parametrize("option, mode", [(True, None), ("reduce-overhead", "reduce-overhead"), (False, "never")])
def test_compile_is_handed_on_to_pytorch(few, option, mode, monkeypatch):
    calls = []
    monkeypatch.setattr(nn.Module, "compile", lambda self, mode, dynamic: calls.append(mode))
    small_learner(few, compile=option)
    assert calls == ([] if mode == "never" else [mode])


def test_a_compiled_model_is_saved_under_the_same_names(few, tmp_path):
    learn, plain = small_learner(few, compile=True), small_learner(few)
    learn.save(tmp_path / "compiled.safetensors")  # compiling itself waits for the first call
    plain.load(tmp_path / "compiled.safetensors")
    assert list(learn.model.state_dict()) == list(plain.model.state_dict())


def test_the_recorder_times_the_training_of_each_epoch(few, tmp_path):
    class Slow(Callback):
        def after_epoch(self, learn):
            time.sleep(0.2)

    learn = small_learner(few, cbs=[Slow()])
    start = time.perf_counter()
    learn.fit(2, 0.001)
    assert len(learn.recorder.seconds) == 2 and 0 < sum(learn.recorder.seconds) < time.perf_counter() - start - 0.4
    learn.save(tmp_path / "state.safetensors")
    again = small_learner(few)
    again.load(tmp_path / "state.safetensors")
    assert again.recorder.seconds == learn.recorder.seconds


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_all_options_together_train_on_cuda():
    few = mnist_full("bundled")
    x, y = few.train_x[:, None].float() / 255, few.train_y
    batches = Batches(x, y, 128, device="cuda")  # the last batch is smaller
    options = {"amp": True, "channels_last": True, "compile": "reduce-overhead"}
    learn = Learner(DataLoaders(batches, batches), digit_cnn(), F.cross_entropy, partial(torch.optim.AdamW, fused=True),
                    metrics=class_accuracy, progress=False, **options)
    learn.fit(4, 0.003)
    learn.fit(4, 0.003)
    assert learn.recorder.values[-1][2] > 0.9 and learn.predict(x[:5]).shape == (5, 10)


# 11


def test_compare_warms_up_takes_turns_and_counts_right():
    calls = []
    timings = compare({"a": lambda: calls.append("a"), "b": lambda: (calls.append("b"), time.sleep(0.02))}, repeat=3, warmup=2)
    assert calls == ["a", "b"] * 5
    assert list(timings) == ["a", "b"] and timings["b"].min >= 0.02 > timings["a"].max
    assert all(timing.min <= timing.median <= timing.max for timing in timings.values())


def test_a_slow_warm_up_is_not_counted():
    naps = iter([0.2, 0, 0, 0])
    assert compare({"nap": lambda: time.sleep(next(naps))}, repeat=3, warmup=1)["nap"].max < 0.1


def test_one_bad_moment_does_not_move_the_median():
    naps = iter([0, 0, 0.5])
    timing = compare({"nap": lambda: time.sleep(next(naps))}, repeat=3, warmup=0)["nap"]
    assert timing.median < 0.1 <= timing.max


@pytest.mark.parametrize("works, repeat", [({}, 5), ({"a": int}, 0)])
def test_nothing_to_compare_is_refused(works, repeat):
    with pytest.raises(ValueError, match="compare needs"):
        compare(works, repeat)


def test_the_machine_is_described_and_the_cpu_needs_no_waiting():
    assert f"PyTorch {torch.__version__}" in describe_machine("cpu") and f"{torch.get_num_threads()} threads" in describe_machine("cpu")
    synchronize("cpu")


# the benchmarks


@pytest.mark.parametrize("name", ["decoding", "linear-model", "two-layer-net", "overhead", "resnet18"])
def test_a_row_is_measured_with_equal_work(bench, name):
    row = bench.ROWS[name](bench.Bench(mnist_sample("bundled"), torch.device("cpu"), repeat=1, share=0.05))
    assert row.theirs.median > 0 and row.ours.median > 0
    if name in ("linear-model", "two-layer-net", "overhead"):  # one and the same training on both sides
        theirs, ours = row.accuracies
        assert ours == pytest.approx(theirs, abs=1e-4)  # a single batch to validate with
    assert bench.line(row).count("|") == 8


def test_the_ratio_stands_last_and_is_the_peers_time_by_ours(bench):
    row = bench.Row("work", "peer", Timing(3.0, 2.0, 4.0), Timing(0.5, 0.4, 0.6), "≥ 3", (0.98, 0.99))
    assert bench.line(row) == "| work | peer | 3 s (2 s to 4 s) | 500 ms (400 ms to 600 ms) | 0.9800 / 0.9900 | ≥ 3 | **6** |"


def test_a_row_that_cannot_be_measured_says_why(bench):
    with pytest.raises(LookupError, match="too few"):
        bench.ten_digits(bench.Bench(mnist_sample("bundled"), torch.device("cpu")))


def test_the_committed_results_are_whole():
    text = (ROOT / "benchmarks" / "results-cpu.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith("| ") and not line.startswith("| work")]
    assert len(rows) == 8 and "not measured" not in text
    assert re.search(r"on \d{4}-\d\d-\d\d at commit `[0-9a-f]{7,}`", text) and "fastai" in text and "threads" in text
    assert all(re.search(r"\*\*[\d.e+]+\*\* \|$", line) for line in rows)
