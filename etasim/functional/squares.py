"""Codes that share scales in squares, as they lie in memory: in front of as many vectors of a row as a square is wide, a byte with their
shift (`etasim.numerics.format.SquareFormat`). A kernel position of weights is a row that is one square.

Rows are 8 lanes wide, so that a square is as large as what follows its byte, and takes the bytes that the timing counts
(`etasim.mapping.scales`).
"""

import numpy as np

from etasim.core.arrays import Integers, Numbers
from etasim.core.jit import kernel, routine
from etasim.functional.scalars import bit_length, clipped_shift
from etasim.numerics.format import ELEMENT_BITS, SQUARE_SIDE

SQUARE = SQUARE_SIDE**2
_SIGN, _LIMIT = 1 << (ELEMENT_BITS - 1), (1 << (ELEMENT_BITS - 1)) - 1


@kernel
def bytes_until(element: int, row_elements: int) -> int:
    """Bytes of a plane before ``element``, which begins a square, or ends a piece."""
    rest = element % row_elements
    return element // row_elements * (row_elements + (row_elements + SQUARE - 1) // SQUARE) + rest + (rest + SQUARE - 1) // SQUARE


@kernel
def left_in_square(element: int, row_elements: int) -> int:
    """Elements from ``element`` to the end of its square."""
    within = element % row_elements
    return min(SQUARE - within % SQUARE, row_elements - within)


@kernel
def _integer(code: int, shift: int) -> int:
    """What an element of a square stands for."""
    return ((code ^ _SIGN) - _SIGN) << shift


@routine
def decode_squares(
    source: Numbers, start: int, n_elements: int, row_elements: int, first: int, target: Integers, to: int
) -> int:
    """``n_elements`` from byte ``start`` on become integers from ``target`` [to] on; the first is number ``first`` of its row and begins a
    square. Returns the byte behind them."""
    done, at = 0, start
    while done < n_elements:
        n = min(left_in_square(first + done, row_elements), n_elements - done)
        for i in range(n):
            target[to + done + i] = _integer(int(source[at + 1 + i]), int(source[at]))
        done, at = done + n, at + 1 + n
    return at


@routine
def unpack_squares(
    buffer: Numbers, start: int, origin: int, first: int, n_elements: int, row_elements: int, pieces: Integers, row: int
) -> None:
    """Elements ``first ...`` of a piece of a plane whose element ``origin`` begins at byte ``start``, as integers."""
    before = bytes_until(origin, row_elements)
    for i in range(n_elements):
        element = origin + first + i
        place = element % row_elements % SQUARE
        at = start + bytes_until(element - place, row_elements) - before
        pieces[row, i] = _integer(int(buffer[at + 1 + place]), int(buffer[at]))


@routine
def pack_square(buffer: Numbers, at: int, n_elements: int, pieces: Integers, row: int) -> None:
    """Integers of a square, which waited for its scale, become its shift and elements from byte ``at`` on."""
    greatest = 0
    for i in range(n_elements):
        greatest = max(greatest, abs(pieces[row, i]))
    shift = max(bit_length(greatest) - ELEMENT_BITS + 1, 0)
    buffer[at] = shift
    for i in range(n_elements):
        buffer[at + 1 + i] = clipped_shift(pieces[row, i], shift, _LIMIT) & 255


def to_bytes(elements: np.ndarray, row_elements: int) -> np.ndarray:
    """Codes [block, plane, element] as bytes [block, plane, byte]."""
    rows, parts = elements.reshape(*elements.shape[:2], -1, row_elements), []
    for first in range(0, row_elements, SQUARE):
        square = rows[..., first : first + SQUARE]
        parts += [(square >> ELEMENT_BITS).max(-1, keepdims=True), square & 255]  # places of no channel are 0
    return np.concatenate(parts, -1).astype(np.uint8).reshape(*elements.shape[:2], -1)


def from_bytes(data: np.ndarray, row_elements: int) -> np.ndarray:
    """The inverse; places of no channel have the shift of their square."""
    n_squares = -(-row_elements // SQUARE)
    rows, parts = data.reshape(*data.shape[:2], -1, row_elements + n_squares).astype(np.int64), []
    for first in range(0, row_elements, SQUARE):
        at = first + first // SQUARE
        parts.append(rows[..., at : at + 1] << ELEMENT_BITS | rows[..., at + 1 : at + 1 + min(SQUARE, row_elements - first)])
    return np.concatenate(parts, -1).reshape(*data.shape[:2], -1)
