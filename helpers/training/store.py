"""Runs on disk: a folder a run, named by the hash of what decides its weights.

    <store>/<data>-<network>-<method>...-<hash>/
        config.json  history.csv  metrics.json  provenance.json  weights.safetensors  [cost.csv]
        checkpoint.pt            while unfinished
        evaluations/             cached by `helpers.evaluation.evaluate_run`
"""
import csv
import hashlib
import json
import math
import os
import pickle
import re
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from helpers.costs import CostMatrix
from helpers.training.config import TrainConfig

# Part of every hash: raise it when a change of the training code changes what a config trains.
RECIPE_VERSION = 1


@dataclass(repr=False)
class Run:
    """A finished training run.

    Attributes
    ----------
    config : TrainConfig
    model : nn.Module on `device`, in eval mode, maps [0, 1] to logits
    dataset : Dataset the run was trained on (after selecting classes)
    validation : (images, labels) held out from training
    metrics : dict, last values and totals
    folder : Path
    loaded : bool, True if it was found on disk rather than trained now
    """

    config: TrainConfig
    model: torch.nn.Module
    dataset: object
    validation: tuple
    cost: object
    metrics: dict
    folder: Path
    loaded: bool = False
    rows: list = field(default_factory=list)

    @property
    def history(self):
        """DataFrame, a row a validated epoch: epoch, lr, train_loss, val_ne, val_ae (in %), seconds."""
        import pandas
        return pandas.DataFrame(self.rows)

    def __repr__(self):
        return (f"Run({self.config.label!r}, NE {self.metrics['val_ne']:.1f} %, AE {self.metrics['val_ae']:.1f} % "
                f"on validation, {self.metrics['seconds']:.0f} s, {self.folder.name!r})")


def default_store():
    """Where runs lie unless a caller says otherwise: $WPGD_RUNS, or `results/runs` beside this package."""
    return Path(os.environ.get("WPGD_RUNS") or Path(__file__).resolve().parents[2] / "results" / "runs")


def identity(config, fingerprint, cost_digest):
    """What a run's weights depend on, as a dict: config, data, cost values, version of the recipe."""
    return {**config.to_dict(), "data_fingerprint": fingerprint, "recipe_version": RECIPE_VERSION,
            "cost_digest": cost_digest}


def folder_of(store, config, facts):
    """Folder of a run; the readable part is for people, the hash decides."""
    # A user's folder and the way to write a cost may differ between machines: fingerprint and digest stand for them.
    hashed = {**facts, "data": Path(facts["data"]).name, "cost": None}
    digest = hashlib.sha256(json.dumps(hashed, sort_keys=True).encode()).hexdigest()[:10]
    return Path(store) / f"{re.sub(r'[^A-Za-z0-9.=-]+', '_', config.label)}-{digest}"


def finished(folder):
    """Whether a folder holds a finished run."""
    return (folder / "metrics.json").is_file() and (folder / "weights.safetensors").is_file()


def write(folder, config_facts, cost, rows, metrics, facts, state):
    """Write a finished run; metrics.json comes last, since its presence means that the rest is there."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "config.json", config_facts)
    write_rows(folder / "history.csv", rows)
    write_json(folder / "provenance.json", facts)
    if cost is not None:
        write_cost(folder / "cost.csv", cost)
    temporary = folder / f"weights.{os.getpid()}.tmp"
    save_file({name: value.detach().cpu().contiguous() for name, value in state.items()}, temporary)
    os.replace(temporary, folder / "weights.safetensors")
    # Strict JSON has no NaN: an adversarial error that was not measured is null.
    write_json(folder / "metrics.json", {name: None if value != value else value for name, value in metrics.items()})
    (folder / "checkpoint.pt").unlink(missing_ok=True)


def read(folder, model):
    """Weights into `model`; returns (rows, metrics)."""
    model.load_state_dict(load_file(folder / "weights.safetensors"))
    with open(folder / "history.csv", newline="") as file:
        rows = [{name: _number(value) for name, value in row.items()} for row in csv.DictReader(file)]
    metrics = json.loads((folder / "metrics.json").read_text())
    return rows, {name: math.nan if value is None else value for name, value in metrics.items()}


def save_checkpoint(folder, state):
    """Write what resuming needs, so that a kill at any moment leaves the old or the new file whole."""
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f"checkpoint.{os.getpid()}.tmp"
    torch.save(state, temporary)
    os.replace(temporary, folder / "checkpoint.pt")


def load_checkpoint(folder):
    """The last checkpoint, or None if there is none or it cannot be read (then training starts again)."""
    try:
        return torch.load(folder / "checkpoint.pt", map_location="cpu", weights_only=True)
    except FileNotFoundError:
        return None
    except (RuntimeError, EOFError, OSError, pickle.UnpicklingError) as error:
        print(f"{folder.name}: the checkpoint cannot be read ({type(error).__name__}); training starts again")
        return None


def find(store=None, **wanted):
    """Folders of the finished runs whose config has these values: ``find(store, data="cifar10", method="pgd")``."""
    folders = []
    for file in sorted(Path(store or default_store()).glob("*/config.json")):
        values = json.loads(file.read_text())
        if finished(file.parent) and all(values.get(name) == value for name, value in wanted.items()):
            folders.append(file.parent)
    return folders


def write_json(path, value):
    """Write JSON so that a reader sees the old or the new file, never half of one."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    temporary.write_text(json.dumps(value, indent=1) + "\n")
    os.replace(temporary, path)


def write_cost(path, cost):
    """Write a CostMatrix as `costs.read_csv` reads it, without pandas: a machine that only trains may lack it."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    with open(temporary, "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["", *cost.classes])
        writer.writerows([name, *row] for name, row in zip(cost.classes, cost.values.tolist()))
    os.replace(temporary, path)


def read_cost(path, name):
    """The CostMatrix of `write_cost`, digit for digit, under a name."""
    with open(path, newline="") as file:
        (_, *classes), *rows = csv.reader(file)
    return CostMatrix([[float(value) for value in row[1:]] for row in rows], classes, name=name)


def write_rows(path, rows):
    """Write a list of dicts with equal keys as CSV."""
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _number(text):
    return int(text) if text.lstrip("-").isdigit() else float(text or "nan")
