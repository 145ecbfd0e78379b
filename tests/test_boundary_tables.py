"""The toy's tables against hand-made models and numbers, and the figures drawn from them."""
import json
import math
import warnings

import numpy as np
import pandas as pd
import pytest
import torch

from helpers.costs import CostMatrix
from helpers.evaluation import boundaries
from helpers.evaluation import boundary_tables as tables
from helpers.paper.files import plain

COST = CostMatrix([[0, 10, 0.01], [10, 0, 1], [0.01, 1, 0]], ("a", "b", "c"))
CENTRES = torch.tensor([[0.2, 0.2], [0.8, 0.2], [0.5, 0.8]], dtype=torch.float64)
POINTS = CENTRES.repeat_interleave(2, dim=0) + torch.tensor([[0.0, 0.05], [0.0, -0.05]]).repeat(3, 1)
LABELS = torch.arange(3).repeat_interleave(2)


def nearest(points):
    """A classifier whose boundaries are the bisectors of the three centres."""
    return -((points[:, None].double() - CENTRES) ** 2).sum(dim=2)


def table_of(entries):
    """Rows (method, eps, seed, pair, cost, value of every measure)."""
    frame = pd.DataFrame(entries, columns=["method", "eps", "seed", "pair", "cost", "length"])
    return frame.assign(curvature=frame.length, mean_distance=frame.length, alignment=frame.length)


@pytest.fixture
def table():
    """Standard 2.0 everywhere; PGD halves all pairs at once; WPGD changes them by their cost."""
    rows = []
    for seed in (0, 1):
        for pair, cost, kept in (("0–1", 10, 0.5), ("0–2", 0.01, 1.0), ("1–2", 1, 0.8)):
            rows += [("ce", 0, seed, pair, cost, 2.0), ("pgd", 10, seed, pair, cost, 1.5),
                     ("pgd", 20, seed, pair, cost, 1.0), ("wpgd", 10, seed, pair, cost, 2 * kept),
                     ("wpgd", 20, seed, pair, cost, 2 * kept)]
    return table_of(rows)


def test_a_row_is_a_pair_of_a_model_with_its_cost_and_the_models_error():
    table = tables.boundary_table({("ce", 0, 7): nearest, ("pgd", 16, 7): nearest}, POINTS, LABELS, COST, 60)
    assert list(table.pair) == ["0–1", "0–2", "1–2"] * 2
    assert list(table.cost[:3]) == [10, 0.01, 1]
    assert set(table.error) == {0.0} and set(table.seed) == {7}
    assert set(tables.MEASURES) <= set(table)
    # The bisector of the two lower centres is x = 0.5, 0.3 from each point; the bisectors meet at y = 0.425.
    assert table.length[0] == pytest.approx(0.425, abs=0.01)
    assert table.mean_distance[0] == pytest.approx(0.3, abs=1e-6)


def test_the_cost_of_an_asymmetric_pair_is_the_mean_of_both_directions():
    cost = CostMatrix([[0, 2, 1], [4, 0, 1], [1, 1, 0]], ("a", "b", "c"), symmetric=False)
    assert tables.boundary_table({("ce", 0, 0): nearest}, POINTS, LABELS, cost, 40).cost[0] == 3


@pytest.mark.parametrize("degrees", [0, 30, 90])
def test_local_alignment_of_a_linear_model_is_the_cosine_of_its_angle(degrees):
    angle = math.radians(degrees)
    normal = torch.tensor([math.cos(angle), math.sin(angle)], dtype=torch.float64)
    points = torch.tensor([[0.2, 0.1], [0.2, 0.5], [0.6, 0.1], [0.7, 0.5]])
    aligned = tables.local_alignment(lambda x: torch.stack([x @ normal, -(x @ normal)], dim=1), points,
                                     torch.tensor([0, 0, 1, 1]), (0, 1))
    assert aligned == pytest.approx(abs(math.cos(math.radians(degrees))), abs=1e-6)


def test_local_alignment_follows_the_nearest_point_where_the_means_do_not():
    points = torch.tensor([[0.2, 0.2], [0.2, 0.8], [0.3, 0.2], [0.3, 0.9]])
    model, labels = (lambda x: torch.stack([x[:, 0], -x[:, 0]], dim=1)), torch.tensor([0, 0, 1, 1])
    expected = (1 + 1 / math.sqrt(2)) / 2
    assert tables.local_alignment(model, points, labels, (0, 1)) == pytest.approx(expected, abs=1e-6)
    with pytest.raises(ValueError, match="no point"):
        tables.local_alignment(model, points[:2], labels[:2], (0, 1))


