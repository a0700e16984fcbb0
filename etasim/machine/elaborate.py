"""Elaboration: an architecture and a mapped iteration become tables, state and channels. The one file that knows every part."""

from collections.abc import Iterable
from fractions import Fraction
from typing import NamedTuple

import numpy as np

from etasim import noc
from etasim.config import Architecture
from etasim.core.channel import Channels, channels
from etasim.core.clock import Clocks, clocks
from etasim.machine import controller
from etasim.machine.ends import ends_of
from etasim.machine.loaded import Loaded
from etasim.machine.parts import buffers_of, port_counts
from etasim.mapping import InfeasibleError, Mapping
from etasim.memory import buffer, collector, dma, dram, feeder, host, mover
from etasim.memory.depths import WORDS_UNDER_WAY
from etasim.noc.spec import NocSpec, NocState
from etasim.pe import cluster, unified
from etasim.program.commands import (
    FEED_STATIONARY,
    FEED_STREAM,
    FILL,
    FIXED_ENGINES,
    MAX_READS,
    MAX_WRITES,
    MOVERS,
    N_DMA,
    PORTS,
    STORE,
    TENSOR_CLASSES,
    Engines,
    Port,
    Program,
    engines_of,
)
from etasim.program.durations import Least, least_of
from etasim.program.events import EventLog, event_log
from etasim.schedule.array import ArraySizes, array_of

REQUEST_DEPTH, PACKET_DEPTH = 4, 4
CHECKED_COMMANDS, MOST_CHECKED_COMMANDS = 100_000, 10_000_000
"""DRAM commands of each channel, and of all, that are kept for the timing checker."""

UNIFIED_FIFO_WORDS = 8  # beyond the results that are in the pipeline


class Specs(NamedTuple):
    """Immutable descriptions of all parts."""

    controller: controller.ControllerSpec
    dma: dma.DmaSpec
    dram: dram.DramSpec
    buffers: buffer.BufferSpec
    feeders: feeder.FeederSpec
    noc: NocSpec
    clusters: cluster.ClusterSpec
    collectors: collector.CollectorSpec
    unified: unified.UnifiedSpec
    host: host.HostSpec
    movers: mover.MoverSpec


class States(NamedTuple):
    """Mutable state of all parts; ``time`` = (core cycle, core cycle of the last progress)."""

    controller: controller.ControllerState
    dma: dma.DmaState
    dram: dram.DramState
    buffers: buffer.BufferState
    feeders: feeder.FeederState
    noc: NocState
    clusters: cluster.ClusterState
    collectors: collector.CollectorState
    unified: unified.UnifiedState
    host: host.HostState
    movers: mover.MoverState
    time: np.ndarray


class Links(NamedTuple):
    """The channels between the parts."""

    commands: Channels
    completions: Channels
    dram_requests: Channels
    dram_responses: Channels
    buffer_requests: Channels
    buffer_responses: Channels
    inject: Channels
    eject: Channels


class Machine(NamedTuple):
    """A machine ready to run, and what it was elaborated from. ``program``: all of it, or what is ``loaded`` of it now."""

    architecture: Architecture
    specs: Specs
    states: States
    links: Links
    log: EventLog
    program: Program
    clocks: Clocks
    loaded: Loaded | None = None

    @property
    def n_commands(self) -> int:
        """Commands of the whole program."""
        return int(self.specs.controller.start.max())

    def stretches(self) -> Iterable[Program]:
        """The program, or its windows one after the other."""
        return (self.program,) if self.loaded is None else self.loaded.windows

    def least(self) -> list[Least]:
        """What no run can do without, of each stretch."""
        return [least_of(self.program)] if self.loaded is None else self.loaded.windows.least

    def times_of(self, program: Program) -> np.ndarray:
        """Of the commands of a stretch when they were issued and completed: [command, (core cycle, core cycle)]."""
        times, start = self.states.controller.times, self.specs.controller.start
        if self.loaded is None:
            return times
        first, n = start[:-1] + program.before, np.diff(program.engine_start)
        return np.concatenate([times[a : a + more] for a, more in zip(first, n, strict=True)])


class Requesters(NamedTuple):
    """Numbers of the buffers' requesters: DMA ports [engine, DRAM channel], feeders, collectors, streams of unified cores [core, stream],
    movers [source or target, mover], and the numbers of these."""

    dma: np.ndarray
    feeders: np.ndarray
    collectors: np.ndarray
    unified: np.ndarray
    movers: np.ndarray
    mover_numbers: range

    def at(self, port: Port) -> np.ndarray:
        """Those of a part of `etasim.program.commands.PORTS` at its buffer; none, if the machine has no such part."""
        engines = dict(zip((*FIXED_ENGINES[:N_DMA], FILL), self.dma, strict=False))
        feeders = {FIXED_ENGINES[engine]: self.feeders[i : i + 1] for i, engine in enumerate((FEED_STREAM, FEED_STATIONARY))}
        streams = {"unified operands": self.unified[:, :MAX_READS].ravel(), "unified results": self.unified[:, MAX_READS:].ravel()}
        moving = {MOVERS[number].name: self.movers[int(port.writes), i : i + 1] for i, number in enumerate(self.mover_numbers)}
        return (engines | feeders | {"collectors": self.collectors} | streams | moving).get(port.part, self.dma[:0, 0])


