"""With everything ideal, an iteration takes exactly the list schedule of its mapping."""

import pytest

from etasim.config import load_architecture
from etasim.machine import simulate
from etasim.machine.bound import compute_bound_cycles
from etasim.mapping import map_iteration
from etasim.program.durations import compute_cycles
from etasim.workload import load_network

IDEAL = ("dram.ideal=true", "noc.ideal=true", "buffers.ideal=true", "unified_core.ideal=true")


@pytest.mark.parametrize(("architecture", "batch"), [("eta_small", 1), ("eta_vc709", 2)])
def test_ideal_machine_takes_the_compute_bound(architecture, batch):
    machine, network = load_architecture(architecture, IDEAL), load_network("resnet20_cifar")
    result = simulate(machine, network, batch=batch, phases=("ff", "bp"))
    program = map_iteration(machine, network, batch, ("ff", "bp")).program
    assert result.total_cycles == compute_bound_cycles(program)
    clusters = machine.array.clusters
    assert result.total_cycles * clusters >= compute_cycles(program).sum(), "no cluster can be faster than its sweeps"


@pytest.mark.parametrize("flag", IDEAL)
def test_one_ideal_part_does_not_slow_the_machine(flag):
    network = load_network("resnet20_cifar")
    real = simulate(load_architecture("eta_vc709"), network, batch=1, phases=("ff",))
    ideal = simulate(load_architecture("eta_vc709", (flag,)), network, batch=1, phases=("ff",))
    assert ideal.total_cycles <= real.total_cycles
