"""Share of the machine's limit: FLOP/s of a training step over the best large matrix product or convolution."""
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from benchmarks import synthetic
from benchmarks.timing import Contender, Task, measure, rows_of
from benchmarks.training import ours
from benchmarks.workers import Workers
from helpers.allocator import keep_freed_memory

NAME = "limit"
# Sides of square products; channels of 3x3 convolutions, with images and side.
PRODUCTS = {"smoke": (256,), "cpu": (1024, 2048, 4096), "cuda": (4096, 8192, 16384)}
CONVOLUTIONS = {"smoke": ((16, 4, 16),), "cpu": ((64, 64, 32), (128, 64, 32), (256, 32, 32)),
                "cuda": ((160, 256, 32), (320, 256, 32), (640, 256, 32))}
# Network, batch of a PGD step, side.
NETWORKS = {"smoke": (("W-10-1", 8, 16),), "cpu": (("W-16-1", 128, 32), ("W-16-4", 32, 32)),
            "cuda": (("W-16-1", 1024, 32), ("W-16-10", 256, 32), ("W-28-10", 128, 32))}
STEPS = 8
BUDGET = 120  # seconds that the rounds may take once three are done


def product(device, side):
    """A `Task`: a product of two square matrices, in the precision that training uses on the device."""
    left, right, out = (torch.randn(side, side, device=device).to(_precision(device)) for _ in range(3))
    return Task(lambda: torch.mm(left, right, out=out), work=2 * side ** 3, least_seconds=0.02)


def convolution(device, channels, images, side):
    """A `Task`: a 3x3 convolution that keeps channels and side, in channels_last."""
    keep_freed_memory()
    x = torch.randn(images, channels, side, side, device=device).to(_precision(device))
    x = x.contiguous(memory_format=torch.channels_last)
    weight = torch.randn(channels, channels, 3, 3, device=device).to(x).contiguous(memory_format=torch.channels_last)
    # The zeros at the border are counted, as they are in the training step.
    return Task(lambda: F.conv2d(x, weight, padding=1), work=2 * 9 * channels ** 2 * images * side ** 2,
                least_seconds=0.02)


class Counter(TorchDispatchMode):
    """Adds up the FLOPs of the products and convolutions in its block, by PyTorch's own formulas.

    `torch.utils.flop_counter.FlopCounterMode` cannot be used: its module hooks do not allow `autograd.grad`.
    """

    def __init__(self):
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        value = function(*args, **(kwargs or {}))
        if count := flop_registry.get(function._overloadpacket):
            self.total += count(*args, **(kwargs or {}), out_val=value)
        return value


def step(device, **settings):
    """A `Task`: one training step; its work is the FLOPs of the products and convolutions that an eager one makes.

    The column `passes` gives them in units of a forward pass: 2 k + 3 is the ideal.
    """
    eager = ours(device, **{**settings, "compiled": False})
    with Counter() as counter:
        eager.run()
    channels, side = 3, settings["side"]
    net = synthetic.network(settings["network"], channels, device)
    x, _ = synthetic.batch(settings["images"], channels, side, device)
    with Counter() as forward, torch.no_grad():
        net(x)
    passes = counter.total / forward.total
    task = ours(device, **settings) if settings.get("compiled") else eager
    task.work, task.facts = counter.total, lambda: {"passes": passes}
    return task


def _precision(device):
    return torch.bfloat16 if device == "cuda" else torch.float32


def rows(scale, rounds, device, only=None):
    """Yield one list of rows, FLOP/s; the ratio is the share of the best product or convolution of this run.

    With `only` one network there is no training step of another.
    """
    where = "smoke" if scale == "smoke" else device
    contenders = [Contender(f"product {side}", product, {"side": side}, "limit") for side in PRODUCTS[where]]
    contenders += [Contender(f"convolution {channels}", convolution,
                             {"channels": channels, "images": images, "side": side}, "limit")
                   for channels, images, side in CONVOLUTIONS[where]]
    steps = 2 if scale == "smoke" else STEPS
    fast = {"precision": "bf16", "compiled": True} if device == "cuda" else {}
    contenders += [Contender(f"training step {network}", step,
                             {"network": network, "images": batch, "batch_size": batch, "side": side,
                              "steps": steps, **fast})
                   for network, batch, side in NETWORKS[where] if only in (None, network)]
    with Workers([contender.name for contender in contenders], device) as workers:
        timings = measure(workers, contenders, rounds, BUDGET)
    setting = f"PGD-{steps} step, {_precision(device)}".replace("torch.", "")
    yield rows_of(NAME, setting, timings, _best(timings), "FLOP/s")


def _best(timings):
    """Name of the fastest product or convolution."""
    speeds = {timing.contender.name: timing.work / sorted(timing.seconds)[len(timing.seconds) // 2]
              for timing in timings if timing.contender.role == "limit" and timing.seconds}
    return max(speeds, key=speeds.get, default=None)
