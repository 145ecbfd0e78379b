"""The models of a profile: how lists of them are expanded, trained, told of; and which packages an import needs."""
import json
import math
import os
import re
import subprocess
import sys
import textwrap
import time
from types import SimpleNamespace
from unittest import mock

import pandas as pd
import pytest

from helpers import training
from helpers.training import __main__ as plans
from helpers.training import loop, plan, store
from helpers.training.progress import Progress
from jobs.runs import find
from study import parameters

PLAN = """
recipe: {data: toy3, network: mlp-8, epochs: 2, lr: 0.05, batch_size: 270, val_size: 90, val_steps: 2, steps: 2}
models:
- {method: ce}
- {method: pgd, eps: 10, norm: l2, minutes: 1.5}
- {method: wpgd, eps: 10, norm: l2, cost: toy3, seed: 1}
"""


@pytest.fixture
def command(tmp_path, capsys):
    """Run the command on a plan; returns (exit status, output, errors)."""
    def call(*words, text=PLAN):
        (tmp_path / "plan.yaml").write_text(text)
        status = plans.main([str(tmp_path / "plan.yaml"), "--store", str(tmp_path / "runs"), *words])
        return status, *capsys.readouterr()
    return call


def test_a_profile_trains_its_models_once_and_in_order(command, tmp_path):
    status, out, _ = command("--list")
    assert status == 0 and not (tmp_path / "runs").exists()
    assert [line.split("  ")[-1] for line in out.splitlines()] == ["to do", "~1.5 min", "to do"]
    status, out, _ = command()
    assert status == 0
    starts = [line for line in out.splitlines() if line.startswith("[")]
    assert [line.split("]")[0] for line in starts] == ["[1/3", "[2/3", "[3/3"]
    assert "CE" in starts[0] and "PGD eps=10" in starts[1] and "WPGD p=1 cost=toy3 eps=10 seed=1" in starts[2]
    assert len(find(tmp_path / "runs")) == 3
    status, out, _ = command()
    assert status == 0 and out.count("done") == 3 and "epoch" not in out


def test_a_plan_stops_when_its_time_is_over_and_resumes(command, tmp_path, monkeypatch):
    # The clock is set at the start of each call; two epochs fit.
    for call, finished in enumerate((1, 2, 3)):
        ticks = iter([0.0] * 4 + [1e6] * 20)
        clock = SimpleNamespace(perf_counter=time.perf_counter, monotonic=lambda ticks=ticks: next(ticks))
        monkeypatch.setattr(plans, "time", clock)
        monkeypatch.setattr(loop, "time", clock)
        status, out, _ = command("--budget-minutes", "1")
        assert len(find(tmp_path / "runs")) == finished
        assert status == (0 if finished == 3 else 3), call
        assert finished == 3 or ("time is over" in out and "again" in out)


def test_an_expired_budget_starts_no_run(command, tmp_path):
    status, out, _ = command("--budget-minutes", "0")
    assert status == 3 and "no time is left" in out and not (tmp_path / "runs").exists()


@pytest.mark.parametrize("text, says", [
    ("models: [{data: toy3", "not valid YAML"), ("[1, 2]", "must be a mapping"), ("models: 3", "must be a list"),
    ("models: []\nextra: 1", "unknown key 'extra'"), ("models: [null]", "model 1: .* mapping"),
    ("models: [ce]", "model 1: .* mapping"), ("recipe: [1]\nmodels: []", "recipe must be a mapping"),
    (PLAN.replace("minutes: 1.5", "minutes: ten"), "minutes = 'ten' is of type str"),
    (PLAN.replace("minutes: 1.5", "autoattack: true"), "autoattack = True is of type bool: it must be int"),
    (PLAN.replace("minutes: 1.5", "notebooks: 5"), "notebooks = 5 is of type int: it must be list"),
    (PLAN.replace("method: ce", "methd: ce"), "model 1: 'methd'.*Did you mean 'method'"),
    (PLAN.replace("minutes: 1.5", "minuts: 1.5"), "model 2: 'minuts'.*Did you mean 'minutes'"),
    (PLAN.replace("data: toy3", "dta: toy3"), "'dta'.*Did you mean 'data'"),
    (PLAN.replace("data: toy3", "data: mars"), "unknown data set 'mars'"),
    (PLAN.replace("cost: toy3", "cost: toy4"), "toy4"), (PLAN.replace("cost: toy3, ", ""), "needs a cost"),
    (PLAN + "models: []\n", "'models'.* twice"), (PLAN + "- {method: pgd, eps: 4, eps: 8}\n", "'eps'.* twice"),
    (PLAN + "- {network: W-17-1, data: mnist5k}\n", "no Wide-ResNet-17-1"),
    (PLAN + "- {network: mlp-8, data: mnist5k}\n", "'mlp-8' cannot read inputs"),
    (PLAN + "- {train_size: 100000}\n", "train_size = 100000")])
