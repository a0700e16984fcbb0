"""What an estimate counts, from the plan: the rows of a report, and the commands of the DRAM channels.

Words, flits and bytes are those that the plan moves. Of DRAM, bursts and refreshes follow from bytes and time; how often a row is opened,
and how long one is open, are closed forms (docs/models/analytical.md).
"""

from collections.abc import Sequence
from dataclasses import asdict
from fractions import Fraction
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from etasim.config import Architecture
from etasim.config.architecture import Dram
from etasim.estimate.outline import Amounts, Outline
from etasim.estimate.outline_traffic import N_CLASSES, ways_of
from etasim.machine.elaborate import instant_engines
from etasim.machine.result import FLIT_CLASSES, SCRATCHPADS, STALL_CAUSES, LayerRow
from etasim.machine.rows import word_columns
from etasim.memory.dram.energy import energy_of
from etasim.program.commands import FIRST_CLUSTER, N_DMA, TENSOR_CLASSES
from etasim.schedule.array import PSUM

DRAM_COLUMNS = {f"dram_{access}_{name}_bytes": (name, access == "write") for access in ("read", "write") for name in TENSOR_CLASSES}
STALL_COLUMNS = tuple(f"{cause}_cycles" for cause in STALL_CAUSES)
ROWS_IN_USE = 2
"""Rows of a rank that are opened again after a refresh: one that is read, one that is written."""


class Traffic(NamedTuple):
    """An engine moves bytes in ``n_commands`` from ``begin`` to ``end``, which would take the DRAM ``busy_cycles``; core cycles."""

    begin: float
    end: float
    n_commands: int
    busy_cycles: float


def rows(architecture: Architecture, plan: Outline, cycles: np.ndarray, span_cycles: np.ndarray) -> tuple[LayerRow, ...]:
    """One row per operation with the columns that `etasim.machine.result` names; those that only a simulation knows are None."""
    amounts, n = plan.amounts, len(plan.operations)
    word_flits = np.array(ways_of(architecture.noc, architecture.buffers.word_size_bytes).word_flits)
    flits, hops = (_table(amounts_of, n, N_CLASSES) * word_flits for amounts_of in (amounts.sent, amounts.hops))
    words = _words(architecture, amounts, n)
    table = []
    for i, operation in enumerate(plan.operations):
        row = LayerRow(layer=operation.layer, phase=operation.phase, kind=operation.kind, macs=operation.macs)
        row |= {"zero_insertion_macs": operation.zero_insertion_macs, "cycles": int(cycles[i]), "span_cycles": int(span_cycles[i])}
        row["cluster_busy_cycles"] = amounts.cluster_cycles.get(i, 0)
        row |= dict.fromkeys(STALL_COLUMNS)
        row["unified_core_busy_cycles"] = amounts.vector_groups.get(i, 0)
        row |= {column: amounts.dram_bytes.get((i, *moved), 0) for column, moved in DRAM_COLUMNS.items()}
        row |= {f"{name}_flits": int(flits[i, kind]) for kind, name in enumerate(FLIT_CLASSES)}
        row |= {f"{name}_flit_hops": int(hops[i, kind]) for kind, name in enumerate(FLIT_CLASSES)}
        row["flit_hops"] = int(hops[i].sum())
        row |= {name: None if values is None else int(values[i]) for name, values in words.items()}
        table.append(row)
    return tuple(table)


def _table(values: dict[tuple[int, int], int], n_rows: int, n_columns: int) -> np.ndarray:
    """``values`` by (row, column) as an array."""
    table = np.zeros((n_rows, n_columns), np.int64)
    for place, value in values.items():
        table[place] = value
    return table


def _words(architecture: Architecture, amounts: Amounts, n: int) -> dict[str, np.ndarray | None]:
    """Words through buffers and into scratchpads; None where a simulation moves nothing through a port either."""
    arrived = _table(amounts.arrived, n, N_CLASSES)
    fed, dma, unified = (_table(values, n, N_DMA) for values in (amounts.sent, amounts.dma_words, amounts.unified_words))
    words = word_columns(fed, dma, unified, arrived[:, PSUM], arrived[:, : len(SCRATCHPADS)])
    is_instant = instant_engines(architecture, FIRST_CLUSTER + 2 * architecture.array.clusters).any()
    return dict.fromkeys(words) if is_instant else words


