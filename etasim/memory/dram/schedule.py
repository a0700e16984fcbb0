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
    BUSY_ACTIVE,
    BUSY_READS,
    COMMAND,
    ENTRY,
    HIT,
    IS_WRITE,
    MISS,
    N_READS,
    N_WRITES,
    NO_COMMAND,
    NO_ENTRY,
    NO_ROW,
    OPEN_ROW,
    REFRESH_AT,
    REFRESH_RANK,
    REFRESHES_DUE,
    ROW_HIT,
    SLOT,
    TARGET,
    USED_AT,
    WAKE,
    WRITE_MODE,
    WRITES,
)
from etasim.memory.dram.standards import ACT, BANK, BANK_GROUP, CHANNEL, PRE, PREA, RANK, RD, REF, WR


@kernel
def ready_at(spec, state, channel, bank, command):
    """First clock at which the constraints of all levels allow a command to a bank."""
    ready = state.ready[channel, spec.bank_nodes[bank, CHANNEL], command]
    ready = max(ready, state.ready[channel, spec.bank_nodes[bank, RANK], command])
    ready = max(ready, state.ready[channel, spec.bank_nodes[bank, BANK_GROUP], command])
    return max(ready, state.ready[channel, spec.bank_nodes[bank, BANK], command])


@kernel
def offer(spec, state, channel, first_clock, slot, entry, command, bank):
    """Make a command for ``entry`` the plan if it can issue earlier than the plan, or as early and is older."""
    if spec.slots[slot, command] == 0:
        return
    registers = state.registers
    clock = max(first_clock, ready_at(spec, state, channel, bank, command))
    planned, rival = registers[channel, WAKE], registers[channel, ENTRY]
    if clock > planned:
        return
    if clock == planned and rival != NO_ENTRY and state.entries[channel, entry, AGE] >= state.entries[channel, rival, AGE]:
        return
    registers[channel, WAKE] = clock
    registers[channel, ENTRY] = entry
    registers[channel, COMMAND] = command
    registers[channel, TARGET] = bank


@kernel
def clear_plan(state, channel, clock):
    """Plan nothing before ``clock``."""
    state.registers[channel, WAKE] = clock
    state.registers[channel, ENTRY] = NO_ENTRY
    state.registers[channel, COMMAND] = NO_COMMAND


@kernel
def plan_active(spec, state, channel, first_clock, slot):
    """Offer the column command of every request whose ACT was issued."""
    for i in range(state.registers[channel, BUSY_ACTIVE]):
        bank = state.busy[channel, ACTIVE, i]
        entry = state.banks[channel, bank, ACTIVE_ENTRY]
        command = WR if state.entries[channel, entry, IS_WRITE] else RD
        offer(spec, state, channel, first_clock, slot, entry, command, bank)


@kernel
def plan_refresh(spec, state, channel, first_clock, slot):
    """Plan the refresh that is due, after the precharge of its rank, unless a request is ready strictly before or in the same clock."""
    rank = state.registers[channel, REFRESH_RANK]
    bank = rank * spec.banks_per_rank
    command = REF
    if state.open_banks[channel, rank, 0] > 0:
        command = PREA
        for i in range(state.registers[channel, BUSY_ACTIVE]):
            if state.busy[channel, ACTIVE, i] // spec.banks_per_rank == rank:
                return
    if spec.slots[slot, command] == 0:
        return
    clock = max(first_clock, state.ready[channel, 0, command])
    clock = max(clock, state.ready[channel, spec.bank_nodes[bank, RANK], command])
    if clock < state.registers[channel, WAKE]:
        state.registers[channel, WAKE] = clock
        state.registers[channel, ENTRY] = NO_ENTRY
        state.registers[channel, COMMAND] = command
        state.registers[channel, TARGET] = rank


@kernel
def next_write_mode(spec, state, channel):
    """Whether writes drain: hysteresis between the watermarks, and whenever no read waits."""
    reads, writes = state.registers[channel, N_READS], state.registers[channel, N_WRITES]
    if state.registers[channel, WRITE_MODE]:
        return np.int64(not (writes < spec.write_low and reads > 0))
    return np.int64(writes > spec.write_high or reads == 0)


@kernel
def miss_command(spec, state, channel, queue, bank):
    """Command for a bank's oldest row miss; none while a row must stay open for a request whose ACT was issued."""
    if state.banks[channel, bank, OPEN_ROW] == NO_ROW:
        return ACT
    if state.banks[channel, bank, ACTIVE_ENTRY] != NO_ENTRY:
        return NO_COMMAND
    hit, miss = state.banks[channel, bank, HIT + queue], state.banks[channel, bank, MISS + queue]
    if spec.scheduler == ROW_HIT and hit != NO_ENTRY and state.entries[channel, hit, AGE] < state.entries[channel, miss, AGE]:
        return NO_COMMAND
    return PRE


