"""Laws of work: each operation kept every engine as busy as its commands say, moved the words that they touch, at rates that parts have."""

from collections.abc import Iterator

import numpy as np

from etasim.machine.elaborate import Machine
from etasim.machine.laws.compare import at_least, same
from etasim.machine.laws.said import Said
from etasim.machine.parts import buffers_of
from etasim.mapping import Mapping
from etasim.memory.buffer import PORTS
from etasim.program.commands import FEED_STREAM, STORE, engines_of


def sweeps(machine: Machine, mapping: Mapping, said: Said) -> Iterator[str]:
    """Busy and conflict cycles are those of the program's sweeps; they hold the program's products, and these all that the layer has."""
    counters, a = machine.states.clusters.counters, machine.architecture.array
    busy, conflicts = counters["busy_cycles"], counters["gather_conflict_cycles"]
    yield from same("busy + conflict cycles, sweeps of the program [operation, cluster]", busy + conflicts, said["sweep_cycles"])
    yield from same("conflict cycles, of the program [operation, cluster]", conflicts, said["conflict_cycles"])
    rate = a.pes_per_cluster * a.columns * a.lanes
    yield from at_least("MACs that busy cycles hold, of the program [operation, cluster]", busy * rate, said["products"])
    of_layer = np.array([operation.products for operation in mapping.operations])
    yield from at_least("MACs of the program, of the layer without padding [operation]", said["products"].sum(axis=1), of_layer)


def passes(machine: Machine, said: Said) -> Iterator[str]:
    """Each cluster began, ended and drained the passes of the program, and received the words that its chunks take."""
    state, instant = machine.states.clusters, machine.specs.controller.instant[engines_of(machine.program).drains]
    expected = said["passes"] * np.column_stack([np.ones((len(instant), 2), np.int64), 1 - instant])
    counted = state.passes.view(np.int64).reshape(expected.shape)
    yield from same("passes begun, computed, drained, of the program [cluster, stage]", counted, expected)
    yield from at_least("words beyond those that a sweep needs when it begins [cluster, scratchpad]", state.spare, np.array(0))
    yield from same("words arrived, of the program's chunks [cluster, scratchpad]", state.arrived, said["words"])


def unified(machine: Machine, said: Said) -> Iterator[str]:
    """Each unified core did the program's groups, and moved the words of its operands and results."""
    if machine.specs.controller.instant[engines_of(machine.program).vectors[0]]:
        return
    for name in ("busy_cycles", "commands", "read_words", "written_words"):
        counted = machine.states.unified.counters[name]
        yield from same(f"unified core {name}, of the program [operation, core]", counted, said[f"unified_{name}"])


def movers(machine: Machine, said: Said) -> Iterator[str]:
    """DMA engines, feeders, drains and collectors did the program's commands, words and packets, operation by operation."""
    s, instant, engines = machine.states, machine.specs.controller.instant, engines_of(machine.program)
    if not instant[STORE]:
        for i in range(len(engines.dma)):
            words = said["dma_words"][:, i]
            yield from same(f"DMA engine {i}: words, of the program [operation]", s.dma.buffer_words[:, i], words)
        n_commands = said["commands"][list(engines.dma)]
        yield from same("DMA commands, of the program [engine]", s.dma.engine_counters["commands"], n_commands)
        yield from same("DMA bursts, of the program [engine]", s.dma.engine_counters["bursts"], said["dma_bursts"])
    if not instant[engines.moves].any():
        words = said["moved"]
        yield from same("movers: words, of the program [operation, engine]", s.movers.moved, words)
        yield from same("movers: words, of all operations [engine]", s.movers.counters["words"], words.sum(axis=0))
        yield from same("movers: commands, of the program [engine]", s.movers.counters["commands"], said["commands"][engines.moves])
    if not instant[FEED_STREAM]:
        for stream in (0, 1):
            packets = said["fed"][:, stream]
            yield from same(f"feeder {stream}: packets, of the program [operation]", s.feeders.counters["packets"][:, stream], packets)
    if not instant[engines.drains[0]]:
        yield from same("psum packets, of the program [operation, cluster]", s.clusters.links["psum_packets"], said["psum_packets"])
        for name, collected in (("packets", "collected_packets"), ("written_words", "collected_words")):
            counted = s.collectors.counters[name].sum(axis=1)
            yield from same(f"collectors {name}, of the program [operation]", counted, said[collected])


def banks(machine: Machine, said: Said, total_cycles: int) -> Iterator[str]:
    """Each bank of each buffer moved the words that the program's addresses put there, as fast as its ports allow."""
    specs, words = machine.specs, machine.states.buffers.words
    for b, (name, buffer) in enumerate(buffers_of(machine.architecture).items()):
        counted = words[b, : specs.buffers.n_banks[b]].T
        if not specs.controller.instant.any():
            yield from same(f"{name} buffer: words of a bank, of the program [read or written, bank]", counted, said[f"banks.{b}"])
        if not specs.buffers.ideal:
            ports = np.array(PORTS[buffer.ports])
            most = machine.states.buffers.most[b, : specs.buffers.n_banks[b]]
            yield from at_least(f"{name} buffer: ports, words of a bank in a cycle [bank, read, written or any]", ports + 0 * most, most)
            limits = total_cycles * specs.buffers.ports[b][:, None] + 0 * counted[:1]
            what = f"{name} buffer: words that ports allow, of a bank [read, written or any, bank]"
            yield from at_least(what, limits, np.vstack([counted, counted.sum(axis=0)]))
    for name, counter in (("read_words", 0), ("written_words", 1)):
        yield from same(f"buffers: {name}, of all banks [buffer]", machine.states.buffers.counters[name], words[:, :, counter].sum(axis=1))


def rates(machine: Machine, said: Said, total_cycles: int) -> Iterator[str]:
    """No part did more than one thing a cycle where it can do only one: the lower bound of each resource on the total."""
    s, specs, bounds = machine.states, machine.specs, said["cluster_cycles"]
    yield from at_least("total cycles, cycles of a cluster's sweeps [cluster]", np.full(len(bounds), total_cycles), bounds)
    if not specs.unified.instant:
        groups = s.unified.counters["busy_cycles"].sum(axis=0)
        yield from at_least("total cycles, groups of a unified core [core]", np.full(len(groups), total_cycles), groups)
    if not specs.noc.ideal:
        yield from at_least("total cycles, flits on a link [link]", np.full(len(s.noc.links), total_cycles), s.noc.link_flits.sum(axis=1))
    yield from at_least("total cycles, end of the last command", np.array(total_cycles), s.controller.times[:, 1].max(initial=-1) + 1)

