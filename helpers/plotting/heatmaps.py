"""Matrices over pairs of classes: cost, accuracy gap, confusion, difference (Fig. 1, 2, 3, 4, 11)."""

import re

import numpy as np

from helpers.plotting.style import (
    POINTS,
    SMALL,
    WIDTH,
    check_rows,
    grid_axes,
    numbers,
    panels_of,
    row_figures,
    styled,
    wrap,
)

ANNOTATED = 10  # classes up to which each cell shows its number
NAMED = 20      # classes up to which each class has a tick
MASK = "#D9D9D9"
COLUMNS = 3
FINE = 5.0       # percentage points: below, whole numbers would nearly all be 0
LARGEST = 10.0   # points, of a number in a cell
GROUP = 7.5      # points, of a group's name

# Dark means "alike" in a cost and "much" elsewhere: where the paper is right, the pictures look the same.
KINDS = {
    "cost": {"cmap": "Blues_r", "scale": 1.0, "label": "cost (dark: alike)"},
    "gap": {"cmap": "Blues", "scale": 100.0, "label": "|difference| [% points]"},
    "confusion": {"cmap": "Blues", "scale": 100.0, "label": "share of true class [%]"},
    "difference": {"cmap": "RdBu_r", "scale": 100.0, "label": "difference [% points]"},
}


@styled
def matrices(rows):
    """Class-by-class matrices, one row of panels a profile.

    Parameters
    ----------
    rows : list of (label, data)
        ``data = {"panels": [panel, ...]}``; a panel is ``{"title", "matrix" (K, K), "classes" (K names),
        "kind": "cost"|"gap"|"confusion"|"difference"}`` and may have ``"share"`` (panels of a row with the
        same name share colour limits and colour bar), ``"groups"`` ([(name, start, stop), ...], ticks when
        K > 20) and ``"unit"`` (label of the colour bar). Gap, confusion and difference are shares in [0, 1],
        shown in %. True classes are rows, predicted ones columns.

    Returns
    -------
    Figure

    Notes
    -----
    Colour limits come from the off-diagonal cells (for K > 20 their 99.5th percentile, for a cost their
    0.5th), because the diagonal would hide the pairs; a bar with an arrow says that some cell lies beyond. A
    cost is coloured from its nearest to its farthest pair, its diagonal is grey. The map of a difference is
    symmetric at 0.

    Raises
    ------
    ValueError
        For a missing panel, an unknown kind or a matrix that is not square or does not fit its classes.
    """
    rows = check_rows(rows)
    layouts = [[_read(panel) for panel in panels_of(data)] for _, data in rows]
    sizes = [_row_size(panels) for panels in layouts]
    fig, parts = row_figures(rows, [height for _, height in sizes])
    for part, panels, (side, _) in zip(parts, layouts, sizes, strict=True):
        _draw_row(part, panels, side)
    return fig


def _read(panel: dict) -> dict:
    kind = panel.get("kind")
    if kind not in KINDS:
        raise ValueError(f"Panel {panel.get('title')!r} is of kind {kind!r}; known are {', '.join(KINDS)}.")
    matrix = numbers(panel["matrix"]) * KINDS[kind]["scale"]
    classes = [str(name) for name in panel["classes"]]
    if matrix.shape != (len(classes), len(classes)):
        raise ValueError(f"Panel {panel.get('title')!r} has a matrix of shape {matrix.shape} for "
                         f"{len(classes)} classes; it must be (K, K).")
    if kind == "cost":
        np.fill_diagonal(matrix, np.nan)
    return {**panel, "matrix": matrix, "classes": classes, "share": panel.get("share")}


