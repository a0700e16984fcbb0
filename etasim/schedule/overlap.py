"""What an operation takes among its neighbours: engines that work side by side, buffers that hold so many tiles, and the ends.

A tile of results is on its way through loads, array, unified core and store. All engines work at once, on different tiles, so the slowest
sets the pace; so does a buffer, which holds so many pieces from the first byte that comes to the last that goes. What this operation waits
for at the beginning, and the one after it at the end, stands out as far as nothing else covers it.
"""

from typing import NamedTuple

from etasim.program.commands import LOAD_ACTIVATION, LOAD_ERROR, STORE
from etasim.schedule.array import ArraySizes
from etasim.schedule.problem import Follow


class Buffering(NamedTuple):
    """An operand comes in ``n_pieces``, of which its buffer holds ``n_held`` at once; 0: it never has to let one go."""

    n_pieces: int
    n_held: int


class Demand(NamedTuple):
    """What an operation asks for in all: ``n_tiles`` of results with ``n_elements`` of ``element_bytes``, cycles of the array, bytes of
    each DMA engine, pieces of both operands.

    ``n_held``: tiles that the error buffer holds with what follows them; ``drain_cycles``: results of a tile's last pass on their way.
    ``covered``: share of the tiles beside which the last one's way out has time. ``hidden_cycles``: what works beside the ends of the
    operation.
    """

    n_tiles: int
    n_elements: int
    element_bytes: int
    array_cycles: float
    dma_bytes: tuple[float, ...]
    loads: tuple[Buffering, Buffering]
    n_held: int
    drain_cycles: float = 0.0
    covered: float = 1.0
    hidden_cycles: float = 0.0


def dram_cycles(array: ArraySizes, dma_bytes: tuple[float, ...]) -> float:
    """Cycles that the DRAM needs for what the DMA engines move, or one of them by itself: the longest."""
    rates = array.rates
    own = max(n * cycles for n, cycles in zip(dma_bytes, rates.engine_cycles_per_byte, strict=True))
    return max(own, sum(dma_bytes) * rates.dram_cycles_per_byte)


def unified_cycles(array: ArraySizes, follow: Follow, demand: Demand) -> float:
    """Cycles of the unified core: lanes or words of the passes, and their commands."""
    rates, n = array.rates, demand.n_elements
    words = follow.passes * n * demand.element_bytes / array.word_bytes
    work = max(follow.lane_operations * n / rates.vector_lanes, words)
    return (work + demand.n_tiles * follow.passes * rates.command_cycles) / min(rates.n_cores, max(demand.n_tiles, 1))


def operation_cycles(array: ArraySizes, follow: Follow, demand: Demand) -> float:
    """Cycles that the operation adds to an iteration; they never fall where ``demand.array_cycles`` rise."""
    rates, n = array.rates, demand.n_tiles
    alone = [max(own, rates.dram_cycles_per_byte) for own in rates.engine_cycles_per_byte]
    each, vector = demand.array_cycles / n, unified_cycles(array, follow, demand) / n
    stored, loaded = (demand.dma_bytes[engine] * alone[engine] / n for engine in (STORE, LOAD_ERROR))
    way_in = rates.load_cycles + rates.feed_cycles
    way_out = (
        rates.drain_cycles
        + demand.drain_cycles
        + vector
        + stored
        + rates.store_cycles
        + (max(loaded, rates.load_cycles) if follow.load_bits else 0.0)
    )
    pace = max(each, vector - demand.hidden_cycles / n, stored, (each + way_out) / max(demand.n_held, 1))
    total = max(n * pace, dram_cycles(array, demand.dma_bytes))
    for engine, (n_pieces, n_held) in enumerate(demand.loads):
        if n_held:
            total = max(total, (demand.array_cycles + demand.dma_bytes[engine] * alone[engine] + n_pieces * way_in) / n_held)
    first = demand.dma_bytes[LOAD_ACTIVATION] * alone[LOAD_ACTIVATION] / max(4 * demand.loads[0].n_pieces, 1)
    return total + max(way_in + first + way_out - demand.covered * total - demand.hidden_cycles, 0.0)
