"""Mappings of FF and BP: results stay in the psums. All that fit are worked out, compiled; `etasim.schedule.plan` asks for the best."""

from math import ceil, inf
from typing import Any

from etasim.core.jit import kernel, procedure, routine
from etasim.schedule.array_time import blocks_of
from etasim.schedule.bounds import fewer_blocks, first_blocks, is_considered, least_cycles, most_promising
from etasim.schedule.choices import ANY_BYTES, OUTERS, Cost, Movement, is_beaten, is_pinned_so, keep, matches
from etasim.schedule.overlap import Buffering, Demand, operation_cycles
from etasim.schedule.problem import Allotment, Follow
from etasim.schedule.result_tiles import ResultBands, comes_in_parts, count_bands, fastest_tiles
from etasim.schedule.rounds import StreamBytes, block_weight_bytes, ceil_quotient, next_share, sizes_of_bands, weight_bytes_of


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
def _follow_of(problem: Any, at_once: bool) -> Follow:
    """What follows results at once; if nothing does, they are stored."""
    own = problem.follow
    if at_once:
        return Follow(
            own.passes, own.lane_operations, own.load_bits, own.store_bits, own.held_bits, own.is_hidden, own.in_pieces, own.core_is_next
        )  # fmt: skip
    return Follow(0, 0.0, 0.0, 8.0 * problem.result_element_bytes, 0.0, False, False, own.core_is_next)


@kernel
def _room(array: Any, problem: Any, patterns: Any, round_blocks: int, reduction_blocks: int, rows: int, streamed: StreamBytes) -> int:
    """Samples of ``rows`` rows of which ``reduction_blocks`` of the operand fit half of the activation buffer, and whose results fit the
    error buffer with what follows them."""
    operand = 0 if array.bypasses else reduction_blocks * streamed.largest
    results = round_blocks * rows * patterns[0].out_width * array.lanes * _held_bits(problem, patterns, rows) / 8
    return min(array.activation_bytes // max(operand, 1), int(2 * array.error_bytes / results))


@kernel
def _movement(array: Any, problem: Any, patterns: Any, pins: Any, bands: ResultBands, outer: int) -> Movement:
    """How often the operands are loaded; what fits its buffer stays there, unless it is pinned that it does not. What comes in parts comes
    again for every pass."""
    stream_bytes_held = problem.stream_blocks * problem.batch * bands.streamed.held
    stream_resident = not array.bypasses and pins.stream_resident != 0 and stream_bytes_held <= array.activation_bytes
    weight_bytes = problem.result_blocks * block_weight_bytes(array, problem, problem.stream_blocks)
    stationary_resident = pins.stationary_resident != 0 and weight_bytes <= array.weight_bytes
    n_rounds, n_bands = ceil_quotient(problem.result_blocks, bands.round_blocks), count_bands(problem, patterns, bands.samples, bands.rows)
    in_parts = comes_in_parts(problem, bands)
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
        (0.0, 0.0, loaded, stored), (Buffering(0, 0), Buffering(0, 0)), 2, 0.0, 1.0 - 1.0 / problem.batch, 0.0, problem.batch,
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
    n_bands = count_bands(problem, patterns, bands.samples, bands.rows)
    n_rounds = ceil_quotient(problem.result_blocks, bands.round_blocks)
    tile_bytes = bands.samples * bands.round_blocks * bands.rows * patterns[0].out_width * array.lanes
    held = int(2 * array.error_bytes / (tile_bytes * _held_bits(problem, patterns, bands.rows) / 8))
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
        n_bands * n_rounds, n_rounds, n_elements, problem.result_element_bytes, array_cycles, dma_bytes, loads, held, 0.0, covered,
        _hidden_cycles(array, problem, patterns), problem.batch,
    )  # fmt: skip
    cycles = operation_cycles(array, follow, demand)
    return float(ceil(cycles if at_once else cycles + _detour_cycles(array, problem, n_elements)))


@kernel
def _limit(array: Any, problem: Any, patterns: Any, bands: ResultBands, choices: Any) -> float:
    """Array cycles with which an operation is certainly beaten: it takes no less than its array, and what is done apart."""
    apart = 0.0
    if not _follows_at_once(problem, patterns, bands.rows):
        apart = _detour_cycles(array, problem, _n_elements(array, problem, patterns))
    worst: float = choices[len(choices) - 1].cycles
    return worst - apart + 2.0  # more than whole cycles and sums in another order can make a difference


ORDERS = OUTERS.index("stream"), OUTERS.index("stationary")
"""Of two that take as long the first wins: samples are whole one after the other, so that who reads them begins sooner, and so does this
operation behind one that makes its samples slowly."""


@routine
def _both_orders(
    array: Any, links: Any, problem: Any, patterns: Any, pins: Any, pinned_tiles: Any, bands: ResultBands, least: float, rounds: Any,
    choices: Any, shapes: Any,
) -> bool:  # fmt: skip
    """Work out both orders of the loops, as far as they may be among the best; whether one is. ``least``: a bound on the array's cycles."""
    array_cycles = -1.0
    for outer in ORDERS:
        moved = _movement(array, problem, patterns, pins, bands, outer)
        if not is_pinned_so(pins, moved):
            continue
        dram_bytes = moved.streamed + moved.kept
        if is_beaten(choices, Cost(_cycles(array, problem, patterns, bands, moved, least), dram_bytes, least)):
            continue
        if array_cycles < 0.0:
            limit = _limit(array, problem, patterns, bands, choices)
            array_cycles = fastest_tiles(array, links, problem, patterns, pinned_tiles, bands, limit, shapes[len(choices)], rounds)
            if array_cycles == inf:
                return False
        cost = Cost(_cycles(array, problem, patterns, bands, moved, array_cycles), dram_bytes, array_cycles)
        keep(choices, shapes, cost, bands.allotment, bands.samples, bands.rows, moved)
    return array_cycles >= 0.0


