"""Feeders: read words of a global buffer and inject them as packets for the clusters' scratchpads.

Feeder 0 streams (activation buffer), feeder 1 brings stationary operands (weight buffer). A command is complete
when its last packet has entered the network interface; arrival is counted by the clusters themselves.
"""

from typing import NamedTuple

import numpy as np

from etasim.core.channel import NEVER, can_pop, can_push, peek, pop, push, sooner, visible_at
from etasim.core.interval import OPEN, begin, end
from etasim.core.jit import kernel
from etasim.program import events
from etasim.program.commands import FEED_DIMENSIONS

COUNTERS = np.dtype([("packets", "i8")])
"""Per operation and feeder; packets injected."""

ENGINE_COUNTERS = np.dtype([("noc_stall_cycles", "i8"), ("commands", "i8"), ("packets", "i8")])
"""Per feeder. ``noc_stall_cycles``: cycles in which a word was ready and the network interface had no room; a packet carries how many
``packets`` went before it."""


class FeederSpec(NamedTuple):
    """``engine`` [feeder] its command queue; ``requester`` [feeder] its buffer port; ``node`` [feeder] where it injects."""

    engine: np.ndarray
    requester: np.ndarray
    node: np.ndarray
    word_bytes: int
    packet_bits: int
    max_outstanding: int


class FeederState(NamedTuple):
    """``cursor`` [feeder, (active, row, command, word of run, index of each dimension)]; ``waiting`` [feeder] words asked for;
    ``blocked_since`` [feeder]."""

    cursor: np.ndarray
    waiting: np.ndarray
    blocked_since: np.ndarray
    counters: np.ndarray
    engine_counters: np.ndarray


def init(spec: FeederSpec, n_operations: int) -> FeederState:
    """Idle feeders."""
    n = len(spec.engine)
    return FeederState(
        np.zeros((n, 4 + FEED_DIMENSIONS), np.int64),
        np.zeros(n, np.int64),
        np.full(n, OPEN),
        np.zeros((n_operations, n), COUNTERS),
        np.zeros(n, ENGINE_COUNTERS),
    )


@kernel
def _accept(spec, state, commands, f, now):
    engine = spec.engine[f]
    if not can_pop(commands, engine, now):
        return False
    state.cursor[f, 0] = 1
    state.cursor[f, 1] = peek(commands, engine, 1)
    state.cursor[f, 2] = peek(commands, engine, 0)
    for i in range(3, 4 + FEED_DIMENSIONS):
        state.cursor[f, i] = 0
    pop(commands, engine, now + 1)
    state.engine_counters[f]["commands"] += 1
    return True


@kernel
def _advance(state, feeds, f, row, run_ends):
    """Move the cursor to the next word; the feeder is free for its next command after the last one."""
    if not run_ends:
        state.cursor[f, 3] += 1
        return
    state.cursor[f, 3] = 0
    for d in range(FEED_DIMENSIONS - 1, -1, -1):
        state.cursor[f, 4 + d] += 1
        if state.cursor[f, 4 + d] < feeds[row]["counts"][d]:
            return
        state.cursor[f, 4 + d] = 0
    state.cursor[f, 0] = 0


@kernel
def _request_word(spec, state, feeds, buffer_requests, f, now):
    """Ask the buffer for the next word that the current run touches; the last one carries the command that it completes."""
    row, word = state.cursor[f, 1], state.cursor[f, 3]
    start = feeds[row]["buffer_address"]
    for d in range(FEED_DIMENSIONS):
        start += state.cursor[f, 4 + d] * feeds[row]["strides"][d]
    first = start // spec.word_bytes
    last = (start + feeds[row]["run_bytes"] - 1) // spec.word_bytes
    _advance(state, feeds, f, row, first + word == last)
    finished = 1 - state.cursor[f, 0]
    push(buffer_requests, spec.requester[f], now + 1, first + word, 0, row, finished * (state.cursor[f, 2] + 1))
    state.waiting[f] += 1


@kernel
def _inject(spec, state, feeds, completions, buffer_responses, inject, log, f, now):
    """Turn the oldest word that has arrived from the buffer into a packet; report the command that it completes."""
    requester, node, engine = spec.requester[f], spec.node[f], spec.engine[f]
    if not can_pop(buffer_responses, requester, now):
        return False
    completes = peek(buffer_responses, requester, 3)
    if not can_push(inject, node, now) or (completes > 0 and not can_push(completions, engine, now)):
        begin(state.blocked_since, f, now)
        return False
    state.engine_counters[f]["noc_stall_cycles"] += end(state.blocked_since, f, now)
    row = peek(buffer_responses, requester, 2)
    number = state.engine_counters[f]["packets"]
    push(inject, node, now + 1, feeds[row]["route"], spec.packet_bits, feeds[row]["stream"], number)
    events.record(log, events.SENT, f, row, number, 0)
    state.engine_counters[f]["packets"] = number + 1
    if completes > 0:
        push(completions, engine, now + 1, completes - 1, 0, 0, 0)
    pop(buffer_responses, requester, now + 1)
    state.waiting[f] -= 1
    state.counters[feeds[row]["operation"], f]["packets"] += 1
    return True


@kernel
def step(spec, state, feeds, commands, completions, buffer_requests, buffer_responses, inject, log, now):
    """One cycle of all feeders: inject, accept, request."""
    progress = False
    for f in range(spec.engine.shape[0]):
        progress |= _inject(spec, state, feeds, completions, buffer_responses, inject, log, f, now)
        if state.cursor[f, 0] == 0:
            progress |= _accept(spec, state, commands, f, now)
        room = state.waiting[f] < spec.max_outstanding and can_push(buffer_requests, spec.requester[f], now)
        if state.cursor[f, 0] == 1 and room:
            _request_word(spec, state, feeds, buffer_requests, f, now)
            progress = True
    return progress


@kernel
def next_timer(spec, buffer_responses, now):
    """Next cycle in which a word arrives from the buffer."""
    timer = NEVER
    for f in range(spec.engine.shape[0]):
        timer = sooner(visible_at(buffer_responses, spec.requester[f]), now, timer)
    return timer
