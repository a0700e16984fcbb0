"""Rows of ``etasim validate``: the models of a part beside reference runs."""

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from rich.table import Table

from etasim.config import InputError, Problem

PARTS = {"dram": ("etasim.memory.dram.validate", ""), "noc": ("etasim.noc.validate", "noc"), "rtl": ("etasim.rtl.validate", "rtl"),
         "parity": ("etasim.report.parity", "")}  # fmt: skip
"""Part to the module whose ``rows(folder)`` yields name, ours, reference, error_percent, bar_percent, pass, and to its folder."""

UNASKED = ("dram", "noc")
"""Parts of ``etasim validate`` alone; the others need a tool, or minutes."""

Row = dict[str, Any]


def validation_rows(parts: Sequence[str], references: Path | None) -> list[Row]:
    """Rows of each of ``parts``, with ``part`` added; ``references`` replaces the folder of the reference runs.

    Raises InputError for a folder without reference runs of a part, since a check of nothing must not pass, and for runs that are no use.
    """
    rows = []
    for part in parts:
        module, folder = PARTS[part]
        if references is not None and not (references / part).is_dir():
            raise InputError([Problem(str(references), 1, "--references", f"has no folder {part!r} of reference runs")])
        own = import_module(module).rows(None if references is None else references / folder)
        if not own:
            raise InputError([Problem(str(references or part), 1, "--references", f"has no reference runs of {part}")])
        rows += [{"part": part} | row for row in own]
    return rows


def validation_gaps(parts: Sequence[str], references: Path | None) -> list[str]:
    """What the rows do not say, a line each: reference runs that have none (``not_compared(references)`` of a part's module, if there is
    one), and what else there is to say (``remarks()``)."""
    lines: list[str] = []
    for module in (import_module(PARTS[part][0]) for part in parts):
        lines += [f"not compared: {reason}" for reason in module.not_compared(references)] if hasattr(module, "not_compared") else []
        lines += module.remarks() if hasattr(module, "remarks") else []
    return lines


def validation_table(rows: Sequence[Row]) -> Table:
    """One line a row; a miss stands out."""
    table = Table(title="Models beside reference runs", title_justify="left")
    for heading in ("part", "run"):
        table.add_column(heading)
    for heading in ("ours", "reference", "error %", "bar %"):
        table.add_column(heading, justify="right")
    table.add_column("")
    for row in rows:
        verdict = "pass" if row["pass"] else "[bold red]MISS[/]"
        figures = [f"{row[name]:,.6g}" for name in ("ours", "reference")]
        table.add_row(row["part"], row["name"], *figures, f"{row['error_percent']:+.3f}", f"{row['bar_percent']:g}", verdict)
    return table
