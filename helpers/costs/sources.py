"""Cost matrices by name: WordNet, linear boundaries, super-classes, the toy's; or a table of the reader's own."""
import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import yaml

from helpers.checks import as_images, as_labels
from helpers.costs.matrix import CostMatrix, class_names, from_table, listing, read_csv
from helpers.costs.wordnet import DATA_SETS, DISTANCES, data_set_of, find, wordnet_cost
from helpers.data import to_float

TOY3 = ((0, 10, 0.01), (10, 0, 1), (0.01, 1, 0))  # Sec. 3.4
# Mean cross entropy + WEIGHT_DECAY / 2 |W|^2, minimised until no gradient entry exceeds TOLERANCE. On the embedded
# digits the held-out accuracy is level (90.6 to 90.9 %) between weight decays of 3e-4 and 1e-2: this is its middle.
WEIGHT_DECAY = 1e-3
TOLERANCE = 1e-5
MAX_ITERATIONS = 5000
_FITTED = {}
SUPERCLASSES = yaml.safe_load(Path(__file__).with_name("superclasses.yaml").read_text(encoding="utf-8"))


def superclasses(data_set):
    """The super-class of each class of "cifar10" or "cifar100", a dict in alphabetical order of the classes."""
    return dict(sorted((name, group) for group, names in SUPERCLASSES[data_set].items() for name in names.split()))


def fitted(spec):
    """What stands for a matrix that is fitted, in whose values processors were seen to differ by 0.2 %; else None."""
    known = isinstance(spec, str) and spec == "linear_boundary"
    return f"linear_boundary, weight decay {WEIGHT_DECAY:g}, tolerance {TOLERANCE:g}" if known else None


def from_spec(spec, dataset, symmetric=True):
    """The cost matrix that a specification names, rows and columns in the order of ``dataset.classes``.

    `spec` is a str, Path, CostMatrix, DataFrame, array, nested list or mapping:

    - "wordnet:path", "wordnet:path_similarity", "wordnet:wup", "wordnet:lch": `wordnet_cost`;
    - "linear_boundary": `linear_boundary_cost` of the training images;
    - "superclass": 1 across CIFAR-10's animals and vehicles or CIFAR-100's 20 super-classes, 0.1 inside one;
    - "toy3": the 3 x 3 matrix of Sec. 3.4;
    - the path of a CSV file (see `read_csv`);
    - a CostMatrix, returned as it is (or, for a part of its classes, cut to them);
    - a DataFrame with class names, or K rows of K numbers in the order of the classes;
    - pairs of classes, and what all others cost: ``{("cat", "dog"): 10, "default": 1}``, or as text, in a profile say,
      ``{cat <-> dog: 10, default: 1}``; ``cat -> dog`` is the cost of a cat taken for a dog alone, and wins over a pair
      of both directions;
    - ``{"values": any of these, "symmetric": False}``, where C[i, j] and C[j, i] may differ.

    `dataset` is an object with name, classes, x_train and y_train. Raises ValueError for what is unknown, does not suit
    the data or is no cost matrix, FileNotFoundError for a file.
    """
    classes = class_names(dataset.classes)
    if isinstance(spec, CostMatrix):
        return spec if spec.classes == classes else spec.select(classes)
    if hasattr(spec, "columns"):
        return from_table(spec.to_numpy().tolist(), spec.index, spec.columns, classes, symmetric=symmetric)
    if isinstance(spec, Mapping):
        if "values" not in spec:
            return from_pairs(spec, classes)
        if set(spec) - {"values", "symmetric"} or not isinstance(spec.get("symmetric", True), bool):
            raise ValueError(f'A cost with "values" may have "symmetric" beside, True or False, and no more: {spec!r}.')
        return from_spec(spec["values"], dataset, spec.get("symmetric", True))
    if hasattr(spec, "__len__") and not isinstance(spec, str):
        return CostMatrix(spec, classes, symmetric=symmetric)
    if str(spec).lower().endswith((".csv", ".tsv", ".txt")):
        return read_csv(spec, classes, symmetric=symmetric)
    if spec == "toy3":
        return CostMatrix(TOY3, classes, name="toy3")
    if spec == "linear_boundary":
        return linear_boundary_cost(dataset.x_train, dataset.y_train, classes)
    distances = {f"wordnet:{distance}": distance for distance in DISTANCES}
    name = data_set_of(classes, DATA_SETS if spec in distances else SUPERCLASSES if spec == "superclass" else ())
    if name is None:
        raise ValueError(f"There is no cost matrix {spec!r} for the classes of {dataset.name!r}. Choose one of "
                         f"{', '.join(distances)} (classes of {', '.join(DATA_SETS)}), superclass (of "
                         f"{', '.join(SUPERCLASSES)}), linear_boundary, toy3, the path of a .csv file, K rows of K "
                         "numbers, or a mapping of pairs.")
    if spec in distances:
        return wordnet_cost(name, distances[spec], classes)
    group = [superclasses(name)[row["class"]] for row in find(name, classes)]
    values = np.array([[0.1 if a == b else 1.0 for b in group] for a in group])
    return CostMatrix(values - np.diag(values.diagonal()), classes, name=spec)


