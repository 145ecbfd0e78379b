"""Cells of notebooks 01 and 03 with tables, classifiers and answers whose statistics are known."""
import warnings
from pathlib import Path
from types import SimpleNamespace

import nbformat
import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import bootstrap, norm, ttest_1samp

from helpers import evaluation, training
from helpers.costs import CostMatrix
from helpers.evaluation import Evaluation
from helpers.intervals import over_seeds
from study import results
from study.claims import LEVEL

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"
COST = CostMatrix([[0, 10, 0.01], [10, 0, 1], [0.01, 1, 0]], ("a", "b", "c"))
CENTRES = torch.tensor([[0.2, 0.2], [0.8, 0.2], [0.5, 0.8]], dtype=torch.float64)
POINTS = CENTRES.repeat_interleave(2, dim=0) + torch.tensor([[0.0, 0.05], [0.0, -0.05]]).repeat(3, 1)
LABELS = torch.arange(3).repeat_interleave(2)


def run_cells(name, *ids, **names):
    """Run the imports and some cells of a notebook, by their ids, on values of ours; what its names stand for."""
    book = nbformat.read(next(NOTEBOOKS.glob(f"{name}_*.ipynb")), as_version=4)
    sources = {cell.id: cell.source for cell in book.cells}
    for cell in ("imports", *ids):
        exec(compile(sources[cell], f"{name}:{cell}", "exec"), names)
    return names


def outputs():
    return SimpleNamespace(compare=pd.DataFrame, table=lambda frame, name: frame, finish=lambda claims: claims,
                           beside=lambda frame, *_: frame.assign(profile="test"), figure=lambda figure, *_: figure,
                           show=lambda figure, *_: figure)


# Notebook 01 ------------------------------------------------------------------------------------------------


class Nearest(torch.nn.Module):
    """A classifier whose boundaries are the bisectors of the three centres."""

    def forward(self, points):
        return -((points[:, None].double() - CENTRES) ** 2).sum(dim=2)


nearest = Nearest()


@pytest.fixture
def table():
    """Each pair has its own standard value; PGD halves all pairs at once; WPGD changes them by their cost."""
    rows = []
    for seed in (0, 1):
        for pair, cost, value, kept in (("0–1", 10, 2.0, 0.5), ("0–2", 0.01, 3.0, 1.0), ("1–2", 1, 4.0, 0.8)):
            rows += [("ce", 0, seed, pair, cost, value), ("pgd", 10, seed, pair, cost, 0.75 * value),
                     ("pgd", 20, seed, pair, cost, 0.5 * value), ("wpgd", 10, seed, pair, cost, kept * value),
                     ("wpgd", 20, seed, pair, cost, kept * value)]
    frame = pd.DataFrame(rows, columns=["method", "eps", "seed", "pair", "cost", "length"])
    return frame.assign(error=1.0, **dict.fromkeys(["curvature", "mean_distance", "alignment", "local_alignment"],
                                                   frame.length))


def statistics(table):
    return run_cells("01", "flatter", "preserved", "more", "distance", table=table, eps_values=[10, 20],
                     outputs=outputs())


def test_the_statistics_of_notebook_01(table):
    found = statistics(table)
    assert list(found["slope"]("length")) == pytest.approx([-25, -25])  # % of the standard value per 10/255
    assert list(found["gain"].alignment) == pytest.approx([-1.5, -1.5])  # the largest eps minus standard training
    share = dict(zip(found["versus"].eps.astype(str) + found["versus"].method, found["versus"].curvature_left))
    assert (share["10pgd"], share["20pgd"]) == (0.75, 0.5)
    assert list(found["kept"].WPGD) == pytest.approx([1, 0.8, 0.5]), "from cheap to dear"
    assert [*found["contrast"]] == pytest.approx([0.5, 0.5, 0.5])
    # Text and caption differ in a sign; the dearest pair is the nearest to its boundary, also relative to standard.
    assert (found["text_claim"].verdict, found["caption_claim"].verdict) == ("holds", "fails")
    assert [claim.interval.value for claim in found["distances"]] == pytest.approx([-0.5, -1])
    assert [claim.verdict for claim in found["flattens"]] == ["holds", "holds"]


def test_the_main_claims_of_notebook_01_have_their_own_level(table):
    three = pd.concat([table, table[table.seed == 1].assign(seed=2)], ignore_index=True)
    spread = np.where(three.method == "ce", 1, 1 + 0.1 * three.seed)
    found = statistics(three.assign(length=three.length * spread, curvature=three.curvature * spread))
    left = found["left"]
    for values, main, other in (
            (found["slope"]("length"), found["flattens"][0], found["flattens"][1]),
            (left[0.01] - left[10], found["text_claim"], found["caption_claim"])):
        for claim, level in ((main, LEVEL), (other, 0.95)):
            expected = ttest_1samp(values, 0).confidence_interval(level)
            assert [*claim.interval][1:] == pytest.approx([*expected]), claim.id


