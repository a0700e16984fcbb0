"""An independent judge of command streams: JEDEC timing and bank state rules, written without the tables of ``standards``.

For every command it derives the clock from which on each rule allows it. A stream is legal when no command is earlier than its
latest bound.
Data bus rules are checked on the data beats themselves.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

ANY_ROW = -1
MAX_REFRESH_INTERVALS = 9  # JESD79-3F 4.2: at most eight refreshes postponed


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

    index: int
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
    ``act_clocks``: clocks that an ACT takes on its bus; its timings count from the last of them.
    """

    timings: dict[str, int]
    banks_per_group: int
    bank_groups: int = 1
    private_data_bus: bool = False
    split_command_bus: bool = False
    act_clocks: int = 1


class _Judge:
    def __init__(self, rules: Rules):
        self.rules = rules
        self.t = rules.timings
        self.open_row: dict[tuple[int, int, int], int] = {}
        self.acts = defaultdict(list)  # rank -> [(clock, group, bank)]
        self.last = {}  # (what, key) -> clock
        self.columns = defaultdict(list)  # data bus -> [(clock, name, rank, group)], the latest few
        self.bus_clock = {}

    def _since(self, what: str, key, clocks: int, rule: str) -> Iterator[tuple[str, int]]:
        if (what, key) in self.last:
            yield rule, self.last[what, key] + clocks

    def _bus(self, command: Command):
        return command.rank if self.rules.private_data_bus else 0

    def _recovered(self, bank, rule: str) -> Iterator[tuple[str, int]]:
        """A bank may be precharged after tRAS, tRTP and the write recovery."""
        t = self.t
        yield from self._since("ACT", bank, t["RAS"], f"RAS {rule}")
        yield from self._since("RD", bank, t["RTP"], f"RTP {rule}")
        yield from self._since("WR", bank, t["CWL"] + t["BL"] + t["WR"], f"WR recovery {rule}")

    def _banks(self, rank: int) -> list[tuple[int, int, int]]:
        return [(rank, g, b) for g in range(self.rules.bank_groups) for b in range(self.rules.banks_per_group)]

    def act(self, command: Command, bank) -> Iterator[tuple[str, int]]:
        t = self.t
        yield from self._since("ACT", bank, t["RC"], "RC")
        yield from self._since("PRE", bank, t["RP"], "RP")
        yield from self._since("REF", command.rank, t["RFC"], "RFC")
        for clock, group, _ in self.acts[command.rank][-self.rules.bank_groups * 4:]:
            same = group == command.bank_group and self.rules.bank_groups > 1
            yield ("RRDL", clock + t["RRDL"]) if same else ("RRDS", clock + t["RRDS"])
        if len(self.acts[command.rank]) >= 4:
            yield "FAW", self.acts[command.rank][-4][0] + t["FAW"]

    def column(self, command: Command, bank) -> Iterator[tuple[str, int]]:
        t, is_read = self.t, command.name == "RD"
        yield from self._since("ACT", bank, t["RCD"] if is_read else t["RCDWR"], "RCD" if is_read else "RCDWR")
        lead = {"RD": t["CL"], "WR": t["CWL"]}
        for clock, name, rank, group in self.columns[self._bus(command)]:
            data_end = clock + lead[name] + t["BL"]
            same_group = rank == command.rank and group == command.bank_group and self.rules.bank_groups > 1
            gap, rule = 0, "data bus"
            if rank != command.rank and (is_read or name == "RD"):
                gap, rule = t["CS"], "rank switch"
            elif name == "RD" and not is_read:
                gap, rule = 2, "read to write"
            yield rule, data_end + gap - lead[command.name]
            if rank == command.rank and name == command.name:
                yield ("CCDL", clock + t["CCDL"]) if same_group else ("CCDS", clock + t["CCDS"])
            if rank == command.rank and name == "WR" and is_read:
                yield ("WTRL", data_end + t["WTRL"]) if same_group else ("WTRS", data_end + t["WTRS"])

    def precharge(self, command: Command, banks) -> Iterator[tuple[str, int]]:
        for bank in banks:
            yield from self._recovered(bank, "to PRE" if command.name == "PRE" else "to PREA")
        yield from self._since("any PRE", command.rank, self.t["PPD"], "PPD")

    def refresh(self, command: Command) -> Iterator[tuple[str, int]]:
        for bank in self._banks(command.rank):
            yield from self._since("PRE", bank, self.t["RP"], "RP to REF")
        yield from self._since("REF", command.rank, self.t["RFC"], "RFC to REF")

    def bounds(self, command: Command) -> Iterator[tuple[str, int]]:
        bank = (command.rank, command.bank_group, command.bank)
        bus = "column" if self.rules.split_command_bus and command.name in ("RD", "WR") else "row"
        if bus in self.bus_clock:
            yield "command bus", self.bus_clock[bus] + 1
        match command.name:
            case "ACT":
                yield from ((rule, at - self.rules.act_clocks + 1) for rule, at in self.act(command, bank))
            case "RD" | "WR":
                yield from self.column(command, bank)
            case "PRE":
                yield from self.precharge(command, [bank])
            case "PREA":
                yield from self.precharge(command, self._banks(command.rank))
            case "REF":
                yield from self.refresh(command)

    def wrong_state(self, command: Command) -> str | None:
        """The rule of the bank state machine that the command breaks, if any."""
        bank = (command.rank, command.bank_group, command.bank)
        match command.name:
            case "ACT" if bank in self.open_row:
                return "ACT to an open bank"
            case "RD" | "WR" if bank not in self.open_row:
                return "column command to a closed bank"
            case "RD" | "WR" if ANY_ROW not in (command.row, self.open_row[bank]) and command.row != self.open_row[bank]:
                return "column command to the wrong row"
            case "REF" if any(b in self.open_row for b in self._banks(command.rank)):
                return "REF with an open bank"
            case "REF":
                longest = MAX_REFRESH_INTERVALS * self.t["REFI"]
                if command.clock - self.last.get(("REF", command.rank), 0) > longest:
                    return "refresh too late"
        return None

    def apply(self, command: Command) -> None:
        bank = (command.rank, command.bank_group, command.bank)
        bus = "column" if self.rules.split_command_bus and command.name in ("RD", "WR") else "row"
        if command.name == "ACT":
            command = command._replace(clock=command.clock + self.rules.act_clocks - 1)
            self.open_row[bank] = command.row
            self.acts[command.rank].append((command.clock, command.bank_group, command.bank))
        self.bus_clock[bus] = command.clock
        if command.name in ("RD", "WR"):
            seen = self.columns[self._bus(command)]
            seen.append((command.clock, command.name, command.rank, command.bank_group))
            longest = sum(self.t[name] for name in ("CL", "CWL", "BL", "WTRL", "CCDL", "CS")) + 2
            while seen[0][0] < command.clock - longest:
                seen.pop(0)
        closed = {"PRE": [bank], "PREA": self._banks(command.rank)}.get(command.name, [])
        for one in closed:
            self.open_row.pop(one, None)
            self.last["PRE", one] = command.clock
        if closed:
            self.last["any PRE", command.rank] = command.clock
        self.last[command.name, command.rank if command.name == "REF" else bank] = command.clock


def check(commands: Iterable[Command], rules: Rules) -> Verdict:
    """Judge a stream of commands in order of time. PRE of a closed bank is a legal no-operation."""
    judge, violations, bounds = _Judge(rules), [], []
    for index, command in enumerate(commands):
        wrong = judge.wrong_state(command)
        if wrong:
            violations.append(Violation(index, wrong, None))
        last = max(judge.bounds(command), key=lambda bound: bound[1], default=None)
        violations += [Violation(index, rule, at) for rule, at in judge.bounds(command) if command.clock < at]
        bounds.append(last)
        judge.apply(command)
    return Verdict(tuple(violations), tuple(bounds))
