"""The timing checker: one rule at a time, legal at its clock and refused one clock earlier."""

import pytest

from etasim.memory.dram.checker import Command, check
from etasim.memory.dram.replay import reference_parameters
from etasim.memory.dram.validate import rules_of

DDR3, DDR4, HBM2 = (rules_of(reference_parameters(part)) for part in ("DDR3_1866M", "DDR4_2400R", "HBM2_2000"))

CASES = [
    ("RCD", DDR3, [("ACT", 0, 0, 0)], ("RD", 0, 0, 0), 13),
    ("RCDWR", HBM2, [("ACT", 0, 0, 0)], ("WR", 0, 0, 0), 13),
    ("RRDS", DDR3, [("ACT", 0, 0, 0)], ("ACT", 0, 0, 1), 5),
    ("RRDL", DDR4, [("ACT", 0, 0, 0)], ("ACT", 0, 0, 1), 6),
    ("RRDS", DDR4, [("ACT", 0, 0, 0)], ("ACT", 0, 1, 0), 4),
    ("RAS to PRE", DDR3, [("ACT", 0, 0, 0)], ("PRE", 0, 0, 0), 32),
    ("RAS to PREA", DDR3, [("ACT", 0, 0, 0)], ("PREA", 0, 0, 0), 32),
    ("RTP to PRE", DDR3, [("ACT", 0, 0, 0), ("RD", 30, 0, 0)], ("PRE", 0, 0, 0), 37),
    ("WR recovery to PRE", DDR3, [("ACT", 0, 0, 0), ("WR", 13, 0, 0)], ("PRE", 0, 0, 0), 13 + 9 + 4 + 14),
    ("RC", DDR3, [("ACT", 0, 0, 0), ("PRE", 32, 0, 0)], ("ACT", 0, 0, 0), 45),
    ("RP", DDR3, [("ACT", 0, 0, 0), ("PRE", 40, 0, 0)], ("ACT", 0, 0, 0), 53),
    ("RP to REF", DDR3, [("ACT", 0, 0, 0), ("PRE", 40, 0, 0)], ("REF", 0, 0, 0), 53),
    ("RFC", DDR3, [("REF", 0, 0, 0)], ("ACT", 0, 0, 0), 243),
    ("FAW", DDR3, [("ACT", 5 * i, 0, i) for i in range(4)], ("ACT", 0, 0, 4), 26),
    ("data bus", DDR3, [("ACT", 0, 0, 0), ("RD", 13, 0, 0)], ("RD", 0, 0, 0), 17),
    ("CCDL", DDR4, [("ACT", 0, 0, 0), ("RD", 16, 0, 0)], ("RD", 0, 0, 0), 22),
    ("read to write", DDR3, [("ACT", 0, 0, 0), ("RD", 13, 0, 0)], ("WR", 0, 0, 0), 13 + 13 + 4 + 2 - 9),
    ("WTRS", DDR3, [("ACT", 0, 0, 0), ("WR", 13, 0, 0)], ("RD", 0, 0, 0), 13 + 9 + 4 + 7),
    ("WTRL", DDR4, [("ACT", 0, 0, 0), ("WR", 16, 0, 0)], ("RD", 0, 0, 0), 16 + 12 + 4 + 9),
    ("command bus", HBM2, [("ACT", 0, 0, 0)], ("PRE", 0, 0, 5), 2),
    ("RP", HBM2, [("ACT", 0, 0, 0), ("PRE", 40, 0, 0)], ("ACT", 0, 0, 0), 53),
    ("command bus", DDR3, [("ACT", 0, 0, 0)], ("PRE", 0, 0, 5), 1),
]


@pytest.mark.parametrize(("rule", "rules", "before", "last", "clock"), CASES)
def test_rule_is_tight(rule, rules, before, last, clock):
    stream = [Command(at, name, 0, group, bank) for name, at, group, bank in before]
    name, _, group, bank = last
    legal = check([*stream, Command(clock, name, 0, group, bank)], rules)
    early = check([*stream, Command(clock - 1, name, 0, group, bank)], rules)
    assert not legal.violations
    assert legal.bounds[-1][1] == clock
    assert rule in {violation.rule for violation in early.violations}


def test_switch_of_ranks_leaves_a_gap_on_the_data_bus():
    stream = [Command(0, "ACT"), Command(1, "ACT", 1), Command(14, "RD")]
    assert not check([*stream, Command(20, "RD", 1)], DDR3).violations
    assert check([*stream, Command(19, "RD", 1)], DDR3).violations[0].rule == "rank switch"


WRONG = [
    ([("ACT", 0, 0), ("ACT", 100, 0)], "ACT to an open bank"),
    ([("RD", 5, 0)], "column command to a closed bank"),
    ([("ACT", 0, 0), ("REF", 100, 0)], "REF with an open bank"),
    ([("REF", 7280 * 9 + 1, 0)], "refresh too late"),
]


@pytest.mark.parametrize(("stream", "rule"), WRONG)
def test_wrong_bank_state(stream, rule):
    commands = [Command(clock, name, 0, 0, bank) for name, clock, bank in stream]
    assert rule in {violation.rule for violation in check(commands, DDR3).violations}


def test_wrong_row():
    commands = [Command(0, "ACT", row=3), Command(20, "RD", row=4)]
    assert [violation.rule for violation in check(commands, DDR3).violations] == ["column command to the wrong row"]
