"""One standard and one robust model, their accuracy gap and the cost of their classes (Sec. 3.1, Table 1)."""

from dataclasses import dataclass

import numpy as np

from helpers.costs import CostMatrix, ordered_groups, readable

from .cached import evaluate_run
from .direction import pairs_by_cost
from .gaps import bootstrap_concentration, concentration, exchanged_gaps, gap_size, nearer_share, pairs_among
from .predict import Evaluation
from .scores import accuracy_gap, bootstrap_correlation, correlation, correlation_samples, mantel_test
from .stratified import basic_interval, percentile_interval

NAMED = 20  # classes up to which a figure names each one, in the data set's order
EXAMPLES = 8  # images kept of each direction of the pair with the largest gap


@dataclass(frozen=True, eq=False)
class GapStudy:
    """The accuracy gap between a standard and a robust model, beside the cost of their classes.

    Attributes
    ----------
    name : str
        The paper's data set, such as "cifar10".
    title : str
        What figures call it, stand-in included.
    eps : float
        Of the robust model's training, in 1/255.
    cost : CostMatrix
    standard, robust : Evaluation
        On the same natural images.
    stand_in : bool
        Whether other images than the paper's were used, so that nothing about the paper's is measured.
    examples : list of (name, images, captions)
        Rows for `plotting.image_rows`: images of the pair of classes with the largest gap on which one model
        answers right and the other one with the other class.
    """

    name: str
    title: str
    eps: float
    cost: CostMatrix
    standard: Evaluation
    robust: Evaluation
    stand_in: bool
    examples: list

    @property
    def classes(self):
        """Readable names of the K classes."""
        return [readable(name) for name in self.cost.classes]

    @property
    def gap(self):
        """(K, K) G of Def. 1."""
        return accuracy_gap(self.robust, self.standard)

    @property
    def change(self):
        """(K, K) C_robust - C_standard: G with its sign, positive off the diagonal where PGD adds errors."""
        return self.robust.confusion - self.standard.confusion

    def cloud(self, row, points=10_000, seed=0):
        """Return the gap against the cost as a panel for `plotting.correlation`; the largest pairs are named.

        Parameters
        ----------
        row : mapping
            This study's `table_row`, for rho.
        points : int
            Of more pairs of classes than that, as many random ones are shown, and the title says so.
        seed : int
        """
        size = len(self.classes)
        pairs = np.flatnonzero(~np.eye(size, dtype=bool))
        shown, title = pairs, f"{self.title}, PGD eps {self.eps:g}"
        if len(pairs) > points:
            shown = np.sort(np.random.default_rng(seed).choice(pairs, points, replace=False))
            title += f", {points:,} of {len(pairs):,} pairs"
        cost, gap = self.cost.values.ravel(), self.gap.ravel()
        named = [{"x": cost[index], "y": gap[index], "text": self._direction(index)}
                 for index in _apart(_largest(self.gap, 20), cost, gap)[:3]]
        return {"title": title, "xlabel": f"cost: {self.cost.name}", "cost": cost[shown].round(3),
                "gap": gap[shown].round(4), "annotations": named, "rho": row["rho"], "low": row["rho_low"],
                "high": row["rho_high"], "pvalue": row["rho_p"]}

    def _direction(self, index):
        true, answer = divmod(int(index), len(self.classes))
        return f"{self.classes[true]} → {self.classes[answer]}"

    def table_row(self, samples=1000, permutations=9999, seed=0):
        """Return a row of Table 1, and of what else could make rho negative.

        Parameters
        ----------
        samples : int
            Of the bootstrap, and of exchanged answers.
        permutations : int
            Of the Mantel test.
        seed : int

        Returns
        -------
        dict
            data, eps, classes, stand_in; images (of the test set); NE_CE, NE_PGD [%]; gap_size and chance_size
            [% points a class]; and four correlations, each with its 95 % interval <name>_low, <name>_high: rho
            over pairs of different classes; rho_diagonal over all entries; rho_signed of the change with its
            sign; rho_chance if the models swapped answers at random (`exchanged_gaps`). rho_p and
            rho_diagonal_p are Mantel's.
        """
        row = {"data": self.title, "eps": self.eps, "classes": len(self.classes), "stand_in": self.stand_in,
               "images": len(self.standard.labels), "NE_CE": self.standard.error, "NE_PGD": self.robust.error}
        kinds = {"rho": {}, "rho_diagonal": {"diagonal": True}, "rho_signed": {"signed": True}}
        for name, options in kinds.items():
            whole = name == "rho_diagonal"
            row[name] = correlation(self.change if name == "rho_signed" else self.gap, self.cost, whole)
            row[f"{name}_low"], row[f"{name}_high"] = bootstrap_correlation(
                self.standard, self.robust, self.cost, samples, seed, **options)
            if name != "rho_signed":
                row[f"{name}_p"] = mantel_test(self.gap, self.cost, permutations, seed, diagonal=whole)[1]
        return {**row, **self._chance(samples, seed)}

    def _chance(self, samples, seed):
        gaps = list(exchanged_gaps(self.standard, self.robust, samples, seed))
        rho = np.array([correlation(gap, self.cost) for gap in gaps])
        low, high = percentile_interval(rho, 0.95)
        return {"rho_chance": float(rho[np.isfinite(rho)].mean()) if np.isfinite(rho).any() else np.nan,
                "rho_chance_low": low, "rho_chance_high": high, "gap_size": gap_size(self.gap),
                "chance_size": float(np.mean([gap_size(gap) for gap in gaps]))}

    def concentration(self, names, samples=1000, seed=0):
        """Return the `concentration` of the gap on the pairs among some classes: (value, low, high)."""
        return self._concentration(pairs_among(self.cost.classes, names), samples, seed)

    def nearest(self, share=0.2, samples=1000, seed=0):
        """Return the `concentration` of the gap on the nearest share of the pairs: (value, low, high)."""
        return self._concentration(pairs_by_cost(self.cost, share, "similar"), samples, seed)

    def _concentration(self, pairs, samples, seed):
        ends = bootstrap_concentration(self.standard, self.robust, pairs, samples, seed)
        return concentration(self.gap, pairs), *ends


