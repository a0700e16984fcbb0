"""Pictures across the levels of the machine: achieved against peak, energy by part and phase, the roofs of every level."""

from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import PercentFormatter

from etasim.config import Architecture
from etasim.memory.buffer import BOTH, PORTS, READ, WRITE
from etasim.report.drawing import (
    LIMIT_COLOUR,
    MANY_COLOURS,
    PHASE_COLOURS,
    QUIET_COLOUR,
    is_narrow,
    legend_below,
    legend_beside,
    nothing_to_draw,
    set_title,
    sheet,
    size_of,
    tabulate,
)
from etasim.report.inputs import inputs_of
from etasim.report.metrics import DRAM_READ_COLUMNS, DRAM_WRITE_COLUMNS
from etasim.report.naming import assumed_share, plain
from etasim.report.over_time import Steps, steps_of
from etasim.report.reading import StoredResult
from etasim.report.tables import PHASE_NAMES, Row
from etasim.report.working import actions, all_the_time

BUSIEST_LINKS = 4


class Level(NamedTuple):
    """Something that can be busy: ``share`` [step] of what it can do, ``peak`` in words."""

    name: str
    share: np.ndarray
    peak: str


def peaks(result: StoredResult) -> Figure:
    """Achieved against peak at every level: mean over the iteration and the busiest step."""
    steps, architecture = steps_of(result), inputs_of(result.folder).architecture
    levels = _levels(result, steps, architecture)
    weights = steps.lengths_cycles / steps.lengths_cycles.sum()
    figure, axes = sheet(figsize=size_of(8, 1.4 + 0.27 * len(levels), grows=True))
    table: list[dict[str, Any]] = []
    for place, level in enumerate(levels):
        mean, most = float(level.share @ weights), float(level.share.max())
        axes.barh(place, mean, color=MANY_COLOURS[0], height=0.7)
        axes.plot([most, most], [place - 0.35, place + 0.35], color=MANY_COLOURS[3], linewidth=2)
        axes.annotate(f"{mean:.0%} of {level.peak}", (1.02, place), va="center", fontsize="small", annotation_clip=False)
        table.append({"level": level.name, "mean_share": mean, "busiest_step_share": most, "peak": level.peak})
    axes.set_yticks(range(len(levels)), [plain(level.name) for level in levels])
    axes.set_ylim(len(levels) - 0.4, -0.6)
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    axes.set_xlabel("share of what it can do")
    axes.grid(True, axis="x", alpha=0.3)
    axes.set_axisbelow(True)
    legend_below(figure, [Patch(color=MANY_COLOURS[0]), Patch(color=MANY_COLOURS[3])], [
        "mean over the iteration", f"busiest step of {1e6 * steps.lengths_s[0]:.3g} us",
    ])  # fmt: skip
    set_title(figure, "Achieved against peak", result)
    return tabulate(figure, table)


def _levels(result: StoredResult, steps: Steps, architecture: Architecture) -> list[Level]:
    arrays, cycles = steps.series.arrays, steps.lengths_cycles
    busy = steps.amounts("cluster_cycles")
    levels = [Level("MAC array: clusters busy", busy[:, 0] / busy.sum(axis=1), f"{result.summary.number('peak_gops'):,.0f} GOPS")]
    cores = steps.amounts("unified_busy_cycles")
    lanes = architecture.unified_core.lanes
    levels += [Level(f"unified core {i}", cores[:, i] / cycles, f"{lanes} lanes a cycle") for i in range(cores.shape[1])]
    peak = result.summary.figure("dram_peak_gb_per_s")
    if peak is not None:
        moved = steps.rates(steps.amounts("dram_read_bytes") + steps.amounts("dram_write_bytes")) / 1e9
        each = peak / moved.shape[1]
        levels += [Level(f"DRAM channel {i}", moved[:, i] / each, f"{each:.1f} GB/s") for i in range(moved.shape[1])]
    read, written = steps.amounts("buffer_read_words"), steps.amounts("buffer_written_words")
    for b, name in enumerate(arrays["buffers"].tolist()):
        buffer = getattr(architecture.buffers, name)
        ports = PORTS[buffer.ports]
        for what, words, access in (("read", read, READ), ("written", written, WRITE), ("read and written", read + written, BOTH)):
            most = ports[access] * buffer.banks
            levels.append(Level(f"{name} buffer {what}", words[:, b] / cycles / most, f"{most} words a cycle"))
    links = np.argsort(-arrays["link_flits"].sum(axis=0), kind="stable")[:BUSIEST_LINKS]
    used = steps.amounts("link_flits") / cycles[:, None]
    for i in links[arrays["link_flits"][:, links].any(axis=0)]:
        levels.append(Level(f"link: router {arrays['links'][i, 0]} to {arrays['link_targets'][i]}", used[:, i], "1 flit a cycle"))
    return levels


