"""Pictures of a result folder, drawn from its files alone."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

matplotlib.use("Agg")

from matplotlib import pyplot
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import PercentFormatter

from etasim.config.errors import InputError, Problem
from etasim.core.registry import PICTURES
from etasim.pe.causes import CAUSE_COLUMNS
from etasim.program.commands import TENSOR_CLASSES
from etasim.report.heat_map import draw_network, heat
from etasim.report.labels import label_points
from etasim.report.metrics import DRAM_READ_COLUMNS, DRAM_WRITE_COLUMNS, OCCUPIED_COLUMNS, total
from etasim.report.naming import plain, subject
from etasim.report.reading import StoredResult, read_results
from etasim.report.staging import staged_file
from etasim.report.store import RESULTS
from etasim.report.tables import PHASE_NAMES, Row, by_layer, dram_bytes, stall_label

PHASE_COLOURS = {"ff": "#0072B2", "bp": "#D55E00", "wg": "#009E73", "wu": "#CC79A7"}
"""Okabe and Ito's palette, which colour-blind readers tell apart; markers repeat the distinction."""
PHASE_MARKERS = {"ff": "o", "bp": "s", "wg": "^", "wu": "D"}
LIMIT_COLOUR = "#444444"
CLASS_COLOURS = ("#0072B2", "#E69F00", "#D55E00", "#56B4E9", "#009E73", "#F0E442", "#CC79A7", "#999999", "#333333")
CAUSE_COLOURS = ("#333333", "#D55E00", "#0072B2", "#009E73", "#CC79A7", "#F0E442", "#D9D9D9")
CYCLE_COLOURS = dict(zip(CAUSE_COLUMNS, CAUSE_COLOURS, strict=True))
STYLE: dict[Any, Any] = {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "axes.titlesize": 10, "figure.dpi": 150}
ROW_INCHES, PANEL_INCHES, ROUTER_INCHES = 0.19, 2.6, 1.5
LABELLED_POINTS = 12
ROOFLINE_RANGE = 300
"""The roofline shows throughputs down to the peak over this; the title counts what is below."""
TIME_BINS = 120
WRITE_HATCH = "////"
UNKNOWN_COLOUR = "#EEEEEE"
LARGEST_PIXELS = 60_000
"""Of a side of a picture: a deep network is drawn coarser, because matplotlib writes no more than 2^16."""
WIDE_SHARE = 0.014
"""Smallest share of the iteration that leaves room for the name of a row."""


def plot(kind: str, folder: Path, out: Path | None = None) -> Path:
    """Draw ``kind`` (a name of `PICTURES`) for the result in ``folder``; the picture's path, default ``folder/kind.png``.

    Raises InputError for a folder without an intact result, or an output format that matplotlib does not write.
    """
    return save(PICTURES[kind](read_results(folder)), out or folder / f"{kind}.png")


def save(figure: Figure, path: Path) -> Path:
    """Write ``figure`` to ``path`` (format by suffix) and close it. Raises InputError for an unknown format."""
    formats = figure.canvas.get_supported_filetypes()
    if path.suffix.lstrip(".").lower() not in formats:
        raise InputError([Problem(str(path), 1, "-o", f"unknown picture format {path.suffix!r}; allowed: {', '.join(sorted(formats))}")])
    dpi = min(STYLE["figure.dpi"], LARGEST_PIXELS / max(figure.get_size_inches()))
    with staged_file(path) as temporary:
        figure.savefig(temporary, dpi=dpi)
    pyplot.close(figure)
    return path


def utilization(result: StoredResult) -> Figure:
    """MAC utilization of each layer and phase in the time that the array gave it."""
    rows = [row for row in result.layers if row["macs"]]
    if not rows:
        raise _nothing_to_draw(result, "no row multiplies")
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
    return panels(result, known, "MAC utilization by layer and phase", "useful share of the MAC slots", draw, note)


