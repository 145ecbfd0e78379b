"""WordNet distances between the classes of CIFAR-10, CIFAR-100 and Tiny-ImageNet (Sec. 3.1 of the paper).

They are computed from ``wordnet30.json``, a bundled slice of WordNet 3.0 that lists the sense chosen for each
class with its gloss, and they equal what NLTK answers from the whole corpus. No download, no nltk.
"""
import json
from functools import cache
from math import inf, log
from pathlib import Path

from .matrix import CostMatrix, listing

SLICE = Path(__file__).with_name("wordnet30.json")
WORDNET = json.loads(SLICE.read_text(encoding="utf-8"))
DATA_SETS = tuple(WORDNET["classes"])


def _key(name):
    return str(name).strip().lower().replace(" ", "_").replace("-", "_")


def senses(data_set):
    """The sense chosen for each class: a list of dicts with class, synset, wnid, lemmas and gloss."""
    if data_set not in DATA_SETS:
        raise ValueError(f"WordNet senses are listed for {', '.join(DATA_SETS)}, not for {data_set!r}. Choose one "
                         "of these, or give your own cost matrix.")
    return WORDNET["classes"][data_set]


@cache
def _names(data_set):
    """Each way to write a class, its name or the first word of its synset -> its row."""
    rows = senses(data_set)
    return {_key(row["lemmas"][0]): row for row in rows} | {_key(row["class"]): row for row in rows}


def data_set_of(classes, among=DATA_SETS):
    """The first data set that has all of the classes, or None."""
    return next((name for name in among if all(_key(one) in _names(name) for one in classes)), None)


def find(data_set, classes):
    """The rows of `senses` for class names in any order; 'car' and 'Egyptian cat' are understood too."""
    names = _names(data_set)
    if missing := [name for name in classes if _key(name) not in names]:
        raise ValueError(f"{data_set} has no class {listing(missing)}; it has "
                         f"{listing([row['class'] for row in senses(data_set)])}. Correct the names.")
    return [names[_key(name)] for name in classes]


def readable(name):
    """A class name for people: 'n02124075' -> 'Egyptian cat', 'pickup_truck' -> 'pickup truck'."""
    row = _names("tiny-imagenet-200").get(name)
    return (row["lemmas"][0] if row and row["class"] == name else str(name)).replace("_", " ")


@cache
def ancestors(synset):
    """Each ancestor of a synset (itself included) -> number of edges of the shortest way up to it."""
    distance = {synset: 0}
    for parent in WORDNET["hypernyms"][synset]:
        for node, steps in ancestors(parent).items():
            distance[node] = min(steps + 1, distance.get(node, inf))
    return distance


@cache
def depth_of(synset, pick):
    """Edges to the root by the shortest (``pick=min``) or the longest (``pick=max``) way."""
    parents = WORDNET["hypernyms"][synset]
    return 1 + pick(depth_of(parent, pick) for parent in parents) if parents else 0


@cache
def _path(a, b):
    """Edges of the shortest way from a up to a common ancestor and down to b; NLTK's shortest_path_distance."""
    up, down = ancestors(a), ancestors(b)
    return min(up[node] + down[node] for node in up.keys() & down.keys())


def _wup(a, b):
    """1 - Wu-Palmer similarity, with the conventions of NLTK's wup_similarity.

    The lowest common ancestor has the greatest *shortest* depth (of equally deep ones a itself, else the first by
    name); its depth is then counted along the *longest* way to the root.
    """
    subsumer = min(ancestors(a).keys() & ancestors(b).keys(), key=lambda node: (-depth_of(node, min), node != a, node))
    depth = depth_of(subsumer, max) + 1
    return 1.0 - 2.0 * depth / (_path(a, subsumer) + _path(b, subsumer) + 2 * depth)


DISTANCES = {
    "path": lambda a, b: float(_path(a, b)),
    "path_similarity": lambda a, b: 1.0 - 1.0 / (_path(a, b) + 1),
    "wup": _wup,
    "lch": lambda a, b: log(_path(a, b) + 1),
}


def wordnet_cost(data_set, distance="path", classes=None):
    """Semantic distances between classes: the paper's metric for CIFAR-10, CIFAR-100 and Tiny-ImageNet.

    `data_set` is one of `DATA_SETS` (the class names of Tiny-ImageNet are WordNet ids, see `readable`); `classes` are
    some of its classes in the order wanted, by default all in its own. Each off-diagonal entry equals NLTK's

    - "path": edges d of the shortest path through a common ancestor, >= 1;
    - "path_similarity": 1 - 1 / (d + 1), in [0, 1);
    - "wup": 1 - Wu-Palmer similarity, in [0, 1); of a class with itself 0, although NLTK has 0.93 for dog;
    - "lch": Leacock-Chodorow similarity of a class with itself minus that of the pair, log(d + 1) in nats.

    Returns a CostMatrix of raw distances, named ``wordnet:<distance>``. ValueError for what is unknown.
    """
    if distance not in DISTANCES:
        raise ValueError(f"There is no WordNet distance {distance!r}. Choose one of {', '.join(DISTANCES)}.")
    names = [row["class"] for row in senses(data_set)] if classes is None else list(classes)
    synsets = [row["synset"] for row in find(data_set, names)]
    values = [[0.0 if a == b else DISTANCES[distance](a, b) for b in synsets] for a in synsets]
    return CostMatrix(values, names, name=f"wordnet:{distance}")
