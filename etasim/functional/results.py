"""Finished sums on their way from the psum memory to the error buffer: added in the network, rounded to what the buffer holds, counted,
summed for the normalization."""

from typing import NamedTuple

import numpy as np

from etasim.core.arrays import Integers, Numbers, Record, Records
from etasim.core.jit import kernel, routine
from etasim.functional.memories import PACKETS_UNDER_WAY, Memories
from etasim.functional.movement import copy
from etasim.functional.scalars import clipped_shift, exponent
from etasim.functional.tables import FILTER_SUMS, CoreValues, Tensors

RESULT = np.dtype([
    ("tensor", "i8"), ("sum_unit", "i8"), ("limit", "i8"), ("n_contributions", "i8"), ("bytes", "i8"), ("summed_unit", "i8"),
    ("group_outputs", "i8"), ("group_inputs", "i8"), ("first_channel", "i8"), ("centred_unit", "i8"),
])  # fmt: skip
"""What an operation's sums become: elements of ``bytes`` of ``tensor``, at most ``limit``; a sum i stands for i * 2^``sum_unit``.

``n_contributions``: to the same error. ``summed_unit``: unit whose normalization needs the sums of the results, or -1;
``centred_unit``: whose filters need the sums of their gradients, or -1. In WG of a convolution with groups, a weight between output channel
k and input channel c exists where k // ``group_outputs`` = c // ``group_inputs``; ``first_channel`` of the operation in `Results.channels`.
"""


class Results(NamedTuple):
    """``operations`` [operations] of RESULT; ``channels``: input channel of each lane of each block, -1 for none."""

    operations: np.ndarray
    channels: np.ndarray


@kernel
def see(tensors: Tensors, tensor: int, magnitude: int, unit: int) -> None:
    """Raise the greatest exponent seen of ``tensor`` to that of a value."""
    if magnitude > 0:
        tensors.seen[tensor] = max(tensors.seen[tensor], exponent(magnitude, unit))


