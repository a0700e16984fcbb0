"""Figures that cannot be: what every stored result must satisfy, whatever the machine and the network."""

import csv
import json
from collections.abc import Iterator
from math import isclose, isfinite
from pathlib import Path
from typing import Any, NamedTuple

from etasim.config import Architecture
from etasim.core.registry import METRICS
from etasim.machine.inputs import Inputs
from etasim.machine.result import FLIT_CLASSES, SCRATCHPADS
from etasim.pe.causes import STALL_CAUSES
from etasim.program.commands import BUFFERS, TENSOR_CLASSES
from etasim.report.glossary import LAYERS, SUMMARY, columns, shown_columns
from etasim.report.inputs import read_inputs
from etasim.report.store import number
from etasim.workload.lowering import PHASES

DIGITS = 1e-8
"""Relative error of figures with nine significant digits."""
UNKNOWN_TO_AN_ESTIMATE = {
    "span_cycles", "flit_hops", "on_chip_energy_mj", "utilization",
    *(f"{cause}_cycles" for cause in STALL_CAUSES), *(f"{name}_scratchpad_writes" for name in SCRATCHPADS),
    *(f"{name}_buffer_{access}" for name in (*BUFFERS, "second") for access in ("reads", "writes")),
}  # fmt: skip
TEXTS = ("layer", "phase", "kind")
ENERGY = ("energy_mj", "power_w", "gops_per_w", "j_per_image", "energy_assumed_percent")


class Stored(NamedTuple):
    """A result folder as plain data: results.json, the rows of layers.csv, and the inputs that run.yaml records."""

    results: dict[str, Any]
    rows: list[dict[str, Any]]
    inputs: Inputs


def read(folder: Path) -> Stored:
    """What a run wrote. JSON that is not strict, or cells that are no numbers, raise ValueError."""
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"), parse_constant=_no_constant)
    with (folder / "layers.csv").open(newline="", encoding="utf-8") as file:
        rows = [{name: _cell(name, text) for name, text in row.items()} for row in csv.DictReader(file)]
    return Stored(results, rows, read_inputs(str(folder / "run.yaml"), None))


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _cell(name: str, text: str) -> Any:
    return text if name in TEXTS else number(text)


def impossible(stored: Stored) -> Iterator[str]:
    """A sentence for each figure that cannot be; equal sentences for equal faults."""
    yield from _shape(stored)
    yield from _numbers(stored.results, "")
    yield from _known(stored)
    yield from _sums(stored)
    yield from _rates(stored)
    yield from _bounds(stored)
    yield from _cluster_cycles(stored)
    yield from _energy(stored)
    yield from _parts(stored)


def _columns(architecture: Architecture) -> tuple[str, ...]:
    """Columns of layers.csv of a machine with its parts."""
    parts = {
        "host_bytes": architecture.host, "second_buffer_reads": architecture.buffers.second,
        "second_buffer_writes": architecture.buffers.second, "second_served_bytes": architecture.buffers.second,
        "forwarded_bytes": architecture.mapping.forwarding, **{f"{name}_flit_hops": architecture.noc.networks for name in FLIT_CLASSES},
    }  # fmt: skip
    return shown_columns(LAYERS, [name for name, part in parts.items() if part])


def _shape(stored: Stored) -> Iterator[str]:
    """Keys, columns and rows are those of the glossary and the network."""
    inputs, rows = stored.inputs, stored.rows
    if tuple(stored.results["summary"]) != columns(SUMMARY):
        yield "summary has other keys than the glossary"
    if not rows or tuple(rows[0]) != _columns(inputs.architecture):
        yield "layers.csv has other columns than the glossary"
    if len({(row["layer"], row["phase"]) for row in rows}) != len(rows):
        yield "layers.csv has two rows of one layer and phase"
    if not {row["phase"] for row in rows} <= set(inputs.phases):
        yield "layers.csv has a phase that was not asked for"
    for phase in (phase for phase in PHASES if phase in inputs.phases):
        macs = sum(row["macs"] for row in rows if row["phase"] == phase)
        if macs != inputs.network.macs(inputs.batch, [phase]):
            yield f"MACs of {phase} are not the network's"


