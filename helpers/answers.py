"""What a classifier answered, image by image: in memory (`Evaluation`) and on disk.

    <folder of a run>/evaluations/<key>.npz   an answer that `evaluation.evaluate_run` kept, its description inside
    <folder of an export>/answers.npz         all answers of a run in one file, in the same format
"""
import functools
import hashlib
import json
import operator
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from helpers.checks import as_labels
from helpers.files import write_atomic

EVALUATION_VERSION = 2  # in every key: raise it when `evaluate` changes its answers, and old ones are no longer found
_NOT_HASHED = ("batch_size", "error", "rounded_from", "seconds", "source", "torch", "zero_gradients")
_scalar = operator.methodcaller("item")  # of NumPy and torch, whose numbers JSON does not know


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What a classifier answered on a labelled set, and the error measures that follow from it.

    Parameters
    ----------
    labels, predictions : (N,) integers, true and predicted classes in the order of the images; kept as int64 arrays
    num_classes : int, K
    seconds : float, wall-clock time that the predictions took, attack included
    allow_absent : bool, whether a class may have no image; its row of `confusion` is then NaN
    zero_gradients : int, images that PGD could not move in at least one step; None: not counted
    classes : K str, names of the classes where they are known; a cost that has names is then matched by name

    Raises
    ------
    ValueError : for an empty set, unequal lengths, classes outside 0..K-1, or an absent class that is not allowed
    """

    labels: np.ndarray
    predictions: np.ndarray
    num_classes: int
    seconds: float = 0.0
    allow_absent: bool = False
    zero_gradients: int | None = None
    classes: tuple | None = None

    def __post_init__(self):
        for name in ("labels", "predictions"):
            answers = as_labels(getattr(self, name), len(self.labels), self.num_classes).numpy(force=True).copy()
            answers.setflags(write=False)  # what was kept is read once, and handed out to all who ask
            object.__setattr__(self, name, answers)
        absent = np.flatnonzero(self.counts.sum(axis=1) == 0)
        if len(absent) and not self.allow_absent:
            some = ", ".join(map(str, absent[:10])) + (f", ... ({len(absent)} in all)" if len(absent) > 10 else "")
            raise ValueError(f"no image of class {some} among the {len(self.labels)} evaluated ones, so its row of the "
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
        totals = self.counts.sum(axis=1, keepdims=True)
        return np.divide(self.counts, totals, out=np.full(self.counts.shape, np.nan), where=totals > 0)

    @property
    def class_error(self):
        """(..., K) float64: error in % within each true class."""
        return 100.0 * (1.0 - np.diagonal(self.confusion, axis1=-2, axis2=-1))


def fingerprint(tensors):
    """A short hash of the types, shapes and bytes of some tensors."""
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()[:16]


def weights_fingerprint(model):
    """A short hash of a model's parameters and buffers in order; their names change when it is compiled."""
    return fingerprint(model.state_dict().values() if isinstance(model, torch.nn.Module) else [])


def find(folder, about):
    """The answer kept under a description in the folder of a run, or of an export, whose description may say less.

    And the digest of the source that gave it (None: from before there were digests); (None, None) without an answer.
    """
    found = _read(_path(folder, about)) if "weights" in about else [
        (said, answer) for said, answer in kept(folder) if about.items() <= said.items()]
    return next(((answer, said.get("source")) for said, answer in found), (None, None))


def keep(folder, about, evaluation):
    """Keep an answer in a run's folder; one that cannot be written costs only a warning.

    `about`, a dict of plain JSON types, says all that the answer depends on; its hash is the file's name.
    """
    about = {**about, "error": evaluation.error, "seconds": evaluation.seconds, "torch": torch.__version__,
             "zero_gradients": evaluation.zero_gradients}
    try:
        _write(_path(folder, about), [(about, evaluation)])
    except OSError as error:
        warnings.warn(f"the evaluation could not be kept in {folder}: {error}.", stacklevel=3)


def kept(folder):
    """All readable answers of this `EVALUATION_VERSION` in the folder of a run or an export: [(about, Evaluation)]."""
    files = [*sorted((Path(folder) / "evaluations").glob("*.npz")), Path(folder) / "answers.npz"]
    return [(about, answer) for file in files for about, answer in _read(file)
            if about["version"] == EVALUATION_VERSION]


def pack(folder, path):
    """Write all answers in a run's folder, if any, as one .npz file; the same answers give the same bytes."""
    if found := kept(folder):
        _write(path, found)


def unpack(path, folder, weights, rounded_from=None):
    """Put the answers of `pack` into a run's folder, where `evaluate_run` finds them.

    `weights` is the `weights_fingerprint` of the run's model, `rounded_from` that of the network whose weights were
    rounded to it: its answers are taken over as well, and say so.  What others answered is left out.
    """
    for about, answer in _read(Path(path)):
        if about["weights"] == rounded_from:
            about = {"rounded_from": rounded_from, **about, "weights": weights}
        if about["weights"] == weights:
            _write(_path(folder, about), [(about, answer)])


def _path(folder, about):
    """Where an answer is kept: its name is a hash of what it depends on."""
    try:
        text = json.dumps({name: about[name] for name in about if name not in _NOT_HASHED}, sort_keys=True,
                          allow_nan=False, default=_scalar)
    except (TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"describe() of the attack must return plain JSON types ({error}); without a describe method "
                         "the attack is evaluated but not kept.") from None
    return Path(folder) / "evaluations" / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.npz"


def _read(path):
    """The (about, Evaluation) pairs of a file, [] where it cannot be read; unchanged, it is read only once."""
    try:
        return _read_once(path, path.stat().st_mtime_ns, path.stat().st_size)
    except Exception:  # a damaged file fails in many ways, and all mean that the answer is computed again
        return []


@functools.lru_cache(maxsize=256)
def _read_once(path, *state):
    found = []
    with np.load(path, allow_pickle=False) as arrays:
        for number in (name for name in arrays.files if "." not in name):
            labels, predictions = (arrays[f"{number}.{name}"].astype(np.int64) for name in ("labels", "predictions"))
            rest = (arrays[f"{number}.{name}"].item() for name in ("num_classes", "seconds", "allow_absent"))
            about = json.loads(str(arrays[number]))
            found.append((about, Evaluation(labels, predictions, *rest, about.get("zero_gradients"))))
    return found


def _write(path, found):
    """Write (about, Evaluation) pairs as one file, complete or not at all."""
    arrays = {}
    for number, (about, answer) in enumerate(found):
        arrays[f"{number}"] = np.array(json.dumps(about, indent=2, default=_scalar) + "\n")
        for name in ("labels", "predictions", "num_classes", "seconds", "allow_absent"):
            value = np.asarray(getattr(answer, name))
            small = value.dtype.kind == "i" and 0 <= value.min() and value.max() < 256
            arrays[f"{number}.{name}"] = value.astype(np.uint8) if small else value
    write_atomic(path, lambda file: np.savez_compressed(file, **arrays))
