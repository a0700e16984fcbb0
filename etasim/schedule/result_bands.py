"""Bands of FF and BP: samples or rows that are loaded and finished together, what they read, and what they move."""

from typing import Any, NamedTuple

from etasim.core.jit import kernel
from etasim.schedule.choices import Movement
from etasim.schedule.problem import Follow
from etasim.schedule.rounds import StreamBytes, bytes_of_vectors, ceil_quotient, pieces_bytes


class ResultBands(NamedTuple):
    """Clusters split into ``split`` rows that hold ``result_slices`` each, so ``round_blocks`` in all; bands of ``samples`` samples or of
    ``rows`` rows, and what these read; streamed blocks that are loaded at a time."""

    split: int
    result_slices: int
    round_blocks: int
    samples: int
    rows: int
    streamed: StreamBytes
    reduction_blocks: int


@kernel
def block_weight_bytes(array: Any, problem: Any, stream_blocks: int) -> int:
    """Weights between a block of results and so many of the streamed operand."""
    return bytes_of_vectors(array.lanes, problem.stationary_vector_bits) * problem.kernel_positions * stream_blocks


@kernel
def loaded_weight_bytes(array: Any, problem: Any, round_blocks: int, reduction_blocks: int) -> int:
    """DRAM bytes to load all weights once, a round of result blocks and ``reduction_blocks`` of the streamed operand at a time. In FF a
    round takes whole planes of the weight tensor, unless the reduction comes in parts; in BP it takes a piece of every plane. The pieces
    share the bursts at their ends."""
    block = bytes_of_vectors(array.lanes, problem.stationary_vector_bits) * problem.kernel_positions
    if problem.is_forward:
        return problem.result_blocks * pieces_bytes(problem.stream_blocks, block, array.burst_bytes, reduction_blocks)
    return problem.stream_blocks * pieces_bytes(problem.result_blocks, block, array.burst_bytes, round_blocks)


@kernel
def held_bits(problem: Any, patterns: Any, rows: int) -> float:
    """Bits of the error buffer for an element of results; where bands are not whole planes what needs these comes later."""
    own = 16.0 * problem.result_element_bytes
    return max(problem.follow.held_bits, own) if follows_at_once(problem, patterns, rows) else own


@kernel
def follows_at_once(problem: Any, patterns: Any, rows: int) -> bool:
    """Whether bands of ``rows`` rows need not wait for others."""
    return rows == patterns[0].out_height or problem.follow.in_pieces


@kernel
def comes_in_parts(problem: Any, bands: ResultBands) -> bool:
    """Whether the operands of the whole reduction are never there at once."""
    return bands.reduction_blocks < problem.stream_blocks


@kernel
def follow_of(problem: Any, at_once: bool) -> Follow:
    """What follows results at once; if nothing does, they are stored."""
    own = problem.follow
    if at_once:
        return Follow(own.passes, own.lane_operations, own.load_bits, own.store_bits, own.held_bits, own.is_hidden, own.in_pieces)
    return Follow(0, 0.0, 0.0, 8.0 * problem.result_element_bytes, 0.0, False, False)


@kernel
def samples_that_fit(
    array: Any, problem: Any, patterns: Any, round_blocks: int, reduction_blocks: int, rows: int, streamed: StreamBytes
) -> int:
    """Samples of ``rows`` rows of which ``reduction_blocks`` of the operand fit half of the activation buffer, and whose results fit the
    error buffer with what follows them."""
    operand = 0 if array.bypasses else reduction_blocks * streamed.largest
    results = round_blocks * rows * patterns[0].out_width * array.lanes * held_bits(problem, patterns, rows) / 8
    return min(array.activation_bytes // max(operand, 1), int(2 * array.error_bytes / results))


@kernel
def count_bands(problem: Any, patterns: Any, samples: int, rows: int) -> int:
    return ceil_quotient(problem.batch, samples) * ceil_quotient(patterns[0].out_height, rows)


@kernel
def movement(array: Any, problem: Any, patterns: Any, pins: Any, bands: ResultBands, outer: int) -> Movement:
    """How often the operands are loaded; what fits its buffer stays there, unless it is pinned that it does not. What comes in parts comes
    again for every pass."""
    stream_bytes_held = problem.stream_blocks * problem.batch * bands.streamed.held
    stream_resident = not array.bypasses and pins.stream_resident != 0 and stream_bytes_held <= array.activation_bytes
    weight_bytes = problem.result_blocks * block_weight_bytes(array, problem, problem.stream_blocks)
    stationary_resident = pins.stationary_resident != 0 and weight_bytes <= array.weight_bytes
    n_rounds, n_bands = ceil_quotient(problem.result_blocks, bands.round_blocks), count_bands(problem, patterns, bands.samples, bands.rows)
    in_parts = comes_in_parts(problem, bands)
    n_passes = len(patterns) if in_parts else 1
    comes_once = stream_resident or (outer and not in_parts and not array.bypasses)
    stream_loads = 1 if comes_once else n_rounds * n_passes
    weight_loads = 1 if stationary_resident or not (outer or in_parts) else n_bands * n_passes
    streamed = problem.stream_blocks * problem.batch * bands.streamed.loaded * stream_loads
    kept = loaded_weight_bytes(array, problem, bands.round_blocks, bands.reduction_blocks) * weight_loads
    return Movement(outer, stream_resident, stationary_resident, streamed, kept, bands.reduction_blocks)


@kernel
def count_elements(array: Any, problem: Any, patterns: Any) -> int:
    """Elements of the results."""
    return problem.result_blocks * array.lanes * problem.batch * patterns[0].out_height * patterns[0].out_width