def test_what_notebook_01_cannot_measure(table):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        equal = statistics(table.assign(cost=1.0))
        gone = statistics(table.assign(length=np.nan))
    assert {claim.verdict for claim in (equal["text_claim"], equal["caption_claim"], *equal["distances"])} == {
        "not measurable"}
    assert gone["flattens"][0].verdict == "not measurable"


@pytest.mark.parametrize(("cost", "raw"), [
    (COST, [10, 0.01, 1]), (CostMatrix([[0, 2, 1], [4, 0, 1], [1, 1, 0]], list("abc"), symmetric=False), [3, 1, 1])])
def test_a_row_is_a_pair_of_a_model_with_the_mean_cost_of_both_directions(monkeypatch, cost, raw):
    rows = [{"method": method, "eps": eps, "seed": 7, "run": SimpleNamespace(model=nearest)}
            for method, eps in (("ce", 0.0), ("pgd", 16.0))]
    monkeypatch.setattr("study.parameters.train_models", lambda *_, **__: pd.DataFrame(rows))
    table = run_cells("01", "measure-alignment", "measure", "measure-train", x_test=POINTS, y_test=LABELS, toy={},
                      matrix=cost, eps_values=[16], seeds=[7], store=None)["table"]
    assert list(table.pair) == ["0–1", "0–2", "1–2"] * 2 and list(table.cost[:3]) == raw
    assert set(table.error) == {0.0} and set(table.seed) == {7}
    # The bisector of the two lower centres is x = 0.5, 0.3 from each point; the bisectors meet at y = 0.425.
    assert table.length[0] == pytest.approx(0.425, abs=0.01)
    assert table.mean_distance[0] == pytest.approx(0.3, abs=1e-6)


def test_what_the_pictures_of_notebook_01_are_drawn_from():
    dataset = SimpleNamespace(classes=("a", "b", "c"), x_train=POINTS, y_train=LABELS)
    rows = [{"method": method, "eps": eps, "run": SimpleNamespace(model=nearest)}
            for method, eps in (("ce", 0), ("pgd", 48), ("wpgd", 48), ("wpgd", 16))]
    found = run_cells("01", "draw", "pairs", dataset=dataset, x_test=POINTS, y_test=(LABELS + 1) % 3,
                      models=pd.DataFrame(rows), eps_values=[16, 48], matrix=COST)
    picture = found["drawing"](nearest, "title")
    assert set(picture.xlabel) == {"test error 100.0 %"} and len(picture[picture.layer == "grid"]) == 81 ** 2
    assert picture[picture.layer == "boundary"].piece.nunique() == 3
    layers = found["layers"]
    assert list(layers.panel.unique()) == ["classes 0–2, cost 0.01", "classes 1–2, cost 1", "classes 0–1, cost 10"]
    assert set(layers.label) == {"a", "b", "c", "other", "CE, standard", "PGD, ε = 48/255", "WPGD, ε = 48/255"}


# Notebook 03 ------------------------------------------------------------------------------------------------


def test_the_interval_is_the_wider_of_seeds_and_images():
    interval = run_cells("03", "interval", cost={}, problems={}, title={})["interval"]
    images = np.random.default_rng(0).integers(0, 2, 40) * 100.0
    agreeing = np.stack([images] * 3)
    value, low, high = interval(agreeing)
    expected = bootstrap((images,), np.mean, n_resamples=1000, method="percentile", rng=np.random.default_rng(0))
    assert (value, low, high) == (images.mean(), *expected.confidence_interval) and high - low > 20
    assert interval(np.array([0.0, 10.0, 50.0])[:, None] * np.ones(40)) == over_seeds([0, 10, 50])
    assert [*interval(agreeing[:1])][1:] == [low, high]


def test_a_main_claim_of_notebook_03_has_its_own_level():
    names = run_cells("03", "interval", cost={}, problems={}, title={})
    images = np.random.default_rng(0).integers(0, 2, 40) * 100.0
    _, low, high = names["decided"](np.stack([images] * 3))
    expected = bootstrap((images,), np.mean, confidence_level=LEVEL, n_resamples=10_000, method="percentile",
                         rng=np.random.default_rng(0)).confidence_interval
    assert [low, high] == pytest.approx([*expected])
    _, low, high = names["decided"](np.array([0.0, 10.0, 50.0])[:, None] * np.ones(40))
    assert [low, high] == pytest.approx([*ttest_1samp([0, 10, 50], 0).confidence_interval(LEVEL)])


