"""Layers that PyTorch lacks as modules, and the convolution and linear layer whose operands are rounded."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from etasim.training.boundary import Boundary, cross
from etasim.training.directions import Directions


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

    def __init__(self, out_channels: int, stride: int) -> None:
        super().__init__()
        self.out_channels, self.stride = out_channels, stride

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        taken = x[:, :, :: self.stride, :: self.stride]
        return functional.pad(taken, (0, 0, 0, 0, 0, self.out_channels - x.shape[1]))


class _Rectify(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward((x > 0).view(torch.uint8))
        return x.clamp(min=0)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        return ctx.saved_tensors[0].to(gradient.dtype).mul_(gradient)


class Rectifier(nn.Module):
    """A ReLU that keeps a mask, a byte a value, as the machine does; PyTorch's keeps its output, beside the rounded output that the next
    layer keeps. (A byte that becomes a number first multiplies four times as fast.)"""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return _Rectify.apply(x)  # type: ignore[no-untyped-call]  # PyTorch's


class _Product:
    """Of a layer of PyTorch: it multiplies as the array does, rounded weights, and its sums and the error that comes back are rounded too.
    A bias is added to the rounded sums.

    ``weight_boundary``: code forward, gradient backward; ``sum_boundary``: sum forward, error backward; ``bias_boundary``: gradient
    backward. ``directions``: of operands with two sets of blocks, the second of which is the other input then.
    """

    weight_boundary: Boundary | None
    sum_boundary: Boundary | None
    bias_boundary: Boundary | None
    directions: Directions | None
    training: bool
    weight: Any
    bias: Any

    def _multiply(self, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        raise NotImplementedError

    def forward(self, x: torch.Tensor, second_x: torch.Tensor | None = None) -> torch.Tensor:
        weight = cross(self.weight_boundary, self.weight)
        bias = None if self.bias is None else cross(self.bias_boundary, self.bias)
        if self.directions is not None and self.training:
            sums = cross(self.sum_boundary, self.directions.multiply(self, x, x.detach() if second_x is None else second_x, weight))
            return sums if bias is None else sums + bias.view(-1, *(1,) * (self.weight.dim() - 2))
        if self.sum_boundary is None or bias is None:
            return cross(self.sum_boundary, self._multiply(x, weight, bias))
        sums = cross(self.sum_boundary, self._multiply(x, weight, None))
        return sums + bias.view(-1, *(1,) * (self.weight.dim() - 2))


class RoundedConv2d(_Product, nn.Conv2d):
    """A convolution of rounded tensors."""

    def _multiply(self, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        return self._conv_forward(x, weight, bias)

    def product(self, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """The sums of ``x``, with its border, and ``weight``."""
        return functional.conv2d(x, weight, None, self.stride, self._border, self.dilation, self.groups)

    def bordered(self, x: torch.Tensor) -> torch.Tensor:
        """``x`` with a border that is not the same zeros on both sides."""
        mode = "constant" if self.padding_mode == "zeros" else self.padding_mode
        return x if self._border == self.padding else functional.pad(x, self._reversed_padding_repeated_twice, mode=mode)

    @property
    def _border(self) -> Any:
        return (0, 0) if isinstance(self.padding, str) or self.padding_mode != "zeros" else self.padding

    def to_input(self, error: torch.Tensor, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """The gradient of ``x``."""
        return self._backward(error, x, weight, (True, False, False))[0]

    def to_weight(self, error: torch.Tensor, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """The gradient of ``weight``."""
        return self._backward(error, x, weight, (False, True, False))[1]

    def _backward(self, error: torch.Tensor, x: torch.Tensor, weight: torch.Tensor, wanted: tuple[bool, ...]) -> Any:
        return torch.ops.aten.convolution_backward(
            error, x, weight, None, self.stride, self._border, self.dilation, False, (0, 0), self.groups, wanted
        )


class RoundedLinear(_Product, nn.Linear):
    """A linear layer of rounded tensors."""

    def _multiply(self, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        return functional.linear(x, weight, bias)

    def product(self, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """The sums of ``x`` and ``weight``."""
        return functional.linear(x, weight)

    def bordered(self, x: torch.Tensor) -> torch.Tensor:
        """``x``: features have no border."""
        return x

    def to_input(self, error: torch.Tensor, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """The gradient of ``x``."""
        return error @ weight

    def to_weight(self, error: torch.Tensor, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """The gradient of ``weight``."""
        return error.flatten(0, -2).T @ x.flatten(0, -2)


class _Normalized:
    """Of a normalization of PyTorch: the gradients of its parameters are rounded."""

    weight_boundary: Boundary | None
    bias_boundary: Boundary | None
    _parameters: dict[str, Any]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        own = {name: parameter for name, parameter in self._parameters.items() if parameter is not None}
        self._parameters.update({name: cross(getattr(self, f"{name}_boundary"), parameter) for name, parameter in own.items()})
        try:
            layer: Any = super()
            return layer.forward(x)
        finally:
            self._parameters.update(own)


class RoundedBatchNorm1d(_Normalized, nn.BatchNorm1d):
    """A batch normalization of features."""


class RoundedBatchNorm2d(_Normalized, nn.BatchNorm2d):
    """A batch normalization of maps."""


class RoundedGroupNorm(_Normalized, nn.GroupNorm):
    """A group normalization."""


class RoundedInstanceNorm2d(_Normalized, nn.InstanceNorm2d):
    """An instance normalization."""


_ROUNDED: dict[type, type] = {
    rounded.__bases__[1]: rounded
    for rounded in (RoundedConv2d, RoundedLinear, RoundedBatchNorm1d, RoundedBatchNorm2d, RoundedGroupNorm, RoundedInstanceNorm2d)
}


def round_tensors(layer: nn.Module, boundaries: Mapping[str, nn.Module | None]) -> None:
    """Let the tensors of ``layer``, a layer of PyTorch, cross ``boundaries``. The layer stays, with all that it has, and becomes of a
    subclass of its class; without a boundary it stays as it is."""
    if any(boundary is not None for boundary in boundaries.values()):
        layer.__class__ = _ROUNDED[type(layer)]
        for name, boundary in boundaries.items():
            setattr(layer, name, boundary)
