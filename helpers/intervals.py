"""How sure a number is: intervals over test images (`bootstrap`) and over seeds, and the statistics of Table 1.

A `statistic` is written once, for Evaluations: `bootstrap` calls it with them for the value, and with `Resample`
objects, which have the same error, class_error and confusion with a leading axis of samples, for the interval.
"""

import math
from dataclasses import dataclass

import numpy as np

from helpers.answers import Evaluation
from helpers.checks import as_cost

_ENTRIES = 1_000_000  # of the confusions that are resampled at a time: 200 classes fit into memory, too


@dataclass(frozen=True)
class Interval:
    """A number and the interval it lies in, `low` and `high`: NaN where one measurement is all there is.

    Prints as "0.52 [0.40, 0.63]", "0.52" without an interval, "–" without a value. Sums and differences, with
    numbers and with Intervals, hold every sum of what these hold; ``value, low, high = interval`` takes it apart.

    Raises
    ------
    ValueError
        For one end without the other, and low > high.
    """

    value: float
    low: float | None = None
    high: float | None = None

    def __post_init__(self):
        for name in ("value", "low", "high"):
            number = getattr(self, name)
            object.__setattr__(self, name, math.nan if number is None else float(number))
        if math.isnan(self.low) != math.isnan(self.high):
            raise ValueError(f"an interval needs both ends or none, got low {self.low}, high {self.high}.")
        if self.low > self.high:
            raise ValueError(f"an interval has low <= high, got low {self.low}, high {self.high}: swap them.")

    def __iter__(self):
        return iter((self.value, self.low, self.high))

    def __repr__(self):
        if math.isnan(self.value):
            return "–"
        return f"{self.value:.3g}" + ("" if math.isnan(self.low) else f" [{self.low:.3g}, {self.high:.3g}]")

    def __neg__(self):
        return Interval(-self.value, -self.high, -self.low)

    def __add__(self, other):
        # A number is known exactly; an Interval without ends leaves the sum without them (NaN).
        value, low, high = other if isinstance(other, Interval) else (other, other, other)
        return Interval(self.value + value, self.low + low, self.high + high)

    def __sub__(self, other):
        return self + -other

    def __rsub__(self, other):
        return -self + other

    def __mul__(self, factor):
        low, high = sorted((self.low * factor, self.high * factor))
        return Interval(self.value * factor, low, high)

    def __truediv__(self, divisor):
        return self * (1 / divisor)

    __radd__, __rmul__ = __add__, __mul__


@dataclass(frozen=True)
class Resample:
    """Bootstrap resamples of an Evaluation, S of them.

    Attributes
    ----------
    confusion : (S, K, K) float64 array
        Row-normalised.
    shares : (K,) float64 array
        Share of the images that belong to each class, the same in every resample.
    """

    confusion: np.ndarray
    shares: np.ndarray

    @property
    def num_classes(self):
        """K."""
        return len(self.shares)

    @property
    def class_error(self):
        """(S, K) float64: error in % within each true class."""
        return 100.0 * (1.0 - np.diagonal(self.confusion, axis1=1, axis2=2))

    @property
    def error(self):
        """(S,) float64: error in %; it weighs images, not classes."""
        right = np.diagonal(self.confusion, axis1=1, axis2=2).T
        return sum(100.0 * share * (1.0 - part) for share, part in zip(self.shares, right, strict=True))


def bootstrap(statistic, *models, samples=1000, seed=0, confidence=0.95, method="percentile"):
    """Return a statistic of models with its bootstrap interval over their test images.

    Parameters
    ----------
    statistic : callable (one argument a model) -> float, and (S,) for `Resample` arguments
        ``lambda wpgd, pgd: weighted_score(cost, wpgd) - weighted_score(cost, pgd)``, say.
    models : Evaluation, or list of Evaluations, one a seed
        With lists, the first of each belong together, then the second, ...: the result is the `hull` of the
        seeds' intervals. A model without any seed, [], makes it NaN.
    samples, seed : int
    confidence : float
    method : {"percentile", "basic"}
        "basic" mirrors the percentiles at the value, for statistics that resampling shifts (see `basic`).

    Returns
    -------
    Interval
        Value and ends rounded to 12 decimals: of two equal sums, added up in another order, a rest of 1e-16 is left.
    """
    if method not in ("percentile", "basic"):
        raise ValueError(f'method must be "percentile" or "basic", got {method!r}.')

    def of_a_seed(*evaluations):
        value = float(statistic(*evaluations))
        drawn = resampled(statistic, *evaluations, samples=samples, seed=seed)
        found = basic(value, drawn, confidence) if method == "basic" else (value, *percentiles(drawn, confidence))
        return Interval(*(round(number, 12) for number in found))

    lists = [[model] if isinstance(model, Evaluation) else list(model) for model in models]
    return hull(of_a_seed(*evaluations) for evaluations in zip(*lists))


