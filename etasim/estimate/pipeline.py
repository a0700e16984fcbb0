"""The analytical fidelity: an iteration's time from its outline (`etasim.estimate.outline`), tile by tile, without a program.

Each job (a convolution with what follows it on chip, or an operation of the unified core) is a pipeline of tiles over engines: loads,
clusters, unified core, store. An engine takes tiles in order, each as soon as the engines before it have done theirs, the tensors that it
reads are there, and its buffer has room. docs/models/analytical.md derives the terms.
"""

from bisect import bisect_left
from math import ceil
from typing import NamedTuple

import numpy as np

from etasim.config import Architecture
from etasim.estimate.dram import Traffic, dram_channels
from etasim.estimate.outline import CLUSTERS, CORES, HOST, Job, Loads, Outline, TileKind, outline
from etasim.program.commands import LOAD_ERROR, N_DMA, STORE
from etasim.schedule.array import ArraySizes, array_of
from etasim.schedule.overlap import dram_cycles
from etasim.workload import Network

MOST_EQUAL_TILES = 48
"""Equal tiles that are worked out; by then they follow each other evenly, and the others as the second half of these."""


class Written(NamedTuple):
    """When a tensor is in DRAM: shares of the samples that are whole and that have their first blocks, and the time until which they
    are."""

    shares: list[float]
    begun_shares: list[float]
    times: list[float]

    def until(self, share: float, first_blocks: bool = False) -> float:
        """When so much of the samples is there, or its first blocks."""
        at = bisect_left(self.begun_shares if first_blocks else self.shares, share - 1e-9)
        return self.times[min(at, len(self.times) - 1)]

    def add(self, n_rounds: int, n_done: int, n_tiles: int, time: float) -> None:
        """``n_done`` of the tiles are written; a sample is whole with its last round, and begun with its first."""
        each = n_tiles / max(n_rounds, 1)
        self.shares.append(max(n_done - (n_tiles - each), 0.0) / each if n_rounds else float(n_done == n_tiles))
        self.begun_shares.append(min(n_done / each, 1.0) if n_rounds else self.shares[-1])
        self.times.append(time)


class _Operand:
    """Pieces of an operand on their way through its buffer."""

    def __init__(self, loads: Loads, n_steps: int):
        self.loads, self.n_steps = loads, n_steps
        self.piece, self.first_part, self.whole = -1, 0.0, 0.0
        self.left: list[float] = []


