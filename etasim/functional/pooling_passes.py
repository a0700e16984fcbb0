"""Passes in which a pixel meets a window of pixels: pooling and shortcuts, forward and backward, row by row.

A shortcut is a window of one pixel. Every window begins ``stride`` pixels after the one before, the first at ``offset``.
"""

from etasim.core.jit import kernel, routine
from etasim.core.program import MAX_READS, OPERANDS
from etasim.functional import roles
from etasim.functional.operands import ABSENT, clear, contribute, convert, operand, read, result, write
from etasim.functional.rows import fill
from etasim.functional.scalars import WIDEST_SHIFT, reciprocal

ROW = MAX_READS
"""Row of the first result."""

POSITION = OPERANDS - 1
"""Row of the positions of the greatest pixels; the last result's, for pooling has two at most."""


@routine
def _take_greatest(pieces, out_width, in_width, stride, offset, lanes, position):
    """Compare the greatest pixels so far with those at one position of their windows."""
    for x in range(out_width):
        in_x = x * stride + offset
        if 0 <= in_x < in_width:
            for lane in range(lanes):
                if pieces[0, in_x * lanes + lane] > pieces[ROW, x * lanes + lane]:
                    pieces[ROW, x * lanes + lane] = pieces[0, in_x * lanes + lane]
                    pieces[POSITION, x * lanes + lane] = position


@routine
def _gather(pieces, out_width, in_width, stride, offset, lanes, factor):
    """Add the pixels at one position of the windows."""
    for x in range(out_width):
        in_x = x * stride + offset
        if 0 <= in_x < in_width:
            for lane in range(lanes):
                pieces[ROW, x * lanes + lane] += factor * pieces[0, in_x * lanes + lane]


@routine
def _scatter(pieces, out_width, in_width, stride, offset, lanes, factor, window, position):
    """Add every window's value to its pixel at one position; only where row ``window``, if there is one, holds that position."""
    for x in range(out_width):
        in_x = x * stride + offset
        if 0 <= in_x < in_width:
            for lane in range(lanes):
                if window == ABSENT or pieces[window, x * lanes + lane] == position:
                    pieces[ROW, in_x * lanes + lane] += factor * pieces[0, x * lanes + lane]


@kernel
def _factor(unit, is_average):
    """What the sum of a window is multiplied by: (mantissa, shift)."""
    mantissa, shift = reciprocal(unit["kernel_height"] * unit["kernel_width"])
    return (mantissa, shift) if is_average else (1, 0)


@kernel
def _gather_windows(values, vector, plane, unit, y, is_greatest, factor):
    """Greatest, or sum, of the windows of result row ``y``."""
    pieces, lanes, row_elements = values.pieces, values.lanes, unit["in_width"] * values.lanes
    fill(pieces, ROW, unit["out_width"] * lanes, -(1 << WIDEST_SHIFT) if is_greatest else 0)
    for r in range(unit["kernel_height"]):
        in_y = y * unit["stride_height"] - unit["pad_height"] + r
        if 0 <= in_y < unit["in_height"]:
            read(values, vector, 0, plane, in_y * row_elements - vector["first_element"][0], row_elements)
            for t in range(unit["kernel_width"]):
                offset, position = t - unit["pad_width"], r * unit["kernel_width"] + t
                if is_greatest:
                    _take_greatest(pieces, unit["out_width"], unit["in_width"], unit["stride_width"], offset, lanes, position)
                else:
                    _gather(pieces, unit["out_width"], unit["in_width"], unit["stride_width"], offset, lanes, factor)


@kernel
def gather_windows(values, vector, plane, is_greatest, is_average):
    """Every result row of a plane from the windows of the operand."""
    unit, window = values.units[plane.unit], result(vector, roles.WINDOW)
    n_elements, source_unit = unit["out_width"] * values.lanes, values.tensors.read_unit[vector["tensor"][0]]
    factor, shift = _factor(unit, is_average)
    for first in range(0, vector["n_elements"][ROW], n_elements):
        y = (vector["first_element"][ROW] + first) // n_elements
        _gather_windows(values, vector, plane, unit, y, is_greatest, factor)
        convert(values, vector["tensor"][ROW], ROW, 0, n_elements, source_unit - shift)
        write(values, vector, ROW, ROW, plane, first, n_elements)
        if window != ABSENT:
            clear(values, POSITION, plane, 0, n_elements)
            write(values, vector, window, POSITION, plane, first, n_elements)


@kernel
def _scatter_windows(values, vector, plane, unit, in_y, factor):
    """What the windows that hold row ``in_y`` of the input give back to it."""
    pieces, lanes, window = values.pieces, values.lanes, operand(vector, roles.WINDOW)
    row_elements, stride_height = unit["out_width"] * lanes, unit["stride_height"]
    fill(pieces, ROW, unit["in_width"] * lanes, 0)
    for r in range(unit["kernel_height"]):
        y, rest = (in_y + unit["pad_height"] - r) // stride_height, (in_y + unit["pad_height"] - r) % stride_height
        if rest == 0 and 0 <= y < unit["out_height"]:
            for k in range(vector["n_reads"]):
                read(values, vector, k, plane, y * row_elements - vector["first_element"][k], row_elements)
            for t in range(unit["kernel_width"]):
                _scatter(pieces, unit["out_width"], unit["in_width"], unit["stride_width"], t - unit["pad_width"], lanes, factor, window,
                         r * unit["kernel_width"] + t)  # fmt: skip


@kernel
def scatter_windows(values, vector, plane, is_average):
    """Contributions of a plane to the error of the unit's input, from the errors of the windows."""
    unit = values.units[vector["unit"]]
    n_elements, unit_of_error = unit["in_width"] * values.lanes, values.tensors.read_unit[vector["tensor"][0]]
    factor, shift = _factor(unit, is_average)
    for first in range(0, vector["n_elements"][ROW], n_elements):
        _scatter_windows(values, vector, plane, unit, (vector["first_element"][ROW] + first) // n_elements, factor)
        contribute(values, plane.unit, ROW, n_elements, unit_of_error - shift)
        write(values, vector, ROW, ROW, plane, first, n_elements)
