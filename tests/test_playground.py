"""The pad, the preparation of a drawing, rungs that are kept, and votes with their evidence: notebook 13."""
import copy
import json
import subprocess
import sys
import time

import anywidget
import numpy as np
import pytest
import torch
import traitlets

from mnist_basics import ladder, playground
from mnist_basics.data import Digits, centre_digit
from mnist_basics.ladder import RUNGS, Rung
from mnist_basics.playground import DigitPad, Playground, draw_strokes, prepare_drawing, trained_rungs

SEVEN = [[(8, 6), (20, 6), (12, 23)]]


@pytest.fixture(scope="module")
def rungs(digits):
    return trained_rungs(digits)


@pytest.fixture
def few(digits):
    """A few of the digits, and a ladder of two quick rungs."""
    chosen = torch.cat([(digits.train_y == digit).nonzero()[:40, 0] for digit in (3, 7)])
    return Digits(digits.train_x[chosen], digits.train_y[chosen], digits.valid_x, digits.valid_y, digits.source)


@pytest.fixture
def quick(monkeypatch, empty_cache):
    """A ladder of the two quickest rungs, three epochs long, and a list of what was trained."""
    trained = []
    monkeypatch.setattr(ladder, "_epochs", lambda epochs, digits: 3)

    def noting(rung):
        def run(*arguments):
            trained.append(rung.name)
            return rung.run(*arguments)
        return Rung(rung.name, run, rung.published, rung.metric)

    two = {name: noting(RUNGS[name]) for name in ("pixel similarity", "linear model")}
    for module in (ladder, playground):
        monkeypatch.setattr(module, "RUNGS", two)
    return trained


# -- preparation

@pytest.mark.figures
def test_an_image_of_mnist_is_prepared_already(digits):
    same = [prepare_drawing(image).equal(image) for image in digits.valid_x]
    assert sum(same) >= 0.995 * len(same)


def transformed(images, scale, down, right):
    """Images of another size in another place, by Pillow: not by the way of the notebook."""
    from PIL import Image
    change = (1 / scale, 0, 14 - (14 + right) / scale, 0, 1 / scale, 14 - (14 + down) / scale)
    return torch.stack([torch.from_numpy(np.array(Image.fromarray(image.numpy()).transform(
        (28, 28), Image.Transform.AFFINE, change, Image.Resampling.BICUBIC))) for image in images])


@pytest.mark.parametrize("scale, down, right", [(0.7, 4, -6), (0.5, -7, 7), (1.0, 3, 3), (1.3, 0, 0), (0.8, -5, 0)])
def test_the_small_cnn_is_right_on_moved_images_once_they_are_prepared(digits, rungs, scale, down, right):
    moved = transformed(digits.valid_x, scale, down, right)
    ready = torch.stack([prepare_drawing(image) for image in moved])
    cnn = next(rung for rung in rungs if rung.name == "small CNN")
    share = ((cnn.probability(ready.float() / 255) > 0.5) == (digits.valid_y == 3)).float().mean()
    assert share >= (0.98 if digits.source == "mnist" else 0.9)


@pytest.mark.parametrize("rows, columns", [(1, 1), (28, 28), (3, 28), (28, 2), (8, 8), (100, 40)])
def test_a_block_of_ink_becomes_20_pixels_long_and_lies_in_the_middle(rows, columns):
    result = centre_digit(np.full((rows, columns), 255, np.uint8))
    tall, wide = (int((result > 0).any(axis).sum()) for axis in (1, 0))
    assert max(tall, wide) == 20 and result.shape == (28, 28) and result.dtype == torch.uint8
    mass = result.double() / result.sum()
    for axis in (0, 1):
        assert abs((mass.sum(axis) * torch.arange(28)).sum() - 14) <= 0.5


@pytest.mark.parametrize("wrong", [torch.zeros(28, 28), torch.zeros(27, 28, dtype=torch.uint8), torch.zeros(1, 28, 28, dtype=torch.uint8)])
def test_what_is_no_image_is_named(wrong):
    with pytest.raises(ValueError, match=r"uint8 \[28, 28\].*not torch"):
        prepare_drawing(wrong)
    with pytest.raises((ValueError, traitlets.TraitError), match=r"uint8 \[28, 28\].*not torch"):
        DigitPad(image=wrong)


def test_an_empty_sheet_is_refused():
    with pytest.raises(ValueError, match="no ink"):
        prepare_drawing(torch.zeros(28, 28, dtype=torch.uint8))


# -- the brush and the pad

def test_the_brush_is_full_within_and_empty_beyond():
    image = draw_strokes([[(5, 14), (23, 14)]])
    assert (image[13:15, 5:23] == 255).all() and (image[:12] == 0).all() and (image[16:] == 0).all()
    assert (0 < image[12:16:3, 5:23]).all() and (image[12:16:3] < 255).all()
    assert draw_strokes([[(14.5, 14.5), (14.5, 14.5)]], ink=0.5)[14, 14] == 128
    with pytest.raises(ValueError, match="two points"):
        draw_strokes([[(1, 1)]])


