"""Rates of the parts in closed form, beside what the parts do."""

import pytest

import etasim
from etasim.estimate.traffic import paced_bytes
from etasim.noc.model import packet_period_cycles
from etasim.noc.parameters import NocParameters, RouterParameters
from etasim.noc.trace import replay_trace
from etasim.schedule.array import array_of
from etasim.schedule.array_time import fed_cycles, meeting_cycles
from etasim.schedule.plan import links_of
from etasim.schedule.rates import dma_cycles_per_byte, packet_cycles

PACKETS = 60


def simulated_period(parameters, packet_flits, tmp_path):
    """Cycles that each of many packets adds to a stream from node 0 to node 3."""
    cycles = []
    for n_packets in (PACKETS, 2 * PACKETS):
        path = tmp_path / f"{n_packets}.csv"
        path.write_text("cycle,source,destinations,flits\n" + f"0,0,3,{packet_flits}\n" * n_packets)
        cycles.append(replay_trace(parameters, path).total_cycles)
    return (cycles[1] - cycles[0]) / PACKETS


@pytest.mark.parametrize("packet_flits", [1, 2, 4])
@pytest.mark.parametrize(("depth", "latency"), [(1, 1), (2, 1), (3, 1), (4, 1), (8, 1), (2, 3), (4, 3), (8, 3), (16, 3)])
def test_packets_follow_each_other_as_credits_come_back(depth, latency, packet_flits, tmp_path):
    router = RouterParameters(routing_delay=0, speculative=True)
    parameters = NocParameters(columns=4, rows=2, buffer_depth=depth, link_latency=latency, router=router)
    assert simulated_period(parameters, packet_flits, tmp_path) == pytest.approx(packet_period_cycles(parameters, packet_flits), rel=0.02)


@pytest.mark.parametrize("packet_flits", [1, 2, 4])
@pytest.mark.parametrize("delays", [(0, 1, 1, False), (1, 1, 1, False), (0, 2, 1, False), (0, 1, 2, True)])
def test_a_head_waits_for_the_packet_before(delays, packet_flits, tmp_path):
    parameters = NocParameters(columns=4, rows=2, router=RouterParameters(*delays))
    assert simulated_period(parameters, packet_flits, tmp_path) == pytest.approx(packet_period_cycles(parameters, packet_flits), rel=0.02)


def test_a_burst_holds_its_slot_while_the_dram_answers_and_its_words_go_one_by_one():
    machine = etasim.load_architecture("eta_small", {"dma.outstanding_bursts": 2, "buffers.error.read_latency": 5})
    burst, word = machine.dram.part.organisation.burst_bytes, machine.buffers.word_size_bytes
    loads, _, errors, stores = dma_cycles_per_byte(machine, access_cycles=20.0)
    n_words = burst // word
    assert loads * burst == (n_words * (1 + machine.buffers.activation.read_latency) + 3 + 20) / 2
    assert errors * burst == (n_words * 6 + 3 + 20) / 2
    assert stores * burst == (n_words * 6 + 3) / 2


def test_a_dma_engine_leaves_out_the_words_that_nobody_wants():
    """Planes of one word in bursts of four: 48 bursts, a word a cycle."""
    array = array_of(etasim.load_architecture("eta_small", {"dma.outstanding_bursts": 512, "dram.ideal": True}))
    cycles_per_byte = array.rates.engine_cycles_per_byte[2]
    assert paced_bytes(array, 2, 48 * 64.0, 48.0) * cycles_per_byte == pytest.approx(48)
    assert paced_bytes(array, 2, 48 * 64.0, 96.0) * cycles_per_byte == pytest.approx(96)
    assert paced_bytes(array, 2, 48 * 64.0, 192.0) == 48 * 64
    whole = array_of(etasim.load_architecture("eta_vc709"))
    assert paced_bytes(whole, 2, 48 * 64.0, 48 * (1 - 1e-12)) == 48 * 64, "shares of a tensor are not exact, and a burst is a word here"