def test_shares_are_relative_to_the_same_seed_and_pair_of_standard_training(table):
    assert set(tables.shares(table, "length").query("method == 'pgd' and eps == 20")["share"]) == {0.5}
    with pytest.raises(ValueError, match=r"no standard model .* \[1\]"):
        tables.shares(table[(table.method != "ce") | (table.seed == 0)], "length")


def test_slopes_are_percent_of_the_standard_value_per_10_eps(table):
    assert tables.slopes(table, "length") == pytest.approx([-25.0, -25.0])
    gone = table.assign(length=np.nan)
    assert np.isnan(tables.slopes(gone, "length")).all()


def test_gains_compare_the_largest_eps_with_standard_training(table):
    assert tables.gains(table, "alignment") == pytest.approx([-1.0, -1.0])


def test_text_and_caption_differ_in_a_sign(table):
    assert tables.cheap_minus_dear(table) == pytest.approx([0.5, 0.5])
    assert tables.cheap_minus_dear(table, method="pgd") == pytest.approx([0.0, 0.0])
    assert list(tables.kept_by_pair(table).index) == ["0–2", "1–2", "0–1"]
    assert list(tables.kept_by_pair(table)["share"]) == pytest.approx([1.0, 0.8, 0.5])


def test_rank_correlation_with_the_cost(table):
    assert tables.cost_correlations(table) == pytest.approx([-1.0, -1.0])
    assert np.isnan(tables.cost_correlations(table, method="pgd")).all()


def test_equal_costs_cannot_be_compared(table):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isnan(tables.cheap_minus_dear(table.assign(cost=1.0))).all()
        assert np.isnan(tables.cost_correlations(table.assign(cost=1.0))).all()


def test_a_regions_panel_puts_the_grids_points_onto_the_square():
    panel = tables.region_panel(nearest, POINTS, LABELS, "title", resolution=11)
    assert panel["extent"] == pytest.approx([-0.05, 1.05, -0.05, 1.05])
    assert panel["grid"].shape == (11, 11) and panel["note"] == "test error 0.0 %"
    ends = [boundaries.boundary_length([line]) for line in panel["lines"]]
    assert len(ends) == 3 and min(ends) > 0.3


def test_limits_are_shared_between_the_figures_of_both_methods(table):
    both = [tables.measure_panels(table, method, {"length": "length"})["panels"][0]
            for method in ("pgd", "wpgd")]
    assert both[0]["ylim"] == both[1]["ylim"]
    assert [series["cost"] for series in both[0]["series"]] == [0.01, 1, 10]
    assert both[0]["series"][0]["x"] == [0, 10, 20]
    assert both[1]["series"][2]["y"] == [2.0, 1.0, 1.0]


def test_a_panel_a_pair_from_cheap_to_dear_with_a_line_a_model():
    models = {("ce", 0, 0): nearest, ("wpgd", 48, 0): nearest}
    panels = tables.boundary_panels(models, POINTS, LABELS, COST)["panels"]
    assert [panel["pair"] for panel in panels] == [[0, 2], [1, 2], [0, 1]]
    assert [line["method"] for line in panels[0]["lines"]] == ["ce", "wpgd"]


def test_the_figures_are_drawn_from_what_a_metrics_file_keeps(table):
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    from helpers import plotting
    from helpers.plotting import plane

    models = {("ce", 0, 0): nearest, ("pgd", 48, 0): nearest}
    regions = tables.region_panel(nearest, POINTS, LABELS, "title", 21)
    cloud = {"classes": COST.classes, "points": POINTS.numpy(), "labels": LABELS.numpy()}
    arrows = {**regions, **cloud, "panels": [
        {"title": name, "method": name, "starts": POINTS, "ends": POINTS + 0.1, "labels": LABELS} for name in
        ("pgd", "wpgd")]}
    drawn = [(plotting.decision_regions, {**cloud, "panels": [regions]}), (plane.attack_arrows, arrows),
             (plane.pair_measures, tables.measure_panels(table, "wpgd", {"length": "l", "alignment": "|cos|"})),
             (plane.pair_boundaries, tables.boundary_panels(models, POINTS, LABELS, COST))]
    for function, data in drawn:
        fig = function([("quick", json.loads(json.dumps(plain(data))))] * 2)
        fig.canvas.draw()
        assert len(fig.subfigs) == 2 and all(len(part.axes) == len(data["panels"]) for part in fig.subfigs)
    exact = plotting.decision_regions([("a", {**cloud, "panels": [regions]})]).axes[0]
    assert len(exact.lines) == 3, "the exact boundaries, and no contour of the cells"
    plt.close("all")
