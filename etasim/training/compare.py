"""A grid of training runs: schemes x normalizations x batch sizes x seeds, and what came out."""

import csv
import io
import itertools
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any, NamedTuple

from rich.table import Table

from etasim.config.errors import InputError, Problem
from etasim.explore.workers import Outcome, run_jobs
from etasim.report.staging import write_text
from etasim.report.store import csv_text, json_text, number, read_text
from etasim.training.recipe import Recipe
from etasim.training.scheme import load_scheme

RUNS, CELLS, PICTURE, GRID = "runs.csv", "cells.csv", "accuracy.png", "grid.json"
RUN_COLUMNS = ("scheme", "norm", "batch", "seed", "status", "test_accuracy", "test_loss", "train_loss", "reason")
CELL_COLUMNS = (
    "scheme", "norm", "batch", "runs", "failed", "mean_accuracy", "spread_points", "least_accuracy", "greatest_accuracy", "points_to_fp32",
)  # fmt: skip
_TEXT_COLUMNS = ("scheme", "norm", "status", "reason")
BASELINE = "fp32"
Row = dict[str, Any]


class GridRun(NamedTuple):
    """One run: its place in the grid, what it trains, and where."""

    scheme: str
    recipe: Recipe
    folder: Path

    def leading(self) -> Row:
        """The first columns of its row."""
        norm = self.recipe.scheme.normalization.kind
        return {"scheme": self.scheme, "norm": norm, "batch": self.recipe.batch, "seed": self.recipe.seed}


def jobs_of(
    base: Recipe, schemes: Sequence[str], overrides: Sequence[str], norms: Sequence[str], batches: Sequence[int], seeds: Sequence[int],
    folder: Path,
) -> list[GridRun]:  # fmt: skip
    """The grid. A scheme is a name or file, with changes after plus signs: ``pint8+error.format=bfp8``; ``overrides`` come first.

    Raises InputError.
    """
    jobs = []
    for text, norm, batch, seed in itertools.product(schemes, norms, batches, seeds):
        name, *changes = text.split("+")
        scheme = load_scheme(name, [*overrides, *changes, f"normalization.kind={norm}"])
        own = folder / "runs" / f"{_file_name(text)}_{norm}_batch{batch}_seed{seed}"
        jobs.append(GridRun(text, base.model_copy(update={"scheme": scheme, "batch": batch, "seed": seed}), own))
    return jobs


def compare(
    jobs: Sequence[GridRun], folder: Path, workers: int, resume: bool, finished: Callable[[Row], None] = lambda row: None
) -> list[Row]:
    """Train what ``folder`` lacks; a run that was stopped goes on from its checkpoint. Returns one row a run, in the order of the grid.

    Raises InputError if ``folder`` has a grid and ``resume`` is False, or if its grid trained otherwise.
    """
    rows = {_key(row): row for row in _begin(jobs, folder, resume)}
    for row in rows.values():
        finished(row)
    left = [job for job in jobs if _key(job.leading()) not in rows]

    def ended(index: int, outcome: Outcome) -> None:
        job = left[index]
        result = {"status": "failed", "reason": outcome.error} if outcome.error else outcome.value
        rows[_key(job.leading())] = dict.fromkeys(RUN_COLUMNS) | job.leading() | result
        write_text(folder / RUNS, csv_text(RUN_COLUMNS, list(rows.values())))
        finished(rows[_key(job.leading())])

    run_jobs(_train, left, workers, finished=ended)
    ordered = [rows[_key(job.leading())] for job in jobs]
    write_text(folder / RUNS, csv_text(RUN_COLUMNS, ordered))
    write_text(folder / CELLS, csv_text(CELL_COLUMNS, cells(ordered)))
    return ordered


def _train(job: GridRun, progress: Callable[[float, int], None]) -> Row:
    """A run on one thread, so that its result does not depend on how many workers there are. A run that diverges is a result too."""
    import torch

    from etasim.training.loop import train

    torch.set_num_threads(1)
    try:
        last = train(job.recipe, job.folder, True, lambda at: progress(at.done / at.total, at.done))[-1]
    except InputError as error:
        return {"status": "stopped", "reason": "; ".join(str(error).splitlines())}
    return {"status": "ok", "reason": "", **{name: last[name] for name in ("test_accuracy", "test_loss", "train_loss")}}


