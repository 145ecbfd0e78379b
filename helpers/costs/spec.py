"""From the ``cost`` entry of a profile, a notebook or a plan to the CostMatrix of a data set."""

import hashlib
import re
from pathlib import Path

import numpy as np

from .boundary import SETTINGS, linear_boundary_cost
from .matrix import CostMatrix, from_dataframe, read_csv
from .superclasses import CIFAR10_SUPERCLASSES, CIFAR100_SUPERCLASSES, superclass_cost
from .wordnet import DATA_SETS, DISTANCES, find, wordnet_cost

TOY3 = ((0, 10, 0.01), (10, 0, 1), (0.01, 1, 0))  # Sec. 3.4
SUPERCLASSES = {"cifar10": CIFAR10_SUPERCLASSES, "cifar100": CIFAR100_SUPERCLASSES}
SPECS = (*(f"wordnet:{distance}" for distance in DISTANCES), "linear_boundary", "superclass", "toy3")
# Outcomes of an optimisation, in which processors were seen to differ by 0.2 %, and what stands for the values.
FITTED_SPECS = {"linear_boundary": SETTINGS}


def is_fitted(spec):
    """Whether a specification names a matrix that is fitted, and so differs a little from machine to machine."""
    return isinstance(spec, str) and spec in FITTED_SPECS


def from_spec(spec, dataset):
    """The cost matrix that a specification names, rows and columns in the order of ``dataset.classes``.

    Parameters
    ----------
    spec : str, Path, CostMatrix, DataFrame, array or nested list
        - "wordnet:path", "wordnet:path_similarity", "wordnet:wup", "wordnet:lch": `wordnet_cost`;
        - "linear_boundary": `linear_boundary_cost` of the training images;
        - "superclass": CIFAR-10's animals and vehicles, CIFAR-100's 20 super-classes;
        - "toy3": the 3 x 3 matrix of Sec. 3.4;
        - the path of a CSV file (see `read_csv`);
        - a CostMatrix, returned as it is (or, for a part of its classes, cut to them);
        - a DataFrame with class names, or K rows of K numbers in the order of the classes.
    dataset : object with name, classes, x_train, y_train

    Raises
    ------
    ValueError
        Unknown specification, one that does not suit the data set, or no cost matrix.
    FileNotFoundError
        No such CSV file.
    """
    classes = tuple(str(name) for name in dataset.classes)
    if isinstance(spec, CostMatrix):
        return spec if spec.classes == classes else spec.select(classes)
    if isinstance(spec, (str, Path)):
        return _named(spec, dataset, classes)
    if hasattr(spec, "columns"):
        return from_dataframe(spec, classes)
    if spec is None or np.ndim(spec) == 0:
        raise ValueError(_unknown(spec))
    return CostMatrix(spec, classes)


def _named(spec, dataset, classes):
    text = str(spec)
    if text == "toy3":
        return CostMatrix(TOY3, classes, name="toy3")
    if text == "linear_boundary":
        return _linear_boundary(dataset, classes)
    if text == "superclass":
        name, rows = _known(dataset, classes, SUPERCLASSES, text)
        groups = {own: SUPERCLASSES[name][row["class"]] for own, row in zip(classes, rows, strict=True)}
        return superclass_cost(groups, classes)
    if text.startswith("wordnet:") and text in SPECS:
        name, rows = _known(dataset, classes, DATA_SETS, text)
        cost = wordnet_cost(name, text.removeprefix("wordnet:"), [row["class"] for row in rows])
        return CostMatrix(cost.values, classes, name=text)
    if isinstance(spec, Path) or text.lower().endswith((".csv", ".tsv", ".txt")):
        return read_csv(spec, classes)
    raise ValueError(_unknown(spec))


_BOUNDARIES = {}


def _linear_boundary(dataset, classes):
    """Every run of a data set asks for this matrix, and complete CIFAR-10 takes a minute: fitted once a process."""
    digest = hashlib.sha256(repr(classes).encode())
    for values in (dataset.x_train, dataset.y_train):
        values = np.ascontiguousarray(values)
        digest.update(f"{values.dtype}{values.shape}".encode())
        digest.update(memoryview(values).cast("B"))
    key = digest.digest()
    if key not in _BOUNDARIES:
        _BOUNDARIES[key] = linear_boundary_cost(dataset.x_train, dataset.y_train, classes)
    return _BOUNDARIES[key]


def _unknown(spec):
    return (f"There is no cost matrix {spec!r}. Choose one of {', '.join(SPECS)}, the path of a .csv file, "
            "or K rows of K numbers.")


def _known(dataset, classes, names, spec):
    """The known data set behind ``dataset`` (by its name, else by its class names) and its rows for the classes."""
    for name in sorted(names, key=len, reverse=True):
        if re.match(rf"{re.escape(name)}(?![a-z0-9])", str(dataset.name).lower()):
            return name, find(name, classes)
    for name in names:
        try:
            return name, find(name, classes)
        except ValueError:
            continue
    raise ValueError(f"The cost {spec!r} is known for the classes of {', '.join(names)}, not for {dataset.name!r}. "
                     "Use 'linear_boundary', the path of a CSV file, or K rows of K numbers.")
