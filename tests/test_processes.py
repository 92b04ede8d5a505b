"""Processes that are started together: results, and that all end when one does."""

import multiprocessing
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path

import group_work as work
import psutil
import pytest
import torch

from mnist_basics.workshop import processes
from mnist_basics.workshop.processes import in_group, own_device, start, where

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="not on Windows")


@pytest.fixture(autouse=True)
def nothing_is_left_running():
    """But what waits for the next start, and never does anything by itself."""
    idle = "forkserver", "resource_tracker"
    yield
    assert not multiprocessing.active_children()
    for child in psutil.Process().children(recursive=True):
        assert any(name in " ".join(child.cmdline()[:4]) for name in idle) or (
            child.status() == psutil.STATUS_ZOMBIE
        )


def test_each_has_its_rank_and_returns_its_result():
    assert where() == (0, 1)
    assert start(where, 3) == [(0, 3), (1, 3), (2, 3)]
    assert len({os.getpid(), *start(work.pid, 2)}) == 3


def test_threads_and_environment_are_handed_over(monkeypatch):
    monkeypatch.setenv("MNIST_BASICS_TEST", "handed over")
    assert start(os.getenv, 2, "MNIST_BASICS_TEST") == ["handed over"] * 2
    assert start(torch.get_num_threads, 1) == [1]
    assert start(torch.get_num_threads, 2, threads=2) == [2, 2]


def test_a_variable_that_is_gone_is_gone_there_too(monkeypatch):
    monkeypatch.setenv("MNIST_BASICS_TEST", "there")
    start(where, 1)
    monkeypatch.delenv("MNIST_BASICS_TEST")
    assert start(os.getenv, 1, "MNIST_BASICS_TEST") == [None]


def test_each_process_has_arguments_of_its_own():
    torch.manual_seed(3)
    model = work.NETS["two-layer net"]()
    before = [param.clone() for param in model.parameters()]
    several = start(work.train, 2, model)
    torch.testing.assert_close(list(model.parameters()), before, rtol=0, atol=0)
    alone = dict(work.train(model))
    for theirs in several:
        torch.testing.assert_close(dict(theirs), alone, rtol=0, atol=1e-5)


def exit_codes(target, folder):
    """Run `target(rank, port, folder)` in two processes, as torchrun would."""
    store = processes._store(0)  # outlives both
    start(where, 1)  # the modules are imported
    new = multiprocessing.get_context(processes.METHOD).Process
    about = [(rank, store.port, str(folder)) for rank in (0, 1)]
    both = [new(target=target, args=args) for args in about]
    for process in both:
        process.start()
    for process in both:
        process.join(300)
    return [process.exitcode for process in both]


def test_a_program_in_two_processes_ends_with_one_sentence(tmp_path):
    assert exit_codes(work.fails_as_a_program, tmp_path) == [1, 1]
    says = [file.read_text(encoding="utf-8") for file in tmp_path.glob("says.*")]
    [sentence] = "".join(says).splitlines()
    who = r"Process [01] of 2 failed\. ValueError: There is no rung 'a rung that is not"
    assert re.match(who, sentence)


def test_nobody_begins_before_all_have_joined(tmp_path):
    """Else one with little to do has left, and the others cannot join."""
    assert exit_codes(work.joins, tmp_path) == [0, 0]
    assert (tmp_path / "0").read_text(encoding="utf-8") == "True"


def test_any_result_is_brought_back():
    assert start(Path, 2, "/tmp") == [Path("/tmp")] * 2


def test_spawn_does_it_too(monkeypatch):
    "The way that a Mac takes."
    monkeypatch.setattr(processes, "METHOD", "spawn")
    assert start(where, 1) == [(0, 1)]


def assert_saved_after_one_epoch(file):
    learn = work.learner()
    learn.load(file)
    assert len(learn.recorder.values) == 1


@pytest.mark.parametrize("rank", [0, 1])
def test_one_that_is_killed_in_the_middle_of_a_step_ends_all(rank, tmp_path):
    says = rf"^Process {rank} of 2 was killed \(SIGKILL\); all have been ended\.$"
    with pytest.raises(RuntimeError, match=says):
        start(work.fault, 2, "after_loss", "kill", rank, str(tmp_path / "net.pt"))
    assert_saved_after_one_epoch(tmp_path / "net.pt")


@pytest.mark.parametrize("event", ["before_batch", "after_loss", "after_backward"])
def test_one_that_raises_ends_all_and_its_sentence_is_told(event, tmp_path):
    says = r"^Process 1 of 3 failed\. OSError: the disk of this process is gone$"
    with pytest.raises(RuntimeError, match=says):
        start(work.fault, 3, event, "fail", 1, str(tmp_path / "net.pt"))
    assert_saved_after_one_epoch(tmp_path / "net.pt")


@pytest.mark.parametrize("rank", [0, 1])
def test_one_that_fails_waits_for_nobody_at_the_end_of_its_fit(rank, tmp_path):
    says = rf"^Process {rank} of 2 failed\. OSError: the disk of this process is gone"
    with pytest.raises(RuntimeError, match=says):
        start(work.fails_and_saves, 2, str(tmp_path / "net.pt"), rank)


def test_all_hear_of_it_if_a_file_cannot_be_written_and_may_go_on(tmp_path):
    says = start(work.saves_nowhere, 2, str(tmp_path))
    assert says[0] == says[1] and "cannot be written" in says[0]


def test_one_that_is_interrupted_ends_all():
    says = r"^Process 0 of 2 was interrupted \(Ctrl-C\)\.$"
    with pytest.raises(RuntimeError, match=says):
        start(work.fault, 2, "after_loss", "interrupt", 0)


def test_one_that_leaves_without_a_word_ends_all():
    with pytest.raises(RuntimeError, match="of 2 ended with exit code 3; all have"):
        start(os._exit, 2, 3)


