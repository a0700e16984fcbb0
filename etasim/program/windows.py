"""A program in windows: runs of its commands in the order of emission, packed until someone needs them.

A program that is not long stays as it is, and of a long one the first windows: packing takes longer than it is worth there.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from etasim.program.commands import ROWS, Program
from etasim.program.durations import Least, least_of
from etasim.program.packed import Packed, pack, unpack

WINDOW_COMMANDS = 2**14
"""Of a window, about: 3 MB when it is unpacked."""

TABLES = ("commands", "dependencies", *ROWS)
"""What a window has of its own; pools are shared by all."""

LEFT_BYTES = 12 * 2**20
"""Of the windows of a long program that are not packed, together."""

LONG_BYTES = 64 * 2**20
"""More than a program has that is not packed at all: that of ResNet18 at batch 8 has 55 MiB, and zlib took 3 % of its run."""


NOT_THERE = -1
"""The row of a command whose window is not in the machine."""


class Head(NamedTuple):
    """The first command of an engine in a window, whose row is not there, and its ``dependencies``."""

    command: np.ndarray
    dependencies: np.ndarray


class Window(NamedTuple):
    """A window: its ``tables``, packed or as they are, what lies ``before`` it and the ``end`` of it [engine], the
    heads of engines that have commands, and what it takes at the least."""

    tables: Mapping[str, Packed | np.ndarray]
    before: np.ndarray
    end: np.ndarray
    heads: dict[int, Head]
    least: Least


def _head(program: Program, engine: int) -> Head:
    command = program.commands[program.engine_start[engine] : program.engine_start[engine] + 1].copy()
    first, n = int(command["first_dependency"][0]), int(command["n_dependencies"][0])
    command["row"], command["first_dependency"] = NOT_THERE, 0
    return Head(command, program.dependencies[first : first + n].copy())


def _kept(table: np.ndarray) -> np.ndarray:
    """The table as it is, for readers alone."""
    kept = table.view()
    kept.flags.writeable = False
    return kept


class ProgramWindows:
    """All windows of a program, in order. ``most_rows``: of each table, in a window. ``_unpacked``: number and tables of those that are
    packed if the program turns out to be long."""

    def __init__(self) -> None:
        self._windows: list[Window] = []
        self._shared: Program | None = None
        self._n_bytes = 0
        self._unpacked: list[tuple[int, dict[str, np.ndarray]]] = []
        self.most_rows = dict.fromkeys(TABLES, 1)

    def add(self, program: Program) -> None:
        """Append a window. The pools of the last one hold those of all."""
        tables = {name: getattr(program, name) for name in TABLES}
        for name, table in tables.items():
            self.most_rows[name] = max(self.most_rows[name], len(table))
        held = np.diff(program.engine_start)
        heads = {engine: _head(program, engine) for engine in np.flatnonzero(held).tolist()}
        kept = {name: _kept(table) for name, table in tables.items()}
        self._windows.append(Window(kept, program.before, program.before + held, heads, least_of(program)))
        self._shared = program._replace(**{name: np.zeros(0, table.dtype) for name, table in tables.items()})
        self._n_bytes += sum(table.nbytes for table in tables.values())
        if self._n_bytes > LEFT_BYTES:
            self._unpacked.append((len(self) - 1, kept))
        if self._n_bytes > LONG_BYTES:
            for number, left in self._unpacked:
                self._windows[number] = self._windows[number]._replace(tables={name: pack(table) for name, table in left.items()})
            self._unpacked.clear()

    def __len__(self) -> int:
        return len(self._windows)

    def __iter__(self) -> Iterator[Program]:
        """All of them, each unpacked when its turn comes."""
        return (self.program(number) for number in range(len(self)))

    def __getitem__(self, number: int) -> Window:
        return self._windows[number]

    def program(self, number: int) -> Program:
        """The window ``number``, not to be written to."""
        window = self._windows[number]
        start = np.concatenate([[0], np.cumsum(window.end - window.before)])
        tables = {name: unpack(each) if isinstance(each, Packed) else each for name, each in window.tables.items()}
        return self.outline._replace(engine_start=start, before=window.before, **tables)

    @property
    def least(self) -> list[Least]:
        """What each takes at the least."""
        return [window.least for window in self._windows]

    @property
    def contents(self) -> Iterator[bytes]:
        """The bytes of all windows, equal for equal programs."""
        tables = (table for window in self._windows for table in window.tables.values())
        return (table.data if isinstance(table, Packed) else table.tobytes() for table in tables)

    @property
    def outline(self) -> Program:
        """The pools and the engines, with the number of all their commands; no command."""
        assert self._shared is not None, "a program has a window"
        end = self._windows[-1].end
        return self._shared._replace(engine_start=np.concatenate([[0], np.cumsum(end)]), before=np.zeros_like(end))
