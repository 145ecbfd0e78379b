"""The models of a profile: which runs they are, in which order, and the table of those that are trained."""
import dataclasses
import difflib
import itertools
import json
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from helpers.training.config import TrainConfig, configure
from helpers.training.loop import train

TAGS = ("paper_data", "paper_network", "panel")  # what a model stands for in the paper
VARIED = (*TAGS, "method", "p", "lam", "eps", "steps", "seed")  # what may be a list, a run each; the last varies fastest
COLUMNS = (*TAGS, "data", "network", "method", "p", "lam", "cost", "eps", "seed", "label", "run")


@dataclass(frozen=True)
class Entry:
    """A run that a profile asks for.

    Attributes
    ----------
    config : TrainConfig
    minutes : float, what it is expected to take; None if nobody said
    autoattack : int, test images to attack by AutoAttack once the run is trained; 0: none
    tags : dict, "" for a tag that the profile does not give
        paper_data, paper_network, panel: what the model stands for in the paper.
    cost : spec of the metric that the profile names, also for CE and PGD, which do not train with it; "" without one
    """

    config: TrainConfig
    minutes: float | None = None
    autoattack: int = 0
    tags: dict = field(default_factory=dict)
    cost: object = ""


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
    list of Entry

    Raises
    ------
    ValueError
        Names the model by its place in the list, and what is wrong with it.
    """
    if not isinstance(models, list):
        raise ValueError(f"models must be a list of mappings of settings, not {models!r}")
    entries = {}
    for number, model in enumerate(models, 1):
        if not isinstance(model, dict):
            raise ValueError(f"model {number} must be a mapping of settings, not {model!r}")
        try:
            for entry in _entries(model, recipe):
                key = json.dumps([entry.config.to_dict(), entry.tags, entry.autoattack], sort_keys=True)
                entries.setdefault(key, entry)
        except ValueError as error:
            raise ValueError(f"model {number}: {error}") from None
    return list(entries.values())


def _entries(model, recipe):
    known = [*(item.name for item in dataclasses.fields(TrainConfig)), *TAGS, "minutes", "autoattack", "notebooks"]
    for name in model:
        if name not in known:
            near = difflib.get_close_matches(str(name), known, n=1)
            raise ValueError(f"{name!r} is no setting of a model" + (f"; did you mean {near[0]!r}?" if near else ""))
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
        tags = {name: one.pop(name, "") for name in TAGS}
        settings = {name: value for name, value in one.items() if name not in ("minutes", "autoattack", "notebooks")}
        config = configure(recipe, settings)
        yield Entry(config, minutes, autoattack, tags, model.get("cost", recipe.get("cost")) or "")


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
        run = train(entry.config, data_root=data_root, store=store, progress=progress)
        rows.append({**entry.tags, **_facts(run.config), "cost": entry.cost, "run": run})
    return pandas.DataFrame(rows, columns=COLUMNS)


def _facts(config):
    """The columns of `train_models` that a config tells."""
    p = {"ce": float("nan"), "pgd": 0.0, "wpgd": config.p}[config.method]
    label = config.method.upper() + (f" p={p:g}" if config.method == "wpgd" else "")
    return {"data": Path(config.data).name, "network": config.network, "method": config.method, "p": p,
            "lam": config.lam, "eps": config.eps, "seed": config.seed, "label": label}


# --- until the profiles are the plans ---

@dataclass(frozen=True)
class Plan:
    """A plan file, read and checked."""

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
