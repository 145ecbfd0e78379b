"""Intervals, draws and statistics against SciPy, plain resampling, all permutations and numbers of earlier results."""
from itertools import permutations

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import bootstrap as scipy_bootstrap
from scipy.stats import kendalltau, kstest, pearsonr, ttest_1samp

from helpers.evaluation import Evaluation, mean_error_cost, weighted_score
from helpers.intervals import (
    Interval,
    bootstrap,
    from_draws,
    hull,
    mantel,
    over_seeds,
    resampled,
    rho,
    tau,
    worst_case,
)
from study.results import merge, split

COST = np.array([[0.0, 1.0, 4.0], [1.0, 0.0, 2.0], [4.0, 2.0, 0.0]])
NAN = float("nan")


def error(model):
    return model.error


def gap(standard, robust):
    return np.abs(robust.confusion - standard.confusion)


def random_answers(rng, num_classes, per_class, accuracy):
    labels = np.repeat(np.arange(num_classes), per_class)
    wrong = rng.integers(0, num_classes, len(labels))
    return Evaluation(labels, np.where(rng.random(len(labels)) < accuracy, labels, wrong), num_classes)


def random_cost(rng, num_classes):
    cost = rng.random((num_classes, num_classes))
    return np.triu(cost, 1) + np.triu(cost, 1).T


def noisy(share, seed=0, count=300):
    labels, wrong = np.arange(count) % 3, np.random.default_rng(seed).random(count) < share
    return Evaluation(labels, np.where(wrong, (labels + 1) % 3, labels), 3)


def approx(*numbers, **options):
    return pytest.approx(numbers, nan_ok=True, **options)


# Interval -------------------------------------------------------------------------------------------------


def test_an_interval_prints_itself():
    assert str(Interval(0.5234, 0.4, 0.6311)) == repr(Interval(0.5234, 0.4, 0.6311)) == "0.523 [0.4, 0.631]"
    assert (str(Interval(3)), str(Interval(None)), str(Interval(NAN, 1, 2))) == ("3", "–", "–")
    assert "0.5 [0.4, 0.6]" in pd.DataFrame({"x": [Interval(0.5, 0.4, 0.6)]}).to_string()


def test_sums_and_differences_hold_all_that_their_terms_hold():
    one, two = Interval(1, 0, 3), Interval(10, 9, 12)
    assert one + two == Interval(11, 9, 15) and two - one == Interval(9, 6, 12)
    assert one - 1 == Interval(0, -1, 2) and 1 - one == Interval(0, -2, 1) and 1 + one == Interval(2, 1, 4)
    assert 2 * one == one * 2 == Interval(2, 0, 6) and one * -1 == Interval(-1, -3, 0)
    assert np.float64(2) * one == Interval(2, 0, 6) and (pd.Series([one]) * 2)[0] == Interval(2, 0, 6)
    assert tuple(one + Interval(1)) == approx(2, NAN, NAN) and tuple(Interval(NAN) - one) == approx(NAN, NAN, NAN)


@pytest.mark.parametrize("ends", [(1, None), (NAN, 2), (2, 1)])
def test_an_interval_has_both_ends_in_order_or_none(ends):
    with pytest.raises(ValueError, match="both ends or none"):
        Interval(1.5, *ends)


def test_hull_spans_the_seeds():
    assert hull([Interval(1, 0, 2), (3, 2.5, 4)]) == Interval(2, 0, 4)
    assert tuple(hull([Interval(1), Interval(3, 2, 4)])) == approx(2, NAN, NAN)
    assert tuple(hull([])) == approx(NAN, NAN, NAN)


def test_over_seeds_is_students_interval_or_the_range_of_two():
    values = [1.0, 2.0, 4.0, 4.5]
    expected = ttest_1samp(values, 0).confidence_interval(0.9)
    assert tuple(over_seeds(values, 0.9)) == approx(np.mean(values), *expected)
    assert over_seeds([3, 1]) == Interval(2, 1, 3) and over_seeds([2, 2, 2]) == Interval(2, 2, 2)
    for few, value in (([5.0], 5), ([1, NAN], NAN), ([], NAN)):
        assert tuple(over_seeds(few)) == approx(value, NAN, NAN)
    frame = pd.DataFrame({"p": [1, 1, 2], "NE": [1.0, 3.0, 5.0]})
    assert frame.groupby("p").NE.agg(over_seeds)[1] == Interval(2, 1, 3)


