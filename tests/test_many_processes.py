"""Many processes end where one does, in weights, records and saved files."""

import inspect
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import group_work as work
import psutil
import pytest
import torch
import torch.distributed as dist
from small_nets import assert_same_model
from torch import nn
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook
from torch.nn.parallel import DistributedDataParallel

from mnist_basics.convolutions import simple_cnn
from mnist_basics.data import Digits
from mnist_basics.ladder import RUNGS, climb, train_on_rows
from mnist_basics.learner import Learner
from mnist_basics.linear_model import Batches
from mnist_basics.many_processes import (
    AverageGradients,
    DistributedLearner,
    Shares,
    bytes_of_gradient,
    train_rung,
)
from mnist_basics.workshop.processes import start

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="not on Windows")
close = partial(torch.testing.assert_close, rtol=0)


def as_tensors(result):
    """Weights and records, without the time."""
    return {
        name: result[name] for name in ("model", "values", "losses", "lrs", "valid")
    }


def assert_all_end_alike(results, expected):
    first = results[0]
    close(as_tensors(first), as_tensors(expected), atol=1e-5)
    close(first["values"], expected["values"], atol=1e-6)
    for other in results[1:]:  # to the last bit
        close(as_tensors(other), as_tensors(first), atol=0)


# One process and several


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_n_processes_end_where_one_does(n):
    expected, several = work.all_nets(), start(work.all_nets, n)
    assert set(expected) == {"linear model", "two-layer net", "small CNN"}
    for name, one in expected.items():
        assert_all_end_alike([each[name] for each in several], one)


def test_with_adam_too():
    expected = work.all_nets(opt="Adam", lr=0.01)
    several = start(partial(work.all_nets, opt="Adam", lr=0.01), 2)
    for name, one in expected.items():
        assert_all_end_alike([each[name] for each in several], one)


def test_batches_with_fewer_images_than_processes_count_rightly():
    few = partial(work.fitted, size=2, epochs=1)  # 26 batches of 2, and one of 1
    assert_all_end_alike(start(few, 3), few())


def test_the_average_by_hand_is_the_whole_gradient():
    for rank_sees in start(work.gradient, 3, [256, 100, 4]):
        for averaged, whole in rank_sees:
            close(averaged, whole, atol=1e-6)


def test_alone_it_is_a_learner():
    ours, theirs = work.learner(), work.learner()
    plain = Learner(theirs.dls, theirs.model, lr=0.3, progress=False)
    ours.fit(2)
    plain.fit(2)
    assert isinstance(ours, DistributedLearner)
    assert_same_model(ours.model, plain.model)


def test_batch_normalisation_is_that_of_the_share_and_the_same_in_all():
    normalised = partial(work.fitted, net="normalised")
    one, (first, second) = normalised(), start(normalised, 2)
    close(first["model"], second["model"], atol=0)
    close(first["values"], second["values"], atol=0)
    with pytest.raises(AssertionError):
        close(first["model"], one["model"], atol=1e-3)


def test_a_learning_rate_is_found_by_all_together():
    first, second = start(work.finds, 2)
    assert first == second
    close(first[2:], work.finds()[2:], atol=1e-5)


def test_the_wrapper_has_no_more_than_sixty_lines():
    parts = AverageGradients, DistributedLearner
    assert sum(len(inspect.getsource(part).splitlines()) for part in parts) <= 60


# Shares


@pytest.mark.parametrize("n, size", [(1, 4), (2, 4), (3, 4), (4, 4), (5, 2)])
def test_each_image_falls_to_one_process_once_in_the_order_of_one(n, size):
    def batches(shuffle=True):
        order = torch.Generator().manual_seed(5)
        return Batches(torch.arange(11), torch.arange(11), size, shuffle, "cpu", order)

    for shuffle in (True, False):
        of_one = [xb.tolist() for xb, _ in batches(shuffle)]
        found = [[] for _ in of_one]
        weights = [0.0] * len(of_one)
        for rank in range(n):
            shares = Shares(batches(shuffle), (rank, n))
            assert len(shares) == len(of_one)
            for i, (xb, yb) in enumerate(shares):
                assert xb.equal(yb) and len(xb) > 0
                found[i] += xb.tolist() if shares.weight else []
                weights[i] += shares.weight
            assert shares.sizes == [len(xb) for xb in of_one]
        assert [sorted(xb) for xb in found] == [sorted(xb) for xb in of_one]
        assert weights == pytest.approx([n] * len(of_one))


