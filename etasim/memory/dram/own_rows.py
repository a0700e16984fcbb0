"""The rows of a standard about timings that it alone has, taken literally by the checker: each with the clocks of the last commands that it
counts from, without the cells of `etasim.memory.dram.spec`."""

from typing import NamedTuple

import numpy as np

from etasim.core.arrays import Integers
from etasim.core.jit import kernel
from etasim.memory.dram.standards import ACT, COMMANDS, Standard, evaluate

NEVER_SEEN = -(1 << 40)
_LEVELS = ("bank", "bank_group", "rank", "channel")
_LEVEL, _BEFORE, _AFTER, _CLOCKS, _SIBLING, _WINDOW = range(6)
"""Columns of `ActivateWindows.rows`."""


class OwnRow(NamedTuple):
    """``after`` at least ``clocks`` after the ``window``-th last ``before`` on ``level``, of the same node or of its siblings."""

    name: str
    level: str
    before: str
    after: str
    clocks: int
    window: int
    sibling: bool


class ActivateWindows(NamedTuple):
    """``rows`` [row, column]; ``clocks`` [row, node, (place of the oldest, clocks of the last commands)]."""

    rows: np.ndarray
    clocks: np.ndarray


def own_rows(standard: Standard, timings: dict[str, int]) -> tuple[OwnRow, ...]:
    """The rows of ``standard`` that read a timing of its own."""
    return tuple(
        OwnRow(f"{row.clocks} from {before} to {after}", row.level, before, after, evaluate(row.clocks, timings), row.window, row.sibling)
        for row in standard.constraints if row.timings.intersection(standard.own_timings)
        for before in row.preceding for after in row.following
    )  # fmt: skip


def unseen_windows(own: tuple[OwnRow, ...], n_banks: int) -> ActivateWindows:
    """Nothing has been issued."""
    clocks = np.full((len(own), n_banks, 1 + max((row.window for row in own), default=1)), NEVER_SEEN)
    clocks[:, :, 0] = 0
    rows = [(_LEVELS.index(r.level), COMMANDS.index(r.before), COMMANDS.index(r.after), r.clocks, r.sibling, r.window) for r in own]
    return ActivateWindows(np.array(rows, np.int64).reshape(-1, 6), clocks)


@kernel
def bounds_of_own_rows(
    windows: ActivateWindows, found: Integers, first: int, command: int, nodes: tuple[int, ...], n_ranks: int, act_clocks: int
) -> None:
    """Enter into ``found`` from ``first`` on when each row allows ``command``; ``nodes`` [level]: those that it is for."""
    shift = (act_clocks - 1) * (command == ACT)
    for row in range(windows.rows.shape[0]):
        found[first + row] = NEVER_SEEN
        if windows.rows[row, _AFTER] == command:
            own_node, sibling = nodes[windows.rows[row, _LEVEL]], windows.rows[row, _SIBLING]
            for node in range(n_ranks if sibling else own_node + 1):
                if (node == own_node) != sibling:
                    oldest = windows.clocks[row, node, 1 + windows.clocks[row, node, 0]]
                    found[first + row] = max(found[first + row], oldest + windows.rows[row, _CLOCKS] - shift)


@kernel
def note_in_windows(windows: ActivateWindows, command: int, nodes: tuple[int, ...], clock: int, act_clocks: int) -> None:
    """``command`` has been issued: it is the youngest of those that rows count from."""
    for row in range(windows.rows.shape[0]):
        if windows.rows[row, _BEFORE] == command:
            window = windows.clocks[row, nodes[windows.rows[row, _LEVEL]]]
            window[1 + window[0]] = clock + (act_clocks - 1) * (command == ACT)
            window[0] = (window[0] + 1) % windows.rows[row, _WINDOW]
