"""As many whole runs of a profile as a few minutes of a GPU hold: `python -m jobs sprint --sprint 9`.

A call times some steps, chooses the epochs once and for all, and then trains, evaluates and brings home run by run.
Runs that are in ``results/*/runs`` already are left out, so that every call adds to those before.
"""
import dataclasses
import hashlib
import itertools
import re
import shutil
import tarfile
import time
from pathlib import Path

import torch

from helpers import data
from helpers.files import write_atomic
from helpers.training.compiling import epoch_flop
from helpers.training.launch import OutOfTime, new_accelerator
from helpers.training.loop import Trainer, train
from helpers.training.store import exported, finished, folder_of, prepare
from jobs.evaluate import evaluate_planned
from jobs.export import export_run

EPOCHS = range(8, 13)
STEPS = 20  # that are timed
# Beside training: validation, evaluation and files, as a share of it; until the first run tells.
OVERHEAD = 0.25


def sprint(entries, settings, minutes, out, *, data_root=None, store=None, files=8, megabytes=15):
    """Train and evaluate the runs of a profile, in its order, one after the other while a whole one still fits.

    Parameters
    ----------
    entries, settings : of `plan.read_plan`
    minutes : float, that all of it may take
    out : Path, where it is brought: ``runs.tar`` with all small files, ``<run>/weights*.safetensors`` in float16 of as
        many runs as fit, the first ones first, with _ for = in their names
    files, megabytes : how many files may be brought, and how large each

    Returns
    -------
    int, 0 where a run was finished, 3 (as where time is over) where none was
    """
    began = time.monotonic()
    end, stage = began + 60 * minutes, Path(out).with_name(Path(out).name + ".stage")
    join_parts(data_root or data.default_root())
    planned = [prepare(entry.config, data_root, store) for entry in entries]
    print(f"{planned[0].dataset.name}: data fingerprint {planned[0].dataset.fingerprint}", flush=True)
    pace, compiled = _pace(planned[0])
    seconds = [epoch_flop(run) * pace for run in planned]
    known = _chosen(planned, store)
    length = known or max(EPOCHS, key=lambda one: (_fitting(seconds, one, end), one))
    print(f"{length} epochs{', as the runs that are there' if known else ''}", flush=True)
    done, slower, beside = {}, 1.0, None  # than predicted; seconds that a run takes beside training
    for entry, run, epoch in zip(entries, planned, seconds):
        config, folder = dataclasses.replace(entry.config, epochs=length), _folder(run, length, store)
        if exported(folder.name):
            continue
        predicted = 0 if finished(folder) else length * epoch
        needed = predicted and slower * predicted + (OVERHEAD * predicted if beside is None else beside)
        if time.monotonic() + needed > end:
            print(f"{config.label}: left out, it takes {needed / 60:.1f} minutes", flush=True)
            continue
        started = time.monotonic()
        try:
            run = train(config, data_root=data_root, store=store, compile=compiled, deadline=end)
        except OutOfTime as stop:
            print(stop, flush=True)
            break
        evaluate_planned(run, end, autoattack=entry.autoattack, **settings)
        export_run(run.folder, stage, "float16", megabytes * 2 ** 20)
        done[run.folder.name] = run
        if predicted:
            trained = run.metrics["seconds"]
            slower, beside = max(slower, trained / predicted), max(beside or 0, time.monotonic() - started - trained)
        _bring(done, stage, Path(out), files)
    for run in done.values():  # what is left goes into all test images in place of a subset
        evaluate_planned(run, end - 10, **{**settings, "images": 0})
        export_run(run.folder, stage, "float16", megabytes * 2 ** 20)
    if done:
        _bring(done, stage, Path(out), files)
    print(f"{len(done)} runs in {(time.monotonic() - began) / 60:.1f} minutes", flush=True)
    return 0 if done else 3


def join_parts(root):
    """Put data sets together that lie in parts ``cifar10.npz.part*``, and compare them with ``cifar10.npz.sha256``."""
    parts = sorted(Path(root).glob("*.part*"))
    for name, files in itertools.groupby(parts, key=lambda file: file.name.partition(".part")[0]):
        target, said = Path(root) / name, Path(root) / f"{name}.sha256"
        if not target.exists():
            write_atomic(target, b"".join(file.read_bytes() for file in files))
        found = hashlib.sha256(target.read_bytes()).hexdigest()
        if said.exists() and said.read_text().split()[0] != found:
            target.unlink()
            raise ValueError(f"{target} is not what {said.name} says: a part is missing or damaged, bring it again")
        print(f"{name}: SHA-256 {found}", flush=True)


def _pace(run):
    """Seconds a FLOP that training takes, by the faster of eager and compiled; and which it is."""
    found, some = {}, run.parts.train[:STEPS * run.config.batch_size]
    part = dataclasses.replace(run, parts=run.parts._replace(train=some), folder=run.folder / "timed")
    for compiled in (False, True) if torch.cuda.is_available() else (False,):
        trainer = Trainer(part, new_accelerator(), compile=compiled)
        if compiled and not trainer.compiled:
            continue
        trainer.run_epoch()  # the first steps are slower
        before = trainer.seconds
        trainer.run_epoch()
        seconds = trainer.seconds - before
        found[compiled] = seconds / epoch_flop(part)
        print(f"{'compiled' if compiled else 'eager'}: {len(some) / seconds:.0f} images/s, "
              f"{trainer.compile_seconds:.0f} s to compile", flush=True)
    best = min(found, key=found.get)
    return found[best], best


def _fitting(seconds, epochs, end):
    """How many of the runs fit, with so many epochs of so many seconds each."""
    left, count = end - time.monotonic(), 0
    for epoch in seconds:
        needed = (1 + OVERHEAD) * epochs * epoch
        if needed <= left:
            left, count = left - needed, count + 1
    return count


def _folder(run, epochs, store):
    """The folder of a planned run if it has so many epochs."""
    return folder_of(store, run.config.label, {**run.facts, "epochs": epochs})


def _chosen(planned, store):
    """The epochs of runs that earlier calls brought home, None without any."""
    for run, length in itertools.product(planned, EPOCHS):
        folder = _folder(run, length, store)
        if finished(folder) or exported(folder.name):
            return length
    return None


def _bring(runs, stage, out, files):
    """All small files as one, and weights as long as files may be brought."""
    out.mkdir(parents=True, exist_ok=True)
    kept = 1
    for name in runs:
        weights = sorted((stage / name).glob("weights*"))
        kept += len(weights)
        folder = out / re.sub(r"[^\w.-]", "_", name)  # "=" is refused by many a place that files are brought to
        for file in weights if kept <= files else ():
            folder.mkdir(exist_ok=True)
            shutil.copyfile(file, folder / file.name)
    with tarfile.open(out / "runs.tar", "w") as archive:
        for file in sorted(stage.glob("*/*")):
            if not file.name.startswith("weights"):
                archive.add(file, file.relative_to(stage).as_posix())
