"""Networks that hide their gradient are not trusted, and those that do not are."""
import copy
import re

import pytest
import torch
from support import write_npz
from torch import nn

from helpers import attacks, training
from helpers.audit import STRONGER, audit, reasons_against
from helpers.evaluation import evaluate, evaluate_run

FEW = {"pgd_steps": 10, "images": 40, "steps": 2, "queries": 30}
RECIPE = {"data": "four", "network": "W-10-1", "epochs": 5, "lr": 0.1, "batch_size": 16, "val_size": 16,
          "val_images": 16, "val_steps": 1, "eps": 24, "steps": 3, "p": 2.5,
          "cost": [[0, 1, 2, 3], [1, 0, 1, 2], [2, 1, 0, 1], [3, 2, 1, 0]]}


class Masked(nn.Module):
    def __init__(self, model, way):
        super().__init__()
        self.model, self.way = model, way

    def forward(self, x):
        if self.way == "logits x 1000":
            return 1000 * self.model(x)
        if self.way == "quantised":
            return self.model((x * 8).round() / 8)
        if self.way == "reversed":
            return self.model(2 * x.detach() - x)
        return self.model(x + 0.8 * torch.randn_like(x))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    root = tmp_path_factory.mktemp("audit")
    write_npz(root, "four", train=112, test=48, classes=4)
    return {method: training.train(training.configure(RECIPE, method=method, val_eps=eps), data_root=root,
                                   store=root / "runs", progress=False)
            for method, eps in (("ce", 40), ("pgd", 24), ("wpgd", 24))}


@pytest.mark.parametrize("method", ["ce", "pgd", "wpgd"])
def test_our_own_networks_are_trusted(trained, method):
    run = trained[method]
    row = audit(run, **FEW)
    assert row["verdict"] == "trust" and set(STRONGER) < set(row) and row["unbounded"] == 100
    assert row["NE"] == evaluate_run(run, limit=40).error and row["NE"] < 25


@pytest.mark.parametrize("way, why", [
    ("logits x 1000", r"margin loss finds \d+ points more than PGD.*AutoAttack finds.*of 40 images had no gradient"),
    ("quantised", r"with unbounded eps PGD finds \d+ %, not 100; 40 of 40 images had no gradient"),
    ("reversed", r"AutoAttack finds \d+ points more than PGD; with unbounded eps PGD finds \d %, not 100"),
    ("noise", r"\d+ of 40 images get another answer when asked again: the network is random")])
def test_masked_networks_are_not(trained, tmp_path, way, why):
    run = copy.copy(trained["ce"])
    run.model, run.folder = Masked(run.model, way).eval(), tmp_path
    few = FEW if "AutoAttack" in why else FEW | {"steps": 0}
    assert re.fullmatch(f"do not trust, because .*{why}", audit(run, **few)["verdict"])


@pytest.mark.parametrize("errors, zero, why", [
    ({}, 0, []), ({"Square": 57.9, "AutoAttack": 57.9, "3 x steps": 49.1, "unbounded": 99.1}, 20, []),
    ({"Square": 58.0}, 0, ["Square finds 8 points more than PGD"]),
    ({"other seed": 70.0}, 0, ["other seed finds 20 points more than PGD"]),
    ({"NE": 51.5}, 0, ["under PGD 2 points fewer images are wrong than without"]),
    ({"2 x eps": 40.0}, 0, ["2 x eps helps the defender, by 10 points"]),
    ({"unbounded": 90.0}, 21, ["with unbounded eps PGD finds 90 %, not 100", "21 of 200 images had no gradient"])])
def test_each_reason_has_its_threshold(errors, zero, why):
    usual = {"NE": 10.0, "PGD": 50.0, "3 x steps": 50.0, "2 x eps": 80.0, "unbounded": 100.0}
    assert reasons_against({**usual, **errors, "no gradient": zero, "images": 200}) == why


def test_images_without_a_gradient_are_told_again_when_the_answer_is_read_again(trained, tmp_path):
    run = copy.copy(trained["ce"])
    run.model, run.folder = Masked(run.model, "logits x 1000").eval(), tmp_path
    for _ in range(2):
        with pytest.warns(attacks.ZeroGradientWarning, match="40 of 40 images met no gradient"):
            assert evaluate_run(run, attacks.PGD(0.1, 2), limit=40).zero_gradients == 40
    run.model = None  # exported without weights: what was kept still says so
    with pytest.warns(attacks.ZeroGradientWarning, match="40 of 40"):
        evaluate_run(run, attacks.PGD(0.1, 2), limit=40)
    assert audit(run, **FEW)["verdict"].startswith("not audited")
    assert evaluate(trained["ce"].model, *trained["ce"].validation, attacks.PGD(0.1, 2)).zero_gradients == 0
