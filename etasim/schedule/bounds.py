"""Bounds below which no mapping of FF or BP stays on the array, from its allotment and bands: what is beaten by them is not worked out."""

from math import inf
from typing import Any

from etasim.core.jit import kernel, routine
from etasim.schedule.array_time import blocks_of, meeting_cycles
from etasim.schedule.choices import matches
from etasim.schedule.problem import Allotment
from etasim.schedule.rates import PSUM, STATIONARY, STREAM
from etasim.schedule.rounds import bytes_of_vectors, ceil_quotient, is_read_whole, may_cut_rows, operand_row_count


@kernel
def _least_rows(pattern: Any) -> int:
    """A bound on the operand rows that bands of a sample read, however it is cut: bands are counted as the first of those that are alike,
    and at a border of padding that reads less."""
    if not is_read_whole(pattern):
        return 0
    first, last = operand_row_count(pattern, 0, 1), operand_row_count(pattern, pattern.rows - 1, pattern.rows)
    of_a_row = min(first, last, pattern.in_step_y // pattern.row_step)
    return min(operand_row_count(pattern, 0, pattern.rows), pattern.rows * of_a_row)


@kernel
def _pieces(problem: Any, pattern: Any, samples: int, rows: int, most: int) -> int:
    """Pieces of at most ``most`` pixels that bands of ``samples`` samples, or of ``rows`` rows of one, have at the least."""
    if rows == pattern.out_height:
        n, plane, own = 1, pattern.rows * pattern.cols, samples
        whole, rest = problem.batch // own, problem.batch % own
    else:
        n, plane = problem.batch, pattern.cols
        own = max(rows // pattern.out_step_y if rows % pattern.out_step_y == 0 else pattern.rows, 1)
        whole, rest = pattern.rows // own, pattern.rows % own
    return n * (whole * ceil_quotient(own * plane, most) + ceil_quotient(rest * plane, most))


@kernel
def least_fed_cycles(array: Any, problem: Any, pattern: Any, allotment: Allotment, samples: int, rows: int, cuts_rows: bool) -> float:
    """A bound on what feeds FF or BP for a round of result slices: all rows of the streamed operand once, and all weights for each round of
    tiles, without a word that is not full. Parts of rows, and rows that lie between those of tiles, are not counted."""
    rates, split = array.rates, allotment.split
    most_pixels = array.psum_depth // allotment.result_slices * array.columns * (array.clusters // split)
    n_rounds = _pieces(problem, pattern, samples, rows, most_pixels)
    vector = bytes_of_vectors(array.lanes, problem.stationary_vector_bits)
    n_blocks = n_rounds * blocks_of(problem, allotment, split)
    weights = n_blocks * problem.stream_blocks * pattern.n_taps * vector / array.word_bytes
    streamed = 0.0
    if pattern.n_taps and not cuts_rows:
        copies, n_rows = 1 if array.multicast else split, _least_rows(pattern)
        row_words = bytes_of_vectors(pattern.in_width, problem.stream_vector_bits) / array.word_bytes
        streamed = copies * problem.stream_blocks * problem.batch * n_rows * row_words
    stream_cycles, weight_cycles = streamed * rates.packet_cycles[STREAM], weights * rates.packet_cycles[STATIONARY]
    if not (rates.meeting_flit_cycles and array.multicast):
        return max(stream_cycles, weight_cycles)
    flits = streamed * array.packet_flits[STREAM], weights * array.packet_flits[STATIONARY]
    each = stream_cycles / max(flits[0], 1.0), weight_cycles / max(flits[1], 1.0)
    return meeting_cycles(flits[0], each[0], flits[1], each[1], rates.meeting_flit_cycles)


@kernel
def least_cycles(array: Any, problem: Any, patterns: Any, pinned_tiles: Any, allotment: Allotment, samples: int, rows: int) -> float:
    """A bound on the array's cycles in bands of ``samples`` samples, or of ``rows`` rows: of each pattern psums that are as full as a band
    fills them, or what is fed and drained by itself."""
    split, slices, total = allotment.split, allotment.result_slices, 0.0
    columns = array.columns * (array.clusters // split)
    for i in range(len(patterns)):
        n_pixels = problem.batch * patterns[i].rows * patterns[i].cols
        compute = slices * max(problem.stream_blocks * patterns[i].n_taps, 1) * _pieces(problem, patterns[i], samples, rows, columns)
        fed = least_fed_cycles(array, problem, patterns[i], allotment, samples, rows, may_cut_rows(pinned_tiles[i]))
        n_bytes = n_pixels * blocks_of(problem, allotment, split) * array.lanes * problem.result_element_bytes
        drained = n_bytes / array.word_bytes * array.rates.packet_cycles[PSUM] / min(array.error_ports, array.clusters)
        total += max(float(compute), (1 - 1e-9) * max(fed, drained))  # sums in another order are not larger
    return ceil_quotient(problem.result_blocks, blocks_of(problem, allotment, split)) * total


@kernel
def is_considered(pins: Any, most: int, result_slices: int) -> bool:
    """Whether clusters that need ``most`` result slices may hold so many at a time: 1, 2, 4 ... or all, if they are not pinned."""
    return (result_slices & (result_slices - 1) == 0 or result_slices == most) and matches(pins.result_slices, result_slices)


@kernel
def first_blocks(array: Any, problem: Any, pins: Any, split: int, result_slices: int) -> int:
    """Blocks of a slice that are considered first: all that the PEs cover, but of a single slice no more than an equal share of the rows of
    clusters; or as many as are pinned, 0 if so many cannot be."""
    pe_blocks: int = array.pes // array.lanes
    if pins.slice_blocks >= 0:
        return pins.slice_blocks if pins.slice_blocks == pe_blocks or (pins.slice_blocks < pe_blocks and result_slices == 1) else 0
    return min(pe_blocks, ceil_quotient(problem.result_blocks, split)) if result_slices == 1 else pe_blocks


@kernel
def fewer_blocks(pins: Any, result_slices: int, blocks: int) -> int:
    """Half of the ``blocks`` of a single slice: PEs are idle, but a tile is sooner there, and the next is multiplied beside what follows
    it. 0 if there are no fewer."""
    return ceil_quotient(blocks, 2) if blocks > 1 and result_slices == 1 and pins.slice_blocks < 0 else 0


@routine
def most_promising(array: Any, problem: Any, patterns: Any, pins: Any, pinned_tiles: Any, splits: Any) -> tuple[int, Allotment]:
    """The allotment of the least bound with whole slices, and the number of its split; -1 if none is considered."""
    pe_blocks = array.pes // array.lanes
    which, best, least, n_slices = -1, Allotment(1, 1, 1, pe_blocks, 1, 0), inf, ceil_quotient(problem.result_blocks, pe_blocks)
    for i in range(len(splits)):
        most = ceil_quotient(n_slices, splits[i, 0])
        for result_slices in range(1, min(array.psum_depth, most) + 1):
            allotment = Allotment(splits[i, 0], 1, result_slices, first_blocks(array, problem, pins, splits[i, 0], result_slices), 1, 0)
            if is_considered(pins, most, result_slices) and allotment.slice_blocks:
                found = least_cycles(array, problem, patterns, pinned_tiles, allotment, problem.batch, patterns[0].out_height)
                if found < least:
                    which, best, least = i, allotment, found
    return which, best
