"""DMA engines: strided transfers between DRAM and a global buffer, split into bursts, several commands in flight.

A load asks DRAM for a burst and writes the words it covers when the data arrives; a store reads the words and then
writes the burst. Bursts of a command start in order, complete in any order, and commands complete in order.
A load is complete when its last word is in the buffer, a store when the DRAM controller has accepted its last burst.
"""

from typing import Any, NamedTuple

import numpy as np

from etasim.core.arrays import Records
from etasim.core.channel import NEVER, Channels, can_pop, can_push, n_taken, pop, sooner, visible_at
from etasim.core.division import quotient, remainder
from etasim.core.interval import OPEN, begin, end
from etasim.core.jit import kernel
from etasim.core.message import access_tags, command_words, send_access, send_completion
from etasim.memory.dram import channel_of
from etasim.program import events
from etasim.program.commands import RUN_DIMENSIONS, Program
from etasim.program.events import EventLog

COUNTERS = np.dtype([
    ("read_bursts", "i8"), ("write_bursts", "i8"),
])  # fmt: skip
"""Per operation and tensor class."""

ENGINE_COUNTERS = np.dtype([
    ("commands", "i8"), ("bursts", "i8"), ("dram_stall_cycles", "i8"), ("outstanding_stall_cycles", "i8"),
])  # fmt: skip
"""Per engine. Stalls are cycles in which the next burst could not start: DRAM queue full, or all slots in use."""

CURSOR = np.dtype([("index", "i8", (RUN_DIMENSIONS,)), ("offset", "i8"), ("active", "i8")])
"""Where the command that is being issued stands: its run, in each dimension, and the byte of the run."""

SLOT = np.dtype([(name, "i8") for name in (
    "words_left", "first_word", "n_words", "window", "words_sent", "burst", "dram_address", "buffer_address", "n_bytes",
)])  # fmt: skip
"""A burst under way, of the command at place ``window``. ``burst``: its address in DRAM; ``dram_address``: of its first byte moved."""

FLIGHT = np.dtype([("command", "i8"), ("row", "i8"), ("pending", "i8"), ("issued", "i8")])
"""A command in flight: bursts under way, and whether all have been started."""


class DmaSpec(NamedTuple):
    """Engines e, the first of the ``n_requesters`` of each DRAM channel. ``engine`` [e]: command queue; port of engine e for DRAM channel
    h: buffer requester ``first_port[e] + h``."""

    engine: np.ndarray
    first_port: np.ndarray
    is_store: np.ndarray
    n_engines: int
    n_requesters: int
    n_channels: int
    interleave_bits: int
    burst_bytes: int
    word_bytes: int
    n_slots: int
    window: int
    core_ticks: int


