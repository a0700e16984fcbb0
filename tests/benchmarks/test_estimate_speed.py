"""Milliseconds of an estimate: on an array that the planner has not seen, and with its plans known; reported, not asserted."""

import pytest

from etasim import simulate
from etasim.config import load_architecture
from etasim.estimate.array_work import gradient_tiles, gradient_work, result_work
from etasim.estimate.traffic import gradient_sent, piece_words, result_sent, ways_of, weight_words
from etasim.schedule.nest import nest_of
from etasim.schedule.plan import known_plans
from etasim.schedule.tiling import tile_sizes
from etasim.workload import load_network

KNOWN = (
    known_plans, tile_sizes, nest_of, result_work, gradient_work, gradient_tiles, result_sent, gradient_sent, weight_words, piece_words,
    ways_of,
)  # fmt: skip
"""What is remembered of an array."""


def forget():
    """As if the array were new."""
    for remembered in KNOWN:
        remembered.cache_clear()


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