def gap_study(standard, robust, cost, name, title=None, *, stand_in=False):
    """Compare two runs on the natural images of their test set.

    Parameters
    ----------
    standard, robust : Run
        Trained on the same data set.
    cost : CostMatrix
        Of its classes.
    name, title, stand_in
        As in `GapStudy`; the title is the name by default.

    Returns
    -------
    GapStudy
        Without the data set, so that many studies fit into memory.
    """
    answers, title = (evaluate_run(standard), evaluate_run(robust)), title or name
    return GapStudy(name, title, robust.config.eps, cost, *answers, stand_in,
                    _examples(*answers, standard.dataset, title))


def gap_panels(first, *others):
    """Return a metric and the gaps of studies that share it as data for `plotting.matrices` (Fig. 1 to 4).

    Up to 20 classes stand in the data set's order; more of them in the order and groups of
    `costs.ordered_groups`. The gaps share colour limits.

    Parameters
    ----------
    first, others : GapStudy
        Of one data set, for example PGD at several eps.
    """
    order, groups = np.arange(len(first.cost)), None
    if len(first.cost) > NAMED:
        order, groups = ordered_groups(first.cost)
    both = {"classes": [first.classes[index] for index in order], "groups": groups}
    matrices = [(f"metric: {first.cost.name}", first.cost.values.round(3), {"kind": "cost"})]
    matrices += [(f"accuracy gap, PGD eps {study.eps:g}", study.gap.round(4), {"kind": "gap", "share": "gap"})
                 for study in (first, *others)]
    # Three and four decimals keep a file of 200 x 200 entries below a megabyte.
    panels = [{"title": f"({letter}) {title}", "matrix": matrix[np.ix_(order, order)], **kind, **both}
              for letter, (title, matrix, kind) in zip("abcdefgh", matrices, strict=False)]
    return {"title": first.title, "panels": panels}


def _largest(matrix, count):
    """Return the flat indices of the largest positive off-diagonal entries, in falling order."""
    off = np.where(np.eye(len(matrix), dtype=bool), 0.0, matrix).ravel()
    return [index for index in np.argsort(-off, kind="stable")[:count] if off[index] > 0]


