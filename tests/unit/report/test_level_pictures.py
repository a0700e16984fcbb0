"""Pictures of levels, links and tensors against the figures that they are drawn from, and names that nobody chose for a picture."""

import csv
import dataclasses
from collections import defaultdict

import numpy as np
import pytest
from small_networks import conv, layer, network

from etasim.config import load_architecture
from etasim.core.registry import PICTURES
from etasim.machine import simulate
from etasim.report.drawing import drawn_at
from etasim.report.inputs import inputs_of
from etasim.report.naming import LONGEST_NAME, shortened, three_digits
from etasim.report.plots import plot
from etasim.report.reading import read_results
from etasim.report.residents import bytes_by_class, residents_of
from etasim.report.roofs import points_of, roofs_of
from etasim.report.run_info import run_info
from etasim.report.series import read_series
from etasim.report.store import write_results

SMALL = network((4, 8, 8), conv("conv1", 8, kernel=3, padding=1), layer("norm1", "norm"), layer("relu1", "relu"), classes=3)
HOSTILE = ["<script>alert(1)</script>", "\"'><img src=x onerror=alert(2)>", "x" * 500, "طبقة الالتفاف", "$x^{{$ \\frac", "two\nlines"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("levels") / "result"
    result = simulate(load_architecture("eta_vc709", ["mapping={}"]), SMALL, batch=2, series_every=0)
    write_results(result, folder, run_info(result, 1.0))
    return folder


def table(kind, folder):
    plot(kind, folder)
    return list(csv.DictReader((folder / f"{kind}.csv").read_text().splitlines()))


def test_the_roofs_are_those_of_the_machine(folder):
    result, rows = read_results(folder), table("rooflines", folder)
    titles = [axes.get_title("left") for axes in PICTURES["rooflines"](result).axes]
    assert titles[1:] == ["DRAM, 25.6 GB/s", "NoC links, 153.6 GB/s", "activation buffer, 245.8 GB/s", "weight buffer, 245.8 GB/s",
                          "error buffer, 491.5 GB/s"]  # fmt: skip
    clock_hz, n_links = result.summary["core_clock_hz"], sum(link["to"].startswith("router") for link in result.components["noc_link"])
    assert n_links * 32 * clock_hz / 1e9 == pytest.approx(153.6), "20 links of 256 bits"
    whole = {row["level"]: row for row in rows if row["layer"] == "whole iteration"}
    operations = 2 * sum(row.macs for row in result.layers)
    moved = {"DRAM": result.summary["dram_read_bytes"] + result.summary["dram_write_bytes"],
             "NoC links": 32 * sum(row["flit_hops"] for row in result.layers)}  # fmt: skip
    for level, n_bytes in moved.items():
        assert float(whole[level]["operations_per_byte"]) == pytest.approx(operations / n_bytes)


def test_no_row_is_above_the_roof_of_a_level(folder):
    peaks = {"DRAM": 25.6, "NoC links": 153.6, "activation buffer": 245.76, "weight buffer": 245.76, "error buffer": 491.52}
    points = [row for row in table("rooflines", folder) if row["gops"]]
    assert len({row["level"] for row in points}) == len(peaks)
    for row in points:
        assert float(row["gops"]) <= min(983.04, float(row["operations_per_byte"]) * peaks[row["level"]]) * (1 + 1e-6)


def test_rows_without_macs_are_listed(folder):
    result, rows = read_results(folder), table("rooflines", folder)
    listed = {(row["layer"], row["phase"]) for row in rows if row["level"] == "none: no MACs"}
    assert listed == {(row.layer, row.phase) for row in result.layers if not row.macs}
    for kind in ("roofline", "rooflines"):
        title = " ".join(PICTURES[kind](result).get_suptitle().split())
        assert f"{len(listed)} rows without MACs are in none: " in title
        assert "weight update" in title


@pytest.fixture(scope="module")
def apart(folder):
    """A result of a machine whose sums have a network of half the width."""
    networks = "[{classes: [stream, stationary], link_width: 256 bit}, {classes: [psum], link_width: 128 bit}]"
    overrides = ["mapping={}", f"noc.networks={networks}"]
    result = simulate(load_architecture("eta_vc709", overrides), SMALL, batch=2, series_every=0)
    write_results(result, folder.parent / "apart", run_info(result, 1.0))
    return folder.parent / "apart"


def test_links_of_several_widths_have_one_roof(apart):
    """Each link counts with its width, each hop with that of its class."""
    result, links = read_results(apart), roofs_of(read_results(apart), inputs_of(apart).architecture)[1]
    assert links.peak_gb_per_s == pytest.approx(20 * (32 + 16) * result.summary["core_clock_hz"] / 1e9), "20 links in each network"
    axes = PICTURES["rooflines"](result).axes[2]
    assert (axes.get_title("left"), list(axes.texts)) == (f"NoC links, {links.peak_gb_per_s:,.1f} GB/s", [])
    series = read_series(apart).arrays
    inner = np.char.startswith(series["link_targets"], "router ")
    flits = series["link_flits"][:, inner].sum(axis=(0, 1))
    assert sum(links.bytes_of(row) for row in result.layers) == flits @ (32, 32, 16)
    assert sum(row["flit_hops"] for row in result.layers) == flits.sum()
    assert all(point.gops <= point.operations_per_byte * links.peak_gb_per_s for point in points_of(result, links))


def test_the_energy_of_links_of_several_widths_is_in_the_picture(apart):
    """Whose table is made of the rows of the folder."""
    drawn = sum(float(row["energy_mj"]) for row in table("energy", apart) if row["part"] == "noc")
    known = [row["energy_mj"] for row in read_results(apart).components["energy"] if row["component"] == "noc"]
    assert None not in known
    assert drawn == pytest.approx(sum(known)) != 0


def test_each_network_has_a_map(apart):
    by_class = defaultdict(int)
    for row in table("noc_classes", apart):
        by_class[row["class"]] += int(row["flits"])
    assert by_class["psum"] > 0
    assert len(PICTURES["noc"](read_results(apart)).axes) == 3, "a map a physical network, and the scale"


def test_flits_of_the_classes_are_those_of_the_links(folder):
    links = {(link["router"], link["port"]): link["flits"] for link in read_results(folder).components["noc_link"]}
    found = defaultdict(int)
    for row in table("noc_classes", folder):
        found[int(row["router"]), int(row["port"])] += int(row["flits"])
        assert 0 <= float(row["utilization"]) <= 1
    assert found == links
    series = read_series(folder).arrays
    seconds = np.diff(series["ends"], prepend=0)
    assert (series["link_flits"].sum(axis=2) <= seconds[:, None]).all(), "a flit a cycle"


def test_links_over_time_are_shown_for_each_class_that_they_carry(folder):
    figure = PICTURES["noc_over_time"](read_results(folder))
    shown = [axes.get_title("left").partition(":")[0] for axes in figure.axes[1:4]]
    assert shown == ["stream", "stationary", "psum"]


def test_scratchpads_and_links_are_levels(folder):
    levels = {row["level"]: row for row in table("peaks", folder)}
    series = read_series(folder)
    words = series.arrays["scratchpad_words"].sum(axis=0) / series.ends[-1]
    assert levels["stream scratchpads written"]["peak"] == "2 words a cycle", "4 clusters, a word of 512 bits in 2 flits"
    assert float(levels["stream scratchpads written"]["mean_share"]) == pytest.approx(words[0] / 2)
    assert float(levels["links between routers"]["mean_share"]) < 1
    shares = [(float(row["mean_share"]), float(row["busiest_step_share"])) for row in levels.values()]
    assert all(0 <= mean <= busiest + 1e-12 and busiest <= 1 + 1e-12 for mean, busiest in shares), "lengths of steps are rounded once"


def test_tensors_in_dram_add_up(folder):
    found = residents_of(read_series(folder))
    edges, held = bytes_by_class(found, 9)
    assert len(edges) == len(held) + 1
    for k in range(len(held)):
        there = (found.cycles[:, 0] <= edges[k]) & (found.cycles[:, 1] > edges[k])
        assert held[k].sum() == found.n_bytes[there].sum()
    assert {row["tensor"] for row in table("residency", folder)} == set(found.names)


@pytest.mark.parametrize("kind", [kind for kind in PICTURES.names if kind != "noc"])
def test_a_hostile_name_is_text_and_leaves_room_for_the_picture(folder, kind, tmp_path):
    result = read_results(folder)
    names = dict(zip(dict.fromkeys(row.layer for row in result.layers), HOSTILE, strict=False))
    rows = [type(row)(row | {"layer": names.get(row.layer, row.layer)}) for row in result.layers]
    named = dataclasses.replace(result, layers=rows, network=HOSTILE[2], architecture=HOSTILE[0])
    for width in (None, 3.5):
        with drawn_at(width):
            figure = PICTURES[kind](named)
            figure.savefig(tmp_path / "p.svg")
            widest = max(axes.get_position().width for axes in figure.axes)
            assert widest > (0.08 if len(figure.axes) > 1 else 0.25), width
    assert "<script>" not in (tmp_path / "p.svg").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_is_one_line_of_few_letters(name):
    short = shortened(name)
    assert len(short) <= LONGEST_NAME
    assert "\n" not in short
    assert short[:10] == name.replace("\n", " ")[:10]


@pytest.mark.parametrize(("value", "text"), [(1784.3, "1,784"), (999.6, "1,000"), (999.4, "999"), (25.9, "25.9"), (0.03, "0.03"), (0, "0")])
def test_figures_beside_bars_have_no_exponent(value, text):
    assert three_digits(value) == text
