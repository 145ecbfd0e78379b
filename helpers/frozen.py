"""A Wide-ResNet under attack: its weights stand still, so what follows from them is computed once for all steps.

Its gradient is written out, because autograd keeps each step's gradients in memory of their own, and memory is what a
CPU waits for. Arithmetic and order are those of `models.WideResNet`: answers and gradients are equal bit for bit.
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

    On a CPU and in float32; in other cases, under autocast or a compiler it calls the model.
    """

    def __init__(self, model):
        super().__init__()
        with torch.no_grad():
            self.model, self.last, self.blocks = model, affine(model.bn), []
            for block in model.blocks:
                scale, shift = affine(block.bn2)
                weight = block.conv1.weight * scale.view(-1, 1, 1, 1)
                self.blocks.append((block, *affine(block.bn1), weight, shift.flatten()))
        self.eval()

    def forward(self, x):
        stem = self.model.stem
        fits = (x.device.type == "cpu" and x.dtype == stem.weight.dtype == torch.float32 and x.ndim == 4
                and min(x.shape[2:]) >= 16 * stem.stride[0] and not torch.is_autocast_enabled("cpu")
                and not torch.compiler.is_compiling() and not torch.jit.is_tracing())
        return _Forward.apply(x, self) if fits else self.model(x)


class _Forward(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, net):
        model = net.model
        ctx.net, ctx.kept, ctx.x = net, [], model.normalize(x)
        h = model.stem(ctx.x)
        for block, scale, shift, weight, bias in net.blocks:
            a = torch.relu_(torch.addcmul(shift, h, scale))
            b = torch.relu_(F.conv2d(a, weight, bias, block.conv1.stride, block.conv1.padding))
            h = block.conv2(b).add_(h if block.shortcut is None else block.shortcut(a))
            ctx.kept.append((a, b))
        scale, shift = net.last
        ctx.last = torch.relu_(torch.addcmul(shift, h, scale))
        return model.classifier(ctx.last.mean(dim=(2, 3)))

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):
        model, last = ctx.net.model, ctx.last
        g = (gradient @ model.classifier.weight / last[0, 0].numel())[:, :, None, None]
        g = _relu_backward(torch.empty_like(last).copy_(g), last).mul_(ctx.net.last[0])
        for (block, scale, _, weight, _), (a, b) in zip(reversed(ctx.net.blocks), reversed(ctx.kept)):
            inner = _relu_backward(_conv_backward(g, b, block.conv2), b)
            inner = _conv_backward(inner, a, block.conv1, weight)
            if block.shortcut is not None:
                inner.add_(_conv_backward(g, a, block.shortcut))
            inner = _relu_backward(inner, a).mul_(scale)
            g = inner if block.shortcut is not None else g.add_(inner)
        return _conv_backward(g, ctx.x, model.stem).mul_(model.normalize.inv_std), None


def _relu_backward(gradient, output):
    """In place: the gradient where the output of a ReLU is positive, 0 elsewhere."""
    return torch.ops.aten.threshold_backward.grad_input(gradient, output, 0, grad_input=gradient)


def _conv_backward(gradient, x, conv, weight=None):
    """The gradient of a convolution's input x."""
    weight = conv.weight if weight is None else weight
    return torch.ops.aten.convolution_backward(gradient, x, weight, None, conv.stride, conv.padding, (1, 1), False,
                                               (0, 0), 1, (True, False, False))[0]
