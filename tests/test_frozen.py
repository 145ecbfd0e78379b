"""A Wide-ResNet that is prepared for an attack has the answers and the gradients of the network itself."""
import pytest
import torch
import torch.nn.functional as F

from helpers import attacks, models
from helpers.frozen import FrozenWideResNet, prepared


def network(depth=10, width=1, classes=4, channels=3, last=True, **more):
    """A network whose statistics are not the initial ones; some scales are negative."""
    torch.manual_seed(depth + width)
    net = models.wide_resnet(depth, width, classes, channels, **more)
    net.to(memory_format=torch.channels_last if last else torch.contiguous_format)
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.normal_(module.weight)
            torch.nn.init.normal_(module.bias)
    net.train()(torch.rand(16, channels, 32, 32))
    return net.eval().requires_grad_(False)


def gradient(function, x):
    x = x.clone().requires_grad_()
    logits = function(x)
    return logits.detach(), *torch.autograd.grad(F.cross_entropy(logits, torch.arange(len(x)) % 2), x)


@pytest.mark.parametrize(("settings", "shape"), [
    ({}, (5, 3, 32, 32)), ({"channels": 1}, (3, 1, 28, 28)), ({"depth": 16, "width": 2}, (2, 3, 32, 32)),
    ({"stem_stride": 2}, (2, 3, 64, 64)), ({"last": False}, (4, 3, 16, 20)), ({"classes": 2}, (1, 3, 17, 33))])
def test_answers_and_gradients_are_those_of_the_network(settings, shape):
    net = network(**settings)
    x = attacks.in_format_of(net, torch.rand(shape))
    for ours, theirs in zip(gradient(prepared(net), x), gradient(net, x), strict=True):
        assert torch.equal(ours, theirs) and ours.abs().sum() > 0


def test_an_attack_uses_it_and_finds_the_same_images(monkeypatch):
    net, (x, y) = network(), (torch.rand(6, 3, 32, 32), torch.arange(6) % 4)
    calls = []
    call = FrozenWideResNet.__call__
    monkeypatch.setattr(FrozenWideResNet, "__call__", lambda self, x: calls.append(len(x)) or call(self, x))
    found = attacks.PGD(0.05, 3)(net, x, y)
    assert calls == [6, 6, 6]
    assert torch.equal(found, attacks.PGD(0.05, 3)(lambda x: net(x), x, y))


def test_a_network_that_somebody_changed_or_listens_to_is_called_itself():
    hooked, replaced, listened = network(), network(), network()
    hooked.blocks[0].conv1.register_forward_hook(lambda *_: None)
    replaced.blocks[1].bn2 = torch.nn.GroupNorm(4, 32)
    listened.register_forward_pre_hook(lambda *_: None)
    for net in (hooked, replaced, listened, network().train(), torch.nn.Flatten()):
        assert prepared(net) is net


@pytest.mark.parametrize("settings", [{}, {"depth": 16, "width": 2}, {"channels": 1, "last": False}])
def test_in_bfloat16_it_is_as_near_to_float32_as_the_network_is(settings):
    net, x = network(**settings), torch.rand(8, settings.get("channels", 3), 32, 32)
    float32 = gradient(net, x)
    with torch.autocast("cpu", torch.bfloat16):
        bf16 = gradient(prepared(net), x), gradient(net, x)
    for ours, theirs, exact in zip(*bf16, float32, strict=True):
        assert not torch.equal(ours, exact), "it computed in float32"
        assert 0 < (ours - exact).norm() < 1.2 * (theirs - exact).norm() < 0.5 * exact.norm()


@pytest.mark.parametrize("case", ["double", "bf16 later", "bf16 before", "small"])
def test_other_numbers_and_sizes_take_the_networks_own_way(case):
    net = network().double() if case == "double" else network()
    x = torch.rand(2, 3, 15 if case == "small" else 32, 32, dtype=torch.float64 if case == "double" else None)
    with torch.autocast("cpu", torch.bfloat16, enabled=case == "bf16 before"):
        ready = prepared(net)
    with torch.autocast("cpu", torch.bfloat16, enabled=case == "bf16 later"):
        if case == "small":
            with pytest.raises(ValueError, match="too small"):
                ready(x)
        else:
            assert torch.equal(ready(x), net(x))
