"""Global buffers: banks with ports, word interleaved, one request channel and one response channel per requester.

Every request, read or write, is answered on the requester's response channel after the access latency, in order of
the requests. Requesters leave room in their response channel for what they have asked for.
"""

from typing import Any, NamedTuple

import numpy as np

from etasim.core.channel import NEVER, can_pop, pop, sooner, visible_at
from etasim.core.division import remainder
from etasim.core.jit import kernel
from etasim.core.message import access_place, access_tags, send_access
from etasim.program.commands import Program
from etasim.program.events import EventLog

PORTS = {"1RW": (1, 1, 1), "1R1W": (1, 1, 2), "2RW": (2, 2, 2)}
"""Accesses that a bank can do in a cycle: (reads, writes, both together)."""

READ, WRITE, BOTH = range(3)
"""Accesses, by the word of a message that tells a write."""

COUNTERS = np.dtype([
    ("read_words", "i8"), ("written_words", "i8"), ("bank_conflict_cycles", "i8"), ("busy_cycles", "i8"),
])  # fmt: skip
"""Per buffer. ``bank_conflict_cycles``: requests x cycles that waited for a port of their bank; ``busy_cycles``: cycles with an access."""


class BufferSpec(NamedTuple):
    """Buffers b and requesters q. ``members[first[b]:first[b+1]]`` are the requesters of buffer b; ``ports`` [b, access or both]."""

    first: np.ndarray
    members: np.ndarray
    n_banks: np.ndarray
    ports: np.ndarray
    latency_cycles: np.ndarray
    ideal: int


class BufferState(NamedTuple):
    """``used`` [buffer, bank, access]: words in cycle ``used_at`` [buffer, bank]; ``turn`` [buffer] rotates the priority;
    ``words`` [buffer, bank, access] in all; ``most`` [buffer, bank, access or both]: the most words in a cycle."""

    used: np.ndarray
    used_at: np.ndarray
    turn: np.ndarray
    words: np.ndarray
    most: np.ndarray
    counters: np.ndarray


def init(spec: BufferSpec) -> BufferState:
    """Empty buffers."""
    n_buffers = len(spec.n_banks)
    n_banks = int(spec.n_banks.max())
    return BufferState(
        used=np.zeros((n_buffers, n_banks, 2), np.int64),
        used_at=np.full((n_buffers, n_banks), -1, np.int64),
        turn=np.zeros(n_buffers, np.int64),
        words=np.zeros((n_buffers, n_banks, 2), np.int64),
        most=np.zeros((n_buffers, n_banks, 3), np.int64),
        counters=np.zeros(n_buffers, COUNTERS),
    )


@kernel
def _grant(spec: BufferSpec, state: BufferState, buffer: int, bank: int, access: int, now: int) -> bool:
    """Take a port of the bank in this cycle, if one is left."""
    used, most = state.used[buffer, bank], state.most[buffer, bank]
    if state.used_at[buffer, bank] != now:
        used[READ] = 0
        used[WRITE] = 0
        state.used_at[buffer, bank] = now
    if used[access] >= spec.ports[buffer, access] or used[READ] + used[WRITE] >= spec.ports[buffer, BOTH]:
        return False
    used[access] += 1
    most[access] = max(most[access], used[access])
    most[BOTH] = max(most[BOTH], used[READ] + used[WRITE])
    return True


@kernel
def step(spec: BufferSpec, state: BufferState, program: Program, links: Any, log: EventLog, buffer: int, now: int) -> bool:
    """One cycle of a buffer: each requester's oldest request is granted if its bank has a port left."""
    progress, requests, responses = False, links.buffer_requests, links.buffer_responses
    first = spec.first[buffer]
    n = spec.first[buffer + 1] - first
    accesses = 0
    for i in range(n):
        place = i + state.turn[buffer]
        requester = spec.members[first + (place - n if place >= n else place)]  # a remainder takes longer than all the rest
        if not can_pop(requests, requester, now):
            continue
        word, is_write = access_place(requests, requester)
        bank = remainder(word, spec.n_banks[buffer])
        if spec.ideal == 0 and not _grant(spec, state, buffer, bank, is_write, now):
            state.counters[buffer]["bank_conflict_cycles"] += 1
            progress = True
            continue
        tag, note = access_tags(requests, requester)
        send_access(responses, requester, now + spec.latency_cycles[buffer], word, is_write, tag, note)
        pop(requests, requester, now + 1)
        state.words[buffer, bank, is_write] += 1
        if is_write == 1:
            state.counters[buffer]["written_words"] += 1
        else:
            state.counters[buffer]["read_words"] += 1
        accesses += 1
    if accesses > 0:
        state.turn[buffer] = state.turn[buffer] + 1 if state.turn[buffer] + 1 < n else 0
        state.counters[buffer]["busy_cycles"] += 1
        progress = True
    return progress


@kernel
def next_timer(spec: BufferSpec, state: BufferState, program: Program, links: Any, log: EventLog, buffer: int, now: int) -> int:
    """Next cycle in which a request to the buffer becomes visible."""
    timer = NEVER
    for i in range(spec.first[buffer], spec.first[buffer + 1]):
        timer = sooner(visible_at(links.buffer_requests, spec.members[i]), now, timer)
    return timer
