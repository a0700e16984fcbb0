"""The command line on the real machine, with a network small enough for a test."""

import csv
import json

import pytest
from command_line import invoke

from etasim.workload import load_network

TRACE = """\
name: tiny
input: {channels: 3, height: 8, width: 8}
classes: 10
layers:
  - {name: conv1, op: conv, out_channels: 8, kernel: 3, padding: 1}
  - {name: norm1, op: norm}
  - {name: relu1, op: relu}
  - {name: conv2, op: conv, out_channels: 8, kernel: 3, padding: 1, stride: 2}
  - {name: norm2, op: norm}
  - {name: relu2, op: relu}
  - {name: fc, op: linear, out_channels: 10}
"""

SWEEP = """\
architecture: eta_small
networks: [tiny.yaml]
batch: 1
axes:
  - {name: lanes, key: noc.link_width, values: [64 bit, 128 bit]}
  - {name: buffer, key: buffers.error.size, values: [16 KiB, 128 B]}
"""


def run(*arguments):
    result = invoke(*arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("command_line")
    (folder / "tiny.yaml").write_text(TRACE)
    (folder / "sweep.yaml").write_text(SWEEP)
    run("run", "eta_small", folder / "tiny.yaml", "--batch", 2, "--listing", folder / "program.txt", "--out", folder / "first")
    return folder


def test_the_summary_counts_the_macs_of_the_network(folder):
    summary = json.loads((folder / "first/results.json").read_text())["summary"]
    assert summary["useful_macs"] == load_network(folder / "tiny.yaml").useful_macs(2)
    assert 0 < summary["throughput_gops"] < summary["peak_gops"]
    assert 0 < summary["dram_bandwidth_gb_per_s"] < summary["dram_peak_gb_per_s"]


def test_the_rows_account_for_the_iteration(folder):
    summary = json.loads((folder / "first/results.json").read_text())["summary"]
    with (folder / "first/layers.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert sum(int(row["cycles"]) for row in rows) == summary["total_cycles"]
    assert all(0 <= float(row["utilization"]) <= 1 for row in rows if row["utilization"])
    occupied = ("cluster_busy_cycles", "fill_drain_cycles", "gather_conflict_cycles", "idle_cycles")
    columns = [name for name in rows[0] if name in occupied or name.endswith("_stall_cycles")]
    assert len(columns) == 7
    assert sum(int(row[name]) for row in rows for name in columns) == 2 * summary["total_cycles"]


def test_running_run_yaml_gives_the_same_bytes(folder):
    run("run", folder / "first/run.yaml", "--out", folder / "again")
    for name in ("results.json", "layers.csv", "run.yaml"):
        assert (folder / "first" / name).read_bytes() == (folder / "again" / name).read_bytes()


@pytest.mark.parametrize("picture", ["bandwidth", "utilization", "stalls", "roofline"])
def test_every_picture_is_drawn(folder, picture):
    run("plot", folder / "first", picture, "-o", folder / f"{picture}.png")
    assert (folder / f"{picture}.png").stat().st_size > 5000


def test_the_listing_names_the_commands_of_every_layer(folder):
    text = (folder / "program.txt").read_text()
    assert all(f"{layer}.{phase}" in text for layer, phase in (("conv1", "ff"), ("conv2", "bp"), ("fc", "wg"), ("conv1", "wu")))


def test_worker_processes_find_what_one_process_finds(folder):
    tables = []
    for workers in (1, 2):
        out = folder / f"sweep{workers}"
        run("sweep", folder / "sweep.yaml", "--out", out, "--workers", workers)
        with (out / "points.csv").open(newline="") as file:
            rows = [{name: cell for name, cell in row.items() if name != "wall_seconds"} for row in csv.DictReader(file)]
        tables.append(sorted(rows, key=lambda row: row["point_id"]))
    assert tables[0] == tables[1]
    assert sorted(row["status"] for row in tables[0]) == ["infeasible", "infeasible", "ok", "ok"]
    assert all("buffers.error.size must hold" in row["reason"] for row in tables[0] if row["status"] == "infeasible")


def test_a_machine_that_cannot_run_the_network_is_bad_input(folder):
    arguments = ["run", "eta_small", str(folder / "tiny.yaml"), "--set", "buffers.error.size=128 B", "--out", str(folder / "none")]
    result = invoke(*arguments)
    assert result.exit_code == 2
    assert ": conv2 (wg): fits no tiling: buffers.error.size must hold " in result.stderr
    assert not (folder / "none").exists()
