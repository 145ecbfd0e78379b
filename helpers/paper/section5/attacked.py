"""Table 3: every model under every attacker, and S (Eq. 7) of the answers."""

from helpers import attacks, losses
from helpers.evaluation import worst_case

from .models import DEEP, MAIN, column, difference, order

WORST = "worst of all"
TRAINED = "Wasserstein, trained p"
BY_ERROR = "cross entropy"
FIXED = "Wasserstein, p = 1"


def score_attacks(cost, p, *, eps, steps, lam):
    """The attackers of one model, by name.

    Parameters
    ----------
    cost : CostMatrix
    p : float
        Of the model; 0 for PGD, whose attacker at "trained p" does not know the metric (0 ** 0 = 0 on the diagonal).
    eps : float
        In 1/255.
    steps : int
    lam : float
        Of Eq. (5).

    Returns
    -------
    dict of str to a tuple of attacks.PGD
        Of several attacks (random starts), the dearest answer of each image counts.
    """
    def pgd(loss, seed=0):
        return attacks.PGD(eps / 255, steps=steps, loss=loss, seed=seed)

    plain = losses.WassersteinLoss(cost, 1.0, lam)
    return {BY_ERROR: (pgd(losses.cross_entropy),),
            "margin": (pgd(losses.margin_loss),),
            TRAINED: (pgd(losses.WassersteinLoss(cost, p, lam)),),
            FIXED: (pgd(plain),),
            f"{FIXED}, 2 starts": (pgd(plain), pgd(plain, seed=1))}


class Scores:
    """The answers of `Models` to all attackers.

    Parameters
    ----------
    models : Models
    costs : dict of data set to CostMatrix
    eps : dict of data set to float, in 1/255
    steps, lam : see `score_attacks`

    Attributes
    ----------
    rows : list of (dataset, network, p)
        The models, in the order of Table 3.
    """

    def __init__(self, models, costs, eps, steps, lam):
        self.models, self.costs = models, costs
        self.rows, self._answers, self._known = [], {}, {}
        for dataset in models.datasets():
            for network in (MAIN, DEEP):
                for p in models.powers(dataset, network):
                    known = score_attacks(costs[dataset], p, eps=eps[dataset], steps=steps, lam=lam)
                    self._known[dataset, network, p] = known
                    self._attack((dataset, network, p), known)

    def _attack(self, row, known):
        runs, cost = self.models.at(*row), self.costs[row[0]]

        def worst(several):
            return [worst_case(of_seed, cost) for of_seed in zip(*several, strict=True)]

        answers = {name: worst([self.models.evaluations(runs, attack) for attack in starts])
                   for name, starts in known.items()}
        self._answers[row] = answers | {WORST: worst(answers.values())}
        self.rows.append(row)

    @property
    def attacks(self):
        """Names of the attackers, the worst over all of them last."""
        return list(next(iter(self._answers.values()))) if self._answers else []

    def answers(self, row, attack):
        """Evaluations of a model under an attacker, one a seed; [] if the model is not there."""
        return self._answers.get(row, {}).get(attack, [])

    def error(self, row, attack):
        """AE in %, an Interval."""
        return column(self.answers(row, attack))

    def score(self, row, attack):
        """S of Eq. (7), an Interval."""
        return column(self.answers(row, attack), self.costs[row[0]])

    def relative(self, row, attack, zero=None):
        """S minus the S of ``zero``, by default the PGD model of the same data set and network."""
        zero = zero or (*row[:2], 0.0)
        return difference(self.answers(row, attack), self.answers(zero, attack), self.costs[row[0]])

    def relative_under_own(self, row):
        """S minus the S of the PGD model of the same network, both under the attacker with this row's trained p.

        `relative` at "trained p" gives each of the two an attacker of its own, and one with a large p is weak.
        """
        (attack,), zero = self._known[row][TRAINED], self.models.at(*row[:2], 0.0)
        return difference(self.answers(row, TRAINED), self.models.evaluations(zero, attack), self.costs[row[0]])

    def per_error(self, row, attack):
        """S / (K AE), the mean cost of an error, an Interval."""
        return column(self.answers(row, attack), self.costs[row[0]], per_error=True)

    def order(self, dataset, attack, what="score", network=MAIN):
        """Kendall's tau of "error", "score" or "per_error" with p over PGD and WPGD, an Interval."""
        series = [self.answers(row, attack) for row in self.rows if row[:2] == (dataset, network)]
        return order(series, None if what == "error" else self.costs[dataset], what == "per_error")
