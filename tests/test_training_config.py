"""What names a run: each field that decides its weights, and nothing else."""
import dataclasses
import json
import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas
import pytest
from support import write_npz

from helpers import training
from helpers.costs import CostMatrix, from_spec
from helpers.training import launch, store
from helpers.training.config import later
from helpers.training.store import folder_of, prepare
from jobs.runs import config_of, find

RUNS = sorted((Path(__file__).parents[1] / "results").glob("*/runs/*/config.json"))

BASE = {"data": "stripes", "network": "W-10-1", "epochs": 2, "lr": 0.05, "val_size": 16}
COST = [[0, 1, 2], [1, 0, 3], [2, 3, 0]]
# For each field, a value unlike that of CHANGED.
OTHER = {"data": "toy3", "epochs": 3, "lr": 0.1, "network": "W-16-1", "method": "pgd", "classes": ["c0", "c1"],
         "train_size": 30, "val_size": 0.5, "split_seed": 1, "augment": "crop", "norm": "l2", "eps": 3.0,
         "steps": 4, "step_size": 1.0, "random_start": False, "cost": [[0, 1, 2], [1, 0, 4], [2, 4, 0]], "p": 2.0,
         "lam": 5.0, "batch_size": 8, "schedule": "constant", "warmup": 0.1, "momentum": 0.5, "weight_decay": 0.0,
         "ema": 0.5, "seed": 1, "val_every": 2, "val_images": 7, "val_steps": 3, "val_eps": 1.0, "precision": "bf16",
         "mu": 10.0, "eps_warmup": 0.5}


@pytest.fixture
def folder(stripes):
    def name(*parts, **settings):
        return prepare(training.configure(*parts or (BASE,), settings), stripes, "store").folder
    return name


@pytest.mark.parametrize("field", OTHER)
def test_each_field_that_decides_the_weights_names_the_run(folder, field):
    base = {**BASE, "method": "wpgd", "eps": 8.0, "cost": COST}
    other = {field: OTHER[field]}
    if field == "data":  # points need another network: compare the data sets by the hash alone
        base = {**base, "method": "ce"}
        other |= {"network": "mlp-8"}
        assert folder(base, {"network": "W-16-1"}).name.split("-")[-1] != folder(base, other).name.split("-")[-1]
    if field == "classes":
        other["cost"] = CostMatrix(COST, ("c0", "c1", "c2"))
    assert folder(base).name != folder(base, other).name


def test_ratio_and_minority_name_the_run(folder):
    cuts = [{}, {"ratio": 0.5, "minority": "c0"}, {"ratio": 0.4, "minority": "c0"}, {"ratio": 0.5, "minority": "c1"}]
    assert len({folder(**cut) for cut in cuts}) == 4


@pytest.mark.parametrize("method, unused", [
    ("ce", ("eps", "steps", "step_size", "random_start", "norm", "cost", "p", "lam", "mu")),
    ("pgd", ("cost", "p", "lam", "mu"))])
def test_fields_that_a_method_does_not_use_do_not_name_its_runs(folder, method, unused):
    base = {**BASE, "method": method} | ({} if method == "ce" else {"eps": 8.0})
    for field in unused:
        assert folder(base) == folder(base, {field: OTHER[field]}), field


def test_the_norm_of_the_validating_attack_names_a_plain_run(folder):
    assert folder(val_eps=8.0) != folder(val_eps=8.0, norm="l2")
    assert training.configure(BASE, val_eps=8.0, norm="l2").norm == "l2"


def test_defaults_written_out_name_the_same_run(folder):
    base = {**BASE, "method": "pgd", "eps": 8.0}
    assert folder(base) == folder(base, step_size=2.5 * 8 / 8, val_eps=8, steps=8, momentum=0.9, classes=None)
    config = training.configure(base)
    assert (config.step_size, config.val_eps, config.steps, config.batch_size) == (2.5, 8.0, 8, 128)
    assert (config.momentum, config.weight_decay, config.p, config.lam) == (0.9, 5e-4, 1.0, 10.0)


