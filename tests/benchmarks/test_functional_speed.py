"""Multiply-accumulates a second of functional mode, all phases, warm, on one core: mapping, calibration, cycles, values, comparison."""

import time

import pytest

from etasim.config import load_architecture
from etasim.machine import simulate
from etasim.mapping import map_iteration
from etasim.workload import load_network
from etasim.workload.lowering import PHASES

LEAST_MACS_PER_SECOND = 50e6


@pytest.mark.parametrize("batch", [2, 8])
def test_functional_speed(benchmark, batch):
    architecture, network = load_architecture("eta_vc709"), load_network("resnet20_cifar")
    options = {"batch": batch, "functional": True}
    simulate(architecture, network, **options | {"batch": 1})
    started = time.perf_counter()
    map_iteration(architecture, network, batch, PHASES)
    mapping_seconds = time.perf_counter() - started
    result = benchmark.pedantic(simulate, args=(architecture, network), kwargs=options, rounds=3)
    assert result.values.mismatch is None
    macs = network.macs(batch, [phase for phase in PHASES if phase != "wu"])
    assert macs == sum(row["macs"] for row in result.layers)
    if benchmark.stats is not None:
        seconds = benchmark.stats.stats.min
        benchmark.extra_info["million_macs_per_s"] = round(macs / seconds * 1e-6, 1)
        benchmark.extra_info["million_macs_per_s_without_mapping"] = round(macs / (seconds - mapping_seconds) * 1e-6, 1)
        assert macs / seconds >= LEAST_MACS_PER_SECOND
