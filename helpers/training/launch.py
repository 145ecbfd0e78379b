"""Where to train: one process, or those of `torchrun` and `accelerate launch`, alone; and in which precision."""
import copy
import datetime
import os
import re
from contextlib import contextmanager
from pathlib import Path

import torch
from accelerate import Accelerator, InitProcessGroupKwargs, PartialState
from accelerate.utils import broadcast_object_list
from filelock import FileLock, Timeout
from torch import distributed, nn

from helpers.files import write_atomic
from helpers.training.manifest import as_text


class OutOfTime(Exception):
    """The time that `train` was given does not allow another epoch; the run resumes from its checkpoint."""


def new_accelerator():
    """Where to train; how is for the config alone to say, whatever `accelerate launch` exports."""
    sizes = "WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE"
    several = any(os.environ.get(name, "1") != "1" for name in sizes)
    if not several and "MASTER_PORT" in os.environ and "ACCELERATE_USE_CPU" in os.environ:
        raise ValueError("accelerate launch starts one process on a CPU without MPI, however many are asked for: use "
                         "torchrun --nproc_per_node N -m helpers.training ...")
    exported = {name: os.environ.pop(name) for name in list(os.environ)
                if re.match("ACCELERATE_(?!(USE_CPU|TORCH_DEVICE|CPU_AFFINITY|DEBUG_MODE)$)", name)}  # which say where
    try:
        # Without `cpu`, several CPU processes would train independently. They wait long for one that evaluates.
        return Accelerator(cpu=several and not torch.cuda.is_available(), mixed_precision="no",
                           kwargs_handlers=[InitProcessGroupKwargs(timeout=datetime.timedelta(days=1))])
    finally:
        os.environ.update(exported)


def on_main(function, *arguments):
    """Call a function on the main process alone: what it returns, or raises, all processes return or raise."""
    state, outcome = PartialState(), [None, None]
    if state.num_processes == 1:
        return function(*arguments)
    if state.is_main_process:
        try:
            outcome[0] = function(*arguments)
        except Exception as error:
            outcome[1] = error
    broadcast_object_list(outcome)
    if outcome[1] is not None:
        raise outcome[1]
    return outcome[0]


@contextmanager
def alone(run, seconds=None):
    """For a block that no two processes should be in for the same run: another one is waited for, so long at most, and
    then `OutOfTime` raised.  The lock of one that died holds nobody up.
    """
    lock = FileLock(run.folder / ".lock")

    def acquire():
        if seconds is not None and seconds < 0:
            raise OutOfTime(f"{run.config.label}: no time is left to begin")
        write_atomic(run.folder / "config.json", as_text(run.facts))  # tells whether the place can be written
        try:
            lock.acquire(timeout=0)
        except Timeout:
            print(f"{run.config.label}: another process trains it and is waited for", flush=True)
            try:
                lock.acquire(timeout=-1 if seconds is None else seconds)
            except Timeout:
                raise OutOfTime(f"{run.config.label}: another process still trains it") from None
    on_main(acquire)
    try:
        yield
        if lock.is_locked:  # done: nobody will train it again
            Path(lock.lock_file).unlink(missing_ok=True)
    finally:
        lock.release()


def own_part(size, accelerator):
    """The slice of a batch that this process learns from.  All draw order, crops and noise of the whole batch, which
    costs little, and cut out their own part.
    """
    if size % accelerator.num_processes:
        raise ValueError(f"a batch of {size} images has no equal parts for {accelerator.num_processes} processes: "
                         "choose another batch_size, or number of processes")
    share = size // accelerator.num_processes
    return slice(share * accelerator.process_index, share * (accelerator.process_index + 1))


def shared_learner(model, config, accelerator):
    """The network that learns where several processes share a batch: `model` with the same tensors, BatchNorm as
    `batch_norm_parts` says.  The attack works on `model` itself, of whose gradients nobody need know.
    """
    processes = accelerator.num_processes
    if config.batch_norm_parts not in (1, processes):
        raise ValueError(f"batch_norm_parts = {config.batch_norm_parts} is a recipe for as many processes, not "
                         f"{processes}: start with torchrun --nproc_per_node {config.batch_norm_parts}")
    if processes == 1:
        return model
    learner = copy.deepcopy(model, {id(one): one for one in (*model.parameters(), *model.buffers())})
    if config.batch_norm_parts == 1 and accelerator.device.type == "cpu":
        for module in learner.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.__class__ = _SyncBatchNormOnCPU
    elif config.batch_norm_parts == 1:
        learner = nn.SyncBatchNorm.convert_sync_batchnorm(learner)
    return learner


class _SyncBatchNormOnCPU(nn.Module):
    """What torch has for GPUs alone: the statistics of all processes' images, in training."""

    def forward(self, x):
        processes, dims = distributed.get_world_size(), [0, *range(2, x.ndim)]
        count = processes * x.numel() / x.shape[1]
        mean, square = _Sum.apply(torch.stack([x.mean(dims), x.square().mean(dims)]) / processes)
        variance = square - mean.square()
        with torch.no_grad():
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * count / (count - 1), self.momentum)
        scale = self.weight * (variance + self.eps).rsqrt()
        shape = 1, -1, *[1] * (x.ndim - 2)
        return x * scale.view(shape) + (self.bias - mean * scale).view(shape)


class _Sum(torch.autograd.Function):
    """The sum over all processes; its gradient is the sum of theirs."""

    @staticmethod
    def forward(ctx, value):
        value = value.clone()
        distributed.all_reduce(value)
        return value

    backward = forward


def fast_precision():
    """"bf16" where the GPU, or else the processor, computes in it; "float32" where it would be emulated."""
    if torch.cuda.is_available():
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    said = Path("/proc/cpuinfo")
    flags = said.read_text().split() if said.is_file() else ()
    return "bf16" if "avx512_bf16" in flags or "amx_bf16" in flags else "float32"