def _requesters(architecture: Architecture, engines: Engines) -> Requesters:
    n_channels, n_cores, ports = architecture.dram.channels, architecture.unified_core.n_cores, port_counts(architecture)
    streams, n_collectors = n_cores * (MAX_READS + MAX_WRITES), ports["collectors"]
    counts = (N_DMA * n_channels, len(engines.feeds), n_collectors, streams, len(engines.fills) * n_channels, 2 * len(engines.moves))
    ends = np.cumsum(counts)
    dma, feeders, collectors, unified, fills, movers = (np.arange(b - n, b, dtype=np.int64) for n, b in zip(counts, ends, strict=True))
    dma = np.concatenate([dma, fills]).reshape(-1, n_channels)
    return Requesters(dma, feeders, collectors, unified.reshape(n_cores, -1), movers.reshape(2, -1), engines.movers)


def _buffer_spec(architecture: Architecture, requesters: Requesters) -> buffer.BufferSpec:
    """Who may ask which buffer: loads and the feeder of its operand; the error buffer serves everyone else, a second level its fill and the
    movers."""
    b, each = architecture.buffers, list(buffers_of(architecture).values())
    members = [np.concatenate([requesters.at(port) for port in PORTS if port.buffer == number]) for number in range(len(each))]
    return buffer.BufferSpec(
        first=np.cumsum([0, *(len(m) for m in members)]).astype(np.int64),
        members=np.concatenate(members),
        n_banks=np.array([x.banks for x in each], np.int64),
        ports=np.array([buffer.PORTS[x.ports] for x in each], np.int64),
        latency_cycles=np.array([1 if b.ideal else x.read_latency for x in each], np.int64),
        ideal=int(b.ideal),
    )


def instant_engines(architecture: Architecture, engines: Engines) -> np.ndarray:
    """Engines whose commands take no time because everything on their way is ideal."""
    a = architecture
    instant = np.zeros(engines.total, np.int64)
    if a.buffers.ideal:
        instant[list(engines.dma)] = a.dram.ideal
        instant[engines.moves] = 1
        instant[[FEED_STREAM, FEED_STATIONARY]] = a.noc.ideal
        instant[engines.drains] = a.noc.ideal
        instant[engines.vectors] = a.unified_core.ideal
    return instant


def _network(architecture: Architecture, mapping: Mapping) -> NocSpec:
    """The network with the mapping's routes. Raises InfeasibleError for routes or packets that it cannot carry."""
    try:
        return noc.build(architecture.noc, mapping.routes)
    except noc.NocError as error:
        raise InfeasibleError(f"noc: {error}") from error


