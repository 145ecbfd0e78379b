"""What a classifier answered, image by image: in memory (`Evaluation`) and on disk.

    <folder of a run>/evaluations/<key>.npz   an answer that `evaluation.evaluate_run` kept, its description inside
    <folder of an export>/answers.npz         all answers of a run in one file, in the same format
"""

import contextlib
import functools
import hashlib
import json
import os
import warnings
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from helpers.checks import as_labels

EVALUATION_VERSION = 2
"""Part of every key: raise it when `evaluate` changes its answers, and old ones are no longer found."""

_NOT_HASHED = ("batch_size", "error", "seconds", "torch")
_UNREADABLE = (OSError, ValueError, KeyError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What a classifier answered on a labelled set, and the error measures that follow from it.

    Parameters
    ----------
    labels, predictions : (N,) int64 arrays
        True and predicted classes, in the order of the images.
    num_classes : int
        K.
    seconds : float
        Wall-clock time that the predictions took, attack included.
    allow_absent : bool
        Whether a class may have no image; its row of `confusion` is then NaN.

    Raises
    ------
    ValueError
        For an empty set, unequal lengths, classes outside 0..K-1, or an absent class that is not allowed.
    """

    labels: np.ndarray
    predictions: np.ndarray
    num_classes: int
    seconds: float = 0.0
    allow_absent: bool = False

    def __post_init__(self):
        if self.num_classes < 2:
            raise ValueError(f"a classifier needs at least 2 classes, num_classes is {self.num_classes}.")
        labels = as_labels(self.labels, num_classes=self.num_classes).numpy(force=True)
        predictions = as_labels(self.predictions, len(labels), self.num_classes).numpy(force=True)
        object.__setattr__(self, "labels", labels.copy())
        object.__setattr__(self, "predictions", predictions.copy())
        absent = np.flatnonzero(self.counts.sum(axis=1) == 0)
        if len(absent) and not self.allow_absent:
            some = ", ".join(map(str, absent[:10])) + (f", ... ({len(absent)} in all)" if len(absent) > 10 else "")
            raise ValueError(f"no image of class {some} among the {len(labels)} evaluated ones, so its row of the "
                             "confusion matrix is undefined: add images of it, or pass allow_absent=True for NaN.")

    @property
    def correct(self):
        """(N,) bool: where the prediction is the label."""
        return self.labels == self.predictions

    @property
    def error(self):
        """Error in %: NE on clean images, AE on attacked ones (Sec. 2)."""
        return float(100.0 * np.mean(~self.correct))

    @property
    def counts(self):
        """(K, K) int64: images of class i (row) predicted as class j (column)."""
        codes = self.labels * self.num_classes + self.predictions
        return np.bincount(codes, minlength=self.num_classes**2).reshape(self.num_classes, self.num_classes)

    @property
    def confusion(self):
        """(K, K) float64: `counts` with rows that sum to 1 (the C of Def. 1, the M of Eq. 7)."""
        counts = self.counts
        totals = counts.sum(axis=1, keepdims=True)
        return np.divide(counts, totals, out=np.full(counts.shape, np.nan), where=totals > 0)

    @property
    def class_error(self):
        """(K,) float64: error in % within each true class."""
        return 100.0 * (1.0 - np.diagonal(self.confusion))


def is_described(attack):
    """Return whether an attack (None: none) says all that its answers depend on, so that they may be kept."""
    return attack is None or (hasattr(attack, "describe") and getattr(attack, "is_described", True))


def fingerprint(tensors):
    """Return a short hash of the types, shapes and bytes of some tensors."""
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()[:16]


def weights_fingerprint(model):
    """Return a short hash of a model's parameters and buffers in order; their names change when it is compiled."""
    return fingerprint(model.state_dict().values() if isinstance(model, torch.nn.Module) else [])


def find(folder, about, labels):
    """Return the answer kept in a run's folder under a description, None if none is readable and of these labels."""
    found = [answer for _, answer in _read(_path(folder, about)) if np.array_equal(answer.labels, labels.cpu().numpy())]
    return found[0] if found else None


def keep(folder, about, evaluation):
    """Keep an answer in a run's folder; one that cannot be written costs only a warning.

    Parameters
    ----------
    folder : Path
    about : dict of plain JSON types
        All that the answer depends on; its hash is the file's name.
    evaluation : Evaluation
    """
    about = {**about, "error": evaluation.error, "seconds": evaluation.seconds, "torch": torch.__version__}
    try:
        _write(_path(folder, about), [(about, evaluation)])
    except OSError as error:
        warnings.warn(f"the evaluation could not be kept in {folder}: {error}.", stacklevel=3)


def kept(folder):
    """Return all answers in the folder of a run or of an exported run, a list of (about, Evaluation).

    Damaged files and those of another `EVALUATION_VERSION` are left out, as `evaluate_run` does not find them.
    """
    files = [*sorted((Path(folder) / "evaluations").glob("*.npz")), Path(folder) / "answers.npz"]
    found = [pair for file in files for pair in _read(file)]
    return [(about, answer) for about, answer in found if about["version"] == EVALUATION_VERSION]


def pack(folder, path):
    """Write all answers in a run's folder as one small .npz file: the answer to every image, no image.

    With it, paired intervals can be computed again where the run is restored, without an attack. The same
    answers give the same bytes; without any, nothing is written.
    """
    if found := kept(folder):
        _write(Path(path), found)


def unpack(path, folder, weights):
    """Put the answers of `pack` into a run's folder, where `evaluate_run` finds them.

    `weights` is the `weights_fingerprint` of the run's model: what others (rounded ones, say) answered is left out.
    """
    for about, answer in _read(Path(path)):
        if about["weights"] == weights:
            _write(_path(folder, about), [(about, answer)])


def _path(folder, about):
    """Return where an answer is kept: its name is a hash of what it depends on."""
    hashed = {name: value for name, value in about.items() if name not in _NOT_HASHED}
    try:
        text = json.dumps(hashed, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"describe() of the attack must return plain JSON types ({error}); without a describe method "
                         "the attack is evaluated but not kept.") from None
    return Path(folder) / "evaluations" / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.npz"


def _read(path):
    """Return the (about, Evaluation) pairs of a file, [] where it cannot be read; unchanged, it is read only once."""
    try:
        return _read_once(path, path.stat().st_mtime_ns, path.stat().st_size)
    except _UNREADABLE:
        return []


@functools.lru_cache(maxsize=256)
def _read_once(path, *state):
    found = []
    with np.load(path, allow_pickle=False) as arrays:
        for number in (name for name in arrays.files if "." not in name):
            labels, predictions = (arrays[f"{number}.{name}"].astype(np.int64) for name in ("labels", "predictions"))
            rest = (arrays[f"{number}.{name}"].item() for name in ("num_classes", "seconds", "allow_absent"))
            found.append((json.loads(str(arrays[number])), Evaluation(labels, predictions, *rest)))
    return found


def _write(path, found):
    """Write (about, Evaluation) pairs as one file, complete or not at all."""
    arrays = {}
    for number, (about, answer) in enumerate(found):
        arrays[f"{number}"] = np.array(json.dumps(about, indent=2) + "\n")
        for name, value in vars(answer).items():
            value = np.asarray(value)
            small = value.dtype.kind == "i" and 0 <= value.min() and value.max() < 256
            arrays[f"{number}.{name}"] = value.astype(np.uint8) if small else value
    part = path.with_name(f".{path.stem}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(part, "wb") as file:
            np.savez_compressed(file, **arrays)
        os.replace(part, path)
    except OSError:
        with contextlib.suppress(OSError):
            part.unlink()
        raise
