"""Feeders: read words of a global buffer and inject them as packets for the clusters' scratchpads.

Feeder 0 streams (activation buffer), feeder 1 brings stationary operands (weight buffer). A command is complete
when its last packet has entered the network interface; arrival is counted by the clusters themselves.
"""

from typing import Any, NamedTuple

import numpy as np

from etasim.core.arrays import Records
from etasim.core.channel import NEVER, Channels, can_pop, can_push, pop, sooner, visible_at
from etasim.core.division import quotient
from etasim.core.interval import OPEN, begin, end
from etasim.core.jit import kernel
from etasim.core.message import access_tags, command_words, send_access, send_completion, send_packet
from etasim.program import events
from etasim.program.commands import FEED_DIMENSIONS, Program
from etasim.program.events import EventLog

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


CURSOR = np.dtype([("active", "i8"), ("row", "i8"), ("command", "i8"), ("word", "i8"), ("index", "i8", (FEED_DIMENSIONS,))])
"""The word that is asked for next: of a command, the run at ``index`` in each dimension, and the word of that run."""


class FeederState(NamedTuple):
    """``cursor`` [feeder]; ``waiting`` [feeder] words asked for; ``blocked_since`` [feeder]."""

    cursor: np.ndarray
    waiting: np.ndarray
    blocked_since: np.ndarray
    counters: np.ndarray
    engine_counters: np.ndarray


def init(spec: FeederSpec, n_operations: int) -> FeederState:
    """Idle feeders."""
    n = len(spec.engine)
    return FeederState(
        np.zeros(n, CURSOR),
        np.zeros(n, np.int64),
        np.full(n, OPEN),
        np.zeros((n_operations, n), COUNTERS),
        np.zeros(n, ENGINE_COUNTERS),
    )


@kernel
def _accept(spec: FeederSpec, state: FeederState, commands: Channels, f: int, now: int) -> bool:
    engine = spec.engine[f]
    if not can_pop(commands, engine, now):
        return False
    cursor = state.cursor[f]
    cursor["active"] = 1
    cursor["command"], cursor["row"] = command_words(commands, engine)
    pop(commands, engine, now + 1)
    state.engine_counters[f]["commands"] += 1
    return True


@kernel
def _advance(state: FeederState, feeds: Records, f: int, row: int, run_ends: bool) -> None:
    """Move the cursor to the next word; the feeder is free for its next command after the last one."""
    cursor = state.cursor[f]
    if not run_ends:
        cursor["word"] += 1
        return
    cursor["word"] = 0
    for d in range(FEED_DIMENSIONS - 1, -1, -1):
        cursor["index"][d] += 1
        if cursor["index"][d] < feeds[row]["counts"][d]:
            return
        cursor["index"][d] = 0
    cursor["active"] = 0


@kernel
def _request_word(spec: FeederSpec, state: FeederState, feeds: Records, buffer_requests: Channels, f: int, now: int) -> None:
    """Ask the buffer for the next word that the current run touches; the last one carries the command that it completes."""
    cursor = state.cursor[f]
    row, word = cursor["row"], cursor["word"]
    start = feeds[row]["buffer_address"]
    for d in range(FEED_DIMENSIONS):
        start += cursor["index"][d] * feeds[row]["strides"][d]
    first = quotient(start, spec.word_bytes)
    last = quotient(start + feeds[row]["run_bytes"] - 1, spec.word_bytes)
    _advance(state, feeds, f, row, first + word == last)
    finished = 1 - cursor["active"]
    send_access(buffer_requests, spec.requester[f], now + 1, first + word, 0, row, finished * (cursor["command"] + 1))
    state.waiting[f] += 1


@kernel
def _inject(
    spec: FeederSpec, state: FeederState, feeds: Records, completions: Channels, buffer_responses: Channels, inject: Channels,
    log: EventLog, f: int, now: int,
) -> bool:  # fmt: skip
    """Turn the oldest word that has arrived from the buffer into a packet; report the command that it completes."""
    requester, node, engine = spec.requester[f], spec.node[f], spec.engine[f]
    if not can_pop(buffer_responses, requester, now):
        return False
    row, completes = access_tags(buffer_responses, requester)
    if not can_push(inject, node, now) or (completes > 0 and not can_push(completions, engine, now)):
        begin(state.blocked_since, f, now)
        return False
    state.engine_counters[f]["noc_stall_cycles"] += end(state.blocked_since, f, now)
    number = state.engine_counters[f]["packets"]
    send_packet(inject, node, now + 1, feeds[row]["route"], spec.packet_bits, feeds[row]["stream"], number)
    events.record(log, events.SENT, f, row, number, 0)
    state.engine_counters[f]["packets"] = number + 1
    if completes > 0:
        send_completion(completions, engine, now + 1, completes - 1)
    pop(buffer_responses, requester, now + 1)
    state.waiting[f] -= 1
    state.counters[feeds[row]["operation"], f]["packets"] += 1
    return True


@kernel
def step(spec: FeederSpec, state: FeederState, program: Program, links: Any, log: EventLog, f: int, now: int) -> bool:
    """One cycle of a feeder: inject, accept, request."""
    progress, feeds, requests = False, program.feeds, links.buffer_requests
    progress |= _inject(spec, state, feeds, links.completions, links.buffer_responses, links.inject, log, f, now)
    if state.cursor[f]["active"] == 0:
        progress |= _accept(spec, state, links.commands, f, now)
    room = state.waiting[f] < spec.max_outstanding and can_push(requests, spec.requester[f], now)
    if state.cursor[f]["active"] == 1 and room:
        _request_word(spec, state, feeds, requests, f, now)
        progress = True
    return progress


@kernel
def next_timer(spec: FeederSpec, state: FeederState, program: Program, links: Any, log: EventLog, f: int, now: int) -> int:
    """Next cycle in which a word arrives from the buffer."""
    return sooner(visible_at(links.buffer_responses, spec.requester[f]), now, NEVER)
