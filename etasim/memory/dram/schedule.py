"""Which command a channel issues next, and when: what the schedulers are made of.

The plan is the earliest clock from ``first_clock`` on at which some candidate may issue, and the candidate that wins in that clock.
Candidates do not change between two events of a channel (a command issued, a request accepted, a refresh due), so nothing needs to be
looked at in the clocks in between. Priority within a clock: requests whose ACT was issued, refresh, queued requests, idle closing;
oldest first.
"""

from collections.abc import Callable
from typing import Any

from etasim.core.arrays import int64
from etasim.core.channel import NEVER
from etasim.core.jit import kernel
from etasim.memory.dram.spec import ACTIVE, HIT, MISS, NO_COMMAND, NO_ENTRY, NO_ROW, READS, WRITES, DramSpec, DramState
from etasim.memory.dram.standards import ACT, PRE, PREA, RD, REF
from etasim.memory.dram.timing import ready_at

NOTHING_PLANNED = (NEVER, NEVER, int64(NO_ENTRY), int64(NO_COMMAND), int64(0))
"""A plan is (clock, order among commands of the same clock, entry, command, target)."""

NO_CHOICE = (NEVER, NEVER, int64(-1))
"""What the search for a command carries from bank to bank: clock, age, and a number from which the command follows."""


@kernel
def better(clock: int, age: int, choice: Any, best: Any) -> Any:
    """The better of a command and ``best``: the one that can issue earlier, of equals the older.

    Written without branches: which one wins is as good as random, and a mispredicted branch costs more than the whole comparison.
    """
    wins = (clock < best[0]) | ((clock == best[0]) & (age < best[1]))
    return clock if wins else best[0], age if wins else best[1], choice if wins else best[2]


@kernel
def best_active(spec: DramSpec, state: DramState, channel: int, first_clock: int, slot: int) -> Any:
    """The best column command among the requests whose ACT was issued."""
    if spec.slots[slot, RD] == 0:
        return NOTHING_PLANNED
    best = NO_CHOICE
    for i in range(state.registers[channel]["n_busy"][ACTIVE]):
        bank = state.busy[channel, ACTIVE, i]
        entry = state.banks[channel, bank]["head"][ACTIVE]
        clock = max(first_clock, ready_at(spec, state, channel, bank, RD + state.entries[channel, entry]["is_write"]))
        best = better(clock, state.entries[channel, entry]["age"], bank, best)
    if best[0] == NEVER:
        return NOTHING_PLANNED
    entry = state.banks[channel, best[2]]["head"][ACTIVE]
    return best[0], best[1], entry, RD + state.entries[channel, entry]["is_write"], best[2]


@kernel
def refresh_or(spec: DramSpec, state: DramState, channel: int, first_clock: int, slot: int, best: Any) -> Any:
    """The refresh that is due, or the precharge of its rank before it, unless ``best`` issues no later.

    A rank is not precharged while one of its requests has its ACT issued and its data still to come.
    """
    rank = state.registers[channel]["refresh_rank"]
    bank = rank * spec.banks_per_rank
    command = REF
    if state.open_banks[channel, rank, 0] > 0:
        command = PREA
        for i in range(state.registers[channel]["n_busy"][ACTIVE]):
            if state.busy[channel, ACTIVE, i] >> spec.rank_bits == rank:
                return best
    if spec.slots[slot, command] == 0:
        return best
    clock = max(first_clock, state.ready[channel, bank >> spec.group_bits, command])
    if clock >= best[0]:
        return best
    return clock, NEVER, int64(NO_ENTRY), int64(command), rank


@kernel
def next_write_mode(spec: DramSpec, state: DramState, channel: int) -> Any:
    """Whether writes drain: hysteresis between the watermarks, and whenever no read waits."""
    reads, writes = state.registers[channel]["n_queued"][READS], state.registers[channel]["n_queued"][WRITES]
    if state.registers[channel]["write_mode"]:
        return int64(not (writes < spec.write_low and reads > 0))
    return int64(writes > spec.write_high or reads == 0)


MAY_CLOSE, KEPT, BLOCKS = range(3)
"""What a scheduler says of an open row that a bank's oldest row miss wants to have closed. BLOCKS: such a PRE is offered, as a choice
that keeps younger requests from issuing."""


@kernel
def row_is_needed(state: DramState, channel: int, bank: int) -> bool:
    """Whether a request to a bank has its ACT issued."""
    return state.banks[channel, bank]["head"][ACTIVE] != NO_ENTRY


@kernel
def offer_bank(
    spec: DramSpec, state: DramState, channel: int, first_clock: int, slot: int, queue: int, bank: int, limit: int, row: int, best: Any
) -> Any:
    """The better of ``best`` and the next commands of a bank's oldest row hit and oldest row miss, where these are older than ``limit``.

    ``row``: MAY_CLOSE, KEPT or BLOCKS.
    """
    hit_age, miss_age = state.banks[channel, bank]["oldest_age"][HIT, queue], state.banks[channel, bank]["oldest_age"][MISS, queue]
    is_open = state.banks[channel, bank]["open_row"] != NO_ROW
    command = PRE if is_open else ACT
    no_hit, no_miss = hit_age >= limit, (miss_age >= limit) | (is_open & (row == KEPT))
    hit_clock = max(first_clock, ready_at(spec, state, channel, bank, RD + queue))
    miss_clock = max(first_clock, ready_at(spec, state, channel, bank, command))
    hit_clock = NEVER if no_hit | (spec.slots[slot, RD] == 0) else hit_clock
    miss_clock = NEVER if no_miss | (spec.slots[slot, ACT] == 0) else miss_clock
    miss = bank + (2 if is_open & (row == BLOCKS) else 1) * spec.n_banks
    clock, age, choice = better(hit_clock, hit_age, bank, (miss_clock, miss_age, miss))
    return better(clock, age, choice, best)


