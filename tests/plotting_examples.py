"""Data for one figure of each kind, as the notebooks record them."""

import numpy as np

from helpers import plotting
from helpers.claims import Claim

CIFAR10 = "airplane car bird cat deer dog frog horse ship truck".split()
GROUPS = [(name, 5 * index, 5 * index + 5) for index, name in enumerate(
    ["aquatic mammals", "fish", "flowers", "food containers", "fruit and vegetables",
     "household electrical devices", "household furniture", "insects", "large carnivores",
     "large man-made outdoor things",
     "large natural outdoor scenes", "large omnivores and herbivores", "medium-sized mammals",
     "non-insect invertebrates", "people", "reptiles", "small mammals", "trees", "vehicles 1", "vehicles 2"])]
MANY_GROUPS = [("dogs", 0, 80), *((f"group {index}", index, index + 3) for index in range(80, 200, 3))]


def panel(kind, count=10, scale=1.0, seed=0, **more):
    rng = np.random.default_rng(seed)
    matrix = rng.random((count, count)) * 0.1 * scale
    np.fill_diagonal(matrix, 0.3)
    if kind == "cost":
        matrix = (matrix + matrix.T) * 5
        np.fill_diagonal(matrix, 0)
    if kind == "difference":
        matrix -= 0.05
    classes = CIFAR10[:count] if count <= 10 else [f"class {index}" for index in range(count)]
    return {"title": f"{kind}, W-28-10, eps 16", "matrix": matrix.tolist(), "classes": classes, "kind": kind,
            **more}


def series(label, method, level, **more):
    x = np.arange(1, 13)
    y = level + 40 * np.exp(-x / 4.0)
    return {"label": label, "method": method, "x": x.tolist(), "y": y.tolist(), "low": (y - 2).tolist(),
            "high": (y + 2).tolist(), **more}


def training_panels():
    return [
        {"title": "standard training against PGD", "series": [
            series("CE, NE", "ce", 5), series("CE, AE", "ce", 90, style="dashed"),
            series("PGD, NE", "pgd", 14)]},
        {"title": "two networks", "series": [series("PGD W-16-1, NE", "pgd", 16),
                                            series("PGD W-16-2, NE", "pgd", 14, variant=1)]},
        {"title": "PGD against WPGD", "series": [series("PGD, NE", "pgd", 14), *(
            series(f"WPGD p = {p:g}, NE", "wpgd", 13 - p / 3, p=p) for p in (1, 2.5, 10))]}]


def two_class_curves():
    entries = [series("CE", "ce", 5), series("PGD", "pgd", 15)]
    return [{"title": f"({letter}) cat–dog, ratio 0.3", "ylabel": "validation error [%]", "series": entries,
             "lines": [{"y": 50, "label": "chance"}]} for letter in "abcd"]


def tradeoff_panel(title):
    p = [0, 1, 2.5, 10]
    return {"title": title, "series": [
        {"label": "NE", "metric": "NE", "p": p, "y": [14, 13, 12, 10], "low": [13, 12, 11, 9],
         "high": [15, 14, 13, 11]},
        {"label": "AE", "metric": "AE", "p": p, "y": [30, 34, 36, 39]},
        {"label": "AE, paper (W-16-10)", "metric": "AE", "p": p, "y": [34.53, 34.62, 34.98, 39.76],
         "printed": True}]}


def cloud(title):
    labels = np.arange(200) % 10
    points = np.random.default_rng(1).normal(size=(200, 2)) + labels[:, None]
    return {"title": title, "x": points[:, 0].tolist(), "y": points[:, 1].tolist(), "labels": labels.tolist(),
            "note": "silhouette 0.31"}


def entropy():
    counts = np.random.default_rng(2).integers(0, 30, (10, 12))
    return {"title": "CIFAR-10", "classes": CIFAR10, "main": "airplane",
            "bins": np.linspace(0, 2.3, 13).tolist(), "series": [
                {"label": "CE", "method": "ce", "counts": counts.tolist(), "mean": [0.2] * 10},
                {"label": "PGD", "method": "pgd", "counts": counts[:, ::-1].tolist(), "mean": [1.1] * 10}]}


