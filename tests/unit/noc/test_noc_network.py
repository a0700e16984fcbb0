"""The network cycle by cycle: closed forms, multicast, back-pressure, the ideal network, skipped cycles."""

import numpy as np
import pytest

from etasim.core.channel import NEVER, can_pop, channels, peek, pop, push
from etasim.core.jit import entry
from etasim.noc import (
    NocParameters,
    PhysicalNetwork,
    Route,
    build,
    check,
    class_flits,
    init,
    link_counters,
    next_timer,
    packet_latency_cycles,
    step,
)
from etasim.noc.model import tree_links, zero_load_latency_cycles
from etasim.noc.parameters import RouterParameters
from etasim.noc.results import latency_histogram, network_components

PIPELINES = [
    RouterParameters(routing_delay, vc_delay, switch_delay, speculative)
    for routing_delay in (0, 1, 2)
    for vc_delay, switch_delay in ((1, 1), (2, 1), (1, 3))
    for speculative in (False, True)
]


FLIT_BITS = NocParameters().link_width_bits
"""Of a network that names no other: packets are given in its flits, messages in bits."""


@entry
def run_network(spec, state, inject, eject, open_from, end, skips, log):
    """Step to cycle ``end`` and log (cycle of the tail's ejection, node, route, opaque word); receivers take packets from cycle
    ``open_from`` on. ``skips``: jump over cycles as ``next_timer`` allows. Returns (packets logged, cycles stepped)."""
    now, n_logged, n_steps = 0, 0, 0
    while now < end:
        progress = step(spec, state, inject, eject, now)
        n_steps += 1
        for node in range(spec.n_nodes):
            while now >= open_from and can_pop(eject, node, now + 1):
                log[n_logged, 0] = now
                log[n_logged, 1] = node
                log[n_logged, 2] = peek(eject, node, 0)
                log[n_logged, 3] = peek(eject, node, 2)
                n_logged += 1
                pop(eject, node, now + 1)
                progress = True
        following = now + 1
        if skips and not progress:
            following = min(max(next_timer(spec, state, inject, eject, now), now + 1), end)
            if now < open_from:
                following = min(following, open_from)
        now = following
    return n_logged, n_steps


@entry
def offer(inject, node, at, route, flits, word):
    """Put a packet in front of ``node``."""
    push(inject, node, at, route, flits * FLIT_BITS, word, 0)


def simulate(parameters, routes, packets, end=3000, open_from=0, skips=False):
    """Offer ``packets`` (cycle, route, flits) in order; returns (log, spec, state, cycles stepped)."""
    spec = build(parameters, routes)
    state, inject = init(spec), channels(spec.n_nodes, max(len(packets), 1))
    eject = channels(spec.n_nodes, 2)
    for word, (at, route, flits) in enumerate(packets):
        offer(inject, routes[route].source, at, route, flits, word)
    log = np.zeros((sum(len(routes[route].destinations) for _, route, _ in packets) + 1, 4), np.int64)
    n_logged, n_steps = run_network(spec, state, inject, eject, open_from, end, skips, log)
    return log[:n_logged], spec, state, n_steps


@pytest.mark.parametrize("router", PIPELINES)
@pytest.mark.parametrize("packet_flits", [1, 4])
def test_zero_load_latency_is_the_closed_form(router, packet_flits):
    for link_latency in (1, 3):
        parameters = NocParameters(router=router, link_latency=link_latency)
        for routers_visited, node in enumerate((0, 1, 2, 3, 7, 11, 15), start=1):
            expected = zero_load_latency_cycles(parameters, routers_visited, packet_flits)
            body_cycles = (packet_flits - 1) * (router.switch_allocation_delay - 1)  # a VC asks for the switch flit by flit
            measured = packet_latency_cycles(parameters, 0, node, packet_flits)
            assert measured == expected + body_cycles


@pytest.mark.parametrize("topology", ["tree", "crossbar"])
def test_every_pair_of_nodes_of_other_topologies_is_connected(topology):
    parameters = NocParameters(columns=3, rows=2, topology=topology)
    routes = [Route(source, (node,), 0) for source in range(6) for node in range(6)]
    log, spec, state, _ = simulate(parameters, routes, [(0, route, 2) for route in range(36)])
    assert sorted(log[:, 2]) == list(range(36))
    assert all(routes[route].destinations == (node,) for _, node, route, _ in log)
    assert check(spec, state) == []