def bandwidth(result: StoredResult) -> Figure:
    """DRAM bandwidth over the iteration: reads by tensor class, writes on top of them, against the pins; each row's bytes fill its share
    of the time."""
    iteration_ms, peak = result.summary.number("time_ms"), result.summary.figure("dram_peak_gb_per_s")
    cycles = result.summary.number("total_cycles")
    known, note = known_rows(result, result.layers, (*DRAM_READ_COLUMNS, *DRAM_WRITE_COLUMNS), "DRAM bytes")
    edges = np.linspace(0, cycles, TIME_BINS + 1)
    middles_ms = (edges[:-1] + edges[1:]) / 2 / cycles * iteration_ms
    bin_seconds, ms_per_cycle = iteration_ms / 1e3 / TIME_BINS, iteration_ms / cycles
    columns = (*DRAM_READ_COLUMNS, *DRAM_WRITE_COLUMNS)
    rates = [_binned(result.layers, column, edges) / bin_seconds / 1e9 for column in columns]
    with pyplot.rc_context(STYLE):
        figure, axes = pyplot.subplots(figsize=(11, 6), layout="constrained")
        areas = axes.stackplot(middles_ms, rates, colors=CLASS_COLOURS * 2, step="mid", linewidth=0)
        for area in areas[len(DRAM_READ_COLUMNS) :]:
            area.set(hatch=WRITE_HATCH, edgecolor="white")
        for begin, end in _unknown_stretches(result.layers, known):
            axes.axvspan(begin * ms_per_cycle, end * ms_per_cycle, color=UNKNOWN_COLOUR, label="unknown")
        axes.set(ylabel="read and written [GB/s]", xlim=(0, iteration_ms))
        axes.set_xlabel(
            f"time [ms], in steps of {1e6 * bin_seconds:.3g} us; the bytes of a row fill its share of the iteration, "
            "so work done ahead can stand above the peak"
        )
        axes.grid(True, axis="y", alpha=0.3)
        if peak is not None:
            axes.axhline(peak, color=LIMIT_COLOUR, linestyle="--", linewidth=1, label=f"peak of the pins, {peak:.1f} GB/s")
        _set_title(figure, "DRAM bandwidth over the iteration", result, note)
        _name_wide_rows(axes, result.layers, ms_per_cycle)
        figure.legend(handles=_class_handles(rates, axes), loc="outside lower center", ncols=5, frameon=False)
    return figure


def _class_handles(rates: Sequence[np.ndarray], axes: Axes) -> list[Artist]:
    """Legend: the colour of each class that is moved, plain and hatched, and the lines of ``axes``."""
    n = len(TENSOR_CLASSES)
    moved = [i for i in range(n) if rates[i].any() or rates[n + i].any()]
    handles: list[Artist] = [Patch(color=CLASS_COLOURS[i], label=TENSOR_CLASSES[i].replace("_", " ")) for i in moved]
    handles += [Patch(facecolor="#888888", label="read (plain)")]
    handles += [Patch(facecolor="#888888", edgecolor="white", hatch=WRITE_HATCH, label="written (hatched, on top)")]
    labelled = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    return handles + list(labelled.values())


def _unknown_stretches(rows: Sequence[Row], known: Sequence[Row]) -> Iterator[tuple[int, int]]:
    """Cycles [begin, end) of the rows that are not among the ``known``."""
    wanted, end = {id(row) for row in known}, 0
    for row in rows:
        begin, end = end, end + row.cycles
        if id(row) not in wanted:
            yield begin, end


def _binned(rows: Sequence[Row], column: str, edges: np.ndarray) -> np.ndarray:
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
        [middle * ms_per_cycle for _, middle in wide], [_row_name(row) for row, _ in wide], rotation=90, fontsize=6
    )
    top.spines["top"].set_visible(False)


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
        raise _nothing_to_draw(result, "no row has the clusters at work")
    return panels(result, rows, "What the clusters did by layer and phase", "million cluster cycles", draw, note)


def roofline(result: StoredResult) -> Figure:
    """Throughput against arithmetic intensity of each layer and phase, and of the iteration, under the two roofs of the machine.

    Both axes of a point are about the same stretch of time, the row's span, in which its operations are done and its bytes are moved.
    """
    floor_gops = result.summary.number("peak_gops") / ROOFLINE_RANGE
    every, note = _roofline_points(result)
    points = [(row, x, y) for row, x, y in every if y >= floor_gops]
    if not points:
        raise _nothing_to_draw(result, "no row multiplies and moves bytes")
    notes = [note, f"{len(every) - len(points)} rows not shown" if len(every) > len(points) else ""]
    largest = max(row.cycles for row, _, _ in points) or 1
    whole = _whole_point(result)
    with pyplot.rc_context(STYLE):
        figure, axes = pyplot.subplots(figsize=(8, 5.5), layout="constrained")
        shown = [*((x, y) for _, x, y in points), *([whole] if whole else [])]
        _draw_roofs(axes, result, [x for x, _ in shown], [y for _, y in shown])
        for phase, marker in PHASE_MARKERS.items():
            own = [(row, x, y) for row, x, y in points if row["phase"] == phase]
            style: dict[str, Any] = {"color": PHASE_COLOURS[phase], "marker": marker, "alpha": 0.65, "linewidths": 0}
            if own:
                sizes = [12 + 110 * row.cycles / largest for row, _, _ in own]
                axes.scatter([x for _, x, _ in own], [y for _, _, y in own], sizes, label=PHASE_NAMES[phase], **style)
        if whole:
            axes.scatter(*whole, 130, marker="*", color="#000000", zorder=3, label="whole iteration")
        axes.set(xlabel="arithmetic intensity [operations per DRAM byte]", ylabel="throughput over the row's span [GOPS]")
        notes = ["area: share of the iteration; spans of rows overlap, so each lies below the whole", *filter(None, notes)]
        _set_title(figure, "Roofline", result, "; ".join(notes))
        axes.grid(True, which="major", alpha=0.3)
        axes.legend(loc="lower right", frameon=False)
        longest_first = sorted(points, key=lambda point: -point[0].cycles)[:LABELLED_POINTS]
        label_points(axes, [(x, y, _row_name(row)) for row, x, y in longest_first])
    return figure


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
        raise _nothing_to_draw(result, "no row multiplies")
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


