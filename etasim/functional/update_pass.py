"""SGD with momentum on a piece of weights or parameters."""

from etasim.core.arrays import Integers, Record
from etasim.core.jit import kernel, routine
from etasim.functional.operands import ABSENT, PlanePiece, convert, operand, result
from etasim.functional.rows import add_row, fill
from etasim.functional.scalars import common_unit
from etasim.functional.tables import CoreValues
from etasim.program import roles

MOMENTUM_BITS = 16
"""Bits of the momentum's factor below one."""


@kernel
def update(values: CoreValues, vector: Record, piece: PlanePiece) -> None:
    """Momentum, master copy and codes after the step; parameters have no code, and do not decay."""
    if operand(vector, roles.WEIGHT_GRADIENT) != ABSENT:
        decays = values.constants.decay[0] > 0
        _update(values, vector, piece.n_elements, roles.WEIGHT_GRADIENT, roles.MASTER_WEIGHT, roles.MOMENTUM, decays)
    else:
        _update(values, vector, piece.n_elements, roles.PARAMETER_GRADIENT, roles.PARAMETER, roles.PARAMETER_MOMENTUM, False)


@routine
def _update(
    values: CoreValues, vector: Record, n_elements: int, gradient_role: int, master_role: int, momentum_role: int, decays: int
) -> None:
    pieces, tensors = values.pieces, vector["tensor"]
    gradient, master, momentum = operand(vector, gradient_role), operand(vector, master_role), operand(vector, momentum_role)
    new_master, new_momentum, code = result(vector, master_role), result(vector, momentum_role), result(vector, roles.WEIGHT)
    unit = _accelerate(values, tensors, gradient, master, momentum, new_momentum, n_elements, decays)
    convert(values, tensors[new_momentum], new_momentum, 0, n_elements, unit)
    unit = _descend(values, tensors, master, new_momentum, new_master, n_elements)
    convert(values, tensors[new_master], new_master, 0, n_elements, unit)
    if code != ABSENT:
        fill(pieces, code, n_elements, 0)
        add_row(pieces, code, new_master, n_elements, 1, 0)
        convert(values, tensors[code], code, 0, n_elements, values.tensors.write_unit[tensors[new_master]])


@kernel
def _accelerate(
    values: CoreValues, tensors: Integers, gradient: int, master: int, momentum: int, row: int, n_elements: int, decays: int
) -> int:
    """Momentum after the step goes to ``row``, in a unit that is returned."""
    pieces, units, constants = values.pieces, values.tensors.read_unit, values.constants
    momentum_unit, gradient_unit = units[tensors[momentum]] - MOMENTUM_BITS, units[tensors[gradient]]
    decay_unit = units[tensors[master]] - constants.decay[1] if decays else gradient_unit
    unit = common_unit(min(momentum_unit, gradient_unit, decay_unit), max(momentum_unit, gradient_unit, decay_unit))
    fill(pieces, row, n_elements, 0)
    add_row(pieces, row, momentum, n_elements, constants.momentum, unit - momentum_unit)
    add_row(pieces, row, gradient, n_elements, 1, unit - gradient_unit)
    if decays:
        add_row(pieces, row, master, n_elements, constants.decay[0], unit - decay_unit)
    return unit


@kernel
def _descend(values: CoreValues, tensors: Integers, master: int, momentum: int, row: int, n_elements: int) -> int:
    """Master copy after the step with the new ``momentum`` goes to ``row``, in a unit that is returned."""
    pieces, rate = values.pieces, values.constants.rate
    master_unit, step_unit = values.tensors.read_unit[tensors[master]], values.tensors.write_unit[tensors[momentum]] - rate[1]
    unit = common_unit(min(master_unit, step_unit), max(master_unit, step_unit))
    fill(pieces, row, n_elements, 0)
    add_row(pieces, row, master, n_elements, 1, unit - master_unit)
    add_row(pieces, row, momentum, n_elements, -rate[0], unit - step_unit)
    return unit
