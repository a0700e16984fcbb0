"""From values of a piece to a unit's output: bias, addition, ReLU and its mask, codes."""

from etasim.core.jit import kernel
from etasim.functional import roles
from etasim.functional.operands import ABSENT, convert, result
from etasim.functional.roles import tensor_of
from etasim.functional.scalars import common_unit, round_shift


@kernel
def add_bias(values, vector, plane, phase, n_elements):
    """Sums of a piece with the bias, if the unit has one; returns the unit."""
    lanes, pieces, tensors = values.lanes, values.pieces, values.tensors
    row, unit = result(vector, roles.OUTPUT), tensors.read_unit[vector["tensor"][0]]
    for i in range(n_elements):
        pieces[row, i] = pieces[0, i]
    if values.units[plane.unit]["has_bias"] == 0:
        return unit
    bias_unit = tensors.read_unit[tensor_of(plane.unit, roles.PARAMETER)]
    common = common_unit(min(unit, bias_unit), max(unit, bias_unit))
    for lane in range(plane.valid_lanes):
        bias = round_shift(values.registers.parameters[plane.block_row, 1, lane], common - bias_unit)
        for i in range((lane - phase) % lanes, n_elements, lanes):
            pieces[row, i] = round_shift(pieces[row, i], common - unit) + bias
    return common


@kernel
def add_operands(values, vector, n_elements):
    """Sum of a piece of all operands; returns the unit."""
    pieces, units = values.pieces, values.tensors.read_unit
    row = result(vector, roles.OUTPUT)
    least = greatest = units[vector["tensor"][0]]
    for k in range(1, vector["n_reads"]):
        least = min(least, units[vector["tensor"][k]])
        greatest = max(greatest, units[vector["tensor"][k]])
    common = common_unit(least, greatest)
    for i in range(n_elements):
        pieces[row, i] = 0
    for k in range(vector["n_reads"]):
        shift = common - units[vector["tensor"][k]]
        for i in range(n_elements):
            pieces[row, i] += round_shift(pieces[k, i], shift)
    return common


@kernel
def activate(values, vector, has_relu, n_elements, unit):
    """ReLU of the result's row, its mask, its codes."""
    pieces, row, mask = values.pieces, result(vector, roles.OUTPUT), result(vector, roles.MASK)
    if mask != ABSENT:
        for i in range(n_elements):
            pieces[mask, i] = 1 if pieces[row, i] > 0 else 0
    if has_relu:
        for i in range(n_elements):
            pieces[row, i] = max(pieces[row, i], 0)
    convert(values, vector["tensor"][row], row, 0, 1, n_elements, unit)
