"""The automaton of the network against the routers that it learns from: the same packets in the same cycles, the same counters."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from noc_traffic import networks

from etasim.core.channel import can_pop, channels, occupancy, peek, pop, push
from etasim.core.jit import entry
from etasim.noc import NocParameters, Route, build, check, init, memo_words, next_timer, step
from etasim.noc.memo import FOUND, LOOKED_UP, N_RECORDS, REST, SWITCH, USED
from etasim.noc.parameters import RouterParameters
from etasim.noc.topology import ABSENT

TINY = 1
"""Words of the smallest memory: it has room for two steps of the largest kind, and forgets all the time."""

FLIT_BITS = NocParameters().link_width_bits


@entry
def run_rounds(spec, state, inject, eject, packets, period, rounds, patience, log):
    """Offer ``packets`` (cycle, node, route, flits), sorted by cycle, again every ``period`` cycles, and step until all copies are out.

    A receiver takes one packet every ``patience`` cycles; cycles are skipped as `next_timer` allows. Logs (cycle, node, packet).
    """
    n_offered, n_logged, now, n_all = 0, 0, 0, rounds * len(packets)
    while n_logged < len(log):
        while n_offered < n_all and packets[n_offered % len(packets), 0] + n_offered // len(packets) * period <= now:
            at = n_offered % len(packets)
            if occupancy(inject, packets[at, 1]) < 8:
                push(inject, packets[at, 1], now + 1, packets[at, 2], packets[at, 3] * FLIT_BITS, n_offered, 0)
                n_offered += 1
            else:
                break
        progress = step(spec, state, inject, eject, now)
        following = now + 1
        for node in range(spec.n_nodes):
            if (now + node) % patience == 0 and can_pop(eject, node, now + 1):
                log[n_logged, 0] = now
                log[n_logged, 1] = node
                log[n_logged, 2] = peek(eject, node, 2)
                n_logged += 1
                pop(eject, node, now + 1)
            progress = progress or can_pop(eject, node, now + 1)
        if not progress and n_offered == n_all:
            following = max(following, min(next_timer(spec, state, inject, eject, now), now + 7))
        now = following
        if now > 1_000_000:
            return n_logged
    next_timer(spec, state, inject, eject, now)  # makes the arrays true
    return n_logged


def outcome(spec, words, packets, n_copies, period, rounds, patience):
    """Log, counters and broken invariants of a run with a memory of ``words``, and the registers of the memory."""
    state, log = init(spec, words), np.zeros((n_copies * rounds, 3), np.int64)
    ends = channels(spec.n_nodes, 8), channels(spec.n_nodes, 2)
    n_logged = run_rounds(spec, state, *ends, np.array(packets, np.int64), period, rounds, patience, log)
    counted = [log[:n_logged], state.counters, state.links, state.link_flits, state.latencies]
    assert n_logged == len(log)
    assert check(spec, state) == []
    return [each.tolist() for each in counted], state.memo.registers


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(networks(), st.integers(40, 90), st.integers(1, 5))
def test_a_step_that_is_looked_up_is_the_step_itself(network, period, patience):
    parameters, routes, packets = network
    spec = build(parameters, routes)
    n_copies = sum(len(routes[route].destinations) for _, _, route, _ in packets)
    given_to_all = (packets, n_copies, period, 6, patience)
    expected, _ = outcome(spec, 0, *given_to_all)
    for words in (memo_words(spec), min(memo_words(spec), TINY)):
        assert outcome(spec, words, *given_to_all)[0] == expected


@pytest.fixture(scope="module")
def regular():
    """A mesh under traffic that repeats, in units of `outcome`."""
    routes = [Route(source, (to, 11 - to), 0, FLIT_BITS, ABSENT) for source in range(12) for to in range(6)]
    packets = sorted((3 * (i % 9), routes[i].source, i, 1 + i % 4) for i in range(0, 72, 5))
    return build(NocParameters(4, 3, 2, 8, router=RouterParameters(0, 1, 1, True)), routes), packets, 2 * len(packets), 60, 200, 1


def test_traffic_that_repeats_is_looked_up(regular):
    spec, *traffic = regular
    expected, _ = outcome(spec, 0, *traffic)
    found, registers = outcome(spec, memo_words(spec), *traffic)
    assert found == expected
    assert registers[FOUND] > 0.95 * registers[LOOKED_UP] > 1000


def test_a_full_memory_begins_again(regular):
    spec, *traffic = regular
    expected, _ = outcome(spec, 0, *traffic)
    found, registers = outcome(spec, TINY, *traffic)
    state = init(spec, TINY)
    assert found == expected
    assert registers[USED] <= len(state.memo.words)
    assert registers[N_RECORDS] < registers[LOOKED_UP] - registers[FOUND] or registers[REST] > 0


def test_the_memory_can_be_switched_off(regular, monkeypatch):
    spec, *_ = regular
    assert memo_words(spec) > 0
    monkeypatch.setenv(SWITCH, "off")
    assert memo_words(spec) == 0
