"""ReLU6 on the bytes of the machine."""

from etasim.core.jit import routine
from etasim.functional.operands import ABSENT


@routine
def relu6(pieces, row, mask, n_elements, unit):
    """Elements become those between 0 and 6."""
    limit = 6 << min(-unit, 59) if unit <= 0 else 6 >> min(unit, 62)
    for i in range(n_elements):
        value = pieces[row, i]
        if mask != ABSENT:
            pieces[mask, i] = 1 if 0 < value < limit else 0
        pieces[row, i] = min(max(value, 0), limit)
