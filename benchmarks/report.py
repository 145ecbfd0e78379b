"""Tables of rows: printed as they come, one CSV a benchmark, readable alone."""
import csv
import math
import sys

COLUMNS = ("benchmark", "setting", "contender", "role", "reference", "throughput", "unit", "seconds", "ratio",
           "ratio_q10", "ratio_q90", "rounds", "first_call_seconds")
TEXT = ("benchmark", "setting", "contender", "role", "reference", "unit", "note")


def write_csv(path, rows):
    """Write rows with the common columns first, a benchmark's own ones next, and `note` last."""
    own = [name for row in rows for name in row if name not in COLUMNS and name != "note"]
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [*COLUMNS, *dict.fromkeys(own), "note"], restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: _written(value) for name, value in row.items()} for row in rows)


def read_csv(path):
    """The rows of a CSV; numbers are floats, and NaN where nothing was measured; no file, no rows."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [{name: value if name in TEXT else _number(value) for name, value in row.items()}
                for row in csv.DictReader(file)]


def _written(value):
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.6g}"
    return value


def _number(text):
    """A float, or the text where it is none (a benchmark's own columns may hold words)."""
    if not text:
        return math.nan
    try:
        return float(text)
    except ValueError:
        return text


def show(rows):
    """Print rows as a table, a heading a setting."""
    setting = None
    for row in rows:
        if row["setting"] != setting:
            setting = row["setting"]
            print(f"\n  {setting}")
        print(f"    {row['contender']:<40}{_measured(row)}")
        if row.get("note"):
            print(f"        {row['note']}")
    sys.stdout.flush()


def _measured(row):
    words = []
    if _known(row, "throughput"):
        words.append(f"{_short(row['throughput']):>9} {row['unit']:<10}{_short(row['seconds']):>9} s")
    if _known(row, "ratio") and row["contender"] != row["reference"]:
        words.append(f"x {row['ratio']:.3g} [{row['ratio_q10']:.3g}, {row['ratio_q90']:.3g}] of {row['reference']}")
    own = {name: value for name, value in row.items() if name not in (*COLUMNS, "note") and _known(row, name)}
    words += [f"{name} {_short(value)}" for name, value in own.items()]
    return "  ".join(words)


def _known(row, name):
    value = row.get(name, math.nan)
    return value not in ("", None) and not (isinstance(value, float) and math.isnan(value))


def _short(value):
    return f"{value:.4g}" if isinstance(value, float) else str(value)
