"""What the buffers hold over time: bytes that are being written, or are written and still to be read.

A compiled walk over the runs of all commands: in numpy their addresses, and the search for the cells that they meet, took five times as
long.
"""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from etasim.core.arrays import Integers, Numbers, Records
from etasim.core.jit import is_cached, kernel, lowest_bit, procedure
from etasim.mapping import Mapping
from etasim.mapping.mapper import segment_bytes
from etasim.program.commands import BUFFER_AT, FEED_DIMENSIONS, MAX_READS, MOVERS, STORE, TENSOR_CLASSES, Engines, Program, engines_of
from etasim.program.hazards import places_of
from etasim.schedule.array import array_of

if TYPE_CHECKING:
    from etasim.machine.elaborate import Machine

RESULT = len(TENSOR_CLASSES)
"""Kind of what is no tensor: sums of the array, results of the unified core."""

TABLES = ("transfers", "feeds", "drains", "vectors", "moves")
TRANSFERS, FEEDS, DRAINS, VECTORS, MOVES = range(len(TABLES))
"""Of commands that meet a buffer, by number."""

READ, WRITTEN = range(2)

MARK_BITS, RANK_AT = 5, 32
"""Bits of an address that say which of the 32 marks of a part of the line is its own; the bit at which the rank of the part begins."""

COUNTS, STRIDES, AT = (i * FEED_DIMENSIONS for i in range(3))
"""Numbers of strided runs: how many there are, how far apart, and which one is at hand, by dimension."""


class Meeting(NamedTuple):
    """``executes`` [engine]: number of a table, or -1; ``buffer`` [engine, (`READ`, `WRITTEN`)]: the one that it meets, or -1; ``base``
    [buffer]: where each begins on the line of all their addresses, and where the line ends."""

    executes: Integers
    buffer: Integers
    base: Integers


class WalkedCommands(NamedTuple):
    """Commands and their rows. ``joined`` [size, segment]: the one after those that follow each other without a gap, if they are of that
    size; ``size_of`` and ``segment_bytes`` [operation]; ``command_at`` and ``engine_at`` [place in the order of emission]; ``times``
    [command, (issued, completed)] in samples."""

    commands: Records
    transfers: Records
    feeds: Records
    drains: Records
    vectors: Records
    moves: Records
    segment_offsets: Integers
    joined: Integers
    size_of: Integers
    command_at: Integers
    engine_at: Integers
    times: Integers
    segment_bytes: Integers
    word_bytes: int


class HeldCells(NamedTuple):
    """Of each cell its first byte, the samples in which it began to be held and was last held so far, and for what; -1: it is not. The last
    one begins where the line ends."""

    begin: Integers
    opened: Numbers
    closes: Numbers
    kind: Numbers


class Cut(NamedTuple):
    """``marked`` [part of the line]: a bit for each address at which a cell begins, and from `RANK_AT` on how many begin before the part;
    the cells ``now``, and those ``before`` into which earlier commands cut the line; ``runs``: those of the command at hand."""

    marked: Integers
    before: HeldCells
    now: HeldCells
    runs: Integers


@kernel
def _ones(bits: int) -> int:
    """How many of 32 bits are set."""
    bits = bits - ((bits >> 1) & 0x55555555)
    bits = (bits & 0x33333333) + ((bits >> 2) & 0x33333333)
    return ((((bits + (bits >> 4)) & 0x0F0F0F0F) * 0x01010101) & 0xFFFFFFFF) >> 24


@kernel
def _begun_before(marked: Integers, address: int) -> int:
    """Cells that begin before an address."""
    part = marked[address >> MARK_BITS]
    return (part >> RANK_AT) + _ones(part & ((1 << (address & ((1 << MARK_BITS) - 1))) - 1))


@kernel
def _mark(marked: Integers, address: int) -> None:
    """A cell begins at an address."""
    marked[address >> MARK_BITS] |= 1 << (address & ((1 << MARK_BITS) - 1))


@kernel
def _rank(meeting: Meeting, cut: Cut) -> int:
    """Mark where buffers begin, and cells that are held as no neighbour is; returns how many cells there are then."""
    marked, before, n = cut.marked, cut.before, 0
    for buffer in range(meeting.base.shape[0]):
        _mark(marked, meeting.base[buffer])
    for c in range(1, before.begin.shape[0]):
        is_other = before.opened[c] != before.opened[c - 1] or before.closes[c] != before.closes[c - 1]
        if is_other or before.kind[c] != before.kind[c - 1]:
            _mark(marked, before.begin[c])
    for part in range(marked.shape[0]):
        bits = marked[part]
        marked[part] = bits | (n << RANK_AT)
        n += _ones(bits)
    return n


