"""Clusters of PEs: chunks of sweeps over local operands into a double-buffered psum memory, and its drain.

In a sweep every PE of the cluster holds one stationary vector and each cycle adds one group of columns to its psums.
Operands of a sweep are local once the last word that it reads has arrived, so a sweep cannot be disturbed: its length is a table
entry (groups plus bank conflicts of the gather) and the cluster acts again when it ends.
"""

from typing import NamedTuple

import numpy as np

from etasim.core.channel import NEVER, can_pop, can_push, peek, pop, push, sooner, visible_at
from etasim.core.jit import entry, kernel
from etasim.program import events

BUSY, STATIONARY_STALL, STREAM_STALL, PSUM_STALL, FILL_DRAIN, IDLE = range(6)
CAUSES = ("busy", "stationary_stall", "stream_stall", "psum_stall", "fill_drain", "idle")
COUNTERS = np.dtype([(f"{cause}_cycles", "i8") for cause in (*CAUSES, "gather_conflict")])
"""Per operation and cluster; every cycle of a cluster is booked to exactly one cause. ``busy``: a group of columns enters the
pipeline; ``gather_conflict``: the columns' operands take another cycle to read; ``fill_drain``: nothing left to multiply,
results still in the pipeline; ``idle``: no command, booked to the operation that ends the wait (the last one at the end)."""

LINK_COUNTERS = np.dtype([("psum_packets", "i8")])
"""Per operation and cluster: packets of results injected."""


class ClusterSpec(NamedTuple):
    """Cluster c computes for engine ``first_engine + c`` and drains for ``first_engine + n + c``; ``node`` [c] is its NoC node."""

    node: np.ndarray
    first_engine: int
    pipeline_depth: int
    packet_bits: int


class ClusterState(NamedTuple):
    """``work`` [c, (active, row, command, sweep, sweep ends at, sweeping)]; ``arrived`` [c, (stream, stationary) words];
    ``spare`` [c, (stream, stationary)]: the least words beyond those needed when a sweep began; ``passes`` [c, (begun, computed,
    drained)]; ``ready_at`` [c, half] when a finished pass has left the pipeline; ``drain`` [c, (active, row, command, packet)];
    ``booked`` [c, (cause, since, operation)]."""

    work: np.ndarray
    arrived: np.ndarray
    spare: np.ndarray
    passes: np.ndarray
    ready_at: np.ndarray
    drain: np.ndarray
    booked: np.ndarray
    counters: np.ndarray
    links: np.ndarray


def init(spec: ClusterSpec, n_operations: int) -> ClusterState:
    """Idle clusters with empty scratchpads."""
    n = len(spec.node)
    booked = np.zeros((n, 3), np.int64)
    booked[:, 0] = IDLE
    return ClusterState(
        work=np.zeros((n, 6), np.int64),
        arrived=np.zeros((n, 2), np.int64),
        spare=np.full((n, 2), NEVER),
        passes=np.zeros((n, 3), np.int64),
        ready_at=np.zeros((n, 2), np.int64),
        drain=np.zeros((n, 4), np.int64),
        booked=booked,
        counters=np.zeros((n_operations, n), COUNTERS),
        links=np.zeros((n_operations, n), LINK_COUNTERS),
    )


@kernel
def _book(state, c, cause, operation, now):
    """Close the interval that ends now and open one of ``cause``."""
    cycles = now - state.booked[c, 1]
    counters = state.counters[state.booked[c, 2], c]
    was = state.booked[c, 0]
    if was == BUSY:
        counters["busy_cycles"] += cycles
    elif was == STATIONARY_STALL:
        counters["stationary_stall_cycles"] += cycles
    elif was == STREAM_STALL:
        counters["stream_stall_cycles"] += cycles
    elif was == PSUM_STALL:
        counters["psum_stall_cycles"] += cycles
    elif was == FILL_DRAIN:
        counters["fill_drain_cycles"] += cycles
    else:
        counters["idle_cycles"] += cycles
    state.booked[c, 0] = cause
    state.booked[c, 1] = now
    state.booked[c, 2] = operation


