"""Feeders read the words of their runs and inject each as a packet; collectors write segments that share a word once."""

import numpy as np
import pytest
from hand_made import Script, feed, row, times
from hypothesis import given, settings
from hypothesis import strategies as st
from part_bench import fields
from program_reading import FIRST_CLUSTER, feed_words
from small_networks import architecture

from etasim.core.channel import can_pop, can_push, channels, peek, pop, push
from etasim.memory import collector, feeder
from etasim.noc import Route
from etasim.program.commands import DRAIN, FEED, FEED_DIMENSIONS, FEED_STREAM
from etasim.program.events import SENT, event_log

WORD_BYTES = 16


def injected_words(rows, max_outstanding=4, stalls=()):
    """Feed commands on one feeder: words in the order in which it reads and sends them, and the commands reported, by a buffer of
    latency 2. Packets carry their numbers, and the log has one event for each."""
    feeds = np.array([tuple(r) for r in rows], FEED)
    one = np.zeros(1, np.int64)
    spec = feeder.FeederSpec(one, one, one, WORD_BYTES, 8 * WORD_BYTES, max_outstanding)
    state = feeder.init(spec, 1)
    commands, completions, inject = channels(1, len(rows)), channels(1, 4), channels(1, 4)
    requests, responses = channels(1, 4), channels(1, max_outstanding + 2)
    for i in range(len(rows)):
        push(commands, 0, 0, 100 + i, i, 0, 0)
    words, packets, done, log = [], [], [], event_log(5000, 1)
    links = fields(
        commands=commands, completions=completions, buffer_requests=requests, buffer_responses=responses, inject=inject
    )
    for now in range(3000):
        if can_pop(requests, 0, now):
            words.append(int(peek(requests, 0, 0)))
            push(responses, 0, now + 2, *(int(peek(requests, 0, word)) for word in range(4)))
            pop(requests, 0, now + 1)
        if can_pop(inject, 0, now) and now not in stalls:
            packets.append(int(peek(inject, 0, 3)))
            assert int(peek(inject, 0, 1)) == 8 * WORD_BYTES
            pop(inject, 0, now + 1)
        if can_pop(completions, 0, now):
            done.append(int(peek(completions, 0, 0)))
            pop(completions, 0, now + 1)
        feeder.step(spec, state, fields(feeds=feeds), links, log, 0, now)
        if len(done) == len(rows) and len(packets) == state.counters["packets"].sum():
            break
    assert state.waiting[0] == 0
    assert packets == list(range(len(words)))
    owners = [i for i, r in enumerate(feeds) for _ in feed_words(r, WORD_BYTES)]
    assert log.rows[: log.count[0]].tolist() == [[SENT, 0, owner, number, 0] for number, owner in enumerate(owners)]
    return words, done, state


@st.composite
def feeds(draw):
    """A feed of up to four dimensions with any strides."""
    counts = [draw(st.integers(1, 3)) for _ in range(FEED_DIMENSIONS)]
    strides = [draw(st.integers(0, 150)) for _ in range(FEED_DIMENSIONS)]
    run, address = draw(st.integers(1, 70)), draw(st.integers(0, 100))
    return row("feeds", buffer_address=address, run_bytes=run, counts=counts, strides=strides)


@settings(max_examples=40)
@given(st.lists(feeds(), min_size=1, max_size=2), st.integers(1, 5))
def test_a_feed_injects_every_word_that_its_runs_touch_in_order(rows, max_outstanding):
    words, done, state = injected_words(rows, max_outstanding)
    expected = [word for r in np.array([tuple(r) for r in rows], FEED) for word in feed_words(r, WORD_BYTES)]
    assert words == expected
    assert done == [100 + i for i in range(len(rows))]
    assert state.counters["packets"][0, 0] == len(expected)


