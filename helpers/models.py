"""Networks: Wide-ResNet-d-k (Zagoruyko and Komodakis 2016), as in Sec. 5.1, and a small MLP for 2-d points.

Both normalise inside, so that a caller, and an attack, only ever sees inputs in [0, 1].
"""
import re
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.modules import module as every_module

HOOKS = ("forward_hooks", "forward_pre_hooks", "backward_hooks", "backward_pre_hooks")


class Normalize(nn.Module):
    """Subtract a mean and divide by a standard deviation, C floats each, of inputs (N, C, ...) in [0, 1]."""

    def __init__(self, channels, mean, std, dims):
        super().__init__()
        for name, values in (("mean", mean), ("inv_std", std)):
            values = torch.tensor([0.5] * channels if values is None else list(values), dtype=torch.float32)
            if len(values) != channels:  # one value for three channels would broadcast in silence
                raise ValueError(f"{name.removeprefix('inv_')} has {len(values)} values for inputs of {channels} "
                                 "channels: give one a channel")
            values = values.view(1, channels, *[1] * dims)
            self.register_buffer(name, values if name == "mean" else 1 / values)

    def forward(self, x):
        return (x - self.mean) * self.inv_std


class Block(nn.Module):
    """Pre-activation residual block: BN-ReLU-conv-BN-ReLU-conv; where shapes change, a 1x1 shortcut of the
    *pre-activated* input, as in the authors' code for Wide-ResNets.
    """

    def __init__(self, channels_in, channels, stride):
        super().__init__()
        self.bn1 = nn.BatchNorm2d(channels_in)
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        same = stride == 1 and channels_in == channels
        self.shortcut = None if same else nn.Conv2d(channels_in, channels, 1, stride, bias=False)

    def forward(self, x):
        h = normalized(self.bn1, x)
        shortcut = x if self.shortcut is None else self.shortcut(h)
        conv = self.conv1
        if plain(conv, nn.Conv2d) and fixed(self.bn2, h, (torch.float32, torch.bfloat16)):
            # In a frozen network the normalisation goes into the weights of the convolution: in float32, since autocast
            # rounds to bfloat16 only their product.
            scale, shift = affine(self.bn2)
            weight = conv.weight * scale.view(-1, 1, 1, 1)
            h = torch.relu_(F.conv2d(h, weight, shift.flatten(), conv.stride, conv.padding))
        else:
            h = normalized(self.bn2, conv(h))
        h = self.conv2(h)
        return h.add_(shortcut) if plain(self.conv2, nn.Conv2d) else h + shortcut


def normalized(bn, x):
    """ReLU after a BatchNorm layer, one pass over memory less when nothing is to be learned."""
    if not fixed(bn, x):
        h = bn(x)
        # In place: no gradient needs what batch normalisation returned, and memory is what the CPU waits for.
        return torch.relu_(h) if plain(bn, nn.BatchNorm2d) else torch.relu(h)
    scale, shift = affine(bn)
    return torch.relu_(torch.addcmul(shift, x, scale))


def fixed(bn, x, dtypes=(torch.float32,)):
    """Whether batch normalisation is a fixed affine map without a gradient of its own, as in attacks: its backward pass
    costs as much as a convolution's.  Not in bfloat16, which would round the scale, nor under a tracer.
    """
    return (plain(bn, nn.BatchNorm2d) and not bn.training and x.dtype in dtypes and not torch.jit.is_tracing()
            and not (torch.is_grad_enabled() and bn.weight.requires_grad))


def plain(module, kind):
    """Whether a layer is what it was built as and nobody listens to it: then it need not be called.

    Pruning, weight normalisation, Grad-CAM and operation counters come as hooks, parametrizations as other classes.
    """
    return type(module) is kind and not any(
        getattr(module, f"_{hooks}") or getattr(every_module, f"_global_{hooks}") for hooks in HOOKS)


def affine(bn):
    """Scale and shift, each of shape (1, C, 1, 1), that a BatchNorm layer applies in eval mode."""
    scale = bn.weight * torch.rsqrt(bn.running_var + bn.eps)
    return [values.view(1, -1, 1, 1) for values in (scale, bn.bias - bn.running_mean * scale)]


