"""The command `mnist-basics`, run as a user runs it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from typer.testing import CliRunner

from mnist_basics import data
from mnist_basics.workshop import command
from mnist_basics.workshop.command import app, examine_digits

COMMAND = Path(sys.executable).with_name("mnist-basics")


def run(*arguments, **environment):
    env = {**os.environ, "COLUMNS": "100", **environment}
    line = [COMMAND, *arguments]
    return subprocess.run(line, capture_output=True, encoding="utf-8", env=env)


def test_it_prints_the_table_with_the_published_figures():
    rungs = ["--rung", "pixel similarity", "--rung", "linear model"]
    result = run("ladder", *rungs)
    assert result.returncode == 0, result.stderr
    table, note = result.stdout.split("The accuracy of ")
    row = table.splitlines()[1].split()
    assert row[:2] == ["pixel", "similarity"] and row.count("0.9511") == 2
    assert note == (
        "pixel similarity is the mean of those on 3s and on 7s, as in the book;\n"
        "among all images, it is 0.9514.\n"
    )


def test_json_and_files(tmp_path):
    out = tmp_path / "new" / "folder"
    arguments = ["--rung", "pixel similarity", "--rung", "small CNN", "--json"]
    result = run("ladder", *arguments, "--out", str(out))
    assert result.returncode == 0, result.stderr
    rows = json.loads(result.stdout)
    assert rows[0]["errors"] == 99 and rows[1]["published"] is None
    assert list(pd.read_csv(out / "ladder.csv").columns) == list(rows[0])
    assert (out / "ladder.png").read_bytes().startswith(b"\x89PNG")


def test_it_knows_all_names_before_it_climbs(tmp_path):
    rungs = ["--rung", "pixel similarity", "--rung", "top"]
    result = run("ladder", *rungs, "--out", str(tmp_path / "out"))
    assert result.returncode == 2 and "'top'" in result.stderr
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_made_is_one_sentence_and_1(tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    result = run("ladder", "--out", str(tmp_path / "file" / "sub"))
    assert result.returncode == 1 and "Traceback" not in result.stderr
    assert "file" in result.stderr


def test_json_stays_pure_where_there_is_no_stderr():
    line = f"'{COMMAND}' ladder --rung 'pixel similarity' --json 2>&-"
    result = subprocess.run(line, shell=True, capture_output=True, encoding="utf-8")
    assert result.returncode == 0 and json.loads(result.stdout)[0]["errors"] == 99


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("climb",),
        ("data",),
        ("ladder", "--rung", "top"),
        ("ladder", "--device", "abacus"),
        ("ladder", "--seed", "x"),
        ("doctor", "--now"),
    ],
)
def test_wrong_use_ends_with_2(arguments):
    assert CliRunner().invoke(app, arguments).exit_code == 2


@pytest.mark.parametrize("arguments", [[], ["ladder"], ["doctor"]])
def test_help_is_there(arguments):
    result = CliRunner().invoke(app, [*arguments, "--help"])
    assert result.exit_code == 0 and "Usage" in result.output


def test_damaged_digits_are_one_sentence_and_1(monkeypatch):
    def damaged():
        raise data.DataError("train_x.npy is damaged. Install mnist_basics again.")

    monkeypatch.setattr("mnist_basics.ladder.mnist_sample", damaged)
    result = CliRunner().invoke(app, ["ladder"])
    assert result.exit_code == 1 and "Install mnist_basics again." in result.output


# The doctor


def test_the_doctor_finds_nothing_here():
    result = run("doctor")
    assert result.returncode == 0, result.stdout
    for word in ("Python", "PyTorch", "torchvision", "device", "70,000", "JupyterLab"):
        assert word in result.stdout


@pytest.mark.parametrize(
    "name, body, says",
    [
        ("torchvision", "RuntimeError('no operator torchvision::nms')", "not a pair"),
        (
            "torchvision",
            "ImportError('libtorch_cuda.so: no such file')",
            "libtorch_cuda",
        ),
        ("torch", "ImportError('libcudnn.so.9 is missing')", "libcudnn.so.9"),
    ],
)
def test_the_doctor_recognises_a_broken_pair(name, body, says, tmp_path):
    (tmp_path / name).mkdir()
    (tmp_path / name / "__init__.py").write_text(f"raise {body}", encoding="utf-8")
    result = run("doctor", PYTHONPATH=str(tmp_path))
    assert result.returncode == 1, result.stdout + result.stderr
    assert says in result.stdout and "pip install" in result.stdout


def test_the_doctor_sees_a_bad_device(monkeypatch):
    monkeypatch.setenv("MNIST_BASICS_DEVICE", "abacus")
    result = CliRunner().invoke(app, ["doctor"])
    assert result.exit_code == 1 and "abacus" in result.output
    assert result.output.count("-> ") == 1
    result.output.encode("cp1252")  # plain letters, for a plain terminal


def test_the_doctor_compares_every_pixel(monkeypatch):
    full = data.mnist_full()
    images = full.train_x.clone()
    images[59_999, 27, 27] += 1
    changed = data.Digits(images, full.train_y, full.valid_x, full.valid_y)
    monkeypatch.setattr(data, "mnist_full", lambda: changed)
    finding = examine_digits()
    assert "train_x.npy is not as it was published" in finding.says
    assert "Install" in finding.remedy
    monkeypatch.undo()
    assert not examine_digits().remedy


def test_what_the_doctor_compares_is_the_idx_form():
    images = torch.arange(2 * 3 * 4, dtype=torch.uint8).view(2, 3, 4)
    header = np.array([2051, 2, 3, 4], ">i4").tobytes()
    assert command._idx_bytes(images) == header + bytes(range(24))
    labels = torch.tensor([3, 7], dtype=torch.uint8)
    header = np.array([2049, 2], ">i4").tobytes()
    assert command._idx_bytes(labels) == header + bytes([3, 7])


def test_the_doctor_misses_jupyter(monkeypatch):
    def missing(name):
        raise command.importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(command.importlib.metadata, "version", missing)
    assert command.examine_jupyter().remedy == "pip install jupyterlab"
