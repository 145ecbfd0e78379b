"""Matrices over pairs of classes: cost, accuracy gap, confusion, difference (Fig. 1, 2, 3, 4, 11)."""

import re

import numpy as np
import pandas as pd
import seaborn as sns

from helpers.plotting.style import POINTS, SMALL, WIDTH, grid_axes, row_figures, wrap

ANNOTATED = 10  # classes up to which each cell shows its number
NAMED = 20      # classes up to which each class has a tick
MASK = "#D9D9D9"
COLUMNS = 3
FINE = 5.0       # percentage points: below, whole numbers would nearly all be 0
LARGEST = 10.0   # points, of a number in a cell
GROUP = 7.5      # points, of a group's name

# Dark means "alike" in a cost and "much" elsewhere: where the paper is right, the pictures look the same.
KINDS = {"cost": ("Blues_r", 1.0, "cost (dark: alike)"), "gap": ("Blues", 100.0, "|difference| [% points]"),
         "confusion": ("Blues", 100.0, "share of true class [%]"),
         "difference": ("RdBu_r", 100.0, "difference [% points]")}


def matrices(frame: pd.DataFrame):
    """Class-by-class matrices, one row of heatmaps a profile; true classes are rows, predicted ones columns.

    Parameters
    ----------
    frame : DataFrame
        One row a cell, with the columns ``profile``, ``panel`` (title), ``kind`` ("cost", "gap", "confusion",
        "difference"), ``true``, ``predicted`` (class names in the order to draw) and ``value``; gap, confusion and
        difference are shares in [0, 1], shown in %. A column ``group`` (of the true class) names groups of
        neighbouring classes where there are more than 20.

    Returns
    -------
    Figure

    Notes
    -----
    Panels of one kind in a row share colour limits and bar. The limits come from the off-diagonal cells (for more than
    20 classes their 99.5th percentile, for a cost their 0.5th), because the diagonal would hide the pairs; a bar with
    an arrow says that some cell lies beyond. A cost is coloured from its nearest to its farthest pair, its diagonal is
    grey. The map of a difference is symmetric at 0.

    Examples
    --------
    >>> cells = pd.DataFrame(gap, index=pd.Index(classes, name="true"), columns=pd.Index(classes, name="predicted"))
    >>> frame = cells.stack().rename("value").reset_index().assign(profile="quick: digits", panel="gap", kind="gap")
    >>> plotting.matrices(frame);

    Raises
    ------
    ValueError
        For a missing column, an unknown kind, or a panel without exactly one value a pair of classes.
    """
    missing = {"profile", "panel", "kind", "true", "predicted", "value"} - set(frame.columns)
    if missing or frame.empty:
        raise ValueError(f"Matrices are drawn from a frame with rows and the columns profile, panel, kind, true, "
                         f"predicted, value; missing: {', '.join(sorted(missing)) or 'rows'}.")
    rows = [[_read(title, cells) for title, cells in profile.groupby("panel", sort=False)]
            for _, profile in frame.groupby("profile", sort=False)]
    sizes = [_row_size(panels) for panels in rows]
    fig, parts = row_figures(frame, [height for _, height in sizes])
    for (part, _), panels, (side, _) in zip(parts, rows, sizes, strict=True):
        _draw_row(part, panels, side)
    return fig


def _read(title: str, cells: pd.DataFrame) -> dict:
    kind = cells["kind"].iloc[0]
    if kind not in KINDS:
        raise ValueError(f"Panel {title!r} is of kind {kind!r}; known are {', '.join(KINDS)}.")
    classes = list(cells["true"].unique())
    if len(cells) != len(classes) ** 2 or cells.duplicated(["true", "predicted"]).any() or \
            set(cells["predicted"]) != set(classes):
        raise ValueError(f"Panel {title!r} has {len(cells)} cells for {len(classes)} true classes; it must have one "
                         "a pair of classes.")
    matrix = cells.pivot(index="true", columns="predicted", values="value").loc[classes, classes].to_numpy(float)
    matrix = matrix * KINDS[kind][1]
    if kind == "cost":
        np.fill_diagonal(matrix, np.nan)
    groups = cells.drop_duplicates("true")["group"].tolist() if "group" in cells else None
    return {"title": str(title), "kind": kind, "matrix": matrix, "classes": [str(name) for name in classes],
            "groups": groups if groups and pd.notna(groups).all() else None}


