"""How fast the digits come, measured against the obvious way in the same process."""
import time

import numpy as np
import pytest
import torch
from PIL import Image

from mnist_basics.data import mnist_sample, sample_folder

pytestmark = pytest.mark.figures  # the ratios are promised for the 14,434 images of MNIST


def seconds(work):
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


@pytest.fixture(scope="module")
def list_comprehension():
    """Seconds for opening all PNGs with PIL in a list comprehension, files warm."""
    folder = sample_folder()
    files = [file for part in ("train", "valid") for digit in "37" for file in (folder / part / digit).glob("*.png")]
    return min(seconds(lambda: [torch.tensor(np.array(Image.open(file))) for file in files]) for _ in range(3))


def test_the_second_call_is_25_times_faster(list_comprehension):
    mnist_sample()
    second = min(seconds(mnist_sample) for _ in range(5))
    print(f"second call {second * 1000:.1f} ms, {list_comprehension / second:.0f} times as fast")
    assert list_comprehension / second >= 25


def test_the_first_call_takes_at_most_twice_as_long(list_comprehension, monkeypatch, tmp_path):
    times = []
    for run in range(3):
        monkeypatch.setenv("MNIST_BASICS_CACHE", str(tmp_path / str(run)))
        times.append(seconds(mnist_sample))
    print(f"first call {min(times):.2f} s, {min(times) / list_comprehension:.2f} times the list comprehension")
    assert min(times) / list_comprehension <= 2


def test_a_folder_of_images_is_fast_too(list_comprehension, monkeypatch, tmp_path):
    monkeypatch.setenv("MNIST_BASICS_DATA", str(sample_folder()))
    monkeypatch.setenv("MNIST_BASICS_CACHE", str(tmp_path / "cache"))
    mnist_sample()
    second = min(seconds(mnist_sample) for _ in range(5))
    print(f"second call from a folder {second * 1000:.1f} ms, {list_comprehension / second:.0f} times as fast")
    assert list_comprehension / second >= 10  # every file of the folder is looked at, for a change