def test_errors_of_a_profile_come_before_any_training(command, tmp_path, text, says):
    status, _, errors = command(text=text)
    assert status == 2 and not (tmp_path / "runs").exists()
    assert len(errors.splitlines()) == 1
    assert re.search(says, errors), errors


def test_a_missing_profile_is_named(capsys, tmp_path):
    assert plans.main([str(tmp_path / "absent.yaml")]) == 2
    assert "absent.yaml" in capsys.readouterr().err
    assert plans.main(["redcued"]) == 2 and "Did you mean 'reduced'" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--export", "out"], ["--local", "2"], ["--restore", "x"], []])
def test_what_is_more_than_training_is_another_command(words, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        plans.main([*([str(tmp_path / "plan.yaml")] if words else []), *words])
    assert stop.value.code == 2 and "python -m jobs" in capsys.readouterr().err


def test_the_command_itself(tmp_path):
    (tmp_path / "plan.yaml").write_text(PLAN.replace("eps: 10", "epss: 10"))
    call = subprocess.run([sys.executable, "-m", "helpers.training", "plan.yaml"], cwd=tmp_path, capture_output=True,
                          text=True)
    assert call.returncode == 2 and "epss" in call.stderr and "Traceback" not in call.stderr


# --- lists of models --------------------------------------------------------------------------------------------

RECIPE = {"data": "toy3", "network": "mlp-8", "epochs": 1, "lr": 0.05, "batch_size": 270, "val_size": 90,
          "val_steps": 1, "steps": 1, "eps": 20, "norm": "l2", "cost": "toy3"}


def test_costs_in_a_list_are_multiplied_and_rows_of_numbers_are_one_matrix():
    pairs, rows = {"default": 1, "0 -> 1": 10}, [[0, 1, 2], [1, 0, 1], [2, 1, 0]]
    for given, wanted in ((["toy3", pairs, {"values": rows}], ["toy3", pairs, {"values": rows}]), (rows, [rows]),
                          (["toy3"], ["toy3"]), (pairs, [pairs])):
        found = training.expand([{"method": ["pgd", "wpgd"], "cost": given, "seed": [0, 1]}], RECIPE)
        assert [one.cost for one in found if one.config.method == "wpgd"] == [one for one in wanted for _ in (0, 1)]
        assert [one.config.cost for one in found if one.config.method == "wpgd"] == [
            one for one in wanted for _ in (0, 1)]
        assert {one.config.cost for one in found if one.config.method == "pgd"} == {None}


def test_lists_of_a_model_are_multiplied_and_equal_runs_are_one():
    model = {"method": ["ce", "pgd", "wpgd"], "p": [1.0, 2.5], "seed": [0, 1], "paper_data": ["cifar10", "mnist"],
             "minutes": 2, "notebooks": [5, 6]}
    again, audited = {"method": "pgd", "paper_data": "mnist"}, {"method": "pgd", "autoattack": 9}
    found = training.expand([model, again, audited], RECIPE)
    told = [(one.tags["paper_data"], one.config.method, one.config.p, one.config.seed) for one in found]
    of_one = [("ce", 1.0, 0), ("ce", 1.0, 1), ("pgd", 1.0, 0), ("pgd", 1.0, 1), ("wpgd", 1.0, 0), ("wpgd", 1.0, 1),
              ("wpgd", 2.5, 0), ("wpgd", 2.5, 1)]
    assert told == [("cifar10", *one) for one in of_one] + [("mnist", *one) for one in of_one] + [("", "pgd", 1.0, 0)]
    assert [one.minutes for one in found] == [2] * 16 + [None] and found[-1].autoattack == 9
    assert {one.cost for one in found} == {"toy3"} and found[0].tags["panel"] == ""
    assert [one.config.eps for one in training.expand([{"method": "pgd", "eps": [4, 8]}], RECIPE)] == [4, 8]
    found = training.expand([{"method": "wpgd", "lam": [1.0, "inf"]}], RECIPE)
    assert [one.config.lam for one in found] == [1, math.inf]


def test_a_table_of_models_has_a_row_a_run_and_trains_each_once(tmp_path, monkeypatch):
    trained, real = [], loop.Trainer.finish
    monkeypatch.setattr(loop.Trainer, "finish", lambda self: trained.append(self.config.label) or real(self))
    models = [{"method": ["ce", "pgd", "wpgd"], "p": 2.5, "paper_data": "cifar10"}, {"method": "pgd", "panel": "audit"}]
    frame = parameters.train_models(models, RECIPE, store=tmp_path, progress=False)
    assert list(frame.columns) == [*plan.TAGS, *parameters.COLUMNS] and len(trained) == 3
    assert frame.drop(columns=["run", "p", "lam"]).to_dict("list") == {
        "paper_data": ["cifar10"] * 3 + [""], "paper_network": [""] * 4, "panel": [""] * 3 + ["audit"],
        "data": ["toy3"] * 4, "network": ["mlp-8"] * 4, "method": ["ce", "pgd", "wpgd", "pgd"], "cost": ["toy3"] * 4,
        "eps": [0.0, 20.0, 20.0, 20.0], "seed": [0] * 4, "label": ["CE", "PGD", "WPGD p=2.5", "PGD"]}
    assert frame.p.fillna(-1).tolist() == [-1, 0, 2.5, 0] and frame.lam.tolist() == [10] * 4
    assert frame.run[1].folder == frame.run[3].folder and [run.loaded for run in frame.run] == [False] * 3 + [True]
    again = parameters.train_models(models, RECIPE, store=tmp_path, progress=False, train_missing=False)
    assert again.label.tolist() == frame.label.tolist() and len(trained) == 3
    # What another process trains is left to it until all else is done.
    monkeypatch.setattr(store, "being_trained", lambda folder: "_CE_" in folder.name)
    later = parameters.train_models(models, RECIPE, store=tmp_path / "other", progress=False)
    assert later.label.tolist() == frame.label.tolist() and [word.split()[2] for word in trained[3:]] == ["PGD", "WPGD",
                                                                                                        "CE"]


# --- progress ---------------------------------------------------------------------------------------------------

ROW = {"epoch": 1, "train_loss": 0.5, "val_ne": 12.3, "val_ae": math.nan, "seconds": 7.0}


def run_of(epochs):
    return SimpleNamespace(config=SimpleNamespace(label="run", epochs=epochs))


def test_a_log_gets_a_line_an_epoch(capsys, monkeypatch):
    monkeypatch.delenv("WPGD_STATUS", raising=False)
    bar = Progress(run_of(3), 0, show=True)
    bar.update(ROW)
    bar.update({**ROW, "epoch": 2, "val_ae": 45.6})
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["run  epoch 1/3  loss 0.500  NE 12.3 %  7 s",
                     "run  epoch 2/3  loss 0.500  NE 12.3 %  AE 45.6 %  7 s"]
    Progress(run_of(3), 0, show=False).update(ROW)
    assert capsys.readouterr().out == ""


def test_a_notebook_gets_a_bar_that_starts_where_the_run_resumes(monkeypatch, capsys):
    monkeypatch.delenv("WPGD_STATUS", raising=False)
    shell = SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    bar = Progress(run_of(5), 2, show=True)
    assert (bar.bar.n, bar.bar.total) == (2, 5)
    bar.update({**ROW, "epoch": 4})
    assert bar.bar.n == 4
    told = capsys.readouterr().out
    assert "run:  40%" in told and "\n" not in told, "one line of text, no widget"


def test_the_runner_gets_a_status_file_and_no_lines(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("WPGD_STATUS", str(tmp_path / "status.json"))
    bar = Progress(run_of(3), 1, show=True)
    assert json.loads((tmp_path / "status.json").read_text())["epoch"] == 1
    bar.update({**ROW, "epoch": 2})
    status = json.loads((tmp_path / "status.json").read_text())
    assert status == {"run": "run", "epoch": 2, "epochs": 3, "text": "loss 0.500  NE 12.3 %"}
    assert capsys.readouterr().out == ""


def test_whoever_cannot_be_told_any_more_stops_no_training(monkeypatch, tmp_path):
    """A closed terminal, a pipe whose reader left, a full disk below the status file, a terminal without a letter."""
    for error in (OSError(5, "Input/output error"), BrokenPipeError(), ValueError("I/O operation on closed file"),
                  UnicodeEncodeError("ascii", "ε", 0, 1, "ordinal not in range")):
        monkeypatch.delenv("WPGD_STATUS", raising=False)
        bar = Progress(run_of(3), 1, show=True)
        monkeypatch.setattr("builtins.print", mock.Mock(side_effect=error))
        bar.update(ROW)
        monkeypatch.undo()
    monkeypatch.setenv("WPGD_STATUS", str(tmp_path / "a file" / "status.json"))
    (tmp_path / "a file").write_text("")
    Progress(run_of(3), 1, show=True).update(ROW)


# --- runs that are seeds of a model -----------------------------------------------------------------------------

def table(*rows):
    return pd.DataFrame([{**dict.fromkeys(parameters.COLUMNS, ""), "label": label, "eps": eps, "seed": seed}
                         for label, eps, seed in rows])


def test_runs_of_a_model_belong_together_by_seed(capsys):
    rows = ("PGD", 4, 2), ("PGD", 4, 0), ("PGD", 4, 1), ("WPGD", 4, 0), ("WPGD", 4, 2)
    found = parameters.by_seed(table(*rows), "label")
    lists = found.groupby("label").seed.agg(list)
    assert lists["PGD"] == [0, 1, 2] and lists["WPGD"] == [0], "seed 2 would stand beside seed 1"
    assert capsys.readouterr().out == "WPGD, seed 2: left out, since a seed before it is missing\n"


def test_runs_that_differ_in_more_are_no_seeds_of_one_model():
    with pytest.raises(ValueError, match=r"PGD: these 3 runs would count as seeds .* differ in eps: leave"):
        parameters.by_seed(table(("PGD", 20, 0), ("PGD", 38, 0), ("PGD", 20, 1)), "label")


# --- imports ----------------------------------------------------------------------------------------------------

def test_importing_needs_only_the_packages_that_the_project_depends_on(tmp_path):
    """Data frames, figures, WordNet and torchvision are imported where they are used."""
    script = textwrap.dedent("""
        import importlib, pkgutil, re, sys
        BLOCKED = {"pandas", "matplotlib", "seaborn", "sklearn", "scipy", "nltk", "mlxtend", "torchvision", "PIL",
                   "IPython", "ipywidgets", "papermill", "nbformat", "jupyterlab", "ot", "torchattacks", "pytest"}

        class Without:
            # A finder that does not find some packages, as if they were not installed.

            def __init__(self, finder):
                self.finder = finder

            def __getattr__(self, name):
                return getattr(self.finder, name)

            def find_spec(self, name, path=None, target=None):
                return None if name.split(".")[0] in BLOCKED else self.finder.find_spec(name, path, target)

        sys.meta_path[:] = map(Without, sys.meta_path)
        import helpers, jobs
        names = [module.name for package in (helpers, jobs)
                 for module in pkgutil.walk_packages(package.__path__, package.__name__ + ".")]
        # Who draws or reports has pandas and seaborn.
        names = [name for name in names if not re.search("__main__|plotting|results|paper", name)]
        for name in [*names, "study.paper", "study.claims"]:
            importlib.import_module(name)
        print(len(names))
        helpers.costs.wordnet_cost("cifar10")
        # A plan needs no more either, down to the answers of a WPGD run.
        from pathlib import Path
        from jobs.__main__ import main
        Path("plan.yaml").write_text(
            "models: [{data: toy3, network: mlp-8, epochs: 1, lr: 0.05, method: wpgd, eps: 10, norm: l2, steps: 1,"
            " val_steps: 1, cost: toy3, ema: 0.9, precision: bf16}]\\nevaluate: {eps: [10], steps: 1, metric: toy3}")
        out, sys.stdout = sys.stdout, sys.stderr
        assert main(["plan.yaml", "--store", "runs", "--export", "out", "--weights", "float16"]) == 0
        written = {file.name for file in Path("out").rglob("*")}
        assert {"answers.npz", "cost.csv", "weights.safetensors"} <= written
        assert not BLOCKED & {name.split(".")[0] for name in sys.modules}
    """)
    call = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True,
                          env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert call.returncode == 0, call.stderr
    assert int(call.stdout) > 15
