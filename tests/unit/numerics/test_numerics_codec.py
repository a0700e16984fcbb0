"""Every code and every rounding decision, against the list of representable values."""

import numpy as np
import pytest

from etasim.numerics import CodeFormat, decode, encode, encode_integers, to_real
from etasim.numerics.philox import philox, random_word

FORMATS = [CodeFormat(*pair) for pair in [(8, 2), (8, 1), (8, 3), (8, 4), (2, 1), (3, 2), (4, 3), (12, 2), (16, 2)]]


def canonical_codes(layout):
    """One code for each representable value of 0 and more, in order."""
    integers = layout.table[: 2 ** (layout.bits - 1)]
    return np.unique(integers, return_index=True)[1]


def nearest(points, layout):
    """Code of each of ``points`` >= 0, in units: by distance to the two neighbours in the list of values, a tie to the even magnitude."""
    codes = canonical_codes(layout)
    grid = layout.table[codes].astype(float)
    below = np.searchsorted(grid, points, "right") - 1
    above = np.minimum(below + 1, len(grid) - 1)
    down, up = points - grid[below], grid[above] - points
    odd = codes[below] & 1
    return codes[np.where((down < up) | (down == up) & (odd == 0) | (above == below), below, above)]


def decision_points(layout):
    """Representable values, midpoints, a quarter of a step around them, and values past the range."""
    grid = np.unique(np.abs(layout.table)).astype(float)
    steps = np.diff(grid)
    quarters = [grid[:-1] + steps * quarter / 4 for quarter in range(4)]
    past = np.array([0.25, 0.5, 1, 2, 2.0**20]) * 2**layout.span_bits
    return np.concatenate([*quarters, [layout.greatest], past])


@pytest.mark.parametrize("layout", FORMATS, ids=str)
@pytest.mark.parametrize("real", [np.float32, np.float64])
def test_every_value_goes_to_the_nearest_code(layout, real):
    points = decision_points(layout)
    expected = nearest(points, layout)
    for exponent in (-64, 0, 63):
        values = np.ldexp(points, layout.unit(exponent)).astype(real)
        codes = encode(values, layout, exponent)
        assert codes.dtype == layout.dtype
        assert (codes == expected).all()
        sign = (expected > 0) << (layout.bits - 1)
        assert (encode(-values, layout, exponent) == expected + sign).all()


@pytest.mark.parametrize("layout", FORMATS, ids=str)
def test_integers_are_encoded_like_the_values_they_stand_for(layout):
    points = decision_points(layout)[:-1]
    expected = nearest(points, layout)
    assert (encode_integers((points * 4).astype(np.int64), -2, layout, layout.span_bits) == expected).all()
    negative = encode_integers((points * -4).astype(np.int64), 38, layout, 40 + layout.span_bits)
    assert (negative == expected + ((expected > 0) << (layout.bits - 1))).all()


@pytest.mark.parametrize("layout", FORMATS, ids=str)
def test_codes_survive_decoding_and_encoding(layout):
    magnitudes = canonical_codes(layout)
    codes = np.concatenate([magnitudes, magnitudes[1:] + 2 ** (layout.bits - 1)]).astype(layout.dtype)
    integers = decode(codes, layout)
    assert len(set(integers.tolist())) == len(codes)
    assert (encode_integers(integers, -3, layout, layout.span_bits - 3) == codes).all()
    assert (encode(to_real(codes, layout, 5), layout, 5) == codes).all()
    assert (to_real(codes, layout, 5) == np.ldexp(integers.astype(float), layout.unit(5))).all()


def test_the_only_codes_that_change_by_decoding_and_encoding_are_other_zeros():
    layout = CodeFormat()
    codes = np.arange(256, dtype=np.uint8)
    recoded = encode_integers(decode(codes, layout), 0, layout, layout.span_bits)
    assert codes[recoded != codes].tolist() == [64, 128, 192]  # zeros of the upper segment and of the negative sign


@pytest.mark.parametrize("layout", FORMATS, ids=str)
def test_encoding_is_monotonic(layout):
    points = np.unique(decision_points(layout))
    points = np.concatenate([-points[::-1], points])
    assert (np.diff(decode(encode(points, layout, layout.span_bits), layout)) >= 0).all()


@pytest.mark.parametrize(("unit", "exponent"), [(0, -64), (40, -30), (-63, 63), (-64, -64), (63, 63), (100, -64), (-200, 63)])
def test_integers_of_units_far_apart(unit, exponent):
    """Shifts past 64 bits saturate or vanish; Python's integers have no such end."""
    layout = CodeFormat()
    integers = np.array([0, 1, -1, 3, 2**31, -(2**62), 2**63 - 1])
    points = [min(abs(int(v)) * 2.0 ** (unit - layout.unit(exponent)), 2.0**40) for v in integers]
    expected = nearest(np.array(points), layout)
    assert (encode_integers(integers, unit, layout, exponent) == expected + ((integers < 0) & (expected > 0)) * 128).all()


