"""Notebooks 06 and 08 with models whose answers are known, and the readings of Table 3."""
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pandas
import pytest
import torch
from scipy.special import log_softmax
from sklearn.metrics import recall_score
from test_notebooks_02_04 import functions

from helpers import attacks, audit, costs, evaluation, losses
from helpers.evaluation import Evaluation
from helpers.intervals import bootstrap, tau
from jobs.evaluate import planned_attacks
from study import results
from study.claims import decide

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"
COMMITTED = NOTEBOOKS.parent / "results" / "quick"
CLASSES = ("a", "b", "c")
METRICS = {"one": costs.CostMatrix([[0, 1, 4], [1, 0, 2], [4, 2, 0]], CLASSES, name="one"),
           "other": costs.CostMatrix([[0, 1, 1], [1, 0, 5], [1, 5, 0]], CLASSES, name="other")}
LABELS = np.arange(300) % 3


def known(error, seed=0):
    """Answers of which a share is wrong, paired over errors: more errors are the same ones and some more."""
    rng = np.random.default_rng(seed)
    draw, shift = rng.random(len(LABELS)), rng.integers(1, 3, len(LABELS))
    return Evaluation(LABELS, np.where(draw < error, (LABELS + shift) % 3, LABELS), 3)


def answer(run, attack=None, limit=None, **_):
    """Errors grow with the model's p; each attacker finds another share, Eq. (5) with a large p the fewest."""
    config = run.config
    error = 0.1 + (0.02 * config.p if config.method == "wpgd" else 0)
    if isinstance(attack, attacks.PGD):
        assert (attack.norm, attack.steps) == (config.norm, 20)
        name = attack.describe()
        error += 0.2 - 0.01 * name.get("p", 0) + (0.05 if "margin" in name["loss"] else 0) + 0.01 * attack.seed
    elif attack is not None:
        assert attack.norm == config.norm
        error += 0.3
    return known(error, config.seed)


def row(method="wpgd", p=1.0, seed=0, network="W-16-10", cost="one", lam=10.0, panel="", data="cifar10"):
    config = SimpleNamespace(method=method, p=p, seed=seed, norm="l2", lam=lam, label=f"{method} {p:g}", val_eps=38.0,
                             classes=None)
    run = SimpleNamespace(config=config, folder=Path(f"{method} {p} {seed} {network} {cost} {lam}"),
                          dataset=SimpleNamespace(classes=CLASSES, name="digits"), model=None, made={})
    p = p if method == "wpgd" else 0.0
    return {"paper_data": data, "paper_network": network, "panel": panel, "data": "mnist5k", "network": "W-10-1",
            "method": method, "p": p, "lam": lam, "cost": cost, "eps": 38.0, "seed": seed, "label": config.label,
            "run": run}


def execute(name, rows, folder, **parameters):
    """Run the code of a notebook with models of known answers; what its names stand for, and who attacked which run."""
    asked, names = {}, {}

    def noted(run, attack=None, **_):
        asked.setdefault(run.folder, []).append(attack and attack.describe())
        return answer(run, attack)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluation, "evaluate_run", noted)
        patch.setattr("study.parameters.train_models", lambda *_, **__: pandas.DataFrame(rows))
        patch.setattr(costs, "from_spec", lambda spec, dataset: METRICS[spec])
        patch.setattr(audit, "audit", lambda run, **settings: {"model": run.config.label, "norm": run.config.norm,
                                                               **settings, "verdict": "trust"})
        patch.setattr("study.parameters.changed", lambda *_: {})
        patch.setattr(results, "REPO_ROOT", folder)
        patch.setattr(results.Results, "figure", lambda self, figure, *_: figure)
        for cell in nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4).cells:
            if cell.cell_type == "code":
                exec(compile(cell.source, name, "exec"), names)
            if "parameters" in cell.metadata.get("tags", []):
                names |= {"results": folder, **parameters}
    plt.close("all")
    return SimpleNamespace(asked=asked, folder=folder / "quick", **names)


@pytest.fixture(scope="module")
def table3(tmp_path_factory):
    return execute("06_table3", main_rows(), tmp_path_factory.mktemp("06"))


@pytest.fixture(scope="module")
def appendix(tmp_path_factory):
    rows = [row("pgd", panel="audit"), row("pgd", seed=1, panel="audit"), row(p=2.5, panel="audit"),
            row(p=2.5, panel="ablation"), row(p=2.5, seed=1, panel="ablation"), row(p=2.5, lam=1.0, panel="ablation"),
            row(p=2.5, cost="other", panel="ablation")]
    return execute("08_table3_appendix", rows, tmp_path_factory.mktemp("08"))


