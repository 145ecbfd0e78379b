"""What a profile gives a notebook, the trained models of these parameters, and which of them were changed."""
import dataclasses
import os
import sys
from pathlib import Path

from helpers import profiles

FOR_PLANS = ("notebooks", "minutes", "autoattack")  # what a model has beside what a notebook reads
COLUMNS = ("data", "network", "method", "p", "lam", "cost", "eps", "seed", "label", "run")


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


def train_models(models, recipe, *, data_root=None, store=None, progress=True, train_missing=True, weights=False):
    """Train the models of a profile, or find them, or resume them: a row a run.

    Parameters
    ----------
    models, recipe : see `helpers.training.expand`
    data_root, store : see `helpers.training.train`
    progress : bool, a line for each run as `train` has it; False: one line for all of them, for many that are short
    train_missing : bool
        False: nothing is trained.  Runs that are neither finished nor exported with their answers
        (``results/*/runs/``) have no row; of the exported ones `run.model` is None.
    weights : bool, with train_missing False: every network itself is needed, and read from exported weights, too

    Returns
    -------
    DataFrame
        paper_data, paper_network, panel ("" where the profile gives none), data, network, method ("ce", "pgd",
        "wpgd"), p (NaN for CE, 0.0 for PGD), lam, cost (as the profile names it, for `costs.from_spec`), eps (in
        1/255; 0.0 for CE), seed, label ("CE", "PGD", "WPGD p=2.5"), run (a `Run`).

    Raises
    ------
    FileNotFoundError
        There are no `weights` of a run.
    """
    import pandas  # here, since the runner does not wait for it, nor for torch
    from tqdm import tqdm

    from helpers.training.loop import train
    from helpers.training.plan import TAGS, expand
    from helpers.training.store import being_trained, exported, finished, prepare, weights_of
    entries, found, rows = expand(models, recipe), {}, []
    bar = tqdm(total=len(entries), desc="models", file=sys.stdout, ncols=110, leave=False,
               disable=progress or "WPGD_STATUS" in os.environ)  # the runner has a line of its own
    for patient in (False, True):  # first what no other notebook trains just now
        for number, entry in enumerate(entries):
            if number in found:
                continue
            folder = prepare(entry.config, data_root, store).folder
            if being_trained(folder) and not patient:
                continue
            if train_missing or finished(folder):
                found[number] = train(entry.config, data_root=data_root, store=store, progress=progress)
            elif home := exported(folder.name):
                found[number] = prepare(entry.config, data_root, home.parent).read(weights=weights)
            elif weights:
                weights_of(folder.name, store)  # says that there are none
            bar.update(len(found) - bar.n)
    bar.close()
    for number, run in sorted(found.items()):
        entry, config = entries[number], entries[number].config
        p = {"ce": float("nan"), "pgd": 0.0, "wpgd": config.p}[config.method]
        label = config.method.upper() + (f" p={p:g}" if config.method == "wpgd" else "")
        label += f" mu={config.mu:g}" if config.mu < float("inf") else ""
        rows.append({**entry.tags, "data": Path(config.data).name, "network": config.network, "method": config.method,
                     "p": p, "lam": config.lam, "cost": entry.cost, "eps": config.eps, "seed": config.seed,
                     "label": label, "run": run})
    return pandas.DataFrame(rows, columns=(*TAGS, *COLUMNS))


def by_seed(trained, *model):
    """The rows of `train_models` in the order of their seeds: lists of models' runs belong together by position.

    `model` are the columns that tell models apart.  A seed after one that a model lacks is left out, and told.  Raises
    ValueError where two runs of a model have one seed: they differ in something else, and are no repetition.
    """
    seeds, ordered = sorted(trained.seed.unique()), trained.sort_values("seed", kind="stable")
    for names, rows in ordered.groupby(list(model), dropna=False, sort=False):
        if rows.seed.duplicated().any():
            differ = [name for name in COLUMNS[:-1] if name != "seed" and rows[name].astype(str).nunique() > 1]
            raise ValueError(f"{', '.join(map(str, names))}: these {len(rows)} runs would count as seeds of one model, "
                             f"but they differ in {', '.join(differ) or 'a setting'}: leave all but one of them out.")
    place = ordered.groupby(list(model), dropna=False).cumcount()
    kept = ordered[ordered.seed == place.map(dict(enumerate(seeds)))]
    for row in ordered.drop(kept.index).itertuples():
        print(f"{row.label}, seed {row.seed}: left out, since a seed before it is missing")
    return kept.reset_index(drop=True)


def changed(notebook, given):
    """The parameters of a notebook that are not those of its profile, {name: value}, for `results.Results`.

    Parameters
    ----------
    notebook : str, such as "01_toy_boundaries"
    given : dict that holds the parameters, ``globals()`` where they are still as they were given

    Returns
    -------
    dict
        As `plain` gives them; where models differ, the settings in which they do.  {} for a profile that does not come
        with the study: its results are one's own anyway.
    """
    path = profiles.FOLDER / f"{given['profile']}.yaml"
    if not path.is_file():
        return {}
    # What a profile leaves out is as in quick, which sets all.
    wanted = resolve(notebook, *map(profiles.read, (profiles.FOLDER / "quick.yaml", path)))
    planned = wanted.pop("models", []), wanted.pop("recipe", {})
    ours, theirs = ({name: plain(one[name]) for name in wanted if name in given} for one in (given, wanted))
    found = {name: ours[name] for name in ours if ours[name] != theirs[name]}
    if "models" in given:
        ours, theirs = _settings(given["models"], given["recipe"]), _settings(*planned)
        if sorted(map(str, ours)) != sorted(map(str, theirs)):
            several = {name: [{row[name] for row in rows} for rows in (ours, theirs)] for name in (ours + theirs)[0]}
            varied = {name: ", ".join(sorted(mine)) for name, (mine, other) in several.items() if mine != other}
            found |= varied or {"models": "of your own"}
    return found


def plain(value):
    """A parameter as JSON has it, to compare, hash and tell it; a table with names is the mapping of its pairs."""
    from helpers.training.config import as_json  # imports torch, which the runner does not wait for
    if isinstance(value, dict) and "values" in value:
        return as_json(value | {"values": plain(value["values"])})
    if hasattr(value, "to_frame") and not hasattr(value, "columns"):
        value = value.to_frame()  # a CostMatrix
    if hasattr(value, "columns"):
        value = {f"{true} -> {answer}": cost for true, row in value.iterrows() for answer, cost in row.items()}
    return as_json(value)


def _settings(models, recipe):
    """All settings of some runs as texts; the cost is the one that the profile names, also for CE and PGD."""
    from helpers.training.config import as_json  # imports torch, which the runner does not wait for
    from helpers.training.plan import expand

    return [{name: str(as_json(value)) for name, value in
             {**dataclasses.asdict(entry.config), **entry.tags, "cost": entry.cost}.items()}
            for entry in expand(models, recipe)]
