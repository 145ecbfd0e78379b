"""Figures that a reader can use: nothing clipped or overlapping, letters large enough, limits shared."""

import io
import json

import numpy as np
import pytest

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")

import matplotlib.pyplot as plt  # noqa: E402
from matplotlib.colors import to_rgb  # noqa: E402

from helpers import plotting  # noqa: E402
from helpers.claims import Claim  # noqa: E402
from helpers.plotting.style import CLASS_COLORS, COLORS, legend_below  # noqa: E402

CIFAR10 = "airplane car bird cat deer dog frog horse ship truck".split()
SHOWN = 900  # pixels a figure is wide in a notebook
GROUPS = [(name, 5 * index, 5 * index + 5) for index, name in enumerate(
    ["aquatic mammals", "fish", "flowers", "food containers", "fruit and vegetables",
     "household electrical devices", "household furniture", "insects", "large carnivores",
     "large man-made outdoor things",
     "large natural outdoor scenes", "large omnivores and herbivores", "medium-sized mammals",
     "non-insect invertebrates", "people", "reptiles", "small mammals", "trees", "vehicles 1", "vehicles 2"])]
MANY_GROUPS = [("dogs", 0, 80), *((f"group {index}", index, index + 3) for index in range(80, 200, 3))]


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def panel(kind, count=10, scale=1.0, seed=0, **more):
    rng = np.random.default_rng(seed)
    matrix = rng.random((count, count)) * 0.1 * scale
    np.fill_diagonal(matrix, 0.3)
    if kind == "cost":
        matrix = (matrix + matrix.T) * 5
        np.fill_diagonal(matrix, 0)
    if kind == "difference":
        matrix -= 0.05
    classes = CIFAR10[:count] if count <= 10 else [f"class {index}" for index in range(count)]
    return {"title": f"{kind}, W-28-10, eps 16", "matrix": matrix.tolist(), "classes": classes, "kind": kind,
            **more}


def series(label, method, level, **more):
    x = np.arange(1, 13)
    y = level + 40 * np.exp(-x / 4.0)
    return {"label": label, "method": method, "x": x.tolist(), "y": y.tolist(), "low": (y - 2).tolist(),
            "high": (y + 2).tolist(), **more}


def training_panels():
    return [
        {"title": "standard training against PGD", "series": [
            series("CE, NE", "ce", 5), series("CE, AE", "ce", 90, style="dashed"),
            series("PGD, NE", "pgd", 14)]},
        {"title": "two networks", "series": [series("PGD W-16-1, NE", "pgd", 16),
                                            series("PGD W-16-2, NE", "pgd", 14, variant=1)]},
        {"title": "PGD against WPGD", "series": [series("PGD, NE", "pgd", 14), *(
            series(f"WPGD p = {p:g}, NE", "wpgd", 13 - p / 3, p=p) for p in (1, 2.5, 10))]}]


def two_class_curves():
    entries = [series("CE", "ce", 5), series("PGD", "pgd", 15)]
    return [{"title": f"({letter}) cat–dog, ratio 0.3", "ylabel": "validation error [%]", "series": entries,
             "lines": [{"y": 50, "label": "chance"}]} for letter in "abcd"]


def tradeoff_panel(title):
    p = [0, 1, 2.5, 10]
    return {"title": title, "series": [
        {"label": "NE", "metric": "NE", "p": p, "y": [14, 13, 12, 10], "low": [13, 12, 11, 9],
         "high": [15, 14, 13, 11]},
        {"label": "AE", "metric": "AE", "p": p, "y": [30, 34, 36, 39]},
        {"label": "AE, paper (W-16-10)", "metric": "AE", "p": p, "y": [34.53, 34.62, 34.98, 39.76],
         "printed": True}]}


def cloud(title):
    labels = np.arange(200) % 10
    points = np.random.default_rng(1).normal(size=(200, 2)) + labels[:, None]
    return {"title": title, "x": points[:, 0].tolist(), "y": points[:, 1].tolist(), "labels": labels.tolist(),
            "note": "silhouette 0.31"}


def entropy():
    counts = np.random.default_rng(2).integers(0, 30, (10, 12))
    return {"title": "CIFAR-10", "classes": CIFAR10, "main": "airplane",
            "bins": np.linspace(0, 2.3, 13).tolist(), "series": [
                {"label": "CE", "method": "ce", "counts": counts.tolist(), "mean": [0.2] * 10},
                {"label": "PGD", "method": "pgd", "counts": counts[:, ::-1].tolist(), "mean": [1.1] * 10}]}


