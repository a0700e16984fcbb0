"""Pictures of a result folder, drawn from its files alone."""

from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("Agg")

from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from etasim.config.errors import InputError, Problem
from etasim.core.program import TENSOR_CLASSES
from etasim.report.heat_map import draw_network, heat
from etasim.report.labels import label_points
from etasim.report.metrics import OCCUPIED_COLUMNS, total
from etasim.report.staging import staged_file
from etasim.report.store import RESULTS, StoredResult, read_results
from etasim.report.tables import PHASE_NAMES, Row, by_layer, dram_bytes, stall_label

PHASE_COLOURS = {"ff": "#0072B2", "bp": "#D55E00", "wg": "#009E73", "wu": "#CC79A7"}
"""Okabe and Ito's palette, which colour-blind readers tell apart; markers repeat the distinction."""
PHASE_MARKERS = {"ff": "o", "bp": "s", "wg": "^", "wu": "D"}
LIMIT_COLOUR = "#444444"
CLASS_COLOURS = ("#0072B2", "#E69F00", "#D55E00", "#56B4E9", "#009E73", "#F0E442", "#CC79A7", "#999999", "#333333")
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
ROW_INCHES, PANEL_INCHES, ROUTER_INCHES = 0.19, 2.6, 1.5
LABELLED_POINTS = 12
ROOFLINE_RANGE = 300
"""The roofline shows throughputs down to the peak over this; the title counts what is below."""
TIME_BINS = 120
WIDE_SHARE = 0.014
"""Smallest share of the iteration that leaves room for the name of a row."""


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
    """MAC utilization of each layer and phase in the time that the array gave it."""

    def draw(axes: Axes, positions: Sequence[int], rows: Sequence[Row], phase: str) -> None:
        axes.barh(positions, [row["utilization"] or 0 for row in rows], color=PHASE_COLOURS[phase], height=0.75)
        axes.set_xlim(0, 1)
        axes.xaxis.set_major_formatter(PercentFormatter(1))
        axes.axvline(result.summary["mac_utilization"] or 0, color=LIMIT_COLOUR, linestyle=":", linewidth=1)

    rows = [row for row in result.layers if row["macs"]]
    whole = result.summary["mac_utilization"]
    note = "" if whole is None else f" (dotted: {whole:.1%} over the whole iteration)"
    return _panels(result, rows, "MAC utilization by layer and phase", "useful share of the MAC slots", draw, note)


def bandwidth(result: StoredResult) -> Figure:
    """DRAM bandwidth over the iteration by tensor class, reads above writes; each row's bytes fill its share of the time."""
    iteration_ms, peak = result.summary["time_ms"], result.summary["dram_peak_gb_per_s"]
    edges = np.linspace(0, result.summary["total_cycles"], TIME_BINS + 1)
    middles_ms = (edges[:-1] + edges[1:]) / 2 / result.summary["total_cycles"] * iteration_ms
    bin_seconds = iteration_ms / 1e3 / TIME_BINS
    with pyplot.rc_context(STYLE):
        figure, panels = pyplot.subplots(2, 1, sharex=True, sharey=True, figsize=(11, 6), layout="constrained")
        for axes, access in zip(panels, ("read", "write"), strict=True):
            rates = [_binned(result.layers, f"dram_{access}_{name}_bytes", edges) / bin_seconds / 1e9 for name in TENSOR_CLASSES]
            labels = [name.replace("_", " ") for name in TENSOR_CLASSES]
            axes.stackplot(middles_ms, rates, labels=labels, colors=CLASS_COLOURS, step="mid", linewidth=0)
            axes.set(ylabel=f"{access} [GB/s]", xlim=(0, iteration_ms))
            axes.grid(True, axis="y", alpha=0.3)
            if peak is not None:
                axes.axhline(peak, color=LIMIT_COLOUR, linestyle="--", linewidth=1, label=f"peak {peak:.1f} (read and write together)")
        panels[1].set_xlabel(
            f"time [ms], in steps of {1e6 * bin_seconds:.3g} us; the bytes of a row fill its share of the iteration, "
            "so work done ahead can stand above the peak"
        )
        figure.suptitle(_title("DRAM bandwidth over the iteration", result), x=0.01, ha="left")
        _name_wide_rows(panels[0], result.layers, iteration_ms / result.summary["total_cycles"])
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=5, frameon=False)
    return figure


def _binned(rows: Sequence[Row], column: str, edges: np.ndarray) -> np.ndarray:
    """Sum of ``column`` in each interval of ``edges`` (cycles), each row's share spread evenly; shape [len(edges) - 1]."""
    ends = np.cumsum([row["cycles"] for row in rows])
    total_at_end = np.cumsum([row[column] or 0 for row in rows])
    return np.diff(np.interp(edges, np.concatenate(([0], ends)), np.concatenate(([0], total_at_end))))


