"""Pages in a real browser: what a reader sees, hovers over, sorts and toggles."""

import csv
import io
import json
import shutil
import threading

import numpy as np
import pytest
from browser import AXE, DESKTOP, PHONE, SMALL_PHONE, browser, is_cut, opened, tooltip, until, violations
from command_line import invoke
from run_results import make_result
from small_networks import TINY, architecture, conv, network

from etasim.explore.evaluate import Evaluation
from etasim.explore.pages import page_of
from etasim.explore.reproduce import Reproduction, comparison
from etasim.explore.reproduction_page import page_of_reproduction
from etasim.explore.serving import LivePage, server_of
from etasim.machine import simulate
from etasim.report.page import series_rows
from etasim.report.page.document import write_page
from etasim.report.plots import plot
from etasim.report.published import FIGURES
from etasim.report.reading import read_results
from etasim.report.series import read_series
from etasim.report.staging import staged_folder
from etasim.report.store import csv_text, write_results

HOSTILE = ["<script>alert(1)</script>", "\"'><img src=x onerror=alert(2)>", "x" * 500, "طبقة الالتفاف", "${alert(3)}&amp;</style>"]


@pytest.fixture(scope="module")
def chromium():
    with browser() as chromium:
        yield chromium


def stored(folder, result):
    write_results(result, folder, {"wall_seconds": 1.0, "versions": {"etasim": "0"}})
    return folder


def page(folder, *folders):
    """The page of results, as a file."""
    path = folder / "page.html"
    write_page(page_of([folder, *folders]), path)
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return stored(tmp_path_factory.mktemp("run"), make_result("digits_cnn"))


@pytest.fixture(scope="module")
def run_page(run):
    return page(run)


@pytest.fixture(scope="module")
def desk(chromium, run_page):
    """The page of the run on a large screen, opened once: a test leaves it as it found it."""
    with opened(chromium, run_page) as page:
        yield page


@pytest.fixture(scope="module")
def hostile_page(tmp_path_factory):
    """Of a folder in whose files layers, network and machine are called what no page may obey; a trace is refused such names."""
    deep = network((4, 8, 8), *(conv(f"conv{i}", 4) for i, _ in enumerate(HOSTILE)), classes=3)
    folder = stored(tmp_path_factory.mktemp("hostile"), make_result(deep))
    rows = rows_of(folder)
    names = dict(zip(dict.fromkeys(row["layer"] for row in rows), HOSTILE, strict=False))
    renamed = [row | {"layer": names.get(row["layer"], row["layer"])} for row in rows]
    (folder / "layers.csv").write_text(csv_text(tuple(rows[0]), renamed), encoding="utf-8", newline="\n")
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    results |= {"network": HOSTILE[0], "architecture": HOSTILE[1]}
    results["components"]["noc_link"][0]["to"] = HOSTILE[0]
    results["summary"]["energy_excluded"] = HOSTILE[1]
    (folder / "results.json").write_text(json.dumps(results), encoding="utf-8")
    return page(folder)


def rows_of(folder):
    return list(csv.DictReader(io.StringIO((folder / "layers.csv").read_text(encoding="utf-8"))))


def test_charts_have_marks_and_hovering_shows_the_figures_of_layers_csv(desk, run):
    known = {(row["layer"], row["phase"]): row for row in rows_of(run)}
    for chart in ("timeline", "layer-time", "stalls", "traffic", "utilization", "roofline", "links"):
        assert desk.locator(f'figure[data-chart="{chart}"] svg [role="graphics-symbol"]').count() > 0, chart
    desk.locator('figure[data-chart="layer-time"] .mark-rect path').nth(5).hover()
    shown = tooltip(desk)
    row = known[shown["layer"], shown["phase"]]
    assert {name: shown[name].replace(",", "") for name in ("cycles", "macs", "span_cycles")} == {
        name: row[name] for name in ("cycles", "macs", "span_cycles")
    }


def test_classes_are_taken_out_and_put_back(desk):
    bars = desk.locator('figure[data-chart="layer-time"] .mark-rect path')
    before, box = bars.count(), desk.locator('figure[data-chart="layer-time"] input[value="wu"]')
    box.uncheck()
    until(desk, lambda: bars.count() < before)
    box.check()
    until(desk, lambda: bars.count() == before)


def test_zoom_narrows_all_charts_of_an_axis(desk):
    points = desk.locator('figure[data-chart="utilization"] .mark-symbol path')
    before = points.count()
    desk.locator('figure[data-chart="layer-time"] [data-zoom="in"]').press("Enter")
    until(desk, lambda: points.count() < before)
    desk.locator('figure[data-chart="traffic"] [data-zoom="all"]').click()
    until(desk, lambda: points.count() == before)


