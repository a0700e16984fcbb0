"""An independent judge of command streams: JEDEC timing and bank state rules, written without the tables of ``standards``.

For every command it derives the clock from which on each rule allows it. A stream is legal when no command is earlier than its
latest bound. Data bus rules are checked on the data beats themselves. Of earlier commands of one kind the last one binds, so the judge
keeps when each kind was last seen by each bank, bank group and rank. Of the timings that a standard has for itself the judge knows
nothing: their rows of its table it takes literally, each with the clocks of the last commands that it counts from.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from etasim.core.arrays import Integers
from etasim.core.jit import kernel, procedure
from etasim.memory.dram.own_rows import NEVER_SEEN, ActivateWindows, OwnRow, bounds_of_own_rows, note_in_windows, own_rows, unseen_windows
from etasim.memory.dram.spec import timings_of
from etasim.memory.dram.standards import ACT, COMMANDS, PRE, PREA, RD, REF, WR, standard_named

ANY_ROW = -1
MAX_REFRESH_INTERVALS = 9  # JESD79-3F 4.2: at most eight refreshes postponed
READ_TO_WRITE_CLOCKS = 2
_CLOSED = -2

RULES = (
    "command bus", "RC", "RP", "RFC", "RRDL", "RRDS", "FAW", "RCD", "RCDWR", "data bus", "rank switch", "read to write", "CCDL", "CCDS",
    "WTRL", "WTRS", "RAS to PRE", "RTP to PRE", "WR recovery to PRE", "RAS to PREA", "RTP to PREA", "WR recovery to PREA", "PPD",
    "RP to REF", "RFC to REF",
)  # fmt: skip
(_COMMAND_BUS, _RC, _RP, _RFC, _RRDL, _RRDS, _FAW, _RCD, _RCDWR, _DATA_BUS, _RANK_SWITCH, _READ_TO_WRITE, _CCDL, _CCDS, _WTRL, _WTRS,
 _RAS_PRE, _RTP_PRE, _WR_PRE, _RAS_PREA, _RTP_PREA, _WR_PREA, _PPD, _RP_REF, _RFC_REF, N_RULES) = range(len(RULES) + 1)
STATES = (
    "ACT to an open bank", "column command to a closed bank", "column command to the wrong row", "REF with an open bank",
    "refresh too late",
)  # fmt: skip
_OPEN_BANK, _CLOSED_BANK, _WRONG_ROW, _OPEN_REF, _LATE_REF = range(N_RULES, N_RULES + len(STATES))
N_NAMES = N_RULES + len(STATES)
"""Rules and states by number; a standard's own rows follow."""

_BANK, _GROUP, _RANK = range(3)
"""What a command was seen by: first index of ``last`` [level, command, node]."""



class Command(NamedTuple):
    """One command on the bus. ``bank_group`` and ``bank`` are ignored for PREA and REF; ``row`` ANY_ROW is not compared."""

    clock: int
    name: str
    rank: int = 0
    bank_group: int = 0
    bank: int = 0
    row: int = ANY_ROW


class Violation(NamedTuple):
    """Command number ``index`` breaks ``rule``: it may not issue before ``earliest`` (None: not at all in this state)."""

    index: int  # type: ignore[assignment]  # in the place of a tuple's own
    rule: str
    earliest: int | None


@dataclass(frozen=True)
class Verdict:
    """``violations`` of a stream, and per command the last rule to allow it with the clock from which on it did (None: no rule)."""

    violations: tuple[Violation, ...]
    bounds: tuple[tuple[str, int] | None, ...]


