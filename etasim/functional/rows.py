"""Arithmetic on rows of integers ``pieces[row]``. Each function is compiled once and called from every pass."""

from etasim.core.arrays import Integers
from etasim.core.jit import routine
from etasim.functional.scalars import round_shift


@routine
def fill(pieces: Integers, row: int, n_elements: int, value: int) -> None:
    """Set elements to ``value``."""
    for i in range(n_elements):
        pieces[row, i] = value


@routine
def clear_lanes(pieces: Integers, row: int, phase: int, n_elements: int, lanes: int, valid_lanes: int) -> None:
    """Zero in the lanes that do not exist; the row begins at lane ``phase``."""
    for start in range(-phase, n_elements, lanes):
        for lane in range(max(-start, valid_lanes), min(lanes, n_elements - start)):
            pieces[row, start + lane] = 0


@routine
def to_lanes(pieces: Integers, row: int, table: Integers, lanes: int) -> None:
    """Two values for each lane go to ``table`` [0 or 1, lane]."""
    for k in range(2):
        for lane in range(lanes):
            table[k, lane] = pieces[row, k * lanes + lane]


@routine
def from_lanes(pieces: Integers, row: int, table: Integers, lanes: int) -> None:
    """Two values for each lane come from ``table`` [0 or 1, lane]."""
    for k in range(2):
        for lane in range(lanes):
            pieces[row, k * lanes + lane] = table[k, lane]


@routine
def add_row(pieces: Integers, target: int, source: int, n_elements: int, factor: int, shift: int) -> None:
    """Add factor * source / 2^shift, rounded, to ``target``."""
    for i in range(n_elements):
        pieces[target, i] += round_shift(factor * pieces[source, i], shift)


@routine
def multiply_row(pieces: Integers, target: int, source: int, n_elements: int) -> None:
    """Multiply ``target`` by ``source``."""
    for i in range(n_elements):
        pieces[target, i] *= pieces[source, i]


@routine
def add_to_lanes(table: Integers, at: int, pieces: Integers, row: int, phase: int, n_elements: int, lanes: int) -> None:
    """Add each element to the sum ``table`` [at, lane] of its lane; the row begins at lane ``phase``."""
    for start in range(-phase, n_elements, lanes):
        for lane in range(max(-start, 0), min(lanes, n_elements - start)):
            table[at, lane] += pieces[row, start + lane]
