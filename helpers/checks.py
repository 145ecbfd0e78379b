"""What every module says in the same words about images, labels, confusions and costs that it cannot use."""

import numpy as np
import torch


def as_images(images):
    """Return `images`, an (N, ...) tensor or array, as a tensor: uint8 in 0..255, or floats in [0, 1].

    Raises
    ------
    ValueError
        For an empty set, another integer type, or values outside [0, 1] (NaN included).
    """
    images = torch.as_tensor(images)
    if images.ndim < 2 or len(images) == 0:
        raise ValueError(f"there is no image to use: expected shape (N, ...) with N >= 1, got {tuple(images.shape)}.")
    if images.dtype == torch.uint8:
        return images
    if not images.dtype.is_floating_point:
        raise ValueError(f"images have type {images.dtype}; pass uint8 (0..255) or floats in [0, 1], the units of eps.")
    low, high = images.min().item(), images.max().item()
    if not (low >= 0.0 and high <= 1.0):
        raise ValueError(f"images must lie in [0, 1], found {low:.4g} to {high:.4g}; divide 0..255 pixels by 255 and "
                         "leave normalisation to the model.")
    return images


def as_labels(labels, num_images=None, num_classes=None):
    """Return `labels` as an (N,) int64 tensor, checked against N and against 0..K-1 where these are known.

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


def as_confusion(confusion):
    """Return the row-normalised confusions, (K, K) or (S, K, K), of an array or of anything with `.confusion`."""
    matrix = as_matrix(getattr(confusion, "confusion", confusion), "confusion matrix")
    sums = matrix.sum(axis=-1)
    if matrix.min() < 0 or not np.allclose(sums, 1.0, atol=1e-6):
        raise ValueError("the confusion matrix must be row-normalised (entries >= 0, rows that sum to 1); its rows sum "
                         f"to {sums.min():.4g}..{sums.max():.4g}; divide counts by their row sum.")
    return matrix


def as_cost(cost, num_classes):
    """Return the raw (K, K) values of a `CostMatrix`, tensor, DataFrame or array: >= 0, a diagonal of zeros."""
    matrix = as_matrix(getattr(cost, "values", cost) if not isinstance(cost, torch.Tensor) else cost, "cost matrix")
    if len(matrix) != num_classes or matrix.ndim != 2:
        raise ValueError(f"the cost matrix has {len(matrix)} classes, the confusions have {num_classes}.")
    if matrix.min() < 0 or np.diagonal(matrix).any() or not matrix.any():
        raise ValueError("the cost matrix must be non-negative, zero on the diagonal and positive somewhere else.")
    return matrix


def as_matrix(values, what):
    """Return finite float64 values, (K, K) or (S, K, K) with K >= 2, or say what is wrong with `what`."""
    values = np.asarray(values.detach().cpu() if isinstance(values, torch.Tensor) else values, dtype=np.float64)
    if values.ndim < 2 or values.shape[-1] != values.shape[-2] or values.shape[-1] < 2:
        raise ValueError(f"the {what} must have shape (K, K) with K >= 2, got {values.shape}.")
    if not np.isfinite(values).all():
        raise ValueError(f"the {what} holds NaN or infinity; a class without any image gives such a row: leave it out "
                         "or evaluate on images of every class.")
    return values
