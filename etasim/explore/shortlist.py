"""Which plans of an operation deserve a simulation: no two that are one program, those that the estimate has for the best, and unlike ones.

The closed form that orders plans leaves out what the operations around one have to do with it; near its best plan it orders poorly. The
estimate of the iteration knows that, but takes too long to choose every plan by. What neither knows is much the same for plans with the
same blocking: a few of these say whether it is quick, more of them little else.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from etasim.config import Architecture
from etasim.explore.pinned_iterations import with_plan
from etasim.schedule.array import ArraySizes
from etasim.schedule.mappers import mapper_of
from etasim.schedule.nest import loops_of
from etasim.schedule.pinning import pins_of
from etasim.schedule.problem import ConvProblem, Pinned, Plan

CONSIDERED = 16
"""Plans of the planner's order for each that is simulated. Of the thirty operations of `etasim selfcheck nests` the best of eight is 0.3 %
behind the best that is known in the mean, 2.9 % at most; with half as many and by the estimate alone 1.4 and, in one operation, 32 %."""

BLOCKINGS = 0.75
"""Share of the plans that is the best of a blocking each, as far as there are so many."""

Estimate = Callable[[Sequence[Architecture]], Sequence[int | None]]
"""Estimated cycles of an iteration on machines; None where it cannot run."""


class TunedOperation(NamedTuple):
    """An operation, or several that are planned as one: their names, and what the planner is asked."""

    names: tuple[str, ...]
    array: ArraySizes
    problem: ConvProblem
    pins: Pinned

    def pinned(self, machine: Architecture, plan: Plan) -> Architecture:
        """``machine`` with this plan."""
        return with_plan(machine, self.names, pins_of(plan, self.problem.phase, self.array))


def shortlist(machine: Architecture, operation: TunedOperation, n_best: int, estimate: Estimate) -> list[tuple[int, Plan]]:
    """Up to ``n_best`` plans, each with its number in the planner's order (from 1), of its first ``CONSIDERED n_best``: its first; then
    the best of each other blocking, up to ``BLOCKINGS`` of all; then the best of those with another estimate than what is there; then the
    best. The best is that with which the iteration on ``machine`` is estimated to take the fewest cycles, the earlier in case of a tie.
    Raises InfeasibleError if no plan fits."""
    array, problem = operation.array, operation.problem
    different: dict[object, tuple[int, Plan]] = {}
    for rank, plan in enumerate(mapper_of(machine.mapper)(array, problem, CONSIDERED * n_best, operation.pins), 1):
        different.setdefault(loops_of(array, problem, plan), (rank, plan))
    ranked = list(different.values())
    cycles = estimate([operation.pinned(machine, plan) for _, plan in ranked])
    first, *others = (_Candidate(*each, found) for each, found in zip(ranked, cycles, strict=True))
    best = sorted((each for each in others if each.estimate is not None), key=lambda each: (each.estimate, each.rank))
    chosen = _unlike([first], best, lambda each: each.blocking, int(BLOCKINGS * n_best))
    chosen = _unlike(chosen, best, lambda each: each.estimate, n_best)
    chosen = _unlike(chosen, best, lambda each: each.rank, n_best)
    return [(each.rank, each.plan) for each in chosen]


class _Candidate(NamedTuple):
    """A plan, its number in the planner's order, and the estimated cycles of the iteration with it."""

    rank: int
    plan: Plan
    estimate: int | None

    @property
    def blocking(self) -> Plan:
        """Split, slices, bands and parts of the reduction: all but the chunks, the order of the loops and what is loaded once."""
        return self.plan.at_no_cost._replace(shapes=(), outer="", stream_resident=False, stationary_resident=False)


def _unlike(chosen: list[_Candidate], others: list[_Candidate], trait: Callable[[_Candidate], object], n: int) -> list[_Candidate]:
    """``chosen`` and, up to ``n`` in all, the first of ``others`` with each ``trait`` that none before it has."""
    chosen, found = list(chosen), {trait(each) for each in chosen}
    for each in others:
        if len(chosen) < n and trait(each) not in found:
            chosen.append(each)
            found.add(trait(each))
    return chosen
