"""The network against BookSim 2: exact where the reference is deterministic, within the bars where it is random.

`etasim validate noc` runs every row; here is everything that is exact and a sample of the rest.
"""

import csv

import pytest

from etasim.noc import NocError, replay
from etasim.noc.validate import REFERENCES, rows, zero_load_rows


def _points(tmp_path, keep):
    """A references folder with the lines of ``sweep.csv`` for which ``keep(line number, line)`` holds; returns its rows."""
    with (REFERENCES / "sweep.csv").open(newline="") as lines:
        reader = csv.DictReader(lines)
        kept = [line for index, line in enumerate(reader) if keep(index, line)]
    with (tmp_path / "sweep.csv").open("w", newline="") as output:
        writer = csv.DictWriter(output, reader.fieldnames)
        writer.writeheader()
        writer.writerows(kept)
    return [row for row in rows(tmp_path) if not row["name"].startswith("zero load")]


def _failures(compared):
    return [f"{row['name']}: {row['ours']:.5g}, reference {row['reference']:.5g}" for row in compared if not row["pass"]]


def test_zero_load_latency_is_exact():
    compared = list(zero_load_rows())
    assert len(compared) == 56
    assert all(row["bar_percent"] == 0 for row in compared)
    assert _failures(compared) == []


def test_batches_without_random_destinations_drain_in_the_same_cycle(tmp_path):
    compared = _points(tmp_path, lambda _, line: line["mode"] == "batch")
    assert len(compared) == 24
    assert all(row["bar_percent"] == 0 for row in compared)
    assert _failures(compared) == []


@pytest.mark.parametrize(("vcs", "accepted"), [(1, 1 / 3), (2, 2 / 3), (4, 1.0)])
def test_neighbor_throughput_is_what_the_pipeline_allows(vcs, accepted):
    result = replay({"num_vcs": vcs, "vc_buf_size": 8}, "neighbor", 1.0, mode="throughput", replications=1)
    assert result.accepted_flits_per_node_per_cycle == pytest.approx(accepted, abs=1e-12)


@pytest.mark.parametrize(("depth", "accepted"), [(4, 1 / 2), (8, 2 / 3)])
def test_throughput_of_long_packets_is_what_the_credits_allow(depth, accepted):
    result = replay({"num_vcs": 1, "vc_buf_size": depth}, "neighbor", 1.0, 4, mode="throughput", replications=1)
    assert result.accepted_flits_per_node_per_cycle == pytest.approx(accepted, abs=1e-12)


def test_a_sample_of_random_traffic_is_within_its_bar(tmp_path):
    compared = _points(tmp_path, lambda index, line: line["mode"] != "batch" and index % 12 == 5)
    assert len(compared) > 15
    assert {row["bar_percent"] for row in compared} == {2.0, 3.0}
    assert _failures(compared) == []


def test_an_overloaded_network_is_called_unstable_on_the_rate_of_the_reference():
    with (REFERENCES / "saturation.csv").open(newline="") as lines:
        lines = [line for line in csv.DictReader(lines) if line["vcs"] == "2" and line["traffic"] == "uniform"]
    assert len(lines) == 4
    for line in lines:
        router = {"num_vcs": 2, "vc_buf_size": int(line["buf"])}
        result = replay(router, "uniform", float(line["first_unstable_rate"]), int(line["pkt"]))
        assert result.status == "unstable"
        assert replay(router, "uniform", float(line["max_rate_lat_below_3x"]), int(line["pkt"])).status == "ok"


def test_missing_references_are_named(tmp_path):
    with pytest.raises(NocError, match=r"sweep\.csv is not in"):
        rows(tmp_path)
