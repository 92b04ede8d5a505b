"""Attempts at the exercises of 06, 07, 08 and 10, and words that each has to get."""

import re

import pytest
from cells import defined, flat

from mnist_basics.exercises import backward, convolutions, learner, two_layer_net

PATIENTLY = """
import copy, math, tempfile, torch
def attempt(learn, patience, epochs):
    lowest, waited = math.inf, 0
    for _ in range(epochs):
        learn.fit({rate})
        loss = learn.recorder.values[-1][1]
        if loss < lowest:
            lowest, waited = loss, 0
            best = {keep}
        else:
            waited += 1
        if waited == patience:
            break
    {back}
    return {result}
"""
TOP = """
import torch
def attempt(learn, n):
    preds = {asked}
    losses = [learn.loss_func(*pair) for pair in zip(preds, learn.dls.valid.y)]
    return torch.stack(losses).topk(n).indices
"""
CORNER = """
import torch
from mnist_basics.convolutions import convolve, edge_kernels
def attempt(image):
    kernel = {kernel}
    answers = convolve(image, kernel{padding})
    return divmod(answers.argmax().item(), {width}.shape[1])
"""
FOUR = "torch.tensor([[-1., -1, -1], [-1, 1, 1], [-1, 1, 1]])"
EDGES = "edge_kernels()['top'] + edge_kernels()['left']"
PICTURE = r"\n\.{5}@{5}\.\."  # two rows of the image, drawn


def patiently(keep, back, rate="1", result="lowest"):
    code = PATIENTLY.format(keep=keep, back=back, rate=rate, result=result)
    return learner.check_fit_patiently, code


def top(asked):
    return learner.check_top_losses, TOP.format(asked=asked)


def leak(result):
    code = "import torch\nimport torch.nn.functional as F\n"
    code += f"def attempt(x, slope):\n    return {result}\n"
    return two_layer_net.check_leaky_relu, code


def corner(kernel=FOUR, padding="", width="answers"):
    code = CORNER.format(kernel=kernel, padding=padding, width=width)
    return convolutions.check_find_corner, code


COPIED = "copy.deepcopy(learn)", "learn.model.load_state_dict(best.model.state_dict())"
STATE = "copy.deepcopy(learn.model.state_dict())", "learn.model.load_state_dict(best)"
PARAMETERS = (
    "[p.detach().clone() for p in learn.model.parameters()]",
    "[p.data.copy_(b) for p, b in zip(learn.model.parameters(), best)]",
)
SAVED = "learn.save(tempfile.gettempdir() + '/best.pt')"
ROWS, AWAKE = convolutions.check_rows_left, two_layer_net.check_awake
ATTEMPTS = {  # a guess or a function; "Well done!" for what is right
    "a copy of the Learner": (*patiently(*COPIED), "Well done!"),
    "its copy asked for the loss": (
        *patiently(*COPIED, result="best.validate()[0]"),
        "Well done!",
    ),
    "everything of the copy": (
        *patiently(COPIED[0], "learn.__dict__.update(best.__dict__)"),
        "Well done!",
    ),
    "validated at the end": (
        *patiently(*STATE, result="learn.validate()[0]"),
        "Well done!",
    ),
    "its rate named": (*patiently(*STATE, "1, learn.lr"), "Well done!"),
    "a rate of its own": (*patiently(*STATE, "1, 0.0625"), "“learning rates” is wrong"),
    "parameters only": (*patiently(*PARAMETERS), "“buffers of epoch” is wrong"),
    "best = learn.save": (*patiently(SAVED, "learn.load(best)"), "learn.save, say"),
    "in training mode": (
        *top("learn.model(learn.dls.valid.x)"),
        "The lesson says, under .To validate.*evaluation mode",
    ),
    "predicted": (*top("learn.predict(learn.dls.valid.x)"), "Well done!"),
    "awake, 784": (AWAKE, 784, "too large, by more than a factor of ten"),
    "awake, 2": (AWAKE, 2, "too large, by less than a factor of two"),
    "a minus forgotten": (
        *leak("F.relu(x) - slope * F.relu(x)"),
        "a minus is missing",
    ),
    "two minuses forgotten": (
        *leak("F.relu(x) + slope * F.relu(x)"),
        "a minus is missing",
    ),
    "left half detached": (
        *leak("torch.where(x > 0, x, (slope * x).detach())"),
        "not all of the gradient comes through",
    ),
    "all detached": (
        *leak("torch.where(x > 0, x, slope * x).detach()"),
        "not all of the gradient comes through",
    ),
    "PyTorch's leaky ReLU": (*leak("F.leaky_relu(x, slope)"), "Well done!.*PyTorch's"),
    "rows, 26": (ROWS, [26, 13, 6], "The first convolution, too, moves"),
    "rows, the third": (ROWS, [13, 6, 3], "The third of three is too large"),
    "no padding": (*corner(), f"The padding was forgotten(.|\n)*{PICTURE}"),
    "no padding, wider": (*corner(width="image"), "Without padding"),
    "edges, no padding": (*corner(EDGES), "was the padding forgotten"),
    "edges": (*corner("edge_kernels()['top']", ", padding=1"), "corner"),
    "corner": (*corner(padding=", padding=1"), "Well done!"),
    "skip by autograd": (
        backward.check_skip_gradients,
        """
import torch
def attempt(xb, weights, bias, grad):
    leaves = [t.clone().requires_grad_() for t in (xb, weights, bias)]
    (leaves[0] + (leaves[0] @ leaves[1] + leaves[2]).relu()).backward(grad)
    return tuple(leaf.grad for leaf in leaves)
""",
        "Well done!.*PyTorch went back",
    ),
}


@pytest.mark.parametrize("check, attempt, words", ATTEMPTS.values(), ids=ATTEMPTS)
def test_an_attempt_is_told_what_it_needs(check, attempt, words):
    if isinstance(attempt, str):
        check.seconds = 600  # a test is not in a hurry
        attempt = defined(attempt)
    verdict = check.verdict(attempt)
    assert re.search(words, verdict if "\n" in words else flat(verdict)), verdict
