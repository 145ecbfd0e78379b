"""Where to train, also under `torchrun` and `accelerate launch`, and whether to compile first."""
import importlib.util
import os

import torch

from helpers import models


def new_accelerator():
    """Where to train; how is for the config alone to say, whatever `accelerate launch` exports."""
    from accelerate import Accelerator
    placing = ("ACCELERATE_USE_CPU", "ACCELERATE_TORCH_DEVICE", "ACCELERATE_CPU_AFFINITY", "ACCELERATE_DEBUG_MODE")
    changing = [name for name in os.environ if name.startswith("ACCELERATE_") and name not in placing]
    exported = {name: os.environ.pop(name) for name in changing}
    try:
        # Without `cpu`, several CPU processes would train independently, all into one folder.
        several = os.environ.get("WORLD_SIZE", "1") != "1"
        return Accelerator(cpu=several and not torch.cuda.is_available(), mixed_precision="no")
    finally:
        os.environ.update(exported)


def worthwhile(run, device):
    """Whether to compile: on a GPU with Triton, from facts alone (timings depend on the weather), never on a CPU, where
    convolutions, which no compiler makes faster, take most of the time.

    Compiling takes about a minute and saves a third of what follows, so it must have three minutes to save from: at the
    1e14 FLOP/s that bf16 reaches without it, and a tenth of that in float32.
    """
    if device.type != "cuda" or importlib.util.find_spec("triton") is None:
        return False
    from torch.utils.flop_counter import FlopCounterMode
    config, dataset = run.config, run.dataset
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        model = models.build(config.network, dataset.num_classes, dataset.in_channels)
        model(torch.zeros(1, *dataset.x_train.shape[1:]))
    work = len(run.parts.train) * config.epochs * config.passes * counter.get_total_flops()
    return work > {"bf16": 2e16, "float32": 2e15}[config.precision]
