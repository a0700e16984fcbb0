"""Core cycles and multiply-accumulates a second of the whole machine, all models on, warm; reported, not asserted."""

import pytest

from etasim.config import load_architecture
from etasim.machine import simulate
from etasim.workload import load_network


@pytest.mark.parametrize(("trace", "phases"), [("resnet18_imagenet", ("ff",)), ("resnet20_cifar", ("ff", "bp", "wg", "wu"))])
def test_simulation_speed(benchmark, trace, phases):
    architecture, network = load_architecture("eta_vc709"), load_network(trace)
    simulate(architecture, network, batch=1, phases=("wg",))
    result = benchmark.pedantic(simulate, args=(architecture, network), kwargs={"batch": 1, "phases": phases}, rounds=1)
    macs = sum(row["macs"] for row in result.layers)
    assert macs == network.macs(1, [phase for phase in phases if phase != "wu"])
    if benchmark.stats is not None:
        seconds = benchmark.stats.stats.min
        benchmark.extra_info["core_cycles_per_second"] = round(result.total_cycles / seconds)
        benchmark.extra_info["macs_per_second"] = round(macs / seconds)
