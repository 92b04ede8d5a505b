"""Module pixel_similarity: figures, and what its notebook does not check."""

import numpy as np
import pytest
import torch
from torch import nn

from mnist_basics.pixel_similarity import PixelSimilarity, mean_image, mnist_distance


def printed(number):
    return f"{float(number):.4f}"


def test_distances_of_the_second_three_are_as_published(digits):
    three = digits.images("train", 3)[1]
    for digit, l1, rmse in ((3, "0.1114", "0.2021"), (7, "0.1586", "0.3021")):
        mean = mean_image(digits.images("train", digit))
        assert printed(mnist_distance(three, mean)) == l1
        assert printed(nn.functional.l1_loss(three, mean)) == l1
        assert printed(((three - mean) ** 2).mean().sqrt()) == rmse


def test_its_accuracies_are_as_published(digits):
    model = PixelSimilarity.fit(digits)
    threes, sevens = digits.images("valid", 3), digits.images("valid", 7)
    on_3s = model.is_3(threes).float().mean()
    on_7s = (~model.is_3(sevens)).float().mean()
    assert (printed(on_3s), printed(on_7s)) == ("0.9168", "0.9854")
    assert printed((on_3s + on_7s) / 2) == "0.9511"
    assert mnist_distance(threes, model.mean3).shape == (1010,)


def test_distance_broadcasts_over_any_leading_axes():
    a, b = torch.rand(4, 1, 6, 5), torch.rand(3, 6, 5)
    rows = [[np.abs(x[0].numpy() - y.numpy()).mean() for y in b] for x in a]
    torch.testing.assert_close(mnist_distance(a, b), torch.tensor(np.array(rows)))


@pytest.mark.parametrize(
    "a, b, says",
    [
        (
            torch.zeros(28, 28).byte(),
            torch.zeros(28, 28),
            "a must be .* not torch.uint8",
        ),
        (
            torch.zeros(28, 28),
            torch.zeros(28, 28).byte(),
            "b must be .* not torch.uint8",
        ),
        (torch.zeros(28, 28), torch.zeros(28, 1), r"rows and columns, .*\[28, 1\]"),
        (torch.zeros(784), torch.zeros(784), r"rows and columns, .*\[784\]"),
    ],
)
def test_distance_refuses_what_it_would_get_wrong(a, b, says):
    with pytest.raises(ValueError, match=says):
        mnist_distance(a, b)


@pytest.mark.parametrize("shape", [(28, 28), (0, 28, 28), (2, 1, 28, 28)])
def test_mean_image_names_what_is_no_pile(shape):
    with pytest.raises(
        ValueError, match="images must have the shape .N, rows, columns"
    ):
        mean_image(torch.zeros(shape))


@pytest.fixture(scope="module")
def model(digits):
    return PixelSimilarity.fit(digits)


def test_it_learns_from_the_training_images_alone(model, digits):
    torch.testing.assert_close(model.mean3, mean_image(digits.images("train", 3)))
    torch.testing.assert_close(model.mean7, mean_image(digits.images("train", 7)))
    assert model.is_3(model.mean3) and not model.is_3(model.mean7)
    assert model.is_3(torch.stack([model.mean7, model.mean3])).tolist() == [False, True]


def test_log_odds_say_how_much_nearer_the_mean_3_is(model, digits):
    images = digits.images("valid", 3)[:50]
    nearer = [
        (image - model.mean7).abs().mean() - (image - model.mean3).abs().mean()
        for image in images
    ]
    torch.testing.assert_close(model.log_odds(images), torch.stack(nearer))
    torch.testing.assert_close(model(images), model.log_odds(images))
    assert model.is_3(images).tolist() == (model.log_odds(images) > 0).tolist()
    assert model.is_3(images).dtype == torch.bool
    assert model.log_odds(images[0]).shape == model.is_3(images[0]).shape == ()


def test_a_tie_is_no_3():
    assert not PixelSimilarity().is_3(torch.rand(5, 28, 28)).any()


def test_it_can_be_saved_and_loaded_into_a_blank_one(model, digits, tmp_path):
    assert list(model.state_dict()) == ["mean3", "mean7"]
    assert not list(model.parameters()), "nothing for an optimizer"
    torch.save(model.state_dict(), tmp_path / "model.pt")
    other = PixelSimilarity()
    assert other.mean3.shape == other.mean7.shape == (28, 28)
    other.load_state_dict(torch.load(tmp_path / "model.pt", weights_only=True))
    images = digits.images("valid", 7)[:50]
    torch.testing.assert_close(other(images), model(images), rtol=0, atol=0)


def test_its_means_move_with_it(digits):
    model = PixelSimilarity.fit(digits).to("meta")
    assert model.mean3.is_meta and model.mean7.is_meta
    assert model(torch.zeros(5, 28, 28, device="meta")).shape == (5,)


def test_a_class_of_its_kind_is_fitted_as_that_class(digits):
    class Another(PixelSimilarity):
        def log_odds(self, images):
            return -super().log_odds(images)

    model = Another.fit(digits)
    assert isinstance(model, Another) and not model.is_3(model.mean3)
    torch.testing.assert_close(model(model.mean3), model.log_odds(model.mean3))
