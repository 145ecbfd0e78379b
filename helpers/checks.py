"""What every module says in the same words about images, labels, logits and confusions that it cannot use."""
import numpy as np
import torch


def as_images(images):
    """`images`, an (N, ...) tensor or array of uint8 or floats in [0, 1], as a tensor; else a ValueError (NaN too)."""
    images = torch.as_tensor(images)
    if images.ndim < 2 or len(images) == 0:
        raise ValueError(f"there is no image to use: expected shape (N, ...) with N >= 1, got {tuple(images.shape)}.")
    if images.dtype != torch.uint8 and not images.dtype.is_floating_point:
        raise ValueError(f"images have type {images.dtype}; pass uint8 (0..255) or floats in [0, 1], the units of eps.")
    if images.dtype != torch.uint8 and not (images.min() >= 0 and images.max() <= 1):
        raise ValueError(f"images must lie in [0, 1], found {images.min():.4g} to {images.max():.4g}; divide 0..255 "
                         "pixels by 255 and leave normalisation to the model.")
    return images


def as_logits(logits):
    """`logits`, an (N, K) tensor with K >= 2, as they are; else a ValueError."""
    if not torch.is_tensor(logits):
        raise ValueError(f"the model must return logits (N, K), not a {type(logits).__name__}: wrap it, as in "
                         "lambda x: model(x)[0]")
    if logits.ndim != 2 or logits.shape[1] < 2:
        raise ValueError(f"the model must return logits (N, K), K >= 2 classes, not the shape {tuple(logits.shape)}.")
    return logits


def as_labels(labels, num_images=None, num_classes=None, values=True):
    """`labels` as an (N,) int64 tensor; a ValueError unless integers, N >= 1 of them, in 0..K-1 where K is known.

    Without `values` these are not looked at.
    """
    labels = torch.as_tensor(labels.copy() if isinstance(labels, np.ndarray) else labels)  # some are read-only
    if labels.dtype.is_floating_point or labels.dtype.is_complex or labels.dtype == torch.bool:
        raise ValueError(f"labels have type {labels.dtype}; pass integer class indices 0..K-1.")
    if labels.ndim != 1 or len(labels) == 0:
        raise ValueError(f"labels must have shape (N,) with N >= 1, got {tuple(labels.shape)}.")
    if num_images not in (None, len(labels)):
        raise ValueError(f"there are {num_images} images but {len(labels)} labels; pass one for each image.")
    labels = labels.long()
    if values and (labels.min() < 0 or (num_classes is not None and labels.max() >= num_classes)):
        top = "K-1" if num_classes is None else num_classes - 1
        raise ValueError(f"labels must lie in 0..{top}, found values from {labels.min()} to {labels.max()}.")
    return labels


def as_matrix(values, what):
    """Finite float64 values, (K, K) or (S, K, K) with K >= 2, or a ValueError that says what is wrong with `what`."""
    values = np.asarray(values.detach().cpu() if isinstance(values, torch.Tensor) else values, dtype=np.float64)
    if values.ndim < 2 or values.shape[-1] != values.shape[-2] or values.shape[-1] < 2:
        raise ValueError(f"the {what} must have shape (K, K) with K >= 2, got {values.shape}.")
    if not np.isfinite(values).all():
        raise ValueError(f"the {what} holds NaN or infinity; a class without any image gives such a row: leave it out "
                         "or evaluate on images of every class.")
    return values