class DmaState(NamedTuple):
    """``cursor`` [e]; ``slots`` [e, slot]; ``flight`` [e, window]; ``target`` [e, window, channel]: bursts pushed to the channel;
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
        cursor=np.zeros(e, CURSOR),
        slots=np.zeros((e, spec.n_slots), SLOT),
        free=np.tile(np.arange(spec.n_slots, dtype=np.int64), (e, 1)),
        n_free=np.full(e, spec.n_slots, np.int64),
        flight=np.zeros((e, spec.window), FLIGHT),
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
def _accept_command(spec: DmaSpec, state: DmaState, commands: Channels, e: int, now: int) -> bool:
    """Start issuing the next command if the window has room; returns whether a command is being issued."""
    if state.cursor[e]["active"] == 1:
        return True
    if state.newest[e] - state.oldest[e] >= spec.window or not can_pop(commands, spec.engine[e], now):
        return False
    flight = state.flight[e, remainder(state.newest[e], spec.window)]
    flight["command"], flight["row"] = command_words(commands, spec.engine[e])
    flight["pending"] = 0
    flight["issued"] = 0
    pop(commands, spec.engine[e], now + 1)
    state.newest[e] += 1
    state.cursor[e]["active"] = 1
    state.engine_counters[e]["commands"] += 1
    return True


@kernel
def _advance(spec: DmaSpec, state: DmaState, transfers: Records, e: int, row: int, taken_bytes: int) -> None:
    """Move the cursor past the bytes of a burst; marks the command issued after its last run."""
    cursor = state.cursor[e]
    cursor["offset"] += taken_bytes
    if cursor["offset"] < transfers[row]["run_bytes"]:
        return
    cursor["offset"] = 0
    for d in range(RUN_DIMENSIONS - 1, -1, -1):
        cursor["index"][d] += 1
        if cursor["index"][d] < transfers[row]["counts"][d]:
            return
        cursor["index"][d] = 0
    cursor["active"] = 0
    state.flight[e, remainder(state.newest[e] - 1, spec.window)]["issued"] = 1


@kernel
def _addresses(state: DmaState, transfers: Records, e: int, row: int) -> tuple[int, int]:
    """Where the cursor stands: byte address in DRAM and in the buffer."""
    cursor = state.cursor[e]
    source = transfers[row]["dram_address"] + cursor["offset"]
    target = transfers[row]["buffer_address"] + cursor["offset"]
    for d in range(RUN_DIMENSIONS):
        source += cursor["index"][d] * transfers[row]["dram_strides"][d]
        target += cursor["index"][d] * transfers[row]["buffer_strides"][d]
    return source, target


@kernel
def _take_slot(spec: DmaSpec, state: DmaState, e: int, w: int, burst: int, address: int, into: int, n_bytes: int) -> tuple[int, int]:
    """Put a burst of the command in window place ``w`` into a free slot; returns the slot and the first word in the buffer."""
    state.n_free[e] -= 1
    slot = state.free[e, state.n_free[e]]
    first_word = quotient(into, spec.word_bytes)
    n_words = quotient(into + n_bytes - 1, spec.word_bytes) - first_word + 1
    taken = state.slots[e, slot]
    taken["words_left"] = n_words
    taken["first_word"] = first_word
    taken["n_words"] = n_words
    taken["window"] = w
    taken["words_sent"] = spec.is_store[e]
    taken["burst"] = burst
    taken["dram_address"] = address
    taken["buffer_address"] = into
    taken["n_bytes"] = n_bytes
    state.flight[e, w]["pending"] += 1
    state.engine_counters[e]["bursts"] += 1
    return slot, first_word


@kernel
def _issue(
    spec: DmaSpec, state: DmaState, transfers: Records, commands: Channels, dram_requests: Channels, buffer_requests: Channels, e: int,
    now: int,
) -> bool:  # fmt: skip
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
        w = remainder(state.newest[e] - 1, spec.window)
        row = state.flight[e, w]["row"]
        address, into = _addresses(state, transfers, e, row)
        burst = address - remainder(address, spec.burst_bytes)
        n_bytes = min(burst + spec.burst_bytes - address, transfers[row]["run_bytes"] - state.cursor[e]["offset"])
        h = channel_of(spec, burst)
        port, to_dram = spec.first_port[e] + h, h * spec.n_requesters + e
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
            send_access(buffer_requests, port, now + 1, first_word, 0, slot, 0)
        else:
            state.counters[operation, tensor]["read_bursts"] += 1
            send_access(dram_requests, to_dram, ticks + spec.core_ticks, burst, 0, slot, 0)
        _advance(spec, state, transfers, e, row, n_bytes)
        progress = True
    return progress


@kernel
def _data_from_dram(spec: DmaSpec, state: DmaState, dram_responses: Channels, buffer_requests: Channels, e: int, now: int) -> bool:
    """Bursts that have arrived start writing their first word."""
    progress = False
    ticks = now * spec.core_ticks
    for h in range(spec.n_channels):
        source, port = h * spec.n_requesters + e, spec.first_port[e] + h
        if can_pop(dram_responses, source, ticks) and can_push(buffer_requests, port, now):
            slot, _ = access_tags(dram_responses, source)
            pop(dram_responses, source, ticks + spec.core_ticks)
            send_access(buffer_requests, port, now + 1, state.slots[e, slot]["first_word"], 1, slot, 0)
            state.slots[e, slot]["words_sent"] = 1
            progress = True
    return progress


@kernel
def _answers_from_buffer(
    spec: DmaSpec, state: DmaState, transfers: Records, dram_requests: Channels, buffer_requests: Channels, buffer_responses: Channels,
    log: EventLog, e: int, now: int,
) -> bool:  # fmt: skip
    """Words read or written: ask for the next word of the burst, or finish the burst."""
    progress = False
    ticks = now * spec.core_ticks
    for h in range(spec.n_channels):
        port, to_dram = spec.first_port[e] + h, h * spec.n_requesters + e
        if not can_pop(buffer_responses, port, now):
            continue
        slot, _ = access_tags(buffer_responses, port)
        moved, sent = state.slots[e, slot], state.slots[e, slot]["words_sent"]
        flight = state.flight[e, moved["window"]]
        if sent < moved["n_words"]:
            if not can_push(buffer_requests, port, now):
                continue
            send_access(buffer_requests, port, now + 1, moved["first_word"] + sent, 1 - spec.is_store[e], slot, 0)
            moved["words_sent"] = sent + 1
        elif spec.is_store[e] == 1:
            if not can_push(dram_requests, to_dram, ticks):
                begin(state.dram_blocked_since, e, now)
                continue
            state.engine_counters[e]["dram_stall_cycles"] += end(state.dram_blocked_since, e, now)
            send_access(dram_requests, to_dram, ticks + spec.core_ticks, moved["burst"], 1, slot, 0)
            state.target[e, moved["window"], h] = dram_requests.pushes[to_dram]
        moved["words_left"] -= 1
        state.buffer_words[transfers[flight["row"]]["operation"], e] += 1
        if moved["words_left"] == 0:
            event = events.STORED if spec.is_store[e] == 1 else events.LOADED
            events.record(log, event, e, moved["dram_address"], moved["buffer_address"], moved["n_bytes"])
            state.free[e, state.n_free[e]] = slot
            state.n_free[e] += 1
            flight["pending"] -= 1
        pop(buffer_responses, port, now + 1)
        progress = True
    return progress


@kernel
def _retire(spec: DmaSpec, state: DmaState, dram_requests: Channels, completions: Channels, e: int, now: int) -> bool:
    """Report the oldest command once all its bursts are done."""
    if state.oldest[e] == state.newest[e]:
        return False
    w = remainder(state.oldest[e], spec.window)
    flight = state.flight[e, w]
    if flight["issued"] == 0 or flight["pending"] > 0 or not can_push(completions, spec.engine[e], now):
        return False
    if spec.is_store[e] == 1:
        for h in range(spec.n_channels):
            if n_taken(dram_requests, h * spec.n_requesters + e, now * spec.core_ticks) < state.target[e, w, h]:
                return False
    send_completion(completions, spec.engine[e], now + 1, flight["command"])
    state.oldest[e] += 1
    return True


@kernel
def step(spec: DmaSpec, state: DmaState, program: Program, links: Any, log: EventLog, e: int, now: int) -> bool:
    """One core cycle of DMA engine ``e``: finish, receive, issue."""
    progress, transfers, commands, completions = False, program.transfers, links.commands, links.completions
    dram_requests, dram_responses, buffer_requests = links.dram_requests, links.dram_responses, links.buffer_requests
    progress |= _retire(spec, state, dram_requests, completions, e, now)
    progress |= _answers_from_buffer(spec, state, transfers, dram_requests, buffer_requests, links.buffer_responses, log, e, now)
    if spec.is_store[e] == 0:
        progress |= _data_from_dram(spec, state, dram_responses, buffer_requests, e, now)
    progress |= _issue(spec, state, transfers, commands, dram_requests, buffer_requests, e, now)
    return progress


@kernel
def next_timer(spec: DmaSpec, state: DmaState, program: Program, links: Any, log: EventLog, e: int, now: int) -> int:
    """Next core cycle in which data, an answer, or a freed slot of a DRAM queue becomes visible."""
    timer = NEVER
    ticks = now * spec.core_ticks
    for h in range(spec.n_channels):
        timer = sooner(visible_at(links.buffer_responses, spec.first_port[e] + h), now, timer)
        source = h * spec.n_requesters + e
        at = visible_at(links.dram_responses, source)
        if at < NEVER and at > ticks:
            timer = min(timer, (at + spec.core_ticks - 1) // spec.core_ticks)
        if n_taken(links.dram_requests, source, ticks) < links.dram_requests.pops[source]:
            timer = min(timer, now + 1)
    return timer
