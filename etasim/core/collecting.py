"""When Python looks for cycles among its containers."""

import gc

COLLECTED_AFTER = 250_000
"""Containers that come to be before Python looks for cycles among them. A program and a search keep hundreds of thousands, which it would
look at over and over; what is left behind has hardly a cycle."""


def collect_seldom() -> tuple[int, int, int]:
    """Look for cycles in this process only after `COLLECTED_AFTER`; returns what `gc.set_threshold` takes to do as before."""
    before = gc.get_threshold()
    gc.set_threshold(COLLECTED_AFTER)
    return before