def test_bytes_are_those_of_what_is_trained():
    model = simple_cnn()
    assert bytes_of_gradient(nn.Linear(784, 1)) == 785 * 4
    model[0].requires_grad_(False)
    frozen = sum(param.numel() for param in model[0].parameters())
    whole = sum(param.numel() for param in model.parameters())
    assert bytes_of_gradient(model) == 4 * (whole - frozen)


def test_ddp_hands_over_the_bytes_that_we_count():
    handed = []

    def count(state, bucket):
        handed.append(bucket.buffer().nbytes)
        return allreduce_hook(state, bucket)

    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        for name in ("linear model", "two-layer net", "small CNN", "ResNet18"):
            model = DistributedDataParallel(RUNGS[name].build())
            model.register_comm_hook(None, count)
            handed.clear()
            RUNGS[name].ask(model, torch.rand(2, 28, 28)).sum().backward()
            assert sum(handed) == bytes_of_gradient(model)
    finally:
        dist.destroy_process_group()


def test_a_batch_with_fewer_images_than_processes_has_no_average():
    with pytest.raises(RuntimeError, match="There are 3 processes, but only 2 images"):
        start(work.gradient, 3, [2])


# Saving, and who shows what


@pytest.mark.parametrize("opt", ["ours", "Adam"])
def test_others_go_on_where_some_have_saved(opt, tmp_path):
    file = str(tmp_path / "net.pt")
    about = {"opt": opt, "lr": 0.3 if opt == "ours" else 0.01}
    straight = work.fitted(4, **about)
    start(partial(work.fitted, save=file, **about), 2, 2)
    [third, *_] = start(partial(work.fitted, load=file, save=file, **about), 3, 1)
    last = work.fitted(1, load=file, **about)
    assert [len(each["values"]) for each in (third, last)] == [3, 4]
    assert_all_end_alike([last], straight)


def test_only_rank_0_saves_and_only_rank_0_shows(tmp_path):
    start(work.saves_in_its_own_place, 2, str(tmp_path))
    assert [file.name for file in tmp_path.iterdir()] == ["0.pt"]
    start(work.shows, 2, str(tmp_path / "table"))
    shown = [
        (tmp_path / f"table.{rank}").read_text(encoding="utf-8") for rank in (0, 1)
    ]
    assert "train_loss" in shown[0] and shown[1] == ""


# The rungs, and the program for torchrun


@pytest.fixture(scope="module")
def few(digits):
    x, y = digits.train_x[::40], digits.train_y[::40]
    return Digits(x, y, digits.valid_x[::20], digits.valid_y[::20])


@pytest.mark.parametrize("name", ["linear model", "small CNN"])
def test_a_rung_is_trained_as_on_the_ladder(name, few):
    rung = RUNGS[name]
    short = rung._replace(train=partial(rung.train, epochs=2))
    trained = train_rung(short, digits=few)
    expected = climb(short, few, "cpu").model.state_dict()
    close(trained["model"], dict(expected), atol=0)
    assert len(trained["values"]) == 2
    assert len(train_rung(rung, 1, digits=few)["values"]) == 1


def test_a_rung_without_gradients_and_one_that_is_not_there(few):
    with pytest.raises(ValueError, match="'pixel similarity' learns nothing by grad"):
        train_rung("pixel similarity", digits=few)
    with pytest.raises(ValueError, match="no rung 'ResNet'; there are"):
        train_rung("ResNet", digits=few)
    assert RUNGS["linear model"].train.func is train_on_rows


def torchrun(*arguments):
    """As in a terminal; what it said, and whether all is over."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", "2", "-m", "mnist_basics.many_processes"]
    root = Path(__file__).parents[1]
    environment = {**os.environ, "PYTHONPATH": str(root), "MNIST_BASICS_DEVICE": "cpu"}
    about = {"env": environment, "encoding": "utf-8", "timeout": 300}
    done = subprocess.run([*command, *arguments], capture_output=True, **about)
    for process in psutil.process_iter(["cmdline"]):
        running = " ".join(process.info["cmdline"] or ())
        assert not all(argument in running for argument in arguments), running
    return done


def test_torchrun_trains_and_saves_once_and_says_so_once(tmp_path):
    file = str(tmp_path / "net.pt")
    done = torchrun("--rung", "linear model", "--epochs", "1", "--file", file)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("train_loss") == 1
    assert done.stdout.count("2 processes, linear model: ") == 1
    assert len(train_rung("linear model", 1, file)["values"]) == 1  # 1 in all
    assert len(train_rung("linear model", 2, file)["values"]) == 2
