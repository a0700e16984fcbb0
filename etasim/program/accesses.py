"""Which bytes the commands of a program touch, run by run."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from etasim.program.commands import BUFFER_AT, MAX_READS, MOVERS, STORE, Engines, Program, engines_of

AT_ONCE = 1 << 17
"""Runs that are looked at together."""


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
    for number in np.unique(piece):
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


def _transfers(program: Program, base: np.ndarray) -> Iterator[tuple[Any, ...]]:
    t = program.transfers
    engine, place = executed_by(program, "transfers")
    buffer = _buffers(engines_of(program))
    for row, dram, into in runs_of(t, (t["dram_address"], t["buffer_address"]), (t["dram_strides"], t["buffer_strides"])):
        n_bytes, stores = t["run_bytes"][row], engine[row] == STORE
        yield place[row], base[-1] + dram, n_bytes, stores
        yield place[row], base[buffer[engine[row]]] + into, n_bytes, ~stores


def _moves(program: Program, base: np.ndarray) -> Iterator[tuple[Any, ...]]:
    m, engines = program.moves, engines_of(program)
    engine, place = executed_by(program, "moves")
    number = engine - engines.moves.start + engines.movers.start
    for row, source, target in runs_of(m, (m["source_address"], m["target_address"]), (m["source_strides"], m["target_strides"])):
        for at, met, writes in ((source, "source", False), (target, "target", True)):
            buffer = np.array([getattr(mover, met) for mover in MOVERS])[number[row]]
            yield place[row], base[buffer] + at, m["run_bytes"][row], np.full(len(row), writes)


def _arrivals(program: Program, base: np.ndarray) -> Iterator[tuple[Any, ...]]:
    a = program.arrivals
    _, place = executed_by(program, "arrivals")
    for row, dram in runs_of(a, (a["dram_address"],), (a["dram_strides"],)):
        yield place[row], base[-1] + dram, a["run_bytes"][row], np.ones(len(row), bool)


def _feeds(program: Program, base: np.ndarray) -> Iterator[tuple[Any, ...]]:
    f = program.feeds
    engine, place = executed_by(program, "feeds")
    of_row = base[_buffers(engines_of(program))[engine]]
    for row, start in runs_of(f, (f["buffer_address"],), (f["strides"],)):
        yield place[row], of_row[row] + start, f["run_bytes"][row], np.zeros(len(row), bool)


def _drains(program: Program, base: np.ndarray, segment_bytes: np.ndarray) -> Iterator[tuple[Any, ...]]:
    """Segments that follow each other are one run; drains of equal segments have equal runs."""
    d = program.drains
    _, place = executed_by(program, "drains")
    rows = np.flatnonzero((d["member"] == 0) & (place >= 0) & (d["n_segments"] > 0))
    size = segment_bytes[d["operation"][rows]]
    columns = d["segment_table"][rows], d["n_segments"][rows], size
    number = np.ravel_multi_index(columns, [1 + int(column.max(initial=0)) for column in columns])
    _, at_first, kind = np.unique(number, return_index=True, return_inverse=True)
    by_kind = np.split(rows[np.argsort(kind, kind="stable")], np.cumsum(np.bincount(kind, minlength=len(at_first))))[:-1]
    for table, n_segments, n_bytes, own in zip(*(column[at_first] for column in columns), by_kind, strict=True):
        offsets = program.segment_offsets[table : table + n_segments]
        at = np.flatnonzero(np.diff(offsets, prepend=offsets[0] - n_bytes - 1) != n_bytes)
        n_runs, run_bytes = len(at), n_bytes * np.diff(np.append(at, n_segments))
        start = (base[BUFFER_AT["collectors"]] + d["buffer_address"][own])[:, None] + offsets[at]
        yield np.repeat(place[own], n_runs), start.ravel(), np.tile(run_bytes, len(own)), np.ones(start.size, bool)


def _vectors(program: Program, base: np.ndarray, word_bytes: int) -> Iterator[tuple[Any, ...]]:
    v = program.vectors
    _, place = executed_by(program, "vectors")
    stream = np.arange(v["words"].shape[1])
    for first, name, part, writes in ((0, "n_reads", "unified operands", False), (MAX_READS, "n_writes", "unified results", True)):
        used = (stream >= first) & (stream < first + v[name][:, None])
        row = np.nonzero(used)[0]
        first_byte = base[BUFFER_AT[part]] + v["address"][used] * word_bytes
        yield place[row], first_byte, v["words"][used] * word_bytes, np.full(len(row), writes)


def accesses(program: Program, buffer_bytes: tuple[int, ...], word_bytes: int, segment_bytes: np.ndarray) -> Accesses:
    """All runs of ``program`` in buffers of ``buffer_bytes`` and in DRAM; a segment that is drained has ``segment_bytes`` [operation]."""
    base = np.concatenate([[0], np.cumsum(buffer_bytes)])
    groups = [*_transfers(program, base), *_feeds(program, base), *_drains(program, base, segment_bytes)]
    groups += [*_moves(program, base), *_arrivals(program, base), *_vectors(program, base, word_bytes)]
    command, first, n_bytes, writes = (np.concatenate(column) for column in zip(*groups, strict=True))
    used = np.flatnonzero((command >= 0) & (n_bytes > 0))
    # A command reads before it writes; the sort is over few ascending stretches.
    order = used[np.argsort(2 * command[used] + writes[used], kind="stable")]
    return Accesses(command[order], first[order], first[order] + n_bytes[order], writes[order], base)
