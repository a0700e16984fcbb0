"""Backward passes over pieces of planes: sums of contributions, ReLU's mask, normalization."""

from etasim.core.arrays import Integers, Record
from etasim.core.jit import kernel, routine
from etasim.functional.normalization_passes import (
    MANTISSA,
    MEAN,
    NORMALIZED_BITS,
    SHIFT,
    SPREAD,
    invert_spreads,
    normalized,
    pixels_of,
    sums_operand,
)
from etasim.functional.operands import ABSENT, Plane, PlanePiece, contribute, convert, ends_plane, operand, result, write
from etasim.functional.rows import add_row, add_to_lanes, fill, from_lanes, multiply_row
from etasim.functional.scalars import L1_FACTOR, divide, round_shift
from etasim.functional.tables import CoreValues
from etasim.program import roles
from etasim.program.commands import OPERANDS
from etasim.program.roles import role_of, tensor_of

ONE = 1 << NORMALIZED_BITS
SCRATCH = OPERANDS - 1
"""Row of an error that is no result; the last result's, for its pass has one result."""

AVERAGE, SLOPE, TILT = range(SHIFT + 1, SHIFT + 4)
"""Rows of terms: g, q and z."""


@kernel
def error_unit(values: CoreValues, unit: int) -> int:
    """Unit of the contributions to the error of ``unit``."""
    return values.tensors.write_unit[tensor_of(unit, roles.PARTIAL)]


@kernel
def error_add(values: CoreValues, vector: Record, piece: PlanePiece) -> None:
    """Contributions to an error become one."""
    _sum_contributions(values, vector, piece, result(vector, roles.PARTIAL))


@kernel
def error_mask(values: CoreValues, vector: Record, piece: PlanePiece) -> None:
    """D becomes codes; the gradients of the offsets add it."""
    row, plane, n_elements = result(vector, roles.ERROR), piece.plane, piece.n_elements
    _sum_contributions(values, vector, piece, row)
    add_to_lanes(values.registers.gradients[plane.block_row], 1, values.pieces, row, piece.phase, n_elements, values.lanes)
    convert(values, vector["tensor"][row], row, 0, n_elements, error_unit(values, plane.unit))
    write_gradients(values, vector, piece)


@kernel
def norm_error_sums(values: CoreValues, vector: Record, piece: PlanePiece) -> None:
    """Add a piece to the sums that the error of a normalization needs, and to the gradients of scale and offset."""
    registers, plane = values.registers, piece.plane
    if piece.first == 0:
        _load_terms(values, plane)
    _sum_contributions(values, vector, piece, SCRATCH)
    sums, gradients, parameters = registers.error_sums[plane.plane_row], registers.gradients[plane.block_row], registers.parameters
    _add_error_sums(sums, gradients, values.pieces, SCRATCH, sums_operand(vector), values.terms, parameters[plane.block_row], piece.phase,
                    piece.n_elements, values.lanes)  # fmt: skip
    write_gradients(values, vector, piece)


@kernel
def norm_error_apply(values: CoreValues, vector: Record, piece: PlanePiece) -> None:
    """The error of a piece before the normalization, as codes."""
    row, sums, plane, units, terms = result(vector, roles.ERROR), sums_operand(vector), piece.plane, values.tensors.read_unit, values.terms
    if piece.first == 0:
        _load_terms(values, plane)
        _average_errors(terms, values.registers.error_sums[plane.plane_row], plane.valid_lanes, values.constants.group,
                        pixels_of(values, plane))  # fmt: skip
    _sum_contributions(values, vector, piece, row)
    parameters = values.registers.parameters[plane.block_row]
    _normalize_errors(values.pieces, row, sums, terms, parameters, piece.phase, piece.n_elements, values.lanes)
    scaled_unit = units[tensor_of(plane.unit, roles.PARAMETER)] + error_unit(values, plane.unit) + NORMALIZED_BITS
    unit = scaled_unit - terms[SHIFT, 0] - units[vector["tensor"][sums]]
    convert(values, vector["tensor"][row], row, 0, piece.n_elements, unit)


@routine
def add_contributions(values: CoreValues, vector: Record, piece: PlanePiece, row: int) -> None:
    """The sum of all contributions to a piece goes to ``row``."""
    pieces, tensors, n_elements = values.pieces, values.tensors, piece.n_elements
    fill(pieces, row, n_elements, 0)
    for k in range(vector["n_reads"]):
        role = role_of(vector["tensor"][k])
        if role == roles.ERROR:
            contribute(values, piece.plane.unit, k, n_elements, tensors.read_unit[vector["tensor"][k]])
        if role in (roles.ERROR, roles.PARTIAL):
            add_row(pieces, row, k, n_elements, 1, 0)


