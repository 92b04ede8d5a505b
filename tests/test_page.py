"""The page without Python: what goes into the file, and the command that writes it.

That a browser calculates the same is tested in test_browser_page.py."""

import base64
import errno
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from typer.testing import CliRunner

from mnist_basics.playground import Neighbours
from mnist_basics.ten_digits import digit_cnn
from mnist_basics.workshop import command, page
from mnist_basics.workshop.page import (
    SMALL,
    as_bytes,
    convolution,
    fold,
    layers_of,
    on_page,
    packed,
    page_html,
)
from mnist_basics.workshop.rungs import trained_digit_net

WEB = Path(page.__file__).parents[1] / "web"
QUICK = ["page", "--rung", "pixel similarity"]


@pytest.fixture(scope="module")
def digit_net():
    return trained_digit_net()


@pytest.fixture(scope="module")
def html(rungs, digit_net, digits):
    small = [rung for rung in rungs if rung.name in SMALL]
    return page_html(small, digit_net, digits)


def run_conv2d(layer, x):
    """As conv2d in forward.js: it begins at the padding, and makes `side` × `side`."""
    before, after = layer["padding"], layer["side"]
    reach = (after - 1) * layer["stride"] + layer["kernel"]
    behind = reach - before - x.shape[-1]  # below 0: rows that no kernel reaches
    x = F.pad(x, [before, behind, before, behind])
    return F.conv2d(x, layer["weight"], layer["bias"], layer["stride"])


def run(layers, x):
    """What the layers make of images `[N,1,28,28]` or of what another layer gave."""
    for layer in layers:
        if layer["kind"] == "similarity":
            d3, d7 = ((x - layer[m]).abs().mean((2, 3)) for m in ("mean3", "mean7"))
            x = layer["scale"] * (d7 - d3)
        elif layer["kind"] == "linear":
            x = F.linear(x.flatten(1), layer["weight"], layer["bias"])
        elif layer["kind"] == "relu":
            x = x.relu()
        elif layer["kind"] == "conv2d":
            x = run_conv2d(layer, x)
        elif layer["kind"] == "maxPool":
            x = F.max_pool2d(x, layer["kernel"], layer["stride"], layer["padding"])
        elif layer["kind"] == "residual":
            x = (run(layer["body"], x) + run(layer["shortcut"], x)).relu()
        else:
            assert layer["kind"] == "meanPool"
            x = x.mean((2, 3))
    return x


def logits(layers, images):
    return run(layers, images[:, None]).flatten(1)


def log_odds(layers, images):
    says = logits(layers, images)
    return says[:, 0] - says[:, 1] if says.shape[1] == 2 else says[:, 0]


# A net as a list of layers


@pytest.mark.parametrize("number", range(5))
def test_the_layers_of_a_rung_give_its_log_odds(number, rungs, digits):
    x = digits.valid_x[::20] / 255
    ours = log_odds(layers_of(rungs[number].model), x)
    torch.testing.assert_close(ours, rungs[number].log_odds(x), atol=2e-5, rtol=2e-5)


def test_batch_normalisation_is_folded_into_the_weights(digit_net, digits):
    layers, x = layers_of(digit_net), digits.valid_x[::20] / 255
    assert [layer["kind"] for layer in layers] == [*["conv2d", "relu"] * 4, "conv2d"]
    expected = digit_net(x[:, None])
    torch.testing.assert_close(logits(layers, x), expected, atol=1e-5, rtol=1e-6)


def test_a_convolution_with_a_bias_is_folded_too():
    conv, norm = nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4).eval()
    for numbers in (norm.running_mean, norm.weight.data, norm.bias.data):
        numbers.normal_()
    norm.running_var.uniform_(0.1, 2)
    x = torch.randn(5, 2, 9, 9)
    ours = F.conv2d(x.double(), *fold(conv, norm))
    torch.testing.assert_close(ours.float(), norm(conv(x)), atol=1e-5, rtol=1e-5)


SIZES = [
    (side, kernel, padding, stride)
    for side in (1, 2, 3, 4, 7)
    for kernel, padding in ((1, 0), (3, 0), (3, 1), (5, 2), (7, 3))
    for stride in (1, 2, 3)
    if side + 2 * padding >= kernel
]


