"""From counters to the rows of a report: one per operation (layer x phase), integers only."""

import numpy as np

from etasim.core.program import LOAD_ACTIVATION, LOAD_ERROR, LOAD_WEIGHT, STORE
from etasim.machine.elaborate import Machine
from etasim.machine.result import STALL_CAUSES, TENSOR_CLASSES
from etasim.mapping import Mapping


def retirement_cycles(completed_at: np.ndarray, total_cycles: int) -> np.ndarray:
    """Share of ``total_cycles`` of each operation: from the retirement of the one before to its own, in program order.

    An operation retires when it and all before it are complete; the last one takes what remains. Shape [operations].
    """
    retired = np.maximum.accumulate(completed_at + 1)
    retired[-1] = total_cycles
    return np.diff(retired, prepend=0)


def _flit_hops(machine: Machine, n_operations: int) -> np.ndarray:
    """Link traversals of each operation's packets; shape [operations]."""
    links, flits = machine.specs.noc.route_links, machine.specs.feeders.packet_flits
    hops = np.zeros(n_operations, np.int64)
    for table in (machine.program.feeds, machine.program.drains):
        used = table[table["n_packets"] > 0]
        np.add.at(hops, used["operation"], used["n_packets"] * flits * links[used["route"]])
    return hops


def rows(machine: Machine, mapping: Mapping, total_cycles: int) -> tuple[dict, ...]:
    """One dictionary per operation with the columns that `etasim.machine.result` names."""
    s, burst_bytes = machine.states, machine.specs.dram.burst_bytes
    scores, clusters, dma_words = s.controller.counters, s.clusters.counters, s.dma.buffer_words
    cycles = retirement_cycles(scores["last_completion_at"], total_cycles)
    hops = np.zeros(len(cycles), np.int64) if machine.specs.controller.instant.any() else _flit_hops(machine, len(cycles))
    collected = s.collectors.counters["written_words"].sum(axis=1)
    table = []
    for i, operation in enumerate(mapping.operations):
        row = {"layer": operation.layer, "phase": operation.phase, "kind": operation.kind, "macs": operation.macs}
        row["zero_insertion_macs"] = operation.zero_insertion_macs
        row["cycles"] = int(cycles[i])
        row["span_cycles"] = int(scores["last_completion_at"][i] - scores["first_issue_at"][i] + 1)
        row["cluster_busy_cycles"] = int(clusters["busy_cycles"][i].sum())
        row |= {f"{cause}_cycles": int(clusters[f"{cause}_cycles"][i].sum()) for cause in STALL_CAUSES}
        row["unified_core_busy_cycles"] = int(s.unified.counters["busy_cycles"][i])
        for access in ("read", "write"):
            bursts = s.dma.counters[f"{access}_bursts"][i]
            row |= {f"dram_{access}_{name}_bytes": int(n) * burst_bytes for name, n in zip(TENSOR_CLASSES, bursts, strict=True)}
        row |= {
            "stream_flits": int(s.feeders.counters["flits"][i, 0]),
            "stationary_flits": int(s.feeders.counters["flits"][i, 1]),
            "psum_flits": int(s.clusters.links["psum_flits"][i].sum()),
            "flit_hops": int(hops[i]),
            "activation_buffer_reads": int(s.feeders.counters["packets"][i, 0]),
            "activation_buffer_writes": int(dma_words[i, LOAD_ACTIVATION]),
            "weight_buffer_reads": int(s.feeders.counters["packets"][i, 1]),
            "weight_buffer_writes": int(dma_words[i, LOAD_WEIGHT]),
            "error_buffer_reads": int(dma_words[i, STORE] + s.unified.counters["read_words"][i]),
            "error_buffer_writes": int(dma_words[i, LOAD_ERROR] + collected[i] + s.unified.counters["written_words"][i]),
        }
        table.append(row)
    return tuple(table)


def _instances(array: np.ndarray) -> list[dict]:
    """Records as dictionaries of integers."""
    return [{name: int(record[name]) for name in array.dtype.names} for record in array]


def _sum_over_operations(array: np.ndarray) -> np.ndarray:
    total = np.zeros(array.shape[1:], array.dtype)
    for name in array.dtype.names:
        total[name] = array[name].sum(axis=0)
    return total


def components(machine: Machine) -> dict[str, list[dict]]:
    """Counters of every part, one dictionary per instance."""
    s = machine.states
    buffers = _instances(s.buffers.counters)
    return {
        "cluster": _instances(_sum_over_operations(s.clusters.counters)),
        "unified_core": _instances(_sum_over_operations(s.unified.counters[:, None])),
        "activation_buffer": buffers[0:1],
        "weight_buffer": buffers[1:2],
        "error_buffer": buffers[2:3],
        "dma": _instances(s.dma.engine_counters),
        "feeder": _instances(s.feeders.engine_counters),
        "collector": _instances(_sum_over_operations(s.collectors.counters)),
        "noc": _instances(s.noc.counters),
        "noc_link": _instances(s.noc.links),
        "dram": _instances(s.dram.counters),
    }
