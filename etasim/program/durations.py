"""How long the commands of a program take at the least, whatever the machine around them."""

from typing import NamedTuple

import numpy as np

from etasim.program.commands import Program, engines_of


class Least(NamedTuple):
    """What no machine can do without: ``busy_cycles`` [cluster] of its compute commands, the ``longest_cycles`` of one of them, and
    ``dram_bytes`` that transfers move."""

    busy_cycles: np.ndarray
    longest_cycles: int
    dram_bytes: int


def compute_cycles(program: Program) -> np.ndarray:
    """Cycles of each compute command: its sweeps, conflicts included, and what stands behind them. Shape [computes]."""
    table, ends = program.computes, np.concatenate(([0], np.cumsum(program.sweep_cycles)))
    per_period = ends[table["sweep_table"] + table["sweep_period"]] - ends[table["sweep_table"]]
    return table["n_sweeps"] // np.maximum(table["sweep_period"], 1) * per_period + table["fill_cycles"]


def least_of(program: Program) -> Least:
    """That of a program or a window of it."""
    cycles, start, transfers = compute_cycles(program), program.engine_start, program.transfers
    busy = [cycles[program.commands["row"][start[e] : start[e + 1]]].sum() for e in engines_of(program).computes]
    n_bytes = (transfers["run_bytes"] * transfers["counts"].prod(axis=1)).sum()
    return Least(np.array(busy, np.int64), int(cycles.max(initial=0)), int(n_bytes))
