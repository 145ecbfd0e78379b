"""How sure a number is: intervals over test images (`bootstrap`) and over seeds, and the statistics of Sec. 3 and 5.

A `statistic` is written once, for Evaluations. For the interval `bootstrap` calls it with `Resample` objects, which
have the same error, class_error and confusion with a leading axis of samples.
"""
import math
from dataclasses import dataclass, replace

import numpy as np

from helpers.answers import Evaluation
from helpers.checks import as_matrix
from helpers.costs.matrix import as_cost

_ENTRIES = 1_000_000  # of confusions, resampled at a time: they stay in the cache, and 200 classes need little memory


@dataclass(frozen=True)
class Interval:
    """A number and the interval it lies in, `low` and `high`: NaN where one measurement is all there is.

    Prints as "0.52 [0.40, 0.63]", "0.52" without an interval, "–" without a value. Sums and differences, with numbers
    and Intervals, hold every sum of what these hold; ``value, low, high = interval`` takes it apart. One end without
    the other, or low > high, is a ValueError.
    """

    value: float
    low: float | None = None
    high: float | None = None

    def __post_init__(self):
        for name in ("value", "low", "high"):
            number = getattr(self, name)
            object.__setattr__(self, name, math.nan if number is None else float(number))
        if math.isnan(self.low) != math.isnan(self.high) or self.low > self.high:
            raise ValueError(f"an interval needs both ends or none, low <= high, got {self.low} and {self.high}.")

    def __iter__(self):
        return iter((self.value, self.low, self.high))

    def __repr__(self):
        if math.isnan(self.value):
            return "–"
        return f"{self.value:.3g}" + ("" if math.isnan(self.low) else f" [{self.low:.3g}, {self.high:.3g}]")

    def __add__(self, other):
        # A number is known exactly; an Interval without ends leaves the sum without them.
        value, low, high = other if isinstance(other, Interval) else (other, other, other)
        return Interval(self.value + value, self.low + low, self.high + high)

    def __mul__(self, factor):
        return Interval(self.value * factor, *sorted((self.low * factor, self.high * factor)))

    def __sub__(self, other):
        return self + -1 * other

    def __rsub__(self, other):
        return -1 * self + other

    __radd__, __rmul__ = __add__, __mul__


@dataclass(frozen=True)
class Resample:
    """S bootstrap resamples of an Evaluation."""

    confusion: np.ndarray  # (S, K, K) float64, row-normalised
    shares: np.ndarray  # (K,) float64: share of the images that belong to each class, the same in every resample
    classes: tuple | None = None  # K names, where the Evaluation has them

    class_error = Evaluation.class_error  # (S, K)

    @property
    def error(self):
        """(S,) float64: error in %; it weighs images, not classes."""
        right = np.diagonal(self.confusion, axis1=1, axis2=2).T
        return sum(100.0 * share * (1.0 - part) for share, part in zip(self.shares, right, strict=True))


def bootstrap(statistic, *models, samples=1000, seed=0, confidence=0.95, method="percentile"):
    """A statistic of models with its bootstrap interval over their test images, an Interval.

    Parameters
    ----------
    statistic : callable (one argument a model) -> float, and (S,) for `Resample` arguments;
        ``lambda wpgd, pgd: weighted_score(cost, wpgd) - weighted_score(cost, pgd)``, say
    models : Evaluation, or list of Evaluations, one a seed: the first of each list belong together, then the second,
        ..., and the result is the `hull` of the seeds' intervals, NaN where a model has no seed, []
    samples, seed : as of `resampled`; confidence, method : as of `from_draws`
    """
    found = []
    # A rest of 1e-16, left of two equal sums that were added up in another order, becomes 0.
    for evaluations in zip(*([model] if isinstance(model, Evaluation) else model for model in models)):
        numbers = float(statistic(*evaluations)), resampled(statistic, *evaluations, samples=samples, seed=seed)
        found.append(from_draws(*(np.where(np.abs(one) < 1e-12, 0.0, one) for one in numbers), confidence, method))
    return hull(found)


