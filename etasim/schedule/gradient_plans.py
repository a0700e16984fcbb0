"""Mappings of WG: weight gradients stay in the psums. All that fit are worked out, compiled; `etasim.schedule.plan` asks for the best."""

from math import ceil, inf
from typing import Any, NamedTuple

from etasim.core.jit import kernel, procedure, routine
from etasim.schedule.array_time import GradientRates, blocks_of, fed_cycles, gradient_cycles, gradient_rates, pass_ends, stream_blocks_of
from etasim.schedule.bounds import fewer_blocks, first_blocks
from etasim.schedule.choices import Cost, Movement, is_beaten, is_pinned_so, keep, matches
from etasim.schedule.overlap import Buffering, Demand, operation_cycles
from etasim.schedule.problem import Allotment, Follow, TileShape
from etasim.schedule.rounds import (
    StreamBytes,
    burst_bytes_of,
    bytes_of_vectors,
    ceil_quotient,
    is_read_whole,
    may_cut_rows,
    next_part_of_row,
    next_shape,
    next_share,
    operand_row_count,
    pieces_bytes,
    scratchpad_pixels,
    sizes_of_bands,
)


class GradientPass(NamedTuple):
    """A pass of all clusters: the channel blocks of both operands, what it asks for, how many there are, and DRAM bytes to store the
    results of all."""

    allotment: Allotment
    stream_blocks: int
    result_blocks: int
    rates: GradientRates
    n_passes: int
    stored_bytes: int


class GradientBands(NamedTuple):
    """Bands of so many samples and rows, what they read of the streamed operand, bytes of a row of the stationary one, and the whole
    bursts that load a plane of it."""

    samples: int
    rows: int
    streamed: StreamBytes
    row_bytes: int
    plane_bytes: int


@kernel
def _gradient_bytes(array: Any, problem: Any, pattern: Any, stream_blocks: int, taps: int) -> int:
    """DRAM bytes to store all weight gradients: whole bursts of each piece of a plane of the gradient tensor."""
    tap_bytes = array.lanes * array.lanes * problem.result_element_bytes
    block, total = pattern.n_taps * tap_bytes, 0
    if taps == pattern.n_taps:
        return problem.result_blocks * pieces_bytes(problem.stream_blocks, block, array.burst_bytes, stream_blocks)
    for s in range(problem.stream_blocks):
        for t in range(0, pattern.n_taps, taps):
            end = min(t + taps, pattern.n_taps)
            total += burst_bytes_of(s * block + t * tap_bytes, s * block + end * tap_bytes, array.burst_bytes)
    return problem.result_blocks * total


@kernel
def _pass_of(array: Any, problem: Any, pattern: Any, allotment: Allotment) -> GradientPass:
    columns = array.clusters // (allotment.split * allotment.sample_parts) * allotment.stream_slices
    stream_blocks = stream_blocks_of(array, problem, columns)
    result_blocks = blocks_of(problem, allotment, allotment.split)
    n_passes = ceil_quotient(problem.stream_blocks, stream_blocks) * ceil_quotient(problem.result_blocks, result_blocks)
    return GradientPass(
        allotment, stream_blocks, result_blocks, gradient_rates(array, problem, allotment),
        n_passes * ceil_quotient(pattern.n_taps, allotment.taps), _gradient_bytes(array, problem, pattern, stream_blocks, allotment.taps),
    )  # fmt: skip


