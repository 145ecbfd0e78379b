"""Image by image: bootstrap intervals, thresholds on the confidence, clusters; pairs of classes over seeds."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import bootstrap as scipy_bootstrap

from helpers import evaluation as ev
from helpers.claims import interval_over_seeds
from helpers.paper import seed_table, seeds_and_images, with_intervals

# Bootstrap ------------------------------------------------------------------------------------------------


def test_bootstrap_of_a_mean_agrees_with_scipy():
    values = np.random.default_rng(0).gamma(2.0, size=200)
    value, low, high = ev.bootstrap_statistic(np.mean, values, samples=4000)
    expected = scipy_bootstrap((values,), np.mean, n_resamples=4000, method="percentile", rng=1).confidence_interval
    assert value == pytest.approx(values.mean())
    np.testing.assert_allclose([low, high], expected, atol=0.02)
    assert ev.bootstrap_statistic(np.mean, values) == ev.bootstrap_statistic(np.mean, torch.tensor(values))


def test_bootstrap_pairs_columns_and_keeps_groups():
    first = np.random.default_rng(0).normal(size=300)
    # The same images: a constant difference has no spread although both columns have.
    value, low, high = ev.bootstrap_statistic(lambda a, b: b.mean() - a.mean(), first, first + 2, samples=50)
    np.testing.assert_allclose([value, low, high], 2)
    groups = np.repeat([0, 1], [290, 10])
    sizes = ev.bootstrap_statistic(lambda group: (group == 1).sum(), groups, groups=groups, samples=50)
    assert sizes == (10, 10, 10)
    assert np.isnan(ev.bootstrap_statistic(np.mean, first[:0])).all()
    with pytest.raises(ValueError, match="lengths"):
        ev.bootstrap_statistic(np.mean, first, first[:-1])
    with pytest.raises(ValueError, match="2 samples"):
        ev.bootstrap_statistic(np.mean, first, samples=1)


def test_paired_means_is_a_row_with_the_difference_of_second_and_first():
    row = ev.paired_means([True, False, True, False], [3.0, 3.0, 3.0, 3.0], names=("ce", "pgd"), samples=100)
    assert (row["ce"], row["pgd"], row["difference"]) == (0.5, 3.0, 2.5)
    assert row["pgd_low"] == row["pgd_high"] == 3.0
    assert row["difference_low"] == pytest.approx(3 - row["ce_high"])


# Thresholds -----------------------------------------------------------------------------------------------


def test_risk_coverage_by_hand():
    confidences, labels = np.array([0.9, 0.6, 0.8, 0.8]), [0, 0, 1, 0]
    logits = np.log(np.stack([confidences, 1 - confidences], axis=1))
    np.testing.assert_allclose(ev.softmax_confidence(logits), confidences)
    table = ev.risk_coverage(logits, labels)
    # The two images of confidence 0.8 are accepted together: one threshold cannot part them.
    np.testing.assert_allclose(table["threshold"], [0.9, 0.8, 0.6])
    np.testing.assert_allclose(table["coverage"], [25, 75, 100])
    np.testing.assert_allclose(table["error"], [0, 100 / 3, 25])
    np.testing.assert_allclose(ev.error_at_coverage(table, [25, 30, 75, 100])["coverage"], [25, 75, 75, 100])


def test_full_coverage_is_the_natural_error():
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(333, 5)), rng.integers(0, 5, 333)
    table = ev.risk_coverage(torch.tensor(logits), labels)
    assert table["error"].iloc[-1] == pytest.approx(100 * (logits.argmax(1) != labels).mean())
    assert table["coverage"].is_monotonic_increasing and table["threshold"].is_monotonic_decreasing
    assert len(ev.error_at_coverage(table, 100 * np.arange(1, 334) / 333)) == 333


# Clusters -------------------------------------------------------------------------------------------------


def test_cluster_samples_average_to_cluster_quality():
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(3), 30)
    features = rng.normal(size=(90, 5)) + 2 * np.eye(5)[labels]
    silhouettes, agree = ev.cluster_samples(features, labels, neighbors=7)
    quality = ev.cluster_quality(features, labels, neighbors=7)
    assert silhouettes.mean() == pytest.approx(quality["silhouette"])
    assert agree.mean() == pytest.approx(quality["knn_accuracy"])
    with pytest.raises(ValueError, match="1 classes"):
        ev.cluster_samples(features, np.zeros(90, int))


# Pairs over seeds -----------------------------------------------------------------------------------------


def history(errors):
    return pd.DataFrame({"epoch": range(1, len(errors) + 1), "val_ne": errors})


def test_seed_band_is_mean_and_range_an_epoch():
    runs = [SimpleNamespace(history=history(errors)) for errors in ([50, 10], [40, 20], [30, 0])]
    assert ev.seed_band(runs) == {"x": [1, 2], "y": [40, 10], "low": [30, 0], "high": [50, 20]}
    with pytest.raises(ValueError, match="same epochs"):
        ev.seed_band([*runs, SimpleNamespace(history=history([1, 2, 3]))])
    with pytest.raises(ValueError, match="0 runs"):
        ev.seed_band([])


class AlwaysFirst(torch.nn.Module):
    """Answers class 0, as a network does that lost the other class."""

    def __init__(self, num_classes):
        super().__init__()
        self.bias = torch.nn.Parameter(torch.eye(num_classes)[0])

    def forward(self, x):
        return self.bias.expand(len(x), -1)


def pair_run(folder, num_classes=2):
    data = SimpleNamespace(num_classes=num_classes, x_test=torch.zeros(num_classes * 5, 1, 2, 2),
                           y_test=torch.arange(num_classes).repeat(5))
    metrics = {"train_images": 13, "train_loss": 0.5, "val_ne": 50.0, "val_ae": 50.0}
    return SimpleNamespace(model=AlwaysFirst(num_classes), dataset=data, folder=folder, metrics=metrics,
                           history=history([48, 56, 50]), config=SimpleNamespace(label="test"))


def test_pair_errors_name_the_lost_class(tmp_path):
    found = ev.pair_errors(pair_run(tmp_path))
    assert (found["test_ne"], found["test_first"], found["test_second"]) == (50, 0, 100)
    assert (found["val_best"], found["epochs_at_chance"], found["train_images"]) == (48, 2, 13)
    with pytest.raises(ValueError, match="3 classes"):
        ev.pair_errors(pair_run(tmp_path, 3))


def test_seed_table_keeps_order_and_gives_intervals():
    frame = pd.DataFrame({"panel": ["b", "b", "a"], "seed": [0, 1, 0], "error": [1.0, 3.0, 5.0]})
    table = seed_table(frame, ["panel"])
    assert table["panel"].tolist() == ["b", "a"] and table["seeds"].tolist() == [2, 1]
    assert table.loc[0, ["error", "error_low", "error_high"]].tolist() == [2, 1, 3]
    assert with_intervals(table)["error"].tolist() == ["2 [1, 3]", "5"]
    with pytest.raises(ValueError, match="twice"):
        seed_table(frame, ["seed"], seed="seed")


def test_seeds_and_images_takes_the_wider_interval():
    images = np.random.default_rng(0).integers(0, 2, 40) * 100.0
    agreeing = np.stack([images] * 3)
    value, low, high = seeds_and_images(agreeing)
    assert (value, low, high) == ev.bootstrap_statistic(np.mean, images) and high - low > 20
    disagreeing = np.array([0.0, 10.0, 50.0])[:, None] * np.ones(40)
    assert seeds_and_images(disagreeing) == interval_over_seeds([0, 10, 50])
    assert seeds_and_images(agreeing[:1])[1:] == (low, high)


def test_seeds_and_images_adds_the_spread_of_different_images():
    rng = np.random.default_rng(1)
    first, second = rng.normal(5, 10, (1, 400)), rng.normal(2, 10, (1, 300))
    value, low, high = seeds_and_images(first, -second, samples=4000)
    assert value == pytest.approx(first.mean() - second.mean())
    expected = 1.96 * np.sqrt(first.var() / 400 + second.var() / 300)
    assert (high - low) / 2 == pytest.approx(expected, rel=0.06)
    with pytest.raises(ValueError, match="shapes"):
        seeds_and_images(first, np.zeros((2, 5)))
