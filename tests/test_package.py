"""What is built and installed: all that settings.ini says, and it works by itself."""

import configparser
import email
import os
import subprocess
import sys
import tarfile
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def settings():
    config = configparser.ConfigParser(delimiters=["="], interpolation=None)
    config.read(ROOT / "settings.ini", encoding="utf-8")
    return config["DEFAULT"]


def lines(text):
    return [line for line in text.split("\n") if line]


def same_requirements(a, b):
    return sorted(str(Requirement(line)) for line in a) == sorted(
        str(Requirement(line)) for line in b
    )


def test_the_sdist_holds_what_it_takes_to_build_and_nothing_else(sdist):
    with tarfile.open(sdist) as archive:
        files = {n.split("/", 1)[1] for n in archive.getnames() if "/" in n}
    files = {
        f for f in files if not f.startswith(("mnist_basics/", "mnist_basics.egg"))
    }
    ours = "LICENSE MANIFEST.in README.md pyproject.toml settings.ini setup.py"
    theirs = "PKG-INFO setup.cfg mnist_basics"  # setuptools makes them
    assert files == {*ours.split(), *theirs.split()}


def test_what_is_installed_says_what_settings_ini_says(site, settings):
    about = next(site.glob("*.dist-info"))
    metadata = email.message_from_bytes((about / "METADATA").read_bytes())
    assert metadata["Name"].replace("-", "_") == settings["name"]
    assert metadata["Version"] == settings["version"]
    assert metadata["Summary"] == settings["description"]
    assert metadata["Requires-Python"] == f">={settings['min_python']}"
    requirements = metadata.get_all("Requires-Dist")
    plain = [r for r in requirements if "extra ==" not in r]
    assert same_requirements(plain, lines(settings["requirements"]))
    dev = [r.split(";")[0] for r in requirements if "extra ==" in r]
    assert same_requirements(dev, lines(settings["dev_requirements"]))
    entry_points = configparser.ConfigParser()
    entry_points.read(about / "entry_points.txt", encoding="utf-8")
    name, target = settings["console_scripts"].strip().split("=")
    assert dict(entry_points["console_scripts"]) == {name: target}


def packaged(root):
    """The files of the package below a folder."""
    files = (root / "mnist_basics").rglob("*.*")
    here = {str(f.relative_to(root)) for f in files if "__pycache__" not in f.parts}
    return sorted(here)


def test_all_files_of_the_package_are_installed(site):
    assert packaged(site) == packaged(ROOT)


IN_A_FRESH_PYTHON = """
from mnist_basics.workshop.pad import Playground
print(mnist_basics.__file__, mnist_basics.data.__file__)
print(mnist_basics.data.mnist_full())
print("export default" in Playground._esm, ".digit-pad" in Playground._css)
"""


def test_what_is_installed_works_without_the_checkout(site, tmp_path, settings):
    names = [name for name in packaged(ROOT) if name.endswith(".py")]
    names = [n.removesuffix(".py").replace(os.sep, ".") for n in names]
    modules = ", ".join(n.removesuffix(".__init__") for n in names)
    code = f"import {modules}\n{IN_A_FRESH_PYTHON}"
    environment = {**os.environ, "PYTHONPATH": str(site)}
    where = {"cwd": tmp_path, "env": environment, "encoding": "utf-8"}
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, check=True, stdout=subprocess.PIPE, **where)
    home, digits, front_end = result.stdout.splitlines()
    assert home == f"{site}/mnist_basics/__init__.py {site}/mnist_basics/data.py"
    assert digits == "Digits(60,000 to train on, 10,000 to validate with)"
    assert front_end == "True True"
    for way in (
        [site / "bin" / "mnist-basics"],
        [sys.executable, "-m", "mnist_basics"],
    ):
        command = [*way, "--version"]
        result = subprocess.run(command, check=True, stdout=subprocess.PIPE, **where)
        assert result.stdout == f"mnist-basics {settings['version']}\n"


def read(file):
    return file.read_text(encoding="utf-8")


def canonical(requirement):
    return requirement.name.lower().replace("_", "-")


def test_the_version_and_the_name_have_one_home(settings):
    project = tomllib.loads(read(ROOT / "pyproject.toml"))["project"]
    assert set(project) == {"name", "dynamic"} and project["name"] == settings["name"]
    assert {"version", "dependencies", "scripts"} <= set(project["dynamic"])
    modules = (ROOT / "mnist_basics").rglob("*.py")
    for file in (ROOT / "setup.py", ROOT / "pyproject.toml", *modules):
        assert settings["version"] not in read(file), f"{file.name} repeats the version"


def test_constraints_fit_the_lower_bounds_and_are_what_is_installed_in_ci(settings):
    pins = read(ROOT / "constraints.txt").splitlines()
    pins = [Requirement(line) for line in pins if line and line[0] != "#"]
    constraints = {canonical(pin): pin for pin in pins}
    for line in lines(settings["requirements"]) + lines(settings["dev_requirements"]):
        requirement = Requirement(line)
        bounds = [specifier.operator for specifier in requirement.specifier]
        assert set(bounds) == {">="}, f"{line}: a lower bound, nothing else"
        [pinned] = constraints[canonical(requirement)].specifier
        fits = requirement.specifier.contains(pinned.version)
        assert pinned.operator == "==" and fits, f"{line} against {pinned}"
