"""Builds a tile program: buffer regions, dependencies between commands, pooled tables."""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from math import prod
from typing import Any, NamedTuple, NoReturn

import numpy as np

from etasim.core.errors import InfeasibleError
from etasim.program.commands import BARE, COMMAND, DEPENDENCY, GEOMETRY, ROWS, Present, Program, numbered_engines
from etasim.program.repeats import REPEATED, WAIT, WRITTEN, Copied, Repeat, Standing, Stretch, needed

MOST_COMMANDS = 2**22
"""Of a program that is built whole: about 4 GB meanwhile. ResNet50 for ImageNet has a tenth of that at a batch of 8."""

MOST_IN_WINDOWS = 2**27
"""Of a program that is built in windows: days of simulation."""

EVERYTHING = 2**62
"""The length of a window that holds any program."""

Row = tuple[Any, ...]
"""Of a table of the program, its fields in order."""


class Region:
    """A range of a buffer with the commands that fill it, read it, and that must finish before it may be filled."""

    __slots__ = ("_last_uses", "address", "blockers", "n_bytes", "readers", "writers")

    def __init__(self, address: int, n_bytes: int, blockers: dict[int, int]) -> None:
        self.address, self.n_bytes, self.blockers = address, n_bytes, blockers
        self.writers: dict[int, int] = {}
        self.readers: dict[int, int] = {}
        self._last_uses: dict[int, int] | None = None

    def at(self, address: int) -> "Region":
        """The bytes from ``address`` on, as who reads them addresses them: they are read when this region is."""
        part = Region(address, self.address + self.n_bytes - address, self.blockers)
        part.writers, part.readers = self.writers, self.readers
        return part

    @property
    def last_uses(self) -> dict[int, int]:
        """What another region that lies on it waits for. It is not used any more when the first one does."""
        if self._last_uses is None:
            self._last_uses = dict(self.blockers)
            merge(self._last_uses, self.writers)
            merge(self._last_uses, self.readers)
        return self._last_uses


def merge(into: dict[int, int], other: dict[int, int]) -> None:
    """Later of two waits, engine by engine."""
    for engine, count in other.items():
        if into.get(engine, 0) < count:
            into[engine] = count


class BufferFullError(ValueError):
    """``buffer`` cannot hold the ``needed_bytes`` that must lie in it at once."""

    def __init__(self, buffer: str, needed_bytes: int, capacity_bytes: int) -> None:
        self.buffer, self.needed_bytes = buffer, needed_bytes
        super().__init__(f"{needed_bytes} bytes do not fit the {buffer} buffer of {capacity_bytes}")


