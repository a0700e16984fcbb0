"""The series of a run: what happened in each sample, and how it stood at its end (docs/series.md)."""

from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from etasim.core.trees import Arrays
from etasim.machine.holding import Holding
from etasim.machine.parts import buffers_of
from etasim.machine.residency import Residency
from etasim.machine.result import FLIT_CLASSES
from etasim.machine.rows import node_names, words_by_part
from etasim.machine.sampling import Sampler, added_up
from etasim.machine.tallies import BUSY_CYCLES, READ, VECTOR_CYCLES, WRITTEN, Tallies
from etasim.mapping import Mapping
from etasim.memory.buffer import COUNTERS as BUFFER_COUNTERS
from etasim.memory.dram.spec import COUNTERS as DRAM_COUNTERS
from etasim.noc.results import link_ends
from etasim.noc.spec import COUNTERS as NOC_COUNTERS
from etasim.pe.causes import CAUSES
from etasim.pe.unified import COUNTERS as UNIFIED_COUNTERS
from etasim.program.commands import TENSOR_CLASSES, Program, engine_names, engines_of
from etasim.schedule.array import array_of

if TYPE_CHECKING:
    from etasim.machine.elaborate import Machine

NO_SUMS = ("progress", "ends", "work", "operations")
"""Fields of `Tallies` that are no counters of each sample."""

RESULT = "result"
"""What a buffer holds besides tensors: sums of the array, results of the unified core."""


class Series(NamedTuple):
    """``ends`` [sample]: the core cycle after each, the last one of which may be shorter than ``sample_cycles``; ``arrays``: all others
    by their names in docs/series.md."""

    sample_cycles: int
    ends: np.ndarray
    arrays: Arrays


class Passage:
    """What a series says of the commands of a machine that has run: takes their stretches, one after the other."""

    def __init__(self, machine: "Machine", mapping: Mapping, sampler: Sampler) -> None:
        self._ends = sampler.taken().ends
        self._holding, self._residency = Holding(machine, mapping, self._ends), Residency(machine, mapping)

    def take(self, program: Program) -> None:
        """The next one."""
        self._holding.take(program)
        self._residency.take(program)

    def arrays(self) -> Arrays:
        """All stretches taken."""
        return {"held_bytes": self._holding.held_bytes()} | self._residency.arrays(int(self._ends[-1]))


def series_of(machine: "Machine", mapping: Mapping, sampler: Sampler, passage: Passage) -> Series:
    """The series of a machine that has run, from all its samples; ``passage`` has taken its whole program."""
    kept = sampler.taken()
    happened = {name: _steps(table) for name, table in zip(kept._fields, kept, strict=True) if name not in NO_SUMS}
    ends = kept.ends.copy()
    arrays = _names(machine, mapping, sampler) | _of_memories(machine, happened) | _of_array(happened)
    arrays |= _work(kept, machine.specs.dram.burst_bytes)
    arrays |= {"commands_waiting": _commands_waiting(machine, ends)} | passage.arrays()
    return Series(int(kept.progress[1]), ends, arrays)


def _steps(table: np.ndarray) -> np.ndarray:
    """What was added between two samples, from sums since cycle 0."""
    steps = table.copy()
    steps[1:] -= table[:-1]
    return steps


def _names(machine: "Machine", mapping: Mapping, sampler: Sampler) -> Arrays:
    """What the columns are."""
    ends = {link: (router, name) for link, router, name in link_ends(machine.specs.noc, node_names(machine))}
    places = [(ends[link][0], link % machine.specs.noc.n_ports) for link in sampler.links.tolist()]
    return {
        "tensor_classes": np.array(TENSOR_CLASSES),
        "operations": np.array([(operation.layer, operation.phase) for operation in mapping.operations]),
        "buffers": np.array(list(buffers_of(machine.architecture))),
        "buffer_bytes": np.array(array_of(machine.architecture).buffer_bytes, np.int64),
        "flit_classes": np.array(FLIT_CLASSES[: machine.specs.noc.n_classes]),
        "links": np.array(places, np.int64).reshape(-1, 2),
        "link_targets": np.array([ends[link][1] for link in sampler.links.tolist()], np.str_),
        "causes": np.array(list(CAUSES)),
        "engines": np.array(engine_names(engines_of(machine.program))),
        "held": np.array([*TENSOR_CLASSES, RESULT]),
    }


def _of_memories(machine: "Machine", happened: Arrays) -> Arrays:
    """DRAM, network, buffers and the parts at their ports."""
    burst_bytes = machine.specs.dram.burst_bytes
    arrays = {f"dram_{name}": happened["dram"][..., i] for i, name in enumerate(DRAM_COUNTERS.names or ()) if not name.startswith("max_")}
    arrays |= {"dram_turns": happened["turns"], "host_bytes": happened["host"][:, 0] * burst_bytes}
    arrays |= {f"class_{way}_bytes": happened["classes"][:, i] * burst_bytes for i, way in enumerate(("read", "write"))}
    arrays |= {f"noc_{name}": happened["noc"][..., i] for i, name in enumerate(NOC_COUNTERS.names or ())}
    arrays |= {f"buffer_{name}": happened["buffers"][..., i] for i, name in enumerate(BUFFER_COUNTERS.names or ())}
    names = list(UNIFIED_COUNTERS.names or ())
    vectors = happened["unified"].sum(axis=1)[:, [names.index("read_words"), names.index("written_words")]]
    moved = words_by_part(happened["fed"], happened["dma"], vectors, happened["collected"].sum(axis=1), happened["moved"])
    arrays |= {"port_parts": np.array(list(moved)), "port_words": np.stack(list(moved.values()), axis=1)}
    return arrays | {"link_flits": happened["links"]}


def _of_array(happened: Arrays) -> Arrays:
    """Clusters, scratchpads, unified cores."""
    names = list(UNIFIED_COUNTERS.names or ())
    counted = {f"unified_{name}": happened["unified"][..., names.index(name)] for name in ("busy_cycles", "operand_stall_cycles")}
    return {"cluster_cycles": happened["causes"], "scratchpad_words": happened["arrived"], **counted}


def _work(kept: Tallies, burst_bytes: int) -> Arrays:
    """What operations did, an entry for each sample and operation in which not all is 0. The last sample is taken again at the end."""
    work = kept.work.copy()
    work[:, 0] = np.minimum(work[:, 0], len(kept.ends) - 1)
    sample, operation, *done = added_up(work).T
    return {
        "work_sample": sample, "work_operation": operation,
        "work_read_bytes": done[READ] * burst_bytes, "work_write_bytes": done[WRITTEN] * burst_bytes,
        "work_cluster_busy_cycles": done[BUSY_CYCLES], "work_unified_busy_cycles": done[VECTOR_CYCLES],
    }  # fmt: skip


def _commands_waiting(machine: "Machine", ends: np.ndarray) -> np.ndarray:
    """Commands of each engine that are issued and not complete before cycle ``ends``: [sample, engine]."""
    start, times = machine.specs.controller.start, machine.states.controller.times
    own = [times[a:b] for a, b in pairwise(start)]
    return np.stack([np.searchsorted(t[:, 0], ends) - np.searchsorted(t[:, 1], ends) for t in own], axis=1)
