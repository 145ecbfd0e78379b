"""A training step of WPGD over one of PGD: "the computational complexity ... is the same" (Sec. 5.2)."""
from benchmarks.timing import Contender, measure, rows_of
from benchmarks.training import ours
from benchmarks.workers import Workers

NAME = "wpgd"
# Network, attack steps, batch, side.  An epoch is one step here.
CASES = {"smoke": (("W-10-1", 2, 8, 16),), "cpu": (("W-16-1", 8, 128, 32),),
         "cuda": (("W-16-1", 8, 1024, 32), ("W-28-10", 8, 128, 32))}
BUDGET = 60  # seconds that the rounds of a case may take once three are done


def rows(scale, rounds, device):
    """Yield lists of rows, steps of both methods; the ratio in the row of PGD is the time of WPGD in units of PGD's.

    The difference is small beside the drift of a machine, so that this benchmark takes three times the rounds.
    """
    with Workers(("WPGD", "PGD"), device) as workers:
        for network, steps, batch_size, side in CASES["smoke" if scale == "smoke" else device]:
            settings = {"network": network, "images": batch_size, "batch_size": batch_size, "steps": steps,
                        "side": side}
            if device == "cuda":
                settings |= {"precision": "bf16", "compiled": True}
            contenders = [Contender("WPGD", ours, {**settings, "method": "wpgd"}),
                          Contender("PGD", ours, {**settings, "method": "pgd"})]
            timings = measure(workers, contenders, 3 * rounds, BUDGET)
            yield rows_of(NAME, f"{network} k = {steps} batch {batch_size}", timings, "WPGD", "images/s")
