"""Where errors go: near and distant pairs, the cost of an error, the worst attack, trends over models."""

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


def test_trend_is_the_slope_over_steps():
    assert evaluation.trend([3, 5, 7]) == pytest.approx(2)
    assert evaluation.trend([1, 0, 0, 1]) == pytest.approx(0)
    assert evaluation.trend([4, 9]) == pytest.approx(np.polyfit([0, 1], [4, 9], 1)[0])
    assert math.isnan(evaluation.trend([1]))


@pytest.mark.parametrize("options", [{}, {"cost": COST}, {"cost": COST, "per_error": True}])
def test_bootstrap_trend_holds_its_value(options):
    models = [noisy(error) for error in (0.2, 0.35, 0.5)]
    value, low, high = evaluation.bootstrap_trend(models, **options)
    assert low <= value <= high
    if not options:
        assert value == pytest.approx((models[2].error - models[0].error) / 2) and low > 0
    assert all(math.isnan(end) for end in evaluation.bootstrap_trend(models[:1], **options))


def test_bootstrap_trend_of_one_model_with_itself_is_zero():
    assert evaluation.bootstrap_trend([noisy(0.3)] * 3, COST) == pytest.approx((0, 0, 0), abs=1e-12)


def test_hull_spans_the_seeds():
    assert hull([(1, 0, 2), (3, 2.5, 4)]) == (2, 0, 4)
    assert hull([(1, None, None), (3, 2, 4)]) == (2, None, None)
    assert math.isnan(hull([]).value) and hull([]).low is None
