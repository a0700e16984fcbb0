"""Blocks of hardware mapped to Xilinx 7-series by yosys, and the structural laws that their sizes follow.

The table ``synthesis.csv`` holds what yosys counts, by block and size; `laws` fits the costs to the sizes that are not held out. A LUT of
distributed memory is counted by its type (RAM64M: four). Against the vendor's tool expect up to `BAND_PERCENT`; nothing is said of timing.
"""

import csv
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from etasim.numerics.format import CodeFormat, data_format
from etasim.rtl.bench import SOURCES, Bench, ToolError, call, require, run

TABLE = Path(__file__).parent / "synthesis.csv"
SYNTHESIZER = "yosys"
BAND_PERCENT = 30
HELD_OUT_PERCENT = 10
EVERY_CODE = np.arange(2**8, dtype=np.uint8)
MEMORY_LUTS = {"RAM32M": 4, "RAM64M": 4, "RAM32X1D": 2, "RAM64X1D": 2, "RAM128X1D": 4, "RAM256X1S": 4, "RAM128X1S": 2, "RAM64X1S": 1}
"""LUTs of the cells of distributed memory (Xilinx UG474)."""

LUT, FLIP_FLOP = "logic_lut", "ff"
FIGURES = (LUT, "memory_lut", FLIP_FLOP, "dsp", "bram36", "bram18")
PE, BANK, MULTIPLEXER = "pe", "bank", "multiplexer"


class Size(NamedTuple):
    """A block to synthesise: ``parameters`` of its module; ``held_out``: laws are not fitted to it."""

    block: str
    parameters: tuple[tuple[str, int], ...]
    held_out: bool = False
    quick: bool = False


class Synthesised(NamedTuple):
    """A row of the table."""

    size: Size
    counts: dict[str, int]


SEGMENTED, ONE_SEGMENT, FLOAT, SCALED, SCALED_FLOAT = "two segments", "one segment", "floats", "scaled integers", "scaled floats"
PE_KINDS = {
    SEGMENTED: {"SEGMENTED": 1}, ONE_SEGMENT: {"SEGMENTED": 0}, FLOAT: {"SEGMENTED": 0, "FLOAT": 1, "ACC": 64},
    SCALED: {"SEGMENTED": 0, "SCALED": 1}, SCALED_FLOAT: {"SEGMENTED": 0, "FLOAT": 1, "SCALED": 1, "ACC": 64},
}  # fmt: skip
"""Parameters of a PE by what it multiplies."""


def _pe(lanes: int, columns: int, kind: str = SEGMENTED, held_out: bool = False, quick: bool = False) -> Size:
    chosen = tuple(PE_KINDS[kind].items())
    return Size(PE, (("LANES", lanes), ("COLUMNS", columns), chosen[0], ("DEPTH", 64), *chosen[1:]), held_out, quick)


def _bank(depth: int, width: int, held_out: bool = False, quick: bool = False) -> Size:
    return Size(BANK, (("DEPTH", depth), ("WIDTH", width)), held_out, quick)


def _multiplexer(inputs: int, held_out: bool = False, quick: bool = False) -> Size:
    return Size(MULTIPLEXER, (("INPUTS", inputs), ("WIDTH", 64)), held_out, quick)


_SIZES_OF_A_PE = ("LANES", "COLUMNS", "DEPTH")

SIZES = (
    _pe(4, 2, quick=True), _pe(8, 2), _pe(4, 4), _pe(16, 2), _pe(8, 4, held_out=True), _pe(8, 8, held_out=True), _pe(16, 4, held_out=True),
    *(
        size for kind in list(PE_KINDS)[1:] for size in (
            _pe(4, 2, kind, quick=kind == ONE_SEGMENT), _pe(8, 2, kind), _pe(4, 4, kind), _pe(8, 4, kind, held_out=True),
            _pe(8, 8, kind, held_out=True),
        )
    ),
    _pe(16, 2, SCALED),
    _bank(512, 64, quick=True), _bank(1024, 128), _bank(2048, 64), _bank(4096, 512, held_out=True), _bank(512, 512, held_out=True),
    _multiplexer(2), _multiplexer(4, quick=True), _multiplexer(8), _multiplexer(16), _multiplexer(6), _multiplexer(12, held_out=True),
    _multiplexer(7, held_out=True),
)  # fmt: skip
"""What the table has."""


