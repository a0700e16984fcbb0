"""The DRAM controller: one clock of every channel, and the next clock in which a channel can act.

A clock of a channel: issue the planned command, accept one request, plan again. A request accepted in clock c can issue its first
command in c + 1, and may take the queue entry that a command of clock c freed. Events that need no new request (queued commands,
refresh) happen at their own clocks even when the caller comes later, so idle time may be skipped.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from etasim.core.arrays import int64
from etasim.core.channel import NEVER, Channels, pop, visible_at
from etasim.core.jit import chooser, kernel, routine
from etasim.core.message import access_place, access_tags
from etasim.core.registry import DRAM_SCHEDULERS
from etasim.memory.dram.address import gather
from etasim.memory.dram.handing import can_hand_over, hand_over
from etasim.memory.dram.issue import answer, issue
from etasim.memory.dram.queue import allocate, append, book_occupancy, find, may_hold
from etasim.memory.dram.schedule import next_write_mode, plan, write_plan
from etasim.memory.dram.spec import ACTIVE, LONG_AGO, NO_COMMAND, NO_ENTRY, READS, WRITES, DramSpec, DramState
from etasim.memory.dram.standards import ACT, RD, WR

WAIT, ENQUEUE, FORWARD, MERGE, JOIN = range(5)
NOTHING, ARRIVED, ARRIVED_FIRST = range(3)


def _next_commands(hands_over: bool) -> list[Callable[..., Any]]:
    """``next_command`` of the schedulers by number, for the controller that does or does not hand over; it asks none of the others."""
    schedulers = [scheduler for _, scheduler in DRAM_SCHEDULERS.items()]
    own = [scheduler.next_command for scheduler in schedulers if scheduler.hands_over == hands_over]
    return [each.next_command if each.hands_over == hands_over else own[0] for each in schedulers]


_PLANNING = ("spec", "state", "channel", "first_clock")
next_of_queued = chooser("next_of_queued", (*_PLANNING, "slot"), lambda: _next_commands(False))
next_of_handed = chooser("next_of_handed", (*_PLANNING, "slot"), lambda: _next_commands(True))
changes_plan = chooser("changes_plan", (*_PLANNING, "entry"), lambda: [each.changes_plan for _, each in DRAM_SCHEDULERS.items()])


@kernel
def queued_read(state: DramState, channel: int, bank: int, address: int) -> int:
    """A read of ``address`` that waits for its burst, NO_ENTRY if there is none."""
    entry = find(state, channel, READS, bank, address, 0)
    return entry if entry != NO_ENTRY else find(state, channel, ACTIVE, bank, address, 0)


@kernel
def verdict(spec: DramSpec, state: DramState, channel: int, address: int, bank: int, is_write: int) -> int:
    """What can be done with a request now: wait, take a queue entry, answer from a queued write, merge into one, or join a read.

    A full queue refuses all where requests are handed to their banks. A write waits while a read of the same address is queued, so that
    every read returns what was there when it was accepted.
    """
    full = state.registers[channel]["n_queued"][is_write] >= (spec.write_queue if is_write else spec.read_queue)
    if full and spec.hands_over:
        return WAIT
    if not may_hold(state, channel, address):
        return WAIT if full else ENQUEUE
    if find(state, channel, WRITES, bank, address, 1) != NO_ENTRY:
        return MERGE if is_write else FORWARD
    if is_write == 0 and find(state, channel, ACTIVE, bank, address, 1) != NO_ENTRY:
        return FORWARD
    if (is_write or spec.joins_reads) and queued_read(state, channel, bank, address) != NO_ENTRY:
        return WAIT if is_write or state.registers[channel]["n_joined"] == spec.read_queue else JOIN
    return WAIT if full else ENQUEUE


@kernel
def aligned_address(spec: DramSpec, address: int) -> int:
    """The burst that an address falls into, brought into the range of the memory."""
    return address & (spec.capacity_bytes - spec.burst_bytes)


@kernel
def decode(
    spec: DramSpec, state: DramState, requests: Channels, channel: int, port: int, address: int, bank: int, is_write: int, clock: int,
) -> int:  # fmt: skip
    """A new entry for the oldest request of ``port``."""
    entry = allocate(state, channel, address)
    state.entries[channel, entry]["bank"] = bank
    state.entries[channel, entry]["row"] = gather(spec.row_table, address)
    state.entries[channel, entry]["is_write"] = is_write
    state.entries[channel, entry]["age"] = clock
    state.entries[channel, entry]["requester"] = port - channel * spec.n_requesters
    state.entries[channel, entry]["tag"], state.entries[channel, entry]["extra"] = access_tags(requests, port)
    state.entries[channel, entry]["seen"] = 0
    return entry


@kernel
def enqueue(state: DramState, channel: int, bank: int, entry: int, clock: int) -> bool:
    """Put a new entry into its queue. Returns whether it is its bank's oldest hit or miss."""
    queue = state.entries[channel, entry]["is_write"]
    book_occupancy(state, channel, clock)
    state.registers[channel]["n_queued"][queue] += 1
    return append(state, channel, queue, bank, entry)


