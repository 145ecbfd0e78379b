"""Which class a model of points in the plane predicts where, with boundaries, points and attacks (Fig. 8, 9)."""
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.colors import to_rgb
from matplotlib.patheffects import withStroke

from helpers.plotting import class_palette, palette

PALE = 0.35  # share of a class's colour in its region, the rest is white


def draw(rows: pd.DataFrame) -> None:
    """Draw it into ``plt.gca()``, for `helpers.plotting.panels`.

    Columns are ``layer``, ``x``, ``y`` and ``class``. Layers: "grid" (a regular grid of predicted classes, drawn pale;
    required), "boundary" (exact lines in place of the grid's steps; ``piece`` numbers them), "point" (with its true
    class) and "arrow" (to ``to_x``, ``to_y``, coloured by ``method``; points are then faint).
    """
    ax, layers = plt.gca(), {name: rows[rows["layer"] == name] for name in ("grid", "boundary", "point", "arrow")}
    grid, arrows = layers["grid"].pivot(index="y", columns="x", values="class"), layers["arrow"]
    colors, markers = class_palette(sorted(rows.loc[rows["layer"] != "boundary", "class"].unique()))
    pale = {name: PALE * np.array(to_rgb(color)) + 1 - PALE for name, color in colors.items()}
    half = (grid.columns[1] - grid.columns[0]) / 2, (grid.index[1] - grid.index[0]) / 2  # of a cell
    extent = (grid.columns[0] - half[0], grid.columns[-1] + half[0], grid.index[0] - half[1], grid.index[-1] + half[1])
    ax.imshow([[pale[str(name)] for name in row] for row in grid.to_numpy()], origin="lower", extent=extent,
              interpolation="bilinear" if len(layers["boundary"]) else "nearest")
    for _, line in layers["boundary"].groupby("piece"):
        ax.plot(line["x"], line["y"], color="#333333", linewidth=0.9)
    faint = {"s": 5, "alpha": 0.35, "linewidth": 0} if len(arrows) else {"s": 12, "linewidth": 0.3}
    for points, look in ((layers["point"], faint), (arrows, {"s": 30, "linewidth": 0.7, "zorder": 4})):
        if len(points):
            sns.scatterplot(points, x="x", y="y", hue="class", style="class", palette=colors, markers=markers,
                            edgecolor="white", legend=False, **look)
    for name, color in colors.items():
        ax.plot([], [], color=color, marker=markers[name], linestyle="none", label=name)  # in the legend
    if len(arrows):
        # The white rim keeps arrows visible on every region.
        ax.quiver(arrows["x"], arrows["y"], arrows["to_x"] - arrows["x"], arrows["to_y"] - arrows["y"], angles="xy",
                  scale_units="xy", scale=1, color=arrows["method"].map(palette(rows["method"])).iloc[0],
                  width=0.0062, headwidth=3.6, headlength=4.2, headaxislength=3.8, minlength=0, zorder=3,
                  path_effects=[withStroke(linewidth=2.0, foreground="white")])
    ax.set(xticks=[], yticks=[], xlabel="", ylabel="")
    ax.spines[["top", "right"]].set_visible(True)
