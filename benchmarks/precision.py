"""Is bf16 paid for with accuracy?  NE and AE of the same networks trained in float32 and in bf16, three seeds."""
import contextlib
import tempfile

import numpy as np

from benchmarks.accuracy import SMOKE, means, row
from helpers import attacks, evaluation, profiles
from study.parameters import train_models

NAME = "precision"
PRECISIONS = ("float32", "bf16")
SEEDS = {"smoke": [0], "full": [0, 1, 2]}
# Profile whose recipe it is, methods, eps in 1/255, test images.  Only what takes minutes is trained here; CIFAR-10 is
# measured where `python -m helpers.training` trained its runs, or where they are committed with their answers.
CASES = (("quick", ("ce", "pgd", "wpgd"), 38, 500, True), ("reduced", ("pgd",), 4, 2000, False))


def rows(scale, rounds, device):
    """Yield lists of rows, one a precision and seed and then the means: columns as of `accuracy.rows`.

    NE and AE are those of the test images, AE under PGD-20 in float32, whatever the network was trained in.
    """
    for profile, methods, eps, images, train_missing in CASES[:1] if scale == "smoke" else CASES:
        recipe = profiles.read(profiles.find(profile))["recipe"] | (SMOKE if scale == "smoke" else {})
        attack = attacks.PGD(eps / 255, steps=2 if scale == "smoke" else 20)
        for method in methods[1:2] if scale == "smoke" else methods:
            model = {"method": method, "p": 10.0, "eps": eps, "seed": SEEDS[scale]}
            with tempfile.TemporaryDirectory() if scale == "smoke" else contextlib.nullcontext() as store:
                results = {precision: _errors(train_models([{**model, "precision": precision}], recipe, store=store,
                                                           progress=False, train_missing=train_missing).run,
                                              attack, images) for precision in PRECISIONS}
            setting = f"{recipe['data']} {recipe['network']} {method.upper()}"
            yield [row(NAME, f"{setting}, seed {seed}", precision, PRECISIONS[0], value)
                   for precision, by_seed in results.items() for seed, value in by_seed.items()]
            yield means(NAME, setting, results, PRECISIONS[0])


def _errors(runs, attack, images):
    """{seed: (NE in %, AE in %, NaN)}: their seconds are not compared, they were trained at different times."""
    return {run.config.seed: np.array([*(evaluation.evaluate_run(run, one, limit=images).error
                                         for one in (None, attack)), np.nan]) for run in runs}