def test_a_full_interface_stalls_the_feeder_and_is_counted():
    rows = [row("feeds", run_bytes=16 * 20, counts=(1, 1, 1, 1))]
    words, _, state = injected_words(rows, stalls=range(10, 40))
    assert words == list(range(20))
    assert 20 <= state.engine_counters["noc_stall_cycles"][0] <= 30
    assert injected_words(rows)[2].engine_counters["noc_stall_cycles"][0] == 0


def written_words(offsets, per_packet, base):
    """Words that a collector writes for the packets of one drain, in order, and the engines whose drains it reports."""
    n_packets = -(-len(offsets) // per_packet)
    drain = {"n_packets": n_packets, "n_segments": len(offsets), "segments_per_packet": per_packet, "buffer_address": base, "engine": 9}
    drains = np.array([row("drains", **drain)], DRAIN)
    zero = np.zeros(1, np.int64)
    spec = collector.CollectorSpec(zero, zero, WORD_BYTES, 4)
    state = collector.init(spec, 1)
    completions, eject, requests, responses = channels(10, 4), channels(1, 2), channels(1, 4), channels(1, 6)
    links = fields(completions=completions, eject=eject, buffer_requests=requests, buffer_responses=responses)
    program = fields(drains=drains, segment_offsets=np.array(offsets))
    words, done, sent = [], [], 0
    for now in range(2000):
        if sent < n_packets and can_push(eject, 0, now):
            push(eject, 0, now + 1, 0, 2, 0, sent)
            sent += 1
        if can_pop(requests, 0, now):
            words.append(int(peek(requests, 0, 0)))
            push(responses, 0, now + 2, *(int(peek(requests, 0, word)) for word in range(4)))
            pop(requests, 0, now + 1)
        if can_pop(completions, 9, now):
            done.append(len(words))
            pop(completions, 9, now + 1)
        collector.step(spec, state, program, links, event_log(0, 0), 0, now)
    assert state.counters["packets"].sum() == n_packets
    assert state.counters["written_words"].sum() == len(words)
    assert done == [len(words)]
    return words


def words_with_sharing(offsets, per_packet, base):
    """Consecutive segments of a packet that fall into one word are one write."""
    words = []
    for p in range(0, len(offsets), per_packet):
        own = [(base + offset) // WORD_BYTES for offset in offsets[p : p + per_packet]]
        words += [word for i, word in enumerate(own) if i == 0 or own[i - 1] != word]
    return words


@settings(max_examples=60)
@given(st.lists(st.integers(0, 40).map(lambda n: 4 * n), min_size=1, max_size=20), st.integers(1, 4), st.sampled_from([0, 4, 64]))
def test_segments_that_share_a_word_are_written_together(offsets, per_packet, base):
    assert written_words(offsets, per_packet, base) == words_with_sharing(offsets, per_packet, base)


@pytest.mark.parametrize(("offsets", "n_words"), [([0, 4, 8, 12], 1), ([0, 16, 32, 48], 4), ([8, 12, 16, 20], 2)])
def test_a_packet_of_neighbours_is_one_word(offsets, n_words):
    assert len(written_words(offsets, 4, 0)) == n_words


def test_feeds_and_drains_of_the_machine_count_words_alike():
    """Scattered segments cost a word each, also in the whole machine."""
    script = Script(architecture(), [Route(0, (4,), 2)]).compute(0, [3]).drain(0, [0, 64, 128, 192, 256])
    machine = script.run()
    assert machine.states.collectors.counters["written_words"].sum() == 5
    assert machine.states.buffers.counters["written_words"].tolist() == [0, 0, 5]
    assert times(machine, FIRST_CLUSTER + 2)[1] > times(machine, FIRST_CLUSTER)[1]


def test_a_feed_longer_than_the_buffer_of_answers_keeps_its_order():
    machine = Script(architecture()).add(FEED_STREAM, feed(40)).compute(1, [1], stream_words=40).run()
    assert machine.states.clusters.arrived[1, 0] == 40
