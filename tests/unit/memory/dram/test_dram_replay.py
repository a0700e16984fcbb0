"""Replay: inputs that are refused, knobs that do something, energy."""

import numpy as np
import pytest

from etasim.config.errors import InputError
from etasim.core.errors import DeadlockError
from etasim.memory import replay
from etasim.memory.dram.replay import reference_parameters, replay_config, run_trace
from etasim.memory.dram.spec import build
from etasim.memory.dram.traces import read_trace, reference_trace

N = 3000


def short(name, part="DDR3_1866M", n=N):
    parameters = reference_parameters(part)
    addresses, writes = reference_trace(name, parameters["geo"], parameters["tx"])
    return addresses[:n], writes[:n]


def cycles(trace="rnd_rd", part="DDR3_1866M", changes=None, **choices):
    parameters = reference_parameters(part) | (changes or {})
    mapping = choices.pop("mapping", "RoBaCo")
    return replay(parameters, mapping, short(trace, part), choices.pop("mode", "sat"), **choices).cycles


BAD = [
    ({"parameters": "DDR7"}, "unknown part 'DDR7', allowed: DDR3_1866M"),
    ({"trace": "nothing"}, "unknown reference trace 'nothing', allowed: stream3_c1"),
    ({"mode": "fast"}, "mode: 'fast', allowed: sat, dep, paceN"),
    ({"mode": "pace0"}, "mode: 'pace0'"),
    ({"trace": (np.array([32]), np.array([0]))}, "address 32 of request 0 must be a multiple of 64 B"),
    ({"trace": (np.array([1 << 40]), np.array([0]))}, "below 4294967296 B"),
    ({"trace": (np.array([0, 64]), np.array([0]))}, "two equally long rows"),
    ({"scheduler": "x"}, "dram.scheduler: 'x'"),
    ({"mapping": None}, "mapping: None, must be of type str"),
    ({"mapping": "ro:99,ba:3,co:7"}, "gives 99 bits to ro, the organisation needs 16"),
    ({"mapping": "ro:\u00b2,ba:3,co:7"}, "is not FIELD:BITS"),
    ({"mode": 8}, "mode: 8, must be of type str"),
    ({"mode": "pace" + "9" * 30}, "paceN with 1 <= N"),
    ({"trace": np.arange(5) * 64}, "must be .byte addresses, write flags."),
    ({"trace": None}, "trace: must be"),
    ({"trace": ([0.5], [0])}, "addresses must be whole numbers"),
    ({"trace": ([float("inf")], [0])}, "addresses must be whole numbers"),
    ({"trace": ([1 << 70], [0])}, "addresses must be whole numbers"),
    ({"trace": ([-64], [0])}, "address -64 of request 0"),
    ({"trace": ([0], [2])}, "write flags must be 0 .read. or 1 .write."),
    ({"read_queue": 2.5}, "dram.read_queue: 2.5, must be a whole number"),
    ({"write_queue": 1 << 30}, "dram.write_queue: .*, must be a whole number from 1 to 65536"),
    ({"refresh": "no"}, "dram.refresh: 'no'"),
    ({"write_low_watermark": None}, "dram.write_low_watermark, write_high_watermark: None, 0.8, must be numbers"),
]

BAD_PARAMETERS = [
    ({"bus": 0}, "parameters.bus: 0, must be a whole number of at least 1"),
    ({"ro": 1000}, "organisation.ro: 1000, must be a power of two"),
    ({"tx": 68}, "parameters.tx: 68 B, must be whole beats of bus = 64 bit"),
    ({"tck_ps": "x"}, "parameters.tck_ps: 'x', must be a positive number of picoseconds"),
    ({"nCL": 13.5, "nRP": None}, "CL: 13.5, must be a whole number of at least 1 clocks; timing_clocks.RP: None"),
    ({"nRC": 44}, r"timing_clocks.RC: 44, must be at least RAS \+ RP = 45"),
    ({"nFAW": 4}, "timing_clocks.FAW: 4, must be at least RRDS = 5"),
    ({"kind": "GDDR6"}, "dram.part.standard: unknown DRAM standard 'GDDR6'; allowed: DDR3, DDR4, HBM2, LPDDR4; did you mean 'DDR4'"),
    ({"geo": "gddr6"}, "geo: unknown geometry 'gddr6'"),
    ({"idd": [1]}, "parameters.idd: must be currents by name"),
]


@pytest.mark.parametrize(("changed", "message"), BAD_PARAMETERS)
def test_bad_parameters(changed, message):
    with pytest.raises(ValueError, match=message):
        replay(reference_parameters("DDR3_1866M") | changed, "ro:16,ba:3,co:7", "dep_seq", "dep")


