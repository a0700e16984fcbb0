"""Codes whose values share scales in squares (`etasim.numerics.format.SquareFormat`), from values that wait for them."""

import numpy as np

from etasim.numerics.arithmetic import bit_length, integer_limit, round_clip
from etasim.numerics.format import ELEMENT_BITS, SQUARE_SIDE, WAITING_BITS, SquareFormat


def codes_of_integers(v: np.ndarray, shift: np.ndarray, code: SquareFormat) -> np.ndarray:
    """Codes of the integers ``v``, 2^``shift`` of which are the unit."""
    return _codes(round_clip(v, shift, integer_limit(WAITING_BITS)), code)


def codes_of_reals(values: np.ndarray, exponents: np.ndarray, code: SquareFormat) -> np.ndarray:
    """Codes of finite real ``values`` with ``exponents``, one for each."""
    limit = integer_limit(WAITING_BITS)
    in_units = np.ldexp(values.astype(np.float64), -code.unit(exponents))
    return _codes(np.clip(np.rint(in_units), -limit, limit).astype(np.int64), code)


def _codes(waiting: np.ndarray, code: SquareFormat) -> np.ndarray:
    greatest = np.abs(waiting)
    for axis in code.axes:
        greatest = np.maximum.reduceat(greatest, np.arange(0, waiting.shape[axis], SQUARE_SIDE), axis)
    shifts = np.maximum(bit_length(greatest) - (ELEMENT_BITS - 1), 0)
    for axis in code.axes:
        shifts = np.take(shifts, np.arange(waiting.shape[axis]) // SQUARE_SIDE, axis)
    elements = round_clip(waiting, shifts, integer_limit(ELEMENT_BITS))
    return (shifts << ELEMENT_BITS | elements & 2**ELEMENT_BITS - 1).astype(code.dtype)
