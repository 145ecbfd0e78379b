"""Sentences of the paper that can be false, as rows: statistic, interval, verdict.

A verdict is computed from the interval and a threshold and from nothing else, so nobody can tune it by
rewriting a sentence. A claim that fails at some scale is reported as failing.
"""

import html
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

COLUMNS = ("notebook", "id", "source", "statement", "statistic", "value", "low", "high", "holds_if",
           "verdict", "note")
VERDICTS = ("holds", "fails", "inconclusive", "not measurable")

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_THRESHOLD = re.compile(rf"\s*(>=|<=|>|<)\s*({_NUMBER})\s*")
_RANGE = re.compile(rf"\s*in\s*\[\s*({_NUMBER})\s*,\s*({_NUMBER})\s*\]\s*")


class Interval(NamedTuple):
    """A statistic and its interval; ``low`` and ``high`` are None where one measurement is all there is."""

    value: float
    low: float | None
    high: float | None


def interval_over_seeds(values: Iterable[float], confidence: float = 0.95) -> Interval:
    """Mean of one number a seed, with an interval for that mean.

    Three seeds or more: Student's t interval. Two: the smaller and the larger value (no confidence level
    can be named). One: no interval. A NaN among the values makes the statistic NaN, hence "not measurable".

    Parameters
    ----------
    values : iterable of float
        One measurement a seed, any unit.
    confidence : float
        Level of the t interval.

    Raises
    ------
    ValueError
        If there is no value at all.
    """
    numbers = [float(value) for value in values]
    if not numbers:
        raise ValueError("interval_over_seeds needs at least one value; no seed was measured.")
    mean = sum(numbers) / len(numbers)
    if len(numbers) == 1 or not math.isfinite(mean):
        return Interval(mean, None, None)
    if len(numbers) == 2:
        return Interval(mean, min(numbers), max(numbers))
    from scipy.stats import t

    variance = sum((number - mean) ** 2 for number in numbers) / (len(numbers) - 1)
    half = float(t.ppf(0.5 + confidence / 2, len(numbers) - 1)) * math.sqrt(variance / len(numbers))
    return Interval(mean, mean - half, mean + half)


def hull(intervals: Iterable[tuple[float, float, float]]) -> Interval:
    """One interval from those of several seeds: the mean of the values, from the lowest end to the highest.

    For (value, low, high) that were bootstrapped over test images, a model a seed. A verdict then needs every
    seed's interval on the same side. It is about these models: with one seed it says nothing about the next, and
    with two not much.

    Parameters
    ----------
    intervals : iterable of (value, low, high)
        None or NaN ends make the result an interval without ends; no interval at all, or a NaN among the
        values, makes it "not measurable".
    """
    rows = [tuple(math.nan if number is None else float(number) for number in row) for row in intervals]
    value = sum(row[0] for row in rows) / len(rows) if rows else math.nan
    ends = [end for row in rows for end in row[1:]]
    if not rows or any(math.isnan(end) for end in ends):
        return Interval(value, None, None)
    return Interval(value, min(ends), max(ends))


@dataclass(frozen=True)
class Claim:
    """One sentence of the paper and the number that decides it.

    Parameters
    ----------
    id : str
        Short name, unique within a notebook.
    source : str
        Where the paper says it, e.g. "Sec. 3.3, Fig. 7".
    statement : str
        The sentence.
    statistic : str
        What was measured, with its unit.
    value, low, high : float or None
        The statistic and its interval (over seeds or bootstrap). Both ends None: a point value.
    holds_if : str
        ``"> 0"``, ``">= 0.5"``, ``"< 0"``, ``"<= 3"`` or ``"in [45, 55]"``.
    remark : str
        What a reader of the verdict must know and the interval does not say; it decides nothing.

    Raises
    ------
    ValueError
        If the interval is reversed or one-sided, or ``holds_if`` cannot be read.
    """

    id: str
    source: str
    statement: str
    statistic: str
    value: float | None
    low: float | None
    high: float | None
    holds_if: str
    remark: str = ""

    def __post_init__(self):
        for name in ("value", "low", "high"):
            number = getattr(self, name)
            number = None if number is None or math.isnan(float(number)) else float(number)
            object.__setattr__(self, name, number)
        if (self.low is None) != (self.high is None):
            raise ValueError(f"Claim {self.id!r} has only one end of its interval (low {self.low}, high "
                             f"{self.high}). Give both, or None for both.")
        if self.low is not None and self.low > self.high:
            raise ValueError(f"Claim {self.id!r} has low {self.low} > high {self.high}. Swap them.")
        _margin(self.holds_if, 0.0)

    @property
    def verdict(self) -> str:
        """One of VERDICTS: "holds" and "fails" need the whole interval on one side of the threshold."""
        if self.value is None:
            return "not measurable"
        low, high = (self.value, self.value) if self.low is None else (self.low, self.high)
        inside = [_satisfies(self.holds_if, low), _satisfies(self.holds_if, high)]
        if all(inside):
            return "holds"
        return "inconclusive" if any(inside) or _straddles(self.holds_if, low, high) else "fails"

    @property
    def note(self) -> str:
        """"no interval" where the verdict rests on one number, and the remark."""
        bare = self.value is not None and self.low is None
        return "; ".join(text for text in ("no interval" if bare else "", self.remark) if text)

    def margins(self) -> Interval | None:
        """Signed distance of value, low and high to the threshold, positive where the claim holds."""
        if self.value is None:
            return None
        value = _margin(self.holds_if, self.value)
        if self.low is None:
            return Interval(value, None, None)
        _, start, stop = _bounds(self.holds_if)
        best = min(max((start + stop) / 2, self.low), self.high)  # a range is satisfied most in its middle
        margins = [_margin(self.holds_if, number) for number in (self.low, best, self.high)]
        return Interval(value, min(margins), max(margins))

    def as_dict(self) -> dict:
        """The claim with its verdict and note, as in claims.csv."""
        return {column: getattr(self, column) for column in COLUMNS[1:]}


