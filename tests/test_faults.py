"""Bad input: one clear paragraph that names the offending thing and the remedy, before any long work starts.

Errors of plans, of data that are not there, and of cost matrices in all their ways are tested beside what they
belong to; here is one table of what a student can hand in.
"""
import math

import numpy as np
import pytest
import torch
from support import batch, small_net, write_npz

from helpers import attacks, costs, data, losses, models, training
from helpers.training import loop

LOGITS, LABELS, NAMES = torch.zeros(4, 3), torch.tensor([0, 1, 2, 0]), ("a", "b", "c")
COST = torch.tensor([[0.0, 1, 2], [1, 0, 3], [2, 3, 0]])
BASE = {"data": "stripes", "network": "W-10-1", "epochs": 1, "lr": 0.05, "val_size": 16}
PGD = {"eps": 0.1, "step_size": 0.05, "steps": 2}


def changed(entry, value):
    values = COST.tolist()
    values[entry[0]][entry[1]] = value
    return values


def attack(x=None, y=None, **settings):
    images, labels = batch(3, 3, 12, 12)
    return attacks.pgd(small_net(), images if x is None else x, labels if y is None else y, **{**PGD, **settings})


def dataset(**changes):
    x, y = torch.zeros(6, 1, 16, 16, dtype=torch.uint8), torch.tensor([0, 1, 2] * 2)
    parts = {"x_train": x, "y_train": y, "x_test": x, "y_test": y}
    return data.Dataset(**{"name": "pets", "classes": NAMES, **parts, **changes})


