"""The ladder and the command `mnist-basics`, run as a user runs it."""
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import torch
from samples import Server
from typer.testing import CliRunner

from mnist_basics import data
from mnist_basics.data import mnist_sample
from mnist_basics.ladder import RUNGS, Rung, app, draw_ladder, ladder

COLUMNS = ["rung", "parameters", "accuracy", "errors", "images", "seconds", "published", "source", "device"]
COMMAND = Path(sys.executable).with_name("mnist-basics")


def run(*arguments, **environment):
    return subprocess.run([COMMAND, *arguments], capture_output=True, text=True, timeout=120,
                          env={**os.environ, "COLUMNS": "100", **environment})


FAST = ["pixel similarity", "linear model"]  # where any rung will do


def test_a_row_for_each_rung(empty_cache):
    digits = mnist_sample("bundled")
    table = ladder(digits, device="cpu")
    assert list(table.columns) == COLUMNS and list(table["rung"]) == list(RUNGS)
    assert (table["images"] == len(digits.valid_y)).all() and (table["device"] == "cpu").all()
    assert (table["seconds"] > 0).all() and table["errors"].between(0, len(digits.valid_y)).all()
    assert (table["accuracy"] > 0.9).all(), "few images, so more epochs"


def test_no_figure_was_published_for_the_bundled_digits(empty_cache):
    table = ladder(mnist_sample("bundled"), FAST)
    assert table["published"].isna().all() and (table["source"] == "bundled").all()
    assert table["accuracy"].iloc[0] > 0.85
    assert len(draw_ladder(table).axes[0].lines) == 1, "no diamonds where nothing was published"


def test_bad_arguments_are_named(digits):
    with pytest.raises(ValueError, match="no rung 'resnet1812'; there are 'pixel similarity'"):
        ladder(digits, rungs=["resnet1812"])
    with pytest.raises(ValueError, match="abacus"):
        ladder(digits, device="abacus")
    with pytest.raises(ValueError, match="no rung to climb"):
        ladder(digits, rungs=[])
    assert list(ladder(digits, "pixel similarity")["rung"]) == ["pixel similarity"]


def test_the_command_knows_all_names_before_it_climbs(tmp_path):
    result = run("ladder", "--source", "bundled", "--rung", FAST[0], "--rung", "top", "--out", str(tmp_path / "out"))
    assert result.returncode == 2 and "'top'" in result.stderr and not (tmp_path / "out").exists()


def test_the_command_climbs_all_rungs_in_time(digits):
    start = time.perf_counter()
    result = run("ladder", "--json")
    seconds = time.perf_counter() - start
    assert result.returncode == 0, result.stderr
    table = pd.DataFrame(json.loads(result.stdout))
    assert list(table["rung"]) == list(RUNGS) and (table["source"] == digits.source).all()
    assert seconds < 90, "on two cores"
    if digits.source == "mnist":
        assert (table["accuracy"] >= [0.95, 0.97, 0.975, 0.985, 0.995]).all()
        assert table["published"].fillna(0).tolist() == [0.9511, 0.9785, 0.9828, 0, 0.9971]


def test_the_command_prints_a_table(digits):
    result = run("ladder", "--rung", FAST[0], "--rung", "small CNN", "--source", "bundled")
    assert result.returncode == 0, result.stderr
    assert "pixel similarity" in result.stdout and "small CNN" in result.stdout and "none" in result.stdout


def test_each_rung_begins_with_the_seed(digits, monkeypatch):
    drawn = []

    def dice(digits, device, seed):
        drawn.append(torch.rand(()).item())
        return torch.nn.Linear(1, 1), torch.full((len(digits.valid_y),), 3)

    monkeypatch.setitem(RUNGS, "dice", Rung("dice", dice))
    for seed in (1, 1, 2):
        ladder(digits, ["dice"], seed=seed)
    assert drawn[0] == drawn[1] != drawn[2]


def test_a_rung_without_errors_is_in_the_picture_too():
    row = {"rung": "perfect", "accuracy": 1.0, "published": float("nan")}
    axes = draw_ladder(pd.DataFrame([row])).axes[0]
    assert axes.get_ylim()[0] <= axes.lines[0].get_ydata()[0] < 0.1


def test_json_and_files(tmp_path):
    result = run("ladder", "--source", "bundled", "--rung", FAST[0], "--json", "--out", str(tmp_path / "new" / "folder"))
    assert result.returncode == 0, result.stderr
    rows = json.loads(result.stdout)
    assert list(rows[0]) == COLUMNS and rows[0]["published"] is None
    assert list(pd.read_csv(tmp_path / "new" / "folder" / "ladder.csv").columns) == COLUMNS
    assert (tmp_path / "new" / "folder" / "ladder.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("arguments", [
    (), ("climb",), ("ladder", "--source", "mnits"), ("ladder", "--rung", "top"), ("ladder", "--device", "abacus"),
    ("ladder", "--device", "meta"),
    ("ladder", "--seed", "x"), ("data", "--source", "mnits"), ("doctor", "--now"),
])
def test_wrong_use_ends_with_2(arguments):
    assert run(*arguments).returncode == 2


