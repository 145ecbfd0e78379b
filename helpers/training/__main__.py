"""Train the models of a profile, in its order: `python -m helpers.training reduced [--budget-minutes M]`.

In place of a bundled profile's name, the path of a profile, or the config.json of a run.  Finished runs are skipped,
interrupted ones resumed; a run whose minutes do not fit into the budget still starts, since it resumes later.

`--export DIR` writes the small files of each finished run; before, it evaluates the run on the test images: clean, by
PGD-20 with the eps it was validated with, as the profile's `evaluate` says, and where a model says `autoattack`, by
AutoAttack on so many of them (needs torchattacks).
"""
import argparse
import dataclasses
import json
import sys
import tempfile
import time
from operator import attrgetter
from pathlib import Path

from helpers import costs
from helpers.training.cluster import states, submit, work_here
from helpers.training.export import export_run, restore_runs
from helpers.training.launch import OutOfTime, new_accelerator, on_main
from helpers.training.loop import train
from helpers.training.plan import audited, evaluate_planned, read_plan
from helpers.training.sprint import sprint
from helpers.training.store import default_store, finished, overview, prepare, remove

RESULTS = ("train_loss", "val_ne", "val_ae", "epochs", "train_images", "parameters")  # times are none


def main(words=None):
    """Command line; returns the exit status: 0 all done, 1 a run failed, 2 bad profile or store, 3 time is over."""
    parser = argparse.ArgumentParser(prog="python -m helpers.training", description=__doc__.split("\n\n")[0])
    parser.add_argument("profile", nargs="?", help="a profile's name or path, or the config.json of a run")
    parser.add_argument("--budget-minutes", type=float, help="stop cleanly before this time is over")
    parser.add_argument("--data-root", type=Path, help="folder of the data sets")
    parser.add_argument("--store", type=Path, default=default_store(), help="folder of the runs")
    parser.add_argument("--list", action="store_true",
                        help="show what is done and what is left, or without a profile all runs; train nothing")
    parser.add_argument("--remove", nargs="+", metavar="RUN", help='delete runs by name or pattern, such as "*_CE_*"')
    parser.add_argument("--local", type=int, metavar="N", choices=range(1, 65),
                        help="train N runs at a time, each in a process, and on a GPU, of its own")
    parser.add_argument("--slurm", metavar="SETTINGS",
                        help="submit a job a run: partition=gpu,time=60,gpus=1,parallel=8 (minutes a run)")
    parser.add_argument("--run", metavar="NAME", help="train this run of the profile only")
    parser.add_argument("--compile", default="auto", metavar="MODE",
                        help="auto (default), off, or a mode of torch.compile such as default or max-autotune")
    parser.add_argument("--export", type=Path, metavar="DIR", help="write small files of the finished runs")
    parser.add_argument("--weights", choices=("float32", "float16"), help="export the weights as well")
    parser.add_argument("--verify", type=Path, metavar="DIR", help="train an exported run again, and compare")
    parser.add_argument("--sprint", type=float, metavar="MINUTES",
                        help="as many whole runs as fit, of 8 to 12 epochs, brought to --export: training/sprint.py")
    parser.add_argument("--files", type=int, default=8, help="of a sprint, how many files may be brought")
    parser.add_argument("--megabytes", type=int, default=15, help="of a sprint, how large each file may be")
    parser.add_argument("--restore", type=Path, metavar="DIR", help="put exported networks into the store")
    options = parser.parse_args(words)
    given = (options.profile, options.verify, options.restore, options.remove)
    if sum(one is not None for one in given) != 1 and not (options.list and not any(given)):
        parser.error("give a profile, --list, --remove RUN, --verify DIR or --restore DIR")
    try:
        if options.remove:
            print(*remove(options.remove, options.store), "removed", sep="\n")
            return 0
        if options.list and not options.profile:
            for folder, size, age in overview(options.store):
                print(f"{folder.name}  {_told(folder, size, age)}")
            return 0
        if options.restore:
            names = restore_runs(options.restore, options.store)
            print(*names, f"{len(names)} runs put into {options.store}", sep="\n")
            return 0
        if options.sprint:
            return sprint(*read_plan(options.profile), options.sprint, options.export or Path("sprint"),
                          data_root=options.data_root, store=options.store, files=options.files,
                          megabytes=options.megabytes)
        return verify(options.verify, options.data_root) if options.verify else work(options)
    except OutOfTime as stop:
        print(f"time is over: {stop}; call again to resume")
        return 3
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def work(options):
    """Train and export the runs of a profile, all checked before the first begins; returns the exit status."""
    deadline = None if options.budget_minutes is None else time.monotonic() + 60 * options.budget_minutes
    is_main = new_accelerator().is_main_process
    entries, settings = read_plan(options.profile)
    found = on_main(lambda: [attrgetter("folder", "config")(prepare(entry.config, options.data_root, options.store))
                             for entry in entries])
    folders, entries = [one[0] for one in found], [entry._replace(config=one[1]) for entry, one in zip(entries, found)]

    def is_done(entry, folder):
        return finished(folder) and (not entry.autoattack or audited(folder, entry.config, entry.autoattack))

    def measure(run, entry):
        """Attack and export a run; returns whether time sufficed."""
        try:
            return not (options.export or entry.autoattack) or evaluate_planned(
                run, deadline, autoattack=entry.autoattack, **settings)
        finally:  # what was measured before an attack failed is worth keeping
            if options.export:
                print(f"exported to {export_run(run.folder, options.export, options.weights)}", flush=True)

    chosen = [options.run in (None, folder.name) for folder in folders]
    if not any(chosen):
        raise ValueError(f"{options.profile} has no run {options.run}")
    failed, left = 0, []
    kept = {folder: facts for folder, *facts in overview(options.store)} if options.list else {}
    for number, (entry, folder, busy) in enumerate(zip(entries, folders, on_main(states, folders)), 1):
        extra = f", AutoAttack on {entry.autoattack} images" if entry.autoattack else ""
        done = on_main(is_done, entry, folder)
        state = "done" if done else busy or (f"~{entry.minutes:g} min" if entry.minutes else "to do")
        if done and options.list:
            state = _told(folder, *kept[folder])
        if is_main and chosen[number - 1]:
            print(f"[{number}/{len(entries)}] {entry.config.label}{extra}  {state}", flush=True)
        if options.list or (done and not options.export) or not chosen[number - 1]:
            continue
        if options.local or options.slurm:
            left += [] if busy and not busy.startswith("failed") else [folder]
            continue
        try:
            run = train(entry.config, data_root=options.data_root, store=options.store, deadline=deadline,
                        compile={"off": False}.get(options.compile, options.compile))
            measured = on_main(measure, run, entry)
        except (ValueError, ImportError) as error:
            # Everything was checked above: it diverged, or the package of an attack is missing. The others can run.
            if is_main:
                print(f"error: {error}", file=sys.stderr)
            failed += 1
            continue
        if not measured:
            raise OutOfTime(f"{run.config.label}: trained, but not yet attacked by all")
    if left and options.slurm:
        print("submitted:", *submit(_words(options), left, options.store.absolute(), options.slurm))
    elif left:
        failed = work_here(_words(options), left, options.store.absolute(), options.local)
        print(f"{len(left) - len(failed)} of {len(left)} runs trained", *failed, sep="\n")
    return 1 if failed else 0


