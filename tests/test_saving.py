"""Saving and loading a Learner: exact, refused where it does not fit, whole or not."""

import copy
import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from small_nets import OPTIMIZERS, assert_same_model, quiet, small
from torch import nn

from mnist_basics.learner import BasicOptim
from mnist_basics.optimizers import OneCycle
from mnist_basics.workshop import saving


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_saving_and_loading_is_as_if_nothing_had_happened(name, tmp_path):
    dls, model = small()
    straight = quiet(dls, model, opt_func=OPTIMIZERS[name])
    straight.fit(4, lr=0.01)
    dls, model = small()
    first = quiet(dls, model, opt_func=OPTIMIZERS[name])
    first.fit(2, lr=0.01)
    first.save(tmp_path / "new" / "half.pt")
    dls, model = small(seed=99)
    dls.train.x, dls.train.y, dls.valid.x, dls.valid.y = (
        first.dls.train.x,
        first.dls.train.y,
        first.dls.valid.x,
        first.dls.valid.y,
    )
    second = quiet(dls, model, opt_func=OPTIMIZERS[name])
    second.load(tmp_path / "new" / "half.pt")
    second.fit(2, lr=0.01)
    assert_same_model(second.model, straight.model)
    assert second.recorder.values == straight.recorder.values


def test_saving_remembers_the_random_numbers_of_dropout(tmp_path):
    def with_dropout():
        dls, _ = small()
        return quiet(
            dls, nn.Sequential(nn.Linear(20, 8), nn.Dropout(), nn.Linear(8, 1))
        )

    straight = with_dropout()
    torch.manual_seed(1)
    straight.fit(4, lr=0.1)
    first, second = with_dropout(), with_dropout()
    first.model.load_state_dict(second.model.state_dict())
    torch.manual_seed(1)
    first.model.load_state_dict(with_dropout().model.state_dict())
    torch.manual_seed(1)
    first.fit(2, lr=0.1)
    first.save(tmp_path / "half.pt")
    torch.rand(100)
    second.load(tmp_path / "half.pt")
    second.fit(2, lr=0.1)
    assert_same_model(second.model, straight.model)
    assert (
        second.recorder.losses == straight.recorder.losses
        and second.recorder.lrs == straight.recorder.lrs
    )


def test_another_optimizer_is_refused_and_changes_nothing(tmp_path):
    dls, model = small()
    adam = quiet(dls, model, opt_func=OPTIMIZERS["Adam"])
    adam.fit(1, lr=0.01)
    adam.save(tmp_path / "adam.pt")
    for name in ("ours", "momentum", "AdamW"):
        other = quiet(*small(seed=8), opt_func=OPTIMIZERS[name])
        before = {key: value.clone() for key, value in other.model.state_dict().items()}
        with pytest.raises(ValueError, match="saved with the optimizer torch.*Adam"):
            other.load(tmp_path / "adam.pt")
        torch.testing.assert_close(
            dict(other.model.state_dict()), before, rtol=0, atol=0
        )

    def two_groups(params, lr):
        return torch.optim.Adam([{"params": params[:1]}, {"params": params[1:]}], lr)

    other = quiet(*small(seed=8), opt_func=two_groups)
    before = {key: value.clone() for key, value in other.model.state_dict().items()}
    with pytest.raises(ValueError, match="does not fit"):
        other.load(tmp_path / "adam.pt")
    torch.testing.assert_close(dict(other.model.state_dict()), before, rtol=0, atol=0)


def test_weights_that_are_shared_can_be_saved(tmp_path):
    dls, _ = small()
    layer = nn.Linear(20, 20)
    learn = quiet(dls, nn.Sequential(layer, nn.ReLU(), layer, nn.Linear(20, 1)))
    learn.save(tmp_path / "shared.pt")
    learn.load(tmp_path / "shared.pt")


