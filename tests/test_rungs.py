"""The rungs: their rows, what they answer, how they are drawn, and kept."""

import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path
from shutil import ignore_patterns
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from cells import as_a_cell
from torch import nn

from mnist_basics.data import Digits, mnist_full
from mnist_basics.ladder import ladder
from mnist_basics.pixel_similarity import PixelSimilarity
from mnist_basics.ten_digits import digit_cnn, hold_out, train_ten_digits
from mnist_basics.workshop import progress
from mnist_basics.workshop import rungs as module
from mnist_basics.workshop.rungs import (
    RUNGS,
    Rung,
    ask_rows,
    climb,
    code_behind,
    draw_ladder,
    five_seeds,
    ties,
    train_on_rows,
    trained_digit_net,
    trained_rung,
    trained_rungs,
)

COLUMNS = "rung parameters accuracy errors images seconds published device".split()
QUICK = ["pixel similarity", "linear model"]
PACKAGE = Path(module.__file__).parents[1]


@pytest.fixture
def few(digits):
    """A few of the digits."""
    parts = [(digits.train_y == digit).nonzero()[:40, 0] for digit in (3, 7)]
    chosen = torch.cat(parts)
    x, y = digits.train_x[chosen], digits.train_y[chosen]
    return Digits(x, y, digits.valid_x, digits.valid_y)


@pytest.fixture
def trained(monkeypatch, empty_cache):
    """A list of what was trained, on a ladder of two quick rungs, in an empty cache."""
    names = []

    def noting(rung, **short):
        def train(*arguments):
            names.append(rung.name)
            return partial(rung.train, **short)(*arguments)

        return rung._replace(train=train)

    first, second = (RUNGS[name] for name in QUICK)
    two = {QUICK[0]: noting(first), QUICK[1]: noting(second, epochs=3)}
    monkeypatch.setattr(module, "RUNGS", two)
    return names


def both(digits, seed=42):
    return [trained_rung(name, digits, seed) for name in QUICK]


def test_a_row_for_each_rung_and_the_published_figures(rungs):
    table = pd.DataFrame([rung.row for rung in rungs])
    assert list(table.columns) == COLUMNS and list(table["rung"]) == list(RUNGS)
    assert (table["images"] == 2038).all() and table["seconds"].notna().all()
    assert (table["accuracy"] >= [0.95, 0.97, 0.985, 0.985, 0.995]).all()
    published = [0.9511, 0.9785, 0.9828, 0.9902, 0.9971]
    assert table["published"].tolist() == published
    first = table.iloc[0]
    assert f"{first['accuracy']:.4f}" == "0.9511" and first["errors"] == 99


def test_every_rung_answers_one_question(rungs, digits):
    images = torch.cat([digits.images("valid", digit) for digit in (3, 7)])
    for rung in rungs:
        odds = rung.log_odds(images)
        assert odds.shape == (2038,) and odds.dtype == torch.float32
        wrong = ((odds > 0) != (digits.valid_y == 3)).sum()
        assert wrong == rung.row["errors"] < 100, rung.name
        assert not odds.requires_grad and not rung.model.training
    image = images[:1].clone().requires_grad_()
    assert torch.autograd.grad(rungs[3].log_odds(image).sum(), image)[0].any()


def test_bad_arguments_are_named(digits):
    with pytest.raises(ValueError, match="no rung 'resnet1812'; there are 'pixel sim"):
        climb("resnet1812")
    with pytest.raises(ValueError, match="no rung 'top'"):
        trained_rung("top")
    with pytest.raises(ValueError, match="no rung 'top'"):
        trained_rungs(["linear model", "top"])
    with pytest.raises(ValueError, match="abacus"):
        climb("linear model", device="abacus")
    with pytest.raises(ValueError, match="no rung to climb"):
        trained_rungs([])
    with pytest.raises(ValueError, match="3s and 7s alone"):
        climb("small CNN", mnist_full())


def test_each_rung_begins_with_the_seed(monkeypatch):
    drawn = []

    def dice(model, digits, device, seed):
        drawn.append(torch.rand(()).item())
        return model

    def ask(model, images):
        return torch.ones(len(images))

    rung = Rung("dice", lambda: nn.Linear(1, 1), dice, ask)
    monkeypatch.setitem(RUNGS, "dice", rung)
    for seed in (1, 1, 2):
        climb("dice", seed=seed)
    assert drawn[0] == drawn[1] != drawn[2]


def test_the_seconds_are_those_of_training_and_validation(monkeypatch):
    class Clock:
        now = 7

        def perf_counter(self):
            return self.now

    def train(model, digits, device, seed):
        clock.now += 3
        return model

    def ask(model, images):
        clock.now += 1
        return torch.ones(len(images))

    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    rung = Rung("sleeper", lambda: nn.Linear(1, 1), train, ask)
    monkeypatch.setitem(RUNGS, "sleeper", rung)
    assert climb("sleeper").row["seconds"] == 4