IMAGES = batch(3, 3, 12, 12)[0]
FAULTS = {
    # losses
    "K = 1": (lambda: losses.cross_entropy(torch.zeros(4, 1), LABELS * 0), ["(4, 1)", "K >= 2"]),
    "K = 1, Wasserstein": (lambda: losses.wasserstein_loss(torch.zeros(4, 1), LABELS * 0, torch.zeros(1, 1)),
                           ["K >= 2"]),
    "label too large": (lambda: losses.cross_entropy(LOGITS, LABELS + 1), ["from 1 to 3", "0..2"]),
    "negative label": (lambda: losses.margin_loss(LOGITS, LABELS - 1), ["from -1 to 1", "0..2"]),
    "float labels": (lambda: losses.cross_entropy(LOGITS, LABELS.float()), ["float32", "integer"]),
    "one-hot labels": (lambda: losses.cross_entropy(LOGITS, torch.eye(3)[LABELS].long()), ["(4, 3)", "(N,)"]),
    "labels of another batch": (lambda: losses.cross_entropy(LOGITS, LABELS[:3]), ["4 images", "3 labels"]),
    "cost of the wrong size": (lambda: losses.wasserstein_loss(LOGITS, LABELS, torch.zeros(4, 4)),
                               ["(4, 4)", "have 3 classes"]),
    "cost not square": (lambda: losses.wasserstein_loss(LOGITS, LABELS, torch.zeros(3, 4)), ["(3, 4)", "square"]),
    "cost with NaN": (lambda: losses.wasserstein_loss(LOGITS, LABELS, COST * math.nan), ["NaN", "finite"]),
    "negative cost, p = 2.5": (lambda: losses.wasserstein_loss(LOGITS, LABELS, -COST, p=2.5),
                               ["p = 2.5", "negative"]),
    "cost as an array": (lambda: losses.wasserstein_loss(LOGITS, LABELS, COST.numpy()),
                         ["ndarray", "CostMatrix", "tensor"]),
    "p < 0": (lambda: losses.wasserstein_loss(LOGITS, LABELS, COST, p=-1), ["p = -1", "p >= 0"]),
    "p = nan": (lambda: losses.wasserstein_loss(LOGITS, LABELS, COST, p=math.nan), ["p = nan"]),
    "lam = 0": (lambda: losses.wasserstein_loss(LOGITS, LABELS, COST, lam=0), ["lam = 0", "> 0"]),
    # cost matrices
    "asymmetric": (lambda: costs.CostMatrix(changed((0, 1), 9.0), NAMES),
                   ["not symmetric", "a -> b = 9", "symmetric=False"]),
    "negative": (lambda: costs.CostMatrix(changed((1, 2), -3.0), NAMES), ["negative", "b -> c = -3"]),
    "NaN": (lambda: costs.CostMatrix(changed((1, 2), math.nan), NAMES), ["no finite", "b -> c"]),
    "diagonal": (lambda: costs.CostMatrix(changed((2, 2), 1.0), NAMES), ["diagonal", "c -> c = 1"]),
    "too few classes": (lambda: costs.CostMatrix(COST, ("a", "b")), ["3 rows", "2 classes"]),
    "one class": (lambda: costs.CostMatrix([[0.0]], ("a",)), ["two classes"]),
    # attacks
    "eps < 0": (lambda: attack(eps=-0.1), ["eps = -0.1", "eps >= 0"]),
    "eps = nan": (lambda: attack(eps=math.nan), ["eps = nan"]),
    "eps in 1/255": (lambda: attack(eps=4.0), ["eps = 4", "units of the input"]),
    "eps = inf": (lambda: attack(eps=math.inf, norm="l2"), ["eps = inf"]),
    "integer images": (lambda: attack((IMAGES * 255).byte()), ["uint8", "to_float"]),
    "images in 0..255": (lambda: attack(IMAGES * 255), ["[0, 1]", "normalisation"]),
    "negative images": (lambda: attack(IMAGES - 1), ["found -0.99", "[0, 1]"]),
    "images with NaN": (lambda: attack(IMAGES * math.nan), ["nan", "[0, 1]"]),
    "norm": (lambda: attack(norm="l1"), ["'l1'", "linf, l2"]),
    "steps < 0": (lambda: attack(steps=-1), ["steps = -1"]),
    "restarts = 0": (lambda: attack(restarts=0), ["restarts = 0"]),
    "step_size = 0": (lambda: attack(step_size=0), ["step_size = 0", "> 0"]),
    "step_size = 0 in PGD": (lambda: attacks.PGD(0.1, step_size=0.0)(small_net(), *batch(2, 3, 12, 12)),
                             ["step_size = 0.0"]),
    "fewer labels": (lambda: attack(y=torch.tensor([0])), ["3 images", "1 labels"]),
    "labels of no class": (lambda: attack(y=torch.tensor([0, 1, 9])), ["from 0 to 9", "0..3"]),
    # networks
    "depth": (lambda: models.wide_resnet(17, 1, 10), ["17", "6 n + 4", "16 or"]),
    "odd depth": (lambda: models.wide_resnet(13, 1, 10), ["13", "16"]),
    "small depth": (lambda: models.build("W-4-1", 10), ["Wide-ResNet-4-1", "10 or"]),
    "width": (lambda: models.build("W-16-0", 10), ["0", "at least 1"]),
    "one class of a network": (lambda: models.wide_resnet(16, 1, 1), ["at least 2 classes"]),
    "statistics": (lambda: models.wide_resnet(16, 1, 10, mean=(0.5,)), ["1 values", "3 channels"]),
    "name": (lambda: models.build("resnet18", 10), ["'resnet18'", "W-16-4"]),
    "small images": (lambda: models.wide_resnet(10, 1, 2)(torch.rand(1, 3, 15, 20)), ["15 x 20", "16 x 16"]),
    # data
    "one class of data": (lambda: dataset(classes=("a",)), ["'pets'", "at least 2"]),
    "label outside": (lambda: dataset(y_train=torch.tensor([0, 1, 3] * 2)), ["'pets'", "0 to 3", "0..2"]),
    "test label outside": (lambda: dataset(y_test=torch.tensor([0, 1, -1] * 2)), ["test", "-1 to 1"]),
    "more images than labels": (lambda: dataset(y_train=torch.arange(3)), ["training", "6 images but 3 labels"]),
    "class without images": (lambda: dataset(y_train=torch.tensor([0, 2] * 3)), ["'b'", "no training images"]),
    "images of int64": (lambda: dataset(x_train=torch.zeros(6, 1, 4, 4).long()), ["int64", "uint8"]),
    "floats outside": (lambda: dataset(x_train=torch.full((6, 2), 1.5)), ["'pets'", "[0, 1]"]),
    "unknown data": (lambda: data.load("mars"), ["'mars'", "mnist5k", "train/<class>"]),
    "nothing left to train": (lambda: data.split(LABELS, 4), ["val_size = 4", "4 of 4"]),
    "fraction above 1": (lambda: data.split(LABELS, 1.5), ["val_size = 1.5"]),
    "train_size": (lambda: data.split(LABELS, 1, train_size=9), ["train_size = 9", "leaves 3"]),
    "class lost in the split": (lambda: data.split(LABELS.repeat(5), 2), ["validation", "none of class", "enlarge"]),
    "unknown class": (lambda: data.select_classes(dataset(), ("a", "z")), ["'z'", "a, b, c"]),
    "class twice": (lambda: data.select_classes(dataset(), ("a", "a")), ["no training images"]),
    "ratio": (lambda: data.imbalance(LABELS, torch.arange(4), 1.5, 0), ["ratio = 1.5", "to 1.0 is possible"]),
    "class cut to nothing": (lambda: data.imbalance(LABELS, torch.arange(4), 0.1, 1),
                             ["asks for 0 images of class 1", "is possible"]),
    # training
    "misspelt": (lambda: training.configure(BASE, epoch=3), ["'epoch'", "Did you mean 'epochs'"]),
    "unlike anything": (lambda: training.configure(BASE, xyzzy=3), ["'xyzzy'", "weight_decay"]),
    "missing": (lambda: training.configure(data="toy3", epochs=1), ["'lr'"]),
    "text for a number": (lambda: training.configure(BASE, lr="fast"), ["lr = 'fast'", "str", "float"]),
    "float for an int": (lambda: training.configure(BASE, epochs=2.5), ["epochs = 2.5", "int"]),
    "bool for a number": (lambda: training.configure(BASE, eps=True), ["eps = True", "float"]),
    "text for a list": (lambda: training.configure(BASE, classes="cat"), ["classes = 'cat'", "tuple"]),
    "method": (lambda: training.configure(BASE, method="trades"), ["method = 'trades'", "ce, pgd, wpgd"]),
    "schedule": (lambda: training.configure(BASE, schedule="linear"), ["'linear'", "one_cycle"]),
    "augment": (lambda: training.configure(BASE, augment="flip"), ["augment = 'flip'", "crop"]),
    "negative eps": (lambda: training.configure(BASE, method="pgd", eps=-1), ["eps = -1", ">= 0"]),
    "eps above 255": (lambda: training.configure(BASE, method="pgd", eps=300), ["eps = 300", "at most 255"]),
    "infinite p": (lambda: training.configure(BASE, p=math.inf), ["p = inf"]),
    "lr = 0": (lambda: training.configure(BASE, lr=0), ["lr = 0", "> 0"]),
    "ema = 1": (lambda: training.configure(BASE, ema=1), ["ema = 1", "[0, 1)"]),
    "negative step": (lambda: training.configure(BASE, method="pgd", eps=1, step_size=-1), ["step_size = -1", "> 0"]),
    "no cost": (lambda: training.configure(BASE, method="wpgd"), ["wpgd", "cost"]),
    "ratio alone": (lambda: training.configure(BASE, ratio=0.3), ["ratio", "minority"]),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_bad_input_is_named_with_its_remedy(fault):
    call, parts = FAULTS[fault]
    with pytest.raises(ValueError) as error:
        call()
    message = str(error.value)
    assert "\n" not in message and len(message) > 20
    for part in parts:
        assert part in message, f"{part!r} is not in: {message}"


@pytest.mark.parametrize("call, said", [
    (lambda: training.configure(BASE, method="pgd", eps=4 / 255), "eps = 0.0156863 is in 1/255.* 4 if 0.0157"),
    (lambda: training.configure(BASE, val_eps=0.3), "val_eps = 0.3 is in 1/255.* 76.5 if 0.3"),
    (lambda: attack(eps=8 / 255 / 255), "divided by 255 twice"),
    (lambda: attack(eps=128.0, norm="l2"), "eps = 128, .* reaches all images: was it meant in 1/255")])
def test_a_radius_in_another_unit_is_told(call, said):
    with pytest.warns(UserWarning, match=said):
        call()


LATE = {
    "depth": ({"network": "W-17-1"}, ["no Wide-ResNet-17-1"]),
    "network for points": ({"network": "mlp-8"}, ["'mlp-8'", "images"]),
    "class to cut": ({"ratio": 0.3, "minority": "z"}, ["'z'", "c0"]),
    "cut to nothing": ({"ratio": 0.01, "minority": "c0"}, ["0 images of class 0"]),
    "class": ({"classes": ["c0", "dog"]}, ["dog", "c0, c1, c2"]),
    "cost of another size": ({"method": "wpgd", "cost": [[0, 1], [1, 0]]}, ["2 rows", "3 classes"]),
    "cost of no name": ({"method": "wpgd", "cost": "wordnet:foo"}, ["wordnet:foo", "wordnet:path"]),
    "cost of other data": ({"method": "wpgd", "cost": "wordnet:path"}, ["cifar10", "stripes"]),
    "val_size": ({"val_size": 64}, ["val_size = 64"]),
}


@pytest.mark.parametrize("fault", LATE)
def test_what_only_the_data_can_tell_is_found_before_training(fault, stripes, tmp_path, monkeypatch):
    settings, parts = LATE[fault]
    monkeypatch.setattr(loop, "Trainer", None)  # nothing may be built
    with pytest.raises((ValueError, FileNotFoundError)) as error:
        training.train(training.configure(BASE, settings), data_root=stripes, store=tmp_path, progress=False)
    message = str(error.value)
    assert "\n" not in message and not list(tmp_path.iterdir())
    for part in parts:
        assert part in message, f"{part!r} is not in: {message}"


def test_a_run_that_diverges_stops_in_that_epoch(stripes, tmp_path):
    config = training.configure(BASE, epochs=50, lr=1e30, schedule="constant")
    with pytest.raises(ValueError, match=r"diverged in epoch [12] .*lower lr"):
        training.train(config, data_root=stripes, store=tmp_path, progress=False)


@pytest.mark.parametrize("change, says", [
    ({"classes": None}, "classes"), ({"x_train": np.zeros((64, 16, 16))}, "float64"),
    ({"y_train": np.full(64, 5)}, "0..2")])
def test_files_that_do_not_hold_what_they_should(tmp_path, change, says):
    arrays = {**vars(write_npz(tmp_path, "mine")), **change}
    np.savez(tmp_path / "mine.npz", **{name: value for name, value in arrays.items() if value is not None})
    with pytest.raises(ValueError, match=says):
        data.load("mine", tmp_path)
