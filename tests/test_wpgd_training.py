"""Notebook 05 with models whose answers are known: Table 2, Fig. 10 to 13, the inner attack and the claims."""
from pathlib import Path
from types import SimpleNamespace

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import recall_score

from helpers import audit, costs, evaluation, training
from helpers.evaluation import Evaluation
from helpers.intervals import bootstrap
from study import paper, results
from study.claims import decide
from study.results import merge

NOTEBOOK = Path(__file__).resolve().parents[1] / "notebooks" / "05_wpgd_training.ipynb"
CLASSES = ("airplane", "bird", "cat")
COST = costs.CostMatrix([[0, 1, 4], [1, 0, 2], [4, 2, 0]], CLASSES)
LABELS = np.arange(300) % 3
HISTORY = pd.DataFrame({"epoch": [1, 2], "val_ne": [40.0, 30.0], "val_ae": [80.0, 60.0]})


def known(error, seed=0):
    """Answers of which a share is wrong, paired over errors: more errors are the same ones and some more."""
    rng = np.random.default_rng(seed)
    draw, shift = rng.random(len(LABELS)), rng.integers(1, 3, len(LABELS))
    return Evaluation(LABELS, np.where(draw < error, (LABELS + shift) % 3, LABELS), 3)


def row(method, p=1.0, seed=0, paper_network="W-16-10", paper_data="cifar10"):
    network, name = ("W-10-1" if paper_network == "W-16-10" else "W-16-1"), method.upper()
    config = SimpleNamespace(method=method, p=p, seed=seed, norm="l2", lam=10.0, data="mnist5k", network=network)
    images = torch.randint(0, 256, (len(LABELS), 1, 2, 2), dtype=torch.uint8, generator=torch.manual_seed(0))
    run = SimpleNamespace(
        config=config, folder=Path(f"{method} {p} {seed} {network}"), history=HISTORY + 5 * seed * (HISTORY > 9),
        dataset=SimpleNamespace(classes=CLASSES, x_test=images, y_test=torch.from_numpy(LABELS)), made={},
        model=torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 3)))
    return {"paper_data": paper_data, "paper_network": paper_network, "panel": "", "data": "mnist5k", "eps": 38.0,
            "network": network, "method": method, "p": {"ce": np.nan, "pgd": 0.0}.get(method, p), "lam": 10.0,
            "cost": "known", "seed": seed, "label": f"WPGD p={p:g}" if method == "wpgd" else name, "run": run}


def natural(p, seed=0):
    return known(0.3 - 0.02 * p, seed)


def attacked(p, seed=0):
    return known(0.3 + 0.02 * p, seed)


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    models = [("ce", 1.0), ("pgd", 1.0), ("wpgd", 10.0), ("wpgd", 1.0), ("wpgd", 2.5)]
    rows = [row(*model, seed) for seed in (0, 1) for model in models] + [row("pgd", paper_network="W-28-10")] \
        + [row(*model, paper_data="tiny-imagenet-200") for model in models]      # the same runs as of cifar10
    return executed(rows, tmp_path_factory.mktemp("05"))


def executed(rows, folder):
    """What the names of the notebook stand for after it was run, and the attacks that each run met."""
    asked, names = [], {}

    def evaluate_run(run, attack=None, *, limit=None):
        assert limit == (None if attack is None else 500), "NE of all test images, AE of some"
        p = run.config.p if run.config.method == "wpgd" else 0.0
        if attack is None:
            return natural(p, run.config.seed)
        asked.append(attack.describe())
        return attacked(p, run.config.seed)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluation, "evaluate_run", evaluate_run)
        patch.setattr("study.parameters.train_models", lambda *_, **__: pd.DataFrame(rows))
        patch.setattr(training, "train", lambda *_, **__: pytest.fail("the notebook trains by its first cells alone"))
        patch.setattr(costs, "from_spec", lambda spec, dataset: COST)
        patch.setattr(audit, "audit", lambda run, **how: {"model": run.config.p, "norm": "l2", **how,
                                                          "verdict": "trust"})
        patch.setattr("study.parameters.changed", lambda *_: {})
        patch.setattr(results, "REPO_ROOT", folder)
        patch.setattr(results.Results, "figure", lambda self, figure, *_: figure)
        for cell in nbformat.read(NOTEBOOK, as_version=4).cells:
            if cell.cell_type == "code":
                exec(compile(cell.source, cell.source[:40], "exec"), names)
            if "parameters" in cell.metadata.get("tags", []):
                names |= {"results": folder, "natural_images": 0}
    plt.close("all")
    return SimpleNamespace(asked=asked, folder=folder / "quick", **names)


