"""Train an exported run again, and say whether it comes out the same: `python -m jobs --verify DIR`.

Threads and instruction sets add up in another order, and training magnifies it: two runs of one seed agree in every
digit on one kind of processor, elsewhere in what they learned.  How far, on digits, says ``results/verify_spread.csv``:
each run beside the first of its kind, with the test images that only one of the two gets right (`..._differ`).  That is
almost as far as two seeds are apart: another recipe is found, another seed is not.
`python -m jobs.verify STORE` measures it: it trains what is not in the folder STORE, a process a run.
"""
import csv
import dataclasses
import io
import json
import math
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from helpers import answers, attacks, costs, profiles
from helpers.evaluation import evaluate_run
from helpers.files import write_atomic
from helpers.training import configure, train
from helpers.training.store import RESULTS
from jobs.runs import config_of

SPREAD = RESULTS / "verify_spread.csv"
# Method, precision, threads, the most that oneDNN and PyTorch may use ("": all there is), seed.  The first of a method
# and precision is what the others are compared with; another seed only tells how far apart two runs can be.
RUNS = (("ce", "float32", 1, "", 0), ("ce", "float32", 1, "AVX2", 0), ("ce", "float32", 2, "", 0),
        ("pgd", "float32", 1, "", 0), ("pgd", "float32", 1, "AVX2", 0), ("pgd", "float32", 2, "", 0),
        ("pgd", "float32", 1, "", 1), ("pgd", "bf16", 1, "", 0), ("pgd", "bf16", 1, "AVX512_CORE_BF16", 0),
        ("wpgd", "float32", 1, "", 0), ("wpgd", "float32", 1, "AVX2", 0), ("wpgd", "float32", 2, "", 0))


def verify(exported, data_root):
    """Train an exported run again; returns the exit status: 0 for results within `allowed`, 1 otherwise.

    Compared are the errors on its validation images, the natural error on the test images of its answers, and the mean
    training loss of the last epoch; what else is counted must be equal.
    """
    with tempfile.TemporaryDirectory() as store:
        run = train_again(exported, data_root, store)
        old, new = (json.loads((folder / "metrics.json").read_text()) for folder in (exported, run.folder))
        pairs = {name: (old[name], new[name], len(run.validation[1][:run.config.val_images]))
                 for name in ("val_ne", "val_ae") if old[name] is not None}
        for about, answer in answers.kept(exported):
            if about["attack"] is None and about["split"] == "test":
                again = evaluate_run(run, limit=about["limit"], allow_absent=True)
                pairs["test_ne"] = answer.error, again.error, len(again.labels)
    rows = [(name, *pair, allowed(*pair)) for name, pair in pairs.items()]
    rows.append(("train_loss", old["train_loss"], new["train_loss"], 0, spread()[1] * old["train_loss"]))
    rows += [(name, old[name], new[name], 0, 0) for name in ("epochs", "train_images", "parameters")]
    for name, before, now, _, most in rows:
        print(f"{name}: {now:g}, exported: {before:g}" + (f", allowed: +-{most:.2g}" if most else ""))
    same = all(before == now for _, before, now, _, _ in rows)
    near = all(abs(before - now) <= most for _, before, now, _, most in rows)
    verdict = "the same results" if same else f"the same within the spread of {SPREAD.name}" if near else "differs"
    print(f"{run.config.label}: {verdict}")
    return 0 if near else 1


def train_again(folder, data_root, store, seed=None):
    """Train the run in a folder again, or with another seed, in another store; returns the new `Run`."""
    config = config_of(folder)
    if costs.fitted(config.cost):  # another processor would fit a slightly different matrix
        config = dataclasses.replace(config, cost=costs.read_csv(Path(folder) / "cost.csv", name=config.cost))
    return train(config if seed is None else dataclasses.replace(config, seed=seed), data_root=data_root, store=store)


def allowed(before, now, images):
    """How far two errors [%] on so many images may be from each other: three standard deviations, and one image.

    Of n images n d are right in one run only, as often in either, so that the difference of the errors has the standard
    deviation sqrt(d / n).  d is 2 e (1 - e) for two runs that have nothing but the mean error e in common; the share of
    it that threads and instruction sets cause is the largest of `spread`.
    """
    error = (before + now) / 200
    return 300 * math.sqrt(spread()[0] * 2 * error * (1 - error) / images) + 100 / images


def spread(file=SPREAD):
    """From the committed rows: the largest share (see `allowed`), and three times the largest difference of a loss."""
    shares, losses, first = [], [], {}
    for row in csv.DictReader(file.read_text().splitlines()):
        begun = first.setdefault((row["method"], row["precision"]), row)
        if row is not begun and row["seed"] == begun["seed"]:
            losses.append(abs(float(row["train_loss"]) / float(begun["train_loss"]) - 1))
            for name in ("ne", "ae"):
                error = (float(row[name]) + float(begun[name])) / 200
                if 0 < error < 1:
                    shares.append(int(row[f"{name}_differ"]) / int(row["images"]) / (2 * error * (1 - error)))
    return max(shares), 3 * max(losses)


def measure(store):
    """Write `SPREAD`, a row a run, each in a process of its own."""
    rows, text = [], io.StringIO()
    for method, precision, threads, most, seed in RUNS:
        name = "-".join(filter(None, (method, precision, str(threads), most, f"seed{seed}" if seed else "")))
        words = [sys.executable, "-m", "jobs.verify", store, name, str(seed)]
        limits = {"ONEDNN_MAX_CPU_ISA": most} | ({"ATEN_CPU_CAPABILITY": "avx2"} if most == "AVX2" else {})
        told = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True, env={
            **os.environ, "OMP_NUM_THREADS": str(threads), **(limits if most else {})})
        rows.append({"method": method, "precision": precision, "threads": threads, "instructions": most or "all",
                     "seed": seed, **json.loads(told.stdout.splitlines()[-1])})
        print(*rows[-1].values(), flush=True)
    writer = csv.DictWriter(text, rows[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomic(SPREAD, text.getvalue())


def _row(store, name, seed):
    """Train one run by the recipe of profile quick, and print its row of the CSV as JSON."""
    method, precision = name.split("-")[:2]
    begun = Path(store) / f"{method}-{precision}-1"
    if begun.name == name:
        recipe = profiles.read(profiles.find("quick"))["recipe"]
        config = configure(recipe, {"method": method, "precision": precision, "seed": seed, "p": 2.5})
        run = train(config, store=begun)
    else:
        run = train_again(next(begun.iterdir()), None, Path(store) / name, seed)
    first = {bool(about["attack"]): answer for about, answer in answers.kept(next(begun.iterdir()))}
    found = [evaluate_run(run, attack) for attack in (None, attacks.PGD(run.config.val_eps / 255))]
    row = {"commit": run.made["commit"], "seconds": run.made["seconds"], "images": len(found[0].labels),
           "train_loss": run.metrics["train_loss"], "ne": round(found[0].error, 4), "ae": round(found[1].error, 4)}
    for attacked, one in enumerate(found):
        row[("ne", "ae")[attacked] + "_differ"] = int((one.correct != first.get(bool(attacked), one).correct).sum())
    print(json.dumps(row))


if __name__ == "__main__":
    _row(*sys.argv[1:3], int(sys.argv[3])) if len(sys.argv) > 3 else measure(sys.argv[1])
