"""What a machine takes of an FPGA board, beside what the board has: laws fitted to synthesis (`etasim.rtl.synthesis`, docs/rtl.md).

DSP blocks and memory blocks follow from sizes and ports. Blocks that are not synthesised stand with the costs of the board's file, and what
the laws do not reach (another family of devices, wider codes) in proportion: both are marked as assumed. A machine that does not fit is
reported, not refused.
"""

from collections.abc import Iterator
from math import ceil
from typing import Any, NamedTuple

import numpy as np

from etasim.config import Architecture
from etasim.config.board import Bank, Board
from etasim.config.data import CODES
from etasim.config.noc import MESSAGE_CLASSES, Noc
from etasim.core.registry import DATA_FORMATS, TOPOLOGIES
from etasim.machine.parts import buffers_of, writers_and_readers
from etasim.memory.dram.pins import data_buses
from etasim.noc import networks_of
from etasim.noc.topology import ABSENT
from etasim.numerics.element import SCALE_BITS, FloatElement
from etasim.program.commands import numbered_engines
from etasim.rtl import synthesis
from etasim.schedule.array import present_of

SEGMENTED_MAGNITUDE_BITS = 6
"""Magnitude of an 8-bit code of two segments: a sign, a segment flag, six bits (docs/models/arithmetic.md)."""
WIDEST_CODE_BITS = 8
"""Codes that the laws are for; wider ones in proportion, narrower ones as these."""
DISTRIBUTED_DEPTH = 128
"""Entries up to which a memory is worth building from logic cells."""
RUNNING_ACCUMULATORS, RUNNING_ACCUMULATOR_BITS, RUNNING_BLOCKS = 2, 48, 64
"""Of each lane, where normalizations have running scales: one for magnitudes, then errors, one for weight gradients, then their products
with weights; of so many channel blocks, assumed: 2,048 channels with 32 lanes."""
INNER_ROUTER_PORTS = 5
"""Ports of a router inside a mesh, four neighbours and the endpoint: the router whose cost a board's file states."""
FAMILY = "DSP48E1"
"""DSP blocks of the devices that the laws are for."""

PRODUCTS, COLUMNS, PSUMS, CROSSBARS = "products of the PEs", "columns of the PEs", "psum memories", "multiplexers between ports and banks"
ROUTERS, LANES, ENGINES, INTERFACES = "router ports, bits", "lanes of the unified core", "engines", "DRAM interfaces"
RUNNING_SCALES = "accumulators of running scales"


class Term(NamedTuple):
    """``count`` of a thing; ``luts`` and ``flip_flops`` of all together; ``assumed``: not synthesised."""

    name: str
    count: int  # type: ignore[assignment]  # in the place of a tuple's own
    luts: float
    flip_flops: float
    assumed: bool


class Resources(NamedTuple):
    """Terms of the logic; DSP and memory blocks; ``error_percent``: the greatest of a size that the laws were not fitted to."""

    terms: tuple[Term, ...]
    dsp: int
    memory_blocks: float
    error_percent: float

    @property
    def luts(self) -> int:
        """LUTs of all terms."""
        return ceil(sum(term.luts for term in self.terms))

    @property
    def flip_flops(self) -> int:
        """Flip-flops of all terms."""
        return ceil(sum(term.flip_flops for term in self.terms))


def board_rows(architecture: Architecture) -> list[dict[str, Any]]:
    """One entry per resource: ``resource``, ``used``, ``available``, ``share_percent``, ``fits``, ``estimate``; empty without a board."""
    board = architecture.board
    if board is None:
        return []
    found, logic = resources_of(architecture, board), board.logic
    needs = (
        (board.dsp.name, found.dsp, board.dsp.count, 0),
        (board.memory.name, ceil(found.memory_blocks), board.memory.count, 0),
        (logic.name, ceil(found.luts / logic.luts), logic.count, 1),
        ("FF", found.flip_flops, logic.flip_flops, 1),
        ("DRAM channels", data_buses(architecture.dram), board.dram_channels, 0),
    )
    return [
        {
            "resource": name, "used": used, "available": available, "share_percent": 100.0 * used / available,
            "fits": int(used <= available), "estimate": estimate,
        }
        for name, used, available, estimate in needs
    ]  # fmt: skip


_latest: list[tuple[Architecture, Board, Resources]] = []
"""What was last asked about, which is asked about many times."""


def resources_of(architecture: Architecture, board: Board) -> Resources:
    """What ``architecture`` takes of ``board``."""
    if not _latest or _latest[0][0] is not architecture or _latest[0][1] is not board:
        _latest[:] = [(architecture, board, _taken(architecture, board))]
    return _latest[0][2]


