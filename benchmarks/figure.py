"""One figure of all benchmarks, from their CSVs: `python -m benchmarks figure` draws it again."""
import math

from helpers.plotting import style

# Contenders keep their colour in all panels.
OURS = "#000000"
NAMES = ("plain loop", "torchattacks", "foolbox", "ART", "adv-lib", "robustness", "ours, compiled",
         "torchattacks, tuned by hand", "ours, default malloc")
TIMES = {"emd2": "exact, emd2", "sinkhorn2": "sinkhorn2, a call a sample",
         "sinkhorn2, many histograms": "sinkhorn2, a call a class", "WassersteinLoss": "WassersteinLoss, from logits",
         "closed form": "closed form"}
AXES = ("batch", "side", "K", "depth", "width", "steps")
GREY = "#9A9A9A"


def draw(tables, facts, folder):
    """Write benchmarks.png and benchmarks.pdf.

    Parameters
    ----------
    tables : dict, name of a benchmark -> list of rows (see `benchmarks.report.read_csv`); an empty one has no panel
    facts : dict, of machine.json
    folder : Path
    """
    import matplotlib.pyplot as plt

    with plt.rc_context():
        style.use_theme()
        _draw(plt, tables, facts, folder)


def _draw(plt, tables, facts, folder):
    rows = {**tables, "loss": [*tables["loss"], *tables["wpgd"]]}
    empty = {name for name in tables if not any(_drawable(row) for row in rows[name])}
    # Each line of panels, with its height in inches; every panel lays itself out.
    attacked = len({row["setting"] for row in _timed(tables["attack"])})
    lines = ((1.5 + 0.3 * max(attacked, 3), ("attack", _attack)),
             (2.5, ("training", _training), ("accuracy", _accuracy)), (2.8, ("loss", _loss), ("transport", _transport)),
             (1 + 0.2 * max(len(_timed(tables["limit"])), 5), ("limit", _limit)),
             (2.8, ("scaling", _seconds), ("scaling", _memory)))
    missing = list(dict.fromkeys(name for _, *panels in lines for name, _ in panels if name in empty))
    lines = [(height, [panel for panel in panels if panel[0] not in empty]) for height, *panels in lines]
    lines = [line for line in lines if line[1]]
    fig = plt.figure(figsize=(style.WIDTH, 0.5 + sum(height for height, _ in lines)), layout="constrained")
    fig.get_layout_engine().set(w_pad=0.06, h_pad=0.08)
    fig.suptitle(_title(facts), x=0.01, ha="left", fontweight="bold")
    if missing:
        fig.supxlabel(f"not measured here: {', '.join(missing)}", x=0.01, ha="left", color="dimgrey", fontsize="small")
    parts = fig.subfigures(len(lines), 1, height_ratios=[height for height, _ in lines], squeeze=False) if lines else ()
    for (part,), (_, panels) in zip(parts, lines):
        for place, (name, panel) in zip(part.subfigures(1, len(panels), squeeze=False)[0], panels):
            ax = place.subplots()
            ax.spines[["top", "right"]].set_visible(False)
            panel(ax, rows[name])
    for ending, metadata in (("png", {"Software": None}), ("pdf", {"CreationDate": None})):
        fig.savefig(folder / f"benchmarks.{ending}", dpi=200, metadata=metadata)
    plt.close(fig)


def _title(facts):
    chip = facts["processor"] if facts["device"].startswith("cpu") else facts["kind"]
    return f"{chip}, {facts['threads']} threads, torch {facts['torch']}, {facts['date'][:10]}"


def _drawable(row):
    return any(isinstance(row.get(name), float) and not math.isnan(row[name]) for name in ("seconds", "ratio", "ne"))


def _color(name):
    if name in ("ours", "closed form"):
        return OURS
    return style.CLASS_COLORS[NAMES.index(name) % 10] if name in NAMES else GREY


