"""What the parts do in a cycle, in closed form: the same for all that plan or estimate. docs/models derives the terms."""

from collections import Counter
from fractions import Fraction
from functools import lru_cache
from itertools import chain
from math import inf
from typing import Any, NamedTuple

import numpy as np

from etasim.config import Architecture
from etasim.config.noc import MESSAGE_CLASSES, Noc
from etasim.memory.depths import WORDS_UNDER_WAY
from etasim.memory.dram import peak_bytes_per_clock
from etasim.memory.dram.streams import row_clocks_per_burst
from etasim.noc import class_widths_bits, flits_of
from etasim.noc.assembly import hop_vcs, policy_of, source_vcs, topology_of
from etasim.noc.model import packet_period_cycles, zero_load_latency_cycles
from etasim.noc.routing import path
from etasim.program.commands import N_DMA, STORE

QUEUE_CYCLES = 2
"""A command on its way to an engine, and its completion on its way back."""


STREAM, STATIONARY, PSUM = range(len(MESSAGE_CLASSES))
"""Message classes of the network; the first two are also the clusters' scratchpads."""


class Rates(NamedTuple):
    """Fixed latencies in core cycles, and what each part does in a cycle.

    ``loop_cycles``: from the last product of a chunk to the first of the chunk that takes its half of the scratchpads, beside the time to
    feed that: its completion, and the command that waits for it, to the feeder and on to the farthest cluster. ``packet_cycles`` [message
    class]: from packet to packet of a feeder, or of a port of the error buffer. ``vector_lanes``: elements of a cycle of the unified core.

    ``dram_cycles_per_byte``: bursts back to back, refresh included; ``engine_cycles_per_byte``: of each DMA engine by itself, with full
    bursts; ``word_burst_cycles``: of it a burst of which one word is wanted. ``meeting_flit_cycles``: from flit to flit on a link that both
    operands share, 0 if they meet nowhere.
    ``host_latency_cycles``, ``host_cycles_per_byte``: of the host's link, of which ``host_window`` pieces are asked for
    ahead; ``copy_cycles_per_word``: of a mover between two buffers. ``command_cycles``: a unified-core command beside its
    groups; ``n_cores`` that take tiles side by side; ``load_window``: loads of a DMA engine that share a latency.
    """

    load_cycles: float
    feed_cycles: float
    loop_cycles: float
    drain_cycles: float
    store_cycles: float
    command_cycles: float
    host_latency_cycles: float
    host_cycles_per_byte: float
    host_window: int
    copy_cycles_per_word: float
    dram_cycles_per_byte: float
    engine_cycles_per_byte: tuple[float, ...]
    word_burst_cycles: tuple[float, ...]
    n_cores: int
    load_window: int
    packet_cycles: tuple[float, ...]
    vector_lanes: float
    meeting_flit_cycles: float

    @property
    def is_all_numbers(self) -> bool:
        """Whether kernels see it (`etasim.core.layout`): arrays that differ in their buffers have the same rates."""
        return True

    @property
    def without_core(self) -> "Rates":
        """Without those of the unified core and of its loads, which an operation feels that something follows."""
        return self._replace(command_cycles=0.0, n_cores=1, load_window=1, vector_lanes=1.0)

    @property
    def of_clusters(self) -> "Rates":
        """Those of feeds, drains and packets alone."""
        return self.without_core._replace(
            load_cycles=0.0, store_cycles=0.0, host_latency_cycles=0.0, host_cycles_per_byte=0.0, host_window=1, copy_cycles_per_word=0.0,
            dram_cycles_per_byte=0.0, engine_cycles_per_byte=(0.0,) * N_DMA, word_burst_cycles=(0.0,) * N_DMA,
        )  # fmt: skip


