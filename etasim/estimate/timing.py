"""When the tiles of an iteration pass through the engines, compiled: what `etasim.estimate.pipeline` describes.

``rates``: an `etasim.schedule.rates.Rates`; ``jobs``, ``kinds``, ``loads``, ``inputs``, ``outputs``: records that `pipeline` fills from an
outline. Times are core cycles.
"""

from math import ceil
from typing import Any, NamedTuple

import numpy as np

from etasim.core.jit import kernel, procedure, routine
from etasim.program.commands import LOAD_ERROR, N_DMA, STORE
from etasim.schedule.overlap import dram_cycles, paced_cycles_per_byte

CORES, CLUSTERS, HOST = range(N_DMA, N_DMA + 3)
"""Engines beside those of the DMA; the clusters as one: the most loaded of them."""
N_ENGINES = N_DMA + 3

MOST_EQUAL_TILES = 48
"""Equal tiles that are worked out; by then they follow each other evenly, and the others as the second half of these."""

KIND = np.dtype([("count", "i8"), ("amounts", "f8", N_ENGINES), ("n_passes", "i8"), ("held_bytes", "i8"),
                 ("words_in", "f8"), ("words_out", "f8")])  # fmt: skip
"""A `TileKind`, amounts by engine."""
LOADS = np.dtype([("engine", "i8"), ("n_pieces", "i8"), ("piece_bytes", "f8"), ("n_parts", "i8"), ("n_held", "i8")])
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


@kernel
def _until(written: Written, tensor: int, share: float, first_blocks: bool, on_chip: bool) -> float:
    """When so much of the samples of a tensor is there, or its first blocks."""
    low, end = written.first[tensor], written.end[tensor]
    high, wanted = end, share - 1e-9
    while low < high:
        middle = (low + high) // 2
        found = written.begun_shares[middle] if first_blocks else written.shares[middle]
        if found < wanted:
            low = middle + 1
        else:
            high = middle
    last = min(low, end - 1)
    time: float = written.held_times[last] if on_chip else written.times[last]
    return time


@kernel
def _note_written(written: Written, n_rounds: int, n_done: int, n_tiles: int, time: float, held_time: float) -> None:
    """``n_done`` of the tiles are written; a sample is whole with its last round, and begun with its first."""
    at, each = written.used[0], n_tiles / max(n_rounds, 1)
    if n_rounds:
        written.shares[at] = max(n_done - (n_tiles - each), 0.0) / each
        written.begun_shares[at] = min(n_done / each, 1.0)
    else:
        written.shares[at] = written.begun_shares[at] = 1.0 if n_done == n_tiles else 0.0
    written.times[at] = time
    written.held_times[at] = held_time
    written.used[0] = at + 1


@kernel
def _share(n_rounds: int, n_done: int, n_tiles: int) -> float:
    """Share of the samples that the first ``n_done`` tiles need."""
    if not n_rounds:
        return 1.0
    each = n_tiles / n_rounds
    return (((n_done - 1) % each) + 1) / each


@routine
def _ready(
    written: Written, inputs: Any, job: Any, batch: int, engine: int, share: float, first_blocks: bool, on_chip: bool
) -> float:  # fmt: skip
    """When so much of the samples of all that an engine loads is in DRAM, or their first blocks; ``on_chip``: of what it need not load."""
    ready = 0.0
    for i in range(job.first_input, job.end_input):
        tensor, is_whole = inputs[i].tensor, inputs[i].is_whole
        if inputs[i].engine == engine and inputs[i].on_chip == on_chip and written.end[tensor] > written.first[tensor]:
            wanted = ceil(share * batch - 1e-9) / batch if is_whole else share
            ready = max(ready, _until(written, tensor, wanted, first_blocks and not is_whole, on_chip))
    return ready


@kernel
def _book(times: FreeTimes, result: Any, engine: int, begin: float, end: float) -> None:
    if not result.is_begun[engine]:
        result.is_begun[engine] = 1
        result.begun[engine] = begin
    result.done[engine] = end
    if engine != CORES:
        times.free[engine] = end


