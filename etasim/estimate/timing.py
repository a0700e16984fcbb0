"""When the tiles of an iteration pass through the engines, compiled: what `etasim.estimate.pipeline` describes.

``rates``: an `etasim.schedule.rates.Rates`; ``jobs``, ``kinds``, ``loads``, ``inputs``, ``outputs``: records that `pipeline` fills from an
outline (`etasim.estimate.records`). Times are core cycles.
"""

from math import ceil
from typing import Any

from etasim.core.jit import kernel, procedure, routine
from etasim.estimate.records import CLUSTERS, CORES, HOST, N_ENGINES, FreeTimes, Tiles, Written
from etasim.estimate.steady import skip
from etasim.program.commands import LOAD_ERROR, N_DMA, STORE
from etasim.schedule.overlap import dram_cycles, paced_cycles_per_byte

MOST_EQUAL_TILES = 48
"""Equal tiles that are worked out; by then each engine goes evenly, and for the others as in the second half of these
(`etasim.estimate.steady`)."""


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
def _beside(job: Any) -> int:
    """Tiles of the same samples that follow each other, each of other channel blocks."""
    n: int = 1 if job.groups_first else max(job.n_block_groups, 1)
    return n


@kernel
def _note_written(written: Written, job: Any, batch: int, n_done: int, time: float, held_time: float) -> None:
    """``n_done`` of the tiles are written; a sample is whole with all its channel blocks in its last round, and begun with its first."""
    n_tiles, beside = job.n_tiles, _beside(job)
    at, each = written.used[0], n_tiles / max(job.n_rounds, 1)
    if job.n_rounds:
        written.shares[at] = max(n_done // beside * beside - (n_tiles - each), 0.0) / each
        written.begun_shares[at] = written.shares[at] if batch > 1 else min(-(-n_done // beside) * beside / each, 1.0)
    else:
        written.shares[at] = written.begun_shares[at] = 1.0 if n_done == n_tiles else 0.0
    written.times[at] = time
    written.held_times[at] = held_time
    written.used[0] = at + 1


@kernel
def _share(job: Any, n_done: int) -> float:
    """Share of the samples that the first ``n_done`` tiles need."""
    if not job.n_rounds:
        return 1.0
    each, beside = max(job.n_tiles, 1) / job.n_rounds, _beside(job)
    share: float = min(ceil((((n_done - 1) % each) + 1) / beside) * beside / each, 1.0)
    return share


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
    rates: Any, times: FreeTimes, written: Written, inputs: Any, job: Any, batch: int, load: Any, operand: int, tiles: Tiles, number: int,
    step: int, share: float, result: Any,
) -> None:  # fmt: skip
    """Load the pieces of an operand up to that of a step of tile ``number``. Of a tile's parts of a reduction each needs blocks of its
    own, which are there one after the other: the first when the first blocks are, the last when all are."""
    group = min(number // load.n_repeats, max(load.n_pieces // load.n_steps, 1) - 1)
    wanted = min(group * load.n_steps + step * load.n_steps // tiles.n_steps, load.n_pieces - 1)
    needed = (step + 1) / tiles.n_steps if load.n_parts > 1 else 1.0
    while tiles.piece[operand] < wanted:
        number, room, on_chip = tiles.piece[operand] + 1, 0.0, not load.piece_bytes
        begun = _ready(written, inputs, job, batch, load.engine, share, load.n_parts > 1 or on_chip, on_chip)
        whole = begun + needed * (_ready(written, inputs, job, batch, load.engine, share, False, on_chip) - begun)
        if on_chip:
            tiles.first_part[operand], tiles.whole[operand] = begun, whole
            tiles.piece[operand] = number
            tiles.left[operand, number] = 0.0
            continue
        if load.n_held and number >= load.n_held:
            room = tiles.left[operand, number - load.n_held]
        begin = max(times.free[load.engine], begun, room)
        cycles = load.piece_bytes * paced_cycles_per_byte(rates, load.engine)
        end = max(begin + cycles, whole + cycles / load.n_parts)
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
    """A step of a tile on the array: when it is done. Of an operand in parts all pixels need all; only the first chunk comes before the
    last part is there."""
    there, whole, fed = 0.0, 0.0, rates.feed_cycles
    for i in range(job.first_load, job.end_load):
        operand, share = i - job.first_load, _share(job, number + 1)
        _bring(rates, times, written, inputs, job, batch, loads[i], operand, tiles, number, step, share, result)
        there = max(there, tiles.first_part[operand] + fed + tiles.fill_cycles)
        after_all = max(cycles / max(loads[i].n_parts, 2), cycles - job.chunk_cycles if loads[i].n_parts > 1 else 0.0)
        whole = max(whole, tiles.whole[operand] + fed + tiles.fill_cycles + after_all)
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
    share = _share(job, number + 1)
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
    n_steps, n_held = 1, 1
    for i in range(job.first_load, job.end_load):
        n_steps = max(n_steps, loads[i].n_steps)
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
            n_worked, middle, fed_middle = min(count, MOST_EQUAL_TILES), ends, 0.0
            for number in range(n_worked):
                ends = _tile(rates, times, written, inputs, job, batch, loads, tiles, kinds[i], n_done, result)
                n_done += 1
                if number == n_worked // 2 - 1:
                    middle, fed_middle = ends, times.free[CLUSTERS]
                _note_written(written, job, batch, n_done, ends, tiles.held[0])
            if count > n_worked:
                n_apart = n_worked - n_worked // 2
                periods = (times.free[CLUSTERS] - fed_middle) / n_apart, (ends - middle) / n_apart
                ends = skip(rates, times, job, tiles, kinds[i], result, count - n_worked, *periods, ends)
                n_done += count - n_worked
                _note_written(written, job, batch, n_done, ends, tiles.held[0])
        if job.commands[HOST]:
            result.done[HOST] = result.arrived
        _end(rates, times, written, job, outputs, first_entry, dram_free, result)
        dram_free = result.dram_free
