"""Can Table 3's S be what Eq. (7) gives at Table 3's AE, and under which reading of C, M, sign and attack?

With M row-normalised, S = K * AE * (mean cost of an error). A mean lies between the cheapest and the dearest error, so
printed AE and printed differences of S bound each other. No training is needed.
"""

from functools import cache
from typing import NamedTuple

import numpy as np

from helpers.costs import wordnet_cost
from helpers.paper.printed import dataset_title, printed_table

METRICS = ("path", "path_similarity", "wup", "lch")
SCALES = ("largest 1", "as given", "C^p, largest 1")
NORMS = ("rows sum to 1", "rows in %", "counts", "all sum to 1")
SIGNS = {"as printed": 1, "reversed": -1}
ATTACKS = ("that of AE", "a weaker one")
TEST_IMAGES = {"cifar10": 10_000, "tiny-imagenet-200": 10_000}
SAME = 0.05  # S that differ by less than this, relatively, are the same although AE is not


class Costs(NamedTuple):
    """What an error can cost: extremes, and means over classes of the nearest, of all and of the farthest others."""

    lowest: float
    nearest: float
    average: float
    farthest: float
    highest: float


@cache
def _wordnet(dataset, metric):
    return wordnet_cost(dataset, distance=metric)


def error_costs(matrix):
    """`Costs` of a (K, K) matrix, its diagonal left out."""
    off = np.where(np.eye(len(matrix), dtype=bool), np.nan, matrix)
    return Costs(np.nanmin(off), np.nanmin(off, 1).mean(), np.nanmean(off), np.nanmax(off, 1).mean(), np.nanmax(off))


def _of_rows(cost, scale, powers):
    """`Costs` for each row of the table: only under "C^p" do they depend on the row's p."""
    if scale == "C^p, largest 1":
        return [error_costs((cost ** float(p)).numpy()) for p in powers]
    return [error_costs(cost.normalized if scale == "largest 1" else cost.values)] * len(powers)


def _factor(norm, dataset, classes):
    """Total of the entries of M."""
    return {"rows sum to 1": classes, "rows in %": 100 * classes, "counts": TEST_IMAGES[dataset],
            "all sum to 1": 1}[norm]


def _zeros(mass, scores, low, high):
    """All absolute S of the table's zero with low <= (zero + score) / mass <= high in each row; (1, 0) is none."""
    return max(low * mass - scores), min(high * mass - scores)


def _read(dataset, metric, scale, norm, sign, attack):
    table = printed_table("table3")
    table = table[table.dataset == dataset]
    cost = _wordnet(dataset, metric)
    bounds = np.array(_of_rows(cost, scale, table.p)).T
    mass = table.AE.to_numpy() / 100 * _factor(norm, dataset, len(cost))
    scores = SIGNS[sign] * table.S.to_numpy()
    lows = {"few": bounds[0].copy(), "alike": bounds[1].copy()}
    if attack == "a weaker one":  # then the AE of M is unknown, from 0 to the printed one; PGD knows no other attack
        for low in lows.values():
            low[table.p.to_numpy() > 0] = 0.0
    tries = {"possible": (lows["alike"], bounds[2]), "if distant": (lows["alike"], bounds[3]),
             "if few classes": (lows["few"], bounds[4])}
    first = int(np.flatnonzero(table.p.to_numpy() == 0)[0])
    verdict, span = "impossible", (np.nan, np.nan)
    for name, (low, high) in tries.items():
        least, most = _zeros(mass, scores, low, high)
        if least <= most:
            if np.ptp(scores) < SAME * least:
                name = "by chance"
            verdict, span = name, tuple((zero + scores[first]) / mass[first] for zero in (least, most))
            break
    return {"data set": dataset_title(dataset), "metric": metric, "C": scale, "M": norm, "sign": sign, "attack": attack,
            "verdict": verdict, "PGD's cost per error, least": span[0], "most": span[1],
            "nearest": bounds[1][first], "average": bounds[2][first], "farthest": bounds[3][first]}


def readings(datasets=("cifar10", "tiny-imagenet-200")):
    """Every reading of Table 3 and whether it can produce the printed numbers, a row a reading.

    The zero of the printed S is unknown and left free. The verdicts say what that takes:

    - "possible": each class errs alike and no model's errors cost more than the average pair of classes (Sec. 3.1 finds
      errors between similar classes);
    - "if distant": each class errs alike, but errors lean to distant classes;
    - "by chance": all models have the same S to 5 %, though their AE differ by far more;
    - "if few classes": the errors sit in a few classes or pairs;
    - "impossible": no distribution of the errors does it.

    Returns
    -------
    DataFrame
        With the range of the PGD model's mean cost of an error that the verdict needs, beside the costs of the nearest,
        the average and the farthest class.
    """
    import pandas

    return pandas.DataFrame([
        _read(dataset, metric, scale, norm, sign, attack) for dataset in datasets for metric in METRICS
        for scale in SCALES for norm in NORMS for sign in SIGNS for attack in ATTACKS])


def summary(frame, attack="that of AE"):
    """The verdicts of `readings`, a line a data set, metric and scale of C, a column a reading of M and of the sign."""
    chosen = frame[frame.attack == attack]
    keys, columns = ["data set", "metric", "C"], ["M", "sign"]
    table = chosen.pivot(index=keys, columns=columns, values="verdict")
    return table.reindex(columns=[(norm, sign) for norm in NORMS for sign in SIGNS]).sort_index(
        key=lambda level: level.map({name: place for place, name in enumerate((*METRICS, *SCALES))}.get).fillna(0)
        if level.name != "data set" else level)


def implied(datasets=("cifar10", "tiny-imagenet-200"), metrics=("path", "path_similarity")):
    """The mean cost of an error that the printed AE and S imply, as data for `plotting.against_p`.

    C at most 1, M in shares. One number is free: the PGD model's mean cost of an error. It is drawn at the
    average cost of a pair of classes; error bars reach down to where all its errors are with nearest classes.
    """
    table = printed_table("table3")
    panels = []
    for dataset in datasets:
        rows = table[table.dataset == dataset]
        pgd = rows[rows.p == 0].iloc[0]
        # Tiny-ImageNet's only PGD row is the deeper network's; all rows of a data set share one zero.
        drawn = rows[(rows.network == "W-16-10") | ((rows.p == 0) & (pgd.network != "W-16-10"))].sort_values("p")
        drawn = drawn[~((drawn.p == 0) & (drawn.network != pgd.network))]
        for metric in metrics:
            cost = _wordnet(dataset, metric)
            spread, size = error_costs(cost.normalized), len(cost)
            series = [{"label": f"sign {sign}", "p": list(drawn.p), **_implied(drawn, pgd, size, factor, spread)}
                      for sign, factor in SIGNS.items()]
            panels.append({"title": f"{dataset_title(dataset)}, {metric}", "ylabel": "implied cost of an error",
                           "series": series, "ylim": [-0.2, 1.15],
                           "lines": [{"y": spread.average, "label": "average pair of classes"}],
                           "band": {"low": spread.nearest, "high": spread.farthest,
                                    "label": "from the nearest class to the farthest"}})
    return {"title": "what Table 3's printed AE and S imply", "panels": panels}


def _implied(drawn, pgd, size, factor, spread):
    """Mean cost of an error in each row, for the PGD model's at its average and (low) at its nearest."""
    def at(anchor):
        score = size * pgd.AE / 100 * anchor + factor * (drawn.S - pgd.S)
        return (score / (size * drawn.AE / 100)).tolist()

    return {"y": at(spread.average), "low": at(spread.nearest), "high": at(spread.average)}
