"""Numbers from confusion matrices: the gap G (Def. 1), its correlation with a cost (Table 1), S (Eq. 7)."""

import numpy as np

from .checks import as_confusion, as_cost, as_matrix
from .stratified import basic_interval, percentile_interval, resample_rows

CIFAR10_GROUPS = (
    "vehicle", "vehicle", "animal", "animal", "animal", "animal", "animal", "animal", "vehicle", "vehicle",
)  # fmt: skip


def accuracy_gap(robust, standard):
    """Return G = |C_robust - C_standard|, the accuracy gap of Definition 1.

    Parameters
    ----------
    robust, standard : (K, K) row-normalised confusion matrices, or Evaluations

    Returns
    -------
    (K, K) float64 array in [0, 1].
    """
    robust, standard = as_confusion(robust), as_confusion(standard)
    if robust.shape != standard.shape:
        raise ValueError(f"the models have different numbers of classes: {len(robust)} and {len(standard)}.")
    return np.abs(robust - standard)


def _chosen(num_classes, diagonal):
    """Return the (K, K) mask of the entries that a correlation is taken over."""
    return np.ones((num_classes, num_classes), bool) if diagonal else ~np.eye(num_classes, dtype=bool)


def _centred(matrix, diagonal):
    """Return the matrix minus its mean over the chosen entries, zero elsewhere, and its norm.

    The norm is 0.0 where the entries are constant to rounding, because no correlation is defined then.
    """
    mask = _chosen(len(matrix), diagonal)
    centred = np.where(mask, matrix - matrix[mask].mean(), 0.0)
    constant = np.ptp(matrix[mask]) <= 1e-12 * np.abs(matrix).max()
    return centred, 0.0 if constant else float(np.linalg.norm(centred))


def correlation(gap, cost, diagonal=False):
    """Return Pearson's correlation rho between an accuracy gap and a cost matrix (Table 1).

    The paper does not say over which entries it correlates. Here the K(K-1) off-diagonal ones count. With
    `diagonal=True` all K*K do, which inflates |rho|: on the diagonal the cost is 0 by definition while the
    gap is the loss of accuracy of the whole class, the sum of its row's changes, hence the largest entry.

    Parameters
    ----------
    gap : (K, K) array
        From `accuracy_gap`.
    cost : CostMatrix or (K, K) array
    diagonal : bool
        Whether the diagonal entries count as well.

    Returns
    -------
    float in [-1, 1], or NaN if the gap or the cost is constant over the entries.
    """
    gap = as_matrix(gap, "accuracy gap")
    gap_centred, gap_norm = _centred(gap, diagonal)
    cost_centred, cost_norm = _centred(as_cost(cost, len(gap)), diagonal)
    if gap_norm == 0 or cost_norm == 0:
        return float("nan")
    return float(np.vdot(gap_centred, cost_centred) / (gap_norm * cost_norm))


