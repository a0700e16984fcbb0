import json
import os
import re
from pathlib import Path

import pytest
from command_line import invoke
from run_results import simulate

import etasim
from etasim import machine
from etasim.explore.evaluate import Evaluation
from etasim.explore.reproduce import NOT_SIMULATED, comparison
from etasim.machine.errors import ConservationError, DeadlockError
from etasim.mapping import InfeasibleError
from etasim.report import validation
from etasim.report.published import FIGURES


@pytest.fixture
def run(monkeypatch, tmp_path):
    """Runs a command line in an empty folder with simulations replaced; returns the click result."""
    monkeypatch.setattr(machine, "simulate_inputs", simulate)
    monkeypatch.setattr(machine, "start_compiling", lambda *_: False)
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    monkeypatch.chdir(tmp_path)
    return invoke


def failing(error):
    def simulate(*_, **__):
        raise error

    return simulate


def test_run_writes_a_result_and_prints_it(run, tmp_path):
    result = run("run", "eta_vc709", "resnet20_cifar", "--batch", 4, "--phases", "wg,ff", "--out", "a/b")
    assert result.exit_code == 0, result.output
    data = json.loads((tmp_path / "a/b/results.json").read_text())
    assert (data["summary"]["batch"], data["summary"]["phases"]) == (4, "ff,wg")
    assert "block1_1_conv1" in result.stdout
    assert "stream stall" in result.stdout
    assert "results in a/b" in result.stdout


def test_the_batch_is_the_architectures_unless_given(run, tmp_path):
    assert run("run", "eta_vc709", "resnet20_cifar", "--out", "a").exit_code == 0
    assert json.loads((tmp_path / "a/results.json").read_text())["summary"]["batch"] == 8


def test_run_yaml_runs_again_to_the_same_bytes(run, tmp_path):
    first = run("run", "eta_vc709", "resnet20_cifar", "--batch", 3, "--set", "core.clock=200 MHz", "--fidelity", "analytical", "--out", "a")
    second = run("run", "a/run.yaml", "--out", "b")
    assert (first.exit_code, second.exit_code) == (0, 0), second.output
    for name in ("results.json", "layers.csv", "run.yaml"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


@pytest.mark.parametrize("name", ["listing", "timeline"])
def test_the_listing_and_the_timeline_are_written(run, tmp_path, name):
    assert run("run", "eta_vc709", "resnet20_cifar", "--out", "a", f"--{name}", "x/file.txt").exit_code == 0
    assert (tmp_path / "x/file.txt").read_text() == f"{name}\n"


def test_bad_inputs_are_all_reported_and_nothing_is_written(run, tmp_path):
    result = run("run", "eta_vc70", "resnet20", "--phases", "ff,pb", "--out", "a")
    assert result.exit_code == 2
    lines = result.stderr.splitlines()
    assert len(lines) == 3
    assert "--phases: unknown phase 'pb'" in lines[0]
    assert "did you mean 'eta_vc709'?" in lines[1]
    assert "did you mean 'resnet20_cifar'?" in lines[2]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("batch", ["0", "-1", "two"])
def test_a_batch_is_a_positive_number(run, batch):
    assert run("run", "eta_vc709", "resnet20_cifar", "--batch", batch, "--out", "a").exit_code == 2


def test_empty_phases_are_refused(run):
    result = run("run", "eta_vc709", "resnet20_cifar", "--phases", "", "--out", "a")
    assert result.exit_code == 2
    assert "is empty" in result.stderr


def test_an_architecture_alone_is_not_enough(run):
    result = run("run", "eta_vc709", "--out", "a")
    assert result.exit_code == 2
    assert result.stderr.startswith("eta_vc709:1: ")


def test_a_damaged_run_yaml_names_its_lines(run, tmp_path):
    assert run("run", "eta_vc709", "resnet20_cifar", "--out", "a").exit_code == 0
    text = (tmp_path / "a/run.yaml").read_text()
    text = (
        text.replace("batch: 8\n", "batch: none\n", 1)
        .replace("fidelity: cycle", "fidelity: exact", 1)
        .replace("clusters: 4", "clusters: 0", 1)
    )
    (tmp_path / "bad.yaml").write_text(text)
    result = run("run", "bad.yaml", "--out", "b")
    assert result.exit_code == 2
    assert "bad.yaml:2: batch: must be a whole number" in result.stderr
    assert "fidelity: unknown name 'exact'" in result.stderr
    assert "architecture.array.clusters: must be at least 1" in result.stderr


def test_out_must_not_be_a_file(run, tmp_path):
    (tmp_path / "file").write_text("mine")
    result = run("run", "eta_vc709", "resnet20_cifar", "--out", "file")
    assert result.exit_code == 2
    assert "is a file" in result.stderr
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (InfeasibleError("a tile of conv1 fits no buffer"), 2),
        (DeadlockError("stuck at cycle 7"), 1),
        (ConservationError("flits injected 8, ejected 7"), 1),
        (KeyboardInterrupt(), 130),
    ],
)
def test_failures_leave_no_result_behind(run, monkeypatch, tmp_path, error, status):
    monkeypatch.setattr(machine, "simulate_inputs", failing(error))
    result = run("run", "eta_vc709", "resnet20_cifar", "--out", "a", "--listing", "x.txt")
    assert result.exit_code == status
    assert str(error) in result.stderr
    assert "Traceback" not in result.output
    assert not list(tmp_path.iterdir())


def test_an_estimate_has_no_timeline(run, tmp_path):
    result = run("run", "eta_small", "resnet20_cifar", "--fidelity", "analytical", "--timeline", "t.json", "--out", "a")
    assert result.exit_code == 2
    assert "--timeline: an estimate runs no command" in result.stderr
    assert not list(tmp_path.iterdir())


