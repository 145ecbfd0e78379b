"""The options of ``./run_all.sh``, which also runs this module by itself, to tell a misspelt one before it installs
anything: so the standard library must be enough, here and in what is imported."""
import argparse
import os
import shutil
import sys
from pathlib import Path

from helpers import profiles

REPO = Path(__file__).resolve().parents[2]
OPTIONS = {"--profile": {"default": "quick"}, "--data-root": {"type": Path}, "--results": {"type": Path}, "--only": {},
           "--from": {"dest": "start"}, "--keep-going": {"action": "store_true"}, "--jobs": {"type": int}}


def parse(argv, repo=REPO):
    """Return the options: profile, results, data_root (absolute paths or None), notebooks (the chosen), keep_going,
    jobs (how many at a time).

    Raises ValueError or FileNotFoundError, one paragraph that names the offending option and the remedy.
    """
    parser = argparse.ArgumentParser(allow_abbrev=False, add_help=False, exit_on_error=False)
    for name, how in OPTIONS.items():
        parser.add_argument(name, **how)
    try:
        options, unknown = parser.parse_known_args(argv)
    except argparse.ArgumentError as error:
        raise ValueError(f"{error}. See ./run_all.sh --help.") from None
    if unknown:
        near = profiles.suggest(unknown[0], OPTIONS)
        hint = " It must be the first option." if unknown[0] in ("--cpu", "--gpu", "--lab", "--test") else near
        raise ValueError(f"unknown option {unknown[0]!r}.{hint} See ./run_all.sh --help.")
    if options.jobs is None:  # small networks use one core better than two; a GPU has one memory for all
        options.jobs = 1 if shutil.which("nvidia-smi") else min(2, os.cpu_count() or 1)
    if options.jobs < 1:
        raise ValueError(f"--jobs {options.jobs}: give the number of notebooks to run at a time, 1 or more.")
    options.profile = profiles.find(options.profile, repo / "notebooks" / "profiles")
    options.notebooks = select(sources(repo), options.only, options.start)
    options.jobs = min(options.jobs, len(options.notebooks))  # one alone has all cores
    options.results = (options.results or repo / "results").expanduser().resolve()
    if options.results.exists() and not options.results.is_dir():
        raise ValueError(f"--results {options.results} is a file; name a folder.")
    if options.data_root is not None:
        options.data_root = options.data_root.expanduser().resolve()
        if not options.data_root.is_dir():
            raise FileNotFoundError(f"--data-root {options.data_root} is no folder; name the one with the data sets.")
    return options


def sources(repo):
    """Return the numbered notebooks of a checkout, in order."""
    found = sorted((repo / "notebooks").glob("[0-9][0-9]_*.ipynb"))
    if not found:
        raise FileNotFoundError(f"no notebook is in {repo / 'notebooks'}; install wpgd editable from a whole checkout.")
    return found


def select(notebooks, only=None, start=None):
    """Return those of `notebooks` that ``--only`` and ``--from`` choose, by number or full name."""
    words = [] if only is None else [word.strip() for word in only.split(",") if word.strip()]
    chosen = list(notebooks) if only is None else sorted({_find(word, notebooks, "--only") for word in words})
    if start is not None:
        chosen = [path for path in chosen if path >= _find(start.strip(), notebooks, "--from")]
    if not chosen:
        raise ValueError("--only and --from leave no notebook to run; name at least one, as in --only 01,05.")
    return chosen


def _find(word, notebooks, option):
    stem, names = word.removesuffix(".ipynb"), [path.stem for path in notebooks]
    for path in notebooks:
        if stem in (path.stem, path.stem[:2], path.stem[:2].lstrip("0")):
            return path
    raise ValueError(f"{option} {word!r} names no notebook.{profiles.suggest(stem, names)} There are "
                     f"{', '.join(names)}; give a number or a whole name.")


if __name__ == "__main__":
    try:
        parse(sys.argv[1:])
    except (ValueError, FileNotFoundError) as wrong:
        sys.stderr.write(f"run_all.sh: {wrong}\n")
        sys.exit(2)
