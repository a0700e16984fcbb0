"""Values that share scales along an axis, as they lie in memory (docs/models/scales.md).

A scale belongs to as many values along the axis that a product adds up: channels in FF and BP, pixels in WG. It is stored in equal parts
with the vectors (the lanes of a pixel, or of a weight) that it belongs to, so that who reads all of them has all of it. What is read
along two axes has a second copy, is quantised anew in between, or shares scales in squares.
"""

from typing import NamedTuple

from etasim.config import Architecture
from etasim.core.registry import DATA_FORMATS
from etasim.numerics.block import square_side
from etasim.numerics.element import SCALE_BITS
from etasim.schedule.tiling import ceil_div, vector_bytes

COPY, REQUANTISE, SQUARE = "copy", "requantise", "square"
"""Of ``numerics.second_direction``."""

FORMATS = {"output": "activation", "weight": "weight", "error": "error"}
"""Whose format the codes of a role have."""


class Stored(NamedTuple):
    """Vectors of ``lanes`` elements, ``vector_bits`` each with their part of the scales; rows of ``row_vectors`` begin at bytes.
    ``raw_bits``: of an element before its scale is known."""

    lanes: int
    vector_bits: int
    row_vectors: int
    raw_bits: int

    @property
    def row_elements(self) -> int:
        """Elements of a row."""
        return self.lanes * self.row_vectors

    def bytes_until(self, element: int) -> int:
        """Bytes of a plane before ``element``."""
        rows, rest = divmod(element // self.lanes, self.row_vectors)
        return rows * vector_bytes(self.row_vectors, self.vector_bits) + vector_bytes(rest, self.vector_bits)


def values_of_scale(architecture: Architecture, role: str) -> int | None:
    """Values along an axis that share a scale in the codes of ``role``; None if none do, or all of a tensor."""
    given = getattr(architecture.numerics, f"{FORMATS[role]}_format") if role in FORMATS else None
    return None if given is None else DATA_FORMATS[given].values_of_scale


def stored(architecture: Architecture, role: str, extent: int, row_vectors: int) -> Stored | None:
    """How codes of ``role`` are stored, of which ``extent`` lie along the axis of their scales; None: as they are, one after the other."""
    size = values_of_scale(architecture, role)
    if size is None:
        return None
    lanes, data = architecture.channel_block, architecture.data
    vectors_of_scales = extent  # on average a vector has lanes * scales / extent of the scales of all that lie side by side
    scales = ceil_div(extent, size)
    if architecture.numerics.second_direction == SQUARE:
        scales, vectors_of_scales = 1, square_side(size) ** 2
    bits = lanes * getattr(data, f"{FORMATS[role]}_bits") + ceil_div(SCALE_BITS * lanes * scales, vectors_of_scales)
    return Stored(lanes, bits, row_vectors, data.pre_normalization_bits)


def packed(n_channels: int, lanes: int, row_vectors: int, bits: int) -> Stored | None:
    """How maps of fewer channels than ``lanes`` are stored without what fills a block: as many bits a pixel as hold its channels, a power
    of two of bytes; None for maps that fill blocks."""
    vector_bits = max(1 << (n_channels * bits - 1).bit_length(), 8)
    return Stored(lanes, vector_bits, row_vectors, bits) if vector_bits < lanes * bits else None


def has_second(architecture: Architecture, role: str) -> bool:
    """Whether the codes of ``role`` lie in memory once for each axis along which they are added up."""
    return values_of_scale(architecture, role) is not None and architecture.numerics.second_direction != SQUARE
