"""Arithmetic of single integers: rounding, limits, reciprocals, codes. The page `docs/models/arithmetic.md` is the specification."""

from etasim.core.arrays import Integers
from etasim.core.jit import kernel

WIDEST_SHIFT = 62
"""Bits of the widest intermediate: what is shifted right by more is zero."""

TERM_BITS = 24
"""Terms of a sum keep at most so many bits below the unit of the coarsest."""

L1_FACTOR = 5134
"""sqrt(pi / 2) * 2^12, rounded."""


@kernel
def bit_length(value: int) -> int:
    """Bits of ``value`` >= 0; none for zero."""
    n_bits = 0
    while value > 0:
        value >>= 1
        n_bits += 1
    return n_bits


@kernel
def clip(value: int, limit: int) -> int:
    """``value`` limited to -limit ... limit."""
    return min(max(value, -limit), limit)


@kernel
def _rounded(value: int, shift: int) -> int:
    """value / 2^shift for a shift of 0 ... WIDEST_SHIFT. Without branches, which no processor would foresee."""
    half = (1 << shift) >> 1
    return (value + max(half - 1 + ((value >> shift) & 1), 0)) >> shift


@kernel
def round_shift(value: int, shift: int) -> int:
    """value / 2^shift to nearest, ties to even; the product with 2^-shift must fit if shift < 0."""
    rounded = _rounded(value, min(max(shift, 0), WIDEST_SHIFT))
    return 0 if shift > WIDEST_SHIFT else rounded << max(-shift, 0)


@kernel
def clipped_shift(value: int, shift: int, limit: int) -> int:
    """clip(value / 2^shift to nearest even, limit), also where the quotient itself would not fit."""
    left = min(max(-shift, 0), WIDEST_SHIFT)
    rounded = round_shift(value, max(shift, 0))
    bound = limit if value > 0 else -limit
    return rounded << left if abs(rounded) <= limit >> left else bound


@kernel
def exponent(magnitude: int, unit: int) -> int:
    """ceil(log2) of a real magnitude > 0 that is ``magnitude`` * 2^unit."""
    return bit_length(magnitude - 1) + unit


@kernel
def common_unit(least: int, greatest: int) -> int:
    """Unit in which terms are added whose units lie in least ... greatest."""
    return max(least, greatest - TERM_BITS)


@kernel
def reciprocal(count: int) -> tuple[int, int]:
    """(mantissa, shift) of 1 / count, count >= 1."""
    shift = 15 + bit_length(count)
    quotient, rest = (1 << shift) // count, (1 << shift) % count
    if 2 * rest > count or (2 * rest == count and quotient & 1):
        quotient += 1
    return quotient, shift


@kernel
def divide(value: int, count: int) -> int:
    """value / count by the reciprocal, to nearest even."""
    mantissa, shift = reciprocal(count)
    return round_shift(value * mantissa, shift)


@kernel
def inverse_deviation(spread: int, table: Integers) -> tuple[int, int]:
    """(mantissa, shift) of 1 / (sqrt(pi / 2) * spread), spread >= 1: by ``table`` [256], or by shift if it has no entries."""
    magnitude = bit_length(spread) - 1
    if len(table) > 0:
        return table[(spread << 8 >> magnitude) - 256], 16 + magnitude
    scaled = L1_FACTOR * spread
    octave = bit_length(scaled) - 1
    rounded_up = 1 if scaled * scaled >= 1 << (2 * octave + 1) else 0
    return 1 << 15, 15 + octave - 12 + rounded_up


@kernel
def encode(value: int, shift: int, magnitude_bits: int, segments: int, bits: int) -> int:
    """Code of ``value`` / 2^shift; one of ``segments`` holds ``magnitude_bits`` of it, to nearest even.

    What is rounded up to 2^magnitude_bits is 1 in the next segment, and one less in the last.
    """
    magnitude, segment = abs(value), 0
    while segment < segments - 1 and magnitude >> min(max(magnitude_bits * (segment + 1) + shift, 0), 63):
        segment += 1
    rounded = clipped_shift(magnitude, shift + magnitude_bits * segment, 1 << magnitude_bits)
    carry = rounded >> magnitude_bits
    code = (segment << magnitude_bits) + rounded + (carry if segment < segments - 1 else -carry)
    return code | (1 << (bits - 1) if value < 0 and rounded > 0 else 0)


@kernel
def encode_in_table(value: int, shift: int, magnitudes: Integers, bits: int) -> int:
    """Code of ``value`` / 2^shift: the nearest of ``magnitudes``, half way the one with an even code, at most the last.

    The search compares twice the value with sums of neighbours, in units of 2^shift; what is left below the unit decides ties.
    """
    magnitude, last = abs(value), len(magnitudes) - 1
    if shift <= 0 and magnitude > magnitudes[last] >> min(-shift, WIDEST_SHIFT):
        return last | (1 << (bits - 1) if value < 0 else 0)
    right = min(max(shift - 1, 0), 63)
    twice = magnitude >> right if shift > 0 else magnitude << (1 - shift)
    is_exact = shift <= 0 or twice << right == magnitude
    low, high = 0, last
    while low < high:
        middle = (low + high) >> 1
        if magnitudes[middle] + magnitudes[middle + 1] < twice:
            low = middle + 1
        else:
            high = middle
    if low < last and magnitudes[low] + magnitudes[low + 1] == twice and (low & 1 or not is_exact):
        low += 1
    return low | (1 << (bits - 1) if value < 0 and low > 0 else 0)


@kernel
def decode(code: int, magnitude_bits: int, bits: int) -> int:
    """Integer that ``code`` stands for."""
    segment = (code & ((1 << (bits - 1)) - 1)) >> magnitude_bits
    magnitude = (code & ((1 << magnitude_bits) - 1)) << (magnitude_bits * segment)
    return -magnitude if code >> (bits - 1) else magnitude
