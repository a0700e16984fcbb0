"""Queues of a channel, kept per bank in order of age, with the oldest row hit and the oldest row miss always known.

All requests of one bank that need the same next command become ready in the same clock. So a scheduler need only look at two
entries per bank and queue, whatever the queue depth.
"""

from typing import Any

from etasim.core.arrays import int64
from etasim.core.channel import NEVER
from etasim.core.jit import kernel
from etasim.memory.dram.spec import HIT, MARKS, MISS, NO_ENTRY, READS, WRITES, DramState

SMALLEST_BURST_BITS = 5
"""Of a burst that marks tell from the next one: 32 bytes."""


@kernel
def set_busy(state: DramState, channel: int, which: int, bank: int) -> None:
    """Put ``bank`` on list ``which`` of banks with work, if it is not there."""
    if state.place[channel, which, bank] < 0:
        count = state.registers[channel]["n_busy"][which]
        state.busy[channel, which, count] = bank
        state.place[channel, which, bank] = count
        state.registers[channel]["n_busy"][which] = count + 1


@kernel
def clear_busy(state: DramState, channel: int, which: int, bank: int) -> None:
    """Take ``bank`` off list ``which`` of banks with work."""
    place = state.place[channel, which, bank]
    last = state.registers[channel]["n_busy"][which] - 1
    moved = state.busy[channel, which, last]
    state.busy[channel, which, place] = moved
    state.place[channel, which, moved] = place
    state.place[channel, which, bank] = -1
    state.registers[channel]["n_busy"][which] = last


@kernel
def mark_of(address: int) -> int:
    """The mark of an address. Bursts that follow each other have different ones."""
    burst = address >> SMALLEST_BURST_BITS
    return (burst ^ burst >> 8 ^ burst >> 16) & (MARKS - 1)


@kernel
def may_hold(state: DramState, channel: int, address: int) -> bool:
    """Whether an entry may be for ``address``; False is certain, and most requests are for an address that nobody else wants."""
    return state.marks[channel, mark_of(address)] > 0


@kernel
def allocate(state: DramState, channel: int, address: int) -> int:
    """An unused entry, which is for ``address`` from now on."""
    entry = state.registers[channel]["free"]
    state.registers[channel]["free"] = state.entries[channel, entry]["next"]
    state.entries[channel, entry]["address"] = address
    state.marks[channel, mark_of(address)] += 1
    return entry


@kernel
def release(state: DramState, channel: int, entry: int) -> None:
    """Return an entry to the unused ones."""
    state.marks[channel, mark_of(state.entries[channel, entry]["address"])] -= 1
    state.entries[channel, entry]["next"] = state.registers[channel]["free"]
    state.registers[channel]["free"] = entry


@kernel
def note_first(state: DramState, channel: int, bank: int, kind: int, queue: int, entry: int) -> None:
    """Note ``entry`` (or none) and its age as the oldest HIT or MISS of a bank's list."""
    state.banks[channel, bank]["oldest"][kind, queue] = entry
    state.banks[channel, bank]["oldest_age"][kind, queue] = NEVER if entry == NO_ENTRY else state.entries[channel, entry]["age"]


@kernel
def link(state: DramState, channel: int, which: int, bank: int, entry: int) -> None:
    """Add the youngest entry to a bank's list ``which``."""
    tail = state.banks[channel, bank]["tail"][which]
    state.entries[channel, entry]["next"] = NO_ENTRY
    state.entries[channel, entry]["previous"] = tail
    if tail == NO_ENTRY:
        state.banks[channel, bank]["head"][which] = entry
        set_busy(state, channel, which, bank)
    else:
        state.entries[channel, tail]["next"] = entry
    state.banks[channel, bank]["tail"][which] = entry


@kernel
def append(state: DramState, channel: int, queue: int, bank: int, entry: int) -> bool:
    """Add the youngest entry to a bank's queue; returns whether it became the bank's oldest hit or oldest miss."""
    link(state, channel, queue, bank, entry)
    kind = HIT if state.entries[channel, entry]["row"] == state.banks[channel, bank]["open_row"] else MISS
    if state.banks[channel, bank]["oldest"][kind, queue] != NO_ENTRY:
        return False
    note_first(state, channel, bank, kind, queue, entry)
    return True