def regions():
    grid = np.add.outer(np.arange(40), np.arange(40)) // 27
    return {"classes": ["class 0", "class 1", "class 2"], "extent": [0, 1, 0, 1], "columns": 3,
            "points": [[0.1, 0.1], [0.5, 0.6], [0.9, 0.9]], "labels": [0, 1, 2],
            "panels": [{"title": f"PGD, eps {eps}", "grid": grid.tolist(), "note": "boundary length 1.41"}
                       for eps in (0, 0.05, 0.1, 0.2)]}


def correlation_panel(title):
    cost = np.linspace(0.1, 1, 45)
    return {"title": title, "cost": cost.tolist(), "gap": (0.1 - 0.09 * cost).tolist(), "rho": -0.88,
            "low": -0.93, "high": -0.8, "pvalue": 0.001,
            "annotations": [{"x": 0.1, "y": 0.09, "text": "4–9"}]}


def reliability_panel(title):
    return {"title": title, "series": [{"label": "CE", "method": "ce", "confidence": [0.2, None, 0.9],
                                        "accuracy": [0.1, None, 0.8], "ece": 0.1}]}


def claim_rows():
    sentence = "robust representations are less clustered with respect to natural ones, everywhere " * 2
    return [Claim("a", "s", sentence, "x", 0.2, 0.1, 0.3, "> 0").as_dict(),
            Claim("b", "s", "short", "x", -0.2, -0.4, 0.3, "> 0").as_dict(),
            Claim("c", "s", "short", "x", float("nan"), None, None, "> 0").as_dict(),
            Claim("d", "s", "short", "x", 30, None, None, "in [45, 55]").as_dict()]


def rows(*data):
    labels = ["quick: CIFAR-10 (digits stand in)", "reduced: CIFAR-10 at a tenth of the training images"]
    return list(zip(labels, data, strict=False))


EXAMPLES = {
    "two classes": lambda: plotting.matrices(rows({"panels": [panel("cost", 2), panel("gap", 2)]})),
    "three digits, ten classes": lambda: plotting.matrices(rows(
        {"panels": [panel("cost"), panel("gap", share="gap"), panel("gap", share="gap", seed=1)]},
        {"panels": [panel("confusion", share="c"), panel("confusion", share="c"), panel("difference")]})),
    "five panels": lambda: plotting.matrices(rows(
        {"panels": [panel("gap", seed=seed) for seed in range(5)]})),
    "hundred and two hundred classes": lambda: plotting.matrices(rows(
        {"panels": [panel("cost", 100, groups=GROUPS), panel("gap", 100, groups=GROUPS)]},
        {"panels": [panel("cost", 200), panel("gap", 200)]})),
    "more groups than fit": lambda: plotting.matrices(rows(
        {"panels": [panel("gap", 200, groups=MANY_GROUPS)]})),
    "curves in a row": lambda: plotting.curves(rows(*[{"panels": training_panels()}] * 2)),
    "curves in a column": lambda: plotting.curves(rows(
        *[{"panels": training_panels(), "layout": "column"}] * 2)),
    "curves in a grid": lambda: plotting.curves(rows({"panels": two_class_curves(), "layout": "grid"})),
    "tradeoff": lambda: plotting.tradeoff(rows(
        {"panels": [tradeoff_panel("CIFAR-10")]},
        {"panels": [tradeoff_panel("CIFAR-10"), tradeoff_panel("Tiny-ImageNet")]})),
    "scatter": lambda: plotting.scatter(rows(
        {"classes": CIFAR10, "panels": [cloud("standard"), cloud("robust")]})),
    "entropy": lambda: plotting.entropy_histograms(rows(entropy(), entropy())),
    "regions": lambda: plotting.decision_regions(rows(regions(), regions())),
    "correlation": lambda: plotting.correlation(rows(
        {"panels": [correlation_panel(name) for name in ("MNIST", "CIFAR-10", "CIFAR-100", "Tiny")]})),
    "reliability": lambda: plotting.reliability(rows({"panels": [reliability_panel("natural")] * 2})),
    "forest": lambda: plotting.forest(rows({"claims": claim_rows()}, {"claims": claim_rows()[:1]})),
}


def visible_texts(fig):
    # A tick outside the limits keeps a label that is never drawn.
    hidden = {label for axis in fig.findobj(matplotlib.axis.Axis)
              for tick in set(axis.get_major_ticks()) - set(axis._update_ticks())
              for label in (tick.label1, tick.label2)}
    return [text for text in fig.findobj(matplotlib.text.Text)
            if text.get_visible() and text.get_text().strip() and text not in hidden]


