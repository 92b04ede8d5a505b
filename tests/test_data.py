"""Module data: the four files, the folder of pictures, and other people's digits."""

import errno
import hashlib
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from mnist_basics import data
from mnist_basics.data import (
    DataError,
    Digits,
    mnist_full,
    mnist_sample,
    read_folder,
    read_idx,
    sample_folder,
)
from mnist_basics.workshop.keeping import written_whole

TABLES = ("train_x", "train_y", "valid_x", "valid_y")
PARTS = ("train/3", "train/7", "valid/3", "valid/7")
IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"


def assert_same(a, b):
    for name in TABLES:
        torch.testing.assert_close(getattr(a, name), getattr(b, name))


def refused(read, *args):
    """What a reading that must fail says, and to whom: one line for a ValueError."""
    with pytest.raises(DataError) as error:
        read(*args)
    says = str(error.value)
    assert isinstance(error.value, ValueError) and len(says.splitlines()) == 1
    assert says[-1] in ".?"
    return says


# The four files


def test_the_files_are_mnist_byte_for_byte():
    # The published MD5 of the four IDX files; from DESIGN.md, not from the library.
    published = {
        "train_x": "6bbc9ace898e44ae57da46a324031adb",
        "train_y": "a25bea736e30d166cdddb491f175f624",
        "valid_x": "2646ac647ad5339dbf082846283269ea",
        "valid_y": "27ae3e4e09519cfbb04c329615203637",
    }
    for name, md5 in published.items():
        table = np.load(Path(data.__file__).parent / "digits" / f"{name}.npy")
        kind = 2051 if table.ndim == 3 else 2049
        header = struct.pack(f">{1 + table.ndim}I", kind, *table.shape)
        assert table.dtype == np.uint8
        assert hashlib.md5(header + table.tobytes()).hexdigest() == md5


def test_all_ten_digits_are_there():
    full = mnist_full()
    train = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    valid = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert full.train_y.bincount().tolist() == train and sum(train) == 60_000
    assert full.valid_y.bincount().tolist() == valid and sum(valid) == 10_000
    assert repr(full) == "Digits(60,000 to train on, 10,000 to validate with)"


def test_the_sample_has_its_counts_and_its_order(digits):
    # From DESIGN.md, not from the library, which is what is examined here.
    fingerprints = {
        "train/3": "27827b5d0311478d77b7c8941be003d6f30b4a900c17e343c72534ac853c1ed5",
        "train/7": "caeb194cda0262f4a16f302971a246ace03448704fade38b5d882a815830e66a",
        "valid/3": "02db1ddc2cb4157a1b621c8f9b51befcf890948ad060d5b0e35d9158963cdf7b",
        "valid/7": "9805bc09899883dda1913c99cdf3896dc246528558fe2c10bc36e4717a7589de",
    }
    for part, sha256 in fingerprints.items():
        split, digit = part.split("/")
        x, y = getattr(digits, f"{split}_x"), getattr(digits, f"{split}_y")
        assert hashlib.sha256(x[y == int(digit)].numpy()).hexdigest() == sha256
    assert digits.train_y.tolist() == [3] * 6131 + [7] * 6265
    assert digits.valid_y.tolist() == [3] * 1010 + [7] * 1028


@pytest.mark.parametrize("read", [mnist_sample, mnist_full])
def test_tensors_are_as_agreed_and_images_are_floats(read):
    digits = read()
    for split in ("train", "valid"):
        x, y = getattr(digits, f"{split}_x"), getattr(digits, f"{split}_y")
        assert x.dtype == torch.uint8 and x.shape == (len(y), 28, 28)
        assert y.dtype == torch.int64
        for digit in (3, 7):
            expected = x[y == digit].to(torch.float32) / 255
            torch.testing.assert_close(digits.images(split, digit), expected)