def started_in(folder, starter):
    """The two processes that are at work, once they have said so in a folder."""
    while len(list(folder.glob("*"))) < 2 and starter.poll() is None:
        threading.Event().wait(0.01)
    return [psutil.Process(int(file.name)) for file in folder.iterdir()]


def test_ctrl_c_and_the_death_of_the_starter_end_all(tmp_path):
    """Ctrl-C in a terminal or in Jupyter goes to all processes of the group."""
    root, here = Path(__file__).parents[1], Path(__file__).parent
    program = f"import group_waits; group_waits.main({str(tmp_path)!r})"
    environment = {**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{here}"}
    about = {"env": environment, "start_new_session": True, "encoding": "utf-8"}
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, stderr=subprocess.PIPE, **about) as starter:
        interrupted = started_in(tmp_path / "interrupted", starter)
        os.killpg(starter.pid, signal.SIGINT)
        gone, alive = psutil.wait_procs(interrupted, timeout=300)
        killed = started_in(tmp_path / "killed", starter)
        starter.kill()
        gone_too, alive_too = psutil.wait_procs(killed, timeout=300)
        for process in alive + alive_too:
            process.kill()
        says = starter.stderr.read()
    assert len(gone) == len(gone_too) == 2
    assert "Interrupted; all processes have been ended." in says


def test_the_meeting_place_is_not_to_be_had_from_outside():
    store = processes._store(0)
    [heard] = [
        place.laddr.ip
        for place in psutil.Process().net_connections("tcp")
        if place.status == psutil.CONN_LISTEN and place.laddr.port == store.port
    ]
    assert heard == "127.0.0.1"


def test_a_port_that_is_taken_is_named_and_nothing_is_started():
    with socket.create_server(("", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=rf"^Port {port} cannot be had; it may be"):
            start(where, 2, port=port)
    assert start(where, 2, port=port) == [(0, 2), (1, 2)]


def test_a_port_that_is_taken_ends_a_program_with_one_sentence(monkeypatch):
    with socket.create_server(("", 0)) as taken:
        port = taken.getsockname()[1]
        about = {"RANK": 0, "WORLD_SIZE": 2, "MASTER_PORT": port}
        for name, value in {**about, "MASTER_ADDR": "127.0.0.1"}.items():
            monkeypatch.setenv(name, str(value))
        with pytest.raises(SystemExit, match="Process 0 of 2 .*Is the port taken?"):
            with in_group():
                pass


def of_a_cell():
    pass


class OfACell:
    pass


def test_work_that_cannot_be_found_is_refused(monkeypatch):
    monkeypatch.setattr(of_a_cell, "__module__", "__main__")
    with pytest.raises(ValueError, match="of_a_cell stands in a cell, .* from mine"):
        start(of_a_cell, 2)
    with pytest.raises(ValueError, match="of_a_cell stands in a cell"):
        start(where, 2, [of_a_cell])
    monkeypatch.setattr(OfACell, "__module__", "__main__")
    with pytest.raises(ValueError, match="OfACell stands in a cell"):
        start(id, 2, OfACell())
    with pytest.raises(ValueError, match="A new process cannot have this: .*lambda"):
        start(lambda: 3, 2)
    with pytest.raises(ValueError, match="work must be a function, not 3"):
        start(3, 2)
    with pytest.raises(ValueError, match="n must be a whole number, 1 or more"):
        start(where, 0)
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(OSError, match="on Linux and macOS only"):
        start(where, 2)


def test_each_process_has_the_gpu_of_its_number(monkeypatch):
    monkeypatch.setenv("MNIST_BASICS_DEVICE", "cpu")
    assert own_device() == torch.device("cpu")
    chosen = []
    cuda = torch.device("cuda")
    monkeypatch.setattr(processes, "default_device", lambda: cuda)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert own_device() == torch.device("cuda", 1) and chosen == [1]
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(ValueError, match="There are 2 GPUs here, too few"):
        own_device()


def test_a_program_that_nobody_started_runs_alone(monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    with pytest.raises(ValueError, match="as it is"), in_group():
        assert where() == (0, 1)
        raise ValueError("as it is")


@pytest.mark.parametrize(
    "change, name",
    [
        ("other_images", "the training set"),
        ("other_order", "the order of images"),
        ("other_place", "the order of images"),
        ("other_size", "the size of a batch"),
        ("other_rate", "the optimizer or its rate"),
    ],
)
def test_what_is_not_the_same_everywhere_is_named(change, name):
    says = rf"ValueError: In process 1, {name} is not what it is in process 0\."
    with pytest.raises(RuntimeError, match=says):
        start(work.changed, 2, change)


def test_batch_normalisation_needs_two_images_in_each_share():
    says = "With batch normalisation, each of 2 processes needs 2 or more images"
    with pytest.raises(RuntimeError, match=says):  # 53 = 2 · 25 + 3
        start(partial(work.fitted, net="normalised", size=25), 2)


def test_nan_in_the_data_ends_all_and_is_told():
    says = "FloatingPointError: The loss became nan in epoch 0.* nan or inf in the data"
    with pytest.raises(RuntimeError, match=says):
        start(work.changed, 2, "spoiled")


def test_only_batches_can_be_shared():
    says = "ValueError: Only Batches can be shared among processes, not list"
    with pytest.raises(RuntimeError, match=says):
        start(work.changed, 2, "other_kind")


def test_killed_while_it_saves_leaves_the_old_file_whole(tmp_path):
    file = tmp_path / "net.pt"
    with pytest.raises(RuntimeError, match="Process 0 of 2 was killed"):
        start(work.killed_while_saving, 2, str(file))
    assert_saved_after_one_epoch(file)
