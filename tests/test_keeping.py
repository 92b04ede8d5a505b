"""What is kept in the cache: made once, and again when it is damaged or out of date."""

import contextlib
import errno
import os
import subprocess
import sys
import warnings

import pytest
import torch

from mnist_basics.workshop import keeping
from mnist_basics.workshop.keeping import (
    DataError,
    cache_folder,
    fingerprint,
    kept,
    written_whole,
)


@pytest.fixture
def make():
    def make():
        make.calls += 1
        return {"weight": torch.arange(5.0), "row": {"errors": 3}}

    make.calls = 0
    return make


def test_it_is_made_once_and_comes_back_as_it_was(empty_cache, make):
    for _ in range(3):
        state = kept("a.pt", "digits", make)
        assert state["weight"].tolist() == [0, 1, 2, 3, 4]
        assert state["row"] == {"errors": 3}
    assert make.calls == 1
    assert [file.name for file in empty_cache.iterdir()] == ["a.pt"]


def test_made_from_something_else_it_is_made_again(empty_cache, make):
    for made_from, calls in (("a", 1), ("b", 2), ("b", 2), ("a", 3)):
        kept("a.pt", made_from, make)
        assert make.calls == calls


@pytest.mark.parametrize("damage", ["a changed bit", "cut short", "empty", "text"])
def test_a_damaged_file_is_made_again_and_one_is_told(
    empty_cache, make, damage, capsys
):
    kept("a.pt", "digits", make)
    file = empty_cache / "a.pt"
    whole = file.read_bytes()
    changed = whole[:-5] + bytes([whole[-5] ^ 1]) + whole[-4:]
    contents = {"cut short": whole[:-10], "empty": b"", "text": b"no weights at all"}
    file.write_bytes(contents.get(damage, changed))
    kept("a.pt", "digits", make)
    assert make.calls == 2 and "a.pt is damaged" in capsys.readouterr().err
    kept("a.pt", "digits", make)
    assert make.calls == 2 and capsys.readouterr().err == ""


def test_a_cache_that_cannot_be_written_is_said_once_and_is_no_hindrance(
    empty_cache, make
):
    empty_cache.write_text("a file where the folder should be", encoding="utf-8")
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        for name in ("a.pt", "b.pt", "a.pt"):
            assert kept(name, "digits", make)["row"] == {"errors": 3}
    [warning] = said
    says = str(warning.message)
    assert says.startswith(
        f"The cache folder {empty_cache} cannot be written (there is"
    )
    assert "MNIST_BASICS_CACHE" in says and warning.filename == __file__
    assert empty_cache.read_bytes() == b"a file where the folder should be"


def test_a_fingerprint_sees_every_bit():
    image = torch.zeros(3, 3)
    before = fingerprint(image, "seed 1")
    assert before == fingerprint(image.clone(), "seed 1")
    assert before != fingerprint(image, "seed 2")
    image[1, 1] = 1e-6
    assert before != fingerprint(image, "seed 1")


def test_a_fingerprint_sees_types_shapes_and_where_a_text_ends():
    things = [torch.zeros(4), torch.zeros(2, 2), torch.zeros(4).int(), "a", b"a"]
    assert len({fingerprint(thing) for thing in things}) == len(things)
    assert fingerprint("ab", "c") != fingerprint("a", "bc")


def test_what_could_not_be_read_back_is_made_again(empty_cache, capsys):
    import numpy as np

    for _ in range(2):
        state = kept("a.pt", "digits", lambda: {"rate": np.float64(0.5)})
        assert state == {"rate": 0.5}
    assert "a.pt is damaged" in capsys.readouterr().err


def test_a_write_that_fails_leaves_nothing_behind(empty_cache, make):
    (empty_cache / "a.pt").mkdir(parents=True)
    with pytest.warns(UserWarning, match="cannot be written"):
        kept("a.pt", "digits", make)
    assert [file.name for file in empty_cache.iterdir()] == ["a.pt"]


# Where


@pytest.fixture
def homeless(monkeypatch):
    """A user without a home folder, as in some containers."""

    def unknown(*user):
        raise KeyError(user)

    import pwd

    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)


