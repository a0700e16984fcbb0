"""What the estimate's compiled timing reads and writes: records that `etasim.estimate.pipeline` fills, and times that change from tile to
tile. Times are core cycles."""

from typing import Any, NamedTuple

import numpy as np

from etasim.program.commands import N_DMA

CORES, CLUSTERS, HOST = range(N_DMA, N_DMA + 3)
"""Engines beside those of the DMA; the clusters as one: the most loaded of them."""
N_ENGINES = N_DMA + 3

KIND = np.dtype([("count", "i8"), ("amounts", "f8", N_ENGINES), ("n_passes", "i8"), ("held_bytes", "i8"),
                 ("words_in", "f8"), ("words_out", "f8")])  # fmt: skip
"""A `TileKind`, amounts by engine."""
LOADS = np.dtype([("engine", "i8"), ("n_pieces", "i8"), ("piece_bytes", "f8"), ("n_parts", "i8"), ("n_held", "i8"),
                  ("n_steps", "i8"), ("n_repeats", "i8")])  # fmt: skip
"""A `Loads`, and the pieces of it that its buffer holds."""
INPUT = np.dtype([("engine", "i8"), ("tensor", "i8"), ("is_whole", "i8"), ("on_chip", "i8")])
"""A tensor, by number, that an engine reads, or need not, because it lives on chip."""
JOB = np.dtype([
    ("first_kind", "i8"), ("end_kind", "i8"), ("first_load", "i8"), ("end_load", "i8"), ("first_input", "i8"), ("end_input", "i8"),
    ("first_output", "i8"), ("end_output", "i8"), ("first_arriving", "i8"), ("end_arriving", "i8"), ("n_tiles", "i8"), ("n_rounds", "i8"),
    ("n_block_groups", "i8"), ("groups_first", "i8"), ("fed_cycles", "f8"), ("chunk_cycles", "f8"), ("drain_cycles", "f8"),
    ("total", "f8", N_ENGINES), ("commands", "i8", N_ENGINES),
])  # fmt: skip
"""A `Job`: where its parts lie; the first of its kinds is what comes before the first tile."""
RESULT = np.dtype([
    ("begin", "f8"), ("dram_free", "f8"), ("is_begun", "i8", N_ENGINES), ("begun", "f8", N_ENGINES), ("done", "f8", N_ENGINES),
    ("busy", "f8", N_DMA), ("arrived_from", "f8"), ("arrived", "f8"),
])  # fmt: skip
"""What became of a job: when it began and by when the DRAM has moved its bytes; by engine, whether it had work, from when until when,
and of the DMA how long its bytes take it; from when until when the host brought what the job waited for."""


class FreeTimes(NamedTuple):
    """Times that change from tile to tile. ``free`` [engine], ``cores`` [core]; ``half_free`` [1]: half of the scratchpads; ``dealt`` [1]:
    groups of channel blocks so far."""

    free: Any
    cores: Any
    half_free: Any
    dealt: Any


class Written(NamedTuple):
    """When tensors are in DRAM. Entries [first[t], end[t]) of tensor t, none if nobody writes it: shares of the samples that are whole
    and that have their first blocks, and the times until which they are, in DRAM and (``held_times``) where they live on chip. ``used``
    [1]: entries so far."""

    shares: Any
    begun_shares: Any
    times: Any
    held_times: Any
    first: Any
    end: Any
    used: Any


class Tiles(NamedTuple):
    """The tiles of the job under way. ``stored``: when each was; ``held`` [1]: when the last was where it lives on chip; ``left``
    [operand, piece]: when a piece left its buffer; ``piece``, ``first_part``, ``whole`` [operand]: the last piece that was brought.
    ``n_steps`` of a tile; ``n_held``: tiles in the error buffer."""

    stored: Any
    held: Any
    n_stored: Any
    left: Any
    piece: Any
    first_part: Any
    whole: Any
    n_steps: int
    n_held: int
    first_core: int
    fill_cycles: float
