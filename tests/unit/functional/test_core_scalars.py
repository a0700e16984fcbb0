"""Single integers: rounding, limits, reciprocals, codes, against exact fractions."""

import exact_arithmetic as exact
import numpy as np
import pytest
from exact_arithmetic import Codes, clip, exponent, floor_log2, round_shift

from etasim.functional import scalars

RNG = np.random.default_rng(1)
VALUES = sorted({s * v for e in range(48) for v in (2**e - 1, 2**e, 2**e + 1, 3 * 2**e, int(RNG.integers(1, 2**e + 1))) for s in (-1, 1)})


@pytest.mark.parametrize("shift", [-12, -1, 0, 1, 2, 7, 31, 48, 61, 62, 63, 200])
def test_round_shift_goes_to_the_nearest_and_from_the_middle_to_the_even(shift):
    assert [scalars.round_shift(v, shift) for v in VALUES] == [round_shift(v, shift) for v in VALUES]


@pytest.mark.parametrize("shift", [-100, -62, -61, -20, -3, 0, 3, 20, 70])
@pytest.mark.parametrize("limit", [1, 127, 32767, 2**23 - 1])
def test_a_clipped_shift_needs_no_room_for_the_quotient(shift, limit):
    assert [scalars.clipped_shift(v, shift, limit) for v in VALUES] == [clip(round_shift(v, shift), limit) for v in VALUES]


@pytest.mark.parametrize(("bits", "segments"), [(8, 1), (8, 2), (8, 3), (8, 4), (4, 2), (16, 2)])
@pytest.mark.parametrize("shift", [-64, -9, -1, 0, 1, 5, 17, 40, 90])
def test_codes_are_the_nearest_of_their_segment(bits, segments, shift):
    form = Codes(bits, segments, shift)
    codes = [scalars.encode(v, shift, form.magnitude_bits, segments, bits) for v in [*VALUES, 0]]
    assert codes == [form.convert(v, 0) for v in [*VALUES, 0]]
    assert [scalars.decode(c, form.magnitude_bits, bits) for c in codes] == [form.integer(c) for c in codes]


@pytest.mark.parametrize(("bits", "segments"), [(8, 1), (8, 2), (8, 4), (4, 2)])
def test_a_code_stands_for_what_it_is_made_of(bits, segments):
    """All codes but the second zero; of two codes for one integer, the one with the greater magnitude in the lower segment."""
    m = Codes(bits, segments, 0).magnitude_bits
    for code in range(2**bits):
        again = scalars.encode(scalars.decode(code, m, bits), 0, m, segments, bits)
        assert scalars.decode(again, m, bits) == scalars.decode(code, m, bits)
        assert again & ((1 << m) - 1) >= code & ((1 << m) - 1) or scalars.decode(again, m, bits) % (1 << m) == 0


def test_counts_divide_by_their_rounded_reciprocal():
    counts = [*range(1, 70), 2**16 - 1, 2**16, 2**20 - 3, 2**24]
    for count in counts:
        mantissa, shift = scalars.reciprocal(count)
        assert 2**15 <= mantissa <= 2**16
        assert shift == 16 + floor_log2(count)
        assert [scalars.divide(v, count) for v in VALUES if abs(v) < 2**40] == [exact.divide(v, count) for v in VALUES if abs(v) < 2**40]


@pytest.mark.parametrize("by_table", [True, False])
def test_every_spread_has_its_inverse(by_table):
    table = np.array(exact.RECIPROCALS if by_table else [], np.int64)
    for spread in [*range(1, 3000), *range(3000, 32768, 17), 32767]:
        assert scalars.inverse_deviation(spread, table) == exact.inverse_deviation(spread, by_table)


def test_exponents_are_the_logarithm_rounded_up():
    assert [scalars.exponent(v, -7) for v in VALUES if v > 0] == [exponent(v, -7) for v in VALUES if v > 0]
    assert [scalars.exponent(v, 0) for v in (1, 2, 3, 4, 5)] == [0, 1, 2, 2, 3]