@pytest.mark.parametrize("batch", [1, 2, 3, 8])
def test_the_estimate_of_maps_smaller_than_a_burst(batch):
    """It was up to 10 % too slow while it had the engines take whole bursts."""
    network, machine = etasim.load_network("digits_cnn"), etasim.load_architecture("eta_small")
    takes, estimated = (etasim.simulate(machine, network, batch=batch, fidelity=name).total_cycles for name in ("cycle", "analytical"))
    assert estimated == pytest.approx(takes, rel=0.06)


def test_slots_enough_leave_a_word_a_cycle():
    machine = etasim.load_architecture("eta_small", {"dma.outstanding_bursts": 512})
    assert dma_cycles_per_byte(machine, access_cycles=20.0)[0] * machine.buffers.word_size_bytes == 1


def test_a_feeder_waits_for_a_slow_buffer():
    machine = etasim.load_architecture("eta_small", {"buffers.activation.read_latency": 46, "noc.link_width": "512 bit"})
    assert packet_cycles(machine)[0] == 48 / 16


CHANGES = {"noc.buffer_depth": 2, "noc.link_latency": 6, "dma.outstanding_bursts": 2, "noc.link_width": "32 bit"}


@pytest.mark.parametrize("key", CHANGES)
def test_an_estimate_feels_what_slows_the_machine(key):
    """digits_cnn at a batch of 4: the estimate lay 34 to 57 % below the machine while it did not know these keys."""
    network = etasim.load_network("digits_cnn")
    cycles = []
    for overrides in ({}, {key: CHANGES[key]}):
        machine = etasim.load_architecture("eta_small", overrides)
        cycles.append([etasim.simulate(machine, network, batch=4, fidelity=name).total_cycles for name in ("cycle", "analytical")])
    (before, guess_before), (after, guess_after) = cycles
    assert after > (1.1 if key == "dma.outstanding_bursts" else 1.15) * before  # two slots cost 13 % since plans hide loads better
    assert guess_after / guess_before == pytest.approx(after / before, rel=0.15)
    assert guess_after == pytest.approx(after, rel=0.2)


@pytest.mark.parametrize("split", [1, 2, 4])
@pytest.mark.parametrize("depth", [2, 4, 8, 16])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("words", [(64, 64), (96, 24), (24, 96)])
def test_two_feeds_meet_on_the_way_to_a_cluster(words, channels, depth, split, tmp_path):
    """Words for each row of clusters and for each column of them, along the ways of eta_vc709."""
    machine = etasim.load_architecture("eta_vc709", {"noc.buffer_depth": depth, "noc.virtual_channels": channels})
    array, place, path = array_of(machine), machine.noc.placement, tmp_path / "feeds.csv"
    (stream, stationary), columns, flits = words, len(place.clusters) // split, array.numbers.packet_flits
    ways = [(place.activation, place.clusters[column::columns], stream, flits[0]) for column in range(columns)]
    ways += [(place.weight, place.clusters[row * columns :][:columns], stationary, flits[1]) for row in range(split)]
    lines = [f"0,{source},{' '.join(map(str, to))},{n_flits}\n" * n_words for source, to, n_words, n_flits in ways]
    path.write_text("cycle,source,destinations,flits\n" + "".join(lines))
    planned = fed_cycles(array.numbers, links_of(array, split, 1), columns, split, float(stream), float(stationary))
    assert replay_trace(machine.noc, path).total_cycles == pytest.approx(planned, rel=0.05, abs=20)


def test_two_flows_on_a_link_take_turns_until_one_is_through():
    assert meeting_cycles(64.0, 1.0, 64.0, 1.0, 1.0) == 128, "each has every other cycle"
    assert meeting_cycles(64.0, 1.0, 192.0, 2.0, 1.0) == 384, "the slow one is not held up"
    assert meeting_cycles(150.0, 1.0, 150.0, 1.0, 1.0) == 300
    assert meeting_cycles(10.0, 4.0, 5.0, 4.0, 1.0) == 40, "nor is either where both are slow"
    assert meeting_cycles(300.0, 1.0, 100.0, 2.0, 1.0) == 400, "what the slow one leaves, and then all"
    assert meeting_cycles(64.0, 1.5, 64.0, 1.5, 1.5) == 192, "one virtual channel for both"
