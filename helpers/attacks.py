"""Projected gradient ascent (PGD; Madry et al. 2018, and Sec. 5.2) on any per-sample loss, for L-inf and L2.

WPGD (Definition 6, Eq. 6) is this attack with `losses.WassersteinLoss` for the cross entropy.
"""
import math
import warnings
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import nn

from helpers import losses

NORMS = ("linf", "l2")
MODES = ("eval", "train", "keep")


class ZeroGradientWarning(UserWarning):
    """Some images had no usable gradient (zero, or NaN): the attack could not move them, robustness may be overrated."""


@dataclass
class AttackCounters:
    """What an attack met, counted on the device and read only when asked (reading stalls a GPU).

    Attributes
    ----------
    images : int, images attacked (each restart counts)
    """

    images: int = 0
    _zero: torch.Tensor | None = field(default=None, repr=False)

    def add(self, zero):
        self.images += len(zero)
        count = zero.sum()
        self._zero = count if self._zero is None else self._zero + count

    @property
    def zero_gradient_rows(self):
        """Images whose gradient was exactly zero, or not finite, in at least one step."""
        return 0 if self._zero is None else int(self._zero)


def pgd(model, x, y, loss=losses.cross_entropy, *, eps, step_size, steps, norm="linf", random_start=True,
        restarts=1, generator=None, start=None, mode="eval", counters=None, check=True):
    """Adversarial images by projected gradient ascent: ``argmax loss(model(x'), y)`` over ``||x' - x|| <= eps``.

    Each step moves by `step_size` along the sign of the gradient (L-inf) or the gradient of unit length (L2),
    then projects exactly onto the ball and clamps to [0, 1].  With restarts, each image keeps the start that
    reached the largest loss.  The model is left as it was found: mode, requires_grad, gradients, BatchNorm.

    Parameters
    ----------
    model : nn.Module or callable, images (N, ...) in [0, 1] -> logits (N, K)
    x : float Tensor, shape (N, ...), values in [0, 1]
    y : LongTensor, shape (N,)
    loss : callable (logits, labels) -> (N,); default cross entropy.  See `helpers.losses`.
    eps : float >= 0, radius in units of the input (4 / 255, say)
    step_size : float > 0, in units of the input; steps : int >= 0; norm : "linf" or "l2"
    random_start : bool, start uniformly inside the ball (Sec. 5.2)
    restarts : int >= 1
    generator : torch.Generator on the device of `x`, optional: source of the random starts
    start : Tensor like `x`, optional: start there (projected), in place of `x` or a random point
    mode : "eval" (default), "train" (batch statistics; the running ones are put back) or "keep"
    counters : AttackCounters, optional; without one, zero gradients are reported by a `ZeroGradientWarning`
    check : bool, validate x (which reads it back from a GPU); training turns this off

    Returns
    -------
    Tensor like `x`

    Raises
    ------
    ValueError
        For images outside [0, 1] or of integer type, labels that do not fit, eps < 0, an unknown norm or mode.
    """
    validate(x, y, eps, norm, check)
    if mode not in MODES:
        raise ValueError(f"unknown mode {mode!r}: one of {', '.join(MODES)}")
    if steps < 0 or restarts < 1 or (steps and eps and not 0 < step_size < math.inf):
        raise ValueError(f"steps = {steps}, restarts = {restarts}, step_size = {step_size}: steps must be >= 0, "
                         "restarts >= 1 and step_size > 0 and finite")
    if eps == 0 or len(x) == 0:
        return x.detach().clone()
    own = counters is None
    counters = AttackCounters() if own else counters
    best, best_loss = None, None
    # A caller who only evaluates may have switched gradients off, or forbidden them.
    with torch.inference_mode(False), torch.enable_grad(), frozen(model, mode):
        x = x.clone() if x.is_inference() else x.detach()
        for _ in range(restarts):
            adversarial = _start(x, start, eps, norm, random_start, generator)
            adversarial = _ascend(model, adversarial, x, y, loss, eps, step_size, steps, norm, counters)
            if restarts == 1:
                best = adversarial
                break
            with torch.no_grad():
                value = loss(model(adversarial), y)
            better = torch.ones_like(value, dtype=torch.bool) if best is None else value > best_loss
            best = adversarial if best is None else torch.where(_rows(better, x), adversarial, best)
            best_loss = value if best_loss is None else torch.where(better, value, best_loss)
    if own and (zero := counters.zero_gradient_rows):
        warnings.warn(f"{zero} of {counters.images} images met no gradient (zero or NaN) during PGD: the network "
                      "may be saturated there; try losses.margin_loss as a check", ZeroGradientWarning, stacklevel=2)
    return best