@kernel
def _fitting_samples(array: Any, problem: Any, pattern: Any, work: GradientPass, rows: int, streamed: StreamBytes) -> int:
    """Samples of the largest band of so many rows whose pieces of both operands fit half of their buffers, in equal shares; 0 if none does,
    or if the results do not fit the error buffer."""
    results = work.stream_blocks * work.result_blocks * work.allotment.taps * array.lanes * array.lanes * problem.result_element_bytes
    if results > array.error_bytes:
        return 0
    stationary = work.result_blocks * rows * bytes_of_vectors(pattern.out_width, problem.stationary_vector_bits)
    streaming = problem.batch if array.bypasses else array.activation_bytes // max(work.stream_blocks * streamed.largest, 1)
    room = min(streaming, array.weight_bytes // stationary)
    samples = problem.batch if rows == pattern.out_height else 1
    while samples > room:
        samples = next_share(problem.batch, samples) if rows == pattern.out_height else 0
    return samples


@kernel
def _movement(
    array: Any, problem: Any, pattern: Any, pins: Any, work: GradientPass, bands: GradientBands, outer: int
) -> Movement:
    """What an order of the loops moves; what fits its buffer stays there, unless it is pinned that it does not."""
    batch, tap_rounds = problem.batch, ceil_quotient(pattern.n_taps, work.allotment.taps)
    stream_piece = work.stream_blocks if outer else problem.stream_blocks
    stationary_piece = problem.result_blocks if outer else work.result_blocks
    fits_whole = not array.bypasses and batch * bands.streamed.held * stream_piece <= array.activation_bytes
    stream_resident = pins.stream_resident != 0 and fits_whole
    stationary_bytes = batch * pattern.rows * bands.row_bytes * stationary_piece
    stationary_resident = pins.stationary_resident != 0 and stationary_bytes <= array.weight_bytes
    streamed, kept = problem.stream_blocks * batch * bands.streamed.loaded, problem.result_blocks * batch * bands.plane_bytes
    if not stream_resident:
        streamed *= ceil_quotient(problem.result_blocks, work.result_blocks) * tap_rounds
    if not stationary_resident:
        kept *= ceil_quotient(problem.stream_blocks, work.stream_blocks) * tap_rounds
    return Movement(outer, stream_resident, stationary_resident, streamed, kept, problem.stream_blocks)


@kernel
def _cycles(
    array: Any, problem: Any, work: GradientPass, moved: Movement, array_cycles: float, stream: Buffering, stationary: Buffering
) -> float:
    """Whole cycles of the operation if the array takes ``array_cycles``, and its operands come as they do."""
    tile_bytes = work.stream_blocks * work.result_blocks * work.allotment.taps * array.lanes * array.lanes * problem.result_element_bytes
    dma_bytes = float(moved.streamed), float(moved.kept), 0.0, float(work.stored_bytes)
    held = max(2 * array.error_bytes // tile_bytes, 1)
    demand = Demand(work.n_passes, 1, 0, 1, array_cycles, dma_bytes, (stream, stationary), held, 0.0, 1.0, 0.0, problem.batch)
    return float(ceil(operation_cycles(array, Follow(0, 0.0, 0.0, 0.0, 0.0, False, False, False), demand)))


@kernel
def _least_fed_cycles(
    array: Any, links: Any, problem: Any, pattern: Any, work: GradientPass, bands: GradientBands, cuts_rows: bool
) -> float:
    """A bound on what feeds a pass: all pixels of the stationary operand, and all rows of the streamed one, in one run without a word that
    is not full. Parts of rows, and rows of which a tile reads fewer than its band, are not counted."""
    asked, parts, word_bytes = work.rates, work.allotment.sample_parts, array.word_bytes
    stationary = problem.batch * pattern.rows * pattern.cols * problem.stationary_vector_bits / (8 * word_bytes)
    streamed = 0.0
    if is_read_whole(pattern) and not cuts_rows:
        n_rows = ceil_quotient(pattern.rows, bands.rows) * operand_row_count(pattern, 0, min(bands.rows, pattern.rows))
        streamed = problem.batch * n_rows * bytes_of_vectors(pattern.in_width, problem.stream_vector_bits) / word_bytes
    fed = fed_cycles(
        array, links, asked.stream_routes, asked.stationary_routes, asked.stream_words * streamed / parts,
        asked.stationary_words * stationary / parts,
    )  # fmt: skip
    return fed * (1 - 1e-9)  # sums in another order are not larger


@routine
def _least_cost(
    array: Any, links: Any, problem: Any, pattern: Any, work: GradientPass, bands: GradientBands, moved: Movement, cuts_rows: bool
) -> Cost:
    """A bound: operands that never wait, in pieces so small that nothing waits for them, and pixels in equal shares."""
    asked = work.rates
    compute = asked.compute_cycles * (problem.batch * pattern.rows * pattern.cols / (array.gradient_lanes * work.allotment.sample_parts))
    compute = max(compute, _least_fed_cycles(array, links, problem, pattern, work, bands, cuts_rows))
    array_cycles = work.n_passes * (compute + asked.drain_cycles if asked.waits else max(compute, asked.drain_cycles))
    at_hand = Buffering(10**9, 0)
    return Cost(_cycles(array, problem, work, moved, array_cycles, at_hand, at_hand), moved.streamed + moved.kept, array_cycles)


@kernel
def _fits(array: Any, problem: Any, pattern: Any, work: GradientPass, tile: TileShape) -> bool:
    """Whether a tile of either operand fits half of its scratchpad; the psums do not limit its pixels."""
    own_blocks = stream_blocks_of(array, problem, work.allotment.stream_slices)
    streamed = bytes_of_vectors(scratchpad_pixels(array, pattern, tile.samples, tile.pixels, tile.by_row), problem.stream_vector_bits)
    pixels = array.gradient_lanes * ceil_quotient(max(tile.samples, 1) * tile.pixels, array.gradient_lanes)
    own_results = work.allotment.result_slices * work.allotment.slice_blocks
    stationary = bytes_of_vectors(own_results * pixels, problem.stationary_vector_bits)
    return own_blocks * streamed <= array.stream_scratchpad_bytes and stationary <= array.stationary_scratchpad_bytes


@kernel
def _tiled_cost(
    array: Any, links: Any, problem: Any, pattern: Any, work: GradientPass, bands: GradientBands, moved: Movement,
    shape: TileShape, samples: int,
) -> Cost:  # fmt: skip
    """With tiles of a shape, in bands of so many samples. The first chunk is fed beside the last one of the BP before, which is
    short: it counts as if nothing were multiplied meanwhile, where operands are sent before at all."""
    n_bands = problem.batch / samples * ceil_quotient(pattern.rows, bands.rows)
    on_array = gradient_cycles(array, links, problem, pattern, shape, work.allotment, work.rates, samples, bands.rows, n_bands)
    n_pieces = work.n_passes * ceil_quotient(problem.batch, samples) * ceil_quotient(pattern.out_height, bands.rows)
    streamed = max(samples * work.stream_blocks * bands.streamed.largest, 1)
    stationary = samples * work.result_blocks * bands.rows * bands.row_bytes
    stream = Buffering(n_pieces, 0 if moved.stream_resident or array.bypasses else max(2 * array.activation_bytes // streamed, 1))
    held = Buffering(n_pieces, 0 if moved.stationary_resident else max(2 * array.weight_bytes // stationary, 1))
    ends = pass_ends(array, links, problem, pattern, shape, work.allotment, work.rates, samples, bands.rows)
    alone = min(ends.fed_cycles, ends.chunk_cycles) if array.prefetches else 0.0
    array_cycles = work.n_passes * on_array + alone
    return Cost(_cycles(array, problem, work, moved, array_cycles, stream, held), moved.streamed + moved.kept, array_cycles)


@routine
def _order(
    array: Any, links: Any, problem: Any, pattern: Any, pins: Any, pin: Any, work: GradientPass, bands: GradientBands,
    moved: Movement, choices: Any, shapes: Any,
) -> bool:  # fmt: skip
    """Work out one order of the loops with its fastest tiles; whether any fits."""
    best, found, samples, pixels, by_row, shape = Cost(inf, 0, inf), 0, problem.batch + 1, 0, 0, shapes[len(choices), 0]
    while True:
        if by_row:
            pixels = next_part_of_row(array, pattern, pixels, pixels)
        else:
            samples, pixels = next_shape(array, pattern, problem.batch, problem.batch * pattern.rows * pattern.cols, samples, pixels)
            if not pixels and may_cut_rows(pin):
                by_row, pixels = 1, next_part_of_row(array, pattern, pattern.cols, pattern.cols)
        if not pixels:
            break
        band_samples = min(max(samples, 1) * work.allotment.sample_parts, bands.samples)
        is_asked = matches(pins.band_samples, band_samples) and matches(pin[0], samples) and matches(pin[1], pixels)
        tile = TileShape(samples, pixels, 1, 0, by_row)
        if not is_asked or not matches(pin[4], by_row) or not _fits(array, problem, pattern, work, tile):
            continue
        cost = _tiled_cost(array, links, problem, pattern, work, bands, moved, tile, band_samples)
        if cost.cycles < best.cycles or (cost.cycles == best.cycles and cost.array_cycles < best.array_cycles):
            best, found = cost, band_samples
            shape[0], shape[1], shape[2], shape[3], shape[4] = tile
    if found:
        keep(choices, shapes, best, work.allotment, found, bands.rows, moved)
    return found > 0


@routine
def _orders_of_pass(
    array: Any, links: Any, problem: Any, patterns: Any, pins: Any, pin: Any, work: GradientPass, sizes: Any, choices: Any,
    shapes: Any, first_only: bool,
) -> bool:  # fmt: skip
    """Work out both orders of the loops with bands of each kind, as far as they may be among the best; whether one fits, if one will
    do. ``sizes`` [sizes, fields]: those of bands."""
    pattern = patterns[0]
    row_bytes = bytes_of_vectors(pattern.cols, problem.stationary_vector_bits)
    for outer in range(2):
        for i in range(len(sizes)):
            rows, streamed, plane_bytes = sizes[i, 0], StreamBytes(sizes[i, 1], sizes[i, 2], sizes[i, 3]), sizes[i, 4]
            samples = _fitting_samples(array, problem, pattern, work, rows, streamed)
            if samples:
                bands = GradientBands(samples, rows, streamed, row_bytes, plane_bytes)
                moved = _movement(array, problem, pattern, pins, work, bands, outer)
                if not is_pinned_so(pins, moved):
                    continue
                least = _least_cost(array, links, problem, pattern, work, bands, moved, may_cut_rows(pin))
                is_asked = not is_beaten(choices, least)
                if is_asked and _order(array, links, problem, pattern, pins, pin, work, bands, moved, choices, shapes) and first_only:
                    return True
    return False


@procedure
def gradient_plans(
    array: Any, links: Any, link_ends: Any, problem: Any, patterns: Any, splits: Any, pins: Any, pinned_tiles: Any, space: Any,
    choices: Any, shapes: Any, first_only: bool,
) -> None:  # fmt: skip
    """Fill ``choices`` with the best mappings of a WG operation, the best first (`etasim.schedule.choices.room_for`).

    ``splits`` [splits, 2]: rows of clusters, and parts of the samples; ``links[link_ends[i - 1] : link_ends[i]]``: links of split i.
    Considered are all result and stream slices whose sums fit the psums, and bands of whole samples or of a half, a quarter ... of the
    rows of one, as far as ``pins`` (`PinNumbers`) and ``pinned_tiles`` [1, fields of `TileShape`, those of chunks free] let them.
    ``first_only``: any that fits will do. ``space``: `etasim.schedule.rounds.Workspace`.
    """
    pattern, sizes = patterns[0], space.sizes[: sizes_of_bands(array, problem, patterns, pins.band_rows, space.sizes)]
    limit = array.gradient_psum_depth // min(pattern.n_taps, array.gradient_psum_depth)
    taps = ceil_quotient(pattern.n_taps, ceil_quotient(pattern.n_taps, array.gradient_psum_depth))
    result_total = ceil_quotient(problem.result_blocks, array.pes // array.lanes)
    stream_total = ceil_quotient(problem.stream_blocks, array.gradient_columns // array.lanes)
    for i in range(len(splits)):
        split, parts, uses = splits[i, 0], splits[i, 1], links[link_ends[i] : link_ends[i + 1]]
        for result_slices in range(1, min(limit, ceil_quotient(result_total, split)) + 1):
            most = min(limit // result_slices, ceil_quotient(stream_total, array.clusters // (split * parts)))
            for stream_slices in range(most, 0, -1):
                if not matches(pins.result_slices, result_slices) or not matches(pins.stream_slices, stream_slices):
                    continue
                blocks = first_blocks(array, problem, pins, split, result_slices)
                while blocks:
                    work = _pass_of(array, problem, pattern, Allotment(split, parts, result_slices, blocks, stream_slices, taps))
                    if _orders_of_pass(array, uses, problem, patterns, pins, pinned_tiles[0], work, sizes, choices, shapes, first_only):
                        return
                    blocks = fewer_blocks(pins, result_slices, blocks)
