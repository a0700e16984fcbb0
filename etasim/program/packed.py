"""Arrays in little room: differences from row to row, column by column, and these compressed.

What a program writes down repeats itself so much that it takes a twentieth of its room.
"""

import zlib
from typing import NamedTuple

import numpy as np

LEVEL = 1
"""Of compression: higher ones take longer than they are worth."""


class Packed(NamedTuple):
    """An array of records of whole numbers, or of rows of them."""

    data: bytes
    kind: np.dtype
    n_rows: int
    n_columns: int


def pack(array: np.ndarray) -> Packed:
    """``array`` [rows] of records, or [rows, columns] of whole numbers, in little room."""
    number = np.dtype(np.int64) if array.dtype.names else array.dtype
    columns = array.view(number).reshape(len(array), -1).T
    steps = np.diff(columns, axis=1, prepend=np.zeros((len(columns), 1), number))
    return Packed(zlib.compress(steps.tobytes(), LEVEL), array.dtype, len(array), len(columns))


def unpack(packed: Packed) -> np.ndarray:
    """What was packed."""
    number = np.dtype(np.int64) if packed.kind.names else packed.kind
    steps = np.frombuffer(zlib.decompress(packed.data), number).reshape(packed.n_columns, packed.n_rows)
    rows = np.ascontiguousarray(steps.cumsum(axis=1, dtype=number).T)
    return rows.view(packed.kind).reshape(packed.n_rows) if packed.kind.names else rows


class Shelf:
    """Arrays by number, not to be written to. Those that were put or asked for last stay as they are, up to ``most_bytes`` together; the
    others are packed until someone asks for them."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes, self._open_bytes = most_bytes, 0
        self._open: dict[int, np.ndarray] = {}
        self._packed: dict[int, Packed] = {}

    def __getitem__(self, number: int) -> np.ndarray:
        array = self._open.pop(number, None)
        if array is None:
            array = unpack(self._packed[number])
            self._open_bytes += array.nbytes
        self._open[number] = array
        self._close()
        return array

    def get(self, number: int, other: np.ndarray) -> np.ndarray:
        """The array, ``other`` if there is none."""
        try:
            return self[number]
        except KeyError:
            return other

    def __setitem__(self, number: int, array: np.ndarray) -> None:
        self._packed.pop(number, None)
        before = self._open.pop(number, None)
        self._open_bytes += array.nbytes - (0 if before is None else before.nbytes)
        self._open[number] = array
        self._close()

    def _close(self) -> None:
        """Pack what was used longest ago until the rest fits."""
        while self._open_bytes > self._most_bytes and len(self._open) > 1:
            number = next(iter(self._open))
            array = self._open.pop(number)
            self._open_bytes -= array.nbytes
            if number not in self._packed:
                self._packed[number] = pack(array)
