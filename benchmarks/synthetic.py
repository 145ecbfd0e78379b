"""Networks, batches and data sets of the right shape: speed does not depend on what the images show."""
import math
import tempfile
from pathlib import Path

import torch

from helpers import data, models
from helpers.training import configure
from helpers.training.store import Run

CLASSES = 10
EPS, STEP = 8 / 255, 2 / 255  # of every attack here


def generator(seed=0):
    """A seeded generator on the CPU, so that every contender and device sees the same numbers."""
    return torch.Generator().manual_seed(seed)


def network(name, channels, device, dtype=torch.float32, classes=CLASSES):
    """A network with random weights, as `helpers.models` gives it and in eval mode, whose BatchNorm statistics are not
    the initial ones.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = models.build(name, classes, channels)
    with torch.no_grad():
        net.train()(torch.rand(32, channels, 32, 32, generator=generator(1)))
    return net.eval().to(device, dtype)


def batch(count, channels, side, device, dtype=torch.float32, classes=CLASSES):
    """Images (count, channels, side, side) in [0, 1], NCHW, and labels (count,)."""
    source = generator(2)
    x = torch.rand(count, channels, side, side, generator=source)
    y = torch.randint(classes, (count,), generator=source)
    return x.to(device, dtype), y.to(device)


def dataset(count, channels=3, side=32, classes=CLASSES):
    """A uint8 `helpers.data.Dataset` of `count` training images; every class occurs."""
    source = generator(3)
    x = torch.randint(256, (count, channels, side, side), dtype=torch.uint8, generator=source)
    y = torch.arange(count) % classes
    names = tuple(f"class {k}" for k in range(classes))
    return data.Dataset("synthetic", x, y, x[:classes], y[:classes], names)


def metric(classes):
    """A random cost (K, K), float64, with largest entry 1: path lengths in a random tree, as WordNet's are."""
    source = generator(4)
    parents = [int(torch.randint(max(1, node), (), generator=source)) for node in range(2 * classes)]
    ancestors = torch.zeros(2 * classes, 2 * classes, dtype=torch.float64)
    for node in range(2 * classes):
        # A parent comes before its children, so its row is complete.
        ancestors[node] = ancestors[parents[node]] if node else 0
        ancestors[node, node] = 1
    leaves = ancestors[classes:]
    depth = leaves.sum(dim=1)
    cost = depth[:, None] + depth - 2 * leaves @ leaves.T
    return cost / cost.max()


def job(network, *, images, batch_size, steps, method="pgd", side=32, channels=3, classes=CLASSES,
        precision="float32"):
    """A training run on `images` synthetic images, not yet trained; nothing of it is on disk.  Returns a `Run`."""
    # A data set has images of all its classes; a batch of 64 cannot have those of 1000.
    made = dataset(max(images, classes), channels, side, classes)
    config = configure(data="synthetic", epochs=1000, lr=0.01, network=network, method=method, eps=255 * EPS,
                       step_size=255 * STEP, steps=steps, batch_size=batch_size, augment=True, precision=precision,
                       cost="metric" if method == "wpgd" else None, lam=10.0 if method == "wpgd" else math.inf)
    parts = data.Split(torch.arange(images), torch.arange(classes))
    cost = metric(classes).float() if method == "wpgd" else None
    return Run(config, made, parts, cost, {}, Path(tempfile.gettempdir(), "no run of this study"))
