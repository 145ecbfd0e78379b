"""A validated cost matrix (Def. 3 of the paper): what it costs to take class i for class j."""
import csv
import hashlib
import io
import math
from numbers import Real
from pathlib import Path

import numpy as np
import torch

from helpers.files import write_atomic

SYMMETRY_TOLERANCE = 1e-6  # relative to the largest cost: rounded CSV files and float32 sums are still symmetric


class CostMatrix:
    """Square, finite, non-negative, zero on the diagonal, symmetric unless asked otherwise. Immutable.

    Parameters
    ----------
    values : (K, K) array_like of float
        Row i, column j: the cost of taking class i (true) for class j (predicted), in any unit.
    classes : sequence of K str
        Class names in the order of rows and columns.
    name : str
        Where the costs come from, for titles and reports.
    symmetric : bool
        ``False`` admits C[i, j] != C[j, i] (no label metric of Def. 3 any more, but Eq. (5) needs only rows).

    Attributes
    ----------
    values, normalized : (K, K) float64 arrays, read-only; as given, and divided by their maximum
    classes : tuple of K str
    digest : str, hash (12 hexadecimal digits) of values and classes

    Raises
    ------
    ValueError
        Naming the offending classes, for every way in which the values are no cost matrix.
    """

    def __init__(self, values, classes, *, name="custom", symmetric=True):
        values, classes = _array(values), class_names(classes)
        _check(values, classes, symmetric)
        values = values + 0.0  # -0.0 becomes 0.0, so that equal costs have equal digests
        content = "\n".join(classes).encode() + values.astype("<f8").tobytes()
        normalized = values / values.max()
        values.flags.writeable = normalized.flags.writeable = False
        vars(self).update(values=values, normalized=normalized, classes=classes, name=str(name),
                          symmetric=bool(symmetric), digest=hashlib.sha256(content).hexdigest()[:12])

    def __setattr__(self, name, value):
        raise AttributeError(f"a CostMatrix cannot be changed: make a new one instead of setting {name!r}")

    def __reduce__(self):  # a copy is checked and read-only again
        return _restored, (self.values, self.classes, self.name, self.symmetric)

    def __len__(self):
        return len(self.classes)

    def __eq__(self, other):
        return self.digest == other.digest if isinstance(other, CostMatrix) else NotImplemented

    def __hash__(self):
        return hash(self.digest)

    def __repr__(self):
        off = np.where(np.eye(len(self), dtype=bool), np.nan, self.values)
        (i, j), (k, m) = (np.unravel_index(pick(off), off.shape) for pick in (np.nanargmin, np.nanargmax))
        return (f"CostMatrix({self.name!r}, K={len(self)}, nearest {self.classes[i]}/{self.classes[j]} = {off[i, j]:.4g}, "
                f"farthest {self.classes[k]}/{self.classes[m]} = {off[k, m]:.4g}, digest {self.digest})")

    def __pow__(self, p):
        """C^p of Eq. (3) and (5) as a new (K, K) float64 tensor: normalised to max 1, then element-wise power.

        Normalising first keeps every p on one scale (the largest cost stays 1), so that the entropy term of
        Eq. (5) weighs the same for each p. 0 ** p is 0 also for p = 0: the diagonal must stay free, otherwise
        C^0 is all ones, ``C^0[y] . q`` is constant, and its gradient vanishes. With it, p = 0 gives
        ``1 - q[y]``: all wrong classes cost the same, which is why "p = 0" in Table 3 stands for plain PGD.

        Raises
        ------
        ValueError
            p is no finite number >= 0.
        """
        if isinstance(p, bool) or not isinstance(p, Real) or not math.isfinite(p) or p < 0:
            raise ValueError(f"The power p of a cost matrix must be a finite number >= 0, not {p!r}: a negative power "
                             "would make the nearest classes the dearest. The paper uses p = 1, 2.5 and 10.")
        return torch.from_numpy(np.where(self.normalized > 0, self.normalized ** float(p), 0.0))

    def to_frame(self):
        """The raw values as a pandas DataFrame with class names on both axes."""
        import pandas as pd
        return pd.DataFrame(self.values.copy(), index=list(self.classes), columns=list(self.classes))

    def to_csv(self, path):
        """Write the raw values as `read_csv` reads them, digit for digit; without pandas, for machines that only train."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["", *self.classes])
        writer.writerows([name, *row] for name, row in zip(self.classes, self.values.tolist()))
        write_atomic(path, text.getvalue())

    def select(self, classes):
        """The costs among some of the classes, in the order given; values keep their raw units.

        Raises
        ------
        ValueError
            A class that this matrix does not have, or fewer than two classes.
        """
        names = class_names(classes)
        missing = [name for name in names if name not in self.classes]
        if missing:
            raise ValueError(f"The cost matrix {self.name!r} has no class {listing(missing)}; its classes are "
                             f"{listing(self.classes)}. Add the missing rows and columns, or correct the names.")
        rows = [self.classes.index(name) for name in names]
        return CostMatrix(self.values[np.ix_(rows, rows)], names, name=self.name, symmetric=self.symmetric)


def from_dataframe(frame, classes=None, *, name="custom", symmetric=True):
    """A CostMatrix from a DataFrame whose index and columns carry the same class names, in any order.

    Parameters
    ----------
    frame : (K, K) pandas.DataFrame
    classes : sequence of str, optional
        Classes and their order in the result; the index of ``frame`` by default.

    Raises
    ------
    ValueError
        Index and columns differ, a class is missing, or the values are no cost matrix.
    """
    return _labelled(_array(frame.to_numpy()), frame.index, frame.columns, classes, name, symmetric)


def read_csv(path, classes=None, *, name=None, symmetric=True):
    """A CostMatrix from a CSV file, separated by commas, semicolons or tabs.

    Either labelled (first row and first column are class names in any order, top left cell arbitrary), as
    ``cost.to_csv(path)`` writes it, or bare: K rows of K numbers in the order of ``classes``.

    Parameters
    ----------
    path : str or Path
    classes : sequence of str, optional
        Classes and their order in the result. Required for a bare file.
    name : str, optional
        Of the matrix; the file's name by default.

    Raises
    ------
    FileNotFoundError
        No such file.
    ValueError
        Not a number, unlabelled without ``classes``, a class missing, or no cost matrix.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no cost matrix file {path}. Check the path, or write one with "
                                "cost.to_csv(path).")
    text, name = path.read_text(encoding="utf-8-sig"), name or path.name
    delimiter = max(",;\t", key=text.partition("\n")[0].count)
    rows = [[cell.strip() for cell in row] for row in csv.reader(text.splitlines(), delimiter=delimiter)]
    rows = [row for row in rows if any(row)]
    if rows and len(rows[0]) == len(rows) and not any(_not_a_number(cell) for cell in rows[0]):
        if classes is None:
            raise ValueError(f"{path} holds numbers only, so its classes are unknown. Pass classes=[...] in the "
                             "order of its rows, or label its first row and column.")
        return CostMatrix(_numbers(rows, path), classes, name=name, symmetric=symmetric)
    if len(rows) < 2 or any(len(row) != len(rows[0]) for row in rows):
        raise ValueError(f"{path} is no cost table: it needs a first row with the class names and, for each "
                         "class, a row with its name and K numbers, all equally long.")
    values = _numbers([row[1:] for row in rows[1:]], path)
    return _labelled(values, [row[0] for row in rows[1:]], rows[0][1:], classes, name, symmetric)


