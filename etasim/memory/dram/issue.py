"""What a command does: timing, bank state, the request it serves, counters."""

from etasim.core.channel import can_push, push
from etasim.core.jit import kernel
from etasim.memory.dram.queue import clear_busy, first_hit, note_first, release, renew_closed, renew_opened, set_busy, unlink
from etasim.memory.dram.spec import (
    ACTIVE,
    ACTIVE_ENTRY,
    ADDRESS,
    AGE,
    BASE,
    CLOCKS,
    COUNT,
    DONE_AT,
    EXTRA,
    FLIP,
    FOLLOWING,
    HISTORY,
    HIT,
    IS_WRITE,
    LATENCY_BINS,
    LOGGED,
    N_READS,
    N_WRITES,
    NEXT,
    NO_ENTRY,
    NO_ROW,
    OCCUPANCY_AT,
    OPEN_ROW,
    REFRESH_RANK,
    REFRESHES_DUE,
    REQUESTER,
    ROW,
    SEEN,
    SHIFT,
    STRIDE,
    TAG,
    USED_AT,
    WINDOW,
    WRITES,
)
from etasim.memory.dram.standards import ACT, PRE, PREA, RD, REF, WR


@kernel
def forbid_before(state, channel, cell, command, clock):
    """Raise the first legal clock of ``command`` in a cell."""
    if state.ready[channel, cell, command] < clock:
        state.ready[channel, cell, command] = clock


@kernel
def window_start(state, channel, ring, cell, window, clock):
    """Enter ``clock`` into a ring of the last ``window`` issues and return the oldest of them."""
    position = state.history[channel, ring, cell, 0] + 1
    after = position + 1 if position < window else 1
    state.history[channel, ring, cell, 0] = after - 1
    state.history[channel, ring, cell, position] = clock
    return state.history[channel, ring, cell, after]


@kernel
def book_timing(spec, state, channel, command, bank, clock):
    """Apply the constraint rows of ``command``, issued at ``clock`` to ``bank`` (to its rank for PREA and REF)."""
    rows = spec.constraints
    for row in range(spec.constraint_start[command], spec.constraint_start[command + 1]):
        following, clocks = rows[row, FOLLOWING], rows[row, CLOCKS]
        cell = rows[row, BASE] + ((bank >> rows[row, SHIFT]) ^ rows[row, FLIP]) * rows[row, STRIDE]
        if rows[row, HISTORY] < 0:
            forbid_before(state, channel, cell, following, clock + clocks)
        else:
            start = window_start(state, channel, rows[row, HISTORY], cell, rows[row, WINDOW], clock)
            for bound in range(cell, cell + rows[row, COUNT]):
                forbid_before(state, channel, bound, following, start + clocks)


@kernel
def book_occupancy(state, channel, clock):
    """Book the queue occupancies of the clocks since the last change."""
    counters, registers = state.counters, state.registers
    elapsed = clock - registers[channel, OCCUPANCY_AT]
    registers[channel, OCCUPANCY_AT] = clock
    counters[channel]["occupancy_clocks"] += elapsed
    counters[channel]["read_queue_entry_clocks"] += elapsed * registers[channel, N_READS]
    counters[channel]["write_queue_entry_clocks"] += elapsed * registers[channel, N_WRITES]


@kernel
def count_open_banks(state, channel, rank, change, clock):
    """Change the number of open banks of a rank; book the time it had any."""
    before = state.open_banks[channel, rank, 0]
    after = before + change
    state.open_banks[channel, rank, 0] = after
    if before == 0 and after > 0:
        state.open_banks[channel, rank, 1] = clock
    elif before > 0 and after == 0:
        state.counters[channel]["open_rank_clocks"] += clock - state.open_banks[channel, rank, 1]


@kernel
def latency_bin(latency):
    """Number of bits of a latency, by bisection, up to the last bin."""
    bin_, rest = 0, min(latency, (1 << (LATENCY_BINS - 1)) - 1)
    for step in (16, 8, 4, 2, 1):
        shift = step if rest >> step else 0
        bin_ += shift
        rest >>= shift
    return bin_ + rest


@kernel
def answer(spec, state, responses, channel, requester, address, tag, extra, accepted_at, done_at):
    """Answer a read whose last data beat arrives at ``done_at``; book its latency from acceptance."""
    latency = done_at - accepted_at
    state.counters[channel]["read_latency_clocks"] += latency
    if latency > state.counters[channel]["max_read_latency_clocks"]:
        state.counters[channel]["max_read_latency_clocks"] = latency
    state.latency[channel, latency_bin(latency)] += 1
    if done_at > state.registers[channel, DONE_AT]:
        state.registers[channel, DONE_AT] = done_at
    port = channel * spec.n_requesters + requester
    at = (done_at + spec.controller_latency_clocks) * spec.dram_ticks
    if not can_push(responses, port, at):
        state.counters[channel]["response_overflows"] += 1
    push(responses, port, at, address, 0, tag, extra)


