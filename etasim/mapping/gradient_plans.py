"""Mappings of WG: weight gradients stay in the psums."""

from collections.abc import Iterator
from typing import NamedTuple

from etasim.mapping.array import Array
from etasim.mapping.problem import Band, Plan, Problem, Splits, TileShape
from etasim.mapping.result_plans import PASS_OVERHEAD_CYCLES
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


def _gradient_shape(array: Array, problem: Problem, slices: tuple[int, int], samples: int, pixels: int) -> TileShape | None:
    """Tile of a WG chunk, or None if an operand does not fit its scratchpad."""
    pattern = problem.patterns[0]
    result_slices, stream_slices = slices
    rows = pattern.rows if samples else min(ceil_div(pixels, pattern.cols) + (pixels % pattern.cols != 0), pattern.rows)
    stream_blocks = min(stream_slices * array.column_blocks, problem.stream_blocks)
    stream = slice_pixels(array, pattern, max(samples, 1), rows) * stream_blocks * array.lanes * problem.stream_element_bytes
    groups = ceil_div(max(samples, 1) * pixels, array.lanes)
    stationary = result_slices * groups * array.pes * array.lanes * problem.stationary_element_bytes
    if stream > array.stream_scratchpad_bytes or stationary > array.stationary_scratchpad_bytes:
        return None
    return TileShape(samples, pixels, 1, 0)


TILE_OVERHEAD_CYCLES = 2
"""What a plan is charged for each tile beside its work; it orders plans only."""


class Candidate(NamedTuple):
    """Split of the clusters, and what the psums of each hold."""

    split: int
    sample_parts: int
    result_slices: int
    stream_slices: int
    taps: int


