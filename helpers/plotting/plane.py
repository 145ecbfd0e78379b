"""The 2-d toy beyond its decision regions: where attacks move points, and each pair's boundary on its own."""

import numpy as np

from helpers.plotting.points import class_mark
from helpers.plotting.regions import _draw_regions, _legend
from helpers.plotting.style import (
    GREY,
    WIDTH,
    check_rows,
    grid_axes,
    method_color,
    numbers,
    panels_of,
    row_figures,
    styled,
    wrap,
)

# From cheap to dear: darker costs more. No method and no class has a purple.
_CHEAP, _DEAR = "#C3A5DB", "#2A0845"
_PAIR_MARKERS = "os^Dvp"
_NAMES = {"ce": "standard", "pgd": "PGD", "wpgd": "WPGD"}


@styled
def attack_arrows(rows):
    """Decision regions with an arrow from each point to where an attack moves it, a panel an attack.

    Parameters
    ----------
    rows : list of (label, data)
        ``data = {"classes", "extent", "grid", "panels"}``, see `decision_regions`; a panel is ``{"title",
        "method": "pgd"|"wpgd" (colour of its arrows), "starts" (N, 2), "ends" (N, 2), "labels" (N ints)}``
        and may have its own ``"grid"`` and a ``"note"``. Data may have ``"points"`` and ``"labels"``, drawn
        faintly for orientation.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        For a missing panel.
    """
    rows = check_rows(rows)
    heights = [WIDTH / max(len(panels_of(data)), 2) + 0.4 for _, data in rows]
    fig, parts = row_figures(rows, heights)
    for part, (_, data) in zip(parts, rows, strict=True):
        panels = panels_of(data)
        for ax, panel in zip(grid_axes(part, len(panels), len(panels)), panels, strict=True):
            _draw_regions(ax, {**data, **panel, "points": None}, WIDTH / len(panels) - 0.2)
            if data.get("points") is not None:
                _faint_points(ax, data)
            _draw_arrows(ax, panel)
        _legend(part, [str(name) for name in data["classes"]])
    return fig


def _faint_points(ax, data: dict, only=None) -> None:
    points, labels = numbers(data["points"]).reshape(-1, 2), np.array(data["labels"], dtype=int)
    for index in range(len(data["classes"])):
        color, marker = class_mark(index)
        chosen = points[labels == index]
        shown = only is None or index in only
        ax.scatter(chosen[:, 0], chosen[:, 1], s=5, color=color if shown else GREY, marker=marker,
                   alpha=0.35 if shown else 0.15, linewidths=0)


def _draw_arrows(ax, panel: dict) -> None:
    from matplotlib.patheffects import withStroke

    starts, ends = numbers(panel["starts"]).reshape(-1, 2), numbers(panel["ends"]).reshape(-1, 2)
    moves = ends - starts
    color = method_color(panel["method"])
    # The white rim keeps arrows visible on every region.
    ax.quiver(*starts.T, *moves.T, angles="xy", scale_units="xy", scale=1, color=color, width=0.0062,
              headwidth=3.6, headlength=4.2, headaxislength=3.8, minlength=0, zorder=3,
              path_effects=[withStroke(linewidth=2.0, foreground="white")])
    for index in np.unique(np.array(panel["labels"], dtype=int)):
        color, marker = class_mark(index)
        chosen = starts[np.array(panel["labels"], dtype=int) == index]
        ax.scatter(chosen[:, 0], chosen[:, 1], s=30, color=color, marker=marker, edgecolors="white",
                   linewidths=0.7, zorder=4)


@styled
def pair_measures(rows):
    """Measures of each pair's boundary against eps, a panel a measure; a darker line costs more.

    Parameters
    ----------
    rows : list of (label, data)
        ``data = {"panels": [{"title", "series"}]}``; a series is ``{"label", "cost", "x" (eps in 1/255),
        "y"}`` and may have ``"low"`` and ``"high"`` (the band). A panel may have ``"ylim"``. All panels have
        the same pairs; `evaluation.boundary_tables.measure_panels` makes them.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        For a missing panel.
    """
    rows = check_rows(rows)
    columns = [min(len(panels_of(data)), 4) for _, data in rows]
    lines = [-(-len(panels_of(data)) // count) for (_, data), count in zip(rows, columns, strict=True)]
    fig, parts = row_figures(rows, [2.25 * count + 0.3 for count in lines])
    for part, (_, data), count in zip(parts, rows, columns, strict=True):
        panels = panels_of(data)
        for ax, panel in zip(grid_axes(part, len(panels), count), panels, strict=True):
            handles = _draw_measure(ax, panel, WIDTH / count - 0.4)
        part.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 4))
    return fig


