"""Tensors of codes: which exponent, for which values, and how it follows them over time."""

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from etasim.core.arrays import Numbers
from etasim.numerics.block import encode_blocks
from etasim.numerics.codec import as_real, decode, encode, refuse_non_finite, to_real
from etasim.numerics.format import GREATEST_EXPONENT, LEAST_EXPONENT, Code, DataFormat

GRANULARITIES = ("tensor", "channel", "sample")


class Quantized(NamedTuple):
    """``codes`` of ``format`` and the ``exponents`` that they share, an array that broadcasts to the shape of the codes."""

    codes: np.ndarray
    exponents: np.ndarray
    format: Code

    @property
    def units(self) -> np.ndarray:
        """Units of the integers, of the shape of ``exponents``."""
        return self.format.unit(self.exponents)

    def real(self) -> np.ndarray:
        """The values that the codes stand for, float32, exact."""
        return to_real(self.codes, self.format, self.exponents)

    def integers(self) -> np.ndarray:
        """The integers that the codes stand for in ``units``, int64."""
        return decode(self.codes, self.format)


def exponent_of(values: npt.ArrayLike, axis: int | tuple[int, ...] | None = None) -> Any:
    """E = ceil(log2 max |x|), exact: the least E with |x| <= 2^E for all ``values``.

    Of the whole array an integer, None if all values are 0 (or there are none). Along ``axis`` an int64 array in which these axes have
    size 1, 0 where all values are 0. Raises ValueError for NaN and infinity.
    """
    values = as_real(values)
    greatest = np.maximum(values.max(axis, initial=0, keepdims=True), -values.min(axis, initial=0, keepdims=True))
    if not np.isfinite(greatest).all():
        refuse_non_finite(values)
    fraction, exponent = np.frexp(greatest)
    exponent = exponent.astype(np.int64) - (fraction == 0.5)
    if axis is not None:
        return exponent
    return int(exponent.item()) if greatest.item() else None


def quantize(
    values: npt.ArrayLike,
    code: Code,
    granularity: str = "tensor",
    rounding: str = "nearest",
    seed: int = 0,
    channel_axis: int = 1,
    sample_axis: int = 0,
) -> Quantized:
    """Codes of ``values`` with the exponents of their own greatest values: one for the tensor, for each channel, or for each sample.

    Exponents are limited to -64 ... 63, so that greater values saturate and tensors of smaller ones vanish. ``rounding`` and ``seed`` as in
    `etasim.numerics.codec.encode`. Raises ValueError for NaN, infinity and unknown names.
    """
    values = np.asarray(values)
    if granularity not in GRANULARITIES:
        raise ValueError(f"unknown granularity {granularity!r}; allowed: {', '.join(GRANULARITIES)}")
    own_axis = {"tensor": None, "channel": channel_axis, "sample": sample_axis}[granularity]
    kept = () if own_axis is None else (range(values.ndim)[own_axis],)
    exponents = exponent_of(values, tuple(axis for axis in range(values.ndim) if axis not in kept))
    exponents = np.clip(exponents, LEAST_EXPONENT, GREATEST_EXPONENT)
    return Quantized(encode(values, code, exponents, rounding, seed), exponents, code)


def representable(values: Numbers, data: DataFormat, exponent: int | None = None, rounding: str = "nearest", seed: int = 0) -> Numbers:
    """``values`` as ``data`` holds them: the same array for fp32, else float32, with ``exponent`` or that of the greatest value.

    Raises ValueError for a format with a real scale, which `etasim.training` rounds to.
    """
    if data.uniform_bits is not None:
        raise ValueError(f"{data.name} has a real scale, and no codes")
    if data.block is not None:
        return encode_blocks(values, data.block).real()
    if data.code is None:
        return values
    if exponent is None:
        return quantize(values, data.code, rounding=rounding, seed=seed).real()
    return to_real(encode(values, data.code, exponent, rounding, seed), data.code, exponent)


@dataclass(frozen=True)
class TrackedExponent:
    """An exponent that follows values over time, for dynamic fixed point (Courbariaux et al., "Training deep neural networks with low
    precision multiplications", 2014).

    Of the values observed since the last update, the overflow rate is the fraction with |x| > 2^E. If it exceeds ``max_overflow_rate``, E
    grows by 1. If not, and even the fraction with |x| > 2^(E - 1) does not exceed it, E falls by 1. So a steady distribution leaves E
    steady, and E moves by one step at most. Tensors of zeros tell nothing and are not counted. E stays in -64 ... 63.

    The source takes a rate of 0.01 % and updates every 10,000 samples. Each method returns a new state.
    """

    exponent: int = 0
    max_overflow_rate: float = 1e-4
    n_values: int = 0
    n_over: int = 0
    n_over_half: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.max_overflow_rate < 1:
            raise ValueError(f"overflow rate {self.max_overflow_rate}: allowed: 0 ... 1, without 1")
        if not LEAST_EXPONENT <= self.exponent <= GREATEST_EXPONENT:
            raise ValueError(f"exponent {self.exponent}: allowed: {LEAST_EXPONENT} ... {GREATEST_EXPONENT}")

    def observed(self, values: npt.ArrayLike) -> "TrackedExponent":
        """With ``values`` counted. Raises ValueError for NaN and infinity."""
        magnitudes = np.abs(as_real(values))
        if exponent_of(magnitudes) is None:
            return self
        return replace(
            self,
            n_values=self.n_values + magnitudes.size,
            n_over=self.n_over + int(np.count_nonzero(magnitudes > 2.0**self.exponent)),
            n_over_half=self.n_over_half + int(np.count_nonzero(magnitudes > 2.0 ** (self.exponent - 1))),
        )

    def updated(self) -> "TrackedExponent":
        """With the exponent moved by what was observed, and nothing observed since."""
        tolerated = self.max_overflow_rate * self.n_values
        step = 1 if self.n_over > tolerated else -1 if self.n_values and self.n_over_half <= tolerated else 0
        exponent = min(max(self.exponent + step, LEAST_EXPONENT), GREATEST_EXPONENT)
        return TrackedExponent(exponent, self.max_overflow_rate)
