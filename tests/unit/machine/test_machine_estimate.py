"""The analytical fidelity beside the cycle model."""

import pytest
from small_networks import TINY, architecture

from etasim.config import load_architecture
from etasim.machine import simulate
from etasim.workload import load_network

RESNET20 = load_network("resnet20_cifar")


def difference_percent(chosen, net, batch):
    """(whole iteration, {phase: of the iteration}): analytical against simulated cycles."""
    cycle, quick = (simulate(chosen, net, batch=batch, fidelity=fidelity) for fidelity in ("cycle", "analytical"))
    phases = {p: [sum(r["cycles"] for r in each.layers if r["phase"] == p) for each in (quick, cycle)] for p in ("ff", "bp", "wg", "wu")}
    by_phase = {phase: 100 * (ours / theirs - 1) for phase, (ours, theirs) in phases.items()}
    return 100 * (quick.total_cycles / cycle.total_cycles - 1), by_phase


NARROW = ("noc.link_width=128 bit",)


@pytest.mark.parametrize("overrides", [(), ("unified_core.lanes=32",), ("core.clock=200 MHz",), NARROW])
def test_within_ten_percent_on_resnet20(overrides):
    whole, by_phase = difference_percent(load_architecture("eta_vc709", overrides), RESNET20, 8)
    assert abs(whole) < 10
    if overrides != NARROW:
        assert all(abs(value) < 10 for value in by_phase.values()), by_phase


def test_the_estimate_of_wg_is_too_quick_on_narrow_links():
    """A known gap: docs/deviations.md."""
    _, by_phase = difference_percent(load_architecture("eta_vc709", NARROW), RESNET20, 8)
    assert by_phase["wg"] < -10


def test_columns_that_only_a_simulation_knows_are_null():
    result = simulate(architecture(), TINY, batch=2, fidelity="analytical")
    assert result.analytical
    assert sum(row["cycles"] for row in result.layers) == result.total_cycles
    assert {row["idle_cycles"] for row in result.layers} == {None}


@pytest.mark.parametrize("key", ["dram.ideal", "noc.ideal", "buffers.ideal", "unified_core.ideal"])
def test_an_ideal_part_saves_time(key):
    whole, ideal = (simulate(load_architecture("eta_vc709", o), RESNET20, fidelity="analytical") for o in ((), (f"{key}=true",)))
    assert ideal.total_cycles <= whole.total_cycles


def test_with_every_part_ideal_the_clusters_remain():
    ideal = tuple(f"{part}.ideal=true" for part in ("dram", "noc", "buffers", "unified_core"))
    result = simulate(load_architecture("eta_vc709", ideal), RESNET20, fidelity="analytical")
    assert result.total_cycles * 4 >= sum(row["cluster_busy_cycles"] for row in result.layers)
