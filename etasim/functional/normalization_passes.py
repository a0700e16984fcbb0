"""L1 group normalization of pieces of planes.

A lane's elements lie ``lanes`` apart; ``phase`` is the lane of a piece's first element. No group leaves its channel block.
"""

from etasim.core.jit import kernel
from etasim.functional import roles
from etasim.functional.operands import ABSENT, result, write
from etasim.functional.roles import tensor_of
from etasim.functional.scalars import clip, clipped_shift, divide, inverse_deviation

STATISTIC_LIMIT = 2**15 - 1
NORMALIZED_LIMIT = 2**23 - 1
NORMALIZED_BITS = 12
"""Bits of a normalized value below one."""


@kernel
def group_end(values, plane, first_lane):
    """Lane after the last of the normalization group that begins at ``first_lane``."""
    return min(first_lane + values.constants.group, plane.valid_lanes)


@kernel
def group_count(values, plane, first_lane, end_lane):
    """Elements of a normalization group in a whole plane."""
    unit = values.units[plane.unit]
    return (end_lane - first_lane) * unit["out_height"] * unit["out_width"]


@kernel
def _group_mean(values, plane, table, first_lane, end_lane):
    """Mean of a group from sums [plane, lane]."""
    total = 0
    for lane in range(first_lane, end_lane):
        total += table[plane.plane_row, lane]
    return clip(divide(total, group_count(values, plane, first_lane, end_lane)), STATISTIC_LIMIT)


@kernel
def normalized(value, mean, mantissa, shift):
    """(value - mean) / deviation in 2^-12, the reciprocal of the deviation given as (mantissa, shift)."""
    return clipped_shift((value - mean) * mantissa, shift - NORMALIZED_BITS, NORMALIZED_LIMIT)


@kernel
def add_sums(values, plane, phase, n_elements):
    """Add a piece to the lanes' sums."""
    lanes, pieces = values.lanes, values.pieces
    for lane in range(plane.valid_lanes):
        total = 0
        for i in range((lane - phase) % lanes, n_elements, lanes):
            total += pieces[0, i]
        values.registers.sums[plane.plane_row, lane] += total


@kernel
def add_deviations(values, plane, phase, n_elements):
    """Add the distances of a piece from the mean to the lanes' sums."""
    lanes, pieces, registers = values.lanes, values.pieces, values.registers
    for first_lane in range(0, plane.valid_lanes, values.constants.group):
        end_lane = group_end(values, plane, first_lane)
        mean = _group_mean(values, plane, registers.sums, first_lane, end_lane)
        for lane in range(first_lane, end_lane):
            total = 0
            for i in range((lane - phase) % lanes, n_elements, lanes):
                total += abs(pieces[0, i] - mean)
            registers.deviations[plane.plane_row, lane] += total


@kernel
def normalize(values, vector, plane, phase, n_elements):
    """Scale and shift a piece of sums; returns the unit."""
    lanes, pieces, registers = values.lanes, values.pieces, values.registers
    row = result(vector, roles.OUTPUT)
    for i in range(n_elements):
        pieces[row, i] = 0
    for first_lane in range(0, plane.valid_lanes, values.constants.group):
        end_lane = group_end(values, plane, first_lane)
        mean = _group_mean(values, plane, registers.sums, first_lane, end_lane)
        spread = max(_group_mean(values, plane, registers.deviations, first_lane, end_lane), 1)
        mantissa, shift = inverse_deviation(spread, values.constants.reciprocal_table)
        for lane in range(first_lane, end_lane):
            scale, offset = registers.parameters[plane.block_row, 0, lane], registers.parameters[plane.block_row, 1, lane]
            for i in range((lane - phase) % lanes, n_elements, lanes):
                pieces[row, i] = scale * normalized(pieces[0, i], mean, mantissa, shift) + (offset << NORMALIZED_BITS)
    return values.tensors.read_unit[tensor_of(plane.unit, roles.PARAMETER)] - NORMALIZED_BITS


@kernel
def write_statistics(values, vector, plane):
    """Mean and spread of every lane's group, if the command has room for them."""
    row, lanes, registers = result(vector, roles.STATISTIC), values.lanes, values.registers
    if row == ABSENT:
        return
    for i in range(2 * lanes):
        values.pieces[row, i] = 0
    for first_lane in range(0, plane.valid_lanes, values.constants.group):
        end_lane = group_end(values, plane, first_lane)
        mean = _group_mean(values, plane, registers.sums, first_lane, end_lane)
        spread = max(_group_mean(values, plane, registers.deviations, first_lane, end_lane), 1)
        for lane in range(first_lane, end_lane):
            values.pieces[row, lane] = mean
            values.pieces[row, lanes + lane] = spread
    write(values, vector, row, plane, 0, 2 * lanes)