def test_a_message_of_the_browser_becomes_an_image():
    pad, seen = DigitPad(), []
    pad.observe(lambda change: seen.append(change.new), "image")
    sent = bytes(range(256)) * 3 + bytes(16)
    pad.set_state({"image": memoryview(sent)})
    assert pad.image.dtype == torch.uint8 and pad.image.flatten().tolist() == list(sent) and len(seen) == 1
    assert pad.get_state("image")["image"] == sent


def test_a_pad_keeps_its_own_copy():
    image = draw_strokes(SEVEN)
    pad = DigitPad(image=image)
    image.zero_()
    assert pad.image.any()


def test_one_value_is_shared_with_the_browser():
    own = set(DigitPad().keys) - set(anywidget.AnyWidget().keys)
    assert own - {"_esm", "_css", "_anywidget_id"} == {"image"}


# -- rungs that are kept

def test_rungs_are_trained_once(quick, few):
    first, second = trained_rungs(few), trained_rungs(few)
    assert quick == ["pixel similarity", "linear model"]
    x = few.valid_x.float() / 255
    for a, b in zip(first, second):
        assert (a.name, a.accuracy) == (b.name, b.accuracy) and a.probability(x).equal(b.probability(x))


def test_the_kept_accuracy_is_that_of_the_ladder(quick, few):
    table = ladder.ladder(few).set_index("rung")
    for rung in trained_rungs(few) + trained_rungs(few):
        assert rung.accuracy == table.accuracy[rung.name]


@pytest.mark.parametrize("damage", ["a changed bit", "cut short", "empty", "text", "another model", "no metadata"])
def test_a_damaged_file_is_trained_again(quick, few, empty_cache, damage, capsys):
    sound = trained_rungs(few)[1]
    file = next(empty_cache.glob("rung-linear*"))
    whole = file.read_bytes()
    from safetensors.torch import save
    file.write_bytes({
        "a changed bit": whole[:-5] + bytes([whole[-5] ^ 1]) + whole[-4:],
        "cut short": whole[:-10], "empty": b"", "text": b"no weights at all", "no metadata": save({"weight": torch.zeros(1)}),
        "another model": next(empty_cache.glob("rung-pixel*")).read_bytes(),
    }[damage])
    rung = trained_rungs(few)[1]
    assert quick == ["pixel similarity", "linear model", "linear model"] and "damaged" in capsys.readouterr().err
    again = trained_rungs(few)[1]
    assert len(quick) == 3 and "damaged" not in capsys.readouterr().err
    x = few.valid_x.float() / 255
    assert sound.probability(x).equal(rung.probability(x)) and sound.probability(x).equal(again.probability(x))


def test_other_digits_another_seed_or_other_code_train_anew(quick, few, monkeypatch):
    trained_rungs(few)
    fewer = Digits(few.train_x[1:], few.train_y[1:], few.valid_x, few.valid_y, few.source)
    trained_rungs(fewer)
    assert len(quick) == 4
    trained_rungs(few)
    assert len(quick) == 4  # those of the first digits are still there
    trained_rungs(few, seed=1)
    assert len(quick) == 6
    monkeypatch.setattr(playground, "_TRAINED_BY", playground._TRAINED_BY[:-1])
    trained_rungs(few, seed=1)
    assert len(quick) == 8


def test_an_unwritable_cache_is_no_hindrance(quick, few, empty_cache):
    empty_cache.write_text("a file where the folder should be")
    with pytest.warns(UserWarning, match="cannot be written"):
        rungs = trained_rungs(few)
    assert [rung.name for rung in rungs] == ["pixel similarity", "linear model"]


def test_trained_rungs_load_within_a_second_in_a_new_process(rungs):
    code = ("import time; from mnist_basics.data import mnist_sample; from mnist_basics.playground import trained_rungs; "
            "digits = mnist_sample(); start = time.perf_counter(); rungs = trained_rungs(digits); "
            "print(time.perf_counter() - start); print([rung.accuracy for rung in rungs]); "
            "print([rung.name for rung in rungs if rung.model.training])")
    result = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    seconds, accuracies, in_training_mode = result.stdout.splitlines()
    assert float(seconds) < 1 and json.loads(accuracies) == [rung.accuracy for rung in rungs] and in_training_mode == "[]"


def test_loading_leaves_the_random_numbers_alone(digits, rungs):
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    trained_rungs(digits)
    assert torch.rand(3).equal(expected)


# -- votes and evidence

def test_a_rung_votes_as_it_does_on_the_ladder(digits, rungs):
    x = digits.valid_x.float() / 255
    for rung in rungs[1:]:
        right = (rung.probability(x) > 0.5) == (digits.valid_y == 3)
        assert right.float().mean().item() == pytest.approx(rung.accuracy, abs=0.0011)
    similarity, expected = rungs[0], playground.PixelSimilarity.fit(digits).is_3(x)
    assert ((similarity.probability(x) > 0.5) == expected).all()