def _ascend(model, adversarial, x, y, loss, eps, step_size, steps, norm, counters):
    """The inner loop of Eq. (2) and (6), in place on `adversarial`."""
    zero = torch.zeros(len(x), dtype=torch.bool, device=x.device)
    if norm == "linf":
        # The ball and the pixel range are both boxes: their intersection is one clamp, computed once.
        lower, upper = (x - eps).clamp_(min=0), (x + eps).clamp_(max=1)
    for _ in range(steps):
        adversarial.requires_grad_()
        gradient, = torch.autograd.grad(loss(model(adversarial), y).sum(), adversarial)
        adversarial = adversarial.detach()
        peak = gradient.abs().flatten(1).amax(dim=1)
        zero |= ~((peak > 0) & (peak < torch.inf))  # NaN included
        if norm == "linf":
            adversarial.add_(gradient.sign(), alpha=step_size)
            torch.clamp(adversarial, lower, upper, out=adversarial)
        else:
            _step_l2_(adversarial, gradient, peak, x, eps, step_size)
    counters.add(zero)
    return adversarial


def _step_l2_(adversarial, gradient, peak, x, eps, step_size):
    """A step of length `step_size` along the gradient, projected, in place; `peak` is its largest entry in a row."""
    # Scaled first: the squares of a confident network's gradient are 0 in float32, its direction is not.
    usable = (peak > 0) & (peak < torch.inf)
    gradient = torch.where(_rows(usable, x), gradient / _rows(torch.where(usable, peak, 1), x), 0)
    adversarial.addcmul_(gradient, _rows(step_size / gradient.flatten(1).norm(dim=1).clamp_min(1), x))
    project_l2_(adversarial, x, eps).clamp_(0, 1)


def project_l2_(adversarial, x, eps):
    """Nearest point of the L2 ball of radius `eps` around each row of `x`, in place."""
    delta = adversarial.sub_(x)
    length = delta.flatten(1).norm(dim=1)
    return delta.mul_(_rows((eps / length.clamp_min(1e-30)).clamp_max(1), x)).add_(x)


def _start(x, start, eps, norm, random_start, generator):
    """A writable start inside the ball and inside [0, 1]."""
    if start is not None:
        point = start.detach().clone()
        point = project_l2_(point, x, eps) if norm == "l2" else point.clamp_(x - eps, x + eps)
    elif not random_start:
        return x.detach().clone()
    elif norm == "linf":
        point = torch.empty_like(x).uniform_(-eps, eps, generator=generator).add_(x)
    else:
        direction = torch.empty_like(x).normal_(generator=generator)
        # The radius of a uniform point of a d-ball is eps * U^(1/d).
        radius = eps * torch.rand(len(x), device=x.device, generator=generator) ** (1 / x[0].numel())
        point = x + direction * _rows(radius / direction.flatten(1).norm(dim=1).clamp_min(1e-30), x)
    return point.clamp_(0, 1)


