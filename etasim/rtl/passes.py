"""Passes of the unified core as `unified.v` knows them: what is streamed, and the constants of its arithmetic."""

from typing import NamedTuple

import numpy as np

from etasim.functional.activations import number_of
from etasim.functional.error_passes import error_unit
from etasim.functional.normalization_passes import NORMALIZED_BITS, sums_operand
from etasim.functional.operands import ABSENT, CONTRIBUTION_LIMIT, operand, result, unit_of
from etasim.functional.scalars import common_unit, reciprocal
from etasim.functional.tables import CoreValues
from etasim.functional.update_pass import MOMENTUM_BITS
from etasim.ops.passes import all_passes
from etasim.program import roles
from etasim.program.commands import MAX_READS, MAX_WRITES, OPERANDS
from etasim.program.roles import role_of, tensor_of

FIELDS = 104
(
    NOTHING, STATISTICS, PARAMETERS, ADD, SUM, SPREAD, APPLY, ERROR_ADD, ERROR_MASK, ERROR_SUMS, ERROR_APPLY, UPDATE, GREATEST,
    GREATEST_ERROR, MEANS, MEANS_ERROR,
) = range(16)  # fmt: skip
KINDS = {
    "add_operands": ADD, "norm_sum": SUM, "norm_spread": SPREAD, "norm_apply": APPLY, "error_add": ERROR_ADD, "error_mask": ERROR_MASK,
    "norm_error_sums": ERROR_SUMS, "norm_error_apply": ERROR_APPLY, "update": UPDATE,
}  # fmt: skip
WINDOWS = {"greatest_of_windows": GREATEST, "means_of_windows": MEANS}
BLOCK_WISE = roles.WEIGHT
"""From this role on a tensor has one run for each block."""

# Places of fields (`unified.v`).
_WORDS, _ADDRESS, _ELEMENTS, _PHASE, _SAMPLES = 3, 10, 17, 18, 19
_BASE, _BITS, _FORM, _RUN, _MAGNITUDE, _CLEARED = 20, 24, 28, 32, 36, 40
_OUT_BITS, _OUT_SEGMENTS, _OUT_MAGNITUDE, _OUT_RUN = 44, 47, 50, 55
_GROUP, _TABLE, _KIND, _DRAINED, _SUMS, _LIMIT, _ROLE, _SHIFT = 58, 59, 60, 61, 62, 63, 64, 68
_AUX, _AUX_SHIFT, _AUX_SHIFT_2, _RELU, _SIDE, _OUT_SHIFT, _FIRST_OUT, _FIRST_IN = 72, 73, 74, 75, 76, 77, 78, 79
_GEOMETRY, _BLOCK, _SAMPLE, _PIXELS, _OUT, _PLANES = 80, 92, 93, 94, 95, 96
UNSIGNED, SIGNED, CODE = range(3)
OPERAND_ROLES = {roles.ERROR: 1, roles.PARTIAL: 2, roles.MASK: 3, roles.PRE_NORMALIZATION: 4, roles.OUTPUT: 4}


class DescribedPass(NamedTuple):
    """Fields of a pass; ``result_bytes`` of each result."""

    fields: list[int]
    result_bytes: list[int]


def kind_of(vector: np.void) -> int:
    """Which arithmetic a pass is; NOTHING for one without values in `unified.v` (labels, loss)."""
    name = all_passes()[int(vector["kind"])].kernel.split(":")[1]
    if name in WINDOWS:
        return WINDOWS[name] + int(operand(vector, roles.ERROR) != ABSENT)
    if name == "configure":
        return {roles.STATISTIC: STATISTICS, roles.PARAMETER: PARAMETERS}.get(role_of(vector["tensor"][0]), NOTHING)
    return KINDS.get(name, NOTHING)


