"""Train the runs of a plan, in its order: `python -m helpers.training PLAN.yaml [--budget-minutes M]`.

A plan is YAML: `defaults`, a mapping of `TrainConfig` fields, and `runs`, a list of mappings with the fields that
differ and, optionally, `minutes`, what the run is expected to take.  Finished runs are skipped, interrupted ones
resumed; a run whose minutes do not fit into what is left of the budget still starts, since it resumes later.
"""
import argparse
import sys
import time
from pathlib import Path

import yaml

from helpers.training import OutOfTime, configure, default_store, train
from helpers.training.loop import prepare
from helpers.training.store import finished


def main(words=None):
    """Command line; returns the exit status: 0 all done, 1 a run diverged, 2 an error in the plan, 3 time is over."""
    parser = argparse.ArgumentParser(prog="python -m helpers.training", description=__doc__.split("\n\n")[0])
    parser.add_argument("plan", type=Path)
    parser.add_argument("--budget-minutes", type=float, help="stop cleanly before this time is over")
    parser.add_argument("--data-root", type=Path, help="folder of the data sets")
    parser.add_argument("--store", type=Path, default=default_store(), help="folder of the runs")
    parser.add_argument("--list", action="store_true", help="show what is done and what is left; train nothing")
    options = parser.parse_args(words)
    deadline = None if options.budget_minutes is None else time.monotonic() + 60 * options.budget_minutes
    try:
        plan = read_plan(options.plan)
        jobs = [(config, minutes, prepare(config, options.data_root, options.store).folder) for config, minutes in plan]
        failed = 0
        for number, (config, minutes, folder) in enumerate(jobs, 1):
            state = "done" if finished(folder) else f"~{minutes:g} min" if minutes else "to do"
            print(f"[{number}/{len(jobs)}] {config.label}  {state}", flush=True)
            if options.list or finished(folder):
                continue
            try:
                train(config, data_root=options.data_root, store=options.store, deadline=deadline)
            except ValueError as error:  # everything was checked above, so it diverged: the others can still run
                print(f"error: {error}", file=sys.stderr)
                failed += 1
    except OutOfTime as stop:
        print(f"time is over: {stop}; call again to resume")
        return 3
    except (ValueError, FileNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 1 if failed else 0


def read_plan(path):
    """The (TrainConfig, minutes or None) pairs of a plan file, all validated."""
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
