"""What is refused before anything is computed, all at once, by tensor or layer."""

from collections.abc import Iterator, Sequence
from math import prod

import numpy as np

from etasim.numerics.arithmetic import MANTISSA_BITS
from etasim.numerics.errors import require
from etasim.numerics.format import GREATEST_EXPONENT, LEAST_EXPONENT, Code
from etasim.numerics.normalization import GREATEST_COUNT, INTEGER_LIMIT
from etasim.numerics.reference.graph import Graph
from etasim.numerics.reference.state import PARAMETER_ROLES, RUNNING_ROLES, WEIGHT_ROLES, State, has_parameters, state_shapes
from etasim.numerics.reference.value import Exponents, Key, Value
from etasim.numerics.scheme import Scheme
from etasim.workload import INPUT, Network
from etasim.workload.lowering import PHASES, Unit

_Faults = Iterator[tuple[str, str]]

SUM_BITS = 56
"""Sums that the unified core can add up further in 64 bits."""

CONTRIBUTION_BITS = 62
"""Of as many sums of the array as there are contributions to an error: what is rounded has room for half a step."""

_BEFORE = {"ff": (), "bp": ("ff",), "wg": ("bp",), "wu": ("bp", "wg")}
"""Phases without which a phase has nothing to read."""


def check_iteration(
    graph: Graph,
    scheme: Scheme,
    state: State,
    inputs: Value,
    labels: np.ndarray,
    exponents: Exponents | None,
    phases: Sequence[str],
) -> None:
    """Raises NumericsError for arguments of `run_iteration` that cannot be; ``exponents`` None: to be calibrated."""
    faults = [*_phase_faults(phases), *_input_faults(graph, scheme, inputs, labels), *_state_faults(graph, scheme, state)]
    faults += [*_running_faults(graph, scheme, len(inputs.integers)), *_normalization_faults(graph, scheme), *_window_faults(graph, scheme)]
    faults += _accumulator_faults(graph, scheme, len(inputs.integers), CONTRIBUTION_BITS, counts_readers=True)
    if exponents is not None:
        faults += _exponent_faults(graph, exponents, phases, scheme.is_running)
    require(faults)


def check_accumulators(network: Network, scheme: Scheme, batch: int, accumulator_bits: int) -> None:
    """Raises NumericsError that names each layer and phase whose sums could leave an accumulator of ``accumulator_bits`` bits.

    A sum of ``terms`` products is safe if greatest(a) * greatest(b) * terms < 2^(accumulator_bits - 1). Terms are C / groups R S in FF,
    K / groups R S in BP, N P Q in WG.
    """
    require(_accumulator_faults(Graph(network), scheme, batch, accumulator_bits))


