"""Pictures of a result folder, drawn from its files alone: how they are drawn, and those of layers and of the network."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from etasim.config.errors import InputError
from etasim.core.registry import PICTURES
from etasim.report import bandwidth_plots, level_plots, noc_plots, residency_plots, roof_plots, time_plots
from etasim.report.drawing import (
    CYCLE_COLOURS,
    LIMIT_COLOUR,
    OF_ESTIMATES,
    PHASE_COLOURS,
    STYLE,
    drawn_at,
    known_rows,
    nothing_to_draw,
    panels,
    row_name,
    save,
    save_table,
    set_title,
    sheet,
    size_of,
    tabulate,
)
from etasim.report.inputs import inputs_of
from etasim.report.labels import label_points
from etasim.report.metrics import DRAM_READ_COLUMNS, DRAM_WRITE_COLUMNS, OCCUPIED_COLUMNS, total
from etasim.report.outputs import check_outputs
from etasim.report.over_time import has_series
from etasim.report.reading import StoredResult, read_results
from etasim.report.roof_plots import PHASE_MARKERS
from etasim.report.roofs import without_macs
from etasim.report.series import read_series
from etasim.report.store import LAYERS, RESULTS, RUN, RUN_INFO, SERIES
from etasim.report.tables import PHASE_NAMES, Row, dram_bytes, stall_label

__all__ = ["OF_ESTIMATES", "PHASE_COLOURS", "STYLE", "known_rows", "panels", "plot", "plot_all", "save", "tabulate"]

LABELLED_POINTS = 12
ROOFLINE_RANGE = 300
"""The roofline shows throughputs down to the peak over this; the title counts what is below."""
FORMATS = ("png", "svg", "pdf")


def plot(kind: str, folder: Path, out: Path | None = None, width_inches: float | None = None) -> Path:
    """Draw ``kind`` (a name of `PICTURES`) for the result in ``folder``; the picture's path, default ``folder/kind.png``. What it shows is
    beside it as CSV.

    Raises InputError for a folder without an intact result, an output that cannot be written or a format that matplotlib does not write.
    """
    out = out or folder / f"{kind}.png"
    _check([out], folder)
    drawn(kind, read_results(folder), out, width_inches)
    return out


def plot_all(folder: Path, form: str = "png", width_inches: float | None = None) -> dict[str, Path | str]:
    """Draw every picture for the result in ``folder``: where it is, or why there is none, by its name. Raises as `plot`, for a series or a
    run.yaml that is damaged too, before anything is drawn."""
    _check([folder / f"{kind}.{form}" for kind in PICTURES.names], folder)
    result = read_results(folder)
    if has_series(result):
        read_series(folder)
    if (folder / RUN).exists():
        inputs_of(folder)
    made: dict[str, Path | str] = {}
    for kind in PICTURES.names:
        try:
            path = folder / f"{kind}.{form}"
            drawn(kind, result, path, width_inches)
            made[kind] = path
        except InputError as error:
            made[kind] = "; ".join(problem.message for problem in error.problems)
    return made


def _check(pictures: Sequence[Path], folder: Path) -> None:
    """Refuse pictures, and the tables beside them, that could not be written or would replace what is read."""
    beside = [(option, path) for out in pictures for option, path in (("-o", out), ("-o", out.with_suffix(".csv")))]
    check_outputs(beside, [folder / name for name in (RESULTS, LAYERS, RUN, RUN_INFO, SERIES)])


def drawn(kind: str, result: StoredResult, out: Path | None, width_inches: float | None) -> Figure:
    """The picture ``kind`` of a result; with ``out`` in that file too, and its table beside it."""
    with drawn_at(width_inches):
        figure: Figure = PICTURES[kind](result)
        if out is not None:
            save(figure, out)
            save_table(figure, out.with_suffix(".csv"))
        return figure


def _listed(rows: Sequence[Row], columns: Sequence[str]) -> list[dict[str, Any]]:
    """Rows of layers.csv as the table beside a picture."""
    return [{name: row[name] for name in ("layer", "phase", *columns)} for row in rows]


def utilization(result: StoredResult) -> Figure:
    """MAC utilization of each layer and phase in the time that the array gave it."""
    rows = [row for row in result.layers if row["macs"]]
    if not rows:
        raise nothing_to_draw(result, "no row multiplies")
    known, note = known_rows(result, rows, ("utilization",), "times of the array")
    whole = result.summary.figure("mac_utilization")

    def draw(axes: Axes, positions: Sequence[int], rows: Sequence[Row], phase: str) -> None:
        axes.barh(positions, [row.number("utilization") for row in rows], color=PHASE_COLOURS[phase], height=0.75)
        axes.set_xlim(0, 1)
        axes.xaxis.set_major_formatter(PercentFormatter(1))
        if whole is not None:
            axes.axvline(whole, color=LIMIT_COLOUR, linestyle=":", linewidth=1)

    if whole is not None:
        note = f"dotted: {whole:.1%} over the whole iteration{note and f'; {note}'}"
    figure = panels(result, known, "MAC utilization by layer and phase", "useful share of the MAC slots", draw, note)
    return tabulate(figure, _listed(known, ("utilization",)))


def stalls(result: StoredResult) -> Figure:
    """What the clusters did for each layer and phase; idle clusters work for none, so their share is in the title."""
    known, note = known_rows(result, result.layers, OCCUPIED_COLUMNS, "stalls")
    everything, idle_cycles = total(result.layers, CYCLE_COLOURS), total(result.layers, ["idle_cycles"])
    if everything and idle_cycles is not None:
        idle = idle_cycles / everything
        note = f"{idle:.1%} of all cluster cycles were idle{note and f'; {note}'}"

    def draw(axes: Axes, positions: Sequence[int], rows: Sequence[Row], _phase: str) -> None:
        left = np.zeros(len(rows))
        for column in OCCUPIED_COLUMNS:
            widths = np.array([row.number(column) for row in rows]) / 1e6
            axes.barh(positions, widths, left=left, color=CYCLE_COLOURS[column], height=0.8, label=stall_label(column))
            left += widths

    rows = [row for row in known if total([row], OCCUPIED_COLUMNS) != 0]
    if not rows:
        raise nothing_to_draw(result, "no row has the clusters at work")
    figure = panels(result, rows, "What the clusters did by layer and phase", "million cluster cycles", draw, note)
    return tabulate(figure, _listed(rows, OCCUPIED_COLUMNS))


def roofline(result: StoredResult) -> Figure:
    """Throughput against arithmetic intensity of each layer and phase, and of the iteration, under the two roofs of the machine.

    Both axes of a point are about the same stretch of time, the row's span, in which its operations are done and its bytes are moved.
    """
    floor_gops = result.summary.number("peak_gops") / ROOFLINE_RANGE
    every, note = _roofline_points(result)
    points = [(row, x, y) for row, x, y in every if y >= floor_gops]
    if not points:
        raise nothing_to_draw(result, "no row multiplies and moves bytes")
    notes = [note, f"{len(every) - len(points)} rows not shown" if len(every) > len(points) else "", without_macs(result.layers)]
    largest = max(row.cycles for row, _, _ in points) or 1
    whole = _whole_point(result)
    figure, axes = sheet(figsize=size_of(8, 5.5))
    shown = [*((x, y) for _, x, y in points), *([whole] if whole else [])]
    _draw_roofs(axes, result, [x for x, _ in shown], [y for _, y in shown])
    markers = [(*whole, 7.0)] if whole else []
    for phase, marker in PHASE_MARKERS.items():
        own = [(row, x, y) for row, x, y in points if row["phase"] == phase]
        style: dict[str, Any] = {"color": PHASE_COLOURS[phase], "marker": marker, "alpha": 0.65, "linewidths": 0}
        if own:
            sizes = [12 + 110 * row.cycles / largest for row, _, _ in own]
            markers += [(x, y, size**0.5 / 2) for (_, x, y), size in zip(own, sizes, strict=True)]
            axes.scatter([x for _, x, _ in own], [y for _, _, y in own], sizes, label=PHASE_NAMES[phase], **style)
    if whole:
        axes.scatter(*whole, 130, marker="*", color="#000000", zorder=3, label="whole iteration")
    axes.set(xlabel="arithmetic intensity [operations per DRAM byte]", ylabel="throughput over the row's span [GOPS]")
    notes = ["area: share of the iteration; spans of rows overlap, so each lies below the whole", *filter(None, notes)]
    set_title(figure, "Roofline", result, "; ".join(notes))
    axes.grid(True, which="major", alpha=0.3)
    axes.legend(loc="lower right", frameon=False)
    longest_first = sorted(points, key=lambda point: -point[0].cycles)[:LABELLED_POINTS]
    label_points(axes, [(x, y, row_name(row)) for row, x, y in longest_first], markers=markers)
    return tabulate(figure, [
        {"layer": row.layer, "phase": row.phase, "operations_per_dram_byte": x, "gops": y, "shown": y >= floor_gops} for row, x, y in every
    ])  # fmt: skip


def _draw_roofs(axes: Axes, result: StoredResult, intensities: Sequence[float], throughputs: Sequence[float]) -> None:
    """Logarithmic axes around the points, with the roof of the MAC units and, unless the DRAM is ideal, of the DRAM."""
    peak_gops, peak_gb_per_s = result.summary.number("peak_gops"), result.summary.figure("dram_peak_gb_per_s")
    knee = peak_gops / peak_gb_per_s if peak_gb_per_s else min(intensities)
    left, right = min([*intensities, knee]) / 2, max([*intensities, knee]) * 2
    axes.set(xscale="log", yscale="log", xlim=(left, right), ylim=(min(throughputs) / 3, peak_gops * 2))
    axes.plot([knee if peak_gb_per_s else left, right], [peak_gops, peak_gops], color=LIMIT_COLOUR, linewidth=1.2)
    axes.annotate(f"{peak_gops:,.0f} GOPS peak", (right, peak_gops), (-4, 4), textcoords="offset points", ha="right")
    if peak_gb_per_s:
        axes.plot(
            [left, knee], [left * peak_gb_per_s, peak_gops], color=LIMIT_COLOUR, linewidth=1.2, label=f"DRAM {peak_gb_per_s:.1f} GB/s"
        )


def _roofline_points(result: StoredResult) -> tuple[list[tuple[Row, float, float]], str]:
    """(row, operations per DRAM byte, GOPS) of each row that multiplies and moves bytes, both over its span; a note on rows unknown."""
    rows = [row for row in result.layers if row["macs"]]
    if not rows:
        raise nothing_to_draw(result, "no row multiplies")
    known, note = known_rows(result, rows, (*DRAM_READ_COLUMNS, *DRAM_WRITE_COLUMNS, "span_cycles"), "DRAM bytes or spans")
    clock_hz = result.summary.number("core_clock_hz")
    moving = [(row, dram_bytes([row]), row.number("span_cycles")) for row in known]
    return [(row, 2 * row.macs / n, 2e-9 * row.macs * clock_hz / span) for row, n, span in moving if n and span], note


def _whole_point(result: StoredResult) -> tuple[float, float] | None:
    """(operations per DRAM byte, GOPS) of the iteration; None if it moves no bytes, or they are not known."""
    moved_bytes, macs, gops = dram_bytes(result.layers), total(result.layers, ["macs"]), result.summary.figure("throughput_gops")
    if not moved_bytes or not macs or not gops:
        return None
    return 2 * macs / moved_bytes, gops


def stall_shares(result: StoredResult) -> Figure:
    """What the clusters did for each layer and phase, as shares of the time that they gave it."""
    known, note = known_rows(result, result.layers, OCCUPIED_COLUMNS, "stalls")
    rows = [row for row in known if total([row], OCCUPIED_COLUMNS) != 0]
    if not rows:
        raise nothing_to_draw(result, "no row has the clusters at work")

    def draw(axes: Axes, positions: Sequence[int], rows: Sequence[Row], _phase: str) -> None:
        left, whole = np.zeros(len(rows)), np.array([total([row], OCCUPIED_COLUMNS) for row in rows], float)
        for column in OCCUPIED_COLUMNS:
            widths = np.array([row.number(column) for row in rows]) / whole
            axes.barh(positions, widths, left=left, color=CYCLE_COLOURS[column], height=0.8, label=stall_label(column))
            left += widths
        axes.set_xlim(0, 1)
        axes.xaxis.set_major_formatter(PercentFormatter(1))

    figure = panels(result, rows, "What the clusters did by layer and phase, as shares", "of the cycles that were not idle", draw, note)
    return tabulate(figure, _listed(rows, OCCUPIED_COLUMNS))


for _picture in (
    bandwidth_plots.bandwidth, bandwidth_plots.bandwidth_layers, bandwidth_plots.bandwidth_phases, utilization, stalls, stall_shares,
    time_plots.stalls_over_time, roofline, roof_plots.rooflines, level_plots.peaks, level_plots.energy, time_plots.power,
    time_plots.occupancy, residency_plots.residency, noc_plots.noc, noc_plots.noc_classes, noc_plots.noc_over_time,
):  # fmt: skip
    PICTURES.add(_picture.__name__, _picture)