def _row_size(panels: list[dict]) -> tuple[float, float]:
    """Side of a panel and height of the row, in inches."""
    columns = min(len(panels), COLUMNS)
    bars = min(len({panel["share"] or index for index, panel in enumerate(panels)}), columns)
    names = max(_name_inches(panel) for panel in panels) + 0.2
    side = min((WIDTH - names - 0.3 - 0.75 * bars) / columns, 4.2)
    lines = -(-len(panels) // columns)
    titles = max(wrap(panel["title"], side).count("\n") for panel in panels)
    below = names - 0.2 if len(panels[0]["classes"]) <= NAMED else 0.2
    return side, lines * (side + 0.55 + 0.15 * titles + below)


def _name_inches(panel: dict) -> float:
    if len(panel["classes"]) <= NAMED:
        names = panel["classes"]
    else:
        names = [group[0] for group in panel.get("groups") or [("199",)]]
    return 0.58 * SMALL / POINTS * max(len(str(name)) for name in names)


def _draw_row(part, panels: list[dict], side: float) -> None:
    axes = grid_axes(part, len(panels), COLUMNS)
    shared: dict = {}
    for index, (ax, panel) in enumerate(zip(axes, panels, strict=True)):
        shared.setdefault(panel["share"] or index, []).append((ax, panel))
    for members in shared.values():
        low, high, beyond = color_limits([panel for _, panel in members])
        texts = [_cell_texts(panel, high) for _, panel in members]
        # Matrices to compare have numbers of one size.
        longest = max((len(text) for cells in texts for text in cells.values()), default=0)
        for (ax, panel), cells in zip(members, texts, strict=True):
            image = _draw_panel(ax, panel, low, high, side)
            _annotate(ax, panel["matrix"], image, cells, longest, side)
        panel = members[0][1]
        # An inset bar is exactly as high as its matrix and leaves all matrices of a row equally large.
        bar = part.colorbar(image, cax=ax.inset_axes([1 + 0.09 / side, 0, 0.11 / side, 1]), extend=beyond)
        bar.set_label(panel.get("unit") or KINDS[panel["kind"]]["label"], fontsize=SMALL)
        bar.outline.set(linewidth=0.4, edgecolor="#888888")
    for index, (ax, panel) in enumerate(zip(axes, panels, strict=True)):
        same = index % COLUMNS > 0 and panel["classes"] == panels[index - 1]["classes"]
        _ticks(ax, panel, side, names_left=not same)
        if panel["kind"] != "cost":
            ax.set_xlabel("predicted class")
            # The first matrix with predictions says what its rows are; its neighbours have the same rows.
            if index % COLUMNS == 0 or panels[index - 1]["kind"] == "cost":
                ax.set_ylabel("true class")


def color_limits(panels: list[dict]) -> tuple[float, float, str]:
    """Common colour limits of panels in display units, and which end of the bar needs an arrow."""
    cells, hidden, every = [], 100.0, []
    for panel in panels:
        matrix = panel["matrix"]
        off = ~np.eye(len(matrix), dtype=bool)
        cells.append(matrix[off])
        every.append(matrix[off] if panel["kind"] == "cost" else matrix.ravel())
        hidden = 99.5 if len(matrix) > NAMED and panel["kind"] != "cost" else hidden
    flat, every = np.concatenate(cells), np.concatenate(every)
    finite = np.abs(flat[np.isfinite(flat)])
    high = float(np.percentile(finite, hidden)) if finite.size else 1.0
    high = high if high > 0 else 1.0
    if all(panel["kind"] == "cost" for panel in panels):
        return _cost_limits(finite, high, panels)
    if all(panel["kind"] != "cost" and len(panel["matrix"]) <= ANNOTATED for panel in panels):
        high = max(high, 1.0)  # less than a percentage point is no dark cell
    above, below = bool(np.nanmax(every, initial=0) > high), bool(np.nanmin(every, initial=0) < -high)
    if any(panel["kind"] == "difference" for panel in panels):
        return -high, high, {(0, 0): "neither", (1, 0): "max", (0, 1): "min", (1, 1): "both"}[above, below]
    return 0.0, high, "max" if above else "neither"


def _cost_limits(finite: np.ndarray, high: float, panels: list[dict]) -> tuple[float, float, str]:
    """From the nearest pair, not from 0: distances such as 1 - 1 / (d + 1) all lie close to 1."""
    hidden = 0.5 if any(len(panel["matrix"]) > NAMED for panel in panels) else 0.0
    low = float(np.percentile(finite, hidden)) if finite.size else 0.0
    if low >= high:
        return 0.0, high, "neither"
    return low, high, "min" if finite.min() < low else "neither"


def _draw_panel(ax, panel: dict, low: float, high: float, side: float):
    import matplotlib

    cmap = matplotlib.colormaps[KINDS[panel["kind"]]["cmap"]].with_extremes(bad=MASK)
    image = ax.imshow(np.ma.masked_invalid(panel["matrix"]), cmap=cmap, vmin=low, vmax=high, interpolation="nearest")
    ax.set_title(wrap(panel["title"], side))
    for spine in ax.spines.values():
        spine.set_visible(False)
    return image


def _cell_texts(panel: dict, high: float) -> dict:
    """What is written into the cells, by (row, column); nothing into those of a large matrix."""
    matrix = panel["matrix"]
    if len(matrix) > ANNOTATED:
        return {}
    return {index: _cell_text(value, panel["kind"], high < FINE)
            for index, value in np.ndenumerate(matrix) if np.isfinite(value)}


def _annotate(ax, matrix: np.ndarray, image, texts: dict, longest: int, side: float) -> None:
    """Write each number into its cell, as large as the cell and the longest number allow, in black or white."""
    size = min(side / len(matrix) * POINTS / (0.66 * max(longest, 2) + 0.45), LARGEST)
    for (row, column), text in texts.items():
        red, green, blue, _ = image.cmap(image.norm(matrix[row, column]))
        dark = 0.299 * red + 0.587 * green + 0.114 * blue < 0.55
        ax.text(column, row, text, ha="center", va="center", fontsize=size,
                color="white" if dark else "#222222")



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
    classes, count = panel["classes"], len(panel["classes"])
    if count <= NAMED:
        long = max(map(len, classes)) * 0.6 * SMALL / POINTS > side / count
        ax.set_xticks(range(count), classes, rotation=90 if long else 0)
        ax.set_yticks(range(count), classes if names_left else [])
        ax.tick_params(length=0)
    elif panel.get("groups"):
        _group_ticks(ax, panel["groups"], count, side, names_left)
    else:
        places = list(range(0, count, 50 if count > 100 else 20))
        ax.set_xticks(places)
        ax.set_yticks(places if names_left else [])


def _group_ticks(ax, groups, count: int, side: float, names_left: bool) -> None:
    """Thin lines between groups; names at the left, as many as fit without touching."""
    edges = [stop - 0.5 for _, _, stop in groups][:-1]
    for edge in edges:
        ax.axhline(edge, color="black", linewidth=0.25, alpha=0.5)
        ax.axvline(edge, color="black", linewidth=0.25, alpha=0.5)
    ax.set_xticks([])
    line = 1.1 * GROUP / POINTS * count / side
    shown: list[tuple[str, float]] = []
    for name, start, stop in sorted(groups, key=lambda group: group[1] - group[2]):
        middle = (start + stop - 1) / 2
        if all(abs(middle - other) >= line for _, other in shown):
            shown.append((name, middle))
    ax.set_yticks([middle for _, middle in shown], [name for name, _ in shown] if names_left else None)
    ax.tick_params(axis="y", length=2 if names_left else 0, labelleft=names_left, labelsize=GROUP)
