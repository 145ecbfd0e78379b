"""Matrices over pairs of classes: cost, accuracy gap, confusion, difference (Fig. 1, 2, 3, 4, 11)."""
import re
from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from helpers.plotting.panels import panels
from helpers.plotting.style import POINTS, SMALL, WIDTH

ANNOTATED = 10  # classes up to which each cell shows its number
NAMED = 20      # classes up to which each class has a tick
FINE = 5.0      # percentage points: below, whole numbers would nearly all be 0
LARGEST, GROUP = 10.0, 7.5  # points, of a number in a cell and of a group's name
# Map, factor and unit. Dark means "alike" in a cost and "much" elsewhere: where the paper is right, they look the same.
KINDS = {"cost": ("Blues_r", 1.0, "cost (dark: alike)"), "gap": ("Blues", 100.0, "|difference| [% points]"),
         "confusion": ("Blues", 100.0, "share of true class [%]"),
         "difference": ("RdBu_r", 100.0, "difference [% points]")}


def matrices(frame: pd.DataFrame) -> Figure:
    """Class-by-class matrices, a row of heatmaps a profile; true classes are rows, predicted ones columns.

    Panels of one kind in a row share colour limits and bar. The limits come from the off-diagonal cells (for more than
    20 classes their 99.5th percentile, for a cost their 0.5th), because the diagonal would hide the pairs; a bar with
    an arrow says that some cell lies beyond. A cost is coloured from its nearest to its farthest pair, its diagonal is
    grey. The map of a difference is symmetric at 0.

    Parameters
    ----------
    frame : DataFrame, one row a cell: ``profile``, ``panel`` (title), ``kind`` ("cost", "gap", "confusion",
        "difference"), ``true``, ``predicted`` (class names in the order to draw), ``value`` (shares in [0, 1] but for
        a cost) and, for more than 20 classes, perhaps ``group``, a name for each run of neighbouring true classes

    Raises ValueError for an unknown kind, and for a panel without exactly one value a pair of classes.
    """
    if unknown := set(frame["kind"]) - set(KINDS):
        raise ValueError(f"Matrices of kind {unknown.pop()!r} are unknown; known are {', '.join(KINDS)}.")
    kinds = {key: {name: _matrix(cells, key[1]) for name, cells in rows.groupby("panel", sort=False)}
             for key, rows in frame.groupby(["profile", "kind"])}
    return panels(frame, lambda cells: _draw(cells, kinds[tuple(cells.iloc[0][["profile", "kind"]])]),
                  xlabel="predicted class")


def _draw(cells: pd.DataFrame, alike: dict) -> None:
    """The heatmap of a panel, with the limits of all matrices that are `alike`, by panel; the last one has the bar."""
    kind, panel, ax = cells["kind"].iloc[0], cells["panel"].iloc[0], plt.gca()
    matrix, (low, high, beyond) = alike[panel], color_limits([one.to_numpy() for one in alike.values()], kind)
    groups = list(cells.drop_duplicates("true").get("group", pd.Series()).replace("", np.nan).dropna())
    longest = max(map(len, groups if groups and len(matrix) > NAMED else map(str, matrix)))
    side = 0.95 * WIDTH * ax.get_position().width - 0.022 * longest  # inches that names and bars will leave, about
    image = ax.imshow(matrix, cmap=KINDS[kind][0], vmin=low, vmax=high, interpolation="nearest")
    ax.set_facecolor("#D9D9D9")
    ax.spines[:].set_visible(False)
    if len(matrix) <= ANNOTATED:
        texts = {name: one.map(_cell_text, kind=kind, fine=high < FINE).to_numpy() for name, one in alike.items()}
        letters = max(2, *(len(text) for cells in texts.values() for text in cells.flat))
        size = min(side / len(matrix) * POINTS / (0.66 * letters + 0.45), LARGEST)
        dark = image.to_rgba(matrix.to_numpy())[..., :3] @ [0.299, 0.587, 0.114] < 0.55
        for (row, column), text in np.ndenumerate(texts[panel]):
            ax.text(column, row, text, ha="center", va="center", fontsize=size, in_layout=False,
                    color="white" if dark[row, column] else "#222222")
    first = ax.get_subplotspec().is_first_col()
    _ticks(ax, list(matrix), groups, side, named=first)
    ax.set_ylabel("true class" if first else "")
    if panel == list(alike)[-1]:
        # An inset bar is exactly as high as its matrix and leaves all matrices of a row equally large.
        bar = plt.colorbar(image, cax=ax.inset_axes([1 + 0.09 / side, 0, 0.11 / side, 1]), extend=beyond)
        bar.set_label(KINDS[kind][2], fontsize=SMALL)
        bar.outline.set(linewidth=0.4, edgecolor="#888888")


