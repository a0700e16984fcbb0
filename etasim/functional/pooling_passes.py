"""Passes in which a pixel meets a window of pixels: pooling and shortcuts, forward and backward, row by row.

A shortcut is a window of one pixel. Every window begins ``stride`` pixels after the one before, the first at ``offset``.
"""

from etasim.core.jit import kernel, routine
from etasim.functional.operands import ABSENT, clear, contribute, convert, operand, read, result, write
from etasim.functional.rows import fill
from etasim.functional.scalars import WIDEST_SHIFT, reciprocal
from etasim.program import roles
from etasim.program.commands import MAX_READS, OPERANDS

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
def _source_row(unit, y, r, is_backward):
    """Row of the operand that meets row ``y`` of the result at row ``r`` of the window; ABSENT if there is none."""
    row, end = y * unit["stride_height"] - unit["pad_height"] + r, unit["in_height"]
    if is_backward:
        distance, end = y + unit["pad_height"] - r, unit["out_height"]
        row = distance // unit["stride_height"] if distance % unit["stride_height"] == 0 else ABSENT
    return row if 0 <= row < end else ABSENT


@kernel
def _meet(pieces, unit, lanes, r, factor, is_backward, is_greatest, window):
    """Operand and result rows meet at all positions of row ``r`` of the window."""
    out_width, in_width, stride = unit["out_width"], unit["in_width"], unit["stride_width"]
    for t in range(unit["kernel_width"]):
        offset, position = t - unit["pad_width"], r * unit["kernel_width"] + t
        if is_backward:
            _scatter(pieces, out_width, in_width, stride, offset, lanes, factor, window, position)
        elif is_greatest:
            _take_greatest(pieces, out_width, in_width, stride, offset, lanes, position)
        else:
            _gather(pieces, out_width, in_width, stride, offset, lanes, factor)


@kernel
def pass_windows(values, vector, plane, is_backward, is_greatest, is_average):
    """A pass on a plane whose pixels are windows: outputs from the input, or contributions to the input's error from the error."""
    unit, lanes, tensors = values.units[vector["unit"]], values.lanes, vector["tensor"]
    width, source_width = (unit["in_width"], unit["out_width"]) if is_backward else (unit["out_width"], unit["in_width"])
    n_elements, source_elements, window = width * lanes, source_width * lanes, result(vector, roles.WINDOW)
    factor, shift = reciprocal(unit["kernel_height"] * unit["kernel_width"]) if is_average else (1, 0)
    source_unit = values.tensors.read_unit[tensors[0]] - shift
    for first in range(0, vector["n_elements"][ROW], n_elements):
        fill(values.pieces, ROW, n_elements, -(1 << WIDEST_SHIFT) if is_greatest else 0)
        for r in range(unit["kernel_height"]):
            row = _source_row(unit, (vector["first_element"][ROW] + first) // n_elements, r, is_backward)
            if row != ABSENT:
                for i in range(vector["n_reads"]):
                    read(values, vector, i, plane, row * source_elements - vector["first_element"][i], source_elements)
                _meet(values.pieces, unit, lanes, r, factor, is_backward, is_greatest, operand(vector, roles.WINDOW))
        if is_backward:
            contribute(values, plane.unit, ROW, n_elements, source_unit)
        else:
            convert(values, tensors[ROW], ROW, 0, n_elements, source_unit)
        write(values, vector, ROW, ROW, plane, first, n_elements)
        if window != ABSENT:
            clear(values, POSITION, plane, 0, n_elements)
            write(values, vector, window, POSITION, plane, first, n_elements)
