"""An order of many classes in which alike ones are neighbours, with names for their groups (Fig. 3, 4)."""
from itertools import pairwise

import numpy as np
from scipy.cluster.hierarchy import fcluster, leaves_list, linkage
from scipy.spatial.distance import squareform

from helpers.costs.wordnet import ancestors, data_set_of, depth_of, find, readable

SMALLEST = 3  # a group with fewer classes joins the nearer one of its neighbours


def ordered_groups(cost):
    """Order the classes of a cost matrix so that cheap confusions lie near the diagonal: (order, groups).

    Average-linkage clustering of the costs; of the orders that its tree admits, the one with the least cost between
    neighbours (the paper does not give its own): ``matrix[order][:, order]``. The groups, (name, start, stop), are
    consecutive parts of it, at most twice the square root of K, named by what WordNet calls most of their classes
    ("fish"), else by the class nearest to the others.
    """
    values = (cost.values + cost.values.T) / 2
    tree = linkage(squareform(values, checks=False), "average", optimal_ordering=True)
    order = leaves_list(tree)
    member = fcluster(tree, round(2 * len(cost) ** 0.5), "maxclust")[order]
    edges = [0, *(np.flatnonzero(np.diff(member)) + 1).tolist(), len(order)]
    edges = _join_small(values[np.ix_(order, order)], edges)
    return order.tolist(), [(_name(cost, values, order[start:stop]), start, stop) for start, stop in pairwise(edges)]


def _join_small(values, edges):
    """Give up the edge between a group that is too small and the neighbour that it is nearer to."""
    while len(edges) > 2 and np.diff(edges).min() < SMALLEST:
        index = int(np.diff(edges).argmin())
        own = slice(edges[index], edges[index + 1])
        sides = {edge: values[own, slice(*sorted((edges[edge], edges[other])))].mean()
                 for edge, other in ((index, index - 1), (index + 1, index + 2)) if 0 < edge < len(edges) - 1}
        edges.pop(min(sides, key=sides.get))
    return edges


def _name(cost, values, members):
    """What WordNet calls most of a group's classes, else "like" the class at its centre."""
    names = [cost.classes[index] for index in members]
    centre = values[np.ix_(members, members)].sum(axis=1).argmin()
    return shared_hypernym(names) or f"like {readable(names[centre])}"


def shared_hypernym(classes):
    """What WordNet calls 3 in 4 of the classes, as specific as can be ("fish" for shark, trout, ray), or None."""
    if (data_set := data_set_of(classes)) is None:
        return None
    above = [ancestors(row["synset"]).keys() for row in find(data_set, classes)]
    counts = {node: sum(node in own for own in above) for node in sorted(set().union(*above))}
    enough = [node for node, count in counts.items() if count >= 0.75 * len(above)]
    # Of equally deep words the one that includes more of the classes.
    deepest = max(enough, key=lambda node: (depth_of(node, max), counts[node]))
    return deepest.split(".")[0].replace("_", " ")
