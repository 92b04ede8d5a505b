"""The widget: a pad, what rungs say about what is drawn there, and their evidence."""

import base64
import io
import json
import subprocess
import sys
from pathlib import Path

import anywidget
import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from mnist_basics.data import Digits
from mnist_basics.playground import (
    Evidence,
    Neighbours,
    draw_strokes,
    evidence,
    prepare_drawing,
    prepare_strokes,
    vote,
)
from mnist_basics.workshop import pad as pad_module
from mnist_basics.workshop.figures import FOR_3_OR_7, SEVEN, THREE
from mnist_basics.workshop.pad import (
    EMPTY,
    Playground,
    describe,
    draw_evidence,
    draw_gallery,
    prepared,
)

A_SEVEN = [[(8, 6), (20, 6), (12, 23)]]
DRAWN = {**EMPTY, "strokes": [[[8, 6, 1], [20, 6, 1], [12, 23, 1]]], "id": "a-7"}


@pytest.fixture(scope="module")
def neighbours(digits):
    return Neighbours(digits)


@pytest.fixture
def play(digits, rungs, neighbours, monkeypatch):
    """A playground with all rungs; its training images have been looked at before."""
    monkeypatch.setattr(pad_module, "Neighbours", lambda digits: neighbours)
    return Playground(rungs, digits)


# -- what is drawn


def test_strokes_are_prepared_as_such_and_what_began_with_an_image_as_pixels(digits):
    assert prepared(EMPTY) is None
    assert prepared(DRAWN).equal(prepare_strokes(A_SEVEN))
    wide = prepared({**DRAWN, "width": 4.0})
    assert (
        wide.equal(prepare_strokes(A_SEVEN, 4.0)) and wide.sum() > prepared(DRAWN).sum()
    )
    start = digits.valid_x[7]
    begun = {**DRAWN, "start": start.flatten().tolist()}
    assert prepared({**begun, "strokes": []}).equal(prepare_drawing(start))
    ink = (255 * draw_strokes(A_SEVEN)).round().to(torch.uint8).maximum(start)
    assert prepared(begun).equal(prepare_drawing(ink))


def test_python_can_draw(play):
    assert play.image is None and play.answer == {}
    play.draw(A_SEVEN)
    assert play.image.equal(prepare_strokes(A_SEVEN))
    first = play.drawing["id"]
    play.draw([[(5, 5, 0.5), (5, 25, 1)]], width=3)
    assert play.drawing["strokes"] == [[[5, 5, 0.5], [5, 25, 1]]]
    assert play.drawing["width"] == 3 and play.drawing["id"] != first
    play.draw([])
    assert play.image is None and play.answer["verdict"] == "empty"
    json.dumps(play.drawing)


@pytest.mark.parametrize(
    "wrong, words",
    [
        (None, "A stroke is a list of points"),
        ("a 3", "A stroke is a list of points"),
        (A_SEVEN[0], "A stroke is a list of points"),
        ([[(1, 2), (3, float("nan"))]], "must be finite"),
    ],
)
def test_what_is_no_drawing_is_named_and_changes_nothing(play, wrong, words):
    play.draw(A_SEVEN)
    before = play.drawing
    with pytest.raises(ValueError, match=words):
        play.draw(wrong)
    with pytest.raises(ValueError, match="width must be a finite number above 0"):
        play.draw(A_SEVEN, width=0)
    assert play.drawing == before


def test_one_can_start_from_a_validation_image(play, digits):
    play.start_from(5)
    assert play.drawing["start"] == digits.valid_x[5].flatten().tolist()
    assert play.image.equal(prepare_drawing(digits.valid_x[5]))
    assert play.answer["seen"] == play.image.flatten().tolist()
    for number in (-1, 2038, 1.5, "1", None):
        with pytest.raises(ValueError, match=f"0 to 2,037, not {number!r}"):
            play.start_from(number)


def test_mistakes_come_one_after_the_other_and_then_again(play, digits, rungs):
    for rung in (rungs[-1], rungs[1]):
        wrong = (rung.log_odds(digits.valid_x / 255) > 0) != (digits.valid_y == 3)
        numbers = wrong.nonzero().flatten().tolist()
        play.start_from(2037)
        for number in [*numbers, numbers[0]]:
            play.next_mistake(*([] if rung is rungs[-1] else [rung.name]))
            assert play.drawing["start"] == digits.valid_x[number].flatten().tolist()
    with pytest.raises(ValueError, match="no rung 'CNN' here; there are 'pixel simi"):
        play.next_mistake("CNN")


def test_a_rung_without_mistakes_says_so(play, digits):
    right = digits.valid_x[:9], digits.valid_y[:9]
    play.digits = Digits(digits.train_x, digits.train_y, *right)
    with pytest.raises(ValueError, match="The ResNet18 reads every validation image"):
        play.next_mistake()