def _numbers(value: Any, place: str) -> Iterator[str]:
    """Nothing negative, nothing that is no number, anywhere in results.json."""
    if isinstance(value, dict):
        for key, below in value.items():
            yield from _numbers(below, f"{place}.{key}" if place else key)
    elif isinstance(value, list):
        for below in value:
            yield from _numbers(below, place)
    elif isinstance(value, (int, float)) and not isinstance(value, bool) and not (isfinite(value) and value >= 0):
        yield f"{place} is negative or no number"


def _known(stored: Stored) -> Iterator[str]:
    """What a simulation counts is known, but for what no part does and for words where a part is ideal."""
    is_cycle, architecture = stored.results["fidelity"] == "cycle", stored.inputs.architecture
    ideal = any(getattr(architecture, part).ideal for part in ("noc", "buffers", "dram", "unified_core"))
    names = _columns(architecture)
    words = {name for name in names if name.endswith(("_buffer_reads", "_buffer_writes", "_scratchpad_writes"))}
    may_lack = {"utilization", "on_chip_energy_mj", *(words if ideal else ())} if is_cycle else UNKNOWN_TO_AN_ESTIMATE
    for name in names:
        if name not in may_lack and any(row[name] is None for row in stored.rows):
            yield f"layers.csv: {name} is not known"
        if any(row[name] is not None and name not in TEXTS and not (isfinite(row[name]) and row[name] >= 0) for row in stored.rows):
            yield f"layers.csv: {name} is negative or no number"
    may_lack = {*ENERGY, *(["dram_peak_gb_per_s"] if architecture.dram.ideal else [])}
    has_macs = any(row["macs"] for row in stored.rows)
    for name, value in stored.results["summary"].items():
        if value is None and name not in may_lack and (has_macs or METRICS[name].better is None):
            yield f"summary: {name} is not known"


def _sum(stored: Stored, *names: str) -> int | None:
    values = [row[name] for row in stored.rows for name in names]
    return None if None in values else sum(values)


def _sums(stored: Stored) -> Iterator[str]:
    """Columns of layers.csv add up to the summary."""
    totals = {"total_cycles": ("cycles",), "useful_macs": ("macs",), "zero_insertion_macs": ("zero_insertion_macs",)}
    totals |= {f"dram_{access}_bytes": tuple(f"dram_{access}_{name}_bytes" for name in TENSOR_CLASSES) for access in ("read", "write")}
    for total, parts in totals.items():
        if stored.results["summary"][total] != _sum(stored, *parts):
            yield f"{total} is not the sum of its column"


def _rates(stored: Stored) -> Iterator[str]:
    """Figures of the summary follow from each other by the formulas of the glossary."""
    s = stored.results["summary"]
    time_s = s["total_cycles"] / s["core_clock_hz"]
    moved = None if s["dram_read_bytes"] is None else (s["dram_read_bytes"] + s["dram_write_bytes"]) / time_s / 1e9
    derived = {
        "time_ms": time_s * 1e3, "images_per_s": s["batch"] / time_s, "throughput_gops": 2 * s["useful_macs"] / time_s / 1e9,
        "mac_utilization": s["useful_macs"] / (s["mac_units"] * s["total_cycles"]),
        "peak_gops": 2 * s["mac_units"] * s["core_clock_hz"] / 1e9, "dram_bandwidth_gb_per_s": moved,
    }  # fmt: skip
    for name, value in derived.items():
        if s[name] is not None and value is not None and not isclose(s[name], value, rel_tol=DIGITS, abs_tol=1e-300):
            yield f"{name} does not follow from its formula"
    if (s["batch"], s["phases"]) != (stored.inputs.batch, ",".join(stored.inputs.phases)):
        yield "batch or phases are not those of the inputs"


