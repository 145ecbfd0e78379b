"""Exported runs: what is in them, that they can be trained again, that weights survive being cut into parts."""
import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from helpers import attacks, costs, evaluation, training
from helpers.costs import spec
from helpers.training import export
from helpers.training.__main__ import main
from helpers.training.plan import read_plan

PLAN = """defaults: {data: stripes, network: W-10-1, epochs: 1, lr: 0.05, batch_size: 16, val_size: 16, val_images: 12,
           val_steps: 2, steps: 2, eps: 8}
runs:
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
    names = {"config.json", "history.csv", "metrics.json", "provenance.json", "confusions.json", "answers.npz",
             "weights.safetensors"}
    assert {file.name for file in ce.iterdir()} == names
    assert {file.name for file in wpgd.iterdir()} == names | {"cost.csv"}
    for name in ("config.json", "history.csv", "metrics.json", "provenance.json"):
        assert (wpgd / name).read_bytes() == (store / wpgd.name / name).read_bytes()
    answers = json.loads((wpgd / "confusions.json").read_text())
    assert [answer["attack"] is None for answer in answers] == [True, False]
    config = read_plan(wpgd / "config.json").runs[0].config
    run = training.train(config, data_root=stripes, store=store, progress=False)
    assert run.loaded, "the exported config is another run"
    for answer, attack in zip(answers, (None, attacks.PGD(8 / 255))):
        direct = evaluation.evaluate(run.model, run.dataset.x_test, run.dataset.y_test, attack)
        assert answer["counts"] == direct.counts.tolist() and answer["error"] == pytest.approx(direct.error)
        assert answer["images"] == 24 and answer["split"] == "test"
    assert len(json.loads((ce / "confusions.json").read_text())) == 1, "CE was not validated under attack"


def test_a_second_export_trains_and_evaluates_nothing(exported, stripes, tmp_path, monkeypatch):
    before = {file: file.read_bytes() for file in exported[1].rglob("*") if file.is_file()}
    monkeypatch.setattr(training.loop.Trainer, "epoch", None)
    monkeypatch.setattr(evaluation, "evaluate_run", None)
    assert main([str(tmp_path / "plan.yaml"), "--data-root", str(stripes), "--store", str(exported[0]),
                 "--export", str(exported[1]), "--weights", "float32"]) == 0
    assert before == {file: file.read_bytes() for file in exported[1].rglob("*") if file.is_file()}


def test_verify_trains_an_exported_run_again_and_compares(exported, stripes, capsys):
    wpgd = sorted(exported[1].iterdir())[1]
    words = ["--verify", str(wpgd), "--data-root", str(stripes)]
    assert main(words) == 0 and "the same results" in capsys.readouterr().out
    metrics = json.loads((wpgd / "metrics.json").read_text())
    other = {**metrics, "train_loss": metrics["train_loss"] + 1e-6, "seconds": 0}
    (wpgd / "metrics.json").write_text(json.dumps(other))
    assert main(words) == 1
    out = capsys.readouterr().out
    assert "train_loss" in out and "differs" in out and "val_ne" not in out


def test_a_fitted_metric_is_the_same_run_on_every_machine(stripes, tmp_path, monkeypatch, capsys):
    """Processors fit slightly different matrices: a run is found all the same, keeps its own, is verified with it."""
    settings = {"data": "stripes", "network": "W-10-1", "epochs": 1, "lr": 0.05, "batch_size": 16, "val_size": 16,
                "steps": 2, "eps": 8, "method": "wpgd", "p": 2.5, "cost": "linear_boundary"}
    where = {"data_root": stripes, "store": tmp_path / "runs", "progress": False}
    first = training.train(training.configure(settings), **where)
    fit = spec.linear_boundary_cost

    def other_processor(images, labels, classes=None):
        values = fit(images, labels, classes).values.copy()
        values[0, 1] = values[1, 0] = 3 * values[0, 1]
        return costs.CostMatrix(values, classes, name="linear_boundary")

    monkeypatch.setattr(spec, "linear_boundary_cost", other_processor)
    monkeypatch.setattr(spec, "_BOUNDARIES", {})
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
    assert not export.differing_metrics(first.folder / "metrics.json", moved.folder / "metrics.json")
    fresh = training.train(training.configure(settings), **{**where, "store": tmp_path / "new"})
    assert fresh.folder.name == first.folder.name and not np.array_equal(fresh.cost.values, first.cost.values)
    assert export.differing_metrics(first.folder / "metrics.json", fresh.folder / "metrics.json")


@pytest.mark.parametrize("words", [[], ["plan.yaml", "--verify", "x"]])
def test_a_plan_or_a_run_to_verify_but_not_both(words, capsys):
    with pytest.raises(SystemExit) as stop:
        main(words)
    assert stop.value.code == 2 and "give a plan, --verify DIR or --restore DIR" in capsys.readouterr().err


@pytest.mark.parametrize("kind, tolerance", [("float32", 0), ("float16", 1e-3)])
def test_weights_in_parts_come_back_whole(tmp_path, kind, tolerance):
    torch.manual_seed(0)
    state = {f"layer{index}.weight": torch.randn(40, 25) for index in range(7)} | {"count": torch.tensor(3)}
    folder = tmp_path / "run"
    folder.mkdir()
    training.export.save_file(state, folder / "weights.safetensors")
    limit = 9000
    target = export.export_run(folder, tmp_path / "out", kind, part_bytes=limit)
    files = sorted(target.glob("weights*"))
    assert len(files) > 1
    for file in files:
        assert sum(value.numel() * value.element_size() for value in load_file(file).values()) <= limit
    found = export.read_weights(target)
    assert found.keys() == state.keys() and found["count"] == 3
    for name, value in state.items():
        np.testing.assert_allclose(found[name], value, atol=tolerance, rtol=tolerance)
    files[0].unlink()
    with pytest.raises(FileNotFoundError, match="of weights"):
        export.read_weights(target)
    with pytest.raises(ValueError, match="float32 or float16"):
        export.export_run(folder, tmp_path / "out", "int8")


def test_restored_runs_are_found_and_need_no_training(exported, stripes, tmp_path, monkeypatch, capsys):
    store, out = exported
    results = tmp_path / "results"
    results.mkdir()
    out.rename(results / "runs")
    wpgd = sorted(store.iterdir())[1]
    training.export_model(wpgd, results / "weights" / f"{wpgd.name}.safetensors")
    config = read_plan(results / "runs" / wpgd.name / "config.json").runs[0].config
    first = training.train(config, data_root=stripes, store=store, progress=False)
    attack = attacks.PGD(8 / 255, steps=3)
    expected = [evaluation.evaluate_run(first, one, limit=12) for one in (None, attack)]
    export.export_run(wpgd, results / "runs")

    words = ["--restore", str(results), "--store", str(tmp_path / "new")]
    assert main(words) == 0 and capsys.readouterr().out.endswith(f"{wpgd.name}\n1 runs put into {tmp_path / 'new'}\n")
    monkeypatch.setattr(training.loop.Trainer, "epoch", None)
    monkeypatch.setattr(evaluation.cached, "evaluate", None)
    run = training.train(config, data_root=stripes, store=tmp_path / "new", progress=False)
    assert run.loaded and run.metrics == first.metrics and run.rows == first.rows
    for one, two in zip(run.model.state_dict().values(), first.model.state_dict().values()):
        assert torch.equal(one, two)
    for one, two in zip((evaluation.evaluate_run(run, attack, limit=12) for attack in (None, attack)), expected):
        assert np.array_equal(one.predictions, two.predictions) and np.array_equal(one.labels, two.labels)
        assert one.predictions.dtype == np.int64 and (one.num_classes, one.seconds) == (3, two.seconds)
    assert len(export.confusions(run.folder)) == 4 and export.confusions(run.folder) == export.confusions(wpgd)
    assert main(words) == 0 and capsys.readouterr().out.startswith("0 runs")


def test_answers_of_other_weights_are_not_taken_over(exported, stripes, tmp_path, monkeypatch):
    store, out = exported
    ce = sorted(store.iterdir())[0]
    (tmp_path / "results").mkdir()
    out.rename(tmp_path / "results" / "runs")
    training.export_model(ce, tmp_path / "results" / "weights" / f"{ce.name}.safetensors", "float16")
    export.restore_runs(tmp_path / "results", tmp_path / "new")
    config = read_plan(ce / "config.json").runs[0].config
    rounded = training.train(config, data_root=stripes, store=tmp_path / "new", progress=False)
    asked = []
    monkeypatch.setattr(evaluation.cached, "evaluate", lambda *args, **kwargs: asked.append(1))
    monkeypatch.setattr(evaluation.cached, "_save", lambda *args: None)
    evaluation.evaluate_run(rounded)
    assert asked == [1]


@pytest.mark.parametrize("network, data", [("W-10-1", "stripes"), ("mlp-8", "toy3")])
def test_a_network_in_one_file_answers_as_its_run_does(stripes, tmp_path, network, data):
    settings = {"data": data, "network": network, "epochs": 1, "lr": 0.05, "val_size": 20, "val_images": 5}
    run = training.train(training.configure(settings), data_root=stripes, store=tmp_path, progress=False)
    training.export_model(run.folder, tmp_path / "models" / "one.safetensors")
    model, config = training.load_model(tmp_path / "models" / "one.safetensors")
    x = run.dataset.x_test[:9]
    x = x.float() / 255 if x.dtype == torch.uint8 else x
    assert torch.equal(model(x), run.model(x)) and not model.training
    assert training.configure({name: config[name] for name in settings}) == run.config
    training.export_model(run.folder, tmp_path / "half.safetensors", "float16")
    half, _ = training.load_model(tmp_path / "half.safetensors")
    assert (tmp_path / "half.safetensors").stat().st_size < (tmp_path / "models" / "one.safetensors").stat().st_size
    assert all(value.dtype != torch.float16 for value in half.state_dict().values())
    assert 0 < (half(x) - model(x)).abs().max() < 0.02
    with pytest.raises(ValueError, match="float32 or float16"):
        training.export_model(run.folder, tmp_path / "x.safetensors", "int8")


def test_weights_of_unknown_origin_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="no weights"):
        training.load_model(tmp_path / "missing.safetensors")
    training.export.save_file({"x": torch.zeros(1)}, tmp_path / "x.safetensors")
    with pytest.raises(ValueError, match="does not say what network"):
        training.load_model(tmp_path / "x.safetensors")
