"""Module metrics: figures, and what its notebook does not check."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from mnist_basics.metrics import (
    accuracy,
    balanced_accuracy,
    confusion_matrix,
    show_mistakes,
)
from mnist_basics.pixel_similarity import PixelSimilarity


def printed(number):
    return f"{float(number):.4f}"


def test_both_accuracies_of_the_baseline(digits):
    images = torch.cat([digits.images("valid", 3), digits.images("valid", 7)])
    predictions = torch.where(PixelSimilarity.fit(digits).is_3(images), 3, 7)
    assert printed(balanced_accuracy(predictions, digits.valid_y)) == "0.9511"
    # the mean over images, which is not what was published
    assert printed(accuracy(predictions, digits.valid_y)) == "0.9514"
    table = confusion_matrix(predictions, digits.valid_y)
    assert table.to_numpy().tolist() == [[926, 84], [15, 1013]]


@pytest.mark.parametrize("metric", [accuracy, balanced_accuracy, confusion_matrix])
@pytest.mark.parametrize(
    "predictions, targets, says",
    [
        ((5, 1), (5,), "need the same shape"),
        ((5,), (4,), "need the same shape"),
        ((0,), (0,), "at least one of each"),
    ],
)
def test_shapes_that_broadcasting_would_accept_are_refused(
    metric, predictions, targets, says
):
    with pytest.raises(ValueError, match=f"predictions and targets .*{says}"):
        metric(torch.zeros(predictions), torch.zeros(targets))


@pytest.fixture
def answers():
    """500 targets among ten digits, and predictions that are right 7 times in 10."""
    generator = torch.Generator().manual_seed(0)
    targets = torch.randint(0, 10, (500,), generator=generator)
    others = torch.randint(0, 10, (500,), generator=generator)
    right = torch.rand(500, generator=generator) < 0.7
    return torch.where(right, targets, others), targets


def test_metrics_count_as_one_counts_by_hand(answers):
    predictions, targets = answers
    pairs = list(zip(targets.tolist(), predictions.tolist()))
    counts = [[pairs.count((i, j)) for j in range(10)] for i in range(10)]
    assert confusion_matrix(*answers).to_numpy().tolist() == counts
    shares = [row[i] / sum(row) for i, row in enumerate(counts)]
    assert balanced_accuracy(*answers).item() == pytest.approx(sum(shares) / 10)
    right = sum(row[i] for i, row in enumerate(counts))
    assert accuracy(*answers).item() == pytest.approx(right / 500)
    assert (
        accuracy(*answers).dtype == balanced_accuracy(*answers).dtype == torch.float32
    )


def test_truths_count_as_well_as_digits(answers):
    predictions, targets = (digits == 3 for digits in answers)
    assert accuracy(predictions, targets) > 0.9
    assert balanced_accuracy(predictions, targets) > 0.7


def test_confusion_has_a_row_and_a_column_for_every_digit_that_occurs():
    table = confusion_matrix(torch.tensor([3, 3]), torch.tensor([3, 7]))
    assert table.to_numpy().tolist() == [[1, 0], [1, 0]]
    assert list(table.index) == list(table.columns) == [3, 7]
    assert (table.index.name, table.columns.name) == ("really a", "taken for a")


def test_show_mistakes_shows_the_wrong_ones_up_to_a_limit():
    images, targets = torch.rand(9, 28, 28), torch.tensor([3] * 9)
    predictions = torch.tensor([3, 7, 3, 7, 7, 3, 3, 3, 3])
    fig = show_mistakes(images, predictions, targets, most=2)
    assert [ax.get_title() for ax in fig.axes] == ["3, not 7", "3, not 7"]
    for ax, i in zip(fig.axes, (1, 3)):
        np.testing.assert_array_equal(ax.images[0].get_array(), images[i].numpy())
    plt.close(fig)


def test_show_mistakes_says_so_if_there_are_none(capsys):
    targets = torch.tensor([3, 7])
    assert show_mistakes(torch.rand(2, 28, 28), targets, targets) is None
    assert capsys.readouterr().out == "No mistakes.\n" and not plt.get_fignums()


def test_show_mistakes_wants_an_answer_for_each_image():
    images, targets = torch.rand(8, 28, 28), torch.tensor([3] * 9)
    with pytest.raises(ValueError, match="images and targets .* not 8 and 9"):
        show_mistakes(images, targets, targets)
    with pytest.raises(ValueError, match="same shape"):
        show_mistakes(images, targets[:8, None], targets[:8])


@pytest.mark.parametrize("metric", [accuracy, balanced_accuracy, confusion_matrix])
def test_answers_are_tensors_of_one_axis(metric):
    with pytest.raises(ValueError, match=r"must have the shape \[N\], not \[3, 1\]"):
        metric(torch.zeros(3, 1), torch.zeros(3, 1))
    with pytest.raises(ValueError, match="predictions must be a PyTorch Tensor"):
        metric([3, 7], [3, 7])


@pytest.mark.parametrize("most", [0, -1])
def test_no_mistakes_is_not_said_where_none_was_asked_for(most):
    with pytest.raises(ValueError, match="most must be a whole number, 1 or more"):
        show_mistakes(torch.zeros(2, 8, 8), torch.zeros(2), torch.ones(2), most)
