"""Immutable description, mutable state and counters of the DRAM channels."""

from collections.abc import Iterator
from fractions import Fraction
from math import ceil, floor, prod
from numbers import Integral
from typing import Any, NamedTuple

import numpy as np

from etasim.config.dram_part import field_sizes, least_refresh_clocks
from etasim.core.channel import NEVER
from etasim.core.clock import Clocks
from etasim.core.registry import DRAM_SCHEDULERS
from etasim.memory.dram import standards as std
from etasim.memory.dram.address import bits_of, gather_table, in_bytes, slices_of

PAGE_POLICIES = ("open", "closed", "timeout")
WHOLE = {
    "channels": (1, 1 << 10), "ranks": (1, 1 << 6), "read_queue": (1, 1 << 16), "write_queue": (1, 1 << 16),
    "refresh": (0, 1), "ideal": (0, 1), "controller_latency": (0, 1 << 20), "page_timeout": (0, 1 << 40),
    "channel_interleave_bytes": (1, 1 << 50),
}
"""Keys of a ``dram`` section that are whole numbers or flags, with the least and the most that each may be."""

PAGE_TIMEOUT_CLOCKS = 200
"""Idle time after which the timeout policy closes a row, where the configuration has no ``page_timeout`` (our choice)."""

HANDED_LIMIT = 8
"""Requests that a bank holds where requests are handed over (shared reference README, "Policies")."""

NO_ROW = -1
NO_ENTRY = -1
NO_COMMAND = -1
LONG_AGO = -(1 << 40)
READS, WRITES, ACTIVE = range(3)
"""Request lists of a bank: read queue, write queue, and the request whose ACT was issued (handing over: those handed to the bank)."""

HIT, MISS = range(2)
"""Requests of a bank's queue: those that want the row which is open, and the others."""

REGISTERS = np.dtype([
    *((name, "i8") for name in (
        "wake", "order", "slot", "entry", "command", "target", "tried_at", "write_mode", "free", "turn", "refresh_at", "refreshes_due",
        "refresh_rank", "next_bank", "draining", "n_joined", "occupancy_at", "logged", "accepted_at", "read_at", "done_at",
    )),
    ("n_queued", "i8", 2), ("n_busy", "i8", 3),
])  # fmt: skip
"""Of a channel. ``wake``, ``order``, ``slot``, ``entry``, ``command``, ``target``: the clock of the planned command, its place among
equals, its bus, its request, itself, and its bank or rank; ``tried_at``: clock in which all visible requests were refused, if nothing has
happened since that could change it; ``free``: the first unused entry; ``turn``: next requester; ``next_bank``: bank that goes first where
banks take turns; ``draining``: writes that the banks are still to be handed; ``n_joined``: reads that wait for another read;
``accepted_at``, ``read_at``: clock of the last acceptance, of the last read data; ``done_at``: of the last read data or WR command;
``n_queued`` [READS or WRITES]; ``n_busy`` [list]: banks with work."""

ENTRIES = np.dtype([(name, "i8") for name in (
    "address", "bank", "row", "is_write", "age", "requester", "tag", "extra", "next", "previous", "seen", "joined",
)])  # fmt: skip
"""Of a channel's queues. ``seen``: already counted as row hit, miss or conflict; ``joined``: next read that is answered together with
it."""

BANKS = np.dtype([
    ("open_row", "i8"), ("used_at", "i8"), ("n_handed", "i8"), ("n_columns", "i8"), ("oldest", "i8", (2, 2)), ("oldest_age", "i8", (2, 2)),
    ("head", "i8", 3), ("tail", "i8", 3),
])  # fmt: skip
"""``used_at``: clock of the last column command; ``n_handed``: requests handed to the bank; ``n_columns``: column commands since the ACT;
``oldest`` [HIT or MISS, READS or WRITES]: entry, and its age (NEVER where there is none); ``head``, ``tail`` [list]: its ends in order of
age."""

CONSTRAINTS = np.dtype([(name, "i8") for name in (
    "following", "clocks", "base", "shift", "flip", "stride", "window", "history", "count",
)])  # fmt: skip
"""What a command forbids for how many clocks. It binds cell ``base + (bank >> shift ^ flip) * stride``; a row of a window binds ``count``
cells from there on, and counts the issues at the first of them in ring ``history``, else -1."""

MARKS = 256
"""Marks that addresses have (`queue.mark_of`); a power of two."""

LATENCY_BINS = 32
"""Bin k of the latency histogram counts read latencies in [2^(k-1), 2^k) clocks."""

