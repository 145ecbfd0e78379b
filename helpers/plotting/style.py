"""One look for every figure: sizes, fixed colour-blind-safe colours, rows of panels with a bold title each.

A figure is 9 inches wide, so shown 900 pixels wide an 8 point letter is 11 pixels high.
"""
import re
import textwrap

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.transforms import ScaledTranslation, blended_transform_factory

WIDTH, POINTS = 9.0, 72.0  # inches of a figure, points of an inch
# For ``facet_kws``: axes of their own for each panel, and no legend that costs two drawings, since `finish` makes one.
FREE = {"sharex": False, "sharey": False, "legend_out": False}
SMALL, BODY, TITLE = 8.0, 9.0, 10.0  # points

# Okabe and Ito's colours, told apart under all common colour-vision deficiencies; NE and AE are no method's.
COLORS = {"CE": "#0072B2", "PGD": "#D55E00", "WPGD": "#009E73", "NE": "#3B3B3B", "AE": "#AA4499"}
WPGD_SHADES = {1.0: "#5CC9A7", 2.5: "#009E73", 10.0: "#00553E"}  # darker as p grows
# Paul Tol's "muted" scheme, for classes and attackers; markers repeat the distinction.
CLASS_COLORS = ("#332288", "#CC6677", "#117733", "#DDAA33", "#88CCEE", "#882255", "#44AA99", "#999933", "#AA4499",
                "#777777")
MARKERS = "os^Dvp<*>h"

RC = {
    "figure.dpi": 100, "font.family": "DejaVu Sans", "font.size": BODY, "axes.titlesize": BODY, "axes.labelsize": BODY,
    "xtick.labelsize": SMALL, "ytick.labelsize": SMALL, "legend.fontsize": SMALL, "legend.title_fontsize": SMALL,
    **dict.fromkeys(["text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"], "black"),
    "xtick.major.size": 3, "ytick.major.size": 3, "xtick.major.width": 0.6, "ytick.major.width": 0.6,
    "axes.linewidth": 0.6, "axes.axisbelow": True, "grid.color": "#E3E3E3", "grid.linewidth": 0.6, "pdf.fonttype": 42,
    "lines.linewidth": 1.6, "lines.markersize": 5, "legend.frameon": False, "legend.handlelength": 2.2,
}


def use_theme() -> None:
    """Set seaborn's theme to the study's look; once at the top of a notebook."""
    sns.set_theme(style="ticks", palette=CLASS_COLORS, rc=RC)
    # `finish` lays a figure out once; seaborn would do so, otherwise, two or three times on the way.
    sns.FacetGrid.tight_layout = lambda grid, *_, **__: grid


def palette(labels) -> dict[str, str]:
    """Fixed colour of each label: ``sns.relplot(..., hue="method", palette=plotting.palette(frame["method"]))``.

    A label that begins with CE, PGD, WPGD, NE or AE has that colour, with any eps and as "AE, paper (W-16-10)", too;
    "WPGD p=10" is darker than "WPGD p=1". Where others still share a colour ("PGD", "PGD, deeper network") the later
    ones are paler. What begins otherwise takes the colours of classes in their order.
    """
    colors, keys = {}, {}
    for label in pd.Series(labels).dropna().astype(str).unique():
        key = re.sub(r",? (eps|ε) ?=? ?[\d.]+(/255)?|, paper.*", "", label)
        name, p = re.match(r"(CE|PGD|WPGD|NE|AE)\b", key), re.search(r"\bp ?= ?([\d.]+)", key)
        color = COLORS[name[1]] if name else CLASS_COLORS[len(keys) % len(CLASS_COLORS)]
        if name and name[1] == "WPGD" and p:
            color = WPGD_SHADES[min(WPGD_SHADES, key=lambda known: abs(np.log1p(known) - np.log1p(float(p[1]))))]
        while key not in keys and color in keys.values():
            color = to_hex([0.65 * part + 0.35 for part in to_rgb(color)])
        colors[label] = keys.setdefault(key, color)
    return colors


