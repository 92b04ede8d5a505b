"""The table while training: in a log file, in a terminal, in Jupyter."""

import copy
import functools
import io
import subprocess
import sys
from types import SimpleNamespace

import pytest
from small_nets import small

from mnist_basics.learner import Callback, DataLoaders, Learner
from mnist_basics.linear_model import batch_accuracy
from mnist_basics.workshop import progress


def test_a_log_file_gets_plain_lines():
    code = """
import torch
from mnist_basics.learner import *
from mnist_basics.linear_model import *
x = torch.randn(500, 5); y = (x[:, :1] > 0).float()
batches = Batches(x, y, 50, device="cpu")
dls = DataLoaders(batches, batches)
Learner(dls, torch.nn.Linear(5, 1), metrics=batch_accuracy).fit(3, lr=1.)
"""
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True
    )
    lines = result.stdout.splitlines()
    assert lines[0].split() == [
        "epoch",
        "train_loss",
        "valid_loss",
        "batch_accuracy",
        "time",
    ]
    assert [line.split()[0] for line in lines[1:]] == ["0", "1", "2"] and len(
        {len(line) for line in lines}
    ) == 1
    assert result.stderr == "" and result.stdout.replace("\n", "").isprintable()


def test_a_terminal_gets_a_bar_that_goes_away(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    dls, model = small()
    Learner(dls, model).fit(2, lr=0.1)
    assert (
        "/32" in terminal.getvalue()
        and "100%" not in terminal.getvalue().splitlines()[-1].rsplit("\r", 1)[-1]
    )


def test_a_learner_can_be_copied_after_a_bar(monkeypatch, tmp_path):
    class Terminal(io.TextIOWrapper):
        def isatty(self):
            return True

    with open(tmp_path / "terminal", "wb") as file:
        monkeypatch.setattr(sys, "stderr", Terminal(file, encoding="utf-8"))
        learn = Learner(*small())
        learn.fit(1, lr=0.1)
        copy.deepcopy(learn).fit(1, lr=0.1)


def test_jupyter_gets_one_table_that_grows(monkeypatch):
    shown = []

    class Handle:
        def update(self, page):
            shown.append(page.data)

    def display(page, display_id):
        shown.append(page.data)
        return Handle()

    monkeypatch.setattr(progress, "_in_jupyter", lambda: True)
    monkeypatch.setattr("IPython.display.display", display)
    dls, model = small()
    Learner(
        dls, model, metrics=[functools.partial(batch_accuracy), batch_accuracy]
    ).fit(2, lr=0.1)
    assert "<progress" in shown[0] and "<progress" not in shown[-1]
    assert (
        shown[-1].count("<tr>") == 3 and shown[-1].count("<th>batch_accuracy</th>") == 2
    )


def test_a_source_of_unknown_length_is_shown_too(monkeypatch, capsys):
    class Source:
        def __iter__(self):
            return iter(dls.train)

    dls, model = small()
    for jupyter in (False, True):
        monkeypatch.setattr(progress, "_in_jupyter", lambda: jupyter)
        learn = Learner(DataLoaders(Source(), dls.valid), model)
        learn.fit(2, lr=0.1)
        assert len(learn.recorder.values) == 2


def test_the_table_is_closed_when_it_could_not_begin(capsys):
    class Stumbles(Callback):
        def before_fit(self, learn):
            raise RuntimeError("I cannot begin.")

    learn = Learner(*small(), cbs=[Stumbles()])
    with pytest.raises(RuntimeError, match="cannot begin") as raised:
        learn.fit(1)
    assert not hasattr(raised.value, "__notes__"), "the table heard of an end, too"


def test_a_bar_alone_is_in_a_terminal_and_goes_away(monkeypatch, capsys):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    bar = progress.Bar(3)
    bar.close()
    assert terminal.getvalue() == "", "there was nothing to say"
    bar.show("kneading", 0)
    bar.show("baking", 2)
    bar.close()
    written = terminal.getvalue()
    assert "kneading" in written and "baking: " in written and "2/3" in written
    assert written.endswith("\r") and written.split("\r")[-2].strip() == ""
    assert capsys.readouterr().out == ""


def test_a_bar_alone_is_silent_in_a_log(capsys, monkeypatch):
    for stream in (sys.stderr, None):  # None: pythonw has no stderr
        monkeypatch.setattr(sys, "stderr", stream)
        bar = progress.Bar(3)
        bar.show("baking", 2)
        bar.close()
    assert capsys.readouterr() == ("", "")


def test_a_bar_alone_is_emptied_in_jupyter_where_it_was_shown(monkeypatch):
    pages = {}

    def display(page, raw, display_id):
        pages["bar"] = page
        return SimpleNamespace(update=lambda page, raw: pages.update(bar=page))

    monkeypatch.setattr(progress, "_in_jupyter", lambda: True)
    monkeypatch.setattr("IPython.display.display", display)
    bar = progress.Bar(1)
    bar.close()
    assert pages == {}
    bar.show("<b>aking")
    assert "&lt;b&gt;aking <progress ></progress>" in pages["bar"]["text/html"]
    bar.close()
    assert pages == {"bar": {"text/html": "", "text/plain": ""}}