@pytest.mark.parametrize("side, kernel, padding, stride", SIZES)
def test_what_only_meets_padding_is_cut_off(side, kernel, padding, stride):
    conv = nn.Conv2d(2, 3, kernel, stride, padding).requires_grad_(False)
    x, layer = torch.randn(4, 2, side, side), convolution(conv, None, side)
    torch.testing.assert_close(run_conv2d(layer, x), conv(x), atol=1e-5, rtol=1e-5)
    one = torch.ones(1, 1, layer["kernel"], layer["kernel"], requires_grad=True)
    layer |= {"weight": one, "bias": torch.zeros(1)}
    run_conv2d(layer, torch.ones(1, 1, side, side)).sum().backward()
    assert one.grad[0, 0, [0, -1]].any(1).all(), "a row that sees no pixel"


@pytest.mark.parametrize(
    "model",
    [
        nn.Sequential(nn.Linear(784, 2), nn.Sigmoid()),
        nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.BatchNorm2d(8)),
        nn.Sequential(nn.BatchNorm2d(1), nn.Conv2d(1, 8, 3)),
    ],
)
def test_a_layer_that_forward_js_does_not_know_is_named(model):
    with pytest.raises(ValueError, match=r"in forward.js for (Sigmoid|BatchNorm2d)\("):
        layers_of(model.eval())


# The file


def models_in(html):
    """What a browser finds in the page, its texts as tensors again."""
    [text] = re.findall(r'<script type="application/json" id="models">(.*?)<', html)
    kinds = {"float32", "float16", "uint8"}

    def tensor(found):
        [(kind, content)] = found.items() if len(found) == 1 else [(None, None)]
        if kind not in kinds:
            return found
        numbers = np.frombuffer(base64.b64decode(content), kind)
        return torch.from_numpy(numbers.copy())

    return json.loads(text, object_hook=tensor)


def shaped(layers):
    """The weights arrive flat; their shape follows from the layers."""
    for layer in layers:
        if layer["kind"] == "conv2d":
            k = layer["kernel"]
            layer["weight"] = layer["weight"].view(len(layer["bias"]), -1, k, k)
        elif layer["kind"] == "linear":
            layer["weight"] = layer["weight"].view(len(layer["bias"]), -1)
        elif layer["kind"] == "similarity":
            layer |= {m: layer[m].view(28, 28) for m in ("mean3", "mean7")}
    return layers


def test_the_numbers_in_the_page_are_those_of_the_rungs(html, rungs, digit_net, digits):
    models, x = models_in(html), digits.valid_x[::50] / 255
    assert [rung["name"] for rung in models["rungs"]] == SMALL
    for found, rung in zip(models["rungs"], rungs):
        ours = log_odds(shaped(found["layers"]), x)
        torch.testing.assert_close(ours, rung.log_odds(x), atol=2e-5, rtol=2e-5)
    ours = logits(shaped(models["digits"]), x)
    torch.testing.assert_close(ours, digit_net(x[:, None]), atol=1e-5, rtol=1e-5)


def test_the_page_is_one_file_of_at_most_a_megabyte_and_a_half(html):
    assert len(html.encode()) <= 1_500_000
    assert html.count("</script>") == 2 and html.count("</style>") == 1
    addresses = set(re.findall(r"\bhttps?:[^\"' ]*", html))
    assert addresses <= {"http://www.w3.org/2000/svg"}  # a name, which nobody fetches
    assert re.findall(r"\b(?:src|href)=\S+", html) == ['href="data:,">']


def test_only_the_resnet18_brings_its_own_layers_in_16_bits(html, rungs):
    assert "LAYERS.maxPool" not in html and "float16" not in html
    whole = page_html(rungs[-1:], digit_cnn().eval(), few_digits())
    [resnet] = models_in(whole)["rungs"]
    assert "LAYERS.maxPool" in whole
    assert resnet["layers"][0]["weight"].dtype == torch.float16
    assert resnet["layers"][0]["bias"].dtype == torch.float32
    assert len(whole.encode()) < 12_000_000


def few_digits():
    from mnist_basics.data import Digits

    x = torch.randint(256, (40, 28, 28), dtype=torch.uint8)
    return Digits(x, torch.tensor([3, 7] * 20), x, torch.tensor([3, 7] * 20))