def synthesise(size: Size, sources: Path = SOURCES) -> dict[str, int]:
    """Counts of a block by `FIGURES`. Raises ToolError if yosys is absent or fails."""
    yosys = require(SYNTHESIZER, "yosys")
    chosen = " ".join(f"-set {name} {value}" for name, value in size.parameters)
    script = (
        f"read_verilog -sv {sources / size.block}.v; chparam {chosen} {size.block}; "
        f"synth_xilinx -family xc7 -flatten -noiopad -nowidelut -top {size.block}; tee -o /dev/stdout stat"
    )
    printed = call([yosys, "-q", "-p", script], sources)
    cells = {name: int(count) for name, count in re.findall(r"^ +([A-Z][A-Z0-9_]*) +(\d+)$", printed, re.MULTILINE)}
    return {
        "logic_lut": sum(count for name, count in cells.items() if re.fullmatch(r"LUT[1-6]", name)),
        "memory_lut": sum(count * MEMORY_LUTS[name] for name, count in cells.items() if name in MEMORY_LUTS),
        "ff": sum(count for name, count in cells.items() if re.fullmatch(r"FD[CPRS]E(_1)?", name)),
        "dsp": cells.get("DSP48E1", 0), "bram36": cells.get("RAMB36E1", 0), "bram18": cells.get("RAMB18E1", 0),
    }  # fmt: skip


def simulate(size: Size, sources: Path = SOURCES) -> None:
    """A block beside what it is to do. Raises ToolError if it does something else, or Icarus is absent. (PEs of integers with one scale:
    `etasim validate rtl`.)"""
    parameters, bench = dict(size.parameters), None
    if size.block != PE:
        bench = Bench("block_tb", ("bank.v", "multiplexer.v"), parameters)
    elif "FLOAT" in parameters or "SCALED" in parameters:
        bench = Bench("pe_tb", ("pe.v",), {"ACC": 48, "FLOAT": 0} | parameters, sums_of_a_pe({"ACC": 48} | parameters))
    counts = run(bench, sources)[1] if bench else {"wrong": 0}
    if counts != {"wrong": 0}:
        raise ToolError(f"{size.block} {parameters} is wrong in {counts} cycles")


def sums_of_a_pe(parameters: Mapping[str, int], seed: int = 0) -> dict[str, str]:
    """Files of `pe_tb.v`: random vectors of codes, and sums of their products by `etasim.numerics`."""
    random, lanes, columns, depth = np.random.default_rng(seed), parameters["LANES"], parameters["COLUMNS"], parameters["DEPTH"]
    floats = [data_format(f"fp8_{name}").code or CodeFormat(8, 1) for name in ("e4m3", "e5m2")]
    given, expected = "", ""
    for _ in range(depth):
        wide = int(random.integers(0, 3)) if parameters.get("FLOAT") else 0  # at most one operand has errors
        forms = [floats[wide >> i & 1] if parameters.get("FLOAT") else CodeFormat(8, 1) for i in range(2)]
        sizes = lanes, lanes * columns
        stationary, stream = (random.choice(np.flatnonzero(form.exists(EVERY_CODE)), n) for form, n in zip(forms, sizes, strict=True))
        shifts = random.integers(0, 8, columns) if parameters.get("SCALED") else np.zeros(columns, np.int64)
        products = forms[0].table[stationary] * forms[1].table[stream.reshape(columns, lanes)]
        fields = [*((code, 8) for code in (*stream, *stationary)), *((shift, 6) for shift in shifts), (wide, 2)]
        sums = [(2 * int(total) << int(shift), parameters["ACC"]) for total, shift in zip(products.sum(1), shifts, strict=True)]
        given, expected = given + _hex_fields(fields), expected + _hex_fields(sums)
    return {"given.hex": given, "expected.hex": expected}


def _hex_fields(fields: Iterable[tuple[int, int]]) -> str:
    """(value, bits) as a line of a memory file, the first in the lowest bits."""
    line = place = 0
    for value, bits in fields:
        line, place = line | (int(value) & (1 << bits) - 1) << place, place + bits
    return f"{line:0{-(-place // 4)}x}\n"


def measure(sizes: Iterable[Size] = SIZES) -> list[Synthesised]:
    """Rows of the table, anew: every block is simulated, then synthesised. Raises ToolError."""
    rows = []
    for size in sizes:
        simulate(size)
        rows.append(Synthesised(size, synthesise(size)))
    return rows


