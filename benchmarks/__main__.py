"""`python -m benchmarks [NAME ...]`: measure, write one CSV a benchmark, judge the targets, draw the figure."""
import argparse
import csv
import importlib
import json
import math
import sys
import time
from pathlib import Path

from benchmarks import machine, report, targets

# In this order: what an idle machine should measure first comes first.
NAMES = ("attack", "training", "wpgd", "loss", "transport", "limit", "operators", "scaling", "accuracy",
         "precision")
RESULTS = Path(__file__).resolve().parents[1] / "results"
ROUNDS = {"full": 7, "smoke": 2}


def main(words=None):
    """Command line; returns the exit status: 0, or 2 for a name that is no benchmark."""
    options = _parse(words)
    if options.list:
        for name in NAMES:
            print(f"{name:<10} {importlib.import_module(f'benchmarks.{name}').__doc__.splitlines()[0]}")
        return 0
    unknown = [name for name in options.names if name not in (*NAMES, "figure")]
    if unknown:
        print(f"error: {unknown[0]!r} is no benchmark: choose from {', '.join(NAMES)}, figure", file=sys.stderr)
        return 2
    # Smoke's numbers mean nothing: they must not replace others, and results/smoke is not committed.
    results = RESULTS / "smoke" / "benchmarks" if options.scale == "smoke" else RESULTS / "benchmarks"
    folder = options.out or results / machine.kind()
    folder.mkdir(parents=True, exist_ok=True)
    rounds = options.rounds or ROUNDS[options.scale]
    for name in [name for name in NAMES if name in options.names or not options.names]:
        alone = {"only": options.network} if name in ("attack", "limit") else {}
        _run(name, folder, options.scale, rounds, **alone)
    _finish(folder)
    return 0


def _parse(words):
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(NAMES)}; or figure, which only redraws")
    parser.add_argument("--out", type=Path, help="folder to write into, default results/benchmarks/<machine kind>")
    parser.add_argument("--rounds", type=count, help="rounds of each case, default 7 (smoke: 2)")
    parser.add_argument("--scale", choices=("full", "smoke"), default="full", help="smoke: tiny, only to see it work")
    parser.add_argument("--network", help="attack and limit: this network alone, PGD-8 beside torchattacks; a minute")
    parser.add_argument("--list", action="store_true", help="name the benchmarks and stop")
    return parser.parse_args(words)


def count(text):
    """A number of rounds, for argparse, which puts this function's name into its message."""
    if int(text) < 1:
        raise ValueError(text)
    return int(text)


def _run(name, folder, scale, rounds, **options):
    """Run one benchmark; its CSV holds what is measured so far, also where a reader interrupts it."""
    print(f"\n{name} ({scale}, {rounds} rounds)", flush=True)
    began = time.perf_counter()
    module, rows = importlib.import_module(f"benchmarks.{name}"), []
    for part in module.rows(scale, rounds, machine.device(), **options):
        report.show(part)
        rows += part
        report.write_csv(folder / f"{name}.csv", rows)
        machine.record(folder, name, time.perf_counter() - began, scale, rounds)


def _finish(folder):
    """Targets and figure, from all CSVs that the folder holds."""
    from benchmarks import figure
    tables = {name: report.read_csv(folder / f"{name}.csv") for name in NAMES}
    path = folder / "machine.json"
    facts = json.loads(path.read_text()) if path.exists() else machine.describe()
    judged = targets.evaluate(tables, "cuda" if facts["device"].startswith("cuda") else "cpu")
    with (folder / "targets.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(judged[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(judged)
    print("\ntargets")
    for row in judged:
        value = "-" if math.isnan(row["value"]) else f"{row['value']:.4g}"
        print(f"  {row['target']:<60}{row['sense']} {row['bound']:<8g}{value:>10}  {row['verdict']}")
    figure.draw(tables, facts, folder)


if __name__ == "__main__":
    sys.exit(main())
