"""The network against a plain model of the reference's router, packet by packet: all stages under load, for which there are no runs."""

from dataclasses import replace

import numpy as np
import pytest
from naive_router import Mesh

from etasim.core.channel import can_pop, channels, peek, pop, push
from etasim.core.jit import entry
from etasim.noc import NocParameters, check, init, step
from etasim.noc.driver import _spec_of
from etasim.noc.parameters import RouterParameters

PIPELINES = [(0, 1, 1), (1, 1, 1), (2, 1, 1), (1, 2, 1), (1, 1, 2), (0, 2, 2), (1, 1, 3), (1, 3, 1), (0, 4, 1), (1, 3, 2)]
"""Cycles of routing, VC allocation, switch allocation."""

SPECULATIVE = [(0, 1, 1), (1, 1, 1), (2, 1, 1), (1, 1, 2), (0, 1, 3), (1, 1, 4)]
"""With a VC allocator of one cycle: with a slower one the reference stops at an assertion."""

NETWORKS = {
    "uniform, single flits": (NocParameters(4, 4, 2, 4), 1, 0.35, None),
    "uniform, 4 flits, slow links": (NocParameters(3, 5, 4, 3, link_latency=2), 4, 0.5, None),
    "one node, one VC": (NocParameters(4, 4, 1, 8), 4, 0.25, [5]),
    "corners": (NocParameters(5, 3, 3, 6, link_latency=3), 2, 0.4, [0, 4, 10, 14]),
}
"""Network, mean flits of a packet, rate in flits a node and cycle, destinations (None: all)."""


FLIT_BITS = NocParameters().link_width_bits
"""Packets are given in flits of a network that names no other width, messages in bits."""


@entry
def run_until_all_are_out(spec, state, inject, eject, packets, arrivals, limit):
    """Offer ``packets`` (cycle, source, destination, flits), sorted by cycle; sets ``arrivals`` [packet]."""
    n_offered, n_arrived = 0, 0
    for now in range(limit):
        while n_offered < len(packets) and packets[n_offered, 0] <= now:
            push(inject, packets[n_offered, 1], now, packets[n_offered, 2], packets[n_offered, 3] * FLIT_BITS, n_offered, 0)
            n_offered += 1
        step(spec, state, inject, eject, now)
        for node in range(spec.n_nodes):
            while can_pop(eject, node, now + 1):
                arrivals[peek(eject, node, 2)] = now
                pop(eject, node, now + 1)
                n_arrived += 1
        if n_arrived == len(arrivals):
            return


def _packets(n_nodes, mean_flits, rate, destinations, n_cycles=120):
    random = np.random.default_rng(1)
    sent = np.argwhere(random.random((n_cycles, n_nodes)) < rate / mean_flits)
    to = random.choice(np.arange(n_nodes) if destinations is None else destinations, len(sent))
    return np.column_stack([sent, to, random.integers(1, 2 * mean_flits, len(sent))]).astype(np.int64)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize(("stages", "speculative"), [(s, False) for s in PIPELINES] + [(s, True) for s in SPECULATIVE])
def test_every_packet_arrives_in_the_cycle_of_the_plain_model(stages, speculative, name):
    network, *traffic = NETWORKS[name]
    parameters = replace(network, router=RouterParameters(*stages, speculative))
    spec, _ = _spec_of(parameters)
    packets, state = _packets(spec.n_nodes, *traffic), init(spec)
    arrivals = np.zeros(len(packets), np.int64)
    run_until_all_are_out(spec, state, channels(spec.n_nodes, len(packets)), channels(spec.n_nodes, 2), packets, arrivals, 20_000)
    mesh = Mesh(parameters, packets.tolist())
    while len(mesh.arrivals) < len(packets) and mesh.now < 20_000:
        mesh.step()
    assert arrivals.tolist() == [mesh.arrivals[number] for number in range(len(packets))]
    assert check(spec, state) == []
