"""Tiles and bands: which pixels a pass covers, which rows are loaded together, what they occupy."""

from functools import lru_cache
from typing import NamedTuple

from etasim.schedule.patterns import Pattern, PixelTile
from etasim.schedule.problem import Band, ConvProblem, TileShape


def ceil_div(a: int, b: int) -> int:
    """Quotient rounded up."""
    return -(-a // b)


def vector_bytes(n_vectors: int, vector_bits: int) -> int:
    """Bytes of so many vectors of lanes, one after the other."""
    return ceil_div(n_vectors * vector_bits, 8)


def divisors(n: int) -> list[int]:
    """Divisors of n in increasing order."""
    return [d for d in range(1, n + 1) if n % d == 0]


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
    stretch = pattern.cols if shape.by_row else max(end_pixel - first_pixel, 1)  # beyond which no tile reaches
    return [
        PixelTile(n, 1, p, min(p + shape.pixels, begin + stretch), bool(shape.by_row))
        for n in range(band.first_sample, last_sample)
        for begin in range(first_pixel, end_pixel, stretch)
        for p in range(begin, begin + stretch, shape.pixels)
    ]


class TileSize(NamedTuple):
    """Pixels and operand rows of a tile, over all its samples, and columns of these ``first_column ... end_column - 1``."""

    n_pixels: int
    operand_rows: int
    first_column: int
    end_column: int

    def operand_words(self, pattern: Pattern, pixel_bits: int, word_bytes: int) -> int:
        """Words of a channel block of the streamed operand, with ``pixel_bits`` a pixel, where rows begin with a word; whole rows are one
        run, parts of rows one each."""
        if (self.first_column, self.end_column) == (0, pattern.in_width):
            return ceil_div(self.operand_rows * vector_bytes(pattern.in_width, pixel_bits), word_bytes)
        first, end = self.first_column * pixel_bits // (8 * word_bytes), ceil_div(self.end_column * pixel_bits, 8 * word_bytes)
        return self.operand_rows * (end - first) if self.end_column > self.first_column else 0


@lru_cache(maxsize=4096)
def tile_sizes(pattern: Pattern, shape: TileShape, band: Band) -> tuple[tuple[TileSize, ...], int]:
    """Sizes of the tiles of a band in order, and how often the sequence repeats: tiles of one sample are the same in every sample."""
    n_repeats = 1 if shape.samples else band.n_samples
    tiles = tiles_of_band(pattern, shape, band if shape.samples else band._replace(n_samples=1))
    sizes = (
        TileSize(tile.n_pixels, tile.n_samples * pattern.operand_row_count(*tile.rows(pattern)), *pattern.operand_columns(tile))
        for tile in tiles
    )
    return tuple(sizes), n_repeats


def equal_shares(extent: int) -> list[int]:
    """The largest of 1, 2, 3 ... shares that are as equal as can be, the largest first. Whoever may take less takes one of the same."""
    return sorted({ceil_div(extent, n) for n in range(1, extent + 1)}, reverse=True)


@lru_cache(maxsize=4096)
def bands_of(batch: int, height: int, samples: int, rows: int) -> tuple[Band, ...]:
    """Bands of ``samples`` samples and ``rows`` rows that cover ``batch`` maps of ``height`` rows."""
    return tuple(
        Band(n, min(samples, batch - n), y, min(y + rows, height)) for n in range(0, batch, samples) for y in range(0, height, rows)
    )


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