def main_rows():
    models = [("pgd", 1.0), ("wpgd", 10.0), ("wpgd", 1.0), ("wpgd", 2.5)]
    return [row(*model, seed) for model in models for seed in (0, 1)] + [row("pgd", network="W-28-10")] \
        + [row(*model, data="tiny-imagenet-200") for model in models]


def weighed(error, seed=0, cost=METRICS["one"]):
    """S of Eq. (7), summed up as it is printed."""
    matrix, largest = known(error, seed).confusion, cost.values.max()
    return sum(cost.values[i, j] / largest * matrix[i, j] for i in range(3) for j in range(3))


def test_table3_is_s_of_each_model_under_its_own_attacker_and_minus_pgd(table3):
    table = table3.table3
    assert [tuple(one) for one in table[["paper_data", "paper_network", "p"]].to_numpy()] == [
        ("cifar10", "W-16-10", 0), ("cifar10", "W-16-10", 1), ("cifar10", "W-16-10", 2.5), ("cifar10", "W-16-10", 10),
        ("cifar10", "W-28-10", 0), *(("tiny-imagenet-200", "W-16-10", p) for p in (0, 1, 2.5, 10))]
    for _, one in table[:4].iterrows():
        clean, p, seeds = 0.1 + 0.02 * one.p, one.p, (0, 1)
        mean = {name: np.mean([weighed(error, seed) for seed in seeds]) for name, error in (
            ("own", clean + 0.2 - 0.01 * p), ("plain", clean + 0.19), ("pgd", 0.3), ("pgd own", 0.3 - 0.01 * p),
            ("pgd plain", 0.29))}
        assert one["AE CE"].value == pytest.approx(np.mean([known(clean + 0.2, seed).error for seed in seeds]))
        assert one["AE"].value == pytest.approx(np.mean([known(clean + 0.2 - 0.01 * p, seed).error for seed in seeds]))
        assert one["S"].value == pytest.approx(mean["own"]) and one["S p=1"].value == pytest.approx(mean["plain"])
        assert one["S - PGD"].value == pytest.approx(mean["own"] - mean["pgd"], abs=1e-9)
        assert one["S - PGD, same attacker"].value == pytest.approx(mean["own"] - mean["pgd own"], abs=1e-9)
        assert one["S - PGD p=1"].value == pytest.approx(mean["plain"] - mean["pgd plain"], abs=1e-9)
        assert one["S"].low < one["S"].value < one["S"].high
    # Paired: the same answers differ by nothing in any resample, and few more errors are more in all of them.
    assert set(table.images) == {300}
    assert tuple(table["S - PGD"][0]) == (0, 0, 0) and table["S - PGD"][3].low > 0
    written = pandas.read_csv(table3.folder / "tables" / "table3.csv")
    assert written["S high"].tolist() == pytest.approx([one.high for one in table["S"]], rel=1e-5)
    assert table["paper S"][:5].tolist() == [-0.14, -0.26, -0.34, -0.53, 0.0]


def test_the_worst_of_all_attackers_and_the_verdicts(table3):
    table = table3.attack_table.set_index(["paper_data", "paper_network", "p", "attack"])
    for p in (0.0, 1.0, 2.5, 10.0):
        one = table.loc["cifar10", "W-16-10", p]
        assert one.loc["worst of all", "S"].value >= max(cell.value for cell in one.S)
        assert one.loc["margin", "AE"].value > one.loc["cross entropy", "AE"].value
        assert one.loc["Wasserstein, p = 1, 2 starts", "S"].value >= one.loc["Wasserstein, p = 1", "S"].value
        score, mean, error = (one.loc["margin", name].value for name in ("S", "cost per error", "AE"))
        assert score == pytest.approx(3 * error / 100 * mean, rel=0.01)  # S = K AE (mean cost of an error)
    claims = pandas.read_csv(table3.folder / "claims.csv").set_index("id")
    # The digits that stand in for both data sets are judged once: 13 statistics, and 2 that need PGD's weights. More
    # errors with p: S rises.
    assert len(claims) == 15 and (claims.verdict == "not measurable").sum() == 2 and claims.index[0] == "p-lowers-score"
    assert claims.loc["p-lowers-score", ["value", "verdict"]].tolist() == [1.0, "fails"]
    assert claims.loc["p-costs-robustness:worst", "verdict"] == "holds"
    assert claims.statistic[:-2].str.startswith("5,000 MNIST digits, W-10-1, 2 seeds, 300 test images: ").all()
    unweighted = claims.statistic[-2:]
    assert unweighted.str.startswith("5,000 MNIST digits, W-10-1, 0 seeds, 300 test images: ").all(), "no weights"


