"""The ten main claims: the statistics that decide each are named in paper_values.yaml, the numbers are a run's."""

import csv
import math

from helpers import paper
from helpers.intervals import Interval

WEAKEST_FIRST = ("fails", "inconclusive", "holds", "not measurable")
MARKS = "<!-- board -->", "<!-- end of the board -->"  # in README.md


def read(path):
    """Return the rows of claims.csv or paper_vs_ours.csv as dictionaries of texts, [] where there is no such file."""
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines())) if path.is_file() else []


def number(row):
    """Return the value of a claim with its interval, as "0.52 [0.40, 0.63]", or "–"."""
    return str(Interval(*(float(row[end]) if row[end] else math.nan for end in ("value", "low", "high"))))


def numeral(text):
    """Return a number of a CSV to three digits, another text as it is, "–" for nothing."""
    try:
        return f"{float(text):.3g}"
    except ValueError:
        return text or "–"


def board(claims):
    """Return what became of the ten main claims.

    A claim that needs several statistics is as strong as the weakest of those that could be measured.

    Parameters
    ----------
    claims : list of dict
        Rows of claims.csv.

    Returns
    -------
    list of dict
        number, claim, verdict, decided (the row that decided), parts (all its rows).
    """
    rows, found = {row["id"]: row for row in claims}, []
    missing = {"statistic": "", "value": "", "low": "", "high": "", "holds_if": "", "verdict": "not measurable",
               "note": "not part of this run", "notebook": ""}
    for main in paper.values()["main_claims"]:
        parts = [rows.get(id, missing | {"id": id}) for id in main["decided_by"]]
        decided = min(parts, key=lambda part: WEAKEST_FIRST.index(part["verdict"]))
        found.append({"number": main["number"], "claim": main["claim"], "verdict": decided["verdict"],
                      "decided": decided, "parts": parts})
    return found


def markdown(claims):
    """Return the board as the table of README.md, between its marks."""
    lines = [MARKS[0], "| | the paper | here | the number that decides |", "|---|---|---|---|"]
    for row in board(claims):
        part = row["decided"]
        measured = f": {number(part)}, needs {part['holds_if']}" if part["value"] else ""
        cell = "; ".join(text for text in (part["statistic"] + measured, part["note"]) if text).replace("|", "\\|")
        lines.append(f"| {row['number']} | {row['claim']} | *{row['verdict']}* | {cell} |")
    return "\n".join([*lines, MARKS[1]])


def update(readme, claims):
    """Write the board into README.md, in place of the one that stands there."""
    before, _, rest = readme.read_text(encoding="utf-8").partition(MARKS[0])
    readme.write_text(before + markdown(claims) + rest.partition(MARKS[1])[2], encoding="utf-8")
