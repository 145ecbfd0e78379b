"""A Wide-ResNet under attack: its weights stand still, so what follows from them is computed once for all steps.

Its gradient is written out, because autograd keeps each step's gradients in memory of their own, and memory is what a
CPU waits for. Arithmetic and order are those of `models.WideResNet`: answers and gradients are equal bit for bit in
float32; in bfloat16 they are rounded in fewer places.
"""
import torch
import torch.nn.functional as F
from torch import nn
from torch.autograd.function import once_differentiable

from helpers.models import Block, Normalize, WideResNet, affine, plain

KINDS = (WideResNet, Normalize, Block, nn.Sequential, nn.Conv2d, nn.BatchNorm2d, nn.Linear)


def prepared(model):
    """What an attack calls in place of a frozen model in eval mode: the same function of its images, mostly faster."""
    usual = type(model) is WideResNet and not model.training and all(
        type(layer) in KINDS and plain(layer, type(layer)) for layer in model.modules())
    return FrozenWideResNet(model) if usual else model


class FrozenWideResNet(nn.Module):
    """A `WideResNet` that does not change: images (N, C, H, W) -> logits (N, K).

    On a CPU, in float32 or under autocast in bfloat16; in other cases and under a compiler it calls the model.
    """

    def __init__(self, model):
        super().__init__()
        self.model, self.dtype, self.blocks = model, _working_dtype(), []
        with torch.no_grad():
            self.stem, *self.last = self._cast(model.stem.weight, *affine(model.bn))
            for block in model.blocks:
                scale, shift = affine(block.bn2)
                folded, shortcut = block.conv1.weight * scale.view(-1, 1, 1, 1), getattr(block.shortcut, "weight", None)
                self.blocks.append((block, *self._cast(*affine(block.bn1), folded, shift.flatten(), block.conv2.weight,
                                                       shortcut)))
        self.eval()

    def _cast(self, *values):
        return [value if value is None else value.detach().to(self.dtype) for value in values]

    def forward(self, x):
        fits = (x.device.type == "cpu" and x.dtype == self.model.stem.weight.dtype == torch.float32 and x.ndim == 4
                and min(x.shape[2:]) >= 16 * self.model.stem.stride[0] and self.dtype == _working_dtype()
                and not torch.compiler.is_compiling() and not torch.jit.is_tracing())
        if not fits:
            return self.model(x)
        with torch.autocast("cpu", enabled=False):
            return _Forward.apply(x, self)


def _working_dtype():
    """That in which convolutions on a CPU compute."""
    return torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else torch.float32


class _Forward(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, net):
        model = net.model
        ctx.net, ctx.kept, ctx.x = net, [], model.normalize(x).to(net.dtype)
        h = _conv(ctx.x, model.stem, net.stem)
        for block, scale, shift, folded, bias, weight, shortcut in net.blocks:
            a = torch.relu_(torch.addcmul(shift, h, scale))
            b = torch.relu_(_conv(a, block.conv1, folded, bias))
            h = _conv(b, block.conv2, weight).add_(h if shortcut is None else _conv(a, block.shortcut, shortcut))
            ctx.kept.append((a, b))
        scale, shift = net.last
        ctx.last = torch.relu_(torch.addcmul(shift, h, scale))
        return model.classifier(ctx.last.mean(dim=(2, 3), dtype=x.dtype))

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):
        model, last = ctx.net.model, ctx.last
        g = (gradient @ model.classifier.weight / last[0, 0].numel())[:, :, None, None]
        g = _relu_backward(torch.empty_like(last).copy_(g), last).mul_(ctx.net.last[0])
        for (block, scale, _, folded, _, weight, shortcut), (a, b) in zip(reversed(ctx.net.blocks), reversed(ctx.kept)):
            inner = _relu_backward(_conv_backward(g, b, block.conv2, weight), b)
            inner = _conv_backward(inner, a, block.conv1, folded)
            if shortcut is not None:
                inner.add_(_conv_backward(g, a, block.shortcut, shortcut))
            inner = _relu_backward(inner, a).mul_(scale)
            g = inner if shortcut is not None else g.add_(inner)
        return _conv_backward(g, ctx.x, model.stem, ctx.net.stem).to(gradient.dtype).mul_(model.normalize.inv_std), None


def _relu_backward(gradient, output):
    """In place: the gradient where the output of a ReLU is positive, 0 elsewhere."""
    return torch.ops.aten.threshold_backward.grad_input(gradient, output, 0, grad_input=gradient)


def _conv(x, conv, weight, bias=None):
    """A convolution with another weight."""
    return F.conv2d(x, weight, bias, conv.stride, conv.padding)


def _conv_backward(gradient, x, conv, weight):
    """The gradient of its input x."""
    return torch.ops.aten.convolution_backward(gradient, x, weight, None, conv.stride, conv.padding, (1, 1), False,
                                               (0, 0), 1, (True, False, False))[0]
