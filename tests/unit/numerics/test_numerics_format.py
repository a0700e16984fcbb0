"""What a code stands for, which formats there are, and how wrong a rounded value can be."""

from fractions import Fraction

import numpy as np
import pytest

from etasim.numerics import CodeFormat, data_format, encode, to_real

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


@pytest.mark.parametrize("name", ["int8", "pint", "pint2", "bfp17", "bfp08", "fp16", "8"])
def test_an_unknown_name_lists_the_known_ones(name):
    with pytest.raises(ValueError, match=r"pint3 \.\.\. pint16 .*bfp2 \.\.\. bfp16 .*dfx2 \.\.\. dfx16 .*fp32"):
        data_format(name)
