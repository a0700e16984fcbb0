"""Rows of ``etasim validate``: the models of a part beside reference runs."""

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from rich.table import Table

PARTS = {"dram": "etasim.memory.dram.validate", "noc": "etasim.noc.validate"}
"""Part to the module whose ``rows()`` yields name, ours, reference, error_percent, bar_percent, pass."""

Row = dict[str, Any]


def validation_rows(parts: Sequence[str], references: Path | None) -> list[Row]:
    """Rows of each of ``parts``, which have ``part`` added; ``references`` replaces the folder of the reference runs."""
    rows = []
    for part in parts:
        rows += [{"part": part} | row for row in import_module(PARTS[part]).rows(references)]
    return rows


def validation_table(rows: Sequence[Row]) -> Table:
    """One line a row; a miss stands out."""
    table = Table(title="Models beside reference runs", title_justify="left")
    for heading, side in (("part", "left"), ("run", "left"), ("ours", "right"), ("reference", "right"), ("error %", "right")):
        table.add_column(heading, justify=side)
    table.add_column("bar %", justify="right")
    table.add_column("")
    for row in rows:
        verdict = "pass" if row["pass"] else "[bold red]MISS[/]"
        figures = [f"{row[name]:,.6g}" for name in ("ours", "reference")]
        table.add_row(row["part"], row["name"], *figures, f"{row['error_percent']:+.3f}", f"{row['bar_percent']:g}", verdict)
    return table
