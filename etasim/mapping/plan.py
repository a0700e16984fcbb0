"""How a convolution is laid onto the array: split over clusters, psum residency, tiles, chunks, order, residency in the buffers.

Every choice that fits is enumerated and the one with the least DRAM traffic wins, then the one with the fewest cycles by the
closed forms of this file. A larger buffer only adds choices, so it never adds traffic.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from etasim.mapping.array import Array, InfeasibleError
from etasim.mapping.patterns import Pattern, PixelTile

PASS_OVERHEAD_CYCLES = 16


@dataclass(frozen=True)
class Problem:
    """One convolution in one phase and one channel group, in channel blocks.

    ``stream_blocks`` are the channel blocks of the streamed operand, ``result_blocks`` those that the PEs produce (FF, BP) or hold
    (WG: of dO).
    """

    name: str
    phase: str
    patterns: tuple[Pattern, ...]
    kernel_positions: int
    stream_blocks: int
    result_blocks: int
    batch: int
    stream_element_bytes: int
    stationary_element_bytes: int
    result_element_bytes: int


@dataclass(frozen=True)
class Band:
    """Samples and rows of the result grid that are loaded and drained together; whole samples unless one is too large."""

    first_sample: int
    n_samples: int
    first_row: int
    end_row: int


@dataclass(frozen=True)
class TileShape:
    """A pass on one cluster: ``samples`` whole samples, or ``pixels`` of one sample (``samples`` = 0)."""

    samples: int
    pixels: int
    slices_per_chunk: int
    taps_per_chunk: int


@dataclass(frozen=True)
class Plan:
    """The chosen mapping. ``split`` clusters share the streamed operand, ``clusters / split`` the stationary one.

    ``result_slices`` PE slices of results are resident in a cluster's psums (WG: with ``stream_slices`` column slices and ``taps``
    positions).
    ``outer``: operand whose tiles change in the outer loop; ``stream_resident`` / ``stationary_resident``: loaded once for the whole
    operation.
    """

    split: int
    result_slices: int
    stream_slices: int
    taps: int
    shapes: tuple[TileShape, ...]
    bands: tuple[Band, ...]
    outer: str
    stream_resident: bool
    stationary_resident: bool
    dram_bytes: int
    cycles: int


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


def _pixel_shapes(pattern: Pattern, batch: int, max_pixels: int, array: Array) -> Iterator[tuple[int, int]]:
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


def _flits(array: Array, n_bytes: int) -> int:
    return ceil_div(n_bytes, array.word_bytes) * array.packet_flits


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


def _result_cycles(array: Array, problem: Problem, pattern: Pattern, plan: tuple[int, int], shape: TileShape, band: Band) -> int:
    """Closed-form cycles of one round of result slices over a band: the slowest of compute, operands and drain, for each round of tiles."""
    split, result_slices = plan
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
            problem.stream_blocks * _flits(array, stream),
            problem.stream_blocks * split * _flits(array, result_slices * len(pattern.taps) * vector),
        )
        results = _flits(array, len(at_once) * split * result_slices * array.pes * pixels * problem.result_element_bytes)
        total += max(compute, operands, results // min(array.error_ports, array.clusters)) + PASS_OVERHEAD_CYCLES
    return total


def _bands(problem: Problem, samples: int, rows: int) -> tuple[Band, ...]:
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


def _operand_bytes(problem: Problem, band: Band, blocks: int, lanes: int, element_bytes: int) -> int:
    first, end = band_operand_rows(problem, band)
    return band.n_samples * blocks * (end - first) * problem.patterns[0].in_width * lanes * element_bytes


def _result_bands(array: Array, problem: Problem, result_blocks: int, wanted_samples: int) -> tuple[Band, ...] | None:
    """The largest bands up to ``wanted_samples`` samples whose operand fits half of the activation buffer and results a quarter of the
    error buffer."""
    pattern = problem.patterns[0]
    result_bytes = result_blocks * array.lanes * pattern.out_width * problem.result_element_bytes

    def fits(bands: tuple[Band, ...]) -> bool:
        largest = bands[0]
        rows = largest.end_row - largest.first_row
        operand = max(_operand_bytes(problem, band, problem.stream_blocks, array.lanes, problem.stream_element_bytes) for band in bands)
        return operand <= array.activation_bytes and 2 * result_bytes * largest.n_samples * rows <= array.error_bytes

    for samples in range(min(wanted_samples, problem.batch), 0, -1):
        bands = _bands(problem, samples, 0)
        if fits(bands):
            return bands
    rows = pattern.out_height
    while rows > 1:
        rows = ceil_div(rows, 2)
        bands = _bands(problem, 0, rows)
        if fits(bands):
            return bands
    return None


def _best_shape(
    array: Array, problem: Problem, pattern: Pattern, split: int, result_slices: int, band: Band
) -> tuple[int, TileShape] | None:
    """Fastest tile shape of one pattern over one band."""
    best = None
    max_pixels = array.psum_depth // result_slices * array.columns
    for samples, pixels in _pixel_shapes(pattern, problem.batch, max_pixels, array):
        shape = _result_shape(array, problem, pattern, result_slices, samples, pixels)
        if shape is not None:
            cycles = _result_cycles(array, problem, pattern, (split, result_slices), shape, band)
            if best is None or cycles < best[0]:
                best = (cycles, shape)
    return best


def _samples_per_round(array: Array, problem: Problem, split: int, result_slices: int) -> int:
    """Samples that keep all pixel clusters busy in a round."""
    pattern = max(problem.patterns, key=lambda p: len(p.taps))
    plane, limit = pattern.rows * pattern.cols, array.psum_depth // result_slices * array.columns
    clusters = array.clusters // split
    return max(1, limit // plane) * clusters if plane <= limit else max(1, clusters // max(1, plane // limit))


def _result_plans(array: Array, problem: Problem, fixed: tuple[int, ...]) -> Iterator[Plan]:
    """All mappings of an FF or BP operation that fit."""
    slices = ceil_div(problem.result_blocks, array.pe_blocks)
    for split in fixed or divisors(array.clusters):
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
            operand = sum(_operand_bytes(problem, band, problem.stream_blocks, array.lanes, problem.stream_element_bytes) for band in bands)
            weights = problem.result_blocks * weight_bytes
            for outer in ("stationary", "stream"):
                stream_resident, stationary_resident = operand <= array.activation_bytes, weights <= array.weight_bytes
                traffic = operand * (1 if outer == "stream" or stream_resident else rounds)
                traffic += weights * (1 if outer == "stationary" or stationary_resident else len(bands))
                shapes = tuple(shape for _, shape in best)
                yield Plan(split, result_slices, 1, 0, shapes, bands, outer, stream_resident, stationary_resident, traffic, cycles)


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


def _gradient_cycles(array: Array, problem: Problem, plan: tuple[int, int, int, int], shape: TileShape, bands: tuple[Band, ...]) -> int:
    """Closed-form cycles of one pass of WG over all pixels."""
    split, result_slices, stream_slices, taps = plan
    pattern = problem.patterns[0]
    stream_blocks = min(stream_slices * array.column_blocks, problem.stream_blocks)
    result_blocks = min(result_slices * array.pe_blocks, problem.result_blocks)
    column_clusters = min(array.clusters // split, ceil_div(problem.stream_blocks, stream_blocks))
    row_clusters = min(split, ceil_div(problem.result_blocks, result_blocks))
    total = 0
    for tile in tiles_of_band(pattern, shape, bands[0]):
        compute = result_slices * ceil_div(tile.n_pixels, array.lanes) * stream_slices * taps
        rows = pattern.operand_row_count(*tile.rows(pattern)) * tile.n_samples
        stream = column_clusters * stream_blocks * _flits(array, rows * pattern.in_width * array.lanes * problem.stream_element_bytes)
        stationary = row_clusters * result_blocks * _flits(array, tile.n_pixels * array.lanes * problem.stationary_element_bytes)
        total += max(compute, stream, stationary) + 2
    results = result_slices * stream_slices * taps * array.pes * array.columns * problem.result_element_bytes
    drain = column_clusters * row_clusters * _flits(array, results) // min(array.error_ports, array.clusters)
    return max(total * len(bands), drain) + PASS_OVERHEAD_CYCLES


def _gradient_bands(array: Array, problem: Problem, stream_blocks: int, result_blocks: int, wanted_samples: int) -> tuple[Band, ...] | None:
    """The largest bands whose pieces of both operands fit half of their buffers."""
    pattern = problem.patterns[0]

    def fits(bands: tuple[Band, ...]) -> bool:
        stream = max(_operand_bytes(problem, band, stream_blocks, array.lanes, problem.stream_element_bytes) for band in bands)
        pixels = bands[0].n_samples * (bands[0].end_row - bands[0].first_row) * pattern.out_width
        stationary = result_blocks * pixels * array.lanes * problem.stationary_element_bytes
        return stream <= array.activation_bytes and stationary <= array.weight_bytes

    for samples in range(min(wanted_samples, problem.batch), 0, -1):
        bands = _bands(problem, samples, 0)
        if fits(bands):
            return bands
    rows = pattern.out_height
    while rows > 1:
        rows = ceil_div(rows, 2)
        bands = _bands(problem, 0, rows)
        if fits(bands):
            return bands
    return None


def _gradient_candidates(array: Array, problem: Problem, fixed: tuple[int, ...]) -> Iterator[tuple[int, int, int, int]]:
    """(split, result slices, stream slices, taps) whose psums fit."""
    n_taps = len(problem.patterns[0].taps)
    result_total = ceil_div(problem.result_blocks, array.pe_blocks)
    stream_total = ceil_div(problem.stream_blocks, array.column_blocks)
    taps = min(n_taps, array.psum_depth)
    for split in fixed or divisors(array.clusters):
        limit = array.psum_depth // taps
        for result_slices in range(1, min(limit, ceil_div(result_total, split)) + 1):
            most = min(limit // result_slices, ceil_div(stream_total, array.clusters // split))
            for stream_slices in sorted({most, ceil_div(most, 2), 1}, reverse=True):
                yield split, result_slices, stream_slices, ceil_div(n_taps, ceil_div(n_taps, taps))


def _gradient_plans(array: Array, problem: Problem, fixed: tuple[int, ...]) -> Iterator[Plan]:
    """All mappings of a WG operation that fit."""
    pattern = problem.patterns[0]
    for split, result_slices, stream_slices, taps in _gradient_candidates(array, problem, fixed):
        stream_blocks = min(array.clusters // split * stream_slices * array.column_blocks, problem.stream_blocks)
        result_blocks = min(split * result_slices * array.pe_blocks, problem.result_blocks)
        stream_rounds, result_rounds = ceil_div(problem.stream_blocks, stream_blocks), ceil_div(problem.result_blocks, result_blocks)
        tap_rounds = ceil_div(len(pattern.taps), taps)
        best = None
        for samples, pixels in _pixel_shapes(pattern, problem.batch, 1 << 30, array):
            shape = _gradient_shape(array, problem, (result_slices, stream_slices), samples, pixels)
            bands = shape and _gradient_bands(array, problem, stream_blocks, result_blocks, max(samples, 1))
            if shape and bands:
                cycles = _gradient_cycles(array, problem, (split, result_slices, stream_slices, taps), shape, bands)
                if best is None or cycles < best[0]:
                    best = (cycles, shape, bands)
        if best is None:
            continue
        cycles, shape, bands = best
        stream = sum(_operand_bytes(problem, band, 1, array.lanes, problem.stream_element_bytes) for band in bands)
        stationary = problem.batch * pattern.rows * pattern.cols * array.lanes * problem.stationary_element_bytes
        for outer in ("stationary", "stream"):
            stream_total, stationary_total = stream * problem.stream_blocks, stationary * problem.result_blocks
            stream_held = stream * (stream_blocks if outer == "stream" else problem.stream_blocks) <= array.activation_bytes
            stationary_held = stationary * (result_blocks if outer == "stationary" else problem.result_blocks) <= array.weight_bytes
            traffic = stream_total * (1 if stream_held else result_rounds * tap_rounds)
            traffic += stationary_total * (1 if stationary_held else stream_rounds * tap_rounds)
            total = cycles * stream_rounds * result_rounds * tap_rounds
            yield Plan(split, result_slices, stream_slices, taps, (shape,), bands, outer, stream_held, stationary_held, traffic, total)


def _refuse_overflow(array: Array, problem: Problem) -> None:
    """A sum of the operation's products must fit the accumulator, whatever the values are."""
    pattern = problem.patterns[0]
    terms = (
        problem.batch * pattern.rows * pattern.cols
        if problem.phase == "wg"
        else problem.stream_blocks * array.lanes * problem.kernel_positions
    )
    needed = 8 * (problem.stream_element_bytes + problem.stationary_element_bytes) + (terms - 1).bit_length()
    if needed > array.accumulator_bits:
        raise InfeasibleError(
            f"{problem.name} ({problem.phase}): sums of {terms} products need {needed} bits, array.accumulator_width is {array.accumulator_bits}"
        )


@lru_cache(maxsize=4096)
def plan(array: Array, problem: Problem, fixed_split: tuple[int, ...] = ()) -> Plan:
    """The mapping of ``problem`` with the least DRAM traffic, then the fewest cycles; deterministic.

    Raises InfeasibleError if no tile fits.
    """
    plans = _gradient_plans if problem.phase == "wg" else _result_plans
    _refuse_overflow(array, problem)
    chosen = min(plans(array, problem, fixed_split), key=lambda p: (p.dram_bytes, p.cycles), default=None)
    if chosen is None:
        raise InfeasibleError(
            f"{problem.name} ({problem.phase}): no tile fits; one pixel group of one channel block must fit array.stream_scratchpad "
            f"({array.stream_scratchpad_bytes} B), one vector per PE array.stationary_scratchpad ({array.stationary_scratchpad_bytes} B), "
            f"its operands buffers.activation ({array.activation_bytes} B) and buffers.weight ({array.weight_bytes} B), "
            f"its results buffers.error ({array.error_bytes} B)"
        )
    return chosen
