"""Entropy, calibration and clusters against SciPy, scikit-learn and cases with a known answer."""

import numpy as np
import pytest
import torch
from scipy.special import softmax
from scipy.stats import entropy
from sklearn.model_selection import LeaveOneOut, cross_val_score
from sklearn.neighbors import KNeighborsClassifier

from helpers import evaluation as ev

# Confidence -----------------------------------------------------------------------------------------------


def test_softmax_entropy_is_scipys():
    logits = np.random.default_rng(0).normal(size=(50, 7)) * 5
    np.testing.assert_allclose(ev.softmax_entropy(logits), entropy(softmax(logits, axis=1), axis=1), atol=1e-12)
    tensor = torch.tensor([[1e4, -1e4, 0.0], [-1e4, -1e4, -1e4], [1e4, 1e4, -1e4]])
    expected = torch.tensor([0.0, np.log(3), np.log(2)], dtype=torch.float32)
    torch.testing.assert_close(ev.softmax_entropy(tensor), expected)
    with pytest.raises(ValueError, match="row 1"):
        ev.softmax_entropy(torch.tensor([[0.0, 1.0], [0.0, float("inf")]]))


def logits_of(confidences):
    confidences = np.asarray(confidences)
    return np.log(np.stack([confidences, 1 - confidences], axis=1))


def test_calibration_error_of_known_cases():
    # 8 of 10 right at confidence 0.8 is calibrated; 5 of 10 right at 0.9 is off by 0.4.
    calibrated, right = logits_of([0.8] * 10), [0] * 8 + [1] * 2
    assert ev.calibration_error(calibrated, right) == pytest.approx(0, abs=1e-12)
    off, half = logits_of([0.9] * 10), [0] * 5 + [1] * 5
    assert ev.calibration_error(off, half) == pytest.approx(0.4)
    both = np.concatenate([calibrated, off, off]), right + half + half
    assert ev.calibration_error(*both) == pytest.approx(0.4 * 2 / 3)
    assert ev.calibration_error(*both, bins=1) == pytest.approx(abs(18 / 30 - (0.8 + 0.9 + 0.9) / 3))
    assert ev.calibration_error(torch.tensor([[1e4, -1e4]]), [1]) == 1


def test_reliability_table_agrees_with_a_loop():
    rng = np.random.default_rng(1)
    logits, labels = rng.normal(size=(400, 5)) * 2, rng.integers(0, 5, 400)
    probabilities = softmax(logits, axis=1)
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    table, expected = ev.reliability_table(logits, labels, bins=10), 0.0
    for row in table.itertuples():
        inside = (confidence > row.low) & (confidence <= row.high)
        assert row.count == inside.sum()
        if inside.any():
            assert row.confidence == pytest.approx(confidence[inside].mean())
            assert row.accuracy == pytest.approx(right[inside].mean())
            expected += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
        else:
            assert np.isnan(row.accuracy)
    assert ev.calibration_error(logits, labels, bins=10) == pytest.approx(expected)
    # A confidence on an edge belongs to the bin below, ((m - 1) / M, m / M].
    assert ev.reliability_table([[0.0, 0.0]], [0], bins=2)["count"].tolist() == [1, 0]
    with pytest.raises(ValueError, match="bins"):
        ev.calibration_error(logits, labels, bins=0)


# Clusters -------------------------------------------------------------------------------------------------


def blobs(separation, per_class=40, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(3), per_class)
    return rng.normal(size=(3 * per_class, 5)) + separation * np.eye(5)[labels], labels


def test_cluster_quality_grows_with_separation_and_is_leave_one_out():
    tight, loose = (ev.cluster_quality(*blobs(separation)) for separation in (20, 1))
    assert tight["silhouette"] > 0.8 and tight["knn_accuracy"] == 1.0
    assert tight["silhouette"] > loose["silhouette"] and loose["knn_accuracy"] < 0.9
    features, labels = blobs(1.5)
    found = ev.cluster_quality(features, labels, neighbors=5)["knn_accuracy"]
    expected = cross_val_score(KNeighborsClassifier(5), features, labels, cv=LeaveOneOut()).mean()
    assert found == pytest.approx(expected)
    subset = ev.cluster_quality(features, labels, max_points=60)
    assert subset == ev.cluster_quality(features, labels, max_points=60) != ev.cluster_quality(features, labels)
    with pytest.raises(ValueError, match="1 classes"):
        ev.cluster_quality(features, np.zeros(len(labels), int))


def test_tsne_is_deterministic_and_keeps_clusters_apart():
    features, labels = blobs(15, per_class=20)
    first, second = (ev.tsne(torch.tensor(features), seed=3, perplexity=10) for _ in range(2))
    assert first.shape == (60, 2)
    np.testing.assert_array_equal(first, second)
    assert ev.cluster_quality(first, labels)["knn_accuracy"] == 1.0
    with pytest.raises(ValueError, match="perplexity"):
        ev.tsne(features[:20], perplexity=30)
    with pytest.raises(ValueError, match="finite"):
        ev.tsne(features * np.nan)
