"""The command `mnist-basics`, run as a user runs it."""

import errno
import json
import os
import re
import subprocess
import sys
from configparser import ConfigParser
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from packaging.requirements import Requirement
from typer.testing import CliRunner

from mnist_basics import data
from mnist_basics.workshop import command
from mnist_basics.workshop.command import (
    LIBRARIES,
    MEND_FIRST,
    app,
    ask,
    examine_cache,
    examine_digits,
    examine_library,
)

ROOT = Path(__file__).parents[1]
COMMAND = [sys.executable, "-m", "mnist_basics"]
QUICK = ["ladder", "--rung", "pixel similarity"]


def run(*arguments, **environment):
    env = {**os.environ, "COLUMNS": "100", **environment}
    line = [*COMMAND, *arguments]
    return subprocess.run(
        line, capture_output=True, encoding="utf-8", timeout=300, env=env
    )


def invoke(*arguments):
    return CliRunner().invoke(app, [*arguments], prog_name="mnist-basics")


def ends_with_a_sentence(result):
    """What is said on stderr by a command that ended with 1, without a traceback."""
    assert result.exit_code == 1 and isinstance(result.exception, SystemExit)
    [says] = result.stderr.splitlines()
    assert says.startswith("mnist-basics: ")
    return says


@pytest.fixture
def fake(tmp_path):
    """Puts a library of this name and content before the real one; gives PYTHONPATH."""

    def fake(name, content):
        (tmp_path / name).mkdir()
        if content is not None:
            (tmp_path / name / "__init__.py").write_text(content, encoding="utf-8")
        return os.pathsep.join([str(tmp_path), str(ROOT)])

    return fake


@pytest.fixture
def examined(fake, monkeypatch, tmp_path):
    """What the doctor says of a library abacus_lib with this content."""

    def examined(content):
        fake("abacus_lib", content)
        monkeypatch.syspath_prepend(tmp_path)
        return ask(partial(examine_library, "abacus_lib"))

    yield examined
    sys.modules.pop("abacus_lib", None)


@pytest.fixture
def rung(monkeypatch):
    """Let the ladder do something else in the place of climbing."""

    def put(act):
        monkeypatch.setattr("mnist_basics.ladder.climb", act)

    return put


def test_it_prints_the_table_with_the_published_figures():
    result = invoke(*QUICK, "--rung", "linear model")
    assert result.exit_code == 0, result.output
    table, note = result.stdout.split("The accuracy of ")
    row = table.splitlines()[1].split()
    assert row[:2] == ["pixel", "similarity"] and row.count("0.9511") == 2
    assert note == (
        "pixel similarity is the mean of those on 3s and on 7s, as in the book;\n"
        "among all images, it is 0.9514.\n"
        "The published accuracy of linear model is that of another training "
        "(20 epochs, rate 1);\nthe rate of ours was chosen in notebook 07.\n"
    )


def test_json_and_files(tmp_path):
    out = tmp_path / "new" / "folder"
    result = run(*QUICK, "--json", "--out", out)
    assert result.returncode == 0, result.stderr
    rows = json.loads(result.stdout)
    assert rows[0]["errors"] == 99
    assert list(pd.read_csv(out / "ladder.csv").columns) == list(rows[0])
    assert (out / "ladder.png").read_bytes().startswith(b"\x89PNG")
    assert sorted(file.name for file in out.iterdir()) == ["ladder.csv", "ladder.png"]


def test_it_knows_all_names_before_it_climbs(tmp_path):
    result = invoke(*QUICK, "--rung", "top", "--out", str(tmp_path / "out"))
    assert result.exit_code == 2 and "'top'" in result.stderr
    assert not (tmp_path / "out").exists()


