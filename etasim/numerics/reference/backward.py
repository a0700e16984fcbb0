"""BP and WG of one unit: from the contributions to its output's error to its own error, to what it contributes, to its gradients."""

from collections.abc import Callable, Iterator

import numpy as np

from etasim.core.arrays import Whole
from etasim.core.registry import Registry
from etasim.numerics.normalization import normalize_backward
from etasim.numerics.reference import convolution, loss, pooling, running
from etasim.numerics.reference.forward import window_reciprocal
from etasim.numerics.reference.tape import Tape
from etasim.numerics.reference.update import Term
from etasim.workload.lowering import Unit


def contribute_loss(unit: Unit, tape: Tape) -> None:
    """What the loss contributes to the error of the network's output; classes are the output's values in the order channel, pixel."""
    source = unit.inputs[0]
    if tape.graph.needs_error(source):
        output = tape.output(source)
        logits = output.integers.reshape(len(output.integers), -1)
        gradient = loss.gradient(logits, output.unit, tape.of(unit, "label").integers)
        tape.contribute(source, gradient.reshape(output.integers.shape), loss.CONTRIBUTION_UNIT)


def backward(unit: Unit, tape: Tape) -> None:
    """Write the error of ``unit`` and its parameters' gradients, and contribute to the errors of its inputs."""
    partial = tape.sum_contributions(unit)
    d = partial.integers
    d_unit: Whole = partial.unit
    if unit.activation is not None and not running.is_running(unit, tape):
        d = d * tape.of(unit, "mask").integers
    if running.is_running(unit, tape):
        d, d_unit = running.backward(unit, tape, partial)
    elif unit.norm is not None:
        d, d_unit = _normalization(unit, tape, d, partial.unit)
    elif unit.head.bias:
        offset = d.sum(axis=(0, 2, 3))
        tape.write(unit, "parameter_gradient", np.stack([np.zeros_like(offset), offset]), d_unit)
    tape.write(unit, "error", d, d_unit)
    if any(map(tape.graph.needs_error, unit.inputs)):
        for source, (v, v_unit) in zip(unit.inputs, _contributions(unit, tape), strict=True):
            if tape.graph.needs_error(source):
                tape.contribute(source, v, v_unit)


def weight_gradient(unit: Unit, tape: Tape) -> None:
    """Write the gradient of the weights of ``unit``, which a convolution or linear layer heads."""
    maps, error = tape.output(unit.inputs[0]), tape.of(unit, "error")
    kernel = tape.graph.weight_shape(unit)[2:]
    sums = convolution.weight_gradient(maps.integers, error.integers, unit.head, kernel)
    tape.write(unit, "weight_gradient", sums, maps.unit + error.unit)
    if running.is_running(unit, tape):
        running.keep_filter_mean(unit, tape)


def _normalization(unit: Unit, tape: Tape, d: np.ndarray, d_unit: int) -> tuple[np.ndarray, np.ndarray]:
    """Gradient of what the normalization read, and its unit [N, C, 1, 1]; writes the gradients of scale and offset."""
    gradients = normalize_backward(d, d_unit, tape.normalized[unit.index])
    of_parameters = np.stack([gradients.dscale, gradients.doffset])
    tape.write(unit, "parameter_gradient", of_parameters, np.array([[gradients.unit_dscale], [gradients.unit_doffset]]))
    return gradients.v, gradients.unit[:, :, None, None]


def _contributions(unit: Unit, tape: Tape) -> Iterator[Term]:
    """What ``unit`` contributes to the error of each of its inputs, in their order."""
    if unit.head.kind in CONTRIBUTIONS:
        return CONTRIBUTIONS[unit.head.kind](unit, tape)
    error = tape.of(unit, "error")  # addition, activation, normalization: the error itself, to each input
    return ((error.integers, error.unit) for _ in unit.inputs)


def _convolution(unit: Unit, tape: Tape) -> Iterator[Term]:
    error, weights, maps = tape.of(unit, "error"), tape.of(unit, "weight"), tape.graph.shape(unit.inputs[0])[1:]
    yield convolution.input_gradient(error.integers, weights.integers, unit.head, maps), error.unit + weights.unit


def _concat(unit: Unit, tape: Tape) -> Iterator[Term]:
    error = tape.of(unit, "error")
    ends = np.cumsum([tape.graph.shape(i).channels for i in unit.inputs])
    yield from ((part, error.unit) for part in np.split(error.integers, ends[:-1], axis=1))


def _maxpool(unit: Unit, tape: Tape) -> Iterator[Term]:
    error, position, maps = tape.of(unit, "error"), tape.of(unit, "window").integers, tape.graph.shape(unit.inputs[0])[1:]
    yield pooling.spread_to_greatest(error.integers, position, unit.head, maps), error.unit


def _avgpool(unit: Unit, tape: Tape) -> Iterator[Term]:
    error, (m, s), maps = tape.of(unit, "error"), window_reciprocal(unit), tape.graph.shape(unit.inputs[0])[1:]
    yield m * pooling.spread_to_windows(error.integers, unit.head, maps), error.unit - s


def _shortcut(unit: Unit, tape: Tape) -> Iterator[Term]:
    error, maps = tape.of(unit, "error"), tape.graph.shape(unit.inputs[0])[1:]
    yield pooling.shortcut_gradient(error.integers, unit.head, maps), error.unit


CONTRIBUTIONS: Registry[Callable[[Unit, Tape], Iterator[Term]]] = Registry(
    "gradient of the reference", "etasim.numerics.reference.backward"
)
"""Of the operations whose error is not itself what they contribute."""

for _kind, _contribution in {
    "conv": _convolution, "linear": _convolution, "concat": _concat, "maxpool": _maxpool, "avgpool": _avgpool, "shortcut": _shortcut,
}.items():  # fmt: skip
    CONTRIBUTIONS.add(_kind, _contribution)
