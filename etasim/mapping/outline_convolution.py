"""Outlines of FF, BP and WG: the loop nests of `result_stationary` and `gradient_stationary`, equal tiles taken once and counted."""

from collections import Counter
from collections.abc import Callable
from functools import lru_cache
from itertools import product
from typing import NamedTuple

from etasim.core.program import FIRST_CLUSTER, LOAD_ACTIVATION, LOAD_ERROR, LOAD_WEIGHT, STORE
from etasim.mapping.array import Array
from etasim.mapping.convolution import Operands
from etasim.mapping.gradient_plans import drain_cycles, gradient_cycles, gradient_rates, gradient_rounds
from etasim.mapping.outline_traffic import Sent, gradient_sent, result_sent
from etasim.mapping.problem import Allotment, Band, Plan, Problem
from etasim.mapping.result_plans import result_cycles, result_rates, result_rounds
from etasim.mapping.result_stationary import LOAD_PARTS
from etasim.mapping.tensors import Tensor
from etasim.mapping.tiling import TileSize, band_operand_rows, ceil_div, flits, tile_sizes


def runs(n: int, step: int) -> list[tuple[tuple[int, int], int]]:
    """``range(n)`` in steps: (a range of that size, how many there are), the last range by itself."""
    last = (n - 1) // step * step
    return ([((0, step), last // step)] if last else []) + [((last, n), 1)]


@lru_cache(maxsize=4096)
def band_kinds(problem: Problem, bands: tuple[Band, ...]) -> tuple[tuple[Band, int], ...]:
    """Bands that load and compute the same, once with their number; the last one by itself."""
    extents = Counter((band.n_samples, band.first_row, band.end_row) for band in bands[:-1])
    kinds: dict[tuple[int, ...], list] = {}
    for (n_samples, first_row, end_row), count in extents.items():
        band = Band(0, n_samples, first_row, end_row)
        first, end = band_operand_rows(problem, band)
        kinds.setdefault((n_samples, end_row - first_row, end - first), [band, 0])[1] += count
    return (*((band, n) for band, n in kinds.values()), (bands[-1], 1))


def slices_of(n_blocks: int, own_blocks: int, slice_blocks: int) -> int:
    """Slices in all if ``n_blocks`` are dealt in pieces of ``own_blocks``, each rounded up to slices."""
    whole, rest = divmod(n_blocks, own_blocks)
    return whole * ceil_div(own_blocks, slice_blocks) + ceil_div(rest, slice_blocks)


class Work(NamedTuple):
    """A tile on the array: cycles of the most loaded cluster or port, multiplying cycles summed over the clusters, and cycles in which the
    last pass drains."""

    cycles: int
    busy_cycles: int
    drain_cycles: int


@lru_cache(maxsize=16384)
def result_work(array: Array, problem: Problem, plan: Plan, kernel_width: int, n_blocks: int, band: Band) -> Work:
    """A tile of FF or BP: ``n_blocks`` result blocks over a band."""
    own = plan.result_slices * array.pe_blocks
    slices = min(plan.result_slices, ceil_div(n_blocks, array.pe_blocks))
    all_slices, rows, columns = slices_of(n_blocks, own, array.pe_blocks), ceil_div(n_blocks, own), array.clusters // plan.split
    cycles = busy = last_pixels = 0
    for pattern, shape in zip(problem.patterns, plan.shapes, strict=True):
        rounds = result_rounds(array, problem, pattern, shape, band, columns)
        cycles += result_cycles(array, result_rates(array, problem, pattern, Allotment(plan.split, 1, slices, 1, 0)), rounds, 0)
        sizes, n_repeats = tile_sizes(pattern, shape, band)
        groups = n_repeats * sum(ceil_div(size.n_pixels, array.columns) for size in sizes)
        busy += max(problem.stream_blocks * len(pattern.taps), 1) * all_slices * groups
        if sizes and pattern.taps:
            last_pixels = sizes[-1].n_pixels
    drained = flits(array, min(rows * columns, array.clusters) * slices * array.pes * last_pixels * problem.result_element_bytes)
    return Work(cycles, busy, drained // min(array.error_ports, array.clusters))


@lru_cache(maxsize=4096)
def gradient_tiles(problem: Problem, plan: Plan) -> tuple[tuple[TileSize, int], ...]:
    """Sizes of the passes of WG over the pixels of the batch, and how often each occurs."""
    tiles = Counter()
    for band, n in band_kinds(problem, plan.bands):
        sizes, n_repeats = tile_sizes(problem.patterns[0], plan.shapes[0], band)
        for size in sizes:
            tiles[size] += n * n_repeats
    return tuple(tiles.items())


@lru_cache(maxsize=16384)
def gradient_work(array: Array, problem: Problem, plan: Plan, n_results: int, n_streams: int, taps: int) -> Work:
    """A tile of WG: ``n_results`` output blocks, ``n_streams`` input blocks and ``taps`` kernel positions over the batch."""
    row_slices = min(plan.result_slices, ceil_div(n_results, array.pe_blocks))
    slices = row_slices, min(plan.stream_slices, ceil_div(n_streams, array.column_blocks))
    allotment = Allotment(plan.split, plan.sample_parts, *slices, taps)
    rounds = gradient_rounds(array, problem, plan.shapes[0], plan.bands[0], plan.sample_parts)
    cycles = gradient_cycles(gradient_rates(array, problem, allotment), rounds, len(plan.bands), 0)
    own_r, own_s = plan.result_slices * array.pe_blocks, plan.stream_slices * array.column_blocks
    all_slices = slices_of(n_results, own_r, array.pe_blocks) * slices_of(n_streams, own_s, array.column_blocks)
    busy = all_slices * taps * sum(n * ceil_div(size.n_pixels, array.lanes) for size, n in gradient_tiles(problem, plan))
    drained = drain_cycles(array, problem, allotment, ceil_div(n_results, own_r) * ceil_div(n_streams, own_s))
    return Work(cycles, busy, drained)


class ConvolutionOutline:
    """What both have in common."""

    def __init__(self, context, problem: Problem, plan: Plan, operands: Operands):
        self.context, self.problem, self.plan, self.operands = context, problem, plan, operands
        self.array = context.array
        self.columns = self.array.clusters // (plan.split * plan.sample_parts)

    def add_work(self, work: Work, sent: Sent, count: int) -> None:
        """``count`` tiles and what they send."""
        operation, amounts = self.context.builder.operation, self.context.amounts
        self.context.job.add(FIRST_CLUSTER, work.cycles, count, operation)
        self.context.job.drain_cycles = work.drain_cycles
        amounts.cluster_cycles[operation] += work.busy_cycles * count
        amounts.add_sent(operation, sent, count)

    def load_rows(self, engine: int, tensor: Tensor, blocks: tuple[int, int], band: Band, rows: tuple[int, int], row_bytes: int,
                  n_parts: int) -> None:  # fmt: skip
        """Rows of a feature map's channel blocks."""
        if rows[1] > rows[0]:
            planes = (band.first_sample, band.first_sample + band.n_samples)
            self.context.transfer(engine, None, 0, tensor, blocks, planes, (rows[0] * row_bytes, rows[1] * row_bytes), first_part=n_parts)


class ResultOutline(ConvolutionOutline):
    """FF and BP; the arguments are those of `ResultStationary`."""

    def __init__(self, context, problem: Problem, plan: Plan, operands: Operands, result_block: int, kernel_width: int, done: Callable,
                 room: Callable):  # fmt: skip
        super().__init__(context, problem, plan, operands)
        self.kernel_width, self.done = kernel_width, done

    def emit(self) -> None:
        """One pipeline: rounds of result blocks and bands."""
        plan, problem, context = self.plan, self.problem, self.context
        rounds = runs(problem.result_blocks, plan.split * plan.result_slices * self.array.pe_blocks)
        bands = band_kinds(problem, plan.bands)
        n_rounds = sum(n for _, n in rounds)
        bands_outside = plan.outer == "stream" or n_rounds == 1
        job = context.begin_job(first_share=plan.bands[0].n_samples / problem.batch, by_sample=bands_outside)
        pairs = [(r, b) for b, r in product(bands, rounds)] if plan.outer == "stream" else list(product(rounds, bands))
        loaded: set[int] = set()
        for (blocks, n_blocks), (band, n_bands) in pairs:
            job.begin_tile(n_blocks * n_bands)
            context.count = n_blocks * (n_bands if plan.outer == "stream" and not plan.stationary_resident else 1)
            if not (plan.outer == "stationary" or plan.stationary_resident) or ("weight", blocks) not in loaded:
                loaded.add(("weight", blocks))
                self._load_weights(blocks)
            once = plan.outer == "stream" or plan.stream_resident or len(plan.bands) == 1
            context.count = n_bands * (1 if once else n_blocks)
            if not once or ("stream", band) not in loaded:
                loaded.add(("stream", band))
                self._load_stream(band)
            self._compute(blocks, band, n_blocks * n_bands)
            context.count = n_blocks * n_bands
            pixels = band.n_samples * (band.end_row - band.first_row) * problem.patterns[0].out_width
            n_bytes = (blocks[1] - blocks[0]) * pixels * self.array.lanes * problem.result_element_bytes
            self.done(blocks, band, context.allocate(LOAD_ERROR, n_bytes))

    def _load_weights(self, blocks: tuple[int, int]) -> None:
        tensor, problem, base = self.operands.stationary, self.problem, self.operands.stationary_block
        block_bytes = problem.kernel_positions * self.array.lanes**2 * problem.stationary_element_bytes
        if problem.phase == "ff":
            self.context.transfer(LOAD_WEIGHT, None, 0, tensor, (base + blocks[0], base + blocks[1]), (0, 1))
        else:
            piece = (blocks[0] * block_bytes, blocks[1] * block_bytes)
            self.context.transfer(LOAD_WEIGHT, None, 0, tensor, (base, base + problem.stream_blocks), (0, 1), piece)

    def _load_stream(self, band: Band) -> None:
        first = self.operands.stream_block
        row_bytes = self.problem.patterns[0].in_width * self.array.lanes * self.problem.stream_element_bytes
        blocks = (first, first + self.problem.stream_blocks)
        rows = band_operand_rows(self.problem, band)
        self.load_rows(LOAD_ACTIVATION, self.operands.stream, blocks, band, rows, row_bytes, LOAD_PARTS)

    def _compute(self, blocks: tuple[int, int], band: Band, count: int) -> None:
        tile = self.problem, self.plan, self.kernel_width, blocks[1] - blocks[0], band
        self.add_work(result_work(self.array, *tile), result_sent(self.array, self.context.ways, *tile), count)


class GradientOutline(ConvolutionOutline):
    """WG; the arguments are those of `GradientStationary`."""

    def __init__(self, context, problem: Problem, plan: Plan, operands: Operands, gradient: Tensor, first_block: int):
        super().__init__(context, problem, plan, operands)
        self.gradient = gradient
        self.pattern = problem.patterns[0]

    def emit(self) -> None:
        """One pipeline: rounds of output blocks, of input blocks, of kernel positions."""
        plan, problem, array, context = self.plan, self.problem, self.array, self.context
        results = runs(problem.result_blocks, plan.split * plan.result_slices * array.pe_blocks)
        streams = runs(problem.stream_blocks, self.columns * plan.stream_slices * array.column_blocks)
        taps = runs(len(self.pattern.taps), plan.taps)
        n_results, n_streams, n_taps = (sum(n for _, n in kinds) for kinds in (results, streams, taps))
        job = context.begin_job(first_share=plan.bands[0].n_samples / problem.batch)
        again = n_taps if len(plan.bands) > 1 else 1
        stream_loads = 1 if plan.stream_resident else n_results * again
        stationary_loads = 1 if plan.stationary_resident else n_streams * again
        started = False
        for (r, n_r), (s, n_s), (t, n_t) in product(results, streams, taps):
            n = n_r * n_s * n_t
            job.begin_tile(n)
            if not started:
                self._load(streams, results, stream_loads, stationary_loads)
                started = True
            self._compute(r, s, t[1] - t[0], n)
            context.count = n
            self._store(r, s, t)

    def _load(self, streams: list, results: list, stream_loads: int, stationary_loads: int) -> None:
        """All loads of both operands; the first tile waits for the first blocks of its first band."""
        problem, lanes, job = self.problem, self.array.lanes, self.context.job
        in_row = self.pattern.in_width * lanes * problem.stream_element_bytes
        out_row = self.pattern.out_width * lanes * problem.stationary_element_bytes
        for kinds, engine, tensor, base, loads in (
            (streams, LOAD_ACTIVATION, self.operands.stream, self.operands.stream_block, stream_loads),
            (results, LOAD_WEIGHT, self.operands.stationary, self.operands.stationary_block, stationary_loads),
        ):
            first = None
            for (blocks, n), (band, n_bands) in product(kinds, band_kinds(problem, self.plan.bands)):
                self.context.count = loads * n * n_bands
                rows = band_operand_rows(problem, band) if engine == LOAD_ACTIVATION else (band.first_row, band.end_row)
                row_bytes = in_row if engine == LOAD_ACTIVATION else out_row
                self.load_rows(engine, tensor, (base + blocks[0], base + blocks[1]), band, rows, row_bytes, 1)
                first = job.first[engine] if first is None else first
            job.first[engine] = first or 0.0

    def _compute(self, r: tuple[int, int], s: tuple[int, int], taps: int, count: int) -> None:
        tile = self.problem, self.plan, r[1] - r[0], s[1] - s[0], taps
        sizes = gradient_tiles(self.problem, self.plan)
        self.add_work(gradient_work(self.array, *tile), gradient_sent(self.array, self.context.ways, *tile, sizes), count)

    def _store(self, r: tuple[int, int], s: tuple[int, int], t: tuple[int, int]) -> None:
        tap_bytes = self.array.lanes**2 * self.problem.result_element_bytes
        block = self.problem.kernel_positions * tap_bytes
        if t[1] - t[0] == self.problem.kernel_positions:
            self.context.transfer(STORE, None, 0, self.gradient, r, (0, 1), (s[0] * block, s[1] * block))
            return
        for i in range(s[0], s[1]):
            self.context.transfer(STORE, None, 0, self.gradient, r, (0, 1), (i * block + t[0] * tap_bytes, i * block + t[1] * tap_bytes))
