"""Modules 01 to 03: what their notebooks do not check, bad input above all."""
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from mnist_basics.linear_model import default_device
from mnist_basics.metrics import accuracy, balanced_accuracy, confusion, show_mistakes
from mnist_basics.pixel_similarity import PixelSimilarity, mean_image, mnist_distance
from mnist_basics.pixels import pixel_table, show_figure, show_image, show_images

@pytest.fixture(autouse=True)
def no_open_figures():
    yield
    plt.close("all")


@pytest.mark.parametrize("shape, drawn", [((28, 28), (28, 28)), ((1, 5, 7), (5, 7)), ((3, 5, 7), (5, 7, 3))])
def test_show_image_takes_grey_and_colour(shape, drawn):
    ax = show_image(torch.rand(shape), title="a title")
    assert ax.images[0].get_array().shape == drawn and ax.get_title() == "a title"


def test_ink_is_dark_on_white_in_both_forms():
    for blank, ink in ((torch.zeros(2, 2, dtype=torch.uint8), 255), (torch.zeros(2, 2), 1)):
        blank[0, 0] = ink
        picture = show_image(blank).images[0]
        colours = picture.cmap(picture.norm(picture.get_array()))
        assert colours[0, 0, :3].max() < 0.05 and colours[1, 1, :3].min() > 0.95


def test_an_image_that_needs_a_gradient_can_be_drawn():
    show_image(torch.zeros(4, 4, requires_grad=True))


@pytest.mark.parametrize("shape", [(784,), (2, 28, 28), (1, 1, 28, 28), ()])
def test_show_image_names_a_shape_that_is_no_image(shape):
    with pytest.raises(ValueError, match="An image has the shape"):
        show_image(torch.zeros(shape))


def test_show_images_makes_a_grid():
    fig = show_images(torch.rand(5, 8, 8), [str(i) for i in range(5)], columns=3)
    assert len(fig.axes) == 6 and [ax.get_title() for ax in fig.axes[:5]] == list("01234")
    with pytest.raises(ValueError, match="0 images"):
        show_images(torch.zeros(0, 8, 8))
    with pytest.raises(ValueError, match="5 images, 2 titles"):
        show_images(torch.zeros(5, 8, 8), ["a", "b"])


def test_show_figure_passes_the_description_on_and_shows_once(monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda figure, metadata: shown.append(metadata))
    show_figure(show_image(torch.zeros(4, 4)), alt="nothing at all")
    assert shown == [{"image/png": {"alt": "nothing at all"}}] and not plt.get_fignums()


def test_pixel_table_shows_the_numbers_readably_on_any_theme():
    image = torch.arange(0, 200, 2, dtype=torch.uint8).view(10, 10)
    html = pixel_table(image, slice(4, 6), slice(1, 4)).to_html()
    assert [int(n) for n in (82, 84, 86, 102, 104, 106)] == [int(cell.split("<")[0]) for cell in html.split('" >')
                                                            if cell.split("<")[0].isdigit()][-8:] or "82" in html
    for rule in html.split("{")[2:]:
        if "background-color" in rule:
            assert "color: #" in rule.split("}")[0].replace("background-color: #", ""), "text and background both set"
    assert html == pixel_table(image, slice(4, 6), slice(1, 4)).to_html(), "the same HTML each time"


def test_pixel_table_takes_floats_and_names_a_bad_shape():
    assert "0.50" in pixel_table(torch.full((2, 2), 0.5)).to_html()
    with pytest.raises(ValueError, match="not \\[2, 28, 28\\]"):
        pixel_table(torch.zeros(2, 28, 28))


def test_the_device_can_be_chosen(monkeypatch):
    monkeypatch.setenv("MNIST_BASICS_DEVICE", "cpu")
    assert default_device() == torch.device("cpu")
    for wrong in ("abacus", "cuda:99"):
        monkeypatch.setenv("MNIST_BASICS_DEVICE", wrong)
        with pytest.raises(ValueError, match=wrong):
            default_device()
    monkeypatch.delenv("MNIST_BASICS_DEVICE")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert default_device().type == "cuda"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert default_device().type == "mps"
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert default_device().type == "cpu"


def test_distance_broadcasts_over_any_leading_axes():
    a, b = torch.rand(4, 1, 6, 5), torch.rand(3, 6, 5)
    expected = torch.tensor([[np.abs(x[0].numpy() - y.numpy()).mean() for y in b] for x in a])
    torch.testing.assert_close(mnist_distance(a, b), expected)


@pytest.mark.parametrize("a, b, says", [
    (torch.zeros(28, 28, dtype=torch.uint8), torch.zeros(28, 28), "uint8"),
    (torch.zeros(28, 28), torch.zeros(28, 1), "rows and columns"),
    (torch.zeros(784), torch.zeros(784), "rows and columns"),
])
def test_distance_refuses_what_it_would_get_wrong(a, b, says):
    with pytest.raises(ValueError, match=says):
        mnist_distance(a, b)


def test_the_baseline_learns_from_the_training_images_alone(digits):
    model = PixelSimilarity.fit(digits)
    torch.testing.assert_close(model.mean7, mean_image(digits.images("train", 7)))
    assert model.is_3(model.mean3) and not model.is_3(model.mean7)
    assert model.is_3(torch.stack([model.mean7, model.mean3])).tolist() == [False, True]


@pytest.mark.parametrize("shape", [(28, 28), (0, 28, 28), (2, 1, 28, 28)])
def test_mean_image_names_what_is_no_pile(shape):
    with pytest.raises(ValueError, match="N, rows, columns"):
        mean_image(torch.zeros(shape))


@pytest.mark.parametrize("metric", [accuracy, balanced_accuracy, confusion])
@pytest.mark.parametrize("predictions, targets", [((5, 1), (5,)), ((5,), (4,)), ((0,), (0,))])
def test_metrics_refuse_shapes_that_broadcasting_would_accept(metric, predictions, targets):
    with pytest.raises(ValueError, match="the same shape"):
        metric(torch.zeros(predictions), torch.zeros(targets))


def test_balanced_accuracy_agrees_with_scikit_learn():
    from sklearn.metrics import balanced_accuracy_score, confusion_matrix
    generator = torch.Generator().manual_seed(0)
    targets = torch.randint(0, 10, (500,), generator=generator)
    predictions = torch.where(torch.rand(500, generator=generator) < 0.7, targets, torch.randint(0, 10, (500,), generator=generator))
    expected = torch.tensor(balanced_accuracy_score(targets, predictions), dtype=torch.float32)
    torch.testing.assert_close(balanced_accuracy(predictions, targets), expected)
    assert (confusion(predictions, targets).to_numpy() == confusion_matrix(targets, predictions)).all()


def test_confusion_has_a_row_and_a_column_for_every_digit_that_occurs():
    table = confusion(torch.tensor([3, 3]), torch.tensor([3, 7]))
    assert table.to_numpy().tolist() == [[1, 0], [1, 0]] and list(table.index) == list(table.columns) == [3, 7]


def test_show_mistakes_shows_the_wrong_ones_up_to_a_limit():
    images, targets = torch.rand(9, 28, 28), torch.tensor([3] * 9)
    fig = show_mistakes(images, torch.tensor([3, 7, 3, 7, 7, 3, 3, 3, 3]), targets, most=2)
    assert [ax.get_title() for ax in fig.axes] == ["3, not 7", "3, not 7"]
    np.testing.assert_array_equal(fig.axes[0].images[0].get_array(), images[1].numpy())
    with pytest.raises(ValueError, match="9 for 8 images"):
        show_mistakes(images[:8], targets, targets)
