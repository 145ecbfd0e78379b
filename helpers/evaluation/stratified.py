"""Subsets and bootstrap resamples that keep every class's share of the images."""

import numpy as np

from .checks import absent_classes, as_labels


def stratified_subset(labels, limit, seed=0):
    """Return the sorted indices of `limit` images with every class in its proportion, at least one each.

    The choice depends only on labels, limit and seed; balanced classes get equal shares (to within one).

    Parameters
    ----------
    labels : (N,) integers
    limit : int or None
        Number of images; None or a limit >= N keeps all of them.

    Raises
    ------
    ValueError
        If the limit is smaller than the number of classes.
    """
    labels = as_labels(labels).numpy(force=True)
    if limit is None or limit >= len(labels):
        return np.arange(len(labels))
    classes, counts = np.unique(labels, return_counts=True)
    if limit < len(classes):
        raise ValueError(f"limit = {limit} cannot show all {len(classes)} classes; use at least that many images.")
    spare = (limit - len(classes)) * (counts - 1) / (len(labels) - len(classes))
    take = 1 + np.floor(spare).astype(int)
    largest_remainder = np.argsort(np.floor(spare) - spare, kind="stable")
    take[largest_remainder[: limit - take.sum()]] += 1
    rng = np.random.default_rng(seed)
    chosen = [rng.permutation(np.flatnonzero(labels == k))[:n] for k, n in zip(classes, take, strict=True)]
    return np.sort(np.concatenate(chosen))


def resample_rows(evaluations, samples, seed):
    """Draw bootstrap confusion matrices, a class at a time.

    The images of each class are resampled among themselves (test sets fix their class counts, and a
    confusion matrix conditions on the class). Where the evaluations have the same labels in the same
    order they saw the same images, and an image drawn for one is drawn for all: the resamples are paired.

    Parameters
    ----------
    evaluations : sequence of Evaluation
        With the same number of classes, none of them absent.
    samples : int
        Number of resamples.
    seed : int

    Yields
    ------
    k : int
        The class.
    rows : list of (samples, K) arrays
        Row k of each evaluation's resampled confusion matrices; rows sum to 1.
    """
    first = evaluations[0]
    _check(evaluations, samples)
    rng = np.random.default_rng(seed)
    paired = all(np.array_equal(first.labels, other.labels) for other in evaluations[1:])
    groups = [list(evaluations)] if paired else [[evaluation] for evaluation in evaluations]
    for k in range(first.num_classes):
        yield k, [row for group in groups for row in _draw(group, k, samples, rng)]


def _check(evaluations, samples):
    if samples < 2:
        raise ValueError(f"a bootstrap needs at least 2 samples, got {samples}.")
    sizes = {evaluation.num_classes for evaluation in evaluations}
    if len(sizes) > 1:
        raise ValueError(f"the evaluations have different numbers of classes: {sorted(sizes)}.")
    for evaluation in evaluations:
        absent = absent_classes(evaluation.labels, evaluation.num_classes)
        if absent:
            raise ValueError(f"class {absent[0]} has no image, so its confusions cannot be resampled.")


def _draw(group, k, samples, rng):
    """Return one (samples, K) array of resampled rows k for each evaluation of a paired group.

    Drawing n images with replacement is one multinomial draw over the distinct answers (jointly over
    the group), which is far cheaper than drawing indices.
    """
    members = group[0].labels == k
    answers, counts = np.unique(
        np.stack([evaluation.predictions[members] for evaluation in group]), axis=1, return_counts=True
    )
    total = counts.sum()
    draws = rng.multinomial(total, counts / total, size=samples) / total
    return [draws @ np.eye(group[0].num_classes)[answer] for answer in answers]


def basic_interval(value, values, confidence):
    """Return the basic bootstrap interval (low, high): the percentiles, mirrored at the statistic of the data.

    Where resampling shifts a statistic, as noise does an absolute value, percentiles shift the same way once
    more. Mirrored they undo the shift (Davison and Hinkley 1997, Sec. 2.4). Where that takes them past the value,
    the interval is widened to hold it.
    """
    low, high = percentile_interval(values, confidence)
    if not np.isfinite([value, low]).all():
        return float("nan"), float("nan")
    return float(min(2 * value - high, value)), float(max(2 * value - low, value))


def percentile_interval(values, confidence):
    """Return the central percentile interval (low, high) of the finite values; NaNs if there are none."""
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, got {confidence}.")
    values = values[np.isfinite(values)]
    if len(values) == 0:
        return float("nan"), float("nan")
    tail = 50 * (1 - confidence)
    low, high = np.percentile(values, [tail, 100 - tail])
    return float(low), float(high)
