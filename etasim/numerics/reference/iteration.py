"""One training iteration in integers, as `docs/models/arithmetic.md` defines it, and the calibration of its exponents."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from etasim.numerics.reference import loss, running
from etasim.numerics.reference.backward import backward, contribute_loss, weight_gradient
from etasim.numerics.reference.checks import check_iteration
from etasim.numerics.reference.exponents import Exponent, next_exponents
from etasim.numerics.reference.forward import forward
from etasim.numerics.reference.graph import Graph
from etasim.numerics.reference.state import State, has_parameters
from etasim.numerics.reference.tape import Tape
from etasim.numerics.reference.update import UpdateConstants, new_momentum, new_weight, update_constants
from etasim.numerics.reference.value import LABEL_BITS, Exponents, Key, Value, counts
from etasim.numerics.scheme import Scheme
from etasim.workload import INPUT, Network
from etasim.workload.lowering import PHASES, Unit

CALIBRATION_RUNS = 4


@dataclass(frozen=True, eq=False)
class IterationValues:
    """What an iteration leaves. ``tensors`` by (unit, role): those found, those written, after the update where there was one. Shapes:
    feature maps, mask and window [N, C, H, W]; statistic [2, N, C] (mean, spread), or magnitude, spread, radial and filter_mean [C]
    (`etasim.numerics.running`); weight, its gradient, master copy and momentum [K, C / groups, R, S]; parameter, its gradient and momentum
    [2, C] (scale, offset); label [N].

    ``seen``: by owner of an exponent, the least that holds all values written; None for zeros alone. ``state``: what the next iteration
    begins with. ``output``: the unit whose output is the network's.
    """

    tensors: Mapping[Key, Value]
    seen: Mapping[Key, int | None]
    state: State
    output: str

    def loss_and_accuracy(self) -> tuple[float, float]:
        """Mean cross-entropy in nats and share of samples whose greatest logit is the label's."""
        logits = self.tensors[self.output, "output"]
        labels = next(value.integers for (_, role), value in self.tensors.items() if role == "label")
        return loss.loss_and_accuracy(logits.integers.reshape(len(labels), -1), logits.unit, labels)


def run_iteration(
    network: Network,
    scheme: Scheme,
    state: State,
    inputs: Value,
    labels: np.ndarray,
    exponents: Exponents,
    phases: Sequence[str] = PHASES,
) -> IterationValues:
    """Run ``phases`` of one iteration on ``inputs`` [N, C, H, W], of the activation format, and integer ``labels`` [N].

    ``exponents``: by owner, of everything that is written (`calibrate`, `next_exponents`).
    Raises NumericsError, with all faults, before anything is computed.
    """
    graph = Graph(network)
    check_iteration(graph, scheme, state, inputs, labels, exponents, phases)
    return _run(graph, scheme, state, inputs, labels, Exponent(graph, inputs.exponent, exponents), phases)


def calibrate(
    network: Network, scheme: Scheme, state: State, inputs: Value, labels: np.ndarray, phases: Sequence[str] = PHASES
) -> dict[Key, int]:
    """The exponents of `calibrated`."""
    return calibrated(network, scheme, state, inputs, labels, phases)[0]


def calibrated(
    network: Network, scheme: Scheme, state: State, inputs: Value, labels: np.ndarray, phases: Sequence[str] = PHASES
) -> tuple[dict[Key, int], IterationValues]:
    """Exponents of a first iteration, and what `run_iteration`, whose arguments these are, leaves with them.

    In a first run each tensor has the exponent of its own values; unless that is already its owner's, there are runs with the exponents
    seen, at most CALIBRATION_RUNS, until they settle. Tensors of zeros have 0. There is no margin: the exponents belong to the samples that
    will be run.
    """
    graph = Graph(network)
    check_iteration(graph, scheme, state, inputs, labels, None, phases)

    def run(exponents: Exponents | None) -> tuple[IterationValues, Exponent]:
        exponent = Exponent(graph, inputs.exponent, exponents)
        return _run(graph, scheme, state, inputs, labels, exponent, phases), exponent

    values, first = run(None)
    exponents = next_exponents(dict.fromkeys(first.seen, 0), first.seen, margin=0)
    if first.used == {owner: {exponent} for owner, exponent in exponents.items()}:
        return exponents, values  # given these, it would write the same
    for _ in range(CALIBRATION_RUNS):
        before, (values, _) = exponents, run(exponents)
        exponents = next_exponents(before, values.seen, margin=0)
        if exponents == before:
            return exponents, values
    return exponents, run(exponents)[0]


def _run(
    graph: Graph, scheme: Scheme, state: State, inputs: Value, labels: np.ndarray, exponent: Exponent, phases: Sequence[str]
) -> IterationValues:
    """`run_iteration` without checks, with the exponents that ``exponent`` gives."""
    found = {**state.tensors, (INPUT, "output"): inputs, (graph.loss.name, "label"): counts(labels, LABEL_BITS)}
    tape = Tape(graph, scheme, exponent, found)
    units = graph.units[:-1]
    if "ff" in phases:
        for unit in units:
            forward(unit, tape)
    if "bp" in phases:
        contribute_loss(graph.loss, tape)
        for unit in reversed(units):
            if unit.needs_error:
                backward(unit, tape)
    if "wg" in phases:
        for unit in units:
            if unit.is_convolution:
                weight_gradient(unit, tape)
    if "wu" in phases:
        constants = update_constants(scheme, len(labels))
        for unit in units:
            if running.is_running(unit, tape):
                running.update(unit, tape, constants, len(labels))
            else:
                _update(unit, tape, constants)
    after = State({key: tape.tensors[key] for key in state.tensors})
    return IterationValues(tape.tensors, exponent.seen, after, graph.name(graph.loss.inputs[0]))


def _update(unit: Unit, tape: Tape, constants: UpdateConstants) -> None:
    """WU of everything that a unit trains."""
    if unit.is_convolution:
        master = _descend(unit, tape, ("weight_gradient", "momentum", "master_weight"), constants, decays=True)
        tape.write(unit, "weight", master.integers, master.unit)
    if has_parameters(unit):
        _descend(unit, tape, ("parameter_gradient", "parameter_momentum", "parameter"), constants, decays=False)


def _descend(unit: Unit, tape: Tape, roles: tuple[str, str, str], constants: UpdateConstants, decays: bool) -> Value:
    """Write the momentum and the weight (or parameters) that follow from a gradient; returns the latter."""
    gradient, momentum, weight = (tape.of(unit, role) for role in roles)
    momentum = tape.write(unit, roles[1], *new_momentum(momentum, gradient, weight if decays else None, constants))
    return tape.write(unit, roles[2], *new_weight(weight, momentum, constants))
