"""Sentences of the paper that can be false, each with the statistic, the interval and the verdict that follows.

A verdict is computed from the interval and a threshold and from nothing else: rewriting a sentence cannot tune it.
"""
import math
import re
from dataclasses import dataclass

import numpy as np

from helpers.answers import Evaluation
from helpers.intervals import Interval, bootstrap, hull, over_seeds

LEVEL = 1 - 0.05 / 10  # of a main claim: ten that err in 0.5 % each err in 5 % together at most (Bonferroni)
COLUMNS = ("id", "source", "statement", "statistic", "value", "low", "high", "holds_if", "verdict", "note")
# Backgrounds light enough for black text; the word itself carries the verdict, the colour only repeats it.
SHADES = {"holds": "#cfe8d5", "fails": "#f6d0c4", "inconclusive": "#f4ecc2", "not measurable": "#e4e4e4"}

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_CONDITION = re.compile(rf"\s*(?:(>=|<=|>|<)\s*({_NUMBER})|in\s*\[\s*({_NUMBER})\s*,\s*({_NUMBER})\s*\])\s*")


@dataclass(frozen=True)
class Claim:
    """One sentence of the paper and the number that decides it.

    Parameters
    ----------
    id : str, unique within a notebook; source : str, where the paper says it ("Sec. 3.3, Fig. 7"); statement : str
    statistic : str, what was measured, with its unit
    interval : Interval, or (value, low, high), over seeds or test images
        Both ends None or NaN: a point value.  Value None, NaN or infinite: not measurable.
    holds_if : ``"> 0"``, ``">= 0.5"``, ``"< 0"``, ``"<= 3"`` or ``"in [45, 55]"``
    remark : str, what a reader of the verdict must know and the interval does not say; it decides nothing

    Raises ValueError if the interval is reversed or one-sided, or ``holds_if`` cannot be read.
    """

    id: str
    source: str
    statement: str
    statistic: str
    interval: Interval
    holds_if: str
    remark: str = ""

    def __post_init__(self):
        object.__setattr__(self, "interval", Interval(*self.interval))
        _bounds(self.holds_if)

    @property
    def verdict(self):
        """"holds" or "fails" where the whole interval lies on one side, "inconclusive", or "not measurable"."""
        value, low, high = self.interval
        if not math.isfinite(value):
            return "not measurable"
        low, high = (value, value) if math.isnan(low) else (low, high)
        start, stop, strict = _bounds(self.holds_if)
        inside = [start < end < stop if strict else start <= end <= stop for end in (low, high)]
        if all(inside):
            return "holds"
        # Both ends outside, one on either side: the interval covers a range.
        return "inconclusive" if any(inside) or low < start <= stop < high else "fails"

    @property
    def note(self):
        """"no interval" where the verdict rests on one number, and the remark."""
        bare = math.isnan(self.interval.low) and not math.isnan(self.interval.value)
        return "; ".join(text for text in ("no interval" if bare else "", self.remark) if text)

    def as_dict(self):
        """The claim with its verdict and note, a row of claims.csv."""
        parts = {**vars(self), **vars(self.interval), "verdict": self.verdict, "note": self.note}
        return {column: parts[column] for column in COLUMNS}


def _bounds(holds_if):
    """The range of a condition: (start, stop, whether its ends are left out)."""
    match = _CONDITION.fullmatch(holds_if)
    if match and match[1]:
        limit = float(match[2])
        return (limit, math.inf, match[1] == ">") if match[1][0] == ">" else (-math.inf, limit, match[1] == "<")
    if match and float(match[3]) <= float(match[4]):
        return float(match[3]), float(match[4]), False
    raise ValueError(f"holds_if {holds_if!r} cannot be read. Write '> 0', '>= 0.5', '< 0', '<= 3' or 'in [45, 55]'.")


def wanting(row):
    """What would decide an inconclusive row of claims.csv, if its value stayed: a clause, or "".

    Intervals shrink as one over the root of the data. Nothing is told where the interval ends at the threshold, as that
    of an order over few models does.
    """
    if row["verdict"] != "inconclusive" or not row["low"]:
        return ""
    value, low, high = (float(row[name]) for name in ("value", "low", "high"))
    inside = [end for end in _bounds(row["holds_if"])[:2] if low < end < high]
    if not inside or value in inside:
        return ""
    times = max((((low if end < value else high) - value) / (end - value)) ** 2 for end in inside)
    enough = f"about {times:.1f} times" if times < 100 else "no affordable multiple of"
    return f", which {enough} the images or seeds would decide"


def decide(statistic, *models, samples=10_000, seed=0, method="percentile"):
    """The interval of a statistic that decides a main claim, an Interval at `LEVEL`: over test images and over seeds.

    At either end it is the farther of two: of the `bootstrap` over the test images (the hull of the seeds'), and of
    Student's t over the seeds (`over_seeds`; of two seeds the smaller and the larger value, of one nothing).

    Parameters
    ----------
    statistic, models : as of `helpers.intervals.bootstrap`; of lists the first of each belong together, then the
        second, ..., so that a difference is paired over seeds and images
    samples : int, resamples of the images; beyond LEVEL lie 25 of 10,000 at either end, of 1,000 only 2.5
    seed, method : as of `bootstrap`

    Returns
    -------
    Interval around the mean over seeds, NaN where a model has no seed, []

    Raises ValueError where the classes, or the images in each, of the models differ.
    """
    models = [[model] if isinstance(model, Evaluation) else model for model in models]
    found = [bootstrap(statistic, *one_seed, samples=samples, seed=seed, confidence=LEVEL, method=method)
             for one_seed in zip(*models)]
    return wider(hull(found), over_seeds([one.value for one in found], LEVEL))


def wider(images, seeds):
    """The value of the first Interval with the farther of either end of both; of one seed `seeds` has no end."""
    return Interval(images.value, np.fmin(images.low, seeds.low), np.fmax(images.high, seeds.high))


def table(claims):
    """Claims as a table to look at: long sentences wrapped, the verdict coloured.

    Returns a DataFrame, which a notebook shows so; a copy of it, also a pickled one, is shown plainly.
    """
    import pandas as pd
    frame = pd.DataFrame([{**claim.as_dict(), "value": str(claim.interval)} for claim in claims], columns=COLUMNS)
    frame = frame.rename(columns={"statement": "claim", "holds_if": "holds if"})
    frame = frame[["claim", "source", "statistic", "value", "holds if", "verdict", "note"]]
    style = frame.style.hide(axis="index").format(escape="html")
    style = style.set_properties(**{"text-align": "left", "vertical-align": "top", "white-space": "normal"})
    style = style.set_properties(subset=["value", "holds if"], **{"white-space": "nowrap"})
    style = style.map(lambda verdict: f"background-color: {SHADES[verdict]}; color: #111", subset=["verdict"])
    frame._repr_html_ = style.to_html
    return frame
