"""The array's time in closed form: chunks of a pass, the rounds of passes that the clusters take side by side, and what drains.

Chunk follows chunk as slowly as its slowest: multiplying, or feeding one of its operands. A chunk is fed while the one before it is
multiplied, into the half of the scratchpads that the one before that has left, so two chunks take no less than that feed's way and time,
and the time to multiply.

All of it is compiled: the planner works out every choice with it. ``array`` is an `ArraySizes` as kernels see it (`numbers`), ``problem``
a `ProblemNumbers`, ``pattern`` a record of `PATTERN`; ``links`` [links, 2]: `etasim.schedule.rates.link_uses` of the split.
"""

from math import sqrt
from typing import Any, NamedTuple

from etasim.core.jit import kernel, procedure, routine
from etasim.schedule.problem import Allotment, TileShape
from etasim.schedule.rates import PSUM, STATIONARY, STREAM
from etasim.schedule.rounds import (
    Round,
    bytes_of_vectors,
    ceil_quotient,
    common_divisor,
    count_rounds,
    dealt,
    first_round,
    tile_round,
    words_of_run,
)  # fmt: skip

Links = Any
"""int64 [links, 2]."""


@kernel
def side_by_side(first: float, second: float) -> float:
    """Cycles of two parts that work side by side, with little between them to even out who waits for whom: their 8-norm. Two that are
    equally slow wait for each other now and then, and take a twelfth longer than either; beside one that is twice as slow the other takes
    nothing."""
    most = max(first, second)
    if most == 0.0:
        return 0.0
    share = min(first, second) / most
    square = share * share
    return most * sqrt(sqrt(sqrt(1.0 + square * square * square * square)))


@kernel
def chunk_cycles(rates: Any, compute: float, fed: float, sweep: float, first_fed: float) -> float:
    """Cycles from chunk to chunk in the steady state: to multiply it, or to feed the slower of its operands in ``fed``, of which the last
    word begins the last ``sweep`` cycles; or half the loop through both halves of the scratchpads, in which a chunk multiplies after
    ``first_fed``, to send a cluster what its first sweep waits for."""
    loop = rates.loop_cycles + max(fed + sweep, first_fed + compute)
    return max(side_by_side(compute, fed), loop / 2)


@kernel
def meeting_cycles(first: float, first_cycles: float, second: float, second_cycles: float, link_cycles: float) -> float:
    """Cycles in which flits of two flows cross a link that both need and that takes one in ``link_cycles``, each flow no faster than one
    in so many cycles by itself.

    They take turns while both last, unless one is slower than every other flit: the other then has what it leaves.
    """
    slower = max(first_cycles, second_cycles)
    shared = 2.0 * link_cycles if slower < 2.0 * link_cycles else slower * link_cycles / (slower - link_cycles)
    first_shared, second_shared = max(first_cycles, shared), max(second_cycles, shared)
    together = min(first * first_shared, second * second_shared)
    first_left, second_left = first - together / first_shared, second - together / second_shared
    return together + max(first_left * first_cycles, second_left * second_cycles)


@routine
def fed_cycles(array: Any, links: Links, n_streams: int, n_stationary: int, stream_words: float, stationary_words: float) -> float:
    """Cycles to feed a chunk of so many words on each of the routes of both operands: the slower feeder, or the busiest link.

    A feeder serves its routes one after the other, and every cluster is on a route of each: the two always meet on the way to a cluster,
    where a multicast waits, and with it all that comes behind it.
    """
    rates = array.rates
    most = max(n_streams * stream_words * rates.packet_cycles[STREAM], n_stationary * stationary_words * rates.packet_cycles[STATIONARY])
    if rates.meeting_flit_cycles == 0.0 or min(stream_words, stationary_words) == 0.0:
        return most
    stream, stationary = stream_words * array.packet_flits[STREAM], stationary_words * array.packet_flits[STATIONARY]
    for i in range(len(links)):
        flits = min(links[i, 0], n_streams) * stream + min(links[i, 1], n_stationary) * stationary
        most = max(most, flits * rates.meeting_flit_cycles)
    if array.multicast:
        flit_cycles = rates.packet_cycles[STREAM] / array.packet_flits[STREAM]
        other_cycles = rates.packet_cycles[STATIONARY] / array.packet_flits[STATIONARY]
        met = meeting_cycles(n_streams * stream, flit_cycles, n_stationary * stationary, other_cycles, rates.meeting_flit_cycles)
        most = max(most, met)
    return most


