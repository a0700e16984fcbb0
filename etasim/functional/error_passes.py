"""Backward passes over pieces of planes: sums of contributions, ReLU's mask, normalization."""

from etasim.core.jit import kernel, routine
from etasim.functional.normalization_passes import MANTISSA, MEAN, NORMALIZED_BITS, SHIFT, SPREAD, invert_spreads, normalized, pixels_of
from etasim.functional.operands import ABSENT, contribute, convert, operand, result, write
from etasim.functional.rows import add_row, add_to_lanes, fill, from_lanes, multiply_row
from etasim.functional.scalars import L1_FACTOR, divide, round_shift
from etasim.program import roles
from etasim.program.commands import MAX_READS
from etasim.program.roles import role_of, tensor_of

ONE = 1 << NORMALIZED_BITS
ROW = MAX_READS
"""Row of the error under way; the first result's, for no pass has more than one result of its own size."""

AVERAGE, SLOPE, TILT = range(SHIFT + 1, SHIFT + 4)
"""Rows of terms: g, q and z."""


@kernel
def error_unit(values, unit):
    """Unit of the contributions to the error of ``unit``."""
    return values.tensors.write_unit[tensor_of(unit, roles.PARTIAL)]


@kernel
def sum_contributions(values, vector, plane, n_elements):
    """D of a piece, zero where the mask is."""
    pieces, tensors = values.pieces, values.tensors
    fill(pieces, ROW, n_elements, 0)
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
    add_to_lanes(values.registers.gradients[plane.block_row], 1, values.pieces, ROW, phase, n_elements, values.lanes)
    convert(values, vector["tensor"][ROW], ROW, 0, n_elements, error_unit(values, plane.unit))


@kernel
def _sums_operand(vector):
    """Index of what the unit normalised: sums, or codes if the normalization heads it."""
    sums = operand(vector, roles.PRE_NORMALIZATION)
    return operand(vector, roles.OUTPUT) if sums == ABSENT else sums


@kernel
def _sign(value):
    return 1 if value > 0 else (-1 if value < 0 else 0)


@routine
def _load_statistics(terms, statistics, valid_lanes):
    """Mean and spread from ``statistics`` [mean or spread, lane]."""
    for lane in range(valid_lanes):
        terms[MEAN, lane], terms[SPREAD, lane] = statistics[0, lane], statistics[1, lane]


@routine
def _average_errors(terms, sums, valid_lanes, group, pixels):
    """g, q and z of each lane's group from ``sums`` [k, lane]; and the reciprocals with the greatest shift, which is returned."""
    greatest = 0
    for lane in range(valid_lanes):
        first_lane = lane - lane % group
        end_lane = min(first_lane + group, valid_lanes)
        plain = weighted = sides = 0
        for k in range(first_lane, end_lane):
            plain, weighted, sides = plain + sums[0, k], weighted + sums[1, k], sides + sums[2, k]
        count = (end_lane - first_lane) * pixels
        terms[AVERAGE, lane], terms[TILT, lane] = divide(plain, count), divide(sides * ONE, count)
        terms[SLOPE, lane] = divide(round_shift(weighted, NORMALIZED_BITS), count)
        greatest = max(greatest, terms[SHIFT, lane])
    for lane in range(valid_lanes):
        terms[MANTISSA, lane] <<= greatest - terms[SHIFT, lane]
    return greatest


@kernel
def prepare(values, plane, is_last):
    """Terms of a plane from its statistics; for the last pass from the sums too. Returns the shift of all reciprocals then."""
    registers, terms, constants = values.registers, values.terms, values.constants
    terms[:, :] = 0
    _load_statistics(terms, registers.statistics[plane.plane_row], plane.valid_lanes)
    invert_spreads(terms, plane.valid_lanes, constants.reciprocal_table)
    sums, pixels = registers.error_sums[plane.plane_row], pixels_of(values, plane)
    return _average_errors(terms, sums, plane.valid_lanes, constants.group, pixels) if is_last else 0


@routine
def _add_error_sums(sums, gradients, pieces, row, terms, parameters, phase, n_elements, lanes):
    """Add G, G xh and the side of the mean to ``sums`` [k, lane], D xh and D to ``gradients`` [k, lane]; what was normalised is ``row``."""
    for start in range(-phase, n_elements, lanes):
        for lane in range(max(-start, 0), min(lanes, n_elements - start)):
            error, value = pieces[ROW, start + lane], pieces[row, start + lane]
            scaled = round_shift(parameters[0, lane] * error, NORMALIZED_BITS)
            weight = normalized(value, terms[MEAN, lane], terms[MANTISSA, lane], terms[SHIFT, lane])
            gradients[0, lane] += error * weight
            gradients[1, lane] += error
            sums[0, lane] += scaled
            sums[1, lane] += scaled * weight
            sums[2, lane] += _sign(value - terms[MEAN, lane])


@kernel
def add_error_sums(values, vector, plane, phase, n_elements):
    """Add a piece to the sums that the error of a normalization needs, and to the gradients of scale and offset."""
    registers, block_row = values.registers, plane.block_row
    sums, gradients, parameters = registers.error_sums[plane.plane_row], registers.gradients[block_row], registers.parameters[block_row]
    row = _sums_operand(vector)
    _add_error_sums(sums, gradients, values.pieces, row, values.terms, parameters, phase, n_elements, values.lanes)


@routine
def _normalize_errors(pieces, row, terms, parameters, phase, n_elements, lanes):
    """The errors before the normalization, with what was normalised in ``row``."""
    for start in range(-phase, n_elements, lanes):
        for lane in range(max(-start, 0), min(lanes, n_elements - start)):
            scaled = round_shift(parameters[0, lane] * pieces[ROW, start + lane], NORMALIZED_BITS)
            side = _sign(pieces[row, start + lane] - terms[MEAN, lane]) * ONE - terms[TILT, lane]
            through_spread = round_shift(L1_FACTOR * side * terms[SLOPE, lane], 2 * NORMALIZED_BITS)
            pieces[ROW, start + lane] = (scaled - terms[AVERAGE, lane] - through_spread) * terms[MANTISSA, lane]


@kernel
def normalize_error(values, vector, plane, shift, phase, n_elements):
    """The error of a piece before the normalization, as codes; ``shift`` of the reciprocals."""
    row, units, parameters = _sums_operand(vector), values.tensors.read_unit, values.registers.parameters[plane.block_row]
    scaled_unit = units[tensor_of(plane.unit, roles.PARAMETER)] + error_unit(values, plane.unit) + NORMALIZED_BITS
    _normalize_errors(values.pieces, row, values.terms, parameters, phase, n_elements, values.lanes)
    convert(values, vector["tensor"][ROW], ROW, 0, n_elements, scaled_unit - shift - units[vector["tensor"][row]])


@kernel
def write_gradients(values, vector, plane):
    """Store the gradients of a block's parameters and begin new sums, if the command has room for them."""
    i, lanes, unit = result(vector, roles.PARAMETER_GRADIENT), values.lanes, error_unit(values, plane.unit)
    if i != ABSENT:
        tensor, gradients = vector["tensor"][i], values.registers.gradients[plane.block_row]
        from_lanes(values.pieces, i, gradients, lanes)
        gradients[:, :] = 0
        convert(values, tensor, i, 0, lanes, unit - NORMALIZED_BITS)
        convert(values, tensor, i, lanes, 2 * lanes, unit)
        write(values, vector, i, i, plane, 0, 2 * lanes)
