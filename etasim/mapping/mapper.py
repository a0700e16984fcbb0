"""Maps an iteration: its works, in order, become the commands of a tile program."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
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
from etasim.program.builder import EVERYTHING, Take
from etasim.program.commands import BUFFERS, TENSOR_CLASSES, Program
from etasim.program.facts import Earlier, Limits
from etasim.program.windows import ProgramWindows
from etasim.schedule.array import ArraySizes, array_of
from etasim.schedule.pinning import pinned, refuse_unused
from etasim.schedule.shortage import Asked, explained, refuse_misfits
from etasim.workload import Network
from etasim.workload.lowering import PHASES

T = TypeVar("T")


@dataclass(frozen=True)
class Mapping:
    """A mapped iteration; ``layout`` is known unless the program was written by hand. ``swaps``: of the halves of each
    buffer. ``reached``: the bytes of each buffer, from the first on, that commands touch (unknown: of a program written by hand).
    ``residences``: what lives on chip, ``lives``: from which operation to which; ``forwarded_bytes`` [(operation, tensor class)]:
    read there instead of from DRAM.

    ``windows``: the program, if it was not kept whole; ``program`` is then its outline, without commands.
    """

    program: Program
    operations: tuple[Operation, ...]
    routes: tuple[Route, ...]
    tensors: tuple[Tensor, ...]
    layout: Layout | None = None
    swaps: tuple[int, ...] = (0,) * len(BUFFERS)
    residences: Residences = NOTHING_HELD
    lives: dict[Residence, tuple[int, int]] = field(default_factory=dict)
    forwarded_bytes: dict[tuple[int, str], int] = field(default_factory=dict)
    windows: ProgramWindows | None = None
    reached: tuple[int, ...] | None = None

    def stretches(self) -> Iterable[Program]:
        """The program, or its windows one after the other."""
        return (self.program,) if self.windows is None else self.windows


def map_iteration(
    architecture: Architecture, network: Network, batch: int, phases: tuple[str, ...] = PHASES, window: int = EVERYTHING
) -> Mapping:
    """The tile program of one iteration, validated; in windows of about ``window`` commands, if it has more. Raises InfeasibleError if an
    operation fits no tiling, ProgramError for a defect of the mapper."""
    reception = _Reception(architecture)
    iteration, context = walk_iteration(architecture, network, batch, phases, partial(emit, window=window, receive=reception.begin))
    groupings = {unit.index: iteration.grouping(unit) for unit in iteration.units if unit.is_convolution}
    layout = iteration.values.layout(iteration.fold, groupings, context.held.residences.never_stored)
    swaps = tuple(ring.swaps for ring in context.rings.values())
    program, windows = reception.end()
    for tensor in iteration.memory.tensors:
        tensor.writers.clear()  # nothing waits for them any more, and a large batch has many
    held, rings = context.held, (*context.rings.values(), *context.second.rings)
    return Mapping(
        program, *_named(iteration, context), layout, swaps, held.residences, held.lives, held.forwarded_bytes, windows,
        tuple(ring.reached for ring in rings),
    )  # fmt: skip


class _Reception:
    """Takes the windows of a program as they are finished, validates them and packs them, unless there is but one."""

    def __init__(self, architecture: Architecture) -> None:
        self._architecture = architecture
        self._windows = ProgramWindows()
        self._earlier: Earlier | None = None

    def begin(self, iteration: Iteration, context: Context) -> Take:
        """What takes the windows of an iteration, which begins."""
        self._iteration, self._context = iteration, context
        self._windows, self._earlier = ProgramWindows(), None
        return self._take

    def _check(self, program: Program, is_last: bool) -> None:
        limits = _limits(self._architecture, *_named(self._iteration, self._context))
        self._earlier = validate.check(program, limits, self._earlier, is_last)

    def _take(self, program: Program) -> None:
        self._check(program, is_last=False)
        self._windows.add(program)

    def end(self) -> tuple[Program, ProgramWindows | None]:
        """The whole program, or its outline and its windows. Raises ProgramError."""
        program = self._context.builder.build()
        self._check(program, is_last=True)
        if not len(self._windows):
            return program, None
        self._windows.add(program)
        return self._windows.outline, self._windows


def _named(iteration: Iteration, context: Context) -> tuple[tuple[Operation, ...], tuple[Route, ...], tuple[Tensor, ...]]:
    """What the numbers in the tables of a program mean, as far as it is written."""
    return tuple(iteration.operations), tuple(context.routes), tuple(iteration.memory.tensors)


def limits_of(architecture: Architecture, mapping: Mapping) -> Limits:
    """What the program of ``mapping`` must keep to."""
    return _limits(architecture, mapping.operations, mapping.routes, mapping.tensors)


def segment_bytes(architecture: Architecture, operations: tuple[Operation, ...]) -> np.ndarray:
    """Of a row of lanes that is drained: [operation]."""
    return np.array([architecture.channel_block * result_bytes(operation.phase, architecture.data) for operation in operations])


def _limits(
    architecture: Architecture, operations: tuple[Operation, ...], routes: tuple[Route, ...], named: tuple[Tensor, ...]
) -> Limits:
    array, place = array_of(architecture), architecture.noc.placement
    tensors = [(t.address, t.address + t.n_blocks * t.pitch_bytes, TENSOR_CLASSES.index(t.tensor_class)) for t in named]
    receivers = [[node in route.destinations for node in place.clusters] for route in routes]
    return Limits(
        array.buffer_bytes, array.word_bytes, np.array(sorted(tensors)),
        segment_bytes(architecture, operations), np.array(receivers, bool).reshape(-1, array.clusters),
        architecture.buffers.ideal and architecture.noc.ideal,
    )  # fmt: skip


def emit(
    iteration: Iteration, copies: bool = True, window: int = EVERYTHING, receive: Callable[[Iteration, Context], Take] | None = None
) -> Context:
    """All works as commands. ``copies``: those that repeat are copied; the program is the same without. ``receive``: what gives who takes
    windows of about ``window`` commands."""
    context = Context(iteration.architecture, iteration.array, residences_of(iteration), copies, window)
    second = copies_of(iteration)
    context.builder.take = receive and receive(iteration, context)
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
