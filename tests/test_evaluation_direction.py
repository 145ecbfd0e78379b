"""Where errors go: near and distant pairs, the cost of an error, the worst attack, order over models."""

import math

import numpy as np
import pytest

from helpers import costs, evaluation
from helpers.claims import hull
from helpers.evaluation import Evaluation

COST = np.array([[0.0, 1.0, 4.0], [1.0, 0.0, 2.0], [4.0, 2.0, 0.0]])


def answers(*pairs):
    """Evaluation of 3 classes from (label, prediction) pairs."""
    labels, predictions = zip(*pairs, strict=True)
    return Evaluation(np.array(labels), np.array(predictions), 3)


def noisy(error, seed=0, count=300):
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    wrong = rng.random(count) < error
    return Evaluation(labels, np.where(wrong, (labels + 1) % 3, labels), 3)


def test_pairs_by_cost_takes_the_dearest_or_cheapest_and_ties():
    assert np.array_equal(evaluation.pairs_by_cost(COST), [[0, 0, 1], [0, 0, 0], [1, 0, 0]])
    assert np.array_equal(evaluation.pairs_by_cost(COST, which="similar"), [[0, 1, 0], [1, 0, 0], [0, 0, 0]])
    equal = 1 - np.eye(4)
    assert np.array_equal(evaluation.pairs_by_cost(equal, 0.1), equal), "equal costs cannot be told apart"
    assert evaluation.pairs_by_cost(COST, 1).sum() == 6


def test_pairs_by_cost_as_a_cost_counts_images():
    pairs = evaluation.pairs_by_cost(COST)
    seen = answers((0, 2), (0, 0), (1, 0), (1, 1), (2, 0), (2, 2))
    assert 100 / 3 * evaluation.weighted_score(pairs, seen) == pytest.approx(100 * 2 / 6)


@pytest.mark.parametrize(("change", "word"), [({"share": 0}, "share"), ({"which": "near"}, "near")])
def test_pairs_by_cost_names_what_is_wrong(change, word):
    with pytest.raises(ValueError, match=word):
        evaluation.pairs_by_cost(COST, **change)


def test_crossing_pairs_need_a_group_for_each_class():
    pairs = evaluation.crossing_pairs(["cat", "dog", "ship"], costs.CIFAR10_SUPERCLASSES)
    assert np.array_equal(pairs, [[0, 0, 1], [0, 0, 1], [1, 1, 0]])
    assert evaluation.crossing_pairs(["0", "1"], costs.CIFAR10_SUPERCLASSES) is None
    assert evaluation.crossing_pairs(["cat", "dog"], costs.CIFAR10_SUPERCLASSES) is None


def test_cost_of_an_error_is_score_over_errors():
    seen = answers((0, 2), (0, 0), (1, 0), (1, 1), (2, 2), (2, 2))
    assert evaluation.mean_error_cost(COST, seen) == pytest.approx((1.0 + 0.25) / 2)
    score, error = evaluation.weighted_score(COST, seen), seen.error / 100
    assert evaluation.mean_error_cost(COST, seen) == pytest.approx(score / (3 * error))
    low, high = evaluation.bootstrap_error_cost(noisy(0.3), COST)
    assert low < evaluation.mean_error_cost(COST, noisy(0.3)) < high
    assert math.isnan(evaluation.mean_error_cost(COST, answers((0, 0), (1, 1), (2, 2))))


def test_worst_case_takes_the_dearest_answer_of_each_image():
    first = answers((0, 1), (1, 1), (2, 2))
    second = answers((0, 2), (1, 0), (2, 2))
    worst = evaluation.worst_case([first, second], COST)
    assert worst.predictions.tolist() == [2, 0, 2]
    assert evaluation.worst_case([second, first], COST).predictions.tolist() == [2, 0, 2]
    free = np.array([[0.0, 0.0, 1.0], [0.0, 0.0, 1.0], [1.0, 1.0, 0.0]])
    assert evaluation.worst_case([answers((0, 0), (1, 1), (2, 2)), first], free).predictions[0] == 1
    with pytest.raises(ValueError, match="same images"):
        evaluation.worst_case([first, answers((1, 1), (0, 1), (2, 2))], COST)


def test_rank_order_is_kendalls_tau():
    from scipy.stats import kendalltau

    for values in ([3, 5, 7], [7, 5, 3], [1, 40, 2, 4], [4, 9]):
        assert evaluation.rank_order(values) == pytest.approx(kendalltau(range(len(values)), values).statistic)
    assert evaluation.rank_order([2, 2, 2]) == 0
    assert evaluation.rank_order(np.array([[1, 3], [2, 2]])).tolist() == [1, -1]
    assert math.isnan(evaluation.rank_order([1]))


@pytest.mark.parametrize("options", [{}, {"cost": COST}, {"cost": COST, "per_error": True}])
def test_bootstrap_order_holds_its_value(options):
    models = [noisy(error) for error in (0.2, 0.35, 0.5)]
    value, low, high = evaluation.bootstrap_order(models, **options)
    assert low <= value <= high
    assert options.get("per_error") or (value, low, high) == (1, 1, 1)
    assert all(math.isnan(end) for end in evaluation.bootstrap_order(models[:1], **options))


def test_models_that_differ_by_noise_have_no_order():
    _, low, high = evaluation.bootstrap_order([noisy(0.3, seed) for seed in range(4)])
    assert low < 0 < high
    assert evaluation.bootstrap_order([noisy(0.3)] * 3, COST) == (0, 0, 0)


def test_hull_spans_the_seeds():
    assert hull([(1, 0, 2), (3, 2.5, 4)]) == (2, 0, 4)
    assert hull([(1, None, None), (3, 2, 4)]) == (2, None, None)
    assert math.isnan(hull([]).value) and hull([]).low is None
