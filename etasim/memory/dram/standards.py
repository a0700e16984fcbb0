"""DRAM standards as constraint tables.

A row says: on the named level, ``following`` may not issue earlier than ``clocks`` after ``preceding``. ``clocks`` is an
expression of named timings. ``window`` n counts from the n-th last ``preceding`` (tFAW: the fourth last ACT). ``sibling`` rows
bind the other nodes of the same parent (rank to rank turnaround) instead of the node itself.

Sources: JEDEC JESD79-3F (DDR3), JESD79-4C (DDR4), JESD235 (HBM2), JESD209-4 (LPDDR4). The read to write turnaround of two clocks
is the constant that both reference simulators use (shared reference README, "Derived timings").
"""

import ast
from functools import cache
from numbers import Integral
from typing import NamedTuple

from etasim.core.registry import DRAM_STANDARDS, UnknownNameError

COMMANDS = ("ACT", "PRE", "PREA", "RD", "WR", "REF")
ACT, PRE, PREA, RD, WR, REF = range(len(COMMANDS))
ROW_COMMANDS = (ACT, PRE, PREA, REF)
COLUMN_COMMANDS = (RD, WR)
RANK_COMMANDS = (PREA, REF)
"""Commands that address a whole rank; the others address one bank."""

TIMINGS = ("BL", "CL", "RCD", "RP", "RAS", "RC", "WR", "RTP", "CWL", "CCDS", "RRDS", "WTRS", "FAW", "RFC", "REFI")
"""Timings that every part states, in clocks (JEDEC names without the leading t)."""

OPTIONAL_TIMINGS = {"RCDWR": "RCD", "CCDL": "CCDS", "RRDL": "RRDS", "WTRL": "WTRS", "CS": "2", "PPD": "0"}
"""Timings that a part may state, and the expression used where it does not: ACT to WR, within a bank group, rank switch, PRE to PRE."""


class Constraint(NamedTuple):
    """One row of a standard: ``following`` at least ``clocks`` after ``preceding`` on ``level``."""

    level: str
    preceding: tuple[str, ...]
    following: tuple[str, ...]
    clocks: str
    window: int = 1
    sibling: bool = False

    @property
    def timings(self) -> frozenset[str]:
        """The timings that ``clocks`` reads."""
        return _names_in(self.clocks)


@cache
def _names_in(expression: str) -> frozenset[str]:
    return frozenset(node.id for node in ast.walk(ast.parse(expression, mode="eval")) if isinstance(node, ast.Name))


class Standard(NamedTuple):
    """A DRAM standard.

    ``command_slots`` lists, per command bus in issue order, the commands that it carries; ``command_clocks`` the commands that take
    more than one clock on it. Timings count from the last clock of a command, while the model notes the first. ``transfers_per_clock``:
    of a data pin.
    """

    name: str
    constraints: tuple[Constraint, ...]
    command_slots: tuple[tuple[int, ...], ...] = (tuple(range(len(COMMANDS))),)
    command_clocks: tuple[tuple[str, int], ...] = ()
    transfers_per_clock: int = 2

    @property
    def timings(self) -> frozenset[str]:
        """The timings that its constraints read."""
        return frozenset(name for constraint in self.constraints for name in constraint.timings)

    @property
    def own_timings(self) -> tuple[str, ...]:
        """Those that no other standard has: a part of this one must state them."""
        return tuple(sorted(self.timings - {*TIMINGS, *OPTIONAL_TIMINGS}))

    @property
    def data_bus(self) -> str:
        """The level whose nodes have data pins of their own: ``channel``, or ``rank`` where ranks are pseudo channels."""
        return next(level for level in ("channel", "rank") if set(data_bus_rows(level)) <= set(self.constraints))


def data_bus_rows(level: str) -> tuple[Constraint, ...]:
    """Bursts that follow each other on the data bus of each node of ``level``."""
    return (
        Constraint(level, ("RD",), ("RD",), "BL"),
        Constraint(level, ("WR",), ("WR",), "BL"),
    )


RANK_ROWS = (
    Constraint("rank", ("RD",), ("RD",), "CCDS"),
    Constraint("rank", ("WR",), ("WR",), "CCDS"),
    Constraint("rank", ("RD",), ("WR",), "CL + BL + 2 - CWL"),
    Constraint("rank", ("WR",), ("RD",), "CWL + BL + WTRS"),
    Constraint("rank", ("RD",), ("PREA",), "RTP"),
    Constraint("rank", ("WR",), ("PREA",), "CWL + BL + WR"),
    Constraint("rank", ("ACT",), ("ACT",), "RRDS"),
    Constraint("rank", ("ACT",), ("ACT",), "FAW", window=4),
    Constraint("rank", ("ACT",), ("PREA",), "RAS"),
    Constraint("rank", ("PREA",), ("ACT",), "RP"),
    Constraint("rank", ("ACT",), ("REF",), "RC"),
    Constraint("rank", ("PRE", "PREA"), ("REF",), "RP"),
    Constraint("rank", ("REF",), ("ACT", "PREA", "REF"), "RFC"),
)

RANK_SWITCH_ROWS = (
    Constraint("rank", ("RD",), ("RD",), "BL + CS", sibling=True),
    Constraint("rank", ("RD",), ("WR",), "CL + BL + CS - CWL", sibling=True),
    Constraint("rank", ("WR",), ("RD",), "CWL + BL + CS - CL", sibling=True),
)

