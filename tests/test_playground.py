"""The brush, the preparation of a drawing, votes and their evidence: lesson 16."""

import copy
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image

from mnist_basics import playground
from mnist_basics.pixel_similarity import PixelSimilarity
from mnist_basics.playground import (
    centre_digit,
    draw_strokes,
    evidence,
    prepare_drawing,
    vote,
)

SEVEN = [[(8, 6), (20, 6), (12, 23)]]


# -- preparation


def test_an_image_of_mnist_is_prepared_already(digits):
    same = 0
    for image in digits.valid_x:
        ready = prepare_drawing(image)
        assert ready.dtype == torch.float32
        same += (255 * ready).round().equal(image.float())
    assert same >= 0.995 * len(digits.valid_x)


def transformed(images, scale, down, right):
    """Of another size in another place, by Pillow: not by the way of the notebook."""
    x, y = 14 - (14 + right) / scale, 14 - (14 + down) / scale
    change = (1 / scale, 0, x, 0, 1 / scale, y)
    how = ((28, 28), Image.Transform.AFFINE, change, Image.Resampling.BICUBIC)
    moved = [Image.fromarray(image.numpy()).transform(*how) for image in images]
    return torch.from_numpy(np.stack(moved))


@pytest.mark.parametrize(
    "scale, down, right",
    [(0.7, 4, -6), (0.5, -7, 7), (1.0, 3, 3), (1.3, 0, 0), (0.8, -5, 0)],
)
def test_the_small_cnn_is_right_on_moved_images_once_they_are_prepared(
    digits, rungs, scale, down, right
):
    moved = transformed(digits.valid_x, scale, down, right)
    ready = torch.stack([prepare_drawing(image) for image in moved])
    cnn = next(rung for rung in rungs if rung.name == "small CNN")
    share = ((cnn.log_odds(ready) > 0) == (digits.valid_y == 3)).float().mean()
    assert share >= 0.98


@pytest.mark.parametrize(
    "rows, columns", [(1, 1), (28, 28), (3, 28), (28, 2), (8, 8), (100, 40)]
)
def test_a_block_of_ink_becomes_20_pixels_long_and_lies_in_the_middle(rows, columns):
    result = centre_digit(np.full((rows, columns), 255, np.uint8))
    tall, wide = (int((result > 0).any(axis).sum()) for axis in (1, 0))
    assert max(tall, wide) == 20
    assert result.shape == (28, 28) and result.dtype == torch.uint8
    mass = result.double() / result.sum()
    for axis in (0, 1):
        assert abs((mass.sum(axis) * torch.arange(28)).sum() - 14) <= 0.5


def test_a_drawing_is_prepared_as_its_digit_is_centred():
    drawing = draw_strokes(SEVEN)
    expected = centre_digit(drawing.numpy()).float() / 255
    torch.testing.assert_close(prepare_drawing(drawing), expected)
    torch.testing.assert_close(prepare_drawing(drawing.numpy()), expected)


@pytest.mark.parametrize(
    "wrong, found",
    [
        (torch.zeros(28, 28), "float32 "),
        (torch.zeros(27, 28, dtype=torch.uint8), r"uint8 \[27, 28\]"),
        (torch.zeros(1, 28, 28, dtype=torch.uint8), r"uint8 \[1, 28, 28\]"),
        (None, "object"),
        ("a 3", "U3"),
        ([[1, 2], [3, 4]], r"int64 \[2, 2\]"),
    ],
)
def test_what_is_no_drawing_is_named(wrong, found):
    with pytest.raises(ValueError, match=rf"uint8 \[28, 28\], .*not .*{found}"):
        prepare_drawing(wrong)


def test_an_empty_sheet_is_refused():
    with pytest.raises(ValueError, match="no ink"):
        prepare_drawing(torch.zeros(28, 28, dtype=torch.uint8))


def test_ink_that_would_be_lost_is_refused():
    dots = np.zeros((2000, 2000), np.uint8)
    dots[0, 0] = dots[1999, 1999] = 255
    with pytest.raises(ValueError, match="The ink is too fine"):
        centre_digit(dots)


@pytest.mark.parametrize(
    "wrong", [np.ones((28, 28)), np.zeros((9, 9, 3), np.uint8), [[1, 2], [3, 4]]]
)
def test_only_a_drawing_can_be_centred(wrong):
    with pytest.raises(ValueError, match=r"uint8 \[rows, columns\], .*not "):
        centre_digit(wrong)


# -- the brush


