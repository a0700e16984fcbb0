"""Tiles and bands: which pixels a pass covers, which rows are loaded together, what they occupy."""

from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from math import gcd
from typing import NamedTuple

from etasim.schedule.array import ArraySizes
from etasim.schedule.patterns import Pattern, PixelTile
from etasim.schedule.problem import Band, ConvProblem, TileShape


def ceil_div(a: int, b: int) -> int:
    """Quotient rounded up."""
    return -(-a // b)


def divisors(n: int) -> list[int]:
    """Divisors of n in increasing order."""
    return [d for d in range(1, n + 1) if n % d == 0]


def residue_pitch(needed: int, residue: int, modulus: int) -> int:
    """Smallest number >= ``needed`` that is congruent to ``residue``."""
    return needed + (residue - needed) % modulus


def slice_pixels(array: ArraySizes, pattern: Pattern, n_samples: int, result_rows: int) -> int:
    """Scratchpad pixels that one channel block of a tile occupies, pitches included."""
    if not pattern.taps:
        return 0
    span = (result_rows - 1) * pattern.in_step_y + pattern.reach[1] - pattern.reach[0] + 1
    rows = ceil_div(min(span, pattern.in_height), pattern.row_step)
    if not array.deinterleave:
        return n_samples * rows * pattern.in_width
    width = pattern.in_step_x * residue_pitch(ceil_div(pattern.in_width, pattern.in_step_x), pattern.cols, array.columns)
    plane = rows * width
    return plane if n_samples == 1 else n_samples * residue_pitch(plane, pattern.rows * pattern.cols, array.columns)


def pattern_rows(pattern: Pattern, band: Band) -> tuple[int, int]:
    """Rows (first, end) of a pattern's grid that lie in a band; ``first`` = ``end`` if none do."""
    first = max(ceil_div(band.first_row - pattern.origin_y, pattern.out_step_y), 0)
    end = min(max(ceil_div(band.end_row - pattern.origin_y, pattern.out_step_y), 0), pattern.rows)
    return min(first, end), end


def tiles_of_band(pattern: Pattern, shape: TileShape, band: Band) -> list[PixelTile]:
    """The passes' pixel tiles that cover a band."""
    first, end = pattern_rows(pattern, band)
    first_pixel, end_pixel = first * pattern.cols, end * pattern.cols
    last_sample = band.first_sample + band.n_samples
    if shape.samples:
        return [
            PixelTile(n, min(shape.samples, last_sample - n), first_pixel, end_pixel)
            for n in range(band.first_sample, last_sample, shape.samples)
            if end_pixel > first_pixel
        ]
    return [
        PixelTile(n, 1, p, min(p + shape.pixels, end_pixel))
        for n in range(band.first_sample, last_sample)
        for p in range(first_pixel, end_pixel, shape.pixels)
    ]


class TileSize(NamedTuple):
    """Pixels and operand rows of a tile, over all its samples."""

    n_pixels: int
    operand_rows: int


@lru_cache(maxsize=4096)
def tile_sizes(pattern: Pattern, shape: TileShape, band: Band) -> tuple[tuple[TileSize, ...], int]:
    """Sizes of the tiles of a band in order, and how often the sequence repeats: tiles of one sample are the same in every sample."""
    n_repeats = 1 if shape.samples else band.n_samples
    tiles = tiles_of_band(pattern, shape, band if shape.samples else band._replace(n_samples=1))
    sizes = (TileSize(tile.n_pixels, tile.n_samples * pattern.operand_row_count(*tile.rows(pattern))) for tile in tiles)
    return tuple(sizes), n_repeats


def tile_rounds(pattern: Pattern, shape: TileShape, band: Band, n_at_once: int) -> Counter[tuple[TileSize, ...]]:
    """How often a band takes each round of ``n_at_once`` tiles."""
    sizes, n_repeats = tile_sizes(pattern, shape, band)
    period = n_at_once // gcd(len(sizes), n_at_once)
    n_periods, rest = divmod(n_repeats, period)
    rounds: Counter[tuple[TileSize, ...]] = Counter()
    for sequence, n in ((sizes * period, n_periods), (sizes * rest, 1)):
        if n:
            for first in range(0, len(sequence), n_at_once):
                rounds[sequence[first : first + n_at_once]] += n
    return rounds


def tile_rows(pattern: Pattern, samples: int, pixels: int) -> int:
    """Most result rows that a tile of ``samples`` whole samples, or ``pixels`` of one, touches."""
    return pattern.rows if samples else min(ceil_div(pixels, pattern.cols) + (pixels % pattern.cols != 0), pattern.rows)


def equal_shares(extent: int) -> list[int]:
    """The largest of 1, 2, 3 ... shares that are as equal as can be, the largest first. Whoever may take less takes one of the same."""
    return sorted({ceil_div(extent, n) for n in range(1, extent + 1)}, reverse=True)


def row_halves(rows: int) -> Iterator[int]:
    """``rows``, half of them, a quarter ... one."""
    yield rows
    while rows > 1:
        rows = ceil_div(rows, 2)
        yield rows


def pixel_shapes(pattern: Pattern, batch: int, max_pixels: int, array: ArraySizes) -> Iterator[tuple[int, int]]:
    """(samples, pixels) of tiles with at most ``max_pixels``: whole samples, then whole rows, in equal shares; then parts of a row."""
    plane = pattern.rows * pattern.cols
    yield from ((samples, plane) for samples in equal_shares(batch) if samples * plane <= max_pixels)
    if pattern.cols <= max_pixels:
        yield from ((0, height * pattern.cols) for height in equal_shares(pattern.rows)[1:] if height * pattern.cols <= max_pixels)
    else:
        yield 0, max_pixels // array.columns * array.columns


def bands_of(batch: int, height: int, samples: int, rows: int) -> tuple[Band, ...]:
    """Bands of ``samples`` samples and ``rows`` rows that cover ``batch`` maps of ``height`` rows."""
    return tuple(
        Band(n, min(samples, batch - n), y, min(y + rows, height)) for n in range(0, batch, samples) for y in range(0, height, rows)
    )


def count_bands(problem: ConvProblem, samples: int, rows: int) -> int:
    """Number of bands of the whole operation."""
    return ceil_div(problem.batch, samples) * ceil_div(problem.patterns[0].out_height, rows)


def band_operand_rows(problem: ConvProblem, band: Band) -> tuple[int, int]:
    """Operand rows (first, end) that the tiles of a band read, over all patterns."""
    spans = []
    for pattern in problem.patterns:
        first, end = pattern_rows(pattern, band)
        if pattern.taps and end > first:
            spans.append(pattern.operand_rows(first, end)[:2])
    if not spans:
        return 0, 0
    return min(s[0] for s in spans), max(s[1] for s in spans)


def burst_span(first_byte: int, end_byte: int, burst_bytes: int) -> int:
    """Bytes of the whole bursts that hold bytes ``first_byte ... end_byte - 1`` of a plane."""
    return ceil_div(end_byte, burst_bytes) * burst_bytes - first_byte // burst_bytes * burst_bytes if end_byte > first_byte else 0


class StreamBytes(NamedTuple):
    """Bytes of a channel block of one sample of the streamed operand: those of the largest band, those of all bands, and the whole
    bursts that load them."""

    largest: int
    held: int
    loaded: int


def stream_bytes(array: ArraySizes, problem: ConvProblem, rows: int) -> StreamBytes:
    """What bands of ``rows`` rows take of the streamed operand."""
    row_bytes = problem.patterns[0].in_width * array.lanes * problem.stream_element_bytes
    bands = bands_of(1, problem.patterns[0].out_height, 1, rows)
    spans = [(first * row_bytes, end * row_bytes) for first, end in (band_operand_rows(problem, band) for band in bands)]
    sizes = [end - first for first, end in spans]
    return StreamBytes(max(sizes), sum(sizes), sum(burst_span(*span, array.burst_bytes) for span in spans))


def plane_bytes(height: int, row_bytes: int, burst_bytes: int, rows: int) -> int:
    """DRAM bytes to move a plane of ``height`` rows, ``rows`` at a time: whole bursts of each piece."""
    return sum(burst_span(y * row_bytes, min(y + rows, height) * row_bytes, burst_bytes) for y in range(0, height, rows))
