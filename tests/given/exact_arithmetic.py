"""`docs/models/arithmetic.md` in exact fractions: what the passes of the unified core are compared with."""

from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor, log2, pi, sqrt

DEVIATION = sqrt(pi / 2)


@dataclass(frozen=True)
class Codes:
    """Format of a tensor of codes in ``unit``."""

    bits: int
    segments: int
    unit: int

    @property
    def magnitude_bits(self) -> int:
        return self.bits - 1 - ceil(log2(self.segments))

    def convert(self, value, unit):
        """encode(value, unit)."""
        t = abs(value) * Fraction(2) ** (unit - self.unit)
        m = self.magnitude_bits
        segment = min([k for k in range(self.segments) if t < 2 ** (m * (k + 1))] + [self.segments - 1])
        magnitude = round(t / 2 ** (m * segment))
        if magnitude >= 2**m:
            segment, magnitude = (segment + 1, 1) if segment + 1 < self.segments else (segment, 2**m - 1)
        return (value < 0) << (self.bits - 1) | segment << m | magnitude if magnitude else 0

    def integer(self, code):
        """What a code stands for."""
        m = self.magnitude_bits
        segment, magnitude = (code % 2 ** (self.bits - 1)) // 2**m, code % 2**m
        return (-1 if code >= 2 ** (self.bits - 1) else 1) * magnitude * 2 ** (m * segment)


@dataclass(frozen=True)
class Integers:
    """Format of a tensor of integers in ``unit``."""

    bits: int
    unit: int

    def convert(self, value, unit):
        """store(value, unit)."""
        return clip(round_shift(value, self.unit - unit), 2 ** (self.bits - 1) - 1)

    def integer(self, stored):
        return stored


def round_shift(value, shift):
    return 0 if shift > 62 else round(value / Fraction(2) ** shift)


def clip(value, limit):
    return max(-limit, min(limit, value))


def floor_log2(value):
    return value.bit_length() - 1


def divide(value, count):
    shift = 16 + floor_log2(count)
    return round_shift(value * round(Fraction(2**shift, count)), shift)


def common(*units):
    return max(min(units), max(units) - 24)


def total(*terms):
    """(sum, unit) of terms (value, unit)."""
    unit = common(*(u for _, u in terms))
    return sum(round_shift(v, unit - u) for v, u in terms), unit


def exponent(value, unit):
    return (abs(value) - 1).bit_length() + unit


RECIPROCALS = [round(2**16 / (DEVIATION * (1 + (i + 0.5) / 256))) for i in range(256)]
EXPONENTIALS = [round(2 ** (15 - i / 256)) for i in range(256)]


def inverse_deviation(spread, by_table):
    if by_table:
        octave = floor_log2(spread)
        return RECIPROCALS[(spread * 2**8 >> octave) - 256], 16 + octave
    scaled = 5134 * spread
    return 2**15, 15 + round(log2(scaled)) - 12


def normalized(value, mean, inverse):
    return clip(round_shift((value - mean) * inverse[0], inverse[1] - 12), 2**23 - 1)


def contribution(value, unit, error_unit, n_contributions):
    return clip(round_shift(value, error_unit - unit), floor(Fraction(2**15 - 1, n_contributions)))


def exponential(distance, unit):
    steps = min(round_shift(distance * 94548, 8 - unit), 2**20)
    return 0 if steps // 256 >= 63 else EXPONENTIALS[steps % 256] >> steps // 256


def sign(value):
    return (value > 0) - (value < 0)
