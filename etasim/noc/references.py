"""Measured runs of BookSim 2: the lines of ``sweep.csv``, checked before the first of them is repeated.

A line names the network (``k``, ``vcs``, ``buf``, and router parameters under BookSim's names), the traffic, and what was measured.
"""

import csv
from collections.abc import Callable, Collection, Iterator
from math import isfinite
from pathlib import Path
from typing import Any, NamedTuple

from etasim.config.errors import InputError, Problem, allowed_names
from etasim.noc.driver import MODES
from etasim.noc.parameters import BOOKSIM_ROUTER
from etasim.noc.traffic import PATTERNS

FILE = "sweep.csv"
COLUMNS = ("k", "vcs", "buf", "pkt", "traffic", "mode", "rate")
"""What every file has; further ones say what was measured, or are options with a default."""

BATCH_PACKETS = {4: 500, 8: 200}
"""Packets of a node in the batches of the reference, by the width of its network; 200 in others."""


class ReferenceRun(NamedTuple):
    """One run: ``network`` (BookSim's keys and values), what was sent through it, and the figures that it gave, None where there is none.

    ``line``: of the file; ``latency`` in cycles, ``accepted`` in flits per node and cycle.
    """

    line: int
    network: tuple[tuple[str, int], ...]
    packet_flits: int
    traffic: str
    seed: int
    mode: str
    rate: float
    batch_packets: int
    is_stable: bool
    latency: float | None
    accepted: float | None
    batch_cycles: int | None


class _Line:
    """The cells of one line, and what is wrong with them."""

    def __init__(self, place: str, number: int, cells: dict[str, Any]) -> None:
        self.place, self.number, self.cells = place, number, cells
        self.problems: list[Problem] = []

    def refuse(self, name: str, message: str) -> None:
        self.problems.append(Problem(self.place, self.number, name, message))

    def number_in(self, name: str, kind: Callable[..., Any], least: float, default: float | None = None, is_needed: bool = True) -> Any:
        """The cell as ``kind``, at least ``least``; ``default`` where it is empty, which is wrong if there is none and ``is_needed``."""
        text = (self.cells.get(name) or "").strip()
        if not text:
            if default is None and is_needed:
                self.refuse(name, "is empty, must be a number")
            return default
        try:
            value = kind(text)
        except ValueError:
            self.refuse(name, f"must be a {'whole ' if kind is int else ''}number, got {text!r}")
            return default
        if not (value >= least and isfinite(value)):
            self.refuse(name, f"must be at least {least}, got {text}")
        return value

    def figure(self, name: str, kind: Callable[..., Any], is_needed: bool) -> Any:
        """A measured value, which is greater than 0; None where the cell is empty."""
        value = self.number_in(name, kind, 0, is_needed=is_needed)
        if value == 0:
            self.refuse(name, "must be greater than 0")
        return value

    def word(self, name: str, known: Collection[str], default: str | None = None) -> str:
        text = (self.cells.get(name) or default or "").strip()
        if text not in known:
            self.refuse(name, f"unknown {text!r}, {allowed_names(text, known)}")
        return text


def _run(line: _Line) -> ReferenceRun:
    mode, status = line.word("mode", MODES), line.word("status", ("ok", "unstable"), "ok")
    k = line.number_in("k", int, 1)
    network = [("k", k), ("num_vcs", line.number_in("vcs", int, 1)), ("vc_buf_size", line.number_in("buf", int, 1))]
    network += [(key, line.number_in(key, int, 0)) for key in BOOKSIM_ROUTER if line.cells.get(key)]
    is_latency = mode == "latency" and status == "ok"
    return ReferenceRun(
        line=line.number,
        network=tuple(network),
        packet_flits=line.number_in("pkt", int, 1),
        traffic=line.word("traffic", PATTERNS),
        seed=line.number_in("seed", int, 0, 1),
        mode=mode,
        rate=line.figure("rate", float, True),
        batch_packets=line.number_in("batch_size", int, 1, BATCH_PACKETS.get(k, 200)),
        is_stable=status == "ok",
        latency=line.figure("avg_plat", float, True) if is_latency else None,
        accepted=line.figure("avg_acc_flit", float, mode == "throughput") if mode != "batch" else None,
        batch_cycles=line.figure("cycles", int, True) if mode == "batch" else None,
    )


def _lines(path: Path) -> Iterator[_Line]:
    """The lines of a file. Raises InputError if it is no table with the columns that every file has."""
    if not path.is_file():
        raise InputError([Problem(str(path.parent), None, "", f"there is no file {path.name} of reference runs")])
    try:
        reader = csv.DictReader(path.read_text(encoding="utf-8-sig").splitlines())
        lines = [_Line(str(path), reader.line_num, cells) for cells in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError([Problem(str(path), None, "", f"is no comma-separated text: {error}")]) from None
    missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
    if missing:
        raise InputError([Problem(str(path), 1, "", f"has no column {', '.join(missing)}")])
    if not lines:
        raise InputError([Problem(str(path), 1, "", "has no runs")])
    yield from lines


def read_references(folder: Path) -> list[ReferenceRun]:
    """The runs in ``folder``. Raises InputError with all that is wrong, each by file, line and column."""
    runs, problems = [], []
    for line in _lines(folder / FILE):
        runs.append(_run(line))
        problems += line.problems
    if problems:
        raise InputError(problems)
    return runs
