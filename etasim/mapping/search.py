"""The least of many options, with as few of them worked out as their bounds allow."""

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

Option = TypeVar("Option")
Answer = TypeVar("Answer")


def least(
    options: Iterable[Option], bound: Callable[[Option], Any], work_out: Callable[[Option], tuple[Any, Answer] | None]
) -> tuple[Any, Answer] | None:
    """(value, answer) of the option whose value is least, the first of equals; None if ``work_out`` answers none.

    ``bound`` is never above the value. Options are worked out in the order of their bounds, until none can beat the best value so far.
    """
    best = None
    for lowest, i, option in sorted((bound(option), i, option) for i, option in enumerate(options)):
        if best and (lowest, i) > best[:2]:
            break
        found = work_out(option)
        if found and (best is None or (found[0], i) < best[:2]):
            best = found[0], i, found[1]
    return best and (best[0], best[2])