def test_a_rung_without_errors_is_in_the_picture_too():
    row = {"rung": "perfect", "accuracy": 1.0, "published": float("nan")}
    axes = draw_ladder(pd.DataFrame([row])).axes[0]
    assert axes.get_ylim()[0] <= axes.lines[0].get_ydata()[0] < 0.1


def of_seeds(**errors):
    """A table as of `five_seeds`; `mid_at_0` is the recipe 0 of the rung mid."""
    rows = []
    for name, counts in errors.items():
        rung, _, recipe = name.replace("_", " ").partition(" at ")
        for seed, count in enumerate(counts):
            about = {"rung": rung, "recipe": recipe or "ours", "seed": seed}
            rows.append({**about, "accuracy": 1 - count / 2038, "errors": count})
    return pd.DataFrame(rows)


def test_neighbours_are_a_tie_where_their_seeds_overlap():
    seeds = of_seeds(low=[9, 8], mid=[7, 5], mid_at_0=[9, 8], high=[3, 5], top=[1, 4])
    assert ties(seeds) == [("mid", "high"), ("high", "top")]
    assert ties(of_seeds(low=[9, 8], high=[7, 6])) == []
    assert ties(of_seeds(low=[1, 2], high=[5, 6])) == []
    assert ties(of_seeds(low=[3, 4], high=[9, 1])) == [("low", "high")]


def test_the_picture_has_a_dot_for_each_seed_and_says_what_is_a_tie():
    seeds = of_seeds(low=[9, 8], mid=[5, 7], mid_at_0=[9, 8], high=[3, 0, 5])
    table = seeds[seeds["seed"] == 0].query("recipe == 'ours'").assign(published=0.9)
    plain, axes = draw_ladder(table).axes[0], draw_ladder(table, seeds).axes[0]
    small = [line for line in axes.lines if line.get_markersize() == 4]
    dots = sorted(y for line in small for y in line.get_ydata())
    expected = sorted(100 * (1 - right) for right in seeds["accuracy"])
    assert dots == pytest.approx([0.03, *expected[1:]])
    assert "a tie" in (said := [text.get_text() for text in axes.texts])
    assert said.count("a tie") == 1
    assert "a tie" not in [text.get_text() for text in plain.texts]
    draw_ladder(table[:1], seeds)  # a part of the ladder


def test_a_published_recipe_that_is_not_ours_is_named_in_the_picture(rungs):
    axes = draw_ladder(pd.DataFrame([rung.row for rung in rungs])).axes[0]
    said = {text.get_text(): text.xy for text in axes.texts}
    linear, two_layer = said["20 epochs, rate 1"], said["40 epochs, rate 0.1"]
    assert linear[1] == pytest.approx(100 * (1 - 0.9785))
    assert two_layer[1] == pytest.approx(100 * (1 - 0.9828))
    assert 0 < linear[0] < 1 < two_layer[0] < 2  # left of their rungs


def test_five_seeds_climb_our_recipe_and_the_published_one(monkeypatch):
    calls = []

    def noting(recipe):
        def train(model, digits, device, seed):
            calls.append((recipe, seed))
            return model

        return train

    def ask(model, images):
        return torch.ones(len(images))

    also = {"slowly": noting("slowly")}
    rung = Rung("dice", lambda: nn.Linear(1, 1), noting("ours"), ask, as_published=also)
    monkeypatch.setattr(module, "RUNGS", {"dice": rung})
    table = five_seeds()
    assert list(table.columns) == "rung recipe seed accuracy errors".split()
    assert list(zip(table["recipe"], table["seed"])) == calls
    assert len(set(calls)) == 10 and (table["errors"] == 1028).all()


def test_the_saved_seeds_are_of_these_rungs_and_these_recipes():
    seeds = pd.read_csv(Path(__file__).parents[1] / "nbs/ladder_seeds.csv")
    recipes = [(n, r) for n in RUNGS for r in ("ours", *RUNGS[n].as_published)]
    groups = seeds.groupby(["rung", "recipe"], sort=False)
    assert list(groups.groups) == recipes and (groups["seed"].nunique() == 5).all()


def test_the_scale_of_pixel_similarity_is_the_best(digits, rungs):
    soft, plain = rungs[0].model, PixelSimilarity.fit(digits)
    images = torch.cat([digits.images("train", digit) for digit in (3, 7)])
    is_3, nearer = (digits.train_y == 3).float(), plain.log_odds(images)
    torch.testing.assert_close(soft.log_odds(images), soft.scale * nearer)
    loss = nn.functional.binary_cross_entropy_with_logits
    losses = [loss(soft.scale * f * nearer, is_3).item() for f in (0.97, 1, 1.03)]
    assert losses[1] == min(losses)


