"""Cost matrices by name: WordNet, linear boundaries, super-classes, the toy's; or a table of the reader's own."""
import hashlib
import math
import re
from pathlib import Path

import numpy as np
import torch

from helpers.checks import as_images, as_labels
from helpers.costs.matrix import CostMatrix, class_names, from_dataframe, listing, read_csv
from helpers.costs.wordnet import DATA_SETS, DISTANCES, find, wordnet_cost

TOY3 = ((0, 10, 0.01), (10, 0, 1), (0.01, 1, 0))  # Sec. 3.4
# Mean cross entropy + WEIGHT_DECAY / 2 |W|^2, minimised until no gradient entry exceeds TOLERANCE. On the embedded
# digits the held-out accuracy is level (90.6 to 90.9 %) between weight decays of 3e-4 and 1e-2: this is its middle.
WEIGHT_DECAY = 1e-3
TOLERANCE = 1e-5
MAX_ITERATIONS = 5000
# Outcomes of an optimisation, in which processors were seen to differ by 0.2 %, and what stands for the values.
FITTED_SPECS = {"linear_boundary": f"linear_boundary, weight decay {WEIGHT_DECAY:g}, tolerance {TOLERANCE:g}"}
_FITTED = {}
SPECS = (*(f"wordnet:{distance}" for distance in DISTANCES), "linear_boundary", "superclass", "toy3")

SUPERCLASSES = {
    "cifar10": {"animals": "bird cat deer dog frog horse", "vehicles": "airplane automobile ship truck"},
    "cifar100": {  # Krizhevsky, "Learning multiple layers of features from tiny images" (2009), Sec. 3.1
        "aquatic mammals": "beaver dolphin otter seal whale",
        "fish": "aquarium_fish flatfish ray shark trout",
        "flowers": "orchid poppy rose sunflower tulip",
        "food containers": "bottle bowl can cup plate",
        "fruit and vegetables": "apple mushroom orange pear sweet_pepper",
        "household electrical devices": "clock keyboard lamp telephone television",
        "household furniture": "bed chair couch table wardrobe",
        "insects": "bee beetle butterfly caterpillar cockroach",
        "large carnivores": "bear leopard lion tiger wolf",
        "large man-made outdoor things": "bridge castle house road skyscraper",
        "large natural outdoor scenes": "cloud forest mountain plain sea",
        "large omnivores and herbivores": "camel cattle chimpanzee elephant kangaroo",
        "medium-sized mammals": "fox porcupine possum raccoon skunk",
        "non-insect invertebrates": "crab lobster snail spider worm",
        "people": "baby boy girl man woman",
        "reptiles": "crocodile dinosaur lizard snake turtle",
        "small mammals": "hamster mouse rabbit shrew squirrel",
        "trees": "maple_tree oak_tree palm_tree pine_tree willow_tree",
        "vehicles 1": "bicycle bus motorcycle pickup_truck train",
        "vehicles 2": "lawn_mower rocket streetcar tank tractor",
    },
}


def superclasses(data_set):
    """The super-class of each class of "cifar10" or "cifar100", a dict in alphabetical order of the classes."""
    return dict(sorted((name, group) for group, names in SUPERCLASSES[data_set].items() for name in names.split()))


def is_fitted(spec):
    """Whether a specification names a matrix that is fitted, and so differs a little from machine to machine."""
    return isinstance(spec, str) and spec in FITTED_SPECS


def from_spec(spec, dataset):
    """The cost matrix that a specification names, rows and columns in the order of ``dataset.classes``.

    Parameters
    ----------
    spec : str, Path, CostMatrix, DataFrame, array or nested list
        - "wordnet:path", "wordnet:path_similarity", "wordnet:wup", "wordnet:lch": `wordnet_cost`;
        - "linear_boundary": `linear_boundary_cost` of the training images;
        - "superclass": CIFAR-10's animals and vehicles, CIFAR-100's 20 super-classes;
        - "toy3": the 3 x 3 matrix of Sec. 3.4;
        - the path of a CSV file (see `read_csv`);
        - a CostMatrix, returned as it is (or, for a part of its classes, cut to them);
        - a DataFrame with class names, or K rows of K numbers in the order of the classes.
    dataset : object with name, classes, x_train, y_train

    Raises
    ------
    ValueError
        Unknown specification, one that does not suit the data set, or no cost matrix.
    FileNotFoundError
        No such CSV file.
    """
    classes = tuple(str(name) for name in dataset.classes)
    if isinstance(spec, CostMatrix):
        return spec if spec.classes == classes else spec.select(classes)
    if hasattr(spec, "columns"):
        return from_dataframe(spec, classes)
    text = str(spec)
    if text == "toy3":
        return CostMatrix(TOY3, classes, name="toy3")
    if text == "linear_boundary":
        return linear_boundary_cost(dataset.x_train, dataset.y_train, classes)
    if text == "superclass":
        name, rows = _known(dataset, classes, SUPERCLASSES, text)
        groups = superclasses(name)
        return superclass_cost({own: groups[row["class"]] for own, row in zip(classes, rows, strict=True)}, classes)
    if text.startswith("wordnet:") and text in SPECS:
        name, rows = _known(dataset, classes, DATA_SETS, text)
        cost = wordnet_cost(name, text.removeprefix("wordnet:"), [row["class"] for row in rows])
        return CostMatrix(cost.values, classes, name=text)
    if isinstance(spec, Path) or (isinstance(spec, str) and text.lower().endswith((".csv", ".tsv", ".txt"))):
        return read_csv(spec, classes)
    if isinstance(spec, str) or spec is None or np.ndim(spec) == 0:
        raise ValueError(f"There is no cost matrix {spec!r}. Choose one of {', '.join(SPECS)}, the path of a .csv file, "
                         "or K rows of K numbers.")
    return CostMatrix(spec, classes)


