"""The paper's MNIST metric (Sec. 3.1): distances to the boundaries of a linear classifier on the pixels."""

import numpy as np
import torch

from .matrix import CostMatrix, _array

# Mean cross entropy + WEIGHT_DECAY / 2 |W|^2, minimised until no gradient entry exceeds TOLERANCE. On the embedded
# digits the held-out accuracy is level (90.6 to 90.9 %) between weight decays of 3e-4 and 1e-2: this is its middle.
WEIGHT_DECAY = 1e-3
TOLERANCE = 1e-5
MAX_ITERATIONS = 5000
SETTINGS = f"linear_boundary, weight decay {WEIGHT_DECAY:g}, tolerance {TOLERANCE:g}"


def linear_boundary_cost(images, labels, classes=None):
    """Cost of two classes: how far, on average, their images lie from the linear boundary between them.

    A multinomial logistic regression is fitted to the pixels (deterministic, run to convergence), then measured
    with `boundary_distances`. On one core 5,000 digits take one to two seconds, 60,000 about ten. Beyond the
    images themselves it holds a few float32 copies of them (60,000 digits: 0.5 GB).

    Parameters
    ----------
    images : (N, ...) array or tensor, uint8 or floating point in [0, 1]
    labels : (N,) integers in 0..K-1, each class at least once
    classes : sequence of K str, optional
        Class names; the numbers 0..K-1 by default.

    Returns
    -------
    CostMatrix
        Euclidean distances in pixel space ([0, 1] a pixel), named "linear_boundary".

    Raises
    ------
    ValueError
        Bad images or labels, an empty class, or a fit that does not converge.
    """
    # Before the limit, which holds only for the thread pools that are there when it is set; scikit-learn has its own.
    import sklearn.linear_model  # noqa: F401
    from threadpoolctl import threadpool_limits

    labels, classes = _labels(labels, classes)
    pixels = _pixels(images, len(labels))
    # One thread: the same sums, hence the same digest and the same runs, on any number of cores. It is no slower.
    with threadpool_limits(1):
        values = _distances(*_fit(pixels, labels), pixels, labels, classes)
    return CostMatrix(values, classes, name="linear_boundary")


def boundary_distances(weights, bias, images, labels):
    """Mean distance of two classes' points to the hyperplane where their linear scores are equal.

    The point x of class i has the distance ``|(w_i - w_j) . x + b_i - b_j| / |w_i - w_j|`` (unsigned, so a
    misclassified point counts with its distance too) from the boundary between i and j. The mean over class i
    and the mean over class j are averaged, whatever the sizes of the classes.

    Parameters
    ----------
    weights : (K, D) array of float
    bias : (K,) array of float
    images : (N, ...) array or tensor with D values a point, uint8 (scaled to [0, 1]) or float in [0, 1]
    labels : (N,) integers in 0..K-1, each class at least once

    Returns
    -------
    (K, K) float64 array
        Symmetric, zero diagonal, in the units of the points.

    Raises
    ------
    ValueError
        Shapes that do not fit together, bad images or labels, two classes with equal weights.
    """
    weights, bias = _array(weights), _array(bias)
    labels, classes = _labels(labels, [str(k) for k in range(len(weights))])
    pixels = _pixels(images, len(labels))
    if weights.shape != (len(bias), pixels.shape[1]) or bias.ndim != 1:
        raise ValueError(f"Weights of shape {weights.shape} and bias of shape {bias.shape} do not fit points of "
                         f"{pixels.shape[1]} values. Give weights (K, {pixels.shape[1]}) and bias (K,).")
    return _distances(weights, bias, pixels, labels, classes)


def _distances(weights, bias, pixels, labels, classes):
    one_way = np.zeros((len(classes), len(classes)))
    for i in range(len(classes)):
        scores = pixels[labels == i] @ weights.T.astype(pixels.dtype) + bias
        norms = np.linalg.norm(weights[i] - weights, axis=1)
        norms[i] = 1.0
        if not norms.all():
            raise ValueError(f"There is no boundary between {classes[i]!r} and {classes[int(norms.argmin())]!r}: "
                             "the linear classifier has the same weights for both. Give it images that differ.")
        one_way[i] = np.abs(scores[:, [i]] - scores).mean(axis=0) / norms
    return (one_way + one_way.T) / 2


def _fit(pixels, labels):
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=1 / (WEIGHT_DECAY * len(labels)), tol=TOLERANCE, max_iter=MAX_ITERATIONS)
    mean = pixels.mean(axis=0)  # centring changes no boundary (the bias is not penalised), but fewer steps are needed
    model.fit(pixels - mean, labels)
    if model.n_iter_.max() >= MAX_ITERATIONS:
        raise ValueError(f"The linear classifier did not converge in {MAX_ITERATIONS} iterations, so its "
                         "boundaries mean nothing. Check the labels, or give another cost matrix.")
    weights, bias = model.coef_.astype(np.float64), model.intercept_ - model.coef_.astype(np.float64) @ mean
    if len(weights) == 1:  # two classes: one row, the score of class 1 against class 0
        weights, bias = np.vstack([-weights, weights]) / 2, np.hstack([-bias, bias]) / 2
    return weights, bias


def _numpy(values):
    if not isinstance(values, torch.Tensor):
        return np.asarray(values)
    values = values.detach().cpu()
    return (values.float() if values.dtype is torch.bfloat16 else values).numpy()


def _pixels(images, count):
    """Images -> (N, D) floating point in [0, 1] (uint8 becomes float32), or a ValueError."""
    images = _numpy(images)
    if images.ndim < 2 or len(images) != count:
        raise ValueError(f"Images of shape {images.shape} do not fit {count} labels. "
                         "Give an array (N, ...) with one image for each label.")
    images = images.reshape(count, -1)
    if images.dtype == np.uint8:
        return images.astype(np.float32) / np.float32(255)
    if not np.issubdtype(images.dtype, np.floating):
        raise ValueError(f"Images have the type {images.dtype}, whose scale is unknown. "
                         "Give uint8 (0..255) or floating point in [0, 1].")
    low, high = images.min(), images.max()
    if not (low >= 0 and high <= 1):  # also refuses NaN
        raise ValueError(f"Floating point images must lie in [0, 1], but these go from {low:g} to {high:g}. "
                         "Scale them (uint8 / 255) and undo any normalisation.")
    return images.astype(np.float32) if images.dtype == np.float16 else images


def _labels(labels, classes):
    """Labels -> (N,) integer array and class names, or a ValueError."""
    labels = _numpy(labels)
    if labels.ndim != 1 or not len(labels) or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"Labels must be a vector of integers, one for each image, but they have shape "
                         f"{labels.shape} and type {labels.dtype}. Give class numbers 0..K-1.")
    classes = [str(k) for k in range(int(labels.max()) + 1)] if classes is None else [str(c) for c in classes]
    if len(classes) < 2:
        raise ValueError(f"A boundary needs two classes, but there is only {classes}. Give images of at least two.")
    outside = np.unique(labels[(labels < 0) | (labels >= len(classes))])
    if len(outside):
        raise ValueError(f"Labels must lie in 0..{len(classes) - 1} for {len(classes)} classes, but "
                         f"{outside[:5].tolist()} occur. Correct the labels or the list of classes.")
    empty = [name for name, count in zip(classes, np.bincount(labels, minlength=len(classes)), strict=True)
             if not count]
    if empty:
        raise ValueError(f"No image has the class {', '.join(map(repr, empty[:5]))}, so its boundaries cannot be "
                         "measured. Add images of it, or leave it out of the classes and renumber the labels.")
    return labels, classes