@kernel
def join(state: DramState, channel: int, bank: int, entry: int) -> None:
    """Have a new read answered together with one of the same address that waits already."""
    other = queued_read(state, channel, bank, state.entries[channel, entry]["address"])
    state.entries[channel, entry]["joined"] = state.entries[channel, other]["joined"]
    state.entries[channel, other]["joined"] = entry
    state.registers[channel]["n_joined"] += 1
    state.counters[channel]["forwarded_reads"] += 1


@kernel
def take(spec: DramSpec, state: DramState, requests: Channels, responses: Channels, channel: int, port: int, clock: int) -> tuple[int, int]:
    """Accept the oldest request of ``port`` if possible. Returns what happened and the new entry."""
    stated, is_write = access_place(requests, port)
    address = aligned_address(spec, stated)
    bank = gather(spec.bank_table, address)
    decision = verdict(spec, state, channel, address, bank, is_write)
    if decision == WAIT:
        return NOTHING, NO_ENTRY
    happened, entry = ARRIVED, NO_ENTRY
    state.registers[channel]["accepted_at"] = clock
    if address != stated:
        state.counters[channel]["address_errors"] += 1
    if is_write:
        state.counters[channel]["accepted_writes"] += 1
    else:
        state.counters[channel]["accepted_reads"] += 1
    if decision in (ENQUEUE, JOIN) and spec.ideal == 0:
        entry = decode(spec, state, requests, channel, port, address, bank, is_write, clock)
        if decision == JOIN:
            join(state, channel, bank, entry)
        elif enqueue(state, channel, bank, entry, clock):
            happened = ARRIVED_FIRST
    elif decision == MERGE:
        state.counters[channel]["merged_writes"] += 1
    else:
        serve_at_once(spec, state, requests, responses, channel, port, address, is_write, clock)
    pop(requests, port, (clock + 1) * spec.dram_ticks)
    return happened, entry


@kernel
def serve_at_once(
    spec: DramSpec, state: DramState, requests: Channels, responses: Channels, channel: int, port: int, address: int, is_write: int,
    clock: int,
) -> None:  # fmt: skip
    """Complete a request in the next clock: a forwarded read, or anything in an ideal memory."""
    if spec.ideal == 0:
        state.counters[channel]["forwarded_reads"] += 1
    elif is_write:
        state.counters[channel]["write_bursts"] += 1
        state.counters[channel]["write_bytes"] += spec.burst_bytes
    else:
        state.counters[channel]["read_bursts"] += 1
        state.counters[channel]["read_bytes"] += spec.burst_bytes
    if is_write == 0:
        requester = port - channel * spec.n_requesters
        tag, extra = access_tags(requests, port)
        answer(spec, state, responses, channel, requester, address, tag, extra, clock, clock + 1)


