"""What rounding does to each tensor over time: how much saturates, how much vanishes, and how far the noise lies below the signal."""

from collections.abc import Iterator
from contextlib import contextmanager
from math import inf, log10
from typing import Any

import torch

from etasim.numerics.block import SCALE_BIAS
from etasim.numerics.element import BlockFormat
from etasim.numerics.format import DataFormat
from etasim.training.blocks import encode_blocks
from etasim.training.boundary import Rounding
from etasim.training.directions import FIRST, in_blocks
from etasim.training.exponents import Exponent
from etasim.training.quantize import QuantizedModel
from etasim.training.quantizer import power_of_two

COLUMNS = (
    "iteration",
    "tensor",
    "class",
    "format",
    "values",
    "exponent",
    "greatest",
    "saturated_share",
    "underflowed_share",
    "signal_to_noise_db",
)
Row = dict[str, Any]


class TensorStatistics:
    """Rows of what ``model`` rounds; ``rows`` of the iterations that were watched, in the order of rounding.

    ``saturated_share``: of the values, those above the greatest that the tensor's format has under its exponent. ``underflowed_share``:
    those that are not 0 and become 0. ``signal_to_noise_db``: energy of the values over that of what rounding changed; None if it changed
    nothing. ``exponent``: None where a tensor has none of its own."""

    def __init__(self, model: QuantizedModel) -> None:
        self._model = model
        self.rows: list[Row] = []

    @contextmanager
    def watched(self, iteration: int) -> Iterator[None]:
        """Note each tensor that is rounded within the block."""
        roundings = list(self._model.roundings())
        own = [rounding.observe for rounding in roundings]
        for rounding in roundings:
            rounding.observe = self._observer(rounding, iteration)
        try:
            yield
        finally:
            for rounding, before in zip(roundings, own, strict=True):
                rounding.observe = before

    def _observer(self, rounding: Rounding, iteration: int) -> Any:
        def observe(name: str, values: torch.Tensor, rounded: torch.Tensor, exponent: Exponent | None) -> None:
            first = (iteration, name, rounding.tensor_class, rounding.format.name)
            layout = rounding.tensors.axis, rounding.tensor_class, rounding.blocks
            found = row_of(values.detach(), rounded.detach(), exponent, rounding.format, *layout)
            self.rows.append(dict(zip(COLUMNS, first, strict=False)) | found)

        return observe


def row_of(
    values: torch.Tensor, rounded: torch.Tensor, exponent: Exponent | None, data: DataFormat, axis: int,
    tensor_class: str = "activation", blocks: str = FIRST,
) -> Row:  # fmt: skip
    """The figures of one tensor; ``axis``, ``tensor_class`` and ``blocks`` as of `represent_in`."""
    n = max(values.numel(), 1)
    magnitude = values.abs()
    noise, signal = (float(x.double().square().sum()) for x in (values - rounded, values))
    vanished = (rounded == 0) & (values != 0)
    return {
        "values": values.numel(),
        "exponent": None if exponent is None else int(exponent),
        "greatest": float(magnitude.max()) if values.numel() else 0.0,
        "saturated_share": float((magnitude > _limits(values, exponent, data, axis, tensor_class, blocks)).sum()) / n,
        "underflowed_share": float(vanished.sum()) / n,
        "signal_to_noise_db": 10 * log10(signal / noise) if noise and signal else None,
    }


def _limits(values: torch.Tensor, exponent: Exponent | None, data: DataFormat, axis: int, tensor_class: str, blocks: str) -> Any:
    """The greatest magnitude that each value may have."""
    if data.code is not None:
        return data.code.greatest * power_of_two(data.code.unit(exponent), torch.float32)
    if data.block is None:
        return inf
    return in_blocks(values, data.block, axis, tensor_class, blocks if data.block.block else FIRST, _limits_of_blocks)


def _limits_of_blocks(values: torch.Tensor, data: BlockFormat, axis: int) -> torch.Tensor:
    scales = encode_blocks(values, data, axis)[1].to(torch.int32) - SCALE_BIAS
    limits = data.element.greatest * power_of_two(scales, torch.float64)
    if data.block is None:
        return limits.expand(values.shape)
    return limits.repeat_interleave(data.block, axis).narrow(axis, 0, values.shape[axis])
