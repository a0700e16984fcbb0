"""The best of many mappings, kept in order while a planner works them out one by one."""

from typing import Any, NamedTuple

import numpy as np

from etasim.core.jit import kernel
from etasim.schedule.problem import Allotment, PinNumbers

OUTERS = ("stationary", "stream")
"""Operand whose tiles change in the outer loop, by number."""

CHOICE = np.dtype([
    ("cycles", "f8"), ("dram_bytes", "i8"), ("split", "i8"), ("sample_parts", "i8"), ("result_slices", "i8"), ("stream_slices", "i8"),
    ("taps", "i8"), ("band_samples", "i8"), ("band_rows", "i8"), ("outer", "i8"), ("stream_resident", "b1"), ("stationary_resident", "b1"),
    ("reduction_blocks", "i8"),
])  # fmt: skip
"""A mapping that is worked out: the fields of `etasim.schedule.problem.Plan`, and what it takes."""

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
def is_beaten(choices: Any, cycles: float, dram_bytes: int) -> bool:
    """Whether there are enough that take no longer and, if as long, move no more."""
    worst = choices[len(choices) - 1]
    return cycles > worst.cycles or (cycles == worst.cycles and dram_bytes >= worst.dram_bytes)


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
def _make_room(choices: Any, shapes: Any, cycles: float, dram_bytes: int) -> int:
    """Place of one that `is_beaten` by fewer; those that it beats move on by one, and the shapes under way are its own."""
    place = len(choices) - 1
    while place:
        before = choices[place - 1]
        if cycles > before.cycles or (cycles == before.cycles and dram_bytes >= before.dram_bytes):
            break
        choices[place] = choices[place - 1]
        _copy_shapes(shapes, place - 1, place)
        place -= 1
    choices[place].cycles = cycles
    choices[place].dram_bytes = dram_bytes
    _copy_shapes(shapes, len(choices), place)
    return place


@kernel
def keep(choices: Any, shapes: Any, cycles: float, allotment: Allotment, band_samples: int, band_rows: int, moved: Movement) -> None:
    """Put a mapping among the best, with the shapes under way, unless it `is_beaten`."""
    dram_bytes = moved.streamed + moved.kept
    if is_beaten(choices, cycles, dram_bytes):
        return
    choice = choices[_make_room(choices, shapes, cycles, dram_bytes)]
    choice.split, choice.sample_parts, choice.taps = allotment.split, allotment.sample_parts, allotment.taps
    choice.result_slices, choice.stream_slices = allotment.result_slices, allotment.stream_slices
    choice.band_samples, choice.band_rows, choice.outer = band_samples, band_rows, moved.outer
    choice.stream_resident, choice.stationary_resident = moved.stream_resident, moved.stationary_resident
    choice.reduction_blocks = moved.reduction_blocks
