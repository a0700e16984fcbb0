"""Elements in bytes and integers in rows ``pieces[row]``: from one to the other, in the formats of `docs/models/arithmetic.md`."""

import numpy as np

from etasim.core.arrays import Integers, Numbers
from etasim.core.jit import routine
from etasim.functional.scalars import clipped_shift, decode, encode, encode_in_table


@routine
def unpack(buffer: Numbers, start_byte: int, first: int, n_elements: int, bits: int, is_signed: int, pieces: Integers, row: int) -> None:
    """Elements ``first ...`` of ``bits`` each (a divisor or a multiple of 8), little endian from ``start_byte``, as integers."""
    if bits < 8:
        for i in range(n_elements):
            at = (first + i) * bits
            pieces[row, i] = (np.int64(buffer[start_byte + (at >> 3)]) >> (at & 7)) & ((1 << bits) - 1)
        return
    n_bytes = bits >> 3
    for i in range(n_elements):
        pieces[row, i] = 0
    for k in range(n_bytes):
        at = start_byte + first * n_bytes + k
        for i in range(n_elements):
            pieces[row, i] |= np.int64(buffer[at + i * n_bytes]) << (8 * k)
    if is_signed:
        sign = 1 << (bits - 1)
        for i in range(n_elements):
            pieces[row, i] = (pieces[row, i] ^ sign) - sign


@routine
def pack(buffer: Numbers, start_byte: int, first: int, n_elements: int, bits: int, pieces: Integers, row: int) -> None:
    """The lowest ``bits`` of integers, where `unpack` finds them. The parts of a byte must come in order, from its first one on."""
    if bits < 8:
        for i in range(n_elements):
            at = (first + i) * bits
            before = np.int64(buffer[start_byte + (at >> 3)]) if at & 7 else 0
            buffer[start_byte + (at >> 3)] = before | (pieces[row, i] & ((1 << bits) - 1)) << (at & 7)
        return
    n_bytes = bits >> 3
    for k in range(n_bytes):
        at = start_byte + first * n_bytes + k
        for i in range(n_elements):
            buffer[at + i * n_bytes] = pieces[row, i] >> (8 * k) & 255


@routine
def decode_row(pieces: Integers, row: int, n_elements: int, magnitude_bits: int, bits: int) -> None:
    """Codes become the integers that they stand for."""
    for i in range(n_elements):
        pieces[row, i] = decode(pieces[row, i], magnitude_bits, bits)


@routine
def encode_row(pieces: Integers, row: int, first: int, end: int, shift: int, magnitude_bits: int, segments: int, bits: int) -> int:
    """Values first ... end become codes of value / 2^shift; returns the greatest magnitude before."""
    greatest = 0
    for i in range(first, end):
        greatest = max(greatest, abs(pieces[row, i]))
        pieces[row, i] = encode(pieces[row, i], shift, magnitude_bits, segments, bits)
    return greatest


@routine
def decode_row_by_table(pieces: Integers, row: int, n_elements: int, magnitudes: Integers, bits: int) -> None:
    """Codes of ``magnitudes`` become the integers that they stand for."""
    sign = 1 << (bits - 1)
    for i in range(n_elements):
        magnitude = magnitudes[pieces[row, i] & (sign - 1)]
        pieces[row, i] = -magnitude if pieces[row, i] & sign else magnitude


@routine
def encode_row_in_table(pieces: Integers, row: int, first: int, end: int, shift: int, magnitudes: Integers, bits: int) -> int:
    """Values first ... end become codes of value / 2^shift; returns the greatest magnitude before."""
    greatest = 0
    for i in range(first, end):
        greatest = max(greatest, abs(pieces[row, i]))
        pieces[row, i] = encode_in_table(pieces[row, i], shift, magnitudes, bits)
    return greatest


@routine
def limit_row(pieces: Integers, row: int, first: int, end: int, shift: int, limit: int) -> int:
    """Values first ... end become clip(value / 2^shift, limit); returns the greatest magnitude before."""
    greatest = 0
    for i in range(first, end):
        greatest = max(greatest, abs(pieces[row, i]))
        pieces[row, i] = clipped_shift(pieces[row, i], shift, limit)
    return greatest