def test_multicast_loads_every_tree_link_once_and_delivers_everywhere():
    parameters, route = NocParameters(), Route(5, (0, 1, 7, 12, 15, 5), 0, packet_bits=4 * FLIT_BITS)
    log, spec, state, _ = simulate(parameters, [route], [(0, 0, 4)] * 3)
    assert sorted(log[:, 1]) == sorted(route.destinations * 3)
    links = tree_links(parameters, route)
    flits_of = state.link_flits.sum(axis=1).tolist()
    loaded = {(index // 5, index % 5): flits for index, flits in enumerate(flits_of) if flits and index % 5 != 4}
    assert loaded == dict.fromkeys(links, 12)
    assert state.counters["flit_hops"].sum() == 12 * len(links)
    assert check(spec, state) == []


def test_multicast_costs_a_single_destination_no_cycle():
    log, *_ = simulate(NocParameters(), [Route(5, (0, 15, 7), 0)], [(0, 0, 4)])
    arrival = {int(node): int(at) for at, node, _, _ in log}
    for node, routers_visited in ((0, 3), (15, 5), (7, 3)):
        assert arrival[node] == zero_load_latency_cycles(NocParameters(), routers_visited, 4)


def test_a_blocked_branch_does_not_stop_the_others():
    # node 3 takes nothing before cycle 500: its packets fill the ejection channel, then the branch, while node 12 goes on
    parameters = NocParameters(virtual_channels=1, buffer_depth=4)
    routes = [Route(0, (3,), 0), Route(0, (3, 12), 0)]
    packets = [(0, 0, 4)] * 2 + [(0, 1, 4)]
    spec = build(parameters, routes)
    state, inject, eject = init(spec), channels(16, 4), channels(16, 2)
    for word, (at, route, flits) in enumerate(packets):
        offer(inject, 0, at, route, flits, word)
    log = np.zeros((8, 4), np.int64)
    assert run_network(spec, state, inject, eject, NEVER, 400, False, log)[0] == 0
    assert eject.pushes[12] == 1
    assert eject.pushes[3] == 2
    assert state.counters["packets_ejected"].sum() == 3


def test_a_full_receiver_holds_packets_back_and_loses_none():
    parameters = NocParameters(virtual_channels=1, buffer_depth=4)
    routes = [Route(source, (5,), 0) for source in range(16)]
    packets = [(0, route, 3) for route in range(16) for _ in range(4)]
    log, spec, state, _ = simulate(parameters, routes, packets, open_from=1000)
    assert len(log) == 64
    assert log[:, 0].min() == 1000
    assert state.counters["ejection_stall_cycles"].sum() > 500
    assert check(spec, state) == []


@pytest.mark.parametrize("router", PIPELINES[:8])
def test_skipping_idle_cycles_changes_nothing(router):
    parameters = NocParameters(router=router, virtual_channels=1, buffer_depth=4)
    routes = [Route(0, (15,), 0), Route(3, (15, 12), 0), Route(9, (15,), 0)]
    packets = [(at, route, flits) for at, flits in ((0, 4), (3, 2), (400, 1), (1500, 4)) for route in range(3)]
    every, _, stepped, n_every = simulate(parameters, routes, packets, open_from=900)
    some, spec, skipped, n_some = simulate(parameters, routes, packets, open_from=900, skips=True)
    assert n_every == 3000
    assert n_some < 1000
    assert np.array_equal(every, some)
    assert np.array_equal(stepped.counters, skipped.counters)
    assert np.array_equal(link_counters(stepped), link_counters(skipped))
    assert check(spec, skipped) == []


def test_an_empty_network_has_no_timer_and_a_stuck_one_neither():
    @entry
    def timer(spec, state, inject, eject, now):
        return next_timer(spec, state, inject, eject, now)

    parameters = NocParameters()
    routes = [Route(0, (15,), 0)]
    _, spec, state, _ = simulate(parameters, routes, [(0, 0, 4)])
    assert timer(spec, state, channels(16, 1), channels(16, 2), 3000) == NEVER
    _, spec, state, _ = simulate(parameters, routes, [(0, 0, 4)] * 8, open_from=NEVER)
    assert timer(spec, state, channels(16, 1), channels(16, 2), 3000) == NEVER
    assert len(check(spec, state)) > 0


def test_the_ideal_network_delivers_in_the_next_cycle_and_counts():
    parameters, routes = NocParameters(ideal=True), [Route(0, (3, 15), 0), Route(1, (2,), 1)]
    log, spec, state, _ = simulate(parameters, routes, [(7, 0, 9), (7, 1, 2)], end=20)
    assert sorted(map(tuple, log[:, :3])) == [(7, 2, 1), (7, 3, 0), (7, 15, 0)]
    assert state.counters["flits_ejected"].tolist() == [18, 2]
    assert state.counters["flit_hops"].tolist() == [9 * 6, 2]
    assert check(spec, state) == []


def test_a_multicast_longer_than_a_buffer_is_not_let_in():
    _, spec, state, _ = simulate(NocParameters(buffer_depth=4), [Route(0, (3, 15), 0)], [(0, 0, 5)])
    assert check(spec, state) == ["class 0: packets longer than a buffer of 4 flits were to be multicast or reduced"]


def test_every_packet_is_in_the_latency_histogram_of_its_class():
    routes = [Route(0, (15,), 0), Route(3, (0, 12), 1)]
    _, spec, state, _ = simulate(NocParameters(), routes, [(5, 0, 1), (5, 1, 4), (900, 0, 1)])
    assert state.latencies.sum(axis=1).tolist() == [2, 2]
    assert latency_histogram(state.latencies[0])["packets_below_64_cycles"] == 2  # 37 cycles each: 7 routers
    assert check(spec, state) == []
    state.latencies[0, 6] -= 1
    assert check(spec, state) == ["4 packets ejected, but 3 in the latency histogram"]


def test_waits_for_a_vc_are_split_into_taken_and_lost():
    # one VC: the second packet at the same input waits while the VC is taken; two heads at once: one of them loses the arbitration
    single = NocParameters(virtual_channels=1, buffer_depth=8)
    _, _, state, _ = simulate(single, [Route(0, (3,), 0), Route(0, (3,), 0)], [(0, 0, 8), (0, 1, 1)])
    assert state.counters["buffer_conflict_stall_cycles"].sum() == 0
    _, _, state, _ = simulate(single, [Route(1, (2,), 0), Route(6, (2,), 0), Route(3, (2,), 0)], [(0, 1, 1), (0, 2, 1)])
    assert state.counters["buffer_conflict_stall_cycles"].sum() == 1


def test_links_and_routers_are_reported_by_name():
    _, spec, state, _ = simulate(NocParameters(columns=2, rows=1, topology="tree"), [Route(0, (1,), 0)], [(0, 0, 3)])
    parts = network_components(spec, state, {0: "cluster 0"})
    used = [(link["router"], link["to"]) for link in parts["noc_link"] if link["flits"] == 3]
    assert used == [(1, "node 1")]
    assert [link["to"] for link in parts["noc_link"]] == ["router 1", "cluster 0", "node 1", "router 0"]
    assert len(parts["noc_router"]) == 2


def test_endpoints_of_one_router_are_two_wires_and_a_switch_apart():
    parameters = NocParameters(columns=2, rows=2, concentration=4)
    assert build(parameters, []).n_nodes == 16
    for node, routers_visited in ((3, 1), (4, 2), (15, 3)):
        assert packet_latency_cycles(parameters, 0, node, 2) == zero_load_latency_cycles(parameters, routers_visited, 2)


OPERANDS_AND_PSUMS = (PhysicalNetwork((0, 1), 256), PhysicalNetwork((2,), 256))


def test_classes_on_networks_of_their_own_do_not_meet():
    routes = [Route(0, (3,), message_class) for message_class in range(3)]
    packets = [(0, route, 8) for route in (0, 2) for _ in range(20)]
    shared, *_ = simulate(NocParameters(virtual_channels=3), routes, packets)
    apart, spec, state, _ = simulate(NocParameters(virtual_channels=3, networks=OPERANDS_AND_PSUMS), routes, packets)
    assert apart[:, 0].max() < shared[:, 0].max()
    flits = state.link_flits.reshape(2, -1).sum(axis=1)
    assert flits.tolist() == [20 * 8 * 4] * 2
    assert check(spec, state) == []


@pytest.mark.parametrize(("width", "flits"), [(256, 4), (512, 2), (64, 16), (200, 6)])
def test_a_packet_has_as_many_flits_as_its_links_are_narrow(width, flits):
    networks = (PhysicalNetwork((0,), width),)
    log, spec, state, _ = simulate(NocParameters(networks=networks), [Route(0, (15,), 0)], [(0, 0, 4)])
    assert class_flits(spec, 4 * FLIT_BITS).tolist() == [flits]
    assert state.counters["flits_ejected"].sum() == flits
    assert log[0, 0] == zero_load_latency_cycles(NocParameters(), 7, flits)
    assert check(spec, state) == []


def test_one_network_for_all_is_the_same_to_the_cycle_as_none_named():
    routes = [Route(0, (3, 15), 0), Route(3, (12,), 1), Route(9, (0,), 2)]
    packets = [(at, route, 4) for at in range(0, 40, 4) for route in range(3)]
    plain, _, state, _ = simulate(NocParameters(), routes, packets)
    named, _, other, _ = simulate(NocParameters(networks=(PhysicalNetwork((0, 1, 2), 256),)), routes, packets)
    assert np.array_equal(plain, named)
    assert np.array_equal(state.counters, other.counters)
    assert np.array_equal(link_counters(state), link_counters(other))


def test_skipping_cycles_changes_nothing_with_two_networks():
    parameters = NocParameters(virtual_channels=1, buffer_depth=4, networks=OPERANDS_AND_PSUMS)
    routes = [Route(0, (15,), 0), Route(0, (15, 12), 2)]
    packets = [(at, route, 4) for at in (0, 3, 400) for route in (0, 1)]
    every, _, stepped, _ = simulate(parameters, routes, packets)
    some, _, skipped, n_some = simulate(parameters, routes, packets, skips=True)
    assert n_some < 1000
    assert np.array_equal(every, some)
    assert np.array_equal(stepped.counters, skipped.counters)


def test_the_energy_of_flit_hops_is_reported_where_it_is_known():
    for pj, expected in ((None, []), (2.5, [{"flit_hops": 12, "energy_fj": 30_000}])):
        _, spec, state, _ = simulate(NocParameters(energy_per_flit_hop_pj=pj), [Route(0, (3,), 0)], [(0, 0, 4)])
        assert network_components(spec, state, {})["noc_energy"] == expected
