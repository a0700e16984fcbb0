"""Packet traces: what is replayed, and what is refused by file and line."""

import pytest

from etasim.core.channel import NEVER
from etasim.noc import NocError, NocParameters, PhysicalNetwork, replay
from etasim.noc import columns as col
from etasim.noc.model import tree_links, zero_load_latency_cycles
from etasim.noc.routing import Route
from etasim.noc.spec import init

HEADER = "cycle,source,destinations,flits\n"


def run(tmp_path, text, **keys):
    path = tmp_path / "packets.csv"
    path.write_text(text)
    return replay(NocParameters(**keys), f"trace:{path}")


def test_one_packet_takes_the_zero_load_latency(tmp_path):
    result = run(tmp_path, HEADER + "100,0,15,4\n")
    expected = zero_load_latency_cycles(NocParameters(), 7, 4)
    assert result.average_packet_latency_cycles == expected
    assert (result.average_hops, result.batch_cycles) == (7, 100 + expected + 1)
    assert result.histogram[expected] == 1
    assert result.links["flits"].sum() == 7 * 4
    assert result.link_utilization.max() == pytest.approx(4 / result.total_cycles)


def test_flits_of_a_trace_are_those_of_the_links_that_carry_them(tmp_path):
    """Whatever the width: four flits of 64 bits on a network of its own take the time and hops of four of the main width."""
    text = HEADER + "100,0,15,4\n0,5,0 3 15,2\n"
    plain, narrow = run(tmp_path, text), run(tmp_path, text, networks=(PhysicalNetwork((0,), 64),))
    assert (narrow.batch_cycles, narrow.links.tolist()) == (plain.batch_cycles, plain.links.tolist())
    assert narrow.accepted_flits_per_node_per_cycle == plain.accepted_flits_per_node_per_cycle


def test_a_line_with_several_destinations_is_a_multicast(tmp_path):
    result = run(tmp_path, HEADER + "0,5,0 3 15,2\n7,1,2,1\n", energy_per_flit_hop_pj=1.5)
    links = len(tree_links(NocParameters(), Route(5, (0, 3, 15), 0)))
    assert result.counters["flit_hops"].sum() == 2 * links + 1
    assert result.energy_pj == 1.5 * (2 * links + 1)
    assert result.histogram.sum() == 4


def test_waiting_at_the_source_counts_from_the_cycle_of_the_line(tmp_path):
    result = run(tmp_path, HEADER + "0,0,1,8\n0,0,1,8\n", virtual_channels=1)
    assert result.maximum_packet_latency_cycles > result.minimum_packet_latency_cycles + 7


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cycle,source\n1,2\n", r"packets\.csv:1: the header must be cycle,source,destinations,flits"),
        (HEADER, r"packets\.csv: has no packets"),
        (HEADER + "0,0,1\n", r"packets\.csv:2: needs 4 columns, has 3"),
        (HEADER + "0,0,1,1\n0,x,1,1\n", r"packets\.csv:3: source: 'x' is not a whole number"),
        (HEADER + "0,16,1,1\n", r"packets\.csv:2: source: must be in 0\.\.15, got '16'"),
        (HEADER + "0,0,1 16,1\n", r"packets\.csv:2: destinations: must be in 0\.\.15"),
        (HEADER + "0,0,,1\n", r"packets\.csv:2: destinations: must be in 0\.\.15, got ''"),
        (HEADER + "0,0,1,0\n", r"packets\.csv:2: flits: must be in 1"),
        (HEADER + "0,0,1,1048577\n", r"packets\.csv:2: flits: must be in 1\.\.1048576"),
        (HEADER + "0,0,1 2,9\n", r"a multicast packet must fit noc\.buffer_depth, 8 flits, and has 9"),
        (HEADER + "0,0,1 1,1\n", "needs one or several different destinations"),
    ],
)
def test_bad_traces_are_refused_with_the_line(tmp_path, text, message):
    with pytest.raises(NocError, match=message):
        run(tmp_path, text)


def test_a_missing_trace_is_named(tmp_path):
    with pytest.raises(NocError, match=r"nowhere\.csv: cannot be read"):
        replay(NocParameters(), f"trace:{tmp_path / 'nowhere.csv'}")


def test_the_cycles_before_an_offer_to_an_empty_network_are_skipped(tmp_path):
    late = (1 << 40) - 2
    result = run(tmp_path, HEADER + f"{late},0,15,4\n3,2,1,1\n{late + 2},5,6,2\n")
    near = run(tmp_path, HEADER + "1000,0,15,4\n3,2,1,1\n1002,5,6,2\n")
    assert result.batch_cycles == near.batch_cycles - 1000 + late
    assert result.average_packet_latency_cycles == near.average_packet_latency_cycles
    assert result.histogram.tolist() == near.histogram.tolist()


def test_a_network_in_which_nothing_moves_is_given_up(tmp_path, monkeypatch):
    def without_credits(spec):
        state = init(spec)
        state.slots[:, :, col.FREE] = NEVER
        return state

    monkeypatch.setattr("etasim.noc.trace.init", without_credits)
    result = run(tmp_path, HEADER + "0,0,15,1000\n")
    assert result.status == "unstable"
    assert result.total_cycles < 1000
