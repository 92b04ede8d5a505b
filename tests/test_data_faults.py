"""Everything that can go wrong on the way to the digits, planted."""
import errno
import functools
import gzip
import os
import random
import resource
import shutil
import socket
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest
import torch
from samples import PARTS, Server, archive, four_bit_png, png, pretend_genuine, small_idx, small_sample, write
from tqdm import tqdm

from mnist_basics import data
from mnist_basics.data import DataError, mnist_full, mnist_sample, sample_folder

UMASK = os.umask(0)
os.umask(UMASK)


def assert_same(a, b):
    for name in ("train_x", "train_y", "valid_x", "valid_y"):
        torch.testing.assert_close(getattr(a, name), getattr(b, name))
    assert a.source == b.source


def is_one_sentence(text):
    return text.count("\n") == 1 and text.endswith(".\n") and ". " not in text


# The network


@pytest.fixture(scope="module")
def silent_address():
    """A port that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0), backlog=50) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}/mnist_sample.tgz"


NO_NETWORK = {
    "nobody there": "http://127.0.0.1:9/mnist_sample.tgz",
    "no such name": "http://no-such-host.invalid/mnist_sample.tgz",
    "404": 404,
    "503": 503,
    "hangs": ("silent", b""),
    "stalls half way": ("stalls", b"x" * 100_000),
    "trickles": ("trickles", b"x" * 2000),
    "cut off half way": ("cut", b"x" * 100_000),
}


@pytest.mark.parametrize("fault", NO_NETWORK)
def test_auto_falls_back_in_one_sentence_and_in_time(fault, empty_cache, monkeypatch, capsys):
    answer = NO_NETWORK[fault]
    with Server(answer if not isinstance(answer, str) else 404) as server:
        monkeypatch.setattr(data, "SAMPLE_URL", answer if isinstance(answer, str) else server.url + "mnist_sample.tgz")
        start = time.perf_counter()
        digits = mnist_sample()
        assert time.perf_counter() - start < 15
    assert digits.source == "bundled"
    printed = capsys.readouterr()
    assert printed.out == "" and is_one_sentence(printed.err) and "MNIST_BASICS_DATA" in printed.err, printed.err
    assert [file.name for file in empty_cache.iterdir()] == ["bundled_sample.safetensors"]


def test_a_name_look_up_that_hangs_is_not_waited_for(empty_cache, monkeypatch, capsys):
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: time.sleep(60))
    start = time.perf_counter()
    assert mnist_sample().source == "bundled"
    assert time.perf_counter() - start < 15
    assert "nothing came for 3 seconds" in capsys.readouterr().err


@pytest.mark.parametrize("headers", [{}, {"Transfer-Encoding": "chunked"}])
@pytest.mark.parametrize("bar", ["shown", "TQDM_DISABLE"])
def test_a_slow_server_that_sends_steadily_is_waited_for(headers, bar, empty_cache, monkeypatch):
    files = small_sample() | {"notes.bin": random.Random(0).randbytes(200_000)}
    genuine = pretend_genuine(monkeypatch, files)
    if bar == "TQDM_DISABLE":
        monkeypatch.setattr(data, "tqdm", lambda *a, **k: tqdm(*a, **{**k, "disable": True}))
    with Server(("slow", archive(files), headers)) as server:
        monkeypatch.setattr(data, "SAMPLE_URL", server.url + "mnist_sample.tgz")
        monkeypatch.setattr(data, "_fetch", functools.partial(patient, data._fetch))
        assert_same(mnist_sample("mnist"), genuine)
        assert len(server.requests) == 1


def patient(fetch, url, folder, patience):
    """With one second of patience, for a test that takes a few."""
    return fetch(url, folder, 1)


@pytest.mark.parametrize("location", ["http://a..b/", "http://[bad/", "ftp://127.0.0.1/x", "http://127.0.0.1:9/"])
def test_a_redirect_to_nowhere_is_a_failed_download(location, empty_cache, monkeypatch, capsys):
    with Server(("redirect", location)) as server:
        monkeypatch.setattr(data, "SAMPLE_URL", server.url + "mnist_sample.tgz")
        assert mnist_sample().source == "bundled"
    assert is_one_sentence(capsys.readouterr().err)


def test_all_ten_digits_fall_back_in_time_too(empty_cache, monkeypatch, capsys):
    with Server(("silent", b"")) as server:
        monkeypatch.setattr(data, "IDX_MIRRORS", [server.url + "one/", server.url + "two/"])
        start = time.perf_counter()
        digits = mnist_full()
        assert time.perf_counter() - start < 15
    assert digits.source == "bundled" and len(digits.train_x) + len(digits.valid_x) == 1797
    assert is_one_sentence(capsys.readouterr().err)


@pytest.mark.parametrize("read, wanted", [(mnist_sample, "mnist_sample.tgz"), (mnist_full, "t10k-labels-idx1-ubyte.gz")])
def test_source_mnist_refuses_the_fallback(read, wanted, empty_cache):
    with pytest.raises(DataError, match="could not be downloaded") as error:
        read(source="mnist")
    assert wanted in str(error.value) and "MNIST_BASICS_DATA" in str(error.value)


def test_one_retry_is_enough_for_a_passing_fault(empty_cache, monkeypatch):
    files = small_sample()
    genuine = pretend_genuine(monkeypatch, files)
    with Server(503, archive(files)) as server:
        monkeypatch.setattr(data, "SAMPLE_URL", server.url + "mnist_sample.tgz")
        assert_same(mnist_sample("mnist"), genuine)
        assert len(server.requests) == 2
        assert_same(mnist_sample(), genuine)
        assert len(server.requests) == 2, "the second call must come from the cache"


def test_the_next_call_succeeds_after_a_download_that_was_cut_off(empty_cache, monkeypatch):
    files = small_sample()
    genuine = pretend_genuine(monkeypatch, files)
    cut = ("cut", archive(files))
    with Server(cut, cut, archive(files)) as server:
        monkeypatch.setattr(data, "SAMPLE_URL", server.url + "mnist_sample.tgz")
        with pytest.raises(DataError):
            mnist_sample("mnist")
        assert not (empty_cache / "mnist_sample.tgz").exists()
        assert_same(mnist_sample(), genuine)


def test_the_second_mirror_serves_when_the_first_does_not(empty_cache, monkeypatch, tmp_path):
    folder = small_idx(monkeypatch, tmp_path / "idx")
    contents = {file.name: file.read_bytes() for file in folder.iterdir()}
    with Server(404, contents) as server:
        monkeypatch.setattr(data, "IDX_MIRRORS", [server.url + "one/", server.url + "two/"])
        digits = mnist_full("mnist")
    assert digits.source == "mnist" and len(digits.train_x) == 30
    assert (empty_cache / "train-images-idx3-ubyte.gz").exists()
    assert len(mnist_sample().train_x) == 6, "the 3s and 7s come from the same four files"


# Archives


def damaged(content):
    return content[: len(content) // 2]


def without(files, part):
    return {name: content for name, content in files.items() if not name.startswith(part)}


WRONG_ARCHIVES = {
    "truncated": lambda files: damaged(archive(files)),
    "not an archive": lambda files: b"<html>Please log in</html>",
    "empty": lambda files: b"",
    "other pixels": lambda files: archive(files | {"train/3/7.png": png(99)}),
    "an image too few": lambda files: archive(without(files, "valid/7/10.png")),
    "an image too many": lambda files: archive(files | {"valid/7/11.png": png(1)}),
    "a class missing": lambda files: archive(without(files, "valid/7")),
    "no images at all": lambda files: archive({"readme.txt": b"nothing here"}),
    "3s and 7s swapped": lambda files: archive({n.translate(str.maketrans("37", "73", "")): c for n, c in files.items()}),
}


@pytest.mark.parametrize("fault", WRONG_ARCHIVES)
@pytest.mark.parametrize("place", ["data folder", "cache", "network"])
def test_a_wrong_archive_is_named_and_not_kept(fault, place, empty_cache, monkeypatch, tmp_path):
    files = small_sample()
    pretend_genuine(monkeypatch, files)
    content = WRONG_ARCHIVES[fault](files)
    with Server(content) as server:
        if place == "data folder":
            write({"mnist_sample.tgz": content}, tmp_path / "mine")
            monkeypatch.setenv("MNIST_BASICS_DATA", str(tmp_path / "mine"))
        elif place == "cache":
            write({"mnist_sample.tgz": content}, empty_cache)
        else:
            monkeypatch.setattr(data, "SAMPLE_URL", server.url + "mnist_sample.tgz")
        with pytest.raises(DataError, match="mnist_sample.tgz.*(expected|Expected)") as error:
            mnist_sample()
    where = {"data folder": str(tmp_path / "mine"), "cache": str(empty_cache), "network": server.url}[place]
    assert where in str(error.value)
    assert not list(empty_cache.glob("*")), "nothing of it may stay in the cache"
    assert place != "data folder" or (tmp_path / "mine" / "mnist_sample.tgz").exists(), "the reader's file is the reader's"


def member(name, kind=tarfile.REGTYPE, link=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, link, 1 if kind == tarfile.REGTYPE else 0
    return info


HOSTILE = [
    member("../escaped.txt"),
    member("mnist_sample/../../escaped.txt"),
    member("/tmp/escaped.txt"),
    member("C:\\escaped.txt"),
    member("mnist_sample\\..\\..\\escaped.txt"),
    member("mnist_sample/train/3/1.png", tarfile.SYMTYPE, "/etc/passwd"),
    member("mnist_sample/train/3/1.png", tarfile.LNKTYPE, "../../../etc/passwd"),
    member("mnist_sample/train/3/1.png", tarfile.CHRTYPE),
    member("mnist_sample/train/3/1.png", tarfile.FIFOTYPE),
]


@pytest.mark.parametrize("hostile", HOSTILE, ids=lambda info: f"{info.name}-{info.type.decode()}")
def test_a_hostile_archive_is_refused_by_name(hostile, empty_cache, monkeypatch, tmp_path):
    files = small_sample()
    pretend_genuine(monkeypatch, files)
    mine = write({"mnist_sample.tgz": archive(files, hostile)}, tmp_path / "mine")
    monkeypatch.setenv("MNIST_BASICS_DATA", str(mine))
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(DataError) as error:
        sample_folder()
    assert repr(hostile.name) in str(error.value)
    assert sorted(tmp_path.rglob("*")) == before, "nothing may be written"


@pytest.mark.parametrize("size", [3_000_000, 2**62])
def test_a_member_that_is_far_too_large_is_refused_by_name(size, empty_cache, monkeypatch, tmp_path):
    pretend_genuine(monkeypatch, small_sample())
    bomb = member("mnist_sample/train/3/1.png")
    bomb.size = size
    content = gzip.compress(bomb.tobuf(tarfile.GNU_FORMAT) + bytes(10_000))
    monkeypatch.setenv("MNIST_BASICS_DATA", str(write({"mnist_sample.tgz": content}, tmp_path / "mine")))
    with pytest.raises(DataError, match="train/3/1.png.*far larger"):
        mnist_sample()


def test_an_idx_file_that_unpacks_to_gigabytes_is_not_unpacked(empty_cache, monkeypatch, tmp_path):
    mine = small_idx(monkeypatch, tmp_path / "mine")
    bomb = mine / "train-images-idx3-ubyte.gz"
    bomb.write_bytes(gzip.compress(bytes(300_000_000), 1))
    monkeypatch.setenv("MNIST_BASICS_DATA", str(mine))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(DataError, match="MD5"):
        mnist_full()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000, "kilobytes"


# Folders of images


@pytest.fixture
def my_folder(empty_cache, monkeypatch, tmp_path):
    """A data folder with an extracted sample that passes for genuine."""
    files = small_sample()
    genuine = pretend_genuine(monkeypatch, files)
    write(files, tmp_path / "mine" / "mnist_sample")
    monkeypatch.setenv("MNIST_BASICS_DATA", str(tmp_path / "mine"))
    folder = tmp_path / "mine" / "mnist_sample"
    assert_same(mnist_sample(), genuine)
    return folder, genuine


@pytest.mark.parametrize("content, says", [
    (b"\x89PNG but no more", "not a readable PNG"),
    (b"", "not a readable PNG"),
    (png(1)[:40], "not a readable PNG"),
    (png(1, size=(32, 20)), "32×20"),
    (png(1, mode="RGB"), "mode RGB"),
    (png(1, mode="1"), "mode 1"),
    (png(1, mode="P"), "mode P"),
    (png(1, mode="I;16"), "mode I;16"),
    (four_bit_png(), "4 bits"),
    (png(1, size=(9000, 9000)), "9000×9000"),
])
def test_a_bad_png_is_named_with_what_is_wrong(content, says, my_folder):
    folder, _ = my_folder
    (folder / "valid" / "7" / "10.png").write_bytes(content)
    with pytest.raises(DataError) as error:
        mnist_sample()
    assert "valid/7/10.png" in str(error.value) and str(folder) in str(error.value) and says in str(error.value)


def test_stray_files_are_ignored(my_folder):
    folder, genuine = my_folder
    for part in PARTS:
        for name in (".DS_Store", "Thumbs.db", "notes.txt", "._10.png", "copy of 10.png"):
            (folder / part / name).write_bytes(b"stray")
    (folder / "train" / "3" / "more").mkdir()
    (folder / "train" / "3" / ".#notes.txt").symlink_to("somebody@somewhere")
    assert_same(mnist_sample(), genuine)


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("read", [mnist_sample, sample_folder])
def test_a_missing_or_empty_class_folder_is_named(part, read, my_folder):
    folder, _ = my_folder
    for file in (folder / part).iterdir():
        file.unlink()
    with pytest.raises(DataError, match=part) as empty:
        read()
    (folder / part).rmdir()
    with pytest.raises(DataError, match=part) as missing:
        read()
    assert str(folder) in str(empty.value) and str(folder) in str(missing.value)


@pytest.mark.parametrize("read", [mnist_sample, mnist_full, sample_folder])
@pytest.mark.parametrize("state", ["does not exist", "is empty", "is a file", "holds other things"])
@pytest.mark.parametrize("source", ["auto", "mnist"])
def test_a_data_folder_of_no_use_is_an_error_and_no_silent_fallback(read, state, source, empty_cache, monkeypatch, tmp_path):
    mine = tmp_path / "mine"
    if state == "is a file":
        mine.write_text("not a folder")
    elif state != "does not exist":
        write({"holiday.jpg": b"sun"} if state == "holds other things" else {}, mine)
        mine.mkdir(exist_ok=True)
    monkeypatch.setenv("MNIST_BASICS_DATA", str(mine))
    with pytest.raises(DataError) as error:
        read(source)
    assert str(mine) in str(error.value)
    assert mnist_sample("bundled").source == "bundled", "asking for the bundled digits needs no folder"


@pytest.mark.parametrize("fault, says", [("truncated", "damaged"), ("other content", "MD5")])
def test_a_bad_idx_file_is_named(fault, says, empty_cache, monkeypatch, tmp_path):
    mine = small_idx(monkeypatch, tmp_path / "mine")
    monkeypatch.setenv("MNIST_BASICS_DATA", str(mine))
    bad = mine / "t10k-images-idx3-ubyte.gz"
    good_labels = mine / "t10k-labels-idx1-ubyte.gz"
    bad.write_bytes(damaged(bad.read_bytes()) if fault == "truncated" else good_labels.read_bytes())
    with pytest.raises(DataError, match=says) as error:
        mnist_full()
    assert str(bad) in str(error.value)


# The cache


@pytest.mark.parametrize("read", [mnist_sample, sample_folder, mnist_full])
def test_a_cache_that_cannot_be_written_costs_a_warning_and_nothing_else(read, empty_cache, monkeypatch, tmp_path):
    (tmp_path / "a file").write_text("in the way")
    monkeypatch.setenv("MNIST_BASICS_CACHE", str(tmp_path / "a file" / "cache"))
    with pytest.warns(UserWarning, match="cannot be written"):
        result = read("bundled")
    if read is sample_folder:
        assert all(any((result / part).glob("*.png")) for part in PARTS)
    else:
        assert result.source == "bundled" and len(result.train_x) > 0


def no_space(*args, **kwargs):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.fixture
def full_disk(empty_cache, monkeypatch):
    """Nothing can be written into the cache, for want of space."""
    write_bytes, copyfile = Path.write_bytes, shutil.copyfile

    def write(path, content):
        return no_space() if str(path).startswith(str(empty_cache)) else write_bytes(path, content)

    def copy(source, target):
        return no_space() if str(target).startswith(str(empty_cache)) else copyfile(source, target)

    monkeypatch.setattr(Path, "write_bytes", write)
    monkeypatch.setattr(shutil, "copyfile", copy)
    return empty_cache


def test_a_full_disk_costs_a_warning_and_nothing_else(full_disk, monkeypatch):
    files = small_sample()
    genuine = pretend_genuine(monkeypatch, files)
    with Server(archive(files)) as server:
        monkeypatch.setattr(data, "SAMPLE_URL", server.url + "mnist_sample.tgz")
        with pytest.warns(UserWarning, match="No space left"):
            assert_same(mnist_sample("mnist"), genuine)
            assert_same(mnist_sample("mnist"), genuine)
            folder = sample_folder("mnist")
        assert len(server.requests) == 1, "what was downloaded serves until Python ends"
    assert len(list(folder.rglob("*.png"))) == 12
    assert not list(full_disk.iterdir())


def test_a_disk_that_fills_up_between_two_files_is_survived(empty_cache, monkeypatch, tmp_path):
    contents = {file.name: file.read_bytes() for file in small_idx(monkeypatch, tmp_path / "idx").iterdir()}
    copyfile, copied = shutil.copyfile, []

    def copy(source, target):
        copied.append(target)
        return no_space() if len(copied) == 3 else copyfile(source, target)

    monkeypatch.setattr(shutil, "copyfile", copy)
    with Server(contents) as server:
        monkeypatch.setattr(data, "IDX_MIRRORS", [server.url + "one/", server.url + "two/"])
        with pytest.warns(UserWarning, match="No space left"):
            assert len(mnist_full("mnist").train_x) == 30


def test_nothing_at_all_can_be_written(empty_cache, monkeypatch):
    monkeypatch.setattr(data.tempfile, "TemporaryDirectory", no_space)
    with pytest.warns(UserWarning, match="No space left"):
        assert mnist_sample("bundled").source == "bundled"


def test_what_is_kept_can_be_read_by_others(empty_cache):
    mnist_sample("bundled")
    assert (empty_cache / "bundled_sample.safetensors").stat().st_mode & 0o044 == 0o044 & ~UMASK


# What is the reader's is never deleted


def test_a_cache_folder_that_is_something_else_is_left_alone(empty_cache, tmp_path, monkeypatch):
    pretend_genuine(monkeypatch, small_sample())
    project = write({"thesis.txt": b"years of work", "train/1.txt": b"mine"}, tmp_path / "project")
    monkeypatch.setenv("MNIST_BASICS_CACHE", str(project))
    assert mnist_sample().source == "bundled"
    assert (project / "thesis.txt").exists() and (project / "train" / "1.txt").exists()


def test_a_data_folder_inside_the_cache_is_left_alone(empty_cache, monkeypatch):
    pretend_genuine(monkeypatch, small_sample())
    mine = write(small_sample() | {"notes.txt": b"mine", "train/3/7.png": png(250)}, empty_cache / "mnist")
    monkeypatch.setenv("MNIST_BASICS_DATA", str(mine))
    with pytest.raises(DataError, match="train/3"):
        mnist_sample()
    assert (mine / "notes.txt").exists() and (mine / "train/3/7.png").exists()


def test_an_archive_that_could_not_be_read_is_kept(empty_cache, monkeypatch):
    files = small_sample()
    genuine = pretend_genuine(monkeypatch, files)
    write({"mnist_sample.tgz": archive(files)}, empty_cache)

    def too_many_files(*args):
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with monkeypatch.context() as patch:
        patch.setattr(tarfile, "open", too_many_files)
        with pytest.raises(DataError, match="cannot be read \\(Too many open files"):
            mnist_sample()
    assert_same(mnist_sample(), genuine)


def test_a_bad_archive_is_named_also_where_it_cannot_be_deleted(empty_cache, monkeypatch):
    pretend_genuine(monkeypatch, small_sample())
    write({"mnist_sample.tgz": b"junk"}, empty_cache)
    monkeypatch.setattr(Path, "unlink", lambda *args, **kwargs: no_space())
    with pytest.raises(DataError, match="damaged"):
        mnist_sample()


@pytest.mark.parametrize("damage", ["cut", "flipped", "rubbish", "empty", "another program's"])
def test_a_damaged_cache_file_is_made_again_with_a_note(damage, empty_cache, capsys):
    good = mnist_sample("bundled")
    file = empty_cache / "bundled_sample.safetensors"
    content = bytearray(file.read_bytes())
    if damage == "flipped":
        content[-1000] ^= 1
    elif damage == "another program's":
        content = data.save({"weights": torch.zeros(3)})
    else:
        content = {"cut": content[: len(content) // 2], "rubbish": b"rubbish" * 100, "empty": b""}[damage]
    file.write_bytes(content)
    assert_same(mnist_sample("bundled"), good)
    assert "made again" in capsys.readouterr().err
    assert_same(mnist_sample("bundled"), good)
    assert capsys.readouterr().err == ""


def test_a_changed_data_folder_is_read_again(my_folder):
    folder, _ = my_folder
    (folder / "train" / "3" / "10.png").write_bytes(png(200))
    with pytest.raises(DataError, match="train/3"):
        mnist_sample()


@pytest.mark.parametrize("victim, damage", [
    ("train/3/13.png", "removed"), ("train/3/13.png", "emptied"), ("labels.csv", "removed")])
def test_a_cached_folder_that_was_damaged_is_made_again_with_a_note(victim, damage, empty_cache, capsys):
    folder = sample_folder("bundled")
    assert sample_folder("bundled") == folder and capsys.readouterr().err == ""
    content = (folder / victim).read_bytes()
    (folder / victim).unlink() if damage == "removed" else (folder / victim).write_bytes(b"")
    assert sample_folder("bundled") == folder and (folder / victim).read_bytes() == content
    assert "made again" in capsys.readouterr().err


def test_images_that_change_places_are_noticed(my_folder):
    folder, _ = my_folder
    (folder / "train/3/7.png").rename(folder / "swap")
    (folder / "train/7/7.png").rename(folder / "train/3/7.png")
    (folder / "swap").rename(folder / "train/7/7.png")
    with pytest.raises(DataError, match="train/3"):
        mnist_sample()


WORKER = """
import sys, time
sys.path.insert(0, sys.argv[1])
from mnist_basics import data
from mnist_basics.data import mnist_sample, sample_folder
{body}
"""


def start(tmp_path, cache, body):
    script = tmp_path / "worker.py"
    script.write_text(WORKER.format(body=body))
    environment = {**os.environ, "MNIST_BASICS_CACHE": str(cache), "MNIST_BASICS_DATA": ""}
    return subprocess.Popen([sys.executable, str(script), os.path.dirname(__file__)], env=environment,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_two_processes_fill_an_empty_cache_at_once(empty_cache, tmp_path):
    body = "folder = sample_folder('bundled'); print(len(list(folder.rglob('*.png'))), mnist_sample('bundled').train_x.sum().item())"
    results = [worker.communicate(timeout=120) for worker in [start(tmp_path, empty_cache, body) for _ in range(2)]]
    assert results[0][0] == results[1][0] and results[0][0].split()[0] == "362", results
    assert not list(empty_cache.glob(".partial-*"))


def test_a_folder_that_another_process_has_just_written_is_kept(empty_cache, capsys):
    folder = sample_folder("bundled")
    before = folder.stat().st_ino
    assert data._unpack({}, folder.parent.name) == folder  # too late: it has seen no folder a moment ago
    assert folder.stat().st_ino == before and len(list(folder.rglob("*.png"))) == 362
    assert capsys.readouterr().err == ""


def test_a_process_killed_while_unpacking_leaves_nothing_that_is_read(empty_cache, tmp_path):
    body = """
