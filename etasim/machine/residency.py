"""When each tensor of the iteration is in DRAM and still of use: from its first write to its last read."""

from typing import TYPE_CHECKING

import numpy as np

from etasim.core.trees import Arrays
from etasim.mapping import Mapping
from etasim.program.commands import STORE, Program, engines_of

if TYPE_CHECKING:
    from etasim.machine.elaborate import Machine

NEVER = np.iinfo(np.int64).max


class Residency:
    """Takes the stretches of a program that has run, one after the other."""

    def __init__(self, machine: "Machine", mapping: Mapping) -> None:
        self._machine, self._mapping = machine, mapping
        self._addresses = np.array([tensor.address for tensor in mapping.tensors], np.int64)
        self._first, self._last = np.full((2, len(mapping.tensors)), NEVER), np.full((2, len(mapping.tensors)), -1)
        """[read or written, tensor]: the cycle in which the first command that touches it was issued, and the last one complete."""

    def take(self, program: Program) -> None:
        """The next one."""
        times, engines = self._machine.times_of(program), engines_of(program)
        for table in ("transfers", "arrivals"):
            for engine in engines.executing(table):
                own = slice(program.engine_start[engine], program.engine_start[engine + 1])
                addresses = getattr(program, table)["dram_address"][program.commands["row"][own]]
                tensor = np.searchsorted(self._addresses, addresses, side="right") - 1
                way = int(table == "arrivals" or engine == STORE)
                np.minimum.at(self._first[way], tensor, times[own, 0])
                np.maximum.at(self._last[way], tensor, times[own, 1])

    def arrays(self, total_cycles: int) -> Arrays:
        """All stretches taken: ``tensors`` [tensor, (name, tensor class)], ``tensor_bytes`` [tensor], ``tensor_cycles`` [tensor, (from,
        until)].

        A tensor that is read before it is written was there from the beginning; one that is written after it was last read stays to the
        end, for who needs it next. One that no command touches is there from 0 until 0. ``tensor_homes`` [tensor], of a machine that
        forwards results: where it lives, "DRAM", a buffer, or several of them.
        """
        mapping, (first_read, first_write), (last_read, last_write) = self._mapping, self._first, self._last
        begin = np.where(first_read <= first_write, 0, first_write)
        end = np.where(last_write >= last_read, np.where(last_write < 0, 0, total_cycles), last_read)
        homes = [", ".join(mapping.residences.homes(tensor.name)) for tensor in mapping.tensors if mapping.residences.held]
        return ({"tensor_homes": np.array(homes, np.str_)} if homes else {}) | {
            "tensors": np.array([(tensor.name, tensor.tensor_class) for tensor in mapping.tensors], np.str_).reshape(-1, 2),
            "tensor_bytes": np.array([tensor.n_bytes for tensor in mapping.tensors], np.int64),
            "tensor_cycles": np.column_stack([begin, end]),
        }