def test_a_frame_of_intervals_is_split_for_a_file_and_merged_again(tmp_path):
    frame = pd.DataFrame({"name": ["a", "b", "c"], "x": [Interval(1, 0, 2), Interval(3), None], "y": [1.0, 2.0, 3.0]})
    flat = split(frame)
    assert list(flat) == ["name", "x", "x low", "x high", "y"] and flat["x low"].tolist() == approx(0, NAN, NAN)
    flat.to_csv(tmp_path / "x.csv", index=False)
    again = merge(pd.read_csv(tmp_path / "x.csv"))
    assert list(again) == list(frame) and list(map(str, again.x)) == ["1 [0, 2]", "3", "–"]
    assert split(again).equals(flat) and list(frame) == ["name", "x", "y"]


# Bootstrap ------------------------------------------------------------------------------------------------


def fixed(step, shift=0):
    """A model with answers that no random generator made: 3 unequal classes, 90 images."""
    index = np.arange(90)
    labels = np.array([0, 0, 1, 1, 1, 2])[index % 6]
    predictions = np.where(index * step % 11 < 4, (labels + 1 + index * step % 5 // 3) % 3, labels)
    return Evaluation(np.roll(labels, shift), np.roll(predictions, shift), 3)


def test_the_draws_are_those_of_all_earlier_results():
    """Numbers of the code that made the committed tables: a draw in another order would change them all."""
    a, b, c = fixed(2), fixed(4), fixed(7)
    pair = np.array([[0, 1, 0], [1, 0, 0], [0, 0, 0]])

    def concentration(first, second):
        found = gap(first, second)
        return (found * pair).sum((-2, -1)) / (found * (1 - np.eye(3))).sum((-2, -1)) * 3

    expected = {
        (37.77777777777778, 28.888888888888886, 47.77777777777777): bootstrap(error, a),
        (0.6916666666666667, 0.45548611111111115, 0.9529166666666665): bootstrap(lambda x: weighted_score(COST, x), a),
        (-0.011111111111111072, -0.3028472222222222, 0.2777777777777777): bootstrap(
            lambda x, y: weighted_score(COST, x) - weighted_score(COST, y), a, b),
        (1.1111111111111143, -13.333333333333329, 15.555555555555554): bootstrap(
            lambda x, y: x.error - y.error, a, fixed(4, 1), seed=3),
        (0.5659090909090908, 0.45743305209097584, 0.68046456185567): bootstrap(
            lambda x: mean_error_cost(COST, x), a),
        (-0.37527217102177696, -1.3352342944736577, 0.04299562792438605): bootstrap(
            lambda x, y: rho(gap(x, y), COST), a, b, method="basic"),
        (1.44, 0.9984557438794723, 2.380204918032786): bootstrap(concentration, a, b, method="basic"),
        (0, -1, 1): bootstrap(lambda *models: tau([weighted_score(COST, x) for x in models]), a, b, c),
    }
    for numbers, found in expected.items():
        assert tuple(found) == approx(*numbers, abs=1e-11)
    assert mantel(gap(a, b), COST, 99) == 0.17


def bootstrap_by_hand(evaluations, statistic, samples, seed):
    """Resample indices within each class, the same for all evaluations, one sample at a time."""
    rng = np.random.default_rng(seed)
    labels, size = evaluations[0].labels, evaluations[0].num_classes
    members = [np.flatnonzero(labels == k) for k in range(size)]
    values = []
    for _ in range(samples):
        index = np.concatenate([rng.choice(member, len(member)) for member in members])
        values.append(statistic(*[Evaluation(e.labels[index], e.predictions[index], size) for e in evaluations]))
    return np.percentile(values, [2.5, 97.5])


@pytest.fixture(scope="module")
def two_models():
    rng = np.random.default_rng(2)
    standard = random_answers(rng, 5, 60, 0.9)
    robust = np.where(rng.random(300) < 0.6, standard.predictions, rng.integers(0, 5, 300))
    return standard, Evaluation(standard.labels, robust, 5), random_cost(rng, 5)


@pytest.mark.parametrize("statistic", [
    lambda cost, s, r: r.error - s.error,
    lambda cost, s, r: r.class_error[..., 2],
    lambda cost, s, r: weighted_score(cost, r) - weighted_score(cost, s),
    lambda cost, s, r: mean_error_cost(cost, r),
    lambda cost, s, r: rho(gap(s, r), cost),
    lambda cost, s, r: r.confusion[..., 0, 1],
])
def test_a_bootstrap_equals_resampling_by_hand(two_models, statistic):
    *models, cost = two_models
    found = bootstrap(lambda *both: statistic(cost, *both), *models, samples=4000)
    low, high = bootstrap_by_hand(models, lambda *both: statistic(cost, *both), samples=600, seed=1)
    assert found.value == pytest.approx(statistic(cost, *models), abs=1e-11) and found.low < found.high
    assert (found.low, found.high) == approx(low, high, abs=0.15 * (high - low))
    narrow = bootstrap(lambda *both: statistic(cost, *both), *models, samples=4000, confidence=0.5)
    assert found.low < narrow.low < narrow.high < found.high


def test_resamples_are_paired_only_for_the_same_images(two_models):
    standard, robust, _ = two_models
    order = np.random.default_rng(0).permutation(len(robust.labels))
    shuffled = Evaluation(robust.labels[order], robust.predictions[order], 5)
    paired, unpaired = (bootstrap(lambda a, b: a.error - b.error, one, standard, samples=2000)
                        for one in (robust, shuffled))
    assert unpaired.high - unpaired.low > 1.1 * (paired.high - paired.low) and paired.value == unpaired.value > 0
    assert tuple(bootstrap(lambda a, b: a.error - b.error, robust, robust)) == (0, 0, 0)


def test_error_interval_of_unbalanced_classes_is_the_binomial_one():
    labels = np.repeat([0, 1], [900, 100])
    wrong = np.zeros(1000, bool)
    wrong[:90], wrong[900:950] = True, True
    value, low, high = bootstrap(error, Evaluation(labels, np.where(wrong, 1 - labels, labels), 2), samples=5000)
    width = 2 * 1.96 * np.sqrt((900 * 0.1 * 0.9 + 100 * 0.5 * 0.5) / 1000**2) * 100
    assert low < 14 < high and value == pytest.approx(14) and high - low == pytest.approx(width, rel=0.08)


def test_seeds_are_compared_one_by_one_and_their_hull_is_given(two_models):
    standard, robust, _ = two_models

    def worse(a, b):
        return a.error - b.error

    each = [bootstrap(worse, *pair) for pair in ((robust, standard), (standard, standard))]
    assert bootstrap(worse, [robust, standard], [standard, standard]) == hull(each)
    assert bootstrap(worse, [robust, standard], [standard]) == each[0], "a seed that one model lacks is left out"
    for nothing in ([[], [standard]], [[], []], []):
        assert tuple(bootstrap(lambda *models: tau([one.error for one in models]), *nothing)) == approx(NAN, NAN, NAN)


def test_many_classes_are_resampled_in_chunks_with_the_same_result(monkeypatch, two_models):
    *models, cost = two_models
    whole = resampled(lambda s, r: rho(gap(s, r), cost), *models, samples=500)
    monkeypatch.setattr("helpers.intervals._ENTRIES", 1)
    np.testing.assert_allclose(resampled(lambda s, r: rho(gap(s, r), cost), *models, samples=500), whole, atol=1e-12)


@pytest.mark.parametrize("options", [{}, {"diagonal": True}])
def test_the_interval_of_rho_holds_rho_also_with_few_images(options):
    """Resamples are noisier than the data: with 5 images a class their percentiles leave the value outside."""
    models = [random_answers(np.random.default_rng(7), 40, 5, share) for share in (0.8, 0.5)]
    cost = random_cost(np.random.default_rng(0), 40)
    value, low, high = bootstrap(lambda s, r: rho(gap(s, r), cost, **options), *models, samples=400, method="basic")
    assert low <= value <= high and low < high
    drawn = resampled(lambda s, r: rho(gap(s, r), cost, **options), *models, samples=400)
    assert abs(np.mean(drawn)) < abs(value) and max(abs(low), abs(high)) > abs(value), "mirrored away from 0"


def test_a_basic_interval_mirrors_the_percentiles():
    assert tuple(from_draws(10, np.arange(101) / 10, 0.9, "basic")) == approx(10, 10, 20 - 0.5)
    assert tuple(from_draws(5, np.arange(101) / 10 - 1, 0.9, "basic")) == approx(5, 10 - 8.5, 10 + 0.5)
    assert tuple(from_draws(NAN, np.arange(5.0), method="basic")) == approx(NAN, NAN, NAN)
    assert tuple(from_draws(1.0, np.full(3, np.nan))) == approx(1, NAN, NAN)
    assert from_draws(9, [0, 1, 2, np.nan, np.inf], 0.5) == Interval(9, 0.5, 1.5)


def test_a_bootstrap_refuses_what_it_cannot_resample(two_models):
    standard, _, _ = two_models
    both = (lambda a, b: a.error - b.error, standard, Evaluation([0, 1], [0, 1], 2))
    absent = (error, Evaluation([0, 1], [0, 1], 3, allow_absent=True))
    number, cell = (lambda a: 3.0, standard), (lambda a: a.confusion[1, 2].max(), standard)
    for words, message in ((both, "same classes"), (absent, "images in each"), (number, "not a number each"),
                           (cell, "not a number each")):
        with pytest.raises(ValueError, match=message):
            bootstrap(*words)
    with pytest.raises(ValueError, match='"basic"'):
        bootstrap(error, standard, method="normal")


def test_scipys_bootstrap_of_a_number_an_image_draws_what_a_loop_draws():
    """Notebooks 03 and 04 take it for numbers that come image by image; the committed ones came from this loop."""
    images, rng = np.random.default_rng(5).gamma(2.0, size=(2, 70)), np.random.default_rng(3)
    drawn = []
    for _ in range(400):
        chosen = rng.choice(70, 70)
        drawn.append(images[0, chosen].mean() - images[1, chosen].mean())
    found = scipy_bootstrap(tuple(images), lambda a, b, axis=-1: a.mean(axis) - b.mean(axis), paired=True,
                            n_resamples=400, method="percentile", rng=np.random.default_rng(3))
    np.testing.assert_allclose(found.bootstrap_distribution, drawn, rtol=0, atol=1e-12)
    assert tuple(from_draws(0, drawn)) == approx(0, *found.confidence_interval, abs=1e-12)


# Correlation, order, worst case ---------------------------------------------------------------------------


def test_rho_is_pearsons_over_the_chosen_entries():
    found, off = np.random.default_rng(1).random((7, 3, 3)), ~np.eye(3, dtype=bool)
    one = found[0]
    assert rho(one, COST) == pytest.approx(pearsonr(one[off], COST[off])[0], abs=1e-12)
    assert rho(one, COST, diagonal=True) == pytest.approx(pearsonr(one.ravel(), COST.ravel())[0], abs=1e-12)
    assert rho(one, COST) == pytest.approx(rho(torch.tensor(one), pd.DataFrame(7 * COST)), abs=1e-12)
    np.testing.assert_allclose(rho(found, COST), [rho(each, COST) for each in found])
    assert rho(3 - COST / 2, COST) == pytest.approx(-1)
    assert np.isnan(rho(one, 1 - np.eye(3))) and np.isnan(rho(np.zeros((3, 3)), COST))
    assert np.isnan(rho(np.stack([one, 0 * one]), COST)).tolist() == [False, True]
    with pytest.raises(ValueError, match="accuracy gap holds NaN"):
        rho(one * np.nan, COST)


def test_the_diagonal_inflates_the_correlation_of_an_unrelated_gap():
    rng = np.random.default_rng(5)
    cost = random_cost(rng, 30)
    noise = 0.02 * rng.random((30, 30)) + np.diag(0.3 + 0.1 * rng.random(30))
    assert abs(rho(noise, cost)) < 0.1 and rho(noise, cost, diagonal=True) < -0.2


def test_mantel_equals_all_permutations():
    rng = np.random.default_rng(3)
    found, cost, off = rng.random((4, 4)), random_cost(rng, 4), ~np.eye(4, dtype=bool)
    observed = pearsonr(found[off], cost[off])[0]
    null = [pearsonr(found[np.ix_(pi, pi)][off], cost[off])[0] for pi in map(list, permutations(range(4)))]
    exact = np.mean((null <= observed) | np.isclose(null, observed))
    assert mantel(found, cost, permutations=20_000, seed=1) == pytest.approx(exact, abs=0.012)


def test_mantel_p_values_are_uniform_under_the_null():
    rng = np.random.default_rng(11)
    draws = [(rng.random((6, 6)), random_cost(rng, 6)) for _ in range(300)]
    assert kstest([mantel(*draw, permutations=99, seed=k) for k, draw in enumerate(draws)], "uniform").pvalue > 0.01


def test_mantel_finds_what_is_there_and_is_reproducible():
    rng = np.random.default_rng(0)
    cost = random_cost(rng, 10)
    noise = rng.random((10, 10))
    assert mantel(1 - cost + 0.1 * noise, cost, permutations=999, seed=4) == 1 / 1000
    assert mantel(cost + 0.1 * noise, cost, permutations=999) == 1.0, "only a negative rho counts"
    assert mantel(noise, cost, seed=4) == mantel(noise, cost, seed=4) != mantel(noise, cost, seed=5)
    assert np.isnan(mantel(noise, 1 - np.eye(10)))


def test_tau_is_kendalls():
    for values in ([3, 5, 7], [7, 5, 3], [1, 40, 2, 4]):
        assert tau(values) == pytest.approx(kendalltau(range(len(values)), values).statistic)
    assert tau([2, 2, 3, 3]) == pytest.approx(4 / 6), "a tie counts as neither"
    assert np.isnan(tau([2, 2, 2])) and np.isnan(kendalltau(range(3), [2, 2, 2]).statistic), "no order at all"
    assert tau(np.array([[1, 3], [2, 2], [3, 1]])).tolist() == [1, -1]
    assert np.isnan(tau([1, 2])) and np.isnan(tau(np.ones((2, 5)))).tolist() == [True] * 5


@pytest.mark.parametrize("measure", [error, lambda a: weighted_score(COST, a), lambda a: mean_error_cost(COST, a)])
def test_an_order_over_models_holds_its_value(measure):
    def order(*models):
        return tau([measure(one) for one in models])

    value, low, high = bootstrap(order, *[noisy(share) for share in (0.2, 0.35, 0.5)])
    assert low <= value <= high
    if measure(noisy(0.2)) != measure(noisy(0.5)) and measure is error:
        assert (value, low, high) == (1, 1, 1)
    _, low, high = bootstrap(order, *[noisy(0.3, seed) for seed in range(4)])
    assert low <= 0 <= high, "models that differ by noise have no order"
    assert np.isnan(tuple(bootstrap(order, *[noisy(0.3)] * 3))).all(), "no order at all"


def test_worst_case_takes_the_dearest_answer_of_each_image():
    def answers(*predictions, labels=(0, 1, 2)):
        return Evaluation(list(labels), list(predictions), 3, seconds=2.0)

    first, second = answers(1, 1, 2), answers(2, 0, 2)
    worst = worst_case([first, second], COST)
    assert worst.predictions.tolist() == [2, 0, 2] and worst.seconds == 4
    assert worst_case([second, first], COST).predictions.tolist() == [2, 0, 2]
    free = np.array([[0.0, 0.0, 1.0], [0.0, 0.0, 1.0], [1.0, 1.0, 0.0]])
    assert worst_case([answers(0, 1, 2), first], free).predictions[0] == 1
    with pytest.raises(ValueError, match="same images"):
        worst_case([first, answers(1, 1, 2, labels=(1, 0, 2))], COST)