def check_layout(fig):
    """Every text inside the figure, no two of them overlapping, none smaller than 8 pixels when shown."""
    fig.canvas.draw()
    renderer = fig.canvas.get_renderer()
    texts = visible_texts(fig)
    boxes = np.array([text.get_window_extent(renderer).extents for text in texts])
    width, height = fig.bbox.size
    outside = (boxes[:, :2] < -2).any(1) | (boxes[:, 2] > width + 2) | (boxes[:, 3] > height + 2)
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
    before = dict(matplotlib.rcParams)
    fig = EXAMPLES[name]()
    assert dict(matplotlib.rcParams) == before, "a figure changed the reader's defaults"
    check_layout(fig)
    assert fig.get_figwidth() <= 9.0
    content = io.BytesIO()
    fig.savefig(content, dpi=60)
    assert content.getvalue().startswith(b"\x89PNG") and len(content.getvalue()) > 5000


def test_the_check_sees_overlap_and_clipping():
    fig, ax = plt.subplots()
    ax.text(0.5, 0.5, "one")
    check_layout(fig)
    overlap = ax.text(0.5, 0.5, "two")
    with pytest.raises(AssertionError, match="two"):
        check_layout(fig)
    overlap.remove()
    clipped = ax.text(1.3, 0.5, "clipped")
    with pytest.raises(AssertionError, match="clipped"):
        check_layout(fig)
    clipped.remove()
    ax.text(0.1, 0.1, "tiny", fontsize=3)
    with pytest.raises(AssertionError, match="tiny"):
        check_layout(fig)


def images(fig):
    return [ax.images[0] for part in fig.subfigs for ax in part.axes if ax.images]


def test_compared_matrices_share_their_colour_limits():
    fig = plotting.matrices(rows({"panels": [
        panel("gap", share="g"), panel("gap", scale=3, share="g"), panel("gap")]}))
    first, second, alone = images(fig)
    assert first.get_clim() == second.get_clim() != alone.get_clim()
    off = ~np.eye(10, dtype=bool)
    largest = 100 * np.array(panel("gap", scale=3)["matrix"])[off].max()
    assert first.get_clim() == pytest.approx((0, largest))


def test_difference_is_symmetric_and_diagonal_of_a_cost_is_masked():
    fig = plotting.matrices(rows({"panels": [panel("difference"), panel("cost"), panel("gap")]}))
    difference, cost, gap = images(fig)
    low, high = difference.get_clim()
    assert low == -high and difference.cmap.name == "RdBu_r"
    assert np.array_equal(np.ma.getmaskarray(cost.get_array()), np.eye(10, dtype=bool))
    assert not np.ma.getmaskarray(gap.get_array()).any()


def test_a_cost_is_coloured_from_its_nearest_to_its_farthest_pair():
    near, far = 0.5, 0.95
    matrix = np.full((10, 10), 0.9) - 0.9 * np.eye(10)
    matrix[0, 1] = matrix[1, 0] = near
    matrix[2, 3] = matrix[3, 2] = far
    data = {**panel("cost"), "matrix": matrix.tolist()}
    assert images(plotting.matrices(rows({"panels": [data]})))[0].get_clim() == pytest.approx((near, far))
    equal = {**panel("cost"), "matrix": (1 - np.eye(10)).tolist()}
    assert images(plotting.matrices(rows({"panels": [equal]})))[0].get_clim() == pytest.approx((0, 1))


def test_names_of_pairs_stay_on_the_side_of_the_middle():
    data = correlation_panel("CIFAR-10") | {"annotations": [
        {"x": x, "y": 0.2, "text": "a long name of a pair of classes"} for x in (0.0, 100.0)]}
    fig = plotting.correlation(rows({"panels": [data]}))
    names = fig.subfigs[0].axes[0].texts
    assert [text.get_ha() for text in names] == ["left", "right"]


def test_cells_show_percent_and_null_is_left_out():
    data = panel("confusion", 2)
    data["matrix"] = [[0.934, 0.066], [None, 0.5]]
    fig = plotting.matrices(rows({"panels": [data]}))
    assert [text.get_text() for text in fig.subfigs[0].axes[0].texts] == ["93", "7", "50"]


def test_class_and_group_names_are_on_the_axes():
    fig = plotting.matrices(rows({"panels": [panel("cost"), panel("gap")]}, {"panels": [
        panel("gap", 100, groups=GROUPS)]}))
    named, grouped = fig.subfigs[0].axes[0], fig.subfigs[1].axes[0]
    assert [label.get_text() for label in named.get_xticklabels()] == CIFAR10
    assert [label.get_text() for label in named.get_yticklabels()] == CIFAR10
    assert {label.get_text() for label in grouped.get_yticklabels()} == {name for name, _, _ in GROUPS}


