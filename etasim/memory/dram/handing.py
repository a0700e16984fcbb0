"""Requests that are handed to their banks, for schedulers that want it: each clock the oldest one whose bank has room.

Writes are handed over in bursts: all that the queue holds when it is full. (As in DRAMsim3.)
"""


from etasim.core.arrays import int64
from etasim.core.channel import NEVER, Channels, visible_at
from etasim.core.jit import kernel
from etasim.memory.dram.queue import leave_queue, link, renew_opened
from etasim.memory.dram.spec import ACTIVE, HANDED_LIMIT, LONG_AGO, NO_ENTRY, READS, WRITES, DramSpec, DramState

IDLE_DRAIN_WRITES = 8
"""Queued writes above which idle banks are given them, reads or not (as in DRAMsim3)."""


@kernel
def writes_to_drain(spec: DramSpec, state: DramState, requests: Channels, channel: int, clock: int) -> int:
    """Writes to hand over from now on: what is left of a burst, or all of them when it is time for one.

    It is time when the queue is full, when the banks hold nothing while many writes wait, and when there is nothing else to do at all.
    """
    draining, writes = state.registers[channel]["draining"], state.registers[channel]["n_queued"][WRITES]
    if draining > 0 or writes >= spec.write_queue:
        return draining if draining > 0 else writes
    if state.registers[channel]["n_busy"][ACTIVE] > 0:
        return draining
    quiet = state.registers[channel]["n_queued"][READS] == 0
    for port in range(channel * spec.n_requesters, (channel + 1) * spec.n_requesters):
        quiet = quiet and visible_at(requests, port) > clock * spec.dram_ticks
    return writes if quiet or writes > IDLE_DRAIN_WRITES else draining


@kernel
def next_to_hand(state: DramState, channel: int, queue: int) -> int:
    """Bank of the oldest request of a queue whose bank has room, NO_ENTRY if there is none."""
    age, found = NEVER, int64(NO_ENTRY)
    for i in range(state.registers[channel]["n_busy"][queue]):
        bank = state.busy[channel, queue, i]
        head = state.entries[channel, state.banks[channel, bank]["head"][queue]]["age"]
        if head < age and state.banks[channel, bank]["n_handed"] < HANDED_LIMIT:
            age, found = head, bank
    return found


@kernel
def can_hand_over(spec: DramSpec, state: DramState, requests: Channels, channel: int, clock: int) -> bool:
    """Whether a request can be handed to its bank in ``clock``."""
    queue = WRITES if writes_to_drain(spec, state, requests, channel, clock) > 0 else READS
    return next_to_hand(state, channel, queue) != NO_ENTRY


@kernel
def hand_over(spec: DramSpec, state: DramState, requests: Channels, channel: int, clock: int) -> None:
    """Hand one request to its bank, where it can issue its first command in the next clock."""
    draining = writes_to_drain(spec, state, requests, channel, clock)
    queue = WRITES if draining > 0 else READS
    bank = next_to_hand(state, channel, queue)
    if bank != NO_ENTRY:
        entry = state.banks[channel, bank]["head"][queue]
        leave_queue(state, channel, bank, entry, clock)
        renew_opened(state, channel, bank)
        link(state, channel, ACTIVE, bank, entry)
        state.banks[channel, bank]["n_handed"] += 1
        state.registers[channel]["tried_at"] = LONG_AGO
        draining -= queue
    state.registers[channel]["draining"] = draining