class _Schedule:
    """When each engine is free, and half of the scratchpads; when each tensor is there, and how far the DRAM is behind."""

    def __init__(self, array: ArraySizes, batch: int, n_operations: int):
        self.array, self.rates, self.batch = array, array.rates, batch
        self.free = dict.fromkeys((*range(N_DMA), CLUSTERS, HOST), 0.0)
        self.cores, self.n_dealt = [0.0] * self.rates.n_cores, 0
        self.half_free = 0.0
        self.byte_cycles = [max(own, self.rates.dram_cycles_per_byte) for own in self.rates.engine_cycles_per_byte]
        self.written: dict[str, Written] = {}
        self.began = np.full(n_operations, np.inf)
        self.completed = np.zeros(n_operations)
        self.moved = np.zeros(n_operations)
        self.traffic: list[Traffic] = []
        self._dram_free = 0.0

    def run(self, job: Job) -> None:
        """Append a job."""
        arrived = self._arrive(job)
        n, tiles = job.n_tiles, _Tiles(self, job)
        done_tiles, ends = 0, tiles.lead()
        results = Written([], [], [])
        for kind in job.kinds:
            n_worked = min(kind.count, MOST_EQUAL_TILES)
            middle = ends
            for i in range(n_worked):
                ends = tiles.tile(kind, done_tiles)
                done_tiles += 1
                middle = ends if i == n_worked // 2 - 1 else middle
                results.add(job.n_rounds, done_tiles, n, ends)
            if kind.count > n_worked:
                more = (kind.count - n_worked) * (ends - middle) / (n_worked - n_worked // 2)
                tiles.move_on(more)
                done_tiles, ends = done_tiles + kind.count - n_worked, ends + more
                results.add(job.n_rounds, done_tiles, n, ends)
        tiles.done |= arrived
        self._end(job, tiles, results)

    def _end(self, job: Job, tiles: "_Tiles", results: Written) -> None:
        """Book what the job did: no store ends before the DRAM has moved all up to its bytes."""
        rates, done = self.rates, tiles.done
        begin = min(tiles.begun.values(), default=0.0)
        moving = dram_cycles(rates, tuple(float(job.total[engine]) for engine in range(N_DMA)))
        self._dram_free = max(self._dram_free, begin) + moving + job.total[HOST] * rates.dram_cycles_per_byte
        if job.commands[STORE]:
            done[STORE] = max(done[STORE], self._dram_free + rates.store_cycles)
            self.free[STORE] = max(self.free[STORE], done[STORE] - rates.store_cycles)
            results.times[-1] = max(results.times[-1], done[STORE])
            for name in job.outputs:
                self.written[name] = results
        for engine in range(N_DMA):
            if engine in done:
                busy = job.total[engine] * self.byte_cycles[engine]
                self.traffic.append(Traffic(tiles.begun[engine], done[engine], job.commands[engine], busy))
        for engine, operations in job.operations.items():
            for operation in operations:
                self.began[operation] = min(self.began[operation], begin)
                self.completed[operation] = max(self.completed[operation], done.get(engine, begin))
                self.moved[operation] = max(self.moved[operation], done.get(engine, begin), self._dram_free)

    def _arrive(self, job: Job) -> dict[int, float]:
        """When the host has brought what a job waits for, piece by piece behind what it brought before; nothing if it brings nothing. As
        many pieces as the engine asks for ahead share a latency."""
        n_pieces, rates = job.commands[HOST], self.rates
        if not n_pieces:
            return {}
        share = job.total[HOST] * rates.dram_cycles_per_byte
        piece = max(job.total[HOST] * rates.host_cycles_per_byte, share) / n_pieces
        period = max(piece, (rates.host_latency_cycles + piece + rates.store_cycles) / rates.host_window)
        begin = self.free[HOST]
        times = [max(begin + i * period, rates.host_latency_cycles + i * piece) + rates.store_cycles for i in range(1, n_pieces + 1)]
        shares = [i / n_pieces for i in range(1, n_pieces + 1)]
        self.written |= dict.fromkeys(job.arriving, Written(shares, shares, times))
        self.traffic.append(Traffic(max(begin, rates.host_latency_cycles), times[-1], n_pieces, share))
        self.free[HOST] = times[-1]
        return {HOST: times[-1]}

    def span_cycles(self) -> np.ndarray:
        """Time in which each operation is under way and its bytes are moved, [operations]; 0 for one without work."""
        begun = np.isfinite(self.began)
        return np.where(begun, np.ceil(self.moved) - np.floor(np.where(begun, self.began, 0)) + 1, 0).astype(np.int64)


def _share(n_rounds: int, n_done: int, n_tiles: int) -> float:
    """Share of the samples that the first ``n_done`` tiles need."""
    each = n_tiles / n_rounds if n_rounds else 0.0
    return (((n_done - 1) % each) + 1) / each if n_rounds else 1.0


class _Tiles:
    """The tiles of a job, one after the other."""

    def __init__(self, schedule: _Schedule, job: Job):
        self.schedule, self.job, self.rates = schedule, job, schedule.rates
        self.n_tiles, self.fill_cycles = job.n_tiles, min(job.ends.fed_cycles, job.ends.chunk_cycles)
        pieces = max((loads.n_pieces for loads in job.loads), default=1)
        self.n_steps = max(-(-pieces // max(self.n_tiles, 1)), 1)
        self.operands = [_Operand(loads, self.n_steps * self.n_tiles) for loads in job.loads]
        self.inputs: dict[int, list[tuple[Written, bool]]] = {}
        for engine, name, is_whole in job.inputs:
            if name in schedule.written:
                self.inputs.setdefault(engine, []).append((schedule.written[name], is_whole))
        self.begun: dict[int, float] = {}
        self.done: dict[int, float] = {}
        self.stored: list[float] = []
        self.first_core, schedule.n_dealt = schedule.n_dealt, schedule.n_dealt + job.n_block_groups
        self.n_held = max((2 * schedule.array.error_bytes // kind.held_bytes for kind in job.kinds if kind.held_bytes), default=1) or 1

    def move_on(self, cycles: float) -> None:
        """Everything goes on as it did for so many cycles."""
        free = self.schedule.free
        for engine in self.done:
            self.done[engine] += cycles
            if engine in free:
                free[engine] += cycles
        self.schedule.cores = [each + cycles for each in self.schedule.cores]
        self.stored = [each + cycles for each in self.stored]
        for operand in self.operands:
            operand.left = [each + cycles for each in operand.left]
            operand.first_part, operand.whole = operand.first_part + cycles, operand.whole + cycles

    def lead(self) -> float:
        """What comes before the first tile."""
        return self._vector(self.job.lead, 0, 0.0) if self.job.lead.amounts else 0.0

    def tile(self, kind: TileKind, number: int) -> float:
        """One tile: when it is stored."""
        drained = 0.0
        if kind.amounts.get(CLUSTERS):
            for step in range(self.n_steps):
                end = self._multiply(kind.amounts[CLUSTERS] / self.n_steps, number, step)
            room = self.stored[number - self.n_held] if self.n_held <= number < self.n_held + len(self.stored) else 0.0
            end = max(end, room)
            self._book(CLUSTERS, end - kind.amounts[CLUSTERS], end)
            drained = end + self.rates.drain_cycles + self.job.ends.drain_cycles
            self.done[CLUSTERS] = drained
        return self._vector(kind, number, drained)

    def _multiply(self, cycles: float, number: int, step: int) -> float:
        """A step of a tile on the array: when it is done."""
        there = whole = 0.0
        for operand in self.operands:
            self._bring(operand, number * self.n_steps + step, _share(self.job.n_rounds, number + 1, self.n_tiles))
            there = max(there, operand.first_part + self.rates.feed_cycles + self.fill_cycles)
            whole = max(whole, operand.whole + self.rates.feed_cycles + self.fill_cycles + cycles / max(operand.loads.n_parts, 2))
        if not number and not step:
            there = max(there, self.schedule.half_free + self.rates.feed_cycles + self.fill_cycles)
        begin = max(self.schedule.free[CLUSTERS], there)
        end = max(begin + cycles, whole)
        for operand in self.operands:
            operand.left[operand.piece] = end
        self.schedule.free[CLUSTERS] = end
        self.schedule.half_free = end - self.job.ends.chunk_cycles
        return end

    def _bring(self, operand: _Operand, step: int, share: float) -> None:
        """Load the pieces of an operand up to that of a step."""
        loads = operand.loads
        wanted = min(step * loads.n_pieces // operand.n_steps, loads.n_pieces - 1)
        while operand.piece < wanted:
            number = operand.piece + 1
            room = operand.left[number - loads.n_held] if loads.n_held and number >= loads.n_held else 0.0
            begin = max(self.schedule.free[loads.engine], self._ready(loads.engine, share, first_blocks=loads.n_parts > 1), room)
            cycles = loads.piece_bytes * self.schedule.byte_cycles[loads.engine]
            end = max(begin + cycles, self._ready(loads.engine, share) + cycles / loads.n_parts)
            self._book(loads.engine, begin, end)
            operand.first_part = begin + cycles / loads.n_parts + self.rates.load_cycles
            operand.whole = end + self.rates.load_cycles
            operand.piece = number
            operand.left.append(0.0)

    def _vector(self, kind: TileKind, number: int, drained: float) -> float:
        """What follows a tile: loads, passes, stores; when the last is done."""
        schedule, rates, end = self.schedule, self.rates, drained
        room = self.stored[number - self.n_held] if self.n_held <= number < self.n_held + len(self.stored) else 0.0
        begin = drained
        if kind.amounts.get(LOAD_ERROR):
            share = _share(self.job.n_rounds, number + 1, max(self.n_tiles, 1))
            start = max(schedule.free[LOAD_ERROR], self._ready(LOAD_ERROR, share), room)
            cycles = kind.amounts[LOAD_ERROR] * schedule.byte_cycles[LOAD_ERROR]
            self._book(LOAD_ERROR, start, start + cycles)
            begin = max(begin, start + cycles + rates.load_cycles)
        if kind.n_passes:
            core = self._core(number)
            begin = max(begin, schedule.cores[core])
            end = begin + kind.amounts[CORES] + kind.n_passes * rates.command_cycles
            schedule.cores[core] = end
            self._book(CORES, begin, end)
        if kind.amounts.get(STORE):
            cycles = kind.amounts[STORE] * schedule.byte_cycles[STORE]
            start = max(schedule.free[STORE], begin)
            end = max(start + cycles, end + cycles / 2) if kind.n_passes else start + cycles
            self._book(STORE, start, end)
            end += rates.store_cycles
            self.done[STORE] = end
        self.stored.append(end)
        return end

    def _core(self, number: int) -> int:
        """The unified core of a tile: groups of channel blocks are dealt in turn (`etasim.mapping.context`)."""
        n_groups = self.job.n_block_groups
        group = number * n_groups // max(self.n_tiles, 1) if self.job.groups_first else number % n_groups
        return (self.first_core + group) % len(self.schedule.cores)

    def _book(self, engine: int, begin: float, end: float) -> None:
        self.begun.setdefault(engine, begin)
        self.done[engine] = end
        if engine in self.schedule.free:
            self.schedule.free[engine] = end

    def _ready(self, engine: int, share: float, first_blocks: bool = False) -> float:
        """When so much of the samples of all that an engine loads is in DRAM, or their first blocks."""
        batch, ready = self.schedule.batch, 0.0
        for tensor, is_whole in self.inputs.get(engine, ()):
            wanted = ceil(share * batch - 1e-9) / batch if is_whole else share
            ready = max(ready, tensor.until(wanted, first_blocks and not is_whole))
        return ready


class Estimate(NamedTuple):
    """An iteration in closed form. ``completed`` and ``span_cycles`` [operations]: when each is complete, and how long it is under way;
    ``dram_channels``: counters and energy of each, none of an ideal DRAM."""

    outline: Outline
    total_cycles: int
    completed: np.ndarray
    span_cycles: np.ndarray
    dram_channels: list[dict[str, int | float]]


def estimate(architecture: Architecture, network: Network, batch: int, phases: tuple[str, ...]) -> Estimate:
    """The iteration in closed form. Raises InfeasibleError."""
    plan = outline(architecture, network, batch, phases)
    schedule = _Schedule(array_of(architecture), batch, len(plan.operations))
    for job in plan.jobs:
        schedule.run(job)
    completed = np.ceil(schedule.completed).astype(np.int64)
    total_cycles = int(completed.max()) + 1
    channels = [] if architecture.dram.ideal else dram_channels(architecture, plan, total_cycles, schedule.traffic)
    return Estimate(plan, total_cycles, completed, schedule.span_cycles(), channels)
