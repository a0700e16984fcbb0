"""Mappings of WG: weight gradients stay in the psums."""

from collections.abc import Iterator
from functools import cache, partial
from itertools import product
from typing import NamedTuple

from etasim.schedule.array import ArraySizes
from etasim.schedule.array_time import GradientRates, gradient_cycles, gradient_rates, gradient_rounds
from etasim.schedule.overlap import Buffering, Demand, operation_cycles
from etasim.schedule.patterns import Pattern
from etasim.schedule.problem import NOTHING_FOLLOWS, Allotment, Band, Candidate, ConvProblem, Movement, Splits, Tiles, TileShape
from etasim.schedule.tiling import (
    burst_span,
    ceil_div,
    count_bands,
    equal_shares,
    pixel_shapes,
    plane_bytes,
    row_halves,
    slice_pixels,
    stream_bytes,
    tile_rows,
)


def _gradient_bytes(array: ArraySizes, problem: ConvProblem, stream_blocks: int, taps: int) -> int:
    """DRAM bytes to store all weight gradients: whole bursts of each piece of a plane of the gradient tensor."""
    n_taps = problem.kernel_positions
    tap_bytes = array.lanes**2 * problem.result_element_bytes
    block = n_taps * tap_bytes
    if taps == n_taps:
        return problem.result_blocks * plane_bytes(problem.stream_blocks, block, array.burst_bytes, stream_blocks)
    groups = [(t * tap_bytes, min(t + taps, n_taps) * tap_bytes) for t in range(0, n_taps, taps)]
    pieces = ((s * block + first, s * block + end) for s in range(problem.stream_blocks) for first, end in groups)
    return problem.result_blocks * sum(burst_span(first, end, array.burst_bytes) for first, end in pieces)


AT_HAND = Buffering(10**9, 0), Buffering(10**9, 0)
"""Operands that come in pieces so small that nothing waits for them."""


class ClusterTile(NamedTuple):
    """A tile shape and what it takes of the scratchpads: bytes of a streamed block, and of a result slice's stationary vectors."""

    shape: TileShape
    stream_bytes: int
    stationary_bytes: int


def _cluster_tiles(array: ArraySizes, problem: ConvProblem, pattern: Pattern) -> Iterator[ClusterTile]:
    """All tile shapes of WG; the psums do not limit their pixels."""
    for samples, pixels in pixel_shapes(pattern, problem.batch, problem.batch * pattern.rows * pattern.cols, array):
        n_samples = max(samples, 1)
        stream_pixels = slice_pixels(array, pattern, n_samples, tile_rows(pattern, samples, pixels))
        groups = ceil_div(n_samples * pixels, array.lanes)
        yield ClusterTile(
            TileShape(samples, pixels, 1, 0),
            stream_pixels * array.lanes * problem.stream_element_bytes,
            groups * array.pes * array.lanes * problem.stationary_element_bytes,
        )


class GradientPass(NamedTuple):
    """A pass of all clusters: the channel blocks of both operands, what it asks for, and how many there are."""

    allotment: Allotment
    stream_blocks: int
    result_blocks: int
    rates: GradientRates
    n_passes: int


