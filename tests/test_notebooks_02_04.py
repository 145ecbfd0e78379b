"""The formulas that stand in notebooks 02 and 04, against hand-made answers, enumeration, SciPy and scikit-learn."""
import ast
from functools import partial
from itertools import product
from pathlib import Path
from types import SimpleNamespace

import nbformat
import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from scipy.special import softmax
from scipy.stats import entropy, norm
from sklearn.model_selection import LeaveOneOut, cross_val_score
from sklearn.neighbors import KNeighborsClassifier

from helpers import costs, training
from helpers.evaluation import Evaluation, evaluate_run
from helpers.intervals import Interval, rho
from study import claims

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"
METRIC = costs.CostMatrix([[0, 1, 4], [1, 0, 2], [4, 2, 0]], ("a", "b", "c"), name="hand")
LABELS = np.repeat([0, 1, 2], 4)
STANDARD = Evaluation(LABELS, np.array([0, 0, 0, 1, 1, 1, 1, 1, 2, 2, 2, 0]), 3)
ROBUST = Evaluation(LABELS, np.array([0, 1, 1, 0, 1, 1, 2, 2, 2, 2, 2, 2]), 3)
OFF = ~np.eye(3, dtype=bool)


def functions(name, **names):
    """The imports and functions of a notebook; what else they read is ours."""
    book = nbformat.read(next(NOTEBOOKS.glob(f"{name}_*.ipynb")), as_version=4)
    for cell in book.cells:
        if cell.cell_type == "code":
            kept = [node for node in ast.parse(cell.source).body
                    if isinstance(node, ast.Import | ast.ImportFrom | ast.FunctionDef)]
            exec(compile(ast.Module(kept, []), name, "exec"), names)
    return SimpleNamespace(**names)


def gaps(**names):
    return functions("02", **{"samples": 200, "permutations": 199, "seed": 0, "unknown": Interval(np.nan), **names})


def study(ce=STANDARD, pgd=ROBUST, cost=METRIC, **other):
    """A study of one seed, or of the seeds of two lists."""
    both = [one if isinstance(one, list) else [one] for one in (ce, pgd)]
    found = [rho(abs(two.confusion - one.confusion), cost) for one, two in zip(*both)]
    return SimpleNamespace(ce=both[0], pgd=both[1], cost=cost, **{
        "title": "hand", "eps": 8.0, "rho_p": 0.5, "rho": Interval(np.mean(found)), **other})


def noisy(rng, num_classes, per_class, share):
    labels = np.repeat(np.arange(num_classes), per_class)
    wrong = rng.integers(0, num_classes, len(labels))
    return Evaluation(labels, np.where(rng.random(len(labels)) < share, wrong, labels), num_classes)


# Notebook 02: the gap and Table 1 ---------------------------------------------------------------------------


def test_gap_and_its_size_by_hand():
    found = gaps().gap(STANDARD, ROBUST)
    np.testing.assert_allclose(found, [[0.25, 0.25, 0], [0, 0.5, 0.5], [0.25, 0, 0.25]])
    assert gaps().off_diagonal(found) == pytest.approx(100 / 3)


def test_a_row_of_table_1():
    book = gaps()
    gap = abs(ROBUST.confusion - STANDARD.confusion)
    found, p = book.table1(study())
    assert found.value == pytest.approx(np.corrcoef(gap[OFF], METRIC.values[OFF])[0, 1]) and 0 < p <= 1
    assert found.low <= found.value <= found.high
    whole, _ = book.table1(study(), diagonal=True)
    assert whole.value == pytest.approx(np.corrcoef(gap.ravel(), METRIC.values.ravel())[0, 1])
    change = (ROBUST.confusion - STANDARD.confusion)[OFF]
    assert book.signed(study()).value == pytest.approx(np.corrcoef(change, METRIC.values[OFF])[0, 1])


