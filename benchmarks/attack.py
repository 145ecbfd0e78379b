"""PGD-8 and PGD-20 (L-inf, eps 8/255, step 2/255), beside five libraries; and whether all find the same images."""
import numpy as np
import torch

from benchmarks import attackers, synthetic
from benchmarks.timing import Contender, Task, answers, measure, rows_of
from benchmarks.workers import ContenderError, Workers
from helpers.training.launch import fast_precision

NAME = "attack"
# Network: channels, side, images in a batch of PGD-8 and of PGD-20.
CASES = {"smoke": {"W-10-1": (1, 16, {8: 4})},
         "cpu": {"W-10-1": (1, 28, {8: 128, 20: 128}), "W-16-1": (3, 32, {8: 128, 20: 128}),
                 "W-16-4": (3, 32, {8: 64, 20: 64})},
         "cuda": {"W-10-1": (1, 28, {8: 1024, 20: 1024}), "W-16-1": (3, 32, {8: 1024, 20: 1024}),
                  "W-16-4": (3, 32, {8: 512, 20: 512}), "W-16-10": (3, 32, {8: 256, 20: 256}),
                  "W-28-10": (3, 32, {8: 128, 20: 128})}}
BUDGET = 60  # seconds that the rounds of a case may take once three are done
# Name, function, its settings, role, note.
FIELD = (
    ("ours", "ours", {}, "ours", ""),
    ("ours, compiled", "ours", {"compiled": True}, "variant", "torch.compile"),
    ("ours, default malloc", "ours", {"keep_memory": False}, "variant", "WPGD_KEEP_MEMORY=0"),
    ("torchattacks", "torchattacks", {}, "peer", ""),
    ("torchattacks, tuned by hand", "torchattacks", {"by_hand": True}, "tuned",
     "frozen and channels_last, by its user"),
    ("foolbox", "foolbox", {}, "peer", ""),
    ("ART", "art", {}, "peer", ""),
    ("adv-lib", "adv_lib", {}, "peer", "returns the last misclassified iterate that the network has seen"),
    ("robustness", "robustness", {}, "peer", "use_best=False"),
)
FIELD_BF16 = ("ours, bf16", "ours", {"precision": "bf16"}, "variant", "autocast, as training uses it")
FIELD_CUDA = (
    ("ours, bf16, compiled", "ours", {"precision": "bf16", "compiled": True}, "variant", "as training uses it"),
)


def build(device, attacker, settings, network, channels, side, images, steps, dtype="float32", random_start=True):
    """A `Task` that attacks one batch with the function `attacker` of `benchmarks.attackers`."""
    kind = getattr(torch, dtype)
    net = synthetic.network(network, channels, device, kind)
    if attacker != "ours":
        net = net.to(memory_format=torch.contiguous_format)  # the form in which their user has a network
    x, y = synthetic.batch(images, channels, side, device, kind)
    return Task(getattr(attackers, attacker)(net, x, y, steps, random_start, **settings), work=images)


def rows(scale, rounds, device, only=None):
    """Yield lists of rows: the throughput of every contender on a network, in images/s, and last `agreement`.

    With `only` one network there is no time for more than PGD-8, beside torchattacks.
    """
    field, cases = _field(scale, device), CASES["smoke" if scale == "smoke" else device]
    if only:
        field = [one for one in field if one[0] in ("ours", "ours, bf16", "ours, bf16, compiled", "torchattacks")]
        channels, side, batches = cases[only]
        cases = {only: (channels, side, dict(list(batches.items())[:1]))}
    with Workers([entry[0] for entry in field], device) as workers:
        for network, (channels, side, batches) in cases.items():
            for steps, images in batches.items():
                case = {"network": network, "channels": channels, "side": side, "images": images, "steps": steps}
                timings = measure(workers, _contenders(field, case), rounds, BUDGET)
                yield rows_of(NAME, f"{network} PGD-{steps} batch {images}", timings, "ours", "images/s")
        if not only:
            yield agreement(workers, field, scale)


def _field(scale, device):
    if scale == "smoke":
        return [entry for entry in FIELD if entry[0] in ("ours", "torchattacks")]
    return [*FIELD, *([FIELD_BF16] if fast_precision() == "bf16" else ()), *(FIELD_CUDA if device == "cuda" else ())]


def _contenders(field, case):
    return [Contender(name, build, {"attacker": attacker, "settings": settings, **case}, role, note)
            for name, attacker, settings, role, note in field]


def agreement(workers, field, scale):
    """Whether the contenders find the same adversarial images from the same start, the clean image, in 8 steps.

    In float64 they must agree to rounding: the column `max_difference`.  In float32 the column `share_differing` is
    the share of pixels that differ by more than 1e-5.  It need not be zero: where a gradient is close to zero,
    rounding decides its sign and so a step of 2/255, and from there on all pixels of that image may go another way.
    The plain loop against itself in channels_last shows how many pixels the memory layout alone moves.
    """
    network, channels, side = ("W-10-1", 1, 16) if scale == "smoke" else ("W-16-1", 3, 32)
    case = {"network": network, "channels": channels, "side": side, "images": 4 if scale == "smoke" else 16,
            "steps": 8, "random_start": False}
    entries = [entry for entry in field if entry[3] in ("ours", "peer")]
    double = answers(workers, _contenders(entries, {**case, "dtype": "float64"}))
    single = answers(workers, _contenders(entries, case))
    expected = {entry[0]: double["ours"] for entry in entries}
    if "adv-lib" in expected and not isinstance(double["ours"], ContenderError):
        expected["adv-lib"] = _last_misclassified(case)
    found = [_agreement_row(network, name, role, _compare(double[name], expected[name], single[name], single["ours"]))
             for name, _, _, role, _ in entries if role == "peer"]
    control = _compare(*(_plain(case, last, dtype) for dtype in ("float64", "float32") for last in (True, False)))
    return [*found, _agreement_row(network, "plain loop, NCHW against channels_last", "control", control)]


def _agreement_row(network, name, role, columns):
    rules = {"adv-lib": "compared with the last misclassified of our iterates 0 to 7, which is its rule; "
                        "the share in float32 is left out"}
    note = columns.pop("note", "") or rules.get(name, "")
    if name in rules:
        columns.pop("share_differing", None)
    return {"benchmark": NAME, "setting": f"agreement {network} PGD-8", "contender": name, "role": role,
            "reference": "ours", "rounds": 1, **columns, "note": note}


def _compare(double, expected, single, ours):
    """Columns max_difference (float64) and share_differing (float32), or a note where one of them failed."""
    for value in (double, expected, single, ours):
        if isinstance(value, ContenderError):
            return {"note": f"failed: {value}"}
    return {"max_difference": float(np.abs(double - expected).max()),
            "share_differing": float((np.abs(single - ours) > 1e-5).mean())}


def _plain(case, channels_last, dtype):
    task = build("cpu", "plain", {"channels_last": channels_last}, **case, dtype=dtype)
    return task.run().numpy()


def _last_misclassified(case):
    """What adversarial-library's rule picks from our iterates, in float64: shape (N, C, H, W)."""
    net = synthetic.network(case["network"], case["channels"], "cpu", torch.float64)
    x, y = synthetic.batch(case["images"], case["channels"], case["side"], "cpu", torch.float64)
    best = x
    for steps in range(case["steps"]):
        point = attackers.ours(net, x, y, steps, False)()
        with torch.no_grad():
            wrong = net(point).argmax(dim=1) != y
        best = torch.where(wrong[:, None, None, None], point, best)
    return best.numpy()
