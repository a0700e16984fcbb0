"""points.csv: one row a design point, appended as each finishes, and safe against a kill at any moment."""

import csv
import io
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from etasim.config import InputError, Problem
from etasim.explore.evaluate import Evaluation
from etasim.explore.space import Point
from etasim.machine.arguments import FIDELITIES, shown
from etasim.report.glossary import METRICS, SUMMARY_KEYS
from etasim.report.metrics import Value
from etasim.report.reading import is_figure
from etasim.report.staging import staged_file
from etasim.report.store import csv_text, number, read_text

POINTS = "points.csv"
_LEADING = ("point_id", "label", "network", "batch", "phases", "fidelity")
_CLOSING = ("status", "reason", "wall_seconds")
METRIC_COLUMNS = tuple(name for name in SUMMARY_KEYS if name not in _LEADING)
Row = dict[str, Value]


def columns(keys: Iterable[str]) -> tuple[str, ...]:
    """Columns of points.csv for a sweep over the architecture ``keys``."""
    return (*_LEADING, *keys, *_CLOSING, *METRIC_COLUMNS)


def row(point: Point, evaluation: Evaluation) -> Row:
    """Row of a finished point; figures that do not exist are None."""
    named = {"point_id": point.point_id, "label": point.label, "network": point.network, "batch": point.batch, "fidelity": point.fidelity}
    settings = {key: _cell(value) for key, value in point.settings.items()}
    outcome = {"phases": ",".join(point.phases), "status": evaluation.status, "reason": evaluation.reason}
    figures = {name: (evaluation.summary or {}).get(name) for name in METRIC_COLUMNS}
    return named | settings | outcome | {"wall_seconds": evaluation.wall_seconds} | figures


def read_points(path: Path) -> list[Row]:
    """Complete rows of points.csv; a last line that a kill cut short is left out.

    Raises InputError for a file that is missing or damaged anywhere else.
    """
    text = read_text(path)
    whole = text[: text.rfind("\n") + 1]
    reader = csv.reader(io.StringIO(whole), strict=True)
    header = next(reader, [])
    if not set(columns(())) <= set(header):
        raise InputError([Problem(str(path), 1, "", "damaged: not the columns of a sweep by this version of etasim")])
    try:
        return [_typed(dict(zip(header, cells, strict=True))) for cells in reader]
    except (ValueError, csv.Error) as error:
        raise InputError([Problem(str(path), reader.line_num, "", f"damaged: {error}")]) from None


class PointStore:
    """Appends rows to points.csv of a folder, each on disk before the next. Use as a context manager."""

    def __init__(self, folder: Path, keys: Iterable[str], resume: bool):
        """Raises InputError if the file exists and ``resume`` is False, or if it belongs to another sweep."""
        self._path = folder / POINTS
        self._columns = columns(keys)
        self.rows = self._finished_before(resume)
        folder.mkdir(parents=True, exist_ok=True)
        with staged_file(self._path) as temporary:
            temporary.write_text(csv_text(self._columns, self.rows), encoding="utf-8", newline="\n")

    def __enter__(self) -> "PointStore":
        self._file = self._path.open("a", encoding="utf-8", newline="")
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def append(self, new: Row) -> None:
        """Add a row and have it on disk."""
        self._file.write(csv_text(self._columns, [new], header=False))
        self._file.flush()
        os.fsync(self._file.fileno())
        self.rows.append(new)

    def _finished_before(self, resume: bool) -> list[Row]:
        """Rows of an earlier run of this sweep that need no repetition: failed points are tried again."""
        if not self._path.exists():
            return []
        if not resume:
            raise InputError([Problem(str(self._path), 1, "", "exists; --resume continues that sweep, another --out starts a new one")])
        rows = read_points(self._path)
        if rows and tuple(rows[0]) != self._columns:
            raise InputError([Problem(str(self._path), 1, "", "belongs to a sweep over other keys; choose another --out")])
        return [old for old in rows if old["status"] != "failed"]


def _typed(cells: dict[str, str]) -> Row:
    """A row as it was written. Raises ValueError for a cell that its column cannot hold."""
    if cells["fidelity"] not in FIDELITIES:
        raise ValueError(f"unknown fidelity {shown(cells['fidelity'])}")
    numeric = {"batch", "wall_seconds", *(name for name in METRIC_COLUMNS if METRICS[name].unit)}
    texts = set(METRIC_COLUMNS) - numeric
    row = {name: number(cell) if name in numeric else cell or (None if name in texts else "") for name, cell in cells.items()}
    wrong = next((name for name in numeric if row[name] is not None and not is_figure(row[name])), None)
    if wrong is not None or row["batch"] is None:
        raise ValueError(f"{wrong or 'batch'} must be a number, finite and not negative, got {shown(cells[wrong or 'batch'])}")
    return row


def _cell(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def of_status(rows: Iterable[Row], status: str) -> Iterator[Row]:
    """Rows whose status is ``status``."""
    return (candidate for candidate in rows if candidate["status"] == status)
