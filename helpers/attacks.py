"""Projected gradient ascent (PGD; Madry et al. 2018, and Sec. 5.2) on any per-sample loss, for L-inf and L2.

WPGD (Definition 6, Eq. 6) is this attack with `losses.WassersteinLoss` for the cross entropy.
"""
import math
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import torch
from torch import nn

from helpers import losses
from helpers.allocator import keep_freed_memory
from helpers.checks import as_images
from helpers.frozen import prepared

NORMS = ("linf", "l2")


class ZeroGradientWarning(UserWarning):
    """Some images had no usable gradient (zero, NaN): the attack could not move them, robustness may be overrated."""


def pgd(model, x, y, loss=losses.cross_entropy, *, eps, step_size, steps, norm="linf", random_start=True,
        restarts=1, generator=None, start=None, stuck=None, check=True):
    """Adversarial images by projected gradient ascent: ``argmax loss(model(x'), y)`` over ``||x' - x|| <= eps``.

    Each step moves by `step_size` along the sign of the gradient (L-inf) or the gradient of unit length (L2), then
    projects onto the ball and clamps to [0, 1].  The model is in eval mode, and left as it was found.  On a CPU the
    process keeps the memory that it frees (`helpers.allocator`).

    Parameters
    ----------
    model : nn.Module or callable, images (N, ...) in [0, 1] -> logits (N, K)
    x : float Tensor, shape (N, ...), values in [0, 1]; y : LongTensor, shape (N,)
    loss : callable (logits, labels) -> (N,), see `helpers.losses`
    eps : float >= 0, radius in units of the input (4 / 255, say)
    step_size : float > 0, in units of the input; steps : int >= 0; norm : "linf" or "l2"
    random_start : bool, start uniformly inside the ball (Sec. 5.2)
    restarts : int >= 1; each image keeps the one that reached the largest loss
    generator : torch.Generator on the device of `x`, optional: source of the random starts
    start : Tensor like x, inside the ball, optional: where to start instead, see `sample_start`
    stuck : list, optional: gets, of each restart, the number of images whose gradient was zero or not finite in some
        step, a tensor; without it a `ZeroGradientWarning` tells
    check : bool, whether to look at values: those of x, those numbers; training does not, a GPU would wait

    Raises ValueError for images outside [0, 1] or of integer type, labels that do not fit, eps < 0, an unknown norm.
    """
    validate(x, eps, norm, check)
    if steps < 0 or restarts < 1 or (steps and eps and not 0 < step_size < math.inf):
        raise ValueError(f"steps = {steps}, restarts = {restarts}, step_size = {step_size}: steps must be >= 0, "
                         "restarts >= 1 and step_size > 0 and finite")
    if eps == 0 or len(x) == 0:
        return x.detach().clone()
    if not x.is_cuda:
        keep_freed_memory()
    told = [] if stuck is None else stuck
    # A caller who only evaluates may have switched gradients off, or forbidden them.
    with torch.inference_mode(False), torch.enable_grad(), frozen(model) as network:
        x = x.clone() if x.is_inference() else x.detach()
        # The starts are drawn in the caller's memory format, which decides what a pixel gets.
        given, x = x, in_format_of(model, x)
        best, highest = x, -math.inf
        for _ in range(restarts):
            found = start.clone() if start is not None else (
                sample_start(given, eps, norm, generator) if random_start else given.clone())
            found, zero = _ascend(network, in_format_of(model, found), x, y, loss, eps, step_size, steps, norm)
            told.append(zero.sum())
            if restarts > 1:
                with torch.no_grad():
                    value = loss(model(found), y)
                better = value > highest
                found, highest = torch.where(_rows(better, x), found, best), torch.where(better, value, highest)
            best = found
    if stuck is None and check:
        tell_zero_gradients(int(sum(told)), restarts * len(x))
    return best if x is given else torch.empty_like(given).copy_(best)


def tell_zero_gradients(count, images):
    """A `ZeroGradientWarning` where `count` of so many images met no gradient."""
    if count:
        warnings.warn(f"{count} of {images} images met no gradient (zero or NaN) during PGD: the network may be "
                      "saturated there; see helpers.audit", ZeroGradientWarning, stacklevel=3)


def in_format_of(model, x):
    """Images in channels_last if that is how the weights of a model's convolutions lie, x itself otherwise."""
    last = torch.channels_last
    if x.ndim == 4 and isinstance(model, nn.Module) and any(
            weight.ndim == 4 and weight.is_contiguous(memory_format=last) and not weight.is_contiguous()
            for weight in model.parameters()):
        return x.contiguous(memory_format=last)
    return x


def _ascend(model, adversarial, x, y, loss, eps, step_size, steps, norm):
    """The inner loop of Eq. (2) and (6), in place on `adversarial`; returns it, and whose gradient was of no use."""
    zero = torch.zeros(len(x), dtype=torch.bool, device=x.device)
    if norm == "linf":
        # The ball and the pixel range are both boxes: their intersection is one clamp, computed once.
        lower, upper = (x - eps).clamp_(min=0), (x + eps).clamp_(max=1)
    for _ in range(steps):
        adversarial.requires_grad_()
        gradient, = torch.autograd.grad(loss(model(adversarial), y).sum(), adversarial)
        adversarial = adversarial.detach()
        peak = gradient.abs().flatten(1).amax(dim=1)
        usable = (peak > 0) & (peak < torch.inf)  # not NaN
        zero |= ~usable
        if norm == "linf":
            adversarial.add_(gradient.sign(), alpha=step_size)
            torch.clamp(adversarial, lower, upper, out=adversarial)
        else:
            # Scaled first: the squares of a confident network's gradient are 0 in float32, its direction is not.
            gradient = torch.where(_rows(usable, x), gradient / _rows(torch.where(usable, peak, 1), x), 0)
            adversarial.addcmul_(gradient, _rows(step_size / gradient.flatten(1).norm(dim=1).clamp_min(1), x)).sub_(x)
            length = adversarial.flatten(1).norm(dim=1)
            adversarial.mul_(_rows((eps / length.clamp_min(1e-30)).clamp_max(1), x)).add_(x).clamp_(0, 1)
    return adversarial, zero


