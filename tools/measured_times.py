"""Writes the measured times into the tables "What it takes" of the notebooks.

    python tools/measured_times.py        # from results/<profile>/metrics/<notebook>.json

A time is that of the last run, as its metrics have it: training included where it was trained in that run.  What stands
after a comma in a cell ("53 s, and 41 min of training") is a reader's remark and stays.
"""

import json
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def spoken(seconds):
    """Seconds as "34 s", "2 min 11 s" or "1 h 12 min"."""
    minutes, rest = divmod(round(seconds), 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes} min" + (f" {rest} s" if minutes < 10 else "") if minutes else f"{rest} s"


def measured(results):
    """{profile: {notebook: seconds}} of all metrics below a folder; those of a run that did not end are left out."""
    found = {}
    for path in sorted(Path(results).glob("*/metrics/[0-9]*.json")):
        metrics = json.loads(path.read_text(encoding="utf-8"))
        if not metrics.get("unfinished"):
            found.setdefault(path.parents[1].name, {})[path.stem] = metrics["provenance"]["seconds"]
    return found


def fill(text, times):
    """A text with the last cell of each table row that begins with a profile replaced: {profile: seconds}."""
    def row(match):
        head, profile, last = match.groups()
        if profile not in times:
            return match[0]
        comma, remark = last.partition(",")[1:]
        return f"{head} {spoken(times[profile])}{comma}{remark.rstrip()} |"

    return re.sub(r"^(\| `?([\w-]+)`? \|(?:.*\|)?)([^|\n]*)\|$", row, text, flags=re.M)


def main():
    times = measured(ROOT / "results")
    for path in sorted((ROOT / "notebooks").glob("[0-9]*.ipynb")):
        book = json.loads(path.read_text(encoding="utf-8"))
        own = {profile: seconds[path.stem] for profile, seconds in times.items() if path.stem in seconds}
        for cell in book["cells"][:4]:
            if "measured |" in "".join(cell["source"]):
                cell["source"] = fill("".join(cell["source"]), own).splitlines(keepends=True)
        path.write_text(json.dumps(book, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
