"""Codes from real tensors and back, vectorised: bit for bit those of `etasim.numerics`.

Everything works on the device and in the type of the tensor; float32 and float64 are taken as they are, all else as float32.
"""

from math import frexp, isfinite, ldexp
from typing import Any

import torch

from etasim.numerics.codec import ROUNDINGS, greatest_magnitude
from etasim.numerics.codec import represent as represent_here
from etasim.numerics.format import GREATEST_EXPONENT, LEAST_EXPONENT, CodeFormat, TableFormat, TensorCode
from etasim.training.random_words import random_words

NOT_FINITE = "holds NaN or infinity"


class NotFiniteError(ValueError):
    """``tensor`` (empty: not known which) holds NaN or infinity."""

    def __init__(self, tensor: str = "") -> None:
        self.tensor = tensor
        super().__init__(f"{tensor}: {NOT_FINITE}" if tensor else NOT_FINITE)


def encode(
    values: torch.Tensor, code: TensorCode, exponent: int | torch.Tensor, rounding: str = "nearest", seed: int = 0, first_index: int = 0
) -> torch.Tensor:
    """Codes (uint8, uint16 above 8 bits) of ``values``, arguments as in `etasim.numerics.encode`; a tensor ``exponent`` broadcasts.

    Raises ValueError for an unknown rounding or an exponent outside -64 ... 63, NotFiniteError for NaN and infinity.
    """
    _check(rounding, exponent)
    values = _as_real(values)
    if not torch.isfinite(values).all():
        raise NotFiniteError
    if isinstance(code, TableFormat):
        return _encode_in_table(values, code, exponent, rounding)
    return _encode_in_segments(values, code, exponent, rounding, seed, first_index)


def _encode_in_segments(
    values: torch.Tensor, code: CodeFormat, exponent: int | torch.Tensor, rounding: str, seed: int, first_index: int
) -> torch.Tensor:
    unit = torch.as_tensor(code.unit(exponent), dtype=torch.int32, device=values.device)
    bits, full = code.magnitude_bits, 2**code.magnitude_bits
    thresholds = None
    if rounding == "stochastic":
        words = random_words(seed, first_index, values.numel(), values.device)
        thresholds = words.reshape(values.shape).to(torch.float64) * 2.0**-32
    codes = torch.zeros(values.shape, dtype=torch.int32, device=values.device)
    ones = torch.ones_like(unit, dtype=values.dtype)
    for segment in range(code.segments):
        scale = torch.ldexp(ones, -unit - bits * segment)
        steps = torch.minimum(values.abs(), full / scale) * scale
        magnitude = steps.round().to(torch.int32) if thresholds is None else _stochastic(steps, thresholds)
        carry = 1 if segment < code.segments - 1 else -1
        body = (segment << bits) + magnitude + carry * (magnitude == full)
        signed = body + ((values < 0) & (body > 0)) * 2 ** (code.bits - 1)
        codes = torch.where(steps >= (segment > 0), signed.to(torch.int32), codes)
    return codes.to(torch.uint8 if code.bits <= 8 else torch.uint16)


def _encode_in_table(values: torch.Tensor, code: TableFormat, exponent: int | torch.Tensor, rounding: str) -> torch.Tensor:
    if rounding != "nearest":
        raise ValueError(f"{rounding} rounding: codes of a table are rounded to nearest")
    midpoints = torch.tensor(code.midpoints, dtype=torch.float64, device=values.device)
    unit = torch.as_tensor(code.unit(exponent), dtype=torch.int32, device=values.device)
    twice = torch.ldexp(values.detach().abs().to(torch.float64), 1 - unit)
    index = torch.searchsorted(midpoints, twice)
    is_midpoint = (index < len(midpoints)) & (midpoints[index.clamp_max(len(midpoints) - 1)] == twice)
    index += is_midpoint & (index % 2 == 1)
    signed = index + ((values < 0) & (index > 0)) * 2 ** (code.bits - 1)
    return signed.to(torch.uint8 if code.bits <= 8 else torch.uint16)


def to_real(codes: torch.Tensor, code: TensorCode, exponent: int | torch.Tensor) -> torch.Tensor:
    """Real values of ``codes``: float32, exact; as `etasim.numerics.to_real`, for codes that exist."""
    table = torch.tensor(code.table, dtype=torch.float32, device=codes.device)
    unit = torch.as_tensor(code.unit(exponent), dtype=torch.int32, device=codes.device)
    return table[codes.to(torch.int64)] * torch.ldexp(torch.ones_like(unit, dtype=torch.float32), unit)


def represent(
    values: torch.Tensor, code: TensorCode, exponent: int | torch.Tensor, rounding: str = "nearest", seed: int = 0, first_index: int = 0
) -> torch.Tensor:
    """The values that the codes of ``values`` stand for, in the type of ``values``, without forming the codes.

    Numbers in this process's memory by the kernels of the numerics, in one pass. Elsewhere, to nearest, adding 1.5 * 2^(bits of the
    mantissa) steps leaves no fraction of a step: one addition rounds ties to even, as codes do; what is added is a sum over the segments
    that a value is above. ``exponent``: a number, or a tensor without axes on the device of ``values``, which is not waited for.
    """
    values = _as_real(values)
    if isinstance(code, TableFormat):
        return to_real(_encode_in_table(values, code, exponent, rounding), code, exponent).to(values.dtype)
    if values.is_cpu and not isinstance(exponent, torch.Tensor):
        return torch.from_numpy(represent_here(values.detach().numpy(), code, exponent, rounding, seed, first_index))
    if rounding == "stochastic":
        codes = _encode_in_segments(values, code, exponent, "stochastic", seed, first_index)
        return to_real(codes, code, exponent).to(values.dtype)
    bits, unit = code.magnitude_bits, power_of_two(code.unit(exponent), values.dtype)
    first = unit * ldexp(1.5, 23 if values.dtype == torch.float32 else 52)
    shift: Any = first
    magnitude = values.detach().abs()
    for segment in range(1, code.segments):
        above = torch.ge(magnitude, unit * 2.0 ** (bits * segment), out=torch.empty_like(values))
        shift = shift + above.mul_(first * (2.0 ** (bits * segment) - 2.0 ** (bits * (segment - 1))))
    limit = unit * float(code.greatest)
    return (values + shift).sub_(shift).clamp_(-limit, limit)


