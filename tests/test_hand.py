"""The generated hand, and drawings that become files."""

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from mnist_basics.data import read_folder
from mnist_basics.playground import keep_drawing
from mnist_basics.workshop.hand import generated_hand, keep_next, resized
from mnist_basics.workshop.reading import DataError


def test_a_hand_writes_so_many_styles_so_often_and_the_same_with_the_same_seed():
    for digit in (3, 7):
        drawings = generated_hand(digit, styles=4, wobbles=3)
        assert len(drawings) == 12
        assert drawings == generated_hand(digit, styles=4, wobbles=3)
        assert drawings != generated_hand(digit, styles=4, wobbles=3, seed=1)
        for drawing in drawings:
            points = np.concatenate([np.array(stroke) for stroke in drawing])
            assert points.shape[1] == 2 and (-4 < points).all() and (points < 32).all()
        assert len({str(drawing) for drawing in drawings}) == 12


def test_another_digit_is_refused():
    with pytest.raises(ValueError, match="writes 3 and 7, not 5"):
        generated_hand(5)


def test_a_drawing_is_resized_around_the_middle():
    assert resized([[(14, 14), (24, 4)]], 0.5) == [[(14, 14), (19, 9)]]


# -- drawings that become files


def test_what_was_kept_is_read_again_the_first_five_to_train_on(tmp_path):
    images = torch.rand(14, 28, 28)
    for image, label in zip(images, (3, 7) * 7):
        file = keep_drawing(image, label, tmp_path / "mine")
    assert file == tmp_path / "mine" / "valid" / "7" / "7.png"
    digits = read_folder(tmp_path / "mine")
    assert digits.train_y.bincount()[[3, 7]].tolist() == [5, 5]
    assert digits.valid_y.tolist() == [3, 3, 7, 7]
    expected = (255 * images).round().to(torch.uint8)
    assert digits.train_x[:5].equal(expected[:10:2])
    assert digits.valid_x.equal(expected[[10, 12, 11, 13]])
    names = {file.name for file in (tmp_path / "mine").iterdir()}
    assert names == {"train", "valid"}, "something was left behind"


def test_a_file_that_is_there_stays_and_the_next_number_is_taken(tmp_path):
    first = keep_drawing(torch.zeros(28, 28), 3, tmp_path)
    before = first.read_bytes()
    theirs = tmp_path / "valid" / "3" / "41.png"
    theirs.write_bytes(b"not ours")
    assert keep_drawing(torch.ones(28, 28), 3, tmp_path).stem == "42"
    assert first.read_bytes() == before and theirs.read_bytes() == b"not ours"


def test_two_programs_at_once_keep_all_their_drawings(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (40, 28, 28), np.uint8)
    with ThreadPoolExecutor(8) as programs:
        kept = list(programs.map(lambda one: keep_next(one, tmp_path, 7), pixels))
    assert len(set(kept)) == 40
    digits = read_folder(tmp_path)
    read = torch.cat([digits.train_x, digits.valid_x]).numpy()
    assert {one.tobytes() for one in read} == {one.tobytes() for one in pixels}


def test_a_drive_without_links_will_do(tmp_path, monkeypatch):
    def no_links(*paths):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    files = [keep_drawing(torch.zeros(28, 28), 3, tmp_path) for _ in range(2)]
    assert [file.name for file in files] == ["1.png", "2.png"]
    assert files[0].read_bytes() == files[1].read_bytes() != b""


@pytest.mark.parametrize("where", ["", "train/3"])
def test_a_folder_that_cannot_be_written_is_named(tmp_path, where):
    in_the_way = tmp_path / "mine" / where
    in_the_way.parent.mkdir(parents=True, exist_ok=True)
    in_the_way.write_text("a file", encoding="utf-8")
    with pytest.raises(
        DataError, match=r"mine cannot be written \(.+\)\. Name another"
    ):
        keep_drawing(torch.zeros(28, 28), 3, tmp_path / "mine")


@pytest.mark.parametrize(
    "image, label, says",
    [
        (torch.zeros(28, 28, dtype=torch.uint8), 3, "floating-point"),
        (torch.zeros(27, 28), 3, r"not uint8 \[27, 28\]"),
        (torch.zeros(28, 28), "../3", "label must be a whole number"),
        (torch.zeros(28, 28), -3, "label must be a whole number"),
    ],
)
def test_what_cannot_be_kept_is_refused(tmp_path, image, label, says):
    with pytest.raises(ValueError, match=says):
        keep_drawing(image, label, tmp_path)
    assert not list(tmp_path.iterdir())
