"""What the tests share: the digits, an empty cache, the wheel."""

import subprocess
import sys
from pathlib import Path

import pytest

from mnist_basics import data

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def digits():
    """The 3s and 7s."""
    return data.mnist_sample()


@pytest.fixture
def empty_cache(tmp_path, monkeypatch):
    """An empty cache of the test's own."""
    monkeypatch.setenv("MNIST_BASICS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="session")
def wheel(tmp_path_factory):
    """The wheel, built from a copy, leaving nothing in the checkout."""
    copy = tmp_path_factory.mktemp("source") / "checkout"
    ls = ["git", "ls-files", "-c", "-o", "--exclude-standard"]
    files = subprocess.run(
        ls, cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.splitlines()
    for name in files:
        if (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            (copy / name).write_bytes((ROOT / name).read_bytes())
    out = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation"]
    subprocess.run([*build, "--outdir", out, copy], check=True, capture_output=True)
    return next(out.glob("*.whl"))


@pytest.fixture(autouse=True)
def no_open_figures():
    """What one test has drawn is no business of the next."""
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")