def represent_uniform(
    values: torch.Tensor, bits: int, rounding: str = "nearest", seed: int = 0, greatest: "Greatest | None" = None, first_index: int = 0
) -> torch.Tensor:
    """``values`` as integers of ``bits`` bits, symmetric, times the greatest value (default: their own) over the greatest integer."""
    values = _as_real(values)
    limit = 2 ** (bits - 1) - 1
    scale = (greatest_of(values) if greatest is None else greatest) / limit
    scale = torch.where(scale == 0, 1.0, scale) if isinstance(scale, torch.Tensor) else scale or 1.0
    steps = values / scale
    if rounding == "stochastic":
        below = steps.floor()
        words = random_words(seed, first_index, steps.numel(), steps.device)
        steps = below + (steps - below > words.reshape(steps.shape).to(torch.float64) * 2.0**-32)
    return steps.round_().clamp_(-limit, limit).mul_(scale)


Greatest = float | torch.Tensor
"""max |x|: a number, or a tensor without axes where the values are."""


def greatest_there(values: torch.Tensor) -> torch.Tensor:
    """max |x| of ``values`` on their device; NaN if there is one."""
    if not values.numel():
        return values.new_zeros(())
    least, most = torch.aminmax(values.detach())
    return torch.maximum(most, -least)


def greatest_of(values: torch.Tensor) -> float:
    """max |x|, 0 for no values. Raises NotFiniteError for NaN and infinity."""
    if not values.numel():
        return 0.0
    if values.is_cpu and values.dtype == torch.float32:
        greatest = greatest_magnitude(values.detach().numpy())
    else:
        least, most = torch.aminmax(values.detach())
        greatest = max(float(most), -float(least))
    if not isfinite(greatest):
        raise NotFiniteError
    return greatest


def exponent_of(values: torch.Tensor) -> int | None:
    """The least E in -64 ... 63 with |x| <= 2^E for all ``values`` (63 if there is none); None if all are 0. Raises NotFiniteError."""
    greatest = greatest_of(values)
    exponent = exponent_of_greatest(greatest)
    assert isinstance(exponent, int), "of a number"
    return exponent if greatest else None


def exponent_of_greatest(greatest: Greatest) -> int | torch.Tensor:
    """The least E in -64 ... 63 with ``greatest`` <= 2^E; of 0 it is 0 as a number, and -64 as a tensor."""
    if isinstance(greatest, torch.Tensor):
        integers, mantissa, bias = _LAYOUTS[greatest.dtype]
        above = (greatest.view(integers) + (2**mantissa - 1)) >> mantissa  # one more unless it is a power of two
        return (above - bias).clamp(LEAST_EXPONENT, GREATEST_EXPONENT).to(torch.int32)
    if greatest == 0:
        return 0
    fraction, exponent = frexp(greatest)
    return min(max(exponent - (fraction == 0.5), LEAST_EXPONENT), GREATEST_EXPONENT)


_LAYOUTS = {torch.float32: (torch.int32, 23, 127), torch.float64: (torch.int64, 52, 1023)}
"""Of a floating-point type: integers of its size, bits of the mantissa, bias of the exponent."""


def power_of_two(exponent: Any, dtype: torch.dtype) -> Any:
    """2^``exponent``, exact: a float, or a tensor of ``dtype`` made from its bits (a power function may be off by a bit)."""
    if not isinstance(exponent, torch.Tensor):
        return ldexp(1.0, exponent)
    integers, mantissa, bias = _LAYOUTS[dtype]
    return ((exponent.to(integers) + bias) << mantissa).view(dtype)


def _stochastic(steps: torch.Tensor, thresholds: torch.Tensor) -> torch.Tensor:
    below = steps.to(torch.int32)
    return below + (steps.to(torch.float64) - below > thresholds).to(torch.int32)


def _as_real(values: torch.Tensor) -> torch.Tensor:
    return values if values.dtype in (torch.float32, torch.float64) else values.to(torch.float32)


def _check(rounding: str, exponent: int | torch.Tensor) -> None:
    if rounding not in ROUNDINGS:
        raise ValueError(f"unknown rounding {rounding!r}; allowed: {', '.join(ROUNDINGS)}")
    exponents = torch.as_tensor(exponent)
    if exponents.numel() and not LEAST_EXPONENT <= int(exponents.min()) <= int(exponents.max()) <= GREATEST_EXPONENT:
        raise ValueError(f"exponents {int(exponents.min())} ... {int(exponents.max())}: allowed: {LEAST_EXPONENT} ... {GREATEST_EXPONENT}")
