"""Replay: inputs that are refused, knobs that do something, energy."""

import numpy as np
import pytest

from etasim.memory import replay
from etasim.memory.dram.replay import reference_parameters, replay_config, run_trace
from etasim.memory.dram.traces import reference_trace

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
]


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
