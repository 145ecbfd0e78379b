"""What a profile gives a notebook, and which parameters of a notebook are not those."""
import dataclasses

from helpers import profiles

FOR_PLANS = ("notebooks", "minutes", "autoattack")  # what a model has beside what a notebook reads


def resolve(notebook, *contents):
    """What profiles give a notebook ("01_toy_boundaries"), {name: value}, the last one over those before it.

    ``models`` are those that name its number, and ``recipe`` theirs, where the last profile has any.
    """
    found = {}
    for content in contents:
        found |= content["common"] | content["notebooks"].get(notebook, {})
    if contents[-1]["models"]:
        chosen = [model for model in contents[-1]["models"] if int(notebook[:2]) in model.get("notebooks", ())]
        found["models"] = [{key: model[key] for key in model if key not in FOR_PLANS} for model in chosen]
        found["recipe"] = contents[-1]["recipe"]
    return found


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
    wanted = resolve(notebook, *map(profiles.read, (profiles.FOLDER / "quick.yaml", path)))
    planned = wanted.pop("models", []), wanted.pop("recipe", {})
    found = {name: given[name] for name, value in wanted.items() if name in given and given[name] != value}
    if "models" in given:
        ours, theirs = _settings(given["models"], given["recipe"]), _settings(*planned)
        if sorted(map(str, ours)) != sorted(map(str, theirs)):
            several = {name: [{row[name] for row in rows} for rows in (ours, theirs)] for name in (ours + theirs)[0]}
            varied = {name: ", ".join(sorted(mine)) for name, (mine, other) in several.items() if mine != other}
            found |= varied or {"models": "of your own"}
    return found


def _settings(models, recipe):
    """All settings of some runs as texts; the cost is the one that the profile names, also for CE and PGD."""
    from helpers.training.config import as_json  # imports torch, which the runner does not wait for
    from helpers.training.plan import expand

    return [{name: str(as_json(value)) for name, value in
             {**dataclasses.asdict(entry.config), **entry.tags, "cost": entry.cost}.items()}
            for entry in expand(models, recipe)]
