"""Outlines of FF, BP and WG: the nests that `result_stationary` and `gradient_stationary` walk, equal steps taken once and counted."""

from collections import Counter
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

from etasim.estimate.outline_traffic import Sent, gradient_sent, result_sent
from etasim.mapping.convolution import Operands
from etasim.mapping.result_stationary import LOAD_PARTS
from etasim.mapping.tensors import Tensor
from etasim.program.commands import FIRST_CLUSTER, LOAD_ACTIVATION, LOAD_ERROR, LOAD_WEIGHT, STORE
from etasim.schedule.array import PSUM, Array
from etasim.schedule.gradient_plans import drain_cycles, gradient_cycles, gradient_rates, gradient_rounds
from etasim.schedule.nest import BANDS, Operand, Span, Step, band_at, nest_of
from etasim.schedule.problem import Allotment, Band, Plan, Problem
from etasim.schedule.result_plans import result_cycles, result_rates, result_rounds
from etasim.schedule.tiling import TileSize, band_operand_rows, ceil_div, flits, tile_sizes


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
    drained = flits(array, PSUM, min(rows * columns, array.clusters) * slices * array.pes * last_pixels * problem.result_element_bytes)
    return Work(cycles, busy, drained // min(array.error_ports, array.clusters))


@lru_cache(maxsize=4096)
def gradient_tiles(array: Array, problem: Problem, plan: Plan) -> tuple[tuple[TileSize, int], ...]:
    """Sizes of the passes of WG over the pixels of the batch, and how often each occurs."""
    tiles = Counter()
    for step, n in nest_of(array, problem, plan).kinds(*BANDS):
        sizes, n_repeats = tile_sizes(problem.patterns[0], plan.shapes[0], band_at(step))
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
    busy = all_slices * taps * sum(n * ceil_div(size.n_pixels, array.lanes) for size, n in gradient_tiles(array, problem, plan))
    drained = drain_cycles(array, problem, allotment, ceil_div(n_results, own_r) * ceil_div(n_streams, own_s))
    return Work(cycles, busy, drained)


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
            self._add_work(*self.work(step), count)
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

    def _add_work(self, work: Work, sent: Sent, count: int) -> None:
        """``count`` tiles and what they send."""
        operation, amounts = self.context.builder.operation, self.context.amounts
        self.context.job.add(FIRST_CLUSTER, work.cycles, count, operation)
        self.context.job.drain_cycles = work.drain_cycles
        amounts.cluster_cycles[operation] += work.busy_cycles * count
        amounts.add_sent(operation, sent, count)

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

    def work(self, step: Step) -> tuple[Work, Sent]:
        """The array's work on a tile, and what it sends."""
        tile = self.problem, self.plan, self.kernel_width, step["results"].size, band_at(step)
        return result_work(self.context.timed, *tile), result_sent(self.array, self.context.ways, *tile)

    def finish(self, step: Step) -> None:
        """What follows a tile of results."""
        band, blocks = band_at(step), step["results"]
        pixels = band.n_samples * (band.end_row - band.first_row) * self.problem.patterns[0].out_width
        n_bytes = blocks.size * pixels * self.array.lanes * self.problem.result_element_bytes
        with self.context.scope():
            self.done(blocks, band, self.context.allocate(LOAD_ERROR, n_bytes))


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

    def work(self, step: Step) -> tuple[Work, Sent]:
        """The array's work on a tile, and what it sends."""
        tile = self.problem, self.plan, step["results"].size, step["streams"].size, step["taps"].size
        sizes = gradient_tiles(self.array, self.problem, self.plan)
        return gradient_work(self.context.timed, *tile), gradient_sent(self.array, self.context.ways, *tile, sizes)

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
