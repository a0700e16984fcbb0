"""Standards and parts: constraint tables, timing expressions, what is refused and how."""

from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest

from etasim.core.clock import Clocks
from etasim.memory.dram import build
from etasim.memory.dram import standards as std
from etasim.memory.dram.replay import reference_parameters, replay_config
from etasim.memory.dram.spec import BankShape

PARTS = ("DDR3_1866M", "DDR3_1600K", "DDR4_2400R", "HBM2_2000", "LPDDR4_2400_x16")


def compiled(part="DDR3_1866M", mapping=None, **changes):
    parameters = reference_parameters(part) | changes.pop("parameters", {})
    mapping = mapping or next(iter(parameters["mappings_msb_to_lsb"].values()))
    return build(replay_config(parameters, mapping, **changes), Clocks(1, 1, Fraction(1)), 1)


def clocks_of(spec, level, preceding, following, window=1, flip=0):
    """Clocks of the rows between two commands that bind the first cell of ``level``."""
    n_groups = spec.n_groups // spec.n_ranks
    base, shift, stride = BankShape(spec.n_ranks, n_groups, spec.banks_per_rank // n_groups).scope(level)
    command, wanted = std.COMMANDS.index(preceding), (std.COMMANDS.index(following), base, shift, flip, stride, window)
    rows = spec.constraints[spec.constraint_start[command] : spec.constraint_start[command + 1]]
    return [int(row["clocks"]) for row in rows if row[["following", "base", "shift", "flip", "stride", "window"]].item() == wanted]


@pytest.mark.parametrize(("expression", "clocks"), [("CL + BL + 2 - CWL", 10), ("RC", 45), ("7", 7)])
def test_expression(expression, clocks):
    assert std.evaluate(expression, {"CL": 13, "BL": 4, "CWL": 9, "RC": 45}) == clocks


@pytest.mark.parametrize("expression", ["CL * 2", "XX", "f(1)", "CL if BL else 1"])
def test_expression_of_anything_else_is_refused(expression):
    with pytest.raises(ValueError, match="only integers, named timings"):
        std.evaluate(expression, {"CL": 13, "BL": 4})


@pytest.mark.parametrize("part", PARTS)
def test_every_shipped_part_compiles(part):
    spec = compiled(part)
    assert spec.capacity_bytes == np.prod([reference_parameters(part)[key] for key in ("bg", "ba", "ro")]) * spec.burst_bytes * {
        "DDR3_1866M": 128, "DDR3_1600K": 128, "DDR4_2400R": 128, "HBM2_2000": 32, "LPDDR4_2400_x16": 64}[part]


def test_derived_timings_of_the_references():
    spec = compiled()
    assert clocks_of(spec, "rank", "WR", "RD") == [9 + 4 + 7]
    assert clocks_of(spec, "rank", "RD", "WR") == [13 + 4 + 2 - 9]
    assert clocks_of(spec, "bank", "WR", "PRE") == [9 + 4 + 14]
    assert clocks_of(spec, "rank", "ACT", "ACT", window=4) == [26]
    assert spec.read_clocks == 17


def test_bank_groups_bind_only_where_the_standard_has_them():
    assert clocks_of(compiled(parameters={"nCCDL": 9}), "rank", "RD", "RD") == [4]
    ddr4 = compiled("DDR4_2400R")
    assert clocks_of(ddr4, "rank", "RD", "RD") == [4]
    assert clocks_of(ddr4, "bank_group", "RD", "RD") == [6]


def test_timings_count_from_the_last_clock_of_a_long_command():
    hbm = compiled("HBM2_2000")
    assert clocks_of(hbm, "bank", "ACT", "WR") == [12 + 1]
    assert clocks_of(hbm, "bank", "PRE", "ACT") == [14 - 1]
    assert clocks_of(hbm, "bank", "ACT", "ACT") == [48]
    assert clocks_of(hbm, "channel", "ACT", "PRE") == [2]
    assert clocks_of(hbm, "channel", "ACT", "RD") == []


REFUSED = [
    ({"nRC": 44}, r"timing_clocks.RC: 44, must be at least RAS \+ RP = 45"),
    ({"nFAW": 4}, "timing_clocks.FAW: 4, must be at least RRDS = 5"),
    ({"nCL": 0}, "timing_clocks.CL: 0, must be a whole number of at least 1 clocks"),
    ({"nCL": None}, "timing_clocks.CL: None"),
    ({"nCL": 13.5}, "timing_clocks.CL: 13.5, must be a whole number"),
    ({"nCS": -1}, "timing_clocks.CS: -1, must be a whole number of at least 0 clocks"),
    ({"nREFI": 256}, r"timing_clocks.REFI: 256, must be at least RFC \+ RP \+ 1 = 257"),
    ({"nREFI": 327}, "timing_clocks.REFI: 327, must be at least 328: RFC and a row cycle with a write for each rank"),
    ({"nRC": 44, "nFAW": 4}, "RC: 44, .* = 45; timing_clocks.FAW: 4, .* = 5"),
    ({"nCL": 0, "nBL": True}, "BL: True, .* clocks; timing_clocks.CL: 0"),
    ({"kind": "DDR9"}, "unknown DRAM standard 'DDR9'; allowed: DDR3"),
    ({"ro": 1000}, "part.organisation.ro: 1000, must be a power of two"),
]


@pytest.mark.parametrize(("parameters", "message"), REFUSED)
def test_impossible_parts_are_refused(parameters, message):
    with pytest.raises(ValueError, match=message):
        compiled(parameters=parameters)


CHOICES = [
    ({"read_queue": 0}, "dram.read_queue: 0, must be a whole number from 1 to 65536"),
    ({"channels": 3}, "dram.channels: 3, must be a power of two"),
    ({"channel_interleave_bytes": 32}, "dram.channel_interleave: 32 B, must be at least a burst = 64 B"),
    ({"scheduler": "magic"}, "dram.scheduler: 'magic', allowed: fr_fcfs"),
    ({"page_policy": "half"}, "dram.page_policy: 'half', allowed: open"),
    ({"write_low_watermark": 0.9}, "dram.write_low_watermark: 9/10"),
    ({"mapping": "ro:16,ba:3,co:6"}, "gives 6 bits to co, the organisation needs 7"),
    ({"mapping": "ro:16,xx:3,co:7"}, "'ro:16,xx:3,co:7': 'xx:3' is not FIELD:BITS"),
    ({"ranks": 2}, "gives 0 bits to ra, the organisation needs 1"),
]


@pytest.mark.parametrize(("choice", "message"), CHOICES)
def test_bad_choices_are_refused(choice, message):
    with pytest.raises(ValueError, match=message):
        compiled(**choice)


def test_watermarks_are_exact_shares():
    spec = compiled(write_queue=15)
    assert (spec.write_high, spec.write_low) == (12, 3)
    assert (compiled().write_high, compiled().write_low) == (25, 7)


def test_a_drain_ends_when_the_queue_is_empty_whatever_the_watermark():
    assert compiled(write_low_watermark=0).write_low == compiled(write_low_watermark=1 / 32).write_low == 1


def test_part_may_be_any_object_with_attributes():
    parameters = reference_parameters("DDR3_1866M")
    config = replay_config(parameters, "ro:16,ba:3,co:7")
    config.part.timing_clocks = SimpleNamespace(**{name: parameters[f"n{name}"] for name in std.TIMINGS})
    assert build(config, Clocks(4, 3, Fraction(1)), 2).dram_ticks == 3
