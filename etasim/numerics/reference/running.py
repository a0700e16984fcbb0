"""A unit whose normalization has a running scale: FF, BP, what WG leaves for WU, and WU."""

import numpy as np

from etasim.core.arrays import Numbers
from etasim.numerics.reference.tape import Tape
from etasim.numerics.reference.update import Term, UpdateConstants, new_momentum, new_weight
from etasim.numerics.reference.value import Value, counts
from etasim.numerics.running import (
    RunningResult,
    RunningScale,
    filter_mean,
    next_radial,
    next_spread,
    normalize_running,
    radial_product,
    running_backward,
    scale_gradient,
)
from etasim.workload.lowering import Unit

SIDED_MASK_BITS = 2
"""Of a mask: whether errors pass, and on which side of zero the value was."""


def is_running(unit: Unit, tape: Tape) -> bool:
    """Whether the normalization of ``unit`` has a running scale."""
    return unit.norm is not None and tape.scheme.is_running


def normalize(unit: Unit, tape: Tape, v: Numbers, v_unit: int) -> RunningResult:
    """What the sums ``v`` become before the activation; keeps their mean absolute value."""
    result = normalize_running(v, v_unit, _scale_of(unit, tape))
    _keep(unit, tape, "magnitude", result.magnitude, v_unit)
    return result


def keep_sides(unit: Unit, tape: Tape, result: RunningResult, is_active: np.ndarray) -> None:
    """Keep what BP needs of each value."""
    tape.keep(unit, "mask", counts((result.is_inside & is_active) + 2 * result.is_negative, SIDED_MASK_BITS))


def backward(unit: Unit, tape: Tape, contributions: Value) -> tuple[np.ndarray, np.ndarray]:
    """Gradient of what was normalized, and its unit [C, 1, 1]; writes the gradient of the offset."""
    mask = tape.of(unit, "mask").integers
    d = contributions.integers * (mask & 1)
    offset = d.sum(axis=(0, 2, 3))
    tape.write(unit, "parameter_gradient", np.stack([np.zeros_like(offset), offset]), contributions.unit)
    return running_backward(d, contributions.unit, mask >= 2, _scale_of(unit, tape))


def keep_filter_mean(unit: Unit, tape: Tape) -> None:
    """Keep the mean of each filter's gradient."""
    gradient = tape.of(unit, "weight_gradient")
    _keep(unit, tape, "filter_mean", filter_mean(gradient.integers), gradient.unit)


def update(unit: Unit, tape: Tape, constants: UpdateConstants, batch: int) -> None:
    """WU of a unit: filters by centred gradients, the running values, scale and offset."""
    by, (product, unit_product) = _scale_of(unit, tape), _update_weights(unit, tape, constants)
    magnitude, count = tape.of(unit, "magnitude"), batch * tape.graph.shape(unit.index).height * tape.graph.shape(unit.index).width
    tape.write(unit, "spread", *next_spread(by, magnitude.integers, magnitude.unit, batch))
    tape.write(unit, "radial", *next_radial(by, product, unit_product, batch, count))
    of_scale, of_unit = scale_gradient(by, product, unit_product, magnitude.integers, magnitude.unit, count)
    offset, parameter = tape.of(unit, "parameter_gradient"), tape.of(unit, "parameter")
    units = np.stack([of_unit, np.full_like(of_unit, offset.unit)])
    gradient = tape.write(unit, "parameter_gradient", np.stack([of_scale, offset.integers[1]]), units)
    before = tape.of(unit, "parameter_momentum")
    momentum = tape.write(unit, "parameter_momentum", *new_momentum(before, gradient, None, constants))
    tape.write(unit, "parameter", *new_weight(parameter, momentum, constants))


def _update_weights(unit: Unit, tape: Tape, constants: UpdateConstants) -> Term:
    """Write filters and their momentum; returns the products of the filters before with their gradients."""
    gradient, master = tape.of(unit, "weight_gradient"), tape.of(unit, "master_weight")
    mean = tape.of(unit, "filter_mean").integers[:, None, None, None]
    centred = Value(gradient.integers - mean, gradient.exponent, gradient.format)
    momentum = tape.write(unit, "momentum", *new_momentum(tape.of(unit, "momentum"), centred, master, constants))
    after = tape.write(unit, "master_weight", *new_weight(master, momentum, constants))
    tape.write(unit, "weight", after.integers, after.unit)
    return radial_product(master.integers, gradient.integers), master.unit + gradient.unit


def _scale_of(unit: Unit, tape: Tape) -> RunningScale:
    """What the channels of ``unit`` are normalized with."""
    spread, radial, parameter = (tape.of(unit, role) for role in ("spread", "radial", "parameter"))
    scale, offset = parameter.integers
    return RunningScale(
        spread.integers, spread.unit, radial.integers, radial.unit, scale, offset, parameter.unit, tape.scheme.reciprocal
    )  # fmt: skip


def _keep(unit: Unit, tape: Tape, role: str, integers: np.ndarray, of_unit: int) -> None:
    """Note integers in the unit of another tensor."""
    bits = tape.scheme.statistic_bits
    tape.keep(unit, role, Value(integers, of_unit + bits - 1, bits))