def test_the_brush_is_full_within_and_empty_beyond():
    image = draw_strokes([[(5, 14), (23, 14)]])
    assert image.dtype == torch.uint8 and (image[13:15, 5:23] == 255).all()
    assert (image[:12] == 0).all() and (image[16:] == 0).all()
    edges = image[12:16:3]
    assert (0 < edges[:, 5:23]).all() and (edges < 255).all()
    assert draw_strokes([[(14.5, 14.5), (14.5, 14.5)]], ink=0.5)[14, 14] == 128


def test_strokes_that_cannot_be_drawn_are_refused():
    for wrong in ([[(1, 1)]], SEVEN[0], [[(1, 1, 1), (2, 2, 2)]], "a 3"):
        with pytest.raises(ValueError, match="two points"):
            draw_strokes(wrong)
    with pytest.raises(ValueError, match="between 0 and 1, not 2.0"):
        draw_strokes(SEVEN, ink=2.0)


# -- votes and evidence


def test_a_rung_votes_as_it_does_on_the_ladder(digits, rungs):
    x, is_3 = digits.valid_x.float() / 255, digits.valid_y == 3
    for rung in rungs[1:]:
        share = ((rung.log_odds(x) > 0) == is_3).float().mean().item()
        assert share == pytest.approx(rung.accuracy, abs=0.0011)
    expected = PixelSimilarity.fit(digits).is_3(x)
    assert ((rungs[0].log_odds(x) > 0) == expected).all()


def test_a_vote_is_a_probability_for_each_rung(digits, rungs):
    for image in (digits.images("valid", 3)[0], digits.images("valid", 7)[0]):
        votes = vote(rungs, image)
        assert votes.shape == (5,) and votes.dtype == torch.float32
        odds = torch.stack([rung.log_odds(image[None])[0] for rung in rungs])
        torch.testing.assert_close(votes, 1 / (1 + (-odds).exp()))


def test_images_that_no_rung_can_judge_are_named(digits, rungs):
    image = digits.images("valid", 7)[0]
    for rung in rungs:
        for ask in (partial(evidence, rung), partial(vote, [rung])):
            with pytest.raises(ValueError, match="must be floating-point numbers"):
                ask(digits.valid_x[0])
            with pytest.raises(ValueError, match="must have the shape"):
                ask(torch.stack([image, image]))
        with pytest.raises(ValueError, match="not ndarray"):
            rung.log_odds(image[None].numpy())


def test_each_kind_of_model_has_its_own_evidence(digits, rungs):
    parts = [evidence(rung, digits.images("valid", 7)[0]) for rung in rungs]
    assert [len(part) for part in parts] == [2, 1, 3, 1, 1]
    words = ("to the mean 3", "weight", "unit", "more ink", "more ink")
    for part, word in zip(parts, words):
        assert word in part[0].caption and part[0].picture.shape == (28, 28)
        assert {one.signed for one in part} == {word != "to the mean 3"}


def test_the_evidence_adds_up(digits, rungs):
    image = digits.valid_x[7].float() / 255
    similarity, linear, net = rungs[:3]
    odds = [rung.log_odds(image[None])[0] for rung in rungs[:3]]
    to3, to7 = (part.picture.mean() for part in evidence(similarity, image))
    torch.testing.assert_close(similarity.model.scale * (to7 - to3), odds[0])
    total = evidence(linear, image)[0].picture.sum() + linear.model.bias[0]
    torch.testing.assert_close(total, odds[1], atol=1e-4, rtol=1e-4)
    first, _, second = net.model
    total = second.bias[0]
    units = playground.hidden_units(net.model, image, number=30)
    says = [abs(float(part.caption.split()[-1])) for part in units]
    assert says == sorted(says, reverse=True) and says[0] > 0
    for part in units:
        unit = int(part.caption.split()[1].strip(":"))
        if first(image.flatten())[unit] > 0:
            share = first.bias[unit] * second.weight[0, unit]
            total = total + part.picture.sum() + share
        else:
            assert not part.picture.any()
    assert 0 in says  # there was a unit that is closed
    torch.testing.assert_close(total, odds[2], atol=1e-4, rtol=1e-4)


def test_the_gradient_is_the_slope_of_the_log_odds(digits, rungs):
    cnn = rungs[3]._replace(model=copy.deepcopy(rungs[3].model).double())
    image = digits.valid_x[7].double() / 255
    [part] = evidence(cnn, image)
    for row, column in ((14, 14), (7, 12), (20, 10)):
        step = torch.zeros(28, 28, dtype=torch.float64)
        step[row, column] = 1e-5
        rise = cnn.log_odds(torch.stack([image + step, image - step]))
        slope = (rise[0] - rise[1]) / 2e-5
        expected = part.picture[row, column]
        torch.testing.assert_close(slope, expected, atol=1e-6, rtol=1e-3)
