"""Maps an iteration: units and phases to operations, operations to commands.

FF runs the units in order; BP and WG visit them in reverse; WU follows at the end, or after each unit.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from etasim.config import Architecture
from etasim.mapping.backward import Backward
from etasim.mapping.emitters import Emitters
from etasim.mapping.forward import Forward
from etasim.mapping.iteration import Iteration, Operation
from etasim.mapping.tensors import Tensor
from etasim.mapping.update import Update
from etasim.mapping.values import Layout
from etasim.noc import Route
from etasim.program.commands import LOAD_ACTIVATION, LOAD_ERROR, LOAD_WEIGHT, Program
from etasim.schedule.array import InfeasibleError
from etasim.schedule.pinning import pinned_splits, refuse_unused
from etasim.schedule.shortage import Asked, explained, refuse_misfits
from etasim.workload import Network
from etasim.workload.lowering import PHASES


@dataclass(frozen=True)
class Mapping:
    """A mapped iteration; ``layout`` is known unless the program was written by hand. ``swaps``: of the halves of the activation, weight
    and error buffer."""

    program: Program
    operations: tuple[Operation, ...]
    routes: tuple[Route, ...]
    tensors: tuple[Tensor, ...]
    layout: Layout | None = None
    swaps: tuple[int, int, int] = (0, 0, 0)


def map_iteration(architecture: Architecture, network: Network, batch: int, phases: tuple[str, ...] = PHASES) -> Mapping:
    """The tile program of one iteration. Raises InfeasibleError if an operation fits no tiling."""
    iteration = emit_iteration(architecture, network, batch, phases, Emitters())
    context = iteration.context
    groupings = {unit.index: iteration.grouping(unit) for unit in iteration.units if unit.is_convolution}
    layout = iteration.values.layout(iteration.fold, groupings)
    tensors = tuple(context.memory.tensors)
    swaps = tuple(context.rings[engine].swaps for engine in (LOAD_ACTIVATION, LOAD_WEIGHT, LOAD_ERROR))
    return Mapping(context.builder.build(), tuple(iteration.operations), tuple(context.routes), tensors, layout, swaps)


def _asked(iteration: Iteration) -> Iterator[Asked]:
    """What the array computes, in the order of the network."""
    for unit in iteration.units:
        for phase in iteration.network.phases_of(unit.head):
            if phase in iteration.phases:
                yield Asked(unit.name, iteration.problem(unit, phase), pinned_splits(iteration.architecture, unit.name, phase))


def emit_iteration(architecture: Architecture, network: Network, batch: int, phases: tuple[str, ...], emitters: Emitters) -> Iteration:
    """All operations of one iteration, emitted with ``emitters``.

    Raises InfeasibleError, with all reasons and the changes that mend them, if an operation fits no tiling or the tensors fit no memory,
    and if there is no operation.
    """
    try:
        return _emit(architecture, network, batch, phases, emitters)
    except InfeasibleError as error:
        raise _explained(error, architecture, network, batch, phases, emitters) from None


def _explained(
    error: InfeasibleError, architecture: Architecture, network: Network, batch: int, phases: tuple[str, ...], emitters: Emitters
) -> InfeasibleError:
    """``error`` with all reasons and changes, tried in outline; with ``emitters`` what only they meet."""
    from etasim.estimate.outline import EMITTERS

    try:
        _emit(architecture, network, batch, phases, EMITTERS)
    except InfeasibleError as same:
        error, emitters = same, EMITTERS
    return explained(error, architecture, lambda changed: _emit(changed, network, batch, phases, emitters))


def _emit(architecture: Architecture, network: Network, batch: int, phases: tuple[str, ...], emitters: Emitters) -> Iteration:
    refuse_unused(architecture, [f"{layer.name}.{phase}" for layer in network.layers for phase in network.phases_of(layer)])
    iteration = Iteration(architecture, network, batch, phases, emitters)
    refuse_misfits(architecture, iteration.context.array, list(_asked(iteration)))
    try:
        _emit_operations(iteration)
    except InfeasibleError as error:
        raise iteration.located(error) from None
    return iteration


def _emit_operations(iteration: Iteration) -> None:
    forward, backward, update = Forward(iteration), Backward(iteration), Update(iteration)
    phases, update_at_once = iteration.phases, iteration.architecture.training.weight_update == "after_layer"
    if "ff" in phases:
        for unit in iteration.units:
            forward.emit(unit)
    for unit in backward.emit():
        if "wu" in phases and update_at_once:
            update.emit(unit)
    if "wu" in phases and not update_at_once:
        for unit in iteration.units:
            update.emit(unit)
    if not iteration.operations:
        raise InfeasibleError(f"phases {', '.join(phases)}: no layer of {iteration.network.name} has anything to do in them")
