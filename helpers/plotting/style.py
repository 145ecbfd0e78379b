"""One look for every figure: sizes, fixed colour-blind-safe colours, rows of panels with a bold title each.

A figure is 9 inches wide, so shown 900 pixels wide an 8 point letter is 11 pixels high.
"""

import re
import textwrap

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.colors import to_hex, to_rgb
from matplotlib.offsetbox import AnchoredOffsetbox, DrawingArea
from matplotlib.transforms import ScaledTranslation, blended_transform_factory

WIDTH = 9.0  # inches
SMALL, BODY, TITLE = 8.0, 9.0, 10.0  # points
POINTS = 72.0
GREY = "#9A9A9A"

# Okabe and Ito's colours, told apart under all common colour-vision deficiencies; NE and AE are no method's.
COLORS = {"CE": "#0072B2", "PGD": "#D55E00", "WPGD": "#009E73", "NE": "#3B3B3B", "AE": "#AA4499"}
WPGD_SHADES = {1.0: "#5CC9A7", 2.5: "#009E73", 10.0: "#00553E"}  # darker as p grows
# Paul Tol's "muted" scheme, for classes and attackers; markers repeat the distinction.
CLASS_COLORS = ("#332288", "#CC6677", "#117733", "#DDAA33", "#88CCEE", "#882255", "#44AA99", "#999933", "#AA4499",
                "#777777")
MARKERS = "os^Dvp<*>h"

RC = {
    "figure.dpi": 100, "figure.facecolor": "white", "font.size": BODY, "axes.titlesize": BODY, "axes.labelsize": BODY,
    "xtick.labelsize": SMALL, "ytick.labelsize": SMALL, "legend.fontsize": SMALL, "legend.title_fontsize": SMALL,
    "figure.titlesize": TITLE, "font.family": "DejaVu Sans", "axes.spines.top": False, "axes.spines.right": False,
    "axes.edgecolor": "black", "grid.color": "#E3E3E3", "grid.linewidth": 0.6, "axes.axisbelow": True,
    "lines.linewidth": 1.6, "lines.markersize": 5, "legend.frameon": False, "legend.handlelength": 2.2,
    "xtick.major.size": 3, "ytick.major.size": 3, "xtick.major.width": 0.6, "ytick.major.width": 0.6,
    "axes.linewidth": 0.6, "pdf.fonttype": 42,
}


def use_theme() -> None:
    """Set seaborn's theme to the study's look; once at the top of a notebook."""
    sns.set_theme(style="ticks", palette=CLASS_COLORS, rc=RC)


def palette(labels) -> dict[str, str]:
    """Fixed colour of each label, for seaborn's ``palette=``.

    A label that begins with "CE", "PGD", "WPGD", "NE" or "AE" has that colour, "WPGD p=10" is darker than "WPGD p=1".
    Where several labels share a colour ("PGD", "PGD, deeper network") the later ones are paler. All others take the
    colours of classes in their order.

    Examples
    --------
    >>> sns.lineplot(frame, x="epoch", y="error", hue="method", palette=plotting.palette(frame["method"]))
    """
    colors, others = {}, 0
    for label in dict.fromkeys(map(str, labels)):
        name = re.match(r"(CE|PGD|WPGD|NE|AE)\b", label)
        p = re.search(r"\bp ?= ?([\d.]+)", label)
        if name is None:
            color, others = CLASS_COLORS[others % len(CLASS_COLORS)], others + 1
        elif name[1] == "WPGD" and p:
            color = WPGD_SHADES[min(WPGD_SHADES, key=lambda known: abs(np.log1p(known) - np.log1p(float(p[1]))))]
        else:
            color = COLORS[name[1]]
        while color in colors.values():
            color = to_hex([0.65 * part + 0.35 for part in to_rgb(color)])
        colors[label] = color
    return colors


