"""Bytes on the move: bursts between DRAM and the buffers, words from the buffers to the scratchpads."""

import numpy as np

from etasim.core.arrays import Integers, Numbers, Records
from etasim.core.jit import kernel, routine
from etasim.functional.memories import PACKETS_UNDER_WAY, Memories
from etasim.program.commands import ACTIVATION, BUFFER_OF, ERROR, FEED_DIMENSIONS, MOVERS, N_DMA, SECOND, WEIGHT

BUFFER_OF_DMA = np.array([*(BUFFER_OF[engine] for engine in range(N_DMA)), SECOND], np.int64)
SOURCE_OF_MOVER, TARGET_OF_MOVER = (np.array([getattr(mover, end) for mover in MOVERS], np.int64) for end in ("source", "target"))
ROW, WORD, RUN, INDEX = 0, 1, 2, 3  # fields of a feeder's cursor


@routine
def copy(source: Numbers, start: int, target: Numbers, to: int, n_bytes: int) -> None:
    """``n_bytes`` of ``source`` from ``start`` to ``target`` from ``to``."""
    for i in range(n_bytes):
        target[to + i] = source[start + i]


@routine
def load(memories: Memories, engine: int, dram_address: int, buffer_address: int, n_bytes: int) -> None:
    """A burst from DRAM arrives in the buffer of DMA engine ``engine``, as the DMA numbers them; feeder f reads buffer f."""
    buffer = BUFFER_OF_DMA[engine]
    if buffer == WEIGHT:
        copy(memories.image, dram_address, memories.weight, buffer_address, n_bytes)
    elif buffer == ERROR:
        copy(memories.image, dram_address, memories.error, buffer_address, n_bytes)
    elif buffer == SECOND:
        copy(memories.image, dram_address, memories.second, buffer_address, n_bytes)
    else:
        copy(memories.image, dram_address, memories.activation, buffer_address, n_bytes)


@routine
def move(memories: Memories, mover: int, source: int, target: int, n_bytes: int) -> None:
    """A mover has copied bytes from its one buffer to its other one."""
    buffer, held = TARGET_OF_MOVER[mover], memories.second if SOURCE_OF_MOVER[mover] == SECOND else memories.error
    if buffer == SECOND:
        copy(held, source, memories.second, target, n_bytes)
    elif buffer == ACTIVATION:
        copy(held, source, memories.activation, target, n_bytes)
    elif buffer == WEIGHT:
        copy(held, source, memories.weight, target, n_bytes)
    else:
        copy(held, source, memories.error, target, n_bytes)


@routine
def store(memories: Memories, dram_address: int, buffer_address: int, n_bytes: int) -> None:
    """A burst of the error buffer goes to DRAM."""
    copy(memories.error, buffer_address, memories.image, dram_address, n_bytes)


@routine
def arrive(memories: Memories, dram_address: int, n_bytes: int) -> None:
    """A burst of the host is in DRAM."""
    copy(memories.host, dram_address, memories.image, dram_address, n_bytes)


@kernel
def _run_start(feeds: Records, row: int, cursor: Integers) -> int:
    """First byte, in its buffer, of the run at which a cursor stands."""
    start = feeds[row]["buffer_address"]
    for d in range(FEED_DIMENSIONS):
        start += cursor[INDEX + d] * feeds[row]["strides"][d]
    return start


@kernel
def _next_run(feeds: Records, row: int, cursor: Integers) -> None:
    """Move a cursor to the next run."""
    cursor[WORD] = 0
    cursor[RUN] += 1
    for d in range(FEED_DIMENSIONS - 1, -1, -1):
        cursor[INDEX + d] += 1
        if cursor[INDEX + d] < feeds[row]["counts"][d]:
            return
        cursor[INDEX + d] = 0
    cursor[ROW] = 0


@routine
def send(memories: Memories, feeds: Records, feeder: int, row: int, packet: int) -> None:
    """A feeder reads its next word and sends the bytes of the run that lie in it, with their place in the scratchpads."""
    cursor = memories.cursor[feeder]
    if cursor[ROW] != row + 1:
        cursor[:] = 0
        cursor[ROW] = row + 1
    word_bytes = memories.sent.shape[2]
    start = _run_start(feeds, row, cursor)
    end = start + feeds[row]["run_bytes"]
    word = start // word_bytes + cursor[WORD]
    first, last = max(start, word * word_bytes), min(end, (word + 1) * word_bytes)
    slot = packet % PACKETS_UNDER_WAY
    if feeder == WEIGHT:
        copy(memories.weight, first, memories.sent[feeder, slot], 0, last - first)
    else:
        copy(memories.activation, first, memories.sent[feeder, slot], 0, last - first)
    memories.sent_to[feeder, slot, 0] = row
    memories.sent_to[feeder, slot, 1] = cursor[RUN] * feeds[row]["run_bytes"] + first - start
    memories.sent_to[feeder, slot, 2] = last - first
    cursor[WORD] += 1
    if last == end:
        _next_run(feeds, row, cursor)


@routine
def receive(memories: Memories, feeds: Records, cluster: int, feeder: int, packet: int) -> None:
    """A cluster writes the bytes of a packet into its scratchpad."""
    slot = packet % PACKETS_UNDER_WAY
    row = memories.sent_to[feeder, slot, 0]
    half = feeds[row]["halves"] >> cluster & 1
    copy(
        memories.sent[feeder, slot], 0, memories.scratchpads[cluster, feeder, half],
        memories.sent_to[feeder, slot, 1], memories.sent_to[feeder, slot, 2],
    )  # fmt: skip
