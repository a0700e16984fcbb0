"""Values of few bits that stand for themselves, and what it takes to share a scale among them: formats as data.

Of the Open Compute Project's "Microscaling formats (MX) specification" v1.0 (2023) and "8-bit floating point specification (OFP8)" v1.0
(2023)."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

MX_BLOCK = 32
SCALE_BITS = 8
"""Of a scale's code, E8M0."""


class Element(ABC):
    """What a value is within its block: ``bits`` a code, ``table`` the value of each code (float64; NaN and infinity where a code means
    them), ``greatest`` finite magnitude."""

    bits: int

    @property
    @abstractmethod
    def table(self) -> np.ndarray: ...

    @property
    @abstractmethod
    def greatest(self) -> float: ...

    @property
    def greatest_exponent(self) -> int:
        """emax."""
        return int(np.frexp(self.greatest)[1]) - 1

    @abstractmethod
    def encode(self, values: np.ndarray) -> np.ndarray:
        """Codes, uint8, of finite float64 ``values``, as of a block whose scale is 1."""


@dataclass(frozen=True)
class FloatElement(Element):
    """Sign, ``exponent_bits``, ``mantissa_bits``; the bias is 2^(exponent_bits - 1) - 1. ``greatest_code``: of the greatest finite
    magnitude; codes above it are infinity (with mantissa 0, if the format has one) and NaN."""

    exponent_bits: int
    mantissa_bits: int
    greatest_code: int
    has_infinity: bool = False

    @property
    def bits(self) -> int:  # type: ignore[override]  # given by the others
        return 1 + self.exponent_bits + self.mantissa_bits

    @property
    def least_exponent(self) -> int:
        """Of the normal numbers; subnormal ones have its step."""
        return 2 - 2 ** (self.exponent_bits - 1)

    @cached_property
    def table(self) -> np.ndarray:
        codes = np.arange(2 ** (self.bits - 1))
        field, mantissa = codes >> self.mantissa_bits, codes % 2**self.mantissa_bits
        exponent = np.maximum(field, 1) + self.least_exponent - 1
        magnitudes = np.ldexp((field > 0) * 2.0**self.mantissa_bits + mantissa, exponent - self.mantissa_bits)
        magnitudes[self.greatest_code + 1 :] = np.nan
        if self.has_infinity:
            magnitudes[self.greatest_code + 1] = np.inf
        return np.concatenate((magnitudes, -magnitudes))

    @property
    def greatest(self) -> float:
        return float(self.table[self.greatest_code])

    def encode(self, values: np.ndarray) -> np.ndarray:
        """The sign of zero is kept."""
        exponent = np.where(values == 0, self.least_exponent, np.maximum(np.frexp(values)[1] - 1, self.least_exponent))
        steps = np.rint(np.ldexp(np.abs(values), self.mantissa_bits - exponent)).astype(np.int64)
        codes = np.minimum(steps + (exponent - self.least_exponent << self.mantissa_bits), self.greatest_code)
        return (codes | np.signbit(values).astype(np.int64) << self.bits - 1).astype(np.uint8)


@dataclass(frozen=True)
class FixedElement(Element):
    """``bits`` of two's complement in steps of 2^-``fraction_bits``. The least code is not used, so that the range is symmetric."""

    bits: int = 8
    fraction_bits: int = 6

    @cached_property
    def table(self) -> np.ndarray:
        codes = np.arange(2**self.bits)
        return np.ldexp(np.where(codes < 2 ** (self.bits - 1), codes, codes - 2**self.bits).astype(np.float64), -self.fraction_bits)

    @property
    def greatest(self) -> float:
        return float(np.ldexp(2 ** (self.bits - 1) - 1, -self.fraction_bits))

    def encode(self, values: np.ndarray) -> np.ndarray:
        limit = 2 ** (self.bits - 1) - 1
        steps = np.clip(np.rint(np.ldexp(values, self.fraction_bits)), -limit, limit).astype(np.int64)
        return (steps & 2**self.bits - 1).astype(np.uint8)


E4M3 = FloatElement(4, 3, 0x7E)
E5M2 = FloatElement(5, 2, 0x7B, has_infinity=True)
E3M2 = FloatElement(3, 2, 0x1F)
E2M3 = FloatElement(2, 3, 0x1F)
E2M1 = FloatElement(2, 1, 0x07)
INT8 = FixedElement()


class BlockFormat(NamedTuple):
    """``block`` consecutive ``element`` values along an axis share a scale (the last block may be shorter); None: all of a tensor do."""

    element: Element
    block: int | None = MX_BLOCK

    @property
    def bits_each(self) -> float:
        """Of a value, with its part of the scale."""
        return self.element.bits + (SCALE_BITS / self.block if self.block else 0)
