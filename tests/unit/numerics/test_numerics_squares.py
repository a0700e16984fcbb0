"""Squares that share a scale are MXINT8 blocks of 64 values that wait as 16-bit integers: beside the reference of the specification."""

import numpy as np
import pytest

from etasim.functional import squares
from etasim.numerics.codec import decode, encode, encode_integers, to_real
from etasim.numerics.format import SquareFormat
from etasim.numerics.reference.blocks import BlockReference
from etasim.numerics.reference.value import of_codes, quantized

MAPS, WEIGHTS = SquareFormat((1, 3)), SquareFormat((0, 1))
E = 3
UNIT = MAPS.unit(E)


def waiting(shape, seed=0):
    """16-bit integers of all sizes, whole squares of small ones among them."""
    random = np.random.default_rng(seed)
    size = random.integers(0, 16, (shape[0], -(-shape[1] // 8), shape[2], -(-shape[3] // 8)))
    size = np.repeat(np.repeat(size, 8, 1), 8, 3)[:, : shape[1], :, : shape[3]]
    return random.integers(-(2**15) + 1, 2**15, shape) >> size


def squares_of(array, axes):
    """Each square of an array [A, B, C, D] as a mask."""
    for index in np.ndindex(*(-(-n // 8) if axis in axes else n for axis, n in enumerate(array.shape))):
        yield tuple(slice(8 * i, 8 * i + 8) if axis in axes else slice(i, i + 1) for axis, i in enumerate(index))


@pytest.mark.parametrize("code", [MAPS, WEIGHTS], ids=["maps", "weights"])
def test_codes_are_those_of_the_specification(code):
    """Scale and elements of each square, as long as its scale is one of the nine; smaller squares keep the unit of what waits."""
    v = waiting((9, 21, 3, 19))
    codes, reference, exact = encode_integers(v, UNIT, code, E), BlockReference("INT8"), 0
    for place in squares_of(v, code.axes):
        block = v[place].ravel()
        shifts = np.unique(codes[place] >> 8)
        assert len(shifts) == 1
        scale, elements = reference.encode(np.ldexp(block.astype(float), UNIT).tolist())
        if scale - 127 - 6 < UNIT:
            assert shifts[0] == 0
            assert np.array_equal(decode(codes[place], code).ravel(), block)
        else:
            exact += 1
            assert shifts[0] == scale - 127 - 6 - UNIT
            assert (codes[place] & 255).ravel().tolist() == elements
    assert exact > 50


def test_every_code_has_its_integer_and_comes_back():
    codes = np.arange(2**16).astype(np.uint16)
    existing = codes[MAPS.exists(codes)]
    assert len(existing) == 9 * 255
    integers = decode(existing, MAPS)
    assert np.array_equal(integers, (existing & 255).astype(np.int8).astype(int) * 2 ** (existing >> 8).astype(int))
    assert MAPS.greatest == integers.max() == 127 << 8
    assert to_real(existing, MAPS, E).max() == 127 * 2.0 ** (UNIT + 8)
    for missing in (0x80, 0x900, 0x880):
        with pytest.raises(ValueError, match=f"code {missing} does not exist"):
            decode(np.array([missing], np.uint16), MAPS)


def test_codes_of_what_they_stand_for_are_the_same_values():
    v = waiting((5, 8, 4, 16), seed=1)
    first = of_codes(encode_integers(v, UNIT, MAPS, E), E, MAPS)
    assert np.array_equal(of_codes(first.codes(), E, MAPS).integers, first.integers)
    reals = np.ldexp(v.astype(np.float64), UNIT)
    assert np.array_equal(encode(reals, MAPS, E), encode_integers(v, UNIT, MAPS, E))
    assert np.array_equal(quantized(reals, MAPS, E).integers, first.integers)


def test_values_saturate_and_round_to_even():
    row = np.zeros((1, 8, 1, 8), int)
    row[0, :4, 0, 0] = 2**20, -(2**20), 3 * 2**7, 2**7
    assert decode(encode_integers(row, UNIT, MAPS, E), MAPS)[0, :4, 0, 0].tolist() == [127 << 8, -127 << 8, 2 << 8, 0]
    with pytest.raises(ValueError, match="stochastic rounding: codes of a table, and of squares, are rounded to nearest"):
        encode(row.astype(float), MAPS, E, "stochastic")
    with pytest.raises(ValueError, match="must be finite"):
        encode(np.full((1, 8, 1, 8), np.nan), MAPS, E)


@pytest.mark.parametrize("width", [1, 5, 8, 12, 16])
def test_bytes_have_a_scale_in_front_of_each_square(width):
    v = waiting((2, 8, 3, width), seed=width)
    codes = encode_integers(v, UNIT, MAPS, E).transpose(0, 2, 3, 1).reshape(1, 2, -1)  # [block, sample, row, column, channel]
    data = squares.to_bytes(codes, 8 * width)
    assert data.shape[2] == 3 * (8 * width + -(-width // 8)) == squares.bytes_until(3 * 8 * width, 8 * width)
    assert data[0, 0, 0] == codes[0, 0, 0] >> 8
    assert np.array_equal(data[0, 0, 1:9], codes[0, 0, :8] & 255)
    assert np.array_equal(squares.from_bytes(data, 8 * width), codes)
    integers = np.zeros(codes.shape[2], np.int64)
    assert squares.decode_squares(data[0, 1], 0, len(integers), 8 * width, 0, integers, 0) == data.shape[2]
    assert np.array_equal(integers, decode(codes[0, 1], MAPS))