@kernel
def unlink(state: DramState, channel: int, which: int, bank: int, entry: int) -> None:
    """Take an entry out of a bank's list ``which``. The oldest hit and miss are for the caller to renew."""
    before = state.entries[channel, entry]["previous"]
    after = state.entries[channel, entry]["next"]
    if before == NO_ENTRY:
        state.banks[channel, bank]["head"][which] = after
    else:
        state.entries[channel, before]["next"] = after
    if after == NO_ENTRY:
        state.banks[channel, bank]["tail"][which] = before
    else:
        state.entries[channel, after]["previous"] = before
    if before == NO_ENTRY and after == NO_ENTRY:
        clear_busy(state, channel, which, bank)


@kernel
def book_occupancy(state: DramState, channel: int, clock: int) -> None:
    """Book the queue occupancies of the clocks since the last change."""
    counters, registers = state.counters, state.registers
    elapsed = clock - registers[channel]["occupancy_at"]
    registers[channel]["occupancy_at"] = clock
    counters[channel]["occupancy_clocks"] += elapsed
    counters[channel]["read_queue_entry_clocks"] += elapsed * registers[channel]["n_queued"][READS]
    counters[channel]["write_queue_entry_clocks"] += elapsed * registers[channel]["n_queued"][WRITES]


@kernel
def leave_queue(state: DramState, channel: int, bank: int, entry: int, clock: int) -> None:
    """Take ``entry`` out of its queue. The oldest hit and miss are for the caller to renew."""
    queue = state.entries[channel, entry]["is_write"]
    book_occupancy(state, channel, clock)
    state.registers[channel]["n_queued"][queue] -= 1
    unlink(state, channel, queue, bank, entry)


@kernel
def first_hit(state: DramState, channel: int, bank: int, entry: int) -> int:
    """First entry from ``entry`` on that wants the open row of ``bank``."""
    row = state.banks[channel, bank]["open_row"]
    while entry != NO_ENTRY and state.entries[channel, entry]["row"] != row:
        entry = state.entries[channel, entry]["next"]
    return entry


@kernel
def renew_opened(state: DramState, channel: int, bank: int) -> None:
    """Renew the oldest hits and misses of a bank whose row was just opened."""
    row = state.banks[channel, bank]["open_row"]
    for queue in (READS, WRITES):
        entry, hit, miss = state.banks[channel, bank]["head"][queue], int64(NO_ENTRY), int64(NO_ENTRY)
        while entry != NO_ENTRY and (hit == NO_ENTRY or miss == NO_ENTRY):
            is_hit = state.entries[channel, entry]["row"] == row
            hit = entry if is_hit and hit == NO_ENTRY else hit
            miss = entry if not is_hit and miss == NO_ENTRY else miss
            entry = state.entries[channel, entry]["next"]
        note_first(state, channel, bank, HIT, queue, hit)
        note_first(state, channel, bank, MISS, queue, miss)


@kernel
def renew_closed(state: DramState, channel: int, bank: int) -> None:
    """Renew the oldest hits and misses of a bank that was just closed."""
    for queue in (READS, WRITES):
        note_first(state, channel, bank, HIT, queue, int64(NO_ENTRY))
        note_first(state, channel, bank, MISS, queue, state.banks[channel, bank]["head"][queue])


@kernel
def find(state: DramState, channel: int, which: int, bank: int, address: int, is_write: int) -> Any:
    """The oldest write (or read) of ``address`` on a bank's list ``which``, NO_ENTRY if there is none."""
    entry = state.banks[channel, bank]["head"][which]
    while entry != NO_ENTRY:
        if state.entries[channel, entry]["address"] == address and state.entries[channel, entry]["is_write"] == is_write:
            return entry
        entry = state.entries[channel, entry]["next"]
    return int64(NO_ENTRY)
