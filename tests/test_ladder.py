"""The ladder: a table of rungs, and every name that belongs to it in one place."""

import pytest

from mnist_basics import ladder as module
from mnist_basics.ladder import ladder
from mnist_basics.workshop import rungs

COLUMNS = "rung parameters accuracy errors images seconds published device".split()
QUICK = ["pixel similarity", "linear model"]


def test_the_first_two_rungs_climbed_anew():
    table = ladder(QUICK, device="cpu")
    assert list(table.columns) == COLUMNS and list(table["rung"]) == QUICK
    assert list(table["parameters"]) == [1569, 785] and (table["device"] == "cpu").all()
    assert f"{table['accuracy'][0]:.4f}" == "0.9511" and table["accuracy"][1] >= 0.97
    assert list(ladder("pixel similarity")["rung"]) == ["pixel similarity"]


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="no rung 'resnet1812'; there are 'pixel sim"):
        ladder(rungs=["resnet1812"])
    with pytest.raises(ValueError, match="abacus"):
        ladder(device="abacus")
    with pytest.raises(ValueError, match="no rung to climb"):
        ladder(rungs=[])


def test_every_name_of_the_rungs_is_found_on_the_ladder_too():
    for name in set(rungs.__all__) - {"code_behind"}:
        assert getattr(module, name) is getattr(rungs, name), name
