"""Plans: which runs to train, in which order, and what to measure of them."""
import dataclasses
import json
from dataclasses import dataclass

import yaml

from helpers.training.config import TrainConfig, configure


@dataclass(frozen=True)
class Entry:
    """A line of a plan.

    Attributes
    ----------
    config : TrainConfig
    minutes : float, what it is expected to take; None if nobody said
    autoattack : int, test images to attack by AutoAttack once the run is trained; 0: none
    """

    config: TrainConfig
    minutes: float | None = None
    autoattack: int = 0


@dataclass(frozen=True)
class Plan:
    """A plan file, read and checked.

    Attributes
    ----------
    runs : list of Entry
    evaluate : dict, settings of `helpers.paper.section5.evaluate_planned`
    """

    runs: list
    evaluate: dict


def read_plan(path):
    """A `Plan` from a YAML file, or one of a single run from its config.json.

    The YAML has a list `runs` of mappings with `TrainConfig` fields and, optionally, those of `Entry`; `defaults`, a
    mapping of fields that all runs share; and `evaluate`, what to measure of each run when it is exported: `eps` (a
    list, in 1/255), `steps`, `metric`, the cost of Table 3, and `images`, how many of the test images (0: all).

    Raises
    ------
    ValueError
        One paragraph that names file and run, before anything is trained.
    FileNotFoundError
    """
    if path.suffix == ".json":
        return Plan([Entry(_config_of(path))], {})
    try:
        plan = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is no valid YAML: {' '.join(str(error).split())}") from None
    known = {"defaults", "runs", "evaluate"}
    if not isinstance(plan, dict) or not isinstance(plan.get("runs"), list) or set(plan) - known:
        raise ValueError(f"{path} is no plan: it needs a list `runs` and may have the mappings `defaults` and "
                         "`evaluate`, nothing else")
    for name in ("defaults", "evaluate"):
        if not isinstance(plan.get(name) or {}, dict):
            raise ValueError(f"{path}: `{name}` must be a mapping of settings, not {plan[name]!r}")
    defaults = plan.get("defaults") or {}
    runs = [_job(entry, number, defaults, path) for number, entry in enumerate(plan["runs"], 1)]
    return Plan(runs, _evaluate(plan.get("evaluate") or {}, path))


def _evaluate(settings, path):
    wrong = [name for name in settings if name not in ("eps", "steps", "metric", "images")]
    if wrong:
        raise ValueError(f"{path}: `evaluate` has no setting {wrong[0]!r}: it may have eps, steps, metric and images")
    eps = settings.get("eps", [])
    if not isinstance(eps, list) or not all(type(value) in (int, float) and value > 0 for value in eps):
        raise ValueError(f"{path}: `evaluate` has eps = {eps!r}: give a list of numbers > 0, in 1/255")
    for name, least in (("steps", 1), ("images", 0)):
        value = settings.get(name, least)
        if type(value) is not int or value < least:
            raise ValueError(f"{path}: `evaluate` has {name} = {value!r}: give an integer >= {least}")
    return {**settings, **({"eps": [float(value) for value in eps]} if eps else {})}


def _config_of(path):
    names = {field.name for field in dataclasses.fields(TrainConfig)}
    facts = {name: value for name, value in json.loads(path.read_text()).items() if name in names}
    if "@" in str(facts.get("cost")):  # a matrix that no text can name lies beside
        facts["cost"] = str(path.with_name("cost.csv"))
    return configure(facts)


def _job(entry, number, defaults, path):
    if not isinstance(entry, dict):
        raise ValueError(f"{path}: run {number} must be a mapping of settings, not {entry!r}")
    minutes, autoattack = entry.get("minutes"), entry.get("autoattack", 0)
    if minutes is not None and type(minutes) not in (int, float):
        raise ValueError(f"{path}: run {number} has minutes = {minutes!r}: give a number")
    if type(autoattack) is not int or autoattack < 0:
        raise ValueError(f"{path}: run {number} has autoattack = {autoattack!r}: give the number of test images")
    settings = {name: value for name, value in entry.items() if name not in ("minutes", "autoattack")}
    return Entry(configure(defaults, settings), minutes, autoattack)
