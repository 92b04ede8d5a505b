"""Pictures and IDX files, and what is said of those that do not fit."""

import numpy as np
import pytest
from PIL import Image

from mnist_basics.workshop.reading import DataError, read_idx_file, read_picture


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
