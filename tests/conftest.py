"""What the tests share: the digits, an empty cache, and the rule that published figures are checked or said to be not."""
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mnist_basics import data

ROOT = Path(__file__).parents[1]
REQUIRED = os.environ.get("MNIST_BASICS_FIGURES") == "required"
WHY_NOT = "no figure was published for the digits of scikit-learn; set MNIST_BASICS_DATA to a folder with MNIST"
outcomes = []


@pytest.fixture(scope="session")
def digits():
    """The digits that a reader gets here: the genuine ones if there are any."""
    return data.mnist_sample()


@pytest.fixture(scope="session")
def wheel(tmp_path_factory):
    """The wheel, built from a copy, so that the build leaves nothing behind in the checkout."""
    copy = tmp_path_factory.mktemp("source") / "checkout"
    files = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, check=True,
                           capture_output=True, text=True).stdout.splitlines()
    for name in files:
        if (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            (copy / name).write_bytes((ROOT / name).read_bytes())
    out = tmp_path_factory.mktemp("wheel")
    subprocess.run([sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, copy],
                   check=True, capture_output=True)
    return next(out.glob("*.whl"))


@pytest.fixture(autouse=True)
def genuine_digits_for_figures(request):
    """A test marked `figures` runs on the genuine digits or is skipped, saying why."""
    if request.node.get_closest_marker("figures") and request.getfixturevalue("digits").source != "mnist":
        pytest.skip(WHY_NOT)


@pytest.fixture
def empty_cache(tmp_path, monkeypatch):
    """An empty cache of the test's own, no data folder, and addresses that answer at once that nobody is there."""
    cache = tmp_path / "cache"
    monkeypatch.setenv("MNIST_BASICS_CACHE", str(cache))
    monkeypatch.delenv("MNIST_BASICS_DATA", raising=False)
    monkeypatch.setattr(data, "SAMPLE_URL", "http://127.0.0.1:9/mnist_sample.tgz")
    monkeypatch.setattr(data, "IDX_MIRRORS", ["http://127.0.0.1:9/one/", "http://127.0.0.1:9/two/"])
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return cache


def pytest_runtest_logreport(report):
    if "figures" in report.keywords and (report.when == "call" or report.skipped):
        outcomes.append(report.outcome)


def pytest_collection_finish(session):
    session.config.figures_collected = any("figures" in item.keywords for item in session.items)


def _figures_missing(config):
    return REQUIRED and config.figures_collected and (not outcomes or "skipped" in outcomes)


def pytest_sessionfinish(session, exitstatus):
    if exitstatus == 0 and _figures_missing(session.config):
        session.exitstatus = 1


def pytest_terminal_summary(terminalreporter, config):
    if not config.figures_collected:
        return
    skipped = f"; {outcomes.count('skipped')} skipped: {WHY_NOT}" if "skipped" in outcomes else ""
    terminalreporter.write_line(f"published figures: {outcomes.count('passed')} tests passed{skipped}")
    if _figures_missing(config):
        terminalreporter.write_line("MNIST_BASICS_FIGURES=required: the published figures were not checked. FAILED")