@kernel
def _receive(state, c, node, eject, log, now):
    """Write what the network interface delivers into the scratchpads."""
    progress = False
    while can_pop(eject, node, now):
        events.record(log, events.RECEIVED, c, peek(eject, node, 2), peek(eject, node, 3), 0)
        state.arrived[c, peek(eject, node, 2)] += 1
        pop(eject, node, now + 1)
        progress = True
    return progress


@kernel
def _words_needed(command, sweep_words, sweep):
    """Words, streamed and stationary, that a cluster must have received before a sweep of a chunk can begin."""
    place = command["word_table"] + sweep
    return command["stream_base_words"] + sweep_words[place, 0], command["stationary_base_words"] + sweep_words[place, 1]


@kernel
def _missing(state, computes, sweep_words, c):
    """What the next sweep waits for (a cause), or BUSY if it can begin."""
    row, sweep = state.work[c, 1], state.work[c, 3]
    command = computes[row]
    if sweep == 0 and command["first"] == 1 and state.passes[c, 0] - state.passes[c, 2] >= 2:
        return PSUM_STALL
    stream_words, stationary_words = _words_needed(command, sweep_words, sweep)
    if state.arrived[c, 1] < stationary_words:
        return STATIONARY_STALL
    if state.arrived[c, 0] < stream_words:
        return STREAM_STALL
    return BUSY


@kernel
def _note_spare_words(state, computes, sweep_words, c):
    """Keep the least number of words that were there beyond those that a sweep which begins needs."""
    stream_words, stationary_words = _words_needed(computes[state.work[c, 1]], sweep_words, state.work[c, 3])
    state.spare[c, 0] = min(state.spare[c, 0], state.arrived[c, 0] - stream_words)
    state.spare[c, 1] = min(state.spare[c, 1], state.arrived[c, 1] - stationary_words)


@kernel
def _finish_chunk(spec, state, computes, completions, log, c, now):
    """Report the chunk; a finished pass can be drained once it has left the pipeline."""
    engine = spec.first_engine + c
    if not can_push(completions, engine, now):
        return False
    row = state.work[c, 1]
    push(completions, engine, now + 1, state.work[c, 2], 0, 0, 0)
    events.record(log, events.MULTIPLIED, c, row, 0, 0)
    state.work[c, 0] = 0
    state.counters[computes[row]["operation"], c]["gather_conflict_cycles"] += computes[row]["conflict_cycles"]
    state.counters[computes[row]["operation"], c]["busy_cycles"] -= computes[row]["conflict_cycles"]
    if computes[row]["last"] == 1:
        state.ready_at[c, state.passes[c, 1] % 2] = now + spec.pipeline_depth
        state.passes[c, 1] += 1
        _book(state, c, FILL_DRAIN, computes[row]["operation"], now)
    else:
        _book(state, c, IDLE, computes[row]["operation"], now)
    return True


