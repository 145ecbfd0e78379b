"""Curves over training and errors over p (Fig. 5, 10, 12, 13)."""

from helpers.plotting.style import (
    AE_COLOR,
    GREY,
    NE_COLOR,
    check_rows,
    figure_width,
    grid_axes,
    legend_below,
    method_color,
    numbers,
    panels_of,
    row_figures,
    say_missing,
    styled,
    wrap,
)

# A second and third series of one method in one panel (two networks, say) get another marker and are paler.
_VARIANTS = (("none", 1.0), ("o", 0.65), ("s", 0.45))
_METRICS = {"NE": (NE_COLOR, "o"), "AE": (AE_COLOR, "s")}


@styled
def curves(rows):
    """Curves with bands, one row of panels a profile (a "column" layout puts profiles side by side).

    Parameters
    ----------
    rows : list of (label, data)
        ``data = {"panels": [panel, ...], "layout": "row" (default) | "column" | "grid" (two columns)}``; a
        panel is ``{"title", "xlabel", "ylabel", "series": [series, ...]}`` and may have ``"ylim"`` and
        ``"lines"`` ([{"y", "label"}], dotted horizontal lines), or ``"missing"`` (a text in place of series,
        then empty); a series is ``{"label", "method": "ce"|"pgd"|"wpgd", "x", "y"}`` and may have ``"p"``
        (shade of WPGD), ``"low"`` and ``"high"`` (the band), ``"style"`` ("solid", "dashed", "dotted") and
        ``"variant"`` (0, 1, 2: told apart by marker where method and style are equal).

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        For a missing panel or an unknown layout.
    """
    rows = check_rows(rows)
    layout = rows[0][1].get("layout", "row")
    if layout not in ("row", "column", "grid"):
        raise ValueError(f"Layout {layout!r} of the curves is unknown; use 'row', 'column' or 'grid'.")
    sideways = layout == "column"
    width = figure_width(rows)
    room = width / len(rows) if sideways else width
    plans = []
    for _, data in rows:
        panels = panels_of(data)
        columns = {"row": min(len(panels), 3), "column": 1, "grid": 2}[layout]
        plans.append((panels, columns, _legends(panels, room, columns)))
    fig, parts = row_figures(rows, [_height(*plan) for plan in plans], sideways=sideways, width=width)
    for part, (panels, columns, (per_line, _)) in zip(parts, plans, strict=True):
        common = _same_labels(panels)
        for ax, panel in zip(grid_axes(part, len(panels), columns), panels, strict=True):
            handles = _draw_curves(ax, panel, room / columns)
            if not common:
                legend_below(ax, handles, per_line)
        if common:
            part.legend(handles=handles, loc="outside lower center",
                        ncols=min(per_line * columns, len(handles)))
    return fig


