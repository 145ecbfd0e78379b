"""AutoAttack (Croce & Hein 2020): is the error under PGD-20 that of a strong attack, or only of PGD-20?

Its four parts come from torchattacks; put together here, because torchattacks' own AutoAttack gives its parts 10 steps,
not the 100 of the standard version, and so finds fewer adversarial images.
"""
from contextlib import ExitStack
from dataclasses import dataclass

import torch

from helpers import losses
from helpers.attacks import frozen, validate


@dataclass(frozen=True)
class AutoAttack:
    """The standard version of AutoAttack: a callable ``(model, x, y) -> x_adv`` for `helpers.evaluation`.

    Four attacks without a step size to choose, each on the images that the ones before could not turn: APGD on the
    cross entropy, APGD and FAB towards each of the nine most likely wrong classes, and Square, which sees no gradient
    (Andriushchenko et al. 2020). An image comes back as it was if none succeeds: the error is the worst case over all.
    """

    eps: float  # in units of the input
    norm: str = "linf"  # or "l2"
    steps: int = 100  # of APGD and FAB; 0 leaves them out: Square alone
    queries: int = 5000  # of Square
    seed: int = 0  # of the random starts: two calls give the same images

    @torch.inference_mode(False)
    def __call__(self, model, x, y):
        """Attack images (N, C, H, W) in [0, 1] with labels (N,); errors as `attacks.pgd`, and below 4 classes."""
        validate(x, self.eps, self.norm)
        x = x.clone() if x.is_inference() else x.detach()
        best, usual = x.clone(), torch.get_default_dtype()
        if self.eps == 0 or len(x) == 0:
            return best
        # The parts seed the global generators, and make tensors of the default type; both belong to the caller.
        with torch.random.fork_rng(devices=[x.device] if x.is_cuda else []), frozen(model) as net, ExitStack() as after:
            after.callback(torch.set_default_dtype, usual)
            torch.set_default_dtype(x.dtype)
            left = _right(net, x, y).nonzero()[:, 0]
            for part in self._parts(net, x):
                if len(left) == 0:
                    break
                with torch.enable_grad():
                    found = part(x[left], y[left]).detach()
                # The image itself where rounding, or FAB, which looks for the nearest error, left the ball.
                length = (found - x[left]).flatten(1).norm(torch.inf if self.norm == "linf" else 2, dim=1)
                inside = (length <= self.eps * (1 + 1e-4)).view(-1, 1, 1, 1)
                found = torch.where(inside, found, x[left]).clamp(0, 1)
                right = _right(net, found, y[left])
                best[left[~right]] = found[~right]
                left = left[right]
        return best

    def describe(self):
        """Settings as a JSON-able dict, for the keys of kept answers."""
        found = {"attack": "autoattack" if self.steps else "square", **vars(self), "loss": "autoattack"}
        return {name: value for name, value in found.items() if name != "steps" or self.steps}

    def _parts(self, model, x):
        import torchattacks
        if x.ndim != 4:
            raise ValueError(f"AutoAttack takes images (N, channels, height, width), not {tuple(x.shape)}")
        shared = {"norm": {"linf": "Linf", "l2": "L2"}[self.norm], "eps": self.eps, "seed": self.seed, "n_restarts": 1}
        # Its first square, 0.8 of the pixels, must fit into an image that is none itself.
        side, pixels = min(x.shape[2:]), x[0, 0].numel()
        largest = 0.8 if side**2 == pixels else min(0.8, (side - 1) ** 2 / pixels)
        square = torchattacks.Square(model, n_queries=self.queries, p_init=largest, **shared)
        if not self.steps:
            return [square]
        with torch.no_grad():
            classes = model(x[:1]).shape[1]
        if classes < 4:  # the loss of APGD-T is scaled by the gap to the fourth largest logit
            raise ValueError(f"AutoAttack needs at least 4 classes, not {classes}: attack it by PGD with restarts")
        # torchattacks counts the classes, one more than the nine targets.
        targets = {"steps": self.steps, "n_classes": min(classes, 10)}
        return [torchattacks.APGD(model, loss="ce", steps=self.steps, **shared),
                torchattacks.APGDT(model, **targets, **shared),
                torchattacks.FAB(model, multi_targeted=True, **targets, **shared),
                square]


@torch.no_grad()
def _right(model, x, y):
    """Which images the model classifies correctly, (N,) bool."""
    logits = model(x)
    losses.check(logits, y)
    return logits.argmax(dim=1) == y
