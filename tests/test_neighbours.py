"""Inputs that went wrong in neighbouring projects, and here until they were mended: networks, losses and attacks."""
import copy
import warnings

import pytest
import torch
from support import batch
from torch import nn
from torch.nn.utils import parametrizations, prune, weight_norm

from helpers import attacks, evaluation, losses, models
from helpers.autoattack import AutoAttack


def network(classes=4, **options):
    torch.manual_seed(0)
    net = models.build("W-10-1", classes, **options)
    net.train()(torch.rand(8, net.stem.in_channels, 16, 16))  # statistics that are not the initial ones
    return net.eval()


# --- networks: whatever listens to a layer, or stands in its place, takes part ---------------------------------------

def test_every_convolution_is_seen_by_its_hooks_with_its_own_output():
    net, x, seen = network(), torch.rand(2, 3, 16, 16), {}
    plain = net(x)
    for name, module in net.named_modules():
        if isinstance(module, nn.Conv2d | nn.BatchNorm2d):
            module.register_forward_hook(
                lambda m, given, out, name=name: seen.__setitem__(name, (given[0].clone(), out)))
    with torch.no_grad():
        heard = net(x)
    assert set(seen) == {name for name, m in net.named_modules() if isinstance(m, nn.Conv2d | nn.BatchNorm2d)}
    for name, (given, out) in seen.items():
        module = copy.deepcopy(net.get_submodule(name))
        module._forward_hooks.clear()
        torch.testing.assert_close(out, module(given), atol=1e-5, rtol=1e-5, msg=name)
    torch.testing.assert_close(heard, plain, atol=1e-5, rtol=1e-5)


def test_full_backward_hooks_and_global_hooks():
    net, x = network(), torch.rand(2, 3, 16, 16)
    heard = []
    net.blocks[0].conv2.register_full_backward_hook(lambda *_: heard.append(1))
    net(x).sum().backward()
    assert heard == [1]
    seen = []
    handle = nn.modules.module.register_module_forward_hook(lambda module, *_: seen.append(type(module)))
    with torch.no_grad():
        net(x)
    handle.remove()
    assert seen.count(nn.Conv2d) == 9 and seen.count(nn.BatchNorm2d) == 7


@pytest.mark.parametrize("change", [
    lambda conv: prune.random_unstructured(conv, "weight", 0.5), weight_norm, parametrizations.weight_norm,
    parametrizations.spectral_norm], ids=["prune", "weight_norm", "parametrized weight_norm", "spectral_norm"])
def test_changed_layers_are_called_in_a_frozen_network(change):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the old weight_norm is deprecated
        net, x = network().to(memory_format=torch.contiguous_format), torch.rand(2, 3, 16, 16)  # prune wants views
        for block in net.blocks:
            change(block.conv1)
        net.eval()
    expected = net(x).detach()  # gradients of parameters are wanted: nothing is folded
    with torch.no_grad():
        torch.testing.assert_close(net(x), expected, atol=1e-5, rtol=1e-5)


def test_conversion_to_synchronised_batch_normalisation_keeps_the_network():
    net, x = network(), torch.rand(2, 3, 16, 16)
    with torch.no_grad():
        before = net(x)
        torch.testing.assert_close(nn.SyncBatchNorm.convert_sync_batchnorm(net)(x), before, atol=1e-5, rtol=1e-5)


def test_a_network_can_be_traced_and_exported():
    net, x = network(), torch.rand(1, 3, 16, 16)
    traced = torch.jit.trace(net, x)
    torch.testing.assert_close(traced(x), net(x))
    torch.testing.assert_close(torch.export.export(net, (x,)).module()(x), net(x), atol=1e-5, rtol=1e-5)


def test_four_channels_and_images_that_are_not_square():
    net = network(in_channels=4)
    x, y = batch(3, 4, 16, 20)
    assert attacks.pgd(net, x, y, eps=0.1, step_size=0.05, steps=2).shape == x.shape


# --- losses ---------------------------------------------------------------------------------------------------------

COST = torch.tensor([[0.0, 1, 2], [1, 0, 3], [2, 3, 0]])


def test_a_cost_that_is_learned_is_refused():
    with pytest.raises(ValueError, match=r"cost requires a gradient.*detach"):
        losses.wasserstein_loss(torch.randn(1, 3), torch.tensor([1]), COST.clone().requires_grad_())