class GradientPlanner:
    """Mappings of a WG operation.

    ``stages`` of working one out (`etasim.schedule.search`), by (cycles, DRAM bytes): a bound, then the tiles.
    """

    def __init__(self, array: ArraySizes, problem: ConvProblem):
        self.array, self.problem, self.pattern = array, problem, problem.patterns[0]
        self.stages = self._bound, self._time
        self._cluster_tiles = list(_cluster_tiles(array, problem, self.pattern))
        self._row_bytes = self.pattern.cols * array.lanes * problem.stationary_element_bytes
        self._stream_bytes = cache(partial(stream_bytes, array, problem))
        self._plane_bytes = cache(partial(plane_bytes, self.pattern.out_height, self._row_bytes, array.burst_bytes))
        self._gradient_bytes = cache(partial(_gradient_bytes, array, problem))
        self._rounds = cache(partial(gradient_rounds, array, problem))
        self._movements = cache(self._orders)

    def options(self, splits: Splits) -> Iterator[tuple[Allotment, str, int]]:
        """Allotments whose psums fit, in both orders of the loops, with bands of whole samples or of so many rows."""
        array, problem, n_taps = self.array, self.problem, len(self.pattern.taps)
        result_total = ceil_div(problem.result_blocks, array.pe_blocks)
        stream_total = ceil_div(problem.stream_blocks, array.column_blocks)
        limit = array.psum_depth // min(n_taps, array.psum_depth)
        taps = ceil_div(n_taps, ceil_div(n_taps, array.psum_depth))
        for split, parts in splits:
            for result_slices in range(1, min(limit, ceil_div(result_total, split)) + 1):
                most = min(limit // result_slices, ceil_div(stream_total, array.clusters // (split * parts)))
                for stream_slices in range(most, 0, -1):
                    for outer, rows in product(("stationary", "stream"), row_halves(self.pattern.out_height)):
                        yield Allotment(split, parts, result_slices, stream_slices, taps), outer, rows

    def _pass(self, allotment: Allotment) -> GradientPass:
        array, problem = self.array, self.problem
        split, parts, result_slices, stream_slices, taps = allotment
        stream_blocks = min(array.clusters // (split * parts) * stream_slices * array.column_blocks, problem.stream_blocks)
        result_blocks = min(split * result_slices * array.pe_blocks, problem.result_blocks)
        n_passes = ceil_div(problem.stream_blocks, stream_blocks) * ceil_div(problem.result_blocks, result_blocks)
        n_passes *= ceil_div(len(self.pattern.taps), taps)
        return GradientPass(allotment, stream_blocks, result_blocks, gradient_rates(array, problem, allotment), n_passes)

    def _bound(self, option: tuple[Allotment, str, int]) -> tuple[tuple[float, int], tuple[GradientPass, Movement]] | None:
        """A bound on the cycles: operands that never wait, pixels in equal shares; None if no band fits the buffers."""
        allotment, outer, rows = option
        work = self._pass(allotment)
        movements = self._movements(work.stream_blocks, work.result_blocks, allotment.taps, rows)
        if movements is None:
            return None
        movement, asked = movements[outer], work.rates
        groups = self.problem.batch * self.pattern.rows * self.pattern.cols / (self.array.lanes * allotment.sample_parts)
        compute = asked.compute_cycles * groups
        each = compute + asked.drain_cycles if asked.waits else max(compute, asked.drain_cycles)
        return (self._cycles(work, movement, work.n_passes * each, AT_HAND), sum(movement.dram_bytes)), (work, movement)

    def _cycles(self, work: GradientPass, movement: Movement, array_cycles: float, loads: tuple[Buffering, Buffering]) -> float:
        """Cycles of the operation if the array takes ``array_cycles`` and its operands come as ``loads``."""
        array, problem, (allotment, stream_blocks, result_blocks, _, n_passes) = self.array, self.problem, work
        tile_bytes = stream_blocks * result_blocks * allotment.taps * array.lanes**2 * problem.result_element_bytes
        dma_bytes = (*movement.dram_bytes, 0, self._gradient_bytes(stream_blocks, allotment.taps))
        demand = Demand(n_passes, 0, 1, array_cycles, dma_bytes, loads, max(2 * array.error_bytes // tile_bytes, 1))
        return operation_cycles(array, NOTHING_FOLLOWS, demand)

    def _loads(self, work: GradientPass, movement: Movement, band_samples: int) -> tuple[Buffering, Buffering]:
        """Pieces of both operands in bands of so many samples."""
        array, rows = self.array, movement.band_rows
        n_pieces = work.n_passes * count_bands(self.problem, band_samples, rows)
        streamed = band_samples * work.stream_blocks * self._stream_bytes(rows).largest
        stationary = band_samples * work.result_blocks * rows * self._row_bytes
        return (
            Buffering(n_pieces, 0 if movement.stream_resident else max(2 * array.activation_bytes // max(streamed, 1), 1)),
            Buffering(n_pieces, 0 if movement.stationary_resident else max(2 * array.weight_bytes // stationary, 1)),
        )

    def _orders(self, stream_blocks: int, result_blocks: int, taps: int, rows: int) -> dict[str, Movement] | None:
        """Bands and what each order of the loops moves in passes of so many blocks and taps, or None if they do not fit."""
        array, problem, batch = self.array, self.problem, self.problem.batch
        room = self._room(stream_blocks, result_blocks, rows)
        shares = equal_shares(batch) if rows == self.pattern.out_height else [1]
        bands = next((samples for samples in shares if samples <= room), 0), rows
        if stream_blocks * result_blocks * taps * array.lanes**2 * problem.result_element_bytes > array.error_bytes or not bands[0]:
            return None
        _, stream, loaded = self._stream_bytes(bands[1])
        stationary = self.pattern.rows * self._row_bytes
        stream_loaded = problem.stream_blocks * batch * loaded
        stationary_loaded = problem.result_blocks * batch * self._plane_bytes(bands[1])
        tap_rounds = ceil_div(len(self.pattern.taps), taps)
        stream_rounds, result_rounds = ceil_div(problem.stream_blocks, stream_blocks), ceil_div(problem.result_blocks, result_blocks)
        orders = {}
        for outer, stream_piece, stationary_piece in (
            ("stationary", problem.stream_blocks, result_blocks),
            ("stream", stream_blocks, problem.result_blocks),
        ):
            stream_held = batch * stream * stream_piece <= array.activation_bytes
            stationary_held = batch * stationary * stationary_piece <= array.weight_bytes
            streamed = stream_loaded * (1 if stream_held else result_rounds * tap_rounds)
            kept = stationary_loaded * (1 if stationary_held else stream_rounds * tap_rounds)
            orders[outer] = Movement(*bands, outer, stream_held, stationary_held, (streamed, kept))
        return orders

    def _room(self, stream_blocks: int, result_blocks: int, rows: int) -> int:
        """Samples of ``rows`` rows whose pieces of both operands fit half of their buffers."""
        stream = stream_blocks * self._stream_bytes(rows).largest
        stationary = result_blocks * rows * self.pattern.out_width * self.array.lanes * self.problem.stationary_element_bytes
        return min(self.array.activation_bytes // max(stream, 1), self.array.weight_bytes // stationary)

    def _time(self, moved: tuple[GradientPass, Movement]) -> tuple[tuple[float, int], Candidate] | None:
        """Cycles with the fastest tiles; None if no tile fits the scratchpads."""
        array, problem, (work, movement) = self.array, self.problem, moved
        parts, own_blocks = work.allotment.sample_parts, min(work.allotment.stream_slices * array.column_blocks, problem.stream_blocks)
        best: tuple[float, Tiles] | None = None
        for shape, shape_stream_bytes, shape_stationary_bytes in self._cluster_tiles:
            too_large = work.allotment.result_slices * shape_stationary_bytes > array.stationary_scratchpad_bytes
            if too_large or own_blocks * shape_stream_bytes > array.stream_scratchpad_bytes:
                continue
            band_samples = min(max(shape.samples, 1) * parts, movement.band_samples)
            rounds = self._rounds(shape, Band(0, band_samples, 0, movement.band_rows), parts)
            on_array = gradient_cycles(
                array, work.allotment, work.rates, rounds, problem.batch / band_samples * ceil_div(self.pattern.rows, movement.band_rows)
            )
            cycles = self._cycles(work, movement, work.n_passes * on_array, self._loads(work, movement, band_samples))
            if best is None or cycles < best[0]:
                best = cycles, Tiles(cycles, (shape,), band_samples)
        return best and ((best[0], sum(movement.dram_bytes)), Candidate(work.allotment, movement, best[1]))
