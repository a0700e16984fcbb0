"""Global buffers: banks with ports, word interleaved, one request channel and one response channel per requester.

Every request, read or write, is answered on the requester's response channel after the access latency, in order of
the requests. Requesters leave room in their response channel for what they have asked for.
"""

from typing import NamedTuple

import numpy as np

from etasim.core.channel import NEVER, can_pop, peek, pop, push, sooner, visible_at
from etasim.core.jit import kernel

PORTS = {"1RW": (1, 1, 1), "1R1W": (1, 1, 2), "2RW": (2, 2, 2)}
"""Accesses that a bank can do in a cycle: (reads, writes, both together)."""

COUNTERS = np.dtype([
    ("read_words", "i8"), ("written_words", "i8"), ("bank_conflict_cycles", "i8"), ("busy_cycles", "i8"),
])  # fmt: skip
"""Per buffer. ``bank_conflict_cycles``: requests x cycles that waited for a port of their bank; ``busy_cycles``: cycles with an access."""


class BufferSpec(NamedTuple):
    """Buffers b and requesters q. ``members[first[b]:first[b+1]]`` are the requesters of buffer b; ``ports`` [b, (read, write, any)]."""

    first: np.ndarray
    members: np.ndarray
    n_banks: np.ndarray
    ports: np.ndarray
    latency_cycles: np.ndarray
    ideal: int


class BufferState(NamedTuple):
    """``used`` [buffer, bank, (reads, writes, cycle of these counts)]; ``turn`` [buffer] rotates the priority; ``words`` [buffer, bank,
    (read, written)] in all; ``most`` [buffer, bank, (read, written, both)]: words in a cycle, the most that there were."""

    used: np.ndarray
    turn: np.ndarray
    words: np.ndarray
    most: np.ndarray
    counters: np.ndarray


def init(spec: BufferSpec) -> BufferState:
    """Empty buffers."""
    n_buffers = len(spec.n_banks)
    n_banks = int(spec.n_banks.max())
    return BufferState(
        used=np.full((n_buffers, n_banks, 3), -1, np.int64),
        turn=np.zeros(n_buffers, np.int64),
        words=np.zeros((n_buffers, n_banks, 2), np.int64),
        most=np.zeros((n_buffers, n_banks, 3), np.int64),
        counters=np.zeros(n_buffers, COUNTERS),
    )


@kernel
def _grant(spec, state, buffer, bank, is_write, now):
    """Take a port of the bank in this cycle, if one is left."""
    used = state.used
    if used[buffer, bank, 2] != now:
        used[buffer, bank, 0] = 0
        used[buffer, bank, 1] = 0
        used[buffer, bank, 2] = now
    if used[buffer, bank, is_write] >= spec.ports[buffer, is_write]:
        return False
    if used[buffer, bank, 0] + used[buffer, bank, 1] >= spec.ports[buffer, 2]:
        return False
    used[buffer, bank, is_write] += 1
    most = state.most
    most[buffer, bank, is_write] = max(most[buffer, bank, is_write], used[buffer, bank, is_write])
    most[buffer, bank, 2] = max(most[buffer, bank, 2], used[buffer, bank, 0] + used[buffer, bank, 1])
    return True


@kernel
def step(spec, state, requests, responses, now):
    """One cycle of all buffers: each requester's oldest request is granted if its bank has a port left."""
    progress = False
    for buffer in range(spec.n_banks.shape[0]):
        first = spec.first[buffer]
        n = spec.first[buffer + 1] - first
        accesses = 0
        for i in range(n):
            requester = spec.members[first + (i + state.turn[buffer]) % n]
            if not can_pop(requests, requester, now):
                continue
            word = peek(requests, requester, 0)
            is_write = peek(requests, requester, 1)
            bank = word % spec.n_banks[buffer]
            if spec.ideal == 0 and not _grant(spec, state, buffer, bank, is_write, now):
                state.counters[buffer]["bank_conflict_cycles"] += 1
                progress = True
                continue
            push(
                responses,
                requester,
                now + spec.latency_cycles[buffer],
                word,
                is_write,
                peek(requests, requester, 2),
                peek(requests, requester, 3),
            )
            pop(requests, requester, now + 1)
            state.words[buffer, bank, is_write] += 1
            if is_write == 1:
                state.counters[buffer]["written_words"] += 1
            else:
                state.counters[buffer]["read_words"] += 1
            accesses += 1
        if accesses > 0:
            state.turn[buffer] = (state.turn[buffer] + 1) % n
            state.counters[buffer]["busy_cycles"] += 1
            progress = True
    return progress


@kernel
def next_timer(spec, requests, now):
    """Next cycle in which a request becomes visible."""
    timer = NEVER
    for q in range(spec.members.shape[0]):
        timer = sooner(visible_at(requests, q), now, timer)
    return timer
