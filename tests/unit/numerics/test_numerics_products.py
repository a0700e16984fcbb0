"""Products by shifted magnitudes, and sums that never wrap."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etasim.numerics import CodeFormat, accumulate, decode, multiply


@pytest.mark.parametrize(
    ("format_a", "format_b"), [(CodeFormat(), CodeFormat()), (CodeFormat(8, 4), CodeFormat(6, 1)), (CodeFormat(16, 2), CodeFormat(16, 2))]
)
def test_every_product_is_that_of_the_integers(format_a, format_b):
    """All 65,536 pairs of 8-bit codes; with more bits the codes around each power of two."""
    a, b = codes_of(format_a), codes_of(format_b)
    products = multiply(a[:, None], b, format_a, format_b)
    integers_b = decode(b, format_b).tolist()
    assert products.tolist() == [[x * y for y in integers_b] for x in decode(a, format_a).tolist()]


def codes_of(layout):
    if layout.bits <= 8:
        return np.arange(2**layout.bits, dtype=layout.dtype)
    powers = 2 ** np.arange(layout.bits)
    return np.unique(np.concatenate([powers - 1, powers, powers + 1])).clip(0, 2**layout.bits - 1).astype(layout.dtype)


def test_codes_of_another_format_are_refused():
    with pytest.raises(TypeError, match="have type uint16"):
        multiply(np.zeros(1, np.uint8), np.zeros(1, np.uint8), CodeFormat(), CodeFormat(12, 2))


@given(st.lists(st.integers(-(2**12), 2**12), min_size=1, max_size=8), st.integers(4, 14))
def test_a_sum_is_exact_or_refused_where_python_integers_leave_the_range(terms, bits):
    running = [sum(terms[: i + 1]) for i in range(len(terms))]
    outside = [i for i, value in enumerate(running) if not -(2 ** (bits - 1)) <= value < 2 ** (bits - 1)]
    if outside:
        with pytest.raises(OverflowError, match=rf"sum \[\] leaves {bits} bits at term {outside[0]}$"):
            accumulate(terms, bits=bits)
    else:
        assert accumulate(terms, bits=bits) == running[-1]


def test_the_place_of_an_overflow_is_named():
    products = np.zeros((2, 5, 3), np.int64)
    products[1, 2:4, 0] = 2**46
    with pytest.raises(OverflowError, match=r"sum \[1, 0\] leaves 48 bits at term 3"):
        accumulate(products, axis=1)
    products[1, 3, 0] -= 1
    assert accumulate(products, axis=1)[1].tolist() == [2**47 - 1, 0, 0]


@pytest.mark.parametrize("sign", [1, -1])
def test_sums_that_would_wrap_around_64_bits_are_refused(sign):
    with pytest.raises(OverflowError, match="term 1"):
        accumulate([sign * (2**62 - 1), sign * (2**63 - 1), -sign * (2**63 - 1)], bits=63)


def test_sums_of_nothing_are_zero():
    assert accumulate(np.zeros((3, 0)), axis=1).tolist() == [0, 0, 0]
    with pytest.raises(ValueError, match=r"2 \.\.\. 63"):
        accumulate([1], bits=64)
