"""From the boundaries of several 2-d models to the tidy table and the statistics of Sec. 3.4.

A row is one pair of classes of one model. A pair is named by its two class indices, "0–1". Models are keyed
by (method, eps, seed), eps in 1/255, and standard training is ("ce", 0, seed).
"""

from itertools import combinations

import numpy as np
import torch

from . import boundaries
from .checks import as_labels
from .predict import eval_mode, evaluate

MEASURES = ("length", "curvature", "mean_distance", "min_distance", "alignment", "local_alignment")


def boundary_table(models, points, labels, cost, resolution=200):
    """Measure every pair's boundary in every model.

    Parameters
    ----------
    models : mapping (method, eps, seed) -> callable
        Each maps (N, 2) points in the unit square to (N, K) logits.
    points : (N, 2) floats in the unit square
    labels : (N,) integers
    cost : CostMatrix
        Its raw value is the pair's cost; of an asymmetric one, the mean of both directions.

    Returns
    -------
    DataFrame
        method, eps (1/255), seed, pair, cost, error (%), and `MEASURES`: length and distances in sides of the
        square, curvature in its inverse, alignments in [0, 1] (see `boundaries` and `local_alignment`).
    """
    import pandas as pd

    rows = []
    for (method, eps, seed), model in models.items():
        error = evaluate(model, points, labels).error
        for row in boundaries.measure_boundaries(model, points, labels, resolution):
            i, j = row.pop("pair")
            rows.append({
                "method": method, "eps": eps, "seed": seed, "pair": f"{i}–{j}",
                "cost": float(cost.values[i, j] + cost.values[j, i]) / 2, "error": error, **row,
                "local_alignment": local_alignment(model, points, labels, (i, j)),
            })  # fmt: skip
    return pd.DataFrame(rows)


def local_alignment(model, points, labels, pair):
    """Return the mean |cos| between the gradient of z_i - z_j and the direction to the other class nearby.

    The other reading of Sec. 3.4's "vector which connect two classes": from each point to the nearest point
    of the other class, where `boundaries.gradient_alignment` takes the two class means. Arguments, result
    and errors are the same.
    """
    points = boundaries._as_points(points)
    labels = as_labels(labels, len(points)).numpy(force=True)
    i, j = sorted(pair)
    one, two = points[labels == i], points[labels == j]
    if not (len(one) and len(two)):
        raise ValueError(f"class {i} or {j} has no point, so there is no direction between them.")
    gaps = np.linalg.norm(one[:, None] - two, axis=2)
    directions = np.concatenate([two[gaps.argmin(axis=1)] - one, one[gaps.argmin(axis=0)] - two])
    exact = boundaries._exact(model)
    x = torch.as_tensor(np.concatenate([one, two]), device=boundaries._device(model)).requires_grad_()
    with eval_mode(exact), torch.enable_grad():
        logits = exact(x)
        (gradient,) = torch.autograd.grad((logits[:, i] - logits[:, j]).sum(), x)
    gradient = gradient.cpu().numpy()
    sizes = np.linalg.norm(gradient, axis=1) * np.linalg.norm(directions, axis=1)
    moving = sizes > 0
    cosines = np.abs((gradient * directions).sum(axis=1)[moving]) / sizes[moving]
    return float(cosines.mean()) if moving.any() else float("nan")


def shares(table, measure):
    """Each value divided by that of standard training with the same seed and pair.

    Returns
    -------
    DataFrame
        The rows of adversarial training (eps > 0) with a column ``share``: 1 is "as in standard training".

    Raises
    ------
    ValueError
        If a seed has no standard model to compare with.
    """
    standard = table[table.method == "ce"].set_index(["seed", "pair"])[measure]
    rows = table[table.method != "ce"].copy()
    missing = sorted(set(rows.seed) - set(standard.index.get_level_values("seed")))
    if missing:
        raise ValueError(f"there is no standard model (method 'ce') for the seeds {missing}: train it, too.")
    rows["share"] = [value / standard[seed, pair] if standard[seed, pair] else float("nan")
                     for value, seed, pair in zip(rows[measure], rows.seed, rows.pair)]
    return rows


def slopes(table, measure, method="pgd"):
    """How a measure changes with eps: the least-squares slope of its mean over the pairs, a number a seed.

    Standard training is the point at eps = 0. In % of the standard model's value per 10/255 of eps; NaN where
    a model has no boundary at all. A pair without a boundary has no curvature and is left out of its mean.
    """
    rows = table[table.method.isin(["ce", method])]
    means = rows.groupby(["seed", "eps"])[measure].mean().unstack()
    if len(means.columns) < 2:
        raise ValueError(f"a slope needs {method!r} at an eps > 0 besides standard training.")
    eps = np.array(means.columns, dtype=float)
    lines = means.to_numpy()
    return [1000 * float(np.polyfit(eps, line, 1)[0]) / line[0] if np.isfinite(line).all() and line[0] else
            float("nan") for line in lines]


def gains(table, measure, method="pgd"):
    """A measure at the largest eps minus that of standard training, means over the pairs, a number a seed."""
    means = table.groupby(["method", "eps", "seed"])[measure].mean()
    largest = table[table.method == method].eps.max()
    return [float(means[method, largest, seed] - means["ce", 0, seed]) for seed in sorted(set(table.seed))]