@routine
def accept(spec: DramSpec, state: DramState, requests: Channels, responses: Channels, channel: int, clock: int) -> tuple[int, int]:
    """Accept at most one request, round robin over requesters. Returns what happened and the new entry."""
    now, tried = clock * spec.dram_ticks, state.registers[channel]["tried_at"] * spec.dram_ticks
    requester = state.registers[channel]["turn"]
    for _ in range(spec.n_requesters):
        port = channel * spec.n_requesters + requester
        requester = requester + 1 if requester + 1 < spec.n_requesters else 0
        at = visible_at(requests, port)
        if tried < at <= now:
            happened, entry = take(spec, state, requests, responses, channel, port, clock)
            if happened != NOTHING:
                state.registers[channel]["turn"] = requester
                state.registers[channel]["tried_at"] = LONG_AGO
                return happened, entry
    state.registers[channel]["tried_at"] = clock
    return NOTHING, NO_ENTRY


@routine
def fire(spec: DramSpec, state: DramState, responses: Channels, channel: int, at: int) -> tuple[int, int]:
    """The planned event. Returns the clock and command bus from which on to plan: later buses may still issue in this clock."""
    registers = state.registers
    if registers[channel]["refresh_at"] == at:
        registers[channel]["refreshes_due"] += spec.refreshes_at_once
        registers[channel]["refresh_at"] += spec.refresh_interval_clocks
        return at, int64(0)
    command, target, entry = registers[channel]["command"], registers[channel]["target"], registers[channel]["entry"]
    issue(spec, state, responses, channel, command, target, entry, at)
    if command in (ACT, RD, WR):
        registers[channel]["tried_at"] = LONG_AGO
    if entry != NO_ENTRY:
        registers[channel]["next_bank"] = target + 1
    slot = registers[channel]["slot"] + 1
    if slot < spec.slots.shape[0]:
        return at, slot
    return at + 1, int64(0)


@kernel
def arrival_changes_plan(spec: DramSpec, state: DramState, channel: int, first_clock: int, entry: int, leads: bool) -> bool:
    """Whether an accepted request calls for a new plan.

    ``leads``: the request became its bank's oldest row hit or miss.
    """
    registers = state.registers
    if registers[channel]["refreshes_due"] > 0:
        return False
    if next_write_mode(spec, state, channel) != registers[channel]["write_mode"]:
        return True
    if not leads or state.entries[channel, entry]["is_write"] != registers[channel]["write_mode"]:
        return False
    if spec.slots.shape[0] > 1 or spec.idle_close_clocks < NEVER:
        return True
    return changes_plan(spec.scheduler, spec, state, channel, first_clock, entry)


@kernel
def advance(spec: DramSpec, state: DramState, requests: Channels, responses: Channels, channel: int, clock: int) -> bool:
    """Bring one channel to the end of ``clock``: its events, then one request. Returns whether anything happened in ``clock``."""
    at, slot, done, progress = clock, int64(0), False, False
    while not done:
        first, stale = clock + 1, slot > 0
        if state.registers[channel]["wake"] <= at or (slot == 0 and state.registers[channel]["wake"] <= clock):
            at, stale = state.registers[channel]["wake"], True
            progress = at == clock
            first, slot = fire(spec, state, responses, channel, at)
        elif slot > 0:
            first, slot = at + 1, int64(0)
        if first > clock:
            happened, entry = accept(spec, state, requests, responses, channel, clock)
            if happened != NOTHING:
                progress = True
            if entry != NO_ENTRY and not stale:
                stale = arrival_changes_plan(spec, state, channel, first, entry, happened == ARRIVED_FIRST)
            done = True
        if stale:
            plan(next_of_queued, spec, state, channel, first, slot)
    return progress


