"""The closed form of Lemma 4 over POT's exact and regularised optimal transport, batch 128."""
import math

import numpy as np
import torch
import torch.nn.functional as F

from benchmarks import synthetic
from benchmarks.timing import Contender, Task, answers, measure, rows_of
from benchmarks.workers import ContenderError, Workers
from helpers import losses

NAME = "transport"
SIZES = {"smoke": (10,), "full": (10, 100, 200)}
OURS = ("closed form", "WassersteinLoss")
REGULARISATION = 0.01  # of Sinkhorn; the largest cost is 1
BUDGET = 60  # seconds that the rounds of a case may take once three are done
NOTES = {"closed form": "C[y] . q of the same predictions",
         "WassersteinLoss": "the same from logits: softmax and checks included",
         "emd2": "a call a sample, as documented; on NumPy arrays",
         "sinkhorn2": f"a call a sample; reg = {REGULARISATION}",
         "sinkhorn2, many histograms": f"a call a class, its samples together; reg = {REGULARISATION}"}


def build(device, method, classes, images):
    """A `Task` that answers the transport costs, shape (images,), between predictions and one-hot labels.

    `losses.WassersteinLoss` starts from logits, the others from the predictions; POT gets them as NumPy arrays.  All
    in float64.
    """
    source = synthetic.generator()
    logits = 3 * torch.randn(images, classes, generator=source, dtype=torch.float64)
    labels = torch.randint(classes, (images,), generator=source)
    cost = synthetic.metric(classes)
    if method == "closed form":
        cost, labels, q = cost.to(device), labels.to(device), logits.softmax(dim=1).to(device)
        return Task(lambda: torch.linalg.vecdot(cost.index_select(0, labels), q), work=images, least_seconds=0.02)
    if method == "WassersteinLoss":
        loss = losses.WassersteinLoss(cost.to(device), lam=math.inf)
        logits, labels = logits.to(device), labels.to(device)
        return Task(lambda: loss(logits, labels), work=images, least_seconds=0.02)
    predictions = F.softmax(logits, dim=1).numpy()
    function = {"emd2": _emd2, "sinkhorn2": _sinkhorn2, "sinkhorn2, many histograms": _sinkhorn2_together}[method]
    targets, cost = np.eye(classes)[labels.numpy()], np.ascontiguousarray(cost.numpy())
    return Task(lambda: function(predictions, targets, cost), work=images)


def _emd2(predictions, targets, cost):
    import ot
    return np.array([ot.emd2(q, y, cost) for q, y in zip(predictions, targets)])


def _sinkhorn2(predictions, targets, cost):
    import ot
    return np.array([float(np.squeeze(ot.sinkhorn2(q, y, cost, REGULARISATION)))
                     for q, y in zip(predictions, targets)])


def _sinkhorn2_together(predictions, targets, cost):
    """One source with many targets is what POT takes in one call; the cost is symmetric, so the label is the source."""
    import ot
    labels, values = targets.argmax(axis=1), np.empty(len(targets))
    for label in np.unique(labels):
        members = labels == label
        values[members] = ot.sinkhorn2(targets[members][0], predictions[members].T, cost, REGULARISATION)
    return values


def rows(scale, rounds, device):
    """Yield lists of rows, one a K: times; `max_difference` is the largest absolute difference to the closed form."""
    images = 8 if scale == "smoke" else 128
    names = ("closed form", "WassersteinLoss", "emd2") if scale == "smoke" else tuple(NOTES)
    with Workers(names, device) as workers:
        for classes in SIZES[scale]:
            contenders = [Contender(name, build, {"method": name, "classes": classes, "images": images},
                                    "ours" if name in OURS else "peer", NOTES[name]) for name in names]
            timings = measure(workers, contenders, rounds, BUDGET)
            values = answers(workers, contenders)
            for timing in timings:
                timing.facts |= _difference(values[timing.contender.name], values["closed form"])
            yield rows_of(NAME, f"K = {classes} batch {images}", timings, "closed form", "samples/s")


def _difference(values, exact):
    if isinstance(values, ContenderError) or isinstance(exact, ContenderError):
        return {}
    return {"max_difference": float(np.abs(values - exact).max())}