def test_functional_transforms_give_the_gradient_of_autograd():
    y, z = torch.tensor([0, 1]), torch.randn(2, 3)
    found = torch.func.grad(lambda t: losses.wasserstein_loss(t, y, COST, p=2).sum())(z)
    z.requires_grad_()
    expected, = torch.autograd.grad(losses.wasserstein_loss(z, y, COST, p=2).sum(), z)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("call", [lambda net, x, y: attacks.PGD(0.1, 2)(net, x, y), evaluation.evaluate,
                                  lambda net, x, y: AutoAttack(0.1, steps=1, queries=1)(net, x, y)],
                         ids=["PGD", "evaluate", "AutoAttack"])
@pytest.mark.parametrize("wrap", [lambda z: (z, z), lambda z: {"logits": z}], ids=["tuple", "dict"])
def test_a_model_that_returns_something_else_than_logits_gets_one_sentence(call, wrap):
    x, y = torch.rand(4, 3, 4, 4), torch.tensor([0, 1, 2, 3])
    weights = torch.randn(48, 5)
    with pytest.raises(ValueError, match=r"must return logits \(N, K\)"):
        call(lambda t: wrap(t.flatten(1) @ weights), x, y)


# --- attacks ---------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("norm", attacks.NORMS)
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_images_without_a_usable_gradient_stay_images_and_are_counted(norm, bad):
    weights, x, y = torch.randn(3, 48), torch.rand(4, 3, 4, 4), torch.tensor([0, 1, 2, 0])
    scale = torch.tensor([1, bad, 1, 1])[:, None]
    with pytest.warns(attacks.ZeroGradientWarning, match="1 of 4"):
        found = attacks.PGD(0.1, 3, norm=norm)(lambda t: t.flatten(1) @ weights.T * scale, x, y)
    assert found.isfinite().all() and not torch.equal(found[0], x[0])


@pytest.mark.parametrize("attack", [attacks.PGD(0.1, 3), AutoAttack(0.1, steps=2, queries=5)],
                         ids=["PGD", "AutoAttack"])
@pytest.mark.parametrize("born", ["outside", "inside"])
def test_inference_mode_gives_the_same_images(attack, born):
    net, (x, y) = network(), batch(2, 3, 32, 32)
    expected = attack(net, x, y)
    with torch.inference_mode():
        inside = x.clone() if born == "inside" else x
        assert torch.equal(attack(net, inside, y), expected)


@pytest.mark.parametrize("attack", [attacks.PGD(0.1, 3, norm="l2"), AutoAttack(0.05, steps=2, queries=5)],
                         ids=["PGD", "AutoAttack"])
def test_another_default_float_type_changes_no_image(attack):
    net, (x, y) = network(), batch(2, 3, 16, 16)
    expected, predicted = attack(net, x, y), evaluation.predict_logits(net, x)
    torch.set_default_dtype(torch.float64)
    try:
        assert torch.equal(attack(net, x, y), expected) and torch.equal(evaluation.predict_logits(net, x), predicted)
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)


BAD = {"eps nan": {"eps": float("nan")}, "negative eps": {"eps": -0.1}, "255 times eps": {"eps": 4.0},
       "0..255": {"scale": 255}, "one label": {"labels": torch.tensor([0])},
       "label 99": {"labels": torch.tensor([97, 98, 99])}, "one-hot": {"labels": torch.eye(3)}}


@pytest.mark.parametrize("kind", [lambda eps: attacks.PGD(eps, 2), lambda eps: AutoAttack(eps, "linf", 2, 5)],
                         ids=["PGD", "AutoAttack"])
@pytest.mark.parametrize("case", BAD.values(), ids=BAD)
def test_what_no_attack_can_use_is_refused(kind, case):
    net, x, y = network(5), torch.rand(3, 3, 32, 32), torch.tensor([0, 1, 2])
    with pytest.raises(ValueError):
        kind(case.get("eps", 0.1))(net, case.get("scale", 1) * x, case.get("labels", y))


def test_an_infinite_step_is_refused():
    with pytest.raises(ValueError, match="finite"):
        attacks.pgd(network(), *batch(2, 3, 16, 16), eps=0.1, step_size=float("inf"), steps=2)
