"""Processes that wait for a task, repeat it when asked, and say how long it took.

A contender has a process of its own, because this study's allocator setting changes malloc for a whole process and a
peer must be measured as its user gets it.
"""
import multiprocessing
import os
import signal
import sys
import time
from contextlib import suppress

import numpy as np
import torch

METHODS = multiprocessing.get_all_start_methods()  # Windows has no forkserver
PATIENCE = 900  # seconds that one answer may take before its contender is given up


class ContenderError(Exception):
    """A contender could not be built or run."""


class Worker:
    """One process, idle until it is asked; it stays for the next case.

    Parameters
    ----------
    device : str, "cpu" or "cuda"
    """

    def __init__(self, device):
        # Each one begins as a copy of a process that has only imported what all need, which takes seconds.
        context = multiprocessing.get_context("forkserver" if "forkserver" in METHODS else "spawn")
        context.set_forkserver_preload(["benchmarks.attackers", "benchmarks.training"])
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
                self.process.join()
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

    def prepare(self, build, arguments):
        """Build a task, in place of the one before."""
        self.task, self.repeats = None, 1
        if "torch._dynamo" in sys.modules:
            torch._dynamo.reset()
        self.task = build(self.device, **arguments)

    def warm_up(self, build, arguments):
        """Build a task and call it once; a short one twice, to learn how often a sample must repeat it.

        Returns
        -------
        float, float : the work of a call; seconds of the first call
        """
        self.prepare(build, arguments)
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
