"""Module pixels: what its notebook does not check, bad input above all."""

import re

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from mnist_basics.pixels import pixel_table, show_image, show_images


def test_the_corner_of_the_second_three_is_as_published(digits):
    assert digits.train_x[1, 4:10, 4:10].tolist() == [
        [0, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 29],
        [0, 0, 0, 48, 166, 224],
        [0, 93, 244, 249, 253, 187],
        [0, 107, 253, 253, 230, 48],
        [0, 3, 20, 20, 15, 0],
    ]


@pytest.mark.parametrize(
    "shape, drawn", [((28, 28), (28, 28)), ((1, 5, 7), (5, 7)), ((3, 5, 7), (5, 7, 3))]
)
def test_show_image_takes_grey_and_colour(shape, drawn):
    image = torch.rand(shape)
    ax = show_image(image, title="a title")
    shown = np.asarray(ax.images[0].get_array())
    assert shown.shape == drawn and ax.get_title() == "a title"
    expected = image.permute(1, 2, 0) if shape[0] == 3 else image.view(drawn)
    np.testing.assert_allclose(shown, expected.numpy())


def test_ink_is_dark_on_white_in_both_forms():
    for blank, ink in ((torch.zeros(2, 2).byte(), 255), (torch.zeros(2, 2), 1)):
        blank[0, 0] = ink
        picture = show_image(blank).images[0]
        colours = picture.cmap(picture.norm(picture.get_array()))
        assert colours[0, 0, :3].max() < 0.05 and colours[1, 1, :3].min() > 0.95


def test_limits_and_colours_can_be_chosen():
    picture = show_image(torch.zeros(2, 2), cmap="gray", limits=(-1, 2)).images[0]
    assert picture.get_clim() == (-1, 2) and picture.cmap.name == "gray"
    fig = show_images(torch.zeros(2, 3, 3), cmap="gray", limits=(-1, 2))
    assert [ax.images[0].get_clim() for ax in fig.axes] == [(-1, 2)] * 2
    assert [ax.images[0].cmap.name for ax in fig.axes] == ["gray"] * 2


def test_an_image_is_drawn_where_one_asks_for_it():
    fig, (left, right) = plt.subplots(1, 2)
    assert show_image(torch.zeros(4, 4), right) is right
    assert right.images and not left.images and plt.get_fignums() == [fig.number]


def test_an_image_that_needs_a_gradient_can_be_drawn():
    show_image(torch.zeros(4, 4, requires_grad=True))


@pytest.mark.parametrize("shape", [(784,), (2, 28, 28), (1, 1, 28, 28), ()])
def test_show_image_names_a_shape_that_is_no_image(shape):
    says = f"{list(shape)} is not the shape of an image"
    with pytest.raises(ValueError, match=re.escape(says)):
        show_image(torch.zeros(shape))


def test_show_images_makes_a_grid():
    fig = show_images(torch.rand(5, 8, 8), list("01234"), columns=3)
    assert len(fig.axes) == 6
    assert [ax.get_title() for ax in fig.axes] == ["0", "1", "2", "3", "4", ""]
    assert [len(ax.images) for ax in fig.axes] == [1, 1, 1, 1, 1, 0]
    assert not any(ax.axison for ax in fig.axes)
    assert len(show_images(torch.rand(2, 8, 8), columns=3).axes) == 2


def test_show_images_takes_a_list_of_different_ones():
    fig = show_images([torch.rand(4, 4), torch.rand(3, 5, 5)], size=1.5)
    assert [ax.images[0].get_array().shape for ax in fig.axes] == [(4, 4), (5, 5, 3)]
    assert fig.get_size_inches().tolist() == [3, 1.5]


@pytest.mark.parametrize(
    "images, titles", [(0, None), (0, []), (5, ["a", "b"]), (5, [])]
)
def test_show_images_wants_an_image_and_a_title_for_each(images, titles):
    with pytest.raises(ValueError, match="images and titles must be equally many"):
        show_images(torch.zeros(images, 8, 8), titles)
    assert not plt.get_fignums()


def test_pixel_table_shows_the_numbers_readably_on_any_theme():
    image = torch.arange(0, 200, 2, dtype=torch.uint8).view(10, 10)
    html = pixel_table(image, slice(4, 6), slice(1, 4)).data
    cells = re.findall(r"<td[^>]*>([^<]*)<", html)
    assert cells == ["82", "84", "86", "102", "104", "106"]
    assert re.findall(r"<th[^>]*>([^<]*)<", html) == ["", "1", "2", "3", "4", "5"]
    assert "<style" not in html, "JupyterLab drops it from pages it does not trust"
    shades = re.findall(
        r'<td style="[^"]*background-color: (#\w+); color: (#\w+)"', html
    )
    assert len(shades) == 6, "text and background are both set"
    for back, text in shades:
        assert abs(int(back[1:3], 16) - int(text[1:3], 16)) > 128, "hard to read"
    levels = [int(back[1:3], 16) for back, _ in shades]
    assert levels == sorted(levels, reverse=True) and levels[0] > levels[-1]


def test_every_grey_of_the_pixel_table_can_be_read():
    """By the contrast that WCAG 2 asks for, 4.5."""
    html = pixel_table(torch.arange(256, dtype=torch.uint8).view(16, 16)).data
    shades = re.findall(r"background-color: #(\w\w)\w+; color: #(\w\w)\w+", html)
    assert len(shades) == 256
    for pair in shades:
        channels = [int(shade, 16) / 255 for shade in pair]
        light = sorted(
            ((c + 0.055) / 1.055) ** 2.4 if c > 0.04 else 0 for c in channels
        )
        assert (light[1] + 0.05) / (light[0] + 0.05) > 4.5, pair


def test_pixel_table_takes_floats_and_names_a_bad_shape():
    assert "0.50" in pixel_table(torch.full((2, 2), 0.5)).data
    with pytest.raises(ValueError, match=r"\[rows, columns\], not \[2, 28, 28\]"):
        pixel_table(torch.zeros(2, 28, 28))
    for wrong in (4, (4, 10)):
        with pytest.raises(ValueError, match=r"rows must be a choice, such as slice"):
            pixel_table(torch.zeros(28, 28), wrong)
    assert "0.00" in pixel_table(torch.zeros(2, 2, requires_grad=True)).data


def test_what_is_no_image_is_named():
    for draw in (show_image, pixel_table):
        for wrong in (None, "three.png"):
            with pytest.raises(ValueError, match="An image is a tensor or an array"):
                draw(wrong)
    for columns in (0, 2.5):
        with pytest.raises(ValueError, match="columns must be a whole number"):
            show_images(torch.zeros(3, 8, 8), columns=columns)
    with pytest.raises(ValueError, match=r"One: show_image\(image\)"):
        show_images(torch.zeros(8, 8))
