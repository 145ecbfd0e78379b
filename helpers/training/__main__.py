"""Train the runs of a plan, in its order: `python -m helpers.training PLAN.yaml [--budget-minutes M]`.

A plan is YAML: `defaults`, a mapping of `TrainConfig` fields, and `runs`, a list of mappings with the fields that
differ and, optionally, `minutes`, what the run is expected to take, and `autoattack`, the number of test images to
attack by AutoAttack afterwards (needs torchattacks).  Finished runs are skipped, interrupted ones resumed; a run whose
minutes do not fit into what is left of the budget still starts, since it resumes later.
In place of a plan, the config.json of a run trains that run.

`--export DIR` writes the small files of each finished run; before, it evaluates the run on the test images: clean, by
PGD-20 with the eps it was validated with, and as the plan's `evaluate` says.  `--verify DIR` trains the run that was
exported to DIR again, in a folder of its own, and compares.  `--restore results/reduced` puts committed networks into
the store, so that notebooks find them.
"""
import argparse
import dataclasses
import json
import sys
import tempfile
import time
from pathlib import Path

from helpers.costs import is_fitted
from helpers.training import OutOfTime, default_store, train
from helpers.training.export import differing_metrics, export_run, restore_runs
from helpers.training.loop import prepare
from helpers.training.plan import read_plan
from helpers.training.store import finished, read_cost


def main(words=None):
    """Command line; returns the exit status: 0 all done, 1 a run diverged, 2 an error in the plan, 3 time is over."""
    parser = argparse.ArgumentParser(prog="python -m helpers.training", description=__doc__.split("\n\n")[0])
    parser.add_argument("plan", type=Path, nargs="?", help="a plan, or the config.json of a run")
    parser.add_argument("--budget-minutes", type=float, help="stop cleanly before this time is over")
    parser.add_argument("--data-root", type=Path, help="folder of the data sets")
    parser.add_argument("--store", type=Path, default=default_store(), help="folder of the runs")
    parser.add_argument("--list", action="store_true", help="show what is done and what is left; train nothing")
    parser.add_argument("--compile", default="auto", metavar="MODE",
                        help='auto (default), off, or a mode of torch.compile such as default or max-autotune')
    parser.add_argument("--export", type=Path, metavar="DIR", help="write small files of the finished runs")
    parser.add_argument("--weights", choices=("float32", "float16"), help="export the weights as well")
    parser.add_argument("--verify", type=Path, metavar="DIR", help="train an exported run again and compare")
    parser.add_argument("--restore", type=Path, metavar="DIR", help="put the networks of DIR/weights into the store")
    options = parser.parse_args(words)
    if sum(one is not None for one in (options.plan, options.verify, options.restore)) != 1:
        parser.error("give a plan, --verify DIR or --restore DIR")
    try:
        if options.restore:
            names = restore_runs(options.restore, options.store)
            print(*names, f"{len(names)} runs put into {options.store}", sep="\n")
            return 0
        return verify(options.verify, options.data_root) if options.verify else work(options)
    except OutOfTime as stop:
        print(f"time is over: {stop}; call again to resume")
        return 3
    except (ValueError, FileNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def work(options):
    """Train and export the runs of a plan, all checked before the first begins; returns the exit status."""
    from helpers.paper.section5 import audited
    deadline = None if options.budget_minutes is None else time.monotonic() + 60 * options.budget_minutes
    plan = read_plan(options.plan)
    jobs = [(entry, prepare(entry.config, options.data_root, options.store).folder) for entry in plan.runs]
    failed = 0
    for number, (entry, folder) in enumerate(jobs, 1):
        extra = f", AutoAttack on {entry.autoattack} images" if entry.autoattack else ""
        done = finished(folder) and (not entry.autoattack or audited(folder, entry.config, entry.autoattack))
        state = "done" if done else f"~{entry.minutes:g} min" if entry.minutes else "to do"
        print(f"[{number}/{len(jobs)}] {entry.config.label}{extra}  {state}", flush=True)
        if options.list or (done and not options.export):
            continue
        try:
            run = train(entry.config, data_root=options.data_root, store=options.store, deadline=deadline,
                        compile={"off": False}.get(options.compile, options.compile))
            if options.export or entry.autoattack:
                measure(run, entry, plan.evaluate, options, deadline)
        except (ValueError, ImportError) as error:
            # Everything was checked above: it diverged, or the package of an attack is missing. The others can run.
            print(f"error: {error}", file=sys.stderr)
            failed += 1
    return 1 if failed else 0


def measure(run, entry, settings, options, deadline):
    """Measure what nobody measured yet, as far as the time allows, and write the small files of a run."""
    from helpers.paper.section5 import evaluate_planned
    try:
        done = evaluate_planned(run, deadline, autoattack=entry.autoattack, **settings)
    finally:  # what was measured before an attack failed is worth keeping
        if options.export:
            print(f"exported to {export_run(run.folder, options.export, options.weights)}", flush=True)
    if not done:
        raise OutOfTime(f"{run.config.label}: trained, but not yet attacked by all")


def verify(exported, data_root):
    """Train an exported run again; returns the exit status: 0 for the same results, 1 otherwise."""
    config = read_plan(exported / "config.json").runs[0].config
    if is_fitted(config.cost):  # another processor would fit a slightly different matrix
        config = dataclasses.replace(config, cost=read_cost(exported / "cost.csv", config.cost))
    with tempfile.TemporaryDirectory() as store:
        run = train(config, data_root=data_root, store=store)
        different = differing_metrics(exported / "metrics.json", run.folder / "metrics.json")
        old, new = (json.loads((folder / "metrics.json").read_text()) for folder in (exported, run.folder))
    for name in different:
        print(f"{name}: {new[name]}, exported: {old[name]}")
    print(f"{config.label}: {'differs' if different else 'the same results'}")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
