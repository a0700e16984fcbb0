"""One table of accuracy and machine: what came out of a grid of training runs, beside what an iteration of each moves, takes and needs."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rich.table import Table

from etasim.config import Architecture, load_architecture
from etasim.config.errors import InputError, Problem
from etasim.core.errors import InfeasibleError
from etasim.explore.pareto import pareto_front
from etasim.report.board import board_rows, pe_kind, resources_of
from etasim.report.metrics import summary
from etasim.report.staging import write_text
from etasim.report.store import csv_text
from etasim.training.compare import CELL_COLUMNS, GridRun, Row
from etasim.training.cost import ASSUMED_KEY, ENERGY_KEY, FIDELITIES, TIME_KEY
from etasim.training.machine_scheme import has_machine, machine_keys
from etasim.training.pictures import draw_formats
from etasim.workload import Network

FORMATS, PICTURE = "formats.csv", "formats.png"
MACHINE_COLUMNS = (
    "dram_mbit", TIME_KEY, ENERGY_KEY, ASSUMED_KEY, "dsp", "lut", "lut_assumed_percent", "fits_board", "products", "on_front",
)  # fmt: skip
"""``dram_mbit``: bits that an iteration reads and writes; ``lut_assumed_percent``: of LUTs that are not from synthesis; ``products``: what
a PE multiplies; ``on_front``: whether no other format is better in accuracy, time and energy."""
COLUMNS = CELL_COLUMNS + MACHINE_COLUMNS
CellKey = tuple[str, str, int]
"""Scheme, normalization and batch."""

_WORTH = ("mean_accuracy", TIME_KEY, ENERGY_KEY)


def machines_of(jobs: Sequence[GridRun], arch: str, overrides: Sequence[str]) -> dict[CellKey, Architecture]:
    """``arch`` with the formats of each cell of the grid ``jobs``; schemes that no machine has are missing. Raises InputError."""
    found: dict[CellKey, Architecture] = {}
    for job in jobs:
        leading, scheme = job.leading(), job.recipe.scheme
        key = leading["scheme"], leading["norm"], leading["batch"]
        if key not in found and has_machine(scheme):
            keys = (f"{name}={'null' if value is None else value}" for name, value in machine_keys(scheme).items())
            found[key] = load_architecture(arch, [*keys, *overrides])
    return found


def machine_columns(architecture: Architecture, network: Network, batch: int, fidelity: str) -> Row:
    """Of an iteration of ``network``. Raises InputError if it does not fit."""
    from etasim import machine

    try:
        result = machine.simulate(architecture, network, batch=batch, fidelity=fidelity)
    except InfeasibleError as error:
        raise InputError(Problem(architecture.name, 1, "", line) for line in str(error).splitlines()) from None
    figures, board = summary(result), architecture.board
    row = {
        "dram_mbit": 8 * (figures.number("dram_read_bytes") + figures.number("dram_write_bytes")) / 1e6,
        TIME_KEY: figures.number(TIME_KEY), ENERGY_KEY: figures.figure(ENERGY_KEY), ASSUMED_KEY: figures[ASSUMED_KEY],
    }  # fmt: skip
    if board is None:
        return row
    resources = resources_of(architecture, board)
    assumed = sum(term.luts for term in resources.terms if term.assumed)
    return row | {
        "dsp": resources.dsp, "lut": resources.luts, "lut_assumed_percent": round(100 * assumed / resources.luts, 1),
        "fits_board": int(all(each["fits"] for each in board_rows(architecture))), "products": pe_kind(architecture),
    }  # fmt: skip


def format_rows(cells: Sequence[Row], machines: Mapping[CellKey, Row]) -> list[Row]:
    """``cells`` of a grid with their machine columns, None where there is no figure."""
    rows = [dict.fromkeys(COLUMNS) | cell | machines.get((cell["scheme"], cell["norm"], cell["batch"]), {}) for cell in cells]
    known = [row for row in rows if all(row[name] is not None for name in _WORTH)]
    worth: list[list[Any]] = [[row[name] for name in _WORTH] for row in known]
    front = pareto_front(worth, ["higher", "lower", "lower"]) if known else []
    for place, row in enumerate(known):
        row["on_front"] = int(place in front)
    return rows


class Beside(NamedTuple):
    """Rows of `COLUMNS`, and a table of them for a terminal."""

    rows: list[Row]
    table: Table


def beside(cells: Sequence[Row], machines: Mapping[CellKey, Architecture], network: Network, fidelity: str, folder: Path) -> Beside:
    """``cells`` of a grid beside an iteration of ``network`` on the machine of each; writes the table and the picture into ``folder``.
    Raises InputError if ``network`` does not fit a machine."""
    found = {key: machine_columns(architecture, network, key[2], fidelity) for key, architecture in machines.items()}
    rows, name = format_rows(cells, found), next((architecture.name for architecture in machines.values()), "-")
    write_text(folder / FORMATS, csv_text(COLUMNS, rows))
    draw_formats(rows, f"An iteration of {network.name} on {name}, {FIDELITIES[fidelity]}", folder / PICTURE)
    return Beside(rows, format_table(rows, name, network.name, fidelity))


def format_table(rows: Sequence[Row], arch: str, network: str, fidelity: str) -> Table:
    """The rows for a terminal of 100 columns."""
    title = (
        f"Accuracy, and an iteration of {network} on {arch}, {FIDELITIES[fidelity]}\n"
        "assumed: share of energy without a source; !: the board is too small; *: nothing else is better in accuracy, time and energy"
    )
    table = Table(title=title, title_justify="left")
    table.add_column("format", overflow="fold")
    for heading in ("norm", "batch", "accuracy %", "DRAM Mbit", "ms", "mJ", "assumed", "DSP", "kLUT"):
        table.add_column(heading, justify="left" if heading == "norm" else "right", no_wrap=True)
    for row in rows:
        accuracy = "-" if row["mean_accuracy"] is None else f"{100 * row['mean_accuracy']:.2f} ± {row['spread_points']:.2f}"
        assumed = "-" if row[ASSUMED_KEY] is None else f"{row[ASSUMED_KEY]:.0f} %"
        luts = "-" if row["lut"] is None else f"{row['lut'] / 1e3:.0f}{'' if row['fits_board'] else ' !'}"
        figures = [_figure(row[column]) for column in ("dram_mbit", TIME_KEY, ENERGY_KEY)]
        name = f"{row['scheme']} *" if row["on_front"] else row["scheme"]
        dsp = "-" if row["dsp"] is None else f"{row['dsp']:,}"
        table.add_row(name, row["norm"], str(row["batch"]), accuracy, *figures, assumed, dsp, luts)
    return table


def _figure(value: float | None) -> str:
    """Four digits, or all that stand before the point."""
    if value is None:
        return "-"
    decimals = max(4 - len(str(int(value))), 0)
    return f"{value:,.{decimals}f}"
