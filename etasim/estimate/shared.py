"""The outline of an iteration, of which machines that differ in array, network and operand buffers share most.

What the unified core does alone, and what follows a tile of results, depends on tensors, lanes and the error buffer, not on how many
clusters there are. So the works of an iteration are kept, with what they come to, for other machines of a search that are alike in all
that those read; only convolutions are planned and outlined anew. Which works there are also depends on which plans finish whole planes.
"""

from collections import OrderedDict
from collections.abc import Iterator, Set
from dataclasses import replace
from functools import lru_cache
from itertools import count
from typing import Any, NamedTuple

from etasim.config import Architecture
from etasim.core.errors import InfeasibleError
from etasim.estimate.amounts import Amounts
from etasim.estimate.outline import Job, Outliner, Surroundings
from etasim.mapping.iteration import Iteration, Operation, Planned
from etasim.mapping.mapper import walk_iteration
from etasim.mapping.sequence import works
from etasim.mapping.works import Convolve, Work
from etasim.schedule.array import ArraySizes, array_of
from etasim.schedule.mappers import mapper_of
from etasim.schedule.nest import nest_of
from etasim.schedule.pinning import pins_of
from etasim.schedule.problem import NOTHING_PINNED, ConvProblem, Plan
from etasim.workload import Network

OF_THE_ARRAY_ALONE = {
    "array": {
        "clusters", "pes_per_cluster", "columns", "psum_depth", "stream_scratchpad_bytes", "stationary_scratchpad_bytes",
        "deinterleave_stride", "pipeline",
    },
    "buffers": {"activation", "weight"},
}  # fmt: skip
"""Keys of these sections that only convolutions on the array feel, as they feel the network."""

SHARED_WHOLE = ("core", "dma", "dram", "unified_core", "controller", "data", "numerics", "training", "mapper")
"""Sections of which everything may matter to other works."""

UNFELT_BY_GRADIENTS = {"unified_core"}, {"error"}
"""Of what is shared, the section and the buffer that WG does not meet: its results are stored as they come from the array."""

MOST_CONVOLUTIONS = 20_000
"""Whose surroundings are kept in a process, about 5 KB each."""
MOST_ITERATIONS = 96
"""Kept in a process, about 1.5 MB each: a search that varies lanes, error buffer, unified core, clock or batch has as many as their
combinations, for each network."""


Pins = dict[str, Any]
"""Of a convolution, in the form that ``mapping`` reads."""


class Outline(NamedTuple):
    """Jobs in program order, operations as in the report, what the operations move, the bytes of DRAM that tensors take, and the array."""

    jobs: list[Job]
    operations: list[Operation]
    amounts: Amounts
    held_bytes: int
    array: ArraySizes


class Walked:
    """The works of an ``iteration``; ``asked_for`` [work]: as which of its convolutions a work was planned, groups as one, None for
    others; what the others come to; ``whole`` [convolution]: whether its plan finishes whole planes."""

    def __init__(self, iteration: Iteration):
        self.iteration = iteration
        self._serial, self._gradients_serial = next(_serials), _serial_of(_felt_by_gradients(iteration))
        self.works: list[Work] = []
        self.asked_for: list[int | None] = []
        self.alone = Amounts()
        self._jobs: list[Job | None] = []
        outliner, plans = Outliner(iteration, iteration.array), dict[int, Plan]()
        for work in works(iteration):
            self.works.append(work)
            outliner.take(work)
            if isinstance(work, Convolve):
                self.asked_for.append(len(iteration.asked) - 1)
                self._jobs.append(None)
                plans[len(iteration.asked) - 1] = work.plan
            else:
                self.asked_for.append(None)
                self._jobs.append(outliner.job)
                self.alone.add(outliner.amounts)
        self._places = [(asked, self.asked_for[:number].count(asked)) for number, asked in enumerate(self.asked_for)]
        for tensor in iteration.memory.tensors:
            tensor.writers.clear()  # only an emitter asks, and they take more memory than all else
        self._problems = list(dict.fromkeys(asked.problem for asked in iteration.asked))
        self.whole = [self._whole(asked.problem, plans[number]) for number, asked in enumerate(iteration.asked)]

    def _whole(self, problem: ConvProblem, plan: Plan) -> bool:
        """Whether what follows a convolution finds whole planes; nothing follows the gradients of WG."""
        return problem.phase == "wg" or self.iteration.whole(plan)

    def planned(self, array: ArraySizes) -> list[tuple[Planned, Pins]] | None:
        """The convolutions on ``array``, and what would pin each; None where other works would follow from their plans. Raises
        InfeasibleError."""
        mapper, planned = mapper_of(self.iteration.architecture.mapper), {}
        for problem in self._problems:
            plan = mapper(array, problem, 1, NOTHING_PINNED)[0]
            each = Planned(problem, plan, nest_of(array, problem, plan)), pins_of(plan, problem.phase, array)
            planned[problem] = each, self._whole(problem, plan)
        chosen = [planned[asked.problem] for asked in self.iteration.asked]
        if [is_whole for _, is_whole in chosen] != self.whole:
            return None
        return [each for each, _ in chosen]

    def outline(self, array: ArraySizes, planned: list[tuple[Planned, Pins]]) -> Outline:
        """The outline with these convolutions. Raises InfeasibleError."""
        outliner = Outliner(self.iteration, array)
        operations, amounts, jobs = list(self.iteration.operations), Amounts(), []
        amounts.add(self.alone)
        for number, (work, asked) in enumerate(zip(self.works, self.asked_for, strict=True)):
            job = self._jobs[number]
            if isinstance(work, Convolve) and asked is not None:
                chosen, pins = planned[asked]
                work = work._replace(array=array, plan=chosen.plan, nest=chosen.nest)
                job = outliner.placed(work, self._surrounded(outliner, self._places[number], work), amounts)
                operations[work.operation] = replace(operations[work.operation], nest=chosen.nest, pins=pins)
            if job is not None and any(job.commands):
                jobs.append(job)
        return Outline(jobs, operations, amounts, self.iteration.memory.used_bytes, array)

    def _surrounded(self, outliner: Outliner, place: tuple[int | None, int], work: Convolve) -> Surroundings:
        """All of a convolution but what it asks of the array. ``place``: as which one it was planned, and which of the groups it
        is that were planned as one, of which only the first brings what comes once."""
        nest = work.nest
        steps, serial = tuple(axis.step for axis in nest.axes), self._gradients_serial if work.problem.phase == "wg" else self._serial
        key = serial, place, work.plan.outer, nest.stream.resident, nest.stationary.resident, steps
        found = _surroundings.get(key)
        if found is None:
            found = _surroundings[key] = outliner.surroundings(work)
            if len(_surroundings) > MOST_CONVOLUTIONS:
                _surroundings.popitem(last=False)
        else:
            _surroundings.move_to_end(key)
        return found