# -- the answer


def test_three_values_are_shared_with_the_browser(play):
    own = set(play.keys) - set(anywidget.AnyWidget().keys)
    assert own - {"_esm", "_css", "_anywidget_id"} == {"drawing", "answer", "facts"}
    names = [fact["name"] for fact in play.facts["rungs"]]
    assert (
        names == [rung.name for rung in play.rungs] and names[-1] == play.facts["best"]
    )
    accuracies = [fact["accuracy"] for fact in play.facts["rungs"]]
    assert accuracies[0].endswith(" (balanced)")
    assert [f"{rung.accuracy:.4f}" for rung in play.rungs][1:] == accuracies[1:]
    assert [fact["pictures"] for fact in play.facts["rungs"]] == [2, 1, 3, 1, 1]
    assert play.facts["images"] == 2038 and not play.facts["keeps"]


def test_the_answer_to_the_browser_has_the_votes_and_says_to_what(play, rungs):
    play.set_state({"drawing": DRAWN})
    image = prepare_strokes(A_SEVEN)
    assert play.image.equal(image) and play.answer["to"] == "a-7"
    assert play.answer["verdict"] == "7" and play.answer["why"]
    said = {one["rung"]: one["p3"] for one in play.answer["votes"]}
    expected = dict(zip([r.name for r in rungs], vote(rungs, image).tolist()))
    assert said == pytest.approx(expected, abs=1e-6)
    assert play.answer["digits"] is None and play.answer["seen"] is None
    for rung, shown in zip(rungs, play.answer["evidence"], strict=True):
        assert shown["rung"] == rung.name
        captions = [part.caption for part in evidence(rung, image)]
        assert [part["caption"] for part in shown["parts"]] == captions
    json.dumps(play.answer)


def test_an_empty_pad_gets_no_vote(play):
    play.draw(A_SEVEN)
    play.set_state({"drawing": {**EMPTY, "id": "none"}})
    assert play.answer == {"verdict": "empty", "why": "", "votes": [], "to": "none"}


def test_a_speck_is_neither_and_has_votes(play):
    play.draw([[(5, 5), (6, 6)]])
    assert play.answer["verdict"] == "neither" and "too little" in play.answer["why"]
    assert len(play.answer["votes"]) == 5
    play.draw([[(5, 5)]])
    assert play.answer["verdict"] == "neither"


def test_what_is_like_no_training_image_is_neither(play):
    play.draw([[(4, 4), (24, 4), (24, 24), (4, 24), (4, 4)], [(4, 14), (24, 14)]])
    assert play.answer["verdict"] == "neither" and play.answer["why"]


def test_all_ten_digits_are_there_once_asked_for(play, monkeypatch):
    made = []
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(784, 10))
    monkeypatch.setattr(pad_module, "trained_digit_net", lambda: made.append(1) or net)
    play.draw(A_SEVEN)
    for _ in range(2):
        play._hear({"do": "ten"})
    expected = net(play.image[None, None]).softmax(1)[0].tolist()
    assert play.answer["digits"] == pytest.approx(expected) and len(made) == 1
    assert sum(play.answer["digits"]) == pytest.approx(1)
    play.draw([[(5, 5), (5, 20)]])
    assert play.answer["digits"]


def test_what_goes_wrong_is_shown(play, rungs):
    play.rungs = [rungs[0], rungs[1]._replace(model=torch.nn.Linear(3, 1))]
    play.draw(A_SEVEN)
    assert play.answer["why"].startswith("There are no votes: ")
    assert "cannot be multiplied" in play.answer["why"] and not play.answer["votes"]
    assert play.answer["to"] == play.drawing["id"]


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_votes_are_counted_on_one_core(play, monkeypatch, two_threads):
    during = []

    def noting(*arguments):
        during.append(torch.get_num_threads())
        return vote(*arguments)

    monkeypatch.setattr(pad_module, "vote", noting)
    play.start_from(0)
    assert during == [1] and torch.get_num_threads() == 2


# -- what the browser asks for


@pytest.fixture
def notes(monkeypatch):
    """What is said to the browser."""
    sent = []
    monkeypatch.setattr(Playground, "send", lambda self, message: sent.append(message))
    return sent


def test_the_browser_can_start_from_an_image_and_from_a_mistake(play, notes, digits):
    play._hear({"do": "start", "number": 3})
    assert play.image.equal(prepare_drawing(digits.valid_x[3]))
    play._hear({"do": "mistake"})
    number = play._number
    said = f"Validation image {number}, a {digits.valid_y[number]}."
    assert notes[0] == {"note": ""} and notes[-1] == {"note": said}
    assert "reads all 2,038 validation images" in notes[1]["note"]