def _bounds(holds_if: str) -> tuple[str, float, float]:
    if match := _THRESHOLD.fullmatch(holds_if):
        return match[1], float(match[2]), float(match[2])
    match = _RANGE.fullmatch(holds_if)
    if match and float(match[1]) <= float(match[2]):
        return "in", float(match[1]), float(match[2])
    raise ValueError(f"holds_if {holds_if!r} cannot be read. Write '> 0', '>= 0.5', '< 0', '<= 3' or "
                     "'in [45, 55]'.")


def _margin(holds_if: str, number: float) -> float:
    sign, low, high = _bounds(holds_if)
    if sign == "in":
        return min(number - low, high - number)
    return number - low if sign[0] == ">" else low - number


def _satisfies(holds_if: str, number: float) -> bool:
    strict = _bounds(holds_if)[0] in (">", "<")
    margin = _margin(holds_if, number)
    return margin > 0 or (margin == 0 and not strict)


def _straddles(holds_if: str, low: float, high: float) -> bool:
    """Whether an interval with both ends outside a range covers the range."""
    sign, start, stop = _bounds(holds_if)
    return sign == "in" and low < start and high > stop


class Ledger:
    """The claims of one notebook, and the file that keeps those of all notebooks.

    Parameters
    ----------
    outputs : object
        Anything with ``notebook`` (str) and ``folder`` (where claims.csv lies), such as `paper.Outputs`.
    """

    def __init__(self, outputs):
        self.notebook = outputs.notebook
        self.folder = Path(outputs.folder)
        self.claims: list[Claim] = []

    def add(self, claim: Claim) -> Claim:
        """Keep a claim; one with the same id is replaced (a cell that was run twice)."""
        self.claims = [kept for kept in self.claims if kept.id != claim.id] + [claim]
        return claim

    def frame(self):
        """The verdict table, one row a claim; a DataFrame that wraps and colours itself in a notebook."""
        return verdict_table(self.claims)

    def write(self) -> Path:
        """Write claims.csv: this notebook's rows replaced, those of the other notebooks kept."""
        from helpers.paper.files import merge_rows

        rows = [{"notebook": self.notebook, **claim.as_dict()} for claim in self.claims]
        return merge_rows(self.folder / "claims.csv", self.notebook, rows, COLUMNS)


def verdict_table(claims: Iterable[Claim]):
    """Claims as a DataFrame whose HTML wraps long sentences and colours the verdict."""
    import pandas as pd

    class VerdictTable(pd.DataFrame):
        def _repr_html_(self):
            return _html(self)

    return VerdictTable([claim.as_dict() for claim in claims], columns=list(COLUMNS[1:]))


# Backgrounds light enough for black text; the word itself carries the verdict, the colour only repeats it.
_SHADES = {"holds": "#cfe8d5", "fails": "#f6d0c4", "inconclusive": "#f4ecc2", "not measurable": "#e4e4e4"}


def _html(frame) -> str:
    cell = "text-align:left;vertical-align:top;white-space:normal;padding:3px 8px;color:#111;"
    head = "".join(f'<th style="{cell}background:#eee">{title}</th>' for title in
                   ("claim", "statistic", "value", "holds if", "verdict"))
    rows = []
    for row in frame.to_dict("records"):
        note = f"<br><small>{html.escape(row['note'])}</small>" if row["note"] else ""
        verdict = html.escape(row["verdict"]) + note
        texts = [f"{html.escape(row['statement'])}<br><small>{html.escape(row['source'])}</small>",
                 html.escape(row["statistic"]), format_interval(row["value"], row["low"], row["high"]),
                 html.escape(row["holds_if"]), verdict]
        widths = ("max-width:22em;", "max-width:14em;", "white-space:nowrap;", "white-space:nowrap;",
                  f"background:{_SHADES[row['verdict']]};")
        rows.append("<tr>" + "".join(f'<td style="{cell}{width}">{text}</td>'
                                     for text, width in zip(texts, widths, strict=True)) + "</tr>")
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def format_interval(value, low=None, high=None) -> str:
    """``"0.52 [0.40, 0.63]"``, ``"0.52"`` without an interval, ``"–"`` without a value."""
    def missing(number):
        return number is None or math.isnan(number)

    if missing(value):
        return "–"
    return f"{value:.3g}" if missing(low) else f"{value:.3g} [{low:.3g}, {high:.3g}]"