def pass_of(core: CoreValues, vector: np.void, base: list[int], drained: bool, sums: int) -> DescribedPass:
    """``base``: where the bytes of each operand begin; ``drained``: the sums of its planes came with the drains, from plane ``sums`` on."""
    fields, kind, tensors = [0] * FIELDS, kind_of(vector), core.tensors
    fields[:3] = [int(vector["n_groups"]), int(vector["n_reads"]), int(vector["n_writes"])]
    for i in range(OPERANDS):
        fields[_WORDS + i], fields[_ADDRESS + i] = int(vector["words"][i]), int(vector["address"][i])
    unit = int(unit_of(vector))
    main = int(result(vector, roles.OUTPUT if kind in (GREATEST, MEANS) else roles.PARTIAL)) if kind >= GREATEST else 0
    fields[_ELEMENTS], fields[_PHASE] = int(vector["n_elements"][main]), int(vector["first_element"][main]) % core.lanes
    fields[_SAMPLES], fields[_PLANES] = int(vector["n_samples"]), int(vector["n_blocks"] * vector["n_samples"])
    fields[_KIND], fields[_GROUP], fields[_TABLE] = kind, core.constants.group, int(len(core.constants.reciprocal_table) > 0)
    fields[_DRAINED], fields[_SUMS] = int(drained), sums
    fields[_BLOCK], fields[_SAMPLE] = int(core.units[unit]["first_block"] + vector["first_block"]), int(vector["first_sample"])
    fields[_PIXELS] = int(core.units[unit]["out_height"] * core.units[unit]["out_width"])
    for i in range(int(vector["n_reads"])):
        tensor = int(vector["tensor"][i])
        role, segments = role_of(tensor), int(tensors.segments[tensor])
        form = CODE if segments else UNSIGNED if role in (roles.MASK, roles.WINDOW) else SIGNED
        fields[_BASE + i], fields[_BITS + i], fields[_FORM + i] = base[i], int(tensors.bits[tensor]), form
        fields[_RUN + i], fields[_MAGNITUDE + i] = int(vector["n_elements"][i]), int(tensors.magnitude_bits[tensor])
        fields[_CLEARED + i] = int(role < roles.WEIGHT or role >= roles.PARAMETER)
        fields[_ROLE + i] = OPERAND_ROLES.get(role, 0)
    for i in range(int(vector["n_writes"])):
        tensor = int(vector["tensor"][MAX_READS + i])
        fields[_OUT_BITS + i], fields[_OUT_SEGMENTS + i] = int(tensors.bits[tensor]), int(tensors.segments[tensor])
        fields[_OUT_MAGNITUDE + i], fields[_OUT_RUN + i] = int(tensors.magnitude_bits[tensor]), int(vector["n_elements"][MAX_READS + i])
    fields[_AUX] = fields[_SIDE] = ABSENT
    _constants(core, vector, kind, unit, fields)
    return DescribedPass(fields, [_result_bytes(core, vector, i) for i in range(MAX_WRITES)])