@kernel
def _exists(result: Record, channels: Integers, drain: Record, segment: int, lane: int, lanes: int) -> bool:
    """Whether a weight gradient belongs to a weight."""
    if result["group_outputs"] == 0:
        return True
    within = segment % drain["block_segments"]
    column = drain["first_column"] + within // drain["column_segments"]
    output = (drain["first_block"] + segment // drain["block_segments"]) * lanes + segment % lanes
    channel = channels[result["first_channel"] + column * lanes + lane]
    return channel >= 0 and output // result["group_outputs"] == channel // result["group_inputs"]


@kernel
def _sums_row(core: CoreValues, result: Record, drain: Record, segment: int) -> int:
    """Row of the sums of the plane to which a segment belongs, -1 if nobody needs them."""
    if result["summed_unit"] < 0:
        return -1
    block = core.units[result["summed_unit"]]["first_block"] + drain["first_block"] + segment // drain["block_segments"]
    return block * core.batch + drain["first_sample"] + segment % drain["block_segments"] // drain["sample_segments"]


@kernel
def _put(target: Numbers, at: int, n_bytes: int, value: int) -> None:
    """Write an integer, its lowest byte first."""
    for k in range(n_bytes):
        target[at + k] = value >> (8 * k) & 255


@kernel
def _get(source: Numbers, at: int, n_bytes: int) -> int:
    """Read an integer with a sign."""
    value = int(source[at + n_bytes - 1])
    value -= (value >> 7) * 256
    for k in range(n_bytes - 2, -1, -1):
        value = value * 256 + int(source[at + k])
    return value


@kernel
def _rounded(core: CoreValues, result: Record, command: Record, segment: int, lane: int, value: int) -> int:
    """What a finished sum becomes in the buffer; its normalization adds it up."""
    value = clipped_shift(value, core.tensors.write_unit[result["tensor"]] - result["sum_unit"], result["limit"])
    sums_row = _sums_row(core, result, command, segment)
    if sums_row >= 0:
        core.registers.sums[sums_row, lane] += value
    if result["centred_unit"] >= 0:
        block = core.units[result["centred_unit"]]["first_block"] + command["first_block"] + segment // command["block_segments"]
        core.registers.running[block, FILTER_SUMS, segment % core.lanes] += value
    return value


@routine
def drain(memories: Memories, core: CoreValues, results: Results, drains: Records, cluster: int, row: int, packet: int) -> None:
    """Send the segments of a packet of results: rounded, or as they are if the network adds others to them."""
    if packet == 0:
        memories.drained_first[row] = memories.n_drained[cluster]
        memories.drained_by[row] = cluster
    slot = memories.n_drained[cluster] % PACKETS_UNDER_WAY
    memories.n_drained[cluster] += 1
    command = drains[row]
    result, lanes = results.operations[command["operation"]], core.lanes
    psums, is_final = memories.psums[cluster, command["psum_half"]], command["sum_bytes"] == 0
    n_bytes = result["bytes"] if is_final else command["sum_bytes"]
    first = packet * command["segments_per_packet"]
    greatest, at = 0, 0
    for segment in range(first, min(first + command["segments_per_packet"], command["n_segments"])):
        for lane in range(lanes):
            value = psums[segment, lane] if _exists(result, results.channels, command, segment, lane, lanes) else 0
            if is_final:
                greatest = max(greatest, abs(value))
                value = _rounded(core, result, command, segment, lane, value)
            _put(memories.drained[cluster, slot], at, n_bytes, value)
            at += n_bytes
    see(core.tensors, result["tensor"], greatest * result["n_contributions"], result["sum_unit"])


@kernel
def _place(memories: Memories, row: int, packet: int) -> tuple[int, int]:
    """Cluster and slot of the bytes of a packet of results under way."""
    return memories.drained_by[row], (memories.drained_first[row] + packet) % PACKETS_UNDER_WAY


@routine
def reduce(memories: Memories, drains: Records, row: int, packet: int, other_row: int, other_packet: int) -> None:
    """Add the sums of a packet to those of the one that took it in."""
    cluster, slot = _place(memories, row, packet)
    other_cluster, other_slot = _place(memories, other_row, other_packet)
    into, other, n_bytes = memories.drained[cluster, slot], memories.drained[other_cluster, other_slot], drains[row]["sum_bytes"]
    for at in range(0, drains[row]["segments_per_packet"] * memories.psums.shape[3] * n_bytes, n_bytes):
        _put(into, at, n_bytes, _get(into, at, n_bytes) + _get(other, at, n_bytes))


@routine
def collect(
    memories: Memories,
    core: CoreValues,
    results: Results,
    drains: Records,
    segment_offsets: Integers,
    row: int,
    packet: int,
    first: int,
    n_segments: int,
) -> None:
    """Write segments ``first ...`` of a packet of results into the error buffer; sums that were added on the way are rounded here."""
    command = drains[row]
    cluster, slot = _place(memories, row, packet)
    result, source, lanes = results.operations[command["operation"]], memories.drained[cluster, slot], core.lanes
    greatest, in_pass = 0, packet * command["segments_per_packet"]
    for i in range(first, first + n_segments):
        to = command["buffer_address"] + segment_offsets[command["segment_table"] + in_pass + i]
        if command["sum_bytes"] == 0:
            copy(source, i * lanes * result["bytes"], memories.error, to, lanes * result["bytes"])
        else:
            for lane in range(lanes):
                value = _get(source, (i * lanes + lane) * command["sum_bytes"], command["sum_bytes"])
                greatest = max(greatest, abs(value))
                value = _rounded(core, result, command, in_pass + i, lane, value)
                _put(memories.error, to + lane * result["bytes"], result["bytes"], value)
    see(core.tensors, result["tensor"], greatest * result["n_contributions"], result["sum_unit"])