@kernel
def classify(state, channel, entry, command):
    """Count a request as row hit, miss or conflict by the first command issued for it."""
    if state.entries[channel, entry, SEEN]:
        return
    state.entries[channel, entry, SEEN] = 1
    if command == ACT:
        state.counters[channel]["row_misses"] += 1
    elif command == PRE:
        state.counters[channel]["row_conflicts"] += 1
    else:
        state.counters[channel]["row_hits"] += 1


@kernel
def open_row(spec, state, channel, bank, entry, clock):
    """ACT: open the row of ``entry``, which leaves its queue and becomes the bank's active request."""
    queue = state.entries[channel, entry, IS_WRITE]
    state.counters[channel]["activates"] += 1
    state.banks[channel, bank, OPEN_ROW] = state.entries[channel, entry, ROW]
    state.banks[channel, bank, ACTIVE_ENTRY] = entry
    state.banks[channel, bank, USED_AT] = clock
    count_open_banks(state, channel, bank >> spec.rank_bits, 1, clock)
    book_occupancy(state, channel, clock)
    state.registers[channel, N_READS + queue] -= 1
    unlink(state, channel, queue, bank, entry)
    set_busy(state, channel, ACTIVE, bank)
    renew_opened(state, channel, bank)


@kernel
def close_row(spec, state, channel, bank, clock):
    """Close an open row."""
    if state.banks[channel, bank, OPEN_ROW] != NO_ROW:
        state.banks[channel, bank, OPEN_ROW] = NO_ROW
        count_open_banks(state, channel, bank >> spec.rank_bits, -1, clock)
        renew_closed(state, channel, bank)


@kernel
def transfer(spec, state, responses, channel, bank, entry, clock):
    """RD or WR: serve ``entry`` and forget it."""
    queue = state.entries[channel, entry, IS_WRITE]
    state.banks[channel, bank, USED_AT] = clock
    state.counters[channel]["busy_data_clocks"] += spec.burst_clocks
    if state.banks[channel, bank, ACTIVE_ENTRY] == entry:
        state.banks[channel, bank, ACTIVE_ENTRY] = NO_ENTRY
        clear_busy(state, channel, ACTIVE, bank)
    else:
        book_occupancy(state, channel, clock)
        state.registers[channel, N_READS + queue] -= 1
        after = state.entries[channel, entry, NEXT]
        unlink(state, channel, queue, bank, entry)
        note_first(state, channel, bank, HIT, queue, first_hit(state, channel, bank, after))
    if queue == WRITES:
        state.counters[channel]["write_bursts"] += 1
        state.counters[channel]["write_bytes"] += spec.burst_bytes
        if clock > state.registers[channel, DONE_AT]:
            state.registers[channel, DONE_AT] = clock
    else:
        state.counters[channel]["read_bursts"] += 1
        state.counters[channel]["read_bytes"] += spec.burst_bytes
        answer(
            spec, state, responses, channel, state.entries[channel, entry, REQUESTER], state.entries[channel, entry, ADDRESS],
            state.entries[channel, entry, TAG], state.entries[channel, entry, EXTRA], state.entries[channel, entry, AGE],
            clock + spec.read_clocks,
        )
    release(state, channel, entry)


@kernel
def refresh(spec, state, channel):
    """REF: one rank is refreshed, the next one is due after it."""
    state.counters[channel]["refreshes"] += 1
    state.registers[channel, REFRESHES_DUE] -= 1
    state.registers[channel, REFRESH_RANK] = (state.registers[channel, REFRESH_RANK] + 1) % spec.n_ranks


@kernel
def log(spec, state, channel, command, target, entry, clock):
    """Record a command, while the log has room."""
    place = state.registers[channel, LOGGED]
    if place < spec.log_capacity:
        state.log[channel, place, 0] = clock
        state.log[channel, place, 1] = command
        state.log[channel, place, 2] = target
        state.log[channel, place, 3] = state.entries[channel, entry, ROW] if entry != NO_ENTRY else NO_ROW
        state.log[channel, place, 4] = state.entries[channel, entry, ADDRESS] if entry != NO_ENTRY else -1
        state.registers[channel, LOGGED] = place + 1


@kernel
def issue(spec, state, responses, channel, command, target, entry, clock):
    """Issue one command: ``target`` is a rank for PREA and REF, else a bank; ``entry`` the request it serves, if any."""
    log(spec, state, channel, command, target, entry, clock)
    bank = target * spec.banks_per_rank if command in (PREA, REF) else target
    book_timing(spec, state, channel, command, bank, clock)
    if entry != NO_ENTRY:
        classify(state, channel, entry, command)
    if command in (RD, WR):
        transfer(spec, state, responses, channel, bank, entry, clock)
    elif command == ACT:
        open_row(spec, state, channel, bank, entry, clock)
    elif command == PRE:
        state.counters[channel]["precharges"] += 1
        close_row(spec, state, channel, bank, clock)
    elif command == PREA:
        state.counters[channel]["precharge_alls"] += 1
        for b in range(bank, bank + spec.banks_per_rank):
            close_row(spec, state, channel, b, clock)
    else:
        refresh(spec, state, channel)
