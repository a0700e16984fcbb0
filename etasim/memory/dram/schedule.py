"""Which command a channel issues next, and when: the scheduling policies.

The plan is the earliest clock from ``first_clock`` on at which some candidate may issue, and the candidate that wins in that clock.
Candidates do not change between two events of a channel (a command issued, a request accepted, a refresh due), so nothing needs to be
looked at in the clocks in between. Priority within a clock: requests whose ACT was issued, refresh, queued requests, idle closing;
oldest first.
"""

import numpy as np

from etasim.core.channel import NEVER
from etasim.core.jit import kernel
from etasim.memory.dram.spec import (
    ACTIVE,
    ACTIVE_ENTRY,
    AGE,
    BANK_OF,
    BANK_ROUND_ROBIN,
    BUSY_ACTIVE,
    BUSY_READS,
    COMMAND,
    ENTRY,
    FCFS,
    HEAD,
    HIT,
    IS_WRITE,
    MISS,
    N_READS,
    N_WRITES,
    NEXT_BANK,
    NO_COMMAND,
    NO_ENTRY,
    NO_ROW,
    OLDEST,
    OPEN_ROW,
    ORDER,
    REFRESH_AT,
    REFRESH_RANK,
    REFRESHES_DUE,
    ROW_HIT,
    SLOT,
    TARGET,
    USED_AT,
    WAKE,
    WRITE_MODE,
)
from etasim.memory.dram.standards import ACT, BANK, BANK_GROUP, CHANNEL, PRE, PREA, RANK, RD, REF

NOTHING_PLANNED = (NEVER, NEVER, np.int64(NO_ENTRY), np.int64(NO_COMMAND), np.int64(0))
"""A plan is (clock, order among commands of the same clock, entry, command, target)."""


@kernel
def ready_at(spec, state, channel, bank, command):
    """First clock at which the constraints of all levels allow a command to a bank."""
    ready = state.ready[channel, spec.bank_nodes[bank, CHANNEL], command]
    ready = max(ready, state.ready[channel, spec.bank_nodes[bank, RANK], command])
    ready = max(ready, state.ready[channel, spec.bank_nodes[bank, BANK_GROUP], command])
    return max(ready, state.ready[channel, spec.bank_nodes[bank, BANK], command])


@kernel
def order_of(spec, state, channel, entry, bank):
    """Order among requests that could issue in the same clock: by age, or from the bank on whose turn it is."""
    if spec.scheduler == BANK_ROUND_ROBIN:
        ahead = bank - state.registers[channel, NEXT_BANK]
        return ahead + spec.n_banks if ahead < 0 else ahead
    return state.entries[channel, entry, AGE]


@kernel
def offer(spec, state, channel, first_clock, slot, entry, command, bank, best):
    """The better of ``best`` and a command for ``entry``: the one that can issue earlier, of equals the one first in order.

    Written without branches: which one wins is as good as random, and a mispredicted branch costs more than the whole comparison.
    """
    clock = max(first_clock, ready_at(spec, state, channel, bank, command))
    order = order_of(spec, state, channel, entry, bank)
    wins = ((clock < best[0]) | ((clock == best[0]) & (order < best[1]))) & (spec.slots[slot, command] != 0)
    return (
        clock if wins else best[0], order if wins else best[1], entry if wins else best[2],
        command if wins else best[3], bank if wins else best[4],
    )


@kernel
def best_active(spec, state, channel, first_clock, slot):
    """The best column command among the requests whose ACT was issued."""
    best = NOTHING_PLANNED
    for i in range(state.registers[channel, BUSY_ACTIVE]):
        bank = state.busy[channel, ACTIVE, i]
        entry = state.banks[channel, bank, ACTIVE_ENTRY]
        command = RD + state.entries[channel, entry, IS_WRITE]
        best = offer(spec, state, channel, first_clock, slot, entry, command, bank, best)
    return best


