"""A command of the unified core, carried out on bytes.

Every pass takes a plane piece by piece: operands become integers, the pass computes, results become elements. A piece is read before
anything of it is written, so a result may take the place of an operand.
"""

from etasim.core.jit import kernel
from etasim.core.program import MAX_READS, VECTOR_KINDS
from etasim.functional import roles
from etasim.functional.elements import unpack
from etasim.functional.error_passes import add_error_sums, mask_error, normalize_error, sum_contributions, write_gradients
from etasim.functional.loss_pass import loss
from etasim.functional.normalization_passes import add_deviations, add_sums, normalize, write_statistics
from etasim.functional.operands import plane_of, read, unit_of, write
from etasim.functional.output_passes import activate, add_bias, add_operands
from etasim.functional.pooling_passes import gather_windows, scatter_windows
from etasim.functional.roles import role_of
from etasim.functional.update_pass import update

(
    CONFIGURE, NORM_SUM, NORM_SPREAD, NORM_APPLY, REQUANTISE, RELU, ADD, ERROR_ADD, ERROR_MASK, NORM_ERROR_SUMS, NORM_ERROR_APPLY, MAXPOOL,
    MAXPOOL_ERROR, AVGPOOL, AVGPOOL_ERROR, SHORTCUT, SHORTCUT_ERROR, LOSS, UPDATE,
) = range(len(VECTOR_KINDS))  # fmt: skip


@kernel
def _configure_labels(values, vector):
    """Bring the labels of the command's samples."""
    start, n_labels = vector["address"][0] * values.word_bytes, vector["n_elements"][0]
    bits = values.tensors.bits[vector["tensor"][0]]
    for first in range(0, n_labels, values.pieces.shape[1]):
        count = min(n_labels - first, values.pieces.shape[1])
        unpack(values.buffer, start, first, count, bits, True, values.pieces, 0)
        for i in range(count):
            values.registers.labels[vector["first_element"][0] + first + i] = values.pieces[0, i]


@kernel
def _configure(values, vector, plane):
    """Bring the statistics of a plane, or the parameters of its block."""
    read(values, vector, 0, plane, 0, 2 * values.lanes)
    for k in range(2):
        for lane in range(values.lanes):
            value = values.pieces[0, k * values.lanes + lane]
            if role_of(vector["tensor"][0]) == roles.STATISTIC:
                values.registers.statistics[plane.plane_row, k, lane] = value
            else:
                values.registers.parameters[plane.block_row, k, lane] = value


@kernel
def _forward(values, vector, kind, plane, phase, n_elements):
    """A forward pass on a piece that has been read."""
    if kind == NORM_SUM:
        add_sums(values, plane, phase, n_elements)
        return
    if kind == NORM_SPREAD:
        add_deviations(values, plane, phase, n_elements)
        return
    if kind == NORM_APPLY:
        unit = normalize(values, vector, plane, phase, n_elements)
    elif kind == REQUANTISE:
        unit = add_bias(values, vector, plane, phase, n_elements)
    else:
        unit = add_operands(values, vector, n_elements)
    activate(values, vector, kind == RELU or values.units[plane.unit]["has_relu"] != 0, n_elements, unit)


@kernel
def _backward(values, vector, kind, plane, phase, n_elements):
    """A pass on a piece of contributions to an error that has been read."""
    sum_contributions(values, vector, plane, n_elements)
    if kind == ERROR_MASK:
        mask_error(values, vector, plane, phase, n_elements)
    elif kind == NORM_ERROR_SUMS:
        add_error_sums(values, vector, plane, phase, n_elements)
    elif kind == NORM_ERROR_APPLY:
        normalize_error(values, vector, plane, phase, n_elements)


@kernel
def _elements(values, vector, kind, plane):
    """A pass that goes element by element, on a plane. Statistics and gradients are written when all their sums are there."""
    n_elements = vector["n_elements"][0]
    for first in range(0, n_elements, values.pieces.shape[1]):
        count = min(n_elements - first, values.pieces.shape[1])
        phase = (vector["first_element"][0] + first) % values.lanes
        for i in range(vector["n_reads"]):
            read(values, vector, i, plane, first, count)
        if kind == UPDATE:
            update(values, vector, count)
        elif ERROR_ADD <= kind <= NORM_ERROR_APPLY:
            _backward(values, vector, kind, plane, phase, count)
        else:
            _forward(values, vector, kind, plane, phase, count)
        for i in range(MAX_READS, MAX_READS + vector["n_writes"]):
            role = role_of(vector["tensor"][i])
            if role != roles.STATISTIC and role != roles.PARAMETER_GRADIENT:
                write(values, vector, i, plane, first, count)


@kernel
def _planes(values, vector, kind, unit):
    """A pass on all planes of a command."""
    for block in range(vector["n_blocks"]):
        for sample in range(1 if kind == UPDATE else vector["n_samples"]):
            plane = plane_of(values, vector, unit, block, sample)
            if kind == CONFIGURE:
                _configure(values, vector, plane)
            elif kind in (MAXPOOL, AVGPOOL, SHORTCUT):
                gather_windows(values, vector, plane, kind == MAXPOOL, kind == AVGPOOL)
            elif kind in (MAXPOOL_ERROR, AVGPOOL_ERROR, SHORTCUT_ERROR):
                scatter_windows(values, vector, plane, kind == AVGPOOL_ERROR)
            else:
                _elements(values, vector, kind, plane)
            if kind == NORM_APPLY:
                write_statistics(values, vector, plane)
        if kind in (ERROR_MASK, NORM_ERROR_SUMS):
            write_gradients(values, vector, plane_of(values, vector, unit, block, 0))


@kernel
def execute_pass(values, vectors, row):
    """Carry out command ``vectors[row]`` of the unified core on ``values`` (CoreValues)."""
    vector = vectors[row]
    kind = vector["kind"]
    if kind == CONFIGURE and role_of(vector["tensor"][0]) == roles.LABEL:
        _configure_labels(values, vector)
    elif kind == LOSS:
        loss(values, vector, unit_of(vector))
    else:
        _planes(values, vector, kind, unit_of(vector))
