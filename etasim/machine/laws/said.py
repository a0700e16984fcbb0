"""What a program says that its machine does, added up over its windows: what the laws hold the counters against."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from etasim.core.channel import NEVER
from etasim.machine.elaborate import Machine
from etasim.machine.runs import Touched
from etasim.machine.traffic import by_class
from etasim.program.commands import MAX_READS, TENSOR_CLASSES, Program, engines_of
from etasim.program.durations import compute_cycles

Said = dict[str, np.ndarray]
"""``sweep_cycles``, ``conflict_cycles``, ``products``, ``psum_packets`` [operation, cluster]; ``cluster_cycles`` [cluster]; ``passes``
[cluster, (first, last, drained)]; ``words`` [cluster, scratchpad]; ``unified_busy_cycles`` and the other counters [operation, core];
``commands`` [engine]; ``dma_words`` [operation, engine], ``dma_bursts`` [engine]; ``moved`` [operation, mover]; ``fed`` [operation,
stream]; ``collected_packets``, ``collected_words`` [operation]; ``banks.N`` [read or written, bank]; ``channels`` [read or written,
channel]; ``reduced`` []; ``bursts_read``, ``bursts_written``, ``arrived`` [operation, class]; ``arrived_bursts`` [host]; ``n_commands``,
``first_issue_at``, ``last_completion_at`` [operation]; of cluster N ``begun.N``, ``ended.N`` [pass] in core cycles and ``drained.N``
[drain, (issued at, completed at, route, packets)]."""

JOINED = {"first_issue_at": np.minimum, "last_completion_at": np.maximum}
"""How what two windows say is joined, if it is not added."""

FOLLOWING = ("begun", "ended", "drained")
"""What is said of one after the other."""


def said_by(machine: Machine, program: Program, touched: Touched, n_operations: int) -> Said:
    """What ``program``, a window of that of a machine or all of it, says."""
    return _Window(machine, program, touched, n_operations).said()


def joined(said: Sequence[Said]) -> Said:
    """What all windows say."""
    return {name: _joined(name, [each[name] for each in said]) for name in said[0]}


def _joined(name: str, said: list[np.ndarray]) -> np.ndarray:
    if name.split(".")[0] in FOLLOWING:
        return np.concatenate(said)
    return np.asarray(JOINED.get(name, np.add).reduce(said))


def by_engine(program: Program, engine: int) -> np.ndarray:
    """Rows of the tables that the commands of an engine execute, in order."""
    return program.commands["row"][program.engine_start[engine] : program.engine_start[engine + 1]]


class _Window:
    """What one window says."""

    def __init__(self, machine: Machine, program: Program, touched: Touched, n_operations: int) -> None:
        self.machine, self.program, self.touched, self.n = machine, program, touched, n_operations
        self.engines = engines_of(program)

    def said(self) -> Said:
        """All of it."""
        parts: tuple[Callable[[], Iterator[tuple[str, np.ndarray]]], ...] = (
            self._sweeps, self._passes, self._unified, self._transfers, self._packets, self._scores,
        )  # fmt: skip
        return dict(each for part in parts for each in part())

    def _by_operation(self, table: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Sum of ``values`` [row] of a table's rows for each operation, in integers."""
        total = np.zeros(self.n, np.int64)
        np.add.at(total, table["operation"], values)
        return total

    def _by_engine(self, table: np.ndarray, values: np.ndarray, engines: range) -> np.ndarray:
        """Sums of ``values`` [row] of the rows that each of ``engines`` executes. Shape [operations, engines]."""
        n = len(engines)
        start = self.program.engine_start[engines.start : engines.stop + 1]
        rows = self.program.commands["row"][start[0] : start[-1]]
        total = np.zeros(self.n * n, np.int64)
        np.add.at(total, table["operation"][rows] * n + np.repeat(np.arange(n), np.diff(start)), values[rows])
        return total.reshape(self.n, n)

    def _sweeps(self) -> Iterator[tuple[str, np.ndarray]]:
        program, table, own = self.program, self.program.computes, self.engines.computes
        cycles = compute_cycles(program)
        yield "sweep_cycles", self._by_engine(table, cycles - table["fill_cycles"], own)
        yield "conflict_cycles", self._by_engine(table, table["conflict_cycles"], own)
        shape = program.geometries
        products = shape["n_samples"] * shape["n_pixels"] * shape["n_taps"] * shape["n_result_blocks"] * shape["n_stream_blocks"]
        products *= self.machine.architecture.channel_block**2
        yield "products", self._by_engine(table, products[table["geometry"]], own)
        yield "cluster_cycles", np.array([cycles[by_engine(program, e)].sum() for e in own])

    def _passes(self) -> Iterator[tuple[str, np.ndarray]]:
        program, engines, times = self.program, self.engines, self.machine.times_of(self.program)
        chunks, cycles = [by_engine(program, e) for e in engines.computes], compute_cycles(program)
        first, last, streamed, stationary = (
            [program.computes[name][own] for own in chunks] for name in ("first", "last", "stream_words", "stationary_words")
        )
        n_drains = np.diff(program.engine_start)[engines.drains]
        yield "passes", np.array([(a.sum(), b.sum(), n) for a, b, n in zip(first, last, n_drains, strict=True)])
        yield "words", np.array([(a.sum(), b.sum()) for a, b in zip(streamed, stationary, strict=True)])
        for c, (multiplying, draining) in enumerate(zip(engines.computes, engines.drains, strict=True)):
            ended = times[program.engine_start[multiplying] : program.engine_start[multiplying + 1], 1]
            yield f"begun.{c}", (ended - cycles[chunks[c]])[first[c] == 1]
            yield f"ended.{c}", ended[last[c] == 1]
            own, drains = by_engine(program, draining), program.drains
            drained = times[program.engine_start[draining] : program.engine_start[draining + 1]]
            yield f"drained.{c}", np.column_stack([drained, drains["route"][own], drains["n_packets"][own]])

    def _unified(self) -> Iterator[tuple[str, np.ndarray]]:
        table = self.program.vectors
        stream = np.arange(table["words"].shape[1])
        reads = (table["words"] * (stream < table["n_reads"][:, None])).sum(axis=1)
        results = (stream >= MAX_READS) & (stream < MAX_READS + table["n_writes"][:, None])
        said = {"busy_cycles": table["n_groups"], "commands": np.ones(len(table), np.int64), "read_words": reads,
                "written_words": (table["words"] * results).sum(axis=1)}  # fmt: skip
        for name, values in said.items():
            yield f"unified_{name}", self._by_engine(table, values, self.engines.vectors)

    def _transfers(self) -> Iterator[tuple[str, np.ndarray]]:
        program, touched, dma = self.program, self.touched, self.engines.dma
        rows = [by_engine(program, e) for e in dma]
        yield "commands", np.diff(program.engine_start)
        yield "dma_words", np.stack([self._by_operation(program.transfers[own], touched.words[own]) for own in rows], axis=1)
        yield "dma_bursts", np.array([touched.bursts[own].sum() for own in rows])
        yield "moved", self._by_engine(program.moves, touched.moved, self.engines.moves)
        yield from zip(("bursts_read", "bursts_written"), by_class(program, touched.bursts, self.n, len(TENSOR_CLASSES)), strict=True)
        arrived = np.zeros((self.n, len(TENSOR_CLASSES)), np.int64)
        rows = [by_engine(program, e) for e in self.engines.arrivals]
        for own in rows:
            table = program.arrivals[own]
            np.add.at(arrived, (table["operation"], table["tensor_class"]), touched.arrived[own])
        yield "arrived", arrived
        yield "arrived_bursts", np.array([touched.arrived[own].sum() for own in rows], np.int64)
        yield "channels", touched.channels
        yield from ((f"banks.{b}", banks) for b, banks in enumerate(touched.banks))

    def _packets(self) -> Iterator[tuple[str, np.ndarray]]:
        feeds, drains, touched = self.program.feeds, self.program.drains, self.touched
        yield "fed", np.stack([self._by_operation(feeds, touched.feed_words * (feeds["stream"] == stream)) for stream in (0, 1)], axis=1)
        yield "psum_packets", self._by_engine(drains, drains["n_packets"], self.engines.drains)
        yield "collected_packets", self._by_operation(drains, drains["n_packets"] * (drains["member"] == 0))
        yield "collected_words", self._by_operation(drains, touched.drain_words)
        yield "reduced", np.array(drains["n_packets"][drains["member"] > 0].sum())

    def _scores(self) -> Iterator[tuple[str, np.ndarray]]:
        times, operation = self.machine.times_of(self.program), self.program.commands["operation"]
        first, last = np.full(self.n, NEVER), np.full(self.n, 0)
        np.minimum.at(first, operation, times[:, 0])
        np.maximum.at(last, operation, times[:, 1])
        yield "n_commands", np.bincount(operation, minlength=self.n)
        yield "first_issue_at", first
        yield "last_completion_at", last
