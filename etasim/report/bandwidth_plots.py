"""Bandwidth of the DRAM: over time, and broken down by layer, phase and tensor class."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from etasim.program.commands import TENSOR_CLASSES
from etasim.report.drawing import (
    CLASS_COLOURS,
    LIMIT_COLOUR,
    MANY_COLOURS,
    PHASE_COLOURS,
    UNKNOWN_COLOUR,
    WRITE_HATCH,
    known_rows,
    legend_below,
    legend_beside,
    panels,
    row_name,
    set_title,
    sheet,
    size_of,
    tabulate,
)
from etasim.report.metrics import DRAM_READ_COLUMNS, DRAM_WRITE_COLUMNS
from etasim.report.naming import three_digits
from etasim.report.over_time import WIDE_SHARE, has_series, name_layers, stack, steps_of
from etasim.report.reading import StoredResult
from etasim.report.tables import PHASE_NAMES, Row

COLUMNS = (*DRAM_READ_COLUMNS, *DRAM_WRITE_COLUMNS)
CLASS_NAMES = tuple(name.replace("_", " ") for name in TENSOR_CLASSES)
READ_COLOUR, WRITE_COLOUR = "#0072B2", "#D55E00"
TIME_BINS = 120


def bandwidth(result: StoredResult) -> Figure:
    """DRAM bandwidth over the iteration: read and written against the pins, by tensor class, by phase, by channel. Without a series (of an
    estimate, say) each row's bytes fill its share of the time."""
    return _from_series(result) if has_series(result) else _from_shares(result)


def _from_series(result: StoredResult) -> Figure:
    steps = steps_of(result)
    series, edges = steps.series, steps.edges_ms
    peak = result.summary.figure("dram_peak_gb_per_s")
    by_way = [steps.rates(steps.amounts(f"dram_{way}_bytes")) / 1e9 for way in ("read", "write")]
    by_class = [steps.rates(steps.amounts(f"class_{way}_bytes")) / 1e9 for way in ("read", "write")]
    of_operations = series.by_operation("read_bytes") + series.by_operation("write_bytes")
    by_phase = _by_phase(result, steps.rates(steps.summed(of_operations)) / 1e9)
    figure, grid = sheet(4, 1, sharex=True, figsize=size_of(11, 9), height_ratios=(3, 3, 2, 2))
    totals = np.column_stack([rates.sum(axis=1) for rates in by_way])
    stack(grid[0], edges, totals, (READ_COLOUR, WRITE_COLOUR), ("read", "written"))
    top = stack(grid[1], edges, by_class[0], CLASS_COLOURS, CLASS_NAMES)
    stack(grid[1], edges, by_class[1], CLASS_COLOURS, [f"{name} written" for name in CLASS_NAMES], WRITE_HATCH, top)
    stack(grid[2], edges, by_phase, list(PHASE_COLOURS.values()), list(PHASE_NAMES))
    channels: np.ndarray = by_way[0] + by_way[1]
    for channel in range(channels.shape[1]):
        colour = MANY_COLOURS[channel % len(MANY_COLOURS)]
        style: dict[str, Any] = {"color": colour, "linestyle": ("-", "--", ":")[channel % 3], "baseline": None}
        grid[3].stairs(channels[:, channel], edges, label=f"channel {channel}", **style)
    for axes, what in zip(grid, ("on the pins", "by tensor class", "by phase", "by channel"), strict=True):
        limit = None if peak is None else peak / channels.shape[1] if what == "by channel" else peak
        if limit is not None:
            axes.axhline(limit, color=LIMIT_COLOUR, linestyle="--", linewidth=1)
        axes.set_ylabel(f"GB/s\n{what}")
        axes.grid(True, axis="y", alpha=0.3)
        axes.set(xlim=(0, edges[-1]), ylim=(0, None))
    grid[-1].set_xlabel(f"time [ms], in steps of {1e6 * steps.lengths_s[0]:.3g} us")
    name_layers(grid[0], result, series.clock_hz)
    pins = "" if peak is None else f"; dashed: what the pins carry, {peak:.1f} GB/s"
    moved, asked = (
        sum(series.arrays[f"{what}_{way}_bytes"].sum() for way in ("read", "write")) / edges[-1] * 1e3 / 1e9 for what in ("dram", "class")
    )
    queues = "" if peak is None else "; by class and phase a burst counts at the queues, so a short step can stand above it"
    mean = f"{moved:.2f} GB/s on the pins on average, {asked:.2f} asked for: the rest met in the queues"
    set_title(figure, "DRAM bandwidth over the iteration", result, f"{mean}{pins}{queues}")
    for axes, handles in zip(grid, (None, _class_handles(*by_class), _phase_handles(by_phase), None), strict=True):
        legend_beside(axes, handles)
    names = {"read_gb_per_s": totals[:, 0], "written_gb_per_s": totals[:, 1]}
    for way, rates in zip(("read", "written"), by_class, strict=True):
        names |= {f"{name}_{way}_gb_per_s": rates[:, i] for i, name in enumerate(TENSOR_CLASSES) if rates[:, i].any()}
    names |= {f"{phase}_gb_per_s": by_phase[:, i] for i, phase in enumerate(PHASE_NAMES)}
    names |= {f"channel_{i}_gb_per_s": channels[:, i] for i in range(channels.shape[1])}
    return tabulate(figure, [row | {name: float(each[i]) for name, each in names.items()} for i, row in enumerate(steps.times())])


