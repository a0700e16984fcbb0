"""points.csv: one row a design point, appended as each finishes, and safe against a kill at any moment."""

import csv
import io
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

from etasim.config import InputError, Problem
from etasim.core.registry import METRICS
from etasim.explore.evaluate import Evaluation
from etasim.explore.space import Point, Space
from etasim.machine.arguments import FIDELITIES, shown
from etasim.machine.result import TypedRow, Value
from etasim.report.ending import uninterrupted
from etasim.report.glossary import SUMMARY
from etasim.report.glossary import columns as glossary_columns
from etasim.report.reading import is_figure
from etasim.report.staging import reserved_folder, write_text
from etasim.report.store import csv_text, number, read_text

POINTS = "points.csv"
_LEADING = ("point_id", "label", "network", "batch", "phases", "fidelity")
_CLOSING = ("status", "reason", "wall_seconds")
ROWS_NAMED = 3
Row = TypedRow


def metric_columns() -> tuple[str, ...]:
    """The figures of a finished point."""
    return tuple(name for name in glossary_columns(SUMMARY) if name not in _LEADING)


def columns(keys: Iterable[str]) -> tuple[str, ...]:
    """Columns of points.csv for a sweep over the architecture ``keys``."""
    return (*_LEADING, *keys, *_CLOSING, *metric_columns())


def row(point: Point, evaluation: Evaluation) -> Row:
    """Row of a finished point; figures that do not exist are None."""
    named: dict[str, Value] = {"point_id": point.point_id, "label": point.label, "network": point.network, "batch": point.batch}
    settings = {key: _cell(value) for key, value in point.settings.items()}
    outcome = {"fidelity": point.fidelity, "phases": ",".join(point.phases), "status": evaluation.status, "reason": evaluation.reason}
    figures = {name: evaluation.figures.get(name) for name in metric_columns()}
    return TypedRow({**named, **settings, **outcome, "wall_seconds": evaluation.wall_seconds, **figures})


def read_points(path: Path) -> list[Row]:
    """Complete rows of points.csv; a last line that a kill cut short is left out.

    Raises InputError for a file that is missing or damaged anywhere else.
    """
    text = read_text(path)
    whole = text[: text.rfind("\n") + 1]
    reader = csv.reader(io.StringIO(whole), strict=True)
    try:
        header = next(reader, [])
        if not set(columns(())) <= set(header):
            raise InputError([Problem(str(path), 1, "", "damaged: not the columns of a sweep by this version of etasim")])
        return [_typed(dict(zip(header, cells, strict=True))) for cells in reader]
    except (ValueError, csv.Error) as error:
        raise InputError([Problem(str(path), reader.line_num, "", f"damaged: {error}")]) from None


class OtherInputs(NamedTuple):
    """What is said of rows that belong to no point: why that can be, and the options that let them go."""

    why: str
    options: str


OF_SWEEP = OtherInputs("the sweep or a file that it names has changed since", "--resume --overwrite")


class PointStore:
    """Appends rows to points.csv of a folder, each on disk before the next; meanwhile the folder is this process's alone. Use as a context
    manager."""

    def __init__(self, folder: Path, space: Space, resume: bool, overwrite: bool = False, others: OtherInputs = OF_SWEEP) -> None:
        """``resume``: keep the rows of an earlier run that belong to ``space``; ``overwrite``: let the others go."""
        self._folder, self._path, self._space = folder, folder / POINTS, space
        self._columns = columns(space.keys)
        self._resume, self._overwrite, self._others = resume, overwrite, others
        self._open = ExitStack()
        self.rows: list[Row] = []

    def __enter__(self) -> "PointStore":
        """Raises InputError if the folder has rows and ``resume`` is False, or rows that belong to other inputs."""
        with ExitStack() as opened:
            opened.enter_context(reserved_folder(self._folder))
            self.rows = self._finished_before()
            self._write()
            self._file = opened.enter_context(self._path.open("a", encoding="utf-8", newline=""))
            self._open = opened.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def append(self, new: Row) -> None:
        """Add a row and have it on disk."""
        with uninterrupted():
            self._file.write(csv_text(self._columns, [new], header=False))
            self._file.flush()
            os.fsync(self._file.fileno())
        self.rows.append(new)

    def sort(self) -> None:
        """Have the rows in the order of the points, whoever finished first; nothing can be appended after that."""
        place = {point.point_id: number for number, point in enumerate(self._space.points)}
        self.rows.sort(key=lambda old: place.get(old.text("point_id"), len(place)))
        self._file.close()
        self._write()

    def _write(self) -> None:
        write_text(self._path, csv_text(self._columns, self.rows))

    def _finished_before(self) -> list[Row]:
        """Rows of an earlier run of this sweep that need no repetition: failed points are tried again. Labels are those of today."""
        if not self._path.exists() or (self._overwrite and not self._resume):
            return []
        rows = read_points(self._path)
        if rows and not self._resume:
            ways = "--resume continues that sweep, another --out starts a new one, --overwrite starts anew here"
            raise InputError([Problem(str(self._path), 1, "", f"exists; {ways}")])
        if rows and tuple(rows[0]) != self._columns and not self._overwrite:
            ways = "choose another --out, or let its rows go with --overwrite"
            raise InputError([Problem(str(self._path), 1, "", f"belongs to a sweep over other keys; {ways}")])
        labels = {point.point_id: point.label for point in self._space.points}
        known = labels.keys() | self._space.others
        strange = [old for old in rows if old["point_id"] not in known]
        if strange and not self._overwrite:
            raise InputError([Problem(str(self._path), 1, "", _strange_text(strange, len(rows), self._others))])
        kept = [old for old in rows if old["point_id"] in known and old["status"] != "failed"]
        return [TypedRow({**old, "label": labels.get(old.text("point_id"), old["label"])}) for old in kept]


def _strange_text(strange: list[Row], n_rows: int, others: OtherInputs) -> str:
    """What is wrong with rows that no point of the sweep stands for any more."""
    labels = "; ".join(dict.fromkeys(f"{old['label']} ({old['network']}, batch {old['batch']})" for old in strange[:ROWS_NAMED]))
    more = "; ..." if len(strange) > ROWS_NAMED else ""
    return (
        f"{len(strange)} of {n_rows} rows were simulated from other inputs, because {others.why}: "
        f"{labels}{more}; choose another --out, or let these rows go, and what is missing be simulated, with {others.options}"
    )


def _typed(cells: dict[str, str]) -> Row:
    """A row as it was written. Raises ValueError for a cell that its column cannot hold."""
    if cells["fidelity"] not in FIDELITIES:
        raise ValueError(f"unknown fidelity {shown(cells['fidelity'])}")
    metrics = metric_columns()
    numeric = {"batch", "wall_seconds", *(name for name in metrics if METRICS[name].unit)}
    texts = set(metrics) - numeric
    row = TypedRow({name: number(cell) if name in numeric else cell or (None if name in texts else "") for name, cell in cells.items()})
    wrong = next((name for name in numeric if row[name] is not None and not is_figure(row[name])), None)
    if wrong is not None or row["batch"] is None:
        raise ValueError(f"{wrong or 'batch'} must be a number, finite and not negative, got {shown(cells[wrong or 'batch'])}")
    return row


def _cell(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def of_status(rows: Iterable[Row], status: str) -> Iterator[Row]:
    """Rows whose status is ``status``."""
    return (candidate for candidate in rows if candidate["status"] == status)