def test_only_what_a_memory_needs_must_be_stated():
    """Neither currents, names of mappings and geometry, nor the timings with a default."""
    whole = reference_parameters("DDR4_2400R")
    needed = {key: whole[key] for key in whole if key.startswith("n") or key in ("kind", "tck_ps", "bg", "ba", "ro", "co", "bus", "tx")}
    result = replay(needed, "ro:16,ba:2,bg:2,co:7", "dep_seq", "dep")
    assert result.energy is None
    assert result.cycles == replay(whole, "RoBaCo", "dep_seq", "dep").cycles


@pytest.mark.parametrize(("changed", "message"), BAD)
def test_bad_input(changed, message):
    arguments = {"parameters": "DDR3_1866M", "mapping": "RoBaCo", "trace": "dep_seq", "mode": "dep"} | changed
    with pytest.raises(ValueError, match=message):
        replay(**arguments)


@pytest.mark.parametrize("timing", ["CL", "RCD", "RC", "RTP", "RRDS", "FAW", "RFC", "REFI", "CCDS", "WTRS", "WR", "CWL"])
def test_every_timing_changes_some_run(timing):
    def run(changes):
        return [cycles(trace, changes=changes) for trace in ("rnd_rd", "rnd_rw21", "stream3_c1", "stride_rowconf")]

    base = reference_parameters("DDR3_1866M")
    changes = {f"n{timing}": 2 * base[f"n{timing}"]}
    for small, large in (("nCCDS", "nCCDL"), ("nWTRS", "nWTRL"), ("nRRDS", "nRRDL")):
        if small in changes:
            changes[large] = changes[small]
    assert run(changes) != run({})


def test_knobs():
    assert cycles("stream3_c1", read_queue=8, write_queue=8) > cycles("stream3_c1") > cycles("stream3_c1", read_queue=64, write_queue=64)
    assert cycles(refresh=False) < cycles()
    assert cycles("rnd_rd", scheduler="fcfs") > cycles("rnd_rd")
    assert cycles("seq_rd", "DDR4_2400R", mapping="RoBaCoBg") < cycles("seq_rd", "DDR4_2400R")
    assert cycles(mode="pace20") >= 20 * (N - 1)


@pytest.mark.parametrize("part", ["DDR3_1866M", "DDR4_2400R", "HBM2_2000", "LPDDR4_2400_x16"])
def test_sequential_reads_stay_below_the_pins(part):
    result = replay(part, "RoBaCo", short("seq_rd", part), "sat", refresh=False)
    assert 0.7 * result.peak_bandwidth_gb_per_s < result.bandwidth_gb_per_s <= result.peak_bandwidth_gb_per_s


def test_no_requests():
    result = replay("DDR3_1866M", "RoBaCo", (np.zeros(0), np.zeros(0)), "sat")
    assert (result.cycles, result.average_read_latency_cycles, result.row_hit_rate) == (0, None, 0.0)


POWER_MW = [("seq_rd", False, 1900.697), ("dep_rnd", False, 816.166), ("stride_bank", False, 3026.325), ("pace8_seq_rd", False, 1171.780)]
"""Average power of DRAMsim3 in runs in which both controllers issue the same commands (reference_runs.csv)."""


@pytest.mark.parametrize(("trace", "refresh", "expected_mw"), POWER_MW)
def test_power_of_dramsim3(trace, refresh, expected_mw):
    mode = {"dep_rnd": "dep", "pace8_seq_rd": "pace8"}.get(trace, "sat")
    result = replay("DDR3_1866M", "RoBaCo", trace, mode, refresh=refresh)
    assert result.energy.average_power_mw == pytest.approx(expected_mw, rel=1e-3)
    nanoseconds = result.cycles * 1.071
    assert result.energy.total_nj == pytest.approx(result.energy.average_power_mw * nanoseconds * 1e-3, rel=1e-3)


def test_energy_needs_all_currents():
    parameters = reference_parameters("DDR3_1866M")
    config = replay_config(parameters | {"idd": {"VDD": 1.35}}, "ro:16,ba:3,co:7")
    with pytest.raises(ValueError, match="currents_ma: IDD0, IDD2N"):
        run_trace(config, *short("seq_rd", n=10), "sat")
    config.part.currents_ma = None
    assert run_trace(config, *short("seq_rd", n=10), "sat").energy is None


def test_trace_file(tmp_path):
    path = tmp_path / "own.tr"
    path.write_text("R 0\nW 1f\n\n  R 400  \n")
    addresses, writes = read_trace(path, 64)
    assert (addresses.tolist(), writes.tolist()) == ([0, 0x1F * 64, 0x400 * 64], [0, 1, 0])
    result = replay("DDR3_1866M", "RoBaCo", path, "sat")
    assert (result.counters["accepted_reads"], result.counters["accepted_writes"]) == (2, 1)