def _known(dataset, classes, names, spec):
    """The known data set behind ``dataset`` (by its name, else by its class names) and its rows for the classes."""
    for name in sorted(names, key=len, reverse=True):
        if re.match(rf"{re.escape(name)}(?![a-z0-9])", str(dataset.name).lower()):
            return name, find(name, classes)
    for name in names:
        try:
            return name, find(name, classes)
        except ValueError:
            continue
    raise ValueError(f"The cost {spec!r} is known for the classes of {', '.join(names)}, not for {dataset.name!r}. "
                     "Use 'linear_boundary', the path of a CSV file, or K rows of K numbers.")


def superclass_cost(groups, classes=None, within=0.1):
    """Cost 1 across groups, ``within`` inside a group, 0 on the diagonal.

    Parameters
    ----------
    groups : mapping of class name to group
        For example ``superclasses("cifar100")``, or ``{"0": "round", "6": "round", "1": "straight"}``.
    classes : sequence of str, optional
        Classes and their order in the result; the keys of ``groups`` by default.
    within : float >= 0
        Cost of a confusion inside a group, relative to 1 across.

    Raises
    ------
    ValueError
        A class without a group, ``within`` negative or not finite, or no positive cost at all.
    """
    names = class_names(groups if classes is None else classes)
    groups = {str(name): group for name, group in groups.items()}
    if missing := [name for name in names if name not in groups]:
        raise ValueError(f"No group is given for the class {listing(missing)}. "
                         "Add it to the mapping from class name to group.")
    if not math.isfinite(within) or within < 0:
        raise ValueError(f"within={within!r} must be a finite cost >= 0 (0.1: a tenth of the cost across groups).")
    values = np.array([[float(within) if groups[a] == groups[b] else 1.0 for b in names] for a in names])
    np.fill_diagonal(values, 0.0)
    return CostMatrix(values, names, name="superclass")


def linear_boundary_cost(images, labels, classes=None):
    """The paper's MNIST metric (Sec. 3.1): how far, on average, images lie from the linear boundary of two classes.

    A multinomial logistic regression is fitted to the pixels (deterministic, run to convergence), then measured
    with `boundary_distances`. On one core 5,000 digits take one to two seconds, 60,000 about ten, complete CIFAR-10 a
    minute; the same images are fitted once a process.

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
    images = as_images(images)
    labels = as_labels(labels, len(images), None if classes is None else len(classes)).numpy(force=True)
    classes = class_names(range(labels.max() + 1) if classes is None else classes)
    counts = np.bincount(labels, minlength=len(classes))
    if len(classes) < 2 or not counts.all():
        empty = [name for name, count in zip(classes, counts, strict=True) if not count]
        raise ValueError(f"A boundary lies between two classes that have images: there is none of class "
                         f"{listing(empty) or 1}. Add images, or leave the class out and renumber the labels.")
    pixels = images.detach().cpu().flatten(1)
    pixels = pixels / 255 if pixels.dtype == torch.uint8 else pixels
    pixels = (pixels.float() if pixels.element_size() < 4 else pixels).numpy()
    key = hashlib.sha256(repr(classes).encode() + labels.tobytes() + pixels.tobytes()).digest()
    if key not in _FITTED:
        # Before the limit, which holds only for the thread pools that are there when it is set; scikit-learn has its own.
        import sklearn.linear_model  # noqa: F401
        from threadpoolctl import threadpool_limits

        # One thread: the same sums, hence the same digest and the same runs, on any number of cores. It is no slower.
        with threadpool_limits(1):
            values = boundary_distances(*linear_classifier(pixels, labels), pixels, labels)
        _FITTED[key] = CostMatrix(values, classes, name="linear_boundary")
    return _FITTED[key]


def linear_classifier(pixels, labels):
    """Weights (K, D) and bias (K,) of the multinomial logistic regression, each class at least once among the labels."""
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


def boundary_distances(weights, bias, points, labels):
    """Mean distance of two classes' points to the hyperplane where their linear scores are equal.

    The point x of class i has the distance ``|(w_i - w_j) . x + b_i - b_j| / |w_i - w_j|`` (unsigned, so a
    misclassified point counts with its distance too) from the boundary between i and j. The mean over class i
    and the mean over class j are averaged, whatever the sizes of the classes.

    Parameters
    ----------
    weights : (K, D) array; bias : (K,) array; points : (N, D) array; labels : (N,) integers, each class at least once

    Returns
    -------
    (K, K) float64 array, symmetric, zero diagonal, in the units of the points.

    Raises
    ------
    ValueError
        Two classes with equal weights.
    """
    one_way = np.zeros((len(weights), len(weights)))
    for i in range(len(weights)):
        scores = points[labels == i] @ weights.T.astype(points.dtype) + bias
        norms = np.linalg.norm(weights[i] - weights, axis=1)
        norms[i] = 1.0
        if not norms.all():
            raise ValueError(f"There is no boundary between classes {i} and {int(norms.argmin())}: the linear classifier "
                             "has the same weights for both. Give it images that differ.")
        one_way[i] = np.abs(scores[:, [i]] - scores).mean(axis=0) / norms
    return (one_way + one_way.T) / 2
