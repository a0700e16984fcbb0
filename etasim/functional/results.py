"""Finished sums leave the psum memory: rounded to what the buffer holds, counted, summed for the normalization."""

from typing import NamedTuple

import numpy as np

from etasim.core.jit import kernel, routine
from etasim.functional.memories import PACKETS_UNDER_WAY
from etasim.functional.scalars import clipped_shift, exponent

RESULT = np.dtype([
    ("tensor", "i8"), ("sum_unit", "i8"), ("limit", "i8"), ("n_contributions", "i8"), ("bytes", "i8"), ("summed_unit", "i8"),
    ("group_outputs", "i8"), ("group_inputs", "i8"), ("first_channel", "i8"),
])  # fmt: skip
"""What an operation's sums become: elements of ``bytes`` of ``tensor``, at most ``limit``; a sum i stands for i * 2^``sum_unit``.

``n_contributions``: to the same error. ``summed_unit``: unit whose normalization needs the sums of the results, or -1. In WG of a
convolution with groups, a weight between output channel k and input channel c exists where k // ``group_outputs`` = c // ``group_inputs``;
``first_channel`` of the operation in `Results.channels`.
"""


class Results(NamedTuple):
    """``operations`` [operations] of RESULT; ``channels``: input channel of each lane of each block, -1 for none."""

    operations: np.ndarray
    channels: np.ndarray


@kernel
def see(tensors, tensor, magnitude, unit):
    """Raise the greatest exponent seen of ``tensor`` to that of a value."""
    if magnitude > 0:
        tensors.seen[tensor] = max(tensors.seen[tensor], exponent(magnitude, unit))


@kernel
def _exists(result, channels, drain, segment, lane, lanes):
    """Whether a weight gradient belongs to a weight."""
    if result["group_outputs"] == 0:
        return True
    within = segment % drain["block_segments"]
    column = drain["first_column"] + within // drain["column_segments"]
    output = (drain["first_block"] + segment // drain["block_segments"]) * lanes + segment % lanes
    channel = channels[result["first_channel"] + column * lanes + lane]
    return channel >= 0 and output // result["group_outputs"] == channel // result["group_inputs"]


@kernel
def _sums_row(core, result, drain, segment):
    """Row of the sums of the plane to which a segment belongs, -1 if nobody needs them."""
    if result["summed_unit"] < 0:
        return -1
    block = core.units[result["summed_unit"]]["first_block"] + drain["first_block"] + segment // drain["block_segments"]
    return block * core.batch + drain["first_sample"] + segment % drain["block_segments"] // drain["sample_segments"]


@routine
def drain(memories, core, results, drains, cluster, row, packet):
    """Round the segments of a packet of results and send it."""
    if packet == 0:
        memories.drained_first[row] = memories.n_drained[cluster]
    slot = memories.n_drained[cluster] % PACKETS_UNDER_WAY
    memories.n_drained[cluster] += 1
    command = drains[row]
    result, lanes = results.operations[command["operation"]], core.lanes
    tensor, psums = result["tensor"], memories.psums[cluster, command["psum_half"]]
    shift = core.tensors.write_unit[tensor] - result["sum_unit"]
    first = packet * command["segments_per_packet"]
    greatest, at = 0, 0
    for segment in range(first, min(first + command["segments_per_packet"], command["n_segments"])):
        sums_row = _sums_row(core, result, command, segment)
        for lane in range(lanes):
            value = psums[segment, lane] if _exists(result, results.channels, command, segment, lane, lanes) else 0
            greatest = max(greatest, abs(value))
            value = clipped_shift(value, shift, result["limit"])
            if sums_row >= 0:
                core.registers.sums[sums_row, lane] += value
            for k in range(result["bytes"]):
                memories.drained[cluster, slot, at] = value >> (8 * k) & 255
                at += 1
    see(core.tensors, tensor, greatest * result["n_contributions"], result["sum_unit"])
