"""Equal tiles after those that are worked out one by one: each engine goes on at its pace."""

from typing import Any

from etasim.core.jit import kernel, routine
from etasim.estimate.records import CLUSTERS, CORES, N_ENGINES, FreeTimes, Tiles
from etasim.program.commands import LOAD_ERROR, STORE
from etasim.schedule.overlap import paced_cycles_per_byte


@kernel
def _way_out(rates: Any, job: Any, kind: Any) -> float:
    """Cycles from a tile's last product to its last byte in DRAM, if it waits for nothing."""
    way: float = rates.drain_cycles + job.drain_cycles + kind.amounts[CORES] + kind.n_passes * rates.command_cycles
    if kind.amounts[STORE]:
        way += kind.amounts[STORE] * paced_cycles_per_byte(rates, STORE) + rates.store_cycles
    return way


@kernel
def _move_on(times: FreeTimes, tiles: Tiles, n_operands: int, result: Any, fed: float, done: float) -> None:
    """What brings and multiplies goes on for ``fed`` cycles as it did, what makes something of the results and stores it for ``done``."""
    for engine in range(N_ENGINES):
        is_out = engine in (LOAD_ERROR, STORE, CORES)
        if result.is_begun[engine]:
            result.done[engine] += done if is_out else fed
            if engine != CORES:
                times.free[engine] += done if is_out else fed
    for core in range(len(times.cores)):
        times.cores[core] += done
    for i in range(tiles.n_stored[0]):
        tiles.stored[i] += done
    tiles.held[0] += done
    for operand in range(n_operands):
        for piece in range(tiles.piece[operand] + 1):
            tiles.left[operand, piece] += fed
        tiles.first_part[operand] += fed
        tiles.whole[operand] += fed


@routine
def skip(
    rates: Any, times: FreeTimes, job: Any, tiles: Tiles, kind: Any, result: Any, count: int, fed_period: float, done_period: float,
    ends: float,
) -> float:  # fmt: skip
    """``count`` more tiles of a kind after one that is stored at ``ends``, each as long after the one before as the array took from tile
    to tile, and what follows it; when the last is stored. What follows may lag, for its own work before or because it is slower: it
    catches up, or the array waits for room in the error buffer."""
    if not kind.amounts[CLUSTERS]:
        _move_on(times, tiles, job.end_load - job.first_load, result, count * done_period, count * done_period)
        return ends + count * done_period
    multiplied, way_out = times.free[CLUSTERS], _way_out(rates, job, kind)
    last: float = max(ends + count * done_period, multiplied + count * fed_period + way_out)
    all_multiplied = max(multiplied + count * fed_period, last - way_out - tiles.n_held * done_period)
    _move_on(times, tiles, job.end_load - job.first_load, result, all_multiplied - multiplied, last - ends)
    return last
