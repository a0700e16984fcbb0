"""Tables in terminals of any width: no cell is cut, and what is left out is named."""

import io
import re

import pytest
from rich.console import Console, Group
from rich.constrain import Constrain
from rich.table import Table
from run_results import make_result

from etasim.report.console import Verbosity, fitted, note, saying, verbosity
from etasim.report.simulated import Result
from etasim.report.tables import report


def printed(renderable, width):
    text = io.StringIO()
    console = Console(file=text, width=width, color_system=None, highlight=False)
    console.print(fitted(renderable, console))
    return text.getvalue()


@pytest.fixture(scope="module")
def stored():
    return Result.of(make_result("resnet20_cifar"), 1.0).stored


@pytest.mark.parametrize("width", [40, 60, 80, 120, 160])
def test_no_figure_of_a_report_is_cut(stored, width):
    text = printed(report(stored), width)
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= width
    whole = set(re.findall(r"\d[\d,.]*%?", printed(report(stored), 400)))
    cells = {word for line in text.splitlines() if line.startswith("│") for word in re.findall(r"(?<![\w.])\d[\d,.]*%?", line)}
    assert cells
    assert cells <= whole


def test_what_is_left_out_is_named(stored):
    text = printed(report(stored), 60)
    (said,) = re.findall(r"not shown in 60 columns: ([^;]*wu\scycles[^;]*);", text)
    shown = printed(report(stored), 60).partition("layer ")[2].partition("\n")[0]
    assert "DRAM MB" in said.replace("\n", " ")
    assert "DRAM MB" not in shown
    assert "not shown" not in printed(report(stored), 160)


@pytest.mark.parametrize("width", [80, 100, 160])
def test_a_table_that_must_be_narrower_than_the_console_loses_columns_not_digits(width):
    table = Table(*(f"figure {i}" for i in range(20)))
    for column in table.columns:
        column.justify = "right"
    table.add_row(*(str(100_000 + i) for i in range(20)))
    text = printed(Constrain(Group(table), 60), width)
    cells = re.findall(r"\d+", next(line for line in text.splitlines() if line.startswith("│")))
    assert cells == [str(100_000 + i) for i in range(len(cells))]
    assert 2 < len(cells) < 20
    assert f"not shown in 60 columns: figure {len(cells)}, " in text.replace("\n", " ")
    assert max(map(len, text.splitlines())) <= 60


def test_texts_wrap_at_words_before_a_column_goes():
    table = Table("name", "what")
    table.add_row("a", "one two three four five six seven eight nine ten")
    text = printed(table, 30)
    assert "not shown" not in text
    assert all(word in text for word in ("one", "seven", "ten"))


def test_remarks_are_said_unless_little_is_to_be_said(capsys):
    note("first")
    with saying(Verbosity.QUIET):
        note("second")
    assert capsys.readouterr().err == "first\n"
    assert verbosity() == Verbosity.NORMAL