def _height(panels: list[dict], columns: int, legends: tuple[int, int]) -> float:
    lines = -(-len(panels) // columns)
    return lines * 2.35 + 0.4 if _same_labels(panels) else lines * (2.55 + 0.17 * legends[1])


def _same_labels(panels: list[dict]) -> bool:
    """Whether several panels mean the same by their colours, so that one legend serves all."""
    keys = [[(series["label"], series.get("method"), series.get("p"), series.get("style")) for series
             in panel["series"]] + panel.get("lines", []) for panel in panels]
    return len(keys) > 1 and all(key == keys[0] for key in keys)


def _legends(panels: list[dict], room: float, columns: int) -> tuple[int, int]:
    """Entries a line and lines of the panels' legends, which stand below the axes."""
    labels = [[entry["label"] for entry in [*panel["series"], *panel.get("lines", [])]] for panel in panels]
    longest = max((len(label) for panel in labels for label in panel), default=1)
    per_line = max(int((room / columns - 0.3) / (0.55 + 0.075 * longest)), 1)
    return per_line, max(-(-len(panel) // per_line) for panel in labels)


def _draw_curves(ax, panel: dict, inches: float) -> list:
    from matplotlib.ticker import MaxNLocator

    handles = []
    for series in panel["series"]:
        color = method_color(series.get("method", ""), series.get("p"))
        marker, alpha = _VARIANTS[int(series.get("variant", 0)) % len(_VARIANTS)]
        x, y = numbers(series["x"]), numbers(series["y"])
        every = max(len(x) // 8, 1)
        handles += ax.plot(x, y, color=color, alpha=alpha, linestyle=series.get("style", "solid"),
                           marker=marker, markevery=every, markersize=4, label=series["label"])
        if series.get("low") is not None and series.get("high") is not None:
            ax.fill_between(x, numbers(series["low"]), numbers(series["high"]), color=color, alpha=0.18,
                            linewidth=0)
    for line in panel.get("lines", []):
        handles.append(ax.axhline(line["y"], color=GREY, linestyle="dotted", linewidth=1.2,
                                  label=line["label"]))
    _label(ax, panel, inches)
    if panel["series"]:
        ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))  # half an epoch is none
    return handles


def _label(ax, panel: dict, inches: float) -> None:
    ax.set_title(wrap(panel.get("title", ""), inches - 0.7))
    ax.set_xlabel(panel.get("xlabel", "epoch"))
    ax.set_ylabel(panel.get("ylabel", "error [%]"))
    ax.grid(axis="y")
    if panel.get("ylim") is not None:
        ax.set_ylim(*panel["ylim"])
    if panel.get("missing"):
        say_missing(ax, panel["missing"], inches - 0.7)


@styled
def tradeoff(rows):
    """NE and AE against p, a panel a data set (Fig. 10); p = 0 stands for plain PGD.

    Parameters
    ----------
    rows : list of (label, data)
        ``data = {"panels": [{"title", "series": [series, ...]}]}``; a series is ``{"label", "metric":
        "NE"|"AE", "p", "y"}`` and may have ``"low"`` and ``"high"`` (error bars) and ``"printed": True`` (the
        paper's numbers: hollow markers, dotted line). p is drawn as categories, ascending over all series. A
        panel without series says why in ``"missing"``.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        For a missing panel or an unknown metric.
    """
    rows = check_rows(rows)
    width = figure_width(rows)
    plans = []
    for _, data in rows:
        panels = panels_of(data)
        columns = min(len(panels), 2)
        plans.append((panels, columns, _legends(panels, width, columns)))
    heights = [-(-len(panels) // columns) * (2.75 + 0.17 * lines) for panels, columns, (_, lines) in plans]
    fig, parts = row_figures(rows, heights, width=width)
    for part, (panels, columns, (per_line, _)) in zip(parts, plans, strict=True):
        for ax, panel in zip(grid_axes(part, len(panels), columns), panels, strict=True):
            _draw_tradeoff(ax, panel, width / columns, per_line)
    return fig


def _draw_tradeoff(ax, panel: dict, inches: float, per_line: int) -> None:
    places = sorted({float(p) for series in panel["series"] for p in series["p"]})
    for series in panel["series"]:
        if series.get("metric") not in _METRICS:
            raise ValueError(f"Series {series.get('label')!r} has the metric {series.get('metric')!r}; it "
                             "must be 'NE' or 'AE'.")
        color, marker = _METRICS[series["metric"]]
        y, printed = numbers(series["y"]), bool(series.get("printed"))
        errors = None
        if series.get("low") is not None and series.get("high") is not None:
            errors = [y - numbers(series["low"]), numbers(series["high"]) - y]
        ax.errorbar([places.index(float(p)) for p in series["p"]], y, errors, color=color, marker=marker,
                    capsize=3, linestyle="dotted" if printed else "solid", linewidth=1.0 if printed else 1.6,
                    markerfacecolor="white" if printed else color, label=series["label"])
    if places:
        ax.set_xticks(range(len(places)), ["0\n(PGD)" if p == 0 else f"{p:g}" for p in places])
    ax.margins(x=0.08)
    _label(ax, {"xlabel": "p", **panel}, inches)
    if panel.get("ylim") is None and panel["series"]:
        ax.set_ylim(bottom=0)
    legend_below(ax, ax.get_legend_handles_labels()[0], per_line, drop=46.0)
