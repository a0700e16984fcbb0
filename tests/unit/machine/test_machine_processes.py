"""The same inputs give the same bytes in every process, with the JIT on and off."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from small_networks import TINY

import etasim
from etasim.workload import dump_network

FILES = ("results.json", "layers.csv", "run.yaml")


def run_command(arguments, **environment):
    """The command line in a process of its own."""
    source = str(Path(etasim.__file__).resolve().parents[1])
    command = [sys.executable, "-W", "error", "-c", "from etasim.cli import main; main()", *map(str, arguments)]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": source, **environment}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def written(folder):
    return {name: (folder / name).read_bytes() for name in FILES}


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """The trace, and the files of a run with the JIT as it is."""
    folder = tmp_path_factory.mktemp("run")
    trace = folder / "tiny.yaml"
    trace.write_text(dump_network(TINY))
    run_command(["run", "eta_small", trace, "--batch", 2, "--out", folder / "first"], PYTHONHASHSEED="1")
    return trace, written(folder / "first")


def test_another_process_writes_the_same_bytes(first, tmp_path):
    run_command(["run", "eta_small", first[0], "--batch", 2, "--out", tmp_path / "again"], PYTHONHASHSEED="2")
    assert written(tmp_path / "again") == first[1]


def test_plain_python_writes_the_same_bytes_as_machine_code(first, tmp_path):
    other = "0" if os.environ.get("NUMBA_DISABLE_JIT") == "1" else "1"
    run_command(["run", "eta_small", first[0], "--batch", 2, "--out", tmp_path / "plain"], NUMBA_DISABLE_JIT=other)
    assert written(tmp_path / "plain") == first[1]
