"""Collectors: write the psum packets that leave the NoC into the error buffer, and report finished drains.

A packet carries several segments (the columns' results); segments that share a word are written together.
"""

from typing import NamedTuple

import numpy as np

from etasim.core.channel import NEVER, can_pop, can_push, peek, pop, push, sooner, visible_at
from etasim.core.interval import OPEN, begin, end
from etasim.core.jit import kernel
from etasim.program import events

COUNTERS = np.dtype([("packets", "i8"), ("written_words", "i8"), ("buffer_stall_cycles", "i8")])
"""Per operation and collector. ``buffer_stall_cycles``: cycles in which a packet waited for the buffer's request queue."""


class CollectorSpec(NamedTuple):
    """``node`` [collector] where it ejects; ``requester`` [collector] its buffer port."""

    node: np.ndarray
    requester: np.ndarray
    word_bytes: int
    max_outstanding: int


class CollectorState(NamedTuple):
    """``position`` [collector, (next segment of the packet, words not yet acknowledged)]; ``blocked_since`` [collector]."""

    position: np.ndarray
    blocked_since: np.ndarray
    counters: np.ndarray


def init(spec: CollectorSpec, n_operations: int) -> CollectorState:
    """Idle collectors."""
    return CollectorState(
        np.zeros((len(spec.node), 2), np.int64), np.full(len(spec.node), OPEN), np.zeros((n_operations, len(spec.node)), COUNTERS)
    )


@kernel
def _write_next_word(spec, state, drains, segment_offsets, eject, buffer_requests, log, k, now):
    """Write the next word of the packet at the head; the packet leaves with its last word."""
    node = spec.node[k]
    row, packet = peek(eject, node, 2), peek(eject, node, 3)
    base, table = drains[row]["buffer_address"], drains[row]["segment_table"]
    i = state.position[k, 0]
    per_packet = drains[row]["segments_per_packet"]
    first = packet * per_packet
    stop = min(per_packet, drains[row]["n_segments"] - first)
    word = (base + segment_offsets[table + first + i]) // spec.word_bytes
    i += 1
    while i < stop and (base + segment_offsets[table + first + i]) // spec.word_bytes == word:
        i += 1
    events.record(log, events.COLLECTED, row, packet, state.position[k, 0], i - state.position[k, 0])
    is_last = i == stop
    completes = int(is_last and packet == drains[row]["n_packets"] - 1)
    push(buffer_requests, spec.requester[k], now + 1, word, 1, row, completes)
    state.position[k, 1] += 1
    counters = state.counters[drains[row]["operation"], k]
    counters["written_words"] += 1
    counters["buffer_stall_cycles"] += end(state.blocked_since, k, now)
    state.position[k, 0] = i
    if is_last:
        state.position[k, 0] = 0
        counters["packets"] += 1
        pop(eject, node, now + 1)


@kernel
def _complete(drains, completions, row, now):
    """Report the drain of ``row`` and those whose sums came with it; returns whether all could be told."""
    first, stride = drains[row]["engine"], drains[row]["engine_stride"]
    for i in range(drains[row]["partners"] + 1):
        if not can_push(completions, first + i * stride, now):
            return False
    for i in range(drains[row]["partners"] + 1):
        push(completions, first + i * stride, now + 1, 0, 0, 0, 0)
    return True


@kernel
def step(spec, state, drains, segment_offsets, completions, eject, buffer_requests, buffer_responses, log, now):
    """One cycle of all collectors: take acknowledgements, write one word."""
    progress = False
    for k in range(spec.node.shape[0]):
        requester = spec.requester[k]
        if can_pop(buffer_responses, requester, now):
            is_last = peek(buffer_responses, requester, 3) == 1
            if not is_last or _complete(drains, completions, peek(buffer_responses, requester, 2), now):
                pop(buffer_responses, requester, now + 1)
                state.position[k, 1] -= 1
                progress = True
        if can_pop(eject, spec.node[k], now):
            if state.position[k, 1] < spec.max_outstanding and can_push(buffer_requests, requester, now):
                _write_next_word(spec, state, drains, segment_offsets, eject, buffer_requests, log, k, now)
                progress = True
            else:
                begin(state.blocked_since, k, now)
    return progress


@kernel
def next_timer(spec, eject, buffer_responses, now):
    """Next cycle in which a packet or an acknowledgement becomes visible."""
    timer = NEVER
    for k in range(spec.node.shape[0]):
        timer = sooner(visible_at(buffer_responses, spec.requester[k]), now, timer)
        timer = sooner(visible_at(eject, spec.node[k]), now, timer)
    return timer
