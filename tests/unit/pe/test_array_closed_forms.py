"""Clusters, feeds, drains and multicast where nothing contends: the cycles of docs/models/array.md, exactly."""

import pytest
from hand_made import ANY_ROUTE, Script, feed, times
from hypothesis import given, settings
from hypothesis import strategies as st
from program_reading import FIRST_CLUSTER
from small_networks import architecture

from etasim.machine.errors import DeadlockError
from etasim.noc import Route
from etasim.noc.model import zero_load_latency_cycles
from etasim.program.commands import FEED_STATIONARY, FEED_STREAM
from etasim.schedule.array import PSUM, STREAM, array_of

DEEP = {"noc__buffer_depth": 16}
"""Buffers that cover the credit loop, so that a link carries a flit every cycle."""

QUEUE, COMPLETION = 1, 1
"""Cycles from the controller to an engine and back."""


def read_latency(chosen):
    return chosen.buffers.activation.read_latency


def arrival(chosen, n_routers, n_packets):
    """Cycle in which the last of ``n_packets`` words, fed from cycle 0 on, is in the scratchpad ``n_routers`` away.

    Queue 1, request to the bank 1, access ``read_latency``, into the interface 1, the network's zero-load latency, into the
    scratchpad 1; every further packet follows after its flits.
    """
    flits = array_of(chosen).packet_flits[STREAM]
    return QUEUE + 1 + read_latency(chosen) + 1 + zero_load_latency_cycles(chosen.noc, n_routers, flits) + 1 + (n_packets - 1) * flits


@settings(max_examples=20)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=5), st.integers(1, 12))
def test_a_chunk_takes_the_sum_of_its_sweeps(lengths, n_sweeps):
    """With every operand present: queue 1, then sweep follows sweep without a gap, completion 1."""
    chosen = architecture()
    machine = Script(chosen).compute(0, lengths, n_sweeps=n_sweeps).run()
    total = sum(lengths[i % len(lengths)] for i in range(n_sweeps))
    assert times(machine, FIRST_CLUSTER) == (0, QUEUE + total + COMPLETION)
    counters = machine.states.clusters.counters[0, 0]
    assert counters["busy_cycles"] == total


def test_chunks_of_a_pass_follow_each_other_without_a_bubble():
    machine = Script(architecture()).compute(0, [5], last=0).compute(0, [7], first=0, last=0).compute(0, [2], first=0).run()
    assert [times(machine, FIRST_CLUSTER, n)[1] for n in (1, 2, 3)] == [1 + 5 + 1, 1 + 12 + 1, 1 + 14 + 1]


@pytest.mark.parametrize("stages", [(1, 1, 1), (2, 3, 1), (0, 0, 0)])
def test_fill_and_drain_is_the_depth_of_the_pipeline(stages):
    """operand read + multiply + tree (log2 of the lanes) + accumulate cycles pass between the last group and the drain."""
    keys = ("operand_read", "multiply", "accumulate")
    chosen = architecture(**{f"array__pipeline__{key}": n for key, n in zip(keys, stages, strict=True)})
    depth = sum(stages) + 1
    assert array_of(chosen).pipeline_cycles == depth
    machine = Script(chosen, [Route(0, (4,), 2)]).compute(0, [3]).drain(0, [0]).run()
    assert machine.states.clusters.counters["fill_drain_cycles"][0, 0] == depth


@pytest.mark.parametrize("n_packets", [1, 3, 10])
@pytest.mark.parametrize("busy", [1, 7])
def test_a_drain_begins_when_the_pipeline_is_empty(n_packets, busy):
    """T = 1 + busy ends the last sweep; the first packet enters the interface at T + depth.

    Completed at T + depth + 1 (interface) + zero-load latency + (n - 1) x flits + 1 (collector) + 1 (bank) + latency + 1 (completion).
    """
    chosen = architecture(**DEEP)
    array, flits = array_of(chosen), array_of(chosen).packet_flits[PSUM]
    machine = Script(chosen, [Route(0, (4,), 2)]).compute(0, [busy]).drain(0, [4 * i for i in range(4 * n_packets)]).run()
    network = zero_load_latency_cycles(chosen.noc, 3, flits) + (n_packets - 1) * flits
    expected = QUEUE + busy + array.pipeline_cycles + 1 + network + 1 + 1 + chosen.buffers.error.read_latency + COMPLETION
    assert times(machine, FIRST_CLUSTER + 2)[1] == expected
    assert machine.states.collectors.counters["written_words"].sum() == n_packets


@pytest.mark.parametrize("n_packets", [1, 2, 5, 20])
@pytest.mark.parametrize(("cluster", "n_routers"), [(1, 2), (0, 3)])
def test_a_feed_over_an_idle_network_arrives_on_time(cluster, n_routers, n_packets):
    chosen = architecture(**DEEP)
    script = Script(chosen, [Route(2, (cluster,), 0)]).add(FEED_STREAM, feed(n_packets)).compute(cluster, [10], stream_words=n_packets)
    machine = script.run()
    begun = times(machine, FIRST_CLUSTER + cluster)[1] - COMPLETION - 10
    assert begun == arrival(chosen, n_routers, n_packets)
    assert machine.states.clusters.counters["stream_stall_cycles"][0, cluster] == begun - 1