@kernel
def refresh_or(spec, state, channel, first_clock, slot, best):
    """The refresh that is due, or the precharge of its rank before it, unless ``best`` issues no later.

    A rank is not precharged while one of its requests has its ACT issued and its data still to come.
    """
    rank = state.registers[channel, REFRESH_RANK]
    bank = rank * spec.banks_per_rank
    command = REF
    if state.open_banks[channel, rank, 0] > 0:
        command = PREA
        for i in range(state.registers[channel, BUSY_ACTIVE]):
            if state.busy[channel, ACTIVE, i] // spec.banks_per_rank == rank:
                return best
    if spec.slots[slot, command] == 0:
        return best
    clock = max(first_clock, state.ready[channel, spec.bank_nodes[bank, CHANNEL], command])
    clock = max(clock, state.ready[channel, spec.bank_nodes[bank, RANK], command])
    if clock >= best[0]:
        return best
    return clock, NEVER, np.int64(NO_ENTRY), np.int64(command), rank


@kernel
def next_write_mode(spec, state, channel):
    """Whether writes drain: hysteresis between the watermarks, and whenever no read waits."""
    reads, writes = state.registers[channel, N_READS], state.registers[channel, N_WRITES]
    if state.registers[channel, WRITE_MODE]:
        return np.int64(not (writes < spec.write_low and reads > 0))
    return np.int64(writes > spec.write_high or reads == 0)


@kernel
def must_stay_open(spec, state, channel, hit, miss, bank):
    """Whether a row may not be closed for ``miss``: a request has its ACT issued, or (row hit policy) an older request hits the row."""
    if state.banks[channel, bank, ACTIVE_ENTRY] != NO_ENTRY:
        return True
    keeps_hits = spec.scheduler == ROW_HIT or spec.scheduler == BANK_ROUND_ROBIN
    return keeps_hits and hit != NO_ENTRY and state.entries[channel, hit, AGE] < state.entries[channel, miss, AGE]


@kernel
def offer_bank(spec, state, channel, first_clock, slot, queue, bank, best):
    """The best of ``best`` and the next commands of a bank's oldest row hit and oldest row miss."""
    hit, miss = state.banks[channel, bank, HIT + queue], state.banks[channel, bank, MISS + queue]
    if spec.scheduler == FCFS:
        if state.entries[channel, state.banks[channel, bank, HEAD + queue], AGE] > state.registers[channel, OLDEST]:
            return best
        hit, miss = (hit, np.int64(NO_ENTRY)) if hit == state.banks[channel, bank, HEAD + queue] else (np.int64(NO_ENTRY), miss)
    if hit != NO_ENTRY:
        best = offer(spec, state, channel, first_clock, slot, hit, RD + queue, bank, best)
    if miss != NO_ENTRY:
        is_open = state.banks[channel, bank, OPEN_ROW] != NO_ROW
        if not (is_open and must_stay_open(spec, state, channel, hit, miss, bank)):
            best = offer(spec, state, channel, first_clock, slot, miss, PRE if is_open else ACT, bank, best)
    return best


@kernel
def find_oldest(state, channel, queue):
    """Note the age of the oldest request of a queue."""
    oldest = NEVER
    for i in range(state.registers[channel, BUSY_READS + queue]):
        head = state.banks[channel, state.busy[channel, queue, i], HEAD + queue]
        oldest = min(oldest, state.entries[channel, head, AGE])
    state.registers[channel, OLDEST] = oldest


