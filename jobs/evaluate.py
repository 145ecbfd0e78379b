"""What a plan measures of a trained run: by which attacks, on how many images, in what time."""
import functools
import json
import time

from helpers import answers, attacks, costs, losses
from helpers.autoattack import AutoAttack
from helpers.evaluation import evaluate, evaluate_run

PACED = 250  # images by which it is foreseen how long an attack takes
MARGIN = 1.5


def check_settings(profile, settings):
    """Refuse with a ValueError what a profile says under ``evaluate`` that `evaluate_planned` cannot do."""
    told = f"profile {profile}: `evaluate` has"
    for name, value in settings.items():
        if name not in ("eps", "steps", "metric", "powers", "images", "precision"):
            raise ValueError(f"{told} no setting {name!r}: it may have eps, steps, metric, powers, images and "
                             "precision")
        if name in ("eps", "powers") and not (isinstance(value, list) and
                                              all(type(one) in (int, float) and one > 0 for one in value)):
            raise ValueError(f"{told} {name} = {value!r}: give a list of numbers > 0")
        least = {"steps": 1, "images": 0}.get(name)
        if least is not None and not (type(value) is int and value >= least):
            raise ValueError(f"{told} {name} = {value!r}: give an integer >= {least}")


def planned_attacks(run, *, eps=(), steps=20, metric=None, powers=(), precision="float32"):
    """The attacks on a run that Sec. 5 asks for, a list of `attacks.PGD` without repetition.

    Parameters
    ----------
    eps : radii in 1/255 of PGD on the cross entropy, for runs that were validated with one of them; other runs are
        attacked with the radius they were validated with, and those that were validated without an attack not at all
    metric : spec of the cost of Table 3: all its attackers as well, at the first radius, for runs on all classes of a
        data set that knows the metric
    powers : p of the WPGD models whose attackers a PGD model meets as well
    precision : in which the network runs while it is attacked, see `attacks.PGD`; it is judged in float32
    """
    config = run.config
    pgd = functools.partial(attacks.PGD, steps=steps, norm=config.norm, precision=precision)
    radii = [float(one) for one in eps] if config.val_eps in eps else [config.val_eps] if config.val_eps else []
    found = [pgd(radius / 255) for radius in radii]
    if metric and radii and config.classes is None:
        try:
            cost = costs.from_spec(metric, run.dataset)
        except ValueError:  # digits have no place in WordNet
            return found
        # PGD's attacker at "its own p", 0, does not know the metric.
        own = [config.p] if config.method == "wpgd" else [0.0, *(powers if config.method == "pgd" else ())]
        *own, plain = (losses.WassersteinLoss(cost, float(p), config.lam) for p in (*own, 1.0))
        found += [pgd(radii[0] / 255, loss=loss) for loss in (losses.margin_loss, *own, plain)]
        found.append(pgd(radii[0] / 255, loss=plain, seed=1))
    return list({json.dumps(attack.describe()): attack for attack in found}.values())


def evaluate_planned(run, deadline=None, images=0, autoattack=0, **settings):
    """Evaluate a run on test images, clean (all of them, too) and by `planned_attacks`; returns whether all is done.

    The notebooks find these evaluations if they ask for as many images, as a later call does.

    Parameters
    ----------
    deadline : of `time.monotonic()`; no evaluation starts of which it is foreseeable that it would end later
    images : size of a class-stratified subset; 0: all test images
    autoattack : size of the subset for AutoAttack and, to compare, PGD on the cross entropy; 0: no such attack
    settings : of `planned_attacks`
    """
    # Clean images cost one pass: all are classified, for the notebooks that ask for all.
    planned = list(dict.fromkeys([(None, images), (None, 0)])) + [
        (attack, images) for attack in planned_attacks(run, **settings)]
    if autoattack:
        strong = _autoattack(run.config)
        plain = attacks.PGD(strong.eps, steps=settings.get("steps", 20), norm=strong.norm,
                            precision=settings.get("precision", "float32"))
        planned += [(attack, autoattack) for attack in (None, plain, strong)]
    pace = functools.cache(functools.partial(_pace, run))
    for attack, some in planned:
        passes = deadline and attack and _passes(attack) * (some or len(run.dataset.y_test))
        if passes and time.monotonic() + MARGIN * passes * pace(getattr(attack, "precision", "float32")) > deadline:
            return False
        evaluate_run(run, attack, limit=some or None, allow_absent=True)
    return True


def audited(folder, config, images):
    """Whether the run in a folder was attacked by AutoAttack on so many test images."""
    wanted = {"attack": _autoattack(config).describe(), "split": "test", "limit": images}
    return any(wanted.items() <= about.items() for about, _ in answers.kept(folder))


def _autoattack(config):
    """AutoAttack with the radius that a run was validated with, or else trained with."""
    return AutoAttack((config.val_eps or config.eps) / 255, config.norm)


def _passes(attack):
    """How many passes through the network, forwards or back, an attack takes an image, at most."""
    if isinstance(attack, AutoAttack):
        return 2 * attack.steps * (1 + 2 * 9) + attack.queries  # APGD, APGD and FAB to nine targets, Square
    return 2 * attack.steps + 1


def _pace(run, precision):
    """Seconds of a pass on this machine, which is perhaps not the one that trained the run."""
    attack = attacks.PGD((run.config.val_eps or 1) / 255, steps=2, norm=run.config.norm, precision=precision)
    x, y = run.dataset.x_test[:PACED], run.dataset.y_test[:PACED]
    first, second = (evaluate(run.model, x, y, attack, allow_absent=True).seconds for _ in range(2))
    return min(first, second) / (_passes(attack) * len(y))
