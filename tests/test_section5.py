"""Tables 2 and 3 and Figures 10 to 13 from models whose answers are known; the readings of Table 3."""

import json
from types import SimpleNamespace

import numpy as np
import pandas
import pytest
import torch

from helpers import attacks, costs, plotting, training
from helpers.claims import verdict_table
from helpers.evaluation import Evaluation
from helpers.paper import section5
from helpers.paper.files import plain
from helpers.paper.section5 import consistency

CLASSES = ("a", "b", "c")
COST = costs.CostMatrix([[0, 1, 4], [1, 0, 2], [4, 2, 0]], CLASSES)
LABELS = np.arange(300) % 3


def answer(error, seed=0):
    rng = np.random.default_rng(seed)
    wrong = rng.random(len(LABELS)) < error
    return Evaluation(LABELS, np.where(wrong, (LABELS + rng.integers(1, 3, len(LABELS))) % 3, LABELS), 3)


def run(tmp_path, method, p=1.0, network="W-16-1", seed=0):
    config = training.configure({"data": "stripes", "epochs": 2, "lr": 0.1}, method=method, p=p, eps=8,
                                network=network, seed=seed, cost=[[0, 1], [1, 0]])
    history = pandas.DataFrame({"epoch": [1, 2], "val_ne": [40.0, 30.0], "val_ae": [80.0, 60.0]})
    return SimpleNamespace(config=config, folder=tmp_path / config.label, history=history,
                           dataset=SimpleNamespace(classes=CLASSES, num_classes=3))


class KnownModels(section5.Models):
    """Models that answer at once: the attacked error is 0.2 more than the natural one and grows with p."""

    def evaluations(self, runs, attack=None):
        errors = [0.1 + (0.02 * one.config.p if one.config.method == "wpgd" else 0) + 0.2 * (attack is not None)
                  for one in runs]
        return [answer(error, one.config.seed) for error, one in zip(errors, runs, strict=True)]


@pytest.fixture
def models(tmp_path):
    attack = attacks.PGD(8 / 255)
    models = KnownModels({"cifar10": attack, "tiny-imagenet-200": attack})
    for seed in (0, 1):
        for method, p in (("ce", 0.0), ("pgd", 0.0), ("wpgd", 1.0), ("wpgd", 10.0)):
            models.add("cifar10", "W-16-10", run(tmp_path, method, p, seed=seed))
    models.add("cifar10", "W-28-10", run(tmp_path, "pgd", network="W-22-1"))
    return models


def test_models_are_found_by_the_papers_names(models):
    assert models.powers("cifar10") == [0.0, 1.0, 10.0]
    assert models.powers("cifar10", "W-28-10") == [0.0] and models.powers("tiny-imagenet-200") == []
    assert [one.config.seed for one in models.at("cifar10", "W-16-10", 10.0)] == [0, 1]
    assert models.network("cifar10", "W-28-10") == "W-22-1" and models.network("tiny-imagenet-200") == ""
    assert models.datasets() == ["cifar10"]


def test_a_run_added_twice_counts_once(models, tmp_path):
    models.add("cifar10", "W-16-10", run(tmp_path, "pgd", 0.0))
    assert len(models.runs("cifar10")) == 2


def test_the_same_runs_under_another_name_are_no_second_data_set(models, tmp_path):
    models.add("tiny-imagenet-200", "W-16-10", run(tmp_path, "pgd", 0.0))
    assert models.datasets() == ["cifar10", "tiny-imagenet-200"] and models.datasets(distinct=True) == ["cifar10"]
    models.add("tiny-imagenet-200", "W-16-10", run(tmp_path, "pgd", 0.0, seed=5))
    assert models.datasets(distinct=True) == ["cifar10", "tiny-imagenet-200"]


