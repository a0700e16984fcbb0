"""What a command does: timing, bank state, the request it serves, counters."""

from etasim.core.channel import Channels, can_push
from etasim.core.jit import kernel
from etasim.core.message import send_access
from etasim.memory.dram.queue import first_hit, leave_queue, link, note_first, release, renew_closed, renew_opened, unlink
from etasim.memory.dram.spec import ACTIVE, HIT, LATENCY_BINS, NO_ENTRY, NO_ROW, WRITES, DramSpec, DramState
from etasim.memory.dram.standards import ACT, PRE, PREA, RD, REF, WR
from etasim.memory.dram.timing import book_timing


@kernel
def count_open_banks(state: DramState, channel: int, rank: int, change: int, clock: int) -> None:
    """Change the number of open banks of a rank; book the time it had any."""
    before = state.open_banks[channel, rank, 0]
    after = before + change
    state.open_banks[channel, rank, 0] = after
    if before == 0 and after > 0:
        state.open_banks[channel, rank, 1] = clock
    elif before > 0 and after == 0:
        state.counters[channel]["open_rank_clocks"] += clock - state.open_banks[channel, rank, 1]


@kernel
def latency_bin(latency: int) -> int:
    """Number of bits of a latency, by bisection, up to the last bin."""
    bin_, rest = 0, min(latency, (1 << (LATENCY_BINS - 1)) - 1)
    for step in (16, 8, 4, 2, 1):
        shift = step if rest >> step else 0
        bin_ += shift
        rest >>= shift
    return bin_ + rest


@kernel
def answer(
    spec: DramSpec, state: DramState, responses: Channels, channel: int, requester: int, address: int, tag: int, extra: int,
    accepted_at: int, done_at: int,
) -> None:  # fmt: skip
    """Answer a read whose last data beat arrives at ``done_at``; book its latency from acceptance."""
    latency = done_at - accepted_at
    state.counters[channel]["read_latency_clocks"] += latency
    if latency > state.counters[channel]["max_read_latency_clocks"]:
        state.counters[channel]["max_read_latency_clocks"] = latency
    state.latency[channel, latency_bin(latency)] += 1
    state.registers[channel]["read_at"] = max(state.registers[channel]["read_at"], done_at)
    state.registers[channel]["done_at"] = max(state.registers[channel]["done_at"], done_at)
    port = channel * spec.n_requesters + requester
    at = (done_at + spec.controller_latency_clocks) * spec.dram_ticks
    if not can_push(responses, port, at):
        state.counters[channel]["response_overflows"] += 1
    send_access(responses, port, at, address, 0, tag, extra)


@kernel
def answer_all(spec: DramSpec, state: DramState, responses: Channels, channel: int, entry: int, done_at: int) -> None:
    """Answer a read and those that joined it, whose entries are free then."""
    entries, first = state.entries, entry
    while entry != NO_ENTRY:
        answer(
            spec, state, responses, channel, entries[channel, entry]["requester"], entries[channel, entry]["address"],
            entries[channel, entry]["tag"], entries[channel, entry]["extra"], entries[channel, entry]["age"], done_at,
        )
        after = entries[channel, entry]["joined"]
        entries[channel, entry]["joined"] = NO_ENTRY
        if entry != first:
            state.registers[channel]["n_joined"] -= 1
            release(state, channel, entry)
        entry = after


@kernel
def classify(state: DramState, channel: int, entry: int, command: int) -> None:
    """Count a request as row hit, miss or conflict by the first command issued for it."""
    if state.entries[channel, entry]["seen"]:
        return
    state.entries[channel, entry]["seen"] = 1
    if command == ACT:
        state.counters[channel]["row_misses"] += 1
    elif command == PRE:
        state.counters[channel]["row_conflicts"] += 1
    else:
        state.counters[channel]["row_hits"] += 1


@kernel
def open_row(spec: DramSpec, state: DramState, channel: int, bank: int, entry: int, clock: int) -> None:
    """ACT: open the row of ``entry``, which leaves its queue and becomes the bank's active request (unless the bank has it already)."""
    state.counters[channel]["activates"] += 1
    state.banks[channel, bank]["open_row"] = state.entries[channel, entry]["row"]
    state.banks[channel, bank]["used_at"] = clock
    count_open_banks(state, channel, bank >> spec.rank_bits, 1, clock)
    if spec.hands_over:
        state.banks[channel, bank]["n_columns"] = 0
    else:
        leave_queue(state, channel, bank, entry, clock)
        link(state, channel, ACTIVE, bank, entry)
    renew_opened(state, channel, bank)


@kernel
def close_row(spec: DramSpec, state: DramState, channel: int, bank: int, clock: int) -> None:
    """Close an open row."""
    if state.banks[channel, bank]["open_row"] != NO_ROW:
        state.banks[channel, bank]["open_row"] = NO_ROW
        count_open_banks(state, channel, bank >> spec.rank_bits, -1, clock)
        renew_closed(state, channel, bank)


@kernel
def transfer(spec: DramSpec, state: DramState, responses: Channels, channel: int, bank: int, entry: int, clock: int) -> None:
    """RD or WR: serve ``entry`` and forget it."""
    queue = state.entries[channel, entry]["is_write"]
    state.banks[channel, bank]["used_at"] = clock
    state.counters[channel]["busy_data_clocks"] += spec.burst_clocks
    state.turns[channel, 0] += state.turns[channel, 1] != queue
    state.turns[channel, 1] = queue
    if spec.hands_over:
        unlink(state, channel, ACTIVE, bank, entry)
        state.banks[channel, bank]["n_handed"] -= 1
        state.banks[channel, bank]["n_columns"] += 1
    elif state.banks[channel, bank]["head"][ACTIVE] == entry:
        unlink(state, channel, ACTIVE, bank, entry)
    else:
        after = state.entries[channel, entry]["next"]
        leave_queue(state, channel, bank, entry, clock)
        note_first(state, channel, bank, HIT, queue, first_hit(state, channel, bank, after))
    if queue == WRITES:
        state.counters[channel]["write_bursts"] += 1
        state.counters[channel]["write_bytes"] += spec.burst_bytes
        if clock > state.registers[channel]["done_at"]:
            state.registers[channel]["done_at"] = clock
    else:
        state.counters[channel]["read_bursts"] += 1
        state.counters[channel]["read_bytes"] += spec.burst_bytes
        answer_all(spec, state, responses, channel, entry, clock + spec.read_clocks)
    release(state, channel, entry)


@kernel
def refresh(spec: DramSpec, state: DramState, channel: int) -> None:
    """REF: one rank is refreshed, the next one is due after it."""
    state.counters[channel]["refreshes"] += 1
    state.registers[channel]["refreshes_due"] -= 1
    state.registers[channel]["refresh_rank"] = (state.registers[channel]["refresh_rank"] + 1) % spec.n_ranks


@kernel
def log(spec: DramSpec, state: DramState, channel: int, command: int, target: int, entry: int, clock: int) -> None:
    """Record a command, while the log has room."""
    place = state.registers[channel]["logged"]
    if place < spec.log_capacity:
        state.log[channel, place, 0] = clock
        state.log[channel, place, 1] = command
        state.log[channel, place, 2] = target
        state.log[channel, place, 3] = state.entries[channel, entry]["row"] if entry != NO_ENTRY else NO_ROW
        state.log[channel, place, 4] = state.entries[channel, entry]["address"] if entry != NO_ENTRY else -1
        state.registers[channel]["logged"] = place + 1


@kernel
def issue(spec: DramSpec, state: DramState, responses: Channels, channel: int, command: int, target: int, entry: int, clock: int) -> None:
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
