"""What the tests of many processes let a group do; started processes import it."""

import contextlib
import os
import signal
import sys
import time
from functools import partial
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn

from mnist_basics import many_processes
from mnist_basics.learner import BasicOptim, Callback, DataLoaders
from mnist_basics.linear_model import Batches, batch_accuracy, mnist_loss
from mnist_basics.many_processes import (
    DistributedLearner,
    SaveEachEpoch,
    averaged_gradient,
)
from mnist_basics.optimizers import lr_find
from mnist_basics.workshop import saving
from mnist_basics.workshop.processes import in_group, where

NETS = {
    "linear model": partial(nn.Linear, 16, 1),
    "two-layer net": lambda: nn.Sequential(
        nn.Linear(16, 8), nn.Tanh(), nn.Linear(8, 1)
    ),
    "small CNN": lambda: nn.Sequential(
        *(nn.Unflatten(1, (1, 4, 4)), nn.Conv2d(1, 4, 3), nn.ReLU()),
        *(nn.Flatten(), nn.Linear(16, 1)),
    ),
    "normalised": lambda: nn.Sequential(
        nn.Linear(16, 8), nn.BatchNorm1d(8), nn.Linear(8, 1)
    ),
}
OPTIMIZERS = {"ours": BasicOptim, "Adam": torch.optim.Adam}


def learner(net="two-layer net", n=53, size=20, seed=3, opt="ours", lr=0.3, **options):
    """On 53 images in batches of 20, 20 and 13: they divide by 1 alone."""
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(n, 16, generator=generator)
    y = (x[:, :1] > x[:, 1:2]).float()
    torch.manual_seed(seed)
    order = torch.Generator().manual_seed(seed)
    train = Batches(x, y, size, True, "cpu", order)
    dls = DataLoaders(train, Batches(x[:31], y[:31], 10, device="cpu"))
    about = {"metrics": batch_accuracy, "progress": False, "opt_func": OPTIMIZERS[opt]}
    return DistributedLearner(dls, NETS[net](), lr=lr, **(about | options))


def fitted(epochs=2, load=None, save=None, cbs=(), change=None, **about):
    """What comes of a fit: weights, records, and what each process sees alone."""
    learn = learner(**about)
    if change is not None:
        change(learn)
    if load is not None:
        learn.load(load)
    cbs = [*cbs, SaveEachEpoch(save)] if save else list(cbs)
    learn.fit(epochs, cbs=cbs)
    records = {key: getattr(learn.recorder, key) for key in saving.RECORDS}
    valid = learn.validate()
    return {"model": learn.model.state_dict(), "valid": valid, **records}


def all_nets(opt="ours", **about):
    """Name → what comes of it, for the nets that see each image by itself."""
    names = [name for name in NETS if name != "normalised"]
    return {name: fitted(net=name, opt=opt, **about) for name in names}


# What can go wrong in the process of one rank


class Fault(Callback):
    """At an event in the second epoch's second batch, something happens to a rank."""

    def __init__(self, event, what, rank=1):
        self.event, self.what, self.rank = event, what, rank

    def __getattr__(self, name):
        if name != self.__dict__.get("event"):
            raise AttributeError(name)
        return self.happens

    def happens(self, learn):
        if (learn.epoch, learn.batch) == (1, 1) and where()[0] == self.rank:
            self.what()


def kill():
    os.kill(os.getpid(), signal.SIGKILL)


def fail():
    raise OSError("the disk of this process is gone")


def interrupt():
    raise KeyboardInterrupt


def fault(event, name, rank, file=None):
    return fitted(3, save=file, cbs=[Fault(event, globals()[name], rank)])


def other_images(learn):
    if where()[0] == 1:
        learn.dls.train.x[7, 3] += 1


def other_order(learn):
    if where()[0] == 1:
        learn.dls.train.generator.manual_seed(8)


def other_size(learn):
    if where()[0] == 1:
        learn.dls.train.batch_size = 21


def spoiled(learn):
    """The same image everywhere, and it is not a number."""
    learn.dls.train.x[40, 3] = float("nan")


