"""Layers that PyTorch lacks as modules, and the convolution and linear layer whose operands are rounded."""

import torch
from torch import nn
from torch.nn import functional

from etasim.training.boundary import Boundary, cross


class Add(nn.Module):
    """The sum of its inputs."""

    def forward(self, first: torch.Tensor, *others: torch.Tensor) -> torch.Tensor:
        for other in others:
            first = first + other
        return first


class Concat(nn.Module):
    """Its inputs, channel after channel."""

    def forward(self, *maps: torch.Tensor) -> torch.Tensor:
        return torch.cat(maps, 1)


class Shortcut(nn.Module):
    """Every ``stride``-th pixel; the channels that the input lacks are 0 (He et al., "Deep residual learning", 2015, option A)."""

    def __init__(self, out_channels: int, stride: int):
        super().__init__()
        self.out_channels, self.stride = out_channels, stride

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        taken = x[:, :, :: self.stride, :: self.stride]
        return functional.pad(taken, (0, 0, 0, 0, 0, self.out_channels - x.shape[1]))


class _Rectify(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(torch.gt(x, 0, out=torch.empty_like(x, dtype=torch.uint8)))
        return x.clamp(min=0)

    @staticmethod
    def backward(ctx, gradient):
        return gradient * ctx.saved_tensors[0]


class Rectifier(nn.Module):
    """A ReLU that keeps a mask, a byte a value, as the machine does; PyTorch's keeps its output, beside the rounded output that the next
    layer keeps. (A byte multiplies twenty times as fast as a bool fills.)"""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return _Rectify.apply(x)


class Product(nn.Module):
    """A convolution or linear layer as the array computes it: of rounded weights, its sums and the error that comes back rounded too.

    A bias is added to the rounded sums. Parameters keep their names. ``weight_boundary``: code forward, gradient backward;
    ``sum_boundary``: sum forward, error backward; ``bias_boundary``: gradient backward.
    """

    def __init__(self, layer: nn.Conv2d | nn.Linear, boundaries: dict[str, Boundary | None], keep_bias: bool):
        super().__init__()
        self.weight = layer.weight
        self.bias = layer.bias if keep_bias else None
        is_linear = isinstance(layer, nn.Linear)
        self.geometry = {} if is_linear else {name: getattr(layer, name) for name in ("stride", "padding", "dilation", "groups")}
        self._multiply = functional.linear if is_linear else functional.conv2d
        self._bias_shape = (-1,) if is_linear else (-1, 1, 1)
        for name, boundary in boundaries.items():
            setattr(self, name, boundary)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        sums = cross(self.sum_boundary, self._multiply(x, cross(self.weight_boundary, self.weight), **self.geometry))
        return sums if self.bias is None else sums + cross(self.bias_boundary, self.bias).view(self._bias_shape)

    def extra_repr(self) -> str:
        return f"{tuple(self.weight.shape)}, bias={self.bias is not None}, {self.geometry}"
