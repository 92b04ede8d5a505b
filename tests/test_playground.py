"""The brush, the preparation of a drawing, votes and their evidence: lesson 16."""

import copy
import math
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image

from mnist_basics import playground
from mnist_basics.data import mnist_full
from mnist_basics.pixel_similarity import PixelSimilarity
from mnist_basics.playground import (
    Neighbours,
    centre_digit,
    draw_strokes,
    evidence,
    fit_strokes,
    occlusion,
    prepare_drawing,
    prepare_strokes,
    verdict,
    vote,
    wilson,
)
from mnist_basics.workshop.hand import generated_hand, resized
from mnist_basics.workshop.pad import too_short

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
    drawing = (255 * draw_strokes(SEVEN)).round().to(torch.uint8)
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


# -- strokes


def test_the_brush_is_full_within_and_empty_beyond():
    image = draw_strokes([[(5, 14), (23, 14)]])
    assert image.dtype == torch.float32 and (image[13:15, 5:23] == 1).all()
    assert (image[:12] == 0).all() and (image[16:] == 0).all()
    edges = image[12:16:3]
    assert (0 < edges[:, 5:23]).all() and (edges < 1).all()


def test_the_pen_is_as_wide_as_it_is_pressed():
    wide = draw_strokes([[(5, 14), (23, 14)]], width=6)
    assert wide[:, 14].sum() == pytest.approx(6, abs=0.01)
    pressed = draw_strokes([[(5, 14, 0.5), (23, 14, 0.5)]], width=6)
    assert pressed[:, 14].sum() == pytest.approx(3, abs=0.01)
    swelling = draw_strokes([[(2, 14, 0.2), (26, 14, 1)]], width=6).sum(0)
    assert (swelling[4:25].diff() >= 0).all() and swelling[24] > 3 * swelling[4]
    assert draw_strokes([[(14, 14)]]).sum() == pytest.approx(math.pi * 1.35**2, 0.05)


@pytest.mark.parametrize(
    "wrong", [SEVEN[0], [[(1,), (2,)]], "a 3", [[(1, 1), (1, 1, 1)]], [[]], [5]]
)
def test_what_is_no_stroke_is_named(wrong):
    for use in (draw_strokes, fit_strokes, prepare_strokes, too_short):
        with pytest.raises(ValueError, match="A stroke is a list of points"):
            use(wrong)


def test_a_prepared_drawing_lies_as_those_of_mnist(digits):
    for strokes in (SEVEN, [[(3, 3), (5, 9)]], [[(2, 8), (27, 9)]]):
        image = prepare_strokes(strokes)
        assert image.dtype == torch.float32 and image.shape == (28, 28)
        tall, wide = ((image > 0.2).any(axis).sum().item() for axis in (1, 0))
        assert max(tall, wide) in (19, 20, 21)
        mass = image.double() / image.sum()
        for axis in (0, 1):
            middle = (mass.sum(axis) * torch.arange(28)).sum()
            assert abs(middle - 14) <= 0.2


def test_no_strokes_cannot_be_fitted():
    with pytest.raises(ValueError, match="no ink"):
        prepare_strokes([])


@pytest.fixture(scope="module")
def scores(rungs):
    """How many of 100 generated 3s and 7s each rung reads at a size: float `[5,2]`."""
    hands = [generated_hand(digit, styles=20, wobbles=10) for digit in (3, 7)]

    def score(size):
        shares = []
        for hand, is_3 in zip(hands, (True, False)):
            x = torch.stack([prepare_strokes(resized(one, size)) for one in hand])
            right = [(rung.log_odds(x) > 0) == is_3 for rung in rungs]
            shares.append(torch.stack(right).float().mean(1))
        return 100 * torch.stack(shares, 1)

    return score


def test_small_writing_is_read_as_well_as_large(scores):
    """20 styles, each written 10 times, of each digit; as asked: within 3 of 100."""
    full = scores(1.0)
    assert (full > 90).all(), "else there would be little to lose"
    for size in (0.6, 0.4, 0.3):
        assert (scores(size) - full).abs().max() <= 3, size


# -- neither