def test_a_defect_of_etasim_keeps_its_traceback(run, monkeypatch):
    monkeypatch.setattr(machine, "simulate_inputs", failing(ZeroDivisionError()))
    assert isinstance(run("run", "eta_vc709", "resnet20_cifar", "--out", "a").exception, ZeroDivisionError)


def test_reproduce_puts_published_figures_beside_simulated_ones(run):
    result = run("reproduce", "--json", "--batch", 2)
    assert result.exit_code == 0, result.output
    rows = json.loads(result.stdout)["rows"]
    assert [row["published"] for row in rows][:5] == [610.98, 658.64, 811.24, 3.65, 8.54]
    for row in rows[:3]:
        assert row["error_percent"] == pytest.approx(100 * (row["simulated"] / row["published"] - 1), rel=1e-6)
        assert (row["tolerance_percent"], row["calibrated"], row["batch"]) == (3.0, True, 2)
        assert "10.1109/TNNLS.2022.3145850" in row["source"]


def test_check_fails_when_a_figure_is_missed_and_the_table_says_so(run):
    result = run("reproduce", "--check")
    assert result.exit_code == 1
    assert "MISS" in result.stdout
    assert "validated" not in result.stdout
    assert run("reproduce").exit_code == 0


def test_a_simulation_that_fails_is_a_miss(run, monkeypatch):
    monkeypatch.setattr(machine, "simulate_inputs", failing(InfeasibleError("no room")))
    result = run("reproduce", "--json", "--check")
    assert result.exit_code == 1
    rows = json.loads(result.stdout)["rows"]
    assert {(row["simulated"], row["within_tolerance"], row["reason"]) for row in rows} == {(None, False, "no room")}
    assert "no simulated figure, no room" in run("reproduce").stdout


@pytest.mark.parametrize(("percent", "within"), [(2.99, True), (-2.99, True), (3.01, False), (-3.01, False)])
def test_the_tolerance_is_three_percent_either_way(percent, within):
    figure = FIGURES[0]
    summary = {"throughput_gops": figure.published * (1 + percent / 100)}
    row = comparison(figure, Evaluation("ok", summary=summary), Evaluation("failed", NOT_SIMULATED))
    assert row["within_tolerance"] is within
    assert row["error_percent"] == pytest.approx(percent, abs=1e-6)


@pytest.mark.parametrize("picture", ["bandwidth", "utilization", "stalls", "roofline"])
def test_plot_draws_next_to_the_result(run, tmp_path, picture):
    run("run", "eta_vc709", "resnet20_cifar", "--out", "a")
    result = run("plot", "a", picture)
    assert result.exit_code == 0, result.output
    assert (tmp_path / "a" / f"{picture}.png").exists()


@pytest.mark.parametrize("picture", ["stalls", "pareto"])
def test_plot_needs_a_result(run, picture):
    result = run("plot", "nowhere", picture)
    assert result.exit_code == 2
    assert result.stderr.startswith("nowhere/")


def test_plot_lists_its_pictures(run):
    result = run("plot", "a", "pie")
    assert result.exit_code == 2
    assert "roofline" in result.stderr


def test_explain_defines_a_metric_or_suggests_one(run):
    assert "2 * useful_macs / time" in run("explain", "throughput_gops").stdout
    unknown = run("explain", "throughput")
    assert unknown.exit_code == 2
    assert "did you mean 'throughput_gops'?" in unknown.stderr
    assert "stream_stall_cycles" in run("explain").stdout


def test_list_shows_what_is_shipped(run):
    result = run("list")
    assert result.exit_code == 0, result.output
    for name in ("eta_vc709", "eta_small", "resnet18_imagenet", "937,835,520", "pe_array"):
        assert name in result.stdout


def test_validate_reports_every_row_and_fails_on_a_miss(run, monkeypatch):
    row = {"name": "reads", "ours": 101, "reference": 100, "error_percent": 1.0, "bar_percent": 2.0, "pass": True}
    rows = {"dram": [row], "noc": [row | {"name": "writes", "error_percent": 3.0, "pass": False}]}
    monkeypatch.setattr(validation, "PARTS", {part: (f"rows_of_{part}", "") for part in rows})
    monkeypatch.setattr(
        validation, "import_module", lambda name: type("Module", (), {"rows": staticmethod(lambda _references: rows[name[8:]])})
    )
    assert run("validate", "dram").exit_code == 0
    both = run("validate", "--json")
    assert both.exit_code == 1
    data = json.loads(both.stdout)
    assert (data["passed"], data["failed"], [row["part"] for row in data["rows"]]) == (1, 1, ["dram", "noc"])
    assert "MISS" in run("validate", "noc").stdout


def test_the_version_is_the_packages(run):
    assert run("--version").stdout.strip() == f"etasim, version {etasim.__version__}"


def test_the_version_is_the_newest_of_the_changelog():
    headings = re.findall(r"^## (\S+) \(\d{4}-\d{2}-\d{2}\)$", (Path(__file__).parents[2] / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] == etasim.__version__


def test_compilation_is_announced_where_there_is_no_bar(run, monkeypatch):
    monkeypatch.setattr(machine, "start_compiling", lambda *_: True)
    result = run("run", "eta_vc709", "resnet20_cifar", "--out", "a")
    assert result.stderr.startswith("compiling kernels")
    assert "compiling" not in result.stdout


@pytest.mark.parametrize("part", ["dram", "noc"])
def test_a_check_of_nothing_does_not_pass(run, tmp_path, part):
    missing = run("validate", part, "--references", "nowhere")
    assert missing.exit_code == 2
    assert f"nowhere:1: --references: has no folder '{part}' of reference runs" in missing.stderr
