"""Passes in which a pixel meets a window of pixels: pooling and shortcuts, forward and backward, row by row.

A shortcut is a window of one pixel.
"""

from etasim.core.jit import entry, kernel
from etasim.core.program import MAX_READS, OPERANDS
from etasim.functional import roles
from etasim.functional.operands import ABSENT, clear, contribute, convert, operand, read, result, write
from etasim.functional.scalars import WIDEST_SHIFT, reciprocal

ROW = MAX_READS
"""Row of the first result."""

POSITION = OPERANDS - 1
"""Row of the positions of the greatest pixels; the last result's, for pooling has two at most."""


@entry
def _take_greatest(pieces, source, target, n_elements, position):
    """Elements of row 0 from ``source`` on, against the greatest so far from ``target`` on."""
    for i in range(n_elements):
        if pieces[0, source + i] > pieces[ROW, target + i]:
            pieces[ROW, target + i] = pieces[0, source + i]
            pieces[POSITION, target + i] = position


@entry
def _add(pieces, source, target, n_elements):
    """Elements of row 0 from ``source`` on, to the sums from ``target`` on."""
    for i in range(n_elements):
        pieces[ROW, target + i] += pieces[0, source + i]


@entry
def _add_chosen(pieces, source, target, n_elements, position):
    """The same, where row 1 holds ``position``."""
    for i in range(n_elements):
        if pieces[1, source + i] == position:
            pieces[ROW, target + i] += pieces[0, source + i]


@kernel
def _fill(pieces, row, n_elements, value):
    for i in range(n_elements):
        pieces[row, i] = value


@kernel
def _scale(values, row, n_elements, unit):
    """The average's factor on a row of sums in ``unit``; returns the unit of the product."""
    mantissa, shift = reciprocal(unit["kernel_height"] * unit["kernel_width"])
    for i in range(n_elements):
        values.pieces[row, i] *= mantissa
    return shift


@kernel
def _gather(values, vector, plane, unit, y, is_greatest):
    """Greatest, or sum, of the windows of output row ``y``."""
    lanes, pieces = values.lanes, values.pieces
    row_elements = unit["in_width"] * lanes
    _fill(pieces, ROW, unit["out_width"] * lanes, -(1 << WIDEST_SHIFT) if is_greatest else 0)
    for r in range(unit["kernel_height"]):
        in_y = y * unit["stride_height"] - unit["pad_height"] + r
        if 0 <= in_y < unit["in_height"]:
            read(values, vector, 0, plane, in_y * row_elements - vector["first_element"][0], row_elements)
            for x in range(unit["out_width"]):
                for t in range(unit["kernel_width"]):
                    in_x = x * unit["stride_width"] - unit["pad_width"] + t
                    if 0 <= in_x < unit["in_width"]:
                        if is_greatest:
                            _take_greatest(pieces, in_x * lanes, x * lanes, lanes, r * unit["kernel_width"] + t)
                        else:
                            _add(pieces, in_x * lanes, x * lanes, lanes)


@kernel
def gather_windows(values, vector, plane, is_greatest, is_average):
    """Every result row of a plane from the windows of the operand."""
    unit, window, pieces = values.units[plane.unit], result(vector, roles.WINDOW), values.pieces
    n_elements = unit["out_width"] * values.lanes
    for first in range(0, vector["n_elements"][ROW], n_elements):
        _gather(values, vector, plane, unit, (vector["first_element"][ROW] + first) // n_elements, is_greatest)
        source_unit = values.tensors.read_unit[vector["tensor"][0]]
        if is_average:
            source_unit -= _scale(values, ROW, n_elements, unit)
        convert(values, vector["tensor"][ROW], ROW, 0, 1, n_elements, source_unit)
        write(values, vector, ROW, plane, first, n_elements)
        if window != ABSENT:
            for i in range(n_elements):
                pieces[window, i] = pieces[POSITION, i]
            clear(values, window, plane, 0, n_elements)
            write(values, vector, window, plane, first, n_elements)


@kernel
def _scatter(values, vector, plane, unit, in_y):
    """What the windows that hold row ``in_y`` of the input give back to it."""
    lanes, pieces, window = values.lanes, values.pieces, operand(vector, roles.WINDOW)
    row_elements = unit["out_width"] * lanes
    _fill(pieces, ROW, unit["in_width"] * lanes, 0)
    for r in range(unit["kernel_height"]):
        y, rest = (in_y + unit["pad_height"] - r) // unit["stride_height"], (in_y + unit["pad_height"] - r) % unit["stride_height"]
        if rest == 0 and 0 <= y < unit["out_height"]:
            for k in range(vector["n_reads"]):
                read(values, vector, k, plane, y * row_elements - vector["first_element"][k], row_elements)
            for x in range(unit["out_width"]):
                for t in range(unit["kernel_width"]):
                    in_x = x * unit["stride_width"] - unit["pad_width"] + t
                    if 0 <= in_x < unit["in_width"]:
                        if window == ABSENT:
                            _add(pieces, x * lanes, in_x * lanes, lanes)
                        else:
                            _add_chosen(pieces, x * lanes, in_x * lanes, lanes, r * unit["kernel_width"] + t)


@kernel
def scatter_windows(values, vector, plane, is_average):
    """Contributions of a plane to the error of the unit's input, from the errors of the windows."""
    unit = values.units[vector["unit"]]
    n_elements = unit["in_width"] * values.lanes
    for first in range(0, vector["n_elements"][ROW], n_elements):
        _scatter(values, vector, plane, unit, (vector["first_element"][ROW] + first) // n_elements)
        error_unit = values.tensors.read_unit[vector["tensor"][0]]
        if is_average:
            error_unit -= _scale(values, ROW, n_elements, unit)
        contribute(values, plane.unit, ROW, n_elements, error_unit)
        write(values, vector, ROW, plane, first, n_elements)