def test_exchanged_gaps_are_those_of_all_swaps():
    """Six images, five different answers: the gaps drawn are exactly those that swapping gives."""
    labels = np.array([0, 0, 1, 1, 2, 2])
    first, second = np.array([0, 0, 1, 1, 2, 2]), np.array([1, 1, 1, 2, 0, 2])
    possible = set()
    for swap in product([False, True], repeat=6):
        one, two = np.where(swap, second, first), np.where(swap, first, second)
        gap = abs(Evaluation(labels, two, 3).confusion - Evaluation(labels, one, 3).confusion)
        possible.add(tuple(gap.ravel().round(9)))
    ce, pgd = Evaluation(labels, first, 3), Evaluation(labels, second, 3)
    assert {tuple(gap.ravel().round(9)) for gap in gaps(samples=400).exchanged([ce], [pgd])} == possible
    assert all(not gap.any() for gap in gaps(samples=3).exchanged([ROBUST], [ROBUST]))
    # Two seeds with the same answers: an image is swapped in both or in neither.
    for first_seed, second_seed in gaps(samples=50).exchanged([ce, ce], [pgd, pgd]):
        np.testing.assert_array_equal(first_seed, second_seed)
    # A second seed whose networks agree is left as it is, and does not change the first.
    alone, beside = gaps(samples=5).exchanged([ce], [pgd]), gaps(samples=5).exchanged([ce, ce], [pgd, ce])
    for (one,), (same, none) in zip(alone, beside):
        np.testing.assert_array_equal(one, same)
        assert not none.any()


def test_chance_alone_makes_rho_negative():
    """Two equally good networks that confuse neighbours: rho is clearly below 0, and chance explains it."""
    rng, book = np.random.default_rng(0), gaps()
    labels = np.repeat(np.arange(10), 100)
    both = [Evaluation(labels, np.where(rng.random(1000) < 0.2, labels ^ 1, labels), 10) for _ in "ab"]
    cost = costs.CostMatrix(np.abs(np.subtract.outer(np.arange(10.0), np.arange(10))), [str(k) for k in range(10)])
    (found, p), (chance, size) = book.table1(study(*both, cost)), book.chance(study(*both, cost))
    assert found.value < -0.25 and p < 0.05 and chance.low <= found.value <= chance.high
    assert abs(book.off_diagonal(book.gap(*both)) - size) < 0.5 * size


def test_concentration_by_hand():
    book = gaps()
    near = np.array([[0, 0, 0], [0, 0, 1], [0, 1, 0]], bool)
    value, low, high = book.concentration(study(), near)
    gap = abs(ROBUST.confusion - STANDARD.confusion)
    assert value == pytest.approx(gap[near].mean() / gap[OFF].mean()) and 0 <= low < value < high
    assert book.concentration(study(pgd=Evaluation(LABELS, LABELS, 3)), near).low == 0, "cut off"
    assert np.isnan(book.concentration(study(ROBUST, ROBUST), near).value)


def test_what_exchanged_answers_show_as_well_is_no_evidence():
    """A gap that only noise makes must not pass for one that follows the metric, and one that does must be seen."""
    rng, book = np.random.default_rng(0), gaps()
    labels = np.repeat(np.arange(10), 100)
    cost = costs.CostMatrix(np.abs(np.subtract.outer(np.arange(10.0), np.arange(10))), [str(k) for k in range(10)])
    near = costs.pairs_by_cost(cost, 0.2, "similar").astype(bool)

    def confusing(share):  # a share of the images is taken for a neighbour
        return Evaluation(labels, np.where(rng.random(1000) < share, labels ^ 1, labels), 10)

    noise, real = study(confusing(0.2), confusing(0.2), cost), study(confusing(0.0), confusing(0.4), cost)
    for statistic, side in ((partial(rho, cost=cost), -1), (partial(book.excess, pairs=near), 1)):
        value, low, high = book.beyond_chance(statistic, noise)
        assert low < 0 < high, "nothing is there"
        narrow = book.beyond_chance(statistic, noise, 0.95)
        assert narrow.value == value and 1.2 < (high - low) / (narrow.high - narrow.low) < 1.8, "2.81 over 1.96"
        assert min(side * end for end in book.beyond_chance(statistic, real)) > 0, "40 points on near pairs"


