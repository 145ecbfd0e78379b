"""Exported runs: what is in them, that they can be trained again, that weights survive being cut into parts."""
import csv
import json

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from helpers import answers, attacks, costs, evaluation, training
from helpers.costs import sources
from helpers.training import store
from jobs import export, verify
from jobs.__main__ import main
from jobs.runs import config_of
from study import parameters


def results(run):
    return {name: value for name, value in run.metrics.items() if "second" not in name}

PLAN = """recipe: {data: stripes, network: W-10-1, epochs: 1, lr: 0.05, batch_size: 16, val_size: 16, val_images: 12,
           val_steps: 2, steps: 2, eps: 8}
models:
- {method: ce}
- {method: wpgd, cost: [[0, 1, 2], [1, 0, 1], [2, 1, 0]]}
"""


@pytest.fixture
def exported(stripes, tmp_path):
    """Folder of a store and of its export, through the command line."""
    (tmp_path / "plan.yaml").write_text(PLAN)
    assert main([str(tmp_path / "plan.yaml"), "--data-root", str(stripes), "--store", str(tmp_path / "runs"),
                 "--export", str(tmp_path / "out"), "--weights", "float32"]) == 0
    return tmp_path / "runs", tmp_path / "out"


def test_an_exported_run_holds_what_it_was_and_whom_it_confuses(exported, stripes):
    store, out = exported
    assert {folder.name for folder in out.iterdir()} == {folder.name for folder in store.iterdir()}
    ce, wpgd = sorted(out.iterdir())
    names = {"config.json", "history.csv", "metrics.json", "provenance.json", "answers.npz", "weights.safetensors",
             "manifest.json"}
    assert {file.name for file in ce.iterdir()} == names
    assert {file.name for file in wpgd.iterdir()} == names | {"cost.csv"}
    for name in ("config.json", "history.csv", "metrics.json", "provenance.json"):
        assert (wpgd / name).read_bytes() == (store / wpgd.name / name).read_bytes()
    config = config_of(wpgd)
    run = training.train(config, data_root=stripes, store=store, progress=False)
    assert run.loaded, "the exported config is another run"
    found = sorted(answers.kept(wpgd), key=lambda one: one[0]["attack"] is not None)
    for (about, answer), attack in zip(found, (None, attacks.PGD(8 / 255)), strict=True):
        direct = evaluation.evaluate(run.model, run.dataset.x_test, run.dataset.y_test, attack)
        assert np.array_equal(answer.counts, direct.counts) and about["error"] == pytest.approx(direct.error)
        assert about["attack"] == (attack and attack.describe())
        assert answer.counts.sum() == 24 and about["split"] == "test"
    assert len(answers.kept(ce)) == 1, "CE was not validated under attack"


def test_a_second_export_trains_and_evaluates_nothing(exported, stripes, tmp_path, monkeypatch):
    before = {file: file.read_bytes() for file in exported[1].rglob("*") if file.is_file()}
    monkeypatch.setattr(training.loop.Trainer, "run_epoch", None)
    monkeypatch.setattr(evaluation, "evaluate", None)
    assert main([str(tmp_path / "plan.yaml"), "--data-root", str(stripes), "--store", str(exported[0]),
                 "--export", str(exported[1]), "--weights", "float32"]) == 0
    assert before == {file: file.read_bytes() for file in exported[1].rglob("*") if file.is_file()}


def test_verify_trains_an_exported_run_again_and_compares(exported, stripes, capsys):
    wpgd = sorted(exported[1].iterdir())[1]
    words = ["--verify", str(wpgd), "--data-root", str(stripes)]
    assert main(words) == 0 and "the same results" in capsys.readouterr().out
    metrics = json.loads((wpgd / "metrics.json").read_text())
    for change, status, said in (({"train_loss": metrics["train_loss"] + 1e-6, "seconds": 0}, 0, "the same within"),
                                 ({"train_loss": 2 * metrics["train_loss"]}, 1, "differs"),
                                 ({"epochs": 2}, 1, "differs"), ({"val_ae": metrics["val_ae"] - 99}, 1, "differs")):
        (wpgd / "metrics.json").write_text(json.dumps({**metrics, **change}))
        assert main(words) == status
        out = capsys.readouterr().out
        assert said in out and "test_ne" in out and "allowed: +-" in out


