"""The trained models of Sec. 5 by data set, network, method and p, a run a seed, and what they answer."""

from helpers.claims import Interval, hull
from helpers.evaluation import (
    bootstrap_error,
    bootstrap_error_cost,
    bootstrap_error_difference,
    bootstrap_order,
    bootstrap_score,
    bootstrap_score_difference,
    evaluate_run,
)
from helpers.evaluation.cached import is_described
from helpers.evaluation.direction import measure
from helpers.paper.printed import stand_in_note, stand_in_title

MAIN, DEEP = "W-16-10", "W-28-10"  # the paper's names of the network of every figure, and of the deeper one
DATASETS = ("cifar10", "tiny-imagenet-200")
NOT_HERE = "not part of this profile"
CPU_BATCH = 125  # activations of larger batches leave the cache: a quarter slower


class Models:
    """Runs under the paper's names, whatever stands in for a data set or a network in a profile.

    Parameters
    ----------
    attacks : dict of the paper's data set to attack
        What AE is measured with: PGD on the cross entropy at the profile's eps (Sec. 5.2).
    limit : int, optional
        Test images to evaluate, a class-stratified subset; None takes all.
    """

    def __init__(self, attacks, limit=None):
        self.attacks, self.limit = attacks, limit
        self._runs = {}
        self._answers = {}

    def add(self, dataset, network, run):
        """File a run, a seed of a model, under the paper's data set and network; returns the run."""
        config = run.config
        key = (dataset, network, config.method, config.p if config.method == "wpgd" else None)
        kept = [other for other in self._runs.get(key, []) if other.folder != run.folder]
        self._runs[key] = [*kept, run]
        return run

    def runs(self, dataset, network=MAIN, method="pgd", p=None):
        """The runs of a model, a seed each, in the order they were added; [] if it is not part of the profile."""
        return list(self._runs.get((dataset, network, method, p), ()))

    def powers(self, dataset, network=MAIN):
        """The p of the models there are, ascending; 0.0 stands for plain PGD."""
        known = [key[2:] for key in self._runs if key[:2] == (dataset, network)]
        return sorted({0.0 if method == "pgd" else p for method, p in known if method != "ce"})

    def at(self, dataset, network, p):
        """The runs at one of `powers`."""
        return self.runs(dataset, network, *(("wpgd", p) if p else ("pgd", None)))

    def evaluations(self, runs, attack=None):
        """An Evaluation a run, clean or attacked, kept in memory and beside the weights."""
        answers = []
        for run in runs:
            size = batch_size_for(run.model)
            if not is_described(attack):
                answers.append(evaluate_run(run, attack, limit=self.limit, batch_size=size))
                continue
            key = (run.folder, None if attack is None else repr(sorted(attack.describe().items())))
            if key not in self._answers:
                self._answers[key] = evaluate_run(run, attack, limit=self.limit, batch_size=size)
            answers.append(self._answers[key])
        return answers

    def errors(self, dataset, network, method, p=None):
        """(natural, adversarial) evaluations of a model, a list over seeds each; empty if it is not there."""
        runs = self.runs(dataset, network, method, p)
        return self.evaluations(runs), self.evaluations(runs, self.attacks.get(dataset))

    def datasets(self, distinct=False):
        """The paper's data sets there are; ``distinct``: without those whose models are another one's."""
        found = [name for name in DATASETS if any(key[0] == name for key in self._runs)]
        if not distinct:
            return found
        folders = {name: {run.folder for key, runs in self._runs.items() if key[0] == name for run in runs}
                   for name in found}
        return [name for place, name in enumerate(found)
                if not any(folders[name] <= folders[earlier] for earlier in found[:place])]

    def title(self, dataset):
        """The data set's name and what stands in for it."""
        data = {runs[0].config.data for key, runs in self._runs.items() if key[0] == dataset}
        return stand_in_title(dataset, data.pop() if data else dataset)

    def note(self, dataset, network=MAIN):
        """What a number is set beside a printed one with: the network, and whether the images are the paper's."""
        data = {run.config.data for key, runs in self._runs.items() if key[:2] == (dataset, network) for run in runs}
        if not data:
            return NOT_HERE
        return self.network(dataset, network) + stand_in_note(dataset, data.pop())

    def network(self, dataset, network=MAIN):
        """The network that stands for one of the paper's, "" if none does."""
        return next((runs[0].config.network for key, runs in self._runs.items() if key[:2] == (dataset, network)), "")


def batch_size_for(model):
    """Images to attack at once on the model's device."""
    return 500 if next(model.parameters()).is_cuda else CPU_BATCH


def column(evaluations, cost=None, per_error=False):
    """A measure of a model over its seeds: the error in %, S (Eq. 7) with a cost, or the mean cost of an error.

    Returns
    -------
    Interval
        Mean over seeds, hull of their bootstrap intervals; NaN without a seed.
    """
    if cost is None:
        return hull((one.error, *bootstrap_error(one)) for one in evaluations)
    bootstrap = bootstrap_error_cost if per_error else bootstrap_score
    return hull((measure(one, cost, per_error), *bootstrap(one, cost)) for one in evaluations)


def difference(first, second, cost=None):
    """The same for measure(first) - measure(second), seed by seed and image by image."""
    pairs = list(zip(first, second, strict=False))
    if cost is None:
        return hull((a.error - b.error, *bootstrap_error_difference(a, b)) for a, b in pairs)
    # Rounded: of two equal sums, added up in another order, a rest of 1e-16 is left.
    return hull((round(measure(a, cost) - measure(b, cost), 12), *bootstrap_score_difference(a, b, cost))
                for a, b in pairs)


def order(series, cost=None, per_error=False):
    """Kendall's tau of a measure with the order of some models, each a list over seeds: PGD, then rising p.

    NaN for fewer than three models: two have a difference, not an order.
    """
    if len(series) < 3:
        return hull([])
    return hull(bootstrap_order(list(step), cost, per_error=per_error) for step in zip(*series, strict=False))


def scaled(interval, factor):
    """An interval in another unit, factor > 0."""
    return Interval(*(None if number is None else factor * number for number in interval))
