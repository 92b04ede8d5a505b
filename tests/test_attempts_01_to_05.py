"""Attempts at the exercises of 01 to 05, and words that each has to get."""

import re

import pytest
from cells import defined, flat

from mnist_basics.exercises import linear_model, pixel_similarity, pixels, sgd

SHIFT = pixels.check_shift_right
ROLL = """
def attempt(f, start, lr, momentum, steps):
    x = {start}
    velocity = torch.zeros_like(x)
    for _ in range(steps):
        place = x.clone().requires_grad_()
        f(place).backward()
        velocity = momentum * velocity + place.grad
        x = x - lr * velocity
    return x
"""
SWEEP = """
def attempt(loss_after, rates):
    losses = {}
    for rate in rates:
        losses[rate] = loss_after(rate)
        if STOP:
            del losses[rate]
            break
    return min(losses, key=losses.get)
"""
FINITE = "not math.isfinite(losses[rate]) or losses[rate]"
VALIDATION = """
def attempt(model, batches, loss_func):
    total, count = 0, 0
    with torch.no_grad():
        for xb, yb in batches:
            total = total + {loss} * {times}
            count = count + {counted}
    return {result}
"""


def sweep(stop):
    return sgd.check_sweep, SWEEP.replace("STOP", stop)


def validation(
    loss="loss_func(model(xb), yb).item()",
    times="len(xb)",
    counted="len(xb)",
    result="total / count",
):
    code = VALIDATION.format(loss=loss, times=times, counted=counted, result=result)
    return linear_model.check_validation_loss, code


def validation_by(body):
    code = f"def attempt(model, batches, loss_func):\n{body}"
    return linear_model.check_validation_loss, code


