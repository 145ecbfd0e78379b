"""The command line of ``./run_all.sh`` and ``python -m runner``.

It needs the standard library alone: run_all.sh also runs this file as a script, so that a misspelt option is
told before an installation of minutes and not after it.
"""

import argparse
import difflib
import sys
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
USAGE = Path(__file__).with_name("usage.txt")
OPTIONS = (
    "--profile",
    "--data-root",
    "--results",
    "--only",
    "--from",
    "--keep-going",
    "--lab",
    "--test",
    "--help",
)


class _Parser(argparse.ArgumentParser):
    def error(self, message):
        raise ValueError(f"{message}. See ./run_all.sh --help.")

    def format_help(self):
        return USAGE.read_text(encoding="utf-8")


def suggest(word, known):
    """Return ``" Did you mean 'x'?"`` for the word of `known` nearest to `word`, or an empty string."""
    near = difflib.get_close_matches(str(word), [str(k) for k in known], n=1)
    return f" Did you mean {near[0]!r}?" if near else ""


def parse(argv, repo=REPO):
    """Parse and check the options.

    Parameters
    ----------
    argv : list of str
        The options, without the program's name.
    repo : Path
        The checkout: holds ``notebooks/`` and ``notebooks/profiles/``.

    Returns
    -------
    argparse.Namespace
        profile, results, data_root (absolute paths, data_root may be None), notebooks (the chosen sources in
        order), keep_going.

    Raises
    ------
    ValueError, FileNotFoundError
        One paragraph that names the offending option and the remedy.
    """
    parser = _Parser(prog="run_all.sh", allow_abbrev=False)
    parser.add_argument("--profile", default="quick")
    parser.add_argument("--data-root", type=Path)
    parser.add_argument("--results", type=Path, default=repo / "results")
    parser.add_argument("--only")
    parser.add_argument("--from", dest="start")
    parser.add_argument("--keep-going", action="store_true")
    options, unknown = parser.parse_known_args(argv)
    if unknown:
        word = unknown[0]
        if word in ("--lab", "--test"):
            raise ValueError(f"{word} must be the first option: ./run_all.sh {word}")
        raise ValueError(f"unknown option {word!r}.{suggest(word, OPTIONS)} See ./run_all.sh --help.")
    options.profile = find_profile(options.profile, repo)
    options.notebooks = select(sources(repo), options.only, options.start)
    options.results = options.results.expanduser().resolve()
    if options.results.exists() and not options.results.is_dir():
        raise ValueError(f"--results {options.results} is a file; name a folder.")
    if options.data_root is not None:
        options.data_root = options.data_root.expanduser().resolve()
        if not options.data_root.is_dir():
            raise FileNotFoundError(
                f"--data-root {options.data_root} is no folder; name the one that holds the data sets."
            )
    return options


def sources(repo):
    """Return the numbered notebooks of a checkout, in order."""
    found = sorted((repo / "notebooks").glob("[0-9]*.ipynb"))
    if not found:
        raise FileNotFoundError(
            f"there is no notebook in {repo / 'notebooks'}; install wpgd editable from a complete checkout."
        )
    return found


def find_profile(text, repo):
    """Return the YAML file of a profile given by its name or its path."""
    if "/" in text or text.endswith((".yaml", ".yml")):
        path = Path(text).expanduser().resolve()
        if path.is_file():
            return path
        raise FileNotFoundError(f"--profile {text}: there is no such file ({path}).")
    known = sorted(path.stem for path in (repo / "notebooks" / "profiles").glob("*.yaml"))
    if text in known:
        return repo / "notebooks" / "profiles" / f"{text}.yaml"
    raise ValueError(
        f"unknown profile {text!r}.{suggest(text, known)} Choose {', '.join(known) or 'one'} "
        "or give the path of a YAML file."
    )


def select(notebooks, only=None, start=None):
    """Return those of `notebooks` that ``--only`` and ``--from`` choose, by number or full name."""
    chosen = list(notebooks)
    if only is not None:
        words = [word.strip() for word in only.split(",") if word.strip()]
        wanted = {_find(word, notebooks, "--only") for word in words}
        chosen = [path for path in chosen if path in wanted]
    if start is not None:
        chosen = [path for path in chosen if path >= _find(start.strip(), notebooks, "--from")]
    if not chosen:
        raise ValueError("--only and --from leave no notebook to run; name at least one, as in --only 01,05.")
    return chosen


def _find(word, notebooks, option):
    stem = word.removesuffix(".ipynb")
    for path in notebooks:
        number = path.stem.split("_")[0]
        if stem == path.stem or (stem.isdigit() and stem.zfill(len(number)) == number):
            return path
    names = [path.stem for path in notebooks]
    raise ValueError(
        f"{option} {word!r} names no notebook.{suggest(stem, names)} There are {', '.join(names)}; "
        "give a number or a whole name."
    )


def main(argv):
    """Check the options alone and return the exit status."""
    try:
        parse(argv)
    except (ValueError, FileNotFoundError) as error:
        print(f"run_all.sh: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