def test_json_stays_pure_where_there_is_no_stderr():
    line = f"'{sys.executable}' -m mnist_basics {QUICK[0]} --rung '{QUICK[2]}' --json"
    result = subprocess.run(
        f"{line} 2>&-", shell=True, capture_output=True, encoding="utf-8", cwd=ROOT
    )
    assert result.returncode == 0 and json.loads(result.stdout)[0]["errors"] == 99


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("climb",),
        ("data",),
        ("ladder", "--rung", "top"),
        ("ladder", "--device", "abacus"),
        ("ladder", "--device", "hpu"),
        ("ladder", "--seed", "x"),
        ("ladder", "--seed", "-1"),
        ("ladder", "--seed", str(2**63)),
        ("doctor", "--now"),
    ],
)
def test_wrong_use_ends_with_2(arguments, rung):
    rung(lambda *arguments: pytest.fail("climbed"))
    result = invoke(*arguments)
    assert result.exit_code == 2 and isinstance(result.exception, SystemExit)


@pytest.mark.parametrize("arguments", [[], ["ladder"], ["doctor"]])
def test_help_is_there(arguments):
    result = invoke(*arguments, "--help")
    assert result.exit_code == 0 and "Usage" in result.output


def test_the_version_is_that_of_the_installation(monkeypatch):
    version = "importlib.metadata.version"
    monkeypatch.setattr(version, lambda name: f"3.7 of {name}")
    assert invoke("--version").output == "mnist-basics 3.7 of mnist_basics\n"

    def missing(name):
        raise command.importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(version, missing)
    assert "not installed this copy" in ends_with_a_sentence(invoke("--version"))


# What ends it with one sentence, and what must not


def test_a_bad_device_in_the_environment_is_one_sentence(monkeypatch, rung):
    rung(lambda *arguments: pytest.fail("climbed"))
    monkeypatch.setenv("MNIST_BASICS_DEVICE", "abacus")
    assert "'abacus' cannot be used here" in ends_with_a_sentence(invoke(*QUICK))


def test_damaged_digits_are_one_sentence(monkeypatch, rung):
    def damaged():
        raise data.DataError("train_x.npy is damaged. Install mnist_basics again.")

    rung(lambda *arguments: pytest.fail("climbed"))
    monkeypatch.setattr(data, "mnist_full", damaged)
    says = ends_with_a_sentence(invoke(*QUICK))
    assert says.endswith("train_x.npy is damaged. Install mnist_basics again.")


def test_the_ladder_asks_for_all_that_it_imports():
    program = (
        "import sys, tqdm, mnist_basics.ladder, mnist_basics.workshop.command as c;"
        "names = {c.IMPORTED.get(name, name): name for name in c.LIBRARIES};"
        "print(*[name for module, name in names.items() if module in sys.modules])"
    )
    line = [sys.executable, "-c", program]
    result = subprocess.run(line, check=True, capture_output=True, encoding="utf-8")
    asked = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(command, "examine_library", asked.append)
        command._prepare("cpu")
    assert set(result.stdout.split()) - {"typer"} == set(asked)  # that is asked before


@pytest.mark.parametrize("name", ["pandas", "matplotlib"])
def test_a_broken_library_ends_the_ladder_with_its_name(name, fake):
    path = fake(name, "raise RuntimeError('for another numpy')")
    result = run(*QUICK, PYTHONPATH=path)
    [says] = result.stderr.splitlines()
    assert result.returncode == 1 and result.stdout == ""
    assert f"{name} cannot be imported (RuntimeError: for another numpy). " in says
    assert says.endswith(f"-m pip install --force-reinstall {name}")


def test_a_broken_typer_is_named_too(fake):
    path = fake("typer", "raise ImportError('no click')")
    result = run("doctor", PYTHONPATH=path)
    [says] = result.stderr.splitlines()
    assert result.returncode == 1 and "typer cannot be imported (no click)." in says


@pytest.mark.parametrize("bug", [KeyError, ValueError, FileNotFoundError])
def test_a_mistake_of_ours_shows_its_traceback(bug, rung, monkeypatch):
    def climb(*arguments):
        raise bug(errno.ENOENT, "a mistake", "of ours")

    rung(climb)
    assert isinstance(invoke(*QUICK).exception, bug)
    monkeypatch.setattr(sys, "argv", ["mnist-basics", *QUICK])
    with pytest.raises(bug):
        command.main()


