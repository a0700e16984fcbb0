"""Laws of time: no command starts before what it waits for, none takes less than its parts can do, in closed form without contention."""

from collections.abc import Iterable, Iterator
from functools import lru_cache

import numpy as np

from etasim.config.noc import Noc
from etasim.machine.elaborate import Machine
from etasim.machine.laws.compare import at_least, same
from etasim.machine.laws.said import Said, by_engine
from etasim.machine.runs import Touched
from etasim.machine.traffic import packet_flits
from etasim.noc.assembly import policy_of, topology_of
from etasim.noc.model import zero_load_latency_cycles
from etasim.noc.routing import path
from etasim.program.commands import (
    BUFFER_AT,
    FEED_STATIONARY,
    FEED_STREAM,
    MAX_READS,
    MOVERS,
    STORE,
    Program,
    dependencies_of,
    engines_of,
)
from etasim.program.durations import compute_cycles

QUEUE, COMPLETION, BANK, INTERFACE, SCRATCHPAD, COLLECTOR = 1, 1, 1, 1, 1, 1
"""Cycles of a message from one part to the next."""

PSUM = 2


def _times(machine: Machine, program: Program, engine: int, more: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Core cycles in which the commands of an engine in ``program``, and ``more`` before these, were issued, and completed."""
    first = program.before[engine] - min(more, program.before[engine])
    end = program.before[engine] + program.engine_start[engine + 1] - program.engine_start[engine]
    own = machine.states.controller.times[machine.specs.controller.start[engine] :][first:end]
    return own[:, 0], own[:, 1]


def dependencies(machine: Machine, program: Program) -> Iterator[str]:
    """Every command was issued after all that it waits for, and after the one before it; engines complete in order."""
    times, (command, place) = machine.times_of(program), dependencies_of(program)
    waited = program.dependencies[place]
    ended = machine.states.controller.times[machine.specs.controller.start[waited["engine"]] + waited["count"] - 1, 1]
    yield from at_least("issue of a command, end of what it waits for [dependency]", times[command, 0], ended)
    yield from at_least("end of a command, its issue [command]", times[:, 1], times[:, 0])
    for engine in range(len(program.engine_start) - 1):
        for what, at in zip(("issued", "completed"), _times(machine, program, engine, more=1), strict=True):
            step = 1 - int(machine.specs.controller.instant[engine])
            yield from at_least(f"engine {engine}: commands {what} in order [command]", at[1:], at[:-1] + step)


def scores(machine: Machine, said: Said) -> Iterator[str]:
    """The controller's score of each operation is that of its commands."""
    counters, n = machine.states.controller.counters, said["n_commands"]
    first, last = said["first_issue_at"], said["last_completion_at"]
    yield from same("commands completed, of the program [operation]", counters["commands"], n)
    yield from same("first issue, of the commands [operation]", counters["first_issue_at"][n > 0], first[n > 0])
    yield from same("last completion, of the commands [operation]", counters["last_completion_at"][n > 0], last[n > 0])


def _latencies(machine: Machine, message_class: int, pairs: Iterable[tuple[int, int]]) -> dict[tuple[int, int], int]:
    """For each pair of nodes the cycles from the offer of a packet at the first to the ejection of its tail at the second, without
    contention."""
    noc, n_flits = machine.architecture.noc, int(packet_flits(machine)[message_class])
    return {pair: 0 if noc.ideal else _latency(noc, *pair, n_flits) for pair in pairs}


@lru_cache(maxsize=4096)
def _latency(noc: Noc, source: int, node: int, n_flits: int) -> int:
    return zero_load_latency_cycles(noc, len(path(topology_of(noc), policy_of(noc), source, node)), n_flits)


def durations(machine: Machine, program: Program, touched: Touched) -> Iterator[str]:
    """No command of an engine was complete sooner than alone on an idle machine."""
    for engine, least in _least_cycles(machine, program, touched):
        if len(least) and not machine.specs.controller.instant[engine]:
            issued, completed = _times(machine, program, engine)
            yield from at_least(f"engine {engine}: cycles of a command, on an idle machine [command]", completed - issued, least)


def _least_cycles(machine: Machine, program: Program, touched: Touched) -> Iterator[tuple[int, np.ndarray]]:
    """(engine, least cycles of each of its commands), from docs/models."""
    specs = machine.specs
    access = BANK + specs.buffers.latency_cycles
    engines = engines_of(program)
    buffer_of = engines.buffer_of
    for e in engines.dma:
        yield e, QUEUE + _transfer_cycles(machine, e, touched.words[by_engine(program, e)], int(access[buffer_of[e]])) + COMPLETION
    for e in (FEED_STREAM, FEED_STATIONARY):
        words = touched.feed_words[by_engine(program, e)]
        yield e, QUEUE + access[buffer_of[e]] + words - 1 + COMPLETION
    for e, mover in zip(engines.moves, (MOVERS[number] for number in engines.movers), strict=True):
        words = touched.moved[by_engine(program, e)]
        yield e, QUEUE + access[mover.source] + access[mover.target] + words - 1 + COMPLETION
    for e in engines.vectors:
        yield e, _pass_cycles(machine, program, e, int(access[BUFFER_AT["unified operands"]]))
    cycles = compute_cycles(program)
    for e in engines.computes:
        yield e, QUEUE + cycles[by_engine(program, e)] + COMPLETION


def _transfer_cycles(machine: Machine, engine: int, words: np.ndarray, access: int) -> np.ndarray:
    """Between queue and report: the DRAM's answer, or its acceptance, and the words, one a cycle for each channel. A load may be answered
    from a queued write in the next clock."""
    specs, n = machine.specs, len(words)
    more = -(-words // specs.dma.n_channels) - 1
    if engine == STORE:
        return np.full(n, access + 2) + more
    answer = (1 + specs.dram.controller_latency_clocks) * specs.dram.dram_ticks
    return np.full(n, 1 + -(-answer // specs.dram.core_ticks) + access + 1) + more


def _pass_cycles(machine: Machine, program: Program, engine: int, access: int) -> np.ndarray:
    """A pass of the unified core: first operands, one group or word a cycle, the pipeline, the last result."""
    unified, table = machine.specs.unified, program.vectors[by_engine(program, engine)]
    words = table["words"]
    operands, results = table["n_reads"] > 0, table["n_writes"] > 0
    groups = np.where(unified.instant, 1, table["n_groups"])
    pace = np.maximum(groups, (words[:, :MAX_READS] * (np.arange(MAX_READS) < table["n_reads"][:, None])).max(axis=1, initial=0))
    depth = 0 if unified.instant else unified.pipeline_depth
    return QUEUE + 1 + operands * access + pace - 1 + depth + results * (1 + access) + COMPLETION


def drains(machine: Machine, said: Said) -> Iterator[str]:
    """A pass leaves the pipeline, the cluster, the network and the collector one after the other; a third one waits for the first."""
    specs, engines = machine.specs, engines_of(machine.program)
    if specs.controller.instant[engines.drains[0]]:
        return
    drained_by = [said[f"drained.{c}"] for c in range(len(engines.drains))]
    routes = sorted(set(np.concatenate([route for _, _, route, _ in (table.T for table in drained_by)]).tolist()))
    ends = {r: (int(specs.noc.route_source[r]), int(specs.noc.destinations[r, 0])) for r in routes}
    ways = _latencies(machine, PSUM, ends.values())
    way_of_route = np.zeros(1 + max(ends, default=0), np.int64)
    way_of_route[list(ends)] = [ways[pair] for pair in ends.values()]
    n_flits = int(packet_flits(machine)[PSUM])
    for c, drained in enumerate(drained_by):
        begun, ended, (issued, completed, route, n_packets) = said[f"begun.{c}"], said[f"ended.{c}"], drained.T
        if not len(begun) == len(ended) == len(drained):
            continue
        ready = np.maximum(ended - COMPLETION + specs.clusters.pipeline_depth, issued + QUEUE + 1)
        latency = np.where(specs.noc.route_group[route] < 0, way_of_route[route], 0)
        access = COLLECTOR + BANK + int(specs.buffers.latency_cycles[BUFFER_AT["collectors"]])
        least = ready + INTERFACE + latency + np.where(specs.noc.ideal, 0, (n_packets - 1) * n_flits) + access + COMPLETION
        yield from at_least(f"cluster {c}: end of a drain, of a pass that leaves an idle machine [drain]", completed, least)
        latest_start, sent = begun - COMPLETION, ready + n_packets - 1
        yield from at_least(f"cluster {c}: start of a pass, both halves of the psum memory being full [pass]", latest_start[2:], sent[:-2])


def arrivals(machine: Machine, program: Program) -> Iterator[str]:
    """No chunk was finished before its last word could arrive: sent by the feeder, over an idle network, into the scratchpad."""
    specs = machine.specs
    if specs.controller.instant[FEED_STREAM]:
        return
    for stream, engine in enumerate((FEED_STREAM, FEED_STATIONARY)):
        rows, completed = by_engine(program, engine), _times(machine, program, engine)[1]
        route, n_packets = program.feeds["route"][rows], program.feeds["n_packets"][rows]
        name, source = ("stream", "stationary")[stream], int(specs.feeders.node[stream])
        ways = _latencies(machine, stream, ((source, node) for node in specs.clusters.node.tolist()))
        for c, (node, multiplying) in enumerate(zip(specs.clusters.node, engines_of(program).computes, strict=True)):
            reached = (specs.noc.destinations == node).any(axis=1)[route]
            chunks = by_engine(program, multiplying)
            words, base = (program.computes[f"{name}_{what}"][chunks] for what in ("words", "base_words"))
            needs, last, sent = words > 0, base + words, base[:1].sum() + np.cumsum(n_packets[reached])
            feed = np.searchsorted(sent, last[needs])
            if not needs.any() or feed.max() == len(sent):
                continue
            whole = sent[feed] == last[needs]
            arrived = completed[reached][feed] - COMPLETION + INTERFACE + ways[source, int(node)] + SCRATCHPAD
            ended = _times(machine, program, multiplying)[1][needs]
            what = f"cluster {c}: end of a chunk, arrival of its last {name} word [chunk]"
            yield from at_least(what, ended[whole], arrived[whole] + COMPLETION)
