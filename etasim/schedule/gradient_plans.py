"""Mappings of WG: weight gradients stay in the psums."""

from collections.abc import Iterator
from functools import cache, partial
from operator import attrgetter
from typing import NamedTuple

from etasim.schedule.array import PSUM, STATIONARY, STREAM, ArraySizes
from etasim.schedule.patterns import Pattern
from etasim.schedule.problem import Allotment, Band, Candidate, ConvProblem, Movement, Splits, Tiles, TileShape
from etasim.schedule.result_plans import PASS_OVERHEAD_CYCLES
from etasim.schedule.tiling import (
    burst_span,
    ceil_div,
    count_bands,
    flits,
    largest_bands,
    pixel_shapes,
    plane_bytes,
    slice_pixels,
    stream_bytes,
    tile_rounds,
    tile_rows,
)

TILE_OVERHEAD_CYCLES = 2
"""What a plan is charged for each tile beside its work; it orders plans only."""


class GradientRound(NamedTuple):
    """Tiles that the parts of the clusters take side by side: how often, pixel groups of the largest, flits of a channel block of each
    operand."""

    count: int  # type: ignore[assignment]  # in the place of a tuple's own
    groups: int
    stream_flits: int
    stationary_flits: int


def gradient_rounds(array: ArraySizes, problem: ConvProblem, shape: TileShape, band: Band, parts: int) -> list[GradientRound]:
    """The rounds of ``parts`` tiles that cover a band, equal ones once."""
    pattern = problem.patterns[0]
    row_bytes = pattern.in_width * array.lanes * problem.stream_element_bytes
    pixel_bytes = array.lanes * problem.stationary_element_bytes
    return [
        GradientRound(
            count,
            ceil_div(max(pixels for pixels, _ in tiles), array.lanes),
            sum(flits(array, STREAM, rows * row_bytes) for _, rows in tiles),
            sum(flits(array, STATIONARY, pixels * pixel_bytes) for pixels, _ in tiles),
        )
        for tiles, count in tile_rounds(pattern, shape, band, parts).items()
    ]


class GradientRates(NamedTuple):
    """What a pass of WG asks of the array: compute cycles for each pixel group, flits for each of a block of either operand, cycles to
    drain, and whether the next pass waits for the drain, which it does if its sums are added in the network."""

    compute_cycles: int
    stream_flits: int
    stationary_flits: int
    drain_cycles: int
    waits: bool


