"""Any measure against p, a line an attack or a reading (Sec. 5.4, Table 3)."""

from helpers.plotting.style import (
    CLASS_COLORS,
    GREY,
    MARKERS,
    WIDTH,
    check_rows,
    grid_axes,
    numbers,
    panels_of,
    row_figures,
    say_missing,
    styled,
    wrap,
)


@styled
def against_p(rows):
    """Lines over p, one row of panels a profile; p = 0 stands for plain PGD and p is drawn as categories.

    Parameters
    ----------
    rows : list of (label, data)
        ``data = {"panels": [panel, ...]}``; a panel is ``{"title", "ylabel", "series": [{"label", "p", "y"}]}``.
        A series may have ``"low"`` and ``"high"`` (error bars), a panel ``"lines"`` ([{"y", "label"}],
        dotted), ``"band"`` ({"low", "high", "label"}, shaded), ``"ylim"`` and ``"missing"`` (a text in place of
        series). What has the same label in several panels looks alike, and one legend serves them all.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        For a missing panel.
    """
    rows = check_rows(rows)
    heights = [3.0 * -(-len(panels_of(data)) // _columns(data)) + 0.35 for _, data in rows]
    fig, parts = row_figures(rows, heights)
    for part, (_, data) in zip(parts, rows, strict=True):
        panels, columns = panels_of(data), _columns(data)
        labels = list(dict.fromkeys(series["label"] for panel in panels for series in panel["series"]))
        handles = {}
        for ax, panel in zip(grid_axes(part, len(panels), columns), panels, strict=True):
            handles |= _draw(ax, panel, labels, WIDTH / columns)
        longest = max(map(len, handles), default=1)
        if handles:
            part.legend(handles=list(handles.values()), loc="outside lower center",
                        ncols=min(max(int(WIDTH / (0.6 + 0.075 * longest)), 1), len(handles)))
    return fig


def _columns(data: dict) -> int:
    count = len(panels_of(data))
    return count if count < 4 else 2 if count == 4 else 3


def _draw(ax, panel: dict, labels: list[str], inches: float) -> dict:
    places = sorted({float(p) for series in panel["series"] for p in series["p"]})
    handles = {}
    for series in panel["series"]:
        index = labels.index(series["label"])
        y, errors = numbers(series["y"]), None
        if series.get("low") is not None and series.get("high") is not None:
            errors = [y - numbers(series["low"]), numbers(series["high"]) - y]
        # Side by side, or the error bars hide each other; as far apart on paper whether there are two p or four.
        shift = 0.03 * max(len(places) - 1, 1) * (index - (len(labels) - 1) / 2)
        handles[series["label"]] = ax.errorbar(
            [places.index(float(p)) + shift for p in series["p"]], y, errors, color=CLASS_COLORS[index % 10],
            marker=MARKERS[index % 10], markersize=4, linewidth=1.2, elinewidth=0.8, capsize=2,
            label=series["label"])
    for line in panel.get("lines", []):
        handles[line["label"]] = ax.axhline(line["y"], color=GREY, linestyle="dotted", linewidth=1.2,
                                            label=line["label"])
    if panel.get("band"):
        band = panel["band"]
        handles[band["label"]] = ax.axhspan(band["low"], band["high"], color="#EEEEEE", zorder=0, label=band["label"])
    ax.set_xticks(range(len(places)), ["0\n(PGD)" if p == 0 else f"{p:g}" for p in places])
    ax.set_title(wrap(panel["title"], inches - 0.7))
    ax.set_xlabel("p of the trained model")
    ax.set_ylabel(panel.get("ylabel", ""))
    ax.margins(x=0.1)
    ax.grid(axis="y")
    if panel.get("ylim") is not None:
        ax.set_ylim(*panel["ylim"])
    if panel.get("missing"):
        say_missing(ax, panel["missing"], inches - 0.7)
    return handles
