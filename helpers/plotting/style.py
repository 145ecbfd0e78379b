"""One look for every figure: sizes, fixed colour-blind-safe colours, rows of axes with a title each.

A figure is 9 inches wide, so shown 900 pixels wide an 8 point letter is 11 pixels high.
"""

import functools
import textwrap
from collections.abc import Callable, Sequence

import numpy as np

WIDTH = 9.0  # inches
SMALL, BODY, TITLE = 8.0, 9.0, 10.0  # points
POINTS = 72.0

# Okabe and Ito's colours, told apart under all common colour-vision deficiencies.
COLORS = {"ce": "#0072B2", "pgd": "#D55E00", "wpgd": "#009E73"}
NE_COLOR, AE_COLOR = "#3B3B3B", "#AA4499"
GREY = "#9A9A9A"
# Paul Tol's "muted" scheme, for classes; markers repeat the distinction.
CLASS_COLORS = ("#332288", "#CC6677", "#117733", "#DDAA33", "#88CCEE", "#882255", "#44AA99", "#999933",
                "#AA4499", "#777777")
MARKERS = "os^Dvp<*>h"
_WPGD_SHADES = {1.0: "#5CC9A7", 2.5: "#009E73", 10.0: "#00553E"}

RC = {
    "figure.dpi": 100, "figure.facecolor": "white", "axes.facecolor": "white",
    "font.size": BODY, "axes.titlesize": BODY, "axes.labelsize": BODY, "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL, "legend.fontsize": SMALL, "figure.titlesize": TITLE,
    "font.family": "DejaVu Sans", "axes.spines.top": False, "axes.spines.right": False,
    "axes.grid": False, "grid.color": "#E3E3E3", "grid.linewidth": 0.6, "axes.axisbelow": True,
    "lines.linewidth": 1.6, "lines.markersize": 5, "legend.frameon": False, "legend.handlelength": 2.2,
    "xtick.major.size": 3, "ytick.major.size": 3, "xtick.major.width": 0.6, "ytick.major.width": 0.6,
    "axes.linewidth": 0.6, "pdf.fonttype": 42,
}


def use_style() -> None:
    """Set matplotlib's defaults to the study's look, for figures of your own."""
    import matplotlib

    matplotlib.rcParams.update(RC)


def styled(function: Callable) -> Callable:
    """Draw in the study's look whatever the reader's defaults are, and leave those alone."""
    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        import matplotlib

        with matplotlib.rc_context(RC):
            result = function(*args, **kwargs)
            interactive = matplotlib.is_interactive()
        # A notebook's backend, loaded with the first figure, asks to show figures: that must outlive the context.
        matplotlib.interactive(interactive)
        return result
    return wrapper


def method_color(method: str, p: float | None = None) -> str:
    """Colour of "ce", "pgd" or "wpgd"; WPGD gets darker as p grows. Anything else is grey."""
    if method == "wpgd" and p is not None:
        nearest = min(_WPGD_SHADES, key=lambda known: abs(np.log1p(known) - np.log1p(max(float(p), 0.0))))
        return _WPGD_SHADES[nearest]
    return COLORS.get(method, GREY)


def numbers(values) -> np.ndarray:
    """Float array of JSON data; None (a NaN on disk) becomes NaN again."""
    return np.array(values, dtype=float)


def check_rows(rows) -> list[tuple[str, dict]]:
    """Rows as [(label, data)].

    Raises
    ------
    ValueError
        If ``rows`` is no non-empty sequence of (str, dict).
    """
    good = isinstance(rows, Sequence) and len(rows) > 0 and all(
        isinstance(row, Sequence) and len(row) == 2 and isinstance(row[1], dict) for row in rows)
    if not good:
        raise ValueError("A figure is drawn from rows = [(label, data dict), ...], at least one; "
                         "paper.Outputs.rows(name, data) makes them.")
    return [(str(label), data) for label, data in rows]


def panels_of(data: dict) -> list[dict]:
    """The data's panels.

    Raises
    ------
    ValueError
        If there is none.
    """
    panels = data.get("panels")
    if not panels:
        raise ValueError(f"The figure's data has no 'panels' (keys: {', '.join(data) or 'none'}).")
    return panels


def figure_width(rows: Sequence[tuple[str, dict]]) -> float:
    """Full width, less where no row has a second panel to fill it."""
    return WIDTH if any(len(panels_of(data)) > 1 for _, data in rows) else 0.67 * WIDTH


def wrap(text: str, inches: float, points: float = BODY) -> str:
    """Break a text so that it fits a width; explicit line breaks are kept."""
    letters = max(int(inches * POINTS / (0.56 * points)), 8)
    return "\n".join(textwrap.fill(line, letters, break_long_words=False) for line in text.split("\n"))


def row_figures(rows: Sequence[tuple[str, dict]], heights: Sequence[float], *, sideways: bool = False,
                width: float = WIDTH):
    """A figure with one titled subfigure a row, below each other or (``sideways``) side by side.

    Parameters
    ----------
    rows : sequence of (label, data)
    heights : sequence of float
        Inches a row, without its title.

    Returns
    -------
    fig, list of SubFigure
    """
    import matplotlib.pyplot as plt

    inches = width / len(rows) if sideways else width
    titles = [wrap(label, inches, TITLE * 1.1) for label, _ in rows]
    heights = [height + 0.2 * (1 + title.count("\n")) for height, title in zip(heights, titles, strict=True)]
    fig = plt.figure(figsize=(width, max(heights) if sideways else sum(heights)), layout="constrained")
    fig.get_layout_engine().set(w_pad=0.05, h_pad=0.05, wspace=0.02, hspace=0.02)
    if sideways:
        parts = fig.subfigures(1, len(rows), squeeze=False)[0]
    else:
        parts = fig.subfigures(len(rows), 1, squeeze=False, height_ratios=heights)[:, 0]
    for part, title in zip(parts, titles, strict=True):
        part.suptitle(title, x=0.01, ha="left", fontweight="bold", fontsize=TITLE)
    return fig, list(parts)


def grid_axes(part, count: int, columns: int, **kwargs) -> list:
    """``count`` axes in ``columns`` columns, the empty places of the last line left blank."""
    columns = min(columns, count)
    lines = -(-count // columns)
    axes = part.subplots(lines, columns, squeeze=False, **kwargs).ravel()
    for unused in axes[count:]:
        unused.remove()
    return list(axes[:count])


def legend_below(ax, handles: list, per_line: int, drop: float = 34.0):
    """A legend under the axes, ``drop`` points below them (under tick and axis labels); layout makes room."""
    from matplotlib.transforms import ScaledTranslation

    if not handles:
        return None
    fig = ax.get_figure(root=True)
    below = ax.transAxes + ScaledTranslation(0, -drop / POINTS, fig.dpi_scale_trans)
    lines = -(-len(handles) // per_line)
    return ax.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, 0), bbox_transform=below,
                     ncols=-(-len(handles) // lines), borderaxespad=0, columnspacing=1.2)


def say_missing(ax, text: str, inches: float) -> None:
    """Write into an empty panel why it is empty."""
    ax.set_xticks([])
    ax.set_yticks([])
    ax.grid(False)
    ax.text(0.5, 0.5, wrap(text, inches), ha="center", va="center", transform=ax.transAxes, color="#666666")
