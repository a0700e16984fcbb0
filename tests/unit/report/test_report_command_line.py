"""What `etasim` does with the places that it is told to write to, in processes of their own where streams and users matter."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from command_line import invoke

import etasim
from etasim.report import store
from etasim.report.reading import read_results
from etasim.report.staging import reserved_folder

TRACE = """\
name: tiny
input: {channels: 3, height: 8, width: 8}
classes: 10
layers:
  - {name: conv1, op: conv, out_channels: 8, kernel: 3, padding: 1}
  - {name: norm1, op: norm}
  - {name: relu1, op: relu}
  - {name: fc, op: linear, out_channels: 10}
"""
SET = ["layers.csv", "results.json", "run.yaml", "run_info.json"]


@pytest.fixture
def run(tmp_path, monkeypatch):
    """An estimate of a small network, in an empty folder: exit status and the lines of the refusal."""
    monkeypatch.chdir(tmp_path)
    Path("net.yaml").write_text(TRACE)

    def run(*arguments, arch="eta_small", trace="net.yaml", out="out"):
        result = invoke("run", arch, *([trace] if trace else []), "--fidelity", "analytical", "--out", out, *arguments)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result.exit_code, result.stderr.splitlines()

    return run


def files(folder="out"):
    return sorted(os.listdir(folder))


def test_a_result_replaces_a_result_and_leaves_other_files(run):
    assert run()[0] == 0
    kept = ["notes.txt", "photo.png", "page.html"]
    for name in (*kept, "bandwidth.png", "bandwidth.csv", "energy.svg"):
        Path("out", name).write_text("mine")
    before = {name: Path("out", name).read_bytes() for name in files()}
    assert run("--batch", "3") == (
        2, ["out: --out: holds results.json of an earlier run; choose another --out, or let it go with --force"]
    )  # fmt: skip
    assert {name: Path("out", name).read_bytes() for name in files()} == before
    assert run("--batch", "3", "--force")[0] == 0
    assert files() == sorted([*SET, *kept])
    assert "batch: 3" in Path("out/run.yaml").read_text()


def test_values_of_an_earlier_run_stay_until_they_are_allowed_to_go(run):
    run()
    np.savez("out/state.npz", weight=np.ones(3))
    Path("out/training.csv").write_text("iteration\n")
    before = {name: Path("out", name).read_bytes() for name in files()}
    status, lines = run("--batch", "3")
    assert (status, len(lines)) == (2, 1)
    assert lines[0].startswith("out: --out: holds results.json, training.csv, state.npz of an earlier run")
    assert "--force" in lines[0]
    assert {name: Path("out", name).read_bytes() for name in files()} == before
    assert run("--batch", "3", "--overwrite")[0] == 0
    assert files() == SET


@pytest.mark.parametrize("option", ["--listing", "--timeline"])
def test_an_input_is_not_written_over(run, option):
    os.link("net.yaml", "alias.yaml")
    base = Path(etasim.__file__).parents[1] / "configs/eta_small.yaml"
    Path("base.yaml").write_text(base.read_text())
    Path("arch.yaml").write_text("extends: base.yaml\n")
    fidelity = ["--fidelity", "cycle"]
    for name in ("net.yaml", "alias.yaml", "base.yaml", "arch.yaml"):
        before = Path(name).read_bytes()
        status, lines = run(*fidelity, option, name, arch="arch.yaml")
        assert (status, lines) == (2, [f"{name}: {option}: would be overwritten, but the command reads it; choose another place"])
        assert Path(name).read_bytes() == before
    assert not Path("out").exists()


def test_a_run_is_not_repeated_over_its_own_record(run):
    run()
    before = Path("out/run.yaml").read_bytes()
    status, lines = run("--batch", "5", arch="out/run.yaml", trace=None)
    assert (status, len(lines)) == (2, 1)
    assert lines[0].startswith("out/run.yaml: --out: would be overwritten, but the command reads it")
    assert Path("out/run.yaml").read_bytes() == before


def test_a_target_that_is_a_folder_is_refused_before_the_simulation(run):
    Path("out/layers.csv").mkdir(parents=True)
    Path("out/results.json").write_text("old")
    assert run() == (2, ["out/layers.csv: --out: is a folder; a file is to be written there"])
    assert files() == ["layers.csv", "results.json"]
    assert Path("out/results.json").read_text() == "old"


def test_two_runs_do_not_share_a_folder(run, tmp_path):
    with reserved_folder(tmp_path / "out"):
        status, lines = run()
    assert status == 2
    assert lines == ["out: --out: another etasim is writing into it; wait for its end, or choose another folder"]
    assert run()[0] == 0


def test_a_failure_while_writing_leaves_the_old_result(run, monkeypatch):
    run()
    before = {name: Path("out", name).read_bytes() for name in files()}

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store, "run_yaml", full)
    status, lines = run("--batch", "3", "--force", "--listing", "program.txt")
    assert (status, len(lines)) == (2, 1)
    assert "No space left on device" in lines[0]
    assert {name: Path("out", name).read_bytes() for name in files()} == before
    assert not Path("program.txt").exists()


def process(arguments, folder, stdout=subprocess.PIPE, prepare=None, **environment):
    """`etasim` as a shell starts it."""
    source = str(Path(etasim.__file__).resolve().parents[1])
    environment = {**os.environ, "PYTHONPATH": source, **environment}
    command = [sys.executable, "-m", "etasim", *map(str, arguments)]
    return subprocess.run(
        command, cwd=folder, env={k: v for k, v in environment.items() if v}, stdout=stdout, stderr=subprocess.PIPE, text=True,
        errors="replace", preexec_fn=prepare,
    )  # fmt: skip


ESTIMATE = ("run", "eta_small", "net.yaml", "--fidelity", "analytical", "--out", "out")


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "net.yaml").write_text(TRACE)
    return tmp_path


def test_a_disk_that_is_full_leaves_nothing(folder):
    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))  # noqa: E731
    done = process(ESTIMATE, folder, prepare=limit)
    assert done.returncode == 2
    assert done.stderr == "out: File too large; finished results are kept, nothing is half-written\n"
    assert os.listdir(folder) == ["net.yaml"]


def test_closed_streams_keep_the_result(folder):
    def close():
        os.close(1)
        os.close(2)

    done = process(ESTIMATE, folder, stdout=None, prepare=close)
    assert done.returncode == 0
    assert files(folder / "out") == SET
    assert read_results(folder / "out").network == "tiny"


def test_a_reader_that_leaves_is_no_failure(folder):
    reading, writing = os.pipe()
    os.close(reading)
    done = process(ESTIMATE, folder, stdout=writing)
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, "")
    assert files(folder / "out") == SET


def test_a_terminal_that_knows_no_unicode_and_a_home_that_is_not_known(folder):
    (folder / "net.yaml").rename(folder / "nét.yaml")
    arguments = [argument.replace("net", "nét") for argument in ESTIMATE]
    done = process([*arguments[:-1], "öut"], folder, PYTHONIOENCODING="ascii:strict", HOME=None, XDG_CACHE_HOME=None)
    assert (done.returncode, done.stderr) == (0, "")
    assert "results in " in done.stdout
    assert files(folder / "öut") == SET


@pytest.mark.parametrize("command", [
    ("run", "eta_small", "digits_cnn", "--out", ""), ("sweep", "pe_array.yaml", "--out", ""), ("report", ""), ("plot", "", "stalls"),
    ("run", "eta_small", "digits_cnn", "--out", "out", "--listing", ""),
])  # fmt: skip
def test_an_empty_name_is_no_folder_at_hand(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refused = invoke(*command)
    assert refused.exit_code == 2
    assert "is empty, a file or folder is expected" in refused.stderr
    assert not list(tmp_path.iterdir())
