"""What the speed of this study is held to, and whether the measured rows reach it."""
import math
from dataclasses import dataclass

AT_LEAST, AT_MOST = ">=", "<="


@dataclass(frozen=True)
class Target:
    """One promise.

    Attributes
    ----------
    text : str
    benchmark : str, whose rows it reads
    value : callable, rows -> float, NaN where they do not hold what it needs
    sense, bound : ">=" or "<=", and the number
    devices : "cpu", "cuda", or both separated by a space
    """

    text: str
    benchmark: str
    value: object
    sense: str
    bound: float
    devices: str = "cpu"

    def verdict(self, rows):
        """(value, "reached", "not reached" or "not measured")."""
        value = self.value(rows)
        if math.isnan(value):
            return value, "not measured"
        good = value >= self.bound if self.sense == AT_LEAST else value <= self.bound
        return value, "reached" if good else "not reached"


def over_fastest_peer(network, ours="ours"):
    """Speed of `ours` over the fastest peer on a network: of PGD-8 and PGD-20 the worse."""
    def value(rows):
        factors = []
        for setting in dict.fromkeys(row["setting"] for row in rows if row["setting"].startswith(f"{network} PGD-")):
            here = [row for row in rows if row["setting"] == setting and row["ratio"] > 0]
            peers = [row["ratio"] for row in here if row["role"] == "peer"]
            mine = [row["ratio"] for row in here if row["contender"] == ours]
            if peers and mine:
                factors.append(mine[0] / max(peers))
        return min(factors, default=math.nan)
    return value


def ratio(contender, setting="", worst=max, inverse=False):
    """The ratio of a contender's rows, the worst over the settings that begin with `setting`.

    `inverse` turns "the contender's speed in units of ours" into "our speed in units of the contender's".
    """
    def value(rows):
        found = [row["ratio"] for row in rows
                 if row["contender"] == contender and row["setting"].startswith(setting) and row["ratio"] > 0]
        return worst([1 / number if inverse else number for number in found], default=math.nan)
    return value


def over(contender, peer, setting):
    """The throughput of a contender over that of a peer, the worst over the settings that begin with `setting`."""
    def value(rows):
        found = {name: {row["setting"]: row["ratio"] for row in rows if row["contender"] == name
                        and row["setting"].startswith(setting)} for name in (contender, peer)}
        return min((ratio / found[peer][one] for one, ratio in found[contender].items() if found[peer].get(one)),
                   default=math.nan)
    return value


def largest(column, setting="", contender=None):
    """The largest entry of a column over the rows of the peers (or of one contender)."""
    def value(rows):
        found = [row.get(column, math.nan) for row in rows if row["setting"].startswith(setting)
                 and (row["role"] == "peer" if contender is None else row["contender"] == contender)]
        return max((number for number in found if not math.isnan(number)), default=math.nan)
    return value


TARGETS = (
    *(Target(f"attack on {network} over the fastest peer", "attack", over_fastest_peer(network), AT_LEAST, bound)
      for network, bound in (("W-16-1", 1.7), ("W-10-1", 1.7), ("W-16-4", 1.3))),
    *(Target(f"attack on {network} in bf16 over the fastest peer", "attack", over_fastest_peer(network, "ours, bf16"),
             AT_LEAST, bound) for network, bound in (("W-16-1", 2.3), ("W-10-1", 2.1), ("W-16-4", 2.2))),
    Target("same images as every peer in float64, largest difference", "attack",
           largest("max_difference", "agreement"), AT_MOST, 1e-5, "cpu cuda"),
    Target("epoch of PGD-8 on W-16-1 over the plain loop", "training",
           ratio("plain loop", "W-16-1 PGD-8", min, inverse=True), AT_LEAST, 2.0),
    Target("epoch of PGD-8 on W-16-1 in bf16 over the plain loop", "training",
           over("ours, bf16", "plain loop", "W-16-1 PGD-8"), AT_LEAST, 2.7),
    Target("WPGD step, time over that of a PGD step", "wpgd", ratio("PGD"), AT_MOST, 1.03, "cpu cuda"),
    Target("Wasserstein loss, time over that of cross entropy", "loss", ratio("cross entropy"), AT_MOST, 1.5,
           "cpu cuda"),
    Target("closed form over emd2 at K = 200", "transport", ratio("emd2", "K = 200", min, inverse=True), AT_LEAST,
           1000.0, "cpu cuda"),
    Target("closed form against emd2 at K = 200, largest difference", "transport",
           largest("max_difference", "K = 200", "emd2"), AT_MOST, 1e-6, "cpu cuda"),
    Target("attack on W-16-10 over the fastest peer", "attack", over_fastest_peer("W-16-10", "ours, bf16, compiled"),
           AT_LEAST, 3.0, "cuda"),
    Target("attack on W-28-10 over the fastest peer", "attack", over_fastest_peer("W-28-10", "ours, bf16, compiled"),
           AT_LEAST, 3.0, "cuda"),
    *(Target(f"training step on {network}, share of the bf16 limit", "limit",
             ratio(f"training step {network}", worst=min), AT_LEAST, 0.45, "cuda")
      for network in ("W-16-10", "W-28-10")),
)


def evaluate(rows_by_benchmark, device):
    """One row a target of this device: target, sense, bound, value, verdict.

    Parameters
    ----------
    rows_by_benchmark : dict, name of a benchmark -> list of rows
    device : "cpu" or "cuda"
    """
    found = []
    for target in TARGETS:
        if device in target.devices.split():
            value, verdict = target.verdict(rows_by_benchmark.get(target.benchmark, []))
            found.append({"target": target.text, "sense": target.sense, "bound": target.bound, "value": value,
                          "verdict": verdict})
    return found