def _by_phase(result: StoredResult, of_operations: np.ndarray) -> np.ndarray:
    """A table [step, row of layers.csv] summed by phase: [step, phase]."""
    phases = np.array([row.phase for row in result.layers])
    return np.column_stack([of_operations[:, phases == phase].sum(axis=1) for phase in PHASE_NAMES])


def _class_handles(read: np.ndarray, written: np.ndarray) -> list[Patch]:
    """Legend: the colour of each class that is moved, plain and hatched."""
    moved = [i for i in range(len(CLASS_NAMES)) if read[..., i].any() or written[..., i].any()]
    handles = [Patch(facecolor=CLASS_COLOURS[i], label=CLASS_NAMES[i]) for i in moved]
    return [*handles, Patch(facecolor="#888888", edgecolor="white", hatch=WRITE_HATCH, label="written: hatched")]


def _phase_handles(by_phase: np.ndarray) -> list[Patch]:
    shown = [phase for i, phase in enumerate(PHASE_NAMES) if by_phase[:, i].any()]
    return [Patch(facecolor=PHASE_COLOURS[phase], label=f"{phase}: {PHASE_NAMES[phase]}") for phase in shown]


def bandwidth_layers(result: StoredResult) -> Figure:
    """DRAM bandwidth of each layer and phase, broken down by tensor class: its bytes over its span."""
    known, note = known_rows(result, result.layers, (*COLUMNS, "span_cycles"), "DRAM bytes or spans")
    clock_hz, peak = result.summary.number("core_clock_hz"), result.summary.figure("dram_peak_gb_per_s")
    rows = [row for row in known if row.number("span_cycles")]
    table: list[dict[str, Any]] = []

    def draw(axes: Axes, positions: Sequence[int], rows: Sequence[Row], _phase: str) -> None:
        left = np.zeros(len(rows))
        for place, column in enumerate(COLUMNS):
            rates = np.array([row.number(column) * clock_hz / row.number("span_cycles") / 1e9 for row in rows])
            if not rates.any():
                continue
            written = place >= len(CLASS_NAMES)
            style: dict[str, Any] = {"hatch": WRITE_HATCH, "edgecolor": "white"} if written else {}
            colour = CLASS_COLOURS[place % len(CLASS_NAMES)]
            axes.barh(positions, rates, left=left, facecolor=colour, height=0.8, linewidth=0, **style)
            left += rates
            table.extend(
                {"layer": row.layer, "phase": row.phase, "column": column, "gb_per_s": float(rate)}
                for row, rate in zip(rows, rates, strict=True) if rate
            )  # fmt: skip
        if peak is not None:
            axes.axvline(peak, color=LIMIT_COLOUR, linestyle="--", linewidth=1)

    pins = "" if peak is None else f"dashed: what the pins carry, {peak:.1f} GB/s; "
    note = f"{pins}bytes of a row over its span; spans of rows overlap and share the pins{note and f'; {note}'}"
    figure = panels(result, rows, "DRAM bandwidth by layer and phase", "GB/s", draw, note)
    moved = [np.array([[row.number(column) for column in columns] for row in rows]) for columns in (DRAM_READ_COLUMNS, DRAM_WRITE_COLUMNS)]
    legend_below(figure, _class_handles(*moved))
    return tabulate(figure, table)