def _speedups(ax, rows):
    """Ours over each contender, a line of markers a setting; whiskers from the 10 % to the 90 % quantile."""
    settings = list(dict.fromkeys(row["setting"] for row in rows))
    names = [name for name in dict.fromkeys(row["contender"] for row in rows) if name != "ours"]
    for number, name in enumerate(names):
        here = [row for row in rows if row["contender"] == name]
        # Shifted within the line, so that markers of equal speed stay apart.
        height = [settings.index(row["setting"]) + 0.07 * (number - (len(names) - 1) / 2) for row in here]
        middle = [1 / row["ratio"] for row in here]
        low = [value - 1 / row["ratio_q90"] for value, row in zip(middle, here)]
        high = [1 / row["ratio_q10"] - value for value, row in zip(middle, here)]
        ax.errorbar(middle, height, xerr=[low, high], fmt=style.MARKERS[number % 10], color=_color(name), ms=5, lw=1,
                    label=name)
    ax.axvline(1, color=OURS, lw=1)
    ax.set_yticks(range(len(settings)), [setting.replace(" batch ", ", batch ") for setting in settings])
    ax.set_ylim(len(settings) - 0.45, -0.55)
    ax.set_xlim(left=0)
    ax.grid(axis="x")
    ax.set_xlabel("times as fast as the contender")
    _legend_below(ax, 4 if len(names) > 4 else 3)