def test_a_cost_is_known_by_its_values_however_it_is_written(folder, tmp_path):
    cost = CostMatrix(COST, ("c0", "c1", "c2"), name="mine")
    cost.to_frame().to_csv(tmp_path / "one.csv")
    cost.to_frame().to_csv(tmp_path / "two.csv")
    pairs = {("c0", "c1"): COST[0][1], "c0 <-> c2": COST[0][2], ("c1", "c2"): COST[1][2]}
    ways = [COST, pairs, {"values": COST}, cost, np.array(COST), cost.to_frame(), str(tmp_path / "one.csv"),
            str(tmp_path / "two.csv")]
    base = {**BASE, "method": "wpgd", "eps": 8.0}
    assert len({folder(base, cost=way) for way in ways}) == 1
    assert isinstance(cost.to_frame(), pandas.DataFrame)


def test_the_data_name_the_run_and_their_place_does_not(tmp_path):
    names = []
    for place, seed in (("here", 0), ("there", 0), ("changed", 1)):
        (tmp_path / place).mkdir()
        write_npz(tmp_path / place, "stripes", seed=seed)
        names.append(prepare(training.configure(BASE), tmp_path / place, "store").folder)
    assert names[0] == names[1] != names[2]


@pytest.mark.parametrize("settings", [
    {}, {"method": "pgd", "eps": 8.0, "norm": "l2", "random_start": False, "classes": ("c0", "c1")},
    {"method": "pgd", "eps": 0.0}, {"method": "wpgd", "eps": 4, "cost": COST, "lam": math.inf, "p": 2.5, "mu": 3.0},
    {"ratio": 0.3, "minority": "c1", "augment": "crop", "val_eps": 2.0, "norm": "l2"}])
def test_a_config_survives_its_json(settings):
    config = training.configure(BASE, settings)
    again = training.configure(config.to_dict())
    assert again == config and again.to_dict() == config.to_dict()


def test_later_parts_win():
    config = training.configure(BASE, {"lr": 0.2, "epochs": 7}, {"lr": 0.3}, seed=5)
    assert (config.lr, config.epochs, config.seed) == (0.3, 7, 5)


def test_labels_read_well():
    assert training.configure(BASE).label == "stripes W-10-1 CE seed=0"
    config = training.configure(BASE, data="/some/where/pets/", method="wpgd", cost=COST, p=2.5, eps=4, seed=3)
    assert config.label == "pets W-10-1 WPGD p=2.5 eps=4 seed=3"
    pair = training.configure(BASE, classes=["cat", "dog"], ratio=0.3, minority="dog", method="pgd", eps=8)
    assert pair.label == "stripes cat-dog ratio=0.3 W-10-1 PGD eps=8 seed=0"


def test_the_name_of_a_run_on_many_classes_is_one_that_a_file_system_takes(tmp_path):
    """Its end still says method and seed; the hash tells apart what was cut."""
    classes = [f"a rather long name of class {k}" for k in range(24)]
    write_npz(tmp_path, "many", train=96, classes=24)
    arrays = dict(np.load(tmp_path / "many.npz"))
    np.savez(tmp_path / "many.npz", **{**arrays, "classes": np.array(classes)})
    base = {"data": "many", "network": "W-10-1", "epochs": 1, "lr": 0.05, "val_size": 24, "batch_size": 24}
    run = training.train(training.configure(base, classes=classes), data_root=tmp_path, store=tmp_path / "runs",
                         progress=False)
    other = prepare(training.configure(base, classes=classes[:11] + classes[12:]), tmp_path, tmp_path / "runs").folder
    assert run.folder.is_dir() and len(f"{run.folder.name}.safetensors") <= 255 and other.name != run.folder.name
    assert run.folder.name.startswith("many_a_rather_long") and "_W-10-1_CE_seed=0-" in run.folder.name
    assert find(tmp_path / "runs") == [run.folder]


@pytest.mark.parametrize("flags, precision", [("fpu avx512_bf16 sse", "bf16"), ("fpu amx_bf16", "bf16"),
                                              ("fpu avx512f avx2", "float32")])
