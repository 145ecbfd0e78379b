"""Evaluate a trained run and keep the answer beside its weights, so that no attack is paid for twice."""

import contextlib
import hashlib
import json
import os
import warnings
import zipfile
import zlib
from pathlib import Path

import numpy as np
import torch

from .predict import Evaluation, evaluate
from .stratified import stratified_subset

EVALUATION_VERSION = 2
"""Part of every key: raise it when `evaluate` changes its answers, and old ones are no longer found."""

UNREADABLE = (OSError, ValueError, KeyError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)


def evaluate_run(run, attack=None, *, split="test", limit=None, batch_size=500, allow_absent=False):
    """Evaluate `run.model` on a split of `run.dataset`, or load the answer of an earlier call.

    The answer is kept in run.folder/evaluations/<key>.npz, with <key>.json saying what it is. The key
    hashes the attack's `describe()`, the split, the limit, the images and labels, and the model's
    weights, so that a changed model or data set is evaluated afresh. A damaged file too. The batch size
    is not hashed: it decides which random start an image gets, and a machine may choose its own.

    Parameters
    ----------
    run : Run
        With .model, .dataset (x_test, y_test, num_classes), .validation (images, labels) and .folder.
    attack : callable (model, x, y) -> x_adv, optional
        Its `describe()` must return a dict of plain JSON types; without that method, or with an
        `is_described` that is false (PGD on a loss of your own), nothing is kept.
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

    if not is_described(attack):
        return compute()
    about = {
        "version": EVALUATION_VERSION,
        "attack": None if attack is None else attack.describe(),
        "split": split,
        "limit": limit,
        "images": _fingerprint([images, labels]),
        "weights": weights_fingerprint(run.model),
    }
    path = Path(run.folder) / "evaluations" / f"{_key(about)}.npz"
    found = _load(path, labels)
    if found is None:
        found = compute()
        _save(path, found, {**about, "batch_size": batch_size})
    return found


def is_described(attack):
    """Return whether an attack (None: none) says all that its answers depend on."""
    return attack is None or (hasattr(attack, "describe") and getattr(attack, "is_described", True))


def weights_fingerprint(model):
    """Return a short hash of a model's parameters and buffers; "weights" of what is kept beside its run."""
    return _fingerprint(_state(model))


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


_NOT_HASHED = ("batch_size", "error", "seconds", "torch")


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
    except UNREADABLE:
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
    """Return what `evaluate_run` keeps beside a run, a list of (about, Evaluation); `about` is the JSON's dict.

    Damaged files and those of another `EVALUATION_VERSION` are left out, as `evaluate_run` does not find them.
    """
    found = []
    for file in sorted((Path(folder) / "evaluations").glob("*.json")):
        try:
            about, answer = json.loads(file.read_text(encoding="utf-8")), _read(file.with_suffix(".npz"))
        except UNREADABLE:
            continue
        if about.get("version") == EVALUATION_VERSION:
            found.append((about, answer))
    return found


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
    packed = {}
    for number, (about, answer) in enumerate(kept_evaluations(folder)):
        packed[f"{number}"] = np.array(json.dumps(about, indent=2) + "\n")
        for name, value in vars(answer).items():
            value = np.asarray(value)
            small = value.dtype.kind == "i" and value.size and 0 <= value.min() and value.max() < 256
            packed[f"{number}.{name}"] = value.astype(np.uint8) if small else value
    if packed:
        np.savez_compressed(path, **packed)


def unpack_evaluations(path, folder, weights):
    """Put the evaluations of `pack_evaluations` beside a run, where `evaluate_run` finds them.

    Parameters
    ----------
    path : Path
        Of the .npz file.
    folder : Path
        Of the run.
    weights : str
        `weights_fingerprint` of the run's model. What other weights (rounded ones, say) answered is left out.
    """
    with np.load(path, allow_pickle=False) as packed:
        for number in (name for name in packed.files if "." not in name):
            about = json.loads(str(packed[number]))
            if about["weights"] != weights:
                continue
            values = {name.partition(".")[2]: packed[name] for name in packed.files if name.startswith(f"{number}.")}
            for name in ("labels", "predictions"):
                values[name] = values[name].astype(np.int64)
            key = _key({name: value for name, value in about.items() if name not in _NOT_HASHED})
            _write(Path(folder) / "evaluations" / f"{key}.npz", str(packed[number]), values)


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
        with open(part, "wb") as file:
            np.savez_compressed(file, **values)
        os.replace(part, path)
        # Last: what has no description is not counted among what is kept.
        path.with_suffix(".json").write_text(about, encoding="utf-8")
    except OSError:
        with contextlib.suppress(OSError):
            part.unlink()
        raise
