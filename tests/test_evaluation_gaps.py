"""Where the gap lies and what chance gives, against hand-made answers, enumeration and plain resampling."""

from itertools import product
from types import SimpleNamespace

import numpy as np
import pytest

from helpers import costs
from helpers import evaluation as ev
from helpers.evaluation.stratified import resample_rows

NAMES = ("a", "b", "c")
METRIC = costs.CostMatrix([[0, 1, 4], [1, 0, 2], [4, 2, 0]], NAMES, name="hand")
LABELS = np.repeat([0, 1, 2], 4)
STANDARD = ev.Evaluation(LABELS, np.array([0, 0, 0, 1, 1, 1, 1, 1, 2, 2, 2, 0]), 3)
ROBUST = ev.Evaluation(LABELS, np.array([0, 1, 1, 0, 1, 1, 2, 2, 2, 2, 2, 2]), 3)


def study(standard=STANDARD, robust=ROBUST, cost=METRIC, **other):
    return ev.GapStudy(**{"name": "cifar10", "title": "hand", "eps": 8.0, "cost": cost, "standard": standard,
                          "robust": robust, "stand_in": False, "examples": [], **other})


def noisy(rng, num_classes, per_class, share):
    labels = np.repeat(np.arange(num_classes), per_class)
    wrong = rng.integers(0, num_classes, len(labels))
    return ev.Evaluation(labels, np.where(rng.random(len(labels)) < share, wrong, labels), num_classes)


# Pairs and concentration ------------------------------------------------------------------------------------


def test_pairs_among_by_hand():
    np.testing.assert_array_equal(ev.pairs_among(NAMES, ["a", "c"]), [[0, 0, 1], [0, 0, 0], [1, 0, 0]])
    for names, message in ((["a", "z"], "'z' is none"), (["a"], "two or more"), (["a", "a"], "two or more")):
        with pytest.raises(ValueError, match=message):
            ev.pairs_among(NAMES, names)


def test_nearer_share_by_hand():
    assert [ev.nearer_share(METRIC, *pair) for pair in ("ab", "bc", "ca")] == [0.0, 0.5, 1.0]


def test_concentration_by_hand():
    gap = np.array([[9, 3, 1], [3, 9, 1], [1, 1, 9.0]])
    near = ev.pairs_among(NAMES, ["a", "b"])
    assert ev.concentration(gap, near) == pytest.approx(3 / (10 / 6))
    assert ev.concentration(np.ones((3, 3)), near) == pytest.approx(1)
    assert np.isnan(ev.concentration(np.eye(3), near))


def test_bootstrap_concentration_equals_resampling_by_hand():
    rng = np.random.default_rng(0)
    standard, robust = noisy(rng, 4, 30, 0.2), noisy(rng, 4, 30, 0.4)
    pairs = ev.pairs_among("abcd", "ab")
    gaps = np.zeros((500, 4, 4))
    for k, (first, second) in resample_rows([standard, robust], 500, 3):
        gaps[:, k] = np.abs(second - first)
    expected = np.percentile([ev.concentration(gap, pairs) for gap in gaps], [2.5, 97.5])
    value = ev.concentration(ev.accuracy_gap(robust, standard), pairs)
    expected = max(0, min(value, 2 * value - expected[1])), max(value, 2 * value - expected[0])
    assert ev.bootstrap_concentration(standard, robust, pairs, 500, 3) == pytest.approx(expected)
    low, high = ev.bootstrap_concentration(standard, standard, pairs, 10, 0)
    assert np.isnan(low) and np.isnan(high)


def test_gap_size_is_the_mean_row_off_the_diagonal():
    assert ev.gap_size(np.array([[0.5, 0.2, 0.1], [0, 0.3, 0], [0, 0.3, 0.3]])) == pytest.approx(20)


# Exchanged answers ------------------------------------------------------------------------------------------


def test_exchanged_gaps_are_those_of_all_swaps():
    """Four images with different answers: the gaps drawn are exactly the 2^4 that swapping gives."""
    labels = np.array([0, 0, 1, 1, 2, 2])
    first, second = np.array([0, 0, 1, 1, 2, 2]), np.array([1, 1, 1, 2, 0, 2])
    possible = set()
    for swap in product([False, True], repeat=6):
        one, two = np.where(swap, second, first), np.where(swap, first, second)
        gap = ev.accuracy_gap(ev.Evaluation(labels, two, 3), ev.Evaluation(labels, one, 3))
        possible.add(tuple(gap.ravel().round(9)))
    drawn = ev.exchanged_gaps(ev.Evaluation(labels, first, 3), ev.Evaluation(labels, second, 3), 400, 0)
    assert {tuple(gap.ravel().round(9)) for gap in drawn} == possible


