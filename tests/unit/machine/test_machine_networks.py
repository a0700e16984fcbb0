"""Physical networks of the machine: separate routers and links for operands and psums."""

import pytest
from small_networks import TINY

from etasim.config import InputError, load_architecture
from etasim.config.noc import MESSAGE_CLASSES
from etasim.explore.variations import cases
from etasim.machine import simulate
from etasim.machine.result import FLIT_CLASSES
from etasim.report.metrics import energy_rows
from etasim.workload import load_network


def apart(width):
    """A network of its own for each class."""
    return {"noc.networks": [{"classes": [name], "link_width": width} for name in MESSAGE_CLASSES]}


def run(*networks):
    """Counters of a small iteration with these networks (classes, link width), or with the one that carries all."""
    keys = {"noc.networks": [{"classes": classes, "link_width": width} for classes, width in networks]} if networks else {}
    return simulate(load_architecture("eta_small", keys), TINY, batch=1, phases=("ff", "bp"))


def test_the_classes_are_those_of_the_result():
    assert MESSAGE_CLASSES == FLIT_CLASSES


def test_one_network_for_all_classes_changes_nothing():
    plain, named = run(), run((list(MESSAGE_CLASSES), "64 bit"))
    hops = {f"{name}_flit_hops" for name in FLIT_CLASSES}
    rows = tuple({name: value for name, value in row.items() if name not in hops} for row in named.layers)
    assert (plain.total_cycles, plain.layers, plain.components) == (named.total_cycles, rows, named.components)
    assert [sum(row[name] for name in hops) for row in named.layers] == [row["flit_hops"] for row in plain.layers]


def test_a_narrow_network_of_their_own_doubles_the_flits_of_psums():
    plain, apart = run(), run((["stream", "stationary"], "64 bit"), (["psum"], "32 bit"))
    for result, flits in ((plain, 2), (apart, 4)):
        n_packets = sum(row["packets"] for row in result.components["collector"])
        assert sum(row["psum_flits"] for row in result.layers) == flits * n_packets > 0
    assert {router["network"] for router in apart.components["noc_router"]} == {0, 1}


@pytest.mark.parametrize("fidelity", ["cycle", "analytical"])
def test_the_main_link_says_nothing_to_networks_of_their_own(fidelity):
    """Words of 128 bits are one flit of three networks of 128 bits, however wide the link is that none of them takes."""
    machines = [load_architecture("eta_small", apart("128 bit") | {"noc.link_width": f"{width} bit"}) for width in (64, 128, 256, 384, 512)]
    first, *others = (simulate(chosen, load_network("digits_cnn"), fidelity=fidelity) for chosen in machines)
    for other in others:
        assert (other.total_cycles, other.layers, other.components) == (first.total_cycles, first.layers, first.components)


@pytest.mark.parametrize("apart_bits", [64, 128])
def test_the_estimate_knows_the_width_of_the_networks(apart_bits):
    """Within ten percent of the cycle model, as with one plain link of that width; without it 43 % short at 64 bit."""
    width = f"{apart_bits} bit"
    for keys in (apart(width), {"noc.link_width": width}):
        chosen = load_architecture("eta_vc709", keys)
        cycle, quick = (simulate(chosen, load_network("resnet20_cifar"), batch=2, fidelity=f).total_cycles for f in ("cycle", "analytical"))
        assert abs(quick / cycle - 1) < 0.1


def test_a_flit_of_another_network_takes_the_energy_of_its_share_of_the_width():
    """2 pJ are those of a flit of the main link, 64 bit wide."""
    figure = {"noc.energy_per_flit_hop": {"energy": "2 pJ", "source": "a measurement", "technology": "28 nm"}}
    widths = [(["stream"], "64 bit"), (["stationary"], "32 bit"), (["psum"], "128 bit")]
    keys = {"noc.networks": [{"classes": classes, "link_width": width} for classes, width in widths]}
    result = simulate(load_architecture("eta_small", figure | keys), TINY, batch=1, phases=("ff",))
    hops = [row["flit_hops"] for row in result.components["noc"]]
    each_pj = [2, 1, 4]
    assert [row["energy_fj"] for row in result.components["noc_energy"]] == [1000 * n * pj for n, pj in zip(hops, each_pj, strict=True)]
    rows = {row["action"]: row for row in energy_rows(result) if row["component"] == "noc"}
    for name, n_hops, pj in zip(FLIT_CLASSES, hops, each_pj, strict=True):
        row = rows[f"flit hop, {name}"]
        assert (row["count"], row["energy_mj"]) == (n_hops, pytest.approx(n_hops * pj * 1e-9))


def test_the_sensitivity_to_the_link_follows_the_networks():
    chosen = load_architecture("eta_small", apart("128 bit"))
    found = {case.group: case.overrides for case in cases(chosen) if case.name == "noc.link_width"}
    assert found == {"sensitivity half": apart("64 bit"), "sensitivity double": apart("256 bit")}


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
