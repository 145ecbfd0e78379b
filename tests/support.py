"""Small networks, batches and data sets for the tests."""
from types import SimpleNamespace

import numpy as np
import torch
from torch import nn


def small_net(channels=3, classes=4, seed=0):
    """A convolutional network with BatchNorm, in eval mode, with statistics that are not the initial ones."""
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Conv2d(channels, 6, 3, 2, 1), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 8, 3, 2, 1),
                        nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, classes))
    net.train()(torch.rand(16, channels, 12, 12))
    return net.eval()


def batch(*shape, classes=4, seed=1, low=0.0, high=1.0):
    generator = torch.Generator().manual_seed(seed)
    x = low + (high - low) * torch.rand(*shape, generator=generator)
    return x, torch.randint(classes, (shape[0],), generator=generator)


def length(delta, norm):
    return delta.flatten(1).abs().amax(dim=1) if norm == "linf" else delta.flatten(1).norm(dim=1)


def write_npz(root, name, *, train=64, test=24, classes=3, channels=1, size=16, seed=0):
    """A data set of noisy stripes: learnable, uint8, different in every class.  Returns its arrays."""
    generator = np.random.default_rng(seed)
    arrays = {"classes": np.array([f"c{k}" for k in range(classes)])}
    for part, count in (("train", train), ("test", test)):
        y = np.arange(count) % classes
        stripes = np.sin(np.arange(size)[None, :] * (1 + y[:, None])) * 60 + 128
        x = stripes[:, None, :, None] + generator.normal(0, 25, (count, size, size, channels))
        arrays |= {f"x_{part}": x.clip(0, 255).astype(np.uint8), f"y_{part}": y}
    np.savez(root / f"{name}.npz", **arrays)
    return SimpleNamespace(**arrays)
