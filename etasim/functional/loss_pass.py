"""Softmax cross-entropy: from the network's output to contributions to its error."""

from etasim.core.jit import kernel
from etasim.core.program import MAX_READS
from etasim.functional.operands import contribute, plane_of, read, write
from etasim.functional.scalars import WIDEST_SHIFT, clipped_shift

LOG2_E = 94548
"""log2(e) * 2^16."""

LARGEST_STEPS = 2**20
STEPS_LOG2 = 8
"""An exponential falls to its half in 2^8 steps."""

PROBABILITY_BITS = 15
GREATEST, TOTAL, CONTRIBUTION = range(3)
"""What is done to all classes of a sample, one after the other."""


@kernel
def _exponential(values, distance, unit):
    """2^15 * e^-(distance * 2^unit), distance >= 0."""
    steps = clipped_shift(distance * LOG2_E, STEPS_LOG2 - unit, LARGEST_STEPS)
    octaves = steps >> STEPS_LOG2
    if octaves > WIDEST_SHIFT:
        return 0
    return values.constants.exponential_table[steps & ((1 << STEPS_LOG2) - 1)] >> octaves


@kernel
def _class_of(values, vector, block, element):
    """Class of an element of a whole plane: classes count through the pixels of a channel first."""
    channel = (vector["first_block"] + block) * values.lanes + element % values.lanes
    return channel * (vector["n_elements"][0] // values.lanes) + element // values.lanes


@kernel
def _probability(exponential, total):
    """Share of a class, in 2^-15."""
    return ((exponential << PROBABILITY_BITS) + total // 2) // total


@kernel
def _step(values, vector, plane, stage, first, n_elements, greatest, total):
    """One stage on a piece; returns the greatest output and the sum of the exponentials so far."""
    pieces, unit, n_classes = values.pieces, values.tensors.read_unit[vector["tensor"][0]], values.units[vector["unit"]]["n_classes"]
    label = values.registers.labels[vector["first_sample"] + plane.sample]
    for i in range(n_elements):
        number, output = _class_of(values, vector, plane.block, first + i), pieces[0, i]
        is_class = number < n_classes
        if stage == GREATEST:
            greatest = max(greatest, output) if is_class else greatest
        elif stage == TOTAL:
            total += _exponential(values, greatest - output, unit) if is_class else 0
        elif is_class:
            share = _probability(_exponential(values, greatest - output, unit), total)
            pieces[MAX_READS, i] = share - (1 << PROBABILITY_BITS if number == label else 0)
        else:
            pieces[MAX_READS, i] = 0
    return greatest, total


@kernel
def loss(values, vector, unit):
    """Contributions of the loss to the error of ``unit``, sample by sample."""
    size = values.pieces.shape[1]
    for sample in range(vector["n_samples"]):
        greatest, total = -(1 << WIDEST_SHIFT), 0
        for stage in range(3):
            for block in range(vector["n_blocks"]):
                plane = plane_of(values, vector, unit, block, sample)
                for first in range(0, vector["n_elements"][0], size):
                    n_elements = min(vector["n_elements"][0] - first, size)
                    read(values, vector, 0, plane, first, n_elements)
                    greatest, total = _step(values, vector, plane, stage, first, n_elements, greatest, total)
                    if stage == CONTRIBUTION:
                        contribute(values, unit, MAX_READS, n_elements, -PROBABILITY_BITS)
                        write(values, vector, MAX_READS, plane, first, n_elements)
