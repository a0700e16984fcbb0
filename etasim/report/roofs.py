"""The roofs of every level that moves data, under that of the array, and where the rows of a run and the whole of it stand below them.

Pictures (`etasim.report.roof_plots`) and pages (`etasim.report.page.roof_charts`) are drawn from this.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from etasim.config import Architecture
from etasim.machine.parts import buffers_of
from etasim.machine.result import FLIT_CLASSES
from etasim.memory.buffer import BOTH, PORTS
from etasim.noc import class_widths_bits, networks_of
from etasim.report.metrics import DRAM_READ_COLUMNS, DRAM_WRITE_COLUMNS
from etasim.report.reading import StoredResult
from etasim.report.tables import Row


class Roof(NamedTuple):
    """What bounds a level: ``peak_gb_per_s`` is None for one that is ideal or not known; ``bytes_of`` a row, None where not known."""

    name: str
    peak_gb_per_s: float | None
    bytes_of: Callable[[Row], float | None]


class RoofPoint(NamedTuple):
    """Where a row stands under a roof: its operations a byte of the level, and its throughput over its span."""

    row: Row
    operations_per_byte: float
    gops: float


def roofs_of(result: StoredResult, architecture: Architecture) -> list[Roof]:
    """DRAM, the links between routers together, and each buffer."""
    word_bytes, clock_hz = architecture.buffers.word_size_bytes, result.summary.number("core_clock_hz")
    dram = (*DRAM_READ_COLUMNS, *DRAM_WRITE_COLUMNS)
    roofs = [Roof("DRAM", result.summary.figure("dram_peak_gb_per_s"), partial(_bytes, dict.fromkeys(dram, 1.0)))]
    roofs.append(_links(result, architecture))
    for name, buffer in buffers_of(architecture).items():
        peak = None if architecture.buffers.ideal else PORTS[buffer.ports][BOTH] * buffer.banks * word_bytes * clock_hz / 1e9
        words = dict.fromkeys((f"{name}_buffer_reads", f"{name}_buffer_writes"), float(word_bytes))
        roofs.append(Roof(f"{name} buffer", peak, partial(_bytes, words)))
    return roofs


def _links(result: StoredResult, architecture: Architecture) -> Roof:
    """All links between routers, each a flit a cycle, which is as wide as the physical network of its router."""
    widths = class_widths_bits(architecture.noc, len(FLIT_CLASSES))
    networks = networks_of(architecture.noc, len(FLIT_CLASSES))
    routers = result.components.get("noc_router", ())
    between = [link for link in result.components.get("noc_link", ()) if str(link["to"]).startswith("router ")]
    hops = {"flit_hops": widths[0] / 8}
    if architecture.noc.networks is not None:
        hops = {f"{name}_flit_hops": bits / 8 for name, bits in zip(FLIT_CLASSES, widths, strict=True)}
    a_cycle = sum(networks[routers[link["router"]]["network"]].link_width_bits / 8 for link in between)
    return Roof("NoC links", a_cycle * result.summary.number("core_clock_hz") / 1e9 or None, partial(_bytes, hops))


def _bytes(each_bytes: Mapping[str, float], row: Row) -> float | None:
    """What is counted in the columns of ``row`` times the bytes of each; None if one of them is not known."""
    values = {column: row.figure(column) for column in each_bytes}
    return None if None in values.values() else sum(n * each_bytes[column] for column, n in values.items() if n is not None)


def points_of(result: StoredResult, roof: Roof) -> list[RoofPoint]:
    """The rows that multiply and move something at the level."""
    clock_hz = result.summary.number("core_clock_hz")
    rows = [row for row in result.layers if row.macs and row.figure("span_cycles")]
    moving = [(row, n) for row in rows if (n := roof.bytes_of(row))]
    return [RoofPoint(row, 2 * row.macs / n, 2e-9 * row.macs * clock_hz / row.number("span_cycles")) for row, n in moving]


def whole_iteration(result: StoredResult, roof: Roof) -> float | None:
    """Operations a byte of the level over all rows; None where not known."""
    moved = [roof.bytes_of(row) for row in result.layers]
    whole = sum(n for n in moved if n is not None)
    return None if None in moved or not whole else 2 * sum(row.macs for row in result.layers) / whole


def without_macs(rows: Sequence[Row]) -> str:
    """The rows that multiply nothing, and so are in no roofline, by what they are."""
    kinds = Counter("weight update" if row.phase == "wu" else row.text("kind") for row in rows if not row.macs)
    listed = ", ".join(f"{n} {kind}" for kind, n in sorted(kinds.items()))
    return f"{sum(kinds.values())} rows without MACs are in none: {listed}" if kinds else ""
