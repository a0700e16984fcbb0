"""L1 group normalization of pieces of planes.

``phase`` is the lane of a piece's first element. ``values.terms`` [term, lane] holds what a plane's elements are computed with; it is zero
in lanes that do not exist, and so are their results. No group leaves its channel block.
"""

from etasim.core.jit import kernel, routine
from etasim.functional.operands import ABSENT, result, write
from etasim.functional.rows import add_to_lanes, from_lanes
from etasim.functional.scalars import clip, divide, inverse_deviation, round_shift
from etasim.program import roles
from etasim.program.roles import tensor_of

STATISTIC_LIMIT = 2**15 - 1
NORMALIZED_LIMIT = 2**23 - 1
NORMALIZED_BITS = 12
"""Bits of a normalized value below one."""

MEAN, SPREAD, MANTISSA, SHIFT = range(4)
"""Rows of terms: statistics, in the order in which they are stored, and the reciprocal of the deviation."""


@kernel
def normalized(value, mean, mantissa, shift):
    """(value - mean) / deviation in 2^-12, the reciprocal of the deviation given as (mantissa, shift)."""
    return clip(round_shift((value - mean) * mantissa, shift - NORMALIZED_BITS), NORMALIZED_LIMIT)


@kernel
def pixels_of(values, plane):
    """Pixels of a whole plane."""
    return values.units[plane.unit]["out_height"] * values.units[plane.unit]["out_width"]


@routine
def _average(terms, k, sums, plane_row, valid_lanes, group, pixels, least):
    """Mean, at least ``least``, of the sums [plane, lane] of each lane's group becomes row ``k`` of the terms."""
    for first_lane in range(0, valid_lanes, group):
        end_lane, total = min(first_lane + group, valid_lanes), 0
        for lane in range(first_lane, end_lane):
            total += sums[plane_row, lane]
        mean = max(clip(divide(total, (end_lane - first_lane) * pixels), STATISTIC_LIMIT), least)
        for lane in range(first_lane, end_lane):
            terms[k, lane] = mean


@routine
def invert_spreads(terms, valid_lanes, table):
    """Reciprocals of the deviations; ``table``: `inverse_deviation`."""
    for lane in range(valid_lanes):
        terms[MANTISSA, lane], terms[SHIFT, lane] = inverse_deviation(terms[SPREAD, lane], table)


@kernel
def average(values, plane):
    """Terms of a plane from its sums so far."""
    registers, terms, group = values.registers, values.terms, values.constants.group
    terms[:, :] = 0
    _average(terms, MEAN, registers.sums, plane.plane_row, plane.valid_lanes, group, pixels_of(values, plane), -STATISTIC_LIMIT)
    _average(terms, SPREAD, registers.deviations, plane.plane_row, plane.valid_lanes, group, pixels_of(values, plane), 1)
    invert_spreads(terms, plane.valid_lanes, values.constants.reciprocal_table)


@kernel
def add_sums(values, plane, phase, n_elements):
    """Add a piece to the lanes' sums."""
    add_to_lanes(values.registers.sums, plane.plane_row, values.pieces, 0, phase, n_elements, values.lanes)


@routine
def add_deviations(sums, plane_row, pieces, terms, phase, n_elements, lanes):
    """Add the distances of a piece from the mean to the lanes' ``sums`` [plane, lane]."""
    for start in range(-phase, n_elements, lanes):
        for lane in range(max(-start, 0), min(lanes, n_elements - start)):
            sums[plane_row, lane] += abs(pieces[0, start + lane] - terms[MEAN, lane])


@routine
def _scale(pieces, target, terms, parameters, phase, n_elements, lanes):
    """Normalized elements of row 0 times scale plus offset; ``parameters`` [scale or offset, lane]."""
    for start in range(-phase, n_elements, lanes):
        for lane in range(max(-start, 0), min(lanes, n_elements - start)):
            value = normalized(pieces[0, start + lane], terms[MEAN, lane], terms[MANTISSA, lane], terms[SHIFT, lane])
            pieces[target, start + lane] = parameters[0, lane] * value + (parameters[1, lane] << NORMALIZED_BITS)


@kernel
def normalize(values, vector, plane, phase, n_elements):
    """Normalize, scale and shift a piece; returns the unit."""
    parameters = values.registers.parameters[plane.block_row]
    _scale(values.pieces, result(vector, roles.OUTPUT), values.terms, parameters, phase, n_elements, values.lanes)
    return values.tensors.read_unit[tensor_of(plane.unit, roles.PARAMETER)] - NORMALIZED_BITS


@kernel
def write_statistics(values, vector, plane):
    """Mean and spread of a plane's lanes, if the command has room for them."""
    i, lanes = result(vector, roles.STATISTIC), values.lanes
    if i != ABSENT:
        from_lanes(values.pieces, i, values.terms, lanes)
        write(values, vector, i, i, plane, 0, 2 * lanes)
