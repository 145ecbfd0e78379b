"""How results reach the disk: atomically, with rounded numbers, rows of one notebook at a time."""

import contextlib
import csv
import io
import json
import math
import os
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

DIGITS = 6


def write_atomic(path: Path, content: str | bytes) -> Path:
    """Write a file so that a reader sees the old content or the new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = content.encode() if isinstance(content, str) else content
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        # mkstemp makes private files; results are as readable as any other file of the user.
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(temporary, 0o666 & ~mask)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    return path


def round_number(number: float) -> float | None:
    """Six significant digits; NaN and infinities, which JSON does not know, become None."""
    return float(f"{number:.{DIGITS}g}") if math.isfinite(number) else None


def plain(value, where: str = "data"):
    """Data as JSON knows it: dicts, lists, str, int, float (six significant digits), bool, None.

    Accepts numpy arrays and scalars, torch tensors (anything with ``tolist``), DataFrames (a list of
    records), tuples and paths.

    Raises
    ------
    ValueError
        For anything else, naming the place.
    """
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return round_number(value)
    if isinstance(value, Mapping):
        return {str(key): plain(item, f"{where}[{str(key)!r}]") for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        items = sorted(value) if isinstance(value, (set, frozenset)) else value
        return [plain(item, f"{where}[{index}]") for index, item in enumerate(items)]
    if hasattr(value, "to_dict") and hasattr(value, "columns"):
        return plain(value.to_dict("records"), where)
    if hasattr(value, "tolist"):
        return plain(value.tolist(), where)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    raise ValueError(f"{where} is a {type(value).__name__}, which a metrics file cannot hold. Record "
                     "numbers, strings, lists, dicts, arrays or DataFrames.")


def dumps(value) -> str:
    """JSON of plain data: dicts one key a line, lists of numbers on one line, so that a diff is readable."""
    return _dump(value, 0) + "\n"


def _dump(value, depth: int) -> str:
    if isinstance(value, dict) and value:
        inner = [f"{json.dumps(key)}: {_dump(item, depth + 1)}" for key, item in value.items()]
        brackets = "{}"
    elif isinstance(value, list) and any(isinstance(item, (dict, list)) for item in value):
        inner = [_dump(item, depth + 1) for item in value]
        brackets = "[]"
    else:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    pad = " " * (depth + 1)
    return f"{brackets[0]}\n{pad}" + f",\n{pad}".join(inner) + f"\n{' ' * depth}{brackets[1]}"


def merge_rows(path: Path, notebook: str, rows: Iterable[Mapping], columns: Iterable[str]) -> Path:
    """Replace the rows of one notebook in a CSV and keep the others, ordered by notebook.

    Parameters
    ----------
    rows : iterable of mapping
        Keys are among ``columns``; floats are rounded, None and NaN leave the cell empty.
    columns : iterable of str
        The header; its first column is ``notebook``.

    Raises
    ------
    ValueError
        If the file on disk has another header.
    """
    columns = list(columns)
    kept = []
    if path.exists():
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            if reader.fieldnames is not None and list(reader.fieldnames) != columns:
                raise ValueError(f"{path} has the columns {reader.fieldnames}, expected {columns}. It was "
                                 "written by another version; move it away and run the notebooks again.")
            kept = [row for row in reader if row["notebook"] != notebook]
    new = [{column: _cell(row.get(column)) for column in columns} for row in rows]
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(sorted([*kept, *new], key=lambda row: row["notebook"]))
    return write_atomic(path, text.getvalue())


def _cell(value) -> str:
    value = plain(value)
    if value is None:
        return ""
    return f"{value:.{DIGITS}g}" if isinstance(value, float) else str(value)
