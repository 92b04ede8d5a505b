"""Workshop room figures: a picture with its line of words, the colours, and print."""

import matplotlib.pyplot as plt
import pytest
import torch
from IPython.display import Markdown
from matplotlib.colors import to_rgb

from mnist_basics.workshop import figures
from mnist_basics.workshop.figures import (
    FOR_3_OR_7,
    SEVEN,
    THREE,
    check_published,
    show_figure,
)


@pytest.fixture
def shown(monkeypatch):
    """What has been displayed, in order: the thing, and the metadata beside it."""
    displayed = []

    def display(thing, metadata=None):
        displayed.append((thing, metadata))

    monkeypatch.setattr(figures, "display", display)
    yield displayed
    plt.close("all")


@pytest.mark.parametrize("given", ["figure", "axes"])
def test_a_figure_is_shown_once_and_then_a_line_says_what_is_seen(given, shown):
    fig, ax = plt.subplots()
    show_figure(fig if given == "figure" else ax, "a slope, from low to high.")
    (picture, metadata), (line, none) = shown
    assert picture is fig and none is None
    assert metadata == {"image/png": {"alt": "a slope, from low to high."}}
    assert isinstance(line, Markdown)
    assert line.data == "*What you see: a slope, from low to high.*"


def test_a_figure_is_closed_and_the_others_are_not(shown):
    other, fig = plt.figure(), plt.figure()
    show_figure(fig, "nothing at all.")
    assert plt.get_fignums() == [other.number]


def test_the_colours_can_be_told_apart_and_the_scale_runs_between_them():
    assert FOR_3_OR_7(1.0)[:3] == pytest.approx(to_rgb(THREE), abs=1e-6)
    assert FOR_3_OR_7(0.0)[:3] == pytest.approx(to_rgb(SEVEN), abs=1e-6)
    assert min(FOR_3_OR_7(0.5)[:3]) > 0.98, "white in the middle"
    three, seven = to_rgb(THREE), to_rgb(SEVEN)
    assert three[0] - three[2] > 0.5 and seven[2] - seven[0] > 0.5, "orange and blue"


@pytest.mark.parametrize(
    "here, published",
    [
        (0.95114, "0.9511"),
        (torch.tensor(0.95114), "0.9511"),
        (6131, "6131"),
        (torch.tensor(6131), "6131"),
        ([1010, 28, 28], "[1010, 28, 28]"),
        ("10000.png", "10000.png"),
        (0.5, "0.50"),
    ],
)
def test_a_published_figure_is_confirmed(here, published, capsys):
    check_published(here, published)
    assert capsys.readouterr().out == f"{published}, as published\n"


@pytest.mark.parametrize(
    "here, published",
    [
        (0.95116, "0.9511"),
        (torch.tensor(0.9512), "0.9511"),
        (6130, "6131"),
        ([1010, 28], "[1010, 28, 28]"),
        ("1.png", "10000.png"),
        (float("nan"), "0.9511"),
    ],
)
def test_another_figure_stops_the_notebook(here, published, capsys):
    with pytest.raises(AssertionError, match="was published"):
        check_published(here, published)
    assert capsys.readouterr().out == ""
