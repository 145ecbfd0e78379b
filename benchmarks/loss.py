"""The Wasserstein loss over the cross entropy, forward and backward, batch 128, K = 10 to 1000."""
import torch
import torch.nn.functional as F

from benchmarks import synthetic
from benchmarks.timing import Contender, Task, measure, rows_of
from benchmarks.workers import Workers
from helpers import losses

NAME = "loss"
BATCH = 128
SIZES = {"smoke": (10,), "full": (10, 100, 200, 1000)}
NAMES = {"Wasserstein loss": "ours", "cross entropy": "ours", "torch cross entropy": "peer"}


def build(device, loss, classes):
    """A `Task`: values of a loss on (BATCH, classes) logits and their gradient."""
    source = synthetic.generator()
    logits = torch.randn(BATCH, classes, generator=source).to(device).requires_grad_()
    labels = torch.randint(classes, (BATCH,), generator=source).to(device)
    function = {"Wasserstein loss": losses.WassersteinLoss(synthetic.metric(classes).float().to(device)),
                "cross entropy": losses.cross_entropy,
                "torch cross entropy": lambda z, y: F.cross_entropy(z, y, reduction="none")}[loss]

    def run():
        torch.autograd.grad(function(logits, labels).sum(), logits)
    return Task(run, work=BATCH, least_seconds=0.02)


def rows(scale, rounds, device):
    """Yield lists of rows, all losses at one K; the ratio is the time of the Wasserstein loss in units of the row's.

    A call takes microseconds and a sample 20 ms of them, so that five times the rounds are taken.
    """
    with Workers(NAMES, device) as workers:
        for classes in SIZES[scale]:
            contenders = [Contender(name, build, {"loss": name, "classes": classes}, role)
                          for name, role in NAMES.items()]
            timings = measure(workers, contenders, 5 * rounds)
            yield rows_of(NAME, f"K = {classes}", timings, "Wasserstein loss", "samples/s")
