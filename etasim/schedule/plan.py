"""How a convolution is laid onto the array: split over clusters, psum residency, tiles, chunks, order, residency in the buffers.

Of all choices that fit, the one with the least DRAM traffic wins, then the one with the fewest cycles by a closed form, then the first.
A larger buffer only adds choices, so it never adds traffic. A choice is worked out only as far as it takes to rule it out
(`etasim.schedule.search`); the tiles of its passes come last, for they do not change the traffic.
"""

from functools import lru_cache
from typing import Any

from etasim.core.errors import InfeasibleError
from etasim.schedule.array import ArraySizes
from etasim.schedule.gradient_plans import GradientPlanner
from etasim.schedule.problem import Candidate, ConvProblem, Plan, Splits
from etasim.schedule.result_plans import ResultPlanner
from etasim.schedule.search import least
from etasim.schedule.tiling import bands_of, divisors


def overflow(array: ArraySizes, problem: ConvProblem) -> tuple[int, int]:
    """Products of a sum of the operation, and bits that hold it whatever the values are; (0, 0) if the accumulator has these."""
    pattern = problem.patterns[0]
    terms = (
        problem.batch * pattern.rows * pattern.cols
        if problem.phase == "wg"
        else problem.stream_blocks * array.lanes * problem.kernel_positions
    )
    needed = 8 * (problem.stream_element_bytes + problem.stationary_element_bytes) + (terms - 1).bit_length()
    return (terms, needed) if needed > array.accumulator_bits else (0, 0)


def all_splits(array: ArraySizes, problem: ConvProblem) -> Splits:
    """All splits of the clusters; those that need no reduction in the network first, so that they win a tie."""
    parts = divisors(array.clusters) if array.reduces and problem.phase == "wg" else [1]
    return tuple((split, n) for n in parts for split in divisors(array.clusters // n))


def _plan(problem: ConvProblem, candidate: Candidate) -> Plan:
    """The mapping with all its bands."""
    movement, tiles, height = candidate.movement, candidate.tiles, problem.patterns[0].out_height
    assert tiles is not None, "the last stage of a planner chooses them"
    return Plan(
        **candidate.allotment._asdict(), shapes=tiles.shapes, bands=bands_of(problem.batch, height, tiles.band_samples, movement.band_rows),
        outer=movement.outer, stream_resident=movement.stream_resident, stationary_resident=movement.stationary_resident,
        dram_bytes=sum(movement.dram_bytes), cycles=tiles.cycles,
    )  # fmt: skip


def _planner(array: ArraySizes, problem: ConvProblem) -> GradientPlanner | ResultPlanner:
    return (GradientPlanner if problem.phase == "wg" else ResultPlanner)(array, problem)


def fits(array: ArraySizes, problem: ConvProblem, fixed: Splits = ()) -> bool:
    """Whether there is any mapping, widths of sums aside."""
    planner = _planner(array, problem)

    def works(option: Any) -> bool:
        stages: tuple[Any, ...] = planner.stages
        for stage in stages:
            found = stage(option)
            if found is None:
                return False
            option = found[1]
        return True

    return any(works(option) for option in planner.options(fixed or all_splits(array, problem)))


@lru_cache(maxsize=4096)
def plan(array: ArraySizes, problem: ConvProblem, fixed: Splits = ()) -> Plan:
    """The mapping of ``problem`` with the least DRAM traffic, then the fewest cycles; deterministic. ``fixed``: the splits to choose from,
    all if there are none.

    Raises InfeasibleError if no tile fits, or a sum may overflow; `etasim.schedule.shortage` says what is missing.
    """
    planner = _planner(array, problem)
    best = None if overflow(array, problem) != (0, 0) else least(planner.options(fixed or all_splits(array, problem)), *planner.stages)
    if best is None:
        raise InfeasibleError(f"{problem.name} ({problem.phase}): fits no tiling")
    return _plan(problem, best[1])
