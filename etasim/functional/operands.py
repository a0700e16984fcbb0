"""Operands and results of a pass of the unified core: which they are, where they lie, and their way to integers and back.

A piece of operand or result i is row i of ``values.pieces``.
"""

from typing import NamedTuple

from etasim.core.arrays import Record
from etasim.core.jit import kernel, routine
from etasim.functional.elements import (
    decode_row,
    decode_row_by_table,
    encode_row,
    encode_row_in_table,
    limit_row,
    pack,
    unpack,
)
from etasim.functional.rows import clear_lanes
from etasim.functional.scalars import exponent
from etasim.functional.squares import bytes_until, left_in_square, pack_square, unpack_squares
from etasim.functional.tables import CoreValues
from etasim.ops.passes import pass_number
from etasim.ops.unit import SHARE_SCALES
from etasim.program import roles
from etasim.program.commands import MAX_READS
from etasim.program.roles import owner, role_of, tensor_of

ABSENT = -1
"""Index of an operand that a command does not have."""

_SHARES = pass_number(SHARE_SCALES.name)

CONTRIBUTION_LIMIT = 2**15 - 1
"""Greatest sum of the contributions to an error."""


class Plane(NamedTuple):
    """A plane of a command: ``block`` and ``sample`` counted from the command's first, its rows in the registers' [block] and [plane]
    arrays, the unit whose plane it is, and how many of its lanes exist."""

    block: int
    sample: int
    block_row: int
    plane_row: int
    unit: int
    valid_lanes: int


class PlanePiece(NamedTuple):
    """Elements ``first ...`` (``n_elements``) of the run of a plane; ``phase``: the lane of the first."""

    plane: Plane
    first: int
    n_elements: int
    phase: int


@kernel
def ends_plane(vector: Record, piece: PlanePiece) -> bool:
    """Whether a piece is the last one of its plane."""
    return piece.first + piece.n_elements == vector["n_elements"][0]


@kernel
def operand(vector: Record, role: int) -> int:
    """Index of the first operand with ``role``, or ABSENT."""
    for i in range(vector["n_reads"]):
        if role_of(vector["tensor"][i]) == role:
            return i
    return ABSENT


@kernel
def result(vector: Record, role: int) -> int:
    """Index of the result with ``role``, or ABSENT."""
    for i in range(MAX_READS, MAX_READS + vector["n_writes"]):
        if role_of(vector["tensor"][i]) == role:
            return i
    return ABSENT


@kernel
def unit_of(vector: Record) -> int:
    """The unit whose planes a command covers: its own, or the one to whose error it contributes."""
    i = result(vector, roles.PARTIAL)
    return vector["unit"] if i == ABSENT else owner(vector["tensor"][i])


@kernel
def plane_of(values: CoreValues, vector: Record, unit: int, block: int, sample: int) -> Plane:
    """Plane of ``unit`` that is ``block`` and ``sample`` of the command."""
    block_row = values.units[unit]["first_block"] + vector["first_block"] + block
    plane_row = block_row * values.batch + vector["first_sample"] + sample
    return Plane(block, sample, block_row, plane_row, unit, values.valid_lanes[block_row])


@kernel
def _row_of_squares(values: CoreValues, vector: Record, i: int) -> int:
    """Elements of a row of operand or result ``i`` if its codes share scales there, else 0. They have none yet in what other passes write,
    and `share_scales` reads."""
    is_waiting = (i >= MAX_READS) != (vector["kind"] == _SHARES)
    return 0 if is_waiting else values.tensors.row_elements[vector["tensor"][i]]


@kernel
def _run_start(values: CoreValues, vector: Record, i: int, plane: Plane) -> int:
    """First byte of the run of ``plane`` in operand or result ``i``; weights and parameters have one run for each block only."""
    tensor, n_elements, row_elements = vector["tensor"][i], vector["n_elements"][i], _row_of_squares(values, vector, i)
    role = role_of(tensor)
    run = plane.block if role >= roles.WEIGHT else plane.block * vector["n_samples"] + plane.sample
    run_bytes = (n_elements * values.tensors.bits[tensor] + 7) >> 3
    if row_elements > 0:
        first = vector["first_element"][i]
        run_bytes = bytes_until(first + n_elements, row_elements) - bytes_until(first, row_elements)
    return vector["address"][i] * values.word_bytes + run * run_bytes


