"""The loops of a convolution on the array, as a value that whoever walks, counts or prints them reads.

A nest says how far each axis reaches, how much of it a step takes, in which order the axes are nested, and which of them each operand
depends on. What follows from it stands here once: the steps, how many of them are equal, how often an operand is loaded.
"""

from collections.abc import Iterator
from functools import lru_cache
from itertools import product
from math import prod
from typing import Any, NamedTuple

from etasim.schedule.array import ArraySizes
from etasim.schedule.patterns import Pattern
from etasim.schedule.problem import Band, ConvProblem, Plan, TileShape
from etasim.schedule.tiling import band_operand_rows, ceil_div, pattern_rows


class Span(NamedTuple):
    """The whole numbers ``first ... end - 1``."""

    first: int
    end: int

    @property
    def size(self) -> int:
        """How many they are."""
        return self.end - self.first

    def moved(self, by: int) -> "Span":
        """As many, ``by`` further on."""
        return Span(self.first + by, self.end + by)

    def dealt(self, share: int) -> "list[Span]":
        """Shares of at most ``share``."""
        return [Span(first, min(first + share, self.end)) for first in range(self.first, self.end, share)]


class Axis(NamedTuple):
    """``0 ... extent - 1`` in steps of ``step``, of which the clusters take ``parts`` side by side.

    ``reads``: what each step reads of an operand, where that does not follow from its size; steps are equal if both are.
    """

    name: str
    extent: int
    step: int
    parts: int = 1
    reads: tuple[int, ...] = ()

    @property
    def count(self) -> int:  # type: ignore[override]  # in the place of a tuple's own
        """Number of steps."""
        return ceil_div(self.extent, self.step)

    def steps(self) -> list[Span]:
        """All steps; the last may be smaller."""
        return Span(0, self.extent).dealt(self.step)

    def kinds(self) -> list[tuple[Span, int]]:
        """Equal steps once, with their number; the last step by itself."""
        last = Span((self.count - 1) * self.step, self.extent)
        if not self.reads:
            return [*([(Span(0, self.step), self.count - 1)] if self.count > 1 else []), (last, 1)]
        found: dict[int, tuple[Span, int]] = {}
        for span, n_read in zip(self.steps()[:-1], self.reads, strict=False):
            first, n = found.get(n_read, (span, 0))
            found[n_read] = first, n + 1
        return [*found.values(), (last, 1)]


    def sizes(self) -> list[tuple[Span, int]]:
        """Steps of one size once, with their number: where only the size of a step counts, the last may be like the others."""
        whole, rest = divmod(self.extent, self.step)
        sizes = [(Span(0, self.step), whole), (Span(self.extent - rest, self.extent), 1 if rest else 0)]
        return [(span, n) for span, n in sizes if n]


NestStep = dict[str, Span]
"""Where a nest stands: the span of each axis, by the axis's name."""


class Operand(NamedTuple):
    """What is loaded inside a nest: the ``axes`` that choose its piece, and whether a piece stays in its buffer (``resident``) until no
    step asks for it any more, or only until another piece is asked for."""

    name: str
    axes: frozenset[str]
    resident: bool


class Nest(NamedTuple):
    """``axes``, the outermost first, and the operands of the convolution; ``tiles``: for each pattern, the axes inside a step that cut it
    into the passes of a cluster (``parts`` clusters side by side) and a pass into chunks."""

    axes: tuple[Axis, ...]
    stream: Operand
    stationary: Operand
    tiles: tuple[tuple[Axis, ...], ...]

    def axis(self, name: str) -> Axis:
        """The axis ``name``; the nest must have it."""
        return next(axis for axis in self.axes if axis.name == name)

    def steps(self, *names: str) -> Iterator[NestStep]:
        """All steps of the axes ``names`` (default: of all), in the order of the nest."""
        axes = self._chosen(names)
        for spans in product(*(axis.steps() for axis in axes)):
            yield {axis.name: span for axis, span in zip(axes, spans, strict=True)}

    def kinds(self, *names: str) -> Iterator[tuple[NestStep, int]]:
        """Steps as in `steps`, equal ones once with their number."""
        axes = self._chosen(names)
        for kinds in product(*(axis.kinds() for axis in axes)):
            yield {axis.name: span for axis, (span, _) in zip(axes, kinds, strict=True)}, prod(n for _, n in kinds)

    def repeats(self, operand: Operand) -> int:
        """How often each piece of ``operand`` is loaded: once if it is resident, else once for each step of the axes that turn outside
        those that choose the piece."""
        if operand.resident:
            return 1
        innermost = max((i for i, axis in enumerate(self.axes) if axis.name in operand.axes and axis.count > 1), default=0)
        return prod(axis.count for axis in self.axes[:innermost] if axis.name not in operand.axes)

    def _chosen(self, names: tuple[str, ...]) -> list[Axis]:
        return [axis for axis in self.axes if not names or axis.name in names]


BANDS = ("samples", "rows")
"""Axes that cut maps into bands."""


def band_at(step: NestStep) -> Band:
    """The band of a step of the axes `BANDS`."""
    samples, rows = step["samples"], step["rows"]
    return Band(samples.first, samples.size, rows.first, rows.end)


class ArrayBlocks(NamedTuple):
    """What a nest reads of an array: its clusters, and the channel blocks that the columns of one cover in WG."""

    clusters: int
    of_columns: int


