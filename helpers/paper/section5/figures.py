"""Figures 10 to 13 and those of Table 3 as plain data for `helpers.plotting`."""

import numpy as np

from helpers.evaluation import seed_band
from helpers.paper.printed import printed_table

from .models import DEEP, MAIN, NOT_HERE, column
from .tables import METHODS


def _y(intervals):
    """Series of values with their ends; an end that is not known is the value."""
    return {"y": [one.value for one in intervals],
            "low": [one.value if one.low is None else one.low for one in intervals],
            "high": [one.value if one.high is None else one.high for one in intervals]}


def tradeoff(models):
    """Fig. 10: NE and AE against p, a panel a data set, with the printed errors where the data set is the paper's."""
    panels = []
    for dataset in ("cifar10", "tiny-imagenet-200"):
        powers = models.powers(dataset)
        panel = {"title": ", ".join(filter(None, (models.title(dataset), models.network(dataset)))), "series": []}
        panels.append(panel)
        if len(powers) < 2:
            panel["missing"] = NOT_HERE
            continue
        errors = [models.errors(dataset, MAIN, "wpgd" if p else "pgd", p or None) for p in powers]
        for metric, part in (("NE", 0), ("AE", 1)):
            panel["series"].append({"label": metric, "metric": metric, "p": powers,
                                    **_y([column(error[part]) for error in errors])})
        if models.runs(dataset)[0].config.data == dataset:
            panel["series"] += _printed(dataset)
    return {"title": f"errors against p, {_eps(models)}", "panels": panels}


def _printed(dataset):
    """AE of Table 3 and NE of Table 2 (p = 0 only, as no other is printed)."""
    three, two = printed_table("table3"), printed_table("table2")
    three = three[(three.dataset == dataset) & (three.network == MAIN)]
    two = two[(two.dataset == dataset) & (two.network == MAIN) & (two.method == "pgd")]
    return [{"label": f"AE, paper ({MAIN})", "metric": "AE", "p": list(three.p), "y": list(three.AE), "printed": True},
            {"label": f"NE, paper ({MAIN})", "metric": "NE", "p": [0.0], "y": list(two.NE), "printed": True}]


def _eps(models):
    eps = {runs[0].config.eps for dataset in models.datasets() for runs in [models.runs(dataset)] if runs}
    return f"eps = {' and '.join(f'{one:g}' for one in sorted(eps))}/255"


def confusions(models, dataset, first, second, attack, titles):
    """Fig. 11: adversarial confusion of two models and the difference, second minus first; means over seeds.

    Parameters
    ----------
    first, second : lists of runs, a seed each
    attack : attacks.PGD
    titles : two str
    """
    matrices = [np.mean([one.confusion for one in models.evaluations(runs, attack)], axis=0)
                for runs in (first, second)]
    classes = list(first[0].dataset.classes)
    panels = [{"title": title, "matrix": matrix.tolist(), "classes": classes, "kind": "confusion", "share": "confusion"}
              for title, matrix in zip(titles, matrices, strict=True)]
    panels.append({"title": f"({titles[1]}) − {titles[0]}", "matrix": (matrices[1] - matrices[0]).tolist(),
                   "classes": classes, "kind": "difference"})
    where = f"{models.title(dataset)}, {first[0].config.network}, attacked at eps = {255 * attack.eps:g}/255"
    return {"title": where, "panels": panels}


