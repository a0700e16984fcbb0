"""What the parts do in a cycle, in closed form: the same for all that plan or estimate. docs/models derives the terms."""

from etasim.config import Architecture
from etasim.memory.depths import WORDS_UNDER_WAY
from etasim.noc.model import packet_period_cycles
from etasim.program.commands import N_DMA, STORE
from etasim.schedule.array import PSUM, STATIONARY, STREAM, ArraySizes


def packet_cycles(architecture: Architecture, array: ArraySizes) -> tuple[float, ...]:
    """Core cycles from packet to packet of each message class: of a feeder that reads a word for each, and of a port of the error buffer,
    which several clusters share."""
    noc, buffers, flits = architecture.noc, architecture.buffers, array.packet_flits
    if noc.ideal and buffers.ideal:
        return (0.0,) * len(flits)
    cycles = [0.0] * len(flits)
    for message_class, buffer in ((STREAM, buffers.activation), (STATIONARY, buffers.weight)):
        word = 1.0 if buffers.ideal else max(1.0, (buffer.read_latency + 2) / WORDS_UNDER_WAY)
        cycles[message_class] = max(word, packet_period_cycles(noc, flits[message_class]))
    sources = max(array.clusters // array.error_ports, 1)
    cycles[PSUM] = 1.0 if noc.ideal else max(float(flits[PSUM]), packet_period_cycles(noc, flits[PSUM]) / sources)
    return tuple(cycles)


def dma_cycles_per_byte(architecture: Architecture, access_cycles: float) -> tuple[float, ...]:
    """Core cycles a byte of each DMA engine by itself: one word a cycle for each DRAM channel, and a burst holds one of the engine's slots
    while its words are written or read one after the other and, in a load, while the DRAM answers (``access_cycles``)."""
    dram, buffers, slots = architecture.dram, architecture.buffers, architecture.dma.outstanding_bursts
    burst_bytes = dram.part.organisation.burst_bytes
    n_words = -(-burst_bytes // buffers.word_size_bytes)
    if buffers.ideal and dram.ideal:
        return (0.0,) * N_DMA
    cycles = []
    for engine, buffer in enumerate((buffers.activation, buffers.weight, buffers.error, buffers.error)):
        words = n_words * (1 if buffers.ideal else 1 + buffer.read_latency)
        held = words + 3 + (0.0 if engine == STORE or dram.ideal else access_cycles)
        cycles.append(max(n_words / dram.channels, held / slots) / burst_bytes)
    return tuple(cycles)