def test_a_feed_of_one_word_is_complete_when_its_packet_is_in_the_interface():
    """Queue 1, bank 1, access latency, completion 1."""
    chosen = architecture()
    machine = Script(chosen).add(FEED_STREAM, feed(1)).compute(1, [1], stream_words=1).run()
    assert times(machine, FEED_STREAM) == (0, QUEUE + 1 + read_latency(chosen) + COMPLETION)


@pytest.mark.parametrize("n_packets", [1, 4])
def test_a_multicast_reaches_each_cluster_as_its_own_unicast_would(n_packets):
    """One packet, replicated where the paths part: the nearest and the farthest copy arrive as if they were alone."""
    chosen = architecture(**DEEP)
    script = Script(chosen, [Route(2, (0, 1), 0)]).add(FEED_STREAM, feed(n_packets))
    for c in (0, 1):
        script.compute(c, [10], stream_words=n_packets)
    machine = script.run()
    begun = [times(machine, FIRST_CLUSTER + c)[1] - COMPLETION - 10 for c in (0, 1)]
    assert begun == [arrival(chosen, 3, n_packets), arrival(chosen, 2, n_packets)]
    flits = n_packets * array_of(chosen).packet_flits[STREAM]
    assert machine.states.noc.counters["flits_injected"].sum() == flits
    assert machine.states.noc.counters["flits_ejected"].sum() == 2 * flits


def test_stationary_operands_wait_under_their_own_name():
    chosen = architecture(**DEEP)
    script = Script(chosen, [Route(3, (0,), 1)]).add(FEED_STATIONARY, feed(3, stream=1)).compute(0, [4], stationary_words=3)
    machine = script.run()
    assert machine.states.clusters.counters["stationary_stall_cycles"][0, 0] == arrival(chosen, 2, 3) - 1


def test_a_sweep_waits_for_the_words_that_it_reads_and_no_longer():
    """Four sweeps over four words: the first begins with the first word, and words keep ahead of long sweeps."""
    chosen = architecture(**DEEP)
    words = [(1, 0), (2, 0), (3, 0), (4, 0)]
    script = Script(chosen).add(FEED_STREAM, feed(4)).compute(1, [50], n_sweeps=4, words=words, stream_words=4)
    assert times(script.run(), FIRST_CLUSTER + 1)[1] == arrival(chosen, 2, 1) + 4 * 50 + COMPLETION


@pytest.mark.parametrize("stream", [0, 1])
@pytest.mark.parametrize("needed", [[1, 2, 3, 20], [3, 3, 17, 20], [19, 20, 20, 20]])
def test_short_sweeps_begin_with_their_last_word_whatever_their_number(stream, needed):
    """A sweep of one cycle begins when its word is in the scratchpad, or when the sweep before has ended."""
    chosen = architecture(**DEEP)
    words = [(n, 0) if stream == 0 else (0, n) for n in needed]
    script = Script(chosen, [Route((2, 3)[stream], (0,), stream)])
    script.add((FEED_STREAM, FEED_STATIONARY)[stream], feed(20, stream=stream))
    script.compute(0, [1], n_sweeps=4, words=words, **{("stream_words", "stationary_words")[stream]: 20})
    begin = 0
    for n in needed:
        begin = max(begin + 1, arrival(chosen, (3, 2)[stream], n))
    assert times(script.run(), FIRST_CLUSTER)[1] == begin + 1 + COMPLETION


def test_a_third_pass_waits_for_the_psums_of_the_first():
    """Two halves of the psum memory: without drains a third pass cannot begin; with them it waits for the first drain's last packet."""
    chosen = architecture(**DEEP)
    script = Script(chosen, [Route(0, (4,), 2)])
    for _ in range(3):
        script.compute(0, [2])
    for n in range(3):
        script.drain(0, [4 * i for i in range(12)], buffer_address=64 * n)
    machine = script.run()
    first_ready = QUEUE + 2 + array_of(chosen).pipeline_cycles
    injected = first_ready + 2
    begun = times(machine, FIRST_CLUSTER, 3)[1] - COMPLETION - 2
    assert begun == injected
    assert machine.states.clusters.counters["psum_stall_cycles"][0, 0] == begun - (QUEUE + 4)


def test_passes_without_drains_stand_still():
    script = Script(architecture())
    for _ in range(3):
        script.compute(0, [2])
    with pytest.raises(DeadlockError, match=r"cluster\.0"):
        script.run()


def test_gather_conflicts_are_not_busy_cycles():
    machine = Script(architecture(), ANY_ROUTE).compute(0, [8], n_sweeps=3, conflict_cycles=12).run()
    counters = machine.states.clusters.counters[0, 0]
    assert (counters["busy_cycles"], counters["gather_conflict_cycles"]) == (12, 12)