@kernel
def _make(cut: Cut) -> None:
    """Cells as they are marked, each held as that was of which it is a piece."""
    marked, before, now, c, n = cut.marked, cut.before, cut.now, 0, 0
    for part in range(marked.shape[0]):
        bits = marked[part] & ((1 << RANK_AT) - 1)
        while bits != 0:
            begin = (part << MARK_BITS) + lowest_bit(bits)
            bits &= bits - 1
            while c + 1 < before.begin.shape[0] and before.begin[c + 1] <= begin:
                c += 1
            now.begin[n] = begin
            now.opened[n] = before.opened[c]
            now.closes[n] = before.closes[c]
            now.kind[n] = before.kind[c]
            n += 1


@kernel
def _lay_out(counts: Integers, strides: Integers, runs: Integers) -> int:
    """Strided runs, from the first one on; returns how many there are."""
    n, skipped = 1, FEED_DIMENSIONS - counts.shape[0]
    for d in range(skipped):
        runs[COUNTS + d] = 1
        runs[STRIDES + d] = 0
        runs[AT + d] = 0
    for d in range(counts.shape[0]):
        runs[COUNTS + skipped + d] = counts[d]
        runs[STRIDES + skipped + d] = strides[d]
        runs[AT + skipped + d] = 0
        n *= counts[d]
    return n


@kernel
def _begin(stretch: WalkedCommands, executes: int, row: int, way: int, runs: Integers) -> tuple[int, int, int]:
    """Of the runs of a command in the buffer that it reads or writes: how many, the first byte and the bytes of the first one."""
    if executes == TRANSFERS:
        transfer = stretch.transfers[row]
        n = _lay_out(transfer["counts"], transfer["buffer_strides"], runs)
        return n, transfer["buffer_address"], transfer["run_bytes"]
    if executes == FEEDS:
        feed = stretch.feeds[row]
        return _lay_out(feed["counts"], feed["strides"], runs), feed["buffer_address"], feed["run_bytes"]
    if executes == DRAINS:
        drain = stretch.drains[row]
        n = drain["n_segments"] if drain["member"] == 0 else 0
        return n, drain["buffer_address"], stretch.segment_bytes[drain["operation"]]
    if executes == VECTORS:
        vector = stretch.vectors[row]
        return vector["n_reads"] if way == READ else vector["n_writes"], 0, 0
    move = stretch.moves[row]
    if way == READ:
        return _lay_out(move["counts"], move["source_strides"], runs), move["source_address"], move["run_bytes"]
    return _lay_out(move["counts"], move["target_strides"], runs), move["target_address"], move["run_bytes"]


@kernel
def _next(runs: Integers, first: int) -> int:
    """The first byte of the strided run after that which begins at ``first``."""
    d = FEED_DIMENSIONS - 1
    while runs[AT + d] + 1 == runs[COUNTS + d]:
        first -= runs[AT + d] * runs[STRIDES + d]
        runs[AT + d] = 0
        d -= 1
    runs[AT + d] += 1
    return first + runs[STRIDES + d]


@kernel
def _segments(stretch: WalkedCommands, row: int, r: int) -> tuple[int, int]:
    """Of the segments of a drain from number ``r`` on: the first byte, how many follow each other without a gap."""
    drain = stretch.drains[row]
    at = drain["segment_table"] + r
    n = min(stretch.joined[stretch.size_of[drain["operation"]], at] - at, drain["n_segments"] - r)
    return drain["buffer_address"] + stretch.segment_offsets[at], n


@kernel
def _stream(stretch: WalkedCommands, row: int, stream: int) -> tuple[int, int]:
    """The first byte and the bytes of a stream of a unified core."""
    vector = stretch.vectors[row]
    return vector["address"][stream] * stretch.word_bytes, vector["words"][stream] * stretch.word_bytes


@kernel
def _kind(stretch: WalkedCommands, executes: int, row: int, way: int) -> int:
    """What a command writes into a buffer; -1: it reads."""
    if way == READ:
        return -1
    if executes == TRANSFERS:
        return stretch.transfers[row]["tensor_class"]
    return stretch.moves[row]["tensor_class"] if executes == MOVES else RESULT


@kernel
def _touch(cut: Cut, first: int, end: int, kind: int, begins: int, ends: int, buffer: int, changes: Integers) -> None:
    """Cells that are held are so to the end of the command that reads them; they begin to be if it writes a ``kind``. If it reads them too
    that is when what it reads is done with."""
    now, cell, last = cut.now, _begun_before(cut.marked, first), _begun_before(cut.marked, end)
    for c in range(cell, last if kind < 0 else cell):
        now.closes[c] = max(now.closes[c], ends if now.kind[c] >= 0 else 0)
    for c in range(cell, last if kind >= 0 else cell):
        opened, closes = now.opened[c], now.closes[c]
        if now.kind[c] >= 0:
            n_bytes = now.begin[c + 1] - now.begin[c]
            changes[opened, buffer, now.kind[c]] += n_bytes
            changes[closes, buffer, now.kind[c]] -= n_bytes
        begun = max(begins, closes)
        now.opened[c] = begun
        now.closes[c] = max(ends, begun)
        now.kind[c] = kind