def test_the_forward_passes_are_short():
    lines = (WEB / "forward.js").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 150 and max(map(len, lines)) <= 120


def test_a_text_in_the_page_cannot_end_the_script(rungs, digit_net, digits):
    rung = rungs[0]._replace(rung=rungs[0].rung._replace(name="</script><b>"))
    html = page_html([rung], digit_net, digits)
    assert html.count("</script>") == 2
    [found] = models_in(html.replace(r"\u003c", "\\u003c"))["rungs"]
    assert found["name"] == "</script><b>"


def test_numbers_as_text_lose_nothing():
    for dtype in (torch.float32, torch.float16, torch.uint8):
        numbers = (100 * torch.rand(5, 7)).to(dtype).T  # not in the order of memory
        [(kind, text)] = packed(numbers).items()
        found = np.frombuffer(base64.b64decode(text), kind).reshape(7, 5)
        assert (found == numbers.numpy()).all()


def test_bytes_give_the_verdicts_of_the_training_images(digits):
    """On the validation images, and on those shifted, which are less like them."""
    neighbours = Neighbours(digits)
    sent = as_bytes(neighbours)
    assert sent.dtype == torch.uint8 and (sent.amax(1) == 255).all()
    x = digits.valid_x[::4] / 255
    x = torch.cat([x, x.roll(3, 2), x.roll(2, 1).flip(1)])
    exact, _ = neighbours.nearest(x)
    neighbours.seen = F.normalize(sent.float())
    about, _ = neighbours.nearest(x)
    torch.testing.assert_close(about, exact, atol=1e-3, rtol=0)
    differ = (exact < neighbours.least) != (about < neighbours.least)
    assert 100 < (exact < neighbours.least).sum() and differ.sum() <= 1


def test_the_rungs_of_a_page_stand_as_on_the_ladder():
    assert on_page() == SMALL and on_page(resnet18=True) == [*SMALL, "ResNet18"]
    assert on_page(["small CNN", "linear model", "small CNN"]) == SMALL[1::2]
    assert on_page(["linear model"], resnet18=True) == ["linear model", "ResNet18"]
    assert on_page(["ResNet18"]) == ["ResNet18"]


# The command


def invoke(*arguments):
    return CliRunner().invoke(command.app, [*arguments], prog_name="mnist-basics")


def ends_with_a_sentence(result):
    assert result.exit_code == 1 and isinstance(result.exception, SystemExit)
    [says] = result.stderr.splitlines()
    assert says.startswith("mnist-basics: ") and result.stdout == ""
    return says


@pytest.fixture
def at_once(monkeypatch):
    """A net for ten digits that took no time."""
    net = digit_cnn().eval()
    monkeypatch.setattr("mnist_basics.workshop.rungs.trained_digit_net", lambda: net)


@pytest.fixture
def no_training(monkeypatch):
    def train(*arguments):
        pytest.fail("trained before it looked where the file goes")

    monkeypatch.setattr("mnist_basics.workshop.rungs.trained_rungs", train)


def test_it_writes_the_page_and_says_how_large_it_is(at_once, tmp_path, rungs):
    out = tmp_path / "draw.html"
    result = invoke(*QUICK, "--rung", "linear model", "--out", str(out))
    assert result.exit_code == 0 and result.stderr == ""
    assert result.stdout.startswith(f"{out}: {out.stat().st_size / 1e6:.1f} MB. ")
    found = models_in(out.read_text(encoding="utf-8"))["rungs"]
    assert [rung["name"] for rung in found] == ["pixel similarity", "linear model"]
    assert [*tmp_path.iterdir()] == [out]


def test_resnet18_is_added_when_asked_for(at_once, tmp_path, rungs):
    out = tmp_path / "draw.html"
    assert invoke(*QUICK, "--resnet18", "--out", str(out)).exit_code == 0
    found = models_in(out.read_text(encoding="utf-8"))["rungs"]
    assert [rung["name"] for rung in found] == ["pixel similarity", "ResNet18"]


