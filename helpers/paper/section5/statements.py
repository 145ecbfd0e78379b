"""The sentences of Sec. 5 as claims."""

import time

import numpy as np

from helpers.attacks import PGD
from helpers.claims import Interval, interval_over_seeds
from helpers.costs import CIFAR10_SUPERCLASSES
from helpers.evaluation import crossing_pairs, pairs_by_cost
from helpers.paper.printed import claim

from .attacked import BY_ERROR, TRAINED, WORST
from .models import DEEP, MAIN, column, difference, order, scaled
from .tables import mass_difference

NOTHING = Interval(float("nan"), None, None)


def _title(models, dataset, network=MAIN):
    """Data set and number of seeds: with one, an interval is over test images alone; with two, hardly more."""
    seeds = min(len(models.runs(dataset)), len(models.runs(dataset, network)) or 1)
    return f"{models.title(dataset)}, {seeds} seed{'s' * (seeds > 1)}"


def _series(models, dataset):
    """(natural, adversarial) answers of PGD and of WPGD by ascending p."""
    errors = [models.errors(dataset, MAIN, "wpgd" if p else "pgd", p or None) for p in models.powers(dataset)]
    return [natural for natural, _ in errors], [attacked for _, attacked in errors]


def error_claims(models, costs, power):
    """Claims about Table 2 and Figures 10, 12 and 13, for each data set whose models are not another one's.

    Parameters
    ----------
    models : Models
    costs : dict of data set to CostMatrix
    power : float
        The p of "WPGD" where the paper names none.

    Returns
    -------
    list of Claim
    """
    made = []
    for dataset in models.datasets(distinct=True):
        title, tail = _title(models, dataset), "" if dataset == "cifar10" else ":tiny"
        ce, pgd, wpgd = (models.errors(dataset, MAIN, *key) for key in (("ce",), ("pgd",), ("wpgd", power)))
        natural, attacked = _series(models, dataset)
        top = f"WPGD p = {models.powers(dataset)[-1]:g} minus PGD [% points]"
        similar = pairs_by_cost(costs[dataset], which="similar")
        made += [
            claim(f"standard-not-robust:table2{tail}", f"{title}: AE of CE [%]", column(ce[1]), ">= 99",
                  statement="a standardly trained network is not robust at all: AE of CE is 100 or 99.9"),
            claim(f"accuracy-price:table2{tail}", f"{title}: NE of PGD minus NE of CE [% points]",
                  difference(pgd[0], ce[0]), "> 0"),
            claim(f"p-preserves-accuracy{tail}", f"{title}: order of NE over p, Kendall's tau", order(natural), "< 0"),
            claim(f"p-preserves-accuracy:most{tail}", f"{title}: NE, {top}", difference(natural[-1], natural[0]),
                  "< 0"),
            claim(f"p-costs-robustness{tail}", f"{title}: order of AE over p, Kendall's tau", order(attacked), "> 0"),
            claim(f"p-costs-robustness:most{tail}", f"{title}: AE, {top}", difference(attacked[-1], attacked[0]),
                  "> 0"),
            claim(f"p-costs-robustness:similar{tail}", f"{title}: attacked images that end in the most similar "
                  f"third of the pairs, {top}", mass_difference(attacked[-1], attacked[0], similar), "> 0"),
            claim(f"wpgd-slightly-better{tail}", f"{title}: NE of PGD minus NE of WPGD p = {power:g} [% points]",
                  difference(pgd[0], wpgd[0]), "> 0")]
        deep = models.errors(dataset, DEEP, "pgd")
        for place, name in enumerate(("NE", "AE")):
            made.append(claim(f"deeper-is-better:{name}{tail}", f"{_title(models, dataset, DEEP)}: {name} of PGD, "
                              "deeper network minus the other [% points]", difference(deep[place], pgd[place]), "< 0"))
    return made


