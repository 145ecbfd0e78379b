"""What a classifier answered, image by image: in memory (`Evaluation`) and on disk, one small .npz file an answer.

    <folder of a run>/evaluations/<key>.npz   what `evaluation.evaluate_run` kept, its description inside
    <folder of an export>/answers.npz         all of them in one file (`pack`, `unpack`)
"""

import contextlib
import functools
import hashlib
import json
import os
import warnings
import zipfile
import zlib
from dataclasses import asdict, dataclass
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
                             "confusion matrix is undefined; add images of it, or pass allow_absent=True for a NaN row.")

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
    """Return the answer that is kept under a description, or None if none can be read that belongs to the labels.

    Parameters
    ----------
    folder : Path of a run
    about : dict of plain JSON types, all that the answer depends on
    labels : (N,) tensor of the true classes
    """
    try:
        found = _read(_path(folder, about))[1]
    except _UNREADABLE:
        return None
    return found if np.array_equal(found.labels, labels.cpu().numpy()) else None


def keep(folder, about, evaluation):
    """Keep an answer beside a run; a folder that cannot be written costs only a warning."""
    try:
        about = {**about, "error": evaluation.error, "seconds": evaluation.seconds, "torch": torch.__version__}
        _write(_path(folder, about), about, evaluation)
    except OSError as error:
        warnings.warn(f"the evaluation could not be kept in {folder}: {error}.", stacklevel=3)


def kept(folder):
    """Return all answers beside a run, or in the answers.npz of an exported one: a list of (about, Evaluation).

    Damaged files and those of another `EVALUATION_VERSION` are left out, as `evaluate_run` does not find them.
    """
    found = []
    for path in sorted((Path(folder) / "evaluations").glob("*.npz")):
        with contextlib.suppress(*_UNREADABLE):
            found.append(_read(path))
    if (Path(folder) / "answers.npz").is_file():
        found += _unpacked(Path(folder) / "answers.npz")
    return [(about, answer) for about, answer in found if about.get("version") == EVALUATION_VERSION]


def pack(folder, path):
    """Write all answers beside a run as one small .npz file: the answer to every image, no image.

    With it, paired intervals can be computed again where the run is restored, without an attack. The same
    answers give the same bytes; without any, nothing is written.
    """
    packed = {}
    for number, (about, answer) in enumerate(kept(folder)):
        packed[f"{number}"] = np.array(json.dumps(about, indent=2) + "\n")
        for name, value in vars(answer).items():
            value = np.asarray(value)
            small = value.dtype.kind == "i" and value.size and 0 <= value.min() and value.max() < 256
            packed[f"{number}.{name}"] = value.astype(np.uint8) if small else value
    if packed:
        np.savez_compressed(path, **packed)


def unpack(path, folder, weights):
    """Put the answers of `pack` beside a run, where `evaluate_run` finds them.

    Parameters
    ----------
    path, folder : Path of the .npz file and of the run
    weights : str
        `weights_fingerprint` of the run's model. What other weights (rounded ones, say) answered is left out.
    """
    for about, answer in _unpacked(path):
        if about["weights"] == weights:
            _write(_path(folder, about), about, answer)


def _unpacked(path):
    with np.load(path, allow_pickle=False) as packed:
        return [(json.loads(str(packed[number])), _evaluation(packed, f"{number}."))
                for number in packed.files if "." not in number]


def _evaluation(arrays, prefix=""):
    """Return the Evaluation whose fields are arrays of an .npz file."""
    return Evaluation(arrays[f"{prefix}labels"].astype(np.int64), arrays[f"{prefix}predictions"].astype(np.int64),
                      *(arrays[f"{prefix}{name}"].item() for name in ("num_classes", "seconds", "allow_absent")))


def _path(folder, about):
    """Return where an answer is kept: its name is a hash of what it depends on."""
    try:
        hashed = {name: value for name, value in about.items() if name not in _NOT_HASHED}
        text = json.dumps(hashed, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"describe() of the attack must return plain JSON types ({error}); without a describe method "
                         "the attack is evaluated but not kept.") from None
    return Path(folder) / "evaluations" / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.npz"


def _read(path):
    """Return (about, Evaluation) of a file that `keep` wrote; a file that did not change is read once a process."""
    return _read_once(path, path.stat().st_mtime_ns, path.stat().st_size)


@functools.lru_cache(maxsize=512)
def _read_once(path, *state):
    with np.load(path, allow_pickle=False) as arrays:
        about = json.loads(str(arrays["about"])) if "about" in arrays.files else {}
        return about, _evaluation(arrays)


def _write(path, about, evaluation):
    """Write an answer and what it is, complete or not at all."""
    part = path.with_name(f".{path.stem}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(part, "wb") as file:
            np.savez_compressed(file, about=np.array(json.dumps(about)), **asdict(evaluation))
        os.replace(part, path)
    except OSError:
        with contextlib.suppress(OSError):
            part.unlink()
        raise
