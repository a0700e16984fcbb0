"""The constraint tables beside the checker, which shares nothing with them: both allow the next command from the same clock.

So every constraint of every standard is tight: at the clock that the model says a command is legal, one clock earlier it is refused.
"""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etasim.core.clock import Clocks
from etasim.core.jit import entry
from etasim.memory.dram import build, init
from etasim.memory.dram.checker import ANY_ROW, Command, check
from etasim.memory.dram.parts import reference_parameters
from etasim.memory.dram.replay import replay_config
from etasim.memory.dram.standards import ACT, COMMANDS, PRE, PREA, RD, REF, WR
from etasim.memory.dram.timing import book_timing, ready_at
from etasim.memory.dram.validate import rules_of

MAPPINGS = {
    ("DDR3_1866M", 1): "ro:16,ba:3,co:7", ("DDR3_1866M", 2): "ra:1,ro:16,ba:3,co:7", ("DDR3_1600K", 4): "ra:2,ro:16,ba:3,co:7",
    ("DDR4_2400R", 1): "ro:16,ba:2,bg:2,co:7", ("DDR4_2400R", 2): "ro:16,ba:2,bg:2,ra:1,co:7",
    ("HBM2_2000", 1): "ro:14,ba:2,bg:2,co:5", ("HBM2_2000", 2): "ro:14,ba:2,bg:2,co:5,ra:1",
    ("LPDDR4_2400_x16", 1): "ro:16,ba:3,co:6", ("LPDDR4_2400_x16", 2): "ra:1,ro:16,ba:3,co:6",
}
PPD = {"LPDDR4_2400_x16": {"nPPD": 4}}


@entry
def allowed_from(spec, state, bank, command):
    """First legal clock of a command in channel 0."""
    return ready_at(spec, state, 0, bank, command)


@entry
def book(spec, state, bank, command, clock):
    """Enter a command of channel 0 into the tables."""
    book_timing(spec, state, 0, command, bank, clock)


class Device:
    """A part by its tables, with the state of its banks kept here."""

    def __init__(self, part: str, ranks: int):
        self.parameters = reference_parameters(part) | PPD.get(part, {})
        self.spec = build(replay_config(self.parameters, MAPPINGS[part, ranks]), Clocks(1, 1, Fraction(1)), 1)
        self.state, self.rules = init(self.spec), rules_of(self.parameters)
        self.is_open = np.zeros(self.spec.n_banks, bool)
        self.commands: list[Command] = []

    def possible(self) -> list[tuple[int, int]]:
        """(command, bank) that the states of the banks allow; a rank command is given at the first bank of its rank."""
        per_rank = self.spec.banks_per_rank
        found = [(kind, bank) for bank, is_open in enumerate(self.is_open) for kind in ((RD, WR, PRE) if is_open else (ACT,))]
        for bank in range(0, self.spec.n_banks, per_rank):
            found.append((PREA if self.is_open[bank : bank + per_rank].any() else REF, bank))
        return found

    def as_command(self, kind: int, bank: int, clock: int) -> Command:
        rank, inside = divmod(bank, self.spec.banks_per_rank)
        return Command(clock, COMMANDS[kind], rank, *divmod(inside, self.rules.banks_per_group), ANY_ROW)

    def allowed(self, kind: int, bank: int) -> int:
        """First clock that the tables and the command bus allow."""
        column, split = kind in (RD, WR), self.rules.split_command_bus
        on_bus = [c.clock for c in self.commands if not split or (c.name in ("RD", "WR")) == column]
        clock = max(0, int(allowed_from(self.spec, self.state, bank, kind)), max(on_bus, default=-1) + 1)
        return max(clock, self.commands[-1].clock if self.commands else 0)

    def issue(self, kind: int, bank: int, clock: int) -> None:
        self.commands.append(self.as_command(kind, bank, clock))
        book(self.spec, self.state, bank, kind, clock)
        last = bank + (self.spec.banks_per_rank if kind in (PREA, REF) else 1)
        if kind in (ACT, PRE, PREA):
            self.is_open[bank:last] = kind == ACT


@pytest.mark.parametrize(("part", "ranks"), sorted(MAPPINGS))
@settings(max_examples=12)
@given(seed=st.integers(0, 2**32 - 1))
def test_tables_and_checker_allow_each_command_from_the_same_clock(part, ranks, seed):
    random, device = np.random.default_rng(seed), Device(part, ranks)
    weight = {ACT: 3, PRE: 1, PREA: 0.3, RD: 2, WR: 2, REF: 0.1}
    for _ in range(40):
        possible = device.possible()
        for at in random.choice(len(possible), min(4, len(possible)), replace=False):
            clock, earlier = device.allowed(*possible[at]), device.commands[-1].clock if device.commands else 0
            bound = check([*device.commands, device.as_command(*possible[at], clock)], device.rules).bounds[-1]
            assert max(earlier, 0, bound[1] if bound else 0) == clock, (possible[at], bound)
        shares = np.array([weight[kind] for kind, _ in possible])
        kind, bank = possible[random.choice(len(possible), p=shares / shares.sum())]
        device.issue(kind, bank, device.allowed(kind, bank) + int(random.choice([0, 0, 0, 1, 7, 60])))
    assert check(device.commands, device.rules).violations == ()
