"""Emits WG: weight gradients are held in the psums over all pixels of the batch."""

from functools import partial

import numpy as np

from etasim.mapping.arrival import Reads
from etasim.mapping.context import Context
from etasim.mapping.convolution import Convolution, Item, Segments, row_runs
from etasim.mapping.works import Convolve, Gradients, gradient_pieces
from etasim.program.commands import LOAD_ERROR
from etasim.schedule.array import STATIONARY, STREAM
from etasim.schedule.nest import BANDS, NestStep, Span, band_at
from etasim.schedule.patterns import PixelTile, Tap
from etasim.schedule.problem import Band
from etasim.schedule.tiling import ceil_div, tiles_of_band, vector_bytes


class GradientStationary(Convolution):
    """WG: weight gradients stay in the psums while the pixels of the batch pass by; dO is the stationary operand, the input is streamed."""

    def __init__(self, context: Context, work: Convolve):
        super().__init__(context, work)
        assert isinstance(work.results, Gradients), "what WG writes"
        self.pattern, self.gradients = self.problem.patterns[0], work.results
        bands = [(inner, band_at(inner)) for inner in self.nest.steps(*BANDS)]
        self._tiles = [(inner, band, tile) for inner, band in bands for tile in tiles_of_band(self.pattern, self.plan.shapes[0], band)]
        self._segments: dict[tuple[int, ...], Segments] = {}

    def emit(self) -> None:
        """Append all commands of the operation."""
        for step in self.nest.steps("results", "streams", "taps"):
            self._tile(step, step["results"], step["streams"], self.pattern.taps[slice(*step["taps"])])

    def _tile(self, step: NestStep, r: Span, s: Span, taps: tuple[Tap, ...]) -> None:
        """One pass over all pixels, its drain and its store."""
        n_parts = min(self.plan.sample_parts, len(self._tiles))
        for i, (inner, band, tile) in enumerate(self._tiles):
            at = step | inner
            stream, stationary = self.item(self.nest.stream, at), self.item(self.nest.stationary, at)
            part, ends = i % n_parts, (i < n_parts, i >= len(self._tiles) - n_parts)
            kind = r.size, s.size, taps[0].index, len(taps), part, ends, tile.first_sample - band.first_sample, *tile[1:]
            self.again(kind, stream, stationary, partial(self._chunk, r, s, taps, part, ends, band, tile, stream, stationary))
        self._drain_tile(step, n_parts, r, s, taps)

    def _chunk(
        self, r: Span, s: Span, taps: tuple[Tap, ...], part: int, ends: tuple[bool, bool], band: Band, tile: PixelTile, stream: Item,
        stationary: Item,
    ) -> None:  # fmt: skip
        """One chunk of all clusters of a part; ``ends``: whether it is their first, their last of the pass."""
        grid = self._grid(r, s, part)
        self._feed_chunk(grid, r, s, band, tile, stream, stationary)
        for c, (rows, columns) in grid.items():
            stream_slices = ceil_div(columns[1] - columns[0], self.array.column_blocks)
            sweeps = self.sweeps(self.pattern, tile, taps, self.array.gradient_lanes, stream_slices)
            reads = Reads(
                parts=1, result_blocks=rows[1] - rows[0], slice_blocks=self.array.pe_blocks,
                units=tile.n_pixels, step=self.array.gradient_lanes, unit_bits=self.problem.stationary_vector_bits,
            )  # fmt: skip
            geometry = self.geometry(self.pattern, tile, taps, rows[1] - rows[0], columns[1] - columns[0])
            self.compute(c, geometry, sweeps, stream_slices * len(taps), reads, *ends)

    def _grid(self, r: Span, s: Span, part: int) -> dict[int, tuple[Span, Span]]:
        """Output and input blocks of each busy cluster of a part of the samples; every part has the same."""
        rows = enumerate(r.dealt(self.plan.own_blocks), part * self.plan.split)
        columns = list(enumerate(s.dealt(self.plan.stream_slices * self.array.column_blocks)))
        return {row * self.columns + column: (own_r, own_s) for row, own_r in rows for column, own_s in columns}

    def _feed_chunk(
        self, grid: dict[int, tuple[Span, Span]], r: Span, s: Span, band: Band, tile: PixelTile, stream: Item, stationary: Item
    ) -> None:
        """Input rows to the clusters of each column, dO pixels to the clusters of each row."""
        address, run, dims = row_runs(self.pattern, tile, stream, band, self.problem.stream_vector_bits)
        for column in range(self.columns):
            clusters = [c for c in grid if c % self.columns == column]
            if clusters:
                own = grid[clusters[0]][1]
                at = (own[0] - s[0]) * stream.block_stride + address
                self.feed(STREAM, clusters, stream, own[1] - s[0], at, run, [(own[1] - own[0], stream.block_stride), *dims])
        plane = stationary.n_rows * self.pattern.cols
        pixel = (tile.first_sample - band.first_sample) * plane + tile.first_pixel - stationary.first_row * self.pattern.cols
        begin, end = self._pixel_bits(pixel), self._pixel_bits(pixel + tile.n_pixels)
        for row in range(self.plan.split):
            clusters = [c for c in grid if c // self.columns % self.plan.split == row]
            if clusters:
                own = grid[clusters[0]][0]
                at = (own[0] - r[0]) * stationary.block_stride + begin // 8
                dims = [(own[1] - own[0], stationary.block_stride)]
                self.feed(STATIONARY, clusters, stationary, own[1] - r[0], at, ceil_div(end, 8) - begin // 8, dims)

    def _pixel_bits(self, pixel: int) -> int:
        """Where a pixel of dO begins, in bits; rows begin at bytes."""
        (rows, rest), bits = divmod(pixel, self.pattern.cols), self.problem.stationary_vector_bits
        return 8 * rows * vector_bytes(self.pattern.cols, bits) + rest * bits

    def _drain_tile(self, step: NestStep, n_parts: int, r: Span, s: Span, taps: tuple[Tap, ...]) -> None:
        """Collect the pass of ``n_parts`` parts in the error buffer as [output block][input block][tap] and store it."""
        segment = self.array.lanes * self.problem.result_element_bytes
        tap_bytes = self.array.lanes * segment
        row_bytes = (s[1] - s[0]) * len(taps) * tap_bytes
        region = self.context.allocate(LOAD_ERROR, (r[1] - r[0]) * row_bytes)
        part_clusters = self.plan.split * self.columns
        for c, (rows, columns) in self._grid(r, s, 0).items():
            width = (columns[1] - columns[0]) * len(taps) * self.array.lanes
            shape = rows[1] - rows[0], width, row_bytes
            if shape not in self._segments:
                offsets = np.arange(shape[0])[:, None] * row_bytes + np.arange(width)[None, :] * segment
                self._segments[shape] = self.segments(offsets.ravel())
            start = (rows[0] - r[0]) * row_bytes + (columns[0] - s[0]) * len(taps) * tap_bytes
            first_column = self.work.operands.stream_block + columns[0]
            origin = (self.gradients.first_block + rows[0], width, 0, 0, first_column, len(taps) * self.array.lanes)
            self.drain(range(c, c + n_parts * part_clusters, part_clusters), region, start, self._segments[shape], origin)
        blocks = (self.gradients.first_block + r.first, self.gradients.first_block + r.end)
        for span, offset in gradient_pieces(self.work, step):
            self.context.store(region, offset, self.gradients.tensor, blocks, (0, 1), span, row_bytes)
