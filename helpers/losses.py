"""Losses on logits, one value a sample: cross entropy (Eq. 1), Wasserstein (Eq. 5), margin.

Every loss maps ``logits (N, K)`` and ``labels (N,)`` to ``(N,)``, unreduced: an attack sums, training averages.
"""
import math

import torch
import torch.nn.functional as F


def cross_entropy(logits, labels):
    """Cross entropy of each sample, in nats (Eq. 1).

    Parameters
    ----------
    logits : Tensor, shape (N, K)
    labels : LongTensor, shape (N,), values 0..K-1

    Returns
    -------
    Tensor, shape (N,)

    Raises
    ------
    ValueError
        For K < 2, shapes that do not fit, labels that are not integers or outside 0..K-1.
    """
    check(logits, labels)
    return F.cross_entropy(logits, labels.long(), reduction="none")


def wasserstein_loss(logits, labels, cost, *, p=1.0, lam=10.0):
    r"""Wasserstein loss on the label space (Definition 5, Eq. 5), one value a sample.

    .. math:: \ell_W = C_{y}^{\odot p} \cdot \hat y - \frac{1}{\lambda \log K} H(\hat y), \quad \hat y = softmax(z)

    The first term *is* the optimal transport cost between the prediction and the one-hot label: with all target
    mass on one class, the transport plan has no freedom left (Lemma 4).

    Parameters
    ----------
    logits : Tensor, shape (N, K), K >= 2
    labels : LongTensor, shape (N,), values 0..K-1
    cost : CostMatrix or Tensor, shape (K, K)
        A tensor is used as it stands, as in Eq. (5); a `CostMatrix` is scaled to max 1 before the power.
        Row y is the cost of moving mass from class y to each class.
    p : float >= 0
        Element-wise power of the cost (Definition 3).  ``0 ** 0`` counts as 0, so that the diagonal stays free.
        At p = 0 every confusion costs the same: the transport term is ``1 - yhat_y`` (for a cost that is positive
        off the diagonal), whose gradient is that of the cross entropy times ``yhat_y``.  Sign and unit-norm steps
        do not see that factor, so without entropy (``lam=inf``) PGD on this loss takes the very steps of PGD
        on the cross entropy.  That is why the "p = 0.0" rows of Table 3 are plain PGD.
    lam : float > 0, may be ``inf``
        Large values weaken the entropy; ``inf`` removes it.

    Returns
    -------
    Tensor, shape (N,); finite for logits of +-1e4

    Raises
    ------
    ValueError
        As `cross_entropy`, and for a cost of the wrong size or type or whose power is not finite, p < 0 or lam <= 0.
    """
    return WassersteinLoss(cost, p, lam)(logits, labels)


class WassersteinLoss:
    """`wasserstein_loss` with the power of the cost computed once: a callable ``(logits, labels) -> (N,)``.

    Parameters
    ----------
    cost, p, lam : see `wasserstein_loss`
    """

    def __init__(self, cost, p=1.0, lam=10.0):
        if not p >= 0 or math.isinf(p):
            raise ValueError(f"p = {p} is no power of a cost matrix: give a finite p >= 0 (the paper uses 1, 2.5, 10)")
        if not lam > 0:
            raise ValueError(f"lam = {lam} must be > 0: the entropy term is divided by it (inf switches it off)")
        self.cost, self.p, self.lam = cost, float(p), float(lam)
        if torch.is_tensor(cost) and cost.requires_grad:
            raise ValueError("the cost requires a gradient, which this loss does not give: pass cost.detach(), or write "
                             "Eq. (5) with torch operations to learn a cost")
        if torch.is_tensor(cost):
            # 0 ** 0 is 1 in floating point, but staying in the right class must cost nothing.
            self._exact = torch.where(cost == 0, torch.zeros_like(cost), cost.pow(self.p))
        elif hasattr(cost, "digest"):
            self._exact = cost ** self.p
        else:
            raise ValueError(f"a cost of type {type(cost).__name__}: give a helpers.costs.CostMatrix, or a (K, K) "
                             "tensor such as torch.as_tensor(values)")
        if self._exact.ndim != 2 or self._exact.shape[0] != self._exact.shape[1]:
            raise ValueError(f"the cost has shape {tuple(self._exact.shape)}: it must be square, (K, K)")
        if not self._exact.isfinite().all():
            raise ValueError(f"the cost to the power p = {self.p:g} has entries that are NaN or infinite: give finite "
                             "costs >= 0 (a negative one has no fractional power)")
        self.power = self._exact
        # Of the entropy in Eq. (5); 0 for lam = inf.  One class has no entropy, and logits of one class are refused.
        self._scale = 1 / (self.lam * math.log(max(len(self.power), 2)))

    def __call__(self, logits, labels):
        check(logits, labels)
        classes = logits.shape[1]
        if self.power.shape[0] != classes:
            raise ValueError(f"the cost matrix is for {self.power.shape[0]} classes, the logits have {classes}: "
                             "pass the cost of this data set's classes")
        if self.power.dtype != logits.dtype or self.power.device != logits.device:
            # Always from the original: a float32 call must not round what a float64 call reads next.
            self.power = self._exact.to(logits.device, logits.dtype)
        return _TransportPlusEntropy.apply(logits, labels, self.power, self._scale)[0]

    def describe(self):
        """Settings as a JSON-able dict, for the names of runs and cached evaluations."""
        return {"loss": "wasserstein", "p": self.p, "lam": self.lam if math.isfinite(self.lam) else "inf",
                "cost": getattr(self.cost, "digest", None) or _digest(self.cost)}