def test_the_main_claim_has_its_own_level_and_the_others_95_percent(table3):
    claims = pandas.read_csv(table3.folder / "claims.csv").set_index("id")
    models = [[known(0.3 + 0.01 * p, seed) for seed in (0, 1)] for p in (0.0, 1.0, 2.5, 10.0)]
    order = partial(lambda score, *answers: tau([score(one) for one in answers]),
                    partial(evaluation.weighted_score, METRICS["one"]))
    for name, found in (("p-lowers-score", decide(order, *models)), ("p-lowers-score:0", bootstrap(order, *[
            [known(0.3 + 0.02 * p, seed) for seed in (0, 1)] for p in (0.0, 1.0, 2.5, 10.0)]))):
        assert claims.loc[name, ["value", "low", "high"]].tolist() == pytest.approx([*found], 1e-4)


def test_the_worst_class_stands_beside_the_mean_under_the_models_own_attacker_and_the_worst(table3):
    table = table3.worst_classes
    assert list(table.p) == [0, 0, 1, 1, 2.5, 2.5, 10, 10] and set(table.images) == {300}
    assert set(table.attack) == {"Wasserstein, trained p", "worst of all"} and set(table.data) == {"mnist5k"}
    own = table[table.attack != "worst of all"].set_index("p")
    for p, one in own.iterrows():
        recalls = [recall_score(LABELS, known(0.3 + 0.01 * p, seed).predictions, average=None) for seed in (0, 1)]
        assert one["AE, worst class"].value == pytest.approx(np.mean([100 * (1 - recall.min()) for recall in recalls]))
        assert set(one["AE of"].split(", ")) == {CLASSES[recall.argmin()] for recall in recalls}
    worst = table[table.attack == "worst of all"]["AE, worst class"].map(lambda one: one.value)
    assert (worst.to_numpy() >= [one.value for one in own["AE, worst class"]]).all()


@pytest.mark.parametrize("name", ["05", "06"])
def test_a_mirrored_interval_ends_within_what_an_error_can_be(name):
    notebook, labels = functions(name, eps=4), np.arange(1000) % 10
    few = np.where(np.arange(1000) < 6, (labels + 1) % 10, labels)  # 1 % of six classes, 3 in resamples
    for answers, below in ((few, True), ((few + 1) % 10, False)):  # a few wrong, all wrong
        seeds = [Evaluation(labels, answers, 10)]
        mirrored, found = bootstrap(notebook.worst, seeds, method="basic"), notebook.worst_class(seeds)
        assert (mirrored.low < 0) == below
        assert (found.value, found.low, found.high) == (mirrored.value, max(mirrored.low, 0), min(mirrored.high, 100))
    assert str(notebook.worst_class([])) == "–"


def test_the_first_and_the_last_model_over_p_are_audited(table3):
    audits = pandas.read_csv(table3.folder / "tables" / "table3_audit.csv")
    assert audits[["model", "pgd_steps", "queries", "verdict"]].to_numpy().tolist() == [
        [model, 20, 25, "trust"] for model in ("pgd 1", "wpgd 10")]


def test_printed_numbers_stand_beside_ours_relative_to_the_papers_zero(table3):
    frame = pandas.read_csv(table3.folder / "paper_vs_ours.csv").set_index("quantity")
    ours = frame.loc["Table 3, CIFAR-10, W-16-10, p = 10: S", "ours"]
    assert ours == pytest.approx(weighed(0.4) - weighed(0.3), rel=1e-4)  # of the seed that W-28-10 has, too
    assert frame.loc["Table 3, CIFAR-10, W-28-10, p = 0: S", "ours"] == 0
    assert frame.loc["Table 3, Tiny-ImageNet, W-28-10, p = 1: S", "note"] == "not part of this profile"
    assert "minus S of PGD W-28-10" in frame.loc["Table 3, CIFAR-10, W-16-10, p = 1: S", "note"]


