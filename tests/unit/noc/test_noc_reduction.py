"""Packets that are added in the network: closed forms, equality with unicast, counters, what is refused."""

from dataclasses import replace

import numpy as np
import pytest
from test_noc_network import FLIT_BITS, simulate

from etasim.noc import NocError, NocParameters, PhysicalNetwork, Route, build, check, link_counters
from etasim.noc.model import link_loads, reduction_latency_cycles, zero_load_latency_cycles
from etasim.noc.parameters import RouterParameters

REDUCING = NocParameters(reduction=True)
PIPELINES = [RouterParameters(), RouterParameters(0, 1, 1, True), RouterParameters(2, 2, 1), RouterParameters(1, 1, 1, True)]


def group(destination, *sources, flits=4, number=0, message_class=0):
    """Routes of a reduction group."""
    return [Route(source, (destination,), message_class, flits * FLIT_BITS, number) for source in sources]


def rounds(routes, n_rounds, flits, at=0):
    """Every route of ``routes`` sends ``n_rounds`` packets."""
    return [(at, route, flits) for _ in range(n_rounds) for route in range(len(routes))]


@pytest.mark.parametrize("router", PIPELINES)
@pytest.mark.parametrize("flits", [1, 4, 8])
def test_two_sources_at_different_distances_meet_where_the_later_one_arrives(router, flits):
    # 3 -> 0 and 12 -> 0 meet at router 0: 4 routers each; 1 -> 0 is there earlier and waits
    parameters = replace(REDUCING, router=router)
    for sources, routers_visited in (((1, 12), 4), ((1, 4), 2), ((3, 4), 4)):
        routes = group(0, *sources, flits=flits)
        log, spec, state, _ = simulate(parameters, routes, rounds(routes, 1, flits))
        alone = zero_load_latency_cycles(parameters, routers_visited, flits)
        assert log[:, :2].tolist() == [[alone + flits - 1, 0]]
        assert alone + flits - 1 == reduction_latency_cycles(parameters, routes, flits)
        assert check(spec, state) == []


@pytest.mark.parametrize("sources", [(0, 15, 3), tuple(range(1, 16)), (0, 1, 2, 3), (5, 6, 7, 4)])
@pytest.mark.parametrize("topology", ["mesh", "torus", "tree", "crossbar"])
def test_a_tree_of_joins_takes_the_longest_way_through_it(topology, sources):
    parameters, destination = replace(REDUCING, topology=topology), 0 if sources[0] else 5
    routes = group(destination, *sources)
    log, spec, state, _ = simulate(parameters, routes, rounds(routes, 1, 4))
    assert log[:, 0].tolist() == [reduction_latency_cycles(parameters, routes, 4)]
    assert check(spec, state) == []


@pytest.mark.parametrize("message_class", [0, 1])
def test_a_group_of_one_is_a_unicast_to_the_cycle(message_class):
    others = [Route(3, (12, 15), 0, 4 * FLIT_BITS), Route(1, (5,), message_class)]
    packets = [(at, route, 4) for at in range(0, 60, 3) for route in range(3)]
    plain, _, state, _ = simulate(NocParameters(), [Route(2, (5,), message_class, 4 * FLIT_BITS), *others], packets)
    alone, _, other, _ = simulate(REDUCING, [*group(5, 2, number=7, message_class=message_class), *others], packets)
    assert np.array_equal(plain, alone)
    assert np.array_equal(state.counters, other.counters)
    assert np.array_equal(link_counters(state), link_counters(other))
    assert other.reductions["packets_reduced"].sum() == 0


