"""From values of a piece to a unit's output: bias, addition, activation and its mask, codes."""

from etasim.core.arrays import Integers, Record
from etasim.core.jit import kernel, routine
from etasim.functional.activations import activate
from etasim.functional.operands import PlanePiece, convert, result
from etasim.functional.rows import add_row, fill
from etasim.functional.scalars import common_unit, round_shift
from etasim.functional.tables import CoreValues
from etasim.program import roles
from etasim.program.roles import tensor_of


@routine
def _add_bias(pieces: Integers, row: int, parameters: Integers, shift: int, phase: int, n_elements: int, lanes: int) -> None:
    """Add offset / 2^shift of each lane; ``parameters`` [scale or offset, lane]."""
    for start in range(-phase, n_elements, lanes):
        for lane in range(max(-start, 0), min(lanes, n_elements - start)):
            pieces[row, start + lane] += round_shift(parameters[1, lane], shift)


@kernel
def add_operands(values: CoreValues, vector: Record, piece: PlanePiece) -> None:
    """The sum of all operands, and of the unit's bias if it has one, becomes the output."""
    pieces, lanes, units, row = values.pieces, values.lanes, values.tensors.read_unit, result(vector, roles.OUTPUT)
    plane, n_elements, has_bias = piece.plane, piece.n_elements, values.units[piece.plane.unit]["has_bias"] != 0
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
        _add_bias(pieces, row, values.registers.parameters[plane.block_row], unit - bias_unit, piece.phase, n_elements, lanes)
    finish_output(values, vector, piece, unit)


@routine
def finish_output(values: CoreValues, vector: Record, piece: PlanePiece, unit: int) -> None:
    """The row of the output, integers of ``unit``, goes through the activation, which leaves its mask, and becomes codes."""
    row = result(vector, roles.OUTPUT)
    which = values.units[piece.plane.unit]["activation"]
    activate(which, values.pieces, row, result(vector, roles.MASK), piece.n_elements, unit)
    convert(values, vector["tensor"][row], row, 0, piece.n_elements, unit)
