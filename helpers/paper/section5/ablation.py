"""What the paper leaves open, tried out: S and AE of WPGD for other lambda and other metrics (Sec. 5.4, Table 3)."""

from helpers.costs import is_fitted
from helpers.evaluation.direction import measure

from .attacked import BY_ERROR, FIXED, TRAINED, score_attacks
from .models import column, difference, scaled
from .tables import _parts

ABLATION_ATTACKS = (BY_ERROR, TRAINED, FIXED)


def ablation_table(models, dataset, runs, *, eps, steps):
    """One row a choice of lambda and metric: NE, AE, and S beside that of the PGD model, under three attackers.

    S is counted with the metric that the row's model was trained with, also for the PGD model beside it; a metric
    with larger costs has a larger S, so changes are given in % of PGD's S.

    Parameters
    ----------
    models : Models, with the PGD model of the data set
    dataset : str, the paper's data set
    runs : list of Run, trained by WPGD with the same p; runs that differ in nothing but the seed share a row
    eps : float, in 1/255; steps : int, of the attacks

    Returns
    -------
    DataFrame
        metric, lambda, seeds; NE and AE (PGD on the cross entropy) in %; for each attacker S and its change against
        PGD in %, all with intervals; and, without one, the change of the mean cost of an error in % of PGD's.
    """
    import pandas

    groups = {}
    for run in runs:
        values = None if is_fitted(run.config.cost) else run.cost.digest
        groups.setdefault((run.cost.name, run.config.lam, values), []).append(run)
    plain = models.runs(dataset)
    rows = []
    for (metric, lam, _), group in groups.items():
        same_seeds = [next((one for one in plain if one.config.seed == run.config.seed), plain[0]) for run in group]
        cost, p = group[0].cost, group[0].config.p
        # As text: JSON has no infinity.
        row = {"metric": metric, "lambda": f"{lam:g}", "seeds": len(group),
               **_parts("NE", column(models.evaluations(group)))}
        ours = score_attacks(cost, p, eps=eps, steps=steps, lam=lam)
        # The attacker "with the trained p" of a PGD model is the one with p = 0, as in Table 3.
        theirs = score_attacks(cost, 0.0, eps=eps, steps=steps, lam=lam)
        for name in ABLATION_ATTACKS:
            answers = models.evaluations(group, ours[name][0])
            zero = models.evaluations(same_seeds, theirs[name][0])
            row |= {} if name != BY_ERROR else _parts("AE", column(answers))
            row |= _parts(f"S, {name}", column(answers, cost))
            unit = 100 / _mean(measure(one, cost, False) for one in zero)
            row |= _parts(f"change, {name}", scaled(difference(answers, zero, cost), unit))
            mine, its = (_mean(measure(one, cost, True) for one in several) for several in (answers, zero))
            row[f"cost per error, {name}"] = 100 * (mine / its - 1)
        rows.append(row)
    return pandas.DataFrame(rows)


def ablation_verdicts(frame):
    """A sentence a row: whether S falls under each attacker, as Table 3 says it does with p."""
    lines = []
    for row in frame.to_dict("records"):
        words = ", ".join(f"{_direction(row[f'change, {name} low'], row[f'change, {name} high'])} ({name})"
                          for name in ABLATION_ATTACKS)
        lines.append(f"{row['metric']}, lambda = {row['lambda']}: S {words}")
    return lines


def _direction(low, high):
    return "falls" if high < 0 else "rises" if low > 0 else "may do either"


def _mean(values):
    values = list(values)
    return sum(values) / len(values)
