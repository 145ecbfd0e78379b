"""``python -m runner [options]``: what run_all.sh starts once the environment is ready."""

import os
import signal
import sys
import textwrap
import time

from runner import cli, execute, profiles, summary


def main(argv=None, repo=cli.REPO):
    """Run the chosen notebooks and return the exit status.

    Parameters
    ----------
    argv : list of str, optional
        The options; those of the process by default.
    repo : Path
        The checkout whose ``notebooks/`` are run.

    Returns
    -------
    int
        0 all ran, 1 a notebook failed, 2 bad option or profile, 130 interrupted.
    """
    began, clock = time.time(), time.monotonic()
    try:
        options = cli.parse(sys.argv[1:] if argv is None else argv, repo)
        profile = profiles.load(options.profile, cli.sources(repo), repo)
        profiles.check_data(profile, options.notebooks, options.data_root)
        results = options.results / profile.name
        (results / "executed").mkdir(parents=True, exist_ok=True)
    except (ValueError, OSError) as error:
        print(f"run_all.sh: {error}", file=sys.stderr)
        return 2
    print(textwrap.fill(f"Profile {profile.name}: {profile.description}", 110), flush=True)
    print(f"Results in {results}", flush=True)
    try:
        outcomes = execute.run(options, profile, repo)
    except KeyboardInterrupt:
        print(f"Interrupted. What was finished is in {results}; a second start resumes training.")
        return 130
    print(summary.report(outcomes, results, began, time.monotonic() - clock))
    return 1 if any(outcome.status == "failed" for outcome in outcomes) else 0


def command(*words):
    """`main`, for a shell: 141 if whoever read the output has gone (``./run_all.sh | head``)."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        code = main(*words)
        sys.stdout.flush()
    except BrokenPipeError:
        # Python flushes at exit, and would complain once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 128 + signal.SIGPIPE
    sys.exit(code)


if __name__ == "__main__":
    command()