def _told(folder, size, age):
    return f"{'done' if finished(folder) else 'unfinished'}, {size / 1e6:.1f} MB, {age / 86400:.1f} days old"


def _words(options):
    """The command for a job of one run, whatever folder it starts in."""
    profile = Path(options.profile)
    places = {name: getattr(options, name.replace("-", "_")) for name in ("data-root", "store", "export")}
    return [str(profile.absolute() if profile.is_file() else profile), f"--compile={options.compile}",
            *(f"--{name}={place.absolute()}" for name, place in places.items() if place),
            *([f"--weights={options.weights}"] if options.weights else [])]


def verify(exported, data_root):
    """Train an exported run again; returns the exit status: 0 for the same results, 1 otherwise."""
    config = read_plan(exported / "config.json")[0][0].config
    if costs.is_fitted(config.cost):  # another processor would fit a slightly different matrix
        config = dataclasses.replace(config, cost=costs.read_csv(exported / "cost.csv", name=config.cost))
    with tempfile.TemporaryDirectory() as store:
        run = train(config, data_root=data_root, store=store)
        old, new = (json.loads((folder / "metrics.json").read_text()) for folder in (exported, run.folder))
    different = [name for name in RESULTS if old[name] != new[name]]
    for name in different:
        print(f"{name}: {new[name]}, exported: {old[name]}")
    print(f"{config.label}: {'differs' if different else 'the same results'}")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
