"""What a machine takes of an FPGA board, beside what the board has: arithmetic on the configuration, not synthesis.

DSP blocks and memory blocks follow from sizes and ports; logic cells are estimates from the costs that the board's file states. A
machine that does not fit is reported, not refused.
"""

from math import ceil
from typing import Any

import numpy as np

from etasim.config import Architecture
from etasim.config.board import Board, LogicCosts, MemoryBlocks
from etasim.config.data import CODES
from etasim.config.noc import MESSAGE_CLASSES, Noc
from etasim.core.registry import DATA_FORMATS, TOPOLOGIES
from etasim.machine.parts import buffers_of, writers_and_readers
from etasim.memory.dram.pins import data_buses
from etasim.noc import networks_of
from etasim.noc.topology import ABSENT
from etasim.program.commands import numbered_engines
from etasim.schedule.array import present_of

SEGMENTED_MAGNITUDE_BITS = 6
"""Magnitude of an 8-bit code of two segments: a sign, a segment flag, six bits (docs/models/arithmetic.md)."""
DISTRIBUTED_DEPTH = 128
"""Entries up to which a memory is worth building from logic cells."""
RUNNING_ACCUMULATORS, RUNNING_ACCUMULATOR_BITS, RUNNING_BLOCKS = 2, 48, 64
"""Of each lane, where normalizations have running scales: one for magnitudes, then errors, one for weight gradients, then their products
with weights; of so many channel blocks, assumed: 2,048 channels with 32 lanes."""
INNER_ROUTER_PORTS = 5
"""Ports of a router inside a mesh, four neighbours and the endpoint: the router whose cost a board's file states."""


def board_rows(architecture: Architecture) -> list[dict[str, Any]]:
    """One entry per resource: ``resource``, ``used``, ``available``, ``share_percent``, ``fits``, ``estimate``; empty without a board."""
    board = architecture.board
    if board is None:
        return []
    needs = (
        (board.dsp.name, dsp_blocks(architecture, board), board.dsp.count, 0),
        (board.memory.name, memory_blocks(architecture, board), board.memory.count, 0),
        (board.logic.name, logic_cells(architecture, board), board.logic.count, 1),
        ("DRAM channels", data_buses(architecture.dram), board.dram_channels, 0),
    )
    return [
        {
            "resource": name, "used": used, "available": available, "share_percent": 100.0 * used / available,
            "fits": int(used <= available), "estimate": estimate,
        }
        for name, used, available, estimate in needs
    ]  # fmt: skip


def magnitude_bits(architecture: Architecture) -> int:
    """Widest factor of a product: the magnitude of a segmented 8-bit code, the whole code otherwise."""
    data, numerics, widths = architecture.data, architecture.numerics, []
    for name in CODES:
        bits, given = getattr(data, f"{name}_bits"), getattr(numerics, f"{name}_format")
        segments = getattr(DATA_FORMATS[given].code, "segments", 1) if given else getattr(numerics, f"{name}_segments")
        widths.append(SEGMENTED_MAGNITUDE_BITS if bits == 8 and segments == 2 else bits)
    return max(widths)


def product_blocks(architecture: Architecture, board: Board) -> int:
    """DSP blocks of all multipliers, as many products to a block as the board's file allows."""
    bits = magnitude_bits(architecture)
    products = next((entry.count for entry in board.dsp.products if bits <= entry.width_bits), board.dsp.products[-1].count)
    return ceil(architecture.array.macs_per_cycle / products)


def dsp_blocks(architecture: Architecture, board: Board) -> int:
    """Multipliers, and accumulators in the blocks that they leave."""
    multipliers = product_blocks(architecture, board)
    return multipliers + _accumulator_blocks(architecture, board)


def _accumulator_blocks(architecture: Architecture, board: Board) -> int:
    """Accumulators that have a DSP block of their own; the others are logic."""
    if board.dsp.accumulates:
        return 0
    return min(_accumulators(architecture), max(board.dsp.count - product_blocks(architecture, board), 0))


