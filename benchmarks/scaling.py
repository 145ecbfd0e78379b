"""Seconds and peak memory of a WPGD training step as batch, image side, K, depth, width and attack steps grow."""
import re
import resource
import sys
from pathlib import Path

import torch

from benchmarks.timing import Contender, measure, rows_of
from benchmarks.training import ours
from benchmarks.workers import Workers

NAME = "scaling"
BASE = {"batch": 64, "side": 32, "K": 10, "depth": 16, "width": 1, "steps": 2}
AXES = {"batch": (16, 32, 64, 128, 256), "side": (16, 32, 64), "K": (10, 100, 200, 1000), "depth": (10, 16, 22, 28),
        "width": (1, 2, 4), "steps": (1, 2, 4, 8)}
SMOKE_BASE = {**BASE, "batch": 8, "side": 16, "depth": 10, "steps": 1}
SMOKE_AXES = {"batch": (8,)}


def build(device, **point):
    """A `Task`: one training step at a point; its facts are the memory before the first step and the peak, in MiB."""
    before = peak_mib(device)
    task = ours(device, method="wpgd", network=f"W-{point['depth']}-{point['width']}", images=point["batch"],
                batch_size=point["batch"], side=point["side"], classes=point["K"], steps=point["steps"])
    task.facts = lambda: {"before_mib": before, "peak_mib": peak_mib(device)}
    return task


def peak_mib(device):
    """The most memory this process has held so far, in MiB: of the GPU, or resident."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 2 ** 20
    status = Path("/proc/self/status")
    if status.exists() and (found := re.search(r"VmHWM:\s*(\d+) kB", status.read_text())):
        return int(found[1]) / 2 ** 10
    # Elsewhere; on Linux this would start from the peak of the process that started this one.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2 ** 20 if sys.platform == "darwin" else peak / 2 ** 10


def rows(scale, rounds, device):
    """Yield lists of rows, one an axis, with a row a point.

    The columns `axis`, `value` and `base_value` say what is changed, to what and from what.  The point that is on all
    axes is measured once.
    """
    base, axes = (SMOKE_BASE, SMOKE_AXES) if scale == "smoke" else (BASE, AXES)
    known = {}
    for axis, values in axes.items():
        found = []
        for value in values:
            point = {**base, axis: value}
            key = tuple(point.values())
            if key not in known:
                # A process a point: memory that was held once does not shrink.
                with Workers(("ours",), device) as workers:
                    known[key] = measure(workers, [Contender("ours", build, point)], rounds)
            row, = rows_of(NAME, axis, known[key], "ours", "images/s")
            found.append({**row, "axis": axis, "value": value, "base_value": base[axis]})
        yield found
