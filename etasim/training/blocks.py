"""Values in blocks that share a scale, in torch: bit for bit those of `etasim.numerics.block`, on whatever device."""

import torch
from torch.nn import functional

from etasim.numerics.block import GREATEST_SCALE, LEAST_SCALE, SCALE_BIAS, represent_fixed
from etasim.numerics.element import BlockFormat, Element, FixedElement, FloatElement
from etasim.training.quantizer import greatest_there, power_of_two

_MANTISSA = 23


def represent_blocks(values: torch.Tensor, data: BlockFormat, axis: int = -1, greatest: torch.Tensor | None = None) -> torch.Tensor:
    """What ``values`` become in ``data``, blocks along ``axis`` (the last one, if there are fewer): in their type, computed in float32.

    ``greatest``: max |x| of a tensor that shares its scale (default: its own). Finite values only.
    """
    as_float32 = values.detach().to(torch.float32)
    axis = min(axis, values.dim() - 1)
    if values.is_cpu and data.block is not None and isinstance(data.element, FixedElement):
        return torch.from_numpy(represent_fixed(as_float32.numpy(), data, axis % max(values.dim(), 1))).to(values.dtype)
    rounded, _ = _rounded(as_float32, data, axis, greatest)
    return rounded.to(values.dtype)


def encode_blocks(values: torch.Tensor, data: BlockFormat, axis: int = -1) -> tuple[torch.Tensor, torch.Tensor]:
    """Codes and scale codes (uint8) of ``values``, as `etasim.numerics.encode_blocks`. Finite values only."""
    values = values.detach().to(torch.float32)
    scaled, exponents = _rounded(values, data, axis, None, keeps_scale=False)
    codes = _codes(scaled, values.signbit(), data.element)
    return codes, (exponents + SCALE_BIAS).to(torch.uint8)


def _rounded(
    values: torch.Tensor, data: BlockFormat, axis: int, greatest: torch.Tensor | None, keeps_scale: bool = True
) -> tuple[torch.Tensor, torch.Tensor]:
    """``values`` rounded, with their scale or as in blocks whose scale is 1; and the exponents of the scales."""
    if data.block is None or not values.numel():
        found = greatest_there(values) if greatest is None else greatest.to(values.device)
        return _scaled(values, _scale_of(found, data.element), data.element, keeps_scale)
    axis, length = axis % values.dim(), values.shape[axis]
    size = min(data.block, length)
    short = -length % size
    if short:
        values = functional.pad(values, (0, 0) * (values.dim() - 1 - axis) + (0, short))
    blocks = values.unflatten(axis, (-1, size))
    least, most = torch.aminmax(blocks, dim=axis + 1, keepdim=True)
    rounded, exponents = _scaled(blocks, _scale_of(torch.maximum(most, -least), data.element), data.element, keeps_scale)
    return rounded.flatten(axis, axis + 1).narrow(axis, 0, length), exponents.squeeze(axis + 1)


def _scale_of(greatest: torch.Tensor, element: Element) -> torch.Tensor:
    """X of each block by its greatest magnitude: int32. A subnormal one has less than the least scale anyway."""
    exponent = (greatest.contiguous().view(torch.int32) >> _MANTISSA) - SCALE_BIAS
    return (exponent - element.greatest_exponent).clamp(LEAST_SCALE, GREATEST_SCALE)


def _scaled(values: torch.Tensor, exponents: torch.Tensor, element: Element, keeps_scale: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """``values`` over 2^``exponents`` to nearest: adding 1.5 * 2^23 steps leaves no fraction of a step. And ``exponents``."""
    scaled = values * _power(-exponents)
    shift: float | torch.Tensor
    if isinstance(element, FixedElement):
        shift = 1.5 * 2.0 ** (_MANTISSA - element.fraction_bits)
    else:
        assert isinstance(element, FloatElement), "there are two kinds"
        shift = _step(scaled, element).mul_(1.5 * 2.0**_MANTISSA)
    scaled.add_(shift).sub_(shift).clamp_(-element.greatest, element.greatest)
    return (scaled.mul_(_power(exponents)) if keeps_scale else scaled), exponents


def _step(scaled: torch.Tensor, element: FloatElement) -> torch.Tensor:
    """Of the codes around each value: its power of two is what is left without its sign and mantissa."""
    power = scaled.view(torch.int32).bitwise_and(0xFF << _MANTISSA).view(torch.float32)
    return power.clamp_(min=2.0**element.least_exponent).mul_(2.0**-element.mantissa_bits)


def _power(exponents: torch.Tensor) -> torch.Tensor:
    """2^``exponents``, -127 ... 127, by a product because float32 has no normal 2^-127."""
    half = exponents // 2
    return power_of_two(half, torch.float32) * power_of_two(exponents - half, torch.float32)


def _codes(scaled: torch.Tensor, is_negative: torch.Tensor, element: Element) -> torch.Tensor:
    if isinstance(element, FixedElement):
        return (scaled * 2.0**element.fraction_bits).to(torch.int64).bitwise_and(2**element.bits - 1).to(torch.uint8)
    finite = torch.from_numpy(element.table[: 2 ** (element.bits - 1)]).to(scaled.device, torch.float32)
    finite = finite[finite.isfinite()]
    index = torch.searchsorted(finite, scaled.abs().contiguous())
    return (index + is_negative * 2 ** (element.bits - 1)).to(torch.uint8)
