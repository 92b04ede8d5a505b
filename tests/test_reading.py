"""Pictures and IDX files, and what is said of those that do not fit."""

import numpy as np
import pytest
from PIL import Image

from mnist_basics.workshop.reading import (
    DataError,
    expect_known,
    expect_table,
    list_pictures,
    read_idx_file,
    read_picture,
    why,
)


def idx(kind, *shape, content=None):
    content = np.arange(np.prod(shape)).astype(np.uint8) if content is None else content
    return np.array([kind, *shape], ">i4").tobytes() + bytes(content)


def test_a_picture_comes_back_as_it_was_drawn(tmp_path):
    pixels = np.arange(784).astype(np.uint8).reshape(28, 28)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert (read_picture(tmp_path / "a.png") == pixels).all()


@pytest.mark.parametrize("mode, size", [("L", (27, 28)), ("RGB", (28, 28))])
def test_another_picture_is_named_with_its_kind(mode, size, tmp_path):
    Image.new(mode, size).save(tmp_path / "a.png")
    with pytest.raises(DataError, match=f"a.png is {size[0]}×28 in mode {mode}"):
        read_picture(tmp_path / "a.png")


def test_a_picture_that_may_not_be_read_is_named_once(monkeypatch, tmp_path):
    (tmp_path / "a.png").symlink_to("a.png")
    with pytest.raises(DataError) as error:
        read_picture(tmp_path / "a.png")
    says = str(error.value)
    assert "a.png cannot be read as a picture (Too many levels" in says
    assert says.count("a.png") == 1


def test_a_picture_that_does_not_fit_is_not_even_unpacked(tmp_path, monkeypatch):
    Image.new("1", (3000, 3000)).save(tmp_path / "a.png")
    monkeypatch.setattr(Image.Image, "load", lambda *a: pytest.fail("unpacked"))
    with pytest.raises(DataError, match="a.png is 3000×3000 in mode 1"):
        read_picture(tmp_path / "a.png")


def test_pictures_come_by_label_then_by_name_and_nothing_hidden(tmp_path):
    for name in ("12/9.png", "3/10.png", "3/9.png", "3/.DS_Store", "words/1.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    names = [str(file.relative_to(tmp_path)) for file in list_pictures(tmp_path)]
    assert names == ["3/10.png", "3/9.png", "12/9.png"]


@pytest.mark.parametrize("label, large", [(2**63 - 1, False), (2**63, True)])
def test_a_label_must_fit_into_int64(label, large, tmp_path):
    file = tmp_path / str(label) / "1.png"
    file.parent.mkdir()
    file.touch()
    if large:
        with pytest.raises(DataError, match=f"{label} is too large a label"):
            list_pictures(tmp_path)
    else:
        assert list_pictures(tmp_path) == [file]


def test_a_table_must_be_of_its_form():
    expect_table(np.zeros((2, 3), np.uint8), 2, 3)
    for table in (np.zeros((3, 2), np.uint8), np.zeros((2, 3), np.int64)):
        with pytest.raises(ValueError, match=r"expected uint8 \[2, 3\]"):
            expect_table(table, 2, 3)


def test_labels_of_valid_must_be_known_from_train():
    expect_known("here", np.array([3, 3, 7]), np.array([3]))
    with pytest.raises(DataError, match="here has images of 5 .* none to train on"):
        expect_known("here", np.array([3, 7]), np.array([7, 9, 5]))


@pytest.mark.parametrize(
    "error, says",
    [
        (OSError(2, "No such file", "/a/b"), "No such file"),
        (ValueError("It is packed. If you trust it, unpack it."), "It is packed"),
        (ValueError("cut off."), "cut off"),
    ],
)
def test_of_what_others_say_the_part_that_helps(error, says):
    assert why(error) == says


def test_what_is_no_picture_is_named(tmp_path):
    (tmp_path / "a.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match="a.png cannot be read as a picture"):
        read_picture(tmp_path / "a.png")


def test_tables_come_back_as_they_were_written(tmp_path):
    (tmp_path / "images").write_bytes(idx(2051, 2, 28, 28))
    images = read_idx_file(tmp_path / "images", 2051, 28, 28)
    assert images.shape == (2, 28, 28) and images[1, 0, 3] == (784 + 3) % 256
    (tmp_path / "labels").write_bytes(idx(2049, 3, content=[5, 0, 4]))
    assert read_idx_file(tmp_path / "labels", 2049).tolist() == [5, 0, 4]


@pytest.mark.parametrize(
    "content, says",
    [
        (idx(2049, 3, content=[5, 0]), "cut off"),
        (idx(2049, 3, content=[5, 0, 4, 1]), "begin with \\[2049, 4\\]"),
        (idx(2051, 3, content=[5, 0, 4]), "not what its name says"),
        (b"", "cut off"),
        (b"\x1f\x8b123", "gunzip"),
    ],
)
def test_a_file_that_does_not_fit_is_named(content, says, tmp_path):
    (tmp_path / "labels").write_bytes(content)
    with pytest.raises(DataError, match=f"labels is .*{says}"):
        read_idx_file(tmp_path / "labels", 2049)
