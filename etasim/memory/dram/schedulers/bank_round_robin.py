"""Banks that take turns to issue for what they hold, in order of age where the row allows, after DRAMsim3."""

from typing import Any

import numpy as np

from etasim.core.channel import NEVER
from etasim.core.jit import kernel, routine
from etasim.core.registry import DRAM_SCHEDULERS
from etasim.memory.dram.schedule import NOTHING_PLANNED, idle_closing_or
from etasim.memory.dram.scheduler import Scheduler
from etasim.memory.dram.spec import ACTIVE, NO_COMMAND, NO_ENTRY, NO_ROW, DramSpec, DramState
from etasim.memory.dram.standards import ACT, PRE, RD, REF
from etasim.memory.dram.timing import ready_at

HITS_BEFORE_CLOSING = 4
"""Column commands after which a row is closed for the bank's oldest request although younger ones hit it (as in DRAMsim3)."""


@kernel
def best_of_bank(spec: DramSpec, state: DramState, channel: int, first_clock: int, slot: int, bank: int) -> Any:
    """(clock, entry, command) that a bank can issue first; of equals the one for the older request."""
    head, row = state.banks[channel, bank]["head"][ACTIVE], state.banks[channel, bank]["open_row"]
    best = (NEVER, np.int64(NO_ENTRY), np.int64(NO_COMMAND))
    if row == NO_ROW:
        if spec.slots[slot, ACT]:
            best = (max(first_clock, ready_at(spec, state, channel, bank, ACT)), head, np.int64(ACT))
        return best
    entry, hit = head, False
    while entry != NO_ENTRY:
        if state.entries[channel, entry]["row"] == row:
            hit, command = True, RD + state.entries[channel, entry]["is_write"]
            clock = max(first_clock, ready_at(spec, state, channel, bank, command))
            if spec.slots[slot, command] and clock < best[0]:
                best = (clock, entry, command)
        entry = state.entries[channel, entry]["next"]
    closes = state.entries[channel, head]["row"] != row and (not hit or state.banks[channel, bank]["n_columns"] >= HITS_BEFORE_CLOSING)
    if closes and spec.slots[slot, PRE]:
        clock = max(first_clock, ready_at(spec, state, channel, bank, PRE))
        if clock <= best[0]:
            best = (clock, head, np.int64(PRE))
    return best


@kernel
def refresh_of_rank(spec: DramSpec, state: DramState, channel: int, first_clock: int, slot: int) -> Any:
    """The next command towards the refresh that is due: PRE of an open bank that allows it, REF when all are closed."""
    rank, best = state.registers[channel]["refresh_rank"], NOTHING_PLANNED
    bank = rank * spec.banks_per_rank
    if spec.slots[slot, REF] == 0:
        return best
    if state.open_banks[channel, rank, 0] == 0:
        clock = max(first_clock, state.ready[channel, bank >> spec.group_bits, REF])
        return clock, NEVER, np.int64(NO_ENTRY), np.int64(REF), rank
    for b in range(bank, bank + spec.banks_per_rank):
        if state.banks[channel, b]["open_row"] != NO_ROW:
            clock = max(first_clock, ready_at(spec, state, channel, b, PRE))
            if clock < best[0]:
                best = (clock, NEVER, np.int64(NO_ENTRY), np.int64(PRE), np.int64(b))
    return best


@routine
def next_command(spec: DramSpec, state: DramState, channel: int, first_clock: int, slot: int) -> Any:
    """The next command on a bus: for the refresh that is due, else of the bank whose turn comes first. A plan as in ``schedule``."""
    best, rank = NOTHING_PLANNED, np.int64(-1)
    if state.registers[channel]["refreshes_due"] > 0:
        rank = state.registers[channel]["refresh_rank"]
    for i in range(state.registers[channel]["n_busy"][ACTIVE]):
        bank = state.busy[channel, ACTIVE, i]
        if bank >> spec.rank_bits == rank:
            continue
        ahead = bank - state.registers[channel]["next_bank"]
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


DRAM_SCHEDULERS.add("bank_round_robin", Scheduler(next_command, hands_over=True, joins_reads=True, refreshes_in_turn=True))
