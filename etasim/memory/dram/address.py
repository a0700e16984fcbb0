"""Address mapping: byte address -> channel, bank, row, column, by bit tables.

Channels are interleaved on the global byte address. Inside a channel the burst index is cut into bit fields; the mapping string lists them
from the most to the least significant bit, ``ro:16,ba:3,bg:0,co:7``. A field may occur several times (its upper part first).
All sizes are powers of two, so the kernels need shifts and masks only.
"""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from etasim.config.dram_part import parse_mapping
from etasim.core.arrays import Integers
from etasim.core.jit import kernel

if TYPE_CHECKING:
    from etasim.memory.dram.spec import DramSpec

_SHIFT, _MASK, _PLACE = range(3)


def bits_of(count: int, key: str) -> int:
    """Binary logarithm; ValueError naming ``key`` unless ``count`` is a power of two."""
    if count < 1 or count & (count - 1):
        raise ValueError(f"dram.{key}: {count}, must be a power of two")
    return count.bit_length() - 1


class Slice(NamedTuple):
    """``mask`` of the burst index shifted right by ``shift`` goes to bit ``place`` of the field ``name``."""

    name: str
    shift: int
    mask: int
    place: int


def fields_of(mapping: str) -> tuple[tuple[str, int], ...]:
    """Fields and bits of a mapping string, most significant first. Raises ValueError when it is malformed."""
    try:
        return parse_mapping(mapping)
    except ValueError as error:
        raise ValueError(f"dram.mapping: {mapping!r}: {error}") from None


def slices_of(mapping: str, sizes: dict[str, int]) -> tuple[Slice, ...]:
    """Bit slices of a mapping string.

    ``sizes``: `etasim.config.dram_part.field_sizes`. A field of size one may be left out. Raises ValueError when the string is malformed
    or its bits do not add up to the organisation.
    """
    slices, shift, used = [], 0, dict.fromkeys(sizes, 0)
    for name, width in reversed(fields_of(mapping)):
        slices.append(Slice(name, shift, (1 << width) - 1, used[name]))
        used[name] += width
        shift += width
    for name, size in sizes.items():
        need = bits_of(size, f"part.organisation.{name}")
        if used[name] != need:
            raise ValueError(f"dram.mapping: {mapping!r} gives {used[name]} bits to {name}, the organisation needs {need}")
    return tuple(slices)


def in_bytes(slices: tuple[Slice, ...], burst_bits: int, interleave_bits: int, channel_bits: int) -> tuple[Slice, ...]:
    """The same slices as bits of the global byte address, which has the channel number above its ``interleave_bits`` low bits."""
    moved = []
    for name, shift, mask, place in slices:
        low = shift + burst_bits
        below = min(max(interleave_bits - low, 0), mask.bit_length())
        moved.append(Slice(name, low, (1 << below) - 1, place))
        moved.append(Slice(name, low + below + channel_bits, mask >> below, place + below))
    return tuple(s for s in moved if s.mask)


def gather_table(slices: tuple[Slice, ...], fields: tuple[str, ...], sizes: dict[str, int]) -> np.ndarray:
    """Rows (shift, mask, place) that gather several fields into one number, the last field in the least significant bits."""
    rows, base = [], 0
    for name in reversed(fields):
        rows += [(s.shift, s.mask, base + s.place) for s in slices if s.name == name]
        base += bits_of(sizes[name], f"part.organisation.{name}")
    return np.array(rows, np.int64).reshape(-1, 3)


def gathered(table: Integers, addresses: Integers) -> Integers:
    """What `gather` makes of each of many addresses."""
    shift, mask, place = table.T[:, :, np.newaxis]
    return ((addresses >> shift & mask) << place).sum(axis=0)


@kernel
def gather(table: Integers, address: int) -> int:
    """The number that a gather table makes of an address."""
    value = address & 0
    for s in range(table.shape[0]):
        value |= ((address >> table[s, _SHIFT]) & table[s, _MASK]) << table[s, _PLACE]
    return value


@kernel
def channel_of(spec: "DramSpec", byte_address: int) -> int:
    """DRAM channel that holds a global byte address."""
    return (byte_address >> spec.interleave_bits) & (spec.n_channels - 1)