@kernel
def idle_closing_or(spec, state, channel, first_clock, best):
    """The precharge of a row that nobody wants and that was not used for a while, unless ``best`` issues no later."""
    for bank in range(spec.n_banks):
        wanted = (
            state.banks[channel, bank, ACTIVE_ENTRY] != NO_ENTRY
            or state.banks[channel, bank, HIT] != NO_ENTRY or state.banks[channel, bank, HIT + 1] != NO_ENTRY
        )
        if state.banks[channel, bank, OPEN_ROW] != NO_ROW and not wanted:
            clock = max(first_clock, state.banks[channel, bank, USED_AT] + spec.idle_close_clocks)
            clock = max(clock, ready_at(spec, state, channel, bank, PRE))
            if clock < best[0]:
                best = (clock, NEVER, np.int64(NO_ENTRY), np.int64(PRE), np.int64(bank))
    return best


@kernel
def best_of_slot(spec, state, channel, first_clock, slot):
    """The next command on command bus ``slot``: (clock, entry, command, target); at NEVER, none until something happens."""
    registers = state.registers
    active = best_active(spec, state, channel, first_clock, slot)
    if registers[channel, REFRESHES_DUE] > 0:
        return refresh_or(spec, state, channel, first_clock, slot, active)
    if active[0] == first_clock:
        return active
    mode = next_write_mode(spec, state, channel)
    registers[channel, WRITE_MODE] = mode
    best = NOTHING_PLANNED
    if spec.scheduler == FCFS:
        find_oldest(state, channel, mode)
    for i in range(registers[channel, BUSY_READS + mode]):
        best = offer_bank(spec, state, channel, first_clock, slot, mode, state.busy[channel, mode, i], best)
    if active[0] <= best[0]:
        best = active
    if spec.idle_close_clocks < NEVER and spec.slots[slot, PRE]:
        best = idle_closing_or(spec, state, channel, first_clock, best)
    return best


@kernel
def plan(spec, state, channel, first_clock, first_slot):
    """Plan the next event of a channel: a command on a command bus from ``first_slot`` on, or a refresh that falls due.

    In the clock in which a refresh falls due the write mode is not looked at, so that clock is not planned ahead.
    """
    best, bus = NOTHING_PLANNED, np.int64(0)
    due = state.registers[channel, REFRESH_AT]
    if due > first_clock:
        for slot in range(first_slot, spec.slots.shape[0]):
            candidate = best_of_slot(spec, state, channel, first_clock, slot)
            if candidate[0] < best[0]:
                best, bus = candidate, np.int64(slot)
    if due <= best[0]:
        best = (due, NEVER, np.int64(NO_ENTRY), np.int64(NO_COMMAND), np.int64(0))
    write_plan(state, channel, best, bus)


@kernel
def write_plan(state, channel, best, bus):
    """Enter a plan into the registers."""
    state.registers[channel, WAKE] = best[0]
    state.registers[channel, ORDER] = best[1]
    state.registers[channel, ENTRY] = best[2]
    state.registers[channel, COMMAND] = best[3]
    state.registers[channel, TARGET] = best[4]
    state.registers[channel, SLOT] = bus


@kernel
def arrival_changes_plan(spec, state, channel, first_clock, entry, leads):
    """Whether an accepted request calls for a new plan. The usual case, one more candidate, is settled here.

    ``leads``: the request became its bank's oldest row hit or miss.
    """
    registers = state.registers
    if registers[channel, REFRESHES_DUE] > 0:
        return False
    if next_write_mode(spec, state, channel) != registers[channel, WRITE_MODE]:
        return True
    queue = state.entries[channel, entry, IS_WRITE]
    if not leads or queue != registers[channel, WRITE_MODE]:
        return False
    if spec.slots.shape[0] > 1 or spec.idle_close_clocks < NEVER or spec.scheduler == FCFS:
        return True
    planned = (
        registers[channel, WAKE], registers[channel, ORDER], registers[channel, ENTRY],
        registers[channel, COMMAND], registers[channel, TARGET],
    )
    bank = state.entries[channel, entry, BANK_OF]
    best = offer_bank(spec, state, channel, first_clock, np.int64(0), queue, bank, planned)
    if best[2] != planned[2]:
        write_plan(state, channel, best, np.int64(0))
    return False