def test_links_carry_the_edges_of_the_tree_once_for_each_sum():
    routes = group(5, 0, 3, 15, 12)
    packets = rounds(routes, 6, 4)
    log, spec, state, _ = simulate(REDUCING, routes, packets)
    assert log[:, 1].tolist() == [5] * 6
    loads = link_loads(REDUCING, routes, [6] * 4, [4] * 4)
    found = {(i // 5, i % 5): int(flits) for i, flits in enumerate(state.link_flits.sum(axis=1)) if flits and i % 5 != 4}
    assert found == loads
    assert set(loads.values()) == {24}
    assert state.counters["flit_hops"].sum() == 24 * len(loads) == 24 * spec.route_links.sum()
    assert state.reductions.tolist()[0][:2] == (18, 72)
    assert state.counters["flits_expected"].tolist() == state.counters["flits_ejected"].tolist() == [24]
    assert check(spec, state) == []


def test_a_source_that_is_late_is_waited_for_and_the_wait_is_booked():
    routes = group(0, 1, 4)
    log, _, state, _ = simulate(REDUCING, routes, [(0, 0, 4), (100, 1, 4)])
    assert log[:, 0].tolist() == [100 + reduction_latency_cycles(REDUCING, routes, 4)]
    assert state.reductions["join_stall_cycles"].tolist() == [100]


def test_skipping_cycles_changes_no_sum():
    routes = [*group(0, 3, 12, 15), Route(3, (12,), 1), Route(5, (0, 15), 1, 4 * FLIT_BITS)]
    packets = [(at, route, 4) for at in (0, 2, 300, 900) for route in range(5)]
    every, _, stepped, _ = simulate(REDUCING, routes, packets)
    some, spec, skipped, n_some = simulate(REDUCING, routes, packets, skips=True)
    assert n_some < 1000
    assert np.array_equal(every, some)
    for name in ("counters", "reductions", "links", "link_flits"):
        assert np.array_equal(getattr(stepped, name), getattr(skipped, name)), name
    assert check(spec, skipped) == []


def test_the_ideal_network_adds_in_the_next_cycle_and_counts():
    parameters, routes = replace(REDUCING, ideal=True), [*group(5, 0, 3, 15), Route(1, (5,), 1)]
    log, spec, state, _ = simulate(parameters, routes, [(0, 0, 4), (2, 3, 1), (4, 1, 4), (9, 2, 4)], end=20)
    assert log[:, :3].tolist() == [[2, 5, 3], [9, 5, 0]]
    real = simulate(REDUCING, routes, [(0, 0, 4), (2, 3, 1), (4, 1, 4), (9, 2, 4)])[2]
    assert state.counters["flit_hops"].tolist() == real.counters["flit_hops"].tolist()
    assert state.reductions["flits_reduced"].tolist() == real.reductions["flits_reduced"].tolist() == [8, 0]
    assert check(spec, state) == []


def test_a_network_for_psums_alone_has_joins_of_its_own():
    networks = (PhysicalNetwork((0,), 256), PhysicalNetwork((1,), 128))
    parameters = replace(REDUCING, networks=networks, virtual_channels=1)
    routes = [*group(0, 1, 4, message_class=1), Route(1, (0,), 0)]
    log, spec, state, _ = simulate(parameters, routes, [(0, 0, 4), (0, 1, 4), (0, 2, 4)])
    assert sorted(log[:, 2].tolist()) == [0, 2]
    assert state.reductions["flits_reduced"].tolist() == [0, 8]
    assert check(spec, state) == []


def test_two_groups_in_the_same_buffers_at_once_block_each_other():
    """Why one group at a time may be under way: each sum waits behind the other's packet."""
    parameters = replace(REDUCING, columns=5, rows=1)
    routes = [*group(2, 0, 3, number=0), *group(2, 1, 4, number=1)]
    _, spec, state, _ = simulate(parameters, routes, rounds(routes, 1, 4))
    assert check(spec, state) != []
    _, spec, state, _ = simulate(parameters, routes, [(0, 0, 4), (0, 1, 4), (100, 2, 4), (100, 3, 4)])
    assert check(spec, state) == []


BAD = {
    "needs noc.reduction: true": (NocParameters(), group(5, 0, 3)),
    "must fit noc.buffer_depth, 8 flits, and has 9": (REDUCING, group(5, 0, 3, flits=9)),
    "needs different sources, node 3 is there twice": (REDUCING, group(5, 3, 3)),
    "need one destination and one message class": (REDUCING, [*group(5, 0), *group(6, 3)]),
    "need one destination and one message class, the same": (REDUCING, [*group(5, 0), *group(5, 3, message_class=1)]),
    "need one destination": (REDUCING, [Route(0, (5, 6), 0, 4 * FLIT_BITS, 0), Route(3, (5, 6), 0, 4 * FLIT_BITS, 0)]),
    "route 2 of class 1 shares one at router 0": (replace(REDUCING, virtual_channels=1), [*group(1, 0, 3), Route(0, (2,), 1)]),
}


@pytest.mark.parametrize("message", BAD)
def test_groups_that_cannot_work_are_refused(message):
    parameters, routes = BAD[message]
    with pytest.raises(NocError, match=message):
        build(parameters, routes)


def test_a_packet_longer_than_a_buffer_is_not_let_in():
    routes = group(5, 0, 3)
    _, spec, state, _ = simulate(REDUCING, routes, [(0, 0, 9), (0, 1, 9)])
    assert check(spec, state) == ["class 0: packets longer than a buffer of 8 flits were to be multicast or reduced"]
