"""What a plan measures of a run after training: which attacks, in what time."""
import sys
import time
from types import SimpleNamespace

import pytest

from helpers import answers, attacks, evaluation, profiles, training
from helpers.autoattack import AutoAttack
from helpers.training.plan import read_plan
from jobs import __main__ as command
from jobs.evaluate import check_settings, evaluate_planned, planned_attacks
from jobs.runs import find

main = command.main


@pytest.mark.parametrize("text, said", [
    ("evaluate: {radius: 4}", "no setting 'radius'"), ("evaluate: {eps: 4}", "give a list of numbers"),
    ("evaluate: {eps: [-1]}", "give a list of numbers"), ("evaluate: {powers: [p]}", "powers = .* a list of numbers"),
    ("evaluate: {steps: 0}", "an integer >= 1"), ("evaluate: {images: all}", "an integer >= 0"),
    ("evaluate: [4]", "must be a mapping")])
def test_wrong_settings_of_evaluate_are_refused(tmp_path, text, said):
    path = tmp_path / "plan.yaml"
    path.write_text(f"models: [{{data: toy3, epochs: 1, lr: 0.1}}]\n{text}\n")
    with pytest.raises(ValueError, match=said):
        check_settings(path, read_plan(path)[1])


@pytest.mark.parametrize("path", sorted(profiles.FOLDER.glob("*.yaml")), ids=lambda path: path.stem)
def test_what_the_bundled_profiles_evaluate_can_be_evaluated(path):
    check_settings(path, profiles.read(path)["evaluate"])


def trained(stripes, tmp_path, **settings):
    base = {"data": "stripes", "network": "W-10-1", "epochs": 1, "lr": 0.05, "batch_size": 16, "val_size": 16,
            "val_images": 8, "val_steps": 1, "steps": 1, "eps": 8.0}
    return training.train(training.configure(base, settings), data_root=stripes, store=tmp_path / "runs",
                          progress=False)


def kept(folder):
    """(images, loss of the attack or "") of what was evaluated, in order."""
    return sorted((len(one.labels), (about["attack"] or {}).get("loss", "")) for about, one in answers.kept(folder))


def test_a_run_is_attacked_with_the_radii_of_the_plan_that_it_knows(stripes, tmp_path):
    settings = {"eps": [8.0, 16.0], "steps": 3, "metric": [[0, 1, 2], [1, 0, 1], [2, 1, 0]], "powers": [1, 2.5]}
    runs = {"pgd": {"method": "pgd"}, "wpgd": {"method": "wpgd", "p": 10.0, "cost": settings["metric"]},
            "other": {"method": "pgd", "eps": 4.0}, "ce": {"method": "ce"}, "l2": {"method": "pgd", "norm": "l2"}}
    told = {name: planned_attacks(trained(stripes, tmp_path, **own), **settings) for name, own in runs.items()}
    told = {name: [attack.describe() for attack in several] for name, several in told.items()}
    assert told["ce"] == [], "validated without an attack"
    assert {round(one["eps"] * 255) for one in told["other"]} == {4}
    for name in ("pgd", "wpgd", "l2"):
        plain = [round(one["eps"] * 255) for one in told[name] if one["loss"] == "cross_entropy"]
        assert plain == [8, 16]
        assert {round(one["eps"] * 255) for one in told[name] if one["loss"] != "cross_entropy"} == {8}
        assert all(one["steps"] == 3 for one in told[name]) and len({str(one) for one in told[name]}) == len(told[name])
        assert {one["norm"] for one in told[name]} == {"l2" if name == "l2" else "linf"}
        assert sorted((one["p"], one["seed"]) for one in told[name] if one["loss"] == "wasserstein") == (
            [(1.0, 0), (1.0, 1), (10.0, 0)] if name == "wpgd" else [(0.0, 0), (1.0, 0), (1.0, 1), (2.5, 0)])
    pair = trained(stripes, tmp_path, method="pgd", classes=["c0", "c1"])
    assert [one.describe()["loss"] for one in planned_attacks(pair, **settings)] == ["cross_entropy"] * 2
    digits = planned_attacks(trained(stripes, tmp_path, method="pgd"), eps=[8.0], metric="wordnet:path")
    assert [one.describe()["loss"] for one in digits] == ["cross_entropy"], "a metric that does not know the classes"


def slow(monkeypatch, seconds):
    """Let a pass of an image, of the 24 there are, take so many seconds where it is measured."""
    monkeypatch.setattr("jobs.evaluate.evaluate", lambda *_, **__: SimpleNamespace(seconds=seconds * 24 * 5))