def bandwidth_phases(result: StoredResult) -> Figure:
    """What each phase moves, and at what bandwidth, broken down by tensor class."""
    known, note = known_rows(result, result.layers, COLUMNS, "DRAM bytes")
    clock_hz, peak = result.summary.number("core_clock_hz"), result.summary.figure("dram_peak_gb_per_s")
    phases = [phase for phase in PHASE_NAMES if any(row.phase == phase for row in known)]
    groups = {phase: [row for row in known if row.phase == phase] for phase in phases} | {"all": known}
    moved = np.array([[sum(row.number(column) for row in rows) for column in COLUMNS] for rows in groups.values()])
    seconds = np.array([sum(row.cycles for row in rows) for rows in groups.values()]) / clock_hz
    rates = moved / np.maximum(seconds, 1e-30)[:, None] / 1e9
    figure, grid = sheet(1, 2, figsize=size_of(9, 4.5))
    _bars(grid[0], groups, moved / 1e6, "MB")
    _bars(grid[1], groups, rates, "GB/s in its share of the time")
    if peak is not None:
        grid[1].axhline(peak, color=LIMIT_COLOUR, linestyle="--", linewidth=1)
        grid[1].set_ylim(0, max(peak, rates.sum(axis=1).max()) * 1.08)
    pins = "" if peak is None else f"dashed: what the pins carry, {peak:.1f} GB/s"
    set_title(figure, "What the DRAM moves by phase", result, "; ".join(filter(None, (pins, note))))
    n = len(CLASS_NAMES)
    legend_below(figure, _class_handles(moved[:, :n], moved[:, n:]))
    return tabulate(figure, [
        {"phase": phase, "column": column, "bytes": int(moved[i, k]), "seconds": float(seconds[i]), "gb_per_s": float(rates[i, k])}
        for i, phase in enumerate(groups) for k, column in enumerate(COLUMNS)
    ])  # fmt: skip


def _bars(axes: Axes, groups: dict[str, list[Row]], values: np.ndarray, unit: str) -> None:
    """Standing bars of ``values`` [group, column], with their sums on top."""
    bottom = np.zeros(len(groups))
    for place in range(values.shape[1]):
        style: dict[str, Any] = {"hatch": WRITE_HATCH, "edgecolor": "white"} if place >= len(CLASS_NAMES) else {}
        colour = CLASS_COLOURS[place % len(CLASS_NAMES)]
        axes.bar(range(len(groups)), values[:, place], bottom=bottom, facecolor=colour, width=0.7, linewidth=0, **style)
        bottom += values[:, place]
    for i, total in enumerate(bottom):
        axes.annotate(three_digits(total), (i, total), (0, 2), textcoords="offset points", ha="center", fontsize="small")
    axes.set_xticks(range(len(groups)), list(groups))
    axes.set_ylabel(unit)
    axes.grid(True, axis="y", alpha=0.3)
    axes.set_axisbelow(True)
    axes.margins(y=0.1)