def noc(result: StoredResult) -> Figure:
    """Utilization of every link of the network over the whole iteration, and of every port to an endpoint; a panel a physical network."""
    routers, links = (result.components.get(name) for name in ("noc_router", "noc_link"))
    cycles = result.summary["total_cycles"]
    if not routers or not links:
        raise _nothing_to_draw(result, "no network was simulated")
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
        _set_title(figure, "Link utilization", result)
    return figure


def panels(
    result: StoredResult,
    rows: Sequence[Row],
    title: str,
    unit: str,
    draw: Callable[[Axes, Sequence[int], Sequence[Row], str], None],
    note: str = "",
) -> Figure:
    """One panel a phase side by side, one line a layer, first layer on top; ``draw(axes, lines, rows, phase)`` fills a panel with bars."""
    layers = list(by_layer(rows))
    phases = [phase for phase in PHASE_NAMES if any(row["phase"] == phase for row in rows)]
    with pyplot.rc_context(STYLE):
        size = (1.8 + PANEL_INCHES * max(len(phases), 2), 1.5 + ROW_INCHES * max(len(layers), 5))
        figure, grid = pyplot.subplots(1, len(phases), sharex=True, sharey=True, squeeze=False, figsize=size, layout="constrained")
        for axes, phase in zip(grid[0], phases, strict=True):
            own = [row for row in rows if row["phase"] == phase]
            draw(axes, [layers.index(row.layer) for row in own], own, phase)
            axes.set_title(f"{phase}: {PHASE_NAMES[phase]}", loc="left")
            axes.set_xlabel(unit)
            axes.tick_params(axis="y", length=0)
            axes.grid(True, axis="x", alpha=0.3)
            axes.set_axisbelow(True)
        grid[0, 0].set_yticks(range(len(layers)), [plain(layer) for layer in layers], fontsize=8)
        grid[0, 0].set_ylim(len(layers) - 0.4, -0.6)
        _set_title(figure, title, result, note)
        handles, labels = grid[0, 0].get_legend_handles_labels()
        if handles:
            figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    return figure


def _set_title(figure: Figure, what: str, result: StoredResult, note: str = "") -> None:
    """What is drawn of which result, and below it what has to be said beside."""
    named = f"{what}: {subject(result.network, result.architecture, result.summary['batch'], result.fidelity)}"
    figure.suptitle(plain("\n".join(filter(None, (named, note)))), x=0.01, ha="left", fontsize=10)


def _row_name(row: Row) -> str:
    return plain(f"{row['layer']} {row['phase']}")


def known_rows(result: StoredResult, rows: Sequence[Row], columns: Sequence[str], what: str) -> tuple[list[Row], str]:
    """The ``rows`` whose ``columns`` are all known, and a note if there are others. Raises InputError if there is none."""
    known = [row for row in rows if None not in [row[column] for column in columns]]
    if not known:
        raise _nothing_to_draw(result, f"the {what} of this result are not known")
    return known, f"{what} of {len(rows) - len(known)} rows unknown" if len(known) < len(rows) else ""


def _nothing_to_draw(result: StoredResult, reason: str) -> InputError:
    """What the picture lacks; of an estimate, also what to do instead."""
    if result.is_estimate:
        drawn = " and ".join(f"`etasim plot DIR {name}`" for name in OF_ESTIMATES)
        reason += f"; an estimate counts no stalls and simulates no network: run with --fidelity cycle, or draw {drawn}"
    return InputError([Problem(str(result.folder / RESULTS), 1, "", f"nothing to draw: {reason}")])


OF_ESTIMATES = ("bandwidth", "roofline")
"""Pictures whose figures an estimate has."""

for _picture in (bandwidth, utilization, stalls, roofline, noc):
    PICTURES.add(_picture.__name__, _picture)