def test_ctrl_c_ends_it_quietly(rung):
    def climb(*arguments):
        raise KeyboardInterrupt

    rung(climb)
    result = invoke(*QUICK)
    assert result.exit_code == 130 and result.output == ""


@pytest.mark.parametrize("arguments", [["--help"], ["--version"]])
def test_a_full_disk_is_one_sentence(arguments):
    if not os.path.exists("/dev/full"):
        pytest.skip("this system has no disk that is always full")
    with open("/dev/full", "w", encoding="utf-8") as full:
        result = subprocess.run(
            [*COMMAND, *arguments],
            stdout=full,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )
        line = [*COMMAND, *arguments]
        assert subprocess.run(line, stdout=full, stderr=full).returncode == 1
    says = "mnist-basics: The output cannot be written (No space left on device).\n"
    assert (result.returncode, result.stderr) == (1, says)


def test_who_does_not_read_on_is_told_nothing():
    read, write = os.pipe()
    os.close(read)
    line = [*COMMAND, "ladder", "--help"]
    result = subprocess.run(line, stdout=write, stderr=subprocess.PIPE)
    os.close(write)
    assert result.stderr == b"" and result.returncode == 1


# Where the results go


@pytest.fixture
def row(rung):
    """A ladder that takes no time."""
    row = {"rung": "r", "parameters": 1, "accuracy": 0.5, "errors": 1, "images": 2}
    row |= {"seconds": 0.1, "published": float("nan"), "device": "cpu"}
    rung(lambda *arguments: SimpleNamespace(row=row))


def test_what_was_never_published_is_said_to_be_so(row):
    assert json.loads(invoke(*QUICK, "--json").output)[0]["published"] is None
    assert "none" in invoke(*QUICK).output


