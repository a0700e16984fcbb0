"""A result in a Python session: what it prints, draws and saves is what the command line writes."""

import html
import json
import pickle
import re
import subprocess
import sys

import matplotlib
import numpy as np
import pytest
from command_line import invoke
from run_results import make_result
from small_networks import TINY, architecture

import etasim
from etasim.core.registry import UnknownNameError
from etasim.report.inputs import inputs_of
from etasim.report.reading import StoredResult
from etasim.report.simulated import Result

SCREEN_LINES, SCREEN_COLUMNS = 30, 110


@pytest.fixture(scope="module")
def result():
    return etasim.simulate(architecture(), TINY, batch=2, series_every=0)


@pytest.fixture(scope="module")
def large():
    return Result.of(make_result("resnet50_imagenet"), 1.0)


def test_a_result_prints_as_a_screen(large):
    lines = repr(large).splitlines()
    assert len(lines) <= SCREEN_LINES
    assert max(map(len, lines)) <= SCREEN_COLUMNS
    assert lines[0] == "resnet50_imagenet on eta_vc709, batch 2, cycle model"
    assert f"{large.total_cycles:,} cycles" in repr(large)


def test_a_notebook_shows_the_same(large):
    assert html.unescape(re.sub(r"<[^>]+>", "", large._repr_html_())) == repr(large)


def test_what_is_saved_is_what_is_shown(result, tmp_path):
    result.save(tmp_path / "out")
    stored = etasim.read(tmp_path / "out")
    assert isinstance(stored, StoredResult)
    assert (repr(stored), stored.summary, stored.rows, stored.energy, stored.board) == (
        repr(result), result.summary, result.rows, result.energy, result.board
    )  # fmt: skip
    with pytest.raises(etasim.InputError, match="--force"):
        result.save(tmp_path / "out")
    result.save(tmp_path / "out", force=True)


def test_arrays_that_a_run_began_with_are_saved_for_its_repetition(tmp_path):
    network, samples = etasim.load_network("digits_cnn"), np.random.default_rng(1).standard_normal((2, 1, 8, 8))
    tensors = {"inputs": samples, "labels": np.array([1, 2])}
    result = etasim.simulate(architecture(), network, batch=2, functional=True, tensors=tensors, seed=4)
    result.save(tmp_path / "out")
    again = invoke("run", tmp_path / "out" / "run.yaml", "--out", tmp_path / "again")
    assert again.exit_code == 0, again.output
    for name in ("results.json", "layers.csv", "training.csv", "state.npz"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "out" / name).read_bytes()
    assert inputs_of(tmp_path / "out").functional.seed == 4


def test_the_counters_and_the_signature_are_those_of_the_simulation(result):
    assert isinstance(result.layers, tuple)
    assert [row.cycles for row in result.rows] == [row.cycles for row in result.layers]
    assert etasim.simulate.__doc__ == etasim.machine.simulate.__doc__
    assert pickle.loads(pickle.dumps(etasim.simulate)) is etasim.simulate


@pytest.mark.parametrize("picture", ["bandwidth", "rooflines", "peaks"])
def test_pictures_need_no_folder(result, picture, tmp_path):
    figure = result.plot(picture, tmp_path / "picture.svg")
    assert figure.get_suptitle()
    assert (tmp_path / "picture.svg").stat().st_size > 10_000
    assert figure._repr_png_().startswith(b"\x89PNG")


def test_an_unknown_picture_is_suggested(result):
    with pytest.raises(UnknownNameError, match="did you mean 'bandwidth'"):
        result.plot("bandwith")


def test_an_unknown_figure_is_suggested(result):
    with pytest.raises(UnknownNameError, match="did you mean 'throughput_gops'"):
        result.summary["throughput_gop"]
    with pytest.raises(KeyError, match="did you mean 'cycles'"):
        result.rows[0]["cycle"]
    assert result.summary.get("throughput_gop") is None


def test_drawing_leaves_the_backend_alone(tmp_path):
    """Even pyplot is not imported, which would choose one."""
    code = (
        "import sys, matplotlib; before = matplotlib.rcParams._get('backend'); import etasim; etasim.read(sys.argv[1]).plot('bandwidth');"
        "assert matplotlib.rcParams._get('backend') is before; assert 'matplotlib.pyplot' not in sys.modules"
    )
    Result.of(make_result("digits_cnn"), 1.0).save(tmp_path / "out")
    subprocess.run([sys.executable, "-c", code, tmp_path / "out"], check=True)


def test_drawing_keeps_settings(result):
    before = dict(matplotlib.rcParams)
    result.plot("stalls")
    assert dict(matplotlib.rcParams) == before


def test_rows_as_a_data_frame(result):
    pytest.importorskip("pandas")
    frame = result.to_pandas()
    assert list(frame.columns) == list(result.rows[0])
    assert frame["cycles"].sum() == result.total_cycles


def test_results_are_compared_wherever_they_are(result, tmp_path):
    result.save(tmp_path / "out")
    told = etasim.compare(result, tmp_path / "out")
    assert {row["change_percent"] for row in told["metrics"]} <= {0, None}
    assert told == json.loads(json.dumps(told))
    assert "the same architecture" in repr(told)


def test_a_machine_that_cannot_run_says_what_could():
    """`etasim.InfeasibleError` names keys, and its changes are overrides that a session can go on with."""
    network, overrides = etasim.load_network("digits_cnn"), {"buffers.error.size": "128 B"}
    with pytest.raises(etasim.InfeasibleError, match=r"buffers\.error\.size") as refused:
        etasim.simulate(etasim.load_architecture("eta_small", overrides), network, batch=2, fidelity="analytical")
    assert {reason.layer for reason in refused.value.reasons} >= {"conv2"}
    assert "buffers.error.size" in refused.value.changes
    machine = etasim.load_architecture("eta_small", overrides | refused.value.changes)
    assert etasim.simulate(machine, network, batch=2, fidelity="analytical").total_cycles > 0