@pytest.mark.parametrize("number", [2038, -1, None])
def test_a_wrong_number_is_named_on_the_pad(play, notes, number):
    play._hear({"do": "start", "number": number})
    assert notes == [{"note": f"There are images 0 to 2,037, not {number}."}]


def test_a_drawing_is_kept_where_the_folder_is(play, notes, tmp_path):
    play.folder = tmp_path
    play._hear({"do": "keep", "label": 3, "drawing": EMPTY})
    assert "empty" in notes[-1]["note"] and not [*tmp_path.rglob("*.png")]
    for label in (3, 7, 7):
        play._hear({"do": "keep", "label": label, "drawing": DRAWN})
    files = sorted(tmp_path.rglob("*.png"))
    assert [file.parent.name for file in files] == ["3", "7", "7"]
    assert "There are now 1 of 3 and 2 of 7." in notes[-1]["note"]
    kept = torch.from_numpy(np.array(Image.open(files[0]))) / 255
    assert (kept - prepared(DRAWN)).abs().max() < 1 / 255
    assert any(str(file) in notes[-1]["note"] for file in files)


def test_the_pad_keeps_only_with_a_folder(digits, rungs, tmp_path):
    assert Playground(rungs[:1], digits, folder=tmp_path).facts["keeps"]


# -- evidence


def test_a_picture_is_described_by_more_than_its_caption():
    picture = torch.zeros(28, 28)
    picture[2, 25], picture[3, 25], picture[26, 14] = 1.0, 0.5, -0.8
    assert pad_module._in_words(Evidence("a unit", picture)) == (
        "a unit. 2 pixels clearly orange (for a 3), strongest at the top right; "
        "1 pixel clearly blue (for a 7), strongest at the bottom middle."
    )
    grey = Evidence("to the mean", picture.abs(), signed=False)
    assert pad_module._in_words(grey) == (
        "to the mean. 3 pixels clearly grey, strongest at the top right."
    )
    nothing = pad_module._in_words(Evidence("a unit", torch.zeros(28, 28)))
    assert "0 pixels clearly orange" in nothing and "strongest" not in nothing


def pixels(url):
    data = base64.b64decode(url.removeprefix("data:image/png;base64,"))
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def test_orange_is_for_a_3_and_blue_for_a_7():
    picture = torch.zeros(28, 28)
    picture[0, 0], picture[5, 5] = 2.0, -2.0
    shown = pixels(pad_module._as_url(pad_module._coloured(Evidence("", picture))))
    hexes = ["#" + bytes(shown[i, i]).hex().upper() for i in (0, 5, 9)]
    assert shown.shape == (28, 28, 3) and hexes == [THREE, SEVEN, "#FFFFFF"]
    grey = Evidence("", picture.clamp(0, 1), signed=False)
    shown = pixels(pad_module._as_url(pad_module._coloured(grey)))
    assert shown[0, 0].tolist() == [0, 0, 0] and shown[9, 9].tolist() == [255] * 3


def test_the_outline_runs_where_there_is_half_the_ink():
    rows, columns = np.mgrid[:28, :28] + 0.5
    far = np.hypot(columns - 10, rows - 18)  # from the middle (10, 18) of a disc
    disc = torch.tensor(np.clip(6.5 - far, 0, 1))
    path = pad_module._outline(disc)
    assert path.startswith("M") and path.count("M") == 1
    points = np.array([[float(n) for n in p.split(",")] for p in path[1:].split()])
    assert np.abs(np.hypot(*(points - [10, 18]).T) - 6).max() < 0.2
    assert (points[0] == points[-1]).all() and pad_module._outline(0 * disc) == ""
    assert pad_module._outline(torch.ones(28, 28)).count("M") == 1  # to the very edge


# -- stills


class Shown(list):
    """What is displayed, and under which name."""

    def __call__(self, data, display_id=None, **about):
        self.append((display_id, data))


@pytest.fixture
def shown(monkeypatch):
    shown = Shown()
    monkeypatch.setattr(pad_module, "display", shown)
    monkeypatch.setattr(pad_module, "update_display", shown)
    return shown


def test_a_pad_is_displayed_with_a_still_of_an_example(play, shown):
    play._ipython_display_()
    view, picture, words = [data for _, data in shown]
    assert "application/vnd.jupyter.widget-view+json" in view
    assert picture["image/png"] and "run the cell, and draw" in picture["text/plain"]
    assert "answer to a drawing is “3”" in words["text/html"]
    assert "mnist-basics page --out draw.html" in words["text/html"]
    for rung in play.rungs:
        assert rung.name in picture["text/plain"]


