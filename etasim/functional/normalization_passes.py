"""L1 group normalization of pieces of planes.

``phase`` is the lane of a piece's first element. ``values.terms`` [term, lane] holds what a plane's elements are computed with; it is zero
in lanes that do not exist, and so are their results. No group leaves its channel block.
"""

from etasim.core.arrays import Integers, Record
from etasim.core.jit import kernel, routine
from etasim.functional.operands import ABSENT, Plane, PlanePiece, ends_plane, operand, result, write
from etasim.functional.output_passes import finish_output
from etasim.functional.rows import add_to_lanes, from_lanes
from etasim.functional.scalars import clip, divide, inverse_deviation, round_shift
from etasim.functional.tables import CoreValues
from etasim.program import roles
from etasim.program.roles import tensor_of

STATISTIC_LIMIT = 2**15 - 1
NORMALIZED_LIMIT = 2**23 - 1
NORMALIZED_BITS = 12
"""Bits of a normalized value below one."""

MEAN, SPREAD, MANTISSA, SHIFT = range(4)
"""Rows of terms: statistics, in the order in which they are stored, and the reciprocal of the deviation."""


@kernel
def normalized(value: int, mean: int, mantissa: int, shift: int) -> int:
    """(value - mean) / deviation in 2^-12, the reciprocal of the deviation given as (mantissa, shift)."""
    return clip(round_shift((value - mean) * mantissa, shift - NORMALIZED_BITS), NORMALIZED_LIMIT)


@kernel
def pixels_of(values: CoreValues, plane: Plane) -> int:
    """Pixels of a whole plane."""
    return values.units[plane.unit]["out_height"] * values.units[plane.unit]["out_width"]


@routine
def _average(terms: Integers, k: int, sums: Integers, plane_row: int, valid_lanes: int, group: int, pixels: int, least: int) -> None:
    """Mean, at least ``least``, of the sums [plane, lane] of each lane's group becomes row ``k`` of the terms."""
    for first_lane in range(0, valid_lanes, group):
        end_lane, total = min(first_lane + group, valid_lanes), 0
        for lane in range(first_lane, end_lane):
            total += sums[plane_row, lane]
        mean = max(clip(divide(total, (end_lane - first_lane) * pixels), STATISTIC_LIMIT), least)
        for lane in range(first_lane, end_lane):
            terms[k, lane] = mean


@routine
def invert_spreads(terms: Integers, valid_lanes: int, table: Integers) -> None:
    """Reciprocals of the deviations; ``table``: `inverse_deviation`."""
    for lane in range(valid_lanes):
        terms[MANTISSA, lane], terms[SHIFT, lane] = inverse_deviation(terms[SPREAD, lane], table)


@kernel
def _average_plane(values: CoreValues, plane: Plane) -> None:
    """Terms of a plane from its sums so far."""
    registers, terms, group = values.registers, values.terms, values.constants.group
    terms[:, :] = 0
    _average(terms, MEAN, registers.sums, plane.plane_row, plane.valid_lanes, group, pixels_of(values, plane), -STATISTIC_LIMIT)
    _average(terms, SPREAD, registers.deviations, plane.plane_row, plane.valid_lanes, group, pixels_of(values, plane), 1)
    invert_spreads(terms, plane.valid_lanes, values.constants.reciprocal_table)


@kernel
def norm_sum(values: CoreValues, vector: Record, piece: PlanePiece) -> None:
    """Add a piece to the lanes' sums."""
    row, (phase, n_elements) = sums_operand(vector), (piece.phase, piece.n_elements)
    add_to_lanes(values.registers.sums, piece.plane.plane_row, values.pieces, row, phase, n_elements, values.lanes)


@kernel
def norm_spread(values: CoreValues, vector: Record, piece: PlanePiece) -> None:
    """Add the distances of a piece from the mean to the lanes' sums."""
    if piece.first == 0:
        _average_plane(values, piece.plane)
    deviations, row = values.registers.deviations[piece.plane.plane_row], sums_operand(vector)
    _add_deviations(deviations, values.pieces, row, values.terms, piece.phase, piece.n_elements, values.lanes)


@kernel
def norm_apply(values: CoreValues, vector: Record, piece: PlanePiece) -> None:
    """Normalize, scale and shift a piece; the plane's mean and spread go to memory behind the last, if the command has room for them."""
    plane, lanes, i = piece.plane, values.lanes, result(vector, roles.STATISTIC)
    if piece.first == 0:
        _average_plane(values, plane)
    parameters, row = values.registers.parameters[plane.block_row], result(vector, roles.OUTPUT)
    _scale(values.pieces, row, sums_operand(vector), values.terms, parameters, piece.phase, piece.n_elements, lanes)
    finish_output(values, vector, piece, values.tensors.read_unit[tensor_of(plane.unit, roles.PARAMETER)] - NORMALIZED_BITS)
    if i != ABSENT and ends_plane(vector, piece):
        from_lanes(values.pieces, i, values.terms, lanes)
        write(values, vector, i, i, plane, 0, 2 * lanes)


@kernel
def sums_operand(vector: Record) -> int:
    """Index of what the unit normalises: sums, or codes if the normalization heads it."""
    sums = operand(vector, roles.PRE_NORMALIZATION)
    return operand(vector, roles.OUTPUT) if sums == ABSENT else sums


@routine
def _add_deviations(sums: Integers, pieces: Integers, row: int, terms: Integers, phase: int, n_elements: int, lanes: int) -> None:
    """Add the distances of a piece from the mean to the lanes' ``sums`` [lane]."""
    for start in range(-phase, n_elements, lanes):
        for lane in range(max(-start, 0), min(lanes, n_elements - start)):
            sums[lane] += abs(pieces[row, start + lane] - terms[MEAN, lane])


@routine
def _scale(
    pieces: Integers, target: int, source: int, terms: Integers, parameters: Integers, phase: int, n_elements: int, lanes: int
) -> None:
    """Normalized elements of row ``source`` times scale plus offset; ``parameters`` [scale or offset, lane]."""
    for start in range(-phase, n_elements, lanes):
        for lane in range(max(-start, 0), min(lanes, n_elements - start)):
            value = normalized(pieces[source, start + lane], terms[MEAN, lane], terms[MANTISSA, lane], terms[SHIFT, lane])
            pieces[target, start + lane] = parameters[0, lane] * value + (parameters[1, lane] << NORMALIZED_BITS)
