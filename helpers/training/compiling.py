"""Compiling the graphs of attack and step: whether that is worth its minute, and doing it."""
import importlib.util
import os
import shutil
from contextlib import suppress

import torch

from helpers import data, losses
from helpers.training import parts


def worthwhile(run, device):
    """Whether to compile, from facts alone: timings depend on the weather. It needs Triton, or a C++ compiler."""
    able = importlib.util.find_spec("triton") if device.type == "cuda" else shutil.which(os.environ.get("CXX", "g++"))
    # The FLOP, of forward passes, from which it is worth its minute. It fuses what lies between the convolutions: a
    # third of the time in bf16, but on a CPU next to nothing in float32, where convolutions take nearly all of it.
    least = {"cuda bf16": 2e16, "cuda float32": 2e15, "cpu bf16": 1e14}.get(f"{device.type} {run.config.precision}")
    with suppress(NotImplementedError):  # an operator of a network's own that cannot be tried without computing
        return bool(able and least) and run.config.epochs * epoch_flop(run) > least
    return False


def epoch_flop(run):
    """The FLOP of an epoch: those of a forward pass for each image and pass, whatever a machine makes of them."""
    from torch.utils.flop_counter import FlopCounterMode
    config, dataset = run.config, run.dataset
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        model = parts.build_network(config.network, dataset.num_classes, dataset.in_channels).eval()
        model(torch.zeros(1, *dataset.x_train.shape[1:]))
    return len(run.parts.train) * config.passes * counter.get_total_flops()


def compile_step(trainer, learner, mode):
    """Compile on a first batch what a `Trainer` attacks, and what learns.

    Returns both; where that fails, as they were, with a line.
    """
    torch._dynamo.config.recompile_limit = 64  # of all networks of a plan; beyond it they are not compiled
    model, attack = trainer.model, trainer.attack
    network = torch.compile(model, mode=mode, dynamic=False)
    compiled = network if learner is model else torch.compile(learner, mode=mode, dynamic=False)
    sample = trainer.batches.epoch([torch.arange(trainer.size)], torch.Generator().manual_seed(0))
    x = data.to_float(next(sample)[0]).to(trainer.dtype)[trainer.own]
    y = trainer.labels[:trainer.size][trainer.own]
    statistics = [buffer.clone() for buffer in model.buffers()]  # of BatchNorm, which the step below changes
    try:
        with trainer.autocast():
            if attack is not None:
                attack(network, x, y, start=x)
            loss = losses.cross_entropy(compiled(x).to(trainer.dtype), y).mean()
            torch.autograd.grad(loss, list(model.parameters()))
    except Exception as error:
        # A compiler has a thousand ways to fail, and none of them should cost a reader the run.
        print(f"torch.compile failed ({type(error).__name__}); training goes on without it")
        torch._dynamo.reset()
        return model, learner
    finally:
        for buffer, value in zip(model.buffers(), statistics):
            buffer.copy_(value)
    return network, compiled
