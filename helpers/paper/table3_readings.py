"""Can Table 3's S be what Eq. (7) gives at Table 3's AE, and under which reading of C, M, sign and attack?

With M row-normalised, S = K * AE * (mean cost of an error). A mean lies between the cheapest and the dearest error, so
printed AE and printed differences of S bound each other. No training is needed.
"""
import itertools
from collections import namedtuple

import numpy as np

from helpers import paper
from helpers.costs import wordnet_cost

METRICS = ("path", "path_similarity", "wup", "lch")
SCALES = ("largest 1", "as given", "C^p, largest 1")
NORMS = ("rows sum to 1", "rows in %", "counts", "all sum to 1")
SIGNS = {"as printed": 1, "reversed": -1}
ATTACKS = ("that of AE", "a weaker one")
TEST_IMAGES = 10_000  # of CIFAR-10 and of Tiny-ImageNet
SAME = 0.05  # S that differ by less than this, relatively, are the same although AE is not


# What an error can cost: extremes, and means over classes of the nearest, of all and of the farthest others.
ErrorCosts = namedtuple("ErrorCosts", "lowest nearest average farthest highest")


def error_costs(matrix):
    """`ErrorCosts` of a (K, K) matrix, its diagonal left out."""
    off = np.where(np.eye(len(matrix), dtype=bool), np.nan, matrix)
    nearest, farthest = np.nanmin(off, axis=1), np.nanmax(off, axis=1)
    return ErrorCosts(nearest.min(), nearest.mean(), np.nanmean(off), farthest.mean(), farthest.max())


def readings(datasets=("cifar10", "tiny-imagenet-200")):
    """Every reading of Table 3 and whether it can produce the printed numbers: a DataFrame, one row a reading.

    The zero of the printed S is unknown and left free. The verdicts say what that takes:

    - "possible": each class errs alike and no model's errors cost more than the average pair of classes (Sec. 3.1 finds
      errors between similar classes);
    - "if distant": each class errs alike, but errors lean to distant classes;
    - "by chance": all models have the same S to 5 %, though their AE differ by far more;
    - "if few classes": the errors sit in a few classes or pairs;
    - "impossible": no distribution of the errors does it.

    Beside it stands the range of the PGD model's mean cost of an error that the verdict needs, and the costs of the
    nearest, the average and the farthest class.
    """
    import pandas as pd
    table, rows = paper.printed("table3"), []
    for data, metric in itertools.product(datasets, METRICS):
        printed, cost = table[table.dataset == data], wordnet_cost(data, distance=metric)
        for scale, norm, sign, attack in itertools.product(SCALES, NORMS, SIGNS, ATTACKS):
            rows.append({"data set": paper.title(data), "metric": metric, "C": scale, "M": norm, "sign": sign,
                         "attack": attack, **_verdict(printed, cost, scale, norm, SIGNS[sign], attack)})
    return pd.DataFrame(rows)


def _verdict(printed, cost, scale, norm, sign, attack):
    """The weakest assumption under which the rows of a data set can be, and the costs that it needs."""
    p, scores = printed.p.to_numpy(), sign * printed.S.to_numpy()
    bounds = ErrorCosts(*np.array([_costs(cost, scale, power) for power in p]).T)
    total = {"rows sum to 1": len(cost), "rows in %": 100 * len(cost), "counts": TEST_IMAGES, "all sum to 1": 1}[norm]
    mass = printed.AE.to_numpy() / 100 * total  # of the errors in M
    # Under a weaker attack the AE of M is unknown, from 0 to the printed one; PGD knows no other attack.
    nearest, lowest = (np.where((attack == ATTACKS[1]) & (p > 0), 0.0, low) for low in (bounds.nearest, bounds.lowest))
    tries = {"possible": (nearest, bounds.average), "if distant": (nearest, bounds.farthest),
             "if few classes": (lowest, bounds.highest)}
    pgd = int(np.flatnonzero(p == 0)[0])
    verdict, span = "impossible", (np.nan, np.nan)
    for name, (low, high) in tries.items():
        # All absolute S of the table's zero with low <= (zero + score) / mass <= high in each row.
        least, most = max(low * mass - scores), min(high * mass - scores)
        if least <= most:
            verdict = "by chance" if np.ptp(scores) < SAME * least else name
            span = tuple((zero + scores[pgd]) / mass[pgd] for zero in (least, most))
            break
    return {"verdict": verdict, "PGD's cost per error, least": span[0], "most": span[1],
            "nearest": bounds.nearest[pgd], "average": bounds.average[pgd], "farthest": bounds.farthest[pgd]}


def _costs(cost, scale, p):
    """`ErrorCosts` of a row of the table: only under "C^p" do they depend on the row's p."""
    if scale == "C^p, largest 1":
        return error_costs((cost ** float(p)).numpy())
    return error_costs(cost.normalized if scale == "largest 1" else cost.values)
