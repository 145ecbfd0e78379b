"""Train and evaluate the models of a profile at scale: `python -m jobs paper --export DIR [--slurm SETTINGS]`.

It trains as `python -m helpers.training` does.  `--export DIR` writes the small files of each finished run; before, it
evaluates the run on the test images: clean, by PGD-20 with the eps it was validated with, as the profile's `evaluate`
says, and where a model says `autoattack`, by AutoAttack on so many of them (needs torchattacks).
"""
import sys
from pathlib import Path

from helpers.training import OutOfTime
from helpers.training.__main__ import Work, arguments, status_of
from helpers.training.launch import on_main
from helpers.training.plan import read_plan
from helpers.training.store import finished
from jobs.cluster import states, submit, work_here
from jobs.evaluate import audited, check_settings, evaluate_planned
from jobs.export import export_run, restore_runs
from jobs.runs import overview, remove
from jobs.sprint import sprint
from jobs.verify import verify


def main(words=None):
    """Command line; returns the exit status, see `status_of`."""
    parser = arguments("python -m jobs", __doc__)
    parser.add_argument("--export", type=Path, metavar="DIR", help="evaluate finished runs, write their small files")
    parser.add_argument("--weights", choices=("float32", "float16"), help="export the weights as well")
    parser.add_argument("--local", type=int, metavar="N", choices=range(1, 65),
                        help="train N runs at a time, each in a process of its own; several GPUs are dealt out")
    parser.add_argument("--slurm", metavar="SETTINGS",
                        help="submit a job a run: partition=gpu,time=60,gpus=1,parallel=8 (minutes a run)")
    parser.add_argument("--sprint", type=float, metavar="MINUTES",
                        help="as many whole runs as fit, of 8 to 12 epochs, brought to --export: jobs/sprint.py")
    parser.add_argument("--files", type=int, default=8, help="of a sprint, how many files may be brought")
    parser.add_argument("--megabytes", type=int, default=15, help="of a sprint, how large each file may be")
    alone = parser.add_argument_group("in place of a profile (--list as well, for all runs of the store)")
    alone.add_argument("--verify", type=Path, metavar="DIR", help="train an exported run again, and compare, "
                       "with the spread over threads and instruction sets of results/verify_spread.csv")
    alone.add_argument("--restore", type=Path, metavar="DIR", help="put exported networks into the store")
    alone.add_argument("--remove", nargs="+", metavar="RUN", help='delete runs by name or pattern, such as "*_CE_*"')
    options = parser.parse_args(words)
    given = (options.profile, options.verify, options.restore, options.remove)
    if sum(one is not None for one in given) != 1 and not (options.list and not any(given)):
        parser.error("give a profile, --list, --remove RUN, --verify DIR or --restore DIR")
    return status_of(lambda: _do(options))


def _do(options):
    if options.verify:
        return verify(options.verify, options.data_root)
    if options.sprint and options.profile:
        entries, settings = read_plan(options.profile)
        check_settings(options.profile, settings)
        return sprint(entries, settings, options.sprint, options.export or Path("sprint"),
                      data_root=options.data_root, store=options.store, files=options.files,
                      megabytes=options.megabytes)
    if options.slurm and options.budget_minutes:
        raise ValueError("--budget-minutes is for runs of this machine: --slurm time=60 gives each run an hour")
    if options.profile:
        return Jobs(options).all()
    if options.remove:
        print(*remove(options.remove, options.store), "removed", sep="\n")
    elif options.restore:
        names = restore_runs(options.restore, options.store)
        print(*names, f"{len(names)} runs put into {options.store}", sep="\n")
    else:
        for folder, text in overview(options.store).items():
            print(f"{folder.name}  {text}")
    return 0


class Jobs(Work):
    """The runs of a profile, which are evaluated and exported as well, or handed on to other processes."""

    def __init__(self, options):
        super().__init__(options)
        check_settings(options.profile, self.settings)
        folders = [folder for _, folder in self.runs]
        self.busy = dict(zip(folders, on_main(states, folders)))
        self.kept = overview(options.store) if options.list else {}
        self.left = []  # folders of the runs that are for other processes

    def all(self):
        failed, options = super().all(), self.options
        if self.left and options.slurm:
            print("submitted:", *submit(_words(options), self.left, options.store.absolute(), options.slurm))
        elif self.left:
            lost, late = work_here(_words(options), self.left, options.store.absolute(), options.local, self.deadline)
            print(f"{len(self.left) - len(lost + late)} of {len(self.left)} runs trained", *lost, sep="\n")
            failed = min(len(lost), 1)
            if late and not failed:
                raise OutOfTime(f"{len(late)} runs are not finished")
        return failed

    def state(self, entry, folder):
        trained = finished(folder)
        if trained and (not entry.autoattack or audited(folder, entry.config, entry.autoattack)):
            return "to export" if self.options.export else self.kept.get(folder, "done")
        extra = f", AutoAttack on {entry.autoattack} images" if entry.autoattack else ""
        return (self.busy[folder] or ("trained" if trained else super().state(entry, folder))) + extra

    def do(self, entry, folder):
        """Train, attack and export a run, or put it aside."""
        if self.options.local or self.options.slurm:
            busy = self.busy[folder] and not self.busy[folder].startswith("failed")
            self.left += [] if busy or folder in self.left else [folder]  # a job does all that is asked of a run
        elif not on_main(self._measure, super().do(entry, folder), entry):
            raise OutOfTime(f"{entry.config.label}: trained, but not yet attacked by all")

    def _measure(self, run, entry):
        """Attack and export a run; returns whether time sufficed."""
        options = self.options
        try:
            return not (options.export or entry.autoattack) or evaluate_planned(
                run, self.deadline, autoattack=entry.autoattack, **self.settings)
        finally:  # what was measured before an attack failed is worth keeping
            if options.export:
                print(f"exported to {export_run(run.folder, options.export, options.weights)}", flush=True)


def _words(options):
    """The command for a job of one run, whatever folder it starts in."""
    profile = Path(options.profile)
    places = {name: getattr(options, name.replace("-", "_")) for name in ("data-root", "store", "export")}
    return [str(profile.absolute() if profile.is_file() else profile), f"--compile={options.compile}",
            *(f"--{name}={place.absolute()}" for name, place in places.items() if place),
            *([f"--weights={options.weights}"] if options.weights else [])]


if __name__ == "__main__":
    sys.exit(main())
