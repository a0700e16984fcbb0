"""Physical networks of the machine: separate routers and links for operands and psums."""

import pytest
from small_networks import TINY

from etasim.config import InputError, load_architecture
from etasim.config.noc import MESSAGE_CLASSES
from etasim.machine import simulate
from etasim.machine.result import FLIT_CLASSES


def run(*networks):
    """Counters of a small iteration with these networks (classes, link width), or with the one that carries all."""
    keys = {"noc.networks": [{"classes": classes, "link_width": width} for classes, width in networks]} if networks else {}
    return simulate(load_architecture("eta_small", keys), TINY, batch=1, phases=("ff", "bp"))


def test_the_classes_are_those_of_the_result():
    assert MESSAGE_CLASSES == FLIT_CLASSES


def test_one_network_for_all_classes_changes_nothing():
    plain, named = run(), run((list(MESSAGE_CLASSES), "64 bit"))
    assert (plain.total_cycles, plain.layers, plain.components) == (named.total_cycles, named.layers, named.components)


def test_a_narrow_network_of_their_own_doubles_the_flits_of_psums():
    plain, apart = run(), run((["stream", "stationary"], "64 bit"), (["psum"], "32 bit"))
    for row, other in zip(plain.layers, apart.layers, strict=True):
        assert other["psum_flits"] == 2 * row["psum_flits"]
        assert (other["stream_flits"], other["stationary_flits"]) == (row["stream_flits"], row["stationary_flits"])
    assert {router["network"] for router in apart.components["noc_router"]} == {0, 1}
    assert apart.components["noc"][2]["flit_hops"] == 2 * plain.components["noc"][2]["flit_hops"]


@pytest.mark.parametrize(
    ("networks", "message"),
    [
        ([(["stream", "psum"], "64 bit")], "noc.networks: must carry the class stationary once, and do so 0 times"),
        ([(["stream", "stationary", "psum"], "60 bit")], "noc.networks[0].link_width: must be whole bytes, got 60 bit"),
        ([(list(MESSAGE_CLASSES), "64 bit"), (["psum"], "64 bit")], "class psum once, and do so 2 times"),
        ([(["gossip"], "64 bit")], "noc.networks[0].classes[0]: unknown name 'gossip'; allowed: psum, stationary, stream"),
        ([([], "64 bit"), (list(MESSAGE_CLASSES), "64 bit")], "noc.networks[0].classes: must name at least one class"),
    ],
)
def test_networks_that_leave_a_class_out_or_carry_it_twice_are_refused(networks, message):
    with pytest.raises(InputError) as refused:
        run(*networks)
    assert message in str(refused.value)


def test_several_endpoints_a_router_are_placed_and_run():
    keys = {"noc.concentration": 3, "noc.columns": 2, "noc.rows": 1}
    result = simulate(load_architecture("eta_small", keys), TINY, batch=1, phases=("ff",))
    assert len(result.components["noc_router"]) == 2
    assert {link["to"] for link in result.components["noc_link"]} >= {"router 0", "router 1", "cluster 0", "weight buffer"}


def test_the_energy_of_a_flit_hop_names_its_source():
    keys = {"noc.energy_per_flit_hop": {"energy": "2 pJ", "source": "a measurement", "technology": "28 nm"}}
    result = simulate(load_architecture("eta_small", keys), TINY, batch=1, phases=("ff",))
    for energy, counters in zip(result.components["noc_energy"], result.components["noc"], strict=True):
        assert energy == {"flit_hops": counters["flit_hops"], "energy_fj": 2000 * counters["flit_hops"]}
    with pytest.raises(InputError, match="technology"):
        load_architecture("eta_small", {"noc.energy_per_flit_hop": {"energy": "2 pJ", "source": "a measurement"}})
