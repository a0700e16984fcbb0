"""Passes of a normalization by a running scale (`etasim.ops.running`), and the update that goes with it.

``phase`` is the lane of a piece's first element. Lanes that do not exist hold zeros, and so do their results.
"""

from etasim.core.arrays import Integers, Record
from etasim.core.jit import kernel, routine
from etasim.functional.error_passes import add_contributions, error_unit, write_gradients
from etasim.functional.normalization_passes import NORMALIZED_BITS, NORMALIZED_LIMIT, STATISTIC_LIMIT, pixels_of
from etasim.functional.operands import ABSENT, PlanePiece, convert, ends_plane, operand, result, write
from etasim.functional.output_passes import finish_output
from etasim.functional.scalars import (
    bit_length,
    clip,
    clipped_shift,
    common_unit,
    divide,
    inverse_deviation,
    reciprocal,
    round_shift,
)
from etasim.functional.tables import FILTER_MEANS, FILTER_SUMS, MAGNITUDES, PRODUCTS, RADIALS, SPREADS, CoreValues
from etasim.functional.update_pass import update
from etasim.program import roles
from etasim.program.roles import tensor_of

CLAMP_FACTOR = 15401
"""3 sqrt(pi / 2) * 2^12, rounded."""

SHARE_BITS = 16
RADIAL_LIMIT = 2**18
PRODUCT_LIMIT, TERM_LIMIT = 2**46, 2**60
LEAST_SCALE_EXPONENT, QUOTIENT_BITS = -6, 31

FACTOR, BOUND, SHIFT, MANTISSA, PULL = range(5)
"""Rows of terms: scale / deviation and the shift of its products, the greatest magnitude that is not clamped, 1 / deviation as (mantissa,
shift), the radial gradient in the unit of scaled errors."""


@kernel
def _unit(values: CoreValues, unit: int, role: int) -> int:
    """Unit of a tensor's integers as the iteration finds them."""
    return values.tensors.read_unit[tensor_of(unit, role)]


@kernel
def running_apply(values: CoreValues, vector: Record, piece: PlanePiece) -> None:
    """Normalize, clamp, scale and shift a piece, keep masks and sides, and add up magnitudes; their mean goes to memory behind the last
    piece of a block, if the command has room for it."""
    plane, lanes, n_elements = piece.plane, values.lanes, piece.n_elements
    source, row, mask = operand(vector, roles.PRE_NORMALIZATION), result(vector, roles.OUTPUT), result(vector, roles.MASK)
    running, parameters = values.registers.running[plane.block_row], values.registers.parameters[plane.block_row]
    if piece.first == 0:
        down = _unit(values, plane.unit, roles.SPREAD) - _unit(values, plane.unit, roles.PRE_NORMALIZATION)
        _load_factors(values.terms, running, parameters, lanes, down, values.constants.reciprocal_table)
    _scale(values.pieces, row, source, values.terms, parameters, running, piece.phase, n_elements, lanes)
    finish_output(values, vector, piece, _unit(values, plane.unit, roles.PARAMETER) - NORMALIZED_BITS)
    if mask != ABSENT:
        is_active = values.units[plane.unit]["activation"] == 0
        _add_sides(values.pieces, mask, source, values.terms, is_active, piece.phase, n_elements, lanes, plane.valid_lanes)
    i = result(vector, roles.MAGNITUDE)
    if i != ABSENT and plane.sample == vector["n_samples"] - 1 and ends_plane(vector, piece):
        count = values.batch * pixels_of(values, plane)
        for lane in range(lanes):
            values.pieces[i, lane] = clip(divide(running[MAGNITUDES, lane], count), STATISTIC_LIMIT)
        write(values, vector, i, i, plane, 0, lanes)