def test_two_models_have_a_difference_but_no_order(tmp_path):
    folder = execute("06_table3", [row("pgd"), row(p=10.0)], tmp_path).folder
    claims = pandas.read_csv(folder / "claims.csv").set_index("id")
    assert claims.loc["p-lowers-score", "verdict"] == "not measurable"
    assert claims.loc["p-lowers-score:most-worst", "verdict"] == "fails"
    # Without the network whose S is the paper's zero, the empty cell says why.
    frame = pandas.read_csv(folder / "paper_vs_ours.csv").set_index("quantity")
    beside = frame.loc["Table 3, CIFAR-10, W-16-10, p = 10: S"]
    assert pandas.isna(beside["ours"]) and beside["note"].endswith("minus S of PGD W-28-10 (missing)")


def test_a_plan_makes_the_answers_that_notebook_06_asks_for(table3, monkeypatch):
    monkeypatch.setattr(costs, "from_spec", lambda spec, dataset: METRICS[spec])
    for one in main_rows()[:8]:
        planned = planned_attacks(one["run"], eps=[38.0], metric="one", powers=[1.0, 2.5, 10.0])
        wanted = {repr(attack.describe()) for attack in planned} | {"None"}  # and natural images, always
        assert {repr(attack) for attack in table3.asked[one["run"].folder]} == wanted


def test_models_are_compared_with_deciding_by_cost_under_the_costlier_of_two_attackers(table3):
    table, K = table3.decisions.set_index("model"), 3
    assert list(table.index) == ["PGD + CRM", "PGD", "WPGD p = 1", "WPGD p = 2.5", "WPGD p = 10"]
    assert np.isnan(table.loc["PGD + CRM", "S"].value), "these runs have no weights"
    for name, p in (("PGD", 0.0), ("WPGD p = 10", 10.0)):
        one = table.loc[name]
        under = table3.attack_table.set_index(["paper_data", "paper_network", "p", "attack"])
        under = under.loc["cifar10", "W-16-10", p]
        assert one.S.value >= max(under.loc[attack, "S"].value for attack in ("Wasserstein, p = 1", "margin"))
        assert one.S.value <= under.loc["worst of all", "S"].value
        assert one.S.value == pytest.approx(K * one.AE.value / 100 * one["cost per error"].value, rel=0.01)
    assert table.loc["WPGD p = 10", "S - PGD"].value == pytest.approx(
        table.loc["WPGD p = 10", "S"].value - table.loc["PGD", "S"].value)


# --- notebook 08 ---

def test_the_ablation_counts_s_with_the_metric_of_its_row_against_pgd_of_the_same_seed(appendix):
    frame, found = appendix.ablation, appendix.found
    assert list(frame.metric) == ["one", "one", "one", "other"] and list(frame["lambda"]) == ["10", "10", "1", "10"]
    for (_, one), seed in zip(frame.iterrows(), (0, 1, 0, 0)):
        cost = METRICS[one.metric]
        assert one.NE.value == pytest.approx(known(0.15, seed).error)
        assert one.AE.value == pytest.approx(known(0.35, seed).error)
        attackers = ("cross entropy", 0, 0), ("Wasserstein, trained p", 2.5, 0), ("Wasserstein, p = 1", 1, 1)
        for name, p, zero in attackers:
            ours, theirs = weighed(0.35 - 0.01 * p, seed, cost), weighed(0.3 - 0.01 * zero, seed, cost)
            assert one[f"S, {name}"].value == pytest.approx(ours)
            assert one[f"change, {name}"].value == pytest.approx(100 * (ours - theirs) / theirs)
            assert one[f"change, {name}"].low <= one[f"change, {name}"].value <= one[f"change, {name}"].high
    assert list(found.model) == ["pgd 1", "pgd 1", "wpgd 2.5"]
    assert found.missed[0].value == pytest.approx(found["AE AutoAttack"][0].value - found["AE PGD"][0].value)