def test_seeds_are_repetitions_of_the_same_images():
    """A seed counted twice says what it says once; others move the value to the mean and narrow the interval."""
    rng, book, labels = np.random.default_rng(0), gaps(), np.repeat(np.arange(10), 100)
    cost = costs.CostMatrix(np.abs(np.subtract.outer(np.arange(10.0), np.arange(10))), [str(k) for k in range(10)])
    statistic = partial(rho, cost=cost)

    def confusing(share):
        return Evaluation(labels, np.where(rng.random(1000) < share, labels ^ 1, labels), 10)

    def width(interval):
        return interval.high - interval.low

    ce, pgd = ([confusing(share) for _ in range(12)] for share in (0.1, 0.2))
    once, twice = study(ce[0], pgd[0], cost), study([ce[0]] * 2, [pgd[0]] * 2, cost)
    assert book.signed(twice) == book.signed(once) and book.table1(twice) == book.table1(once)
    assert tuple(book.beyond_chance(statistic, twice)) == pytest.approx(tuple(book.beyond_chance(statistic, once)))
    many = study(ce, pgd, cost)
    each = [rho(abs(two.confusion - one.confusion), cost) for one, two in zip(ce, pgd)]
    assert book.table1(many)[0].value == pytest.approx(np.mean(each))
    assert np.std(each) > 0.005 and width(book.chance(many)[0]) < 0.6 * width(book.chance(once)[0])
    assert width(book.beyond_chance(statistic, many)) < 0.6 * width(book.beyond_chance(statistic, once))
    # Three seeds that are sure of it do not decide where a fourth sees nothing: that, too, is the interval over seeds.
    clear, worse = confusing(0.0), [confusing(0.4) for _ in range(3)]
    assert book.beyond_chance(statistic, study([clear] * 3, worse, cost)).high < 0
    value, low, high = book.beyond_chance(statistic, study([clear] * 3 + ce[:1], worse + ce[1:2], cost))
    assert low < 0 < high and value < -0.25


def test_a_pair_that_is_never_confused_is_not_certainly_never_confused():
    """Zero of n images was an interval of no width; the exact bound of 95 % is 3 / n."""
    labels = np.repeat(np.arange(3), 100)
    pgd = Evaluation(labels, np.where(np.arange(300) % 100 < 20, np.array([2, 2, 0])[labels], labels), 3)
    pair = np.array([[0, 1, 0], [1, 0, 0], [0, 0, 0]], bool)
    value, low, high = gaps().concentration(study(Evaluation(labels, labels, 3), pgd), pair)
    assert (value, low) == (0, 0) and high == pytest.approx(stats.beta.ppf(0.95, 1, 100) / 0.1, rel=0.02)


def test_the_lead_decides_at_its_own_level():
    def width(interval):
        return interval.high - interval.low

    rng = np.random.default_rng(1)
    pair = study(noisy(rng, 3, 400, 0.3), noisy(rng, 3, 400, 0.4))
    find = lead(first=pair, second=study(noisy(rng, 3, 400, 0.1), noisy(rng, 3, 400, 0.5)))
    assert width(find("first", "second", decides=True)) > 1.1 * width(find("first", "second"))


def test_pairs_by_hand():
    book = gaps()
    assert [book.nearer(METRIC)[pair] for pair in ((0, 1), (1, 2), (2, 0))] == [0, 0.5, 1]
    table = book.largest_pairs(study(), 2)
    assert list(table["pair"]) == ["b / c", "a / b"]
    first = table.iloc[0]
    assert (first["gap"], first["CE"], first["PGD"], first["cost"], first["nearer"]) == (25, 0, 25, 2, 50)
    assert len(book.largest_pairs(study(ROBUST, ROBUST))) == 0


