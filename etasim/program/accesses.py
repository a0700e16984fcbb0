"""Which bytes the commands of a program touch, run by run."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from etasim.program.commands import BUFFER_AT, MAX_READS, MOVERS, STORE, Engines, Program, engines_of

AT_ONCE = 1 << 16
"""Runs that are looked at together: a drain may have hundreds."""


TABLES = ("transfers", "feeds", "drains", "moves", "arrivals", "vectors")
"""Of commands that touch a memory."""

BETWEEN_MEMORIES = ("transfers", "moves")
"""Tables whose commands read each run in one memory and write it in another."""


class Accesses(NamedTuple):
    """Runs in the order of emission: bytes ``first ... end - 1`` that the command at place ``command`` of that order reads or ``writes``.

    Addresses of all memories are one line: buffer after buffer, DRAM last, each from its entry of ``base`` on.
    """

    command: np.ndarray
    first: np.ndarray
    end: np.ndarray
    writes: np.ndarray
    base: np.ndarray


def runs_of(table: np.ndarray, starts: tuple[np.ndarray, ...], strides: tuple[np.ndarray, ...]) -> Iterator[tuple[np.ndarray, ...]]:
    """All runs of the rows of ``table``, about ``AT_ONCE`` at a time: the row of each, and where it starts in each address space."""
    n_runs = table["counts"].prod(axis=1)
    piece = np.cumsum(n_runs) // AT_ONCE
    for number in piece[np.flatnonzero(np.diff(piece, prepend=-1))]:
        rows = np.flatnonzero(piece == number)
        row = np.repeat(rows, n_runs[rows])
        index = np.arange(len(row)) - np.repeat(np.cumsum(n_runs[rows]) - n_runs[rows], n_runs[rows])
        at = [start[row].copy() for start in starts]
        for d in reversed(range(table["counts"].shape[1])):
            if (table["counts"][rows, d] > 1).any():
                index, i = np.divmod(index, table["counts"][row, d])
                for place, stride in zip(at, strides, strict=True):
                    place += i * stride[row, d]
        yield row, *at


def executed_by(program: Program, table: str) -> tuple[np.ndarray, np.ndarray]:
    """(engine, place in the order of emission) of the command that executes each row of a table, -1 where none does."""
    engine, place = np.full((2, len(getattr(program, table))), -1)
    for e in engines_of(program).executing(table):
        own = program.commands[program.engine_start[e] : program.engine_start[e + 1]]
        engine[own["row"]], place[own["row"]] = e, own["order"]
    return engine, place


def _buffers(engines: Engines) -> np.ndarray:
    """Buffer of each engine that meets one with its transfers or feeds, -1 of the others."""
    return np.array([engines.buffer_of.get(engine, -1) for engine in range(engines.total)])


class _Executed(NamedTuple):
    """Rows of a table that commands execute, in the order of emission, with the engine and the place of the command of each, and how many
    runs it has."""

    table: np.ndarray
    number: np.ndarray
    engine: np.ndarray
    place: np.ndarray
    n_runs: np.ndarray

    @property
    def rows(self) -> np.ndarray:
        """The rows."""
        return self.table[self.number]

    def between(self, first: int, end: int) -> "_Executed":
        """Those of commands at places ``first ... end - 1``."""
        own = slice(*np.searchsorted(self.place, (first, end)).tolist())
        return _Executed(self.table, self.number[own], self.engine[own], self.place[own], self.n_runs[own])


def _executed(program: Program, name: str, segment_bytes: np.ndarray) -> _Executed:
    table, (engine, place) = getattr(program, name), executed_by(program, name)
    used = np.flatnonzero(place >= 0)
    if name == "drains":
        used = used[(table["member"][used] == 0) & (table["n_segments"][used] > 0)]
    number = used[np.argsort(place[used])]
    if name == "drains":
        shapes, shape_of = _shapes(program, table[number], segment_bytes)
        n_runs = np.array([len(offsets) for offsets, _ in shapes], np.int64)[shape_of]
    elif name == "vectors":
        n_runs = (table["n_reads"] + table["n_writes"])[number]
    else:
        n_runs = table["counts"].prod(axis=1)[number] * (2 if name in BETWEEN_MEMORIES else 1)
    return _Executed(table, number, engine[number], place[number], n_runs)


def _transfers(program: Program, t: _Executed, base: np.ndarray) -> Iterator[tuple[Any, ...]]:
    rows, buffer = t.rows, _buffers(engines_of(program))
    starts, strides = (rows["dram_address"], rows["buffer_address"]), (rows["dram_strides"], rows["buffer_strides"])
    for row, dram, into in runs_of(rows, starts, strides):
        n_bytes, stores = rows["run_bytes"][row], t.engine[row] == STORE
        yield t.place[row], base[-1] + dram, n_bytes, stores
        yield t.place[row], base[buffer[t.engine[row]]] + into, n_bytes, ~stores


def _moves(program: Program, m: _Executed, base: np.ndarray) -> Iterator[tuple[Any, ...]]:
    rows, engines = m.rows, engines_of(program)
    number = m.engine - engines.moves.start + engines.movers.start
    starts, strides = (rows["source_address"], rows["target_address"]), (rows["source_strides"], rows["target_strides"])
    for row, source, target in runs_of(rows, starts, strides):
        for at, met, writes in ((source, "source", False), (target, "target", True)):
            buffer = np.array([getattr(mover, met) for mover in MOVERS])[number[row]]
            yield m.place[row], base[buffer] + at, rows["run_bytes"][row], np.full(len(row), writes)


def _arrivals(a: _Executed, base: np.ndarray) -> Iterator[tuple[Any, ...]]:
    rows = a.rows
    for row, dram in runs_of(rows, (rows["dram_address"],), (rows["dram_strides"],)):
        yield a.place[row], base[-1] + dram, rows["run_bytes"][row], np.ones(len(row), bool)


def _feeds(program: Program, f: _Executed, base: np.ndarray) -> Iterator[tuple[Any, ...]]:
    rows, of_row = f.rows, base[_buffers(engines_of(program))[f.engine]]
    for row, start in runs_of(rows, (rows["buffer_address"],), (rows["strides"],)):
        yield f.place[row], of_row[row] + start, rows["run_bytes"][row], np.zeros(len(row), bool)


def _shapes(program: Program, rows: np.ndarray, segment_bytes: np.ndarray) -> tuple[list[tuple[np.ndarray, np.ndarray]], np.ndarray]:
    """(offsets, bytes) of the runs of each shape of drains, and the shape of each of ``rows``: drains of equal segments have equal runs,
    segments that follow each other are one."""
    columns = rows["segment_table"], rows["n_segments"], segment_bytes[rows["operation"]]
    number = np.ravel_multi_index(columns, [1 + int(column.max(initial=0)) for column in columns])
    _, at_first, shape_of = np.unique(number, return_index=True, return_inverse=True)
    shapes = []
    for table, n_segments, n_bytes in zip(*(column[at_first] for column in columns), strict=True):
        offsets = program.segment_offsets[table : table + n_segments]
        at = np.flatnonzero(np.diff(offsets, prepend=offsets[0] - n_bytes - 1) != n_bytes)
        shapes.append((offsets[at], n_bytes * np.diff(np.append(at, n_segments))))
    return shapes, shape_of


def _drains(program: Program, d: _Executed, base: np.ndarray, segment_bytes: np.ndarray) -> Iterator[tuple[Any, ...]]:
    rows = d.rows
    shapes, shape_of = _shapes(program, rows, segment_bytes)
    by_shape = np.split(np.argsort(shape_of, kind="stable"), np.cumsum(np.bincount(shape_of, minlength=len(shapes))))[:-1]
    for (offsets, run_bytes), own in zip(shapes, by_shape, strict=True):
        start = (base[BUFFER_AT["collectors"]] + rows["buffer_address"][own])[:, None] + offsets
        yield np.repeat(d.place[own], len(offsets)), start.ravel(), np.tile(run_bytes, len(own)), np.ones(start.size, bool)


def _vectors(v: _Executed, base: np.ndarray, word_bytes: int) -> Iterator[tuple[Any, ...]]:
    rows = v.rows
    stream = np.arange(rows["words"].shape[1])
    for first, name, part, writes in ((0, "n_reads", "unified operands", False), (MAX_READS, "n_writes", "unified results", True)):
        used = (stream >= first) & (stream < first + rows[name][:, None])
        row = np.nonzero(used)[0]
        first_byte = base[BUFFER_AT[part]] + rows["address"][used] * word_bytes
        yield v.place[row], first_byte, rows["words"][used] * word_bytes, np.full(len(row), writes)


def accesses(program: Program, buffer_bytes: tuple[int, ...], word_bytes: int, segment_bytes: np.ndarray) -> Iterator[Accesses]:
    """All runs of ``program`` in buffers of ``buffer_bytes`` and in DRAM, those of some commands after the other, about ``AT_ONCE`` at a
    time; a segment that is drained has ``segment_bytes`` [operation]."""
    base = np.concatenate([[0], np.cumsum(buffer_bytes)])
    executed = {name: _executed(program, name, segment_bytes) for name in TABLES}
    n_before = int(program.before.sum())
    n_runs = np.zeros(len(program.commands), np.int64)
    for each in executed.values():
        n_runs[each.place - n_before] = each.n_runs
    of_command = np.cumsum(n_runs) // AT_ONCE
    first = np.append(np.flatnonzero(np.diff(of_command, prepend=-1)), len(n_runs)) + n_before
    for a, b in pairwise(first.tolist()):
        own = {name: each.between(a, b) for name, each in executed.items()}
        groups = [*_transfers(program, own["transfers"], base), *_feeds(program, own["feeds"], base)]
        groups += [*_drains(program, own["drains"], base, segment_bytes), *_moves(program, own["moves"], base)]
        groups += [*_arrivals(own["arrivals"], base), *_vectors(own["vectors"], base, word_bytes)]
        command, begin, n_bytes, writes = (np.concatenate(column) for column in zip(*groups, strict=True))
        used = np.flatnonzero(n_bytes > 0)
        # A command reads before it writes; the sort is over few ascending stretches.
        order = used[np.argsort(2 * command[used] + writes[used], kind="stable")]
        yield Accesses(command[order], begin[order], begin[order] + n_bytes[order], writes[order], base)
