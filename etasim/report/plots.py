"""Pictures of a result folder, drawn from its files alone."""

from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from etasim.config.errors import InputError, Problem
from etasim.machine.result import STALL_CAUSES
from etasim.report.labels import label_points
from etasim.report.staging import staged_file
from etasim.report.store import RESULTS, StoredResult, read_results
from etasim.report.tables import PHASE_NAMES, Row, by_layer, dram_bytes, stall_label

PHASE_COLOURS = {"ff": "#0072B2", "bp": "#D55E00", "wg": "#009E73", "wu": "#CC79A7"}
"""Okabe and Ito's palette, which colour-blind readers tell apart; markers repeat the distinction."""
PHASE_MARKERS = {"ff": "o", "bp": "s", "wg": "^", "wu": "D"}
READ_COLOUR, WRITE_COLOUR, LIMIT_COLOUR = "#0072B2", "#E69F00", "#444444"
CYCLE_COLOURS = {
    "cluster_busy_cycles": "#333333",
    "stationary_stall_cycles": "#D55E00",
    "stream_stall_cycles": "#0072B2",
    "psum_stall_cycles": "#009E73",
    "gather_conflict_cycles": "#CC79A7",
    "fill_drain_cycles": "#F0E442",
    "idle_cycles": "#D9D9D9",
}
STYLE = {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "axes.titlesize": 10, "figure.dpi": 150}
ROW_INCHES, PANEL_INCHES = 0.19, 2.6
LABELLED_POINTS = 12


def plot(kind: str, folder: Path, out: Path | None = None) -> Path:
    """Draw ``kind`` (a key of ``PLOTS``) for the result in ``folder``; the picture's path, default ``folder/kind.png``.

    Raises InputError for a folder without an intact result, or an output format that matplotlib does not write.
    """
    return save(PLOTS[kind](read_results(folder)), out or folder / f"{kind}.png")


def save(figure: Figure, path: Path) -> Path:
    """Write ``figure`` to ``path`` (format by suffix) and close it. Raises InputError for an unknown format."""
    formats = figure.canvas.get_supported_filetypes()
    if path.suffix.lstrip(".").lower() not in formats:
        raise InputError([Problem(str(path), 1, "-o", f"unknown picture format {path.suffix!r}; allowed: {', '.join(sorted(formats))}")])
    with staged_file(path) as temporary:
        figure.savefig(temporary)
    pyplot.close(figure)
    return path


def utilization(result: StoredResult) -> Figure:
    """MAC utilization of each layer and phase while it was in flight."""

    def draw(axes: Axes, positions: Sequence[int], rows: Sequence[Row], phase: str) -> None:
        axes.barh(positions, [row["span_utilization"] or 0 for row in rows], color=PHASE_COLOURS[phase], height=0.75)
        axes.set_xlim(0, 1)
        axes.xaxis.set_major_formatter(PercentFormatter(1))
        axes.axvline(result.summary["mac_utilization"] or 0, color=LIMIT_COLOUR, linestyle=":", linewidth=1)

    rows = [row for row in result.layers if row["macs"]]
    whole = result.summary["mac_utilization"]
    note = "" if whole is None else f" (dotted: {whole:.1%} over the whole iteration)"
    return _panels(result, rows, "MAC utilization by layer and phase", "useful share of the MAC slots", draw, note)


def bandwidth(result: StoredResult) -> Figure:
    """DRAM bandwidth of each layer and phase while it was in flight, reads and writes stacked."""
    hz = result.summary["core_clock_hz"]
    peak = result.summary["dram_peak_gb_per_s"]

    def rate(row: Row, access: str) -> float:
        moved_bytes = sum(value or 0 for name, value in row.items() if name.startswith(f"dram_{access}_"))
        return moved_bytes * hz / row["span_cycles"] / 1e9 if row["span_cycles"] else 0.0

    def draw(axes: Axes, positions: Sequence[int], rows: Sequence[Row], _phase: str) -> None:
        reads, writes = [rate(row, "read") for row in rows], [rate(row, "write") for row in rows]
        axes.barh(positions, reads, color=READ_COLOUR, height=0.75, label="read")
        axes.barh(positions, writes, left=reads, color=WRITE_COLOUR, height=0.75, label="written")
        if peak is not None:
            axes.axvline(peak, color=LIMIT_COLOUR, linestyle="--", linewidth=1, label=f"peak {peak:.1f} GB/s")

    return _panels(result, result.layers, "DRAM bandwidth by layer and phase", "mean GB/s while in flight", draw)


def stalls(result: StoredResult) -> Figure:
    """What the clusters did in each layer's and phase's share of the iteration."""

    def draw(axes: Axes, positions: Sequence[int], rows: Sequence[Row], _phase: str) -> None:
        left = [0.0] * len(rows)
        for column in ("cluster_busy_cycles", *(f"{cause}_cycles" for cause in STALL_CAUSES)):
            widths = [(row[column] or 0) / 1e6 for row in rows]
            axes.barh(positions, widths, left=left, color=CYCLE_COLOURS[column], height=0.8, label=stall_label(column))
            left = [start + width for start, width in zip(left, widths, strict=True)]

    return _panels(result, result.layers, "Where the cluster cycles went", "million cluster cycles", draw)


