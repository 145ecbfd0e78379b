"""Train the runs of a plan, in its order: `python -m helpers.training PLAN.yaml [--budget-minutes M]`.

A plan is YAML: `defaults`, a mapping of `TrainConfig` fields, and `runs`, a list of mappings with the fields that
differ and, optionally, `minutes`, what the run is expected to take.  Finished runs are skipped, interrupted ones
resumed; a run whose minutes do not fit into what is left of the budget still starts, since it resumes later.
In place of a plan, the config.json of a run trains that run.

`--export DIR` writes the small files of each finished run; before, it evaluates runs that nobody evaluated yet (clean,
and by PGD-20 with the eps they were validated with) on the test images.  `--verify DIR` trains the run that was
exported to DIR again, in a folder of its own, and compares.
"""
import argparse
import dataclasses
import json
import sys
import tempfile
import time
from pathlib import Path

import yaml

from helpers.training import OutOfTime, TrainConfig, configure, default_store, train
from helpers.training.export import confusions, differing_metrics, export_run
from helpers.training.loop import prepare
from helpers.training.store import finished


def main(words=None):
    """Command line; returns the exit status: 0 all done, 1 a run diverged, 2 an error in the plan, 3 time is over."""
    parser = argparse.ArgumentParser(prog="python -m helpers.training", description=__doc__.split("\n\n")[0])
    parser.add_argument("plan", type=Path, nargs="?", help="a plan, or the config.json of a run")
    parser.add_argument("--budget-minutes", type=float, help="stop cleanly before this time is over")
    parser.add_argument("--data-root", type=Path, help="folder of the data sets")
    parser.add_argument("--store", type=Path, default=default_store(), help="folder of the runs")
    parser.add_argument("--list", action="store_true", help="show what is done and what is left; train nothing")
    parser.add_argument("--export", type=Path, metavar="DIR", help="write small files of the finished runs")
    parser.add_argument("--weights", choices=("float32", "float16"), help="export the weights as well")
    parser.add_argument("--verify", type=Path, metavar="DIR", help="train an exported run again and compare")
    options = parser.parse_args(words)
    if (options.plan is None) == (options.verify is None):
        parser.error("give either a plan or --verify DIR")
    try:
        return verify(options.verify, options.data_root) if options.verify else work(options)
    except OutOfTime as stop:
        print(f"time is over: {stop}; call again to resume")
        return 3
    except (ValueError, FileNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def work(options):
    """Train and export the runs of a plan, all checked before the first begins; returns the exit status."""
    deadline = None if options.budget_minutes is None else time.monotonic() + 60 * options.budget_minutes
    jobs = [(config, minutes, prepare(config, options.data_root, options.store).folder)
            for config, minutes in read_plan(options.plan)]
    failed = 0
    for number, (config, minutes, folder) in enumerate(jobs, 1):
        state = "done" if finished(folder) else f"~{minutes:g} min" if minutes else "to do"
        print(f"[{number}/{len(jobs)}] {config.label}  {state}", flush=True)
        if options.list or (finished(folder) and not options.export):
            continue
        try:
            run = train(config, data_root=options.data_root, store=options.store, deadline=deadline)
        except ValueError as error:  # everything was checked above, so it diverged: the others can still run
            print(f"error: {error}", file=sys.stderr)
            failed += 1
            continue
        if options.export:
            evaluate(run)
            print(f"exported to {export_run(run.folder, options.export, options.weights)}", flush=True)
    return 1 if failed else 0


def evaluate(run):
    """Evaluate a run that was never evaluated: clean, and by PGD-20 if it was validated under attack."""
    if confusions(run.folder):
        return
    from helpers.attacks import PGD
    from helpers.evaluation import evaluate_run
    evaluate_run(run, allow_absent=True)
    if run.config.val_eps:
        evaluate_run(run, PGD(run.config.val_eps / 255, norm=run.config.norm), allow_absent=True)


def verify(exported, data_root):
    """Train an exported run again; returns the exit status: 0 for the same results, 1 otherwise."""
    (config, _), = read_plan(exported / "config.json")
    with tempfile.TemporaryDirectory() as store:
        run = train(config, data_root=data_root, store=store)
        different = differing_metrics(exported / "metrics.json", run.folder / "metrics.json")
        old, new = (json.loads((folder / "metrics.json").read_text()) for folder in (exported, run.folder))
    for name in different:
        print(f"{name}: {new[name]}, exported: {old[name]}")
    print(f"{config.label}: {'differs' if different else 'the same results'}")
    return 1 if different else 0


def read_plan(path):
    """The (TrainConfig, minutes or None) pairs of a plan file, all validated; one pair for a run's config.json."""
    if path.suffix == ".json":
        names = {field.name for field in dataclasses.fields(TrainConfig)}
        facts = {name: value for name, value in json.loads(path.read_text()).items() if name in names}
        if "@" in str(facts.get("cost")):  # a matrix that no text can name lies beside
            facts["cost"] = str(path.with_name("cost.csv"))
        return [(configure(facts), None)]
    try:
        plan = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is no valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(plan, dict) or not isinstance(plan.get("runs"), list) or set(plan) - {"defaults", "runs"}:
        raise ValueError(f"{path} is no plan: it needs a list `runs` and may have a mapping `defaults`, nothing else")
    defaults = plan.get("defaults") or {}
    if not isinstance(defaults, dict):
        raise ValueError(f"{path}: `defaults` must be a mapping of settings, not {defaults!r}")
    return [_job(entry, number, defaults, path) for number, entry in enumerate(plan["runs"], 1)]


def _job(entry, number, defaults, path):
    if not isinstance(entry, dict):
        raise ValueError(f"{path}: run {number} must be a mapping of settings, not {entry!r}")
    minutes = entry.get("minutes")
    if minutes is not None and type(minutes) not in (int, float):
        raise ValueError(f"{path}: run {number} has minutes = {minutes!r}: give a number")
    return configure(defaults, {name: value for name, value in entry.items() if name != "minutes"}), minutes


if __name__ == "__main__":
    sys.exit(main())