def test_few_classes_keep_their_order_and_many_are_grouped():
    book = gaps()
    few = book.cells("(b) gap", "gap", book.gap(STANDARD, ROBUST), METRIC)
    assert list(few["true"]) == list("aaabbbccc") and list(few["predicted"]) == list("abcabcabc")
    np.testing.assert_allclose(few["value"].to_numpy().reshape(3, 3), book.gap(STANDARD, ROBUST))
    cost = costs.wordnet_cost("cifar100")
    many = book.cells("(a)", "cost", cost.values, cost)
    names = list(many["true"].unique())
    places = [[costs.readable(name) for name in cost.classes].index(name) for name in names]
    assert sorted(places) == list(range(100)) and places != list(range(100)) and list(many["predicted"][:100]) == names
    np.testing.assert_allclose(many["value"].to_numpy().reshape(100, 100), cost.values[np.ix_(places, places)],
                               atol=1e-4)
    assert many.groupby("true")["group"].nunique().max() == 1 and (many["group"] != "").all()


def test_a_cloud_shows_all_pairs_or_says_how_many():
    book = gaps()
    cloud = book.cloud(study())
    assert len(cloud) == 6 and cloud["gap"].max() == 50
    assert cloud.loc[cloud["gap"].idxmax(), "pair"] == "b → c"
    assert cloud["panel"].iloc[0].startswith("hand, PGD eps 8\n")
    rng, cost = np.random.default_rng(0), costs.wordnet_cost("tiny-imagenet-200")
    many = book.cloud(study(noisy(rng, 200, 5, 0.5), noisy(rng, 200, 5, 0.5), cost))
    assert 10_000 <= len(many) <= 10_020 and "10,000 of 39,800 pairs" in many["panel"].iloc[0]


def lead(**studies):
    rows = pd.DataFrame([vars(one) for one in studies.values()], index=list(studies))
    return gaps(measured=rows).lead


def test_a_lead_is_measured_between_the_papers_data_sets_only():
    rng = np.random.default_rng(1)
    worse = noisy(rng, 3, 40, 0.3)
    strong, weak = study(), study(Evaluation(worse.labels, worse.labels, 3), worse)
    value, low, high = lead(first=strong, second=weak)("first", "second")
    assert value == pytest.approx(abs(strong.rho.value) - abs(weak.rho.value)) and low < high
    assert np.isnan(lead(first=strong)("first", "second").value)


def test_more_images_alone_give_no_lead():
    """Two data sets with the same true confusions; one has thirty times as many test images."""
    rng, size = np.random.default_rng(3), 10
    cost = costs.CostMatrix(np.abs(np.subtract.outer(np.arange(size), np.arange(size))), [str(k) for k in range(size)])
    near = np.exp(-cost.values) + 30 * np.eye(size)

    def answers(images, blur):
        rows = near + blur * (near - np.diag(np.diag(near)))
        labels = np.repeat(np.arange(size), images)
        return Evaluation(labels, [rng.choice(size, p=rows[k] / rows[k].sum()) for k in labels], size)

    many, few = (study(answers(images, 1), answers(images, 5), cost) for images in (600, 20))
    value, low, high = lead(many=many, few=few)("many", "few")
    assert value > 0.1, "the larger test set looks better correlated"
    assert low < 0 < value <= high


def test_the_images_that_make_the_gap():
    run = SimpleNamespace(dataset=SimpleNamespace(x_test=np.arange(12)))
    name, shown, captions = gaps().changed(study(run=run), 1, 2)
    # b is taken for c twice by the robust network only; c is never taken for b.
    assert name == "hand\nb, taken for c\n2 lost, 0 won" and list(shown) == [6, 7] and captions == ["lost", "lost"]
    assert len(gaps().changed(study(run=run), 2, 1)[1]) == 0