# Rungs that are kept


def test_rungs_are_trained_once_and_vote_alike(trained, few):
    first, second = both(few), both(few)
    assert trained == QUICK
    x = few.valid_x.float() / 255
    for a, b in zip(first, second):
        assert (a.name, a.accuracy) == (b.name, b.accuracy)
        assert a.log_odds(x).equal(b.log_odds(x))


def test_the_kept_accuracy_is_that_of_the_ladder(trained, few):
    table = ladder(digits=few).set_index("rung")
    for rung in both(few) + both(few):
        assert rung.accuracy == table.accuracy[rung.name]


def test_other_digits_or_another_seed_train_anew(trained, few):
    both(few)
    fewer = Digits(few.train_x[1:], few.train_y[1:], few.valid_x, few.valid_y)
    both(fewer)
    assert len(trained) == 4
    both(few)
    assert len(trained) == 4, "those of the first digits are still there"
    both(few, seed=1)
    assert len(trained) == 6


@pytest.mark.parametrize(
    "file, times",
    [
        ("playground.py", 2),
        ("transfer.py", 2),
        ("learner.py", 4),
        ("workshop/listening.py", 4),
        ("workshop/rungs.py", 4),
    ],
)
def test_other_code_trains_anew_if_a_training_uses_it(
    file, times, trained, few, monkeypatch, tmp_path
):
    shutil.copytree(PACKAGE, copy := tmp_path / "copy", ignore=ignore_patterns("*.npy"))
    monkeypatch.setattr(module, "code_behind", partial(code_behind, package=copy))
    both(few)
    with (copy / file).open("a", encoding="utf-8") as code:
        code.write("# other code")
    both(few)
    assert len(trained) == times


def test_the_code_behind_the_rungs_is_what_their_import_imports():
    code = "import sys, mnist_basics.workshop.rungs; print(*sys.modules)"
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    ours = {name for name in result.stdout.split() if name.startswith("mnist_basics.")}
    behind = code_behind("mnist_basics.workshop.rungs")
    assert set(behind) == ours - {"mnist_basics.workshop"}  # a package, without code
    learner = (PACKAGE / "learner.py").read_bytes()
    assert behind["mnist_basics.learner"] == learner


def test_code_is_followed_however_it_is_imported(tmp_path):
    (tmp_path / "room").mkdir()
    files = {
        "one.py": "import os\nfrom . import two\nfrom torch import nn",
        "two.py": "from mnist_basics.room.three import x, y",
        "room/three.py": "def f():\n    from ..four import z",
        "four.py": "from .one import a",
        "five.py": "from .one import a",
    }
    for name, code in files.items():
        (tmp_path / name).write_text(code, encoding="utf-8")
    behind = code_behind("mnist_basics.one", tmp_path)
    names = ["four", "one", "room.three", "two"]
    assert list(behind) == [f"mnist_basics.{name}" for name in names]
    assert behind["mnist_basics.four"] == b"from .one import a"


@pytest.fixture
def shown(monkeypatch):
    """What a notebook shows, in its order, with what takes the place of it."""
    pages = []

    class Handle:
        def update(self, page, raw):
            pages.append(page)

    def display(page, raw, display_id):
        pages.append(page)
        return Handle()

    monkeypatch.setattr(progress, "_in_jupyter", lambda: True)
    monkeypatch.setattr("IPython.display.display", display)
    return pages


def test_a_bar_names_the_rung_that_is_being_trained_and_goes_away(
    trained, few, shown, capsys
):
    trained_rung(QUICK[0], few)
    shown.clear()
    rungs = trained_rungs(digits=few)
    assert [rung.name for rung in rungs] == QUICK == trained
    first, last = shown
    assert first["text/plain"] == "training: linear model"
    assert "<progress value='1' max='2'>" in first["text/html"]
    assert set(last.values()) == {""}, "the bar stays"
    shown.clear()
    trained_rungs(digits=few)
    assert shown == [] and trained == QUICK, "all are kept"
    assert capsys.readouterr() == ("", "")


def test_a_bar_goes_away_after_an_error_too(few, shown, monkeypatch, empty_cache):
    rung = Rung("mine", nn.Identity, lambda *given: 1 / 0, ask_rows)
    monkeypatch.setitem(RUNGS, "mine", rung)
    with pytest.raises(ZeroDivisionError):
        trained_rungs(["mine"], few)
    assert shown[0]["text/plain"] == "training: mine" and set(shown[1].values()) == {""}


# The net for ten digits


