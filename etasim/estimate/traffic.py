"""What a tile of a convolution sends over the network, from its plan: words, the scratchpads they arrive in, the links they take.

The emitters deal tiles and blocks to the clusters; here the same deal is counted. Words of an operand are those of one aligned run for
each channel block, so a run that begins inside a word is a word short. docs/models/analytical.md says what is exact.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from itertools import product
from typing import Any, NamedTuple

from etasim.config.noc import MESSAGE_CLASSES, Noc
from etasim.core.errors import InfeasibleError
from etasim.mapping.context import words_touched
from etasim.mapping.result_stationary import tap_groups, weight_runs
from etasim.noc import class_widths_bits, flits_of
from etasim.noc.assembly import policy_of, refuse_bad_multicast, topology_of
from etasim.noc.routing import NocError, path
from etasim.schedule.array import PSUM, STATIONARY, STREAM, ArraySizes
from etasim.schedule.nest import Span
from etasim.schedule.patterns import Tap
from etasim.schedule.problem import Band, ConvProblem, Plan
from etasim.schedule.tiling import TileSize, ceil_div, tile_sizes, vector_bytes

N_CLASSES = len(MESSAGE_CLASSES)


class SentWords(NamedTuple):
    """Words of the streamed operand, the stationary one, and results: sent, times the links that each takes, and as they arrive in the two
    scratchpads and are written to the error buffer."""

    words: tuple[int, int, int]
    hops: tuple[int, int, int]
    arrived: tuple[int, int, int]

    def plus(self, other: "SentWords", times: int) -> "SentWords":
        """These, and ``times`` those of ``other``."""
        words, hops, arrived = ((a[0] + times * b[0], a[1] + times * b[1], a[2] + times * b[2]) for a, b in zip(self, other, strict=True))
        return SentWords(words, hops, arrived)


NOTHING_SENT = SentWords((0, 0, 0), (0, 0, 0), (0, 0, 0))


@contextmanager
def _infeasible() -> Iterator[None]:
    """What the network refuses inside makes the machine infeasible."""
    try:
        yield
    except NocError as error:
        raise InfeasibleError(f"noc: {error}") from error


class Ways:
    """Links between routers on the ways of a network, each way walked once, and the flits of a word by message class."""

    def __init__(self, noc: Noc, word_bytes: int):
        """Raises InfeasibleError for a network that cannot be built."""
        self.noc, self.place, self.multicast, word_bits = noc, noc.placement, noc.multicast, 8 * word_bytes
        self._links: dict[tuple[Any, ...], int] = {}
        self._drained: dict[tuple[int, ...], int] = {}
        self._allowed: set[tuple[int, int]] = set()
        with _infeasible():
            self._topology, self._policy = topology_of(noc), policy_of(noc)
            widths_bits = class_widths_bits(noc, N_CLASSES)
        self.word_flits = tuple(flits_of(word_bits, width_bits) for width_bits in widths_bits)

    def fed(self, stream: int, clusters: tuple[int, ...]) -> int:
        """Links that a word takes from its buffer to all of ``clusters``; without multicast it is sent once to each. Raises InfeasibleError
        where the network does not let it through."""
        source = (self.place.activation, self.place.weight)[stream]
        if self.multicast:
            if (stream, len(clusters)) not in self._allowed:
                with _infeasible():
                    refuse_bad_multicast(self.noc, len(clusters), self.word_flits[stream])
                self._allowed.add((stream, len(clusters)))
            return self._tree(source, tuple(self.place.clusters[c] for c in clusters))
        return sum(self._tree(source, (self.place.clusters[c],)) for c in clusters)

    def drained(self, clusters: tuple[int, ...]) -> int:
        """Links that a word of sums takes from each of ``clusters`` to the error buffer; the network adds them where they meet."""
        found = self._drained.get(clusters)
        if found is None:
            port = self.place.error[clusters[0] % len(self.place.error)]
            found = self._drained[clusters] = len(set().union(*(self._way(self.place.clusters[c], port) for c in clusters)))
        return found

    def _tree(self, source: int, nodes: tuple[int, ...]) -> int:
        key = (source, nodes)
        if key not in self._links:
            self._links[key] = len(set().union(*(self._way(source, node) for node in nodes)))
        return self._links[key]

    def _way(self, source: int, node: int) -> list[tuple[int, int]]:
        with _infeasible():
            return path(self._topology, self._policy, source, node)[:-1]


ways_of = lru_cache(maxsize=64)(Ways)
"""`Ways`, one for each network: what is counted for a tile is remembered with it."""


def _words(array: ArraySizes, n_bytes: int) -> int:
    return ceil_div(n_bytes, array.word_bytes)


def _dealt(n_blocks: int, own_blocks: int) -> list[int]:
    """Blocks of each busy row (or column) of clusters."""
    return [share.size for share in Span(0, n_blocks).dealt(own_blocks)]


class _Totals:
    """What is added up to `SentWords`."""

    def __init__(self) -> None:
        self._words, self._hops, self._arrived = [0] * N_CLASSES, [0] * N_CLASSES, [0] * N_CLASSES

    def add(self, kind: int, words: int, hops: int, arrived: int) -> None:
        """Words of a message class."""
        self._words[kind] += words
        self._hops[kind] += hops
        self._arrived[kind] += arrived

    @property
    def sent(self) -> SentWords:
        """All of it."""
        (a, b, c), (d, e, f), (g, h, i) = self._words, self._hops, self._arrived
        return SentWords((a, b, c), (d, e, f), (g, h, i))


def result_sent(array: ArraySizes, ways: Ways, problem: ConvProblem, plan: Plan, kernel_width: int, n_blocks: int, band: Band) -> SentWords:
    """A tile of FF or BP: ``n_blocks`` result blocks over a band."""
    rows, columns = _dealt(n_blocks, plan.own_blocks), array.clusters // plan.split
    totals = _Totals()
    for pattern, shape in zip(problem.patterns, plan.shapes, strict=True):
        sizes, n_repeats = tile_sizes(pattern, shape, band)
        if not sizes:
            continue
        pixels = [size.n_pixels for size in sizes] * n_repeats
        _add_drained(totals, array, ways, problem, rows, columns, pixels, pattern.out_step_x)
        if pattern.taps:
            each = problem.stream_blocks * len(tap_groups(pattern.taps, shape.taps_per_chunk, kernel_width))
            streamed = [each * size.operand_words(pattern, problem.stream_vector_bits, array.word_bytes) for size in sizes] * n_repeats
            _add_fed_columns(totals, ways, _by_column(streamed, columns), len(rows))
            cut = shape.slices_per_chunk, shape.taps_per_chunk
            by_row = weight_words(array.lanes, array.word_bytes, problem, cut, pattern.taps, kernel_width, n_blocks, tuple(rows))
            _add_fed_rows(totals, ways, by_row, len(pixels), columns)
    return totals.sent


def _by_column(values: list[int], columns: int) -> list[int]:
    """Sums of the values of tiles that are dealt to ``columns`` in turn."""
    return [sum(values[c::columns]) for c in range(columns)]


@lru_cache(maxsize=4096)
def weight_words(
    lanes: int, word_bytes: int, problem: ConvProblem, cut: tuple[int, int], taps: tuple[Tap, ...], kernel_width: int, n_blocks: int,
    rows: tuple[int, ...],
) -> list[int]:  # fmt: skip
    """Words of the weights of a pass for each row of clusters, which has so many result blocks of a round; ``cut``: slices and taps of a
    chunk."""
    block_bytes = problem.kernel_positions * vector_bytes(lanes, problem.stationary_vector_bits)
    stride = block_bytes * (problem.stream_blocks if problem.weights_by_result else n_blocks)
    (step, most_taps), end = cut, problem.stream_blocks
    groups = tap_groups(taps, most_taps, kernel_width)
    chunks = [((s, min(s + step, end)), group) for s in range(0, end, step) for group in groups]
    words, first = [], 0
    for blocks in rows:
        words.append(0)
        for slices, group in chunks:
            address, run, dims = weight_runs(problem, lanes, kernel_width, stride, (first, first + blocks), slices, group)
            counts, strides = zip(*dims, strict=True)
            words[-1] += words_touched(address, run, counts, strides, word_bytes)
        first += blocks
    return words


def _add_fed_columns(totals: _Totals, ways: Ways, by_column: list[int], n_rows: int) -> None:
    """Streamed words of each column of clusters, to those of its ``n_rows`` busy rows."""
    columns, copies = len(by_column), 1 if ways.multicast else n_rows
    hops = sum(n * ways.fed(STREAM, tuple(range(c, n_rows * columns, columns))) for c, n in enumerate(by_column))
    totals.add(STREAM, sum(by_column) * copies, hops, sum(by_column) * n_rows)


def _add_fed_rows(totals: _Totals, ways: Ways, by_row: list[int], n_tiles: int, columns: int) -> None:
    """Stationary words of each row of clusters: sent with every round of ``columns`` tiles, the last of which may have fewer."""
    n_rounds, last = ceil_div(n_tiles, columns), (n_tiles - 1) % columns + 1
    words, hops = 0, 0
    for row, n_words in enumerate(by_row):
        for n_busy, times in ((columns, n_rounds - 1), (last, 1)):
            clusters = tuple(range(row * columns, row * columns + n_busy))
            words += times * n_words * (1 if ways.multicast else n_busy)
            hops += times * n_words * ways.fed(STATIONARY, clusters) if times else 0
    totals.add(STATIONARY, words, hops, sum(by_row) * n_tiles)


def _add_drained(
    totals: _Totals, array: ArraySizes, ways: Ways, problem: ConvProblem, rows: list[int], columns: int, pixels: list[int], step: int
) -> None:
    """Results of every tile and row of clusters. Pixels that lie ``step`` apart share a word with fewer others."""
    per_packet, words, hops = array.segments_per_packet(problem.result_element_bytes), 0, 0
    of_blocks = {blocks: _by_column([-(-blocks * n // per_packet) for n in pixels], columns) for blocks in dict.fromkeys(rows)}
    for row, blocks in enumerate(rows):
        by_column = of_blocks[blocks]
        words += sum(by_column)
        hops += sum(n * ways.drained((row * columns + c,)) for c, n in enumerate(by_column))
    totals.add(PSUM, words, hops, words * min(step, per_packet))


def gradient_sent(array: ArraySizes, ways: Ways, problem: ConvProblem, plan: Plan, n_results: int, n_streams: int, taps: int,
                  sizes: tuple[tuple[TileSize, int], ...]) -> SentWords:  # fmt: skip
    """A tile of WG: ``n_results`` output and ``n_streams`` input blocks, ``taps`` kernel positions; ``sizes``: those of its passes over the
    pixels of the batch and how often each occurs."""
    pattern, n_parts = problem.patterns[0], min(plan.sample_parts, sum(n for _, n in sizes))
    columns = array.clusters // (plan.split * plan.sample_parts)
    rows = _dealt(n_results, plan.own_blocks)
    own = _dealt(n_streams, plan.stream_slices * array.column_blocks)
    streamed = sum(n * size.operand_words(pattern, problem.stream_vector_bits, array.word_bytes) for size, n in sizes)
    stationary = sum(n * _words(array, vector_bytes(size.n_pixels, problem.stationary_vector_bits)) for size, n in sizes)

    def clusters(part: int, members: list[tuple[int, int]]) -> tuple[int, ...]:
        return tuple((part * plan.split + row) * columns + column for row, column in members)

    parts, totals = range(n_parts), _Totals()
    for c, blocks in enumerate(own):
        links = sum(ways.fed(STREAM, clusters(part, [(r, c) for r in range(len(rows))])) for part in parts)
        copies = 1 if ways.multicast else len(rows)
        totals.add(STREAM, blocks * streamed * copies, blocks * streamed * links // n_parts, blocks * streamed * len(rows))
    for r, blocks in enumerate(rows):
        links = sum(ways.fed(STATIONARY, clusters(part, [(r, c) for c in range(len(own))])) for part in parts)
        copies = 1 if ways.multicast else len(own)
        n_words = blocks * stationary
        totals.add(STATIONARY, n_words * copies, n_words * links // n_parts, n_words * len(own))
    element_bytes = problem.result_element_bytes if n_parts == 1 else array.sum_bytes
    for r, c in product(range(len(rows)), range(len(own))):
        segments = rows[r] * own[c] * taps * array.lanes
        packets = ceil_div(segments, array.segments_per_packet(element_bytes))
        group = tuple(cluster for part in parts for cluster in clusters(part, [(r, c)]))
        collected = ceil_div(segments, array.segments_per_packet(problem.result_element_bytes)) if n_parts == 1 else packets
        totals.add(PSUM, n_parts * packets, packets * ways.drained(group), collected)
    return totals.sent


@lru_cache(maxsize=16384)
def piece_words(first: int, end: int, burst_bytes: int, word_bytes: int) -> int:
    """Words of a buffer, from the beginning of one on, that the bursts of bytes [first, end) of DRAM fill; two bursts that share a word
    write it twice."""
    words, at = 0, first
    if burst_bytes % word_bytes == 0 and first % word_bytes == 0:
        return ceil_div(end - first, word_bytes)
    while at < end:
        stop = min(at - at % burst_bytes + burst_bytes, end)
        words += (stop - first - 1) // word_bytes - (at - first) // word_bytes + 1
        at = stop
    return words


def paced_bytes(array: Any, engine: int, n_bytes: float, n_words: float) -> float:
    """Bytes of full bursts that take as long as ``n_bytes`` of bursts of which ``n_words`` words are wanted: a DMA engine leaves out the
    others, the DRAM does not."""
    rates, burst_words = array.rates, ceil_div(array.burst_bytes, array.word_bytes)
    n_bursts, byte_cycles = n_bytes / array.burst_bytes, max(rates.engine_cycles_per_byte[engine], rates.dram_cycles_per_byte)
    if burst_words == 1 or n_words >= n_bursts * burst_words or not byte_cycles:
        return n_bytes
    one, full = rates.word_burst_cycles[engine], rates.engine_cycles_per_byte[engine] * array.burst_bytes
    cycles = n_bursts * one + (n_words - n_bursts) * (full - one) / (burst_words - 1)
    paced: float = max(cycles, n_bytes * rates.dram_cycles_per_byte) / byte_cycles
    return paced
