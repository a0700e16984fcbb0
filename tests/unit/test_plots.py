import dataclasses
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from matplotlib import pyplot
from run_results import make_result

from etasim.config import InputError
from etasim.core.program import TENSOR_CLASSES
from etasim.report.labels import label_points
from etasim.report.metrics import layer_rows, summary
from etasim.report.plots import PHASE_COLOURS, PLOTS, TIME_BINS, _binned, plot
from etasim.report.run_info import run_info
from etasim.report.store import StoredResult, components, write_results


def stored(result):
    return StoredResult(
        Path("folder"), result.architecture.name, result.network.name, summary(result), components(result), layer_rows(result)
    )


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


@pytest.mark.parametrize("kind", PLOTS)
def test_each_picture_is_drawn_from_the_files(folder, kind):
    path = plot(kind, folder)
    assert path == folder / f"{kind}.png"
    assert path.read_bytes().startswith(b"\x89PNG")
    assert not pyplot.get_fignums()


def test_the_format_follows_the_name(folder, tmp_path):
    assert b"<svg" in plot("stalls", folder, tmp_path / "stalls.svg").read_bytes()


def test_an_unknown_format_is_refused_before_anything_is_written(folder, tmp_path):
    with pytest.raises(InputError, match=r"unknown picture format '.xyz'; allowed: .*png"):
        plot("stalls", folder, tmp_path / "stalls.xyz")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", ["bandwidth", "utilization", "stalls"])
def test_unknown_figures_do_not_break_a_picture(kind):
    result = make_result()
    rows = tuple({name: value for name, value in row.items() if "stall" not in name} for row in result.layers)
    assert PLOTS[kind](stored(dataclasses.replace(result, layers=rows))).axes


def test_an_ideal_dram_has_no_roof():
    labels = [text.get_text() for text in PLOTS["roofline"](stored(make_result(overrides=["dram.ideal=true"]))).axes[0].get_legend().texts]
    assert labels == ["forward", "input gradient", "weight gradient"]


@pytest.mark.parametrize("kind", ["utilization", "roofline"])
def test_a_result_without_macs_has_no_such_picture(kind):
    with pytest.raises(InputError, match="nothing to draw"):
        PLOTS[kind](stored(make_result(phases=("wu",))))


def test_bars_are_the_figures_of_layers_csv():
    result = stored(make_result("vgg16_cifar"))
    axes = PLOTS["utilization"](result).axes[0]
    rows = [row for row in result.layers if row["phase"] == "ff" and row["macs"]]
    assert [bar.get_width() for bar in axes.patches] == [row["utilization"] for row in rows]
    assert [label.get_text() for label in axes.get_yticklabels()] == [row["layer"] for row in rows]


def test_stacked_stalls_add_up_to_the_cluster_cycles_that_were_not_idle():
    result = stored(make_result("vgg16_cifar", phases=("ff",)))
    figure = PLOTS["stalls"](result)
    idle = sum(row["idle_cycles"] for row in result.layers)
    everything = 4 * result.summary["total_cycles"]
    assert sum(bar.get_width() for bar in figure.axes[0].patches) * 1e6 == pytest.approx(everything - idle)
    assert f"{idle / everything:.1%} of all cluster cycles were idle" in figure.get_suptitle()


@pytest.mark.parametrize("access", ["read", "write"])
def test_the_area_under_the_bandwidth_is_the_traffic(access):
    result = stored(make_result("resnet20_cifar"))
    areas = PLOTS["bandwidth"](result).axes[("read", "write").index(access)].collections
    edges_ms = result.summary["time_ms"] / TIME_BINS
    highest = [max(path.vertices[:, 1].max() for path in area.get_paths()) for area in areas]
    assert highest == sorted(highest)
    rates = sum(
        _binned(result.layers, f"dram_{access}_{name}_bytes", np.linspace(0, result.summary["total_cycles"], TIME_BINS + 1))
        for name in TENSOR_CLASSES
    )
    assert rates.sum() == pytest.approx(result.summary[f"dram_{access}_bytes"])
    assert highest[-1] == pytest.approx(rates.max() / (edges_ms / 1e3) / 1e9)


def test_every_layer_of_a_deep_network_keeps_a_line_of_its_own():
    result = stored(make_result("resnet50_imagenet"))
    figure = PLOTS["stalls"](result)
    figure.draw_without_rendering()
    labels = [label.get_window_extent() for label in figure.axes[0].get_yticklabels()]
    assert len(labels) >= 50
    assert not any(upper.overlaps(lower) for upper, lower in pairwise(labels))


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
    texts = [text.get_text() for text in PLOTS["noc"](result).axes[0].texts]
    assert sorted(texts[:2]) == ["2%", "70%"]
    assert texts[2:] == ["cluster 0\nin 30%", "weight\nbuffer\nin 0%"]


def test_a_result_without_a_network_has_no_heat_map():
    with pytest.raises(InputError, match="no network was simulated"):
        PLOTS["noc"](stored(make_result(components={})))