def rates(architecture: Architecture) -> Rates:
    """Latencies of docs/models of the parts and the DRAM's service, from the configuration."""
    dram, buffers, unified, part = architecture.dram, architecture.buffers, architecture.unified_core, architecture.dram.part
    timing, clock = part.timing_clocks, architecture.core.clock_hz / part.clock_hz
    read_latency = 0 if buffers.ideal else buffers.error.read_latency
    access_clocks = 0 if dram.ideal else 2 + timing.RCD + timing.CL + timing.BL + dram.controller_latency
    answer = 0.0 if dram.ideal else float((access_clocks - timing.RCD) * clock)
    host = architecture.host
    routers = (architecture.noc.columns + architecture.noc.rows) // 2
    network = zero_load_latency_cycles(architecture.noc, routers, 1)
    farthest = zero_load_latency_cycles(architecture.noc, farthest_routers(architecture.noc), 1)
    pipeline = architecture.array.pipeline
    depth = pipeline.operand_read + pipeline.multiply + pipeline.accumulate + (architecture.array.lanes - 1).bit_length()
    return Rates(
        load_cycles=QUEUE_CYCLES + float(access_clocks * clock) + read_latency + 3,
        feed_cycles=float(QUEUE_CYCLES + read_latency + 2 + network),
        loop_cycles=float(2 * QUEUE_CYCLES + read_latency + 3 + farthest),
        drain_cycles=float(depth + 4 + network + read_latency),
        store_cycles=float(QUEUE_CYCLES + 4 + read_latency),
        command_cycles=float((0 if unified.ideal else unified.pipeline_depth) + 3 + 2 * read_latency),
        host_latency_cycles=float(host.latency_cycles(architecture.core.clock_hz)) if host else 0.0,
        host_cycles_per_byte=float(host.burst_cycles(1, architecture.core.clock_hz)) if host else 0.0,
        copy_cycles_per_word=_copy_cycles_per_word(architecture),
        host_window=host.commands_in_flight if host else 1,
        dram_cycles_per_byte=0.0 if dram.ideal else _dram_cycles_per_byte(architecture),
        engine_cycles_per_byte=dma_cycles_per_byte(architecture, answer),
        word_burst_cycles=dma_burst_cycles(architecture, answer, 1),
        n_cores=1 if unified.ideal else unified.n_cores,
        load_window=architecture.dma.commands_in_flight,
        packet_cycles=packet_cycles(architecture),
        vector_lanes=inf if unified.ideal else float(unified.lanes),
        meeting_flit_cycles=meeting_flit_cycles(architecture.noc, packet_flits(architecture)[STREAM]),
    )


def _copy_cycles_per_word(architecture: Architecture) -> float:
    """A word a cycle, of which so many are under way for an access to each of two buffers."""
    buffers = architecture.buffers
    if buffers.ideal or (buffers.second is None and not architecture.mapping.forwarding):
        return 0.0
    other = buffers.error if buffers.second is None else buffers.second
    return max(1.0, (other.read_latency + buffers.error.read_latency + 3) / WORDS_UNDER_WAY)


def _dram_cycles_per_byte(architecture: Architecture) -> float:
    """Core cycles that a byte holds the DRAM: bursts back to back on all data buses, while refresh takes RFC of every REFI clocks.

    Rows that are opened are counted as far as a long run waits for them (`row_clocks_per_burst`): with most address maps other banks hide
    an activation. Turns of the bus are not.
    """
    dram, part = architecture.dram, architecture.dram.part
    available = 1 - Fraction(part.timing_clocks.RFC, part.timing_clocks.REFI) if dram.refresh else Fraction(1)
    by_rows = dram.channels * part.organisation.burst_bytes / row_clocks_per_burst(dram, is_store=False)
    return float(Fraction(architecture.core.clock_hz) / part.clock_hz / min(peak_bytes_per_clock(dram), by_rows) / available)


def packet_flits(architecture: Architecture) -> tuple[int, ...]:
    """Flits of a word of a buffer [message class], on the links of its class."""
    widths_bits = class_widths_bits(architecture.noc, len(MESSAGE_CLASSES))
    return tuple(flits_of(8 * architecture.buffers.word_size_bytes, width_bits) for width_bits in widths_bits)


def packet_cycles(architecture: Architecture) -> tuple[float, ...]:
    """Core cycles from packet to packet of each message class: of a feeder that reads a word for each, and of a port of the error buffer,
    which several clusters share."""
    noc, buffers, flits = architecture.noc, architecture.buffers, packet_flits(architecture)
    if noc.ideal and buffers.ideal:
        return (0.0,) * len(flits)
    cycles = [0.0] * len(flits)
    for message_class, buffer in ((STREAM, buffers.activation), (STATIONARY, buffers.weight)):
        word = 1.0 if buffers.ideal else max(1.0, (buffer.read_latency + 2) / WORDS_UNDER_WAY)
        cycles[message_class] = float(max(word, packet_period_cycles(noc, flits[message_class])))
    cycles[PSUM] = 1.0 if noc.ideal else result_packet_cycles(noc, flits[PSUM])
    return tuple(cycles)


@lru_cache(maxsize=256)
def result_packet_cycles(noc: Noc, n_flits: int) -> float:
    """Cycles from packet to packet at every port of the error buffer, if each takes results of its clusters in turn. A link carries a flit
    a cycle, and packets that share a virtual channel of it follow each other as those of one source do; a link that two ports' clusters
    share is as slow for both as this says."""
    nodes, ports, n_classes = noc.placement.clusters, noc.placement.error, len(MESSAGE_CLASSES)
    topology, policy = topology_of(noc), policy_of(noc)
    on_link: Counter[Any] = Counter()
    on_channel: Counter[Any] = Counter()
    for p, port in enumerate(ports):
        own = nodes[p :: len(ports)]
        for node in own:
            way, share = path(topology, policy, node, port), Fraction(1, len(own))
            vcs = hop_vcs(topology, [way], *source_vcs(noc, topology, node, PSUM, n_classes))
            on_link.update(dict.fromkeys(way, share))
            on_channel.update({(link, int(vcs[link[0] * topology.n_ports + link[1]])): share for link in way})
    period = packet_period_cycles(noc, n_flits)
    return max(n_flits * float(max(on_link.values(), default=1)), period * float(max(on_channel.values(), default=1)))