def _specs(architecture: Architecture, mapping: Mapping, array: ArraySizes, ticks: Clocks) -> Specs:
    place, n_channels = architecture.noc.placement, architecture.dram.channels
    engines = engines_of(mapping.program)
    requesters, n_dma = _requesters(architecture, engines), len(engines.dma)
    is_store = np.zeros(n_dma, np.int64)
    is_store[STORE] = 1
    instant = instant_engines(architecture, engines)
    n_requesters = n_dma + len(engines.arrivals)
    dram_spec = dram.build(architecture.dram, ticks, n_requesters, log_capacity=min(CHECKED_COMMANDS, MOST_CHECKED_COMMANDS // n_channels))
    return Specs(
        controller=controller.ControllerSpec(instant, int(instant.sum()), mapping.program.engine_start),
        dma=dma.DmaSpec(
            engine=np.array(engines.dma), first_port=np.ascontiguousarray(requesters.dma[:, 0]), is_store=is_store,
            n_engines=n_dma, n_requesters=n_requesters, n_channels=n_channels,
            interleave_bits=dram_spec.interleave_bits, burst_bytes=dram_spec.burst_bytes, word_bytes=array.word_bytes,
            n_slots=architecture.dma.outstanding_bursts, window=architecture.dma.commands_in_flight, core_ticks=ticks.core_ticks,
        ),
        dram=dram_spec,
        buffers=_buffer_spec(architecture, requesters),
        feeders=feeder.FeederSpec(
            engine=np.array([FEED_STREAM, FEED_STATIONARY], np.int64), requester=requesters.feeders,
            node=np.array([place.activation, place.weight], np.int64), word_bytes=array.word_bytes, packet_bits=array.packet_bits,
            max_outstanding=WORDS_UNDER_WAY,
        ),
        noc=_network(architecture, mapping),
        clusters=cluster.ClusterSpec(np.array(place.clusters, np.int64), engines.computes.start, array.pipeline_cycles, array.packet_bits),
        collectors=collector.CollectorSpec(
            node=np.array(place.error, np.int64), requester=requesters.collectors,
            word_bytes=array.word_bytes, max_outstanding=WORDS_UNDER_WAY,
        ),
        unified=unified.UnifiedSpec(
            engine=np.array(engines.vectors), requester=requesters.unified, pipeline_depth=architecture.unified_core.pipeline_depth,
            fifo_words=UNIFIED_FIFO_WORDS + architecture.unified_core.pipeline_depth, instant=int(architecture.unified_core.ideal),
        ),
        host=_host_spec(architecture, engines, dram_spec, ticks),
        movers=mover.MoverSpec(
            number=np.array(engines.movers, np.int64), engine=np.array(engines.moves, np.int64), source=requesters.movers[0],
            target=requesters.movers[1], word_bytes=array.word_bytes, max_outstanding=WORDS_UNDER_WAY,
        ),
    )  # fmt: skip


def _host_spec(architecture: Architecture, engines: Engines, dram_spec: dram.DramSpec, ticks: Clocks) -> host.HostSpec:
    """The last requester of each DRAM channel, if there is a host."""
    link, clock_hz = architecture.host, architecture.core.clock_hz
    cycles = link.burst_cycles(dram_spec.burst_bytes, clock_hz) if link else Fraction(1)
    whole, rest = divmod(cycles.numerator, cycles.denominator)
    return host.HostSpec(
        engine=np.array(engines.arrivals, np.int64), requester=len(engines.dma), n_requesters=dram_spec.n_requesters,
        n_channels=dram_spec.n_channels, interleave_bits=dram_spec.interleave_bits, burst_bytes=dram_spec.burst_bytes,
        latency_cycles=link.latency_cycles(clock_hz) if link else 0, burst_cycles=whole, burst_rest=rest, burst_parts=cycles.denominator,
        window=link.commands_in_flight if link else 1, core_ticks=ticks.core_ticks,
    )  # fmt: skip


def _states(specs: Specs, n_engines: int, n_operations: int, n_commands: int) -> States:
    return States(
        controller=controller.init(n_engines, n_operations, n_commands),
        dma=dma.init(specs.dma, n_operations, len(TENSOR_CLASSES)),
        dram=dram.init(specs.dram),
        buffers=buffer.init(specs.buffers),
        feeders=feeder.init(specs.feeders, n_operations),
        noc=noc.init(specs.noc, noc.memo_words(specs.noc)),
        clusters=cluster.init(specs.clusters, n_operations),
        collectors=collector.init(specs.collectors, n_operations),
        unified=unified.init(specs.unified, n_operations),
        host=host.init(specs.host, n_operations, len(TENSOR_CLASSES)),
        movers=mover.init(specs.movers, n_operations),
        time=np.array([0, -1], np.int64),
    )


def elaborate(architecture: Architecture, mapping: Mapping, logged_events: int = 0) -> Machine:
    """The machine that runs ``mapping`` on ``architecture``, at cycle 0; it stops whenever it has logged about ``logged_events``. Raises
    ValueError for a program in windows that instant engines would run through, or whose events are logged, by their rows."""
    ticks = clocks(architecture.core.clock_hz, architecture.dram.part.clock_hz)
    specs = _specs(architecture, mapping, array_of(architecture), ticks)
    if mapping.windows is not None and (specs.controller.n_instant or logged_events):
        raise ValueError("events, and commands that take no time, need the whole program")
    n_engines = len(mapping.program.engine_start) - 1
    n_requesters = len(specs.buffers.members)
    n_nodes, n_dram = specs.noc.n_nodes, specs.dma.n_channels * specs.dma.n_requesters
    answers = max(specs.dma.n_slots, WORDS_UNDER_WAY, specs.unified.fifo_words) + 2
    ends = ends_of(specs, engines_of(mapping.program))
    links = Links(
        commands=channels(n_engines, architecture.controller.queue_depth, ends.commands),
        completions=channels(n_engines, REQUEST_DEPTH, ends.completions),
        dram_requests=channels(n_dram, REQUEST_DEPTH, ends.dram_requests, ticks.core_ticks),
        dram_responses=channels(n_dram, answers, ends.dram_responses, ticks.core_ticks),
        buffer_requests=channels(n_requesters, REQUEST_DEPTH, ends.buffer_requests),
        buffer_responses=channels(n_requesters, answers, ends.buffer_responses),
        inject=channels(n_nodes, PACKET_DEPTH, ends.inject),
        eject=channels(n_nodes, PACKET_DEPTH, ends.eject),
    )
    n_commands = int(mapping.program.engine_start[-1])
    loaded = None if mapping.windows is None else Loaded(mapping.windows)
    states = _states(specs, n_engines, len(mapping.operations), n_commands)
    booked = 3 * len(specs.clusters.node)
    in_a_cycle = n_requesters + booked + n_nodes * (PACKET_DEPTH + 1) + n_commands + len(states.noc.absorbed) + specs.host.n_channels
    log = event_log(logged_events, most_in_a_cycle=in_a_cycle)
    return Machine(architecture, specs, states, links, log, loaded.program if loaded else mapping.program, ticks, loaded)