def resampled(statistic, *evaluations, samples=1000, seed=0):
    """A statistic of bootstrap resamples of the test images, a (samples,) array.

    The images of each class are resampled among themselves (test sets fix their class counts, and a confusion matrix
    conditions on the class). Evaluations with the same labels in the same order saw the same images: there an image
    drawn for one is drawn for all, the resamples are paired.
    """
    counts = [one.counts.sum(axis=1) for one in evaluations]
    if len({len(one) for one in counts}) != 1 or not np.all(counts):
        raise ValueError("a bootstrap needs evaluations with the same classes and images in each, got images a class "
                         f"of {[one.tolist() for one in counts]}.")
    draws, values = _draw(evaluations, samples, np.random.default_rng(seed)), np.empty(samples)
    step = max(32, _ENTRIES // (len(evaluations) * len(counts[0]) ** 2))
    for chunk in (slice(start, min(start + step, samples)) for start in range(0, samples, step)):
        confusions = (np.stack([times[chunk] / total @ is_answer for times, total, is_answer in of_model], axis=1)
                      for of_model in draws)
        drawn = statistic(*(Resample(one, count / count.sum(), of.classes)
                            for one, count, of in zip(confusions, counts, evaluations)))
        if np.shape(drawn) != values[chunk].shape:
            raise ValueError(f"of {len(values[chunk])} resamples the statistic gave shape {np.shape(drawn)}, "
                             "not a number each: write .confusion[..., i, j] and .sum(axis=(-2, -1)), and no float().")
        values[chunk] = drawn
    return values


def _draw(evaluations, samples, rng):
    """For each evaluation, a tuple over the classes of: times drawn (samples, D), total, answers one-hot (D, K).

    Drawing n images with replacement is one multinomial draw over their D distinct answers (jointly over paired
    evaluations), far cheaper than drawing indices.
    """
    paired = all(np.array_equal(evaluations[0].labels, other.labels) for other in evaluations[1:])
    draws = [[] for _ in range(evaluations[0].num_classes)]
    for k, drawn in enumerate(draws):
        for group in [evaluations] if paired else [[one] for one in evaluations]:
            answers = np.stack([one.predictions[group[0].labels == k] for one in group])
            answers, counts = np.unique(answers, axis=1, return_counts=True)
            total = counts.sum()
            times = rng.multinomial(total, counts / total, size=samples).astype(np.min_scalar_type(total))
            drawn += [(times, total, np.eye(len(draws))[answer]) for answer in answers]
    return list(zip(*draws))


def from_draws(value, values, confidence=0.95, method="percentile"):
    """The Interval of a `value` from `values` that were drawn for it: the finite ones; without any it has no ends.

    "percentile": the central ones. "basic": these mirrored at the value. Where resampling shifts a statistic, as noise
    does an absolute value, percentiles shift once more; mirrored they undo it (Davison and Hinkley 1997, Sec. 2.4), and
    the interval is widened to hold the value.
    """
    if method not in ("percentile", "basic"):
        raise ValueError(f'method must be "percentile" or "basic", got {method!r}.')
    values, tail = np.asarray(values, dtype=np.float64), 50 * (1 - confidence)
    values = values[np.isfinite(values)]
    if not len(values) or (method == "basic" and not np.isfinite(value)):
        return Interval(value)
    low, high = np.percentile(values, [tail, 100 - tail])
    if method == "basic":
        low, high = min(2 * value - high, value), max(2 * value - low, value)
    return Interval(value, low, high)


def hull(intervals):
    """One Interval from those of several seeds: the mean of the values, from the lowest end to the highest.

    It is about these models: with one seed it says nothing about the next. No ends if one has none, NaN for [].
    """
    values, lows, highs = zip(*(list(intervals) or [Interval(math.nan)]))
    return Interval(sum(values) / len(values), *(() if np.isnan(lows).any() else (min(lows), max(highs))))


def over_seeds(values, confidence=0.95):
    """The mean of one number a seed, with an interval for that mean: Student's t for three seeds or more.

    Two: the smaller and the larger value (no confidence level can be named). One: no interval. None, or a NaN: NaN.
    """
    numbers = [float(value) for value in values] or [math.nan]
    mean = sum(numbers) / len(numbers)
    if len(numbers) == 1 or not math.isfinite(mean):
        return Interval(mean)
    if len(numbers) == 2:
        return Interval(mean, min(numbers), max(numbers))
    from scipy.stats import t
    half = float(t.ppf(0.5 + confidence / 2, len(numbers) - 1)) * math.sqrt(np.var(numbers, ddof=1) / len(numbers))
    return Interval(mean, mean - half, mean + half)


def tau(values):
    """Kendall's tau of M values, or of M arrays (S,), with their order: 1 if each is above all before it.

    One model that failed to train does not decide it, as it would a slope. A tie counts 0. NaN where all tie, and for
    fewer than three values: two have a difference, not an order.
    """
    values = np.asarray(values, dtype=np.float64)
    if len(values) < 3:
        return np.full(values.shape[1:], np.nan)
    earlier, later = np.triu_indices(len(values), 1)
    signs = np.sign(values[later] - values[earlier])
    return np.where((signs == 0).all(axis=0), np.nan, signs.mean(axis=0))


def rho(gap, cost, diagonal=False):
    """Pearson's correlation of a gap, (K, K) or (S, K, K), with a cost matrix (Table 1): a float, or (S,).

    The paper does not say over which entries. Here the K(K-1) off-diagonal ones count; with `diagonal=True` all K*K
    do, which inflates |rho|: there the cost is 0 by definition, while the gap is the loss of accuracy of the whole
    class, the largest entry of its row. NaN where gap or cost is constant over the entries.
    """
    gap, gap_norm = _centred(as_matrix(gap, "accuracy gap"), diagonal)
    cost, cost_norm = _centred(as_cost(cost, gap.shape[-1]), diagonal)
    product, norm = gap.reshape(*gap.shape[:-2], -1) @ cost.ravel(), gap_norm * cost_norm
    return np.divide(product, norm, out=np.full(norm.shape, np.nan), where=norm > 0)[()]


def _centred(matrix, diagonal):
    """The matrix minus the mean of its entries that count, 0 elsewhere, and its norm: 0 if it is constant."""
    mask = np.ones(matrix.shape[-2:]) if diagonal else 1.0 - np.eye(matrix.shape[-1])
    centred = (matrix - (matrix * mask).sum(axis=(-2, -1), keepdims=True) / mask.sum()) * mask
    constant = np.abs(centred).max(axis=(-2, -1)) <= 1e-12 * np.abs(matrix).max(axis=(-2, -1))
    return centred, np.where(constant, 0.0, np.linalg.norm(centred, axis=(-2, -1)))


def mantel(gap, cost, permutations=9999, seed=0, diagonal=False):
    """The p value of a negative `rho` of one gap, by permuting the classes (Mantel 1967); NaN where rho is.

    The entries of a matrix between classes are not independent, as the usual p value assumes. Under the null the
    classes' names are exchangeable: rows and columns of one matrix are permuted together, and p = (count + 1) /
    (permutations + 1), where `count` permutations have a rho as low as the observed one.
    """
    observed, size, rng = rho(gap, cost, diagonal), len(gap), np.random.default_rng(seed)
    if math.isnan(observed):
        return math.nan
    count, chunk = 0, max(1, 2_000_000 // size**2)
    for start in range(0, permutations, chunk):
        order = rng.permuted(np.tile(np.arange(size), (min(chunk, permutations - start), 1)), axis=1)
        permuted = rho(np.asarray(gap)[order[:, :, None], order[:, None, :]], cost, diagonal)
        # Permutations that leave the matrix unchanged give rho up to rounding and must count.
        count += int((permuted <= observed + 1e-10).sum())
    return (count + 1) / (permutations + 1)


def worst_case(evaluations, cost):
    """The Evaluation with the most expensive answer of each image among those under several attacks on a model.

    An error at cost 0 still counts as worse than a right answer.
    """
    first = evaluations[0]
    if any(not np.array_equal(first.labels, other.labels) for other in evaluations):
        raise ValueError("the worst case over attacks needs evaluations of the same images in the same order.")
    values = as_cost(cost, first.num_classes, first.classes)
    answers = np.stack([one.predictions for one in evaluations])
    badness = values[first.labels, answers] / values.max() + 1e-9 * (answers != first.labels)
    worst = answers[badness.argmax(axis=0), np.arange(len(first.labels))]
    return replace(first, predictions=worst, seconds=sum(one.seconds for one in evaluations))