@routine
def _sum_contributions(values: CoreValues, vector: Record, piece: PlanePiece, row: int) -> None:
    """D of a piece goes to ``row``, zero where the mask is."""
    mask = operand(vector, roles.MASK)
    add_contributions(values, vector, piece, row)
    if mask != ABSENT:
        multiply_row(values.pieces, row, mask, piece.n_elements)


@kernel
def _sign(value: int) -> int:
    return 1 if value > 0 else (-1 if value < 0 else 0)


@routine
def _load_statistics(terms: Integers, statistics: Integers, valid_lanes: int) -> None:
    """Mean and spread from ``statistics`` [mean or spread, lane]."""
    for lane in range(valid_lanes):
        terms[MEAN, lane], terms[SPREAD, lane] = statistics[0, lane], statistics[1, lane]


@routine
def _average_errors(terms: Integers, sums: Integers, valid_lanes: int, group: int, pixels: int) -> None:
    """g, q and z of each lane's group from ``sums`` [k, lane]; and the reciprocals, all with the greatest shift."""
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
        terms[SHIFT, lane] = greatest


@kernel
def _load_terms(values: CoreValues, plane: Plane) -> None:
    """Terms of a plane from its statistics."""
    values.terms[:, :] = 0
    _load_statistics(values.terms, values.registers.statistics[plane.plane_row], plane.valid_lanes)
    invert_spreads(values.terms, plane.valid_lanes, values.constants.reciprocal_table)


@routine
def _add_error_sums(
    sums: Integers,
    gradients: Integers,
    pieces: Integers,
    row: int,
    source: int,
    terms: Integers,
    parameters: Integers,
    phase: int,
    n_elements: int,
    lanes: int,
) -> None:
    """Add G, G xh and the side of the mean to ``sums`` [k, lane], D xh and D to ``gradients`` [k, lane], of D in ``row`` and what was
    normalised in ``source``."""
    for start in range(-phase, n_elements, lanes):
        for lane in range(max(-start, 0), min(lanes, n_elements - start)):
            error, value = pieces[row, start + lane], pieces[source, start + lane]
            scaled = round_shift(parameters[0, lane] * error, NORMALIZED_BITS)
            weight = normalized(value, terms[MEAN, lane], terms[MANTISSA, lane], terms[SHIFT, lane])
            gradients[0, lane] += error * weight
            gradients[1, lane] += error
            sums[0, lane] += scaled
            sums[1, lane] += scaled * weight
            sums[2, lane] += _sign(value - terms[MEAN, lane])


@routine
def _normalize_errors(
    pieces: Integers, row: int, source: int, terms: Integers, parameters: Integers, phase: int, n_elements: int, lanes: int
) -> None:
    """The errors in ``row`` become those before the normalization; what was normalised is in ``source``."""
    for start in range(-phase, n_elements, lanes):
        for lane in range(max(-start, 0), min(lanes, n_elements - start)):
            scaled = round_shift(parameters[0, lane] * pieces[row, start + lane], NORMALIZED_BITS)
            side = _sign(pieces[source, start + lane] - terms[MEAN, lane]) * ONE - terms[TILT, lane]
            through_spread = round_shift(L1_FACTOR * side * terms[SLOPE, lane], 2 * NORMALIZED_BITS)
            pieces[row, start + lane] = (scaled - terms[AVERAGE, lane] - through_spread) * terms[MANTISSA, lane]


@kernel
def write_gradients(values: CoreValues, vector: Record, piece: PlanePiece) -> None:
    """Store the gradients of a block's parameters behind its last piece and begin new sums, if the command has room for them."""
    i, lanes, plane, unit = result(vector, roles.PARAMETER_GRADIENT), values.lanes, piece.plane, error_unit(values, piece.plane.unit)
    if i != ABSENT and plane.sample == vector["n_samples"] - 1 and ends_plane(vector, piece):
        tensor, gradients = vector["tensor"][i], values.registers.gradients[plane.block_row]
        from_lanes(values.pieces, i, gradients, lanes)
        gradients[:, :] = 0
        convert(values, tensor, i, 0, lanes, unit - NORMALIZED_BITS)
        convert(values, tensor, i, lanes, 2 * lanes, unit)
        write(values, vector, i, i, plane, 0, 2 * lanes)
