"""Topologies, routing policies, multicast trees and the refusal of routes that can deadlock."""

import numpy as np
import pytest

from etasim.core.registry import ROUTING_POLICIES, TOPOLOGIES
from etasim.noc import CyclicRoutesError, NocError, NocParameters, PhysicalNetwork, Route, build
from etasim.noc.model import tree_links
from etasim.noc.parameters import RouterParameters
from etasim.noc.routing import path, port_masks, refuse_deadlock
from etasim.noc.topology import ABSENT, EAST, LOCAL, NORTH, SOUTH, WEST, crossbar, distances, mesh, torus, tree


@pytest.mark.parametrize("make", [make for _, make in TOPOLOGIES.items()])
def test_a_link_and_the_way_back_use_the_same_ports(make):
    topology = make(3, 4)
    for router, port in np.argwhere(topology.link_router != ABSENT):
        neighbour, entry = topology.link_router[router, port], topology.link_port[router, port]
        assert topology.link_router[neighbour, entry] == router
        assert topology.link_port[neighbour, entry] == port


@pytest.mark.parametrize("make", [make for _, make in TOPOLOGIES.items()])
def test_endpoints_have_ports_of_their_own(make):
    topology = make(3, 4)
    assert topology.n_nodes == 12
    assert len(set(zip(topology.node_router, topology.node_port, strict=True))) == 12
    assert (topology.link_router[topology.node_router, topology.node_port] == ABSENT).all()


def test_xy_goes_along_x_first_and_yx_along_y_first():
    topology = mesh(4, 4)
    assert path(topology, ROUTING_POLICIES["xy"], 0, 10) == [(0, EAST), (1, EAST), (2, NORTH), (6, NORTH), (10, LOCAL)]
    assert path(topology, ROUTING_POLICIES["yx"], 0, 10) == [(0, NORTH), (4, NORTH), (8, EAST), (9, EAST), (10, LOCAL)]
    assert path(topology, ROUTING_POLICIES["xy"], 10, 0)[0] == (10, WEST)
    assert path(topology, ROUTING_POLICIES["yx"], 10, 0)[0] == (10, SOUTH)


@pytest.mark.parametrize(("topology", "farthest"), [(mesh(4, 2), 4), (torus(4, 2), 3), (crossbar(4, 2), 0), (tree(4, 2), 2)])
def test_every_policy_takes_a_shortest_path(topology, farthest):
    between = distances(topology)
    assert between[np.ix_(topology.node_router, topology.node_router)].max() == farthest
    for policy in (policy for _, policy in ROUTING_POLICIES.items()):
        for source in range(8):
            for destination in range(8):
                links = len(path(topology, policy, source, destination)) - 1
                assert links == between[topology.node_router[source], topology.node_router[destination]]


def test_a_multicast_tree_is_the_union_of_the_unicast_paths():
    parameters = NocParameters()
    route = Route(5, (0, 3, 7, 15), 0)
    unicasts = [tree_links(parameters, Route(5, (node,), 0)) for node in route.destinations]
    assert tree_links(parameters, route) == set.union(*unicasts)
    assert build(parameters, [route]).route_links[0] == len(set.union(*unicasts))


def _clockwise(topology, router, node):
    """Round the four routers of a 2x2 mesh, always in the same direction: every channel waits for the next."""
    if router == topology.node_router[node]:
        return LOCAL
    return {0: EAST, 1: NORTH, 3: WEST, 2: SOUTH}[router]


def test_a_cyclic_route_table_is_refused_by_name(monkeypatch):
    monkeypatch.setitem(ROUTING_POLICIES._items, "clockwise", _clockwise)
    routes = [Route(source, ((0, 1, 3, 2)[((0, 1, 3, 2).index(source) + 2) % 4],), 0) for source in range(4)]
    cycle = "router 0 port 0 -> router 1 port 2 -> router 3 port 1 -> router 2 port 3 -> router 0 port 0"
    with pytest.raises(CyclicRoutesError, match=cycle):
        build(NocParameters(columns=2, rows=2, virtual_channels=1, routing="clockwise"), routes)


def test_the_same_cycle_on_separate_virtual_channels_is_allowed():
    topology = mesh(2, 2)
    routes = [Route(0, (3,), 0), Route(1, (2,), 0), Route(3, (0,), 0), Route(2, (1,), 0)]
    masks = port_masks(topology, _clockwise, routes)
    with pytest.raises(CyclicRoutesError):
        refuse_deadlock(topology, masks, np.ones((4, 20), np.int64))
    refuse_deadlock(topology, masks, np.repeat([[1], [2], [1], [2]], 20, axis=1))


