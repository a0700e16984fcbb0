"""The DRAM in closed form: commands and energy of each channel.

Bursts and refreshes follow from bytes and time; how often a row is opened, and how long one is open, are closed forms
(docs/models/analytical.md).
"""

from collections.abc import Sequence
from dataclasses import asdict
from fractions import Fraction
from math import ceil
from typing import NamedTuple

import numpy as np

from etasim.config import Architecture
from etasim.config.architecture import Dram
from etasim.estimate.shared import Outline
from etasim.memory.dram.energy import energy_of
from etasim.memory.dram.streams import rows_per_burst

ROWS_IN_USE = 2
"""Rows of a rank that are opened again after a refresh: one that is read, one that is written."""


class Traffic(NamedTuple):
    """An engine moves bytes in ``n_commands`` from ``begin`` to ``end``, which would take the DRAM ``busy_cycles``; core cycles."""

    begin: float
    end: float
    n_commands: int
    busy_cycles: float


def dram_channels(architecture: Architecture, plan: Outline, total_cycles: int, traffic: Sequence[Traffic]) -> list[dict[str, int | float]]:
    """Commands and energy of each channel, between which all is shared evenly; ``traffic``: when the engines move their bytes."""
    dram, amounts, interval = architecture.dram, plan.amounts, architecture.dram.part.timing_clocks.REFI
    clocks_per_cycle = Fraction(dram.part.clock_hz) / architecture.core.clock_hz
    clocks = int(total_cycles * clocks_per_cycle)
    moved = {is_store: sum(n for (_, _, stores), n in amounts.dram_bytes.items() if stores == is_store) for is_store in (False, True)}
    burst_bytes = dram.part.organisation.burst_bytes
    bursts = {"read_bursts": moved[False] // burst_bytes, "write_bursts": moved[True] // burst_bytes}
    refreshes = clocks // interval * dram.ranks if dram.refresh else 0
    n_ranks = _ranks_in_use(dram, plan.held_bytes)
    opened = _rows_opened(dram, sum(moved.values()), plan.held_bytes) + ROWS_IN_USE * refreshes // dram.ranks * n_ranks * dram.channels
    totals = bursts | {"activates": opened}
    open_share = _open_cycles(dram, float(clocks_per_cycle), total_cycles, traffic) / total_cycles
    channels = []
    for channel in range(dram.channels):
        counters = {name: (count + channel) // dram.channels for name, count in totals.items()}
        counters |= {"refreshes": refreshes, "open_rank_clocks": round(open_share * clocks) * n_ranks}
        energy = energy_of(dram.part, dram.ranks, counters, clocks)
        channels.append(counters | (asdict(energy) if energy else {}))
    return channels


def _rows_opened(dram: Dram, moved_bytes: int, held_bytes: int) -> int:
    """Rows that are opened, refreshes aside: as many as long runs open; all that hold anything, once, if each has a bank."""
    organisation = dram.part.organisation
    row_bytes = organisation.columns * organisation.bus_width_bits // 8
    moved_rows, held_rows = ceil(moved_bytes * rows_per_burst(dram) / organisation.burst_bytes), -(-held_bytes // row_bytes)
    n_banks = organisation.bank_groups * organisation.banks * dram.ranks * dram.channels
    return min(moved_rows, held_rows) if held_rows <= n_banks else moved_rows


def _ranks_in_use(dram: Dram, held_bytes: int) -> int:
    """Ranks that hold anything: tensors lie at the first addresses."""
    fields = [part.strip().split(":") for part in dram.mapping.split(",")]
    names = [name for name, bits in fields if int(bits)]
    if dram.ranks == 1 or "ra" not in names:
        return 1
    last = max(i for i, (name, bits) in enumerate(fields) if name == "ra" and int(bits))
    below = sum(int(bits) for _, bits in fields[last + 1 :])
    return min(dram.ranks, -(-held_bytes // (dram.part.organisation.burst_bytes * dram.channels << below)))


def _open_cycles(dram: Dram, clocks_per_cycle: float, total_cycles: int, traffic: Sequence[Traffic]) -> float:
    """Core cycles in which a rank has an open row: while bytes move, and in a pause until the row is closed."""
    times = np.array([(each.begin, each.end) for each in traffic]).reshape(-1, 2)
    edges = np.unique([0.0, float(total_cycles), *times.ravel()])
    command_rate, busy_rate = _rates_between(edges, times, np.array([each[2:] for each in traffic]).reshape(-1, 2))
    lengths = np.minimum(edges[1:], float(total_cycles)) - edges[:-1]
    is_run = lengths > 0
    lengths, command_rate, busy_rate = lengths[is_run], command_rate[is_run], busy_rate[is_run]
    commands, busy = np.maximum(command_rate, 1 / lengths), np.minimum(np.maximum(busy_rate, 0.0), 1.0)
    pauses = (1 - busy) / commands * clocks_per_cycle
    shares = np.where(pauses > 0, _open_clocks(dram, pauses) / np.where(pauses > 0, pauses, 1.0), 0.0)
    return float(np.cumsum(lengths * (busy + (1 - busy) * shares))[-1])


def _rates_between(edges: np.ndarray, times: np.ndarray, amounts: np.ndarray) -> np.ndarray:
    """Commands and busy cycles in a cycle [2, edges - 1] from each of ``edges`` to the next, of ``amounts`` [traffic, 2] between ``times``
    [traffic, 2]."""
    is_moved = times[:, 1] > times[:, 0]
    times, amounts = times[is_moved], amounts[is_moved]
    rates = amounts / (times[:, 1:] - times[:, :1])
    changes = np.zeros((len(edges), 2))
    np.add.at(changes, np.searchsorted(edges, times.ravel()), np.stack([rates, -rates], axis=1).reshape(-1, 2))
    return np.cumsum(changes[:-1], axis=0).T


def _open_clocks(dram: Dram, pauses: np.ndarray) -> np.ndarray:
    """Clocks of each of ``pauses`` that a row stays open: to a timeout, or to a refresh, due at any time of its interval with equal
    chance."""
    if dram.page_policy == "closed":
        return np.zeros_like(pauses)
    if dram.page_policy == "timeout":
        return np.asarray(np.minimum(pauses, float(dram.page_timeout)))
    if not dram.refresh:
        return pauses
    interval = dram.part.timing_clocks.REFI
    return np.where(pauses < interval, pauses - pauses**2 / (2 * interval), interval / 2)
