"""When each tensor of the iteration is in DRAM and still of use: from its first write to its last read."""

from typing import TYPE_CHECKING

import numpy as np

from etasim.core.trees import Arrays
from etasim.mapping import Mapping
from etasim.program.commands import STORE, engines_of

if TYPE_CHECKING:
    from etasim.machine.elaborate import Machine

NEVER = np.iinfo(np.int64).max


def residency(machine: "Machine", mapping: Mapping, total_cycles: int) -> Arrays:
    """``tensors`` [tensor, (name, tensor class)], ``tensor_bytes`` [tensor], ``tensor_cycles`` [tensor, (from, until)].

    A tensor that is read before it is written was there from the beginning; one that is written after it was last read stays to the end,
    for who needs it next. One that no command touches is there from 0 until 0. ``tensor_homes`` [tensor], of a machine that forwards
    results: where it lives, "DRAM", a buffer, or several of them.
    """
    first, last = _touched(machine, np.array([tensor.address for tensor in mapping.tensors]))
    (first_read, first_write), (last_read, last_write) = first, last
    begin = np.where(first_read <= first_write, 0, first_write)
    end = np.where(last_write >= last_read, np.where(last_write < 0, 0, total_cycles), last_read)
    homes = np.array([", ".join(mapping.residences.homes(tensor.name)) for tensor in mapping.tensors], np.str_)
    return ({"tensor_homes": homes} if mapping.residences.held else {}) | {
        "tensors": np.array([(tensor.name, tensor.tensor_class) for tensor in mapping.tensors], np.str_).reshape(-1, 2),
        "tensor_bytes": np.array([tensor.n_bytes for tensor in mapping.tensors], np.int64),
        "tensor_cycles": np.column_stack([begin, end]),
    }


def _touched(machine: "Machine", addresses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """[read or written, tensor]: the cycle in which the first command that touches it was issued, and the last one complete; `NEVER` and -1
    where none does."""
    first, last = np.full((2, len(addresses)), NEVER), np.full((2, len(addresses)), -1)
    for program in machine.stretches():
        times, engines = machine.times_of(program), engines_of(program)
        for table in ("transfers", "arrivals"):
            for engine in engines.executing(table):
                own = slice(program.engine_start[engine], program.engine_start[engine + 1])
                rows = getattr(program, table)[program.commands["row"][own]]
                tensor = np.searchsorted(addresses, rows["dram_address"], side="right") - 1
                way = int(table == "arrivals" or engine == STORE)
                np.minimum.at(first[way], tensor, times[own, 0])
                np.maximum.at(last[way], tensor, times[own, 1])
    return first, last