def kept_by_pair(table, measure="curvature", method="wpgd"):
    """What is left of a measure, as a share of standard training's, a line a pair from cheap to dear.

    Returns
    -------
    DataFrame
        cost and share: the mean over eps and seeds.
    """
    rows = shares(table[table.method.isin(["ce", method])], measure)
    return rows.groupby("pair").agg(cost=("cost", "first"), share=("share", "mean")).sort_values("cost")


def cheap_minus_dear(table, measure="curvature", method="wpgd"):
    """Share that the cheapest pair's boundary keeps minus the dearest's, mean over eps, a number a seed.

    Above 0 the boundary is preserved where the cost is low (the text of Sec. 3.4), below 0 where it is high
    (the caption of Fig. 9). NaN if all pairs cost the same.
    """
    rows = shares(table[table.method.isin(["ce", method])], measure)
    order = rows.groupby("pair").cost.first().sort_values()
    if order.iloc[0] == order.iloc[-1]:
        return [float("nan") for _ in sorted(set(rows.seed))]
    kept = rows.groupby(["seed", "pair"])["share"].mean().unstack()
    return [float(value) for value in kept[order.index[0]] - kept[order.index[-1]]]


def cost_correlations(table, measure="mean_distance", method="wpgd", relative=False):
    """Rank correlation, over pairs, of the cost with a measure: the mean over eps, a number a seed.

    Parameters
    ----------
    relative : bool
        Correlate shares of standard training's value in place of the values: the pairs' distances differ by a
        percent even there (the square's corners are not turned along with the points), and ranks take the
        smallest difference for a large one.

    Returns
    -------
    list of float, NaN if all pairs cost the same; a pair without a boundary counts as the farthest
    """
    if relative:
        rows, column = shares(table[table.method.isin(["ce", method])], measure), "share"
    else:
        rows, column = table[table.method == method], measure
    # Spearman's rho is Pearson's correlation of ranks; infinite distances have a rank, too.
    rhos = [(seed, part.cost.rank().corr(part[column].rank()))
            for (seed, _), part in rows.groupby(["seed", "eps"])]
    return [float(np.mean([rho for of, rho in rhos if of == seed])) for seed in sorted(set(rows.seed))]


def measure_panels(table, method, titles):
    """Each measure against eps, a series a pair: the data of `plotting.plane.pair_measures`.

    Parameters
    ----------
    method : "pgd" or "wpgd"
        Standard training is drawn as eps = 0. Limits span both methods, so that two figures compare.
    titles : mapping measure -> title of its panel
    """
    rows = table[table.method.isin(["ce", method])]
    panels = []
    for measure, title in titles.items():
        series = []
        for (cost, pair), part in rows.groupby(["cost", "pair"]):
            over = part.groupby("eps")[measure].agg(["mean", "min", "max"])
            series.append({"label": f"classes {pair}, cost {cost:g}", "cost": cost, "x": list(over.index),
                           "y": list(over["mean"]), "low": list(over["min"]), "high": list(over["max"])})
        panels.append({"title": title, "series": series, "ylim": _limits(table[measure])})
    return {"panels": panels}


def _limits(values):
    finite = values[np.isfinite(values)]
    if finite.empty or finite.min() == finite.max():
        return None
    room = 0.06 * float(finite.max() - finite.min())
    return [float(finite.min()) - room, float(finite.max()) + room]


def region_panel(model, points, labels, title, resolution=81):
    """A model's regions, exact boundaries and error on the points: a panel for `plotting.decision_regions`.

    Returns
    -------
    dict
        title, note (the error), grid (resolution, resolution), lines (a list of polylines) and the extent
        that puts the grid's points, not its edges, onto the unit square.
    """
    fine = boundaries.decision_grid(model)
    lines = [boundaries._thin(line, 0.008) for pair in combinations(range(fine.logits.shape[-1]), 2)
             for line in boundaries.boundary_segments(model, pair, grid=fine)]
    half = 0.5 / (resolution - 1)
    return {"title": title, "note": f"test error {evaluate(model, points, labels).error:.1f} %",
            "grid": boundaries.decision_grid(model, resolution).predictions, "lines": lines,
            "extent": [-half, 1 + half, -half, 1 + half]}


def boundary_panels(models, points, labels, cost):
    """Every pair's boundary in each model as lines, a panel a pair, for `plotting.plane.pair_boundaries`.

    Parameters
    ----------
    models : mapping (method, eps, seed) -> callable, those to draw above each other
    """
    grids = {key: boundaries.decision_grid(model) for key, model in models.items()}
    panels = []
    for i, j in sorted(combinations(range(len(cost)), 2), key=lambda pair: cost.values[pair]):
        lines = [{"method": method, "eps": eps, "seed": seed, "points": boundaries._thin(line, 0.008)}
                 for (method, eps, seed), grid in grids.items()
                 for line in boundaries.boundary_segments(models[method, eps, seed], (i, j), grid=grid)]
        title = f"classes {i}–{j}, cost {cost.values[i, j]:g}"
        panels.append({"title": title, "pair": [i, j], "lines": lines})
    return {"classes": list(cost.classes), "extent": [0, 1, 0, 1], "points": points, "labels": labels,
            "panels": panels}
