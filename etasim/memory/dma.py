"""DMA engines: strided transfers between DRAM and a global buffer, split into bursts, several commands in flight.

A load asks DRAM for a burst and writes the words it covers when the data arrives; a store reads the words and then
writes the burst. Bursts of a command start in order, complete in any order, and commands complete in order.
A load is complete when its last word is in the buffer, a store when the DRAM controller has accepted its last burst.
"""

from typing import NamedTuple

import numpy as np

from etasim.core.channel import NEVER, can_pop, can_push, n_taken, peek, pop, push, sooner, visible_at
from etasim.core.interval import OPEN, begin, end
from etasim.core.jit import kernel
from etasim.memory.dram import channel_of
from etasim.program import events
from etasim.program.commands import RUN_DIMENSIONS

COUNTERS = np.dtype([
    ("read_bursts", "i8"), ("write_bursts", "i8"),
])  # fmt: skip
"""Per operation and tensor class."""

ENGINE_COUNTERS = np.dtype([
    ("commands", "i8"), ("bursts", "i8"), ("dram_stall_cycles", "i8"), ("outstanding_stall_cycles", "i8"),
])  # fmt: skip
"""Per engine. Stalls are cycles in which the next burst could not start: DRAM queue full, or all slots in use."""

# Fields of a command in flight.
_COMMAND, _PENDING, _ISSUED, _ROW = 0, 1, 2, 3
# Fields of a cursor behind the index in each dimension of runs.
_OFFSET, _IN_ISSUE = RUN_DIMENSIONS, RUN_DIMENSIONS + 1


class DmaSpec(NamedTuple):
    """Engines e in the order of the command queues; port of engine e for DRAM channel h: buffer requester ``e * n_channels + h``."""

    is_store: np.ndarray
    n_engines: int
    n_channels: int
    burst_bytes: int
    word_bytes: int
    n_slots: int
    window: int
    core_ticks: int


class DmaState(NamedTuple):
    """``cursor`` [e, (index in each dimension, offset in run, whether a command is being issued)];
    ``slots`` [e, slot, (words left, first word, words, window, word sent, burst address, first byte in DRAM, in the buffer, bytes)];
    ``flight`` [e, window, (command, pending bursts, fully issued, row)]; ``target`` [e, window, channel]: bursts pushed to the channel;
    ``buffer_words`` [operation, e]: words written by loads, read by stores."""

    cursor: np.ndarray
    slots: np.ndarray
    free: np.ndarray
    n_free: np.ndarray
    flight: np.ndarray
    oldest: np.ndarray
    newest: np.ndarray
    target: np.ndarray
    dram_blocked_since: np.ndarray
    slots_blocked_since: np.ndarray
    counters: np.ndarray
    buffer_words: np.ndarray
    engine_counters: np.ndarray


def init(spec: DmaSpec, n_operations: int, n_classes: int) -> DmaState:
    """Idle engines."""
    e = spec.n_engines
    return DmaState(
        cursor=np.zeros((e, RUN_DIMENSIONS + 2), np.int64),
        slots=np.zeros((e, spec.n_slots, 9), np.int64),
        free=np.tile(np.arange(spec.n_slots, dtype=np.int64), (e, 1)),
        n_free=np.full(e, spec.n_slots, np.int64),
        flight=np.zeros((e, spec.window, 4), np.int64),
        oldest=np.zeros(e, np.int64),
        newest=np.zeros(e, np.int64),
        target=np.zeros((e, spec.window, spec.n_channels), np.int64),
        dram_blocked_since=np.full(e, OPEN),
        slots_blocked_since=np.full(e, OPEN),
        counters=np.zeros((n_operations, n_classes), COUNTERS),
        buffer_words=np.zeros((n_operations, e), np.int64),
        engine_counters=np.zeros(e, ENGINE_COUNTERS),
    )


@kernel
def _accept_command(spec, state, commands, e, now):
    """Start issuing the next command if the window has room; returns whether a command is being issued."""
    if state.cursor[e, _IN_ISSUE] == 1:
        return True
    if state.newest[e] - state.oldest[e] >= spec.window or not can_pop(commands, e, now):
        return False
    w = state.newest[e] % spec.window
    state.flight[e, w, _COMMAND] = peek(commands, e, 0)
    state.flight[e, w, _ROW] = peek(commands, e, 1)
    state.flight[e, w, _PENDING] = 0
    state.flight[e, w, _ISSUED] = 0
    pop(commands, e, now + 1)
    state.newest[e] += 1
    state.cursor[e, _IN_ISSUE] = 1
    state.engine_counters[e]["commands"] += 1
    return True