BANK_GROUP_ROWS = (
    Constraint("bank_group", ("RD",), ("RD",), "CCDL"),
    Constraint("bank_group", ("WR",), ("WR",), "CCDL"),
    Constraint("bank_group", ("WR",), ("RD",), "CWL + BL + WTRL"),
    Constraint("bank_group", ("ACT",), ("ACT",), "RRDL"),
)

BANK_ROWS = (
    Constraint("bank", ("ACT",), ("ACT",), "RC"),
    Constraint("bank", ("ACT",), ("RD",), "RCD"),
    Constraint("bank", ("ACT",), ("WR",), "RCDWR"),
    Constraint("bank", ("ACT",), ("PRE",), "RAS"),
    Constraint("bank", ("PRE",), ("ACT",), "RP"),
    Constraint("bank", ("RD",), ("PRE",), "RTP"),
    Constraint("bank", ("WR",), ("PRE",), "CWL + BL + WR"),
)

PRECHARGE_ROWS = (Constraint("rank", ("PRE", "PREA"), ("PRE", "PREA"), "PPD"),)

DDR3 = Standard("DDR3", data_bus_rows("channel") + RANK_ROWS + RANK_SWITCH_ROWS + BANK_ROWS)
DDR4 = Standard("DDR4", data_bus_rows("channel") + RANK_ROWS + RANK_SWITCH_ROWS + BANK_GROUP_ROWS + BANK_ROWS)
LPDDR4 = Standard(
    "LPDDR4", data_bus_rows("channel") + RANK_ROWS + RANK_SWITCH_ROWS + BANK_ROWS + PRECHARGE_ROWS
)
HBM2 = Standard(
    "HBM2", data_bus_rows("rank") + RANK_ROWS + BANK_GROUP_ROWS + BANK_ROWS,
    command_slots=(COLUMN_COMMANDS, ROW_COMMANDS), command_clocks=(("ACT", 2),),
)  # fmt: skip
"""A rank of HBM2 is a pseudo channel: it has its own data bus, and shares the row and the column command bus. ACT takes two clocks."""

for _standard in (DDR3, DDR4, HBM2, LPDDR4):
    DRAM_STANDARDS.add(_standard.name, _standard)


def rows_of(standard: Standard, timings: dict[str, int]) -> list[tuple[str, str, str, int, int, bool]]:
    """All pairs of commands that a standard binds: (level, preceding, following, clocks, window, sibling), first clock to first clock."""
    length = dict.fromkeys(COMMANDS, 1) | dict(standard.command_clocks)
    rows = [
        (c.level, before, after, evaluate(c.clocks, timings) + length[before] - length[after], c.window, c.sibling)
        for c in standard.constraints for before in c.preceding for after in c.following
    ]
    for before, clocks in standard.command_clocks:
        same_bus = next(slot for slot in standard.command_slots if COMMANDS.index(before) in slot)
        rows += [("channel", before, COMMANDS[after], clocks, 1, False) for after in same_bus]
    return rows


def standard_named(name: str) -> Standard:
    """The standard called ``name``; ValueError lists the known ones."""
    try:
        return DRAM_STANDARDS[name]
    except UnknownNameError as error:
        raise ValueError(f"dram.part.standard: {error}") from None


def evaluate(expression: str, timings: dict[str, int]) -> int:
    """Clocks of an expression of integers, named timings, ``+`` and ``-``; ValueError for anything else."""

    def value(node: ast.AST) -> int:
        match node:
            case ast.Expression(body=body):
                return value(body)
            case ast.Constant(value=int(number)):
                return number
            case ast.Name(id=name) if name in timings:
                return timings[name]
            case ast.BinOp(left=left, op=ast.Add(), right=right):
                return value(left) + value(right)
            case ast.BinOp(left=left, op=ast.Sub(), right=right):
                return value(left) - value(right)
        raise ValueError(f"timing expression {expression!r}: only integers, named timings, + and - are allowed")

    return value(_parsed(expression))


@cache
def _parsed(expression: str) -> ast.Expression:
    return ast.parse(expression, mode="eval")


RULES = (
    ("RC", "RAS + RP"), ("FAW", "RRDS"), ("CCDL", "CCDS"), ("RRDL", "RRDS"), ("WTRL", "WTRS"), ("CCDS", "BL"), ("RAS", "RCD"),
    ("REFI", "RFC + RP + 1"),
)
"""Timings and what each of them must at least be."""


def complete_timings(stated: dict[str, int | None], own: tuple[str, ...] = ()) -> dict[str, int]:
    """All timings in clocks: those stated, defaults for the optional ones; ``own``: further ones that the standard needs.

    Raises ValueError naming key and rule of every missing, fractional, negative or impossible timing.
    """
    problems = []
    for name in (*TIMINGS, *own, *OPTIONAL_TIMINGS):
        clocks, least = stated.get(name), 0 if name in OPTIONAL_TIMINGS else 1
        whole = isinstance(clocks, Integral) and not isinstance(clocks, bool)
        if not (whole and clocks is not None and clocks >= least) and (clocks is not None or least):
            problems.append(f"timing_clocks.{name}: {clocks!r}, must be a whole number of at least {least} clocks")
    if problems:
        raise ValueError("; ".join(problems))
    timings = {name: int(clocks) for name, clocks in stated.items() if clocks is not None}
    for name, default in OPTIONAL_TIMINGS.items():
        timings.setdefault(name, evaluate(default, timings))
    for name, bound in RULES:
        least = evaluate(bound, timings)
        if timings[name] < least:
            problems.append(f"timing_clocks.{name}: {timings[name]}, must be at least {bound} = {least}")
    if problems:
        raise ValueError("; ".join(problems))
    return timings
