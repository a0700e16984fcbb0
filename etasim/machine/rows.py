"""From counters to the rows of a report: one per operation (layer x phase), integers only."""

from dataclasses import asdict
from typing import Any, NamedTuple

import numpy as np

from etasim.config.architecture import Dram
from etasim.machine import traffic
from etasim.machine.elaborate import Machine
from etasim.machine.result import FLIT_CLASSES, SCRATCHPADS, LayerRow
from etasim.mapping import Mapping
from etasim.memory.dram import figures
from etasim.noc.results import network_components
from etasim.pe.causes import STALL_CAUSES
from etasim.program.commands import (
    BUFFERS,
    FEED_STATIONARY,
    FEED_STREAM,
    FILL,
    FIXED_ENGINES,
    MOVERS,
    N_DMA,
    SECOND_MOVERS,
    STORE,
    TENSOR_CLASSES,
    engines_of,
    parts_at,
)

DRAM_FIGURES = (
    "average_read_latency_clocks", "row_hit_rate", "read_queue_occupancy", "write_queue_occupancy",
    "bandwidth_gb_per_s", "peak_bandwidth_gb_per_s", "peak_percent",
)  # fmt: skip
"""What `etasim.memory.dram.Figures` adds to the counters of a channel. Clocks are the DRAM's, cycles those of the core."""


def retirement_cycles(completed_at: np.ndarray, total_cycles: int) -> np.ndarray:
    """Share of ``total_cycles`` of each operation: from the retirement of the one before to its own, in program order.

    An operation retires when it and all before it are complete; the last one takes what remains. Shape [operations].
    """
    retired = np.maximum.accumulate(completed_at + 1)
    retired[-1] = total_cycles
    return np.diff(retired, prepend=0)


class Moved(NamedTuple):
    """What each operation moved: bursts [operations, classes], flits and their hops [operations, stream], vector groups, buffer words,
    bursts of the host, and bytes out of the second level by column of the DRAM's [operations].

    Buffer words are None where an engine's commands took no time: it moved nothing through a port.
    """

    read_bursts: np.ndarray
    written_bursts: np.ndarray
    flits: np.ndarray
    flit_hops: np.ndarray
    vector_groups: np.ndarray
    words: dict[str, np.ndarray | None]
    host_bursts: np.ndarray
    served: list[dict[str, int]]


def words_by_part(
    fed: np.ndarray, dma: np.ndarray, unified: np.ndarray, collected: np.ndarray, moved: np.ndarray
) -> dict[str, np.ndarray]:
    """Words that each part moves through its ports (`etasim.program.commands.PORTS`), from those ``fed`` [..., stream] to the clusters, of
    ``dma`` [..., engine], of ``unified`` [..., (read, written)], ``collected`` [...] of results and ``moved`` [..., mover]."""
    engines = {name: dma[..., e] for e, name in zip(range(dma.shape[-1]), (*FIXED_ENGINES[:N_DMA], FILL), strict=False)}
    first = 0 if FILL in engines else len(SECOND_MOVERS)
    engines |= {mover.name: moved[..., m] for m, mover in zip(range(moved.shape[-1]), MOVERS[first:], strict=False)}
    feeders = {FIXED_ENGINES[e]: fed[..., i] for i, e in enumerate((FEED_STREAM, FEED_STATIONARY))}
    return engines | feeders | {"collectors": collected, "unified operands": unified[..., 0], "unified results": unified[..., 1]}


def word_columns(moved: dict[str, np.ndarray], arrived: np.ndarray) -> dict[str, Any]:
    """Columns of buffers and scratchpads, each [operations], from words that parts ``moved`` and that ``arrived`` [operations,
    scratchpad]."""
    columns: dict[str, Any] = {}
    for buffer, name in enumerate([*BUFFERS, "second"] if FILL in moved else BUFFERS):
        for what, writes in (("reads", False), ("writes", True)):
            columns[f"{name}_buffer_{what}"] = sum(moved[part] for part in parts_at(buffer, writes, moved))
    return columns | {f"{name}_scratchpad_writes": arrived[:, i] for i, name in enumerate(SCRATCHPADS)}


