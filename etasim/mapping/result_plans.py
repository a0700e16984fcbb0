"""Mappings of FF and BP: results stay in the psums."""

from collections.abc import Iterator

from etasim.mapping.array import Array
from etasim.mapping.patterns import Pattern
from etasim.mapping.problem import REGIONS_PER_TILE, Band, Plan, Problem, Splits, TileShape
from etasim.mapping.tiling import (
    burst_span,
    ceil_div,
    flits,
    largest_bands,
    loaded_bytes,
    operand_bytes,
    pixel_shapes,
    slice_pixels,
    tiles_of_band,
)

PASS_OVERHEAD_CYCLES = 16
"""What a plan is charged for each pass beside its work; it orders plans, and no simulated or estimated time contains it."""


def _result_shape(array: Array, problem: Problem, pattern: Pattern, result_slices: int, samples: int, pixels: int) -> TileShape | None:
    """Chunking of a tile in FF or BP, or None if an operand slice does not fit its scratchpad."""
    if not pattern.taps:
        return TileShape(samples, pixels, 1, 1)
    rows = pattern.rows if samples else min(ceil_div(pixels, pattern.cols) + (pixels % pattern.cols != 0), pattern.rows)
    block = array.lanes * problem.stream_element_bytes
    stream = slice_pixels(array, pattern, max(samples, 1), rows) * block
    vector = array.pes * array.lanes * problem.stationary_element_bytes
    stationary = result_slices * len(pattern.taps) * vector
    if stream > array.stream_scratchpad_bytes or result_slices * vector > array.stationary_scratchpad_bytes:
        return None
    if stationary > array.stationary_scratchpad_bytes:
        return TileShape(samples, pixels, 1, array.stationary_scratchpad_bytes // (result_slices * vector))
    slices = min(problem.stream_blocks, array.stream_scratchpad_bytes // stream, array.stationary_scratchpad_bytes // stationary)
    return TileShape(samples, pixels, slices, len(pattern.taps))


def result_cycles(
    array: Array, problem: Problem, pattern: Pattern, plan: tuple[int, int], shape: TileShape, band: Band, overhead_cycles: int
) -> int:
    """Closed-form cycles of one round of result slices over a band: the slowest of compute, operands and drain, for each round of tiles.

    ``plan``: the split of the clusters and the result slices of each; ``overhead_cycles`` are added for each round of tiles.
    """
    split, result_slices = plan
    stream_copies, stationary_copies = (1, 1) if array.multicast else (split, array.clusters // split)
    tiles = tiles_of_band(pattern, shape, band)
    pixel_clusters = array.clusters // split
    total = 0
    for first in range(0, len(tiles), pixel_clusters):
        at_once = tiles[first : first + pixel_clusters]
        pixels = max(tile.n_pixels for tile in at_once)
        compute = problem.stream_blocks * result_slices * len(pattern.taps) * ceil_div(pixels, array.columns)
        stream = 0
        for tile in at_once:
            if pattern.taps:
                rows = pattern.operand_row_count(*tile.rows(pattern))
                stream += tile.n_samples * rows * pattern.in_width * array.lanes * problem.stream_element_bytes
        vector = array.pes * array.lanes * problem.stationary_element_bytes
        operands = max(
            stream_copies * problem.stream_blocks * flits(array, stream),
            stationary_copies * problem.stream_blocks * split * flits(array, result_slices * len(pattern.taps) * vector),
        )
        results = flits(array, len(at_once) * split * result_slices * array.pes * pixels * problem.result_element_bytes)
        total += max(compute, operands, results // min(array.error_ports, array.clusters)) + overhead_cycles
    return total


def _result_bands(array: Array, problem: Problem, result_blocks: int, wanted_samples: int) -> tuple[Band, ...] | None:
    """The largest bands up to ``wanted_samples`` samples whose operand fits half of the activation buffer and results a quarter of the
    error buffer."""
    pattern = problem.patterns[0]
    result_bytes = result_blocks * array.lanes * pattern.out_width * problem.result_element_bytes

    def fits(bands: tuple[Band, ...]) -> bool:
        largest = bands[0]
        rows = largest.end_row - largest.first_row
        operand = max(operand_bytes(problem, band, problem.stream_blocks, array.lanes, problem.stream_element_bytes) for band in bands)
        return operand <= array.activation_bytes and REGIONS_PER_TILE * result_bytes * largest.n_samples * rows <= 2 * array.error_bytes

    return largest_bands(problem, wanted_samples, fits)


def _best_shape(
    array: Array, problem: Problem, pattern: Pattern, split: int, result_slices: int, band: Band
) -> tuple[int, TileShape] | None:
    """Fastest tile shape of one pattern over one band."""
    best = None
    max_pixels = array.psum_depth // result_slices * array.columns
    for samples, pixels in pixel_shapes(pattern, problem.batch, max_pixels, array):
        shape = _result_shape(array, problem, pattern, result_slices, samples, pixels)
        if shape is not None:
            cycles = result_cycles(array, problem, pattern, (split, result_slices), shape, band, PASS_OVERHEAD_CYCLES)
            if best is None or cycles < best[0]:
                best = (cycles, shape)
    return best


def _samples_per_round(array: Array, problem: Problem, split: int, result_slices: int) -> int:
    """Samples that keep all pixel clusters busy in a round."""
    pattern = max(problem.patterns, key=lambda p: len(p.taps))
    plane, limit = pattern.rows * pattern.cols, array.psum_depth // result_slices * array.columns
    clusters = array.clusters // split
    return max(1, limit // plane) * clusters if plane <= limit else max(1, clusters // max(1, plane // limit))


def _weight_bytes(array: Array, problem: Problem, round_blocks: int) -> int:
    """DRAM bytes to load all weights once, a round of result blocks at a time. In FF a round takes whole planes of the weight
    tensor; in BP it takes a piece of every plane, and the pieces share the bursts at their ends."""
    block = array.lanes**2 * problem.stationary_element_bytes * problem.kernel_positions
    if problem.phase == "ff":
        return problem.result_blocks * burst_span(0, problem.stream_blocks * block, array.burst_bytes)
    starts = range(0, problem.result_blocks, round_blocks)
    ends = (min(b + round_blocks, problem.result_blocks) for b in starts)
    return problem.stream_blocks * sum(burst_span(b * block, e * block, array.burst_bytes) for b, e in zip(starts, ends, strict=True))


def _detour_bytes(array: Array, problem: Problem, bands: tuple[Band, ...]) -> int:
    """Where bands are not whole samples, results go to DRAM and back before the unified core can take them."""
    pattern = problem.patterns[0]
    if bands[0].end_row - bands[0].first_row == pattern.out_height:
        return 0
    row_bytes = pattern.out_width * array.lanes * problem.result_element_bytes
    stored = sum(burst_span(band.first_row * row_bytes, band.end_row * row_bytes, array.burst_bytes) for band in bands)
    return problem.result_blocks * (stored + problem.batch * burst_span(0, pattern.out_height * row_bytes, array.burst_bytes))


def result_plans(array: Array, problem: Problem, splits: Splits) -> Iterator[Plan]:
    """All mappings of an FF or BP operation that fit; it has no parts of samples."""
    slices = ceil_div(problem.result_blocks, array.pe_blocks)
    for split, _ in splits:
        for result_slices in range(1, min(array.psum_depth, ceil_div(slices, split)) + 1):
            if result_slices & (result_slices - 1) and result_slices != ceil_div(slices, split):
                continue
            round_blocks = min(split * result_slices * array.pe_blocks, problem.result_blocks)
            weight_bytes = array.lanes**2 * problem.stationary_element_bytes * problem.kernel_positions * problem.stream_blocks
            if round_blocks * weight_bytes > array.weight_bytes:
                continue
            bands = _result_bands(array, problem, round_blocks, _samples_per_round(array, problem, split, result_slices))
            if bands is None:
                continue
            best = [_best_shape(array, problem, pattern, split, result_slices, bands[0]) for pattern in problem.patterns]
            if None in best:
                continue
            rounds = ceil_div(slices, split * result_slices)
            cycles = rounds * len(bands) * sum(cycles for cycles, _ in best)
            held = sum(operand_bytes(problem, band, problem.stream_blocks, array.lanes, problem.stream_element_bytes) for band in bands)
            loaded = sum(loaded_bytes(problem, band, problem.stream_blocks, array) for band in bands)
            weights = problem.result_blocks * weight_bytes
            weights_loaded = _weight_bytes(array, problem, round_blocks)
            for outer in ("stationary", "stream"):
                stream_resident, stationary_resident = held <= array.activation_bytes, weights <= array.weight_bytes
                traffic = loaded * (1 if outer == "stream" or stream_resident else rounds)
                traffic += weights_loaded * (1 if outer == "stationary" or stationary_resident else len(bands))
                traffic += _detour_bytes(array, problem, bands)
                shapes = tuple(shape for _, shape in best)
                yield Plan(split, result_slices, 1, 0, shapes, bands, outer, stream_resident, stationary_resident, traffic, cycles)