def class_palette(classes, profiles=None) -> tuple[dict[str, str], dict[str, str]]:
    """Colour and marker of each class by name, in order of appearance; no pair repeats within a hundred classes.

    With ``profiles``, one an entry of ``classes``, each profile's classes begin with the first colour.

    >>> colors, markers = plotting.class_palette(frame["class"], frame["profile"])
    >>> sns.relplot(..., hue="class", style="class", palette=colors, markers=markers)
    """
    names = pd.DataFrame({"name": np.asarray(classes).astype(str), "profile": "" if profiles is None else profiles})
    places = {name: index for _, part in names.groupby("profile", sort=False)["name"]
              for index, name in enumerate(part.unique())}
    return ({name: CLASS_COLORS[index % 10] for name, index in places.items()},
            {name: MARKERS[(index + index // 10) % 10] for name, index in places.items()})


def wrap(text: str, inches: float, points: float = BODY) -> str:
    """Break a text so that it fits a width; explicit line breaks are kept."""
    letters = max(int(inches * POINTS / (0.56 * points)), 8)
    return "\n".join(textwrap.fill(line, letters, break_long_words=False) for line in text.split("\n"))


def place(frame: pd.DataFrame, columns: int = 3, high: int = 1) -> pd.DataFrame:
    """Say where each panel stands: adds the columns ``line`` and ``column`` for seaborn's ``row=`` and ``col=``.

    Panels stand in the order in which they appear, ``columns`` of them in a line, and each profile starts a new line.
    The first panel of a profile is as ``high`` as so many lines. `finish` has an example.
    """
    if frame.empty or not {"profile", "panel"} <= set(frame.columns):
        raise ValueError("A figure's frame needs rows and the columns profile and panel; this one has "
                         f"{len(frame)} rows, columns {list(frame)}.")
    places, start = [], 0
    for profile, rows in frame.groupby("profile", sort=False):
        panels = rows["panel"].unique()
        free = [(line, column) for line in range(len(panels)) for column in range(columns)
                if column > 0 or line == 0 or line >= high]
        places += [(profile, panel, start + line, column, high if panel == panels[0] else 1)
                   for panel, (line, column) in zip(panels, free)]
        start = max(line + size for *_, line, _, size in places)
    return frame.merge(pd.DataFrame(places, columns=["profile", "panel", "line", "column", "lines"]),
                       how="left", on=["profile", "panel"])


def finish(grid: sns.FacetGrid, *, xlabel: str | None = None, ylabel: str | None = None, height: float | None = None,
           **limits) -> Figure:
    """Titles and labels, a bold title and a legend a profile, on a grid that seaborn drew from a `place`d frame.

    Parameters
    ----------
    grid : FacetGrid from ``sns.relplot``, ``catplot``, ``displot`` or ``sns.FacetGrid``, row="line", col="column"
    xlabel, ylabel : str, labels of all axes; the frame's columns ``xlabel``, ``ylabel``, one text a panel, come first
    height : float, inches of one axes without texts; default 1.8, or as high as wide (at most 4.2) at equal aspect
    limits : ``xlim``, ``ylim`` or whatever else ``ax.set`` takes, for all axes

    Examples
    --------
    >>> # Learning curves, each with a band from the lowest to the highest seed.
    >>> grid = sns.relplot(plotting.place(frame, columns=2), row="line", col="column", kind="line", x="epoch",
    ...                    y="error", hue="method", palette=plotting.palette(frame["method"]), errorbar=("pi", 100),
    ...                    facet_kws=plotting.FREE)
    >>> plotting.finish(grid, ylabel="validation error [%]", ylim=(0, None));
    """
    fig, frame = grid.figure, grid.data
    handles = {}
    if grid.legend:
        handles = dict(zip([text.get_text() for text in grid.legend.get_texts()], grid.legend.legend_handles))
        grid.legend.remove()
    labels = {"xlabel": xlabel, "ylabel": ylabel}
    for name, text in labels.items():  # seaborn labels the outer axes only
        labels[name] = max((getattr(ax, f"get_{name}")() for ax in grid.axes.flat), key=len) if text is None else text
    fig.subplots_adjust(left=0.07, right=0.99, wspace=0.2)  # about what the layout will make of it: texts are wrapped
    panels = dict(list(frame.groupby(["line", "column"])))
    for where, ax in grid.axes_dict.items():
        if where in panels:
            _finish_panel(ax, panels[where], labels, limits)
        else:
            ax.remove()
    legends = [_finish_profile(grid, rows, handles) for _, rows in frame.groupby("profile", sort=False)]
    fig.set_layout_engine("constrained", w_pad=0.05, h_pad=0.05, wspace=0.02, hspace=0.02)
    fig.set_size_inches(WIDTH, 4 * len(grid.axes) + 5)  # high enough for axes of equal aspect
    fig.get_layout_engine().execute(fig)
    above, below = {}, {}  # inches of the texts around a line of axes
    for (line, _), ax in ((where, grid.axes_dict[where]) for where in panels):
        inner, outer = ax.get_window_extent(), ax.get_tightbbox()
        above[line] = max(above.get(line, 0), (outer.y1 - inner.y1) / fig.dpi)
        below[line] = max(below.get(line, 0), (inner.y0 - outer.y0) / fig.dpi)
    for (line, column), entries, columns in filter(None, legends):
        place = blended_transform_factory(fig.transFigure, grid.axes_dict[line, column].transAxes)
        down = ScaledTranslation(0, 0.09 - below[line], fig.dpi_scale_trans)
        fig.legend(entries.values(), entries, loc="lower center", bbox_to_anchor=(0.5, 0), bbox_transform=place + down,
                   ncols=columns, borderaxespad=0, borderpad=0, labelspacing=0.3)
    if grid.axes_dict[0, 0].get_aspect() == 1:
        height = min(height or 4.2, grid.axes_dict[0, 0].get_window_extent().height / fig.dpi)
    fig.set_size_inches(WIDTH, sum(above.values()) + sum(below.values()) + len(above) * ((height or 1.8) + 0.12))
    fig.get_layout_engine().execute(fig)
    fig.set_layout_engine("none")  # it would be laid out anew for each file and on the page
    return fig


def _finish_panel(ax, rows: pd.DataFrame, labels: dict, limits: dict) -> None:
    line, column, lines = rows[["line", "column", "lines"]].iloc[0]
    if lines > 1:
        ax.set_subplotspec(ax.get_gridspec()[line:line + lines, column])
    inches = ax.get_position().width * WIDTH
    own = {name: max(rows[name].dropna(), default="") for name in labels if name in rows}
    labels = {name: own.get(name) or text for name, text in labels.items()}
    ax.set(title=wrap(str(rows["panel"].iloc[0]), inches + 0.2), **labels, **limits)
    ax.tick_params(labelbottom=True, labelleft=True)  # also where axes are shared
    ax.xaxis.label.set_visible(True)
    if ax.get_aspect() != 1:
        ax.grid(axis="y")
    names = [label.get_text() for label in ax.get_xticklabels()]
    if any(re.match("[A-Za-z]", name) for name in names) and 0.075 * len(" ".join(names)) > inches:
        ax.tick_params(axis="x", rotation=90)


def _finish_profile(grid: sns.FacetGrid, rows: pd.DataFrame, handles: dict):
    """A profile's bold title, and room for its legend: (place, handle by label, columns), or None without one."""
    axes = {where: grid.axes_dict[where] for where in sorted(set(zip(rows["line"], rows["column"])))}
    first, last = min(axes), min(where for where in axes if where[0] == max(axes)[0])
    # Empty lines make room: above the highest title of a panel for the profile's, below a label for the legend.
    highest = max((ax for (line, _), ax in axes.items() if line == first[0]), key=lambda ax: ax.get_title().count("\n"))
    title, lines = wrap(str(rows["profile"].iloc[0]), WIDTH, 1.1 * TITLE), 1 + highest.get_title().count("\n")
    highest.set_title("\n" * (title.count("\n") + 2) + highest.get_title())
    place = blended_transform_factory(grid.figure.transFigure, axes[first].transAxes)
    up = ScaledTranslation(0, (9 + 1.2 * BODY * lines) / POINTS, grid.figure.dpi_scale_trans)
    grid.figure.text(0.01, 1, title, transform=place + up, fontsize=TITLE, fontweight="bold")
    own = {label: handle for ax in axes.values() for handle, label in zip(*ax.get_legend_handles_labels())}
    here = {str(value) for column in rows.select_dtypes(exclude="number") for value in rows[column].unique() if value}
    entries = {label: handle for label, handle in (handles | own).items() if label in here or label not in handles}
    if not entries:
        return None
    lines = -(-len(entries) // max(int(WIDTH / (0.6 + 0.075 * max(map(len, entries)))), 1))
    for where in [where for where in axes if where[0] == last[0]]:
        axes[where].set_xlabel((axes[where].get_xlabel() or " ") + "\n" * (lines + 1))
    return last, entries, -(-len(entries) // lines)
