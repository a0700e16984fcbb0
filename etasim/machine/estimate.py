"""The analytical fidelity: an iteration's time from how long each resource is needed, without simulating.

From the tile program follow, per operation, the cycles that each resource is busy: the most loaded cluster, each port of the NoC,
the unified core, the DRAM pins. What one step of the network does (a unit forward; its error, input gradient and weight gradient;
the update) overlaps, so it takes as long as its most loaded resource; steps follow each other.
"""

from fractions import Fraction

import numpy as np

from etasim.config import Architecture
from etasim.core.program import TENSOR_CLASSES, UNIFIED, Program
from etasim.machine.result import BUFFERS, FLIT_CLASSES, STALL_CAUSES, RunResult
from etasim.machine.traffic import by_operation, dram_bursts, packets, transfer_bursts
from etasim.mapping import Mapping
from etasim.mapping.array import Array, array_of
from etasim.workload import Network

BUFFER_ROUND_TRIP_CYCLES = 4  # request, grant, answer, start: the part of a unified-core command that is not its groups


def compute_cycles(program: Program) -> np.ndarray:
    """Cycles of each compute command: its sweeps, conflicts included. Shape [computes]."""
    table, ends = program.computes, np.concatenate(([0], np.cumsum(program.sweep_cycles)))
    per_period = ends[table["sweep_table"] + table["sweep_period"]] - ends[table["sweep_table"]]
    return table["n_sweeps"] // np.maximum(table["sweep_period"], 1) * per_period


def resource_cycles(architecture: Architecture, mapping: Mapping) -> dict[str, np.ndarray]:
    """Busy core cycles of every resource for each operation: name -> [operations]."""
    program, array, n = mapping.program, array_of(architecture), len(mapping.operations)
    resources = _cluster_cycles(program, array, n)
    packets = program.feeds["n_packets"] * array.packet_flits
    for stream, name in enumerate(FLIT_CLASSES[:2]):
        mine = program.feeds["stream"] == stream
        resources[f"{name} port"] = by_operation(n, program.feeds["operation"][mine], packets[mine])
    ports = np.array([route.destinations[0] for route in mapping.routes])[program.drains["route"]] if len(mapping.routes) else np.zeros(0)
    for port in np.unique(ports):
        mine = ports == port
        flits = program.drains["n_packets"][mine] * array.packet_flits
        resources[f"psum port {port}"] = by_operation(n, program.drains["operation"][mine], flits)
    overhead = architecture.unified_core.pipeline_depth + BUFFER_ROUND_TRIP_CYCLES + architecture.buffers.error.read_latency
    resources["unified core"] = by_operation(n, program.vectors["operation"], program.vectors["n_groups"] + overhead)
    organisation, dram = architecture.dram.part.organisation, architecture.dram
    burst_bytes = organisation.burst_bytes
    per_cycle = Fraction(2 * dram.channels * organisation.bus_width_bits, 8) * dram.part.clock_hz / architecture.core.clock_hz
    moved = by_operation(n, program.transfers["operation"], transfer_bursts(program, burst_bytes) * burst_bytes)
    resources["DRAM"] = np.ceil(moved / float(per_cycle)).astype(np.int64)
    return resources


def _cluster_cycles(program: Program, array: Array, n: int) -> dict[str, np.ndarray]:
    """Sweep cycles of each cluster: [operations]."""
    cycles, first = compute_cycles(program), UNIFIED + 1
    resources = {}
    for c in range(array.clusters):
        commands = program.commands[program.engine_start[first + c] : program.engine_start[first + c + 1]]
        resources[f"cluster {c}"] = by_operation(n, commands["operation"], cycles[commands["row"]])
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
    n, array, organisation = len(rows), array_of(architecture), architecture.dram.part.organisation
    read, written = dram_bursts(mapping.program, organisation.burst_bytes, n, len(TENSOR_CLASSES))
    counts = packets(mapping.program, n)
    for i, row in enumerate(rows):
        for access, bursts in (("read", read[i]), ("write", written[i])):
            amounts = (bursts * organisation.burst_bytes).tolist()
            row |= {f"dram_{access}_{name}_bytes": amount for name, amount in zip(TENSOR_CLASSES, amounts, strict=True)}
        flits = (counts[i] * array.packet_flits).tolist()
        row |= {f"{name}_flits": count for name, count in zip(FLIT_CLASSES, flits, strict=True)}
        row["flit_hops"] = None
        row |= {f"{name}_buffer_{access}": None for name in BUFFERS for access in ("reads", "writes")}
        row["activation_buffer_reads"], row["weight_buffer_reads"] = int(counts[i, 0]), int(counts[i, 1])
