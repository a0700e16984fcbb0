"""series.npz: what is written is what is read, whatever is damaged is named, and energy adds up to that of the report."""

import json
import shutil
import zipfile

import numpy as np
import pytest
from run_results import make_result
from small_networks import TINY, architecture

from etasim import load_architecture, simulate
from etasim.config import InputError
from etasim.report.metrics import energy_rows
from etasim.report.series import read_series
from etasim.report.store import RESULTS, SERIES, write_results


@pytest.fixture(scope="module")
def result():
    return simulate(load_architecture("eta_vc709", ["mapping={}"]), TINY, batch=2, series_every=0)


@pytest.fixture
def folder(result, tmp_path):
    write_results(result, tmp_path / "r", {})
    return tmp_path / "r"


def test_what_is_read_is_what_was_written(result, folder):
    stored = read_series(folder)
    assert np.array_equal(stored.ends, result.series.ends)
    for name, array in result.series.arrays.items():
        assert np.array_equal(stored.arrays[name], array), name
    assert stored.arrays["results_sha256"] != ""
    assert stored.lengths_s.sum() == pytest.approx(result.total_cycles / float(result.architecture.core.clock_hz))
    table = stored.by_operation("read_bytes")
    assert table.sum() == stored.arrays["class_read_bytes"].sum()
    assert (stored.per_second("dram_read_bytes") * stored.lengths_s[:, None]).sum() == pytest.approx(stored.arrays["dram_read_bytes"].sum())


def test_equal_runs_write_equal_bytes(result, folder, tmp_path):
    write_results(simulate(result.architecture, TINY, batch=2, series_every=0), tmp_path / "again", {})
    assert (folder / SERIES).read_bytes() == (tmp_path / "again" / SERIES).read_bytes()


def test_energy_adds_up_to_that_of_the_report(result, folder):
    stored, expected = read_series(folder), {}
    for row in energy_rows(result):
        expected[row["component"]] = expected.get(row["component"], 0) + (row["energy_mj"] or 0) / 1e3
    found = dict(zip(stored.arrays["energy_parts"].tolist(), stored.arrays["energy_joule"].sum(axis=0), strict=True))
    assert found == pytest.approx(expected, rel=1e-7)
    assert len(found) > 8


def test_energy_that_is_not_known_is_no_number(tmp_path):
    write_results(simulate(architecture(), TINY, batch=1, series_every=0), tmp_path / "r", {})
    arrays = read_series(tmp_path / "r").arrays
    unknown = arrays["energy_parts"][np.isnan(arrays["energy_joule"]).all(axis=0)].tolist()
    assert {"chip", "static"} <= set(unknown)
    assert not np.nan_to_num(arrays["energy_joule"][:, np.isin(arrays["energy_parts"], unknown)]).any()


def damaged(folder, how):
    path = folder / SERIES
    if how == "missing":
        path.unlink()
    elif how == "cut":
        path.write_bytes(path.read_bytes()[:-500])
    elif how == "text":
        path.write_text("nothing")
    elif how == "another run":
        (folder / RESULTS).write_text(json.dumps(json.loads((folder / RESULTS).read_text())))
    else:
        with np.load(path) as archive:
            arrays = {name: archive[name] for name in archive.files}
        {
            "version": lambda: arrays.update(version=np.array(1)), "no version": lambda: arrays.pop("version"),
            "no ends": lambda: arrays.pop("ends"), "short": lambda: arrays.update(cluster_cycles=arrays["cluster_cycles"][1:]),
            "shape": lambda: arrays.update(link_flits=arrays["link_flits"][0]), "ends": lambda: arrays.update(ends=arrays["ends"][::-1]),
        }[how]()  # fmt: skip
        np.savez(path, **arrays)


@pytest.mark.parametrize(("how", "message"), [
    ("missing", "is missing: the run was made without a series"), ("cut", "damaged"), ("text", "damaged"),
    ("another run", "is of another run than results.json"), ("version", "is of version 1; this version of etasim reads 2"),
    ("no version", "has no version"), ("no ends", "ends is missing"), ("short", "cluster_cycles has another length"),
    ("shape", "link_flits has another shape"), ("ends", "ends has another length"),
])  # fmt: skip
def test_a_damaged_series_is_named(folder, how, message):
    damaged(folder, how)
    with pytest.raises(InputError) as caught:
        read_series(folder)
    assert message in str(caught.value)
    assert SERIES in str(caught.value)


@pytest.mark.parametrize("place", [0.2, 0.5, 0.8])
def test_compressed_bytes_that_are_damaged_are_told(folder, place):
    content = bytearray((folder / SERIES).read_bytes())
    first = int(place * len(content))
    content[first : first + 50] = bytes(50)
    (folder / SERIES).write_bytes(content)
    with pytest.raises(InputError, match="damaged"):
        read_series(folder)


def test_an_estimate_has_no_series_whatever_the_options(folder):
    write_results(simulate(architecture(), TINY, fidelity="analytical"), folder, {}, force=True)
    with pytest.raises(InputError, match="an estimate has no series: run the simulation, with --fidelity cycle"):
        read_series(folder)


def test_a_pickled_object_is_refused(folder):
    with zipfile.ZipFile(folder / SERIES, "a") as archive, archive.open("extra.npy", "w") as file:
        np.save(file, np.array([{}], object), allow_pickle=True)
    with pytest.raises(InputError, match="damaged"):
        read_series(folder)


def test_a_run_without_a_series_leaves_none_behind(folder, result):
    shutil.copy(folder / SERIES, folder / "kept.npz")
    write_results(make_result("resnet20_cifar"), folder, {}, force=True)
    assert not (folder / SERIES).exists()
