"""One table of accuracy and machine: `etasim compare-schemes --arch`."""

import csv
import json

import pytest
from click.testing import CliRunner

pytest.importorskip("torch")

from etasim import load_architecture, load_network, simulate
from etasim.cli import main
from etasim.report.board import board_rows
from etasim.report.metrics import summary
from etasim.training.formats import FORMATS, PICTURE, format_rows, format_table
from etasim.training.machine_scheme import with_scheme

GRID = (
    "compare-schemes", "--schemes", "fp32,pint8,mxint8", "--seeds", "0", "--epochs", "1", "--train-samples", "64", "--test-samples", "32",
)  # fmt: skip
ON = ("--arch", "eta_vc709", "--machine-network", "digits_cnn")


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_the_machine_columns_are_those_of_a_run_with_the_scheme(run, tmp_path):
    result = run(*GRID, *ON, "--out", "a", "--json")
    assert result.exit_code == 0, result.output
    rows = {row["scheme"]: row for row in json.loads(result.stdout)["rows"]}
    assert rows["fp32"]["time_ms"] is None
    assert rows["fp32"]["mean_accuracy"] is not None
    for name in ("pint8", "mxint8"):
        machine = load_architecture("eta_vc709", with_scheme(name, ()))
        figures = summary(simulate(machine, load_network("digits_cnn"), batch=32, fidelity="analytical"))
        row, board = rows[name], {each["resource"]: each["used"] for each in board_rows(machine)}
        assert row["dram_mbit"] == pytest.approx(8 * (figures["dram_read_bytes"] + figures["dram_write_bytes"]) / 1e6)
        assert (row["time_ms"], row["energy_mj"]) == (figures["time_ms"], figures["energy_mj"])
        assert (row["dsp"], row["lut"]) == (board["DSP48E1"], board["LUT"])
    assert rows["mxint8"]["dram_mbit"] > rows["pint8"]["dram_mbit"]
    assert (rows["pint8"]["products"], rows["mxint8"]["products"]) == ("two segments", "scaled integers")
    written = list(csv.DictReader((tmp_path / "a" / FORMATS).read_text().splitlines()))
    assert [row["scheme"] for row in written] == ["fp32", "pint8", "mxint8"]
    assert (tmp_path / "a" / PICTURE).stat().st_size > 10_000


def test_what_was_trained_is_what_the_machine_trains_unless_another_is_named(run):
    result = run(*GRID, "--arch", "eta_small", "--arch-set", "core.clock=100 MHz", "--out", "a")
    assert result.exit_code == 0, result.output
    assert "an iteration of resnet8_narrow on eta_small" in " ".join(result.output.split())
    assert max(map(len, result.output.splitlines())) <= 100


def test_a_wrong_machine_is_refused_before_anything_is_trained(run, tmp_path):
    for wrong in (("--arch", "eta_smal"), ("--arch", "eta_small", "--arch-set", "core.clok=1 Hz"), (*ON[:2], "--machine-network", "x")):
        result = run(*GRID, *wrong, "--out", "a")
        assert result.exit_code == 2
        assert not (tmp_path / "a" / "runs").exists()


def cell(name, accuracy, time_ms, energy_mj):
    common = {"norm": "l1_group", "batch": 32, "runs": 1, "failed": 0, "spread_points": 0.25}
    machine = {"dram_mbit": 1234.5, "time_ms": time_ms, "energy_mj": energy_mj, "energy_assumed_percent": 38.2, "dsp": 1144,
               "lut": 334049, "fits_board": 1}  # fmt: skip
    return common | {"scheme": name, "mean_accuracy": accuracy}, {(name, "l1_group", 32): machine}


def test_the_front_has_what_nothing_else_beats():
    given = [cell("a", 0.9, 1.0, 9.0), cell("b", 0.8, 2.0, 9.5), cell("c", 0.95, 3.0, 12.0), cell("d", 0.9, 1.5, 8.0)]
    cells, machines = [each for each, _ in given], {key: row for _, machine in given for key, row in machine.items()}
    unknown = cells[0] | {"scheme": "fp32"}
    rows = format_rows([*cells, unknown], machines)
    assert [row["on_front"] for row in rows] == [1, 0, 1, 1, None]


def test_the_table_fits_100_columns():
    from rich.console import Console

    given = [cell("pint8+error.format=bfp8", 0.9912, 123.456, 1234.56), cell("mxfp8", 0.5, 0.1, 2.0)]
    rows = format_rows([each for each, _ in given], {key: row for _, machine in given for key, row in machine.items()})
    console = Console(width=100)
    with console.capture() as captured:
        console.print(format_table(rows, "eta_vc709", "resnet20_cifar", "analytical"))
    text = captured.get()
    assert max(map(len, text.splitlines())) <= 100
    for word in ("99.12 ± 0.25", "1,234", "123.5", "1,235", "0.100", "2.000", "38 %", "1,144", "334"):
        assert word in text
