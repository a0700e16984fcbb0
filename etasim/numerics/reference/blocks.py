"""MX blocks and 8-bit floating point, value by value in exact fractions: written from the specifications, for comparison only."""

from bisect import bisect_left
from collections.abc import Sequence
from fractions import Fraction
from math import copysign, inf, ldexp, nan

ELEMENTS = {
    "E4M3": (4, 3, 7), "E5M2": (5, 2, 15), "E3M2": (3, 2, 3), "E2M3": (2, 3, 1), "E2M1": (2, 1, 1),
}  # fmt: skip
"""Exponent bits, mantissa bits and bias of the floating-point elements."""


def element_value(name: str, code: int) -> Fraction | float:
    """What ``code`` stands for within its block; NaN or an infinity where it means one."""
    if name == "INT8":
        return Fraction(code - 256 if code >= 128 else code, 64)
    exponent_bits, mantissa_bits, bias = ELEMENTS[name]
    is_negative, body = divmod(code, 2 ** (exponent_bits + mantissa_bits))
    field, mantissa = divmod(body, 2**mantissa_bits)
    if name == "E5M2" and field == 31:
        return nan if mantissa else -inf if is_negative else inf
    if name == "E4M3" and body == 0x7F:
        return nan
    magnitude = (
        Fraction(2) ** (field - bias) * (1 + Fraction(mantissa, 2**mantissa_bits))
        if field
        else Fraction(2) ** (1 - bias) * Fraction(mantissa, 2**mantissa_bits)
    )
    return -magnitude if is_negative else magnitude


def magnitudes(name: str) -> list[Fraction]:
    """Finite magnitudes by their codes, rising."""
    codes = range(128) if name == "INT8" else range(2 ** sum(ELEMENTS[name][:2]))
    found = [element_value(name, code) for code in codes]
    return [value for value in found if isinstance(value, Fraction)]


def floor_log2(value: Fraction) -> int:
    """The greatest e with 2^e <= ``value`` > 0."""
    e = value.numerator.bit_length() - value.denominator.bit_length()
    return e if Fraction(2) ** e <= value else e - 1


class BlockReference:
    """Blocks of the element ``name``. Quotients of float32 values by powers of two, magnitudes and distances between them are exact as
    Python's floats."""

    def __init__(self, name: str) -> None:
        self._name, found = name, magnitudes(name)
        self._sign = 128 if name == "INT8" else 2 ** sum(ELEMENTS[name][:2])
        self._emax = floor_log2(found[-1])
        self._magnitudes = [float(magnitude) for magnitude in found]

    def encode(self, values: Sequence[float]) -> tuple[int, list[int]]:
        """Scale code and codes of one block of finite ``values``; zeros keep their sign in a floating-point element."""
        greatest = max(map(abs, values))
        exponent = floor_log2(Fraction(greatest)) - self._emax if greatest else -127
        exponent = min(max(exponent, -127), 127)
        return exponent + 127, [self._code(value, exponent) for value in values]

    def _code(self, value: float, exponent: int) -> int:
        code, is_negative = self._nearest(ldexp(abs(value), -exponent)), copysign(1, value) < 0
        if self._name == "INT8":
            return (256 - code) % 256 if is_negative else code
        return code + self._sign * is_negative

    def _nearest(self, quotient: float) -> int:
        above = bisect_left(self._magnitudes, quotient)
        if above == len(self._magnitudes):
            return above - 1
        if self._magnitudes[above] == quotient or above == 0:
            return above
        down, up = quotient - self._magnitudes[above - 1], self._magnitudes[above] - quotient
        if down == up:
            return above if above % 2 == 0 else above - 1
        return above if up < down else above - 1

    def decode(self, scale: int, codes: Sequence[int]) -> list[float]:
        """Values of one block; NaN for the scale 255."""
        found = []
        for code in codes:
            value = element_value(self._name, code)
            found.append(nan if scale == 255 else float(value * Fraction(2) ** (scale - 127)) if isinstance(value, Fraction) else value)
        return found
