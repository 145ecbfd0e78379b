"""Costs from groups of classes: cheap within a group, dear across (CIFAR's super-classes, or your own)."""

import math
from types import MappingProxyType

import numpy as np

from .matrix import CostMatrix, _class_names, _listing

_CIFAR100_GROUPS = {  # Krizhevsky, "Learning multiple layers of features from tiny images" (2009), Sec. 3.1
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
}
_CIFAR10_GROUPS = {
    "animals": "bird cat deer dog frog horse",
    "vehicles": "airplane automobile ship truck",
}


def _by_class(groups):
    """{group: "class class ..."} -> read-only {class: group}, classes in alphabetical order as in CIFAR."""
    return MappingProxyType(dict(sorted((name, group) for group, names in groups.items()
                                        for name in names.split())))


CIFAR10_SUPERCLASSES = _by_class(_CIFAR10_GROUPS)
CIFAR100_SUPERCLASSES = _by_class(_CIFAR100_GROUPS)


def superclass_cost(groups, classes=None, within=0.1):
    """Cost 1 across groups, ``within`` inside a group, 0 on the diagonal.

    Parameters
    ----------
    groups : mapping of class name to group
        For example `CIFAR100_SUPERCLASSES`, or ``{"0": "round", "6": "round", "1": "straight"}``.
    classes : sequence of str, optional
        Classes and their order in the result; the keys of ``groups`` by default.
    within : float >= 0
        Cost of a confusion inside a group, relative to 1 across.

    Raises
    ------
    ValueError
        A class without a group, ``within`` negative or not finite, or no positive cost at all.
    """
    names = _class_names(groups if classes is None else classes)
    groups = {str(name): group for name, group in groups.items()}
    missing = [name for name in names if name not in groups]
    if missing:
        raise ValueError(f"No group is given for the class {_listing(missing)}. "
                         "Add it to the mapping from class name to group.")
    if not math.isfinite(within) or within < 0:
        raise ValueError(f"within={within!r} must be a finite cost >= 0 (0.1: a tenth of the cost across groups).")
    same = np.array([[groups[a] == groups[b] for b in names] for a in names])
    values = np.where(same, float(within), 1.0)
    np.fill_diagonal(values, 0.0)
    return CostMatrix(values, names, name="superclass")
