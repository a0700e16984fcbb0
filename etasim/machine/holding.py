"""What the buffers hold over time: bytes that are being written, or are written and still to be read."""

from typing import TYPE_CHECKING

import numpy as np

from etasim.core.arrays import Integers
from etasim.core.jit import is_cached, procedure
from etasim.mapping import Mapping
from etasim.mapping.mapper import limits_of
from etasim.program.accesses import accesses, executed_by
from etasim.program.commands import TENSOR_CLASSES

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
    """Enter into ``changes`` [sample, buffer, kind] what each holding of a cell adds where it begins and takes where it ends.

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
    for cell in range(kind.shape[0]):
        if kind[cell] >= 0:
            changes[opened[cell], buffer_of[cell], kind[cell]] += n_bytes[cell]
            changes[closes[cell], buffer_of[cell], kind[cell]] -= n_bytes[cell]


def is_compiled() -> bool:
    """Whether the scan is on disk; the first series compiles it otherwise."""
    return is_cached(_hold)


def held_bytes(machine: "Machine", mapping: Mapping, ends: np.ndarray) -> np.ndarray:
    """Bytes held before the cycles ``ends``, all but the last one equally far apart: [sample, buffer, tensor class or result]."""
    limits, program = limits_of(machine.architecture, mapping), machine.program
    every = accesses(program, limits.buffer_bytes, limits.word_bytes, limits.segment_bytes)
    inside = every.end <= every.base[-1]
    command, first, end, writes = (column[inside] for column in (every.command, every.first, every.end, every.writes))
    edges = _cells(first, end, int(every.base[-1]))
    first_cell, end_cell = np.searchsorted(edges, first), np.searchsorted(edges, end)
    times = np.empty_like(machine.states.controller.times)
    times[program.commands["order"]] = machine.states.controller.times // int(ends[0])
    buffer_of = np.searchsorted(every.base, edges, side="right") - 1
    n_cells, n_kinds, n_bytes = len(edges), len(TENSOR_CLASSES) + 1, np.diff(edges, append=edges[-1:])
    changes = np.zeros((len(ends) + 1, len(limits.buffer_bytes), n_kinds), np.int64)
    _hold(
        command, first_cell, end_cell, writes.astype(np.int64), _kinds(machine), times, n_bytes, buffer_of,
        np.zeros(n_cells, np.int32), np.zeros(n_cells, np.int32), np.full(n_cells, -1, np.int32), changes,
    )  # fmt: skip
    return changes.cumsum(axis=0)[:-1]


def _cells(first: np.ndarray, end: np.ndarray, n_bytes: int) -> np.ndarray:
    """Bytes that no access tells apart are a cell: where cells begin, of all ``n_bytes``. Marks on the bytes find them several times as
    fast as a sort of the accesses."""
    begins = np.zeros(n_bytes + 1, bool)
    begins[first] = begins[end] = True
    return np.flatnonzero(begins)


def _kinds(machine: "Machine") -> np.ndarray:
    """What the command at each place of the order of emission writes into a buffer: a tensor class, or the number after the last one."""
    kinds = np.full(len(machine.program.commands), len(TENSOR_CLASSES))
    for table in ("transfers", "moves"):
        engine, place = executed_by(machine.program, table)
        kinds[place[engine >= 0]] = getattr(machine.program, table)["tensor_class"][engine >= 0]
    return kinds