@kernel
def offer_bank(spec, state, channel, first_clock, slot, queue, bank):
    """Offer the next commands of a bank's oldest row hit and oldest row miss."""
    for kind in (HIT, MISS):
        entry = state.banks[channel, bank, kind + queue]
        if entry != NO_ENTRY:
            command = miss_command(spec, state, channel, queue, bank) if kind == MISS else WR if queue == WRITES else RD
            if command != NO_COMMAND:
                offer(spec, state, channel, first_clock, slot, entry, command, bank)


@kernel
def plan_idle_closing(spec, state, channel, first_clock):
    """Plan to close a row that nobody wants and that was not used for a while, if nothing else can issue before."""
    for bank in range(spec.n_banks):
        fields = state.banks[channel, bank]
        wanted = fields[ACTIVE_ENTRY] != NO_ENTRY or fields[HIT] != NO_ENTRY or fields[HIT + 1] != NO_ENTRY
        if fields[OPEN_ROW] == NO_ROW or wanted:
            continue
        clock = max(first_clock, fields[USED_AT] + spec.idle_close_clocks)
        clock = max(clock, ready_at(spec, state, channel, bank, PRE))
        if clock < state.registers[channel, WAKE]:
            state.registers[channel, WAKE] = clock
            state.registers[channel, ENTRY] = NO_ENTRY
            state.registers[channel, COMMAND] = PRE
            state.registers[channel, TARGET] = bank


@kernel
def plan_slot(spec, state, channel, first_clock, slot):
    """Plan the next command on command bus ``slot`` (WAKE = NEVER: none until something happens)."""
    registers = state.registers
    clear_plan(state, channel, NEVER)
    plan_active(spec, state, channel, first_clock, slot)
    if registers[channel, REFRESHES_DUE] > 0:
        plan_refresh(spec, state, channel, first_clock, slot)
        return
    if registers[channel, WAKE] == first_clock:
        return
    active_clock, active_entry = registers[channel, WAKE], registers[channel, ENTRY]
    active_command, active_bank = registers[channel, COMMAND], registers[channel, TARGET]
    clear_plan(state, channel, NEVER)
    mode = next_write_mode(spec, state, channel)
    registers[channel, WRITE_MODE] = mode
    for i in range(registers[channel, BUSY_READS + mode]):
        offer_bank(spec, state, channel, first_clock, slot, mode, state.busy[channel, mode, i])
    if active_entry != NO_ENTRY and active_clock <= registers[channel, WAKE]:
        registers[channel, WAKE] = active_clock
        registers[channel, ENTRY] = active_entry
        registers[channel, COMMAND] = active_command
        registers[channel, TARGET] = active_bank
    if spec.idle_close_clocks < NEVER and spec.slots[slot, PRE]:
        plan_idle_closing(spec, state, channel, first_clock)


@kernel
def plan(spec, state, channel, first_clock, first_slot):
    """Plan the next event of a channel: a command on a command bus from ``first_slot`` on, or a refresh that falls due.

    In the clock in which a refresh falls due the write mode is not looked at, so that clock is not planned ahead.
    """
    registers = state.registers
    due = registers[channel, REFRESH_AT]
    if due <= first_clock:
        clear_plan(state, channel, due)
        return
    clock, bus, entry, command, target = NEVER, np.int64(0), np.int64(NO_ENTRY), np.int64(NO_COMMAND), np.int64(0)
    for slot in range(first_slot, spec.slots.shape[0]):
        plan_slot(spec, state, channel, first_clock, slot)
        if registers[channel, WAKE] < clock:
            clock, bus = registers[channel, WAKE], slot
            entry, command, target = registers[channel, ENTRY], registers[channel, COMMAND], registers[channel, TARGET]
    if due <= clock:
        clear_plan(state, channel, due)
        return
    registers[channel, WAKE] = clock
    registers[channel, SLOT] = bus
    registers[channel, ENTRY] = entry
    registers[channel, COMMAND] = command
    registers[channel, TARGET] = target


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
    if spec.slots.shape[0] > 1 or spec.idle_close_clocks < NEVER:
        return True
    offer_bank(spec, state, channel, first_clock, 0, queue, state.entries[channel, entry, BANK_OF])
    return False
