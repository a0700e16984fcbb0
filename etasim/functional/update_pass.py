"""SGD with momentum on a piece of weights or parameters."""

from etasim.core.jit import kernel
from etasim.functional.operands import convert
from etasim.functional.rows import add_row, fill
from etasim.functional.scalars import common_unit
from etasim.program import roles
from etasim.program.commands import MAX_READS
from etasim.program.roles import role_of

GRADIENT, MASTER, MOMENTUM = range(3)
NEW_MASTER, NEW_MOMENTUM, CODE = range(MAX_READS, MAX_READS + 3)
"""Operands and results in the order of the command; parameters have no code."""

MOMENTUM_BITS = 16
"""Bits of the momentum's factor below one."""


@kernel
def _accelerate(values, tensors, n_elements):
    """Momentum after the step, in a unit that is returned."""
    pieces, units, constants = values.pieces, values.tensors.read_unit, values.constants
    has_decay = role_of(tensors[MASTER]) == roles.MASTER_WEIGHT and constants.decay[0] > 0
    momentum_unit, gradient_unit = units[tensors[MOMENTUM]] - MOMENTUM_BITS, units[tensors[GRADIENT]]
    decay_unit = units[tensors[MASTER]] - constants.decay[1] if has_decay else gradient_unit
    unit = common_unit(min(momentum_unit, gradient_unit, decay_unit), max(momentum_unit, gradient_unit, decay_unit))
    fill(pieces, NEW_MOMENTUM, n_elements, 0)
    add_row(pieces, NEW_MOMENTUM, MOMENTUM, n_elements, constants.momentum, unit - momentum_unit)
    add_row(pieces, NEW_MOMENTUM, GRADIENT, n_elements, 1, unit - gradient_unit)
    if has_decay:
        add_row(pieces, NEW_MOMENTUM, MASTER, n_elements, constants.decay[0], unit - decay_unit)
    return unit


@kernel
def _descend(values, tensors, n_elements):
    """Master copy after the step, in a unit that is returned."""
    pieces, rate = values.pieces, values.constants.rate
    master_unit, step_unit = values.tensors.read_unit[tensors[MASTER]], values.tensors.write_unit[tensors[NEW_MOMENTUM]] - rate[1]
    unit = common_unit(min(master_unit, step_unit), max(master_unit, step_unit))
    fill(pieces, NEW_MASTER, n_elements, 0)
    add_row(pieces, NEW_MASTER, MASTER, n_elements, 1, unit - master_unit)
    add_row(pieces, NEW_MASTER, NEW_MOMENTUM, n_elements, -rate[0], unit - step_unit)
    return unit


@kernel
def update(values, vector, n_elements):
    """Momentum, master copy and codes after the step, in the rows of the results."""
    pieces, tensors = values.pieces, vector["tensor"]
    unit = _accelerate(values, tensors, n_elements)
    convert(values, tensors[NEW_MOMENTUM], NEW_MOMENTUM, 0, n_elements, unit)
    unit = _descend(values, tensors, n_elements)
    convert(values, tensors[NEW_MASTER], NEW_MASTER, 0, n_elements, unit)
    if vector["n_writes"] > CODE - MAX_READS:
        fill(pieces, CODE, n_elements, 0)
        add_row(pieces, CODE, NEW_MASTER, n_elements, 1, 0)
        convert(values, tensors[CODE], CODE, 0, n_elements, values.tensors.write_unit[tensors[NEW_MASTER]])