def _draw_measure(ax, panel: dict, inches: float) -> list:
    from matplotlib.colors import LinearSegmentedColormap

    shade = LinearSegmentedColormap.from_list("cost", [_CHEAP, _DEAR])
    order = sorted(panel["series"], key=lambda series: series["cost"])
    handles = []
    for rank, series in enumerate(order):
        color = shade(rank / max(len(order) - 1, 1))
        x = numbers(series["x"])
        marker = _PAIR_MARKERS[rank % len(_PAIR_MARKERS)]
        handles += ax.plot(x, numbers(series["y"]), color=color, marker=marker, markersize=4,
                           label=series["label"])
        if series.get("low") is not None and series.get("high") is not None:
            ax.fill_between(x, numbers(series["low"]), numbers(series["high"]), color=color, alpha=0.2,
                            linewidth=0)
    ax.set_title(wrap(panel["title"], inches))
    ax.set_xlabel("ε [1/255]; 0: standard")
    ax.set_xticks(sorted({float(x) for series in order for x in series["x"]}))
    ax.xaxis.set_major_formatter("{x:g}")
    ax.grid(axis="y")
    if panel.get("ylim") is not None:
        ax.set_ylim(*panel["ylim"])
    return handles


@styled
def pair_boundaries(rows):
    """The boundary of one pair of classes in several models above each other, a panel a pair.

    Parameters
    ----------
    rows : list of (label, data)
        ``data = {"classes", "extent", "points", "labels", "panels"}``; a panel is ``{"title", "pair": [i, j],
        "lines"}``, a line ``{"method", "eps", "points" (n, 2)}``. Points of the pair are drawn faintly in
        their colours, the others in grey; `evaluation.boundary_tables.boundary_panels` makes the data.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        For a missing panel.
    """
    rows = check_rows(rows)
    columns = [min(len(panels_of(data)), 3) for _, data in rows]
    heights = [-(-len(panels_of(data)) // count) * (WIDTH / max(count, 2) + 0.15) + 0.3
               for (_, data), count in zip(rows, columns, strict=True)]
    fig, parts = row_figures(rows, heights)
    for part, (_, data), count in zip(parts, rows, columns, strict=True):
        panels = panels_of(data)
        for ax, panel in zip(grid_axes(part, len(panels), count), panels, strict=True):
            _draw_pair(ax, data, panel, WIDTH / count - 0.2)
        handles = _method_handles(panels)
        part.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    return fig


def _draw_pair(ax, data: dict, panel: dict, inches: float) -> None:
    _faint_points(ax, data, only=panel["pair"])
    for line in panel["lines"]:
        ax.plot(*numbers(line["points"]).T, color=method_color(line["method"]), linewidth=1.3, alpha=0.85,
                linestyle=_line_style(line["method"]))
    x0, x1, y0, y1 = data["extent"]
    ax.set(xlim=(x0, x1), ylim=(y0, y1), xticks=[], yticks=[], aspect="equal")
    ax.set_title(wrap(panel["title"], inches))
    ax.spines[["top", "right"]].set_visible(True)


def _line_style(method: str) -> str:
    return "dashed" if method == "ce" else "solid"


def _method_handles(panels: list[dict]) -> list:
    from matplotlib.lines import Line2D

    kinds = dict.fromkeys((line["method"], line["eps"]) for panel in panels for line in panel["lines"])
    return [Line2D([], [], color=method_color(method), linestyle=_line_style(method),
                   label=_NAMES.get(method, method) + (f", ε = {eps:g}/255" if eps else ""))
            for method, eps in kinds]
