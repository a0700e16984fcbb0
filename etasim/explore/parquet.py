"""All evaluations of an exploration as a Parquet file, for pandas, DuckDB or Spark: the rows and columns of points.csv, with types."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from etasim.explore.database import ROWS_AT_A_TIME, Evaluations, columns
from etasim.machine.result import TypedRow, Value
from etasim.report.staging import staged_file

PARQUET = "points.parquet"


def export_parquet(evaluations: Evaluations) -> Path:
    """Write all evaluations beside the database, whole or not at all; the path. A column with texts has texts alone. Needs pyarrow."""
    import pyarrow
    import pyarrow.parquet

    path, names = evaluations.path.with_name(PARQUET), columns(evaluations.space)
    types = {name: _type_of(evaluations.kinds(name)) for name in names}
    arrow = {int: pyarrow.int64(), float: pyarrow.float64(), str: pyarrow.string()}
    schema = pyarrow.schema([(name, arrow[types[name]]) for name in names])
    with staged_file(path) as temporary, pyarrow.parquet.ParquetWriter(temporary, schema) as writer:
        for rows in _batches(evaluations.rows(names)):
            cells = {name: [_as(types[name], row[name]) for row in rows] for name in names}
            writer.write_table(pyarrow.table(cells, schema=schema))
    return path


def _type_of(kinds: frozenset[type]) -> type:
    """What holds values of all ``kinds``."""
    return str if str in kinds else float if float in kinds else int if int in kinds else str


def _as(kind: type, value: Value) -> Any:
    return None if value is None else kind(value)


def _batches(rows: Iterator[TypedRow]) -> Iterator[list[TypedRow]]:
    while found := list(islice(rows, ROWS_AT_A_TIME)):
        yield found
