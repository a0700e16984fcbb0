"""Emits convolutions: FF and BP with results held in the psums over all input channels, WG over all pixels of the batch.

Loop nest: rounds of result slices and bands of pixels (the outer one chosen by the plan), passes of pixel tiles, chunks of the
reduction. A chunk is one compute command per cluster with the operands that the feeders send it ahead of time.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from etasim.core.program import FEED_DIMENSIONS, FEED_STATIONARY, FEED_STREAM, LOAD_ACTIVATION, LOAD_ERROR, LOAD_WEIGHT, STORE
from etasim.mapping.builder import Region
from etasim.mapping.context import STATIONARY, STREAM, Context, words_touched
from etasim.mapping.patterns import Pattern, PixelTile, Tap, coordinates, gather_cycles
from etasim.mapping.plan import Band, Plan, Problem, band_operand_rows, ceil_div, tiles_of_band
from etasim.mapping.tensors import Tensor

LOAD_PARTS = 4
"""Commands that load a streamed operand, so that the first chunks need not wait for all of it."""


@dataclass
class Item:
    """A piece of an operand in a buffer: ``block_stride`` between channel blocks, rows from ``first_row``; ``parts`` = (end block,
    load count)."""

    region: Region
    block_stride: int
    first_row: int
    n_rows: int
    engine: int
    parts: list[tuple[int, int]] = field(default_factory=list)

    def loaded(self, end_block: int) -> dict[int, int]:
        """Command that brings the last block before ``end_block``."""
        return {self.engine: next(count for end, count in self.parts if end >= end_block)}


@dataclass(frozen=True)
class Operands:
    """Where a convolution's operands lie: channel blocks ``stream_block ...`` of ``stream``, and the blocks of ``stationary``."""

    stream: Tensor
    stream_block: int
    stationary: Tensor
    stationary_block: int


class Sweeps(NamedTuple):
    """Durations of a chunk's sweeps, which repeat with ``period``: their table in the program and the sum over a period."""

    table: int
    period: int
    total_cycles: int


@dataclass
class Delivery:
    """Words of one chunk that a cluster receives on each scratchpad."""

    words: list[int] = field(default_factory=lambda: [0, 0])
    waits: dict[int, int] = field(default_factory=dict)


