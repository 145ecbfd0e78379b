"""As many whole runs of a profile as a few minutes of a GPU hold: `python -m helpers.training sprint --sprint 9`.

A call times some steps, chooses the epochs once and for all, and then trains, evaluates and brings home run by run.
Runs that are in ``results/*/runs`` already are left out, so that every call adds to those before.
"""
import dataclasses
import hashlib
import itertools
import shutil
import tarfile
import time
from pathlib import Path

import torch

from helpers import data
from helpers.training.export import export_run
from helpers.training.launch import OutOfTime, new_accelerator
from helpers.training.loop import Trainer, train
from helpers.training.plan import evaluate_planned
from helpers.training.store import exported, finished, prepare

EPOCHS = range(8, 13)
STEPS = 20  # that are timed
# Beside training: validation, evaluation and files; until the first run tells.
OVERHEAD = 1.25


def sprint(entries, settings, minutes, out, *, data_root=None, store=None, files=8, megabytes=15):
    """Train and evaluate the runs of a profile, in its order, one after the other while a whole one still fits.

    Parameters
    ----------
    entries, settings : of `plan.read_plan`
    minutes : float, that all of it may take
    out : Path, where it is brought: ``runs.tar`` with all small files, ``<run>/weights*.safetensors`` in float16 of as
        many runs as fit, the first ones first
    files, megabytes : how many files may be brought, and how large each

    Returns
    -------
    int, 0 where a run was finished, 3 (as where time is over) where none was
    """
    began = time.monotonic()
    end, stage = began + 60 * minutes, Path(out).with_name(Path(out).name + ".stage")
    join_parts(data_root or data.default_root())
    first = prepare(entries[0].config, data_root, store)
    print(f"{first.dataset.name}: data fingerprint {first.dataset.fingerprint}", flush=True)
    pace, compiled = _pace(first)
    known = _chosen(entries, data_root, store)
    images = len(first.parts.train)
    length = known or max(EPOCHS, key=lambda one: (_fitting(entries, one, images * pace, end), one))
    print(f"{length} epochs{', as the runs that are there' if known else ''}", flush=True)
    done, ratio = {}, OVERHEAD
    for entry in entries:
        config = dataclasses.replace(entry.config, epochs=length)
        run, predicted = prepare(config, data_root, store), length * config.passes * images * pace
        if exported(run.folder.name):
            continue
        predicted *= not finished(run.folder)
        if time.monotonic() + ratio * predicted > end:
            print(f"{config.label}: left out, it takes {ratio * predicted / 60:.1f} minutes", flush=True)
            continue
        started = time.monotonic()
        try:
            run = train(config, data_root=data_root, store=store, compile=compiled, deadline=end)
        except OutOfTime as stop:
            print(stop, flush=True)
            break
        evaluate_planned(run, end, autoattack=entry.autoattack, **settings)
        done[run.folder.name] = run
        if predicted:
            ratio = max(ratio if len(done) > 1 else 1.0, (time.monotonic() - started) / predicted)
        _bring(done, stage, Path(out), files, megabytes)
    for run in done.values():  # what is left goes into all test images in place of a subset
        evaluate_planned(run, end - 10, **{**settings, "images": 0})
    if done:
        _bring(done, stage, Path(out), files, megabytes)
    print(f"{len(done)} runs in {(time.monotonic() - began) / 60:.1f} minutes", flush=True)
    return 0 if done else 3


def join_parts(root):
    """Put data sets together that lie in parts ``cifar10.npz.part*``, and compare them with ``cifar10.npz.sha256``."""
    parts = sorted(Path(root).glob("*.part*"))
    for name, files in itertools.groupby(parts, key=lambda file: file.name.partition(".part")[0]):
        target, said = Path(root) / name, Path(root) / f"{name}.sha256"
        if not target.exists():
            target.write_bytes(b"".join(file.read_bytes() for file in files))
        found = hashlib.sha256(target.read_bytes()).hexdigest()
        if said.exists() and said.read_text().split()[0] != found:
            target.unlink()
            raise ValueError(f"{target} is not what {said.name} says: a part is missing or damaged, bring it again")
        print(f"{name}: SHA-256 {found}", flush=True)


def _pace(run):
    """Seconds that a pass over an image takes in training, of the faster of eager and compiled; and which it is."""
    found, some = {}, run.parts.train[:STEPS * run.config.batch_size]
    part = dataclasses.replace(run, parts=run.parts._replace(train=some), folder=run.folder / "timed")
    for compiled in (False, True) if torch.cuda.is_available() else (False,):
        trainer = Trainer(part, new_accelerator(), compile=compiled)
        if compiled and not trainer.compiled:
            continue
        trainer.run_epoch()  # the first steps are slower
        before = trainer.seconds
        trainer.run_epoch()
        rate = len(some) / (trainer.seconds - before)
        found[compiled] = 1 / rate / run.config.passes
        print(f"{'compiled' if compiled else 'eager'}: {rate:.0f} images/s, {trainer.compile_seconds:.0f} s to compile",
              flush=True)
    best = min(found, key=found.get)
    return found[best], best


def _fitting(entries, epochs, seconds, end):
    """How many of the runs fit, with so many epochs, where a pass over all images takes so many seconds."""
    left, count = end - time.monotonic(), 0
    for entry in entries:
        needed = OVERHEAD * epochs * entry.config.passes * seconds
        if needed <= left:
            left, count = left - needed, count + 1
    return count


def _chosen(entries, data_root, store):
    """The epochs of runs that earlier calls brought home, None without any."""
    for entry, length in itertools.product(entries, EPOCHS):
        folder = prepare(dataclasses.replace(entry.config, epochs=length), data_root, store).folder
        if finished(folder) or exported(folder.name):
            return length
    return None


def _bring(runs, stage, out, files, megabytes):
    """All small files as one, and weights as long as files may be brought."""
    out.mkdir(parents=True, exist_ok=True)
    kept = 1
    for run in runs.values():
        folder = export_run(run.folder, stage, "float16", megabytes * 2 ** 20)
        weights = sorted(folder.glob("weights*"))
        kept += len(weights)
        for file in weights if kept <= files else ():
            (out / folder.name).mkdir(exist_ok=True)
            shutil.copyfile(file, out / folder.name / file.name)
    with tarfile.open(out / "runs.tar", "w") as archive:
        for file in sorted(stage.glob("*/*")):
            if not file.name.startswith("weights"):
                archive.add(file, file.relative_to(stage).as_posix())
