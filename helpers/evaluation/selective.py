"""Answer only when sure: what a threshold on the softmax accepts, and how often that is wrong (Sec. 3.3)."""

import numpy as np

from .checks import as_labels, as_logits


def softmax_confidence(logits):
    """Return the largest softmax probability of each row, (N,) float64 array in [1/K, 1]."""
    return as_logits(logits).detach().cpu().double().softmax(dim=1).amax(dim=1).numpy()


def risk_coverage(logits, labels):
    """Return what each threshold on the confidence accepts and gets wrong, from the strictest to none.

    Parameters
    ----------
    logits : (N, K) tensor or array of floats
    labels : (N,) integers in 0..K-1

    Returns
    -------
    DataFrame
        threshold : confidence of the least sure accepted image, a share, falling.
        coverage : accepted images in % of all, rising to 100. Images of equal confidence come together.
        error : wrong answers in % of the accepted images; its last entry is the natural error.
    """
    import pandas as pd

    sure = softmax_confidence(logits)
    logits = as_logits(logits).detach().cpu()
    wrong = (logits.argmax(dim=1) != as_labels(labels, len(logits), logits.shape[1]).cpu()).numpy()
    order = np.argsort(-sure, kind="stable")
    accepted = np.arange(1, len(order) + 1)
    table = pd.DataFrame({"threshold": sure[order], "coverage": 100 * accepted / len(order),
                          "error": 100 * wrong[order].cumsum() / accepted})
    return table.drop_duplicates("threshold", keep="last", ignore_index=True)


def error_at_coverage(table, coverages):
    """Return the rows of `risk_coverage` with the smallest sufficient coverage, one for each of `coverages` (in %)."""
    # A coverage is a ratio of integers: 1e-9 keeps rounding from asking for one image more.
    rows = np.searchsorted(table["coverage"].to_numpy(), np.asarray(coverages, dtype=float) - 1e-9)
    return table.iloc[rows].reset_index(drop=True)
