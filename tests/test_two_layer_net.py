"""07: what the notebook does not check; bad input, other sizes, another seed."""

import pytest
import torch

from mnist_basics.learner import DataLoaders, Learner
from mnist_basics.linear_model import Batches, as_rows, batch_accuracy
from mnist_basics.two_layer_net import simple_net


def test_the_net_is_two_linear_layers_with_a_bend():
    net = simple_net(5, 7, 3)
    x = torch.randn(11, 5)
    w1, b1, w2, b2 = net.parameters()
    torch.testing.assert_close(net(x), (x @ w1.T + b1).clamp_min(0) @ w2.T + b2)
    straight = 2 * net(x) - net(0 * x)
    assert not torch.allclose(net(2 * x), straight), "a straight line, without a bend"
    parameters = simple_net().parameters()
    assert sum(parameter.numel() for parameter in parameters) == 23_581


@pytest.mark.parametrize("sizes", [(0, 30, 1), (784, 0, 1), (784, 30, -1), (784, 2.5)])
def test_a_net_without_numbers_is_refused(sizes):
    with pytest.raises(ValueError, match="whole number, 1 or more"):
        simple_net(*sizes)


def test_forty_epochs_with_another_seed(digits):
    torch.manual_seed(1)
    generator = torch.Generator().manual_seed(1)
    train = Batches(*as_rows(digits, "train"), 256, True, "cpu", generator)
    valid = Batches(*as_rows(digits, "valid"), 256, device="cpu")
    dls = DataLoaders(train, valid)
    learn = Learner(dls, simple_net(), metrics=batch_accuracy, progress=False)
    learn.fit(40, 0.1)
    assert learn.recorder.values[-1][2] >= 0.975
