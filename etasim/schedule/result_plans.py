"""Mappings of FF and BP: results stay in the psums. All that fit are worked out, compiled; `etasim.schedule.plan` asks for the best."""

from math import ceil, inf
from typing import Any, NamedTuple

from etasim.core.jit import kernel, procedure, routine
from etasim.schedule.array_time import EndShares, band_ends, result_cycles
from etasim.schedule.bounds import is_considered, least_cycles, most_promising
from etasim.schedule.choices import ANY_BYTES, Movement, is_beaten, is_pinned_so, keep, matches
from etasim.schedule.overlap import Buffering, Demand, operation_cycles
from etasim.schedule.problem import Allotment, Follow, TileShape
from etasim.schedule.rounds import (
    StreamBytes,
    block_weight_bytes,
    bytes_of_vectors,
    ceil_quotient,
    count_rounds,
    dealt,
    may_cut_rows,
    next_part_of_row,
    next_shape,
    next_share,
    scratchpad_pixels,
    sizes_of_bands,
    tile_round,
    weight_bytes_of,
)


class ResultBands(NamedTuple):
    """Clusters split into ``split`` rows that hold ``result_slices`` each, so ``round_blocks`` in all; bands of ``samples`` samples or of
    ``rows`` rows, and what these read; streamed blocks that are loaded at a time, and DRAM bytes of all weights, loaded once."""

    split: int
    result_slices: int
    round_blocks: int
    samples: int
    rows: int
    streamed: StreamBytes
    reduction_blocks: int
    weight_bytes: int


@kernel
def _held_bits(problem: Any, patterns: Any, rows: int) -> float:
    """Bits of the error buffer for an element of results; where bands are not whole planes what needs these comes later."""
    own = 16.0 * problem.result_element_bytes
    return max(problem.follow.held_bits, own) if _follows_at_once(problem, patterns, rows) else own


@kernel
def _follows_at_once(problem: Any, patterns: Any, rows: int) -> bool:
    """Whether bands of ``rows`` rows need not wait for others."""
    return rows == patterns[0].out_height or problem.follow.in_pieces


@kernel
def _comes_in_parts(problem: Any, bands: ResultBands) -> bool:
    """Whether the operands of the whole reduction are never there at once."""
    return bands.reduction_blocks < problem.stream_blocks


@kernel
def _follow_of(problem: Any, at_once: bool) -> Follow:
    """What follows results at once; if nothing does, they are stored."""
    own = problem.follow
    if at_once:
        return Follow(own.passes, own.lane_operations, own.load_bits, own.store_bits, own.held_bits, own.is_hidden, own.in_pieces)
    return Follow(0, 0.0, 0.0, 8.0 * problem.result_element_bytes, 0.0, False, False)


