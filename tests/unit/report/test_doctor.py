"""`etasim doctor`: what it says is so, and what etasim needs and lacks is a fault."""

import json
import sys
from importlib.metadata import PackageNotFoundError, version

import pytest
from command_line import invoke

import etasim
from etasim.core.jit import cache_folder
from etasim.core.registry import PluginError
from etasim.report import doctor


def found():
    return json.loads(invoke("doctor", "--no-speed", "--json").stdout)


def test_versions_and_folders_are_those_of_this_process():
    told = found()
    assert told["etasim"]["version"] == etasim.__version__
    assert told["python"]["executable"] == sys.executable
    assert told["machine_code"]["folder"] == (None if cache_folder() is None else str(cache_folder()))
    assert told["speed"] is None
    assert doctor.faults(told) == []


def test_the_extras_are_those_of_the_project():
    pytest.importorskip("pytest_benchmark")
    try:
        version("etasim")
    except PackageNotFoundError:
        pytest.skip("etasim is run from a folder")
    told = found()
    assert {"test", "train", "onnx", "dse", "cluster", "report"} <= told["extras"].keys()
    assert told["extras"]["test"]["pytest-benchmark"] == version("pytest-benchmark")
    assert told["packages"]["numba"] == version("numba")


def test_what_is_missing_is_a_fault_of_what_is_needed_only(monkeypatch):
    monkeypatch.setattr(doctor, "requires", lambda _: ["numpy>=2", "no-such-package>=1", 'none-either; extra == "dse"'])
    result = invoke("doctor", "--no-speed")
    assert (result.exit_code, result.stderr) == (1, "no-such-package is not installed\n")
    assert "none-either missing" in result.stdout


def test_a_package_that_cannot_be_loaded_is_a_fault(monkeypatch):
    def fail():
        raise PluginError("package p: entry point e: broken")

    monkeypatch.setattr(doctor, "load_plugins", fail)
    result = invoke("doctor", "--no-speed")
    assert (result.exit_code, result.stderr) == (1, "package p: entry point e: broken\n")


def test_without_a_folder_for_machine_code_it_says_so(monkeypatch):
    monkeypatch.setattr(doctor.jit, "cache_folder", lambda: None)
    result = invoke("doctor", "--no-speed")
    assert result.exit_code == 0
    assert "NUMBA_CACHE_DIR" in result.stdout


def test_the_yardstick_is_a_simulation(monkeypatch):
    monkeypatch.setattr(doctor, "YARDSTICK", ("eta_small", "digits_cnn", 1))
    speed = doctor.yardstick()
    assert speed["cycles"] > 1000
    assert speed["cycles_per_second"] == pytest.approx(speed["cycles"] / speed["wall_seconds"])
