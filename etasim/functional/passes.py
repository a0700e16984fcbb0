"""A command of the unified core, carried out on bytes.

Every pass takes a plane piece by piece: operands become integers, the pass computes, results become elements. A piece is read before
anything of it is written, so a result may take the place of an operand.
"""

from etasim.core.jit import kernel
from etasim.functional.elements import unpack
from etasim.functional.error_passes import add_error_sums, mask_error, normalize_error, prepare, sum_contributions, write_gradients
from etasim.functional.loss_pass import loss
from etasim.functional.normalization_passes import add_deviations, add_sums, average, normalize, write_statistics
from etasim.functional.operands import plane_of, read, unit_of, write
from etasim.functional.output_passes import activate, add_operands
from etasim.functional.pooling_passes import pass_windows
from etasim.functional.rows import to_lanes
from etasim.functional.update_pass import update
from etasim.program import roles
from etasim.program.commands import MAX_READS, VECTOR_KINDS
from etasim.program.roles import role_of

(
    CONFIGURE, NORM_SUM, NORM_SPREAD, NORM_APPLY, REQUANTISE, RELU, ADD, ERROR_ADD, ERROR_MASK, NORM_ERROR_SUMS, NORM_ERROR_APPLY, MAXPOOL,
    MAXPOOL_ERROR, AVGPOOL, AVGPOOL_ERROR, SHORTCUT, SHORTCUT_ERROR, LOSS, UPDATE,
) = range(len(VECTOR_KINDS))  # fmt: skip


@kernel
def _configure_labels(values, vector):
    """Bring the labels."""
    pieces, bits, n_labels = values.pieces, values.tensors.bits[vector["tensor"][0]], vector["n_elements"][0]
    for first in range(0, n_labels, pieces.shape[1]):
        count = min(n_labels - first, pieces.shape[1])
        unpack(values.buffer, vector["address"][0] * values.word_bytes, first, count, bits, True, pieces, 0)
        for i in range(count):
            values.registers.labels[vector["first_element"][0] + first + i] = pieces[0, i]


@kernel
def _configure(values, vector, plane):
    """Bring the statistics of a plane, or the parameters of a block."""
    read(values, vector, 0, plane, 0, 2 * values.lanes)
    if role_of(vector["tensor"][0]) == roles.STATISTIC:
        to_lanes(values.pieces, 0, values.registers.statistics[plane.plane_row], values.lanes)
    else:
        to_lanes(values.pieces, 0, values.registers.parameters[plane.block_row], values.lanes)


@kernel
def _pass_elements(values, vector, kind, plane):
    """A pass that goes element by element, on a plane."""
    shift = 0
    if kind in (NORM_SPREAD, NORM_APPLY):
        average(values, plane)
    elif kind in (NORM_ERROR_SUMS, NORM_ERROR_APPLY):
        shift = prepare(values, plane, kind == NORM_ERROR_APPLY)
    n_elements, unit = vector["n_elements"][0], values.units[plane.unit]
    for first in range(0, n_elements, values.pieces.shape[1]):
        count, phase = min(n_elements - first, values.pieces.shape[1]), (vector["first_element"][0] + first) % values.lanes
        for i in range(vector["n_reads"]):
            read(values, vector, i, plane, first, count)
        if kind == UPDATE:
            update(values, vector, count)
        elif kind == NORM_SUM:
            add_sums(values, plane, phase, count)
        elif kind == NORM_SPREAD:
            add_deviations(values.registers.deviations, plane.plane_row, values.pieces, values.terms, phase, count, values.lanes)
        elif kind < ERROR_ADD:
            if kind == NORM_APPLY:
                result_unit = normalize(values, vector, plane, phase, count)
            else:
                result_unit = add_operands(values, vector, plane, phase, count, kind == REQUANTISE and unit["has_bias"] != 0)
            activate(values, vector, kind == RELU or unit["has_relu"] != 0, count, result_unit)
        else:
            sum_contributions(values, vector, plane, count)
            if kind == ERROR_MASK:
                mask_error(values, vector, plane, phase, count)
            elif kind == NORM_ERROR_SUMS:
                add_error_sums(values, vector, plane, phase, count)
            elif kind == NORM_ERROR_APPLY:
                normalize_error(values, vector, plane, shift, phase, count)
        for i in range(MAX_READS, MAX_READS + vector["n_writes"]):
            role = role_of(vector["tensor"][i])
            if role not in (roles.STATISTIC, roles.PARAMETER_GRADIENT):
                write(values, vector, i, i, plane, first, count)


@kernel
def execute_pass(values, vectors, row):
    """Carry out command ``vectors[row]`` of the unified core on ``values`` (CoreValues)."""
    vector, kind = vectors[row], vectors[row]["kind"]
    unit = unit_of(vector)
    if kind == LOSS:
        loss(values, vector, unit)
        return
    if kind == CONFIGURE and role_of(vector["tensor"][0]) == roles.LABEL:
        _configure_labels(values, vector)
        return
    for block in range(vector["n_blocks"]):
        for sample in range(1 if kind == UPDATE else vector["n_samples"]):
            plane = plane_of(values, vector, unit, block, sample)
            if kind == CONFIGURE:
                _configure(values, vector, plane)
            elif kind >= MAXPOOL and kind != UPDATE:
                is_backward = kind in (MAXPOOL_ERROR, AVGPOOL_ERROR, SHORTCUT_ERROR)
                pass_windows(values, vector, plane, is_backward, kind == MAXPOOL, kind in (AVGPOOL, AVGPOOL_ERROR))
            else:
                _pass_elements(values, vector, kind, plane)
            if kind == NORM_APPLY:
                write_statistics(values, vector, plane)
        if kind in (ERROR_MASK, NORM_ERROR_SUMS):
            write_gradients(values, vector, plane_of(values, vector, unit, block, 0))