def test_table2_has_every_printed_column_and_leaves_out_what_is_not_there(models):
    table = section5.table2(models)
    assert len(table) == 8 and table["paper AE"].notna().all()
    pgd = table[(table.dataset == "cifar10") & (table.method == "PGD") & (table.network == "W-16-10")].iloc[0]
    assert pgd["NE"] == pytest.approx(np.mean([answer(0.1, seed).error for seed in (0, 1)]))
    assert pgd["NE low"] < pgd["NE"] < pgd["NE high"] < pgd["AE"]
    assert table[table.dataset == "tiny-imagenet-200"].NE.isna().all()
    rows = section5.compare_table2(models, table)
    assert len(rows) == 16 and len({row["quantity"] for row in rows}) == 16
    assert rows[-1]["note"] == "not part of this profile"
    assert rows[0]["note"].endswith("stands in, not comparable") == (models.title("cifar10") != "CIFAR-10")


def test_tradeoff_has_both_errors_and_says_what_is_missing(models):
    first, second = section5.tradeoff(models)["panels"]
    assert [series["p"] for series in first["series"]] == [[0.0, 1.0, 10.0]] * 2
    assert first["series"][0]["y"] == sorted(first["series"][0]["y"])
    assert second["missing"] == section5.NOT_HERE and not second["series"]


def test_curves_keep_the_panel_of_a_network_that_is_not_there(models, tmp_path):
    panels = section5.training_curves(models, "cifar10", 10.0)["panels"]
    assert ["missing" in panel for panel in panels] == [False, False, False]
    assert [series["label"] for series in panels[2]["series"]] == ["PGD, NE", "PGD, AE", "WPGD p=10, NE",
                                                                   "WPGD p=10, AE"]
    missing = section5.training_curves(models, "cifar10", 2.5)["panels"][2]
    assert missing["missing"] == section5.NOT_HERE
    assert all("missing" in panel for panel in section5.training_curves(models, "tiny-imagenet-200", 1.0)["panels"])


def test_confusions_are_means_over_seeds(models):
    pgd, wpgd = models.runs("cifar10"), models.at("cifar10", "W-16-10", 10.0)
    panels = section5.confusions(models, "cifar10", pgd, wpgd, attacks.PGD(16 / 255), ["PGD", "WPGD"])["panels"]
    mean = np.mean([answer(0.3, seed).confusion for seed in (0, 1)], axis=0)
    assert np.allclose(panels[0]["matrix"], mean)
    difference = np.array(panels[1]["matrix"]) - panels[0]["matrix"]
    assert np.allclose(panels[2]["matrix"], difference) and panels[2]["kind"] == "difference"


def test_error_claims_follow_the_answers(models):
    made = {claim.id: claim for claim in section5.error_claims(models, {"cifar10": COST}, 10.0)}
    assert made["p-preserves-accuracy"].verdict == "fails", "here NE grows with p"
    assert made["p-costs-robustness"].verdict == "holds"
    assert made["wpgd-slightly-better"].verdict == "fails"
    assert made["standard-not-robust:table2"].verdict == "fails"
    assert made["deeper-is-better:NE"].value == pytest.approx(0)
    assert set(verdict_table(made.values()).verdict) <= {"holds", "fails", "inconclusive"}


def test_direction_claims_need_the_classes_they_speak_of():
    pgd, wpgd = [answer(0.5)], [answer(0.1)]
    made = section5.direction_claims(pgd, wpgd, COST, CLASSES, "digits")
    assert [claim.verdict for claim in made] == ["holds", "not measurable", "not measurable"]
    named = section5.direction_claims(wpgd, pgd, COST, ("airplane", "bird", "cat"), "three")
    assert [claim.verdict for claim in named] == ["fails", "fails", "holds"]
    pairs = pgd[0].confusion[:2, :2]
    less = wpgd[0].confusion[:2, :2]
    wanted = 100 * (pairs[0, 1] + pairs[1, 0] - less[0, 1] - less[1, 0]) / 2
    assert named[2].value == pytest.approx(wanted)


