"""The closing summary: what ran, what was written, and what became of the paper's claims."""

import csv
import resource
import shutil
import sys
import textwrap
from collections import Counter

from runner.live import clock

# What each notebook owes: figures of the paper, then tables.
OWED = {
    "01_toy_boundaries": ("fig08", "fig09"),
    "02_accuracy_gap": ("fig01", "fig02", "fig03", "fig04", "table1"),
    "03_unbalanced": ("fig05",),
    "04_entropy": ("fig06", "fig07"),
    "05_wpgd_training": ("table2", "fig10", "fig11", "fig12", "fig13"),
    "06_table3": ("table3",),
}


def report(outcomes, results, started, seconds):
    """Return the summary of a run as text.

    Parameters
    ----------
    outcomes : list of runner.execute.Outcome
        One a notebook.
    results : Path
        ``results/<profile>``.
    started : float
        When the run began, in seconds since the epoch: files older than that are not this run's.
    seconds : float
        What it took.
    """
    rows = [f"  {outcome.name:<24}{_state(outcome)}" for outcome in outcomes]
    parts = ["Notebooks", *rows, "", *_written(outcomes, results, started), ""]
    parts += _claims(results / "claims.csv", started)
    failed = [outcome.name for outcome in outcomes if outcome.status == "failed"]
    if failed:
        parts.append(f"FAILED: {', '.join(failed)} (see above, and the copies in executed/)")
    parts.append(
        f"Total {clock(seconds)}, peak memory of a notebook {peak_memory():.1f} GiB. Look in {results}"
    )
    return "\n".join(parts)


def _state(outcome):
    if outcome.status == "skipped":
        return "skipped"
    return clock(outcome.seconds) + ("  FAILED" if outcome.status == "failed" else "")


def _written(outcomes, results, started):
    """Say how many figures and tables this run wrote, and which ones its finished notebooks owe."""
    fresh = {
        kind: {path.stem for path in (results / kind).glob(f"*{suffix}") if path.stat().st_mtime >= started}
        for kind, suffix in (("figures", ".png"), ("tables", ".csv"))
    }
    lines = [
        f"{kind.capitalize():<9}{len(names)} written to {results / kind}" for kind, names in fresh.items()
    ]
    owed = {name for outcome in outcomes for name in OWED.get(outcome.name, ())}
    missing = sorted(owed - fresh["figures"] - fresh["tables"])
    if missing:
        lines.append(f"MISSING  {', '.join(missing)}")
    return lines


def _claims(path, started):
    """Return the verdict table and its counts; nothing where this run wrote no claims."""
    if not path.is_file() or path.stat().st_mtime < started:
        return ["Claims   none written by this run", ""]
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    wide = max((len(row["id"]) for row in rows), default=0)
    room = max(shutil.get_terminal_size((110, 24)).columns - wide - 18, 30)
    lines = []
    for row in rows:
        statement = textwrap.shorten(row["statement"], room, placeholder="…")
        lines.append(f"  {row['id']:<{wide}}  {row['verdict']:<13} {statement}")
    counts = Counter(row["verdict"] for row in rows)
    total = ", ".join(f"{count} {verdict}" for verdict, count in sorted(counts.items()))
    return [f"Claims of the paper at this profile: {total or 'none'}", *lines, ""]


def peak_memory():
    """Return the largest memory that one notebook's kernel has taken, in GiB."""
    unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss is in bytes there, in KiB elsewhere
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * unit / 2**30
