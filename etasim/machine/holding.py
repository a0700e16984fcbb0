"""What the buffers hold over time: bytes that are being written, or are written and still to be read.

A compiled walk over the runs of all commands: in numpy their addresses, and the search for the cells that they meet, took five times as
long.
"""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from etasim.core.arrays import Integers, Records
from etasim.core.jit import is_cached, kernel, lowest_bit, procedure
from etasim.mapping import Mapping
from etasim.mapping.mapper import limits_of
from etasim.program.commands import BUFFER_AT, FEED_DIMENSIONS, MAX_READS, MOVERS, RUN_DIMENSIONS, STORE, TENSOR_CLASSES, Engines
from etasim.program.commands import Program, engines_of
from etasim.program.hazards import places_of

if TYPE_CHECKING:
    from etasim.machine.elaborate import Machine

RESULT = len(TENSOR_CLASSES)
"""Kind of what is no tensor: sums of the array, results of the unified core."""

TABLES = ("transfers", "feeds", "drains", "vectors", "moves")
TRANSFERS, FEEDS, DRAINS, VECTORS, MOVES = range(len(TABLES))
"""Of commands that meet a buffer, by number."""

READ, WRITTEN = range(2)

MARKS, RANK = range(2)
MARK_BITS = 5
"""Of an address: the place of its mark in a number."""

BEGIN, OPENED, CLOSES, KIND = range(4)
"""Numbers of a cell: its first byte; the samples in which it began to be held and was last held so far, and for what: -1, it is not."""

FIRST, BYTES, COUNTS = range(3)
STRIDES = COUNTS + FEED_DIMENSIONS
AT = STRIDES + FEED_DIMENSIONS
"""Numbers of strided runs: first byte and bytes of the one at hand; how many there are, how far apart, and which it is, by dimension."""


class Meeting(NamedTuple):
    """``executes`` [engine]: number of a table, or -1; ``buffer`` [engine, (`READ`, `WRITTEN`)]: the one that it meets, or -1; ``base``
    [buffer]: where each begins on the line of all their addresses, and where the line ends."""

    executes: Integers
    buffer: Integers
    base: Integers


class Stretch(NamedTuple):
    """Commands and their rows. ``index`` and ``engine`` [place in the order of emission]: of each command; ``times`` [command, (issued,
    completed)] in core cycles; ``segment_bytes`` [operation]."""

    commands: Records
    transfers: Records
    feeds: Records
    drains: Records
    vectors: Records
    moves: Records
    segment_offsets: Integers
    index: Integers
    engine: Integers
    times: Integers
    segment_bytes: Integers
    word_bytes: int


class Cells(NamedTuple):
    """``marked`` [part of the line, (`MARKS`, `RANK`)]: the addresses at which cells begin, a bit each, and how many begin before the part;
    ``now`` [cell, `BEGIN` ... `KIND`]: the cells, and ``before``: those into which earlier commands cut the line, both up to its end."""

    marked: Integers
    before: Integers
    now: Integers


@kernel
def _ones(bits: int) -> int:
    """How many of 32 bits are set."""
    bits = bits - ((bits >> 1) & 0x55555555)
    bits = (bits & 0x33333333) + ((bits >> 2) & 0x33333333)
    return ((((bits + (bits >> 4)) & 0x0F0F0F0F) * 0x01010101) & 0xFFFFFFFF) >> 24


@kernel
def _begun_before(marked: Integers, address: int) -> int:
    """Cells that begin before an address."""
    part = address >> MARK_BITS
    return marked[part, RANK] + _ones(marked[part, MARKS] & ((1 << (address & ((1 << MARK_BITS) - 1))) - 1))


@kernel
def _mark(marked: Integers, address: int) -> None:
    """A cell begins at an address."""
    marked[address >> MARK_BITS, MARKS] |= 1 << (address & ((1 << MARK_BITS) - 1))


@kernel
def _rank(meeting: Meeting, cells: Cells) -> int:
    """Mark where buffers begin, and cells that are held as no neighbour is; returns how many cells there are then."""
    marked, before, n = cells.marked, cells.before, 0
    for buffer in range(meeting.base.shape[0]):
        _mark(marked, meeting.base[buffer])
    for c in range(1, before.shape[0]):
        if before[c, KIND] != before[c - 1, KIND] or before[c, OPENED] != before[c - 1, OPENED] or before[c, CLOSES] != before[c - 1, CLOSES]:
            _mark(marked, before[c, BEGIN])
    for part in range(marked.shape[0]):
        marked[part, RANK] = n
        n += _ones(marked[part, MARKS])
    return n


@kernel
def _cut(cells: Cells) -> None:
    """Cells as they are marked, each held as that was of which it is a piece."""
    marked, before, now, c, n = cells.marked, cells.before, cells.now, 0, 0
    for part in range(marked.shape[0]):
        bits = marked[part, MARKS]
        while bits != 0:
            begin = (part << MARK_BITS) + lowest_bit(bits)
            bits &= bits - 1
            while c + 1 < before.shape[0] and before[c + 1, BEGIN] <= begin:
                c += 1
            now[n, BEGIN] = begin
            for i in range(OPENED, KIND + 1):
                now[n, i] = before[c, i]
            n += 1


