"""What seaborn lacks: error bars of known ends, decision regions in the plane, rows of images."""
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from helpers.plotting import style
from helpers.plotting.style import MARKERS, SMALL, WIDTH, class_palette

PALE = 0.35  # share of a class's colour in its region, the rest is white


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


def regions(rows: pd.DataFrame) -> None:
    """Draw which class a model of points in the plane predicts where (Fig. 8, 9) into ``plt.gca()``, for `panels`.

    Columns are ``layer``, ``x``, ``y`` and ``class``. Layers: "grid" (a regular grid of predicted classes, drawn pale;
    required), "boundary" (exact lines in place of the grid's steps; ``piece`` numbers them), "point" (with its true
    class) and "arrow" (to ``to_x``, ``to_y``, coloured by ``method``; points are then faint).
    """
    ax, layers = plt.gca(), {name: rows[rows["layer"] == name] for name in ("grid", "boundary", "point", "arrow")}
    grid, arrows = layers["grid"].pivot(index="y", columns="x", values="class"), layers["arrow"]
    colors, markers = class_palette(sorted(rows.loc[rows["layer"] != "boundary", "class"].unique()))
    pale = {name: PALE * np.array(to_rgb(color)) + 1 - PALE for name, color in colors.items()}
    half = (grid.columns[1] - grid.columns[0]) / 2, (grid.index[1] - grid.index[0]) / 2  # of a cell
    extent = (grid.columns[0] - half[0], grid.columns[-1] + half[0], grid.index[0] - half[1], grid.index[-1] + half[1])
    ax.imshow([[pale[str(name)] for name in row] for row in grid.to_numpy()], origin="lower", extent=extent,
              interpolation="bilinear" if len(layers["boundary"]) else "nearest")
    for _, line in layers["boundary"].groupby("piece"):
        ax.plot(line["x"], line["y"], color="#333333", linewidth=0.9)
    faint = {"s": 5, "alpha": 0.35, "linewidth": 0} if len(arrows) else {"s": 12, "linewidth": 0.3}
    for points, look in ((layers["point"], faint), (arrows, {"s": 30, "linewidth": 0.7, "zorder": 4})):
        if len(points):
            sns.scatterplot(points, x="x", y="y", hue="class", style="class", palette=colors, markers=markers,
                            edgecolor="white", legend=False, **look)
    for name, color in colors.items():
        ax.plot([], [], color=color, marker=markers[name], linestyle="none", label=name)  # in the legend
    if len(arrows):
        # The white rim keeps arrows visible on every region.
        ax.quiver(arrows["x"], arrows["y"], arrows["to_x"] - arrows["x"], arrows["to_y"] - arrows["y"], angles="xy",
                  scale_units="xy", scale=1, color=arrows["method"].map(style.palette(rows["method"])).iloc[0],
                  width=0.0062, headwidth=3.6, headlength=4.2, headaxislength=3.8, minlength=0, zorder=3,
                  path_effects=[withStroke(linewidth=2.0, foreground="white")])
    ax.set(xticks=[], yticks=[], xlabel="", ylabel="")
    ax.spines[["top", "right"]].set_visible(True)


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
