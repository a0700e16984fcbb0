"""Integer arithmetic on numpy arrays of int64, to the last bit (`docs/models/arithmetic.md`).

A *unit* u means that the integer i stands for i * 2^u. An *exponent* E belongs to a whole tensor: |value| <= 2^E, as long as it does not
saturate. Arguments that are arrays or integers broadcast.
"""

from fractions import Fraction
from math import pi, sqrt

import numpy as np

from etasim.core.arrays import Numbers, Whole

ALIGNMENT_BITS = 24
"""Terms of different units are added this many bits below the coarsest unit, or in the finest if that is coarser."""

MANTISSA_BITS = 16
"""Bits of the constants by which the unified core multiplies instead of dividing."""

DEVIATION_RATIO = sqrt(pi / 2)
"""k: standard deviation of a normal variable over its mean absolute deviation."""

TABLE_ENTRIES = 256


def round_shift(v: Whole, s: Whole) -> np.ndarray:
    """v / 2^s to nearest, ties to even; v * 2^-s for s < 0; 0 for s > 62.

    Raises OverflowError where a left shift leaves 64 bits; `round_clip` saturates instead.
    """
    v, s = np.asarray(v, np.int64), np.asarray(s, np.int64)
    if (s < 0).any():
        left = np.clip(-s, 0, 63)
        if (np.abs(v) > (2**63 - 1) >> left).any():
            raise OverflowError("a left shift leaves 64 bits")
        v = v << left
    right = np.clip(s, 0, 62)
    one = np.int64(1) << right
    rounded, remainder = v >> right, v & (one - 1)
    remainder += np.maximum((one >> 1) - 1, 0)  # just below a half, and a half for odd quotients
    remainder += rounded & (right > 0)
    remainder >>= right
    rounded += remainder
    return np.where(s > 62, 0, rounded) if (s > 62).any() else rounded


def clip(v: Whole, limit: Whole) -> np.ndarray:
    """``v`` limited to -limit ... limit."""
    return np.clip(v, -np.asarray(limit), limit)


def round_clip(v: Whole, s: Whole, limit: Whole) -> np.ndarray:
    """clip(round_shift(v, s), limit) for any s: a left shift past ``limit`` saturates."""
    v, s = np.asarray(v, np.int64), np.asarray(s, np.int64)
    if not (s < 0).any():
        return clip(round_shift(v, s), limit)
    past = (s < 0) & (np.abs(v) > limit >> np.clip(-s, 0, 63))
    return np.where(past, np.sign(v) * limit, clip(round_shift(np.where(past, 0, v), s), limit))


def bit_length(v: Whole) -> np.ndarray:
    """Bits of integers ``v`` >= 0; 0 for 0."""
    v = np.asarray(v, np.int64)
    leading = v & ~(v >> 1)  # as long, and without the bit behind the first one, so that float64 rounds it to no more bits
    return np.frexp(leading.astype(np.float64))[1].astype(np.int64)


def floor_log2(n: Whole) -> np.ndarray:
    """floor(log2 n) of integers ``n`` >= 1."""
    return bit_length(n) - 1


def reciprocal(n: Whole) -> tuple[np.ndarray, np.ndarray]:
    """(m, s) of counts 1 <= ``n`` < 2^46, so that 1 / n = m * 2^-s, m rounded to nearest even, and 2^15 <= m <= 2^16."""
    n = np.asarray(n, np.int64)
    s = MANTISSA_BITS + floor_log2(n)
    quotient, remainder = np.divmod(np.int64(1) << s, n)
    return quotient + (2 * remainder + (quotient & 1) > n), s


def div(x: Whole, n: Whole) -> np.ndarray:
    """x / n for counts ``n`` >= 1, through `reciprocal`; |x| < 2^47."""
    m, s = reciprocal(n)
    return round_shift(np.asarray(x, np.int64) * m, s)


def common(*units: int) -> int:
    """The unit in which terms of ``units`` are added."""
    return max(min(units), max(units) - ALIGNMENT_BITS)


def bring(v: Whole, unit: int, target: int) -> np.ndarray:
    """Integers ``v`` of ``unit`` as integers of the unit ``target``, a `common` of it and others."""
    return round_shift(v, target - unit)


def add(*terms: tuple[Numbers, int]) -> tuple[Numbers, int]:
    """The sum of terms (v, unit) in their common unit: (sum, that unit)."""
    target = common(*(unit for _, unit in terms))
    brought = [bring(v, unit, target) for v, unit in terms]
    return sum(brought[1:], brought[0]), target


def normal(r: Fraction | float) -> tuple[int, int]:
    """(m, s) of a constant ``r`` > 0, so that r = m * 2^-s with m rounded to nearest even, 2^15 <= m < 2^16; s may be negative."""
    r = Fraction(r)
    s = MANTISSA_BITS - 1 - _floor_log2_of_fraction(r)
    m = round(r * Fraction(2) ** s)
    return (m, s) if m < 2**MANTISSA_BITS else (m // 2, s - 1)


def _floor_log2_of_fraction(r: Fraction) -> int:
    estimate = r.numerator.bit_length() - r.denominator.bit_length()
    return estimate if r >= Fraction(2) ** estimate else estimate - 1


def integer_limit(bits: int) -> int:
    """Greatest integer of a symmetric range of ``bits`` bits."""
    return 2 ** (bits - 1) - 1


def integer_unit(exponent: int, bits: int) -> int:
    """Unit of a tensor of integers."""
    return exponent - (bits - 1)


def store(v: Whole, unit: Whole, exponent: int, bits: int) -> np.ndarray:
    """Integers of ``bits`` bits in a tensor with ``exponent`` that stand for ``v`` of ``unit``."""
    return round_clip(v, integer_unit(exponent, bits) - unit, integer_limit(bits))


def exponent_seen(v: Numbers, unit: Whole) -> int | None:
    """Least E with |v| * 2^unit <= 2^E for all of ``v``; None if all are zero. ``unit`` may differ between elements."""
    if not isinstance(unit, int) and np.ndim(unit):
        values, units = np.broadcast_arrays(v, unit)
        exponents = (bit_length(np.abs(values) - 1) + units)[values != 0]
        return int(exponents.max()) if exponents.size else None
    greatest = max(int(np.max(v, initial=0)), -int(np.min(v, initial=0)))
    return (greatest - 1).bit_length() + int(unit) if greatest else None


def reciprocal_table() -> np.ndarray:
    """T[i] = round(2^16 / (k (1 + (i + 1/2) / 256))): mantissas of 1 / (k a) by the eight bits that follow the first one of a."""
    entries = [2**MANTISSA_BITS / (DEVIATION_RATIO * (1 + (i + 0.5) / TABLE_ENTRIES)) for i in range(TABLE_ENTRIES)]
    return np.array([round(entry) for entry in entries], np.int64)


def exponential_table() -> np.ndarray:
    """X[i] = round(2^15 * 2^(-i / 256))."""
    return np.array([round(2 ** (15 - i / TABLE_ENTRIES)) for i in range(TABLE_ENTRIES)], np.int64)