class _TransportPlusEntropy(torch.autograd.Function):
    """``<q, w>`` with ``q = softmax(z)``, ``w = C_y^p + log q / (lam log K)``: Eq. (5), since ``-H(q) = <q, log q>``.

    The gradient is ``q * (w - loss)``: differentiating ``log q`` adds a constant to ``w``, which drops out because
    the entries of a softmax always sum to one.  That is a softmax's own backward formula applied to ``w``, so one
    fused operation stands for autograd's chain.
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
        logits, labels, power, ctx.scale = inputs
        _, q, weight = output
        ctx.mark_non_differentiable(q, weight)
        ctx.save_for_backward(logits, labels, power, q, weight)

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
    """Largest wrong logit minus the right one: positive where the sample is misclassified.

    The untargeted objective of Carlini and Wagner (2017) without its floor; it has a gradient where the
    cross entropy of a confident network has none.

    Parameters and errors as `cross_entropy`.

    Returns
    -------
    Tensor, shape (N,)
    """
    check(logits, labels)
    right = logits.gather(1, labels[:, None])
    wrong = logits.scatter(1, labels[:, None], -torch.inf).amax(dim=1)
    return wrong - right[:, 0]


def name_of(loss):
    """A description of a loss: its ``describe()`` or its name."""
    return loss.describe() if hasattr(loss, "describe") else {"loss": getattr(loss, "__name__", repr(loss))}


def is_named(loss):
    """Whether `name_of` says all about a loss: of a reader's own function the name stays when its body changes."""
    return hasattr(loss, "describe") or any(loss is known for known in (cross_entropy, margin_loss))


def _digest(tensor):
    import hashlib
    return hashlib.sha256(tensor.detach().cpu().double().numpy().tobytes()).hexdigest()[:12]


def check(logits, labels):
    """Refuse what would otherwise fail later or, worse, broadcast: a ValueError says what was expected."""
    if torch.compiler.is_compiling():
        return
    if not torch.is_tensor(logits):
        raise ValueError(f"the model must return logits (N, K), not a {type(logits).__name__}: wrap it, as in "
                         "lambda x: model(x)[0]")
    if logits.ndim != 2 or logits.shape[1] < 2:
        raise ValueError(f"logits have shape {tuple(logits.shape)}: expected (N, K) with K >= 2 classes")
    if labels.shape != logits.shape[:1] or labels.dtype not in (torch.int64, torch.int32):
        raise ValueError(f"labels have shape {tuple(labels.shape)} and type {labels.dtype}: expected "
                         f"{logits.shape[0]} integers, one a row of the logits")
    # Reading values back from a GPU would stall every step of an attack; there CUDA's own assertion answers.
    if labels.device.type == "cpu" and len(labels):
        low, high = labels.aminmax()
        if low < 0 or high >= logits.shape[1]:
            raise ValueError(f"labels run from {int(low)} to {int(high)}, the logits have {logits.shape[1]} "
                             f"classes: labels must lie in 0..{logits.shape[1] - 1}")
