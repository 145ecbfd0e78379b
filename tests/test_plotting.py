"""Figures that a reader can use: nothing clipped or overlapping, letters large enough, limits and colours shared."""

import io
from functools import partial

import numpy as np
import pandas as pd
import pytest

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")

import matplotlib.pyplot as plt  # noqa: E402
import seaborn as sns  # noqa: E402
from matplotlib.colors import to_rgb  # noqa: E402

from helpers import plotting  # noqa: E402
from helpers.intervals import Interval  # noqa: E402
from helpers.plotting.style import CLASS_COLORS, COLORS  # noqa: E402
from study import regions  # noqa: E402

SHOWN = 900  # pixels a figure is wide in a notebook
CIFAR10 = "airplane automobile bird cat deer dog frog horse ship truck".split()
GROUPS = [f"large group {index // 25}" if index < 100 else f"small {index // 3}" for index in range(200)]


@pytest.fixture(autouse=True)
def theme():
    with matplotlib.rc_context():
        plotting.use_theme()
        yield
    plt.close("all")


def beside(*frames):
    """A profile and the committed one below it."""
    names = ["quick: 5,000 digits, W-10-1", "reduced: CIFAR-10 at a tenth of the training images, W-16-1 and W-28-1"]
    return pd.concat([frame.assign(profile=name) for frame, name in zip(frames, names)], ignore_index=True)


def curves(panels=3, method=("CE", "PGD", "WPGD p=2.5")):
    index = pd.MultiIndex.from_product([[f"panel {letter}" for letter in "abcd"[:panels]], method, ["NE", "AE"],
                                        [0, 1, 2], range(1, 6)], names=["panel", "method", "errors", "seed", "epoch"])
    frame = index.to_frame(index=False)
    return frame.assign(error=50 / frame["epoch"] + 5 * frame["seed"] + 10 * (frame["errors"] == "AE"))


def against_p():
    rows = [{"panel": panel, "p": p, "series": series, "value": Interval(40 + p, 38 + p, 43 + p)}
            for panel in ("CIFAR-10, W-16-1", "Tiny-ImageNet, W-16-1/2")
            for series in ("NE", "AE", "AE, paper (W-16-10)") for p in (10.0, 0.0, 2.5)]
    return pd.DataFrame(rows)


def cells(kind="gap", count=10, panel=None, scale=1.0, matrix=None, classes=None):
    if matrix is None:
        matrix = np.random.default_rng(0).random((count, count)) * 0.1 * scale - 0.05 * (kind == "difference")
        matrix = matrix + 0.3 * np.eye(count)
    classes = classes or (CIFAR10[:count] if count <= 10 else [f"class {index}" for index in range(count)])
    true, predicted = np.repeat(classes, len(classes)), np.tile(classes, len(classes))
    frame = pd.DataFrame({"true": true, "predicted": predicted, "value": np.ravel(matrix)})
    return frame.assign(kind=kind, panel=panel or f"{kind}, PGD eps 16")


def layers(panel="PGD, ε = 16/255"):
    x, y = np.meshgrid(np.linspace(0, 1, 20), np.linspace(0, 2, 40))
    grid = pd.DataFrame({"layer": "grid", "x": x.ravel(), "y": y.ravel(),
                         "class": np.where(y.ravel() > 1, "class 1", "class 0")})
    line = pd.DataFrame({"layer": "boundary", "piece": [0, 0, 1, 1], "x": [0, 0.5, 0.5, 1], "y": [1, 1.1, 1.1, 1],
                         "class": ""})
    points = pd.DataFrame({"layer": "point", "x": [0.2, 0.8], "y": [0.3, 1.7], "class": ["class 0", "class 1"]})
    return pd.concat([grid, line, points]).assign(panel=panel, xlabel="test error 0.2 %")


def draw_curves():
    frame = beside(curves(method=("CE", "PGD")), curves(2, method=("PGD", "WPGD p=10")))

    def draw(rows):
        sns.lineplot(rows, x="epoch", y="error", hue="method", style="errors",
                     palette=plotting.palette(frame["method"]), errorbar=("pi", 100))
        plt.axhline(50, label="chance")

    return plotting.panels(frame, draw, columns=2, ylabel="validation error [%]", ylim=(0, None))


