"""What a time was measured on (workshop/machine)."""

import os
import platform

import pytest
import torch

from mnist_basics.workshop import machine
from mnist_basics.workshop.machine import describe_machine


def test_the_machine_is_described():
    text = describe_machine("cpu")
    for part in (
        f"PyTorch {torch.__version__}",
        f"{torch.get_num_threads()} threads",
        f"{os.cpu_count()} cores",
        f"Python {platform.python_version()}",
        platform.system(),
    ):
        assert part in text
    assert describe_machine(torch.device("cpu")) == text


def test_another_device_is_named_first(monkeypatch):
    monkeypatch.setattr(machine, "usable_device", torch.device)
    assert describe_machine("meta").startswith("meta, with ")


def test_a_device_of_no_use_is_named():
    with pytest.raises(ValueError, match="'abacus' cannot be used here"):
        describe_machine("abacus")


def test_a_name_in_no_known_writing_is_read_all_the_same(monkeypatch, tmp_path):
    (tmp_path / "cpuinfo").write_bytes(b"model name : Abacus\xff 3\n")
    monkeypatch.setattr(machine, "Path", lambda name: tmp_path / "cpuinfo")
    assert "Abacus\ufffd 3, " in describe_machine("cpu")


def test_where_there_is_no_cpuinfo_python_is_asked(monkeypatch, tmp_path):
    monkeypatch.setattr(machine, "Path", lambda name: tmp_path / "nothing")
    monkeypatch.setattr(platform, "processor", lambda: "Abacus 3")
    assert "Abacus 3, " in describe_machine("cpu")
    (tmp_path / "nothing").write_text("no model here\n", encoding="utf-8")
    assert "Abacus 3, " in describe_machine("cpu")
