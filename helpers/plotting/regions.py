"""Decision regions in the plane (Fig. 8, 9)."""

import numpy as np

from helpers.plotting.points import class_mark
from helpers.plotting.style import (
    WIDTH,
    check_rows,
    grid_axes,
    numbers,
    panels_of,
    row_figures,
    styled,
    wrap,
)

_PALE = 0.35  # share of a class's colour in its region, the rest is white
_MOST = 600   # points drawn; more would hide the regions


@styled
def decision_regions(rows):
    """Which class a model predicts where, a panel a model, in as many lines as needed.

    Parameters
    ----------
    rows : list of (label, data)
        ``data = {"classes": [names], "extent": [x0, x1, y0, y1], "panels": [{"title", "grid"}]}``: ``grid``
        (H, W) of predicted classes, first line at the smallest y. Data or a panel may have ``"points"``
        (N, 2) and ``"labels"`` (N ints); a panel's ``"extent"`` overrides the data's. ``"columns"`` (default
        4) panels stand in a line; ``"note"`` of a panel is a line below it. Boundaries follow the grid's
        cells unless a panel has exact ones as ``"lines"``, a list of (n, 2) polylines.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        For a missing panel or a grid that is not two-dimensional.
    """
    rows = check_rows(rows)
    columns = [min(int(data.get("columns", 4)), len(panels_of(data))) for _, data in rows]
    heights = [_height(data, count) for (_, data), count in zip(rows, columns, strict=True)]
    fig, parts = row_figures(rows, heights)
    fig.get_layout_engine().set(h_pad=0.09)  # a panel's note must not touch the title below it
    for part, (_, data), count in zip(parts, rows, columns, strict=True):
        panels = panels_of(data)
        for ax, panel in zip(grid_axes(part, len(panels), count), panels, strict=True):
            _draw_regions(ax, {**data, **panel}, WIDTH / count - 0.15)
        _legend(part, [str(name) for name in data["classes"]])
    return fig


def _height(data: dict, columns: int) -> float:
    """Panels keep the plane's proportions, so their width sets their height."""
    panels = panels_of(data)
    x0, x1, y0, y1 = panels[0].get("extent") or data["extent"]
    side = min(WIDTH / columns - 0.15, 4.0)
    texts = max(wrap(panel["title"], side).count("\n") + 1 + (wrap(panel["note"], side).count("\n") + 1
                if panel.get("note") else 0) for panel in panels)
    return -(-len(panels) // columns) * (side * (y1 - y0) / (x1 - x0) + 0.17 * texts + 0.22) + 0.35


def _draw_regions(ax, panel: dict, inches: float) -> None:
    from matplotlib.colors import to_rgb

    grid = np.array(panel["grid"], dtype=int)
    if grid.ndim != 2:
        raise ValueError(f"Panel {panel['title']!r} has a grid of shape {grid.shape}; it must be (H, W).")
    inches = min(inches, 4.0)
    pale = np.array([_PALE * np.array(to_rgb(class_mark(index)[0])) + 1 - _PALE
                     for index in range(len(panel["classes"]))])
    x0, x1, y0, y1 = extent = panel["extent"]
    exact = panel.get("lines")
    # Steps of cells would stick out beside exact lines.
    ax.imshow(pale[grid], extent=extent, origin="lower", aspect="equal",
              interpolation="nearest" if exact is None else "bilinear")
    if exact is None:
        _contour_cells(ax, grid, extent)
    for line in exact or ():
        ax.plot(*numbers(line).T, color="#333333", linewidth=0.9)
    _draw_points(ax, panel)
    ax.set(xlim=(x0, x1), ylim=(y0, y1), xticks=[], yticks=[])
    ax.set_title(wrap(panel["title"], inches))
    ax.spines[["top", "right"]].set_visible(True)
    if panel.get("note"):
        ax.set_xlabel(wrap(panel["note"], inches))


def _contour_cells(ax, grid: np.ndarray, extent) -> None:
    x0, x1, y0, y1 = extent
    height, width = grid.shape
    x = x0 + (np.arange(width) + 0.5) * (x1 - x0) / width
    y = y0 + (np.arange(height) + 0.5) * (y1 - y0) / height
    for index in np.unique(grid):
        inside = (grid == index).astype(float)
        if inside.min() < 1:
            ax.contour(x, y, inside, levels=[0.5], colors="#333333", linewidths=0.8)


def _draw_points(ax, panel: dict) -> None:
    if panel.get("points") is None:
        return
    points, labels = numbers(panel["points"]).reshape(-1, 2), np.array(panel["labels"], dtype=int)
    step = -(-len(points) // _MOST) or 1
    points, labels = points[::step], labels[::step]
    for index in range(len(panel["classes"])):
        color, marker = class_mark(index)
        chosen = points[labels == index]
        ax.scatter(chosen[:, 0], chosen[:, 1], s=12, color=color, marker=marker, linewidths=0.3,
                   edgecolors="white")


def _legend(part, classes: list[str]) -> None:
    from matplotlib.lines import Line2D

    handles = []
    for index, name in enumerate(classes):
        color, marker = class_mark(index)
        handles.append(Line2D([], [], color=color, marker=marker, linestyle="none", label=name))
    part.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 8))
