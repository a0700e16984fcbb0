"""The evaluations of an exploration: one SQLite file, each evaluation once, on disk as it finishes, readable while the exploration runs.

The key of an evaluation is a digest of all its inputs and of the code. A process that dies leaves whole rows only.
"""

import errno
import json
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from etasim.config import InputError, Problem
from etasim.config.files import close_to
from etasim.core.json_reading import read_value
from etasim.explore.assess import FAILED, OUTCOME
from etasim.explore.design_space import Design, DesignSpace
from etasim.explore.figures import figure_names
from etasim.explore.points import POINTS
from etasim.explore.space_reading import restored_space
from etasim.machine.result import TypedRow, Value
from etasim.report.ending import uninterrupted
from etasim.report.staging import reserved_folder, staged_file
from etasim.report.store import csv_text

DATABASE = "points.db"
FORMAT = "1"
HEAD = ("point_id", "point", "label", "network", "batch", "phases", "fidelity", "asked")
"""``point``: the number of the design in its space; ``asked``: how many designs of this fidelity the search had asked for before."""
ROWS_AT_A_TIME = 1000
KINDS: dict[str, type] = {"integer": int, "real": float, "text": str}
"""Of values, as SQLite calls them."""
BUSY_SECONDS = 30.0


class Search(NamedTuple):
    """How designs are chosen: what, with the space, an exploration is."""

    method: str
    seed: int


def columns(space: DesignSpace) -> tuple[str, ...]:
    """Columns of the table of evaluations, and of points.csv."""
    return (*HEAD, *space.keys, *space.resource_names, *OUTCOME, *figure_names())


def _cell(value: Any) -> Value:
    """A setting as a cell holds it."""
    return value if isinstance(value, (str, float)) or (isinstance(value, int) and not isinstance(value, bool)) else json.dumps(value)


@contextmanager
def _sqlite_errors(path: Path) -> Iterator[None]:
    """A full disk as such, a damaged file as bad input."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        number = next((number for text, number in SYSTEM_ERRORS.items() if text in str(error)), None)
        if number is not None:
            raise OSError(number, str(error), str(path)) from None
        raise InputError(
            [Problem(str(path), None, "", f"damaged: {error}; choose another folder, or begin anew with --overwrite")]
        ) from None


SYSTEM_ERRORS = {
    "disk is full": errno.ENOSPC, "disk I/O error": errno.EIO, "unable to open": errno.EACCES, "readonly": errno.EROFS,
    "is locked": errno.EBUSY,
}  # fmt: skip
"""What SQLite says of a system that refuses; all else is a file that is none."""


class Evaluations:
    """The evaluations of one space in ``folder``, for reading. Use as a context manager."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / DATABASE
        self._folder = folder

    def __enter__(self) -> "Evaluations":
        """Raises InputError for a folder without an exploration, or a damaged one."""
        if not self.path.is_file():
            message = f"holds no exploration (no {DATABASE}); `etasim explore --out` makes one{close_to(self._folder)}"
            raise InputError([Problem(str(self._folder), None, "", message)])
        with _sqlite_errors(self.path):
            self._connection = sqlite3.connect(self.path.absolute().as_uri() + "?mode=ro", uri=True, timeout=BUSY_SECONDS)
        try:
            with _sqlite_errors(self.path):
                self._about = self._read_about()
            self.space = restored_space(read_value(self._about["space"]))
            self.search = Search(self._about["method"], int(self._about["seed"]))
        except BaseException:
            self._connection.close()  # whoever reads keeps the journal beside the file
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def _read_about(self) -> dict[str, str]:
        """What the file says of itself. Raises InputError for one of another version."""
        about = dict(self._connection.execute("SELECT name, value FROM about"))
        if about.get("format") != FORMAT:
            raise InputError([Problem(str(self.path), None, "", "written by another version of etasim; --overwrite begins anew")])
        return about

    def rows(self, wanted: Sequence[str] = (), **having: Value) -> Iterator[TypedRow]:
        """Evaluations whose columns have the values of ``having``, by design, network and fidelity; only the columns ``wanted``, if any."""
        names = ", ".join(map(_quoted, wanted)) or "*"
        where = " AND ".join(f"{_quoted(name)} = ?" for name in having)
        text = f"SELECT {names} FROM evaluations {'WHERE ' + where if where else ''} ORDER BY point, network, fidelity"
        with _sqlite_errors(self.path), closing(self._connection.execute(text, tuple(having.values()))) as cursor:
            found = [column[0] for column in cursor.description]
            for row in cursor:
                yield TypedRow(zip(found, row, strict=True))

    def count(self) -> dict[tuple[str, str], int]:
        """Number of evaluations by fidelity and status."""
        with _sqlite_errors(self.path):
            found = self._connection.execute("SELECT fidelity, status, count(*) FROM evaluations GROUP BY 1, 2 ORDER BY 1, 2")
            return {(fidelity, status): n for fidelity, status, n in found}

    def kinds(self, column: str) -> frozenset[type]:
        """Types of the values that a column has."""
        with _sqlite_errors(self.path):
            found = self._connection.execute(f"SELECT DISTINCT typeof({_quoted(column)}) FROM evaluations")
            return frozenset(KINDS[kind] for (kind,) in found if kind in KINDS)

    def find(self, point_id: str) -> TypedRow | None:
        """One evaluation by its digest."""
        return next(self.rows(point_id=point_id), None)