@pytest.mark.parametrize("read", [mnist_sample, mnist_full])
def test_a_change_stays_with_the_one_who_made_it(read):
    mine = read()
    mine.train_x.fill_(99)
    mine.train_y.fill_(99)
    theirs = read()
    assert theirs.train_x[0, 0, 0] == 0 and theirs.train_y.max() < 10


def test_wrong_arguments_are_answered_with_what_is_allowed(digits):
    with pytest.raises(ValueError, match="'train' or 'valid', not 'test'"):
        digits.images("test", 3)
    with pytest.raises(ValueError, match=r"one of \[3, 7\], not 5"):
        digits.images("train", 5)


FORMS = {  # of a table that is sound, but not the one that should be there
    "another shape": (lambda table: table.reshape(-1, 784), r"uint8 \[10000, 784\]"),
    "too few": (lambda table: table[1:], r"uint8 \[9999, 28, 28\]"),
    "floats": (lambda table: table / 255, "float64"),
    "pickled": (lambda table: np.array([table[0], None], object), "Python objects"),
}


@pytest.mark.parametrize("fault", ["missing", "cut off", "empty", "junk", *FORMS])
def test_a_missing_or_damaged_file_says_to_install_again(fault, monkeypatch, tmp_path):
    shutil.copytree(Path(data.__file__).parent / "digits", tmp_path / "digits")
    monkeypatch.setattr(data, "files", lambda package: tmp_path)
    assert len(mnist_full().train_x) == 60_000
    bad = tmp_path / "digits" / "valid_x.npy"
    content = bad.read_bytes()
    table = np.load(bad)
    bad.unlink()
    form, reason = FORMS.get(fault, (None, ""))
    if form:
        np.save(bad, form(table))
    elif fault != "missing":
        cut = content[: len(content) // 2]
        bad.write_bytes({"cut off": cut, "empty": b"", "junk": b"junk" * 999}[fault])
    for read in (mnist_full, mnist_sample):
        says = refused(read)
        assert str(bad) in says and says.endswith("Install mnist_basics again.")
        assert re.search(reason, says)


# The folder of pictures


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The folder, written by two processes at once into one cache, with empty files."""
    cache = tmp_path_factory.mktemp("home") / "cache"
    code = (
        "from PIL import Image; from mnist_basics.data import sample_folder\n"
        "Image.Image.save = lambda image, file: file.touch()\n"  # ten times as fast
        "print(sample_folder())"
    )
    start = {"env": os.environ | {"MNIST_BASICS_CACHE": str(cache)}, "text": True}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    command = [sys.executable, "-c", code]
    both = [subprocess.Popen(command, **start, **pipes) for _ in range(2)]
    said = [process.communicate(timeout=120) for process in both]
    assert said[0] == said[1] and said[0][1] == "", said
    return Path(said[0][0].strip())


@pytest.fixture
def cache(monkeypatch, tmp_path):
    """An empty cache of the test's own."""
    monkeypatch.setenv("MNIST_BASICS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_two_processes_at_once_leave_one_whole_folder_and_nothing_else(written):
    assert list(written.parent.iterdir()) == [written]
    assert sorted(f.name for f in written.iterdir()) == ["labels.csv", "train", "valid"]
    counts = [len(list((written / part).iterdir())) for part in PARTS]
    assert counts == [6131, 6265, 1010, 1028]
    assert all((written / part).stat().st_mode & 0o100 for part in PARTS)


def test_the_folder_holds_the_sample(cache, digits):
    written = sample_folder()
    assert sorted(f.name for f in (written / "train/3").iterdir())[1] == "10000.png"
    assert_same(read_folder(written), digits)
    full = mnist_full()
    for split in ("train", "valid"):
        for digit in (3, 7):
            file = next((written / split / str(digit)).iterdir())
            x, y = getattr(full, f"{split}_x"), getattr(full, f"{split}_y")
            assert y[int(file.stem)] == digit
            np.testing.assert_array_equal(x[int(file.stem)], np.array(Image.open(file)))


def test_labels_csv_says_the_same_as_the_folders(written):
    labels = pd.read_csv(written / "labels.csv")
    assert list(labels.columns) == ["name", "label"] and len(labels) == 14_434
    assert (labels["label"] == labels["name"].str.contains("/7/")).all()
    pictures = written.glob("*/*/*.png")
    assert set(labels["name"]) == {f.relative_to(written).as_posix() for f in pictures}


def test_the_folder_is_written_once(written, monkeypatch):
    monkeypatch.setenv("MNIST_BASICS_CACHE", str(written.parent))
    monkeypatch.setattr(data, "_write_sample", lambda folder: pytest.fail("again"))
    assert sample_folder() == written


def test_a_process_that_comes_second_takes_what_is_there(written, monkeypatch):
    aside = written.rename(written.parent.parent / "aside")

    def another_is_faster(folder):
        folder.mkdir()
        aside.rename(written)

    monkeypatch.setenv("MNIST_BASICS_CACHE", str(written.parent))
    monkeypatch.setattr(data, "_write_sample", another_is_faster)
    assert sample_folder() == written
    assert list(written.parent.iterdir()) == [written]


def test_a_full_disk_leaves_nothing_behind(cache, monkeypatch):
    saved = []

    def save(image, file):
        saved.append(file)
        if len(saved) == 100:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        file.touch()

    monkeypatch.setattr(Image.Image, "save", save)
    says = refused(sample_folder)
    assert "No space left" in says and "MNIST_BASICS_CACHE" in says
    assert len(saved) == 100 and list(cache.iterdir()) == []


def test_a_killed_process_leaves_nothing_for_long(cache):
    code = (
        "import os, signal; from PIL import Image; from mnist_basics import data;"
        "save, saved = Image.Image.save, []\n"
        "def die(*arguments):\n"
        "    save(*arguments); saved.append(1)\n"
        "    len(saved) == 100 and os.kill(os.getpid(), signal.SIGKILL)\n"
        "Image.Image.save = die; data.sample_folder()"
    )
    process = subprocess.run([sys.executable, "-c", code], env=os.environ)
    assert process.returncode == -signal.SIGKILL
    [left] = cache.iterdir()
    assert len(list(left.rglob("*.png"))) == 100
    with written_whole(cache / "another") as new:
        new.touch()
    assert [file.name for file in cache.iterdir()] == ["another"]


@pytest.mark.parametrize("below", [".", "further/down"])
def test_a_cache_that_cannot_be_written_is_one_sentence(below, cache):
    cache.write_text("a file, in the place of the folder", encoding="utf-8")
    os.environ["MNIST_BASICS_CACHE"] = str(cache / below)  # put back by the fixture
    says = refused(sample_folder)
    assert str(cache) in says and "MNIST_BASICS_CACHE" in says
    assert cache.read_text(encoding="utf-8") == "a file, in the place of the folder"


@pytest.mark.parametrize("name", ["", "/thesis.txt", "/train/3/7.png", "/labels.csv"])
def test_something_else_in_its_place_is_left_alone(name, cache):
    file = cache / f"mnist_sample-1{name}"
    file.parent.mkdir(parents=True)
    file.write_text("years of work", encoding="utf-8")
    before = sorted(cache.rglob("*"))
    says = refused(sample_folder)
    assert says.startswith(f"{cache}/mnist_sample-1 is not as we wrote it")
    assert sorted(cache.rglob("*")) == before
    assert file.read_text(encoding="utf-8") == "years of work"


@pytest.mark.parametrize("target", ["nowhere", "mnist_sample-1", None])
def test_a_link_or_an_empty_folder_in_its_place_is_left_alone(
    target, cache, monkeypatch
):
    monkeypatch.setattr(data, "_write_sample", lambda folder: pytest.fail("writes"))
    cache.mkdir()
    place = cache / "mnist_sample-1"
    if target:
        place.symlink_to(target)
    else:
        place.mkdir()
    before = place.lstat().st_ino
    assert f"{place} is not as we wrote it" in refused(sample_folder)
    assert list(cache.iterdir()) == [place] and place.lstat().st_ino == before


def test_what_somebody_puts_beside_the_pictures_stays(written, monkeypatch):
    monkeypatch.setenv("MNIST_BASICS_CACHE", str(written.parent))
    notes = [written / "notes.txt", written.parent / "mnist_sample" / "notes.txt"]
    notes[1].parent.mkdir()
    for file in notes:
        file.write_text("mine", encoding="utf-8")
    assert sample_folder() == written
    for file in notes:
        assert file.read_text(encoding="utf-8") == "mine"
        file.unlink()
    notes[1].parent.rmdir()


def test_a_folder_that_lost_a_picture_is_noticed(written, monkeypatch):
    monkeypatch.setenv("MNIST_BASICS_CACHE", str(written.parent))
    lost = (written / "train/3/7.png").rename(written / "lost.png")
    assert f"{written} is not as we wrote it" in refused(sample_folder)
    lost.rename(written / "train/3/7.png")
    assert sample_folder() == written


# Other people's pictures


@pytest.fixture
def pictures(tmp_path):
    """A folder of nine pictures, each with a value of its own."""
    names = [f"train/{label}/{i}.png" for label in ("12", "3") for i in (10, 9, "b")]
    names += [f"valid/3/{i}.png" for i in (1, 2, 3)]
    for value, name in enumerate(names):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (28, 28), value).save(tmp_path / name)
    return tmp_path


def test_pictures_come_by_label_and_then_by_name_as_text(pictures):
    digits = read_folder(str(pictures))
    assert isinstance(digits, Digits)
    assert digits.train_y.tolist() == [3, 3, 3, 12, 12, 12]
    assert digits.train_x.float().mean((1, 2)).tolist() == [3, 4, 5, 0, 1, 2]
    assert digits.train_x.dtype == torch.uint8 and digits.train_y.dtype == torch.int64
    assert digits.images("valid", 3).shape == (3, 28, 28)


def test_what_is_no_picture_and_no_label_is_ignored(pictures):
    before = read_folder(pictures)
    for name in (".DS_Store", "._10.png"):
        (pictures / "train/3" / name).write_bytes(b"stray")
    for name in ("train/drafts", "train/.ipynb_checkpoints", "valid/-3", "test/3"):
        (pictures / name).mkdir(parents=True)
        shutil.copy(pictures / "train/3/9.png", pictures / name)
    (pictures / "train/5").mkdir()
    assert_same(read_folder(pictures), before)


@pytest.mark.parametrize("name", ["Thumbs.db", "notes.txt", "photo.jpg"])
def test_nothing_in_a_label_folder_is_passed_over_in_silence(name, pictures):
    (pictures / "train/3" / name).write_bytes(b"no picture")
    with pytest.raises(DataError, match=f"{name} cannot be read as a picture"):
        read_folder(pictures)


@pytest.mark.parametrize(
    "size, mode",
    [
        ((32, 20), "L"),
        ((28, 28), "RGB"),
        ((28, 28), "RGBA"),
        ((28, 28), "1"),
        ((28, 28), "P"),
        ((28, 28), "LA"),
        ((28, 28), "I;16"),
        ((9000, 9000), "1"),
    ],
)
def test_a_picture_that_does_not_fit_is_named_with_what_it_is(size, mode, pictures):
    Image.new(mode, size).save(pictures / "valid/3/2.png")
    says = refused(read_folder, pictures)
    assert f"{pictures}/valid/3/2.png is {size[0]}×{size[1]} in mode {mode};" in says
    assert "expected 28×28 in mode L" in says


@pytest.mark.parametrize("fault", ["empty", "junk", "cut off", "cut in its header"])
def test_a_picture_that_cannot_be_read_is_named(fault, pictures):
    bad = pictures / "valid/3/2.png"
    content = bad.read_bytes()
    cut = {"cut off": content[:-30], "cut in its header": content[:20]}
    bad.write_bytes(cut.get(fault, {"empty": b"", "junk": b"<html>"}.get(fault)))
    says = refused(read_folder, pictures)
    assert says.startswith(f"{bad} cannot be read as a picture")


def test_a_picture_that_would_fill_the_memory_is_named(pictures, monkeypatch):
    monkeypatch.setattr(
        Image, "MAX_IMAGE_PIXELS", 300
    )  # 28 * 28 is more than twice this
    assert "cannot be read as a picture" in refused(read_folder, pictures)


def emptied(valid):
    for file in (valid / "3").iterdir():
        file.unlink()


def replaced(folder, put):
    shutil.rmtree(folder)
    put(folder)


LISTING = {  # what is done to valid/, and what is said, besides what is expected
    "nothing there": (lambda valid: shutil.rmtree(valid.parent), "train cannot be li"),
    "no valid": (shutil.rmtree, "valid cannot be listed (No such file"),
    "a file valid": (lambda v: replaced(v, Path.touch), "listed (Not a directory"),
    "only words": (lambda v: (v / "3").rename(v / "three"), "no picture in"),
    "empty labels": (emptied, "no picture in"),
    "a file 3": (lambda v: replaced(v / "3", Path.touch), "3 cannot be listed (Not"),
    "a link to nowhere": (lambda v: (v / "5").symlink_to("nowhere"), "5 cannot be li"),
    "a link to itself": (lambda v: (v / "5").symlink_to("5"), "5 cannot be listed (T"),
    "too large a label": (
        lambda v: (v / "3").rename(v / "99999999999999999999"),
        "valid/99999999999999999999 is too large a label.",
    ),
}


@pytest.mark.parametrize("fault", LISTING)
def test_a_folder_that_cannot_be_listed_is_named_with_what_is_expected(fault, pictures):
    damage, reason = LISTING[fault]
    damage(pictures / "valid")
    says = refused(read_folder, pictures)
    assert str(pictures) in says and reason in says
    assert says.endswith(
        "Expected a folder for each label, such as 3, with PNGs in it."
    )


def test_a_label_that_cannot_be_learned_is_named(pictures):
    (pictures / "valid" / "5").mkdir()
    shutil.copy(pictures / "valid/3/1.png", pictures / "valid/5")
    says = refused(read_folder, pictures)
    assert f"{pictures} has images of 5 to validate with, but none to train on" in says
    (pictures / "train" / "5").mkdir()
    shutil.copy(pictures / "valid/3/1.png", pictures / "train/5")
    assert read_folder(pictures).valid_y.tolist() == [3, 3, 3, 5]


def test_the_home_of_the_user_is_understood(pictures, monkeypatch):
    monkeypatch.setenv("HOME", str(pictures.parent))
    assert_same(read_folder(f"~/{pictures.name}"), read_folder(pictures))


# Other people's IDX files


@pytest.fixture
def idx(tmp_path):
    """Four IDX files, of 30 and 20 images; gives the folder."""
    random = np.random.default_rng(0)
    for split, count in (("train", 30), ("t10k", 20)):
        pixels = random.integers(0, 256, count * 784, np.uint8).tobytes()
        images = struct.pack(">4I", 2051, count, 28, 28) + pixels
        labels = struct.pack(">2I", 2049, count) + bytes(i % 10 for i in range(count))
        (tmp_path / f"{split}-images-idx3-ubyte").write_bytes(images)
        (tmp_path / f"{split}-labels-idx1-ubyte").write_bytes(labels)
    return tmp_path


def test_idx_files_become_digits(idx):
    digits = read_idx(str(idx))
    assert digits.train_y.tolist() == [i % 10 for i in range(30)]
    assert digits.train_x.dtype == torch.uint8 and digits.train_y.dtype == torch.int64
    pixels = np.random.default_rng(0).integers(0, 256, 30 * 784, np.uint8)
    np.testing.assert_array_equal(digits.train_x, pixels.reshape(30, 28, 28))
    assert digits.valid_x.shape == (20, 28, 28) and len(digits.valid_y) == 20
    digits.train_x[0] = 0  # can be written to, without a warning


def test_mnist_itself_goes_there_and_back(tmp_path):
    full = mnist_full()
    for name, split in (("train", "train"), ("t10k", "valid")):
        x, y = getattr(full, f"{split}_x"), getattr(full, f"{split}_y")
        images = struct.pack(">4I", 2051, *x.shape) + x.numpy().tobytes()
        labels = struct.pack(">2I", 2049, len(y)) + y.byte().numpy().tobytes()
        (tmp_path / f"{name}-images-idx3-ubyte").write_bytes(images)
        (tmp_path / f"{name}-labels-idx1-ubyte").write_bytes(labels)
    assert_same(read_idx(tmp_path), full)


def not_28(content):
    return struct.pack(">4I", 2051, 120, 14, 14) + content[16:]


FAULTS = {  # of the images: what makes it, and what is said
    "truncated": (lambda content: content[: len(content) // 2], "is cut off"),
    "a byte short": (lambda content: content[:-1], "is cut off"),
    "too long": (lambda content: content + b"x", "is cut off"),
    "an image too many": (lambda content: content + bytes(784), "is cut off"),
    "empty": (lambda content: b"", "is cut off"),
    "hardly begun": (lambda content: content[:5], "is cut off"),
    "a header": (lambda content: content[:16], "is cut off"),
    "labels": (
        lambda content: struct.pack(">2I", 2049, 30) + bytes(30),
        "its name says",
    ),
    "not 28×28": (not_28, "its name says, for 23,520 bytes"),
    "junk": (lambda content: b"<html>" * 500, "its name says"),
    "gzipped": (lambda content: b"\x1f\x8b\x08" + content, "packed with gzip"),
    "no images": (lambda content: struct.pack(">4I", 2051, 0, 28, 28), "0 images"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_an_idx_file_of_images_that_does_not_fit_is_named(fault, idx):
    damage, expected = FAULTS[fault]
    bad = idx / IMAGES
    bad.write_bytes(damage(bad.read_bytes()))
    says = refused(read_idx, idx)
    assert str(idx if fault == "no images" else bad) in says
    assert expected.replace(", for", ": for") in says


@pytest.mark.parametrize("length", [0, 1, 4, 7, 8, 9, 37, 39])
def test_an_idx_file_of_labels_of_any_wrong_length_is_named(length, idx):
    bad = idx / LABELS
    bad.write_bytes((bad.read_bytes() + b"x")[:length])
    says = refused(read_idx, idx)
    assert says.startswith(f"{bad} is cut off") and "[2049, " in says


@pytest.mark.parametrize("fault", ["missing", "still packed", "a folder"])
def test_an_idx_file_that_is_not_there_is_named(fault, idx):
    bad = idx / LABELS
    bad.rename(idx / (f"{LABELS}.gz" if fault == "still packed" else "elsewhere"))
    if fault == "a folder":
        bad.mkdir()
    says = refused(read_idx, idx)
    assert says.startswith(f"{bad} cannot be read") and "unpacked?" in says


def test_a_label_of_t10k_alone_is_named(idx):
    labels = struct.pack(">2I", 2049, 20) + bytes([77] * 20)
    (idx / "t10k-labels-idx1-ubyte").write_bytes(labels)
    assert f"{idx} has images of 77 to validate with" in refused(read_idx, idx)


@pytest.mark.parametrize("count", [0, 29, 31])
def test_as_many_labels_as_images_are_wanted(count, idx):
    (idx / LABELS).write_bytes(struct.pack(">2I", 2049, count) + bytes(count))
    says = refused(read_idx, idx)
    assert f"{idx} has 30 images and {count} labels for train" in says
