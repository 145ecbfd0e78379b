"""How clustered a representation is: what Fig. 6 shows by eye, as numbers, and the t-SNE behind it."""

import numpy as np
import torch

from .checks import as_labels
from .stratified import stratified_subset


def _as_features(features):
    """Return finite (N, D) float64 features."""
    if isinstance(features, torch.Tensor):
        features = features.detach().cpu()
    features = np.asarray(features, dtype=np.float64)
    if features.ndim != 2 or len(features) < 3:
        raise ValueError(f"features must have shape (N, D) with N >= 3, got {features.shape}.")
    if not np.isfinite(features).all():
        raise ValueError("features must be finite; did the training diverge?")
    return features


def cluster_quality(features, labels, *, neighbors=10, max_points=2000, seed=0):
    """Measure how well the classes separate in a representation (Sec. 3.3, Fig. 6).

    Parameters
    ----------
    features : (N, D) array or tensor
        Compared by Euclidean distance, as t-SNE does.
    labels : (N,) integers
        At least two classes.
    neighbors : int
        Neighbours that vote on each point, itself left out; fewer if there are fewer points.
    max_points : int
        A larger set is cut to a fixed class-stratified subset first (the cost is quadratic).

    Returns
    -------
    dict
        silhouette : mean silhouette coefficient in [-1, 1], larger for tighter, farther classes.
        knn_accuracy : leave-one-out accuracy in [0, 1] of the vote (a tie goes to the lower label).
    """
    from sklearn.metrics import silhouette_score
    from sklearn.neighbors import NearestNeighbors

    features = _as_features(features)
    labels = as_labels(labels, len(features)).numpy(force=True)
    chosen = stratified_subset(labels, max_points, seed)
    features, labels = features[chosen], labels[chosen]
    classes, codes = np.unique(labels, return_inverse=True)
    if not 2 <= len(classes) < len(labels):
        raise ValueError(f"{len(classes)} classes of {len(labels)} points form no clusters to compare.")
    search = NearestNeighbors(n_neighbors=min(neighbors, len(labels) - 1)).fit(features)
    votes = codes[search.kneighbors(return_distance=False)]
    winners = [np.bincount(vote, minlength=len(classes)).argmax() for vote in votes]
    return {
        "silhouette": float(silhouette_score(features, codes)),
        "knn_accuracy": float(np.mean(winners == codes)),
    }


def cluster_samples(features, labels, *, neighbors=10):
    """Return what `cluster_quality` averages, image by image, so that two networks can be compared with an interval.

    Parameters
    ----------
    features : (N, D) array or tensor
    labels : (N,) integers
        At least two classes. All points are used; the cost is quadratic in N.
    neighbors : int
        Neighbours that vote on each point, itself left out.

    Returns
    -------
    silhouettes : (N,) float64 array in [-1, 1]
    agree : (N,) bool array, whether the vote of the neighbours is the label
    """
    from sklearn.metrics import silhouette_samples
    from sklearn.neighbors import NearestNeighbors

    features = _as_features(features)
    classes, codes = np.unique(as_labels(labels, len(features)).numpy(force=True), return_inverse=True)
    if not 2 <= len(classes) < len(codes):
        raise ValueError(f"{len(classes)} classes of {len(codes)} points form no clusters to compare.")
    search = NearestNeighbors(n_neighbors=min(neighbors, len(codes) - 1)).fit(features)
    votes = codes[search.kneighbors(return_distance=False)]
    winners = np.array([np.bincount(vote, minlength=len(classes)).argmax() for vote in votes])
    return silhouette_samples(features, codes), winners == codes


def tsne(features, seed=0, perplexity=30.0):
    """Return a 2-d t-SNE embedding of the features (Fig. 6), the same for the same input and seed.

    PCA initialisation, one thread (sums over threads differ in the last bit, and t-SNE amplifies that).

    Parameters
    ----------
    features : (N, D) array or tensor
    perplexity : float
        Effective number of neighbours; must be smaller than N.

    Returns
    -------
    (N, 2) float32 array.
    """
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    features = _as_features(features)
    if features.shape[1] < 2:
        raise ValueError("t-SNE starts from two principal components; the features have one dimension.")
    if not 0 < perplexity < len(features):
        raise ValueError(f"perplexity must lie between 0 and {len(features)} (the points), got {perplexity}.")
    with threadpool_limits(limits=1):
        return TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(features)
