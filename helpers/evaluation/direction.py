"""Where errors go: to near or to distant classes, and how that moves over a series of models (Sec. 5.3, 5.4)."""

from collections.abc import Mapping, Sequence

import numpy as np

from .checks import as_confusion, as_cost
from .predict import Evaluation
from .scores import _error_samples, _score_samples, weighted_score
from .stratified import percentile_interval


def pairs_by_cost(cost, share=1 / 3, which="distant"):
    """Return a 0/1 matrix of the pairs of classes with the highest (or lowest) costs.

    Parameters
    ----------
    cost : CostMatrix or (K, K) array
    share : float in (0, 1]
        Share of the K(K-1) pairs. Pairs that cost the same as the last one chosen are chosen too.
    which : {"distant", "similar"}

    Returns
    -------
    (K, K) float64 array
        A cost matrix in its own right: `weighted_score` of it, times 100 / K, is the share of images in %
        (each class weighing the same) that end in one of these pairs.
    """
    if which not in ("distant", "similar"):
        raise ValueError(f'which must be "distant" or "similar", got {which!r}.')
    if not 0 < share <= 1:
        raise ValueError(f"share must lie in (0, 1], got {share}.")
    values = np.asarray(getattr(cost, "values", cost), dtype=np.float64)
    values = as_cost(values, len(values)) * (1 if which == "distant" else -1)
    off = ~np.eye(len(values), dtype=bool)
    ranked = np.sort(values[off])[::-1]
    last = ranked[max(round(share * len(ranked)), 1) - 1]
    return (off & (values >= last)).astype(np.float64)


def crossing_pairs(classes: Sequence[str], groups: Mapping):
    """Return a 0/1 matrix of the pairs whose classes belong to different groups, such as animal and vehicle.

    Parameters
    ----------
    classes : K class names
    groups : mapping of class name to group
        For example `costs.CIFAR10_SUPERCLASSES`.

    Returns
    -------
    (K, K) float64 array, or None if a class has no group or all have the same.
    """
    if any(name not in groups for name in classes) or len({groups[name] for name in classes}) < 2:
        return None
    return np.array([[float(groups[a] != groups[b]) for b in classes] for a in classes])


def mean_error_cost(cost, confusion):
    """Return the mean cost of an error, S / (K * AE): Eq. (7) without the number of errors in it.

    S falls when errors become fewer and when they become cheaper; this only when they become cheaper.

    Parameters
    ----------
    cost : CostMatrix or (K, K) array
        Scaled to a maximum of 1 first, as in `weighted_score`.
    confusion : (K, K) array or Evaluation

    Returns
    -------
    float in [0, 1], NaN if there is no error.
    """
    confusion = as_confusion(confusion)
    errors = len(confusion) - np.trace(confusion)
    return float(weighted_score(cost, confusion) / errors) if errors > 1e-12 else float("nan")


def bootstrap_error_cost(evaluation, cost, samples=1000, seed=0, *, confidence=0.95):
    """Return a percentile bootstrap interval (low, high) of `mean_error_cost` over the test images."""
    return percentile_interval(_samples([evaluation], cost, True, samples, seed)[0], confidence)


def worst_case(evaluations, cost):
    """Return, for each image, the most expensive answer that any of several attacks reached.

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
    answers = np.stack([evaluation.predictions for evaluation in evaluations])
    badness = values[first.labels, answers] / values.max() + 1e-9 * (answers != first.labels)
    worst = answers[badness.argmax(axis=0), np.arange(len(first.labels))]
    return Evaluation(first.labels, worst, first.num_classes, sum(one.seconds for one in evaluations),
                      first.allow_absent)


def rank_order(values):
    """Return Kendall's tau of values with their order: 1 if each is above all before it, -1 if below, NaN for one.

    One model that failed to train does not decide it, as it would decide a slope.

    Parameters
    ----------
    values : (M,) or (M, S) array
        M models; S resamples are ordered each for itself.
    """
    values = np.asarray(values, dtype=np.float64)
    earlier, later = np.triu_indices(len(values), 1)
    if not len(earlier):
        return float("nan")
    return np.sign(values[later] - values[earlier]).mean(axis=0)


def measure(evaluation, cost=None, per_error=False):
    """Return the error in % without a cost, S of Eq. (7) with one, or the `mean_error_cost`."""
    if cost is None:
        return evaluation.error
    return mean_error_cost(cost, evaluation) if per_error else weighted_score(cost, evaluation)


def bootstrap_order(evaluations, cost=None, samples=1000, seed=0, *, per_error=False, confidence=0.95):
    """Return the `rank_order` of a measure over models, with a bootstrap interval over the test images.

    Parameters
    ----------
    evaluations : sequence of Evaluation
        One a model, for example PGD and then WPGD by ascending p; resampled jointly if they saw the same images.
    cost, per_error
        Which measure, see `measure`.

    Returns
    -------
    value, low, high : float
        NaN for fewer than two models.
    """
    if len(evaluations) < 2:
        return float("nan"), float("nan"), float("nan")
    value = float(rank_order([measure(evaluation, cost, per_error) for evaluation in evaluations]))
    resampled = rank_order(_samples(list(evaluations), cost, per_error, samples, seed))
    return value, *percentile_interval(resampled, confidence)


def _samples(evaluations, cost, per_error, samples, seed):
    """Return the resampled measure of each evaluation, (len(evaluations), samples)."""
    if cost is None:
        return _error_samples(evaluations, samples, seed)
    scores = _score_samples(evaluations, cost, samples, seed)
    if per_error:
        # The same seed draws the same images, so that numerator and denominator belong together.
        errors = _score_samples(evaluations, 1.0 - np.eye(evaluations[0].num_classes), samples, seed)
        scores = np.divide(scores, errors, out=np.full_like(scores, np.nan), where=errors > 1e-12)
    return scores