def cells(rows: Iterable[Row]) -> list[Row]:
    """Mean and spread over seeds: ``spread_points`` is the standard deviation in percentage points; ``points_to_fp32`` the difference of
    the mean to that of fp32 with the same normalization and batch."""
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["scheme"], row["norm"], row["batch"]), []).append(row)
    found = {}
    for key, runs in groups.items():
        accuracies = [row["test_accuracy"] for row in runs if row["status"] == "ok"]
        cell = dict.fromkeys(CELL_COLUMNS) | dict(zip(("scheme", "norm", "batch"), key, strict=True))
        cell |= {"runs": len(accuracies), "failed": len(runs) - len(accuracies)}
        if accuracies:
            spread = 100 * stdev(accuracies) if len(accuracies) > 1 else 0.0
            extremes = {"least_accuracy": min(accuracies), "greatest_accuracy": max(accuracies)}
            cell |= {"mean_accuracy": mean(accuracies), "spread_points": round(spread, 3), **extremes}
        found[key] = cell
    for (_, norm, batch), cell in found.items():
        base = found.get((BASELINE, norm, batch), {}).get("mean_accuracy")
        if base is not None and cell["mean_accuracy"] is not None:
            cell["points_to_fp32"] = round(100 * (cell["mean_accuracy"] - base), 2)
    return list(found.values())


def cell_table(of_cells: Sequence[Row]) -> Table:
    """The cells for a terminal."""
    table = Table(title="Test accuracy: mean and standard deviation over seeds", title_justify="left")
    for heading in ("scheme", "normalization"):
        table.add_column(heading)
    for heading in ("batch", "runs", "mean %", "spread", "least %", "greatest %", "points to fp32"):
        table.add_column(heading, justify="right")
    for cell in of_cells:
        percent = [_text(cell[name], 100, ".2f") for name in ("mean_accuracy", "least_accuracy", "greatest_accuracy")]
        runs = str(cell["runs"]) + (f" ({cell['failed']} stopped)" if cell["failed"] else "")
        spread, points = _text(cell["spread_points"], 1, ".2f"), _text(cell["points_to_fp32"], 1, "+.2f")
        table.add_row(cell["scheme"], cell["norm"], str(cell["batch"]), runs, percent[0], spread, *percent[1:], points)
    return table


def _text(value: float | None, factor: float, form: str) -> str:
    return "-" if value is None else format(factor * value, form)


def _begin(jobs: Sequence[GridRun], folder: Path, resume: bool) -> list[Row]:
    """Finished rows of an earlier run of the grid; notes what the grid trains."""
    path = folder / RUNS
    plain = [job.leading() | {"recipe": job.recipe.plain()} for job in jobs]
    text = json_text({"jobs": plain})
    if not path.exists():
        write_text(folder / GRID, text)
        return []
    if not resume:
        raise InputError([Problem(str(path), 1, "", "exists; --resume continues that grid, another --out starts a new one")])
    if read_text(folder / GRID) != text:
        raise InputError([Problem(str(folder / GRID), 1, "", "belongs to a grid with other options; choose another --out")])
    return [row for row in _read_rows(path) if row["status"] != "failed"]


def _read_rows(path: Path) -> list[Row]:
    try:
        cells = list(csv.reader(io.StringIO(read_text(path)), strict=True))
        if not cells or tuple(cells[0]) != RUN_COLUMNS:
            raise ValueError
        rows = [dict(zip(RUN_COLUMNS, row, strict=True)) for row in cells[1:]]
        return [{name: cell if name in _TEXT_COLUMNS else number(cell) for name, cell in row.items()} for row in rows]
    except (ValueError, csv.Error):
        raise InputError([Problem(str(path), None, "", "damaged: not the rows that this version of etasim writes")]) from None


def _key(row: Row) -> tuple[Any, ...]:
    return tuple(row[name] for name in ("scheme", "norm", "batch", "seed"))


def _file_name(text: str) -> str:
    return "".join(char if char.isalnum() or char in "._-=" else "-" for char in text)
