"""Operands whose values share scales, as a product adds them up: along one axis in its own direction, along another one in the other.

FF adds up the input channels of activations and weights, BP the output channels of errors and weights, WG the pixels of all samples of
activations and errors. So each operand has two sets of blocks (`second_direction` of a scheme): both of the values (``copy``), the second
of what the first left (``requantise``), or one set of squares, which serves both (``square``).
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from etasim.mapping.scales import SQUARE
from etasim.numerics.block import square_side
from etasim.numerics.element import BlockFormat
from etasim.training.blocks import represent_blocks

FIRST, SECOND = "first", "second"
"""Which set of blocks, if they are no squares."""
WEIGHT = "weight"
"""The class of tensors both of whose axes are channels; those of others are channels and pixels."""


OfBlocks = Callable[[torch.Tensor, BlockFormat, int], torch.Tensor]
"""From values, their format and the axis of its blocks to as many values."""


def represent_in(
    values: torch.Tensor, data: BlockFormat, axis: int, tensor_class: str, blocks: str, greatest: torch.Tensor | None = None
) -> torch.Tensor:
    """``values`` in ``data``: ``blocks`` ``first`` along ``axis``, ``second`` along what the other direction adds up, or ``square``."""
    if blocks == FIRST or data.block is None:
        return represent_blocks(values, data, axis, greatest)
    return in_blocks(values, data, axis, tensor_class, blocks, represent_blocks)


def in_blocks(values: torch.Tensor, data: BlockFormat, axis: int, tensor_class: str, blocks: str, of_blocks: OfBlocks) -> torch.Tensor:
    """What ``of_blocks`` makes of ``values`` in ``blocks``, as `represent_in` has them, of a format with blocks."""
    axis = min(axis, values.dim() - 1)
    if blocks == FIRST:
        return of_blocks(values, data, axis)
    if tensor_class == WEIGHT:
        return _in_squares(values, data, of_blocks) if blocks == SQUARE else of_blocks(values, data, 1 - min(axis, 1))
    if blocks == SECOND and axis == 1 and values[0, 0].numel() % (data.block or 1) == 0:
        return of_blocks(values.flatten(2), data, 2).view_as(values)  # no block reaches over samples
    moved = values.movedim(axis, 0)
    matrix = moved.flatten(1)
    made = _in_squares(matrix, data, of_blocks) if blocks == SQUARE else of_blocks(matrix, data, 1)
    return made.view(moved.shape).movedim(0, axis).contiguous()


def _in_squares(values: torch.Tensor, data: BlockFormat, of_blocks: OfBlocks) -> torch.Tensor:
    """``values`` [rows, columns, ...] in squares of rows and columns."""
    assert data.block is not None, "a scale for a whole tensor has no squares"
    side = square_side(data.block)
    rows, columns = values.shape[:2]
    flat = values.reshape(rows, columns, -1)
    padded = functional.pad(flat, (0, 0, 0, -columns % side, 0, -rows % side))
    tiles = padded.unflatten(1, (-1, side)).unflatten(0, (-1, side)).permute(0, 2, 4, 1, 3)
    made = of_blocks(tiles.flatten(3), data._replace(block=side * side), 3).view(tiles.shape)
    joined = made.permute(0, 3, 1, 4, 2).reshape(padded.shape)
    return joined[:rows, :columns].reshape(values.shape)


class Directions(nn.Module):
    """What a convolution or linear layer needs for its other direction, a boundary each or None: ``weight`` forward, ``error`` and
    ``second_error`` backward. ``requantises``: the second set is made of the first one."""

    def __init__(self, weight: Any, error: Any, second_error: Any, requantises: bool) -> None:
        super().__init__()
        self.weight, self.error, self.second_error, self.requantises = weight, error, second_error, requantises

    def multiply(self, layer: Any, x: torch.Tensor, second_x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """The sums of ``layer``, without a bias. ``weight``: the first set of its own."""
        second_weight = weight.detach()
        if self.weight is not None:
            second_weight = self.weight(second_weight if self.requantises else layer.weight)
        return _Multiply.apply(layer.bordered(x), weight, layer.bordered(second_x), second_weight, layer)  # type: ignore[no-untyped-call]  # PyTorch's

    def errors(self, error: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Those that BP and WG read."""
        first = error if self.error is None else self.error.backward_rounding(error)
        if self.second_error is None:
            return first, first
        return first, self.second_error.backward_rounding(first if self.requantises else error)


class _Multiply(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, weight: torch.Tensor, second_x: torch.Tensor, second_weight: torch.Tensor, layer: Any
    ) -> torch.Tensor:
        ctx.save_for_backward(second_x, second_weight)
        ctx.layer = layer
        sums: torch.Tensor = layer.product(x, weight)
        return sums

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, error: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        first, second = ctx.layer.directions.errors(error.contiguous())
        to_input = ctx.layer.to_input(first, x, weight) if ctx.needs_input_grad[0] else None
        return to_input, ctx.layer.to_weight(second, x, weight), None, None, None