COUNTERS = np.dtype([(name, np.int64) for name in (
    "accepted_reads", "accepted_writes", "forwarded_reads", "merged_writes",
    "read_bursts", "write_bursts", "read_bytes", "write_bytes",
    "activates", "precharges", "precharge_alls", "refreshes",
    "row_hits", "row_misses", "row_conflicts",
    "busy_data_clocks", "read_queue_entry_clocks", "write_queue_entry_clocks", "occupancy_clocks", "open_rank_clocks",
    "read_latency_clocks", "max_read_latency_clocks",
    "address_errors", "response_overflows",
)])
"""Per channel. accepted_reads = read_bursts + forwarded_reads + queued; accepted_writes = write_bursts + merged_writes + queued.
forwarded_reads: answered from a queued write or with the burst of an older read of the same address.
Queue occupancies are sums of entries x clocks over ``occupancy_clocks``; ``open_rank_clocks`` sums clocks x ranks with an open row."""


class DramSpec(NamedTuple):
    """Geometry, policy and timing tables of all channels; ``dram_ticks``, ``core_ticks``: periods of the clocks.

    Timing is kept in cells: one for each of the ``n_groups`` bank groups of a channel, which also takes what binds ranks and the
    channel, then one for each bank. ``bank >> group_bits`` is the group of a bank, ``bank >> rank_bits`` its rank.
    """

    n_channels: int
    n_requesters: int
    n_ranks: int
    n_banks: int
    banks_per_rank: int
    burst_bytes: int
    interleave_bits: int
    capacity_bytes: int
    read_queue: int
    write_queue: int
    write_high: int
    write_low: int
    scheduler: int
    hands_over: int
    joins_reads: int
    idle_close_clocks: int
    refresh_interval_clocks: int
    refreshes_at_once: int
    read_clocks: int
    burst_clocks: int
    controller_latency_clocks: int
    ideal: int
    core_ticks: int
    dram_ticks: int
    bank_table: np.ndarray
    row_table: np.ndarray
    n_groups: int
    group_bits: int
    rank_bits: int
    constraint_start: np.ndarray
    constraints: np.ndarray
    slots: np.ndarray
    log_capacity: int


class DramState(NamedTuple):
    """Shapes, with C channels: records ``registers`` [C], ``entries`` [C, entry] and ``banks`` [C, bank],
    ``busy`` [C, list, bank] banks with work and ``place`` their positions, ``ready`` [C, cell, command] first legal clocks,
    ``history`` [C, window, cell, 1 + window] rings of issue clocks, ``open_banks`` [C, rank, (open banks, since)],
    ``marks`` [C, mark]: entries in use whose address has a mark (`queue.mark_of`), ``latency`` [C, bin],
    ``turns`` [C, (from reads to writes or back, whether the last burst was written)],
    ``log`` [C, command, (clock, command, bank or rank, row, burst index)]; ``stepped_at`` [C]: clock stepped last."""

    registers: np.ndarray
    entries: np.ndarray
    banks: np.ndarray
    busy: np.ndarray
    place: np.ndarray
    ready: np.ndarray
    history: np.ndarray
    open_banks: np.ndarray
    marks: np.ndarray
    latency: np.ndarray
    turns: np.ndarray
    log: np.ndarray
    stepped_at: np.ndarray
    counters: np.ndarray


class BankShape(NamedTuple):
    """Ranks of a channel, bank groups of a rank, banks of a group; all powers of two."""

    n_ranks: int
    groups: int
    banks: int

    def scope(self, level: str) -> tuple[int, int, int]:
        """First cell of ``level``, bits that a bank number has below it, cells of one node of it."""
        bank_bits, group_bits, rank_bits = (bits_of(n, "part.organisation") for n in (self.banks, self.groups, self.n_ranks))
        return {
            "channel": (0, bank_bits + group_bits + rank_bits, self.n_ranks * self.groups),
            "rank": (0, bank_bits + group_bits, self.groups), "bank_group": (0, bank_bits, 1), "bank": (self.n_ranks * self.groups, 0, 1),
        }[level]


def _cell_rows(row: tuple[str, str, int, int, int, bool], shape: BankShape, ring: int) -> Iterator[tuple[int, ...]]:
    """The rows of a constraint without their clocks, one for each cell that it binds.

    A rank command is looked up at the first cell of its rank only.
    """
    level, _, following, _, window, sibling = row
    base, shift, count = shape.scope(level)
    cells = 1 if following in std.RANK_COMMANDS and level == "rank" else count
    others = range(1, shape.n_ranks) if sibling else (0,)
    if window > 1:
        yield following, base, shift, 0, count, window, ring, count
    else:
        yield from ((following, base + cell, shift, flip, count, window, -1, 1) for flip in others for cell in range(cells))