def resampled(statistic, *evaluations, samples=1000, seed=0):
    """Return a statistic of bootstrap resamples of the test images, a (samples,) array.

    The images of each class are resampled among themselves (test sets fix their class counts, and a confusion
    matrix conditions on the class). Where all evaluations have the same labels in the same order they saw the
    same images, and an image drawn for one is drawn for all: the resamples are paired.

    Raises
    ------
    ValueError
        For fewer than 2 samples, unequal numbers of classes, or a class without images.
    """
    _check(evaluations, samples)
    size, draws = evaluations[0].num_classes, _draw(evaluations, samples, np.random.default_rng(seed))
    shares = [one.counts.sum(axis=1) / len(one.labels) for one in evaluations]
    step = max(32, _ENTRIES // (len(evaluations) * size**2))
    values = []
    for start in range(0, samples, step):
        rows = np.empty((len(evaluations), size, len(draws[0][0][0][start : start + step]), size))
        for k, groups in enumerate(draws):
            chosen = (counts[start : start + step] / counts[0].sum() @ np.eye(size)[answer]
                      for counts, answers in groups for answer in answers)
            for number, row in enumerate(chosen):
                rows[number, k] = row
        values.append(statistic(*(Resample(one.swapaxes(0, 1), share) for one, share in zip(rows, shares))))
    return np.concatenate([np.atleast_1d(value) for value in values])


def _check(evaluations, samples):
    if samples < 2:
        raise ValueError(f"a bootstrap needs at least 2 samples, got {samples}.")
    if len({one.num_classes for one in evaluations}) != 1:
        sizes = sorted({one.num_classes for one in evaluations})
        raise ValueError(f"the evaluations have different numbers of classes: {sizes}.")
    for one in evaluations:
        if not (totals := one.counts.sum(axis=1)).all():
            raise ValueError(f"class {totals.argmin()} has no image, so its confusions cannot be resampled.")


def _draw(evaluations, samples, rng):
    """Return, for each class, the (counts, answers) of each group of paired evaluations.

    Drawing n images with replacement is one multinomial draw over the distinct answers (jointly over the group),
    which is far cheaper than drawing indices: counts (samples, D), answers (evaluations of the group, D).
    """
    paired = all(np.array_equal(evaluations[0].labels, other.labels) for other in evaluations[1:])
    groups = [list(evaluations)] if paired else [[one] for one in evaluations]
    draws = []
    for k in range(evaluations[0].num_classes):
        draws.append([])
        for group in groups:
            members = group[0].labels == k
            answers = np.stack([one.predictions[members] for one in group])
            answers, counts = np.unique(answers, axis=1, return_counts=True)
            drawn = rng.multinomial(counts.sum(), counts / counts.sum(), size=samples)
            draws[-1].append((drawn.astype(np.min_scalar_type(counts.sum())), answers))
    return draws


def percentiles(values, confidence=0.95):
    """Return the central percentile interval (low, high) of the finite values; NaNs if there are none."""
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, got {confidence}.")
    values = np.asarray(values, dtype=np.float64)
    values = values[np.isfinite(values)]
    if len(values) == 0:
        return math.nan, math.nan
    tail = 50 * (1 - confidence)
    low, high = np.percentile(values, [tail, 100 - tail])
    return float(low), float(high)


def basic(value, values, confidence=0.95):
    """Return the basic bootstrap Interval: the percentiles of `values`, mirrored at the `value` of the data.

    Where resampling shifts a statistic, as noise does an absolute value, percentiles shift the same way once
    more. Mirrored they undo the shift (Davison and Hinkley 1997, Sec. 2.4). Where that takes them past the value,
    the interval is widened to hold it.
    """
    low, high = percentiles(values, confidence)
    if not np.isfinite([value, low]).all():
        return Interval(value)
    return Interval(value, min(2 * value - high, value), max(2 * value - low, value))


def hull(intervals):
    """Return one Interval from those of several seeds: the mean of the values, from the lowest end to the highest.

    A verdict then needs every seed's interval on the same side. It is about these models: with one seed it says
    nothing about the next, and with two not much. An interval without ends leaves the hull without; none at all, or
    a NaN among the values, makes the value NaN.
    """
    rows = [Interval(*one) for one in intervals]
    if not rows:
        return Interval(math.nan)
    value, ends = sum(one.value for one in rows) / len(rows), [end for one in rows for end in (one.low, one.high)]
    return Interval(value) if np.isnan(ends).any() else Interval(value, min(ends), max(ends))


def over_seeds(values, confidence=0.95):
    """Return the mean of one number a seed, with an interval for that mean.

    Three seeds or more: Student's t interval. Two: the smaller and the larger value (no confidence level can be
    named). One: no interval. A NaN among the values makes the mean NaN.
    """
    numbers = [float(value) for value in values]
    if not numbers:
        raise ValueError("over_seeds needs at least one value; no seed was measured.")
    mean, count = sum(numbers) / len(numbers), len(numbers)
    if count == 1 or not math.isfinite(mean):
        return Interval(mean)
    if count == 2:
        return Interval(mean, min(numbers), max(numbers))
    from scipy.stats import t

    variance = sum((number - mean) ** 2 for number in numbers) / (count - 1)
    half = float(t.ppf(0.5 + confidence / 2, count - 1)) * math.sqrt(variance / count)
    return Interval(mean, mean - half, mean + half)


def wider(first, second):
    """Return the value of `first` with the lowest and highest of both intervals' ends, those that there are."""
    ends = [end for one in (first, second) for end in (one.low, one.high) if not math.isnan(end)]
    return Interval(first.value, min(ends), max(ends)) if ends else Interval(first.value)


def tau(values):
    """Return Kendall's tau of values with their order: 1 if each is above all before it, -1 if below.

    One model that failed to train does not decide it, as it would decide a slope. A tie counts 0. NaN for fewer
    than three models: two have a difference, not an order.

    Parameters
    ----------
    values : sequence of M floats, or of M (S,) arrays
        M models; S resamples are ordered each for itself.
    """
    values = np.asarray(values, dtype=np.float64)
    if len(values) < 3:
        return np.full(values.shape[1:], np.nan)[()]
    earlier, later = np.triu_indices(len(values), 1)
    return np.sign(values[later] - values[earlier]).mean(axis=0)


def rho(gap, cost, diagonal=False):
    """Return Pearson's correlation between an accuracy gap and a cost matrix (Table 1).

    The paper does not say over which entries it correlates. Here the K(K-1) off-diagonal ones count. With
    `diagonal=True` all K*K do, which inflates |rho|: on the diagonal the cost is 0 by definition while the gap is
    the loss of accuracy of the whole class, the sum of its row's changes, hence the largest entry.

    Parameters
    ----------
    gap : (K, K) or (S, K, K) array
        From `accuracy_gap`.
    cost : CostMatrix or (K, K) array

    Returns
    -------
    float in [-1, 1] or an (S,) array; NaN where the gap or the cost is constant over the entries.
    """
    gap, gap_norm = _centred(np.asarray(gap, dtype=np.float64), diagonal)
    cost, cost_norm = _centred(as_cost(cost, gap.shape[-1]), diagonal)
    product, norm = gap.reshape(*gap.shape[:-2], -1) @ cost.ravel(), gap_norm * cost_norm
    found = np.divide(product, norm, out=np.full(norm.shape, np.nan), where=norm > 0)
    return found if found.ndim else float(found)


def _centred(matrix, diagonal):
    """Return the matrix minus its mean over the entries that count, zero elsewhere, and its norm.

    The norm is 0.0 where the entries are constant to rounding, because no correlation is defined then.
    """
    if not np.isfinite(matrix).all():
        raise ValueError("the accuracy gap holds NaN or infinity; a class without any image gives such a row: leave it "
                         "out or evaluate on images of every class.")
    mask = np.ones(matrix.shape[-2:]) if diagonal else 1.0 - np.eye(matrix.shape[-1])
    mean = (matrix * mask).sum(axis=(-2, -1), keepdims=True) / mask.sum()
    centred = (matrix - mean) * mask
    constant = np.abs(centred).max(axis=(-2, -1)) <= 1e-12 * np.abs(matrix).max(axis=(-2, -1))
    return centred, np.where(constant, 0.0, np.linalg.norm(centred, axis=(-2, -1)))


def mantel(gap, cost, permutations=9999, seed=0, diagonal=False):
    """Return the p value of a negative `rho`, by permuting the classes (Mantel 1967).

    The entries of a matrix between classes are not independent, so the usual p value of a correlation does not
    hold. Under the null the classes' names are exchangeable: rows and columns of one matrix are permuted together,
    and p = (count + 1) / (permutations + 1), where `count` permutations are at least as low as what was observed.

    Parameters
    ----------
    gap, cost, diagonal
        As in `rho`, one gap.

    Returns
    -------
    float, NaN where rho is.
    """
    if permutations < 1:
        raise ValueError(f"permutations must be at least 1, got {permutations}.")
    observed, size, rng = rho(gap, cost, diagonal), len(gap), np.random.default_rng(seed)
    if math.isnan(observed):
        return math.nan
    gap, gap_norm = _centred(gap, diagonal)
    cost, cost_norm = _centred(as_cost(cost, size), diagonal)
    count, chunk = 0, max(1, 2_000_000 // size**2)
    for start in range(0, permutations, chunk):
        order = rng.permuted(np.tile(np.arange(size), (min(chunk, permutations - start), 1)), axis=1)
        products = gap[order[:, :, None], order[:, None, :]].reshape(len(order), -1) @ cost.ravel()
        # Permutations that leave the matrix unchanged give rho up to rounding and must count.
        count += int((products / (gap_norm * cost_norm) <= observed + 1e-10).sum())
    return (count + 1) / (permutations + 1)


def worst_case(evaluations, cost):
    """Return, for each image, the most expensive answer that any of several attacks on a model reached.

    Parameters
    ----------
    evaluations : sequence of Evaluation
        Of one model on the same images, an attack each.
    cost : CostMatrix or (K, K) array
        An error whose cost is 0 still counts as worse than a right answer.

    Returns
    -------
    Evaluation

    Raises
    ------
    ValueError
        If the evaluations are not of the same images.
    """
    first = evaluations[0]
    if any(not np.array_equal(first.labels, other.labels) for other in evaluations):
        raise ValueError("the worst case over attacks needs evaluations of the same images in the same order.")
    values = as_cost(cost, first.num_classes)
    answers = np.stack([one.predictions for one in evaluations])
    badness = values[first.labels, answers] / values.max() + 1e-9 * (answers != first.labels)
    worst = answers[badness.argmax(axis=0), np.arange(len(first.labels))]
    return Evaluation(first.labels, worst, first.num_classes, sum(one.seconds for one in evaluations),
                      first.allow_absent)


def split(frame):
    """Return a DataFrame whose columns x of Intervals became numbers: "x", "x low", "x high"."""
    columns = {}
    for name, column in frame.items():
        if any(isinstance(cell, Interval) for cell in column):
            cells = [cell if isinstance(cell, Interval) else Interval(cell) for cell in column]
            columns |= {name: [one.value for one in cells], f"{name} low": [one.low for one in cells],
                        f"{name} high": [one.high for one in cells]}
        else:
            columns[name] = column
    return type(frame)(columns, index=frame.index)


def merge(frame):
    """Return the DataFrame that `split` was given: columns "x", "x low", "x high" become one of Intervals."""
    names = [name for name in frame if {f"{name} low", f"{name} high"} <= set(frame)]
    merged = {name: [Interval(*row) for row in zip(frame[name], frame[f"{name} low"], frame[f"{name} high"])]
              for name in names}
    return frame.assign(**merged).drop(columns=[f"{name} {end}" for name in names for end in ("low", "high")])
