"""What an operation takes among its neighbours: engines that work side by side, buffers that hold so many tiles, and the ends.

A tile of results is on its way through loads, array, unified core and store. All engines work at once, on different tiles, so the slowest
sets the pace; so does a buffer, which holds so many pieces from the first byte that comes to the last that goes. What this operation waits
for at the beginning, and the one after it at the end, stands out as far as nothing else covers it.
"""

from typing import Any, NamedTuple

from etasim.core.jit import kernel, routine
from etasim.program.commands import LOAD_ACTIVATION, LOAD_ERROR, N_DMA, STORE


class Buffering(NamedTuple):
    """An operand comes in ``n_pieces``, of which its buffer holds ``n_held`` at once; 0: it never has to let one go."""

    n_pieces: int
    n_held: int


class Demand(NamedTuple):
    """What an operation asks for in all: ``n_tiles`` of results, of ``n_block_groups`` groups of channel blocks, with ``n_elements`` of
    ``element_bytes``, cycles of the array, bytes of each DMA engine, pieces of both operands.

    ``n_held``: tiles that the error buffer holds with what follows them; ``fill_cycles``: the first chunk on its way to the clusters,
    unless ``array_cycles`` have it. ``covered``: share of the tiles beside which the last one's way out has time. ``hidden_cycles``: what
    works beside the ends of the operation. ``n_samples``: of the batch.
    """

    n_tiles: int
    n_block_groups: int
    n_elements: int
    element_bytes: int
    array_cycles: float
    dma_bytes: tuple[float, ...]
    loads: tuple[Buffering, Buffering]
    n_held: int
    fill_cycles: float
    covered: float
    hidden_cycles: float
    n_samples: int


@kernel
def paced_cycles_per_byte(rates: Any, engine: int) -> float:
    """Cycles a byte of a DMA engine that has the DRAM for itself."""
    return max(rates.engine_cycles_per_byte[engine], rates.dram_cycles_per_byte)


@kernel
def dram_cycles(rates: Any, dma_bytes: tuple[float, ...]) -> float:
    """Cycles that the DRAM needs for what the DMA engines move, and by which an engine that is slower takes longer for its own: while it
    waits for the DRAM that serves the others, its slots are taken."""
    slower, together = 0.0, 0.0
    for engine in range(N_DMA):
        slower = max(slower, dma_bytes[engine] * (rates.engine_cycles_per_byte[engine] - rates.dram_cycles_per_byte))
        together += dma_bytes[engine]
    return slower + together * rates.dram_cycles_per_byte


@kernel
def unified_cycles(array: Any, follow: Any, demand: Demand) -> float:
    """Cycles of the unified cores: lanes or words of the passes, and their commands; a core has all tiles of the same channel blocks."""
    rates, n = array.rates, demand.n_elements
    words = follow.passes * n * demand.element_bytes / array.word_bytes
    work = max(follow.lane_operations * n / rates.vector_lanes, words)
    return (work + demand.n_tiles * follow.passes * rates.command_cycles) / min(rates.n_cores, max(demand.n_block_groups, 1))


@routine
def operation_cycles(array: Any, follow: Any, demand: Demand) -> float:
    """Cycles that the operation adds to an iteration; they never fall where ``demand.array_cycles`` rise. ``follow``: a `Follow`. The
    first tile's way through all engines but the slowest, which sets the pace, comes on top. Its way out is that of the operation before
    as well, unless the unified core's work comes next: then this one's passes stand out as far as they last longer than the array, and
    those before are taken to be of a sample."""
    rates, n = array.rates, demand.n_tiles
    each, vector = demand.array_cycles / n, unified_cycles(array, follow, demand) / n
    stored = demand.dma_bytes[STORE] * paced_cycles_per_byte(rates, STORE) / n
    loaded = demand.dma_bytes[LOAD_ERROR] * paced_cycles_per_byte(rates, LOAD_ERROR) / n
    way_in = rates.load_cycles + rates.feed_cycles
    way_out = rates.drain_cycles + vector + stored + rates.store_cycles
    if follow.load_bits:
        way_out += max(loaded, rates.load_cycles)
    slowest, n_held = max(each, vector - demand.hidden_cycles / n, stored), max(demand.n_held, 1)
    waiting = (n - n_held) * (each + way_out) / n_held  # for the error buffer
    total = max(n * slowest, slowest + waiting, dram_cycles(rates, demand.dma_bytes))
    for engine in range(2):
        load = demand.loads[engine]
        if load.n_held:
            moved = demand.dma_bytes[engine] * paced_cycles_per_byte(rates, engine)
            total = max(total, (demand.array_cycles + moved + load.n_pieces * way_in) / load.n_held)
    first = demand.dma_bytes[LOAD_ACTIVATION] * paced_cycles_per_byte(rates, LOAD_ACTIVATION) / max(4 * demand.loads[0].n_pieces, 1)
    begin, end = way_in + first + demand.fill_cycles, each + way_out - slowest
    if not follow.core_is_next:
        return total + max(begin + end - demand.covered * total - demand.hidden_cycles, 0.0)
    alone = max(demand.array_cycles + rates.drain_cycles + vector - total, 0.0)
    before = rates.drain_cycles + n * vector / demand.n_samples
    return total + alone + max(before + begin - demand.covered * total, 0.0)
