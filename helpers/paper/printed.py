"""The numbers and sentences that the paper prints, read from paper_values.yaml."""

import copy
import functools
from pathlib import Path

import yaml

VALUES_FILE = Path(__file__).with_name("paper_values.yaml")


@functools.cache
def _read() -> dict:
    with VALUES_FILE.open(encoding="utf-8") as file:
        return yaml.safe_load(file)


def values() -> dict:
    """Everything in paper_values.yaml: tables, figures, claims, inconsistencies, omissions.

    Errors are in %, eps in 1/255, None where the paper says nothing. A fresh copy each time.
    """
    return copy.deepcopy(_read())


def printed(table: str, **keys) -> dict:
    """The one row of a printed table that matches, e.g. ``printed("table3", dataset="cifar10", p=2.5, ...)``.

    Raises
    ------
    ValueError
        If the table is unknown, or no row or several rows match.
    """
    tables = [name for name in _read() if name.startswith("table")]
    if table not in tables:
        raise ValueError(f"The paper has no {table!r}; its tables are {', '.join(tables)}.")
    rows = [row for row in _read()[table]["rows"] if all(row.get(key) == key_value
                                                        for key, key_value in keys.items())]
    if len(rows) != 1:
        raise ValueError(f"{table} has {len(rows)} rows with {keys}; name one by "
                         f"{', '.join(key for key in _read()[table]['rows'][0])}.")
    return dict(rows[0])


def printed_table(table: str):
    """A printed table as a DataFrame, one row a printed row (Table 1: dataset, rho)."""
    import pandas as pd

    if table not in _read() or "rows" not in _read()[table]:
        printed(table)
    return pd.DataFrame(_read()[table]["rows"])


def inconsistencies():
    """Where the paper contradicts itself, as a DataFrame: id, where, paper (what it says), reading (ours)."""
    import pandas as pd

    return pd.DataFrame(_read()["inconsistencies"])


def claim(id: str, statistic: str, interval, holds_if: str, *, statement: str | None = None, remark: str = ""):
    """A `claims.Claim` whose source and sentence are the paper's.

    Parameters
    ----------
    id : str
        Of a claim in paper_values.yaml. A suffix after a colon ("less-clustered:knn") makes several
        statistics for one sentence possible.
    statistic : str
        What was measured, with its unit.
    interval : tuple (value, low, high)
        Such as `claims.interval_over_seeds` returns.
    holds_if : str
        As for `claims.Claim`.
    statement : str, optional
        Replaces the paper's sentence.
    remark : str
        Shown beside the verdict, see `claims.Claim`.

    Raises
    ------
    ValueError
        If the id is unknown.
    """
    from helpers.claims import Claim

    known = {row["id"]: row for row in _read()["claims"]}
    name = id.partition(":")[0]
    if name not in known:
        raise ValueError(f"paper_values.yaml has no claim {name!r}; it has {', '.join(known)}.")
    sentence = statement or known[name].get("quote") or known[name]["printed"]
    value, low, high = interval
    return Claim(id, known[name]["section"], sentence, statistic, value, low, high, holds_if, remark)


def dataset_title(name: str) -> str:
    """"cifar10" -> "CIFAR-10"; a name the paper does not use is returned as it is."""
    return _read()["datasets"].get(name, {}).get("title", name)


def stand_in_title(paper_dataset: str, data_name: str) -> str:
    """The paper's data set, and what stands in for it: "CIFAR-10 (digits stand in)", or plain "CIFAR-10".

    Parameters
    ----------
    paper_dataset : str
        The data set of the paper's figure, e.g. "cifar10".
    data_name : str
        The data set that was used, e.g. "mnist5k".
    """
    title = dataset_title(paper_dataset)
    if data_name == paper_dataset:
        return title
    if data_name == "mnist5k":
        return "MNIST (5,000 of its digits)" if paper_dataset == "mnist" else f"{title} (digits stand in)"
    return f"{title} ({dataset_title(data_name)} stands in)"


def stand_in_note(paper_dataset: str, data_name: str) -> str:
    """What to add to the note of a number that other images than the paper's gave; "" for the paper's own.

    Parameters
    ----------
    paper_dataset, data_name : str
        As for `stand_in_title`.
    """
    if not is_stand_in(paper_dataset, data_name):
        return ""
    return f"; {'digits stand' if data_name == 'mnist5k' else f'{data_name} stands'} in, not comparable"


def is_stand_in(paper_dataset: str, data_name: str) -> bool:
    """Whether other images than those of the paper's data set were used; the embedded digits are MNIST's own.

    Parameters
    ----------
    paper_dataset, data_name : str
        As for `stand_in_title`.
    """
    return data_name != paper_dataset and (paper_dataset, data_name) != ("mnist", "mnist5k")
