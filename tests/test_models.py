"""Networks against the published parameter counts, the architecture written out by hand, and their own features."""
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from helpers import models


def by_hand(depth, width, classes, channels):
    """Parameters of WRN-d-k, added up from Table 1 of Zagoruyko and Komodakis (2016)."""
    total, before = 9 * channels * 16, 16
    for group in (16, 32, 64):
        wide = group * width
        for block in range((depth - 4) // 6):
            total += 2 * before + 9 * before * wide + 2 * wide + 9 * wide * wide
            total += before * wide if block == 0 and before != wide else 0
            before = wide
    return total + 2 * before + before * classes + classes


def parameters(name, classes=10, channels=3):
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in models.build(name, classes, channels).parameters())


# In millions, as printed in the paper that introduces the networks (its Tables 4 to 6).
PUBLISHED = {"W-40-4": 8.9, "W-16-8": 11.0, "W-22-8": 17.2, "W-16-10": 17.1, "W-28-10": 36.5, "W-40-10": 55.8}


@pytest.mark.parametrize("name, millions", PUBLISHED.items())
def test_published_parameter_counts(name, millions):
    count = parameters(name)
    assert round(count / 1e6, 1) == millions
    assert count == by_hand(*map(int, name.split("-")[1:]), 10, 3)


@pytest.mark.parametrize("size", [(10, 1, 2, 1), (16, 1, 10, 1), (16, 2, 200, 3), (40, 10, 100, 3)])
def test_parameter_counts_of_other_sizes(size):
    depth, width, classes, channels = size
    assert parameters(f"W-{depth}-{width}", classes, channels) == by_hand(depth, width, classes, channels)


def seeded(depth=10, width=2, classes=5, channels=3, **settings):
    """A network whose BatchNorms and biases are not at their initial values."""
    torch.manual_seed(0)
    net = models.wide_resnet(depth, width, classes, channels, **settings).eval()
    for name, tensor in net.state_dict().items():
        if "bn" in name and tensor.is_floating_point():
            tensor.uniform_(0.5, 1.5)
    net.classifier.bias.data.normal_()
    return net


@pytest.mark.parametrize("shape", [(16, 16, 3), (17, 23, 3), (28, 28, 1), (64, 64, 3)])
def test_any_image_size_from_16(shape):
    height, width, channels = shape
    net, x = seeded(channels=channels), torch.rand(2, channels, height, width)
    features = net.features(x)
    assert features.shape == (2, 128)
    torch.testing.assert_close(net.classifier(features), net(x))
    assert net(x).shape == (2, 5) and net(x).isfinite().all()