def other_kind(learn):
    learn.dls = DataLoaders(list(learn.dls.train), learn.dls.valid)


def other_place(learn):
    """The same seed, but one process has drawn before."""
    if where()[0] == 1:
        list(learn.dls.train)


def other_rate(learn):
    if where()[0] == 1:
        learn.opt = learn.opt_func(list(learn.model.parameters()), lr=learn.lr)
        learn.opt.param_groups[0]["weight_decay"] = 0.1


def changed(name, **about):
    return fitted(change=globals()[name], **about)


class SaveAndValidate(Callback):
    """At the end of a fit, also of one that has failed."""

    def __init__(self, file):
        self.file = file

    def after_fit(self, learn):
        learn.validate()
        learn.save(self.file)


def fails_and_saves(file, rank):
    return fitted(cbs=[Fault("after_loss", fail, rank), SaveAndValidate(file)])


def saves_nowhere(folder):
    """The error that each process hears of; then all train together."""
    try:
        learner().save(folder)
    except OSError as error:
        fitted(1)
        return str(error)


def train(model):
    """A model that came as an argument, and that is changed."""
    learn = learner()
    learn.model = model
    learn.fit(2)
    return model.state_dict()


def killed_while_saving(file):
    """The first save is whole; in the second one, rank 0 is killed half way."""
    whole, saves = Path.write_bytes, []

    def write(path, content):
        saves.append(path)
        if len(saves) == 2:
            whole(path, content[: len(content) // 2])
            kill()
        return whole(path, content)

    Path.write_bytes = write
    return fitted(3, save=file)


def as_started_by_torchrun(rank, port):
    """One of two processes in the environment that torchrun makes."""
    about = {"RANK": rank, "WORLD_SIZE": 2, "MASTER_PORT": port}
    about |= {"MASTER_ADDR": "127.0.0.1", "TORCHELASTIC_USE_AGENT_STORE": True}
    for name, value in about.items():
        os.environ[name] = str(value)


def fails_as_a_program(rank, port, folder):
    """The program for torchrun, with a rung that is not there; what it says is kept."""
    as_started_by_torchrun(rank, port)
    sys.stderr = open(f"{folder}/says.{rank}", "w", encoding="utf-8")
    many_processes.main(rung="a rung that is not there")


def joins(rank, port, folder):
    """Rank 1 is late; rank 0 says whether it has begun without it."""
    as_started_by_torchrun(rank, port)
    joined, init = Path(folder, "joined"), dist.init_process_group

    def late(**options):
        init(**options)
        if rank == 1:
            time.sleep(1)
            joined.touch()

    dist.init_process_group = late
    with in_group():
        Path(folder, str(rank)).write_text(str(joined.exists()), encoding="utf-8")
        dist.barrier()


def pid():
    return os.getpid()


def saves_in_its_own_place(folder):
    learner().save(f"{folder}/{where()[0]}.pt")


def finds():
    """A rate; and that the Learner is as before, to train with the others."""
    learn = learner()
    learn.fit(1)
    found = lr_find(learn, num_it=20)
    learn.fit(1)
    return [*found[:2], found.losses, learn.recorder.values]


def gradient(sizes):
    """The averaged gradient of batches of these sizes, and the whole one."""
    torch.manual_seed(1)
    x, y, model = (
        torch.rand(max(sizes), 16),
        torch.ones(max(sizes), 1),
        nn.Linear(16, 1),
    )
    found = []
    for size in sizes:
        model.zero_grad()
        found.append(averaged_gradient(model, x[:size], y[:size]))
        model.zero_grad()
        mnist_loss(model(x[:size]), y[:size]).backward()
        whole = torch.cat([param.grad.flatten() for param in model.parameters()])
        found[-1] = (found[-1], whole)
    return found


def shows(file):
    """Each process fits with progress; what it writes goes to a file of its rank."""
    with open(f"{file}.{where()[0]}", "w", encoding="utf-8") as out:
        with contextlib.redirect_stdout(out):
            fitted(progress=True)
