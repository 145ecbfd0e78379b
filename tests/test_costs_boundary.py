"""The linear-boundary metric against hand-computed distances, closed forms and the paper's words; bad input."""

import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from helpers import costs, data
from helpers.costs import sources

WEIGHTS, BIAS = np.array([[3.0, 0.0], [0.0, 4.0], [0.0, 0.0]]), np.array([0.0, 0.0, 1.0])
POINTS = np.array([[1.0, 0.0], [0.5, 0.25], [0.0, 0.5], [0.8, 0.0], [0.0, 0.0]])  # the fourth is misclassified
LABELS = np.array([0, 0, 1, 1, 2])


def test_boundary_distances_by_hand():
    """Boundaries 3x = 4y (norm 5), 3x = 1 (norm 3), 4y = 1 (norm 4)."""
    zero_one = ((3 / 5 + 0.5 / 5) / 2 + (2 / 5 + 2.4 / 5) / 2) / 2
    zero_two = ((2 / 3 + 0.5 / 3) / 2 + 1 / 3) / 2
    one_two = ((1 / 4 + 1 / 4) / 2 + 1 / 4) / 2
    expected = [[0, zero_one, zero_two], [zero_one, 0, one_two], [zero_two, one_two, 0]]
    np.testing.assert_allclose(sources.boundary_distances(WEIGHTS, BIAS, POINTS, LABELS), expected, rtol=1e-12)


def test_bytes_are_scaled():
    bytes_ = np.random.default_rng(0).integers(0, 256, (20, 1, 3, 3)).astype(np.uint8)
    labels = np.arange(20) % 3
    whole = costs.linear_boundary_cost(bytes_, labels)
    scaled = costs.linear_boundary_cost(torch.from_numpy(bytes_ / np.float32(255)), torch.from_numpy(labels))
    np.testing.assert_allclose(whole.values, scaled.values, rtol=1e-6)


def test_boundaries_of_symmetric_points_are_bisectors():
    pair = np.array([[0.25, 0.5], [0.75, 0.5]] * 3)  # boundary x = 1/2 by symmetry
    cost = costs.linear_boundary_cost(pair, np.array([0, 1] * 3), ["left", "right"])
    np.testing.assert_allclose(cost.values, [[0, 0.25], [0.25, 0]], rtol=1e-5)
    assert cost.classes == ("left", "right") and cost.name == "linear_boundary"
    weights, bias = sources.linear_classifier(pair, np.array([0, 1] * 3))
    on_the_line, left = weights @ [0.5, 0.1] + bias, weights @ [0.4, 0.1] + bias
    assert on_the_line[0] == pytest.approx(on_the_line[1], abs=1e-6) and left[0] > left[1]
    angles = np.pi / 2 + 2 * np.pi * np.arange(3) / 3
    triangle = 0.5 + 0.4 * np.stack([np.cos(angles), np.sin(angles)], axis=1)  # side 0.4 sqrt(3)
    cost = costs.linear_boundary_cost(triangle, np.arange(3))
    np.testing.assert_allclose(cost.values, 0.2 * np.sqrt(3) * (1 - np.eye(3)), rtol=1e-3)
    assert cost.classes == ("0", "1", "2")


@pytest.fixture(scope="module")
def digits():
    digits = data.load("mnist5k")
    images, labels = (torch.cat([getattr(digits, f"{axis}_{part}") for part in ("train", "test")]) for axis in "xy")
    return images.numpy(), labels.numpy()


def test_digits_agree_with_the_paper_and_repeat(digits):
    """Sec. 3.1: "0" and "1" hardly fool each other; the most similar digits are "4" and "9"."""
    images, labels = torch.from_numpy(digits[0]), torch.from_numpy(digits[1])
    cost = costs.linear_boundary_cost(images, labels)
    off = np.where(np.eye(10), np.nan, cost.values)
    assert np.unravel_index(np.nanargmin(off), off.shape) == (4, 9)
    assert np.unravel_index(np.nanargmax(off), off.shape) == (0, 1)
    assert 0.1 < np.nanmin(off) and np.nanmax(off) < 28
    assert costs.linear_boundary_cost(images, labels) == cost


def test_linear_classifier_is_at_its_optimum(digits):
    pixels, labels = digits[0][::5].reshape(-1, 784) / 255.0, digits[1][::5]
    weights, bias = sources.linear_classifier(pixels, labels)
    scores = pixels @ weights.T + bias
    chances = np.exp(scores - scores.max(axis=1, keepdims=True))
    chances /= chances.sum(axis=1, keepdims=True)
    errors = (chances - np.eye(10)[labels]) / len(labels)
    assert np.abs(errors.T @ pixels + sources.WEIGHT_DECAY * weights).max() < 1e-4
    assert np.abs(errors.sum(axis=0)).max() < 1e-4


