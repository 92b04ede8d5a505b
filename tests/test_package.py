"""The wheel carries what settings.ini says, and works without the checkout."""

import configparser
import email
import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def settings():
    config = configparser.ConfigParser(delimiters=["="], interpolation=None)
    config.read(ROOT / "settings.ini")
    return config["DEFAULT"]


def lines(text):
    return [line for line in text.split("\n") if line]


def same_requirements(a, b):
    return sorted(str(Requirement(line)) for line in a) == sorted(
        str(Requirement(line)) for line in b
    )


def test_the_wheel_says_what_settings_ini_says(wheel, settings):
    with zipfile.ZipFile(wheel) as archive:
        metadata = email.message_from_bytes(
            archive.read(next(n for n in archive.namelist() if n.endswith("/METADATA")))
        )
        entry_points = configparser.ConfigParser()
        entry_points.read_string(
            archive.read(
                next(n for n in archive.namelist() if n.endswith("entry_points.txt"))
            ).decode()
        )
        packaged = {n for n in archive.namelist() if n.startswith("mnist_basics/")}
    assert (
        metadata["Name"].replace("-", "_") == settings["name"]
        and metadata["Version"] == settings["version"]
    )
    assert (
        metadata["Summary"] == settings["description"]
        and metadata["Requires-Python"] == f">={settings['min_python']}"
    )
    requirements = metadata.get_all("Requires-Dist")
    assert same_requirements(
        [r for r in requirements if "extra ==" not in r],
        lines(settings["requirements"]),
    )
    dev = [r.split(";")[0] for r in requirements if "extra ==" in r]
    assert same_requirements(dev, lines(settings["dev_requirements"]))
    name, target = settings["console_scripts"].strip().split("=")
    assert dict(entry_points["console_scripts"]) == {name: target}
    assert packaged == {
        str(file.relative_to(ROOT))
        for file in (ROOT / "mnist_basics").rglob("*.*")
        if "__pycache__" not in file.parts
    }


def test_the_wheel_works_without_the_checkout(wheel, tmp_path):
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-deps",
            "--no-index",
            "--target",
            tmp_path / "site",
            wheel,
        ],
        check=True,
    )
    modules = [
        ".".join(file.relative_to(ROOT).with_suffix("").parts)
        for file in (ROOT / "mnist_basics").rglob("[a-z]*.py")
    ]
    code = f"import {', '.join(modules)}; print(mnist_basics.__file__)"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    assert result.stdout.startswith(str(tmp_path / "site"))
    pad = (
        "from mnist_basics.workshop.pad import DigitPad as P; "
        "print(P()._repr_mimebundle_()[0], P._esm.endswith('render };\\n'), P._css)"
    )
    result = subprocess.run(
        [sys.executable, "-c", pad],
        cwd=tmp_path,
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    assert "widget-view+json" in result.stdout and "True .digit-pad" in result.stdout
    command = subprocess.run(
        [tmp_path / "site" / "bin" / "mnist-basics", "--help"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
    )
    assert command.returncode == 0


def test_the_version_and_the_name_have_one_home(settings):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert set(project) == {"name", "dynamic"} and project["name"] == settings["name"]
    assert {"version", "dependencies", "scripts"} <= set(project["dynamic"])
    for file in (
        ROOT / "setup.py",
        ROOT / "pyproject.toml",
        *(ROOT / "mnist_basics").rglob("*.py"),
    ):
        assert settings["version"] not in file.read_text(), (
            f"{file.name} repeats the version"
        )


def test_constraints_fit_the_lower_bounds_and_are_what_is_installed_in_ci(settings):
    constraints = {
        r.name.lower().replace("_", "-"): r
        for r in (
            Requirement(line)
            for line in (ROOT / "constraints.txt").read_text().splitlines()
            if line[:1] not in ("", "#")
        )
    }
    for line in lines(settings["requirements"]) + lines(settings["dev_requirements"]):
        requirement = Requirement(line)
        assert all(specifier.operator == ">=" for specifier in requirement.specifier), (
            f"{line}: a lower bound, nothing else"
        )
        pinned = next(
            iter(constraints[requirement.name.lower().replace("_", "-")].specifier)
        )
        assert pinned.operator == "==" and requirement.specifier.contains(
            pinned.version
        ), f"{line} against {pinned}"
