"""SGD with momentum on a piece of weights or parameters."""

from etasim.core.jit import kernel
from etasim.functional import roles
from etasim.functional.operands import ABSENT, convert, operand, result
from etasim.functional.scalars import common_unit, round_shift

MOMENTUM_BITS = 16
"""Bits of the momentum's factor below one."""


@kernel
def _add_gradient(values, vector, old, gradient, master, new, is_decayed, n_elements):
    """New momentum, in a unit that is returned; rows of momentum before, gradient, master weights, momentum after."""
    pieces, units, constants = values.pieces, values.tensors.read_unit, values.constants
    old_unit, gradient_unit = units[vector["tensor"][old]] - MOMENTUM_BITS, units[vector["tensor"][gradient]]
    least, greatest = min(old_unit, gradient_unit), max(old_unit, gradient_unit)
    decay, master_unit = 0, least
    if is_decayed:
        decay, master_unit = constants.decay[0], units[vector["tensor"][master]] - constants.decay[1]
        least, greatest = min(least, master_unit), max(greatest, master_unit)
    unit = common_unit(least, greatest)
    for i in range(n_elements):
        pieces[new, i] = (
            round_shift(constants.momentum * pieces[old, i], unit - old_unit)
            + round_shift(pieces[gradient, i], unit - gradient_unit)
            + round_shift(decay * pieces[master, i], unit - master_unit)
        )
    return unit


@kernel
def _descend(values, vector, master, momentum, new, n_elements):
    """New master weights, in a unit that is returned; rows of master weights before, momentum after, master weights after."""
    pieces, tensors, rate = values.pieces, values.tensors, values.constants.rate
    master_unit = tensors.read_unit[vector["tensor"][master]]
    step_unit = tensors.write_unit[vector["tensor"][momentum]] - rate[1]
    unit = common_unit(min(master_unit, step_unit), max(master_unit, step_unit))
    for i in range(n_elements):
        step = round_shift(rate[0] * pieces[momentum, i], unit - step_unit)
        pieces[new, i] = round_shift(pieces[master, i], unit - master_unit) - step
    return unit


@kernel
def update(values, vector, n_elements):
    """Momentum, master copy and codes after the step, in the rows of the results."""
    pieces, tensors, code = values.pieces, vector["tensor"], result(vector, roles.WEIGHT)
    is_weight = operand(vector, roles.MASTER_WEIGHT) != ABSENT
    gradient = operand(vector, roles.WEIGHT_GRADIENT if is_weight else roles.PARAMETER_GRADIENT)
    master_role, momentum_role = (roles.MASTER_WEIGHT, roles.MOMENTUM) if is_weight else (roles.PARAMETER, roles.PARAMETER_MOMENTUM)
    master, old_momentum = operand(vector, master_role), operand(vector, momentum_role)
    new_master, momentum = result(vector, master_role), result(vector, momentum_role)
    is_decayed = is_weight and values.constants.decay[0] > 0
    unit = _add_gradient(values, vector, old_momentum, gradient, master, momentum, is_decayed, n_elements)
    convert(values, tensors[momentum], momentum, 0, 1, n_elements, unit)
    unit = _descend(values, vector, master, momentum, new_master, n_elements)
    convert(values, tensors[new_master], new_master, 0, 1, n_elements, unit)
    if code != ABSENT:
        for i in range(n_elements):
            pieces[code, i] = pieces[new_master, i]
        convert(values, tensors[code], code, 0, 1, n_elements, values.tensors.write_unit[tensors[new_master]])
