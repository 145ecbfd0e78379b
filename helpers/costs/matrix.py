"""A validated cost matrix (Def. 3 of the paper): what it costs to take class i for class j."""
import csv
import hashlib
import io
import math
import re
from functools import partial
from numbers import Real
from pathlib import Path

import numpy as np
import torch

from helpers.files import write_atomic

SYMMETRY_TOLERANCE = 1e-6  # relative to the largest cost: rounded CSV files and float32 sums are still symmetric


class CostMatrix:
    """Square, finite, non-negative, zero on the diagonal, symmetric unless asked otherwise. Immutable.

    Parameters (all of them attributes, too)
    ----------
    values : (K, K) array_like; row i, column j: the cost of taking class i (true) for class j (predicted), in any unit
    classes : K str, class names in the order of rows and columns
    name : str, where the costs come from, for titles and reports
    symmetric : bool; False admits C[i, j] != C[j, i] (no label metric of Def. 3 any more, but Eq. (5) needs only rows)

    `normalized` are the values divided by their maximum, `digest` is a hash of values and classes (12 hexadecimal
    digits). Raises ValueError, with the classes, for whatever is no cost matrix.
    """

    def __init__(self, values, classes, *, name="custom", symmetric=True):
        classes = class_names(classes)
        values = _checked(values, classes, symmetric)
        content = "\n".join(classes).encode() + values.astype("<f8").tobytes()
        normalized = values / values.max()
        values.flags.writeable = normalized.flags.writeable = False
        vars(self).update(values=values, normalized=normalized, classes=classes, name=str(name),
                          symmetric=bool(symmetric), digest=hashlib.sha256(content).hexdigest()[:12])

    def __setattr__(self, name, value):
        raise AttributeError(f"a CostMatrix cannot be changed: make a new one instead of setting {name!r}")

    def __reduce__(self):  # a copy is checked and read-only again
        return partial(CostMatrix, name=self.name, symmetric=self.symmetric), (self.values, self.classes)

    def __len__(self):
        return len(self.classes)

    def __eq__(self, other):
        return self.digest == other.digest if isinstance(other, CostMatrix) else NotImplemented

    def __hash__(self):
        return hash(self.digest)

    def __repr__(self):
        pairs = [(cost, f"{true}/{answer} = {cost:.4g}") for true, row in zip(self.classes, self.values)
                 for answer, cost in zip(self.classes, row) if true != answer]
        nearest, farthest = (pick(pairs, key=lambda pair: pair[0])[1] for pick in (min, max))
        return f"CostMatrix({self.name!r}, K={len(self)}, {nearest=!s}, {farthest=!s}, digest={self.digest})"

    def __pow__(self, p):
        """C^p of Eq. (3) and (5) as a new (K, K) float64 tensor: normalised to max 1, then element-wise power.

        Normalised, the entropy term of Eq. (5) weighs the same for each p. 0 ** 0 is 0 on the diagonal alone: so p = 0
        gives ``1 - q[y]``, all wrong classes cost the same, which is why "p = 0" in Table 3 stands for plain PGD.
        Raises ValueError if p is no finite number >= 0.
        """
        if not isinstance(p, Real) or not 0 <= p < math.inf:
            raise ValueError(f"The power p of a cost matrix must be a finite number >= 0, not {p!r}: a negative power "
                             "would make the nearest classes the dearest. The paper uses p = 1, 2.5 and 10.")
        return torch.from_numpy(np.where(np.eye(len(self)), 0.0, self.normalized ** float(p)))

    def to_frame(self):
        """The raw values as a pandas DataFrame with class names on both axes."""
        import pandas as pd
        return pd.DataFrame(self.values.copy(), index=list(self.classes), columns=list(self.classes))

    def to_csv(self, path):
        """Write the raw values as `read_csv` reads them, digit for digit; without pandas, which training lacks."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["", *self.classes])
        writer.writerows([name, *row] for name, row in zip(self.classes, self.values.tolist()))
        write_atomic(path, text.getvalue())

    def select(self, classes):
        """The costs among some of the classes, in the order given; values keep their raw units."""
        names = class_names(classes)
        if missing := [name for name in names if name not in self.classes]:
            raise ValueError(f"The cost matrix {self.name!r} has no class {listing(missing)}; its classes are "
                             f"{listing(self.classes)}. Add the missing ones, or correct the names.")
        rows = [self.classes.index(name) for name in names]
        return CostMatrix(self.values[np.ix_(rows, rows)], names, name=self.name, symmetric=self.symmetric)


def read_csv(path, classes=None, *, name=None, symmetric=True):
    """A CostMatrix from a CSV file, separated by commas, semicolons or tabs; ValueError for a file that is none.

    Labelled (class names in first row and column, in any order) as ``cost.to_csv(path)`` writes it, with names in the
    first row alone, or bare: K rows of K numbers in the order of ``classes``, which also sets the order of the result.
    """
    how = {"name": name or Path(path).name, "symmetric": symmetric}
    if not Path(path).is_file():
        raise FileNotFoundError(f"There is no cost matrix {str(path)!r} in {Path.cwd()}: give its path from there, "
                                "or in full.")
    text = Path(path).read_text(encoding="utf-8-sig")
    delimiter = max(",;\t", key=text.partition("\n")[0].count)
    # Much of Europe's spreadsheets write 1,5 for 1.5, and then semicolons between cells.
    cells = [[re.sub(r"^(-?\d*),(\d+)$", r"\1.\2", cell.strip()) for cell in row]
             for row in csv.reader(text.splitlines(), delimiter=delimiter)]
    header, *rows = [row for row in cells if any(row)] or [[""]]
    if (classes is not None and len(rows) == len(classes)) or any(np.isnan(_number(cell)) for cell in header):
        if len(rows) == len(header) and all(header) and not any(np.isnan(_number(row[0])) for row in rows):
            return from_table(rows, header, header, classes, **how)
        return from_table([row[1:] for row in rows], [row[0] for row in rows], header[1:], classes, **how)
    if classes is None:
        raise ValueError(f"{path} holds numbers only, so its classes are unknown: label its first row and column, or "
                         "pass classes=[...] in the order of its rows.")
    return CostMatrix([header, *rows], classes, **how)


def from_table(values, rows, columns, classes=None, *, name="custom", symmetric=True):
    """A CostMatrix from K rows of K numbers whose rows and columns carry the same class names, in any order."""
    rows, columns = class_names(rows), class_names(columns)
    if odd := sorted(set(rows) ^ set(columns)):
        raise ValueError(f"Rows and columns of the cost table {name!r} must carry the same class names, but "
                         f"{listing(odd)} is on one of them only. Label both alike.")
    order = [columns.index(row) for row in rows]
    # A row that is too short or too long stays so: CostMatrix names its class.
    values = [[row[index] for index in order if index < len(row)] + list(row[len(columns):]) for row in values]
    cost = CostMatrix(values, rows, name=name, symmetric=symmetric)
    return cost if classes is None else cost.select(classes)


def as_cost(cost, num_classes, classes=None):
    """The raw (K, K) values of a `CostMatrix`, DataFrame, tensor, array or list for so many classes, or a ValueError.

    Where `classes` are given, those of a `CostMatrix` or DataFrame are put into their order.
    """
    if isinstance(cost, CostMatrix):
        cost = cost if classes is None else cost.select(classes)
    elif hasattr(cost, "columns") and classes is not None:
        cost = from_table(cost.to_numpy(), cost.index, cost.columns, classes, symmetric=False)
    else:
        cost = CostMatrix(cost.detach().cpu() if torch.is_tensor(cost) else cost, range(num_classes), symmetric=False)
    if len(cost) != num_classes:
        raise ValueError(f"The cost matrix has {len(cost)} classes, the confusions have {num_classes}.")
    return cost.values


def class_names(classes):
    """Class names as a tuple of str, each its own; a ValueError otherwise."""
    names = tuple(str(name) for name in classes)
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"Each class needs a name of its own, but {listing(twice)} is listed more than once.")
    return names


def listing(names):
    """Names for a message, not more than a reader wants."""
    shown = ", ".join(repr(name) for name in names[:12])
    return shown if len(names) <= 12 else f"{shown} and {len(names) - 12} more"


def _number(entry):
    """An entry as a float; NaN for what is no number."""
    try:
        return float(entry)
    except (TypeError, ValueError):
        return math.nan


def _checked(values, classes, symmetric):
    """The values as a new float64 array (K, K); ValueError, with the classes that are wrong, for what is no cost."""
    rows = values if isinstance(values, (list, tuple)) else np.asarray(values).tolist()
    if not isinstance(rows, (list, tuple)) or not all(hasattr(row, "__len__") for row in rows):
        raise ValueError(f"A cost matrix must be square, K rows of K numbers, not {values!r:.99}.")
    if len(classes) < 2:
        raise ValueError("A cost matrix needs at least two classes: nothing can be confused with one.")
    if len(rows) != len(classes):
        raise ValueError(f"The cost matrix has {len(rows)} rows for {len(classes)} classes ({listing(classes)}). Give "
                         "one row and one column for each class, in that order.")
    for number, (name, row) in enumerate(zip(classes, rows), 1):
        if len(row) != len(classes):
            raise ValueError(f"Row {number} of the cost matrix, of class {name!r}, has {len(row)} entries for "
                             f"{len(classes)} classes. Give one cost for each, 0 for the class itself.")
    values = np.array([[_number(entry) for entry in row] for row in rows]) + 0.0  # equal digests for -0.0 and 0.0
    tolerance = SYMMETRY_TOLERANCE * np.abs(values).max() if symmetric else np.inf
    with np.errstate(invalid="ignore"):  # inf - inf; such entries are refused first
        difference = np.abs(values - values.T)
    for bad, problem in (
            (~np.isfinite(values), "has entries that are no finite numbers: give each pair a cost, or a 'default'"),
            (values < 0, "has negative entries: use a distance, 1 - similarity, say"),
            (np.diag(values.diagonal() != 0), "has a non-zero diagonal: being right costs nothing, set it to 0"),
            (difference > tolerance, "is not symmetric: average it with its transpose, or, if the direction is meant, "
                                     "pass symmetric=False or write {'values': ..., 'symmetric': False}"),
            (np.full(values.shape, not values.any()), "is zero everywhere: give at least one pair a positive cost")):
        if bad.any():
            entries = [f"{classes[i]} -> {classes[j]} = {rows[i][j] if np.isnan(values[i, j]) else f'{values[i, j]:g}'}"
                       for i, j in np.argwhere(bad)[:4]]
            raise ValueError(f"The cost matrix {problem} ({', '.join(entries)}; {bad.sum()} in all).")
    return values
