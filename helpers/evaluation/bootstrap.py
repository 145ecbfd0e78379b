"""A bootstrap interval for any number that is computed from test images."""

import numpy as np

from .stratified import percentile_interval


def bootstrap_statistic(statistic, *columns, groups=None, samples=1000, seed=0, confidence=0.95):
    """Return a statistic of some images and its percentile bootstrap interval over these images.

    Parameters
    ----------
    statistic : callable (*columns) -> float
        Computed from the images drawn, for example ``lambda robust, standard: robust.mean() - standard.mean()``.
    columns : (N, ...) arrays or tensors
        One entry an image. An image is drawn for all columns at once, so that two networks that saw the
        same images are compared on the same images.
    groups : (N,) array, optional
        Images are drawn within each group (their class, say), so that every group keeps its size.
    samples : int
        Number of resamples.

    Returns
    -------
    value, low, high : float
        The ends are NaN where no resample gives a finite statistic; without any image all three are.

    Raises
    ------
    ValueError
        For no column, columns of different lengths, or fewer than 2 samples.
    """
    drawn = bootstrap_values(statistic, *columns, groups=groups, samples=samples, seed=seed)
    if len(columns[0]) == 0:
        return (float("nan"),) * 3
    value = statistic(*(np.asarray(column) for column in columns))
    return float(value), *percentile_interval(drawn, confidence)


def bootstrap_values(statistic, *columns, groups=None, samples=1000, seed=0):
    """Return the statistic of each resample, (samples,) float64; parameters of `bootstrap_statistic`."""
    columns = [np.asarray(column) for column in columns]
    lengths = {len(column) for column in [*columns, *([] if groups is None else [groups])]}
    if not columns or len(lengths) > 1:
        raise ValueError(f"a bootstrap needs columns with one entry an image, got lengths {sorted(lengths)}.")
    if samples < 2:
        raise ValueError(f"a bootstrap needs at least 2 samples, got {samples}.")
    if lengths == {0}:
        return np.full(samples, np.nan)
    groups = np.zeros(len(columns[0])) if groups is None else np.asarray(groups)
    members = [np.flatnonzero(groups == group) for group in np.unique(groups)]
    rng = np.random.default_rng(seed)
    drawn = np.empty(samples)
    for sample in range(samples):
        chosen = np.concatenate([rng.choice(own, len(own)) for own in members])
        drawn[sample] = statistic(*(column[chosen] for column in columns))
    return drawn


def paired_means(first, second, names=("first", "second"), **options):
    """Return the means of two measurements of the same images, and of their difference, each with its interval.

    Parameters
    ----------
    first, second : (N,) arrays
        One number an image.
    names : pair of str
    options
        Of `bootstrap_statistic`: groups, samples, seed, confidence.

    Returns
    -------
    dict
        With names a and b: a, a_low, a_high, b, b_low, b_high, and difference, difference_low, difference_high,
        which are of b - a. A row of a table.
    """
    first, second = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    row = {}
    for name, values in zip((*names, "difference"), (first, second, second - first), strict=True):
        row[name], row[f"{name}_low"], row[f"{name}_high"] = bootstrap_statistic(np.mean, values, **options)
    return row
