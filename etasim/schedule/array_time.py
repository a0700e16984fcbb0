"""The array's time in closed form: chunks of a pass, the rounds of passes that the clusters take side by side, and what drains.

Chunk follows chunk as slowly as its slowest: multiplying, or feeding one of its operands. A chunk is fed while the one before it is
multiplied, into the half of the scratchpads that the one before that has left, so two chunks take no less than that feed's way and time.
"""

from math import gcd
from typing import NamedTuple

from etasim.schedule.array import PSUM, ArraySizes
from etasim.schedule.patterns import Pattern, Tap
from etasim.schedule.problem import Allotment, Band, ConvProblem, TileShape
from etasim.schedule.rates import Rates, feeds_meet, link_uses
from etasim.schedule.tiling import ceil_div, tile_rounds

SHARPNESS = 8
"""How sharply the slowest of several parts sets the pace: two that are equally slow wait for each other now and then, and take a twelfth
longer than either; one that is twice as slow takes nothing longer."""


def slowest(*cycles: float) -> float:
    """Cycles of parts that work side by side, with little between them to even out who waits for whom."""
    most = max(cycles)
    return most * sum((each / most) ** SHARPNESS for each in cycles) ** (1 / SHARPNESS) if most else 0.0


def chunk_cycles(rates: Rates, compute: float, fed: float, sweep: float) -> float:
    """Cycles from chunk to chunk in the steady state; ``fed``: to send the slower of its operands, of which the last word begins the last
    ``sweep`` cycles."""
    return slowest(compute, fed, (rates.feed_cycles + max(fed + sweep, compute)) / 2)


def fed_cycles(array: ArraySizes, split: int, parts: int, routes: tuple[int, int], words: tuple[float, float]) -> float:
    """Cycles to feed a chunk of ``words`` (streamed, stationary) on each of ``routes`` of both: the slower feeder, or the busiest link.

    A feeder serves its routes one after the other, and every cluster is on a route of each: the two always meet on the way to a cluster,
    where a multicast waits, and with it all that comes behind it, but for what the buffers of a virtual channel hold of each route.
    """
    each = [n_routes * n * cycles for n_routes, n, cycles in zip(routes, words, array.rates.packet_cycles, strict=False)]
    if array.noc.ideal or not min(words) or not feeds_meet(array.noc):
        return max(each)
    stream, stationary = (n * flits for n, flits in zip(words, array.packet_flits, strict=False))
    links = [min(a, routes[0]) * stream + min(b, routes[1]) * stationary for a, b in link_uses(array.noc, split, parts)]
    if array.multicast:
        links.append(routes[0] * (stream - min(array.noc.buffer_depth, stream)) + routes[1] * stationary)
    return max(*each, *links)