def _matrix(cells: pd.DataFrame, kind: str) -> pd.DataFrame:
    """(K, K) values in display units, the diagonal of a cost empty."""
    names = cells["true"].unique()
    if len(cells) != len(names) ** 2:
        raise ValueError(f"Panel {cells['panel'].iloc[0]!r} has {len(cells)} cells for {len(names)} true classes; it "
                         "must have one a pair of classes.")
    matrix = cells.pivot(index="true", columns="predicted", values="value").loc[names, names].astype(float)
    return KINDS[kind][1] * matrix.mask(np.eye(len(names), dtype=bool) & (kind == "cost"))


def color_limits(matrices: list[np.ndarray], kind: str) -> tuple[float, float, str]:
    """Common colour limits of matrices in display units, and which end of the bar needs an arrow."""
    count = max(map(len, matrices))
    every = np.concatenate([matrix.ravel() for matrix in matrices])
    off = np.abs(np.concatenate([matrix[~np.eye(len(matrix), dtype=bool)] for matrix in matrices]))
    off = off[np.isfinite(off)] if np.isfinite(off).any() else np.ones(1)
    low, high = np.percentile(off, [0.5, 99.5] if count > NAMED else [0, 100])
    if kind == "cost":
        # From the nearest pair, not from 0: distances such as 1 - 1 / (d + 1) all lie close to 1.
        low, high = (low, off.max()) if low < off.max() else (0.0, off.max() or 1.0)
    else:
        # Less than a percentage point is no dark cell where numbers stand in the cells.
        high = max(high, 1.0 if count <= ANNOTATED else 1e-9)
        low = -high if kind == "difference" else 0.0
    beyond = {(0, 0): "neither", (1, 0): "max", (0, 1): "min", (1, 1): "both"}
    return low, high, beyond[bool(np.nanmax(every) > high), bool(np.nanmin(every) < low)]


def _cell_text(value: float, kind: str, fine: bool) -> str:
    """Three characters at most: four would be too small to read."""
    if np.isnan(value):
        return ""
    if kind == "cost":
        digits = 0 if value >= 10 or value == round(value) else 2 if value < 1 else 1
        return re.sub(r"^0\.", ".", f"{value:.{digits}f}")
    digits = int(fine and abs(value) < (0.95 if kind == "difference" else FINE))
    text = f"{value:+.{digits}f}" if kind == "difference" else f"{value:.{digits}f}"
    return re.sub(r"^([+-]?)0\.", r"\1.", text) if float(text) else "0"


def _ticks(ax, classes: list, groups: list, side: float, named: bool) -> None:
    """Names of classes; of groups of them, between thin lines, where there are many; else their numbers."""
    count, ticks = len(classes), {}
    if count <= NAMED:
        ticks = dict(enumerate(classes))
        long = max(len(str(name)) for name in classes) * 0.6 * SMALL / POINTS > side / count
        ax.set_xticks(list(ticks), ticks.values(), rotation=90 if long else 0)
    elif groups:
        edges = [0, *(i for i in range(1, count) if groups[i] != groups[i - 1]), count]
        for draw in (ax.axhline, ax.axvline):
            for edge in edges[1:-1]:
                draw(edge - 0.5, color="black", linewidth=0.25, alpha=0.5)
        for start, stop in sorted(pairwise(edges), key=lambda edge: edge[0] - edge[1]):  # the largest groups first
            middle = (start + stop - 1) / 2
            if all(abs(middle - other) >= 1.25 * GROUP / POINTS * count / side for other in ticks):
                ticks[middle] = groups[start]
        ax.set_xticks([])
    if ticks:
        ax.set_yticks(list(ticks), ticks.values())
    ax.tick_params(length=0 if count <= NAMED else 2, labelleft=named)
    if count > NAMED:
        ax.tick_params(axis="y", labelsize=GROUP)
