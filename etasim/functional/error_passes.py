"""Backward passes over pieces of planes: sums of contributions, ReLU's mask, normalization."""

from etasim.core.jit import kernel
from etasim.core.program import MAX_READS
from etasim.functional import roles
from etasim.functional.normalization_passes import NORMALIZED_BITS, group_count, group_end, normalized
from etasim.functional.operands import ABSENT, contribute, convert, operand, result, write
from etasim.functional.roles import role_of, tensor_of
from etasim.functional.scalars import L1_FACTOR, divide, inverse_deviation, round_shift

ONE = 1 << NORMALIZED_BITS
ROW = MAX_READS
"""Row of the error under way; the first result's, for no pass has more than one result of its own size."""


@kernel
def error_unit(values, plane):
    """Unit of the contributions to the error of a plane's unit."""
    return values.tensors.write_unit[tensor_of(plane.unit, roles.PARTIAL)]


@kernel
def sum_contributions(values, vector, plane, n_elements):
    """D of a piece, zero where the mask is."""
    pieces, tensors = values.pieces, values.tensors
    for i in range(n_elements):
        pieces[ROW, i] = 0
    for k in range(vector["n_reads"]):
        tensor = vector["tensor"][k]
        if role_of(tensor) == roles.ERROR:
            contribute(values, plane.unit, k, n_elements, tensors.read_unit[tensor])
        if role_of(tensor) == roles.ERROR or role_of(tensor) == roles.PARTIAL:
            for i in range(n_elements):
                pieces[ROW, i] += pieces[k, i]
    mask = operand(vector, roles.MASK)
    if mask != ABSENT:
        for i in range(n_elements):
            pieces[ROW, i] *= pieces[mask, i]


@kernel
def mask_error(values, vector, plane, phase, n_elements):
    """D of a piece becomes codes; the gradients of the offsets add it."""
    lanes = values.lanes
    for lane in range(plane.valid_lanes):
        total = 0
        for i in range((lane - phase) % lanes, n_elements, lanes):
            total += values.pieces[ROW, i]
        values.registers.gradients[plane.block_row, 1, lane] += total
    convert(values, vector["tensor"][ROW], ROW, 0, 1, n_elements, error_unit(values, plane))


@kernel
def _sums_operand(vector):
    """Index of what the unit normalised: sums, or codes if the normalization heads it."""
    sums = operand(vector, roles.PRE_NORMALIZATION)
    return operand(vector, roles.OUTPUT) if sums == ABSENT else sums


@kernel
def _sign(value):
    return 1 if value > 0 else (-1 if value < 0 else 0)


@kernel
def add_error_sums(values, vector, plane, phase, n_elements):
    """Add a piece to the sums that the error of a normalization needs, and to the gradients of scale and offset."""
    lanes, pieces, registers, row = values.lanes, values.pieces, values.registers, _sums_operand(vector)
    for lane in range(plane.valid_lanes):
        mean, spread = registers.statistics[plane.plane_row, 0, lane], registers.statistics[plane.plane_row, 1, lane]
        mantissa, shift = inverse_deviation(spread, values.constants.reciprocal_table)
        scale = registers.parameters[plane.block_row, 0, lane]
        total = weighted = scaled_total = scaled_weighted = signs = 0
        for i in range((lane - phase) % lanes, n_elements, lanes):
            error, value = pieces[ROW, i], normalized(pieces[row, i], mean, mantissa, shift)
            scaled = round_shift(scale * error, NORMALIZED_BITS)
            total += error
            weighted += error * value
            scaled_total += scaled
            scaled_weighted += scaled * value
            signs += _sign(pieces[row, i] - mean)
        registers.gradients[plane.block_row, 0, lane] += weighted
        registers.gradients[plane.block_row, 1, lane] += total
        registers.error_sums[plane.plane_row, 0, lane] += scaled_total
        registers.error_sums[plane.plane_row, 1, lane] += scaled_weighted
        registers.error_sums[plane.plane_row, 2, lane] += signs


@kernel
def _group_terms(values, plane, first_lane, end_lane):
    """(g, q, z): means over the group of G, G xh, and the signs."""
    count, sums = group_count(values, plane, first_lane, end_lane), values.registers.error_sums
    scaled_total = scaled_weighted = signs = 0
    for lane in range(first_lane, end_lane):
        scaled_total += sums[plane.plane_row, 0, lane]
        scaled_weighted += sums[plane.plane_row, 1, lane]
        signs += sums[plane.plane_row, 2, lane]
    slope = divide(round_shift(scaled_weighted, NORMALIZED_BITS), count)
    return divide(scaled_total, count), slope, divide(signs * ONE, count)


@kernel
def normalize_error(values, vector, plane, phase, n_elements):
    """The error of a piece at the input of the normalization, as codes."""
    lanes, pieces, registers, tensors = values.lanes, values.pieces, values.registers, values.tensors
    row, tensor = _sums_operand(vector), vector["tensor"][result(vector, roles.ERROR)]
    scaled_unit = tensors.read_unit[tensor_of(plane.unit, roles.PARAMETER)] + error_unit(values, plane) + NORMALIZED_BITS
    for first_lane in range(0, plane.valid_lanes, values.constants.group):
        end_lane = group_end(values, plane, first_lane)
        mean, spread = registers.statistics[plane.plane_row, 0, first_lane], registers.statistics[plane.plane_row, 1, first_lane]
        mantissa, shift = inverse_deviation(spread, values.constants.reciprocal_table)
        average, slope, tilt = _group_terms(values, plane, first_lane, end_lane)
        unit = scaled_unit - shift - tensors.read_unit[vector["tensor"][row]]
        for lane in range(first_lane, end_lane):
            scale, start = registers.parameters[plane.block_row, 0, lane], (lane - phase) % lanes
            for i in range(start, n_elements, lanes):
                scaled = round_shift(scale * pieces[ROW, i], NORMALIZED_BITS)
                side = _sign(pieces[row, i] - mean) * ONE - tilt
                through_spread = round_shift(L1_FACTOR * side * slope, 2 * NORMALIZED_BITS)
                pieces[ROW, i] = (scaled - average - through_spread) * mantissa
            convert(values, tensor, ROW, start, lanes, n_elements, unit)


@kernel
def write_gradients(values, vector, plane):
    """Store the gradients of a block's parameters and begin new sums, if the command has room for them."""
    row, lanes, unit = result(vector, roles.PARAMETER_GRADIENT), values.lanes, error_unit(values, plane)
    if row == ABSENT:
        return
    gradients, tensor = values.registers.gradients, vector["tensor"][row]
    for k in range(2):
        for lane in range(lanes):
            values.pieces[row, k * lanes + lane] = gradients[plane.block_row, k, lane]
            gradients[plane.block_row, k, lane] = 0
    convert(values, tensor, row, 0, 1, lanes, unit - NORMALIZED_BITS)
    convert(values, tensor, row, lanes, 1, 2 * lanes, unit)
    write(values, vector, row, plane, 0, 2 * lanes)
