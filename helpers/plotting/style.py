"""One look for every figure: sizes and fixed colour-blind-safe colours.

A figure is 9 inches wide, so shown 900 pixels wide an 8 point letter is 11 pixels high.
"""
import re
import textwrap

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.colors import to_hex, to_rgb

WIDTH, POINTS = 9.0, 72.0  # inches of a figure, points of an inch
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


def palette(labels) -> dict[str, str]:
    """Fixed colour of each label: ``sns.lineplot(..., hue="method", palette=plotting.palette(rows["method"]))``.

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


def class_palette(classes) -> tuple[dict[str, str], dict[str, str]]:
    """Colour and marker of each class by name, in order of appearance; no pair repeats within a hundred classes.

    >>> colors, markers = plotting.class_palette(frame["class"])
    >>> sns.scatterplot(..., hue="class", style="class", palette=colors, markers=markers)
    """
    names = dict.fromkeys(map(str, classes))
    return ({name: CLASS_COLORS[index % 10] for index, name in enumerate(names)},
            {name: MARKERS[(index + index // 10) % 10] for index, name in enumerate(names)})


def wrap(text: str, inches: float, points: float = BODY) -> str:
    """Break a text so that it fits a width; explicit line breaks are kept."""
    letters = max(int(inches * POINTS / (0.56 * points)), 8)
    return "\n".join(textwrap.fill(line, letters, break_long_words=False) for line in text.split("\n"))
