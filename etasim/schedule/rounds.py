"""Compiled arithmetic of tiles and bands: rounds of tiles that clusters take side by side, what bands of rows read.

``pattern`` is a record of `etasim.schedule.patterns.PATTERN`, ``patterns`` an array of them. `etasim.schedule.tiling` says the same of
single tiles; a property test holds both together.
"""

from typing import Any, NamedTuple

import numpy as np

from etasim.core.jit import kernel, routine
from etasim.schedule.problem import TileShape


@kernel
def ceil_quotient(a: int, b: int) -> int:
    """Quotient rounded up."""
    return -(-a // b)


@kernel
def bytes_of_vectors(n_vectors: int, vector_bits: int) -> int:
    """Bytes of so many vectors of lanes, one after the other."""
    return ceil_quotient(n_vectors * vector_bits, 8)


@kernel
def common_divisor(a: int, b: int) -> int:
    """The greatest. Most words are a power of two, whose share of a number needs no division."""
    if a > 0 and b > 0 and b & (b - 1) == 0:
        return min(a & -a, b)
    while b:
        a, b = b, a % b
    return a


@kernel
def words_of_run(n_bytes: int, unit_bytes: int, word_bytes: int) -> float:
    """Words that a run of bytes touches, on average over where in a word it may begin: at multiples of ``unit_bytes``."""
    step = common_divisor(unit_bytes, word_bytes)
    return (ceil_quotient(n_bytes, step) * step + word_bytes - step) / word_bytes if n_bytes else 0.0


@kernel
def grid_row(pattern: Any, row: int) -> int:
    """How many rows of a pattern's grid lie above row ``row`` of its maps."""
    return min(max(ceil_quotient(row - pattern.origin_y, pattern.out_step_y), 0), pattern.rows)


@kernel
def operand_rows(pattern: Any, first: int, end: int) -> tuple[int, int]:
    """Operand rows (first, end) that rows ``first ... end - 1`` of a pattern's grid read, clipped to the map."""
    low = first * pattern.in_step_y + pattern.reach_low
    high = (end - 1) * pattern.in_step_y + pattern.reach_high
    start = low if low >= 0 else low % pattern.row_step
    return start, max(min(high, pattern.in_height - 1) + 1, start)


@kernel
def operand_row_count(pattern: Any, first: int, end: int) -> int:
    """Operand rows that they read; none without taps."""
    if not pattern.n_taps:
        return 0
    start, stop = operand_rows(pattern, first, end)
    return ceil_quotient(stop - start, pattern.row_step)


@kernel
def is_read_whole(pattern: Any) -> bool:
    """Whether a stride leaves out no operand row between those of neighbouring result rows, but for all that none reads."""
    return bool(pattern.row_step > 1 or pattern.in_step_y <= pattern.reach_high - pattern.reach_low + 1)


class Round(NamedTuple):
    """Tiles that clusters take at once: how often, how many, pixels of the largest, words of a channel block of both operands of all."""

    count: int  # type: ignore[assignment]  # in the place of a tuple's own
    n_tiles: int
    pixels: int
    stream_words: float
    stationary_words: float


class DealtTiles(NamedTuple):
    """Tiles of a band, dealt ``n_at_once`` at a time: rows ``first ... end - 1`` of a pattern's grid in each of ``n_samples`` samples, in
    ``n_pieces`` tiles a sample, ``row_pieces`` a row (0: rows are not cut by themselves); the rounds repeat after ``period`` tiles. Bytes
    of a row of the streamed operand, and bits of a pixel of either."""

    n_samples: int
    first: int
    end: int
    n_pieces: int
    row_pieces: int
    n_at_once: int
    period: int
    row_bytes: int
    stream_pixel_bits: int
    pixel_bits: int
    word_bytes: int


@kernel
def dealt(
    array: Any, problem: Any, pattern: Any, shape: TileShape, n_samples: int, first_row: int, end_row: int, n_at_once: int
) -> DealtTiles:
    """The tiles of rows ``first_row ... end_row - 1`` of the maps of ``n_samples`` samples."""
    first, end = grid_row(pattern, first_row), grid_row(pattern, end_row)
    first = min(first, end)
    row_pieces = ceil_quotient(pattern.cols, shape.pixels) if shape.by_row else 0
    n_pieces = (end - first) * row_pieces if row_pieces else ceil_quotient((end - first) * pattern.cols, shape.pixels)
    n_pieces = 1 if shape.samples else n_pieces
    period = n_pieces // common_divisor(max(n_pieces, 1), n_at_once) * n_at_once
    return DealtTiles(
        n_samples, first, end, n_pieces, row_pieces, n_at_once, period, bytes_of_vectors(pattern.in_width, problem.stream_vector_bits),
        problem.stream_vector_bits, problem.stationary_vector_bits, array.word_bytes,
    )  # fmt: skip


@kernel
def count_rounds(shape: TileShape, tiles: DealtTiles) -> int:
    """Rounds that differ, or may."""
    if tiles.end <= tiles.first:
        return 0
    if shape.samples:
        return 2
    return tiles.period // tiles.n_at_once + ceil_quotient(tiles.n_pieces * tiles.n_samples % tiles.period, tiles.n_at_once)


@kernel
def _sample_round(pattern: Any, shape: TileShape, tiles: DealtTiles, number: int) -> Round:
    """Of tiles of whole samples: the full rounds, and the last."""
    whole, rest = tiles.n_samples // shape.samples, tiles.n_samples % shape.samples
    plane, n_rows = (tiles.end - tiles.first) * pattern.cols, operand_row_count(pattern, tiles.first, tiles.end)
    count, n_whole, n_rest = whole // tiles.n_at_once, tiles.n_at_once, 0
    if number:
        n_whole, n_rest = whole % tiles.n_at_once, 1 if rest else 0
        count = 1 if n_whole + n_rest else 0
    held, word_bytes, plane_bytes = n_rows * tiles.row_bytes, tiles.word_bytes, ceil_quotient(plane * tiles.pixel_bits, 8)
    streamed = n_whole * words_of_run(shape.samples * held, held, word_bytes) + n_rest * words_of_run(rest * held, held, word_bytes)
    stationary = n_whole * words_of_run(shape.samples * plane_bytes, plane_bytes, word_bytes)
    stationary += n_rest * words_of_run(rest * plane_bytes, plane_bytes, word_bytes)
    return Round(count, n_whole + n_rest, (shape.samples if n_whole else rest) * plane, streamed, stationary)


@kernel
def part_of_row_words(pattern: Any, shape: TileShape, tiles: DealtTiles, piece: int) -> tuple[int, int]:
    """Pixels of a part of a row, and words of a channel block of the operand rows that it reads: a run in each."""
    row, begin = tiles.first + piece // tiles.row_pieces, piece % tiles.row_pieces * shape.pixels
    stop, word_bits = min(begin + shape.pixels, pattern.cols), 8 * tiles.word_bytes
    low, high = begin * pattern.in_step_x + pattern.reach_left, (stop - 1) * pattern.in_step_x + pattern.reach_right
    left, right = max(low, 0), min(high + 1, pattern.in_width)
    n_words = 0
    if right > left:
        n_words = ceil_quotient(right * tiles.stream_pixel_bits, word_bits) - left * tiles.stream_pixel_bits // word_bits
    return stop - begin, operand_row_count(pattern, row, row + 1) * n_words


@routine
def tile_round(pattern: Any, shape: TileShape, tiles: DealtTiles, number: int) -> Round:
    """Round ``number``; what is left over after whole periods comes last."""
    if shape.samples:
        return _sample_round(pattern, shape, tiles, number)
    n_tiles, n_periodic = tiles.n_pieces * tiles.n_samples, tiles.period // tiles.n_at_once
    count, place, end = n_tiles // tiles.period, number * tiles.n_at_once, tiles.period
    if number >= n_periodic:
        count, place, end = 1, (number - n_periodic) * tiles.n_at_once, n_tiles % tiles.period
    last, most, streamed, stationary = min(place + tiles.n_at_once, end), 0, 0.0, 0.0
    own_bytes = ceil_quotient(shape.pixels * tiles.pixel_bits, 8)
    known_rows, known_pixels, rows_words, pixels_words = -1, -1, 0.0, 0.0  # most tiles are as the one before
    for tile in range(place, last):
        if tiles.row_pieces:
            n_pixels, n_words = part_of_row_words(pattern, shape, tiles, tile % tiles.n_pieces)
            most, streamed = max(most, n_pixels), streamed + n_words
            stationary += words_of_run(ceil_quotient(n_pixels * tiles.pixel_bits, 8), own_bytes, tiles.word_bytes)
            continue
        begin = tiles.first * pattern.cols + tile % tiles.n_pieces * shape.pixels
        stop = min(begin + shape.pixels, tiles.end * pattern.cols)
        n_rows = operand_row_count(pattern, begin // pattern.cols, ceil_quotient(stop, pattern.cols))
        most = max(most, stop - begin)
        if n_rows != known_rows or stop - begin != known_pixels:
            known_rows, known_pixels = n_rows, stop - begin
            rows_words = words_of_run(n_rows * tiles.row_bytes, tiles.row_bytes, tiles.word_bytes)
            pixels_words = words_of_run(ceil_quotient(known_pixels * tiles.pixel_bits, 8), own_bytes, tiles.word_bytes)
        streamed += rows_words
        stationary += pixels_words
    return Round(count, last - place, most, streamed, stationary)


@routine
def first_round(pattern: Any, shape: TileShape, tiles: DealtTiles) -> Round:
    """The first round that there is; of no tiles if there is none."""
    for number in range(count_rounds(shape, tiles)):
        each = tile_round(pattern, shape, tiles, number)
        if each.count:
            return each
    return Round(0, 0, 0, 0.0, 0.0)


@kernel
def burst_bytes_of(first_byte: int, end_byte: int, burst_bytes: int) -> int:
    """Bytes of the whole bursts that hold bytes ``first_byte ... end_byte - 1`` of a plane."""
    if end_byte <= first_byte:
        return 0
    return ceil_quotient(end_byte, burst_bytes) * burst_bytes - first_byte // burst_bytes * burst_bytes


@routine
def pieces_bytes(height: int, row_bytes: int, burst_bytes: int, rows: int) -> int:
    """DRAM bytes to move a plane of ``height`` rows, ``rows`` at a time: whole bursts of each piece."""
    total = 0
    for y in range(0, height, rows):
        total += burst_bytes_of(y * row_bytes, min(y + rows, height) * row_bytes, burst_bytes)
    return total


@kernel
def block_weight_bytes(array: Any, problem: Any, stream_blocks: int) -> int:
    """Weights between a block of results and so many of the streamed operand."""
    return bytes_of_vectors(array.lanes, problem.stationary_vector_bits) * problem.kernel_positions * stream_blocks


@kernel
def weight_bytes_of(array: Any, problem: Any, round_blocks: int, reduction_blocks: int) -> int:
    """DRAM bytes to load all weights once, a round of result blocks and ``reduction_blocks`` of the streamed operand at a time. In FF a
    round takes whole planes of the weight tensor, unless the reduction comes in parts; in BP it takes a piece of every plane. The pieces
    share the bursts at their ends."""
    block = bytes_of_vectors(array.lanes, problem.stationary_vector_bits) * problem.kernel_positions
    if problem.weights_by_result:
        return problem.result_blocks * pieces_bytes(problem.stream_blocks, block, array.burst_bytes, reduction_blocks)
    return problem.stream_blocks * pieces_bytes(problem.result_blocks, block, array.burst_bytes, round_blocks)


class StreamBytes(NamedTuple):
    """Bytes of a channel block of one sample of the streamed operand: those of the largest band, those of all bands, and the whole
    bursts that load them."""

    largest: int
    held: int
    loaded: int


@routine
def stream_bytes(array: Any, problem: Any, patterns: Any, rows: int) -> StreamBytes:
    """What bands of ``rows`` rows take of the streamed operand, over all patterns."""
    row_bytes = bytes_of_vectors(patterns[0].in_width, problem.stream_vector_bits)
    largest, held, loaded = 0, 0, 0
    for y in range(0, patterns[0].out_height, rows):
        low, high, is_read = 0, 0, False
        for i in range(len(patterns)):
            first, end = grid_row(patterns[i], y), grid_row(patterns[i], min(y + rows, patterns[0].out_height))
            if patterns[i].n_taps and end > first:
                start, stop = operand_rows(patterns[i], first, end)
                low, high = (min(low, start), max(high, stop)) if is_read else (start, stop)
                is_read = True
        largest, held = max(largest, (high - low) * row_bytes), held + (high - low) * row_bytes
        loaded += burst_bytes_of(low * row_bytes, high * row_bytes, array.burst_bytes)
    return StreamBytes(largest, held, loaded)


@kernel
def pitch(needed: int, residue: int, modulus: int) -> int:
    """Smallest number >= ``needed`` that is congruent to ``residue``."""
    return needed + (residue - needed) % modulus


@routine
def scratchpad_pixels(array: Any, pattern: Any, samples: int, pixels: int, by_row: int) -> int:
    """Scratchpad pixels that one channel block of a tile (`TileShape`) occupies, pitches included."""
    if not pattern.n_taps:
        return 0
    n_samples, cols, in_width = max(samples, 1), pattern.cols, pattern.in_width
    result_rows = 1 if by_row else touched_rows(pattern, samples, pixels)
    if by_row:
        cols, in_width = pixels, min((pixels - 1) * pattern.in_step_x + pattern.reach_right - pattern.reach_left + 1, in_width)
    span = (result_rows - 1) * pattern.in_step_y + pattern.reach_high - pattern.reach_low + 1
    rows = ceil_quotient(min(span, pattern.in_height), pattern.row_step)
    if not array.deinterleave:
        return n_samples * rows * in_width
    width = pattern.in_step_x * pitch(ceil_quotient(in_width, pattern.in_step_x), cols, array.pitch_pixels)
    plane = rows * width
    return plane if n_samples == 1 else n_samples * pitch(plane, pattern.rows * cols, array.pitch_pixels)


@kernel
def touched_rows(pattern: Any, samples: int, pixels: int) -> int:
    """Most result rows that a tile of ``samples`` whole samples, or ``pixels`` of one, touches."""
    if samples:
        return pattern.rows
    return min(ceil_quotient(pixels, pattern.cols) + (1 if pixels % pattern.cols else 0), pattern.rows)


@kernel
def next_share(extent: int, share: int) -> int:
    """The largest of the equal shares of ``extent`` that is smaller than ``share``; 0 after 1. Whoever may take less takes one of the
    same."""
    return 0 if share <= 1 else ceil_quotient(extent, ceil_quotient(extent, share - 1))


@routine
def next_shape(array: Any, pattern: Any, batch: int, max_pixels: int, samples: int, pixels: int) -> tuple[int, int]:
    """(samples, pixels) of the tile after one of ``samples`` whole samples, or ``pixels`` of one, among those with at most ``max_pixels``:
    whole samples in equal shares, then whole rows, then parts of a row. (batch + 1, 0) comes before the first, (0, 0) after the last."""
    plane = pattern.rows * pattern.cols
    if samples:
        samples = batch if samples > batch else next_share(batch, samples)
        while samples and samples * plane > max_pixels:
            samples = next_share(batch, samples)
        if samples:
            return samples, plane
        if pattern.cols > max_pixels:
            return 0, max_pixels // array.columns * array.columns
        pixels = plane
    if pattern.cols > max_pixels:
        return 0, 0
    rows = next_share(pattern.rows, pixels // pattern.cols)
    while rows and rows * pattern.cols > max_pixels:
        rows = next_share(pattern.rows, rows)
    return 0, rows * pattern.cols


@kernel
def next_part_of_row(array: Any, pattern: Any, max_pixels: int, pixels: int) -> int:
    """Pixels of the largest tile by row of fewer than ``pixels``, and at most ``max_pixels``: equal shares of a row's groups of columns; 0
    after the last. The row itself comes before the first."""
    all_groups = ceil_quotient(pattern.cols, array.pitch_pixels)
    groups = all_groups
    while groups and groups * array.columns >= min(pixels, max_pixels + 1):
        groups = next_share(all_groups, groups)
    return groups * array.columns


@kernel
def first_rows(pin: int, height: int) -> int:
    """Rows of the largest band: all of ``height``, or as many as are pinned; 0 if there are not so many."""
    if pin < 0:
        return height
    return pin if pin <= height else 0


@kernel
def next_rows(pin: int, rows: int) -> int:
    """Rows of the band after one of ``rows``: half of them; 0 after one row, or after the one that is pinned."""
    return ceil_quotient(rows, 2) if pin < 0 and rows > 1 else 0


MOST_SIZES = 24
"""Of bands of a map, whose rows are halved: it has at most 2^20."""
SIZE_FIELDS = 5
"""Rows of a band, the fields of `StreamBytes`, and bytes of a plane of what WG holds."""
MOST_ROUNDS = 512
"""On a list of rounds; the few tiles that have more are walked through again for every chunk that they may be cut into."""
LISTED = np.dtype([
    ("n_bands", "i8"), ("ends_band", "b1"), ("count", "i8"), ("n_tiles", "i8"), ("pixels", "i8"), ("stream_words", "f8"),
    ("stationary_words", "f8"),
])  # fmt: skip
"""How many bands are as that of the round, whether it is the last round of its band, and the fields of `Round`."""


class Workspace(NamedTuple):
    """Where a planner writes: ``sizes`` [sizes, `SIZE_FIELDS`] of bands, records ``rounds`` [rounds] of a tile (`LISTED`)."""

    sizes: np.ndarray
    rounds: np.ndarray


def new_workspace() -> Workspace:
    """That of a planner, with nothing in it."""
    return Workspace(np.empty((MOST_SIZES, SIZE_FIELDS), np.int64), np.empty(MOST_ROUNDS, LISTED))


@routine
def sizes_of_bands(array: Any, problem: Any, patterns: Any, pin: int, sizes: Any) -> int:
    """Fill ``sizes`` [sizes, fields] with all sizes of bands of rows and what they read, the largest first; how many there are."""
    n, height = 0, patterns[0].out_height
    rows, row_bytes = first_rows(pin, height), bytes_of_vectors(patterns[0].cols, problem.stationary_vector_bits)
    while rows:
        read = stream_bytes(array, problem, patterns, rows)
        sizes[n, 0], sizes[n, 1], sizes[n, 2], sizes[n, 3] = rows, read.largest, read.held, read.loaded
        sizes[n, 4] = pieces_bytes(height, row_bytes, array.burst_bytes, rows)
        n, rows = n + 1, next_rows(pin, rows)
    return n


@kernel
def may_cut_rows(pin: Any) -> bool:
    """Whether tiles by row are considered. ``pin``: fields of `TileShape`, those that are free negative."""
    return pin[4] != 0
