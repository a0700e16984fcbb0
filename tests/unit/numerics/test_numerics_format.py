"""What a code stands for, which formats there are, and how wrong a rounded value can be."""

from fractions import Fraction

import numpy as np
import pytest

from etasim.functional.scalars import encode_in_table
from etasim.numerics import CodeFormat, TableFormat, data_format, decode, encode, encode_integers, multiply, to_real

FORMATS = [CodeFormat(*pair) for pair in [(8, 2), (8, 1), (8, 3), (8, 4), (2, 1), (3, 2), (4, 3), (6, 2), (12, 2), (16, 1), (16, 2)]]


def integer(code, layout):
    """The definition, read from the code's binary digits."""
    digits = f"{code:0{layout.bits}b}"
    split = layout.bits - layout.magnitude_bits
    segment = int(digits[1:split] or "0", 2)
    magnitude = int(digits[split:], 2)
    return (-1) ** int(digits[0]) * magnitude * 2 ** (layout.magnitude_bits * segment) if segment < layout.segments else 0


@pytest.mark.parametrize("layout", FORMATS, ids=str)
def test_the_table_follows_the_digits_of_the_code(layout):
    assert layout.table.tolist() == [integer(code, layout) for code in range(2**layout.bits)]
    assert layout.table.max() == layout.greatest == -layout.table.min()


def test_the_default_is_that_of_the_arithmetic_page():
    layout = CodeFormat()
    assert (layout.bits, layout.segments, layout.magnitude_bits, layout.greatest) == (8, 2, 6, 4032)
    assert layout.unit(3) == -9
    assert layout.dtype == np.uint8
    assert CodeFormat(9).dtype == np.uint16


@pytest.mark.parametrize(("bits", "segments"), [(1, 1), (17, 1), (8, 0), (2, 2), (4, 5), (8, 8), (16, 4)])
def test_a_format_without_magnitude_or_wider_than_its_integers_is_refused(bits, segments):
    with pytest.raises(ValueError, match=r"at least 1|at most 31|allowed: 2 \.\.\. 16"):
        CodeFormat(bits, segments)


def test_codes_that_are_not_of_the_format_are_refused():
    with pytest.raises(TypeError, match="have type uint8"):
        CodeFormat().check(np.zeros(3, np.int64))
    with pytest.raises(ValueError, match="code 96 does not exist"):
        CodeFormat(8, 3).check(np.array([0, 96], np.uint8))
    with pytest.raises(ValueError, match="code 64 does not exist"):
        CodeFormat(6, 2).check(np.array([[64]], np.uint8))


@pytest.mark.parametrize("layout", FORMATS, ids=str)
def test_the_stated_relative_error_is_reached_and_never_exceeded(layout):
    """Between two neighbours the error over the value is greatest at the midpoint; beyond the greatest code at 2^E."""
    grid = np.unique(np.abs(layout.table))
    points = np.concatenate([(grid[1:-1] + grid[2:]) / 2, [2.0**layout.span_bits]])
    rounded = to_real(encode(points, layout, layout.span_bits), layout, layout.span_bits)
    errors = [abs(Fraction(float(y)) - Fraction(x)) / Fraction(x) for x, y in zip(points.tolist(), rounded, strict=True)]
    assert max(errors) == (Fraction(1, 3) if layout.magnitude_bits > 1 else Fraction(1, 2))


def test_formats_have_names():
    assert data_format("pint8").code == CodeFormat(8, 2)
    assert data_format("bfp6").code == CodeFormat(6, 1)
    assert (data_format("dfx16").code, data_format("dfx16").tracked) == (CodeFormat(16, 1), True)
    assert data_format("fp32").code is None


@pytest.mark.parametrize("name", ["int1", "pint", "pint2", "bfp17", "bfp08", "fp16", "8"])
def test_an_unknown_name_lists_the_known_ones(name):
    with pytest.raises(ValueError, match=r"pint3 \.\.\. pint16 .*bfp2 \.\.\. bfp16 .*dfx2 \.\.\. dfx16 .*int2 \.\.\. int16 .*fp32"):
        data_format(name)


FLOATS = TableFormat(5, (0, 1, 2, 3, 4, 6, 8, 12, 16, 24))
"""Two bits of mantissa, and fewer codes than five bits have."""


def _nearest(x: Fraction) -> int:
    """Code of a magnitude: of the nearest ones the even one."""
    distances = [abs(x - magnitude) for magnitude in FLOATS.magnitudes]
    return min((distance, code % 2, code) for code, distance in enumerate(distances))[2]


def test_codes_of_a_table_are_the_nearest():
    """Real values and integers, of finer and of coarser units than that of the codes."""
    assert (FLOATS.span_bits, FLOATS.greatest) == (5, 24)
    for unit in range(-7, 3):
        integers = np.arange(-300, 300)
        found = [(_nearest(Fraction(abs(v)) * Fraction(2) ** unit), v < 0) for v in integers.tolist()]
        wanted = [code | (16 if is_negative and code else 0) for code, is_negative in found]
        assert encode_integers(integers, unit, FLOATS, FLOATS.span_bits).tolist() == wanted
        assert encode(np.ldexp(integers.astype(float), unit), FLOATS, FLOATS.span_bits).tolist() == wanted


def test_codes_of_a_table_are_checked():
    codes = np.array([0, 9, 16 + 9], np.uint8)
    assert decode(codes, FLOATS).tolist() == [0, 24, -24]
    with pytest.raises(ValueError, match="code 10 does not exist"):
        decode(codes + np.uint8(1), FLOATS)
    with pytest.raises(ValueError, match="stochastic rounding: codes of a table, and of squares, are rounded to nearest"):
        encode([1.0], FLOATS, 0, "stochastic")


@pytest.mark.parametrize("magnitudes", [(0,), (1, 2), (0, 2, 2), (0, *range(1, 17)), (0, 2**32)])
def test_a_table_that_cannot_be_is_refused(magnitudes):
    with pytest.raises(ValueError, match="magnitudes"):
        TableFormat(5, magnitudes)


def test_products_of_codes_of_a_table_are_those_of_their_integers():
    codes = np.array([3, 9, 16 + 7], np.uint8)
    assert multiply(codes, codes[::-1], FLOATS, FLOATS).tolist() == [-36, 576, -36]
    segments = encode([0.5], CodeFormat(8, 2), 0)
    assert multiply(codes[:1], segments, FLOATS, CodeFormat(8, 2)).tolist() == [3 * 2**11]


def test_the_functional_machine_has_the_same_codes():
    """`etasim.functional.scalars` rounds integers one by one, and shares nothing with the numerics."""
    magnitudes = np.array(FLOATS.magnitudes)
    for shift in (-70, -40, -3, -1, 0, 1, 2, 5, 40, 62, 64, 100):
        values = [v * (1 << max(shift, 0) % 57) // 8 for v in range(-250, 250)] + [2**62 - 1, 1, 0, -1]
        ours = [encode_in_table(v, shift, magnitudes, 5) for v in values]
        assert ours == encode_integers(np.array(values), 0, FLOATS, shift + FLOATS.span_bits).tolist()