def energy(result: StoredResult) -> Figure:
    """Energy by part and phase. DRAM energy is dealt to phases by the bytes they move, static energy by their share of the time."""
    architecture = inputs_of(result.folder).architecture
    table = _energy_table(result, architecture)
    if not table:
        raise nothing_to_draw(result, "the architecture states no energy")
    phases = [phase for phase in PHASE_NAMES if any(row.phase == phase for row in result.layers)]
    parts = sorted(table, key=lambda part: -sum(table[part].values()))
    figure, grid = sheet(1, 2, sharey=False, figsize=size_of(10, 4.8), width_ratios=(3, 2))
    left = np.zeros(len(parts))
    for phase in phases:
        widths = np.array([table[part].get(phase, 0) * 1e3 for part in parts])
        grid[0].barh(range(len(parts)), widths, left=left, color=PHASE_COLOURS[phase], height=0.75, label=f"{phase}: {PHASE_NAMES[phase]}")
        left += widths
    for place, total in enumerate(left):
        grid[0].annotate(f"{total:.3g}", (total, place), (3, 0), textcoords="offset points", va="center", fontsize="small")
    grid[0].set_yticks(range(len(parts)), parts)
    grid[0].set_ylim(len(parts) - 0.4, -0.6)
    grid[0].set_xlabel("mJ an iteration")
    grid[0].margins(x=0.12)
    bottom = np.zeros(len(phases))
    for i, part in enumerate(parts):
        heights = np.array([table[part].get(phase, 0) * 1e3 for phase in phases])
        style: dict[str, Any] = {"hatch": "....", "edgecolor": "white"} if i >= len(MANY_COLOURS) else {}
        colour = MANY_COLOURS[i % len(MANY_COLOURS)]
        grid[1].bar(range(len(phases)), heights, bottom=bottom, facecolor=colour, label=part, linewidth=0, **style)
        bottom += heights
    grid[1].set_xticks(range(len(phases)), phases)
    grid[1].set_ylim(0, 1.05 * bottom.max())
    grid[1].set_ylabel("mJ an iteration")
    for axes, axis in zip(grid, "xy", strict=True):
        axes.grid(True, axis=axis, alpha=0.3)
        axes.set_axisbelow(True)
    grid[0].legend(loc="lower right", frameon=False)
    legend_beside(grid[1])
    note = "DRAM energy dealt to phases by their bytes, static energy and the clock by their share of the time"
    set_title(figure, "Energy by part and phase", result, f"{left.sum():.3g} mJ, {assumed_share(result.summary)}; {note}")
    return tabulate(figure, [
        {"part": part, "phase": phase, "energy_mj": joule * 1e3} for part in parts for phase, joule in table[part].items()
    ])  # fmt: skip


def _energy_table(result: StoredResult, architecture: Architecture) -> dict[str, dict[str, float]]:
    """Joule by part and phase, of what is known."""
    table: dict[str, dict[str, float]] = {}
    for row in result.layers:
        for action in actions(architecture, row):
            if action.each is not None and action.count:
                own = table.setdefault(action.component, {})
                own[row.phase] = own.get(row.phase, 0) + float(action.count * action.each.energy_joule)
    if not table:
        return {}
    moved = _shares(result.layers, (*DRAM_READ_COLUMNS, *DRAM_WRITE_COLUMNS))
    lasting = _shares(result.layers, ("cycles",))
    always = dict.fromkeys([*(work.component for work in all_the_time(architecture)), "static"], lasting)
    for part, shares in {"dram": moved, "host link": moved, **always}.items():
        joule = sum((entry["energy_mj"] or 0) / 1e3 for entry in result.components.get("energy", []) if entry["component"] == part)
        if joule and shares:
            table[part] = {phase: joule * share for phase, share in shares.items()}
    return table


