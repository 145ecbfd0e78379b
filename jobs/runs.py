"""The runs of a store: which there are, how they go, and what each was."""
import dataclasses
import fnmatch
import shutil
import time
import warnings
from contextlib import ExitStack
from pathlib import Path

from filelock import FileLock, Timeout

from helpers.profiles import suggest
from helpers.training import TrainConfig, configure, default_store
from helpers.training.config import as_json, check_names
from helpers.training.manifest import read_json
from helpers.training.store import finished


def find(store=None, **wanted):
    """Folders of the finished runs whose config has these values: ``find(store, data="cifar10", method="pgd")``."""
    fields = {item.name: item.default for item in dataclasses.fields(TrainConfig)}
    check_names(wanted, [*fields, "data_fingerprint", "recipe_version", "cost_digest"])
    wanted, folders = {name: as_json(value) for name, value in wanted.items()}, []
    for file in _configs(store):
        if finished(file.parent):
            try:
                values = {**fields, **read_json(file)}
                if all(values.get(name) == value for name, value in wanted.items()):
                    folders.append(file.parent)
            except ValueError as error:
                warnings.warn(f"left out: {error}", stacklevel=2)
    return folders


def overview(store=None):
    """All runs of a store: {folder: "done" or "unfinished", its size, days since something of it was written}."""
    found = {}
    for file in _configs(store):
        facts = [one.stat() for one in file.parent.rglob("*") if one.is_file()]
        size, age = sum(one.st_size for one in facts), time.time() - max(one.st_mtime for one in facts)
        state = "done" if finished(file.parent) else "unfinished"
        found[file.parent] = f"{state}, {size / 1e6:.1f} MB, {age / 86400:.1f} days old"
    return found


def remove(patterns, store=None):
    """Delete the runs of a store that have these names, or match them ("*_CE_*"), with all that lies in their folders.

    Returns their names.  A ValueError, before anything is deleted, for a name that no run has, and for a run that is
    being trained.
    """
    folders = {folder.name: folder for folder in overview(store)}
    chosen = {pattern: fnmatch.filter(folders, pattern) for pattern in patterns}
    for pattern, names in chosen.items():
        if not names:
            raise ValueError(f"no run in {store or default_store()} is called {pattern!r}.{suggest(pattern, folders)}")
    names = sorted(set().union(*chosen.values()))
    with ExitStack() as stack:
        for name in names:
            try:
                stack.enter_context(FileLock(folders[name] / ".lock", timeout=0))
            except Timeout:
                raise ValueError(f"{folders[name]} is being trained by another process: stop it first") from None
        for name in names:
            (folders[name] / "metrics.json").unlink(missing_ok=True)  # first: half a run is none
            shutil.rmtree(folders[name])
    return names


def config_of(folder):
    """The `TrainConfig` of a run, from its folder in a store or an export."""
    settings, known = read_json(Path(folder) / "config.json"), [item.name for item in dataclasses.fields(TrainConfig)]
    if "@" in str(settings.get("cost")):  # a matrix that no text can name lies beside
        settings["cost"] = {"values": str(Path(folder) / "cost.csv"), "symmetric": False}
    return configure({name: value for name, value in settings.items() if name in known})


def _configs(store):
    return sorted(Path(store or default_store()).glob("*/config.json"))
