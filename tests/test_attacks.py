"""PGD against closed forms, torchattacks and the definition of its ball."""
import math

import numpy as np
import pytest
import torch
import torchattacks
from scipy import stats
from support import batch, length, small_net
from torch import nn

from helpers import attacks, losses, models

NORMS = ("linf", "l2")


class Linear(nn.Module):
    """Two classes; the logit difference is w . x + b."""

    def __init__(self, w, b=0.1):
        super().__init__()
        self.w, self.b = nn.Parameter(w), b

    def forward(self, x):
        score = x.flatten(1) @ self.w + self.b
        return torch.stack([torch.zeros_like(score), score], dim=1)


# --- the optimum, where it is known -----------------------------------------------------------------------------

LOSSES = [losses.cross_entropy, losses.margin_loss,
          losses.WassersteinLoss(torch.tensor([[0.0, 1.0], [3.0, 0.0]]), 1.0, math.inf)]


@pytest.mark.parametrize("loss", LOSSES, ids=["cross_entropy", "margin", "wasserstein"])
@pytest.mark.parametrize("norm", NORMS)
def test_linear_model_in_the_interior_reaches_the_closed_form(norm, loss):
    w = torch.randn(12, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    x, y = batch(8, 3, 2, 2, classes=2, low=0.3, high=0.7)
    x, model, eps = x.double(), Linear(w), 0.2
    adversarial = attacks.pgd(model, x, y, loss, eps=eps, step_size=eps, steps=40, norm=norm,
                              generator=torch.Generator().manual_seed(0))
    margin = -losses.margin_loss(model(x), y)
    worst = -losses.margin_loss(model(adversarial), y)
    dual = w.abs().sum() if norm == "linf" else w.norm()
    torch.testing.assert_close(worst, margin - eps * dual, atol=1e-9, rtol=0)


def box_optimum(w, x, eps, norm):
    """The largest decrease of w . x inside ball and box: coordinates are clipped, L2 by bisection on the multiplier."""
    low, high = -x, 1 - x
    if norm == "linf":
        return np.clip(-eps * np.sign(w), low, high) @ w
    shortest, longest = 0.0, 1e6
    for _ in range(200):
        middle = (shortest + longest) / 2
        inside = np.linalg.norm(np.clip(-middle * w, low, high)) <= eps
        shortest, longest = (middle, longest) if inside else (shortest, middle)
    return np.clip(-shortest * w, low, high) @ w


@pytest.mark.parametrize("norm", NORMS)
def test_linear_model_at_the_border_of_the_pixel_range(norm):
    w = torch.randn(12, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    x, _ = batch(6, 12, seed=5)
    x = (x.double() * 1.6 - 0.3).clamp(0, 1)  # many pixels lie exactly on 0 or 1
    model, eps, y = Linear(w), 0.4, torch.ones(6, dtype=torch.int64)
    adversarial = attacks.pgd(model, x, y, losses.margin_loss, eps=eps, step_size=0.004, steps=400, norm=norm,
                              generator=torch.Generator().manual_seed(0))
    change = ((adversarial - x) @ w).detach().numpy()
    best = np.array([box_optimum(w.numpy(), row.numpy(), eps, norm) for row in x])
    assert (change >= best - 1e-9).all(), "better than the optimum: outside the ball or the box"
    # In L2, projecting and then clamping stops short of the optimum by a share of the step size.
    np.testing.assert_allclose(change, best, rtol=1e-9 if norm == "linf" else 5e-3)


# --- torchattacks, step by step ---------------------------------------------------------------------------------

def seen_by(net, attack):
    """Inputs the network was called with during an attack, and the result."""
    inputs = []
    hook = net.register_forward_pre_hook(lambda _, args: inputs.append(args[0].detach().clone()))
    result = attack()
    hook.remove()
    return [*inputs, result]


@pytest.mark.parametrize("norm, random_start", [("linf", False), ("linf", True), ("l2", False)])
def test_equals_torchattacks_at_every_step(norm, random_start):
    net, (x, y) = small_net(), batch(5, 3, 12, 12)
    eps, step_size, steps = (8 / 255, 3 / 255, 6) if norm == "linf" else (0.8, 0.3, 6)
    kind = torchattacks.PGD if norm == "linf" else torchattacks.PGDL2
    other = kind(net, eps=eps, alpha=step_size, steps=steps, random_start=random_start)
    torch.manual_seed(0)
    theirs = seen_by(net, lambda: other(x, y))
    generator = torch.Generator().manual_seed(0)  # draws what the global one drew
    ours = seen_by(net, lambda: attacks.pgd(net, x, y, eps=eps, step_size=step_size, steps=steps, norm=norm,
                                            random_start=random_start, generator=generator))
    assert len(ours) == len(theirs) == steps + 1
    for step, (mine, reference) in enumerate(zip(ours, theirs)):
        torch.testing.assert_close(mine, reference, atol=2e-6, rtol=0, msg=f"they part at step {step}")
    assert not torch.allclose(ours[0], ours[-1], atol=eps / 10)


@pytest.mark.parametrize("norm, eps", [("linf", 8 / 255), ("l2", 0.8)])
def test_wpgd_at_p_0_without_entropy_takes_the_steps_of_pgd(norm, eps):
    net, (x, y) = small_net().double(), batch(5, 3, 12, 12)
    x, cost = x.double(), torch.rand(4, 4).fill_diagonal_(0)
    settings = {"eps": eps, "step_size": eps / 3, "steps": 5, "norm": norm, "random_start": False}
    plain = seen_by(net, lambda: attacks.pgd(net, x, y, losses.cross_entropy, **settings))
    wpgd = seen_by(net, lambda: attacks.pgd(net, x, y, losses.WassersteinLoss(cost, 0, math.inf), **settings))
    for mine, reference in zip(wpgd, plain):
        torch.testing.assert_close(mine, reference, atol=1e-12, rtol=0)


def test_wpgd_goes_where_the_cost_is_and_pgd_where_the_probability_is():
    # Class 1 is the near one, class 2 the dear one; each has a pixel of its own.
    def model(x):
        return torch.stack([0 * x[:, 0], x[:, 0] - 0.5, 0.6 * x[:, 1] - 0.5], dim=1)
    x, y = torch.full((1, 2), 0.5), torch.tensor([0])
    settings = {"eps": 0.2, "step_size": 0.2, "steps": 1, "norm": "l2", "random_start": False}
    cost = torch.tensor([[0.0, 0.01, 10.0], [0.01, 0, 1], [10.0, 1, 0]])
    towards = {name: (attacks.pgd(model, x, y, loss, **settings) - x)[0].tolist()
               for name, loss in (("pgd", losses.cross_entropy), ("wpgd", losses.WassersteinLoss(cost, 1, math.inf)))}
    assert towards["pgd"][0] > towards["pgd"][1] > 0
    assert towards["wpgd"][1] > 0 > towards["wpgd"][0]


# --- the ball, the box, the start -------------------------------------------------------------------------------

@pytest.mark.parametrize("norm, eps", [("linf", 8 / 255), ("linf", 0.6), ("l2", 0.5), ("l2", 30.0)])
@pytest.mark.parametrize("shape", [(1, 3, 16, 16), (3, 1, 17, 23), (8, 3, 9, 9)])
def test_norm_budget_and_pixel_range(norm, eps, shape):
    x, y = batch(*shape)
    x = (x * 1.4 - 0.2).clamp(0, 1)
    adversarial = attacks.pgd(small_net(shape[1]), x, y, eps=eps, step_size=eps, steps=4, norm=norm)
    assert adversarial.shape == x.shape and adversarial.dtype == x.dtype
    assert adversarial.min() >= 0 and adversarial.max() <= 1
    assert (length(adversarial - x, norm) <= eps * (1 + 1e-5) + 1e-6).all()
    assert not torch.equal(adversarial, x)


def test_points_of_the_plane_can_be_attacked():
    x, y = batch(50, 2, classes=3)
    adversarial = attacks.pgd(models.MLP(3), x, y, eps=0.1, step_size=0.05, steps=5, norm="l2")
    assert (length(adversarial - x, "l2") <= 0.1 + 1e-6).all() and (adversarial != x).any(dim=1).all()


def test_linf_start_is_uniform(rng):
    x, y = torch.full((400, 1, 5, 5), 0.5), torch.zeros(400, dtype=torch.int64)
    start = attacks.pgd(None, x, y, eps=0.2, step_size=0.1, steps=0, generator=rng)
    assert stats.kstest(((start - x) / 0.2).flatten().numpy(), stats.uniform(-1, 2).cdf).pvalue > 0.01


@pytest.mark.parametrize("dims", [2, 27])
def test_l2_start_is_uniform_in_the_ball(dims, rng):
    x, y = torch.full((4000, dims), 0.5), torch.zeros(4000, dtype=torch.int64)
    delta = (attacks.pgd(None, x, y, eps=0.2, step_size=0.1, steps=0, norm="l2", generator=rng) - x).numpy()
    volume = (np.linalg.norm(delta, axis=1) / 0.2) ** dims
    assert stats.kstest(volume, stats.uniform.cdf).pvalue > 0.01
    # A coordinate of a uniform direction in d dimensions: (1 + u) / 2 is Beta((d - 1) / 2, (d - 1) / 2).
    cosine = delta[:, 0] / np.linalg.norm(delta, axis=1)
    assert stats.kstest((1 + cosine) / 2, stats.beta((dims - 1) / 2, (dims - 1) / 2).cdf).pvalue > 0.01


@pytest.mark.parametrize("norm, nearest", [("linf", [[0.6, 0.6]]), ("l2", [[0.56, 0.58]])])
def test_a_step_too_far_ends_at_the_nearest_point_of_the_ball(norm, nearest):
    x, model = torch.full((1, 2), 0.5), Linear(torch.tensor([0.3, 0.4]))
    found = attacks.pgd(model, x, torch.tensor([0]), eps=0.1, step_size=0.3, steps=1, norm=norm, random_start=False)
    torch.testing.assert_close(found, torch.tensor(nearest))


@pytest.mark.parametrize("norm", NORMS)
def test_restarts_are_never_worse_and_keep_whole_images(norm):
    # Each row has several maxima, so that the start decides.
    def model(x):
        return torch.stack([(25 * x.flatten(1)).sin().sum(dim=1), 0 * x.flatten(1)[:, 0]], dim=1)
    x, y = batch(40, 3, 2, 2, classes=2)
    settings = {"eps": 0.3, "step_size": 0.02, "steps": 10, "norm": norm}
    def seeded():
        return torch.Generator().manual_seed(0)
    runs = {restarts: attacks.pgd(model, x, y, restarts=restarts, generator=seeded(), **settings)
            for restarts in (1, 2, 6)}
    value = {restarts: losses.cross_entropy(model(found), y) for restarts, found in runs.items()}
    assert (value[2] >= value[1]).all() and (value[6] >= value[2]).all() and (value[6] > value[1] + 1e-3).any()
    # A row comes from one restart as a whole: the first, or another.
    same = (runs[1] == runs[6]).flatten(1)
    assert (same.all(dim=1) | (same.float().mean(dim=1) < 0.5)).all()


@pytest.mark.parametrize("norm", NORMS)
def test_seeds_decide_the_images(norm):
    net, (x, y) = small_net(), batch(4, 3, 12, 12)
    def attack(seed):
        return attacks.PGD(8 / 255, steps=3, norm=norm, seed=seed)(net, x, y)
    assert torch.equal(attack(0), attack(0)) and not torch.equal(attack(0), attack(1))
    torch.manual_seed(5)
    before = torch.get_rng_state()
    attack(0)
    assert torch.equal(torch.get_rng_state(), before), "a seeded attack must not draw from the global generator"


def test_pgd_object_is_the_function_with_its_settings():
    net, (x, y) = small_net(), batch(4, 3, 12, 12)
    bound = attacks.PGD(0.05, steps=4, norm="l2", restarts=2, loss=losses.margin_loss, seed=3)
    free = attacks.pgd(net, x, y, losses.margin_loss, eps=0.05, step_size=2.5 * 0.05 / 4, steps=4, norm="l2",
                       restarts=2, generator=torch.Generator().manual_seed(3))
    assert torch.equal(bound(net, x, y), free)
    variants = [bound, attacks.PGD(0.05), attacks.PGD(0.06), attacks.PGD(0.05, steps=10), attacks.PGD(0.05, seed=1),
                attacks.PGD(0.05, random_start=False), attacks.PGD(0.05, step_size=0.01),
                attacks.PGD(0.05, loss=losses.WassersteinLoss(torch.rand(4, 4).fill_diagonal_(0)))]
    assert len({str(one.describe()) for one in variants}) == len(variants)


@pytest.mark.parametrize("norm", NORMS)
def test_eps_0_and_empty_batches_change_nothing(norm):
    net, (x, y) = small_net(), batch(3, 3, 12, 12)
    same = attacks.pgd(net, x, y, eps=0, step_size=0, steps=5, norm=norm)
    assert torch.equal(same, x) and same.data_ptr() != x.data_ptr()
    empty = attacks.pgd(net, x[:0], y[:0], eps=0.1, step_size=0.1, steps=5, norm=norm)
    assert empty.shape == (0, 3, 12, 12)
    assert torch.equal(attacks.pgd(net, x, y, eps=0.1, step_size=0.1, steps=0, random_start=False, norm=norm), x)