def _moved(machine: Machine, mapping: Mapping) -> Moved:
    """Counted by the parts; for instant engines, which are not simulated, what the program says."""
    s, specs, n = machine.states, machine.specs, len(mapping.operations)
    instant = specs.controller.instant
    bursts = s.dma.counters["read_bursts"], s.dma.counters["write_bursts"]
    if instant[STORE]:
        bursts = traffic.dram_bursts(machine.program, specs.dram.burst_bytes, n, len(TENSOR_CLASSES))
    read, written = bursts[0], bursts[1] + s.host.bursts
    packets = np.column_stack([s.feeders.counters["packets"], s.clusters.links["psum_packets"].sum(axis=1)])
    if instant[FEED_STREAM]:
        packets = traffic.packets(machine.program, n)
    class_flits = traffic.class_flits(specs.noc, specs.feeders.packet_bits)
    hops, arrived = np.zeros((n, len(FLIT_CLASSES)), np.int64), np.zeros((n, len(SCRATCHPADS)), np.int64)
    for program in mapping.stretches():
        hops += traffic.flit_hops(program, n, specs.noc, specs.feeders.packet_bits)
        arrived += traffic.scratchpad_words(program, n)
    groups = s.unified.counters["busy_cycles"].sum(axis=1)
    if instant[engines_of(machine.program).vectors[0]]:
        groups = traffic.by_operation(n, machine.program.vectors["operation"], machine.program.vectors["n_groups"])
    unified = np.column_stack([s.unified.counters[name].sum(axis=1) for name in ("read_words", "written_words")])
    collected = s.collectors.counters["written_words"].sum(axis=1)
    by_part = words_by_part(s.feeders.counters["packets"], s.dma.buffer_words, unified, collected, s.movers.moved)
    words = word_columns(by_part, arrived)
    if instant.any():
        words = dict.fromkeys(words)
    served = traffic.served_bytes(mapping)
    return Moved(read, written, packets * class_flits, hops, groups, words, s.host.bursts.sum(axis=1), served)


def rows(machine: Machine, mapping: Mapping, total_cycles: int) -> tuple[LayerRow, ...]:
    """One row per operation with the columns that `etasim.machine.result` names."""
    s, burst_bytes, moved = machine.states, machine.specs.dram.burst_bytes, _moved(machine, mapping)
    scores, clusters = s.controller.counters, s.clusters.counters
    cycles = retirement_cycles(scores["last_completion_at"], total_cycles)
    table = []
    for i, operation in enumerate(mapping.operations):
        row = LayerRow(layer=operation.layer, phase=operation.phase, kind=operation.kind, macs=operation.macs)
        row["zero_insertion_macs"] = operation.zero_insertion_macs
        row["cycles"] = int(cycles[i])
        row["span_cycles"] = int(scores["last_completion_at"][i] - scores["first_issue_at"][i] + 1)
        row["cluster_busy_cycles"] = int(clusters["busy_cycles"][i].sum())
        row |= {f"{cause}_cycles": int(clusters[f"{cause}_cycles"][i].sum()) for cause in STALL_CAUSES}
        row["unified_core_busy_cycles"] = int(moved.vector_groups[i])
        for access, bursts in (("read", moved.read_bursts[i]), ("write", moved.written_bursts[i])):
            row |= {f"dram_{access}_{name}_bytes": int(n) * burst_bytes for name, n in zip(TENSOR_CLASSES, bursts, strict=True)}
        row |= {f"{name}_flits": int(n) for name, n in zip(FLIT_CLASSES, moved.flits[i], strict=True)}
        if machine.architecture.noc.networks is not None:
            row |= {f"{name}_flit_hops": int(n) for name, n in zip(FLIT_CLASSES, moved.flit_hops[i], strict=True)}
        row["flit_hops"] = int(moved.flit_hops[i].sum())
        row |= {name: None if values is None else int(values[i]) for name, values in moved.words.items()}
        if engines_of(machine.program).fills:
            row["second_served_bytes"] = sum(moved.served[i].values())
        if machine.architecture.mapping.forwarding:
            row["forwarded_bytes"] = sum(traffic.forwarded_bytes(mapping, i).values())
        if engines_of(machine.program).arrivals:
            row["host_bytes"] = int(moved.host_bursts[i]) * burst_bytes
        table.append(row)
    return tuple(table)


