import dataclasses
from pathlib import Path

from rich.console import Console
from run_results import make_result

from etasim.report.metrics import layer_rows, summary
from etasim.report.reading import StoredResult
from etasim.report.store import components
from etasim.report.tables import layer_table, report, stall_table


def stored(result):
    names = result.architecture.name, result.network.name, result.fidelity
    return StoredResult(Path("folder"), *names, summary(result), components(result), layer_rows(result))


def printed(renderable):
    console = Console(width=200)
    with console.capture() as capture:
        console.print(renderable)
    return capture.get()


def cells(table):
    return {column.header: list(column.cells) for column in table.columns}


def test_the_first_lines_say_how_fast_and_how_busy():
    result = make_result("resnet20_cifar", batch=2)
    text = printed(report(stored(result)))
    figures = summary(result)
    for expected in (
        f"{figures['throughput_gops']:,.2f} GOPS",
        f"{figures['total_cycles']:,} cycles",
        "243,994,368 useful MACs",
        f"of {figures['peak_gops']:,.1f} peak",
        "of 25.6 peak",
    ):
        assert expected in text


def test_each_layer_has_one_line_with_its_phases():
    result = stored(make_result("resnet20_cifar"))
    table = layer_table(result)
    names = [column.header for column in table.columns]
    assert names == ["layer", "share", "ff cycles", "util", "bp cycles", "util", "wg cycles", "util", "wu cycles", "DRAM MB"]
    columns = cells(table)
    assert columns["layer"] == list(dict.fromkeys(row["layer"] for row in result.layers))
    assert columns["bp cycles"][0] == ""
    assert columns["ff cycles"][0] == f"{result.layers[0]['cycles']:,}"
    assert abs(sum(float(share.rstrip("%")) for share in columns["share"]) - 100) < 1.5


def test_causes_are_sorted_and_shares_sum_to_all_cluster_cycles():
    result = stored(make_result("vgg16_cifar"))
    columns = cells(stall_table(result))
    counts = [int(count.replace(",", "")) for count in columns["cluster cycles"]]
    assert counts == sorted(counts, reverse=True)
    assert sum(counts) == 4 * result.summary["total_cycles"]
    assert columns["cause"][0] == "busy"


def test_unknown_figures_are_dashes():
    result = make_result("vgg16_cifar")
    rows = tuple({name: value for name, value in row.items() if "stall" not in name and "dram" not in name} for row in result.layers)
    text = printed(report(stored(dataclasses.replace(result, layers=rows))))
    lines = {line.split("  ")[0].strip(" │"): line for line in text.splitlines()}
    assert " - " in lines["DRAM bandwidth"]
    assert "-" in lines["psum stall"]