@kernel
def _lay_out(counts: Integers, strides: Integers, runs: Integers) -> int:
    """Strided runs, from the first one on; returns how many there are."""
    n = 1
    for d in range(counts.shape[0]):
        runs[COUNTS + d], runs[STRIDES + d], runs[AT + d] = counts[d], strides[d], 0
        n *= counts[d]
    for d in range(counts.shape[0], FEED_DIMENSIONS):
        runs[COUNTS + d], runs[STRIDES + d], runs[AT + d] = 1, 0, 0
    return n


@kernel
def _begin(stretch: Stretch, executes: int, row: int, way: int, base: int, runs: Integers) -> int:
    """The first run of a command in the buffer that it reads or writes from ``base`` on; returns how many there are."""
    if executes == TRANSFERS:
        transfer = stretch.transfers[row]
        runs[FIRST], runs[BYTES] = base + transfer["buffer_address"], transfer["run_bytes"]
        return _lay_out(transfer["counts"], transfer["buffer_strides"], runs)
    if executes == FEEDS:
        feed = stretch.feeds[row]
        runs[FIRST], runs[BYTES] = base + feed["buffer_address"], feed["run_bytes"]
        return _lay_out(feed["counts"], feed["strides"], runs)
    if executes == DRAINS:
        drain = stretch.drains[row]
        runs[BYTES] = stretch.segment_bytes[drain["operation"]]
        return drain["n_segments"] if drain["member"] == 0 else 0
    if executes == VECTORS:
        return stretch.vectors[row]["n_reads"] if way == READ else stretch.vectors[row]["n_writes"]
    move = stretch.moves[row]
    runs[BYTES] = move["run_bytes"]
    if way == READ:
        runs[FIRST] = base + move["source_address"]
        return _lay_out(move["counts"], move["source_strides"], runs)
    runs[FIRST] = base + move["target_address"]
    return _lay_out(move["counts"], move["target_strides"], runs)


@kernel
def _go_to(stretch: Stretch, executes: int, row: int, way: int, base: int, runs: Integers, r: int) -> None:
    """From run ``r - 1`` to run ``r``."""
    if executes == DRAINS:
        drain = stretch.drains[row]
        runs[FIRST] = base + drain["buffer_address"] + stretch.segment_offsets[drain["segment_table"] + r]
    elif executes == VECTORS:
        vector, stream = stretch.vectors[row], r + (MAX_READS if way == WRITTEN else 0)
        runs[FIRST] = base + vector["address"][stream] * stretch.word_bytes
        runs[BYTES] = vector["words"][stream] * stretch.word_bytes
    elif r > 0:
        d = FEED_DIMENSIONS - 1
        runs[AT + d] += 1
        runs[FIRST] += runs[STRIDES + d]
        while runs[AT + d] == runs[COUNTS + d]:
            runs[AT + d] = 0
            runs[FIRST] -= runs[COUNTS + d] * runs[STRIDES + d]
            d -= 1
            runs[AT + d] += 1
            runs[FIRST] += runs[STRIDES + d]


@kernel
def _kind(stretch: Stretch, executes: int, row: int) -> int:
    """What a command writes into a buffer."""
    if executes == TRANSFERS:
        return stretch.transfers[row]["tensor_class"]
    return stretch.moves[row]["tensor_class"] if executes == MOVES else RESULT


@kernel
def _enter(cells: Integers, cell: int, buffer: int, changes: Integers) -> None:
    """What a holding that is over adds where it begins, and takes where it ends."""
    n_bytes = cells[cell + 1, BEGIN] - cells[cell, BEGIN]
    changes[cells[cell, OPENED], buffer, cells[cell, KIND]] += n_bytes
    changes[cells[cell, CLOSES], buffer, cells[cell, KIND]] -= n_bytes


@kernel
def _touch(cells: Cells, first: int, end: int, kind: int, begins: int, ends: int, buffer: int, changes: Integers) -> None:
    """Bytes are read, or written if there is a ``kind``. A command that reads a cell and writes it begins to hold it when what it reads is
    done with."""
    now, cell = cells.now, _begun_before(cells.marked, first)
    while now[cell, BEGIN] < end:
        if kind >= 0:
            begun = max(begins, now[cell, CLOSES])
            if now[cell, KIND] >= 0:
                _enter(now, cell, buffer, changes)
            now[cell, OPENED] = begun
            now[cell, CLOSES] = max(ends, begun)
            now[cell, KIND] = kind
        elif now[cell, KIND] >= 0:
            now[cell, CLOSES] = max(now[cell, CLOSES], ends)
        cell += 1


