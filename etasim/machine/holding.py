"""What the buffers hold over time: bytes that are being written, or are written and still to be read."""

from typing import TYPE_CHECKING

import numpy as np

from etasim.core.arrays import Integers
from etasim.core.jit import is_cached, procedure
from etasim.mapping import Mapping
from etasim.mapping.mapper import limits_of
from etasim.program.accesses import accesses, executed_by
from etasim.program.commands import TENSOR_CLASSES, Program

if TYPE_CHECKING:
    from etasim.machine.elaborate import Machine


@procedure
def _hold(
    command: Integers,
    first_cell: Integers,
    end_cell: Integers,
    writes: Integers,
    kind_of: Integers,
    times: Integers,
    n_bytes: Integers,
    buffer_of: Integers,
    opened: Integers,
    closes: Integers,
    kind: Integers,
    changes: Integers,
) -> None:
    """Enter into ``changes`` [sample, buffer, kind] what each holding of a cell that is over adds where it begins and takes where it ends.

    ``times`` [command, (issued, completed)] in samples: which of two cycles is later does not change by counting in longer steps.
    Runs in the order of emission: of a cell, which no two commands may touch at once, that is the order of time. ``opened`` and ``closes``
    [cell]: the samples in which it began to be held and was last held so far, for ``kind`` (-1: not held). A command that reads a cell and
    writes it begins to hold it when what it reads is done with.
    """
    for a in range(command.shape[0]):
        begins, ends = times[command[a], 0], times[command[a], 1]
        for cell in range(first_cell[a], end_cell[a]):
            if writes[a]:
                begun = max(begins, closes[cell])
                if kind[cell] >= 0:
                    changes[opened[cell], buffer_of[cell], kind[cell]] += n_bytes[cell]
                    changes[closes[cell], buffer_of[cell], kind[cell]] -= n_bytes[cell]
                opened[cell] = begun
                closes[cell] = max(ends, begun)
                kind[cell] = kind_of[command[a]]
            elif kind[cell] >= 0:
                closes[cell] = max(closes[cell], ends)


def is_compiled() -> bool:
    """Whether the scan is on disk; the first series compiles it otherwise."""
    return is_cached(_hold)


class _Cells:
    """The cells into which the runs so far cut the buffers, and what `_hold` knows of each; ``base``: where each buffer begins."""

    def __init__(self, base: np.ndarray) -> None:
        self.base, self.edges = base, np.zeros(0, np.int64)
        self.opened: np.ndarray = np.zeros(0, np.int32)
        self.closes, self.kind = self.opened, self.opened

    def cut(self, first: np.ndarray, end: np.ndarray) -> None:
        """Cut them where accesses begin and end; a piece of a cell is held as the cell was. Marks on the bytes find the edges several times
        as fast as a sort of the accesses."""
        begins = np.zeros(self.base[-1] + 1, bool)
        begins[self.edges] = begins[first] = begins[end] = True
        edges = np.flatnonzero(begins)
        of = np.searchsorted(self.edges, edges, side="right") - 1
        new, nothing = of < 0, np.zeros(1, np.int32)
        self.opened, self.closes = (np.where(new, nothing, np.append(each, nothing)[of]) for each in (self.opened, self.closes))
        self.kind = np.where(new, nothing - 1, np.append(self.kind, nothing - 1)[of])
        self.edges = edges

    @property
    def n_bytes(self) -> np.ndarray:
        """Of each cell."""
        return np.diff(self.edges, append=self.edges[-1:])

    @property
    def buffer_of(self) -> np.ndarray:
        """The buffer of each cell."""
        return np.searchsorted(self.base, self.edges, side="right") - 1

    def end(self, changes: np.ndarray) -> None:
        """Enter into ``changes`` what is held last."""
        held = self.kind >= 0
        kind, n_bytes, buffer = self.kind[held], self.n_bytes[held], self.buffer_of[held]
        np.add.at(changes, (self.opened[held], buffer, kind), n_bytes)
        np.add.at(changes, (self.closes[held], buffer, kind), -n_bytes)


def held_bytes(machine: "Machine", mapping: Mapping, ends: np.ndarray) -> np.ndarray:
    """Bytes held before the cycles ``ends``, all but the last one equally far apart: [sample, buffer, tensor class or result]."""
    limits, n_kinds = limits_of(machine.architecture, mapping), len(TENSOR_CLASSES) + 1
    changes = np.zeros((len(ends) + 1, len(limits.buffer_bytes), n_kinds), np.int64)
    cells = _Cells(np.concatenate([[0], np.cumsum(limits.buffer_bytes)]))
    for program in machine.stretches():
        n_before, of_commands, kinds = program.before.sum(), machine.times_of(program), _kinds(program)
        times = np.empty_like(of_commands)
        times[program.commands["order"] - n_before] = of_commands // int(ends[0])
        for every in accesses(program, limits.buffer_bytes, limits.word_bytes, limits.segment_bytes):
            inside = every.end <= every.base[-1]
            command, first, end, writes = (column[inside] for column in (every.command, every.first, every.end, every.writes))
            if not len(command):
                continue
            cells.cut(first, end)
            _hold(
                command - n_before, np.searchsorted(cells.edges, first), np.searchsorted(cells.edges, end), writes.astype(np.int64),
                kinds, times, cells.n_bytes, cells.buffer_of, cells.opened, cells.closes, cells.kind, changes,
            )  # fmt: skip
    cells.end(changes)
    return changes.cumsum(axis=0)[:-1]


def _kinds(program: Program) -> np.ndarray:
    """What the command at each place of a window writes into a buffer: a tensor class, or the number after the last one."""
    kinds = np.full(len(program.commands), len(TENSOR_CLASSES))
    for table in ("transfers", "moves"):
        engine, place = executed_by(program, table)
        kinds[place[engine >= 0] - program.before.sum()] = getattr(program, table)["tensor_class"][engine >= 0]
    return kinds