@pytest.fixture(scope="module")
def claims(book):
    return pd.read_csv(book.folder / "claims.csv").set_index("id")


def read(book, name):
    return merge(pd.read_csv(book.folder / "figures" / f"{name}.csv", keep_default_na=False, na_values=[""]))


def share(answer, cells):
    """Images [%] that end in some cells, each class weighing the same, summed up as it is said."""
    return 100 / 3 * sum(answer.confusion[cell] for cell in cells)


def test_table2_has_every_printed_cell_and_leaves_out_what_is_not_there(book):
    table = book.table2
    assert len(table) == 8 and table["paper AE"].notna().all() and set(table.images.dropna()) == {300}
    pgd = table[(table.paper_data == "cifar10") & (table.method == "PGD") & (table.paper_network == "W-16-10")].iloc[0]
    for error, answers in (("NE", natural), ("AE", attacked)):
        assert pgd[error].value == pytest.approx(np.mean([answers(0, seed).error for seed in (0, 1)]))
        assert pgd[error].low < pgd[error].value < pgd[error].high
    assert table[(table.paper_network == "W-28-10") & (table.method == "CE")].network.isna().all()
    compared = pd.read_csv(book.folder / "paper_vs_ours.csv").set_index("quantity")
    assert len(compared) == 16
    here, missing = (compared.loc[f"Table 2, CIFAR-10, {name}: AE"] for name in ("PGD W-16-10", "CE W-28-10"))
    assert here.ours == pytest.approx(pgd.AE.value, abs=1e-3) and here.note.endswith("stand in, not comparable")
    assert missing.note == "not part of this profile" and np.isnan(missing.ours)


def test_every_run_is_attacked_in_its_own_norm_with_the_radius_of_the_figure(book):
    assert {(one["norm"], one["steps"], one["loss"]) for one in book.asked} == {("l2", 20, "cross_entropy")}
    assert {round(255 * one["eps"], 6) for one in book.asked} == {38, 51}


def test_what_is_there_is_drawn_where_models_and_weights_are_missing(tmp_path):
    rows = [row("ce"), row("pgd"), row("wpgd", 10.0)]
    rows[0]["run"].model = None     # as after an export with answers alone
    book = executed(rows, tmp_path)
    assert set(read(book, "fig11").panel) == {"PGD", "WPGD p=10", "(WPGD p=10) − PGD"}
    assert set(read(book, "fig10").p) == {0, 10} and not (book.folder / "figures" / "eq6_errors.csv").exists()
    verdicts = pd.read_csv(book.folder / "claims.csv").set_index("id").verdict
    assert verdicts["same-complexity"] == verdicts["p-preserves-accuracy"] == "not measurable"
    assert verdicts["p-costs-robustness:most"] == "holds"


def test_fig10_has_both_errors_over_p_and_no_printed_ones_beside_other_images(book):
    frame = read(book, "fig10")
    assert set(frame.series) == {"NE", "AE"} and frame.panel.nunique() == 2
    first = frame[(frame.panel == frame.panel[0]) & (frame.series == "AE")]
    assert list(first.p) == [0, 1, 2.5, 10]
    assert [one.value for one in first.value] == pytest.approx(
        [np.mean([attacked(p, seed).error for seed in (0, 1)]) for p in first.p], abs=1e-3)


