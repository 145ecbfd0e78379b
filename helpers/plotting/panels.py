"""Figures of panels: a part for each profile, with a bold title above and a legend below."""
import re

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from helpers.plotting.style import TITLE, WIDTH, wrap


def panels(frame: pd.DataFrame, draw, *, columns: int = 3, high: int = 1, height: float | None = None, ratios=None,
           sharey: bool = False, **look) -> Figure:
    """Draw each panel of a tidy frame, those of a profile side by side, the next profile below.

    Parameters
    ----------
    frame : DataFrame
        ``profile``, the bold text above a part; ``panel``, the title of one axes; perhaps ``xlabel`` and ``ylabel``,
        labels that differ from panel to panel; and whatever `draw` reads.  Both stand in the order of their rows.
    draw : function of the rows of one panel, which draws them into ``plt.gca()``, as seaborn's functions do
    columns : int, panels side by side; the first one of a profile is as ``high`` as so many lines
    height : float, inches of one axes without texts; default 1.8, or as high as wide (at most 4.2) at equal aspect
    ratios : relative widths of the columns, all alike by default
    sharey : bool, panels of a profile have the same limits
    look : ``xlabel``, ``ylim`` or whatever else ``ax.set`` takes, for all axes

    Raises ValueError for a frame without rows, profile or panel.

    Examples
    --------
    >>> # Learning curves, each with a band from the lowest to the highest seed.
    >>> plotting.panels(frame, lambda rows: sns.lineplot(rows, x="epoch", y="error", hue="method", errorbar=("pi", 100),
    ...     palette=plotting.palette(frame["method"])), ylabel="validation error [%]", ylim=(0, None));
    """
    if frame.empty or not {"profile", "panel"} <= set(frame.columns):
        raise ValueError("A figure's frame needs rows and the columns profile and panel; this one has "
                         f"{len(frame)} rows, columns {list(frame)}.")
    profiles = [rows for _, rows in frame.groupby("profile", sort=False)]
    columns = min(columns, max(rows["panel"].nunique() for rows in profiles))
    fig = plt.figure(layout="constrained")
    fig.get_layout_engine().set(w_pad=0.05, h_pad=0.07, wspace=0.02, hspace=0.02)
    grid = fig.add_gridspec(len(profiles), 1)
    lines = [_draw_part(fig.add_subfigure(place), rows, draw, columns, high, ratios, sharey, look)
             for place, rows in zip(grid, profiles)]
    _fit(fig, grid, lines, height)
    return fig


def _draw_part(part, rows, draw, columns, high, ratios, sharey, look) -> list:
    """Title, panels and legend of a profile; returns an axes of each line, of its height."""
    part.suptitle(wrap(str(rows["profile"].iloc[0]), WIDTH, 1.1 * TITLE), x=0.01, ha="left", fontsize=TITLE,
                  fontweight="bold")
    groups = [cells for _, cells in rows.groupby("panel", sort=False)]
    places = [(line, column) for line in range(len(groups)) for column in range(columns)
              if column or not 0 < line < high][:len(groups)]
    grid = part.add_gridspec(places[-1][0] + 1, columns, left=0.07, right=0.99, width_ratios=ratios)
    entries, lines, ax = {}, {}, None
    for (line, column), cells in zip(places, groups):
        stop = line + (1 if ax else high)
        ax = lines[line] = part.add_subplot(grid[line:stop, column], sharey=ax if sharey else None)
        sns.despine(ax=ax)
        plt.sca(ax)
        draw(cells)
        entries |= _finish(ax, cells, look)
    if entries:
        least = -(-len(entries) // max(int(WIDTH / (0.6 + 0.075 * max(map(len, entries)))), 1))
        part.legend(entries.values(), entries, loc="outside lower center", ncols=-(-len(entries) // least),
                    borderaxespad=0, borderpad=0, labelspacing=0.3)
    return list(lines.values())


def _finish(ax, cells: pd.DataFrame, look: dict) -> dict:
    """Title, labels and ticks of a panel; returns what stood in its legend, handle by label."""
    inches = ax.get_position().width * WIDTH
    own = cells.iloc[0].reindex(["xlabel", "ylabel"]).dropna()
    ax.set(title=wrap(str(cells["panel"].iloc[0]), inches + 0.2), **look | own.to_dict())
    if ax.get_aspect() != 1:
        ax.grid(axis="y")
    names = [label.get_text() for label in ax.get_xticklabels()]
    if any(re.match("[A-Za-z]", name) for name in names) and 0.075 * len(" ".join(names)) > inches:
        ax.tick_params(axis="x", rotation=90)
    handles, labels = ax.get_legend_handles_labels()
    if legend := ax.get_legend():
        handles, labels = [*legend.legend_handles, *handles], [*(text.get_text() for text in legend.texts), *labels]
        legend.remove()
    # Seaborn heads the entries of each of several columns with its name.
    return {label: handle for label, handle in zip(labels, handles) if label not in cells}


def _fit(fig, grid, lines, height) -> None:
    """Make a figure, and each part of it, as high as its axes and the texts around them need."""
    square = [ax for ax in fig.axes if ax.get_aspect() == 1]
    for ax in square:
        ax.set_aspect("auto")  # or they would be smaller than their place, and leave room that texts do not have
    trial = 4.0  # inches of a line
    fig.set_size_inches(WIDTH, trial * sum(map(len, lines)))
    grid.set_height_ratios([len(axes) for axes in lines])
    fig.get_layout_engine().execute(fig)
    sizes = []
    for axes in lines:
        texts = 1 - sum(ax.get_position(original=True).height for ax in axes)  # as a share of the part
        own, width = height or 1.8, axes[0].get_window_extent().width / fig.dpi
        if axes[0] in square:
            own = min(height or 4.2, width * axes[0].get_data_ratio())
        sizes.append((texts * trial + own) * len(axes))
    for ax in square:
        ax.set_aspect("equal")
    fig.set_size_inches(WIDTH, sum(sizes))
    grid.set_height_ratios(sizes)
    fig.get_layout_engine().execute(fig)
    fig.set_layout_engine("none")  # it would be laid out anew for each file and on the page
