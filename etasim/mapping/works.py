"""What an iteration does, operation by operation, as values: the array's convolutions, and what the unified core does alone.

A convolution's loops are its nest; here stand the tensors that it reads and writes, and which piece of them a step of the nest takes.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from etasim.mapping.steps import Alone, Slot, Step
from etasim.mapping.tensors import Content, Tensor
from etasim.program.commands import LOAD_ACTIVATION, LOAD_WEIGHT
from etasim.schedule.array import ArraySizes
from etasim.schedule.nest import Nest, NestStep, Operand, Span, band_at
from etasim.schedule.problem import Band, ConvProblem, Plan
from etasim.schedule.tiling import band_operand_rows, vector_bytes

LOAD_PARTS = 4
"""Commands that load a piece of an operand of FF or BP, so that the first chunks need not wait for all of it."""


class Operands(NamedTuple):
    """Where a convolution's operands lie: channel blocks ``stream_block ...`` of ``stream``, and the blocks of ``stationary``."""

    stream: Tensor
    stream_block: int
    stationary: Tensor
    stationary_block: int


class ResultMaps(NamedTuple):
    """What becomes of the results of FF or BP, which are channel blocks ``first_block ...`` of maps of ``content``.

    ``finish(blocks, band, slot)``: what follows a tile of results, its channel blocks and its band, which lies in ``slot`` as
    [block][sample][row][column][lane]; ``room_bytes(blocks, band)``: what the tile and all that follows take of the error buffer.
    """

    first_block: int
    content: Content
    finish: Callable[[Span, Band, Slot], Iterator[Step]]
    room_bytes: Callable[[Span, Band], int]


class Gradients(NamedTuple):
    """Where WG stores its results: blocks ``first_block ...`` of ``tensor``."""

    first_block: int
    tensor: Tensor


class Convolve(NamedTuple):
    """A convolution of one channel group on the array, booked to ``operation``."""

    operation: int
    array: ArraySizes
    problem: ConvProblem
    plan: Plan
    nest: Nest
    operands: Operands
    kernel_width: int
    results: ResultMaps | Gradients


Work = Convolve | Alone


class Piece(NamedTuple):
    """What is loaded at once of an operand: blocks and planes [first, end) of ``tensor``, bytes ``span`` of each plane, in ``n_parts``
    commands; ``rows`` of a map."""

    engine: int
    tensor: Tensor
    blocks: Span
    planes: Span
    span: Span
    rows: Span = Span(0, 0)
    n_parts: int = 1


def piece(work: Convolve, operand: Operand, step: NestStep) -> Piece:
    """The piece of ``operand`` that a step of the nest of ``work`` reads."""
    if operand.name == "stream":
        return _streamed(work, step)
    return _dO_rows(work, step) if work.problem.phase == "wg" else _weights(work, step)


def _streamed(work: Convolve, step: NestStep) -> Piece:
    """Rows of the streamed maps."""
    problem, first, band = work.problem, work.operands.stream_block, band_at(step)
    blocks = step.get("streams", Span(0, problem.stream_blocks)).moved(first)
    row_bytes = vector_bytes(problem.patterns[0].in_width, problem.stream_vector_bits)
    n_parts = 1 if problem.phase == "wg" else LOAD_PARTS
    return _rows(LOAD_ACTIVATION, work.operands.stream, blocks, band, Span(*band_operand_rows(problem, band)), row_bytes, n_parts)


def _dO_rows(work: Convolve, step: NestStep) -> Piece:
    """Rows of dO, which WG holds."""
    problem, band = work.problem, band_at(step)
    row_bytes = vector_bytes(problem.patterns[0].out_width, problem.stationary_vector_bits)
    blocks = step["results"].moved(work.operands.stationary_block)
    return _rows(LOAD_WEIGHT, work.operands.stationary, blocks, band, Span(band.first_row, band.end_row), row_bytes, 1)


def _rows(engine: int, tensor: Tensor, blocks: Span, band: Band, rows: Span, row_bytes: int, n_parts: int) -> Piece:
    planes = Span(band.first_sample, band.first_sample + band.n_samples)
    return Piece(engine, tensor, blocks, planes, Span(rows.first * row_bytes, rows.end * row_bytes), rows, n_parts)


def _weights(work: Convolve, step: NestStep) -> Piece:
    """Weights of a round of results and a part of the reduction, in the order in which DRAM holds them."""
    problem, results, first = work.problem, step["results"], work.operands.stationary_block
    block_bytes = problem.kernel_positions * vector_bytes(work.array.lanes, problem.stationary_vector_bits)
    streams = step.get("streams", Span(0, problem.stream_blocks))
    outer, inner = (results, streams) if problem.weights_by_result else (streams, results)
    span = Span(inner.first * block_bytes, inner.end * block_bytes)
    return Piece(LOAD_WEIGHT, work.operands.stationary, outer.moved(first), Span(0, 1), span, n_parts=LOAD_PARTS)


def result_tile(work: Convolve, blocks: Span, band: Band) -> Slot:
    """Room for a tile of FF or BP results."""
    assert isinstance(work.results, ResultMaps), "what FF and BP write"
    pixels = band.n_samples * (band.end_row - band.first_row) * work.problem.patterns[0].out_width
    return Slot(work.results.content, blocks.size * pixels * work.array.lanes * work.problem.result_element_bytes)


class GradientPiece(NamedTuple):
    """What a store takes of a tile of weight gradients: bytes ``span`` of each plane, ``offset`` bytes into the tile's rows."""

    span: Span
    offset: int


def gradient_pieces(work: Convolve, step: NestStep) -> list[GradientPiece]:
    """The stores of a tile of WG, which lies as [output block][input block][tap]: one if it has all taps, else one for each block."""
    streams, taps, n_taps = step["streams"], step["taps"], work.problem.kernel_positions
    tap_bytes = work.array.lanes**2 * work.problem.result_element_bytes
    block_bytes = n_taps * tap_bytes
    if taps.size == n_taps:
        return [GradientPiece(Span(streams.first * block_bytes, streams.end * block_bytes), 0)]
    return [
        GradientPiece(Span(s * block_bytes + taps.first * tap_bytes, s * block_bytes + taps.end * tap_bytes), i * taps.size * tap_bytes)
        for i, s in enumerate(range(*streams))
    ]