def _apart(indices, x, y):
    """Return those indices whose points leave room for a name beside the points before them."""
    kept = []
    for index in indices:
        near = [abs(x[index] - x[other]) < 0.6 * np.ptp(x) and abs(y[index] - y[other]) < 0.1 * np.ptp(y)
                for other in kept]
        kept += [] if any(near) else [index]
    return kept


def _examples(standard, robust, dataset, title):
    gap = accuracy_gap(robust, standard)
    pair = divmod(int(np.triu(gap + gap.T, 1).argmax()), len(gap))
    rows = []
    for true, other in (pair, pair[::-1]):
        taken = standard.labels == true
        lost = taken & standard.correct & (robust.predictions == other)
        won = taken & robust.correct & (standard.predictions == other)
        chosen = np.flatnonzero(lost | won)[:EXAMPLES]
        words = f"{readable(dataset.classes[true])}, taken for {readable(dataset.classes[other])}"
        name = f"{title}\n{words}\n{lost.sum()} lost, {won.sum()} won of {taken.sum()}"
        rows.append((name, np.asarray(dataset.x_test[chosen]), ["lost" if lost[i] else "won" for i in chosen]))
    return rows


def confused_pairs(study, count=5):
    """Return the pairs of classes with the largest gap, a DataFrame.

    Parameters
    ----------
    study : GapStudy
    count : int
        Pairs at most; those without a gap are left out.

    Returns
    -------
    DataFrame
        data; pair; gap, CE, PGD: the means over both directions of the gap [% points] and of how often each
        model takes one for the other [%]; cost; nearer: the share of all pairs that cost less [%].
    """
    import pandas as pd

    both = {name: 50 * (matrix + matrix.T) for name, matrix in
            {"gap": study.gap, "CE": study.standard.confusion, "PGD": study.robust.confusion}.items()}
    rows = []
    for index in _largest(np.triu(both["gap"], 1), count):
        i, j = divmod(int(index), len(study.cost))
        rows.append({"data": study.title, "pair": f"{study.classes[i]} / {study.classes[j]}",
                     **{name: matrix[i, j] for name, matrix in both.items()}, "cost": study.cost.values[i, j],
                     "nearer": 100 * nearer_share(study.cost, study.cost.classes[i], study.cost.classes[j])})
    return pd.DataFrame(rows, columns=["data", "pair", *both, "cost", "nearer"])


def correlation_lead(first, others, samples=1000, seed=0):
    """Return how far |rho| of a study exceeds the largest |rho| of others: (value, low, high).

    The data sets' test images are resampled independently. Few images a class lower |rho|, so a data set with
    many would lead for that alone: the interval also covers the leads when every data set is cut, at random, to
    as many images a class as the smallest has. All NaN where one of the studies is a stand-in, or there is no
    other: then nothing about the paper's data sets is compared.
    """
    studies = [first, *others]
    if len(studies) < 2 or any(study.stand_in for study in studies):
        return np.nan, np.nan, np.nan
    sizes = [abs(correlation(study.gap, study.cost)) for study in studies]
    drawn = [np.abs(correlation_samples(study.standard, study.robust, study.cost, samples, seed + index))
             for index, study in enumerate(studies)]
    value = sizes[0] - max(sizes[1:])
    whole = basic_interval(value, drawn[0] - np.max(drawn[1:], axis=0), 0.95)
    fewest = min(int(np.bincount(study.standard.labels).min()) for study in studies)
    rng = np.random.default_rng(seed)
    cut = np.array([[_size_of_cut(study, fewest, rng) for study in studies] for _ in range(min(samples, 200))])
    equal = percentile_interval(cut[:, 0] - cut[:, 1:].max(axis=1), 0.95)
    return value, min(whole[0], equal[0]), max(whole[1], equal[1])


def _size_of_cut(study, fewest, rng):
    """|rho| of a study with a random ``fewest`` of its test images of each class."""
    labels = study.standard.labels
    order = rng.permutation(len(labels))
    chosen = np.concatenate([order[labels[order] == k][:fewest] for k in range(study.standard.num_classes)])
    standard, robust = (Evaluation(one.labels[chosen], one.predictions[chosen], one.num_classes)
                        for one in (study.standard, study.robust))
    return abs(correlation(accuracy_gap(robust, standard), study.cost))
