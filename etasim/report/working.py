"""Which blocks of the board work when the machine counts something, and what each count takes of energy therefore (docs/energy.md)."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any, NamedTuple

from etasim.config import Architecture
from etasim.config.board import Board
from etasim.config.energy import ASSUMED, ActionEnergy
from etasim.config.noc import MESSAGE_CLASSES
from etasim.machine.parts import buffers_of, writers_and_readers
from etasim.machine.result import FLIT_CLASSES
from etasim.noc import class_widths_bits, networks_of
from etasim.report.board import (
    COLUMNS,
    DISTRIBUTED_DEPTH,
    ENGINES,
    INTERFACES,
    LANES,
    PRODUCTS,
    PSUMS,
    ROUTERS,
    RUNNING_ACCUMULATORS,
    RUNNING_SCALES,
    array_dsp_blocks,
    lane_dsp_blocks,
    multiplexer_luts,
    resources_of,
    router_ports,
    scratchpad_banks,
)

ARRAY_PHASES = ("ff", "bp", "wg")
"""Phases in which clusters work."""
BUSY = "cluster_busy_cycles"
"""The column of layers.csv that counts for energy in these phases only."""
RESULT_BITS = 16
"""A result that a psum memory gives, on its way to the error buffer."""
DSP, MEMORY, LOGIC, CLOCK = "DSP blocks", "memory blocks", "LUTs", "flip-flops"


@dataclass(frozen=True, slots=True)
class Action:
    """What a row of the machine's table did ``count`` times (None: not counted), at what energy each (None: no figure)."""

    component: str
    name: str
    count: int | None
    each: ActionEnergy | None


class Work(NamedTuple):
    """``number`` of blocks of a ``kind`` work for one count; ``assumed``: the number is not from synthesis."""

    component: str
    name: str
    kind: str
    number: Fraction
    assumed: bool = False


def actions(architecture: Architecture, row: Mapping[str, Any]) -> Iterator[Action]:
    """The actions on the chip of one row: an operation of a layer in a phase. Without a board only what the NoC's section states."""
    for column, works in _by_column(architecture).items():
        if column != BUSY or row["phase"] in ARRAY_PHASES:
            count = row.get(column)
            yield from (Action(work.component, work.name, count, each) for work, each in works)
    yield from _stated_hops(architecture, row)


def energies_of_one(architecture: Architecture) -> dict[str, list[tuple[str, ActionEnergy]]]:
    """(component, energy) of all that one count of each column of layers.csv takes, as far as there are figures; in a phase in which
    clusters work."""
    found = {column: [(work.component, each) for work, each in works if each] for column, works in _by_column(architecture).items()}
    for column in ("flit_hops", *(f"{name}_flit_hops" for name in FLIT_CLASSES)):
        stated = [(action.component, action.each) for action in _stated_hops(architecture, {column: 1}) if action.count and action.each]
        found[column] = found.get(column, []) + stated
    return found


def summed(architecture: Architecture, rows: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str], Action]:
    """The actions of all ``rows`` together, by component and name; not counted if one of them is not."""
    found: dict[tuple[str, str], Action] = {}
    of_array = [row for row in rows if row["phase"] in ARRAY_PHASES]
    for column, works in _by_column(architecture).items():
        counted = of_array if column == BUSY else rows
        counts: list[Any] = [row.get(column) for row in counted]
        count = None if None in counts else sum(counts)
        _add(found, (Action(work.component, work.name, count, each) for work, each in works if counted))
    for row in rows if architecture.noc.energy_per_flit_hop else ():
        _add(found, _stated_hops(architecture, row))
    return found


def _add(found: dict[tuple[str, str], Action], more: Iterable[Action]) -> None:
    for action in more:
        key = action.component, action.name
        before = found[key].count if key in found else 0
        count = None if before is None or action.count is None else before + action.count
        found[key] = Action(action.component, action.name, count, action.each)