@dataclass(frozen=True)
class Rules:
    """Timings in clocks by their JEDEC names and the shape of the device.

    ``private_data_bus``: every rank has its own (pseudo channels). ``split_command_bus``: row and column commands do not compete.
    ``act_clocks``: clocks that an ACT takes on its bus; its timings count from the last of them. ``own``: the standard's own rows.
    """

    timings: dict[str, int]
    banks_per_group: int
    bank_groups: int = 1
    private_data_bus: bool = False
    split_command_bus: bool = False
    act_clocks: int = 1
    own: tuple[OwnRow, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Of all rules and states, by number."""
        return (*RULES, *STATES, *(row.name for row in self.own))


def rules_of(part: Any) -> Rules:
    """What the checker needs of a part. Raises ValueError for a standard that it could not judge."""
    standard, timings = standard_named(part.standard), timings_of(part)
    long = dict(standard.command_clocks)
    if set(long) - {"ACT"}:
        raise ValueError(f"the checker knows of an ACT alone that it may take several clocks, {standard.name} says so of {', '.join(long)}")
    return Rules(
        timings, part.organisation.banks, part.organisation.bank_groups, private_data_bus=standard.data_bus == "rank",
        split_command_bus=len(standard.command_slots) > 1, act_clocks=long.get("ACT", 1),
        own=own_rows(standard, timings),
    )  # fmt: skip


class _Timings(NamedTuple):
    """Timings in clocks, and the shape of the device, for the kernels."""

    BL: int
    CL: int
    RCD: int
    RCDWR: int
    RP: int
    RAS: int
    RC: int
    WR: int
    RTP: int
    CWL: int
    CCDS: int
    CCDL: int
    RRDS: int
    RRDL: int
    WTRS: int
    WTRL: int
    FAW: int
    RFC: int
    REFI: int
    CS: int
    PPD: int
    banks: int
    groups: int
    private_data_bus: int
    split_command_bus: int
    act_clocks: int


class _Seen(NamedTuple):
    """``last`` [level, command, node]: clock of the last one; ``acts`` [rank, (place of the oldest, clocks of the last four)];
    ``open_row`` [bank], ``n_open`` [rank], ``bus`` [row commands, column commands]: clock of the last command. ``windows``: what the
    standard's own rows count from."""

    last: np.ndarray
    acts: np.ndarray
    open_row: np.ndarray
    n_open: np.ndarray
    bus: np.ndarray
    windows: ActivateWindows


@kernel
def _bounds_of_act(t: _Timings, seen: _Seen, found: Integers, bank: int, group: int, rank: int) -> None:
    """ACT: its timings count from the last clock that it takes, its place on the bus from the first."""
    shift = t.act_clocks - 1
    found[_RC] = seen.last[_BANK, ACT, bank] + t.RC - shift
    found[_RP] = seen.last[_BANK, PRE, bank] + t.RP - shift
    found[_RFC] = seen.last[_RANK, REF, rank] + t.RFC - shift
    found[_RRDS] = seen.last[_RANK, ACT, rank] + t.RRDS - shift
    if t.groups > 1:
        found[_RRDL] = seen.last[_GROUP, ACT, group] + t.RRDL - shift
    found[_FAW] = seen.acts[rank, 1 + seen.acts[rank, 0]] + t.FAW - shift


@kernel
def _bounds_of_column(t: _Timings, seen: _Seen, found: Integers, command: int, bank: int, group: int, rank: int) -> None:
    """RD, WR: the row must be open, the data bus free, and the device turned around."""
    is_read = command == RD
    rcd, delay = (_RCD, t.RCD) if is_read else (_RCDWR, t.RCDWR)
    found[rcd] = seen.last[_BANK, ACT, bank] + delay
    first, end = (rank, rank + 1) if t.private_data_bus else (0, seen.n_open.shape[0])
    for before in (RD, WR):
        lead = (t.CL if before == RD else t.CWL) - (t.CL if is_read else t.CWL)
        for other in range(first, end):
            at = seen.last[_RANK, before, other] + t.BL + lead
            if other != rank and (is_read or before == RD):
                found[_RANK_SWITCH] = max(found[_RANK_SWITCH], at + t.CS)
            elif before == RD and not is_read:
                found[_READ_TO_WRITE] = at + READ_TO_WRITE_CLOCKS
            else:
                found[_DATA_BUS] = max(found[_DATA_BUS], at)
    found[_CCDS] = seen.last[_RANK, command, rank] + t.CCDS
    if t.groups > 1:
        found[_CCDL] = seen.last[_GROUP, command, group] + t.CCDL
    if is_read:
        found[_WTRS] = seen.last[_RANK, WR, rank] + t.CWL + t.BL + t.WTRS
        if t.groups > 1:
            found[_WTRL] = seen.last[_GROUP, WR, group] + t.CWL + t.BL + t.WTRL


@kernel
def _bounds_of_others(t: _Timings, seen: _Seen, found: Integers, command: int, bank: int, rank: int) -> None:
    """PRE of a bank, PREA of all banks of a rank: after tRAS, tRTP and the write recovery. REF: when all banks are precharged."""
    if command == REF:
        found[_RP_REF] = seen.last[_RANK, PRE, rank] + t.RP
        found[_RFC_REF] = seen.last[_RANK, REF, rank] + t.RFC
        return
    level, node = (_BANK, bank) if command == PRE else (_RANK, rank)
    first = _RAS_PRE if command == PRE else _RAS_PREA
    found[first] = seen.last[level, ACT, node] + t.RAS
    found[first + 1] = seen.last[level, RD, node] + t.RTP
    found[first + 2] = seen.last[level, WR, node] + t.CWL + t.BL + t.WR
    found[_PPD] = seen.last[_RANK, PRE, rank] + t.PPD


@kernel
def _wrong_state(t: _Timings, seen: _Seen, command: int, bank: int, rank: int, row: int, clock: int) -> int:
    """The rule of the bank state machine that a command breaks, -1 if none."""
    if command == ACT and seen.open_row[bank] != _CLOSED:
        return _OPEN_BANK
    if command in (RD, WR):
        if seen.open_row[bank] == _CLOSED:
            return _CLOSED_BANK
        if row != ANY_ROW and seen.open_row[bank] != ANY_ROW and seen.open_row[bank] != row:
            return _WRONG_ROW
    if command == REF:
        if seen.n_open[rank] > 0:
            return _OPEN_REF
        if clock - max(seen.last[_RANK, REF, rank], 0) > MAX_REFRESH_INTERVALS * t.REFI:
            return _LATE_REF
    return -1


@kernel
def _close(seen: _Seen, bank: int, rank: int, clock: int) -> None:
    """The bank is precharged."""
    if seen.open_row[bank] != _CLOSED:
        seen.open_row[bank] = _CLOSED
        seen.n_open[rank] -= 1
    seen.last[_BANK, PRE, bank] = clock
    seen.last[_RANK, PRE, rank] = clock


@kernel
def _apply(t: _Timings, seen: _Seen, command: int, bank: int, group: int, rank: int, row: int, clock: int) -> None:
    """The command has been issued."""
    seen.bus[t.split_command_bus * (command in (RD, WR))] = clock
    if command == ACT:
        clock += t.act_clocks - 1
        seen.bus[0] = clock
        seen.n_open[rank] += seen.open_row[bank] == _CLOSED
        seen.open_row[bank] = row
        place = seen.acts[rank, 0]
        seen.acts[rank, 1 + place] = clock
        seen.acts[rank, 0] = (place + 1) % 4
    if command == PRE:
        _close(seen, bank, rank, clock)
    elif command == PREA:
        for b in range(rank * t.groups * t.banks, (rank + 1) * t.groups * t.banks):
            _close(seen, b, rank, clock)
    elif command == REF:
        seen.last[_RANK, REF, rank] = clock
    else:
        seen.last[_BANK, command, bank] = clock
        seen.last[_GROUP, command, group] = clock
        seen.last[_RANK, command, rank] = clock


@kernel
def _rules_for(command: int) -> tuple[int, int]:
    """Rules, from the first to before the last, that a command may break beside that of the command bus."""
    if command == ACT:
        return _RC, _RCD
    if command in (RD, WR):
        return _RCD, _RAS_PRE
    return _RAS_PRE, N_RULES


@kernel
def _accuse(violations: Integers, n_wrong: int, index: int, rule: int, earliest: int) -> int:
    """Enter a violation, while there is room; returns how many there are."""
    if n_wrong < violations.shape[0]:
        violations[n_wrong, 0] = index
        violations[n_wrong, 1] = rule
        violations[n_wrong, 2] = earliest
    return n_wrong + 1


@kernel
def _last_to_allow(found: Integers, first: int, end: int, last: int, at: int) -> tuple[int, int]:
    """(rule, clock) of the last of the rules ``first ... end`` to allow a command, if that is after ``at``, when ``last`` does."""
    for rule in range(first, end):
        if found[rule] > max(at, NEVER_SEEN // 2):
            last, at = rule, found[rule]
    return last, at


@kernel
def _accuse_all(violations: Integers, n_wrong: int, index: int, found: Integers, first: int, end: int, clock: int) -> int:
    """Enter each of the rules ``first ... end`` that ``clock`` breaks."""
    for rule in range(first, end):
        if clock < found[rule]:
            n_wrong = _accuse(violations, n_wrong, index, rule, found[rule])
    return n_wrong


@procedure
def _judge(t: _Timings, seen: _Seen, commands: Integers, found: Integers, bounds: Integers, violations: Integers) -> int:
    """Judge ``commands`` [command, (clock, command, bank or rank, row)] in order of time; ``found`` [rule] is scratch, ``bounds`` [command,
    (rule, clock)] may be empty, ``violations`` [(command, rule, earliest)] takes the first ones. Returns how many there are."""
    n_wrong, n_ranks = 0, seen.n_open.shape[0]
    for index in range(commands.shape[0]):
        clock, command, target, row = commands[index, 0], commands[index, 1], commands[index, 2], commands[index, 3]
        of_rank = command in (PREA, REF)
        bank = target * t.groups * t.banks if of_rank else target
        group, rank = bank // t.banks, bank // (t.groups * t.banks)
        nodes = (bank, group, rank, 0 * bank)
        first_rule, end_rule = _rules_for(command)
        found[first_rule:end_rule] = NEVER_SEEN
        if command == ACT:
            _bounds_of_act(t, seen, found, bank, group, rank)
        elif command in (RD, WR):
            _bounds_of_column(t, seen, found, command, bank, group, rank)
        else:
            _bounds_of_others(t, seen, found, command, bank, rank)
        bounds_of_own_rows(seen.windows, found, N_NAMES, command, nodes, n_ranks, t.act_clocks)
        last, at = _COMMAND_BUS, seen.bus[t.split_command_bus * (command in (RD, WR))] + 1
        found[_COMMAND_BUS] = at
        if at < NEVER_SEEN // 2:
            last = -1
        last, at = _last_to_allow(found, first_rule, end_rule, last, at)
        last, at = _last_to_allow(found, N_NAMES, found.shape[0], last, at)
        if index < bounds.shape[0]:
            bounds[index, 0] = last
            bounds[index, 1] = at
        wrong = _wrong_state(t, seen, command, bank, rank, row, clock)
        if wrong >= 0 or clock < at:
            if wrong >= 0:
                n_wrong = _accuse(violations, n_wrong, index, wrong, -1)
            n_wrong = _accuse_all(violations, n_wrong, index, found, _COMMAND_BUS, _COMMAND_BUS + 1, clock)
            n_wrong = _accuse_all(violations, n_wrong, index, found, first_rule, end_rule, clock)
            n_wrong = _accuse_all(violations, n_wrong, index, found, N_NAMES, found.shape[0], clock)
        _apply(t, seen, command, bank, group, rank, row, clock)
        note_in_windows(seen.windows, command, nodes, clock, t.act_clocks)
    return n_wrong


def _unseen(rules: Rules, n_ranks: int) -> _Seen:
    """Nothing has been issued."""
    n_banks = n_ranks * rules.bank_groups * rules.banks_per_group
    acts = np.full((n_ranks, 5), NEVER_SEEN)
    acts[:, 0] = 0
    return _Seen(
        np.full((3, len(COMMANDS), n_banks), NEVER_SEEN), acts, np.full(n_banks, _CLOSED), np.zeros(n_ranks, np.int64),
        np.full(2, NEVER_SEEN), unseen_windows(rules.own, n_banks),
    )  # fmt: skip


def _judged(commands: np.ndarray, rules: Rules, n_ranks: int, n_bounds: int, most: int) -> tuple[np.ndarray, list[Violation], int]:
    """(bounds, the first ``most`` violations, number of all) of ``commands`` [command, (clock, number, bank or rank, row, ...)]."""
    timings = {name: rules.timings[name] for name in _Timings._fields if name in rules.timings}
    t = _Timings(
        **timings, banks=rules.banks_per_group, groups=rules.bank_groups, private_data_bus=int(rules.private_data_bus),
        split_command_bus=int(rules.split_command_bus), act_clocks=rules.act_clocks,
    )  # fmt: skip
    bounds, violations = np.empty((n_bounds, 2), np.int64), np.empty((most, 3), np.int64)
    found = np.empty(N_NAMES + len(rules.own), np.int64)
    n_wrong = int(_judge(t, _unseen(rules, n_ranks), commands, found, bounds, violations))
    first = violations[: min(n_wrong, most)].tolist()
    return bounds, [Violation(i, rules.names[rule], at if at >= 0 else None) for i, rule, at in first], n_wrong


def illegal(log: np.ndarray, rules: Rules, n_ranks: int, most: int = 3) -> tuple[list[Violation], int]:
    """The first ``most`` violations in a log of `etasim.memory.dram.spec.DramState`, and the number of all."""
    _, violations, n_wrong = _judged(log, rules, n_ranks, 0, most)
    return violations, n_wrong


def check(commands: Iterable[Command], rules: Rules) -> Verdict:
    """Judge a stream of commands in order of time. PRE of a closed bank is a legal no-operation."""
    commands, rows = list(commands), []
    for c in commands:
        number = COMMANDS.index(c.name)
        bank = (c.rank * rules.bank_groups + c.bank_group) * rules.banks_per_group + c.bank
        rows.append((c.clock, number, c.rank if number in (PREA, REF) else bank, c.row))
    n_ranks = 1 + max((c.rank for c in commands), default=0)
    table = np.array(rows, np.int64).reshape(-1, 4)
    bounds, violations, _ = _judged(table, rules, n_ranks, len(table), len(table) * (len(rules.names) + 1))
    return Verdict(tuple(violations), tuple((rules.names[rule], at) if rule >= 0 else None for rule, at in bounds.tolist()))
