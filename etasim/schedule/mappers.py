"""Who chooses how the array computes a convolution: mappers by name, as `mapper` of an architecture names them."""

from collections.abc import Sequence
from typing import Protocol

from etasim.core.registry import MAPPERS
from etasim.schedule.array import ArraySizes
from etasim.schedule.plan import best_plans
from etasim.schedule.problem import ConvProblem, Pinned, Plan

DEFAULT = "fastest"


class Mapper(Protocol):
    """Chooses among the mappings that fit."""

    def __call__(self, array: ArraySizes, problem: ConvProblem, n_best: int, pins: Pinned, /) -> Sequence[Plan]:
        """Up to ``n_best`` mappings with what is pinned, the one to take first; at least one. Raises InfeasibleError if none fits."""


def mapper_of(name: str | None) -> Mapper:
    """The mapper of that name; of none: `DEFAULT`."""
    chosen: Mapper = MAPPERS[name or DEFAULT]
    return chosen


MAPPERS.add(DEFAULT, best_plans)
