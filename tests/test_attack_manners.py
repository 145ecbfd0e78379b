"""What an attack leaves behind (nothing), and what it says about gradients that vanish."""
import warnings
from types import SimpleNamespace

import pytest
import torch
from support import batch, small_net

from helpers import allocator, attacks, evaluation, losses

NORMS = ("linf", "l2")


def snapshot(net):
    return {"training": [module.training for module in net.modules()],
            "requires_grad": [parameter.requires_grad for parameter in net.parameters()],
            "grad": [None if parameter.grad is None else parameter.grad.clone() for parameter in net.parameters()],
            "state": [value.clone() for value in net.state_dict().values()]}


def same(a, b):
    def equal(u, v):
        return u is v is None or torch.equal(u, v)
    return (a["training"] == b["training"] and a["requires_grad"] == b["requires_grad"]
            and all(map(equal, a["grad"], b["grad"])) and all(map(equal, a["state"], b["state"])))


def touched_net():
    """Mixed modes, some frozen parameters, some gradients: nothing is at its default."""
    net = small_net().train()
    net[1].eval()
    net[0].bias.requires_grad_(False)
    net(torch.rand(4, 3, 12, 12)).sum().backward()
    net[3].weight.grad = None
    return net


@pytest.mark.parametrize("fails", [False, True], ids=["returns", "raises"])
def test_the_model_is_left_as_it_was_found(fails):
    net, (x, y) = touched_net(), batch(4, 3, 12, 12)
    before, calls = snapshot(net), []

    def count(*_):
        calls.append(len(calls))
        if fails and len(calls) == 3:
            raise RuntimeError("the model broke")

    hook = net[-1].register_forward_hook(count)
    def attack():
        with attacks.frozen(net):
            net(x)
            attacks.pgd(net, x, y, eps=0.1, step_size=0.05, steps=4, restarts=2)
    if fails:
        with pytest.raises(RuntimeError, match="the model broke"):
            attack()
    else:
        attack()
    hook.remove()
    assert calls and same(snapshot(net), before)


def test_an_attack_reads_the_running_statistics_of_batchnorm():
    net, (x, y) = small_net(), batch(4, 3, 12, 12)
    settings = {"eps": 0.1, "step_size": 0.02, "steps": 3, "random_start": False}
    assert torch.equal(attacks.pgd(net.train(), x, y, **settings), attacks.pgd(net.eval(), x, y, **settings))
    assert not torch.allclose(net(x), net.train()(x))


def test_parameters_are_frozen_during_the_attack():
    net, (x, y) = small_net(), batch(4, 3, 12, 12)
    during = []
    hook = net.register_forward_pre_hook(lambda *_: during.extend(p.requires_grad for p in net.parameters()))
    attacks.pgd(net, x, y, eps=0.1, step_size=0.05, steps=2)
    hook.remove()
    assert during and not any(during)


@pytest.mark.parametrize("norm", NORMS)
def test_the_images_given_are_not_touched_and_the_result_is_free_of_the_graph(norm):
    net, (x, y) = small_net(), batch(4, 3, 12, 12)
    copy = x.clone()
    for random_start in (False, True):
        adversarial = attacks.pgd(net, x, y, eps=0.1, step_size=0.05, steps=2, norm=norm, random_start=random_start)
        assert torch.equal(x, copy) and not x.requires_grad and adversarial.grad_fn is None
        assert not adversarial.requires_grad


@pytest.mark.parametrize("norm", NORMS)
def test_works_under_no_grad_and_on_images_that_require_grad(norm):
    net, (x, y) = small_net(), batch(4, 3, 12, 12)
    settings = {"eps": 0.1, "step_size": 0.05, "steps": 2, "norm": norm}
    def attack(images):
        return attacks.pgd(net, images, y, generator=torch.Generator().manual_seed(0), **settings)
    expected = attack(x)
    with torch.no_grad():
        assert torch.equal(attack(x), expected)
    watched = x.clone().requires_grad_()
    result = attack(watched)
    assert torch.equal(result, expected) and not result.requires_grad and watched.grad is None


# --- zero gradients ---------------------------------------------------------------------------------------------

def dead_below_half(x):
    """Logits that do not react to images darker than 1/2 in their first pixel."""
    alive = (x.flatten(1)[:, 0] > 0.5).to(x.dtype)
    score = alive * x.flatten(1).sum(dim=1)
    return torch.stack([score, -score], dim=1)