def regions():
    grid = np.add.outer(np.arange(40), np.arange(40)) // 27
    return {"classes": ["class 0", "class 1", "class 2"], "extent": [0, 1, 0, 1], "columns": 3,
            "points": [[0.1, 0.1], [0.5, 0.6], [0.9, 0.9]], "labels": [0, 1, 2],
            "panels": [{"title": f"PGD, eps {eps}", "grid": grid.tolist(), "note": "boundary length 1.41"}
                       for eps in (0, 0.05, 0.1, 0.2)]}


def correlation_panel(title):
    cost = np.linspace(0.1, 1, 45)
    return {"title": title, "cost": cost.tolist(), "gap": (0.1 - 0.09 * cost).tolist(), "rho": -0.88,
            "low": -0.93, "high": -0.8, "pvalue": 0.001,
            "annotations": [{"x": 0.1, "y": 0.09, "text": "4–9"}]}


def reliability_panel(title):
    return {"title": title, "series": [{"label": "CE", "method": "ce", "confidence": [0.2, None, 0.9],
                                        "accuracy": [0.1, None, 0.8], "ece": 0.1}]}


def claim_rows():
    sentence = "robust representations are less clustered with respect to natural ones, everywhere " * 2
    return [Claim("a", "s", sentence, "x", 0.2, 0.1, 0.3, "> 0").as_dict(),
            Claim("b", "s", "short", "x", -0.2, -0.4, 0.3, "> 0").as_dict(),
            Claim("c", "s", "short", "x", float("nan"), None, None, "> 0").as_dict(),
            Claim("d", "s", "short", "x", 30, None, None, "in [45, 55]").as_dict()]


def rows(*data):
    labels = ["quick: CIFAR-10 (digits stand in)", "reduced: CIFAR-10 at a tenth of the training images"]
    return list(zip(labels, data, strict=False))


EXAMPLES = {
    "two classes": lambda: plotting.matrices(rows({"panels": [panel("cost", 2), panel("gap", 2)]})),
    "three digits, ten classes": lambda: plotting.matrices(rows(
        {"panels": [panel("cost"), panel("gap", share="gap"), panel("gap", share="gap", seed=1)]},
        {"panels": [panel("confusion", share="c"), panel("confusion", share="c"), panel("difference")]})),
    "five panels": lambda: plotting.matrices(rows(
        {"panels": [panel("gap", seed=seed) for seed in range(5)]})),
    "hundred and two hundred classes": lambda: plotting.matrices(rows(
        {"panels": [panel("cost", 100, groups=GROUPS), panel("gap", 100, groups=GROUPS)]},
        {"panels": [panel("cost", 200), panel("gap", 200)]})),
    "more groups than fit": lambda: plotting.matrices(rows(
        {"panels": [panel("gap", 200, groups=MANY_GROUPS)]})),
    "curves in a row": lambda: plotting.curves(rows(*[{"panels": training_panels()}] * 2)),
    "curves in a column": lambda: plotting.curves(rows(
        *[{"panels": training_panels(), "layout": "column"}] * 2)),
    "curves in a grid": lambda: plotting.curves(rows({"panels": two_class_curves(), "layout": "grid"})),
    "tradeoff": lambda: plotting.tradeoff(rows(
        {"panels": [tradeoff_panel("CIFAR-10")]},
        {"panels": [tradeoff_panel("CIFAR-10"), tradeoff_panel("Tiny-ImageNet")]})),
    "scatter": lambda: plotting.scatter(rows(
        {"classes": CIFAR10, "panels": [cloud("standard"), cloud("robust")]})),
    "entropy": lambda: plotting.entropy_histograms(rows(entropy(), entropy())),
    "regions": lambda: plotting.decision_regions(rows(regions(), regions())),
    "correlation": lambda: plotting.correlation(rows(
        {"panels": [correlation_panel(name) for name in ("MNIST", "CIFAR-10", "CIFAR-100", "Tiny")]})),
    "reliability": lambda: plotting.reliability(rows({"panels": [reliability_panel("natural")] * 2})),
    "forest": lambda: plotting.forest(rows({"claims": claim_rows()}, {"claims": claim_rows()[:1]})),
}
