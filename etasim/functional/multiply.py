"""What a cluster computes: chunks of products of decoded operands, added to its psum memory.

Operands are decoded once a chunk. A product of two codes has up to 2 x 28 bits, so that operands fit 32-bit and sums 64-bit integers; the
mapper has refused what could leave the accumulators.
"""

from typing import NamedTuple

import numpy as np

from etasim.core.arrays import Integers, Numbers, Record, Records
from etasim.core.jit import kernel, routine
from etasim.functional.memories import Memories
from etasim.functional.operands import Plane
from etasim.functional.squares import decode_squares

STREAM, STATIONARY = range(2)


class Formats(NamedTuple):
    """Codes of the operands: ``tables`` [format, code] integers, ``element_bytes`` [format], ``has_squares`` [format]: whether they share
    scales in squares, ``of_operation`` [operation, (streamed, stationary)]."""

    tables: np.ndarray
    element_bytes: np.ndarray
    has_squares: np.ndarray
    of_operation: np.ndarray


@routine
def _decode(source: Numbers, start: int, n_elements: int, element_bytes: int, table: Integers, target: Numbers) -> None:
    """``n_elements`` codes become integers."""
    for i in range(n_elements):
        code = 0
        for k in range(element_bytes):
            code |= int(source[start + i * element_bytes + k]) << (8 * k)
        target[i] = table[code]


@routine
def _decode_operand(
    memories: Memories, formats: Formats, cluster: int, compute: Record, which: int, n_runs: int, run_elements: int, row_elements: int,
    first: int,
) -> None:  # fmt: skip
    """An operand of a chunk becomes integers: ``n_runs`` of ``run_elements`` each. Where scales are shared in squares, the first element of
    each is number ``first`` of a row of ``row_elements``."""
    kind = formats.of_operation[compute["operation"], which]
    source = memories.scratchpads[cluster, which, compute["operand_half"]]
    if formats.has_squares[kind] == 1:
        at = 0
        for run in range(n_runs):
            at = decode_squares(source, at, run_elements, row_elements, first, memories.decoded[which], run * run_elements)
    else:
        _decode(source, 0, n_runs * run_elements, formats.element_bytes[kind], formats.tables[kind], memories.decoded[which])


@kernel
def _load_block(values: Integers, first: int, transposes: int, lanes: int, block: Integers) -> None:
    """Weights of one kernel position as ``block`` [stream lane, result lane]."""
    for i in range(lanes):
        for j in range(lanes):
            block[i, j] = values[first + (j * lanes + i if transposes else i * lanes + j)]


@kernel
def _add_products(
    operands: Integers, plane: Plane, geometry: Record, dy: int, dx: int, block: Integers, psums: Integers, segment: int, lanes: int
) -> None:
    """Products of all pixels of a chunk with the weights of one kernel position, for one block of results."""
    row_elements = geometry["in_width"] * lanes
    for sample in range(geometry["n_samples"]):
        first = plane + sample * geometry["n_rows"] * row_elements
        i, j = geometry["first_pixel"] // geometry["cols"], geometry["first_pixel"] % geometry["cols"]
        for _ in range(geometry["n_pixels"]):
            y, x = i * geometry["step_y"] + dy, j * geometry["step_x"] + dx
            if 0 <= y < geometry["in_height"] and 0 <= x < geometry["in_width"]:
                at = first + (y - geometry["first_row"]) // geometry["row_step"] * row_elements + x * lanes
                for s in range(lanes):
                    operand = int(operands[at + s])
                    if operand != 0:
                        for r in range(lanes):
                            psums[segment, r] += operand * int(block[s, r])
            segment += 1
            j += 1
            if j == geometry["cols"]:
                i, j = i + 1, 0


