"""Which parameters of a notebook are not those of its profile."""
import dataclasses

from helpers import profiles
from helpers.training.config import as_json
from helpers.training.plan import FIELDS, TAGS, expand


def changed(notebook, given):
    """The parameters of a notebook that are not those of its profile, {name: value}, for `results.Results`.

    Parameters
    ----------
    notebook : str, such as "01_toy_boundaries"
    given : dict that holds the parameters, ``globals()`` where they are still as they were given

    Returns
    -------
    dict
        Where models differ, the settings in which they do.  {} for a profile that does not come with the study: its
        results are one's own anyway.
    """
    path = profiles.FOLDER / f"{given['profile']}.yaml"
    if not path.is_file():
        return {}
    # What a profile leaves out is as in quick, which sets all.
    wanted = profiles.parameters(notebook, *map(profiles.read, (profiles.FOLDER / "quick.yaml", path)))
    planned, recipe = wanted.pop("models", []), wanted.pop("recipe", {})
    found = {name: given[name] for name, value in wanted.items() if name in given and given[name] != value}
    if "models" in given:
        ours, theirs = (_settings(expand(*which)) for which in (
            (given["models"], given["recipe"]), (planned, recipe)))
        if sorted(map(str, ours)) != sorted(map(str, theirs)):
            several = {name: [{row[name] for row in rows} for rows in (ours, theirs)] for name in (*FIELDS, *TAGS)}
            varied = {name: ", ".join(sorted(mine)) for name, (mine, planned) in several.items() if mine != planned}
            found |= varied or {"models": "of your own"}
    return found


def _settings(entries):
    """All settings of some runs as texts; the cost is the one that the profile names, also for CE and PGD."""
    return [{name: str(as_json(value)) for name, value in
             {**dataclasses.asdict(entry.config), **entry.tags, "cost": entry.cost}.items()} for entry in entries]
