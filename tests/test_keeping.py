"""What is kept in the cache: made once, and again when it is damaged or out of date."""

import pytest
import torch

from mnist_basics.workshop.keeping import fingerprint, kept


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


def test_a_cache_that_cannot_be_written_is_no_hindrance(empty_cache, make):
    empty_cache.write_text("a file where the folder should be", encoding="utf-8")
    with pytest.warns(UserWarning, match="a.pt cannot be written .*MNIST_BASICS_CACHE"):
        assert kept("a.pt", "digits", make)["row"] == {"errors": 3}
    assert (
        empty_cache.read_text(encoding="utf-8") == "a file where the folder should be"
    )


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
