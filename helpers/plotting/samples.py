"""Rows of images, to see what the numbers are about."""

import numpy as np

from helpers.plotting.style import SMALL, WIDTH, styled


@styled
def image_rows(rows, columns=10):
    """Draw images in rows, each row with a name at its left and, optionally, a caption above each image.

    Parameters
    ----------
    rows : list of (name, images) or (name, images, captions)
        images : (N, C, H, W) tensor or array, uint8 or floats in [0, 1], C = 1 or 3; captions: N strings.
    columns : int
        Images of a row that are drawn.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        If there is no row, or images are not of the shape above.
    """
    import matplotlib.pyplot as plt

    if not rows:
        raise ValueError("There is no row of images to draw.")
    rows = [(name, np.asarray(images)[:columns], *captions) for name, images, *captions in rows]
    for name, images, *_ in rows:
        if images.ndim != 4 or images.shape[1] not in (1, 3):
            raise ValueError(f"Images of row {name!r} have shape {images.shape}; they must be (N, 1 or 3, H, W).")
    side = WIDTH / (columns + 1.6)
    lines = [1 + max((text.count("\n") for text in captions[0]), default=0) if captions else 0
             for _, _, *captions in rows]
    height = sum(side + 0.08 + 0.15 * count for count in lines)
    fig, axes = plt.subplots(len(rows), columns, figsize=(WIDTH, height), squeeze=False, layout="constrained")
    for line, (name, images, *captions) in zip(axes, rows, strict=True):
        line[0].text(-0.15, 0.5, name, ha="right", va="center", transform=line[0].transAxes)
        for ax in line:
            ax.set_axis_off()
        for index, (ax, image) in enumerate(zip(line, images)):
            top = 255 if image.dtype == np.uint8 else 1
            ax.imshow(image.transpose(1, 2, 0).squeeze(), cmap="gray_r", vmin=0, vmax=top)
            if captions:
                ax.set_title(captions[0][index], fontsize=SMALL, pad=2)
    return fig
