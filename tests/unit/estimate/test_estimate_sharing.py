"""What clusters and cores share, in the estimate beside the cycle model."""

import pytest

from etasim.config import load_architecture
from etasim.machine import simulate
from etasim.noc.trace import replay_trace
from etasim.schedule.rates import PSUM, packet_cycles
from etasim.workload import load_network

AUTO = {"noc.columns": "auto", "noc.rows": "auto", "noc.placement": "auto"}


def machine(**keys):
    return load_architecture("eta_vc709", {key.replace("__", "."): value for key, value in keys.items()} | AUTO)


@pytest.mark.parametrize(("clusters", "load"), [(1, 1.0), (2, 2.0), (3, 1.5), (4, 1.0), (8, 1.0)])
def test_ports_whose_clusters_share_a_link_share_its_flits(clusters, load):
    """Clusters stand side by side in the row above the ports. Two: both ways take the link between the second and the third column. Three:
    the first port has two of them, and one of its halves shares that link with the second port's only one."""
    chosen = machine(array__clusters=clusters)
    assert packet_cycles(chosen)[PSUM] == 2 * load, "a word is two flits"


@pytest.mark.parametrize("clusters", [1, 2, 3, 4, 8])
@pytest.mark.parametrize(("depth", "channels"), [(8, 2), (4, 2), (4, 4), (8, 1), (4, 1)])
def test_results_that_share_a_virtual_channel_share_its_credits(depth, channels, clusters, tmp_path):
    """All clusters send as fast as they can, in one class: with four virtual channels those of the odd clusters are others."""
    assert replayed_over_planned(depth, channels, clusters, tmp_path) == pytest.approx(1, rel=0.02)


@pytest.mark.parametrize("depth", [2, 3])
def test_a_buffer_of_less_than_two_words_holds_up_those_of_another_port(depth, tmp_path):
    """A gap: with four clusters two ways share a channel before they part, and the estimate does not know that one waits for the other."""
    assert replayed_over_planned(depth, 2, 4, tmp_path) == pytest.approx(1.25, rel=0.02)


def replayed_over_planned(depth, channels, clusters, folder):
    """Cycles in which a replay of all results takes place, over those that the rates say."""
    chosen = machine(array__clusters=clusters, noc__buffer_depth=depth, noc__virtual_channels=channels)
    # results have one virtual channel of one or of two, and two of four; a replay has a single class
    replayed = machine(array__clusters=clusters, noc__buffer_depth=depth, noc__virtual_channels=max(channels // 2, 1))
    nodes, ports, n_words, path = chosen.noc.placement.clusters, chosen.noc.placement.error, 960, folder / "results.csv"
    sources = [(node, port, n_words // len(nodes[p :: len(ports)])) for p, port in enumerate(ports) for node in nodes[p :: len(ports)]]
    path.write_text("cycle,source,destinations,flits\n" + "".join(f"0,{node},{port},2\n" * n for node, port, n in sources))
    return replay_trace(replayed.noc, path).total_cycles / (n_words * packet_cycles(chosen)[PSUM])


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
