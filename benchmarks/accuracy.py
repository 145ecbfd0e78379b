"""Is speed paid for with accuracy?  NE and AE of the quick profile's PGD and WPGD models, by both training loops."""
import tempfile
import time

import numpy as np
import torch

from benchmarks.plain import plain_train
from benchmarks.timing import Contender, Task, answers
from benchmarks.workers import ContenderError, Workers
from helpers import attacks, data, evaluation, profiles
from helpers.training import configure, train
from helpers.training.store import prepare

NAME = "accuracy"
METHODS = {"PGD": {"method": "pgd"}, "WPGD p = 1": {"method": "wpgd", "p": 1.0}}
PATHS = ("ours", "plain loop")
SEEDS = {"smoke": (0,), "full": (0, 1, 2)}
# Enough to see it work.
SMOKE = {"epochs": 1, "steps": 1, "train_size": 64, "val_size": 50, "val_images": 50, "val_steps": 1}


def build(device, path, method, seed, smoke):
    """A `Task` that trains one model and answers (NE in %, AE in %, seconds of training)."""
    profile = profiles.read(profiles.find("quick"))
    notebook = profile["notebooks"]["05_wpgd_training"]
    varied = {"eps": notebook["eps"], "seed": seed}
    config = configure(profile["recipe"], METHODS[method], varied, SMOKE if smoke else {})
    attack = attacks.PGD(notebook["eps"] / 255, steps=2 if smoke else notebook["attack_steps"])

    def run():
        model, dataset, seconds = {"ours": _ours, "plain loop": _plain}[path](config, device)
        images, labels = data.to_float(dataset.x_test), dataset.y_test
        if smoke:
            images, labels = images[::20], labels[::20]
        images, labels = images.to(device), labels.to(device)
        errors = [evaluation.evaluate(model, images, labels, one, batch_size=500).error for one in (None, attack)]
        return np.array([*errors, seconds])
    return Task(run)


def _ours(config, device):
    with tempfile.TemporaryDirectory() as store:
        run = train(config, store=store, progress=False)
    return run.model, run.dataset, run.metrics["seconds"]


def _plain(config, device):
    job = prepare(config, store=tempfile.gettempdir())
    cost = None if job.cost is None else torch.tensor(job.cost.normalized, dtype=torch.float32)
    began = time.perf_counter()
    model = plain_train(config, job.dataset, job.parts.train, cost, device)
    return model, job.dataset, time.perf_counter() - began


def rows(scale, rounds, device):
    """Yield lists of rows: one a path for each method and seed, then a method's means over the seeds.

    Columns of the means: `ne_sd` and `ae_sd`, standard deviations over seeds; `ne_difference` and `ae_difference`,
    to the means of ours; `ne_noise` and `ae_noise`, the standard errors of these differences.  `rounds` is not used:
    the seeds are what is repeated.
    """
    with Workers(PATHS, device) as workers:
        for method in ("WPGD p = 1",) if scale == "smoke" else METHODS:
            results = {path: {} for path in PATHS}
            for seed in SEEDS[scale]:
                settings = {"method": method, "seed": seed, "smoke": scale == "smoke"}
                values = answers(workers, [Contender(path, build, {"path": path, **settings}) for path in PATHS])
                for path, value in values.items():
                    results[path][seed] = value
                yield [_row(f"{method}, seed {seed}", path, value) for path, value in values.items()]
            yield _means(method, results)


def _row(setting, path, value):
    row = {"benchmark": NAME, "setting": setting, "contender": path, "role": "ours" if path == "ours" else "peer",
           "reference": "ours", "rounds": 1}
    if isinstance(value, ContenderError):
        return {**row, "note": f"failed: {value}"}
    return {**row, "ne": float(value[0]), "ae": float(value[1]), "seconds": float(value[2])}


def _means(method, results):
    """A row a path; the ratio is ours over it, of the training times of the same seed."""
    tables = {path: np.array([value for value in by_seed.values() if not isinstance(value, ContenderError)])
              for path, by_seed in results.items()}
    if not all(len(table) for table in tables.values()):
        return []
    ours, found = tables["ours"], []
    for path, table in tables.items():
        row = _row(f"{method}, mean of {len(table)} seeds", path, table.mean(axis=0)) | {"rounds": len(table)}
        if len(table) == len(ours):
            ratios = ours[:, 2] / table[:, 2]
            row |= {"ratio": float(np.median(ratios)), "ratio_q10": float(np.quantile(ratios, 0.1)),
                    "ratio_q90": float(np.quantile(ratios, 0.9))}
        for column, name in enumerate(("ne", "ae")):
            spread, base = _variance(table[:, column]), _variance(ours[:, column])
            row |= {f"{name}_sd": spread ** 0.5,
                    f"{name}_difference": float(table[:, column].mean() - ours[:, column].mean()),
                    f"{name}_noise": (spread / len(table) + base / len(ours)) ** 0.5}
        found.append(row)
    return found


def _variance(values):
    return float(values.var(ddof=1)) if len(values) > 1 else float("nan")
