"""The models of a profile: which runs they are, the table of the trained ones, and what a plan measures of them."""
import dataclasses
import functools
import itertools
import json
import runpy
import time
from pathlib import Path
from typing import NamedTuple

from helpers import answers, attacks, costs, losses, profiles
from helpers.autoattack import MOST_TARGETS, AutoAttack
from helpers.evaluation import evaluate_run
from helpers.training.config import TrainConfig, configure
from helpers.training.loop import train
from helpers.training.store import exported, finished, prepare

FIELDS = tuple(item.name for item in dataclasses.fields(TrainConfig))
TAGS = ("paper_data", "paper_network", "panel")  # what a model stands for in the paper
# What may be a list, a run each; the last one varies fastest.
VARIED = (*TAGS, "method", "p", "lam", "eps", "steps", "seed")
COLUMNS = (*TAGS, "data", "network", "method", "p", "lam", "cost", "eps", "seed", "label", "run")


class Entry(NamedTuple):
    """A run that a profile asks for."""

    config: TrainConfig
    minutes: float | None  # that it is expected to take
    autoattack: int  # test images to attack by AutoAttack once it is trained
    tags: dict  # of TAGS, "" for one that the profile does not give
    cost: object  # the metric that the profile names, also for CE and PGD, which do not train with it


def expand(models, recipe):
    """The runs that a list of models asks for, in its order.

    Parameters
    ----------
    models : list of dict
        `TrainConfig` fields on top of the recipe.  Beside them: ``minutes``, of each run; ``autoattack``, test images;
        ``notebooks``, a list of numbers, for the runner; the tags ``paper_data``, ``paper_network``, ``panel``.
        The `VARIED` may be lists: a run for each combination.  Runs that are the same (CE has no p) are one.
    recipe : dict of the fields that all models share

    Returns
    -------
    list of Entry; a ValueError names the model by its place in the list, and what is wrong with it
    """
    entries = {}
    for number, model in enumerate(models, 1):
        try:
            for entry in _entries(model, recipe):
                entries.setdefault(json.dumps([entry.config.to_dict(), entry.tags, entry.autoattack]), entry)
        except ValueError as error:
            raise ValueError(f"model {number}: {error}") from None
    return list(entries.values())


def _entries(model, recipe):
    if not isinstance(model, dict):
        raise ValueError(f"it must be a mapping of settings, not {model!r}")
    known = (*FIELDS, *TAGS, "minutes", "autoattack", "notebooks")
    for name in model:
        if name not in known:
            raise ValueError(f"{name!r} is no setting of a model.{profiles.suggest(name, known)}")
    minutes, autoattack, notebooks = model.get("minutes"), model.get("autoattack", 0), model.get("notebooks", [])
    if minutes is not None and type(minutes) not in (int, float):
        raise ValueError(f"minutes = {minutes!r}: give a number")
    if type(autoattack) is not int or autoattack < 0:
        raise ValueError(f"autoattack = {autoattack!r}: give the number of test images")
    if not isinstance(notebooks, list) or not all(type(one) is int for one in notebooks):
        raise ValueError(f"notebooks = {notebooks!r}: give a list of numbers, such as [5, 6]")
    several = {name: model[name] for name in VARIED if isinstance(model.get(name), list)}
    for values in itertools.product(*several.values()):
        one = {**model, **dict(zip(several, values))}
        config = configure(recipe, {name: value for name, value in one.items() if name in FIELDS})
        tags = {name: one.get(name, "") for name in TAGS}
        yield Entry(config, minutes, autoattack, tags, model.get("cost", recipe.get("cost", "")))


