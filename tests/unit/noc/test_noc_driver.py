"""Synthetic traffic and its measurement: patterns, parameters under both vocabularies, reproducibility, bad input."""

from pathlib import Path

import numpy as np
import pytest

from etasim.core.channel import NEVER
from etasim.noc import NocError, NocParameters, replay
from etasim.noc import columns as col
from etasim.noc.parameters import RouterParameters, parameters_from
from etasim.noc.spec import init
from etasim.noc.traffic import PATTERNS


def test_patterns_send_where_their_names_say():
    assert PATTERNS["transpose"](4, 4)[1] == [4]
    assert PATTERNS["neighbor"](4, 4)[15] == [0]
    assert [PATTERNS["corners"](k, k)[9] for k in (4, 8)] == [[0, 3, 12, 15], [0, 7, 56, 63]]
    assert sorted(PATTERNS["uniform"](3, 2)[0]) == [0, 1, 2, 3, 4, 5]
    assert [PATTERNS["hotspot"](k, k)[0].count(node) for k, node in ((4, 10), (8, 36))] == [5, 17]


def test_both_vocabularies_name_the_same_network():
    ours = {"columns": 8, "rows": 8, "virtual_channels": 4, "buffer_depth": 4, "router": {"routing_delay": 0, "speculative": True}}
    theirs = {"k": 8, "num_vcs": 4, "vc_buf_size": 4, "routing_delay": 0, "speculative": 1, "topology": "mesh"}
    expected = NocParameters(8, 8, 4, 4, RouterParameters(routing_delay=0, speculative=True))
    assert parameters_from(ours) == parameters_from(theirs) == parameters_from(expected) == expected


def test_a_whole_file_of_booksim_names_a_network():
    file = Path(__file__).parents[2] / "validation" / "data" / "noc" / "base_parameters.txt"
    lines = [line.rstrip(";").split(" = ") for line in file.read_text().splitlines() if line]
    keys = {key: value if value[0].isalpha() else float(value) if "." in value else int(value) for key, value in lines}
    assert parameters_from(keys) == NocParameters()
    with pytest.raises(NocError, match="sample_period = 1000 is not taken from here; say sample_cycles=1000"):
        parameters_from(keys | {"sample_period": 1000})


@pytest.mark.parametrize(
    ("parameters", "arguments", "message"),
    [
        ({"virtual_chanels": 2}, {}, "noc: unknown 'virtual_chanels', known are"),
        ({"router": {"routing": 1}}, {}, r"noc\.router: unknown 'routing'"),
        ({"k": 4, "wait_for_tail_credit": 1}, {}, "wait_for_tail_credit = 1 is not modelled"),
        ({"columns": 4, "rows": 2}, {"traffic": "transpose"}, "needs a square network"),
        ({}, {"traffic": "rumours"}, "traffic: unknown 'rumours', known are"),
        ({}, {"rate": 1.5}, r"rate: must lie in 0\.\.1"),
        ({}, {"rate": float("nan")}, r"rate: must lie in 0\.\.1"),
        ({}, {"rate": "fast"}, r"rate: must lie in 0\.\.1"),
        ({}, {"packet_flits": 1.5}, r"packet_flits: must be a whole number, got 1\.5"),
        ({}, {"seed": -1}, "seed: must be at least 0"),
        ({}, {"traffic": None}, "traffic: unknown None"),
        ({}, {"mode": "batch", "batch_packets": 0}, "batch_packets: must be at least 1"),
        ({}, {"sample_cycles": 0}, "sample_cycles: must be at least 1"),
        ({}, {"max_periods": 3}, "max_periods: must be at least 4"),
        ({"num_vcs": 0}, {}, r"noc\.virtual_channels: must be at least 1"),
        ({"num_vcs": 2.5}, {}, r"noc\.virtual_channels: must be a whole number"),
        ({"virtual_channels": 100}, {}, "exceed the 62 input VCs"),
        ({"router": 3}, {}, r"noc\.router: must have the keys routing_delay"),
        (None, {}, "noc: must have the keys"),
        ({}, {"packet_flits": 0}, "packet_flits: must be at least 1"),
        ({}, {"mode": "guess"}, "mode: unknown 'guess'"),
        ({}, {"latency_limit_cycles": float("nan")}, "latency_limit_cycles: must be a positive number of cycles"),
        ({}, {"latency_limit_cycles": float("inf")}, "latency_limit_cycles: must be a positive number of cycles"),
        ({}, {"replications": 0}, "replications: must be at least 1"),
        ({"topology": "torus", "virtual_channels": 1}, {}, "a torus needs two VCs"),
    ],
)
def test_what_cannot_be_run_is_refused(parameters, arguments, message):
    with pytest.raises(NocError, match=message):
        replay(parameters, **arguments)


def test_offered_load_is_the_rate_and_the_seed_decides_everything_else():
    first, again, other = (replay(NocParameters(), "uniform", 0.3, 2, seed, replications=2) for seed in (1, 1, 2))
    assert first.accepted_flits_per_node_per_cycle == pytest.approx(0.3, rel=0.02)
    assert first.average_packet_latency_cycles == again.average_packet_latency_cycles
    assert first.average_packet_latency_cycles != other.average_packet_latency_cycles
    assert np.array_equal(first.histogram, again.histogram)
    assert first.histogram.sum() > 5000
    assert first.average_hops == pytest.approx(3.5, rel=0.02)


def test_a_torus_is_faster_than_a_mesh_and_a_crossbar_than_both():
    latency = {
        name: replay(NocParameters(topology=name), "uniform", 0.1, replications=1).average_packet_latency_cycles
        for name in ("mesh", "torus", "crossbar")
    }
    assert latency["crossbar"] < latency["torus"] < latency["mesh"]


def test_no_traffic_is_no_failure():
    result = replay({}, "uniform", 0.0)
    assert (result.status, result.accepted_flits_per_node_per_cycle) == ("ok", 0)
    assert result.average_packet_latency_cycles is None


@pytest.mark.parametrize("mode", ["latency", "batch"])
def test_a_network_in_which_nothing_moves_is_unstable(monkeypatch, mode):
    def without_credits(spec):
        state = init(spec)
        state.slots[:, :, col.FREE] = NEVER
        return state

    monkeypatch.setattr("etasim.noc.driver.init", without_credits)
    result = replay({}, "uniform", 0.1, mode=mode, latency_limit_cycles=1e9)
    assert result.status == "unstable"
    assert result.total_cycles < 100_000
