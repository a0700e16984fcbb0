"""The tiles of a mapping of FF or BP: for the pixels of each pattern the shape in which the array is done soonest."""

from math import inf
from typing import Any, NamedTuple

from etasim.core.jit import kernel, routine
from etasim.schedule.array_time import (
    EndShares,
    band_ends,
    blocks_of,
    chunk_compute_cycles,
    chunks_of,
    pass_drain_cycles,
    result_cycles,
    round_cycles,
)  # fmt: skip
from etasim.schedule.choices import matches
from etasim.schedule.problem import Allotment, TileShape
from etasim.schedule.rates import STATIONARY, STREAM
from etasim.schedule.rounds import (
    Round,
    StreamBytes,
    bytes_of_vectors,
    ceil_quotient,
    count_rounds,
    dealt,
    first_round,
    may_cut_rows,
    next_part_of_row,
    next_shape,
    scratchpad_pixels,
    tile_round,
)


class ResultBands(NamedTuple):
    """Rows of clusters that hold ``round_blocks`` in all; bands of ``samples`` samples or of ``rows`` rows, and what these read; streamed
    blocks that are loaded at a time, and DRAM bytes of all weights, loaded once."""

    allotment: Allotment
    round_blocks: int
    samples: int
    rows: int
    streamed: StreamBytes
    reduction_blocks: int
    weight_bytes: int


@kernel
def comes_in_parts(problem: Any, bands: ResultBands) -> bool:
    """Whether the operands of the whole reduction are never there at once."""
    return bands.reduction_blocks < problem.stream_blocks


@kernel
def count_bands(problem: Any, patterns: Any, samples: int, rows: int) -> int:
    return ceil_quotient(problem.batch, samples) * ceil_quotient(patterns[0].out_height, rows)