def nest_of(array: ArraySizes, problem: ConvProblem, plan: Plan) -> Nest:
    """The loops outside the passes that ``plan`` gives ``problem``.

    FF, BP: ``results`` (output blocks, dealt to ``split`` rows of clusters) and bands; where the operands of the reduction come in parts,
    inside these ``patterns``, a pass each, and ``streams`` (input blocks), over which a pass sums. WG: ``results``, ``streams`` (input
    blocks, dealt to the columns of clusters), ``taps``, and inside them the bands whose pixels a pass sums.
    """
    return _nest(ArrayBlocks(array.clusters, array.column_blocks), problem, plan.at_no_cost)


@lru_cache(maxsize=8192)
def _nest(array: ArrayBlocks, problem: ConvProblem, plan: Plan) -> Nest:
    """`nest_of`, by all that it reads."""
    bands = _bands(problem, plan.bands[0].n_samples, plan.bands[0].end_row)
    results = Axis("results", problem.result_blocks, plan.split * plan.own_blocks, plan.split)
    if problem.phase != "wg":
        parts = _parts(problem, plan)
        chosen = frozenset({"streams"} if parts else ())
        stream = Operand("stream", chosen | frozenset(BANDS), plan.stream_resident)
        stationary = Operand("stationary", chosen | {"results"}, plan.stationary_resident)
        tiles = tuple(
            (*_tiles(pattern, shape, plan.bands[0], array.clusters // plan.split), *_chunks(plan, pattern, shape))
            for pattern, shape in zip(problem.patterns, plan.shapes, strict=True)
        )
        return Nest(((*bands, results) if plan.outer == "stream" else (results, *bands)) + parts, stream, stationary, tiles)
    columns = array.clusters // (plan.split * plan.sample_parts)
    streams = Axis("streams", problem.stream_blocks, columns * plan.stream_slices * array.of_columns, columns)
    taps = Axis("taps", len(problem.patterns[0].taps), plan.taps)
    stream = Operand("stream", frozenset({"streams", *BANDS}), plan.stream_resident)
    stationary = Operand("stationary", frozenset({"results", *BANDS}), plan.stationary_resident)
    outer = (results, streams) if plan.outer == "stationary" else (streams, results)
    groups = _tiles(problem.patterns[0], plan.shapes[0], plan.bands[0], plan.sample_parts)
    return Nest((*outer, taps, *bands), stream, stationary, (groups,))


def _parts(problem: ConvProblem, plan: Plan) -> tuple[Axis, ...]:
    """Axes of a reduction whose operands come in parts, in all passes of a tile of results; none if they come whole."""
    streams = Axis("streams", problem.stream_blocks, plan.reduction_blocks)
    return (Axis("patterns", len(problem.patterns), 1), streams) if streams.count > 1 else ()


def _tiles(pattern: Pattern, shape: TileShape, band: Band, parts: int) -> tuple[Axis, ...]:
    """Axes that cut a pattern's pixels in the largest band into tiles: whole samples, or pixels of one: whole rows, or parts of each."""
    first, end = pattern_rows(pattern, band)
    if shape.samples:
        return (Axis("samples", band.n_samples, shape.samples, parts),)
    if shape.by_row:
        return Axis("samples", band.n_samples, 1), Axis("rows", end - first, 1), Axis("pixels", pattern.cols, shape.pixels, parts)
    return Axis("samples", band.n_samples, 1), Axis("pixels", (end - first) * pattern.cols, shape.pixels, parts)


def _chunks(plan: Plan, pattern: Pattern, shape: TileShape) -> tuple[Axis, ...]:
    """Axes that cut the reduction of a pattern, or a part of it, into chunks."""
    return Axis("streams", plan.reduction_blocks, shape.slices_per_chunk), Axis("taps", len(pattern.taps), shape.taps_per_chunk)


@lru_cache(maxsize=4096)
def _bands(problem: ConvProblem, n_samples: int, n_rows: int) -> tuple[Axis, Axis]:
    """The axes of bands of so many samples and rows; at the border of a map a band of rows reads fewer operand rows."""
    rows = Axis("rows", problem.patterns[0].out_height, n_rows)
    spans = (band_operand_rows(problem, Band(0, 1, *span)) for span in rows.steps())
    return Axis("samples", problem.batch, n_samples), rows._replace(reads=tuple(end - start for start, end in spans))


def loops_of(array: ArraySizes, problem: ConvProblem, plan: Plan) -> tuple[Any, ...]:
    """What turns in the nest of ``plan``, and how often its operands are loaded: plans of which it is the same are one program."""
    nest = nest_of(array, problem, plan)
    turning = [tuple((axis.name, axis.step) for axis in axes if axis.count > 1) for axes in (nest.axes, *nest.tiles)]
    on_clusters = plan.split, plan.own_blocks, plan.sample_parts, plan.stream_slices, plan.taps
    return (*turning, *on_clusters, nest.repeats(nest.stream), nest.repeats(nest.stationary))


def nest_lines(nest: Nest) -> Iterator[str]:
    """The nest as loops, one a line; an operand stands where its pieces are loaded."""
    for depth, axis in enumerate(nest.axes):
        inner = {a.name for a in nest.axes[depth + 1 :]}
        loads = [
            f"load {operand.name}{' (stays)' if operand.resident else ''}"
            for operand in (nest.stream, nest.stationary)
            if axis.name in operand.axes and not inner & operand.axes
        ]
        yield f"{'  ' * depth}{_loop(axis)}{': ' if loads else ''}{', '.join(loads)}"
    for i, axes in enumerate(nest.tiles):
        name = f"pattern {i + 1} of {len(nest.tiles)}: " if len(nest.tiles) > 1 else ""
        yield "  " * len(nest.axes) + name + ", ".join(map(_loop, axes))


def _loop(axis: Axis) -> str:
    side_by_side = f", {axis.parts} in space" if axis.parts > 1 else ""
    return f"for {axis.name} in 0 ... {axis.extent} by {axis.step}{side_by_side}"
