"""When `torch.compile` pays: long runs on a GPU with a compiler at hand, and hardly ever on a CPU."""
import importlib.util

import torch

# Compiling the graphs of attack and step takes about a minute on a GPU and saves a third of what follows, so it must
# have three minutes to save from: at the 1e14 FLOP/s that bf16 reaches without it, and a tenth of that in float32.
LEAST_FLOP = {"bf16": 2e16, "float32": 2e15}


def worthwhile(config, images, dataset, device):
    """Whether to compile, from facts alone: timing a few steps instead would make the result depend on the weather.

    On a CPU the answer is no.  There convolutions take two thirds of the time with and without it, and the other
    third is what `models` already spares a frozen network; `python -m benchmarks attack training` shows both.

    Parameters
    ----------
    config : TrainConfig; images : int, training images; dataset : Dataset; device : torch.device

    Returns
    -------
    bool
    """
    if device.type != "cuda" or not has_compiler():
        return False
    return images * config.epochs * flop_per_image(config, dataset) > LEAST_FLOP[config.precision]


def has_compiler():
    """Whether Triton is installed, which `torch.compile` needs on a GPU."""
    return importlib.util.find_spec("triton") is not None


def flop_per_image(config, dataset):
    """Floating-point operations that training spends on an image in an epoch: 2 k + 3 passes, or 3 for CE."""
    from torch.utils.flop_counter import FlopCounterMode

    from helpers import models
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        model = models.build(config.network, dataset.num_classes, dataset.in_channels)
        model(torch.zeros(1, *dataset.x_train.shape[1:]))
    passes = 3 if config.method == "ce" else 2 * config.steps + 3
    return passes * counter.get_total_flops()