def test_scores_of_every_attacker(models):
    scores = section5.Scores(models, {"cifar10": COST}, {"cifar10": 8}, steps=2, lam=10.0)
    assert scores.rows == [("cifar10", "W-16-10", p) for p in (0.0, 1.0, 10.0)] + [("cifar10", "W-28-10", 0.0)]
    row = scores.rows[2]
    for attack in scores.attacks:
        score, error, cost = (one(row, attack).value for one in (scores.score, scores.error, scores.per_error))
        assert score == pytest.approx(3 * error / 100 * cost, rel=0.02)
    assert scores.relative(scores.rows[0], scores.attacks[0]) == (0, 0, 0)
    assert scores.order("cifar10", scores.attacks[0], "error").value == 1
    assert scores.answers(("cifar10", "W-28-10", 2.5), scores.attacks[0]) == []


def test_two_models_have_a_difference_but_no_order(models):
    answers = [models.evaluations(models.at("cifar10", "W-16-10", p)) for p in (0.0, 1.0, 10.0)]
    assert section5.models.order(answers, COST).low is not None
    assert np.isnan(section5.models.order(answers[:2], COST).value)


def test_table3_and_its_comparison(models):
    scores = section5.Scores(models, {"cifar10": COST}, {"cifar10": 8}, steps=2, lam=10.0)
    table = section5.table3(scores)
    assert len(table) == 4 and table["paper S"].tolist() == [-0.14, -0.26, -0.53, 0.0]
    rows = section5.compare_table3(scores)
    assert len(rows) == 20 and len({row["quantity"] for row in rows}) == 20
    ours = {row["quantity"]: row["ours"] for row in rows}
    assert ours["Table 3, CIFAR-10, W-28-10, p = 0: S"] == 0
    assert ours["Table 3, CIFAR-10, W-16-10, p = 2.5: S"] is None
    assert len(section5.attack_table(scores)) == 4 * 6
    # With p = 0 both meet the same attacker anyway; elsewhere PGD is attacked once more, with the p of the row.
    assert table["relative S same attacker"].iloc[[0, -1]].tolist() == [0, 0]
    asked, real = [], models.evaluations

    def evaluations(runs, attack=None):
        asked.append(([one.config.method for one in runs], attack.describe()["p"], [one.config.seed for one in runs]))
        return real(runs, attack)

    models.evaluations = evaluations
    row = ("cifar10", "W-16-10", 10.0)
    assert scores.relative_under_own(row) == scores.relative(row, "Wasserstein, trained p")
    assert asked == [(["pgd", "pgd"], 10.0, [0, 1])]
    assert {claim.verdict for claim in section5.score_claims(scores)} <= {"fails", "holds", "inconclusive"}


def test_attackers_differ_in_nothing_but_loss_and_start():
    known = section5.score_attacks(COST, 2.5, eps=8, steps=3, lam=10.0)
    described = [attack.describe() for starts in known.values() for attack in starts]
    assert {one["eps"] for one in described} == {8 / 255} and {one["steps"] for one in described} == {3}
    assert [one.get("p") for one in described] == [None, None, 2.5, 1.0, 1.0, 1.0]
    assert [one["seed"] for one in described] == [0, 0, 0, 0, 0, 1]


def test_everything_that_is_drawn_is_json_and_draws(models):
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    from test_plotting import check_layout

    scores = section5.Scores(models, {"cifar10": COST}, {"cifar10": 8}, steps=2, lam=10.0)
    pgd, wpgd = models.runs("cifar10"), models.at("cifar10", "W-16-10", 10.0)
    titles = ["PGD", "WPGD p=10"]
    drawn = [(plotting.tradeoff, section5.tradeoff(models)),
             (plotting.curves, section5.training_curves(models, "cifar10", 2.5)),
             (plotting.curves, section5.training_curves(models, "tiny-imagenet-200", 2.5, "column")),
             (plotting.matrices, section5.confusions(models, "cifar10", pgd, wpgd, attacks.PGD(16 / 255), titles)),
             (plotting.bars, section5.reached({0.0: answer(0.5), 1.0: answer(0.4)}, COST, CLASSES, "digits")),
             (plotting.against_p, section5.score_panels(scores, ["cifar10", "tiny-imagenet-200"])),
             (plotting.against_p, section5.implied())]
    for draw, data in drawn:
        data = json.loads(json.dumps(plain(data)))
        fig = draw([("quick: " + data["title"], data)])
        check_layout(fig)
        matplotlib.pyplot.close(fig)


