"""Codes of any value and any integer, in any format and unit, against exact fractions."""

from fractions import Fraction

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from etasim.numerics import CodeFormat, encode, encode_integers, multiply, to_real

layouts = st.sampled_from([CodeFormat(*pair) for pair in [(8, 2), (8, 1), (8, 3), (2, 1), (5, 3), (16, 2), (16, 1)]])
exponents = st.integers(-64, 63)


def code_of(value, layout, exponent):
    """The code of a Fraction, by the definition in `docs/models/arithmetic.md`."""
    t, bits = abs(value) / Fraction(2) ** layout.unit(exponent), layout.magnitude_bits
    segment = next((k for k in range(layout.segments) if t < 2 ** (bits * (k + 1))), layout.segments - 1)
    magnitude = round(t / 2 ** (bits * segment))
    if magnitude >= 2**bits:
        segment, magnitude = (segment + 1, 1) if segment < layout.segments - 1 else (segment, 2**bits - 1)
    body = segment << bits | magnitude
    return body | (value < 0 < body) << (layout.bits - 1)


@given(st.floats(-1, 1), st.integers(-90, 70), layouts, exponents)
def test_real_values(value, scale, layout, exponent):
    value = float(np.ldexp(value, scale))
    assert encode(value, layout, exponent) == code_of(Fraction(value), layout, exponent)
    narrow = np.float32(value)
    assert encode(narrow, layout, exponent) == code_of(Fraction(float(narrow)), layout, exponent)


@given(st.integers(-(2**62), 2**62), st.integers(-140, 140), layouts, exponents)
def test_integers(v, unit, layout, exponent):
    assert encode_integers(v, unit, layout, exponent) == code_of(Fraction(v) * Fraction(2) ** unit, layout, exponent)


@given(st.floats(-1, 1), layouts, exponents, st.integers(0, 2**32 - 1), st.integers(0, 2**40))
def test_stochastic_rounding_goes_to_a_neighbour(value, layout, exponent, seed, index):
    value = float(np.ldexp(value, exponent))
    code = encode(value, layout, exponent, "stochastic", seed, index)
    grid = np.unique(np.ldexp(layout.table.astype(float), layout.unit(exponent)))
    real = to_real(code, layout, exponent)
    assert real in grid
    assert not ((grid > min(value, real)) & (grid < max(value, real))).any()


@given(st.data(), layouts, layouts)
def test_products(data, format_a, format_b):
    a, b = (data.draw(st.integers(0, len(layout.table) - 1)) for layout in (format_a, format_b))
    if format_a.fields(a)[1] < format_a.segments and format_b.fields(b)[1] < format_b.segments:
        codes = np.array(a, format_a.dtype), np.array(b, format_b.dtype)
        assert multiply(*codes, format_a, format_b) == int(format_a.table[a]) * int(format_b.table[b])
