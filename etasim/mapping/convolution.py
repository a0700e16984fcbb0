"""What FF, BP and WG share: operands in the buffers, chunks sent to the clusters, passes drained into the error buffer."""

from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from math import prod
from typing import NamedTuple

import numpy as np

from etasim.mapping.arrival import Reads, Sent
from etasim.mapping.context import Context, Source, words_touched
from etasim.mapping.second_copies import Bytes
from etasim.mapping.works import Convolve, Piece, piece
from etasim.program.builder import Region, merge
from etasim.program.commands import FEED_DIMENSIONS, FEED_STATIONARY, FEED_STREAM, LOAD_ACTIVATION, MOST_VALUED_CLUSTERS
from etasim.schedule.array import STATIONARY, STREAM
from etasim.schedule.nest import NestStep, Operand, Span
from etasim.schedule.patterns import Pattern, PixelTile, Tap, as_own_map, gather_cycles
from etasim.schedule.problem import Band
from etasim.schedule.tiling import ceil_div, vector_bytes

Runs = tuple[int, int, tuple[int, ...], tuple[int, ...]]
"""Address, bytes of a run, counts and strides."""


@dataclass
class Item:
    """A piece of an operand in a buffer, or in DRAM (`Source`): ``block_stride`` between channel blocks, ``plane_stride`` between planes of
    one, rows from ``first_row``; ``parts`` = (end block, engine that loads it, load count)."""

    place: Region | Source
    block_stride: int
    plane_stride: int
    first_row: int
    n_rows: int
    parts: list[tuple[int, int, int]] = field(default_factory=list)

    @property
    def region(self) -> Region:
        """Where it lies in a buffer."""
        assert isinstance(self.place, Region), "a piece in DRAM"
        return self.place

    @cached_property
    def kind(self) -> tuple[Hashable, ...]:
        """What it has in common with pieces that are read alike, once it is loaded."""
        parts = ((end, engine, count - self.first_loads[engine]) for end, engine, count in self.parts)
        return self.block_stride, self.first_row, self.n_rows, *parts

    @cached_property
    def first_loads(self) -> dict[int, int]:
        """The first command of each engine that brings a part."""
        return {engine: count for _, engine, count in reversed(self.parts)}

    def loaded(self, end_block: int) -> dict[int, int]:
        """Commands that bring the blocks before ``end_block``, the last one of each engine, or the only one."""
        waits: dict[int, int] = {}
        for end, engine, count in self.parts:
            waits[engine] = count
            if end >= end_block:
                break
        return waits


class Sweeps(NamedTuple):
    """Durations of a chunk's sweeps, which repeat with ``period``: their table in the program and the sum over a period."""

    table: int
    period: int
    total_cycles: int


class Segments(NamedTuple):
    """``count`` rows of lanes of a drain: the table of their offsets in the program."""

    table: int
    count: int  # type: ignore[assignment]  # in the place of a tuple's own


class Chunk(NamedTuple):
    """What the chunks of clusters have in common that multiply tiles of the same pixels with the same weights."""

    geometry: int
    sweeps: Sweeps
    n_groups: int
    reads: Reads


@dataclass
class Delivery:
    """What a cluster receives for one chunk on each scratchpad: the number of words, and the feed that sends them."""

    words: list[int] = field(default_factory=lambda: [0, 0])
    sent: list[Sent | None] = field(default_factory=lambda: [None, None])
    waits: dict[int, int] = field(default_factory=dict)