def tap_group_sizes(taps: tuple[Tap, ...], most: int) -> tuple[int, int]:
    """(whole kernel rows, taps of a row) of a rectangular group of at most ``most`` taps: one row at the least, or a piece of it."""
    width = sum(tap.dy == taps[0].dy for tap in taps)
    return (most // width, width) if most >= width else (1, most)


def tap_group_count(taps: tuple[Tap, ...], most: int) -> int:
    """How many such groups ``taps`` make."""
    width = sum(tap.dy == taps[0].dy for tap in taps)
    rows, cols = tap_group_sizes(taps, most)
    return ceil_div(len(taps) // width, rows) * ceil_div(width, cols)


def words_of_runs(n_runs: float, run_bytes: int, word_bytes: int) -> float:
    """Words that runs touch, on average over where in a word they may begin."""
    return n_runs * (run_bytes + word_bytes - gcd(run_bytes, word_bytes)) / word_bytes


class ResultRound(NamedTuple):
    """Tiles that the pixel clusters take at once: how often, how many, pixels of the largest, words of a block of their operands."""

    count: int  # type: ignore[assignment]  # in the place of a tuple's own
    n_tiles: int
    pixels: int
    stream_words: int


def result_rounds(
    array: ArraySizes, problem: ConvProblem, pattern: Pattern, shape: TileShape, band: Band, n_at_once: int
) -> list[ResultRound]:
    """The rounds of ``n_at_once`` tiles that cover a band, equal ones once."""
    row_bytes = pattern.in_width * array.lanes * problem.stream_element_bytes
    return [
        ResultRound(
            count, len(tiles), max(pixels for pixels, _ in tiles), sum(ceil_div(rows * row_bytes, array.word_bytes) for _, rows in tiles)
        )
        for tiles, count in tile_rounds(pattern, shape, band, n_at_once).items()
    ]


def result_cycles(
    array: ArraySizes, problem: ConvProblem, pattern: Pattern, shape: TileShape, allotment: Allotment, rounds: list[ResultRound]
) -> float:
    """Cycles of one round of result slices over the ``rounds`` of a band: chunks, or what drains."""
    rates, split, slices, taps = array.rates, allotment.split, allotment.result_slices, len(pattern.taps)
    columns = array.clusters // split
    stream_copies, stationary_copies = (1, 1) if array.multicast else (split, columns)
    n_groups = tap_group_count(pattern.taps, shape.taps_per_chunk) if taps else 1
    n_chunks = ceil_div(problem.stream_blocks, shape.slices_per_chunk) * n_groups if taps else 1
    n_parts = problem.stream_blocks / n_chunks * n_groups
    stationary = stationary_copies * _weight_words(array, problem, pattern, shape, slices, n_parts)
    total = 0.0
    for count, n_tiles, pixels, stream_words in rounds:
        groups = ceil_div(pixels, array.columns)
        compute = problem.stream_blocks * slices * max(taps, 1) * groups / n_chunks
        stream = stream_copies * n_parts * stream_words / n_tiles
        fed = fed_cycles(array, split, 1, (n_tiles, split), (stream, stationary))
        each = chunk_cycles(rates, compute, fed, groups) if taps else groups * slices
        total += count * max(n_chunks * each, pass_drain_cycles(array, problem, allotment, n_tiles * pixels))
    return total


def pass_drain_cycles(array: ArraySizes, problem: ConvProblem, allotment: Allotment, pixels: int) -> float:
    """Cycles in which a pass of FF or BP over so many pixels drains, on all clusters."""
    n_bytes = pixels * allotment.split * allotment.result_slices * array.pes * problem.result_element_bytes
    return ceil_div(n_bytes, array.word_bytes) * array.rates.packet_cycles[PSUM] / min(array.error_ports, array.clusters)


def _weight_words(array: ArraySizes, problem: ConvProblem, pattern: Pattern, shape: TileShape, slices: int, n_parts: float) -> float:
    """Words of the weights of a chunk of ``n_parts`` streamed blocks for a row of clusters."""
    taps, tap_bytes = len(pattern.taps), array.lanes**2 * problem.stationary_element_bytes
    if not taps:
        return 0.0
    n_groups = tap_group_count(pattern.taps, shape.taps_per_chunk)
    run_taps = taps if n_groups == 1 else tap_group_sizes(pattern.taps, shape.taps_per_chunk)[1]
    n_runs = slices * array.pe_blocks * n_parts * taps / (run_taps * n_groups)
    return words_of_runs(n_runs, run_taps * tap_bytes, array.word_bytes)


class GradientRound(NamedTuple):
    """Tiles that the parts of the clusters take side by side: how often, pixel groups of the largest, words of a channel block of each
    operand."""

    count: int  # type: ignore[assignment]  # in the place of a tuple's own
    groups: int
    stream_words: int
    stationary_words: int


def gradient_rounds(array: ArraySizes, problem: ConvProblem, shape: TileShape, band: Band, parts: int) -> list[GradientRound]:
    """The rounds of ``parts`` tiles that cover a band, equal ones once."""
    pattern = problem.patterns[0]
    row_bytes = pattern.in_width * array.lanes * problem.stream_element_bytes
    pixel_bytes = array.lanes * problem.stationary_element_bytes
    return [
        GradientRound(
            count,
            ceil_div(max(pixels for pixels, _ in tiles), array.lanes),
            sum(ceil_div(rows * row_bytes, array.word_bytes) for _, rows in tiles),
            sum(ceil_div(pixels * pixel_bytes, array.word_bytes) for pixels, _ in tiles),
        )
        for tiles, count in tile_rounds(pattern, shape, band, parts).items()
    ]


class GradientRates(NamedTuple):
    """What a pass of WG asks of the array: compute cycles for each pixel group, words of a route for each of a block of either operand,
    routes of either, cycles to drain, and whether the next pass waits for the drain: it does if its sums are added in the network."""

    compute_cycles: int
    stream_words: int
    stationary_words: int
    routes: tuple[int, int]
    drain_cycles: float
    waits: bool


def gradient_rates(array: ArraySizes, problem: ConvProblem, allotment: Allotment) -> GradientRates:
    """Rates of a pass of all clusters."""
    split, parts, result_slices, stream_slices, taps = allotment
    stream_blocks = min(stream_slices * array.column_blocks, problem.stream_blocks)
    result_blocks = min(result_slices * array.pe_blocks, problem.result_blocks)
    columns = min(array.clusters // (split * parts), ceil_div(problem.stream_blocks, stream_blocks))
    rows = min(split, ceil_div(problem.result_blocks, result_blocks))
    stream_copies, stationary_copies = (1, 1) if array.multicast else (rows, columns)
    return GradientRates(
        compute_cycles=result_slices * stream_slices * taps,
        stream_words=stream_copies * stream_blocks,
        stationary_words=stationary_copies * result_blocks,
        routes=(columns * parts, rows * parts),
        drain_cycles=drain_cycles(array, problem, allotment, columns * rows),
        waits=parts > 1,
    )


def gradient_cycles(array: ArraySizes, allotment: Allotment, asked: GradientRates, rounds: list[GradientRound], n_bands: float) -> float:
    """Cycles of one pass of WG over all pixels, in ``n_bands`` bands of ``rounds``; the tiles of a round last as long as the longest, and
    share the network. A drain hides behind the next pass, unless that waits."""
    compute, stream, stationary, routes, drain, waits = asked
    parts, work = allotment.sample_parts, 0.0
    for count, groups, stream_words, stationary_words in rounds:
        own = stream * stream_words / parts, stationary * stationary_words / parts
        fed = fed_cycles(array, allotment.split, parts, routes, own)
        work += count * chunk_cycles(array.rates, compute * groups, fed, compute)
    return n_bands * work + drain if waits else max(n_bands * work, drain)


def drain_cycles(array: ArraySizes, problem: ConvProblem, allotment: Allotment, blocks: int) -> float:
    """Cycles to drain the results of ``blocks`` clusters that hold different blocks; sums that the network adds go one group after the
    other."""
    results, period = (
        allotment.result_slices * allotment.stream_slices * allotment.taps * array.pes * array.columns,
        array.rates.packet_cycles[PSUM],
    )
    if allotment.sample_parts == 1:
        return blocks * ceil_div(results * problem.result_element_bytes, array.word_bytes) * period / min(array.error_ports, array.clusters)
    packets = ceil_div(results // array.lanes, array.segments_per_packet(array.sum_bytes))
    return blocks * (packets * period + array.rates.drain_cycles)
