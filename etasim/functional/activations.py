"""Activations of rows of integers: a unit has one of them at most, by number.

Row ``mask``, unless it is ABSENT, becomes 1 where errors pass and 0 elsewhere; ``unit``: an integer i stands for i * 2^unit.
"""

from etasim.core.arrays import Integers
from etasim.core.jit import chooser, named, routine
from etasim.functional.operands import ABSENT
from etasim.ops import OPERATIONS

KINDS = tuple(kind for kind, schema in OPERATIONS.items() if schema.activation)


def number_of(kind: str) -> int:
    """Number of an activation; 0 is none."""
    return 1 + KINDS.index(kind)


@routine
def nothing(pieces: Integers, row: int, mask: Integers, n_elements: int, unit: int) -> None:
    """No activation."""


@routine
def relu(pieces: Integers, row: int, mask: Integers, n_elements: int, unit: int) -> None:
    """Negative elements become zero."""
    for i in range(n_elements):
        if mask != ABSENT:
            pieces[mask, i] = 1 if pieces[row, i] > 0 else 0
        pieces[row, i] = max(pieces[row, i], 0)


_kernels = [nothing, *(named(OPERATIONS[kind].activation) for kind in KINDS)]
activate = chooser("activate", ("pieces", "row", "mask", "n_elements", "unit"), _kernels)
