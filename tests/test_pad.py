"""The widget: a pad, the votes on what is drawn there, and their evidence."""

import anywidget
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch

from mnist_basics.playground import draw_strokes, evidence, prepare_drawing, vote
from mnist_basics.workshop import pad as pad_module
from mnist_basics.workshop.figures import FOR_3_OR_7, SEVEN, THREE
from mnist_basics.workshop.pad import DigitPad, Playground, draw_evidence, draw_gallery

A_SEVEN = [[(8, 6), (20, 6), (12, 23)]]
EMPTY = torch.zeros(28, 28, dtype=torch.uint8)


# -- the pad


@pytest.mark.parametrize(
    "wrong",
    [torch.zeros(28, 28), EMPTY[:27], EMPTY[None], None, "a 3", [[1, 2], [3, 4]]],
)
def test_what_is_no_image_is_named_and_changes_nothing(wrong):
    pad = DigitPad(image=draw_strokes(A_SEVEN))
    with pytest.raises(ValueError, match=r"uint8 \[28, 28\], .*not "):
        pad.image = wrong
    with pytest.raises(ValueError, match=r"uint8 \[28, 28\], .*not "):
        DigitPad(image=wrong)
    assert pad.image.equal(draw_strokes(A_SEVEN))


def test_a_message_of_the_browser_becomes_an_image():
    pad, seen = DigitPad(), []
    pad.observe(lambda change: seen.append(change.new), "image")
    sent = bytes(range(256)) * 3 + bytes(16)
    pad.set_state({"image": memoryview(sent)})
    assert pad.image.dtype == torch.uint8 and pad.image.shape == (28, 28)
    assert pad.image.flatten().tolist() == list(sent) and len(seen) == 1
    assert pad.get_state("image")["image"] == sent


def test_a_pad_keeps_its_own_copy():
    for image in (draw_strokes(A_SEVEN), draw_strokes(A_SEVEN).numpy()):
        pad = DigitPad(image=image)
        image[:] = 0
        assert pad.image.any()


def test_one_value_is_shared_with_the_browser():
    own = set(DigitPad().keys) - set(anywidget.AnyWidget().keys)
    assert own - {"_esm", "_css", "_anywidget_id"} == {"image"}


# -- the playground


def test_an_empty_pad_gets_no_vote(digits, rungs):
    play = Playground(rungs, digits)
    assert "The pad is empty" in play.votes.value and "<table" not in play.votes.value
    assert not play.evidence.value
    play.pad.image = draw_strokes(A_SEVEN)
    assert "All 5 say 7." in play.votes.value
    assert play.evidence.value.count("<img") == 10
    play.pad.image = EMPTY
    assert "The pad is empty" in play.votes.value and not play.evidence.value


def test_a_single_dot_is_voted_on(digits, rungs):
    play = Playground(rungs, digits)
    play.pad.image = draw_strokes([[(0.5, 0.5), (0.5, 0.5)]])
    assert play.votes.value.count("<tr>") == 6


def test_votes_show_name_accuracy_and_both_probabilities(digits, rungs):
    play = Playground(rungs, digits)
    play.start_from(3)
    votes = vote(rungs, prepare_drawing(digits.valid_x[3])).tolist()
    for rung, p in zip(rungs, votes):
        [row] = [row for row in play.votes.value.split("<tr>") if rung.name in row]
        assert f">{p:.1%}<" in row and f">{1 - p:.1%}<" in row
        star = "*" if rung.name == "pixel similarity" else ""
        assert f">{rung.accuracy:.4f}{star}<" in row


def test_a_bar_is_orange_for_a_3_and_blue_for_a_7(digits, rungs):
    play = Playground(rungs, digits)
    play.start_from(0)
    p = vote(rungs, prepare_drawing(digits.valid_x[0]))[0].item()
    assert f"width: {100 * p:.1f}%; background: {THREE}" in play.votes.value
    assert play.votes.value.count(f"height: 18px; background: {SEVEN}") == 5


def test_every_picture_of_evidence_is_described(digits, rungs):
    play = Playground(rungs, digits)
    play.start_from(0)
    image = prepare_drawing(digits.valid_x[0])
    captions = [part.caption for rung in rungs for part in evidence(rung, image)]
    for caption in ["before", "after", *captions]:
        assert f'alt="{caption}"' in play.evidence.value


def test_the_verdict_is_sent_to_be_read_aloud(digits, rungs, monkeypatch):
    sent = []
    monkeypatch.setattr(DigitPad, "send", lambda self, message: sent.append(message))
    play = Playground(rungs, digits)
    play.pad.image = draw_strokes(A_SEVEN)
    assert sent == [
        {"say": "The pad is empty: draw a 3 or a 7."},
        {"say": "All 5 say 7."},
    ]


def test_the_button_puts_a_validation_image_on_the_pad(digits, rungs):
    play = Playground(rungs[:1], digits)
    play.number.value = 5
    button = play.children[0].children[0].children[1].children[1]
    button.click()
    assert button.description == "Start from it"
    assert play.pad.image.equal(digits.valid_x[5])


@pytest.mark.parametrize("number", [-1, 2038, 1.5, "1"])
def test_start_from_names_the_numbers_that_there_are(digits, rungs, number):
    with pytest.raises(ValueError, match=f"0 to 2,037, not {number!r}"):
        Playground(rungs[:1], digits).start_from(number)


def test_what_goes_wrong_is_shown(digits, rungs):
    broken = rungs[1]._replace(model=torch.nn.Linear(3, 1))
    play = Playground([rungs[0], broken], digits)
    play.start_from(0)
    assert "There are no votes" in play.votes.value
    assert "cannot be multiplied" in play.votes.value


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_votes_are_counted_on_one_core(digits, rungs, monkeypatch, two_threads):
    during = []

    def noting(*arguments):
        during.append(torch.get_num_threads())
        return vote(*arguments)

    monkeypatch.setattr(pad_module, "vote", noting)
    Playground(rungs[:1], digits).start_from(0)
    assert during == [1] and torch.get_num_threads() == 2


# -- stills


def test_a_still_shows_every_picture_of_evidence(digits, rungs):
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
