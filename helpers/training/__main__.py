"""Train the runs of a plan, in its order: `python -m helpers.training PLAN.yaml [--budget-minutes M]`.

A plan is YAML: `defaults`, a mapping of `TrainConfig` fields, and `runs`, a list of mappings with the fields that
differ and, optionally, `minutes`, what the run is expected to take.  Finished runs are skipped, interrupted ones
resumed; a run whose minutes do not fit into what is left of the budget still starts, since it resumes later.
In place of a plan, the config.json of a run trains that run.

`--export DIR` writes the small files of each finished run; before, it evaluates the run on the test images: clean, by
PGD-20 with the eps it was validated with, and as the plan's `evaluate` says.  `--verify DIR` trains the run that was
exported to DIR again, in a folder of its own, and compares.  `--restore results/reduced` puts committed networks into
the store, so that notebooks find them.
"""
import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

from helpers.training import OutOfTime, default_store, train
from helpers.training.export import differing_metrics, export_run, restore_runs
from helpers.training.loop import prepare
from helpers.training.plan import read_plan
from helpers.training.store import finished


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
    deadline = None if options.budget_minutes is None else time.monotonic() + 60 * options.budget_minutes
    plan = read_plan(options.plan)
    jobs = [(config, minutes, prepare(config, options.data_root, options.store).folder)
            for config, minutes in plan.runs]
    failed = 0
    for number, (config, minutes, folder) in enumerate(jobs, 1):
        state = "done" if finished(folder) else f"~{minutes:g} min" if minutes else "to do"
        print(f"[{number}/{len(jobs)}] {config.label}  {state}", flush=True)
        if options.list or (finished(folder) and not options.export):
            continue
        try:
            run = train(config, data_root=options.data_root, store=options.store, deadline=deadline,
                        compile={"off": False}.get(options.compile, options.compile))
        except ValueError as error:  # everything was checked above, so it diverged: the others can still run
            print(f"error: {error}", file=sys.stderr)
            failed += 1
            continue
        if options.export:
            export(run, plan.evaluate, options, deadline)
    return 1 if failed else 0


def export(run, settings, options, deadline):
    """Write the small files of a run; before, measure what nobody measured yet, as far as the time allows."""
    from helpers.paper.section5 import evaluate_planned
    done = evaluate_planned(run, deadline, **settings)
    print(f"exported to {export_run(run.folder, options.export, options.weights)}", flush=True)
    if not done:
        raise OutOfTime(f"{run.config.label}: trained and exported, but not yet attacked by all")


def verify(exported, data_root):
    """Train an exported run again; returns the exit status: 0 for the same results, 1 otherwise."""
    (config, _), = read_plan(exported / "config.json").runs
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