def training_curves(models, dataset, power, layout="row"):
    """Fig. 12 and 13: NE and AE on validation over the epochs, in three panels; bands span the seeds.

    Parameters
    ----------
    power : float
        The p of the WPGD model.
    layout : {"row", "column"}
    """
    main, deep = (models.network(dataset, network) for network in (MAIN, DEEP))
    wanted = (("standard training and PGD", [("ce", None, MAIN), ("pgd", None, MAIN)]),
              ("two networks, PGD", [("pgd", None, MAIN), ("pgd", None, DEEP)]),
              ("PGD and WPGD", [("pgd", None, MAIN), ("wpgd", power, MAIN)]))
    panels = []
    for place, (title, keys) in enumerate(wanted):
        found = [(method, p, network, models.runs(dataset, network, method, p)) for method, p, network in keys]
        panel = {"title": title, "xlabel": "epoch", "ylabel": "validation error [%]", "series": []}
        panels.append(panel)
        if not all(runs for *_, runs in found):
            panel["missing"] = NOT_HERE
            continue
        for method, p, network, runs in found:
            name = METHODS[method] + (f" p={p:g}" if p else "")
            name += f" {models.network(dataset, network)}" if place == 1 else ""
            panel["series"] += _history(runs, name, method, p, variant=int(network == DEEP))
    networks = " and ".join(filter(None, (main, deep)))
    return {"title": ", ".join(filter(None, (models.title(dataset), networks))), "layout": layout, "panels": panels}


def _history(runs, name, method, p, variant):
    series = []
    for metric, field, style in (("NE", "val_ne", "solid"), ("AE", "val_ae", "dashed")):
        band = seed_band(runs, field)
        if np.isnan(band["y"]).all():
            continue
        look = {"label": f"{name}, {metric}", "method": method, "style": style, "variant": variant}
        series.append({**look, **({"p": p} if p else {}), **band})
    return series


def reached(answers, cost, classes, title):
    """Where one batch ends under the inner attacks of PGD and WPGD (Eq. 6).

    Parameters
    ----------
    answers : dict of p to Evaluation
        Of the same images and model; p = 0 is the cross entropy, the inner loss of PGD.
    cost : CostMatrix
    classes : K names
    title : str
        Of the data set.

    Returns
    -------
    dict
        For `plotting.bars`: the mean cost of an error by inner loss, and the answers for the class whose costs
        differ most, the other classes ordered by their cost.
    """
    spread = [np.ptp(np.delete(row, k)) for k, row in enumerate(cost.normalized)]
    chosen = int(np.argmax(spread))
    order = [k for k in np.argsort(cost.normalized[chosen], kind="stable") if k != chosen]
    off = ~np.eye(len(classes), dtype=bool)
    costs, ends = [], []
    for p, answer in answers.items():
        look = {"label": "PGD", "method": "pgd"} if not p else {"label": f"WPGD, p = {p:g}", "method": "wpgd", "p": p}
        one = column([answer], cost, per_error=True)
        costs.append({**look, **_y([one])})
        ends.append({**look, "y": (100 * answer.confusion[chosen, order]).tolist()})
    first = {"title": "mean cost of an error", "categories": [""], "xlabel": "inner loss", "ylabel": "cost (largest 1)",
             "series": costs, "width": 0.8,
             "lines": [{"y": float(cost.normalized[off].mean()), "label": "average pair of classes"}]}
    second = {"title": f"where images of class {classes[chosen]} end", "categories": [classes[k] for k in order],
              "xlabel": "predicted class, from the cheapest to the dearest", "ylabel": "share of the class [%]",
              "series": ends, "width": 1.7}
    return {"title": f"{title}, one batch, one network from standard training", "panels": [first, second]}


def score_panels(scores, datasets):
    """S, AE and the mean cost of an error against p, a line an attacker, three panels a data set."""
    panels = []
    for dataset in datasets:
        rows = [row for row in scores.rows if row[:2] == (dataset, MAIN)]
        for name, unit, interval in (("S", "S, Eq. (7)", scores.score), ("AE", "AE [%]", scores.error),
                                     ("mean cost of an error", "S / (K AE)", scores.per_error)):
            title = name if len(datasets) == 1 else f"{scores.models.title(dataset)}: {name}"
            series = [{"label": attack, "p": [row[2] for row in rows], **_y([interval(row, attack) for row in rows])}
                      for attack in scores.attacks]
            panels.append({"title": title, "ylabel": unit, "series": series if len(rows) > 1 else [],
                           **({} if len(rows) > 1 else {"missing": NOT_HERE})})
    where = ", ".join(scores.models.title(dataset) for dataset in datasets[:1] if len(datasets) == 1)
    return {"title": f"{where or 'every model'} under every attacker, {_eps(scores.models)}", "panels": panels}
