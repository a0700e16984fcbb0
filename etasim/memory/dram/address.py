"""Address mapping: byte address -> channel, bank, row, column, by bit tables.

Channels are interleaved on the global byte address. Inside a channel the burst index is cut into bit fields; the mapping string lists them
from the most to the least significant bit, ``ro:16,ba:3,bg:0,co:7``. A field may occur several times (its upper part first).
All sizes are powers of two, so the kernels need shifts and masks only.
"""

import re
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from etasim.core.arrays import Integers
from etasim.core.jit import kernel

if TYPE_CHECKING:
    from etasim.memory.dram.spec import DramSpec

FIELDS = ("ra", "bg", "ba", "ro", "co")
_FIELD = re.compile(rf"\s*({'|'.join(FIELDS)}):([0-9]{{1,2}})\s*")
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


def mapping_bits(mapping: str, field: str) -> int:
    """Bits that a mapping string gives to ``field``; what is not well formed counts as none."""
    fields = (_FIELD.fullmatch(part) for part in mapping.split(","))
    return sum(int(found[2]) for found in fields if found and found[1] == field)


def field_sizes(config: Any) -> dict[str, int]:
    """Ranks of a channel, bank groups of a rank, banks of a group, rows of a bank and bursts of a row, under the names of the fields.

    ``config``: a ``dram`` section.
    """
    organisation = config.part.organisation
    return {
        "ra": config.ranks, "bg": organisation.bank_groups, "ba": organisation.banks, "ro": organisation.rows,
        "co": organisation.columns // organisation.burst_length,
    }  # fmt: skip


def parse_mapping(mapping: str, sizes: dict[str, int]) -> tuple[Slice, ...]:
    """Bit slices of a mapping string.

    ``sizes``: `field_sizes`. A field of size one may be left out. Raises ValueError when the string is malformed or its bits do not add
    up to the organisation.
    """
    slices, shift, used = [], 0, dict.fromkeys(FIELDS, 0)
    for part in reversed(mapping.split(",")):
        found = _FIELD.fullmatch(part)
        if not found:
            raise ValueError(f"dram.mapping: {part.strip()!r} in {mapping!r}, must be field:bits with a field of {', '.join(FIELDS)}")
        name, width = found[1], int(found[2])
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
