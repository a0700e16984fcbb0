"""FF of one unit: from the outputs that it reads to its own."""

from collections.abc import Callable
from typing import Any

import numpy as np

from etasim.core.arrays import Numbers
from etasim.core.registry import Registry
from etasim.numerics.arithmetic import add, reciprocal
from etasim.numerics.normalization import normalize
from etasim.numerics.reference import convolution, pooling, running
from etasim.numerics.reference.activations import ACTIVATIONS
from etasim.numerics.reference.tape import Tape
from etasim.numerics.reference.value import MASK_BITS, WINDOW_BITS, Value, counts
from etasim.workload.lowering import Unit

Maps = tuple[Numbers, Any]
"""Integers [N, C, H, W] and their unit, an array where it differs between channels."""


def forward(unit: Unit, tape: Tape) -> None:
    """Write the output of ``unit`` and what BP and WG need of it."""
    head = _same if unit.head in (unit.norm, unit.activation) else HEADS[unit.head.kind]
    v, v_unit = head(unit, tape)
    if running.is_running(unit, tape):
        result = running.normalize(unit, tape, v, v_unit)
        v, v_unit, is_active = result.v, result.unit_v, np.ones_like(result.is_inside)
        if unit.activation is not None:
            v, is_active = ACTIVATIONS[unit.activation.kind](v, v_unit)
        running.keep_sides(unit, tape, result, is_active)
        tape.write(unit, "output", v, v_unit)
        return
    if unit.norm is not None:
        v, v_unit = _normalize(unit, tape, v, v_unit)
    elif unit.head.bias:
        parameter = tape.of(unit, "parameter")
        v, v_unit = add((v, v_unit), (parameter.integers[1][:, None, None], parameter.unit))
    if unit.activation is not None:
        v, mask = ACTIVATIONS[unit.activation.kind](v, v_unit)
        tape.keep(unit, "mask", counts(mask, MASK_BITS))
    tape.write(unit, "output", v, v_unit)


def _convolution(unit: Unit, tape: Tape) -> Maps:
    maps, weights = tape.output(unit.inputs[0]), tape.of(unit, "weight")
    sums = convolution.forward(maps.integers, weights.integers, unit.head)
    return _term(tape.write(unit, "pre_normalization", sums, maps.unit + weights.unit))


def _same(unit: Unit, tape: Tape) -> Maps:
    return _term(tape.output(unit.inputs[0]))


def _add(unit: Unit, tape: Tape) -> Maps:
    return add(*((value.integers, value.unit) for value in map(tape.output, unit.inputs)))


def _concat(unit: Unit, tape: Tape) -> Maps:
    """Inputs in other concatenations have other exponents: the unit [C, 1, 1] differs between channels."""
    parts = [tape.output(i) for i in unit.inputs]
    units = np.repeat([part.unit for part in parts], [part.integers.shape[1] for part in parts])
    return np.concatenate([part.integers for part in parts], axis=1), units[:, None, None]


def _maxpool(unit: Unit, tape: Tape) -> Maps:
    maps = tape.output(unit.inputs[0])
    v, position = pooling.greatest(maps.integers, unit.head)
    tape.keep(unit, "window", counts(position, WINDOW_BITS))
    return v, maps.unit


def _avgpool(unit: Unit, tape: Tape) -> Maps:
    maps = tape.output(unit.inputs[0])
    m, s = window_reciprocal(unit)
    return m * pooling.window_sums(maps.integers, unit.head), maps.unit - s


def _shortcut(unit: Unit, tape: Tape) -> Maps:
    maps = tape.output(unit.inputs[0])
    return pooling.shortcut(maps.integers, unit.head), maps.unit


def _normalize(unit: Unit, tape: Tape, v: Numbers, v_unit: int) -> Maps:
    parameter, scheme = tape.of(unit, "parameter"), tape.scheme
    result = normalize(
        v,
        v_unit,
        parameter.integers[0],
        parameter.integers[1],
        parameter.unit,
        group=scheme.normalization_group,
        reciprocal=scheme.reciprocal,
        segments=tape.graph.normalization_segments(unit),
    )
    tape.normalized[unit.index] = result
    bits = scheme.statistic_bits
    tape.keep(unit, "statistic", Value(np.stack([result.mean, result.spread]), v_unit + bits - 1, bits))
    return result.v, result.unit_v


def window_reciprocal(unit: Unit) -> tuple[int, int]:
    """(m, s) of 1 / (pixels of the window of a pooling layer)."""
    m, s = reciprocal(unit.head.kernel_height * unit.head.kernel_width)
    return int(m), int(s)


def _term(value: Value) -> Maps:
    return value.integers, value.unit


HEADS: Registry[Callable[[Unit, Tape], Maps]] = Registry("operation of the reference", "etasim.numerics.reference.forward")
"""Each gives (integers [N, C, H, W], unit) before a fused normalization and activation."""

for _kind, _head in {
    "conv": _convolution, "linear": _convolution, "add": _add, "concat": _concat, "maxpool": _maxpool, "avgpool": _avgpool,
    "shortcut": _shortcut,
}.items():  # fmt: skip
    HEADS.add(_kind, _head)