def _legend_below(ax, per_line, drop=34):
    """A legend under the axes, ``drop`` points below them (under tick and axis labels); the layout makes room."""
    from matplotlib.transforms import ScaledTranslation

    handles, _ = ax.get_legend_handles_labels()
    if handles:
        down = ScaledTranslation(0, -drop / style.POINTS, ax.get_figure(root=True).dpi_scale_trans)
        lines = -(-len(handles) // per_line)
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, 0), bbox_transform=ax.transAxes + down,
                  ncols=-(-len(handles) // lines), borderaxespad=0, columnspacing=1.2)


def _timed(rows):
    return [row for row in rows if row["ratio"] > 0 and row["seconds"] > 0]


def _attack(ax, rows):
    ax.set_title("attack (PGD, L-inf): ours over ...", loc="left")
    _speedups(ax, _timed(rows))


def _training(ax, rows):
    ax.set_title("training epoch with data: ours over ...", loc="left")
    _speedups(ax, _timed(rows))


def _loss(ax, rows):
    """Time of the Wasserstein loss over K, and beside it of a whole WPGD step."""
    ax.set_title("Wasserstein loss over cross entropy", loc="left")
    for name, color in (("cross entropy", style.COLORS["CE"]), ("torch cross entropy", GREY)):
        _band(ax, [row for row in rows if row["contender"] == name], lambda row: _classes(row), color,
              f"loss alone, over {'ours' if name == 'cross entropy' else 'torch'}")
    steps = [row for row in rows if row["contender"] == "PGD"]
    for row in steps[:1]:
        ax.axhline(row["ratio"], color=style.COLORS["WPGD"], ls="--",
                   label=f"WPGD step over PGD step: {row['ratio']:.3f}")
    ax.axhline(1, color=OURS, lw=1)
    ax.set_xscale("log")
    ax.set_ylim(bottom=0)
    ax.set_xlabel("classes K")
    ax.set_ylabel("time ratio")
    _legend_below(ax, 2)


def _band(ax, rows, where, color, label):
    if rows:
        ax.plot([where(row) for row in rows], [row["ratio"] for row in rows], "o-", color=color, label=label)
        ax.fill_between([where(row) for row in rows], [row["ratio_q10"] for row in rows],
                        [row["ratio_q90"] for row in rows], color=color, alpha=0.2, lw=0)


def _classes(row):
    """K of a setting such as "K = 200 batch 128"."""
    return int(row["setting"].split()[2])


def _transport(ax, rows):
    ax.set_title("optimal transport to a one-hot label", loc="left")
    for number, (name, label) in enumerate(TIMES.items()):
        here = [row for row in _timed(rows) if row["contender"] == name]
        ax.plot([_classes(row) for row in here], [1e6 / row["throughput"] for row in here],
                marker=style.MARKERS[number], color=OURS if name == "closed form" else style.CLASS_COLORS[number],
                label=label)
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlabel("classes K")
    ax.set_ylabel("µs a sample")
    _legend_below(ax, 2)


def _limit(ax, rows):
    ax.set_title("FLOP/s, and share of the best product or convolution", loc="left")
    rows = _timed(rows)
    places, unit = range(len(rows)), 1e12 if max(row["throughput"] for row in rows) > 1e13 else 1e9
    ax.barh(places, [row["throughput"] / unit for row in rows],
            color=[GREY if row["role"] == "limit" else style.COLORS["PGD"] for row in rows], height=0.7)
    for place, row in zip(places, rows):
        ax.annotate(f"{row['ratio']:.0%}", (row["throughput"] / unit, place), (3, 0), textcoords="offset points",
                    va="center", fontsize=style.SMALL)
    ax.set_yticks(places, [row["contender"] for row in rows])
    ax.invert_yaxis()
    ax.margins(x=0.12)
    ax.set_xlabel("GFLOP/s" if unit == 1e9 else "TFLOP/s")


def _accuracy(ax, rows):
    """A marker a seed, a bar the mean; ours beside the plain loop."""
    ax.set_title("quick profile: same errors by both loops", loc="left")
    rows = [row for row in rows if row["ne"] >= 0]
    methods = list(dict.fromkeys(row["setting"].split(",")[0] for row in rows))
    labels = []
    for place, (method, path) in enumerate((method, path) for method in methods for path in ("ours", "plain loop")):
        here = [row for row in rows if row["setting"].startswith(f"{method},") and row["contender"] == path]
        for column, color in (("ne", style.COLORS["NE"]), ("ae", style.COLORS["AE"])):
            seeds = [row[column] for row in here if "seed " in row["setting"]]
            means = [row[column] for row in here if "mean" in row["setting"]]
            ax.plot([place] * len(seeds), seeds, "o", color=color, mfc="none", ms=4)
            ax.hlines(means, place - 0.25, place + 0.25, color=color, lw=2, label=None if place else column.upper())
        labels.append(f"{method}\n{path}")
    ax.set_xticks(range(len(labels)), labels)
    ax.set_ylim(bottom=0)
    ax.set_ylabel("error, %")
    ax.grid(axis="y")
    _legend_below(ax, 2, drop=44)


def _growth(ax, rows, measured, label):
    """A quantity as one setting grows; both in units of the point that all settings start from."""
    for number, axis in enumerate(AXES):
        part = [row for row in rows if row["axis"] == axis]
        base = next((row for row in part if row["value"] == row["base_value"]), None)
        if base is not None:
            ax.plot([row["value"] / base["value"] for row in part], [measured(row) / measured(base) for row in part],
                    marker=style.MARKERS[number], ms=4, color=style.CLASS_COLORS[number],
                    label=f"{axis} ({base['value']:g})")
    ax.set_xscale("log", base=2)
    ax.set_yscale("log", base=2)
    for one in (ax.xaxis, ax.yaxis):
        one.set_major_formatter("{x:g}")
    ax.grid()
    ax.set_xlabel("size, in units of the value in brackets")
    ax.set_ylabel(label)
    _legend_below(ax, 3)


def _seconds(ax, rows):
    ax.set_title("WPGD training step: time", loc="left")
    _growth(ax, _timed(rows), lambda row: row["seconds"], "time, relative")


def _memory(ax, rows):
    ax.set_title("WPGD training step: memory beyond imports", loc="left")
    _growth(ax, _timed(rows), lambda row: row["peak_mib"] - row["before_mib"], "memory, relative")