@routine
def _load_factors(terms: Integers, running: Integers, parameters: Integers, lanes: int, down: int, table: Integers) -> None:
    """What the elements of a block are computed with; ``down``: unit of the spread less that of what is normalized."""
    for lane in range(lanes):
        mantissa, shift = inverse_deviation(max(running[SPREADS, lane], 1), table)
        terms[FACTOR, lane] = parameters[0, lane] * mantissa
        terms[SHIFT, lane] = shift + down - NORMALIZED_BITS
        terms[BOUND, lane] = clipped_shift(CLAMP_FACTOR * running[SPREADS, lane], NORMALIZED_BITS - down, STATISTIC_LIMIT)


@routine
def _scale(
    pieces: Integers, target: int, source: int, terms: Integers, parameters: Integers, running: Integers, phase: int, n_elements: int,
    lanes: int,
) -> None:  # fmt: skip
    """Clamped elements of row ``source`` times a factor plus the offset; adds up magnitudes."""
    for start in range(-phase, n_elements, lanes):
        for lane in range(max(-start, 0), min(lanes, n_elements - start)):
            value = pieces[source, start + lane]
            running[MAGNITUDES, lane] += abs(value)
            scaled = round_shift(terms[FACTOR, lane] * clip(value, terms[BOUND, lane]), terms[SHIFT, lane])
            pieces[target, start + lane] = scaled + (parameters[1, lane] << NORMALIZED_BITS)


@routine
def _add_sides(
    pieces: Integers, mask: int, source: int, terms: Integers, is_active: bool, phase: int, n_elements: int, lanes: int, valid_lanes: int
) -> None:
    """Errors pass where the activation says so, everywhere if ``is_active``, and nothing was clamped; and the side of zero."""
    for start in range(-phase, n_elements, lanes):
        for lane in range(max(-start, 0), min(lanes, n_elements - start)):
            value, i = pieces[source, start + lane], start + lane
            passes = (is_active or pieces[mask, i] > 0) and abs(value) <= terms[BOUND, lane]
            pieces[mask, i] = (1 if passes else 0) + (2 if value < 0 else 0) if lane < valid_lanes else 0


@kernel
def running_error(values: CoreValues, vector: Record, piece: PlanePiece) -> None:
    """The error of a piece before the normalization, as codes; the gradients of the offsets add what passes the mask."""
    plane, lanes, row, terms = piece.plane, values.lanes, result(vector, roles.ERROR), values.terms
    running, parameters = values.registers.running[plane.block_row], values.registers.parameters[plane.block_row]
    scaled_unit = _unit(values, plane.unit, roles.PARAMETER) + error_unit(values, plane.unit) + NORMALIZED_BITS
    if piece.first == 0:
        up = scaled_unit - _unit(values, plane.unit, roles.RADIAL)
        _load_inverses(terms, running, lanes, plane.valid_lanes, up, values.constants.reciprocal_table)
    add_contributions(values, vector, piece, row)
    gradients = values.registers.gradients[plane.block_row]
    mask = operand(vector, roles.MASK)
    _normalize_errors(values.pieces, row, mask, terms, parameters, gradients, piece.phase, piece.n_elements, lanes)
    unit = scaled_unit - terms[SHIFT, 0] - _unit(values, plane.unit, roles.SPREAD)
    convert(values, vector["tensor"][row], row, 0, piece.n_elements, unit)
    write_gradients(values, vector, piece)


@routine
def _load_inverses(terms: Integers, running: Integers, lanes: int, valid_lanes: int, up: int, table: Integers) -> None:
    """1 / deviation of each lane, all with the greatest shift, and the radial gradients, whose unit is ``up`` below that of errors."""
    greatest = 0
    for lane in range(lanes):
        terms[MANTISSA, lane], terms[SHIFT, lane] = inverse_deviation(max(running[SPREADS, lane], 1), table)
        terms[PULL, lane] = clipped_shift(running[RADIALS, lane], up, RADIAL_LIMIT)
        if lane < valid_lanes:
            greatest = max(greatest, terms[SHIFT, lane])
    for lane in range(lanes):
        terms[MANTISSA, lane] <<= max(greatest - terms[SHIFT, lane], 0)
        terms[SHIFT, lane] = greatest


