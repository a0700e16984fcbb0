"""Energy of an iteration: what the machine counted times the energies that the architecture states.

A pure function of a result. An action whose energy is not known, or that was not counted, is excluded and listed with the reason; it is
never taken for zero.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from etasim.config import Architecture
from etasim.config.data import Data
from etasim.config.energy import ActionEnergy
from etasim.config.noc import MESSAGE_CLASSES, Noc
from etasim.machine.parts import buffers_of
from etasim.machine.result import RunResult
from etasim.noc import class_widths_bits

NO_FIGURE, NOT_COUNTED, NO_CURRENTS = "no figure", "not counted", "the part states no currents"
DRAM_CAUSES = ("activate", "read", "write", "refresh", "background")
OPERANDS = {"ff": ("activation", "weight"), "bp": ("error", "weight"), "wg": ("activation", "error")}
"""Tensor classes of the streamed and of the stationary operand of a phase."""


@dataclass(frozen=True)
class Spent:
    """Energy of one action of one component. ``count`` is in the action's unit; ``reason`` says why the energy is None."""

    component: str
    action: str
    count: int | None
    energy_joule: Fraction | None
    source: str = ""
    technology: str = ""
    reason: str = ""


@dataclass(frozen=True)
class Action:
    """What a row of the machine's table did ``count`` times (None: not counted), at what energy each."""

    component: str
    name: str
    count: int | None
    each: ActionEnergy | None


def actions(architecture: Architecture, row: Mapping[str, Any]) -> Iterator[Action]:
    """The actions on the chip of one row: an operation of a layer in a phase."""
    if row["phase"] in OPERANDS:
        yield from _array_actions(architecture, row)
    yield from _memory_actions(architecture, row)
    groups, lanes = row.get("unified_core_busy_cycles"), architecture.unified_core.lanes
    yield Action("unified core", "lane operation", _times(groups, lanes), architecture.energy.lane_operation)
    if architecture.numerics.normalization == "running":
        yield from _running_actions(architecture, row)
    yield from _network_actions(architecture.noc, row)


def _running_actions(architecture: Architecture, row: Mapping[str, Any]) -> Iterator[Action]:
    """What running scales add up: at most one accumulator in each lane operation, and weight gradients as they drain."""
    each, bits = architecture.energy.psum_update, architecture.data.weight_gradient_bits
    of_byte = each and each.model_copy(update={"energy_joule": each.energy_joule * 8 / bits})
    yield Action("running scale", "accumulation", _times(row.get("unified_core_busy_cycles"), architecture.unified_core.lanes), each)
    yield Action("running scale", "byte of weight gradients", row.get("dram_write_weight_gradient_bytes"), of_byte)


def _network_actions(noc: Noc, row: Mapping[str, Any]) -> Iterator[Action]:
    """Flit hops; those of each class by themselves where it has links of another width than ``noc.link_width``."""
    each = noc.energy_per_flit_hop
    if noc.networks is None:
        yield Action("noc", "flit hop", row.get("flit_hops"), each)
        return
    for name, width_bits in zip(MESSAGE_CLASSES, class_widths_bits(noc, len(MESSAGE_CLASSES)), strict=True):
        share = each and each.model_copy(update={"energy_joule": each.energy_joule * width_bits / noc.link_width_bits})
        yield Action("noc", f"flit hop, {name}", row.get(f"{name}_flit_hops"), share)