def test_largest_groups_are_named_first():
    fig = plotting.matrices(rows({"panels": [panel("gap", 200, groups=MANY_GROUPS)]}))
    names = [label.get_text() for label in fig.subfigs[0].axes[0].get_yticklabels()]
    assert "dogs" in names and 10 < len(names) < len(MANY_GROUPS)


def test_fixed_colours():
    assert list(COLORS) == ["ce", "pgd", "wpgd"]
    shades = [sum(to_rgb(plotting.method_color("wpgd", p))) for p in (1, 2.5, 10)]
    assert shades == sorted(shades, reverse=True) and len(set(shades)) == 3
    assert plotting.method_color("wpgd") == plotting.method_color("wpgd", 2.5) == COLORS["wpgd"]
    assert len(set(CLASS_COLORS)) == 10
    fig = plotting.curves(rows({"panels": training_panels()[:1]}))
    drawn = {line.get_label(): line.get_color() for line in fig.subfigs[0].axes[0].lines}
    assert drawn == {"CE, NE": COLORS["ce"], "CE, AE": COLORS["ce"], "PGD, NE": COLORS["pgd"]}


def test_bands_and_broken_lines():
    data = series("CE", "ce", 5)
    data["y"][3] = None
    fig = plotting.curves(rows({"panels": [{"title": "t", "series": [data]}]}))
    ax = fig.subfigs[0].axes[0]
    assert np.isnan(ax.lines[0].get_ydata()[3]) and len(ax.collections) == 1


def test_tradeoff_is_over_categories_and_zero_is_pgd():
    fig = plotting.tradeoff(rows({"panels": [tradeoff_panel("CIFAR-10")]}))
    ax = fig.subfigs[0].axes[0]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["0\n(PGD)", "1", "2.5", "10"]
    assert [list(container.lines[0].get_xdata()) for container in ax.containers] == [[0, 1, 2, 3]] * 3


def test_decision_grid_lies_the_right_way_up():
    data = {"classes": ["low", "high"], "extent": [0, 1, 0, 2],
            "panels": [{"title": "t", "grid": [[0, 0], [1, 1]]}]}
    image = images(plotting.decision_regions(rows(data)))[0]
    assert image.origin == "lower" and image.get_extent() == [0, 1, 0, 2]
    assert np.allclose(image.get_array()[1, 0], 0.35 * np.array(to_rgb(CLASS_COLORS[1])) + 0.65)


def test_data_survive_json():
    data = {"panels": [panel("gap"), panel("cost")]}
    again = json.loads(json.dumps(data))
    first, second = plotting.matrices(rows(data)), plotting.matrices(rows(again))
    assert np.array_equal(images(first)[0].get_array(), images(second)[0].get_array())


@pytest.mark.parametrize(("draw", "word"), [
    (lambda: plotting.matrices([]), "at least one"),
    (lambda: plotting.matrices({"panels": []}), "at least one"),
    (lambda: plotting.matrices(rows({})), "no 'panels'"),
    (lambda: plotting.matrices(rows({"panels": [panel("heat")]})), "'heat'"),
    (lambda: plotting.matrices(rows({"panels": [{**panel("gap"), "classes": ["a"]}]})), "1 classes"),
    (lambda: plotting.curves(rows({"panels": training_panels(), "layout": "circle"})), "'circle'"),
    (lambda: plotting.tradeoff(rows({"panels": [{"title": "t", "series": [
        {"label": "s", "metric": "XE", "p": [0], "y": [1]}]}]})), "'XE'"),
    (lambda: plotting.entropy_histograms(rows({**entropy(), "main": "submarine"})), "submarine"),
    (lambda: plotting.entropy_histograms(rows({**entropy(), "bins": [0, 1]})), "shape"),
    (lambda: plotting.decision_regions(rows({**regions(), "panels": [{"title": "t", "grid": [1]}]})), "grid"),
    (lambda: plotting.forest(rows({"claims": []})), "no 'claims'"),
])
def test_bad_data_are_named(draw, word):
    with pytest.raises(ValueError, match=word):
        draw()


def test_use_style_sets_the_defaults():
    with matplotlib.rc_context():
        plotting.use_style()
        assert matplotlib.rcParams["axes.spines.top"] is False


def test_legend_below_balances_its_lines():
    _, ax = plt.subplots()
    handles = [ax.plot([0, 1], [0, 1], label=str(index))[0] for index in range(6)]
    assert legend_below(ax, handles, 5)._ncols == 3
