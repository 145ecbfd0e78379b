"""Augmentation by brute force, splits, pairs and imbalance by counting, statistics by NumPy."""
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy import stats

from helpers import data
from helpers.data.dataset import statistics


def images(count=12, channels=3, height=7, width=9, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(1, 256, (count, channels, height, width), dtype=torch.uint8, generator=generator)


def crops(image, padding=4):
    """All crops of one padded image, mirrored and not: (81, 2) pictures by their offsets."""
    padded = np.pad(image.numpy(), [(0, 0), (padding,) * 2, (padding,) * 2])
    height, width = image.shape[1:]
    for top in range(2 * padding + 1):
        for left in range(2 * padding + 1):
            crop = padded[:, top:top + height, left:left + width]
            yield (top, left, False), crop
            yield (top, left, True), crop[:, :, ::-1]


def found(output, image):
    """The crop of `image` that `output` is, as (top, left, mirrored), or None."""
    return next((which for which, crop in crops(image) if np.array_equal(output.numpy(), crop)), None)


def augmented(x, indices, generator, **settings):
    (batch, _), = data.Augment(x, **settings).epoch([indices], generator)
    return batch


@pytest.mark.parametrize("channels", [1, 3])
def test_each_output_is_a_crop_of_its_own_image_and_the_images_differ_in_it(channels, rng):
    x = images(channels=channels)
    indices = torch.randperm(12, generator=rng)[:8].repeat(2)
    batch = augmented(x, indices, rng)
    assert batch.shape == (16, channels, 7, 9) and batch.dtype == torch.uint8
    which = [found(one, x[index]) for one, index in zip(batch, indices)]
    assert None not in which
    assert len(set(which)) > 10, "the images of a batch share their crops"


def test_crops_and_flips_are_uniform_and_independent(rng):
    x = images(1)
    batch = augmented(x, torch.zeros(4000, dtype=torch.int64), rng)
    lookup = {crop.tobytes(): which for which, crop in crops(x[0])}
    assert len(lookup) == 81 * 2
    which = [lookup[one.contiguous().numpy().tobytes()] for one in batch]
    counts = np.zeros((9, 9, 2), dtype=int)
    np.add.at(counts, tuple(np.array(which, dtype=int).T), 1)
    assert stats.binomtest(int(counts[:, :, 1].sum()), 4000, 0.5).pvalue > 0.001
    assert stats.chisquare(counts.ravel()).pvalue > 0.001


def test_augmentation_is_decided_by_the_generator_alone():
    x, indices = images(), torch.arange(12)
    runs = []
    for seed, outside in ((1, 5), (1, 6), (2, 5)):
        torch.manual_seed(outside)
        runs.append(augmented(x, indices, torch.Generator().manual_seed(seed)))
    assert torch.equal(runs[0], runs[1]) and not torch.equal(runs[0], runs[2])


def test_crops_without_flips_flips_without_crops_and_neither(rng):
    x, indices = images(), torch.arange(12).repeat(4)
    cropped = augmented(x, indices, rng, flip=False)
    assert not any(found(one, x[index])[2] for one, index in zip(cropped, indices))
    flipped = augmented(x, indices, rng, padding=0)
    offsets = [found(one, x[index]) for one, index in zip(flipped, indices)]
    assert {which[:2] for which in offsets} == {(4, 4)} and {which[2] for which in offsets} == {True, False}
    assert torch.equal(augmented(x, indices, rng, padding=0, flip=False), x[indices])


def test_points_are_never_augmented(rng):
    points = torch.rand(10, 2)
    assert torch.equal(augmented(points, torch.tensor([3, 1]), rng), points[[3, 1]])


# --- splits, pairs, imbalance -----------------------------------------------------------------------------------

LABELS = torch.tensor([0] * 100 + [1] * 60 + [2] * 40)[torch.randperm(200, generator=torch.Generator().manual_seed(7))]


@pytest.mark.parametrize("val_size, train_size", [(0.1, None), (50, None), (0.25, 80), (20, 10)])
def test_splits_are_disjoint_stratified_and_of_the_size_asked_for(val_size, train_size):
    parts = data.split(LABELS, val_size, train_size)
    held = round(val_size * 200) if isinstance(val_size, float) else val_size
    assert len(parts.validation) == held and len(parts.train) == (train_size or 200 - held)
    both = torch.cat([parts.train, parts.validation])
    assert len(both.unique()) == len(both) and both.min() >= 0 and both.max() < 200
    for part in (parts.train, parts.validation):
        share = torch.bincount(LABELS[part]) / len(part)
        assert (share - torch.tensor([0.5, 0.3, 0.2])).abs().max() <= 1.5 / len(part)


def test_any_leading_piece_of_the_validation_part_is_stratified_too():
    """Validation reads its first `val_images`."""
    labels = LABELS[data.split(LABELS, 100).validation[:20]]
    assert torch.bincount(labels).tolist() == [10, 6, 4]


def test_a_split_is_fixed_by_its_seed_and_random_within_a_class():
    torch.manual_seed(1)
    first = data.split(LABELS, 0.2, seed=3)
    torch.manual_seed(2)
    again, other = data.split(LABELS, 0.2, seed=3), data.split(LABELS, 0.2, seed=4)
    assert torch.equal(first.train, again.train) and torch.equal(first.validation, again.validation)
    assert set(first.validation.tolist()) != set(other.validation.tolist())
    # Not the first or last images of a class, but any of them.
    ranks = np.concatenate([data.split(LABELS, 0.2, seed=seed).validation.numpy() for seed in range(20)])
    assert stats.kstest((ranks + 0.5) / 200, stats.uniform.cdf).pvalue > 0.001


def four_classes():
    x = torch.arange(40, dtype=torch.uint8).view(40, 1, 1, 1).expand(40, 1, 4, 4).contiguous()
    y = torch.arange(40) % 4
    return data.Dataset("four", x, y, x[:12], y[:12], ("ant", "bee", "cat", "dog"))


def test_stratified_subset_keeps_the_proportions():
    labels = np.repeat([0, 1, 2], [100, 40, 3])
    chosen = data.stratified_subset(labels, 50)
    assert len(np.unique(chosen)) == 50 and (np.diff(chosen) > 0).all()
    counts = np.bincount(labels[chosen])
    assert counts[2] >= 1 and abs(counts[0] / counts[1] - 2.5) < 0.3
    np.testing.assert_array_equal(chosen, data.stratified_subset(labels, 50))
    assert np.bincount(labels[data.stratified_subset(labels, 3)]).tolist() == [1, 1, 1]
    assert len(data.stratified_subset(labels, 142)) == 142 and len(data.stratified_subset(labels, 1000)) == 143
    balanced = np.arange(1000) % 10
    assert np.bincount(balanced[data.stratified_subset(balanced, 200)]).tolist() == [20] * 10
    # The images of every committed answer to a part of a test set: this choice must not change.
    assert data.stratified_subset(balanced, 12).tolist() == [95, 177, 360, 398, 543, 556, 619, 820, 892, 941, 964, 981]
    with pytest.raises(ValueError, match="all 3 classes"):
        data.stratified_subset(labels, 2)


def test_pairs_of_classes_keep_their_images_and_are_relabelled_in_order():
    whole = four_classes()
    pair = data.select_classes(whole, ("dog", "bee"))
    assert pair.classes == ("dog", "bee") and pair.num_classes == 2 and len(pair.y_train) == 20
    for x, y in ((pair.x_train, pair.y_train), (pair.x_test, pair.y_test)):
        original = x[:, 0, 0, 0].long() % 4
        assert (original == torch.tensor([3, 1])[y]).all()
    assert pair.mean == statistics(pair.x_train)[0] and pair.mean != whole.mean
    assert whole.classes == ("ant", "bee", "cat", "dog") and pair.fingerprint != whole.fingerprint


@pytest.mark.parametrize("ratio, kept", [(0.3, 30), (0.05, 5), (0.6, 60)])
@pytest.mark.parametrize("minority", [1])
def test_imbalance_is_exact_and_cuts_one_class_only(ratio, kept, minority):
    everything = torch.arange(200)
    indices = data.imbalance(LABELS, everything, ratio, minority)
    assert torch.bincount(LABELS[indices]).tolist() == [100, kept, 40]
    assert len(indices.unique()) == len(indices)
    assert torch.equal(indices, data.imbalance(LABELS, everything, ratio, minority))
    if kept < 60:
        assert not torch.equal(indices, data.imbalance(LABELS, everything, ratio, minority, seed=1))


def test_imbalance_draws_from_the_training_part_only():
    parts = data.split(LABELS, 0.5)
    indices = data.imbalance(LABELS, parts.train, 0.4, 2)
    assert set(indices.tolist()) <= set(parts.train.tolist())
    assert torch.bincount(LABELS[indices]).tolist() == [50, 30, 20]


def test_a_ratio_that_the_class_cannot_reach_is_refused():
    with pytest.raises(ValueError, match=r"ratio = 0.7 asks for 70 .* has 60 .* from 0.01 to 0.6 is possible"):
        data.imbalance(LABELS, torch.arange(200), 0.7, 1)


# --- data sets --------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("kind", ["uint8", "points"])
def test_statistics_are_those_of_numpy(kind):
    x = images(30) if kind == "uint8" else torch.rand(30, 2)
    array = x.numpy() / (255 if kind == "uint8" else 1)
    axes = (0, 2, 3) if kind == "uint8" else 0
    mean, std = statistics(x)
    np.testing.assert_allclose(mean, array.mean(axis=axes), rtol=1e-6)
    np.testing.assert_allclose(std, array.std(axis=axes), rtol=1e-6)
    assert all(isinstance(value, float) for value in (*mean, *std))


def test_a_constant_channel_gives_a_usable_standard_deviation():
    assert 0 < statistics(torch.full((5, 1, 4, 4), 7, dtype=torch.uint8))[1][0] < 1


def test_to_float_maps_255_to_1_and_leaves_floats():
    x = torch.tensor([0, 51, 255], dtype=torch.uint8)
    assert data.to_float(x).tolist() == pytest.approx([0, 0.2, 1]) and x.tolist() == [0, 51, 255]
    assert torch.equal(data.to_float(torch.tensor([0.25])), torch.tensor([0.25]))


def test_fingerprints_tell_data_sets_apart():
    base = four_classes()
    changes = {"classes": ("a", "b", "c", "d"), "y_train": base.y_train.flip(0), "x_train": base.x_train.flip(0)}
    others = [data.Dataset(**{**base.__dict__, **{name: value}}).fingerprint for name, value in changes.items()]
    assert len({base.fingerprint, *others}) == 4 and four_classes().fingerprint == base.fingerprint


def test_toy_classes_are_one_arm_turned_by_120_degrees():
    toy = data.load("toy3")
    assert (toy.num_classes, toy.in_channels, toy.x_train.ndim) == (3, 2, 2)
    assert toy.x_train.min() >= 0 and toy.x_train.max() <= 1
    turn = torch.tensor([[math.cos(2 * math.pi / 3), -math.sin(2 * math.pi / 3)],
                         [math.sin(2 * math.pi / 3), math.cos(2 * math.pi / 3)]])
    for x, y in ((toy.x_train, toy.y_train), (toy.x_test, toy.y_test)):
        arms = SimpleNamespace(**{f"c{k}": x[y == k] - 0.5 for k in range(3)})
        torch.testing.assert_close(arms.c1, arms.c0 @ turn.T, atol=1e-5, rtol=0)
        torch.testing.assert_close(arms.c2, arms.c1 @ turn.T, atol=1e-5, rtol=0)
    assert not torch.equal(toy.x_train, toy.x_test)


def test_a_class_is_found_by_its_name():
    digits = data.load("mnist5k")
    assert [data.class_index(digits, name) for name in ("0", "9", 4)] == [0, 9, 4]
    with pytest.raises(ValueError, match="'cat' is no class of 'mnist5k'"):
        data.class_index(digits, "cat")


def test_an_epoch_draws_what_its_batches_one_by_one_would_draw():
    augment, parts = data.Augment(images()), torch.arange(12).split(5)
    one, two = torch.Generator().manual_seed(3), torch.Generator().manual_seed(3)
    for part, (batch, picked) in zip(parts, augment.epoch(parts, one), strict=True):
        assert torch.equal(picked, part) and torch.equal(batch, augmented(images(), part, two))
    assert torch.equal(one.get_state(), two.get_state())