def draw_bars():
    seeds = pd.DataFrame([{"panel": panel, "class": name, "method": method, "error": seed + 3.0}
                          for panel in ("balanced", "ratio 0.3") for name in CIFAR10 for method in ("CE", "PGD, eps 8")
                          for seed in range(3)])
    frame = beside(seeds.assign(**{"class": seeds["class"].str[0]}), seeds)
    draw = partial(sns.barplot, x="class", y="error", hue="method", palette=plotting.palette(frame["method"]),
                   errorbar=("pi", 100))
    return plotting.panels(frame, draw, columns=2, sharey=True, xlabel="true class", ylabel="error [%]")


def draw_errorbars(frame=None, **more):
    draw = partial(plotting.errorbars, x="p", y="value", hue="series", **more)
    return plotting.panels(beside(against_p()) if frame is None else frame, draw, columns=2, ylabel="error [%]")


def draw_histograms():
    frame = pd.DataFrame([{"panel": name, "method": method, "entropy": 0.1 + 0.2 * bar, "share": 10.0 + place + bar}
                          for name in CIFAR10[:7] for place, method in enumerate(("CE", "PGD")) for bar in range(11)])
    draw = partial(sns.histplot, x="entropy", weights="share", hue="method", bins=11, binrange=(0, 2.2), element="step",
                   palette=plotting.palette(["CE", "PGD"]))
    return plotting.panels(beside(frame), draw, columns=4, high=2, ratios=[2, 1, 1, 1], ylabel="images [%]", height=0.7)


def draw_scatter():
    points = pd.DataFrame(np.random.default_rng(1).normal(size=(100, 2)), columns=["x", "y"])
    points = points.assign(panel=np.repeat(["standard (CE)", "robust (PGD)"], 50), number=np.arange(100) % 10)
    frame = beside(points.assign(**{"class": points["number"].astype(str)}),
                   points.assign(**{"class": [CIFAR10[number] for number in points["number"]]}))
    colors, markers = plotting.class_palette(frame["class"])
    draw = partial(sns.scatterplot, x="x", y="y", hue="class", style="class", palette=colors, markers=markers)
    return plotting.panels(frame, draw, xlabel="silhouette 0.31", ylabel="", height=2, xticks=[], yticks=[], aspect=1)


def draw_regions():
    frame = beside(pd.concat([layers(f"PGD, ε = {eps}/255") for eps in (16, 32, 48, 64)]))
    return plotting.panels(frame, regions.draw)


EXAMPLES = {
    "bars": draw_bars, "histograms": draw_histograms, "scatter": draw_scatter,
    "dodged intervals": lambda: draw_errorbars(dodge=True), "bars with intervals": lambda: draw_errorbars(kind="bar"),
    "matrices of ten and of two": lambda: plotting.matrices(beside(
        pd.concat([cells("cost"), cells("gap"), cells("gap", panel="gap, PGD eps 38")]),
        pd.concat([cells("confusion", 2), cells("difference", 2)]))),
    "matrices of many": lambda: plotting.matrices(beside(
        pd.concat([cells("cost", 200), cells("gap", 200)]).assign(group=np.tile(np.repeat(GROUPS, 200), 2)),
        cells("gap", 100))),
}


