"""The analytical fidelity: an iteration's time from how long each resource is needed, without simulating.

From the tile program follow, per operation, the cycles that each resource is busy: the most loaded cluster, each port of the NoC,
the unified core, the DRAM pins. What one step of the network does (a unit forward; its error, input gradient and weight gradient;
the update) overlaps, so it takes as long as its most loaded resource; steps follow each other.
"""

from fractions import Fraction

import numpy as np

from etasim.config import Architecture
from etasim.core.program import N_DMA, UNIFIED, Program
from etasim.machine.result import BUFFERS, FLIT_CLASSES, STALL_CAUSES, TENSOR_CLASSES, RunResult
from etasim.mapping import Mapping
from etasim.mapping.array import Array, array_of
from etasim.workload import Network

BUFFER_ROUND_TRIP_CYCLES = 4  # request, grant, answer, start: the part of a unified-core command that is not its groups


def _by_operation(n: int, operation: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Sum of ``values`` for each of ``n`` operations."""
    return np.bincount(operation, weights=values, minlength=n)[:n].astype(np.int64)


def _compute_cycles(program: Program) -> np.ndarray:
    """Cycles of each compute command: its sweeps, conflicts included. Shape [computes]."""
    table, ends = program.computes, np.concatenate(([0], np.cumsum(program.sweep_cycles)))
    per_period = ends[table["sweep_table"] + table["sweep_period"]] - ends[table["sweep_table"]]
    return table["n_sweeps"] // np.maximum(table["sweep_period"], 1) * per_period


def transfer_bursts(program: Program, burst_bytes: int) -> np.ndarray:
    """Bursts of each DMA command: every run touches whole bursts. Shape [transfers]."""
    bursts = np.zeros(len(program.transfers), np.int64)
    for i, row in enumerate(program.transfers):
        n, run = row["count_1"] * row["count_2"], row["run_bytes"]
        if run == 0:
            continue
        starts = row["dram_address"] + np.add.outer(
            np.arange(row["count_2"]) * row["dram_stride_2"], np.arange(row["count_1"]) * row["dram_stride_1"]
        )
        bursts[i] = ((starts + run - 1) // burst_bytes - starts // burst_bytes + 1).sum() if n else 0
    return bursts


def resource_cycles(architecture: Architecture, mapping: Mapping) -> dict[str, np.ndarray]:
    """Busy core cycles of every resource for each operation: name -> [operations]."""
    program, array, n = mapping.program, array_of(architecture), len(mapping.operations)
    resources = _cluster_cycles(program, array, n)
    packets = program.feeds["n_packets"] * array.packet_flits
    for stream, name in enumerate(FLIT_CLASSES[:2]):
        mine = program.feeds["stream"] == stream
        resources[f"{name} port"] = _by_operation(n, program.feeds["operation"][mine], packets[mine])
    ports = np.array([route.destinations[0] for route in mapping.routes])[program.drains["route"]] if len(mapping.routes) else np.zeros(0)
    for port in np.unique(ports):
        mine = ports == port
        flits = program.drains["n_packets"][mine] * array.packet_flits
        resources[f"psum port {port}"] = _by_operation(n, program.drains["operation"][mine], flits)
    overhead = architecture.unified_core.pipeline_depth + BUFFER_ROUND_TRIP_CYCLES + architecture.buffers.error.read_latency
    resources["unified core"] = _by_operation(n, program.vectors["operation"], program.vectors["n_groups"] + overhead)
    organisation, dram = architecture.dram.part.organisation, architecture.dram
    burst_bytes = organisation.bus_width_bits * organisation.burst_length // 8
    per_cycle = Fraction(2 * dram.channels * organisation.bus_width_bits, 8) * dram.part.clock_hz / architecture.core.clock_hz
    moved = _by_operation(n, program.transfers["operation"], transfer_bursts(program, burst_bytes) * burst_bytes)
    resources["DRAM"] = np.ceil(moved / float(per_cycle)).astype(np.int64)
    return resources


def _cluster_cycles(program: Program, array: Array, n: int) -> dict[str, np.ndarray]:
    """Sweep cycles of each cluster: [operations]."""
    cycles, first = _compute_cycles(program), UNIFIED + 1
    resources = {}
    for c in range(array.clusters):
        commands = program.commands[program.engine_start[first + c] : program.engine_start[first + c + 1]]
        resources[f"cluster {c}"] = _by_operation(n, commands["operation"], cycles[commands["row"]])
    return resources


def estimate(architecture: Architecture, network: Network, batch: int, phases: tuple[str, ...], mapping: Mapping) -> RunResult:
    """The iteration's result in closed form. Columns that only a simulation knows are None."""
    resources = resource_cycles(architecture, mapping)
    names = list(resources)
    table = np.stack([resources[name] for name in names])
    step = np.array([operation.step for operation in mapping.operations])
    cycles = np.zeros(len(step), np.int64)
    for s in np.unique(step):
        mine = np.flatnonzero(step == s)
        bottleneck = table[:, mine].sum(axis=1).argmax()
        cycles[mine] = table[bottleneck, mine]
    rows = tuple(_row(mapping, i, int(cycles[i]), resources) for i in range(len(step)))
    _add_traffic(architecture, mapping, rows)
    return RunResult(architecture, network, batch, phases, int(cycles.sum()), rows, analytical=True)


def _row(mapping: Mapping, i: int, cycles: int, resources: dict[str, np.ndarray]) -> dict:
    operation = mapping.operations[i]
    row = {"layer": operation.layer, "phase": operation.phase, "kind": operation.kind, "macs": operation.macs}
    row |= {"zero_insertion_macs": operation.zero_insertion_macs, "cycles": cycles, "span_cycles": None}
    row["cluster_busy_cycles"] = int(sum(values[i] for name, values in resources.items() if name.startswith("cluster")))
    row |= {f"{cause}_cycles": None for cause in STALL_CAUSES}
    row["unified_core_busy_cycles"] = int(mapping.program.vectors["n_groups"][mapping.program.vectors["operation"] == i].sum())
    return row


def _add_traffic(architecture: Architecture, mapping: Mapping, rows: tuple[dict, ...]) -> None:
    """Columns of DRAM bytes, flits and buffer words that follow from the program alone."""
    program, n, array = mapping.program, len(rows), array_of(architecture)
    organisation = architecture.dram.part.organisation
    burst_bytes = organisation.bus_width_bits * organisation.burst_length // 8
    moved = transfer_bursts(program, burst_bytes) * burst_bytes
    is_store = np.zeros(len(program.transfers), bool)
    is_store[program.commands["row"][program.engine_start[N_DMA - 1] : program.engine_start[N_DMA]]] = True
    for access, which in (("read", ~is_store), ("write", is_store)):
        for k, name in enumerate(TENSOR_CLASSES):
            mine = which & (program.transfers["tensor_class"] == k)
            values = _by_operation(n, program.transfers["operation"][mine], moved[mine])
            for row, value in zip(rows, values.tolist(), strict=True):
                row[f"dram_{access}_{name}_bytes"] = value
    for i, row in enumerate(rows):
        feeds = [int(program.feeds["n_packets"][(program.feeds["operation"] == i) & (program.feeds["stream"] == s)].sum()) for s in (0, 1)]
        drains = int(program.drains["n_packets"][program.drains["operation"] == i].sum())
        flits = (*feeds, drains)
        row |= {f"{name}_flits": count * array.packet_flits for name, count in zip(FLIT_CLASSES, flits, strict=True)}
        row["flit_hops"] = None
        row |= {f"{name}_buffer_{access}": None for name in BUFFERS for access in ("reads", "writes")}
        row["activation_buffer_reads"], row["weight_buffer_reads"] = feeds
