"""The command ``etasim board``: what a machine takes of its board, term by term, with the error of the laws."""

from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table

from etasim.config import Architecture, InputError, Problem
from etasim.config.board import Board
from etasim.report.board import FAMILY, WIDEST_CODE_BITS, Resources, magnitude_bits, resources_of
from etasim.report.outputs import check_outputs
from etasim.report.staging import staged_file
from etasim.rtl import synthesis
from etasim.rtl.bench import ToolError


def on_board(architecture: Architecture, name: str) -> tuple[Resources, Board]:
    """What ``architecture`` takes, and its board. Raises InputError, which calls it ``name``, if it has none."""
    board = architecture.board
    if board is None:
        raise InputError([Problem(name, None, "board", "is missing; board.extends names one")])
    return resources_of(architecture, board), board


def beyond(architecture: Architecture, board: Board) -> list[str]:
    """What the laws are not for, and how it is counted."""
    found = []
    if board.dsp.name != FAMILY:
        found.append(f"the laws are for boards with {FAMILY} blocks: {board.logic.name} is taken for {board.logic.luts:g} LUTs, assumed")
    if magnitude_bits(architecture) > WIDEST_CODE_BITS:
        found.append(f"the laws are for codes of up to {WIDEST_CODE_BITS} bit: PEs in proportion to the width, assumed")
    return found


def laws_table(found: Resources, board: Board) -> Table:
    """Terms, and the logic beside the board's."""
    table = Table(title=f"{escape(board.name)} ({escape(board.device)}): laws fitted to synthesis with yosys", title_justify="left")
    for heading in ("what", "count", "LUT", "FF", ""):
        table.add_column(heading, justify="left" if heading in ("what", "") else "right")
    for term in found.terms:
        table.add_row(term.name, f"{term.count:,}", f"{term.luts:,.0f}", f"{term.flip_flops:,.0f}", "assumed" if term.assumed else "")
    table.add_section()
    available, logic = board.logic.count * board.logic.luts, board.logic
    table.add_row("all", "", f"{found.luts:,}", f"{found.flip_flops:,}", "with what is assumed")
    table.add_row("board", "", f"{available:,.0f}", f"{logic.flip_flops:,}", "")
    table.add_row("share", "", f"{100 * found.luts / available:.0f}%", f"{100 * found.flip_flops / logic.flip_flops:.0f}%", "")
    return table


def laws_text(found: Resources, architecture: Architecture, board: Board) -> str:
    """The blocks, the error of the laws, the band of a vendor's tool."""
    low, high = (found.luts * (100 + sign * synthesis.BAND_PERCENT) / 100 for sign in (-1, 1))
    lines = [
        f"{board.dsp.name}: {found.dsp:,} of {board.dsp.count:,} (products; sums are {'theirs' if board.dsp.accumulates else 'logic'})",
        f"{board.memory.name}: {found.memory_blocks:,g} of {board.memory.count:,}",
        f"held-out sizes within {found.error_percent:.1f} % of yosys",
        f"a vendor's tool may differ by {synthesis.BAND_PERCENT} %: {low:,.0f} to {high:,.0f} LUT",
    ]
    return "\n".join(lines + beyond(architecture, board))


def synthesise_to(path: Path) -> None:
    """Make the table of synthesis anew. Raises InputError where a tool is absent or fails; then nothing is written."""
    check_outputs([("--synthesise", path)])
    try:
        with staged_file(path) as staged:
            synthesis.write_table(synthesis.measure(), Path(staged))
    except ToolError as error:
        raise InputError([Problem("etasim board --synthesise", None, "", str(error))]) from None


def laws_json(found: Resources) -> dict[str, Any]:
    """The same for programs."""
    return {
        "terms": [term._asdict() for term in found.terms], "luts": found.luts, "flip_flops": found.flip_flops, "dsp": found.dsp,
        "memory_blocks": found.memory_blocks, "error_percent": found.error_percent, "band_percent": synthesis.BAND_PERCENT,
    }  # fmt: skip
