"""The analytical fidelity: an iteration's time in closed form, from its outline (`etasim.estimate.outline`), without a program.

Each job (a convolution with what follows it on chip, or an operation of the unified core) is a pipeline of tiles over engines: loads,
clusters, unified core, store. A stage begins when the first tile leaves the stage before it, and ends when it has done all its
work, or the last tile that the stage before lets through. Jobs follow each other engine by engine, wait for the tensors that they read,
and share the DRAM. docs/models/analytical.md derives the terms.
"""

from typing import NamedTuple

import numpy as np

from etasim.config import Architecture
from etasim.estimate.dram import Traffic, dram_channels
from etasim.estimate.outline import CLUSTERS, CORES, HOST, Job, Outline, outline
from etasim.estimate.rates import Rates, rates
from etasim.program.commands import LOAD_ACTIVATION, LOAD_ERROR, LOAD_WEIGHT, N_DMA, STORE
from etasim.workload import Network


class _Schedule:
    """When each engine is free, when each tensor is there, and how far the DRAM is behind."""

    def __init__(self, rates: Rates, n_operations: int):
        self.rates = rates
        self.free = dict.fromkeys((*range(N_DMA), CLUSTERS, CORES, HOST), 0.0)
        self.written: dict[str, tuple[float, float, bool]] = {}
        self.began = np.full(n_operations, np.inf)
        self.completed = np.zeros(n_operations)
        self.moved = np.zeros(n_operations)
        self.traffic: list[Traffic] = []
        self._dram_free = self._clusters_began = 0.0

    def run(self, job: Job) -> None:
        """Append a job."""
        rates, free = self.rates, self.free
        begun, done = {}, {}
        shares = {engine: job.total[engine] * rates.dram_cycles_per_byte for engine in range(N_DMA)}
        cycles = {
            engine: max(
                shares[engine], job.total[engine] * rates.engine_cycles_per_byte[engine], job.copied[engine] * rates.copy_cycles_per_word
            )
            for engine in range(N_DMA)
        }
        arrived = self._arrive(job)
        for engine in (LOAD_ACTIVATION, LOAD_WEIGHT, LOAD_ERROR):
            if not job.commands[engine]:
                continue
            first, whole = self._ready(job, engine)
            begun[engine] = max(free[engine], first, self._clusters_began if engine != LOAD_ERROR else 0.0)
            done[engine] = max(begun[engine] + cycles[engine], whole) + rates.load_cycles
        begin = min(begun.values(), default=max(free.values()))
        ready = max((begun[e] + job.first[e] * rates.dram_cycles_per_byte for e in begun), default=begin) + rates.load_cycles
        work = job.total[CLUSTERS]
        if job.commands[CLUSTERS]:
            operands = [e for e in begun if e != LOAD_ERROR]
            there = max((begun[e] + job.first[e] * rates.dram_cycles_per_byte for e in operands), default=0.0) + rates.load_cycles
            begun[CLUSTERS] = max(free[CLUSTERS], there + rates.feed_cycles)
            self._clusters_began = begun[CLUSTERS]
            last = work / max(job.n_tiles, 1)
            done[CLUSTERS] = max(begun[CLUSTERS] + work, *(done[e] + last for e in operands))
            ready = begun[CLUSTERS] + job.first[CLUSTERS] + rates.drain_cycles
        drained = done.get(CLUSTERS, 0.0) + (rates.drain_cycles + job.drain_cycles if job.commands[CLUSTERS] else 0.0)
        last_stage = drained
        if job.commands[CORES]:
            busy_cores = min(rates.n_cores, max(job.n_tiles, 1))
            commands = (job.total[CORES] + job.commands[CORES] * rates.command_cycles) / busy_cores
            begun[CORES] = max(free[CORES], ready)
            inputs = max([drained, *(done[e] for e in done if e == LOAD_ERROR)])
            n_last = max(job.commands[CORES] / max(job.n_tiles, 1), 1)
            done[CORES] = max(begun[CORES] + commands, inputs + job.last[CORES] + n_last * rates.command_cycles)
            last_stage = done[CORES]
        self._dram_free = max(self._dram_free, begin) + sum(shares.values()) + job.total[HOST] * rates.dram_cycles_per_byte
        if job.commands[STORE]:
            begun[STORE] = max(free[STORE], begun.get(CORES, ready))
            done[STORE] = max(begun[STORE] + cycles[STORE], last_stage + job.last[STORE] * rates.dram_cycles_per_byte)
            done[STORE] = max(done[STORE], self._dram_free) + rates.store_cycles
            for name in job.outputs:
                self.written[name] = (begun[STORE], done[STORE], job.by_sample)
        self.traffic += [Traffic(begun[e], done[e], job.commands[e], cycles[e]) for e in range(N_DMA) if e in done]
        done |= arrived
        if CLUSTERS in done:
            done[CLUSTERS] = drained
        self._book(job, done, begin)
        free.update(done)

    def _arrive(self, job: Job) -> dict[int, float]:
        """When the host has brought what a job waits for, piece by piece behind what it brought before; nothing if it brings nothing. As
        many pieces as the engine asks for ahead share a latency."""
        n_pieces, rates = job.commands[HOST], self.rates
        if not n_pieces:
            return {}
        begin, share = self.free[HOST], job.total[HOST] * rates.dram_cycles_per_byte
        piece = max(job.total[HOST] * rates.host_cycles_per_byte, share) / n_pieces
        period = max(piece, (rates.host_latency_cycles + piece + rates.store_cycles) / rates.host_window)
        begin, done = max(begin, rates.host_latency_cycles), max(begin + n_pieces * period, rates.host_latency_cycles + n_pieces * piece)
        done += rates.store_cycles
        self.written |= dict.fromkeys(job.arriving, (begin, done, True))
        self.traffic.append(Traffic(begin, done, n_pieces, share))
        return {HOST: done}

    def _ready(self, job: Job, engine: int) -> tuple[float, float]:
        """When the first tile's and when all of the tensors that ``engine`` loads are in DRAM."""
        first = whole = 0.0
        for reader, name in job.inputs:
            if reader == engine and name in self.written:
                begun, done, by_sample = self.written[name]
                first = max(first, begun + (done - begun) * job.first_share if by_sample else done)
                whole = max(whole, done)
        return first, whole

    def _book(self, job: Job, done: dict[int, float], begin: float) -> None:
        """When the operations of a job begin, complete, and have their bytes moved: not before the DRAM has moved all up to theirs."""
        for engine, operations in job.operations.items():
            for operation in operations:
                self.began[operation] = min(self.began[operation], begin)
                self.completed[operation] = max(self.completed[operation], done[engine])
                self.moved[operation] = max(self.moved[operation], done[engine], self._dram_free)

    def span_cycles(self) -> np.ndarray:
        """Time in which each operation is under way and its bytes are moved, [operations]; 0 for one without work."""
        begun = np.isfinite(self.began)
        return np.where(begun, np.ceil(self.moved) - np.floor(np.where(begun, self.began, 0)) + 1, 0).astype(np.int64)


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
    schedule = _Schedule(rates(architecture), len(plan.operations))
    for job in plan.jobs:
        schedule.run(job)
    completed = np.ceil(schedule.completed).astype(np.int64)
    total_cycles = int(completed.max()) + 1
    channels = [] if architecture.dram.ideal else dram_channels(architecture, plan, total_cycles, schedule.traffic)
    return Estimate(plan, total_cycles, completed, schedule.span_cycles(), channels)