def test_the_table_sorts_and_filters(desk, run):
    cycles = sorted((int(row["cycles"]) for row in rows_of(run)), reverse=True)
    head = desk.locator('#layer-rows th[data-column="cycles"]')
    shown = desk.locator('#layer-rows tbody tr td:nth-child(5)')
    for order, wanted in (("descending", cycles), ("ascending", cycles[::-1])):
        head.locator("button").click()
        assert head.get_attribute("aria-sort") == order
        assert [int(text.replace(",", "")) for text in shown.all_inner_texts()] == wanted
    desk.locator("#filter").fill("conv1 wu")
    wanted = sum("conv1" in row["layer"] and row["phase"] == "wu" for row in rows_of(run))
    assert desk.locator("#layer-rows tbody tr:visible").count() == wanted > 0
    desk.locator("#filter").fill("")


def test_a_layer_that_is_chosen_shows_all_its_columns_and_its_time(desk, run):
    layer = rows_of(run)[0]["layer"]
    own = [row for row in rows_of(run) if row["layer"] == layer]
    desk.locator("#layer-rows button.name", has_text=layer).first.click()
    cells = desk.locator("#layer-detail tr", has_text="cluster_busy_cycles").first.locator("td").all_inner_texts()
    assert [int(cell.replace(",", "")) for cell in cells] == [int(row["cluster_busy_cycles"]) for row in own]
    assert desk.locator("#choose").input_value() == layer
    assert desk.url.endswith(f"#layer={layer}")
    bars = desk.locator('figure[data-chart="timeline"] .mark-rect path')
    whole = bars.first.bounding_box()["width"]
    desk.locator("#layer-detail button", has_text="show").first.click()
    until(desk, lambda: bars.first.bounding_box()["width"] > 2 * whole)


def test_a_word_of_the_glossary_is_explained_to_the_keyboard_too(desk):
    desk.locator('.tiles a[data-term="mac_utilization"]').focus()
    assert "Share of the MAC slots" in desk.locator("#tip").inner_text()
    desk.keyboard.press("Escape")
    assert desk.locator("#tip").is_hidden()


def test_what_is_downloaded_is_the_file(desk, run):
    with desk.expect_download() as download:
        desk.locator('[data-download="layers.csv"]').click()
    assert download.value.path().read_bytes() == (run / "layers.csv").read_bytes()


@pytest.mark.parametrize("which", ["run_page", "hostile_page"])
def test_nothing_is_cut_and_nothing_keeps_readers_out(chromium, which, request):
    assert AXE.exists(), "npm install axe-core"
    with opened(chromium, request.getfixturevalue(which), SMALL_PHONE, color_scheme="dark") as page:
        page.locator("#choose").select_option(index=1)
        for scheme, size in (("dark", SMALL_PHONE), ("light", PHONE), ("light", DESKTOP), ("dark", (3840, 2160))):
            page.emulate_media(color_scheme=scheme)
            page.set_viewport_size(dict(zip(("width", "height"), size, strict=True)))
            page.wait_for_timeout(200)  # charts follow the width
            assert not is_cut(page), (scheme, size)
            if size in (SMALL_PHONE, DESKTOP):
                assert violations(page) == [], (scheme, size)
        page.emulate_media(media="print")
        assert not is_cut(page)
        heading = page.locator("#layer-rows thead button").first
        assert heading.evaluate("button => getComputedStyle(button).display") == "contents"  # a browser repeats text on a sheet, no button


def test_the_button_turns_the_light_off_and_on(desk):
    background = "getComputedStyle(document.body).backgroundColor"
    seen = []
    for _ in range(3):
        seen.append(desk.evaluate(background))
        desk.locator("#theme").click()
    assert seen[0] == seen[2] != seen[1]
    assert desk.evaluate(background) == seen[0]


def test_hostile_names_are_text(chromium, hostile_page):
    with opened(chromium, hostile_page) as page:
        assert page.locator("h1").inner_text() == f"{HOSTILE[0]} on {HOSTILE[1]}"
        assert page.evaluate("document.querySelectorAll('main img, main script').length") == 0
        names = page.locator("#layer-rows tbody tr th").all_inner_texts()
        assert set(HOSTILE) <= set(names)
        for name in HOSTILE:
            page.locator("#choose").select_option(name)
            assert page.locator("#layer-detail caption").text_content().startswith(name)
        for path in page.locator('figure[data-chart="layer-time"] .mark-rect path').all()[:5]:
            path.hover()
            assert tooltip(page)["layer"].rstrip("…") in " ".join(HOSTILE)


