"""Mappings of FF and BP: results stay in the psums."""

from collections.abc import Iterator
from functools import cache, partial
from operator import attrgetter
from typing import NamedTuple

from etasim.schedule.array import PSUM, STATIONARY, STREAM, ArraySizes
from etasim.schedule.patterns import Pattern
from etasim.schedule.problem import REGIONS_PER_TILE, Allotment, Band, Candidate, ConvProblem, Movement, Splits, Tiles, TileShape
from etasim.schedule.search import least
from etasim.schedule.tiling import (
    burst_span,
    ceil_div,
    count_bands,
    flits,
    largest_bands,
    pattern_rows,
    pixel_shapes,
    plane_bytes,
    slice_pixels,
    stream_bytes,
    tile_rounds,
    tile_rows,
)

PASS_OVERHEAD_CYCLES = 16
"""What a plan is charged for each pass beside its work; it orders plans, and no simulated or estimated time contains it."""


class ResultRound(NamedTuple):
    """Tiles that the pixel clusters take at once: how often, how many, pixels of the largest, flits of a block of their operands."""

    count: int  # type: ignore[assignment]  # in the place of a tuple's own
    n_tiles: int
    pixels: int
    stream_flits: int


def result_rounds(
    array: ArraySizes, problem: ConvProblem, pattern: Pattern, shape: TileShape, band: Band, n_at_once: int
) -> list[ResultRound]:
    """The rounds of ``n_at_once`` tiles that cover a band, equal ones once."""
    row_bytes = pattern.in_width * array.lanes * problem.stream_element_bytes
    return [
        ResultRound(count, len(tiles), max(pixels for pixels, _ in tiles), flits(array, STREAM, sum(rows for _, rows in tiles) * row_bytes))
        for tiles, count in tile_rounds(pattern, shape, band, n_at_once).items()
    ]


class ResultRates(NamedTuple):
    """What a round of tiles asks of the array: compute cycles for each group of a column's pixels, streamed flits for each of a block of
    operands, stationary flits, and bytes of results for each pixel."""

    compute_cycles: int
    stream_flits: int
    stationary_flits: int
    result_bytes: int