@contextmanager
def frozen(model, mode="eval"):
    """Freeze a model's parameters for the length of a block, in `mode`, and put everything back afterwards.

    Frozen parameters spare the backward pass the weight gradients, a third of the cost of an attack step.
    """
    if not isinstance(model, nn.Module):
        yield
        return
    modes = [(module, module.training) for module in model.modules()]
    wanted = [parameter for parameter in model.parameters() if parameter.requires_grad]
    saved = [(buffer, buffer.clone()) for buffer in model.buffers()] if mode != "eval" else []
    if mode != "keep":
        model.train(mode == "train")
    for parameter in wanted:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in wanted:
            parameter.requires_grad_(True)
        for module, training in modes:
            module.training = training
        with torch.no_grad():
            for buffer, value in saved:
                buffer.copy_(value)


@dataclass(frozen=True)
class PGD:
    """PGD with its settings bound: a callable ``(model, x, y) -> x_adv`` for `helpers.evaluation`.

    Attributes
    ----------
    eps : float, radius in units of the input; step_size : float, default 2.5 eps / steps (Madry et al. 2018)
    steps : int, default 20 (Sec. 5.2); norm, random_start, restarts, loss : see `pgd`
    seed : int, of the random starts: two calls give the same images
    """

    eps: float
    steps: int = 20
    step_size: float | None = None
    norm: str = "linf"
    random_start: bool = True
    restarts: int = 1
    loss: object = losses.cross_entropy
    seed: int = 0

    def __call__(self, model, x, y, counters=None):
        generator = torch.Generator(device=x.device).manual_seed(self.seed)
        return pgd(model, x, y, self.loss, eps=self.eps, step_size=self.resolved_step_size, steps=self.steps,
                   norm=self.norm, random_start=self.random_start, restarts=self.restarts, generator=generator,
                   counters=counters)

    @property
    def resolved_step_size(self):
        return default_step_size(self.eps, self.steps) if self.step_size is None else self.step_size

    @property
    def is_described(self):
        """Whether `describe` says all; an attack with a loss of the caller's own is evaluated afresh each time."""
        return losses.is_named(self.loss)

    def describe(self):
        """Settings as a JSON-able dict, for reports and for the names of cached evaluations."""
        return {"attack": "pgd", "eps": self.eps, "steps": self.steps, "step_size": self.resolved_step_size,
                "norm": self.norm, "random_start": self.random_start, "restarts": self.restarts, "seed": self.seed,
                **losses.name_of(self.loss)}


def default_step_size(eps, steps):
    """2.5 eps / steps: far enough to cross the ball and turn (Madry et al. 2018); the paper states none."""
    return 2.5 * eps / max(steps, 1)


def _rows(values, like):
    """(N,) values shaped to broadcast over the rows of `like`."""
    return values.view(-1, *[1] * (like.ndim - 1))


def validate(x, y, eps, norm, check=True):
    """Refuse what no attack can use; ``check`` also reads the images' values, which makes a GPU wait.

    Raises
    ------
    ValueError
    """
    if norm not in NORMS:
        raise ValueError(f"unknown norm {norm!r}: one of {', '.join(NORMS)}")
    if not (eps >= 0 and math.isfinite(eps)):
        raise ValueError(f"eps = {eps} is no radius: give a finite eps >= 0, in units of the input (4 / 255, say)")
    if norm == "linf" and eps > 1:
        raise ValueError(f"eps = {eps:g} is more than the whole range of a pixel: eps is in units of the input, "
                         f"[0, 1]; is {eps:g} / 255 meant?")
    if not x.is_floating_point():
        raise ValueError(f"images of type {x.dtype} cannot be perturbed: convert them to float in [0, 1] "
                         "(helpers.data.to_float)")
    if len(y) != len(x):
        raise ValueError(f"{len(x)} images but {len(y)} labels: give one label an image")
    if check and len(x):
        low, high = x.detach().aminmax()
        # Written so that NaN is refused as well.
        if not (low >= 0 and high <= 1):
            raise ValueError(f"images run from {float(low):.4g} to {float(high):.4g}: they must lie in [0, 1]; "
                             "models of this study normalise inside")
