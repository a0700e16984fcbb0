"""Collectors: write the psum packets that leave the NoC into the error buffer, and report finished drains.

A packet carries several segments (the columns' results); segments that share a word are written together.
"""

from typing import Any, NamedTuple

import numpy as np

from etasim.core.arrays import Integers, Records
from etasim.core.channel import NEVER, Channels, can_pop, can_push, pop, sooner, visible_at
from etasim.core.division import quotient
from etasim.core.interval import OPEN, begin, end
from etasim.core.jit import kernel
from etasim.core.message import access_tags, packet_words, send_access, send_completion
from etasim.program import events
from etasim.program.commands import Program
from etasim.program.events import EventLog

COUNTERS = np.dtype([("packets", "i8"), ("written_words", "i8"), ("buffer_stall_cycles", "i8")])
"""Per operation and collector. ``buffer_stall_cycles``: cycles in which a packet waited for the buffer's request queue."""


class CollectorSpec(NamedTuple):
    """``node`` [collector] where it ejects; ``requester`` [collector] its buffer port."""

    node: np.ndarray
    requester: np.ndarray
    word_bytes: int
    max_outstanding: int


POSITION = np.dtype([("segment", "i8"), ("waiting", "i8")])
"""The next segment of the packet, and words that are not yet acknowledged."""


class CollectorState(NamedTuple):
    """``position`` [collector]; ``blocked_since`` [collector]."""

    position: np.ndarray
    blocked_since: np.ndarray
    counters: np.ndarray


def init(spec: CollectorSpec, n_operations: int) -> CollectorState:
    """Idle collectors."""
    return CollectorState(
        np.zeros(len(spec.node), POSITION), np.full(len(spec.node), OPEN), np.zeros((n_operations, len(spec.node)), COUNTERS)
    )


@kernel
def _write_next_word(
    spec: CollectorSpec, state: CollectorState, drains: Records, segment_offsets: Integers, eject: Channels, buffer_requests: Channels,
    log: EventLog, k: int, now: int,
) -> None:  # fmt: skip
    """Write the next word of the packet at the head; the packet leaves with its last word."""
    node = spec.node[k]
    row, packet = packet_words(eject, node)
    base, table = drains[row]["buffer_address"], drains[row]["segment_table"]
    position = state.position[k]
    i = position["segment"]
    per_packet = drains[row]["segments_per_packet"]
    first = packet * per_packet
    stop = min(per_packet, drains[row]["n_segments"] - first)
    word = quotient(base + segment_offsets[table + first + i], spec.word_bytes)
    i += 1
    while i < stop and quotient(base + segment_offsets[table + first + i], spec.word_bytes) == word:
        i += 1
    events.record(log, events.COLLECTED, row, packet, position["segment"], i - position["segment"])
    is_last = i == stop
    completes = int(is_last and packet == drains[row]["n_packets"] - 1)
    send_access(buffer_requests, spec.requester[k], now + 1, word, 1, row, completes)
    position["waiting"] += 1
    counters = state.counters[drains[row]["operation"], k]
    counters["written_words"] += 1
    counters["buffer_stall_cycles"] += end(state.blocked_since, k, now)
    position["segment"] = i
    if is_last:
        position["segment"] = 0
        counters["packets"] += 1
        pop(eject, node, now + 1)


@kernel
def _complete(drains: Records, completions: Channels, row: int, now: int) -> bool:
    """Report the drain of ``row`` and those whose sums came with it; returns whether all could be told."""
    first, stride = drains[row]["engine"], drains[row]["engine_stride"]
    for i in range(drains[row]["partners"] + 1):
        if not can_push(completions, first + i * stride, now):
            return False
    for i in range(drains[row]["partners"] + 1):
        send_completion(completions, first + i * stride, now + 1, 0)
    return True


@kernel
def step(spec: CollectorSpec, state: CollectorState, program: Program, links: Any, log: EventLog, _: int, now: int) -> bool:
    """One cycle of all collectors: take acknowledgements, write one word."""
    progress, drains, eject = False, program.drains, links.eject
    buffer_requests, buffer_responses = links.buffer_requests, links.buffer_responses
    for k in range(spec.node.shape[0]):
        requester = spec.requester[k]
        if can_pop(buffer_responses, requester, now):
            row, completes = access_tags(buffer_responses, requester)
            if completes == 0 or _complete(drains, links.completions, row, now):
                pop(buffer_responses, requester, now + 1)
                state.position[k]["waiting"] -= 1
                progress = True
        if can_pop(eject, spec.node[k], now):
            if state.position[k]["waiting"] < spec.max_outstanding and can_push(buffer_requests, requester, now):
                _write_next_word(spec, state, drains, program.segment_offsets, eject, buffer_requests, log, k, now)
                progress = True
            else:
                begin(state.blocked_since, k, now)
    return progress


@kernel
def next_timer(spec: CollectorSpec, state: CollectorState, program: Program, links: Any, log: EventLog, _: int, now: int) -> int:
    """Next cycle in which a packet or an acknowledgement becomes visible."""
    timer = NEVER
    for k in range(spec.node.shape[0]):
        timer = sooner(visible_at(links.buffer_responses, spec.requester[k]), now, timer)
        timer = sooner(visible_at(links.eject, spec.node[k]), now, timer)
    return timer
