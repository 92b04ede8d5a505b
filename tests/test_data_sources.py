"""The same digits from every source, in the same order."""
import csv

import numpy as np
import pytest
import torch
from PIL import Image
from samples import PARTS, pretend_genuine, small_idx, small_sample, write

from mnist_basics import data
from mnist_basics.data import mnist_full, mnist_sample, sample_folder

def test_the_addresses_are_those_of_fastai_and_torchvision():
    from fastai.data.external import URLs
    from torchvision.datasets import MNIST
    assert data.SAMPLE_URL == URLs.MNIST_SAMPLE
    assert data.IDX_MIRRORS == MNIST.mirrors
    assert {f"{name}.gz" for name in data.IDX} == {name for name, _ in MNIST.resources}


def test_names_are_sorted_as_text_and_threes_come_first(empty_cache, monkeypatch, tmp_path):
    pretend_genuine(monkeypatch, small_sample())
    write(small_sample(), tmp_path)
    monkeypatch.setenv("MNIST_BASICS_DATA", str(tmp_path))
    digits = mnist_sample()
    for split in ("train", "valid"):
        x, y = getattr(digits, f"{split}_x"), getattr(digits, f"{split}_y")
        assert y.tolist() == [3] * 3 + [7] * 3
        names = [f"{split}/{digit}/{name}.png" for digit in (3, 7) for name in ("10", "7", "9")]
        torch.testing.assert_close(x, torch.stack([torch.from_numpy(np.array(Image.open(tmp_path / n))) for n in names]))


def test_images_are_floats_and_tensors_are_as_agreed(digits):
    assert digits.source in ("mnist", "bundled")
    for split in ("train", "valid"):
        x, y = getattr(digits, f"{split}_x"), getattr(digits, f"{split}_y")
        assert x.dtype == torch.uint8 and x.shape == (len(y), 28, 28) and y.dtype == torch.int64
        for digit in (3, 7):
            images = digits.images(split, digit)
            torch.testing.assert_close(images, x[y == digit].to(torch.float32) / 255)


@pytest.mark.parametrize("zipped", [True, False])
def test_idx_files_give_all_digits_and_the_sample(zipped, empty_cache, monkeypatch, tmp_path):
    monkeypatch.setenv("MNIST_BASICS_DATA", str(small_idx(monkeypatch, tmp_path / "idx", zipped)))
    full, sample = mnist_full(), mnist_sample()
    assert full.train_y.tolist() == [i % 10 for i in range(30)] and full.source == sample.source == "mnist"
    order = [13, 23, 3, 17, 27, 7]  # 3s then 7s, the numbers sorted as text
    torch.testing.assert_close(sample.train_x, full.train_x[order])
    folder = sample_folder()
    for digit, numbers in ((3, (3, 13, 23)), (7, (7, 17, 27))):
        for i in numbers:
            pixels = torch.from_numpy(np.array(Image.open(folder / f"train/{digit}/{i}.png")))
            torch.testing.assert_close(pixels, full.train_x[i])
    again = data._sample_from_files(data._read_folder(folder), folder)
    torch.testing.assert_close(again.valid_x, sample.valid_x)


def test_the_bundled_digits_are_in_the_manner_of_mnist(empty_cache):
    full, sample = mnist_full("bundled"), mnist_sample("bundled")
    assert len(full.train_y) + len(full.valid_y) == 1797
    labels = torch.cat([sample.train_y, sample.valid_y])
    assert (labels == 3).sum() == 183 and (labels == 7).sum() == 179
    images = torch.cat([full.train_x, full.valid_x])
    inked = images > 0
    rows, columns = inked.any(2).sum(1), inked.any(1).sum(1)
    assert torch.maximum(rows, columns).max() <= 20 and torch.maximum(rows, columns).min() >= 18
    weight = images.double() / images.double().sum((1, 2), keepdim=True)
    places = torch.arange(28) + 0.5
    for axis in (1, 2):
        centre = (weight.sum(axis) * places).sum(1)
        assert (centre - 14).abs().max() <= 1.0, "centred by mass, to the nearest pixel"


def test_the_folder_has_the_layout_of_the_sample(empty_cache):
    digits, folder = mnist_sample("bundled"), sample_folder("bundled")
    rows = list(csv.DictReader((folder / "labels.csv").open()))
    assert len(rows) == len(digits.train_x) + len(digits.valid_x)
    for row in rows:
        assert (folder / row["name"]).is_file() and row["label"] == ("0" if "/3/" in row["name"] else "1")
    for part in PARTS:
        split, digit = part.split("/")
        files = sorted((folder / part).glob("*.png"), key=lambda file: file.name)
        pixels = torch.stack([torch.from_numpy(np.array(Image.open(file))) for file in files])
        torch.testing.assert_close(pixels.float() / 255, digits.images(split, int(digit)))


def test_the_home_of_the_user_is_understood(empty_cache, monkeypatch, tmp_path):
    pretend_genuine(monkeypatch, small_sample())
    write(small_sample(), tmp_path / "digits" / "mnist_sample")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("MNIST_BASICS_DATA", "~/digits")
    assert sample_folder() == tmp_path / "digits" / "mnist_sample"
    monkeypatch.setenv("MNIST_BASICS_DATA", "~/digits/mnist_sample")
    assert len(mnist_sample().train_x) == 6


def test_an_empty_variable_counts_as_unset(empty_cache, monkeypatch, capsys):
    monkeypatch.setenv("MNIST_BASICS_DATA", "")
    assert mnist_sample().source == "bundled"
    assert "could not be downloaded" in capsys.readouterr().err
