"""Milliseconds of an estimate: on an array that the planner has not seen, and with its plans known; reported, not asserted."""

import sys

import pytest

from etasim import simulate
from etasim.config import load_architecture
from etasim.workload import load_network

ROOMS = ("etasim.estimate.", "etasim.schedule.")
"""In which something is remembered of an array."""


def forget():
    """As if the array were new."""
    modules = [module for name, module in sys.modules.items() if name.startswith(ROOMS)]
    remembered = {value for module in modules for value in vars(module).values() if hasattr(value, "cache_clear")}
    assert remembered
    for each in remembered:
        each.cache_clear()


@pytest.mark.parametrize("plans", ["cold", "known"])
@pytest.mark.parametrize("trace", ["vgg16_cifar", "resnet20_cifar", "resnet18_imagenet"])
def test_estimate_speed(benchmark, trace, plans):
    architecture, network = load_architecture("eta_vc709"), load_network(trace)
    simulate(architecture, network, fidelity="analytical")
    setup = forget if plans == "cold" else None
    result = benchmark.pedantic(simulate, args=(architecture, network), kwargs={"fidelity": "analytical"}, setup=setup, rounds=15)
    assert result.analytical
    if benchmark.stats is not None:
        benchmark.extra_info["milliseconds"] = round(1e3 * benchmark.stats.stats.median, 1)