@procedure
def _walk(holds: int, stretch: Stretch, meeting: Meeting, cells: Cells, sample_cycles: int, runs: Integers, changes: Integers) -> int:
    """Mark the cells into which the runs of a stretch cut the buffers, and return how many there are; if it ``holds``: cut them so, and
    enter into ``changes`` [sample, buffer, kind] what holdings that are over add and take.

    Times are counted in samples: which of two cycles is later does not change by counting in longer steps. Commands come in the order of
    emission: of a cell, which no two of them may touch at once, that is the order of time. Runs that follow each other are one.
    """
    if holds:
        _cut(cells)
    for place in range(stretch.index.shape[0]):
        index, engine = stretch.index[place], stretch.engine[place]
        executes, row = meeting.executes[engine], stretch.commands[index]["row"]
        for way in range(2):
            buffer = meeting.buffer[engine, way]
            if buffer < 0:
                continue
            kind = -1 if way == READ else _kind(stretch, executes, row)
            begins, ends = stretch.times[index, 0] // sample_cycles, stretch.times[index, 1] // sample_cycles
            base = meeting.base[buffer]
            n, first, end = _begin(stretch, executes, row, way, base, runs), base, base
            for r in range(n + 1):
                if r < n:
                    _go_to(stretch, executes, row, way, base, runs, r)
                    if runs[FIRST] == end:
                        end += runs[BYTES]
                        continue
                if end > first:
                    if holds:
                        _touch(cells, first, end, kind, begins, ends, buffer, changes)
                    else:
                        _mark(cells.marked, first)
                        _mark(cells.marked, end)
                first, end = runs[FIRST], runs[FIRST] + runs[BYTES]
    return 0 if holds else _rank(meeting, cells)


def is_compiled() -> bool:
    """Whether the walk is on disk; the first series compiles it otherwise."""
    return is_cached(_walk)


def _meeting(engines: Engines, buffer_bytes: tuple[int, ...]) -> Meeting:
    executes, buffer = np.full(engines.total, -1), np.full((engines.total, 2), -1)
    for number, table in enumerate(TABLES):
        executes[list(engines.executing(table))] = number
    for engine, met in engines.buffer_of.items():
        buffer[engine, WRITTEN if executes[engine] == TRANSFERS and engine != STORE else READ] = met
    buffer[engines.drains, WRITTEN] = BUFFER_AT["collectors"]
    buffer[engines.vectors] = BUFFER_AT["unified operands"], BUFFER_AT["unified results"]
    for engine, number in zip(engines.moves, engines.movers, strict=True):
        buffer[engine] = MOVERS[number].source, MOVERS[number].target
    return Meeting(executes, buffer, np.concatenate([[0], np.cumsum(buffer_bytes)]))


class Holding:
    """Takes the stretches of a program that has run, one after the other. ``ends`` of the samples, all but the last one equally far
    apart."""

    def __init__(self, machine: "Machine", mapping: Mapping, ends: np.ndarray) -> None:
        self._machine, self._sample_cycles = machine, int(ends[0])
        self._limits = limits_of(machine.architecture, mapping)
        self._meeting = _meeting(engines_of(machine.program), self._limits.buffer_bytes)
        self._marked = np.zeros(((int(self._meeting.base[-1]) >> MARK_BITS) + 1, 2), np.int64)
        self._cells = np.array([[0, 0, 0, -1]])
        self._changes = np.zeros((len(ends) + 1, len(self._limits.buffer_bytes), RESULT + 1), np.int64)

    def take(self, program: Program) -> None:
        """The next one."""
        place_of, engine_at = places_of(program)
        index = np.empty_like(place_of)
        index[place_of] = np.arange(len(place_of))
        limits = self._limits
        stretch = Stretch(
            program.commands, *(getattr(program, table) for table in TABLES), program.segment_offsets, index, engine_at,
            self._machine.times_of(program), limits.segment_bytes, limits.word_bytes,
        )  # fmt: skip
        runs = np.zeros(AT + FEED_DIMENSIONS, np.int64)
        self._marked[:] = 0
        n = _walk(0, stretch, self._meeting, Cells(self._marked, self._cells, self._cells), self._sample_cycles, runs, self._changes)
        cells = Cells(self._marked, self._cells, np.empty((n, self._cells.shape[1]), np.int64))
        _walk(1, stretch, self._meeting, cells, self._sample_cycles, runs, self._changes)
        self._cells = cells.now

    def held_bytes(self) -> np.ndarray:
        """Bytes held before the end of each sample, all stretches taken: [sample, buffer, tensor class or result]."""
        begin, opened, closes, kind = self._cells.T
        held = np.flatnonzero(kind >= 0)
        n_bytes, buffer = np.diff(begin, append=begin[-1:])[held], np.searchsorted(self._meeting.base, begin[held], side="right") - 1
        changes = self._changes.copy()
        np.add.at(changes, (opened[held], buffer, kind[held]), n_bytes)
        np.add.at(changes, (closes[held], buffer, kind[held]), -n_bytes)
        return changes.cumsum(axis=0)[:-1]