def _name_wide_rows(axes: Axes, rows: Sequence[Row], ms_per_cycle: float) -> None:
    """Names along the top edge of the rows that are wide enough to carry one."""
    ends = np.cumsum([row["cycles"] for row in rows])
    wide = [(row, end - row["cycles"] / 2) for row, end in zip(rows, ends, strict=True) if row["cycles"] > WIDE_SHARE * ends[-1]]
    top = axes.secondary_xaxis("top")
    top.set_xticks(
        [middle * ms_per_cycle for _, middle in wide], [f"{row['layer']} {row['phase']}" for row, _ in wide], rotation=90, fontsize=6
    )
    top.spines["top"].set_visible(False)


def stalls(result: StoredResult) -> Figure:
    """What the clusters did for each layer and phase; idle clusters work for none, so their share is in the title."""
    sums = {column: total(result.layers, [column]) or 0 for column in CYCLE_COLOURS}
    idle = sums["idle_cycles"] / (sum(sums.values()) or 1)

    def draw(axes: Axes, positions: Sequence[int], rows: Sequence[Row], _phase: str) -> None:
        left = np.zeros(len(rows))
        for column in OCCUPIED_COLUMNS:
            widths = np.array([row[column] or 0 for row in rows]) / 1e6
            axes.barh(positions, widths, left=left, color=CYCLE_COLOURS[column], height=0.8, label=stall_label(column))
            left += widths

    rows = [row for row in result.layers if total([row], OCCUPIED_COLUMNS) != 0]
    note = f" ({idle:.1%} of all cluster cycles were idle)"
    return _panels(result, rows, "What the clusters did by layer and phase", "million cluster cycles", draw, note)


def roofline(result: StoredResult) -> Figure:
    """Throughput against arithmetic intensity of each layer and phase, under the two roofs of the machine."""
    floor_gops = result.summary["peak_gops"] / ROOFLINE_RANGE
    every = _roofline_points(result)
    points = [(row, x, y) for row, x, y in every if y >= floor_gops]
    if not points:
        raise _nothing_to_draw(result)
    hidden = len(every) - len(points)
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
        axes.set(xlabel="arithmetic intensity [operations per DRAM byte]", ylabel="throughput in the array's time [GOPS]")
        axes.set_title(_title("Roofline", result) + " (area: share of the iteration)" + (f", {hidden} below" if hidden else ""), loc="left")
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
    """(row, operations per DRAM byte, GOPS in the array's time) of each row that multiplies and moves bytes."""
    points = []
    for row in result.layers:
        moved_bytes = dram_bytes([row])
        if row["macs"] and moved_bytes and row["utilization"]:
            points.append((row, 2 * row["macs"] / moved_bytes, row["utilization"] * result.summary["peak_gops"]))
    return points


def noc(result: StoredResult) -> Figure:
    """Utilization of every link of the network over the whole iteration, and of every port to an endpoint; a panel a physical network."""
    routers, links = (result.components.get(name) for name in ("noc_router", "noc_link"))
    cycles = result.summary["total_cycles"]
    if not routers or not links or not cycles:
        raise InputError([Problem(str(result.folder / RESULTS), 1, "components", "nothing to draw: no network was simulated")])
    links = [link | {"utilization": link["flits"] / cycles} for link in links]
    colours = heat(max(link["utilization"] for link in links))
    n_networks = 1 + max(router["network"] for router in routers)
    wide, high = (1 + max(router[axis] for router in routers) for axis in "xy")
    with pyplot.rc_context(STYLE):
        size = (1.6 + ROUTER_INCHES * wide, 1.1 + ROUTER_INCHES * high * n_networks)
        figure, panels = pyplot.subplots(n_networks, 1, squeeze=False, figsize=size, layout="constrained")
        for network, axes in enumerate(panels[:, 0]):
            own = {i: router for i, router in enumerate(routers) if router["network"] == network}
            draw_network(axes, own, [link for link in links if link["router"] in own], colours)
            if n_networks > 1:
                axes.set_title(f"network {network}", loc="left")
        scale = figure.colorbar(colours, ax=panels[:, 0], shrink=0.8, format=PercentFormatter(1, decimals=0), label="cycles with a flit")
        scale.ax.set_ylim(bottom=0)
        figure.suptitle(_title("Link utilization", result), x=0.01, ha="left")
    return figure


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
        figure.suptitle(_title(title, result) + note, x=0.01, ha="left")
        handles, labels = grid[0, 0].get_legend_handles_labels()
        if handles:
            figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    return figure


def _title(subject: str, result: StoredResult) -> str:
    return f"{subject}: {result.network} on {result.architecture}, batch {result.summary['batch']}"


def _nothing_to_draw(result: StoredResult) -> InputError:
    return InputError([Problem(str(result.folder / RESULTS), 1, "", "nothing to draw: no row has the figures of this picture")])


PLOTS: dict[str, Callable[[StoredResult], Figure]] = {
    "bandwidth": bandwidth,
    "utilization": utilization,
    "stalls": stalls,
    "roofline": roofline,
    "noc": noc,
}