PLACES = {  # what is asked for, and what is said
    "a folder": ("folder", "folder cannot be written .it is a folder"),
    "a missing folder": ("new/x.html", "x.html cannot be written .No such file"),
    "below a file": ("file/x.html", "x.html cannot be written .Not a directory"),
    "a device": ("/dev/null", "null cannot be written .it is a device"),
    "nobody's home": ("~nobodyhere/x", "~nobodyhere/x cannot be .* home directory."),
    "too long a name": ("o" * 300, "ooo cannot be written .*name too long"),
    "no name": ("", "cannot be written .it is a folder"),
}


@pytest.mark.parametrize("place", PLACES)
def test_a_place_that_cannot_be_written_is_noticed_before(
    place, tmp_path, no_training, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    before = sorted(tmp_path.rglob("*"))
    out, expected = PLACES[place]
    says = ends_with_a_sentence(invoke("page", f"--out={out}"))
    assert re.search(expected, says) and says.endswith("--out, such as draw.html.")
    assert sorted(tmp_path.rglob("*")) == before


def test_a_place_without_permission_is_noticed_before(
    tmp_path, no_training, monkeypatch
):
    def refuse(*arguments, **options):  # root may write anywhere
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    says = ends_with_a_sentence(invoke("page", f"--out={tmp_path / 'x.html'}"))
    assert "x.html cannot be written (Permission denied)." in says


def test_an_old_page_stays_until_there_is_a_new_one(
    at_once, tmp_path, monkeypatch, rungs
):
    out = tmp_path / "draw.html"
    out.write_text("old", encoding="utf-8")

    def full(*arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        says = ends_with_a_sentence(invoke(*QUICK, "--out", str(out)))
    assert "draw.html cannot be written (No space left on device)." in says
    assert out.read_text(encoding="utf-8") == "old" and [*tmp_path.iterdir()] == [out]
    assert invoke(*QUICK, "--out", str(out)).exit_code == 0
    assert out.read_text(encoding="utf-8").startswith("<!doctype html>")


def test_a_link_leads_to_the_page(at_once, tmp_path, rungs):
    (tmp_path / "draw.html").symlink_to("page.html")
    assert invoke(*QUICK, "--out", str(tmp_path / "draw.html")).exit_code == 0
    assert (tmp_path / "draw.html").is_symlink() and (tmp_path / "page.html").is_file()


@pytest.mark.parametrize(
    "arguments", [[], ["--rung", "top"], ["--rung"], ["--device", "cpu"]]
)
def test_wrong_use_ends_with_2(arguments, no_training, tmp_path):
    out = ["--out", str(tmp_path / "x.html")] if arguments else []
    result = invoke("page", *arguments, *out)
    assert result.exit_code == 2 and isinstance(result.exception, SystemExit)
    assert not any(tmp_path.iterdir())


def test_a_rung_that_does_not_exist_is_named(tmp_path):
    result = invoke("page", "--rung", "top", "--out", str(tmp_path / "x.html"))
    assert "There is no rung 'top'; there are 'pixel similarity', " in result.stderr


def test_what_is_not_kept_is_trained_and_kept(at_once, tmp_path, empty_cache):
    assert invoke(*QUICK, "--out", str(tmp_path / "x.html")).exit_code == 0
    assert [file.name[:12] for file in empty_cache.iterdir()] == ["rung-pixel_s"]


def test_a_cache_that_cannot_be_written_is_one_sentence(at_once, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    monkeypatch.setenv("MNIST_BASICS_CACHE", str(tmp_path / "file" / "cache"))
    result = invoke(*QUICK, "--out", str(tmp_path / "x.html"))
    [says] = result.stderr.splitlines()
    assert result.exit_code == 0 and (tmp_path / "x.html").is_file()
    assert re.fullmatch(r"mnist-basics: The cache folder .*, nothing is kept\.", says)


def test_the_page_asks_for_all_that_it_imports():
    program = (
        "import sys, tqdm, mnist_basics.workshop.page, mnist_basics.workshop.command;"
        "c = mnist_basics.workshop.command;"
        "names = {c.IMPORTED.get(name, name): name for name in c.LIBRARIES};"
        "print(*[name for module, name in names.items() if module in sys.modules])"
    )
    line = [sys.executable, "-c", program]
    result = subprocess.run(line, check=True, capture_output=True, encoding="utf-8")
    assert set(result.stdout.split()) - {"typer"} == set(command.NEEDED)
