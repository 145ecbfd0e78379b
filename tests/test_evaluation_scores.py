"""G, rho, Mantel, bootstrap and S against SciPy, all permutations, plain resampling and hand-made matrices."""

from itertools import permutations
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.stats import kstest, pearsonr

from helpers import evaluation as ev
from helpers.evaluation.stratified import basic_interval, resample_rows


def answers(labels, predictions, num_classes):
    return ev.Evaluation(np.asarray(labels), np.asarray(predictions), num_classes)


def random_answers(rng, num_classes, per_class, accuracy, labels=None):
    labels = np.repeat(np.arange(num_classes), per_class) if labels is None else labels
    wrong = rng.integers(0, num_classes, len(labels))
    return answers(labels, np.where(rng.random(len(labels)) < accuracy, labels, wrong), num_classes)


def random_cost(rng, num_classes):
    cost = rng.random((num_classes, num_classes))
    return np.triu(cost, 1) + np.triu(cost, 1).T


# Gap, correlation, Mantel ---------------------------------------------------------------------------------


STANDARD = np.array([[1.0, 0.0, 0.0], [0.1, 0.9, 0.0], [0.0, 0.0, 1.0]])
ROBUST = np.array([[0.5, 0.4, 0.1], [0.3, 0.6, 0.1], [0.1, 0.1, 0.8]])
COST = np.array([[0.0, 1.0, 4.0], [1.0, 0.0, 2.0], [4.0, 2.0, 0.0]])


def test_accuracy_gap_by_hand():
    expected = [[0.5, 0.4, 0.1], [0.2, 0.3, 0.1], [0.1, 0.1, 0.2]]
    np.testing.assert_allclose(ev.accuracy_gap(ROBUST, STANDARD), expected, atol=1e-15)
    np.testing.assert_allclose(ev.accuracy_gap(STANDARD, ROBUST), expected, atol=1e-15)
    counts = answers([0, 0, 1, 1], [0, 1, 1, 1], 2), answers([0, 0, 1, 1], [0, 0, 1, 0], 2)
    np.testing.assert_allclose(ev.accuracy_gap(*counts), 0.5)
    with pytest.raises(ValueError, match="row-normalised"):
        ev.accuracy_gap(10 * ROBUST, STANDARD)
    with pytest.raises(ValueError, match="different numbers of classes"):
        ev.accuracy_gap(ROBUST, np.eye(2))


def test_correlation_is_pearsons_over_the_chosen_entries():
    gap = ev.accuracy_gap(ROBUST, STANDARD)
    off = ~np.eye(3, dtype=bool)
    rho = ev.correlation(gap, COST)
    assert rho == pytest.approx(pearsonr(gap[off], COST[off])[0], abs=1e-12)
    whole = ev.correlation(gap, COST, diagonal=True)
    assert whole == pytest.approx(pearsonr(gap.ravel(), COST.ravel())[0], abs=1e-12)
    assert rho == pytest.approx(ev.correlation(gap, SimpleNamespace(values=7 * COST)), abs=1e-12)
    assert rho == pytest.approx(ev.correlation(torch.tensor(gap), torch.tensor(COST)), abs=1e-12)
    assert ev.correlation(3 - COST / 2, COST) == pytest.approx(-1)
    assert np.isnan(ev.correlation(gap, 1 - np.eye(3))) and np.isnan(ev.correlation(np.zeros((3, 3)), COST))


def test_the_diagonal_inflates_the_correlation_of_an_unrelated_gap():
    rng = np.random.default_rng(5)
    cost = random_cost(rng, 30)
    noise = 0.02 * rng.random((30, 30)) + np.diag(0.3 + 0.1 * rng.random(30))
    assert abs(ev.correlation(noise, cost)) < 0.1
    assert ev.correlation(noise, cost, diagonal=True) < -0.2


@pytest.mark.parametrize("alternative", ["less", "greater", "two-sided"])
def test_mantel_equals_all_permutations(alternative):
    rng = np.random.default_rng(3)
    gap, cost, off = rng.random((4, 4)), random_cost(rng, 4), ~np.eye(4, dtype=bool)
    observed = pearsonr(gap[off], cost[off])[0]
    null = [pearsonr(gap[np.ix_(pi, pi)][off], cost[off])[0] for pi in map(list, permutations(range(4)))]
    extreme = {"less": np.less_equal, "greater": np.greater_equal}.get(alternative)
    if extreme is None:
        exact = np.mean(np.abs(null) >= abs(observed) - 1e-9)
    else:
        exact = np.mean(extreme(null, observed) | np.isclose(null, observed))
    rho, pvalue = ev.mantel_test(gap, cost, permutations=20_000, seed=1, alternative=alternative)
    assert rho == pytest.approx(observed) and pvalue == pytest.approx(exact, abs=0.012)


def test_mantel_p_values_are_uniform_under_the_null():
    rng = np.random.default_rng(11)
    draws = [(rng.random((6, 6)), random_cost(rng, 6)) for _ in range(300)]
    for alternative in ("less", "two-sided"):
        pvalues = [ev.mantel_test(*draw, permutations=99, seed=k, alternative=alternative)[1]
                   for k, draw in enumerate(draws)]  # fmt: skip
        assert kstest(pvalues, "uniform").pvalue > 0.01