write = data.Path.write_bytes
def slow(path, content):
    write(path, content)
    if path.parent.name == "7": print("half way", flush=True); time.sleep(60)
data.Path.write_bytes = slow
sample_folder("bundled")
"""
    worker = start(tmp_path, empty_cache, body)
    assert worker.stdout.readline() == "half way\n", worker.communicate()[1]
    worker.kill()
    worker.wait()
    assert not (empty_cache / "bundled_sample").exists()
    folder = sample_folder("bundled")
    assert len(list(folder.rglob("*.png"))) == 362


# Wrong calls


@pytest.mark.parametrize("variable", ["MNIST_BASICS_DATA", "MNIST_BASICS_CACHE"])
def test_the_home_of_nobody_is_a_folder_that_does_not_exist(variable, empty_cache, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(variable, "~nosuchuser/digits")
    if variable == "MNIST_BASICS_DATA":
        with pytest.raises(DataError, match="~nosuchuser"):
            mnist_sample()
    else:
        assert mnist_sample("bundled").source == "bundled"


def test_wrong_arguments_are_answered_with_what_is_allowed(digits):
    for read in (mnist_sample, mnist_full, sample_folder):
        with pytest.raises(ValueError, match="'auto', 'mnist', 'bundled'"):
            read(source="mnits")
    with pytest.raises(ValueError, match="'train' or 'valid'"):
        digits.images("test", 3)
    with pytest.raises(ValueError, match="3, 7"):
        digits.images("train", 5)
