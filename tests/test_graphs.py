"""Workshop room graphs: the way back on paper, where things stand, and the slider."""

import base64
import io
import re

import matplotlib.pyplot as plt
import pytest
from PIL import Image

from mnist_basics.backward import Value
from mnist_basics.workshop import graphs
from mnist_basics.workshop.graphs import (
    draw_graph,
    show_way_back,
    steps_back,
    way_back_page,
)


@pytest.fixture
def names():
    a, b = Value(2.0), Value(-3.0)
    product = a * b
    total = product + a
    return {"a": a, "b": b, "a · b": product, "total": total, "y": total**2}


def words(ax):
    """What stands in the boxes: {name: the other lines}, and on the arrows: a list."""
    texts = [text.get_text() for text in ax.texts]
    boxes = [text.split("\n") for text in texts if "\n" in text]
    arrows = [text for text in texts if text and "\n" not in text]
    return {name: rest for name, *rest in boxes}, arrows


def test_the_steps_lead_to_the_gradients_of_backward_and_change_nothing(names):
    y = names["y"]
    steps = steps_back(y)
    assert all(value.grad == 0 and not value.passed_on for value in names.values())
    y.backward()
    assert steps[-1][1] == {value: value.grad for value in names.values()}
    assert [turn for turn, _ in steps] == [
        None,
        None,
        y,
        names["total"],
        names["a · b"],
    ]
    assert steps[0][1] == {} and steps[1][1] == {y: 1.0}
    arrives = [gradients.get(names["a"]) for _, gradients in steps]
    assert arrives == [None, None, None, -8, 16], "in two parts"


def test_a_value_that_is_used_twice_in_one_operation():
    x = Value(3.0)
    y = x * x
    assert steps_back(y)[-1][1] == {y: 1, x: 6}
    boxes, arrows = words(draw_graph({"x": x, "y": y}))
    assert arrows == ["slope 3 and 3"] and boxes["x"] == ["value 3", "gradient 6"]


def test_the_last_picture_has_all_values_gradients_and_slopes(names):
    boxes, arrows = words(draw_graph(names))
    assert boxes == {
        "a": ["value 2", "gradient 16"],
        "b": ["value −3", "gradient −16"],
        "a · b": ["value −6", "gradient −8"],
        "total": ["value −4", "gradient −8"],
        "y": ["value 16", "gradient 1"],
    }
    slopes = ["slope −3", "slope 1", "slope 1", "slope 2", "slope −8"]
    assert sorted(arrows) == sorted(slopes)


def test_a_step_shows_what_is_multiplied_and_what_is_not_known_yet(names):
    boxes, arrows = words(draw_graph(names, 3))
    assert boxes["a"][1] == "gradient −8" and boxes["b"][1] == "gradient ?"
    assert arrows.count("−8 · 1") == 2 and "slope −3" in arrows
    boxes, arrows = words(draw_graph(names, 0))
    assert {rest[1] for rest in boxes.values()} == {"gradient ?"}


def test_no_two_boxes_share_a_place_and_results_stand_to_the_right(names):
    x = Value(0.5)
    many = [x + i for i in range(5)]
    result = sum(many, many[0] * x)
    for value in (names["y"], result):
        behind = graphs._behind(value)
        places = graphs._places(behind)
        assert len(set(places.values())) == len(behind)
        for made in behind:
            columns = [places[source][0] for source in made.inputs]
            assert all(column < places[made][0] for column in columns)


def test_the_page_has_a_picture_for_each_step_and_needs_nothing_else(names):
    page = way_back_page(names)
    pictures = re.findall(r'"data:image/png;base64,([^"]+)"', page)
    assert len(set(pictures)) == len(steps_back(names["y"])) == 5
    sizes = {
        Image.open(io.BytesIO(base64.b64decode(p.replace("\\\n", "")))).size
        for p in pictures
    }
    assert len(sizes) == 1
    assert "http" not in page and "<link" not in page
    assert 'aria-label="step"' in page and "oninput" in page
    assert len(page) < 300_000 and not plt.get_fignums()


def test_the_slider_has_a_line_below_it(names, monkeypatch):
    shown = []
    monkeypatch.setattr(graphs, "display", shown.append)
    show_way_back(names, "some boxes.")
    page, line = shown
    assert page.data.count("data:image/png") == 5
    assert line.data == "*What you see: some boxes.*"


def test_a_value_without_a_name_is_drawn_without_one():
    x = Value(1.0)
    middle = x * 2
    boxes, _ = words(draw_graph({"x": x, "y": middle + 1}))
    assert {"x", "y", ""} == set(boxes)


def test_anything_with_inputs_slopes_and_an_order_can_be_drawn():
    class Leaf:
        data, inputs, slopes, order = 1e-9, (), (), 0

    boxes, _ = words(draw_graph({"leaf": Leaf()}))
    assert boxes == {"leaf": ["value 1e−09", "gradient 1"]}