def dma_burst_cycles(architecture: Architecture, access_cycles: float, n_words: int) -> tuple[float, ...]:
    """Core cycles a burst of ``n_words`` of each DMA engine by itself: one word a cycle for each DRAM channel, and a burst holds one of the
    engine's slots while its words are written or read one after the other and, in a load, while the DRAM answers (``access_cycles``); rows
    that it opens take longer to write."""
    dram, buffers, slots = architecture.dram, architecture.buffers, architecture.dma.outstanding_bursts
    clock = architecture.core.clock_hz / dram.part.clock_hz
    if buffers.ideal and dram.ideal:
        return (0.0,) * N_DMA
    cycles = []
    for engine, buffer in enumerate((buffers.activation, buffers.weight, buffers.error, buffers.error)):
        words = n_words * (1 if buffers.ideal else 1 + buffer.read_latency)
        held = words + 3 + (0.0 if engine == STORE or dram.ideal else access_cycles)
        rows = 0.0 if dram.ideal else float(row_clocks_per_burst(dram, engine == STORE) * clock)
        cycles.append(max(n_words / dram.channels, rows / dram.channels, held / slots))
    return tuple(cycles)


def dma_cycles_per_byte(architecture: Architecture, access_cycles: float) -> tuple[float, ...]:
    """Core cycles a byte of each DMA engine by itself, of full bursts."""
    burst_bytes = architecture.dram.part.organisation.burst_bytes
    n_words = -(-burst_bytes // architecture.buffers.word_size_bytes)
    return tuple(cycles / burst_bytes for cycles in dma_burst_cycles(architecture, access_cycles, n_words))


@lru_cache(maxsize=256)
def meeting_flit_cycles(noc: Noc, n_flits: int) -> float:
    """Cycles from flit to flit of both operands on a link that they share: one, or what a virtual channel takes that both are on, with
    packets of ``n_flits``; 0 where each has a network of its own."""
    both = {MESSAGE_CLASSES[STREAM], MESSAGE_CLASSES[STATIONARY]}
    if noc.ideal or not (noc.networks is None or any(both <= set(network.classes) for network in noc.networks)):
        return 0.0
    place, topology = noc.placement, topology_of(noc)
    stream, stationary = (
        source_vcs(noc, topology, node, kind, len(MESSAGE_CLASSES))
        for kind, node in ((STREAM, place.activation), (STATIONARY, place.weight))
    )
    return float(packet_period_cycles(noc, n_flits) / n_flits) if stream == stationary else 1.0


@lru_cache(maxsize=256)
def farthest_routers(noc: Noc) -> int:
    """Routers on the way of an operand to the cluster that is farthest from its feeder."""
    place, topology, policy = noc.placement, topology_of(noc), policy_of(noc)
    return max(len(path(topology, policy, source, node)) for source in (place.activation, place.weight) for node in place.clusters)


@lru_cache(maxsize=256)
def link_uses(noc: Noc, split: int, parts: int) -> np.ndarray:
    """Streamed and stationary routes that go over a link, int64 [links, 2], for the links that no other has more of both: the clusters are
    ``parts`` x ``split`` rows of columns; a streamed route feeds the rows of a column, a stationary route the columns of a row."""
    place, nodes = noc.placement, noc.placement.clusters
    topology, policy = topology_of(noc), policy_of(noc)
    columns = len(nodes) // (split * parts)
    uses: Counter[tuple[Any, int]] = Counter()

    def feed(kind: int, source: int, clusters: list[int]) -> None:
        ways = [path(topology, policy, source, nodes[c]) for c in clusters]
        if noc.multicast:
            uses.update((link, kind) for link in set(chain(*ways)))
        else:
            uses.update((link, kind) for link in chain(*ways))

    for part in range(parts):
        rows = [[(part * split + row) * columns + column for column in range(columns)] for row in range(split)]
        for row in rows:
            feed(STATIONARY, place.weight, row)
        for column in zip(*rows, strict=True):
            feed(STREAM, place.activation, list(column))
    pairs = {(uses[link, STREAM], uses[link, STATIONARY]) for link, _ in uses}
    most = sorted(p for p in pairs if not any(q != p and q[0] >= p[0] and q[1] >= p[1] for q in pairs))
    return np.array(most, np.int64).reshape(-1, 2)