def direction_claims(pgd, wpgd, cost, classes, where, tail=""):
    """Claims about Fig. 11: how the attacked answers of PGD and of WPGD are directed.

    Parameters
    ----------
    pgd, wpgd : lists of Evaluation, a seed each
        Under the same attack.
    cost : CostMatrix
    classes : K names
        The animals and vehicles, and bird and airplane, are CIFAR-10's; without them: not measurable.
    where : str
        Says data set and attack.
    tail : str
        Of the claims' ids.
    """
    away = mass_difference(pgd, wpgd, pairs_by_cost(cost))
    groups, pair = crossing_pairs(classes, CIFAR10_SUPERCLASSES), _pair(classes, ("bird", "airplane"))
    crossing = NOTHING if groups is None else mass_difference(pgd, wpgd, groups)
    between = NOTHING if pair is None else scaled(mass_difference(wpgd, pgd, pair), len(classes) / 2)
    return [
        claim(f"wpgd-directional{tail}", f"{where}: images that end in the most distant third of the pairs, PGD minus "
              "WPGD [% points]", away, "> 0"),
        claim(f"wpgd-directional:groups{tail}", f"{where}: images taken from animal to vehicle or back, PGD minus WPGD "
              "[% points]", crossing, "> 0"),
        claim(f"bird-airplane-less-robust{tail}", f"{where}: birds and airplanes taken for each other, WPGD minus PGD "
              "[% of these images]", between, "> 0")]


def _pair(classes, names):
    """0/1 matrix of one pair of classes, None if one of them is not there."""
    if not set(names) <= set(classes):
        return None
    chosen = np.array([name in names for name in classes], dtype=float)
    return np.outer(chosen, chosen) - np.diag(chosen)


def same_complexity(model, images, labels, first, second, *, eps, steps=5, repeats=7):
    """The claim of Sec. 5.2 that WPGD costs what PGD does, timed: the inner attack with one loss and with another.

    Parameters
    ----------
    model, images, labels : of the attack
    first, second : losses
        The ratio is time(second) / time(first), taken alternately, with an interval over the repeats.
    eps : float
        In 1/255.
    """
    ratios = []
    for _ in range(repeats + 1):
        seconds = []
        for loss in (first, second):
            began = time.perf_counter()
            PGD(eps / 255, steps=steps, loss=loss)(model, images, labels)[0, 0].sum().item()
            seconds.append(time.perf_counter() - began)
        ratios.append(seconds[1] / seconds[0])
    # The first pair pays for what is set up once.
    return claim("same-complexity", "time of WPGD's inner attack over PGD's", interval_over_seeds(ratios[1:]), "<= 1.2")


def score_claims(scores):
    """Claims about Table 3, under each attacker, for each data set whose models are not another one's."""
    made = []
    for dataset in scores.models.datasets(distinct=True):
        title, tail = _title(scores.models, dataset), "" if dataset == "cifar10" else ":tiny"
        rows = [row for row in scores.rows if row[:2] == (dataset, MAIN)]
        most = f"WPGD p = {rows[-1][2]:g} minus PGD"
        for place, attack in enumerate(scores.attacks):
            made.append(claim(f"p-lowers-score:{place}{tail}", f"{title}: order of S over p, Kendall's tau; attack: "
                              f"{attack}", scores.order(dataset, attack), "< 0"))
        for attack, name in ((TRAINED, "trained-p"), (WORST, "worst")):
            made.append(claim(f"p-lowers-score:most-{name}{tail}", f"{title}: S, {most}; attack: {attack}",
                              scores.relative(rows[-1], attack), "< 0"))
        made.append(claim(f"p-lowers-score:most-same-attacker{tail}", f"{title}: S, {most}; attack on both: Eq. (5), "
                          f"p = {rows[-1][2]:g}", scores.relative_under_own(rows[-1]), "< 0"))
        for attack, name in ((BY_ERROR, "ce"), (TRAINED, "trained-p"), (WORST, "worst")):
            made.append(claim(f"p-nearer-mistakes:{name}{tail}", f"{title}: order of the mean cost of an error over "
                              f"p, Kendall's tau; attack: {attack}", scores.order(dataset, attack, "per_error"),
                              "< 0"))
        made.append(claim(f"p-costs-robustness:worst{tail}", f"{title}: order of AE over p, Kendall's tau; attack: "
                          f"{WORST}", scores.order(dataset, WORST, "error"), "> 0",
                          statement="AE rises with p in Table 3"))
    return made