def test_exchanged_gaps_of_equal_models_are_zero_and_need_the_same_images():
    assert all(not gap.any() for gap in ev.exchanged_gaps(ROBUST, ROBUST, 3))
    other = ev.Evaluation(np.roll(LABELS, 4), ROBUST.predictions, 3)
    with pytest.raises(ValueError, match="same images"):
        next(ev.exchanged_gaps(STANDARD, other))


def test_chance_alone_makes_rho_negative():
    """Two equally good models that confuse neighbours: rho is clearly below 0, and chance explains it."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(10), 100)
    both = [ev.Evaluation(labels, np.where(rng.random(1000) < 0.2, labels ^ 1, labels), 10) for _ in "ab"]
    cost = costs.CostMatrix(np.abs(np.subtract.outer(np.arange(10.0), np.arange(10))), [str(k) for k in range(10)])
    row = study(*both, cost).table_row(200, 200)
    assert row["rho"] < -0.25 and row["rho_p"] < 0.05
    assert row["rho_chance_low"] <= row["rho"] <= row["rho_chance_high"]
    assert abs(row["gap_size"] - row["chance_size"]) < 0.5 * row["chance_size"]


def test_signed_rho_by_hand():
    off = ~np.eye(3, dtype=bool)
    change = (ROBUST.confusion - STANDARD.confusion)[off]
    expected = np.corrcoef(change, METRIC.values[off])[0, 1]
    assert study().table_row(20, 20)["rho_signed"] == pytest.approx(expected)
    samples = ev.correlation_samples(STANDARD, ROBUST, METRIC, 200, 5, signed=True)
    changes = np.zeros((200, 3, 3))
    for k, (first, second) in resample_rows([STANDARD, ROBUST], 200, 5):
        changes[:, k] = second - first
    by_hand = [ev.correlation(one, METRIC) for one in changes]
    np.testing.assert_allclose(samples, by_hand, atol=1e-9)


# Studies ----------------------------------------------------------------------------------------------------


def test_a_row_of_table_1():
    row = study().table_row(100, 99)
    assert (row["NE_CE"], row["NE_PGD"], row["images"], row["classes"]) == (STANDARD.error, ROBUST.error, 12, 3)
    assert row["rho"] == pytest.approx(ev.correlation(study().gap, METRIC))
    assert row["rho_diagonal"] == pytest.approx(ev.correlation(study().gap, METRIC, diagonal=True))
    assert row["rho_p"] == ev.mantel_test(study().gap, METRIC, 99, 0)[1]
    for name in ("rho", "rho_diagonal", "rho_signed", "rho_chance"):
        assert row[f"{name}_low"] <= row[f"{name}_high"]


def test_equal_models_give_no_correlation_and_no_error():
    row = study(ROBUST, ROBUST).table_row(10, 10)
    assert np.isnan(row["rho"]) and np.isnan(row["rho_chance"]) and row["gap_size"] == 0
    assert study(ROBUST, ROBUST).cloud(row)["annotations"] == []
    assert len(ev.confused_pairs(study(ROBUST, ROBUST))) == 0


def test_few_classes_keep_their_order_and_many_are_grouped():
    data = ev.gap_panels(study(), study(eps=16.0))
    assert [panel["kind"] for panel in data["panels"]] == ["cost", "gap", "gap"]
    assert [panel["title"][:3] for panel in data["panels"]] == ["(a)", "(b)", "(c)"]
    assert data["panels"][0]["classes"] == list(NAMES) and data["panels"][0]["groups"] is None
    np.testing.assert_allclose(data["panels"][1]["matrix"], study().gap)

    rng = np.random.default_rng(0)
    cost = costs.wordnet_cost("cifar100")
    many = study(noisy(rng, 100, 5, 0.5), noisy(rng, 100, 5, 0.5), cost)
    metric, gap = ev.gap_panels(many)["panels"]
    places = [list(many.classes).index(name) for name in metric["classes"]]
    assert sorted(places) == list(range(100)) and places != list(range(100))
    np.testing.assert_array_equal(metric["matrix"], cost.values[np.ix_(places, places)])
    np.testing.assert_allclose(gap["matrix"], many.gap[np.ix_(places, places)], atol=1e-4)
    assert metric["groups"][-1][2] == 100


def test_a_cloud_shows_all_pairs_or_says_how_many():
    row = study().table_row(10, 10)
    cloud = study().cloud(row)
    assert len(cloud["cost"]) == len(cloud["gap"]) == 6 and cloud["title"] == "hand, PGD eps 8"
    assert cloud["annotations"][0]["text"] == "b → c" and cloud["annotations"][0]["y"] == 0.5
    thinned = study().cloud(row, points=4)
    assert len(thinned["gap"]) == 4 and thinned["title"].endswith("4 of 6 pairs")


def test_confused_pairs_by_hand():
    table = ev.confused_pairs(study(), 2)
    assert list(table["pair"]) == ["b / c", "a / b"]
    first = table.iloc[0]
    assert (first["gap"], first["CE"], first["PGD"], first["cost"], first["nearer"]) == (25, 0, 25, 2, 50)


def test_a_lead_is_measured_between_the_papers_data_sets_only():
    rng = np.random.default_rng(1)
    worse = noisy(rng, 3, 40, 0.3)
    plain = ev.Evaluation(worse.labels, worse.labels, 3)
    strong, weak = study(), study(plain, worse)
    value, low, high = ev.correlation_lead(strong, [weak], 200)
    assert value == pytest.approx(abs(ev.correlation(strong.gap, METRIC)) - abs(ev.correlation(weak.gap, METRIC)))
    assert low < high
    assert np.isnan(ev.correlation_lead(strong, [study(stand_in=True)])).all()
    assert np.isnan(ev.correlation_lead(strong, [])).all()


def test_more_images_alone_give_no_lead():
    """Two data sets with the same true confusions; one has ten times as many test images."""
    rng = np.random.default_rng(3)
    size, names = 10, [str(k) for k in range(10)]
    cost = costs.CostMatrix(np.abs(np.subtract.outer(np.arange(size), np.arange(size))), names)
    near = np.exp(-cost.values) + 30 * np.eye(size)

    def answers(images, blur):
        rows = near + blur * (near - np.diag(np.diag(near)))
        labels = np.repeat(np.arange(size), images)
        drawn = [rng.choice(size, p=rows[k] / rows[k].sum()) for k in labels]
        return ev.Evaluation(labels, drawn, size)

    many, few = (study(answers(images, 1), answers(images, 5), cost) for images in (600, 20))
    value, low, high = ev.correlation_lead(many, [few], 200)
    assert value > 0.1, "the larger test set looks better correlated"
    assert low < 0 < value <= high


def test_a_study_of_two_runs_keeps_the_images_that_make_the_gap(monkeypatch):
    images = np.arange(12 * 4, dtype=np.uint8).reshape(12, 1, 2, 2)
    dataset = SimpleNamespace(classes=NAMES, x_test=images)
    runs = [SimpleNamespace(answer=answer, dataset=dataset, config=SimpleNamespace(eps=8.0))
            for answer in (STANDARD, ROBUST)]
    monkeypatch.setattr("helpers.evaluation.studies.evaluate_run", lambda run: run.answer)
    found = ev.gap_study(*runs, METRIC, "cifar10", "CIFAR-10 (digits stand in)", stand_in=True)
    assert (found.eps, found.stand_in, found.name) == (8.0, True, "cifar10")
    (name, shown, captions), (_, none, _) = found.examples
    # b is taken for c twice by the robust model only; c is never taken for b.
    assert "b, taken for c" in name and "2 lost, 0 won of 4" in name and captions == ["lost", "lost"]
    np.testing.assert_array_equal(shown, images[[6, 7]])
    assert len(none) == 0


def test_concentration_of_a_study_comes_with_its_interval():
    value, low, high = study().concentration(["b", "c"], 300)
    assert value == pytest.approx(ev.concentration(study().gap, ev.pairs_among(NAMES, "bc"))) and low < value < high
    near = study().nearest(0.2, 300)
    assert near[0] == pytest.approx(ev.concentration(study().gap, ev.pairs_among(NAMES, "ab")))