class Ring:
    """Allocates regions of a buffer round robin; a new region waits for the commands on the regions that it overlays.

    Two halves make a ring: what is filled next never meets what is in use, as with a double buffer. ``swaps``: how often filling went
    over to the other half. ``first`` and ``end``: the bytes in which it turns, all of them unless something lives beside it;
    ``reached``: before which all regions end.
    ``_uppermost``: (address, end, region) in order, of regions and what is left of regions on which no other lies; what lay below must be
    over before these are filled.
    """

    def __init__(self, name: str, capacity_bytes: int, word_bytes: int) -> None:
        self.name, self.capacity_bytes, self.word_bytes = name, capacity_bytes, word_bytes
        self.swaps = self.reached = self._half = self._next = 0
        self.first, self.end = 0, capacity_bytes
        self._uppermost: list[tuple[int, int, Region]] = []
        self._held: list[Region] = []
        self._scopes = 0

    def turn_in(self, first: int, end: int) -> None:
        """Allocate from the bytes [first, end) from now on: nothing that was allocated before is used any more by what is appended."""
        self.first, self.end = first, end
        if not first <= self._next <= end:
            self._next = first

    @contextmanager
    def scope(self, n_bytes: int) -> Iterator[None]:
        """What is allocated inside, about ``n_bytes``, stays untouched until the end of the scope; it starts where all of it fits in a
        row."""
        if not self._held and self._next + n_bytes > self.end:
            self._next = self.first
        n_held = len(self._held)
        self._scopes += 1
        yield
        self._scopes -= 1
        del self._held[n_held:]

    def allocate(self, n_bytes: int) -> Region:
        """Region of ``n_bytes``, word aligned. Raises BufferFullError if it does not fit the buffer beside what a scope holds."""
        size = -(-n_bytes // self.word_bytes) * self.word_bytes
        if size > self.end - self.first:
            raise BufferFullError(self.name, size, self.capacity_bytes)
        if self._next + size > self.end:
            self._next = self.first
        start, end = self._next, self._next + size
        if self._held and any(region.address < end and start < region.address + region.n_bytes for region in self._held):
            raise BufferFullError(self.name, size + sum(region.n_bytes for region in self._held), self.capacity_bytes)
        region = self.claim(start, size)
        if self._scopes:
            self._held.append(region)
        self._next = end
        half = 2 * start // self.capacity_bytes
        self.swaps, self._half = self.swaps + (half != self._half), half
        return region

    def claim(self, start: int, n_bytes: int) -> Region:
        """The bytes [start, start + n_bytes), whatever lies there; a multiple of the word."""
        end, known = start + n_bytes, self._uppermost
        self.reached = max(self.reached, end)
        first, stop = bisect_left(known, (start,)), bisect_left(known, (end,))
        if first and known[first - 1][1] > start:
            first -= 1
        met, blockers = known[first:stop], dict[int, int]()
        for _, _, region in met:
            if blockers:
                merge(blockers, region.last_uses)
            else:
                blockers = dict(region.last_uses)
        claimed = Region(start, n_bytes, blockers)
        left = [(met[0][0], start, met[0][2])] if met and met[0][0] < start else []
        right = [(end, met[-1][1], met[-1][2])] if met and met[-1][1] > end else []
        known[first:stop] = [*left, (start, end, claimed), *right]
        return claimed


class WrittenSoFar(NamedTuple):
    """How many numbers of commands and of waits, and rows of the tables that repeat, have been written."""

    commands: int
    waits: int
    rows: dict[str, int]


Take = Callable[[Program], None]
"""What is done with a finished window."""


class Builder:
    """Appends commands with what they wait for, from the regions they touch; the redundant waits are dropped in the end.

    Whenever about ``window`` commands have been appended, ``take`` gets them as a program, and the next window begins.
    """

    def __init__(self, n_clusters: int, n_cores: int = 1, present: Present = BARE, window: int = EVERYTHING) -> None:
        self.engines = numbered_engines(n_cores, n_clusters, present)
        self._window = window
        self.take: Take | None = None
        self._most_commands = MOST_COMMANDS if window >= MOST_COMMANDS else MOST_IN_WINDOWS
        self._first_order, self._before = 0, [0] * self.engines.total
        self._told = np.zeros((self.engines.total, self.engines.total), np.int64)
        self._count = [0] * self.engines.total
        self._commands: list[int] = []  # number by number, as WRITTEN and WAIT have them
        self._waits: list[int] = []
        self._order = 0
        self._rows: dict[str, list[Row]] = {name: [] for name in ROWS}
        self._n_rows = dict.fromkeys(ROWS, 0)
        self.repeats: list[Repeat] = []
        self._pools: dict[str, list[np.ndarray]] = {"sweep": [], "word": [], "segment": [], "tap": []}
        self._known: dict[bytes, int] = {}
        self._sizes = dict.fromkeys(self._pools, 0)
        self._geometries: dict[Row, int] = {}
        self.operation = 0

    def cluster(self, c: int) -> int:
        """Engine number of the multiplying part of cluster ``c``."""
        return self.engines.computes[c]

    def drain(self, c: int) -> int:
        """Engine number of the draining part of cluster ``c``."""
        return self.engines.drains[c]

    def completed(self, engine: int) -> int:
        """Commands appended to ``engine`` so far."""
        return self._count[engine]

    def append(
        self,
        engine: int,
        table: str,
        row: Row,
        reads: Iterable[Region] = (),
        writes: Iterable[Region] = (),
        after: dict[int, int] | None = None,
    ) -> int:
        """Append a command; returns the number of commands of ``engine`` including it."""
        waits: dict[int, int] = dict(after) if after else {}
        for region in reads:
            merge(waits, region.writers)
        for region in writes:
            if waits:
                merge(waits, region.blockers)
            else:
                waits = dict(region.blockers)
            if region.readers:
                merge(waits, region.readers)
        order = self._order
        if order >= self._most_commands:
            refuse_length(self._most_commands)
        for other, count in waits.items():
            self._waits += (order, other, count)
        self._commands += (engine, self._n_rows[table], self.operation, order)
        self._rows[table].append(row)
        self._n_rows[table] += 1
        self._order += 1
        self._count[engine] += 1
        done = self._count[engine]
        for region in reads:
            region.readers[engine] = done
        for region in writes:
            region.writers[engine] = done
        return done

    def _table(self, kind: str, values: np.ndarray) -> int:
        values = np.ascontiguousarray(values, np.int64)
        key = kind.encode() + values.tobytes()
        if key not in self._known:
            self._known[key] = self._sizes[kind]
            self._pools[kind].append(values)
            self._sizes[kind] += len(values)
        return self._known[key]

    def sweep_table(self, cycles: np.ndarray) -> int:
        """Start of ``cycles`` in the pool of sweep durations (equal tables are stored once)."""
        return self._table("sweep", cycles)

    def word_table(self, words: np.ndarray) -> int:
        """Start of ``words`` [sweeps, (stream, stationary)] in the pool of words that sweeps wait for (equal tables are stored once)."""
        return self._table("word", words)

    def segment_table(self, offsets: np.ndarray) -> int:
        """Start of ``offsets`` in the pool of drain destinations (equal tables are stored once)."""
        return self._table("segment", offsets)

    def tap_table(self, taps: np.ndarray) -> int:
        """Start of ``taps`` [taps, (dy, dx)] in the pool of taps (equal tables are stored once)."""
        return self._table("tap", taps)

    def geometry(self, row: Row) -> int:
        """Number of a chunk's geometry (equal ones are stored once)."""
        return self._geometries.setdefault(row, len(self._geometries))

    # What repeats -------------------------------------------------------------------------------------------------

    def standing(self, addresses: tuple[int, int], loads: Iterable[tuple[int, int]], received: list[list[int]]) -> Standing:
        """Where a stretch of feeds and chunks begins now: ``addresses`` of the pieces of both operands, first (engine, count) of their
        loads, words ``received`` by each cluster on both scratchpads."""
        completed = list(self._count)
        for engine, count in loads:
            completed[engine] = count
        rows = self._n_rows["feeds"], self._n_rows["computes"]
        return [self._order, self.operation, *rows, *addresses, *completed, *chain.from_iterable(received)]

    def marked(self) -> WrittenSoFar:
        """How much has been written by now."""
        return WrittenSoFar(len(self._commands), len(self._waits), {name: len(self._rows[name]) for name in REPEATED})

    def written_since(self, mark: WrittenSoFar, at: Standing) -> Repeat:
        """The feeds and chunks since ``mark``, which stood ``at``."""
        rows = {name: _records(self._rows[name][first:], REPEATED[name]) for name, first in mark.rows.items()}
        commands, waits = _written(self._commands[mark.commands :], WRITTEN), _written(self._waits[mark.waits :], WAIT)
        self.repeats.append(Repeat(Stretch(at, commands, rows, waits), self.engines))
        return self.repeats[-1]

    def repeat(self, repeat: Repeat, at: Standing) -> None:
        """Append the same again."""
        repeat.standings.append(at)
        self._order += len(repeat.stretch.commands)
        if self._order > self._most_commands:
            refuse_length(self._most_commands)
        self._count = [n + more for n, more in zip(self._count, repeat.n_commands, strict=True)]
        for name, rows in repeat.stretch.rows.items():
            self._n_rows[name] += len(rows)

    # The program --------------------------------------------------------------------------------------------------

    def may_cut(self) -> None:
        """A window may end here: no chunk is to come whose feeds have been appended, no drain that the network adds to the last one."""
        if self.take is None or self._order - self._first_order < self._window:
            return
        self.take(self.build())
        self._first_order, self._before = self._order, list(self._count)
        for numbers in (self._commands, self._waits):
            numbers.clear()
        for rows in self._rows.values():
            rows.clear()
        for repeat in self.repeats:
            repeat.standings.clear()
        self._n_rows = dict.fromkeys(ROWS, 0)

    def build(self) -> Program:
        """What has been appended since the last window as arrays."""
        copies = [repeat.copies() for repeat in self.repeats if repeat.standings]
        written = np.concatenate([_written(self._commands, WRITTEN), *(each.commands for each in copies)])
        written = written[np.argsort(written["order"])]
        waits = np.concatenate([_written(self._waits, WAIT), *(each.waits for each in copies)])
        waits = needed(waits, written["engine"], self._told, self._first_order)
        n_waits = np.bincount(waits["order"] - self._first_order, minlength=len(written))
        commands = np.empty(len(written), COMMAND)
        for name in ("row", "operation", "order"):
            commands[name] = written[name]
        commands["first_dependency"], commands["n_dependencies"] = np.cumsum(n_waits) - n_waits, n_waits
        dependencies = np.zeros(len(waits) + 1, DEPENDENCY)
        for name in DEPENDENCY.names or ():
            dependencies[name][:-1] = waits[name]
        empty = {kind: np.zeros((1, 2) if kind in ("word", "tap") else 1, np.int64) for kind in self._pools}
        pools = {kind: np.concatenate(parts or [empty[kind]]) for kind, parts in self._pools.items()}
        return Program(
            commands=commands[np.argsort(written["engine"], kind="stable")],
            engine_start=np.concatenate([[0], np.cumsum(np.subtract(self._count, self._before))]),
            before=np.array(self._before),
            first_engine=np.array([0, *(own.stop for own in self.engines)]),
            dependencies=dependencies,
            sweep_cycles=pools["sweep"],
            sweep_words=pools["word"],
            segment_offsets=pools["segment"],
            geometries=np.array(list(self._geometries) or np.zeros(1, GEOMETRY), GEOMETRY),
            taps=pools["tap"],
            **{name: self._table_rows(name, copies) for name in ROWS},
        )

    def _table_rows(self, name: str, copies: list[Copied]) -> np.ndarray:
        """All rows of a table, one of zeros if there are none."""
        written = _records(self._rows[name], ROWS[name])
        groups = [each.rows[name] for each in copies] if name in REPEATED else []
        if not groups:
            return written if len(written) else np.zeros(1, ROWS[name])
        rows, is_copy = np.empty(self._n_rows[name], ROWS[name]), np.zeros(self._n_rows[name], bool)
        for numbers, fields in groups:
            rows[numbers], is_copy[numbers] = fields, True
        rows[~is_copy] = written
        return rows


def refuse_length(most: int) -> NoReturn:
    """Raise InfeasibleError: a program is too long."""
    raise InfeasibleError(
        f"the tile program has more than {most:,} commands, too many to simulate: a smaller batch or larger memories need "
        "fewer, and --fidelity analytical none"
    )


def _written(numbers: list[int], kind: np.dtype) -> np.ndarray:
    """``numbers`` as records, which have them one after the other."""
    return np.fromiter(numbers, np.int64, len(numbers)).view(kind)


def _records(rows: list[Row], kind: np.dtype) -> np.ndarray:
    """``rows`` as records; number by number, or, where a field has several of them, field by field: both much faster than row by row."""
    names, table = kind.names or (), np.empty(len(rows), kind)
    if not rows or not any(kind[name].shape for name in names):
        return np.fromiter(chain.from_iterable(rows), np.int64, len(rows) * (kind.itemsize // 8)).view(kind)
    for name, column in zip(names, zip(*rows, strict=True), strict=True):
        shape = kind[name].shape
        numbers = chain.from_iterable(column) if shape else column
        table[name] = np.fromiter(numbers, np.int64, len(rows) * prod(shape)).reshape(-1, *shape)
    return table