@procedure
def _walk(holds: int, stretch: WalkedCommands, meeting: Meeting, cut: Cut, changes: Integers) -> int:
    """Mark the cells into which the runs of a stretch cut the buffers, and return how many there are; if it ``holds``: make them, and
    enter into ``changes`` [sample, buffer, kind] what holdings that are over add where they begin and take where they end.

    Commands come in the order of emission: of a cell, which no two of them may touch at once, that is the order of time. Runs that follow
    each other are one.
    """
    if holds:
        _make(cut)
    for place in range(stretch.command_at.shape[0]):
        index, engine = stretch.command_at[place], stretch.engine_at[place]
        executes = meeting.executes[engine]
        if executes < 0:
            continue
        row, begins, ends = stretch.commands[index]["row"], stretch.times[index, 0], stretch.times[index, 1]
        for way in range(2):
            buffer = meeting.buffer[engine, way]
            if buffer < 0:
                continue
            kind, base = _kind(stretch, executes, row, way), meeting.base[buffer]
            n, start, n_bytes = _begin(stretch, executes, row, way, cut.runs)
            first, length, begun, end, r = base + start, n_bytes, base, base, 0
            while r <= n:
                more = 1
                if r < n:
                    if executes == DRAINS:
                        start, more = _segments(stretch, row, r)
                        first, length = base + start, more * n_bytes
                    elif executes == VECTORS:
                        start, length = _stream(stretch, row, r + MAX_READS * way)
                        first = base + start
                    elif r > 0:
                        first = _next(cut.runs, first)
                r += more
                if r <= n and first == end:
                    end += length
                    continue
                if end > begun and holds:
                    _touch(cut, begun, end, kind, begins, ends, buffer, changes)
                elif end > begun:
                    _mark(cut.marked, begun)
                    _mark(cut.marked, end)
                begun, end = first, first + length
    return 0 if holds else _rank(meeting, cut)


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


def _joined(offsets: np.ndarray, n_bytes: int) -> np.ndarray:
    """Of each segment the one after those that follow each other, if they have ``n_bytes``."""
    after = np.append(np.flatnonzero(np.diff(offsets) != n_bytes) + 1, len(offsets))
    joined: np.ndarray = after[np.searchsorted(after, np.arange(len(offsets)), side="right")]
    return joined


def _cells(n: int) -> HeldCells:
    opened, closes, kind = np.zeros((3, n), np.int32)
    return HeldCells(np.zeros(n, np.int64), opened, closes, kind)


class Holding:
    """Takes the stretches of a program that has run, one after the other. ``ends`` of the samples, all but the last one equally far
    apart."""

    def __init__(self, machine: "Machine", mapping: Mapping, ends: np.ndarray) -> None:
        self._machine, self._sample_cycles = machine, int(ends[0])
        self._segment_bytes = segment_bytes(machine.architecture, mapping.operations)
        sizes, self._size_of = np.unique(self._segment_bytes, return_inverse=True)
        self._joined = np.array([_joined(machine.program.segment_offsets, size) for size in sizes.tolist()])
        buffer_bytes = array_of(machine.architecture).buffer_bytes
        self._meeting = _meeting(engines_of(machine.program), mapping.reached or buffer_bytes)
        self._marked = np.zeros((int(self._meeting.base[-1]) >> MARK_BITS) + 1, np.int64)
        self._cells = _cells(1)
        self._cells.kind[0] = -1
        self._changes = np.zeros((len(ends) + 1, len(buffer_bytes), RESULT + 1), np.int64)

    def take(self, program: Program) -> None:
        """The next one."""
        place_of, engine_at = places_of(program)
        command_at = np.empty_like(place_of)
        command_at[place_of] = np.arange(len(place_of))
        # Which of two cycles is later does not change by counting in samples.
        times = self._machine.times_of(program) // self._sample_cycles
        stretch = WalkedCommands(
            program.commands, program.transfers, program.feeds, program.drains, program.vectors, program.moves, program.segment_offsets,
            self._joined, self._size_of, command_at, engine_at, times, self._segment_bytes,
            self._machine.architecture.buffers.word_size_bytes,
        )  # fmt: skip
        self._marked[:] = 0
        cut = Cut(self._marked, self._cells, self._cells, np.zeros(3 * FEED_DIMENSIONS, np.int64))
        n = _walk(0, stretch, self._meeting, cut, self._changes)
        self._cells = _cells(n)
        _walk(1, stretch, self._meeting, cut._replace(now=self._cells), self._changes)

    def held_bytes(self) -> np.ndarray:
        """Bytes held before the end of each sample, all stretches taken: [sample, buffer, tensor class or result]."""
        held, shape = np.flatnonzero(self._cells.kind >= 0), self._changes.shape
        begin, opened, closes, kind = (each[held] for each in self._cells)
        n_bytes, buffer = self._cells.begin[held + 1] - begin, np.searchsorted(self._meeting.base, begin, side="right") - 1
        begun, over = (np.bincount(np.ravel_multi_index((at, buffer, kind), shape), n_bytes, self._changes.size) for at in (opened, closes))
        changes = self._changes + (begun - over).astype(np.int64).reshape(shape)
        return changes.cumsum(axis=0)[:-1]
