"""Outlines of FF, BP and WG: the nests that `result_stationary` and `gradient_stationary` walk, equal steps taken once and counted."""

from collections import Counter
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

from etasim.core.program import FIRST_CLUSTER, LOAD_ACTIVATION, LOAD_WEIGHT, STORE
from etasim.mapping.array import PSUM, STATIONARY, STREAM, Array
from etasim.mapping.builder import Region
from etasim.mapping.convolution import Operands
from etasim.mapping.gradient_plans import drain_cycles, gradient_cycles, gradient_rates, gradient_rounds
from etasim.mapping.nest import BANDS, Operand, Span, Step, band_at, nest_of
from etasim.mapping.problem import Allotment, Band, Plan, Problem
from etasim.mapping.result_plans import result_cycles, result_rates, result_rounds
from etasim.mapping.result_stationary import LOAD_PARTS, tap_groups
from etasim.mapping.tensors import Tensor
from etasim.mapping.tiling import band_operand_rows, ceil_div, flits, tile_sizes


def slices_of(n_blocks: int, own_blocks: int, slice_blocks: int) -> int:
    """Slices in all if ``n_blocks`` are dealt in pieces of ``own_blocks``, each rounded up to slices."""
    whole, rest = divmod(n_blocks, own_blocks)
    return whole * ceil_div(own_blocks, slice_blocks) + ceil_div(rest, slice_blocks)


class Work(NamedTuple):
    """A tile on the array: cycles of the most loaded cluster or port, multiplying cycles summed over the clusters, flits (streamed,
    stationary, results), and cycles in which the last pass drains."""

    cycles: int
    busy_cycles: int
    flits: tuple[int, int, int]
    drain_cycles: int


