"""Every mapping of a convolution that users could pin, also those that the planner does not consider.

The planner tries slices by powers of two, halves of the rows, and for each choice of loops only the tiles that its closed form finds
fastest; it keeps in a buffer what fits. Here are all slices, all equal shares of the rows, all tiles in all chunks, and operands that are
loaded again though they would fit. Tiles by row, which the planner takes only where nothing else fits, are left out.
"""

from collections.abc import Iterator
from itertools import product

from etasim.core.errors import InfeasibleError
from etasim.schedule.array import ArraySizes
from etasim.schedule.choices import OUTERS
from etasim.schedule.patterns import Pattern
from etasim.schedule.plan import best_plans
from etasim.schedule.problem import FREE, NOTHING_PINNED, ConvProblem, Pinned, PinNumbers, Plan, TileShape
from etasim.schedule.tiling import ceil_div, equal_shares

MANY = 10_000
"""More than the choices of loops with some numbers pinned."""


def every_plan(array: ArraySizes, problem: ConvProblem) -> list[Plan]:
    """All mappings, by cycles of the closed form, then by DRAM bytes, then as they are found. What the planner chooses is among the first;
    before it may be such with tiles that are fed longer at first. Where an operation has several patterns their tiles are chosen alike.

    Raises InfeasibleError if none fits.
    """
    found = dict.fromkeys(best_plans(array, problem, MANY, NOTHING_PINNED))
    for loops in _all_loops(array, problem):
        for tiles in zip(*(_tiles(array, problem, pattern, loops) for pattern in problem.patterns), strict=False):
            found |= dict.fromkeys(_asked(array, problem, 1, _pins(problem, loops, tiles)))
    return sorted(found, key=lambda plan: (plan.cycles, plan.dram_bytes))


def _asked(array: ArraySizes, problem: ConvProblem, n_best: int, pins: Pinned) -> tuple[Plan, ...]:
    """What the planner has with these pins; nothing if nothing fits."""
    try:
        return best_plans(array, problem, n_best, pins)
    except InfeasibleError:
        return ()


def _all_loops(array: ArraySizes, problem: ConvProblem) -> list[Plan]:
    """A mapping for each choice of loops and of what stays in the buffers, whatever its tiles."""
    most = min(array.psum_depth, ceil_div(problem.result_blocks, array.pes // array.lanes))
    found: dict[Plan, Plan] = {}
    rows, stays = equal_shares(problem.patterns[0].out_height), (FREE, 0)
    for slices, band_rows, stream, stationary in product(range(1, most + 1), rows, stays, stays):
        numbers = PinNumbers(slices, band_rows=band_rows, stream_resident=stream, stationary_resident=stationary)
        for plan in _asked(array, problem, MANY, Pinned(numbers=numbers)):
            found.setdefault(plan._replace(shapes=(), cycles=0), plan)
    return [*found.values()]


def _halves(extent: int) -> Iterator[int]:
    """``extent``, its half ... down to 1."""
    while extent > 1:
        yield extent
        extent = ceil_div(extent, 2)
    yield 1


def _tiles(array: ArraySizes, problem: ConvProblem, pattern: Pattern, plan: Plan) -> list[TileShape]:
    """Tiles of whole samples, of whole rows and of parts of a row, each in all chunks (of WG: one tile, one chunk)."""
    plane, n_taps = pattern.rows * pattern.cols, len(pattern.taps)
    most = problem.batch * plane if problem.phase == "wg" else array.psum_depth // plan.result_slices * array.columns
    sizes = [(samples, plane) for samples in equal_shares(problem.batch)] + [(0, n * pattern.cols) for n in equal_shares(pattern.rows)[1:]]
    fitting = [size for size in sizes if max(size[0], 1) * size[1] <= most] or [(0, most // array.columns * array.columns)]
    if problem.phase == "wg":
        chunks = [(FREE, FREE)]
    elif n_taps:
        chunks = [(blocks, n_taps) for blocks in _halves(problem.stream_blocks)] + [(1, taps) for taps in _halves(n_taps) if taps < n_taps]
    else:
        chunks = [(1, 1)]
    return [TileShape(*size, *chunk) for size in fitting for chunk in chunks]


def _pins(problem: ConvProblem, plan: Plan, tiles: tuple[TileShape, ...]) -> Pinned:
    """All of ``plan`` but its tiles, and what follows from them: samples of a band of WG."""
    is_wg, band = problem.phase == "wg", plan.bands[0]
    numbers = PinNumbers(
        plan.result_slices, plan.slice_blocks, plan.stream_slices if is_wg else FREE, FREE if is_wg else band.n_samples, band.end_row,
        OUTERS.index(plan.outer), int(plan.stream_resident), int(plan.stationary_resident), FREE if is_wg else plan.reduction_blocks,
    )  # fmt: skip
    return Pinned(((plan.split, plan.sample_parts),), numbers, tiles)