def write_table(rows: Sequence[Synthesised], path: Path = TABLE) -> None:
    """Write the table."""
    with path.open("w", newline="", encoding="ascii") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["block", "parameters", "held_out", *FIGURES])
        for size, counts in rows:
            parameters = " ".join(f"{name}={value}" for name, value in size.parameters)
            writer.writerow([size.block, parameters, int(size.held_out), *(counts[name] for name in FIGURES)])


@cache
def table() -> tuple[Synthesised, ...]:
    """The table that comes with etasim."""
    with TABLE.open(newline="", encoding="ascii") as file:
        return tuple(
            Synthesised(
                Size(row["block"], tuple((name, int(value)) for name, value in (pair.split("=") for pair in row["parameters"].split())),
                     row["held_out"] == "1"),
                {name: int(row[name]) for name in FIGURES},
            )
            for row in csv.DictReader(file)
        )  # fmt: skip


# Laws ------------------------------------------------------------------------------------------------------------------


class Law(NamedTuple):
    """``costs`` of terms; ``residuals``: (size, counted, by the law, percent) of every row of the table."""

    costs: dict[str, float]
    residuals: tuple[tuple[Size, int, float, float], ...]

    @property
    def held_out_percent(self) -> float:
        """The greatest error of a size that the law was not fitted to."""
        return max(abs(percent) for size, _, _, percent in self.residuals if size.held_out)


def pe_terms(lanes: int, columns: int) -> dict[str, int]:
    """What a PE is made of: products, and columns beside their products."""
    return {"product": lanes * columns, "column": columns}


def multiplexer_terms(inputs: int, width: int) -> dict[str, int]:
    """LUTs of six inputs, for each bit: a tree of four-to-one multiplexers."""
    return {"multiplexer": _tree_luts(inputs) * width}


def _tree_luts(inputs: int) -> int:
    """Four inputs and two selects fill a LUT; what is left over joins the next level, if its LUT has inputs for it."""
    if inputs <= 4:
        return int(inputs > 1)
    fours, rest = divmod(inputs, 4)
    if rest >= 2 and fours + fours.bit_length() + rest + rest - 1 <= 6:
        return fours + 1
    return fours + int(rest >= 2) + _tree_luts(fours + int(rest > 0))


def _terms(size: Size) -> dict[str, int]:
    p = dict(size.parameters)
    return pe_terms(p["LANES"], p["COLUMNS"]) if size.block == PE else multiplexer_terms(p["INPUTS"], p["WIDTH"])


def _fitted(rows: Sequence[Synthesised], figure: str) -> Law:
    """Least squares of the relative errors of ``figure`` of `FIGURES`."""
    known = [row for row in rows if not row.size.held_out]
    names = list(_terms(rows[0].size))
    matrix = np.array([[_terms(row.size)[name] / row.counts[figure] for name in names] for row in known])
    solved, *_ = np.linalg.lstsq(matrix, np.ones(len(known)), rcond=None)
    costs = dict(zip(names, solved.tolist(), strict=True))
    residuals = []
    for size, counts in rows:
        law = sum(costs[name] * n for name, n in _terms(size).items())
        residuals.append((size, counts[figure], law, 100.0 * (law - counts[figure]) / counts[figure]))
    return Law(costs, tuple(residuals))


@cache
def pe_law(kind: str, figure: str = LUT) -> Law:
    """Logic or flip-flops of a PE of `PE_KINDS` without its psum memory. A column has fewer flip-flops than products: its tree has one
    adder less."""
    sizes = [(row, {name: n for name, n in row.size.parameters if name not in _SIZES_OF_A_PE}) for row in table()]
    return _fitted([row for row, chosen in sizes if row.size.block == PE and chosen == PE_KINDS[kind]], figure)


@cache
def multiplexer_law() -> Law:
    """Logic of a multiplexer of a crossbar; it has a flip-flop for each bit."""
    return _fitted([row for row in table() if row.size.block == MULTIPLEXER], LUT)


def psum_luts(columns: int, depth: int, accumulator_bits: int) -> int:
    """LUTs of a PE's psum memories, two halves of ``depth`` entries: four hold 64 words of three bits."""
    return columns * 2 * 4 * -(-depth // 64) * -(-accumulator_bits // 3)
