"""Tensors of the reference: integers, the exponent they share, and the format they lie in memory in."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from etasim.core.arrays import Whole
from etasim.numerics.arithmetic import clip, integer_limit, integer_unit, store
from etasim.numerics.codec import decode, encode, encode_integers
from etasim.numerics.format import GREATEST_EXPONENT, LEAST_EXPONENT, Code
from etasim.numerics.quantization import exponent_of

Key = tuple[str, str]
"""A tensor: name of its unit (``input`` is the network's input) and role (`etasim.program.roles.ROLES`)."""

MASK_BITS, WINDOW_BITS, LABEL_BITS = 1, 8, 16

Exponents = Mapping[Key, int]
"""Exponents by the tensor that owns them (`etasim.numerics.reference.graph.Graph.owner`)."""


@dataclass(frozen=True, eq=False)
class Value:
    """``integers`` (int64) that stand for integer * 2^unit; ``format``: codes, or the bits of two's complement integers. ``own_codes``:
    those that the integers were decoded from, if they were."""

    integers: np.ndarray
    exponent: int
    format: Code | int
    own_codes: np.ndarray | None = None

    @property
    def unit(self) -> int:
        """The integer i stands for i * 2^unit."""
        return integer_unit(self.exponent, self.format) if isinstance(self.format, int) else self.format.unit(self.exponent)

    @property
    def greatest(self) -> int:
        """The greatest integer that the format holds."""
        return integer_limit(self.format) if isinstance(self.format, int) else self.format.greatest

    def real(self) -> np.ndarray:
        """The values, float64."""
        return np.ldexp(self.integers.astype(np.float64), self.unit)

    def codes(self) -> np.ndarray:
        """The codes as they lie in memory. Raises TypeError for a tensor of integers."""
        if isinstance(self.format, int):
            raise TypeError(f"a tensor of {self.format}-bit integers has no codes")
        return encode_integers(self.integers, self.unit, self.format, self.exponent) if self.own_codes is None else self.own_codes


def stored(v: np.ndarray, unit: Whole, exponent: int, format: Code | int) -> Value:
    """The Value of ``format`` with ``exponent`` nearest to the integers ``v`` of ``unit``; the unit may differ between elements."""
    if isinstance(format, int):
        return Value(store(v, unit, exponent, format), exponent, format)
    return of_codes(encode_integers(v, unit, format, exponent), exponent, format)


def of_codes(codes: np.ndarray, exponent: int, format: Code) -> Value:
    """The Value of ``codes``. Raises as `decode` for codes that do not exist."""
    return Value(decode(codes, format), exponent, format, codes)


def counts(integers: np.ndarray, bits: int) -> Value:
    """Integers >= 0 of ``bits`` bits in the unit 0: a mask, positions, labels."""
    return Value(np.asarray(integers, np.int64), bits - 1, bits)


def clamped(exponent: int) -> int:
    """``exponent`` limited to what the machine can hold."""
    return min(max(exponent, LEAST_EXPONENT), GREATEST_EXPONENT)


def quantized(array: np.ndarray, format: Code | int, exponent: int | None = None) -> Value:
    """The Value nearest to the floats ``array``, with ``exponent`` or the least that holds them (0 if all are zero).

    Raises ValueError for NaN and infinity.
    """
    array = np.asarray(array, np.float64)
    own = exponent_of(array)
    if exponent is None:
        exponent = clamped(own or 0)
    if not isinstance(format, int):
        return of_codes(encode(array, format, exponent), exponent, format)
    integers = np.rint(np.ldexp(array, -integer_unit(exponent, format))).astype(np.int64)
    return Value(clip(integers, integer_limit(format)), exponent, format)