def test_errors_may_differ_by_three_standard_deviations_of_what_was_measured(tmp_path, monkeypatch):
    table = tmp_path / "spread.csv"
    table.write_text("method,precision,seed,images,train_loss,ne,ae,ne_differ,ae_differ\n"
                     "ce,float32,0,100,1.00,50,100,0,0\nce,float32,0,100,1.02,50,100,20,0\n"
                     "ce,float32,1,100,9.00,50,100,50,0\npgd,bf16,0,100,2.00,40,90,0,0\n")
    assert verify.spread(table) == (pytest.approx(0.4), pytest.approx(0.06)), "another seed does not count"
    rows = csv.DictReader(verify.SPREAD.read_text().splitlines())
    said = [[row[name] for name in ("method", "precision", "threads", "instructions", "seed")] for row in rows]
    wanted = [(*way, most or "all", seed) for *way, most, seed in verify.RUNS]
    assert said == [[str(one) for one in row] for row in wanted] and 0 < verify.spread()[0] < 1
    # Two runs that have nothing but the mean error in common: share 1.
    monkeypatch.setattr(verify, "spread", lambda: (1.0, 0.0))
    one, two = np.random.default_rng(0).binomial(400, 0.3, (2, 20_000)) / 4.0
    assert verify.allowed(30.0, 30.0, 400) == pytest.approx(3 * np.std(one - two) + 0.25, rel=0.02)
    assert verify.allowed(100.0, 100.0, 400) == 0.25, "one image"


def test_a_fitted_metric_is_the_same_run_on_every_machine(stripes, tmp_path, monkeypatch, capsys):
    """Processors fit slightly different matrices: a run is found all the same, keeps its own, is verified with it."""
    settings = {"data": "stripes", "network": "W-10-1", "epochs": 1, "lr": 0.05, "batch_size": 16, "val_size": 16,
                "steps": 2, "eps": 8, "method": "wpgd", "p": 2.5, "cost": "linear_boundary"}
    where = {"data_root": stripes, "store": tmp_path / "runs", "progress": False}
    first = training.train(training.configure(settings), **where)
    fit = sources.linear_boundary_cost

    def other_processor(images, labels, classes=None):
        values = fit(images, labels, classes).values.copy()
        values[0, 1] = values[1, 0] = 3 * values[0, 1]
        return costs.CostMatrix(values, classes, name="linear_boundary")

    monkeypatch.setattr(sources, "linear_boundary_cost", other_processor)
    again = training.train(training.configure(settings), **where)
    assert again.loaded and again.folder == first.folder
    assert np.array_equal(again.cost.values, first.cost.values) and again.cost.name == "linear_boundary"
    assert main(["--verify", str(first.folder), "--data-root", str(stripes)]) == 0
    assert "the same results" in capsys.readouterr().out
    began = tmp_path / "moved" / first.folder.name  # killed there, resumed here: it goes on with its first matrix
    began.mkdir(parents=True)
    (began / "cost.csv").write_bytes((first.folder / "cost.csv").read_bytes())
    moved = training.train(training.configure(settings), **{**where, "store": tmp_path / "moved"})
    assert not moved.loaded and np.array_equal(moved.cost.values, first.cost.values)
    assert results(moved) == results(first)
    fresh = training.train(training.configure(settings), **{**where, "store": tmp_path / "new"})
    assert fresh.folder.name == first.folder.name and not np.array_equal(fresh.cost.values, first.cost.values)
    assert results(fresh) != results(first)


@pytest.mark.parametrize("words", [[], ["plan.yaml", "--verify", "x"]])
def test_a_plan_or_a_run_to_verify_but_not_both(words, capsys):
    with pytest.raises(SystemExit) as stop:
        main(words)
    assert stop.value.code == 2 and "give a profile, --list, --remove RUN" in capsys.readouterr().err


def trained(root, store, **settings):
    base = {"data": "stripes", "network": "W-10-1", "epochs": 1, "lr": 0.05, "val_size": 20, "val_images": 5}
    return training.train(training.configure(base, settings), data_root=root, store=store, progress=False)


def logits(path):
    return training.load_model(path)[0](torch.rand(3, 1, 16, 16, generator=torch.Generator().manual_seed(0)))