@kernel
def best_offer(
    offer: Callable[..., Any], spec: DramSpec, state: DramState, channel: int, first_clock: int, slot: int, queue: int, limit: int
) -> Any:
    """The best choice of ``offer`` among the banks with requests in a queue."""
    best = NO_CHOICE
    for i in range(state.registers[channel]["n_busy"][queue]):
        best = offer(spec, state, channel, first_clock, slot, queue, state.busy[channel, queue, i], limit, best)
    return best


@kernel
def plan_of(spec: DramSpec, state: DramState, channel: int, queue: int, best: Any) -> Any:
    """The plan behind a choice of ``offer_bank``: a bank number for its hit, ``n_banks`` more for its miss, twice that if it blocks."""
    clock, age, choice = best
    if clock == NEVER:
        return NOTHING_PLANNED
    if choice < spec.n_banks:
        return clock, age, state.banks[channel, choice]["oldest"][HIT, queue], RD + queue, choice
    bank = choice - spec.n_banks
    command = ACT if state.banks[channel, bank]["open_row"] == NO_ROW else PRE
    return clock, age, state.banks[channel, bank]["oldest"][MISS, queue], int64(command), bank


@kernel
def oldest_age(state: DramState, channel: int, queue: int) -> int:
    """Age of the oldest request of a queue."""
    oldest = NEVER
    for i in range(state.registers[channel]["n_busy"][queue]):
        head = state.banks[channel, state.busy[channel, queue, i]]["head"][queue]
        oldest = min(oldest, state.entries[channel, head]["age"])
    return oldest


@kernel
def idle_closing_or(spec: DramSpec, state: DramState, channel: int, first_clock: int, best: Any) -> Any:
    """The precharge of a row that nobody wants and that was not used for a while, unless ``best`` issues no later."""
    for bank in range(spec.n_banks):
        wanted = (
            state.banks[channel, bank]["head"][ACTIVE] != NO_ENTRY
            or state.banks[channel, bank]["oldest"][HIT, READS] != NO_ENTRY or state.banks[channel, bank]["oldest"][HIT, WRITES] != NO_ENTRY
        )
        if state.banks[channel, bank]["open_row"] != NO_ROW and not wanted:
            clock = max(first_clock, state.banks[channel, bank]["used_at"] + spec.idle_close_clocks)
            clock = max(clock, ready_at(spec, state, channel, bank, PRE))
            if clock < best[0]:
                best = (clock, NEVER, int64(NO_ENTRY), int64(PRE), int64(bank))
    return best


@kernel
def next_of_queues(best_queued: Callable[..., Any], spec: DramSpec, state: DramState, channel: int, first_clock: int, slot: int) -> Any:
    """The next command on command bus ``slot``, of a scheduler whose choice in the queue of the present mode is ``best_queued``."""
    registers = state.registers
    active = best_active(spec, state, channel, first_clock, slot)
    if registers[channel]["refreshes_due"] > 0:
        return refresh_or(spec, state, channel, first_clock, slot, active)
    if active[0] == first_clock:
        return active
    mode = next_write_mode(spec, state, channel)
    registers[channel]["write_mode"] = mode
    choice = best_queued(spec, state, channel, first_clock, slot, mode)
    best = active if active[0] <= choice[0] else plan_of(spec, state, channel, mode, choice)
    if spec.idle_close_clocks < NEVER and spec.slots[slot, PRE]:
        best = idle_closing_or(spec, state, channel, first_clock, best)
    return best


@kernel
def plan(next_command: Callable[..., Any], spec: DramSpec, state: DramState, channel: int, first_clock: int, first_slot: int) -> None:
    """Plan the next event of a channel: a command on a command bus from ``first_slot`` on, or a refresh that falls due.

    ``next_command``: chosen by the number of the scheduler. In the clock in which a refresh falls due the write mode is not looked at, so
    that clock is not planned ahead.
    """
    best, bus = NOTHING_PLANNED, int64(0)
    if state.registers[channel]["refresh_at"] > first_clock:
        for slot in range(first_slot, spec.slots.shape[0]):
            candidate = next_command(spec.scheduler, spec, state, channel, first_clock, slot)
            if candidate[0] < best[0]:
                best, bus = candidate, int64(slot)
    due = state.registers[channel]["refresh_at"]
    if due <= best[0]:
        best = (due, NEVER, int64(NO_ENTRY), int64(NO_COMMAND), int64(0))
    write_plan(state, channel, best, bus)


@kernel
def write_plan(state: DramState, channel: int, best: Any, bus: int) -> None:
    """Enter a plan into the registers."""
    state.registers[channel]["wake"] = best[0]
    state.registers[channel]["order"] = best[1]
    state.registers[channel]["entry"] = best[2]
    state.registers[channel]["command"] = best[3]
    state.registers[channel]["target"] = best[4]
    state.registers[channel]["slot"] = bus


@kernel
def compare_with_plan(offer: Callable[..., Any], spec: DramSpec, state: DramState, channel: int, first_clock: int, entry: int) -> bool:
    """Settle an arrival: its bank's ``offer`` replaces the plan where it is better. Nothing else need be planned."""
    registers, queue = state.registers, state.entries[channel, entry]["is_write"]
    planned = registers[channel]["wake"], registers[channel]["order"], int64(-1)
    bank = state.entries[channel, entry]["bank"]
    best = offer(spec, state, channel, first_clock, int64(0), queue, bank, NEVER, planned)
    if best[2] >= 0:
        write_plan(state, channel, plan_of(spec, state, channel, queue, best), int64(0))
    return False
