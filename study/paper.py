"""What the paper prints, read from paper_values.yaml: tables, claims, gaps and inconsistencies."""
import copy
import functools
from pathlib import Path

import yaml

from study.claims import Claim

VALUES_FILE = Path(__file__).with_name("paper_values.yaml")
EMBEDDED = {"mnist5k": "5,000 MNIST digits", "toy3": "three arms"}


@functools.cache
def _read():
    with VALUES_FILE.open(encoding="utf-8") as file:
        return yaml.safe_load(file)


def values():
    """A copy of paper_values.yaml. Errors are in %, eps in 1/255, None where the paper says nothing."""
    return copy.deepcopy(_read())


def printed(name):
    """A printed table, or the list "inconsistencies" or "omissions", as a DataFrame, one row a printed row."""
    import pandas as pd
    known = [key for key in _read() if key.startswith("table") or key in ("inconsistencies", "omissions")]
    if name not in known:
        raise ValueError(f"The paper has no {name!r}; there are {', '.join(known)}.")
    rows = _read()[name]
    return pd.DataFrame(rows["rows"] if name.startswith("table") else rows)


def claim(id, statistic, interval, holds_if, *, statement=None, remark=""):
    """A `Claim` whose source and sentence are the paper's.

    `id` is that of a claim in paper_values.yaml, with a suffix after a colon ("less-clustered:knn") where one sentence
    has several statistics.  `statement` replaces the paper's sentence; the rest as in `Claim`.
    """
    known = {row["id"]: row for row in _read()["claims"]}
    name = id.partition(":")[0]
    if name not in known:
        raise ValueError(f"paper_values.yaml has no claim {name!r}; it has {', '.join(known)}.")
    sentence = statement or known[name].get("quote") or known[name]["printed"]
    return Claim(id, known[name]["section"], sentence, statistic, interval, holds_if, remark)


def title(data):
    """What a data set is called: "cifar10" -> "CIFAR-10", "mnist5k" -> "5,000 MNIST digits", a folder -> its name."""
    name = str(data).rstrip("/").rpartition("/")[2]
    return EMBEDDED.get(name) or _read()["datasets"].get(name, {}).get("title", name)


def same_data(paper_data, data):
    """Whether images are those of the paper's data set, so that numbers may be compared; the digits are MNIST's own."""
    return data == paper_data or (paper_data, data) == ("mnist", "mnist5k")


def note(paper_data, data, network):
    """What must be said of a number that stands beside a printed one: the network, and whether the images differ."""
    return network if same_data(paper_data, data) else f"{network}; {title(data)} stand in, not comparable"