@kernel
def _advance(spec, state, transfers, e, row, taken_bytes):
    """Move the cursor past the bytes of a burst; marks the command issued after its last run."""
    state.cursor[e, _OFFSET] += taken_bytes
    if state.cursor[e, _OFFSET] < transfers[row]["run_bytes"]:
        return
    state.cursor[e, _OFFSET] = 0
    for d in range(RUN_DIMENSIONS - 1, -1, -1):
        state.cursor[e, d] += 1
        if state.cursor[e, d] < transfers[row]["counts"][d]:
            return
        state.cursor[e, d] = 0
    state.cursor[e, _IN_ISSUE] = 0
    state.flight[e, (state.newest[e] - 1) % spec.window, _ISSUED] = 1


@kernel
def _addresses(state, transfers, e, row):
    """Where the cursor stands: byte address in DRAM and in the buffer."""
    source = transfers[row]["dram_address"] + state.cursor[e, _OFFSET]
    target = transfers[row]["buffer_address"] + state.cursor[e, _OFFSET]
    for d in range(RUN_DIMENSIONS):
        source += state.cursor[e, d] * transfers[row]["dram_strides"][d]
        target += state.cursor[e, d] * transfers[row]["buffer_strides"][d]
    return source, target


@kernel
def _take_slot(spec, state, e, w, burst, address, into, n_bytes):
    """Put a burst of the command in window place ``w`` into a free slot; returns the slot and the first word in the buffer."""
    state.n_free[e] -= 1
    slot = state.free[e, state.n_free[e]]
    first_word = into // spec.word_bytes
    n_words = (into + n_bytes - 1) // spec.word_bytes - first_word + 1
    state.slots[e, slot, 0] = n_words
    state.slots[e, slot, 1] = first_word
    state.slots[e, slot, 2] = n_words
    state.slots[e, slot, 3] = w
    state.slots[e, slot, 4] = spec.is_store[e]
    state.slots[e, slot, 5] = burst
    state.slots[e, slot, 6] = address
    state.slots[e, slot, 7] = into
    state.slots[e, slot, 8] = n_bytes
    state.flight[e, w, _PENDING] += 1
    state.engine_counters[e]["bursts"] += 1
    return slot, first_word


@kernel
def _issue(spec, state, dram_spec, transfers, commands, dram_requests, buffer_requests, e, now):
    """Start bursts in order, at most one per DRAM channel in a cycle."""
    progress = False
    ticks = now * spec.core_ticks
    for _ in range(spec.n_channels):
        if not _accept_command(spec, state, commands, e, now):
            return progress
        if state.n_free[e] == 0:
            begin(state.slots_blocked_since, e, now)
            return progress
        state.engine_counters[e]["outstanding_stall_cycles"] += end(state.slots_blocked_since, e, now)
        w = (state.newest[e] - 1) % spec.window
        row = state.flight[e, w, _ROW]
        address, into = _addresses(state, transfers, e, row)
        burst = address - address % spec.burst_bytes
        n_bytes = min(burst + spec.burst_bytes - address, transfers[row]["run_bytes"] - state.cursor[e, _OFFSET])
        h = channel_of(dram_spec, burst)
        port, to_dram = e * spec.n_channels + h, h * spec.n_engines + e
        if spec.is_store[e] == 1:
            if not can_push(buffer_requests, port, now):
                return progress
        elif not can_push(dram_requests, to_dram, ticks):
            begin(state.dram_blocked_since, e, now)
            return progress
        else:
            state.engine_counters[e]["dram_stall_cycles"] += end(state.dram_blocked_since, e, now)
        slot, first_word = _take_slot(spec, state, e, w, burst, address, into, n_bytes)
        operation, tensor = transfers[row]["operation"], transfers[row]["tensor_class"]
        if spec.is_store[e] == 1:
            state.counters[operation, tensor]["write_bursts"] += 1
            push(buffer_requests, port, now + 1, first_word, 0, slot, 0)
        else:
            state.counters[operation, tensor]["read_bursts"] += 1
            push(dram_requests, to_dram, ticks + spec.core_ticks, burst, 0, slot, 0)
        _advance(spec, state, transfers, e, row, n_bytes)
        progress = True
    return progress