def test_the_still_follows_once_the_pen_is_up(play, shown):
    play.set_state({"drawing": DRAWN})
    assert not shown  # it is nowhere displayed
    play._ipython_display_()
    names = [name for name, _ in shown[1:]]
    del shown[:]
    play.set_state({"drawing": {**DRAWN, "id": "b", "down": True}})
    play.set_state({"drawing": {**EMPTY, "id": "c"}})
    assert not shown
    play.set_state({"drawing": {**DRAWN, "id": "d", "width": 4}})
    assert [name for name, _ in shown] == names and len(set(names)) == 2
    assert "is “7”" in shown[1][1]["text/html"]
    play._ipython_display_()  # in another cell: the same still
    assert [name for name, _ in shown[-2:]] == names


def colours(picture, box):
    part = np.asarray(picture.crop(box).convert("RGB")).reshape(-1, 3)
    return set(map(tuple, part.tolist()))


def test_the_picture_shows_drawing_and_votes(digits):
    votes = [{"rung": "one", "p3": 0.25}, {"rung": "two", "p3": 1.0}]
    answer = {"verdict": "7", "votes": votes}
    picture = pad_module._still_picture(DRAWN, answer)
    bars = [tuple(bytes.fromhex(colour[1:])) for colour in (THREE, SEVEN)]
    assert colours(picture, (312, 66, 344, 78)) == {bars[0]}
    assert colours(picture, (348, 66, 448, 78)) == {bars[1]}
    assert colours(picture, (312, 90, 450, 102)) == {bars[0]}
    sheet = 255 - np.asarray(picture.convert("L"))[8:176, 8:176]
    assert sheet[6 * 6, 10 * 6 : 18 * 6].min() > 250  # the top of the 7
    assert sheet[100:, 120:165].max() == 0
    begun = {**EMPTY, "start": (digits.valid_x[0]).flatten().tolist()}
    small = pad_module._sketch(begun).resize((28, 28), Image.Resampling.NEAREST)
    assert (255 - np.asarray(small) == digits.valid_x[0].numpy()).all()
    assert describe(answer).endswith(
        "“7”, and the votes are: one 7: 75.0%, two 3: 100.0%."
    )


def test_a_saved_notebook_has_the_still_and_not_the_pad(tmp_path):
    new = nbformat.v4
    view = {"application/vnd.jupyter.widget-view+json": {}, "text/plain": "Playground"}
    slider = {"text/plain": "interactive(children=…"}
    kept = [{"image/png": ""}, {"text/html": '<p class="playground-still">'}]
    outputs = [new.new_output("display_data", data) for data in (view, slider, *kept)]
    notebook = new.new_notebook(cells=[new.new_code_cell(outputs=outputs)])
    nbformat.write(notebook, file := tmp_path / "a.ipynb")
    tidy = Path(__file__).parent / "tidy.py"
    subprocess.run([sys.executable, tidy, file], check=True)
    [cell] = nbformat.read(file, 4).cells
    assert [list(output.data) for output in cell.outputs] == [list(d) for d in kept]


# -- figures


def test_a_figure_shows_every_picture_of_evidence(digits, rungs):
    image = prepare_drawing(digits.valid_x[0])
    parts = [(rung, part) for rung in rungs for part in evidence(rung, image)]
    fig = draw_evidence(rungs, image)
    assert len(fig.axes) == len(parts) == 8
    for ax, (rung, part) in zip(fig.axes, parts):
        assert ax.get_title() == f"{rung.name}\n{part.caption}"
        shown = ax.images[0]
        strongest = part.picture.abs().max() if part.signed else 1
        expected = (part.picture / strongest).numpy()
        np.testing.assert_allclose(shown.get_array(), expected, rtol=1e-6)
        assert (shown.get_cmap() == FOR_3_OR_7) == part.signed
        assert shown.get_clim() == ((-1, 1) if part.signed else (0, 1))
    plt.close(fig)


def test_a_gallery_writes_every_vote_below_its_drawing(digits):
    votes = pd.DataFrame({"one": [0.9, 0.2], "two": [0.6, 0.5]}, index=["a", "b"])
    fig = draw_gallery(digits.valid_x[:2] / 255, votes)
    table = fig.axes[-1]
    written = {text.get_position(): text.get_text() for text in table.texts}
    expected = {(0, 0): "3: 90%", (0, 1): "3: 60%", (1, 0): "7: 80%", (1, 1): "7: 50%"}
    assert written == expected
    assert [label.get_text() for label in table.get_xticklabels()] == ["a", "b"]
    assert [label.get_text() for label in table.get_yticklabels()] == ["one", "two"]
    plt.close(fig)
    with pytest.raises(ValueError, match="images and votes must be equally many"):
        draw_gallery(digits.valid_x[:3] / 255, votes)
