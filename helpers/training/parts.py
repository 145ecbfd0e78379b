"""What a run may be made of, by names: networks, data sets, inner losses, optimisers, schedules, augmentations.

`register` adds a reader's own.  The name stands in the config of a run and in its hash; what it stands for does not, so
that who changes a part gives it another name.
"""
import re

import torch

from helpers import data, losses, models
from helpers.data.load import torchvision_datasets
from helpers.profiles import suggest


def sgd(parameters, config):
    """SGD with Nesterov momentum (Sec. 5.1)."""
    return torch.optim.SGD(parameters, lr=config.lr, momentum=config.momentum, nesterov=config.momentum > 0,
                           weight_decay=config.weight_decay, fused=parameters[0].is_cuda)


def adamw(parameters, config):
    """AdamW (Loshchilov and Hutter 2019); `momentum` is its first beta."""
    return torch.optim.AdamW(parameters, lr=config.lr, betas=(config.momentum, 0.999),
                             weight_decay=config.weight_decay, fused=parameters[0].is_cuda)


def one_cycle(progress, config):
    """Linear to `lr` over the first `warmup`, linear to 0 over the rest (Smith 2018)."""
    if progress < config.warmup:
        return max(progress / config.warmup, 0.01)
    return 1 - (progress - config.warmup) / (1 - config.warmup)


def learning_rate(config, progress):
    """Learning rate at `progress` in [0, 1) of the run."""
    return config.lr * find("schedule", config.schedule)(progress, config)


NONE = {"padding": 0, "flip": False}  # of `data.Augment`, as all built-in augmentations are
PARTS = {"network": {}, "data": {},
         "augment": {True: {"padding": 4, "flip": True}, False: NONE, "crop": {"padding": 4, "flip": False}},
         "loss": {"cross_entropy": losses.cross_entropy, "margin": losses.margin_loss},
         "optimizer": {"sgd": sgd, "adamw": adamw},
         "schedule": {"one_cycle": one_cycle, "constant": lambda progress, config: 1}}


def register(kind, name, part):
    """Give a part of your own a name that configs and plans may use, as long as this process lives.

    Parameters
    ----------
    kind : what it is, and with it what `part` must be
        - "network": ``(num_classes, in_channels) -> nn.Module`` from inputs (N, ...) in [0, 1] to logits (N, K); it
          draws its weights from torch's global generator, which the run seeds
        - "data": a `helpers.data.Dataset`
        - "loss": ``(logits, labels) -> (N,)``, which the attack of method "pgd" maximises in training
        - "optimizer": ``(parameters, config) -> torch.optim.Optimizer``; its learning rate is the schedule's
        - "schedule": ``(progress, config) -> factor`` of ``config.lr``, at `progress` in [0, 1) of the run
        - "augment": ``(images, generator) -> images`` of a batch, in the data set's type and on the device; random
          numbers come from the generator, which lives on the CPU
    name : str

    Raises ValueError for a kind that there is not, a name that is no word, and one that is taken.
    """
    if kind not in PARTS:
        raise ValueError(f"{kind!r} is no part of a run: register one of {', '.join(PARTS)}")
    if not isinstance(name, str) or not re.fullmatch(r"[\w.+-]+", name):
        raise ValueError(f"{name!r} cannot name a part of a run: give a word of letters, digits and . _ + -")
    taken = name in data.NAMES if kind == "data" else kind == "network" and is_ours(name)
    if taken or PARTS[kind].get(name, part) is not part:
        raise ValueError(f"the {kind} {name!r} is there already: give yours a name of its own")
    PARTS[kind][name] = part


def find(kind, name):
    """The part of a name; a ValueError says which there are."""
    if name not in PARTS[kind]:
        raise ValueError(f"{kind} = {name!r}: choose one of {', '.join(map(str, PARTS[kind]))}, or name your own by "
                         f"training.register.{suggest(name, PARTS[kind])}")
    return PARTS[kind][name]


def used_by(config):
    """The registered parts, and built-in ones, that a config names."""
    return [PARTS[kind][getattr(config, kind)] for kind in PARTS if getattr(config, kind) in PARTS[kind]]


def is_ours(network):
    """Whether `helpers.models` has the network of a name."""
    return re.match("W-|mlp", network) is not None


def build_network(name, num_classes, in_channels, mean=None, std=None):
    """The network of a name: registered, of `models.build`, or of torchvision ("resnet18"), pixels normalised."""
    if name in PARTS["network"]:
        return PARTS["network"][name](num_classes, in_channels)
    if is_ours(name):
        return models.build(name, num_classes, in_channels, mean, std)
    try:
        torchvision_datasets()  # which makes torchvision importable where it is not
        from torchvision.models import get_model, list_models
        known = list_models(include="*") if name else []
    except ImportError:
        known = []
    if name not in known:
        raise ValueError(f'unknown network {name!r}: write "W-depth-width" (such as W-16-4), "W-depth-width/2", '
                         f'"mlp-64-64", a classifier of torchvision such as "resnet18", or name your own by '
                         f"training.register.{suggest(name, [*PARTS['network'], *known])}")
    if in_channels != 3:
        raise ValueError(f"torchvision's {name} reads 3 channels, these inputs have {in_channels}: choose W-16-4, say")
    body = get_model(name, weights=None, num_classes=num_classes)
    return torch.nn.Sequential(models.Normalize(3, mean, std, dims=2), body).to(memory_format=torch.channels_last)


def check_network(name, dataset):
    """Refuse, with a ValueError, a network that does not map the inputs of a data set to logits; without computing.

    Returns what building it again takes beside its name, where its weights would not tell: a dict for the config.json.
    """
    sizes = {"num_classes": dataset.num_classes, "in_channels": dataset.in_channels}
    with torch.device("meta"):
        network = build_network(name, **sizes)
    try:
        logits = network(torch.zeros(2, *dataset.x_train.shape[1:], device="meta"))
    except NotImplementedError:
        return sizes  # an operator of its own that cannot be tried so
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f"network {name!r} cannot read inputs of shape {tuple(dataset.x_train.shape[1:])} of "
                         f"{dataset.name!r} (choose W-16-1 for images, mlp-64-64 for points): {reason}") from None
    losses.check(logits, torch.zeros(2, dtype=torch.int64, device="meta"))
    if logits.shape[1] != dataset.num_classes:
        raise ValueError(f"network {name!r} gives {logits.shape[1]} logits, {dataset.name!r} has {dataset.num_classes} "
                         "classes: build it for `num_classes`")
    return {} if is_ours(name) else sizes
