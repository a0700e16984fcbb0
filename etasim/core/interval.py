"""Blocked intervals: a duration is booked when it ends, so that skipped cycles cannot change a counter."""

from etasim.core.arrays import Integers
from etasim.core.jit import kernel

OPEN = -1  # value of ``since`` while nothing is blocked


@kernel
def begin(since: Integers, i: int, now: int) -> None:
    """Note that ``i`` is blocked from ``now`` on, unless it is already."""
    if since[i] < 0:
        since[i] = now


@kernel
def end(since: Integers, i: int, now: int) -> int:
    """Cycles for which ``i`` was blocked, and close the interval."""
    cycles = 0
    if since[i] >= 0:
        cycles = now - since[i]
        since[i] = -1
    return cycles
