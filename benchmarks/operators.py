"""Where the time goes: the operators of an attack step and of a training step, by PyTorch's profiler."""
import torch
import torch.nn.functional as F
from torch.profiler import ProfilerActivity, profile

from benchmarks import attackers, synthetic
from benchmarks.timing import Contender, Task, answers
from benchmarks.workers import ContenderError, Workers
from helpers import models
from helpers.allocator import keep_freed_memory

NAME = "operators"
# Network, images, side.
CASES = {"smoke": (("W-10-1", 4, 16),), "cpu": (("W-16-1", 128, 32), ("W-16-4", 32, 32)),
         "cuda": (("W-16-10", 256, 32), ("W-28-10", 128, 32))}
STEPS, REPEATS, SHOWN = 8, 3, 12


def build(device, what, network, images, side, precision):
    """A `Task` whose answer is an array of texts, ``operator|calls|milliseconds``, of one step, dearest first."""
    keep_freed_memory()
    call, steps = {"attack": _attack, "training pass": _training}[what](device, network, images, side, precision)

    def run():
        call()
        kinds = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device == "cuda" else [])]
        with profile(activities=kinds) as found:
            for _ in range(REPEATS):
                call()
        column = "self_device_time_total" if device == "cuda" else "self_cpu_time_total"
        events = [(event.key, event.count, getattr(event, column)) for event in found.key_averages()]
        each = REPEATS * steps
        return [f"{name}|{count / each:.4g}|{time / each / 1000:.6g}"
                for name, count, time in sorted(events, key=lambda event: -event[2]) if time > 0]
    return Task(run)


def _attack(device, network, images, side, precision):
    net, (x, y) = synthetic.network(network, 3, device), synthetic.batch(images, 3, side, device)
    return attackers.ours(net, x, y, STEPS, True, precision=precision), STEPS


def _training(device, network, images, side, precision):
    model = models.build(network, synthetic.CLASSES).to(device).to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9, nesterov=True, fused=device == "cuda")
    x, y = synthetic.batch(images, 3, side, device)
    x = x.contiguous(memory_format=torch.channels_last)

    def call():
        with torch.autocast(device, torch.bfloat16, enabled=precision == "bf16"):
            loss = F.cross_entropy(model(x).float(), y)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
    return call, 1


def rows(scale, rounds, device):
    """Yield lists of rows: an operator each, its `calls` and `milliseconds` in one step, its `share` of the step.

    The eager networks are profiled; compiled kernels have no names that a reader knows.  `rounds` is not used.
    """
    precision = "bf16" if device == "cuda" else "float32"
    for network, images, side in CASES["smoke" if scale == "smoke" else device]:
        for what in ("attack", "training pass"):
            case = {"what": what, "network": network, "images": images, "side": side, "precision": precision}
            with Workers(("ours",), device) as workers:
                found = answers(workers, [Contender("ours", build, case)])["ours"]
            yield _rows(f"{what} {network} batch {images}", found)


def _rows(setting, found):
    head = {"benchmark": NAME, "setting": setting, "role": "ours", "reference": "", "rounds": 1}
    if isinstance(found, ContenderError):
        return [{**head, "contender": "ours", "note": f"failed: {found}"}]
    events = [text.rsplit("|", 2) for text in found]
    total = sum(float(time) for _, _, time in events)
    rest = total - sum(float(time) for _, _, time in events[:SHOWN])
    events = [*events[:SHOWN], ("all others", "nan", rest)] if rest > 0 else events[:SHOWN]
    return [{**head, "contender": name, "calls": float(calls), "milliseconds": float(time),
             "share": float(time) / total} for name, calls, time in events]
