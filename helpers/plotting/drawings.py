"""What seaborn lacks: error bars of known ends, rows of images."""
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from helpers.plotting import style
from helpers.plotting.style import MARKERS, SMALL, WIDTH


def errorbars(rows: pd.DataFrame, x: str, y: str, *, hue: str, kind: str = "line", palette: dict | None = None,
              dodge: bool = False) -> None:
    """Draw values whose intervals are known (seaborn computes its own) into ``plt.gca()``, for `panels`.

    Parameters
    ----------
    rows : DataFrame, one row a value; those without x are left out
    x, y : str, columns: x a category (numbers ascend, 0 of an x named "p" is PGD), y Intervals or numbers
    hue : str, column with the name of a series; ", paper" in it marks numbers that were not measured here: hollow
        markers and a dotted line in the colour of the series before the comma
    kind : "line" (with markers) or "bar", else a ValueError
    palette : dict, colour of each series, in the order to draw; default ``plotting.palette`` of the hue
    dodge : bool, draw lines a little beside each other, so that their error bars do not hide each other
    """
    if kind not in ("line", "bar"):
        raise ValueError(f"Kind {kind!r} of error bars is unknown; use 'line' or 'bar'.")
    ax, rows = plt.gca(), rows[rows[x].notna()]
    palette = palette or style.palette(rows[hue])
    bases = list(dict.fromkeys(name.partition(", paper")[0] for name in palette))
    categories = list(rows[x].sort_values().unique() if pd.api.types.is_numeric_dtype(rows[x]) else rows[x].unique())
    # Lines are as far apart on paper whether there are two categories or four.
    step = 0.82 / len(bases) if kind == "bar" else 0.03 * dodge * max(len(categories) - 1, 1)
    for name in [name for name in palette if name in set(rows[hue])]:
        base, printed, _ = name.partition(", paper")
        index, series = bases.index(base), rows[rows[hue] == name].set_index(x)[y].reindex(categories).dropna()
        place = np.array([categories.index(value) for value in series.index])
        cells = [tuple(cell) if np.iterable(cell) else (cell, np.nan, np.nan) for cell in series]
        value, low, high = np.array(cells, dtype=float).T
        place = place + step * (index - (len(bases) - 1) / 2)
        look = {"color": palette[name], "label": name, "yerr": [value - low, high - value], "capsize": 2}
        if kind == "bar":
            ax.bar(place, value, 0.92 * step, error_kw={"lw": 0.9, "ecolor": "#333333"}, **look)
        else:
            look |= {"linestyle": "dotted", "markerfacecolor": "white"} if printed else {}
            ax.errorbar(place, value, marker=MARKERS[index % 10], markersize=4, linewidth=1.2, elinewidth=0.9, **look)
    names = [f"{value:g}" if isinstance(value, float) else str(value) for value in categories]
    ax.set_xticks(range(len(names)), ["0\n(PGD)" if x == "p" and name == "0" else name for name in names])
    ax.margins(x=0.08)


def image_rows(rows, columns: int = 10) -> Figure:
    """Images in rows, ``columns`` of each: ``image_rows([(name, x[y == k]) for k, name in enumerate(classes)])``.

    A row is (name, images) or (name, images, captions): (N, C, H, W) uint8 or floats in [0, 1], C = 1 or 3, as tensor
    or array, and N strings. Other shapes are a ValueError; a row without images is left out where another has some.
    """
    rows = [(name, np.asarray(images)[:columns], captions[0] if captions else None) for name, images, *captions in rows]
    for name, images, _ in rows:
        if images.ndim != 4 or images.shape[1] not in (1, 3):
            raise ValueError(f"Images of row {name!r} have shape {images.shape}; they must be (N, 1 or 3, H, W).")
    rows = [row for row in rows if len(row[1])] or rows
    lines = sum(1 + max((text.count("\n") for text in captions), default=0) for _, _, captions in rows if captions)
    height = len(rows) * (WIDTH / (columns + 1.6) + 0.08) + 0.15 * lines
    fig, axes = plt.subplots(len(rows), columns, figsize=(WIDTH, height), squeeze=False, layout="constrained")
    for line, (name, images, captions) in zip(axes, rows, strict=True):
        line[0].text(-0.15, 0.5, name, ha="right", va="center", transform=line[0].transAxes)
        for index, ax in enumerate(line):
            ax.set_axis_off()
            if index < len(images):
                ax.imshow(images[index].transpose(1, 2, 0).squeeze(), cmap="gray_r", vmin=0,
                          vmax=255 if images.dtype == np.uint8 else 1)
                ax.set_title(captions[index] if captions else "", fontsize=SMALL, pad=2)
    return fig