class WideResNet(nn.Module):
    """Wide-ResNet-d-k without dropout (Sec. 5.1; Zagoruyko and Komodakis 2016).

    Maps (N, in_channels, H, W) in [0, 1] to logits (N, num_classes); H, W >= 16 stem_stride.  Its weights lie in
    channels_last; ``.to(memory_format=torch.contiguous_format)`` undoes that, for torch's pruning, say.

    Parameters
    ----------
    depth : int, number of layers d, with (d - 4) divisible by 6: 10, 16, 22, 28, 40
    width : int >= 1, widening factor k: the three groups have 16 k, 32 k and 64 k channels
    num_classes : int >= 2; in_channels : int >= 1
    mean, std : `in_channels` floats, optional: statistics of the training pixels in [0, 1], by default 0.5
    stem_stride : 1 or 2, stride of the first convolution
        The published network has 1; 2 makes images of 64 x 64 pixels cost what those of 32 x 32 do (the paper does not
        say how its networks read Tiny-ImageNet).

    Raises ValueError for a depth that no Wide-ResNet has, width < 1, fewer than two classes, or other channels.
    """

    def __init__(self, depth, width, num_classes, in_channels=3, mean=None, std=None, *, stem_stride=1):
        super().__init__()
        if depth < 10 or (depth - 4) % 6 or width < 1 or num_classes < 2:
            raise ValueError(f"there is no Wide-ResNet-{depth}-{width} for {num_classes} classes: give a depth of 10 "
                             "or 16 or another 6 n + 4, a width of at least 1 and at least 2 classes")
        self.normalize = Normalize(in_channels, mean, std, dims=2)
        self.stem = nn.Conv2d(in_channels, 16, 3, stem_stride, 1, bias=False)
        layers, channels = [], 16
        for wide, stride in ((16 * width, 1), (32 * width, 2), (64 * width, 2)):
            for block in range((depth - 4) // 6):
                layers.append(Block(channels, wide, stride if block == 0 else 1))
                channels = wide
        self.blocks = nn.Sequential(*layers)
        self.bn = nn.BatchNorm2d(channels)
        self.classifier = nn.Linear(channels, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        nn.init.zeros_(self.classifier.bias)
        # Convolutions run faster on it: in their memory the channels of a pixel lie side by side.
        self.to(memory_format=torch.channels_last)

    def features(self, x):
        """Representation that the linear classifier reads: shape (N, 64 k) for images (N, C, H, W) in [0, 1]."""
        smallest = 16 * self.stem.stride[0]
        if x.shape[-1] < smallest or x.shape[-2] < smallest:
            raise ValueError(f"images of {x.shape[-2]} x {x.shape[-1]} pixels are too small for this Wide-ResNet, "
                             f"which halves them again and again: give {smallest} x {smallest} or larger")
        h = self.blocks(self.stem(self.normalize(x)))
        return normalized(self.bn, h).mean(dim=(2, 3))

    def forward(self, x):
        return self.classifier(self.features(x))


wide_resnet = WideResNet


class MLP(nn.Module):
    """Fully connected ReLU network, (N, inputs) in [0, 1] to logits (N, num_classes) (the toy problem of Sec. 3.4).

    `hidden` are the sizes of the hidden layers; `mean` and `std` as in `WideResNet`, one float a dimension.
    """

    def __init__(self, num_classes, hidden=(64, 64), inputs=2, mean=None, std=None):
        super().__init__()
        self.normalize = Normalize(inputs, mean, std, dims=0)
        sizes = [inputs, *hidden]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        self.classifier = nn.Linear(sizes[-1], num_classes)
        for layer in self.layers:
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)

    def features(self, x):
        """Last hidden layer, shape (N, hidden[-1]), for points (N, d) in [0, 1]."""
        h = self.normalize(x)
        for layer in self.layers:
            h = torch.relu(layer(h))
        return h

    def forward(self, x):
        return self.classifier(self.features(x))


def build(name, num_classes, in_channels=3, mean=None, std=None):
    """Network from its name as the paper writes it: "W-16-10" (depth 16, width 10), or "mlp-64-64".

    "W-16-10/2" is "W-16-10" whose first convolution has a stride of 2.  Raises ValueError for any other name.
    """
    if match := re.fullmatch(r"W-(\d+)-(\d+)(/2)?", name):
        return WideResNet(int(match[1]), int(match[2]), num_classes, in_channels, mean, std,
                          stem_stride=2 if match[3] else 1)
    if match := re.fullmatch(r"mlp((?:-\d+)+)", name):
        return MLP(num_classes, [int(size) for size in match[1][1:].split("-")], in_channels, mean, std)
    raise ValueError(f'unknown network {name!r}: write "W-depth-width" (such as W-16-4), "W-depth-width/2" '
                     'or "mlp-64-64"')