@pytest.mark.parametrize("norm", NORMS)
def test_rows_without_gradient_are_counted_and_reported(norm):
    x = torch.full((5, 1, 2, 2), 0.8)
    x[:2] = 0.2
    y, settings = torch.zeros(5, dtype=torch.int64), {"eps": 0.1, "step_size": 0.05, "steps": 3, "norm": norm}
    stuck = []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        adversarial = attacks.pgd(dead_below_half, x, y, stuck=stuck, random_start=False, **settings)
        attacks.pgd(dead_below_half, x, y, check=False, **settings)
    assert stuck == [2]
    assert torch.equal(adversarial[:2], x[:2]) and (adversarial[2:] != x[2:]).all()
    with pytest.warns(attacks.ZeroGradientWarning, match="4 of 10 images"):
        attacks.pgd(dead_below_half, x, y, restarts=2, **settings)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        attacks.pgd(dead_below_half, x[2:], y[2:], **settings)


@pytest.mark.parametrize("norm", NORMS)
def test_a_tiny_gradient_is_followed_at_the_right_step_and_is_not_zero(norm):
    # A confident network's gradient is about exp(-60): its square is no float32 any more, but its direction is.
    def model(x):
        return torch.stack([1e-25 * x.flatten(1) @ torch.tensor([3.0, 4.0]), 0 * x.flatten(1)[:, 0]], dim=1)
    stuck = []
    x, y = torch.full((1, 2), 0.5), torch.tensor([1])
    adversarial = attacks.pgd(model, x, y, eps=0.3, step_size=0.1, steps=1, norm=norm, random_start=False,
                              stuck=stuck)
    step = [[0.6, 0.6]] if norm == "linf" else [[0.56, 0.58]]
    torch.testing.assert_close(adversarial, torch.tensor(step))
    assert stuck == [0]


@pytest.mark.parametrize("images", ["nchw", "channels_last"])
@pytest.mark.parametrize("weights", ["nchw", "channels_last"])
def test_the_batch_goes_into_the_format_of_the_model_and_comes_back_in_its_own(weights, images):
    formats = {"nchw": torch.contiguous_format, "channels_last": torch.channels_last}
    net, seen, (x, y) = small_net().to(memory_format=formats[weights]), [], batch(4, 3, 12, 12)
    x = x.contiguous(memory_format=formats[images])
    net.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].is_contiguous()))
    found = attacks.PGD(0.1, 2, seed=5)(net, x, y)
    assert found.stride() == x.stride()
    assert set(seen) == {weights == "nchw" and images == "nchw"}
    # The start is drawn in the caller's format, whatever that of the model.
    start = attacks.PGD(0.1, 0, seed=5)(net, x, y)
    drawn = torch.empty_like(x).uniform_(-0.1, 0.1, generator=torch.Generator().manual_seed(5))
    assert torch.equal(start, (x + drawn).clamp(0, 1)) and start.stride() == x.stride()


@pytest.mark.parametrize("value,calls", [("1", 2), ("0", 0)])
def test_an_attack_keeps_freed_memory_unless_told_not_to(value, calls, monkeypatch):
    made = []
    monkeypatch.setattr(allocator.ctypes, "CDLL", lambda _: SimpleNamespace(mallopt=lambda *words: made.append(words)))
    monkeypatch.setenv("WPGD_KEEP_MEMORY", value)
    allocator.keep_freed_memory.cache_clear()
    for _ in range(2):
        attacks.PGD(0.1, 1)(small_net(), *batch(2, 3, 12, 12))
    allocator.keep_freed_memory.cache_clear()
    assert len(made) == calls


def test_an_attack_in_bf16_says_so_and_is_judged_in_float32():
    net, seen, (x, y) = small_net(), [], batch(8, 3, 12, 12)
    net[0].register_forward_hook(lambda *words: seen.append(words[2].dtype))
    full, half = attacks.PGD(0.05, 3), attacks.PGD(0.05, 3, precision="bf16")
    assert half.describe() == {**full.describe(), "precision": "bf16"} and "precision" not in full.describe()
    logits = evaluation.predict_logits(net, x, y, half)
    assert seen == [torch.bfloat16] * 3 + [torch.float32] and logits.dtype == torch.float32
    found = half(net, x, y)
    assert found.dtype == torch.float32 and (found - x).abs().max() <= 0.05 + 1e-6
    values = [losses.cross_entropy(net(images), y).mean() for images in (x, full(net, x, y), found)]
    assert values[2] - values[0] > 0.9 * (values[1] - values[0]) > 0
    with pytest.raises(ValueError, match="precision = 'fp8'"):
        attacks.PGD(0.05, precision="fp8")
