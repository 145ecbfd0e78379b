"""Three classes in the plane for Sec. 3.4 (Fig. 8 and 9).

The paper shows its points but does not say how they were drawn. These are arms of a pinwheel, copies of one, turned by
120 degrees: all three pairs are the same problem, so that a difference between them comes from the cost matrix.
"""
import math

import torch

from helpers.data.dataset import Dataset

REACH, SPREAD = 0.30, 0.07  # mean distance from the centre and its standard deviation, in units of the square
THICKNESS = 0.05  # standard deviation across an arm
RATE = 2.2  # how much an arm turns from centre to rim, in radians a REACH


def pinwheel():
    """Points of three curved arms in the unit square, 300 a class: Dataset "toy3", (N, 2) float32 in [0, 1]."""
    generator, parts = torch.Generator().manual_seed(0), []
    for _ in ("train", "test"):
        radial = REACH + SPREAD * torch.randn(300, generator=generator, dtype=torch.float32)
        across = THICKNESS * torch.randn(300, generator=generator, dtype=torch.float32)
        # Inside the circle that fits the square: clipping there would treat the three arms differently.
        distance = torch.hypot(radial, across).clamp(max=0.5)
        angle = torch.atan2(across, radial) + RATE * (distance / REACH - 1)
        arms = [torch.stack([distance * torch.cos(angle + turn), distance * torch.sin(angle + turn)], dim=1)
                for turn in (math.pi / 2, math.pi / 2 + 2 * math.pi / 3, math.pi / 2 + 4 * math.pi / 3)]
        parts += [(torch.cat(arms) + 0.5).clamp(0, 1).float(), torch.arange(3).repeat_interleave(300)]
    return Dataset("toy3", *parts, classes=("class 0", "class 1", "class 2"))