def energy_of_work(architecture: Architecture, work: Work) -> ActionEnergy | None:
    """What one count takes; None if there is no figure for its blocks."""
    table = architecture.energy
    each = {DSP: table.dsp_block, MEMORY: table.memory_block, LOGIC: table.logic, CLOCK: table.flip_flop}[work.kind]
    if each is None:
        return None
    number = f"{float(work.number):,.6g} {work.kind}"
    source = each.source.removeprefix(f"{ASSUMED}: ")
    assumed = f"{ASSUMED}: " if work.assumed or each.is_assumed else ""
    energy = each.energy_joule * work.number
    return each.model_copy(update={"energy_joule": energy, "source": f"{assumed}{number}, each: {source}"})


@lru_cache(maxsize=8)
def _by_column(architecture: Architecture) -> dict[str, tuple[tuple[Work, ActionEnergy | None], ...]]:
    """What works for one count of each column of layers.csv, and what it takes."""
    board = architecture.board
    if board is None:
        return {}
    found: dict[str, list[tuple[Work, ActionEnergy | None]]] = {}
    for column, work in (*_of_array(architecture, board), *_of_buffers(architecture, board), *_of_the_rest(architecture, board)):
        if work.number > 0:
            found.setdefault(column, []).append((work, energy_of_work(architecture, work)))
    return {column: tuple(works) for column, works in found.items()}


def _luts(architecture: Architecture, board: Board, *names: str) -> Fraction:
    return Fraction(round(sum(term.luts for term in resources_of(architecture, board).terms if term.name in names)))


def _is_assumed(architecture: Architecture, board: Board, name: str) -> bool:
    return any(term.assumed for term in resources_of(architecture, board).terms if term.name == name)


def _of_array(architecture: Architecture, board: Board) -> Iterator[tuple[str, Work]]:
    """A cluster in a cycle in which it multiplies: its DSP blocks, the logic of its PEs, its psums, and the stream that it reads."""
    array = architecture.array
    assumed = _is_assumed(architecture, board, PRODUCTS)
    yield BUSY, Work("multipliers", "cluster cycle", DSP, Fraction(array_dsp_blocks(architecture, board), array.clusters))
    logic = _luts(architecture, board, PRODUCTS, COLUMNS) / array.clusters
    yield BUSY, Work("PE logic", "cluster cycle", LOGIC, logic, assumed)
    columns = array.pes_per_cluster * array.columns
    drained = class_widths_bits(architecture.noc, len(MESSAGE_CLASSES))[FLIT_CLASSES.index("psum")] / Fraction(RESULT_BITS)
    if 2 * array.psum_depth <= DISTRIBUTED_DEPTH:
        psum = _luts(architecture, board, PSUMS) / (array.clusters * columns)
        kind, updates = LOGIC, 1
    else:
        psum = Fraction(board.memory.bank(2 * array.psum_depth, array.accumulator_width_bits).enabled)
        kind, updates = MEMORY, 2
    yield BUSY, Work("psums", "cluster cycle", kind, updates * columns * psum, assumed and kind == LOGIC)
    yield "psum_flits", Work("psums", "drained flit", kind, drained * psum, assumed and kind == LOGIC)
    stream, stationary = (Fraction(bank.enabled) for bank in scratchpad_banks(architecture, board))
    vector = array.lanes * max(architecture.data.activation_bits, architecture.data.error_bits) // 8
    yield BUSY, Work("stream scratchpads", "cluster cycle", MEMORY, array.columns * stream)
    vectors = Fraction(architecture.buffers.word_size_bytes, vector)
    yield "stream_scratchpad_writes", Work("stream scratchpads", "word written", MEMORY, vectors * stream)
    yield "stationary_scratchpad_writes", Work("stationary scratchpads", "word written and read", MEMORY, 2 * stationary)