def _constraint_table(standard: std.Standard, timings: dict[str, int], shape: BankShape) -> tuple[np.ndarray, np.ndarray]:
    """Rows sorted by preceding command, and where the rows of each command start.

    Of rows that bind the same cells, the longest is kept: levels coincide where there is one rank, or one group.
    """
    bound, rows, start, ring = std.rows_of(standard, timings), [], [0], 0
    for command in std.COMMANDS:
        longest: dict[tuple[int, ...], int] = {}
        for row in (row for row in bound if row[1] == command):
            for key in _cell_rows((*row[:2], std.COMMANDS.index(row[2]), *row[3:]), shape, ring):
                longest[key] = max(longest.get(key, row[3]), row[3])
            ring += row[4] > 1
        rows += [(key[0], clocks, *key[1:]) for key, clocks in longest.items()]
        start.append(len(rows))
    return np.array(start, np.int64), np.array(rows, CONSTRAINTS)


def _choice(value: str, allowed: tuple[str, ...], key: str) -> int:
    if value not in allowed:
        raise ValueError(f"dram.{key}: {value!r}, allowed: {', '.join(allowed)}")
    return allowed.index(value)


def _idle_close_clocks(config: Any) -> int:
    """Clocks after its last use at which an idle row is closed."""
    policy = PAGE_POLICIES[_choice(config.page_policy, PAGE_POLICIES, "page_policy")]
    timeout = getattr(config, "page_timeout", PAGE_TIMEOUT_CLOCKS)
    return {"open": int(NEVER), "closed": 0, "timeout": int(timeout)}[policy]


def _watermarks(config: Any) -> tuple[int, int]:
    """Entries above which writes drain and below which they stop (at least 1, so that a drain has an end)."""
    try:
        high, low = Fraction(str(config.write_high_watermark)), Fraction(str(config.write_low_watermark))
    except ValueError:
        both = f"{config.write_low_watermark!r}, {config.write_high_watermark!r}"
        raise ValueError(f"dram.write_low_watermark, write_high_watermark: {both}, must be numbers") from None
    if not 0 <= low <= high <= 1:
        raise ValueError(f"dram.write_low_watermark: {low}, must be between 0 and write_high_watermark = {high} <= 1")
    return floor(high * config.write_queue), max(ceil(low * config.write_queue), 1)  # an empty queue ends every drain


