"""Clock domains have the exact ratio of their frequencies; intervals are booked when they end."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etasim.core.clock import clocks
from etasim.core.interval import OPEN, begin, end

MHZ = 10**6


@pytest.mark.parametrize(
    ("core_hz", "dram_hz", "core_ticks", "dram_ticks"),
    [
        (200 * MHZ, 800 * MHZ, 4, 1),
        (250 * MHZ, 800 * MHZ, 16, 5),
        (250 * MHZ, Fraction(2800 * MHZ, 3), 56, 15),
        (Fraction(2800 * MHZ, 3), 250 * MHZ, 15, 56),
        (300 * MHZ, 300 * MHZ, 1, 1),
    ],
)
def test_periods_are_the_smallest_integers(core_hz, dram_hz, core_ticks, dram_ticks):
    found = clocks(core_hz, dram_hz)
    assert (found.core_ticks, found.dram_ticks) == (core_ticks, dram_ticks)
    assert found.core_ticks * found.tick_seconds == 1 / Fraction(core_hz)


@given(st.fractions(min_value=1, max_value=10**10, max_denominator=1000), st.fractions(min_value=1, max_value=10**10, max_denominator=1000))
def test_periods_are_exact(core_hz, dram_hz):
    found = clocks(core_hz, dram_hz)
    assert found.core_ticks * found.tick_seconds * core_hz == 1
    assert found.dram_ticks * found.tick_seconds * dram_hz == 1
    assert np.gcd.reduce([found.core_ticks, found.dram_ticks], dtype=object) == 1


@pytest.mark.parametrize("pair", [(0, 1), (1, 0), (-1, 1)])
def test_a_frequency_is_positive(pair):
    with pytest.raises(ValueError, match="must be positive"):
        clocks(*pair)


def test_an_interval_is_booked_once_and_from_its_beginning():
    since = np.full(2, OPEN)
    assert end(since, 0, 5) == 0
    begin(since, 0, 5)
    begin(since, 0, 8)
    assert end(since, 0, 12) == 7
    assert end(since, 0, 20) == 0
    begin(since, 0, 0)
    assert end(since, 0, 0) == 0
    assert since.tolist() == [OPEN, OPEN]
