"""The figures of a design: what its machine takes of the board, and what an evaluation on a network finds."""

from functools import cache

from etasim.config import Architecture
from etasim.config.board import Board
from etasim.machine.result import TypedRow
from etasim.pe.causes import CAUSES
from etasim.report.board import board_rows
from etasim.report.glossary import SUMMARY, columns
from etasim.workload.lowering import PHASES

FITS_BOARD, BOARD_EXCESS = "fits_board", "board_excess"
"""Whether all resources suffice (1 or 0), and by which share those that do not are exceeded, summed."""

BATCH = "batch"
"""Name of the axis of batches, which is no key of the architecture."""

PHASE_SHARES = tuple(f"{phase}_share" for phase in PHASES)
CAUSE_SHARES = tuple(f"{cause}_share" for cause in CAUSES)
"""Shares of the iteration's cycles by phase, and of the clusters' cycles by what they do with them."""


@cache
def figure_names() -> tuple[str, ...]:
    """What an evaluation of a machine on a network finds."""
    return (*(name for name in columns(SUMMARY) if name not in (BATCH, "phases")), *PHASE_SHARES, *CAUSE_SHARES)


def resource_names(board: Board | None) -> tuple[str, ...]:
    """Columns of what ``board`` has: ``dsp``, its memory blocks and logic cells by their name (``bram36``, ``lut``), flip-flops, DRAM
    channels."""
    if board is None:
        return ()
    return ("dsp", board.memory.name.lower(), board.logic.name.lower(), "ff", "dram_channels", FITS_BOARD, BOARD_EXCESS)


def resources(architecture: Architecture) -> TypedRow:
    """The figures of `resource_names`; nothing without a board."""
    rows = board_rows(architecture)
    names = resource_names(architecture.board)
    if not rows:
        return TypedRow()
    excess = sum(max(row["used"] / row["available"] - 1, 0.0) for row in rows)
    used = dict(zip(names, (row["used"] for row in rows), strict=False))
    return TypedRow({**used, FITS_BOARD: int(all(row["fits"] for row in rows)), BOARD_EXCESS: float(f"{excess:.6g}")})
