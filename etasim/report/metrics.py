"""Metrics: pure functions from the integer counters of a simulation to the figures of a report.

The definitions (unit, formula, meaning) are data in `etasim.report.glossary`; this module computes those of etasim. Floats first
appear here and are rounded to ``SIGNIFICANT_DIGITS``, so that equal counters give byte-identical files. A figure that
is not known is None, never 0.
"""

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Any

from etasim.config import Architecture
from etasim.machine.result import LayerRow, RunResult, TypedRow, Value
from etasim.memory.dram.pins import peak_bytes_per_s
from etasim.pe.causes import CAUSE_COLUMNS, IDLE
from etasim.program.commands import TENSOR_CLASSES
from etasim.report.energy import assumed_joule, breakdown, excluded, on_chip_joule, total_joule
from etasim.report.glossary import LAYERS, SUMMARY, added, columns, shown_columns

SIGNIFICANT_DIGITS = 9
NOTHING = "nothing"
"""In the place of an empty list."""
OCCUPIED_COLUMNS = CAUSE_COLUMNS[:IDLE]
DRAM_READ_COLUMNS = tuple(f"dram_read_{name}_bytes" for name in TENSOR_CLASSES)
DRAM_WRITE_COLUMNS = tuple(f"dram_write_{name}_bytes" for name in TENSOR_CLASSES)


def rounded(value: Fraction | float | None) -> float | None:
    """``value`` as a float of ``SIGNIFICANT_DIGITS`` significant decimal digits; None stays None."""
    return None if value is None else float(f"{float(value):.{SIGNIFICANT_DIGITS}g}")


def ratio(numerator: int | Fraction | None, denominator: int | Fraction | None) -> Fraction | None:
    """Exact quotient, or None where a term is unknown or the denominator is 0."""
    if numerator is None or not denominator:
        return None
    return Fraction(numerator) / Fraction(denominator)


def total(rows: Iterable[Mapping[str, Any]], columns: Iterable[str]) -> int | None:
    """Sum of ``columns`` over ``rows``; None if any row lacks a figure."""
    columns = tuple(columns)
    values: list[Any] = [row.get(column) for row in rows for column in columns]
    return None if None in values else sum(values)


def dram_peak_bytes_per_s(architecture: Architecture) -> Fraction | None:
    """Bandwidth of the DRAM pins; None for an ideal DRAM, which has no limit."""
    return None if architecture.dram.ideal else peak_bytes_per_s(architecture.dram)


def summary(result: RunResult) -> TypedRow:
    """Figures of the whole iteration: the ``summary`` of results.json, in the order of the glossary."""
    clock_hz, units = result.architecture.core.clock_hz, result.architecture.array.macs_per_cycle
    macs = total(result.layers, ["macs"])
    read_bytes, write_bytes = total(result.layers, DRAM_READ_COLUMNS), total(result.layers, DRAM_WRITE_COLUMNS)
    seconds = Fraction(result.total_cycles) / clock_hz
    moved_bytes = None if read_bytes is None or write_bytes is None else read_bytes + write_bytes
    operations_per_second = ratio(None if macs is None else 2 * macs, seconds)
    bandwidth = ratio(moved_bytes, seconds)
    figures = {
        "throughput_gops": rounded(ratio(operations_per_second, 10**9)),
        "images_per_s": rounded(ratio(result.batch, seconds)),
        "total_cycles": result.total_cycles,
        "time_ms": rounded(seconds * 1000),
        "mac_utilization": rounded(ratio(macs, units * result.total_cycles)),
        "useful_macs": macs,
        "zero_insertion_macs": total(result.layers, ["zero_insertion_macs"]),
        "mac_units": units,
        "peak_gops": rounded(2 * units * clock_hz / 10**9),
        "dram_read_bytes": read_bytes,
        "dram_write_bytes": write_bytes,
        "dram_bandwidth_gb_per_s": rounded(ratio(bandwidth, 10**9)),
        "dram_peak_gb_per_s": rounded(ratio(dram_peak_bytes_per_s(result.architecture), 10**9)),
        **_energy_figures(result, seconds, operations_per_second),
        "batch": result.batch,
        "phases": ",".join(result.phases),
        "core_clock_hz": int(clock_hz) if clock_hz.denominator == 1 else rounded(clock_hz),
    }
    figures |= _of_packages(SUMMARY, result, result.layers)
    return TypedRow({name: figures[name] for name in columns(SUMMARY)})


def _of_packages(file: str, result: RunResult, rows: Sequence[Mapping[str, Any]]) -> dict[str, Value]:
    """The figures of ``rows`` that other packages add to ``file``."""
    figures = ((metric.name, metric.compute(result, rows)) for metric in added(file) if metric.compute)
    return {name: figure if figure is None or isinstance(figure, (int, str)) else rounded(figure) for name, figure in figures}


def _energy_figures(result: RunResult, seconds: Fraction, operations_per_second: Fraction | None) -> dict[str, Value]:
    """Energy of what is known, and what follows from it."""
    energy_joule = total_joule(result)
    power_watt = ratio(energy_joule, seconds)
    return {
        "energy_mj": rounded(None if energy_joule is None else 1000 * energy_joule),
        "power_w": rounded(power_watt),
        "gops_per_w": rounded(ratio(ratio(operations_per_second, power_watt), 10**9)),
        "j_per_image": rounded(ratio(energy_joule, result.batch)),
        "energy_assumed_percent": rounded(None if energy_joule is None else ratio(100 * assumed_joule(result), energy_joule)),
        "energy_excluded": "; ".join(excluded(result)) or NOTHING,
    }


def energy_rows(result: RunResult) -> list[dict[str, Value]]:
    """The component ``energy`` of results.json: one entry per component and action, with the source of its figure."""
    total_energy = total_joule(result)
    rows = []
    for part in breakdown(result):
        share = ratio(part.energy_joule, total_energy)
        energy_mj = None if part.energy_joule is None else 1000 * part.energy_joule
        row = {"component": part.component, "action": part.action, "count": part.count, "energy_mj": rounded(energy_mj)}
        row |= {"share_percent": rounded(None if share is None else 100 * share), "source": part.source, "technology": part.technology}
        rows.append(row | {"assumed": int(part.assumed), "excluded": part.reason})
    return rows


def layer_rows(result: RunResult) -> list[LayerRow]:
    """One dictionary per layer and phase with exactly the columns of layers.csv, in their order."""
    array = result.architecture.array
    macs_per_cluster = array.macs_per_cycle // array.clusters
    rows = []
    for counted in result.layers:
        row = counted | {
            "utilization": utilization(counted, macs_per_cluster),
            "on_chip_energy_mj": rounded(ratio(on_chip_joule(result.architecture, counted), Fraction(1, 1000))),
        }
        rows.append(row | _of_packages(LAYERS, result, [row]))
    names = shown_columns(LAYERS, rows[0])
    return [LayerRow({name: row.get(name) for name in names}) for row in rows]


def utilization(row: Mapping[str, Any], macs_per_cluster: int) -> float | None:
    """Useful share of the MAC slots of the cluster cycles that went to a row; None for a row without."""
    occupied_cycles = total([row], OCCUPIED_COLUMNS)
    return rounded(ratio(row["macs"], None if occupied_cycles is None else macs_per_cluster * occupied_cycles))
