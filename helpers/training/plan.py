"""The models of a profile: which runs they are."""
import dataclasses
import functools
import itertools
import json
import runpy
from typing import NamedTuple

from helpers import profiles
from helpers.training.config import TrainConfig, check_names, configure, typed

FIELDS = tuple(item.name for item in dataclasses.fields(TrainConfig))
TAGS = ("paper_data", "paper_network", "panel")  # what a model stands for in the paper
# What may be a list, a run each; the last one varies fastest.
VARIED = (*TAGS, "method", "cost", "p", "lam", "mu", "eps", "steps", "seed")
# What a model may say beside what it is; `notebooks` is for the runner.
BESIDE = {"minutes": float | None, "autoattack": int | None, "notebooks": list | None}


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
        The `VARIED` may be lists (of costs: of names and mappings, K rows of numbers are one): a run for each
        combination.  Runs that are the same (CE has no p) are one.
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
    check_names(model, (*FIELDS, *TAGS, *BESIDE))
    minutes, autoattack, _ = (typed(name, model.get(name), hint) for name, hint in BESIDE.items())
    several = {name: model[name] for name in VARIED if isinstance(model.get(name), list)
               and (name != "cost" or all(isinstance(one, str | dict) for one in model[name]))}
    for values in itertools.product(*several.values()):
        one = {**model, **dict(zip(several, values))}
        config = configure(recipe, {name: value for name, value in one.items() if name in FIELDS})
        tags = {name: one.get(name, "") for name in TAGS}
        yield Entry(config, minutes, autoattack or 0, tags, one.get("cost", recipe.get("cost", "")))


def read_plan(path):
    """The runs of a profile, each once: a list of Entry, and what it says under ``evaluate``.

    Raises ValueError or FileNotFoundError: one paragraph that names file and model.
    """
    profile, runs = profiles.read(profiles.find(path)), {}
    try:
        for file in profile["imports"]:
            import_file(file)
        for entry in expand(profile["models"], profile["recipe"]):
            runs.setdefault(json.dumps([entry.config.to_dict(), entry.autoattack]), entry)
        return list(runs.values()), profile["evaluate"]
    except ValueError as error:
        raise ValueError(f"profile {path}: {error}") from None


@functools.cache
def import_file(file):
    """Run a Python file that a profile imports, once a process."""
    try:
        runpy.run_path(file)
    except FileNotFoundError:
        raise ValueError(f"it imports {file!r}, which is not there") from None
