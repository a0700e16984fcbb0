"""The integer arithmetic is what Python's exact fractions give."""

from fractions import Fraction
from math import ceil, log2

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etasim.numerics import arithmetic

values = st.integers(-(2**63) + 1, 2**63 - 1)
small = st.integers(-(2**30), 2**30)
limits = st.integers(0, 2**62)


def exact(v, s):
    """v / 2^s to nearest even."""
    return round(Fraction(v) / Fraction(2) ** s)


@given(values, st.integers(0, 62))
def test_a_right_shift_rounds_to_nearest_even(v, s):
    assert arithmetic.round_shift(v, s) == exact(v, s)


@given(small, st.integers(-32, 0))
def test_a_left_shift_is_exact(v, s):
    assert arithmetic.round_shift(v, s) == v << -s


@given(values, st.integers(63, 2**40))
def test_far_shifts_give_zero(v, s):
    assert arithmetic.round_shift(v, s) == 0


def test_a_left_shift_that_overflows_is_refused():
    with pytest.raises(OverflowError):
        arithmetic.round_shift([1, 2**40], -23)
    assert arithmetic.round_shift([0], -200) == 0


@given(st.lists(st.tuples(values, st.integers(0, 100)), min_size=1))
def test_shifts_of_an_array_are_those_of_its_elements(pairs):
    v, s = np.array(pairs, np.int64).T
    expected = [int(arithmetic.round_shift(*pair)) for pair in pairs]
    assert arithmetic.round_shift(v, s).tolist() == expected


@given(values, st.integers(-100, 62), limits)
def test_rounding_into_a_range_saturates(v, s, limit):
    assert arithmetic.round_clip(v, s, limit) == max(-limit, min(limit, exact(v, s)))


@given(st.integers(0, 2**63 - 1))
def test_bit_length(v):
    assert arithmetic.bit_length(v) == v.bit_length()


@given(st.integers(1, 2**46 - 1))
def test_reciprocal(n):
    m, s = arithmetic.reciprocal(n)
    assert s == 16 + n.bit_length() - 1
    assert m == round(Fraction(2) ** int(s) / n)
    assert 2**15 <= m <= 2**16


@given(st.integers(-(2**46), 2**46), st.integers(1, 2**20))
def test_division_is_close(x, n):
    assert abs(int(arithmetic.div(x, n)) - Fraction(x, n)) <= Fraction(1, 2) + abs(Fraction(x, n)) / 2**16


@given(st.integers(-(2**15), 2**15), st.integers(0, 15))
def test_division_by_a_power_of_two_is_a_shift(x, power):
    assert arithmetic.div(x, 2**power) == exact(x, power)


@given(st.lists(st.integers(-100, 100), min_size=1, max_size=4))
def test_terms_are_added_in_the_finest_unit_unless_it_is_too_fine(units):
    assert arithmetic.common(*units) == (min(units) if max(units) - min(units) <= 24 else max(units) - 24)


@given(small, st.integers(-80, 80), st.integers(-80, 80))
def test_terms_keep_their_value(v, unit, other):
    target = arithmetic.common(unit, other)
    error = Fraction(int(arithmetic.bring(v, unit, target))) * Fraction(2) ** target - Fraction(v) * Fraction(2) ** unit
    assert abs(error) <= Fraction(2) ** (target - 1) * (target > unit)


@given(st.fractions(min_value=Fraction(1, 2**40), max_value=2**40))
def test_normal(r):
    m, s = arithmetic.normal(r)
    assert 2**15 <= m < 2**16
    assert abs(Fraction(m) - r * Fraction(2) ** s) <= Fraction(1, 2)


def test_normal_of_round_numbers():
    assert arithmetic.normal(1.0) == (2**15, 15)
    assert arithmetic.normal(Fraction(2**17 - 1, 2**17)) == (2**15, 15)
    assert arithmetic.normal(2**20) == (2**15, -5)


@given(values, st.integers(-40, 40), st.integers(-64, 63), st.sampled_from([8, 16, 32]))
def test_stored_integers_saturate_symmetrically(v, unit, exponent, bits):
    limit = 2 ** (bits - 1) - 1
    expected = max(-limit, min(limit, round(Fraction(v) * Fraction(2) ** (unit - exponent + bits - 1))))
    assert arithmetic.store(v, unit, exponent, bits) == expected


@given(st.lists(st.integers(-(2**20), 2**20), min_size=1), st.integers(-64, 63))
def test_exponent_seen_is_the_least_that_holds_all(v, unit):
    seen = arithmetic.exponent_seen(np.array(v), unit)
    greatest = max(map(abs, v))
    assert seen == (ceil(log2(greatest)) + unit if greatest else None)


@given(st.lists(st.tuples(st.integers(-(2**20), 2**20), st.integers(-64, 63)), min_size=1))
def test_exponent_seen_where_units_differ(pairs):
    alone = [arithmetic.exponent_seen(np.array([v]), unit) for v, unit in pairs]
    v, unit = np.array(pairs).T
    assert arithmetic.exponent_seen(v, unit) == max((e for e in alone if e is not None), default=None)


@given(st.lists(st.tuples(small, st.integers(-20, 20)), min_size=1, max_size=4))
def test_sums_lose_less_than_a_unit_for_each_term(terms):
    total, unit = arithmetic.add(*terms)
    exact_sum = sum(Fraction(v) * Fraction(2) ** u for v, u in terms)
    assert abs(Fraction(int(total)) * Fraction(2) ** unit - exact_sum) <= len(terms) * Fraction(2) ** unit / 2


@given(st.integers(1, 32767))
def test_reciprocal_table_is_accurate_to_eight_bits(a):
    f = a.bit_length() - 1
    m = int(arithmetic.reciprocal_table()[((a << 8) >> f) - 256])
    assert 2**14 < m < 2**16
    assert abs(m * 2.0 ** -(16 + f) * arithmetic.DEVIATION_RATIO * a - 1) < 2**-8


def test_exponential_table():
    table = arithmetic.exponential_table()
    assert (table[0], table[128], table[255]) == (2**15, 23170, 16428)
    assert len(table) == len(arithmetic.reciprocal_table()) == 256