def test_same_complexity_times_both_losses():
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 3))
    seen = []

    def loss(logits, labels):
        seen.append(len(labels))
        return logits.sum(dim=1)

    claim = section5.same_complexity(model, torch.rand(5, 1, 2, 2), torch.arange(5) % 3, loss, loss, eps=8, steps=2,
                                     repeats=3)
    assert len(seen) == 2 * 2 * 4 and claim.low < claim.value < claim.high


def table_of(*rows):
    return pandas.DataFrame([{"dataset": "cifar10", "network": "W-16-10", "p": p, "AE": error, "S": score}
                             for p, error, score in rows])


def verdicts(monkeypatch, table):
    monkeypatch.setattr(consistency, "printed_table", lambda name: table)
    frame = section5.readings(["cifar10"])
    return frame.set_index(["metric", "C", "M", "sign", "attack"]).verdict


def test_readings_accept_what_a_metric_gives_and_refuse_the_rest(monkeypatch):
    key = ("path", "largest 1", "rows sum to 1", "as printed", "that of AE")
    # 10 classes: 40 % errors at a mean cost of 0.5 and of 0.4 give S = 2.0 and 1.6.
    assert verdicts(monkeypatch, table_of((0.0, 40.0, 0.0), (10.0, 40.0, -0.4)))[key] == "possible"
    # A fall by more than K * AE * the largest cost needs no metric to be refused.
    found = verdicts(monkeypatch, table_of((0.0, 40.0, 0.0), (10.0, 40.0, -4.1)))
    assert found[key] == "impossible"
    assert found["path_similarity", "largest 1", "rows sum to 1", "as printed", "that of AE"] == "impossible"
    # The same with the sign turned: S rises by more than can be.
    assert found["path", "largest 1", "rows sum to 1", "reversed", "that of AE"] == "impossible"
    # Counts of 10,000 images make 4.1 a trifle beside 4,000 errors.
    assert found["path", "largest 1", "counts", "as printed", "that of AE"] == "by chance"


def test_a_low_contrast_metric_cannot_give_a_large_fall(monkeypatch):
    # At equal AE, S can fall by no more than K * AE * (average - nearest): 4 * (0.945 - 0.823) = 0.49.
    for fall, verdict in ((0.45, "possible"), (0.55, "if distant"), (1.3, "impossible")):
        found = verdicts(monkeypatch, table_of((0.0, 40.0, 0.0), (10.0, 40.0, -fall)))
        assert found["path_similarity", "largest 1", "rows sum to 1", "as printed", "that of AE"] == verdict


def test_implied_costs_reproduce_the_printed_scores():
    spread = consistency.error_costs(costs.wordnet_cost("cifar10").normalized)
    assert spread.lowest <= spread.nearest <= spread.average <= spread.farthest <= spread.highest == 1
    series = section5.implied(["cifar10"], ["path"])["panels"][0]["series"][0]
    absolute = [10 * error / 100 * cost for error, cost in zip((34.53, 34.62, 34.98, 39.76), series["y"], strict=True)]
    assert np.diff(absolute) == pytest.approx(np.diff([-0.14, -0.26, -0.34, -0.53]))
    assert series["p"] == [0.0, 1.0, 2.5, 10.0] and series["y"][0] == pytest.approx(spread.average)


def test_summary_has_a_column_for_each_reading():
    frame = section5.readings(["cifar10"])
    table = section5.summary(frame)
    assert table.shape == (12, 8) and table.notna().all().all()
    assert len(frame) == 4 * 3 * 4 * 2 * 2