def _of_buffers(architecture: Architecture, board: Board) -> Iterator[tuple[str, Work]]:
    """The blocks of a bank that lie beside each other, and the multiplexer that a word goes through."""
    word = architecture.buffers.word_size_bytes
    for name, buffer in buffers_of(architecture).items():
        enabled = Fraction(board.memory.bank(buffer.bank_bytes // word, 8 * word).enabled)
        writers, _ = writers_and_readers(architecture, name)
        for column, access, inputs in (("reads", "read", buffer.banks), ("writes", "written", writers)):
            key, component = f"{name}_buffer_{column}", f"{name} buffer"
            yield key, Work(component, f"word {access}", MEMORY, enabled)
            luts = Fraction(round(multiplexer_luts(inputs, 8 * word))) if inputs > 1 else Fraction(0)
            yield key, Work(component, f"multiplexer of a word {access}", LOGIC, luts)


def _of_the_rest(architecture: Architecture, board: Board) -> Iterator[tuple[str, Work]]:
    """A vector group: the lanes of a unified core. A flit that hops: a port of a router, unless the NoC's section states it."""
    unified, noc = architecture.unified_core, architecture.noc
    lanes = _luts(architecture, board, LANES) / unified.n_cores
    yield "unified_core_busy_cycles", Work("unified core", "vector group", LOGIC, lanes, True)
    yield "unified_core_busy_cycles", Work("unified core", "products of a vector group", DSP, Fraction(lane_dsp_blocks(architecture)))
    yield from _of_running_scales(architecture, board)
    if noc.energy_per_flit_hop is not None:
        return
    ports = sum(router_ports(noc))
    widths = class_widths_bits(noc, len(MESSAGE_CLASSES))
    of_bit = _luts(architecture, board, ROUTERS) / (ports * sum(network.link_width_bits for network in networks_of(noc, len(widths))))
    if noc.networks is None:
        yield "flit_hops", Work("noc", "flit hop", LOGIC, of_bit * noc.link_width_bits, True)
        return
    for name, width_bits in zip(FLIT_CLASSES, widths, strict=True):
        yield f"{name}_flit_hops", Work("noc", f"flit hop, {name}", LOGIC, of_bit * width_bits, True)


def _of_running_scales(architecture: Architecture, board: Board) -> Iterator[tuple[str, Work]]:
    """What running scales add up: at most one accumulator in each lane of a vector group, and weight gradients as they drain."""
    unified = architecture.unified_core
    of_core = _luts(architecture, board, RUNNING_SCALES) / (RUNNING_ACCUMULATORS * unified.n_cores)
    yield "unified_core_busy_cycles", Work(RUNNING_SCALES, "vector group", LOGIC, of_core, True)
    each = of_core / unified.lanes * 8 / architecture.data.weight_gradient_bits
    yield "dram_write_weight_gradient_bytes", Work(RUNNING_SCALES, "byte of weight gradients", LOGIC, each, True)


def _stated_hops(architecture: Architecture, row: Mapping[str, Any]) -> Iterator[Action]:
    """Flit hops at the energy that the NoC's section states; those of each class by themselves where it has links of another width."""
    noc = architecture.noc
    each = noc.energy_per_flit_hop
    if each is None:
        return
    if noc.networks is None:
        yield Action("noc", "flit hop", row.get("flit_hops"), each)
        return
    for name, width_bits in zip(FLIT_CLASSES, class_widths_bits(noc, len(MESSAGE_CLASSES)), strict=True):
        share = each.model_copy(update={"energy_joule": each.energy_joule * width_bits / noc.link_width_bits})
        yield Action("noc", f"flit hop, {name}", row.get(f"{name}_flit_hops"), share)


@lru_cache(maxsize=8)
def all_the_time(architecture: Architecture) -> tuple[Work, ...]:
    """What works in every cycle: the clock at every flip-flop, engines, DRAM interfaces."""
    board = architecture.board
    if board is None:
        return ()
    terms = resources_of(architecture, board).terms
    found = []
    for assumed, name in ((False, "flip-flops by synthesis"), (True, "flip-flops of what is not synthesised")):
        number = Fraction(round(sum(term.flip_flops for term in terms if term.assumed == assumed)))
        found.append(Work("clock tree", name, CLOCK, number, assumed))
    found.append(Work("engines", "DMA engines and feeders", LOGIC, _luts(architecture, board, ENGINES), True))
    found.append(Work("dram interfaces", "logic", LOGIC, _luts(architecture, board, INTERFACES), True))
    return tuple(work for work in found if work.number > 0)