def test_mantel_finds_what_is_there_and_is_reproducible():
    rng = np.random.default_rng(0)
    cost = random_cost(rng, 10)
    gap = 1 - cost + 0.1 * rng.random((10, 10))
    rho, pvalue = ev.mantel_test(gap, cost, permutations=999, seed=4)
    assert rho < -0.9 and pvalue == 1 / 1000
    assert ev.mantel_test(gap, cost, permutations=999, alternative="greater")[1] == 1.0
    weak = rng.random((10, 10))
    assert ev.mantel_test(weak, cost, seed=4) == ev.mantel_test(weak, cost, seed=4)
    assert ev.mantel_test(weak, cost, seed=4)[1] != ev.mantel_test(weak, cost, seed=5)[1]
    assert np.isnan(ev.mantel_test(weak, 1 - np.eye(10))).all()
    with pytest.raises(ValueError, match="two-sided"):
        ev.mantel_test(weak, cost, alternative="smaller")


# Bootstrap ------------------------------------------------------------------------------------------------


def bootstrap_by_hand(evaluations, statistic, samples, seed):
    """Resample indices within each class, the same for all evaluations, one sample at a time."""
    rng = np.random.default_rng(seed)
    labels, size = evaluations[0].labels, evaluations[0].num_classes
    members = [np.flatnonzero(labels == k) for k in range(size)]
    values = []
    for _ in range(samples):
        index = np.concatenate([rng.choice(member, len(member)) for member in members])
        values.append(statistic(*[answers(e.labels[index], e.predictions[index], size) for e in evaluations]))
    return np.percentile(values, [2.5, 97.5])


@pytest.fixture(scope="module")
def two_models():
    rng = np.random.default_rng(2)
    standard = random_answers(rng, 5, 60, 0.9)
    robust = answers(standard.labels, np.where(rng.random(300) < 0.6, standard.predictions, rng.integers(0, 5, 300)), 5)
    return standard, robust, random_cost(rng, 5)


def test_bootstrap_correlation_equals_resampling_by_hand(two_models):
    standard, robust, cost = two_models
    low, high = ev.bootstrap_correlation(standard, robust, cost, 4000, 0)
    by_hand = bootstrap_by_hand(
        two_models[:2], lambda s, r: ev.correlation(ev.accuracy_gap(r, s), cost), samples=1500, seed=1
    )
    rho = ev.correlation(ev.accuracy_gap(robust, standard), cost)
    np.testing.assert_allclose([low, high], 2 * rho - by_hand[::-1], atol=0.06)
    assert (low, high) == ev.bootstrap_correlation(standard, robust, cost, 4000, 0)
    narrow = ev.bootstrap_correlation(standard, robust, cost, 4000, 0, confidence=0.5)
    assert low < narrow[0] < narrow[1] < high


@pytest.mark.parametrize("options", [{}, {"diagonal": True}, {"signed": True}])
def test_the_interval_of_rho_holds_rho_also_with_few_images(options):
    """Resamples are noisier than the data: with 5 images a class their percentiles leave the value outside."""
    standard, robust = (random_answers(np.random.default_rng(7), 40, 5, share) for share in (0.8, 0.5))
    cost = random_cost(np.random.default_rng(0), 40)
    change = robust.confusion - standard.confusion
    rho = ev.correlation(change if options.get("signed") else abs(change), cost, options.get("diagonal", False))
    low, high = ev.bootstrap_correlation(standard, robust, cost, 400, **options)
    assert low <= rho <= high and low < high
    if not options.get("signed"):
        drawn = ev.correlation_samples(standard, robust, cost, 400, **options)
        assert abs(np.mean(drawn)) < abs(rho) and max(abs(low), abs(high)) > abs(rho), "mirrored away from 0"


def test_a_basic_interval_mirrors_the_percentiles():
    assert basic_interval(10, np.arange(101) / 10, 0.9) == pytest.approx((10, 20 - 0.5))
    assert basic_interval(5, np.arange(101) / 10 - 1, 0.9) == pytest.approx((10 - 8.5, 10 + 0.5))
    assert np.isnan(basic_interval(np.nan, np.arange(5.0), 0.9)).all()
    assert np.isnan(basic_interval(1.0, np.full(3, np.nan), 0.9)).all()


def test_bootstrap_of_scores_and_errors_equals_resampling_by_hand(two_models):
    standard, robust, cost = two_models
    cases = [
        (ev.bootstrap_score(robust, cost, 4000), [robust], lambda r: ev.weighted_score(cost, r)),
        (ev.bootstrap_score_difference(robust, standard, cost, 4000), [robust, standard],
         lambda r, s: ev.weighted_score(cost, r) - ev.weighted_score(cost, s)),
        (ev.bootstrap_error(robust, 4000), [robust], lambda r: r.error),
        (ev.bootstrap_error_difference(robust, standard, 4000), [robust, standard], lambda r, s: r.error - s.error),
    ]  # fmt: skip
    for found, evaluations, statistic in cases:
        by_hand = bootstrap_by_hand(evaluations, statistic, samples=1000, seed=1)
        point = statistic(*evaluations)
        assert found[0] < point < found[1]
        np.testing.assert_allclose(found, by_hand, atol=0.12 * (by_hand[1] - by_hand[0]))