def test_formatted_writes_intervals_and_dashes():
    frame = pandas.DataFrame([{"x": 1.0, "x low": 0.5, "x high": 2.0, "name": "a"},
                              {"x": np.nan, "x low": None, "x high": None, "name": ""}])
    shown = section5.formatted(frame, {"name": "model", "x": "error"})
    assert shown.to_dict("list") == {"model": ["a", "–"], "error": ["1 [0.5, 2]", "–"]}


# --- lambda and metric ------------------------------------------------------------------------------------------

def test_the_ablation_counts_s_with_the_metric_of_its_row_against_pgd_of_the_same_seed(models, tmp_path):
    def variant(cost, lam, seed=0):
        one = run(tmp_path / f"{lam}", "wpgd", 10.0, seed=seed)
        config = training.configure(one.config.to_dict(), lam=lam)
        return SimpleNamespace(**{**vars(one), "config": config, "cost": cost})

    other = costs.CostMatrix([[0, 1, 1], [1, 0, 5], [1, 5, 0]], CLASSES, name="other")
    runs = [variant(COST, 10.0), variant(COST, 10.0, seed=1), variant(COST, 1.0), variant(other, 10.0)]
    frame = section5.ablation_table(models, "cifar10", runs, eps=8, steps=2)
    assert list(frame["metric"]) == [COST.name, COST.name, "other"] and list(frame["lambda"]) == ["10", "1", "10"]
    assert list(frame["seeds"]) == [2, 1, 1]
    # The answers are known: natural error 0.3, attacked 0.5, of PGD 0.3; the cost of a row counts both.
    for place, cost, seeds in ((0, COST, (0, 1)), (1, COST, (0,)), (2, other, (0,))):
        row = frame.iloc[place]
        ours = [answer(0.5, seed).confusion for seed in seeds]
        theirs = [answer(0.1 + 0.2, seed).confusion for seed in seeds]
        score = np.mean([(cost.normalized * M).sum() for M in ours])
        zero = np.mean([(cost.normalized * M).sum() for M in theirs])
        assert row["AE"] == pytest.approx(100 * np.mean([1 - np.trace(M) / 3 for M in ours]))
        assert row["NE"] == pytest.approx(100 * np.mean([1 - np.trace(answer(0.3, s).confusion) / 3 for s in seeds]))
        for name in section5.ABLATION_ATTACKS:
            assert row[f"S, {name}"] == pytest.approx(score)
            assert row[f"change, {name}"] == pytest.approx(100 * (score - zero) / zero)
            assert row[f"change, {name} low"] < row[f"change, {name}"] < row[f"change, {name} high"]
    assert section5.ablation_verdicts(frame)[1].startswith(f"{COST.name}, lambda = 1: S rises (cross entropy)")


def test_the_ablation_attacks_with_the_rows_own_loss_and_pgd_with_p_0(models, tmp_path, monkeypatch):
    asked = []
    def listen(self, runs, attack=None):
        if attack is not None:
            asked.append((runs[0].config.method, attack.describe()))
        return [answer(0.2, one.config.seed) for one in runs]
    monkeypatch.setattr(KnownModels, "evaluations", listen)
    one = run(tmp_path / "x", "wpgd", 10.0)
    config = training.configure(one.config.to_dict(), lam=3.0)
    section5.ablation_table(models, "cifar10", [SimpleNamespace(**{**vars(one), "config": config, "cost": COST})],
                            eps=8, steps=2)
    wasserstein = [(method, told["p"], told["lam"]) for method, told in asked if told["loss"] == "wasserstein"]
    assert wasserstein == [("wpgd", 10.0, 3.0), ("pgd", 0.0, 3.0), ("wpgd", 1.0, 3.0), ("pgd", 1.0, 3.0)]
    assert {told["cost"] for _, told in asked if "cost" in told} == {COST.digest}