def result_rates(array: ArraySizes, problem: ConvProblem, pattern: Pattern, allotment: Allotment) -> ResultRates:
    """Rates of a round of result slices."""
    split, slices = allotment.split, allotment.result_slices
    stream_copies, stationary_copies = (1, 1) if array.multicast else (split, array.clusters // split)
    weights = flits(array, STATIONARY, slices * len(pattern.taps) * array.pes * array.lanes * problem.stationary_element_bytes)
    return ResultRates(
        compute_cycles=problem.stream_blocks * slices * len(pattern.taps),
        stream_flits=stream_copies * problem.stream_blocks,
        stationary_flits=stationary_copies * problem.stream_blocks * split * weights,
        result_bytes=split * slices * array.pes * problem.result_element_bytes,
    )


def result_cycles(array: ArraySizes, rates: ResultRates, rounds: list[ResultRound], overhead_cycles: int) -> int:
    """Closed-form cycles of one round of result slices over a band: the slowest of compute, operands and drain, for each round of tiles,
    to which ``overhead_cycles`` are added."""
    ports = min(array.error_ports, array.clusters)
    total = 0
    for count, n_tiles, pixels, stream_flits in rounds:
        compute, stream = rates.compute_cycles * ceil_div(pixels, array.columns), rates.stream_flits * stream_flits
        results = flits(array, PSUM, n_tiles * pixels * rates.result_bytes) // ports
        total += count * (max(compute, stream, rates.stationary_flits, results) + overhead_cycles)
    return total


class BandWork(NamedTuple):
    """What one pattern asks for in a band, whatever its tiles: pixels, and the least flits of a block of their operands."""

    n_pixels: int
    stream_flits: int


def _band_work(array: ArraySizes, problem: ConvProblem, pattern: Pattern, band: Band) -> BandWork:
    rows = pattern_rows(pattern, band)
    operand_bytes = band.n_samples * pattern.least_row_count(*rows) * pattern.in_width * array.lanes * problem.stream_element_bytes
    return BandWork(band.n_samples * (rows[1] - rows[0]) * pattern.cols, flits(array, STREAM, operand_bytes))


def _least_cycles(array: ArraySizes, rates: ResultRates, work: BandWork, n_rounds: int, pixel_clusters: int) -> int:
    """A bound on `result_cycles` of ``n_rounds`` rounds: every cluster has its share of the pixels, every round its weights."""
    compute = rates.compute_cycles * ceil_div(work.n_pixels, array.columns * pixel_clusters)
    results = flits(array, PSUM, work.n_pixels * rates.result_bytes) // min(array.error_ports, array.clusters) - n_rounds
    operands = max(rates.stream_flits * work.stream_flits, n_rounds * rates.stationary_flits)
    return max(compute, results, operands) + n_rounds * PASS_OVERHEAD_CYCLES


def _result_shape(
    array: ArraySizes, problem: ConvProblem, pattern: Pattern, result_slices: int, samples: int, pixels: int
) -> TileShape | None:
    """Chunking of a tile in FF or BP, or None if an operand slice does not fit its scratchpad."""
    if not pattern.taps:
        return TileShape(samples, pixels, 1, 1)
    block = array.lanes * problem.stream_element_bytes
    stream = slice_pixels(array, pattern, max(samples, 1), tile_rows(pattern, samples, pixels)) * block
    vector = array.pes * array.lanes * problem.stationary_element_bytes
    stationary = result_slices * len(pattern.taps) * vector
    if stream > array.stream_scratchpad_bytes or result_slices * vector > array.stationary_scratchpad_bytes:
        return None
    if stationary > array.stationary_scratchpad_bytes:
        return TileShape(samples, pixels, 1, array.stationary_scratchpad_bytes // (result_slices * vector))
    slices = min(problem.stream_blocks, array.stream_scratchpad_bytes // stream, array.stationary_scratchpad_bytes // stationary)
    return TileShape(samples, pixels, slices, len(pattern.taps))


def _samples_per_round(array: ArraySizes, problem: ConvProblem, split: int, result_slices: int) -> int:
    """Samples that keep all pixel clusters busy in a round."""
    pattern = max(problem.patterns, key=lambda p: len(p.taps))
    plane, limit = pattern.rows * pattern.cols, array.psum_depth // result_slices * array.columns
    clusters = array.clusters // split
    return max(1, limit // plane) * clusters if plane <= limit else max(1, clusters // max(1, plane // limit))


def _weight_bytes(array: ArraySizes, problem: ConvProblem, round_blocks: int) -> int:
    """DRAM bytes to load all weights once, a round of result blocks at a time. In FF a round takes whole planes of the weight
    tensor; in BP it takes a piece of every plane, and the pieces share the bursts at their ends."""
    block = array.lanes**2 * problem.stationary_element_bytes * problem.kernel_positions
    if problem.phase == "ff":
        return problem.result_blocks * burst_span(0, problem.stream_blocks * block, array.burst_bytes)
    return problem.stream_blocks * plane_bytes(problem.result_blocks, block, array.burst_bytes, round_blocks)


def _detour_bytes(array: ArraySizes, problem: ConvProblem, band_rows: int) -> int:
    """Where bands are not whole samples, results go to DRAM and back before the unified core can take them."""
    pattern = problem.patterns[0]
    if band_rows == pattern.out_height:
        return 0
    row_bytes = pattern.out_width * array.lanes * problem.result_element_bytes
    moved = [plane_bytes(pattern.out_height, row_bytes, array.burst_bytes, rows) for rows in (band_rows, pattern.out_height)]
    return problem.result_blocks * problem.batch * sum(moved)


class ResultPlanner:
    """Mappings of an FF or BP operation; it has no parts of samples.

    ``stages`` of working one out (`etasim.schedule.search`), by (DRAM bytes, cycles): how data move, then the tiles.
    """

    def __init__(self, array: ArraySizes, problem: ConvProblem):
        self.array, self.problem = array, problem
        self.stages = self._move, self._time
        self._stream_bytes = cache(partial(stream_bytes, array, problem))
        self._work = cache(partial(_band_work, array, problem))
        self._shapes = cache(self._fitting_shapes)

    def allotments(self, splits: Splits) -> Iterator[Allotment]:
        """Allotments whose psums fit, of 1, 2, 4 ... result slices or all."""
        slices = ceil_div(self.problem.result_blocks, self.array.pe_blocks)
        for split, _ in splits:
            most = ceil_div(slices, split)
            for result_slices in range(1, min(self.array.psum_depth, most) + 1):
                if result_slices & (result_slices - 1) == 0 or result_slices == most:
                    yield Allotment(split, 1, result_slices, 1, 0)

    def _move(self, allotment: Allotment) -> tuple[tuple[int, int], Candidate] | None:
        """Traffic, and a bound on the cycles: psums that are always full. None if no band fits the buffers."""
        movement = self._movement(allotment.split, allotment.result_slices)
        if movement is None:
            return None
        array, band = self.array, Band(0, movement.band_samples, 0, movement.band_rows)
        clusters, cycles = array.clusters // allotment.split, 0
        for pattern in self.problem.patterns:
            work, rates = self._work(pattern, band), result_rates(array, self.problem, pattern, allotment)
            n_rounds = ceil_div(work.n_pixels, clusters * (array.psum_depth // allotment.result_slices * array.columns))
            cycles += _least_cycles(array, rates, work, n_rounds, clusters)
        cycles *= self._repeats(allotment, movement)
        return (movement.dram_bytes, cycles), Candidate(allotment, movement)

    def _movement(self, split: int, result_slices: int) -> Movement | None:
        """Bands and the best order of loops, or None if they do not fit."""
        array, problem = self.array, self.problem
        round_blocks = min(split * result_slices * array.pe_blocks, problem.result_blocks)
        weight_bytes = array.lanes**2 * problem.stationary_element_bytes * problem.kernel_positions * problem.stream_blocks
        wanted = _samples_per_round(array, problem, split, result_slices)
        bands = largest_bands(problem, wanted, partial(self._room, round_blocks))
        if round_blocks * weight_bytes > array.weight_bytes or bands is None:
            return None
        _, held, loaded = self._stream_bytes(bands[1])
        stream_resident = problem.stream_blocks * problem.batch * held <= array.activation_bytes
        stationary_resident = problem.result_blocks * weight_bytes <= array.weight_bytes
        weights_loaded, detour = _weight_bytes(array, problem, round_blocks), _detour_bytes(array, problem, bands[1])
        n_rounds, orders = ceil_div(problem.result_blocks, round_blocks), []
        for outer in ("stationary", "stream"):
            stream_loads = 1 if outer == "stream" or stream_resident else n_rounds
            weight_loads = 1 if outer == "stationary" or stationary_resident else count_bands(problem, *bands)
            traffic = problem.stream_blocks * problem.batch * loaded * stream_loads + weights_loaded * weight_loads + detour
            orders.append(Movement(*bands, outer, stream_resident, stationary_resident, traffic))
        return min(orders, key=attrgetter("dram_bytes"))

    def _room(self, round_blocks: int, rows: int) -> int:
        """Samples of ``rows`` rows whose operand fits half of the activation buffer and results a quarter of the error buffer."""
        array, problem = self.array, self.problem
        operand = problem.stream_blocks * self._stream_bytes(rows).largest
        results = round_blocks * rows * problem.patterns[0].out_width * array.lanes * problem.result_element_bytes
        return min(array.activation_bytes // max(operand, 1), 2 * array.error_bytes // (REGIONS_PER_TILE * results))

    def _fitting_shapes(self, pattern: Pattern, result_slices: int) -> list[TileShape]:
        """Tile shapes of one pattern whose psums and operands fit a cluster."""
        max_pixels = self.array.psum_depth // result_slices * self.array.columns
        shapes = (
            _result_shape(self.array, self.problem, pattern, result_slices, samples, pixels)
            for samples, pixels in pixel_shapes(pattern, self.problem.batch, max_pixels, self.array)
        )
        return [shape for shape in shapes if shape]

    def _time(self, candidate: Candidate) -> tuple[tuple[int, int], Candidate] | None:
        """Traffic and the cycles of the fastest tiles; None if no tile fits the scratchpads."""
        allotment, movement = candidate.allotment, candidate.movement
        band = Band(0, movement.band_samples, 0, movement.band_rows)
        found = [self._fastest_shape(pattern, allotment, band) for pattern in self.problem.patterns]
        best = [fastest for fastest in found if fastest is not None]
        if len(best) < len(found):
            return None
        cycles = self._repeats(allotment, movement) * sum(cycles for cycles, _ in best)
        tiles = Tiles(cycles, tuple(shape for _, shape in best), movement.band_samples)
        return (movement.dram_bytes, cycles), candidate._replace(tiles=tiles)

    def _repeats(self, allotment: Allotment, movement: Movement) -> int:
        """Rounds of result slices over all bands."""
        rounds = ceil_div(self.problem.result_blocks, allotment.split * allotment.result_slices * self.array.pe_blocks)
        return rounds * count_bands(self.problem, movement.band_samples, movement.band_rows)

    def _fastest_shape(self, pattern: Pattern, allotment: Allotment, band: Band) -> tuple[int, TileShape] | None:
        """Cycles and shape of the fastest tiles of one pattern over one band."""
        array, clusters = self.array, self.array.clusters // allotment.split
        rates, work = result_rates(array, self.problem, pattern, allotment), self._work(pattern, band)

        def bound(shape: TileShape) -> tuple[int, TileShape]:
            tile_samples = max(shape.samples, 1)
            n_tiles = ceil_div(band.n_samples, tile_samples) * ceil_div(work.n_pixels // band.n_samples, shape.pixels)
            return _least_cycles(array, rates, work, ceil_div(n_tiles, clusters), clusters), shape

        def timed(shape: TileShape) -> tuple[int, TileShape]:
            rounds = result_rounds(array, self.problem, pattern, shape, band, clusters)
            return result_cycles(array, rates, rounds, PASS_OVERHEAD_CYCLES), shape

        return least(self._shapes(pattern, allotment.result_slices), bound, timed)
