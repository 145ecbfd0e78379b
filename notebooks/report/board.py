"""The ten main claims: the statistics that decide each are named in paper_values.yaml, the numbers are a run's."""
import csv
import math
import re

from helpers.intervals import Interval
from study import claims, paper

PROFILES = {"reduced": "", "reduced-wide": "", "sprint": ("05", "06")}  # notebooks of the READMEs; the widest decide
WEAKEST_FIRST = ("fails", "inconclusive", "holds", "not measurable")


def read(*paths):
    """Return the rows of claims.csv or paper_vs_ours.csv as dictionaries of texts, of those files that are there."""
    return [row for path in paths if path.is_file()
            for row in csv.DictReader(path.read_text(encoding="utf-8").splitlines())]


def committed(results):
    """Return the claims that decide in the READMEs; `results` is the folder of all profiles' results."""
    return [row for name, notebooks in PROFILES.items() for row in read(results / name / "claims.csv")
            if row["notebook"].startswith(notebooks)]


def number(row):
    """Return the value of a claim with its interval, as "0.52 [0.40, 0.63]", or "–"."""
    return str(Interval(*(float(row[end]) if row[end] else math.nan for end in ("value", "low", "high"))))


def numeral(text):
    """Return a number of a CSV to three digits, another text as it is, "–" for nothing."""
    try:
        return f"{float(text):.3g}"
    except ValueError:
        return text or "–"


def board(table):
    """Yield what became of the ten main claims, from the rows of claims.csv; of a claim's rows the last measured one.

    A claim that needs several statistics is as strong as the weakest of those that could be measured.  Each is a
    dictionary: number, claim, verdict, decided (the row that decided), parts (all its rows, and what would decide it).
    """
    rows = {row["id"]: row for row in sorted(table, key=lambda row: row["verdict"] != "not measurable")}
    missing = {"statistic": "", "value": "", "low": "", "high": "", "holds_if": "", "verdict": "not measurable",
               "note": "not part of this run", "notebook": ""}
    for main in paper.values()["main_claims"]:
        parts = [rows.get(id, missing | {"id": id}) for id in main["decided_by"]]
        parts = [part | {"wanting": claims.wanting(part)} for part in parts]
        decided = min(parts, key=lambda part: WEAKEST_FIRST.index(part["verdict"]))
        yield main | {"verdict": decided["verdict"], "decided": decided, "parts": parts}


def tables(table):
    """Return the tables that README.md and results/README.md hold between their marks, {name: lines}."""
    lines = ["| | the paper | here | the number that decides |"]
    for row in board(table):
        part = row["decided"]
        measured = f": {number(part)}, needs {part['holds_if']}{part['wanting']}" if part["value"] else ""
        told = dict.fromkeys([part["statistic"] + measured, part["note"], *(one["note"] for one in row["parts"])])
        lines.append(_row(row["number"], row["claim"], f"*{row['verdict']}*", "; ".join(filter(None, told))))
    omitted = [_row(row["paper"], row["code"], row["why"]) for row in paper.values()["omissions"]]
    unclear = [_row(row["where"], row["paper"], row["reading"]) for row in paper.values()["inconsistencies"]]
    return {"board": lines, "omissions": ["| the paper does not say | the code does | why |", *omitted],
            "inconsistencies": ["| where | the paper says | read here as |", *unclear]}


def _row(*cells):
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"


def fill(text, table):
    """Return a README's text with its tables as they must be, between ``<!-- name -->`` and ``<!-- end -->``."""
    for name, (head, *rows) in tables(table).items():
        lines = "\n".join([f"<!-- {name} -->", head, "|---" * (head.count("|") - 1) + "|", *rows, "<!-- end -->"])
        text = re.sub(rf"<!-- {name} -->.*?<!-- end -->", lambda _, lines=lines: lines, text, flags=re.DOTALL)
    return text