def _instances(array: np.ndarray) -> list[dict[str, int]]:
    """Records as dictionaries of integers."""
    return [{name: int(record[name]) for name in array.dtype.names or ()} for record in array]


def _sum_over_operations(array: np.ndarray) -> np.ndarray:
    total = np.zeros(array.shape[1:], array.dtype)
    for name in array.dtype.names or ():
        total[name] = array[name].sum(axis=0)
    return total


def node_names(machine: Machine) -> dict[int, str]:
    """What sits at each node of the network."""
    specs = machine.specs
    names = {int(node): f"cluster {i}" for i, node in enumerate(specs.clusters.node)}
    names |= {int(node): f"{name} buffer" for name, node in zip(BUFFERS[:2], specs.feeders.node, strict=True)}
    return names | {int(node): f"{BUFFERS[2]} buffer {i}" for i, node in enumerate(specs.collectors.node)}


def _latency_bins(histogram: tuple[int, ...]) -> dict[str, int]:
    """Reads of a channel by latency, up to the last bin that has any: those below a key's bound and not below the one before."""
    used = max((i for i, n_reads in enumerate(histogram) if n_reads), default=-1) + 1
    return {f"reads_below_{1 << i}_clocks": n_reads for i, n_reads in enumerate(histogram[:used])}


def _core_cycles(machine: Machine, dram_clocks: float | None) -> float | None:
    """``dram_clocks`` in cycles of the core."""
    return None if dram_clocks is None else dram_clocks * machine.specs.dram.dram_ticks / machine.clocks.core_ticks


def _dram_figures(dram: Dram, machine: Machine, clocks: int) -> list[dict[str, Any]]:
    """Counters of each channel, and what follows from them; an ideal DRAM has nothing but the counters."""
    channels = []
    for channel in figures(dram, machine.specs.dram, machine.states.dram, clocks):
        row = dict(channel.counters)
        if not dram.ideal:
            row |= {name: getattr(channel, name) for name in DRAM_FIGURES}
            row["average_read_latency_cycles"] = _core_cycles(machine, channel.average_read_latency_clocks)
            row |= _latency_bins(channel.latency_histogram)
            if channel.energy is not None:
                row |= asdict(channel.energy)
        channels.append(row)
    return channels


def components(dram: Dram, machine: Machine, mapping: Mapping, dram_clocks: int) -> dict[str, list[dict[str, Any]]]:
    """Counters of every part, one dictionary per instance; ``dram``: the configuration of the channels, which ran ``dram_clocks``."""
    s = machine.states
    buffers = [counters | {"swaps": swaps} for counters, swaps in zip(_instances(s.buffers.counters), mapping.swaps, strict=False)]
    reductions = {"noc_reduction": _instances(s.noc.reductions)} if machine.specs.noc.reduces else {}
    others = {"host": s.host.counters, "mover": s.movers.counters, "second_buffer": s.buffers.counters[len(BUFFERS) :]}
    optional = {name: _instances(counters) for name, counters in others.items() if len(counters)}
    return {
        "cluster": _instances(_sum_over_operations(s.clusters.counters)),
        "unified_core": _instances(_sum_over_operations(s.unified.counters)),
        **{f"{name}_buffer": [counters] for name, counters in zip(BUFFERS, buffers, strict=True)},
        "dma": _instances(s.dma.engine_counters),
        **optional,
        "feeder": _instances(s.feeders.engine_counters),
        "collector": _instances(_sum_over_operations(s.collectors.counters)),
        "noc": _instances(s.noc.counters),
        **reductions,
        **network_components(machine.specs.noc, s.noc, node_names(machine)),
        "dram": _dram_figures(dram, machine, dram_clocks),
    }
