"""Time contenders against each other: each in its own process, in turn, A B A B.

A process of its own, because this study's allocator setting changes malloc for a whole process and a peer must be
measured as its user gets it.  In turn, because a machine's speed drifts: only times of the same round are compared.
"""
import multiprocessing
import os
import signal
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np
import torch

PATIENCE = 900  # seconds that one answer may take before its contender is given up


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
    role : "ours", "variant" (ours, set otherwise), "peer", "tuned" (a peer changed by hand) or "limit"
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
    seconds: list
    work: float = 1.0
    first_call_seconds: float = float("nan")
    note: str = ""
    facts: dict = field(default_factory=dict)


class ContenderError(Exception):
    """A contender could not be built or run."""


class Worker:
    """One process, idle until it is asked; it stays for the next case.

    Parameters
    ----------
    device : str, "cpu" or "cuda"
    """

    def __init__(self, device):
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        # Waiting threads of an idle worker would otherwise spin and slow down the one that is measured.
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")
        self.process = context.Process(target=_serve, args=(theirs, device), daemon=True)
        self.process.start()
        theirs.close()

    def ask(self, word, *values):
        """Send a request and wait for the answer.

        Raises
        ------
        ContenderError
            With one line that says what went wrong, also where the process died or did not answer in time.
        """
        try:
            self.pipe.send((word, *values))
            if not self.pipe.poll(PATIENCE):
                self.process.terminate()
                raise ContenderError(f"no answer within {PATIENCE} s")
            good, answer = self.pipe.recv()
        except (EOFError, BrokenPipeError, OSError):
            self.process.join(5)
            raise ContenderError(f"the process ended with {self.process.exitcode}") from None
        if not good:
            raise ContenderError(answer)
        return answer

    def leave(self):
        """Ask the process to end by itself, which cleans up what a peer has started; do not wait."""
        with suppress(OSError):  # it is dead already
            self.pipe.send(("leave",))

    def close(self):
        """End the process."""
        self.process.join(5)
        self.process.terminate()
        self.pipe.close()


class Workers:
    """A worker for each name, started together (importing takes longest) and ended with the block."""

    def __init__(self, names, device):
        self.device = device
        self.workers = {name: Worker(device) for name in dict.fromkeys(names)}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for worker in self.workers.values():
            worker.leave()
        for worker in self.workers.values():
            worker.close()

    def __getitem__(self, name):
        if not self.workers[name].process.is_alive():
            self.workers[name] = Worker(self.device)
        return self.workers[name]


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
                _try(timing, lambda timing: timing.seconds.append(workers[timing.contender.name].ask("run")), workers)
    for timing in timings:
        if timing.seconds:
            _try(timing, lambda timing: timing.facts.update(workers[timing.contender.name].ask("facts")), workers)
        timing.seconds = timing.seconds or []
    return timings


def _begin(workers, contender):
    """Build a contender and call it once, which compiles and warms up."""
    timing = Timing(contender, [], note=contender.note)

    def build(timing):
        timing.work, timing.first_call_seconds = workers[contender.name].ask(
            "build", contender.build, contender.arguments)
    _try(timing, build, workers)
    return timing


def _try(timing, action, workers):
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
            workers[contender.name].ask("build", contender.build, contender.arguments)
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


def _serve(pipe, device):
    """The worker's loop: answers (True, value), or (False, one line about the error)."""
    # An interrupted benchmark is ended by its parent; what peers print would disturb the table.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    worker = _Served(device)
    while True:
        try:
            word, *values = pipe.recv()
        except EOFError:
            return
        if word == "leave":
            return
        try:
            answer = True, getattr(worker, word)(*values)
        except Exception as error:
            answer = False, f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]
        pipe.send(answer)


class _Served:
    """What a worker can be asked."""

    def __init__(self, device):
        self.device, self.task, self.repeats = device, None, 1

    def build(self, build, arguments):
        """Build a task and call it twice: the first call warms up, the second tells how often a sample repeats it."""
        self.task = None
        if "torch._dynamo" in sys.modules:
            torch._dynamo.reset()
        self.task, self.repeats = build(self.device, **arguments), 1
        first = self.run()
        if self.task.least_seconds:
            once = self.run()
            self.repeats = max(1, round(self.task.least_seconds / max(once, 1e-9)))
        return self.task.work, first

    def run(self):
        """Seconds of one call."""
        synchronize(self.device)
        began = time.perf_counter()
        for _ in range(self.repeats):
            self.task.run()
        synchronize(self.device)
        return (time.perf_counter() - began) / self.repeats

    def answer(self):
        """The value of one call, as an array."""
        value = self.task.run()
        return value.detach().cpu().numpy() if torch.is_tensor(value) else np.asarray(value)

    def facts(self):
        return self.task.facts()


def synchronize(device):
    """Wait for the device: a GPU answers before it has computed."""
    if device == "cuda":
        torch.cuda.synchronize()