def _refreshes(config: Any, timings: dict[str, int]) -> tuple[int, int]:
    """Clocks from one refresh that falls due to the next, and ranks that are due then: all, or one in turn.

    Raises ValueError where they leave no time for data.
    """
    if not config.refresh or config.ideal:
        return int(NEVER), 0
    interval, least = timings["REFI"], least_refresh_clocks(timings, config.ranks)
    if interval < least:
        raise ValueError(f"timing_clocks.REFI: {interval}, must be at least {least}: RFC and a row cycle with a write for each rank")
    in_turn = DRAM_SCHEDULERS[config.scheduler].refreshes_in_turn
    return (interval // config.ranks, 1) if in_turn else (interval, config.ranks)


def timings_of(part: Any) -> dict[str, int]:
    """Completed timings of a part in clocks."""
    own = std.standard_named(part.standard).own_timings
    names = (*std.TIMINGS, *own, *std.OPTIONAL_TIMINGS)
    return std.complete_timings({name: getattr(part.timing_clocks, name, None) for name in names}, own)


def build(config: Any, clocks: Clocks, n_requesters: int, log_capacity: int = 0) -> DramSpec:
    """Compile the ``dram`` section of an architecture into tables.

    ``log_capacity`` commands of each channel are recorded in ``DramState.log``. Raises ValueError naming key and rule for impossible
    timings, a mapping that does not add up to the organisation, a bad interleave, empty queues and unknown policies.
    """
    part, organisation = config.part, config.part.organisation
    standard, timings = std.standard_named(part.standard), timings_of(part)
    burst_bytes = organisation.bus_width_bits * organisation.burst_length // 8
    sizes = field_sizes(organisation, config.ranks)
    groups, banks = sizes["bg"], sizes["ba"]
    for key, (least, most) in WHOLE.items():
        value = getattr(config, key, least)
        is_whole = isinstance(value, Integral | np.bool_)
        if not (is_whole and least <= value <= most) or (value is True and most > 1):
            raise ValueError(f"dram.{key}: {value!r}, must be a whole number from {least} to {most}")
    interleave_bits = bits_of(config.channel_interleave_bytes, "channel_interleave")
    if config.channel_interleave_bytes < burst_bytes:
        raise ValueError(f"dram.channel_interleave: {config.channel_interleave_bytes} B, must be at least a burst = {burst_bytes} B")
    burst_bits = bits_of(burst_bytes, "part.organisation burst bytes")
    slices = slices_of(config.mapping, sizes)
    slices = in_bytes(slices, burst_bits, interleave_bits, bits_of(config.channels, "channels"))
    write_high, write_low = _watermarks(config)
    number = _choice(config.scheduler, DRAM_SCHEDULERS.names, "scheduler")
    scheduler = DRAM_SCHEDULERS[config.scheduler]
    interval, at_once = _refreshes(config, timings)
    shape = BankShape(config.ranks, groups, banks)
    start, constraints = _constraint_table(standard, timings, shape)
    slots = np.zeros((len(standard.command_slots), len(std.COMMANDS)), np.int64)
    for slot, commands in enumerate(standard.command_slots):
        slots[slot, list(commands)] = 1
    return DramSpec(
        n_channels=config.channels, n_requesters=n_requesters, n_ranks=config.ranks,
        n_banks=config.ranks * groups * banks, banks_per_rank=groups * banks, burst_bytes=burst_bytes,
        interleave_bits=interleave_bits,
        capacity_bytes=config.channels * prod(sizes.values()) * burst_bytes,
        read_queue=config.read_queue, write_queue=config.write_queue, write_high=write_high, write_low=write_low,
        scheduler=number, hands_over=int(scheduler.hands_over), joins_reads=int(scheduler.joins_reads),
        idle_close_clocks=_idle_close_clocks(config),
        refresh_interval_clocks=interval, refreshes_at_once=at_once,
        read_clocks=timings["CL"] + timings["BL"], burst_clocks=timings["BL"], controller_latency_clocks=config.controller_latency,
        ideal=int(config.ideal), core_ticks=clocks.core_ticks, dram_ticks=clocks.dram_ticks,
        bank_table=gather_table(slices, ("ra", "bg", "ba"), sizes),
        row_table=gather_table(slices, ("ro",), sizes),
        n_groups=config.ranks * groups, group_bits=shape.scope("bank_group")[1], rank_bits=shape.scope("rank")[1],
        constraint_start=start, constraints=constraints, slots=slots, log_capacity=log_capacity,
    )


def longest_wait_clocks(spec: DramSpec) -> int:
    """Clocks within which a channel that has a request serves one, whatever came before: every rank goes through each kind of command
    once, each with its longest constraint, and the refreshes of two rounds come first; then the data and the controller's latency."""
    constraint = int(spec.constraints["clocks"].max(initial=0))
    refreshes = 0 if spec.refresh_interval_clocks == NEVER else 2 * spec.refresh_interval_clocks * spec.n_ranks
    return refreshes + spec.n_ranks * len(std.COMMANDS) * constraint + spec.read_clocks + spec.controller_latency_clocks


def n_entries_of(spec: DramSpec) -> int:
    """Requests that a channel can hold; reads that joined another count like those of the queue."""
    in_queues = spec.read_queue * (1 + spec.joins_reads) + spec.write_queue
    return in_queues + spec.n_banks * (HANDED_LIMIT if spec.hands_over else 1)


def init(spec: DramSpec) -> DramState:
    """Idle channels: all banks closed, queues empty, first refresh one interval from now."""
    n, n_banks, n_cells = spec.n_channels, spec.n_banks, spec.n_groups + spec.n_banks
    n_entries = n_entries_of(spec)
    n_windows = int(spec.constraints["history"].max()) + 1
    state = DramState(
        registers=np.zeros(n, REGISTERS),
        entries=np.zeros((n, n_entries), ENTRIES),
        banks=np.zeros((n, n_banks), BANKS),
        busy=np.zeros((n, 3, n_banks), np.int64),
        place=np.full((n, 3, n_banks), -1, np.int64),
        ready=np.full((n, n_cells, len(std.COMMANDS)), LONG_AGO, np.int64),
        history=np.full((n, max(n_windows, 1), n_cells, 1 + int(spec.constraints["window"].max())), LONG_AGO, np.int64),
        open_banks=np.zeros((n, spec.n_ranks, 2), np.int64),
        marks=np.zeros((n, MARKS), np.int64),
        latency=np.zeros((n, LATENCY_BINS), np.int64),
        turns=np.zeros((n, 2), np.int64),
        log=np.zeros((n, max(spec.log_capacity, 1), 5), np.int64),
        stepped_at=np.full(n, -1, np.int64),
        counters=np.zeros(n, COUNTERS),
    )
    state.history[..., 0] = 0
    state.banks["open_row"], state.banks["oldest_age"] = NO_ROW, NEVER
    for name in ("oldest", "head", "tail"):
        state.banks[name] = NO_ENTRY
    state.registers["next_bank"] = 1
    state.entries["joined"] = NO_ENTRY
    state.entries["next"] = np.append(np.arange(1, n_entries), NO_ENTRY)
    state.registers["wake"] = spec.refresh_interval_clocks
    state.registers["refresh_at"] = spec.refresh_interval_clocks
    state.registers["tried_at"] = LONG_AGO
    state.registers["order"] = NEVER
    state.registers["entry"] = NO_ENTRY
    state.registers["command"] = NO_COMMAND
    return state
