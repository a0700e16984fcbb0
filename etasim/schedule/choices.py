"""The best of many mappings, kept in order while a planner works them out one by one."""

from typing import Any, NamedTuple

import numpy as np

from etasim.core.jit import kernel
from etasim.schedule.problem import Allotment, PinNumbers

OUTERS = ("stationary", "stream")
"""Operand whose tiles change in the outer loop, by number."""

CHOICE = np.dtype([
    ("cycles", "f8"), ("dram_bytes", "i8"), ("array_cycles", "f8"), ("split", "i8"), ("sample_parts", "i8"), ("result_slices", "i8"),
    ("slice_blocks", "i8"), ("stream_slices", "i8"), ("taps", "i8"), ("band_samples", "i8"), ("band_rows", "i8"), ("outer", "i8"),
    ("stream_resident", "b1"), ("stationary_resident", "b1"), ("reduction_blocks", "i8"),
])  # fmt: skip
"""A mapping that is worked out: the fields of `etasim.schedule.problem.Plan`, and what it takes (`Cost`)."""

ANY_BYTES = 2**62
"""More DRAM bytes than any mapping moves."""

SHAPE_FIELDS = 5
"""Those of `etasim.schedule.problem.TileShape`."""


def room_for(n_best: int, n_patterns: int) -> tuple[np.ndarray, np.ndarray]:
    """Choices [n_best], of infinite cycles, and the shapes of their tiles [n_best + 1, patterns, fields]; the last are those of the one
    under way."""
    choices = np.zeros(n_best, CHOICE).view(np.recarray)
    choices["cycles"] = np.inf
    return choices, np.zeros((n_best + 1, n_patterns, SHAPE_FIELDS), np.int64)


class Cost(NamedTuple):
    """What a mapping takes: cycles of the operation, DRAM bytes of both operands, and cycles of the array, which the next operation has
    the sooner the fewer they are."""

    cycles: float
    dram_bytes: int
    array_cycles: float


class Movement(NamedTuple):
    """What stays in the buffers if ``outer`` changes in the outer loop, and DRAM bytes of both operands; streamed blocks that are loaded
    at a time."""

    outer: int
    stream_resident: bool
    stationary_resident: bool
    streamed: int
    kept: int
    reduction_blocks: int


@kernel
def matches(pin: int, value: int) -> bool:
    """Whether a value may be: it is as pinned, or free."""
    return pin == value or pin < 0


@kernel
def _is_no_less(cost: Cost, choice: Any) -> bool:
    """Whether a mapping takes as long as a choice or longer; if as long, moves as much or more; if as much, takes no less of the array."""
    if cost.cycles != choice.cycles:
        return cost.cycles > choice.cycles
    if cost.dram_bytes != choice.dram_bytes:
        return cost.dram_bytes > choice.dram_bytes
    return cost.array_cycles >= choice.array_cycles


@kernel
def is_beaten(choices: Any, cost: Cost) -> bool:
    """Whether there are enough that are no worse than any of ``cost`` or more."""
    return _is_no_less(cost, choices[len(choices) - 1])


@kernel
def _copy_shapes(shapes: Any, source: int, target: int) -> None:
    """Element by element: numba would allocate for a slice."""
    for i in range(shapes.shape[1]):
        for field in range(shapes.shape[2]):
            shapes[target, i, field] = shapes[source, i, field]


@kernel
def is_pinned_so(pins: PinNumbers, moved: Movement) -> bool:
    """Whether the order of the loops and what stays are as pinned."""
    stays = matches(pins.stream_resident, moved.stream_resident) and matches(pins.stationary_resident, moved.stationary_resident)
    return stays and matches(pins.outer, moved.outer)


@kernel
def _make_room(choices: Any, shapes: Any, cost: Cost) -> int:
    """Place of one that `is_beaten` by fewer; those that it beats move on by one, and the shapes under way are its own."""
    place = len(choices) - 1
    while place and not _is_no_less(cost, choices[place - 1]):
        choices[place] = choices[place - 1]
        _copy_shapes(shapes, place - 1, place)
        place -= 1
    choices[place].cycles, choices[place].dram_bytes, choices[place].array_cycles = cost
    _copy_shapes(shapes, len(choices), place)
    return place


@kernel
def keep(choices: Any, shapes: Any, cost: Cost, allotment: Allotment, band_samples: int, band_rows: int, moved: Movement) -> None:
    """Put a mapping among the best, with the shapes under way, unless it `is_beaten`."""
    if is_beaten(choices, cost):
        return
    choice = choices[_make_room(choices, shapes, cost)]
    choice.split, choice.sample_parts, choice.taps = allotment.split, allotment.sample_parts, allotment.taps
    choice.result_slices, choice.slice_blocks = allotment.result_slices, allotment.slice_blocks
    choice.stream_slices = allotment.stream_slices
    choice.band_samples, choice.band_rows, choice.outer = band_samples, band_rows, moved.outer
    choice.stream_resident, choice.stationary_resident = moved.stream_resident, moved.stationary_resident
    choice.reduction_blocks = moved.reduction_blocks
