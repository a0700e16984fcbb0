"""Normalization per sample and group of channels: the formulas of the hardware in floats (`etasim.numerics.normalization` in integers).

With mean mu and standard deviation s as the kind measures it, xh = (x - mu) / s and y = scale * xh + offset. Backward, with g = scale * dy,
dx = (g - mean(g) - slope) / s, where the slope is the part of the gradient that goes through s.
"""

from collections.abc import Callable, Sequence
from math import log, sqrt
from typing import Any, NamedTuple

import torch
from torch import nn

from etasim.numerics.arithmetic import DEVIATION_RATIO
from etasim.numerics.scheme import CHANNELS_OF_A_GROUP
from etasim.training.boundary import Boundary, cross

EPSILON = 1e-5
"""Added to s, so that constant groups give 0."""


class TorchKind(NamedTuple):
    """``deviation(centred [rows, count]) -> s [rows, 1]``; ``slope(xh, mean of g xh [rows, 1]) -> [rows, count]``."""

    deviation: Callable[[torch.Tensor], torch.Tensor]
    slope: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def _mean_deviation(centred: torch.Tensor) -> torch.Tensor:
    return centred.abs().mean(1, keepdim=True).mul_(DEVIATION_RATIO).add_(EPSILON)


def _mean_deviation_slope(xh: torch.Tensor, mean_product: torch.Tensor) -> torch.Tensor:
    sign = xh.sign()
    return sign.sub_(sign.mean(1, keepdim=True)).mul_(DEVIATION_RATIO * mean_product)


def _root_mean_square(centred: torch.Tensor) -> torch.Tensor:
    return centred.square().mean(1, keepdim=True).add_(EPSILON**2).sqrt_()


def _root_mean_square_slope(xh: torch.Tensor, mean_product: torch.Tensor) -> torch.Tensor:
    return xh * mean_product


def _range(centred: torch.Tensor) -> torch.Tensor:
    return (centred.amax(1, keepdim=True) - centred.amin(1, keepdim=True)).div_(_deviations_in_range(centred.shape[1])).add_(EPSILON)


def _range_slope(xh: torch.Tensor, mean_product: torch.Tensor) -> torch.Tensor:
    count = xh.shape[1]
    through = mean_product * (count / _deviations_in_range(count))
    slope = torch.zeros_like(xh)
    slope.scatter_add_(1, xh.argmax(1, keepdim=True), through)
    return slope.scatter_add_(1, xh.argmin(1, keepdim=True), -through)


def _deviations_in_range(count: int) -> float:
    """Range over standard deviation, after Banner et al., "Scalable methods for 8-bit training of neural networks" (2018)."""
    return sqrt(2 * log(max(count, 2)))


NORMALIZATIONS = {
    "l1_group": TorchKind(_mean_deviation, _mean_deviation_slope),
    "range": TorchKind(_range, _range_slope),
    "l2_group": TorchKind(_root_mean_square, _root_mean_square_slope),
}


class _Normalize(torch.autograd.Function):
    """Rows share statistics: x [rows, count] to xh."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, kind: str) -> torch.Tensor:
        centred = x - x.mean(1, keepdim=True)
        inverse = NORMALIZATIONS[kind].deviation(centred).reciprocal_()
        xh = centred.mul_(inverse)
        ctx.kind = kind
        ctx.save_for_backward(xh, inverse)
        return xh

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, g: torch.Tensor) -> tuple[torch.Tensor, None]:
        xh, inverse = ctx.saved_tensors
        mean_product = (g * xh).mean(1, keepdim=True)
        dx = NORMALIZATIONS[ctx.kind].slope(xh, mean_product).add_(g.mean(1, keepdim=True))
        return torch.sub(g, dx, out=dx).mul_(inverse), None


class Normalization(nn.Module):
    """``kind`` over groups of ``group`` consecutive channels of each sample, then ``weight`` * xh + ``bias`` per channel, either of which
    may be None; takes [N, C, H, W] or [N, C].

    ``segments``: channels of each of the maps that a concatenation joined (default: one map); no group spans two of them. The boundaries
    round the gradients of weight and bias.
    """

    def __init__(
        self, channels: int, kind: str = "l1_group", group: int = CHANNELS_OF_A_GROUP, segments: Sequence[int] | None = None
    ) -> None:
        super().__init__()
        self.kind, self.group, self.channels = kind, group, channels
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))
        self.weight_boundary: Boundary | None = None
        self.bias_boundary: Boundary | None = None
        self._parts = _equal_groups(segments or (channels,), group)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        parts, first = [], 0
        for channels, group in self._parts:
            part = x if channels == x.shape[1] else x[:, first : first + channels]
            rows = part.reshape(part.shape[0] * (channels // group), -1)
            parts.append(_Normalize.apply(rows, self.kind).reshape(part.shape))  # type: ignore[no-untyped-call]  # PyTorch's
            first += channels
        xh = parts[0] if len(parts) == 1 else torch.cat(parts, 1)
        return self._scaled(xh, (-1,) + (1,) * (x.dim() - 2))

    def _scaled(self, xh: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
        weight = None if self.weight is None else cross(self.weight_boundary, self.weight).view(shape)
        bias = None if self.bias is None else cross(self.bias_boundary, self.bias).view(shape)
        if weight is None:
            return xh if bias is None else xh + bias
        return xh * weight if bias is None else torch.addcmul(bias, weight, xh)

    def extra_repr(self) -> str:
        return f"{self.channels}, kind={self.kind}, group={self.group}"


def _equal_groups(segments: Sequence[int], group: int) -> list[tuple[int, int]]:
    """Runs of channels as (channels, size of each group); the last group of a segment may be smaller. Equal neighbours become one run."""
    runs: list[tuple[int, int]] = []
    for channels in segments:
        for run in ((channels - channels % group, group), (channels % group, channels % group)):
            if run[0] and runs and runs[-1][1] == run[1]:
                runs[-1] = (runs[-1][0] + run[0], run[1])
            elif run[0]:
                runs.append(run)
    return runs
