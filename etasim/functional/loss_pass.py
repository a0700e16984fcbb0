"""Softmax cross-entropy: from the network's output to contributions to its error."""

from etasim.core.arrays import Integers, Record
from etasim.core.jit import kernel, routine
from etasim.functional.operands import PlanePiece, contribute, operand, plane_of, read, result, write
from etasim.functional.scalars import WIDEST_SHIFT, clipped_shift
from etasim.functional.tables import CoreValues
from etasim.program import roles

LOG2_E = 94548
"""log2(e) * 2^16."""

LARGEST_STEPS = 2**20
STEPS_LOG2 = 8
"""An exponential falls to its half in 2^8 steps."""

PROBABILITY_BITS = 15
GREATEST, TOTAL, ERROR = range(3)
"""What is found out about all classes of a sample, one after the other."""


@kernel
def _exponential(distance: int, unit: int, table: Integers) -> int:
    """2^15 * e^-(distance * 2^unit), distance >= 0; ``table`` [256]: of the steps to the half."""
    steps = clipped_shift(distance * LOG2_E, STEPS_LOG2 - unit, LARGEST_STEPS)
    octaves = steps >> STEPS_LOG2
    if octaves > WIDEST_SHIFT:
        return 0
    return table[steps & ((1 << STEPS_LOG2) - 1)] >> octaves


@routine
def _pass_classes(
    pieces: Integers, source: int, target: int, stage: int, first: int, n_elements: int, lanes: int, valid_lanes: int, channel: int,
    pixels: int, label: int, greatest: int, total: int, unit: int, table: Integers,
) -> tuple[int, int]:  # fmt: skip
    """One stage on a piece that begins with element ``first`` of a plane whose ``valid_lanes`` are ``channel`` and the next ones; classes
    count through the pixels of a channel first. Returns the greatest output and the sum of the exponentials so far; errors go to row
    ``target``."""
    for i in range(n_elements):
        lane, output = (first + i) % lanes, pieces[source, i]
        number = (channel + lane) * pixels + (first + i) // lanes
        pieces[target, i] = 0
        if lane < valid_lanes:
            if stage == GREATEST:
                greatest = max(greatest, output)
                continue
            exponential = _exponential(greatest - output, unit, table)
            if stage == TOTAL:
                total += exponential
            else:
                share = ((exponential << PROBABILITY_BITS) + total // 2) // total
                pieces[target, i] = share - (1 << PROBABILITY_BITS if number == label else 0)
    return greatest, total


@kernel
def loss(values: CoreValues, vector: Record, piece: PlanePiece) -> None:
    """Contributions of the loss to the error of the output that it reads: of all classes of a sample, together with its first block."""
    unit, sample = piece.plane.unit, piece.plane.sample
    if piece.plane.block > 0:
        return
    pieces, lanes, plane_elements, table = values.pieces, values.lanes, vector["n_elements"][0], values.constants.exponential_table
    source, target = operand(vector, roles.OUTPUT), result(vector, roles.PARTIAL)
    label = values.registers.labels[vector["first_sample"] + sample]
    output_unit = values.tensors.read_unit[vector["tensor"][source]]
    greatest, total = -(1 << WIDEST_SHIFT), 0
    for stage in range(3):
        channel = 0
        for block in range(vector["n_blocks"]):
            plane = plane_of(values, vector, unit, block, sample)
            for first in range(0, plane_elements, pieces.shape[1]):
                n_elements = min(plane_elements - first, pieces.shape[1])
                read(values, vector, source, plane, first, n_elements)
                greatest, total = _pass_classes(pieces, source, target, stage, first, n_elements, lanes, plane.valid_lanes, channel,
                                                plane_elements // lanes, label, greatest, total, output_unit, table)  # fmt: skip
                if stage == ERROR:
                    contribute(values, unit, target, n_elements, -PROBABILITY_BITS)
                    write(values, vector, target, target, plane, first, n_elements)
            channel += plane.valid_lanes
