"""PGD, L-inf, of each library, in the form its documentation shows: ``(network, x, y, steps, random_start) -> run``.

``run()`` returns the adversarial images, shape of `x`.  Every library gets the same network, in eval mode, with
parameters that require gradients, and the same NCHW batch; ours as `helpers.models` gives it, the others in NCHW.
Where a library offers a call with and one without the prediction on its result, the one without is timed: that favours
the library.
"""
import os
import sys
import types
from functools import partial

import torch
import torch.nn.functional as F
from torch import nn

from benchmarks.plain import plain_pgd
from benchmarks.synthetic import CLASSES, EPS, STEP
from helpers import attacks
from helpers.data.load import torchvision_datasets


def ours(network, x, y, steps, random_start, *, compiled=False, keep_memory=True, precision="float32"):
    """`helpers.attacks.pgd` as a user calls it; nothing is prepared that a user would not prepare."""
    if not keep_memory:
        os.environ["WPGD_KEEP_MEMORY"] = "0"  # of this contender's process
    model = torch.compile(network) if compiled else network
    if precision == "float32":
        return partial(attacks.pgd, model, x, y, eps=EPS, step_size=STEP, steps=steps, random_start=random_start)
    return partial(attacks.PGD(EPS, steps, STEP, random_start=random_start, precision=precision), model, x, y)


def torchattacks(network, x, y, steps, random_start, *, by_hand=False):
    """torchattacks.PGD; `by_hand` with frozen parameters and channels_last, which it leaves to its user."""
    from torchattacks import PGD
    if by_hand:
        network = network.to(memory_format=torch.channels_last).requires_grad_(False)
        x = x.contiguous(memory_format=torch.channels_last)
    attack = PGD(network, eps=EPS, alpha=STEP, steps=steps, random_start=random_start)
    return partial(attack, x, y)


def foolbox(network, x, y, steps, random_start):
    """foolbox.attacks.LinfPGD; `run` instead of a call leaves out the prediction on the result."""
    import foolbox
    model = foolbox.PyTorchModel(network, bounds=(0, 1), device=x.device)
    attack = foolbox.attacks.LinfPGD(abs_stepsize=STEP, steps=steps, random_start=random_start)
    return lambda: attack.run(model, x, foolbox.criteria.Misclassification(y), epsilon=EPS)


def art(network, x, y, steps, random_start):
    """ART's ProjectedGradientDescentPyTorch: NumPy in, NumPy out."""
    import numpy as np
    from art.attacks.evasion import ProjectedGradientDescentPyTorch
    from art.estimators.classification import PyTorchClassifier
    # ART computes in this type whatever it is given.
    for name, module in list(sys.modules.items()):
        if name.startswith("art.") and hasattr(module, "ART_NUMPY_DTYPE"):
            module.ART_NUMPY_DTYPE = np.float64 if x.dtype == torch.float64 else np.float32
    classifier = PyTorchClassifier(network, nn.CrossEntropyLoss(), input_shape=tuple(x.shape[1:]), nb_classes=CLASSES,
                                   clip_values=(0.0, 1.0), device_type="gpu" if x.is_cuda else "cpu")
    attack = ProjectedGradientDescentPyTorch(classifier, eps=EPS, eps_step=STEP, max_iter=steps, batch_size=len(x),
                                             num_random_init=int(random_start), verbose=False)
    images, labels = x.cpu().numpy(), y.cpu().numpy()
    return lambda: attack.generate(images, labels)


def adv_lib(network, x, y, steps, random_start):
    """adversarial-library's pgd_linf; it returns the last *misclassified* iterate that the network has seen."""
    torchvision_datasets()  # what the library imports may not import by itself beside a CPU build of torch
    # Imported for plots that nobody asks for here, and no longer installable everywhere.
    sys.modules.setdefault("visdom", types.ModuleType("visdom"))
    from adv_lib.attacks.projected_gradient_descent import pgd_linf
    return lambda: pgd_linf(network, x, y, EPS, steps=steps, random_init=random_start, absolute_step_size=STEP)


def robustness(network, x, y, steps, random_start):
    """The attacker inside MadryLab's AttackerModel, called directly: no second forward pass of the result."""
    model = attacker_model(network, x.shape[1], x.device.type).eval().to(x.dtype)
    return lambda: model.attacker(x, y, constraint="inf", eps=EPS, step_size=STEP, iterations=steps,
                                  random_start=random_start, use_best=False)


def attacker_model(network, channels, device):
    """`network` as an AttackerModel of robustness, whose own normalisation is switched off (mean 0, deviation 1)."""
    torchvision_datasets()
    from robustness.attacker import AttackerModel
    if device == "cpu":
        # It calls .cuda() whatever the machine has.
        torch.Tensor.cuda = lambda tensor, *_, **__: tensor
    statistics = types.SimpleNamespace(mean=torch.zeros(channels), std=torch.ones(channels))
    return AttackerModel(_Tolerant(network), statistics).to(device)


class _Tolerant(nn.Module):
    """Takes the keywords that AttackerModel passes to every network."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x, **_):
        return self.network(x)


def plain(network, x, y, steps, random_start, *, channels_last=False):
    """The usual loop, as a control for `benchmarks.attack.agreement`."""
    if channels_last:
        network = network.to(memory_format=torch.channels_last)
        x = x.contiguous(memory_format=torch.channels_last)

    return partial(plain_pgd, network, x, y, F.cross_entropy, eps=EPS, step_size=STEP, steps=steps,
                   random_start=random_start)
