"""How sure a model is: entropy histograms (Fig. 7) and reliability diagrams (Sec. 3.3)."""

import numpy as np

from helpers.plotting.style import (
    GREY,
    SMALL,
    WIDTH,
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

_OTHERS = 12  # small panels at most
_STYLES = ("solid", "dashed", "dotted")


@styled
def entropy_histograms(rows):
    """Entropy of the softmax: one class large, all others small, a histogram a method.

    Parameters
    ----------
    rows : list of (label, data)
        ``data = {"classes": [K names], "main": one of them, "bins": [B + 1 edges, nats],
        "series": [{"label", "method", "counts" (K, B)}]}``. Counts may be numbers of images or shares; each
        class is drawn in % of its images. A series may have ``"p"`` and ``"mean"`` (K mean entropies, drawn
        as vertical lines).

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        If ``main`` is no class, or counts do not fit classes and bins.
    """
    rows = check_rows(rows)
    fig, parts = row_figures(rows, [3.9 for _ in rows])
    for part, (_, data) in zip(parts, rows, strict=True):
        _draw_entropy(part, _read_entropy(data))
    return fig


def _read_entropy(data: dict) -> dict:
    classes = [str(name) for name in data["classes"]]
    if str(data.get("main")) not in classes:
        raise ValueError(f"The main class {data.get('main')!r} is none of {', '.join(classes)}.")
    shape = (len(classes), len(data["bins"]) - 1)
    series = []
    for entry in data["series"]:
        counts = numbers(entry["counts"])
        if counts.shape != shape:
            raise ValueError(f"Counts of {entry['label']!r} have shape {counts.shape}; classes and bins "
                             f"want {shape}.")
        series.append({**entry, "share": 100 * counts / np.maximum(counts.sum(1, keepdims=True), 1e-12)})
    return {"classes": classes, "main": classes.index(str(data["main"])), "bins": numbers(data["bins"]),
            "series": series}


def _draw_entropy(part, data: dict) -> None:
    from matplotlib.ticker import MaxNLocator

    others = [index for index in range(len(data["classes"])) if index != data["main"]][:_OTHERS]
    columns = max(min(3, len(others)), 1)
    lines = max(-(-len(others) // columns), 1)
    grid = part.add_gridspec(lines, 2 + columns, width_ratios=[1.25, 1.25] + [1] * columns)
    top = max(entry["share"].max() for entry in data["series"]) * 1.05
    large = part.add_subplot(grid[:, :2])
    _histogram(large, data, data["main"], top, "main")
    large.set_xlabel("entropy of the softmax [nats]")
    large.set_ylabel("images of the class [%]")
    large.yaxis.set_major_locator(MaxNLocator(4))  # shared by the small panels, which have no room for more
    for place, index in enumerate(others):
        ax = part.add_subplot(grid[place // columns, 2 + place % columns], sharex=large, sharey=large)
        _histogram(ax, data, index, top, "small")
        ax.tick_params(labelleft=place % columns == 0, labelbottom=place + columns >= len(others))
    handles, labels = large.get_legend_handles_labels()
    part.legend(handles, labels, loc="outside lower center", ncols=len(labels))


def _histogram(ax, data: dict, index: int, top: float, size: str) -> None:
    for place, entry in enumerate(data["series"]):
        color = method_color(entry.get("method", ""), entry.get("p"))
        ax.stairs(entry["share"][index], data["bins"], color=color, alpha=0.35, fill=True)
        ax.stairs(entry["share"][index], data["bins"], color=color, linewidth=1.2 if size == "main" else 0.8,
                  label=entry["label"])
        if entry.get("mean") is not None and entry["mean"][index] is not None:
            ax.axvline(entry["mean"][index], color=color, linewidth=1.2, linestyle=_STYLES[1 + place % 2],
                       label=f"{entry['label']}, mean" if size == "main" else None)
    ax.set_xlim(data["bins"][0], data["bins"][-1])
    ax.set_ylim(0, top)
    ax.set_title(data["classes"][index], fontsize=None if size == "main" else SMALL,
                 fontweight="bold" if size == "main" else "normal", pad=3)


@styled
def reliability(rows):
    """Accuracy against confidence; below the diagonal a model is over-confident.

    Parameters
    ----------
    rows : list of (label, data)
        ``data = {"panels": [{"title", "series": [{"label", "method", "confidence", "accuracy"}]}]}``, shares
        in [0, 1] a bin (None for an empty bin). A series may have ``"p"`` and ``"ece"`` (a share).

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
    sides = [min(WIDTH / count - 0.9, 2.9) for count in columns]
    entries = [1 + max(len(panel["series"]) for panel in panels_of(data)) for _, data in rows]
    heights = [-(-len(panels_of(data)) // count) * (side + 0.8 + 0.17 * lines)
               for (_, data), count, side, lines in zip(rows, columns, sides, entries, strict=True)]
    fig, parts = row_figures(rows, heights)
    for part, (_, data), count, side in zip(parts, rows, columns, sides, strict=True):
        panels = panels_of(data)
        for ax, panel in zip(grid_axes(part, len(panels), count), panels, strict=True):
            _draw_reliability(ax, panel, side)
    return fig


def _draw_reliability(ax, panel: dict, side: float) -> None:
    ax.plot([0, 100], [0, 100], color=GREY, linestyle="dotted", linewidth=1.2, label="calibrated")
    for place, entry in enumerate(panel["series"]):
        label = entry["label"]
        if entry.get("ece") is not None:
            label += f" (ECE {100 * entry['ece']:.1f} %)"
        ax.plot(100 * numbers(entry["confidence"]), 100 * numbers(entry["accuracy"]), marker="os^"[place % 3],
                color=method_color(entry.get("method", ""), entry.get("p")), label=label)
    ax.set(xlim=(0, 102), ylim=(0, 102), aspect="equal", xlabel="confidence [%]", ylabel="accuracy [%]")
    ax.set_title(wrap(panel["title"], side))
    ax.grid()
    legend_below(ax, ax.get_legend_handles_labels()[0], 1)
