"""Workshop room charts: contour lines with paths, a finder's curve, rows of dots."""

from types import SimpleNamespace

import pytest
import torch

from mnist_basics.workshop.charts import (
    draw_contours,
    draw_dots,
    draw_finding,
    draw_paths,
)


def bowl(place):
    x, y = place
    return x**2 + 3 * y**2


def points(line):
    return torch.tensor(line.get_xydata()).float()


def test_each_path_gets_a_map_with_its_title_its_two_ends_and_the_lowest_place():
    paths = {name: torch.randn(5, 2) for name in ("one", "two", "three", "four")}
    fig = draw_paths(bowl, paths, columns=3)
    drawn = [ax for ax in fig.axes if ax.axison]
    assert [ax.get_title() for ax in drawn] == list(paths) and len(fig.axes) == 6
    for ax, path in zip(drawn, paths.values()):
        whole, start, end, lowest = map(points, ax.lines)
        torch.testing.assert_close(whole, path)
        torch.testing.assert_close(start, path[:1])
        torch.testing.assert_close(end, path[-1:])
        torch.testing.assert_close(lowest, torch.zeros(1, 2))


def test_along_a_contour_line_the_height_is_the_same():
    fig = draw_paths(bowl, {"": torch.zeros(1, 2)}, low=(-4, -2), high=(4, 2))
    draw_contours(bowl, (-4, -2), (4, 2), fig.axes[0])
    contours = fig.axes[0].collections[-1]
    checked = 0
    for level, line in zip(contours.levels, contours.get_paths()):
        places = torch.from_numpy(line.vertices)
        if len(places) and level > 1:  # a coarse grid near the lowest place
            torch.testing.assert_close(
                bowl(places.T),
                torch.full((len(places),), level).double(),
                rtol=0.02,
                atol=0,
            )
            checked += 1
    assert checked > 3
    ratios = torch.tensor(contours.levels).diff().diff()
    assert (ratios > 0).all(), "by a constant factor, not by a constant step"


def test_the_finders_curve_has_both_suggestions_on_it():
    finding = SimpleNamespace(lrs=[0.1, 1.0], losses=[0.5, 0.2], valley=0.2, steep=0.7)
    ax = draw_finding(finding)
    curve, valley, steep = ax.lines
    torch.testing.assert_close(points(curve), torch.tensor([[0.1, 0.5], [1.0, 0.2]]))
    assert list(valley.get_xdata()) == [0.2, 0.2] and ax.get_xscale() == "log"
    assert list(steep.get_xdata()) == [0.7, 0.7]
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == ["valley: 0.2", "steep: 0.7"]


@pytest.mark.parametrize("values, median", [([5, 3, 9], 5), ([7, 7, 2, 7, 1], 7)])
def test_each_seed_is_a_dot_and_no_dot_hides_another(values, median):
    ax = draw_dots({"first": [1], "second": values})
    dots = [tuple(line.get_xydata()[0]) for line in ax.lines]
    assert sorted(x for x, _ in dots) == sorted([1, *values])
    assert len(set(dots)) == len(dots)
    strokes = ax.collections[-1].get_segments()
    assert strokes[0][0][0] == median
    assert [label.get_text() for label in ax.get_yticklabels()] == ["first", "second"]
