"""Time contenders against each other, in turn: A B A B.

A machine's speed drifts, so that only times of the same round are compared.
"""
import time
from dataclasses import dataclass, field

import numpy as np

from benchmarks.workers import ContenderError


@dataclass
class Task:
    """What a worker repeats.

    Attributes
    ----------
    run : callable without arguments
    work : float, what one call does, in the units of the benchmark's throughput (images, FLOP)
    least_seconds : float, shorter calls are repeated inside one sample until it lasts this long
    facts : callable without arguments, optional: dict of further columns, asked for after the last round
    """

    run: object
    work: float = 1.0
    least_seconds: float = 0.0
    facts: object = dict


@dataclass(frozen=True)
class Contender:
    """A named way to do the work: ``build(device, **arguments)`` returns a `Task`, in the contender's process.

    Attributes
    ----------
    role : "ours", "variant" (ours, set otherwise), "peer", "tuned" (a peer changed by hand) or "limit" (of the
        machine)
    note : str, what a reader of the row must know
    """

    name: str
    build: object
    arguments: dict = field(default_factory=dict)
    role: str = "ours"
    note: str = ""


@dataclass
class Timing:
    """Seconds of a contender's calls, one a round; empty, with the reason in `note`, where it failed."""

    contender: Contender
    seconds: list | None  # None while measuring means: failed
    work: float = 1.0
    first_call_seconds: float = float("nan")
    note: str = ""
    facts: dict = field(default_factory=dict)


def measure(workers, contenders, rounds, budget=float("inf")):
    """Call every contender once a round, in turn; at least three rounds (or `rounds`), then until the budget is spent.

    Parameters
    ----------
    workers : Workers
    contenders : sequence of Contender
    rounds : int >= 1
    budget : float, seconds

    Returns
    -------
    list of Timing, in the order of the contenders
    """
    timings = [_begin(workers, contender) for contender in contenders]
    end = time.monotonic() + budget
    for done in range(rounds):
        if done >= 3 and time.monotonic() > end:
            break
        for timing in timings:
            if timing.seconds is not None:
                _try(timing, lambda timing: timing.seconds.append(workers[timing.contender.name].ask("run")))
    for timing in timings:
        if timing.seconds:
            _try(timing, lambda timing: timing.facts.update(workers[timing.contender.name].ask("facts")))
        timing.seconds = timing.seconds or []
    return timings


def _begin(workers, contender):
    """Build a contender and call it once, which compiles and warms up."""
    timing = Timing(contender, [], note=contender.note)

    def build(timing):
        timing.work, timing.first_call_seconds = workers[contender.name].ask(
            "warm_up", contender.build, contender.arguments)
    _try(timing, build)
    return timing


def _try(timing, action):
    """Do something for a timing; a failure becomes its note and ends its measurements."""
    try:
        action(timing)
    except ContenderError as error:
        timing.seconds, timing.note = None, f"failed: {error}"


def answers(workers, contenders):
    """What the contenders compute rather than how fast: name -> array, or name -> ContenderError."""
    found = {}
    for contender in contenders:
        try:
            workers[contender.name].ask("prepare", contender.build, contender.arguments)
            found[contender.name] = workers[contender.name].ask("answer")
        except ContenderError as error:
            found[contender.name] = error
    return found


def statistics(timing, reference):
    """Columns of a row: medians, and the pairwise ratios to the reference.

    The ratio of round i is the contender's throughput over the reference's, ``t_reference,i / t_contender,i`` where
    both do the same work.

    Returns
    -------
    dict : seconds, throughput, ratio, ratio_q10, ratio_q90, rounds, first_call_seconds
    """
    seconds = np.array(timing.seconds, dtype=float)
    row = dict.fromkeys(("seconds", "throughput", "ratio", "ratio_q10", "ratio_q90"), float("nan"))
    row |= {"rounds": len(seconds), "first_call_seconds": timing.first_call_seconds}
    if len(seconds):
        row |= {"seconds": float(np.median(seconds)), "throughput": timing.work / float(np.median(seconds))}
    if reference is not None and len(seconds) and len(reference.seconds):
        # A contender that failed on the way has fewer rounds: the common ones are compared.
        common = min(len(seconds), len(reference.seconds))
        ratios = np.array(reference.seconds[:common]) / seconds[:common] * (timing.work / reference.work)
        row |= {"ratio": float(np.median(ratios)), "ratio_q10": float(np.quantile(ratios, 0.1)),
                "ratio_q90": float(np.quantile(ratios, 0.9))}
    return row


def rows_of(benchmark, setting, timings, reference, unit):
    """One row a contender; `reference` is the name of the contender that the ratios refer to, `unit` of throughput."""
    base = next((timing for timing in timings if timing.contender.name == reference), None)
    rows = []
    for timing in timings:
        row = {"benchmark": benchmark, "setting": setting, "contender": timing.contender.name,
               "role": timing.contender.role, "reference": reference, **statistics(timing, base), "unit": unit,
               **timing.facts, "note": timing.note}
        rows.append(row)
    return rows
