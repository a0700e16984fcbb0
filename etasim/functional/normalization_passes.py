"""L1 group normalization of pieces of planes.

A lane's elements lie ``lanes`` apart; ``phase`` is the lane of a piece's first element. No group leaves its channel block.
"""

from etasim.core.jit import kernel, routine
from etasim.core.program import OPERANDS
from etasim.functional import roles
from etasim.functional.operands import ABSENT, result, write
from etasim.functional.roles import tensor_of
from etasim.functional.rows import fill, total, total_distance
from etasim.functional.scalars import clip, clipped_shift, divide, inverse_deviation

STATISTIC_LIMIT = 2**15 - 1
NORMALIZED_LIMIT = 2**23 - 1
STATISTICS = OPERANDS - 1
"""Row of a plane's means, then its spreads. It is the last result's, which is not larger."""

NORMALIZED_BITS = 12
"""Bits of a normalized value below one."""


@kernel
def normalized(value, mean, mantissa, shift):
    """(value - mean) / deviation in 2^-12, the reciprocal of the deviation given as (mantissa, shift)."""
    return clipped_shift((value - mean) * mantissa, shift - NORMALIZED_BITS, NORMALIZED_LIMIT)


@routine
def _scale_lane(pieces, target, first, end, step, mean, mantissa, shift, scale, offset):
    """Normalized elements of row 0, times ``scale`` plus ``offset``."""
    for i in range(first, end, step):
        pieces[target, i] = scale * normalized(pieces[0, i], mean, mantissa, shift) + (offset << NORMALIZED_BITS)


@routine
def _average(pieces, first, sums, plane_row, valid_lanes, group, pixels, least):
    """Mean of the sums [plane, lane] of each lane's group, at least ``least``, for all lanes from ``pieces[STATISTICS, first]`` on."""
    for first_lane in range(0, valid_lanes, group):
        end_lane, value = min(first_lane + group, valid_lanes), 0
        for lane in range(first_lane, end_lane):
            value += sums[plane_row, lane]
        mean = max(clip(divide(value, (end_lane - first_lane) * pixels), STATISTIC_LIMIT), least)
        for lane in range(first_lane, end_lane):
            pieces[STATISTICS, first + lane] = mean


@kernel
def average(values, plane):
    """Mean and spread of a plane's lanes from the sums so far; zero where the lane does not exist."""
    pieces, registers, lanes = values.pieces, values.registers, values.lanes
    pixels = values.units[plane.unit]["out_height"] * values.units[plane.unit]["out_width"]
    fill(pieces, STATISTICS, 0, 2 * lanes, 1, 0)
    group = values.constants.group
    _average(pieces, 0, registers.sums, plane.plane_row, plane.valid_lanes, group, pixels, -STATISTIC_LIMIT)
    _average(pieces, lanes, registers.deviations, plane.plane_row, plane.valid_lanes, group, pixels, 1)


@kernel
def add_sums(values, plane, phase, n_elements):
    """Add a piece to the lanes' sums."""
    lanes = values.lanes
    for lane in range(plane.valid_lanes):
        values.registers.sums[plane.plane_row, lane] += total(values.pieces, 0, (lane - phase) % lanes, n_elements, lanes)


@kernel
def add_deviations(values, plane, phase, n_elements):
    """Add the distances of a piece from the mean to the lanes' sums."""
    lanes, pieces = values.lanes, values.pieces
    for lane in range(plane.valid_lanes):
        distance = total_distance(pieces, 0, (lane - phase) % lanes, n_elements, lanes, pieces[STATISTICS, lane])
        values.registers.deviations[plane.plane_row, lane] += distance


@kernel
def normalize(values, vector, plane, phase, n_elements):
    """Normalize, scale and shift a piece; returns the unit."""
    lanes, pieces, parameters, row = values.lanes, values.pieces, values.registers.parameters, result(vector, roles.OUTPUT)
    fill(pieces, row, 0, n_elements, 1, 0)
    for lane in range(plane.valid_lanes):
        mantissa, shift = inverse_deviation(pieces[STATISTICS, lanes + lane], values.constants.reciprocal_table)
        scale, offset = parameters[plane.block_row, 0, lane], parameters[plane.block_row, 1, lane]
        first, mean = (lane - phase) % lanes, pieces[STATISTICS, lane]
        _scale_lane(pieces, row, first, n_elements, lanes, mean, mantissa, shift, scale, offset)
    return values.tensors.read_unit[tensor_of(plane.unit, roles.PARAMETER)] - NORMALIZED_BITS


@kernel
def write_statistics(values, vector, plane):
    """Mean and spread of a plane's lanes, if the command has room for them."""
    i = result(vector, roles.STATISTIC)
    if i != ABSENT:
        write(values, vector, i, STATISTICS, plane, 0, 2 * values.lanes)