def _taken(architecture: Architecture, board: Board) -> Resources:
    pe, crossbar = _pe_law(architecture, synthesis.LUT), synthesis.multiplexer_law()
    terms = (*_pe_terms(architecture, board), _crossbars(architecture, board), *_assumed(architecture, board))
    blocks = sum(n * bank.blocks for n, bank in memories(architecture, board))
    return Resources(terms, dsp_blocks(architecture, board), blocks, max(pe.held_out_percent, crossbar.held_out_percent))


def magnitude_bits(architecture: Architecture) -> int:
    """Widest factor of a product: the magnitude of a segmented 8-bit code, the whole code otherwise."""
    data, numerics, widths = architecture.data, architecture.numerics, []
    for name in CODES:
        bits, given = getattr(data, f"{name}_bits"), getattr(numerics, f"{name}_format")
        segments = getattr(DATA_FORMATS[given].code, "segments", 1) if given else getattr(numerics, f"{name}_segments")
        widths.append(SEGMENTED_MAGNITUDE_BITS if bits == 8 and segments == 2 else bits)
    return max(widths)


def dsp_blocks(architecture: Architecture, board: Board) -> int:
    """Blocks of the multipliers: products of neighbouring columns share their stationary operand, and a block. A multiplier of a lane of
    the unified core is one."""
    return array_dsp_blocks(architecture, board) + lane_dsp_blocks(architecture) * architecture.unified_core.n_cores


def lane_dsp_blocks(architecture: Architecture) -> int:
    """Multipliers of a unified core."""
    unified = architecture.unified_core
    return unified.lanes * unified.lane.multipliers


def array_dsp_blocks(architecture: Architecture, board: Board) -> int:
    """Blocks of the products of the array."""
    array, bits = architecture.array, magnitude_bits(architecture)
    count = next((entry.count for entry in board.dsp.products if bits <= entry.width_bits), board.dsp.products[-1].count)
    of_lane = ceil(array.columns / count)
    return array.clusters * array.pes_per_cluster * array.lanes * of_lane


def pe_kind(architecture: Architecture) -> str:
    """What a PE multiplies, of `etasim.rtl.synthesis.PE_KINDS`: what takes most among the three classes of codes."""
    formats = [DATA_FORMATS[given] for name in CODES if (given := getattr(architecture.numerics, f"{name}_format"))]
    is_scaled = any(found.values_of_scale is not None for found in formats)
    if any(found.block is not None and isinstance(found.block.element, FloatElement) for found in formats):
        return synthesis.SCALED_FLOAT if is_scaled else synthesis.FLOAT
    if is_scaled:
        return synthesis.SCALED
    return synthesis.SEGMENTED if magnitude_bits(architecture) <= SEGMENTED_MAGNITUDE_BITS else synthesis.ONE_SEGMENT


def _pe_law(architecture: Architecture, figure: str) -> synthesis.Law:
    return synthesis.pe_law(pe_kind(architecture), figure)


def _pe_terms(architecture: Architecture, board: Board) -> Iterator[Term]:
    """Products with the trees that add them up, which have all flip-flops; columns beside their products, in the DSP blocks where these
    accumulate; psums in distributed memory."""
    array, wider = architecture.array, max(magnitude_bits(architecture) / WIDEST_CODE_BITS, 1.0)
    is_packed = min(getattr(architecture.data, f"{name}_bits") for name in CODES) < WIDEST_CODE_BITS
    luts, flip_flops = (_pe_law(architecture, figure).costs for figure in (synthesis.LUT, synthesis.FLIP_FLOP))
    n_pes, assumed = array.clusters * array.pes_per_cluster, wider > 1 or is_packed or board.dsp.name != FAMILY
    counts = {name: n_pes * n for name, n in synthesis.pe_terms(array.lanes, array.columns).items()}
    trees = max(sum(counts[what] * flip_flops[what] for what in counts), 0.0)
    yield Term(PRODUCTS, counts["product"], counts["product"] * luts["product"] * wider, trees * wider, assumed)
    columns = 0.0 if board.dsp.accumulates else counts["column"] * luts["column"] * wider
    yield Term(COLUMNS, counts["column"], columns, 0.0, assumed)
    distributed = 2 * array.psum_depth <= DISTRIBUTED_DEPTH
    psums = n_pes * synthesis.psum_luts(array.columns, array.psum_depth, array.accumulator_width_bits) if distributed else 0
    yield Term(PSUMS, counts["column"], float(psums), 0.0, board.dsp.name != FAMILY)