def _from_shares(result: StoredResult) -> Figure:
    """Reads by tensor class, writes on top of them; each row's bytes fill its share of the time."""
    iteration_ms, peak = result.summary.number("time_ms"), result.summary.figure("dram_peak_gb_per_s")
    cycles = result.summary.number("total_cycles")
    known, note = known_rows(result, result.layers, COLUMNS, "DRAM bytes")
    edges = np.linspace(0, cycles, TIME_BINS + 1)
    bin_seconds, ms_per_cycle = iteration_ms / 1e3 / TIME_BINS, iteration_ms / cycles
    rates = np.column_stack([binned(result.layers, column, edges) / bin_seconds / 1e9 for column in COLUMNS])
    n = len(CLASS_NAMES)
    figure, axes = sheet(figsize=size_of(11, 6))
    top = stack(axes, edges * ms_per_cycle, rates[:, :n], CLASS_COLOURS, CLASS_NAMES)
    stack(axes, edges * ms_per_cycle, rates[:, n:], CLASS_COLOURS, CLASS_NAMES, WRITE_HATCH, top)
    handles = _class_handles(rates[:, :n], rates[:, n:])
    for begin, end in _unknown_stretches(result.layers, known):
        axes.axvspan(begin * ms_per_cycle, end * ms_per_cycle, color=UNKNOWN_COLOUR, label="unknown")
    if len(known) < len(result.layers):
        handles.append(Patch(facecolor=UNKNOWN_COLOUR, label="unknown"))
    axes.set(ylabel="read and written [GB/s]", xlim=(0, iteration_ms))
    axes.set_xlabel(f"time [ms], in steps of {1e6 * bin_seconds:.3g} us")
    axes.grid(True, axis="y", alpha=0.3)
    if peak is not None:
        axes.axhline(peak, color=LIMIT_COLOUR, linestyle="--", linewidth=1)
    pins = "" if peak is None else f"dashed: what the pins carry, {peak:.1f} GB/s"
    spread = "the bytes of a row fill its share of the iteration, so work done ahead can stand above the peak"
    set_title(figure, "DRAM bandwidth over the iteration", result, "; ".join(filter(None, (pins, spread, note))))
    _name_wide_rows(axes, result.layers, ms_per_cycle)
    legend_below(figure, handles)
    ms = edges * ms_per_cycle
    return tabulate(figure, [
        {"from_ms": float(ms[i]), "to_ms": float(ms[i + 1])}
        | {f"{column.removesuffix('_bytes')}_gb_per_s": float(rates[i, k]) for k, column in enumerate(COLUMNS)}
        for i in range(TIME_BINS)
    ])  # fmt: skip


def _unknown_stretches(rows: Sequence[Row], known: Sequence[Row]) -> Iterator[tuple[int, int]]:
    """Cycles [begin, end) of the rows that are not among the ``known``."""
    wanted, end = {id(row) for row in known}, 0
    for row in rows:
        begin, end = end, end + row.cycles
        if id(row) not in wanted:
            yield begin, end


def binned(rows: Sequence[Row], column: str, edges: np.ndarray) -> np.ndarray:
    """Sum of ``column`` in each interval of ``edges`` (cycles), each row's share spread evenly; shape [len(edges) - 1]."""
    ends = np.cumsum([row.cycles for row in rows])
    total_at_end = np.cumsum([row.figure(column) or 0 for row in rows])
    return np.diff(np.interp(edges, np.concatenate(([0], ends)), np.concatenate(([0], total_at_end))))


def _name_wide_rows(axes: Axes, rows: Sequence[Row], ms_per_cycle: float) -> None:
    """Names along the top edge of the rows that are wide enough to carry one."""
    ends = np.cumsum([row.cycles for row in rows])
    wide = [(row, end - row.cycles / 2) for row, end in zip(rows, ends, strict=True) if row.cycles > WIDE_SHARE * ends[-1]]
    top = axes.secondary_xaxis("top")
    top.set_xticks(
        [middle * ms_per_cycle for _, middle in wide], [row_name(row) for row, _ in wide], rotation=90, fontsize=6
    )
    top.spines["top"].set_visible(False)
