"""How a convolution is laid onto the array: split over clusters, psum residency, tiles, chunks, order, residency in the buffers.

Of all choices that fit, the one with the fewest cycles by a closed form wins, then the one with the least DRAM traffic, then the first: of
the two orders of the loops that in which samples are whole one after the other.
A larger buffer only adds choices, and slows none, so it is never planned slower, unless rows that were cut fit whole (`_attempts`).
"""

from collections.abc import Iterator
from functools import lru_cache
from math import isinf

import numpy as np

from etasim.core.errors import InfeasibleError
from etasim.schedule.ample import without_spare
from etasim.schedule.array import ArraySizes
from etasim.schedule.choices import CHOICE, OUTERS, room_for
from etasim.schedule.gradient_plans import gradient_plans
from etasim.schedule.problem import FREE, NOTHING_PINNED, ConvProblem, Pinned, PinNumbers, Plan, Splits, TileShape
from etasim.schedule.rates import link_uses
from etasim.schedule.result_plans import result_plans
from etasim.schedule.rounds import new_workspace
from etasim.schedule.tiling import bands_of, divisors


def overflow(array: ArraySizes, problem: ConvProblem) -> tuple[int, int]:
    """Products of a sum of the operation, and bits that hold it whatever the values are; (0, 0) if the accumulator has these, or
    floats."""
    if array.is_float:
        return 0, 0
    pattern = problem.patterns[0]
    terms = (
        problem.batch * pattern.rows * pattern.cols
        if problem.phase == "wg"
        else problem.stream_blocks * array.lanes * problem.kernel_positions
    )
    needed = problem.product_bits + (terms - 1).bit_length()
    return (terms, needed) if needed > array.accumulator_bits else (0, 0)


def all_splits(array: ArraySizes, problem: ConvProblem) -> Splits:
    """All splits of the clusters; those that need no reduction in the network first, so that they win a tie."""
    parts = divisors(array.clusters) if array.reduces and problem.phase == "wg" else [1]
    return tuple((split, n) for n in parts for split in divisors(array.clusters // n))


@lru_cache(maxsize=1024)
def links_of(array: ArraySizes, split: int, parts: int) -> np.ndarray:
    """Routes that go over a link [links, 2] (`etasim.schedule.rates.link_uses`); none where the feeds do not meet."""
    return link_uses(array.noc, split, parts) if array.rates.meeting_flit_cycles and array.noc else np.zeros((0, 2), np.int64)


@lru_cache(maxsize=256)
def _links(array: ArraySizes, splits: Splits) -> tuple[np.ndarray, np.ndarray]:
    """Links of all splits [links, 2], and where those of each begin and end."""
    uses = [links_of(array, *split) for split in splits]
    return np.concatenate(uses), np.cumsum([0] + [len(each) for each in uses])


@lru_cache(maxsize=256)
def _table(rows: tuple[tuple[int, ...], ...]) -> np.ndarray:
    """Splits or tiles as kernels read them."""
    return np.array(rows, np.int64)


def _best(array: ArraySizes, problem: ConvProblem, pins: Pinned, n_best: int, first_only: bool) -> tuple[np.ndarray, np.ndarray]:
    """The best mappings, the best first, and the shapes of their tiles. Rows are cut by themselves only where nothing fits otherwise, or
    where it is pinned."""
    n_patterns, splits = len(problem.patterns), pins.splits or all_splits(array, problem)
    choices, shapes = room_for(n_best, n_patterns)
    cycles, space = choices["cycles"], new_workspace()
    links = _links(array.of_clusters, splits)
    worked_out = gradient_plans if problem.phase == "wg" else result_plans
    for numbers, tiles in dict.fromkeys(_attempts(problem, pins)):
        if len(tiles) == n_patterns and isinf(cycles[0]):
            worked_out(
                array.numbers, *links, problem.numbers, problem.pattern_records, _table(splits), numbers, _table(tiles), space, choices,
                shapes, first_only,
            )  # fmt: skip
    n_found = int(np.isfinite(cycles).sum())
    return choices.view(np.ndarray)[:n_found], shapes[:n_found]


def _attempts(problem: ConvProblem, pins: Pinned) -> Iterator[tuple[PinNumbers, tuple[TileShape, ...]]]:
    """What to choose from, one after the other until something fits: tiles of whole rows, parts of rows as well."""
    rows = TileShape(FREE, FREE, FREE, FREE, 0)
    for tile in (rows, rows._replace(by_row=FREE)):
        yield pins.numbers, pins.tiles or (tile,) * len(problem.patterns)


def _plan(problem: ConvProblem, choice: np.void, shapes: np.ndarray) -> Plan:
    """The mapping with all its bands."""
    own = dict(zip(CHOICE.names or (), choice.item(), strict=True))
    samples, rows, outer, _ = (own.pop(name) for name in ("band_samples", "band_rows", "outer", "array_cycles"))
    bands = bands_of(problem.batch, problem.patterns[0].out_height, samples, rows)
    return Plan(**own, outer=OUTERS[outer], shapes=tuple(TileShape(*shape) for shape in shapes.tolist()), bands=bands)


def fits(array: ArraySizes, problem: ConvProblem, pins: Pinned = NOTHING_PINNED) -> bool:
    """Whether there is any mapping, widths of sums aside."""
    return len(_best(array, problem, pins, 1, first_only=True)[0]) > 0


def best_plans(array: ArraySizes, problem: ConvProblem, n_best: int, pins: Pinned = NOTHING_PINNED) -> tuple[Plan, ...]:
    """Up to ``n_best`` mappings of ``problem`` that take the fewest cycles, then move the fewest bytes, the best first; deterministic.
    ``pins``: what they must have.

    Raises InfeasibleError if no tile fits, or a sum may overflow; `etasim.schedule.shortage` says what is missing.
    """
    if problem.phase == "wg":
        array = array.without_core  # what WG writes goes to DRAM as it is
    return known_plans(without_spare(array, problem) if pins == NOTHING_PINNED else array, problem, n_best, pins)


@lru_cache(maxsize=16384)
def known_plans(array: ArraySizes, problem: ConvProblem, n_best: int, pins: Pinned) -> tuple[Plan, ...]:
    """`best_plans` for all that they depend on."""
    if overflow(array, problem) == (0, 0):
        choices, shapes = _best(array, problem, pins, n_best, first_only=False)
        if len(choices):
            return tuple(_plan(problem, choice, own) for choice, own in zip(choices, shapes, strict=True))
    raise InfeasibleError(f"{problem.name} ({problem.phase}): fits no tiling")


def plan(array: ArraySizes, problem: ConvProblem, pins: Pinned = NOTHING_PINNED) -> Plan:
    """The best of `best_plans`."""
    return best_plans(array, problem, 1, pins)[0]