@routine
def _bring(
    rates: Any, times: FreeTimes, written: Written, inputs: Any, job: Any, batch: int, load: Any, operand: int, tiles: Tiles, step: int,
    share: float, result: Any,
) -> None:  # fmt: skip
    """Load the pieces of an operand up to that of a step."""
    wanted = min(step * load.n_pieces // (tiles.n_steps * job.n_tiles), load.n_pieces - 1)
    while tiles.piece[operand] < wanted:
        number, room = tiles.piece[operand] + 1, 0.0
        if not load.piece_bytes:
            tiles.first_part[operand] = _ready(written, inputs, job, batch, load.engine, share, True, True)
            tiles.whole[operand] = _ready(written, inputs, job, batch, load.engine, share, False, True)
            tiles.piece[operand] = number
            tiles.left[operand, number] = 0.0
            continue
        if load.n_held and number >= load.n_held:
            room = tiles.left[operand, number - load.n_held]
        begun = _ready(written, inputs, job, batch, load.engine, share, load.n_parts > 1, False)
        begin = max(times.free[load.engine], begun, room)
        cycles = load.piece_bytes * paced_cycles_per_byte(rates, load.engine)
        end = max(begin + cycles, _ready(written, inputs, job, batch, load.engine, share, False, False) + cycles / load.n_parts)
        _book(times, result, load.engine, begin, end)
        tiles.first_part[operand] = begin + cycles / load.n_parts + rates.load_cycles
        tiles.whole[operand] = end + rates.load_cycles
        tiles.piece[operand] = number
        tiles.left[operand, number] = 0.0


@routine
def _multiply(
    rates: Any, times: FreeTimes, written: Written, inputs: Any, job: Any, batch: int, loads: Any, tiles: Tiles, cycles: float, number: int,
    step: int, result: Any,
) -> float:  # fmt: skip
    """A step of a tile on the array: when it is done."""
    there, whole, fed = 0.0, 0.0, rates.feed_cycles
    for i in range(job.first_load, job.end_load):
        operand, share = i - job.first_load, _share(job.n_rounds, number + 1, job.n_tiles)
        _bring(rates, times, written, inputs, job, batch, loads[i], operand, tiles, number * tiles.n_steps + step, share, result)
        there = max(there, tiles.first_part[operand] + fed + tiles.fill_cycles)
        whole = max(whole, tiles.whole[operand] + fed + tiles.fill_cycles + cycles / max(loads[i].n_parts, 2))
    if not number and not step:
        there = max(there, times.half_free[0] + fed + tiles.fill_cycles)
    end: float = max(max(times.free[CLUSTERS], there) + cycles, whole)
    for operand in range(job.end_load - job.first_load):
        tiles.left[operand, tiles.piece[operand]] = end
    times.free[CLUSTERS] = end
    times.half_free[0] = end - job.chunk_cycles
    return end


@kernel
def _core(job: Any, tiles: Tiles, n_cores: int, number: int) -> int:
    """The unified core of a tile: groups of channel blocks are dealt in turn (`etasim.mapping.context`)."""
    group = number * job.n_block_groups // max(job.n_tiles, 1) if job.groups_first else number % job.n_block_groups
    core: int = (tiles.first_core + group) % n_cores
    return core


@kernel
def _room(tiles: Tiles, number: int) -> float:
    """When the error buffer has room for a tile."""
    room: float = tiles.stored[number - tiles.n_held] if tiles.n_held <= number < tiles.n_held + tiles.n_stored[0] else 0.0
    return room


@routine
def _vector(
    rates: Any, times: FreeTimes, written: Written, inputs: Any, job: Any, batch: int, tiles: Tiles, kind: Any, number: int, drained: float,
    result: Any,
) -> float:  # fmt: skip
    """What follows a tile: loads, passes, stores; when the last is done."""
    begin, end = drained, drained
    share = _share(job.n_rounds, number + 1, max(job.n_tiles, 1))
    if kind.words_in:
        there = max(_ready(written, inputs, job, batch, LOAD_ERROR, share, False, True), _room(tiles, number))
        begin = max(begin, there + kind.words_in * rates.copy_cycles_per_word + rates.store_cycles)
    if kind.amounts[LOAD_ERROR]:
        there = _ready(written, inputs, job, batch, LOAD_ERROR, share, False, False)
        start = max(times.free[LOAD_ERROR], there, _room(tiles, number))
        cycles = kind.amounts[LOAD_ERROR] * paced_cycles_per_byte(rates, LOAD_ERROR)
        _book(times, result, LOAD_ERROR, start, start + cycles)
        begin = max(begin, start + cycles + rates.load_cycles)
    if kind.n_passes:
        core = _core(job, tiles, len(times.cores), number)
        begin = max(begin, times.cores[core])
        end = begin + kind.amounts[CORES] + kind.n_passes * rates.command_cycles
        times.cores[core] = end
        _book(times, result, CORES, begin, end)
    tiles.held[0] = end + (kind.words_out * rates.copy_cycles_per_word + rates.store_cycles if kind.words_out else 0.0)
    if kind.amounts[STORE]:
        cycles = kind.amounts[STORE] * paced_cycles_per_byte(rates, STORE)
        start = max(times.free[STORE], begin)
        end = max(start + cycles, end + cycles / 2) if kind.n_passes else start + cycles
        _book(times, result, STORE, start, end)
        end += rates.store_cycles
        result.done[STORE] = end
    tiles.stored[tiles.n_stored[0]] = end
    tiles.n_stored[0] += 1
    return end


@routine
def _tile(
    rates: Any, times: FreeTimes, written: Written, inputs: Any, job: Any, batch: int, loads: Any, tiles: Tiles, kind: Any, number: int,
    result: Any,
) -> float:  # fmt: skip
    """One tile: when it is stored."""
    drained = 0.0
    if kind.amounts[CLUSTERS]:
        end, each = 0.0, kind.amounts[CLUSTERS] / tiles.n_steps
        for step in range(tiles.n_steps):
            end = _multiply(rates, times, written, inputs, job, batch, loads, tiles, each, number, step, result)
        end = max(end, _room(tiles, number))
        _book(times, result, CLUSTERS, end - kind.amounts[CLUSTERS], end)
        drained = end + rates.drain_cycles + job.drain_cycles
        result.done[CLUSTERS] = drained
    return _vector(rates, times, written, inputs, job, batch, tiles, kind, number, drained, result)


@kernel
def _move_on(times: FreeTimes, tiles: Tiles, n_operands: int, result: Any, cycles: float) -> None:
    """Everything goes on as it did for so many cycles."""
    for engine in range(N_ENGINES):
        if result.is_begun[engine]:
            result.done[engine] += cycles
            if engine != CORES:
                times.free[engine] += cycles
    for core in range(len(times.cores)):
        times.cores[core] += cycles
    for i in range(tiles.n_stored[0]):
        tiles.stored[i] += cycles
    tiles.held[0] += cycles
    for operand in range(n_operands):
        for piece in range(tiles.piece[operand] + 1):
            tiles.left[operand, piece] += cycles
        tiles.first_part[operand] += cycles
        tiles.whole[operand] += cycles


@kernel
def _arrive(rates: Any, times: FreeTimes, written: Written, job: Any, arriving: Any, result: Any) -> None:
    """When the host has brought what a job waits for, piece by piece behind what it brought before. As many pieces as the engine asks for
    ahead share a latency."""
    n_pieces, begin, at = job.commands[HOST], times.free[HOST], written.used[0]
    share = job.total[HOST] * rates.dram_cycles_per_byte
    piece = max(job.total[HOST] * rates.host_cycles_per_byte, share) / n_pieces
    period = max(piece, (rates.host_latency_cycles + piece + rates.store_cycles) / rates.host_window)
    for i in range(1, n_pieces + 1):
        written.times[at + i - 1] = max(begin + i * period, rates.host_latency_cycles + i * piece) + rates.store_cycles
        written.shares[at + i - 1] = written.begun_shares[at + i - 1] = i / n_pieces
    for i in range(job.first_arriving, job.end_arriving):
        written.first[arriving[i]], written.end[arriving[i]] = at, at + n_pieces
    written.used[0] = at + n_pieces
    times.free[HOST] = result.arrived = written.times[at + n_pieces - 1]
    result.arrived_from = max(begin, rates.host_latency_cycles)


@kernel
def _end(rates: Any, times: FreeTimes, written: Written, job: Any, outputs: Any, first_entry: int, dram_free: float, result: Any) -> None:
    """Book what the job did: no store ends before the DRAM has moved all up to its bytes."""
    is_begun, begin = False, 0.0
    for engine in range(N_ENGINES):
        if result.is_begun[engine]:
            begin = min(begin, result.begun[engine]) if is_begun else result.begun[engine]
            is_begun = True
    moving = dram_cycles(rates, (job.total[0], job.total[1], job.total[2], job.total[3]))
    result.begin = begin
    for engine in range(N_DMA):
        result.busy[engine] = job.total[engine] * paced_cycles_per_byte(rates, engine)
    result.dram_free = max(dram_free, begin) + moving + job.total[HOST] * rates.dram_cycles_per_byte
    if job.commands[STORE]:
        result.done[STORE] = max(result.done[STORE], result.dram_free + rates.store_cycles)
        times.free[STORE] = max(times.free[STORE], result.done[STORE] - rates.store_cycles)
        last = written.used[0] - 1
        written.times[last] = max(written.times[last], result.done[STORE])
    for i in range(job.first_output, job.end_output):
        written.first[outputs[i]], written.end[outputs[i]] = first_entry, written.used[0]


@kernel
def _begin(times: FreeTimes, job: Any, kinds: Any, loads: Any, error_bytes: int, tiles: Tiles) -> Tiles:
    """The tiles of a job before the first of them, in the memory of those before."""
    pieces, n_held = 1, 1
    for i in range(job.first_load, job.end_load):
        pieces = loads[i].n_pieces if i == job.first_load else max(pieces, loads[i].n_pieces)
        tiles.piece[i - job.first_load] = -1
        tiles.first_part[i - job.first_load] = tiles.whole[i - job.first_load] = 0.0
    is_held = False
    for i in range(job.first_kind + 1, job.end_kind):
        if kinds[i].held_bytes:
            each = 2 * error_bytes // kinds[i].held_bytes
            n_held = max(n_held, each) if is_held else each
            is_held = True
    first_core = times.dealt[0]
    times.dealt[0] = first_core + job.n_block_groups
    tiles.n_stored[0] = 0
    n_steps = max(-(-pieces // max(job.n_tiles, 1)), 1)
    return Tiles(
        tiles.stored, tiles.held, tiles.n_stored, tiles.left, tiles.piece, tiles.first_part, tiles.whole, n_steps,
        n_held if n_held else 1, first_core, min(job.fed_cycles, job.chunk_cycles),
    )  # fmt: skip


@procedure
def run_jobs(
    rates: Any, error_bytes: int, batch: int, jobs: Any, kinds: Any, loads: Any, inputs: Any, outputs: Any, arriving: Any, times: FreeTimes,
    written: Written, memory: Tiles, results: Any,
) -> None:  # fmt: skip
    """Fill ``results`` [jobs], one job behind the other; all of ``times``, ``written`` and ``memory`` is zero before."""
    dram_free = 0.0
    for j in range(len(jobs)):
        job, result = jobs[j], results[j]
        if job.commands[HOST]:
            _arrive(rates, times, written, job, arriving, result)
        tiles = _begin(times, job, kinds, loads, error_bytes, memory)
        lead, n_done, ends, first_entry = kinds[job.first_kind], 0, 0.0, written.used[0]
        if lead.count:
            ends = _vector(rates, times, written, inputs, job, batch, tiles, lead, 0, 0.0, result)
        for i in range(job.first_kind + 1, job.end_kind):
            count = kinds[i].count
            n_worked, middle = min(count, MOST_EQUAL_TILES), ends
            for number in range(n_worked):
                ends = _tile(rates, times, written, inputs, job, batch, loads, tiles, kinds[i], n_done, result)
                n_done += 1
                middle = ends if number == n_worked // 2 - 1 else middle
                _note_written(written, job.n_rounds, n_done, job.n_tiles, ends, tiles.held[0])
            if count > n_worked:
                more = (count - n_worked) * (ends - middle) / (n_worked - n_worked // 2)
                _move_on(times, tiles, job.end_load - job.first_load, result, more)
                n_done, ends = n_done + count - n_worked, ends + more
                _note_written(written, job.n_rounds, n_done, job.n_tiles, ends, tiles.held[0])
        if job.commands[HOST]:
            result.done[HOST] = result.arrived
        _end(rates, times, written, job, outputs, first_entry, dram_free, result)
        dram_free = result.dram_free
