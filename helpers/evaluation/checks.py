"""What the evaluation functions accept, said once: images, labels, confusion matrices, costs."""

import numpy as np
import torch


def as_images(images):
    """Return `images` as a tensor, uint8 or floating in [0, 1].

    Parameters
    ----------
    images : (N, ...) tensor or array
        uint8 in 0..255, or any float type in [0, 1].

    Raises
    ------
    ValueError
        For an empty set, another integer type, or values outside [0, 1] (NaN included).
    """
    images = torch.as_tensor(images)
    if images.ndim < 2 or len(images) == 0:
        raise ValueError(
            f"there is no image to evaluate: expected shape (N, ...) with N >= 1, got {tuple(images.shape)}."
        )
    if images.dtype == torch.uint8:
        return images
    if not images.dtype.is_floating_point:
        raise ValueError(
            f"images have type {images.dtype}; pass uint8 (0..255) or floats in [0, 1], the units of eps."
        )
    low, high = images.min().item(), images.max().item()
    if not (low >= 0.0 and high <= 1.0):
        raise ValueError(
            f"images must lie in [0, 1], found {low:.4g} to {high:.4g}; divide 0..255 pixels by 255 and "
            "leave normalisation to the model."
        )
    return images


def as_labels(labels, num_images=None, num_classes=None):
    """Return `labels` as an (N,) int64 tensor, checked against 0..K-1 where K is known.

    Raises
    ------
    ValueError
        For a type that is no integer, a wrong length, or a label outside 0..K-1.
    """
    labels = torch.as_tensor(labels)
    if labels.dtype.is_floating_point or labels.dtype.is_complex or labels.dtype == torch.bool:
        raise ValueError(f"labels have type {labels.dtype}; pass integer class indices 0..K-1.")
    if labels.ndim != 1 or len(labels) == 0:
        raise ValueError(f"labels must have shape (N,) with N >= 1, got {tuple(labels.shape)}.")
    if num_images is not None and len(labels) != num_images:
        raise ValueError(f"there are {num_images} images but {len(labels)} labels; pass one for each image.")
    labels = labels.long()
    low, high = labels.min().item(), labels.max().item()
    if low < 0 or (num_classes is not None and high >= num_classes):
        top = "K-1" if num_classes is None else num_classes - 1
        raise ValueError(f"labels must lie in 0..{top}, found values from {low} to {high}.")
    return labels


def absent_classes(labels, num_classes):
    """Return the list of classes in 0..K-1 that have no label in `labels`."""
    present = np.bincount(np.asarray(labels), minlength=num_classes)
    return np.flatnonzero(present == 0).tolist()


def as_logits(logits):
    """Return `logits` as a finite (N, K) floating tensor with K >= 2."""
    logits = torch.as_tensor(logits)
    if logits.ndim != 2 or logits.shape[0] == 0 or logits.shape[1] < 2 or not logits.dtype.is_floating_point:
        raise ValueError(
            f"logits must be floats of shape (N, K) with K >= 2, got {logits.dtype} {tuple(logits.shape)}."
        )
    if not torch.isfinite(logits).all():
        row = (~torch.isfinite(logits)).any(dim=1).nonzero()[0].item()
        raise ValueError(
            f"logits must be finite, but row {row} holds NaN or infinity; did the training diverge "
            "(try a smaller learning rate)?"
        )
    return logits


def as_matrix(values, what):
    """Return a finite (K, K) float64 array, or say what is wrong with `what`."""
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu()
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 2 or values.shape[0] != values.shape[1] or values.shape[0] < 2:
        raise ValueError(f"the {what} must have shape (K, K) with K >= 2, got {values.shape}.")
    if not np.isfinite(values).all():
        raise ValueError(
            f"the {what} holds NaN or infinity; a class without any image gives such a row: leave it out "
            "or evaluate on images of every class."
        )
    return values


def as_confusion(confusion):
    """Return a row-normalised (K, K) confusion matrix from a matrix or an `Evaluation`."""
    matrix = as_matrix(getattr(confusion, "confusion", confusion), "confusion matrix")
    if matrix.min() < 0 or not np.allclose(matrix.sum(axis=1), 1.0, atol=1e-6):
        raise ValueError(
            "the confusion matrix must be row-normalised (entries >= 0, rows that sum to 1); its rows sum to "
            f"{matrix.sum(axis=1).min():.4g}..{matrix.sum(axis=1).max():.4g}; divide counts by their row sum."
        )
    return matrix


def as_cost(cost, num_classes):
    """Return the raw (K, K) values of a `CostMatrix`, DataFrame, tensor or array.

    Raises
    ------
    ValueError
        For a size other than K, a negative entry, a non-zero diagonal, or no positive entry at all.
    """
    values = getattr(cost, "values", cost)
    matrix = as_matrix(cost if callable(values) else values, "cost matrix")
    if len(matrix) != num_classes:
        raise ValueError(f"the cost matrix has {len(matrix)} classes, the confusions have {num_classes}.")
    if matrix.min() < 0 or np.diagonal(matrix).any() or not matrix.any():
        raise ValueError(
            "the cost matrix must be non-negative with a zero diagonal (a right answer costs nothing) and "
            "at least one positive entry."
        )
    return matrix