def gradient_cycles(
    array: Array, problem: Problem, candidate: Candidate, shape: TileShape, bands: tuple[Band, ...], tile_overhead_cycles: int,
    pass_overhead_cycles: int,
) -> int:  # fmt: skip
    """Closed-form cycles of one pass of WG over all pixels; the tiles that the parts of the clusters take side by side last as long as
    the longest, and share the network. A drain hides behind the next pass, unless its sums are added in the network: then others wait."""
    split, parts, result_slices, stream_slices, taps = candidate
    pattern = problem.patterns[0]
    stream_blocks = min(stream_slices * array.column_blocks, problem.stream_blocks)
    result_blocks = min(result_slices * array.pe_blocks, problem.result_blocks)
    column_clusters = min(array.clusters // (split * parts), ceil_div(problem.stream_blocks, stream_blocks))
    row_clusters = min(split, ceil_div(problem.result_blocks, result_blocks))
    stream_copies, stationary_copies = (1, 1) if array.multicast else (row_clusters, column_clusters)
    total = 0
    tiles = tiles_of_band(pattern, shape, bands[0])
    for at_once in (tiles[i : i + parts] for i in range(0, len(tiles), parts)):
        compute = result_slices * max(ceil_div(tile.n_pixels, array.lanes) for tile in at_once) * stream_slices * taps
        stream = stationary = 0
        for tile in at_once:
            rows = pattern.operand_row_count(*tile.rows(pattern)) * tile.n_samples
            row_flits = flits(array, rows * pattern.in_width * array.lanes * problem.stream_element_bytes)
            stream += stream_copies * column_clusters * stream_blocks * row_flits
            pixel_flits = flits(array, tile.n_pixels * array.lanes * problem.stationary_element_bytes)
            stationary += stationary_copies * row_clusters * result_blocks * pixel_flits
        total += max(compute, stream, stationary) + tile_overhead_cycles
    drain = drain_cycles(array, problem, candidate, column_clusters * row_clusters)
    return (total * len(bands) + drain if parts > 1 else max(total * len(bands), drain)) + pass_overhead_cycles


def drain_cycles(array: Array, problem: Problem, candidate: Candidate, blocks: int) -> int:
    """Closed-form cycles to drain the results of ``blocks`` clusters that hold different blocks; sums that the network adds go one group
    after the other."""
    results = candidate.result_slices * candidate.stream_slices * candidate.taps * array.pes * array.columns
    if candidate.sample_parts == 1:
        return blocks * flits(array, results * problem.result_element_bytes) // min(array.error_ports, array.clusters)
    packets = ceil_div(results // array.lanes, array.segments_per_packet(array.sum_bytes))
    return blocks * (packets * array.packet_flits + PASS_OVERHEAD_CYCLES)


def _gradient_bands(array: Array, problem: Problem, stream_blocks: int, result_blocks: int, wanted_samples: int) -> tuple[Band, ...] | None:
    """The largest bands whose pieces of both operands fit half of their buffers."""
    pattern = problem.patterns[0]

    def fits(bands: tuple[Band, ...]) -> bool:
        stream = max(operand_bytes(problem, band, stream_blocks, array.lanes, problem.stream_element_bytes) for band in bands)
        pixels = bands[0].n_samples * (bands[0].end_row - bands[0].first_row) * pattern.out_width
        stationary = result_blocks * pixels * array.lanes * problem.stationary_element_bytes
        return stream <= array.activation_bytes and stationary <= array.weight_bytes

    return largest_bands(problem, wanted_samples, fits)


def _gradient_candidates(array: Array, problem: Problem, splits: Splits) -> Iterator[Candidate]:
    """Candidates whose psums fit."""
    n_taps = len(problem.patterns[0].taps)
    result_total = ceil_div(problem.result_blocks, array.pe_blocks)
    stream_total = ceil_div(problem.stream_blocks, array.column_blocks)
    taps = min(n_taps, array.psum_depth)
    for split, parts in splits:
        limit = array.psum_depth // taps
        for result_slices in range(1, min(limit, ceil_div(result_total, split)) + 1):
            most = min(limit // result_slices, ceil_div(stream_total, array.clusters // (split * parts)))
            for stream_slices in sorted({most, ceil_div(most, 2), 1}, reverse=True):
                yield Candidate(split, parts, result_slices, stream_slices, ceil_div(n_taps, ceil_div(n_taps, taps)))


def _gradient_bytes(array: Array, problem: Problem, stream_blocks: int, taps: int) -> int:
    """DRAM bytes to store all weight gradients: whole bursts of each piece of a plane of the gradient tensor."""
    n_taps = problem.kernel_positions
    tap_bytes = array.lanes**2 * problem.result_element_bytes
    block = n_taps * tap_bytes
    if taps == n_taps:
        pieces = [
            (s * block, min(s + stream_blocks, problem.stream_blocks) * block) for s in range(0, problem.stream_blocks, stream_blocks)
        ]
    else:
        groups = [(t * tap_bytes, min(t + taps, n_taps) * tap_bytes) for t in range(0, n_taps, taps)]
        pieces = [(s * block + first, s * block + end) for s in range(problem.stream_blocks) for first, end in groups]
    return problem.result_blocks * sum(burst_span(first, end, array.burst_bytes) for first, end in pieces)


def gradient_plans(array: Array, problem: Problem, splits: Splits) -> Iterator[Plan]:
    """All mappings of a WG operation that fit."""
    pattern = problem.patterns[0]
    for candidate in _gradient_candidates(array, problem, splits):
        split, parts, result_slices, stream_slices, taps = candidate
        stream_blocks = min(array.clusters // (split * parts) * stream_slices * array.column_blocks, problem.stream_blocks)
        result_blocks = min(split * result_slices * array.pe_blocks, problem.result_blocks)
        stream_rounds, result_rounds = ceil_div(problem.stream_blocks, stream_blocks), ceil_div(problem.result_blocks, result_blocks)
        tap_rounds = ceil_div(len(pattern.taps), taps)
        result_bytes = stream_blocks * result_blocks * taps * array.lanes**2 * problem.result_element_bytes
        if result_bytes > array.error_bytes:
            continue
        best = None
        for samples, pixels in pixel_shapes(pattern, problem.batch, 1 << 30, array):
            shape = _gradient_shape(array, problem, (result_slices, stream_slices), samples, pixels)
            bands = shape and _gradient_bands(array, problem, stream_blocks, result_blocks, max(samples, 1) * parts)
            if shape and bands:
                cycles = gradient_cycles(array, problem, candidate, shape, bands, TILE_OVERHEAD_CYCLES, PASS_OVERHEAD_CYCLES)
                if best is None or cycles < best[0]:
                    best = (cycles, shape, bands)
        if best is None:
            continue
        cycles, shape, bands = best
        stream = sum(operand_bytes(problem, band, 1, array.lanes, problem.stream_element_bytes) for band in bands)
        stationary = problem.batch * pattern.rows * pattern.cols * array.lanes * problem.stationary_element_bytes
        stored = _gradient_bytes(array, problem, stream_blocks, taps)
        stream_loaded = sum(loaded_bytes(problem, band, 1, array) for band in bands)
        row_bytes = pattern.cols * array.lanes * problem.stationary_element_bytes
        spans = [(band.first_row * row_bytes, band.end_row * row_bytes, band.n_samples) for band in bands]
        stationary_loaded = sum(n * burst_span(first, end, array.burst_bytes) for first, end, n in spans)
        for outer in ("stationary", "stream"):
            stream_total, stationary_total = stream_loaded * problem.stream_blocks, stationary_loaded * problem.result_blocks
            stream_held = stream * (stream_blocks if outer == "stream" else problem.stream_blocks) <= array.activation_bytes
            stationary_held = stationary * (result_blocks if outer == "stationary" else problem.result_blocks) <= array.weight_bytes
            traffic = stream_total * (1 if stream_held else result_rounds * tap_rounds)
            traffic += stationary_total * (1 if stationary_held else stream_rounds * tap_rounds)
            traffic += stored
            total = cycles * stream_rounds * result_rounds * tap_rounds
            held = stream_held, stationary_held
            yield Plan(split, result_slices, stream_slices, taps, (shape,), bands, outer, *held, traffic, total, parts)