@kernel
def _room(array: Any, problem: Any, patterns: Any, round_blocks: int, reduction_blocks: int, rows: int, streamed: StreamBytes) -> int:
    """Samples of ``rows`` rows of which ``reduction_blocks`` of the operand fit half of the activation buffer, and whose results fit the
    error buffer with what follows them."""
    operand = 0 if array.bypasses else reduction_blocks * streamed.largest
    results = round_blocks * rows * patterns[0].out_width * array.lanes * _held_bits(problem, patterns, rows) / 8
    return min(array.activation_bytes // max(operand, 1), int(2 * array.error_bytes / results))


@kernel
def _count_bands(problem: Any, patterns: Any, samples: int, rows: int) -> int:
    return ceil_quotient(problem.batch, samples) * ceil_quotient(patterns[0].out_height, rows)


@kernel
def _movement(array: Any, problem: Any, patterns: Any, pins: Any, bands: ResultBands, outer: int) -> Movement:
    """How often the operands are loaded; what fits its buffer stays there, unless it is pinned that it does not. What comes in parts comes
    again for every pass."""
    stream_bytes_held = problem.stream_blocks * problem.batch * bands.streamed.held
    stream_resident = not array.bypasses and pins.stream_resident != 0 and stream_bytes_held <= array.activation_bytes
    weight_bytes = problem.result_blocks * block_weight_bytes(array, problem, problem.stream_blocks)
    stationary_resident = pins.stationary_resident != 0 and weight_bytes <= array.weight_bytes
    n_rounds, n_bands = ceil_quotient(problem.result_blocks, bands.round_blocks), _count_bands(problem, patterns, bands.samples, bands.rows)
    in_parts = _comes_in_parts(problem, bands)
    n_passes = len(patterns) if in_parts else 1
    comes_once = stream_resident or (outer and not in_parts and not array.bypasses)
    stream_loads = 1 if comes_once else n_rounds * n_passes
    weight_loads = 1 if stationary_resident or not (outer or in_parts) else n_bands * n_passes
    streamed = problem.stream_blocks * problem.batch * bands.streamed.loaded * stream_loads
    kept = bands.weight_bytes * weight_loads
    return Movement(outer, stream_resident, stationary_resident, streamed, kept, bands.reduction_blocks)


@kernel
def _n_elements(array: Any, problem: Any, patterns: Any) -> int:
    """Elements of the results."""
    return problem.result_blocks * array.lanes * problem.batch * patterns[0].out_height * patterns[0].out_width


@kernel
def _hidden_cycles(array: Any, problem: Any, patterns: Any) -> float:
    """Cycles of the WG that follows, at the least: as many products on the whole array."""
    if not problem.follow.is_hidden:
        return 0.0
    n_products = 0
    for i in range(len(patterns)):
        n_products += patterns[i].n_taps * patterns[i].rows * patterns[i].cols
    n_products *= problem.batch * problem.stream_blocks * problem.result_blocks
    return n_products / (array.pes // array.lanes * array.columns * array.clusters)


@kernel
def _detour_cycles(array: Any, problem: Any, n_elements: int) -> float:
    """Cycles of the unified core alone, for results that went to DRAM and come back."""
    follow = _follow_of(problem, True)
    loaded, stored = n_elements * (problem.result_element_bytes + follow.load_bits / 8), n_elements * follow.store_bits / 8
    alone = Demand(
        problem.result_blocks * problem.batch, problem.result_blocks, n_elements, problem.result_element_bytes, 0.0,
        (0.0, 0.0, loaded, stored), (Buffering(0, 0), Buffering(0, 0)), 2, 0.0, 1.0 - 1.0 / problem.batch, 0.0,
    )  # fmt: skip
    return operation_cycles(array, follow, alone)


@kernel
def _buffering(n_pieces: int, is_resident: bool, size_bytes: int, piece_bytes: int) -> Buffering:
    return Buffering(n_pieces, 0 if is_resident else max(2 * size_bytes // max(piece_bytes, 1), 1))


@routine
def _cycles(array: Any, problem: Any, patterns: Any, bands: ResultBands, moved: Movement, array_cycles: float) -> float:
    """Whole cycles of the operation if the array takes as long as it does."""
    n_elements, at_once = _n_elements(array, problem, patterns), _follows_at_once(problem, patterns, bands.rows)
    follow = _follow_of(problem, at_once)
    n_bands = _count_bands(problem, patterns, bands.samples, bands.rows)
    n_rounds = ceil_quotient(problem.result_blocks, bands.round_blocks)
    tile_bytes = bands.samples * bands.round_blocks * bands.rows * patterns[0].out_width * array.lanes
    held = int(2 * array.error_bytes / (tile_bytes * _held_bits(problem, patterns, bands.rows) / 8))
    in_parts = _comes_in_parts(problem, bands)
    n_parts = len(patterns) * ceil_quotient(problem.stream_blocks, bands.reduction_blocks) if in_parts else 1
    loads = (
        _buffering(
            n_parts * (n_bands if moved.outer and not in_parts else n_bands * n_rounds), moved.stream_resident or array.bypasses,
            array.activation_bytes, bands.samples * bands.reduction_blocks * bands.streamed.largest,
        ),
        _buffering(
            n_parts * (n_rounds * n_bands if moved.outer or in_parts else n_rounds), moved.stationary_resident, array.weight_bytes,
            bands.round_blocks * block_weight_bytes(array, problem, bands.reduction_blocks),
        ),
    )  # fmt: skip
    covered = (n_bands * n_rounds - n_rounds if moved.outer else n_bands - 1) / (n_bands * n_rounds)
    dma_bytes = float(moved.streamed), float(moved.kept), n_elements * follow.load_bits / 8, n_elements * follow.store_bits / 8
    demand = Demand(
        n_bands * n_rounds, n_rounds, n_elements, problem.result_element_bytes, array_cycles, dma_bytes, loads, held, 0.0, covered,
        _hidden_cycles(array, problem, patterns),
    )  # fmt: skip
    cycles = operation_cycles(array, follow, demand)
    return ceil(cycles if at_once else cycles + _detour_cycles(array, problem, n_elements))


@kernel
def _largest_chunks(array: Any, problem: Any, pattern: Any, slices: int, samples: int, pixels: int, by_row: int) -> TileShape:
    """Chunks of a tile that are as large as the scratchpads allow, of no slices if an operand slice does not fit its own."""
    if not pattern.n_taps:
        return TileShape(samples, pixels, 1, 1, by_row)
    stream = bytes_of_vectors(scratchpad_pixels(array, pattern, samples, pixels, by_row), problem.stream_vector_bits)
    vector = array.pes // array.lanes * bytes_of_vectors(array.lanes, problem.stationary_vector_bits)
    stationary = slices * pattern.n_taps * vector
    if stream > array.stream_scratchpad_bytes or slices * vector > array.stationary_scratchpad_bytes:
        return TileShape(samples, pixels, 0, 0, by_row)
    if stationary > array.stationary_scratchpad_bytes:
        return TileShape(samples, pixels, 1, array.stationary_scratchpad_bytes // (slices * vector), by_row)
    fitting = min(array.stream_scratchpad_bytes // stream, array.stationary_scratchpad_bytes // stationary)
    return TileShape(samples, pixels, min(problem.stream_blocks, fitting), pattern.n_taps, by_row)


@kernel
def _alike(pattern: Any, bands: ResultBands, first_row: int) -> int:
    """How many bands from row ``first_row`` on hold as many rows of the pattern."""
    is_in_step = bands.rows % pattern.out_step_y == 0
    return max((pattern.out_height - first_row) // bands.rows, 1) if is_in_step else 1


@routine
def _band_cycles(
    array: Any, links: Any, problem: Any, pattern: Any, shape: TileShape, bands: ResultBands, alone: EndShares, limit: float
) -> float:
    """Cycles of a round of result slices over all bands, and of the shares of their ends that stand ``alone``; once they reach ``limit``,
    what they have come to."""
    split, slices, total, row = bands.split, bands.result_slices, 0.0, 0
    while row < pattern.out_height:
        n_alike, end = _alike(pattern, bands, row), min(row + bands.rows, pattern.out_height)
        for samples, n_bands in ((bands.samples, problem.batch // bands.samples), (problem.batch % bands.samples, 1)):
            if samples:
                each = result_cycles(array, links, problem, pattern, shape, split, slices, samples, row, end)
                total += n_alike * n_bands * each
                if total >= limit:
                    return total
        row += n_alike * bands.rows
    if alone.fed + alone.drained > 0.0:
        ends = band_ends(array, links, problem, pattern, shape, split, slices, bands.samples, 0, bands.rows)
        total += alone.fed * min(ends.fed_cycles, ends.chunk_cycles) + alone.drained * ends.drain_cycles
    return total


@routine
def _multiplying(array: Any, problem: Any, pattern: Any, shape: TileShape, bands: ResultBands) -> float:
    """A bound on `_band_cycles`, however the tiles are cut into chunks: their clusters multiply all the time."""
    groups, columns, row = 0, array.clusters // bands.split, 0
    while row < pattern.out_height:
        n_alike, end = _alike(pattern, bands, row), min(row + bands.rows, pattern.out_height)
        for n_samples, n_bands in ((bands.samples, problem.batch // bands.samples), (problem.batch % bands.samples, 1)):
            tiles = dealt(array, problem, pattern, shape, max(n_samples, 1), row, end, columns)
            for number in range(count_rounds(shape, tiles) if n_samples else 0):
                each = tile_round(pattern, shape, tiles, number)
                groups += n_alike * n_bands * each.count * ceil_quotient(each.pixels, array.columns)
        row += n_alike * bands.rows
    return float(problem.stream_blocks * bands.result_slices * pattern.n_taps * groups)


@routine
def _fastest_chunks(
    array: Any, links: Any, problem: Any, pattern: Any, bands: ResultBands, alone: EndShares, tile: tuple[int, int, int], pin: Any,
    best: float, shape: Any,
) -> float:  # fmt: skip
    """``best``, or the cycles with a ``tile`` of (samples, pixels, whether by row) in the fastest of chunks of all streamed blocks, half, a
    quarter ... of them, or of one block and half, a quarter ... of the taps, if they are fewer: then it is the ``shape`` [fields]. Smaller
    chunks wait for less of each other's operands. What comes in parts comes in whole chunks."""
    samples, pixels, by_row = tile
    largest = _largest_chunks(array, problem, pattern, bands.result_slices, samples, pixels, by_row)
    if not largest.slices_per_chunk or _multiplying(array, problem, pattern, largest, bands) >= best:
        return best
    blocks, taps = (problem.stream_blocks, pattern.n_taps) if pattern.n_taps else (1, 1)
    while taps:
        fits = blocks <= largest.slices_per_chunk and taps <= largest.taps_per_chunk
        fits = fits and not (_comes_in_parts(problem, bands) and bands.reduction_blocks % blocks)
        if fits and matches(pin[2], blocks) and matches(pin[3], taps):
            chunked = TileShape(samples, pixels, blocks, taps, by_row)
            cycles = _band_cycles(array, links, problem, pattern, chunked, bands, alone, best)
            if cycles < best:
                best = cycles
                shape[0], shape[1], shape[2], shape[3], shape[4] = chunked
        if blocks > 1:
            blocks = ceil_quotient(blocks, 2)
        else:
            taps = ceil_quotient(taps, 2) if taps > 1 else 0
    return best


@kernel
def _takes_one_pass(array: Any, problem: Any, pattern: Any, bands: ResultBands, samples: int, pixels: int, by_row: int) -> bool:
    """Whether the clusters take all tiles of a band at once: the psums of another pass would be cleared between two parts."""
    rows = min(ceil_quotient(bands.rows, pattern.out_step_y), pattern.rows)
    n_pieces = rows * ceil_quotient(pattern.cols, pixels) if by_row else ceil_quotient(rows * pattern.cols, pixels)
    n_tiles = ceil_quotient(bands.samples, samples) if samples else bands.samples * n_pieces
    return not _comes_in_parts(problem, bands) or n_tiles <= array.clusters // bands.split


@kernel
def _limit(array: Any, problem: Any, patterns: Any, bands: ResultBands, choices: Any) -> float:
    """Array cycles with which an operation is certainly beaten: it takes no less than its array, and what is done apart."""
    apart = 0.0
    if not _follows_at_once(problem, patterns, bands.rows):
        apart = _detour_cycles(array, problem, _n_elements(array, problem, patterns))
    worst: float = choices[len(choices) - 1].cycles
    return worst - apart + 2.0  # more than whole cycles and sums in another order can make a difference


@routine
def _fastest_tiles(
    array: Any, links: Any, problem: Any, patterns: Any, pinned_tiles: Any, bands: ResultBands, limit: float, shapes: Any
) -> float:
    """The array's time with the fastest ``shapes`` [patterns, fields], which are filled in; infinite if no tile fits, or none stays below
    ``limit``.

    The first chunk of the first band is fed, and the last band drained, beside nothing else.
    """
    total, max_pixels = 0.0, array.psum_depth // bands.result_slices * array.columns
    n_rounds = ceil_quotient(problem.result_blocks, bands.round_blocks)
    share = 1.0 / (n_rounds * _count_bands(problem, patterns, bands.samples, bands.rows))
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
                best = _fastest_chunks(array, links, problem, patterns[i], bands, alone, (samples, pixels, 0), pin, best, shapes[i])
        pixels = patterns[i].cols if may_cut_rows(pin) else 0
        while pixels:
            pixels = next_part_of_row(array, patterns[i], max_pixels, pixels)
            is_asked = pixels > 0 and matches(pin[0], 0) and matches(pin[1], pixels)
            if is_asked and _takes_one_pass(array, problem, patterns[i], bands, 0, pixels, 1):
                best = _fastest_chunks(array, links, problem, patterns[i], bands, alone, (0, pixels, 1), pin, best, shapes[i])
        if best >= least:
            return inf
        total += best
    return n_rounds * total


@routine
def _both_orders(
    array: Any, links: Any, problem: Any, patterns: Any, pins: Any, pinned_tiles: Any, bands: ResultBands, least: float, choices: Any,
    shapes: Any,
) -> bool:  # fmt: skip
    """Work out both orders of the loops, as far as they may be among the best; whether one is. ``least``: a bound on the array's cycles."""
    array_cycles = -1.0
    for outer in range(2):
        moved = _movement(array, problem, patterns, pins, bands, outer)
        if not is_pinned_so(pins, moved):
            continue
        if is_beaten(choices, _cycles(array, problem, patterns, bands, moved, least), moved.streamed + moved.kept):
            continue
        if array_cycles < 0.0:
            limit = _limit(array, problem, patterns, bands, choices)
            array_cycles = _fastest_tiles(array, links, problem, patterns, pinned_tiles, bands, limit, shapes[len(choices)])
            if array_cycles == inf:
                return False
        allotment = Allotment(bands.split, 1, bands.result_slices, 1, 0)
        keep(choices, shapes, _cycles(array, problem, patterns, bands, moved, array_cycles), allotment, bands.samples, bands.rows, moved)
    return array_cycles >= 0.0


@routine
def _all_bands(
    array: Any, links: Any, problem: Any, patterns: Any, pins: Any, pinned_tiles: Any, allotment: Allotment, reduction_blocks: int,
    sizes: Any, choices: Any, shapes: Any, first_only: bool,
) -> bool:  # fmt: skip
    """Work out all bands of an allotment whose operands come in parts of so many blocks, if they fit; whether one does, if one will do.
    ``sizes`` [sizes, fields]: those of bands."""
    round_blocks = min(allotment.split * allotment.result_slices * (array.pes // array.lanes), problem.result_blocks)
    height = patterns[0].out_height
    is_asked = matches(pins.reduction_blocks, reduction_blocks)
    if not is_asked or round_blocks * block_weight_bytes(array, problem, reduction_blocks) > array.weight_bytes:
        return False
    least = least_cycles(array, problem, patterns, pinned_tiles, allotment, round_blocks)
    if least > choices[len(choices) - 1].cycles:
        return False
    weight_bytes = weight_bytes_of(array, problem, round_blocks, reduction_blocks)
    for i in range(len(sizes)):
        rows, streamed = sizes[i, 0], StreamBytes(sizes[i, 1], sizes[i, 2], sizes[i, 3])
        room = _room(array, problem, patterns, round_blocks, reduction_blocks, rows, streamed)
        samples = problem.batch if rows == height else 1
        while samples:
            bands = ResultBands(
                allotment.split, allotment.result_slices, round_blocks, samples, rows, streamed, reduction_blocks, weight_bytes
            )
            is_asked = samples <= room and matches(pins.band_samples, samples)
            if is_asked and _both_orders(array, links, problem, patterns, pins, pinned_tiles, bands, least, choices, shapes) and first_only:
                return True
            samples = next_share(problem.batch, samples) if rows == height else 0
    return False


@procedure
def result_plans(
    array: Any, links: Any, link_ends: Any, problem: Any, patterns: Any, splits: Any, pins: Any, pinned_tiles: Any, room: Any,
    choices: Any, shapes: Any, first_only: bool,
) -> None:  # fmt: skip
    """Fill ``choices`` with the best mappings of an FF or BP operation, the best first (`etasim.schedule.choices.room_for`).

    ``splits`` [splits, 2]: rows of clusters, and 1; ``links[link_ends[i - 1] : link_ends[i]]``: links of split i. Considered are 1, 2, 4
    ... result slices or all, the operands of all streamed blocks or of a half, a quarter ... of them at a time, and bands of equal shares
    of the batch, or of a half, a quarter ... of the rows of a sample, as far as ``pins`` (`PinNumbers`) and ``pinned_tiles`` [patterns,
    fields of `TileShape`] let them. ``first_only``: any that fits will do. ``room``: for `sizes_of_bands`.
    """
    n_slices = ceil_quotient(problem.result_blocks, array.pes // array.lanes)
    sizes = room[: sizes_of_bands(array, problem, patterns, pins.band_rows, room)]
    if len(choices) == 1 and not first_only:
        which, first = most_promising(array, problem, patterns, pins, pinned_tiles, splits)
        uses = links[link_ends[which] : link_ends[which + 1]]
        _all_bands(array, uses, problem, patterns, pins, pinned_tiles, first, problem.stream_blocks, sizes, choices, shapes, False)
        choices[0].dram_bytes = ANY_BYTES  # a bound: it is found again in its place, and what takes as long and comes before it first
    for i in range(len(splits)):
        split, uses = splits[i, 0], links[link_ends[i] : link_ends[i + 1]]
        most = ceil_quotient(n_slices, split)
        for result_slices in range(1, min(array.psum_depth, most) + 1):
            if not is_considered(pins, most, result_slices):
                continue
            allotment, blocks = Allotment(split, 1, result_slices, 1, 0), problem.stream_blocks
            while blocks:
                if _all_bands(array, uses, problem, patterns, pins, pinned_tiles, allotment, blocks, sizes, choices, shapes, first_only):
                    return
                blocks = ceil_quotient(blocks, 2) if blocks > 1 else 0
