"""Where an accuracy gap lies, and what chance alone would give (Sec. 3.1)."""

import numpy as np

from .stratified import basic_interval, resample_rows


def gap_size(gap):
    """Return the gap off the diagonal, in % points a class: the mean over the rows of their sums.

    Parameters
    ----------
    gap : (K, K) array
        From `accuracy_gap`.
    """
    return float(100 * (gap.sum() - np.trace(gap)) / len(gap))


def pairs_among(classes, names):
    """Return a 0/1 matrix of the pairs of different classes that both are among some names.

    Parameters
    ----------
    classes : sequence of K str
    names : sequence of str
        Such as man, boy, woman, girl.

    Returns
    -------
    (K, K) float64 array

    Raises
    ------
    ValueError
        If a name is none of the classes, or fewer than two are given.
    """
    classes = [str(name) for name in classes]
    missing = [name for name in names if name not in classes]
    if missing or len(set(names)) < 2:
        raise ValueError(f"pairs need two or more classes of the data set, got {', '.join(names) or 'none'}"
                         + (f"; {missing[0]!r} is none of its classes" if missing else "") + ".")
    member = np.isin(classes, list(names)).astype(np.float64)
    return np.outer(member, member) * ~np.eye(len(classes), dtype=bool)


def nearer_share(cost, first, second):
    """Return the share of the other pairs of classes that cost less than a given pair: 0 if it is the nearest.

    Parameters
    ----------
    cost : CostMatrix
        Symmetric.
    first, second : str
        Two of its classes.

    Returns
    -------
    float in [0, 1]
        1 if the pair is the farthest of all.

    Raises
    ------
    ValueError
        If a name is none of the classes, or both are the same.
    """
    upper = np.triu(pairs_among(cost.classes, [first, second])) > 0
    others = np.triu(~np.eye(len(cost), dtype=bool)) & ~upper
    return float((cost.values[others] < cost.values[upper]).mean())


def concentration(gap, pairs):
    """Return the mean gap of some pairs of classes over the mean gap of all pairs.

    1 says that these pairs are as any; 5 that they have five times their share of the gap.

    Parameters
    ----------
    gap : (K, K) array
        The diagonal does not count.
    pairs : (K, K) 0/1 array
        From `pairs_among` or `pairs_by_cost`, zero on the diagonal.

    Returns
    -------
    float >= 0, NaN where there is no gap at all.
    """
    gap, pairs = np.asarray(gap, dtype=np.float64), np.asarray(pairs, dtype=np.float64)
    off = 1.0 - np.eye(len(gap))
    total = (gap * off).sum()
    if total == 0:
        return float("nan")
    return float((gap * pairs).sum() / pairs.sum() * off.sum() / total)


def bootstrap_concentration(standard, robust, pairs, samples=1000, seed=0, *, confidence=0.95):
    """Return a basic bootstrap interval (low, high) of `concentration` over the test images, cut off at 0."""
    pairs = np.asarray(pairs, dtype=np.float64)
    off = 1.0 - np.eye(len(pairs))
    chosen, total = np.zeros((2, samples))
    for k, (row_standard, row_robust) in resample_rows([standard, robust], samples, seed):
        gap = np.abs(row_robust - row_standard)
        chosen += gap @ pairs[k]
        total += gap @ off[k]
    ratio = np.divide(chosen, total, out=np.full(samples, np.nan), where=total > 0)
    value = concentration(np.abs(robust.confusion - standard.confusion), pairs)
    low, high = basic_interval(value, ratio * off.sum() / pairs.sum(), confidence)
    return max(low, 0.0) if np.isfinite(low) else low, high


def exchanged_gaps(standard, robust, samples=1000, seed=0):
    """Yield gaps of two models that swap their answers at random, image by image.

    If robust training changed nothing but chance, the two answers to an image would be exchangeable. The gap
    would still not be 0, and it would be larger on similar classes, because these are confused more often:
    a negative rho alone says nothing about robust training.

    Parameters
    ----------
    standard, robust : Evaluation
        Of the same images.
    samples, seed : int

    Yields
    ------
    (K, K) float64 array, G of Def. 1.

    Raises
    ------
    ValueError
        If the evaluations are not of the same images.
    """
    if not np.array_equal(standard.labels, robust.labels):
        raise ValueError("answers can be exchanged only between evaluations of the same images in order.")
    size, rng = standard.num_classes, np.random.default_rng(seed)
    differ = standard.predictions != robust.predictions
    labels = standard.labels[differ]
    weight = 1.0 / np.bincount(standard.labels, minlength=size)[labels]
    gained, lost = (labels * size + one.predictions[differ] for one in (robust, standard))
    for _ in range(samples):
        signed = weight * rng.choice((-1.0, 1.0), len(weight))
        change = np.bincount(gained, signed, size**2) - np.bincount(lost, signed, size**2)
        yield np.abs(change).reshape(size, size)