def from_pairs(pairs, classes):
    """A CostMatrix from a mapping as `from_spec` describes it, asymmetric if an arrow says so; ValueError otherwise."""
    pairs, both, one_way = dict(pairs), {}, {}
    default = pairs.pop("default", "none")
    for key, cost in pairs.items():
        text = " <-> ".join(map(str, key)) if isinstance(key, tuple) else str(key)
        found = re.fullmatch(r"(.+?) *(<?->) *(.+)", text)
        pair = found.group(1, 3) if found else ()
        if len(set(pair)) < 2 or not set(pair) <= set(classes):
            raise ValueError(f"{key!r} is no pair of classes. Write ('cat', 'dog') or 'cat <-> dog', or 'cat -> dog' "
                             "for cats taken for dogs alone, and 'default' for all others. Classes: "
                             f"{listing(classes)}.")
        given, directions = (one_way, [pair]) if found[2] == "->" else (both, [pair, pair[::-1]])
        if pair in given:
            raise ValueError(f"The pair {key!r} stands twice: write {' -> '.join(pair)!r} and "
                             f"{' -> '.join(pair[::-1])!r} where each direction has a cost of its own.")
        given |= dict.fromkeys(directions, cost)
    known = dict.fromkeys(zip(classes, classes), 0) | both | one_way
    values = [[known.get((true, answer), default) for answer in classes] for true in classes]
    return CostMatrix(values, classes, name="pairs", symmetric=not one_way)


def linear_boundary_cost(images, labels, classes=None):
    """The paper's MNIST metric (Sec. 3.1): how far, on average, images lie from the linear boundary of two classes.

    A multinomial logistic regression is fitted to the pixels (deterministic, run to convergence; once a process for the
    same images: seconds for digits, a minute for CIFAR-10 on one core), then measured with `boundary_distances`.
    `images` (N, ...) are uint8 or floats in [0, 1], `labels` (N,) integers with each class at least once, `classes` K
    names, by default the numbers. Returns a CostMatrix of Euclidean distances in pixel space ([0, 1] a pixel).  Raises
    ValueError for bad images or labels, an empty class, or a fit that does not converge.
    """
    images = as_images(images)
    labels = as_labels(labels, len(images), None if classes is None else len(classes)).numpy(force=True)
    classes = class_names(range(labels.max() + 1) if classes is None else classes)
    if empty := [name for label, name in enumerate(classes) if label not in labels]:
        raise ValueError(f"A boundary lies between two classes that have images: there is none of class "
                         f"{listing(empty)}. Add images, or leave the class out and renumber the labels.")
    pixels = to_float(images.detach().cpu().flatten(1)).numpy()
    key = hashlib.sha256(repr(classes).encode() + labels.tobytes() + pixels.tobytes()).digest()
    if key not in _FITTED:
        # Before the limit, which holds only for the thread pools that are there when it is set, scikit-learn's too.
        import sklearn.linear_model  # noqa: F401
        from threadpoolctl import threadpool_limits

        # One thread: the same sums, hence the same digest and the same runs, on any number of cores. It is no slower.
        with threadpool_limits(1):
            values = boundary_distances(*linear_classifier(pixels, labels), pixels, labels)
        _FITTED[key] = CostMatrix(values, classes, name="linear_boundary")
    return _FITTED[key]


def linear_classifier(pixels, labels):
    """Weights (K, D) and bias (K,) of the multinomial logistic regression; the labels hold each class."""
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
    """Mean distance of two classes' points to the hyperplane where their linear scores are equal, (K, K), symmetric.

    The point x of class i has the distance ``|(w_i - w_j) . x + b_i - b_j| / |w_i - w_j|`` (unsigned: a misclassified
    one counts, too) from the boundary between i and j; the means over class i and over class j are averaged. Shapes:
    weights (K, D), bias (K,), points (N, D), labels (N,) of which each class has at least one.
    """
    one_way = np.zeros((len(weights), len(weights)))
    for i in range(len(weights)):
        scores = points[labels == i] @ weights.T.astype(points.dtype) + bias
        norms = np.linalg.norm(weights[i] - weights, axis=1)
        norms[i] = 1.0  # the diagonal: 0 / 1
        one_way[i] = np.abs(scores[:, [i]] - scores).mean(axis=0) / norms
    return (one_way + one_way.T) / 2


def pairs_by_cost(cost, share=1 / 3, which="distant"):
    """A 0/1 matrix (K, K) of the pairs of classes with the highest ("distant") or lowest ("similar") costs.

    `share`, in (0, 1], is that of the K(K-1) pairs, with all that cost the same as the last one chosen. Where these are
    more than half of all pairs (and than `share`), there is no such rank, and none is chosen. It is a cost in its own
    right: 100 / K times `weighted_score` of it is the share of images in % (each class weighing the same) that end in
    one of these pairs.
    """
    if which not in ("distant", "similar") or not 0 < share <= 1:
        raise ValueError(f'pairs_by_cost takes "distant" or "similar", a share in (0, 1], not {which!r} and {share}.')
    values, off = cost.values * (1 if which == "distant" else -1), ~np.eye(len(cost), dtype=bool)
    ranked = np.sort(values[off])[::-1]
    chosen = off & (values >= ranked[max(round(share * len(ranked)), 1) - 1])
    return (chosen * (chosen.sum() <= max(share, 0.5) * off.sum())).astype(np.float64)