def test_fig11_is_the_mean_over_seeds_and_wpgd_minus_pgd(book):
    frame = read(book, "fig11").set_index(["kind", "panel", "true", "predicted"]).value
    pgd, wpgd = (np.mean([attacked(p, seed).confusion for seed in (0, 1)], axis=0)[0, 2] for p in (0, 2.5))
    assert frame["confusion", "PGD", "airplane", "cat"] == pytest.approx(pgd, abs=1e-6)
    assert frame["difference", "(WPGD p=2.5) − PGD", "airplane", "cat"] == pytest.approx(wpgd - pgd, abs=1e-6)


def test_curves_keep_all_seeds_and_drop_a_panel_without_two_models(book):
    frame = read(book, "fig12")
    assert list(frame.panel.unique()) == ["standard training and PGD", "PGD, two networks", "PGD and WPGD"]
    pgd = frame[(frame.panel == "PGD and WPGD") & (frame.label == "PGD") & (frame.error == "AE")]
    assert pgd.set_index(["seed", "epoch"]).value.to_dict() == {(0, 1): 80, (0, 2): 60, (1, 1): 85, (1, 2): 65}
    assert set(frame[frame.panel == "PGD, two networks"].label) == {"PGD", "PGD, deeper network"}
    assert "PGD, two networks" not in set(read(book, "fig13").panel)


def test_the_first_and_the_last_model_over_p_are_audited(book):
    audits = pd.read_csv(book.folder / "tables" / "fig10_audit.csv")
    assert audits[["model", "pgd_steps", "images", "verdict"]].to_numpy().tolist() == [
        [1, 20, 50, "trust"], [10, 20, 50, "trust"]]


def test_the_order_over_p_decides_and_the_first_three_claims_are_the_main_ones(book, claims):
    assert list(claims.index[:3]) == ["p-preserves-accuracy", "p-costs-robustness", "p-costs-robustness:similar"]
    assert claims.value[:2].tolist() == [-1, 1] and claims.verdict[:3].tolist() == ["holds", "holds", "holds"]
    assert not any(name.endswith(":tiny") for name in claims.index)      # the same runs are not judged twice
    similar = [np.mean([share(attacked(p, seed), [(0, 1), (1, 0)]) for seed in (0, 1)]) for p in (10, 0)]
    assert claims.value["p-costs-robustness:similar"] == pytest.approx(similar[0] - similar[1], rel=1e-4)


def test_main_claims_come_first_at_their_own_level_and_the_others_at_95_percent(book, claims):
    main = [id for one in paper.values()["main_claims"] for id in one["decided_by"] if id in claims.index]
    assert main == list(claims.index[:3])
    models = [[attacked(10, seed) for seed in (0, 1)], [attacked(0, seed) for seed in (0, 1)]]
    similar = np.array([[0, 1, 0], [1, 0, 0], [0, 0, 0]])
    wanted = decide(lambda one, other: book.share(similar, one) - book.share(similar, other), *models)
    assert claims.loc["p-costs-robustness:similar", ["value", "low", "high"]].tolist() == pytest.approx([*wanted], 1e-4)
    other = bootstrap(lambda one, other: one.error - other.error, *models)
    assert claims.loc["p-costs-robustness:most", ["value", "low", "high"]].tolist() == pytest.approx([*other], 1e-4)


def test_the_worst_class_stands_beside_the_mean(book):
    table = book.worst_classes
    assert list(table.p) == [0, 1, 2.5, 10] and set(table.images) == {300}, "runs that stand for two are told once"
    for one in table.itertuples():
        for answers, (error, name) in ((natural, one[8:10]), (attacked, one[10:12])):
            recalls = [recall_score(LABELS, answers(one.p, seed).predictions, average=None) for seed in (0, 1)]
            assert error.value == pytest.approx(np.mean([100 * (1 - recall.min()) for recall in recalls]))
            assert set(name.split(", ")) == {CLASSES[recall.argmin()] for recall in recalls}
            assert error.low < error.value < error.high and error.value > one.NE.value


