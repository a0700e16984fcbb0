"""How the learning rate moves during a run."""

from collections.abc import Callable
from math import cos, pi
from typing import NamedTuple

STEP_FACTOR = 0.1
"""What each step of ``steps:`` multiplies the rate by."""
SCHEDULES = ("cosine", "constant", "steps:EPOCH,EPOCH,...")


class Moment(NamedTuple):
    """``iteration`` (from 0) of ``total``, behind the warmup; ``epoch``: the full epochs before it."""

    iteration: int
    total: int
    epoch: int


Shape = Callable[[Moment], float]


def shape_of(schedule: str) -> Shape:
    """From a moment to the part of the greatest rate: half a cosine, all of it, or a tenth more less from each epoch of ``steps:`` on.

    Raises ValueError that says what is allowed.
    """
    if schedule == "cosine":
        return lambda at: (1 + cos(pi * at.iteration / at.total)) / 2
    if schedule == "constant":
        return lambda at: 1.0
    kind, _, text = schedule.partition(":")
    words = text.split(",")
    if kind != "steps" or not all(word.isdecimal() and len(word) < 9 for word in words):
        raise ValueError(f"unknown schedule {schedule!r:.60}; allowed: {', '.join(SCHEDULES)}")
    steps = [int(word) for word in words]
    if steps != sorted(set(steps)) or steps[0] < 1:
        raise ValueError(f"epochs of steps: must be at least 1 and rise, got {text!r:.60}")
    return lambda at: STEP_FACTOR ** sum(at.epoch >= step for step in steps)


def rate_at(schedule: str, warmup_epochs: float, epochs: int, per_epoch: int, iteration: int) -> float:
    """Part of the greatest learning rate in ``iteration`` (from 0): rising in equal steps for ``warmup_epochs``, then as `shape_of` says
    over the rest of ``epochs`` of ``per_epoch`` iterations."""
    warmup = round(warmup_epochs * per_epoch)
    if iteration < warmup:
        return (iteration + 1) / warmup
    return shape_of(schedule)(Moment(iteration - warmup, epochs * per_epoch - warmup, iteration // per_epoch))
