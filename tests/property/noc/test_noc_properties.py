"""Random networks and traffic: every flit is delivered once per destination, in order, and nothing blocks for ever."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from noc_traffic import networks

from etasim.core.channel import can_pop, channels, peek, pop, push
from etasim.core.jit import entry
from etasim.noc import NocParameters, build, check, init, next_timer, replay, step
from etasim.noc.model import link_loads, transfer_cycles, zero_load_latency_cycles
from etasim.noc.traffic import PATTERNS

FLIT_BITS = NocParameters().link_width_bits
"""Packets are given in flits of a network that names no other width, messages in bits."""


@entry
def run_to_the_end(spec, state, inject, eject, packets, patience, log):
    """Feed ``packets`` (cycle, node, route, flits), sorted by cycle, and step until all copies are out or nothing can happen.

    A receiver takes one packet every ``patience`` cycles. Logs (node, packet). Returns (packets logged, cycle reached).
    """
    n_offered, n_logged, now = 0, 0, 0
    while n_logged < len(log):
        progress = False
        while n_offered < len(packets) and packets[n_offered, 0] <= now:
            push(inject, packets[n_offered, 1], now, packets[n_offered, 2], packets[n_offered, 3] * FLIT_BITS, n_offered, 0)
            n_offered += 1
        if step(spec, state, inject, eject, now):
            progress = True
        for node in range(spec.n_nodes):
            if (now + node) % patience == 0 and can_pop(eject, node, now + 1):
                log[n_logged, 0] = node
                log[n_logged, 1] = peek(eject, node, 2)
                n_logged += 1
                pop(eject, node, now + 1)
            progress = progress or can_pop(eject, node, now + 1)
        timer = next_timer(spec, state, inject, eject, now)
        if not progress and timer > now + 1000 and n_offered == len(packets):
            return n_logged, now
        now += 1
    return n_logged, now


def _run(parameters, routes, packets, patience):
    spec = build(parameters, routes)
    state = init(spec)
    n_copies = sum(len(routes[route].destinations) for _, _, route, _ in packets)
    log = np.zeros((n_copies, 2), np.int64)
    ends = channels(spec.n_nodes, len(packets)), channels(spec.n_nodes, 2)
    n_logged, now = run_to_the_end(spec, state, *ends, np.array(packets, np.int64), patience, log)
    return spec, state, log[:n_logged].tolist(), int(now)


@settings(max_examples=1000, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(networks(), st.integers(1, 7))
def test_every_packet_arrives_once_at_each_destination_in_order(network, patience):
    parameters, routes, packets = network
    spec, state, log, _ = _run(parameters, routes, packets, patience)
    expected = [(node, index) for index, (_, _, route, _) in enumerate(packets) for node in routes[route].destinations]
    assert sorted(map(tuple, log)) == sorted(expected), "lost, doubled or blocked for ever"
    assert check(spec, state) == []
    last: dict = {}
    for node, index in log:
        route = routes[packets[index][2]]
        pair = (route.source, node, route.message_class)
        assert last.get(pair, -1) < index, "overtaken by a packet of its own class and source"
        last[pair] = index


@settings(max_examples=40)
@given(networks())
def test_link_loads_are_tree_links_times_flits(network):
    parameters, routes, packets = network
    parameters = replace(parameters, networks=())
    spec, state, _, end = _run(parameters, routes, packets, 1)
    taken, n_flits = [routes[route] for _, _, route, _ in packets], [flits for *_, flits in packets]
    expected = np.zeros(len(state.links), np.int64)
    for (router, port), flits in link_loads(parameters, taken, [1] * len(taken), n_flits).items():
        expected[router * spec.n_ports + port] = flits
    ejection = [int(group) for group in spec.injection_group]
    measured = state.link_flits.sum(axis=1)
    measured[ejection] = 0
    assert measured.tolist() == expected.tolist()
    assert end >= transfer_cycles(parameters, taken, [1] * len(taken), n_flits)
    per_packet = spec.route_links[[route for _, _, route, _ in packets]] * n_flits
    assert state.counters["flit_hops"].sum() == per_packet.sum()


@settings(max_examples=30)
@given(networks())
def test_a_tree_to_one_node_is_a_unicast_to_the_cycle(network):
    parameters, routes, packets = network
    single = [route._replace(destinations=route.destinations[:1]) for route in routes]
    _, unicast, log, end = _run(replace(parameters, multicast=False), single, packets, 1)
    _, multicast, other_log, other_end = _run(parameters, single, packets, 1)
    assert (log, end) == (other_log, other_end)
    assert np.array_equal(unicast.counters, multicast.counters)


@settings(max_examples=100)
@given(
    st.integers(1, 6), st.integers(1, 6), st.integers(1, 4), st.integers(1, 6), st.integers(1, 9), st.integers(1, 8),
    st.sampled_from(list(PATTERNS)),
)  # fmt: skip
def test_a_batch_of_any_pattern_drains_and_not_faster_than_the_links(columns, rows, n_vcs, depth, packet_flits, n_packets, pattern):
    assume(pattern != "transpose" or columns == rows)
    parameters, n_nodes = NocParameters(columns=columns, rows=rows, virtual_channels=n_vcs, buffer_depth=depth), columns * rows
    result = replay(parameters, pattern, 1.0, packet_flits, mode="batch", batch_packets=n_packets)
    assert result.counters["packets_ejected"].tolist() == [n_packets * n_nodes]
    assert result.counters["flits_ejected"].tolist() == [n_packets * n_nodes * packet_flits]
    hops = int(result.counters["flit_hops"].sum())
    assert result.average_hops * n_packets * n_nodes == pytest.approx(hops / packet_flits + n_packets * n_nodes)
    assert result.batch_cycles >= max(n_packets * packet_flits, int(result.links["flits"].max()))
    assert result.minimum_packet_latency_cycles >= zero_load_latency_cycles(parameters, 1, packet_flits)
