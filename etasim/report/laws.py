"""What a machine takes of a 7-series FPGA by laws fitted to synthesis (`etasim.rtl.synthesis`), for ``etasim board``.

Blocks that are not synthesised stand with the costs of the board's file, marked as assumed. Accumulators are logic here: yosys puts the sum
of a column into carry chains.
"""

from math import ceil
from pathlib import Path
from typing import Any, NamedTuple

from rich.markup import escape
from rich.table import Table

from etasim.config import Architecture, InputError, Problem
from etasim.config.board import Board
from etasim.machine.parts import buffers_of, writers_and_readers
from etasim.memory.dram.pins import data_buses
from etasim.report.board import SEGMENTED_MAGNITUDE_BITS, engine_count, magnitude_bits, router_port_bits
from etasim.report.outputs import check_outputs
from etasim.report.staging import staged_file
from etasim.rtl import synthesis
from etasim.rtl.bench import ToolError

SERIES = "DSP48E1"
"""DSP blocks of the devices that the laws are for."""
WIDEST_CODE_BITS = 8


class Term(NamedTuple):
    """``count`` of a thing, ``luts`` together; ``assumed``: not synthesised."""

    name: str
    count: int  # type: ignore[assignment]  # in the place of a tuple's own
    luts: float
    assumed: bool


class ByLaws(NamedTuple):
    """Terms of the logic; DSP blocks and BRAM36; ``error_percent``: the greatest of a held-out size."""

    terms: tuple[Term, ...]
    dsp: int
    bram36: float
    error_percent: float

    @property
    def luts(self) -> int:
        """All LUTs."""
        return ceil(sum(term.luts for term in self.terms))


def by_laws(architecture: Architecture, name: str = "architecture") -> ByLaws:
    """What ``architecture`` takes. Raises InputError, which calls it ``name``, if there is no law for its board or its codes."""
    board, array = architecture.board, architecture.array
    if board is None or board.dsp.name != SERIES:
        message = f"the laws are for boards with {SERIES} blocks (board.extends: vc709 or vc706), this is {board.name if board else 'none'}"
        raise InputError([Problem(name, None, "board", message)])
    if magnitude_bits(architecture) > WIDEST_CODE_BITS:
        raise InputError([Problem(name, None, "data", f"the laws are for codes of up to {WIDEST_CODE_BITS} bit")])
    pe, crossbar = synthesis.pe_law(magnitude_bits(architecture) <= SEGMENTED_MAGNITUDE_BITS), synthesis.multiplexer_law()
    n_pes = array.clusters * array.pes_per_cluster
    n = synthesis.pe_terms(array.lanes, array.columns)
    psums = synthesis.psum_luts(array.columns, array.psum_depth, array.accumulator_width_bits)
    terms = [Term(f"{what}s of the PEs", n_pes * count, n_pes * count * pe.costs[what], False) for what, count in n.items()]
    terms.append(Term("psum memories", n_pes * array.columns, float(n_pes * psums), False))
    terms.append(_crossbars(architecture, crossbar))
    terms += _assumed(architecture, board)
    dsp = n_pes * synthesis.pe_dsp(array.lanes, array.columns)
    return ByLaws(tuple(terms), dsp, _halves(architecture) / 2, max(pe.held_out_percent, crossbar.held_out_percent))


def _crossbars(architecture: Architecture, law: synthesis.Law) -> Term:
    """A bank chooses among the ports that write its buffer, a port that reads among its banks."""
    width, inputs = 8 * architecture.buffers.word_size_bytes, []
    for name, buffer in buffers_of(architecture).items():
        writers, readers = writers_and_readers(architecture, name)
        inputs += [writers] * buffer.banks + [buffer.banks] * readers
    chosen = [n for n in inputs if n > 1]
    luts = sum(law.costs[what] * count for n in chosen for what, count in synthesis.multiplexer_terms(n, width).items())
    return Term("multiplexers between ports and banks", len(chosen), luts, False)


def _assumed(architecture: Architecture, board: Board) -> list[Term]:
    costs, unified = board.logic.costs, architecture.unified_core
    counts = {
        "router ports, bits": (ceil(router_port_bits(architecture.noc)), costs.router_port_bit),
        "lanes of the unified core": (unified.n_cores * unified.lanes, costs.lane),
        "engines": (engine_count(architecture), costs.engine),
        "DRAM interfaces": (data_buses(architecture.dram), costs.dram_channel),
    }
    return [Term(name, n, n * cost, True) for name, (n, cost) in counts.items()]


def _halves(architecture: Architecture) -> int:
    """Halves of BRAM36 of the banks of buffers and scratchpads, both halves of each double buffer."""
    array, word = architecture.array, architecture.buffers.word_size_bytes
    total: int = sum(b.banks * synthesis.bram_halves(b.bank_bytes // word, 8 * word) for b in buffers_of(architecture).values())
    stream = synthesis.bram_halves(-(-2 * array.stream_scratchpad_bytes // (array.columns * array.lanes)), 8 * array.lanes)
    stationary = synthesis.bram_halves(-(-2 * array.stationary_scratchpad_bytes // word), 8 * word)
    return total + array.clusters * (array.columns * stream + stationary)


def laws_table(found: ByLaws, board: Board) -> Table:
    """Terms, and the logic beside the board's."""
    table = Table(title=f"{escape(board.name)} ({escape(board.device)}): laws fitted to synthesis with yosys", title_justify="left")
    for heading in ("what", "count", "LUT", ""):
        table.add_column(heading, justify="left" if heading in ("what", "") else "right")
    for term in found.terms:
        table.add_row(term.name, f"{term.count:,}", f"{term.luts:,.0f}", "assumed" if term.assumed else "")
    table.add_section()
    table.add_row("LUT", f"{board.logic.count:,}", f"{found.luts:,}", f"{100 * found.luts / board.logic.count:.0f}%")
    return table


def laws_text(found: ByLaws, board: Board) -> str:
    """The blocks, the error of the laws, the band of a vendor's tool."""
    low, high = (found.luts * (100 + sign * synthesis.BAND_PERCENT) / 100 for sign in (-1, 1))
    return (
        f"{board.dsp.name}: {found.dsp:,} of {board.dsp.count:,} (products; sums are logic)\n"
        f"{board.memory.name}: {found.bram36:,g} of {board.memory.count:,}\n"
        f"held-out sizes within {found.error_percent:.1f} % of yosys\n"
        f"a vendor's tool may differ by {synthesis.BAND_PERCENT} %: {low:,.0f} to {high:,.0f} LUT"
    )


def synthesise_to(path: Path) -> None:
    """Make the table of synthesis anew. Raises InputError where a tool is absent or fails; then nothing is written."""
    check_outputs([("--synthesise", path)])
    try:
        with staged_file(path) as staged:
            synthesis.write_table(synthesis.measure(), Path(staged))
    except ToolError as error:
        raise InputError([Problem("etasim board --synthesise", None, "", str(error))]) from None


def laws_json(found: ByLaws) -> dict[str, Any]:
    """The same for programs."""
    return {
        "terms": [term._asdict() for term in found.terms], "luts": found.luts, "dsp": found.dsp, "bram36": found.bram36,
        "error_percent": found.error_percent, "band_percent": synthesis.BAND_PERCENT,
    }  # fmt: skip
