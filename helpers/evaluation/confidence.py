"""How sure a network is, and whether it should be: softmax entropy (Sec. 3.3, Fig. 7) and calibration."""

import numpy as np
import torch

from .checks import as_labels, as_logits


def softmax_entropy(logits):
    """Return the entropy of softmax(logits) of each row, in nats, between 0 and log K (Fig. 7).

    Parameters
    ----------
    logits : (N, K) tensor or array of floats
        Finite; +-1e4 is safe because the softmax is taken in the log domain.

    Returns
    -------
    (N,) tensor, or an array if `logits` was an array.
    """
    log_probabilities = as_logits(logits).log_softmax(dim=1)
    entropy = -(log_probabilities.exp() * log_probabilities).sum(dim=1)
    entropy = entropy.clamp(min=0.0)
    return entropy if isinstance(logits, torch.Tensor) else entropy.numpy()


def _reliability(logits, labels, bins):
    """Return edges (bins + 1,) and, a bin, the count, mean confidence and accuracy (NaN where empty)."""
    if bins < 1:
        raise ValueError(f"bins must be at least 1, got {bins}.")
    logits = as_logits(logits).detach().cpu().double()
    labels = as_labels(labels, len(logits), logits.shape[1]).cpu()
    confidence, prediction = logits.softmax(dim=1).max(dim=1)
    right = (prediction == labels).double()
    edges = np.linspace(0.0, 1.0, bins + 1)
    # Bin m holds confidences in ((m - 1) / bins, m / bins], as in Guo et al.
    index = np.clip(np.digitize(confidence.numpy(), edges, right=True) - 1, 0, bins - 1)
    count = np.bincount(index, minlength=bins)
    sums = [np.bincount(index, weights=w, minlength=bins) for w in (confidence.numpy(), right.numpy())]
    means = [np.divide(s, count, out=np.full(bins, np.nan), where=count > 0) for s in sums]
    return edges, count, *means


def calibration_error(logits, labels, bins=15):
    """Return the expected calibration error: the mean |accuracy - confidence|, weighted by bin size.

    Equal-width bins of the largest softmax probability (Guo et al. 2017, Eq. 3; the paper's [19]).

    Parameters
    ----------
    logits : (N, K) tensor or array of floats
    labels : (N,) integers in 0..K-1
    bins : int

    Returns
    -------
    float in [0, 1].
    """
    _, count, confidence, accuracy = _reliability(logits, labels, bins)
    return float(np.nansum(count * np.abs(accuracy - confidence)) / count.sum())


def reliability_table(logits, labels, bins=15):
    """Return the bins behind `calibration_error` as a DataFrame: low, high, count, confidence, accuracy."""
    import pandas as pd

    edges, count, confidence, accuracy = _reliability(logits, labels, bins)
    bounds = {"low": edges[:-1], "high": edges[1:]}
    return pd.DataFrame({**bounds, "count": count, "confidence": confidence, "accuracy": accuracy})
