"""What a tile program moves, known before cycle 0: bursts, flits, hops per operation. The simulation must count the same."""

from typing import TYPE_CHECKING

import numpy as np

from etasim import noc
from etasim.machine.result import FLIT_CLASSES, SCRATCHPADS
from etasim.mapping import Mapping
from etasim.noc.spec import NocSpec
from etasim.program.accesses import runs_of
from etasim.program.commands import BUFFERS, COPY, ERROR, HOLD, STORE, TENSOR_CLASSES, Program, engines_of

if TYPE_CHECKING:
    from etasim.machine.elaborate import Machine


def by_operation(n: int, operation: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Sum of ``values`` for each of ``n`` operations."""
    return np.bincount(operation, weights=values, minlength=n)[:n].astype(np.int64)


def transfer_bursts(program: Program, burst_bytes: int) -> np.ndarray:
    """Bursts of each DMA command: every run touches whole bursts. Shape [transfers]."""
    t = program.transfers
    bursts, moving = np.zeros(len(t), np.int64), np.flatnonzero(t["run_bytes"] > 0)
    table = t[moving]
    for row, start in runs_of(table, (table["dram_address"],), (table["dram_strides"],)):
        np.add.at(bursts, moving[row], (start + table["run_bytes"][row] - 1) // burst_bytes - start // burst_bytes + 1)
    return bursts


def dram_bursts(program: Program, burst_bytes: int, n_operations: int, n_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Bursts read and written: two arrays of shape [operations, tensor classes]."""
    return by_class(program, transfer_bursts(program, burst_bytes), n_operations, n_classes)


def by_class(program: Program, bursts: np.ndarray, n_operations: int, n_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """``bursts`` [transfer] read and written: two arrays of shape [operations, tensor classes]."""
    t = program.transfers
    is_store = np.zeros(len(t), bool)
    is_store[program.commands["row"][program.engine_start[STORE] : program.engine_start[STORE + 1]]] = True
    tables = []
    for which in (~is_store, is_store):
        table = np.zeros((n_operations, n_classes), np.int64)
        np.add.at(table, (t["operation"][which], t["tensor_class"][which]), bursts[which])
        tables.append(table)
    return tables[0], tables[1]


def served_bytes(mapping: Mapping) -> list[dict[str, int]]:
    """For each operation, by the column of the DRAM bytes that it saves: bytes that came out of the second-level buffer instead."""
    served: list[dict[str, int]] = [{} for _ in mapping.operations]
    engines = engines_of(mapping.program)
    copying = [engine for engine, number in zip(engines.moves, engines.movers, strict=True) if number in COPY.values()]
    for program in mapping.stretches() if copying else ():
        for engine in copying:
            for row in program.moves[program.commands["row"][program.engine_start[engine] : program.engine_start[engine + 1]]]:
                column = f"dram_read_{TENSOR_CLASSES[row['tensor_class']]}_bytes"
                of_row = served[row["operation"]]
                of_row[column] = of_row.get(column, 0) + int(row["run_bytes"] * row["counts"].prod())
    return served


def forwarded_bytes(mapping: Mapping, operation: int) -> dict[str, int]:
    """By the column of the DRAM bytes that they save: bytes that an operation read where they live on chip."""
    return {f"dram_read_{name}_bytes": n for (number, name), n in mapping.forwarded_bytes.items() if number == operation}


def held_bytes(mapping: Mapping) -> tuple[np.ndarray, np.ndarray]:
    """[buffer]: bytes that movers copy to where tensors live, and bytes of the tensors that do."""
    engines = engines_of(mapping.program)
    n_bytes = {tensor.name: tensor.n_bytes for tensor in mapping.tensors}
    copied, wanted = np.zeros((2, len(BUFFERS)), np.int64)
    for held in mapping.residences.held.values():
        wanted[held.buffer] += n_bytes[held.name]
    for program in mapping.stretches() if HOLD[ERROR] in engines.movers else ():
        for buffer in range(len(BUFFERS)):
            engine = engines.mover(HOLD[buffer])
            rows = program.moves[program.commands["row"][program.engine_start[engine] : program.engine_start[engine + 1]]]
            copied[buffer] += (rows["run_bytes"] * rows["counts"].prod(axis=1)).sum()
    return copied, wanted


def packets(program: Program, n_operations: int) -> np.ndarray:
    """Packets of the operands that stream, of the stationary ones, and of results; shape [operations, 3]."""
    feeds = program.feeds
    streams = [by_operation(n_operations, feeds["operation"], feeds["n_packets"] * (feeds["stream"] == s)) for s in (0, 1)]
    return np.stack([*streams, by_operation(n_operations, program.drains["operation"], program.drains["n_packets"])], axis=1)


def scratchpad_words(program: Program, n_operations: int) -> np.ndarray:
    """Words that clusters receive: streamed and stationary; shape [operations, 2]."""
    computes = program.computes
    words = [by_operation(n_operations, computes["operation"], computes[f"{name}_words"]) for name in SCRATCHPADS]
    return np.stack(words, axis=1)


def class_flits(network: NocSpec, packet_bits: int) -> np.ndarray:
    """Flits of a packet of ``packet_bits`` on the links of its class: streamed, stationary, psum; 0 for a class without routes."""
    flits = np.zeros(len(FLIT_CLASSES), np.int64)
    flits[: network.n_classes] = noc.class_flits(network, packet_bits)
    return flits


def packet_flits(machine: "Machine") -> np.ndarray:
    """Flits of a packet of ``machine`` on the links of each class."""
    return class_flits(machine.specs.noc, machine.specs.feeders.packet_bits)


def flit_hops(program: Program, n: int, network: NocSpec, packet_bits: int) -> np.ndarray:
    """Link traversals of the flits of each of ``n`` operations, a multicast counted on every link of its tree; shape [operations, 3]."""
    route_hops = network.route_links * class_flits(network, packet_bits)[network.route_class]
    hops = np.zeros((n, len(FLIT_CLASSES)), np.int64)
    for table in (program.feeds, program.drains):
        table = table[table["n_packets"] > 0]
        of_route = table["n_packets"] * route_hops[table["route"]]
        for kind in range(len(FLIT_CLASSES)):
            hops[:, kind] += by_operation(n, table["operation"], of_route * (network.route_class[table["route"]] == kind))
    return hops
