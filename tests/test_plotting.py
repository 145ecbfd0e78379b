"""Figures that a reader can use: nothing clipped or overlapping, letters large enough, limits shared."""

import io
import json

import numpy as np
import pytest

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")

import matplotlib.pyplot as plt  # noqa: E402
from matplotlib.colors import to_rgb  # noqa: E402
from plotting_examples import (  # noqa: E402
    CIFAR10,
    EXAMPLES,
    GROUPS,
    MANY_GROUPS,
    correlation_panel,
    entropy,
    panel,
    regions,
    rows,
    series,
    tradeoff_panel,
    training_panels,
)

from helpers import plotting  # noqa: E402
from helpers.plotting.style import CLASS_COLORS, COLORS, legend_below  # noqa: E402

SHOWN = 900  # pixels a figure is wide in a notebook


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


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


@pytest.mark.parametrize("kind, texts", [("gap", [".9", ".4", "0", "10"]), ("difference", ["+.9", "-.4", "0", "+10"])])
def test_small_differences_have_a_decimal(kind, texts):
    data = panel(kind, 2)
    sign = -1 if kind == "difference" else 1
    data["matrix"] = [[0.0092, sign * 0.0041], [sign * 0.0004, 0.1034]]
    fig = plotting.matrices(rows({"panels": [data]}))
    assert [text.get_text() for text in fig.subfigs[0].axes[0].texts] == texts


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
