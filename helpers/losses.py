"""Losses on logits, one value a sample: cross entropy (Eq. 1), Wasserstein (Eq. 5), margin.

Every loss maps ``logits (N, K)`` and ``labels (N,)`` to ``(N,)``, unreduced: an attack sums, training averages.
"""
import hashlib
import math

import torch
import torch.nn.functional as F

from helpers.checks import as_labels, as_logits


def cross_entropy(logits, labels):
    """Cross entropy of each sample, in nats (Eq. 1).

    Parameters
    ----------
    logits : Tensor, shape (N, K), K >= 2
    labels : LongTensor, shape (N,), values 0..K-1

    Raises ValueError for K < 2, shapes that do not fit, labels that are not integers or outside 0..K-1.
    """
    check(logits, labels)
    return F.cross_entropy(logits, labels.long(), reduction="none")


def wasserstein_loss(logits, labels, cost, *, p=1.0, lam=10.0):
    r"""Wasserstein loss on the label space (Definition 5, Eq. 5), one value a sample.

    .. math:: \ell_W = C_{y}^{\odot p} \cdot \hat y - \frac{1}{\lambda \log K} H(\hat y), \quad \hat y = softmax(z)

    The first term *is* the optimal transport cost from the prediction to the one-hot label (Lemma 4).

    Parameters
    ----------
    logits, labels : as in `cross_entropy`; finite values for logits of +-1e4
    cost : CostMatrix or Tensor, shape (K, K); row y is the cost of moving mass from class y to each class
        A tensor is used as it stands, as in Eq. (5); a `CostMatrix` is scaled to max 1 before the power.
    p : float >= 0, element-wise power of the cost (Definition 3); a diagonal of zeros stays free, also at p = 0
        At p = 0 that term is ``1 - yhat_y``, with the gradient of the cross entropy times ``yhat_y``: without entropy,
        PGD takes the very steps it takes on the cross entropy, so the "p = 0.0" rows of Table 3 are plain PGD.
    lam : float > 0; large values weaken the entropy, ``inf`` removes it

    Raises ValueError as `cross_entropy`, and for a cost of the wrong size or type or whose power is not finite, p < 0
    or lam <= 0.
    """
    return WassersteinLoss(cost, p, lam)(logits, labels)


class WassersteinLoss:
    """`wasserstein_loss` with the power of the cost computed once: a callable ``(logits, labels) -> (N,)``."""

    def __init__(self, cost, p=1.0, lam=10.0):
        if not (0 <= p < math.inf and lam > 0):
            raise ValueError(f"p = {p}, lam = {lam}: give a finite p >= 0 (the paper uses 1, 2.5, 10) and lam > 0 (inf "
                             "switches the entropy off)")
        if not (hasattr(cost, "digest") or (torch.is_tensor(cost) and cost.ndim == 2)):
            raise ValueError(f"a cost of type {type(cost).__name__}: give a helpers.costs.CostMatrix, or a (K, K) "
                             "tensor such as torch.as_tensor(values)")
        if torch.is_tensor(cost) and cost.requires_grad:
            raise ValueError("the cost requires a gradient, which this loss does not give: pass cost.detach(), or "
                             "write Eq. (5) with torch operations to learn a cost")
        self.cost, self.p, self.lam = cost, float(p), float(lam)
        # 0 ** 0 is 1, but staying in the right class must cost nothing; a `CostMatrix` knows.
        stays = torch.is_tensor(cost) and torch.eye(*cost.shape, device=cost.device).bool() & (cost == 0)
        self._power = self._exact = torch.where(stays, 0, cost ** self.p) if torch.is_tensor(cost) else cost ** self.p
        if not self._exact.isfinite().all():
            raise ValueError(f"the cost to the power p = {self.p:g} has entries that are NaN or infinite: give finite "
                             "costs >= 0 (a negative one has no fractional power)")

    def __call__(self, logits, labels):
        check(logits, labels)
        classes = logits.shape[1]
        if self._exact.shape != (classes, classes):
            raise ValueError(f"the cost has the shape {tuple(self._exact.shape)}, the logits have {classes} classes: "
                             "it must be square, with a row and a column for each class of this data set")
        if self._power.dtype != logits.dtype or self._power.device != logits.device:
            # Always from the original: a float32 call must not round what a float64 call reads next.
            self._power = self._exact.to(logits.device, logits.dtype)
        return _TransportPlusEntropy.apply(logits, labels, self._power, 1 / (self.lam * math.log(classes)))[0]

    def describe(self):
        """Settings as a JSON-able dict, for the names of runs and cached evaluations."""
        digest = getattr(self.cost, "digest", None) or hashlib.sha256(
            self.cost.cpu().double().numpy().tobytes()).hexdigest()[:12]
        lam = self.lam if math.isfinite(self.lam) else "inf"
        return {"loss": "wasserstein", "p": self.p, "lam": lam, "cost": digest}


class _TransportPlusEntropy(torch.autograd.Function):
    """``<q, w>`` with ``q = softmax(z)``, ``w = C_y^p + log q / (lam log K)``: Eq. (5), since ``-H(q) = <q, log q>``.

    The gradient is ``q * (w - loss)``: differentiating ``log q`` adds a constant to ``w``, which drops out.  That is a
    softmax's own backward formula applied to ``w``: one fused operation stands for autograd's chain.
    """

    @staticmethod
    def forward(logits, labels, power, scale):
        q = logits.softmax(dim=1)
        weight = power.index_select(0, labels)
        if scale:
            # log q without a second pass of exponentials: the largest probability is at least 1 / K.
            log_sum = logits.amax(dim=1, keepdim=True).sub_(q.amax(dim=1, keepdim=True).log_())
            weight.add_(logits - log_sum, alpha=scale)
        return torch.linalg.vecdot(q, weight), q, weight

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.scale = inputs[3]
        ctx.mark_non_differentiable(*output[1:])
        ctx.save_for_backward(*inputs[:3], *output[1:])

    @staticmethod
    def backward(ctx, gradient, *_):
        logits, labels, power, q, weight = ctx.saved_tensors
        if not torch.is_grad_enabled():
            result = torch._softmax_backward_data(weight, q, 1, q.dtype).mul_(gradient[:, None])
        else:
            # Somebody differentiates twice: what was saved is cut off from the logits, so it is computed again.
            log_q = logits.log_softmax(dim=1)
            q, weight = log_q.exp(), power.index_select(0, labels) + ctx.scale * log_q
            result = q * (weight - (q * weight).sum(dim=1, keepdim=True)) * gradient[:, None]
        return result, None, None, None


def margin_loss(logits, labels):
    """Largest wrong logit minus the right one, positive where the sample is misclassified (Carlini and Wagner 2017,
    without their floor): it has a gradient where a confident network's cross entropy has none.  As `cross_entropy`.
    """
    check(logits, labels)
    right = logits.gather(1, labels[:, None])
    return logits.scatter(1, labels[:, None], -torch.inf).amax(dim=1) - right[:, 0]


def describe(loss):
    """Settings of a loss as a JSON-able dict, for the keys of kept answers.

    None for a function of a reader's own, whose name stays when its body changes: answers to it are not kept.
    """
    if loss in (cross_entropy, margin_loss):
        return {"loss": loss.__name__}
    return loss.describe() if hasattr(loss, "describe") else None


def check(logits, labels):
    """Refuse, with a ValueError, what would otherwise fail later or, worse, broadcast."""
    if not torch.compiler.is_compiling():
        # Reading values back from a GPU would stall every step of an attack; there CUDA's own assertion answers.
        as_labels(labels, len(as_logits(logits)), logits.shape[1], values=labels.is_cpu)