def _shares(rows: list[Row], columns: tuple[str, ...]) -> dict[str, float]:
    """Of each phase in the sum of ``columns``, as far as they are known."""
    amounts = {phase: 0.0 for phase in PHASE_NAMES}
    for row in rows:
        amounts[row.phase] += sum(row.figure(column) or 0 for column in columns)
    total = sum(amounts.values())
    return {phase: amount / total for phase, amount in amounts.items() if amount} if total else {}


def rooflines(result: StoredResult) -> Figure:
    """A roofline for each level that moves data: each row's throughput against its operations a byte there, and what that level allows."""
    architecture = inputs_of(result.folder).architecture
    word, peak_gops = architecture.buffers.word_size_bytes, result.summary.number("peak_gops")
    clock_hz = result.summary.number("core_clock_hz")
    buffers = ("activation", "weight", "error")
    kinds: list[tuple[str, float | None, Any]] = [
        ("DRAM", result.summary.figure("dram_peak_gb_per_s"), lambda row: _sum(row, (*DRAM_READ_COLUMNS, *DRAM_WRITE_COLUMNS))),
    ]
    for name in buffers:
        buffer = getattr(architecture.buffers, name)
        peak = None if architecture.buffers.ideal else PORTS[buffer.ports][BOTH] * buffer.banks * word * clock_hz / 1e9
        columns = (f"{name}_buffer_reads", f"{name}_buffer_writes")
        kinds.append((f"{name} buffer", peak, lambda row, columns=columns: _times(_sum(row, columns), word)))
    rows = [row for row in result.layers if row.macs and row.figure("span_cycles")]
    if not rows:
        raise nothing_to_draw(result, "no row multiplies")
    figure, grid = sheet(2, 2, sharey=True, figsize=size_of(10, 8))
    table: list[dict[str, Any]] = []
    for axes, (name, peak, bytes_of) in zip(grid.ravel(), kinds, strict=True):
        points = [(row, 2 * row.macs / n, 2e-9 * row.macs * clock_hz / row.number("span_cycles")) for row in rows if (n := bytes_of(row))]
        _draw_level(axes, name, peak, peak_gops, points)
        table += [{"level": name, "layer": row.layer, "phase": row.phase, "operations_per_byte": x, "gops": y} for row, x, y in points]
    without = sorted({"weight updates" if row.phase == "wu" else row.text("kind") for row in result.layers if not row.macs})
    n_without = sum(not row.macs for row in result.layers)
    note = f"over the span of each row, in which others run too; {n_without} rows without MACs are in none: {', '.join(without)}"
    set_title(figure, "Rooflines of every level", result, note)
    shown = [phase for phase in PHASE_NAMES if any(row.phase == phase for row in rows)]
    legend_below(figure, [Patch(color=PHASE_COLOURS[phase]) for phase in shown], [f"{phase}: {PHASE_NAMES[phase]}" for phase in shown])
    return tabulate(figure, table)


def _sum(row: Row, columns: tuple[str, ...]) -> float | None:
    values = [row.figure(column) for column in columns]
    return None if None in values else sum(value for value in values if value is not None)


def _times(value: float | None, factor: int) -> float | None:
    return None if value is None else value * factor


def _draw_level(axes: Axes, name: str, peak: float | None, peak_gops: float, points: list[tuple[Row, float, float]]) -> None:
    """Points of a level under its slanted roof and that of the array."""
    title = name if peak is None else f"{name}, {peak:.1f} GB/s"
    axes.set(xscale="log", yscale="log", title=title, xlabel="operations a byte", ylabel="GOPS")
    if not points:
        axes.annotate("not known", (0.5, 0.5), xycoords="axes fraction", ha="center", color=QUIET_COLOUR)
        return
    for row, x, y in points:
        axes.plot(x, y, marker={"ff": "o", "bp": "s", "wg": "^"}.get(row.phase, "D"), color=PHASE_COLOURS[row.phase], alpha=0.6,
                  markersize=3 if is_narrow() else 5, linewidth=0)  # fmt: skip
    low, high = min(x for _, x, _ in points) / 2, max(x for _, x, _ in points) * 2
    knee = low if peak is None else min(max(peak_gops / peak, low), high)
    axes.plot([knee, high], [peak_gops, peak_gops], color=LIMIT_COLOUR, linewidth=1)
    if peak is not None:
        axes.plot([low, knee], [low * peak, knee * peak], color=LIMIT_COLOUR, linewidth=1)
    axes.grid(True, alpha=0.3)