def _bounds(stored: Stored) -> Iterator[str]:
    """No part does more in the time than it can."""
    s, rows, architecture = stored.results["summary"], stored.rows, stored.inputs.architecture
    cycles = s["total_cycles"]
    array, units = architecture.array, architecture.array.macs_per_cycle
    if s["mac_units"] != units:
        yield "mac_units is not the product of the array's sizes"
    if not array.zero_insertion and _sum(stored, "macs") > units * cycles:
        yield "more useful MACs than the array has slots"
    if any(row["utilization"] is not None and row["utilization"] > 1 for row in rows):
        yield "utilization of a row is above 1"
    if s["mac_utilization"] is not None and s["mac_utilization"] > 1:
        yield "mac_utilization is above 1"
    if any(row["cluster_busy_cycles"] * (units // array.clusters) < row["macs"] for row in rows):
        yield "a row has more useful MACs than its busy cycles hold"
    if any(row["zero_insertion_macs"] < row["macs"] for row in rows):
        yield "zero insertion has fewer MACs than useful ones"
    if s["dram_peak_gb_per_s"] is not None and s["dram_bandwidth_gb_per_s"] > s["dram_peak_gb_per_s"] * (1 + DIGITS):
        yield "DRAM bandwidth is above the pins'"
    if not architecture.unified_core.ideal and _sum(stored, "unified_core_busy_cycles") > architecture.unified_core.n_cores * cycles:
        yield "the unified cores are busy for longer than the iteration"
    if any(row["span_cycles"] is not None and row["span_cycles"] > cycles for row in rows):
        yield "the span of a row is longer than the iteration"
    if stored.results["fidelity"] == "cycle" and not architecture.noc.ideal:
        yield from _network_bounds(stored, architecture, cycles)


def _network_bounds(stored: Stored, architecture: Architecture, cycles: int) -> Iterator[str]:
    """A port of a router passes a flit a cycle."""
    ports = {"stream": 1, "stationary": 2, "psum": architecture.array.clusters}
    for name in FLIT_CLASSES:
        if (_sum(stored, f"{name}_flits") or 0) > ports[name] * cycles:
            yield f"more {name} flits than their ports pass"
    for link in stored.results["components"].get("noc_link", []):
        if any(link[name] > cycles for name in link if name.startswith("flits")):
            yield "a link passes more flits than cycles"


def _cluster_cycles(stored: Stored) -> Iterator[str]:
    """Busy and stalled cycles fill each cluster's iteration."""
    spent = _sum(stored, "cluster_busy_cycles", *(f"{cause}_cycles" for cause in STALL_CAUSES))
    if spent is not None and spent != stored.inputs.architecture.array.clusters * stored.results["summary"]["total_cycles"]:
        yield "causes of cluster cycles do not fill the iteration"


def _energy(stored: Stored) -> Iterator[str]:
    """Components add up; what is left out says why."""
    s, entries = stored.results["summary"], stored.results["components"]["energy"]
    known = [entry["energy_mj"] for entry in entries if entry["energy_mj"] is not None]
    is_stated = any(entry["energy_mj"] is not None and entry["component"] != "dram" for entry in entries)
    if (s["energy_mj"] is not None) != is_stated:
        yield "energy_mj is known although the architecture states no energy, or the other way round"
    elif is_stated and not isclose(sum(known), s["energy_mj"], rel_tol=1e-6, abs_tol=1e-300):
        yield "energy_mj is not the sum of its components"
    if any(entry["energy_mj"] is None and not entry["excluded"] and entry["count"] for entry in entries):
        yield "an energy is left out without a reason"
    if s["energy_mj"] and not isclose(s["power_w"], s["energy_mj"] / s["time_ms"], rel_tol=1e-6):
        yield "power_w is not energy over time"


def _parts(stored: Stored) -> Iterator[str]:
    """Counters of the parts that have a limit of their own."""
    for channel in stored.results["components"].get("dram", []):
        for name, limit in (("peak_percent", 100), ("row_hit_rate", 1)):
            if channel.get(name) is not None and channel[name] > limit * (1 + DIGITS):
                yield f"dram: {name} is above {limit}"
    for entry in stored.results["components"]["board"]:
        if bool(entry["fits"]) != (entry["used"] <= entry["available"]):
            yield "board: fits does not say whether it fits"