def _crossbars(architecture: Architecture, board: Board) -> Term:
    """A bank chooses among the ports that write its buffer, a port that reads among its banks."""
    width_bits, chosen = 8 * architecture.buffers.word_size_bytes, []
    for name, buffer in buffers_of(architecture).items():
        writers, readers = writers_and_readers(architecture, name)
        chosen += [n for n in [writers] * buffer.banks + [buffer.banks] * readers if n > 1]
    luts = sum(multiplexer_luts(n, width_bits) for n in chosen)
    return Term(CROSSBARS, len(chosen), luts, float(width_bits * len(chosen)), board.dsp.name != FAMILY)


def multiplexer_luts(inputs: int, width_bits: int) -> float:
    """LUTs of a multiplexer of words."""
    costs = synthesis.multiplexer_law().costs
    return sum(costs[what] * count for what, count in synthesis.multiplexer_terms(inputs, width_bits).items())


def _assumed(architecture: Architecture, board: Board) -> Iterator[Term]:
    costs, unified = board.logic.costs, architecture.unified_core
    counts = {
        ROUTERS: (router_port_bits(architecture.noc), costs.router_port_bit),
        LANES: (unified.n_cores * unified.lanes, costs.lane + costs.lane_adder * unified.lane.adders),
        ENGINES: (engine_count(architecture), costs.engine),
        INTERFACES: (data_buses(architecture.dram), costs.dram_channel),
    }
    if architecture.numerics.normalization == "running":
        sums = synthesis.psum_luts(1, RUNNING_BLOCKS, RUNNING_ACCUMULATOR_BITS) // 2  # in one half
        counts[RUNNING_SCALES] = RUNNING_ACCUMULATORS * unified.n_cores * unified.lanes, RUNNING_ACCUMULATOR_BITS + sums
    for name, (n, cost) in counts.items():
        yield Term(name, ceil(n), n * cost, n * cost * board.logic.flip_flops_per_lut, True)


def memories(architecture: Architecture, board: Board) -> Iterator[tuple[int, Bank]]:
    """(how many, each) of the block memories: both halves of the buffers' banks and of the scratchpads, psums too deep for logic."""
    array, memory, word = architecture.array, board.memory, architecture.buffers.word_size_bytes
    for buffer in buffers_of(architecture).values():
        yield buffer.banks, memory.bank(buffer.bank_bytes // word, 8 * word)
    stream, stationary = scratchpad_banks(architecture, board)
    yield array.clusters * array.columns, stream
    yield array.clusters, stationary
    if 2 * array.psum_depth > DISTRIBUTED_DEPTH:
        yield array.clusters * array.pes_per_cluster * array.columns, memory.bank(2 * array.psum_depth, array.accumulator_width_bits)


def scratchpad_banks(architecture: Architecture, board: Board) -> tuple[Bank, Bank]:
    """A bank of a stream scratchpad (there are as many as columns), and a stationary scratchpad. A vector that shares a scale is read
    with it, whatever part of it came along."""
    array, memory, word = architecture.array, board.memory, architecture.buffers.word_size_bytes
    vector = array.lanes * max(architecture.data.activation_bits, architecture.data.error_bits) // 8
    scale_bits = SCALE_BITS if pe_kind(architecture) in (synthesis.SCALED, synthesis.SCALED_FLOAT) else 0
    stream = memory.bank(-(-2 * array.stream_scratchpad_bytes // (array.columns * vector)), 8 * vector + scale_bits)
    return stream, memory.bank(-(-2 * array.stationary_scratchpad_bytes // word), 8 * word)


def router_ports(noc: Noc) -> list[int]:
    """Ports of each router of one physical network: its links, and the clusters and buffers that sit there."""
    topology = TOPOLOGIES[noc.topology](noc.columns, noc.rows, noc.concentration)
    links = (topology.link_router != ABSENT).sum(axis=1)
    endpoints = topology.node_router[list(noc.placement.nodes().values())]
    counts: list[int] = (links + np.bincount(endpoints, minlength=topology.n_routers)).tolist()
    return counts


def router_port_bits(noc: Noc) -> float:
    """Bits of the ports of all routers, in those of a router with five ports.

    Each port chooses among all, so a port of one with P ports counts for P / 5 (docs/rtl.md).
    """
    width_bits: int = sum(network.link_width_bits for network in networks_of(noc, len(MESSAGE_CLASSES)))
    return width_bits * sum(ports**2 for ports in router_ports(noc)) / INNER_ROUTER_PORTS


def engine_count(architecture: Architecture) -> int:
    """DMA engines, feeders, and the engines of what not every machine has."""
    engines = numbered_engines(architecture.unified_core.n_cores, architecture.array.clusters, present_of(architecture))
    return len(engines.dma) + len(engines.feeds) + len(engines.moves) + len(engines.arrivals)
