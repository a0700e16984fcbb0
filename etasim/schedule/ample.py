"""Buffers that hold all of both operands. Larger ones change no plan, so machines that have such are planned once.

An operand that fits its buffer whole stays there, and any piece of it fits: nothing else is asked of the size.
"""

from functools import lru_cache

from etasim.schedule.array import ArraySizes
from etasim.schedule.problem import Band, ConvProblem
from etasim.schedule.tiling import band_operand_rows, vector_bytes


def without_spare(array: ArraySizes, problem: ConvProblem) -> ArraySizes:
    """``array`` with operand buffers no larger than makes a difference to the plans of ``problem``, of which nothing is pinned."""
    if array.bypasses:
        return array
    stream, stationary = _operand_bytes(problem, array.lanes)
    if array.activation_bytes <= stream and array.weight_bytes <= stationary:
        return array
    return array._replace(activation_bytes=min(array.activation_bytes, stream), weight_bytes=min(array.weight_bytes, stationary))


@lru_cache(maxsize=4096)
def _operand_bytes(problem: ConvProblem, lanes: int) -> tuple[int, int]:
    """Bytes that hold the streamed operand in bands of any size, and the stationary one.

    Bands share rows at their borders, most if each is a row of results; those of several rows may hold rows that nobody reads, all of a
    map at the most.
    """
    pattern = problem.patterns[0]
    spans = (band_operand_rows(problem, Band(0, 1, row, row + 1)) for row in range(pattern.out_height))
    held_rows = sum(end - first for first, end in spans) + pattern.in_height
    streamed = problem.batch * problem.stream_blocks * held_rows * vector_bytes(pattern.in_width, problem.stream_vector_bits)
    if problem.phase == "wg":
        row_bytes = vector_bytes(max(pattern.out_width, pattern.cols), problem.stationary_vector_bits)
        return streamed, problem.batch * problem.result_blocks * max(pattern.out_height, pattern.rows) * row_bytes
    block_bytes = vector_bytes(lanes, problem.stationary_vector_bits) * problem.kernel_positions
    return streamed, problem.result_blocks * problem.stream_blocks * block_bytes