def test_a_file_that_does_not_fit_is_refused_and_changes_nothing(tmp_path):
    dls, model = small()
    learn = quiet(dls, model)
    learn.save(tmp_path / "good.pt")
    other = quiet(dls, nn.Sequential(nn.Linear(20, 9), nn.ReLU(), nn.Linear(9, 1)))
    before = {name: tensor.clone() for name, tensor in other.model.state_dict().items()}
    with pytest.raises(ValueError, match="'0.bias' has the shape \\[8\\].*\\[9\\]"):
        other.load(tmp_path / "good.pt")
    torch.testing.assert_close(dict(other.model.state_dict()), before, rtol=0, atol=0)
    with pytest.raises(ValueError, match="no tensor '4.bias'"):
        quiet(dls, nn.Sequential(*model, nn.ReLU(), nn.Linear(1, 1))).load(
            tmp_path / "good.pt"
        )
    with pytest.raises(ValueError, match="'2.bias', which this model does not"):
        quiet(dls, nn.Sequential(nn.Linear(20, 8))).load(tmp_path / "good.pt")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        learn.load(tmp_path / "nowhere.pt")
    content = (tmp_path / "good.pt").read_bytes()
    for bad in (content[: len(content) // 2], b"", b"junk" * 100):
        (tmp_path / "bad.pt").write_bytes(bad)
        with pytest.raises(ValueError, match="bad.pt"):
            learn.load(tmp_path / "bad.pt")


def test_saving_keeps_the_old_file_until_the_new_one_is_whole(tmp_path, monkeypatch):
    dls, model = small()
    learn = quiet(dls, model)
    learn.save(tmp_path / "a.pt")
    before = (tmp_path / "a.pt").read_bytes()

    for error in (OSError(28, "No space left on device"), KeyboardInterrupt()):

        def half(file, content):
            with open(file, "wb") as out:
                out.write(content[:99])
            raise error

        monkeypatch.setattr(saving.Path, "write_bytes", half)
        with pytest.raises(type(error)) as raised:
            learn.save(tmp_path / "a.pt")
        assert (tmp_path / "a.pt").read_bytes() == before
        assert [file.name for file in tmp_path.iterdir()] == ["a.pt"]
        if isinstance(error, OSError):
            says = f"'{tmp_path / 'a.pt'}' cannot be written (No space left on device)."
            assert str(raised.value) == says


def test_a_file_with_records_missing_is_refused_and_changes_nothing(tmp_path):
    learn = quiet(*small())
    learn.save(tmp_path / "a.pt")
    state = torch.load(tmp_path / "a.pt", weights_only=True)
    del state["records"]["lrs"]
    torch.save(state, tmp_path / "b.pt")
    other = quiet(*small(seed=8))
    before = {key: value.clone() for key, value in other.model.state_dict().items()}
    with pytest.raises(ValueError, match="b.pt is damaged, or no file that Learner"):
        other.load(tmp_path / "b.pt")
    after = dict(other.model.state_dict())
    torch.testing.assert_close(after, before, rtol=0, atol=0)


def test_loading_runs_no_program(tmp_path):
    class Bomb:
        def __reduce__(self):
            return print, ("the bomb went off",)

    torch.save({"model": Bomb()}, tmp_path / "bomb.pt")
    with pytest.raises(ValueError, match="bomb.pt is damaged"):
        quiet(*small()).load(tmp_path / "bomb.pt")


def test_a_rate_of_numpys_is_saved_and_comes_back(tmp_path):
    import numpy as np

    for name in ("ours", "AdamW"):
        learn = quiet(*small(), opt_func=OPTIMIZERS[name])
        learn.fit(1, lr=np.float64(0.1))
        learn.fit(1, 0.1, [OneCycle(np.float32(0.1))])
        learn.save(tmp_path / "a.pt")
        quiet(*small(), opt_func=OPTIMIZERS[name]).load(tmp_path / "a.pt")


def test_what_could_not_be_read_back_is_not_kept(tmp_path):
    import numpy as np

    learn = quiet(*small())
    learn.save(tmp_path / "a.pt")
    before = (tmp_path / "a.pt").read_bytes()
    learn.recorder.values.append(np.float64(0.5))
    with pytest.raises(ValueError, match="a.pt is not written.*NumPy.*UnpicklingError"):
        learn.save(tmp_path / "a.pt")
    assert (tmp_path / "a.pt").read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["a.pt"]


def test_an_optimizer_with_a_memory_of_its_own_is_told(tmp_path):
    class Momentum(BasicOptim):
        def __init__(self, params, lr):
            super().__init__(params, lr)
            self.velocity = []

    learn = quiet(*small(), opt_func=Momentum)
    learn.fit(1, lr=0.1)
    with pytest.warns(UserWarning, match="Momentum remembers is not saved"):
        learn.save(tmp_path / "a.pt")


def test_spoiled_random_numbers_are_refused_and_change_nothing(tmp_path):
    learn = quiet(*small())
    learn.save(tmp_path / "a.pt")
    state = torch.load(tmp_path / "a.pt", weights_only=True)
    state["random"]["order"] = torch.zeros(3, dtype=torch.uint8)
    torch.save(state, tmp_path / "b.pt")
    other = quiet(*small(seed=8))
    before = {key: value.clone() for key, value in other.model.state_dict().items()}
    with pytest.raises(ValueError, match="b.pt is damaged"):
        other.load(tmp_path / "b.pt")
    after = dict(other.model.state_dict())
    torch.testing.assert_close(after, before, rtol=0, atol=0)


# A file that was changed: refused before anything of the Learner is


def is_as_before(learn):
    """A function that tells whether a Learner, and the random numbers, still are."""
    kept = [copy.deepcopy(vars(learn.recorder)), learn.opt, torch.get_rng_state()]
    weights = copy.deepcopy(learn.model.state_dict())
    order = learn.dls.train.generator.get_state()

    def check():
        assert vars(learn.recorder) == kept[0] and learn.opt is kept[1]
        assert torch.get_rng_state().equal(kept[2])
        assert learn.dls.train.generator.get_state().equal(order)
        torch.testing.assert_close(learn.model.state_dict(), weights, rtol=0, atol=0)

    return check


def changed(*path, value=None):
    """A change of a saved state: at this place another value, or nothing any more."""

    def change(state):
        for name in path[:-1]:
            state = state[name]
        if value is None:
            del state[path[-1]]
        else:
            state[path[-1]] = value

    return change


@pytest.mark.parametrize(
    "change",
    [
        *[changed(part) for part in sorted(saving.PARTS)],
        *[changed(part, value=[1]) for part in sorted(saving.PARTS)],
        *[changed("records", name) for name in saving.RECORDS],
        changed("records", "lrs", value=3),
        changed("records", "more", value=[]),
        changed("more", value=1),
        changed("model", "0.bias"),
        changed("model", "0.bias", value=3),
        changed("model", "0.bias", value=torch.zeros(9)),
        changed("model", "more", value=torch.zeros(8)),
        changed("random", "cpu", value="a"),
        changed("random", "order", value=torch.zeros(5, dtype=torch.uint8)),
        changed("optimizer", "param_groups"),
        changed("optimizer", "param_groups", value=[{}]),
        changed("optimizer", "state", value=3),
    ],
)
def test_a_file_that_was_changed_is_refused_and_changes_nothing(change, tmp_path):
    learn = quiet(*small(), opt_func=torch.optim.Adam)
    learn.fit(1, lr=0.01)
    learn.save(tmp_path / "a.pt")
    state = torch.load(tmp_path / "a.pt", weights_only=True)
    change(state)
    torch.save(state, tmp_path / "b.pt")
    other = quiet(*small(seed=8), opt_func=torch.optim.Adam)
    other.fit(1, lr=0.01)
    check = is_as_before(other)
    with pytest.raises(ValueError, match="b.pt"):
        other.load(tmp_path / "b.pt")
    check()
    other.load(tmp_path / "a.pt")
    assert_same_model(other.model, learn.model)


@pytest.mark.parametrize("state", [[1, 2], {"0.weight": torch.zeros(3)}, 3])
def test_a_file_of_another_program_is_refused(state, tmp_path):
    torch.save(state, tmp_path / "theirs.pt")
    with pytest.raises(ValueError, match="theirs.pt is damaged, or no file that"):
        quiet(*small()).load(tmp_path / "theirs.pt")


# Where to


@pytest.fixture
def learn():
    return quiet(*small())


def test_a_path_may_begin_at_home(learn, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    learn.save("~/new/a.pt")
    assert (tmp_path / "new" / "a.pt").is_file()
    learn.load("~/new/a.pt")


def test_what_is_no_name_of_a_file_is_refused(learn, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_bytes(b"mine")
    for path in ("", ".", "..", "new/", "folder", "folder/", "file/a.pt", "a" * 300):
        with pytest.raises(OSError, match="cannot be written") as raised:
            learn.save(path)
        assert str(raised.value).startswith(f"{path!r} cannot be written (")
    assert sorted(each.name for each in tmp_path.rglob("*")) == ["file", "folder"]
    assert (tmp_path / "file").read_bytes() == b"mine"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes")
def test_what_is_no_file_is_not_replaced(learn, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="pipe' cannot be written .*device"):
        learn.save(tmp_path / "pipe")
    assert stat.S_ISFIFO(os.stat(tmp_path / "pipe").st_mode)
    assert [file.name for file in tmp_path.iterdir()] == ["pipe"]


def test_a_link_stays_and_what_is_behind_it_is_replaced(learn, tmp_path):
    learn.save(tmp_path / "real.pt")
    before = (tmp_path / "real.pt").read_bytes()
    try:
        (tmp_path / "link.pt").symlink_to("real.pt")
        (tmp_path / "ahead.pt").symlink_to("new/ahead.pt")
    except OSError:
        pytest.skip("no links here")
    learn.fit(1)
    for name in ("link.pt", "ahead.pt"):
        learn.save(tmp_path / name)
        assert (tmp_path / name).is_symlink()
    assert (tmp_path / "real.pt").read_bytes() != before
    assert (tmp_path / "new" / "ahead.pt").is_file()
    quiet(*small()).load(tmp_path / "link.pt")


def test_a_folder_where_one_may_not_write_is_named(learn, tmp_path, monkeypatch):
    def refused(file, content):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(saving.Path, "write_bytes", refused)
    with pytest.raises(OSError, match=r"a.pt' cannot be written \(Permission denied\)"):
        learn.save(tmp_path / "a.pt")


SAVE_OFTEN = """
import sys
sys.path.insert(0, sys.argv[1])
from small_nets import quiet, small
learn = quiet(*small(seed=int(sys.argv[3])))
for _ in range(60):
    learn.save(sys.argv[2])
"""


def test_several_may_save_to_one_place_at_once(learn, tmp_path):
    here = str(Path(__file__).parent)
    command = [sys.executable, "-c", SAVE_OFTEN, here, str(tmp_path / "a.pt")]
    both = [subprocess.Popen([*command, str(seed)]) for seed in range(2)]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(learn.save, [tmp_path / "a.pt"] * 60)) == [None] * 60
    assert [process.wait() for process in both] == [0, 0]
    learn.load(tmp_path / "a.pt")
    assert [file.name for file in tmp_path.iterdir()] == ["a.pt"]