# Notebook 04: confidence and clusters -----------------------------------------------------------------------


class Logits(torch.nn.Module):
    """Logits are 40 times the pixels."""

    def forward(self, x):
        return 40 * x.flatten(1)


def test_entropy_and_confidence_are_scipys():
    images = torch.rand(50, 7, 1, 1, generator=torch.Generator().manual_seed(0))
    images[0], images[1] = 0.5, torch.tensor([1.0, 0, 0, 0, 0, 0, 0])[:, None, None]
    dataset = SimpleNamespace(classes=tuple("abcdefg"), x_test=images, y_test=torch.arange(50) % 7)
    book = functions("04", networks={"CE": SimpleNamespace(model=Logits())}, dataset=dataset)
    table = book.answers("CE")
    y = softmax(40 * images.flatten(1).double().numpy(), axis=1)
    np.testing.assert_allclose(table["entropy"], entropy(y, axis=1), atol=1e-5)
    assert table["entropy"][0] == pytest.approx(np.log(7)) and 0 <= table["entropy"][1] < 1e-12
    np.testing.assert_allclose(table["confidence"], y.max(axis=1), atol=1e-6)
    assert list(table["class"]) == list("abcdefg" * 7 + "a")
    assert list(table["answer"][1:]) == list(np.array(dataset.classes)[y[1:].argmax(axis=1)])


def test_calibration_error_of_known_cases():
    # 8 of 10 right at confidence 0.8 is calibrated; 5 of 10 right at 0.9 is off by 40 points.
    book = functions("04")
    calibrated, off = (np.full(10, 0.8), np.arange(10) < 8), (np.full(10, 0.9), np.arange(10) < 5)
    assert book.ece(*calibrated) == pytest.approx(0) and book.ece(*off) == pytest.approx(40)
    both = [np.concatenate(parts) for parts in zip(calibrated, off, off)]
    assert book.ece(*both) == pytest.approx(40 * 2 / 3)
    assert book.ece(np.ones(1), np.zeros(1)) == 100
    # A confidence on an edge belongs to the bin below, ((m - 1) / M, m / M].
    assert list(book.bins([1 / 15, 1 / 15 + 1e-9, 1.0])) == [1, 2, 15]


def test_reliability_and_ece_agree_with_a_loop():
    rng = np.random.default_rng(1)
    y = softmax(2 * rng.normal(size=(400, 5)), axis=1)
    sure, right = pd.Series(y.max(axis=1)), pd.Series(y.argmax(axis=1) == rng.integers(0, 5, 400))
    book = functions("04", sure={"CE": sure}, right={"CE": right}, kinds={"CE": "standard (CE)"})
    rows, expected = [], 0.0
    for low in np.arange(15) / 15:
        inside = (sure > low) & (sure <= low + 1 / 15)
        if inside.any():
            expected += 100 * inside.mean() * abs(right[inside].mean() - sure[inside].mean())
        if inside.sum() >= 10:
            rows.append((100 * sure[inside].mean(), 100 * right[inside].mean()))
    assert book.ece(sure, right) == pytest.approx(expected)
    drawn = book.reliability("CE", Interval(expected))
    np.testing.assert_allclose(drawn[["confidence", "accuracy"]], rows)
    assert set(drawn["panel"]) == {f"standard (CE), ECE {expected:.1f} %"}


def test_risk_and_coverage_by_hand():
    images = pd.DataFrame({"method": "CE", "confidence": [0.9, 0.6, 0.8, 0.6], "right": [True, True, False, False]})
    book = functions("04", images=pd.concat([images, images.assign(method="PGD", right=True)]))
    risk = book.risk_coverage("CE")
    # The two images of confidence 0.6 come together.
    assert list(risk["threshold"]) == [90, 80, 60] and list(risk["accepted"]) == [25, 50, 100]
    assert list(risk["error"]) == [0, 50, 50]
    assert list(book.at_coverage("CE", [25, 26, 50, 100])["accepted"]) == [25, 50, 50, 100]
    assert list(book.at_coverage("PGD", [100])["error"]) == [0]