@kernel
def _data_from_dram(spec, state, dram_responses, buffer_requests, e, now):
    """Bursts that have arrived start writing their first word."""
    progress = False
    ticks = now * spec.core_ticks
    for h in range(spec.n_channels):
        source, port = h * spec.n_engines + e, e * spec.n_channels + h
        if can_pop(dram_responses, source, ticks) and can_push(buffer_requests, port, now):
            slot = peek(dram_responses, source, 2)
            pop(dram_responses, source, ticks + spec.core_ticks)
            push(buffer_requests, port, now + 1, state.slots[e, slot, 1], 1, slot, 0)
            state.slots[e, slot, 4] = 1
            progress = True
    return progress


@kernel
def _answers_from_buffer(spec, state, transfers, dram_requests, buffer_requests, buffer_responses, log, e, now):
    """Words read or written: ask for the next word of the burst, or finish the burst."""
    progress = False
    ticks = now * spec.core_ticks
    for h in range(spec.n_channels):
        port, to_dram = e * spec.n_channels + h, h * spec.n_engines + e
        if not can_pop(buffer_responses, port, now):
            continue
        slot = peek(buffer_responses, port, 2)
        sent = state.slots[e, slot, 4]
        w = state.slots[e, slot, 3]
        if sent < state.slots[e, slot, 2]:
            if not can_push(buffer_requests, port, now):
                continue
            push(buffer_requests, port, now + 1, state.slots[e, slot, 1] + sent, 1 - spec.is_store[e], slot, 0)
            state.slots[e, slot, 4] = sent + 1
        elif spec.is_store[e] == 1:
            if not can_push(dram_requests, to_dram, ticks):
                begin(state.dram_blocked_since, e, now)
                continue
            state.engine_counters[e]["dram_stall_cycles"] += end(state.dram_blocked_since, e, now)
            push(dram_requests, to_dram, ticks + spec.core_ticks, state.slots[e, slot, 5], 1, slot, 0)
            state.target[e, w, h] = dram_requests.pushes[to_dram]
        state.slots[e, slot, 0] -= 1
        state.buffer_words[transfers[state.flight[e, w, _ROW]]["operation"], e] += 1
        if state.slots[e, slot, 0] == 0:
            moved = events.STORED if spec.is_store[e] == 1 else events.LOADED
            events.record(log, moved, e, state.slots[e, slot, 6], state.slots[e, slot, 7], state.slots[e, slot, 8])
            state.free[e, state.n_free[e]] = slot
            state.n_free[e] += 1
            state.flight[e, w, _PENDING] -= 1
        pop(buffer_responses, port, now + 1)
        progress = True
    return progress


@kernel
def _retire(spec, state, dram_requests, completions, e, now):
    """Report the oldest command once all its bursts are done."""
    if state.oldest[e] == state.newest[e]:
        return False
    w = state.oldest[e] % spec.window
    if state.flight[e, w, _ISSUED] == 0 or state.flight[e, w, _PENDING] > 0 or not can_push(completions, e, now):
        return False
    if spec.is_store[e] == 1:
        for h in range(spec.n_channels):
            if n_taken(dram_requests, h * spec.n_engines + e, now * spec.core_ticks) < state.target[e, w, h]:
                return False
    push(completions, e, now + 1, state.flight[e, w, _COMMAND], 0, 0, 0)
    state.oldest[e] += 1
    return True


@kernel
def step(
    spec, state, dram_spec, transfers, commands, completions, dram_requests, dram_responses, buffer_requests, buffer_responses, log, now
):
    """One core cycle of all DMA engines: finish, receive, issue."""
    progress = False
    for e in range(spec.n_engines):
        progress |= _retire(spec, state, dram_requests, completions, e, now)
        progress |= _answers_from_buffer(spec, state, transfers, dram_requests, buffer_requests, buffer_responses, log, e, now)
        if spec.is_store[e] == 0:
            progress |= _data_from_dram(spec, state, dram_responses, buffer_requests, e, now)
        progress |= _issue(spec, state, dram_spec, transfers, commands, dram_requests, buffer_requests, e, now)
    return progress


@kernel
def next_timer(spec, dram_responses, buffer_responses, dram_requests, now):
    """Next core cycle in which data, an answer, or a freed slot of a DRAM queue becomes visible."""
    timer = NEVER
    ticks = now * spec.core_ticks
    for e in range(spec.n_engines):
        for h in range(spec.n_channels):
            timer = sooner(visible_at(buffer_responses, e * spec.n_channels + h), now, timer)
            source = h * spec.n_engines + e
            at = visible_at(dram_responses, source)
            if at < NEVER and at > ticks:
                timer = min(timer, (at + spec.core_ticks - 1) // spec.core_ticks)
            if n_taken(dram_requests, source, ticks) < dram_requests.pops[source]:
                timer = min(timer, now + 1)
    return timer
