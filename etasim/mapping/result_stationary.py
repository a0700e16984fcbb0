"""Emits FF and BP: results are held in the psums over all input channels and kernel positions.

Inside a step of the nest come passes of pixel tiles, and in these chunks of the reduction. A chunk is one compute command per cluster with
the operands that the feeders send it ahead of time.
"""

from functools import partial

import numpy as np

from etasim.mapping.arrival import NOTHING, Reads
from etasim.mapping.context import Context
from etasim.mapping.convolution import Chunk, Convolution, Item, Segments, Sweeps, row_runs
from etasim.mapping.works import Convolve, ResultMaps, result_tile
from etasim.program.commands import LOAD_ERROR
from etasim.schedule.array import STATIONARY, STREAM
from etasim.schedule.nest import BANDS, NestStep, Span, band_at
from etasim.schedule.patterns import Pattern, PixelTile, Tap, coordinates
from etasim.schedule.problem import Band, ConvProblem, TileShape
from etasim.schedule.tiling import ceil_div, tiles_of_band, vector_bytes

Grid = dict[int, tuple[Span, PixelTile]]
"""Result blocks and pixel tile of each busy cluster."""


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
    run = tap_bytes
    dims: list[tuple[int, int]] = []
    for values, unit in ((cols, tap_bytes), (rows, kernel_width * tap_bytes)):
        step = values[1] - values[0] if len(values) > 1 else 1
        if step * unit == run and not dims:
            run *= len(values)
        elif len(values) > 1:
            dims.insert(0, (len(values), step * unit))
    return offset, run, dims


def weight_runs(problem: ConvProblem, lanes: int, kernel_width: int, block_stride: int, blocks: tuple[int, int], slices: tuple[int, int],
                taps: tuple[Tap, ...]) -> tuple[int, int, list[tuple[int, int]]]:  # fmt: skip
    """(address, run bytes, dimensions) of the weights of result ``blocks`` of a round for a chunk, in the order of the sweeps: slice,
    result block, tap. ``block_stride``: distance of what a round holds of the outer dimension in DRAM."""
    tap_bytes = vector_bytes(lanes, problem.stationary_vector_bits)
    offset, run, dims = tap_dimensions(taps, kernel_width, tap_bytes)
    block_bytes = problem.kernel_positions * tap_bytes
    result_stride, slice_stride = (block_stride, block_bytes) if problem.weights_by_result else (block_bytes, block_stride)
    address = blocks[0] * result_stride + slices[0] * slice_stride + offset
    return address, run, [(slices[1] - slices[0], slice_stride), (blocks[1] - blocks[0], result_stride), *dims]


