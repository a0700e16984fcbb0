"""Arithmetic on rows of integers ``pieces[row]``. Each function is compiled once and called from every pass."""

from etasim.core.jit import routine
from etasim.functional.scalars import round_shift


@routine
def fill(pieces, row, first, end, step, value):
    """Set the elements that `range` chooses to ``value``."""
    for i in range(first, end, step):
        pieces[row, i] = value


@routine
def copy_lanes(pieces, row, table, at, lanes):
    """Two values for each lane go to ``table`` [at, 2, lane]."""
    for k in range(2):
        for lane in range(lanes):
            table[at, k, lane] = pieces[row, k * lanes + lane]


@routine
def add_row(pieces, target, source, n_elements, factor, shift):
    """Add factor * source / 2^shift, rounded, to ``target``."""
    for i in range(n_elements):
        pieces[target, i] += round_shift(factor * pieces[source, i], shift)


@routine
def multiply_row(pieces, target, source, n_elements):
    """Multiply ``target`` by ``source``."""
    for i in range(n_elements):
        pieces[target, i] *= pieces[source, i]


@routine
def rectify(pieces, row, n_elements):
    """Negative elements become zero."""
    for i in range(n_elements):
        pieces[row, i] = max(pieces[row, i], 0)


@routine
def mark_positive(pieces, target, source, n_elements):
    """1 where ``source`` is positive, else 0."""
    for i in range(n_elements):
        pieces[target, i] = 1 if pieces[source, i] > 0 else 0


@routine
def add_to_lanes(table, at, pieces, row, phase, n_elements, lanes):
    """Add each element to the sum ``table`` [at, lane] of its lane; the row begins at lane ``phase``."""
    for start in range(-phase, n_elements, lanes):
        for lane in range(max(-start, 0), min(lanes, n_elements - start)):
            table[at, lane] += pieces[row, start + lane]