def test_an_image_seen_in_training_is_its_own_neighbour(digits):
    neighbours = Neighbours(digits)
    likeness, numbers = neighbours.nearest(digits.train_x[[5, 9000]] / 255)
    torch.testing.assert_close(likeness, torch.ones(2))
    assert numbers.tolist() == [5, 9000]
    x = torch.nn.functional.avg_pool2d(digits.train_x / 255, 4).flatten(1).double()
    x = x / x.norm(dim=1, keepdim=True)
    some = torch.arange(0, len(x), 25)
    like = x[some] @ x.T
    like[torch.arange(len(some)), some] = -1  # the image itself
    share = (like.max(1).values >= neighbours.least).double().mean()
    assert share == pytest.approx(0.98, abs=0.015)


def test_genuine_digits_pass_and_most_others_do_not(digits):
    """What the lesson says: 2.5 % of the genuine, more than half of the others."""
    neighbours, full = Neighbours(digits), mnist_full()

    def share(x):
        far = neighbours.nearest(x)[0] < neighbours.least
        return far.float().mean().item()

    assert share(digits.valid_x / 255) < 0.03
    assert share(torch.stack([prepare_strokes(s) for s in generated_hand(3)])) < 0.03
    others = (full.valid_y != 3) & (full.valid_y != 7)
    assert share(full.valid_x[others] / 255) > 0.55


def test_the_one_answer_is_that_of_the_last_rung_or_neither(digits, rungs):
    neighbours = Neighbours(digits)
    for digit in (3, 7):
        image = digits.images("valid", digit)[2]
        for some in (rungs, rungs[:4]):
            word, why = verdict(image, some, neighbours)
            assert word == str(digit) and why == f"So says the {some[-1].name}."
    noise = torch.rand(28, 28)
    word, why = verdict(noise, rungs, neighbours)
    assert word == "neither" and why == "No training image is much like it."
    upside_down = rungs[0]._replace(rung=rungs[0].rung._replace(ask=says_7))
    image = digits.images("valid", 3)[2]
    assert verdict(image, [*rungs, upside_down], neighbours)[0] == "7"


def says_7(model, images):
    return torch.full((len(images),), -1.0)


def test_a_speck_is_too_short_and_a_small_digit_is_not():
    assert too_short([]) and too_short([[(14, 14)]])
    assert too_short([[(14, 14), (15, 15.9)], [(14.5, 15)]])
    assert not too_short([[(14, 14)], [(14, 16)]])
    assert not too_short(resized(SEVEN, 0.2))


# -- an interval for few drawings


@pytest.mark.parametrize("errors, n", [(0, 20), (4, 20), (20, 20), (5, 2038)])
def test_wilsons_interval_solves_his_equation(errors, n):
    """At both ends, the observed rate is 1.96 standard errors of *theirs* away."""
    low, high = wilson(errors, n)
    assert 0 <= low + 1e-12 and high <= 1 + 1e-12 and low < high
    for p in (low, high):
        away = abs(errors / n - p)
        assert away == pytest.approx(
            1.96 * math.sqrt(max(0, p * (1 - p)) / n), abs=1e-9
        )


def test_an_interval_needs_counts():
    for errors, n, says in (
        (-1, 20, "errors must"),
        (0, 0, "n must"),
        (1.5, 9, "errors"),
    ):
        with pytest.raises(ValueError, match=says):
            wilson(errors, n)


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


def test_occlusion_is_what_a_white_patch_takes_away(digits, rungs):
    image = digits.valid_x[7] / 255
    for rung in rungs:
        [part] = occlusion(rung, image)
        assert part.signed and part.caption == "5×5 pixels covered"
        for row, column in ((14, 14), (7, 12), (0, 0), (27, 20)):
            left = image.clone()
            left[max(0, row - 2) : row + 3, max(0, column - 2) : column + 3] = 0
            odds = rung.log_odds(torch.stack([image, left]))
            expected = odds[0] - odds[1]
            torch.testing.assert_close(
                part.picture[row, column], expected, atol=1e-3, rtol=1e-3
            )
    linear = rungs[1]
    [single] = occlusion(linear, image, reach=0)
    [share] = evidence(linear, image)
    torch.testing.assert_close(single.picture, share.picture, atol=1e-4, rtol=1e-4)


def test_of_a_white_sheet_nothing_can_be_covered(rungs):
    [part] = occlusion(rungs[3], torch.zeros(28, 28))
    assert part.picture.equal(torch.zeros(28, 28))
    with pytest.raises(ValueError, match="reach must be a whole number"):
        occlusion(rungs[3], torch.zeros(28, 28), reach=0.5)