class ResultStationary(Convolution):
    """FF and BP: results stay in the psums while input channels and kernel positions pass by."""

    def __init__(self, context: Context, work: Convolve):
        super().__init__(context, work)
        assert isinstance(work.results, ResultMaps), "what FF and BP write"
        self.kernel_width, self.results = work.kernel_width, work.results
        self.tap_bytes = vector_bytes(self.array.lanes, self.problem.stationary_vector_bits)
        self.all_streams = Span(0, self.problem.stream_blocks)
        self.parts = list(self.nest.steps("streams"))
        self._segments: dict[tuple[int, ...], tuple[Segments, int]] = {}
        self._chunks: dict[tuple[int, ...], Chunk] = {}

    def emit(self) -> None:
        """Append all commands of the operation."""
        for step in self.nest.steps("results", *BANDS):
            self._operands(step | self.parts[0])
            with self.context.rings[LOAD_ERROR].scope(self.results.room_bytes(step["results"], band_at(step))):
                self._tile(step)

    def _operands(self, step: NestStep) -> tuple[Item, Item]:
        """Weights and streamed maps of a step, which are loaded unless they are there."""
        return self.item(self.nest.stationary, step), self.item(self.nest.stream, step)

    def _tile(self, step: NestStep) -> None:
        """All passes over a tile of results, their drains, and what follows."""
        blocks, band = step["results"], band_at(step)
        slot = result_tile(self.work, blocks, band)
        slot.region = region = self.context.allocate(LOAD_ERROR, slot.n_bytes)
        segment, block_bytes = self.array.lanes * self.problem.result_element_bytes, slot.n_bytes // blocks.size
        for pattern, shape in zip(self.problem.patterns, self.plan.shapes, strict=True):
            tiles = tiles_of_band(pattern, shape, band)
            for i in range(0, len(tiles), self.columns):
                at_once = tiles[i : i + self.columns]
                grid = self._grid(blocks, at_once)
                self._pass(pattern, shape, grid, step)
                for c, (own, tile) in grid.items():
                    segments, start = self._segments_of(pattern, tile, band, own[1] - own[0], block_bytes, segment)
                    origin = (self.results.first_block + own[0], tile.n_pixels, tile.first_sample, tile.end_pixel - tile.first_pixel, 0, 0)
                    self.drain(range(c, c + 1), region, (own[0] - blocks[0]) * block_bytes + start, segments, origin)
        for after in self.results.finish(blocks, band, slot):
            self.context.do(after)
        self.builder.operation = self.work.operation

    def _grid(self, blocks: Span, tiles: list[PixelTile]) -> Grid:
        """Result blocks and pixel tile of each busy cluster: rows of clusters split the blocks, columns the tiles."""
        rows = enumerate(blocks.dealt(self.plan.own_blocks))
        return {row * self.columns + column: (own, tile) for row, own in rows for column, tile in enumerate(tiles)}

    def _pass(self, pattern: Pattern, shape: TileShape, grid: Grid, step: NestStep) -> None:
        """All chunks of one pass, those of one part of the operands after the other; a pattern without taps only clears the psums."""
        if not pattern.taps:
            for c, (own, tile) in grid.items():
                n_groups = ceil_div(own[1] - own[0], self.array.pe_blocks) * ceil_div(tile.n_pixels, self.array.columns)
                geometry = self.geometry(pattern, tile, (), own[1] - own[0], 0)
                clearing = Sweeps(self.builder.sweep_table(np.array([n_groups])), 1, n_groups)
                self.compute(c, geometry, clearing, n_groups, NOTHING, True, True)
            return
        band, first = band_at(step), step["results"].first
        tiles = tuple(
            (c, own.first - first, own.size, tile.first_sample - band.first_sample, *tile[1:]) for c, (own, tile) in grid.items()
        )
        for number, part in enumerate(self.parts):
            n_streams, ends = part.get("streams", self.all_streams).size, (number == 0, number == len(self.parts) - 1)
            weights, stream = self._operands(step | part)
            kind = self.problem.patterns.index(pattern), tiles, n_streams, ends
            self.again(kind, stream, weights, partial(self._chunks_of_part, pattern, shape, grid, step, n_streams, ends, stream, weights))

    def _chunks_of_part(
        self, pattern: Pattern, shape: TileShape, grid: Grid, step: NestStep, n_streams: int, ends: tuple[bool, bool], stream: Item,
        weights: Item,
    ) -> None:  # fmt: skip
        """Chunks of a pass over ``n_streams`` blocks of the operands; ``ends``: whether these are the first, the last of the pass."""
        groups = tap_groups(pattern.taps, shape.taps_per_chunk, self.kernel_width)
        chunks = [(slices, taps) for slices in Span(0, n_streams).dealt(shape.slices_per_chunk) for taps in groups]
        for i, (slices, taps) in enumerate(chunks):
            self._feed_stream(pattern, grid, slices, stream, band_at(step))
            self._feed_weights(grid, step["results"], slices, taps, weights)
            first, last = ends[0] and i == 0, ends[1] and i == len(chunks) - 1
            for c, (own, tile) in grid.items():
                chunk = self._chunk(pattern, tile, taps, own[1] - own[0], slices[1] - slices[0])
                self.compute(c, *chunk, first, last)

    def _chunk(self, pattern: Pattern, tile: PixelTile, taps: tuple[Tap, ...], n_blocks: int, n_parts: int) -> Chunk:
        """A chunk of a tile, worked out once for tiles of the same pixels of a sample."""
        key = (id(pattern), *tile[1:], taps[0].index, taps[-1].index, n_blocks, n_parts)
        if key not in self._chunks:
            sweeps = self.sweeps(pattern, tile, taps, self.array.columns)
            reads = Reads(
                parts=n_parts, result_blocks=n_blocks, slice_blocks=self.array.pe_blocks, units=len(taps), step=1,
                unit_bits=8 * self.tap_bytes,
            )  # fmt: skip
            geometry = self.geometry(pattern, tile, taps, n_blocks, n_parts)
            self._chunks[key] = Chunk(geometry, sweeps, ceil_div(tile.n_pixels, self.array.columns), reads)
        return self._chunks[key]

    def _feed_stream(self, pattern: Pattern, grid: Grid, slices: tuple[int, int], item: Item, band: Band) -> None:
        """Operand rows of every column's tile, to the clusters of that column."""
        for column in range(self.columns):
            clusters = [c for c in grid if c % self.columns == column]
            if not clusters:
                continue
            tile = grid[clusters[0]][1]
            address, run, dims = row_runs(pattern, tile, item, band, self.problem.stream_vector_bits)
            dims = [(slices[1] - slices[0], item.block_stride), *dims]
            self.feed(STREAM, clusters, item, slices[1], slices[0] * item.block_stride + address, run, dims)

    def _feed_weights(self, grid: Grid, blocks: tuple[int, int], slices: tuple[int, int], taps: tuple[Tap, ...], item: Item) -> None:
        """Weights of every row's result blocks, to the clusters of that row, in the order of the sweeps: slice, result block, tap. They
        wait for the outer blocks in which they lie (`etasim.mapping.works`): of the results in FF, of the reduction in BP."""
        for row in range(self.plan.split):
            clusters = [c for c in grid if c // self.columns == row]
            if not clusters:
                continue
            own = grid[clusters[0]][0]
            part = (own[0] - blocks[0], own[1] - blocks[0])
            address, run, order = weight_runs(self.problem, self.array.lanes, self.kernel_width, item.block_stride, part, slices, taps)
            end_block = part[1] if self.problem.weights_by_result else slices[1]
            self.feed(STATIONARY, clusters, item, end_block, address, run, order)

    def _segments_of(
        self, pattern: Pattern, tile: PixelTile, band: Band, n_blocks: int, block_bytes: int, segment: int
    ) -> tuple[Segments, int]:
        """As `_offsets`, worked out once for tiles that lie in their bands alike."""
        key = (id(pattern), tile.first_sample - band.first_sample, *tile[1:], *band[1:], n_blocks, block_bytes)
        if key not in self._segments:
            offsets, start = self._offsets(pattern, tile, band, n_blocks, block_bytes, segment)
            self._segments[key] = self.segments(offsets), start
        return self._segments[key]

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
