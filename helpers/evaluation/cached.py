"""Evaluate a trained run and keep the answer beside its weights, so that no attack is paid for twice."""

import contextlib
import hashlib
import json
import os
import warnings
import zipfile
from pathlib import Path

import numpy as np
import torch

from .predict import Evaluation, evaluate
from .stratified import stratified_subset

EVALUATION_VERSION = 1
"""Part of every key: raise it when `evaluate` changes its answers, and old ones are no longer found."""


def evaluate_run(run, attack=None, *, split="test", limit=None, batch_size=500, allow_absent=False):
    """Evaluate `run.model` on a split of `run.dataset`, or load the answer of an earlier call.

    The answer is kept in run.folder/evaluations/<key>.npz, with <key>.json saying what it is. The key
    hashes the attack's `describe()`, the split, the limit, the batch size, the images and labels, and
    the model's weights, so that a changed model or data set is evaluated afresh. A damaged file too.

    Parameters
    ----------
    run : Run
        With .model, .dataset (x_test, y_test, num_classes), .validation (images, labels) and .folder.
    attack : callable (model, x, y) -> x_adv, optional
        Its `describe()` must return a dict of plain JSON types; without that method nothing is kept.
    split : {"test", "validation"}
    limit : int, optional
        Evaluate a fixed class-stratified subset of this many images.
    batch_size : int
    allow_absent : bool
        As in `evaluate`.

    Returns
    -------
    Evaluation
        Its `seconds` are those of the original computation.

    Raises
    ------
    ValueError
        For an unknown split, a limit below the number of classes, and whatever `evaluate` refuses.
    """
    images, labels = _split(run, split)
    chosen = torch.from_numpy(stratified_subset(labels, limit))
    images, labels = torch.as_tensor(images), torch.as_tensor(labels)
    images, labels = images[chosen.to(images.device)], labels[chosen.to(labels.device)]

    def compute():
        return evaluate(
            run.model, images, labels, attack,
            num_classes=run.dataset.num_classes, batch_size=batch_size, allow_absent=allow_absent,
        )  # fmt: skip

    if attack is not None and not hasattr(attack, "describe"):
        return compute()
    about = {
        "version": EVALUATION_VERSION,
        "attack": None if attack is None else attack.describe(),
        "split": split,
        "limit": limit,
        "batch_size": batch_size,
        "images": _fingerprint([images, labels]),
        "weights": _fingerprint(_state(run.model)),
    }
    path = Path(run.folder) / "evaluations" / f"{_key(about)}.npz"
    found = _load(path, labels)
    if found is None:
        found = compute()
        _save(path, found, about)
    return found


def _split(run, split):
    """Return the images and labels of a split."""
    if split == "test":
        return run.dataset.x_test, run.dataset.y_test
    if split == "validation":
        return run.validation
    raise ValueError(f'split must be "test" or "validation", got {split!r}.')


def _state(model):
    """Return the model's parameters and buffers in order; their names change when a model is compiled."""
    return list(model.state_dict().values()) if isinstance(model, torch.nn.Module) else []


def _fingerprint(tensors):
    """Return a short hash of the types, shapes and bytes of some tensors."""
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()[:16]


def _key(about):
    """Return the file name for an evaluation: a hash of what it depends on."""
    try:
        text = json.dumps(about, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"describe() of the attack must return plain JSON types ({error}); without a describe method "
            "the attack is evaluated but not kept."
        ) from None
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _load(path, labels):
    """Return the kept Evaluation, or None if there is none that can be read and belongs to these labels."""
    try:
        found = _read(path)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    return found if np.array_equal(found.labels, labels.cpu().numpy()) else None


def _read(path):
    """Return the Evaluation of an .npz file."""
    with np.load(path, allow_pickle=False) as data:
        return Evaluation(
            data["labels"], data["predictions"], int(data["num_classes"]), float(data["seconds"]),
            bool(data["allow_absent"]),
        )  # fmt: skip


def kept_evaluations(folder):
    """Return what `evaluate_run` keeps beside a run, a list of (about, Evaluation); `about` is the JSON's dict."""
    files = (Path(folder) / "evaluations").glob("*.json")
    return [(json.loads(file.read_text(encoding="utf-8")), _read(file.with_suffix(".npz"))) for file in files]


def pack_evaluations(folder, path):
    """Write all that `evaluate_run` keeps beside a run as one small file: the answer to every image, no image.

    With it, paired intervals can be computed again where the run is restored, without an attack.

    Parameters
    ----------
    folder : Path
        Of a run.
    path : Path
        Of the new .npz file; the same evaluations give the same bytes. Without any, nothing is written.
    """
    files = sorted((Path(folder) / "evaluations").glob("*.json"))
    packed = {}
    for file in files:
        packed[file.stem] = np.array(file.read_text(encoding="utf-8"))
        for name, value in vars(_read(file.with_suffix(".npz"))).items():
            value = np.asarray(value)
            small = value.dtype.kind == "i" and value.size and 0 <= value.min() and value.max() < 256
            packed[f"{file.stem}.{name}"] = value.astype(np.uint8) if small else value
    if packed:
        np.savez_compressed(path, **packed)


def unpack_evaluations(path, folder):
    """Put the evaluations of `pack_evaluations` beside a run, where `evaluate_run` finds them.

    Parameters
    ----------
    path : Path
        Of the .npz file.
    folder : Path
        Of the run with the same weights. With other weights nothing is found, and everything computed afresh.
    """
    with np.load(path, allow_pickle=False) as packed:
        for stem in (name for name in packed.files if "." not in name):
            values = {name.partition(".")[2]: packed[name] for name in packed.files if name.startswith(f"{stem}.")}
            for name in ("labels", "predictions"):
                values[name] = values[name].astype(np.int64)
            _write(Path(folder) / "evaluations" / f"{stem}.npz", str(packed[stem]), values)


def _save(path, evaluation, about):
    """Write the evaluation; a folder that cannot be written costs only a warning."""
    about = {**about, "error": evaluation.error, "seconds": evaluation.seconds, "torch": torch.__version__}
    try:
        _write(path, json.dumps(about, indent=2) + "\n", vars(evaluation))
    except OSError as error:
        warnings.warn(f"the evaluation could not be kept in {path.parent}: {error}.", stacklevel=3)


def _write(path, about, values):
    """Write an evaluation and what it is, complete or not at all."""
    part = path.with_name(f".{path.stem}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_suffix(".json").write_text(about, encoding="utf-8")
        with open(part, "wb") as file:
            np.savez_compressed(file, **values)
        os.replace(part, path)
    except OSError:
        with contextlib.suppress(OSError):
            part.unlink()
        raise
