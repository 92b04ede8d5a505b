"""Attempts at the exercises of 09 and 11 to 14, and what must be said of each."""

import pytest
import torch
from cells import as_a_cell, flat

from mnist_basics.exercises.optimizers import (
    check_clip,
    check_corrected_means,
    check_decayed_step,
    check_look_ahead,
    check_swing,
)
from mnist_basics.exercises.resnet18 import check_batch_norm, check_bottleneck
from mnist_basics.exercises.speed import (
    check_median_times,
    check_three_clocks,
    check_train_all,
)
from mnist_basics.exercises.ten_digits import (
    check_chosen_rate,
    check_smooth_cross_entropy,
    check_top_accuracy,
)
from mnist_basics.exercises.transfer import (
    check_head_only,
    check_nearest_kind,
    check_running_mean,
)

HEADS = {
    check_look_ahead: "place, gradient, velocity, lr, momentum",
    check_clip: "params, most",
    check_corrected_means: "numbers, beta",
    check_decayed_step: "weights, mean, square, lr, decay",
    check_batch_norm: "x, running_mean, running_variance, training",
    check_bottleneck: "n_in, n_few, stride",
    check_top_accuracy: "outputs, targets, k",
    check_smooth_cross_entropy: "logits, targets, smoothing",
    check_chosen_rate: "wrong, held",
    check_head_only: "model",
    check_nearest_kind: "x, y, new",
    check_median_times: "works, clock, wait, repeat",
    check_train_all: "model, loss_func, opt, batches",
}
TIMED = """
    import statistics
    times = [[] for _ in works]
    for work in works: work()
    wait()
    for _ in range(repeat):
        for i, work in enumerate(works):
            start = clock()
            work(); wait()
            times[i].append(clock() - start)
    return [statistics.median(t) for t in times]
"""
TRAINED = """
    losses = []
    for x, y in batches:
        opt.zero_grad()
        loss = loss_func(model(x), y)
        loss.backward()
        opt.step()
        losses.append(loss.detach())
    return torch.stack(losses)
"""
FROZEN = """
    for p in model[0].parameters(): p.requires_grad = False
    for p in model[1].parameters(): p.requires_grad = True
    model[0].eval()
    model.train()
    return model
"""
READY = """
    model.requires_grad_(True)
    model.train()
    model[0].requires_grad_(False).eval()
    return model
"""
NEAREST = """
    kinds = y.unique()
    means = torch.stack([x[y == k].mean(0) for k in kinds])
    away = ((new[:, None] - means) ** 2).sum(2)
    return torch.as_tensor(kinds)[away.argmin(1)]
"""
LAZY = """
    nn, n_out = torch.nn, 4 * n_few
    path = nn.Sequential(
        nn.LazyConv2d(n_few, 1, bias=False), nn.LazyBatchNorm2d(), nn.ReLU(),
        nn.LazyConv2d(n_few, 3, stride, 1, bias=False), nn.LazyBatchNorm2d(), nn.ReLU(),
        nn.LazyConv2d(n_out, 1, bias=False), nn.LazyBatchNorm2d())
    if stride == 1 and n_in == n_out:
        return path, nn.Identity()
    return path, nn.Sequential(
        nn.LazyConv2d(n_out, 1, stride, bias=False), nn.LazyBatchNorm2d())
"""
LEASH = """
    grads = [p.grad for p in params if p.grad is not None]
    n = torch.stack([(g**2).sum() for g in grads]).sum().sqrt()
    f = min(1, most / n)
    for p in params:
        if p.grad is not None: p.grad *= f
    return n
"""
SMOOTH = """
    x, n_out = logits, logits.shape[1]
    right = torch.nn.functional.one_hot(targets, n_out)
    even = smoothing / n_out
    wanted = (1 - smoothing) * right + even
    return -(wanted * x.log_softmax(1)).sum(1).mean()
"""
CHOSEN = """
    errors = wrong[:, held].sum(1).tolist()
    best = errors.index(min(errors))
    exam = wrong[best, ~held]
    rate, n = exam.float().mean(), len(exam)
    margin = 1.96 * (rate * (1 - rate) / n).sqrt()
    return rate, margin
"""
ATTEMPTS = [
    (
        check_bottleneck,
        "return 3",
        "What should come back: tuple[nn.Module, nn.Module], the path and the shortcut",
    ),
    (check_bottleneck, LAZY, "Well done!"),
    (
        check_bottleneck,
        LAZY.replace("stride, 1, bias=False", "stride, 1"),
        "have its convolutions a bias?",
    ),
    (
        check_batch_norm,
        "mean, variance = running_mean, running_variance\n"
        "    return (x - mean) / variance, mean, variance",
        "Broadcasting compares shapes from the right",
    ),
    (
        check_look_ahead,
        "velocity = momentum * velocity - lr * gradient\n"
        "    return place + momentum * velocity - lr * gradient, velocity",
        "The velocity has the rate and the minus in it.",
    ),
    (
        check_look_ahead,
        "v = momentum * velocity + gradient\n    return place - lr * v, v",
        "That is the momentum that you know",
    ),
    (
        check_look_ahead,  # two things are wrong: of the velocity it is told first
        "v = momentum * velocity + gradient\n    return place - lr * v, velocity",
        "The velocity that comes back is the old one.",
    ),
    (
        check_look_ahead,
        "return place - lr * (gradient + momentum * velocity),"
        " momentum * velocity + gradient",
        "That is the momentum that you know",
    ),
    (
        check_look_ahead,
        "velocity *= momentum\n    velocity += gradient\n"
        "    return place - lr * (gradient + momentum * velocity), velocity",
        "Work on a copy.",
    ),
    (
        check_clip,
        "return torch.nn.utils.clip_grad_norm_(params, most)",
        "Well done! It is PyTorch's own.",
    ),
    (
        check_corrected_means,
        "mean, found = 0, []\n    for i, number in enumerate(numbers):\n"
        "        mean = beta * mean + (1 - beta) * number\n"
        "        found.append(mean / (1 - beta ** (i + 1)))\n    return found",
        "The values are right. The result should be of the kind Tensor",
    ),
    (
        check_decayed_step,
        "gradient = mean + decay * weights\n"
        "    return weights - lr * gradient / square.sqrt()",
        "That is L2 regularisation",
    ),
    (
        check_top_accuracy,
        "best = outputs.topk(k, 1).indices\n"
        "    return (best == targets[:, None]).any(1).float().mean().item()",
        "The value is right. The result should be of the kind Tensor",
    ),
    (
        check_top_accuracy,
        "right = [t in row.topk(k).indices for row, t in zip(outputs, targets)]\n"
        "    return torch.tensor(right).float().mean()",
        "Well done! Now without a loop",
    ),
    (
        check_smooth_cross_entropy,
        "return torch.nn.functional.cross_entropy("
        "logits, targets, label_smoothing=smoothing).item()",
        "The value is right.",
    ),
    (
        check_chosen_rate,
        "rates = wrong.float().mean(1)\n    rate = rates[rates.argmin()]\n"
        "    return rate, 1.96 * (rate * (1 - rate) / len(held)).sqrt()",
        "“the rate” is wrong.",
    ),
    (
        check_chosen_rate,
        "best = wrong[:, held].float().mean(1).argmin()\n"
        "    rate = wrong[best][~held].float().mean()\n"
        "    return rate, 1.96 * (rate * (1 - rate) / held.sum()).sqrt()",
        "n is the number of images in the exam",
    ),
    (
        check_look_ahead,
        "v = momentum * velocity + gradient\n"
        "    return v, place - lr * (gradient + momentum * v)",
        "in another order than this: the next place, the next velocity.",
    ),
    (
        check_look_ahead,
        "v = momentum * velocity + lr * gradient\n"
        "    return place - (lr * gradient + momentum * v), v",
        "The rate belongs to the step only.",
    ),
    (
        check_clip,  # a tensor that is short by itself is left alone
        LEASH.replace("p.grad *=", "p.grad *= 1 if p.grad.norm() < most else"),
        "A tensor that is short by itself has been left alone.",
    ),
    (
        check_clip,
        LEASH.replace("p.grad *= f", "p.grad.clamp_(-most, most)"),
        "One factor for all numbers.",
    ),
    (
        check_clip,
        LEASH.replace("p.grad *= f", "p.grad = p.grad * f"),
        "Change the parameter's in place.",
    ),
    (check_clip, LEASH.replace("p.grad *= f", "pass"), "are as long as before."),
    (
        check_clip,
        LEASH.replace("return", "for p in params: p.data.zero_()\n    return"),
        "“weights” is wrong.",
    ),
    (
        check_clip,
        "n = 0\n    for p in params:\n        if p.grad is None: continue\n"
        "        n = p.grad.norm()\n        if n > most: p.grad *= most / n\n"
        "    return n",
        "“length of all” is wrong.",
    ),
    (check_clip, LEASH.replace("return n", "return n**2"), "“length of all” is"),
    (check_clip, LEASH.replace("return n", "return n.item()"), "The value is right."),
    (
        check_corrected_means,
        "mean, found = 0, []\n    for i, number in enumerate(numbers.tolist()):\n"
        "        mean = beta * mean + (1 - beta) * number\n"
        "        found.append(mean / (1 - beta ** (i + 1)))\n"
        "    return torch.tensor(found)",
        "Well done!",
    ),
    (
        check_corrected_means,
        "mean, found = numbers[0], []\n    for number in numbers:\n"
        "        mean = beta * mean + (1 - beta) * number\n"
        "        found.append(mean)\n    return torch.stack(found)",
        "the first number counts too much",
    ),
    (
        check_decayed_step,
        "return weights * (1 - lr * decay) + lr * mean / square.sqrt()",
        "The step goes uphill, along the gradient.",
    ),
    (
        check_decayed_step,
        "return weights * (1 - lr * decay) - lr * mean / square",
        "The root is missing.",
    ),
    (
        check_decayed_step,
        "return weights * (1 - lr * decay) - mean / square.sqrt()",
        "The rate is missing from Adam's step.",
    ),
    (
        check_top_accuracy,  # two images, two guesses: broadcasting had lined them up
        "return (outputs.topk(k, 1).indices == targets).float().mean()",
        "A table [N, k] of guesses stands against a row [N].",
    ),
    (
        check_top_accuracy,
        "right = outputs.gather(1, targets[:, None])\n"
        "    return ((outputs > right).sum(1) <= k).float().mean()",
        "That is one guess too many.",
    ),
    (
        check_top_accuracy,
        "best = outputs.topk(k, 1).indices\n"
        "    return (best == targets[:, None]).any(1).mean()",
        "Trues and whole numbers have no mean here",
    ),
    (
        check_smooth_cross_entropy,
        SMOOTH.replace("+ even", "+ even * (1 - right)"),
        "The right position should get its part of the share",
    ),
    (
        check_smooth_cross_entropy,
        SMOOTH.replace("+ even", ""),
        "The share is taken away, but nobody gets it.",
    ),
    (
        check_smooth_cross_entropy,
        SMOOTH.replace(".sum(1).mean()", ".sum()"),
        "It should be the sum over the outputs",
    ),
    (
        check_smooth_cross_entropy,
        SMOOTH.replace(".sum(1).mean()", ".mean(1).sum()"),
        "It should be the sum over the outputs",
    ),
    (
        check_smooth_cross_entropy,
        SMOOTH.replace("log_softmax(1)", "softmax(1).clamp(1e-9).log()"),
        "a floor under it hides the loss",
    ),
    (
        check_smooth_cross_entropy,
        SMOOTH.replace("log_softmax(1)", "softmax(1)"),
        "The loss should be above 0",
    ),
    (check_smooth_cross_entropy, SMOOTH, "Well done!"),
    (
        check_smooth_cross_entropy,
        "cross_entropy = torch.nn.functional.cross_entropy\n"
        "    return cross_entropy(logits, targets, label_smoothing=smoothing)",
        "Well done! It is PyTorch's own.",
    ),
    (check_chosen_rate, CHOSEN, "Well done!"),
    (
        check_chosen_rate,
        CHOSEN.replace(
            "errors.index(min(errors))", "(errors[::-1].index(min(errors)))"
        ).replace("best = ", "best = len(errors) - 1 - "),
        "Of equals, the first is asked for.",
    ),
    (
        check_chosen_rate,
        CHOSEN.replace("/ n", "/ len(held)"),
        "n is the number of images in the exam",
    ),
    (
        check_chosen_rate,
        CHOSEN.replace("/ n", "/ (n - 1)"),
        "n is the number of images in the exam",
    ),
    (
        check_chosen_rate,
        CHOSEN.replace("1.96", "3.92"),
        "half the width is asked for",
    ),
    (
        check_chosen_rate,
        CHOSEN.replace("/ n", "* n"),
        "That is the margin of the number of errors",
    ),
    (
        check_chosen_rate,
        CHOSEN.replace("rate, margin", "{'the rate': rate, 'the margin': margin}"),
        "2 things are asked for, with commas between: the rate, the margin.",
    ),
    (
        check_chosen_rate,
        CHOSEN.replace("rate, margin", "rate, margin.item()"),
        "The value is right. The result should be of the kind Tensor",
    ),
    (
        check_chosen_rate,
        CHOSEN.replace("rate, margin", "rate, margin.double()"),
        "The value is right. The type of the numbers should be",
    ),
    (
        check_chosen_rate,
        CHOSEN.replace("float().", ""),
        "Trues and whole numbers have no mean here",
    ),
    (check_head_only, "return model, model[0]", "back: nn.Sequential, the same, ready"),
    (check_head_only, FROZEN, "*after* the last model.train()?"),
    (
        check_head_only,
        "model.eval()\n    for p in model[0].parameters(): p.requires_grad = False\n"
        "    return model",
        "the head is in evaluation mode",
    ),
    (
        check_head_only,
        FROZEN.replace("model[0].eval()\n    model.train()", "model[1].train()"),
        "evaluation mode",
    ),
    (check_head_only, FROZEN.replace("return model", ""), "Nothing came back."),
    (
        check_head_only,
        READY.replace("return model", "return model[1]"),
        "but not the one that was handed in",
    ),
    (
        check_head_only,
        READY.replace(
            "model\n", "torch.nn.Sequential(torch.nn.Identity(), model[1])\n"
        ),
        "but not the one that was handed in",
    ),
    (
        check_head_only,
        "model[0][0].reset_parameters()\n" + READY,
        "but not the one that was handed in",
    ),
    (check_head_only, READY.replace("model\n", "(model,)\n"), "comes back: None"),
    (
        check_head_only,
        READY.replace("return", "model[1][1].bias.requires_grad = False\n    return"),
        "Not all of the head's weights have changed.",
    ),
    (
        check_head_only,
        READY.replace("return", "model.requires_grad_(True)\n    return"),
        "*after* the last requires_grad_(True)?",
    ),
    (
        check_head_only,
        READY.replace("return", "model[1].eval().training = True\n    return"),
        "the head is in evaluation mode",
    ),
    (
        check_head_only,
        "model[0].requires_grad_(False).eval()\n    return model",
        "or did it come so?",
    ),
    (
        check_head_only,
        READY.replace("model.train()", "pass"),
        "the head is in evaluation mode",
    ),
    (
        check_head_only,
        READY.replace("return model", "return __import__('copy').deepcopy(model)"),
        "Well done!",
    ),
    (
        check_nearest_kind,
        "means = [x[y == k].mean(0) for k in y.unique()]\n"
        "    return torch.cdist(new, torch.stack(means)).argmin(1)",
        "Those are positions among the means",
    ),
    (check_nearest_kind, NEAREST, "Well done!"),
    (check_nearest_kind, NEAREST.replace("y.unique()", "range(10)"), "mean of nothing"),
    (
        check_nearest_kind,
        NEAREST.replace("mean(0)", "mean()"),
        "Is each mean a row [F]",
    ),
    (check_nearest_kind, NEAREST.replace("min(1)", "min(0)"), "for each mean"),
    (check_median_times, TIMED, "Well done!"),
    (
        check_median_times,
        TIMED.replace("statistics.median(t)", "sorted(t)[len(t) // 2]"),
        "Well done!",
    ),
    (
        check_median_times,
        TIMED.replace("[statistics", "torch.tensor([statistics").replace(
            "es]\n", "es])\n"
        ),
        "The values are right.",
    ),
    (check_median_times, TIMED.replace("    wait()\n", ""), "is still busy"),
    (check_median_times, TIMED.replace("statistics.median", "min"), "the shortest"),
    (
        check_median_times,
        TIMED.replace("clock()", "__import__('time').perf_counter()"),
        "another clock",
    ),
    (
        check_median_times,
        TIMED.replace("[[] for _ in works]", "[[]] * len(works)"),
        "into one list",
    ),
    (
        check_median_times,
        TIMED.replace("_ in range(repeat)", "EACH")
        .replace("i, work in enumerate(works)", "_ in range(repeat)")
        .replace("EACH", "i, work in enumerate(works)"),
        "before those of the next",
    ),
    (
        check_median_times,
        TIMED.replace("work(); wait()", "work()"),
        "The device has still to do it.",
    ),
    (
        check_median_times,
        TIMED.replace("    for work in works: work()\n", ""),
        "Each work is called too rarely",
    ),
    (check_train_all, TRAINED, "Well done!"),
    (
        check_train_all,
        TRAINED.replace("opt.step()", "opt.step()\n        print(f'{loss:.2f}')"),
        "In the loop a tensor is asked for its number",
    ),
    (
        check_train_all,
        TRAINED.replace("opt.step()", "opt.step()\n        if loss > 9: break"),
        "In the loop a tensor is asked for its number",
    ),
    (
        check_train_all,
        TRAINED.replace("detach()", "item()").replace("stack", "tensor"),
        "In the loop a tensor is asked for its number",
    ),
    *[
        (
            check_train_all,
            TRAINED.replace("opt.step()", f"opt.step(); {asks}"),
            "In the loop a tensor is asked for its number",
        )
        for asks in (
            "loss.detach().to('cpu')",
            "loss.detach().to(device='cpu')",
            "__import__('numpy').asarray(loss.detach())",
            "torch.tensor([loss])",
            "torch.equal(loss, loss)",
            "torch.is_nonzero(loss)",
            "loss.isnan().nonzero()",
            "complex(loss)",
        )
    ],
    (
        check_train_all,
        TRAINED.replace("opt.zero", "x = x.to('cpu'); torch.tensor([1, 2]); opt.zero"),
        "Well done!",
    ),
    (check_train_all, TRAINED.replace(".detach()", ""), "small after backward"),
    (check_train_all, TRAINED.replace("stack", "cat"), "no dimension"),
    (
        check_train_all,
        TRAINED.replace("opt.zero_grad()\n", "\n").replace(
            "opt.step()", "opt.zero_grad()\n        opt.step()"
        ),
        "before the gradients are cleared?",
    ),
    (check_swing, (0, -4, -6, -7), "let it roll on by itself"),
    (check_swing, [8, 0, -4, -2], "Where is it *after* each?"),
    (check_swing, [8, 4, -2, -3], "Those are the velocities."),
    (check_swing, [0, 0, -9, 0], "The second of four is too high."),
    (check_running_mean, 0, "the running mean is no parameter"),
    (check_running_mean, 2.7, "too small, by less than a tenth"),
    (check_running_mean, 9.99, "the other way round"),
    (check_three_clocks, [1002, 1002, 1200], "Has the device done it by then?"),
    (check_three_clocks, [2, 12, 12], "one step, of a hundred"),
    (check_three_clocks, [2, 10, 12], "one step, of a hundred"),
    (check_three_clocks, [200, 1000, 1000], "when can the device begin"),
    (check_three_clocks, [200, 1200, 1002], "While the device works"),
    (check_three_clocks, [None, None, None], "The answer is a number"),
    (check_three_clocks, (200, 1002, 1002), "wait for each other"),
]


@pytest.mark.parametrize("check, attempt, says", ATTEMPTS)
def test_of_this_attempt_it_is_said(check, attempt, says):
    if check in HEADS:
        body = attempt.strip("\n").removeprefix("    ")
        namespace = {"__name__": "__main__", "torch": torch}
        as_a_cell(f"def attempt({HEADS[check]}):\n    {body}\n", namespace)
        attempt = namespace["attempt"]
    assert says in flat(check.verdict(attempt))
