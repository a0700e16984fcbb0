"""Normalization by a running scale of each channel: the formulas of `etasim.numerics.running` in floats.

Forward y = clamp(x / s, -3, 3) and scale * y + offset, s = k * spread, k = sqrt(pi / 2), spread the mean |x| of the iterations before.
Backward dx = (scale * g * m - radial * sign(x)) / s, where m is 0 for what was clamped. All else is done once an iteration, before the
optimizer's step, from the filters and their gradients (`RunningNormalization.learn`).
"""

from typing import Any

import torch
from torch import distributed, nn

from etasim.numerics.arithmetic import DEVIATION_RATIO
from etasim.numerics.running import CLAMP, LEAST_SCALE_EXPONENT, running_share
from etasim.training.boundary import Boundary, cross

EPSILON = 1e-5
"""Least s, so that channels of zeros give 0."""


class _Scale(torch.autograd.Function):
    """x [N, C, ...] to scale * y + offset; the gradient of the scale is left to `RunningNormalization.learn`."""

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, scale: torch.Tensor, offset: torch.Tensor, inverse: torch.Tensor, radial: torch.Tensor
    ) -> torch.Tensor:
        shape = (-1,) + (1,) * (x.dim() - 2)
        y = x * inverse.view(shape)
        sign = (x < 0).view(torch.int8).mul_(-2).add_(1)
        ctx.save_for_backward((y.abs() <= CLAMP).view(torch.uint8), sign, scale, inverse, radial)
        return torch.addcmul(offset.view(shape), scale.view(shape), y.clamp_(-CLAMP, CLAMP))

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, g: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        is_inside, sign, scale, inverse, radial = ctx.saved_tensors
        shape = (-1,) + (1,) * (g.dim() - 2)
        g = is_inside.to(g.dtype).mul_(g)  # a product of two types takes four times as long
        offset = g.sum((0, *range(2, g.dim())))
        pull = sign.to(g.dtype).mul_((radial * inverse).view(shape))
        dx = g.mul_((scale * inverse).view(shape)).sub_(pull)
        return dx, torch.zeros_like(scale), offset, None, None


class RunningNormalization(nn.Module):
    """Takes [N, C, H, W] or [N, C] and does the same in training and evaluation.

    ``spread``, ``radial`` [C]: the running mean |x| and the controller of the gradient's radial part. ``magnitude`` [C], ``seen`` [2]: sums
    of |x|, values of a channel and samples since the last step, however many forward passes they came in.
    """

    spread: torch.Tensor
    radial: torch.Tensor
    magnitude: torch.Tensor
    seen: torch.Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))
        self.weight_boundary: Boundary | None = None
        self.bias_boundary: Boundary | None = None
        for name, value in (("spread", torch.full((channels,), 1 / DEVIATION_RATIO)), ("radial", torch.zeros(channels)),
                            ("magnitude", torch.zeros(channels)), ("seen", torch.zeros(2))):  # fmt: skip
            self.register_buffer(name, value)

    @property
    def _inverse(self) -> torch.Tensor:
        return (DEVIATION_RATIO * self.spread).clamp_(min=EPSILON).reciprocal_()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training:
            with torch.no_grad():
                self.magnitude += x.abs().sum((0, *range(2, x.dim())))
                self.seen += torch.tensor([x.numel() / x.shape[1], x.shape[0]], device=x.device)
        weight = torch.ones_like(self.spread) if self.weight is None else self.weight
        bias = torch.zeros_like(self.spread) if self.bias is None else cross(self.bias_boundary, self.bias)
        radial = self.radial * _team_size()  # each process has the mean loss of its own samples
        return _Scale.apply(x, weight, bias, self._inverse, radial)  # type: ignore[no-untyped-call]  # PyTorch's

    @torch.no_grad()
    def learn(self, filters: nn.Parameter) -> None:
        """After the gradient of ``filters``, whose sums are normalized here, is complete: give the scale its gradient, centre that of each
        filter, and move the running values. Nothing, if no gradient has come since the last step."""
        if filters.grad is None or not self.seen[0]:
            return
        self._sum_over_team()
        count, samples = self.seen.tolist()
        product = (filters * filters.grad).flatten(1).sum(1)
        if self.weight is not None:
            least = self.weight.abs().clamp(min=2.0**LEAST_SCALE_EXPONENT)
            gradient = torch.addcmul(product, self.radial, self.magnitude * self._inverse) / torch.where(self.weight < 0, -least, least)
            rounding = self.weight_boundary and self.weight_boundary.backward_rounding
            self.weight.grad = rounding(gradient) if rounding else gradient
        filters.grad.sub_(filters.grad.mean(tuple(range(1, filters.dim())), keepdim=True))
        share = running_share(round(samples))
        self.spread.lerp_(self.magnitude / count, share)
        self.radial.add_(product, alpha=share / count)
        self.magnitude.zero_()
        self.seen.zero_()

    def _sum_over_team(self) -> None:
        """Of what each process of a team has seen."""
        if _team_size() > 1:
            both = torch.cat([self.magnitude, self.seen])
            distributed.all_reduce(both)
            self.magnitude.copy_(both[:-2])
            self.seen.copy_(both[-2:])

    def extra_repr(self) -> str:
        return f"{self.channels}"


def _team_size() -> int:
    """Processes that train together."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def centre(filters: nn.Parameter) -> None:
    """Take its mean from each filter."""
    with torch.no_grad():
        filters.sub_(filters.mean(tuple(range(1, filters.dim())), keepdim=True))