def gradient_rates(array: ArraySizes, problem: ConvProblem, allotment: Allotment) -> GradientRates:
    """Rates of a pass of all clusters."""
    split, parts, result_slices, stream_slices, taps = allotment
    stream_blocks = min(stream_slices * array.column_blocks, problem.stream_blocks)
    result_blocks = min(result_slices * array.pe_blocks, problem.result_blocks)
    columns = min(array.clusters // (split * parts), ceil_div(problem.stream_blocks, stream_blocks))
    rows = min(split, ceil_div(problem.result_blocks, result_blocks))
    stream_copies, stationary_copies = (1, 1) if array.multicast else (rows, columns)
    return GradientRates(
        compute_cycles=result_slices * stream_slices * taps,
        stream_flits=stream_copies * columns * stream_blocks,
        stationary_flits=stationary_copies * rows * result_blocks,
        drain_cycles=drain_cycles(array, problem, allotment, columns * rows),
        waits=parts > 1,
    )


def gradient_cycles(rates: GradientRates, rounds: list[GradientRound], n_bands: int, tile_overhead_cycles: int) -> int:
    """Closed-form cycles of one pass of WG over all pixels, in ``n_bands`` bands of ``rounds``; the tiles of a round last as long as the
    longest, and share the network. A drain hides behind the next pass, unless that waits."""
    compute, stream, stationary, drain, waits = rates
    work = 0
    for count, groups, stream_flits, stationary_flits in rounds:
        work += count * (max(compute * groups, stream * stream_flits, stationary * stationary_flits) + tile_overhead_cycles)
    return n_bands * work + drain if waits else max(n_bands * work, drain)


def drain_cycles(array: ArraySizes, problem: ConvProblem, allotment: Allotment, blocks: int) -> int:
    """Closed-form cycles to drain the results of ``blocks`` clusters that hold different blocks; sums that the network adds go one group
    after the other."""
    results = allotment.result_slices * allotment.stream_slices * allotment.taps * array.pes * array.columns
    if allotment.sample_parts == 1:
        return blocks * flits(array, PSUM, results * problem.result_element_bytes) // min(array.error_ports, array.clusters)
    packets = ceil_div(results // array.lanes, array.segments_per_packet(array.sum_bytes))
    return blocks * (packets * array.packet_flits[PSUM] + PASS_OVERHEAD_CYCLES)


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
    """A pass of all clusters: the channel blocks of both operands, what it asks for, how many there are, and a bound on the cycles of
    all."""

    allotment: Allotment
    stream_blocks: int
    result_blocks: int
    rates: GradientRates
    n_passes: int
    least_cycles: int


class GradientPlanner:
    """Mappings of a WG operation.

    ``stages`` of working one out (`etasim.schedule.search`), by (DRAM bytes, cycles): bounds, how data move, the tiles.
    """

    def __init__(self, array: ArraySizes, problem: ConvProblem):
        self.array, self.problem, self.pattern = array, problem, problem.patterns[0]
        self.stages = self._bound, self._move, self._time
        self._cluster_tiles = list(_cluster_tiles(array, problem, self.pattern))
        self._row_bytes = self.pattern.cols * array.lanes * problem.stationary_element_bytes
        self._stream_bytes = cache(partial(stream_bytes, array, problem))
        self._plane_bytes = cache(partial(plane_bytes, self.pattern.out_height, self._row_bytes, array.burst_bytes))
        self._gradient_bytes = cache(partial(_gradient_bytes, array, problem))
        self._rounds = cache(partial(gradient_rounds, array, problem))
        self._movement = cache(self._best_movement)
        self._share = cache(self._equal_share)
        self._loaded_once = cache(self._loads)

    def allotments(self, splits: Splits) -> Iterator[Allotment]:
        """Allotments whose psums fit."""
        array, problem, n_taps = self.array, self.problem, len(self.pattern.taps)
        result_total = ceil_div(problem.result_blocks, array.pe_blocks)
        stream_total = ceil_div(problem.stream_blocks, array.column_blocks)
        limit = array.psum_depth // min(n_taps, array.psum_depth)
        taps = ceil_div(n_taps, ceil_div(n_taps, array.psum_depth))
        for split, parts in splits:
            for result_slices in range(1, min(limit, ceil_div(result_total, split)) + 1):
                most = min(limit // result_slices, ceil_div(stream_total, array.clusters // (split * parts)))
                for stream_slices in sorted({most, ceil_div(most, 2), 1}, reverse=True):
                    yield Allotment(split, parts, result_slices, stream_slices, taps)

    def _bound(self, allotment: Allotment) -> tuple[tuple[int, int], GradientPass]:
        """Traffic if both operands are loaded once, and cycles if the pixels are one round in equal shares."""
        array, problem = self.array, self.problem
        split, parts, result_slices, stream_slices, taps = allotment
        stream_blocks = min(array.clusters // (split * parts) * stream_slices * array.column_blocks, problem.stream_blocks)
        result_blocks = min(split * result_slices * array.pe_blocks, problem.result_blocks)
        n_passes = ceil_div(problem.stream_blocks, stream_blocks) * ceil_div(problem.result_blocks, result_blocks)
        n_passes *= ceil_div(len(self.pattern.taps), taps)
        holds_samples = self._room(stream_blocks, result_blocks, self.pattern.out_height) > 0
        rates = gradient_rates(array, problem, allotment)
        cycles = n_passes * (gradient_cycles(rates, self._share(parts, holds_samples), 1, TILE_OVERHEAD_CYCLES) + PASS_OVERHEAD_CYCLES)
        traffic = self._loaded_once(holds_samples) + self._gradient_bytes(stream_blocks, taps)
        return (traffic, cycles), GradientPass(allotment, stream_blocks, result_blocks, rates, n_passes, cycles)

    def _loads(self, holds_samples: bool) -> int:
        """Bytes to load both operands once at the least; bands of rows may skip rows that a stride leaves out."""
        problem, height = self.problem, self.pattern.out_height
        stream = self._stream_bytes(height).loaded if holds_samples or not self.pattern.leaves_rows_out else 0
        return problem.batch * (problem.stream_blocks * stream + problem.result_blocks * self._plane_bytes(height))

    def _equal_share(self, parts: int, holds_samples: bool) -> list[GradientRound]:
        """The whole batch as one round, of which every part of the clusters takes its share. Bands of rows may read less: they are timed
        as the first, which lies at the padding."""
        array, problem, pattern = self.array, self.problem, self.pattern
        n_pixels = problem.batch * pattern.rows * pattern.cols
        n_rows = problem.batch * pattern.least_row_count(0, pattern.rows) if holds_samples else 0
        stream = flits(array, STREAM, n_rows * pattern.in_width * array.lanes * problem.stream_element_bytes)
        stationary = flits(array, STATIONARY, n_pixels * array.lanes * problem.stationary_element_bytes)
        return [GradientRound(1, ceil_div(n_pixels, array.lanes * parts), stream, stationary)]

    def _move(self, work: GradientPass) -> tuple[tuple[int, int], tuple[GradientPass, Movement]] | None:
        """Traffic, and the bound on the cycles; None if no band fits the buffers."""
        movement = self._movement(work.stream_blocks, work.result_blocks, work.allotment.taps)
        return movement and ((movement.dram_bytes, work.least_cycles), (work, movement))

    def _best_movement(self, stream_blocks: int, result_blocks: int, taps: int) -> Movement | None:
        """Bands and the best order of loops over passes of so many blocks and taps, or None if they do not fit."""
        array, problem, batch = self.array, self.problem, self.problem.batch
        bands = largest_bands(problem, batch, partial(self._room, stream_blocks, result_blocks))
        if stream_blocks * result_blocks * taps * array.lanes**2 * problem.result_element_bytes > array.error_bytes or bands is None:
            return None
        _, stream, loaded = self._stream_bytes(bands[1])
        stationary = self.pattern.rows * self._row_bytes
        stream_loaded = problem.stream_blocks * batch * loaded
        stationary_loaded = problem.result_blocks * batch * self._plane_bytes(bands[1])
        stored = self._gradient_bytes(stream_blocks, taps)
        tap_rounds = ceil_div(len(self.pattern.taps), taps)
        stream_rounds, result_rounds = ceil_div(problem.stream_blocks, stream_blocks), ceil_div(problem.result_blocks, result_blocks)
        orders = []
        for outer, stream_piece, stationary_piece in (
            ("stationary", problem.stream_blocks, result_blocks),
            ("stream", stream_blocks, problem.result_blocks),
        ):
            stream_held = batch * stream * stream_piece <= array.activation_bytes
            stationary_held = batch * stationary * stationary_piece <= array.weight_bytes
            traffic = stream_loaded * (1 if stream_held else result_rounds * tap_rounds)
            traffic += stationary_loaded * (1 if stationary_held else stream_rounds * tap_rounds)
            orders.append(Movement(*bands, outer, stream_held, stationary_held, traffic + stored))
        return min(orders, key=attrgetter("dram_bytes"))

    def _room(self, stream_blocks: int, result_blocks: int, rows: int) -> int:
        """Samples of ``rows`` rows whose pieces of both operands fit half of their buffers."""
        stream = stream_blocks * self._stream_bytes(rows).largest
        stationary = result_blocks * rows * self.pattern.out_width * self.array.lanes * self.problem.stationary_element_bytes
        return min(self.array.activation_bytes // max(stream, 1), self.array.weight_bytes // stationary)

    def _time(self, moved: tuple[GradientPass, Movement]) -> tuple[tuple[int, int], Candidate] | None:
        """Traffic and the cycles of the fastest tiles; None if no tile fits the scratchpads."""
        array, problem, (work, movement) = self.array, self.problem, moved
        parts, own_blocks = work.allotment.sample_parts, min(work.allotment.stream_slices * array.column_blocks, problem.stream_blocks)
        options = []
        for shape, shape_stream_bytes, shape_stationary_bytes in self._cluster_tiles:
            too_large = work.allotment.result_slices * shape_stationary_bytes > array.stationary_scratchpad_bytes
            if too_large or own_blocks * shape_stream_bytes > array.stream_scratchpad_bytes:
                continue
            band_samples = min(max(shape.samples, 1) * parts, movement.band_samples)
            rounds = self._rounds(shape, Band(0, band_samples, 0, movement.band_rows), parts)
            cycles = gradient_cycles(work.rates, rounds, count_bands(problem, band_samples, movement.band_rows), TILE_OVERHEAD_CYCLES)
            options.append(Tiles(work.n_passes * (cycles + PASS_OVERHEAD_CYCLES), (shape,), band_samples))
        tiles = min(options, key=attrgetter("cycles"), default=None)
        return tiles and ((movement.dram_bytes, tiles.cycles), Candidate(work.allotment, movement, tiles))
