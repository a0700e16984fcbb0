"""What the planner is asked and what it answers."""

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np

from etasim.schedule.patterns import PATTERN, Pattern

Splits = tuple[tuple[int, int], ...]
"""Ways to split the clusters: parts along the first axis of a phase (`etasim.schedule.pinning.AXES`), and parts of the samples."""


FREE = -1
"""In the place of a number that the planner may choose."""


class PinNumbers(NamedTuple):
    """Numbers of a mapping that are given; `FREE` where they are not. ``outer``: that of `etasim.schedule.choices.OUTERS`."""

    result_slices: int = FREE
    slice_blocks: int = FREE
    stream_slices: int = FREE
    band_samples: int = FREE
    band_rows: int = FREE
    outer: int = FREE
    stream_resident: int = FREE
    stationary_resident: int = FREE
    reduction_blocks: int = FREE


class Pinned(NamedTuple):
    """What is given of a mapping: ``splits`` to choose from, all if there are none; numbers; the tiles of each pattern, any if there
    are none."""

    splits: Splits = ()
    numbers: PinNumbers = PinNumbers()
    tiles: "tuple[TileShape, ...]" = ()


NOTHING_PINNED = Pinned()


class Follow(NamedTuple):
    """What the unified core makes of an element of results, tile by tile: ``passes`` of ``lane_operations`` in all, bits that are loaded
    and stored for it, and bits of the error buffer that it and they take. ``is_hidden``: WG follows, beside which all this has time.
    ``in_pieces``: it needs no whole planes. ``core_is_next``: what comes next is the unified core's alone, so that
    nothing is multiplied beside the passes of the last tile."""

    passes: int = 0
    lane_operations: float = 0.0
    load_bits: float = 0.0
    store_bits: float = 0.0
    held_bits: float = 0.0
    is_hidden: bool = False
    in_pieces: bool = False
    core_is_next: bool = False


NOTHING_FOLLOWS = Follow()


class ProblemNumbers(NamedTuple):
    """What kernels read of a `ConvProblem`."""

    weights_by_result: bool
    kernel_positions: int
    stream_blocks: int
    result_blocks: int
    batch: int
    stream_vector_bits: int
    stationary_vector_bits: int
    result_element_bytes: int
    follow: Follow

    @property
    def is_all_numbers(self) -> bool:
        """Whether kernels see it (`etasim.core.layout`)."""
        return True


@dataclass(frozen=True)
class ConvProblem:
    """One convolution in one phase and one channel group, in channel blocks.

    ``stream_blocks`` are the channel blocks of the streamed operand, ``result_blocks`` those that the PEs produce (FF, BP) or hold
    (WG: of dO). ``name`` is for messages: layers of one shape are one problem, and planned once. ``*_vector_bits``: the lanes of a pixel or
    weight of an operand as they are stored, with their part of the scales that they share; ``product_bits``: those of both factors.
    """

    name: str = field(compare=False)
    phase: str
    patterns: tuple[Pattern, ...]
    kernel_positions: int
    stream_blocks: int
    result_blocks: int
    batch: int
    stream_vector_bits: int
    stationary_vector_bits: int
    result_element_bytes: int
    follow: Follow = NOTHING_FOLLOWS
    product_bits: int = 16

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        """Computed once: problems are part of the keys of many caches."""
        own = self.phase, self.patterns, self.stream_blocks, self.result_blocks, self.batch, self.kernel_positions, self.follow
        return hash((*own, self.stream_vector_bits, self.stationary_vector_bits))

    @cached_property
    def unfollowed(self) -> "ConvProblem":
        """The same, whatever follows it: clusters and network do not meet that."""
        return replace(self, follow=NOTHING_FOLLOWS)

    @property
    def weights_by_result(self) -> bool:
        """Whether DRAM holds the weights of a result block one after the other, as it does for FF; else those of a streamed block."""
        return self.phase == "ff"

    @cached_property
    def numbers(self) -> ProblemNumbers:
        """As kernels see it, with `pattern_records`."""
        return ProblemNumbers(*(getattr(self, name) for name in ProblemNumbers._fields))

    @cached_property
    def pattern_records(self) -> np.ndarray:
        """Its patterns, records of `PATTERN` [patterns]."""
        return np.array([pattern.numbers for pattern in self.patterns], PATTERN).view(np.recarray)


class Band(NamedTuple):
    """Samples and rows of the result grid that are loaded and drained together; whole samples unless one is too large."""

    first_sample: int
    n_samples: int
    first_row: int
    end_row: int


class TileShape(NamedTuple):
    """A pass on one cluster: ``samples`` whole samples, or ``pixels`` of one sample (``samples`` = 0). ``by_row``: every row is cut by
    itself, so that a tile is a part of a row and reads no other columns than its own."""

    samples: int
    pixels: int
    slices_per_chunk: int
    taps_per_chunk: int
    by_row: int = 0


class Allotment(NamedTuple):
    """Split of the clusters, and what the psums of each hold; the fields are those of `Plan`."""

    split: int
    sample_parts: int
    result_slices: int
    slice_blocks: int
    stream_slices: int
    taps: int


class Plan(NamedTuple):
    """The chosen mapping. ``split`` clusters share the streamed operand, ``clusters / (split sample_parts)`` the stationary one.

    ``result_slices`` PE slices of results are resident in a cluster's psums (WG: with ``stream_slices`` column slices and ``taps``
    positions), each of ``slice_blocks`` channel blocks: all that its PEs cover, or fewer, whose results are the sooner there.
    ``outer``: operand whose tiles change in the outer loop; ``stream_resident`` / ``stationary_resident``: loaded once for the whole
    operation. ``reduction_blocks`` (FF, BP): streamed blocks whose operands are loaded at a time; if these are not all, the psums keep
    the sums while one part of the operands after the other comes. ``sample_parts`` (WG): the tiles of the batch are dealt out to so many
    parts of the clusters, and the network adds their sums.
    """

    split: int
    result_slices: int
    slice_blocks: int
    stream_slices: int
    taps: int
    shapes: tuple[TileShape, ...]
    bands: tuple[Band, ...]
    outer: str
    stream_resident: bool
    stationary_resident: bool
    reduction_blocks: int
    dram_bytes: int
    cycles: float
    sample_parts: int = 1

    @property
    def own_blocks(self) -> int:
        """Result blocks of a cluster."""
        return self.result_slices * self.slice_blocks

    @property
    def at_no_cost(self) -> "Plan":
        """The same mapping, whatever it takes: that depends on parts of a machine that have nothing else to do with it."""
        return self._replace(dram_bytes=0, cycles=0.0)
