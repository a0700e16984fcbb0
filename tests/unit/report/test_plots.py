import csv
import dataclasses
import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from matplotlib import pyplot
from matplotlib.patches import StepPatch
from run_results import make_result
from small_networks import conv, layer, network

from etasim.config import InputError, load_architecture, shipped_names
from etasim.core.registry import PICTURES
from etasim.machine import simulate
from etasim.program.commands import TENSOR_CLASSES
from etasim.report.bandwidth_plots import TIME_BINS, binned
from etasim.report.drawing import OF_FOLDERS, OF_SERIES, inches_of
from etasim.report.labels import label_points
from etasim.report.metrics import layer_rows, summary
from etasim.report.over_time import STEPS
from etasim.report.plots import OF_ESTIMATES, PHASE_COLOURS, _roofline_points, _whole_point, plot, plot_all, save
from etasim.report.reading import StoredResult, read_results
from etasim.report.run_info import run_info
from etasim.report.series import read_series
from etasim.report.store import components, write_results
from etasim.workload import load_network

SMALL = network((4, 8, 8), conv("conv1", 8, kernel=3, padding=1), layer("norm1", "norm"), layer("relu1", "relu"), classes=3)


def stored(result):
    names = result.architecture.name, result.network.name, result.fidelity
    return StoredResult(Path("folder"), *names, summary(result), components(result), layer_rows(result))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plots") / "result"
    result = make_result("resnet20_cifar")
    write_results(result, folder, run_info(result, 1.0))
    return folder


@pytest.fixture(autouse=True)
def no_open_figures():
    yield
    pyplot.close("all")


@pytest.fixture(scope="module")
def sampled(tmp_path_factory):
    """A result with a series."""
    folder = tmp_path_factory.mktemp("plots") / "sampled"
    result = simulate(load_architecture("eta_vc709", ["mapping={}"]), SMALL, batch=1, series_every=0)
    write_results(result, folder, run_info(result, 1.0))
    return folder


@pytest.mark.parametrize("kind", [kind for kind in PICTURES.names if kind not in OF_SERIES])
def test_each_picture_is_drawn_from_the_files(folder, kind):
    path = plot(kind, folder)
    assert path == folder / f"{kind}.png"
    assert path.read_bytes().startswith(b"\x89PNG")
    assert not pyplot.get_fignums()


def test_all_pictures_are_drawn_with_their_tables(sampled):
    made = plot_all(sampled)
    assert made == {kind: sampled / f"{kind}.png" for kind in PICTURES.names}
    for path in made.values():
        header, *rows = csv.reader(path.with_suffix(".csv").read_text().splitlines())
        assert rows
        assert all(len(row) == len(header) for row in rows)
    assert read_results(sampled).layers


@pytest.mark.parametrize("name", ["series.npz", "run.yaml"])
def test_all_pictures_of_a_damaged_folder_are_none(sampled, tmp_path, name):
    """A series that is not there is a reason for some pictures, one that is damaged is a fault of the folder."""
    folder = tmp_path / "damaged"
    folder.mkdir()
    for file in ("results.json", "layers.csv", "run.yaml", "series.npz"):
        (folder / file).write_bytes((sampled / file).read_bytes()[: None if file != name else 40])
    with pytest.raises(InputError, match=name):
        plot_all(folder)
    assert not list(folder.glob("*.png"))


def test_a_picture_over_time_shows_the_bytes_of_the_run(sampled):
    plot("bandwidth", sampled)
    rows = list(csv.DictReader((sampled / "bandwidth.csv").read_text().splitlines()))
    assert 100 < len(rows) <= STEPS
    seconds = np.array([float(row["to_ms"]) - float(row["from_ms"]) for row in rows]) / 1e3
    for way, name in (("read", "dram_read_bytes"), ("written", "dram_write_bytes")):
        moved = sum(np.array([float(row[f"{way}_gb_per_s"]) for row in rows]) * seconds) * 1e9
        assert moved == pytest.approx(read_series(sampled).arrays[name].sum())
    pins = read_results(sampled).summary["dram_peak_gb_per_s"]
    assert max(float(row["read_gb_per_s"]) + float(row["written_gb_per_s"]) for row in rows[:-1]) <= pins * (1 + 1e-9)


def test_a_picture_is_as_wide_as_it_is_wanted(sampled, tmp_path):
    for form in ("png", "svg", "pdf"):
        assert plot("bandwidth_layers", sampled, tmp_path / f"p.{form}", width_inches=inches_of("88mm")).stat().st_size > 1000
    assert pyplot.imread(tmp_path / "p.png").shape[1] == int(88 / 25.4 * 150)


@pytest.mark.parametrize("text", ["88", "wide", "-3in", "1mm", "900in", "3.5 ft", ""])
def test_a_width_that_is_none_is_refused(text):
    with pytest.raises(InputError, match="must be a length such as 88mm"):
        inches_of(text)


