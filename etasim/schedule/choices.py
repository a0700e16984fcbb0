"""The best of many mappings, kept in order while a planner works them out one by one."""

from typing import Any

import numpy as np

from etasim.core.jit import kernel

OUTERS = ("stationary", "stream")
"""Operand whose tiles change in the outer loop, by number."""

CHOICE = np.dtype([
    ("cycles", "f8"), ("dram_bytes", "i8"), ("split", "i8"), ("sample_parts", "i8"), ("result_slices", "i8"), ("stream_slices", "i8"),
    ("taps", "i8"), ("band_samples", "i8"), ("band_rows", "i8"), ("outer", "i8"), ("stream_resident", "b1"), ("stationary_resident", "b1"),
])  # fmt: skip
"""A mapping that is worked out: the fields of `etasim.schedule.problem.Plan`, and what it takes."""

SHAPE_FIELDS = 4
"""Those of `etasim.schedule.problem.TileShape`."""


def room_for(n_best: int, n_patterns: int) -> tuple[np.ndarray, np.ndarray]:
    """Choices [n_best], of infinite cycles, and the shapes of their tiles [n_best + 1, patterns, fields]; the last are those of the one
    under way."""
    choices = np.zeros(n_best, CHOICE).view(np.recarray)
    choices["cycles"] = np.inf
    return choices, np.zeros((n_best + 1, n_patterns, SHAPE_FIELDS), np.int64)


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
def make_room(choices: Any, shapes: Any, cycles: float, dram_bytes: int) -> int:
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
