"""Mappings of FF and BP: results stay in the psums. All that fit are worked out, compiled; `etasim.schedule.plan` asks for the best."""

from math import ceil, inf
from typing import Any, NamedTuple

from etasim.core.jit import kernel, procedure, routine
from etasim.schedule.array_time import band_ends, result_cycles, until_fed
from etasim.schedule.choices import Movement, is_beaten, is_pinned_so, keep, matches
from etasim.schedule.overlap import Buffering, Demand, operation_cycles
from etasim.schedule.problem import Allotment, TileShape
from etasim.schedule.result_bands import (
    ResultBands,
    block_weight_bytes,
    comes_in_parts,
    count_bands,
    count_elements,
    follow_of,
    follows_at_once,
    held_bits,
    movement,
    samples_that_fit,
)
from etasim.schedule.rounds import (
    bytes_of_vectors,
    ceil_quotient,
    count_rounds,
    dealt,
    first_rows,
    may_cut_rows,
    next_part_of_row,
    next_rows,
    next_shape,
    next_share,
    scratchpad_pixels,
    stream_bytes,
    tile_round,
)


class Shares(NamedTuple):
    """Of the feed of the first chunk, and of the drain of the last: what is counted of either for a round of results."""

    filled: float
    drained: float


@kernel
def _least_cycles(array: Any, problem: Any, patterns: Any, bands: ResultBands) -> float:
    """A bound on the array's cycles: psums that are always full, and operands that never wait."""
    slices = ceil_quotient(problem.result_blocks, bands.round_blocks) * bands.result_slices
    columns, total = array.columns * (array.clusters // bands.split), 0
    for i in range(len(patterns)):
        groups = ceil_quotient(problem.batch * patterns[i].rows * patterns[i].cols, columns)
        total += slices * max(problem.stream_blocks * patterns[i].n_taps, 1) * groups
    return float(total)


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
    follow = follow_of(problem, True)
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
def _cycles(
    array: Any, problem: Any, patterns: Any, bands: ResultBands, moved: Movement, array_cycles: float, fill_cycles: float
) -> float:  # fmt: skip
    """Whole cycles of the operation if the array takes as long as it does, and so long until it has its first operands."""
    n_elements, at_once = count_elements(array, problem, patterns), follows_at_once(problem, patterns, bands.rows)
    follow = follow_of(problem, at_once)
    n_bands = count_bands(problem, patterns, bands.samples, bands.rows)
    n_rounds = ceil_quotient(problem.result_blocks, bands.round_blocks)
    tile_bytes = bands.samples * bands.round_blocks * bands.rows * patterns[0].out_width * array.lanes
    held = int(2 * array.error_bytes / (tile_bytes * held_bits(problem, patterns, bands.rows) / 8))
    in_parts = comes_in_parts(problem, bands)
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
        n_bands * n_rounds, n_rounds, n_elements, problem.result_element_bytes, array_cycles, dma_bytes, loads, held, fill_cycles, covered,
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
    array: Any, links: Any, problem: Any, pattern: Any, shape: TileShape, bands: ResultBands, shares: Shares, limit: float
) -> float:
    """Cycles of a round of result slices over all bands, and ``shares`` of the ends of one; once they reach ``limit``, what they have come
    to."""
    split, slices, total, row = bands.split, bands.result_slices, 0.0, 0
    if shares.filled > 0.0 or shares.drained > 0.0:
        ends = band_ends(array, links, problem, pattern, shape, split, slices, bands.samples, 0, bands.rows)
        total = shares.filled * until_fed(ends) + shares.drained * ends.drain_cycles
    while row < pattern.out_height:
        n_alike, end = _alike(pattern, bands, row), min(row + bands.rows, pattern.out_height)
        for samples, n_bands in ((bands.samples, problem.batch // bands.samples), (problem.batch % bands.samples, 1)):
            if samples:
                each = result_cycles(array, links, problem, pattern, shape, split, slices, samples, row, end)
                total += n_alike * n_bands * each
                if total >= limit:
                    return total
        row += n_alike * bands.rows
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
    array: Any, links: Any, problem: Any, pattern: Any, bands: ResultBands, shares: Shares, tile: tuple[int, int, int], pin: Any,
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
        fits = fits and not (comes_in_parts(problem, bands) and bands.reduction_blocks % blocks)
        if fits and matches(pin[2], blocks) and matches(pin[3], taps):
            chunked = TileShape(samples, pixels, blocks, taps, by_row)
            cycles = _band_cycles(array, links, problem, pattern, chunked, bands, shares, best)
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
    return not comes_in_parts(problem, bands) or n_tiles <= array.clusters // bands.split


@kernel
def _fill_cycles(array: Any, links: Any, problem: Any, pattern: Any, bands: ResultBands, fields: Any) -> float:
    """Cycles until the first chunk of tiles of a shape is there, or the last multiplied after all is fed."""
    shape = TileShape(fields[0], fields[1], fields[2], fields[3], fields[4])
    ends = band_ends(array, links, problem, pattern, shape, bands.split, bands.result_slices, bands.samples, 0, bands.rows)
    return until_fed(ends)


@routine
def _fastest_tiles(
    array: Any, links: Any, problem: Any, patterns: Any, pinned_tiles: Any, bands: ResultBands, is_filled: bool, shapes: Any
) -> tuple[float, float]:
    """The array's time with the fastest ``shapes`` [patterns, fields], which are filled in, and until its first chunk is there; infinite if
    no tile fits. The drain of the last band stands beside nothing else; ``is_filled``: neither does the first chunk's feed."""
    total, max_pixels = 0.0, array.psum_depth // bands.result_slices * array.columns
    n_rounds = ceil_quotient(problem.result_blocks, bands.round_blocks)
    share = 1.0 / (n_rounds * count_bands(problem, patterns, bands.samples, bands.rows))
    for i in range(len(patterns)):
        best, samples, pixels, pin = inf, problem.batch + 1, 0, pinned_tiles[i]
        shares = Shares(1.0 / n_rounds if is_filled and i == 0 else 0.0, share if i == len(patterns) - 1 else 0.0)
        while True:
            samples, pixels = next_shape(array, patterns[i], problem.batch, max_pixels, samples, pixels)
            if not pixels:
                break
            is_asked = matches(pin[0], samples) and matches(pin[1], pixels) and matches(pin[4], 0)
            if is_asked and _takes_one_pass(array, problem, patterns[i], bands, samples, pixels, 0):
                best = _fastest_chunks(array, links, problem, patterns[i], bands, shares, (samples, pixels, 0), pin, best, shapes[i])
        pixels = patterns[i].cols if may_cut_rows(pin) else 0
        while pixels:
            pixels = next_part_of_row(array, patterns[i], max_pixels, pixels)
            is_asked = pixels > 0 and matches(pin[0], 0) and matches(pin[1], pixels)
            if is_asked and _takes_one_pass(array, problem, patterns[i], bands, 0, pixels, 1):
                best = _fastest_chunks(array, links, problem, patterns[i], bands, shares, (0, pixels, 1), pin, best, shapes[i])
        total += best
    fill = _fill_cycles(array, links, problem, patterns[0], bands, shapes[0]) if total < inf else 0.0
    return n_rounds * total - (fill if is_filled else 0.0), fill


@routine
def _both_orders(
    array: Any, links: Any, problem: Any, patterns: Any, pins: Any, pinned_tiles: Any, bands: ResultBands, choices: Any, shapes: Any
) -> bool:
    """Work out both orders of the loops, as far as they may be among the best; whether a tile fits. The first chunk's feed stands
    alone in FF, which waits for the operation before. In BP the WG before may cover it, so that the tiles are those that are fastest once
    it is there, and those that are with it."""
    least, fits, worked_out = _least_cycles(array, problem, patterns, bands), False, inf
    for filling in range(1 if problem.is_forward else 0, 2):
        cycles, fill = -1.0, 0.0
        for outer in range(2):
            moved = movement(array, problem, patterns, pins, bands, outer)
            n_bytes = moved.streamed + moved.kept
            if not is_pinned_so(pins, moved) or is_beaten(choices, _cycles(array, problem, patterns, bands, moved, least, 0.0), n_bytes):
                continue
            if cycles < 0.0:
                cycles, fill = _fastest_tiles(array, links, problem, patterns, pinned_tiles, bands, filling == 1, shapes[len(choices)])
                least = cycles if filling == 0 else least
            if cycles == inf or fill >= worked_out:
                return fits
            fits, allotment = True, Allotment(bands.split, 1, bands.result_slices, 1, 0)
            alone = fill if problem.is_forward else 0.0
            whole = _cycles(array, problem, patterns, bands, moved, cycles + alone, fill - alone)
            keep(choices, shapes, whole, allotment, bands.samples, bands.rows, moved)
        if cycles < 0.0:
            return fits
        worked_out = fill
    return fits


@routine
def _all_bands(
    array: Any, links: Any, problem: Any, patterns: Any, pins: Any, pinned_tiles: Any, allotment: Allotment, reduction_blocks: int,
    choices: Any, shapes: Any, first_only: bool,
) -> bool:  # fmt: skip
    """Work out all bands of an allotment whose operands come in parts of so many blocks, if they fit; whether one does, if one will do."""
    round_blocks = min(allotment.split * allotment.result_slices * (array.pes // array.lanes), problem.result_blocks)
    height = patterns[0].out_height
    is_asked = matches(pins.reduction_blocks, reduction_blocks)
    rows = 0
    if is_asked and round_blocks * block_weight_bytes(array, problem, reduction_blocks) <= array.weight_bytes:
        rows = first_rows(pins.band_rows, height)
    while rows:
        streamed = stream_bytes(array, problem, patterns, rows)
        room = samples_that_fit(array, problem, patterns, round_blocks, reduction_blocks, rows, streamed)
        samples = problem.batch if rows == height else 1
        while samples:
            bands = ResultBands(allotment.split, allotment.result_slices, round_blocks, samples, rows, streamed, reduction_blocks)
            is_asked = samples <= room and matches(pins.band_samples, samples)
            if is_asked and _both_orders(array, links, problem, patterns, pins, pinned_tiles, bands, choices, shapes) and first_only:
                return True
            samples = next_share(problem.batch, samples) if rows == height else 0
        rows = next_rows(pins.band_rows, rows)
    return False


@procedure
def result_plans(
    array: Any, links: Any, link_ends: Any, problem: Any, patterns: Any, splits: Any, pins: Any, pinned_tiles: Any, choices: Any,
    shapes: Any, first_only: bool,
) -> None:  # fmt: skip
    """Fill ``choices`` with the best mappings of an FF or BP operation, the best first (`etasim.schedule.choices.room_for`).

    ``splits`` [splits, 2]: rows of clusters, and 1; ``links[link_ends[i - 1] : link_ends[i]]``: links of split i. Considered are 1, 2, 4
    ... result slices or all, the operands of all streamed blocks or of a half, a quarter ... of them at a time, and bands of equal shares
    of the batch, or of a half, a quarter ... of the rows of a sample, as far as ``pins`` (`PinNumbers`) and ``pinned_tiles`` [patterns,
    fields of `TileShape`] let them. ``first_only``: any that fits will do.
    """
    n_slices = ceil_quotient(problem.result_blocks, array.pes // array.lanes)
    for i in range(len(splits)):
        split, uses = splits[i, 0], links[link_ends[i] : link_ends[i + 1]]
        most = ceil_quotient(n_slices, split)
        for result_slices in range(1, min(array.psum_depth, most) + 1):
            if (result_slices & (result_slices - 1) and result_slices != most) or not matches(pins.result_slices, result_slices):
                continue
            allotment, blocks = Allotment(split, 1, result_slices, 1, 0), problem.stream_blocks
            while blocks:
                if _all_bands(array, uses, problem, patterns, pins, pinned_tiles, allotment, blocks, choices, shapes, first_only):
                    return
                blocks = ceil_quotient(blocks, 2) if blocks > 1 else 0