def test_the_attacker_of_dear_mistakes_has_the_cross_entropy_without_the_near_classes(rng):
    logits, labels = torch.randn(20, 6, generator=rng, dtype=torch.double), torch.randint(6, (20,), generator=rng)
    cost = costs.CostMatrix([[0, 1, 1, 2, 3, 3], [1, 0, 1, 2, 3, 3], [1, 1, 0, 2, 3, 3], [2, 2, 2, 0, 3, 3],
                             [3, 3, 3, 3, 0, 1], [1, 1, 1, 1, 0.5, 0]], list("abcdef"), symmetric=False)
    dear_only = functions("08").dear_only
    for level in (0.5, 2, 3):
        ours = dear_only(cost, level)(logits, labels)
        for value, z, y in zip(ours, logits, labels):
            # The last class has no mistake that costs more than 1: there the dearest ones stand for it.
            kept = [k for k in range(6) if k == y or cost.values[y, k] >= min(level, cost.values[y].max())]
            assert float(value) == pytest.approx(-log_softmax(z[kept].numpy())[kept.index(int(y))], abs=1e-9)
    lowest = dear_only(cost, 0.5)(logits, labels)
    assert torch.equal(lowest, losses.cross_entropy(logits, labels)), "no class is nearer than the nearest"
    told = {"loss": "hierarchical", "level": 1.0, "cost": cost.digest}
    assert losses.describe(dear_only(cost, np.float64(1))) == told


def test_without_images_nothing_is_audited(tmp_path):
    rows = [row("pgd", panel="audit"), row(p=2.5, panel="ablation")]
    tables = execute("08_table3_appendix", rows, tmp_path, audit={"images": 0}).folder / "tables"
    assert (tables / "table3_ablation.csv").exists() and not (tables / "table3_autoattack.csv").exists()


def test_the_mean_costs_that_are_implied_reproduce_the_printed_scores(appendix):
    drawn = appendix.drawn
    one = drawn[(drawn.panel == "CIFAR-10, path") & (drawn.sign == "sign as printed")]
    absolute = [10 * error / 100 * cost.value for error, cost in zip((34.53, 34.62, 34.98, 39.76), one.cost)]
    assert np.diff(absolute) == pytest.approx(np.diff([-0.14, -0.26, -0.34, -0.53]))
    assert one.p.tolist() == [0.0, 1.0, 2.5, 10.0] and one.cost.iloc[0].value == pytest.approx(one.average.iloc[0])
    assert one.cost.iloc[0].low == pytest.approx(one.nearest.iloc[0])


# --- the readings of the printed numbers ---

def verdict(appendix, *rows, metric="path", norm="rows sum to 1", sign="as printed"):
    table = pandas.DataFrame(rows, columns=["p", "AE", "S"])
    cost = costs.wordnet_cost("cifar10", distance=metric)
    spread = appendix.ErrorCosts(*np.transpose([appendix.error_costs(cost.normalized)] * len(table)))
    return appendix.reading(table, spread, appendix.NORMS[norm](10), appendix.SIGNS[sign], "that of AE")[0]


def test_readings_accept_what_a_metric_gives_and_refuse_the_rest(appendix):
    # 10 classes: 40 % errors at a mean cost of 0.5 and of 0.4 give S = 2.0 and 1.6.
    assert verdict(appendix, (0.0, 40.0, 0.0), (10.0, 40.0, -0.4)) == "possible"
    # A fall by more than K * AE * the largest cost needs no metric to be refused.
    rows = (0.0, 40.0, 0.0), (10.0, 40.0, -4.1)
    assert verdict(appendix, *rows) == verdict(appendix, *rows, metric="path_similarity") == "impossible"
    # The same with the sign turned: S rises by more than can be.
    assert verdict(appendix, *rows, sign="reversed") == "impossible"
    # Counts of 10,000 images make 4.1 a trifle beside 4,000 errors.
    assert verdict(appendix, *rows, norm="counts") == "by chance"


def test_a_low_contrast_metric_cannot_give_a_large_fall(appendix):
    # At equal AE, S can fall by no more than K * AE * (average - nearest): 4 * (0.945 - 0.823) = 0.49.
    for fall, expected in ((0.45, "possible"), (0.55, "if distant"), (1.3, "impossible")):
        rows = (0.0, 40.0, 0.0), (10.0, 40.0, -fall)
        assert verdict(appendix, *rows, metric="path_similarity") == expected


def test_every_reading_of_both_data_sets_has_a_verdict(appendix):
    frame = appendix.readings
    assert len(frame) == 2 * 4 * 3 * 4 * 2 * 2 and frame.verdict.notna().all()
    committed = pandas.read_csv(COMMITTED / "tables" / "table3_readings.csv")
    written = pandas.read_csv(appendix.folder / "tables" / "table3_readings.csv")
    pandas.testing.assert_frame_equal(written, committed, check_exact=True)
    spread = appendix.error_costs(costs.wordnet_cost("cifar10").normalized)
    assert spread.lowest <= spread.nearest <= spread.average <= spread.farthest <= spread.highest == 1
