import csv
import json
import os
import signal

import pytest
from run_results import make_result

from etasim.config import InputError
from etasim.report import staging
from etasim.report.glossary import LAYERS, RUN_INFO, SUMMARY, columns, shown_columns
from etasim.report.inputs import read_inputs
from etasim.report.metrics import layer_rows, summary
from etasim.report.outputs import check_output_folder
from etasim.report.reading import read_results
from etasim.report.run_info import run_info
from etasim.report.staging import staged_file, staged_folder
from etasim.report.store import components, number, write_results

FILES = ["layers.csv", "results.json", "run.yaml", "run_info.json"]


@pytest.fixture(scope="module")
def result():
    return make_result("resnet20_cifar", architecture="eta_vc709", batch=3, phases=("ff", "wg"))


@pytest.fixture
def stored(result, tmp_path):
    folder = tmp_path / "results"
    write_results(result, folder, run_info(result, 2.0))
    return folder


def test_the_four_files_and_nothing_else_appear(stored):
    assert sorted(os.listdir(stored)) == FILES
    assert os.listdir(stored.parent) == ["results"]


def test_results_json_has_the_promised_keys(stored, result):
    data = json.loads((stored / "results.json").read_text())
    assert data["schema_version"] == 1
    assert (data["architecture"], data["network"], data["fidelity"]) == ("eta_vc709", "resnet20_cifar", "cycle")
    assert tuple(data["summary"]) == columns(SUMMARY)
    assert data["summary"] == summary(result)
    assert data["components"] == components(result)


def test_layers_csv_is_tidy(stored, result):
    with (stored / "layers.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == shown_columns(LAYERS, ())
    assert [(row["layer"], row["phase"]) for row in rows] == [(row["layer"], row["phase"]) for row in result.layers]


def test_reading_gives_back_what_was_written(stored, result):
    again = read_results(stored)
    assert again.summary == summary(result)
    assert again.layers == layer_rows(result)


def test_run_yaml_repeats_the_inputs(stored, result):
    again = read_inputs(str(stored / "run.yaml"), None)
    assert again.architecture == result.architecture
    assert again.network == result.network
    assert (again.batch, again.phases, again.fidelity) == (3, ("ff", "wg"), "cycle")


def test_options_win_over_run_yaml(stored):
    again = read_inputs(str(stored / "run.yaml"), None, batch=5, phases=["wu", "ff"], overrides=["core.clock=100 MHz"])
    assert (again.batch, again.phases, again.architecture.core.clock_hz) == (5, ("ff", "wu"), 100_000_000)


def test_equal_results_give_equal_bytes(stored, result, tmp_path):
    write_results(make_result("resnet20_cifar", batch=3, phases=("ff", "wg")), tmp_path / "again", run_info(result, 9.0))
    for name in ("results.json", "layers.csv", "run.yaml"):
        assert (stored / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


def test_run_info_is_about_the_simulator(stored, result):
    info = json.loads((stored / "run_info.json").read_text())
    assert tuple(info)[: len(columns(RUN_INFO))] == columns(RUN_INFO)
    assert info["simulated_cycles_per_second"] == result.total_cycles / 2
    assert info["simulated_macs_per_second"] == summary(result)["useful_macs"] / 2
    assert set(info["versions"]) == {"etasim", "python", "numba", "numpy"}
    assert info["peak_memory_bytes"] > 2**20


def test_an_existing_folder_keeps_its_other_files(stored, result):
    (stored / "notes.txt").write_text("mine")
    (stored / "results.json").write_text("old")
    write_results(result, stored, run_info(result, 2.0), force=True)
    assert (stored / "notes.txt").read_text() == "mine"
    assert read_results(stored).summary == summary(result)
    assert os.listdir(stored.parent) == ["results"]


def stage(folder, content, then=lambda: None):
    with staged_folder(folder) as temporary:
        for name in FILES:
            (temporary / name).write_text(content)
        then()


def fail(error):
    raise error


@pytest.mark.parametrize("failure", [RuntimeError, KeyboardInterrupt])
def test_a_failure_while_writing_leaves_the_old_result(stored, tmp_path, failure):
    before = (stored / "results.json").read_bytes()
    with pytest.raises(failure):
        stage(stored, "half", lambda: fail(failure))
    assert (stored / "results.json").read_bytes() == before
    assert os.listdir(tmp_path) == ["results"]


def test_interrupting_the_renames_delays_the_interrupt(stored, monkeypatch):
    replace = os.replace

    def interrupted_replace(source, target):
        signal.raise_signal(signal.SIGINT)
        replace(source, target)

    monkeypatch.setattr(staging.os, "replace", interrupted_replace)
    with pytest.raises(KeyboardInterrupt):
        stage(stored, "new")
    assert [(stored / name).read_text() for name in FILES] == ["new"] * 4


def test_a_staged_file_appears_whole_or_not_at_all(tmp_path):
    path = tmp_path / "deep" / "listing.txt"

    def write(text, then=lambda: None):
        with staged_file(path) as temporary:
            temporary.write_text(text)
            then()

    with pytest.raises(RuntimeError):
        write("half", lambda: fail(RuntimeError))
    assert os.listdir(tmp_path) == [], "the folder was made for this file alone"
    write("whole")
    assert path.read_text() == "whole"
    assert os.listdir(path.parent) == ["listing.txt"]


@pytest.mark.parametrize("below", ["", "sub", "sub/deeper"])
def test_an_output_folder_below_a_file_is_refused(tmp_path, below):
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(InputError, match="is a file; a folder is expected"):
        check_output_folder(file / below)


def test_an_output_folder_may_exist_or_not(tmp_path):
    check_output_folder(tmp_path)
    check_output_folder(tmp_path / "new" / "newer")


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("results.json", b'{"schema_version": 1,\n "summ', r"results.json:2: damaged"),
        ("results.json", b'{"schema_version": 99}', r"schema_version: is 99"),
        ("results.json", b"[]", r"schema_version: is None"),
        ("results.json", b'{"schema_version": 1, "summary": {}}', r"architecture: is missing"),
        ("results.json", b"\xff\xfe\x00", r"not a text file"),
        ("layers.csv", b"layer,phase\n", r"layers.csv:1: damaged: not the columns"),
        ("layers.csv", b"", r"layers.csv:1: damaged"),
    ],
)
def test_damaged_files_are_named(stored, name, content, expected):
    (stored / name).write_bytes(content)
    with pytest.raises(InputError, match=expected):
        read_results(stored)


def test_a_truncated_table_is_named_with_its_line(stored):
    text = (stored / "layers.csv").read_text()
    (stored / "layers.csv").write_text(text[:-25])
    with pytest.raises(InputError, match=rf"layers.csv:{len(text.splitlines())}: damaged"):
        read_results(stored)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(InputError, match=r"nowhere.results.json:1: cannot be read"):
        read_results(tmp_path / "nowhere")


@pytest.mark.parametrize(("cell", "value"), [("", None), ("12", 12), ("0.25", 0.25), ("1e-05", 1e-5)])
def test_cells_have_types(cell, value):
    assert number(cell) == value
    assert type(number(cell)) is type(value)
