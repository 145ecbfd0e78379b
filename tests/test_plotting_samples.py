"""Rows of images, and that a figure's look does not outlive it while a notebook's backend does."""

import matplotlib
import numpy as np
import pytest
import torch

from helpers import plotting


@pytest.mark.parametrize("channels", [1, 3])
def test_image_rows_draw_names_images_and_captions(channels):
    images = torch.randint(0, 255, (4, channels, 6, 6), dtype=torch.uint8)
    fig = plotting.image_rows([("plain", images), ("captioned", images.float() / 255, list("abcd"))], columns=3)
    drawn = [ax for ax in fig.axes if ax.images]
    assert len(fig.axes) == len(drawn) == 6
    assert [ax.get_title() for ax in fig.axes] == ["", "", "", "a", "b", "c"]
    assert [text.get_text() for ax in fig.axes for text in ax.texts] == ["plain", "captioned"]


def test_image_rows_refuse_what_is_no_image():
    with pytest.raises(ValueError, match="shape"):
        plotting.image_rows([("flat", np.zeros((4, 36)))])
    with pytest.raises(ValueError, match="no row"):
        plotting.image_rows([])


def test_a_backend_that_becomes_interactive_stays_so():
    from helpers.plotting import style
    before = matplotlib.is_interactive(), matplotlib.rcParams["font.size"]
    style.styled(lambda: matplotlib.interactive(True))()
    assert matplotlib.is_interactive() and matplotlib.rcParams["font.size"] == before[1]
    matplotlib.interactive(before[0])
