"""Three classes in the plane for Sec. 3.4 (Fig. 8 and 9).

The paper shows its points but does not say how they were drawn.  These are the arms of a pinwheel, and the classes
are exact copies of one arm, turned by 120 degrees: all three pairs are the same problem, so that a difference
between them can only come from the cost matrix.
"""
import math

import torch

from helpers.data.dataset import Dataset


def pinwheel(train=300, test=300, seed=0, reach=0.30, spread=0.07, thickness=0.05, rate=2.2):
    """Points of three curved arms in the unit square.

    Parameters
    ----------
    train, test : int, points a class
    seed : int
    reach, spread : float, mean distance from the centre and its standard deviation, in units of the square
    thickness : float, standard deviation across the arm
    rate : float, how much an arm turns from centre to rim, in radians a `reach`

    Returns
    -------
    Dataset "toy3", points (N, 2) float32 in [0, 1]
    """
    generator = torch.Generator().manual_seed(seed)
    parts = []
    for count in (train, test):
        radial = reach + spread * torch.randn(count, generator=generator)
        across = thickness * torch.randn(count, generator=generator)
        # Inside the circle that fits the square: clipping there would treat the three arms differently.
        distance = torch.hypot(radial, across).clamp(max=0.5)
        angle = torch.atan2(across, radial) + rate * (distance / reach - 1)
        arms = [torch.stack([distance * torch.cos(angle + turn), distance * torch.sin(angle + turn)], dim=1)
                for turn in (math.pi / 2, math.pi / 2 + 2 * math.pi / 3, math.pi / 2 + 4 * math.pi / 3)]
        points = (torch.cat(arms) + 0.5).clamp(0, 1).float()
        parts += [points, torch.arange(3).repeat_interleave(count)]
    return Dataset("toy3", *parts, classes=("class 0", "class 1", "class 2"))
