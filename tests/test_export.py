"""The library is what nbdev-export makes of the notebooks, to the letter."""
import filecmp
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_nbdev_export_leaves_no_difference(tmp_path):
    for name in ("pyproject.toml", "settings.ini", "setup.py", "README.md"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / "nbs", tmp_path / "nbs", ignore=shutil.ignore_patterns(".ipynb_checkpoints"))
    shutil.copytree(ROOT / "mnist_basics", tmp_path / "mnist_basics", ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run([Path(sys.executable).with_name("nbdev-export")], cwd=tmp_path, check=True)
    ours, exported = ({str(file.relative_to(root / "mnist_basics")) for file in (root / "mnist_basics").rglob("*.py")}
                      for root in (ROOT, tmp_path))
    assert ours == exported, "run nbdev-export, and never edit mnist_basics/ by hand"
    _, different, unreadable = filecmp.cmpfiles(ROOT / "mnist_basics", tmp_path / "mnist_basics", ours, shallow=False)
    assert not different and not unreadable, f"{different}: run nbdev-export, and never edit mnist_basics/ by hand"


def test_every_module_comes_from_a_notebook():
    stems = {notebook.stem.split("_", 1)[1] for notebook in (ROOT / "nbs").glob("[0-9]*.ipynb")}
    for folder, others in (("", set()), ("exercises", {"checking"})):
        files = (ROOT / "mnist_basics" / folder).glob("*.py")
        assert {module.stem for module in files if not module.stem.startswith("_")} <= stems | others