@kernel
def _largest_chunks(array: Any, problem: Any, pattern: Any, own_blocks: int, samples: int, pixels: int, by_row: int) -> TileShape:
    """Chunks of a tile that are as large as the scratchpads allow, of no slices if an operand slice does not fit its own."""
    if not pattern.n_taps:
        return TileShape(samples, pixels, 1, 1, by_row)
    stream = bytes_of_vectors(scratchpad_pixels(array, pattern, samples, pixels, by_row), problem.stream_vector_bits)
    vectors = own_blocks * bytes_of_vectors(array.lanes, problem.stationary_vector_bits)
    stationary = pattern.n_taps * vectors
    if stream > array.stream_scratchpad_bytes or vectors > array.stationary_scratchpad_bytes:
        return TileShape(samples, pixels, 0, 0, by_row)
    if stationary > array.stationary_scratchpad_bytes:
        return TileShape(samples, pixels, 1, array.stationary_scratchpad_bytes // vectors, by_row)
    fitting = min(array.stream_scratchpad_bytes // stream, array.stationary_scratchpad_bytes // stationary)
    return TileShape(samples, pixels, min(problem.stream_blocks, fitting), pattern.n_taps, by_row)


@kernel
def _alike(pattern: Any, bands: ResultBands, first_row: int) -> int:
    """How many bands from row ``first_row`` on hold as many rows of the pattern."""
    is_in_step = bands.rows % pattern.out_step_y == 0
    return max((pattern.out_height - first_row) // bands.rows, 1) if is_in_step else 1


@kernel
def _listed(rounds: Any, i: int) -> Round:
    """Round ``i`` of a list."""
    row = rounds[i]
    return Round(row["count"], row["n_tiles"], row["pixels"], row["stream_words"], row["stationary_words"])


@routine
def _list_rounds(array: Any, problem: Any, pattern: Any, shape: TileShape, bands: ResultBands, rounds: Any) -> int:
    """Fill ``rounds`` (`etasim.schedule.rounds.LISTED`), which are those of all chunks that a tile may be cut into; how many there
    are, -1 if they are more than there is room for."""
    n, y, columns = 0, 0, array.clusters // bands.allotment.split
    while y < pattern.out_height:
        n_alike, end = _alike(pattern, bands, y), min(y + bands.rows, pattern.out_height)
        for samples, n_bands in ((bands.samples, problem.batch // bands.samples), (problem.batch % bands.samples, 1)):
            tiles, first = dealt(array, problem, pattern, shape, max(samples, 1), y, end, columns), n
            for number in range(count_rounds(shape, tiles) if samples else 0):
                each = tile_round(pattern, shape, tiles, number)
                if each.count and n == len(rounds):
                    return -1
                if each.count:
                    row = rounds[n]
                    row["n_bands"], row["ends_band"], row["count"], row["n_tiles"] = n_alike * n_bands, False, each.count, each.n_tiles
                    row["pixels"], row["stream_words"], row["stationary_words"] = each.pixels, each.stream_words, each.stationary_words
                    n += 1
            if n > first:
                rounds[n - 1]["ends_band"] = True
        y += n_alike * bands.rows
    return n


@routine
def _listed_cycles(
    array: Any, links: Any, problem: Any, pattern: Any, shape: TileShape, bands: ResultBands, limit: float, rounds: Any, n_rounds: int
) -> float:
    """`_walked_cycles`, of rounds that are on a list."""
    total, band, chunks = 0.0, 0.0, chunks_of(array, problem, pattern, shape, bands.allotment)
    for i in range(n_rounds):
        each = _listed(rounds, i)
        band += each.count * round_cycles(array, links, problem, pattern, bands.allotment, chunks, each)
        if rounds[i]["ends_band"]:
            total += rounds[i]["n_bands"] * band
            band = 0.0
            if total >= limit:
                return total
    return total


@routine
def _walked_cycles(array: Any, links: Any, problem: Any, pattern: Any, shape: TileShape, bands: ResultBands, limit: float) -> float:
    """Cycles of a round of result slices over all bands; once they reach ``limit``, what they have come to."""
    total, row = 0.0, 0
    while row < pattern.out_height:
        n_alike, end = _alike(pattern, bands, row), min(row + bands.rows, pattern.out_height)
        for samples, n_bands in ((bands.samples, problem.batch // bands.samples), (problem.batch % bands.samples, 1)):
            if samples:
                each = result_cycles(array, links, problem, pattern, shape, bands.allotment, samples, row, end)
                total += n_alike * n_bands * each
                if total >= limit:
                    return total
        row += n_alike * bands.rows
    return total


@routine
def _band_cycles(
    array: Any, links: Any, problem: Any, pattern: Any, shape: TileShape, bands: ResultBands, limit: float, rounds: Any, n_rounds: int
) -> float:
    """Cycles of a round of result slices over all bands, without their ends; once they reach ``limit``, what they have come to.
    ``n_rounds``: those on the list, -1 if it is too short."""
    if n_rounds < 0:
        return _walked_cycles(array, links, problem, pattern, shape, bands, limit)
    return _listed_cycles(array, links, problem, pattern, shape, bands, limit, rounds, n_rounds)


@routine
def _ends_alone(
    array: Any, links: Any, problem: Any, pattern: Any, shape: TileShape, bands: ResultBands, alone: EndShares
) -> float:
    """Cycles of the shares of the ends of the bands that stand ``alone``."""
    if alone.fed + alone.drained == 0.0:
        return 0.0
    ends = band_ends(array, links, problem, pattern, shape, bands.allotment, bands.samples, 0, bands.rows)
    return alone.fed * min(ends.fed_cycles, ends.chunk_cycles) + alone.drained * ends.drain_cycles


class LeastOfRound(NamedTuple):
    """What no chunks of a round of tiles do without: sweeps of each group of pixels; cycles to feed all streamed blocks, for each word of
    one, and all weights, for each copy of them."""

    sweeps: int
    streamed_cycles: float
    weights_cycles: float


@kernel
def _least_of_round(array: Any, problem: Any, pattern: Any, allotment: Allotment) -> LeastOfRound:
    """An operand is fed once at the least, without a word that is not full."""
    rates, split = array.rates, allotment.split
    sweeps = problem.stream_blocks * allotment.result_slices * pattern.n_taps
    streamed = (1 if array.multicast else split) * problem.stream_blocks * rates.packet_cycles[STREAM]
    n_vectors = split * blocks_of(problem, allotment, 1) * problem.stream_blocks * pattern.n_taps
    words = n_vectors * bytes_of_vectors(array.lanes, problem.stationary_vector_bits) / array.word_bytes
    return LeastOfRound(sweeps, streamed if pattern.n_taps else 0.0, words * rates.packet_cycles[STATIONARY])


@routine
def _least_cycles(array: Any, problem: Any, bands: ResultBands, least: LeastOfRound, rounds: Any, n_rounds: int) -> float:
    """A bound on `_band_cycles` of the rounds on a list, however the tiles are cut into chunks: in each the clusters multiply all the time,
    or are fed, or what drains does."""
    total = 0.0
    for i in range(n_rounds):
        each = _listed(rounds, i)
        multiplied = float(least.sweeps * ceil_quotient(each.pixels, array.columns))
        fed = max(least.streamed_cycles * each.stream_words, least.weights_cycles * (1 if array.multicast else each.n_tiles))
        drained = pass_drain_cycles(array, problem, bands.allotment, each.n_tiles * each.pixels)
        total += rounds[i]["n_bands"] * each.count * max(multiplied, fed, drained)
    return (1 - 1e-9) * total  # sums in another order are not larger


@kernel
def _halved(blocks: int, taps: int) -> tuple[int, int]:
    """Blocks and taps of the next smaller chunks; no taps behind the smallest."""
    if blocks > 1:
        return ceil_quotient(blocks, 2), taps
    return blocks, ceil_quotient(taps, 2) if taps > 1 else 0


@kernel
def _may_chunk(problem: Any, bands: ResultBands, largest: TileShape, pin: Any, blocks: int, taps: int) -> bool:
    """Whether chunks of so many blocks and taps fit and are asked for. What comes in parts comes in whole chunks."""
    fits = blocks <= largest.slices_per_chunk and taps <= largest.taps_per_chunk
    fits = fits and not (comes_in_parts(problem, bands) and bands.reduction_blocks % blocks)
    return fits and matches(pin[2], blocks) and matches(pin[3], taps)


AS_LONG = 1.001
"""What takes no more than so many times as long takes as long: a thousandth is less than the closed form knows, and with larger chunks a
program has half as many commands."""

BUSY = 0.9
"""Share of its time that a tile multiplies at the least to be bound by it. Others are fed, and of small chunks the buffers of the routers
hold more than the closed form says."""


@routine
def _is_busy(array: Any, links: Any, problem: Any, pattern: Any, bands: ResultBands, shape: TileShape) -> bool:
    """Whether the first round of tiles of a band multiplies for `BUSY` of its time."""
    columns, n_rows = array.clusters // bands.allotment.split, min(bands.rows, pattern.out_height)
    first = first_round(pattern, shape, dealt(array, problem, pattern, shape, bands.samples, 0, n_rows, columns))
    chunks = chunks_of(array, problem, pattern, shape, bands.allotment)
    multiplied = chunks.n_chunks * chunk_compute_cycles(problem, pattern, chunks, ceil_quotient(first.pixels, array.columns))
    takes: float = round_cycles(array, links, problem, pattern, bands.allotment, chunks, first)
    return multiplied >= BUSY * takes


@routine
def _largest_alike(
    array: Any, links: Any, problem: Any, pattern: Any, bands: ResultBands, alone: EndShares, largest: TileShape, pin: Any, best: float,
    rounds: Any, n_rounds: int, shape: Any,
) -> None:  # fmt: skip
    """Make ``shape`` [fields], the fastest chunks, which take ``best``, the largest that take `AS_LONG`, if the clusters are `BUSY`."""
    if not _is_busy(array, links, problem, pattern, bands, TileShape(shape[0], shape[1], shape[2], shape[3], shape[4])):
        return
    blocks, taps = (problem.stream_blocks, pattern.n_taps) if pattern.n_taps else (1, 1)
    while taps and (blocks > shape[2] or taps > shape[3]):
        if _may_chunk(problem, bands, largest, pin, blocks, taps):
            chunked = TileShape(shape[0], shape[1], blocks, taps, shape[4])
            cycles = _band_cycles(array, links, problem, pattern, chunked, bands, AS_LONG * best, rounds, n_rounds)
            cycles += _ends_alone(array, links, problem, pattern, chunked, bands, alone)
            if cycles <= AS_LONG * best:
                shape[2], shape[3] = blocks, taps
                return
        blocks, taps = _halved(blocks, taps)


@routine
def _fastest_chunks(
    array: Any, links: Any, problem: Any, pattern: Any, bands: ResultBands, alone: EndShares, tile: tuple[int, int, int], pin: Any,
    best: float, shape: Any, rounds: Any,
) -> float:  # fmt: skip
    """``best``, or the cycles with a ``tile`` of (samples, pixels, whether by row) in the fastest of chunks of all streamed blocks, half, a
    quarter ... of them, or of one block and half, a quarter ... of the taps, if they are fewer: then the ``shape`` [fields] has the largest
    of chunks that take `AS_LONG` and multiply all the time. Smaller chunks wait for less of each other's operands."""
    samples, pixels, by_row = tile
    own_blocks = bands.allotment.result_slices * bands.allotment.slice_blocks
    largest = _largest_chunks(array, problem, pattern, own_blocks, samples, pixels, by_row)
    if not largest.slices_per_chunk:
        return best
    least = _least_of_round(array, problem, pattern, bands.allotment)
    n_rounds = _list_rounds(array, problem, pattern, largest, bands, rounds)
    if _least_cycles(array, problem, bands, least, rounds, n_rounds) >= best:
        return best
    fastest = best
    blocks, taps = (problem.stream_blocks, pattern.n_taps) if pattern.n_taps else (1, 1)
    while taps:
        if _may_chunk(problem, bands, largest, pin, blocks, taps):
            chunked = TileShape(samples, pixels, blocks, taps, by_row)
            cycles = _band_cycles(array, links, problem, pattern, chunked, bands, fastest, rounds, n_rounds)
            if array.prefetches and (1 - 1e-9) * cycles >= fastest:
                break  # what is sent before is sent no sooner in more chunks
            cycles += _ends_alone(array, links, problem, pattern, chunked, bands, alone) if cycles < fastest else 0.0
            if cycles < fastest:
                fastest = cycles
                shape[0], shape[1], shape[2], shape[3], shape[4] = chunked
        blocks, taps = _halved(blocks, taps)
    if fastest < best:
        _largest_alike(array, links, problem, pattern, bands, alone, largest, pin, fastest, rounds, n_rounds, shape)
    return fastest


@kernel
def _takes_one_pass(array: Any, problem: Any, pattern: Any, bands: ResultBands, samples: int, pixels: int, by_row: int) -> bool:
    """Whether the clusters take all tiles of a band at once: the psums of another pass would be cleared between two parts."""
    rows = min(ceil_quotient(bands.rows, pattern.out_step_y), pattern.rows)
    n_pieces = rows * ceil_quotient(pattern.cols, pixels) if by_row else ceil_quotient(rows * pattern.cols, pixels)
    n_tiles = ceil_quotient(bands.samples, samples) if samples else bands.samples * n_pieces
    return not comes_in_parts(problem, bands) or n_tiles <= array.clusters // bands.allotment.split


@routine
def fastest_tiles(
    array: Any, links: Any, problem: Any, patterns: Any, pinned_tiles: Any, bands: ResultBands, limit: float, shapes: Any, rounds: Any
) -> float:
    """The array's time with the fastest ``shapes`` [patterns, fields], which are filled in; infinite if no tile fits, or none stays below
    ``limit``.

    The first chunk of the first band is fed, and the last band drained, beside nothing else. ``rounds``: room for a list of them.
    """
    total, max_pixels = 0.0, array.psum_depth // bands.allotment.result_slices * array.columns
    n_rounds = ceil_quotient(problem.result_blocks, bands.round_blocks)
    share = 1.0 / (n_rounds * count_bands(problem, patterns, bands.samples, bands.rows))
    for i in range(len(patterns)):
        least = limit / n_rounds - total
        best, samples, pixels, pin = least, problem.batch + 1, 0, pinned_tiles[i]
        alone = EndShares(share if i == 0 and array.prefetches else 0.0, share if i == len(patterns) - 1 else 0.0)
        while True:
            samples, pixels = next_shape(array, patterns[i], problem.batch, max_pixels, samples, pixels)
            if not pixels:
                break
            is_asked = matches(pin[0], samples) and matches(pin[1], pixels) and matches(pin[4], 0)
            if is_asked and _takes_one_pass(array, problem, patterns[i], bands, samples, pixels, 0):
                best = _fastest_chunks(array, links, problem, patterns[i], bands, alone, (samples, pixels, 0), pin, best, shapes[i], rounds)
        pixels = patterns[i].cols if may_cut_rows(pin) else 0
        while pixels:
            pixels = next_part_of_row(array, patterns[i], max_pixels, pixels)
            is_asked = pixels > 0 and matches(pin[0], 0) and matches(pin[1], pixels)
            if is_asked and _takes_one_pass(array, problem, patterns[i], bands, 0, pixels, 1):
                best = _fastest_chunks(array, links, problem, patterns[i], bands, alone, (0, pixels, 1), pin, best, shapes[i], rounds)
        if best >= least:
            return inf
        total += best
    return n_rounds * total