def test_clusters_grow_with_separation_and_votes_leave_one_out():
    def blobs(separation, per_class=40):
        labels = np.repeat(np.arange(3), per_class)
        return np.random.default_rng(0).normal(size=(3 * per_class, 5)) + separation * np.eye(5)[labels], labels

    clustering = functions("04").clustering
    (tight, sure), (loose, unsure) = clustering(*blobs(20)), clustering(*blobs(1))
    assert tight.mean() > 0.8 and sure.mean() == 100 and tight.mean() > loose.mean() and unsure.mean() < 90
    features, labels = blobs(1.5)
    expected = cross_val_score(KNeighborsClassifier(10), features, labels, cv=LeaveOneOut()).mean()
    assert clustering(features, labels)[1].mean() == pytest.approx(100 * expected)


def test_an_image_is_drawn_for_both_networks_at_once():
    interval = functions("04", seed=0).interval
    first = np.random.default_rng(2).normal(size=300)
    value, low, high = interval(lambda one, two: (two - one).mean(), first, first + 1)
    assert value == low == high == pytest.approx(1)
    value, low, high = interval(np.mean, first)
    assert low < value == first.mean() < high
    assert high - low == pytest.approx(2 * 1.96 * first.std() / 300**0.5, rel=0.1)
    value, low, high = functions("04", seed=0).decided(np.mean, first)
    assert high - low == pytest.approx(2 * norm.ppf((1 + claims.LEVEL) / 2) * first.std() / 300**0.5, rel=0.05)


def test_what_no_image_can_tell_is_not_measurable():
    interval = functions("04", seed=0).interval
    assert all(np.isnan(list(interval(np.mean, np.array(some)))).all() for some in ([], [1.0]))


def test_a_collapsed_network_is_drawn_as_one_point():
    """t-SNE divides by the spread of the features, and its tree then recurs until the kernel dies."""
    chosen, labels = np.arange(60), np.arange(60) % 3
    cells = {"CE": pd.Series([Interval(0.0), Interval(33.3)])}
    book = functions("04", features={"CE": np.ones((60, 8))}, labels=labels, clusters=cells, seed=0,
                     kinds={"CE": "standard"}, true_class=pd.Series(labels.astype(str)))
    points = book.tsne("CE", chosen)
    assert len(points) == 60 and not points[["x", "y"]].to_numpy().any()
    few = functions("04", features={"CE": np.random.default_rng(0).random((12, 8))}, labels=labels, clusters=cells,
                    seed=0, kinds={"CE": "standard"}, true_class=pd.Series(labels.astype(str)))
    assert np.ptp(few.tsne("CE", chosen[:12])[["x", "y"]].to_numpy(), axis=0).all(), "fewer images than neighbours"
    book = functions("04")
    assert np.isfinite(book.clustering(np.ones((60, 8)), labels)[0]).all()


def test_images_are_labelled_in_the_order_of_the_runs_own_classes(stripes, tmp_path):
    """The classes of a config may stand in another order than those of its data set, or be some of them."""
    recipe = {"data": "stripes", "network": "W-10-1", "epochs": 6, "lr": 0.1, "batch_size": 16, "val_size": 8,
              "val_images": 8, "classes": ["c2", "c0"]}
    run = training.train(training.configure(recipe), data_root=stripes, store=tmp_path, progress=False)
    table = functions("04", networks={"CE": run}, dataset=run.dataset).answers("CE")
    wrong = 100 * (table["answer"] != table["class"]).mean()
    assert wrong == evaluate_run(run).error < 40 and set(table["class"]) == {"c2", "c0"}
