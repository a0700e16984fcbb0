"""Pictures across the levels of the machine: achieved against peak, energy by part and phase."""

from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import PercentFormatter

from etasim.config import Architecture
from etasim.machine.result import FLIT_CLASSES, SCRATCHPADS
from etasim.memory.buffer import BOTH, PORTS, READ, WRITE
from etasim.noc import class_widths_bits, flits_of
from etasim.report.drawing import (
    MANY_COLOURS,
    PHASE_COLOURS,
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
from etasim.report.naming import assumed_share, plain_name, three_digits
from etasim.report.over_time import Steps, steps_of
from etasim.report.reading import StoredResult
from etasim.report.tables import PHASE_NAMES, Row
from etasim.report.working import actions, all_the_time
from etasim.schedule.array import array_of

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
    whole = steps.lengths_cycles >= steps.lengths_cycles[0]  # of a shorter one at the end a single burst may be more than it carries
    figure, axes = sheet(figsize=size_of(8, 1.4 + 0.27 * len(levels), grows=True))
    table: list[dict[str, Any]] = []
    for place, level in enumerate(levels):
        mean, most = float(level.share @ weights), float(level.share[whole].max())
        axes.barh(place, mean, color=MANY_COLOURS[0], height=0.7)
        axes.plot([most, most], [place - 0.35, place + 0.35], color=MANY_COLOURS[3], linewidth=2, clip_on=False)
        axes.annotate(f"{mean:.0%} of {level.peak}", (1.02, place), va="center", fontsize="small", annotation_clip=False)
        table.append({"level": level.name, "mean_share": mean, "busiest_step_share": most, "peak": level.peak})
    axes.set_yticks(range(len(levels)), [plain_name(level.name) for level in levels])
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
    return [*levels, *_network_levels(steps), *_scratchpad_levels(steps, architecture)]


def _network_levels(steps: Steps) -> list[Level]:
    """All links between routers together, and the busiest of all links."""
    arrays, cycles = steps.series.arrays, steps.lengths_cycles
    flits = steps.amounts("link_flits").sum(axis=2)
    inner = np.char.startswith(arrays["link_targets"], "router ")
    busiest = np.argsort(-flits.sum(axis=0), kind="stable")[:BUSIEST_LINKS]
    levels = []
    if flits[:, inner].any():
        levels.append(Level("links between routers", flits[:, inner].mean(axis=1) / cycles, f"{inner.sum()} flits a cycle"))
    for i in busiest[flits[:, busiest].any(axis=0)]:
        name = f"link: router {arrays['links'][i, 0]} to {arrays['link_targets'][i]}"
        levels.append(Level(name, flits[:, i] / cycles, "1 flit a cycle"))
    return levels


def _scratchpad_levels(steps: Steps, architecture: Architecture) -> list[Level]:
    """What the scratchpads of the clusters take, against what the ports of the network bring: a packet with a word has so many flits."""
    words, noc = steps.amounts("scratchpad_words") / steps.lengths_cycles[:, None], architecture.noc
    if noc.ideal or not words.any():
        return []
    widths = class_widths_bits(noc, len(FLIT_CLASSES))
    levels = []
    for i, name in enumerate(SCRATCHPADS):
        most = architecture.array.clusters / flits_of(array_of(architecture).packet_bits, widths[FLIT_CLASSES.index(name)])
        levels.append(Level(f"{name} scratchpads written", words[:, i] / most, f"{most:.3g} words a cycle"))
    return levels


def energy(result: StoredResult) -> Figure:
    """Energy by part and phase. DRAM energy is dealt to phases by the bytes they move, static energy by their share of the time."""
    architecture = inputs_of(result.folder).architecture
    table = _energy_table(result, architecture)
    if not table:
        raise nothing_to_draw(result, "the architecture states no energy")
    phases = [phase for phase in PHASE_NAMES if any(row.phase == phase for row in result.layers)]
    parts = sorted(table, key=lambda part: -sum(table[part].values()))
    if is_narrow():
        figure, grid = sheet(2, 1, figsize=size_of(10, 16))
    else:
        figure, grid = sheet(1, 2, figsize=size_of(10, 4.8), width_ratios=(3, 2))
    left = np.zeros(len(parts))
    for phase in phases:
        widths = np.array([table[part].get(phase, 0) * 1e3 for part in parts])
        grid[0].barh(range(len(parts)), widths, left=left, color=PHASE_COLOURS[phase], height=0.75, label=f"{phase}: {PHASE_NAMES[phase]}")
        left += widths
    for place, total in enumerate(left):
        grid[0].annotate(three_digits(total), (total, place), (3, 0), textcoords="offset points", va="center", fontsize="small")
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
    grid[0].legend(loc="lower right", frameon=False, fontsize=5 if is_narrow() else None)
    legend_beside(grid[1])
    note = "DRAM energy dealt to phases by their bytes, static energy and the clock by their share of the time"
    set_title(figure, "Energy by part and phase", result, f"{three_digits(left.sum())} mJ, {assumed_share(result.summary)}; {note}")
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
