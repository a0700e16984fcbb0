"""What a tile of FF, BP or WG asks of the array, in closed form."""

from collections import Counter
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from etasim.mapping.result_stationary import tap_groups
from etasim.schedule.array import ArraySizes
from etasim.schedule.array_time import BandEnds, pass_cycles, results_cycles
from etasim.schedule.nest import BANDS, Span, band_at, nest_of
from etasim.schedule.plan import links_of
from etasim.schedule.problem import Allotment, Band, ConvProblem, Plan
from etasim.schedule.tiling import TileSize, ceil_div, tile_sizes, vector_bytes


def slices_of(n_blocks: int, own_blocks: int, slice_blocks: int) -> int:
    """Slices in all if ``n_blocks`` are dealt in pieces of ``own_blocks``, each rounded up to slices."""
    whole, rest = divmod(n_blocks, own_blocks)
    return whole * ceil_div(own_blocks, slice_blocks) + ceil_div(rest, slice_blocks)


class ArrayWork(NamedTuple):
    """A tile on the array: cycles of the most loaded cluster or port, multiplying cycles summed over the clusters, and its ends."""

    cycles: float
    busy_cycles: int
    ends: BandEnds


def result_work(array: ArraySizes, problem: ConvProblem, plan: Plan, kernel_width: int, n_blocks: int, band: Band) -> ArrayWork:
    """A tile of FF or BP: ``n_blocks`` result blocks over a band."""
    slices = min(plan.result_slices, ceil_div(n_blocks, array.pe_blocks))
    allotment = Allotment(plan.split, 1, slices, plan.slice_blocks, 1, 0)
    shapes, links = np.array(plan.shapes, np.int64), links_of(array, plan.split, 1)
    cycles = np.empty(1 + len(BandEnds._fields))
    results_cycles(
        array.numbers, links, problem.numbers, problem.pattern_records, shapes, allotment, band.n_samples, band.first_row, band.end_row,
        cycles,
    )  # fmt: skip
    busy, all_slices = 0, slices_of(n_blocks, plan.own_blocks, array.pe_blocks)
    for pattern, shape in zip(problem.patterns, plan.shapes, strict=True):
        sizes, n_repeats = tile_sizes(pattern, shape, band)
        groups = n_repeats * sum(ceil_div(size.n_pixels, array.columns) for size in sizes)
        busy += max(problem.stream_blocks * len(pattern.taps), 1) * all_slices * groups
    total, *ends = cycles.tolist()
    return ArrayWork(total, busy, BandEnds(*ends))


@lru_cache(maxsize=4096)
def gradient_tiles(array: ArraySizes, problem: ConvProblem, plan: Plan) -> tuple[tuple[TileSize, int], ...]:
    """Sizes of the passes of WG over the pixels of the batch, and how often each occurs."""
    tiles: Counter[TileSize] = Counter()
    for step, n in nest_of(array, problem, plan).kinds(*BANDS):
        sizes, n_repeats = tile_sizes(problem.patterns[0], plan.shapes[0], band_at(step))
        for size in sizes:
            tiles[size] += n * n_repeats
    return tuple(tiles.items())


@lru_cache(maxsize=16384)
def fed_runs(array: ArraySizes, problem: ConvProblem, plan: Plan, kernel_width: int, band: Band | None) -> tuple[tuple[Span, int], ...]:
    """What the feeds of a tile send of a channel block of the streamed operand, as bytes of a plane, and how often: over a band in FF and
    BP, over the batch in WG."""
    runs: Counter[Span] = Counter()
    for pattern, shape in zip(problem.patterns, plan.shapes, strict=True):
        if not pattern.taps:
            continue
        if band is None:
            sizes, n_feeds = gradient_tiles(array, problem, plan), 1
        else:
            of_band, n_repeats = tile_sizes(pattern, shape, band)
            sizes, n_feeds = tuple((size, n_repeats) for size in of_band), len(tap_groups(pattern.taps, shape.taps_per_chunk, kernel_width))
        for size, n in sizes:
            first, end = (vector_bytes(x, problem.stream_vector_bits) for x in (size.first_column, size.end_column))
            is_whole = size.end_column - size.first_column == pattern.in_width and pattern.row_step == 1
            span, n_runs = (Span(0, size.operand_rows * end), 1) if is_whole else (Span(first, end), size.operand_rows)
            runs[span] += n * n_feeds * n_runs
    return tuple(runs.items())


def gradient_work(array: ArraySizes, problem: ConvProblem, plan: Plan, n_results: int, n_streams: int, taps: int) -> ArrayWork:
    """A tile of WG: ``n_results`` output blocks, ``n_streams`` input blocks and ``taps`` kernel positions over the batch."""
    row_slices = min(plan.result_slices, ceil_div(n_results, array.pe_blocks))
    stream_slices = min(plan.stream_slices, ceil_div(n_streams, array.column_blocks))
    allotment = Allotment(plan.split, plan.sample_parts, row_slices, plan.slice_blocks, stream_slices, taps)
    links, first = links_of(array, plan.split, plan.sample_parts), plan.bands[0]
    own_r, own_s = plan.own_blocks, plan.stream_slices * array.column_blocks
    blocks, cycles = ceil_div(n_results, own_r) * ceil_div(n_streams, own_s), np.empty(1 + len(BandEnds._fields))
    pass_cycles(
        array.numbers, links, problem.numbers, problem.pattern_records, plan.shapes[0], allotment, first.n_samples, first.end_row,
        float(len(plan.bands)), blocks, cycles,
    )  # fmt: skip
    all_slices = slices_of(n_results, own_r, array.pe_blocks) * slices_of(n_streams, own_s, array.column_blocks)
    busy = all_slices * taps * sum(n * ceil_div(size.n_pixels, array.gradient_lanes) for size, n in gradient_tiles(array, problem, plan))
    total, *ends = cycles.tolist()
    return ArrayWork(total, busy, BandEnds(*ends))