def _result_bytes(core: CoreValues, vector: np.void, i: int) -> int:
    """Bytes of result ``i``, all runs."""
    if i >= vector["n_writes"]:
        return 0
    tensor = int(vector["tensor"][MAX_READS + i])
    runs = int(vector["n_blocks"]) * (1 if role_of(tensor) >= BLOCK_WISE else int(vector["n_samples"]))
    return runs * ((int(vector["n_elements"][MAX_READS + i]) * int(core.tensors.bits[tensor]) + 7) // 8)


def _place(vector: np.void, role: int) -> int:
    """Number of a result among the results, or ABSENT."""
    i = int(result(vector, role))
    return ABSENT if i == ABSENT else i - MAX_READS


def _constants(core: CoreValues, vector: np.void, kind: int, unit: int, fields: list[int]) -> None:
    read, write, tensors = core.tensors.read_unit, core.tensors.write_unit, vector["tensor"]
    parameter = int(read[tensor_of(unit, roles.PARAMETER)])
    if kind == ADD:
        _addition(core, vector, unit, fields)
    elif kind == APPLY:
        _output(core, vector, unit, fields, parameter - NORMALIZED_BITS)
        fields[_AUX] = _place(vector, roles.STATISTIC)
    elif kind in (ERROR_ADD, ERROR_MASK, ERROR_SUMS, ERROR_APPLY):
        partial = int(error_unit(core, unit))
        fields[_LIMIT] = CONTRIBUTION_LIMIT // int(core.units[unit]["n_contributions"])
        for i in range(int(vector["n_reads"])):
            fields[_SHIFT + i] = partial - int(read[tensors[i]])
        fields[_AUX] = _place(vector, roles.PARAMETER_GRADIENT)
        if fields[_AUX] != ABSENT:
            gradient = int(write[tensors[MAX_READS + fields[_AUX]]])
            fields[_AUX_SHIFT], fields[_AUX_SHIFT_2] = gradient - (partial - NORMALIZED_BITS), gradient - partial
        fields[_OUT] = max(_place(vector, roles.PARTIAL if kind == ERROR_ADD else roles.ERROR), 0)
        if kind == ERROR_MASK:
            fields[_OUT_SHIFT] = int(write[tensors[MAX_READS + fields[_OUT]]]) - partial
        if kind == ERROR_APPLY:
            scaled = parameter + partial + NORMALIZED_BITS
            fields[_OUT_SHIFT] = int(write[tensors[MAX_READS + fields[_OUT]]]) - scaled + int(read[tensors[sums_operand(vector)]])
    elif kind == UPDATE:
        _update(core, vector, fields)
    elif kind >= GREATEST:
        _windows(core, vector, kind, unit, fields)


def _output(core: CoreValues, vector: np.void, unit: int, fields: list[int], from_unit: int) -> None:
    """Activation, mask, code."""
    fields[_OUT], fields[_SIDE] = _place(vector, roles.OUTPUT), _place(vector, roles.MASK)
    fields[_RELU] = int(core.units[unit]["activation"] == number_of("relu"))
    fields[_OUT_SHIFT] = int(core.tensors.write_unit[vector["tensor"][MAX_READS + fields[_OUT]]]) - from_unit


def _addition(core: CoreValues, vector: np.void, unit: int, fields: list[int]) -> None:
    read = core.tensors.read_unit
    units = [int(read[vector["tensor"][i]]) for i in range(int(vector["n_reads"]))]
    bias, has_bias = int(read[tensor_of(unit, roles.PARAMETER)]), int(core.units[unit]["has_bias"] != 0)
    every = [*units, bias] if has_bias else units
    common = int(common_unit(min(every), max(every)))
    fields[_SHIFT : _SHIFT + len(units)] = [common - own for own in units]
    _output(core, vector, unit, fields, common)
    fields[_AUX_SHIFT], fields[_AUX_SHIFT_2] = has_bias, common - bias


def _update(core: CoreValues, vector: np.void, fields: list[int]) -> None:
    read, write, tensors, constants = core.tensors.read_unit, core.tensors.write_unit, vector["tensor"], core.constants
    of_weights = operand(vector, roles.WEIGHT_GRADIENT) != ABSENT
    of = (roles.WEIGHT_GRADIENT, roles.MASTER_WEIGHT, roles.MOMENTUM) if of_weights else (
        roles.PARAMETER_GRADIENT, roles.PARAMETER, roles.PARAMETER_MOMENTUM)  # fmt: skip
    gradient, master, momentum = (int(operand(vector, role)) for role in of)
    decays = of_weights and constants.decay[0] > 0
    momentum_unit, gradient_unit, master_unit = (int(read[tensors[i]]) for i in (momentum, gradient, master))
    momentum_unit -= MOMENTUM_BITS
    decay_unit = master_unit - int(constants.decay[1]) if decays else gradient_unit
    every = (momentum_unit, gradient_unit, decay_unit)
    unit = int(common_unit(min(every), max(every)))
    new_momentum, new_master, code = _place(vector, of[2]), _place(vector, of[1]), _place(vector, roles.WEIGHT)
    step_unit = int(write[tensors[MAX_READS + new_momentum]]) - int(constants.rate[1])
    second = int(common_unit(min(master_unit, step_unit), max(master_unit, step_unit)))
    fields[_GEOMETRY : _GEOMETRY + 12] = [
        momentum, gradient, master, int(constants.momentum), 1, int(constants.decay[0]) if decays else 0,
        unit - momentum_unit, unit - gradient_unit, unit - decay_unit, int(constants.rate[0]), second - master_unit, second - step_unit,
    ]  # fmt: skip
    fields[_OUT], fields[_SIDE], fields[_AUX] = new_momentum, new_master, code
    fields[_OUT_SHIFT] = int(write[tensors[MAX_READS + new_momentum]]) - unit
    fields[_AUX_SHIFT] = int(write[tensors[MAX_READS + new_master]]) - second
    if code != ABSENT:
        fields[_AUX_SHIFT_2] = int(write[tensors[MAX_READS + code]]) - int(write[tensors[MAX_READS + new_master]])


def _windows(core: CoreValues, vector: np.void, kind: int, unit: int, fields: list[int]) -> None:
    u, write = core.units[vector["unit"]], core.tensors.write_unit
    factor, shift = (1, 0) if kind in (GREATEST, GREATEST_ERROR) else reciprocal(int(u["kernel_height"] * u["kernel_width"]))
    source = int(operand(vector, roles.ERROR if kind in (GREATEST_ERROR, MEANS_ERROR) else roles.OUTPUT))
    source_unit = int(core.tensors.read_unit[vector["tensor"][source]]) - int(shift)
    assert source == 0, "the maps come first"
    names = [f"{what}_{axis}" for what in ("in", "out", "kernel", "stride", "pad") for axis in ("height", "width")]
    fields[_GEOMETRY : _GEOMETRY + 12] = [*(int(u[name]) for name in names), int(factor), int(vector["first_element"][1])]
    is_backward = kind in (GREATEST_ERROR, MEANS_ERROR)
    target = int(result(vector, roles.PARTIAL if is_backward else roles.OUTPUT))
    fields[_FIRST_OUT], fields[_FIRST_IN] = int(vector["first_element"][target]), int(vector["first_element"][0])
    fields[_SIDE] = _place(vector, roles.WINDOW)
    if is_backward:
        fields[_LIMIT] = CONTRIBUTION_LIMIT // int(core.units[unit]["n_contributions"])
        fields[_SHIFT] = int(write[tensor_of(unit, roles.PARTIAL)]) - source_unit
    else:
        fields[_OUT_SHIFT] = int(write[vector["tensor"][target]]) - source_unit
