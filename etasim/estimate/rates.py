"""What the parts do in a cycle, in closed form: the same for all that plan or estimate. docs/models derives the terms."""

from fractions import Fraction
from typing import NamedTuple

from etasim.config import Architecture
from etasim.memory.depths import WORDS_UNDER_WAY
from etasim.memory.dram import peak_bytes_per_clock
from etasim.noc.model import packet_period_cycles, zero_load_latency_cycles
from etasim.program.commands import N_DMA, STORE
from etasim.schedule.array import PSUM, STATIONARY, STREAM, ArraySizes

QUEUE_CYCLES = 2
"""A command on its way to an engine, and its completion on its way back."""


class Rates(NamedTuple):
    """Fixed latencies in core cycles, and the DRAM.

    ``dram_cycles_per_byte``: bursts back to back, refresh included; ``engine_cycles_per_byte``: of each DMA engine by itself.
    ``host_latency_cycles``, ``host_cycles_per_byte``: of the host's link, of which ``host_window`` pieces are asked for
    ahead; ``copy_cycles_per_word``: of a mover out of the second level, or into it. ``command_cycles``: a unified-core command beside its
    groups; ``n_cores`` that take tiles side by side.
    """

    load_cycles: float
    feed_cycles: float
    drain_cycles: float
    store_cycles: float
    command_cycles: float
    host_latency_cycles: float
    host_cycles_per_byte: float
    host_window: int
    copy_cycles_per_word: float
    dram_cycles_per_byte: float
    engine_cycles_per_byte: tuple[float, ...]
    n_cores: int


def rates(architecture: Architecture) -> Rates:
    """Latencies of docs/models of the parts and the DRAM's service, from the configuration."""
    dram, buffers, unified, part = architecture.dram, architecture.buffers, architecture.unified_core, architecture.dram.part
    timing, clock = part.timing_clocks, architecture.core.clock_hz / part.clock_hz
    read_latency = 0 if buffers.ideal else buffers.error.read_latency
    access_clocks = 0 if dram.ideal else 2 + timing.RCD + timing.CL + timing.BL + dram.controller_latency
    host = architecture.host
    routers = (architecture.noc.columns + architecture.noc.rows) // 2
    network = zero_load_latency_cycles(architecture.noc, routers, 1)
    pipeline = architecture.array.pipeline
    depth = pipeline.operand_read + pipeline.multiply + pipeline.accumulate + (architecture.array.lanes - 1).bit_length()
    return Rates(
        load_cycles=QUEUE_CYCLES + float(access_clocks * clock) + read_latency + 3,
        feed_cycles=QUEUE_CYCLES + read_latency + 2 + network,
        drain_cycles=depth + 4 + network + read_latency,
        store_cycles=QUEUE_CYCLES + 4 + read_latency,
        command_cycles=(0 if unified.ideal else unified.pipeline_depth) + 3 + 2 * read_latency,
        host_latency_cycles=float(host.latency_cycles(architecture.core.clock_hz)) if host else 0.0,
        host_cycles_per_byte=float(host.burst_cycles(1, architecture.core.clock_hz)) if host else 0.0,
        copy_cycles_per_word=_copy_cycles_per_word(architecture),
        host_window=host.commands_in_flight if host else 1,
        dram_cycles_per_byte=0.0 if dram.ideal else _dram_cycles_per_byte(architecture),
        engine_cycles_per_byte=dma_cycles_per_byte(architecture, 0.0 if dram.ideal else float((access_clocks - timing.RCD) * clock)),
        n_cores=unified.n_cores,
    )


def _copy_cycles_per_word(architecture: Architecture) -> float:
    """A word a cycle, of which so many are under way for an access to each of two buffers."""
    buffers = architecture.buffers
    if buffers.ideal or buffers.second is None:
        return 0.0
    return max(1.0, (buffers.second.read_latency + buffers.error.read_latency + 3) / WORDS_UNDER_WAY)


def _dram_cycles_per_byte(architecture: Architecture) -> float:
    """Core cycles that a byte holds the DRAM: bursts back to back on all data buses, while refresh takes RFC of every REFI clocks.

    Rows that are opened and turns of the bus are not counted: tiles read and write long runs, and other banks hide an activation.
    """
    dram, part = architecture.dram, architecture.dram.part
    available = 1 - Fraction(part.timing_clocks.RFC, part.timing_clocks.REFI) if dram.refresh else Fraction(1)
    return float(Fraction(architecture.core.clock_hz) / part.clock_hz / peak_bytes_per_clock(dram) / available)


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
