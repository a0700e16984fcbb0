"""The analytical fidelity: an iteration's time from its outline (`etasim.estimate.outline`), tile by tile, without a program.

Each job (a convolution with what follows it on chip, or an operation of the unified core) is a pipeline of tiles over engines: loads,
clusters, unified core, store. An engine takes tiles in order, each as soon as the engines before it have done theirs, the tensors that it
reads are there, and its buffer has room. docs/models/analytical.md derives the terms; `etasim.estimate.timing` works them out, compiled.
"""

from itertools import accumulate
from math import inf
from typing import Any, NamedTuple

import numpy as np

from etasim.config import Architecture
from etasim.estimate.dram import Traffic, dram_channels
from etasim.estimate.outline import Job
from etasim.estimate.records import HOST, INPUT, JOB, KIND, LOADS, N_ENGINES, RESULT, FreeTimes, Tiles, Written
from etasim.estimate.shared import Outline, outline
from etasim.estimate.timing import MOST_EQUAL_TILES, run_jobs
from etasim.program.commands import N_DMA
from etasim.schedule.array import ArraySizes
from etasim.workload import Network


class _Records(NamedTuple):
    """Jobs as kernels see them, and how many tensors they name."""

    jobs: Any
    kinds: Any
    loads: Any
    inputs: Any
    outputs: np.ndarray
    arriving: np.ndarray
    n_tensors: int


def _records(jobs: list[Job], array: ArraySizes) -> _Records:
    """``jobs`` as records; a job has numbers for the names of its tensors."""
    numbers: dict[str, int] = {}
    loads = [each.record(array) for job in jobs for each in job.loads]
    kinds = [record for job in jobs for record in job.kind_records]
    inputs = [
        (engine, numbers.setdefault(name, len(numbers)), whole, on_chip) for job in jobs for engine, name, whole, on_chip in job.inputs
    ]  # fmt: skip
    outputs = [numbers.setdefault(name, len(numbers)) for job in jobs for name in job.outputs]
    arriving = [numbers.setdefault(name, len(numbers)) for job in jobs for name in job.arriving]
    parts = [(1 + len(job.kinds), len(job.loads), len(job.inputs), len(job.outputs), len(job.arriving)) for job in jobs]
    ends = [*accumulate(parts, lambda before, own: tuple(map(int.__add__, before, own)))]
    places = zip([(0,) * 5, *ends[:-1]], ends, strict=True) if ends else iter(())
    records = [
        (*(at for pair in zip(*place, strict=True) for at in pair), job.n_tiles, job.n_rounds, job.n_block_groups, job.groups_first,
         *job.ends, job.total, job.commands)
        for job, place in zip(jobs, places, strict=True)
    ]  # fmt: skip
    return _Records(
        _recorded(records, JOB), _recorded(kinds, KIND), _recorded(loads, LOADS),
        _recorded(inputs, INPUT), np.array(outputs, np.int64), np.array(arriving, np.int64), len(numbers),
    )  # fmt: skip


def _recorded(rows: list[tuple[Any, ...]], dtype: np.dtype[Any]) -> Any:
    return np.array(rows, dtype).view(np.recarray)


def _worked_out(array: ArraySizes, batch: int, records: _Records) -> Any:
    """What becomes of each job, records of `RESULT` [jobs]."""
    counts = np.minimum(records.kinds["count"], MOST_EQUAL_TILES)
    n_entries = int(counts.sum()) + len(counts) + int(records.jobs["commands"][:, HOST].sum())
    pieces = int(records.loads["n_pieces"].max(initial=1))
    operands = max(int((records.jobs["end_load"] - records.jobs["first_load"]).max(initial=1)), 1)
    engines = FreeTimes(np.zeros(N_ENGINES), np.zeros(array.rates.n_cores), np.zeros(1), np.zeros(1, np.int64))
    shares, times, places = np.zeros((2, n_entries)), np.zeros((2, n_entries)), np.zeros((2, records.n_tensors), np.int64)
    written = Written(shares[0], shares[1], times[0], times[1], places[0], places[1], np.zeros(1, np.int64))
    memory = Tiles(
        np.zeros(int(counts.sum()) + 1), np.zeros(1), np.zeros(1, np.int64), np.zeros((operands, pieces)), np.zeros(operands, np.int64),
        np.zeros(operands), np.zeros(operands), 1, 1, 0, 0.0,
    )  # fmt: skip
    results = np.zeros(len(records.jobs), RESULT).view(np.recarray)
    run_jobs(array.rates, array.error_bytes, batch, *records[:-1], engines, written, memory, results)
    return results


class _Times:
    """When each operation began, is complete, and has moved its bytes [operations]; the DRAM's traffic."""

    def __init__(self, n_operations: int):
        self.began = [inf] * n_operations
        self.completed, self.moved = [0.0] * n_operations, [0.0] * n_operations
        self.traffic: list[Traffic] = []

    def add(self, rates: Any, job: Job, result: Any) -> None:
        """Book a job."""
        begin, dram_free, is_begun, begun, done, busy, arrived_from, arrived = result
        if job.commands[HOST]:
            share = job.total[HOST] * rates.dram_cycles_per_byte
            self.traffic.append(Traffic(arrived_from, arrived, job.commands[HOST], share))
        for engine in range(N_DMA):
            if is_begun[engine]:
                self.traffic.append(Traffic(begun[engine], done[engine], job.commands[engine], busy[engine]))
        began, completed, moved = self.began, self.completed, self.moved
        for engine, operations in job.operations.items():
            end = done[engine] if is_begun[engine] or engine == HOST else begin
            last = end if end > dram_free else dram_free
            for operation in operations:  # compared, for min and max take longer, and a search asks thousands of times
                if begin < began[operation]:
                    began[operation] = begin
                if end > completed[operation]:
                    completed[operation] = end
                if last > moved[operation]:
                    moved[operation] = last

    def span_cycles(self) -> np.ndarray:
        """Time in which each operation is under way and its bytes are moved, [operations]; 0 for one without work."""
        began = np.array(self.began)
        begun = np.isfinite(began)
        return np.where(begun, np.ceil(self.moved) - np.floor(np.where(begun, began, 0)) + 1, 0).astype(np.int64)


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
    array = plan.array
    times = _Times(len(plan.operations))
    for job, result in zip(plan.jobs, _worked_out(array, batch, _records(plan.jobs, array)).tolist(), strict=True):
        times.add(array.rates, job, result)
    completed = np.ceil(times.completed).astype(np.int64)
    total_cycles = int(completed.max()) + 1
    channels = [] if architecture.dram.ideal else dram_channels(architecture, plan, total_cycles, times.traffic)
    return Estimate(plan, total_cycles, completed, times.span_cycles(), channels)
