"""What the tests of the Learner share: a small net on small data."""

import torch
from torch import nn

from mnist_basics.learner import BasicOptim, DataLoaders, Learner
from mnist_basics.linear_model import Batches, batch_accuracy


def small(shuffle=True, n=1000, seed=3):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 20, generator=generator)
    y = (x[:, :1] > x[:, 1:2]).float()
    order = torch.Generator().manual_seed(seed)
    train = Batches(x, y, 64, shuffle, "cpu", order)
    valid = Batches(x[:200], y[:200], 64, device="cpu")
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(20, 8), nn.ReLU(), nn.Linear(8, 1))
    return DataLoaders(train, valid), model


def quiet(dls, model, **kwargs):
    return Learner(dls, model, metrics=batch_accuracy, progress=False, **kwargs)


def assert_same_model(a, b):
    torch.testing.assert_close(a.state_dict(), b.state_dict(), rtol=0, atol=0)


OPTIMIZERS = {
    "ours": BasicOptim,
    "SGD": torch.optim.SGD,
    "momentum": lambda params, lr: torch.optim.SGD(params, lr, momentum=0.9),
    "Adam": torch.optim.Adam,
    "AdamW": torch.optim.AdamW,
}