@lru_cache(maxsize=16384)
def result_work(array: Array, problem: Problem, plan: Plan, kernel_width: int, n_blocks: int, band: Band) -> Work:
    """A tile of FF or BP: ``n_blocks`` result blocks over a band."""
    own = plan.result_slices * array.pe_blocks
    slices = min(plan.result_slices, ceil_div(n_blocks, array.pe_blocks))
    all_slices, rows, columns = slices_of(n_blocks, own, array.pe_blocks), ceil_div(n_blocks, own), array.clusters // plan.split
    cycles = busy = stream = stationary = last_pixels = 0
    for pattern, shape in zip(problem.patterns, plan.shapes, strict=True):
        rounds = result_rounds(array, problem, pattern, shape, band, columns)
        cycles += result_cycles(array, result_rates(array, problem, pattern, Allotment(plan.split, 1, slices, 1, 0)), rounds, 0)
        sizes, n_repeats = tile_sizes(pattern, shape, band)
        groups = n_repeats * sum(ceil_div(size.n_pixels, array.columns) for size in sizes)
        busy += max(problem.stream_blocks * len(pattern.taps), 1) * all_slices * groups
        if not sizes or not pattern.taps:
            continue
        last_pixels, n_tiles = sizes[-1].n_pixels, n_repeats * len(sizes)
        row = pattern.in_width * array.lanes * problem.stream_element_bytes
        words = n_repeats * sum(flits(array, STREAM, size.operand_rows * row) for size in sizes)
        sent = len(tap_groups(pattern.taps, shape.taps_per_chunk, kernel_width)) * (1 if array.multicast else rows)
        stream += words * problem.stream_blocks * sent
        vectors = array.lanes**2 * array.pe_blocks * len(pattern.taps) * problem.stationary_element_bytes
        n_sent = ceil_div(n_tiles, columns) if array.multicast else n_tiles
        stationary += n_sent * problem.stream_blocks * flits(array, STATIONARY, all_slices * vectors)
    pixels = band.n_samples * (band.end_row - band.first_row) * problem.patterns[0].out_width
    results = flits(array, PSUM, n_blocks * pixels * array.lanes * problem.result_element_bytes)
    drained = flits(array, PSUM, min(rows * columns, array.clusters) * slices * array.pes * last_pixels * problem.result_element_bytes)
    return Work(cycles, busy, (stream, stationary, results), drained // min(array.error_ports, array.clusters))


@lru_cache(maxsize=16384)
def gradient_work(array: Array, problem: Problem, plan: Plan, n_results: int, n_streams: int, taps: int) -> Work:
    """A tile of WG: ``n_results`` output blocks, ``n_streams`` input blocks and ``taps`` kernel positions over the batch."""
    pattern = problem.patterns[0]
    row_slices = min(plan.result_slices, ceil_div(n_results, array.pe_blocks))
    slices = row_slices, min(plan.stream_slices, ceil_div(n_streams, array.column_blocks))
    allotment = Allotment(plan.split, plan.sample_parts, *slices, taps)
    rounds = gradient_rounds(array, problem, plan.shapes[0], plan.bands[0], plan.sample_parts)
    cycles = gradient_cycles(gradient_rates(array, problem, allotment), rounds, len(plan.bands), 0)
    tiles = Counter()
    for step, n in nest_of(array, problem, plan).kinds(*BANDS):
        sizes, n_repeats = tile_sizes(pattern, plan.shapes[0], band_at(step))
        for size in sizes:
            tiles[size] += n * n_repeats
    own_r, own_s = plan.result_slices * array.pe_blocks, plan.stream_slices * array.column_blocks
    all_slices = slices_of(n_results, own_r, array.pe_blocks) * slices_of(n_streams, own_s, array.column_blocks)
    busy = all_slices * taps * sum(n * ceil_div(size.n_pixels, array.lanes) for size, n in tiles.items())
    row = pattern.in_width * array.lanes * problem.stream_element_bytes
    stream = sum(n * flits(array, STREAM, size.operand_rows * row) for size, n in tiles.items())
    pixel_bytes = array.lanes * problem.stationary_element_bytes
    stationary = sum(n * flits(array, STATIONARY, size.n_pixels * pixel_bytes) for size, n in tiles.items())
    stream_copies, stationary_copies = (1, 1) if array.multicast else (ceil_div(n_results, own_r), ceil_div(n_streams, own_s))
    element_bytes = problem.result_element_bytes if plan.sample_parts == 1 else array.sum_bytes
    results = plan.sample_parts * flits(array, PSUM, n_results * n_streams * taps * array.lanes**2 * element_bytes)
    drained = drain_cycles(array, problem, allotment, ceil_div(n_results, own_r) * ceil_div(n_streams, own_s))
    sent = n_streams * stream * stream_copies, n_results * stationary * stationary_copies, results
    return Work(cycles, busy, sent, drained)


class ConvolutionOutline:
    """What both have in common: a pipeline of the nest's steps, equal ones once."""

    load_parts = 1
    """Commands that load a piece of the streamed operand."""

    def __init__(self, context, problem: Problem, plan: Plan, operands: Operands):
        self.context, self.problem, self.plan, self.operands = context, problem, plan, operands
        self.array, self.nest = context.array, nest_of(context.array, problem, plan)

    def emit(self) -> None:
        """One pipeline; its loads are all booked when the first tile begins, which waits for the first piece of each operand."""
        job, loaded = self.begin(), False
        for step, count in self.nest.kinds(*self.tile_axes):
            job.begin_tile(count)
            if not loaded:
                self._load(job, LOAD_ACTIVATION, self.nest.stream, self.load_stream)
                self._load(job, LOAD_WEIGHT, self.nest.stationary, self.load_stationary)
                loaded = True
            self._add_work(self.work(step), count)
            self.context.count = count
            self.finish(step)

    def _load(self, job, engine: int, operand: Operand, load: Callable[[Step], None]) -> None:
        """All pieces of an operand, as often as the nest asks for them."""
        first = None
        for step, count in self.nest.kinds(*operand.axes):
            self.context.count = count * self.nest.repeats(operand)
            load(step)
            first = job.first[engine] if first is None else first
        job.first[engine] = first or 0.0

    def _add_work(self, work: Work, count: int) -> None:
        """``count`` tiles."""
        operation, amounts = self.context.builder.operation, self.context.amounts
        self.context.job.add(FIRST_CLUSTER, work.cycles, count, operation)
        self.context.job.drain_cycles = work.drain_cycles
        amounts.cluster_cycles[operation] += work.busy_cycles * count
        for kind, n_flits in enumerate(work.flits):
            amounts.flits[operation, kind] += n_flits * count

    def load_stream(self, step: Step) -> None:
        """Rows of the streamed maps."""
        band, (first, end) = band_at(step), step.get("streams", Span(0, self.problem.stream_blocks))
        row_bytes = self.problem.patterns[0].in_width * self.array.lanes * self.problem.stream_element_bytes
        blocks, rows = (self.operands.stream_block + first, self.operands.stream_block + end), band_operand_rows(self.problem, band)
        self.load_rows(LOAD_ACTIVATION, self.operands.stream, blocks, band, rows, row_bytes, self.load_parts)

    def load_rows(self, engine: int, tensor: Tensor, blocks: tuple[int, int], band: Band, rows: tuple[int, int], row_bytes: int,
                  n_parts: int) -> None:  # fmt: skip
        """Rows of a feature map's channel blocks."""
        if rows[1] > rows[0]:
            planes = (band.first_sample, band.first_sample + band.n_samples)
            self.context.transfer(engine, None, 0, tensor, blocks, planes, (rows[0] * row_bytes, rows[1] * row_bytes), first_part=n_parts)


class ResultOutline(ConvolutionOutline):
    """FF and BP; the arguments are those of `ResultStationary`."""

    load_parts = LOAD_PARTS
    tile_axes = ("results", *BANDS)

    def __init__(self, context, problem: Problem, plan: Plan, operands: Operands, result_block: int, kernel_width: int, done: Callable,
                 room: Callable):  # fmt: skip
        super().__init__(context, problem, plan, operands)
        self.kernel_width, self.done = kernel_width, done

    def begin(self):
        """A pipeline that finishes samples one after the other unless all of them are taken for each round of results."""
        by_sample = self.plan.outer == "stream" or self.nest.axis("results").count == 1
        return self.context.begin_job(first_share=self.nest.axis("samples").step / self.problem.batch, by_sample=by_sample)

    def load_stationary(self, step: Step) -> None:
        """Weights of a round of results."""
        tensor, problem, base = self.operands.stationary, self.problem, self.operands.stationary_block
        block_bytes, (first, end) = problem.kernel_positions * self.array.lanes**2 * problem.stationary_element_bytes, step["results"]
        if problem.phase == "ff":
            self.context.transfer(LOAD_WEIGHT, None, 0, tensor, (base + first, base + end), (0, 1))
        else:
            piece = (first * block_bytes, end * block_bytes)
            self.context.transfer(LOAD_WEIGHT, None, 0, tensor, (base, base + problem.stream_blocks), (0, 1), piece)

    def work(self, step: Step) -> Work:
        """The array's work on a tile."""
        return result_work(self.array, self.problem, self.plan, self.kernel_width, step["results"].size, band_at(step))

    def finish(self, step: Step) -> None:
        """What follows a tile of results."""
        band, blocks = band_at(step), step["results"]
        pixels = band.n_samples * (band.end_row - band.first_row) * self.problem.patterns[0].out_width
        with self.context.scope():
            self.context.hold(blocks.size * pixels * self.array.lanes * self.problem.result_element_bytes)
            self.done(blocks, band, Region(0, self.array.word_bytes, {}))


class GradientOutline(ConvolutionOutline):
    """WG; the arguments are those of `GradientStationary`."""

    tile_axes = ("results", "streams", "taps")

    def __init__(self, context, problem: Problem, plan: Plan, operands: Operands, gradient: Tensor, first_block: int):
        super().__init__(context, problem, plan, operands)
        self.gradient = gradient

    def begin(self):
        """A pipeline whose tiles each take all samples."""
        return self.context.begin_job(first_share=self.nest.axis("samples").step / self.problem.batch)

    def load_stationary(self, step: Step) -> None:
        """Rows of dO."""
        band, (first, end) = band_at(step), step["results"]
        row_bytes = self.problem.patterns[0].out_width * self.array.lanes * self.problem.stationary_element_bytes
        blocks = self.operands.stationary_block + first, self.operands.stationary_block + end
        self.load_rows(LOAD_WEIGHT, self.operands.stationary, blocks, band, (band.first_row, band.end_row), row_bytes, 1)

    def work(self, step: Step) -> Work:
        """The array's work on a tile."""
        sizes = step["results"].size, step["streams"].size, step["taps"].size
        return gradient_work(self.array, self.problem, self.plan, *sizes)

    def finish(self, step: Step) -> None:
        """The store of a tile's gradients."""
        r, s, t = step["results"], step["streams"], step["taps"]
        tap_bytes = self.array.lanes**2 * self.problem.result_element_bytes
        block = self.problem.kernel_positions * tap_bytes
        whole = t.size == self.problem.kernel_positions
        pieces = [(s.first * block, s.end * block)] if whole else [
            (i * block + t.first * tap_bytes, i * block + t.end * tap_bytes) for i in range(*s)
        ]  # fmt: skip
        for piece in pieces:
            self.context.transfer(STORE, None, 0, self.gradient, r, (0, 1), piece)
