"""Requests a second of a warm replay on one core; the floors are those of the project's issue on memory."""

import pytest

from etasim.memory.dram.replay import reference_parameters, replay_config, run_trace
from etasim.memory.dram.traces import reference_trace


@pytest.mark.parametrize(("trace", "floor_requests_per_second"), [("rnd_rd", 0.7e6), ("seq_rd", 1.5e6)])
def test_replay_speed(benchmark, trace, floor_requests_per_second):
    parameters = reference_parameters("DDR3_1866M")
    config = replay_config(parameters, "ro:16,ba:3,co:7")
    addresses, writes = reference_trace(trace, "ddr3", parameters["tx"])
    result = benchmark.pedantic(run_trace, args=(config, addresses, writes, "sat"), rounds=5, warmup_rounds=1)
    assert result.counters["read_bursts"] == len(addresses)
    if benchmark.stats is not None:
        assert len(addresses) / benchmark.stats.stats.min >= floor_requests_per_second
