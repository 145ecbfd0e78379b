"""Run a model over images, clean or attacked: predictions, logits, features, confusion matrices."""

import dataclasses
import time
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch

from helpers.allocator import keep_freed_memory

from .checks import absent_classes, as_images, as_labels, as_logits


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
        absent = absent_classes(labels, self.num_classes)
        if absent and not self.allow_absent:
            raise ValueError(
                f"no image of class {_some(absent)} among the {len(labels)} evaluated ones, so its row of "
                "the confusion matrix is undefined; add images of it, or pass allow_absent=True for a NaN row."
            )
        object.__setattr__(self, "labels", labels.copy())
        object.__setattr__(self, "predictions", predictions.copy())

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

    def to_dict(self):
        """Return a dict of plain JSON types; `from_dict` reads it back."""
        return {
            "labels": self.labels.tolist(),
            "predictions": self.predictions.tolist(),
            "num_classes": self.num_classes,
            "seconds": self.seconds,
            "allow_absent": self.allow_absent,
        }

    @classmethod
    def from_dict(cls, data):
        """Build an `Evaluation` from what `to_dict` returned."""
        return cls(**data)


def _some(items):
    """Return the first few items as text, so that 200 classes do not fill an error message."""
    shown = ", ".join(str(item) for item in items[:10])
    return shown if len(items) <= 10 else f"{shown}, ... ({len(items)} in all)"


@contextmanager
def eval_mode(model):
    """Put `model` in eval mode, and every sub-module back as it was afterwards, errors included."""
    modules = list(model.modules()) if isinstance(model, torch.nn.Module) else []
    flags = [module.training for module in modules]
    try:
        if modules:
            model.eval()
        yield model
    finally:
        for module, flag in zip(modules, flags, strict=True):
            module.training = flag


def _placement(model, images):
    """Return the device and float type that the model's parameters ask for; float32 without parameters."""
    parameters = model.parameters() if isinstance(model, torch.nn.Module) else iter(())
    first = next(parameters, None)
    if first is None:
        return images.device, torch.float32
    if first.dtype not in (torch.float32, torch.float64):
        raise ValueError(
            f"the model's parameters are {first.dtype}; errors are reported in float32: call model.float()."
        )
    return first.device, first.dtype


def _to_float(batch, device, dtype):
    """Return a batch on the device as floats in [0, 1], whatever as_images accepted."""
    batch = batch.to(device)
    return batch.to(dtype) / 255 if batch.dtype == torch.uint8 else batch.to(dtype)


def _attacked(attack, model, x, y):
    """Return attack(model, x, y) after checking that it is still a batch of images in [0, 1]."""
    with torch.enable_grad():
        x_adv = attack(model, x, y)
    if x_adv.shape != x.shape:
        raise ValueError(f"the attack returned shape {tuple(x_adv.shape)} for images {tuple(x.shape)}.")
    x_adv = x_adv.detach()
    if not (x_adv.min().item() >= -1e-6 and x_adv.max().item() <= 1 + 1e-6):
        raise ValueError("the attack returned pixels outside [0, 1]; clamp them before they reach the model.")
    return x_adv


def _batches(model, images, labels, attack, batch_size):
    """Yield float batches of images on the model's device, attacked where an attack is given."""
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}.")
    device, dtype = _placement(model, images)
    for start in range(0, len(images), batch_size):
        x = _to_float(images[start : start + batch_size], device, dtype)
        if attack is not None:
            x = _attacked(attack, model, x, labels[start : start + batch_size].to(device))
        yield x


def _forward(function, model, images, labels=None, attack=None, batch_size=500):
    """Return function(x) of all batches, on the CPU: eval mode, full precision, no gradients."""
    keep_freed_memory()
    outputs = []
    device, _ = _placement(model, images)
    # cuDNN would otherwise round the factors of a convolution to 10 bits on recent GPUs.
    exact = torch.backends.cudnn.flags(enabled=True, benchmark=True, allow_tf32=False)
    with eval_mode(model), torch.autocast(device.type, enabled=False), exact:
        for x in _batches(model, images, labels, attack, batch_size):
            with torch.inference_mode():
                outputs.append(function(x).float().cpu())
    # Joined outside inference mode: a tensor made inside would refuse autograd later on.
    return torch.cat(outputs)


def _num_classes(model, images, num_classes):
    """Return K, from one forward pass, so that bad labels are found before the attack starts."""
    found = _forward(model, model, images[:1])
    if found.ndim != 2 or found.shape[1] < 2:
        raise ValueError(f"the model must return logits (N, K), K >= 2, got {tuple(found.shape)} for N = 1.")
    if num_classes is not None and num_classes != found.shape[1]:
        raise ValueError(f"the model has {found.shape[1]} classes, num_classes says {num_classes}.")
    return found.shape[1]