def test_auto_is_the_precision_that_this_processor_computes_in(stripes, tmp_path, monkeypatch, flags, precision):
    told = SimpleNamespace(is_file=lambda: True, read_text=lambda: f"flags : {flags}\n")
    monkeypatch.setattr(launch, "Path", lambda name: told)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    run = prepare(training.configure(BASE, precision="auto"), stripes, tmp_path)
    named = prepare(training.configure(BASE, precision=precision), stripes, tmp_path)
    assert run.config.precision == run.facts["precision"] == precision and run.folder == named.folder
    assert ("bf16" in run.folder.name) == ("bf16" in run.config.label) == (precision == "bf16")


@pytest.mark.parametrize("there", ["float32", "bf16"])
def test_auto_finds_the_run_of_either_precision_that_is_there_or_has_begun(stripes, tmp_path, monkeypatch, there):
    monkeypatch.setattr(store, "fast_precision", lambda: {"float32": "bf16", "bf16": "float32"}[there])
    begun = prepare(training.configure(BASE, precision=there), stripes, tmp_path).folder
    begun.mkdir()
    (begun / "checkpoint.pt").write_text("")
    assert prepare(training.configure(BASE, precision="auto"), stripes, tmp_path).folder == begun
    (begun / "checkpoint.pt").unlink()
    assert prepare(training.configure(BASE, precision="auto"), stripes, tmp_path).config.precision != there
    trained, found = (training.train(training.configure(BASE, precision=one), data_root=stripes, store=tmp_path,
                                     progress=False) for one in (there, "auto"))
    assert found.loaded and found.folder == trained.folder == begun
    assert json.loads((begun / "provenance.json").read_text())["precision"] == there


# --- names that were published ----------------------------------------------------------------------------------

@pytest.mark.parametrize("file", RUNS, ids=lambda file: file.parent.name)
def test_every_committed_run_keeps_its_name(file):
    facts = json.loads(file.read_text())
    fields = {item.name for item in dataclasses.fields(training.TrainConfig)}
    config = training.configure({name: value for name, value in facts.items() if name in fields})
    again = {**config.to_dict(), **{name: value for name, value in facts.items() if name not in fields}}
    assert again == facts and folder_of("store", config.label, again).name == file.parent.name


def test_all_committed_runs_were_looked_at():
    assert len(RUNS) >= 56


@dataclasses.dataclass(frozen=True)
class Newer(training.TrainConfig):
    """As TrainConfig will be when it has learned something new."""

    pruned: float = later(0.0)


def test_a_later_field_names_a_run_only_where_it_differs_from_its_default():
    old, same, new = training.configure(BASE), Newer(**BASE), Newer(**BASE, pruned=0.5)
    assert same.to_dict() == old.to_dict() and same.label == old.label
    assert new.to_dict() == {**old.to_dict(), "pruned": 0.5} and new.label == "stripes W-10-1 CE pruned=0.5 seed=0"
    assert Newer(**old.to_dict()) == same and Newer(**new.to_dict()) == new


def test_every_field_that_is_not_marked_later_was_there_from_the_beginning():
    """A field added without `later` would rename all runs: this list does not grow."""
    marked = {item.name for item in dataclasses.fields(training.TrainConfig) if item.metadata.get("later")}
    fields = {item.name for item in dataclasses.fields(training.TrainConfig)}
    assert fields - marked == {*OTHER, "ratio", "minority"} - {"mu", "eps_warmup"}


def test_a_run_of_an_asymmetric_matrix_is_trained_again_from_its_folder(tmp_path):
    cost = CostMatrix([[0, 1, 2], [5, 0, 1], [2, 1, 0]], ("c0", "c1", "c2"), symmetric=False)
    config = training.configure(BASE, method="wpgd", eps=4.0, cost=cost)
    (tmp_path / "config.json").write_text(json.dumps(config.to_dict()))
    cost.to_csv(tmp_path / "cost.csv")
    again = config_of(tmp_path)
    assert from_spec(again.cost, SimpleNamespace(classes=cost.classes)) == cost and again.label == config.label