def class_names(classes):
    """Class names as a tuple of str, each its own; a ValueError otherwise."""
    if isinstance(classes, str):
        raise ValueError(f"classes is the single string {classes!r}, but a cost matrix needs one name a class. "
                         "Pass a list, such as ['cat', 'dog'].")
    names = tuple(str(name) for name in classes)
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"Each class of a cost matrix needs its own name, but {listing(twice)} is listed more than once. "
                         "Rename or remove the duplicates.")
    return names


def listing(names, limit=12):
    """Names for a message, not more than a reader wants."""
    shown = ", ".join(repr(name) for name in names[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit} more"


def _restored(values, classes, name, symmetric):
    return CostMatrix(values, classes, name=name, symmetric=symmetric)


def _array(values):
    """Nested list, array, tensor or frame -> new float64 array, or a ValueError that says why not."""
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu().double().numpy()
    try:
        return np.array(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"A cost matrix needs K rows of K numbers, but these values are no numeric table ({error}). "
                         "Make every row equally long and every entry a number.") from None


def _labelled(values, rows, columns, classes, name, symmetric):
    rows, columns = class_names(rows), class_names(columns)
    if odd := sorted(set(rows) ^ set(columns)):
        raise ValueError(f"Rows and columns of the cost table {name!r} must carry the same class names, but "
                         f"{listing(odd)} is on one of them only. Label both alike.")
    cost = CostMatrix(values[:, [columns.index(row) for row in rows]], rows, name=name, symmetric=symmetric)
    return cost if classes is None else cost.select(classes)


def _not_a_number(cell):
    try:
        float(cell)
    except ValueError:
        return True
    return False


def _numbers(rows, path):
    bad = [(i, j, cell) for i, row in enumerate(rows, 1) for j, cell in enumerate(row, 1) if _not_a_number(cell)]
    if bad:
        i, j, cell = bad[0]
        raise ValueError(f"{path} has {cell!r} where a cost belongs (row {i}, column {j} of the numbers, "
                         f"{len(bad)} such cells). Write every cost as a number with a decimal point.")
    return _array([[float(cell) for cell in row] for row in rows])


def _check(values, classes, symmetric):
    """Refuse what is no cost matrix, with the classes that are wrong."""
    if values.ndim != 2 or values.shape[0] != values.shape[1]:
        raise ValueError(f"A cost matrix must be square, K rows of K numbers, but this one has shape "
                         f"{tuple(values.shape)}. Give one row and one column for each class.")
    if len(values) != len(classes):
        raise ValueError(f"The cost matrix has {len(values)} rows for {len(classes)} classes "
                         f"({listing(classes)}). Give one row and one column for each class, in that order.")
    if len(classes) < 2:
        raise ValueError("A cost matrix needs at least two classes: with K = 1 nothing can be confused, and "
                         f"Eq. (5) divides by log K = 0. Got {listing(classes) or 'none'}.")
    tolerance = SYMMETRY_TOLERANCE * np.abs(values).max() if symmetric else np.inf
    with np.errstate(invalid="ignore"):  # inf - inf; such entries are refused first
        difference = np.abs(values - values.T)
    for bad, problem, remedy in (
            (~np.isfinite(values), "has entries that are no finite numbers", "Replace NaN and inf by a cost."),
            (values < 0, "has negative entries", "Costs are >= 0; for similarities use a distance, 1 - similarity, say."),
            (np.eye(len(values), dtype=bool) & (values != 0), "has a non-zero diagonal",
             "Being right costs nothing: set these entries to 0."),
            (difference > tolerance, "is not symmetric",
             "Average it with its transpose, or pass symmetric=False if the direction is meant.")):
        if bad.any():
            entries = [f"{classes[i]} -> {classes[j]} = {values[i, j]:g}" for i, j in np.argwhere(bad)]
            more = f" and {len(entries) - 4} more" if len(entries) > 4 else ""
            raise ValueError(f"The cost matrix {problem}: {', '.join(entries[:4])}{more}. {remedy}")
    if not values.any():
        raise ValueError("The cost matrix is zero everywhere, so no confusion costs anything and it cannot be "
                         "normalised to a maximum of 1. Give at least one pair of classes a positive cost.")