class Recorder(Evaluations):
    """The evaluations of ``space``, for writing: meanwhile the folder is this process's alone. Use as a context manager."""

    def __init__(self, folder: Path, space: DesignSpace, search: Search, resume: bool, overwrite: bool = False) -> None:
        """``resume``: keep what an earlier run of the same exploration found; ``overwrite``: begin anew."""
        super().__init__(folder)
        self.space, self.search = space, search
        self._resume, self._overwrite = resume, overwrite
        self._columns = columns(space)
        marks = ", ".join("?" * len(self._columns))
        self._insert = f"INSERT OR REPLACE INTO evaluations VALUES ({marks})"

    def __enter__(self) -> "Recorder":
        """Raises InputError if the folder holds another exploration, or this one and it is not to be resumed."""
        self._reserved = reserved_folder(self._folder)
        self._reserved.__enter__()
        try:
            with _sqlite_errors(self.path):
                self._open()
        except BaseException as error:
            self._reserved.__exit__(type(error), error, error.__traceback__)
            raise
        return self

    def __exit__(self, *problem: Any) -> None:
        """Back to a single file."""
        try:
            with _sqlite_errors(self.path):
                self._end_journal()
        finally:
            self._connection.close()
            self._reserved.__exit__(*problem)

    def _end_journal(self) -> None:
        """Into the file with the journal beside it; while others read that waits, and is left to the last of them if it takes too long."""
        deadline = time.monotonic() + BUSY_SECONDS
        while True:
            try:
                self._connection.execute("PRAGMA journal_mode = DELETE")
            except sqlite3.OperationalError as error:
                if "is locked" not in str(error):
                    raise
                if time.monotonic() > deadline:
                    return
                time.sleep(0.05)
            else:
                return

    def _open(self) -> None:
        if self._overwrite:
            for suffix in ("", "-wal", "-shm", "-journal"):
                self.path.with_name(DATABASE + suffix).unlink(missing_ok=True)
        self._connection = sqlite3.connect(self.path, timeout=BUSY_SECONDS, isolation_level=None)
        try:
            has_tables = self._connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
            if has_tables:
                self._check()
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = NORMAL")
            if has_tables:
                self._connection.execute("DELETE FROM evaluations WHERE status = ?", (FAILED,))
            else:  # a new file, or one that a process left that died before it filled it
                self._create()
        except BaseException:
            self._connection.close()
            raise

    def _create(self) -> None:
        names = ", ".join(_quoted(name) for name in self._columns[1:])
        about = {"format": FORMAT, "space": json.dumps(self.space.kept()), "digest": self.space.digest, **self.search._asdict()}
        with self._transaction():
            self._connection.execute("CREATE TABLE about (name TEXT PRIMARY KEY, value TEXT)")
            self._connection.execute(f"CREATE TABLE evaluations (point_id TEXT PRIMARY KEY, {names}) WITHOUT ROWID")
            self._connection.executemany("INSERT INTO about VALUES (?, ?)", [(name, str(value)) for name, value in about.items()])
            self._connection.execute("CREATE INDEX by_point ON evaluations (point, network, fidelity)")

    def _check(self) -> None:
        """Refuse what must not be mixed."""
        about = self._read_about()
        ways = "choose another --out, or begin anew with --overwrite"
        if not self._resume:
            raise InputError([Problem(str(self.path), None, "", "exists; --resume goes on, another --out or --overwrite begins anew")])
        if about["digest"] != self.space.digest:
            message = f"belongs to another space, or the file, one that it names, or etasim has changed since; {ways}"
            raise InputError([Problem(str(self.path), None, "", message)])
        known = Search(about["method"], int(about["seed"]))
        if known != self.search:
            message = f"belongs to a search by --method {known.method} --seed {known.seed}; give these, {ways}"
            raise InputError([Problem(str(self.path), None, "", message)])

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with uninterrupted(), _sqlite_errors(self.path):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                if self._connection.in_transaction:  # SQLite itself rolls back when the disk is full
                    self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def has(self, point_id: str) -> bool:
        """Whether there is an evaluation with this digest."""
        with _sqlite_errors(self.path):
            return self._connection.execute("SELECT 1 FROM evaluations WHERE point_id = ?", (point_id,)).fetchone() is not None

    def add(self, new: Iterable[TypedRow]) -> None:
        """Put evaluations on disk, all or none."""
        cells = [tuple(row.get(name) for name in self._columns) for row in new]
        with self._transaction():
            self._connection.executemany(self._insert, cells)

    def row(self, design: Design, network: str, fidelity: str, found: Mapping[str, Value], asked: int = 0) -> TypedRow:
        """The row of an evaluation that came to ``found``."""
        point_id = self.space.evaluation_digest(design, network, fidelity)
        head = (point_id, design.number, design.label, network, design.batch, ",".join(self.space.phases), fidelity, asked)
        settings = {key: _cell(value) for key, value in design.settings.items()}
        return TypedRow({**dict(zip(HEAD, head, strict=True)), **settings, **found})


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def export_csv(evaluations: Evaluations) -> Path:
    """Write all evaluations to points.csv beside the database, whole or not at all; its path."""
    path = evaluations.path.with_name(POINTS)
    names, waiting = columns(evaluations.space), []
    with staged_file(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        file.write(csv_text(names, []))
        for row in evaluations.rows(names):
            waiting.append(row)
            if len(waiting) == ROWS_AT_A_TIME:
                file.write(csv_text(names, waiting, header=False))
                waiting.clear()
        file.write(csv_text(names, waiting, header=False))
    return path