def test_reference_trace_through_a_file_is_the_same(tmp_path):
    addresses, writes = short("rnd_rw21", n=500)
    path = tmp_path / "rnd_rw21.tr"
    path.write_text("".join(f"{'RW'[w]} {a // 64:x}\n" for a, w in zip(addresses.tolist(), writes.tolist(), strict=True)))
    through_file, direct = (replay("DDR3_1866M", "RoBaCo", trace, "sat") for trace in (path, (addresses, writes)))
    assert through_file.counters == direct.counters


def test_every_malformed_line_of_a_trace_is_reported(tmp_path):
    path = tmp_path / "bad.tr"
    path.write_text("R 0\nX 1\nR\nW 0x12\nR 1 2\nW 12\n")
    with pytest.raises(InputError) as caught:
        replay("DDR3_1866M", "RoBaCo", path, "sat")
    assert [(problem.file, problem.line) for problem in caught.value.problems] == [(str(path), line) for line in (2, 3, 4, 5)]
    assert str(caught.value).splitlines()[0] == f"{path}:2: must be R or W and a burst index in hexadecimal, got 'X 1'"


def test_every_missing_parameter_is_named():
    parameters = {key: value for key, value in reference_parameters("DDR3_1866M").items() if key not in ("nCL", "ba", "tck_ps")}
    with pytest.raises(ValueError, match=r"tck_ps: missing; parameters.ba: missing; parameters.nCL: missing"):
        replay(parameters, "ro:16,ba:3,co:7", "seq_rd", "sat")


def test_ranks_follow_from_the_mapping():
    top = 1 << 32
    result = replay("DDR3_1866M", "ra:1,ro:16,ba:3,co:7", ([0, top], [0, 0]), "sat", refresh=False)
    assert result.counters["row_misses"] == 2
    with pytest.raises(ValueError, match="below 4294967296 B; 1 of 2 break it"):
        replay("DDR3_1866M", "ro:16,ba:3,co:7", ([0, top], [0, 0]), "sat")


@pytest.mark.parametrize("part", ["DDR3_1600K", "DDR3_1866M", "DDR4_2400R", "HBM2_2000", "LPDDR4_2400_x16"])
@pytest.mark.parametrize("scheduler", ["fr_fcfs", "fr_fcfs_row_hit", "bank_round_robin"])
def test_every_standard_mapping_and_depth_meets_the_closed_forms(part, scheduler):
    """First access, dependent hits, dependent conflicts; the ACT of HBM2 takes one clock more, and timings count from its last."""
    parameters = reference_parameters(part)
    t = {key[1:]: value for key, value in parameters.items() if key.startswith("n")}
    act, tx = int(parameters["kind"] == "HBM2"), parameters["tx"]
    first = 1 + act + t["RCD"] + t["CL"] + t["BL"]
    for mapping, text in parameters["mappings_msb_to_lsb"].items():
        row_stride = tx << sum(int(field[3:]) for field in text.split(",")[1:])
        for depth in (1, 32):
            choices = {"refresh": False, "scheduler": scheduler, "read_queue": depth, "write_queue": depth}
            conflicts = replay(parameters, mapping, (np.arange(9) * row_stride, np.zeros(9)), "dep", **choices)
            assert conflicts.cycles == first + 8 * max(t["RC"], 1 + t["RP"] + t["RCD"] + t["CL"] + t["BL"] + 1)
            hits = replay(parameters, mapping, (np.zeros(9), np.zeros(9)), "dep", **choices)
            assert hits.cycles == first + 8 * (1 + t["CL"] + t["BL"] + 1)
            assert hits.average_read_latency_cycles == pytest.approx((first + 8 * (1 + t["CL"] + t["BL"])) / 9)


MIXED = (np.arange(400) * 64, np.arange(400) % 3 == 0)


def test_a_drain_without_a_low_watermark_ends_with_the_last_write():
    none, lowest = (replay("DDR3_1866M", "RoBaCo", MIXED, "sat", write_low_watermark=share) for share in (0, 1 / 32))
    assert none.counters == lowest.counters
    assert none.counters["read_bursts"] + none.counters["forwarded_reads"] == 266


@pytest.mark.parametrize("mode", ["sat", "dep", "pace1000"])
def test_a_memory_that_serves_nothing_any_more_is_given_up(monkeypatch, mode):
    """As one did that went on draining an empty queue of writes, with refreshes to keep it awake."""
    monkeypatch.setattr("etasim.memory.dram.replay.build", lambda *arguments: build(*arguments)._replace(write_low=0))
    with pytest.raises(DeadlockError, match=r"the replay stands still in clock \d+: no request was served for \d+ clocks"):
        replay("DDR3_1866M", "RoBaCo", MIXED, mode)
