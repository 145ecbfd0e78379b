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
                yield [row(NAME, f"{method}, seed {seed}", path, PATHS[0], value) for path, value in values.items()]
            yield means(NAME, method, results, PATHS[0])


def row(benchmark, setting, name, reference, value):
    """A row for the (NE, AE, seconds) of one training, or for what went wrong."""
    found = {"benchmark": benchmark, "setting": setting, "contender": name,
             "role": "ours" if name == reference else "peer", "reference": reference, "rounds": 1}
    if isinstance(value, ContenderError):
        return {**found, "note": f"failed: {value}"}
    return {**found, "ne": float(value[0]), "ae": float(value[1]), "seconds": float(value[2])}


def means(benchmark, setting, results, reference):
    """A row a contender: means over the seeds that all have; the ratio is the reference's training time over its own.

    `results` is {contender: {seed: (NE, AE, seconds)}}; [] where they have no seed in common.
    """
    seeds = set.intersection(*({seed for seed, value in by_seed.items() if not isinstance(value, ContenderError)}
                               for by_seed in results.values()))
    if not seeds:
        return []
    tables = {name: np.array([by_seed[seed] for seed in sorted(seeds)]) for name, by_seed in results.items()}
    base, found = tables[reference], []
    for name, table in tables.items():
        ratios = base[:, 2] / table[:, 2]
        one = row(benchmark, f"{setting}, mean of {len(seeds)} seeds", name, reference, table.mean(axis=0))
        one |= {"rounds": len(seeds), "ratio": float(np.median(ratios)), "ratio_q10": float(np.quantile(ratios, 0.1)),
                "ratio_q90": float(np.quantile(ratios, 0.9))}
        for column, error in enumerate(("ne", "ae")):
            spread, of_base = _variance(table[:, column]), _variance(base[:, column])
            one |= {f"{error}_sd": spread ** 0.5,
                    f"{error}_difference": float(table[:, column].mean() - base[:, column].mean()),
                    f"{error}_noise": ((spread + of_base) / len(seeds)) ** 0.5}
        found.append(one)
    return found


def _variance(values):
    return float(values.var(ddof=1)) if len(values) > 1 else float("nan")
