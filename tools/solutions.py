"""Measures what the solutions of the exercises give, and writes it below them and into results/solutions.csv.

    PYTHONPATH=.:notebooks python tools/solutions.py [--store DIR] [02_accuracy_gap ...]

A solution that changes parameters is executed in a notebook of its own, and what it is to be read from once more in the
notebook as it is ("before").  The profile is quick-float32, which every processor can compute.  About an hour on two
cores where nothing is trained yet.
"""
import argparse
import ast
import json
import re
import tempfile
import textwrap
import time
from pathlib import Path

import nbformat
import pandas as pd
import papermill

from helpers.provenance import provenance

ROOT = Path(__file__).resolve().parents[1]
PROFILE = "quick-float32"
BELOW = "# in a cell below the parameters\n"  # how a solution begins that changes them
MARK = f"# {PROFILE}: "


def codes_in(text):
    """The code of the solutions in a folded text, block by block."""
    return [textwrap.dedent(code) for code in re.findall(r"^[^\n]*```python\n(.+?)^ *```", text, re.M | re.S)]


def readings(book):
    """What solutions are to be read from: (exercise, code, the change of parameters before it or None), in order."""
    for cell in book.cells:
        if cell.cell_type == "markdown" and "<summary>Solution" in cell.source:
            for number, body in re.findall(r"^(\d+)\. (.*?)(?=^\d+\. |^</details>)", cell.source, re.M | re.S):
                codes = codes_in(body)
                change = codes.pop(0) if codes and codes[0].startswith(BELOW) else None
                if codes and not re.search(rf"^# (?!{PROFILE})", codes[-1], re.M):  # else the tests know what it gives
                    yield int(number), re.sub(rf"^{MARK}.*\n", "", codes[-1], flags=re.M), change


def as_cell(code):
    """A reading as a cell that prints its last expression as JSON."""
    last = ast.parse(code).body[-1]
    head = "\n".join(code.splitlines()[:last.lineno - 1])
    told = f"__import__('json').dumps({ast.unparse(last)}, default=str, ensure_ascii=False)"
    return nbformat.v4.new_code_cell(f"{head}\nprint('told:', {told})")


def execute(book, codes, change, options):
    """What each of the `codes` gives at the end of a notebook, after a `change` below its parameters."""
    book = nbformat.from_dict(book)
    place = next(k for k, cell in enumerate(book.cells) if "parameters" in cell.metadata.get("tags", ()))
    book.cells.insert(place + 1, nbformat.v4.new_code_cell(change or ""))
    for cell in book.cells:  # all that quick-float32 changes
        cell.source = cell.source.replace('"precision": "auto"', '"precision": "float32"')
    book.cells += map(as_cell, codes)
    with tempfile.TemporaryDirectory() as folder:
        given = {"profile": PROFILE, "results": folder, "store": options.store}
        nbformat.write(book, Path(folder) / "in.ipynb")
        done = papermill.execute_notebook(f"{folder}/in.ipynb", f"{folder}/out.ipynb", given, progress_bar=False,
                                          cwd=ROOT / "notebooks")
    said = ["".join(output.get("text", "") for output in cell.outputs) for cell in done.cells[-len(codes):]]
    return [text.rpartition("told: ")[2].strip() for text in said]


def measure(path, options):
    """The rows of a notebook in results/solutions.csv: exercise, what its solution gives, and before its change."""
    book, began = nbformat.read(path, as_version=4), time.perf_counter()
    asked = list(readings(book))
    before = execute(book, [code for _, code, _ in asked], None, options) if asked else []
    for (number, code, change), usual in zip(asked, before):
        found = execute(book, [code], change, options)[0] if change else usual
        text = MARK + found + (f", before: {usual}" if change else "")
        print(path.stem, number, text, flush=True)
        made = provenance()
        yield {"notebook": path.stem, "exercise": number, "told": text,
               **{name: made[name] for name in ("commit", "cpu", "threads", "torch", "date")},
               "seconds": round(time.perf_counter() - began)}
        began = time.perf_counter()
        note(path, number, code, text)


def note(path, number, code, text):
    """Write a comment below a reading of the exercise `number` in its notebook, in place of the one there."""
    book, raw = json.loads(path.read_text(encoding="utf-8")), textwrap.indent(code, "   ")
    place = rf"(^{number}\. (?:(?!^\d+\. ).)*?{re.escape(raw)})( *{MARK}[^\n]*\n)?"
    for cell in book["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown" and "<summary>Solution" in source:
            source = re.sub(place, lambda found: f"{found[1]}   {text}\n", source, flags=re.M | re.S)
            cell["source"] = source.splitlines(keepends=True)
    path.write_text(json.dumps(book, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("notebooks", nargs="*", help="names without .ipynb; all where none is given")
    parser.add_argument("--store", help="folder of the runs")
    options, table = parser.parse_args(), ROOT / "results" / "solutions.csv"
    rows = pd.read_csv(table) if table.is_file() else pd.DataFrame(columns=["notebook", "exercise"])
    for path in sorted((ROOT / "notebooks").glob("[0-9]*.ipynb")):
        if path.stem in options.notebooks or not options.notebooks:
            rows = pd.concat([rows[rows.notebook != path.stem], pd.DataFrame(measure(path, options))])
            rows.sort_values(["notebook", "exercise"]).to_csv(table, index=False)


if __name__ == "__main__":
    main()