def test_a_table_never_takes_the_place_of_a_result(sampled):
    before = (sampled / "layers.csv").read_bytes()
    with pytest.raises(InputError, match="the command reads it"):
        plot("stalls", sampled, sampled / "layers.png")
    assert (sampled / "layers.csv").read_bytes() == before


@pytest.mark.parametrize("kind", OF_SERIES)
def test_a_picture_of_a_series_that_is_not_there_says_so(folder, kind):
    with pytest.raises(InputError, match=r"series\.npz: is missing: the run was made without a series"):
        plot(kind, folder)


def test_a_phase_that_a_layer_lacks_is_marked():
    figure = PICTURES["utilization"](stored(make_result("vgg16_cifar")))
    marks = {axes.get_title("left").partition(":")[0]: [text.get_text() for text in axes.texts] for axes in figure.axes}
    assert (marks["ff"], marks["bp"], marks["wg"]) == ([], ["none"], [])


def test_the_format_follows_the_name(folder, tmp_path):
    assert b"<svg" in plot("stalls", folder, tmp_path / "stalls.svg").read_bytes()


def test_an_unknown_format_is_refused_before_anything_is_written(folder, tmp_path):
    with pytest.raises(InputError, match=r"unknown picture format '.xyz'; allowed: .*png"):
        plot("stalls", folder, tmp_path / "stalls.xyz")
    assert not list(tmp_path.iterdir())


def without(result, name, n_rows=None):
    """``result`` whose first ``n_rows`` rows (default: all) lack the columns that have ``name`` in theirs."""
    rows = [{key: value for key, value in row.items() if name not in key} for row in result.layers[:n_rows]]
    return dataclasses.replace(result, layers=(*rows, *result.layers[len(rows) :]))


UNKNOWN = {"utilization": "stall", "stalls": "stall", "bandwidth": "dram", "roofline": "span"}


@pytest.mark.parametrize("kind", UNKNOWN)
def test_a_picture_of_what_is_not_known_is_refused(kind):
    with pytest.raises(InputError, match=r"nothing to draw: the .* of this result are not known$"):
        PICTURES[kind](stored(without(make_result(), UNKNOWN[kind])))


@pytest.mark.parametrize("kind", UNKNOWN)
def test_rows_that_are_not_known_are_counted_in_the_title_and_never_drawn_as_zero(kind):
    whole = stored(make_result())
    known, part = PICTURES[kind](whole), PICTURES[kind](stored(without(make_result(), UNKNOWN[kind], 2)))
    assert re.search(r"of 2 rows unknown", part.get_suptitle())
    assert "unknown" not in known.get_suptitle()
    if kind in ("utilization", "stalls"):
        assert len(part.axes[0].patches) < len(known.axes[0].patches)
    if kind == "bandwidth":
        assert any(patch.get_label() == "unknown" for patch in part.axes[0].patches)


@pytest.mark.parametrize("kind", ["utilization", "stalls", "noc"])
def test_a_picture_that_an_estimate_has_no_figures_for_says_what_to_do(kind):
    estimate = without(make_result(analytical=True, components={}), "_stall")
    with pytest.raises(InputError, match="an estimate counts no stalls and simulates no network: run with --fidelity cycle, or draw"):
        PICTURES[kind](stored(estimate))


WITHOUT_FILES = [kind for kind in PICTURES.names if kind not in OF_SERIES + OF_FOLDERS]


@pytest.mark.parametrize("kind", WITHOUT_FILES)
def test_every_title_says_network_machine_batch_and_fidelity(kind):
    title = PICTURES[kind](stored(make_result())).get_suptitle()
    assert "resnet20_cifar on eta_vc709, batch 2, cycle model" in " ".join(title.split()), "a narrow picture wraps it"


@pytest.mark.parametrize("kind", [kind for kind in OF_ESTIMATES if kind not in OF_FOLDERS])
def test_a_picture_of_an_estimate_is_called_one(kind):
    assert "batch 2, analytical estimate" in PICTURES[kind](stored(make_result(analytical=True))).get_suptitle()


def roofs(result):
    """Greatest share of the roof of the MAC units, and of that of DRAM, that a point of the picture reaches."""
    points = [(x, y) for _, x, y in _roofline_points(result)[0]] + [_whole_point(result)]
    peak, pins = result.summary["peak_gops"], result.summary["dram_peak_gb_per_s"]
    return max(y / peak for _, y in points), max(y / (x * pins) for x, y in points)


@pytest.mark.parametrize("network", shipped_names("traces"))
def test_no_point_of_an_estimate_lies_above_a_roof(network):
    result = stored(simulate(load_architecture("eta_vc709"), load_network(network), batch=2, fidelity="analytical"))
    assert max(roofs(result)) <= 1


@pytest.mark.parametrize(("machine", "network", "batch"), [("eta_small", "digits_cnn", 2), ("eta_vc709", "resnet20_cifar", 2)])
def test_no_point_of_a_simulation_lies_above_a_roof(machine, network, batch):
    result = stored(simulate(load_architecture(machine), load_network(network), batch=batch))
    assert max(roofs(result)) <= 1