def _array_actions(architecture: Architecture, row: Mapping[str, Any]) -> Iterator[Action]:
    """MACs of all lanes of busy clusters, their operands' reads, the updates of the psums."""
    array, table = architecture.array, architecture.energy
    busy, widths = row.get("cluster_busy_cycles"), _operand_bits(architecture.data, row["phase"])
    macs = array.macs_per_cycle // array.clusters
    yield Action("mac", f"{max(widths)}-bit multiply-accumulate", _times(busy, macs), table.mac_of(max(widths)))
    yield Action("psum", "update", _times(busy, array.pes_per_cluster * array.columns), table.psum_update)
    stream = table.memory_of(2 * array.stream_scratchpad_bytes // array.columns)
    yield Action("stream scratchpad", "byte read", _times(busy, array.columns * array.lanes * widths[0] // 8), stream)


def _memory_actions(architecture: Architecture, row: Mapping[str, Any]) -> Iterator[Action]:
    """Bytes written to the scratchpads (a stationary byte is read once), and moved through the banks of the buffers."""
    array, table, word = architecture.array, architecture.energy, architecture.buffers.word_size_bytes
    stream = table.memory_of(2 * array.stream_scratchpad_bytes // array.columns)
    yield Action("stream scratchpad", "byte written", _times(row.get("stream_scratchpad_writes"), word), stream)
    stationary, words = table.memory_of(2 * array.stationary_scratchpad_bytes), row.get("stationary_scratchpad_writes")
    for access in ("read", "written"):
        yield Action("stationary scratchpad", f"byte {access}", _times(words, word), stationary)
    for name, buffer in buffers_of(architecture).items():
        each = table.memory_of(buffer.bank_bytes)
        for access, column in (("read", "reads"), ("written", "writes")):
            yield Action(f"{name} buffer", f"byte {access}", _times(row.get(f"{name}_buffer_{column}"), word), each)


def _operand_bits(data: Data, phase: str) -> tuple[int, int]:
    """Widths of the streamed and of the stationary operand."""
    stream, stationary = OPERANDS[phase]
    return getattr(data, f"{stream}_bits"), getattr(data, f"{stationary}_bits")


def _times(count: int | None, factor: int) -> int | None:
    return None if count is None else int(count) * factor


def on_chip_joule(architecture: Architecture, row: Mapping[str, Any]) -> Fraction | None:
    """Energy of the actions of one row that are known; None if none is."""
    known = [action.count * action.each.energy_joule for action in actions(architecture, row) if action.each and action.count is not None]
    return sum(known, Fraction(0)) if known else None


def breakdown(result: RunResult) -> tuple[Spent, ...]:
    """Every component and action of the iteration: on the chip, on the link to the host, in DRAM, and what resources take all the time."""
    return (*_on_chip(result), *_link(result), *_dram(result), *_static(result))


def _on_chip(result: RunResult) -> Iterator[Spent]:
    counts: dict[tuple[str, str], int | None] = {}
    energies: dict[tuple[str, str], ActionEnergy | None] = {}
    for row in result.layers:
        for action in actions(result.architecture, row):
            key = (action.component, action.name)
            before = counts.get(key, 0)
            counts[key] = None if before is None or action.count is None else before + action.count
            energies[key] = action.each
    for (component, name), count in sorted(counts.items(), key=lambda item: item[0]):
        yield _spent(component, name, count, energies[component, name])


def _spent(component: str, name: str, count: int | None, each: ActionEnergy | None) -> Spent:
    if each is None:
        return Spent(component, name, count, None, reason=NO_FIGURE)
    if count is None:
        return Spent(component, name, None, None, each.source, each.technology, NOT_COUNTED)
    return Spent(component, name, count, count * each.energy_joule, each.source, each.technology)


def _link(result: RunResult) -> Iterator[Spent]:
    """Bytes that the host's engine brings."""
    if result.architecture.host is not None:
        count = sum(row.count("host_bytes") for row in result.layers)
        yield _spent("host link", "byte", count, result.architecture.host.energy_per_byte)


def _dram(result: RunResult) -> Iterator[Spent]:
    """Commands and standby of the devices (docs/models/dram.md); the pins' power belongs to the interface."""
    channels, dram = result.components.get("dram", []), result.architecture.dram
    counted = bool(channels) and not dram.ideal
    for cause in DRAM_CAUSES:
        known: list[Any] = [channel.get(f"{cause}_nj") for channel in channels]
        if not counted or None in known:
            yield Spent("dram", cause, None, None, reason=NO_CURRENTS if counted else NOT_COUNTED)
        else:
            energy = sum((Fraction(value) for value in known), Fraction(0)) / 10**9
            yield Spent("dram", cause, None, energy, f"IDD currents of {dram.part.name}; Micron TN-41-01", dram.part.standard)


def _static(result: RunResult) -> Iterator[Spent]:
    table, cycles = result.architecture.energy.static_power, result.total_cycles
    seconds = Fraction(cycles) / result.architecture.core.clock_hz
    if not table:
        yield Spent("static", "all resources", None, None, reason=NO_FIGURE)
    for name, entry in table.items():
        if entry is None:
            yield Spent("static", name, cycles, None, reason=NO_FIGURE)
        else:
            yield Spent("static", name, cycles, entry.power_watt * seconds, entry.source, entry.technology)


def total_joule(result: RunResult) -> Fraction | None:
    """Energy of all that is known; None if the architecture states no energy at all."""
    parts = breakdown(result)
    if not any(part.energy_joule is not None for part in parts if part.component != "dram"):
        return None
    return sum((part.energy_joule for part in parts if part.energy_joule is not None), Fraction(0))


def excluded(result: RunResult) -> tuple[str, ...]:
    """What ``total_joule`` leaves out, and why."""
    return tuple(f"{part.component} {part.action} ({part.reason})" for part in breakdown(result) if part.energy_joule is None)
