"""Random reduction groups among background traffic: every sum arrives once, with every addend, and nothing blocks for ever."""

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from etasim.core.channel import can_pop, channels, peek, pop, push
from etasim.core.jit import entry
from etasim.noc import NocParameters, Route, build, check, init, step
from etasim.noc.model import link_loads
from etasim.noc.parameters import RouterParameters
from etasim.noc.topology import ABSENT

AT, NODE, ROUTE, FLITS, STAGE = range(5)
BACKGROUND = -1


FLIT_BITS = NocParameters().link_width_bits
"""Packets are given in flits of a network that names no other width, messages in bits."""


@entry
def run_groups(spec, state, inject, eject, packets, in_stage, patience, values, is_offered, log, limit):
    """Offer ``packets`` (cycle, node, route, flits, stage), the background by the clock and the packets of a stage, by the cycles since
    it began, when all ``in_stage`` sums of the one before have arrived. ``values`` [packet] are added where packets are.

    Logs (packet, value) of what arrives; returns how many did until ``limit`` cycles have passed.
    """
    n_logged, stage, began, arrived = 0, 0, 0, 0
    for now in range(limit):
        if n_logged == len(log):
            break
        for i in range(len(packets)):
            is_due = packets[i, 0] <= now if packets[i, 4] < 0 else packets[i, 4] == stage and packets[i, 0] <= now - began
            if is_due and not is_offered[i]:
                push(inject, packets[i, 1], now, packets[i, 2], packets[i, 3] * FLIT_BITS, i, 0)
                is_offered[i] = True
        step(spec, state, inject, eject, now)
        for row in range(1, state.absorbed[0, 0] + 1):
            values[state.absorbed[row, 0]] += values[state.absorbed[row, 2]]
        for node in range(spec.n_nodes):
            if (now + node) % patience == 0 and can_pop(eject, node, now + 1):
                packet = peek(eject, node, 2)
                log[n_logged, 0] = packet
                log[n_logged, 1] = values[packet]
                n_logged += 1
                pop(eject, node, now + 1)
                arrived += packets[packet, 4] == stage
        if stage < len(in_stage) and arrived == in_stage[stage]:
            stage, began, arrived = stage + 1, now + 1, 0
    return n_logged


@st.composite
def reductions(draw):
    """A network, its routes and packets: some groups one after another in class 0, anything in classes 1 and 2."""
    columns, rows = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    topology = draw(st.sampled_from(["mesh", "torus", "tree", "crossbar"]))
    concentration = 1 if topology == "crossbar" else draw(st.integers(1, 2))
    n_nodes, depth = columns * rows * concentration, draw(st.integers(1, 6))
    parameters = NocParameters(
        columns=columns,
        rows=rows,
        topology=topology,
        concentration=concentration,
        routing=draw(st.sampled_from(["xy", "yx"])),
        virtual_channels=6 if topology == "torus" else 3,
        buffer_depth=depth,
        link_latency=draw(st.integers(1, 3)),
        router=RouterParameters(draw(st.integers(0, 2)), draw(st.integers(1, 2)), draw(st.integers(1, 2)), draw(st.booleans())),
        reduction=True,
        ideal=draw(st.sampled_from([False, False, False, True])),
    )
    nodes = st.integers(0, n_nodes - 1)
    routes, packets, in_stage = [], [], []
    for stage in range(draw(st.integers(1, 4))):
        sources, flits = draw(st.lists(nodes, min_size=1, max_size=6, unique=True)), draw(st.integers(1, depth))
        n_sums = draw(st.integers(1, 6))
        destination = draw(nodes)
        for source in sources:
            at = sorted(draw(st.lists(st.integers(0, 40), min_size=n_sums, max_size=n_sums)))
            packets += [(cycle, source, len(routes), flits, stage) for cycle in at]
            routes.append(Route(source, (destination,), 0, flits * FLIT_BITS, stage))
        in_stage.append(n_sums)
    several = st.lists(nodes, min_size=1, max_size=4, unique=True).map(tuple)
    background = draw(st.lists(st.builds(Route, nodes, several, st.integers(1, 2), st.just(1), st.just(ABSENT)), max_size=5))
    for route in background:
        for at in draw(st.lists(st.integers(0, 120), max_size=10)):
            packets.append((at, route.source, len(routes), draw(st.integers(1, depth)), BACKGROUND))
        routes.append(route)
    return parameters, routes, sorted(packets), in_stage


def _expected(routes, packets, values):
    """(group, number of the sum) to its value: each source of a group sends its packets in the same order."""
    sums: dict = {}
    counts: dict = {}
    for i, (_, _, route, _, stage) in enumerate(packets):
        if stage >= 0:
            number = counts[route] = counts.get(route, -1) + 1
            sums[stage, number] = sums.get((stage, number), 0) + int(values[i])
    return sums


@settings(max_examples=1000, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(reductions(), st.integers(1, 5))
def test_every_sum_arrives_once_with_every_addend(case, patience):
    parameters, routes, packets, in_stage = case
    spec = build(parameters, routes)
    state = init(spec)
    n_copies = sum(in_stage) + sum(len(routes[p[ROUTE]].destinations) for p in packets if p[STAGE] == BACKGROUND)
    log, values = np.zeros((n_copies, 2), np.int64), 7 ** (np.arange(len(packets), dtype=np.int64) % 20) + np.arange(len(packets))
    expected = _expected(routes, packets, values)
    ends = channels(spec.n_nodes, len(packets)), channels(spec.n_nodes, 2)
    table = np.array(packets, np.int64), np.array(in_stage, np.int64)
    n_logged = run_groups(spec, state, *ends, *table, patience, values, np.zeros(len(packets), np.bool_), log, 30_000)
    assert n_logged == n_copies, "lost, doubled or blocked for ever"
    found: dict = {}
    for packet, value in log.tolist():
        stage = packets[packet][STAGE]
        if stage != BACKGROUND:
            found.setdefault(stage, []).append(value)
    assert {(stage, i): value for stage, sums in found.items() for i, value in enumerate(sums)} == expected
    assert check(spec, state) == []
    members = [sum(1 for route in routes if route.reduction == stage) for stage in range(len(in_stage))]
    assert state.reductions["packets_reduced"].sum() == sum((m - 1) * n for m, n in zip(members, in_stage, strict=True))
    _check_links(parameters, routes, packets, spec, state)


def _check_links(parameters, routes, packets, spec, state):
    taken, n_flits = [routes[p[ROUTE]] for p in packets], [p[FLITS] for p in packets]
    loads = link_loads(parameters, taken, [1] * len(packets), n_flits)
    assert state.counters["flit_hops"].sum() == sum(loads.values())
    if parameters.ideal:
        return
    expected = np.zeros(len(state.links), np.int64)
    for (router, port), flits in loads.items():
        expected[router * spec.n_ports + port] = flits
    measured = state.link_flits.sum(axis=1)
    measured[spec.injection_group] = 0
    assert measured.tolist() == expected.tolist()
