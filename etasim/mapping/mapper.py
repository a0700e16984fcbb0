"""Maps an iteration: its works, in order, become the commands of a tile program."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from etasim.config import Architecture
from etasim.core.errors import InfeasibleError
from etasim.mapping.context import Context
from etasim.mapping.dry import DryWalk
from etasim.mapping.forwarding import NOTHING_HELD, Residence, Residences, residences_of
from etasim.mapping.gradient_stationary import GradientStationary
from etasim.mapping.iteration import AskedPlan, Iteration, Operation, result_bytes
from etasim.mapping.result_stationary import ResultStationary
from etasim.mapping.second_level import copies_of
from etasim.mapping.sequence import works
from etasim.mapping.steps import Alone
from etasim.mapping.tensors import Tensor
from etasim.mapping.values import Layout
from etasim.noc import Route
from etasim.program import validate
from etasim.program.commands import BUFFERS, TENSOR_CLASSES, Program
from etasim.program.facts import Limits
from etasim.schedule.array import ArraySizes, array_of
from etasim.schedule.pinning import pinned, refuse_unused
from etasim.schedule.shortage import Asked, explained, refuse_misfits
from etasim.workload import Network
from etasim.workload.lowering import PHASES

T = TypeVar("T")


@dataclass(frozen=True)
class Mapping:
    """A mapped iteration; ``layout`` is known unless the program was written by hand. ``swaps``: of the halves of each
    buffer. ``residences``: what lives on chip, ``lives``: from which operation to which; ``forwarded_bytes`` [(operation, tensor class)]:
    read there instead of from DRAM."""

    program: Program
    operations: tuple[Operation, ...]
    routes: tuple[Route, ...]
    tensors: tuple[Tensor, ...]
    layout: Layout | None = None
    swaps: tuple[int, ...] = (0,) * len(BUFFERS)
    residences: Residences = NOTHING_HELD
    lives: dict[Residence, tuple[int, int]] = field(default_factory=dict)
    forwarded_bytes: dict[tuple[int, str], int] = field(default_factory=dict)


def map_iteration(architecture: Architecture, network: Network, batch: int, phases: tuple[str, ...] = PHASES) -> Mapping:
    """The tile program of one iteration, validated. Raises InfeasibleError if an operation fits no tiling, ProgramError for a defect of
    the mapper."""
    iteration, context = walk_iteration(architecture, network, batch, phases, emit)
    groupings = {unit.index: iteration.grouping(unit) for unit in iteration.units if unit.is_convolution}
    layout = iteration.values.layout(iteration.fold, groupings, context.held.residences.never_stored)
    swaps = tuple(ring.swaps for ring in context.rings.values())
    tensors = tuple(iteration.memory.tensors)
    mapping = Mapping(
        context.builder.build(), tuple(iteration.operations), tuple(context.routes), tensors, layout, swaps, context.held.residences,
        context.held.lives, context.held.forwarded_bytes,
    )  # fmt: skip
    validate.check(mapping.program, limits_of(architecture, mapping))
    return mapping


def limits_of(architecture: Architecture, mapping: Mapping) -> Limits:
    """What the program of ``mapping`` must keep to."""
    array, place = array_of(architecture), architecture.noc.placement
    tensors = [(t.address, t.address + t.n_blocks * t.pitch_bytes, TENSOR_CLASSES.index(t.tensor_class)) for t in mapping.tensors]
    segments = [array.lanes * result_bytes(operation.phase, architecture.data) for operation in mapping.operations]
    receivers = [[node in route.destinations for node in place.clusters] for route in mapping.routes]
    return Limits(
        array.buffer_bytes, array.word_bytes, np.array(sorted(tensors)),
        np.array(segments), np.array(receivers, bool).reshape(-1, array.clusters), architecture.buffers.ideal and architecture.noc.ideal,
    )  # fmt: skip


def emit(iteration: Iteration, copies: bool = True) -> Context:
    """All works as commands. ``copies``: those that repeat are copied; the program is the same without."""
    context, second = Context(iteration.architecture, iteration.array, residences_of(iteration), copies), copies_of(iteration)
    for work in works(iteration):
        context.second.begin(next(second), iteration.memory)
        context.held.begin(iteration.memory)
        if isinstance(work, Alone):
            context.alone(work)
        elif work.problem.phase == "wg":
            GradientStationary(context, work).emit()
        else:
            ResultStationary(context, work).emit()
    return context


def walk_dry(iteration: Iteration) -> None:
    """All works, to see whether they fit."""
    DryWalk(iteration).walk()


def asked_of(architecture: Architecture, network: Network, batch: int, phases: tuple[str, ...]) -> tuple[ArraySizes, list[AskedPlan]]:
    """The convolutions of an iteration as the planner is asked for them, in the order of the program. Raises InfeasibleError."""
    iteration, _ = walk_iteration(architecture, network, batch, phases, walk_dry)
    return iteration.array, iteration.asked


def walk_iteration(
    architecture: Architecture, network: Network, batch: int, phases: tuple[str, ...], walk: Callable[[Iteration], T]
) -> tuple[Iteration, T]:
    """One iteration, and what ``walk`` makes of its works.

    Raises InfeasibleError, with all reasons and the changes that mend them, if an operation fits no tiling or the tensors fit no memory,
    and if there is no operation.
    """
    try:
        return _walked(architecture, network, batch, phases, walk)
    except InfeasibleError as error:
        raise _explained(error, architecture, network, batch, phases, walk) from None


def _explained(
    error: InfeasibleError, architecture: Architecture, network: Network, batch: int, phases: tuple[str, ...],
    walk: Callable[[Iteration], object],
) -> InfeasibleError:  # fmt: skip
    """``error`` with all reasons and changes, tried dry; with ``walk`` what only that meets."""
    try:
        _walked(architecture, network, batch, phases, walk_dry)
    except InfeasibleError as same:
        error, walk = same, walk_dry
    return explained(error, architecture, lambda changed: _walked(changed, network, batch, phases, walk))


def _walked(
    architecture: Architecture, network: Network, batch: int, phases: tuple[str, ...], walk: Callable[[Iteration], T]
) -> tuple[Iteration, T]:
    refuse_unused(architecture, [f"{layer.name}.{phase}" for layer in network.layers for phase in network.phases_of(layer)])
    iteration = Iteration(architecture, network, batch, phases)
    try:
        return iteration, walk(iteration)
    except InfeasibleError as error:
        refuse_misfits(architecture, iteration.array, list(_asked(iteration)))
        raise iteration.located(error) from None


def _asked(iteration: Iteration) -> Iterator[Asked]:
    """What the array computes, in the order of the network."""
    for unit in iteration.units:
        for phase in iteration.network.phases_of(unit.head):
            if phase in iteration.phases:
                yield Asked(unit.name, iteration.problem(unit, phase), pinned(iteration.architecture, unit.name, phase))
