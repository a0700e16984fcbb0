"""Knuth's generators against the values that he publishes with them."""

import pytest

from etasim.core.jit import entry
from etasim.noc.generator import FRACTION, FRACTION_ONE, INTEGER, LONG_LAG, draw, generators


@entry
def last_after(state, kind, n_draws):
    """The last of ``n_draws`` numbers."""
    value = 0
    for _ in range(n_draws):
        value = draw(state, kind)
    return value


def test_integers_are_those_that_knuth_publishes():
    # rng.c: the first number of the 2,010th block for the seed 310952
    assert last_after(generators(310952), INTEGER, 2009 * LONG_LAG + 1) == 995235265


def test_fractions_are_those_that_knuth_publishes():
    # rng-double.c: the first number of the 2,010th block for the seed 310952
    value = last_after(generators(310952), FRACTION, 2009 * LONG_LAG + 1)
    assert value / FRACTION_ONE == pytest.approx(0.36410514377569680455, abs=1e-16)


def test_different_seeds_give_different_numbers():
    first = [last_after(generators(seed), FRACTION, 1) for seed in range(6)]
    assert len(set(first)) == 6
