"""What the tests share: the digits, the rungs, an empty cache, the sdist, a site."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from cells import Alarm
from waiting import CHROMIUM, FLAGS

from mnist_basics import data

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def digits():
    """The 3s and 7s."""
    return data.mnist_sample()


@pytest.fixture(scope="session")
def rungs(digits):
    """All rungs of the ladder, trained unless they are kept."""
    from mnist_basics.ladder import RUNGS, trained_rung

    return [trained_rung(name, digits) for name in RUNGS]


@pytest.fixture(scope="session")
def browser():
    """Chromium without a window."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def empty_cache(tmp_path, monkeypatch):
    """An empty cache of the test's own."""
    monkeypatch.setenv("MNIST_BASICS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def alarm(monkeypatch):
    """Ends the time of an attempt when it says that it runs, without a clock."""
    monkeypatch.setattr("threading.Timer", Alarm)


@pytest.fixture(scope="session")
def sdist(tmp_path_factory):
    """The source distribution, made from a copy, leaving nothing in the checkout.

    Not compressed, which would take longer than all the rest."""
    copy = tmp_path_factory.mktemp("source") / "checkout"
    left_out = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints")
    for folder in ("benchmarks", "mnist_basics", "nbs", "tests"):
        shutil.copytree(ROOT / folder, copy / folder, ignore=left_out)
    for file in ROOT.iterdir():
        if file.is_file():
            shutil.copy(file, copy)
    command = [sys.executable, "setup.py", "--quiet", "sdist", "--formats=tar"]
    subprocess.run(command, cwd=copy, check=True)
    return next((copy / "dist").iterdir())


@pytest.fixture(scope="session")
def site(sdist, tmp_path_factory):
    """What pip installs from the sdist without a network, in a folder of its own.

    Not compiled: Python does that when it imports a module from there."""
    site = tmp_path_factory.mktemp("site")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--target", site]
    pip += ["--no-deps", "--no-index", "--no-build-isolation", "--no-compile"]
    subprocess.run([*pip, sdist], check=True)
    return site


@pytest.fixture(autouse=True)
def alone():
    """Whatever ran before a test, its random numbers are the same; it draws alone."""
    torch.manual_seed(0)
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")