def test_the_home_of_the_user_is_understood(row, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    assert invoke(*QUICK, "--out=~/res").exit_code == 0
    assert [file.name for file in tmp_path.iterdir()] == ["home"]
    there = sorted(file.name for file in (tmp_path / "home/res").iterdir())
    assert there == ["ladder.csv", "ladder.png"]


PLACES = {  # what is in the way, and what is said
    "a file": ("out", "out cannot be written .File exists"),
    "below a file": ("out", "out/below cannot be written .Not a dir"),
    "nobody's home": (None, "~nobodyhere/x cannot be .* home directory."),
    "too long a name": (None, "ooo cannot be written .*name too long"),
    "ladder.csv is a folder": ("out/ladder.csv/x", "ladder.csv cannot be .*Is a dir"),
    "ladder.png is a folder": ("out/ladder.png/x", "ladder.png cannot be .*Is a dir"),
}


@pytest.mark.parametrize("place", PLACES)
def test_a_place_that_cannot_be_written_is_noticed_before(
    place, tmp_path, rung, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    rung(lambda *arguments: pytest.fail("climbed"))
    file, expected = PLACES[place]
    if file:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text("mine", encoding="utf-8")
    out = {"below a file": "out/below", "nobody's home": "~nobodyhere/x"}
    out = out.get(place, "o" * 300 if "long" in place else "out")
    before = sorted(tmp_path.rglob("*"))
    says = ends_with_a_sentence(invoke(*QUICK, f"--out={out}"))
    assert re.search(expected, says) and says.endswith(" with --out.")
    assert sorted(tmp_path.rglob("*")) == before


def test_an_old_result_stays_until_there_is_a_new_one(row, rung, tmp_path, monkeypatch):
    old = [tmp_path / name for name in ("ladder.csv", "ladder.png")]
    for file in old:
        file.write_text("old", encoding="utf-8")

    def failing(*arguments, **options):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(pd.DataFrame, "to_csv", failing)
        result = invoke(*QUICK, "--out", str(tmp_path))
        assert "No space left" in ends_with_a_sentence(result)
        assert "pixel" in result.stdout or "parameters" in result.stdout
    assert sorted(tmp_path.iterdir()) == old
    assert [file.read_text(encoding="utf-8") for file in old] == ["old", "old"]
    invoke(*QUICK, "--out", str(tmp_path))
    assert sorted(tmp_path.iterdir()) == old
    assert old[0].read_text(encoding="utf-8").startswith("rung,")


def test_a_link_leads_to_the_result(row, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "ladder.csv").symlink_to("elsewhere/table.csv")
    assert invoke(*QUICK, "--out", str(tmp_path)).exit_code == 0
    assert (tmp_path / "ladder.csv").is_symlink()
    assert (
        (tmp_path / "elsewhere/table.csv")
        .read_text(encoding="utf-8")
        .startswith("rung,")
    )


# The doctor


def test_the_doctor_finds_nothing_here(empty_cache):
    result = run("doctor")
    assert result.returncode == 0, result.stdout
    lines = [line.split() for line in result.stdout.splitlines()]
    names = [line[0] for line in lines]
    assert names == ["Python", *LIBRARIES, "device", "digits", "cache"]
    assert {line[1] for line in lines} == {"ok"} and result.stderr == ""
    assert str(empty_cache) in result.stdout


def test_the_doctor_knows_every_requirement():
    settings = ConfigParser(delimiters=["="], interpolation=None)
    settings.read(ROOT / "settings.ini", encoding="utf-8")
    required = settings["DEFAULT"]["requirements"].split()
    assert {Requirement(line).name for line in required} == set(LIBRARIES) - {"ipython"}


BROKEN = {  # what is in the library, and what is said of it
    "raise ImportError('libcudnn.so.9 is missing')": "(ImportError: libcudnn.so.9 is",
    "raise RuntimeError('operator torchvision::nms')": "(RuntimeError: operator torch",
    "def :": "(SyntaxError: invalid syntax",
    "import sys; sys.exit(0)": "(SystemExit: 0)",
    "raise ImportError": "(ImportError)",
    "raise ImportError('\\n\\nIMPORTANT\\n\\nREAD')": "(ImportError: IMPORTANT READ)",
    "raise OSError('no ' * 999)": "(OSError: no no no",
    "import nothing_of_that_name": "No module named 'nothing_of_that_name')",
}


@pytest.mark.parametrize("content", BROKEN)
def test_a_library_that_cannot_be_imported_is_named(content, examined):
    says, remedy = examined(content)
    assert says.startswith("abacus_lib cannot be imported (") and len(says) < 300
    assert BROKEN[content] in says and len(says.splitlines()) == 1
    assert remedy == f'"{sys.executable}" -m pip install --force-reinstall abacus_lib'


@pytest.mark.parametrize("content", ["x = 3", None])
def test_what_is_no_library_is_named(content, examined, tmp_path):
    says, remedy = examined(content)
    assert f"abacus_lib is not the library, but {tmp_path}/abacus_lib" in says
    assert remedy == "Move that away."


def test_what_a_library_says_is_not_the_doctors_word(capsys):
    def chatter():
        print("hello")
        print("hello", file=sys.stderr)
        return "3.7"

    assert ask(chatter) == ("3.7", "") and capsys.readouterr() == ("", "")


@pytest.mark.parametrize("error", [KeyError("a bug"), SystemExit(3), ValueError("?")])
def test_the_doctor_speaks_whatever_happens(error, monkeypatch):
    def fails():
        raise error

    monkeypatch.setattr(command, "EXAMINATIONS", {"device": fails})
    result = invoke("doctor")
    assert result.exit_code == 1 and "device       mend" in result.output
    assert MEND_FIRST in result.output


def test_the_doctor_speaks_when_much_is_broken(fake):
    for name in ("torch", "jupyterlab"):
        path = fake(name, f"raise ImportError('lib{name}.so.9 is missing')")
    result = run("doctor", PYTHONPATH=path, MNIST_BASICS_DEVICE="abacus")
    assert result.returncode == 1 and result.stderr == ""
    lines = result.stdout.splitlines()
    states = dict(line.split()[:2] for line in lines[:-1])
    assert states["numpy"] == "ok" and states["torch"] == "mend"
    waiting = {"torchvision", "fastai", "jupyterlab", "device", "digits", "cache"}
    assert {name for name, state in states.items() if state == "wait"} == waiting
    assert "jupyterlab cannot be imported (ImportError: libjup" in result.stdout
    assert result.stdout.count("->") == 1 and lines[-1] == MEND_FIRST
    assert result.stdout.count("--force-reinstall torch torchvision\n") == 1


def test_a_remedy_that_helps_at_once_need_not_wait(monkeypatch):
    def fails():
        raise ValueError("It is full. Empty it.")

    broken = {"numpy": fails, "pandas": fails, "cache": fails}
    monkeypatch.setattr(command, "EXAMINATIONS", broken)
    result = invoke("doctor")
    states = [line.split()[1] for line in result.output.splitlines()[:-1]]
    assert states == ["mend", "Empty", "wait", "mend", "Empty"]


def test_the_doctor_sees_a_bad_device(monkeypatch):
    monkeypatch.setenv("MNIST_BASICS_DEVICE", "abacus")
    only = {"device": command.examine_device}
    monkeypatch.setattr(command, "EXAMINATIONS", only)
    result = invoke("doctor")
    assert result.exit_code == 1 and "abacus" in result.output
    assert result.output.count("-> ") == 1
    assert "leave MNIST_BASICS_DEVICE unset." in result.output
    result.output.encode("cp1252")  # plain letters, for a plain terminal


def test_the_doctor_tries_the_device_that_it_names(monkeypatch):
    monkeypatch.delenv("MNIST_BASICS_DEVICE", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch, "zeros", lambda *a, **k: 1 / 0)
    says, remedy = ask(command.examine_device)
    assert "'cuda' cannot be used here (division by zero)" in says and remedy


def test_the_doctor_compares_every_pixel(monkeypatch):
    full = data.mnist_full()
    images = full.train_x.clone()
    images[59_999, 27, 27] += 1
    changed = data.Digits(images, full.train_y, full.valid_x, full.valid_y)
    monkeypatch.setattr(data, "mnist_full", lambda: changed)
    says, remedy = ask(examine_digits)
    assert "train_x.npy is not as it was published" in says
    assert remedy == "Install mnist_basics again."
    monkeypatch.undo()
    assert ask(examine_digits)[1] == ""


def test_what_the_doctor_compares_is_the_idx_form():
    images = torch.arange(2 * 3 * 4, dtype=torch.uint8).view(2, 3, 4)
    header = np.array([2051, 2, 3, 4], ">i4").tobytes()
    assert command._idx_bytes(images) == header + bytes(range(24))
    labels = torch.tensor([3, 7], dtype=torch.uint8)
    header = np.array([2049, 2], ">i4").tobytes()
    assert command._idx_bytes(labels) == header + bytes([3, 7])


def test_the_doctor_looks_into_the_cache_and_deletes_nothing(empty_cache):
    assert ask(examine_cache) == (str(empty_cache), "")
    notes = empty_cache / data.SAMPLE / "notes.txt"
    notes.parent.mkdir()
    notes.write_text("mine", encoding="utf-8")
    before = sorted(empty_cache.rglob("*"))
    says, remedy = ask(examine_cache)
    assert f"{notes.parent} is not as we wrote it" in says
    assert remedy == "Move it elsewhere."
    assert (
        sorted(empty_cache.rglob("*")) == before
        and notes.read_text(encoding="utf-8") == "mine"
    )


def test_a_cache_of_no_use_is_named(empty_cache):
    empty_cache.write_text("a file", encoding="utf-8")
    says, remedy = ask(examine_cache)
    assert says.startswith(f"The cache folder {empty_cache} cannot be written (")
    assert remedy == "Name a folder of yours in MNIST_BASICS_CACHE."
    assert empty_cache.read_text(encoding="utf-8") == "a file"