def roofline(result: StoredResult) -> Figure:
    """Throughput against arithmetic intensity of each layer and phase, under the two roofs of the machine."""
    points = _roofline_points(result)
    if not points:
        raise _nothing_to_draw(result)
    largest = max(row["cycles"] for row, _, _ in points) or 1
    with pyplot.rc_context(STYLE):
        figure, axes = pyplot.subplots(figsize=(8, 5.5), layout="constrained")
        _draw_roofs(axes, result, [x for _, x, _ in points], [y for _, _, y in points])
        for phase, marker in PHASE_MARKERS.items():
            own = [(row, x, y) for row, x, y in points if row["phase"] == phase]
            style = {"color": PHASE_COLOURS[phase], "marker": marker, "alpha": 0.65, "linewidths": 0}
            if own:
                sizes = [12 + 110 * row["cycles"] / largest for row, _, _ in own]
                axes.scatter([x for _, x, _ in own], [y for _, _, y in own], sizes, label=PHASE_NAMES[phase], **style)
        axes.set(xlabel="arithmetic intensity [operations per DRAM byte]", ylabel="throughput while in flight [GOPS]")
        axes.set_title(f"Roofline: {result.network} on {result.architecture} (area: share of the iteration)", loc="left")
        axes.grid(True, which="major", alpha=0.3)
        axes.legend(loc="lower right", frameon=False)
        longest_first = sorted(points, key=lambda point: -point[0]["cycles"])[:LABELLED_POINTS]
        label_points(axes, [(x, y, f"{row['layer']} {row['phase']}") for row, x, y in longest_first])
    return figure


def _draw_roofs(axes: Axes, result: StoredResult, intensities: Sequence[float], throughputs: Sequence[float]) -> None:
    """Logarithmic axes around the points, with the roof of the MAC units and, unless the DRAM is ideal, of the DRAM."""
    peak_gops, peak_gb_per_s = result.summary["peak_gops"], result.summary["dram_peak_gb_per_s"]
    knee = peak_gops / peak_gb_per_s if peak_gb_per_s else min(intensities)
    left, right = min([*intensities, knee]) / 2, max([*intensities, knee]) * 2
    axes.set(xscale="log", yscale="log", xlim=(left, right), ylim=(min(throughputs) / 3, peak_gops * 2))
    axes.plot([knee if peak_gb_per_s else left, right], [peak_gops, peak_gops], color=LIMIT_COLOUR, linewidth=1.2)
    axes.annotate(f"{peak_gops:,.0f} GOPS peak", (right, peak_gops), (-4, 4), textcoords="offset points", ha="right")
    if peak_gb_per_s:
        axes.plot(
            [left, knee], [left * peak_gb_per_s, peak_gops], color=LIMIT_COLOUR, linewidth=1.2, label=f"DRAM {peak_gb_per_s:.1f} GB/s"
        )


def _roofline_points(result: StoredResult) -> list[tuple[Row, float, float]]:
    """(row, operations per DRAM byte, GOPS) of each row that multiplies and moves bytes."""
    points = []
    for row in result.layers:
        moved_bytes = dram_bytes([row])
        if row["macs"] and moved_bytes and row["span_cycles"]:
            gops = 2 * row["macs"] * result.summary["core_clock_hz"] / row["span_cycles"] / 1e9
            points.append((row, 2 * row["macs"] / moved_bytes, gops))
    return points


def _panels(
    result: StoredResult,
    rows: Sequence[Row],
    title: str,
    unit: str,
    draw: Callable[[Axes, Sequence[int], Sequence[Row], str], None],
    note: str = "",
) -> Figure:
    """One panel a phase side by side, one line a layer, first layer on top; ``draw`` fills a panel with bars."""
    if not rows:
        raise _nothing_to_draw(result)
    layers = list(by_layer(rows))
    phases = [phase for phase in PHASE_NAMES if any(row["phase"] == phase for row in rows)]
    with pyplot.rc_context(STYLE):
        size = (1.8 + PANEL_INCHES * max(len(phases), 2), 1.5 + ROW_INCHES * max(len(layers), 5))
        figure, grid = pyplot.subplots(1, len(phases), sharex=True, sharey=True, squeeze=False, figsize=size, layout="constrained")
        for axes, phase in zip(grid[0], phases, strict=True):
            own = [row for row in rows if row["phase"] == phase]
            draw(axes, [layers.index(row["layer"]) for row in own], own, phase)
            axes.set_title(f"{phase}: {PHASE_NAMES[phase]}", loc="left")
            axes.set_xlabel(unit)
            axes.tick_params(axis="y", length=0)
            axes.grid(True, axis="x", alpha=0.3)
            axes.set_axisbelow(True)
        grid[0, 0].set_yticks(range(len(layers)), layers, fontsize=8)
        grid[0, 0].set_ylim(len(layers) - 0.4, -0.6)
        figure.suptitle(f"{title}: {result.network} on {result.architecture}, batch {result.summary['batch']}{note}", x=0.01, ha="left")
        handles, labels = grid[0, 0].get_legend_handles_labels()
        if handles:
            figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    return figure


def _nothing_to_draw(result: StoredResult) -> InputError:
    return InputError([Problem(str(result.folder / RESULTS), 1, "", "nothing to draw: no row has the figures of this picture")])


PLOTS: dict[str, Callable[[StoredResult], Figure]] = {
    "bandwidth": bandwidth,
    "utilization": utilization,
    "stalls": stalls,
    "roofline": roofline,
}
