"""Emits WG: weight gradients are held in the psums over all pixels of the batch."""

import numpy as np

from etasim.mapping.arrival import Reads
from etasim.mapping.context import Context
from etasim.mapping.convolution import Convolution, Item, Operands, row_runs
from etasim.mapping.tensors import Tensor
from etasim.program.commands import LOAD_ACTIVATION, LOAD_ERROR, LOAD_WEIGHT, STORE
from etasim.schedule.array import STATIONARY, STREAM
from etasim.schedule.nest import BANDS, band_at, nest_of
from etasim.schedule.patterns import PixelTile, Tap
from etasim.schedule.problem import Band, Plan, Problem
from etasim.schedule.tiling import band_operand_rows, ceil_div, tiles_of_band


class GradientStationary(Convolution):
    """WG: weight gradients stay in the psums while the pixels of the batch pass by; dO is the stationary operand, the input is streamed.

    ``gradient`` receives the blocks; ``first_block`` is the first output block of this channel group in it.
    """

    def __init__(self, context: Context, problem: Problem, plan: Plan, operands: Operands, gradient: Tensor, first_block: int):
        super().__init__(context, problem, plan, operands)
        self.gradient, self.first_block = gradient, first_block
        self.pattern, self.nest = problem.patterns[0], nest_of(self.array, problem, plan)

    def emit(self) -> None:
        """Append all commands of the operation."""
        for step in self.nest.steps("results", "streams", "taps"):
            self._tile(step["results"], step["streams"], self.pattern.taps[slice(*step["taps"])])

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
        bands = map(band_at, self.nest.steps(*BANDS))
        steps = [(band, tile) for band in bands for tile in tiles_of_band(self.pattern, self.plan.shapes[0], band)]
        n_parts, pixel_bytes = min(self.plan.sample_parts, len(steps)), self.array.lanes * self.problem.stationary_element_bytes
        for i, (band, tile) in enumerate(steps):
            stream, stationary = self._pieces(r, s, band)
            grid = self._grid(r, s, i % n_parts)
            self._feed_chunk(grid, r, s, band, tile, stream, stationary)
            for c, (rows, columns) in grid.items():
                stream_slices = ceil_div(columns[1] - columns[0], self.array.column_blocks)
                sweeps = self.sweeps(self.pattern, tile, taps, self.array.lanes, stream_slices)
                reads = Reads(
                    parts=1, result_blocks=rows[1] - rows[0], slice_blocks=self.array.pe_blocks,
                    units=tile.n_pixels, step=self.array.lanes, unit_bytes=pixel_bytes,
                )  # fmt: skip
                geometry = self.geometry(self.pattern, tile, taps, rows[1] - rows[0], columns[1] - columns[0])
                self.compute(c, geometry, sweeps, stream_slices * len(taps), reads, i < n_parts, i >= len(steps) - n_parts)
        self._drain_tile(n_parts, r, s, taps)

    def _grid(self, r: tuple[int, int], s: tuple[int, int], part: int) -> dict[int, tuple[tuple[int, int], tuple[int, int]]]:
        """Output and input blocks of each busy cluster of a part of the samples; every part has the same."""
        own_r, own_s = self.plan.result_slices * self.array.pe_blocks, self.plan.stream_slices * self.array.column_blocks
        grid = {}
        for row in range(self.plan.split):
            for column in range(self.columns):
                first_r, first_s = r[0] + row * own_r, s[0] + column * own_s
                if first_r < r[1] and first_s < s[1]:
                    rows, columns = (first_r, min(first_r + own_r, r[1])), (first_s, min(first_s + own_s, s[1]))
                    grid[(part * self.plan.split + row) * self.columns + column] = (rows, columns)
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
            clusters = [c for c in grid if c // self.columns % self.plan.split == row]
            if clusters:
                own = grid[clusters[0]][0]
                at = (own[0] - r[0]) * stationary.block_stride + pixel * pixel_bytes
                dims = [(own[1] - own[0], stationary.block_stride)]
                self.feed(STATIONARY, clusters, stationary, own[1] - r[0], at, tile.n_pixels * pixel_bytes, dims)

    def _drain_tile(self, n_parts: int, r: tuple[int, int], s: tuple[int, int], taps: tuple[Tap, ...]) -> None:
        """Collect the pass of ``n_parts`` parts in the error buffer as [output block][input block][tap] and store it."""
        segment = self.array.lanes * self.problem.result_element_bytes
        tap_bytes = self.array.lanes * segment
        row_bytes = (s[1] - s[0]) * len(taps) * tap_bytes
        region = self.context.allocate(LOAD_ERROR, (r[1] - r[0]) * row_bytes)
        part_clusters = self.plan.split * self.columns
        for c, (rows, columns) in self._grid(r, s, 0).items():
            width = (columns[1] - columns[0]) * len(taps) * self.array.lanes
            offsets = np.arange(rows[1] - rows[0])[:, None] * row_bytes + np.arange(width)[None, :] * segment
            start = (rows[0] - r[0]) * row_bytes + (columns[0] - s[0]) * len(taps) * tap_bytes
            first_column = self.operands.stream_block + columns[0]
            origin = (self.first_block + rows[0], width, 0, 0, first_column, len(taps) * self.array.lanes)
            self.drain(range(c, c + n_parts * part_clusters, part_clusters), region, start, offsets.ravel(), origin)
        block = self.problem.kernel_positions * tap_bytes
        blocks = (self.first_block + r[0], self.first_block + r[1])
        if len(taps) == self.problem.kernel_positions:
            self.context.transfer(STORE, region, 0, self.gradient, blocks, (0, 1), (s[0] * block, s[1] * block))
            return
        for i in range(s[1] - s[0]):
            piece = ((s[0] + i) * block + taps[0].index * tap_bytes, (s[0] + i) * block + (taps[-1].index + 1) * tap_bytes)
            self.context.transfer(STORE, region, i * len(taps) * tap_bytes, self.gradient, blocks, (0, 1), piece, row_bytes)