@kernel
def tap_group_count(n_taps: int, width: int, most: int) -> int:
    """How many rectangular groups of at most ``most`` taps: whole kernel rows of ``width``, one at the least, or pieces of a row."""
    if most >= width:
        return ceil_quotient(n_taps // width, most // width)
    return n_taps // width * ceil_quotient(width, most)


@kernel
def blocks_of(problem: Any, allotment: Allotment, rows: int) -> int:
    """Result blocks that so many rows of clusters hold; the PEs without one receive nothing and drain nothing."""
    return min(rows * allotment.result_slices * allotment.slice_blocks, problem.result_blocks)


@kernel
def weight_words(array: Any, problem: Any, pattern: Any, shape: TileShape, n_blocks: int, n_parts: float) -> float:
    """Words of the weights of a chunk of ``n_parts`` streamed blocks for a row of clusters of ``n_blocks``; what follows in memory is one
    run."""
    n_groups = tap_group_count(pattern.n_taps, pattern.tap_columns, shape.taps_per_chunk)
    run_taps = min(pattern.run_columns, shape.taps_per_chunk)
    if pattern.rows_adjoin and shape.taps_per_chunk >= pattern.tap_columns:
        run_taps = pattern.tap_columns * (min(shape.taps_per_chunk, pattern.n_taps) // pattern.tap_columns)
    n_runs = n_blocks * n_parts * pattern.n_taps / (run_taps * n_groups)
    run_bytes = run_taps * bytes_of_vectors(array.lanes, problem.stationary_vector_bits)
    return n_runs * words_of_run(run_bytes, run_bytes, array.word_bytes)


class Chunks(NamedTuple):
    """The chunks of a pass of FF or BP: how many, streamed blocks of each, words of its weights for a cluster, result slices."""

    n_chunks: int
    n_parts: float
    weight_words: float
    slices: int


@routine
def chunks_of(array: Any, problem: Any, pattern: Any, shape: TileShape, allotment: Allotment) -> Chunks:
    """The chunks of a pass; one without weights where a pattern has no taps."""
    if not pattern.n_taps:
        return Chunks(1, float(problem.stream_blocks), 0.0, allotment.result_slices)
    n_groups = tap_group_count(pattern.n_taps, pattern.tap_columns, shape.taps_per_chunk)
    n_chunks = ceil_quotient(problem.stream_blocks, shape.slices_per_chunk) * n_groups
    n_parts = problem.stream_blocks / n_chunks * n_groups
    words = weight_words(array, problem, pattern, shape, blocks_of(problem, allotment, 1), n_parts)
    return Chunks(n_chunks, n_parts, words, allotment.result_slices)


@kernel
def chunk_compute_cycles(problem: Any, pattern: Any, chunks: Chunks, groups: int) -> float:
    """Cycles to multiply a chunk of FF or BP with so many groups of pixels."""
    return problem.stream_blocks * chunks.slices * pattern.n_taps * groups / chunks.n_chunks


@kernel
def chunk_fed_cycles(array: Any, links: Links, split: int, chunks: Chunks, tiles: Round) -> float:
    """Cycles to feed a chunk of FF or BP to all clusters of a round; without multicast each is sent its own copy."""
    stream = (1 if array.multicast else split) * chunks.n_parts * tiles.stream_words / tiles.n_tiles
    weights = (1 if array.multicast else tiles.n_tiles) * chunks.weight_words
    return fed_cycles(array, links, tiles.n_tiles, split, stream, weights)


@kernel
def border_cycles(array: Any, compute: float, fed: float, n_parts: float) -> float:
    """Cycles at the border of a pass in which nothing is multiplied, where operands are not sent before: the first chunk, of ``n_parts``
    parts, is fed until the first of them is there, or the last that the others wait for."""
    if array.prefetches:
        return 0.0
    return array.rates.feed_cycles + max(fed / n_parts, fed - compute * (1 - 1 / n_parts))


@routine
def round_cycles(array: Any, links: Links, problem: Any, pattern: Any, allotment: Allotment, chunks: Chunks, tiles: Round) -> float:
    """Cycles of a round of tiles side by side: its chunks, or what drains of it."""
    groups = ceil_quotient(tiles.pixels, array.columns)
    each, alone = float(groups * chunks.slices), 0.0
    if pattern.n_taps:
        compute = chunk_compute_cycles(problem, pattern, chunks, groups)
        fed = chunk_fed_cycles(array, links, allotment.split, chunks, tiles)
        compute += problem.stream_blocks * chunks.slices * pattern.n_taps / chunks.n_chunks * array.fill_cycles[0]
        first_fed = tiles.stream_words / tiles.n_tiles * array.rates.packet_cycles[STREAM]
        each = chunk_cycles(array.rates, compute, fed, float(groups), first_fed)
        alone = border_cycles(array, compute, fed, chunks.n_parts)
    alone += array.fill_cycles[1]
    return max(chunks.n_chunks * each + alone, pass_drain_cycles(array, problem, allotment, tiles.n_tiles * tiles.pixels))


@routine
def result_cycles(
    array: Any, links: Links, problem: Any, pattern: Any, shape: TileShape, allotment: Allotment, n_samples: int, first_row: int,
    end_row: int,
) -> float:  # fmt: skip
    """Cycles of one round of result slices over a band: rows ``first_row ... end_row - 1`` of ``n_samples`` samples."""
    columns, total = array.clusters // allotment.split, 0.0
    chunks = chunks_of(array, problem, pattern, shape, allotment)
    tiles = dealt(array, problem, pattern, shape, n_samples, first_row, end_row, columns)
    for number in range(count_rounds(shape, tiles)):
        each = tile_round(pattern, shape, tiles, number)
        if each.count:
            total += each.count * round_cycles(array, links, problem, pattern, allotment, chunks, each)
    return total


@kernel
def turns_at_port(array: Any, split: int, chunks: Chunks, tiles: Round) -> float:
    """Turns in which the clusters at a port of the error buffer finish a round of tiles: as they are fed, one after the other, so that some
    drain while others multiply. Those that the slower feeder sends the same word finish together: all of a column, or all of a row.
    Clusters are dealt to the ports in turn, row by row."""
    n_sharing = max(tiles.n_tiles * split / array.error_ports, 1.0)
    if not array.multicast:
        return n_sharing
    rates, columns = array.rates, array.clusters // split
    streamed = chunks.n_parts * tiles.stream_words * rates.packet_cycles[STREAM]
    kept = split * chunks.weight_words * rates.packet_cycles[STATIONARY]
    turns = float(split) if kept > streamed else tiles.n_tiles / common_divisor(columns, array.error_ports)
    return min(max(turns, 1.0), n_sharing)


class EndShares(NamedTuple):
    """Shares of what stands beside nothing else at the ends of a band (`BandEnds`): of the feed of its first chunk, of its last drain."""

    fed: float
    drained: float


class BandEnds(NamedTuple):
    """Ends of a band: its first chunk is fed before anything is multiplied, or its last multiplied after all is fed; and the sums of the
    last pass drain."""

    fed_cycles: float
    chunk_cycles: float
    drain_cycles: float


@routine
def band_ends(
    array: Any, links: Links, problem: Any, pattern: Any, shape: TileShape, allotment: Allotment, n_samples: int, first_row: int,
    end_row: int,
) -> BandEnds:  # fmt: skip
    """Ends of a band, all of whose rounds are as the first."""
    split = allotment.split
    tiles = dealt(array, problem, pattern, shape, n_samples, first_row, end_row, array.clusters // split)
    first = first_round(pattern, shape, tiles)
    if not first.count:
        return BandEnds(0.0, 0.0, 0.0)
    drained = pass_drain_cycles(array, problem, allotment, first.n_tiles * first.pixels)
    if not pattern.n_taps:
        return BandEnds(0.0, 0.0, drained)
    chunks = chunks_of(array, problem, pattern, shape, allotment)
    fed, turns = chunk_fed_cycles(array, links, split, chunks, first), turns_at_port(array, split, chunks, first)
    compute = chunk_compute_cycles(problem, pattern, chunks, ceil_quotient(first.pixels, array.columns))
    return BandEnds(fed, compute, max(drained / turns, drained - fed * (1 - 1 / turns)))


@procedure
def results_cycles(
    array: Any, links: Links, problem: Any, patterns: Any, shapes: Any, allotment: Allotment, n_samples: int, first_row: int, end_row: int,
    cycles: Any,
) -> None:  # fmt: skip
    """``cycles`` = `result_cycles` of all ``patterns``, and the `BandEnds` of the first and the last; ``shapes`` [patterns, fields of
    TileShape]."""
    total, fed, chunk, drain = 0.0, 0.0, 0.0, 0.0
    for i in range(len(patterns)):
        shape = TileShape(shapes[i, 0], shapes[i, 1], shapes[i, 2], shapes[i, 3], shapes[i, 4])
        total += result_cycles(array, links, problem, patterns[i], shape, allotment, n_samples, first_row, end_row)
        ends = band_ends(array, links, problem, patterns[i], shape, allotment, n_samples, first_row, end_row)
        fed, chunk, drain = fed or ends.fed_cycles, ends.chunk_cycles or chunk, ends.drain_cycles or drain
    cycles[0], cycles[1], cycles[2], cycles[3] = total, fed, chunk, drain


@kernel
def pass_drain_cycles(array: Any, problem: Any, allotment: Allotment, pixels: int) -> float:
    """Cycles in which a pass of FF or BP over so many pixels drains, on all clusters."""
    n_bytes = pixels * blocks_of(problem, allotment, allotment.split) * array.lanes * problem.result_element_bytes
    return ceil_quotient(n_bytes, array.word_bytes) * array.rates.packet_cycles[PSUM] / min(array.error_ports, array.clusters)


@kernel
def stream_blocks_of(array: Any, problem: Any, slices: int) -> int:
    """Blocks of the streamed operand that so many slices of the columns hold in WG."""
    return min(slices * (array.gradient_columns // array.lanes), problem.stream_blocks)


class GradientRates(NamedTuple):
    """What a pass of WG asks of the array: compute cycles for each pixel group, words of a route for each of a block of either operand,
    routes of either, cycles to drain, and whether the next pass waits for the drain: it does if its sums are added in the network.
    ``result_slices``: sweeps for each group."""

    compute_cycles: int
    result_slices: int
    stream_words: int
    stationary_words: int
    stream_routes: int
    stationary_routes: int
    drain_cycles: float
    waits: bool


@routine
def gradient_rates(array: Any, problem: Any, allotment: Allotment) -> GradientRates:
    """Rates of a pass of all clusters."""
    split, parts = allotment.split, allotment.sample_parts
    stream_blocks = stream_blocks_of(array, problem, allotment.stream_slices)
    result_blocks = blocks_of(problem, allotment, 1)
    columns = min(array.clusters // (split * parts), ceil_quotient(problem.stream_blocks, stream_blocks))
    rows = min(split, ceil_quotient(problem.result_blocks, result_blocks))
    return GradientRates(
        allotment.result_slices * allotment.stream_slices * allotment.taps,
        allotment.result_slices,
        (1 if array.multicast else rows) * stream_blocks,
        (1 if array.multicast else columns) * result_blocks,
        columns * parts,
        rows * parts,
        drain_cycles(array, problem, allotment, columns * rows),
        parts > 1,
    )


@kernel
def pixels_fed_cycles(array: Any, links: Links, parts: int, asked: GradientRates, tiles: Round) -> float:
    """Cycles to feed a round of tiles of WG to all clusters."""
    stream, stationary = asked.stream_words * tiles.stream_words / parts, asked.stationary_words * tiles.stationary_words / parts
    return fed_cycles(array, links, asked.stream_routes, asked.stationary_routes, stream, stationary)


@routine
def gradient_cycles(
    array: Any, links: Links, problem: Any, pattern: Any, shape: TileShape, allotment: Allotment, asked: GradientRates, n_samples: int,
    n_rows: int, n_bands: float,
) -> float:  # fmt: skip
    """Cycles of one pass of WG over all pixels, in ``n_bands`` bands of ``n_rows`` rows of ``n_samples`` samples, all as the first, or of
    three and more as the next, because of few rows the one at the border reads much less; the tiles of a round last as long as the
    longest, and share the network. A drain hides behind the next pass, unless that waits."""
    parts, work, alone = allotment.sample_parts, 0.0, 0.0
    first = n_rows if 3 * n_rows <= pattern.out_height else 0
    tiles = dealt(array, problem, pattern, shape, n_samples, first, first + n_rows, parts)
    for number in range(count_rounds(shape, tiles)):
        each = tile_round(pattern, shape, tiles, number)
        if each.count:
            fed = pixels_fed_cycles(array, links, parts, asked, each)
            groups = ceil_quotient(each.pixels, array.gradient_lanes)
            compute = float(groups * (asked.compute_cycles + asked.result_slices * array.fill_cycles[0]))
            work += each.count * chunk_cycles(
                array.rates, compute, fed, float(asked.compute_cycles),
                asked.stream_words * each.stream_words / each.n_tiles * array.rates.packet_cycles[STREAM],
            )  # fmt: skip
            alone = alone or border_cycles(array, compute, fed, 1.0)
    work = n_bands * work + alone + array.fill_cycles[1]
    return work + asked.drain_cycles if asked.waits else max(work, asked.drain_cycles)


@routine
def pass_ends(
    array: Any, links: Any, problem: Any, pattern: Any, shape: TileShape, allotment: Allotment, asked: GradientRates, n_samples: int,
    n_rows: int,
) -> BandEnds:  # fmt: skip
    """Ends of a pass of WG."""
    tiles = dealt(array, problem, pattern, shape, n_samples, 0, n_rows, allotment.sample_parts)
    first = first_round(pattern, shape, tiles)
    fed = pixels_fed_cycles(array, links, allotment.sample_parts, asked, first)
    return BandEnds(fed, float(asked.compute_cycles * ceil_quotient(first.pixels, array.gradient_lanes)), asked.drain_cycles)


@procedure
def pass_cycles(
    array: Any, links: Links, problem: Any, patterns: Any, shape: TileShape, allotment: Allotment, n_samples: int, n_rows: int,
    n_bands: float, blocks: int, cycles: Any,
) -> None:  # fmt: skip
    """``cycles`` = `gradient_cycles` of an allotment, and its ends (`BandEnds`), of clusters that hold ``blocks`` different blocks."""
    asked = gradient_rates(array, problem, allotment)
    ends = pass_ends(array, links, problem, patterns[0], shape, allotment, asked, n_samples, n_rows)
    cycles[0] = gradient_cycles(array, links, problem, patterns[0], shape, allotment, asked, n_samples, n_rows, n_bands)
    cycles[1], cycles[2], cycles[3] = ends.fed_cycles, ends.chunk_cycles, drain_cycles(array, problem, allotment, blocks)


@kernel
def drain_cycles(array: Any, problem: Any, allotment: Allotment, blocks: int) -> float:
    """Cycles to drain the results of ``blocks`` clusters that hold different blocks; sums that the network adds go one group after the
    other."""
    pairs = blocks_of(problem, allotment, 1) * stream_blocks_of(array, problem, allotment.stream_slices)
    results = pairs * allotment.taps * array.lanes * array.lanes
    period = array.rates.packet_cycles[PSUM]
    if allotment.sample_parts == 1:
        words = blocks * ceil_quotient(results * problem.result_element_bytes, array.word_bytes)
        return words * period / min(array.error_ports, array.clusters)
    packets = ceil_quotient(results // array.lanes, array.word_bytes // (array.lanes * ceil_quotient(array.accumulator_bits, 8)))
    return blocks * (packets * period + array.rates.drain_cycles)