@lru_cache(maxsize=1024)
def _serial_of(_key: tuple[Any, ...]) -> int:
    """A number of its own."""
    return next(_serials)


_serials = count()
_surroundings: OrderedDict[Any, Surroundings] = OrderedDict()
"""Of convolutions, by the iteration that was walked, or all of it that WG feels, their place in it, and all that the steps of the nest
follow from; those that nobody asked for first."""


_walked: OrderedDict[Any, list[Walked]] = OrderedDict()
"""By what machines share; the last way in which plans finished whole planes first."""


def outline(architecture: Architecture, network: Network, batch: int, phases: tuple[str, ...]) -> Outline:
    """The outline of one iteration. Raises InfeasibleError if an operation fits no tiling."""
    array = array_of(architecture)
    buffers_matter = architecture.buffers.second is not None or array.bypasses
    pins_matter = bool(architecture.mapping.pins) or architecture.mapping.forwarding
    if pins_matter or architecture.host is not None or buffers_matter or any(array.fill_cycles):
        return _alone(architecture, network, batch, phases)
    key = _shared(architecture), network, batch, phases
    known = _walked.get(key, [])
    if known:
        _walked.move_to_end(key)
    try:
        return next(_as_before(known, array))
    except InfeasibleError:
        return _alone(architecture, network, batch, phases)  # which says all that is wrong
    except StopIteration:
        iteration, walked = walk_iteration(architecture, network, batch, phases, Walked)
        _walked.setdefault(key, []).insert(0, walked)  # not before: of a machine that cannot run the network nothing is kept
        _forget()
        return next(_as_before([walked], iteration.array))


def _as_before(known: list["Walked"], array: ArraySizes) -> Iterator[Outline]:
    """Outlines on ``array``, of those that fit. Raises InfeasibleError."""
    for walked in known:
        planned = walked.planned(array)
        if planned is not None:
            yield walked.outline(array, planned)


def _alone(architecture: Architecture, network: Network, batch: int, phases: tuple[str, ...]) -> Outline:
    """The outline of a machine that shares nothing."""
    iteration, outliner = walk_iteration(architecture, network, batch, phases, _outlined)
    amounts = Amounts()
    for part in outliner.parts:
        amounts.add(part.amounts)
    jobs = [part.job for part in outliner.parts if any(part.job.commands)]
    return Outline(jobs, iteration.operations, amounts, iteration.memory.used_bytes, iteration.array)


def _outlined(iteration: Iteration) -> Outliner:
    outliner = Outliner(iteration, iteration.array)
    outliner.walk()
    return outliner


def _shared(architecture: Architecture, but_sections: Set[str] = frozenset(), but_buffers: Set[str] = frozenset()) -> tuple[Any, ...]:
    """All of ``architecture`` that more than its convolutions feel, without these."""
    parts = (
        getattr(getattr(architecture, section), name)
        for section, alone in OF_THE_ARRAY_ALONE.items()
        for name in type(getattr(architecture, section)).model_fields
        if name not in alone and not (section == "buffers" and name in but_buffers)
    )
    return (*(getattr(architecture, name) for name in SHARED_WHOLE if name not in but_sections), *parts)


def _felt_by_gradients(iteration: Iteration) -> tuple[Any, ...]:
    """All that the surroundings of its WG follow from."""
    felt = _shared(iteration.architecture, *UNFELT_BY_GRADIENTS)
    return felt, iteration.network, iteration.batch, tuple(iteration.phases)


def _forget() -> None:
    """Let the oldest go: of the others those that nobody asked for, of the last one those that fitted least lately."""
    while sum(map(len, _walked.values())) > MOST_ITERATIONS:
        oldest = next(iter(_walked))
        _walked[oldest].pop()
        if not _walked[oldest]:
            del _walked[oldest]
