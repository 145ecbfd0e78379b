"""``python -m runner [options]``: what run_all.sh starts once the environment is ready."""
import csv
import errno
import os
import resource
import signal
import sys
import textwrap
import time
from collections import Counter

from runner import cli, profiles
from runner.live import clock

GONE = (errno.EPIPE, errno.EIO)  # what writing to a reader who left, or to a terminal that was closed, gives


def main(argv=None, repo=cli.REPO):
    """Run notebooks of a checkout; return 0 all ran, 1 one failed, 2 bad option or profile, 130 interrupted."""
    began = time.time()
    try:
        options = cli.parse(sys.argv[1:] if argv is None else argv, repo)
        name, description, parameters = profiles.load(options, repo)
        results = options.results / name
        (results / "executed").mkdir(parents=True, exist_ok=True)
    except (ValueError, OSError) as error:
        print(f"run_all.sh: {error}", file=sys.stderr)
        return 2
    print(f"{textwrap.fill(f'Profile {name}: {description}', 110)}\nResults in {results}", flush=True)
    try:
        from runner import execute  # with papermill, a second that a misspelt option need not wait for
        outcomes = execute.run(options, results, parameters, repo)
    except KeyboardInterrupt:
        print(f"Interrupted. What was finished is in {results}; a second start resumes training.")
        return 130
    except OSError as error:
        if error.errno in GONE:
            raise
        print(f"run_all.sh: {error}", file=sys.stderr)
        return 1
    print(*_summary(outcomes, results, began), sep="\n")
    return 1 if any(status == "failed" for status, _ in outcomes.values()) else 0


def _summary(outcomes, results, began):
    """Yield lines: what ran, what was written since the time `began`, what became of the paper's claims."""
    yield "Notebooks"
    for name, (status, seconds) in outcomes.items():
        yield f"  {name:<24}{clock(seconds)}  {'FAILED' if status == 'failed' else status}"
    for kind, suffix in (("figures", ".png"), ("tables", ".csv")):
        written = sum(file.stat().st_mtime >= began for file in (results / kind).glob(f"*{suffix}"))
        yield f"{kind.capitalize()}: {written} written to {results / kind}"
    claims = results / "claims.csv"
    if claims.is_file() and claims.stat().st_mtime >= began:
        counts = Counter(row["verdict"] for row in csv.DictReader(claims.read_text(encoding="utf-8").splitlines()))
        said = ", ".join(f"{counts[verdict]} {verdict}" for verdict in sorted(counts))
        yield f"Claims of the paper at this profile: {said}; each is in the report and in {claims}"
    if failed := [name for name, (status, _) in outcomes.items() if status == "failed"]:
        yield f"FAILED: {', '.join(failed)} (see above, and the copies in executed/)"
    # The largest of the kernels; ru_maxrss is in bytes on macOS, elsewhere in KiB.
    memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / (2**30 if sys.platform == "darwin" else 2**20)
    yield f"Total {clock(time.time() - began)}, peak memory of a notebook {memory:.1f} GiB. Look in {results}"


def command(main, *words):
    """A main function, for a shell: 141 if whoever read the output has gone (``./run_all.sh | head``)."""
    for name in ("SIGTERM", "SIGHUP"):  # a closed terminal; under nohup it is ignored, and on Windows there is none
        if signal.getsignal(number := getattr(signal, name, signal.SIGTERM)) != signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # a terminal that lacks a letter is no reason to lose results
    try:
        code = main(*words)
        sys.stdout.flush()
    except OSError as error:
        if error.errno not in GONE:
            raise
        # Python flushes at exit, and would complain once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 128 + signal.SIGPIPE
    sys.exit(code)


if __name__ == "__main__":
    command(main)