def test_the_interval_adds_the_spread_of_different_images():
    interval = run_cells("03", "interval", cost={}, problems={}, title={})["interval"]
    rng = np.random.default_rng(1)
    first, second = rng.normal(5, 10, (1, 400)), rng.normal(2, 10, (1, 300))
    value, low, high = interval(first, -second)
    assert value == pytest.approx(first.mean() - second.mean())
    assert (high - low) / 2 == pytest.approx(1.96 * np.sqrt(first.var() / 400 + second.var() / 300), rel=0.06)


def unbalanced(monkeypatch, errors):
    """Notebook 03 with answers of which, by panel and method, a share of each class is wrong, the same ones first."""
    labels = np.repeat([0, 1], 100)

    def answer(run):
        wrong = np.arange(200) % 100 < np.repeat(errors[run.panel, run.config.method], 100)
        return Evaluation(labels, np.where(wrong, 1 - labels, labels), 2)

    def found(models, recipe, **_):
        rows = []
        for entry in training.expand(models, recipe):
            config = entry.config
            val_ne = [48, 56, 50] if config.method == "pgd" else [9, 8, 7]
            history = pd.DataFrame({"epoch": [1, 2, 3], "val_ne": val_ne})
            metrics = {"train_images": 13, "train_loss": 0.5, "val_ne": history.val_ne.iloc[-1], "val_ae": 50.0}
            run = SimpleNamespace(config=config, history=history, metrics=metrics, panel=entry.tags["panel"],
                                  dataset=SimpleNamespace(classes=config.classes))
            rows.append({**entry.tags, "data": config.data, "network": config.network, "method": config.method,
                         "label": config.method.upper(), "eps": config.eps, "seed": config.seed, "run": run})
        return pd.DataFrame(rows).sample(frac=1, random_state=0)  # in no order

    monkeypatch.setattr("study.parameters.train_models", found)
    monkeypatch.setattr(evaluation, "evaluate_run", answer)
    monkeypatch.setattr(results, "Results", lambda *_: outputs())
    names = run_cells("03", "parameters", "problems", "chance", "training", "fig05", "price", "interval", "main",
                      "errors", "errors-table", "others", "fit", "time")
    claims = [*names["main"], *names["others"], *names["fit"], names["time"]]
    return {claim.id: claim for claim in claims}, names


def test_the_verdicts_of_notebook_03(monkeypatch):
    errors = {("a", "ce"): [0, 2], ("a", "pgd"): [2, 4], ("b", "ce"): [10, 10], ("b", "pgd"): [30, 30],
              ("c", "ce"): [0, 2], ("c", "pgd"): [1, 5], ("d", "ce"): [0, 30], ("d", "pgd"): [0, 100]}
    claims, names = unbalanced(monkeypatch, errors)
    values = {id: claim.interval.value for id, claim in claims.items()}
    assert values["similar-pair-suffers:dissimilar"] == pytest.approx(2)       # (2 + 2) / 2
    assert values["two-classes-suffice"] == pytest.approx(20)                  # b
    assert values["similar-pair-suffers"] == pytest.approx(18)                 # b - a
    assert values["imbalance-amplifies:similar"] == pytest.approx(15)          # d - b
    assert values["imbalance-amplifies:dissimilar"] == pytest.approx(0)        # c - a
    assert values["unbalanced-accuracy"] == pytest.approx(20)                  # PGD alone
    assert values["imbalance-amplifies:time"] == 0
    assert np.isnan(values["similar-unbalanced-chance"]), "digits are no cats and dogs"
    # The same images are wrong in d and b: paired, so that 70 images wrong in both leave no spread there.
    _, low, high = claims["two-classes-suffice"].interval
    assert high - low == pytest.approx(2 * norm.ppf((1 + LEVEL) / 2) * 100 * np.sqrt(0.2 * 0.8 / 200), rel=0.1)
    _, low, high = claims["similar-pair-suffers"].interval                     # b - a, of other images
    assert high - low == pytest.approx(2 * 1.96 * 100 * np.sqrt((0.2 * 0.8 + 0.02 * 0.98) / 200), rel=0.1)
    lost = names["tidy"].query("panel == 'd' and method == 'pgd'").iloc[0]
    assert (lost.test_ne, lost.test_first, lost.test_second) == (50, 0, 100)
    assert (lost.val_best, lost.epochs_at_chance, lost.train_images, lost.cut) == (48, 2, 13, "9")
    table = names["errors"]
    assert list(table.panel + table.method) == [panel + method for panel in "abcd" for method in ("ce", "pgd")]
    assert set(table.seeds) == {3} and str(table.val_ne[1]) == "50 [50, 50]"
