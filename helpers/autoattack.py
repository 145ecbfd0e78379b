"""AutoAttack (Croce & Hein 2020): is the error under PGD-20 that of a strong attack, or only of PGD-20?

Its four parts come from torchattacks; put together here, because torchattacks' own AutoAttack gives its parts 10 steps
in place of the 100 of the standard version and so finds fewer adversarial images.
"""
from dataclasses import dataclass

import torch

from helpers import losses
from helpers.attacks import frozen, validate

FEWEST_CLASSES = 4  # the loss of APGD-T is scaled by the gap to the fourth largest logit
MOST_TARGETS = 9


@dataclass(frozen=True)
class AutoAttack:
    """The standard version of AutoAttack: a callable ``(model, x, y) -> x_adv`` for `helpers.evaluation`.

    Four attacks without a step size to choose, each on the images that the ones before could not turn: APGD on the
    cross entropy, APGD and FAB towards each of the nine most likely wrong classes, and Square, which sees no gradient.
    An image comes back as it was if none succeeds, so the error on what comes back is the worst case over the four.

    Attributes
    ----------
    eps : float, radius in units of the input
    norm : "linf" or "l2"
    steps : int, of APGD and FAB; queries : int, of Square; the standard version has 100 and 5000
    seed : int, of the random starts: two calls give the same images
    """

    eps: float
    norm: str = "linf"
    steps: int = 100
    queries: int = 5000
    seed: int = 0

    def __call__(self, model, x, y):
        """Attack images (N, channels, height, width) in [0, 1] with labels (N,).

        Raises
        ------
        ImportError
            Without the package torchattacks.
        ValueError
            For what `attacks.pgd` refuses, fewer than four classes, or points instead of images.
        """
        validate(x, y, self.eps, self.norm)
        with torch.inference_mode(False):
            return self._attack(model, x.clone() if x.is_inference() else x.detach(), y)

    def _attack(self, model, x, y):
        best = x.clone()
        if self.eps == 0 or len(x) == 0:
            return best
        # The parts seed the global generators, which belong to the caller.
        with torch.random.fork_rng(devices=[x.device] if x.is_cuda else []), frozen(model):
            left = torch.arange(len(x), device=x.device)
            left = left[self._right(model, x, y)]
            for part in self._parts(model, x):
                if len(left) == 0:
                    break
                with torch.enable_grad():
                    found = part(x[left], y[left]).detach()
                found = self._inside(found, x[left])
                right = self._right(model, found, y[left])
                best[left[~right]] = found[~right]
                left = left[right]
        return best

    def describe(self):
        """Settings as a JSON-able dict, for reports and for the names of cached evaluations."""
        return {"attack": "autoattack", "eps": self.eps, "norm": self.norm, "steps": self.steps,
                "queries": self.queries, "seed": self.seed, "loss": "autoattack"}

    def _parts(self, model, x):
        import torchattacks
        if x.ndim != 4:
            raise ValueError(f"AutoAttack takes images (N, channels, height, width), not {tuple(x.shape)}")
        with torch.no_grad():
            logits = model(x[:1])
        classes = logits.shape[1]
        if classes < FEWEST_CLASSES:
            raise ValueError(f"AutoAttack needs at least {FEWEST_CLASSES} classes, the model has {classes}: "
                             "attack it by PGD with restarts")
        shared = {"norm": {"linf": "Linf", "l2": "L2"}[self.norm], "eps": self.eps, "seed": self.seed, "n_restarts": 1}
        # torchattacks counts the classes, one more than the targets.
        targets = {"steps": self.steps, "n_classes": min(classes, MOST_TARGETS + 1)}
        return [torchattacks.APGD(model, loss="ce", steps=self.steps, **shared),
                torchattacks.APGDT(model, **targets, **shared),
                torchattacks.FAB(model, multi_targeted=True, **targets, **shared),
                torchattacks.Square(model, n_queries=self.queries, **shared)]

    def _inside(self, found, x):
        """The image itself where rounding, or FAB, which looks for the nearest error, left the ball."""
        difference = (found - x).flatten(1)
        length = difference.abs().amax(1) if self.norm == "linf" else difference.norm(dim=1)
        inside = (length <= self.eps * (1 + 1e-4)).view(-1, 1, 1, 1)
        return torch.where(inside, found, x).clamp(0, 1)

    @staticmethod
    def _right(model, x, y):
        with torch.no_grad():
            logits = model(x)
        losses.check(logits, y)
        return logits.argmax(dim=1) == y
