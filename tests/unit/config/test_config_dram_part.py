"""DRAM parts: rules between timings, organisation and address mapping."""

import pytest

from etasim.config import InputError, load_architecture, parse_mapping, shipped_names

MAPPINGS = {
    "ddr3_1600k_4gb_x8": ("ro:16,ba:3,bg:0,co:7", 4096),
    "ddr3_1866m_4gb_x8": ("ro:16,co:7,ba:3", 4096),
    "ddr4_2400r_8gb_x8": ("ro:16,ba:2,bg:2,co:7", 8192),
    "hbm2_2000": ("ro:14,ba:2,co:5,bg:2", 256),
    "lpddr4_2400_x16": ("ro:16,ba:3,bg:0,co:6", 1024),
}


def test_every_shipped_part_is_listed_here():
    assert set(MAPPINGS) == set(shipped_names("configs/dram"))


@pytest.mark.parametrize("name", MAPPINGS)
def test_shipped_part_and_its_capacity(name):
    mapping, mebibytes = MAPPINGS[name]
    part = load_architecture("eta_vc709", {"dram.part": name, "dram.mapping": mapping}).dram.part
    assert part.name == name
    assert part.organisation.rank_bytes == mebibytes * 2**20
    assert 2 ** sum(part.address_bits(1).values()) * part.organisation.burst_bytes == part.organisation.rank_bytes


def _message(*overrides):
    with pytest.raises(InputError) as caught:
        load_architecture("eta_vc709", overrides)
    (problem,) = caught.value.problems
    return f"{problem.key}: {problem.message}"


@pytest.mark.parametrize(
    ("mapping", "part"),
    [
        ("ro:15,ba:3,co:7", "ro:15 does not fit"),
        ("ro:16,ba:3", "co:0 does not fit"),
        ("ro:16,ba:3,bg:1,co:7", "bg:1 does not fit"),
        ("ro:16,ba:3,ba:3,co:7", "ba:6 does not fit the part"),
        ("ro:16,row:3,co:7", "'row:3' is not FIELD:BITS"),
        ("ro:16,ba,co:7", "'ba' is not FIELD:BITS"),
        ("ro:x,ba:3,co:7", "'ro:x' is not FIELD:BITS"),
    ],
)
def test_mapping_must_fit(mapping, part):
    message = _message(f'dram.mapping="{mapping}"')
    assert message.startswith("dram.mapping: ")
    assert part in message
    assert "with 1 rank(s) needs ro:16,ba:3,co:7" in message


def test_ranks_need_bits():
    assert "ra:0 does not fit" in _message("dram.ranks=2")
    assert load_architecture("eta_vc709", ["dram.ranks=2", 'dram.mapping="ro:16,ra:1,ba:3,co:7"']).dram.ranks == 2


def test_a_field_of_the_mapping_may_be_split():
    assert load_architecture("eta_vc709", ['dram.mapping="ro:10,ba:1,co:4,ba:2,ro:6,co:3"']).dram.mapping.startswith("ro:10,ba:1")


def test_a_named_address_map_is_spelled_out_for_the_part():
    ddr4 = {"dram.part": "ddr4_2400r_8gb_x8", "dram.ranks": 2}
    given = {"row_bank_column": "ro:16,ra:1,bg:2,ba:2,co:7", "row_column_bank": "ro:16,co:7,ra:1,ba:2,bg:2"}
    assert {name: load_architecture("eta_vc709", ddr4 | {"dram.mapping": name}).dram.mapping for name in given} == given


def test_an_unknown_address_map_is_refused_with_those_there_are():
    message = _message("dram.mapping=row_colum_bank")
    assert "unknown address map 'row_colum_bank'; allowed: row_bank_column, row_column_bank; did you mean 'row_column_bank'?" in message


def test_mapping_fields_in_order():
    assert parse_mapping("ro:16, ba:3,bg:0,co:7") == (("ro", 16), ("ba", 3), ("bg", 0), ("co", 7))


@pytest.mark.parametrize(
    ("override", "key", "part"),
    [
        ("dram.timing_clocks.FAW=4", "dram.timing_clocks.FAW", "RRDS = 5"),
        ("dram.timing_clocks.RRDL=4", "dram.timing_clocks.RRDL", "RRDS = 5"),
        ("dram.timing_clocks.CCDS=3", "dram.timing_clocks.CCDS", "BL = 4"),
        ("dram.timing_clocks.REFI=208", "dram.timing_clocks.REFI", "RFC + RP = 219"),
        ("dram.timing_clocks.REFI=281", "dram.timing_clocks.REFI", "at least 282, RFC and a row cycle with a write for each of 1 rank(s)"),
        ("dram.timing_clocks.BL=2", "dram.timing_clocks.BL", "burst_length / 2 = 4"),
        ("dram.organisation.banks=6", "dram.organisation.banks", "power of two"),
        ("dram.organisation.device_width=48 bit", "dram.organisation.device_width", "divide bus_width"),
        ("dram.currents_ma.VDD=1.35", "dram.currents_ma.VDD", "no unit"),
        ("dram.currents_ma.IDD0=-1", "dram.currents_ma.IDD0", "at least 0"),
        ("dram.currents_ma.IDD0=36", "dram.currents_ma.IDD0", "at least (IDD3N RAS + IDD2N RP) / RC = 36.3077 mA of standby, got 36"),
        ("dram.currents_ma.IDD4R=37.9", "dram.currents_ma.IDD4R", "at least IDD3N = 38 mA of standby, got 37.9"),
        ("dram.currents_ma.IDD4W=0", "dram.currents_ma.IDD4W", "at least IDD3N = 38"),
        ("dram.currents_ma.IDD5AB=1", "dram.currents_ma.IDD5AB", "at least IDD3N = 38"),
    ],
)
def test_rules_of_a_part(override, key, part):
    found, message = _message(override).split(": ", 1)
    assert found == key
    assert part in message


@pytest.mark.parametrize(
    ("clock", "time", "clocks"),
    [
        ("800 MHz", "13.75 ns", 11), ("800 MHz", "13.76 ns", 12),
        ("2800/3 MHz", "260 ns", 243), ("1 GHz", "3.9 us", 3900), ("800 MHz", "1 ps", 1),
    ],
)
def test_a_timing_may_be_a_time_and_is_rounded_up(clock, time, clocks):
    key = {"13.75 ns": "CL", "13.76 ns": "CL", "260 ns": "RFC", "3.9 us": "REFI", "1 ps": "RTP"}[time]
    dram = load_architecture("eta_vc709", [f"dram.clock={clock}", f"dram.timing_clocks.{key}={time}"]).dram
    assert getattr(dram.part.timing_clocks, key) == clocks


def test_times_follow_the_clock_and_meet_the_same_rules():
    assert "RAS + RP = 39, got 16" in _message("dram.timing_clocks.RC=20 ns")
    assert "must be a whole number" in _message("dram.timing_clocks.RC=20 parsecs")


def test_optional_timings():
    timings = load_architecture("eta_vc709", ["dram.timing_clocks={CS: 3, PPD: 0}"]).dram.part.timing_clocks
    assert (timings.CS, timings.PPD, timings.RCDWR) == (3, 0, None)
