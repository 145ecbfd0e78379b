"""The runs of a store: which there are, how they go, and whether one comes out the same if it is trained again."""
import dataclasses
import fnmatch
import json
import shutil
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from filelock import FileLock, Timeout

from helpers import costs
from helpers.profiles import suggest
from helpers.training import default_store, train
from helpers.training.plan import read_plan
from helpers.training.store import finished

RESULTS = ("train_loss", "val_ne", "val_ae", "epochs", "train_images", "parameters")  # times are none


def overview(store=None):
    """All runs of a store: {folder: "done" or "unfinished", its size, days since something of it was written}."""
    found = {}
    for file in sorted(Path(store or default_store()).glob("*/config.json")):
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


def verify(exported, data_root):
    """Train an exported run again; returns the exit status: 0 for the same results, 1 otherwise."""
    config = read_plan(exported / "config.json")[0][0].config
    if costs.fitted(config.cost):  # another processor would fit a slightly different matrix
        config = dataclasses.replace(config, cost=costs.read_csv(exported / "cost.csv", name=config.cost))
    with tempfile.TemporaryDirectory() as store:
        run = train(config, data_root=data_root, store=store)
        old, new = (json.loads((folder / "metrics.json").read_text()) for folder in (exported, run.folder))
    different = [name for name in RESULTS if old[name] != new[name]]
    for name in different:
        print(f"{name}: {new[name]}, exported: {old[name]}")
    print(f"{config.label}: {'differs' if different else 'the same results'}")
    return 1 if different else 0