@routine
def _normalize_errors(
    pieces: Integers, row: int, mask: int, terms: Integers, parameters: Integers, gradients: Integers, phase: int, n_elements: int,
    lanes: int,
) -> None:  # fmt: skip
    """The errors in ``row`` become those before the normalization."""
    for start in range(-phase, n_elements, lanes):
        for lane in range(max(-start, 0), min(lanes, n_elements - start)):
            i = start + lane
            error = pieces[row, i] * (pieces[mask, i] & 1)
            gradients[1, lane] += error
            scaled = round_shift(parameters[0, lane] * error, NORMALIZED_BITS)
            pull = -terms[PULL, lane] if pieces[mask, i] > 1 else terms[PULL, lane]
            pieces[row, i] = (scaled - pull) * terms[MANTISSA, lane]


@kernel
def filter_means(values: CoreValues, vector: Record, piece: PlanePiece) -> None:
    """Means of the gradients of a block's filters, from the sums that were added up while they drained."""
    plane, i = piece.plane, result(vector, roles.FILTER_MEAN)
    running, count = values.registers.running[plane.block_row], values.units[plane.unit]["filter_weights"]
    for lane in range(values.lanes):
        values.pieces[i, lane] = clip(divide(running[FILTER_SUMS, lane], count), STATISTIC_LIMIT)
    write(values, vector, i, i, plane, 0, values.lanes)


@kernel
def update_filters(values: CoreValues, vector: Record, piece: PlanePiece) -> None:
    """SGD with momentum by centred gradients; adds up the products of filters and their gradients."""
    gradient, master, plane = operand(vector, roles.WEIGHT_GRADIENT), operand(vector, roles.MASTER_WEIGHT), piece.plane
    unit, block = values.units[plane.unit], vector["first_block"] + plane.block
    first = vector["first_element"][gradient] + piece.first
    _centre(values, unit, block, gradient, master, first, piece.n_elements)
    update(values, vector, piece)


@routine
def _centre(values: CoreValues, unit: Record, block: int, gradient: int, master: int, first: int, n_elements: int) -> None:
    """Subtract from each gradient, elements ``first ...`` of output block ``block``, the mean of its filter; weights that do not exist
    stay zero."""
    pieces, lanes = values.pieces, values.lanes
    running, inputs = values.registers.running[unit["first_block"] + block], values.inputs
    input_block = block // unit["output_blocks"] * unit["input_blocks"]
    for i in range(n_elements):
        at = first + i
        lane = at // lanes % lanes
        running[PRODUCTS, lane] += pieces[gradient, i] * pieces[master, i]
        column = input_block + at // (lanes * lanes * unit["positions"])
        channel = inputs[unit["first_input"] + column * lanes + at % lanes]
        exists = channel >= 0
        if exists and unit["group_outputs"] > 0:
            exists = (block * lanes + lane) // unit["group_outputs"] == channel // unit["group_inputs"]
        if exists:
            pieces[gradient, i] -= running[FILTER_MEANS, lane]


@kernel
def _dividend_unit(values: CoreValues, unit: int) -> int:
    """Unit of the dividends whose quotients are the gradients of the scales."""
    product = _unit(values, unit, roles.MASTER_WEIGHT) + _unit(values, unit, roles.WEIGHT_GRADIENT)
    radial = _unit(values, unit, roles.RADIAL) - NORMALIZED_BITS
    return common_unit(min(product, radial), max(product, radial))


