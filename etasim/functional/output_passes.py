"""From values of a piece to a unit's output: bias, addition, ReLU and its mask, codes."""

from etasim.core.jit import kernel, routine
from etasim.functional.operands import ABSENT, convert, result
from etasim.functional.rows import add_row, fill, mark_positive, rectify
from etasim.functional.scalars import common_unit, round_shift
from etasim.program import roles
from etasim.program.roles import tensor_of


@routine
def _add_bias(pieces, row, parameters, shift, phase, n_elements, lanes):
    """Add offset / 2^shift of each lane; ``parameters`` [scale or offset, lane]."""
    for start in range(-phase, n_elements, lanes):
        for lane in range(max(-start, 0), min(lanes, n_elements - start)):
            pieces[row, start + lane] += round_shift(parameters[1, lane], shift)


@kernel
def add_operands(values, vector, plane, phase, n_elements, has_bias):
    """Sum of a piece of all operands, and of the bias if there is one; returns the unit."""
    pieces, lanes, units, row = values.pieces, values.lanes, values.tensors.read_unit, result(vector, roles.OUTPUT)
    bias_unit = units[tensor_of(plane.unit, roles.PARAMETER)]
    least = greatest = bias_unit if has_bias else units[vector["tensor"][0]]
    for k in range(vector["n_reads"]):
        least = min(least, units[vector["tensor"][k]])
        greatest = max(greatest, units[vector["tensor"][k]])
    unit = common_unit(least, greatest)
    fill(pieces, row, n_elements, 0)
    for k in range(vector["n_reads"]):
        add_row(pieces, row, k, n_elements, 1, unit - units[vector["tensor"][k]])
    if has_bias:
        _add_bias(pieces, row, values.registers.parameters[plane.block_row], unit - bias_unit, phase, n_elements, lanes)
    return unit


@kernel
def activate(values, vector, has_relu, n_elements, unit):
    """ReLU of a piece, its mask, its codes."""
    row, mask = result(vector, roles.OUTPUT), result(vector, roles.MASK)
    if mask != ABSENT:
        mark_positive(values.pieces, mask, row, n_elements)
    if has_relu:
        rectify(values.pieces, row, n_elements)
    convert(values, vector["tensor"][row], row, 0, n_elements, unit)
