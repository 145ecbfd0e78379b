"""What a plan measures of each run after training, so that nothing but small files must come back from a GPU."""
import time

from helpers import attacks, costs
from helpers.autoattack import MOST_TARGETS, AutoAttack
from helpers.evaluation import evaluate_run
from helpers.evaluation.cached import kept_evaluations

from .attacked import score_attacks
from .models import batch_size_for


def planned_attacks(run, *, eps=(), steps=20, metric=None):
    """The attacks on a run that Sec. 5 asks for, without repetition.

    Parameters
    ----------
    run : Run
    eps : sequence of float, in 1/255
        Radii of PGD on the cross entropy, for runs that were validated with one of them; other runs are attacked with
        the radius they were validated with, and those that were validated without an attack not at all.
    steps : int
    metric : str, optional
        Spec of the cost of Table 3: all its attackers as well, at the first radius, for runs on all classes of a data
        set that knows the metric.

    Returns
    -------
    list of attacks.PGD
    """
    config = run.config
    radii = list(eps) if config.val_eps in eps else [config.val_eps] if config.val_eps else []
    found = [attacks.PGD(radius / 255, steps=steps, norm=config.norm) for radius in radii]
    if metric and radii and config.classes is None:
        try:
            cost = costs.from_spec(metric, run.dataset)
        except ValueError:  # digits have no place in WordNet
            return found
        p = config.p if config.method == "wpgd" else 0.0
        known = score_attacks(cost, p, eps=radii[0], steps=steps, lam=config.lam)
        found += [attack for starts in known.values() for attack in starts]
    return list({repr(sorted(attack.describe().items())): attack for attack in found}.values())


def evaluate_planned(run, deadline=None, images=0, autoattack=0, **settings):
    """Evaluate a run on test images, clean and by `planned_attacks`; what was evaluated before is found.

    The notebooks find these evaluations, too, if they ask for as many images.

    Parameters
    ----------
    run : Run
    deadline : float, optional, of `time.monotonic()`
        No evaluation starts of which it is foreseeable that it would end later.
    images : int, size of a class-stratified subset; 0: all
    autoattack : int, size of the subset for AutoAttack and, to compare, PGD on the cross entropy; 0: no such attack
    settings : see `planned_attacks`

    Returns
    -------
    bool, whether all is done
    """
    planned = [(attack, images) for attack in (None, *planned_attacks(run, **settings))]
    if autoattack:
        strong = audit_attack(run.config)
        plain = attacks.PGD(strong.eps, steps=settings.get("steps", 20), norm=strong.norm)
        planned += [(attack, autoattack) for attack in (None, plain, strong)]
    for attack, some in planned:
        expected = _seconds(run, attack, some or len(run.dataset.y_test)) if attack else 0
        if deadline is not None and time.monotonic() + expected > deadline:
            return False
        evaluate_run(run, attack, limit=some or None, batch_size=batch_size_for(run.model), allow_absent=True)
    return True


def audit_attack(config):
    """AutoAttack with the radius that a run was validated with, or else trained with."""
    return AutoAttack((config.val_eps or config.eps) / 255, config.norm)


def audited(folder, config, images):
    """Whether the run in a folder was attacked by `audit_attack` on so many test images."""
    attack = audit_attack(config).describe()
    return any((about["attack"], about["split"], about["limit"]) == (attack, "test", images)
               for about, _ in kept_evaluations(folder))


def _seconds(run, attack, images):
    """An estimate from the speed of training: passes over images, in float32 where training may have used bfloat16."""
    config, metrics = run.config, run.metrics
    passes = 3 if config.method == "ce" else 2 * config.steps + 3
    pace = metrics["seconds"] / max(metrics["train_images"] * metrics["epochs"] * passes, 1)
    slower = 6 if config.precision == "bf16" else 1.5
    return slower * pace * images * _passes(attack)


def _passes(attack):
    """Forward and backward passes an image, at most: AutoAttack spares the images that it has turned."""
    if isinstance(attack, AutoAttack):
        return 2 * attack.steps * (1 + 2 * MOST_TARGETS) + attack.queries
    return (2 * attack.steps + 1) * attack.restarts