def dram_channels(architecture: Architecture, plan: Outline, total_cycles: int, traffic: Sequence[Traffic]) -> list[dict[str, int | float]]:
    """Commands and energy of each channel, between which all is shared evenly; ``traffic``: when the engines move their bytes."""
    dram, amounts, interval = architecture.dram, plan.amounts, architecture.dram.part.timing_clocks.REFI
    clocks_per_cycle = Fraction(dram.part.clock_hz) / architecture.core.clock_hz
    clocks = int(total_cycles * clocks_per_cycle)
    moved = {is_store: sum(n for (_, _, stores), n in amounts.dram_bytes.items() if stores == is_store) for is_store in (False, True)}
    burst_bytes = dram.part.organisation.burst_bytes
    bursts = {name: moved[is_store] // burst_bytes for is_store, name in enumerate(("read_bursts", "write_bursts"))}
    refreshes = clocks // interval * dram.ranks if dram.refresh else 0
    opened = _rows_opened(dram, sum(moved.values()), plan.held_bytes) + ROWS_IN_USE * refreshes * dram.channels
    totals, n_ranks = bursts | {"activates": opened}, _ranks_in_use(dram, plan.held_bytes)
    open_share = _open_cycles(dram, float(clocks_per_cycle), total_cycles, traffic) / total_cycles
    channels = []
    for channel in range(dram.channels):
        counters = {name: (count + channel) // dram.channels for name, count in totals.items()}
        counters |= {"refreshes": refreshes, "open_rank_clocks": round(open_share * clocks) * n_ranks}
        energy = energy_of(dram.part, dram.ranks, counters, clocks)
        channels.append(counters | (asdict(energy) if energy else {}))
    return channels


def _rows_opened(dram: Dram, moved_bytes: int, held_bytes: int) -> int:
    """Rows that are opened, refreshes aside: one for as many bytes as it has; all that hold anything, once, if each has a bank."""
    organisation = dram.part.organisation
    row_bytes = organisation.columns * organisation.bus_width_bits // 8
    moved_rows, held_rows = -(-moved_bytes // row_bytes), -(-held_bytes // row_bytes)
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
    edges = sorted({0.0, float(total_cycles), *(edge for each in traffic for edge in (each.begin, each.end))})
    changes: dict[float, np.ndarray] = {edge: np.zeros(2) for edge in edges}
    for each in traffic:
        if each.end > each.begin:
            rates = np.array([each.n_commands, each.busy_cycles]) / (each.end - each.begin)
            changes[each.begin] += rates
            changes[each.end] -= rates
    opened, rates = 0.0, np.zeros(2)
    for begin, end in pairwise(edges):
        rates = rates + changes[begin]
        length = min(end, float(total_cycles)) - begin
        if length <= 0:
            continue
        commands, busy = max(rates[0], 1 / length), min(max(rates[1], 0.0), 1.0)
        pause_clocks = (1 - busy) / commands * clocks_per_cycle
        share = _open_clocks(dram, pause_clocks) / pause_clocks if pause_clocks > 0 else 0.0
        opened += length * (busy + (1 - busy) * share)
    return opened


def _open_clocks(dram: Dram, pause_clocks: float) -> float:
    """Clocks of a pause that a row stays open: to a timeout, or to a refresh, due at any time of its interval with equal chance."""
    if dram.page_policy == "closed":
        return 0.0
    if dram.page_policy == "timeout":
        return min(pause_clocks, float(dram.page_timeout))
    if not dram.refresh:
        return pause_clocks
    interval = dram.part.timing_clocks.REFI
    return pause_clocks - pause_clocks**2 / (2 * interval) if pause_clocks < interval else interval / 2