def test_evaluations_stop_before_the_deadline_and_go_on_later(stripes, tmp_path, monkeypatch):
    run = trained(stripes, tmp_path, method="pgd")
    run.metrics["seconds"] = 1e6  # on the machine that trained it, which need not be this one
    assert evaluate_planned(run, time.monotonic() + 60, eps=[8.0], steps=1)
    (run.folder / "evaluations").rename(run.folder / "others")
    slow(monkeypatch, 1)
    assert not evaluate_planned(run, time.monotonic() + 60, eps=[8.0], steps=2)
    assert kept(run.folder) == [(24, "")], "clean images cost next to nothing"
    assert evaluate_planned(run, None, eps=[8.0], steps=2)
    assert kept(run.folder) == [(24, ""), (24, "cross_entropy")], "all test images"
    evaluate_planned(run, None, images=12)
    assert kept(run.folder)[0] == (12, ""), "and of a subset the clean images, too"


def test_what_time_did_not_allow_is_exported_and_said(tmp_path, monkeypatch, capsys):
    asked = []
    monkeypatch.setattr(command, "evaluate_planned", lambda run, deadline, **settings: asked.append(settings))
    (tmp_path / "plan.yaml").write_text("models: [{data: toy3, network: mlp-8, epochs: 1, lr: 0.1, val_size: 90}]\n"
                                        "evaluate: {eps: [8], steps: 2}\n")
    status = main([str(tmp_path / "plan.yaml"), "--store", str(tmp_path / "runs"), "--export", str(tmp_path / "out"),
                   "--budget-minutes", "5"])
    out = capsys.readouterr().out
    assert status == 3 and "exported to" in out and "not yet attacked by all" in out
    assert asked == [{"eps": [8], "steps": 2, "autoattack": 0}]


def test_the_notebooks_find_what_a_plan_evaluated(stripes, tmp_path, monkeypatch):
    run = trained(stripes, tmp_path, method="pgd")
    evaluate_planned(run, images=12, eps=[8], steps=2)
    monkeypatch.setattr(evaluation, "evaluate", None)
    for attack, limit in ((None, 12), (attacks.PGD(8 / 255, steps=2), 12), (None, None)):
        assert len(evaluation.evaluate_run(run, attack, limit=limit).labels) == (limit or 24)


# --- AutoAttack -------------------------------------------------------------------------------------------------

PLAN = """
recipe: {data: mnist5k, network: W-10-1, epochs: 1, lr: 0.05, train_size: 64, val_size: 20, val_eps: 8, val_steps: 1,
         method: pgd, eps: 8, steps: 1}
models: [{panel: x}, {panel: y}, {autoattack: 10, minutes: 1}]
evaluate: {eps: [8], steps: 2, images: 20}
"""


def test_a_plan_audits_a_run_by_autoattack_and_knows_it_later(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(AutoAttack.__init__, "__defaults__", ("linf", 1, 2, 0))
    (tmp_path / "plan.yaml").write_text(PLAN.replace("images: 20", "images: 20, precision: bf16"))
    words = [str(tmp_path / "plan.yaml"), "--store", str(tmp_path / "runs")]
    assert main(words) == 0
    out = capsys.readouterr().out
    assert "[1/2]" in out and "[2/2]" in out, "two models of one run are trained, and told, once"
    assert "trained, AutoAttack on 10 images" in out
    assert main([*words, "--list"]) == 0
    assert capsys.readouterr().out.count("  done") == 2
    folder, = find(tmp_path / "runs")
    assert kept(folder) == [(10, ""), (10, "autoattack"), (10, "cross_entropy"), (20, ""), (20, "cross_entropy"),
                            (1_000, "")]
    told = [about["attack"] for about, _ in answers.kept(folder)]
    assert AutoAttack(8 / 255).describe() in told
    assert told.count(attacks.PGD(8 / 255, 2, precision="bf16").describe()) == 2, "as the notebooks will ask for it"


def test_without_torchattacks_the_plan_goes_on_and_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "torchattacks", None)
    (tmp_path / "plan.yaml").write_text(PLAN.replace("[{panel: x}, {panel: y}, {autoattack: 10, minutes: 1}]",
                                                     "[{autoattack: 10}, {seed: 1}]"))
    status = main([str(tmp_path / "plan.yaml"), "--store", str(tmp_path / "runs"), "--export", str(tmp_path / "out")])
    out, errors = capsys.readouterr()
    assert status == 1 and "torchattacks" in errors and len(find(tmp_path / "runs")) == 2
    assert out.count("exported to") == 2


def test_the_time_of_autoattack_is_foreseen(stripes, tmp_path, monkeypatch):
    run = trained(stripes, tmp_path, method="pgd")
    slow(monkeypatch, 0.1)
    assert not evaluate_planned(run, time.monotonic() + 1000, autoattack=12)
    assert kept(run.folder) == [(12, ""), (12, "cross_entropy"), (24, ""), (24, "cross_entropy")]
