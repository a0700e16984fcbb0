"""Backward passes over pieces of planes: sums of contributions, ReLU's mask, normalization."""

from etasim.core.jit import kernel, routine
from etasim.core.program import MAX_READS
from etasim.functional import roles
from etasim.functional.normalization_passes import NORMALIZED_BITS, normalized
from etasim.functional.operands import ABSENT, contribute, convert, operand, result, write
from etasim.functional.roles import role_of, tensor_of
from etasim.functional.rows import add_row, fill, multiply_row, total
from etasim.functional.scalars import L1_FACTOR, divide, inverse_deviation, round_shift

ONE = 1 << NORMALIZED_BITS
ROW = MAX_READS
"""Row of the error under way; the first result's, for no pass has more than one result of its own size."""


@kernel
def error_unit(values, unit):
    """Unit of the contributions to the error of ``unit``."""
    return values.tensors.write_unit[tensor_of(unit, roles.PARTIAL)]


@kernel
def sum_contributions(values, vector, plane, n_elements):
    """D of a piece, zero where the mask is."""
    pieces, tensors = values.pieces, values.tensors
    fill(pieces, ROW, 0, n_elements, 1, 0)
    for k in range(vector["n_reads"]):
        role = role_of(vector["tensor"][k])
        if role == roles.ERROR:
            contribute(values, plane.unit, k, n_elements, tensors.read_unit[vector["tensor"][k]])
        if role in (roles.ERROR, roles.PARTIAL):
            add_row(pieces, ROW, k, n_elements, 1, 0)
    mask = operand(vector, roles.MASK)
    if mask != ABSENT:
        multiply_row(pieces, ROW, mask, n_elements)


@kernel
def mask_error(values, vector, plane, phase, n_elements):
    """D of a piece becomes codes; the gradients of the offsets add it."""
    lanes = values.lanes
    for lane in range(plane.valid_lanes):
        gradient = total(values.pieces, ROW, (lane - phase) % lanes, n_elements, lanes)
        values.registers.gradients[plane.block_row, 1, lane] += gradient
    convert(values, vector["tensor"][ROW], ROW, 0, n_elements, 1, error_unit(values, plane.unit))


@kernel
def _sums_operand(vector):
    """Index of what the unit normalised: sums, or codes if the normalization heads it."""
    sums = operand(vector, roles.PRE_NORMALIZATION)
    return operand(vector, roles.OUTPUT) if sums == ABSENT else sums


@kernel
def _sign(value):
    return 1 if value > 0 else (-1 if value < 0 else 0)


@routine
def _lane_sums(pieces, row, first, end, step, mean, mantissa, shift, scale):
    """Sums over a lane of D xh, D, G, G xh, and the side of the mean, with the normalised values from ``row``."""
    weighted = plain = scaled_plain = scaled_weighted = sides = 0
    for i in range(first, end, step):
        error, value = pieces[ROW, i], normalized(pieces[row, i], mean, mantissa, shift)
        scaled = round_shift(scale * error, NORMALIZED_BITS)
        weighted += error * value
        plain += error
        scaled_plain += scaled
        scaled_weighted += scaled * value
        sides += _sign(pieces[row, i] - mean)
    return weighted, plain, scaled_plain, scaled_weighted, sides


@kernel
def add_error_sums(values, vector, plane, phase, n_elements):
    """Add a piece to the sums that the error of a normalization needs, and to the gradients of scale and offset."""
    lanes, registers, row = values.lanes, values.registers, _sums_operand(vector)
    for lane in range(plane.valid_lanes):
        mean, spread = registers.statistics[plane.plane_row, 0, lane], registers.statistics[plane.plane_row, 1, lane]
        mantissa, shift = inverse_deviation(spread, values.constants.reciprocal_table)
        sums = _lane_sums(values.pieces, row, (lane - phase) % lanes, n_elements, lanes, mean, mantissa, shift,
                          registers.parameters[plane.block_row, 0, lane])  # fmt: skip
        for k in range(2):
            registers.gradients[plane.block_row, k, lane] += sums[k]
        for k in range(3):
            registers.error_sums[plane.plane_row, k, lane] += sums[2 + k]


@routine
def _group_mean(sums, plane_row, k, first_lane, end_lane, pixels, shift):
    """Mean of sum ``k`` of a group's elements, in 2^shift; ``sums`` [plane, k, lane]."""
    value = 0
    for lane in range(first_lane, end_lane):
        value += sums[plane_row, k, lane]
    return divide(round_shift(value, shift), (end_lane - first_lane) * pixels)


@routine
def _lane_errors(pieces, row, first, end, step, mean, mantissa, scale, average, slope, tilt):
    """The errors of a lane before the normalization, with the normalised values from ``row``."""
    for i in range(first, end, step):
        scaled = round_shift(scale * pieces[ROW, i], NORMALIZED_BITS)
        side = _sign(pieces[row, i] - mean) * ONE - tilt
        through_spread = round_shift(L1_FACTOR * side * slope, 2 * NORMALIZED_BITS)
        pieces[ROW, i] = (scaled - average - through_spread) * mantissa


@kernel
def normalize_error(values, vector, plane, phase, n_elements):
    """The error of a piece before the normalization, as codes."""
    lanes, registers, tensors, unit = values.lanes, values.registers, values.tensors, values.units[plane.unit]
    row, group, pixels = _sums_operand(vector), values.constants.group, unit["out_height"] * unit["out_width"]
    scaled_unit = tensors.read_unit[tensor_of(plane.unit, roles.PARAMETER)] + error_unit(values, plane.unit) + NORMALIZED_BITS
    for lane in range(plane.valid_lanes):
        mean, spread = registers.statistics[plane.plane_row, 0, lane], registers.statistics[plane.plane_row, 1, lane]
        mantissa, shift = inverse_deviation(spread, values.constants.reciprocal_table)
        scale, first, first_lane = registers.parameters[plane.block_row, 0, lane], (lane - phase) % lanes, lane - lane % group
        sums, plane_row, end_lane = registers.error_sums, plane.plane_row, min(first_lane + group, plane.valid_lanes)
        average = _group_mean(sums, plane_row, 0, first_lane, end_lane, pixels, 0)
        slope = _group_mean(sums, plane_row, 1, first_lane, end_lane, pixels, NORMALIZED_BITS)
        tilt = _group_mean(sums, plane_row, 2, first_lane, end_lane, pixels, -NORMALIZED_BITS)
        _lane_errors(values.pieces, row, first, n_elements, lanes, mean, mantissa, scale, average, slope, tilt)
        sums_unit = tensors.read_unit[vector["tensor"][row]]
        convert(values, vector["tensor"][ROW], ROW, first, n_elements, lanes, scaled_unit - shift - sums_unit)


@kernel
def write_gradients(values, vector, plane):
    """Store the gradients of a block's parameters and begin new sums, if the command has room for them."""
    i, lanes, gradients = result(vector, roles.PARAMETER_GRADIENT), values.lanes, values.registers.gradients
    if i == ABSENT:
        return
    for k in range(2):
        for lane in range(lanes):
            values.pieces[i, k * lanes + lane] = gradients[plane.block_row, k, lane]
            gradients[plane.block_row, k, lane] = 0
        unit = error_unit(values, plane.unit) - (NORMALIZED_BITS if k == 0 else 0)
        convert(values, vector["tensor"][i], i, k * lanes, (k + 1) * lanes, 1, unit)
    write(values, vector, i, i, plane, 0, 2 * lanes)
