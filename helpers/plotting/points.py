"""Clouds of points: t-SNE of features (Fig. 6), gap against cost (Table 1)."""

import numpy as np

from helpers.plotting.style import (
    CLASS_COLORS,
    COLORS,
    GREY,
    MARKERS,
    SMALL,
    check_rows,
    figure_width,
    grid_axes,
    numbers,
    panels_of,
    row_figures,
    styled,
    wrap,
)


def class_mark(index: int) -> tuple[str, str]:
    """Colour and marker of a class; no pair repeats within a hundred classes."""
    turn, place = divmod(index, len(CLASS_COLORS))
    return CLASS_COLORS[place], MARKERS[(place + turn) % len(MARKERS)]


@styled
def scatter(rows):
    """Embedded features coloured by class, one row of panels a profile.

    Parameters
    ----------
    rows : list of (label, data)
        ``data = {"classes": [names], "panels": [{"title", "x", "y", "labels" (ints)}]}``. A panel may have
        ``"note"``, a line below it (a cluster score, say).

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        For a missing panel.
    """
    rows = check_rows(rows)
    fig, parts = row_figures(rows, [_lines(data) * 3.7 for _, data in rows])
    for part, (_, data) in zip(parts, rows, strict=True):
        panels, classes = panels_of(data), [str(name) for name in data["classes"]]
        columns = min(len(panels), 3)
        for ax, panel in zip(grid_axes(part, len(panels), columns), panels, strict=True):
            _draw_cloud(ax, panel, classes)
            ax.set_title(wrap(panel["title"], 7.5 / columns))
        handles = [_handle(index, name) for index, name in enumerate(classes)]
        part.legend(handles=handles, loc="outside right center", title="class", ncols=-(-len(handles) // 16),
                    title_fontsize=SMALL)
    return fig


def _lines(data: dict) -> int:
    return -(-len(panels_of(data)) // 3)


def _handle(index: int, name: str):
    from matplotlib.lines import Line2D

    color, marker = class_mark(index)
    return Line2D([], [], color=color, marker=marker, linestyle="none", markersize=5, label=name)


def _draw_cloud(ax, panel: dict, classes: list[str]) -> None:
    x, y, labels = numbers(panel["x"]), numbers(panel["y"]), np.array(panel["labels"], dtype=int)
    size = float(np.clip(9000 / max(len(x), 1), 4, 22))
    for index in range(len(classes)):
        color, marker = class_mark(index)
        chosen = labels == index
        ax.scatter(x[chosen], y[chosen], s=size, color=color, marker=marker, alpha=0.75, linewidths=0)
    # Coordinates of t-SNE mean nothing, so they get no numbers.
    ax.set_xticks([])
    ax.set_yticks([])
    ax.spines[["top", "right"]].set_visible(True)
    if panel.get("note"):
        ax.set_xlabel(panel["note"])


@styled
def correlation(rows):
    """Accuracy gap of each pair of classes against its cost, with a regression line and rho (Table 1).

    Parameters
    ----------
    rows : list of (label, data)
        ``data = {"panels": [panel, ...]}``; a panel is ``{"title", "cost", "gap", "rho"}``: costs and gaps
        (shares in [0, 1], shown in %) of the pairs. It may have ``"low"``, ``"high"`` (interval of rho),
        ``"pvalue"``, ``"xlabel"`` and ``"annotations"`` ([{"x", "y", "text"}], named pairs, y as a share).

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        For a missing panel.
    """
    rows = check_rows(rows)
    columns = [3 if len(panels_of(data)) in (3, 5, 6) else 2 for _, data in rows]
    lines = [-(-len(panels_of(data)) // count) for (_, data), count in zip(rows, columns, strict=True)]
    width = figure_width(rows)
    fig, parts = row_figures(rows, [2.9 * count for count in lines], width=width)
    for part, (_, data), count in zip(parts, rows, columns, strict=True):
        panels = panels_of(data)
        for ax, panel in zip(grid_axes(part, len(panels), count), panels, strict=True):
            _draw_correlation(ax, panel, width / min(count, len(panels)) - 0.7)
    return fig


def _draw_correlation(ax, panel: dict, inches: float) -> None:
    cost, gap = numbers(panel["cost"]).ravel(), 100 * numbers(panel["gap"]).ravel()
    seen = np.isfinite(cost) & np.isfinite(gap)
    cost, gap = cost[seen], gap[seen]
    many = len(cost) > 1000
    ax.scatter(cost, gap, s=5 if many else 14, color=COLORS["ce"], alpha=0.35 if many else 0.55, linewidths=0,
               rasterized=many)
    if len(np.unique(cost)) > 1:
        slope, start = np.polyfit(cost, gap, 1)
        ends = np.array([cost.min(), cost.max()])
        ax.plot(ends, start + slope * ends, color=COLORS["pgd"])
    for pair in panel.get("annotations", []):
        right = pair["x"] > (cost.min() + cost.max()) / 2  # there a name to the right might leave the axes
        ax.annotate(pair["text"], (pair["x"], 100 * pair["y"]), xytext=(-6 if right else 4, 3),
                    textcoords="offset points", fontsize=SMALL, ha="right" if right else "left")
        ax.plot(pair["x"], 100 * pair["y"], "o", markerfacecolor="none", markeredgecolor=GREY, markersize=7)
        ax.plot(pair["x"], 100 * pair["y"], "o", color=COLORS["ce"], markeredgewidth=0, markersize=3)
    ax.set_title(wrap(f"{panel['title']}\n{_rho(panel)}", inches))
    ax.set_xlabel(panel.get("xlabel", "cost"))
    ax.set_ylabel("accuracy gap [% points]")
    ax.margins(y=0.12)
    ax.grid(axis="y")


def _rho(panel: dict) -> str:
    if panel.get("rho") is None:
        return "ρ cannot be computed"
    text = f"ρ = {panel['rho']:.2f}"
    if panel.get("low") is not None and panel.get("high") is not None:
        text += f" [{panel['low']:.2f}, {panel['high']:.2f}]"
    return text + (f", Mantel p = {panel['pvalue']:.2g}" if panel.get("pvalue") is not None else "")