def test_the_scale_of_pixel_similarity_is_the_best(digits, rungs):
    soft = rungs[0].model
    x, y = playground.as_rows(digits, "train")
    nearer = soft(x.view(-1, 28, 28)) / soft.scale
    losses = [torch.nn.functional.binary_cross_entropy_with_logits(soft.scale * f * nearer, y[:, 0]).item() for f in (0.97, 1, 1.03)]
    assert losses[1] == min(losses)


def test_the_evidence_adds_up(digits, rungs):
    image = digits.valid_x[7].float() / 255
    similarity, linear, net = rungs[:3]
    to3, to7 = (e.picture.mean() for e in similarity.evidence(image))
    odds = [playground.VOTERS[rung.name].ask(rung.model, image[None])[0] for rung in rungs[:3]]
    torch.testing.assert_close(similarity.model.scale * (to7 - to3), odds[0])
    torch.testing.assert_close(linear.evidence(image)[0].picture.sum() + linear.model.bias[0], odds[1], atol=1e-4, rtol=1e-4)
    first, _, second = net.model
    total = second.bias[0]
    units = playground._explain_hidden(net.model, image, number=30)
    says = [abs(float(evidence.caption.split()[-1])) for evidence in units]
    assert says == sorted(says, reverse=True) and says[0] > 0
    for evidence in units:
        unit = int(evidence.caption.split()[1].strip(":"))
        if first(image.flatten())[unit] > 0:
            total = total + evidence.picture.sum() + first.bias[unit] * second.weight[0, unit]
        else:
            assert not evidence.picture.any()
    assert 0 in says  # there was a unit that is closed
    torch.testing.assert_close(total, odds[2], atol=1e-4, rtol=1e-4)


def test_the_gradient_is_the_slope_of_the_log_odds(digits, rungs):
    cnn = rungs[3]
    image = digits.valid_x[7].double() / 255
    model = copy.deepcopy(cnn.model).double()
    picture = playground._explain_gradient(model, image)[0].picture
    for row, column in ((14, 14), (7, 12), (20, 10)):
        step = torch.zeros(28, 28, dtype=torch.float64)
        step[row, column] = 1e-5
        rise = playground._ask_images(model, torch.stack([image + step, image - step]))
        torch.testing.assert_close((rise[0] - rise[1]) / 2e-5, picture[row, column], atol=1e-6, rtol=1e-3)


# -- the playground

def test_an_empty_pad_gets_no_vote(digits, rungs):
    play = Playground(rungs, digits)
    assert "The pad is empty" in play.votes.value and "<table" not in play.votes.value and not play.evidence.value
    play.pad.image = draw_strokes(SEVEN)
    assert "All 5 say 7." in play.votes.value and play.evidence.value.count("<img") == 10
    play.pad.image = torch.zeros(28, 28, dtype=torch.uint8)
    assert "The pad is empty" in play.votes.value and not play.evidence.value


def test_a_single_dot_is_voted_on(digits, rungs):
    play = Playground(rungs, digits)
    play.pad.image = draw_strokes([[(0.5, 0.5), (0.5, 0.5)]])
    assert play.votes.value.count("<tr>") == 6


def test_the_votes_are_there_in_a_tenth_of_a_second(digits, rungs):
    play, seconds = Playground(rungs, digits), []
    for number in range(15):
        start = time.perf_counter()
        play.start_from(number)
        seconds.append(time.perf_counter() - start)
    assert sorted(seconds)[7] < 0.1


def test_votes_show_name_accuracy_and_both_probabilities(digits, rungs):
    play = Playground(rungs, digits)
    play.start_from(3)
    image = prepare_drawing(digits.valid_x[3]).float() / 255
    for rung in rungs:
        p = rung.probability(image[None]).item()
        row = next(row for row in play.votes.value.split("<tr>") if rung.name in row)
        assert f"{rung.accuracy:.4f}" in row and f"{p:.1%}" in row and f"{1 - p:.1%}" in row


def test_start_from_names_the_numbers_that_there_are(digits, rungs):
    with pytest.raises(ValueError, match=f"0 to {len(digits.valid_x) - 1:,}"):
        Playground(rungs, digits).start_from(len(digits.valid_x))


def test_what_goes_wrong_is_shown(digits, rungs):
    broken = rungs[1]._replace(model=torch.nn.Linear(3, 1))
    play = Playground([rungs[0], broken], digits)
    play.start_from(0)
    assert "There are no votes" in play.votes.value and "cannot be multiplied" in play.votes.value


def test_training_leaves_the_random_numbers_alone(quick, few):
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    trained_rungs(few)
    assert torch.rand(3).equal(expected) and len(quick) == 2


@pytest.mark.parametrize("wrong", [None, "a 3", [[1, 2], [3, 4]]])
def test_what_is_no_array_at_all_is_named(wrong):
    with pytest.raises(ValueError, match=f"not a {type(wrong).__name__}"):
        prepare_drawing(wrong)


def test_too_much_ink_is_refused():
    with pytest.raises(ValueError, match="between 0 and 1, not 2.0"):
        draw_strokes(SEVEN, ink=2.0)