@routine
def _accumulate_results(
    geometry: Record, taps: Integers, operands: Integers, weights: Integers, block: Integers, psums: Integers, lanes: int
) -> None:
    """FF and BP: results stay, channels and kernel positions pass."""
    n_pixels = geometry["n_samples"] * geometry["n_pixels"]
    plane = geometry["n_samples"] * geometry["n_rows"] * geometry["in_width"] * lanes
    first = 0
    for slice_ in range(geometry["n_stream_blocks"]):
        for result in range(geometry["n_result_blocks"]):
            for t in range(geometry["first_tap"], geometry["first_tap"] + geometry["n_taps"]):
                _load_block(weights, first, geometry["transposes"] == 1, lanes, block)
                _add_products(operands, slice_ * plane, geometry, taps[t, 0], taps[t, 1], block, psums, result * n_pixels, lanes)
                first += lanes * lanes


@routine
def _accumulate_gradients(geometry: Record, taps: Integers, operands: Integers, errors: Integers, psums: Integers, lanes: int) -> None:
    """WG: weight gradients stay, pixels pass."""
    n_pixels = geometry["n_samples"] * geometry["n_pixels"]
    row_elements = geometry["in_width"] * lanes
    plane = geometry["n_samples"] * geometry["n_rows"] * row_elements
    segment = 0
    for result in range(geometry["n_result_blocks"]):
        for stream in range(geometry["n_stream_blocks"]):
            for t in range(geometry["first_tap"], geometry["first_tap"] + geometry["n_taps"]):
                error = result * n_pixels * lanes
                for sample in range(geometry["n_samples"]):
                    first = stream * plane + sample * geometry["n_rows"] * row_elements
                    i, j = geometry["first_pixel"] // geometry["cols"], geometry["first_pixel"] % geometry["cols"]
                    for _ in range(geometry["n_pixels"]):
                        y, x = i * geometry["step_y"] + taps[t, 0], j * geometry["step_x"] + taps[t, 1]
                        if 0 <= y < geometry["in_height"] and 0 <= x < geometry["in_width"]:
                            at = first + (y - geometry["first_row"]) // geometry["row_step"] * row_elements + x * lanes
                            for r in range(lanes):
                                gradient = int(errors[error + r])
                                if gradient != 0:
                                    for s in range(lanes):
                                        psums[segment + r, s] += gradient * int(operands[at + s])
                        error += lanes
                        j += 1
                        if j == geometry["cols"]:
                            i, j = i + 1, 0
                segment += lanes


@routine
def multiply(memories: Memories, formats: Formats, computes: Records, geometries: Records, taps: Integers, cluster: int, row: int) -> None:
    """A chunk: decode its operands, clear the psums if it begins a pass, add the products."""
    compute = computes[row]
    geometry = geometries[compute["geometry"]]
    lanes = memories.psums.shape[3]
    psums = memories.psums[cluster, compute["psum_half"]]
    n_pixels = geometry["n_samples"] * geometry["n_pixels"]
    positions = geometry["n_result_blocks"] * geometry["n_stream_blocks"] * geometry["n_taps"]
    gradients = geometry["reduces_pixels"] == 1
    if compute["clears"] == 1:
        psums[: positions * lanes if gradients else geometry["n_result_blocks"] * n_pixels] = 0
    row_elements = geometry["in_width"] * lanes
    n_rows = geometry["n_stream_blocks"] * geometry["n_samples"] * geometry["n_rows"]
    _decode_operand(memories, formats, cluster, compute, STREAM, n_rows, row_elements, row_elements, 0)
    if gradients:
        row_elements = geometry["cols"] * lanes
        first, n_results = geometry["first_pixel"] * lanes % row_elements, geometry["n_result_blocks"]
        _decode_operand(memories, formats, cluster, compute, STATIONARY, n_results, n_pixels * lanes, row_elements, first)
    else:
        _decode_operand(memories, formats, cluster, compute, STATIONARY, positions, lanes * lanes, lanes * lanes, 0)
    if gradients:
        _accumulate_gradients(geometry, taps, memories.decoded[STREAM], memories.decoded[STATIONARY], psums, lanes)
    else:
        _accumulate_results(geometry, taps, memories.decoded[STREAM], memories.decoded[STATIONARY], memories.block, psums, lanes)
