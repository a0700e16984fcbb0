"""Per-bank queues served round robin: the scheduler ``bank_round_robin``, after DRAMsim3.

Requests wait in a read and a write queue. Each clock the oldest one whose bank has room is handed to its bank; the banks take turns to
issue for what they hold, in order of age where the row allows. Writes are handed over in bursts: all that the queue holds when it is full.
"""

import numpy as np

from etasim.core.channel import NEVER, visible_at
from etasim.core.jit import kernel
from etasim.memory.dram.issue import leave_queue
from etasim.memory.dram.queue import link, renew_opened
from etasim.memory.dram.schedule import NOTHING_PLANNED, idle_closing_or
from etasim.memory.dram.spec import (
    ACTIVE,
    AGE,
    BUSY_ACTIVE,
    BUSY_READS,
    DRAINING,
    HANDED_LIMIT,
    HEAD,
    IS_WRITE,
    LONG_AGO,
    N_COLUMNS,
    N_HANDED,
    N_READS,
    N_WRITES,
    NEXT,
    NEXT_BANK,
    NO_COMMAND,
    NO_ENTRY,
    NO_ROW,
    OPEN_ROW,
    READS,
    REFRESH_RANK,
    REFRESHES_DUE,
    ROW,
    TRIED_AT,
    WRITES,
)
from etasim.memory.dram.standards import ACT, PRE, RD, REF
from etasim.memory.dram.timing import ready_at

HITS_BEFORE_CLOSING = 4
"""Column commands after which a row is closed for the bank's oldest request although younger ones hit it (as in DRAMsim3)."""

IDLE_DRAIN_WRITES = 8
"""Queued writes above which idle banks are given them, reads or not (as in DRAMsim3)."""


@kernel
def best_of_bank(spec, state, channel, first_clock, slot, bank):
    """(clock, entry, command) that a bank can issue first; of equals the one for the older request."""
    head, row = state.banks[channel, bank, HEAD + ACTIVE], state.banks[channel, bank, OPEN_ROW]
    best = (NEVER, np.int64(NO_ENTRY), np.int64(NO_COMMAND))
    if row == NO_ROW:
        if spec.slots[slot, ACT]:
            best = (max(first_clock, ready_at(spec, state, channel, bank, ACT)), head, np.int64(ACT))
        return best
    entry, hit = head, False
    while entry != NO_ENTRY:
        if state.entries[channel, entry, ROW] == row:
            hit, command = True, RD + state.entries[channel, entry, IS_WRITE]
            clock = max(first_clock, ready_at(spec, state, channel, bank, command))
            if spec.slots[slot, command] and clock < best[0]:
                best = (clock, entry, command)
        entry = state.entries[channel, entry, NEXT]
    closes = state.entries[channel, head, ROW] != row and (not hit or state.banks[channel, bank, N_COLUMNS] >= HITS_BEFORE_CLOSING)
    if closes and spec.slots[slot, PRE]:
        clock = max(first_clock, ready_at(spec, state, channel, bank, PRE))
        if clock <= best[0]:
            best = (clock, head, np.int64(PRE))
    return best


@kernel
def refresh_of_rank(spec, state, channel, first_clock, slot):
    """The next command towards the refresh that is due: PRE of an open bank that allows it, REF when all are closed."""
    rank, best = state.registers[channel, REFRESH_RANK], NOTHING_PLANNED
    bank = rank * spec.banks_per_rank
    if spec.slots[slot, REF] == 0:
        return best
    if state.open_banks[channel, rank, 0] == 0:
        clock = max(first_clock, state.ready[channel, bank >> spec.group_bits, REF])
        return clock, NEVER, np.int64(NO_ENTRY), np.int64(REF), rank
    for b in range(bank, bank + spec.banks_per_rank):
        if state.banks[channel, b, OPEN_ROW] != NO_ROW:
            clock = max(first_clock, ready_at(spec, state, channel, b, PRE))
            if clock < best[0]:
                best = (clock, NEVER, np.int64(NO_ENTRY), np.int64(PRE), np.int64(b))
    return best


@kernel
def best_in_turn(spec, state, channel, first_clock, slot):
    """The next command on a bus: for the refresh that is due, else of the bank whose turn comes first. A plan as in ``schedule``."""
    best, rank = NOTHING_PLANNED, np.int64(-1)
    if state.registers[channel, REFRESHES_DUE] > 0:
        rank = state.registers[channel, REFRESH_RANK]
    for i in range(state.registers[channel, BUSY_ACTIVE]):
        bank = state.busy[channel, ACTIVE, i]
        if bank >> spec.rank_bits == rank:
            continue
        ahead = bank - state.registers[channel, NEXT_BANK]
        order = ahead + spec.n_banks if ahead < 0 else ahead
        clock, entry, command = best_of_bank(spec, state, channel, first_clock, slot, bank)
        if clock < best[0] or (clock == best[0] and order < best[1]):
            best = (clock, order, entry, command, bank)
    if rank >= 0:
        refresh = refresh_of_rank(spec, state, channel, first_clock, slot)
        if refresh[0] <= best[0]:
            best = refresh
    if spec.idle_close_clocks < NEVER and spec.slots[slot, PRE]:
        best = idle_closing_or(spec, state, channel, first_clock, best)
    return best


@kernel
def writes_to_drain(spec, state, requests, channel, clock):
    """Writes to hand over from now on: what is left of a burst, or all of them when it is time for one.

    It is time when the queue is full, when the banks hold nothing while many writes wait, and when there is nothing else to do at all.
    """
    draining, writes = state.registers[channel, DRAINING], state.registers[channel, N_WRITES]
    if draining > 0 or writes >= spec.write_queue:
        return draining if draining > 0 else writes
    if state.registers[channel, BUSY_ACTIVE] > 0:
        return draining
    quiet = state.registers[channel, N_READS] == 0
    for port in range(channel * spec.n_requesters, (channel + 1) * spec.n_requesters):
        quiet = quiet and visible_at(requests, port) > clock * spec.dram_ticks
    return writes if quiet or writes > IDLE_DRAIN_WRITES else draining


@kernel
def next_to_hand(state, channel, queue):
    """Bank of the oldest request of a queue whose bank has room, NO_ENTRY if there is none."""
    age, found = NEVER, np.int64(NO_ENTRY)
    for i in range(state.registers[channel, BUSY_READS + queue]):
        bank = state.busy[channel, queue, i]
        head = state.entries[channel, state.banks[channel, bank, HEAD + queue], AGE]
        if head < age and state.banks[channel, bank, N_HANDED] < HANDED_LIMIT:
            age, found = head, bank
    return found


@kernel
def can_hand_over(spec, state, requests, channel, clock):
    """Whether a request can be handed to its bank in ``clock``."""
    queue = WRITES if writes_to_drain(spec, state, requests, channel, clock) > 0 else READS
    return next_to_hand(state, channel, queue) != NO_ENTRY


@kernel
def hand_over(spec, state, requests, channel, clock):
    """Hand one request to its bank, where it can issue its first command in the next clock."""
    draining = writes_to_drain(spec, state, requests, channel, clock)
    queue = WRITES if draining > 0 else READS
    bank = next_to_hand(state, channel, queue)
    if bank != NO_ENTRY:
        entry = state.banks[channel, bank, HEAD + queue]
        leave_queue(state, channel, bank, entry, clock)
        renew_opened(state, channel, bank)
        link(state, channel, ACTIVE, bank, entry)
        state.banks[channel, bank, N_HANDED] += 1
        state.registers[channel, TRIED_AT] = LONG_AGO
        draining -= queue
    state.registers[channel, DRAINING] = draining