def _accumulator_faults(graph: Graph, scheme: Scheme, batch: int, accumulator_bits: int, counts_readers: bool = False) -> _Faults:
    """Sums that ``accumulator_bits`` do not hold; ``counts_readers``: nor as many as the readers of a map contribute to its error."""
    activation, weight, error = (code.greatest for code in (scheme.activation, scheme.weight, scheme.error))
    for unit in graph.units:
        if unit.is_convolution:
            shape, pixels = graph.weight_shape(unit), prod(unit.head.out_shape[1:])
            source = unit.inputs[0]
            n_readers = len(graph.units[source].consumers) if counts_readers and source >= 0 else 1
            bounds = {
                "ff": activation * weight * prod(shape[1:]),
                "bp": n_readers * error * weight * (shape[0] // unit.head.groups) * prod(shape[2:]),
                "wg": activation * error * batch * pixels,
            }
            for phase in graph.network.phases_of(unit.head):
                if bounds[phase] >= 2 ** (accumulator_bits - 1):
                    yield f"{unit.name}.{phase}", f"sums may reach {bounds[phase]}, past an accumulator of {accumulator_bits} bits"


def written_keys(graph: Graph, phases: Sequence[str], is_running: bool = False) -> set[Key]:
    """Owners of the exponents of all tensors that ``phases`` write; ``is_running``: as `state_shapes` has it."""
    keys = {key for unit in graph.units[:-1] for key in _written_by(unit, phases, is_running)}
    return {graph.owner(key) for key in keys} - {(INPUT, "output")}


def _written_by(unit: Unit, phases: Sequence[str], is_running: bool) -> Iterator[Key]:
    roles = {"ff": ["output"], "bp": [], "wg": [], "wu": []}
    if unit.needs_error:
        roles["bp"] += ["partial", "error"]
    if unit.is_convolution:
        roles["ff"].append("pre_normalization")
        roles["wg"].append("weight_gradient")
        roles["wu"] += WEIGHT_ROLES
    if has_parameters(unit):
        roles["bp"].append("parameter_gradient")
        roles["wu"] += PARAMETER_ROLES
    if unit.norm is not None and is_running:
        roles["wu"] += RUNNING_ROLES
    yield from ((unit.name, role) for phase in phases for role in roles.get(phase, ()))


def _phase_faults(phases: Sequence[str]) -> _Faults:
    for phase in phases:
        if phase not in PHASES:
            yield "phases", f"unknown phase {phase!r}; allowed: {', '.join(PHASES)}"
        elif missing := [before for before in _BEFORE[phase] if before not in phases]:
            yield "phases", f"{phase} needs {' and '.join(missing)}"


def _input_faults(graph: Graph, scheme: Scheme, inputs: Value, labels: np.ndarray) -> _Faults:
    where, shape, labels = f"{INPUT}.output", graph.network.input_shape, np.asarray(labels)
    yield from _value_faults(where, inputs, scheme.format("output"))
    given = inputs.integers.shape
    if len(given) != 4 or given[0] < 1 or given[1:] != tuple(shape):
        yield where, f"must have the shape (samples, {', '.join(map(str, shape))}), got {given}"
    where = f"{graph.loss.name}.label"
    if labels.shape != given[:1]:
        yield where, f"must have the shape {given[:1]}, got {labels.shape}"
    elif not np.issubdtype(labels.dtype, np.integer):
        yield where, f"must be integers, got {labels.dtype}"
    elif labels.size and not 0 <= labels.min() <= labels.max() < graph.network.classes:
        yield where, f"must be 0 ... {graph.network.classes - 1}, got {labels.min()} ... {labels.max()}"


def _state_faults(graph: Graph, scheme: Scheme, state: State) -> _Faults:
    shapes = dict(state_shapes(graph, scheme.is_running))
    for (unit, role), value in state.tensors.items():
        where = f"{unit}.{role}"
        if (unit, role) not in shapes:
            yield where, "there is no such tensor in the network"
            continue
        yield from _value_faults(where, value, scheme.format(role))
        if value.integers.shape != shapes[unit, role]:
            yield where, f"must have the shape {shapes[unit, role]}, got {value.integers.shape}"
    yield from ((f"{unit}.{role}", "is missing") for unit, role in shapes if (unit, role) not in state.tensors)


def _value_faults(where: str, value: Value, format: Code | int) -> _Faults:
    if value.format != format:
        yield where, f"must have the format {format}, got {value.format}"
    if not np.issubdtype(value.integers.dtype, np.integer):
        yield where, f"must hold integers, got {value.integers.dtype}"
    elif value.integers.size and max(int(value.integers.max()), -int(value.integers.min())) > value.greatest:
        yield where, f"holds integers past {value.greatest}"
    yield from _exponent_fault(where, value.exponent)


def _exponent_faults(graph: Graph, exponents: Exponents, phases: Sequence[str], is_running: bool) -> _Faults:
    written, known = written_keys(graph, phases, is_running), written_keys(graph, PHASES, is_running)
    for unit, role in sorted(written - exponents.keys()):
        yield f"{unit}.{role}", "its exponent is missing"
    for unit, role in sorted(exponents.keys() - known):
        yield f"{unit}.{role}", "no tensor has an exponent of this name"
    for (unit, role), exponent in exponents.items():
        yield from _exponent_fault(f"{unit}.{role}", exponent)


def _exponent_fault(where: str, exponent: object) -> _Faults:
    if not isinstance(exponent, int | np.integer) or not LEAST_EXPONENT <= exponent <= GREATEST_EXPONENT:
        yield where, f"its exponent must be an integer in {LEAST_EXPONENT} ... {GREATEST_EXPONENT}, got {exponent!r}"


def _normalization_faults(graph: Graph, scheme: Scheme) -> _Faults:
    """Limits within which the sums of a group fit 64 bits."""
    for unit in graph.units:
        if unit.norm is not None and not scheme.is_running:
            channels = min(scheme.normalization_group, max(graph.normalization_segments(unit)))
            count = channels * unit.norm.in_height * unit.norm.in_width
            if count > GREATEST_COUNT:
                yield unit.norm.name, f"{count} values share statistics, at most {GREATEST_COUNT} are allowed: take a smaller group"
            if unit.head is unit.norm and scheme.activation.greatest > INTEGER_LIMIT:
                yield unit.norm.name, f"reads codes of up to {scheme.activation.greatest}, a normalization takes at most {INTEGER_LIMIT}"


def _running_faults(graph: Graph, scheme: Scheme, batch: int) -> _Faults:
    """Normalizations that a running scale cannot stand for, and channels whose sums do not fit 64 bits."""
    for unit in graph.units:
        if unit.norm is not None and scheme.is_running:
            count = batch * unit.norm.out_height * unit.norm.out_width
            if not unit.is_convolution:
                yield unit.norm.name, "follows no convolution or linear layer, whose filters a running scale needs"
            elif count > GREATEST_COUNT:
                yield unit.norm.name, f"{count} values of a channel, at most {GREATEST_COUNT} are allowed: take a smaller batch"


def _window_faults(graph: Graph, scheme: Scheme) -> _Faults:
    greatest = max(scheme.activation.greatest, scheme.error.greatest)
    for unit in graph.units:
        pixels = unit.head.kernel_height * unit.head.kernel_width
        if unit.head.kind == "avgpool" and greatest * pixels << MANTISSA_BITS >= 2 ** (SUM_BITS - 1):
            yield unit.name, f"means of {pixels} codes of up to {greatest} need sums of more than {SUM_BITS} bits"