def test_the_digit_net_is_trained_once_and_answers_alike(
    few, shown, monkeypatch, empty_cache
):
    def train(*given, **about):
        calls.append(about)
        learners.append(train_ten_digits(*given, **about))
        return learners[-1]

    calls, learners = [], []
    monkeypatch.setattr(module, "train_ten_digits", train)
    images = few.valid_x[:, None] / 255
    torch.manual_seed(3)
    first, second = trained_digit_net(few), trained_digit_net(few)
    assert torch.rand(1).equal(torch.rand(1, generator=torch.manual_seed(3)))
    assert calls == [{"seed": 42, "progress": False}], "12's defaults, once"
    assert not first.training and not second.training
    answers = first(images)
    assert answers.device.type == "cpu" and not answers.requires_grad
    torch.testing.assert_close(answers, second(images), rtol=0, atol=0)
    torch.testing.assert_close(answers, learners[0].predict(images))
    assert "ten digits" in shown[0]["text/plain"] and set(shown[1].values()) == {""}
    assert len(shown) == 2
    trained_digit_net(few, seed=1)
    assert len(calls) == 2


def test_the_digit_net_learns_ten_digits_of_which_some_are_held_out(
    monkeypatch, empty_cache
):
    def train(digits, **about):
        given.append(digits)
        return SimpleNamespace(model=digit_cnn())

    given = []
    monkeypatch.setattr(module, "train_ten_digits", train)
    assert trained_digit_net()(torch.zeros(2, 1, 28, 28)).shape == (2, 10)
    expected = hold_out(mnist_full())
    for name, part in vars(expected).items():
        assert getattr(given[0], name).equal(part), name


def test_an_unwritable_cache_is_no_hindrance(trained, few, empty_cache):
    empty_cache.write_text("a file where the folder should be", encoding="utf-8")
    with pytest.warns(UserWarning, match="cannot be written"):
        rungs = both(few)
    assert [rung.name for rung in rungs] == QUICK


def test_a_new_process_finds_the_rungs(rungs):
    code = (
        "from mnist_basics.workshop import rungs; rungs.climb = 'nobody trains here'; "
        "print(*(rung.row['errors'] for rung in rungs.trained_rungs()))"
    )
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    assert list(map(int, result.stdout.split())) == [r.row["errors"] for r in rungs]


def test_random_numbers_go_on_as_if_nothing_had_been_drawn(trained, few):
    torch.manual_seed(3)
    expected = torch.rand(3)
    for _ in ("training", "loading"):
        torch.manual_seed(3)
        both(few)
        assert torch.rand(3).equal(expected)
    assert trained == QUICK


def trained_in(epochs):
    """A way to train, with the same name and another source each time."""
    namespace = {}
    code = f"""
from mnist_basics.workshop.rungs import train_on_rows
def train(model, digits, device, seed):
    return train_on_rows(model, digits, device, seed, {epochs}, 0.1)
"""
    as_a_cell(code, namespace)
    return namespace["train"]


@pytest.mark.parametrize(
    "first, second",
    [
        (
            partial(train_on_rows, epochs=1, lr=0.1),
            partial(train_on_rows, epochs=9, lr=1),
        ),
        (trained_in(1), trained_in(9)),
    ],
)
def test_a_rung_that_is_another_one_under_the_same_name_is_trained_anew(
    first, second, few, monkeypatch, empty_cache
):
    weights = []
    for train in (first, first, second, first):
        rung = Rung("mine", partial(nn.Linear, 784, 1), train, ask_rows)
        monkeypatch.setitem(RUNGS, "mine", rung)
        weights.append(trained_rung("mine", few).model.weight)
    assert weights[0].equal(weights[1]) and weights[0].equal(weights[3])
    assert not weights[0].equal(weights[2])


def test_a_rung_that_is_kept_is_not_trained_again_for_its_words(
    few, monkeypatch, empty_cache
):
    trained = []

    def train(model, digits, device, seed):
        trained.append(seed)
        return model

    for published in (0.5, 0.6):
        rung = Rung("mine", partial(nn.Linear, 784, 1), train, ask_rows, published)
        monkeypatch.setitem(RUNGS, "mine", rung)
        trained_rung("mine", few)
    assert trained == [42]


def test_a_rung_that_forgets_to_return_its_model_is_told(few, monkeypatch):
    rung = Rung("mine", partial(nn.Linear, 784, 1), lambda *given: None, ask_rows)
    monkeypatch.setitem(RUNGS, "mine", rung)
    with pytest.raises(
        ValueError, match="What train of 'mine' returns must be a .*None"
    ):
        climb("mine", few)


def test_a_rung_without_parameters_can_be_climbed(few, monkeypatch):
    def ink(model, images):
        return images.mean((1, 2)) - 0.1

    rung = Rung("ink", nn.Identity, lambda model, *given: model, ink)
    monkeypatch.setitem(RUNGS, "ink", rung)
    assert climb("ink", few).row["parameters"] == 0