ATTEMPTS = {  # a guess or a function; "Well done!" for what is right
    "halfway, 300": (pixels.check_halfway, 300, "has room for 0 to 255"),
    "halfway, 255": (pixels.check_halfway, 255, "stop at 255"),
    "halfway, 128": (pixels.check_halfway, 128, "stop at 255"),
    "halfway, 100": (pixels.check_halfway, 100, "Your guess is too large"),
    "halfway, 21": (pixels.check_halfway, 21, "too small, by less than a tenth"),
    "blend, in a loop": (
        pixels.check_blend,
        """
def attempt(first, second):
    result = first.clone()
    for i in range(len(first)):
        result[i] = (first[i].int() + second[i].int()) // 2
    return result
""",
        "Well done!.*without a loop",
    ),
    "shift, 28 in a loop": (
        SHIFT,
        """
def attempt(image, by):
    result = torch.zeros_like(image)
    for row in range(28):
        for column in range(by, 28):
            result[row, column] = image[row, column - by]
    return result
""",
        "3 rows and 4 columns.*shape",
    ),
    "shift, 28 in a slice": (
        SHIFT,
        """
def attempt(image, by):
    result = torch.zeros(28, 28)
    result[:, by:] = image[:, : 28 - by]
    return result
""",
        "equals sign.*3 rows and 4 columns",
    ),
    "shift, all of it": (
        SHIFT,
        """
def attempt(image, by):
    result = torch.zeros_like(image)
    result[:, by:] = image
    return result
""",
        "equals sign.*equally many",
    ),
    "shift, nothing moves": (
        SHIFT,
        """
def attempt(image, by):
    result = image.clone()
    result[:, :by] = 0
    return result
""",
        "Nothing moves",
    ),
    "shift, in a loop": (
        SHIFT,
        """
def attempt(image, by):
    result = torch.zeros_like(image)
    for column in range(by, image.shape[1]):
        result[:, column] = image[:, column - by]
    return result
""",
        "Well done!.*without a loop",
    ),
    "growth, no growth": (pixel_similarity.check_growth, [1, 1, 1], "not shares"),
    "growth, L1": (pixel_similarity.check_growth, [255**2, 255**2, 255], "first of"),
    "growth, MSE": (pixel_similarity.check_growth, [255, 255, 16], "adds up squares"),
    "growth, RMSE": (pixel_similarity.check_growth, [255, 255**2, 1], "third of three"),
    "spread, std": (
        pixel_similarity.check_spread,
        "def attempt(images):\n    return images.std(0, correction=0)",
        "Well done!.*PyTorch has it",
    ),
    "forgiving distance, pushed on": (
        pixel_similarity.check_forgiving_distance,
        """
from mnist_basics.pixel_similarity import mnist_distance
def attempt(images, ideal, reach):
    best = mnist_distance(images, ideal)
    for shift in range(-reach, reach + 1):
        ideal = torch.roll(ideal, shift, dims=-1)
        best = torch.minimum(best, mnist_distance(images, ideal))
    return best
""",
        "from where the last one",
    ),
    "forgiving distance, cdist": (
        pixel_similarity.check_forgiving_distance,
        """
def attempt(images, ideal, reach):
    moved = torch.stack([ideal.roll(i, -1) for i in range(-reach, reach + 1)])
    sums = torch.cdist(images.flatten(1), moved.flatten(1), p=1)
    return sums.amin(1) / ideal.numel()
""",
        "Well done!$",
    ),
    "roll, float32": (
        sgd.check_roll,
        ROLL.format(start="start.to(torch.float32)"),
        "should be torch.float64, and it is torch.float32",
    ),
    "roll, momentum times gradient": (
        sgd.check_roll,
        ROLL.format(start="start").replace("momentum * velocity +", "velocity + 0.8 *"),
        "belongs to the old velocity",
    ),
    "roll, average": (
        sgd.check_roll,
        ROLL.format(start="start").replace("+ place", "+ (1 - momentum) * place"),
        "counts in full",
    ),
    "roll, right": (sgd.check_roll, ROLL.format(start="start"), "Well done!$"),
    "roll, SGD": (
        sgd.check_roll,
        """
def attempt(f, start, lr, momentum, steps):
    x = start.clone().requires_grad_()
    optimizer = torch.optim.SGD([x], lr, momentum)
    for _ in range(steps):
        optimizer.zero_grad()
        f(x).backward()
        optimizer.step()
    return x.detach()
""",
        "Well done!.*PyTorch's",
    ),
    "sweep, 3.5": (*sweep(f"{FINITE} > 3.5 * min(losses.values())"), "too early"),
    "sweep, 4": (*sweep(f"{FINITE} > 4 * min(losses.values())"), "Well done!$"),
    "sweep, 4 or more": (*sweep(f"{FINITE} >= 4 * min(losses.values())"), "too early"),
    "sweep, 4.5": (*sweep(f"{FINITE} > 4.5 * min(losses.values())"), "It goes on"),
    "sweep, nothing stops it": (*sweep("False"), "It goes on after more than four"),
    "sweep, 0": (
        sgd.check_sweep,
        """
def attempt(loss_after, rates):
    best, lowest = None, 0
    for rate in rates:
        loss = loss_after(rate)
        if not math.isfinite(loss) or loss > 4 * lowest:
            break
        if loss < lowest:
            best, lowest = rate, loss
    return best
""",
        "No rate was ever the best",
    ),
    "validation loss, at once": (
        *validation_by("""
    with torch.no_grad():
        return loss_func(model(batches.x), batches.y).item()
"""),
        "all images at once",
    ),
    "validation loss, joined": (
        *validation_by("""
    with torch.no_grad():
        predictions = [model(xb) for xb, _ in batches]
        targets = [yb for _, yb in batches]
        return loss_func(torch.cat(predictions), torch.cat(targets)).item()
"""),
        "Well done!$",
    ),
    "validation loss, left off": (
        *validation_by("""
    torch.set_grad_enabled(False)
    sums = [loss_func(model(xb), yb).item() * len(xb) for xb, yb in batches]
    return sum(sums) / len(batches.x)
"""),
        "switched off for good",
    ),
    "validation loss, swapped": (
        *validation("loss_func(yb, model(xb)).item()"),
        "order",
    ),
    "validation loss, by batches": (*validation(counted="1"), "too large"),
    "validation loss, not divided": (*validation(result="total"), "too large"),
    "validation loss, means": (*validation(times="1", result="total"), "too large"),
    "validation loss, numel": (*validation(times="xb.numel()"), "too large"),
    "validation loss, a tensor": (
        *validation("loss_func(model(xb), yb)"),
        "“is a float” is wrong",
    ),
    "validation loss, right": (*validation(), "Well done!$"),
    "sure, from raw outputs": (
        linear_model.check_accuracy_when_sure,
        """
def attempt(outputs, targets, sure):
    outputs = outputs.flatten()
    answered = outputs.abs() > torch.logit(torch.tensor(sure))
    return ((outputs > 0) == (targets == 1))[answered].float().mean()
""",
        "Well done!$",
    ),
    "sure, in a loop": (
        linear_model.check_accuracy_when_sure,
        """
def attempt(outputs, targets, sure):
    right = answers = 0
    for p, target in zip(outputs.sigmoid().flatten().tolist(), targets.tolist()):
        if p > sure or p < 1 - sure:
            answers += 1
            right += (p > 0.5) == (target == 1)
    return torch.tensor(right / answers)
""",
        "Well done!.*without a loop",
    ),
    "zero, everything right": (linear_model.check_from_zero, [0.5, 1.0], "second of"),
    "zero, half": (linear_model.check_from_zero, [0.5, 0.5], "tosses no coin"),
}


@pytest.mark.parametrize("check, attempt, words", ATTEMPTS.values(), ids=list(ATTEMPTS))
def test_what_an_attempt_is_told(check, attempt, words, monkeypatch):
    if isinstance(attempt, str):
        attempt = defined(f"import math, torch\n{attempt}")
        monkeypatch.setattr(check, "seconds", 600)
    verdict = flat(check.verdict(attempt))
    assert re.search(words, verdict), verdict
