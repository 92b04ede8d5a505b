"""The library is what nbdev-export makes of the notebooks, to the letter."""

import filecmp
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def modules(root):
    files = (root / "mnist_basics").rglob("*.py")
    return {str(file.relative_to(root / "mnist_basics")) for file in files}


def test_nbdev_export_leaves_no_difference(tmp_path):
    for name in ("pyproject.toml", "settings.ini", "setup.py", "README.md"):
        shutil.copy(ROOT / name, tmp_path)
    left_out = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints", "*.npy")
    for folder in ("nbs", "mnist_basics"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=left_out)
    export = Path(sys.executable).with_name("nbdev-export")
    subprocess.run([export], cwd=tmp_path, check=True)
    advice = "run nbdev-export, and never edit mnist_basics/ by hand"
    assert modules(ROOT) == modules(tmp_path), advice
    ours, exported = ROOT / "mnist_basics", tmp_path / "mnist_basics"
    same, different, unreadable = filecmp.cmpfiles(
        ours, exported, modules(ROOT), shallow=False
    )
    assert not different and not unreadable, f"{different}: {advice}"


def test_every_module_comes_from_a_notebook_of_the_same_stem():
    for room in ("", "workshop", "exercises"):
        notebooks = (ROOT / "nbs" / room).glob("*.ipynb")
        stems = {notebook.stem.lstrip("0123456789_") for notebook in notebooks}
        files = {file.stem for file in (ROOT / "mnist_basics" / room).glob("*.py")}
        by_nbdev, by_hand = {"__init__", "_modidx"}, {"__main__"}
        assert files <= stems | by_nbdev | by_hand