@routine
def _all_bands(
    array: Any, links: Any, problem: Any, patterns: Any, pins: Any, pinned_tiles: Any, allotment: Allotment, reduction_blocks: int,
    sizes: Any, rounds: Any, choices: Any, shapes: Any, first_only: bool,
) -> bool:  # fmt: skip
    """Work out all bands of an allotment whose operands come in parts of so many blocks, if they fit; whether one does, if one will do.
    ``sizes`` [sizes, fields]: those of bands."""
    round_blocks = blocks_of(problem, allotment, allotment.split)
    height = patterns[0].out_height
    is_asked = matches(pins.reduction_blocks, reduction_blocks)
    if not is_asked or round_blocks * block_weight_bytes(array, problem, reduction_blocks) > array.weight_bytes:
        return False
    if least_cycles(array, problem, patterns, pinned_tiles, allotment, problem.batch, height) > choices[len(choices) - 1].cycles:
        return False
    weight_bytes = weight_bytes_of(array, problem, round_blocks, reduction_blocks)
    for i in range(len(sizes)):
        rows, streamed = sizes[i, 0], StreamBytes(sizes[i, 1], sizes[i, 2], sizes[i, 3])
        room = _room(array, problem, patterns, round_blocks, reduction_blocks, rows, streamed)
        samples = problem.batch if rows == height else 1
        while samples:
            bands = ResultBands(allotment, round_blocks, samples, rows, streamed, reduction_blocks, weight_bytes)
            is_asked = samples <= room and matches(pins.band_samples, samples)
            if is_asked:
                least = least_cycles(array, problem, patterns, pinned_tiles, allotment, samples, rows)
                fits = _both_orders(array, links, problem, patterns, pins, pinned_tiles, bands, least, rounds, choices, shapes)
                if fits and first_only:
                    return True
            samples = next_share(problem.batch, samples) if rows == height else 0
    return False


@routine
def _all_parts(
    array: Any, links: Any, problem: Any, patterns: Any, pins: Any, pinned_tiles: Any, allotment: Allotment, sizes: Any, rounds: Any,
    choices: Any, shapes: Any, first_only: bool,
) -> bool:  # fmt: skip
    """Work out all bands of an allotment with the operands of the whole reduction at a time, of half of it, a quarter ...; whether one
    fits, if one will do."""
    blocks = problem.stream_blocks
    while blocks:
        if _all_bands(array, links, problem, patterns, pins, pinned_tiles, allotment, blocks, sizes, rounds, choices, shapes, first_only):
            return True
        blocks = ceil_quotient(blocks, 2) if blocks > 1 else 0
    return False


@procedure
def result_plans(
    array: Any, links: Any, link_ends: Any, problem: Any, patterns: Any, splits: Any, pins: Any, pinned_tiles: Any, space: Any,
    choices: Any, shapes: Any, first_only: bool,
) -> None:  # fmt: skip
    """Fill ``choices`` with the best mappings of an FF or BP operation, the best first (`etasim.schedule.choices.room_for`).

    ``splits`` [splits, 2]: rows of clusters, and 1; ``links[link_ends[i - 1] : link_ends[i]]``: links of split i. Considered are 1, 2, 4
    ... result slices or all, the operands of all streamed blocks or of a half, a quarter ... of them at a time, and bands of equal shares
    of the batch, or of a half, a quarter ... of the rows of a sample, as far as ``pins`` (`PinNumbers`) and ``pinned_tiles`` [patterns,
    fields of `TileShape`] let them. ``first_only``: any that fits will do. ``space``: `etasim.schedule.rounds.Workspace`.
    """
    n_slices = ceil_quotient(problem.result_blocks, array.pes // array.lanes)
    rounds, sizes = space.rounds, space.sizes[: sizes_of_bands(array, problem, patterns, pins.band_rows, space.sizes)]
    if len(choices) == 1 and not first_only:
        which, first = most_promising(array, problem, patterns, pins, pinned_tiles, splits)
        if which >= 0:
            uses = links[link_ends[which] : link_ends[which + 1]]
            blocks = problem.stream_blocks
            _all_bands(array, uses, problem, patterns, pins, pinned_tiles, first, blocks, sizes, rounds, choices, shapes, False)
        choices[0].dram_bytes = ANY_BYTES  # a bound: it is found again in its place, and what takes as long and comes before it first
    for i in range(len(splits)):
        split, uses = splits[i, 0], links[link_ends[i] : link_ends[i + 1]]
        most = ceil_quotient(n_slices, split)
        for result_slices in range(1, min(array.psum_depth, most) + 1):
            if not is_considered(pins, most, result_slices):
                continue
            blocks = first_blocks(array, problem, pins, split, result_slices)
            while blocks:
                allotment = Allotment(split, 1, result_slices, blocks, 1, 0)
                if _all_parts(array, uses, problem, patterns, pins, pinned_tiles, allotment, sizes, rounds, choices, shapes, first_only):
                    return
                blocks = fewer_blocks(pins, result_slices, blocks)