def test_exponents_and_units_broadcast():
    layout = CodeFormat()
    values = np.random.default_rng(1).normal(size=(3, 4, 5))
    exponents = np.array([-1, 0, 2, 5])[:, None]
    codes = encode(values, layout, exponents)
    for channel in range(4):
        assert (codes[:, channel] == encode(values[:, channel], layout, exponents[channel])).all()
    assert (to_real(codes, layout, exponents) == np.ldexp(decode(codes, layout), layout.unit(exponents))).all()
    assert (encode(values, layout, np.broadcast_to(exponents, values.shape)) == codes).all()
    integers, units = (values * 1000).astype(int), np.array([-10, -9, -8])[:, None, None]
    assert (encode_integers(integers, units, layout, exponents) == encode(np.ldexp(integers, units), layout, exponents)).all()
    assert encode(np.float32(0.5), layout, 0).shape == ()
    assert encode(np.zeros((0, 3)), layout, 0).shape == (0, 3)
    with pytest.raises(ValueError, match="broadcast"):
        encode(values, layout, np.zeros(7, int))


def test_what_has_no_code_is_refused_with_its_place():
    layout = CodeFormat()
    values = np.ones((2, 3), np.float32)
    for bad, name in ((np.nan, "nan"), (np.inf, "inf"), (-np.inf, "-inf")):
        values[1, 2] = bad
        with pytest.raises(ValueError, match=rf"^{name} at \[1, 2\] has no code"):
            encode(values, layout, 0)
    assert decode(encode(np.float32([3e38, -3e38]), layout, -64), layout).tolist() == [layout.greatest, -layout.greatest]


@pytest.mark.parametrize(
    ("name", "value"), [("exponent", 64), ("exponent", -65), ("rounding", "up"), ("seed", -1), ("seed", 2**32), ("first_index", -1)]
)
def test_arguments_out_of_range_are_refused(name, value):
    with pytest.raises(ValueError, match="allowed"):
        encode(np.ones(3), CodeFormat(), **{"exponent": 0} | {name: value})


@pytest.mark.parametrize(
    ("low", "high", "key", "words"),
    [
        (0, 0, 0, (0xFF1DAE59, 0x6CD10DF2)),
        (0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF, (0x2C3F628B, 0xAB4FD7AD)),
        (0x243F6A88, 0x85A308D3, 0x13198A2E, (0xDD7CE038, 0xF62A4C12)),
    ],
)
def test_random_words_are_those_published_for_philox(low, high, key, words):
    """Known answers of the authors' distribution, Random123."""
    assert tuple(int(word) for word in philox(np.uint64(low), np.uint64(high), np.uint64(key))) == words


@pytest.mark.parametrize("layout", [CodeFormat(8, 2), CodeFormat(8, 1), CodeFormat(8, 3)], ids=str)
@pytest.mark.parametrize("real", [np.float32, np.float64])
def test_stochastic_rounding_goes_up_exactly_if_the_remainder_exceeds_the_random_number(layout, real):
    points = decision_points(layout)[: -5 - 1][:: 3 if layout.bits < 12 else 101]
    grid = np.unique(np.abs(layout.table))
    below = np.searchsorted(grid, points, "right") - 1
    remainder = (points - grid[below]) / np.diff(np.append(grid, 2**layout.span_bits))[below]
    words = np.array([random_word(9, 1000 + i) for i in range(len(points))])
    expected = grid[np.minimum(below + (remainder * 2.0**32 > words), len(grid) - 1)]
    codes = encode(points.astype(real), layout, layout.span_bits, "stochastic", seed=9, first_index=1000)
    assert (decode(codes, layout) == expected).all()


@pytest.mark.parametrize("value", [0.125, 0.75, 5.5, 63.25, 64.5, 100.0, 3903.0])
def test_stochastic_rounding_is_unbiased(value):
    """The mean of n roundings lies within 4.5 standard deviations, step * sqrt(p (1 - p) / n), of the value."""
    layout, n = CodeFormat(), 4096
    rounded = decode(encode(np.full(n, value), layout, layout.span_bits, "stochastic", seed=1), layout)
    step = 1 if value < 64 else 64
    p = value / step % 1
    assert set(rounded.tolist()) == {step * int(value // step), step * (int(value // step) + 1)}
    assert abs(rounded.mean() - value) <= 4.5 * step * np.sqrt(p * (1 - p) / n)


def test_stochastic_rounding_does_not_depend_on_the_parts():
    layout, values = CodeFormat(), np.random.default_rng(2).normal(size=(7, 11)).astype(np.float32)
    whole = encode(values, layout, 2, "stochastic", seed=3)
    parts = [encode(values[i : i + 2], layout, 2, "stochastic", seed=3, first_index=11 * i) for i in range(0, 7, 2)]
    assert (np.concatenate(parts) == whole).all()
    assert (encode(values, layout, np.full((7, 1), 2), "stochastic", seed=3) == whole).all()
    assert (encode(values, layout, 2, "stochastic", seed=4) != whole).any()