def train_models(models, recipe, *, data_root=None, store=None, progress=True, train_missing=True):
    """Train the models of a profile, or find them, or resume them: a row a run.

    Parameters
    ----------
    models, recipe : see `expand`
    data_root, store, progress : see `train`
    train_missing : bool
        False: nothing is trained.  Runs that are neither finished nor exported with their answers
        (``results/*/runs/``) have no row; of the exported ones `run.model` is None.

    Returns
    -------
    DataFrame
        paper_data, paper_network, panel ("" where the profile gives none), data, network, method ("ce", "pgd",
        "wpgd"), p (NaN for CE, 0.0 for PGD), lam, cost (as the profile names it, for `costs.from_spec`), eps (in
        1/255; 0.0 for CE), seed, label ("CE", "PGD", "WPGD p=2.5"), run (a `Run`).
    """
    import pandas
    rows = []
    for entry in expand(models, recipe):
        config = entry.config
        folder = None if train_missing else prepare(config, data_root, store).folder
        if train_missing or finished(folder):
            run = train(config, data_root=data_root, store=store, progress=progress)
        elif folder := exported(folder.name):
            run = prepare(config, data_root, folder.parent).read(weights=False)
        else:
            continue
        p = {"ce": float("nan"), "pgd": 0.0, "wpgd": config.p}[config.method]
        label = config.method.upper() + (f" p={p:g}" if config.method == "wpgd" else "")
        rows.append({**entry.tags, "data": Path(config.data).name, "network": config.network, "method": config.method,
                     "p": p, "lam": config.lam, "cost": entry.cost, "eps": config.eps, "seed": config.seed,
                     "label": label, "run": run})
    return pandas.DataFrame(rows, columns=COLUMNS)


def read_plan(path):
    """The runs of a profile, each once, or the one of a config.json: a list of Entry, and what to measure of them.

    Raises ValueError or FileNotFoundError: one paragraph that names file and model.
    """
    if Path(path).suffix == ".json":
        settings = {name: value for name, value in json.loads(Path(path).read_text()).items() if name in FIELDS}
        if "@" in str(settings.get("cost")):  # a matrix that no text can name lies beside
            settings["cost"] = {"values": str(Path(path).with_name("cost.csv")), "symmetric": False}
        return expand([settings], {}), {}
    profile, runs = profiles.read(profiles.find(path)), {}
    try:
        for file in profile["imports"]:
            _run(file)
        for entry in expand(profile["models"], profile["recipe"]):
            runs.setdefault(json.dumps([entry.config.to_dict(), entry.autoattack]), entry)
        return list(runs.values()), _checked(profile["evaluate"])
    except ValueError as error:
        raise ValueError(f"profile {path}: {error}") from None


@functools.cache
def _run(file):
    """Run a Python file, once a process."""
    try:
        runpy.run_path(file)
    except FileNotFoundError:
        raise ValueError(f"it imports {file!r}, which is not there") from None


def _checked(settings):
    for name, value in settings.items():
        if name not in ("eps", "steps", "metric", "powers", "images", "precision"):
            raise ValueError(f"`evaluate` has no setting {name!r}: it may have eps, steps, metric, powers, images and "
                             "precision")
        if name in ("eps", "powers") and not (isinstance(value, list) and
                                              all(type(one) in (int, float) and one > 0 for one in value)):
            raise ValueError(f"`evaluate` has {name} = {value!r}: give a list of numbers > 0")
        least = {"steps": 1, "images": 0}.get(name)
        if least is not None and not (type(value) is int and value >= least):
            raise ValueError(f"`evaluate` has {name} = {value!r}: give an integer >= {least}")
    return settings


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
    """Evaluate a run on test images, clean and by `planned_attacks`; returns whether all is done.

    The notebooks find these evaluations if they ask for as many images, as a later call does.

    Parameters
    ----------
    deadline : of `time.monotonic()`; no evaluation starts of which it is foreseeable that it would end later
    images : size of a class-stratified subset; 0: all
    autoattack : size of the subset for AutoAttack and, to compare, PGD on the cross entropy; 0: no such attack
    settings : of `planned_attacks`
    """
    planned = [(attack, images) for attack in (None, *planned_attacks(run, **settings))]
    if autoattack:
        strong = _autoattack(run.config)
        plain = attacks.PGD(strong.eps, steps=settings.get("steps", 20), norm=strong.norm)
        planned += [(attack, autoattack) for attack in (None, plain, strong)]
    for attack, some in planned:
        if deadline and time.monotonic() + _seconds(run, attack) * (some or len(run.dataset.y_test)) > deadline:
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


def _seconds(run, attack):
    """What an image takes at most, from the speed of training: in float32, where that may have used bfloat16."""
    if attack is None:
        return 0
    passes = 2 * attack.steps + 1
    if isinstance(attack, AutoAttack):
        passes = 2 * attack.steps * (1 + 2 * MOST_TARGETS) + attack.queries
    config, metrics = run.config, run.metrics
    trained = metrics["train_images"] * metrics["epochs"] * config.passes
    return (6 if config.precision == "bf16" else 1.5) * metrics["seconds"] / max(trained, 1) * passes