def test_results_beside_each_other(chromium, run, tmp_path):
    other = stored(tmp_path / "<b>other\"&amp;", make_result("digits_cnn", overrides=("core.clock=200 MHz",)))
    write_page(page_of([run, other]), tmp_path / "page.html")
    with opened(chromium, tmp_path / "page.html", PHONE) as page:
        assert not is_cut(page)
        assert violations(page) == []
        for chart in ("measures", "layer-times", "gains"):
            assert page.locator(f'figure[data-chart="{chart}"] svg [role="graphics-symbol"]').count() > 0, chart
        assert "core.clock" in page.locator("#machines").inner_text()
        assert '<b>other"&amp;' in page.locator("#summary").inner_text()


def test_a_page_of_a_deep_network_is_below_six_megabytes(tmp_path):
    assert page(stored(tmp_path, make_result("resnet50_imagenet"))).stat().st_size < 6e6


def test_time_charts_show_the_samples_of_the_series(chromium, tmp_path, monkeypatch):
    monkeypatch.setattr(series_rows, "MOST_SAMPLES", 50)
    stored(tmp_path, simulate(architecture(), TINY, batch=2, series_every=0))
    samples = series_rows.samples_of(read_results(tmp_path), read_series(tmp_path))
    with opened(chromium, page(tmp_path)) as desk:
        for chart in ("busy", "bandwidth", "causes"):
            assert desk.locator(f'figure[data-chart="{chart}"] svg .mark-rect path').count() >= len(samples.edges_ms) - 1
        bars = desk.locator('figure[data-chart="bandwidth"] .layer_2_marks path, figure[data-chart="bandwidth"] .layer_3_marks path')
        bars.nth(len(samples.edges_ms) // 2).hover()
        shown = {name: value.replace(",", "") for name, value in tooltip(desk).items()}
        place = int(np.argmin(abs(samples.edges_ms - float(shown["sample_begin_ms"]))))
        assert float(shown["on the pins"]) == pytest.approx(samples.pins.values[place], rel=1e-3)
        assert is_cut(desk) is False
        assert violations(desk) == []


def test_tensors_links_and_roofs_are_shown_as_the_pictures_show_them(chromium, tmp_path):
    stored(tmp_path, simulate(architecture(), TINY, batch=2, series_every=0))
    shown = {kind: figures_of(kind, tmp_path) for kind in ("residency", "noc_classes", "rooflines")}
    with opened(chromium, page(tmp_path)) as desk:
        for chart in ("flits", "resident"):
            assert desk.locator(f'figure[data-chart="{chart}"] svg .mark-area path').count() > 0, chart
        bars = desk.locator('figure[data-chart="tensors"] .mark-rect path')
        moving = [row for row in shown["residency"] if (float(row["from_ms"]), row["until_ms"]) != (0, last_of(shown["residency"]))]
        assert bars.count() == len(moving) > 0
        bars.first.hover()
        tensor = tooltip(desk)
        row = next(row for row in moving if row["tensor"] == tensor["tensor"])
        assert (tensor["bytes"].replace(",", ""), tensor["tensor_class"]) == (row["bytes"], row["class"])
        bars = desk.locator('figure[data-chart="links"] .mark-rect path')
        bars.first.hover()
        link = tooltip(desk)
        wanted = {(f"router {row['router']} to {row['to']}", row["class"]): int(row["flits"]) for row in shown["noc_classes"]}
        assert int(link["flits"].replace(",", "")) == wanted[link["link"], link["message_class"]]
        before = bars.count()
        desk.locator('figure[data-chart="links"] input[value="psum"]').uncheck()
        until(desk, lambda: bars.count() < before)


def test_the_roofs_of_all_levels_are_in_one_chart(chromium, tmp_path):
    stored(tmp_path, simulate(architecture(), TINY, batch=2))
    points = figures_of("rooflines", tmp_path)
    levels = list(dict.fromkeys(row["level"] for row in points if row["gops"]))
    with opened(chromium, page(tmp_path)) as desk:
        chart = desk.locator('figure[data-chart="roofline"]')
        assert chart.locator(".mark-line path").count() == 1 + len(levels), "of the array, and of each level"
        drawn = chart.locator(".layer_1_marks path")
        n_points = {level: sum(row["level"] == level and row["layer"] != "whole iteration" for row in points) for level in levels}
        assert drawn.count() == n_points["DRAM"]
        chart.locator('input[value="DRAM"]').uncheck()
        chart.locator('input[value="NoC links"]').check()
        until(desk, lambda: drawn.count() == n_points["NoC links"])
        drawn.first.hover()
        point = tooltip(desk)
        place = "NoC links", point["layer"], point["phase"]
        row = next(row for row in points if (row["level"], row["layer"], row["phase"]) == place)
        assert float(point["gops"].replace(",", "")) == pytest.approx(float(row["gops"]), abs=0.005)
        rings = chart.locator(".layer_2_marks path")
        assert rings.count() == len(levels)


def figures_of(kind, folder):
    """What is beside a picture."""
    plot(kind, folder)
    return list(csv.DictReader(io.StringIO((folder / f"{kind}.csv").read_text(encoding="utf-8"))))


def last_of(tensors):
    """When the last tensor is no longer of use."""
    return max((row["until_ms"] for row in tensors), key=float)


def test_a_page_that_is_served_loads_again_by_itself(chromium, run, tmp_path):
    server = server_of(LivePage([tmp_path], False), 0)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        with opened(chromium, f"http://127.0.0.1:{server.server_port}/") as page:
            assert page.title() == "Nothing to show yet"
            assert page.locator("#follow").is_checked()
            with staged_folder(tmp_path) as staged:
                shutil.copytree(run, staged, dirs_exist_ok=True)
            page.wait_for_selector("figure svg")
            assert page.title() == "digits_cnn on eta_vc709"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


SPACE = """\
architecture: eta_vc709
networks: [digits_cnn]
set: {noc.columns: auto, noc.rows: auto, noc.placement: auto}
axes:
  - {key: array.clusters, values: [1, 2, 4]}
  - {key: unified_core.lanes, values: [8, 24]}
constraints: [fits_board]
objectives:
  - {metric: throughput_gops, direction: maximize}
  - {metric: dsp, direction: minimize}
fidelity: analytical
"""


def test_an_exploration(chromium, tmp_path):
    (tmp_path / "space.yaml").write_text(SPACE)
    assert invoke("explore", tmp_path / "space.yaml", "--out", tmp_path / "out", "--workers", 1).exit_code == 0
    write_page(page_of([tmp_path / "out"]), tmp_path / "page.html")
    points = list(csv.DictReader(io.StringIO((tmp_path / "out" / "points.csv").read_text())))
    with opened(chromium, tmp_path / "page.html", PHONE) as page:
        assert not is_cut(page)
        assert violations(page) == []
        marks = page.locator('figure[data-chart="front-chart"] .mark-symbol path')
        assert marks.count() == sum(row["status"] == "ok" for row in points)
        marks.first.hover()
        shown = tooltip(page)
        row = next(row for row in points if row["point"] == shown["point"])
        assert float(shown["throughput_gops"]) == pytest.approx(float(row["throughput_gops"]), rel=1e-5)
        assert page.locator("section#axes figure").count() == 2
        cells = page.locator('figure[data-chart="sensitivity"] .layer_0_marks path')
        assert cells.count() == 6
        cells.first.hover(position={"x": 4, "y": 4})
        page.wait_for_timeout(200)
        assert {"array.clusters", "unified_core.lanes", "throughput_gops"} == set(tooltip(page))
        assert page.locator('figure[data-chart="parallel"] .mark-symbol path').count() > 0
        assert page.locator("#front-rows tbody tr").count() > 0


def test_the_reproduction(chromium, tmp_path):
    about = {"machine": "eta_vc709 (cycle model)", "paper": "a paper"}
    figures = [comparison(figure, Evaluation("failed", "not simulated"), Evaluation("failed", "no")) for figure in FIGURES]
    groups = [("base", "as it is", 0.0), ("ladder", "DRAM", 1.0)]
    groups += [("sensitivity half", "core.clock", -5.0), ("sensitivity double", "core.clock", None)]
    variations = [
        {"group": group, "name": name, "network": "n", "fidelity": "analytical", "change_percent": change, "throughput_gops": 1.0,
         "total_cycles": 10 + i, "phases": {"ff": 10 + i}}
        for i, (group, name, change) in enumerate(groups)
    ]  # fmt: skip
    write_page(page_of_reproduction(Reproduction(figures, [], [], about), variations), tmp_path / "page.html")
    with opened(chromium, tmp_path / "page.html", PHONE) as page:
        assert not is_cut(page)
        assert violations(page) == []
        bars = {name: page.locator(f'figure[data-chart="{name}"] .mark-rect path').count() for name in ("published", "tornado-0", "ladder")}
        dashes = {name: page.locator(f'figure[data-chart="{name}"] .layer_1_marks text').count() for name in bars}
        assert (bars, dashes) == ({"published": 3, "tornado-0": 1, "ladder": 1}, {"published": 3, "tornado-0": 1, "ladder": 0})