@kernel
def _compute(spec, state, computes, sweep_cycles, sweep_words, commands, completions, log, c, now):
    """End a sweep, take a command, begin a sweep: whatever is possible in this cycle."""
    engine = spec.first_engine + c
    progress = False
    if state.work[c, 5] == 1 and now >= state.work[c, 4]:
        state.work[c, 5] = 0
        state.work[c, 3] += 1
        progress = True
    if state.work[c, 0] == 1 and state.work[c, 5] == 0 and state.work[c, 3] == computes[state.work[c, 1]]["n_sweeps"]:
        progress |= _finish_chunk(spec, state, computes, completions, log, c, now)
    if state.work[c, 0] == 0 and can_pop(commands, engine, now):
        state.work[c, 0] = 1
        state.work[c, 1] = peek(commands, engine, 1)
        state.work[c, 2] = peek(commands, engine, 0)
        state.work[c, 3] = 0
        pop(commands, engine, now + 1)
        progress = True
    if state.work[c, 0] == 1 and state.work[c, 5] == 0 and state.work[c, 3] < computes[state.work[c, 1]]["n_sweeps"]:
        row = state.work[c, 1]
        cause = _missing(state, computes, sweep_words, c)
        if cause == BUSY:
            if state.work[c, 3] == 0 and computes[row]["first"] == 1:
                state.passes[c, 0] += 1
            _note_spare_words(state, computes, sweep_words, c)
            state.work[c, 4] = now + sweep_cycles[computes[row]["sweep_table"] + state.work[c, 3] % computes[row]["sweep_period"]]
            state.work[c, 5] = 1
            progress = True
        if state.booked[c, 0] != cause or state.booked[c, 2] != computes[row]["operation"]:
            if state.booked[c, 0] == IDLE:
                state.booked[c, 2] = computes[row]["operation"]
            _book(state, c, cause, computes[row]["operation"], now)
    if state.booked[c, 0] == FILL_DRAIN and now >= state.booked[c, 1] + spec.pipeline_depth:
        _book(state, c, IDLE, state.booked[c, 2], now)
        progress = True
    return progress


@kernel
def _drain(spec, state, drains, commands, inject, log, c, now):
    """Inject the next packet of a finished pass; its half of the psum memory is free after the last one."""
    engine = spec.first_engine + state.work.shape[0] + c
    if state.drain[c, 0] == 0:
        if not can_pop(commands, engine, now):
            return False
        state.drain[c, 0] = 1
        state.drain[c, 1] = peek(commands, engine, 1)
        state.drain[c, 3] = 0
        pop(commands, engine, now + 1)
        return True
    drained = state.passes[c, 2]
    if state.passes[c, 1] <= drained or now < state.ready_at[c, drained % 2] or not can_push(inject, spec.node[c], now):
        return False
    row, packet = state.drain[c, 1], state.drain[c, 3]
    push(inject, spec.node[c], now + 1, drains[row]["route"], spec.packet_bits, row, packet)
    events.record(log, events.DRAINED, c, row, packet, 0)
    state.links[drains[row]["operation"], c]["psum_packets"] += 1
    state.drain[c, 3] = packet + 1
    if packet + 1 == drains[row]["n_packets"]:
        state.drain[c, 0] = 0
        state.passes[c, 2] += 1
    return True


@kernel
def step(spec, state, computes, drains, sweep_cycles, sweep_words, commands, completions, inject, eject, log, now):
    """One cycle of all clusters: receive operands, drain psums, compute."""
    progress = False
    for c in range(spec.node.shape[0]):
        progress |= _receive(state, c, spec.node[c], eject, log, now)
        progress |= _drain(spec, state, drains, commands, inject, log, c, now)
        progress |= _compute(spec, state, computes, sweep_cycles, sweep_words, commands, completions, log, c, now)
    return progress


@kernel
def next_timer(spec, state, eject, now):
    """Next cycle in which a sweep ends, a pass leaves the pipeline, or an operand becomes visible."""
    timer = NEVER
    for c in range(spec.node.shape[0]):
        if state.work[c, 5] == 1:
            timer = sooner(state.work[c, 4], now, timer)
        if state.passes[c, 1] > state.passes[c, 2]:
            timer = sooner(state.ready_at[c, state.passes[c, 2] % 2], now, timer)
        if state.booked[c, 0] == FILL_DRAIN:
            timer = sooner(state.booked[c, 1] + spec.pipeline_depth, now, timer)
        timer = sooner(visible_at(eject, spec.node[c]), now, timer)
    return timer


@entry
def close_books(state, now):
    """Book the open interval of every cluster at the end of a simulation; waiting for the end belongs to the last operation."""
    for c in range(state.booked.shape[0]):
        if state.booked[c, 0] == IDLE:
            state.booked[c, 2] = state.counters.shape[0] - 1
        _book(state, c, IDLE, state.booked[c, 2], now)