def test_a_torus_goes_the_shorter_way_and_changes_vc_at_the_dateline():
    topology = torus(5, 3)
    assert path(topology, ROUTING_POLICIES["xy"], 0, 4) == [(0, WEST), (4, LOCAL)]
    assert path(topology, ROUTING_POLICIES["xy"], 0, 12) == [(0, EAST), (1, EAST), (2, SOUTH), (12, LOCAL)]
    spec = build(NocParameters(columns=5, rows=3, topology="torus"), [Route(3, (0,), 0)])
    assert path(topology, ROUTING_POLICIES["xy"], 3, 0) == [(3, EAST), (4, EAST), (0, LOCAL)]
    assert [int(spec.route_vcs[0, router * 5 + EAST]) for router in (3, 4)] == [1, 2]


def test_a_torus_without_a_second_vc_could_deadlock_and_is_refused():
    ring = [Route(source, ((source + 2) % 5,), 0) for source in range(5)]
    build(NocParameters(columns=5, rows=1, topology="torus"), ring)
    with pytest.raises(NocError, match="a torus needs two VCs"):
        build(NocParameters(columns=5, rows=1, topology="torus", virtual_channels=1), ring)
    topology = torus(5, 1)
    with pytest.raises(CyclicRoutesError):
        refuse_deadlock(topology, port_masks(topology, ROUTING_POLICIES["xy"], ring), np.ones((5, 25), np.int64))


def test_a_policy_that_leaves_the_network_or_never_arrives_is_refused(monkeypatch):
    monkeypatch.setitem(ROUTING_POLICIES._items, "east", lambda topology, router, node: EAST)
    with pytest.raises(NocError, match="router 3 is left by port 0, which has no link"):
        build(NocParameters(routing="east"), [Route(0, (4,), 0)])
    monkeypatch.setitem(ROUTING_POLICIES._items, "to_and_fro", lambda topology, router, node: EAST if router % 4 == 0 else WEST)
    with pytest.raises(NocError, match="never arrives"):
        build(NocParameters(routing="to_and_fro"), [Route(0, (4,), 0)])


def test_paths_that_part_and_meet_again_are_no_tree():
    steps = {(0, 3): EAST, (1, 3): NORTH, (3, 3): LOCAL, (0, 5): NORTH, (2, 5): EAST, (3, 5): NORTH, (5, 5): LOCAL}
    with pytest.raises(NocError, match="part and meet again at router 3"):
        port_masks(mesh(2, 3), lambda topology, router, node: steps[router, node], [Route(0, (3, 5), 0)])


@pytest.mark.parametrize(
    ("changes", "routes", "message"),
    [
        ({}, [Route(0, (16,), 0)], "route 0: node 16 is not in the network"),
        ({}, [Route(-1, (3,), 0)], "route 0: node -1 is not in the network"),
        ({}, [Route(0, (), 0)], "route 0: needs one or several"),
        ({}, [Route(0, (3, 3), 0)], "route 0: needs one or several different"),
        ({"multicast": False}, [Route(0, (1, 2), 0)], "needs noc.multicast: true"),
        ({"buffer_depth": 4}, [Route(0, (1, 2), 0, packet_bits=5 * 256)], "must fit noc.buffer_depth, 4 flits, and has 5"),
        ({"virtual_channels": 0}, [], r"noc\.virtual_channels: must be at least 1"),
        ({"buffer_depth": 0}, [], r"noc\.buffer_depth: must be at least 1"),
        ({"virtual_channels": 13}, [], "exceed the 62 input VCs"),
        ({"topology": "moebius"}, [], r"noc\.topology: unknown topology 'moebius'; allowed: crossbar, mesh"),
        ({"routing": "scenic"}, [], r"noc\.routing: unknown routing policy 'scenic'; allowed: shortest, xy"),
        ({"concentration": 0}, [], r"noc\.concentration: must be at least 1, got 0"),
        ({"networks": (PhysicalNetwork((0,), 64),)}, [Route(0, (1,), 1)], r"noc\.networks: message class 1 needs one network, and has 0"),
        ({"networks": (PhysicalNetwork((0,), 64),) * 2}, [Route(0, (1,), 0)], "message class 0 needs one network, and has 2"),
        ({"columns": 0}, [], r"noc\.columns: must be at least 1, got 0"),
        ({"rows": 2.5}, [], r"noc\.rows: must be a whole number, got 2\.5"),
        ({"router": RouterParameters(vc_allocation_delay=32)}, [], r"noc\.router\.vc_allocation_delay: must be at most 31, got 32"),
    ],
)
def test_bad_networks_are_refused_with_the_rule(changes, routes, message):
    with pytest.raises(NocError, match=message):
        build(NocParameters(**changes), routes)