def check_layout(fig):
    """Every text inside the figure, no two of them overlapping, none smaller than 8 pixels when shown."""
    fig.canvas.draw()
    # A tick outside the limits keeps a label that is never drawn.
    ticks = [set(axis.get_major_ticks()) - set(axis._update_ticks()) for axis in fig.findobj(matplotlib.axis.Axis)]
    hidden = {label for unused in ticks for tick in unused for label in (tick.label1, tick.label2)}
    texts = [text for text in fig.findobj(matplotlib.text.Text)
             if text.get_visible() and text.get_text().strip() and text not in hidden]
    boxes = np.array([text.get_window_extent().extents for text in texts])
    # Empty lines keep room for a profile's title and its legend.
    for box, text in zip(boxes, texts):
        words, line = text.get_text(), (box[3] - box[1]) / (1 + text.get_text().count("\n"))
        box[1], box[3] = (box[1] + line * (len(words) - len(words.rstrip("\n"))),
                          box[3] - line * (len(words) - len(words.lstrip("\n"))))
    # In the figure, and in what is left of it when it is saved without its margins.
    edges = [fig.bbox.extents, fig.get_tightbbox().extents * fig.dpi]
    outside = np.any([((boxes[:, :2] < edge[:2] - 2) | (boxes[:, 2:] > edge[2:] + 2)).any(1) for edge in edges], axis=0)
    assert not outside.any(), [texts[index].get_text() for index in np.flatnonzero(outside)]
    # Two pixels of slack: an extent includes the empty part of a line's height.
    low = np.maximum(boxes[:, None, :2], boxes[None, :, :2]) + 2
    high = np.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
    touching = np.argwhere(np.triu((low < high).all(2), 1))
    assert not len(touching), [(texts[a].get_text(), texts[b].get_text()) for a, b in touching]
    pixels = [text.get_fontsize() / 72 * SHOWN / fig.get_figwidth() for text in texts]
    assert min(pixels) >= 8, texts[int(np.argmin(pixels))].get_text()


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_reader_can_read_it(name):
    fig = EXAMPLES[name]()
    check_layout(fig)
    assert fig.get_figwidth() == 9.0
    content = io.BytesIO()
    fig.savefig(content, dpi=60)
    assert content.getvalue().startswith(b"\x89PNG") and len(content.getvalue()) > 5000


def test_the_check_sees_overlap_and_clipping():
    fig, ax = plt.subplots()
    for x, text, size, fine in ((0.5, "one", 9, True), (0.5, "two", 9, False), (1.3, "clipped", 9, False),
                                (0.1, "tiny", 3, False)):
        drawn = ax.text(x, 0.5, text, fontsize=size)
        if fine:
            check_layout(fig)
        else:
            with pytest.raises(AssertionError, match=text):
                check_layout(fig)
            drawn.remove()


def test_each_profile_has_its_title_and_the_legend_entries_of_its_rows():
    fig = draw_curves()
    check_layout(fig)
    assert [part.get_suptitle()[:7] for part in fig.subfigs] == ["quick: ", "reduced"]
    legends = [[text.get_text() for text in part.legends[0].get_texts()] for part in fig.subfigs]
    assert legends == [["CE", "PGD", "NE", "AE", "chance"], ["PGD", "WPGD p=10", "NE", "AE", "chance"]]
    assert not any(ax.get_legend() for ax in fig.axes)
    # Three panels in lines of two, then two: six places, of which one is empty.
    assert [ax.get_title().strip() for ax in fig.axes] == ["panel a", "panel b", "panel c", "panel a", "panel b"]
    assert {ax.get_xlabel().strip() for ax in fig.axes} == {"epoch"}


def test_a_panel_may_have_a_label_of_its_own():
    frame = beside(pd.concat([curves(1).assign(ylabel="own label"), curves(1).assign(panel="another")]))
    own, other = plotting.panels(frame, partial(sns.lineplot, x="epoch", y="error"), ylabel="error [%]").axes
    assert (own.get_ylabel(), other.get_ylabel()) == ("own label", "error [%]")


def test_a_band_reaches_from_the_lowest_to_the_highest_seed():
    frame = beside(curves(1, method=["CE"]).query("errors == 'NE'"))
    draw = partial(sns.lineplot, x="epoch", y="error", hue="method", palette=plotting.palette(frame["method"]),
                   errorbar=("pi", 100))
    ax = plotting.panels(frame, draw).axes[0]
    assert ax.collections[0].get_paths()[0].vertices[:, 1].min() == pytest.approx(10)
    assert ax.collections[0].get_paths()[0].vertices[:, 1].max() == pytest.approx(60)
    assert ax.lines[0].get_color() == COLORS["CE"]


