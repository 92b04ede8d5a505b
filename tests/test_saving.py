"""Saving and loading a Learner: exact, refused where it does not fit, whole or not."""

import pytest
import torch
from small_nets import OPTIMIZERS, assert_same_model, quiet, small
from torch import nn

from mnist_basics.learner import BasicOptim
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

    for error in (OSError("No space left on device"), KeyboardInterrupt()):

        def half(state, path):
            path.write_bytes(b"half")
            raise error

        monkeypatch.setattr(saving.torch, "save", half)
        with pytest.raises(type(error)):
            learn.save(tmp_path / "a.pt")
        assert (tmp_path / "a.pt").read_bytes() == before
        assert [file.name for file in tmp_path.iterdir()] == ["a.pt"]


def test_a_file_with_records_missing_is_refused_and_changes_nothing(tmp_path):
    learn = quiet(*small())
    learn.save(tmp_path / "a.pt")
    state = torch.load(tmp_path / "a.pt", weights_only=True)
    del state["records"]["lrs"]
    torch.save(state, tmp_path / "b.pt")
    other = quiet(*small(seed=8))
    before = {key: value.clone() for key, value in other.model.state_dict().items()}
    with pytest.raises(ValueError, match="b.pt is no file that Learner.save wrote"):
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
        learn.fit_one_cycle(1, lr_max=np.float32(0.1))
        learn.save(tmp_path / "a.pt")
        quiet(*small(), opt_func=OPTIMIZERS[name]).load(tmp_path / "a.pt")


def test_what_could_not_be_read_back_is_not_kept(tmp_path):
    import numpy as np

    learn = quiet(*small())
    learn.save(tmp_path / "a.pt")
    before = (tmp_path / "a.pt").read_bytes()
    learn.recorder.values.append(np.float64(0.5))
    with pytest.raises(ValueError, match="UnpicklingError"):
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
