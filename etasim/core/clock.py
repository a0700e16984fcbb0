"""Clock domains in integer time: one tick divides the period of every clock."""

from fractions import Fraction
from math import gcd
from typing import NamedTuple


class Clocks(NamedTuple):
    """Periods of the clock domains in ticks, and the exact length of a tick in seconds."""

    core_ticks: int
    dram_ticks: int
    tick_seconds: Fraction


def clocks(core_hz: Fraction, dram_hz: Fraction) -> Clocks:
    """Smallest integer periods with the exact ratio of the two frequencies.

    Raises ValueError for a frequency that is not positive.
    """
    core_hz, dram_hz = Fraction(core_hz), Fraction(dram_hz)
    if core_hz <= 0 or dram_hz <= 0:
        raise ValueError("a clock frequency must be positive")
    core, dram = 1 / core_hz, 1 / dram_hz
    tick = Fraction(gcd(core.numerator * dram.denominator, dram.numerator * core.denominator), core.denominator * dram.denominator)
    return Clocks(int(core / tick), int(dram / tick), tick)