def predict_logits(model, images, labels=None, attack=None, *, batch_size=500):
    """Return the model's logits on clean or attacked images.

    Parameters
    ----------
    model : nn.Module
        Maps float32 images in [0, 1] to logits (N, K). Run in eval mode, left as it was found.
    images : (N, ...) tensor or array
        uint8, or floats in [0, 1].
    labels : (N,) integers, optional
        Needed by an attack only.
    attack : callable (model, x, y) -> x_adv, optional
        Called with the model in eval mode and gradients enabled.

    Returns
    -------
    (N, K) float32 tensor on the CPU.

    Raises
    ------
    ValueError
        For images, labels or an attack's output that are not as above, or logits that are not finite.
    """
    images = as_images(images)
    if attack is not None and labels is None:
        raise ValueError("an attack needs the labels; pass labels as well.")
    if labels is not None:
        num_classes = _num_classes(model, images, None)
        labels = as_labels(labels, len(images), num_classes)
    return as_logits(_forward(model, model, images, labels, attack, batch_size))


def features(model, images, *, batch_size=500):
    """Return `model.features(x)`, the input of the last linear layer, as an (N, D) float32 array.

    This is the representation of Sec. 3.3 (footnote 3), drawn by t-SNE in Fig. 6.
    """
    if not callable(getattr(model, "features", None)):
        raise ValueError(f"{type(model).__name__} has no features(x) method, hence no representation.")
    images = as_images(images)
    return _forward(model.features, model, images, batch_size=batch_size).flatten(1).numpy()


def evaluate(model, images, labels, attack=None, *, num_classes=None, batch_size=500, allow_absent=False):
    """Return the predictions of a model on clean or attacked images.

    Eval mode, float32, no autocast; every module's training flag is put back afterwards.

    Parameters
    ----------
    model : nn.Module
        Maps float images in [0, 1] to logits (N, K).
    images : (N, ...) tensor or array
        uint8, or floats in [0, 1].
    labels : (N,) integers in 0..K-1
    attack : callable (model, x, y) -> x_adv, optional
        Called a batch at a time with gradients enabled; natural images are evaluated without one.
    num_classes : int, optional
        K, checked against the logits.
    allow_absent : bool
        Accept a set that lacks a class; its row of the confusion matrix is NaN.

    Returns
    -------
    Evaluation

    Raises
    ------
    ValueError
        For an empty set, images outside [0, 1] or of an integer type other than uint8, labels outside
        0..K-1, a class without any image, logits that are not finite, and an attack with `early_exit`.
    """
    if getattr(attack, "early_exit", False):
        raise ValueError("a confusion matrix needs the full attack: the first wrong class that an early exit meets is "
                         "not the one the attack ends in. Use robust_error, or early_exit=False.")
    images = as_images(images)
    num_classes = _num_classes(model, images, num_classes)
    labels = as_labels(labels, len(images), num_classes)
    # Building the result once with the labels as answers finds an absent class before the attack starts.
    Evaluation(labels, labels, num_classes, allow_absent=allow_absent)
    start = time.perf_counter()
    predictions = as_logits(_forward(model, model, images, labels, attack, batch_size)).argmax(dim=1)
    seconds = time.perf_counter() - start
    return Evaluation(labels, predictions, num_classes, seconds, allow_absent)


def robust_error(model, images, labels, attack, *, batch_size=500):
    """Return the error in % against an attacker who stops at the first success, images left as soon as they are lost.

    An image counts as lost if the model misclassifies any point of the attack's path, its start included. That is never
    less than the error of the path's end, which `evaluate` measures, and costs only the steps that are needed.

    Parameters
    ----------
    model, images, labels, batch_size : as in `evaluate`
    attack : attacks.PGD, or another dataclass with a field `early_exit`, which is switched on here

    Raises
    ------
    ValueError
        As `evaluate`.
    """
    images = as_images(images)
    labels = as_labels(labels, len(images), _num_classes(model, images, None))
    attack = dataclasses.replace(attack, early_exit=True)
    predictions = as_logits(_forward(model, model, images, labels, attack, batch_size)).argmax(dim=1)
    return 100 * float((predictions != labels.cpu()).double().mean())


def confusion_matrix(model, images, labels, attack=None, **options):
    """Return the (K, K) confusion matrix, natural or under attack; rows are true classes and sum to 1.

    `options` are those of `evaluate`.
    """
    return evaluate(model, images, labels, attack, **options).confusion
