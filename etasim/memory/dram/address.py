"""Address mapping: byte address -> channel, rank, bank group, bank, row, column.

Channels are interleaved on the global byte address. Inside a channel the burst index is cut into bit fields; the mapping string lists them
from the most to the least significant bit, ``ro:16,ba:3,bg:0,co:7``. A field may occur several times (its upper part first).
"""

from typing import NamedTuple

import numpy as np

from etasim.core.jit import kernel

FIELDS = ("ra", "bg", "ba", "ro", "co")
_SHIFT, _MASK, _PLACE = range(3)


def _bits(count: int, what: str) -> int:
    if count < 1 or count & (count - 1):
        raise ValueError(f"organisation.{what}: {count}, must be a power of two")
    return count.bit_length() - 1


class Slice(NamedTuple):
    """``mask`` of the burst index shifted right by ``shift`` goes to bit ``place`` of the field ``name``."""

    name: str
    shift: int
    mask: int
    place: int


def parse_mapping(mapping: str, sizes: dict[str, int]) -> tuple[Slice, ...]:
    """Bit slices of a mapping string.

    ``sizes`` holds the number of ranks, bank groups, banks of a group, rows and burst columns under the field names. A field of size
    one may be left out. Raises ValueError when the string is malformed or its bits do not add up to the organisation.
    """
    slices, shift, used = [], 0, dict.fromkeys(FIELDS, 0)
    for part in reversed(mapping.split(",")):
        name, _, width = part.strip().partition(":")
        if name not in FIELDS or not width.isdigit():
            raise ValueError(f"dram.mapping: {part.strip()!r} in {mapping!r}, must be field:bits with a field of {', '.join(FIELDS)}")
        slices.append(Slice(name, shift, (1 << int(width)) - 1, used[name]))
        used[name] += int(width)
        shift += int(width)
    for name, size in sizes.items():
        need = _bits(size, name)
        if used[name] != need:
            raise ValueError(f"dram.mapping: {mapping!r} gives {used[name]} bits to {name}, the organisation needs {need}")
    return tuple(slices)


def gather_table(slices: tuple[Slice, ...], fields: tuple[str, ...], sizes: dict[str, int]) -> np.ndarray:
    """Rows (shift, mask, place) that gather several fields into one number, the last field in the least significant bits."""
    rows, base = [], 0
    for name in reversed(fields):
        rows += [(s.shift, s.mask, base + s.place) for s in slices if s.name == name and s.mask]
        base += _bits(sizes[name], name)
    return np.array(rows, np.int64).reshape(-1, 3)


@kernel
def gather(table, burst_index):
    """The number that a gather table makes of a burst index (of an array of them, outside the JIT)."""
    value = burst_index & 0
    for s in range(table.shape[0]):
        value |= ((burst_index >> table[s, _SHIFT]) & table[s, _MASK]) << table[s, _PLACE]
    return value


@kernel
def channel_of(spec, byte_address):
    """DRAM channel that holds a global byte address."""
    return byte_address // spec.channel_interleave_bytes % spec.n_channels


@kernel
def burst_index_of(spec, byte_address):
    """Index of the burst inside its channel."""
    block_bytes = spec.channel_interleave_bytes
    block = byte_address // (block_bytes * spec.n_channels)
    return (block * block_bytes + byte_address % block_bytes) // spec.burst_bytes