def test_the_cache_is_where_the_variable_says(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for place in ("~/digits", "digits", str(tmp_path / "digits")):
        monkeypatch.setenv("MNIST_BASICS_CACHE", place)
        assert cache_folder() == tmp_path / "digits"
    monkeypatch.setenv("MNIST_BASICS_CACHE", "")
    assert cache_folder().name == "mnist_basics", "an empty one counts as unset"


@pytest.mark.parametrize("place", ["", "~/digits", "~nosuchuser/digits"])
def test_where_there_is_no_home_one_is_asked_for(place, homeless, monkeypatch, make):
    monkeypatch.setenv("MNIST_BASICS_CACHE", place)
    with pytest.raises(DataError, match="There is no place for the cache") as error:
        cache_folder()
    assert str(error.value).endswith("Name a folder of yours in MNIST_BASICS_CACHE.")
    keeping._warn_once.cache_clear()
    with pytest.warns(UserWarning, match="There is no place for the cache"):
        assert kept("a.pt", "digits", make)["row"] == {"errors": 3}


UNUSABLE = {
    "a file": (lambda place: place.write_bytes(b"mine"), "something else of that name"),
    "a link to nowhere": (
        lambda place: place.symlink_to("nowhere"),
        "something else of that name",
    ),
    "a link to itself": (
        lambda place: place.symlink_to(place),
        "something else of that name",
    ),
    "too long": (None, "name too long"),
    "below a file": (lambda place: place.write_bytes(b"mine"), "Not a directory"),
}


@pytest.mark.parametrize("kind", UNUSABLE)
def test_a_cache_of_no_use_is_named_with_the_reason(kind, tmp_path, monkeypatch, make):
    prepare, reason = UNUSABLE[kind]
    place = tmp_path / ("c" * 300 if kind == "too long" else "cache")
    if prepare:
        prepare(place)
    before = [(file, os.lstat(file).st_mtime_ns) for file in tmp_path.iterdir()]
    folder = place / "below" if kind == "below a file" else place
    monkeypatch.setenv("MNIST_BASICS_CACHE", str(folder))
    with pytest.warns(UserWarning) as said:
        assert kept("a.pt", "digits", make)["row"] == {"errors": 3}
    says = str(said[0].message)
    assert f"The cache folder {folder} cannot be written (" in says and reason in says
    after = [(file, os.lstat(file).st_mtime_ns) for file in tmp_path.iterdir()]
    assert after == before


# Whole or not at all


KINDS = {
    "file": "new.write_bytes(b'new')",
    "folder": "new.mkdir(); (new / 'a').touch()",
}


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_not_finished_is_not_there(kind, tmp_path):
    with contextlib.suppress(InterruptedError):
        with written_whole(tmp_path / "deep" / "place") as new:
            exec(KINDS[kind], {"new": new})
            raise InterruptedError
    assert list((tmp_path / "deep").iterdir()) == []
    with written_whole(tmp_path / "deep" / "place") as new:
        exec(KINDS[kind], {"new": new})
        assert not (tmp_path / "deep" / "place").exists()
    assert [file.name for file in (tmp_path / "deep").iterdir()] == ["place"]


def test_what_was_there_stays_until_the_new_is_whole(tmp_path):
    place = tmp_path / "place"
    place.write_text("old", encoding="utf-8")
    with contextlib.suppress(InterruptedError), written_whole(place) as new:
        new.write_text("half", encoding="utf-8")
        raise InterruptedError
    assert place.read_text(encoding="utf-8") == "old"
    with written_whole(place) as new:
        new.write_text("new", encoding="utf-8")
    assert place.read_text(encoding="utf-8") == "new" and list(tmp_path.iterdir()) == [
        place
    ]


def begin(folder, kind, then):
    """Another process, which has begun to write into `folder`, and does `then`."""
    code = (
        "import os, pathlib, signal; from mnist_basics.workshop import keeping\n"
        f"with keeping.written_whole(pathlib.Path({str(folder)!r}, 'theirs')) as new:\n"
        f"    {KINDS[kind]}; print('begun', flush=True); {then}"
    )
    command = [sys.executable, "-c", code]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    process = subprocess.Popen(command, encoding="utf-8", **pipes)
    assert process.stdout.readline() == "begun\n"
    return process


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_killed_process_leaves_the_next_one_clears(kind, tmp_path):
    begin(tmp_path, kind, "os.kill(os.getpid(), signal.SIGKILL)").wait()
    [left] = tmp_path.iterdir()
    assert left.name.startswith("mnist_basics-") and left.name.endswith(".partial")
    with written_whole(tmp_path / "ours") as new:
        new.write_text("new", encoding="utf-8")
    assert [file.name for file in tmp_path.iterdir()] == ["ours"]


def test_what_another_process_is_writing_stays(tmp_path):
    process = begin(tmp_path, "folder", "input()")
    for name in ("ours", "ours again"):
        with written_whole(tmp_path / name) as new:
            new.write_text("new", encoding="utf-8")
    process.communicate("go on\n")
    names = sorted(file.name for file in tmp_path.iterdir())
    assert process.returncode == 0 and names == ["ours", "ours again", "theirs"]


def test_what_is_not_ours_stays(tmp_path):
    for name in ("iso.partial", "mnist_basics-notes", "tmpabc"):
        (tmp_path / name).mkdir()
    mine = f"mnist_basics-{keeping.OURS[1]}"
    (tmp_path / mine).write_text("a file: we leave folders alone", encoding="utf-8")
    (tmp_path / "mnist_basics-x-elsewhere.partial").mkdir()  # of another machine
    (tmp_path / "mnist_basics-y-elsewhere.partial").mkdir()
    for name in ("mnist_basics-y-elsewhere.partial", "iso.partial"):
        os.utime(tmp_path / name, (0, 0))  # very old
    before = {file.name for file in tmp_path.iterdir()}
    with written_whole(tmp_path / "ours") as new:
        new.write_text("new", encoding="utf-8")
    gone = before - {file.name for file in tmp_path.iterdir()}
    assert gone == {"mnist_basics-y-elsewhere.partial"}


def no_locks(*arguments):
    raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))


def test_a_drive_or_a_system_without_locks_is_written_and_not_cleared(
    tmp_path, monkeypatch
):
    left = tmp_path / f"mnist_basics-x{keeping.OURS[1]}"
    left.mkdir()
    with monkeypatch.context() as patch:
        patch.setattr("fcntl.flock", no_locks)
        with written_whole(tmp_path / "a") as new:
            new.write_text("new", encoding="utf-8")
    monkeypatch.setattr(keeping, "fcntl", None)
    with written_whole(tmp_path / "b") as new:
        new.write_text("new", encoding="utf-8")
    assert sorted(tmp_path.iterdir()) == [tmp_path / "a", tmp_path / "b", left]