@routine
def read(values: CoreValues, vector: Record, i: int, plane: Plane, first: int, n_elements: int) -> None:
    """Integers of elements ``first ...`` of a run of operand ``i``, zero in lanes that do not exist."""
    tensors, tensor = values.tensors, vector["tensor"][i]
    role, bits = role_of(tensor), tensors.bits[tensor]
    is_signed = tensors.segments[tensor] == 0 and role != roles.MASK and role != roles.WINDOW
    start, row_elements, table = _run_start(values, vector, i, plane), _row_of_squares(values, vector, i), tensors.table[tensor]
    if row_elements > 0:
        unpack_squares(values.buffer, start, vector["first_element"][i], first, n_elements, row_elements, values.pieces, i)
    else:
        unpack(values.buffer, start, first, n_elements, bits, is_signed, values.pieces, i)
    if table >= 0:
        decode_row_by_table(values.pieces, i, n_elements, tensors.magnitudes[table, : tensors.n_magnitudes[table]], bits)
    elif tensors.segments[tensor] > 0:
        decode_row(values.pieces, i, n_elements, tensors.magnitude_bits[tensor], bits)
    if role < roles.WEIGHT or role >= roles.PARAMETER:
        clear(values, i, plane, vector["first_element"][i] + first, n_elements)


@routine
def clear(values: CoreValues, row: int, plane: Plane, first_element: int, n_elements: int) -> None:
    """Zero in the lanes of a row that do not exist."""
    if plane.valid_lanes < values.lanes:
        clear_lanes(values.pieces, row, first_element % values.lanes, n_elements, values.lanes, plane.valid_lanes)


@routine
def write(values: CoreValues, vector: Record, i: int, row: int, plane: Plane, first: int, n_elements: int) -> None:
    """A row, already in the format of result ``i``, becomes elements ``first ...`` of a run."""
    bits = values.tensors.bits[vector["tensor"][i]]
    pack(values.buffer, _run_start(values, vector, i, plane), first, n_elements, bits, values.pieces, row)


@kernel
def share_scales(values: CoreValues, vector: Record, piece: PlanePiece) -> None:
    """Values of a run that wait for their scales become codes, square by square."""
    n_elements, origin = piece.n_elements, vector["first_element"][0]
    row_elements = values.tensors.row_elements[vector["tensor"][0]]
    start, before, first = _run_start(values, vector, MAX_READS, piece.plane), bytes_until(origin, row_elements), 0
    while first < n_elements:
        n = min(left_in_square(origin + first, row_elements), n_elements - first)
        read(values, vector, 0, piece.plane, first, n)
        pack_square(values.buffer, start + bytes_until(origin + first, row_elements) - before, n, values.pieces, 0)
        first += n


@kernel
def note(values: CoreValues, tensor: int, greatest: int, unit: int) -> None:
    """Raise ``seen`` to the exponent of a magnitude."""
    if greatest > 0:
        values.tensors.seen[tensor] = max(values.tensors.seen[tensor], exponent(greatest, unit))


@routine
def convert(values: CoreValues, tensor: int, row: int, first: int, end: int, unit: int) -> None:
    """Values first ... end of a row in ``unit`` become codes or stored integers of ``tensor``."""
    tensors = values.tensors
    shift, bits, segments = tensors.write_unit[tensor] - unit, tensors.bits[tensor], tensors.segments[tensor]
    table = tensors.table[tensor]
    if table >= 0:
        magnitudes = tensors.magnitudes[table, : tensors.n_magnitudes[table]]
        greatest = encode_row_in_table(values.pieces, row, first, end, shift, magnitudes, bits)
    elif segments > 0:
        greatest = encode_row(values.pieces, row, first, end, shift, tensors.magnitude_bits[tensor], segments, bits)
    else:
        greatest = limit_row(values.pieces, row, first, end, shift, (1 << (bits - 1)) - 1)
    note(values, tensor, greatest, unit)


@routine
def contribute(values: CoreValues, target: int, row: int, n_elements: int, unit: int) -> None:
    """Values of a row in ``unit`` become contributions to the error of unit ``target``."""
    tensor, n_contributions = tensor_of(target, roles.PARTIAL), values.units[target]["n_contributions"]
    shift = values.tensors.write_unit[tensor] - unit
    greatest = limit_row(values.pieces, row, 0, n_elements, shift, CONTRIBUTION_LIMIT // n_contributions)
    note(values, tensor, greatest * n_contributions, unit)
