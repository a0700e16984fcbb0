"""The shipped networks on eta_vc709, mapped and not simulated: multiply-accumulates of one training sample, to the last one."""

import pytest

from etasim.config import load_architecture
from etasim.mapping import map_iteration
from etasim.workload import load_network

USEFUL_MACS = {
    "vgg16_cifar": 937_835_520,
    "resnet20_cifar": 121_997_184,
    "resnet20_cifar_a": 121_210_752,
    "resnet18_imagenet": 5_324_206_080,
}
"""FF + BP + WG of one sample without the first layer's BP (eta.md, derived from published figures)."""


@pytest.mark.parametrize("trace", USEFUL_MACS)
def test_useful_macs_of_one_sample(trace):
    mapping = map_iteration(load_architecture("eta_vc709"), load_network(trace), 1)
    assert sum(operation.macs for operation in mapping.operations) == USEFUL_MACS[trace]


@pytest.mark.parametrize("phases", [("ff",), ("bp",), ("wg",), ("ff", "wg")])
def test_phases_add_up(phases):
    net = load_network("resnet20_cifar")
    mapping = map_iteration(load_architecture("eta_vc709"), net, 3, phases)
    forward = 3 * 40_813_184
    first_layer = 3 * 3 * 16 * 9 * 32 * 32
    assert sum(operation.macs for operation in mapping.operations) == forward * len(phases) - (first_layer if "bp" in phases else 0)


def test_pes_are_idle_where_results_are_sooner_there():
    """At batch 1 the PEs of a cluster would hold all channels of these maps, and nothing would overlap with their normalization."""
    mapping = map_iteration(load_architecture("eta_vc709", {"array.pes_per_cluster": 16}), load_network("resnet20_cifar"), 1)
    idle = {row.layer for row in mapping.operations if row.phase == "ff" and "slice_blocks" in row.pins}
    assert {"block1_1_conv1", "block1_2_conv2"} <= idle