@pytest.mark.parametrize("arguments", [("--help",), ("ladder", "--help"), ("data", "--help"), ("doctor", "--help")])
def test_help_is_there(arguments):
    result = run(*arguments)
    assert result.returncode == 0 and "Usage" in result.stdout


def test_missing_digits_are_one_sentence_and_1(tmp_path):
    for command in ("ladder", "data"):
        result = run(command, MNIST_BASICS_DATA=str(tmp_path / "nowhere"))
        assert result.returncode == 1 and "Traceback" not in result.stderr and str(tmp_path / "nowhere") in result.stderr


def test_a_folder_that_cannot_be_made_is_one_sentence_and_1(tmp_path):
    (tmp_path / "file").write_text("")
    result = run("ladder", "--source", "bundled", "--out", str(tmp_path / "file" / "sub"))
    assert result.returncode == 1 and "Traceback" not in result.stderr and "file" in result.stderr


def test_json_stays_pure_where_there_is_no_stderr(tmp_path):
    command = f"'{COMMAND}' ladder --source bundled --rung 'linear model' --json 2>&-"
    result = subprocess.run(command, shell=True, capture_output=True, text=True)
    assert result.returncode == 0 and json.loads(result.stdout)[0]["source"] == "bundled"


def test_data_says_what_is_in_use_and_where(digits, tmp_path):
    result = run("data", "--source", "bundled", MNIST_BASICS_CACHE=str(tmp_path))
    assert "bundled" in result.stdout and "scikit-learn" in result.stdout and str(tmp_path) in result.stdout
    if data_folder := os.environ.get("MNIST_BASICS_DATA"):
        assert data_folder in run("data").stdout and "mnist" in run("data").stdout


def test_data_refuses_to_pretend(tmp_path):
    nobody = "http://127.0.0.1:9"
    result = run("data", "--source", "mnist", MNIST_BASICS_DATA="", MNIST_BASICS_CACHE=str(tmp_path),
                 http_proxy=nobody, https_proxy=nobody, HTTP_PROXY=nobody, HTTPS_PROXY=nobody)
    assert result.returncode == 1 and "could not be downloaded" in result.stderr and "Traceback" not in result.stderr


def test_the_doctor_finds_nothing_here():
    result = run("doctor")
    assert result.returncode == 0, result.stdout
    for word in ("Python", "PyTorch", "torchvision", "device", "digits", "JupyterLab"):
        assert word in result.stdout


def broken(tmp_path, name, body):
    """A folder for PYTHONPATH in which the package `name` does `body` when imported."""
    (tmp_path / name).mkdir()
    (tmp_path / name / "__init__.py").write_text(body)
    return str(tmp_path)


@pytest.mark.parametrize("name, body, says", [
    ("torchvision", "raise RuntimeError('operator torchvision::nms does not exist')", "not a pair"),
    ("torchvision", "raise ImportError('libtorch_cuda.so: cannot open shared object file')", "libtorch_cuda.so"),
    ("torch", "raise ImportError('libcudnn.so.9 is missing')", "libcudnn.so.9"),
])
def test_the_doctor_recognises_a_broken_pair(name, body, says, tmp_path):
    result = run("doctor", PYTHONPATH=broken(tmp_path, name, body))
    assert result.returncode == 1 and says in result.stdout and "pip install" in result.stdout, result.stdout + result.stderr


def examined(monkeypatch, **environment):
    """What the doctor prints, in this process: PyTorch takes seconds to import."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return CliRunner().invoke(app, ["doctor"])


def test_the_doctor_sees_a_bad_data_folder_and_a_bad_device(tmp_path, monkeypatch):
    result = examined(monkeypatch, MNIST_BASICS_DATA=str(tmp_path / "nowhere"), MNIST_BASICS_DEVICE="abacus")
    assert result.exit_code == 1 and "nowhere" in result.output and "abacus" in result.output
    assert result.output.count("-> ") == 2


def test_the_doctor_reads_the_digits(tmp_path, monkeypatch):
    (tmp_path / "mnist_sample.tgz").write_bytes(b"junk")
    result = examined(monkeypatch, MNIST_BASICS_DATA=str(tmp_path))
    assert result.exit_code == 1 and "mnist_sample.tgz is truncated or damaged" in result.output


def test_the_doctor_speaks_plain_letters(tmp_path, monkeypatch):
    result = examined(monkeypatch, MNIST_BASICS_DATA=str(tmp_path / "nowhere"))
    result.output.encode("cp1252")


def test_the_doctor_misses_jupyter(monkeypatch):
    import importlib.metadata

    from mnist_basics import ladder as module

    def missing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(module.importlib.metadata, "version", missing)
    assert module.examine_jupyter().remedy == "pip install jupyterlab"


def test_the_doctor_does_not_fetch_anything(empty_cache, monkeypatch):
    with Server(404) as server:
        monkeypatch.setattr(data, "SAMPLE_URL", server.url + "mnist_sample.tgz")
        result = examined(monkeypatch)
    assert result.exit_code == 0 and not server.requests and "scikit-learn" in result.output
    assert not empty_cache.exists()
