"""Energy of an iteration: what the machine counted times the energies that the architecture states.

A pure function of a result. An action whose energy is not known, or that was not counted, is excluded and listed with the reason; it is
never taken for zero.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from math import lcm
from typing import Any
from weakref import ref

from etasim.config import Architecture
from etasim.config.energy import ActionEnergy
from etasim.machine.result import RunResult
from etasim.report.working import ARRAY_PHASES, BUSY, all_the_time, energies_of_one, energy_of_work, summed

NO_FIGURE, NOT_COUNTED, NO_CURRENTS = "no figure", "not counted", "the part states no currents"
NO_BOARD = "no board"
DRAM_CAUSES = ("activate", "read", "write", "refresh", "background")


@dataclass(frozen=True)
class Spent:
    """Energy of one action of one component. ``count`` is in the action's unit; ``reason`` says why the energy is None; ``assumed``: the
    figure, or the number of blocks that it is of, has no source."""

    component: str
    action: str
    count: int | None
    energy_joule: Fraction | None
    source: str = ""
    technology: str = ""
    reason: str = ""
    assumed: bool = False


def on_chip_joule(architecture: Architecture, row: Mapping[str, Any]) -> Fraction | None:
    """Energy of the actions of one row that are known; None if none is."""
    denominator, of_one = _of_one(architecture)
    works = row["phase"] in ARRAY_PHASES
    counted = [(row.get(column), each) for column, each in of_one if works or column != BUSY]
    known = [count * each for count, each in counted if count is not None]
    return sum(known, Fraction(0)) / denominator if known else None


@lru_cache(maxsize=8)
def _of_one(architecture: Architecture) -> tuple[int, tuple[tuple[str, int], ...]]:
    """A denominator, and (column of layers.csv, what one count takes in such a part of a joule): whole numbers add up quickly."""
    joule = {column: sum(each.energy_joule for _, each in found) for column, found in energies_of_one(architecture).items() if found}
    denominator = lcm(*(Fraction(each).denominator for each in joule.values()))
    return denominator, tuple((column, int(each * denominator)) for column, each in joule.items())


_latest: list[tuple[ref[RunResult], tuple[Spent, ...]]] = []
"""The result that was last asked about, which is asked about several times."""


def breakdown(result: RunResult) -> tuple[Spent, ...]:
    """Every component and action of the iteration: on the chip, on the link to the host, in DRAM, and what takes energy all the time."""
    if not _latest or _latest[0][0]() is not result:
        _latest[:] = [(ref(result), _broken_down(result))]
    return _latest[0][1]


def _broken_down(result: RunResult) -> tuple[Spent, ...]:
    return (*_on_chip(result), *_link(result), *_dram(result), *_all_the_time(result), *_static(result))


def _on_chip(result: RunResult) -> Iterator[Spent]:
    if result.architecture.board is None:
        yield Spent("chip", "all blocks", None, None, reason=NO_BOARD)
    for (component, name), action in sorted(summed(result.architecture, result.layers).items(), key=lambda item: item[0]):
        yield _spent(component, name, action.count, action.each)


def _spent(component: str, name: str, count: int | None, each: ActionEnergy | None) -> Spent:
    if each is None:
        return Spent(component, name, count, None, reason=NO_FIGURE)
    if count is None:
        return Spent(component, name, None, None, each.source, each.technology, NOT_COUNTED)
    return Spent(component, name, count, count * each.energy_joule, each.source, each.technology, assumed=each.is_assumed)


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


def _all_the_time(result: RunResult) -> Iterator[Spent]:
    for work in all_the_time(result.architecture):
        yield _spent(work.component, work.name, result.total_cycles, energy_of_work(result.architecture, work))


def _static(result: RunResult) -> Iterator[Spent]:
    table, cycles = result.architecture.energy.static_power, result.total_cycles
    seconds = Fraction(cycles) / result.architecture.core.clock_hz
    if not table:
        yield Spent("static", "all resources", None, None, reason=NO_FIGURE)
    for name, entry in table.items():
        if entry is None:
            yield Spent("static", name, cycles, None, reason=NO_FIGURE)
        else:
            yield Spent("static", name, cycles, entry.power_watt * seconds, entry.source, entry.technology, assumed=entry.is_assumed)


def total_joule(result: RunResult) -> Fraction | None:
    """Energy of all that is known; None if the architecture states no energy at all."""
    parts = breakdown(result)
    if not any(part.energy_joule is not None for part in parts if part.component != "dram"):
        return None
    return sum((part.energy_joule for part in parts if part.energy_joule is not None), Fraction(0))


def assumed_joule(result: RunResult) -> Fraction:
    """The part of ``total_joule`` that has no source."""
    return sum((part.energy_joule for part in breakdown(result) if part.assumed and part.energy_joule is not None), Fraction(0))


def excluded(result: RunResult) -> tuple[str, ...]:
    """What ``total_joule`` leaves out, and why."""
    return tuple(f"{part.component} {part.action} ({part.reason})" for part in breakdown(result) if part.energy_joule is None)
