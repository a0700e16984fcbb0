"""The network against BookSim 2: exact, random traffic included, because the random numbers are the reference's.

`etasim validate noc` runs every row; here are all of the batches and a sample of the rest.
"""

import csv

import pytest
from command_line import invoke

from etasim.config.catalog import shipped_folder
from etasim.noc import replay
from etasim.noc.validate import rows, zero_load_rows


def _points(tmp_path, keep):
    """A references folder with the lines of ``sweep.csv`` for which ``keep(line number, line)`` holds; returns its rows."""
    with (shipped_folder("references") / "noc/sweep.csv").open(newline="") as lines:
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


def test_batches_drain_in_the_same_cycle(tmp_path):
    compared = _points(tmp_path, lambda _, line: line["mode"] == "batch")
    assert len(compared) == 48
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


def test_a_sample_of_open_loop_traffic_agrees_in_every_digit_that_the_reference_prints(tmp_path):
    compared = _points(tmp_path, lambda index, line: line["mode"] != "batch" and index % 12 == 5)
    assert len(compared) > 60
    assert {row["bar_percent"] for row in compared} == {0.0, 2.0, 3.0}
    assert [row["name"] for row in compared if row["error_percent"]] == []


def test_saturation_begins_on_the_rate_of_the_reference(tmp_path):
    kept = {"vcs": "2", "buf": "4", "pkt": "4", "traffic": "neighbor", "mode": "latency"}
    compared = _points(tmp_path, lambda _, line: all(line[key] == value for key, value in kept.items()) and float(line["rate"]) > 0.7)
    assert [row["ours"] for row in compared if row["name"].endswith("first unstable rate")] == [0.9]
    assert [row["name"] for row in compared if row["error_percent"]] == []


def test_references_with_router_parameters_and_a_seed_of_their_own_are_run_as_they_say(tmp_path):
    header = "k,vcs,buf,pkt,traffic,mode,rate,status,avg_plat,avg_acc_flit,cycles,seed,routing_delay,speculative"
    (tmp_path / "sweep.csv").write_text(f"{header}\n8,2,4,1,uniform,latency,0.1,ok,20,0.1,,7,0,1\n")
    row = next(row for row in rows(tmp_path) if "latency at" in row["name"])
    assert row["name"] == "8x8 2 VC x 4, routing_delay 0, speculative 1, 1-flit uniform, latency at 0.1"
    parameters = {"k": 8, "num_vcs": 2, "vc_buf_size": 4, "routing_delay": 0, "speculative": 1}
    assert row["ours"] == pytest.approx(replay(parameters, "uniform", 0.1, 1, 7).average_packet_latency_cycles, rel=1e-5)


HEADER = "k,vcs,buf,pkt,traffic,mode,rate,status,avg_plat,avg_acc_flit,cycles"
BATCH = "4,2,8,1,transpose,batch,1.0,ok,,,2283"
OPEN_LOOP = "4,2,8,1,uniform,latency,0.1,ok,19.7,0.1,"


def _validate(tmp_path, *lines, encoding="utf-8"):
    """The command with a references folder whose ``sweep.csv`` has ``lines`` (none: there is no such file)."""
    (tmp_path / "noc").mkdir()
    if lines:
        (tmp_path / "noc" / "sweep.csv").write_text("\n".join(lines), encoding=encoding)
    return invoke("validate", "noc", "--references", str(tmp_path))


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ((), "there is no file sweep.csv"),
        (("k,vcs,buf", "4,2,8"), "sweep.csv:1: has no column pkt, traffic, mode, rate"),
        ((HEADER,), "sweep.csv:1: has no runs"),
        ((HEADER, BATCH, "x" + BATCH[1:]), "sweep.csv:3: k: must be a whole number, got 'x'"),
        ((HEADER, BATCH.replace("4,2,8", "4,0,8")), "sweep.csv:2: vcs: must be at least 1, got 0"),
        ((HEADER, BATCH.replace("4,2,8", "4,2,0")), "sweep.csv:2: buf: must be at least 1, got 0"),
        ((HEADER, BATCH.replace("4,2,8", "4,13,8")), "sweep.csv:2: noc.virtual_channels: 5 ports times 13 VCs exceed"),
        ((HEADER, BATCH.replace("transpose", "corner")), "sweep.csv:2: traffic: unknown 'corner', allowed: corners, hotspot"),
        ((HEADER, BATCH.replace("batch", "guess")), "sweep.csv:2: mode: unknown 'guess', allowed: batch, latency, throughput"),
        ((HEADER, BATCH.replace("2283", "")), "sweep.csv:2: cycles: is empty"),
        ((HEADER, OPEN_LOOP.replace("0.1,ok", "0,ok")), "sweep.csv:2: rate: must be greater than 0"),
        ((HEADER, OPEN_LOOP.replace("0.1,ok", "2,ok")), "sweep.csv:2: rate: must lie in 0..1"),
        ((HEADER, OPEN_LOOP.replace("19.7", "nan")), "sweep.csv:2: avg_plat: must be at least 0, got nan"),
        ((HEADER, OPEN_LOOP.replace("ok", "fine")), "sweep.csv:2: status: unknown 'fine'"),
        ((HEADER + ",seed", BATCH + ",one"), "sweep.csv:2: seed: must be a whole number, got 'one'"),
        ((HEADER, "4,2,8"), "sweep.csv:2: pkt: is empty"),
    ],
)
def test_damaged_references_are_refused_by_line_and_column(tmp_path, lines, message):
    result = _validate(tmp_path, *lines)
    assert result.exit_code == 2
    assert message in result.output


def test_references_that_are_no_text_are_refused(tmp_path):
    result = _validate(tmp_path, HEADER, "\xe9", encoding="latin-1")
    assert result.exit_code == 2
    assert "is no comma-separated text" in result.output


def test_a_few_runs_are_enough_and_a_missed_bar_is_no_bad_input(tmp_path):
    assert _validate(tmp_path, HEADER, BATCH, OPEN_LOOP.replace(",0.1,", ",0.1,", 1), encoding="utf-8-sig").exit_code == 0
    (tmp_path / "other").mkdir()
    missed = _validate(tmp_path / "other", HEADER, BATCH.replace("2283", "2284"))
    assert missed.exit_code == 1
    assert "56 passed, 1 failed" in missed.output