class Convolution:
    """Emission state of one operation."""

    def __init__(self, context: Context, problem: Problem, plan: Plan, operands: Operands):
        self.context, self.problem, self.plan, self.operands = context, problem, plan, operands
        self.array, self.builder = context.array, context.builder
        self.columns = self.array.clusters // plan.split
        self._items: dict[str, dict] = {"stream": {}, "stationary": {}}
        self._pass_count: dict[int, int] = {}
        self._deliveries: dict[int, Delivery] = {}
        self._sweeps: dict[tuple, Sweeps] = {}

    # Operands in the buffers -------------------------------------------------------------------------------------

    def item(self, kind: str, key: tuple, load: Callable[[], Item]) -> Item:
        """The piece ``key`` of an operand: kept if the operand is resident, else until another piece is asked for."""
        held = self._items[kind]
        if key not in held:
            resident = self.plan.stream_resident if kind == "stream" else self.plan.stationary_resident
            if not resident:
                held.clear()
            held[key] = load()
        return held[key]

    def load_rows(
        self, engine: int, tensor: Tensor, blocks: tuple[int, int], band: Band, rows: tuple[int, int], row_bytes: int, n_parts: int
    ) -> Item:
        """Bring rows of a feature map's channel blocks: layout [block][sample][row]."""
        first, end = rows
        planes = (band.first_sample, band.first_sample + band.n_samples)
        stride = band.n_samples * (end - first) * row_bytes
        n_blocks = blocks[1] - blocks[0]
        item = Item(self.context.allocate(engine, n_blocks * stride), stride, first, end - first, engine)
        step = ceil_div(n_blocks, n_parts)
        for b in range(0, n_blocks, step):
            stop = min(b + step, n_blocks)
            part = (blocks[0] + b, blocks[0] + stop)
            piece = (first * row_bytes, end * row_bytes)
            count = self.context.transfer(engine, item.region, b * stride, tensor, part, planes, piece, stride)
            item.parts.append((stop, count))
        return item

    # Chunks ------------------------------------------------------------------------------------------------------

    def feed(
        self, stream: int, clusters: list[int], item: Item, end_block: int, address: int, run: int, dims: list[tuple[int, int]]
    ) -> None:
        """Send runs of an item to ``clusters``; they may overwrite what the chunk before the last one used."""
        dims = [(1, 0)] * (FEED_DIMENSIONS - len(dims)) + dims
        counts, strides = tuple(d[0] for d in dims), tuple(d[1] for d in dims)
        waits = item.loaded(end_block)
        for c in clusters:
            engine = self.builder.cluster(c)
            waits[engine] = self.builder.completed(engine) - 1
        engine = (FEED_STREAM, FEED_STATIONARY)[stream]
        words = words_touched(item.region.address + address, run, counts, strides, self.array.word_bytes)
        for route in self.context.feed_routes(stream, clusters):
            row = (item.region.address + address, run, counts, strides, route, stream, words, self.builder.operation)
            done = self.builder.append(engine, "feeds", row, after=waits)
        item.region.readers[engine] = done
        for c in clusters:
            delivery = self._deliveries.setdefault(c, Delivery())
            delivery.words[stream] += words
            delivery.waits[engine] = done

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

    def compute(self, c: int, sweeps: Sweeps, n_groups: int, n_sweeps: int, n_slices: int, first: bool, last: bool) -> None:
        """One chunk on cluster ``c``; ``n_groups`` is the length of a sweep without bank conflicts."""
        delivery = self._deliveries.pop(c, Delivery())
        received = self.context.received[c]
        conflicts = n_sweeps // sweeps.period * sweeps.total_cycles - n_sweeps * n_groups
        base, waits = tuple(received), {}
        if self.context.instant_feeds:
            delivery.words, waits = [0, 0], delivery.waits
            if first and c in self._pass_count:
                waits[self.builder.drain(c)] = self._pass_count[c] - 1
            first = last = False
        row = (n_sweeps, sweeps.table, sweeps.period, n_slices, base[STREAM], delivery.words[STREAM],
               base[STATIONARY], delivery.words[STATIONARY], first, last, conflicts, self.builder.operation)  # fmt: skip
        self.builder.append(self.builder.cluster(c), "computes", row, after=waits)
        for stream in (STREAM, STATIONARY):
            received[stream] += delivery.words[stream]

    def drain(self, c: int, region: Region, address: int, offsets: np.ndarray) -> None:
        """Send cluster ``c``'s finished pass into ``region``; ``offsets`` [segments] are relative to ``address``."""
        per_packet = self.array.word_bytes // (self.array.lanes * self.problem.result_element_bytes)
        engine = self.builder.drain(c)
        table, route = self.builder.segment_table(offsets), self.context.drain_route(c)
        n_packets, start = ceil_div(len(offsets), per_packet), region.address + address
        row = (n_packets, len(offsets), per_packet, table, start, engine, route, self.builder.operation)
        after = {}
        if self.context.instant_feeds:
            after[self.builder.cluster(c)] = self.builder.completed(self.builder.cluster(c))
        self._pass_count[c] = self.builder.append(engine, "drains", row, writes=[region], after=after)


