"""Which plans of an operation deserve a simulation: no two that are one program, and those that the estimate has for the best.

The closed form that orders plans leaves out what the operations around one have to do with it; near its best plan it orders poorly. The
estimate of the iteration knows that, but takes too long to choose every plan by.
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

CONSIDERED = 8
"""Plans of the planner's order for each that is simulated. Of the thirty operations of `etasim selfcheck nests` the best of eight is then
0.3 % behind the best of all in the mean; with half as many it was over three times as far when the number was chosen."""

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
    """Up to ``n_best`` plans, each with its number in the planner's order (from 1): its first, then those of its first
    ``CONSIDERED n_best`` with which the iteration on ``machine`` is estimated to take the fewest cycles, the earlier in case of a tie.
    Raises InfeasibleError if no plan fits."""
    array, problem = operation.array, operation.problem
    different: dict[object, tuple[int, Plan]] = {}
    for rank, plan in enumerate(mapper_of(machine.mapper)(array, problem, CONSIDERED * n_best, operation.pins), 1):
        different.setdefault(loops_of(array, problem, plan), (rank, plan))
    first, *others = different.values()
    cycles = estimate([operation.pinned(machine, plan) for _, plan in others])
    ordered = sorted((found, *other) for found, other in zip(cycles, others, strict=True) if found is not None)
    return [first, *((rank, plan) for _, rank, plan in ordered[: n_best - 1])]
