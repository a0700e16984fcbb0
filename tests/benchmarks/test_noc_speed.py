"""Speed of the network on an 8x8 mesh, warm, traffic generation included. The bars are for one otherwise idle core."""

import pytest

from etasim.noc import NocParameters, replay

MESH = NocParameters(columns=8, rows=8)


@pytest.mark.parametrize(("packet_flits", "rate"), [(1, 0.2), (4, 0.2), (1, 0.02)])
def test_router_cycles_per_second(benchmark, packet_flits, rate):
    def run():
        return replay(MESH, "uniform", rate, packet_flits, replications=1, sample_cycles=2000)

    run()
    result = benchmark(run)
    assert result.status == "ok"
    if benchmark.stats is not None:
        seconds = benchmark.stats.stats.min
        benchmark.extra_info["million_router_cycles_per_s"] = 64e-6 * result.total_cycles / seconds
        benchmark.extra_info["million_flit_hops_per_s"] = 1e-6 * int(result.counters["flit_hops"].sum()) / seconds
        assert benchmark.extra_info["million_router_cycles_per_s"] > 2
        if rate == 0.2:
            assert benchmark.extra_info["million_flit_hops_per_s"] > 2