def _blocks(memory: MemoryBlocks, depth: int, width_bits: int) -> int:
    """Blocks of a memory of ``depth`` words of ``width_bits`` with one read and one write port."""
    return -(-width_bits // memory.width_bits) * -(-depth // memory.depth)


def memory_blocks(architecture: Architecture, board: Board) -> int:
    """Block memories: both halves of the buffers' banks and of the scratchpads, and psums too deep for logic cells."""
    array, memory, word = architecture.array, board.memory, architecture.buffers.word_size_bytes
    total: int = sum(b.banks * _blocks(memory, b.bank_bytes // word, 8 * word) for b in buffers_of(architecture).values())
    vector = array.lanes * max(architecture.data.activation_bits, architecture.data.error_bits) // 8
    stream_depth = -(-2 * array.stream_scratchpad_bytes // (array.columns * vector))
    stationary_depth = -(-2 * array.stationary_scratchpad_bytes // word)
    total += array.clusters * (array.columns * _blocks(memory, stream_depth, 8 * vector) + _blocks(memory, stationary_depth, 8 * word))
    if 2 * array.psum_depth > DISTRIBUTED_DEPTH:
        total += _accumulators(architecture) * _blocks(memory, 2 * array.psum_depth, array.accumulator_width_bits)
    return total


def _accumulators(architecture: Architecture) -> int:
    """Columns of all PEs."""
    array = architecture.array
    return array.clusters * array.pes_per_cluster * array.columns


def router_ports(noc: Noc) -> list[int]:
    """Ports of each router of one physical network: its links, and the clusters and buffers that sit there."""
    topology = TOPOLOGIES[noc.topology](noc.columns, noc.rows, noc.concentration)
    links = (topology.link_router != ABSENT).sum(axis=1)
    endpoints = topology.node_router[list(noc.placement.nodes().values())]
    counts: list[int] = (links + np.bincount(endpoints, minlength=topology.n_routers)).tolist()
    return counts


def router_port_bits(noc: Noc) -> float:
    """Bits of the ports of all routers, in those of a router with five ports.

    Each port chooses among all, so a port of one with P ports counts for P / 5 (docs/energy.md).
    """
    width_bits: int = sum(network.link_width_bits for network in networks_of(noc, len(MESSAGE_CLASSES)))
    return width_bits * sum(ports**2 for ports in router_ports(noc)) / INNER_ROUTER_PORTS


def _crossbar_input_bits(architecture: Architecture) -> int:
    """Bits of the inputs, but the first, of the multiplexers between requesters and banks: each bank takes a word from any port that
    writes, each port that reads takes one from any bank."""
    word_bits, inputs = 8 * architecture.buffers.word_size_bytes, 0
    for name, buffer in buffers_of(architecture).items():
        banks, (writers, readers) = buffer.banks, writers_and_readers(architecture, name)
        inputs += banks * (writers - 1) + readers * (banks - 1)
    return word_bits * inputs


def engine_count(architecture: Architecture) -> int:
    """DMA engines, feeders, and the engines of what not every machine has."""
    engines = numbered_engines(architecture.unified_core.n_cores, architecture.array.clusters, present_of(architecture))
    return len(engines.dma) + len(engines.feeds) + len(engines.moves) + len(engines.arrivals)


def _running_cells(architecture: Architecture, costs: LogicCosts) -> float:
    """Adders of the accumulators of running scales, a cell for each bit, and distributed memory for their sums."""
    if architecture.numerics.normalization != "running":
        return 0
    lanes = architecture.unified_core.n_cores * architecture.unified_core.lanes
    return lanes * RUNNING_ACCUMULATORS * RUNNING_ACCUMULATOR_BITS * (1 + costs.memory_bit * RUNNING_BLOCKS)


def logic_cells(architecture: Architecture, board: Board) -> int:
    """Estimate of the logic: datapath, psums in distributed memory, routers, crossbars of the buffers, unified core, engines, DRAM
    interfaces, the accumulators that have no DSP block, a cell for each bit, and those of running scales."""
    array, unified, costs = architecture.array, architecture.unified_core, board.logic.costs
    cells = costs.product * array.macs_per_cycle + costs.router_port_bit * router_port_bits(architecture.noc)
    cells += costs.multiplexer_input_bit * _crossbar_input_bits(architecture)
    cells += costs.lane * unified.n_cores * unified.lanes + costs.engine * engine_count(architecture)
    cells += costs.dram_channel * data_buses(architecture.dram) + _running_cells(architecture, costs)
    if not board.dsp.accumulates:
        cells += (_accumulators(architecture) - _accumulator_blocks(architecture, board)) * array.accumulator_width_bits
    if 2 * array.psum_depth <= DISTRIBUTED_DEPTH:
        cells += costs.memory_bit * _accumulators(architecture) * 2 * array.psum_depth * array.accumulator_width_bits
    return ceil(cells)
