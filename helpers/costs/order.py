"""Near and distant classes: the pairs by their cost, and an order in which alike classes are neighbours (Fig. 3, 4)."""
from itertools import pairwise

import numpy as np

from .wordnet import readable, shared_hypernym

SMALLEST = 3  # a group with fewer classes joins the nearer one of its neighbours


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


def ordered_groups(cost):
    """Order the classes of a cost matrix so that cheap confusions lie near the diagonal: (order, groups).

    Average-linkage clustering of the costs; of the orders that its tree admits, the one with the least cost between
    neighbours (the paper does not give its own): ``matrix[order][:, order]``. The groups, (name, start, stop), are
    consecutive parts of it, at most twice the square root of K, named by what WordNet calls most of their classes
    ("fish"), else by the class nearest to the others.
    """
    from scipy.cluster.hierarchy import fcluster, leaves_list, linkage
    from scipy.spatial.distance import squareform

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
