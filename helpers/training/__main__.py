"""Train the models of a profile, in its order: `python -m helpers.training reduced [--budget-minutes M]`.

In place of a bundled profile's name, the path of a profile.  Finished runs are skipped, interrupted ones resumed; a run
whose minutes do not fit into the budget still starts, since it resumes later.

`python -m jobs` takes the same and does more with each run: it evaluates, exports, restores, uses a cluster.
"""
import argparse
import sys
import time
from operator import attrgetter
from pathlib import Path

from helpers.training.launch import OutOfTime, new_accelerator, on_main
from helpers.training.loop import train
from helpers.training.plan import read_plan
from helpers.training.store import default_store, finished, prepare


def main(words=None):
    """Command line; returns the exit status, see `status_of`."""
    parser = arguments("python -m helpers.training", __doc__)
    options, unknown = parser.parse_known_args(words)
    if unknown or options.profile is None:
        parser.error(f"{' '.join(unknown) or 'no profile'}: give a profile and the options of --help; python -m jobs "
                     "evaluates, exports, restores, verifies and removes runs, and uses a cluster")
    return status_of(lambda: Work(options).all())


def arguments(program, text):
    """A parser with the options that say what to train, and where."""
    parser = argparse.ArgumentParser(prog=program, description=text.split("\n\n")[0])
    parser.add_argument("profile", nargs="?", help="a profile's name or path")
    parser.add_argument("--budget-minutes", type=float, help="stop cleanly before this time is over")
    parser.add_argument("--data-root", type=Path, help="folder of the data sets")
    parser.add_argument("--store", type=Path, default=default_store(), help="folder of the runs")
    parser.add_argument("--list", action="store_true", help="show what is done and what is left; train nothing")
    parser.add_argument("--run", metavar="NAME", help="train this run of the profile only")
    parser.add_argument("--compile", default="auto", metavar="MODE",
                        help="auto (default), off, or a mode of torch.compile such as default or max-autotune")
    return parser


def status_of(work):
    """Do it; returns the exit status: 0 all done, 1 a run failed, 2 bad profile or store, 3 time is over."""
    try:
        return work()
    except OutOfTime as stop:
        print(f"time is over: {stop}; call again to resume")
        return 3
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


class Work:
    """The runs of a profile, all checked before the first begins."""

    def __init__(self, options):
        self.options, minutes = options, options.budget_minutes
        self.deadline = None if minutes is None else time.monotonic() + 60 * minutes
        self.is_main = new_accelerator().is_main_process
        entries, self.settings = read_plan(options.profile)
        found = on_main(lambda: [attrgetter("folder", "config")(prepare(entry.config, options.data_root, options.store))
                                 for entry in entries])
        self.runs = [(entry._replace(config=config), folder) for entry, (folder, config) in zip(entries, found)
                     if options.run in (None, folder.name)]
        if entries and not self.runs:
            raise ValueError(f"{options.profile} has no run {options.run}")

    def all(self):
        """Do what is left to do of each run; returns the exit status: 0, or 1 where some failed."""
        failed = 0
        for number, (entry, folder) in enumerate(self.runs, 1):
            state = on_main(self.state, entry, folder)
            if self.is_main:
                print(f"[{number}/{len(self.runs)}] {entry.config.label}  {state}", flush=True)
            if self.options.list or state.startswith("done"):
                continue
            try:
                self.do(entry, folder)
            except (ValueError, ImportError) as error:
                # Everything was checked above: it diverged, or a package is missing. The others can run.
                if self.is_main:
                    print(f"error: {error}", file=sys.stderr)
                failed = 1
        return failed

    def state(self, entry, folder):
        """A word on a run; it begins with "done" where nothing is left to do."""
        return "done" if finished(folder) else f"~{entry.minutes:g} min" if entry.minutes else "to do"

    def do(self, entry, folder):
        """Train a run, or load it."""
        return train(entry.config, data_root=self.options.data_root, store=self.options.store, deadline=self.deadline,
                     compile={"off": False}.get(self.options.compile, self.options.compile))


if __name__ == "__main__":
    sys.exit(main())
