"""Tiles and bands: which pixels a pass covers, which rows are loaded together, what they occupy."""

from collections.abc import Callable, Iterator

from etasim.mapping.array import Array
from etasim.mapping.patterns import Pattern, PixelTile
from etasim.mapping.problem import Band, Problem, TileShape


def ceil_div(a: int, b: int) -> int:
    """Quotient rounded up."""
    return -(-a // b)


def divisors(n: int) -> list[int]:
    """Divisors of n in increasing order."""
    return [d for d in range(1, n + 1) if n % d == 0]


def residue_pitch(needed: int, residue: int, modulus: int) -> int:
    """Smallest number >= ``needed`` that is congruent to ``residue``."""
    return needed + (residue - needed) % modulus


def slice_pixels(array: Array, pattern: Pattern, n_samples: int, result_rows: int) -> int:
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


def tiles_of_band(pattern: Pattern, shape: TileShape, band: Band) -> list[PixelTile]:
    """The passes' pixel tiles that cover a band."""
    first = max(ceil_div(band.first_row - pattern.origin_y, pattern.out_step_y), 0)
    end = min(max(ceil_div(band.end_row - pattern.origin_y, pattern.out_step_y), 0), pattern.rows)
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


def pixel_shapes(pattern: Pattern, batch: int, max_pixels: int, array: Array) -> Iterator[tuple[int, int]]:
    """(samples, pixels) of tiles with at most ``max_pixels``: whole samples, then whole rows (largest, balanced, halved), then parts
    of a row."""
    plane = pattern.rows * pattern.cols
    if plane <= max_pixels:
        most = min(batch, max_pixels // plane)
        yield from (
            (samples, plane) for samples in sorted({most, ceil_div(batch, ceil_div(batch, most)), ceil_div(most, 2), 1}, reverse=True)
        )
    if pattern.cols <= max_pixels:
        most = min(pattern.rows, max_pixels // pattern.cols)
        heights = {most, ceil_div(pattern.rows, ceil_div(pattern.rows, most))}
        while most > 1:
            most = ceil_div(most, 2)
            heights.add(most)
        yield from ((0, height * pattern.cols) for height in sorted(heights, reverse=True))
    else:
        yield 0, max_pixels // array.columns * array.columns


def flits(array: Array, n_bytes: int) -> int:
    return ceil_div(n_bytes, array.word_bytes) * array.packet_flits


def bands_of(problem: Problem, samples: int, rows: int) -> tuple[Band, ...]:
    height = problem.patterns[0].out_height
    if samples:
        return tuple(Band(n, min(samples, problem.batch - n), 0, height) for n in range(0, problem.batch, samples))
    return tuple(Band(n, 1, y, min(y + rows, height)) for n in range(problem.batch) for y in range(0, height, rows))


def band_operand_rows(problem: Problem, band: Band) -> tuple[int, int]:
    """Operand rows (first, end) that the tiles of a band read, over all patterns."""
    spans = []
    for pattern in problem.patterns:
        first = max(ceil_div(band.first_row - pattern.origin_y, pattern.out_step_y), 0)
        end = min(max(ceil_div(band.end_row - pattern.origin_y, pattern.out_step_y), 0), pattern.rows)
        if pattern.taps and end > first:
            spans.append(pattern.operand_rows(first, end)[:2])
    if not spans:
        return 0, 0
    return min(s[0] for s in spans), max(s[1] for s in spans)


def operand_bytes(problem: Problem, band: Band, blocks: int, lanes: int, element_bytes: int) -> int:
    first, end = band_operand_rows(problem, band)
    return band.n_samples * blocks * (end - first) * problem.patterns[0].in_width * lanes * element_bytes


def burst_span(first_byte: int, end_byte: int, burst_bytes: int) -> int:
    """Bytes of the whole bursts that hold bytes ``first_byte ... end_byte - 1`` of a plane."""
    return ceil_div(end_byte, burst_bytes) * burst_bytes - first_byte // burst_bytes * burst_bytes if end_byte > first_byte else 0


def loaded_bytes(problem: Problem, band: Band, blocks: int, array: Array) -> int:
    """DRAM bytes to load the streamed operand of a band: whole bursts of each plane."""
    first, end = band_operand_rows(problem, band)
    row_bytes = problem.patterns[0].in_width * array.lanes * problem.stream_element_bytes
    return blocks * band.n_samples * burst_span(first * row_bytes, end * row_bytes, array.burst_bytes)


def largest_bands(problem: Problem, wanted_samples: int, fits: Callable[[tuple[Band, ...]], bool]) -> tuple[Band, ...] | None:
    """The largest bands that ``fits`` accepts: up to ``wanted_samples`` whole samples, else rows of one (halved until they fit)."""
    for samples in range(min(wanted_samples, problem.batch), 0, -1):
        bands = bands_of(problem, samples, 0)
        if fits(bands):
            return bands
    rows = problem.patterns[0].out_height
    while rows > 1:
        rows = ceil_div(rows, 2)
        bands = bands_of(problem, 0, rows)
        if fits(bands):
            return bands
    return None