def test_differences_are_first_minus_second_and_paired(claims):
    for name, answers in (("p-preserves-accuracy:most", natural), ("p-costs-robustness:most", attacked)):
        wanted = np.mean([answers(10, seed).error - answers(0, seed).error for seed in (0, 1)])
        assert claims.value[name] == pytest.approx(wanted, rel=1e-4) and claims.low[name] * claims.high[name] > 0
    usual = np.mean([natural(0, seed).error - natural(2.5, seed).error for seed in (0, 1)])
    assert claims.value["wpgd-slightly-better"] == pytest.approx(usual, rel=1e-4)
    # Two models with the same answers differ by nothing in any resample.
    for name in ("accuracy-price:table2", "deeper-is-better:NE", "deeper-is-better:AE"):
        assert claims.loc[name, ["value", "low", "high"]].tolist() == [0, 0, 0]
    assert claims.verdict["standard-not-robust:table2"] == "fails"
    assert claims.statistic["deeper-is-better:NE"].startswith("5,000 MNIST digits, W-10-1, 1 seed, 300 test images: ")
    assert claims.statistic["p-preserves-accuracy"].startswith("5,000 MNIST digits, W-10-1, 2 seeds, 300 test images: ")


def test_where_errors_go_is_pgd_minus_wpgd_for_pairs_and_the_reverse_for_bird_and_airplane(claims):
    cells = {"wpgd-directional": [(0, 2), (2, 0)], "wpgd-directional:groups": [(0, 1), (0, 2), (1, 0), (2, 0)],
             "bird-airplane-less-robust": [(0, 1), (1, 0)]}
    for name, chosen in cells.items():
        pgd, wpgd = (np.mean([share(attacked(p, seed), chosen) for seed in (0, 1)]) for p in (0, 2.5))
        wanted = (wpgd - pgd) * 3 / 2 if name.startswith("bird") else pgd - wpgd
        assert claims.value[name] == pytest.approx(wanted, rel=1e-4)
        assert claims.value[f"{name}:training-eps"] == claims.value[name]


def test_claims_about_classes_that_are_not_there_are_not_measurable(book):
    assert np.isnan(book.minus(np.zeros((3, 3)), [known(0.1)], [known(0.2)]).value)


def test_the_table_of_directions_adds_up(book):
    one = book.direction.iloc[1]
    pairs = [np.mean([share(attacked(2.5, seed), chosen) for seed in (0, 1)]) for chosen in ([(0, 1), (1, 0)],
                                                                                          [(0, 2), (2, 0)])]
    assert (one.model, one.eps) == ("WPGD p=2.5", 38)
    assert [one["similar third"].value, one["distant third"].value] == pytest.approx(pairs)
    cost = np.mean([(COST.normalized * attacked(2.5, seed).confusion).sum() for seed in (0, 1)])
    errors = np.mean([3 - np.trace(attacked(2.5, seed).confusion) for seed in (0, 1)])
    assert one["cost per error"].value == pytest.approx(cost / errors, rel=5e-3)


def test_the_inner_attack_is_shown_for_each_loss_and_timed(book, claims):
    frame = read(book, "eq6_errors")
    bars, ends = (part for _, part in frame.groupby("panel", sort=False))
    assert list(bars.label) == ["PGD", "WPGD p=1", "WPGD p=2.5", "WPGD p=10"]
    assert bars.average.unique() == pytest.approx([(1 + 4 + 2) / 3 / 4], abs=1e-6)
    # Costs of the airplane (1, 4) differ most; the bird is cheaper than the cat.
    assert ends.panel.iloc[0] == "where images of class airplane end" and list(ends.x[:2]) == ["bird", "cat"]
    timed = claims.loc["same-complexity"]
    assert timed.low < timed.value < timed.high


def test_pairs_of_classes_stand_with_the_dearest_first(book):
    frame = pd.read_csv(book.folder / "tables" / "fig11_pairs.csv")
    assert len(frame) == 6 and list(frame.cost) == sorted(frame.cost, reverse=True)
    assert frame.change.tolist() == pytest.approx((frame["WPGD p=2.5"] - frame.PGD).tolist(), abs=1e-3)
    assert (frame["change low"] <= frame.change + 1e-6).all() and (frame.change <= frame["change high"] + 1e-6).all()