class Convolution:
    """Emission state of one operation."""

    def __init__(self, context: Context, work: Convolve):
        self.context, self.work, self.problem, self.plan, self.nest = context, work, work.problem, work.plan, work.nest
        self.array, self.builder = context.array, context.builder
        self.columns = self.array.clusters // (self.plan.split * self.plan.sample_parts)
        self.builder.operation = work.operation
        self._axes = {
            operand.name: [axis.name for axis in self.nest.axes if axis.name in operand.axes]
            for operand in (self.nest.stream, self.nest.stationary)
        }
        self._items: dict[str, dict[tuple[Span, ...], Item]] = {"stream": {}, "stationary": {}}
        self._pass_count: dict[int, int] = {}
        self._deliveries: dict[int, Delivery] = {}
        self._sweeps: dict[tuple[int, ...], Sweeps] = {}
        self._word_tables: dict[tuple[Reads | Sent | None, ...], int] = {}
        alike = work.problem.unfollowed, work.plan, work.kernel_width
        self._repeats = context.repeats.setdefault(alike, {})

    # Operands in the buffers -------------------------------------------------------------------------------------

    def item(self, operand: Operand, step: NestStep) -> Item:
        """The piece of ``operand`` that a step reads: kept if the operand is resident, else until another piece is asked for."""
        held, key = self._items[operand.name], tuple([step[name] for name in self._axes[operand.name]])
        if key not in held:
            if not operand.resident:
                held.clear()
            held[key] = self._load(piece(self.work, operand, step))
        return held[key]

    def _load(self, piece: Piece) -> Item:
        """Bring a piece: layout [block][plane][byte]."""
        engine, blocks, planes = piece.engine, piece.blocks, piece.planes
        stride = planes.size * piece.span.size
        if self.array.bypasses and engine == LOAD_ACTIVATION:
            source = Source(piece.tensor, blocks, planes, piece.span)
            return Item(source, piece.tensor.pitch_bytes, piece.tensor.plane_pitch_bytes, piece.rows.first, piece.rows.size)
        if (held := self._held(piece)) is not None:
            return held
        region = self.context.allocate(engine, blocks.size * stride)
        item = Item(region, stride, piece.span.size, piece.rows.first, piece.rows.size)
        if not piece.span.size:
            item.parts.append((blocks.size, engine, self.builder.completed(engine)))
            return item
        for part in blocks.dealt(ceil_div(blocks.size, piece.n_parts)):
            at = (part.first - blocks.first) * stride
            loaded = self.context.load(engine, region, at, piece.tensor, part, planes, piece.span, stride)
            item.parts.append((part.end - blocks.first, *loaded))
        return item

    def _held(self, piece: Piece) -> Item | None:
        """A piece of a tensor that lives in the buffer; None if it does not."""
        found = self.context.held.found(piece.engine, Bytes(piece.tensor, piece.blocks, piece.planes, piece.span))
        if found is None:
            return None
        region, there = found
        n_rows = piece.rows.size * there.tensor.plane_pitch_bytes // max(piece.span.size, 1)
        item, waits = Item(region, there.tensor.pitch_bytes, there.tensor.plane_pitch_bytes, piece.rows.first, n_rows), dict[int, int]()
        for number, block in enumerate(Span(*there.block).dealt(1), 1):
            merge(waits, there.tensor.written(block, there.plane, there.piece))
            item.parts += [(number, engine, count) for engine, count in waits.items()]
        return item

    # Chunks ------------------------------------------------------------------------------------------------------

    def again(self, kind: tuple[Hashable, ...], stream: Item, stationary: Item, write: Callable[[], None]) -> None:
        """``write`` feeds from two pieces, and the chunks that they are for; or, where this was done for another stretch of the same
        ``kind``, have its commands copied.

        ``kind`` has all that they follow from, but for where the pieces lie, how they are loaded, and what was appended before.
        """
        self.builder.may_cut()
        if not self.context.copies:
            write()
            return
        inside = (item.region.address % self.array.word_bytes for item in (stream, stationary))
        key = (*kind, stream.kind, stationary.kind, *inside)
        loads = (*stream.first_loads.items(), *stationary.first_loads.items())
        at = self.builder.standing((stream.region.address, stationary.region.address), loads, self.context.received)
        if key not in self._repeats:
            mark = self.builder.marked()
            write()
            self._repeats[key] = self.builder.written_since(mark, at)
            return
        repeat = self._repeats[key]
        self.builder.repeat(repeat, at)
        for engine, item in ((FEED_STREAM, stream), (FEED_STATIONARY, stationary)):
            if repeat.n_commands[engine]:
                item.region.readers[engine] = self.builder.completed(engine)
        for received, more in zip(self.context.received, repeat.n_words, strict=True):
            received[STREAM] += more[STREAM]
            received[STATIONARY] += more[STATIONARY]

    def feed(
        self, stream: int, clusters: list[int], item: Item, end_block: int, address: int, run: int, dims: list[tuple[int, int]]
    ) -> None:
        """Send runs of an item to ``clusters``; they may overwrite what the chunk before the last one used, or, where nothing is sent
        over the border of a pass, wait for its last chunk."""
        dims = [(1, 0)] * (FEED_DIMENSIONS - len(dims)) + dims
        counts, strides = tuple(d[0] for d in dims), tuple(d[1] for d in dims)
        waits = item.loaded(end_block)
        for c in clusters:
            engine = self.builder.cluster(c)
            is_beside = self.array.prefetches or not self.context.between_passes[c]
            waits[engine] = self.builder.completed(engine) - is_beside
        if not run or not all(counts):
            return
        if isinstance(item.place, Source):
            at, counts, strides = 0, *self._feed_loaded(stream, clusters, item.place, address, run, dims, waits)
        else:
            at = item.place.address + address
            self._send(stream, clusters, item.place, (at, run, counts, strides), waits)
        words, engine = words_touched(at, run, counts, strides, self.array.word_bytes), (FEED_STREAM, FEED_STATIONARY)[stream]
        sent = Sent(at % self.array.word_bytes, run, counts, strides)
        for c in clusters:
            delivery = self._deliveries.setdefault(c, Delivery())
            delivery.words[stream], delivery.sent[stream] = words, sent
            delivery.waits[engine] = self.builder.completed(engine)

    def _send(self, stream: int, clusters: list[int], region: Region, runs: Runs, waits: dict[int, int]) -> None:
        """Append the feed of ``runs`` in ``region``, one for each route."""
        engine, words = (FEED_STREAM, FEED_STATIONARY)[stream], words_touched(*runs, self.array.word_bytes)
        halves = sum(1 << c for c in clusters if c < MOST_VALUED_CLUSTERS and self.builder.completed(self.builder.cluster(c)) % 2)
        for route in self.context.feed_routes(stream, clusters):
            row = (*runs, route, stream, words, self.builder.operation, halves)
            region.readers[engine] = self.builder.append(engine, "feeds", row, after=waits)

    def _feed_loaded(
        self, stream: int, clusters: list[int], source: Source, address: int, run: int, dims: list[tuple[int, int]], waits: dict[int, int]
    ) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Load what is sent and send it, piece by piece: counts and strides of the runs as they pass the FIFO, each from a word on."""
        word = self.array.word_bytes
        most = max(self.array.activation_bytes // 2 // word * word, word)
        for at, n_bytes, axes in pieces_of(address, run, [dim for dim in dims if dim[0] > 1], most, word):
            counts, strides = packed(n_bytes, axes, word)
            region = self.context.pass_through(source, at, n_bytes, axes, counts, strides)
            self._send(stream, clusters, region, (region.address, n_bytes, counts, strides), waits | region.writers)
        return packed(run, dims, word)

    def sweeps(self, pattern: Pattern, tile: PixelTile, taps: tuple[Tap, ...], width: int, slices: int = 0) -> Sweeps:
        """Sweeps over a tile in groups of ``width`` pixels: one per tap (``slices`` = 0), or one per group over all taps and ``slices``."""
        first = 0 if self.array.deinterleave else tile.first_pixel
        key = (id(pattern), tile.n_samples, tile.n_pixels, first, taps[0].index, taps[-1].index, slices)
        if key not in self._sweeps:
            table = gather_cycles(pattern, tile.n_samples, tile.n_pixels, first, width, self.array.deinterleave)
            table = table[[pattern.taps.index(tap) for tap in taps]]
            cycles = slices * table.sum(axis=0) if slices else table.sum(axis=1)
            self._sweeps[key] = Sweeps(self.builder.sweep_table(cycles), len(cycles), int(cycles.sum()))
        return self._sweeps[key]

    def geometry(self, pattern: Pattern, tile: PixelTile, taps: tuple[Tap, ...], n_result_blocks: int, n_stream_blocks: int) -> int:
        """Number of the geometry of a chunk over a tile."""
        first, end, step = pattern.operand_rows(*tile.rows(pattern)) if taps else (0, 0, 1)
        pattern, tile = as_own_map(pattern, tile)
        own = {tap.index: (tap.dy, tap.dx) for tap in pattern.taps}
        table = self.builder.tap_table(np.array([own[tap.index] for tap in taps])) if taps else 0
        phase = self.problem.phase
        return self.builder.geometry((
            phase == "wg", phase == "ff", n_result_blocks, n_stream_blocks,
            tile.n_samples, tile.first_pixel, tile.end_pixel - tile.first_pixel, pattern.cols, pattern.in_step_y, pattern.in_step_x,
            pattern.in_height, pattern.in_width, first, step, ceil_div(end - first, step), table, len(taps),
        ))  # fmt: skip

    def compute(self, c: int, geometry: int, sweeps: Sweeps, n_groups: int, reads: Reads, first: bool, last: bool) -> None:
        """One chunk on cluster ``c``; ``n_groups`` is the length of a sweep without bank conflicts."""
        operand_half, psum_half = self.builder.completed(self.builder.cluster(c)) % 2, self._psum_half(c)
        clears, n_sweeps = first, reads.n_sweeps
        delivery = self._deliveries.pop(c, Delivery())
        received = self.context.received[c]
        conflicts = n_sweeps // sweeps.period * sweeps.total_cycles - n_sweeps * n_groups
        base, waits = tuple(received), {}
        fill_cycles = self._fill_cycles(c, n_sweeps, last)
        self.context.between_passes[c] = last
        if self.context.instant_feeds:
            delivery, waits = Delivery(), delivery.waits
            if first and c in self._pass_count:
                waits[self.builder.drain(c)] = self._pass_count[c] - 1
            first = last = False
        row = (n_sweeps, sweeps.table, sweeps.period, self._word_table(reads, delivery), base[STREAM], delivery.words[STREAM],
               base[STATIONARY], delivery.words[STATIONARY], first, last, conflicts, self.builder.operation,
               geometry, operand_half, psum_half, clears, fill_cycles)  # fmt: skip
        self.builder.append(self.builder.cluster(c), "computes", row, after=waits)
        for stream in (STREAM, STATIONARY):
            received[stream] += delivery.words[stream]

    def _fill_cycles(self, c: int, n_sweeps: int, last: bool) -> int:
        """Cycles behind a chunk of cluster ``c`` in which it takes nothing in."""
        sweep, border, turn = self.array.fill_cycles
        turns = self.context.phase[c] not in ("", self.problem.phase)
        self.context.phase[c] = self.problem.phase
        return n_sweeps * sweep + last * border + turns * turn

    def _word_table(self, reads: Reads, delivery: Delivery) -> int:
        """Table of the words that the sweeps of a chunk wait for."""
        key = (reads, *delivery.sent)
        if key not in self._word_tables:
            words = reads.words(delivery.sent[STREAM], delivery.sent[STATIONARY], self.array.word_bytes)
            self._word_tables[key] = self.builder.word_table(words)
        return self._word_tables[key]

    def _psum_half(self, c: int) -> int:
        """Half of cluster ``c``'s psum memory that the pass after its last drain uses."""
        return self.builder.completed(self.builder.drain(c)) % 2

    def segments(self, offsets: np.ndarray) -> "Segments":
        """Segments of a drain at ``offsets`` from its address."""
        return Segments(self.builder.segment_table(offsets), len(offsets))

    def drain(self, clusters: range, region: Region, address: int, segments: "Segments", origin: tuple[int, ...]) -> None:
        """Send the finished pass of ``clusters`` into ``region``, its ``segments`` from ``address`` on; ``origin``: the
        fields of DRAIN that say what the segments are, from ``first_block`` on. The network adds the passes of several clusters."""
        sum_bytes = self.array.sum_bytes if len(clusters) > 1 else 0
        per_packet = self.array.segments_per_packet(sum_bytes or self.problem.result_element_bytes)
        n_packets, start = ceil_div(segments.count, per_packet), region.address + address
        group = (self.builder.drain(clusters[0]), len(clusters) - 1, clusters.step, sum_bytes)
        after = self._drain_waits(clusters)
        for member, (c, route) in enumerate(zip(clusters, self.context.drain_routes(clusters), strict=True)):
            row = (n_packets, segments.count, per_packet, segments.table, start, *group, member, route, self.builder.operation,
                   self._psum_half(c), *origin)  # fmt: skip
            self._pass_count[c] = self.builder.append(self.builder.drain(c), "drains", row, writes=[region], after=after)
        if len(clusters) > 1:
            self.context.last_reduction = {self.builder.drain(c): self._pass_count[c] for c in clusters}

    def _drain_waits(self, clusters: range) -> dict[int, int]:
        """What the drain of ``clusters`` waits for beside the regions. While sums are added, no other psums may be under way: they could
        stand in a buffer behind what waits for them."""
        waits = dict(self.context.last_reduction)
        if len(clusters) > 1:
            engines = (self.builder.drain(c) for c in range(self.array.clusters))
            waits = {engine: self.builder.completed(engine) for engine in engines}
        if self.context.instant_feeds:
            engines = (self.builder.cluster(c) for c in clusters)
            waits |= {engine: self.builder.completed(engine) for engine in engines}
        return waits


