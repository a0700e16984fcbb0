"""What comes into the lanes before other passes: statistics of a plane, parameters of a block, labels."""

from etasim.core.arrays import Record
from etasim.core.jit import kernel
from etasim.functional.elements import unpack
from etasim.functional.operands import PlanePiece, read
from etasim.functional.rows import to_lanes
from etasim.functional.tables import FILTER_MEANS, RADIALS, SPREADS, CoreValues
from etasim.program import roles
from etasim.program.roles import role_of


@kernel
def configure(values: CoreValues, vector: Record, piece: PlanePiece) -> None:
    """Bring the operand."""
    role, plane = role_of(vector["tensor"][0]), piece.plane
    if role == roles.LABEL:
        _bring_labels(values, vector)
        return
    read(values, vector, 0, plane, 0, vector["n_elements"][0])
    if role in (roles.SPREAD, roles.RADIAL, roles.FILTER_MEAN):
        row = SPREADS if role == roles.SPREAD else RADIALS if role == roles.RADIAL else FILTER_MEANS
        for lane in range(values.lanes):
            values.registers.running[plane.block_row, row, lane] = values.pieces[0, lane]
    elif role == roles.STATISTIC:
        to_lanes(values.pieces, 0, values.registers.statistics[plane.plane_row], values.lanes)
    else:
        to_lanes(values.pieces, 0, values.registers.parameters[plane.block_row], values.lanes)


@kernel
def _bring_labels(values: CoreValues, vector: Record) -> None:
    pieces, bits, n_labels = values.pieces, values.tensors.bits[vector["tensor"][0]], vector["n_elements"][0]
    for first in range(0, n_labels, pieces.shape[1]):
        count = min(n_labels - first, pieces.shape[1])
        unpack(values.buffer, vector["address"][0] * values.word_bytes, first, count, bits, True, pieces, 0)
        for i in range(count):
            values.registers.labels[vector["first_element"][0] + first + i] = pieces[0, i]