@kernel
def running_update(values: CoreValues, vector: Record, piece: PlanePiece) -> None:
    """Spreads and radial gradients after the iteration; the products become the dividends of the gradients of the scales."""
    plane, index = piece.plane, piece.plane.unit
    spread, radial, magnitude = operand(vector, roles.SPREAD), operand(vector, roles.RADIAL), operand(vector, roles.MAGNITUDE)
    new_spread, new_radial = result(vector, roles.SPREAD), result(vector, roles.RADIAL)
    tensors, units = vector["tensor"], values.tensors.read_unit
    spread_unit, radial_unit, sum_unit = units[tensors[spread]], units[tensors[radial]], _unit(values, index, roles.PRE_NORMALIZATION)
    product_unit = _unit(values, index, roles.MASTER_WEIGHT) + _unit(values, index, roles.WEIGHT_GRADIENT)
    moved_unit = product_unit - values.units[index]["radial_shift"]
    unit_s = common_unit(min(spread_unit, sum_unit), max(spread_unit, sum_unit)) - SHARE_BITS
    unit_r = common_unit(min(radial_unit, moved_unit), max(radial_unit, moved_unit))
    unit_d, count = _dividend_unit(values, index), values.batch * pixels_of(values, plane)
    pieces, share, products = values.pieces, values.constants.running_share, values.registers.running[plane.block_row, PRODUCTS]
    for lane in range(piece.n_elements):
        s, r, mean, product = pieces[spread, lane], pieces[radial, lane], pieces[magnitude, lane], products[lane]
        kept = round_shift(((1 << SHARE_BITS) - share) * s, unit_s - (spread_unit - SHARE_BITS))
        pieces[new_spread, lane] = kept + round_shift(share * mean, unit_s - (sum_unit - SHARE_BITS))
        moved = values.units[index]["radial_mantissa"] * clip(product, PRODUCT_LIMIT)
        moved = clipped_shift(moved, unit_r - moved_unit, TERM_LIMIT)
        pieces[new_radial, lane] = clipped_shift(r, unit_r - radial_unit, TERM_LIMIT) + moved
        mantissa, shift = inverse_deviation(max(s, 1), values.constants.reciprocal_table)
        normalized = clip(round_shift(mean * mantissa, shift + spread_unit - sum_unit - NORMALIZED_BITS), NORMALIZED_LIMIT)
        through = clipped_shift(r * normalized * count, unit_d - (radial_unit - NORMALIZED_BITS), TERM_LIMIT)
        products[lane] = clipped_shift(product, unit_d - product_unit, TERM_LIMIT) + through
    convert(values, tensors[new_spread], new_spread, 0, piece.n_elements, unit_s)
    convert(values, tensors[new_radial], new_radial, 0, piece.n_elements, unit_r)


@kernel
def update_scaled(values: CoreValues, vector: Record, piece: PlanePiece) -> None:
    """SGD with momentum on scales and offsets; the gradients of the scales come from the dividends."""
    gradient, scale = operand(vector, roles.PARAMETER_GRADIENT), operand(vector, roles.PARAMETER)
    i, plane, lanes, tensors = result(vector, roles.PARAMETER_GRADIENT), piece.plane, values.lanes, vector["tensor"]
    scale_unit, unit = _unit(values, plane.unit, roles.PARAMETER), _dividend_unit(values, plane.unit)
    least = 1 << max(LEAST_SCALE_EXPONENT - scale_unit, 0)
    products, pieces = values.registers.running[plane.block_row, PRODUCTS], values.pieces
    for lane in range(lanes):
        excess = max(bit_length(abs(products[lane])) - QUOTIENT_BITS, 0)
        mantissa, shift = reciprocal(max(abs(pieces[scale, lane]), least))
        quotient = round_shift(products[lane], excess) * mantissa
        pieces[i, lane] = -quotient if pieces[scale, lane] < 0 else quotient
        pieces[i, lanes + lane] = pieces[gradient, lanes + lane]
        convert(values, tensors[i], i, lane, lane + 1, unit + excess - shift - scale_unit)
    convert(values, tensors[i], i, lanes, 2 * lanes, values.tensors.read_unit[tensors[gradient]])
    for k in range(2 * lanes):
        pieces[gradient, k] = pieces[i, k]
    write(values, vector, i, i, plane, 0, 2 * lanes)
    update(values, vector, piece)
