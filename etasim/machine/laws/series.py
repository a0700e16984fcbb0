"""Laws of the series: what happened in its samples is what happened in the run, and no sample has more than there is."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from etasim.core.trees import Arrays
from etasim.machine.laws.compare import at_least, equal, same
from etasim.machine.result import LayerRow
from etasim.machine.series import Series
from etasim.memory.dram.pins import data_buses
from etasim.pe.causes import CAUSE_COLUMNS
from etasim.program.commands import STORE, TENSOR_CLASSES, engines_of

if TYPE_CHECKING:
    from etasim.machine.elaborate import Machine

ACCESSES = ("read", "write")


def violated(machine: "Machine", series: Series, rows: tuple[LayerRow, ...]) -> Iterator[str]:
    """Every law that a series breaks."""
    yield from _parts(machine, series.arrays)
    yield from _rows(machine, series.arrays, rows)
    yield from _bounds(machine, series)


def _parts(machine: "Machine", series: Arrays) -> Iterator[str]:
    """Amounts add up to the counters of the parts."""
    s = machine.states
    for prefix, counters in (("dram", s.dram.counters), ("noc", s.noc.counters), ("buffer", s.buffers.counters)):
        for name in counters.dtype.names or ():
            if not name.startswith("max_"):
                yield from same(f"series: sum of {prefix}_{name}, of the part", series[f"{prefix}_{name}"].sum(axis=0), counters[name])
    yield from same("series: sum of dram_turns, of the channels", series["dram_turns"].sum(axis=0), s.dram.turns[:, 0])
    yield from same("series: sum of link_flits, of the links [class]", series["link_flits"].sum(axis=(0, 1)), s.noc.link_flits.sum(axis=0))
    arrived = s.clusters.arrived.sum(axis=0)
    yield from same("series: sum of scratchpad_words, of the clusters", series["scratchpad_words"].sum(axis=0), arrived)


def _rows(machine: "Machine", series: Arrays, rows: tuple[LayerRow, ...]) -> Iterator[str]:
    """Amounts add up to the rows of the report, as far as parts count them: an engine that takes no time counts nothing."""
    instant = machine.specs.controller.instant
    names = (*CAUSE_COLUMNS, *_byte_columns(), "unified_core_busy_cycles")
    counts: list[Any] = [[row[name] for name in names] for row in rows]
    table = dict(zip(names, np.array(counts, np.int64).T, strict=True))
    by_cause = np.array([table[name].sum() for name in CAUSE_COLUMNS])
    yield from same("series: sum of cluster_cycles, of the rows", series["cluster_cycles"].sum(axis=0), by_cause)
    of_rows = {"work_cluster_busy_cycles": table["cluster_busy_cycles"]}
    if not instant[STORE]:
        for access in ACCESSES:
            columns = np.array([table[f"dram_{access}_{name}_bytes"] for name in TENSOR_CLASSES])
            found = series[f"class_{access}_bytes"].sum(axis=0)
            yield from same(f"series: sum of class_{access}_bytes, of the rows", found, columns.sum(axis=1))
            of_rows[f"work_{access}_bytes"] = columns.sum(axis=0)
    if not instant[engines_of(machine.program).vectors[0]]:
        of_rows["work_unified_busy_cycles"] = table["unified_core_busy_cycles"]
    for name, expected in of_rows.items():
        found = np.zeros(len(rows), np.int64)
        np.add.at(found, series["work_operation"], series[name])
        yield from same(f"series: sum of {name}, of the rows", found, expected)


def _byte_columns() -> Iterator[str]:
    return (f"dram_{access}_{name}_bytes" for access in ACCESSES for name in TENSOR_CLASSES)


def _bounds(machine: "Machine", series: Series) -> Iterator[str]:
    """Causes fill the time of the clusters, pins carry no more than they can, buffers hold no more than they have, nothing at the end."""
    arrays, lengths = series.arrays, np.diff(series.ends, prepend=0)
    spec, n_clusters = machine.specs.dram, len(machine.specs.clusters.node)
    yield from same("series: cluster cycles, time of the clusters", arrays["cluster_cycles"].sum(axis=1), lengths * n_clusters)
    if not spec.ideal:
        clocks = -(-lengths * spec.core_ticks // spec.dram_ticks)
        n_buses = data_buses(machine.architecture.dram) // machine.architecture.dram.channels
        by_way = [arrays[f"dram_{way}_bursts"] for way in ACCESSES]
        for way, bursts in zip(ACCESSES, by_way, strict=True):
            most = np.broadcast_to(n_buses * -(-clocks[:, None] // spec.burst_clocks), bursts.shape)
            yield from at_least(f"series: {way} bursts that the pins can carry, DRAM bursts", most, bursts)
        bursts = by_way[0] + by_way[1]
        ahead = spec.read_clocks - spec.burst_clocks  # CL: counted with its command, a read may come in the place of a write's data
        most = np.broadcast_to(n_buses * -(-(clocks[:, None] + ahead) // spec.burst_clocks), bursts.shape)
        yield from at_least("series: bursts that the pins can carry, DRAM bursts", most, bursts)
    held = arrays["held_bytes"].sum(axis=2)
    yield from at_least("series: bytes of the buffers, bytes held", np.broadcast_to(arrays["buffer_bytes"], held.shape), held)
    yield from equal("series: bytes held at the end, 0", held[-1].sum(), 0)
    waiting = arrays["commands_waiting"]
    yield from at_least("series: commands waiting, 0", waiting, np.zeros_like(waiting))
    for name in ("cluster_cycles", "class_read_bytes", "class_write_bytes", "held_bytes", "dram_read_queue_entry_clocks"):
        yield from at_least(f"series: {name}, 0", arrays[name], np.zeros_like(arrays[name]))