def test_resamples_are_paired_only_for_the_same_images(two_models):
    standard, robust, _ = two_models
    order = np.random.default_rng(0).permutation(len(robust.labels))
    shuffled = answers(robust.labels[order], robust.predictions[order], 5)
    paired = ev.bootstrap_error_difference(robust, standard, 2000)
    unpaired = ev.bootstrap_error_difference(shuffled, standard, 2000)
    assert unpaired[1] - unpaired[0] > 1.1 * (paired[1] - paired[0])
    assert ev.bootstrap_error_difference(robust, robust) == (0.0, 0.0)
    for _, (first, second) in resample_rows([robust, robust], 50, 0):
        np.testing.assert_array_equal(first, second)
        np.testing.assert_allclose(first.sum(axis=1), 1)


def test_error_interval_of_unbalanced_classes_is_the_binomial_one():
    labels = np.repeat([0, 1], [900, 100])
    wrong = np.zeros(1000, bool)
    wrong[:90], wrong[900:950] = True, True
    low, high = ev.bootstrap_error(answers(labels, np.where(wrong, 1 - labels, labels), 2), 5000)
    width = 2 * 1.96 * np.sqrt((900 * 0.1 * 0.9 + 100 * 0.5 * 0.5) / 1000**2) * 100
    assert low < 14 < high and high - low == pytest.approx(width, rel=0.08)


def test_bootstrap_refuses_what_it_cannot_resample(two_models):
    standard, robust, cost = two_models
    with pytest.raises(ValueError, match="different numbers"):
        ev.bootstrap_error_difference(standard, answers([0, 1], [0, 1], 2))
    with pytest.raises(ValueError, match="no image"):
        ev.bootstrap_error(ev.Evaluation([0, 1], [0, 1], 3, allow_absent=True))
    with pytest.raises(ValueError, match="confidence"):
        ev.bootstrap_correlation(standard, robust, cost, 10, confidence=95)
    with pytest.raises(ValueError, match="at least 2"):
        ev.bootstrap_error(standard, samples=1)
    assert np.isnan(ev.bootstrap_correlation(standard, robust, 1 - np.eye(5), 20)).all()


# Weighted score -------------------------------------------------------------------------------------------


def test_weighted_score_by_hand():
    # Rows of C / 4 times rows of ROBUST: 0.4/4 + 0.1*4/4, 0.3/4 + 0.1*2/4, 0.1*4/4 + 0.1*2/4.
    assert ev.weighted_score(COST, ROBUST) == pytest.approx(0.2 + 0.125 + 0.15)
    assert ev.weighted_score(100 * COST, ROBUST) == pytest.approx(0.475)
    assert ev.weighted_score(COST, np.eye(3)) == 0
    one_way = np.array([[0.0, 1.0], [0.5, 0.0]])
    assert ev.weighted_score(one_way, [[0.8, 0.2], [0.6, 0.4]]) == pytest.approx(0.2 + 0.3)
    assert ev.weighted_score(1 - np.eye(2), answers([0, 0, 1, 1], [1, 0, 0, 0], 2)) == pytest.approx(1.5)
    assert ev.weighted_score(1 - np.eye(4), np.roll(np.eye(4), 1, axis=0)) == 4


@pytest.mark.parametrize(
    "cost, confusion, message",
    [
        (COST, 10 * ROBUST, "row-normalised"),
        (COST, ROBUST - 0.5 + 1 / 3 * 0.5, "row-normalised"),
        (np.ones((2, 2)) - np.eye(2), ROBUST, "2 classes"),
        (-COST, ROBUST, "non-negative"),
        (COST + np.eye(3), ROBUST, "zero diagonal"),
        (0 * COST, ROBUST, "positive"),
        (COST * np.nan, ROBUST, "NaN"),
        (COST[:2], ROBUST, r"\(K, K\)"),
    ],
)
def test_weighted_score_refuses_bad_matrices(cost, confusion, message):
    with pytest.raises(ValueError, match=message):
        ev.weighted_score(cost, confusion)


def test_group_confusion_by_hand():
    names, matrix = ev.group_confusion(ROBUST, ["pet", "pet", "car"])
    assert names == ("pet", "car")
    np.testing.assert_allclose(matrix, [[(0.9 + 0.9) / 2, 0.1], [0.2, 0.8]])
    assert ev.CIFAR10_GROUPS.count("animal") == 6 and ev.CIFAR10_GROUPS[0] == ev.CIFAR10_GROUPS[9] == "vehicle"
    with pytest.raises(ValueError, match="2 classes"):
        ev.group_confusion(ROBUST, ["pet", "car"])