def tap_groups(taps: tuple[Tap, ...], most: int, kernel_width: int) -> list[tuple[Tap, ...]]:
    """Taps in rectangular groups of at most ``most``: whole kernel rows, or pieces of one."""
    rows: dict[int, list[Tap]] = {}
    for tap in taps:
        rows.setdefault(tap.index // kernel_width, []).append(tap)
    width = len(next(iter(rows.values())))
    lines = list(rows.values())
    if most >= width:
        per_group = most // width
        return [tuple(t for line in lines[i : i + per_group] for t in line) for i in range(0, len(lines), per_group)]
    return [tuple(line[i : i + most]) for line in lines for i in range(0, width, most)]


def tap_dimensions(taps: tuple[Tap, ...], kernel_width: int, tap_bytes: int) -> tuple[int, int, list[tuple[int, int]]]:
    """(offset, run bytes, dimensions) that visit a rectangular group of taps in a weight block."""
    rows = sorted({tap.index // kernel_width for tap in taps})
    cols = sorted({tap.index % kernel_width for tap in taps})
    offset = (rows[0] * kernel_width + cols[0]) * tap_bytes
    run, dims = tap_bytes, []
    for values, unit in ((cols, tap_bytes), (rows, kernel_width * tap_bytes)):
        step = values[1] - values[0] if len(values) > 1 else 1
        if step * unit == run and not dims:
            run *= len(values)
        elif len(values) > 1:
            dims.insert(0, (len(values), step * unit))
    return offset, run, dims


class ResultStationary(Convolution):
    """FF and BP: results stay in the psums while input channels and kernel positions pass by.

    ``done(blocks, band, region)`` is called with each finished tile of results: its channel blocks, its band, and
    the region of the error buffer that holds it as [block][sample][row][column][lane].
    """

    def __init__(self, context: Context, problem: Problem, plan: Plan, operands: Operands, kernel_width: int, done: Callable):
        super().__init__(context, problem, plan, operands)
        self.kernel_width, self.done = kernel_width, done
        self.tap_bytes = self.array.lanes**2 * problem.stationary_element_bytes

    def emit(self) -> None:
        """Append all commands of the operation."""
        per_round = self.plan.split * self.plan.result_slices * self.array.pe_blocks
        rounds = [(b, min(b + per_round, self.problem.result_blocks)) for b in range(0, self.problem.result_blocks, per_round)]
        bands = self.plan.bands
        order = [(r, b) for r in rounds for b in bands] if self.plan.outer == "stationary" else [(r, b) for b in bands for r in rounds]
        for blocks, band in order:
            weights = self.item("stationary", blocks, lambda blocks=blocks: self._load_weights(blocks))
            stream = self.item("stream", (band,), lambda band=band: self._load_stream(band))
            self._tile(blocks, band, weights, stream)

    def _load_weights(self, blocks: tuple[int, int]) -> Item:
        """Weights of a round, in the order in which DRAM holds them."""
        tensor, problem = self.operands.stationary, self.problem
        block_bytes = problem.kernel_positions * self.tap_bytes
        n_blocks = blocks[1] - blocks[0]
        base = self.operands.stationary_block
        region = self.context.allocate(LOAD_WEIGHT, n_blocks * problem.stream_blocks * block_bytes)
        if problem.phase == "ff":
            count = self.context.transfer(LOAD_WEIGHT, region, 0, tensor, (base + blocks[0], base + blocks[1]), (0, 1))
            return Item(region, problem.stream_blocks * block_bytes, 0, 0, LOAD_WEIGHT, [(problem.stream_blocks, count)])
        piece = (blocks[0] * block_bytes, blocks[1] * block_bytes)
        count = self.context.transfer(LOAD_WEIGHT, region, 0, tensor, (base, base + problem.stream_blocks), (0, 1), piece)
        return Item(region, n_blocks * block_bytes, 0, 0, LOAD_WEIGHT, [(problem.stream_blocks, count)])

    def _load_stream(self, band: Band) -> Item:
        rows = band_operand_rows(self.problem, band)
        first = self.operands.stream_block
        row_bytes = self.problem.patterns[0].in_width * self.array.lanes * self.problem.stream_element_bytes
        blocks = (first, first + self.problem.stream_blocks)
        return self.load_rows(LOAD_ACTIVATION, self.operands.stream, blocks, band, rows, row_bytes, LOAD_PARTS)

    def _tile(self, blocks: tuple[int, int], band: Band, weights: Item, stream: Item) -> None:
        pattern = self.problem.patterns[0]
        rows = band.end_row - band.first_row
        segment = self.array.lanes * self.problem.result_element_bytes
        block_bytes = band.n_samples * rows * pattern.out_width * segment
        region = self.context.allocate(LOAD_ERROR, (blocks[1] - blocks[0]) * block_bytes)
        for pattern, shape in zip(self.problem.patterns, self.plan.shapes, strict=True):
            tiles = tiles_of_band(pattern, shape, band)
            for i in range(0, len(tiles), self.columns):
                at_once = tiles[i : i + self.columns]
                grid = self._grid(blocks, at_once)
                self._pass(pattern, shape, grid, blocks, weights, stream, band)
                for c, (own, tile) in grid.items():
                    offsets, start = self._offsets(pattern, tile, band, own[1] - own[0], block_bytes, segment)
                    self.drain(c, region, (own[0] - blocks[0]) * block_bytes + start, offsets)
        self.done(blocks, band, region)

    def _grid(self, blocks: tuple[int, int], tiles: list[PixelTile]) -> dict[int, tuple[tuple[int, int], PixelTile]]:
        """Result blocks and pixel tile of each busy cluster: rows of clusters split the blocks, columns the tiles."""
        own = self.plan.result_slices * self.array.pe_blocks
        grid = {}
        for row in range(self.plan.split):
            first = blocks[0] + row * own
            if first < blocks[1]:
                for column, tile in enumerate(tiles):
                    grid[row * self.columns + column] = ((first, min(first + own, blocks[1])), tile)
        return grid

    def _pass(self, pattern: Pattern, shape, grid: dict, blocks: tuple[int, int], weights: Item, stream: Item, band: Band) -> None:
        """All chunks of one pass; a pattern without taps only clears the psums."""
        if not pattern.taps:
            for c, (own, tile) in grid.items():
                groups = ceil_div(own[1] - own[0], self.array.pe_blocks) * ceil_div(tile.n_pixels, self.array.columns)
                self.compute(c, Sweeps(self.builder.sweep_table(np.array([groups])), 1, groups), groups, 1, 1, True, True)
            return
        groups = tap_groups(pattern.taps, shape.taps_per_chunk, self.kernel_width)
        chunks = [(s, taps) for s in range(0, self.problem.stream_blocks, shape.slices_per_chunk) for taps in groups]
        for i, (s, taps) in enumerate(chunks):
            slices = (s, min(s + shape.slices_per_chunk, self.problem.stream_blocks))
            self._feed_stream(pattern, grid, slices, stream, band)
            self._feed_weights(grid, blocks, slices, taps, weights)
            for c, (own, tile) in grid.items():
                sweeps = self.sweeps(pattern, tile, taps, self.array.columns)
                result_slices = ceil_div(own[1] - own[0], self.array.pe_blocks)
                n_slices = slices[1] - slices[0]
                n_sweeps = n_slices * result_slices * len(taps)
                self.compute(c, sweeps, ceil_div(tile.n_pixels, self.array.columns), n_sweeps, n_slices, i == 0, i == len(chunks) - 1)

    def _feed_stream(self, pattern: Pattern, grid: dict, slices: tuple[int, int], item: Item, band: Band) -> None:
        """Operand rows of every column's tile, to the clusters of that column."""
        row_bytes = pattern.in_width * self.array.lanes * self.problem.stream_element_bytes
        for column in range(self.columns):
            clusters = [c for c in grid if c % self.columns == column]
            if not clusters:
                continue
            tile = grid[clusters[0]][1]
            address, run, dims = row_runs(pattern, tile, item, band, row_bytes)
            dims = [(slices[1] - slices[0], item.block_stride), *dims]
            self.feed(STREAM, clusters, item, slices[1], slices[0] * item.block_stride + address, run, dims)

    def _feed_weights(self, grid: dict, blocks: tuple[int, int], slices: tuple[int, int], taps: tuple[Tap, ...], item: Item) -> None:
        """Weights of every row's result blocks, to the clusters of that row, in the order of the sweeps: slice, result block, tap."""
        offset, run, dims = tap_dimensions(taps, self.kernel_width, self.tap_bytes)
        block_bytes = self.problem.kernel_positions * self.tap_bytes
        forward = self.problem.phase == "ff"
        result_stride, slice_stride = (item.block_stride, block_bytes) if forward else (block_bytes, item.block_stride)
        for row in range(self.plan.split):
            clusters = [c for c in grid if c // self.columns == row]
            if not clusters:
                continue
            own = grid[clusters[0]][0]
            address = (own[0] - blocks[0]) * result_stride + slices[0] * slice_stride + offset
            order = [(slices[1] - slices[0], slice_stride), (own[1] - own[0], result_stride), *dims]
            self.feed(STATIONARY, clusters, item, self.problem.stream_blocks, address, run, order)

    def _offsets(
        self, pattern: Pattern, tile: PixelTile, band: Band, n_blocks: int, block_bytes: int, segment: int
    ) -> tuple[np.ndarray, int]:
        """Where a pass's segments go, relative to the first, and where the first goes relative to its block."""
        sample, i, j = coordinates(pattern, tile)
        y = pattern.origin_y + i * pattern.out_step_y - band.first_row
        x = pattern.origin_x + j * pattern.out_step_x
        rows = band.end_row - band.first_row
        pixel = (((sample - band.first_sample) * rows + y) * pattern.out_width + x) * segment
        start = int(pixel[0])
        return (np.arange(n_blocks)[:, None] * block_bytes + (pixel - start)[None, :]).ravel(), start


def row_runs(pattern: Pattern, tile: PixelTile, item: Item, band: Band, row_bytes: int) -> tuple[int, int, list[tuple[int, int]]]:
    """(address, run bytes, dimensions) of the operand rows of a tile within one channel block of an item."""
    first, end, step = pattern.operand_rows(*tile.rows(pattern))
    plane = item.n_rows * row_bytes
    address = (tile.first_sample - band.first_sample) * plane + (first - item.first_row) * row_bytes
    if step > 1:
        return address, row_bytes, [(tile.n_samples, plane), (ceil_div(end - first, step), step * row_bytes)]
    if end - first == item.n_rows:
        return address, tile.n_samples * plane, []
    return address, (end - first) * row_bytes, [(tile.n_samples, plane)]


class GradientStationary(Convolution):
    """WG: weight gradients stay in the psums while the pixels of the batch pass by; dO is the stationary operand, the input is streamed.

    ``gradient`` receives the blocks; ``first_block`` is the first output block of this channel group in it.
    """

    def __init__(self, context: Context, problem: Problem, plan: Plan, operands: Operands, gradient: Tensor, first_block: int):
        super().__init__(context, problem, plan, operands)
        self.gradient, self.first_block = gradient, first_block
        self.pattern = problem.patterns[0]

    def emit(self) -> None:
        """Append all commands of the operation."""
        array, problem = self.array, self.problem
        per_result = self.plan.split * self.plan.result_slices * array.pe_blocks
        per_stream = self.columns * self.plan.stream_slices * array.column_blocks
        results = [(b, min(b + per_result, problem.result_blocks)) for b in range(0, problem.result_blocks, per_result)]
        streams = [(b, min(b + per_stream, problem.stream_blocks)) for b in range(0, problem.stream_blocks, per_stream)]
        pairs = (
            [(r, s) for r in results for s in streams] if self.plan.outer == "stationary" else [(r, s) for s in streams for r in results]
        )
        n = len(self.pattern.taps)
        for r, s in pairs:
            for t in range(0, n, self.plan.taps):
                self._tile(r, s, self.pattern.taps[t : t + self.plan.taps])

    def _pieces(self, r: tuple[int, int], s: tuple[int, int], band: Band) -> tuple[Item, Item]:
        """The two operands' pieces for a band, loaded if they are not held."""
        problem, array = self.problem, self.array
        in_row = self.pattern.in_width * array.lanes * problem.stream_element_bytes
        out_row = self.pattern.out_width * array.lanes * problem.stationary_element_bytes
        first, base = self.operands.stream_block, self.operands.stationary_block

        def load_stream() -> Item:
            blocks = (first + s[0], first + s[1])
            return self.load_rows(LOAD_ACTIVATION, self.operands.stream, blocks, band, band_operand_rows(problem, band), in_row, 1)

        def load_stationary() -> Item:
            blocks = (base + r[0], base + r[1])
            return self.load_rows(LOAD_WEIGHT, self.operands.stationary, blocks, band, (band.first_row, band.end_row), out_row, 1)

        self._forget("stream", self.plan.outer == "stream", s)
        self._forget("stationary", self.plan.outer == "stationary", r)
        return self.item("stream", (s, band), load_stream), self.item("stationary", (r, band), load_stationary)

    def _forget(self, kind: str, is_outer: bool, blocks: tuple[int, int]) -> None:
        """An outer operand is held for the blocks of the outer loop only."""
        if is_outer:
            held = self._items[kind]
            for key in [key for key in held if key[0] != blocks]:
                del held[key]

    def _tile(self, r: tuple[int, int], s: tuple[int, int], taps: tuple[Tap, ...]) -> None:
        """One pass over all pixels, its drain and its store."""
        grid = self._grid(r, s)
        steps = [(band, tile) for band in self.plan.bands for tile in tiles_of_band(self.pattern, self.plan.shapes[0], band)]
        for i, (band, tile) in enumerate(steps):
            stream, stationary = self._pieces(r, s, band)
            self._feed_chunk(grid, r, s, band, tile, stream, stationary)
            n_groups = ceil_div(tile.n_pixels, self.array.lanes)
            for c, (rows, columns) in grid.items():
                stream_slices = ceil_div(columns[1] - columns[0], self.array.column_blocks)
                sweeps = self.sweeps(self.pattern, tile, taps, self.array.lanes, stream_slices)
                n_sweeps = ceil_div(rows[1] - rows[0], self.array.pe_blocks) * n_groups
                self.compute(c, sweeps, stream_slices * len(taps), n_sweeps, 1, i == 0, i == len(steps) - 1)
        self._drain_tile(grid, r, s, taps)

    def _grid(self, r: tuple[int, int], s: tuple[int, int]) -> dict[int, tuple[tuple[int, int], tuple[int, int]]]:
        """Output and input blocks of each busy cluster."""
        own_r, own_s = self.plan.result_slices * self.array.pe_blocks, self.plan.stream_slices * self.array.column_blocks
        grid = {}
        for row in range(self.plan.split):
            for column in range(self.columns):
                first_r, first_s = r[0] + row * own_r, s[0] + column * own_s
                if first_r < r[1] and first_s < s[1]:
                    rows, columns = (first_r, min(first_r + own_r, r[1])), (first_s, min(first_s + own_s, s[1]))
                    grid[row * self.columns + column] = (rows, columns)
        return grid

    def _feed_chunk(
        self, grid: dict, r: tuple[int, int], s: tuple[int, int], band: Band, tile: PixelTile, stream: Item, stationary: Item
    ) -> None:
        """Input rows to the clusters of each column, dO pixels to the clusters of each row."""
        pixel_bytes = self.array.lanes * self.problem.stationary_element_bytes
        in_row = self.pattern.in_width * self.array.lanes * self.problem.stream_element_bytes
        address, run, dims = row_runs(self.pattern, tile, stream, band, in_row)
        for column in range(self.columns):
            clusters = [c for c in grid if c % self.columns == column]
            if clusters:
                own = grid[clusters[0]][1]
                at = (own[0] - s[0]) * stream.block_stride + address
                self.feed(STREAM, clusters, stream, own[1] - s[0], at, run, [(own[1] - own[0], stream.block_stride), *dims])
        plane = stationary.n_rows * self.pattern.cols
        pixel = (tile.first_sample - band.first_sample) * plane + tile.first_pixel - stationary.first_row * self.pattern.cols
        for row in range(self.plan.split):
            clusters = [c for c in grid if c // self.columns == row]
            if clusters:
                own = grid[clusters[0]][0]
                at = (own[0] - r[0]) * stationary.block_stride + pixel * pixel_bytes
                dims = [(own[1] - own[0], stationary.block_stride)]
                self.feed(STATIONARY, clusters, stationary, own[1] - r[0], at, tile.n_pixels * pixel_bytes, dims)

    def _drain_tile(self, grid: dict, r: tuple[int, int], s: tuple[int, int], taps: tuple[Tap, ...]) -> None:
        """Collect the pass in the error buffer as [output block][input block][tap] and store it."""
        segment = self.array.lanes * self.problem.result_element_bytes
        tap_bytes = self.array.lanes * segment
        row_bytes = (s[1] - s[0]) * len(taps) * tap_bytes
        region = self.context.allocate(LOAD_ERROR, (r[1] - r[0]) * row_bytes)
        for c, (rows, columns) in grid.items():
            width = (columns[1] - columns[0]) * len(taps) * self.array.lanes
            offsets = np.arange(rows[1] - rows[0])[:, None] * row_bytes + np.arange(width)[None, :] * segment
            start = (rows[0] - r[0]) * row_bytes + (columns[0] - s[0]) * len(taps) * tap_bytes
            self.drain(c, region, start, offsets.ravel())
        block = self.problem.kernel_positions * tap_bytes
        blocks = (self.first_block + r[0], self.first_block + r[1])
        if len(taps) == self.problem.kernel_positions:
            self.context.transfer(STORE, region, 0, self.gradient, blocks, (0, 1), (s[0] * block, s[1] * block))
            return
        for i in range(s[1] - s[0]):
            piece = ((s[0] + i) * block + taps[0].index * tap_bytes, (s[0] + i) * block + (taps[-1].index + 1) * tap_bytes)
            self.context.transfer(STORE, region, i * len(taps) * tap_bytes, self.gradient, blocks, (0, 1), piece, row_bytes)
