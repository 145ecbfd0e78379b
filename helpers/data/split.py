"""Fixed splits of the training set, parts of a test set, pairs of classes, and unbalanced classes (Sec. 3.2)."""
import math
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch

from helpers.checks import as_labels


class Split(NamedTuple):
    """Training and validation part of a data set's training images (indices into `x_train`)."""

    train: torch.Tensor
    validation: torch.Tensor


def split(labels, val_size=0.1, train_size=None, seed=0):
    """Hold out a validation part, and keep `train_size` of the rest; both in the classes' proportions.

    `labels` is a LongTensor (N,), `val_size` a fraction (float) or a number of images (int), `train_size` a number, by
    default of all that is left. A seed gives the same split, whatever else a run does. Raises ValueError if the sizes
    do not fit the data, or leave a class empty.
    """
    total = len(labels)
    held = round(val_size * total) if isinstance(val_size, float) else int(val_size)
    if not 0 < held < total:
        raise ValueError(f"val_size = {val_size} holds out {held} of {total} training images: choose between the two")
    kept = total - held if train_size is None else int(train_size)
    if not 0 < kept <= total - held:
        raise ValueError(f"train_size = {train_size} with {held} images held out for validation: "
                         f"the data set leaves {total - held}")
    order = torch.randperm(total, generator=torch.Generator().manual_seed(seed))
    # Position of each image among those of its class, as a fraction: sorting by it interleaves the classes.
    rank = torch.empty(total, dtype=torch.float64)
    for label in labels.unique():
        members = (labels[order] == label).nonzero()[:, 0]
        rank[members] = (torch.arange(len(members)) + 0.5).double() / len(members)
    ranked = order[torch.sort(rank, stable=True).indices]
    validation, train = ranked[:held], ranked[held:held + kept]
    for part, indices in (("validation", validation), ("training", train)):
        if missing := sorted(set(labels.tolist()) - set(labels[indices].tolist())):
            raise ValueError(f"the {part} part of {len(indices)} images has none of class {missing[0]}: enlarge it")
    return Split(train, validation)


def stratified_subset(labels, limit, seed=0):
    """The sorted indices of `limit` images with every class in its proportion, at least one each.

    The choice depends only on the (N,) integer labels, limit and seed; balanced classes get equal shares (to within
    one). None or a limit >= N keeps all images; one below the number of classes is a ValueError.
    """
    labels = as_labels(labels).numpy(force=True)
    if limit is None or limit >= len(labels):
        return np.arange(len(labels))
    classes, counts = np.unique(labels, return_counts=True)
    if limit < len(classes):
        raise ValueError(f"limit = {limit} cannot show all {len(classes)} classes; use at least that many images.")
    spare = (limit - len(classes)) * (counts - 1) / (len(labels) - len(classes))
    take = 1 + np.floor(spare).astype(int)
    largest_remainder = np.argsort(np.floor(spare) - spare, kind="stable")
    take[largest_remainder[: limit - take.sum()]] += 1
    rng = np.random.default_rng(seed)
    chosen = [rng.permutation(np.flatnonzero(labels == k))[:n] for k, n in zip(classes, take, strict=True)]
    return np.sort(np.concatenate(chosen))


def class_index(dataset, name):
    """Label of a class by its name."""
    if str(name) not in dataset.classes:
        raise ValueError(f"{name!r} is no class of {dataset.name!r}: choose one of "
                         f"{', '.join(dataset.classes[:20])}{' ...' if dataset.num_classes > 20 else ''}")
    return dataset.classes.index(str(name))


def select_classes(dataset, names):
    """The images of two or more classes, relabelled 0, 1, ... in the order of `names` (cat and dog in Fig. 5, say)."""
    names = tuple(str(name) for name in names)
    wanted = [class_index(dataset, name) for name in names]
    lookup = torch.full((dataset.num_classes,), -1)
    lookup[wanted] = torch.arange(len(wanted))
    parts = {}
    for part in ("train", "test"):
        x, y = getattr(dataset, f"x_{part}"), getattr(dataset, f"y_{part}")
        keep = lookup[y] >= 0
        parts |= {f"x_{part}": x[keep], f"y_{part}": lookup[y[keep]]}
    return replace(dataset, name=f"{dataset.name}[{'+'.join(names)}]", classes=names, mean=None, std=None, **parts)


def imbalance(labels, indices, ratio, minority, seed=0):
    """Cut one class of a training part at random until it has `ratio` times the size of the largest other class.

    Sec. 3.2 unbalances a pair "such that their ratio is 0.3" and does not say which class it cuts; here it is
    `minority`, an int. `labels` (N,) are those of the whole training set, `indices` the training part; validation and
    test stay balanced. Returns the kept indices; raises ValueError for a ratio that this class cannot have.
    """
    members, others = (indices[(labels[indices] == minority) == mine] for mine in (True, False))
    largest = int(torch.bincount(labels[others]).max())
    keep = round(ratio * largest)
    if not (0 < ratio <= 1 and 0 < keep <= len(members)):
        raise ValueError(f"ratio = {ratio} asks for {keep} images of class {minority}, which has {len(members)} beside "
                         f"the {largest} of the largest class: from {1 / largest:.2g} to "
                         f"{math.floor(1000 * min(1, len(members) / largest)) / 1000} is possible")
    shuffled = members[torch.randperm(len(members), generator=torch.Generator().manual_seed(seed))]
    return torch.cat([others, shuffled[:keep]])