def sample_start(x, eps, norm, generator=None):
    """A uniform point of the ball, clamped to [0, 1]."""
    if norm == "linf":
        return torch.empty_like(x).uniform_(-eps, eps, generator=generator).add_(x).clamp_(0, 1)
    direction = torch.empty_like(x).normal_(generator=generator)
    # The radius of a uniform point of a d-ball is eps * U^(1/d).
    share = torch.rand(len(x), dtype=torch.float32, device=x.device, generator=generator)
    radius = eps * share ** (1 / x[0].numel())
    return (x + direction * _rows(radius / direction.flatten(1).norm(dim=1).clamp_min(1e-30), x)).clamp_(0, 1)


def _rows(values, like):
    """(N,) values shaped to broadcast over the rows of `like`."""
    return values.view(-1, *[1] * (like.ndim - 1))


@contextmanager
def in_eval_mode(model):
    """Put a model in eval mode for the length of a block; what is no nn.Module has none."""
    modes = [(module, module.training) for module in model.modules()] if isinstance(model, nn.Module) else []
    try:
        if modes:
            model.eval()
        yield
    finally:
        for module, training in modes:
            module.training = training


@contextmanager
def frozen(model):
    """Freeze a model in eval mode for the length of a block, and put everything back afterwards.

    Without weight gradients an attack step costs a third less. The block gets the model, `prepared` for many calls.
    """
    parameters = model.parameters() if isinstance(model, nn.Module) else ()
    learned = [parameter for parameter in parameters if parameter.requires_grad]
    try:
        with in_eval_mode(model):
            for parameter in learned:
                parameter.requires_grad_(False)
            yield prepared(model)
    finally:
        for parameter in learned:
            parameter.requires_grad_(True)


@dataclass(frozen=True)
class PGD:
    """PGD with its settings bound: a callable ``(model, x, y) -> x_adv`` for `helpers.evaluation`.

    `step_size` None means 2.5 eps / steps; with `seed`, of the random starts, two calls give the same images.
    `precision` is that in which the network runs while it is attacked, "float32" or "bf16" (autocast; losses stay in
    float32); an evaluation judges the images in float32.
    """

    eps: float
    steps: int = 20  # Sec. 5.2
    step_size: float | None = None
    norm: str = "linf"
    random_start: bool = True
    restarts: int = 1
    loss: object = losses.cross_entropy
    seed: int = 0
    precision: str = "float32"

    def __post_init__(self):
        if self.precision not in ("float32", "bf16"):
            raise ValueError(f'precision = {self.precision!r}: choose "float32" or "bf16"')

    def __call__(self, model, x, y, stuck=None):
        generator = torch.Generator(device=x.device).manual_seed(int(self.seed))
        attack = partial(pgd, model, x, y, generator=generator, stuck=stuck, **self._settings())
        if self.precision == "float32":
            return attack(self.loss)
        with torch.autocast(x.device.type, torch.bfloat16):
            return attack(lambda logits, labels: self.loss(logits.float(), labels))

    def _settings(self):
        step_size = default_step_size(self.eps, self.steps) if self.step_size is None else self.step_size
        return {"eps": self.eps, "steps": self.steps, "step_size": step_size, "norm": self.norm,
                "random_start": self.random_start, "restarts": self.restarts}

    def describe(self):
        """Settings as a JSON-able dict, for the keys of kept answers; None with a loss of the caller's own."""
        loss = losses.describe(self.loss)
        precision = {} if self.precision == "float32" else {"precision": self.precision}  # older answers lack it
        return loss and {"attack": "pgd", **self._settings(), "seed": self.seed, **loss, **precision}


def default_step_size(eps, steps):
    """2.5 eps / steps: far enough to cross the ball and turn (Madry et al. 2018); the paper states none."""
    return 2.5 * eps / max(steps, 1)


def validate(x, eps, norm, check=True):
    """Refuse with a ValueError what no attack can use; ``check`` also reads the values of x, a GPU waits for that."""
    if norm not in NORMS:
        raise ValueError(f"unknown norm {norm!r}: one of {', '.join(NORMS)}")
    if not 0 <= eps < math.inf or (norm == "linf" and eps > 1):
        raise ValueError(f"eps = {eps:g} is no radius: give a finite eps >= 0, for L-inf at most 1, in units of the "
                         "input (4 / 255, say)")
    if check and len(x) and (0 < eps < 1e-3 or eps > 1.0001 * x[0].numel() ** 0.5):
        said = "less than a grey level: was it divided by 255 twice" if eps < 1 else "all images: was it meant in 1/255"
        warnings.warn(f"eps = {eps:g}, in units of the input, reaches {said}?", stacklevel=3)
    if not x.is_floating_point():
        raise ValueError(f"images of type {x.dtype} cannot be perturbed: convert them to float in [0, 1] "
                         "(helpers.data.to_float)")
    if check and len(x):
        as_images(x)