def test_unconverged_classifier_is_an_error(digits, monkeypatch):
    monkeypatch.setattr(sources, "MAX_ITERATIONS", 2)
    with pytest.warns(UserWarning), pytest.raises(ValueError, match="did not converge in 2"):
        costs.linear_boundary_cost(digits[0][::10], digits[1][::10])


GREY = np.full((4, 2, 2), 0.5)
BAD_IMAGES = {
    "empty class": (GREY, [0, 0, 2, 2], None, "none of class '1'"),
    "empty class by name": (GREY, [0, 0, 1, 1], ["cat", "dog", "fox"], "none of class 'fox'"),
    "label too large": (GREY, [0, 1, 2, 5], ["cat", "dog", "fox"], r"0\.\.2.*0 to 5"),
    "negative label": (GREY, [0, 1, -1, 1], None, r"from -1 to 1"),
    "float labels": (GREY, [0.0, 1.0, 0.0, 1.0], None, "float64.*integer"),
    "one-hot labels": (GREY, np.eye(4, dtype=int), None, r"shape \(N,\).*\(4, 4\)"),
    "no labels": (GREY[:0], np.zeros(0, dtype=int), None, "no image"),
    "one class": (GREY, [0, 0, 0, 0], None, "at least 2 classes"),
    "int64 images": (np.ones((4, 2), dtype=np.int64), [0, 1, 0, 1], None, "torch.int64"),
    "boolean images": (np.ones((4, 2), dtype=bool), [0, 1, 0, 1], None, "torch.bool"),
    "too bright": (GREY * 510, [0, 1, 0, 1], None, "0, 1.*255"),
    "normalised": (GREY - 1, [0, 1, 0, 1], None, "0, 1.*-0.5"),
    "nan": (GREY * np.nan, [0, 1, 0, 1], None, "nan"),
    "too few images": (GREY[:3], [0, 1, 0, 1], None, "3 images but 4 labels"),
}


@pytest.mark.parametrize(("images", "labels", "classes", "message"), BAD_IMAGES.values(), ids=BAD_IMAGES)
def test_bad_images_and_labels(images, labels, classes, message):
    with pytest.raises(ValueError, match=message) as error:
        costs.linear_boundary_cost(images, np.asarray(labels), classes)
    assert "\n" not in str(error.value)


def test_spec_linear_boundary_uses_the_training_images(digits):
    chosen = np.isin(digits[1], (4, 9))
    images, labels = digits[0][chosen], (digits[1][chosen] == 9).astype(np.int64)
    data_set = SimpleNamespace(name="mnist5k", classes=("4", "9"), x_train=images, y_train=labels)
    cost = costs.from_spec("linear_boundary", data_set)
    assert cost.classes == ("4", "9") and cost == costs.linear_boundary_cost(images, labels, ("4", "9"))


def test_the_classifier_is_fitted_once_for_the_same_images_and_again_for_others(monkeypatch):
    fits = []

    def distances(*_):
        fits.append(1)
        return np.array([[0, len(fits)], [len(fits), 0]])

    monkeypatch.setattr(sources, "boundary_distances", distances)
    images, labels = torch.randint(0, 256, (6, 1, 3, 3), dtype=torch.uint8), torch.tensor([0, 1] * 3)
    first = costs.linear_boundary_cost(images, labels, ("a", "b"))
    assert costs.linear_boundary_cost(images.clone(), labels, ("a", "b")) is first and len(fits) == 1
    changed = images.clone()
    changed[3, 0, 0, 0] += 1
    assert costs.linear_boundary_cost(changed, labels, ("a", "b")) is not first
    assert costs.linear_boundary_cost(images, labels.flip(0), ("a", "b")) is not first
    assert costs.linear_boundary_cost(images, labels, ("b", "a")).classes == ("b", "a") and len(fits) == 4


def test_the_first_call_of_a_process_is_limited_to_one_thread_as_well():
    script = """
import sys, numpy, threadpoolctl
from helpers.costs import sources
assert "sklearn.linear_model" not in sys.modules
def fit(pixels, labels):
    threads = {pool["num_threads"] for pool in threadpoolctl.threadpool_info()}
    print(sorted(threads), "sklearn.linear_model" in sys.modules)
    raise SystemExit
sources.linear_classifier = fit
sources.linear_boundary_cost(numpy.random.default_rng(0).random((6, 4)), numpy.arange(6) % 2)
"""
    pools = {name: value for name, value in os.environ.items() if not name.endswith("NUM_THREADS")}
    call = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=pools)
    assert call.stdout == "[1] True\n", call.stdout + call.stderr