@routine
def advance_handing(spec: DramSpec, state: DramState, requests: Channels, responses: Channels, channel: int, clock: int) -> bool:
    """As ``advance``, where requests are handed over: accept first, then the commands, then a request goes to its bank."""
    registers, progress, waits = state.registers, False, True
    at = min(registers[channel]["wake"], clock)
    while at <= clock:
        if at == clock and waits:
            happened, _ = accept(spec, state, requests, responses, channel, clock)
            progress, waits = happened != NOTHING, False
        first, slot = at + 1, int64(0)
        if registers[channel]["wake"] <= at and (registers[channel]["command"] != NO_COMMAND or registers[channel]["refresh_at"] == at):
            progress |= at == clock
            first, slot = fire(spec, state, responses, channel, at)
        if first > at:
            hand_over(spec, state, requests, channel, at)
        plan(next_of_handed, spec, state, channel, first, slot)
        if first > at:
            if registers[channel]["wake"] > first and can_hand_over(spec, state, requests, channel, first):
                write_plan(state, channel, (first, NEVER, int64(NO_ENTRY), int64(NO_COMMAND), int64(0)), int64(0))
            at = max(first, min(registers[channel]["wake"], clock))
    return progress


@kernel
def step_channel(spec: DramSpec, state: DramState, requests: Channels, responses: Channels, channel: int, clock: int) -> bool:
    """One DRAM clock of one channel (`step`)."""
    if spec.hands_over:
        return advance_handing(spec, state, requests, responses, channel, clock)
    return advance(spec, state, requests, responses, channel, clock)


@kernel
def step(spec: DramSpec, state: DramState, requests: Channels, responses: Channels, clock: int) -> bool:
    """One DRAM clock of every channel. Returns whether a command was issued or a request accepted.

    ``requests`` and ``responses`` have one channel per DRAM channel and requester (index ``channel * n_requesters + requester``) and
    times in ticks. Request words: byte address, 1 for a write, two opaque words. Response words: byte address, 0, the opaque words;
    a response is visible when its last data beat has arrived plus the controller latency. The caller guarantees room for it.
    """
    progress = False
    for channel in range(spec.n_channels):
        progress |= step_channel(spec, state, requests, responses, channel, clock)
    return progress


@kernel
def channel_timer(spec: DramSpec, state: DramState, requests: Channels, channel: int, clock: int) -> int:
    """First clock after ``clock`` in which a channel can act on a request; NEVER if there is none.

    A request that was refused waits for the channel's next command, so it is no reason to wake by itself.
    Refresh of an idle memory is no reason to wake: it catches up, exactly, at the next step.
    """
    timer, registers = NEVER, state.registers
    if registers[channel]["n_queued"][READS] + registers[channel]["n_queued"][WRITES] + registers[channel]["n_busy"][ACTIVE] > 0:
        timer = registers[channel]["wake"]
    for port in range(channel * spec.n_requesters, (channel + 1) * spec.n_requesters):
        at = visible_at(requests, port)
        if at > registers[channel]["tried_at"] * spec.dram_ticks and at < NEVER:
            soon = at <= (clock + 1) * spec.dram_ticks  # the usual case, without a division
            timer = min(timer, clock + 1 if soon else (at + spec.dram_ticks - 1) // spec.dram_ticks)
    return timer


@kernel
def next_timer(spec: DramSpec, state: DramState, requests: Channels, clock: int) -> int:
    """First clock after ``clock`` in which some channel can act on a request; NEVER if there is none."""
    timer = NEVER
    for channel in range(spec.n_channels):
        timer = min(timer, channel_timer(spec, state, requests, channel, clock))
    return timer


def settle(spec: DramSpec, state: DramState, clock: int) -> None:
    """Book the open intervals at the end of a run, after the step of ``clock``: queue occupancies and open rows.

    For Python; kernels do not call it.
    """
    counters, registers = state.counters, state.registers
    elapsed = clock - registers["occupancy_at"]
    registers["occupancy_at"] = clock
    counters["occupancy_clocks"] += elapsed
    counters["read_queue_entry_clocks"] += elapsed * registers["n_queued"][:, READS]
    counters["write_queue_entry_clocks"] += elapsed * registers["n_queued"][:, WRITES]
    for channel, rank in zip(*np.nonzero(state.open_banks[:, :, 0]), strict=True):
        counters["open_rank_clocks"][channel] += clock - state.open_banks[channel, rank, 1]
        state.open_banks[channel, rank, 1] = clock
