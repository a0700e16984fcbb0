"""Passes in which a pixel meets a window of pixels: pooling and shortcuts, forward and backward, row by row.

A shortcut is a window of one pixel. Every window begins ``stride`` pixels after the one before, the first at ``offset``.
"""

from etasim.core.arrays import Integers, Record
from etasim.core.jit import kernel, routine
from etasim.functional.operands import ABSENT, Plane, PlanePiece, clear, contribute, convert, operand, read, result, write
from etasim.functional.rows import fill
from etasim.functional.scalars import WIDEST_SHIFT, reciprocal
from etasim.functional.tables import CoreValues
from etasim.program import roles
from etasim.program.commands import OPERANDS

POSITION = OPERANDS - 1
"""Row of the positions of the greatest pixels; the last result's, for pooling has two at most."""


@kernel
def greatest_of_windows(values: CoreValues, vector: Record, piece: PlanePiece) -> None:
    """The greatest pixel of each window and its position; or each window's error goes to the pixel that it chose."""
    _pass_windows(values, vector, piece.plane, True)


@kernel
def means_of_windows(values: CoreValues, vector: Record, piece: PlanePiece) -> None:
    """The mean of each window; or each window's error goes to all its pixels. Every stride-th pixel is a window of one."""
    _pass_windows(values, vector, piece.plane, False)


@routine
def _take_greatest(
    pieces: Integers, source: int, target: int, out_width: int, in_width: int, stride: int, offset: int, lanes: int, position: int
) -> None:
    """Compare the greatest pixels so far with those at one position of their windows."""
    for x in range(out_width):
        in_x = x * stride + offset
        if 0 <= in_x < in_width:
            for lane in range(lanes):
                if pieces[source, in_x * lanes + lane] > pieces[target, x * lanes + lane]:
                    pieces[target, x * lanes + lane] = pieces[source, in_x * lanes + lane]
                    pieces[POSITION, x * lanes + lane] = position


@routine
def _gather(
    pieces: Integers, source: int, target: int, out_width: int, in_width: int, stride: int, offset: int, lanes: int, factor: int
) -> None:
    """Add the pixels at one position of the windows."""
    for x in range(out_width):
        in_x = x * stride + offset
        if 0 <= in_x < in_width:
            for lane in range(lanes):
                pieces[target, x * lanes + lane] += factor * pieces[source, in_x * lanes + lane]


@routine
def _scatter(
    pieces: Integers,
    source: int,
    target: int,
    out_width: int,
    in_width: int,
    stride: int,
    offset: int,
    lanes: int,
    factor: int,
    window: int,
    position: int,
) -> None:
    """Add every window's value to its pixel at one position; only where row ``window``, if there is one, holds that position."""
    for x in range(out_width):
        in_x = x * stride + offset
        if 0 <= in_x < in_width:
            for lane in range(lanes):
                if window == ABSENT or pieces[window, x * lanes + lane] == position:
                    pieces[target, in_x * lanes + lane] += factor * pieces[source, x * lanes + lane]


@kernel
def _source_row(unit: Record, y: int, r: int, is_backward: int) -> int:
    """Row of the operand that meets row ``y`` of the result at row ``r`` of the window; ABSENT if there is none."""
    row, end = y * unit["stride_height"] - unit["pad_height"] + r, unit["in_height"]
    if is_backward:
        distance, end = y + unit["pad_height"] - r, unit["out_height"]
        row = distance // unit["stride_height"] if distance % unit["stride_height"] == 0 else ABSENT
    return row if 0 <= row < end else ABSENT


@kernel
def _meet(
    pieces: Integers,
    source: int,
    target: int,
    unit: Record,
    lanes: int,
    r: int,
    factor: int,
    is_backward: int,
    is_greatest: int,
    window: int,
) -> None:
    """Operand and result rows meet at all positions of row ``r`` of the window."""
    out_width, in_width, stride = unit["out_width"], unit["in_width"], unit["stride_width"]
    for t in range(unit["kernel_width"]):
        offset, position = t - unit["pad_width"], r * unit["kernel_width"] + t
        if is_backward:
            _scatter(pieces, source, target, out_width, in_width, stride, offset, lanes, factor, window, position)
        elif is_greatest:
            _take_greatest(pieces, source, target, out_width, in_width, stride, offset, lanes, position)
        else:
            _gather(pieces, source, target, out_width, in_width, stride, offset, lanes, factor)


@routine
def _pass_windows(values: CoreValues, vector: Record, plane: Plane, is_greatest: int) -> None:
    """A pass on a plane whose pixels are windows: outputs from the input, or contributions to the input's error from the error."""
    unit, lanes, tensors = values.units[vector["unit"]], values.lanes, vector["tensor"]
    factor, shift = (1, 0) if is_greatest else reciprocal(unit["kernel_height"] * unit["kernel_width"])
    source, target = operand(vector, roles.ERROR), result(vector, roles.PARTIAL)
    width, source_width, is_backward = unit["in_width"], unit["out_width"], source != ABSENT
    if not is_backward:
        source, target = operand(vector, roles.OUTPUT), result(vector, roles.OUTPUT)
        width, source_width = source_width, width
    n_elements, source_elements, window = width * lanes, source_width * lanes, result(vector, roles.WINDOW)
    source_unit = values.tensors.read_unit[tensors[source]] - shift
    for first in range(0, vector["n_elements"][target], n_elements):
        fill(values.pieces, target, n_elements, -(1 << WIDEST_SHIFT) if is_greatest and not is_backward else 0)
        for r in range(unit["kernel_height"]):
            row = _source_row(unit, (vector["first_element"][target] + first) // n_elements, r, is_backward)
            if row != ABSENT:
                for i in range(vector["n_reads"]):
                    read(values, vector, i, plane, row * source_elements - vector["first_element"][i], source_elements)
                chosen = operand(vector, roles.WINDOW)
                _meet(values.pieces, source, target, unit, lanes, r, factor, is_backward, is_greatest, chosen)
        if is_backward:
            contribute(values, plane.unit, target, n_elements, source_unit)
        else:
            convert(values, tensors[target], target, 0, n_elements, source_unit)
        write(values, vector, target, target, plane, first, n_elements)
        if window != ABSENT:
            clear(values, POSITION, plane, 0, n_elements)
            write(values, vector, window, POSITION, plane, first, n_elements)