def written_out(net, x, blocks, mean, std, stem_stride=1):
    """The forward pass of a Wide-ResNet, from its weights and the description of the architecture."""
    weights = net.state_dict()

    def norm_relu(name, h):
        mean, var, scale, shift = (weights[f"{name}.{key}"][None, :, None, None]
                                   for key in ("running_mean", "running_var", "weight", "bias"))
        return ((h - mean) / (var + 1e-5).sqrt() * scale + shift).clamp(min=0)

    h = F.conv2d((x - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None], weights["stem.weight"],
                 stride=stem_stride, padding=1)
    for index in range(3 * blocks):
        name, stride = f"blocks.{index}", 2 if index in (blocks, 2 * blocks) else 1
        active = norm_relu(f"{name}.bn1", h)
        inner = F.conv2d(active, weights[f"{name}.conv1.weight"], stride=stride, padding=1)
        inner = F.conv2d(norm_relu(f"{name}.bn2", inner), weights[f"{name}.conv2.weight"], padding=1)
        # Where the shape changes, the 1x1 shortcut reads the activated input; elsewhere the raw input passes by.
        projected = weights.get(f"{name}.shortcut.weight")
        h = inner + (h if projected is None else F.conv2d(active, projected, stride=stride))
    pooled = norm_relu("bn", h).mean(dim=(2, 3))
    return pooled @ weights["classifier.weight"].T + weights["classifier.bias"]


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("depth, width, shortcuts", [(10, 2, 3), (16, 1, 2), (16, 2, 3)])
def test_forward_pass_and_input_gradient_are_the_published_ones(depth, width, shortcuts, frozen):
    """Frozen parameters, as an attack has them, take a shorter way to the same numbers."""
    mean, std = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
    net, x = seeded(depth, width, mean=mean, std=std), torch.rand(2, 3, 18, 21, requires_grad=True)
    net.requires_grad_(not frozen)
    ours, reference = net(x), written_out(net, x, (depth - 4) // 6, mean, std)
    torch.testing.assert_close(ours, reference, rtol=1e-4, atol=1e-4)
    slopes = [torch.autograd.grad(logits.logsumexp(dim=1).sum(), x)[0] for logits in (ours, reference)]
    torch.testing.assert_close(*slopes, rtol=1e-3, atol=1e-4 * slopes[1].abs().max().item())
    with torch.no_grad():
        torch.testing.assert_close(net(x), reference, rtol=1e-4, atol=1e-4)
    assert sum("shortcut" in name for name in net.state_dict()) == shortcuts


def test_the_stem_may_halve_large_images():
    """Twice the side, the same number of features and products; all else stays."""
    mean, std = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
    net, x = seeded(16, 1, mean=mean, std=std, stem_stride=2), torch.rand(2, 3, 34, 41)
    with torch.no_grad():
        torch.testing.assert_close(net(x), written_out(net, x, 2, mean, std, stem_stride=2), rtol=1e-4, atol=1e-4)
    assert models.build("W-16-1/2", 10).stem.stride == (2, 2) and models.build("W-16-1", 10).stem.stride == (1, 1)
    assert parameters("W-16-1/2") == parameters("W-16-1")
    with pytest.raises(ValueError, match="give 32 x 32 or larger"):
        net(torch.rand(1, 3, 31, 64))
    with pytest.raises(ValueError, match="unknown network 'W-16-1/3'"):
        models.build("W-16-1/3", 10)


def test_a_network_in_training_mode_uses_and_updates_batch_statistics_also_when_frozen():
    net, x = seeded().train().requires_grad_(False), torch.rand(4, 3, 16, 16)
    before = net.blocks[0].bn2.running_mean.clone()
    alone, together = net(x[:2]), net(x)[:2]
    assert not torch.allclose(alone, together, atol=1e-3) and not torch.equal(net.blocks[0].bn2.running_mean, before)


def test_under_autocast_a_frozen_network_folds_in_float32_and_rounds_once(monkeypatch):
    net = models.wide_resnet(16, 1, 5)
    net(torch.rand(32, 3, 16, 16))
    net.eval().requires_grad_(False)
    x, weights, conv2d = torch.rand(4, 3, 16, 16), [], F.conv2d

    def listen(h, weight, bias=None, *rest):
        weights.extend([] if bias is None else [weight.dtype])  # a folded one alone has a bias
        return conv2d(h, weight, bias, *rest)

    monkeypatch.setattr(models.F, "conv2d", listen)
    exact = net(x)
    with torch.autocast("cpu", torch.bfloat16):
        half = net(x)
        assert weights == [torch.float32] * 2 * len(net.blocks)
        net.requires_grad_(True)(x)
        assert len(weights) == 2 * len(net.blocks), "a network that learns must not be folded"
    assert not torch.equal(exact, half.float())
    torch.testing.assert_close(half.float(), exact, atol=0.03 * exact.abs().max().item(), rtol=0)


def test_a_partly_frozen_network_learns_what_is_left():
    net, x = seeded(), torch.rand(2, 3, 16, 16)
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.weight.requires_grad_(False)
    net(x).square().sum().backward()
    learned = [parameter for parameter in net.parameters() if parameter.requires_grad]
    assert len(learned) < len(list(net.parameters())) and all(one.grad.abs().sum() > 0 for one in learned)


def test_shortcut_reads_the_activated_input():
    net, seen = seeded(), {}
    block = net.blocks[0]
    block.shortcut.register_forward_pre_hook(lambda _, args: seen.update(shortcut=args[0]))
    block.conv1.register_forward_pre_hook(lambda _, args: seen.update(conv1=args[0]))
    net(torch.rand(2, 3, 16, 16))
    assert torch.equal(seen["shortcut"], seen["conv1"]) and seen["shortcut"].min() == 0


def test_he_initialisation():
    torch.manual_seed(0)
    net = models.wide_resnet(16, 4, 10)
    for name, weight in net.named_parameters():
        if weight.ndim == 4:
            expected = np.sqrt(2 / (weight.shape[0] * weight.shape[2] * weight.shape[3]))
            assert weight.std().item() == pytest.approx(expected, rel=6 / np.sqrt(2 * weight.numel())), name
            assert abs(weight.mean().item()) < 6 * expected / np.sqrt(weight.numel()), name
    assert not net.classifier.bias.any() and not any(module.bias is not None for module in net.modules()
                                                     if isinstance(module, torch.nn.Conv2d))


@pytest.mark.parametrize("kind", ["wide_resnet", "mlp"])
def test_normalisation_is_inside(kind):
    mean, std = ((0.1, 0.7), (0.3, 0.2)) if kind == "mlp" else ((0.1, 0.5, 0.7), (0.3, 0.4, 0.2))
    x = torch.rand(4, 2) if kind == "mlp" else torch.rand(2, 3, 16, 16)

    def build(mean, std):
        torch.manual_seed(1)
        net = models.MLP(3, mean=mean, std=std) if kind == "mlp" else models.wide_resnet(10, 1, 3, 3, mean, std)
        return net.eval()

    shape = (-1,) + (1,) * (x.ndim - 2)
    outside = (x - torch.tensor(mean).view(shape)) / torch.tensor(std).view(shape)
    unit = build((0.0,) * len(mean), (1.0,) * len(std))
    torch.testing.assert_close(build(mean, std)(x), unit(outside), rtol=1e-4, atol=1e-5)
    assert torch.equal(build(np.array(mean), torch.tensor(std))(x), build(mean, std)(x))


def test_mlp_by_hand():
    torch.manual_seed(0)
    net, x = models.MLP(3, hidden=(5, 4)), torch.rand(6, 2)
    h = (x - 0.5) / 0.5
    for layer in net.layers:
        h = (h @ layer.weight.T + layer.bias).clamp(min=0)
    torch.testing.assert_close(net.features(x), h)
    torch.testing.assert_close(net(x), h @ net.classifier.weight.T + net.classifier.bias)
    assert [tuple(layer.weight.shape) for layer in net.layers] == [(5, 2), (4, 5)]


@pytest.mark.parametrize("name", ["W-10-1", "mlp-8-8"])
def test_all_parameters_learn_and_the_input_has_a_gradient(name):
    torch.manual_seed(0)
    net = models.build(name, 3, in_channels=2 if name.startswith("mlp") else 3)
    x = (torch.rand(16, 2) if name.startswith("mlp") else torch.rand(4, 3, 16, 16)).requires_grad_()
    net(x).logsumexp(dim=1).sum().backward()
    assert x.grad.abs().sum() > 0
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in net.parameters())


def test_names_build_what_they_say():
    net = models.build("W-16-2", 7, in_channels=1)
    assert len(net.blocks) == 6 and net.classifier.in_features == 128 and net.classifier.out_features == 7
    assert [layer.out_features for layer in models.build("mlp-9-4", 3, in_channels=2).layers] == [9, 4]
    torch.manual_seed(3)
    one = models.build("W-10-1", 2)
    torch.manual_seed(3)
    two = models.build("W-10-1", 2)
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), two.state_dict().values()))