def _permuted_products(gap, cost, permutations, rng):
    """Return sum(gap[pi][:, pi] * cost) for random permutations pi of the classes."""
    size = len(gap)
    chunk = max(1, 2_000_000 // size**2)
    products = []
    for start in range(0, permutations, chunk):
        count = min(chunk, permutations - start)
        order = rng.permuted(np.tile(np.arange(size), (count, 1)), axis=1)
        permuted = gap[order[:, :, None], order[:, None, :]]
        products.append(permuted.reshape(count, -1) @ cost.ravel())
    return np.concatenate(products)


def mantel_test(gap, cost, permutations=9999, seed=0, *, alternative="less", diagonal=False):
    """Test whether a gap correlates with a cost, by permuting the classes (Mantel 1967).

    The entries of a matrix between classes are not independent, so the usual p-value of a correlation
    does not hold. Under the null the classes' names are exchangeable: rows and columns of one matrix are
    permuted together, and p = (count + 1) / (permutations + 1), where `count` permutations are at least
    as extreme as what was observed.

    Parameters
    ----------
    gap, cost, diagonal
        As in `correlation`.
    permutations : int
    seed : int
    alternative : {"less", "greater", "two-sided"}
        "less" is the paper's: classes at a small cost have a large gap, rho < 0.

    Returns
    -------
    rho, pvalue : float
        Both NaN where `correlation` is NaN.
    """
    if alternative not in ("less", "greater", "two-sided"):
        raise ValueError(f'alternative must be "less", "greater" or "two-sided", got {alternative!r}.')
    if permutations < 1:
        raise ValueError(f"permutations must be at least 1, got {permutations}.")
    gap = as_matrix(gap, "accuracy gap")
    rho = correlation(gap, cost, diagonal)
    if np.isnan(rho):
        return rho, float("nan")
    gap, gap_norm = _centred(gap, diagonal)
    cost, cost_norm = _centred(as_cost(cost, len(gap)), diagonal)
    null = _permuted_products(gap, cost, permutations, np.random.default_rng(seed)) / (gap_norm * cost_norm)
    sign = {"less": -1, "greater": 1}.get(alternative)
    null, observed = (np.abs(null), abs(rho)) if sign is None else (sign * null, sign * rho)
    # Permutations that leave the matrix unchanged give rho up to rounding and must count.
    count = int((null >= observed - 1e-10).sum())
    return rho, (count + 1) / (permutations + 1)


def correlation_samples(standard, robust, cost, samples=1000, seed=0, *, diagonal=False, signed=False):
    """Return rho for bootstrap resamples of the test images, a (samples,) array.

    Parameters
    ----------
    standard, robust, cost, samples, seed, diagonal
        As in `bootstrap_correlation`.
    signed : bool
        Correlate C_robust - C_standard, without the absolute value of Def. 1.

    Returns
    -------
    (samples,) float64 array
        NaN where the resampled gap is constant.
    """
    size = standard.num_classes
    cost, cost_norm = _centred(as_cost(cost, size), diagonal)
    mask = _chosen(size, diagonal)
    total, squares, product = np.zeros((3, samples))
    for k, (row_standard, row_robust) in resample_rows([standard, robust], samples, seed):
        change = (row_robust - row_standard) * mask[k]
        gap = change if signed else np.abs(change)
        total += gap.sum(axis=1)
        squares += (gap**2).sum(axis=1)
        product += gap @ cost[k]
    gap_norm = np.sqrt(np.maximum(squares - total**2 / mask.sum(), 0.0))
    scale = gap_norm * cost_norm
    return np.divide(product, scale, out=np.full(samples, np.nan), where=scale > 1e-12)


def bootstrap_correlation(
    standard, robust, cost, samples=1000, seed=0, *, confidence=0.95, diagonal=False, signed=False
):
    """Return a basic bootstrap interval of rho over the test images.

    Images are resampled within their class, jointly for both models where these saw the same labels in
    the same order. G is an absolute value, so sampling noise adds to every entry: rho lies nearer to 0
    than with more images, all the more with few images a class (Tiny-ImageNet), and a resample is noisier
    still. `basic_interval` undoes the latter; the former is in value and interval alike.

    Parameters
    ----------
    standard, robust : Evaluation
    cost : CostMatrix or (K, K) array
    samples, seed : int
    confidence : float
        Coverage of the interval.
    diagonal : bool
        As in `correlation`.
    signed : bool
        As in `correlation_samples`: the noise of a pair then averages to zero (it still lowers |rho|).

    Returns
    -------
    low, high : float
        NaN if rho is undefined in every resample.
    """
    drawn = correlation_samples(standard, robust, cost, samples, seed, diagonal=diagonal, signed=signed)
    change = robust.confusion - standard.confusion
    return basic_interval(correlation(change if signed else np.abs(change), cost, diagonal), drawn, confidence)


def weighted_score(cost, confusion):
    """Return S = sum_ij c_ij m_ij, Eq. (7): the mean cost of an answer, summed over the true classes.

    Parameters
    ----------
    cost : CostMatrix or (K, K) array
        Scaled to a maximum of 1 first, so that 0 <= S <= K for any metric.
    confusion : (K, K) array or Evaluation
        Row-normalised M. The paper takes it under the attack that maximises the Wasserstein loss, and
        prints S minus that of a PGD-trained model; this is S itself.
    """
    confusion = as_confusion(confusion)
    cost = as_cost(cost, len(confusion))
    return float((cost / cost.max() * confusion).sum())


def _score_samples(evaluations, cost, samples, seed):
    """Return the resampled S of each evaluation, (len(evaluations), samples)."""
    cost = as_cost(cost, evaluations[0].num_classes)
    scores = np.zeros((len(evaluations), samples))
    for k, rows in resample_rows(evaluations, samples, seed):
        scores += [row @ (cost[k] / cost.max()) for row in rows]
    return scores


def bootstrap_score(evaluation, cost, samples=1000, seed=0, *, confidence=0.95):
    """Return a percentile bootstrap interval (low, high) of `weighted_score` over the test images."""
    return percentile_interval(_score_samples([evaluation], cost, samples, seed)[0], confidence)


def bootstrap_score_difference(first, second, cost, samples=1000, seed=0, *, confidence=0.95):
    """Return a bootstrap interval (low, high) of S(first) - S(second), paired where the labels agree.

    With `second` the PGD-trained model this is the S that Table 3 prints.
    """
    scores = _score_samples([first, second], cost, samples, seed)
    return percentile_interval(scores[0] - scores[1], confidence)


def _error_samples(evaluations, samples, seed):
    """Return the resampled error in % of each evaluation, (len(evaluations), samples)."""
    shares = [evaluation.counts.sum(axis=1) / len(evaluation.labels) for evaluation in evaluations]
    errors = np.zeros((len(evaluations), samples))
    for k, rows in resample_rows(evaluations, samples, seed):
        errors += [100.0 * share[k] * (1.0 - row[:, k]) for share, row in zip(shares, rows, strict=True)]
    return errors


def bootstrap_error(evaluation, samples=1000, seed=0, *, confidence=0.95):
    """Return a percentile bootstrap interval (low, high) of the error in % over the test images.

    An error of exactly 0 or 100 % gives an interval of no width: no resample can differ from the data.
    """
    return percentile_interval(_error_samples([evaluation], samples, seed)[0], confidence)


def bootstrap_error_difference(first, second, samples=1000, seed=0, *, confidence=0.95):
    """Return an interval (low, high) of error(first) - error(second) in %, paired where the labels agree."""
    errors = _error_samples([first, second], samples, seed)
    return percentile_interval(errors[0] - errors[1], confidence)


def group_confusion(confusion, groups):
    """Return the confusions between groups of classes, such as animals and vehicles.

    Parameters
    ----------
    confusion : (K, K) array or Evaluation
        Each class of a group has the same weight.
    groups : sequence of K names
        The group of each class, for example `CIFAR10_GROUPS`.

    Returns
    -------
    names : tuple of str
        The groups in order of first appearance.
    matrix : (G, G) float64 array
        Rows sum to 1.
    """
    confusion = as_confusion(confusion)
    groups = list(groups)
    if len(groups) != len(confusion):
        raise ValueError(f"groups names {len(groups)} classes, the confusion matrix has {len(confusion)}.")
    names = tuple(dict.fromkeys(groups))
    member = np.array([[group == name for group in groups] for name in names], dtype=float)
    return names, member @ confusion @ member.T / member.sum(axis=1, keepdims=True)