def test_dollar_signs_in_names_are_no_mathematics(tmp_path):
    result = stored(make_result())
    rows = [row | {"layer": f"$x^{{{row['layer']}$"} for row in result.layers]
    for kind in WITHOUT_FILES:
        save(PICTURES[kind](dataclasses.replace(result, layers=rows, network="$y^$")), tmp_path / f"{kind}.png")


def test_an_ideal_dram_has_no_roof():
    axes = PICTURES["roofline"](stored(make_result(overrides=["dram.ideal=true"]))).axes[0]
    labels = [text.get_text() for text in axes.get_legend().texts]
    assert labels == ["forward", "input gradient", "weight gradient", "whole iteration"]


@pytest.mark.parametrize("kind", ["utilization", "roofline"])
def test_a_result_without_macs_has_no_such_picture(kind):
    with pytest.raises(InputError, match="nothing to draw"):
        PICTURES[kind](stored(make_result(phases=("wu",))))


def test_bars_are_the_figures_of_layers_csv():
    result = stored(make_result("vgg16_cifar"))
    axes = PICTURES["utilization"](result).axes[0]
    rows = [row for row in result.layers if row["phase"] == "ff" and row["macs"]]
    assert [bar.get_width() for bar in axes.patches] == [row["utilization"] for row in rows]
    assert [label.get_text() for label in axes.get_yticklabels()] == [row["layer"] for row in rows]


def test_stacked_stalls_add_up_to_the_cluster_cycles_that_were_not_idle():
    result = stored(make_result("vgg16_cifar", phases=("ff",)))
    figure = PICTURES["stalls"](result)
    idle = sum(row["idle_cycles"] for row in result.layers)
    everything = 4 * result.summary["total_cycles"]
    assert sum(bar.get_width() for bar in figure.axes[0].patches) * 1e6 == pytest.approx(everything - idle)
    assert f"{idle / everything:.1%} of all cluster cycles were idle" in figure.get_suptitle()


def test_the_area_under_the_bandwidth_is_the_traffic_read_and_written():
    """The top of the stack, which stands against the peak of the pins, is the sum of both."""
    result = stored(make_result("resnet20_cifar"))
    areas = [patch for patch in PICTURES["bandwidth"](result).axes[0].patches if isinstance(patch, StepPatch)]
    edges = np.linspace(0, result.summary["total_cycles"], TIME_BINS + 1)
    highest = [area.get_data().values.max() for area in areas]
    assert highest == sorted(highest)
    rates = {a: sum(binned(result.layers, f"dram_{a}_{name}_bytes", edges) for name in TENSOR_CLASSES) for a in ("read", "write")}
    for access, rate in rates.items():
        assert rate.sum() == pytest.approx(result.summary[f"dram_{access}_bytes"])
    bin_seconds = result.summary["time_ms"] / 1e3 / TIME_BINS
    assert highest[-1] == pytest.approx((rates["read"] + rates["write"]).max() / bin_seconds / 1e9)


def test_every_layer_of_a_deep_network_keeps_a_line_of_its_own():
    result = stored(make_result("resnet50_imagenet"))
    figure = PICTURES["stalls"](result)
    figure.draw_without_rendering()
    labels = [label.get_window_extent() for label in figure.axes[0].get_yticklabels()]
    assert len(labels) >= 50
    assert not any(upper.overlaps(lower) for upper, lower in pairwise(labels))


def test_a_layer_that_runs_backward_only_stands_where_the_network_has_it(tmp_path):
    """The ReLU behind an addition: its forward pass is that of the addition."""
    result = simulate(load_architecture("eta_vc709"), load_network("resnet20_cifar"), batch=1, fidelity="analytical")
    write_results(result, tmp_path, {})
    figure = PICTURES["bandwidth_layers"](read_results(tmp_path))
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert names.index("block1_1_relu") == names.index("block1_1_add") + 1
    assert names.index("loss") == len(names) - 1


def test_phases_have_colours_of_their_own():
    assert len(set(PHASE_COLOURS.values())) == len(PHASE_COLOURS) == 4


def test_labels_never_overlap():
    axes = pyplot.figure().add_subplot()
    axes.set(xlim=(0, 1), ylim=(0, 1))
    label_points(axes, [(0.5 + i / 1000, 0.5, f"point {i}") for i in range(30)])
    boxes = [text.get_window_extent() for text in axes.texts]
    assert 1 < len(boxes) < 30
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])


def test_the_heat_map_names_the_endpoints_and_the_share_of_cycles_that_each_link_is_used():
    result = stored(make_result(total_cycles=1000))
    texts = [text.get_text() for text in PICTURES["noc"](result).axes[0].texts]
    assert sorted(texts[:2]) == ["2%", "70%"]
    assert texts[2:] == ["cluster 0\ntakes 30%", "weight\nbuffer"]


def test_a_result_without_a_network_has_no_heat_map():
    with pytest.raises(InputError, match="no network was simulated"):
        PICTURES["noc"](stored(make_result(components={})))
