"""The least of many options, each worked out only as far as it takes to rule it out."""

from collections.abc import Callable, Iterable
from heapq import heapify, heappop, heappush
from typing import Any

Stage = Callable[[Any], tuple[Any, Any] | None]
"""Works an option out further: a bound on its value, not below that of the stage before, and what it came to; None: it is no option."""


def least(options: Iterable[Any], first_stage: Stage, *later_stages: Stage) -> tuple[Any, Any] | None:
    """(value, option) of the least value, the first of equals, as the last stage leaves it; None if no option remains.

    The bound of the last stage is the value. The option with the lowest bound is always the next to be worked out further.
    """
    heap = [(found[0], i, 0, found[1]) for i, option in enumerate(options) if (found := first_stage(option))]
    heapify(heap)
    while heap:
        bound, i, n_done, option = heappop(heap)
        if n_done == len(later_stages):
            return bound, option
        if found := later_stages[n_done](option):
            heappush(heap, (found[0], i, n_done + 1, found[1]))
    return None
