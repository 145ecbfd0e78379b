"""Is an error under attack that of the network, or of a gradient that hides?

The checks of Athalye et al. (2018) and Carlini et al. (2019, "On evaluating adversarial robustness"): nothing that
makes an attacker stronger may help the defender, and none that sees no gradient may beat one that does.
"""
import math
import warnings
from functools import partial

import torch

from helpers.attacks import PGD, ZeroGradientWarning
from helpers.autoattack import AutoAttack
from helpers.data import stratified_subset
from helpers.evaluation import evaluate_run, predict_logits
from helpers.losses import margin_loss

MISSED = 8.0  # points by which another attack may find more errors than PGD
STRONGER = ("margin loss", "3 x steps", "other seed", "Square", "AutoAttack")


def audit(run, *, eps=None, pgd_steps=20, images=200, steps=100, queries=5000):
    """Attack a run in all these ways, and say whether its error under PGD can be trusted.

    Parameters
    ----------
    run : Run, as `evaluate_run` takes it, which keeps all answers
    eps : float, in units of the input; None: the run's own, of its validation or training
    pgd_steps : int, of PGD on the cross entropy, whose error is audited
    images : int, test images
    steps, queries : of AutoAttack (0 steps: none) and of Square; both want images (N, C, H, W), AutoAttack 4 classes

    Returns
    -------
    dict, a row of a table: model, images, eps, norm, errors in % (NE, "PGD", `STRONGER`, "2 x eps", "unbounded"), no
        gradient (images), verdict: "trust", or "do not trust, because ...". A run that was exported without weights and
        these answers is "not audited".
    """
    config, x = run.config, run.dataset.x_test
    eps = (config.val_eps or config.eps) / 255 if eps is None else eps
    whole = 1.0 if config.norm == "linf" else math.sqrt(x[0].numel())
    pgd, blind = partial(PGD, steps=pgd_steps, norm=config.norm), partial(AutoAttack, eps, config.norm, queries=queries)
    attacks = {"NE": None, "PGD": pgd(eps), "margin loss": pgd(eps, loss=margin_loss),
               "3 x steps": pgd(eps, steps=3 * pgd_steps), "other seed": pgd(eps, seed=1),
               "2 x eps": pgd(min(2 * eps, whole)), "unbounded": pgd(whole)}
    if x.ndim == 4:
        attacks["Square"] = blind(steps=0)
        if steps and run.dataset.num_classes >= 4:
            attacks["AutoAttack"] = blind(steps=steps)
    row = {"model": config.label, "images": min(images, len(x)), "eps": eps, "norm": config.norm}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ZeroGradientWarning)  # the row counts them
            found = {name: evaluate_run(run, attack, limit=images, allow_absent=True)
                     for name, attack in attacks.items()}
    except ValueError:
        if run.model is not None:
            raise
        return row | {"verdict": "not audited: the run was exported without weights and without these answers"}
    row |= {name: answer.error for name, answer in found.items()}
    row["no gradient"] = found["PGD"].zero_gradients or 0
    reasons = reasons_against(row)
    if run.model is not None:
        x = torch.as_tensor(x)[stratified_subset(run.dataset.y_test, images)]
        first, second = (predict_logits(run.model, x).argmax(dim=1) for _ in range(2))
        if changed := int((first != second).sum()):
            reasons.append(f"{changed} of {len(x)} images get another answer when asked again: the network is random")
    return row | {"verdict": "do not trust, because " + "; ".join(reasons) if reasons else "trust"}


def reasons_against(row):
    """Why not to trust the error under PGD of a row of `audit`, each a clause."""
    images, zero, pgd = row["images"], row["no gradient"], row["PGD"]
    slack = max(1.0, 150 / images)  # one image more or less is no reason
    table = [(row[name] >= pgd + max(MISSED, slack), f"{name} finds {row[name] - pgd:.0f} points more than PGD")
             for name in STRONGER if name in row]
    table += [(row[name] < pgd - slack, f"{name} helps the defender, by {pgd - row[name]:.0f} points")
              for name in ("3 x steps", "2 x eps")]
    table += [
        (row["unbounded"] < 100 - slack, f"with unbounded eps PGD finds {row['unbounded']:.0f} %, not 100"),
        (pgd < row["NE"] - slack, f"under PGD {row['NE'] - pgd:.0f} points fewer images are wrong than without"),
        (zero > 0.1 * images, f"{zero} of {images} images had no gradient")]
    return [reason for holds, reason in table if holds]
