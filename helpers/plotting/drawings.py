"""What seaborn lacks: error bars of known ends, decision regions in the plane, rows of images."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.colors import to_rgb
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke

from helpers.plotting.style import (
    CLASS_COLORS,
    MARKERS,
    SMALL,
    WIDTH,
    class_palette,
    grid_axes,
    palette,
    row_figures,
    wrap,
)

PALE = 0.35  # share of a class's colour in its region, the rest is white


def errorbars(data: pd.DataFrame, x: str, y: str, *, hue: str | None = None, kind: str = "line",
              colors: dict | None = None, dodge: bool = True, printed: str | None = None, ax=None, **_) -> None:
    """Values with intervals whose ends are known (seaborn computes its own): a series a value of ``hue``.

    Parameters
    ----------
    data : DataFrame
        One row a value.
    x, y : str
        Columns; y holds Intervals (value, low, high) or numbers. x is a category, numbers ascend; in a "band" it is
        the number itself. The category 0 of an x named "p" is plain PGD.
    hue : str
        Column of the series' names, which `palette` colours.
    kind : "line", "bar" or "band"
        Markers and a line with error bars, bars with error bars, or a line in a band.
    colors : dict
        Colour of each series, in the order to draw; default ``palette(data[hue])``.
    dodge : bool
        Draw lines beside each other, so that their error bars do not hide each other.
    printed : str
        Column that is true for numbers the paper prints: hollow markers, a dotted line.

    Examples
    --------
    >>> grid = sns.FacetGrid(plotting.place(frame), row="line", col="column", sharex=False, sharey=False)
    >>> grid.map_dataframe(plotting.errorbars, x="p", y="S", hue="attack")
    >>> plotting.finish(grid);

    Raises
    ------
    ValueError
        For an unknown kind.
    """
    if kind not in ("line", "bar", "band"):
        raise ValueError(f"Kind {kind!r} of error bars is unknown; use 'line', 'bar' or 'band'.")
    ax = ax or plt.gca()
    data = data[data[x].notna()] if x in data else data
    names = list(colors or palette(data[hue])) if hue else [y]
    colors = colors or (palette(names) if hue else {y: CLASS_COLORS[0]})
    categories = list(data[x].unique())
    categories = sorted(categories) if pd.api.types.is_numeric_dtype(data[x]) else categories
    for index, name in enumerate(names):
        series = data[data[hue].astype(str) == name] if hue else data
        series = series.sort_values(x) if pd.api.types.is_numeric_dtype(data[x]) else series
        if series.empty:
            continue
        value, low, high = np.array([(*cell,) if np.iterable(cell) else (cell, None, None) for cell in series[y]],
                                    dtype=float).T
        errors = None if np.isnan(low).all() else [value - low, high - value]
        color, marker = colors[name], MARKERS[index % len(MARKERS)]
        place = np.array([categories.index(cell) for cell in series[x]], dtype=float)
        if kind == "band":
            ax.plot(series[x], value, color=color, marker=marker, markersize=4, label=name)
            ax.fill_between(series[x].astype(float), low, high, color=color, alpha=0.18, linewidth=0)
        elif kind == "bar":
            width = 0.82 / len(names)
            ax.bar(place + (index + 0.5) * width - 0.41, value, 0.92 * width, yerr=errors, capsize=2, color=color,
                   error_kw={"linewidth": 0.9, "ecolor": "#333333"}, label=name)
        else:
            hollow = printed is not None and bool(series[printed].any())
            # As far apart on paper whether there are two categories or four.
            shift = 0.03 * max(len(categories) - 1, 1) * (index - (len(names) - 1) / 2) if dodge else 0
            ax.errorbar(place + shift, value, errors, color=color, marker=marker, capsize=2, label=name,
                        linestyle="dotted" if hollow else "solid", markerfacecolor="white" if hollow else color,
                        linewidth=1.2, elinewidth=0.8)
    if kind != "band":
        names = ["0\n(PGD)" if x == "p" and cell == 0 else f"{cell:g}" if isinstance(cell, float) else str(cell)
                 for cell in categories]
        ax.set_xticks(range(len(categories)), names)
        ax.margins(x=0.08)


def regions(frame: pd.DataFrame, columns: int = 4):
    """Which class a model of points in the plane predicts where, a panel a model (Fig. 8, 9).

    Parameters
    ----------
    frame : DataFrame
        The columns ``profile``, ``panel``, ``layer``, ``x``, ``y``, ``class`` and, if wanted, ``note`` (a text below
        a panel). Layers: "grid" (a regular grid of predicted classes), "boundary" (exact lines in place of the grid's
        steps; ``line`` numbers them, points in order), "point" (with its true class) and "arrow" (from x, y to
        ``to_x``, ``to_y``, coloured by ``method``; the points are then faint).
    columns : int
        Panels that stand beside each other.

    Returns
    -------
    Figure

    Examples
    --------
    >>> plotting.regions(pd.concat([grid.assign(layer="grid"), lines.assign(layer="boundary"),
    ...                             points.assign(layer="point")]));

    Raises
    ------
    ValueError
        If a panel has no grid, or one with holes.
    """
    names = sorted(frame.loc[frame["layer"] == "point", "class"].unique())
    counts = [rows["panel"].nunique() for _, rows in frame.groupby("profile", sort=False)]
    columns = min(columns, max(counts))
    side = min(WIDTH / columns - 0.15, 4.0)
    fig, parts = row_figures(frame, [-(-count // columns) * (side + 0.6) + 0.3 for count in counts])
    fig.get_layout_engine().set(h_pad=0.09)  # a panel's note must not touch the title below it
    for (part, rows), count in zip(parts, counts, strict=True):
        panels = rows.groupby("panel", sort=False)
        for ax, (title, panel) in zip(grid_axes(part, count, columns), panels, strict=True):
            _draw_regions(ax, panel, list(frame.loc[frame["layer"] == "grid", "class"].sort_values().unique()))
            ax.set_title(wrap(str(title), side))
            if "note" in panel and panel["note"].notna().any():
                ax.set_xlabel(wrap(str(panel["note"].dropna().iloc[0]), side))
        colors, markers = class_palette(names)
        part.legend(handles=[Line2D([], [], color=colors[str(name)], marker=markers[str(name)], linestyle="none",
                                    label=str(name)) for name in names], loc="outside lower center", ncols=8)
    return fig


def _draw_regions(ax, panel: pd.DataFrame, classes: list) -> None:
    layers = dict(list(panel.groupby("layer")))
    grid = layers["grid"].pivot(index="y", columns="x", values="class")
    colors, markers = class_palette(classes)
    pale = {name: PALE * np.array(to_rgb(colors[str(name)])) + 1 - PALE for name in classes}
    image = np.array([[pale[name] for name in row] for row in grid.to_numpy()])
    (x0, x1), (y0, y1) = ((axis[0], axis[-1]) for axis in (grid.columns, grid.index))
    half_x, half_y = (x1 - x0) / (len(grid.columns) - 1) / 2, (y1 - y0) / (len(grid) - 1) / 2
    ax.imshow(image, extent=(x0 - half_x, x1 + half_x, y0 - half_y, y1 + half_y), origin="lower",
              interpolation="bilinear" if "boundary" in layers else "nearest")
    for _, line in layers["boundary"].groupby("line") if "boundary" in layers else ():
        ax.plot(line["x"], line["y"], color="#333333", linewidth=0.9)
    points = layers.get("point", panel[:0])
    faint = {"s": 5, "alpha": 0.35, "linewidths": 0} if "arrow" in layers else \
        {"s": 12, "linewidths": 0.3, "edgecolors": "white"}
    for name, chosen in points.groupby("class"):
        ax.scatter(chosen["x"], chosen["y"], color=colors[str(name)], marker=markers[str(name)], **faint)
    if "arrow" in layers:
        _draw_arrows(ax, layers["arrow"], colors, markers)
    ax.set(xticks=[], yticks=[], xlabel="", ylabel="")
    ax.spines[["top", "right"]].set_visible(True)


def _draw_arrows(ax, arrows: pd.DataFrame, colors: dict, markers: dict) -> None:
    method = str(arrows["method"].iloc[0])
    # The white rim keeps arrows visible on every region.
    ax.quiver(arrows["x"], arrows["y"], arrows["to_x"] - arrows["x"], arrows["to_y"] - arrows["y"], angles="xy",
              scale_units="xy", scale=1, color=palette([method])[method], width=0.0062, headwidth=3.6, headlength=4.2,
              headaxislength=3.8, minlength=0, zorder=3, path_effects=[withStroke(linewidth=2.0, foreground="white")])
    for name, chosen in arrows.groupby("class"):
        ax.scatter(chosen["x"], chosen["y"], s=30, color=colors[str(name)], marker=markers[str(name)],
                   edgecolors="white", linewidths=0.7, zorder=4)


def image_rows(rows, columns: int = 10):
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

    Examples
    --------
    >>> plotting.image_rows([(name, images[labels == k]) for k, name in enumerate(classes)]);

    Raises
    ------
    ValueError
        If there is no row, or images are not of the shape above.
    """
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
