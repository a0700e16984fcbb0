"""Tables and texts on standard output, and how much is said beside them."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from enum import IntEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Column, Table

STANDARD_ERROR = 2
PIPE_WIDTH = 160
"""Columns of a table where standard output is not a terminal."""
FEWEST_COLUMNS = 2
WIDEST = 10_000
"""More than any table wants."""
BESIDE_A_CELL = 4
"""Padding on both sides, and the lines of a table."""


class Verbosity(IntEnum):
    """How much is said on standard error besides what is wrong: nothing, progress, or also where a problem was found."""

    QUIET = -1
    NORMAL = 0
    VERBOSE = 1


_verbosity: ContextVar[Verbosity] = ContextVar("verbosity", default=Verbosity.NORMAL)


def verbosity() -> Verbosity:
    """What the command in progress was asked for."""
    return _verbosity.get()


@contextmanager
def saying(much: Verbosity) -> Iterator[None]:
    """In this block so much is said."""
    token = _verbosity.set(much)
    try:
        yield
    finally:
        _verbosity.reset(token)


def note(text: str) -> None:
    """Say something on standard error that is not an error."""
    if verbosity() != Verbosity.QUIET:
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()


def print_renderable(renderable: Any) -> None:
    """Print what rich can draw; a table that a terminal is too narrow for is wrapped, or loses its last columns and says so.

    Raises BrokenPipeError if nobody reads.
    """
    from rich.console import Console

    class Output(Console):
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError

    console = Output(highlight=False)
    if not console.is_terminal:
        console.width = PIPE_WIDTH
    console.print(fitted(renderable, console))


def fitted(renderable: Any, console: "Console", limit: int = WIDEST) -> Any:
    """``renderable`` with its tables as wide as ``console`` at most, or as ``limit``, and no cell cut."""
    from rich.console import Group
    from rich.constrain import Constrain
    from rich.table import Table

    if isinstance(renderable, Group):
        return Group(*(fitted(part, console, limit) for part in renderable.renderables))
    if isinstance(renderable, Constrain):
        return Constrain(fitted(renderable.renderable, console, min(renderable.width or WIDEST, limit)), renderable.width)
    return _fitted_table(renderable, console, limit) if isinstance(renderable, Table) else renderable


def _fitted_table(table: "Table", console: "Console", limit: int) -> Any:
    """Texts wrap at words; where words and figures do not fit, columns go, the last ones first."""
    from rich.console import Group
    from rich.measure import Measurement
    from rich.text import Text

    for column in table.columns:
        column.no_wrap, column.overflow = column.justify == "right", "fold"
    left_out: list[str] = []
    width, anywhere = min(console.width, limit), console.options.update(max_width=WIDEST)
    if sum(map(_most_columns, table.columns)) <= width:
        return table  # rich measures every word of a table, which takes as long as to print it
    while len(table.columns) > FEWEST_COLUMNS and Measurement.get(console, anywhere, table).minimum > width:
        left_out.insert(0, str(table.columns.pop().header).replace("\n", " ") or "a column without a heading")
    where = "; a wider terminal or a pipe has all" if width < limit else ""
    note = f"not shown in {width} columns: {', '.join(left_out)}{where}"
    return Group(table, Text(note)) if left_out else table


def _most_columns(column: "Column") -> int:
    """Of the terminal, at most: the longest line of a column of texts, with what stands beside it. Markup only takes characters away."""
    from rich.cells import cell_len
    from rich.text import Text

    texts = [column.header, *column.cells, column.footer]
    if not all(isinstance(text, (str, Text)) for text in texts):
        return WIDEST
    longest = max(cell_len(line) for text in texts for line in str(text).splitlines() or [""])
    return BESIDE_A_CELL + max(longest, column.width or 0, column.min_width or 0)


def settle_streams() -> None:
    """A closed stream swallows what is written to it, and no file that is opened later takes its number; characters that the terminal does
    not know are escaped."""
    while (handle := os.open(os.devnull, os.O_RDWR)) <= STANDARD_ERROR:
        pass
    os.close(handle)
    for name, number in (("stdout", 1), ("stderr", STANDARD_ERROR)):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "w", encoding="utf-8"))
        getattr(sys, name).reconfigure(errors="backslashreplace")