def _row_size(panels: list[dict]) -> tuple[float, float]:
    """Side of a panel and height of the row, in inches."""
    columns = min(len(panels), COLUMNS)
    bars = min(len({panel["kind"] for panel in panels}), columns)
    names = max(_name_inches(panel) for panel in panels) + 0.2
    side = min((WIDTH - names - 0.3 - 0.75 * bars) / columns, 4.2)
    titles = max(wrap(panel["title"], side).count("\n") for panel in panels)
    below = names - 0.2 if len(panels[0]["classes"]) <= NAMED else 0.2
    return side, -(-len(panels) // columns) * (side + 0.55 + 0.15 * titles + below)


def _name_inches(panel: dict) -> float:
    names = panel["classes"] if len(panel["classes"]) <= NAMED else panel["groups"] or ["199"]
    return 0.58 * SMALL / POINTS * max(map(len, names))


def _draw_row(part, panels: list[dict], side: float) -> None:
    axes = grid_axes(part, len(panels), COLUMNS)
    for kind in dict.fromkeys(panel["kind"] for panel in panels):
        members = [(ax, panel) for ax, panel in zip(axes, panels, strict=True) if panel["kind"] == kind]
        low, high, beyond = color_limits([panel["matrix"] for _, panel in members], kind)
        texts = [_cell_texts(panel["matrix"], kind, high) for _, panel in members]
        # Matrices to compare have numbers of one size.
        longest = max((len(text) for cells in texts if cells is not None for text in cells.ravel()), default=0)
        for (ax, panel), cells in zip(members, texts, strict=True):
            size = min(side / len(panel["matrix"]) * POINTS / (0.66 * max(longest, 2) + 0.45), LARGEST)
            sns.heatmap(panel["matrix"], vmin=low, vmax=high, cmap=KINDS[kind][0], square=True, cbar=False, ax=ax,
                        annot=cells, fmt="", annot_kws={"fontsize": size}, mask=np.isnan(panel["matrix"]),
                        rasterized=len(panel["matrix"]) > NAMED)
            ax.set_facecolor(MASK)
            ax.set_title(wrap(panel["title"], side))
        # An inset bar is exactly as high as its matrix and leaves all matrices of a row equally large.
        bar = part.colorbar(ax.collections[0], cax=ax.inset_axes([1 + 0.09 / side, 0, 0.11 / side, 1]), extend=beyond)
        bar.set_label(KINDS[kind][2], fontsize=SMALL)
        bar.outline.set(linewidth=0.4, edgecolor="#888888")
    for index, (ax, panel) in enumerate(zip(axes, panels, strict=True)):
        same = index % COLUMNS > 0 and panel["classes"] == panels[index - 1]["classes"]
        _ticks(ax, panel, side, names_left=not same)
        if panel["kind"] != "cost":
            ax.set_xlabel("predicted class")
            # The first matrix with predictions says what its rows are; its neighbours have the same rows.
            if index % COLUMNS == 0 or panels[index - 1]["kind"] == "cost":
                ax.set_ylabel("true class")


def color_limits(matrices: list[np.ndarray], kind: str) -> tuple[float, float, str]:
    """Common colour limits of matrices in display units, and which end of the bar needs an arrow."""
    many = any(len(matrix) > NAMED for matrix in matrices)
    off = np.abs(np.concatenate([matrix[~np.eye(len(matrix), dtype=bool)] for matrix in matrices]))
    off = off[np.isfinite(off)]
    high = float(np.percentile(off, 99.5 if many and kind != "cost" else 100)) if off.size else 1.0
    high = high if high > 0 else 1.0
    if kind == "cost":
        # From the nearest pair, not from 0: distances such as 1 - 1 / (d + 1) all lie close to 1.
        low = float(np.percentile(off, 0.5 if many else 0)) if off.size else 0.0
        return (low, high, "min" if off.min() < low else "neither") if low < high else (0.0, high, "neither")
    if all(len(matrix) <= ANNOTATED for matrix in matrices):
        high = max(high, 1.0)  # less than a percentage point is no dark cell
    above = any(np.nanmax(matrix, initial=0) > high for matrix in matrices)
    below = any(np.nanmin(matrix, initial=0) < -high for matrix in matrices)
    extend = {(0, 0): "neither", (1, 0): "max", (0, 1): "min", (1, 1): "both"}[above, below]
    return (-high if kind == "difference" else 0.0), high, extend


def _cell_texts(matrix: np.ndarray, kind: str, high: float) -> np.ndarray | None:
    """What is written into the cells; nothing into those of a large matrix."""
    if len(matrix) > ANNOTATED:
        return None
    return np.array([[_cell_text(value, kind, high < FINE) if np.isfinite(value) else "" for value in row]
                     for row in matrix], dtype=object)


def _cell_text(value: float, kind: str, fine: bool) -> str:
    if kind == "cost":
        if value >= 10 or value == round(value):
            return f"{value:.0f}"
        return f"{value:.2f}".lstrip("0") if value < 1 else f"{value:.1f}"
    # Three characters at most: four would be too small to read.
    digits = int(fine and abs(value) < (0.95 if kind == "difference" else FINE))
    text = f"{value:+.{digits}f}" if kind == "difference" else f"{value:.{digits}f}"
    return re.sub(r"^([+-]?)0\.", r"\1.", text) if float(text) else "0"


def _ticks(ax, panel: dict, side: float, names_left: bool) -> None:
    """Names of classes; of groups of them, between thin lines, where there are many; or their numbers."""
    classes, count = panel["classes"], len(panel["classes"])
    ax.tick_params(length=0, rotation=0)
    if count <= NAMED:
        long = max(map(len, classes)) * 0.6 * SMALL / POINTS > side / count
        ax.set_xticks(np.arange(count) + 0.5, classes, rotation=90 if long else 0)
        ax.set_yticks(np.arange(count) + 0.5, classes if names_left else [""] * count, rotation=0)
    elif panel["groups"]:
        edges = [0, *(i for i in range(1, count) if panel["groups"][i] != panel["groups"][i - 1]), count]
        ax.hlines(edges[1:-1], 0, count, color="black", linewidth=0.25, alpha=0.5)
        ax.vlines(edges[1:-1], 0, count, color="black", linewidth=0.25, alpha=0.5)
        line, shown = 1.1 * GROUP / POINTS * count / side, {}
        for start, stop in sorted(zip(edges, edges[1:]), key=lambda edge: edge[0] - edge[1]):  # largest groups first
            middle = (start + stop) / 2
            if all(abs(middle - other) >= line for other in shown):
                shown[middle] = panel["groups"][start]
        ax.set_xticks([])
        ax.set_yticks(list(shown), shown.values() if names_left else [""] * len(shown), rotation=0)
        ax.tick_params(axis="y", length=2 if names_left else 0, labelsize=GROUP)
    else:
        places = np.arange(0, count, 50 if count > 100 else 20)
        ax.set_xticks(places + 0.5, places)
        ax.set_yticks(places + 0.5, places if names_left else [""] * len(places))