def test_errorbars_show_known_ends_over_categories_where_zero_is_pgd():
    ax = draw_errorbars().axes[0]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["0\n(PGD)", "2.5", "10"]
    ours, robust, printed = (container.lines[0] for container in ax.containers)
    assert list(ours.get_xdata()) == [0, 1, 2] and list(ours.get_ydata()) == [40, 42.5, 50]
    ends = ax.containers[0].lines[2][0].get_segments()
    assert np.allclose([segment[:, 1] for segment in ends], [[38, 43], [40.5, 45.5], [48, 53]])
    assert printed.get_color() == robust.get_color() == COLORS["AE"] and printed.get_marker() == robust.get_marker()
    assert printed.get_markerfacecolor() == "white" and printed.get_linestyle() == ":"
    bars = draw_errorbars(beside(against_p().query("series != 'AE, paper (W-16-10)'")), kind="bar").axes[0].patches
    assert [bar.get_height() for bar in bars[:3]] == [40, 42.5, 50]


def images(fig):
    return [ax.images[0] for ax in fig.axes if ax.images]


def texts(fig):
    return [text.get_text() for text in fig.axes[0].texts if text.get_text()]


def test_compared_matrices_share_their_colour_limits():
    frame = pd.concat([cells("gap"), cells("gap", scale=3, panel="more"), cells("confusion", scale=2)])
    first, second, other = images(plotting.matrices(beside(frame)))
    largest = 100 * cells("gap", scale=3).query("true != predicted")["value"].max()
    assert first.get_clim() == second.get_clim() == pytest.approx((0, largest)) != other.get_clim()


def test_difference_is_symmetric_and_diagonal_of_a_cost_is_masked():
    frame = pd.concat([cells("difference"), cells("cost"), cells("gap")])
    difference, cost, gap = images(plotting.matrices(beside(frame)))
    low, high = difference.get_clim()
    assert low == -high and difference.cmap.name == "RdBu_r"
    assert np.array_equal(np.ma.getmaskarray(np.ma.masked_invalid(cost.get_array())), np.eye(10, dtype=bool))
    assert not np.isnan(gap.get_array()).any()


def test_a_cost_is_coloured_from_its_nearest_to_its_farthest_pair():
    matrix = np.full((10, 10), 0.9)
    matrix[0, 1], matrix[2, 3] = 0.5, 0.95
    assert images(plotting.matrices(beside(cells("cost", matrix=matrix))))[0].get_clim() == pytest.approx((0.5, 0.95))
    equal = cells("cost", matrix=np.ones((10, 10)))
    assert images(plotting.matrices(beside(equal)))[0].get_clim() == pytest.approx((0, 1))


@pytest.mark.parametrize(("kind", "matrix", "shown"), [
    ("confusion", [[0.934, 0.066], [np.nan, 0.5]], ["93", "7", "50"]),
    ("gap", [[0.0092, 0.0041], [0.0004, 0.1034]], [".9", ".4", "0", "10"]),
    ("difference", [[0.0092, -0.0041], [-0.0004, 0.1034]], ["+.9", "-.4", "0", "+10"]),
    ("cost", [[0, 0.87], [12.3, 0]], [".87", "12"])])
def test_cells_show_percent_with_a_decimal_where_it_matters(kind, matrix, shown):
    assert texts(plotting.matrices(beside(cells(kind, 2, matrix=matrix)))) == shown


def test_true_classes_are_rows_and_have_their_names():
    frame = cells("confusion", 3, matrix=[[0.1, 0.2, 0.7], [0, 1, 0], [0, 0, 1]], classes=["b", "a", "c"])
    mixed = frame.sample(frac=1, random_state=0).sort_values("true", key=lambda names: names.map("bac".find))
    fig = plotting.matrices(beside(mixed))
    ax = fig.axes[0]
    assert np.allclose(images(fig)[0].get_array(), 100 * frame["value"].to_numpy().reshape(3, 3))
    names = [[label.get_text() for label in labels] for labels in (ax.get_xticklabels(), ax.get_yticklabels())]
    assert names == [["b", "a", "c"]] * 2 and ax.get_ylabel() == "true class" and "predicted" in ax.get_xlabel()


