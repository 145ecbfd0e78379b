"""Bars side by side: where the images of an attack end, and at what cost (Eq. 6)."""

import numpy as np

from helpers.plotting.style import (
    GREY,
    check_rows,
    grid_axes,
    legend_below,
    method_color,
    numbers,
    panels_of,
    row_figures,
    styled,
    wrap,
)
from helpers.plotting.style import WIDTH as FULL


@styled
def bars(rows):
    """Groups of bars, a group a category and a bar a method, one row of panels a profile.

    Parameters
    ----------
    rows : list of (label, data)
        ``data = {"panels": [panel, ...]}``; a panel is ``{"title", "xlabel", "ylabel", "categories": [names],
        "series": [{"label", "method", "y": [a number a category]}]}``. A series may have ``"p"`` (shade of
        WPGD), ``"low"`` and ``"high"`` (error bars); a panel ``"lines"`` ([{"y", "label"}], dotted),
        ``"ylim"`` and ``"width"`` (relative, default 1).

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        For a missing panel or a series that does not fit its categories.
    """
    rows = check_rows(rows)
    fig, parts = row_figures(rows, [3.1 * -(-len(panels_of(data)) // 3) for _, data in rows])
    for part, (_, data) in zip(parts, rows, strict=True):
        panels = panels_of(data)
        columns = min(len(panels), 3)
        widths = [panel.get("width", 1) for panel in panels[:columns]]
        axes = grid_axes(part, len(panels), columns, width_ratios=widths)
        for index, (ax, panel) in enumerate(zip(axes, panels, strict=True)):
            _draw_bars(ax, panel, FULL * widths[index % columns] / sum(widths))
    return fig


def _draw_bars(ax, panel: dict, inches: float) -> None:
    places = np.arange(len(panel["categories"]))
    width = 0.82 / max(len(panel["series"]), 1)
    handles = []
    for index, series in enumerate(panel["series"]):
        y = numbers(series["y"])
        if y.shape != places.shape:
            raise ValueError(f"Series {series['label']!r} has {len(y)} bars for {len(places)} categories.")
        errors = None
        if series.get("low") is not None and series.get("high") is not None:
            errors = [y - numbers(series["low"]), numbers(series["high"]) - y]
        handles.append(ax.bar(places + (index + 0.5) * width - 0.41, y, 0.92 * width, yerr=errors, capsize=2,
                              color=method_color(series.get("method", ""), series.get("p")),
                              error_kw={"linewidth": 0.9, "ecolor": "#333333"}, label=series["label"]))
    for line in panel.get("lines", []):
        handles.append(ax.axhline(line["y"], color=GREY, linestyle="dotted", linewidth=1.2, label=line["label"]))
    ax.set_xticks(places, [str(name) for name in panel["categories"]])
    ax.tick_params(axis="x", length=0, rotation=0 if _fits(panel["categories"], inches) else 90)
    ax.set_title(wrap(panel["title"], inches - 0.6))
    ax.set_xlabel(panel.get("xlabel", ""))
    ax.set_ylabel(panel.get("ylabel", ""))
    if panel.get("ylim") is not None:
        ax.set_ylim(*panel["ylim"])
    ax.grid(axis="y")
    longest = max(len(handle.get_label()) for handle in handles)
    legend_below(ax, handles, max(int((inches - 0.3) / (0.55 + 0.075 * longest)), 1))


def _fits(categories: list, inches: float) -> bool:
    return sum(len(str(name)) + 1 for name in categories) * 0.075 < inches - 0.7