def class_palette(classes) -> tuple[dict[str, str], dict[str, str]]:
    """Colour and marker of each class, two dicts by name; no pair of them repeats within a hundred classes.

    Examples
    --------
    >>> colors, markers = plotting.class_palette(classes)
    >>> sns.scatterplot(frame, x="x", y="y", hue="class", style="class", palette=colors, markers=markers)
    """
    names = list(dict.fromkeys(map(str, classes)))
    colors = {name: CLASS_COLORS[index % 10] for index, name in enumerate(names)}
    return colors, {name: MARKERS[(index + index // 10) % 10] for index, name in enumerate(names)}


def wrap(text: str, inches: float, points: float = BODY) -> str:
    """Break a text so that it fits a width; explicit line breaks are kept."""
    letters = max(int(inches * POINTS / (0.56 * points)), 8)
    return "\n".join(textwrap.fill(line, letters, break_long_words=False) for line in text.split("\n"))


def place(frame: pd.DataFrame, columns: int = 3, large: int = 1) -> pd.DataFrame:
    """Say where each panel stands: adds the columns ``line`` and ``column`` for seaborn's ``row=`` and ``col=``.

    Each profile starts a new line. With ``large`` the first panel of a profile covers a square of so many places.

    Examples
    --------
    A figure with a row of panels a profile; the band is from the lowest to the highest seed:

    >>> grid = sns.relplot(plotting.place(frame), row="line", col="column", kind="line", x="epoch", y="error",
    ...                    hue="method", palette=plotting.palette(frame["method"]), errorbar=("pi", 100),
    ...                    facet_kws={"sharex": False, "sharey": False})
    >>> plotting.finish(grid, ylabel="validation error [%]");

    Raises
    ------
    ValueError
        If the frame has no column ``profile`` or ``panel``, or no row.
    """
    missing = {"profile", "panel"} - set(frame.columns)
    if missing or frame.empty:
        raise ValueError(f"A figure's frame needs rows and the columns profile and panel; it has {len(frame)} rows and "
                         f"{', '.join(map(str, frame.columns)) or 'no column'}.")
    widest = frame.groupby("profile")["panel"].nunique().max()
    columns, start, where = min(columns, max(widest, large)), 0, {}
    for profile, panels in frame.groupby("profile", sort=False)["panel"]:
        free = [(line, column) for line in range(len(frame)) for column in range(columns)
                if not (line < large and column < large) or (line, column) == (0, 0)] if large > 1 else None
        for index, panel in enumerate(panels.unique()):
            line, column = free[index] if free else divmod(index, columns)
            where[profile, panel] = start + line, column
        start = max(start + large, 1 + max(line for line, _ in where.values()))
    places = [where[key] for key in zip(frame["profile"], frame["panel"], strict=True)]
    return frame.reset_index(drop=True).assign(line=[line for line, _ in places], column=[column for _, column in places],
                                               large=large)


def finish(grid: sns.FacetGrid, *, xlabel: str | None = None, ylabel: str | None = None, height: float = 1.75,
           legend: bool = True, **limits):
    """Titles, labels, a bold text and a legend a profile on a grid of seaborn's that was drawn from `place`.

    Parameters
    ----------
    grid : FacetGrid
        From ``sns.relplot``, ``catplot``, ``displot`` or ``sns.FacetGrid`` with ``row="line", col="column"``.
    xlabel, ylabel : str
        Labels of all axes. Columns ``xlabel`` and ``ylabel`` of the frame, one text a panel, come first; a column
        ``missing`` says in an empty panel why it is empty.
    height : float
        Inches of one axes, without its title and labels.
    legend : bool
        Draw one below each profile: the entries that occur in it.
    limits
        ``xlim`` and ``ylim`` of all axes, as in ``ax.set``.

    Returns
    -------
    Figure

    Examples
    --------
    >>> grid = sns.FacetGrid(plotting.place(frame), row="line", col="column", sharex=False, sharey=False)
    >>> grid.map_dataframe(plotting.errorbars, x="p", y="AE", hue="attack")
    >>> plotting.finish(grid, ylabel="AE [%]", ylim=(0, None));
    """
    fig, data = grid.figure, grid.data
    known = dict(zip([text.get_text() for text in grid.legend.get_texts()], grid.legend.legend_handles, strict=True)) \
        if grid.legend else {}
    if grid.legend:
        grid.legend.remove()
    columns = grid.axes.shape[1]
    fig.set_size_inches(WIDTH if columns > 1 else 0.67 * WIDTH, 3 * grid.axes.shape[0])
    panels = {place: rows for place, rows in data.groupby(["line", "column"], sort=True)}
    for where, ax in grid.axes_dict.items():
        if where not in panels:
            ax.remove()
            continue
        _finish_panel(ax, panels[where], fig.get_figwidth() / columns, xlabel, ylabel, limits)
    fig.set_layout_engine("constrained", w_pad=0.05, h_pad=0.05, wspace=0.02, hspace=0.02)
    # ---- rows: bold text above, legend below, with room for both
    fig.draw_without_rendering()
    total = 0.0
    for profile, rows in data.groupby("profile", sort=False):
        places = sorted(set(zip(rows["line"], rows["column"], strict=True)))
        axes = {place: grid.axes_dict[place] for place in places}
        total += _row_texts(fig, profile, rows, axes, known if legend else None, height)
    fig.set_size_inches(fig.get_figwidth(), total)
    return fig


def _finish_panel(ax, rows: pd.DataFrame, inches: float, xlabel, ylabel, limits: dict) -> None:
    def own(column, default):
        values = rows[column].dropna() if column in rows else ()
        return str(values.iloc[0]) if len(values) else default

    ax.set_title(wrap(str(rows["panel"].iloc[0]), inches - 0.5))
    ax.set_xlabel(own("xlabel", xlabel if xlabel is not None else ax.get_xlabel()))
    ax.set_ylabel(own("ylabel", ylabel if ylabel is not None else ax.get_ylabel()))
    ax.tick_params(labelbottom=True, labelleft=True)
    ax.grid(axis="y")
    ax.set(**limits)
    why = own("missing", None)
    if why:
        ax.set(xticks=[], yticks=[])
        ax.grid(False)
        ax.text(0.5, 0.5, wrap(why, inches - 0.7), ha="center", va="center", transform=ax.transAxes, color="#666666")


def _row_texts(fig, profile: str, rows: pd.DataFrame, axes: dict, known: dict | None, height: float) -> float:
    """Draw a profile's bold text and legend where they have room; height of its lines in inches."""
    lines = sorted({line for line, _ in axes})
    boxes = {place: (ax.get_window_extent(), ax.get_tightbbox()) for place, ax in axes.items()}
    above = {line: max(full.y1 - box.y1 for (row, _), (box, full) in boxes.items() if row == line) / fig.dpi for line in lines}
    below = {line: max(box.y0 - full.y0 for (row, _), (box, full) in boxes.items() if row == line) / fig.dpi for line in lines}
    first, last = axes[min(axes)], axes[max(axes)]
    title = wrap(str(profile), fig.get_figwidth(), TITLE * 1.1)
    room = 0.19 * (1 + title.count("\n"))
    _reserve(first, 1, above[lines[0]] + 0.03, room)
    fig.text(0.01, 1, title, transform=_at(fig, first, above[lines[0]] + 0.05), fontweight="bold", fontsize=TITLE,
             ha="left", va="bottom").set_in_layout(False)
    extra = room + 0.05
    entries = {} if known is None else _entries(rows, axes.values(), known)
    if entries:
        longest = max(map(len, entries))
        per_line = max(int(fig.get_figwidth() / (0.6 + 0.075 * longest)), 1)
        count = -(-len(entries) // per_line)
        drop = below[lines[-1]] + 0.06
        _reserve(last, 0, -drop, -0.17 * count - 0.05)
        fig.legend(list(entries.values()), list(entries), loc="upper center", bbox_to_anchor=(0.5, 0), borderaxespad=0,
                   bbox_transform=_at(fig, last, -drop), ncols=-(-len(entries) // count),
                   columnspacing=1.4).set_in_layout(False)
        extra += 0.17 * count + 0.11
    return extra + sum(height + above[line] + below[line] + 0.12 for line in lines)


def _entries(rows: pd.DataFrame, axes, known: dict) -> dict:
    """Legend handles of a profile by label: those of its axes, and seaborn's whose label occurs in its rows."""
    entries = {}
    for ax in axes:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    here = {str(value) for column in rows.select_dtypes(exclude="number") for value in rows[column].unique()}
    return {label: handle for label, handle in known.items() if label in here} | entries


def _at(fig, ax, inches: float):
    """Transform whose x is a share of the figure, whose y one of the axes, shifted up by ``inches``."""
    return blended_transform_factory(fig.transFigure, ax.transAxes) + ScaledTranslation(0, inches, fig.dpi_scale_trans)


def _reserve(ax, y: float, inches: float, height: float) -> None:
    """An invisible box above (below, if ``height`` is negative) a place of the axes: the layout makes room for it."""
    box = AnchoredOffsetbox("lower left" if height > 0 else "upper left", child=DrawingArea(1, abs(height) * POINTS),
                            pad=0, borderpad=0, frameon=False, bbox_to_anchor=(0, y),
                            bbox_transform=ax.transAxes + ScaledTranslation(0, inches, ax.figure.dpi_scale_trans))
    ax.add_artist(box)


def row_figures(frame: pd.DataFrame, heights, width: float = WIDTH):
    """A figure with a subfigure a profile under a bold title; ``heights`` in inches, without titles.

    Returns
    -------
    fig, list of (SubFigure, rows of the profile)
    """
    profiles = list(frame.groupby("profile", sort=False))
    titles = [wrap(str(profile), width, TITLE * 1.1) for profile, _ in profiles]
    heights = [height + 0.2 * (1 + title.count("\n")) for height, title in zip(heights, titles, strict=True)]
    fig = plt.figure(figsize=(width, sum(heights)), layout="constrained")
    fig.get_layout_engine().set(w_pad=0.05, h_pad=0.05, wspace=0.02, hspace=0.02)
    parts = fig.subfigures(len(profiles), 1, squeeze=False, height_ratios=heights)[:, 0]
    for part, title in zip(parts, titles, strict=True):
        part.suptitle(title, x=0.01, ha="left", fontweight="bold", fontsize=TITLE)
    return fig, [(part, rows) for part, (_, rows) in zip(parts, profiles, strict=True)]


def grid_axes(part, count: int, columns: int, **kwargs) -> list:
    """``count`` axes in ``columns`` columns, the empty places of the last line left blank."""
    columns = min(columns, count)
    axes = part.subplots(-(-count // columns), columns, squeeze=False, **kwargs).ravel()
    for unused in axes[count:]:
        unused.remove()
    return list(axes[:count])
