"""Formats whose values share a power of two in blocks: those of the Open Compute Project's "Microscaling formats (MX) specification" v1.0
(2023), and 8-bit floating point ("OFP8 specification" v1.0, 2023) with a scale for a whole tensor.

A block's scale is 2^X, X = floor(log2 max |x|) - emax limited to -127 ... 127, where emax is the exponent of the greatest element; its code
(E8M0) is X + 127. Zeros have X = -127. An element is x / 2^X, to nearest, ties to even codes; greater ones become the greatest (saturate).
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from etasim.core.arrays import Numbers
from etasim.core.jit import entry
from etasim.numerics.codec import as_real, refuse_non_finite
from etasim.numerics.element import BlockFormat, FixedElement

SCALE_BIAS = 127
LEAST_SCALE, GREATEST_SCALE = -127, 127
NO_SCALE = 255
"""The scale code that stands for NaN."""


class Blocks(NamedTuple):
    """``codes`` uint8 of the shape of the values; ``scales`` uint8 [..., blocks along ``axis``, ...], or without axes for a whole
    tensor."""

    codes: np.ndarray
    scales: np.ndarray
    format: BlockFormat
    axis: int

    def real(self) -> np.ndarray:
        """The values that they stand for: float32, exact, and infinity from 2^128 on. The scale that means NaN gives NaN."""
        exponents = spread(self.scales.astype(np.int64) - SCALE_BIAS, self.format, self.codes.shape, self.axis)
        with np.errstate(invalid="ignore", over="ignore"):
            values = np.ldexp(self.format.element.table[self.codes], exponents)
            return np.where(exponents == NO_SCALE - SCALE_BIAS, np.nan, values).astype(np.float32)


def encode_blocks(values: npt.ArrayLike, data: BlockFormat, axis: int = -1) -> Blocks:
    """``values`` in ``data``, blocks along ``axis``. float32 is taken as it is, all else as float64. Raises ValueError for NaN and
    infinity."""
    values = as_real(values)
    if not np.isfinite(values).all():
        refuse_non_finite(values)
    greatest = np.abs(values).max(initial=0) if data.block is None else _greatest_of_blocks(np.abs(values), data.block, axis)
    exponents = np.where(greatest > 0, np.frexp(greatest)[1] - 1 - data.element.greatest_exponent, LEAST_SCALE)
    exponents = np.clip(exponents, LEAST_SCALE, GREATEST_SCALE).astype(np.int64)
    scaled = np.ldexp(values.astype(np.float64), -spread(exponents, data, values.shape, axis))
    return Blocks(data.element.encode(scaled), (exponents + SCALE_BIAS).astype(np.uint8), data, axis)


_MANTISSA_BITS, _SIGN_LESS = np.finfo(np.float32).nmant, np.int32(2**31 - 1)
_POWERS = np.ldexp(np.float32(1), np.arange(LEAST_SCALE, GREATEST_SCALE + 1))
"""2^X of each scale."""


def represent_fixed(values: np.ndarray, data: BlockFormat, axis: int) -> np.ndarray:
    """`encode_blocks(...).real()` of finite float32 ``values`` whose elements are fixed-point, in one pass."""
    element, shape = data.element, values.shape
    assert isinstance(element, FixedElement), "no floats"
    assert data.block is not None, "no scale for a whole tensor"
    values, real = np.ascontiguousarray(values), np.empty(shape, np.float32)
    rows, inner = int(np.prod(shape[:axis])), int(np.prod(shape[axis + 1 :]))
    shift, limit = np.float32(1.5 * 2.0 ** (_MANTISSA_BITS - element.fraction_bits)), np.float32(element.greatest)
    numbers = data.block, element.greatest_exponent, shift, limit, _POWERS
    if inner == 1:
        row_form = (rows, shape[axis])
        _represent_rows(values.reshape(row_form), values.view(np.int32).reshape(row_form), *numbers, real.reshape(row_form))
    else:
        form = (rows, shape[axis], inner)
        scratch = np.empty(inner, np.int32), np.empty((2, inner), np.float32)
        _represent_columns(values.reshape(form), values.view(np.int32).reshape(form), *numbers, *scratch, real.reshape(form))
    return real


@entry
def _represent_rows(
    values: Numbers, bits: Numbers, block: int, top: int, shift: np.float32, limit: np.float32, powers: Numbers, real: Numbers
) -> None:
    """Blocks along the rows of [rows, length]. ``bits``: those of the values; ``top``: exponent of the greatest element; ``shift``: what
    leaves no fraction of a step."""
    for row in range(values.shape[0]):
        for start in range(0, values.shape[1], block):
            stop = min(start + block, values.shape[1])
            greatest = np.int32(0)
            for i in range(start, stop):
                magnitude = bits[row, i] & _SIGN_LESS
                greatest = magnitude if magnitude > greatest else greatest
            scale = min(max(int(greatest >> _MANTISSA_BITS) - SCALE_BIAS - top, LEAST_SCALE), GREATEST_SCALE)
            unit, inverse = powers[scale - LEAST_SCALE], powers[-scale - LEAST_SCALE]
            for i in range(start, stop):
                scaled = (values[row, i] * inverse + shift) - shift
                scaled = scaled if scaled < limit else limit
                real[row, i] = (scaled if scaled > -limit else -limit) * unit


@entry
def _represent_columns(
    values: Numbers, bits: Numbers, block: int, top: int, shift: np.float32, limit: np.float32, powers: Numbers, greatest: Numbers,
    scales: Numbers, real: Numbers,
) -> None:  # fmt: skip
    """Blocks along the middle axis of [rows, length, columns], all columns side by side. ``greatest`` [columns] and ``scales`` [2, columns]
    are scratch; all else as of `_represent_rows`."""
    n = values.shape[2]
    for row in range(values.shape[0]):
        for start in range(0, values.shape[1], block):
            stop = min(start + block, values.shape[1])
            for j in range(n):
                greatest[j] = 0
            for i in range(start, stop):
                for j in range(n):
                    magnitude = bits[row, i, j] & _SIGN_LESS
                    greatest[j] = magnitude if magnitude > greatest[j] else greatest[j]
            for j in range(n):
                scale = min(max(int(greatest[j] >> _MANTISSA_BITS) - SCALE_BIAS - top, LEAST_SCALE), GREATEST_SCALE)
                scales[0, j], scales[1, j] = powers[scale - LEAST_SCALE], powers[-scale - LEAST_SCALE]
            for i in range(start, stop):
                for j in range(n):
                    scaled = (values[row, i, j] * scales[1, j] + shift) - shift
                    scaled = scaled if scaled < limit else limit
                    real[row, i, j] = (scaled if scaled > -limit else -limit) * scales[0, j]


def _greatest_of_blocks(magnitudes: np.ndarray, block: int, axis: int) -> np.ndarray:
    starts = np.arange(0, magnitudes.shape[axis], block)
    return np.maximum.reduceat(magnitudes, starts, axis) if len(starts) else magnitudes


def spread(of_blocks: np.ndarray, data: BlockFormat, shape: tuple[int, ...], axis: int) -> np.ndarray:
    """``of_blocks``, a number for each block, as one for each value of ``shape``."""
    if data.block is None:
        return np.broadcast_to(of_blocks, shape)
    return np.take(of_blocks, np.arange(shape[axis]) // data.block, axis)


def square_side(size: int) -> int:
    """Side of a square of at least ``size`` values: a power of two."""
    side = 1
    while side * side < size:
        side *= 2
    return side


def pack(codes: np.ndarray, bits: int) -> np.ndarray:
    """Codes of ``bits`` bits, of any shape, one after another in bytes, the first in the lowest bits; zeros fill the last byte."""
    places = (codes.reshape(-1, 1) >> np.arange(bits, dtype=np.uint8)) & 1
    return np.packbits(places.astype(np.uint8).reshape(-1), bitorder="little")


def unpack(packed: np.ndarray, bits: int, shape: tuple[int, ...]) -> np.ndarray:
    """The codes of ``shape`` in ``packed``, as `pack` wrote them. Raises ValueError if there are too few."""
    n = int(np.prod(shape))
    places = np.unpackbits(packed, count=n * bits, bitorder="little") if packed.size * 8 >= n * bits else None
    if places is None:
        raise ValueError(f"{packed.size} bytes hold less than {n} codes of {bits} bits")
    return (places.reshape(n, bits) << np.arange(bits, dtype=np.uint8)).sum(1, dtype=np.uint8).reshape(shape)