@pytest.mark.parametrize("kind, tolerance", [("float32", 0), ("float16", 0.02)])
def test_a_network_is_loaded_from_wherever_its_weights_lie(stripes, tmp_path, kind, tolerance):
    run = trained(stripes, tmp_path / "runs")
    whole = export.export_run(run.folder, tmp_path / "whole", kind)
    cut = export.export_run(run.folder, tmp_path / "cut", kind, part_bytes=150_000)
    (one,), parts = whole.glob("weights*.safetensors"), sorted(cut.glob("weights*.safetensors"))
    assert len(parts) > 1
    for file in parts:
        assert sum(value.numel() * value.element_size() for value in load_file(file).values()) <= 150_000
    expected = logits(run.folder)
    x = torch.rand(3, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    assert torch.equal(expected, run.model(x))
    for place in (run.folder / "weights.safetensors", whole, one, cut):
        assert (logits(place) - expected).abs().max() <= tolerance
    model, config = training.load_model(whole)
    assert not model.training and all(value.dtype != torch.float16 for value in model.state_dict().values())
    assert config == json.loads((run.folder / "config.json").read_text())
    assert kind == "float32" or one.stat().st_size < 0.6 * (run.folder / "weights.safetensors").stat().st_size
    parts[0].unlink()
    with pytest.raises(FileNotFoundError, match=f"of {len(parts)} files of weights"):
        training.load_model(cut)


def test_a_network_of_points_is_loaded_as_well(tmp_path):
    run = trained(None, tmp_path, data="toy3", network="mlp-8")
    assert torch.equal(training.load_model(run.folder)[0](run.dataset.x_test[:9]), run.model(run.dataset.x_test[:9]))


def test_committed_weights_are_read():
    alone, beside = (sorted(store.RESULTS.glob(f"*/{place}.safetensors")) for place in ("weights/*", "runs/*/weights"))
    assert len(alone) >= 8 and len(beside) >= 4
    for file in alone + beside:
        run = file.parent if file in beside else file.parents[1] / "runs" / file.stem
        place = run if file in beside else file
        model, config = training.load_model(place)
        assert run.name.startswith(f"cifar10_{config['network']}") and model(torch.rand(1, 3, 32, 32)).shape == (1, 10)
        given = {about["weights"] for about, _ in answers.kept(run)}
        assert given <= {export.rounded_from(place), answers.weights_fingerprint(model)}, "answers of others"
        assert file.stat().st_size < 2.2 * sum(value.numel() for value in model.parameters()), "committed in float16"


def test_weights_of_unknown_origin_are_refused(tmp_path):
    for absent in ("missing.safetensors", "."):
        with pytest.raises(FileNotFoundError, match="of weights"):
            training.load_model(tmp_path / absent)
    save_file({"x": torch.zeros(1)}, tmp_path / "x.safetensors")
    with pytest.raises(ValueError, match="does not say what network"):
        training.load_model(tmp_path / "x.safetensors")


@pytest.mark.parametrize("layout", ["export", "runs", "weights"])
def test_restored_runs_are_found_and_need_no_training(exported, stripes, tmp_path, monkeypatch, capsys, layout):
    """From what --export --weights wrote, as it is or below runs/; or with the networks in weights/, as in results/."""
    store, out = exported
    names = sorted(folder.name for folder in store.iterdir())
    config, attack = config_of(out / names[1]), attacks.PGD(8 / 255, steps=3)
    first = training.train(config, data_root=stripes, store=store, progress=False)
    expected = [evaluation.evaluate_run(first, one, limit=12) for one in (None, attack)]
    export.export_run(first.folder, out)
    place = out if layout == "export" else tmp_path / "results"
    if layout != "export":
        place.mkdir()
        out.rename(place / "runs")
    if layout == "weights":
        (place / "weights").mkdir()
        for name in names:  # as results/reduced has them: each says itself what network it is
            file, about = place / "runs" / name / "weights.safetensors", place / "runs" / name / "config.json"
            save_file(load_file(file), place / "weights" / f"{name}.safetensors", {"config": about.read_text()})
            file.unlink()

    words = ["--restore", str(place), "--store", str(tmp_path / "new")]
    assert main(words) == 0
    assert capsys.readouterr().out.split("\n") == [*names, f"2 runs put into {tmp_path / 'new'}", ""]
    monkeypatch.setattr(training.loop.Trainer, "run_epoch", None)
    monkeypatch.setattr(evaluation, "evaluate", None)
    run = training.train(config, data_root=stripes, store=tmp_path / "new", progress=False)
    assert run.loaded and run.metrics == first.metrics and run.rows == first.rows
    for one, two in zip(run.model.state_dict().values(), first.model.state_dict().values()):
        assert torch.equal(one, two)
    for one, two in zip((evaluation.evaluate_run(run, attack, limit=12) for attack in (None, attack)), expected):
        assert np.array_equal(one.predictions, two.predictions) and np.array_equal(one.labels, two.labels)
    assert len(answers.kept(run.folder)) == 4
    assert main(words) == 0 and capsys.readouterr().out.startswith("0 runs"), "they are there already"


def test_nothing_to_restore_is_an_error(exported, tmp_path, capsys):
    for file in exported[1].rglob("weights*"):
        file.unlink()
    assert main(["--restore", str(exported[1]), "--store", str(tmp_path / "new")]) == 2
    assert "no exported run with weights" in capsys.readouterr().err and not (tmp_path / "new").exists()


@pytest.mark.parametrize("part_bytes", [export.PART_BYTES, 150_000])
def test_rounded_weights_have_the_answers_they_were_rounded_from_and_say_so(stripes, tmp_path, monkeypatch, part_bytes):
    run = trained(stripes, tmp_path / "runs")
    first = evaluation.evaluate_run(run)
    out = export.export_run(run.folder, tmp_path / "out", "float16", part_bytes)
    export.restore_runs(tmp_path / "out", tmp_path / "new")
    rounded = training.train(run.config, data_root=stripes, store=tmp_path / "new", progress=False)
    before, now = (answers.weights_fingerprint(one.model) for one in (run, rounded))
    ((about, _),) = answers.kept(rounded.folder)
    assert rounded.loaded and (about["weights"], about["rounded_from"]) == (now, before) and now != before
    monkeypatch.setattr(evaluation, "evaluate", None)
    assert np.array_equal(evaluation.evaluate_run(rounded).predictions, first.predictions)
    # Brought home once more, they say so still; and a network that says nothing of the kind gets no answers of others.
    export.export_run(rounded.folder, tmp_path / "second", "float16", part_bytes)
    export.restore_runs(tmp_path / "second", tmp_path / "newer")
    assert [said["rounded_from"] for said, _ in answers.kept(tmp_path / "newer" / out.name)] == [before]
    for file in out.glob("weights*"):
        file.unlink()
    half = {name: value.half().contiguous() for name, value in run.model.state_dict().items()}
    save_file(half, out / "weights.safetensors")
    store.manifest.seal(out, None)
    export.restore_runs(tmp_path / "out", tmp_path / "other")
    assert answers.kept(tmp_path / "other" / out.name) == []


# --- exported without weights -----------------------------------------------------------------------------------

def test_runs_without_weights_answer_from_what_was_exported(exported, stripes, tmp_path, monkeypatch):
    runs, out = exported
    wpgd = sorted(runs.iterdir())[1]
    monkeypatch.setattr(store, "RESULTS", tmp_path / "results")
    target = tmp_path / "results" / "mine" / "runs"
    target.mkdir(parents=True)
    (out / wpgd.name).rename(target / wpgd.name)
    models = [{"method": "ce", "panel": "x"}, {"method": "wpgd", "cost": [[0, 1, 2], [1, 0, 1], [2, 1, 0]]}]
    recipe = yaml.safe_load(PLAN)["recipe"]
    where = {"data_root": stripes, "store": tmp_path / "empty", "progress": False, "train_missing": False}
    network = parameters.train_models(models[1:], recipe, **where, weights=True).run[0].model
    assert answers.weights_fingerprint(network) == answers.weights_fingerprint(training.load_model(wpgd)[0])
    with pytest.raises(FileNotFoundError, match=r"no weights of a run 'stripes_.*_CE_"):
        parameters.train_models(models, recipe, **where, weights=True)
    (target / wpgd.name / "weights.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"no weights of a run 'stripes_.*_WPGD_"):
        parameters.train_models(models[1:], recipe, **where, weights=True)
    frame = parameters.train_models(models, recipe, **where)
    assert frame.method.tolist() == ["wpgd"] and not (tmp_path / "empty").exists()
    run, first = frame.run[0], training.train(config_of(wpgd), data_root=stripes, store=runs, progress=False)
    assert run.model is None and run.loaded and run.metrics == first.metrics and run.rows == first.rows
    assert np.array_equal(run.cost.values, first.cost.values) and run.dataset.classes == first.dataset.classes
    attack = attacks.PGD(8 / 255)
    found = evaluation.evaluate_run(run, attack)
    assert np.array_equal(found.predictions, evaluation.evaluate_run(first, attack).predictions)
    with pytest.raises(ValueError, match="exported without weights"):
        evaluation.evaluate_run(run, attacks.PGD(4 / 255))
    frame = parameters.train_models(models, recipe, **{**where, "store": runs})
    assert frame.method.tolist() == ["ce", "wpgd"] and all(run.model is not None for run in frame.run)
    assert parameters.train_models(models[:1], recipe, **where).empty
