import dataclasses
import math
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import pytest
from run_results import make_result

from etasim.core.registry import METRICS
from etasim.machine.result import LayerRow
from etasim.pe.causes import STALL_CAUSES
from etasim.report import glossary
from etasim.report.metrics import OCCUPIED_COLUMNS, dram_peak_bytes_per_s, layer_rows, ratio, rounded, summary, total

DOCS = Path(__file__).parents[3] / "docs"


@pytest.fixture(scope="module")
def result():
    return make_result("resnet20_cifar", batch=2)


def test_throughput_counts_two_operations_a_mac_over_the_whole_iteration(result):
    figures = summary(result)
    seconds = result.total_cycles / 240e6
    assert figures["useful_macs"] == 2 * 121_997_184
    assert figures["throughput_gops"] == pytest.approx(2 * figures["useful_macs"] / seconds / 1e9, rel=1e-8)
    assert figures["time_ms"] == pytest.approx(seconds * 1e3, rel=1e-8)
    assert figures["images_per_s"] == pytest.approx(2 / seconds, rel=1e-8)


def test_peak_is_every_mac_unit_in_every_cycle(result):
    figures = summary(result)
    assert figures["mac_units"] == 4 * 8 * 8 * 8
    assert figures["peak_gops"] == 983.04
    assert figures["mac_utilization"] == pytest.approx(figures["throughput_gops"] / figures["peak_gops"], rel=1e-8)


def test_dram_bandwidth_is_traffic_over_time(result):
    figures = summary(result)
    moved = sum(value for row in result.layers for name, value in row.items() if name.startswith("dram_"))
    assert figures["dram_read_bytes"] + figures["dram_write_bytes"] == moved
    assert figures["dram_bandwidth_gb_per_s"] == pytest.approx(moved / (figures["time_ms"] * 1e6), rel=1e-8)
    assert figures["dram_peak_gb_per_s"] == 25.6


def test_an_ideal_dram_has_no_peak():
    ideal = make_result(overrides=["dram.ideal=true"])
    assert dram_peak_bytes_per_s(ideal.architecture) is None
    assert summary(ideal)["dram_peak_gb_per_s"] is None


def test_unknown_is_none_and_never_zero(result):
    rows = tuple({name: value for name, value in row.items() if name != "dram_read_weight_bytes"} for row in result.layers)
    figures = summary(dataclasses.replace(result, layers=rows))
    for name in ("dram_read_bytes", "dram_bandwidth_gb_per_s"):
        assert figures[name] is None
    assert figures["dram_write_bytes"] > 0


def test_an_empty_iteration_has_no_throughput(result):
    figures = summary(dataclasses.replace(result, layers=(), total_cycles=0))
    assert figures["throughput_gops"] is None
    assert figures["mac_utilization"] is None
    assert figures["total_cycles"] == 0


def test_layer_rows_have_the_columns_of_the_glossary(result):
    rows = layer_rows(result)
    assert all(tuple(row) == glossary.shown_columns(glossary.LAYERS, ()) for row in rows)
    assert sum(row["cycles"] for row in rows) == result.total_cycles


def test_a_row_is_of_the_types_of_the_glossary(result):
    row = layer_rows(result)[0]
    attributes = [name for name, value in vars(LayerRow).items() if isinstance(value, property)]
    assert set(attributes) == {"layer", "phase", "macs", "cycles"}
    assert [isinstance(getattr(row, name), str) for name in attributes] == [METRICS[name].unit == "" for name in attributes]
    assert [name for name, value in row.items() if isinstance(value, str)] == [name for name in row if METRICS[name].unit == ""]
    with pytest.raises(TypeError, match="layer is a text"):
        row.figure("layer")
    with pytest.raises(TypeError, match="cycles is no text"):
        row.text("cycles")
    with pytest.raises(TypeError, match="nothing is not known"):
        row.number("nothing")
    with pytest.raises(TypeError, match="utilization is no whole number"):
        LayerRow(utilization=0.5).count("utilization")


def test_utilization_is_the_useful_share_of_the_time_of_the_array(result):
    for row in layer_rows(result):
        occupied = 4 * row["cycles"] - row["idle_cycles"]
        assert row["utilization"] == pytest.approx(row["macs"] / (512 * occupied))
        assert 0 <= row["utilization"] <= 1


def test_a_row_that_the_array_has_no_part_in_has_no_utilization(result):
    row = dict(result.layers[0]) | {column: 0 for column in OCCUPIED_COLUMNS}
    assert layer_rows(dataclasses.replace(result, layers=(row,)))[0]["utilization"] is None


def test_rounding_keeps_nine_significant_digits():
    assert rounded(Fraction(2, 3)) == 0.666666667
    assert rounded(123456789012.0) == 123456789000.0
    assert rounded(None) is None


def test_ratio_and_total_propagate_the_unknown():
    assert ratio(1, 0) is None
    assert ratio(None, 2) is None
    assert ratio(1, 3) == Fraction(1, 3)
    assert total([{"a": 1}, {}], ["a"]) is None
    assert total([{"a": 1, "b": 2}, {"a": 3, "b": 4}], ["a", "b"]) == 10


def test_glossary_defines_every_figure_once():
    files = (glossary.SUMMARY, glossary.LAYERS, glossary.TRAINING, glossary.RUN_INFO)
    names = [name for file in files for name in glossary.columns(file)]
    assert set(names) == set(glossary.METRICS)
    assert sorted(name for name in set(names) if names.count(name) > 1) == ["zero_insertion_macs"]
    for _, metric in glossary.METRICS.items():
        assert metric.formula
        assert metric.meaning.endswith(".")


def test_every_column_that_is_a_duration_names_its_cause(result):
    stall_columns = [f"{cause}_cycles" for cause in STALL_CAUSES]
    assert set(stall_columns) < set(glossary.columns(glossary.LAYERS))
    clusters = result.architecture.array.clusters
    for row in layer_rows(result):
        assert row["cluster_busy_cycles"] + sum(row[column] for column in stall_columns) == clusters * row["cycles"]


def test_the_page_of_metrics_is_the_glossary():
    assert (DOCS / "metrics.md").read_text(encoding="utf-8") == glossary.markdown()


def test_floats_are_finite(result):
    for row in [summary(result), *layer_rows(result)]:
        assert all(math.isfinite(value) for value in row.values() if isinstance(value, float))


def test_the_package_and_its_help_import_neither_numba_nor_matplotlib():
    code = (
        "import sys, etasim, etasim.cli; from click.testing import CliRunner; "
        "assert CliRunner().invoke(etasim.cli.main, ['--help']).exit_code == 0; "
        "assert not {'numba', 'matplotlib', 'pydantic', 'rich'} & set(sys.modules), sorted(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_what_draws_nothing_imports_no_matplotlib():
    """Where no folder for its settings can be written, matplotlib says so at each import."""
    code = (
        "import sys; from etasim.explore import commands, document, reproduce, tables, variations; from etasim.report import commands; "
        "assert 'matplotlib' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
