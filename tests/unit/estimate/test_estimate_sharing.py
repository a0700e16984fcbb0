"""What clusters and cores share, in the estimate beside the cycle model."""

import pytest

from etasim.config import load_architecture
from etasim.machine import simulate
from etasim.schedule.rates import PSUM, busiest_result_link, packet_cycles
from etasim.workload import load_network

AUTO = {"noc.columns": "auto", "noc.rows": "auto", "noc.placement": "auto"}


def machine(**keys):
    return load_architecture("eta_vc709", {key.replace("__", "."): value for key, value in keys.items()} | AUTO)


@pytest.mark.parametrize(("clusters", "load"), [(1, 1.0), (2, 2.0), (3, 1.5), (4, 1.0), (8, 1.0)])
def test_ports_whose_clusters_share_a_link_share_its_flits(clusters, load):
    """Clusters stand side by side in the row above the ports. Two: both ways take the link between the second and the third column. Three:
    the first port has two of them, and one of its halves shares that link with the second port's only one."""
    chosen = machine(array__clusters=clusters)
    assert busiest_result_link(chosen.noc) == load
    assert packet_cycles(chosen)[PSUM] == 2 * load, "a word is two flits"


def error_percent(chosen, network, batch, phases=("ff", "bp", "wg", "wu")):
    loaded = load_network(network)
    cycles = [simulate(chosen, loaded, batch=batch, phases=phases, fidelity=f).total_cycles for f in ("cycle", "analytical")]
    return 100 * (cycles[1] / cycles[0] - 1)


@pytest.mark.parametrize(
    ("keys", "network", "batch", "phases"),
    [
        ({"array__clusters": 2}, "vgg16_cifar", 1, ("wg",)),
        ({"unified_core__count": 2}, "resnet20_cifar", 2, ("ff", "bp", "wg", "wu")),
        ({"noc__multicast": False, "array__pes_per_cluster": 32, "array__stream_scratchpad": "32 KiB"}, "resnet20_cifar", 1, ("ff", "wu")),
    ],
    ids=["a link of results", "cores", "copies"],
)
def test_what_is_shared_is_estimated_within_six_percent(keys, network, batch, phases):
    assert abs(error_percent(machine(**keys), network, batch, phases)) < 6
