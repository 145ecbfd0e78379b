"""Tables 2 and 3 with intervals, beside the paper's numbers."""

from helpers.claims import format_interval
from helpers.evaluation import pairs_by_cost
from helpers.paper.printed import dataset_title, printed_table

from .attacked import BY_ERROR, FIXED, TRAINED
from .models import NOT_HERE, column, difference, scaled

METHODS = {"ce": "CE", "pgd": "PGD", "wpgd": "WPGD"}


def _parts(name, interval):
    return {name: interval.value, f"{name} low": interval.low, f"{name} high": interval.high}


def table2(models):
    """Table 2, a row a printed column: NE and AE in % with intervals, and the paper's; NaN where not in the profile.

    Returns
    -------
    DataFrame
    """
    import pandas

    rows = []
    for cell in printed_table("table2").to_dict("records"):
        natural, attacked = models.errors(cell["dataset"], cell["network"], cell["method"])
        rows.append({"dataset": cell["dataset"], "method": METHODS[cell["method"]], "network": cell["network"],
                     "stands in": models.network(cell["dataset"], cell["network"]),
                     **_parts("NE", column(natural)), **_parts("AE", column(attacked)),
                     "paper NE": cell["NE"], "paper AE": cell["AE"]})
    return pandas.DataFrame(rows)


def compare_table2(models, frame):
    """Rows for `paper.Outputs.compare`, every printed number of Table 2; ``frame`` is that of `table2`."""
    rows = []
    for row in frame.to_dict("records"):
        where = f"Table 2, {dataset_title(row['dataset'])}, {row['method']} {row['network']}"
        for error in ("NE", "AE"):
            rows.append({"quantity": f"{where}: {error}", "paper": row[f"paper {error}"], "ours": row[error],
                         "unit": "%", "note": models.note(row["dataset"], row["network"])})
    return rows


def table3(scores):
    """Table 3, a row a model, extended: AE and S under two readings of the attack, absolute and relative.

    The columns "AE" and "S" are those of the attacker who maximises Eq. (5) with the p that the model was trained
    with; "S p=1" those of one who maximises the unpowered cost, which is what Eq. (7) counts. "relative" is to the
    PGD model of the same network, which has p = 0 and so another attacker; with "same attacker", it meets the one of
    the row. "AE CE" is PGD on the cross entropy.
    """
    import pandas

    rows = []
    printed = printed_table("table3")
    for dataset, network, p in scores.rows:
        row = (dataset, network, p)
        cell = printed[(printed.dataset == dataset) & (printed.network == network) & (printed.p == p)]
        rows.append({"dataset": dataset, "network": network,
                     "stands in": scores.models.network(dataset, network), "p": p,
                     **_parts("AE CE", scores.error(row, BY_ERROR)), **_parts("AE", scores.error(row, TRAINED)),
                     **_parts("S", scores.score(row, TRAINED)), **_parts("relative S", scores.relative(row, TRAINED)),
                     **_parts("relative S same attacker", scores.relative_under_own(row)),
                     **_parts("S p=1", scores.score(row, FIXED)),
                     **_parts("relative S p=1", scores.relative(row, FIXED)),
                     **_parts("cost per error", scores.per_error(row, TRAINED)),
                     "paper AE": cell.AE.iloc[0] if len(cell) else None,
                     "paper S": cell.S.iloc[0] if len(cell) else None})
    return pandas.DataFrame(rows)


def compare_table3(scores):
    """Rows for `paper.Outputs.compare`, every printed number of Table 3.

    The printed S are relative to one zero a data set: PGD of W-28-10 for CIFAR-10, where 0.00 is printed; for
    Tiny-ImageNet no row is 0 and PGD of W-16-10, the row that is missing, is taken.
    """
    zeros = {"cifar10": ("cifar10", "W-28-10", 0.0), "tiny-imagenet-200": ("tiny-imagenet-200", "W-16-10", 0.0)}
    rows = []
    for cell in printed_table("table3").to_dict("records"):
        row = (cell["dataset"], cell["network"], cell["p"])
        where = f"Table 3, {dataset_title(row[0])}, {row[1]}, p = {row[2]:g}"
        zero = zeros[row[0]]
        note = scores.models.note(*row[:2]) if row in scores.rows else NOT_HERE
        relative = scores.relative(row, TRAINED, zero).value if row in scores.rows and zero in scores.rows else None
        rows += [{"quantity": f"{where}: AE", "paper": cell["AE"], "unit": "%", "note": note,
                  "ours": scores.error(row, BY_ERROR).value if row in scores.rows else None},
                 {"quantity": f"{where}: S", "paper": cell["S"], "ours": relative, "unit": "C at most 1, M in shares",
                  "note": note if relative is None else f"{note}, minus S of PGD {zero[1]}"}]
    return rows


def directional(models, runs, cost, attack):
    """What Fig. 11 shows, in numbers: a row a model under one attack.

    Parameters
    ----------
    models : Models
    runs : dict of label to runs (seeds of a model)
    cost : CostMatrix
    attack : callable

    Returns
    -------
    DataFrame
        error [%], images [%] that end in the most similar and in the most distant third of the pairs of classes,
        and the mean cost of an error.
    """
    import pandas

    rows = []
    for label, seeds in runs.items():
        answers = models.evaluations(seeds, attack)
        rows.append({"model": label, **_parts("error", column(answers)),
                     **_parts("similar third", mass(answers, pairs_by_cost(cost, which="similar"))),
                     **_parts("distant third", mass(answers, pairs_by_cost(cost))),
                     **_parts("cost per error", column(answers, cost, per_error=True))})
    return pandas.DataFrame(rows)


def mass(answers, pairs):
    """Images [%] that end in some pairs of classes, each true class weighing the same; an Interval over seeds."""
    return scaled(column(answers, pairs), 100 / len(pairs))


def mass_difference(first, second, pairs):
    """The same for first - second, paired by seed and image."""
    return scaled(difference(first, second, pairs), 100 / len(pairs))


def formatted(frame, columns):
    """A table to read: "value [low, high]" in one cell, other columns as they are, "–" where nothing is.

    Parameters
    ----------
    frame : DataFrame, an interval in the columns "x", "x low", "x high"
    columns : dict of the frame's column to the name that is shown
    """
    import pandas

    shown = {}
    for name, title in columns.items():
        if f"{name} low" in frame:
            cells = zip(frame[name], frame[f"{name} low"], frame[f"{name} high"], strict=True)
            shown[title] = [format_interval(*cell) for cell in cells]
        else:
            shown[title] = ["–" if pandas.isna(value) or value == "" else value for value in frame[name]]
    return pandas.DataFrame(shown)


def attack_table(scores):
    """Every model under every attacker: AE in %, S and the mean cost of an error, each with its interval."""
    import pandas

    return pandas.DataFrame([
        {"dataset": row[0], "network": row[1], "p": row[2], "attack": attack,
         **_parts("AE", scores.error(row, attack)), **_parts("S", scores.score(row, attack)),
         **_parts("relative S", scores.relative(row, attack)),
         **_parts("cost per error", scores.per_error(row, attack))}
        for row in scores.rows for attack in scores.attacks])
