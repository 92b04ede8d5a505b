"""Workshop room devices: which one is chosen, and what is said of one of no use."""

import pytest
import torch

from mnist_basics.workshop.devices import default_device, usable_device


@pytest.fixture
def machine(monkeypatch):
    """Sets what the machine has; nothing, to begin with, and no wish either."""

    def has(cuda=False, mps=False):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)

    monkeypatch.delenv("MNIST_BASICS_DEVICE", raising=False)
    has()
    return has


@pytest.mark.parametrize(
    "there, expected",
    [
        ({}, "cpu"),
        ({"mps": True}, "mps"),
        ({"cuda": True}, "cuda"),
        ({"cuda": True, "mps": True}, "cuda"),
    ],
)
def test_the_fastest_device_is_the_default(there, expected, machine):
    machine(**there)
    assert default_device() == torch.device(expected)


def test_the_device_can_be_chosen(machine, monkeypatch):
    machine(cuda=True)
    monkeypatch.setenv("MNIST_BASICS_DEVICE", "cpu")
    assert default_device() == torch.device("cpu")
    monkeypatch.setenv("MNIST_BASICS_DEVICE", "")
    assert default_device() == torch.device("cuda"), "an empty one counts as unset"


@pytest.mark.parametrize(
    "wrong", ["abacus", "cuda:99", "meta", "hpu", "xpu", "CPU", "cpu:x"]
)
def test_a_device_of_no_use_is_named(wrong, monkeypatch):
    monkeypatch.setenv("MNIST_BASICS_DEVICE", wrong)
    for choose in (default_device, lambda: usable_device(wrong)):
        with pytest.raises(ValueError, match=wrong) as error:
            choose()
        assert "MNIST_BASICS_DEVICE" in str(error.value)
        assert len(str(error.value).splitlines()) == 1


def test_a_device_may_be_given_as_one():
    assert usable_device(torch.device("cpu")) == torch.device("cpu")


@pytest.mark.parametrize("error", [KeyError(), MemoryError("a long story " * 99)])
def test_whatever_a_device_raises_is_one_short_sentence(error, monkeypatch):
    def zeros(*arguments, **options):
        raise error

    monkeypatch.setattr(torch, "zeros", zeros)
    with pytest.raises(ValueError, match="'npu' cannot be used here") as sentence:
        usable_device("npu")
    assert len(str(sentence.value)) < 300