def packed(run: int, dims: list[tuple[int, int]], word_bytes: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Counts and strides of runs that follow each other, each from a word on, in the dimensions of a feed."""
    counts = (1,) * (FEED_DIMENSIONS - len(dims)) + tuple(count for count, _ in dims)
    strides = [ceil_div(run, word_bytes) * word_bytes]
    for count in reversed(counts[1:]):
        strides.insert(0, strides[0] * count)
    return counts, tuple(strides)


def pieces_of(
    address: int, run: int, dims: list[tuple[int, int]], most: int, word_bytes: int
) -> Iterator[tuple[int, int, list[tuple[int, int]]]]:
    """(address, run bytes, dimensions) in pieces of at most ``most`` bytes, each run in whole words."""
    inner = ceil_div(run, word_bytes) * word_bytes * prod(count for count, _ in dims[1:])
    if not dims:
        for first in range(0, run, most):
            yield address + first, min(most, run - first), []
        return
    (count, stride), share = dims[0], max(most // inner, 1)
    for first in range(0, count, share):
        own = min(share, count - first)
        if own * inner <= most:
            yield address + first * stride, run, [(own, stride), *dims[1:]]
        else:
            yield from pieces_of(address + first * stride, run, dims[1:], most, word_bytes)


def row_runs(pattern: Pattern, tile: PixelTile, item: Item, band: Band, pixel_bits: int) -> tuple[int, int, list[tuple[int, int]]]:
    """(address, run bytes, dimensions) of the operand rows of a tile within one channel block of an item, with ``pixel_bits`` a pixel."""
    first, end, step = pattern.operand_rows(*tile.rows(pattern))
    row_bytes = vector_bytes(pattern.in_width, pixel_bits)
    plane = item.plane_stride
    address = (tile.first_sample - band.first_sample) * plane + (first - item.first_row) * row_bytes
    if tile.by_row:
        left, right = pattern.operand_columns(tile)
        begin, stop = left * pixel_bits // 8, vector_bytes(right, pixel_bits)
        return address + begin, stop - begin, [(ceil_div(end - first, step), step * row_bytes)]
    if step > 1:
        return address, row_bytes, [(tile.n_samples, plane), (ceil_div(end - first, step), step * row_bytes)]
    if (end - first) * row_bytes == plane:
        return address, tile.n_samples * plane, []
    return address, (end - first) * row_bytes, [(tile.n_samples, plane)]