def test_largest_groups_are_named_first():
    frame = cells("gap", 200).assign(group=np.repeat(GROUPS, 200))
    names = [label.get_text() for label in plotting.matrices(beside(frame)).axes[0].get_yticklabels()]
    assert set(names) >= {f"large group {index}" for index in range(4)} and 10 < len(names) < len(set(GROUPS))


def test_fixed_colours():
    colors = plotting.palette(["CE", "PGD, eps 8", "PGD, eps 38", "WPGD p=1", "WPGD, p = 10", "WPGD", "margin",
                               "AE, paper (W-16-10)"])
    assert colors["CE"] == COLORS["CE"] and colors["AE, paper (W-16-10)"] == COLORS["AE"]
    assert colors["PGD, eps 8"] == colors["PGD, eps 38"] == COLORS["PGD"] and colors["margin"] in CLASS_COLORS
    shades = [sum(to_rgb(colors[name])) for name in ("WPGD p=1", "WPGD", "WPGD, p = 10")]
    assert shades == sorted(shades, reverse=True) and len(set(shades)) == 3
    first, second = plotting.palette(["PGD", "PGD, deeper network"]).values()
    assert first == COLORS["PGD"] and sum(to_rgb(second)) > sum(to_rgb(first))
    colors, markers = plotting.class_palette(range(100))
    assert len(set(zip(colors.values(), markers.values()))) == 100


def test_decision_grid_lies_the_right_way_up_and_boundaries_are_separate_lines():
    fig = draw_regions()
    check_layout(fig)
    image, lines = images(fig)[0], [line for line in fig.axes[0].lines if len(line.get_xdata())]
    assert image.origin == "lower" and np.allclose(image.get_extent(), [-1 / 38, 39 / 38, -1 / 39, 2 + 1 / 39])
    assert np.allclose(image.get_array()[-1, 0], 0.35 * np.array(to_rgb(CLASS_COLORS[1])) + 0.65)
    assert [list(line.get_ydata()) for line in lines] == [[1, 1.1], [1.1, 1]]
    arrow = layers().query("layer == 'point'").assign(layer="arrow", to_x=0.5, to_y=1, method="WPGD")
    frame = beside(pd.concat([layers(), arrow]))
    shapes = plotting.panels(frame, regions.draw).axes[0].collections
    arrows = next(shape for shape in shapes if isinstance(shape, matplotlib.quiver.Quiver))
    assert np.allclose(arrows.U, [0.3, -0.3]) and np.allclose(arrows.get_facecolor()[0, :3], to_rgb(COLORS["WPGD"]))


@pytest.mark.parametrize("channels", [1, 3])
def test_image_rows_draw_names_images_and_captions(channels):
    pictures = np.random.default_rng(0).integers(0, 255, (4, channels, 6, 6), dtype=np.uint8)
    fig = plotting.image_rows([("plain", pictures), ("captioned", pictures[:2] / 255, list("ab"))], columns=3)
    assert [bool(ax.images) for ax in fig.axes] == [True] * 5 + [False]
    assert [ax.get_title() for ax in fig.axes] == ["", "", "", "a", "b", ""]
    assert [text.get_text() for ax in fig.axes for text in ax.texts] == ["plain", "captioned"]
    empty = plotting.image_rows([("none", pictures[:0]), ("some", pictures)], columns=2)
    assert [text.get_text() for ax in empty.axes for text in ax.texts] == ["some"]


@pytest.mark.parametrize(("draw", "word"), [
    (lambda: plotting.panels(pd.DataFrame(), regions.draw), "profile and panel"),
    (lambda: plotting.panels(curves(), regions.draw), "profile and panel"),
    (lambda: plotting.matrices(beside(cells("gap").assign(kind="heat"))), "'heat'"),
    (lambda: plotting.matrices(beside(cells("gap").iloc[1:])), "99 cells for 10"),
    (lambda: plotting.matrices(beside(pd.concat([cells("gap")] * 2))), "200 cells for 10"),
    (lambda: plotting.errorbars(against_p(), "p", "value", hue="series", kind="violin"), "'violin'"),
    (lambda: plotting.image_rows([("flat", np.zeros((4, 36)))]), "shape"),
])
def test_bad_data_are_named(draw, word):
    with pytest.raises(ValueError, match=word):
        draw()
